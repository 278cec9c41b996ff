"""What a panel shows, as numbers: axes with points, lines, bars, cells, pictures and words on them.

A `Scene` is filled by Python and drawn twice from the same few numbers: in the browser by scene.js, at the width that
is there, and here as the still picture of a page where nothing runs (`svg`). Both make the same tree of SVG elements,
[name, attributes, children or text], and a test holds the two together.
"""

import base64
import io
import itertools
import math
import re
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from PIL import Image

FONT, CHARACTER, LINE = 13, 7.0, 17  # pixels: the size of text, about a character's width, from line to line
NARROW = 560  # below this width axes stand under each other
FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
# What a colour's name means in each theme. The Okabe–Ito colours are lifted where the ground is dark.
LIGHT = {"ink": "#1b1f24", "soft": "#59636e", "faint": "#d0d7de", "paper": "#ffffff"}
DARK = {"ink": "#e6e9ec", "soft": "#a9b2bc", "faint": "#454d56", "paper": "#111111", "#0072B2": "#4fa8e0",
        "#D55E00": "#ff8a3d", "#009E73": "#2fc79a", "#CC79A7": "#e29bc4"}  # fmt: skip


def fixed(value: float, decimals: int = 2, *, sign: bool = False) -> str:
    """A number as it is written in a picture: never "-0.00", a true minus, "–" for what is not a number.

    Example:
        >>> fixed(-0.001), fixed(-1.5, 1), fixed(0.25, sign=True), fixed(float("nan"))
        ('0.00', '−1.5', '+0.25', '–')
    """
    if not math.isfinite(value):
        return "–"
    text = f"{float(value):.{decimals}f}"
    if float(text) == 0:
        return text.removeprefix("-")
    return ("+" if sign and value > 0 else "") + text.replace("-", "−")


