// Words on regions of the map: those that stand in the captions of a region much more often than in all others that
// are seen. Chosen when the map comes to rest, for what is in the window, so that zooming in gives finer ones.

const REGION = [120, 84]; // CSS pixels: a region's width and height, whatever the zoom
const SHIFTS = [[0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5]]; // of the grids of regions, which overlap by half
const FEW = 3; // items with a word in a region, at least
const SHARE = 0.12; // of a region's items, at least, that have the word which stands for it
const ROOM = 30_000; // square pixels of a map for each of its words
const CLEAR = [26, 16]; // CSS pixels between two words, beside and above
const WORD_FONT = `600 14px ${FAMILY}`;
const WORD_HIGH = 22; // CSS pixels, with the ground behind it

/** The captions' words as numbers: those of item i are of[ends[i]] to of[ends[i + 1] - 1], no word twice; how each is
    `spelt`, and the `items` that have it. */
function vocabulary(captions) {
  const cut = Intl.Segmenter && new Intl.Segmenter("en", { granularity: "word" }); // Chinese has no spaces either
  const pieces = (text) =>
    cut ? Array.from(cut.segment(text)).filter((piece) => piece.isWordLike).map((piece) => piece.segment)
        : text.match(/[\p{L}\p{N}]+/gu) ?? []; // prettier-ignore
  const [codes, spelt, times, known] = [new Map(), [], [], new Map()];
  const code = (word) => {
    const key = fold(word);
    if (!codes.has(key)) codes.set(key, spelt.push(word) - 1);
    return codes.get(key);
  };
  const of = captions.map((caption) => {
    if (!known.has(caption)) known.set(caption, [...new Set(pieces(caption.slice(0, 400)).map(code))]);
    for (const w of known.get(caption)) times[w] = (times[w] ?? 0) + 1;
    return known.get(caption);
  });
  // What hardly ever occurs tells nothing: numbers are given to the others only.
  const kept = spelt.map((_, w) => w).filter((w) => times[w] >= FEW);
  const anew = new Map(kept.map((w, v) => [w, v]));
  const items = kept.map(() => []);
  const [flat, ends] = [[], new Uint32Array(captions.length + 1)];
  of.forEach((words, i) => {
    for (const w of words) {
      if (!anew.has(w)) continue;
      flat.push(anew.get(w));
      items[anew.get(w)].push(i);
    }
    ends[i + 1] = flat.length;
  });
  return { spelt: kept.map((w) => spelt[w]), items, of: Uint32Array.from(flat), ends };
}

/** Dunning's log-likelihood ratio G² (1993) of k of n here against K of N in all: how sure it is that it is more. */
function surprise(k, n, K, N) {
  const part = (k, n) => (k ? k * Math.log(k / n) : 0) + (n - k ? (n - k) * Math.log((n - k) / n) : 0);
  return 2 * (part(k, n) + part(K - k, N - n) - part(K, N));
}

/** The telling words of the regions in a window, the most telling first: { word, x, y, rows }, rows of the region that
    have it, x and y their middle. rows: the items, which lie at `at`. Few are found where words lie about by chance. */
function tellingWords({ spelt, items, of, ends }, rows, at, width, height) {
  const seen = rows.filter((i) => at[2 * i] >= 0 && at[2 * i] < width && at[2 * i + 1] >= 0 && at[2 * i + 1] < height);
  const V = spelt.length;
  const [across, down] = [Math.ceil(width / REGION[0]) + 1, Math.ceil(height / REGION[1]) + 1];
  const [cells, N] = [SHIFTS.length * across * down, seen.length];
  const cellOf = (i, g) => {
    const column = Math.floor(at[2 * i] / REGION[0] + SHIFTS[g][0]);
    return (g * down + Math.floor(at[2 * i + 1] / REGION[1] + SHIFTS[g][1])) * across + column;
  };
  const [total, size, counts] = [new Uint32Array(V), new Uint32Array(cells), new Uint16Array(cells * V)];
  const isSeen = new Uint8Array(ends.length);
  for (const i of seen) {
    isSeen[i] = 1;
    for (let e = ends[i]; e < ends[i + 1]; e++) total[of[e]]++;
    for (let g = 0; g < SHIFTS.length; g++) {
      const cell = cellOf(i, g);
      size[cell]++;
      for (let e = ends[i]; e < ends[i + 1]; e++) counts[cell * V + of[e]]++;
    }
  }
  const found = [];
  let tests = 0;
  for (let cell = 0; cell < cells; cell++) {
    const n = size[cell];
    if (n < FEW || n === N) continue;
    for (let w = 0; w < V; w++) {
      const k = counts[cell * V + w];
      if (k < FEW) continue;
      tests++;
      if (k >= SHARE * n && k * N > total[w] * n) found.push({ cell, w, sure: surprise(k, n, total[w], N) });
    }
  }
  // So many words in so many regions: by chance alone at most one in five maps would have a word beyond this.
  const least = 2 * Math.log(tests / 0.2);
  const sure = found.filter((f) => f.sure > least).sort((a, b) => b.sure - a.sure);
  const [used, explained] = [new Set(), new Uint8Array(ends.length)];
  return sure.flatMap(({ cell, w }) => {
    if (used.has(w)) return [];
    const g = Math.floor(cell / (across * down));
    const having = items[w].filter((i) => isSeen[i]);
    const rows = having.filter((i) => cellOf(i, g) === cell);
    if (2 * rows.filter((i) => !explained[i]).length < rows.length) return []; // another word stands for them
    used.add(w);
    for (const i of having) explained[i] = 1;
    const middle = (axis) => rows.map((i) => at[2 * i + axis]).sort((a, b) => a - b)[rows.length >> 1];
    return [{ word: spelt[w], x: middle(0), y: middle(1), rows }];
  });
}

