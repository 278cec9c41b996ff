// From strokes to a picture like the scans that the encoder knows: for each square of the pad one digit, made as MNIST's
// were (LeCun et al. 1998): its longer side 20 of the frame's 28 pixels, the middle of its ink in the frame's middle.

const [FRAME, DIGIT] = [28, 20];
const THICK = 1.35; // half a stroke's thickness in a frame, with which the ink is as much as in a scan
const LEAST = 0.2; // of a square's side: what is smaller is not enlarged as much, so that a dot stays one

/** The ink, (28, 28) from 0 to 1, of strokes [[[x, y], …], …] in a frame's pixels: full within THICK, soft at the rim. */
function inked(strokes) {
  const ink = new Float32Array(FRAME * FRAME);
  const reach = THICK + 0.5;
  for (const stroke of strokes)
    stroke.forEach(([x0, y0], i) => {
      const [x1, y1] = stroke[Math.min(i + 1, stroke.length - 1)];
      const [dx, dy] = [x1 - x0, y1 - y0];
      const long = dx * dx + dy * dy;
      const range = (a, b) => [Math.max(0, Math.floor(Math.min(a, b) - reach)), Math.min(FRAME, Math.ceil(Math.max(a, b) + reach))];
      const [[left, right], [top, bottom]] = [range(x0, x1), range(y0, y1)];
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++) {
          const [px, py] = [column + 0.5 - x0, row + 0.5 - y0]; // of a pixel's middle
          const along = long ? clamp((px * dx + py * dy) / long, 0, 1) : 0;
          const far = Math.hypot(px - along * dx, py - along * dy);
          const at = row * FRAME + column;
          ink[at] = Math.max(ink[at], clamp(reach - far, 0, 1));
        }
    });
  return ink;
}

/** The strokes of one digit, in any unit of length `side` to a square, as the ink of a frame. */
function framed(strokes) {
  const points = strokes.flat();
  const [low, high] = [Math.min, Math.max].map((f) => [0, 1].map((axis) => f(...points.map((point) => point[axis]))));
  const scale = (DIGIT - 2 * THICK) / Math.max(high[0] - low[0], high[1] - low[1], LEAST);
  const middle = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
  const placed = (to) => strokes.map((stroke) => stroke.map((point) => point.map((v, axis) => (v - middle[axis]) * scale + to[axis])));
  const ink = inked(placed([FRAME / 2, FRAME / 2]));
  let [all, x, y] = [0, 0, 0];
  ink.forEach((v, at) => {
    all += v;
    x += v * ((at % FRAME) + 0.5);
    y += v * (Math.floor(at / FRAME) + 0.5);
  });
  return inked(placed([FRAME - x / all, FRAME - y / all]));
}

/** A frame (28, 28) as (h, h): `shrink` (h, 28) from the left and, turned, from the right. */
function resized(ink, shrink) {
  const h = shrink.length;
  const rows = shrink.map((weights) => Float32Array.from({ length: FRAME },
    (_, column) => weights.reduce((sum, w, row) => sum + w * ink[row * FRAME + column], 0)));
  return rows.map((row) => shrink.map((weights) => clamp(weights.reduce((sum, w, k) => sum + w * row[k], 0), 0, 1)));
}

/** The picture (height × width) of strokes on a pad of so many squares, each of side 1, and which of them are empty. A
 * stroke belongs to the square that its middle is in. */
function pictureOf(strokes, squares, shrink) {
  const h = shrink.length;
  const pixels = new Float32Array(h * h * squares);
  const square = (stroke) => {
    const across = stroke.map(([x]) => x);
    return clamp(Math.floor((Math.min(...across) + Math.max(...across)) / 2), 0, squares - 1);
  };
  const empty = [];
  for (let s = 0; s < squares; s++) {
    const own = strokes.filter((stroke) => square(stroke) === s);
    if (!own.length) empty.push(s);
    else resized(framed(own), shrink).forEach((row, y) => pixels.set(row, (y * squares + s) * h));
  }
  return { pixels, empty };
}
