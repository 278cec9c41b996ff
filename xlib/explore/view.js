// The explorer's front end. What can be chosen (step, hover, selected, query, among) lives in the widget's model, so
// that Python and the browser see the same; everything drawn follows from it. Data is put in as text, never as markup.

const SHAPES = ["circle", "diamond", "triangle", "square"]; // of items without a picture, by modality
const TRAVEL = 600; // ms from one snapshot to another
const DWELL = 250; // ms that play rests on each
const EDGE = 30; // CSS pixels kept free around the data
const FONT = "12px system-ui, sans-serif";
const MARKUP = `
  <div class="top"><strong data-ui="title"></strong><output data-ui="count" class="count" aria-live="polite"></output>
    <input data-ui="search" type="search" placeholder="Search captions" aria-label="Search captions" spellcheck="false"></div>
  <div class="middle">
    <div>
      <div data-ui="stage" class="stage">
        <canvas data-ui="canvas" tabindex="0" role="application" aria-roledescription="map of an embedding"></canvas>
        <span data-ui="axisX" class="axis x"></span><span data-ui="axisY" class="axis y"></span>
        <div class="zoom"><button data-ui="zoomIn" type="button" aria-label="Zoom in">+</button
          ><button data-ui="zoomOut" type="button" aria-label="Zoom out">−</button
          ><button data-ui="fit" type="button" aria-label="Show all">Fit</button></div>
        <div data-ui="card" class="card" hidden></div>
      </div>
      <div data-ui="training" class="training"><button data-ui="play" type="button" class="play"></button>
        <input data-ui="slider" type="range" min="0" step="1" aria-label="Training step"><span data-ui="at" class="step"></span></div>
      <div data-ui="legend" class="legend"></div>
    </div>
    <aside aria-label="Selected item">
      <div data-ui="hint" class="hint"><p data-ui="invite"></p>
        <p>On the map, arrow keys walk from item to item, Enter pins one, Escape clears, and + − 0 zoom.</p></div>
      <div data-ui="chosen" class="chosen">
        <button data-ui="close" type="button" class="close" aria-label="Clear selection">×</button><div data-ui="top"></div>
        <h4 data-ui="heading"></h4>
        <div data-ui="toggle" class="toggle" role="group" aria-label="Neighbours among"><button data-ui="all" type="button"
          >All items</button><button data-ui="other" type="button">Other modality</button></div>
        <ol data-ui="list"></ol><p data-ui="note" class="note"></p>
      </div>
    </aside>
  </div>
  <div data-ui="live" class="unseen" role="status"></div>`; // constant: no data in here

const still = matchMedia("(prefers-reduced-motion: reduce)");
const ease = (x) => (x < 0.5 ? 2 * x * x : 1 - 2 * (1 - x) ** 2);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const short = (text, most) => (text.length > most ? text.slice(0, most - 1).trimEnd() + "…" : text);
const count = (x) => x.toLocaleString("en");

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // strings become text nodes
  return node;
}

/** What never changes, unpacked. */
function unpack(model) {
  const array = (name, Type) => {
    const view = model.get(name); // copied: a typed array needs an aligned start
    return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  };
  const setup = model.get("setup");
  const n = setup.captions.length;
  const columns = array("columns", Int32Array);
  const [classes, kinds, pairs, sprites] = [0, 1, 2, 3].map((c) => columns.subarray(c * n, (c + 1) * n));
  const hash = (i) => Math.imul(i + 1, 2654435761) >>> 0; // no stretch of the table is drawn or labelled first
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => hash(a) - hash(b));
  const lower = setup.captions.map((caption) => caption.toLowerCase());
  const similarity = Float32Array.from(array("pair_similarity", Int16Array), (v) => v / 10_000);
  return { ...setup, n, kinds, pairs, sprites, order, lower, similarity, classOf: classes, frames: array("frames", Uint16Array) };
}

