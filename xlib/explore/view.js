// The whole explorer, put together from its parts. What can be chosen (step, hover, selected, query, …) lives in the
// widget's model, so that Python and the browser see the same; what is drawn follows from it, in the functions on…
// below. Data is put in as text, never as markup. The files make one module, in the order that view.py gives.

const MARKUP = `
  ${TOP_MARKUP}
  ${BAR_MARKUP}
  <div class="middle">
    <div class="left">
      <div data-ui="views" class="views">
        ${MAPS_MARKUP}
        ${MATRIX_MARKUP}
        ${TABLE_MARKUP}
      </div>
      ${UNDER_MARKUP}
      ${TRAINING_MARKUP}
      ${CURVE_MARKUP}
      <div data-ui="legend" class="legend" role="group" aria-label="Legend: show or fade"></div>
      <p data-ui="remarks" class="note remarks" hidden></p>
    </div>
    ${LIST_MARKUP}
    ${REFUSED_MARKUP}
    ${UNHEARD_MARKUP}
  </div>
  <div data-ui="live" class="unseen" role="status"></div>`; // constant: no data in here

/** The elements of the widget by name. */
function build() {
  const root = h("div", { class: "xlib-explorer" });
  root.innerHTML = MARKUP;
  // On each by itself: Notebook 7 looks at what has the focus before it looks around it.
  for (const node of root.querySelectorAll("button, input, select, [tabindex]")) node.setAttribute(...OWN_KEYS);
  const named = [...root.querySelectorAll("[data-ui]")].map((node) => [node.dataset.ui, node]);
  return { ...Object.fromEntries(named), root };
}

/** The colours that go with the page, be it light or dark. */
function themeOf({ data, ui }) {
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
  const colours = [data.scale ? data.missing[+dark] : "#808080", ...data.palette.map(tint)];
  const [ink, paper, accent] = [style.color, style.backgroundColor, style.getPropertyValue("--accent").trim()];
  const inks = colours.map((colour) => packed(rgb(colour)));
  // What hardly differs from the paper, yellow on white, gets a rim that does.
  const share = [0.21, 0.72, 0.07]; // of red, green and blue in how bright a colour is
  const light = (colour) => rgb(colour).reduce((sum, v, c) => sum + share[c] * (v / 255) ** 2.2, 0.05);
  const weak = (colour) => Math.max(light(colour) / light(paper), light(paper) / light(colour)) < 2;
  const shaded = (colour) => `rgb(${rgb(colour).map((v) => (dark ? 255 - 0.65 * (255 - v) : 0.65 * v)).join()})`;
  const rims = colours.map((colour) => (weak(colour) ? shaded(colour) : ""));
  const rimInks = rims.map((rim) => (rim ? packed(rgb(rim)) : 0));
  const [chip, rule] = [dark ? "#e9ebee" : "#fff", `rgb(${rgb(ink).join(" ")} / 15%)`];
  return { ink, rule, paper, accent, colours, inks, rims, rimInks, paperInk: packed(rgb(paper)), chip };
}

