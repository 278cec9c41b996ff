// The column at the right: how to begin; or what the search has found; or the selected item (or a typed caption) with
// its pair, its nearest neighbours and how far the map is to be trusted; or, where several are selected, all of them;
// or one of the lists of lists.js.

const CHUNK = 40; // rows that a long list has at first, and gains each time that its end comes into sight
const TALLY = 12; // classes that are counted in words
const PATIENCE = 200; // ms that an answer may take before the list says that it waits
const LIST_MARKUP = `
  <aside role="note" aria-label="Selected item">
    ${HINT_MARKUP}
    <div data-ui="chosen" class="chosen">
      <button data-ui="close" type="button" class="close" aria-label="Clear selection">×</button>
      <button data-ui="toHits" type="button" class="to-hits"></button>
      <div data-ui="topmost"></div>
      <p data-ui="warning" class="warning"></p>
      <button data-ui="toTable" type="button" class="to-table">Show them in the table</button>
      <p data-ui="heading" class="heading" hidden></p>
      <button data-ui="placeQuery" type="button"></button>
      <div data-ui="toggle" class="choice toggle" role="group" aria-label="Neighbours among">
        <button data-ui="all" type="button">All items</button>
        <button data-ui="others" type="button">Other modality</button>
      </div>
      <ol data-ui="list"></ol>
      <div data-ui="end" class="end"></div>
      <p data-ui="note" class="note"></p>
    </div>
  </aside>`;

/** "first", "second", "third", "4th", … "21st". */
function nth(rank) {
  const ending = { 1: "st", 2: "nd", 3: "rd" }[Math.floor(rank / 10) % 10 === 1 ? 0 : rank % 10] ?? "th";
  return ["", "first", "second", "third"][rank] ?? count(rank) + ending;
}

/** How many decimals, 2 to 4, tell these numbers apart, as far as 4 do. */
function decimals(values) {
  const different = (digits) => new Set(values.map((v) => v.toFixed(digits))).size;
  return [2, 3].find((digits) => different(digits) === different(4)) ?? 4;
}

