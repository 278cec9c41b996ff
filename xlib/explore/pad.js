// The drawing pad: strokes by mouse, finger, pen or keys, made into the picture that the encoder sees; the nearest
// captions, and where it lands on the map. All of it is computed here, so that it follows the pen, and needs no kernel.

const REST = 500; // milliseconds of quiet before words are spoken, and Python hears of it
const LISTED = 6; // captions, see pad.py
const STEP = 1 / 20; // of a square: what an arrow key moves the pen by
const FINE = 0.004; // of a square: a pen that has moved less has not moved
const [WIDE, HIGH] = [300, 230]; // of the map
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP = "Draw with mouse, finger or pen. By keys: arrows move the pen, Space puts it down and up, Delete clears, "
  + "Escape leaves.";

/** An element of SVG. */
function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A picture of ink, pixel by pixel: the element, and a function that shows another one in it. */
function grid(height, width) {
  const cells = Array.from({ length: height * width }, (_, i) => s("rect", {
    x: i % width, y: Math.floor(i / width), width: 1, height: 1, "fill-opacity": 0,
  }));
  const shown = new Float32Array(height * width);
  return [s("g", { fill: "currentColor", "shape-rendering": "crispEdges" }, ...cells), (pixels) => cells.forEach((cell, i) => {
    const ink = pixels ? pixels[i] : 0;
    if (ink !== shown[i]) cell.setAttribute("fill-opacity", (shown[i] = ink).toFixed(3));
  })];
}

const cosineText = (v) => (Math.abs(v) < 0.005 ? "0.00" : v.toFixed(2).replace("-", "−"));
const path = (stroke) => `M${stroke.map((point) => point.map((v) => v.toFixed(3)).join(" ")).join("L")}${stroke.length < 2 ? "z" : ""}`;