class Axes:
    """One pair of axes of a scene; `Scene.axes` makes them. Its methods add what stands on it, the later above.

    Coordinates are data. x, y and all else that is a list may be a tensor, an array or a list. A colour is "ink",
    "soft" (a grey to read), "faint" (a grey to see) or "paper", which follow the theme, or an Okabe–Ito "#rrggbb".
    A `label` puts what is drawn into the legend above the axes.
    """

    def __init__(self, weight=1.0):
        self.held = {"weight": float(weight), "equal": False, "title": "", "marks": [], "pick": {}}

    def set(
        self, *, x, y, xlabel="", ylabel="", title="", xticks=None, yticks=None, xlog=False, ylog=False, equal=False
    ):
        """x, y: (low, high), what the axis spans; low may be the greater. xticks, yticks: values, {value: words}, or
        [] for none; by default round values. xlog, ylog: a logarithmic scale. equal: one scale for both axes."""
        for name, limits, label, ticks, log in (("x", x, xlabel, xticks, xlog), ("y", y, ylabel, yticks, ylog)):
            low, high = (float(end) for end in limits)
            if not (math.isfinite(low) and math.isfinite(high) and low != high) or (log and min(low, high) <= 0):
                raise ValueError(f"{name} must be two different numbers{', above 0' * log}, got {limits}")
            if not isinstance(ticks, dict):
                ticks = _ticks(low, high, log) if ticks is None else {v: _round(v) for v in _numbers(name, ticks)}
            marked = [[float(v), str(words)] for v, words in ticks.items()]
            self.held[name] = {"low": low, "high": high, "log": log, "label": label, "ticks": marked}
        self.held |= {"title": title, "equal": equal}
        return self

    def points(self, x, y, *, colour="ink", shape="o", size=5.0, hollow=False, label=""):
        """shape: o circle, s square, D diamond, ^ triangle, * star, x cross. size: its half, in pixels."""
        return self._add("points", x=x, y=y, colour=colour, shape=shape, size=size, hollow=hollow, label=label)

    def line(self, x, y, *, colour="ink", width=2.0, dash=False, label=""):
        """Through all points in turn; not a number makes a gap."""
        return self._add("line", x=x, y=y, colour=colour, width=width, dash=dash, label=label)

    def segments(self, x0, y0, x1, y1, *, colour="ink", width=1.0, arrow=False):
        """One straight line each, with a head at its end where it is an `arrow`."""
        return self._add("segments", x0=x0, y0=y0, x1=x1, y1=y1, colour=colour, width=width, arrow=arrow)

    def area(self, x, low, high, *, colour="ink", opacity=0.25, label=""):
        """Between two curves over the same x."""
        return self._add("area", x=x, low=low, high=high, colour=colour, opacity=opacity, label=label)

    def bars(self, at, to, *, start=0.0, colour="ink", thick=0.7, across=False, texts=None, hatched=(),
             label=""):  # fmt: skip
        """From `start` to `to`, upwards or `across` to the right, at the positions `at`, `thick` units of them wide.
        texts: words at each end. hatched: which of them are striped, beside their colour."""
        return self._add("bars", at=at, to=to, start=start, colour=colour, thick=thick, across=across,
                         texts=texts or [], hatched=list(hatched), label=label)  # fmt: skip

    def text(self, x, y, text, *, colour="ink", anchor="middle", dx=0.0, dy=0.0, bold=False):
        """Words at each point. anchor: "start", "middle" or "end" of them is there; dx, dy: pixels right and down."""
        text = [text] if isinstance(text, str) else list(text)
        return self._add("text", x=x, y=y, text=text, colour=colour, anchor=anchor, dx=dx, dy=dy, bold=bold)

    def circle(self, x, y, radius, *, colour="soft", width=1.5, dash=False):
        """A ring around a point; the radius is measured on the x axis."""
        return self._add("circle", x=[x], y=[y], radius=radius, colour=colour, width=width, dash=dash)

    def box(self, x0, y0, x1, y1, *, colour="ink", width=2.5, filled=False):
        """A rectangle, only its edge unless it is `filled`."""
        return self._add("rectangle", x0=[x0], y0=[y0], x1=[x1], y1=[y1], colour=colour, width=width, filled=filled)

    def cells(self, values, *, low, high, colours="cividis", texts=None):
        """A small matrix, value (i, j) around x = j, y = i, as coloured squares with words on them.

        values: (rows, columns). low, high: the ends of the colour scale. texts: words for each cell, or None.
        """
        if texts and [len(row) for row in texts] != [len(row) for row in values]:
            raise ValueError(f"texts must be {len(values)} rows as long as those of values, got {texts!r}")
        return self._add("cells", values=values, low=low, high=high, stops=_stops(colours), texts=texts or [])

    def field(self, values, *, low, high, colours, x, y, smooth=True):
        """A function of the plane, or a large matrix: values (rows, columns), row 0 at y[0], the lower edge, and
        column 0 at x[0]. Colours may be see-through, "#rrggbbaa"."""
        return self._add("field", values=values, low=low, high=high, stops=_stops(colours), x=list(x), y=list(y),
                         smooth=smooth)  # fmt: skip

    def picture(self, pixels, *, x, y, smooth=False):
        """pixels: (h, w, 3), (h, w, 4) or (h, w), uint8 or float in [0, 1], row 0 on top. x: left and right edge; y:
        lower and upper."""
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8:
            pixels = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
        return self._add("picture", href=_png(pixels), x=list(x), y=list(y), smooth=smooth)

    def pick(self, *, x=None, y=None):
        """Let a click on the axes set the model: x, y: (trait, {position: value}); the nearest position is taken."""
        for name, (trait, values) in {k: v for k, v in (("x", x), ("y", y)) if v}.items():
            self.held["pick"][name] = [trait, [float(at) for at in values], plain(list(values.values()))]
        return self

    def check_logs(self):
        for axis, names in (("x", ("x", "x0", "x1")), ("y", ("y", "y0", "y1"))):
            for mark in self.held["marks"] if self.held[axis]["log"] else ():
                for value in (v for name in names for v in mark.get(name, ()) if v is not None and v <= 0):
                    raise ValueError(f"{axis} must be above 0 on a logarithmic axis, got {value} for {mark['mark']}")

    def _add(self, mark, **given):
        """Hold the mark as plain numbers and words; ValueError naming what cannot be drawn."""
        for name, value in given.items():
            if name in PLACES and np.ndim(value):
                given[name] = _numbers(name, value, gaps=(mark, name) in GAPS)
            elif name in PLACES and mark not in ("field", "picture", "cells"):
                given[name] = _numbers(name, [value])
            elif name == "colour":
                given[name] = _colour(value)
            else:
                given[name] = plain(value)
        several = {name: value for name, value in given.items() if isinstance(value, list) and name in ALIKE[mark]}
        several = {name: len(value) for name, value in several.items() if value or name in PLACES or name == "text"}
        if len(set(several.values())) > 1:
            raise ValueError(f"{', '.join(several)} must be as many, got {', '.join(map(str, several.values()))}")
        if "stops" in given and not given["low"] < given["high"]:
            raise ValueError(f"low must be below high, got {given['low']} and {given['high']}")
        if given.get("shape", "o") not in SHAPES | {"o": 0, "x": 0}:
            raise ValueError(f"shape must be one of o s D ^ * x, got {given['shape']!r}")
        self.held["marks"].append({"mark": mark, **given})
        return self


