// The explorer's front end. What can be chosen (step, hover, selected, query, among) lives in the widget's model, so
// that Python and the browser see the same; everything drawn follows from it. All data is put in as text, never markup.

const SHAPES = ["circle", "diamond", "triangle", "square"]; // of items without a picture, by modality
const TRAVEL = 600; // ms from one snapshot to another
const DWELL = 250; // ms that play rests on each
const EDGE = 30; // CSS pixels kept free around the data
const FONT = "12px system-ui, sans-serif";
const still = matchMedia("(prefers-reduced-motion: reduce)");

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // strings become text nodes
  return node;
}

const ease = (x) => (x < 0.5 ? 2 * x * x : 1 - 2 * (1 - x) ** 2);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const short = (text, most) => (text.length > most ? text.slice(0, most - 1).trimEnd() + "…" : text);
const number = (x) => x.toLocaleString("en");

/** Everything that never changes, unpacked. */
function unpack(model) {
  const array = (name, Type) => {
    const view = model.get(name); // copied: a typed array needs an aligned start
    return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  };
  const setup = model.get("setup");
  const n = setup.captions.length;
  const columns = array("columns", Int32Array);
  const [classes, kinds, pairs, sprites] = [0, 1, 2, 3].map((c) => columns.subarray(c * n, (c + 1) * n));
  const frames = array("frames", Uint16Array);
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  frames.forEach((v, i) => {
    low[i % 2] = Math.min(low[i % 2], v);
    high[i % 2] = Math.max(high[i % 2], v);
  });
  const similarity = array("pair_similarity", Int16Array);
  const lower = setup.captions.map((caption) => caption.toLowerCase());
  return { ...setup, n, classes, kinds, pairs, sprites, frames, low, high, similarity, lower, names: setup.classes };
}

/** The widget's elements. The rows of the neighbour list are made once and refilled, so that focus stays put. */
function build(data) {
  const row = (name) => {
    const parts = { thumb: h("canvas"), caption: h("span", { class: "caption" }), meta: h("span", { class: "meta" }) };
    const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("i"));
    const button = h("button", { type: "button", class: name }, parts.thumb, parts.caption, parts.meta, bar);
    return { ...parts, button, bar: bar.firstChild, index: -1 };
  };
  const ui = {
    search: h("input", { type: "search", placeholder: "Search captions", "aria-label": "Search captions", spellcheck: "false" }),
    count: h("output", { class: "count", "aria-live": "polite" }),
    canvas: h("canvas", { tabindex: "0", role: "application", "aria-roledescription": "map of an embedding" }),
    card: h("div", { class: "card", hidden: "" }),
    play: h("button", { type: "button", class: "play", "aria-label": "Play training" }),
    slider: h("input", { type: "range", min: 0, max: data.steps.length - 1, step: 1, "aria-label": "Training step" }),
    output: h("output", { class: "step" }),
    zoomIn: h("button", { type: "button", "aria-label": "Zoom in" }, "+"),
    zoomOut: h("button", { type: "button", "aria-label": "Zoom out" }, "−"),
    fit: h("button", { type: "button", "aria-label": "Show all" }, "Fit"),
    live: h("div", { class: "unseen", role: "status" }),
    hint: h("div", { class: "hint" },
      h("p", {}, `Click an item to list its nearest neighbours in all ${data.dimensions} dimensions.`),
      h("p", {}, "On the map, arrow keys walk from item to item, Enter pins one, Escape clears, and + − 0 zoom.")),
    chosen: h("div", { class: "chosen" }),
    close: h("button", { type: "button", class: "close", "aria-label": "Clear selection" }, "×"),
    head: row("head"),
    pair: row("row pair"),
    all: h("button", { type: "button" }, "All items"),
    other: h("button", { type: "button" }, "Other modality"),
    heading: h("h4"),
    rows: Array.from({ length: data.k }, () => row("row")),
    note: h("p", { class: "note" }),
  };
  const toggle = h("div", { class: "toggle", role: "group", "aria-label": "Neighbours among" }, ui.all, ui.other);
  toggle.hidden = data.modalities.length < 2;
  ui.chosen.append(ui.close, ui.head.button, ui.pair.button, ui.heading, toggle,
    h("ol", {}, ...ui.rows.map((r) => h("li", {}, r.button))), ui.note);
  const training = h("div", { class: "training" }, ui.play, ui.slider, ui.output);
  training.hidden = data.steps.length < 2;
  ui.legend = h("div", { class: "legend" });
  ui.stage = h("div", { class: "stage" }, ui.canvas, h("span", { class: "axis x" }, data.axes[0]),
    h("span", { class: "axis y" }, data.axes[1]), h("div", { class: "zoom" }, ui.zoomIn, ui.zoomOut, ui.fit), ui.card);
  ui.root = h("div", { class: "xlib-explorer", "data-lm-suppress-shortcuts": "true" },
    h("div", { class: "top" }, h("strong", {}, data.title), ui.count, ui.search),
    h("div", { class: "middle" }, ui.stage, h("aside", { "aria-label": "Selected item" }, ui.hint, ui.chosen)),
    training, ui.legend, ui.live);
  return ui;
}

