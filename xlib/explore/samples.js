// Lesson 04: two samples of points in the plane, where one is denser than the other, and how large MMD² would be if the
// points were dealt out at random. constants: ticks, the places of the witness each way; splits, for each a string
// that has a 1 for each of the pooled points that is dealt to x.

CLOSED.samples = (() => {
  const BARS = 32; // the first is around -.3 and the last, which holds all beyond, around 1.25

  const kernel = (a, b, sigma) => Math.exp(-((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * sigma ** 2));
  const middle = (points) => [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
  const place = (value) => Math.min(Math.max(Math.round(value / 0.05) + 6, 0), BARS - 1);
  const roots = (values) => {
    const found = Array(BARS).fill(0);
    for (const value of values) found[place(value)]++;
    return found.map(Math.sqrt);
  };

  /** The unbiased MMD² of a split: the table of all pairs, and whether each point is dealt to x. */
  function unbiased(table, isX) {
    let [xx, yy, xy] = [0, 0, 0];
    const n = isX.reduce((sum, one) => sum + one, 0), m = isX.length - n;
    for (let i = 0; i < isX.length; i++) {
      for (let j = 0; j < i; j++) {
        if (isX[i] !== isX[j]) xy += table[i][j];
        else if (isX[i]) xx += table[i][j];
        else yy += table[i][j];
      }
    }
    return (2 * xx) / (n * (n - 1)) + (2 * yy) / (m * (m - 1)) - (2 * xy) / (n * m);
  }

  function draw({ x, y, sigma }, scene, { ticks, splits }) {
    const pooled = [...x, ...y];
    const weights = pooled.map((_, i) => (i < x.length ? 1 / x.length : -1 / y.length));
    // The kernel is one of the first coordinate times one of the second: few exponentials serve the whole ground.
    const [across, up] = [0, 1].map((k) => pooled.map((point) => ticks.map((at) => kernel([at, 0], [point[k], 0], sigma))));
    const witness = ticks.map((_, i) => ticks.map((_, j) =>
      pooled.reduce((sum, _, n) => sum + weights[n] * across[n][j] * up[n][i], 0)));
    // Where the witness is highest and lowest; of places that differ by rounding, the first.
    const values = witness.flat();
    const [highest, lowest] = [1, -1].map((sign) => {
      const value = values.reduce((best, v) => Math.max(best, sign * v), -Infinity);
      const n = values.findIndex((v) => sign * v >= value - 1e-9);
      return { value, at: [ticks[n % ticks.length], ticks[Math.floor(n / ticks.length)]] };
    });
    const most = Math.max(highest.value, lowest.value), flat = most < 1e-9; // but for rounding
    const reach = flat ? 1 : most;

    const table = pooled.map((a) => pooled.map((b) => kernel(a, b, sigma)));
    const yours = unbiased(table, [...x.map(() => 1), ...y.map(() => 0)]);
    const chance = splits.map((split) => unbiased(table, Array.from(split, Number)));
    const reached = chance.filter((value) => value >= yours - 1e-9); // equal ones differ by rounding
    const p = (1 + reached.length) / (1 + chance.length);

    const next = structuredClone(scene);
    const [left, right] = next.axes;
    left.title = `witness, up to ±${fixed(most)}`;
    Object.assign(left.marks[0], { values: witness, low: -reach, high: reach });
    [x, y].forEach((points, k) =>
      Object.assign(left.marks[1 + k], { x: points.map(([v]) => v), y: points.map(([, v]) => v) }));
    right.title = `p = (1 + ${reached.length}) / ${1 + chance.length} = ${fixed(p, 3)}`;
    right.marks[0].to = roots(chance);
    Object.assign(right.marks[1], { to: roots(reached), label: `at least yours: ${reached.length}` });
    const line = Math.min(yours, 1.25);
    Object.assign(right.marks[2], { x: [line, line], label: `yours: ${fixed(yours, 3)}` });

    const [a, b] = [middle(x), middle(y)];
    const [top, bottom] = [highest, lowest].map(({ at }) => `(${at.map((v) => fixed(v)).join(", ")})`);
    const alt = `σ ${fixed(sigma)}: unbiased MMD² ${fixed(yours, 3)}, p ${fixed(p, 3)}; random splits reach `
      + `${fixed(Math.min(...chance), 3)} to ${fixed(Math.max(...chance), 3)}. The means are `
      + `${fixed(Math.hypot(a[0] - b[0], a[1] - b[1]))} apart; the witness is `
      + `${flat ? "0 everywhere" : `highest at ${top}, lowest at ${bottom}`}.`;
    return { scene: next, alt };
  }

  /** What the buttons set where there is no Python. */
  const actions = {
    "put y in a ring around x": ({ x, y }) => {
      const [across, up] = middle(x);
      const angle = (i) => (TAU * i) / y.length;
      return { y: y.map((_, i) => [across + 1.9 * Math.cos(angle(i)), up + 1.9 * Math.sin(angle(i))]) };
    },
    "put each y on an x": ({ x }) => ({ y: structuredClone(x) }),
  };

  return { settle: (values) => values, draw, actions };
})();