function createList(view, lists) {
  const { data, ui, get, set, on, selected, offline, sounds } = view;
  const { n, captions, kinds, pairs } = data;
  const rows = []; // made once and refilled: focus stays put
  let entries = []; // [item, words, share of its bar or null, what its caption is followed by] of all rows, also of
  // those that are yet to be made
  let [made, answered, searching, waiting, timer] = [CHUNK, "", false, false, 0];
  // What has a picture; a sound's is its spectrogram.
  const [seen, withThese] = sounds.some ? ["picture or sound", "Picture or sound"] : ["picture", "With a picture"];

  const top = makeRow("div", "head", sounds.some || data.speaks);
  const pairRow = makeRow("button", "row pair");
  const rank = h("span", { class: "rank" });
  pairRow.node.prepend(rank);
  ui.topmost.append(top.node, pairRow.whole);
  const heard = sounds.some ? "hear it, and to " : "";
  ui.invite.textContent = `Click an item to ${heard}list its nearest neighbours in all ${data.dimensions} dimensions.`;

  /** A row: its `node`, the button `hear` beside it where something can be heard, and the `whole` of both. */
  function makeRow(tag, name, audible = sounds.some) {
    const [thumb, bar] = [h("canvas"), h("i")];
    const [caption, meta] = [h("span", { class: "caption", dir: "auto" }), h("span", { class: "meta" })];
    const node = h(tag, { class: name }, thumb, caption, meta, h("span", { class: "bar" }, bar));
    const hear = audible ? sounds.button() : null;
    const row = { node, thumb, caption, meta, bar, hear, whole: node, index: -1, drawn: null };
    if (tag === "div") {
      if (hear) node.append(hear);
      return row;
    }
    node.type = "button";
    node.setAttribute(...OWN_KEYS);
    on(node, "click", () => pick(row.index));
    if (hear) row.whole = h("div", { class: "audible" }, node, hear); // no button holds another
    for (const part of hear ? [node, hear] : [node]) {
      for (const type of ["pointerenter", "focus"]) on(part, type, () => set({ hover: row.index }));
      for (const type of ["pointerleave", "blur"]) on(part, type, () => set({ hover: -1 }));
    }
    return row;
  }

  function fillRow(row, i, size, meta, share = null, more = "") {
    const { theme, atlas } = view.look;
    if (row.index !== i || row.more !== more || row.drawn?.theme !== theme || row.drawn?.atlas !== atlas) {
      drawThumb(view, row.thumb, i, size);
      row.caption.textContent = captions[i] + more;
      row.node.title = `${captions[i]} (${data.facts(i)})`;
      Object.assign(row, { index: i, more, drawn: { theme, atlas } });
    }
    if (row.hear) sounds.dress(row.hear, i);
    row.meta.textContent = meta;
    row.bar.parentNode.hidden = share === null;
    row.bar.style.width = `${100 * clamp(share ?? 0, 0, 1)}%`;
  }

  /** Select one item, let it be heard, and show that rather than what the search has found. */
  function choose(i) {
    view.select([i]);
    leaveSearch();
    sounds.play(i);
  }

  /** The same for a row of the list; of a list of pairs both, and of hubs whose neighbour it is. */
  function pick(i) {
    if (!overview()) return choose(i);
    if (get("listing") === "pairs") return set({ selected: [i, pairs[i]] });
    set({ selected: [i] });
    sounds.play(i);
  }

  // ---- the rows

  /** Show these entries, a long list in parts. Where they answer another question than those before, from the top. */
  function fillRows(next, question) {
    entries = next;
    if (question !== answered) {
      [answered, made] = [question, CHUNK];
      ui.chosen.scrollTop = 0;
      watchEnd();
    }
    const shown = Math.min(entries.length, made);
    while (ui.list.children.length > shown) ui.list.lastChild.remove();
    while (ui.list.children.length < shown) {
      const r = ui.list.children.length;
      rows[r] ??= makeRow("button", "row");
      rows[r].node.tabIndex = r < data.k ? 0 : -1; // Tab leaves a long list soon; arrows walk all of it
      if (rows[r].hear) rows[r].hear.tabIndex = rows[r].node.tabIndex;
      ui.list.append(h("li", {}, rows[r].whole));
    }
    for (let r = 0; r < shown; r++) {
      const [i, words, share, more] = entries[r];
      fillRow(rows[r], i, 28, words, share, more);
    }
  }

  function grow() {
    if (made >= entries.length) return;
    made += CHUNK;
    fillRows(entries, answered);
    watchEnd();
  }

  const watch = new IntersectionObserver(([end]) => end.isIntersecting && grow());

  /** Grow when the end of the list is in sight, also if it was before. */
  function watchEnd() {
    watch.unobserve(ui.end);
    if (made < entries.length) watch.observe(ui.end);
  }

  /** Put the focus on a row of the list; above the first one is the search, if that has found them. */
  function goTo(r) {
    if (r >= made) grow();
    if (r < 0 && searching) ui.search.focus();
    else rows[clamp(r, 0, entries.length - 1)]?.node.focus();
  }

  // ---- what is listed

  /** What answers are wanted of: as `asked` in the Python model. */
  const wanted = () => [get("typed") ? -1 : view.one(), get("typed"), get("among"), get("listing")];

  /** Whether it is the list that was asked for: nothing is selected, typed or searched. */
  const overview = () => !!get("listing") && !searching && !selected().length && !get("typed");

  function fillList() {
    const [i, many, typed] = [view.one(), selected().length, get("typed")];
    const query = get("query").trim();
    if (!many && !typed && query) searching = true;
    view.searching = searching = searching && !!query;
    ui.hint.hidden = many > 0 || !!typed || !!query || !!get("listing");
    ui.chosen.hidden = !ui.hint.hidden;
    if (ui.chosen.hidden) return wait(false);
    const listed = !searching && (i >= 0 || !!typed);
    const counted = overview() && get("listing") === "hubs";
    wait((listed || counted) && !offline && JSON.stringify(wanted()) !== JSON.stringify(get("asked")));
    const [found, cosines] = [[...view.matches], listed ? get("neighbours") : []];
    const digits = decimals(cosines.map(([, cosine]) => cosine));
    const plain = (searching ? found : selected()).map((j) => [j, "", null, ""]);
    const near = cosines.map(([j, cosine]) => [j, cosine.toFixed(digits), cosine, ""]);
    const asked = searching ? `? ${query}` : typed || selected().join();
    fillRows(overview() ? lists.entries() : listed ? near : plain, asked || `: ${get("listing")}`);
    fillTop(i, typed, query);
    fillPair(listed ? i : -1, digits);
    fillToggle(listed || counted, typed);
    ui.heading.textContent = heading(listed, i, typed);
    ui.heading.hidden = !ui.heading.textContent;
    const behind = !query && many ? lists.titles[get("listing")] : ""; // the list that it was chosen from
    ui.toHits.hidden = !behind && (searching || !query || !found.length);
    const [sought, hits] = [short(query, 24), found.length === 1 ? "1 hit" : `All ${count(found.length)} hits`];
    ui.toHits.textContent = behind ? `← ${behind}` : `← ${hits} for “${sought}”`;
    ui.placeQuery.hidden = !searching || found.length > 0 || !!offline || !data.encodes;
    ui.placeQuery.textContent = `Place “${sought}” as a caption of your own`;
    ui.toTable.hidden = searching || many < 2;
    const [note, warning] = listed && !waiting ? [get("note"), get("warning")] : ["", ""];
    ui.note.textContent = note;
    ui.warning.textContent = warning;
    ui.warning.hidden = !warning;
  }

  /** Say that an answer is on its way, if it has not come soon. */
  function wait(late) {
    if (!late) {
      clearTimeout(timer);
      [timer, waiting] = [0, false];
    } else
      timer ||= setTimeout(() => {
        waiting = true;
        fillList();
      }, PATIENCE);
    ui.list.setAttribute("aria-busy", waiting);
  }

  function fillTop(i, typed, query) {
    top.thumb.hidden = i < 0 || searching;
    if (i >= 0 && !searching) return fillRow(top, i, 52, data.facts(i));
    top.index = -1;
    if (top.hear) sounds.dress(top.hear, typed && !searching ? TYPED : null);
    const last = data.steps.length - 1; // the encoder is that of this step, whichever is shown
    const placed = get("step") < last ? `, at ${view.stepName(last)}` : "";
    const many = searching ? `“${query}”` : `${count(selected().length)} items selected`;
    top.caption.textContent = overview() ? lists.titles[get("listing")] : (!searching && typed) || many;
    if (overview()) top.meta.textContent = waiting ? "" : lists.note();
    else top.meta.textContent = searching ? "" : typed ? `your own caption${placed}` : tally(selected());
    top.node.title = "";
  }

  /** The row of item i's pair, and how far down either stands in the other's list. */
  function fillPair(i, digits) {
    const pair = i >= 0 ? pairs[i] : -1;
    pairRow.whole.hidden = pair < 0;
    if (pair < 0) return;
    const cosine = data.pairCosine(i, get("step"));
    fillRow(pairRow, pair, 28, cosine.toFixed(digits), cosine);
    const rivals = (of) => count(kinds.filter((kind) => kind === kinds[of]).length);
    const [there, back] = waiting ? [0, 0] : get("ranks");
    const first = `Of ${rivals(pair)} ${data.plural(data.kindOf(pair))} its own comes ${nth(there)}`;
    const ranks = `${first}; seen from there, it comes ${nth(back)} of ${rivals(i)}.`;
    rank.textContent = there ? ranks : `Its ${data.kindOf(pair)}`;
  }

  /** Whether neighbours are looked for in the other modality only, or for a typed caption among the pictures: as in
      the Python model. */
  const onlyOthers = (typed) =>
    get("among") === "other" || (!!typed && get("among") === "" && data.pictures > 0);

  function fillToggle(listed, typed) {
    const other = onlyOthers(typed);
    ui.all.setAttribute("aria-pressed", !other);
    ui.others.setAttribute("aria-pressed", other);
    ui.others.textContent = typed ? withThese : "Other modality";
    ui.toggle.hidden = !listed || (typed ? !data.pictures || data.pictures === n : data.modalities.length < 2);
  }

  /** What the list holds, and among how many items it was looked for. */
  function heading(listed, i, typed) {
    if (waiting) return "Waiting for Python…";
    const length = entries.length;
    if (searching && !length) return "No caption holds it.";
    if (searching) return length === 1 ? "1 caption holds it" : `${count(length)} captions hold it`;
    const [first, second] = selected();
    const paired = !listed && length === 2 && (pairs[first] === second || pairs[second] === first);
    const from = pairs[first] === second ? first : second;
    if (paired) return `Their cosine: ${data.pairCosine(from, get("step")).toFixed(2)}`;
    if (!listed || !length) return "";
    if (get("listing") === "hubs" && !typed) return `Among the nearest ${data.k} of ${count(length)} items`;
    const nearest = (many, which) => `${length} nearest of ${count(many)} ${which}`;
    if (onlyOthers(typed) && typed) return nearest(data.pictures, `with a ${seen}`);
    if (!onlyOthers(typed)) return `${length} nearest of all ${count(typed ? n : n - 1)} items`;
    const others = kinds.filter((kind) => kind !== kinds[i]).length;
    const one = data.modalities.length === 2 && data.modalities.find((name) => name !== data.kindOf(i));
    return nearest(others, one ? data.plural(one) : "of another modality");
  }

  /** The classes of some rows, the most frequent first, in words. */
  function tally(chosen) {
    if (!data.classes.length) return "";
    const counts = new Map();
    for (const i of chosen) counts.set(data.classOf[i], (counts.get(data.classOf[i]) ?? 0) + 1);
    const most = [...counts].sort((a, b) => b[1] - a[1]);
    const named = most.slice(0, TALLY).map(([c, times]) => `${count(times)} ${data.classes[c] ?? "without a class"}`);
    const rest = most.length - named.length;
    return [...named, ...(rest ? [`and ${count(rest)} more`] : [])].join(", ");
  }

  /** The query has changed: show what it finds, in place of what was selected. */
  function search() {
    searching = true;
    fillList();
  }

  /** Show what is selected, in place of what the search has found. */
  function leaveSearch() {
    searching = false;
    fillList();
  }

  on(ui.close, "click", view.close);
  on(ui.all, "click", () => set({ among: "all" }));
  on(ui.others, "click", () => set({ among: "other" }));
  on(ui.toHits, "click", () => {
    if (get("query").trim()) search();
    else set({ selected: [] });
    enter();
  });
  on(ui.placeQuery, "click", () => {
    const text = get("query").trim();
    set({ query: "" });
    view.place(text);
  });
  on(ui.toTable, "click", () => {
    view.only = selected();
    view.onTab("table");
  });
  on(ui.list, "keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    goTo(rows.findIndex(({ node, hear }) => node === event.target || hear === event.target) + step);
  });
  view.hotkeys(ui.search, { ArrowDown: () => searching && goTo(0) });

  /** Give the focus to the list, or while that is empty to what closes it. */
  function enter() {
    if (entries.length) goTo(0);
    else ui.close.focus();
  }

  function stop() {
    clearTimeout(timer);
    watch.disconnect();
  }

  return { fill: fillList, choose, search, leaveSearch, enter, stop };
}