class Scene:
    """What is drawn: `axes` beside each other. `data()` is all of it as plain numbers, `svg` its still picture.

    Example:
        >>> scene = Scene()
        >>> scene.axes().set(x=(0, 1), y=(0, 2), xlabel="time").line([0, 1], [0, 2], colour="#0072B2")
        <...Axes object at ...>
        >>> scene.data()["axes"][0]["marks"][0]["y"], svg(scene.data())[:4]
        ([0.0, 2.0], '<svg')
    """

    def __init__(self, height=340):
        self.height, self.parts = height, []

    def axes(self, *weights):
        """One `Axes`, or with several weights a list of them, as wide as their weights say."""
        made = [Axes(weight) for weight in weights or (1,)]
        self.parts += made
        return made if weights[1:] else made[0]

    def data(self):
        """Everything as dictionaries, lists, numbers and strings. ValueError for axes whose limits are not `set`, and
        for what a logarithmic scale cannot show."""
        if not self.parts or any("x" not in part.held for part in self.parts):
            raise ValueError("each axes of a scene needs set(x=(low, high), y=(low, high)), and a scene needs axes")
        for part in self.parts:
            part.check_logs()
        return {"height": self.height, "axes": [part.held for part in self.parts]}


def svg(data, *, width=720, dark=False, colours=None) -> str:
    """The scene as one SVG file, `width` pixels wide, on the theme's own ground.

    colours: what the names of colours mean, where it stands in a page whose style sheet knows the theme.

    Example:
        >>> scene = Scene()
        >>> scene.axes().set(x=(0, 1), y=(0, 1)).text(0.5, 0.5, "1 < 2")
        <...Axes object at ...>
        >>> "1 &lt; 2" in svg(scene.data())
        True
    """
    colours = colours or LIGHT | (DARK if dark else {})
    height, children = elements(data, width, colours)
    ground = ["rect", {"width": width, "height": height, "fill": colours["paper"]}, []]
    about = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "width": width,
             "height": height, "font-family": FAMILY, "font-size": FONT}  # fmt: skip
    return _written(["svg", about, [ground, *children]])


def _written(element):
    name, attributes, inside = element
    texts = {key: f"{v:.2f}" if isinstance(v, float) else str(v) for key, v in attributes.items()}
    found = "".join(f" {key}={quoteattr(text)}" for key, text in texts.items())
    return f"<{name}{found}>{escape(inside) if isinstance(inside, str) else ''.join(map(_written, inside))}</{name}>"


