// The tab "Table": the items that match the search, or those it was confined to, or all; one a row, page by page,
// with its picture, and a box to select it along with others. The headers sort.

const PAGE = 20; // rows
const TABLE_MARKUP = `
  <div data-ui="tableView" class="table" hidden>
    <div data-ui="sheet" class="sheet" tabindex="0" role="region" aria-label="Table of items">
      <table><thead><tr data-ui="head"></tr></thead><tbody data-ui="body"></tbody></table>
    </div>
    <div class="pages">
      <button data-ui="back" type="button">Previous</button>
      <span data-ui="pages" role="status"></span>
      <button data-ui="next" type="button">Next</button>
      <button data-ui="only" type="button" class="only"></button>
    </div>
  </div>`;

function createTable(view) {
  const { data, ui, get, set, on, selected } = view;
  const { n, captions, pairs, kindOf } = data;
  const collator = new Intl.Collator("en", { numeric: true });
  const cosine = (i) => (pairs[i] >= 0 ? data.pairCosine(i, get("step")) : NaN);
  // The columns: name, whether any row has something in it, what row i has in it, and by what it is sorted.
  const columns = [
    ["caption", true, (i) => captions[i]],
    ["cosine with its pair", pairs.some((j) => j >= 0), (i) => (pairs[i] >= 0 ? cosine(i).toFixed(2) : ""), cosine],
    ["class", data.classes.length > 0, (i) => data.classes[data.classOf[i]] ?? "", (i) => data.classOf[i]],
    ["value", !!data.values.length, (i) => data.values[i], (i) => data.valueRank[i]],
    ["modality", data.modalities.length > 1, kindOf],
    ["domain", data.domains.length > 0, (i) => data.domains[data.domainOf[i]] ?? ""],
  ].filter(([, some]) => some);
  let page = 0;
  let [by, down] = [-1, false]; // the column that is sorted by, and whether from high to low

  const heads = columns.map(([name], c) => {
    const button = h("button", { type: "button" }, name);
    button.setAttribute(...OWN_KEYS);
    on(button, "click", () => sort(c));
    return h("th", { scope: "col" }, button);
  });
  ui.head.append(h("td"), h("td"), ...heads);

  // ---- which rows, in which order

  function sort(c) {
    if (by !== c) [by, down] = [c, false];
    else [by, down] = down ? [-1, false] : [c, true]; // up, down, and as they came
    turn(0);
  }

  function rowsShown() {
    let rows = get("query").trim() ? [...view.matches] : [...captions.keys()];
    if (view.only) {
      const only = new Set(view.only);
      rows = rows.filter((i) => only.has(i));
    }
    if (by < 0) return rows;
    const [, , text, value] = columns[by];
    const [sign, empty] = [down ? -1 : 1, (i) => text(i) === ""];
    const order = value ? (i, j) => value(i) - value(j) : (i, j) => collator.compare(text(i), text(j));
    const full = rows.filter((i) => !empty(i)).sort((i, j) => sign * order(i, j));
    return [...full, ...rows.filter(empty)]; // what is empty stands last
  }

  // ---- drawing

  function fillTable() {
    if (view.tab !== "table") return;
    heads.forEach((head, c) => head.setAttribute("aria-sort", by !== c ? "none" : down ? "descending" : "ascending"));
    const rows = rowsShown();
    page = clamp(page, 0, Math.max(0, Math.ceil(rows.length / PAGE) - 1));
    const [from, to] = [page * PAGE, Math.min((page + 1) * PAGE, rows.length)];
    ui.pages.textContent = rows.length ? `${count(from + 1)} to ${count(to)} of ${count(rows.length)}` : "no items";
    [ui.back.disabled, ui.next.disabled] = [page === 0, to === rows.length];
    const many = selected().length;
    ui.only.hidden = !view.only && !many;
    ui.only.textContent = view.only ? `All ${count(n)} items again` : `Only the ${count(many)} selected`;
    const focused = rowAt(ui.root.getRootNode().activeElement);
    ui.body.replaceChildren(...rows.slice(from, to).map(fillRow));
    if (focused >= 0) boxOf(focused)?.focus({ preventScroll: true }); // the table was filled anew
  }

  const isSelected = (i) => selected().includes(i);
  const boxOf = (i) => ui.body.querySelector(`[data-row="${i}"]`);

  function fillRow(i) {
    const box = h("input", { type: "checkbox", "aria-label": `Select ${captions[i]}, ${kindOf(i)}` });
    box.checked = isSelected(i);
    box.dataset.row = i;
    const picture = h("canvas");
    drawThumb(view, picture, i, 24);
    const [caption, ...cells] = columns.map(([, , text]) => text(i));
    const words = h("th", { scope: "row", title: caption }, h("span", { dir: "auto" }, caption));
    const row = h("tr", {}, h("td", {}, box), h("td", {}, picture), words, ...cells.map((text) => h("td", {}, text)));
    row.classList.toggle("picked", isSelected(i));
    return row;
  }

  function turn(to) {
    page = to;
    fillTable();
    ui.sheet.scrollTop = 0;
  }

  // ---- mouse and keys

  const rowAt = (node) => +(node?.closest?.("[data-ui=body] tr")?.querySelector("input").dataset.row ?? -1);
  const toggle = (i) => view.select(view.toggled(i));

  /** Put the focus on the box of the row so many rows further on, on the page before or after if need be. */
  function goTo(event, step) {
    const boxes = [...ui.body.querySelectorAll("input")];
    const at = boxes.indexOf(event.target) + step;
    if (at >= 0 && at < boxes.length) return boxes[at].focus();
    if ((step < 0 ? ui.back : ui.next).disabled) return;
    turn(page + step);
    [...ui.body.querySelectorAll("input")].at(step < 0 ? -1 : 0).focus();
  }

  on(ui.back, "click", () => turn(page - 1));
  on(ui.next, "click", () => turn(page + 1));
  on(ui.only, "click", () => {
    view.only = view.only ? null : selected();
    turn(0);
  });
  on(ui.body, "change", (event) => toggle(+event.target.dataset.row));
  on(ui.body, "click", (event) => {
    const i = rowAt(event.target);
    if (i < 0 || event.target.matches("input")) return; // a box has a change of its own
    if (event.ctrlKey || event.metaKey || event.shiftKey) toggle(i);
    else view.choose(i);
    boxOf(i)?.focus({ preventScroll: true });
  });
  on(ui.body, "keydown", (event) => {
    const enter = () => view.choose(rowAt(event.target));
    const keys = { ArrowDown: () => goTo(event, 1), ArrowUp: () => goTo(event, -1), Enter: enter };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const type of ["focusin", "pointerover"]) on(ui.body, type, (event) => set({ hover: rowAt(event.target) }));
  for (const type of ["focusout", "pointerleave"]) on(ui.body, type, () => set({ hover: -1 }));
  return { fill: fillTable, turn };
}
