// A picture, its description, and a ring on each point that can be moved. The image is one element whose content is
// swapped: nothing jumps while a slider or a point is dragged. The description is its alt text at once, and is spoken
// when all has come to rest.

const REST = 600; // milliseconds
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
const PADDING = 8; // CSS pixels of white around the picture
// The picture is made for dense screens: two pixels of the file to one of the page. Matplotlib's ink is dark, so its
// card is white, and the rings, black with a white edge, look the same in every theme.
const STYLE = `
  .xlib-card { position: relative; display: inline-block; max-width: 100%; }
  .xlib-card img { display: block; box-sizing: border-box; max-width: 100%; height: auto; padding: ${PADDING}px;
    border-radius: 6px; color: black; background: white; }
  .xlib-card [role=application] { position: absolute; inset: ${PADDING}px; pointer-events: none; }
  .xlib-card [role=status] { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .xlib-card button { position: absolute; width: 26px; height: 26px; margin: -13px; padding: 0; border-radius: 50%;
    box-sizing: border-box; border: 2px solid black; box-shadow: 0 0 0 2px white, inset 0 0 0 1px white; opacity: 0;
    background: none; cursor: grab; pointer-events: auto; touch-action: none; user-select: none; }
  .xlib-card:hover button { opacity: 0.35; }
  @media (hover: none) { .xlib-card button { opacity: 0.35; } }
  .xlib-card button:is(:hover, :focus, :active) { opacity: 1; z-index: 1; }
  .xlib-card button:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
  .xlib-card button:active { cursor: grabbing; }`;

function make(tag, parent, attributes = {}) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

/** A button on each point. One message at a time is under way; of what is asked for meanwhile, the last is kept. */
function movable(model, card) {
  // JupyterLab takes the arrow keys unless it is told not to.
  const layer = make("div", card, { role: "application", "aria-label": "points to move", "data-lm-suppress-shortcuts": "true" });
  layer.hidden = true; // until a kernel has answered: a page without one has nothing to drag
  const asked = new Map(); // point -> [x, y] it is dragged to, until the model's own is known
  const unsent = new Set();
  let [held, settling, underway] = [-1, true, 0];

  const clip = (v, a, b) => Math.min(Math.max(v, Math.min(a, b)), Math.max(a, b));
  const position = (i) => asked.get(i) ?? model.get("points")[i].slice(1);
  const centre = (i) => model.get("frame").map(([from, to, low, high], k) =>
    from + ((clip(position(i)[k], low, high) - low) / (high - low)) * (to - from)); // as shares of the picture
  const digits = (range) => clip(Math.ceil(-Math.log10(Math.abs(range) / 100)), 0, 20); // that show a hundredth of it
  const written = (v, [, , low, high]) =>
    (+v.toFixed(digits(high - low)) || 0).toFixed(digits(high - low)).replace("-", "−");

  function place() {
    const frame = model.get("frame");
    buttons.forEach((button, i) => {
      [button.style.left, button.style.top] = centre(i).map((share) => `${100 * share}%`);
      const xy = position(i).map((v, k) => written(v, frame[k]));
      button.setAttribute("aria-label", `${model.get("points")[i][0]} at (${xy.join(", ")})`);
    });
  }

  function send() {
    if (underway || !(unsent.size || settling)) return;
    underway = Math.random();
    model.send({ stamp: underway, held: held >= 0, moves: [...unsent].map((i) => [i, ...asked.get(i)]) });
    unsent.clear();
    settling = false;
  }

  function ask(i, xy, holding) {
    held = holding ? i : -1;
    asked.set(i, model.get("frame").map(([, , low, high], k) => clip(xy[k], low, high)));
    unsent.add(i);
    place();
    send();
  }

  function release(i) {
    if (held === i) [held, settling] = [-1, true];
    send();
  }

  function changed() {
    if (model.get("answered") === underway) {
      [layer.hidden, underway] = [false, 0];
      for (const i of asked.keys()) if (i !== held && !unsent.has(i)) asked.delete(i);
      send();
    }
    place();
  }

  const buttons = model.get("points").map((_, i) => {
    const button = make("button", layer, { type: "button", "aria-roledescription": "point" });
    let grip; // from the ring's centre to the pointer, so that it does not jump when it is taken
    const shares = (event) => {
      const box = layer.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    button.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      button.focus();
      button.setPointerCapture(event.pointerId);
      const at = centre(i);
      grip = shares(event).map((share, k) => share - at[k]);
    });
    button.addEventListener("pointermove", (event) => {
      if (!button.hasPointerCapture(event.pointerId)) return;
      const to = shares(event);
      ask(i, model.get("frame").map(([from, end, low, high], k) =>
        low + ((to[k] - grip[k] - from) / (end - from)) * (high - low)), true);
    });
    button.addEventListener("keydown", (event) => {
      if (!ARROWS[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      const [xy, step] = [position(i), event.shiftKey ? 1 / 10 : 1 / 50];
      ask(i, model.get("frame").map(([, , low, high], k) => xy[k] + ARROWS[event.key][k] * step * (high - low)), event.repeat);
    });
    for (const end of ["lostpointercapture", "keyup", "blur"]) button.addEventListener(end, () => release(i));
    return button;
  });
  place();
  send();
  return changed;
}

function render({ model, el }) {
  make("style", el).textContent = STYLE;
  const card = make("div", el, { class: "xlib-card" });
  const [picture, spoken] = [make("img", card), make("div", card, { role: "status" })];
  const moved = model.get("points").length ? movable(model, card) : () => {};
  let timer;

  function show() {
    const { width, height } = picture.getBoundingClientRect();
    picture.srcset = model.get("png") && `data:image/png;base64,${model.get("png")} 2x`;
    // Where there is none, words take its place, of the same size: the rings stay where they are.
    picture.style.cssText = model.get("png") || !width ? "" : `width: ${width}px; height: ${height}px;`;
  }

  function say() {
    picture.alt = model.get("alt");
    clearTimeout(timer);
    timer = setTimeout(() => { spoken.textContent = picture.alt; }, REST);
  }

  // ipywidgets leaves the handles of its sliders without a name, and says nothing when it makes them.
  const naming = setInterval(() => {
    for (const row of el.closest(".xlib-panel")?.querySelectorAll(".widget-slider") ?? [])
      row.querySelector("[role=slider]")?.setAttribute("aria-label", row.querySelector("label").textContent);
  }, REST);

  show();
  picture.alt = model.get("alt");
  const listeners = { "change:png": show, "change:alt": say, change: moved };
  for (const [name, listener] of Object.entries(listeners)) model.on(name, listener);
  return () => {
    for (const [name, listener] of Object.entries(listeners)) model.off(name, listener);
    clearTimeout(timer);
    clearInterval(naming);
  };
}

export default { render };