# ---- from numbers to elements: the same, line by line, in scene.js ----------------------------------------------


def elements(data, width, colours):
    """(height, elements) of a scene at a width in pixels. colours: what the names of colours mean."""
    height, boxes = layout(data, width)
    found = []
    for axes, box in zip(data["axes"], boxes, strict=True):
        draw = _Pen(axes, box, colours)
        for mark in axes["marks"]:
            if mark["mark"] in ("field", "cells", "picture", "area"):  # a ground: the frame stands above it
                found += getattr(draw, mark["mark"])(mark)
        found += draw.frame()
        for mark in axes["marks"]:
            if mark["mark"] not in ("field", "cells", "picture", "area"):
                found += getattr(draw, mark["mark"])(mark)
    return height, found


def layout(data, width):
    """(height, boxes): where each axes' inner box lies, as {left, top, width, height, outer: its left and width}."""
    axes, below = data["axes"], width < NARROW
    gap, total = 20, sum(part["weight"] for part in data["axes"])
    left, top, boxes = 0, 0, []
    for part in axes:
        across = width if below else (width - gap * (len(axes) - 1)) * part["weight"] / total
        room = _margins(part, across)
        box = {"left": left + room["left"], "top": top + room["top"], "width": across - room["left"] - room["right"],
               "height": data["height"] - room["top"] - room["bottom"], "outer": [left, across]}  # fmt: skip
        if part["equal"]:
            x, y = (abs(part[name]["high"] - part[name]["low"]) for name in "xy")
            unit = min(box["width"] / x, box["height"] / y)
            box |= {"left": box["left"] + (box["width"] - unit * x) / 2, "width": unit * x,
                    "top": box["top"] + (box["height"] - unit * y) / 2, "height": unit * y}  # fmt: skip
        boxes.append(box)
        left, top = (0, top + data["height"]) if below else (left + across + gap, 0)
    return (data["height"] * len(axes) if below else data["height"]), boxes


def _margins(axes, width):
    heading = len(_wrapped(axes["title"], width)) + len(_legend(axes, width))
    return {
        "left": 8 + _reach(axes["y"]["ticks"]) + (LINE + 4) * bool(axes["y"]["label"]),
        "bottom": 8 + _depth(axes["x"]["ticks"]) + (LINE + 2) * bool(axes["x"]["label"]),
        "top": 10 + LINE * heading,
        "right": 14,
    }


def _reach(ticks):
    """Pixels that the words of the y axis take, to the left of it."""
    return max((len(line) for _, words in ticks for line in words.split("\n")), default=-1) * CHARACTER + 7


def _depth(ticks):
    """Pixels that the words of the x axis take, below it."""
    return max((len(words.split("\n")) for _, words in ticks), default=-0.4) * LINE + 7


def _wrapped(words, width):
    """The lines of a heading, in bold."""
    lines, most = [], max(8, math.floor(width / (CHARACTER * 1.1)))
    for word in words.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _legend(axes, width):
    """Rows of [mark, pixels from the left] that the legend takes."""
    rows, at = [], width
    for mark in axes["marks"]:
        if mark.get("label"):
            needs = 26 + CHARACTER * len(mark["label"]) + 10
            if at + needs > width:
                rows.append([])
                at = 0
            rows[-1].append([mark, at])
            at += needs
    return rows


