// The tab "Map": one map, or two side by side. What each of them shows, how they glide from step to step, their
// zoom, what mouse and keys do on them, Move, Lasso and Box, and the picture that is saved.
// A map that Python has not made yet is never stood in for by another: it is veiled, and says what is awaited.

const TRAVEL = 600; // ms from one snapshot to another
const FOLLOW = 300; // ms from one snapshot of a training to the next
const GLIDE = 300; // ms of zooming to a selection
const SAID = 1200; // ms that a word on the map stays
const PLANE = 65_535; // the plane's width in the numbers that Python sends
const NARROW = 800; // CSS pixels; below, the chosen item stands over the map, see view.css
const SETTLED = 140; // ms after the last move of a drag or zoom, until captions are chosen anew
const MAPS_MARKUP = `
  <div data-ui="stages" class="stages">
    <div class="zoom">
      <button data-ui="zoomIn" type="button" aria-label="Zoom in">+</button>
      <button data-ui="zoomOut" type="button" aria-label="Zoom out">−</button>
      <button data-ui="fit" type="button" aria-label="Show all">Fit</button>
    </div>
    <form data-ui="spanning" class="spanning" hidden>
      <input data-ui="one" type="text" aria-label="Axis from" spellcheck="false">
      <span aria-hidden="true">↔</span>
      <input data-ui="other" type="text" aria-label="Axis to" spellcheck="false">
      <button type="submit">Show</button>
    </form>
    <p data-ui="say" class="say" hidden></p>
    ${CARD_MARKUP}
  </div>`;
const UNDER_MARKUP = `
  <div data-ui="underMap" class="under">
    <div data-ui="tools" class="choice" role="group" aria-label="Dragging on the map">
      <button data-tool="move" type="button">Move</button>
      <button data-tool="lasso" type="button">Lasso</button>
      <button data-tool="box" type="button">Box</button>
    </div>
    <button data-ui="closer" type="button">Zoom to selection</button>
    <button data-ui="take" type="button" hidden>Select them</button>
    <button data-ui="save" type="button">Save picture</button>
    <button data-ui="copy" type="button" hidden>Copy link</button>
    ${LINK_MARKUP}
  </div>`;
const PROMPT = "Give two texts above: the map will stand between them.";
const ZOOM_KEY = /Mac/.test(navigator.platform) ? "⌘" : "Ctrl";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const ease = (x) => 1 - (1 - x) ** 3; // fast at first: the very next frame shows that something moves

