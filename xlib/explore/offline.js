// On a page without a kernel: what the kernel would have answered to a selection, looked up in the tables that came
// with the page.

/** A function which answers what is chosen now; where there is a kernel, it leaves that to the kernel. */
function createAnswers(view) {
  const { data, offline, get, set } = view;
  const { n, k, kinds } = data;
  const last = data.steps.length - 1;

  /** [row, count] pairs, the highest count first, as `_hubs` in model.py. */
  function hubs(other) {
    const times = new Int32Array(n);
    for (const j of numbers(offline.rows, Int32Array).subarray(other * n * k, (other + 1) * n * k)) if (j >= 0) times[j]++;
    const group = (i) => (other ? kinds[i] : 0); // in the other modality there may be more, or fewer, who choose
    const [sums, sizes] = [[], []];
    times.forEach((t, i) => {
      sums[group(i)] = (sums[group(i)] ?? 0) + t;
      sizes[group(i)] = (sizes[group(i)] ?? 0) + 1;
    });
    const rows = [...times.keys()].sort((i, j) => times[j] - times[i]).slice(0, LISTED);
    return rows.filter((i) => times[i] > (2 * sums[group(i)]) / sizes[group(i)]).map((i) => [i, times[i]]);
  }

  /** [row, cosine] pairs of those whose neighbour item i is, the nearest first. */
  function whose(i, other) {
    const [rows, cosines] = [numbers(offline.rows, Int32Array), numbers(offline.cosines, Int16Array)];
    const found = [];
    for (let at = other * n * k; at < (other + 1) * n * k; at++)
      if (rows[at] === i) found.push([Math.floor(at / k) - other * n, cosines[at] / 10_000]);
    return found.sort((a, b) => b[1] - a[1]);
  }

  return function answer() {
    if (!offline) return;
    const [i, step, other] = [view.one(), get("step"), get("among") === "other" ? 1 : 0];
    const text = offline.texts[get("projection")][step];
    const empty = { neighbours: [], ranks: [0, 0], hubs: [], note: "", warning: "", alt_text: text };
    const counted = get("listing") === "hubs";
    if (i < 0 && !counted) return set(empty);
    const known = `This page knows neighbours at the last step only: ${view.stepName(last)}.`;
    if (step !== last) return set({ ...empty, note: known });
    const ranks = [...numbers(offline.ranks, Int32Array).subarray(2 * i, 2 * i + 2)];
    if (counted && i >= 0) return set({ ...empty, neighbours: whose(i, other), ranks });
    if (counted) return set({ ...empty, hubs: hubs(other) });
    const from = (other * n + i) * k;
    const rows = [...numbers(offline.rows, Int32Array).subarray(from, from + k)].filter((j) => j >= 0);
    const cosines = numbers(offline.cosines, Int16Array).subarray(from, from + k);
    const both = numbers(offline.agree[get("projection")], Int32Array)[other * n + i];
    const trust = offline.trust[get("projection")];
    const scale = "(1 is perfect, chance about 0.5)";
    const judged = trust === null ? "" : ` The map's trustworthiness: ${trust.toFixed(2)} ${scale}.`;
    const agreement = `${both} of these ${rows.length} are also among the nearest ${rows.length} on the map.`;
    const misled = rows.length > 1 && both < rows.length / 2;
    set({
      neighbours: rows.map((j, r) => [j, cosines[r] / 10_000]),
      ranks,
      hubs: [],
      note: `By cosine in all ${data.dimensions} dimensions${misled ? "." : `; ${agreement}`}${judged}`,
      warning: misled ? `Only ${agreement}` : "",
      alt_text: `${text} Selected: ${data.named(i)}.`,
    });
  };
}