class _Pen:
    """Draws the marks of one axes as lists of elements."""

    def __init__(self, axes, box, colours):
        self.axes, self.place, self.colours = axes, box, colours

    def x(self, value):
        return self.place["left"] + _share(self.axes["x"], value) * self.place["width"]

    def y(self, value):
        return self.place["top"] + (1 - _share(self.axes["y"], value)) * self.place["height"]

    def colour(self, mark, i=0):
        named = mark["colour"] if isinstance(mark["colour"], str) else mark["colour"][i]
        return self.colours.get(named, named)

    def words(self, x, y, text, colour="ink", anchor="middle", **more):
        """y: the middle of the text, which stands upright on a line 4.5 pixels below it."""
        fill = self.colours.get(colour, colour)
        return ["text", {"x": x, "y": y + 4.5, "text-anchor": anchor, "fill": fill, **more}, text]

    def frame(self):
        """Axes, ticks and their words, the heading and the legend."""
        axes, rule, found = self.axes, {"stroke": self.colours["faint"], "stroke-width": 1}, []
        left, top = self.place["left"], self.place["top"]
        right, low = left + self.place["width"], top + self.place["height"]
        if axes["x"]["ticks"] or axes["x"]["label"]:
            found.append(_line(left, low, right, low, rule))
        if axes["y"]["ticks"] or axes["y"]["label"]:
            found.append(_line(left, top, left, low, rule))
        for value, words in axes["x"]["ticks"]:
            at = self.x(value)
            found.append(_line(at, low, at, low + 4, rule))
            for n, line in enumerate(words.split("\n")):
                found.append(self.words(at, low + 12.5 + LINE * n, line, "soft"))
        for value, words in axes["y"]["ticks"]:
            lines, at = words.split("\n"), self.y(value)
            found.append(_line(left - 4, at, left, at, rule))
            for n, line in enumerate(lines):
                found.append(self.words(left - 7, at + LINE * (n - (len(lines) - 1) / 2), line, "soft", "end"))
        if axes["x"]["label"]:
            down = low + _depth(axes["x"]["ticks"]) + 11.5
            found.append(self.words((left + right) / 2, down, axes["x"]["label"]))
        if axes["y"]["label"]:
            x, y = left - 14 - _reach(axes["y"]["ticks"]), (top + low) / 2
            found.append(self.words(x, y, axes["y"]["label"], transform=f"rotate(-90 {_at(x, y)})"))
        return found + self.heading()

    def heading(self):
        left, across = self.place["outer"]
        lines, rows = _wrapped(self.axes["title"], across), _legend(self.axes, across)
        y = self.place["top"] + 2.5 - LINE * (len(lines) + len(rows))
        found = []
        for line in lines:
            found.append(self.words(left + across / 2, y, line, **{"font-weight": 600}))
            y += LINE
        for row in rows:
            for mark, at in row:
                found.append(self.key(mark, left + at + 13, y))
                found.append(self.words(left + at + 26, y, mark["label"], "soft", "start"))
            y += LINE
        return found

    def key(self, mark, x, y):
        """What stands for a mark in the legend."""
        colour = self.colour(mark)
        if mark["mark"] == "points":
            return self.point(mark | {"size": min(mark["size"], 6)}, x, y, colour)
        if mark["mark"] == "area":
            return _rect(x - 9, y - 5, x + 9, y + 5, {"fill": colour, "fill-opacity": mark["opacity"]})
        if mark["mark"] == "bars":
            corners, striped = (x - 9, y - 5, x + 9, y + 5), any(mark["hatched"])
            return ["g", {}, [_rect(*corners, {"fill": colour}), *(self.hatch(*corners) if striped else [])]]
        return _line(x - 9, y, x + 9, y, _stroke(mark, colour))

    def inside(self, child):
        """Cut off at the axes: a picture within the picture."""
        left, top, width, height = (self.place[key] for key in ("left", "top", "width", "height"))
        about = {"x": left, "y": top, "width": width, "height": height}
        return [["svg", about | {"viewBox": f"{_at(left, top)} {_at(width, height)}"}, [child]]]

    def points(self, mark):
        both = enumerate(zip(mark["x"], mark["y"], strict=True))
        return [self.point(mark, self.x(x), self.y(y), self.colour(mark, i)) for i, (x, y) in both]

    def point(self, mark, x, y, colour):
        size, paper = mark["size"], self.colours["paper"]
        if mark["shape"] == "x":
            ends = [_at(x + a * size, y + b * size) for a, b in ((-1, -1), (1, 1), (-1, 1), (1, -1))]
            path = "M{} L{} M{} L{}".format(*ends)
            return ["path", {"d": path, "stroke": colour, "stroke-width": 2}, []]
        look = {"fill": colour, "stroke": paper, "stroke-width": 0.75}
        if mark["hollow"]:
            look = {"fill": paper, "stroke": colour, "stroke-width": 1.5}
        if mark["shape"] == "o":
            return ["circle", {"cx": x, "cy": y, "r": size, **look}, []]
        return _polygon([(x + size * a, y + size * b) for a, b in SHAPES[mark["shape"]]], look)

    def line(self, mark):
        path, pen = [], "M"
        for x, y in zip(mark["x"], mark["y"], strict=True):
            if x is None or y is None:
                pen = "M"
            else:
                path.append(f"{pen}{_at(self.x(x), self.y(y))}")
                pen = "L"
        look = {"fill": "none", "stroke-linejoin": "round", **_stroke(mark, self.colour(mark))}
        return self.inside(["path", {"d": " ".join(path), **look}, []])

    def area(self, mark):
        there, back = ([_at(self.x(x), self.y(y)) for x, y in zip(mark["x"], mark[side], strict=True)]
                       for side in ("low", "high"))  # fmt: skip
        look = {"fill": self.colour(mark), "fill-opacity": mark["opacity"]}
        return self.inside(["path", {"d": f"M{' L'.join(there + back[::-1])} Z", **look}, []])

    def segments(self, mark):
        found = []
        for i, (x0, y0, x1, y1) in enumerate(zip(mark["x0"], mark["y0"], mark["x1"], mark["y1"], strict=True)):
            x0, y0, x1, y1 = self.x(x0), self.y(y0), self.x(x1), self.y(y1)
            look, length = (
                {"stroke": self.colour(mark, i), "stroke-width": mark["width"]},
                math.hypot(x1 - x0, y1 - y0),
            )
            if not mark["arrow"]:
                found.append(_line(x0, y0, x1, y1, look))
            elif length >= 1:  # or it would point nowhere
                head = min(6 + 2 * mark["width"], length)
                dx, dy = (x1 - x0) / length * head, (y1 - y0) / length * head
                found.append(_line(x0, y0, x1 - dx, y1 - dy, look))
                sides = [(x1 - dx - 0.45 * dy, y1 - dy + 0.45 * dx), (x1 - dx + 0.45 * dy, y1 - dy - 0.45 * dx)]
                found.append(_polygon([(x1, y1), *sides], {"fill": self.colour(mark, i)}))
        return found

    def bars(self, mark):
        found = []
        for i, at in enumerate(mark["at"]):
            to = mark["start"] if mark["to"][i] is None else mark["to"][i]
            place, end = (self.y, self.x) if mark["across"] else (self.x, self.y)
            sides, ends = (
                [place(at - mark["thick"] / 2), place(at + mark["thick"] / 2)],
                [end(mark["start"]), end(to)],
            )
            (x0, x1), (y0, y1) = (sorted(ends), sorted(sides)) if mark["across"] else (sorted(sides), sorted(ends))
            found.append(_rect(x0, y0, x1, y1, {"fill": self.colour(mark, i)}))
            if mark["hatched"] and mark["hatched"][i]:
                found += self.hatch(x0, y0, x1, y1)
            if mark["texts"]:
                beyond = to >= mark["start"]
                if mark["across"]:
                    x, y, anchor = end(to) + (5 if beyond else -5), self.y(at), "start" if beyond else "end"
                else:
                    x, y, anchor = self.x(at), end(to) + (-9 if beyond else 9), "middle"
                found.append(self.words(x, y, mark["texts"][i], "ink", anchor))
        return found

    def hatch(self, x0, y0, x1, y1):
        """Strokes across a bar, from lower left to upper right, 8 pixels apart."""
        look, found = {"stroke": self.colours["paper"], "stroke-width": 1.5}, []
        width, height = x1 - x0, y1 - y0
        for n in range(1, math.ceil((width + height) / 8)):
            right, down = min(8 * n, width), min(8 * n, height)
            found.append(_line(x0 + 8 * n - down, y0 + down, x0 + right, y0 + 8 * n - right, look))
        return found

    def text(self, mark):
        found, more = [], {"font-weight": 600} if mark["bold"] else {}
        for i, (x, y) in enumerate(zip(mark["x"], mark["y"], strict=True)):
            x, y = self.x(x) + mark["dx"], self.y(y) + mark["dy"]
            found.append(self.words(x, y, mark["text"][i], self.colour(mark, i), mark["anchor"], **more))
        return found

    def circle(self, mark):
        scale = self.place["width"] / abs(self.axes["x"]["high"] - self.axes["x"]["low"])
        about = {"cx": self.x(mark["x"][0]), "cy": self.y(mark["y"][0]), "r": mark["radius"] * scale}
        return [["circle", {**about, "fill": "none", **_stroke(mark, self.colour(mark))}, []]]

    def rectangle(self, mark):
        colour = self.colour(mark)
        look = {"fill": "none", "stroke": colour, "stroke-width": mark["width"]}
        return [self.between(mark, {"fill": colour} if mark["filled"] else look)]

    def between(self, corners, look):
        x = sorted((self.x(corners["x0"][0]), self.x(corners["x1"][0])))
        y = sorted((self.y(corners["y0"][0]), self.y(corners["y1"][0])))
        return _rect(x[0], y[0], x[1], y[1], look)

    def cells(self, mark):
        found = []
        for i, row in enumerate(_shades(mark).tolist()):
            for j, (red, green, blue) in enumerate(row):
                corners = {"x0": [j - 0.5], "x1": [j + 0.5], "y0": [i - 0.5], "y1": [i + 0.5]}
                found.append(self.between(corners, {"fill": f"rgb({red}, {green}, {blue})"}))
                if mark["texts"]:
                    found.append(self.words(self.x(j), self.y(i), mark["texts"][i][j], _ink(red, green, blue)))
        return found

    def field(self, mark):
        return self.picture(mark | {"href": _png(_shades(mark)[::-1])})  # row 0 is at the bottom, y[0]

    def picture(self, mark):
        x, y = sorted(map(self.x, mark["x"])), sorted(map(self.y, mark["y"]))
        about = {"x": x[0], "y": y[0], "width": x[1] - x[0], "height": y[1] - y[0], "href": mark["href"]}
        # As a style: resvg, which makes the picture for GitHub and print, knows no such attribute.
        rendering = "auto" if mark["smooth"] else "pixelated"
        look = {"preserveAspectRatio": "none", "style": f"image-rendering: {rendering}"}
        return self.inside(["image", about | look, []])


