// How one item looks wherever it is drawn: its marker or picture, its thumbnail, and the legend that explains both.

const MARKERS = ["circle", "diamond", "triangle", "square"]; // of items without a picture, by domain or modality
const OUTLINES = ["rounded", "octagon", "circle", "square"]; // of pictures: what cuts little off comes first

/** A shape's path around (0, 0), w wide and h high. */
function outline(c, shape, w, h) {
  const cut = 0.6 * Math.min(w, h); // of an octagon's corners
  const [u, v] = [1 - cut / w, 1 - cut / h];
  const corners = {
    diamond: [[0, -1], [1, 0], [0, 1], [-1, 0]],
    triangle: [[0, -1], [1, 0.75], [-1, 0.75]],
    octagon: [[-u, -1], [u, -1], [1, -v], [1, v], [u, 1], [-u, 1], [-1, v], [-1, -v]],
  }[shape];
  c.beginPath();
  if (shape === "circle") c.ellipse(0, 0, w / 2, h / 2, 0, 0, 2 * Math.PI);
  else if (shape === "rounded") c.roundRect(-w / 2, -h / 2, w, h, Math.min(w, h) / 5);
  else if (shape === "square") c.rect(-w / 2, -h / 2, w, h);
  else for (const [x, y] of corners) c.lineTo((x * w) / 2, (y * h) / 2);
  c.closePath();
}

/** How much of each pixel of a w × h box a shape covers, with its rim and without: two arrays of 0 to 255; and where
    in each row it is all inside: first and end of each. */
function stencil(shape, w, h, rim) {
  const covers = (less) => {
    const c = scratch(w, h);
    c.translate(w / 2, h / 2);
    outline(c, shape, Math.max(w - less, 0.5), Math.max(h - less, 0.5));
    c.fill();
    return c.getImageData(0, 0, w, h).data.filter((_, i) => i % 4 === 3);
  };
  const inner = covers(2 * rim);
  const whole = new Uint16Array(2 * h);
  for (let r = 0; r < h; r++) {
    const row = inner.subarray(r * w, (r + 1) * w);
    if (row.includes(255)) whole.set([row.indexOf(255), row.lastIndexOf(255) + 1], 2 * r);
  }
  return { w, h, outer: covers(0), inner, whole };
}

/** Whether item i is drawn as its picture: it has one, and the pictures are here. */
const pictured = ({ data, look }, i) => data.sprites[i] >= 0 && look.atlas;

/** Have pictures, whose cells are enlarged by `scale`, scaled as suits them. */
function smooth(c, cell, scale) {
  c.imageSmoothingEnabled = scale < 1.5 || Math.max(...cell) > 32; // enlarged scans keep their square pixels
  c.imageSmoothingQuality = "high";
}

/** Item i around (x, y), its longer side about `size` CSS pixels, by the canvas. */
function drawItem(view, c, i, x, y, size) {
  const { sprites, across, cell, classOf, group } = view.data;
  const { atlas, theme } = view.look;
  const tint = theme.colours[classOf[i] + 1];
  c.save();
  c.translate(x, y);
  if (pictured(view, i)) {
    const scale = size / Math.max(...cell);
    const [w, h] = cell.map((v) => v * scale);
    const corner = [(sprites[i] % across) * cell[0], Math.floor(sprites[i] / across) * cell[1]]; // in the atlas
    outline(c, OUTLINES[group[i]], w, h);
    Object.assign(c, { fillStyle: theme.chip, strokeStyle: tint, lineWidth: clamp(size / 16, 1, 2.5) });
    c.fill();
    c.save();
    c.clip();
    smooth(c, cell, scale);
    c.drawImage(atlas, ...corner, ...cell, -w / 2, -h / 2, w, h);
    c.restore();
    c.stroke();
  } else {
    outline(c, MARKERS[group[i]], size * 0.62, size * 0.62);
    Object.assign(c, { fillStyle: tint, strokeStyle: theme.paper, lineWidth: 2 });
    c.stroke();
    c.fill();
  }
  c.restore();
}

/** Make a canvas the thumbnail of item i, `size` CSS pixels a side. */
function drawThumb(view, canvas, i, size) {
  const { data, look } = view;
  canvas.width = canvas.height = size * look.dpr;
  canvas.style.width = canvas.style.height = `${size}px`;
  const c = canvas.getContext("2d");
  c.scale(look.dpr, look.dpr);
  if (look.theme) drawItem(view, c, i, size / 2, size / 2, data.sprites[i] >= 0 ? size - 2 : Math.min(size, 22));
}

/** What shapes and colours mean. */
function fillLegend({ data, look, ui }) {
  const swatch = (shape, fill, name) => h("span", {}, h("i", { class: shape, style: `color: ${fill}` }), name);
  const withPictures = (g) => data.group.some((of, i) => of === g && data.sprites[i] >= 0);
  const shape = (g) => (withPictures(g) ? `picture ${OUTLINES[g]}` : MARKERS[g]);
  const groups = data.groups.map((name, g) => swatch(shape(g), look.theme.ink, name));
  const classes = data.palette.map((_, c) => swatch("square", look.theme.colours[c + 1], data.classes[c]));
  ui.legend.replaceChildren(...(groups.length > 1 ? groups : []), ...classes);
}
