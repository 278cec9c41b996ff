// What stands in for a kernel on a page: it starts what is at each place, `.xlib-kernelless`, when that comes near the
// window, with the state that came in the page or lies in a script beside it (fetch may read no file from file://).

const NEAR = "1200px"; // from the window's edge, where a place is started
const CAME = (globalThis.xlibCame ??= {}); // key of a script that lies beside the page: what it has brought, or who waits

/** What came with a place under a name: in the page, or in a script that is loaded now, once. Null without it. */
function brought(place, name) {
  const script = place.querySelector(`:scope > script.xlib-${name}`);
  if (!script) return Promise.resolve(null);
  const { key, src } = script.dataset;
  if (!src) return Promise.resolve(JSON.parse(script.textContent));
  return (CAME[key] ??= new Promise((resolve, reject) => {
    const loaded = document.createElement("script");
    loaded.src = src;
    loaded.onload = () => resolve(CAME[`${key}:data`]);
    loaded.onerror = () => {
      delete CAME[key]; // who asks again tries again
      reject(new Error(`${src} cannot be loaded`));
    };
    document.head.append(loaded);
  }));
}

/** `{ state, bytes }` as page.py packs it, unpacked: bytes become DataViews. */
async function unpackedState({ state: packedState, bytes }) {
  const state = structuredClone(packedState); // another place may show the same
  for (const [name, text] of Object.entries(bytes)) {
    const packed = new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]);
    const data = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    const path = name.split("/");
    path.slice(0, -1).reduce((node, key) => node[key], state)[path.at(-1)] = new DataView(data);
  }
  return state;
}

/** What the front ends ask of a widget's model; `more(name)` gives what else came with its place, see `place`. */
function modelOf(state, more) {
  const listeners = {};
  const tell = (event) => { for (const f of [...(listeners[event] ?? [])]) f(); };
  return {
    more,
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      tell(`change:${name}`);
      tell("change");
    },
    save_changes() {},
    on: (event, f) => (listeners[event] ??= []).push(f),
    off(event, f) { listeners[event] = (listeners[event] ?? []).filter((g) => g !== f); },
  };
}

/** At each place of this kind: begin(place), once, as soon as it is near the window or somebody asks for it. */
function atEachPlace(kind, begin) {
  const watch = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) if (isIntersecting) go(target);
  }, { rootMargin: NEAR });
  function go(place) {
    if (place.dataset.started) return;
    place.dataset.started = "";
    watch.unobserve(place);
    begin(place);
  }
  for (const place of document.querySelectorAll(`.xlib-kernelless[data-kind="${kind}"]`)) {
    place.addEventListener("xlib-start", () => go(place));
    watch.observe(place);
  }
}

/** Start a face, as the modules export it, at each place of a kind; `arrive` follows an address to one of them. */
function startEach(kind, { render, arrive }) {
  atEachPlace(kind, async (place) => {
    const state = await unpackedState(await brought(place, "state"));
    place.replaceChildren(...place.querySelectorAll(":scope > script"));
    const el = place.appendChild(document.createElement("div"));
    render({ model: modelOf(state, (name) => brought(place, name)), el });
  });
  arrive?.();
}