SHAPES = {
    "s": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "D": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
    "^": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
    "*": [(r * math.cos(math.pi * turn), r * math.sin(math.pi * turn))
          for r, turn in [(0.6 if n % 2 else 1.5, n / 5 - 0.5) for n in range(10)]],
}  # fmt: skip


def _line(x0, y0, x1, y1, look):
    return ["line", {"x1": x0, "y1": y0, "x2": x1, "y2": y1, **look}, []]


def _rect(x0, y0, x1, y1, look):
    return ["rect", {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, **look}, []]


def _polygon(corners, look):
    return ["polygon", {"points": " ".join(_at(x, y) for x, y in corners), **look}, []]


def _stroke(mark, colour):
    look = {"stroke": colour, "stroke-width": mark["width"]}
    return look | {"stroke-dasharray": "6 4"} if mark["dash"] else look


def _at(x, y):
    """Two pixels as an attribute has them."""
    return f"{x:.2f} {y:.2f}"


def _share(axis, value):
    """How far along an axis a value lies, from 0 to 1."""
    low, high = axis["low"], axis["high"]
    if axis["log"]:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _shades(mark):
    """(rows, columns, 3 or 4): red, green and blue of each value on the mark's colour scale, and an opacity."""
    values = np.array(mark["values"], float)
    shares = np.clip((values - mark["low"]) / (mark["high"] - mark["low"]), 0, 1)
    at = np.where(np.isnan(shares), 0, shares) * (len(mark["stops"]) - 1)
    i = np.minimum(np.floor(at), len(mark["stops"]) - 2).astype(int)
    stops = np.array([[int(stop[k : k + 2], 16) for k in range(1, len(stop), 2)] for stop in mark["stops"]], float)
    return np.floor(stops[i] + (stops[i + 1] - stops[i]) * (at - i)[..., None] + 0.5).astype(np.uint8)


