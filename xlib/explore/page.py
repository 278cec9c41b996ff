"""Explorers outside a notebook: the same front end in a page that needs neither a kernel nor a network."""

import base64
import gzip
import html
import io
import json

import numpy as np

from xlib._files import written_whole
from xlib.explore import static
from xlib.progress import tqdm

# What the front end asks of a widget's model, without a kernel behind it.
MODEL = """
async function modelOf(state, bytes) {
  for (const [name, text] of Object.entries(bytes)) {
    const packed = new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]);
    const data = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    const path = name.split("/");
    path.slice(0, -1).reduce((node, key) => node[key], state)[path.at(-1)] = new DataView(data);
  }
  const listeners = {};
  return {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      for (const f of listeners[`change:${name}`] ?? []) f();
    },
    save_changes() {},
    on: (event, f) => (listeners[event] ??= []).push(f),
  };
}
for (const el of document.querySelectorAll(".xlib-kernelless")) {
  const { state, bytes } = JSON.parse(el.querySelector("script").textContent);
  const model = await modelOf(state, bytes);
  el.replaceChildren();
  render({ model, el });
}"""
BLOCK = 1_000_000  # numbers in a block of cosines: 4 MB
# Nothing but what is in the file can run or be loaded.
POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write(path, explorer):
    """Write one self-contained page to path, all of it or nothing."""
    title = html.escape(explorer.model.title or "Embedding explorer")
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 16px auto; max-width: 1100px; padding: 0 12px; background: Canvas; color: CanvasText; }}
h1 {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
{stylesheet(explorer)}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body(explorer)}
</main>
<script type="module">
{script(explorer)}
</script>
</body>
</html>
"""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def stylesheet(explorer):
    return str(explorer._css)


def script(explorer):
    """The front end, and what starts it in each `body` of the page."""
    return str(explorer._esm) + MODEL


def body(explorer):
    """The place of one explorer on a page, with its state; what is data stays data, whatever its captions hold."""
    state, found = {}, {}
    # What was typed needs an encoder; everything else that is chosen stays chosen.
    changed = {"offline": offline(explorer.model), "typed": "", "landed": {}, "refused": ""}
    for name, value in (explorer.get_state() | changed).items():
        if not name.startswith("_") and name not in ("layout", "tabbable", "tooltip", "comm"):
            state[name] = _split(value, name, found)
    data = json.dumps({"state": state, "bytes": found}).replace("<", "\\u003c")
    still = io.BytesIO()
    static.picture(explorer.model).save(still, "WEBP")
    picture = base64.b64encode(still.getvalue()).decode()
    alt = html.escape(explorer.alt_text)
    return (
        f'<div class="xlib-kernelless"><script type="application/json">{data}</script>'
        f'<noscript><img alt="{alt}" src="data:image/webp;base64,{picture}"></noscript></div>'
    )


def _split(value, path, found):
    """value without its bytes, which go to `found` under their path, packed into text."""
    if isinstance(value, dict):
        return {key: _split(inner, f"{path}/{key}", found) for key, inner in value.items()}
    if isinstance(value, bytes):
        found[path] = base64.b64encode(gzip.compress(value, mtime=0)).decode()
        return None
    return value


def offline(model):
    """What a kernel would have answered: for each item its neighbours at the last snapshot, among all and among the
    other modality, and how many of them are also nearest on each map; its ranks; each step's alternative text."""
    step, n = len(model.steps) - 1, len(model.captions)
    rows, cosines = np.full((2, n, model.k), -1, "<i4"), np.zeros((2, n, model.k), "<i2")
    agree = {name: np.zeros((2, n), "<i4") for name in model.layouts}
    ranks = np.zeros((n, 2), "<i4")
    for start in tqdm(range(0, n, size := max(1, BLOCK // n)), desc="neighbours", leave=False, delay=1):
        here = np.arange(start, min(start + size, n))
        ranks[here] = model.pair_ranks(here, step)
        for a, among in enumerate(("all", "other")):
            others = model.others(here, among)
            if not others.any():
                continue
            rows[a, here], found = model.retrieve(model.unit[step][here], others, step)
            cosines[a, here] = (found * 10_000).round()
            for name, layout in model.layouts.items():
                places = layout.frames[step, here]
                agree[name][a, here] = model.agreeing(rows[a, here], others, step, layout, places)
    return {
        "rows": rows.tobytes(),
        "cosines": cosines.tobytes(),
        "agree": {name: counts.tobytes() for name, counts in agree.items()},
        "trust": {name: model.trustworthiness(name, step) for name in model.layouts},
        "ranks": ranks.tobytes(),
        "texts": {name: [model.describe(step, name) for step in range(step + 1)] for name in model.layouts},
    }
