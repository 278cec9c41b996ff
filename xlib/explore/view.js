// The explorer's front end. What can be chosen (step, hover, selected, query, …) lives in the widget's model, so that
// Python and the browser see the same; everything drawn follows from it. Data is put in as text, never as markup.

const TRAVEL = 600; // ms from one snapshot to another
const DWELL = 250; // ms that play rests on each
const SETTLED = 140; // ms after the last move of a drag or zoom, until captions are chosen anew
const PAGE = 20; // rows of the table
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const OWN_KEYS = ["data-lm-suppress-shortcuts", "true"]; // Jupyter's shortcuts are not for here
const MARKUP = `
  <div class="top"><strong data-ui="title"></strong><output data-ui="count" class="count" aria-live="polite"></output>
    <button data-ui="take" type="button" class="take" hidden>Select them</button>
    <input data-ui="search" type="search" placeholder="Search captions" aria-label="Search captions" spellcheck="false"></div>
  <div class="bar">
    <div class="choice" role="group" aria-label="View"><button data-tab="map" type="button">Map</button
      ><button data-tab="matrix" type="button">Matrix</button><button data-tab="table" type="button">Table</button></div>
    <label data-ui="projecting">Projection <select data-ui="projection"></select></label>
    <form data-ui="spanning" class="spanning" hidden><input data-ui="one" type="text" aria-label="Axis from" placeholder="from: even" spellcheck="false"
      ><span aria-hidden="true">↔</span><input data-ui="other" type="text" aria-label="Axis to" placeholder="to: odd" spellcheck="false"
      ><button type="submit">Show</button></form>
    <label data-ui="comparing">Compare <select data-ui="compare"></select></label>
    <form data-ui="typing" class="typing" hidden><input data-ui="typed" type="text" aria-label="Your own caption" placeholder="Type your own caption" spellcheck="false"
      ><button type="submit">Place it</button></form>
    <div data-ui="tools" class="choice tools" role="group" aria-label="Dragging on the map"><button data-tool="move" type="button">Move</button
      ><button data-tool="lasso" type="button">Lasso</button><button data-tool="box" type="button">Box</button></div>
    <button data-ui="save" type="button">Save picture</button>
  </div>
  <p data-ui="refused" class="warning" role="alert" hidden></p>
  <div class="middle">
    <div class="left">
      <div data-ui="stages" class="stages">
        <div class="zoom"><button data-ui="zoomIn" type="button" aria-label="Zoom in">+</button
          ><button data-ui="zoomOut" type="button" aria-label="Zoom out">−</button
          ><button data-ui="fit" type="button" aria-label="Show all">Fit</button></div>
        <div data-ui="card" class="card" hidden></div>
      </div>
      <div data-ui="matrixView" class="matrix" hidden><canvas data-ui="matrix" tabindex="0" role="application"
        aria-roledescription="similarity matrix"></canvas><div class="cell"><p data-ui="about" class="note"></p><div class="scale"></div><div class="ends"><span data-ui="low"></span><span>cosine</span><span data-ui="high"></span></div>
        <div data-ui="cell"></div></div></div>
      <div data-ui="tableView" class="table" hidden><div class="sheet" tabindex="0" role="region" aria-label="Table of items"><table><thead><tr data-ui="head"></tr></thead><tbody data-ui="body"></tbody></table></div>
        <div class="pages"><button data-ui="back" type="button">Previous</button><span data-ui="pages"></span><button data-ui="next" type="button">Next</button></div></div>
      <div data-ui="training" class="training"><button data-ui="play" type="button" class="play"></button>
        <input data-ui="slider" type="range" min="0" step="1" aria-label="Training step"><span data-ui="at" class="step"></span></div>
      <div data-ui="legend" class="legend"></div>
    </div>
    <aside aria-label="Selected item">
      <div data-ui="hint" class="hint"><p data-ui="invite"></p>
        <p>On the map, arrow keys walk from item to item, Enter selects one, Space adds one, Escape clears, and + − 0 zoom.
        Shift and a drag draw a lasso.</p></div>
      <div data-ui="chosen" class="chosen">
        <button data-ui="close" type="button" class="close" aria-label="Clear selection">×</button><div data-ui="topmost"></div>
        <p data-ui="warning" class="warning"></p>
        <p data-ui="heading" class="heading" hidden></p>
        <div data-ui="toggle" class="choice toggle" role="group" aria-label="Neighbours among"><button data-ui="all" type="button"
          >All items</button><button data-ui="others" type="button">Other modality</button></div>
        <ol data-ui="list"></ol><p data-ui="note" class="note"></p>
      </div>
    </aside>
  </div>
  <div data-ui="live" class="unseen" role="status"></div>`; // constant: no data in here

const still = matchMedia("(prefers-reduced-motion: reduce)");
const ease = (x) => 1 - (1 - x) ** 3; // fast at first: the very next frame shows that something moves
const count = (x) => x.toLocaleString("en");
const same = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // strings become text nodes
  return node;
}