def _ink(*rgb):
    """Black or white, whichever is easier to read on a colour; by its luminance, as WCAG 2 has it."""
    linear = [v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if light > 0.179 else "#ffffff"


# ---- from what the user gives to plain numbers ------------------------------------------------------------------


PLACES = ("x", "y", "x0", "y0", "x1", "y1", "at", "to", "low", "high", "values")  # arguments that are numbers
GAPS = {("line", "x"), ("line", "y"), ("bars", "to"), ("cells", "values"), ("field", "values")}  # or are not there
# The arguments of a mark that say something about the same things, one by one.
ALIKE = {
    "points": ("x", "y", "colour"), "line": ("x", "y"), "segments": ("x0", "y0", "x1", "y1", "colour"),
    "area": ("x", "low", "high"), "bars": ("at", "to", "colour", "texts", "hatched"),
    "text": ("x", "y", "text", "colour"), "circle": (), "rectangle": (), "cells": (), "field": (), "picture": (),
}  # fmt: skip


def _numbers(name, value, *, gaps=False):
    """Lists of floats; with `gaps`, None for what is not finite."""
    found = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=float)
    if found.ndim not in (1, 2):
        raise ValueError(f"{name} must be a list of numbers, got shape {found.shape}")
    finite = np.isfinite(found)
    if not (gaps or finite.all()):
        raise ValueError(f"{name} must be finite numbers, got {found[~finite][0]}")
    return np.where(finite, found, None).tolist()


