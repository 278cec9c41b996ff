// What is listed while nothing is selected, for who asks for it: the pairs with the lowest cosine, known at each step,
// and the hubs, items that are among the nearest of unusually many others (Radovanović et al. 2010), which Python counts.

const LISTED = 20; // rows
const HINT_MARKUP = `
    <div data-ui="hint" class="hint">
      <p data-ui="invite"></p>
      <p>On the map, arrow keys walk from item to item, Enter <span data-ui="chooses">selects one</span>, Space adds one, Escape clears,
      and + − 0 zoom, as Ctrl and the wheel do. Shift and a drag draw a lasso.</p>
      <div data-ui="listings" class="listings" role="group" aria-label="Lists">
        <button data-ui="toPairs" type="button">Worst pairs</button>
        <button data-ui="toHubs" type="button">Hubs</button>
      </div>
      <p data-ui="absent" hidden></p>
    </div>`;

function createLists(view) {
  const { data, ui, get, set, on, offline } = view;
  const { n, k, pairs, captions } = data;
  const titles = { pairs: "Worst pairs", hubs: "Hubs" };
  // Each pair once, from the side of the first modality.
  const order = (i) => data.kinds[i] * n + i;
  const paired = [...pairs.keys()].filter((i) => pairs[i] >= 0 && (pairs[pairs[i]] !== i || order(i) < order(pairs[i])));
  const ofFirst = data.kinds.filter((kind) => kind === 0).length;
  const even = data.modalities.length === 2 && 2 * ofFirst === n && 2 * k <= n; // as many ask as can be answered with

  if (view.sounds.some) ui.chooses.textContent = "selects one and plays its sound";
  ui.toPairs.hidden = !paired.length;
  ui.toHubs.hidden = n <= 2 * k + 1; // nobody can be the neighbour of twice as many as on average
  ui.listings.hidden = ui.toPairs.hidden && ui.toHubs.hidden;
  ui.absent.hidden = !offline;
  ui.absent.textContent = `${data.encodes ? "A caption of your own and other" : "Other"} projections need Python: run the notebook for these.`;
  on(ui.toPairs, "click", () => open("pairs"));
  on(ui.toHubs, "click", () => open("hubs"));

  function open(listing) {
    set({ listing });
    view.enterList();
  }

  const share = (times) => ((100 * times) / (n - 1)).toFixed(1);
  const twoSides = (i) => (captions[i] === captions[pairs[i]] ? "" : ` ↔ ${captions[pairs[i]]}`);

  /** [row, words, share of a bar, what its caption is followed by] of each row listed. */
  function entries() {
    if (get("listing") === "pairs") {
      const cosine = (i) => data.pairCosine(i, get("step"));
      const rows = [...paired].sort((i, j) => cosine(i) - cosine(j)).slice(0, LISTED);
      return rows.map((i) => [i, cosine(i).toFixed(2), cosine(i), twoSides(i)]);
    }
    const hubs = get("hubs");
    return hubs.map(([i, times]) => [i, `${count(times)} (${share(times)}%)`, times / hubs[0][1], ""]);
  }

  /** What the list holds, in a sentence or two. */
  function note() {
    const at = data.steps.length > 1 ? ` at ${view.stepName()}` : "";
    if (get("listing") === "pairs") {
      const mean = paired.reduce((sum, i) => sum + data.pairCosine(i, get("step")), 0) / paired.length;
      return `The lowest cosines of ${count(paired.length)} pairs${at}; the mean is ${mean.toFixed(2)}.`;
    }
    const others = get("among") === "other" ? "items of another modality" : "others";
    const mean = get("among") === "other" && !even ? "" : `; the mean is ${k}`;
    if (get("hubs").length) return `How often each is among the nearest ${k} of ${others}${at}${mean}.`;
    if (get("note")) return get("note");
    return `No item is among the nearest ${k} of more than twice as many ${others} as on average${at}.`;
  }

  return { titles, entries, note };
}
