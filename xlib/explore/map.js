// One map of an embedding: what is drawn on it, and which item lies where. Its many markers and pictures are copied
// into a buffer of pixels by hand: without a graphics card a canvas spends some 20 µs on each. The few lines, rings
// and captions are drawn over them by the canvas.

const EDGE = 30; // CSS pixels kept free around the data
const LEAST = 0.25; // of its largest extent: a step that shrinks further is seen to shrink
const FAMILY = "system-ui, sans-serif";
const FONT = `12px ${FAMILY}`;
const MOST_ZOOM = 60;
const CROWD = 150; // items in the window, or about so many; beyond, words on regions stand in for captions
const STRIP = 0.04; // of a map's width, for what lies beyond its edge; as in view.py
const MOST = 4e6; // pixels that all pictures together may have to be scaled at once; larger ones are drawn one by one
const QUICK = 8; // ms that scaling them may take while something is zoomed; what takes longer waits for its end

/** a where t is 0, b where it is 256, both packed. */
function mix(a, b, t) {
  const rb = a & 0xff00ff;
  const g = a & 0xff00;
  const u = Math.imul((b & 0xff00ff) - rb, t) >>> 8;
  const v = Math.imul((b & 0xff00) - g, t) >> 8;
  return ((rb + u) & 0xff00ff) | ((g + v) & 0xff00) | 0xff000000;
}

/** A layout as Python has sent it, unpacked: its frames, one after the other, and for each the box that it fills
    (left, right, bottom, top). `free`: its two axes are different things, so that each has a scale of its own; `far`:
    of each frame the rows that lie beyond the map, and are drawn at its edge; `poles`: it stands between two texts. */
function unpackLayout(sent, n) {
  const frames = numbers(sent.frames, Uint16Array);
  const boxes = [];
  for (let from = 0; from < frames.length; from += 2 * n) {
    const box = [Infinity, -Infinity, Infinity, -Infinity];
    for (let j = from; j < from + 2 * n; j++) {
      const axis = 2 * (j % 2);
      box[axis] = Math.min(box[axis], frames[j]);
      box[axis + 1] = Math.max(box[axis + 1], frames[j]);
    }
    boxes.push(box);
  }
  for (const axis of [0, 2]) {
    const whole = Math.max(...boxes.map((box) => box[axis + 1])) - Math.min(...boxes.map((box) => box[axis]));
    for (const box of boxes) {
      const short = Math.max(0, LEAST * whole - (box[axis + 1] - box[axis]), 1e-3);
      box[axis] -= short / 2;
      box[axis + 1] += short / 2;
    }
  }
  return { ...sent, sent, frames, boxes };
}

/** `view.look` is shared by all maps of an explorer: size, theme, atlas, zoom, and the snapshot shown (a fraction
    while it glides). The caller sets what this map shows: `layout`, the rows by `show`, `landed` (where the typed text
    lies, or null), `heard` (where its sound does) and `fixed`, the snapshot that it stays at, or null. */
