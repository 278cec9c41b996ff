// How one item looks wherever it is drawn: its marker or picture, its thumbnail, and the legend that explains both and
// fades what one does not want to see.

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
  const [tint, rim] = [theme.colours, theme.rims].map((of) => of[classOf[i] + 1]);
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

/** What shapes and colours mean, a button each: what is not pressed is faded on the map. */
function createLegend(view) {
  const { data, look, ui, on } = view;
  const { classOf, group } = data;
  const faded = { group: new Set(), classOf: new Set() }; // what the buttons have put out
  const buttons = [];

  const withPictures = (g) => group.some((of, i) => of === g && data.sprites[i] >= 0);
  const shape = (g) => (withPictures(g) ? `picture ${OUTLINES[g]}` : MARKERS[g]);
  if (data.groups.length > 1) data.groups.forEach((name, g) => add("group", g, name, shape(g)));
  data.palette.forEach((_, c) => add("classOf", c, data.classes[c], "square"));

  function add(kind, code, name, form) {
    const title = "Click: fade or show. Shift and a click, or two clicks: this alone, or all again.";
    const node = h("button", { type: "button", title }, h("i", { class: form }), name);
    node.setAttribute(...OWN_KEYS);
    buttons.push({ kind, code, node });
    on(node, "click", (event) => (event.shiftKey || event.altKey ? alone : toggle)(kind, code));
    on(node, "dblclick", () => alone(kind, code)); // after two clicks, which have undone each other
    ui.legend.append(node);
  }

  function toggle(kind, code) {
    if (!faded[kind].delete(code)) faded[kind].add(code);
    follow();
  }

  function alone(kind, code) {
    const others = [...new Set(data[kind])].filter((other) => other !== code); // −1, without a class, is one of them
    const was = faded[kind].size === others.length && !faded[kind].has(code);
    faded[kind] = new Set(was ? [] : others);
    follow();
  }

  function follow() {
    const some = faded.group.size + faded.classOf.size > 0;
    view.lit = some ? group.map((g, i) => !faded.group.has(g) && !faded.classOf.has(classOf[i])) : null;
    fillLegend();
    view.redraw();
  }

  function fillLegend() {
    for (const { kind, code, node } of buttons) {
      const inks = look.theme && kind === "classOf" ? [look.theme.colours[code + 1], look.theme.rims[code + 1]] : [];
      node.firstChild.style.color = inks[0] ?? "";
      node.firstChild.style.outline = inks[1] ? `1px solid ${inks[1]}` : "";
      node.setAttribute("aria-pressed", !faded[kind].has(code));
    }
  }

  /** For a picture: each entry that is not faded, and a function that draws its mark around (0, 0), 12 pixels wide. */
  view.legend = () => {
    const { theme } = look;
    return buttons.filter(({ kind, code }) => !faded[kind].has(code)).map(({ kind, code, node }) => ({
      name: node.textContent,
      draw(c) {
        const ofClass = kind === "classOf";
        const form = ofClass ? "square" : withPictures(code) ? OUTLINES[code] : MARKERS[code];
        outline(c, form, 11, 11);
        const colour = ofClass ? theme.colours[code + 1] : theme.ink;
        const rim = (ofClass && theme.rims[code + 1]) || colour;
        Object.assign(c, { fillStyle: colour, strokeStyle: rim, lineWidth: 1.5 });
        if (ofClass || !withPictures(code)) c.fill();
        c.stroke();
      },
    }));
  };

  return { fill: fillLegend };
}