function createWords(view) {
  const { data, look, get } = view;
  const c = scratch(1, 1);
  let [known, coming] = [null, 0]; // the vocabulary, and the timer of making it: the map is drawn before

  function learn() {
    known = vocabulary(data.captions);
    view.redraw();
  }

  /** Those words that fit into the map, each with its `box`: none meets another, nor what is `taken`. */
  function fitting(found, taken) {
    const most = clamp(Math.round((look.width * look.height) / ROOM), 4, 12);
    const kept = [];
    c.font = WORD_FONT;
    for (const one of found) {
      if (kept.length === most) break;
      const half = c.measureText(one.word).width / 2 + 6;
      const x = clamp(one.x, half + 26, look.width - half - 6); // beside the axes' names
      for (const shift of [0, -WORD_HIGH, WORD_HIGH]) {
        const y = clamp(one.y + shift, WORD_HIGH / 2 + 6, look.height - WORD_HIGH / 2 - 26);
        const box = [x - half, y - WORD_HIGH / 2, x + half, y + WORD_HIGH / 2];
        const meets = (t, [u, v] = [0, 0]) => box[0] - u < t[2] && box[2] + u > t[0] && box[1] - v < t[3] && box[3] + v > t[1];
        if (taken.some((t) => meets(t)) || kept.some((k) => meets(k.box, CLEAR))) continue;
        kept.push({ ...one, x, y, box });
        break;
      }
    }
    return kept;
  }

  /** Choose the words of a map whose items are placed for the step aimed at, if anything has changed; hidden where
      some items stand out, since these then have the floor. True if there are other words now. */
  function choose(map, hidden, taken) {
    const on = get("words") && !hidden;
    const key = on && [get("step"), look.zoom, look.x, look.y, look.width, look.height, map.layout.sent, map.rows, view.lit];
    if (on && map.wordKey?.every((value, k) => value === key[k])) return false;
    if (!on && !map.words.length) return false;
    if (on && !known) {
      coming ||= setTimeout(learn);
      return false;
    }
    map.wordKey = on ? key : null;
    const rows = !on ? [] : view.lit ? [...map.rows].filter((i) => view.lit[i]) : [...map.rows];
    map.words = on ? fitting(tellingWords(known, rows, map.at, look.width, look.height), taken) : [];
    const { ax, bx, ay, by } = map.lens(get("step"));
    for (const one of map.words) one.plane = [(one.x - ax) / bx, (ay - one.y) / by]; // it goes along with the map
    const before = new Map([...map.ui.words.children].map((node) => [node.textContent, node]));
    map.ui.words.replaceChildren(...map.words.map(({ word }) => before.get(word) ?? h("span", { dir: "auto" }, word)));
    return true;
  }

  /** Put the words where they belong in this frame. */
  function place(map) {
    const { ax, bx, ay, by } = map.lens();
    map.words.forEach(({ plane: [u, v] }, k) => {
      const [x, y] = [ax + bx * u, ay - by * v];
      map.ui.words.children[k].style.transform = `translate(-50%, -50%) translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    });
  }

  /** The words onto a picture of the map, whose corner is at (0, 0). */
  function draw(to, map) {
    for (const { word, x, y, box } of map.words) {
      to.globalAlpha = 0.82;
      to.fillStyle = look.theme.paper;
      to.beginPath();
      to.roundRect(box[0], box[1], box[2] - box[0], box[3] - box[1], 6);
      to.fill();
      to.globalAlpha = 1;
      Object.assign(to, { font: WORD_FONT, fillStyle: look.theme.ink, textAlign: "center", textBaseline: "middle" });
      to.fillText(word, x, y + 0.5);
    }
  }

  const stop = () => clearTimeout(coming);
  return { choose, place, draw, stop };
}