/** The elements of the widget by name. The rows of the neighbour list are made once and refilled: focus stays put. */
function build(data) {
  const root = h("div", { class: "xlib-explorer", "data-lm-suppress-shortcuts": "true" });
  root.innerHTML = MARKUP;
  const ui = Object.fromEntries([...root.querySelectorAll("[data-ui]")].map((node) => [node.dataset.ui, node]));
  const row = (name) => {
    const [thumb, caption, meta, bar] = [h("canvas"), h("span", { class: "caption" }), h("span", { class: "meta" }), h("i")];
    const button = h(name === "head" ? "div" : "button", { type: "button", class: name }, thumb, caption, meta, h("span", { class: "bar" }, bar));
    return { button, thumb, caption, meta, bar, index: -1 };
  };
  ui.title.textContent = data.title;
  ui.axisX.textContent = data.axes[0];
  ui.axisY.textContent = data.axes[1];
  ui.invite.textContent = `Click an item to list its nearest neighbours in all ${data.dimensions} dimensions.`;
  ui.slider.max = data.steps.length - 1;
  ui.training.hidden = data.steps.length < 2;
  ui.toggle.hidden = data.modalities.length < 2;
  const [head, pair, rows] = [row("head"), row("row pair"), Array.from({ length: data.k }, () => row("row"))];
  ui.top.append(head.button, pair.button);
  ui.list.append(...rows.map((r) => h("li", {}, r.button)));
  return { ...ui, root, head, pair, rows };
}

function trace(c, shape, x, y, r) {
  const corners = { diamond: 4, triangle: 3 }[shape];
  c.beginPath();
  if (shape === "circle") c.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") c.rect(x - r * 0.85, y - r * 0.85, r * 1.7, r * 1.7);
  for (let k = 0; k < corners; k++) {
    const angle = (2 * Math.PI * k) / corners - Math.PI / 2;
    c.lineTo(x + 1.2 * r * Math.cos(angle), y + 1.2 * r * Math.sin(angle));
  }
  c.closePath();
}