function render({ model, el }) {
  const get = (name) => model.get(name);
  const plan = get("plan");
  const [, height, width] = plan.shape;
  const squares = width / height;
  const [captions, shrink, linear, index] = ["captions", "shrink", "linear", "index"].map(get);
  const known = numbers(get("embeddings"), Float32Array);
  const depth = known.length / captions.length;
  const examples = numbers(get("examples"), Float32Array);
  const ready = examples.length / (height * width);

  let strokes = []; // of points [x, y], in sides of a square
  let picture = null; // the ink that the encoder sees, or null where nothing is drawn
  let [vector, typed] = [null, null]; // unit vectors: of the picture, and of the caption that was typed
  let [towers, coming, trouble, frame, timer] = [null, null, "", 0, 0];
  let example = ready > 1 ? 1 : 0; // the next to be shown: the first is there
  let [touched, begun] = [false, undefined]; // by somebody; the ready picture that is there before
  let [said, mine, hand] = ["", null, null]; // the last words; the picture that Python has from here; the pointer that draws, and its stroke
  const pen = { x: 0.5, y: 0.5, down: null }; // the keyboard's, and its stroke

  // ---- the elements

  const id = `xlib-${Math.random().toString(36).slice(2)}`;
  const root = h("div", { class: "xlib-pad", [OWN_KEYS[0]]: OWN_KEYS[1] });
  const [paper, onPaper] = grid(height, width);
  const lines = s("g", { class: "strokes" });
  const cross = s("path", { class: "cross", d: "M-0.05 0H0.05M0-0.05V0.05" });
  const marks = Array.from({ length: squares - 1 }, (_, i) => s("path", { class: "divide", d: `M${i + 1} 0V1` }));
  const scan = s("g", { transform: `scale(${1 / height})`, class: "scan" }, paper);
  const prompt = s("text", { x: squares / 2, y: 0.54 }, `draw ${squares === 2 ? "two digits" : squares === 1 ? "a digit" : `${squares} digits`} here`);
  const sheet = s("svg", { viewBox: `0 0 ${squares} 1`, "aria-hidden": "true" }, ...marks, prompt, scan, lines, cross);
  const canvas = h("div", { class: "sheet", tabindex: 0, role: "application", "aria-roledescription": "drawing pad",
    "aria-label": "draw here", "aria-describedby": `${id}-help`, style: `aspect-ratio: ${squares} / 1` }, sheet);
  const button = (label) => h("button", { type: "button" }, label);
  const [undo, clear, show] = ["undo", "clear", "show me one"].map(button);
  const [seen, onSeen] = grid(height, width);
  const small = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "what the encoder sees",
    class: "seen" }, seen);
  const about = h("span", { class: "about" });
  const words = h("input", { type: "text", id: `${id}-words`, placeholder: "a caption of your own", autocomplete: "off" });
  const heading = h("p", { class: "heading", id: `${id}-list` });
  const rows = Array.from({ length: LISTED }, () => {
    const [rank, name, bar, value] = [h("span", { class: "rank" }), h("span", { class: "name" }), h("i"), h("span", { class: "value" })];
    return { node: h("li", {}, rank, name, h("span", { class: "bar" }, bar), value), rank, name, bar, value };
  });
  const list = h("ol", { "aria-labelledby": `${id}-list` }, ...rows.map(({ node }) => node));
  const own = h("p", { class: "own" });
  const chart = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", class: "map" });
  const spoken = h("div", { role: "status", class: "unseen" });
  root.append(
    ...(get("title") ? [h("p", { class: "title" }, get("title"))] : []),
    h("div", { class: "parts" },
      h("div", { class: "drawing" }, canvas, h("div", { class: "bar" }, undo, clear, ...(ready ? [show] : [])),
        h("div", { class: "sees" }, small, about), h("p", { class: "help", id: `${id}-help` }, HELP)),
      h("div", { class: "near" }, ...(plan.text ? [h("label", { for: `${id}-words` }, "Caption"), words] : []), heading, list, own),
      h("div", { class: "place" }, chart, h("p", { class: "help" }, `PCA map: the star is the drawing${plan.text ? ", a diamond your caption" : ""}.`))),
    spoken);
  el.replaceChildren(root);
  for (const node of [canvas, undo, clear, show, words]) node.setAttribute(...OWN_KEYS); // Notebook 7 looks there

  // ---- the encoders: a page's come when the pad is first touched

  function load() {
    coming ??= (model.more ? model.more("weights").then(unpackedState) : Promise.resolve({ weights: get("weights") }))
      .then(({ weights }) => { // page.js has both
        towers = createTowers(plan, numbers(weights, Float32Array));
        trouble = "";
        compute();
      }, () => {
        trouble = "The encoder cannot be loaded. Draw again to try again.";
        fill();
        setTimeout(() => { coming = null; }, REST);
      });
  }

  function compute() {
    vector = picture && towers ? towers.picture(picture) : null;
    if (picture && !towers) load();
    read();
  }

  /** What was typed, as a vector; null without a word. */
  function read() {
    const tokens = plan.text ? tokensOf(words.value, index) : [];
    typed = tokens.length && towers ? towers.caption(tokens) : null;
    if (tokens.length && !towers) load();
    fill();
  }

  // ---- what is found

  const cosine = (a, at, b) => {
    let sum = 0;
    for (let i = 0; i < depth; i++) sum += a[at + i] * b[i];
    return sum;
  };

  /** [{ name, cosine, row }], the nearest first, and how many are nearer than each: equal ones share a rank. */
  function nearest() {
    if (!vector) return [];
    const found = captions.map((name, row) => ({ name, row, cosine: cosine(known, row * depth, vector) }));
    if (typed) found.push({ name: words.value.trim(), row: -1, cosine: cosine(typed, 0, vector) });
    found.sort((a, b) => b.cosine - a.cosine);
    found.forEach((one, i) => { one.rank = i && one.cosine === found[i - 1].cosine ? found[i - 1].rank : i + 1; });
    return found;
  }

  function fill() {
    const found = nearest();
    heading.textContent = trouble || `The nearest of ${count(captions.length)} captions, by cosine`;
    rows.forEach(({ node, rank, name, bar, value }, i) => {
      const one = found[i];
      node.classList.toggle("away", !one);
      node.classList.toggle("mine", !!one && one.row < 0);
      rank.textContent = one ? one.rank : "";
      name.textContent = one ? short(one.name, 40) : "";
      name.title = one ? one.name : "";
      bar.style.width = one ? `${100 * clamp(one.cosine, 0, 1)}%` : 0;
      value.textContent = one ? cosineText(one.cosine) : "";
    });
    const yours = found.find(({ row }) => row < 0);
    own.textContent = yours ? `Your caption: ${cosineText(yours.cosine)}, place ${yours.rank} of ${count(found.length)}.` : "";
    fillMap(found);
    rest(found);
  }

  /** Words, and Python's copy of the picture, when all has come to rest. */
  function rest(found) {
    const listed = found.slice(0, LISTED).map(({ name, cosine }) => `${name} ${cosineText(cosine)}`).join(", ");
    const say = found.length ? `The nearest captions: ${listed}. ${own.textContent}`
      : picture ? trouble : "The pad is empty.";
    clearTimeout(timer);
    timer = setTimeout(() => {
      if ((touched || typed) && say !== said) spoken.textContent = said = say;
      if (picture === mine) return;
      mine = picture;
      model.set("picture", picture ? new DataView(picture.slice().buffer) : new DataView(new ArrayBuffer(0)));
      model.save_changes();
    }, REST);
  }

  // ---- the map

  const [left, low, across, up] = get("bounds");
  const scale = Math.min((WIDE - 20) / across, (HIGH - 20) / up);
  const at = (place) => [WIDE / 2 + (place[0] - left - across / 2) * scale, HIGH / 2 - (place[1] - low - up / 2) * scale];
  const placed = (v, from = 0) => linear.map((row) => row.slice(0, -1).reduce((sum, w, i) => sum + w * v[from + i], row.at(-1)));
  const spots = captions.map((_, row) => at(placed(known, row * depth)));
  const dots = spots.map(([cx, cy]) => s("circle", { cx, cy, r: 2.5 }));
  const star = s("path", { class: "star", d: `M${Array.from({ length: 10 }, (_, k) => {
    const [angle, r] = [(k * Math.PI) / 5 - Math.PI / 2, k % 2 ? 4.5 : 11];
    return `${(r * Math.cos(angle)).toFixed(2)} ${(r * Math.sin(angle)).toFixed(2)}`;
  }).join("L")}Z` });
  const diamond = s("path", { class: "diamond", d: "M0-6L6 0L0 6L-6 0Z" });
  const called = s("g", { class: "called" });
  const written = apart();
  chart.append(...dots, s("g", { class: "names" }, ...written.map(({ node }) => node)), diamond, star, called);

  /** A text beside its point, on the side where there is room: the element, and the box that it takes. */
  function label(name, [x, y], away = 6) {
    const [text, right] = [short(name, 22), x < WIDE * 0.6];
    const long = text.length * 6 + away;
    const node = s("text", { x: x + (right ? away : -away), y: y + 3.5, "text-anchor": right ? "start" : "end" }, text);
    return { node, box: [right ? x - 3 : x - long, y - 7, right ? x + long : x + 3, y + 7] };
  }

  function meet([left, top, right, bottom], other) {
    return left < other[2] && other[0] < right && top < other[3] && other[1] < bottom;
  }

  /** Of all names those that do not lie on each other. */
  function apart() {
    const found = [];
    for (const one of captions.map((name, row) => label(name, spots[row])))
      if (one.box[0] > 0 && one.box[2] < WIDE && !found.some(({ box }) => meet(box, one.box))) found.push(one);
    return found;
  }

  /** An explorer of the same map shows the star, too. */
  const tell = (place) => document.dispatchEvent(new CustomEvent("xlib-drawn", { detail: { map: get("map"), place } }));

  function move(node, place) {
    node.style.display = place ? "" : "none";
    if (!place) return;
    node.setAttribute("transform", `translate(${inside(place).map((v) => v.toFixed(1)).join(" ")})`);
  }

  /** Where a place is drawn: what lies beyond the edge, at the edge. */
  function inside(place) {
    const [x, y] = at(place);
    return [clamp(x, 10, WIDE - 10), clamp(y, 10, HIGH - 10)];
  }

  function fillMap(found) {
    const top = found.filter(({ row }) => row >= 0).slice(0, 3);
    dots.forEach((dot, row) => dot.classList.toggle("near", top.some((one) => one.row === row)));
    const place = vector && placed(vector);
    const first = place && label(top[0].name, inside(place), 14); // what it is read as, beside the star
    called.replaceChildren(...(first ? [first.node] : []));
    for (const { node, box } of written) node.classList.toggle("away", !!first && meet(box, first.box));
    move(star, place);
    move(diamond, typed && placed(typed));
    chart.setAttribute("aria-label", top.length ? `PCA map of the captions; the drawing lies nearest to ${top[0].name}` : "PCA map of the captions");
    if (touched) tell(place);
  }

  // ---- drawing

  /** What is there has changed: show it, and compute once a frame. */
  function drawn() {
    let empty = [];
    if (strokes.length) ({ pixels: picture, empty } = pictureOf(strokes, squares, shrink));
    touched ||= begun !== undefined && picture !== begun;
    onPaper(strokes.length ? null : picture);
    onSeen(picture);
    lines.replaceChildren(...strokes.map((stroke) => s("path", { d: path(stroke) })));
    prompt.style.display = picture ? "none" : "";
    undo.disabled = !strokes.length;
    clear.disabled = !picture;
    const which = (i) => (squares === 2 ? ["the left half", "the right half"][i] : `square ${i + 1}`);
    about.textContent = empty.length ? `Still empty: ${empty.map(which).join(", ")}.`
      : `What the encoder sees, ${height} × ${width}`;
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      compute();
    });
  }

  function begin(point) {
    strokes.push([point]);
    drawn();
    return strokes.at(-1);
  }

  function extend(stroke, points) {
    for (const point of points) {
      const last = stroke.at(-1);
      if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= FINE) stroke.push(point);
    }
    drawn();
  }

  /** A whole picture, or none, in place of strokes. */
  function put(pixels) {
    [strokes, picture, pen.down, hand] = [[], pixels, null, null];
    drawn();
  }

  const spot = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [clamp(((clientX - box.left) / box.width) * squares, 0, squares), clamp((clientY - box.top) / box.height, 0, 1)];
  };
  canvas.onpointerdown = (event) => {
    if (event.button || hand) return; // one pen at a time
    canvas.setPointerCapture(event.pointerId);
    pen.down = null;
    root.classList.remove("keys");
    hand = { id: event.pointerId, stroke: begin(spot(event)) };
  };
  canvas.onpointermove = (event) => {
    if (event.pointerId !== hand?.id) return;
    const between = event.getCoalescedEvents?.() ?? [];
    extend(hand.stroke, (between.length ? between : [event]).map(spot));
  };
  canvas.onlostpointercapture = (event) => { if (event.pointerId === hand?.id) hand = null; };

  canvas.onkeydown = (event) => {
    if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
    const arrow = ARROWS[event.key];
    const known = arrow || [" ", "Delete", "Backspace", "Escape"].includes(event.key) || event.ctrlKey;
    if (!known) return;
    event.preventDefault();
    root.classList.add("keys");
    if (arrow) {
      const by = STEP * (event.shiftKey ? 4 : 1);
      [pen.x, pen.y] = [clamp(pen.x + arrow[0] * by, 0, squares), clamp(pen.y + arrow[1] * by, 0, 1)];
      if (pen.down) extend(pen.down, [[pen.x, pen.y]]);
    } else if (event.key === " ") {
      pen.down = pen.down ? null : begin([pen.x, pen.y]);
      spoken.textContent = pen.down ? "pen down" : "pen up";
    } else if (event.key === "Escape") {
      const next = [undo, clear, show, words].find((node) => node.isConnected && !node.disabled);
      next ? next.focus() : canvas.blur();
    } else if (event.key === "z") undo.click();
    else put(null);
    point();
  };
  canvas.onblur = () => { pen.down = null; };

  /** The keyboard's pen, where it is. */
  function point() {
    cross.setAttribute("transform", `translate(${pen.x} ${pen.y})`);
    cross.classList.toggle("down", !!pen.down);
  }

  undo.onclick = () => {
    strokes.pop();
    pen.down = null;
    if (!strokes.length) picture = null;
    drawn();
  };
  clear.onclick = () => put(null);
  show.onclick = () => {
    put(examples.slice(example * height * width, (example + 1) * height * width));
    example = (example + 1) % ready;
  };
  words.oninput = read;
  words.onchange = () => {
    model.set("caption", words.value);
    model.save_changes();
  };
  root.onkeydown = (event) => event.stopPropagation(); // JupyterLab would take it

  // ---- start

  /** A picture that code has set. */
  function came() {
    const given = get("picture");
    const pixels = given?.byteLength ? numbers(given, Float32Array) : null;
    if (mine && pixels && mine.every((v, i) => v === pixels[i])) return; // it is from here
    mine = pixels;
    put(pixels);
  }

  function named() {
    words.value = get("caption");
    read();
  }

  const first = get("first").vector;
  point();
  came();
  begun = picture;
  if (first) { // found by Python: the encoders may stay where they are for now
    cancelAnimationFrame(frame);
    [frame, vector] = [0, Float32Array.from(first)];
    fill();
  }
  for (const event of ["pointerenter", "focusin"]) root.addEventListener(event, load, { once: true });
  words.value = get("caption");
  model.on("change:picture", came);
  model.on("change:caption", named);
  return () => {
    tell(null);
    model.off("change:picture", came);
    model.off("change:caption", named);
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
}

export default { render };
