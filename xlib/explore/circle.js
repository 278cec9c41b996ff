// Lesson 02: three pictures and three captions on a circle. The force on each is minus the gradient of the symmetric
// InfoNCE, without its part across the circle. Steps start where a point was last moved by hand.

CLOSED.circle = (() => {
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
  const plus = (a, b, share) => [a[0] + share * b[0], a[1] + share * b[1]];
  const unit = (a) => a.map((v) => v / Math.max(Math.hypot(...a), 1e-12));
  const columns = (table) => table[0].map((_, j) => table.map((row) => row[j]));

  function softmax(row) {
    const highest = Math.max(...row);
    const parts = row.map((v) => Math.exp(v - highest));
    const total = parts.reduce((sum, v) => sum + v, 0);
    return parts.map((v) => v / total);
  }

  /** The loss, each picture's softmax, and the forces on pictures and captions. */
  function look(pictures, captions, temperature) {
    const logits = pictures.map((v) => captions.map((t) => dot(v, t) / temperature));
    const rows = logits.map(softmax); // each picture asks for its caption
    const asked = columns(columns(logits).map(softmax)); // each caption asks for its picture
    const n = pictures.length;
    const loss = -rows.reduce((sum, row, i) => sum + Math.log(row[i]) + Math.log(asked[i][i]), 0) / (2 * n);
    const push = rows.map((row, i) => row.map((p, j) => (p + asked[i][j] - 2 * (i === j)) / (2 * n * temperature)));
    const along = (points, others, table) => points.map((x, i) => {
      const force = others.reduce((sum, other, j) => plus(sum, other, -table[i][j]), [0, 0]);
      return plus(force, x, -dot(force, x));
    });
    return { loss, rows, forces: [along(pictures, captions, push), along(captions, pictures, columns(push))] };
  }

  function settle(values, changed, memory) {
    let { pictures, captions, temperature, steps } = values;
    const moved = changed.includes("pictures") || changed.includes("captions");
    const walks = changed.includes("steps") || changed.includes("temperature");
    if (moved) [pictures, captions, steps] = [pictures.map(unit), captions.map(unit), 0];
    if (moved || (steps === 0 && !walks)) memory.start = { pictures, captions, steps };
    if (walks && !moved) {
      memory.start ??= { pictures, captions, steps }; // a view that was opened in mid-walk knows no earlier one
      ({ pictures, captions } = memory.start);
      for (let step = memory.start.steps; step < steps; step++) {
        const { forces } = look(pictures, captions, temperature);
        const walk = (points, force) => points.map((x, i) => unit(plus(x, force[i], 0.4 * temperature)));
        [pictures, captions] = [walk(pictures, forces[0]), walk(captions, forces[1])];
      }
    }
    return { ...values, pictures, captions, steps };
  }

  /** How many places further from the circle each number stands, so that it does not meet an earlier one. */
  function places(points) {
    return points.reduce((found, x, i) => {
      const taken = found.filter((_, j) => Math.hypot(...plus(x, points[j], -1)) < 0.32);
      return [...found, [0, 1, 2].find((place) => !taken.includes(place))];
    }, []);
  }

  function draw({ pictures, captions, temperature }, scene) {
    const { loss, rows, forces } = look(pictures, captions, temperature);
    const sizes = forces.flat().map((force) => Math.hypot(...force));
    const scale = 0.55 / Math.max(...sizes, 0.4);
    const next = structuredClone(scene);
    const [left, right] = next.axes;
    left.title = `loss ${fixed(loss, 3)} (blind guess: ${fixed(Math.log(3), 3)})`;
    const kinds = [[captions, forces[1], 0.72, -0.17], [pictures, forces[0], 1.28, 0.17]];
    kinds.forEach(([points, force, radius, further], k) => {
      const [arrows, marks, names] = left.marks.slice(1 + 3 * k); // after the circle
      const ends = points.map((x, i) => plus(x, force[i], scale));
      const at = places(points).map((place, i) => plus([0, 0], points[i], radius + further * place));
      [[arrows, "x0", "y0", points], [arrows, "x1", "y1", ends], [marks, "x", "y", points], [names, "x", "y", at]].forEach(
        ([mark, x, y, pairs]) => { [mark[x], mark[y]] = columns(pairs); });
    });
    right.marks[0].values = rows;
    right.marks[0].texts = rows.map((row) => row.map((p) => fixed(p)));
    const gives = rows.map((row, i) => `picture ${i + 1} gives its caption ${fixed(row[i])}`).join("; ");
    const alt = `Loss ${fixed(loss, 3)}. ${gives}. Forces on pictures 1 to 3, then captions 1 to 3: ${
      sizes.map((size) => fixed(size)).join(", ")}.`;
    return { scene: next, alt };
  }

  return { settle, draw };
})();