function render({ model, el }) {
  const data = unpack(model);
  const ui = build(data);
  const { n, captions, pairs, sprites, kinds, cell, order } = data;
  const last = data.steps.length - 1;
  const ctx = ui.canvas.getContext("2d");
  const aspect = Math.min(Math.max(...cell) / Math.min(...cell), 3); // long pictures get the area that square ones have
  const at = new Float32Array(2 * n); // where each item is drawn, in CSS pixels
  const pictures = sprites.filter((s) => s >= 0).length;
  const leaving = new AbortController();
  const on = (target, type, f, options) => target.addEventListener(type, f, { signal: leaving.signal, ...options });
  const get = (name) => model.get(name);
  const view = { zoom: 1, x: 0, y: 0 };
  let [width, height, dpr, position, travelling, frame, timer] = [0, 0, 1, get("step"), 0, 0, 0];
  let [atlas, sheet, theme] = [null, null, {}];
  let [matches, partners, labelled] = [new Set(), [], new Set()];

  function set(name, value) {
    if (get(name) === value) return;
    model.set(name, value);
    model.save_changes();
  }

  // ---- theme, markers and pictures

  function colour(c) {
    const code = data.palette[c] ?? "#808080";
    return theme.dark && code === "#000000" ? "#e4e4e4" : code; // black says nothing on black
  }

  function readTheme() {
    ui.root.style.colorScheme = ""; // what the page says, before what we conclude from it
    const style = getComputedStyle(ui.root);
    const dark = style.color.match(/[\d.]+/g).slice(0, 3).reduce((sum, v) => sum + +v, 0) > 384; // light ink
    theme = { dark, ink: style.color, paper: style.backgroundColor };
    ui.root.classList.toggle("dark", dark);
    ui.root.style.colorScheme = dark ? "dark" : "light";
    theme.accent = style.getPropertyValue("--accent").trim();
    sheet = null;
    legend();
    fillPanel();
    redraw();
  }

  /** One picture on a light chip with a rim in its class colour: dark strokes stay visible on a dark page. */
  function chip(c, i, x, y, size) {
    const scale = size / Math.max(...cell);
    const [w, tall, rim] = [cell[0] * scale, cell[1] * scale, clamp(size / 16, 1, 2.5)];
    const from = [(sprites[i] % data.across) * cell[0], Math.floor(sprites[i] / data.across) * cell[1], ...cell];
    Object.assign(c, { fillStyle: theme.dark ? "#e9ebee" : "#fff", strokeStyle: colour(data.classOf[i]), lineWidth: rim });
    c.imageSmoothingEnabled = scale < 1.5 || Math.max(...cell) > 32; // enlarged scans keep their square pixels
    c.imageSmoothingQuality = "high";
    c.beginPath();
    c.roundRect(x - w / 2, y - tall / 2, w, tall, Math.min(size / 6, 8));
    c.fill();
    c.drawImage(atlas, ...from, x - w / 2 + rim, y - tall / 2 + rim, w - 2 * rim, tall - 2 * rim);
    c.stroke();
  }

  /** All chips at the size they have on the map now: a frame then copies pixels and scales none. */
  function drawSheet() {
    const side = Math.ceil(pictureSize() * dpr) + 2;
    if (sheet?.side === side) return;
    sheet = { side, image: h("canvas", { width: side * data.across, height: side * Math.ceil(pictures / data.across) }) };
    const c = sheet.image.getContext("2d");
    const middle = (k) => (k + 0.5) * side;
    for (const i of order)
      if (sprites[i] >= 0) chip(c, i, middle(sprites[i] % data.across), middle(Math.floor(sprites[i] / data.across)), side - 2);
  }

  /** One item around (x, y), its longer side about `size` CSS pixels. */
  function item(c, i, x, y, size) {
    if (sprites[i] >= 0 && atlas) return chip(c, i, x, y, size);
    trace(c, SHAPES[kinds[i]], x, y, size * 0.31);
    Object.assign(c, { fillStyle: colour(data.classOf[i]), strokeStyle: theme.paper, lineWidth: 2 });
    c.stroke();
    c.fill();
  }

  /** The same in its usual size on the map. */
  function plain(i) {
    const [x, y] = [at[2 * i], at[2 * i + 1]];
    if (sprites[i] < 0 || !atlas) return item(ctx, i, x, y, markerSize());
    const [s, side] = [sheet.side, sheet.side / dpr];
    ctx.drawImage(sheet.image, (sprites[i] % data.across) * s, Math.floor(sprites[i] / data.across) * s, s, s,
      x - side / 2, y - side / 2, side, side);
  }

  function thumb(canvas, i, size) {
    canvas.width = canvas.height = size * dpr;
    canvas.style.width = canvas.style.height = `${size}px`;
    const c = canvas.getContext("2d");
    c.scale(dpr, dpr);
    item(c, i, size / 2, size / 2, sprites[i] >= 0 ? size - 2 : Math.min(size, 22));
  }

  // ---- the map

  const pictureSize = () => clamp(Math.sqrt((0.4 * width * height) / pictures), 16, 36) * Math.sqrt(view.zoom * aspect);
  const markerSize = () => clamp(Math.sqrt((0.12 * width * height) / n), 10, 17) * view.zoom ** 0.25;
  const sizeOf = (i) => (sprites[i] >= 0 && atlas ? pictureSize() : markerSize());

  /** Put the items' positions for a (fractional) snapshot into `at`. */
  function place(snapshot) {
    const [a, f] = [Math.floor(snapshot), snapshot % 1];
    const [from, to] = [a * 2 * n, Math.min(a + 1, last) * 2 * n];
    const [spanX, spanY] = data.extent;
    const scale = view.zoom * Math.min((width - 2 * EDGE) / spanX, (height - 2 * EDGE) / spanY);
    for (let j = 0; j < 2 * n; j += 2) {
      const x = data.frames[from + j] * (1 - f) + data.frames[to + j] * f;
      const y = data.frames[from + j + 1] * (1 - f) + data.frames[to + j + 1] * f;
      at[j] = width / 2 + view.x + (x - spanX / 2) * scale;
      at[j + 1] = height / 2 + view.y - (y - spanY / 2) * scale;
    }
  }

  const near = () => (get("selected") < 0 ? [] : get("neighbours").map(([j]) => j));

  /** Items that stand out while the others fade, or null where all are equal. */
  function emphasised() {
    if (get("query").trim()) return matches;
    return get("selected") < 0 ? null : new Set([get("selected"), pairs[get("selected")], ...near()]);
  }

  /** Captions for items without a picture, where there is free ground: chosen for the snapshot aimed at, so that none
      flickers on the way. */
  function chooseLabels() {
    place(get("step"));
    ctx.font = FONT;
    labelled = new Set();
    const bright = emphasised();
    const taken = [[width - 130, 0, width, 44]]; // the zoom buttons
    for (const i of [get("selected"), get("hover")]) {
      const [x, y, r] = i < 0 ? [0, 0, 0] : [at[2 * i], at[2 * i + 1], sizeOf(i)];
      taken.push([x - r, y - r, x + r, y + r]);
    }
    for (const i of [...partners, ...near(), ...(bright ?? order)]) {
      if (i < 0 || sprites[i] >= 0 || labelled.has(i) || labelled.size > 120) continue;
      const [x, y] = [at[2 * i], at[2 * i + 1]];
      const right = x + 14 + ctx.measureText(short(captions[i], 26)).width;
      if (x < 0 || right > width || y < 10 || y > height - 26) continue;
      const [left, top, bottom] = [x - 10, y - 13, y + 13];
      if (taken.some((t) => left < t[2] && right > t[0] && top < t[3] && bottom > t[1])) continue;
      taken.push([left, top, right, bottom]);
      labelled.add(i);
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

  function draw() {
    const [hover, selected, bright] = [get("hover"), get("selected"), emphasised()];
    const put = (i, grow) => item(ctx, i, at[2 * i], at[2 * i + 1], sizeOf(i) * grow);
    const ringed = (i, grow) => {
      put(i, grow);
      const side = sizeOf(i) * grow + 5;
      ctx.strokeStyle = theme.accent;
      ctx.lineWidth = 2.5;
      ctx.beginPath();
      ctx.roundRect(at[2 * i] - side / 2, at[2 * i + 1] - side / 2, side, side, 8);
      ctx.stroke();
    };
    place(position);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.clearRect(0, 0, width, height);
    if (atlas) drawSheet();
    ctx.globalAlpha = 0.13;
    for (const i of order) if (bright && !bright.has(i)) plain(i);
    ctx.globalAlpha = 1;
    for (const i of order) if (!bright || bright.has(i)) plain(i);
    for (const j of near()) line(selected, j, theme.ink, 0.8);
    for (const j of partners) line(hover, j, theme.accent, 2.5);
    for (const j of [...near(), ...partners]) put(j, 1.25);
    if (selected >= 0) ringed(selected, 1.6);
    Object.assign(ctx, { font: FONT, textBaseline: "middle", lineJoin: "round", lineWidth: 4 });
    Object.assign(ctx, { strokeStyle: theme.paper, fillStyle: theme.ink });
    for (const i of labelled) {
      const text = [short(captions[i], 26), at[2 * i] + 10, at[2 * i + 1] + 0.5];
      ctx.strokeText(...text);
      ctx.fillText(...text);
    }
    if (hover >= 0) ringed(hover, 1.8);
    placeCard();
  }

  function redraw() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (!width) return;
      chooseLabels();
      draw();
    });
  }

  /** Move to the step chosen: gliding, or at once where motion is unwelcome. */
  function travel() {
    cancelAnimationFrame(travelling);
    const [from, to, start] = [position, get("step"), performance.now() - 16]; // the first frame already moves
    const tick = (now) => {
      const x = still.matches ? 1 : Math.min(1, (now - start) / TRAVEL);
      position = from + (to - from) * ease(x);
      if (width) draw();
      if (x < 1) travelling = requestAnimationFrame(tick);
    };
    chooseLabels();
    travelling = requestAnimationFrame(tick);
  }

  /** The item with the lowest cost, a function of its distance from (x, y); −1 where none is below `least`. */
  function best(x, y, least, cost) {
    let found = -1;
    for (let i = 0; i < n; i++) {
      const c = cost(at[2 * i] - x, at[2 * i + 1] - y, i);
      if (c < least) [found, least] = [i, c];
    }
    return found;
  }

  const pick = (x, y) => best(x, y, Math.max(...[...partners, order[0]].map(sizeOf), 24) / 2, Math.hypot);

  /** To the nearest item in the direction (dx, dy); what lies straight ahead counts as nearer. */
  function walk(dx, dy) {
    const start = get("hover") >= 0 ? get("hover") : get("selected");
    const [x, y] = start >= 0 ? [at[2 * start], at[2 * start + 1]] : [width / 2, height / 2];
    const ahead = (u, v, i) => (i !== start && u * dx + v * dy > 0 ? u * dx + v * dy + 2 * Math.abs(u * dy + v * dx) : Infinity);
    const i = best(x, y, Infinity, ahead);
    if (i < 0) return;
    view.x += clamp(at[2 * i], EDGE, width - EDGE) - at[2 * i]; // follow it out of a zoomed view
    view.y += clamp(at[2 * i + 1], EDGE, height - EDGE) - at[2 * i + 1];
    set("hover", i);
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const to = clamp(view.zoom * factor, 1, 40);
    const ratio = to / view.zoom;
    view.x = to === 1 ? 0 : (x - width / 2) * (1 - ratio) + view.x * ratio;
    view.y = to === 1 ? 0 : (y - height / 2) * (1 - ratio) + view.y * ratio;
    view.zoom = to;
    redraw();
  }

  // ---- card, panel, legend

  const kindOf = (i) => data.modalities[kinds[i]];
  const facts = (i) => [data.classes[data.classOf[i]], kindOf(i)].filter(Boolean).join(" · ");
  const pairCosine = (i) => data.similarity[get("step") * n + i];

  function fillCard() {
    const i = get("hover");
    ui.card.hidden = i < 0;
    if (i < 0) return;
    const pair = pairs[i] >= 0 ? `similarity to its ${kindOf(pairs[i])} ${pairCosine(i).toFixed(2)}` : "";
    const lines = [captions[i], facts(i), pair || (partners.length ? `paired with ${count(partners.length)} items` : "")];
    const text = lines.filter(Boolean).map((words, l) => h(l ? "span" : "b", {}, short(words, 120)));
    const picture = h("canvas");
    if (sprites[i] >= 0) thumb(picture, i, 56);
    ui.card.replaceChildren(...(sprites[i] >= 0 ? [picture] : []), h("div", {}, ...text));
    ui.live.textContent = lines.filter(Boolean).join(", ");
  }

  function placeCard() {
    const i = get("hover");
    if (i < 0) return;
    const [w, tall, gap] = [ui.card.offsetWidth, ui.card.offsetHeight, sizeOf(i) + 8];
    const x = at[2 * i] + gap + w < width ? at[2 * i] + gap : at[2 * i] - gap - w;
    const inside = (v, room) => clamp(v, 4, Math.max(4, room - 4));
    ui.card.style.transform = `translate(${inside(x, width - w)}px, ${inside(at[2 * i + 1] - tall / 2, height - tall)}px)`;
  }

  function fillRow(row, i, size, meta, cosine = 0) {
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
    const [pair, other, neighbours] = [pairs[i], get("among") === "other", get("neighbours")];
    fillRow(ui.head, i, 52, facts(i));
    ui.pair.button.hidden = pair < 0;
    if (pair >= 0) {
      const rivals = kinds.filter((kind, j) => kind === kinds[pair] && j !== i).length;
      fillRow(ui.pair, pair, 28, pairCosine(i).toFixed(2), pairCosine(i));
      ui.pair.button.dataset.rank = `Its ${kindOf(pair)}: rank ${count(get("pair_rank"))} of ${count(rivals)}`;
    }
    ui.all.setAttribute("aria-pressed", !other);
    ui.other.setAttribute("aria-pressed", other);
    const pool = other ? kinds.filter((kind) => kind !== kinds[i]).length : n - 1;
    ui.heading.textContent = `${neighbours.length} nearest of ${count(pool)}`;
    ui.rows.forEach((row, r) => {
      row.button.parentNode.hidden = r >= neighbours.length;
      if (r < neighbours.length) fillRow(row, neighbours[r][0], 28, neighbours[r][1].toFixed(2), neighbours[r][1]);
    });
    ui.note.textContent = get("note");
  }

  function legend() {
    const swatch = (shape, fill, name) => h("span", {}, h("i", { class: shape, style: `color: ${fill}` }), name);
    const shape = (m) => (kinds.some((kind, i) => kind === m && sprites[i] >= 0) ? "picture" : SHAPES[m]);
    const modalities = data.modalities.map((name, m) => swatch(shape(m), theme.ink, name));
    const classes = data.palette.map((_, c) => swatch("square", colour(c), data.classes[c]));
    ui.legend.replaceChildren(...(modalities.length > 1 ? modalities : []), ...classes);
  }

  // ---- what follows when something is chosen, here or in Python

  function onStep() {
    const step = get("step");
    ui.slider.value = step;
    ui.at.textContent = `step ${count(data.steps[step])}`;
    ui.slider.setAttribute("aria-valuetext", `step ${data.steps[step]}, ${step + 1} of ${last + 1} snapshots`);
    fillCard();
    fillPanel();
    travel();
  }

  function onHover() {
    const i = get("hover");
    partners = i < 0 ? [] : [...order].filter((j) => pairs[i] === j || pairs[j] === i);
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
    ui.count.textContent = needle ? `${count(matches.size)} of ${count(n)} match` : "";
    redraw();
  }

  function clear() {
    for (const [name, value] of [["hover", -1], ["selected", -1], ["query", ""]]) set(name, value);
  }

  function play(start) {
    const advance = () => (get("step") < last ? set("step", get("step") + 1) : play(false));
    clearInterval(timer);
    ui.play.classList.toggle("playing", start);
    ui.play.setAttribute("aria-label", start ? "Pause" : "Play training");
    if (!start) return;
    timer = setInterval(advance, TRAVEL + DWELL);
    if (get("step") === last) set("step", 0);
    else advance();
  }

  // ---- events

  const keys = {
    ArrowLeft: () => walk(-1, 0),
    ArrowRight: () => walk(1, 0),
    ArrowUp: () => walk(0, -1),
    ArrowDown: () => walk(0, 1),
    Enter: () => get("hover") >= 0 && set("selected", get("hover")),
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: () => zoom(0),
  };
  on(ui.canvas, "keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  on(ui.root, "keydown", (event) => {
    event.stopPropagation(); // JupyterLab would take arrows and Enter for itself
    if (event.key === "Escape") clear();
  });
  on(ui.search, "input", () => set("query", ui.search.value));
  on(ui.search, "keydown", (event) => {
    if (event.key !== "Enter" || !matches.size) return;
    set("selected", [...matches].find((i) => i > get("selected")) ?? [...matches][0]); // from match to match
  });
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
    if (!drag.moved && Math.hypot(dx, dy) < 4) return; // a click with an unsteady hand
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

  // ---- start

  model.on("change:step", onStep);
  model.on("change:hover", onHover);
  model.on("change:query", onQuery);
  for (const name of ["selected", "among", "neighbours", "pair_rank", "note", "alt_text"]) model.on(`change:${name}`, onAnswer);
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
  requestAnimationFrame(readTheme); // styles apply once the root is in the page
  if (pictures)
    createImageBitmap(new Blob([get("atlas")], { type: "image/webp" })).then((image) => {
      atlas = image;
      readTheme();
    });
  play(false);
  for (const follow of [onStep, onHover, onQuery, onAnswer]) follow();
  return () => {
    leaving.abort();
    resize.disconnect();
    restyle.disconnect();
    clearInterval(timer);
    cancelAnimationFrame(travelling);
  };
}

export default { render };
