// Lesson 01: two arrows, the angle between them, their lengths, dot product and cosine.

CLOSED.arrows = {
  /** No arrow is longer than 2; normalised, each has length 1, unless it has no direction. */
  settle(values) {
    const tips = values.tips.map(([x, y]) => {
      const length = Math.hypot(x, y);
      const divide = values.normalise && length ? length : Math.max(1, length / 2);
      return [x / divide, y / divide];
    });
    return { ...values, tips };
  },

  draw({ tips }, scene) {
    const made = structuredClone(scene);
    const [left, right] = made.axes;
    const [[ax, ay], [bx, by]] = tips;
    const lengths = tips.map(([x, y]) => Math.hypot(x, y));
    const both = lengths.every((length) => length);
    const [dot, across] = [ax * bx + ay * by, ax * by - ay * bx];
    const [cosine, angle] = [both ? dot / (lengths[0] * lengths[1]) : NaN, Math.atan2(across, dot)];
    const toward = tips.map(([x, y], i) => (lengths[i] ? Math.atan2(y, x) : null));
    const apart = both ? `${fixed((Math.abs(angle) * 360) / TAU, 0)} degrees apart` : "with no angle between them";

    left.title = apart;
    const [, , line, ...marks] = left.marks; // behind two rings: the angle, then arrow, direction and name of a and b
    const arc = both ? Array.from({ length: 25 }, (_, i) => toward[0] + (angle * i) / 24) : [];
    Object.assign(line, { x: arc.map((t) => 0.35 * Math.cos(t)), y: arc.map((t) => 0.35 * Math.sin(t)) });
    tips.forEach(([x, y], i) => {
      const [arrow, direction, name] = marks.slice(3 * i);
      const there = toward[i] === null ? [] : [toward[i]];
      const [t, off] = [toward[i] ?? toward[1 - i] ?? 0, (across >= 0 ? 20 : -20) * (i ? -1 : 1)];
      Object.assign(arrow, { x1: [x], y1: [y] });
      Object.assign(direction, { x: there.map(Math.cos), y: there.map(Math.sin) });
      Object.assign(name, { x: [x], y: [y], dx: off * Math.sin(t), dy: off * Math.cos(t) });
    });

    const bars = [...lengths, cosine, dot];
    const [drawn] = right.marks;
    Object.assign(drawn, { to: bars.map((v) => (Number.isFinite(v) ? v : null)), texts: bars.map((v) => fixed(v)) });
    const alt = `Two arrows of length ${fixed(lengths[0])} and ${fixed(lengths[1])}, ${apart}: ` +
      `dot product ${fixed(dot)}, ${both ? `cosine ${fixed(cosine)}` : "no cosine"}.`;
    return { scene: made, alt };
  },
};

