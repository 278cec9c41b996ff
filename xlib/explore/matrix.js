// The tab "Matrix": the cosines of items with items in colours, and the two items of the cell that is pointed at.

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const MATRIX_MARKUP = `
  <div data-ui="matrixView" class="matrix" hidden>
    <canvas data-ui="matrix" tabindex="0" role="application" aria-roledescription="similarity matrix"></canvas>
    <div class="cell">
      <p data-ui="about" class="note"></p>
      <div class="scale"></div>
      <div class="ends"><span data-ui="low"></span><span>cosine</span><span data-ui="high"></span></div>
      <div data-ui="cell"></div>
    </div>
  </div>`;

function viridis(v) {
  const k = Math.min(Math.floor(v * 4), 3);
  return VIRIDIS[k].map((a, channel) => a + (VIRIDIS[k + 1][channel] - a) * (v * 4 - k));
}

function createMatrix(view) {
  const { data, ui, look, get, set, on, selected } = view;
  const { captions, kindOf } = data;
  const { rows: lines, columns: files, low, high } = data.matrix;
  const side = lines.length;
  const shades = numbers(get("matrix"), Uint8Array);
  const ramp = Uint32Array.from({ length: 256 }, (_, v) => packed(viridis(v / 255)));
  let cursor = null; // the row and column pointed at

  const some = `${side} items a side, spread over the classes and ordered by them.`;
  const about = side < Math.max(data.n, 3) ? some : "All items.";
  const keys = "Arrow keys go from cell to cell, Enter selects its two items.";
  ui.about.textContent = about;
  ui.matrix.setAttribute("aria-label", `Similarity matrix: ${about} ${keys}`);
  [ui.low.textContent, ui.high.textContent] = [low.toFixed(2), high.toFixed(2)];

  function drawMatrix() {
    if (view.tab !== "matrix" || !look.theme) return;
    const room = Math.min(ui.matrixView.clientWidth, 540);
    const px = Math.round(room * look.dpr);
    Object.assign(ui.matrix, { width: px, height: px });
    ui.matrix.style.width = ui.matrix.style.height = `${room}px`;
    const c = ui.matrix.getContext("2d");
    const cells = scratch(side, side);
    const picture = cells.createImageData(side, side);
    const ink = new Uint32Array(picture.data.buffer);
    const from = get("step") * side * side;
    for (let k = 0; k < ink.length; k++) ink[k] = ramp[shades[from + k]];
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
    if (!cursor) return ui.cell.replaceChildren();
    const [r, c] = cursor;
    const shade = shades[(get("step") * side + r) * side + c];
    const [i, j, cosine] = [lines[r], files[c], (low + ((high - low) * shade) / 255).toFixed(2)];
    const line = (row) => {
      const picture = h("canvas");
      drawThumb(view, picture, row, 44);
      return h("p", {}, picture, h("br"), `${short(captions[row], 60)} (${kindOf(row)})`);
    };
    ui.cell.replaceChildren(line(i), line(j), h("p", {}, "cosine ", h("b", {}, cosine)));
    ui.live.textContent = `${captions[i]} (${kindOf(i)}) and ${captions[j]} (${kindOf(j)}): cosine ${cosine}`;
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
