// A panel: controls, a scene drawn from numbers, a ring on each point that can be moved. What a control is set to goes
// to Python, which answers with a new scene; a panel whose formulas are known here (`closed`) draws at once, and tells
// Python. On a page without Python the others show what was drawn beforehand, see recorded.js; it is loaded when the
// panel is first touched. The scene's description is its name at once, and is spoken when all has come to rest.

const [REST, FRAME, WAIT] = [600, 90, 1200]; // milliseconds: of quiet before words, a step of play, before "waiting"
const TURN = Math.PI / 60;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
const COLOURS = Object.fromEntries(["ink", "soft", "faint", "paper", "#0072B2", "#D55E00", "#009E73", "#CC79A7"].map(
  (name) => [name, `var(--${name.replace("#", "c")})`]));

/** A number with as many decimals as show a hundredth of the axis. */
function coordinate(v, low, high) {
  const digits = clamp(Math.ceil(-Math.log10(Math.abs(high - low) / 100)), 0, 20);
  return (+v.toFixed(digits) || 0).toFixed(digits).replace("-", "−"); // never minus zero
}

/** The control for one trait. `set` is called with a new value. Returns its element, what shows a value in it, and, for
 * play, its values in turn and which of them a value is. */
function control({ name, label, kind, least, most, step, decimals, options }, set) {
  const id = `xlib-${Math.random().toString(36).slice(2)}`;
  if (kind === "check") {
    const input = h("input", { type: "checkbox", id });
    input.onchange = () => set(input.checked);
    const node = h("div", { class: "control check" }, input, h("label", { for: id }, label));
    return { node, show: (value) => { input.checked = value; }, all: [false, true], nearest: Number };
  }
  if (kind === "words") {
    const buttons = options.map((option) => h("button", { type: "button", "aria-pressed": "false" }, option));
    buttons.forEach((button, i) => { button.onclick = () => set(options[i]); });
    const node = h("div", { class: "control words", role: "group", "aria-label": label },
      h("span", { class: "label", "aria-hidden": "true" }, label), h("div", { class: "choice" }, ...buttons));
    const show = (value) => buttons.forEach((b, i) => b.setAttribute("aria-pressed", options[i] === value));
    return { node, show, all: options, nearest: (value) => options.indexOf(value) };
  }
  // A slider over positions, and a number that can be typed; what is typed goes to the nearest value there is.
  const values = options ?? Array.from({ length: Math.floor((most - least) / step + 1e-6) + 1 },
    (_, i) => +(least + i * step).toFixed(decimals));
  const nearest = (number) => values.reduce((best, value, i) =>
    (Math.abs(value - number) < Math.abs(values[best] - number) ? i : best), 0);
  const text = (value) => (decimals !== undefined && values[nearest(value)] === value ? value.toFixed(decimals)
    : String(Number.isInteger(value) ? value : +value.toPrecision(6))).replace("-", "−"); // code may set any
  const slider = h("input", { type: "range", id, min: 0, max: values.length - 1, step: 1 });
  const typed = h("input", { type: "text", inputmode: "decimal", "aria-label": `${label}, as a number` });
  typed.style.width = `${Math.max(...values.map((value) => text(value).length)) + 2.5}ch`;
  slider.oninput = () => set(values[slider.value]);
  typed.oninput = () => { typing = true; };
  typed.onkeydown = (event) => { if (event.key === "Enter") typed.onchange(); };
  typed.onchange = () => { // with Enter, or when it is left
    if (!typing) return;
    typing = false;
    const number = parseFloat(typed.value.replace(",", ".").replace("−", "-"));
    if (Number.isFinite(number)) set(values[nearest(number)]);
    show(current); // what is no number goes away
  };
  let typing = false;
  let current = values[0];
  function show(value) {
    current = value;
    slider.value = nearest(value);
    slider.setAttribute("aria-valuetext", text(value));
    if (!typing) typed.value = text(value);
  }
  const node = h("div", { class: "control slide", "data-name": name }, h("label", { for: id }, label), slider, typed);
  return { node, show, all: values, nearest };
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const closed = CLOSED[get("closed")];
  const alive = typeof model.send === "function"; // a page without a kernel has none
  const recorded = !alive && !closed;
  const first = get("initial");
  let values = structuredClone(get("values"));
  let [backToFirst, said] = [false, get("alt")]; // said: the words that need not be spoken any more
  const memory = {}; // of the closed form
  let [scene, alt] = [get("scene"), get("alt")];
  let [boxes, grid, width, playing, timer, waiting] = [[], null, 0, 0, 0, 0]; // grid: the first axes as last drawn
  let drawn = {}; // the scene and the width of the picture that is there
  let [underway, held, sent, unsent] = [0, -1, {}, {}]; // sent: what Python has been asked for, and not answered yet
  let [tape, coming, state] = [null, null, 0]; // the recording, once it is there; its promise; the state that is shown
  const moves = []; // what was asked for before it was there

  const root = h("div", { class: "xlib-panel", [OWN_KEYS[0]]: OWN_KEYS[1] });
  const title = h("p", { class: "title" }, get("title"));
  const controls = h("div", { class: "controls" });
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("role", "img");
  const layer = h("div", { role: "application", "aria-label": "points to move" });
  const failed = h("p", { class: "failed" });
  const stage = h("div", { class: "stage" }, picture, layer, failed);
  const play = h("button", { type: "button" }, "▶ play");
  const reset = h("button", { type: "button", disabled: "" }, "reset");
  const actions = get("actions").map((label) => h("button", { type: "button" }, label));
  const dead = alive ? [] : actions.filter((button) => !closed?.actions?.[button.textContent]);
  const always = dead.length ? "needs Python: run the lesson for it" : ""; // said where there is nothing else to say
  const status = h("span", { class: "progress", id: `xlib-${Math.random().toString(36).slice(2)}` });
  const bar = h("div", { class: "bar" }, ...(get("play") ? [play] : []), reset, ...actions, status);
  const spoken = h("div", { role: "status", class: "unseen" });
  root.append(...(get("title") ? [title] : []), controls, stage, bar, spoken);
  el.replaceChildren(root);

  const made = Object.fromEntries(get("controls").map((about) => {
    const one = control(about, (value) => { stop(); change({ [about.name]: value }); });
    controls.append(one.node);
    return [about.name, one];
  }));
  const points = get("handles").flatMap(([trait, names, turned]) => names.map((name, i) => ({ trait, name, i, turned })));
  const at = ({ trait, i }) => values[trait][i];
  const within = ({ low, high }, v) => clamp(v, Math.min(low, high), Math.max(low, high));

  // ---- drawing

  function draw() {
    width = Math.max(Math.round(stage.clientWidth) || width || 720, 240); // a page may leave next to nothing
    failed.hidden = !!scene.axes;
    failed.textContent = scene.axes ? "" : alt;
    if (scene.axes && (scene !== drawn.scene || width !== drawn.width)) {
      let height, found;
      [height, found] = elements(scene, width, COLOURS);
      [, boxes] = layout(scene, width);
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      picture.setAttribute("width", width);
      picture.setAttribute("height", height);
      picture.replaceChildren(...found.map(built));
      picture.classList.toggle("picks", scene.axes.some(({ pick }) => Object.keys(pick).length));
      [grid] = scene.axes;
    }
    if (!scene.axes) picture.replaceChildren(); // of the same size, and with the rings where they were: they may lead back
    drawn = { scene, width };
    picture.setAttribute("aria-label", alt);
    layer.hidden = !points.length || !grid;
    const spots = grid ? points.map((point) => {
      const inside = [grid.x, grid.y].map((axis, k) => share(axis, within(axis, at(point)[k])));
      return [boxes[0].left + inside[0] * boxes[0].width, boxes[0].top + (1 - inside[1]) * boxes[0].height];
    }) : [];
    spots.forEach(([left, top], i) => {
      const [ring, [x, y]] = [rings[i], at(points[i])];
      // Of points on each other, the earlier ring is the wider one, so that each can be taken.
      const above = spots.slice(i + 1).filter((other) => Math.hypot(other[0] - left, other[1] - top) < 6).length;
      ring.style.left = `${left}px`;
      ring.style.top = `${top}px`;
      ring.style.width = ring.style.height = `${26 + 12 * above}px`;
      const where = [grid.x, grid.y].map(({ low, high }, k) => coordinate([x, y][k], low, high)).join(", ");
      ring.setAttribute("aria-label", `${points[i].name} at (${where})`);
    });
    for (const [name, { show }] of Object.entries(made)) show(values[name]);
    reset.disabled = JSON.stringify(values) === JSON.stringify(first);
    if (alt === said) return;
    clearTimeout(timer);
    timer = setTimeout(() => { spoken.textContent = said = alt; }, REST);
  }

  // ---- changes, from here and from Python

  function change(some, all = false) {
    if (recorded) {
      moves.push([some, all]);
      if (tape) return follow();
      status.textContent = "loading…";
      return load();
    }
    values = { ...values, ...some };
    unsent = { ...unsent, ...some };
    backToFirst = all;
    if (closed) compute(Object.keys(some));
    if (all) values = { ...values, ...some }; // as they were, though computed they differ by rounding
    draw();
    send();
  }

  /** Load the recording, once, and do what was asked for meanwhile. */
  function load() {
    coming ??= model.more("scenes").then(recording).then((found) => {
      [tape, state] = [found, found.now];
      status.textContent = always;
      follow();
    }, (error) => {
      [coming, moves.length] = [null, 0]; // it stays as it is; the next touch tries again
      spoken.textContent = status.textContent = `What else it shows cannot be loaded: ${error.message}`;
      stop();
      draw();
    });
  }

  function follow() {
    if (!moves.length) return;
    for (const [some, all] of moves.splice(0)) state = all ? tape.first : tape.after(state, some);
    ({ values, scene, alt } = tape.at(state));
    draw();
  }

  /** The picture of the values, by the formulas that are known here. */
  function compute(names) {
    values = closed.settle(values, names, memory, get("constants"));
    ({ scene, alt } = closed.draw(values, get("scene"), get("constants")));
  }

  /** One message at a time is under way; of what is asked for meanwhile, the last is kept. */
  function send() {
    if (!alive || underway || !Object.keys(unsent).length) return;
    underway = Math.random();
    [sent, unsent] = [unsent, {}];
    model.send({ stamp: underway, set: sent, reset: backToFirst });
    wait();
  }

  /** Say so where Python does not answer soon. */
  function wait() {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (!closed && !get("progress")) status.textContent = "waiting for Python…"; }, WAIT);
  }

  function changed() {
    if (get("answered") === underway) {
      [underway, sent] = [0, {}];
      clearTimeout(waiting);
      send();
    }
    if (get("acting")) clearTimeout(waiting);
    if (!underway || get("progress")) status.textContent = get("progress") || always;
    for (const button of actions) button.disabled = get("acting") || dead.includes(button);
    if (underway && closed) return; // Python is behind what is seen here
    // Python's values, but for what is asked for and not there yet, and for the point in hand.
    const mine = held >= 0 ? points[held].trait : null;
    values = { ...structuredClone(get("values")), ...sent, ...unsent, ...(mine && { [mine]: values[mine] }) };
    [scene, alt] = [get("scene"), get("alt")];
    if (closed && scene.axes) compute([]);
    draw();
  }

  // ---- points to drag

  function move(index, xy) {
    const { trait, i, turned } = points[index];
    let to = [grid.x, grid.y].map((axis, k) => within(axis, xy[k]));
    if (turned) { // it stays on its circle
      const [radius, length] = [Math.hypot(...at(points[index])), Math.hypot(...xy)];
      if (!length) return;
      to = xy.map((v) => (v / length) * radius);
    }
    change({ [trait]: values[trait].map((pair, n) => (n === i ? to : pair)) });
  }

  const rings = points.map((point, index) => {
    const ring = layer.appendChild(h("button", { type: "button", "aria-roledescription": "point" }));
    let grip; // from the ring's centre to the pointer, so that it does not jump when it is taken
    const data = (event) => { // where the pointer is, on the first axes
      const frame = picture.getBoundingClientRect();
      const scale = width / frame.width;
      const [left, top] = [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
      const { x, y } = grid;
      return [x.low + ((left - boxes[0].left) / boxes[0].width) * (x.high - x.low),
        y.high - ((top - boxes[0].top) / boxes[0].height) * (y.high - y.low)];
    };
    ring.onpointerdown = (event) => {
      if (event.button) return;
      stop();
      ring.focus();
      ring.setPointerCapture(event.pointerId);
      grip = data(event).map((v, k) => v - at(point)[k]);
      held = index;
    };
    ring.onpointermove = (event) => {
      if (ring.hasPointerCapture(event.pointerId)) move(index, data(event).map((v, k) => v - grip[k]));
    };
    ring.onlostpointercapture = ring.onblur = () => {
      if (held !== index) return;
      held = -1;
      if (alive) changed();
    };
    ring.onkeydown = (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      event.stopPropagation(); // or JupyterLab would take it; older ones look before we do, for data-lm-…
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      stop();
      const [[x, y], wide] = [at(point), event.shiftKey ? 5 : 1];
      if (point.turned) {
        const angle = Math.atan2(y, x) + (arrow[0] + arrow[1]) * TURN * wide; // up and right turn it to the left
        move(index, [Math.cos(angle), Math.sin(angle)]);
      } else {
        const [right, up] = [grid.x, grid.y].map(({ low, high }) => (wide * (high - low)) / 50);
        move(index, [x + arrow[0] * right, y + arrow[1] * up]);
      }
    };
    return ring;
  });

  // ---- clicks on the axes, play, reset, actions

  picture.onclick = (event) => {
    if (!scene.axes) return;
    const frame = picture.getBoundingClientRect();
    const [left, top] = [event.clientX - frame.left, event.clientY - frame.top].map((v) => (v * width) / frame.width);
    boxes.forEach((box, n) => {
      const { pick, x, y } = scene.axes[n];
      const shares = { x: (left - box.left) / box.width, y: 1 - (top - box.top) / box.height };
      if (Object.values(shares).some((v) => v < 0 || v > 1)) return;
      const found = Object.entries(pick).map(([side, [trait, places, chosen]]) => {
        const far = places.map((place) => Math.abs(share(side === "x" ? x : y, place) - shares[side]));
        return [trait, chosen[far.indexOf(Math.min(...far))]];
      });
      if (!found.length) return;
      stop();
      change(Object.fromEntries(found));
    });
  };

  function stop() {
    clearInterval(playing);
    playing = 0;
    play.textContent = "▶ play";
  }

  play.onclick = () => {
    if (playing) return stop();
    const name = get("play");
    const { all, nearest } = made[name];
    if (nearest(values[name]) === all.length - 1) change({ [name]: all[0] });
    play.textContent = "❚❚ pause";
    playing = setInterval(() => {
      if ((underway && !closed) || moves.length) return; // Python, or what was recorded, is not there yet
      const next = nearest(values[name]) + 1;
      if (next >= all.length) return stop();
      change({ [name]: all[next] });
    }, FRAME);
  };
  reset.onclick = () => {
    stop();
    for (const key of Object.keys(memory)) delete memory[key];
    change(structuredClone(first), true);
  };
  actions.forEach((button, i) => {
    if (dead.includes(button)) button.setAttribute("aria-describedby", status.id);
    button.onclick = alive ? () => {
      for (const each of actions) each.disabled = true; // until it is done
      model.send({ action: i });
      wait();
    } : () => { stop(); change(closed.actions[button.textContent](values)); };
  });

  for (const input of root.querySelectorAll("input, button")) input.setAttribute(...OWN_KEYS); // Notebook 7 looks there
  if (recorded) for (const touch of ["pointerenter", "focusin"]) root.addEventListener(touch, load);
  const fits = new ResizeObserver(() => { if (Math.round(stage.clientWidth) !== width) draw(); });
  fits.observe(stage);
  changed();
  model.on("change", changed);
  return () => {
    model.off("change", changed);
    fits.disconnect();
    stop();
    clearTimeout(timer);
    clearTimeout(waiting);
  };
}

export default { render };
