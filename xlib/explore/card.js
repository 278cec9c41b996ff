// The card beside a hovered item on the map: its picture, caption, facts and its cosine with its pair. Of a selected
// item the side panel says it all; and while something is dragged, the card would be in the way.

const CARD_MARKUP = `<div data-ui="card" class="card" hidden></div>`;

function createCard(view) {
  const { data, ui, look, get } = view;
  const { captions, pairs, sprites } = data;

  function fillCard() {
    const i = get("hover");
    ui.card.hidden = i < 0 || view.tab !== "map" || view.one() === i;
    if (i < 0) return;
    const cosine = () => data.pairCosine(i, get("step")).toFixed(2);
    const pair = pairs[i] >= 0 ? `cosine with its ${data.modalities.length > 1 ? data.kindOf(pairs[i]) : "pair"} ${cosine()}` : "";
    const several = view.partners.length ? `paired with ${count(view.partners.length)} items` : "";
    const lines = [captions[i], data.facts(i), pair || several, view.sounds.audible(i) && "click or Enter plays it"].filter(Boolean);
    const text = lines.map((words, l) => h(l ? "span" : "b", { dir: "auto" }, short(words, 120)));
    const picture = h("canvas");
    if (sprites[i] >= 0) drawThumb(view, picture, i, 56);
    ui.card.replaceChildren(...(sprites[i] >= 0 ? [picture] : []), h("div", {}, ...text));
    ui.live.textContent = lines.join(", ");
  }

  const hideCard = () => (ui.card.hidden = true);

  /** Put the card beside the hovered item, which is on this map; on its other side where there is no room. */
  function placeCard(map) {
    const i = get("hover");
    const [left, room] = [map.canvas.parentNode.offsetLeft, ui.stages.clientWidth];
    const [w, tall, gap] = [ui.card.offsetWidth, ui.card.offsetHeight, map.sizeOf(i) + 8];
    const at = left + map.at[2 * i];
    const x = at + gap + w < room ? at + gap : at - gap - w;
    const y = map.at[2 * i + 1] - tall / 2;
    const inside = (v, most) => clamp(v, 4, Math.max(4, most - 4));
    ui.card.style.transform = `translate(${inside(x, room - w)}px, ${inside(y, look.height - tall)}px)`;
  }

  return { fill: fillCard, hide: hideCard, place: placeCard };
}
