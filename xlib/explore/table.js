// The tab "Table": the items that match the search, or all, one a row, page by page, with a box to select each.

const PAGE = 20; // rows
const TABLE_MARKUP = `
  <div data-ui="tableView" class="table" hidden>
    <div class="sheet" tabindex="0" role="region" aria-label="Table of items">
      <table><thead><tr data-ui="head"></tr></thead><tbody data-ui="body"></tbody></table>
    </div>
    <div class="pages">
      <button data-ui="back" type="button">Previous</button>
      <span data-ui="pages"></span>
      <button data-ui="next" type="button">Next</button>
    </div>
  </div>`;

function createTable(view) {
  const { data, ui, get, set, on } = view;
  const { captions, pairs, kindOf } = data;
  // The columns beside the caption: name, whether any row has something in it, and what row i has.
  const columns = [
    ["class", data.classes.length > 0, (i) => data.classes[data.classOf[i]] ?? ""],
    ["modality", data.modalities.length > 1, kindOf],
    ["domain", data.domains.length > 0, (i) => data.domains[data.domainOf[i]] ?? ""],
    ["cosine with its pair", pairs.some((j) => j >= 0), cosineOf],
  ].filter(([, some]) => some);
  let page = 0;

  const names = ["caption", ...columns.map(([name]) => name)];
  ui.head.append(h("td"), ...names.map((name) => h("th", { scope: "col" }, name)));

  function cosineOf(i) {
    return pairs[i] >= 0 ? data.pairCosine(i, get("step")).toFixed(2) : "";
  }

  function fillTable() {
    if (view.tab !== "table") return;
    const rows = get("query").trim() ? [...view.matches] : [...captions.keys()];
    page = clamp(page, 0, Math.max(0, Math.ceil(rows.length / PAGE) - 1));
    const [from, to] = [page * PAGE, Math.min((page + 1) * PAGE, rows.length)];
    const chosen = new Set(view.selected());
    const shown = `${count(from + 1)} to ${count(to)} of ${count(rows.length)}`;
    ui.pages.textContent = rows.length ? shown : "no items";
    [ui.back.disabled, ui.next.disabled] = [page === 0, to === rows.length];
    ui.body.replaceChildren(...rows.slice(from, to).map((i) => {
      const box = h("input", { type: "checkbox", "aria-label": `Select ${captions[i]}, ${kindOf(i)}` });
      box.checked = chosen.has(i);
      box.dataset.row = i;
      const cells = columns.map(([, , text]) => h("td", {}, text(i)));
      return h("tr", {}, h("td", {}, box), h("th", { scope: "row" }, captions[i]), ...cells);
    }));
  }

  function turn(to) {
    page = to;
    fillTable();
  }

  on(ui.back, "click", () => turn(page - 1));
  on(ui.next, "click", () => turn(page + 1));
  on(ui.body, "change", (event) => {
    const row = +event.target.dataset.row;
    set({ selected: view.toggled(row), typed: "" });
    ui.body.querySelector(`[data-row="${row}"]`)?.focus(); // the table was filled anew
  });
  const rowAt = (node) => +(node.closest("tr")?.querySelector("input").dataset.row ?? -1);
  for (const type of ["focusin", "pointerover"]) on(ui.body, type, (event) => set({ hover: rowAt(event.target) }));
  for (const type of ["focusout", "pointerleave"]) on(ui.body, type, () => set({ hover: -1 }));
  return { fill: fillTable, turn };
}