function createMaps(view, card, words) {
  const { data, ui, look, get, set, on, selected } = view;
  const layouts = {}; // unpacked, by name
  let maps = []; // one, or two side by side
  let [travelling, gliding, settling, saying, lifted, tool, gesture] = [0, 0, 0, 0, 0, "move", null];

  // ---- what the maps show

  /** A layout by name, or undefined where Python has not made it. */
  function layout(name) {
    const sent = get("maps")[name];
    if (sent && layouts[name]?.sent !== sent) layouts[name] = Object.assign(unpackLayout(sent, data.n), { poles: name === "axis" });
    return sent && layouts[name];
  }

  /** The name of map m's layout. */
  const layoutOf = (m) => (get("compare") === "projection" ? ["pca", "umap"][m] : get("projection"));

  /** As many maps as `compare` wants, and what each of them shows. */
  function arrange() {
    const compare = get("compare");
    while (maps.length < (compare ? 2 : 1)) maps.push(addMap());
    for (const map of maps.splice(compare ? 2 : 1)) map.canvas.parentNode.remove();
    const rowsWhere = (test) => data.order.filter(test);
    maps.forEach((map, m) => {
      const inDomain = (i) => data.domainOf[i] < 0 || (data.domainOf[i] === 0) === (m === 0);
      const here = layout(layoutOf(m));
      map.layout = here ?? map.layout ?? layout(Object.keys(get("maps"))[0]);
      map.fixed = compare === "steps" && m === 0 ? 0 : null;
      if (compare === "modality") map.show(rowsWhere((i) => (data.kinds[i] === 0) === (m === 0)));
      else if (compare === "domains") map.show(rowsWhere(inDomain));
      else map.show(data.order);
      const moves = compare === "steps" && m === 1;
      map.ui.caption.textContent = !compare ? "" : moves ? view.stepName() : data.comparisons[compare][m];
      nameAxes(map, here);
      veil(map, awaited(m, here));
    });
    ui.stages.classList.toggle("two", maps.length > 1);
    fillRemarks();
    measure();
  }

  /** The axes' names; where a map stands between two texts, these stand at its ends. */
  function nameAxes(map, here) {
    const [x, y] = here ? here.axes : ["", ""];
    const [from, to] = here?.poles ? get("axis") : [];
    const ends = [`← ${from}`, "cosine", `${to} →`];
    map.ui.axisX.replaceChildren(...(from ? ends.map((words) => h("span", {}, words)) : [x]));
    map.ui.axisX.classList.toggle("poles", !!from);
    map.ui.axisY.textContent = y;
  }

  /** What map m waits for, in words, or nothing. */
  function awaited(m, here) {
    const [name, computing] = [layoutOf(m), get("computing")];
    if (!here) return computing || `computing ${PROJECTIONS[name]}…`;
    if (view.spanning && get("compare") !== "projection") return computing || PROMPT;
    return name === "axis" ? computing : "";
  }

  function veil(map, words) {
    const { classList } = map.canvas.parentNode;
    classList.toggle("veiled", !!words);
    classList.toggle("blank", map.layout !== layout(layoutOf(maps.indexOf(map))) && maps.length > 1);
    if (map.ui.veil.textContent !== words) map.ui.veil.textContent = words; // it is read out
  }

  /** Two rows at the left and the right end of the first map, of those there the ones with the shortest captions. */
  function ends() {
    const { frames } = maps[0].layout;
    const from = (data.steps.length - 1) * 2 * data.n;
    const rows = [...data.order].sort((i, j) => frames[from + 2 * i] - frames[from + 2 * j]);
    const few = Math.ceil(data.n / 20);
    const briefest = (some) => some.reduce((a, b) => (data.captions[b].length < data.captions[a].length ? b : a));
    return [briefest(rows.slice(0, few)), briefest(rows.slice(-few))];
  }

  function addMap() {
    const canvas = h("canvas", { tabindex: 0, role: "application", "aria-roledescription": "map of an embedding" });
    const words = (name) => h("span", { class: name });
    const parts = { axisX: words("axis x"), axisY: words("axis y"), caption: words("what"), veil: words("veil") };
    parts.veil.setAttribute("role", "status");
    const worded = h("div", { class: "words", "aria-hidden": true }); // the map's description says them
    ui.stages.insertBefore(h("div", { class: "stage" }, canvas, worded, ...Object.values(parts)), ui.zoomIn.parentNode);
    const map = createMap(view, canvas);
    canvas.setAttribute("aria-label", get("alt_text"));
    canvas.setAttribute(...OWN_KEYS);
    listen(map, canvas);
    return Object.assign(map, { ui: { ...parts, words: worded } });
  }

  /** What has to be said of colours, shapes, and items beyond the edge, as `remarks_at` in model.py. */
  function fillRemarks() {
    const far = new Set(maps.flatMap((map) => map.far(get("step")))).size;
    const [lie, point] = far > 1 ? ["items lie", "arrows point"] : ["item lies", "arrow points"];
    const beyond = far ? [`${count(far)} ${lie} beyond the edge of the map, where the ${point}.`] : [];
    ui.remarks.textContent = [...data.remarks, ...beyond].join(" ");
    const ever = maps.some((map) => map.layout.far.some((rows) => rows.length));
    ui.remarks.hidden = !data.remarks.length && !ever; // at steps without far items its place stays
  }

  function nameStep() {
    fillRemarks();
    if (get("compare") === "steps") maps[1].ui.caption.textContent = view.stepName();
  }

  /** The maps in words, for those who do not see them. */
  function describe() {
    for (const map of maps) {
      const regions = map.words.length ? `Words on its regions: ${map.words.map(({ word }) => word).join(", ")}.` : "";
      const said = [map.ui.caption.textContent, [get("alt_text"), regions].filter(Boolean).join(" ")].filter(Boolean);
      map.canvas.setAttribute("aria-label", said.join(". "));
    }
  }

  function measure() {
    // One map or two, and whatever else is shown there: the height stays.
    const wide = ui.views.clientWidth;
    look.width = maps[0].canvas.parentNode.clientWidth || look.width;
    look.height = Math.round(clamp(wide * 0.68, 340, 540));
    look.dpr = window.devicePixelRatio || 1;
    ui.root.style.setProperty("--tall", `${look.height}px`);
    view.redraw();
  }

  // ---- drawing

  const near = () => get("neighbours").map(([j]) => j);

  /** Items that stand out while the others fade, or null where all are equal. */
  function emphasised() {
    const one = view.one();
    if (view.searching) return view.matches;
    if (get("typed")) return new Set(near());
    if (!selected().length) return null;
    return new Set(one < 0 ? selected() : [one, data.pairs[one], ...near()]);
  }

  /** The same, without what the legend fades. */
  function bright() {
    const rows = emphasised();
    return view.lit ? new Set([...(rows ?? data.order)].filter((i) => view.lit[i])) : rows;
  }

  function drawMaps(labels) {
    if (!look.width || !look.theme || view.tab !== "map") return;
    const { partners } = view;
    const [shown, hover] = [bright(), get("hover")];
    const choices = { hover, selected: selected(), near: near(), partners, bright: shown, typed: get("typed") };
    const scene = { ...choices, loop: gesture?.loop, map: gesture?.map };
    const avoid = [view.one(), hover].filter((i) => i >= 0);
    maps.forEach((map, m) => {
      [map.landed, map.heard] = ["landed", "heard"].map((place) => (get("typed") && get(place)[layoutOf(m)]) || null);
      map.drawn = layoutOf(m) === "pca" ? view.drawn : null;
      if (labels) {
        map.place(get("step"));
        if (words.choose(map, !!emphasised(), map.buttons())) describe();
        map.label([...partners, ...scene.near], shown, avoid);
      }
      map.draw(scene);
      words.place(map);
    });
    const shows = (map) => map.here[hover];
    const beside = maps.find((map) => map === gesture?.over && shows(map)) ?? maps.find(shows);
    if (beside) card.place(beside);
  }

  /** Move to the step chosen: gliding, or at once where motion is unwelcome. */
  function travel() {
    cancelAnimationFrame(travelling);
    const [from, to, time] = [look.position, get("step"), data.training ? FOLLOW : TRAVEL];
    const start = performance.now() - 16; // the first frame already moves
    let first = true;
    const tick = (now) => {
      const x = still.matches ? 1 : clamp((now - start) / time, 0, 1); // a frame's time can lie before the start
      look.position = x < 1 ? from + (to - from) * ease(x) : to;
      drawMaps(first); // captions are chosen once
      first = false;
      if (x < 1) travelling = requestAnimationFrame(tick);
    };
    travelling = requestAnimationFrame(tick);
  }

  // ---- zooming and panning

  /** Redraw for as long as something is dragged or zoomed: the captions stay as they are until it is over. */
  function keepMoving() {
    look.moving = true;
    clearTimeout(settling);
    settling = setTimeout(() => {
      look.moving = false;
      view.redraw();
    }, SETTLED);
    view.redraw();
  }

  function zoom(factor, x = look.width / 2, y = look.height / 2) {
    cancelAnimationFrame(gliding);
    const to = clamp(look.zoom * factor, 1, MOST_ZOOM);
    const ratio = to / look.zoom;
    look.x = to === 1 ? 0 : (x - look.width / 2) * (1 - ratio) + look.x * ratio;
    look.y = to === 1 ? 0 : (y - look.height / 2) * (1 - ratio) + look.y * ratio;
    look.zoom = to;
    if (to === 1) lifted = 0;
    keepMoving();
  }

  /** Zoom and pan to where the selected items fill the map: gliding, or at once where motion is unwelcome. */
  function zoomToSelection() {
    const [map, rows] = maps.map((map) => [map, selected().filter((i) => map.here[i])]).find(([, rows]) => rows.length);
    const { zoom, x, y } = look;
    const to = map.around(rows);
    const start = performance.now();
    const tick = (now) => {
      const t = still.matches ? 1 : ease(clamp((now - start) / GLIDE, 0, 1));
      const between = (a, b) => a * (1 - t) + b * t;
      look.zoom = zoom * (to.zoom / zoom) ** t;
      [look.x, look.y] = [between(x / zoom, to.x / to.zoom) * look.zoom, between(y / zoom, to.y / to.zoom) * look.zoom];
      keepMoving();
      if (t < 1) gliding = requestAnimationFrame(tick);
    };
    cancelAnimationFrame(gliding);
    gliding = requestAnimationFrame(tick);
  }

  /** Where the chosen item stands over the map, lift its place out from below, for as long as it is chosen. */
  function reveal() {
    const [i, map] = [view.one(), maps[0]];
    const covered = i >= 0 && map.here[i] && ui.root.clientWidth < NARROW;
    const free = ui.chosen.getBoundingClientRect().top - map.canvas.getBoundingClientRect().top - 2 * EDGE;
    const lift = covered ? Math.max(0, map.at[2 * i + 1] + lifted - free) : 0;
    if (lift === lifted) return;
    look.y += lifted - lift;
    lifted = lift;
    view.redraw();
  }

  function pan(dx, dy) {
    cancelAnimationFrame(gliding);
    look.x += dx;
    look.y += dy;
    keepMoving();
  }

  /** How far it is zoomed in, and what of the plane is in the middle: two numbers from 0 to 1. */
  function where() {
    const { ax, bx, ay, by } = maps[0].lens(get("step"));
    return { zoom: look.zoom, centre: [(look.width / 2 - ax) / bx / PLANE, (ay - look.height / 2) / by / PLANE] };
  }

  /** Zoom to where somebody else was; without a centre, all is shown. */
  function goTo(zoom, centre) {
    cancelAnimationFrame(gliding);
    [look.zoom, look.x, look.y] = [centre.length === 2 ? clamp(zoom, 1, MOST_ZOOM) : 1, 0, 0];
    if (look.zoom > 1) {
      const [u, v] = centre.map((part) => clamp(part, 0, 1) * PLANE);
      const { ax, bx, ay, by } = maps[0].lens(get("step"));
      [look.x, look.y] = [look.width / 2 - ax - bx * u, look.height / 2 - ay + by * v];
    }
    view.redraw();
  }

  on(ui.zoomIn, "click", () => zoom(1.5));
  on(ui.zoomOut, "click", () => zoom(1 / 1.5));
  on(ui.fit, "click", () => zoom(0));
  on(ui.closer, "click", zoomToSelection);

  function fillTools() {
    ui.closer.disabled = !selected().length;
  }

  /** Say something on the map for a moment. */
  function say(words) {
    ui.say.textContent = words;
    ui.say.hidden = false;
    clearTimeout(saying);
    saying = setTimeout(() => (ui.say.hidden = true), SAID);
  }

  // ---- mouse and keys

  function listen(map, canvas) {
    const walk = (dx, dy) => {
      gesture = { over: map };
      const start = get("hover") >= 0 ? get("hover") : (selected().at(-1) ?? -1);
      const i = map.walk(start, dx, dy);
      if (i >= 0) set({ hover: i });
    };
    const choose = (i) => {
      view.select([i]);
      view.sounds.play(i);
    };
    view.hotkeys(canvas, {
      ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0),
      ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1),
      ShiftArrowLeft: () => pan(60, 0), ShiftArrowRight: () => pan(-60, 0),
      ShiftArrowUp: () => pan(0, 60), ShiftArrowDown: () => pan(0, -60),
      Enter: () => get("hover") >= 0 && choose(get("hover")),
      " ": () => get("hover") >= 0 && view.select(view.toggled(get("hover"))),
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(0),
    });
    on(canvas, "pointerdown", (event) => {
      const [x, y] = [event.offsetX, event.offsetY];
      const way = event.shiftKey && tool === "move" ? "lasso" : tool;
      gesture = { map, over: map, way, x, y, from: [x, y], moved: false, add: event.ctrlKey || event.metaKey };
      canvas.setPointerCapture(event.pointerId);
    });
    on(canvas, "pointermove", (event) => {
      const [x, y] = [event.offsetX, event.offsetY];
      if (!gesture?.way) {
        gesture = { over: map };
        return set({ hover: map.pick(x, y) });
      }
      if (!gesture.moved && Math.hypot(x - gesture.x, y - gesture.y) < 4) return; // a click with an unsteady hand
      gesture.moved = true;
      card.hide();
      if (gesture.way === "move") pan(x - gesture.x, y - gesture.y);
      else if (gesture.way === "lasso") (gesture.loop ??= [gesture.from]).push([x, y]);
      else gesture.loop = [gesture.from, [x, gesture.from[1]], [x, y], [gesture.from[0], y]];
      [gesture.x, gesture.y] = [x, y];
      view.redraw();
    });
    on(canvas, "pointerup", (event) => {
      const { way, moved, loop, add } = gesture ?? {};
      gesture = { over: map };
      if (way && !moved) {
        const i = map.pick(event.offsetX, event.offsetY);
        if (i < 0) set({ selected: [], typed: "" });
        else if (add) view.select(view.toggled(i));
        else choose(i);
      } else if (loop) view.select([...new Set([...(add ? selected() : []), ...map.inside(loop)])]);
      view.redraw();
    });
    on(canvas, "pointercancel", () => (gesture = null));
    // Or the tap, once it has chosen an item, would also choose what then stands under the finger: see NARROW.
    on(canvas, "touchend", (event) => event.cancelable && event.preventDefault());
    on(canvas, "pointerleave", () => set({ hover: -1 }));
    on(canvas, "wheel", (event) => {
      const meant = document.activeElement === canvas || event.ctrlKey || event.metaKey;
      if (!meant) return say(`${ZOOM_KEY} + scroll to zoom`); // scrolling past must not zoom
      event.preventDefault();
      zoom(Math.exp(-clamp(event.deltaY, -100, 100) / 300), event.offsetX, event.offsetY);
    }, { passive: false });
  }

  function use(name) {
    tool = name;
    for (const button of ui.tools.children) button.setAttribute("aria-pressed", button.dataset.tool === tool);
    ui.stages.classList.toggle("drawing", tool !== "move");
  }

  for (const button of ui.tools.children) on(button, "click", () => use(button.dataset.tool));
  use("move");

  /** What can be seen, as a picture for a slide: title, step, maps, axes and legend, with at least two pixels for each
      of CSS. */
  function picture() {
    const { dpr, theme } = look;
    look.dpr = Math.max(2, dpr);
    drawMaps(true);
    const [pad, gap, head] = [16, 16, 44];
    const room = maps.length * (look.width + gap) - gap;
    const c = scratch(1, 1);
    c.font = FONT;
    const rows = legendRows(c, room);
    const said = wrapped(c, ui.remarks.textContent, room);
    const tall = head + look.height + 26 + 20 * rows.length + 18 * said.length + pad;
    [c.canvas.width, c.canvas.height] = [room + 2 * pad, tall].map((v) => Math.round(v * look.dpr));
    c.scale(look.dpr, look.dpr);
    c.fillStyle = theme.paper;
    c.fillRect(0, 0, room + 2 * pad, tall);
    const write = (words, x, y, most, style = {}) => {
      Object.assign(c, { font: FONT, fillStyle: theme.ink, textAlign: "left", textBaseline: "middle" }, style);
      c.fillText(words, x, y, most);
    };
    const step = data.steps.length > 1 || data.training ? view.stepName() : "";
    write([data.title, step].filter(Boolean).join(", "), pad, pad + 10, room, { font: `600 15px ${FAMILY}` });
    maps.forEach((map, m) => {
      const left = pad + m * (look.width + gap);
      c.drawImage(map.canvas, left, head, look.width, look.height);
      c.save();
      c.translate(left, head);
      words.draw(c, map);
      c.restore();
      c.strokeStyle = theme.rule;
      c.strokeRect(left, head, look.width, look.height);
      const middle = [left + look.width / 2, head + look.height + 14];
      write(map.ui.caption.textContent, left + 10, head + 14, look.width, { font: `600 12px ${FAMILY}` });
      const names = [...map.ui.axisX.childNodes].map((node) => node.textContent);
      if (names.length > 1) {
        write(names[0], left, middle[1], look.width / 2);
        write(names.at(-1), left + look.width, middle[1], look.width / 2, { textAlign: "right" });
      } else write(names[0] ?? "", ...middle, look.width, { textAlign: "center" });
      c.save();
      c.translate(left + 10, head + look.height / 2);
      c.rotate(-Math.PI / 2);
      write(map.ui.axisY.textContent, 0, 0, look.height, { textAlign: "center" });
      c.restore();
    });
    rows.forEach((row, r) => {
      for (const { x, name, draw, wide } of row) {
        c.save();
        c.translate(pad + x + 6, head + look.height + 36 + 20 * r);
        draw(c);
        c.restore();
        write(name, pad + x + 18 + wide, head + look.height + 36 + 20 * r);
      }
    });
    said.forEach((line, l) => write(line, pad, head + look.height + 37 + 20 * rows.length + 17 * l));
    look.dpr = dpr;
    view.redraw();
    return c.canvas;
  }

  /** The text in lines no wider than room. */
  function wrapped(c, text, room) {
    const lines = [];
    for (const word of text.split(" ").filter(Boolean)) {
      const longer = `${lines.at(-1)} ${word}`;
      if (lines.length && c.measureText(longer).width <= room) lines.splice(-1, 1, longer);
      else lines.push(word);
    }
    return lines;
  }

  /** The legend's entries in rows no wider than room, each with its place in the row and what draws its mark. */
  function legendRows(c, room) {
    const rows = [];
    let x = Infinity;
    for (const entry of view.legend()) {
      const wide = entry.wide ?? 0; // more than 12 pixels
      const all = c.measureText(entry.name).width + 36 + wide;
      if (x + all > room) {
        rows.push([]);
        x = 0;
      }
      rows.at(-1).push({ ...entry, x, wide });
      x += all;
    }
    return rows;
  }

  async function save() {
    const named = [data.title || "embedding", data.steps.length > 1 ? view.stepName() : ""].join(" ").toLowerCase();
    const plain = named.replace(/(\d),(?=\d)/g, "$1").replace(/[^\p{L}\p{N}]+/gu, "-"); // 1,371 is a number
    const name = plain.replace(/^-+|-+$/g, "").slice(0, 80);
    const href = URL.createObjectURL(await picture().convertToBlob());
    h("a", { href, download: `${name}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }

  on(ui.save, "click", save);

  function stop() {
    for (const timer of [settling, saying]) clearTimeout(timer);
    for (const frame of [travelling, gliding]) cancelAnimationFrame(frame);
    words.stop();
  }

  return { arrange, ends, nameStep, describe, measure, draw: drawMaps, travel, reveal, fillTools, where, goTo, say, stop };
}
