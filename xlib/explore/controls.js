// What stands around the views. Above: title, tabs, search, and the bar of choices. On the map: the two texts of an
// axis, and why a choice was refused. Below: play and the slider of the training steps. (What stands under the map, Move, Lasso,
// Box and Save picture, is in maps.js; the tabs are in view.js.)

const DWELL = 250; // ms that play rests on each snapshot
const TOP_MARKUP = `
  <div class="top">
    <strong data-ui="title"></strong>
    <div data-ui="tabs" class="choice" role="group" aria-label="View">
      <button data-tab="map" type="button">Map</button>
      <button data-tab="matrix" type="button">Matrix</button>
      <button data-tab="table" type="button">Table</button>
    </div>
    <output data-ui="count" class="unseen" aria-live="polite"></output>
    <input data-ui="search" type="search" placeholder="Search captions" aria-label="Search captions"
      spellcheck="false">
  </div>`;
const BAR_MARKUP = `
  <div class="bar">
    <label data-ui="projecting">Projection <select data-ui="projection"></select></label>
    <label data-ui="comparing">Compare <select data-ui="compare"></select></label>
    <button data-ui="wording" type="button" title="Words that stand in a region's captions more than elsewhere">Words</button>
    <form data-ui="typing" class="typing" hidden>
      <input data-ui="typed" type="text" aria-label="Your own caption" placeholder="Type your own caption"
        spellcheck="false">
      <button type="submit">Place it</button>
    </form>
  </div>
  <div data-ui="chips" class="chips" role="group" aria-label="Captions to try" hidden></div>`;
const REFUSED_MARKUP = `<p data-ui="refused" class="warning refused" role="alert" hidden></p>`;
const TRAINING_MARKUP = `
  <div data-ui="training" class="training">
    <button data-ui="play" type="button" class="play"></button>
    <input data-ui="slider" type="range" min="0" step="1" aria-label="Training step">
    <span data-ui="at" class="step"></span>
  </div>`;
const PROJECTIONS = { given: "As given", pca: "PCA", umap: "UMAP", axis: "Between two texts" };
const COMPARISONS = {
  "": "nothing",
  steps: "first and later step",
  modality: "modalities",
  domains: "domains",
  projection: "PCA and UMAP",
};

function createControls(view) {
  const { data, ui, offline, get, set, on, selected } = view;
  const last = () => data.steps.length - 1;
  let timer = 0; // of play

  const option = (value, words) => h("option", { value }, words);
  ui.projection.append(...Object.entries(PROJECTIONS).map(([value, words]) => option(value, words)));
  ui.compare.append(...Object.entries(COMPARISONS).map(([value, words]) => option(value, words)));
  ui.title.textContent = data.title;
  ui.typing.hidden = !!offline || !data.encodes;

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
    const can = (name) => (!offline && name !== "given") || get("maps")[name];
    const offer = (option, offered) => (option.hidden = option.disabled = !offered);
    const few = (select) => [...select.options].filter((option) => !option.disabled).length < 2;
    const both = can("pca") && can("umap");
    for (const option of ui.projection.options) offer(option, can(option.value));
    const comparable = (name) => !name || (name === "projection" ? both : data.comparisons[name]);
    for (const option of ui.compare.options) offer(option, comparable(option.value));
    if (projection === "axis") view.spanning = false;
    ui.projection.value = view.spanning ? "axis" : projection;
    ui.spanning.hidden = !!offline || ui.projection.value !== "axis" || get("compare") === "projection";
    if (!get("refused")) [ui.one.value, ui.other.value] = [from || ui.one.value, to || ui.other.value];
    ui.compare.value = get("compare");
    ui.projecting.hidden = few(ui.projection);
    ui.comparing.hidden = few(ui.compare);
    ui.projection.disabled = view.tab !== "map" || get("compare") === "projection"; // it would change nothing
    ui.compare.disabled = ui.wording.disabled = view.tab !== "map";
  }

  /** Two texts that this map could stand between: short captions from its left and its right end. */
  function suggestAxis(ends) {
    [ui.one.placeholder, ui.other.placeholder] = ends.map((i, e) => `${e ? "to" : "from"}: ${data.captions[i]}`);
  }

  function fillTyped() {
    if (!get("refused") && ui.typed.value.trim() !== get("typed")) ui.typed.value = get("typed");
    for (const chip of ui.chips.children) chip.setAttribute("aria-pressed", chip.textContent === get("typed"));
  }

  function fillWords() {
    ui.wording.setAttribute("aria-pressed", get("words"));
    view.redraw();
  }

  function fillRefused() {
    ui.refused.textContent = get("refused");
    ui.refused.hidden = !get("refused");
  }

  ui.chips.hidden = ui.typing.hidden || !data.suggestions.length;
  for (const text of data.suggestions) {
    const chip = h("button", { type: "button" }, text);
    chip.setAttribute(...OWN_KEYS);
    on(chip, "click", () => view.place(text));
    ui.chips.append(chip);
  }
  on(ui.search, "input", () => set({ query: ui.search.value, listing: "" }));
  on(ui.search, "keydown", (event) => {
    const matches = [...view.matches];
    if (event.key !== "Enter" || !matches.length) return;
    view.choose(matches[view.searching ? 0 : (matches.indexOf(view.one()) + 1) % matches.length]); // the first, the next
  });
  on(ui.take, "click", () => set({ selected: [...view.matches], query: "", listing: "" }));
  on(ui.projection, "change", () => {
    view.spanning = ui.projection.value === "axis" && !get("maps").axis;
    if (!view.spanning) set({ projection: ui.projection.value });
    view.onMaps();
  });
  on(ui.wording, "click", () => set({ words: !get("words") }));
  on(ui.compare, "change", () => set({ compare: ui.compare.value }));
  on(ui.spanning, "submit", (event) => {
    event.preventDefault();
    set({ axis: [ui.one.value, ui.other.value] });
  });
  on(ui.typing, "submit", (event) => {
    event.preventDefault();
    view.place(ui.typed.value.trim());
  });

  // ---- below

  /** The slider, as long as there are steps: while a model is being trained there is one, that of now. */
  function fillSteps() {
    play(false);
    ui.slider.max = last();
    ui.training.hidden = last() < 1 || !!data.training;
    fillStep();
  }

  function fillStep() {
    const step = get("step");
    ui.slider.value = step;
    ui.at.textContent = view.stepName();
    ui.slider.setAttribute("aria-valuetext", `${view.stepName()}, ${step + 1} of ${last() + 1} snapshots`);
  }

  function play(start) {
    const advance = () => (get("step") < last() ? set({ step: get("step") + 1 }) : play(false));
    clearInterval(timer);
    ui.play.classList.toggle("playing", start);
    ui.play.setAttribute("aria-label", start ? "Pause" : "Play training");
    if (!start) return;
    timer = setInterval(advance, TRAVEL + DWELL);
    if (get("step") === last()) set({ step: 0 });
    else advance();
  }

  on(ui.slider, "input", () => {
    play(false);
    set({ step: +ui.slider.value });
  });
  on(ui.play, "click", () => play(!ui.play.classList.contains("playing")));

  const stop = () => clearInterval(timer);
  return { fillSearch, fillChoices, suggestAxis, fillTyped, fillWords, fillRefused, fillSteps, fillStep, stop };
}
