// On a page without a kernel: what the kernel would have answered to a selection, looked up in the tables that came
// with the page.

/** A function which answers what is chosen now; where there is a kernel, it leaves that to the kernel. */
function createAnswers(view) {
  const { data, offline, get, set } = view;
  const { n, k } = data;
  const last = data.steps.length - 1;

  return function answer() {
    if (!offline) return;
    const [i, step, other] = [view.one(), get("step"), get("among") === "other" ? 1 : 0];
    const text = offline.texts[get("projection")][step];
    const empty = { neighbours: [], ranks: [0, 0], note: "", warning: "", alt_text: text };
    if (i < 0) return set(empty);
    const known = `This page knows neighbours at the last step only: ${view.stepName(last)}.`;
    if (step !== last) return set({ ...empty, note: known });
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
      ranks: [...numbers(offline.ranks, Int32Array).subarray(2 * i, 2 * i + 2)],
      note: `By cosine in all ${data.dimensions} dimensions${misled ? "." : `; ${agreement}`}${judged}`,
      warning: misled ? `Only ${agreement}` : "",
      alt_text: `${text} Selected: ${data.named(i)}.`,
    });
  };
}