/** Trace a marker of radius r around (x, y). */
function trace(ctx, shape, x, y, r) {
  ctx.beginPath();
  if (shape === "circle") ctx.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") ctx.rect(x - r * 0.85, y - r * 0.85, r * 1.7, r * 1.7);
  else {
    const corners = shape === "diamond" ? 4 : 3;
    for (let c = 0; c < corners; c++) {
      const angle = (2 * Math.PI * c) / corners - Math.PI / 2;
      ctx.lineTo(x + 1.2 * r * Math.cos(angle), y + 1.2 * r * Math.sin(angle));
    }
    ctx.closePath();
  }
}

function render({ model, el }) {
  const data = unpack(model);
  const ui = build(data);
  const { n, captions, pairs, sprites, kinds, cell } = data;
  const last = data.steps.length - 1;
  const ctx = ui.canvas.getContext("2d");
  const at = new Float32Array(2 * n); // where each item is drawn, in CSS pixels
  const pictures = sprites.filter((s) => s >= 0).length;
  const leaving = new AbortController();
  const on = (target, type, f, options) => target.addEventListener(type, f, { signal: leaving.signal, ...options });
  const get = (name) => model.get(name);
  const view = { zoom: 1, x: 0, y: 0 };
  let [width, height, dpr, position, travelling, frame, timer] = [0, 0, 1, get("step"), 0, 0, 0];
  let [atlas, chips, stamps, theme] = [null, null, new Map(), {}];
  let [matches, partners, labelled] = [new Set(), [], new Set()];

  function set(name, value) {
    if (get(name) === value) return;
    model.set(name, value);
    model.save_changes();
  }

  // ---- theme, markers and pictures -------------------------------------------------------------------------------

  function colour(c) {
    const [red, green, blue] = data.palette.length && c >= 0 ? data.palette[c].match(/\w\w/g).map((v) => parseInt(v, 16)) : [128, 128, 128];
    if (theme.dark && red + green + blue === 0) return "#e4e4e4"; // black says nothing on black
    return `rgb(${red} ${green} ${blue})`;
  }

  function readTheme() {
    ui.root.style.colorScheme = ""; // what the page says, before what we conclude from it
    const style = getComputedStyle(ui.root);
    const [red, green, blue] = style.color.match(/[\d.]+/g).map(Number);
    theme = { dark: red + green + blue > 384, ink: style.color, paper: style.backgroundColor };
    ui.root.classList.toggle("dark", theme.dark);
    ui.root.style.colorScheme = theme.dark ? "dark" : "light";
    theme.accent = style.getPropertyValue("--accent");
    stamps = new Map();
    drawChips();
    legend();
    redraw();
  }

  /** Every picture once on a light chip with a rim in its class colour: strokes stay visible on a dark page. */
  function drawChips() {
    if (!atlas) return;
    const grow = Math.max(1, Math.round(48 / Math.max(...cell))); // small scans keep square pixels
    const [w, tall, rim] = [cell[0] * grow, cell[1] * grow, 5];
    chips = { image: document.createElement("canvas"), w: w + 2 * rim, h: tall + 2 * rim, across: data.across };
    chips.image.width = chips.w * data.across;
    chips.image.height = chips.h * Math.ceil(pictures / data.across);
    const c = chips.image.getContext("2d");
    c.imageSmoothingEnabled = grow === 1;
    for (let i = 0; i < n; i++) {
      if (sprites[i] < 0) continue;
      const [column, row] = [sprites[i] % data.across, Math.floor(sprites[i] / data.across)];
      const [x, y] = [column * chips.w, row * chips.h];
      c.fillStyle = theme.dark ? "#e9ebee" : "#fff";
      c.strokeStyle = colour(data.classes[i]);
      c.lineWidth = 3;
      c.beginPath();
      c.roundRect(x + 1.5, y + 1.5, chips.w - 3, chips.h - 3, 9);
      c.fill();
      c.drawImage(atlas, column * cell[0], row * cell[1], ...cell, x + rim, y + rim, w, tall);
      c.stroke();
    }
  }

  function stamp(i) {
    const key = `${data.classes[i]} ${kinds[i]}`;
    if (!stamps.has(key)) {
      const image = document.createElement("canvas");
      image.width = image.height = 48;
      const c = image.getContext("2d");
      trace(c, SHAPES[kinds[i]], 24, 24, 15);
      c.fillStyle = colour(data.classes[i]);
      c.strokeStyle = theme.paper;
      c.lineWidth = 4;
      c.stroke();
      c.fill();
      stamps.set(key, image);
    }
    return stamps.get(key);
  }

  /** One item around (x, y), its longer side about `size` CSS pixels. */
  function item(c, i, x, y, size) {
    if (sprites[i] >= 0 && chips) {
      const scale = size / Math.max(chips.w, chips.h);
      const [column, row] = [sprites[i] % chips.across, Math.floor(sprites[i] / chips.across)];
      c.drawImage(chips.image, column * chips.w, row * chips.h, chips.w, chips.h,
        x - (chips.w * scale) / 2, y - (chips.h * scale) / 2, chips.w * scale, chips.h * scale);
    } else {
      c.drawImage(stamp(i), x - size / 2, y - size / 2, size, size);
    }
  }

  function thumb(canvas, i, size) {
    canvas.width = canvas.height = size * dpr;
    canvas.style.width = canvas.style.height = `${size}px`;
    const c = canvas.getContext("2d");
    c.scale(dpr, dpr);
    c.imageSmoothingQuality = "high";
    item(c, i, size / 2, size / 2, sprites[i] >= 0 ? size : Math.min(size, 22));
  }

  // ---- the map ---------------------------------------------------------------------------------------------------

  const pictureSize = () => clamp(Math.sqrt((0.3 * width * height) / Math.max(pictures, 1)), 15, 36) * Math.sqrt(view.zoom);
  const markerSize = () => clamp(Math.sqrt((0.12 * width * height) / n), 11, 17) * view.zoom ** 0.25;
  const sizeOf = (i) => (sprites[i] >= 0 && chips ? pictureSize() : markerSize());

  /** Put the items' positions for a (fractional) snapshot into `at`. */
  function place(snapshot) {
    const [a, f] = [Math.floor(snapshot), snapshot % 1];
    const [from, to] = [a * 2 * n, Math.min(a + 1, last) * 2 * n];
    const span = [0, 1].map((d) => Math.max(data.high[d] - data.low[d], 1));
    const scale = view.zoom * Math.min((width - 2 * EDGE) / span[0], (height - 2 * EDGE) / span[1]);
    const [middleX, middleY] = [0, 1].map((d) => (data.high[d] + data.low[d]) / 2);
    for (let j = 0; j < 2 * n; j += 2) {
      const x = data.frames[from + j] * (1 - f) + data.frames[to + j] * f;
      const y = data.frames[from + j + 1] * (1 - f) + data.frames[to + j + 1] * f;
      at[j] = width / 2 + view.x + (x - middleX) * scale;
      at[j + 1] = height / 2 + view.y - (y - middleY) * scale;
    }
  }

  const near = () => get("neighbours").map(([j]) => j);

  /** Items that stand out while the others fade, or null where all are equal. */
  function emphasised() {
    if (get("query").trim()) return matches;
    return get("selected") < 0 ? null : new Set([get("selected"), pairs[get("selected")], ...near()]);
  }

  /** Captions of items without picture, wherever there is free ground for one: chosen once for the snapshot aimed at,
      so that none flickers on the way. */
  function chooseLabels() {
    place(get("step"));
    ctx.font = FONT;
    labelled = new Set();
    const [grid, taken, bright] = [8, new Set(), emphasised()];
    const first = [...partners, get("selected"), ...near()].filter((i) => i >= 0);
    const stride = 7919; // prime: neighbours in the table are seldom neighbours in the queue
    for (let q = -first.length; q < n; q++) {
      const i = q < 0 ? first[q + first.length] : (q * stride) % n;
      if (sprites[i] >= 0 || labelled.has(i) || (q >= 0 && bright && !bright.has(i))) continue;
      const [x, y] = [at[2 * i], at[2 * i + 1]];
      if (x < 0 || y < 0 || y > height) continue;
      const right = x + 14 + ctx.measureText(short(captions[i], 26)).width;
      if (right > width) continue;
      const spots = [];
      for (let u = Math.floor((x - 10) / grid); u <= (right + 6) / grid; u++)
        for (let v = Math.floor((y - 14) / grid); v <= (y + 14) / grid; v++) spots.push(`${u} ${v}`);
      if (spots.some((spot) => taken.has(spot))) continue;
      for (const spot of spots) taken.add(spot);
      labelled.add(i);
      if (labelled.size > 120) return;
    }
  }

  function line(i, j, style, weight) {
    ctx.strokeStyle = style;
    ctx.lineWidth = weight;
    ctx.beginPath();
    ctx.moveTo(at[2 * i], at[2 * i + 1]);
    ctx.lineTo(at[2 * j], at[2 * j + 1]);
    ctx.stroke();
  }

  function ring(i, size) {
    const side = size + 5;
    ctx.strokeStyle = theme.accent;
    ctx.lineWidth = 2.5;
    ctx.beginPath();
    ctx.roundRect(at[2 * i] - side / 2, at[2 * i + 1] - side / 2, side, side, 8);
    ctx.stroke();
  }

  function draw() {
    const [hover, selected, bright] = [get("hover"), get("selected"), emphasised()];
    place(position);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, width, height);
    ctx.imageSmoothingQuality = "medium";
    const put = (i, grow = 1) => item(ctx, i, at[2 * i], at[2 * i + 1], sizeOf(i) * grow);
    const pass = (wanted) => {
      for (let i = 0; i < n; i++) if (wanted(i)) put(i);
    };
    if (bright) {
      ctx.globalAlpha = 0.13;
      pass((i) => !bright.has(i));
      ctx.globalAlpha = 1;
    }
    pass((i) => !bright || bright.has(i));
    for (const j of selected < 0 ? [] : near()) line(selected, j, theme.ink, 0.8);
    for (const j of partners) line(hover, j, theme.accent, 2.5);
    for (const j of [...(selected < 0 ? [] : near()), ...partners]) put(j, 1.25);
    if (selected >= 0) {
      put(selected, 1.6);
      ring(selected, sizeOf(selected) * 1.6);
    }
    ctx.font = FONT;
    ctx.textBaseline = "middle";
    ctx.lineJoin = "round";
    ctx.lineWidth = 4;
    ctx.strokeStyle = theme.paper;
    ctx.fillStyle = theme.ink;
    for (const i of labelled) {
      const where = [short(captions[i], 26), at[2 * i] + 10, at[2 * i + 1] + 0.5];
      ctx.strokeText(...where);
      ctx.fillText(...where);
    }
    if (hover >= 0) {
      put(hover, 1.8);
      ring(hover, sizeOf(hover) * 1.8);
    }
    placeCard();
  }

  function redraw() {
    chooseLabels();
    if (!frame && width) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  }

  /** Move to the step chosen: gliding, or at once where motion is unwelcome. */
  function travel() {
    cancelAnimationFrame(travelling);
    const [from, to, start] = [position, get("step"), performance.now() - 16]; // the first frame already moves
    const tick = (now) => {
      const x = still.matches ? 1 : Math.min(1, (now - start) / TRAVEL);
      position = from + (to - from) * ease(x);
      draw();
      if (x < 1) travelling = requestAnimationFrame(tick);
    };
    chooseLabels();
    travelling = requestAnimationFrame(tick);
  }

  function pick(x, y) {
    let [best, least] = [-1, Math.max(pictureSize() / 2, 12) ** 2];
    for (let i = 0; i < n; i++) {
      const distance = (at[2 * i] - x) ** 2 + (at[2 * i + 1] - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  /** The nearest item in the direction (dx, dy) from the present one; straight ahead counts as nearer. */
  function walk(dx, dy) {
    const start = get("hover") >= 0 ? get("hover") : get("selected");
    const [x, y] = start >= 0 ? [at[2 * start], at[2 * start + 1]] : [width / 2, height / 2];
    let [best, least] = [-1, Infinity];
    for (let i = 0; i < n; i++) {
      const ahead = (at[2 * i] - x) * dx + (at[2 * i + 1] - y) * dy;
      const aside = Math.abs((at[2 * i] - x) * dy) + Math.abs((at[2 * i + 1] - y) * dx);
      if (i !== start && ahead > 0 && ahead + 2 * aside < least) [best, least] = [i, ahead + 2 * aside];
    }
    if (best < 0) return;
    view.x += clamp(at[2 * best], EDGE, width - EDGE) - at[2 * best]; // follow it out of a zoomed view
    view.y += clamp(at[2 * best + 1], EDGE, height - EDGE) - at[2 * best + 1];
    set("hover", best);
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const to = clamp(view.zoom * factor, 1, 40);
    const ratio = to / view.zoom;
    view.x = to === 1 ? 0 : (x - width / 2) * (1 - ratio) + view.x * ratio;
    view.y = to === 1 ? 0 : (y - height / 2) * (1 - ratio) + view.y * ratio;
    view.zoom = to;
    redraw();
  }

  // ---- card, panel, legend ---------------------------------------------------------------------------------------

  function facts(i) {
    const parts = data.classes[i] >= 0 ? [data.names[data.classes[i]]] : [];
    return [...parts, data.modalities[kinds[i]]].join(" · ");
  }

  function pairFact(i) {
    if (pairs[i] >= 0) {
      const cosine = data.similarity[get("step") * n + i] / 10_000;
      return `similarity to its ${data.modalities[kinds[pairs[i]]]} ${cosine.toFixed(2)}`;
    }
    return partners.length ? `counterpart of ${number(partners.length)}` : "";
  }

  function fillCard() {
    const i = get("hover");
    ui.card.hidden = i < 0;
    if (i < 0) return;
    const picture = h("canvas");
    const lines = [h("b", {}, short(captions[i], 120)), h("span", {}, facts(i)), h("span", {}, pairFact(i))];
    ui.card.replaceChildren(...(sprites[i] >= 0 ? [picture] : []), h("div", {}, ...lines));
    if (sprites[i] >= 0) thumb(picture, i, 56);
    ui.live.textContent = lines.map((l) => l.textContent).filter(Boolean).join(", ");
  }

  function placeCard() {
    const i = get("hover");
    if (i < 0) return;
    const gap = sizeOf(i) + 8;
    const [w, tall] = [ui.card.offsetWidth, ui.card.offsetHeight];
    const x = at[2 * i] + gap + w < width ? at[2 * i] + gap : at[2 * i] - gap - w;
    const y = clamp(at[2 * i + 1] - tall / 2, 4, Math.max(4, height - tall - 4));
    ui.card.style.transform = `translate(${clamp(x, 4, Math.max(4, width - w - 4))}px, ${y}px)`;
  }

  function fillRow(row, i, cosine, meta, size) {
    row.index = i;
    thumb(row.thumb, i, size);
    row.caption.textContent = captions[i];
    row.meta.textContent = meta;
    row.bar.style.width = `${100 * clamp(cosine, 0, 1)}%`;
    row.button.title = `${captions[i]} (${facts(i)})`;
  }

  function fillPanel() {
    const i = get("selected");
    ui.hint.hidden = i >= 0;
    ui.chosen.hidden = i < 0;
    if (i < 0) return;
    fillRow(ui.head, i, 0, facts(i), 52);
    ui.pair.button.hidden = pairs[i] < 0;
    if (pairs[i] >= 0) {
      const [cosine, kind] = [data.similarity[get("step") * n + i] / 10_000, kinds[pairs[i]]];
      const rivals = kinds.filter((k) => k === kind).length - (kinds[i] === kind ? 1 : 0);
      fillRow(ui.pair, pairs[i], cosine, cosine.toFixed(2), 28);
      ui.pair.button.dataset.rank = `Its ${data.modalities[kind]}: rank ${number(get("pair_rank"))} of ${number(rivals)}`;
    }
    const other = get("among") === "other";
    ui.all.setAttribute("aria-pressed", !other);
    ui.other.setAttribute("aria-pressed", other);
    const pool = other ? kinds.filter((k) => k !== kinds[i]).length : n - 1;
    ui.heading.textContent = `${get("neighbours").length} nearest of ${number(pool)}`;
    ui.rows.forEach((row, r) => {
      const neighbour = get("neighbours")[r];
      row.button.parentNode.hidden = !neighbour;
      if (neighbour) fillRow(row, neighbour[0], neighbour[1], neighbour[1].toFixed(2), 28);
    });
    ui.note.textContent = get("note");
  }

  function legend() {
    const swatch = (shape, fill, text) => {
      const canvas = h("canvas", { width: 32, height: 32 });
      const c = canvas.getContext("2d");
      if (shape === "picture") {
        c.beginPath();
        c.roundRect(5, 5, 22, 22, 6);
      } else trace(c, shape, 16, 16, 10);
      c.fillStyle = c.strokeStyle = fill;
      c.lineWidth = 4;
      if (shape === "picture") c.stroke();
      else c.fill();
      return h("span", {}, canvas, text);
    };
    const shape = (m) => (kinds.some((k, i) => k === m && sprites[i] >= 0) ? "picture" : SHAPES[m]);
    const kindsShown = data.modalities.map((name, m) => swatch(shape(m), theme.ink, name));
    const classesShown = data.palette.length ? data.names.map((name, c) => swatch("square", colour(c), name)) : [];
    ui.legend.replaceChildren(...(data.modalities.length > 1 ? kindsShown : []), ...classesShown);
  }

  // ---- what follows when something is chosen, here or in Python --------------------------------------------------

  function onStep() {
    const step = get("step");
    ui.slider.value = step;
    ui.output.textContent = `step ${number(data.steps[step])}`;
    ui.slider.setAttribute("aria-valuetext", `step ${data.steps[step]}, ${step + 1} of ${last + 1} snapshots`);
    fillCard();
    fillPanel();
    travel();
  }

  function onHover() {
    const i = get("hover");
    partners = [];
    for (let j = 0; j < n && i >= 0; j++) if (pairs[i] === j || pairs[j] === i) partners.push(j);
    fillCard();
    redraw();
  }

  function onAnswer() {
    ui.canvas.setAttribute("aria-label", get("alt_text"));
    fillPanel();
    redraw();
  }

  function onQuery() {
    const needle = get("query").trim().toLowerCase(); // as in the Python model
    matches = new Set(needle ? [...captions.keys()].filter((i) => data.lower[i].includes(needle)) : []);
    if (ui.search.value.trim() !== get("query").trim()) ui.search.value = get("query");
    ui.count.textContent = needle ? `${number(matches.size)} of ${number(n)} match` : "";
    redraw();
  }

  function clear() {
    for (const [name, value] of [["hover", -1], ["selected", -1], ["query", ""]]) set(name, value);
  }

  function play(start) {
    clearInterval(timer);
    ui.play.classList.toggle("playing", start);
    ui.play.setAttribute("aria-label", start ? "Pause" : "Play training");
    if (!start) return;
    const advance = () => (get("step") < last ? set("step", get("step") + 1) : play(false));
    if (get("step") === last) set("step", 0);
    else advance();
    timer = setInterval(advance, TRAVEL + DWELL);
  }

  /** Enter in the search box goes from match to match. */
  function nextMatch() {
    const found = [...matches];
    if (found.length) set("selected", found.find((i) => i > get("selected")) ?? found[0]);
  }

  // ---- events ----------------------------------------------------------------------------------------------------

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const keys = {
    Enter: () => get("hover") >= 0 && set("selected", get("hover")),
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: () => zoom(0),
  };
  on(ui.canvas, "keydown", (event) => {
    const act = event.key in arrows ? () => walk(...arrows[event.key]) : keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  on(ui.root, "keydown", (event) => {
    event.stopPropagation(); // JupyterLab would take arrows and Enter for itself
    if (event.key === "Escape") clear();
  });
  on(ui.search, "keydown", (event) => event.key === "Enter" && nextMatch());
  on(ui.search, "input", () => set("query", ui.search.value));
  on(ui.slider, "input", () => {
    play(false);
    set("step", +ui.slider.value);
  });
  on(ui.play, "click", () => play(!ui.play.classList.contains("playing")));
  on(ui.zoomIn, "click", () => zoom(1.5));
  on(ui.zoomOut, "click", () => zoom(1 / 1.5));
  on(ui.fit, "click", () => zoom(0));
  on(ui.close, "click", clear);
  on(ui.all, "click", () => set("among", "all"));
  on(ui.other, "click", () => set("among", "other"));
  for (const row of [ui.pair, ...ui.rows]) {
    on(row.button, "click", () => set("selected", row.index));
    for (const type of ["pointerenter", "focus"]) on(row.button, type, () => set("hover", row.index));
    for (const type of ["pointerleave", "blur"]) on(row.button, type, () => set("hover", -1));
  }

  let drag = null;
  on(ui.canvas, "pointerdown", (event) => {
    drag = { x: event.offsetX, y: event.offsetY, moved: false };
    ui.canvas.setPointerCapture(event.pointerId);
  });
  on(ui.canvas, "pointermove", (event) => {
    if (!drag) return set("hover", pick(event.offsetX, event.offsetY));
    const [dx, dy] = [event.offsetX - drag.x, event.offsetY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    view.x += dx;
    view.y += dy;
    drag = { x: event.offsetX, y: event.offsetY, moved: true };
    redraw();
  });
  on(ui.canvas, "pointerup", (event) => {
    if (drag && !drag.moved) set("selected", pick(event.offsetX, event.offsetY));
    drag = null;
  });
  on(ui.canvas, "pointercancel", () => (drag = null));
  on(ui.canvas, "pointerleave", () => set("hover", -1));
  on(ui.canvas, "wheel", (event) => {
    if (document.activeElement !== ui.canvas && !event.ctrlKey) return; // scrolling past must not zoom
    event.preventDefault();
    zoom(Math.exp(-clamp(event.deltaY, -100, 100) / 300), event.offsetX, event.offsetY);
  }, { passive: false });

  model.on("change:step", onStep);
  model.on("change:hover", onHover);
  model.on("change:query", onQuery);
  for (const name of ["selected", "neighbours", "among", "pair_rank", "note", "alt_text"]) model.on(`change:${name}`, onAnswer);

  // ---- start -----------------------------------------------------------------------------------------------------

  const resize = new ResizeObserver(() => {
    width = ui.stage.clientWidth;
    height = Math.round(clamp(width * 0.68, 320, 540));
    dpr = window.devicePixelRatio || 1;
    ui.canvas.width = width * dpr;
    ui.canvas.height = height * dpr;
    ui.canvas.style.height = `${height}px`;
    redraw();
  });
  const restyle = new MutationObserver(readTheme);
  for (const node of [document.documentElement, document.body])
    restyle.observe(node, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class", "theme"] });
  on(matchMedia("(prefers-color-scheme: dark)"), "change", readTheme);
  el.append(ui.root);
  resize.observe(ui.stage);
  if (pictures) {
    createImageBitmap(new Blob([get("atlas")], { type: "image/webp" })).then((image) => {
      atlas = image;
      drawChips();
      fillPanel();
      redraw();
    });
  }
  requestAnimationFrame(readTheme); // styles apply once the root is in the page
  onStep();
  onHover();
  onQuery();
  onAnswer();
  return () => {
    leaving.abort();
    resize.disconnect();
    restyle.disconnect();
    play(false);
    cancelAnimationFrame(travelling);
  };
}

export default { render };
