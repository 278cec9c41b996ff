"""The panels of all lessons, each as the lesson's own cells make it, over small models that are not trained."""

import contextlib
import functools
import json
import re

import pytest
import torch
from lessons import NOTEBOOKS
from torch import nn

from xlib.experiments.speech import heard


def run(lesson, scope, *cells):
    """Run these cells of a lesson in scope, one after the other."""
    notebook = json.loads((NOTEBOOKS / f"{lesson}.ipynb").read_text("utf-8"))
    sources = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    for cell in cells:
        code = re.sub(r"(?m)^(\s*)%.*$", r"\1pass", sources[cell])
        with contextlib.redirect_stdout(None):
            exec(compile(code, f"<{cell} in {lesson}>", "exec"), scope)
    return scope


@functools.cache
def shared_space():
    cells = ("arrows-panel", "arrows-draw", "two-encoders", "cosine-definition", "hubs", "gap-made", "gap-moved")
    return run("01_shared_space", start(), "set-up", *cells, "gap-panel", "gap-draw", "turn-panel", "turn-draw")


@functools.cache
def infonce():
    scope = run("02_infonce", start(), "set-up", "circle-model", "circle-panel", "circle-show", "pairs")
    scope["base"] = encoders(scope["numbers"], len(scope["VOCABULARY"]))
    cells = ("temperature-batch", "temperature-draw", "temperature-show", "bound-channels", "bound-measure")
    return run("02_infonce", scope, *cells, "bound-panel")


@functools.cache
def clip():
    cells = ("first-look-model", "first-look-panel", "data-picture", "train-parts", "play-panel", "play-panel-draw")
    return run("03_clip", start(), "set-up", *cells, "play-panel-show")


@functools.cache
def mmd():
    scope = run("04_mmd", start(), "set-up", "drag-model", "drag-draw", "drag-panel")
    rates = [0.95, 0.949, 0.952, 0.95, 0.942, 0.932, 0.905, 0.827, 0.707, 0.597, 0.494]
    along = {s / 10: {"accuracy": rate, "MMD²": s * s / 500, "p": 0.2 / (1 + s)} for s, rate in enumerate(rates)}
    return run("04_mmd", scope | {"along": along, "falls": 0.7}, "dial-draw", "dial-panel")


@functools.cache
def dann():
    scope = run("05_dann", start(), "set-up", "first-look-model", "first-look-panel", "moons-picture")
    names = ("source only", "together", "reversal")
    row = {"source": 0.9, "target": 0.7, "A-distance": 1.5}
    parts = {"features": nn.Sequential(nn.Linear(2, 8), nn.ReLU()), "label": nn.Linear(8, 2)}
    scope["train_moons"] = lambda *options, **more: (nn.ModuleDict(parts), [])
    scope |= {"moon_runs": {name: scope["train_moons"]() for name in names}, "moons": dict.fromkeys(names, row)}
    scope |= {"measure": lambda model: row, "of_moons": lambda run, score: [0.7, 0.8, 0.9]}
    return run("05_dann", scope, "play-panel", "play-show")


@functools.cache
def combined():
    scope = run("06_combined", start(), "set-up", "first-look-panel", "data-picture", "map-panel", "map-draw")
    scope |= {"STRENGTH": 0.6, "model": None, "own": {"DANN 0.3": {"target seen": 0.31}}}
    return run("06_combined", scope, "map-retrain", "map-panel-run")


@functools.cache
def scaling():
    scope = run("07_scaling", start(), "set-up", "first-look-model", "first-look-panel", "play-counts", "play-words")
    scope["measured"] = {(4096, 128, way): seconds for way, seconds in (("table", 0.2), ("tiles", 0.3))}
    return run("07_scaling", scope, "play-panel", "play-show")


@functools.cache
def sound():
    """With the clips that come along, of the same voices on all machines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xlib.data.speech.missing", lambda: "a test wants it so")
        patch.setattr("xlib.data.speech._say_once", lambda reason: None)
        cells = ("first-look-sounds", "mel-panel", "baseline-run", "bridge-draw", "bridge-panel")
        heard.cache_clear()
        scope = run("08_sound", start(), "set-up", *cells)
        scope["towers"] = scope["three_towers"](0).eval()
        run("08_sound", scope, "asif-model", "asif-panel")
        heard.cache_clear()
    return scope


@functools.cache
def your_own():
    return run("09_your_own", start(), "set-up", "folder", "check-run", "twins-panel")


def start():
    return {"display": lambda *shown: None}  # IPython's


def encoders(numbers, words):
    from xlib.encoders import ImageEncoder, TextEncoder

    torch.manual_seed(0)
    return nn.ModuleDict({"image": ImageEncoder((16, 32)), "text": TextEncoder(words)}).eval()


# Each panel's lesson and its name there.
PANELS = {
    "01 arrows": (shared_space, "arrows_panel"),
    "01 gap": (shared_space, "gap_panel"),
    "01 turn": (shared_space, "turn_panel"),
    "02 circle": (infonce, "circle_panel"),
    "02 table": (infonce, "table_panel"),
    "02 bound": (infonce, "bound_panel"),
    "03 four": (clip, "four_panel"),
    "03 batch": (clip, "batch_panel"),
    "04 samples": (mmd, "samples_panel"),
    "04 dial": (mmd, "dial_panel"),
    "05 turned": (dann, "turned_panel"),
    "05 reversal": (dann, "reversal_panel"),
    "06 first": (combined, "first_panel"),
    "06 map": (combined, "map_panel"),
    "07 first": (scaling, "first_panel"),
    "07 plan": (scaling, "plan_panel"),
    "08 moment": (sound, "mel_panel"),
    "08 bridge": (sound, "bridge_panel"),
    "08 anchors": (sound, "asif_panel"),
    "09 twins": (your_own, "twins_panel"),
}


def of_lesson(name):
    """A panel, such as "01 turn". All that ask for it share it."""
    made, variable = PANELS[name]
    return made()[variable]