/** Bytes as an array of numbers; copied, since a typed array needs an aligned start. */
function numbers(view, Type) {
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

/** What never changes, unpacked. */
function unpack(model) {
  const setup = model.get("setup");
  const n = setup.captions.length;
  const columns = numbers(model.get("columns"), Int32Array);
  const [classOf, kinds, pairs, sprites, domainOf, group] = [0, 1, 2, 3, 4, 5].map((c) => columns.subarray(c * n, (c + 1) * n));
  const hash = (i) => Math.imul(i + 1, 2654435761) >>> 0; // no stretch of the table is drawn or labelled first
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => hash(a) - hash(b));
  const lower = setup.captions.map((caption) => caption.toLowerCase());
  const similarity = Float32Array.from(numbers(model.get("pair_similarity"), Int16Array), (v) => v / 10_000);
  const pictures = sprites.filter((s) => s >= 0).length;
  return { ...setup, n, classOf, kinds, pairs, sprites, domainOf, group, order, lower, similarity, pictures };
}

/** The elements of the widget by name. The rows of the neighbour list are made once and refilled: focus stays put. */
function build(data, live) {
  const root = h("div", { class: "xlib-explorer" });
  root.innerHTML = MARKUP;
  // On each by itself: Notebook 7 looks at what has the focus before it looks around it.
  for (const node of root.querySelectorAll("button, input, select, [tabindex]")) node.setAttribute(...OWN_KEYS);
  const ui = Object.fromEntries([...root.querySelectorAll("[data-ui]")].map((node) => [node.dataset.ui, node]));
  const row = (name) => {
    const [thumb, caption, meta, bar] = [h("canvas"), h("span", { class: "caption" }), h("span", { class: "meta" }), h("i")];
    const button = h(name === "head" ? "div" : "button", name === "head" ? {} : { type: "button", [OWN_KEYS[0]]: true }, thumb, caption, meta, h("span", { class: "bar" }, bar));
    button.className = name;
    return { button, thumb, caption, meta, bar, index: -1 };
  };
  ui.title.textContent = data.title;
  ui.invite.textContent = `Click an item to list its nearest neighbours in all ${data.dimensions} dimensions.`;
  ui.about.textContent = data.matrix.rows.length < Math.max(data.n, 3) ? `${data.matrix.rows.length} items a side, spread over the classes and ordered by them.` : "All items.";
  ui.matrix.setAttribute("aria-label", `Similarity matrix: ${ui.about.textContent} Arrow keys go from cell to cell, Enter selects its two items.`);
  [ui.low.textContent, ui.high.textContent] = [data.matrix.low.toFixed(2), data.matrix.high.toFixed(2)];
  ui.slider.max = data.steps.length - 1;
  ui.training.hidden = data.steps.length < 2;
  ui.toggle.hidden = data.modalities.length < 2;
  ui.typing.hidden = !live || !data.encodes;
  const option = ([value, text]) => h("option", { value }, text);
  const names = { "": "nothing", steps: "first and later step", modality: "modalities", domains: "domains", projection: "PCA and UMAP" };
  ui.compare.append(...["", ...Object.keys(data.comparisons)].map((name) => option([name, names[name]])));
  ui.projection.append(...[["pca", "PCA"], ["umap", "UMAP"], ["axis", "Between two texts"]].map(option));
  const some = [data.classes.length, data.modalities.length > 1, data.domains.length, data.pairs.some((j) => j >= 0)];
  ui.columns = ["class", "modality", "domain", "cosine with its pair"].map((name, c) => (some[c] ? name : "")); // "": nothing in it
  ui.head.append(h("td"), ...["caption", ...ui.columns.filter(Boolean)].map((name) => h("th", { scope: "col" }, name)));
  const [head, pair, rows] = [row("head"), row("row pair"), Array.from({ length: data.k }, () => row("row"))];
  ui.topmost.append(head.button, pair.button);
  ui.list.append(...rows.map((r) => h("li", {}, r.button)));
  return { ...ui, root, top: head, pair, rows };
}

