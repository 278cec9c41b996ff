// The items as Python has sent them: what never changes, unpacked, and an item's facts in words.

function unpack(model) {
  const setup = model.get("setup");
  const n = setup.captions.length;
  const columns = numbers(model.get("columns"), Int32Array);
  const column = (c) => columns.subarray(c * n, (c + 1) * n);
  const [classOf, kinds, pairs, sprites, domainOf, group] = [0, 1, 2, 3, 4, 5].map(column);
  const hash = (i) => Math.imul(i + 1, 2654435761) >>> 0; // no stretch of the table is drawn or labelled first
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => hash(a) - hash(b));
  const lower = setup.captions.map((caption) => caption.toLowerCase());
  const similarity = Float32Array.from(numbers(model.get("pair_similarity"), Int16Array), (v) => v / 10_000);
  const pictures = sprites.filter((s) => s >= 0).length;

  const kindOf = (i) => setup.modalities[kinds[i]];
  const words = (i) => [setup.classes[classOf[i]], kindOf(i), setup.domains[domainOf[i]]];
  const facts = (i) => words(i).filter(Boolean).join(" · ");
  const pairCosine = (i, step) => similarity[step * n + i];

  const ofItems = { classOf, kinds, pairs, sprites, domainOf, group, lower };
  return { ...setup, ...ofItems, n, order, pictures, kindOf, facts, pairCosine };
}