def _colour(value):
    names = [value] if isinstance(value, str) else [str(name) for name in value]
    for name in names:
        if name not in DARK and not re.fullmatch("#[0-9a-fA-F]{6}", name):
            raise ValueError(f'colour must be ink, soft, faint, paper or "#rrggbb", got {name!r}')
    return value if isinstance(value, str) else names


def plain(value):
    """Python's own number, word or list in place of numpy's or torch's.

    Example:
        >>> plain([np.float64(0.5), (np.int64(2), "x")])
        [0.5, [2, 'x']]
    """
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _ticks(low, high, log):
    if log:
        first, last = sorted((math.log10(low), math.log10(high)))
        return {10.0**n: f"{10.0**n:g}" for n in range(math.ceil(first), math.floor(last) + 1)}
    values = [
        v
        for v in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(*sorted((low, high)))
        if min(low, high) <= v <= max(low, high)
    ]
    step = min((b - a for a, b in itertools.pairwise(values)), default=1)
    decimals = next(n for n in range(12) if abs(round(step, n) - step) < 1e-9 * abs(step) or n == 11)
    return {float(v): fixed(v, decimals) for v in values}


def _round(value):
    """A number in as few digits as say it."""
    return f"{value:.10g}".replace("-", "−")


def _stops(colours):
    """The hex colours that a colour scale runs through: a name of matplotlib's, or the colours themselves."""
    if isinstance(colours, str):
        return [to_hex(colour) for colour in colormaps[colours](np.linspace(0, 1, 17))]
    return list(colours)


def _png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
