// A picture, its description, and a ring on each point that can be moved. The image is one element whose content is
// swapped: nothing jumps while a slider or a point is dragged. The description is its alt text at once, and is spoken
// when all has come to rest.

const REST = 600; // milliseconds
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
// Matplotlib's ink is dark: on a white card it looks the same in every theme, as do black rings with a white edge.
const MARKUP = `<style>
    .xlib-card { position: relative; display: inline-block; max-width: 100%; }
    .xlib-card img { display: block; box-sizing: border-box; max-width: 100%; height: auto; padding: 8px;
      border-radius: 6px; color: black; background: white; }
    .xlib-card [role=application] { position: absolute; inset: 8px; pointer-events: none; }
    .xlib-card [role=status] { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    .xlib-card button { position: absolute; width: 26px; height: 26px; margin: -13px; padding: 0; border-radius: 50%;
      box-sizing: border-box; border: 2px solid black; box-shadow: 0 0 0 2px white, inset 0 0 0 1px white; opacity: 0;
      background: none; cursor: grab; pointer-events: auto; touch-action: none; user-select: none; }
    .xlib-card:hover button { opacity: 0.35; }
    @media (hover: none) { .xlib-card button { opacity: 0.35; } }
    .xlib-card button:is(:hover, :focus, :active) { opacity: 1; z-index: 1; }
    .xlib-card button:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
    .xlib-card button:active { cursor: grabbing; }
  </style><div class="xlib-card"><img draggable="false"><div role="status"></div>
    <div role="application" aria-label="points to move" data-lm-suppress-shortcuts="true" hidden></div></div>`;

const clip = (v, a, b) => Math.min(Math.max(v, Math.min(a, b)), Math.max(a, b));

/** A number with as many decimals as show a hundredth of the axis. */
function written(v, low, high) {
  const digits = clip(Math.ceil(-Math.log10(Math.abs(high - low) / 100)), 0, 20);
  return (+v.toFixed(digits) || 0).toFixed(digits).replace("-", "−"); // never minus zero
}

/** A button on each point. One message at a time is under way; of what is asked for meanwhile, the last is kept. */
function movable(model, layer) {
  const asked = new Map(); // point -> where it was put here, until the model's own place is known
  const unsent = new Set(); // those of them that no message holds yet
  let [held, settle, underway] = [-1, true, 0]; // the first message asks whether there is a kernel: see `changed`
  const at = (i) => asked.get(i) ?? model.get("points")[i].slice(1);
  const axes = (f) => model.get("frame").map(([from, to, low, high], k) => f(k, low, high - low, from, to - from));
  const shares = (i) => axes((k, low, range, from, span) => // of the picture, from the left and from the top
    from + ((clip(at(i)[k], low, low + range) - low) / range) * span);

  function place() {
    buttons.forEach((button, i) => {
      [button.style.left, button.style.top] = shares(i).map((share) => `${100 * share}%`);
      const where = axes((k, low, range) => written(at(i)[k], low, low + range));
      button.setAttribute("aria-label", `${model.get("points")[i][0]} at (${where.join(", ")})`);
    });
  }

  function send() {
    if (underway || !(unsent.size || settle)) return;
    underway = Math.random();
    model.send({ stamp: underway, held: held >= 0, moves: [...unsent].map((i) => [i, ...asked.get(i)]) });
    unsent.clear();
    settle = false;
  }

  function ask(i, xy, holding) {
    held = holding ? i : -1;
    asked.set(i, model.get("frame").map(([, , low, high], k) => clip(xy[k], low, high)));
    unsent.add(i);
    place();
    send();
  }

  function changed() {
    if (model.get("answered") === underway) {
      underway = 0;
      layer.hidden = false; // a page without a kernel has nothing to drag
      for (const i of asked.keys()) if (i !== held && !unsent.has(i)) asked.delete(i);
      send();
    }
    place();
  }

  const buttons = model.get("points").map((_, i) => {
    const button = layer.appendChild(document.createElement("button"));
    button.setAttribute("data-lm-suppress-shortcuts", "true"); // Notebook 7 looks at the focus before around it
    const pointer = ({ clientX, clientY }, { left, top, width, height } = layer.getBoundingClientRect()) =>
      [(clientX - left) / width, (clientY - top) / height];
    let grip; // from the ring's centre to the pointer, so that it does not jump when it is taken
    const on = {
      pointerdown(event) {
        if (event.button) return;
        button.focus();
        button.setPointerCapture(event.pointerId);
        grip = pointer(event).map((share, k) => share - shares(i)[k]);
      },
      pointermove(event) {
        if (!button.hasPointerCapture(event.pointerId)) return;
        const to = pointer(event);
        ask(i, axes((k, low, range, from, span) => low + ((to[k] - grip[k] - from) / span) * range), true);
      },
      keydown(event) {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        event.stopPropagation(); // or JupyterLab would take it; older ones look before we do, for data-lm-…
        if (!ARROWS[event.key]) return;
        event.preventDefault();
        const step = event.shiftKey ? 1 / 10 : 1 / 50;
        ask(i, axes((k, low, range) => at(i)[k] + ARROWS[event.key][k] * step * range), event.repeat);
      },
    };
    on.lostpointercapture = on.keyup = on.blur = () => {
      if (held !== i) return;
      [held, settle] = [-1, true];
      send();
    };
    for (const [type, listener] of Object.entries(on)) button.addEventListener(type, listener);
    button.type = "button";
    button.setAttribute("aria-roledescription", "point");
    return button;
  });
  send();
  return changed;
}

function render({ model, el }) {
  el.innerHTML = MARKUP; // constant: no data in here
  const [picture, spoken, layer] = el.lastChild.children;
  const moved = model.get("points").length ? movable(model, layer) : () => {};
  let timer;

  function show() {
    const { width, height } = picture.getBoundingClientRect();
    picture.srcset = model.get("png") && `data:image/png;base64,${model.get("png")} 2x`; // for dense screens
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
