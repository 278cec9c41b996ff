"""What is wrong with a panel's picture, said in words: numbers nobody wants to read, marks off their axes, texts on
each other, colours without a name. `check_scene` looks at one picture, `walk` at all that a panel's corners show.
"""

import copy
import itertools
import math
import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import traitlets as T

from xlib.explore import scene as drawing
from xlib.explore.looks import OKABE_ITO as PALETTE

UNREADABLE = re.compile(
    r"(?<![\w.])[-−]0(\.0+)?(?![\w.])|\b(nan|inf|infinity|None|undefined)\b|\de[-+−]?\d", re.IGNORECASE
)
NAMES = {"ink", "soft", "faint", "paper", *PALETTE} - {"#000000"}  # black is gone in the dark; the theme has "ink"
NEAR = 26  # pixels: a text at most this far away names a point or a line
CORNERS = list(itertools.product((0, 1), (0, 1)))


def check_scene(data, widths=(720, 390)):
    """AssertionError with all that is wrong with a scene's `data()`, drawn at these widths."""
    found = faults(data, widths)
    assert not found, "\n".join(found)


def walk(panel, **corners):
    """AssertionError with all that is wrong with a panel anywhere at the ends of its controls and handles.

    corners: {name of a trait: values to try}, beside the controls or instead of a control's ends. All combinations
    are tried where there are at most 64, else one trait at a time. Each handle goes to each corner of the first axes.
    """
    model, found = panel.model, {}
    ends = {control["name"]: _ends(control) for control in panel.controls} | corners
    first = {name: getattr(model, name) for name in [*ends, *(trait for trait, *_ in panel.handles)]}

    def visit(**some):
        state = first | some
        try:
            for name, value in state.items():
                setattr(model, name, float(value) if isinstance(model.traits()[name], T.Float) else value)
            words = panel.alt_text  # first: it sees to it that the scene is the model's
            new = faults(panel.scene) + [f"the words have {hit!r}: {words}" for hit in unreadable(words)]
        except Exception as error:
            new = [f"{type(error).__name__}: {error}"]
        where = ", ".join(f"{name} = {value}" for name, value in some.items()) or "as it begins"
        for fault in new:
            found.setdefault(fault, where)

    visit()
    if math.prod(map(len, ends.values())) <= 64:
        states = [dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values())]
    else:
        states = [{name: value} for name, values in ends.items() for value in values]
    for state in states:
        visit(**state)
    for trait, names, _ in panel.handles:
        for i, corner in itertools.product(range(len(names)), CORNERS):
            visit()
            axes = panel.scene["axes"][0]
            spot = [axes[side][("low", "high")[end]] for side, end in zip("xy", corner, strict=True)]
            visit(**{trait: [spot if n == i else pair for n, pair in enumerate(first[trait])]})
    visit()
    lines = [f"{fault} (with {where})" for fault, where in found.items()]
    assert not found, "\n".join(lines[:40] + [f"and {len(lines) - 40} more"] * (len(lines) > 40))


def _ends(control):
    if control["kind"] == "check":
        return [False, True]
    if control["kind"] == "words":
        return control["options"]
    if "options" in control:
        return [control["options"][0], control["options"][-1]]
    return [control["least"], control["most"]]


def unreadable(words):
    """The parts of a text such as "-0.00", "nan" or "3.2e+02"."""
    return [hit.group() for hit in UNREADABLE.finditer(words)]


def faults(data, widths=(720, 390)):
    """All that is wrong with a scene, a line each."""
    if not data:
        return ["there is no picture"]
    found = []
    for n, axes in enumerate(data["axes"]):
        found += [f"axes {n}: {fault}" for fault in _off(axes) + _colours(axes)]
    for width in widths:
        found += [f"{width} px wide: {fault}" for fault in _texts(data, width)]
    return list(dict.fromkeys(found))


# ---- in data: what is off its axes, and its colours --------------------------------------------------------------


def _off(axes):
    """Marks that stand outside. Lines, areas and pictures are cut off at the edge, and may run on."""
    ends = {
        "points": [("x", "y")],
        "segments": [("x0", "y0"), ("x1", "y1")],
        "rectangle": [("x0", "y0"), ("x1", "y1")],
    }
    ticks = [(side, value, words) for side in "xy" for value, words in axes[side]["ticks"]]
    found = [f"tick {words!r} is off its axis" for side, value, words in ticks if not _within(axes[side], value)]
    for side in "xy":
        held = axes[side]
        if len(held["ticks"]) == 1 and held["ticks"][0][1] == drawing._round(held["ticks"][0][0]):
            found.append(f"one tick, {held['ticks'][0][1]}, says nothing of the scale of {side}")
    for mark in axes["marks"]:
        kind = mark["mark"]
        if kind == "bars":
            sides = ("y", "x") if mark["across"] else ("x", "y")
            values = [(sides[0], at) for at in mark["at"]] + [(sides[1], to) for to in mark["to"] if to is not None]
            values.append((sides[1], mark["start"]))
        else:
            values = [(name[0], v) for pair in ends.get(kind, ()) for name in pair for v in mark[name]]
        for side, value in values:
            if not _within(axes[side], value):
                found.append(f"{kind} at {side} = {value:g}, outside {axes[side]['low']:g} to {axes[side]['high']:g}")
    return found


