// The whole explorer, put together from its parts. What can be chosen (step, hover, selected, query, …) lives in the
// widget's model, so that Python and the browser see the same; what is drawn follows from it, in the functions on…
// below. Data is put in as text, never as markup. The files make one module, in the order that view.py gives.

const MARKUP = `
  ${TOP_MARKUP}
  ${BAR_MARKUP}
  <div class="middle">
    <div class="left">
      ${MAPS_MARKUP}
      ${MATRIX_MARKUP}
      ${TABLE_MARKUP}
      ${TRAINING_MARKUP}
      <div data-ui="legend" class="legend"></div>
    </div>
    ${LIST_MARKUP}
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
  const colours = ["#808080", ...data.classes.map((_, i) => tint(data.palette[i] ?? "#808080"))];
  const [ink, paper, accent] = [style.color, style.backgroundColor, style.getPropertyValue("--accent").trim()];
  const inks = colours.map((colour) => packed(rgb(colour)));
  return { ink, paper, accent, colours, inks, paperInk: packed(rgb(paper)), chip: dark ? "#e9ebee" : "#fff" };
}

function render({ model, el }) {
  const data = unpack(model);
  const ui = build();
  const leaving = new AbortController();
  const get = (name) => model.get(name);
  const selected = () => get("selected");
  let frame = 0;

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
  }

  const look = {
    width: 0, height: 0, dpr: 1, // of a map, in CSS pixels; and how many pixels of the screen make one of them
    zoom: 1, x: 0, y: 0, moving: false,
    position: get("step"), // the snapshot that is drawn: between two while the maps glide
    atlas: null, theme: null, // the pictures and the colours, as soon as they are here
  };
  const view = {
    data, ui, look, get, set, on, hotkeys, redraw, selected,
    offline: get("offline"), // answers of a kernel that is not there
    tab: "map",
    matches: new Set(), // rows whose captions hold the query
    partners: [], // rows that are pairs of the hovered one
    one: () => (selected().length === 1 ? selected()[0] : -1),
    toggled: (i) => (selected().includes(i) ? selected().filter((j) => j !== i) : [...selected(), i]),
    clear: () => set({ hover: -1, selected: [], query: "", typed: "" }),
    stepName: () => `step ${count(data.steps[get("step")])}`,
  };
  const card = createCard(view);
  const maps = createMaps(view, card);
  const matrix = createMatrix(view);
  const table = createTable(view);
  const list = createList(view);
  const controls = createControls(view);
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
    answer();
    table.fill();
    onAnswer();
  }

  function onMaps() {
    controls.fillChoices();
    maps.arrange();
    answer();
    onAnswer();
  }

  function onTyped() {
    controls.fillTyped();
    onAnswer();
  }

  function onQuery() {
    const needle = get("query").trim().toLowerCase(); // as in the Python model
    const found = (i) => data.lower[i].includes(needle);
    view.matches = new Set(needle ? [...data.captions.keys()].filter(found) : []);
    controls.fillSearch();
    table.turn(0);
    redraw();
  }

  function onTheme() {
    look.theme = themeOf(view);
    fillLegend(view);
    list.fill();
    redraw();
  }

  function onTab(name) {
    view.tab = name;
    const views = { map: ui.stages, matrix: ui.matrixView, table: ui.tableView };
    for (const [tab, node] of Object.entries(views)) node.hidden = tab !== name;
    for (const button of ui.tabs.children) button.setAttribute("aria-pressed", button.dataset.tab === name);
    ui.tools.hidden = ui.save.hidden = name !== "map";
    matrix.leave();
    table.fill();
    card.fill();
    redraw();
  }

  const follow = {
    step: onStep, hover: onHover, query: onQuery, selected: onSelected, among: onSelected, typed: onTyped,
    refused: controls.fillRefused, maps: onMaps, projection: onMaps, compare: onMaps, axis: onMaps, landed: redraw,
    neighbours: onAnswer, ranks: onAnswer, note: onAnswer, warning: onAnswer, alt_text: onAnswer,
  };
  for (const [name, f] of Object.entries(follow)) model.on(`change:${name}`, f);
  for (const button of ui.tabs.children) on(button, "click", () => onTab(button.dataset.tab));
  on(ui.root, "keydown", (event) => {
    event.stopPropagation(); // JupyterLab would take arrows and Enter for itself
    if (event.key === "Escape") view.clear();
  });

  // ---- start

  el.append(ui.root);
  onTab("map");
  onMaps();
  const resize = new ResizeObserver(maps.measure);
  resize.observe(ui.stages);
  const restyle = new MutationObserver(onTheme);
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class", "theme"];
  for (const node of [document.documentElement, document.body]) restyle.observe(node, { attributeFilter });
  on(matchMedia("(prefers-color-scheme: dark)"), "change", onTheme);
  requestAnimationFrame(onTheme); // styles apply once the root is in the page
  if (data.pictures)
    createImageBitmap(new Blob([get("atlas")], { type: "image/webp" })).then((image) => {
      look.atlas = image;
      onTheme();
    });
  for (const f of [onStep, onHover, onQuery, onTyped, controls.fillRefused]) f();
  return () => {
    leaving.abort();
    resize.disconnect();
    restyle.disconnect();
    maps.stop();
    controls.stop();
  };
}

export default { render };
