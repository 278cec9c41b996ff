// The tab "Matrix": the cosines of items with items in colours, class beside class, and the two items of the cell
// that is pointed at.

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const SIDES = 44; // CSS pixels that the names along an axis take
const BESIDE = 176; // and what stands beside the matrix, where there is room for it
const MATRIX_MARKUP = `
  <div data-ui="matrixView" class="matrix" hidden>
    <div data-ui="columnSide" class="side columns" aria-hidden="true"></div>
    <div data-ui="rowSide" class="side rows" aria-hidden="true"></div>
    <canvas data-ui="matrix" tabindex="0" role="application" aria-roledescription="matrix of cosines"></canvas>
    <div class="cell">
      <div class="scale"></div>
      <div class="ends"><span data-ui="low"></span><span>cosine</span><span data-ui="high"></span></div>
      <div data-ui="cell" class="pointed"></div>
      <p data-ui="about" class="note"></p>
    </div>
  </div>`;

function viridis(v) {
  const k = Math.min(Math.floor(v * 4), 3);
  return VIRIDIS[k].map((a, channel) => a + (VIRIDIS[k + 1][channel] - a) * (v * 4 - k));
}

function createMatrix(view) {
  const { data, ui, look, get, set, on, selected } = view;
  const { kindOf, classOf, classes, tone } = data;
  const { rows: lines, columns: files } = data.matrix; // the same ones at every snapshot
  const side = lines.length;
  const ramp = Uint32Array.from({ length: 256 }, (_, v) => packed(viridis(v / 255)));
  let cursor = null; // the row and column pointed at
  let named = null; // the theme that the sides were filled for

  const sample = `${side} items a side, spread over the classes and ordered by them.`;
  const about = side < Math.max(data.n, 3) ? sample : "All items.";
  const keys = "Arrow keys go from cell to cell, Enter selects its two items.";
  const sides = [kindsOf(lines), kindsOf(files)];
  ui.about.textContent = `${about} Point at a cell; a click selects its two items.`;
  const what = `Matrix of cosines. Rows: ${sides[0]}, columns: ${sides[1]}.`;
  ui.matrix.setAttribute("aria-label", `${what} ${about} ${keys}`);

  function kindsOf(items) {
    const kinds = [...new Set(items.map(kindOf))];
    return kinds.length === 1 ? data.plural(kinds[0]) : "items";
  }

  /** Along an axis: what its items are, and which of them are of which class. */
  function nameSide(node, items, words) {
    const blocks = [];
    for (const i of items) {
      if (blocks.at(-1)?.of === classOf[i]) blocks.at(-1).size++;
      else blocks.push({ of: classOf[i], size: 1, colour: look.theme.colours[data.scale ? 0 : tone[i]] });
    }
    const strip = blocks.map(({ of, size, colour }) => {
      const style = `flex: ${size}; border-color: ${colour}`;
      const fits = size * 24 >= side; // or else it would be half a letter
      return h("i", { style, title: classes[of] ?? "no class" }, (fits && classes[of]) || "");
    });
    const shown = classes.length ? [h("div", {}, ...strip)] : [];
    node.replaceChildren(h("b", {}, words), ...shown);
  }

  function drawMatrix() {
    if (view.tab !== "matrix" || !look.theme) return;
    if (named !== look.theme) {
      nameSide(ui.rowSide, lines, `rows: ${sides[0]}`);
      nameSide(ui.columnSide, files, `columns: ${sides[1]}`);
      named = look.theme;
    }
    const width = ui.matrixView.clientWidth;
    const beside = width >= 480 ? BESIDE + 16 : 0;
    ui.matrixView.classList.toggle("narrow", !beside);
    const room = Math.floor(Math.min(width - SIDES - beside, beside ? look.height - SIDES : Infinity, 540));
    const px = Math.round(room * look.dpr);
    Object.assign(ui.matrix, { width: px, height: px });
    for (const node of [ui.matrix, ui.columnSide]) node.style.width = `${room}px`;
    for (const node of [ui.matrix, ui.rowSide]) node.style.height = `${room}px`;
    const { low, high } = data.matrix;
    [ui.low.textContent, ui.high.textContent] = [low.toFixed(2), high.toFixed(2)];
    const c = ui.matrix.getContext("2d");
    const cells = scratch(side, side);
    const picture = cells.createImageData(side, side);
    const ink = new Uint32Array(picture.data.buffer);
    const from = get("step") * side * side;
    for (let k = 0; k < ink.length; k++) ink[k] = ramp[data.shades[from + k]];
    cells.putImageData(picture, 0, 0);
    c.imageSmoothingEnabled = false;
    c.drawImage(cells.canvas, 0, 0, px, px);
    const unit = px / side;
    const band = (i, weight) => {
      Object.assign(c, { strokeStyle: "#fff", lineWidth: weight * look.dpr });
      lines.forEach((row, r) => row === i && c.strokeRect(0, r * unit, px, unit));
      files.forEach((row, k) => row === i && c.strokeRect(k * unit, 0, unit, px));
    };
    for (const i of selected()) band(i, 1);
    if (get("hover") >= 0) band(get("hover"), 2);
    if (cursor) {
      Object.assign(c, { strokeStyle: "#d55e00", lineWidth: 3 * look.dpr });
      c.strokeRect(cursor[1] * unit, cursor[0] * unit, unit, unit);
    }
  }

  function point(r, c) {
    cursor = r === null ? null : [clamp(r, 0, side - 1), clamp(c, 0, side - 1)];
    set({ hover: cursor ? lines[cursor[0]] : -1 });
    fillCell(); // after the card, which says less
    view.redraw();
  }

  /** Point at no cell. */
  function leave() {
    cursor = null;
    fillCell();
  }

  function fillCell() {
    ui.about.hidden = !!cursor; // what is pointed at takes its place
    if (!cursor) return ui.cell.replaceChildren();
    const [r, c] = cursor;
    const { low, high } = data.matrix;
    const shade = data.shades[(get("step") * side + r) * side + c];
    const [i, j, cosine] = [lines[r], files[c], (low + ((high - low) * shade) / 255).toFixed(2)];
    const line = (row) => {
      const picture = h("canvas");
      drawThumb(view, picture, row, 40);
      const of = classes[classOf[row]];
      const words = [h("span", { dir: "auto" }, short(data.named(row), 70)), of ? h("small", {}, of) : ""];
      return h("p", {}, picture, h("span", { class: "what-is" }, ...words));
    };
    ui.cell.replaceChildren(line(i), line(j), h("p", {}, "cosine ", h("b", {}, cosine)));
    ui.live.textContent = `${data.named(i)} and ${data.named(j)}: cosine ${cosine}`;
  }

  const cell = (dr, dc) => point(...(cursor ? [cursor[0] + dr, cursor[1] + dc] : [0, 0]));
  const take = () => cursor && set({ selected: [...new Set([lines[cursor[0]], files[cursor[1]]])] });
  view.hotkeys(ui.matrix, {
    ArrowLeft: () => cell(0, -1), ArrowRight: () => cell(0, 1),
    ArrowUp: () => cell(-1, 0), ArrowDown: () => cell(1, 0), Enter: take,
  });
  on(ui.matrix, "pointermove", (event) => {
    const unit = ui.matrix.clientWidth / side;
    point(Math.floor(event.offsetY / unit), Math.floor(event.offsetX / unit));
  });
  on(ui.matrix, "pointerleave", () => point(null));
  on(ui.matrix, "click", take);
  return { draw: drawMatrix, fillCell, leave };
}