def _within(axis, value):
    share = drawing._share(axis, value) if not axis["log"] or value > 0 else -1
    return -0.005 <= share <= 1.005


def _colours(axes):
    named = [mark["colour"] for mark in axes["marks"] if "colour" in mark]
    flat = {one for colour in named for one in ([colour] if isinstance(colour, str) else colour)}
    return [f"colour {one} is neither Okabe–Ito nor a name of the theme" for one in sorted(flat - NAMES)]


# ---- in pixels: texts ---------------------------------------------------------------------------------------------


@dataclass
class Box:
    """Where a text is in the picture, about."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other):
        return (
            min(self.x1, other.x1) - max(self.x0, other.x0) > 1
            and min(self.y1, other.y1) - max(self.y0, other.y0) > 1
        )

    def wider(self, by):
        return Box(self.text, self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)

    def holds(self, x0, y0, x1, y1):
        """Whether any part of the segment lies inside (Liang and Barsky)."""
        enter, leave = 0.0, 1.0
        for start, end, low, high in ((x0, x1, self.x0, self.x1), (y0, y1, self.y0, self.y1)):
            if start == end:
                if not low < start < high:
                    return False
                continue
            near, far = sorted(((low - start) / (end - start), (high - start) / (end - start)))
            enter, leave = max(enter, near), min(leave, far)
        return enter < leave or (enter == leave and (x0, y0) == (x1, y1))


def _box(element):
    _, about, text = element
    size = sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)
    across = size * drawing.CHARACTER * (1.05 if "font-weight" in about else 1)
    left = about["x"] - across * {"start": 0, "middle": 0.5, "end": 1}[about["text-anchor"]]
    box = Box(text, left, about["y"] - 10, left + across, about["y"] + 3)
    if "transform" not in about:
        return box
    x, y = (float(v) for v in about["transform"].removeprefix("rotate(-90 ").removesuffix(")").split())
    return Box(text, x + box.y0 - y, y - box.x1 + x, x + box.y1 - y, y - box.x0 + x)  # a quarter turn to the left


def _texts(data, width):
    plain = copy.deepcopy(data)
    for axes in plain["axes"]:  # no text, and slow
        axes["marks"] = [mark for mark in axes["marks"] if mark["mark"] not in ("field", "picture")]
    height, elements = drawing.elements(plain, width, drawing.LIGHT)
    _, places = drawing.layout(plain, width)
    boxes = [_box(element) for element in elements if element[0] == "text" and element[2].strip()]
    found = [f"{box.text!r} has {hit!r}" for box in boxes for hit in unreadable(box.text)]
    for box in boxes:
        if box.x0 < -2 or box.y0 < -2 or box.x1 > width + 2 or box.y1 > height + 2:
            found.append(f"{box.text!r} is partly outside the picture")
    found += [f"{a.text!r} is on {b.text!r}" for a, b in itertools.combinations(boxes, 2) if a.meets(b)]
    for n, (axes, place) in enumerate(zip(plain["axes"], places, strict=True)):
        if place["width"] < 60 or place["height"] < 60:
            found.append(f"axes {n} are only {place['width']:.0f} × {place['height']:.0f} px")
            continue
        pen = drawing._Pen(axes, place, drawing.LIGHT)
        for mark in axes["marks"]:
            if (mark["mark"] == "segments" and not mark["arrow"]) or (mark["mark"] == "line" and mark["dash"]):
                struck = {
                    box.text for box in boxes for part in _paths(mark, pen, place) if box.wider(-2).holds(*part)
                }
                found += [f"{text!r} is struck by a {mark['colour']} line" for text in sorted(struck)]
        found += [f"axes {n}: {fault}" for fault in _unnamed(data, axes, pen, place)]
    return found


def _paths(mark, pen, place):
    """The straight pieces of a line or of segments, in pixels; those of a line are cut at the edge of the axes."""
    if mark["mark"] == "segments":
        ends = zip(mark["x0"], mark["y0"], mark["x1"], mark["y1"], strict=True)
        return [(pen.x(x0), pen.y(y0), pen.x(x1), pen.y(y1)) for x0, y0, x1, y1 in ends]
    points = [
        None if None in pair else (pen.x(pair[0]), pen.y(pair[1])) for pair in zip(mark["x"], mark["y"], strict=True)
    ]
    parts = [(*a, *b) for a, b in itertools.pairwise(points) if a and b]
    right, low = place["left"] + place["width"], place["top"] + place["height"]
    return [
        part for x0, y0, x1, y1 in parts if (part := _cut(x0, y0, x1, y1, place["left"], place["top"], right, low))
    ]


def _cut(x0, y0, x1, y1, left, top, right, low):
    enter, leave = 0.0, 1.0
    for start, step, least, most in ((x0, x1 - x0, left, right), (y0, y1 - y0, top, low)):
        if not step:
            if not least <= start <= most:
                return None
            continue
        near, far = sorted(((least - start) / step, (most - start) / step))
        enter, leave = max(enter, near), min(leave, far)
    if enter > leave:
        return None
    return x0 + enter * (x1 - x0), y0 + enter * (y1 - y0), x0 + leave * (x1 - x0), y0 + leave * (y1 - y0)


def _unnamed(data, axes, pen, place):
    """Looks of points and lines that neither the legend nor a text beside them explains."""
    labelled = {look for part in data["axes"] for mark in part["marks"] if mark.get("label") for look in _looks(mark)}
    writing = [
        e for mark in axes["marks"] if mark["mark"] in ("text", "bars") for e in getattr(pen, mark["mark"])(mark)
    ]
    texts = [_box(element) for element in writing if element[0] == "text"]
    named = {}
    for mark in axes["marks"]:
        for i, look in enumerate(_looks(mark)):
            if mark["mark"] == "points":
                parts = [(pen.x(mark["x"][i]), pen.y(mark["y"][i])) * 2]
            else:
                parts = _paths(mark, pen, place)
            beside = any(box.wider(NEAR).holds(*part) for box in texts for part in parts)
            named[look] = named.get(look, False) or look in labelled or beside or not parts
    if len(named) < 2:
        return []
    return [f"nothing says what {' '.join(look)} stands for" for look, known in sorted(named.items()) if not known]


def _looks(mark):
    """How each point of a mark, or a line, looks; a faint one is a ground to read others by."""
    if mark["mark"] == "line":
        return [] if mark["colour"] == "faint" else [(mark["colour"], "dashed line" if mark["dash"] else "line")]
    if mark["mark"] != "points":
        return []
    colours = [mark["colour"]] * len(mark["x"]) if isinstance(mark["colour"], str) else mark["colour"]
    return [(colour, "hollow " * mark["hollow"] + mark["shape"]) for colour in colours]


def every_mark(seed):
    """A scene's data with each mark at least once, at random places."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-2, 2, 6))
    scene = drawing.Scene(height=int(rng.integers(280, 420)))
    left, middle, right = scene.axes(1, 1.5, rng.uniform(0.8, 1.2))
    look = {"xlabel": "across & over", "title": "A <title> that is long enough to be broken into lines 🐱"}
    left.set(x=(-2, 2), y=(3, -1), ylabel="down", equal=bool(seed % 2), **look)
    left.points(x, rng.uniform(-1, 3, 6), colour="#0072B2", label="pictures 🐶", hollow=bool(seed % 3))
    for shape in "sD^*x":
        left.points(
            x[:2], x[:2], shape=shape, size=rng.uniform(3, 9), colour=["soft", "#E69F00"], label=f"shape {shape}"
        )
    left.line(x, np.where(rng.random(6) < 0.3, np.nan, x), colour="#009E73", dash=bool(seed % 2), label="a line")
    left.line([-9, 9], [9, -9], colour="faint")
    left.segments(0, 0, rng.uniform(-2, 2), rng.uniform(-1, 3), arrow=True, width=2)
    left.segments([0, 1], [0, 0], [0, 1.0001], [1, 0], arrow=bool(seed % 2), colour=["ink", "#D55E00"])
    left.circle(0, 1, rng.uniform(0.2, 1), dash=True).box(-1, 0, 1, 2, filled=bool(seed % 3), colour="#CC79A7")
    left.text(x[:2], x[:2], ["−0.5", "é"], colour=["ink", "soft"], dx=3, dy=-4, bold=True).pick(x=("a", {0: 1}))
    left.area(x, x - 1, x + 1, colour="#56B4E9", label="spread")
    middle.set(x=(0.01, 1000), y=(1, 64), xlog=True, ylog=True, yticks={1: "one\nonly", 64: "64"}, xticks=[0.1, 100])
    middle.line(10.0**x, 4.0 ** (x + 2) / 4 + 1).points(10.0**x, np.full(6, 8))
    right.set(x=(-3, 3), y=(-0.5, 4.5), xticks=[], yticks=[])
    right.cells(rng.normal(size=(2, 2)), low=-1, high=1, texts=[["a", "b"], ["c", "d"]])
    right.bars(range(3), rng.uniform(-2, 2, 3), across=True, texts=["1", "2", "3"], hatched=[True, False, True])
    right.bars([1, 2], [np.nan, rng.uniform(0, 4)], start=2, colour=["#F0E442", "#0072B2"], texts=["", "up"])
    right.picture(rng.random((4, 5, 3)), x=(1, 2), y=(3, 4))
    plane = {"x": (-3, -2), "y": (0, 2), "colours": "magma", "smooth": bool(seed % 2)}
    right.field(x[:, None] * x, low=-1, high=1, **plane)
    return scene.data()
