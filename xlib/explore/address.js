// On pages: what is chosen stands in the address, such as #step=4&query=cat, so that a view can be shared. Where a page
// has several explorers, each has its number before its names: #2.step=4. An address can hold anything: what does not
// fit is left out, and an anchor such as #some-heading is none of this.

const WRITE = 300; // ms after the last change, until the address follows
const MOST_SHARED = 400; // items selected that an address holds
const PAGES = '.xlib-kernelless[data-kind="explorer"]';
const SHARED = ["projection", "compare", "among", "step", "query", "listing", "selected", "words", "tab", "zoom", "centre"];
const LINK_MARKUP = `
  <input data-ui="link" class="link" type="text" readonly aria-label="Link to this view" hidden>`;

let addressee = null; // the place that the address is about, until it has started

/** What an explorer's names begin with in its page's address. */
function prefixIn(place) {
  const places = [...document.querySelectorAll(PAGES)];
  return places.length > 1 ? `${places.indexOf(place) + 1}.` : "";
}

/** What the address says of a place: name → text; null where it says nothing. */
function addressed(place) {
  if (!location.hash.includes("=")) return null; // an anchor
  const prefix = prefixIn(place);
  const ours = ([name]) => name.startsWith(prefix) && SHARED.includes(name.slice(prefix.length));
  const found = [...new URLSearchParams(location.hash.slice(1))].filter(ours);
  return found.length ? Object.fromEntries(found.map(([name, text]) => [name.slice(prefix.length), text])) : null;
}

/** Bring the explorer into view that the address is about, unless the page is only loaded again; that starts it, too. */
function arrive() {
  const bring = () => {
    addressee = [...document.querySelectorAll(PAGES)].find(addressed);
    addressee?.scrollIntoView();
  };
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") bring();
  addEventListener("hashchange", bring);
}

function createAddress(view, maps, place) {
  const { data, ui, get, set, on } = view;
  const prefix = prefixIn(place);
  let [timer, start, touched] = [0, null, false];

  // ---- from what is chosen to an address

  function chosen() {
    const { zoom, centre } = maps.where();
    const selected = view.selected();
    return {
      ...Object.fromEntries(["projection", "compare", "among", "step", "query", "listing"].map((name) => [name, get(name)])),
      selected: selected.length > MOST_SHARED ? "" : selected.join(),
      words: get("words") ? "on" : "off",
      tab: view.tab,
      zoom: zoom === 1 ? 1 : zoom.toFixed(3),
      centre: zoom === 1 ? "" : centre.map((v) => v.toFixed(4)).join(),
    };
  }

  /** The page's address with what has been chosen since it was opened. */
  function link() {
    const text = (value) => encodeURIComponent(value).replaceAll("%2C", ",").replaceAll("%20", "+");
    const now = chosen();
    const changed = SHARED.filter((name) => String(now[name]) !== String(start[name]));
    const hash = changed.map((name) => `${prefix}${name}=${text(now[name])}`).join("&");
    return location.href.split("#")[0] + (hash && `#${hash}`);
  }

  function write() {
    const to = link();
    if (to === location.href) return;
    try {
      history.replaceState(history.state, "", to); // no entry more for the back button
    } catch {
      // a page that has no address of its own, such as one within another
    }
  }

  // ---- from an address to what is chosen

  const one = (text, options) => (options.includes(text) ? text : undefined);
  const whole = (text, most) => (/^\d{1,9}$/.test(text) ? Math.min(+text, most) : undefined);
  const offered = (select) => [...select.options].filter((option) => !option.disabled).map((option) => option.value);
  const rows = (text) => [...new Set(text.split(",").slice(0, MOST_SHARED).map((part) => whole(part, Infinity)))];
  const READ = {
    projection: (text) => one(text, offered(ui.projection)),
    compare: (text) => one(text, offered(ui.compare)),
    among: (text) => one(text, ["", "all", "other"]),
    step: (text) => whole(text, data.steps.length - 1),
    query: (text) => text.slice(0, 200),
    listing: (text) => one(text, ["", "pairs", "hubs"]),
    selected: (text) => rows(text).filter((i) => i < data.n),
    words: (text) => ({ on: true, off: false })[text],
  };

  /** Choose what the address says, and for all else what the page came with. */
  function read() {
    const said = addressed(place);
    if (!said) return;
    const asked = { ...start, ...said };
    const text = (name) => String(asked[name]);
    const values = Object.entries(READ).map(([name, f]) => [name, f(text(name)) ?? f(String(start[name]))]);
    set(Object.fromEntries(values));
    const [zoom, ...centre] = [text("zoom"), ...text("centre").split(",")].map(Number);
    view.onTab("map"); // where zooming finds its size
    maps.goTo(Number.isFinite(zoom) ? zoom : 1, centre.every(Number.isFinite) ? centre : []);
    view.onTab(one(text("tab"), ["map", "matrix", "table"]) ?? "map");
  }

  // ---- the button

  async function copy() {
    touched = true;
    write();
    const text = link();
    const left = view.selected().length > MOST_SHARED;
    try {
      await navigator.clipboard.writeText(text); // which not all pages may use
      maps.say(left ? "Copied, but for the many items selected" : "Copied");
    } catch {
      ui.link.value = text;
      ui.link.hidden = false;
      ui.link.select(); // for Ctrl and C
    }
    ui.live.textContent = ui.link.hidden ? "Link copied" : "";
  }

  on(ui.copy, "click", copy);
  on(ui.link, "blur", () => (ui.link.hidden = true));
  on(ui.link, "keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    ui.copy.focus();
  });
  // Only what somebody does here changes the address: not what a page does by itself, nor scrolling past.
  const meant = (event) => event.isTrusted && (event.type !== "wheel" || event.ctrlKey || event.metaKey);
  for (const type of ["pointerdown", "keydown", "input", "wheel"])
    on(ui.root, type, (event) => (touched ||= meant(event)), { capture: true, passive: true });
  on(window, "hashchange", read);

  /** Something may have been chosen. */
  function follow() {
    if (!touched || !start) return;
    clearTimeout(timer);
    timer = setTimeout(write, WRITE);
  }

  function begin() {
    start = chosen();
    read();
    if (addressee !== place) return;
    place.scrollIntoView(); // again, now that it has its height
    addressee = null;
  }

  const stop = () => clearTimeout(timer);
  return { begin, follow, stop };
}
