// Two small encoders in plain numbers: a picture or a caption to a vector, as torch computes it. A plan, which
// pad.py reads from torch's modules, names the layers; a tensor in it is [where it starts, its shape] in one
// Float32Array. A test holds both towers to torch's within 1e-4.

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** The error function to 1.5e-7: Abramowitz and Stegun (1964), 7.1.26. */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}

/** weight (rows, columns) times x, plus bias. */
function affine(weight, bias, x) {
  const [rows, n] = [weight.length / x.length, x.length];
  const out = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = bias ? bias[row] : 0;
    for (let i = 0, at = row * n; i < n; i++) sum += weight[at + i] * x[i];
    out[row] = sum;
  }
  return out;
}

// Each takes and gives { values, shape: [channels, height, width] }.
const LAYERS = {
  conv({ values, shape: [channels, height, width] }, layer, tensor) {
    const [out, , tall, wide] = layer.weight[1];
    const [[down, across], [top, left]] = [layer.stride, layer.padding];
    const [weight, bias] = [tensor(layer.weight), tensor(layer.bias)];
    const h = Math.floor((height + 2 * top - tall) / down) + 1;
    const w = Math.floor((width + 2 * left - wide) / across) + 1;
    const made = new Float32Array(out * h * w);
    let at = 0; // in the weights, whose order is that of the loops
    for (let o = 0; o < out; o++) {
      if (bias) made.fill(bias[o], o * h * w, (o + 1) * h * w);
      for (let c = 0; c < channels; c++)
        for (let i = 0; i < tall; i++)
          for (let j = 0; j < wide; j++) {
            const by = weight[at++];
            const first = Math.max(0, Math.ceil((left - j) / across)); // what lies outside the picture is 0
            const last = Math.min(w - 1, Math.floor((width - 1 + left - j) / across));
            for (let y = 0; y < h; y++) {
              const row = y * down + i - top;
              if (row < 0 || row >= height) continue;
              const [from, to] = [(c * height + row) * width + j - left, (o * h + y) * w];
              for (let x = first; x <= last; x++) made[to + x] += by * values[from + x * across];
            }
          }
    }
    return { values: made, shape: [out, h, w] };
  },
  norm({ values, shape }, { groups, eps, weight, bias }, tensor) {
    const [scale, shift] = [tensor(weight), tensor(bias)];
    const [size, cells] = [values.length / groups, values.length / shape[0]];
    const made = new Float32Array(values.length);
    for (let g = 0; g < groups; g++) {
      const group = values.subarray(g * size, (g + 1) * size);
      const mean = group.reduce((sum, v) => sum + v, 0) / size;
      const by = 1 / Math.sqrt(group.reduce((sum, v) => sum + (v - mean) ** 2, 0) / size + eps);
      for (let i = g * size; i < (g + 1) * size; i++) {
        const channel = Math.floor(i / cells);
        made[i] = (values[i] - mean) * by * (scale ? scale[channel] : 1) + (shift ? shift[channel] : 0);
      }
    }
    return { values: made, shape };
  },
  gelu: ({ values, shape }) => ({ values: values.map((v) => (v / 2) * (1 + erf(v * Math.SQRT1_2))), shape }),
  relu: ({ values, shape }) => ({ values: values.map((v) => Math.max(v, 0)), shape }),
  flatten: ({ values }) => ({ values, shape: [values.length, 1, 1] }),
  linear({ values }, { weight, bias }, tensor) {
    const made = affine(tensor(weight), tensor(bias), values);
    return { values: made, shape: [made.length, 1, 1] };
  },
};

/** A vector of length 1; zeros stay zeros. */
function unit(vector) {
  const length = Math.hypot(...vector);
  return length ? vector.map((v) => v / length) : vector;
}

/** The encoders of a plan: picture(pixels), of the ink (height × width) of a grey picture, and caption(tokens), each
 * to a unit vector. */
function createTowers(plan, weights) {
  const tensor = (at) => at && weights.subarray(at[0], at[0] + at[1].reduce((a, b) => a * b, 1));

  function picture(pixels) {
    const [channels, height, width] = plan.shape;
    const values = new Float32Array(channels * pixels.length);
    for (let c = 0; c < channels; c++) values.set(pixels, c * pixels.length);
    let x = { values, shape: [channels, height, width] };
    for (const layer of plan.image) x = LAYERS[layer.kind](x, layer, tensor);
    return unit(x.values);
  }

  /** The mean of a GRU's states over the words, and a linear map. */
  function caption(tokens) {
    const { embed, gru, project } = plan.text;
    const [table, wide, wx, bx, wh, bh] = [tensor(embed), embed[1][1], ...gru.map(tensor)];
    const n = gru[2][1][1]; // of the state
    let state = new Float32Array(n);
    const sum = new Float32Array(n);
    for (const token of tokens) {
      const given = affine(wx, bx, table.subarray(token * wide, (token + 1) * wide)); // for reset, update, new
      const kept = affine(wh, bh, state);
      state = state.map((before, i) => {
        const reset = sigmoid(given[i] + kept[i]);
        const update = sigmoid(given[n + i] + kept[n + i]);
        const fresh = Math.tanh(given[2 * n + i] + reset * kept[2 * n + i]);
        return (1 - update) * fresh + update * before;
      });
      for (let i = 0; i < n; i++) sum[i] += state[i] / tokens.length;
    }
    return unit(affine(tensor(project.weight), tensor(project.bias), sum));
  }

  return { picture, caption };
}

// What a text is cut into, as xlib's Vocabulary cuts it: a flag, an emoji with all that is joined to it, a character
// of a script without spaces, a word with its accents and inner apostrophes.
const UNSPACED = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3031-\u30ff\u31f0-\u31ff\u3400-\u9fff"
  + "\uf900-\ufaff\uff66-\uff9f\u{1aff0}-\u{1b16f}\u{20000}-\u{3ffff}]";
const EMOJI = "[\u2194-\u2199\u21a9\u21aa\u2300-\u23ff\u25aa-\u25fe\u2600-\u27bf\u2934\u2935\u2b00-\u2bff\u{1f000}-\u{1faff}]";
const TONE = "[\u{1f3fb}-\u{1f3ff}\u{e0020}-\u{e007f}]";
const SIGN = `(?:${EMOJI}|.(?=\ufe0f))(?:${TONE}|[\\p{M}\u200c])*`; // \ufe0f, which makes an emoji, is one of \p{M}
const LETTER = `(?:\\p{Nd}|(?!${UNSPACED})[\\p{L}\\p{N}'])`;
const CUT = new RegExp(`\\p{RI}{1,2}|${TONE}|${SIGN}(?:\u200d${SIGN})*|(?!\\p{Nd})(?=[\\p{L}\\p{N}])${UNSPACED}[\\p{M}\u200c]*`
  + `|${LETTER}(?:${LETTER}|[\\p{M}\u200c\u200d]|[’‘·״׳](?=${LETTER}))*`, "gu");
const UNWRITTEN = /[\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0e\ufeff\u{e0100}-\u{e01ef}]/gu;

/** A text's tokens: numbers of `index`, 1 for a word that is not in it. */
function tokensOf(text, index) {
  const plain = text.replace(UNWRITTEN, "").normalize("NFC").toLowerCase().replaceAll("ß", "ss").replaceAll("i\u0307", "i");
  const words = (plain.normalize("NFC").match(CUT) ?? []).map((word) => word.replace(/[’‘ʼʻ]/g, "'").replaceAll("\ufe0f", ""));
  return words.map((word) => (Object.hasOwn(index, word) ? index[word] : 1));
}
