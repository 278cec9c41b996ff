// What stands around the views. Above: title, search, and the bar of choices, with why one was refused. Below: play
// and the slider of the training steps. (What Move, Lasso, Box and Save do is in maps.js; the tabs are in view.js.)

const DWELL = 250; // ms that play rests on each snapshot
const TOP_MARKUP = `
  <div class="top">
    <strong data-ui="title"></strong>
    <output data-ui="count" class="count" aria-live="polite"></output>
    <button data-ui="take" type="button" class="take" hidden>Select them</button>
    <input data-ui="search" type="search" placeholder="Search captions" aria-label="Search captions"
      spellcheck="false">
  </div>`;
const BAR_MARKUP = `
  <div class="bar">
    <div data-ui="tabs" class="choice" role="group" aria-label="View">
      <button data-tab="map" type="button">Map</button>
      <button data-tab="matrix" type="button">Matrix</button>
      <button data-tab="table" type="button">Table</button>
    </div>
    <label data-ui="projecting">Projection <select data-ui="projection"></select></label>
    <form data-ui="spanning" class="spanning" hidden>
      <input data-ui="one" type="text" aria-label="Axis from" placeholder="from: even" spellcheck="false">
      <span aria-hidden="true">↔</span>
      <input data-ui="other" type="text" aria-label="Axis to" placeholder="to: odd" spellcheck="false">
      <button type="submit">Show</button>
    </form>
    <label data-ui="comparing">Compare <select data-ui="compare"></select></label>
    <form data-ui="typing" class="typing" hidden>
      <input data-ui="typed" type="text" aria-label="Your own caption" placeholder="Type your own caption"
        spellcheck="false">
      <button type="submit">Place it</button>
    </form>
    <div data-ui="tools" class="choice tools" role="group" aria-label="Dragging on the map">
      <button data-tool="move" type="button">Move</button>
      <button data-tool="lasso" type="button">Lasso</button>
      <button data-tool="box" type="button">Box</button>
    </div>
    <button data-ui="save" type="button">Save picture</button>
  </div>
  <p data-ui="refused" class="warning" role="alert" hidden></p>`;
const TRAINING_MARKUP = `
  <div data-ui="training" class="training">
    <button data-ui="play" type="button" class="play"></button>
    <input data-ui="slider" type="range" min="0" step="1" aria-label="Training step">
    <span data-ui="at" class="step"></span>
  </div>`;
const PROJECTIONS = { pca: "PCA", umap: "UMAP", axis: "Between two texts" };
const COMPARISONS = {
  "": "nothing",
  steps: "first and later step",
  modality: "modalities",
  domains: "domains",
  projection: "PCA and UMAP",
};

function createControls(view) {
  const { data, ui, offline, get, set, on, selected } = view;
  const last = data.steps.length - 1;
  let timer = 0; // of play
  let spanning = false; // "Between two texts" is chosen, and its texts are yet to come

  const comparisons = ["", ...Object.keys(data.comparisons)];
  ui.projection.append(...Object.keys(PROJECTIONS).map((value) => h("option", { value }, PROJECTIONS[value])));
  ui.compare.append(...comparisons.map((value) => h("option", { value }, COMPARISONS[value])));
  ui.title.textContent = data.title;
  ui.typing.hidden = !!offline || !data.encodes;
  ui.slider.max = last;
  ui.training.hidden = last < 1;

  // ---- above

  function fillSearch() {
    const query = get("query").trim();
    if (ui.search.value.trim() !== query) ui.search.value = get("query");
    ui.count.textContent = query ? `${count(view.matches.size)} of ${count(data.n)} match` : "";
    ui.take.hidden = !view.matches.size;
  }

  /** Which projections and comparisons can be had, and which are chosen. */
  function fillChoices() {
    const [projection, [from, to]] = [get("projection"), get("axis").length ? get("axis") : ["", ""]];
    const can = (name) => !offline || get("maps")[name];
    const offer = (option, offered) => (option.hidden = option.disabled = !offered);
    const few = (select) => [...select.options].filter((option) => !option.disabled).length < 2;
    const both = can("pca") && can("umap");
    for (const option of ui.projection.options) offer(option, can(option.value));
    for (const option of ui.compare.options) offer(option, option.value !== "projection" || both);
    if (projection === "axis") spanning = false;
    ui.projection.value = spanning ? "axis" : projection;
    ui.spanning.hidden = !!offline || ui.projection.value !== "axis";
    if (!get("refused")) [ui.one.value, ui.other.value] = [from || ui.one.value, to || ui.other.value];
    ui.compare.value = get("compare");
    ui.projecting.hidden = get("compare") === "projection" || few(ui.projection);
    ui.comparing.hidden = few(ui.compare);
  }

  function fillTyped() {
    if (!get("refused") && ui.typed.value.trim() !== get("typed")) ui.typed.value = get("typed");
  }

  function fillRefused() {
    ui.refused.textContent = get("refused");
    ui.refused.hidden = !get("refused");
  }

  on(ui.search, "input", () => set({ query: ui.search.value }));
  on(ui.search, "keydown", (event) => {
    const matches = [...view.matches];
    if (event.key !== "Enter" || !matches.length) return;
    set({ selected: [matches.find((i) => i > (selected()[0] ?? -1)) ?? matches[0]] }); // from match to match
  });
  on(ui.take, "click", () => set({ selected: [...view.matches], query: "" }));
  on(ui.projection, "change", () => {
    spanning = ui.projection.value === "axis" && !get("maps").axis;
    if (!spanning) set({ projection: ui.projection.value });
    fillChoices();
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

  // ---- below

  function fillStep() {
    const step = get("step");
    ui.slider.value = step;
    ui.at.textContent = view.stepName();
    ui.slider.setAttribute("aria-valuetext", `step ${data.steps[step]}, ${step + 1} of ${last + 1} snapshots`);
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

  on(ui.slider, "input", () => {
    play(false);
    set({ step: +ui.slider.value });
  });
  on(ui.play, "click", () => play(!ui.play.classList.contains("playing")));
  play(false);

  const stop = () => clearInterval(timer);
  return { fillSearch, fillChoices, fillTyped, fillRefused, fillStep, stop };
}