function render({ model, el }) {
  const data = unpack(model);
  const ui = build();
  const leaving = new AbortController();
  // While a model is being trained the browser knows two of its snapshots only, the one before and that of now.
  const get = (name) => (name === "step" ? Math.min(model.get(name), data.steps.length - 1) : model.get(name));
  const selected = () => get("selected");
  let [frame, origin, address] = [0, null, null];

  // ---- what the parts share

  function set(values) {
    const same = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);
    const changed = Object.entries(values).filter(([name, value]) => !same(get(name), value));
    for (const [name, value] of changed) model.set(name, value);
    if (changed.length) model.save_changes();
  }

  function on(target, type, f, options) {
    target.addEventListener(type, f, { signal: leaving.signal, ...options });
  }

  /** Call keys[key] for a key pressed on node, without Ctrl, Alt or Meta. */
  function hotkeys(node, keys) {
    on(node, "keydown", (event) => {
      const key = (event.shiftKey && event.key.startsWith("Arrow") ? "Shift" : "") + event.key;
      if (!keys[key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[key]();
    });
  }

  function redraw() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      maps.draw(!look.moving);
      matrix.draw();
    });
    address?.follow();
  }

  const clear = () => set({ hover: -1, selected: [], query: "", typed: "", listing: "" });

  /** Clear, and give the focus back to where it was before it went into the side panel. */
  function close() {
    clear();
    const back = origin?.isConnected && origin.checkVisibility() ? origin : ui.stages.querySelector("canvas");
    back.focus({ preventScroll: true });
  }

  function stepName(step = get("step")) {
    const name = data.steps[step];
    return typeof name === "string" ? name : `step ${count(name)}`;
  }

  const look = {
    width: 0, height: 0, dpr: 1, // of a map, in CSS pixels; and how many pixels of the screen make one of them
    zoom: 1, x: 0, y: 0, moving: false,
    position: 0, // the snapshot that is drawn: between two while the maps glide
    atlas: null, theme: null, // the pictures and the colours, as soon as they are here
  };
  const view = {
    data, ui, look, get, set, on, hotkeys, redraw, selected, clear, close, stepName,
    offline: get("offline"), // answers of a kernel that is not there
    tab: "map",
    spanning: false, // "Between two texts" is chosen, and its texts are yet to come
    matches: new Set(), // rows whose captions hold the query, the best first
    searching: false, // these are listed, and not what is selected
    only: null, // the rows that the table is confined to
    drawn: null, // where on the PCA map a drawing lies
    partners: [], // rows that are pairs of the hovered one
    lit: null, // 1 for each row that the legend does not fade, or null where it fades none
    one: () => (selected().length === 1 ? selected()[0] : -1),
    toggled: (i) => (selected().includes(i) ? selected().filter((j) => j !== i) : [...selected(), i]),
    place: (text) => set({ typed: text, listing: "" }),
    select: (rows) => set({ selected: rows, typed: "", listing: "" }),
    choose: (i) => list.choose(i),
    enterList: () => list.enter(),
    onMaps, onTab,
  };
  view.sounds = createSounds(view);
  const card = createCard(view);
  const maps = createMaps(view, card, createWords(view));
  const matrix = createMatrix(view);
  const table = createTable(view);
  const list = createList(view, createLists(view));
  const controls = createControls(view);
  const legend = createLegend(view);
  const curve = createCurve(view);
  const answer = createAnswers(view);

  // ---- what follows when something is chosen, here or in Python

  function onStep() {
    controls.fillStep();
    maps.nameStep();
    answer();
    card.fill();
    list.fill();
    matrix.fillCell();
    table.fill();
    curve.draw();
    maps.travel();
    matrix.draw();
  }

  function onHover() {
    const [i, { pairs }] = [get("hover"), data];
    view.partners = i < 0 ? [] : [...data.order].filter((j) => pairs[i] === j || pairs[j] === i);
    card.fill();
    redraw();
  }

  function onAnswer() {
    maps.describe();
    list.fill();
    redraw();
  }

  function onSelected() {
    view.sounds.say("");
    answer();
    card.fill();
    table.fill();
    if (selected().length || get("typed")) list.leaveSearch();
    maps.fillTools();
    onAnswer();
    maps.reveal();
  }

  function onMaps() {
    controls.fillChoices();
    maps.arrange();
    controls.suggestAxis(maps.ends());
    answer();
    onAnswer();
  }

  /** There are other snapshots: one more of a training that goes on, or all of them at its end. */
  function onSnapshots() {
    controls.fillSteps();
    look.position = data.training ? 0 : get("step");
    onMaps();
    onStep();
  }

  function onTyped() {
    controls.fillTyped();
    onAnswer();
  }

  function onQuery() {
    view.matches = new Set(data.matching(get("query")));
    controls.fillSearch();
    list.search();
    table.turn(0);
    redraw();
  }

  function onTheme() {
    look.theme = themeOf(view);
    legend.fill();
    requestAnimationFrame(curve.draw); // when the page's own styles have come, too
    list.fill();
    redraw();
  }

  function onTab(name) {
    view.tab = ui.root.dataset.tab = name;
    const views = { map: ui.stages, matrix: ui.matrixView, table: ui.tableView };
    for (const [tab, node] of Object.entries(views)) node.hidden = tab !== name;
    for (const button of ui.tabs.children) button.setAttribute("aria-pressed", button.dataset.tab === name);
    ui.underMap.classList.toggle("away", name !== "map"); // its place stays
    controls.fillChoices();
    matrix.leave();
    table.fill();
    card.fill();
    redraw();
  }

  const follow = {
    step: onStep, hover: onHover, query: onQuery, selected: onSelected, among: onSelected, listing: onSelected,
    typed: onTyped,
    refused: controls.fillRefused, words: controls.fillWords, maps: onMaps, projection: onMaps, compare: onMaps, axis: onMaps, computing: onMaps,
    landed: redraw, heard: redraw, spoken: onAnswer, loss: curve.draw, neighbours: onAnswer, ranks: onAnswer, hubs: onAnswer, note: onAnswer, warning: onAnswer,
    asked: onAnswer, alt_text: onAnswer, snapshots: onAnswer,
  };
  for (const [name, f] of Object.entries(follow))
    model.on(`change:${name}`, () => (data.renew() ? onSnapshots() : f())); // several may come at once
  for (const button of ui.tabs.children) on(button, "click", () => onTab(button.dataset.tab));
  // A drawing pad of this PCA map (pad.js) says where the drawing lies on it.
  let sum = {};
  on(document, "xlib-drawn", ({ detail }) => {
    const frames = get("maps").pca?.frames;
    if (frames && sum.frames !== frames) sum = { frames, value: checksum(frames) };
    if (!frames || sum.value !== detail.map) return;
    view.drawn = detail.place;
    redraw();
  });
  const beside = ui.root.querySelector("aside");
  on(ui.root, "focusin", ({ target }) => beside.contains(target) || (origin = target));
  on(ui.root, "keydown", (event) => {
    event.stopPropagation(); // JupyterLab would take arrows and Enter for itself
    if (event.key === "Escape" && view.sounds.stop()) return; // the sound first
    if (event.key === "Escape") beside.contains(event.target) ? close() : clear();
  });

  // ---- start

  el.append(ui.root);
  look.position = get("step");
  onTab("map");
  controls.fillSteps();
  onMaps();
  const resize = new ResizeObserver(() => {
    maps.measure();
    curve.draw();
  });
  for (const node of [ui.views, ui.stages]) resize.observe(node); // which is away while another tab is open
  const restyle = new MutationObserver(onTheme);
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "data-theme", "class", "theme"];
  for (const node of [document.documentElement, document.body]) restyle.observe(node, { attributeFilter });
  on(matchMedia("(prefers-color-scheme: dark)"), "change", onTheme);
  requestAnimationFrame(onTheme); // styles apply once the root is in the page
  if (data.pictures)
    createImageBitmap(new Blob([get("atlas")], { type: "image/webp" })).then((image) => {
      look.atlas = image;
      onTheme();
    });
  for (const f of [onStep, onHover, onQuery, onTyped, controls.fillWords, controls.fillRefused, maps.fillTools]) f();
  ui.copy.hidden = !view.offline; // a notebook has no address that others could open
  if (view.offline) address = createAddress(view, maps, el.closest(PAGES));
  address?.begin();
  set({ alive: true }); // somebody is looking: a training may show how it goes
  return () => {
    leaving.abort();
    resize.disconnect();
    restyle.disconnect();
    address?.stop();
    view.sounds.stop();
    maps.stop();
    controls.stop();
    list.stop();
  };
}

export default { render, arrive };
