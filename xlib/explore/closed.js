// The panels whose formulas are short enough to be computed here as well: they follow the pointer without Python, and
// on a page without a kernel. Each has
//   settle(values, changed, memory, constants): the values as the lesson's model would have them after these changed;
//   draw(values, scene, constants): {scene, alt}, as the lesson's draw makes them; `scene` is Python's first;
//   actions: what stands on a button: (values) => what it sets, for where there is no Python.
// A test holds both to Python's on 200 random states.

const CLOSED = {};
const TAU = 2 * Math.PI;

/** A number as scene.fixed writes it. */
function fixed(value, decimals = 2, sign = false) {
  if (!Number.isFinite(value)) return "–";
  const text = value.toFixed(decimals);
  if (+text === 0) return text.replace("-", "");
  return (sign && value > 0 ? "+" : "") + text.replace("-", "−");
}
