// A panel without Python whose formulas are not known here: all its states were drawn beforehand by recorded.py, which
// says what is in a recording. Here is which state comes next, and what it shows.

/** The recording in gzip in base64: `first` and `now`, two of its states; after(state, some), the state that comes when
 * these values are set; at(state), what is seen there. */
async function recording(packed) {
  const bytes = new Blob([Uint8Array.from(atob(packed), (c) => c.charCodeAt(0))]);
  const found = await new Response(bytes.stream().pipeThrough(new DecompressionStream("gzip"))).json();
  const { names, options, values, shown, scenes, marks, alts } = found;
  const key = (row) => JSON.stringify(row.slice(0, options.length)); // points follow from the controls
  const places = new Map(values.map((row, state) => [key(row), state]).reverse()); // the first of each
  const moves = new Map(found.moves.map(([state, control, option, to]) => [`${state} ${control} ${option}`, to]));
  for (const { axes } of scenes) for (const part of axes ?? []) part.marks = part.marks.map((place) => marks[place]);

  /** Of options, the one that is this value, or the nearest number. */
  const nearest = (all, value) => (all.includes(value) ? all.indexOf(value)
    : all.reduce((best, each, i) => (Math.abs(each - value) < Math.abs(all[best] - value) ? i : best), 0));

  /** The state whose points are nearest; of several, the one to which the controls go the fewest steps. */
  function dragged(state, k, points) {
    const far = (row) => row[k].reduce((sum, [x, y], i) => sum + (x - points[i][0]) ** 2 + (y - points[i][1]) ** 2, 0);
    const steps = (row) => options.reduce((sum, one, n) =>
      sum + Math.abs(one.indexOf(row[n]) - one.indexOf(values[state][n])), 0);
    const all = values.map((row, at) => ({ at, far: far(row), steps: steps(row) }));
    const least = Math.min(...all.map((one) => one.far));
    return all.filter((one) => one.far < least + 1e-9).reduce((a, b) => (b.steps < a.steps ? b : a)).at;
  }

  function set(state, name, value) {
    const k = names.indexOf(name);
    if (k >= options.length) return dragged(state, k, value);
    const option = nearest(options[k], value);
    const wanted = values[state].map((value, n) => (n === k ? options[k][option] : value));
    return moves.get(`${state} ${k} ${option}`) ?? places.get(key(wanted)) ?? state;
  }

  return {
    now: found.now,
    first: found.first,
    after: (state, some) => Object.entries(some).reduce((at, [name, value]) => set(at, name, value), state),
    at: (state) => ({
      values: Object.fromEntries(names.map((name, k) => [name, values[state][k]])),
      scene: scenes[shown[state]],
      alt: alts[state],
    }),
  };
}
