// The column at the right: how to begin; or the selected item (or a typed caption) with its pair, its nearest
// neighbours and how far the map is to be trusted; or, where several items are selected, the first of them.

const LIST_MARKUP = `
  <aside aria-label="Selected item">
    <div data-ui="hint" class="hint">
      <p data-ui="invite"></p>
      <p>On the map, arrow keys walk from item to item, Enter selects one, Space adds one, Escape clears,
      and + − 0 zoom. Shift and a drag draw a lasso.</p>
    </div>
    <div data-ui="chosen" class="chosen">
      <button data-ui="close" type="button" class="close" aria-label="Clear selection">×</button>
      <div data-ui="topmost"></div>
      <p data-ui="warning" class="warning"></p>
      <p data-ui="heading" class="heading" hidden></p>
      <div data-ui="toggle" class="choice toggle" role="group" aria-label="Neighbours among">
        <button data-ui="all" type="button">All items</button>
        <button data-ui="others" type="button">Other modality</button>
      </div>
      <ol data-ui="list"></ol>
      <p data-ui="note" class="note"></p>
    </div>
  </aside>`;

function createList(view) {
  const { data, ui, get, set, on, selected } = view;
  const { n, captions, kinds, pairs } = data;

  // The rows are made once and refilled: focus stays put.
  const top = makeRow("div", "head");
  const pairRow = makeRow("button", "row pair");
  const rows = Array.from({ length: data.k }, () => makeRow("button", "row"));
  ui.topmost.append(top.node, pairRow.node);
  ui.list.append(...rows.map((row) => h("li", {}, row.node)));
  ui.invite.textContent = `Click an item to list its nearest neighbours in all ${data.dimensions} dimensions.`;

  function makeRow(tag, name) {
    const [thumb, bar] = [h("canvas"), h("i")];
    const [caption, meta] = [h("span", { class: "caption" }), h("span", { class: "meta" })];
    const node = h(tag, { class: name }, thumb, caption, meta, h("span", { class: "bar" }, bar));
    if (tag === "button") {
      node.type = "button";
      node.setAttribute(...OWN_KEYS);
    }
    return { node, thumb, caption, meta, bar, index: -1 };
  }

  function fillRow(row, i, size, meta, cosine = 0) {
    row.index = i;
    drawThumb(view, row.thumb, i, size);
    row.caption.textContent = captions[i];
    row.meta.textContent = meta;
    row.bar.style.width = `${100 * clamp(cosine, 0, 1)}%`;
    row.node.title = `${captions[i]} (${data.facts(i)})`;
  }

  function fillList() {
    const [i, many, typed] = [view.one(), selected().length, get("typed")];
    ui.hint.hidden = many > 0 || !!typed;
    ui.chosen.hidden = !ui.hint.hidden;
    if (ui.chosen.hidden) return;
    fillTop(i, typed);
    fillPair(i);
    const listed = i >= 0 || !!typed;
    fillToggle(listed, typed);
    const shown = listed ? get("neighbours") : selected().slice(0, data.k).map((j) => [j, null]);
    ui.heading.textContent = heading(listed, shown.length, many, poolSize(i, typed));
    ui.heading.hidden = !ui.heading.textContent;
    rows.forEach((row, r) => {
      row.node.parentNode.hidden = r >= shown.length;
      if (r >= shown.length) return;
      const [j, cosine] = shown[r];
      fillRow(row, j, 28, cosine === null ? "" : cosine.toFixed(2), cosine ?? 0);
    });
    ui.note.textContent = get("note");
    ui.warning.textContent = get("warning");
    ui.warning.hidden = !get("warning");
  }

  function fillTop(i, typed) {
    top.thumb.hidden = i < 0;
    if (i >= 0) return fillRow(top, i, 52, data.facts(i));
    top.caption.textContent = typed || `${count(selected().length)} items selected`;
    top.meta.textContent = typed ? "your own caption" : tally(selected());
  }

  /** The row of item i's pair, and how far down either stands in the other's list. */
  function fillPair(i) {
    const pair = i >= 0 ? pairs[i] : -1;
    pairRow.node.hidden = pair < 0;
    if (pair < 0) return;
    const cosine = data.pairCosine(i, get("step"));
    fillRow(pairRow, pair, 28, cosine.toFixed(2), cosine);
    const rivals = (of) => count(kinds.filter((kind) => kind === kinds[of]).length);
    const [there, back] = get("ranks");
    const ranks = `rank ${count(there)} of ${rivals(pair)}; from there back: ${count(back)} of ${rivals(i)}`;
    pairRow.node.dataset.rank = `Its ${data.kindOf(pair)}` + (there ? `: ${ranks}` : "");
  }

  function fillToggle(listed, typed) {
    const other = get("among") === "other";
    ui.all.setAttribute("aria-pressed", !other);
    ui.others.setAttribute("aria-pressed", other);
    ui.others.textContent = typed ? "With a picture" : "Other modality";
    ui.toggle.hidden = !listed || data.modalities.length < 2;
  }

  function heading(listed, length, many, pool) {
    if (listed) return length ? `${length} nearest of ${count(pool)}` : "";
    return many > length ? `The first ${length}` : "";
  }

  /** Among how many items the neighbours of item i or of the typed caption were looked for. */
  function poolSize(i, typed) {
    const other = get("among") === "other";
    if (typed) return other ? data.pictures : n;
    return other ? kinds.filter((kind) => kind !== kinds[i]).length : n - 1;
  }

  /** The most frequent classes of some rows, in words. */
  function tally(chosen) {
    if (!data.classes.length) return "";
    const counts = new Map();
    for (const i of chosen) counts.set(data.classOf[i], (counts.get(data.classOf[i]) ?? 0) + 1);
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
    return most.map(([c, times]) => `${count(times)} ${data.classes[c] ?? "without a class"}`).join(", ");
  }

  on(ui.close, "click", view.clear);
  on(ui.all, "click", () => set({ among: "all" }));
  on(ui.others, "click", () => set({ among: "other" }));
  for (const row of [pairRow, ...rows]) {
    on(row.node, "click", () => set({ selected: [row.index], typed: "" }));
    for (const type of ["pointerenter", "focus"]) on(row.node, type, () => set({ hover: row.index }));
    for (const type of ["pointerleave", "blur"]) on(row.node, type, () => set({ hover: -1 }));
  }
  return { fill: fillList };
}
