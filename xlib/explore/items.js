// How one item looks wherever it is drawn: its marker or picture, its thumbnail, and the legend that explains both and
// fades what one does not want to see.

// Of items without a picture, by domain or modality.
const MARKERS = ["circle", "diamond", "triangle", "square", "down", "plus", "cross", "star", "left", "right", "wide",
  "tall"]; // prettier-ignore
// Of pictures: what cuts little off comes first. The digits say which corners are cut, from the upper left on clockwise.
const OUTLINES = ["rounded", "1111", "circle", "square", "0101", "1010", "hexagon", "1100", "0011", "1000", "0100",
  "0010"]; // prettier-ignore
const PLUS = [[-1, -3], [1, -3], [1, -1], [3, -1], [3, 1], [1, 1], [1, 3], [-1, 3], [-1, 1], [-3, 1], [-3, -1], [-1, -1]];
const CORNERS = {
  diamond: [[0, -1], [1, 0], [0, 1], [-1, 0]],
  triangle: [[0, -1], [1, 0.75], [-1, 0.75]],
  down: [[0, 1], [-1, -0.75], [1, -0.75]],
  left: [[-1, 0], [0.75, -1], [0.75, 1]],
  right: [[1, 0], [-0.75, 1], [-0.75, -1]],
  plus: PLUS.map(([x, y]) => [x / 3, y / 3]),
  cross: PLUS.map(([x, y]) => [(x - y) / 4, (x + y) / 4]),
  star: Array.from({ length: 10 }, (_, k) => [k % 2 ? 0.45 : 1.1, (k * Math.PI) / 5]).map(([r, angle]) =>
    [r * Math.sin(angle), -r * Math.cos(angle)]),
  wide: [[-1, -0.4], [1, -0.4], [1, 0.4], [-1, 0.4]],
  tall: [[-0.4, -1], [0.4, -1], [0.4, 1], [-0.4, 1]],
};

/** The corners of a box, some of them cut; u and v: how far from the middle a cut begins. */
function cutCorners(cut, u, v) {
  const pairs = [[[-1, -v], [-u, -1]], [[u, -1], [1, -v]], [[1, v], [u, 1]], [[-u, 1], [-1, v]]];
  const whole = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  return pairs.flatMap((pair, k) => (cut[k] === "1" ? pair : [whole[k]]));
}

