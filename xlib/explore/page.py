"""Explorers outside a notebook: the same front end in a page that needs neither a kernel nor a network."""

import base64
import gzip
import html
import io
import json
from pathlib import Path

import numpy as np

from xlib._files import written_whole
from xlib.explore import static
from xlib.progress import tqdm

HERE = Path(__file__).parent
START = (HERE / "page.js").read_text("utf-8")
BLOCK = 1_000_000  # numbers in a block of cosines: 4 MB
# Nothing but what is in the file can run or be loaded.
POLICY = (
    "default-src 'none'; img-src data: blob:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def write(path, explorer, pad=None):
    """Write one self-contained page to path, all of it or nothing. pad: a drawing pad, to stand beneath."""
    beneath = {"style": "", "body": "", "script": ""}
    if pad is not None:
        if not hasattr(pad, "body"):
            raise TypeError(f"pad must be a Pad, as xlib.explore.pad makes it, got {type(pad).__name__}")
        space = '<div style="height: 16px"></div>'
        beneath = {"style": stylesheet(pad), "body": space + pad.body(), "script": script(pad, "pad")}
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
{stylesheet(explorer)}{beneath["style"]}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body(explorer)}{beneath["body"]}
</main>
<script>
{script(explorer)}{beneath["script"]}
</script>
</body>
</html>
"""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def stylesheet(widget):
    return str(widget._css)


def script(widget, kind="explorer"):
    """The front end of a kind of widget and what starts it at each `place` of a page: a script that needs no module,
    so that a page may load it from beside itself, from file:// too."""
    module = str(widget._esm).replace("export default", "const FACE =", 1)
    return f'(() => {{\n"use strict";\n{module}\n{START}\nstartEach("{kind}", FACE);\n}})();\n'


def body(explorer):
    """The place of one explorer on a page, with its state; what is data stays data, whatever its captions hold."""
    # What was typed needs an encoder; everything else that is chosen stays chosen.
    changed = {"offline": offline(explorer.model), "typed": "", "landed": {}, "refused": ""}
    changed |= {"heard": {}, "spoken": b""}
    still = io.BytesIO()
    static.picture(explorer.model).save(still, "WEBP")
    picture = base64.b64encode(still.getvalue()).decode()
    alt = html.escape(explorer.alt_text)
    return place("explorer", f'<img alt="{alt}" src="data:image/webp;base64,{picture}">', state_of(explorer, changed))


def place(kind, still, state, **more):
    """Where a widget starts on a page, see page.js. still: its picture, as HTML, for until then and for where no
    script runs. state: `state_of` it. more: what else it has, each in a script of its own, of class xlib-NAME."""
    data = {"state": state} | more
    scripts = "".join(
        f'<script type="application/json" class="xlib-{name}">{_json(value)}</script>' for name, value in data.items()
    )
    return f'<div class="xlib-kernelless" data-kind="{kind}">{scripts}{still}</div>'


def state_of(widget, changed=None):
    """{"state", "bytes"}: what the browser knows of a widget, for `place`. changed: traits that differ there."""
    state, found = {}, {}
    for name, value in (widget.get_state() | (changed or {})).items():
        if not name.startswith("_") and name not in ("layout", "tabbable", "tooltip", "comm"):
            state[name] = _split(value, name, found)
    return {"state": state, "bytes": found}


def _json(value):
    return json.dumps(value).replace("<", "\\u003c")


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
