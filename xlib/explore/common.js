// What all parts use: short ways to numbers, words, colours and elements. Nothing in here is seen by itself, and
// nothing holds a state: several explorers on one page share it.

const OWN_KEYS = ["data-lm-suppress-shortcuts", "true"]; // Jupyter's shortcuts are not for here

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const count = (x) => x.toLocaleString("en");
const segmenter = Intl.Segmenter && new Intl.Segmenter(); // which not all browsers have
const rightToLeft = (text) => /^[^\p{L}]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u.test(text);
const packed = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0; // as ImageData has it in memory
const scratch = (w, h) => new OffscreenCanvas(w, h).getContext("2d", { willReadFrequently: true });

/** The text, cut to so many signs: an emoji of several parts is one, as is a letter with its accents. */
function short(text, most) {
  if (text.length <= most) return text;
  const start = text.slice(0, 16 * most);
  const found = segmenter ? Array.from(segmenter.segment(start), ({ segment }) => segment) : [...start];
  return found.length > most ? found.slice(0, most - 1).join("").trimEnd() + "…" : text;
}

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // strings become text nodes
  return node;
}

/** The Adler-32 checksum of bytes, as zlib has it. */
function checksum(view) {
  let [a, b] = [1, 0];
  for (const byte of new Uint8Array(view.buffer, view.byteOffset, view.byteLength)) b = (b + (a = (a + byte) % 65521)) % 65521;
  return b * 65536 + a;
}

/** Bytes as an array of numbers; copied, since a typed array needs an aligned start. */
function numbers(view, Type) {
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}
