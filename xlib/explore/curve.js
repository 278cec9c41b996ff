// The loss of a training that was followed, beneath the map: it grows while the training runs, and afterwards a line
// shows where the step of the slider lies on it.

const CURVE_MARKUP = `<canvas data-ui="curve" class="curve" role="img" hidden></canvas>`;
const CURVE = { height: 96, left: 44, right: 8, top: 8, bottom: 20 }; // CSS pixels

/** Round numbers that span from low to high, both included or nearly so: about `wanted` of them. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const gap = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const first = Math.ceil(low / gap);
  const many = Math.floor(high / gap + 1e-9) - first + 1;
  return Array.from({ length: many }, (_, k) => (first + k) * gap);
}

function createCurve(view) {
  const { data, ui, look, get } = view;

  function drawCurve() {
    const loss = numbers(get("loss"), Float32Array);
    ui.curve.hidden = !loss.length;
    const width = ui.curve.clientWidth;
    if (ui.curve.hidden || !width || !look.theme) return;
    const { height, left, right, top, bottom } = CURVE;
    const { ink, rule, accent } = look.theme;
    ui.curve.width = Math.round(width * look.dpr);
    ui.curve.height = Math.round(height * look.dpr);
    const c = ui.curve.getContext("2d");
    c.scale(look.dpr, look.dpr);
    const high = loss.reduce((a, b) => Math.max(a, b));
    const low = Math.min(0, loss.reduce((a, b) => Math.min(a, b)));
    const x = (step) => left + ((width - left - right) * step) / loss.length;
    const y = (value) => top + ((height - top - bottom) * (high - value)) / (high - low || 1);
    const line = (points, style, weight) => {
      c.beginPath();
      for (const point of points) c.lineTo(...point);
      Object.assign(c, { strokeStyle: style, lineWidth: weight, lineJoin: "round" });
      c.stroke();
    };
    Object.assign(c, { font: FONT, fillStyle: ink, textBaseline: "middle", textAlign: "right" });
    for (const value of ticks(low, high, 3)) {
      line([[left, y(value)], [width - right, y(value)]], rule, 1);
      c.fillText(+value.toPrecision(3), left - 6, y(value));
    }
    c.textBaseline = "alphabetic";
    const marks = ticks(0, loss.length, Math.max(2, width / 130));
    for (const [k, step] of marks.entries()) {
      c.textAlign = k === 0 ? "left" : x(step) > width - 40 ? "right" : "center";
      c.fillText(count(step), k === 0 ? left : Math.min(x(step), width - 2), height - 5);
    }
    // One point a pixel, the mean of its steps: more would be a smear.
    const per = Math.max(1, loss.length / (width - left - right));
    const curve = [];
    for (let from = 0; from < loss.length; from += per) {
      const part = loss.subarray(Math.floor(from), Math.max(Math.floor(from + per), Math.floor(from) + 1));
      curve.push([x(from + part.length / 2), y(part.reduce((a, b) => a + b) / part.length)]);
    }
    line(curve, accent, 2);
    const step = data.steps[get("step")];
    if (!data.training && typeof step === "number") line([[x(step), top], [x(step), height - bottom]], ink, 1.5);
    const words = [`${count(loss.length)} steps`, `from ${loss[0].toPrecision(3)} to ${loss.at(-1).toPrecision(3)}`];
    ui.curve.setAttribute("aria-label", `Training loss: ${words.join(", ")}.`);
    c.textAlign = "right";
    c.fillText("loss", width - right, top + 8);
  }

  return { draw: drawCurve };
}