/** A shape's path around (0, 0), w wide and h high. */
function outline(c, shape, w, h) {
  const cut = 0.6 * Math.min(w, h); // of the corners
  const [u, v] = [1 - cut / w, 1 - cut / h];
  const hexagon = [[-1, 0], [-u, -1], [u, -1], [1, 0], [u, 1], [-u, 1]];
  const corners = CORNERS[shape] ?? (shape === "hexagon" ? hexagon : cutCorners(shape, u, v));
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
  const { sprites, across, cell, tone, group } = view.data;
  const { atlas, theme } = view.look;
  const [tint, rim] = [theme.colours, theme.rims].map((of) => of[tone[i]]);
  c.save();
  c.translate(x, y);
  if (pictured(view, i)) {
    const scale = size / Math.max(...cell);
    const [w, h] = cell.map((v) => v * scale);
    const corner = [(sprites[i] % across) * cell[0], Math.floor(sprites[i] / across) * cell[1]]; // in the atlas
    outline(c, OUTLINES[group[i]], w, h);
    Object.assign(c, { fillStyle: theme.chip, strokeStyle: rim || tint, lineWidth: clamp(size / 16, 1, 2.5) });
    c.fill();
    c.save();
    c.clip();
    smooth(c, cell, scale);
    c.drawImage(atlas, ...corner, ...cell, -w / 2, -h / 2, w, h);
    c.restore();
    c.stroke();
  } else {
    outline(c, MARKERS[group[i]], size * 0.62, size * 0.62);
    Object.assign(c, { fillStyle: tint, strokeStyle: rim || theme.paper, lineWidth: 2 });
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

/** What shapes and colours mean, a button each: what is not pressed is faded on the map. Values have a scale. */
function createLegend(view) {
  const { data, look, ui, on } = view;
  const { group, scale } = data;
  const faded = { group: new Set(), tone: new Set() }; // what the buttons have put out
  const buttons = [];

  const withPictures = data.groups.map(() => false);
  group.forEach((g, i) => (withPictures[g] ||= data.sprites[i] >= 0));
  if (data.groups.length > 1) data.groups.forEach((name, g) => add("group", g, name));
  data.tones.forEach((name, c) => add("tone", c + 1, name));
  if (scale) addScale();
  if (scale?.missing) add("tone", 0, `no value (${count(scale.missing)})`);

  function add(kind, code, name) {
    const title = "Click: fade or show. Shift and a click, or two clicks: this alone, or all again.";
    const node = h("button", { type: "button", title }, h("canvas"), h("span", {}, name));
    node.setAttribute(...OWN_KEYS);
    buttons.push({ kind, code, name, node });
    on(node, "click", (event) => (event.shiftKey || event.altKey ? alone : toggle)(kind, code));
    on(node, "dblclick", () => alone(kind, code)); // after two clicks, which have undone each other
    ui.legend.append(node);
  }

  /** From the lowest to the highest value, or the only one. */
  function addScale() {
    const bar = h("div", { class: "bar", style: `background: linear-gradient(90deg, ${data.palette.join()})` });
    const texts = scale.low === scale.high ? [scale.middle] : [scale.low, scale.middle, scale.high];
    const numbers = h("div", { class: "ends" }, ...texts.map((text) => h("span", {}, text)));
    const label = `Colour scale of values: ${texts.join(", ")}`;
    ui.legend.append(h("div", { class: "values", role: "img", "aria-label": label }, bar, numbers));
  }

  function toggle(kind, code) {
    if (!faded[kind].delete(code)) faded[kind].add(code);
    follow();
  }

  function alone(kind, code) {
    const others = [...new Set(data[kind])].filter((other) => other !== code); // also 0, without a class
    const was = faded[kind].size === others.length && !faded[kind].has(code);
    faded[kind] = new Set(was ? [] : others);
    follow();
  }

  function follow() {
    const some = faded.group.size + faded.tone.size > 0;
    view.lit = some ? group.map((g, i) => !faded.group.has(g) && !faded.tone.has(data.tone[i])) : null;
    fillLegend();
    view.redraw();
  }

  function fillLegend() {
    for (const button of buttons) {
      const { kind, code, node } = button;
      node.setAttribute("aria-pressed", !faded[kind].has(code));
      if (!look.theme) continue;
      const [canvas, side] = [node.firstChild, 14];
      canvas.width = canvas.height = side * (look.dpr || 1);
      const c = canvas.getContext("2d");
      c.scale(look.dpr || 1, look.dpr || 1);
      c.translate(side / 2, side / 2);
      drawMark(c, button);
    }
  }

  /** An entry's mark around (0, 0), 12 pixels wide. */
  function drawMark(c, { kind, code }) {
    const { theme } = look;
    const ofTone = kind === "tone";
    const form = ofTone ? "square" : withPictures[code] ? OUTLINES[code] : MARKERS[code];
    outline(c, form, 11, 11);
    const colour = ofTone ? theme.colours[code] : theme.ink;
    Object.assign(c, { fillStyle: colour, strokeStyle: (ofTone && theme.rims[code]) || colour, lineWidth: 1.5 });
    if (ofTone || !withPictures[code]) c.fill();
    c.stroke();
  }

  /** The scale for a picture, 160 pixels wide, beneath (0, 0). */
  function drawScale(c) {
    const steps = data.palette.length;
    data.palette.forEach((colour, k) => {
      c.fillStyle = colour;
      c.fillRect(-6 + (160 * k) / steps, -5, 160 / steps + 0.5, 10);
    });
  }

  /** For a picture: each entry that is not faded, and a function that draws its mark around (0, 0), 12 pixels wide. */
  view.legend = () => {
    const shown = buttons.filter(({ kind, code }) => !faded[kind].has(code));
    const found = shown.map((button) => ({ name: button.name, draw: (c) => drawMark(c, button) }));
    const ends = scale && (scale.low === scale.high ? scale.middle : `${scale.low} to ${scale.high}`);
    return scale ? [...found, { name: ends, wide: 150, draw: drawScale }] : found;
  };

  return { fill: fillLegend };
}