function createMap(view, canvas) {
  const { data, look } = view;
  const { n, captions, sprites, group, cell, tone } = data;
  const ctx = canvas.getContext("2d", { willReadFrequently: true });
  const at = new Float32Array(2 * n); // where each item is drawn, in CSS pixels
  const last = () => data.steps.length - 1;
  const aspect = Math.min(Math.max(...cell) / Math.min(...cell), 3); // long pictures get the area of square ones
  const map = { canvas, at, layout: null, rows: data.order, fixed: null, landed: null, heard: null, drawn: null, labelled: new Set(), words: [] };
  const widths = new Map(); // of captions, in pixels
  let [image, buffer, made, sheet, stencils, took] = [null, null, "", null, null, 0];

  // ---- sizes

  const room = (share, count) => Math.sqrt((share * look.width * look.height) / Math.max(count, 1));
  const pictureSize = () => clamp(room(0.4, data.pictures), 14, 36) * Math.sqrt(look.zoom * aspect);
  const markerSize = () => clamp(room(0.7, map.rows.length), 4, 17) * look.zoom ** 0.25;
  const sizeOf = (i) => (pictured(view, i) ? pictureSize() : markerSize());

  // ---- many items, by hand

  /** Make what depends on the size of canvas, pictures and markers, and on the theme, if any of them has changed. */
  function prepare() {
    const { dpr, theme, width, height } = look;
    if (image?.width !== Math.round(width * dpr) || image?.height !== Math.round(height * dpr)) {
      [canvas.width, canvas.height] = [Math.round(width * dpr), Math.round(height * dpr)];
      image = ctx.createImageData(canvas.width, canvas.height);
      buffer = new Uint32Array(image.data.buffer);
    }
    // Sizes go in steps of a fifth, so that most frames of a zoom find their pictures scaled already.
    const side = Math.round(2 ** (Math.round(Math.log2(pictureSize() * dpr) * 4) / 4));
    const marker = Math.round(markerSize() * dpr);
    const key = [side, marker, theme.paper, theme.chip, !!look.atlas].join();
    if (key === made || (stencils && look.moving && took > QUICK)) return;
    const start = performance.now();
    made = key;
    const dot = Math.max(3, Math.round(marker * 0.62));
    stencils = { markers: MARKERS.slice(0, data.groups.length).map((shape) => stencil(shape, dot + 2, dot + 2, dot > 5 ? dpr : 0.5)) };
    sheet = null;
    const [w, h] = cell.map((v) => Math.max(1, Math.round((v * side) / Math.max(...cell))));
    if (!look.atlas || w * h * data.pictures > MOST) return;
    stencils.pictures = OUTLINES.slice(0, data.groups.length).map((shape) => stencil(shape, w, h, clamp(side / 16, 1, 2.5 * dpr)));
    const c = scratch(w * data.across, h * Math.ceil(data.pictures / data.across));
    c.fillStyle = theme.chip;
    c.fillRect(0, 0, c.canvas.width, c.canvas.height);
    smooth(c, cell, w / cell[0]);
    c.drawImage(look.atlas, 0, 0, c.canvas.width, c.canvas.height);
    const { data: scaled } = c.getImageData(0, 0, c.canvas.width, c.canvas.height);
    sheet = { stride: c.canvas.width, pixels: new Uint32Array(scaled.buffer) };
    took = performance.now() - start;
  }

  /** Copy item i to where it belongs. In here runs what takes the time: no arrays are made. */
  function put(i) {
    const s = pictured(view, i) ? sprites[i] : -1;
    if (s >= 0 && !sheet) return; // drawn later, by the canvas
    const { w, h, outer, inner, whole } = (s < 0 ? stencils.markers : stencils.pictures)[group[i]];
    const W = image.width;
    const x = Math.round(at[2 * i] * look.dpr - w / 2);
    const y = Math.round(at[2 * i + 1] * look.dpr - h / 2);
    const x0 = Math.max(0, -x);
    const x1 = Math.min(w, W - x);
    const y1 = Math.min(h, image.height - y);
    const tint = look.theme.inks[tone[i]];
    const rim = look.theme.rimInks[tone[i]] || (s < 0 ? look.theme.paperInk : tint);
    const pixels = s < 0 ? null : sheet.pixels;
    const stride = s < 0 ? 0 : sheet.stride;
    const from = s < 0 ? 0 : Math.floor(s / data.across) * h * stride + (s % data.across) * w;
    for (let r = Math.max(0, -y); r < y1; r++) {
      const k = r * w;
      const o = (y + r) * W + x;
      const p = from + r * stride;
      const a = Math.max(whole[2 * r], x0);
      const b = Math.min(whole[2 * r + 1], x1);
      if (pixels) for (let c = a; c < b; c++) buffer[o + c] = pixels[p + c];
      else for (let c = a; c < b; c++) buffer[o + c] = tint;
      for (let c = x0; c < x1; c++) {
        if (c === a && a < b) c = b; // done already
        if (c >= x1) break;
        const inside = inner[k + c];
        const cover = outer[k + c];
        if (!cover) continue;
        const under = cover === 255 ? rim : mix(buffer[o + c], rim, cover);
        buffer[o + c] = inside ? mix(under, pixels ? pixels[p + c] : tint, inside) : under;
      }
    }
  }

  // ---- the whole map

  /** Free at the top: there the axis' two texts are typed, and the buttons are not to hide what lies beyond the edge. */
  const top = () => (map.layout.poles || map.layout.far.some((rows) => rows.length) ? 2 * EDGE : EDGE);

  /** What of the plane is seen of a (fractional) snapshot: all items, and a text that was typed. */
  function boxAt(t) {
    const box = (step) => {
      const [left, right, bottom, high] = map.layout.boxes[step];
      const stars = [map.landed, map.heard].filter((place) => place && step === last());
      const [xs, ys] = [0, 1].map((axis) => stars.map((place) => place[axis]));
      return [Math.min(left, ...xs), Math.max(right, ...xs), Math.min(bottom, ...ys), Math.max(high, ...ys)];
    };
    const [from, to] = [box(Math.floor(t)), box(Math.min(Math.floor(t) + 1, last()))];
    return from.map((v, side) => v * (1 - (t % 1)) + to[side] * (t % 1));
  }

  /** x → ax + bx · x, and y → ay − by · y: from the plane to CSS pixels, as the plane is seen at a snapshot. */
  function lens(t) {
    const [left, right, bottom, high] = boxAt(t);
    const spans = [(look.width - 2 * EDGE) / (right - left), (look.height - top() - EDGE) / (high - bottom)];
    const [bx, by] = (map.layout.free ? spans : [Math.min(...spans), Math.min(...spans)]).map((v) => v * look.zoom);
    const middle = map.middle();
    const ax = middle[0] + look.x - (bx * (left + right)) / 2;
    return { ax, bx, ay: middle[1] + look.y + (by * (bottom + high)) / 2, by };
  }

  /** Put the items' positions for a (fractional) snapshot into `at`. */
  function place(snapshot = look.position) {
    const t = Math.min(map.fixed ?? snapshot, last());
    const { frames } = map.layout;
    const [from, f] = [Math.floor(t) * 2 * n, t % 1];
    const to = Math.min(Math.floor(t) + 1, last()) * 2 * n;
    const { ax, bx, ay, by } = lens(t);
    for (let j = 0; j < 2 * n; j += 2) {
      at[j] = ax + (frames[from + j] * (1 - f) + frames[to + j] * f) * bx;
      at[j + 1] = ay - (frames[from + j + 1] * (1 - f) + frames[to + j + 1] * f) * by;
    }
  }

  /** The boxes, left, top, right and bottom, of what stands on the map itself. */
  function buttons() {
    const zoom = [look.width - 130, 0, look.width, 44];
    return map.layout.poles ? [zoom, [0, 0, 340, 44]] : [zoom]; // an axis' two texts
  }

  /** Choose captions for items without a picture where there is free ground; `first` are asked before all others.
      Chosen at rest, for where the snapshot aimed at has them, so that none flickers on the way. */
  function label(first, bright, avoid) {
    ctx.font = FONT;
    map.labelled = new Set();
    const taken = [...buttons(), ...map.words.map(({ box }) => box)];
    for (const i of avoid) {
      const [x, y, r] = [at[2 * i], at[2 * i + 1], sizeOf(i)];
      taken.push([x - r, y - r, x + r, y + r]);
    }
    let tries = 0;
    const crowded = map.words.length && map.rows.length / look.zoom ** 2 > CROWD;
    for (const i of [...first, ...(crowded ? [] : (bright ?? map.rows))]) {
      if (i < 0 || sprites[i] >= 0 || map.labelled.has(i) || !map.here[i]) continue;
      const [x, y] = [at[2 * i], at[2 * i + 1]];
      if (x < 0 || x > look.width - 30 || y < 10 || y > look.height - 26) continue;
      if (++tries > 500 || map.labelled.size > 100) break;
      if (!widths.has(i)) widths.set(i, ctx.measureText(short(captions[i], 26)).width);
      const right = x + 14 + widths.get(i);
      const [left, top, bottom] = [x - 10, y - 13, y + 13];
      const covers = (t) => left < t[2] && right > t[0] && top < t[3] && bottom > t[1];
      if (right > look.width || taken.some(covers)) continue;
      taken.push([left, top, right, bottom]);
      map.labelled.add(i);
    }
  }

  function line(i, j, style, weight) {
    if (!map.here[i] || !map.here[j]) return; // its other end is on the other map
    Object.assign(ctx, { strokeStyle: style, lineWidth: weight });
    ctx.beginPath();
    ctx.moveTo(at[2 * i], at[2 * i + 1]);
    ctx.lineTo(at[2 * j], at[2 * j + 1]);
    ctx.stroke();
  }

  function enlarged(i, grow) {
    drawItem(view, ctx, i, at[2 * i], at[2 * i + 1], sizeOf(i) * grow);
  }

  function ringed(i, grow) {
    const side = sizeOf(i) * grow + 5;
    enlarged(i, grow);
    Object.assign(ctx, { strokeStyle: look.theme.accent, lineWidth: 2.5 });
    ctx.beginPath();
    ctx.roundRect(at[2 * i] - side / 2, at[2 * i + 1] - side / 2, side, side, 8);
    ctx.stroke();
  }

  function words(text, x, y) {
    Object.assign(ctx, { font: FONT, textBaseline: "middle", lineJoin: "round", lineWidth: 4 });
    Object.assign(ctx, { strokeStyle: look.theme.paper, fillStyle: look.theme.ink });
    Object.assign(ctx, { textAlign: "left", direction: rightToLeft(text) ? "rtl" : "ltr" });
    ctx.strokeText(text, x, y);
    ctx.fillText(text, x, y);
  }

  /** One frame. scene: `hover`, `selected`, `near` and `partners` (rows), `bright` (a set of rows beside which all
      others fade, or null), the text `typed`, and the lasso's `loop`. */
  function draw(scene) {
    const { dpr, theme } = look;
    place();
    prepare();
    buffer.fill(theme.paperInk);
    const { bright, near, partners } = scene;
    if (bright) {
      for (const i of map.rows) if (!bright.has(i)) put(i);
      for (let p = 0; p < buffer.length; p++)
        if (buffer[p] !== theme.paperInk) buffer[p] = mix(buffer[p], theme.paperInk, 220);
    }
    for (const i of map.rows) if (!bright || bright.has(i)) put(i);
    ctx.putImageData(image, 0, 0);
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    if (!sheet && data.pictures && look.atlas) large(bright);
    const one = scene.selected.length === 1 ? scene.selected[0] : -1;
    if (one >= 0) for (const j of near) line(one, j, theme.ink, 0.8);
    const [i, j] = scene.selected;
    const paired = scene.selected.length === 2 && (data.pairs[i] === j || data.pairs[j] === i);
    if (paired) line(i, j, theme.accent, 2.5);
    for (const j of partners) line(scene.hover, j, theme.accent, 2.5);
    for (const j of [...near, ...partners]) if (map.here[j]) enlarged(j, 1.25);
    const elsewhere = !map.here[scene.hover]; // on the other map
    if (elsewhere) for (const j of partners.slice(0, 20)) if (map.here[j]) ringed(j, 1.4);
    if (one >= 0 && map.here[one]) ringed(one, 1.6);
    for (const i of map.labelled) words(short(captions[i], 26), at[2 * i] + 10, at[2 * i + 1] + 0.5);
    for (const i of map.far()) if (!view.lit || view.lit[i]) arrow(i);
    if (map.landed && map.fixed === null && look.position === last()) {
      const { ax, bx, ay, by } = lens(last());
      const y = ay - by * map.landed[1];
      if (map.heard) {
        const v = ay - by * map.heard[1];
        star(ax + bx * map.heard[0], v, "its sound", true, Math.abs(v - y) < 16 ? 16 * Math.sign(v - y || 1) : 0);
      }
      star(ax + bx * map.landed[0], y, scene.typed);
    }
    if (map.drawn && map.fixed === null && look.position === last()) {
      const { ax, bx, ay, by } = lens(last());
      star(ax + bx * map.drawn[0], ay - by * map.drawn[1], "your drawing");
    }
    if (scene.hover >= 0 && map.here[scene.hover]) ringed(scene.hover, 1.8);
    if (scene.loop && scene.map === map) lasso(scene.loop);
  }

  /** Pictures that are too large to be copied: those in view are few. */
  function large(bright) {
    const size = pictureSize();
    for (const i of map.rows) {
      const [x, y] = [at[2 * i], at[2 * i + 1]];
      if (sprites[i] < 0 || x < -size || y < -size || x > look.width + size || y > look.height + size) continue;
      ctx.globalAlpha = !bright || bright.has(i) ? 1 : 0.14;
      drawItem(view, ctx, i, x, y, size);
    }
    ctx.globalAlpha = 1;
  }

  /** The rows that lie beyond the edge in what this map shows. */
  map.far = (snapshot = look.position) => {
    const t = Math.min(Math.round(map.fixed ?? snapshot), last());
    return (map.layout.far[t] ?? []).filter((i) => map.here[i]);
  };

  /** Beside an item at the edge: that it lies further out, and in which direction. */
  function arrow(i) {
    const from = 2 * (n * Math.min(Math.round(map.fixed ?? look.position), last()) + i);
    const side = (v) => (v < 65535 * STRIP ? -1 : v > 65535 * (1 - STRIP) ? 1 : 0);
    const [u, v] = [side(map.layout.frames[from]), -side(map.layout.frames[from + 1])];
    const [x, y, r] = [at[2 * i], at[2 * i + 1], sizeOf(i) / 2 + 4];
    const unit = Math.hypot(u, v) || 1;
    const [dx, dy] = [u / unit, v / unit];
    ctx.beginPath();
    for (const [along, across] of [[0, -6], [7, 0], [0, 6]])
      ctx.lineTo(x + dx * (r + along) - dy * across, y + dy * (r + along) + dx * across);
    Object.assign(ctx, { strokeStyle: look.theme.ink, lineWidth: 2, lineJoin: "round" });
    ctx.stroke();
  }

  /** Where the typed text lies, or, hollow, its sound, whose words stand `lower` than the star. */
  function star(x, y, text, hollow = false, lower = 0) {
    ctx.beginPath();
    for (let k = 0; k < 10; k++) {
      const [angle, r] = [(k * Math.PI) / 5 - Math.PI / 2, k % 2 ? 5 : 12];
      ctx.lineTo(x + r * Math.cos(angle), y + r * Math.sin(angle));
    }
    ctx.closePath();
    const { accent, paper } = look.theme;
    Object.assign(ctx, { fillStyle: hollow ? paper : accent, strokeStyle: hollow ? accent : paper, lineWidth: 2.5 });
    ctx.stroke();
    ctx.fill();
    words(short(text, 40), x + 15, y + lower);
  }

  function lasso(loop) {
    ctx.beginPath();
    for (const [x, y] of loop) ctx.lineTo(x, y);
    ctx.closePath();
    const { accent } = look.theme;
    Object.assign(ctx, { strokeStyle: accent, fillStyle: accent, lineWidth: 1.5, globalAlpha: 0.15 });
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.stroke();
  }

  // ---- finding items

  /** The item with the lowest cost, a function of its distance from (x, y); −1 where none is below `least`. */
  function best(x, y, least, cost) {
    let found = -1;
    for (const i of map.rows) {
      if (view.lit && !view.lit[i]) continue;
      const c = cost(at[2 * i] - x, at[2 * i + 1] - y, i);
      if (c < least) [found, least] = [i, c];
    }
    return found;
  }

  function pick(x, y) {
    return best(x, y, Math.max(pictureSize() * !!data.pictures, markerSize(), 24) / 2, (u, v) => Math.hypot(u, v));
  }

  /** The nearest item from `start` (or from the middle) in the direction (dx, dy); what lies straight ahead counts as
      nearer. From the middle any item will do where none lies ahead. It is brought into view. */
  function walk(start, dx, dy) {
    const begun = map.here[start];
    const [x, y] = begun ? [at[2 * start], at[2 * start + 1]] : map.middle();
    const cost = (u, v, i) => {
      const ahead = u * dx + v * dy;
      return i !== start && ahead > 0 ? ahead + 2 * Math.abs(u * dy + v * dx) : Infinity;
    };
    let i = best(x, y, Infinity, cost);
    if (i < 0 && !begun) i = best(x, y, Infinity, (u, v) => Math.hypot(u, v));
    if (i < 0) return i;
    look.x += clamp(at[2 * i], EDGE, look.width - EDGE) - at[2 * i]; // follow it out of a zoomed view
    look.y += clamp(at[2 * i + 1], EDGE, look.height - EDGE) - at[2 * i + 1];
    return i;
  }

  /** The rows inside a closed loop of points. */
  function inside(loop) {
    const path = new Path2D();
    for (const [x, y] of loop) path.lineTo(x, y);
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    const lit = (i) => !view.lit || view.lit[i];
    return [...map.rows].filter((i) => lit(i) && ctx.isPointInPath(path, at[2 * i], at[2 * i + 1]));
  }

  /** Zoom and middle at which these rows just fill the map. */
  function around(rows) {
    const middle = map.middle();
    const ends = [0, 1].map((axis) => {
      const shift = middle[axis] + [look.x, look.y][axis];
      const places = rows.map((i) => (at[2 * i + axis] - shift) / look.zoom);
      return [Math.min(...places), Math.max(...places)];
    });
    const room = [look.width - 4 * EDGE, look.height - top() - 3 * EDGE];
    const fits = ends.map(([from, to], axis) => room[axis] / Math.max(to - from, 1e-9));
    const zoom = clamp(Math.min(...fits), 1, MOST_ZOOM);
    const [x, y] = ends.map(([from, to]) => (-zoom * (from + to)) / 2);
    return { zoom, x, y };
  }

  /** Show these rows only, in drawing order. */
  function show(rows) {
    map.rows = rows;
    map.here = new Uint8Array(n);
    for (const i of rows) map.here[i] = 1;
  }

  map.lens = (snapshot = look.position) => lens(Math.min(map.fixed ?? snapshot, last()));
  map.middle = () => [look.width / 2, (look.height + top() - EDGE) / 2];
  show(data.order);
  return Object.assign(map, { sizeOf, buttons, place, label, draw, pick, walk, inside, around, show });
}

