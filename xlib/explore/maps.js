// The tab "Map": one map, or two side by side. What each of them shows, how they glide from step to step, their
// zoom, what mouse and keys do on them, Move, Lasso and Box, and the picture that is saved.

const TRAVEL = 600; // ms from one snapshot to another
const SETTLED = 140; // ms after the last move of a drag or zoom, until captions are chosen anew
const MAPS_MARKUP = `
  <div data-ui="stages" class="stages">
    <div class="zoom">
      <button data-ui="zoomIn" type="button" aria-label="Zoom in">+</button>
      <button data-ui="zoomOut" type="button" aria-label="Zoom out">−</button>
      <button data-ui="fit" type="button" aria-label="Show all">Fit</button>
    </div>
    ${CARD_MARKUP}
  </div>`;

const still = matchMedia("(prefers-reduced-motion: reduce)");
const ease = (x) => 1 - (1 - x) ** 3; // fast at first: the very next frame shows that something moves

function createMaps(view, card) {
  const { data, ui, look, get, set, on, selected } = view;
  const layouts = {}; // unpacked, by name
  let maps = []; // one, or two side by side
  let [travelling, settling, tool, gesture] = [0, 0, "move", null];

  // ---- what the maps show

  function layout(name) {
    const all = get("maps");
    const sent = all[name] ?? all.pca ?? Object.values(all)[0]; // another one until the kernel has made it
    if (layouts[name]?.sent !== sent) layouts[name] = { ...sent, sent, frames: numbers(sent.frames, Uint16Array) };
    return layouts[name];
  }

  /** The name of map m's layout. */
  const layoutOf = (m) => (get("compare") === "projection" ? ["pca", "umap"][m] : get("projection"));

  /** As many maps as `compare` wants, and what each of them shows. */
  function arrange() {
    const compare = get("compare");
    while (maps.length < (compare ? 2 : 1)) maps.push(addMap());
    for (const map of maps.splice(compare ? 2 : 1)) map.canvas.parentNode.remove();
    const rowsWhere = (test) => data.order.filter(test);
    maps.forEach((map, m) => {
      const inDomain = (i) => data.domainOf[i] < 0 || (data.domainOf[i] === 0) === (m === 0);
      map.layout = layout(layoutOf(m));
      map.fixed = compare === "steps" && m === 0 ? 0 : null;
      if (compare === "modality") map.show(rowsWhere((i) => (data.kinds[i] === 0) === (m === 0)));
      else if (compare === "domains") map.show(rowsWhere(inDomain));
      else map.show(data.order);
      const moves = compare === "steps" && m === 1;
      map.ui.caption.textContent = !compare ? "" : moves ? view.stepName() : data.comparisons[compare][m];
      map.ui.axisX.textContent = map.layout.axes[0];
      map.ui.axisY.textContent = map.layout.axes[1];
    });
    ui.stages.classList.toggle("two", maps.length > 1);
    measure();
  }

  function addMap() {
    const canvas = h("canvas", { tabindex: 0, role: "application", "aria-roledescription": "map of an embedding" });
    const words = (name) => h("span", { class: name });
    const parts = { axisX: words("axis x"), axisY: words("axis y"), caption: words("what") };
    ui.stages.insertBefore(h("div", { class: "stage" }, canvas, ...Object.values(parts)), ui.zoomIn.parentNode);
    const map = createMap(view, canvas);
    canvas.setAttribute("aria-label", get("alt_text"));
    canvas.setAttribute(...OWN_KEYS);
    listen(map, canvas);
    return Object.assign(map, { ui: parts });
  }

  function nameStep() {
    if (get("compare") === "steps") maps[1].ui.caption.textContent = view.stepName();
  }

  /** The maps in words, for those who do not see them. */
  function describe() {
    for (const map of maps) {
      const words = [map.ui.caption.textContent, get("alt_text")].filter(Boolean);
      map.canvas.setAttribute("aria-label", words.join(". "));
    }
  }

  function measure() {
    const stage = maps[0].canvas.parentNode;
    look.width = stage.clientWidth;
    look.height = Math.round(clamp(look.width * (maps.length > 1 ? 0.95 : 0.68), 300, 540));
    look.dpr = window.devicePixelRatio || 1;
    for (const map of maps) map.canvas.style.height = `${look.height}px`;
    view.redraw();
  }

  // ---- drawing

  const near = () => get("neighbours").map(([j]) => j);

  /** Items that stand out while the others fade, or null where all are equal. */
  function emphasised() {
    const one = view.one();
    if (get("query").trim()) return view.matches;
    if (get("typed")) return new Set(near());
    if (!selected().length) return null;
    return new Set(one < 0 ? selected() : [one, data.pairs[one], ...near()]);
  }

  function drawMaps(labels) {
    if (!look.width || !look.theme || view.tab !== "map") return;
    const { partners } = view;
    const [bright, hover] = [emphasised(), get("hover")];
    const choices = { hover, selected: selected(), near: near(), partners, bright, typed: get("typed") };
    const scene = { ...choices, loop: gesture?.loop, map: gesture?.map };
    const avoid = [view.one(), hover].filter((i) => i >= 0);
    maps.forEach((map, m) => {
      if (labels) map.label(get("step"), [...partners, ...scene.near], bright, avoid);
      map.draw({ ...scene, landed: get("landed")[layoutOf(m)] });
    });
    const shows = (map) => map.here[hover];
    const beside = maps.find((map) => map === gesture?.over && shows(map)) ?? maps.find(shows);
    if (beside) card.place(beside);
  }

  /** Move to the step chosen: gliding, or at once where motion is unwelcome. */
  function travel() {
    cancelAnimationFrame(travelling);
    const [from, to] = [look.position, get("step")];
    const start = performance.now() - 16; // the first frame already moves
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

  // ---- zooming and panning

  /** Redraw for as long as something is dragged or zoomed: the captions stay as they are until it is over. */
  function keepMoving() {
    look.moving = true;
    clearTimeout(settling);
    settling = setTimeout(() => {
      look.moving = false;
      view.redraw();
    }, SETTLED);
    view.redraw();
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

  on(ui.zoomIn, "click", () => zoom(1.5));
  on(ui.zoomOut, "click", () => zoom(1 / 1.5));
  on(ui.fit, "click", () => zoom(0));

  // ---- mouse and keys

  function listen(map, canvas) {
    const walk = (dx, dy) => {
      gesture = { over: map };
      const start = get("hover") >= 0 ? get("hover") : (selected().at(-1) ?? -1);
      const i = map.walk(start, dx, dy);
      if (i >= 0) set({ hover: i });
    };
    view.hotkeys(canvas, {
      ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0),
      ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1),
      ShiftArrowLeft: () => pan(60, 0), ShiftArrowRight: () => pan(-60, 0),
      ShiftArrowUp: () => pan(0, 60), ShiftArrowDown: () => pan(0, -60),
      Enter: () => get("hover") >= 0 && set({ selected: [get("hover")] }),
      " ": () => get("hover") >= 0 && set({ selected: view.toggled(get("hover")) }),
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
      view.redraw();
    });
    on(canvas, "pointerup", (event) => {
      const { way, moved, loop, add } = gesture ?? {};
      gesture = { over: map };
      if (way && !moved) {
        const i = map.pick(event.offsetX, event.offsetY);
        set({ selected: i < 0 ? [] : add ? view.toggled(i) : [i], typed: "" });
      } else if (loop) set({ selected: [...new Set([...(add ? selected() : []), ...map.inside(loop)])], typed: "" });
      view.redraw();
    });
    on(canvas, "pointercancel", () => (gesture = null));
    on(canvas, "pointerleave", () => set({ hover: -1 }));
    on(canvas, "wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // scrolling past must not zoom
      event.preventDefault();
      zoom(Math.exp(-clamp(event.deltaY, -100, 100) / 300), event.offsetX, event.offsetY);
    }, { passive: false });
  }

  function use(name) {
    tool = name;
    for (const button of ui.tools.children) button.setAttribute("aria-pressed", button.dataset.tool === tool);
    ui.stages.classList.toggle("drawing", tool !== "move");
  }

  for (const button of ui.tools.children) on(button, "click", () => use(button.dataset.tool));
  use("move");

  /** The maps as one picture, side by side. */
  function save() {
    const [w, tall] = [maps[0].canvas.width, maps[0].canvas.height];
    const sheet = h("canvas", { width: w * maps.length, height: tall });
    maps.forEach((map, m) => sheet.getContext("2d").drawImage(map.canvas, m * w, 0));
    h("a", { href: sheet.toDataURL(), download: "embedding.png" }).click();
  }

  on(ui.save, "click", save);

  function stop() {
    clearTimeout(settling);
    cancelAnimationFrame(travelling);
  }

  return { arrange, nameStep, describe, measure, draw: drawMaps, travel, stop };
}