function render({ model, el }) {
  const data = unpack(model);
  const offline = model.get("offline"); // answers of a kernel that is not there
  const ui = build(data, !offline);
  const { n, captions, pairs, sprites, kinds } = data;
  const last = data.steps.length - 1;
  const leaving = new AbortController();
  const on = (target, type, f, options) => target.addEventListener(type, f, { signal: leaving.signal, ...options });
  const get = (name) => model.get(name);
  const look = { width: 0, height: 0, dpr: 1, zoom: 1, x: 0, y: 0, position: get("step"), atlas: null, theme: null, moving: false };
  const layouts = {}; // unpacked, by name
  let maps = []; // one, or two side by side
  let [travelling, frame, timer, settling] = [0, 0, 0, 0];
  let [tab, tool, page, cursor, spanning] = ["map", "move", 0, null, false];
  let [matches, partners, gesture] = [new Set(), [], null];

  function set(values) {
    const changed = Object.entries(values).filter(([name, value]) => !same(get(name), value));
    for (const [name, value] of changed) model.set(name, value);
    if (changed.length) model.save_changes();
  }

  const selected = () => get("selected");
  const one = () => (selected().length === 1 ? selected()[0] : -1);
  const near = () => get("neighbours").map(([j]) => j);

  // ---- theme

  function readTheme() {
    ui.root.style.colorScheme = ""; // what the page says, before what we conclude from it
    const style = getComputedStyle(ui.root);
    const c = scratch(1, 1);
    const rgb = (colour) => {
      c.fillStyle = colour;
      c.fillRect(0, 0, 1, 1);
      return [...c.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    };
    const dark = rgb(style.color).reduce((sum, v) => sum + v) > 384; // light ink
    ui.root.classList.toggle("dark", dark);
    ui.root.style.colorScheme = dark ? "dark" : "light";
    const tint = (code) => (dark && code === "#000000" ? "#e4e4e4" : code); // black says nothing on black
    const colours = ["#808080", ...data.classes.map((_, i) => tint(data.palette[i] ?? "#808080"))];
    const [ink, paper, accent] = [style.color, style.backgroundColor, style.getPropertyValue("--accent").trim()];
    const inks = colours.map((colour) => packed(rgb(colour)));
    look.theme = { dark, ink, paper, accent, colours, inks, paperInk: packed(rgb(paper)), chip: dark ? "#e9ebee" : "#fff" };
    legend();
    fillPanel();
    redraw();
  }

  function thumb(canvas, i, size) {
    canvas.width = canvas.height = size * look.dpr;
    canvas.style.width = canvas.style.height = `${size}px`;
    const c = canvas.getContext("2d");
    c.scale(look.dpr, look.dpr);
    if (look.theme) maps[0].item(c, i, size / 2, size / 2, sprites[i] >= 0 ? size - 2 : Math.min(size, 22));
  }

  // ---- maps

  function layout(name) {
    const sent = get("maps")[name] ?? get("maps").pca ?? Object.values(get("maps"))[0]; // until the kernel has made it
    if (layouts[name]?.sent !== sent) layouts[name] = { ...sent, sent, frames: numbers(sent.frames, Uint16Array) };
    return layouts[name];
  }

  /** As many maps as `compare` wants, and what each of them shows. */
  function arrange() {
    const compare = get("compare");
    while (maps.length < (compare ? 2 : 1)) maps.push(addMap());
    for (const map of maps.splice(compare ? 2 : 1)) map.canvas.parentNode.remove();
    const rowsWhere = (test) => data.order.filter(test);
    maps.forEach((map, m) => {
      map.layout = layout(compare === "projection" ? ["pca", "umap"][m] : get("projection"));
      map.fixed = compare === "steps" && m === 0 ? 0 : null;
      if (compare === "modality") map.show(rowsWhere((i) => (kinds[i] === 0) === (m === 0)));
      else if (compare === "domains") map.show(rowsWhere((i) => data.domainOf[i] < 0 || (data.domainOf[i] === 0) === (m === 0)));
      else map.show(data.order);
      const moves = compare === "steps" && m === 1;
      map.ui.caption.textContent = !compare ? "" : moves ? `step ${count(data.steps[get("step")])}` : data.comparisons[compare][m];
      map.ui.axisX.textContent = map.layout.axes[0];
      map.ui.axisY.textContent = map.layout.axes[1];
    });
    ui.stages.classList.toggle("two", maps.length > 1);
    measure();
  }

  function addMap() {
    const canvas = h("canvas", { tabindex: 0, role: "application", "aria-roledescription": "map of an embedding" });
    const parts = { axisX: h("span", { class: "axis x" }), axisY: h("span", { class: "axis y" }), caption: h("span", { class: "what" }) };
    ui.stages.insertBefore(h("div", { class: "stage" }, canvas, ...Object.values(parts)), ui.zoomIn.parentNode);
    const map = createMap(data, look, canvas);
    canvas.setAttribute("aria-label", get("alt_text"));
    canvas.setAttribute(...OWN_KEYS);
    listen(map, canvas);
    return Object.assign(map, { ui: parts });
  }

  function measure() {
    const stage = maps[0].canvas.parentNode;
    look.width = stage.clientWidth;
    look.height = Math.round(clamp(look.width * (maps.length > 1 ? 0.95 : 0.68), 300, 540));
    look.dpr = window.devicePixelRatio || 1;
    for (const map of maps) map.canvas.style.height = `${look.height}px`;
    redraw();
  }

  /** Items that stand out while the others fade, or null where all are equal. */
  function emphasised() {
    if (get("query").trim()) return matches;
    if (get("typed")) return new Set(near());
    if (!selected().length) return null;
    return new Set(one() < 0 ? selected() : [one(), pairs[one()], ...near()]);
  }

  function drawMaps(labels) {
    if (!look.width || !look.theme || tab !== "map") return;
    const bright = emphasised();
    const scene = { hover: get("hover"), selected: selected(), near: near(), partners, bright, typed: get("typed"), loop: gesture?.loop, map: gesture?.map };
    maps.forEach((map, m) => {
      if (labels) map.label(get("step"), [...partners, ...scene.near], bright, [one(), scene.hover].filter((i) => i >= 0));
      map.draw({ ...scene, landed: get("landed")[get("compare") === "projection" ? ["pca", "umap"][m] : get("projection")] });
    });
    placeCard();
  }

  function redraw() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      drawMaps(!look.moving);
      drawMatrix();
    });
  }

  /** Redraw for as long as something is dragged or zoomed: the captions stay as they are until it is over. */
  function keepMoving() {
    look.moving = true;
    clearTimeout(settling);
    settling = setTimeout(() => {
      look.moving = false;
      redraw();
    }, SETTLED);
    redraw();
  }

  /** Move to the step chosen: gliding, or at once where motion is unwelcome. */
  function travel() {
    cancelAnimationFrame(travelling);
    const [from, to, start] = [look.position, get("step"), performance.now() - 16]; // the first frame already moves
    let first = true;
    const tick = (now) => {
      const x = still.matches ? 1 : Math.min(1, (now - start) / TRAVEL);
      look.position = x < 1 ? from + (to - from) * ease(x) : to;
      drawMaps(first); // captions are chosen once
      first = false;
      if (x < 1) travelling = requestAnimationFrame(tick);
    };
    travelling = requestAnimationFrame(tick);
  }

  function zoom(factor, x = look.width / 2, y = look.height / 2) {
    const to = clamp(look.zoom * factor, 1, 60);
    const ratio = to / look.zoom;
    look.x = to === 1 ? 0 : (x - look.width / 2) * (1 - ratio) + look.x * ratio;
    look.y = to === 1 ? 0 : (y - look.height / 2) * (1 - ratio) + look.y * ratio;
    look.zoom = to;
    keepMoving();
  }

  function pan(dx, dy) {
    look.x += dx;
    look.y += dy;
    keepMoving();
  }

  // ---- card, panel, legend

  const kindOf = (i) => data.modalities[kinds[i]];
  const facts = (i) => [data.classes[data.classOf[i]], kindOf(i), data.domains[data.domainOf[i]]].filter(Boolean).join(" · ");
  const pairCosine = (i) => data.similarity[get("step") * n + i];

  function fillCard() {
    const i = get("hover");
    ui.card.hidden = i < 0 || tab !== "map";
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
    const map = maps.find((m) => m === gesture?.over && m.here[i]) ?? maps.find((m) => m.here[i]);
    if (i < 0 || !map) return;
    const [left, room] = [map.canvas.parentNode.offsetLeft, ui.stages.clientWidth];
    const [w, tall, gap] = [ui.card.offsetWidth, ui.card.offsetHeight, map.sizeOf(i) + 8];
    const at = left + map.at[2 * i];
    const x = at + gap + w < room ? at + gap : at - gap - w;
    const inside = (v, most) => clamp(v, 4, Math.max(4, most - 4));
    ui.card.style.transform = `translate(${inside(x, room - w)}px, ${inside(map.at[2 * i + 1] - tall / 2, look.height - tall)}px)`;
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
    const [i, many, typed, neighbours] = [one(), selected().length, get("typed"), get("neighbours")];
    ui.hint.hidden = many > 0 || !!typed;
    ui.chosen.hidden = !ui.hint.hidden;
    if (ui.chosen.hidden) return;
    const pair = i >= 0 ? pairs[i] : -1;
    ui.top.thumb.hidden = i < 0;
    if (i >= 0) fillRow(ui.top, i, 52, facts(i));
    else ui.top.caption.textContent = typed || `${count(many)} items selected`;
    if (i < 0) ui.top.meta.textContent = typed ? "your own caption" : tally(selected());
    ui.pair.button.hidden = pair < 0;
    if (pair >= 0) {
      const rivals = (of) => count(kinds.filter((kind, j) => kind === kinds[of]).length);
      const [there, back] = get("ranks");
      fillRow(ui.pair, pair, 28, pairCosine(i).toFixed(2), pairCosine(i));
      ui.pair.button.dataset.rank = there ? `Its ${kindOf(pair)}: rank ${count(there)} of ${rivals(pair)}; from there back: ${count(back)} of ${rivals(i)}` : `Its ${kindOf(pair)}`;
    }
    const [other, listed] = [get("among") === "other", i >= 0 || !!typed];
    ui.all.setAttribute("aria-pressed", !other);
    ui.others.setAttribute("aria-pressed", other);
    ui.others.textContent = typed ? "With a picture" : "Other modality";
    ui.toggle.hidden = !listed || data.modalities.length < 2;
    const pool = typed ? (other ? data.pictures : n) : other ? kinds.filter((kind) => kind !== kinds[i]).length : n - 1;
    const rows = listed ? neighbours : selected().slice(0, data.k).map((j) => [j, null]);
    ui.heading.textContent = listed ? `${rows.length} nearest of ${count(pool)}` : many > rows.length ? `The first ${rows.length}` : "";
    if (listed && !rows.length) ui.heading.textContent = "";
    ui.heading.hidden = !ui.heading.textContent;
    ui.rows.forEach((row, r) => {
      row.button.parentNode.hidden = r >= rows.length;
      if (r >= rows.length) return;
      const [j, cosine] = rows[r];
      fillRow(row, j, 28, cosine === null ? "" : cosine.toFixed(2), cosine ?? 0);
    });
    ui.note.textContent = get("note");
    ui.warning.textContent = get("warning");
    ui.warning.hidden = !get("warning");
  }

  /** The most frequent classes of some rows, in words. */
  function tally(rows) {
    const counts = new Map();
    for (const i of rows) counts.set(data.classOf[i], (counts.get(data.classOf[i]) ?? 0) + 1);
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
    return data.classes.length ? most.map(([c, times]) => `${count(times)} ${data.classes[c] ?? "without a class"}`).join(", ") : "";
  }

  function legend() {
    const swatch = (shape, fill, name) => h("span", {}, h("i", { class: shape, style: `color: ${fill}` }), name);
    const pictured = (g) => data.group.some((of, i) => of === g && sprites[i] >= 0);
    const shape = (g) => (pictured(g) ? `picture ${OUTLINES[g]}` : MARKERS[g]);
    const groups = data.groups.map((name, g) => swatch(shape(g), look.theme.ink, name));
    const classes = data.palette.map((_, c) => swatch("square", look.theme.colours[c + 1], data.classes[c]));
    ui.legend.replaceChildren(...(groups.length > 1 ? groups : []), ...classes);
  }

  // ---- similarity matrix

  const shades = numbers(model.get("matrix"), Uint8Array);
  const { rows: lines, columns: files, low, high } = data.matrix;
  const side = lines.length;
  const cosineAt = (r, c) => low + ((high - low) * shades[(get("step") * side + r) * side + c]) / 255;

  function viridis(v) {
    const [k, f] = [Math.min(Math.floor(v * 4), 3), v * 4 - Math.min(Math.floor(v * 4), 3)];
    return VIRIDIS[k].map((a, channel) => a + (VIRIDIS[k + 1][channel] - a) * f);
  }
  const ramp = Uint32Array.from({ length: 256 }, (_, v) => packed(viridis(v / 255)));

  function drawMatrix() {
    if (tab !== "matrix" || !look.theme) return;
    const room = Math.min(ui.matrixView.clientWidth, 540);
    const px = Math.round(room * look.dpr);
    Object.assign(ui.matrix, { width: px, height: px });
    ui.matrix.style.width = ui.matrix.style.height = `${room}px`;
    const c = ui.matrix.getContext("2d");
    const cells = scratch(side, side);
    const picture = cells.createImageData(side, side);
    const ink = new Uint32Array(picture.data.buffer);
    const from = get("step") * side * side;
    for (let k = 0; k < ink.length; k++) ink[k] = ramp[shades[from + k]];
    cells.putImageData(picture, 0, 0);
    c.imageSmoothingEnabled = false;
    c.drawImage(cells.canvas, 0, 0, px, px);
    const unit = px / side;
    const band = (i, weight) => {
      Object.assign(c, { strokeStyle: "#fff", lineWidth: weight * look.dpr });
      lines.forEach((row, r) => row === i && c.strokeRect(0, r * unit, px, unit));
      files.forEach((row, k) => row === i && c.strokeRect(k * unit, 0, unit, px));
    };
    for (const i of selected()) band(i, 1);
    if (get("hover") >= 0) band(get("hover"), 2);
    if (cursor) {
      Object.assign(c, { strokeStyle: "#d55e00", lineWidth: 3 * look.dpr });
      c.strokeRect(cursor[1] * unit, cursor[0] * unit, unit, unit);
    }
  }

  function pointCell(r, c) {
    cursor = r === null ? null : [clamp(r, 0, side - 1), clamp(c, 0, side - 1)];
    set({ hover: cursor ? lines[cursor[0]] : -1 });
    fillCell(); // after the card, which says less
    redraw();
  }

  function fillCell() {
    if (!cursor) return ui.cell.replaceChildren();
    const [i, j, cosine] = [lines[cursor[0]], files[cursor[1]], cosineAt(...cursor).toFixed(2)];
    const line = (row) => {
      const picture = h("canvas");
      thumb(picture, row, 44);
      return h("p", {}, picture, h("br"), `${short(captions[row], 60)} (${kindOf(row)})`);
    };
    ui.cell.replaceChildren(line(i), line(j), h("p", {}, "cosine ", h("b", {}, cosine)));
    ui.live.textContent = `${captions[i]} (${kindOf(i)}) and ${captions[j]} (${kindOf(j)}): cosine ${cosine}`;
  }

  // ---- table

  function fillTable() {
    if (tab !== "table") return;
    const rows = get("query").trim() ? [...matches] : [...captions.keys()];
    page = clamp(page, 0, Math.max(0, Math.ceil(rows.length / PAGE) - 1));
    const [from, to] = [page * PAGE, Math.min((page + 1) * PAGE, rows.length)];
    const chosen = new Set(selected());
    ui.pages.textContent = rows.length ? `${count(from + 1)} to ${count(to)} of ${count(rows.length)}` : "no items";
    [ui.back.disabled, ui.next.disabled] = [page === 0, to === rows.length];
    ui.body.replaceChildren(...rows.slice(from, to).map((i) => {
      const box = h("input", { type: "checkbox", "aria-label": `Select ${captions[i]}, ${kindOf(i)}` });
      box.checked = chosen.has(i);
      box.dataset.row = i;
      const cosine = pairs[i] >= 0 ? pairCosine(i).toFixed(2) : "";
      const texts = [data.classes[data.classOf[i]] ?? "", kindOf(i), data.domains[data.domainOf[i]] ?? "", cosine];
      const cells = texts.filter((_, c) => ui.columns[c]).map((text) => h("td", {}, text));
      return h("tr", {}, h("td", {}, box), h("th", { scope: "row" }, captions[i]), ...cells);
    }));
  }

  // ---- what follows when something is chosen, here or in Python

  function onStep() {
    const step = get("step");
    ui.slider.value = step;
    ui.at.textContent = `step ${count(data.steps[step])}`;
    ui.slider.setAttribute("aria-valuetext", `step ${data.steps[step]}, ${step + 1} of ${last + 1} snapshots`);
    if (get("compare") === "steps") maps[1].ui.caption.textContent = ui.at.textContent;
    answer();
    fillCard();
    fillPanel();
    fillCell();
    fillTable();
    travel();
    drawMatrix();
  }

  function onHover() {
    const i = get("hover");
    partners = i < 0 ? [] : [...data.order].filter((j) => pairs[i] === j || pairs[j] === i);
    fillCard();
    redraw();
  }

  function onAnswer() {
    for (const map of maps) map.canvas.setAttribute("aria-label", [map.ui.caption.textContent, get("alt_text")].filter(Boolean).join(". "));
    fillPanel();
    redraw();
  }

  function onSelected() {
    answer();
    fillTable();
    onAnswer();
  }

  function onMaps() {
    const [projection, [from, to]] = [get("projection"), get("axis").length ? get("axis") : ["", ""]];
    const can = (name) => !offline || get("maps")[name];
    for (const option of ui.projection.options) option.hidden = option.disabled = !can(option.value);
    for (const option of ui.compare.options) option.hidden = option.disabled = option.value === "projection" && !(can("pca") && can("umap"));
    if (projection === "axis") spanning = false;
    ui.projection.value = spanning ? "axis" : projection;
    ui.spanning.hidden = !!offline || ui.projection.value !== "axis";
    if (!get("refused")) [ui.one.value, ui.other.value] = [from || ui.one.value, to || ui.other.value];
    ui.compare.value = get("compare");
    ui.projecting.hidden = get("compare") === "projection" || [...ui.projection.options].filter((o) => !o.disabled).length < 2;
    ui.comparing.hidden = [...ui.compare.options].filter((o) => !o.disabled).length < 2;
    arrange();
    answer();
    onAnswer();
  }

  function onTyped() {
    if (!get("refused") && ui.typed.value.trim() !== get("typed")) ui.typed.value = get("typed");
    onAnswer();
  }

  function onRefused() {
    ui.refused.textContent = get("refused");
    ui.refused.hidden = !get("refused");
  }

  function onQuery() {
    const needle = get("query").trim().toLowerCase(); // as in the Python model
    matches = new Set(needle ? [...captions.keys()].filter((i) => data.lower[i].includes(needle)) : []);
    if (ui.search.value.trim() !== get("query").trim()) ui.search.value = get("query");
    ui.count.textContent = needle ? `${count(matches.size)} of ${count(n)} match` : "";
    ui.take.hidden = !matches.size;
    page = 0;
    fillTable();
    redraw();
  }

  /** Without a kernel: what it would have answered, from the tables that came with the page. */
  function answer() {
    if (!offline) return;
    const [i, step, other] = [one(), get("step"), get("among") === "other" ? 1 : 0];
    const text = offline.texts[get("projection")][step];
    const empty = { neighbours: [], ranks: [0, 0], note: "", warning: "", alt_text: text };
    if (i < 0) return set(empty);
    const at = `${count(data.steps[last])}`;
    if (step !== last) return set({ ...empty, note: `This page knows neighbours at the last step, ${at}, only.` });
    const from = (other * n + i) * data.k;
    const rows = [...numbers(offline.rows, Int32Array).subarray(from, from + data.k)].filter((j) => j >= 0);
    const cosines = numbers(offline.cosines, Int16Array).subarray(from, from + data.k);
    const both = numbers(offline.agree[get("projection")], Uint8Array)[other * n + i];
    const trust = offline.trust[get("projection")];
    const judged = trust === null ? "" : ` The map's trustworthiness: ${trust.toFixed(2)} (1 is perfect, chance about 0.5).`;
    set({
      neighbours: rows.map((j, r) => [j, cosines[r] / 10_000]),
      ranks: [...numbers(offline.ranks, Int32Array).subarray(2 * i, 2 * i + 2)],
      note: `By cosine in all ${data.dimensions} dimensions; ${both} of these ${rows.length} are also nearest on the map.${judged}`,
      warning: rows.length > 1 && both < rows.length / 2 ? `The map misleads here: ${both} of the ${rows.length} true neighbours are nearest on it.` : "",
      alt_text: `${text} Selected: ${captions[i]} (${kindOf(i)}).`,
    });
  }

  function clear() {
    set({ hover: -1, selected: [], query: "", typed: "" });
  }

  function play(start) {
    const advance = () => (get("step") < last ? set({ step: get("step") + 1 }) : play(false));
    clearInterval(timer);
    ui.play.classList.toggle("playing", start);
    ui.play.setAttribute("aria-label", start ? "Pause" : "Play training");
    if (!start) return;
    timer = setInterval(advance, TRAVEL + DWELL);
    if (get("step") === last) set({ step: 0 });
    else advance();
  }

  function show(name) {
    tab = name;
    [ui.stages.hidden, ui.matrixView.hidden, ui.tableView.hidden] = ["map", "matrix", "table"].map((t) => t !== tab);
    ui.tools.hidden = ui.save.hidden = tab !== "map";
    for (const button of ui.root.querySelectorAll("[data-tab]")) button.setAttribute("aria-pressed", button.dataset.tab === tab);
    cursor = null;
    fillCell();
    fillTable();
    fillCard();
    redraw();
  }

  function use(name) {
    tool = name;
    for (const button of ui.root.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
    ui.stages.classList.toggle("drawing", tool !== "move");
  }

  /** The maps as one picture, side by side. */
  function save() {
    const [w, tall] = [maps[0].canvas.width, maps[0].canvas.height];
    const sheet = h("canvas", { width: w * maps.length, height: tall });
    maps.forEach((map, m) => sheet.getContext("2d").drawImage(map.canvas, m * w, 0));
    h("a", { href: sheet.toDataURL(), download: "embedding.png" }).click();
  }

  const toggled = (i) => (selected().includes(i) ? selected().filter((j) => j !== i) : [...selected(), i]);

  // ---- events

  on(ui.root, "keydown", (event) => {
    event.stopPropagation(); // JupyterLab would take arrows and Enter for itself
    if (event.key === "Escape") clear();
  });

  /** Call keys[key] for a key pressed on node, without Ctrl, Alt or Meta. */
  function hotkeys(node, keys) {
    on(node, "keydown", (event) => {
      const key = (event.shiftKey && event.key.startsWith("Arrow") ? "Shift" : "") + event.key;
      if (!keys[key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[key]();
    });
  }

  function listen(map, canvas) {
    const walk = (dx, dy) => {
      gesture = { over: map };
      const start = get("hover") >= 0 ? get("hover") : (selected().at(-1) ?? -1);
      const i = map.walk(start, dx, dy);
      if (i >= 0) set({ hover: i });
    };
    hotkeys(canvas, {
      ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0), ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1),
      ShiftArrowLeft: () => pan(60, 0), ShiftArrowRight: () => pan(-60, 0), ShiftArrowUp: () => pan(0, 60), ShiftArrowDown: () => pan(0, -60),
      Enter: () => get("hover") >= 0 && set({ selected: [get("hover")] }),
      " ": () => get("hover") >= 0 && set({ selected: toggled(get("hover")) }),
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(0),
    });
    on(canvas, "pointerdown", (event) => {
      const [x, y] = [event.offsetX, event.offsetY];
      const way = event.shiftKey && tool === "move" ? "lasso" : tool;
      gesture = { map, over: map, way, x, y, from: [x, y], moved: false, add: event.ctrlKey || event.metaKey };
      canvas.setPointerCapture(event.pointerId);
    });
    on(canvas, "pointermove", (event) => {
      const [x, y] = [event.offsetX, event.offsetY];
      if (!gesture?.way) {
        gesture = { over: map };
        return set({ hover: map.pick(x, y) });
      }
      if (!gesture.moved && Math.hypot(x - gesture.x, y - gesture.y) < 4) return; // a click with an unsteady hand
      gesture.moved = true;
      if (gesture.way === "move") pan(x - gesture.x, y - gesture.y);
      else if (gesture.way === "lasso") (gesture.loop ??= [gesture.from]).push([x, y]);
      else gesture.loop = [gesture.from, [x, gesture.from[1]], [x, y], [gesture.from[0], y]];
      [gesture.x, gesture.y] = [x, y];
      redraw();
    });
    on(canvas, "pointerup", (event) => {
      const { way, moved, loop, add } = gesture ?? {};
      gesture = { over: map };
      if (way && !moved) {
        const i = map.pick(event.offsetX, event.offsetY);
        set({ selected: i < 0 ? [] : add ? toggled(i) : [i], typed: "" });
      } else if (loop) set({ selected: [...new Set([...(add ? selected() : []), ...map.inside(loop)])], typed: "" });
      redraw();
    });
    on(canvas, "pointercancel", () => (gesture = null));
    on(canvas, "pointerleave", () => set({ hover: -1 }));
    on(canvas, "wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // scrolling past must not zoom
      event.preventDefault();
      zoom(Math.exp(-clamp(event.deltaY, -100, 100) / 300), event.offsetX, event.offsetY);
    }, { passive: false });
  }

  const cell = (dr, dc) => pointCell(...(cursor ? [cursor[0] + dr, cursor[1] + dc] : [0, 0]));
  const takeCell = () => cursor && set({ selected: [...new Set([lines[cursor[0]], files[cursor[1]]])] });
  hotkeys(ui.matrix, {
    ArrowLeft: () => cell(0, -1), ArrowRight: () => cell(0, 1), ArrowUp: () => cell(-1, 0), ArrowDown: () => cell(1, 0), Enter: takeCell,
  });
  on(ui.matrix, "pointermove", (event) => {
    const unit = ui.matrix.clientWidth / side;
    pointCell(Math.floor(event.offsetY / unit), Math.floor(event.offsetX / unit));
  });
  on(ui.matrix, "pointerleave", () => pointCell(null));
  on(ui.matrix, "click", takeCell);

  on(ui.body, "change", (event) => {
    const row = +event.target.dataset.row;
    set({ selected: toggled(row), typed: "" });
    ui.body.querySelector(`[data-row="${row}"]`)?.focus(); // the table was filled anew
  });
  for (const type of ["focusin", "pointerover"])
    on(ui.body, type, (event) => set({ hover: +(event.target.closest("tr")?.querySelector("input").dataset.row ?? -1) }));
  for (const type of ["focusout", "pointerleave"]) on(ui.body, type, () => set({ hover: -1 }));
  for (const [button, by] of [[ui.back, -1], [ui.next, 1]])
    on(button, "click", () => {
      page += by;
      fillTable();
    });

  for (const button of ui.root.querySelectorAll("[data-tab]")) on(button, "click", () => show(button.dataset.tab));
  for (const button of ui.root.querySelectorAll("[data-tool]")) on(button, "click", () => use(button.dataset.tool));
  on(ui.search, "input", () => set({ query: ui.search.value }));
  on(ui.search, "keydown", (event) => {
    if (event.key !== "Enter" || !matches.size) return;
    set({ selected: [[...matches].find((i) => i > (selected()[0] ?? -1)) ?? [...matches][0]] }); // from match to match
  });
  on(ui.take, "click", () => set({ selected: [...matches], query: "" }));
  on(ui.projection, "change", () => {
    spanning = ui.projection.value === "axis" && !get("maps").axis;
    if (!spanning) set({ projection: ui.projection.value });
    onMaps();
  });
  on(ui.compare, "change", () => set({ compare: ui.compare.value }));
  on(ui.spanning, "submit", (event) => {
    event.preventDefault();
    set({ axis: [ui.one.value, ui.other.value] });
  });
  on(ui.typing, "submit", (event) => {
    event.preventDefault();
    set({ typed: ui.typed.value.trim() });
  });
  on(ui.slider, "input", () => {
    play(false);
    set({ step: +ui.slider.value });
  });
  on(ui.play, "click", () => play(!ui.play.classList.contains("playing")));
  on(ui.zoomIn, "click", () => zoom(1.5));
  on(ui.zoomOut, "click", () => zoom(1 / 1.5));
  on(ui.fit, "click", () => zoom(0));
  on(ui.close, "click", clear);
  on(ui.all, "click", () => set({ among: "all" }));
  on(ui.others, "click", () => set({ among: "other" }));
  on(ui.save, "click", save);
  for (const row of [ui.pair, ...ui.rows]) {
    on(row.button, "click", () => set({ selected: [row.index], typed: "" }));
    for (const type of ["pointerenter", "focus"]) on(row.button, type, () => set({ hover: row.index }));
    for (const type of ["pointerleave", "blur"]) on(row.button, type, () => set({ hover: -1 }));
  }

  // ---- start

  const follow = {
    step: onStep, hover: onHover, query: onQuery, selected: onSelected, typed: onTyped, refused: onRefused,
    maps: onMaps, projection: onMaps, compare: onMaps, axis: onMaps, landed: redraw,
  };
  for (const [name, f] of Object.entries(follow)) model.on(`change:${name}`, f);
  model.on("change:among", onSelected);
  for (const name of ["neighbours", "ranks", "note", "warning", "alt_text"]) model.on(`change:${name}`, onAnswer);
  el.append(ui.root);
  show("map");
  use("move");
  onMaps();
  const resize = new ResizeObserver(measure);
  resize.observe(ui.stages);
  const restyle = new MutationObserver(readTheme);
  for (const node of [document.documentElement, document.body])
    restyle.observe(node, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class", "theme"] });
  on(matchMedia("(prefers-color-scheme: dark)"), "change", readTheme);
  requestAnimationFrame(readTheme); // styles apply once the root is in the page
  if (data.pictures)
    createImageBitmap(new Blob([get("atlas")], { type: "image/webp" })).then((image) => {
      look.atlas = image;
      readTheme();
    });
  play(false);
  for (const f of [onStep, onHover, onQuery, onTyped, onRefused]) f();
  return () => {
    leaving.abort();
    resize.disconnect();
    restyle.disconnect();
    clearInterval(timer);
    clearTimeout(settling);
    cancelAnimationFrame(travelling);
  };
}

export default { render };
