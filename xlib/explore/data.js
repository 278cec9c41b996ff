// The items as Python has sent them: unpacked, what never changes and what belongs to the snapshots, of which there are
// more while something is trained; and an item's facts in words.

const PLURAL = { item: "items", image: "pictures", sound: "sounds", text: "texts" };

/** What of a text is searched, as `fold` in model.py. */
function fold(text) {
  const lower = text.normalize("NFKC").toUpperCase().toLowerCase();
  return lower.replaceAll("ς", "σ").replaceAll("i\u0307", "i").normalize("NFC");
}

function unpack(model) {
  const setup = model.get("setup");
  const n = setup.captions.length;
  const columns = numbers(model.get("columns"), Int32Array);
  const column = (c) => columns.subarray(c * n, (c + 1) * n);
  const [classOf, kinds, pairs, sprites, domainOf, group, tone, valueRank] = [0, 1, 2, 3, 4, 5, 6, 7].map(column);
  const hash = (i) => Math.imul(i + 1, 2654435761) >>> 0; // no stretch of the table is drawn or labelled first
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => hash(a) - hash(b));
  const folded = setup.captions.map(fold);
  const pictures = sprites.filter((s) => s >= 0).length;

  const kindOf = (i) => setup.modalities[kinds[i]];
  const several = setup.modalities.length > 1; // that all items are items need not be said
  const valued = (i) => setup.values[i] && `value ${setup.values[i]}`;
  const words = (i) => [setup.classes[classOf[i]], several && kindOf(i), setup.domains[domainOf[i]], valued(i)];
  const named = (i) => setup.captions[i] + (several ? ` (${kindOf(i)})` : "");
  const plural = (kind) => PLURAL[kind] ?? `${kind} items`;
  const facts = (i) => words(i).filter(Boolean).join(" · ");
  const pairCosine = (i, step) => data.similarity[step * n + i] / 10_000;

  /** The rows whose captions hold the query: exact ones, those where a word begins with it, and the rest; as in the
      Python model. */
  function matching(query) {
    const needle = fold(query.trim());
    if (!needle) return [];
    const word = new RegExp(`(?<![\\p{L}\\p{N}_])${needle.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}`, "u");
    const ranked = [[], [], []];
    folded.forEach((text, i) => {
      if (text.includes(needle)) ranked[text === needle ? 0 : word.test(text) ? 1 : 2].push(i);
    });
    return ranked.flat();
  }

  /** Take up the snapshots that Python has sent; whether they are other ones than before. */
  function renew() {
    const sent = model.get("snapshots"); // steps, comparisons, matrix, training
    if (data.sent === sent) return false;
    const similarity = numbers(model.get("pair_similarity"), Int16Array);
    Object.assign(data, sent, { sent, similarity, shades: numbers(model.get("matrix"), Uint8Array) });
    return true;
  }

  const ofItems = { classOf, kinds, pairs, sprites, domainOf, group, tone, valueRank };
  const data = { ...setup, ...ofItems, n, order, pictures, kindOf, named, plural, facts, pairCosine, matching, renew };
  renew();
  return data;
}
