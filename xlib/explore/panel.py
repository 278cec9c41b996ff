"""A formula to play with: sliders, points to drag, a picture that follows them, and what it shows in words."""

import base64
import io

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets as T
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from xlib._validate import number
from xlib.explore.view import HERE, PALETTE, show_widgets

STYLE = {"axes.prop_cycle": f"cycler('color', {PALETTE})", "axes.spines.top": False, "axes.spines.right": False}


class _Picture(anywidget.AnyWidget):
    _esm = HERE / "panel.js"
    png = T.Unicode().tag(sync=True)  # in base64, or empty
    alt = T.Unicode().tag(sync=True)
    points = T.List().tag(sync=True)  # [name, x, y] of each handle
    frame = T.List().tag(sync=True)  # see _frame
    answered = T.Float().tag(sync=True)  # the stamp of the last message from the browser that was dealt with


class Panel(widgets.VBox):
    """What `panel` returns. `alt_text` is what `draw` said about the picture shown.

    Example:
        >>> model = type("Line", (T.HasTraits,), {"slope": T.Float(1.0, help="how steep")})()
        >>> shown = panel(model, lambda model, figure: "a line", controls={"slope": (-2, 2, 0.5)}, title="y = a x")
        >>> [part.__class__.__name__ for part in shown.children], shown.alt_text
        (['Label', 'Box', '_Picture'], 'a line')
    """

    def __init__(self, model, draw, controls, handles, title):
        show_widgets()
        row = widgets.Box([_slider(model, *item) for item in controls.items()], layout={"flex_flow": "row wrap"})
        self.model, self.picture, self._draw, self._handles = model, _Picture(), draw, handles
        self._held, self._layout, self._kept = False, [], False
        self._redraw()
        heading = [widgets.Label(title, style={"font_weight": "bold"})] * bool(title)
        super().__init__([*heading, *[row] * bool(controls), self.picture])
        self.add_class("xlib-panel")
        model.observe(self._redraw, [*controls, *handles])
        self.picture.on_msg(self._move)

    alt_text = property(lambda self: self.picture.alt)

    def _redraw(self, change=None):
        png, alt = "", "The picture could not be drawn."  # moved by hand, a slider shows nobody the traceback
        frame, points = self.picture.frame, self.picture.points
        try:
            points = _points(self.model, self._handles)
            with rc_context(STYLE):
                figure = Figure((7.2, 3.6), dpi=200, layout="constrained")  # twice the page's pixels, see panel.js
                canvas, words = FigureCanvasAgg(figure), self._draw(self.model, figure)
                # Arranging the axes takes a third of the time: while a point is dragged they stay where they are.
                self._kept = self._held and len(self._layout) == len(figure.axes)
                if self._kept:
                    figure.set_layout_engine("none")
                    for axes, box in zip(figure.axes, self._layout, strict=True):
                        axes.set_position(box, which="original")
                canvas.draw()
            if not isinstance(words, str) or not words.strip():
                raise TypeError(f"draw must return what the picture shows in words, got {words!r}")
            self._layout = [axes.get_position(original=True) for axes in figure.axes]
            frame = _frame(figure) if self._handles else []
            out = io.BytesIO()
            Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(out, "png", compress_level=1)
            png, alt = base64.b64encode(out.getvalue()).decode(), words
        except Exception as error:
            alt += f" {type(error).__name__}: {error}"
            raise
        finally:
            with self.picture.hold_sync():
                self.picture.png, self.picture.alt = png, alt
                self.picture.frame, self.picture.points = frame, points

    def _move(self, picture, content, buffers):
        """Put points where the browser asks, as far as the model lets them go, and answer when that is drawn."""
        places = [(name, i) for name, names in self._handles.items() for i in range(len(names))]
        with picture.hold_sync():  # the answer and the new picture are one message
            try:
                self._held = content["held"]
                for place, *point in content["moves"]:
                    name, i = places[place]
                    moved = [list(pair) for pair in getattr(self.model, name)]
                    moved[i] = point
                    setattr(self.model, name, moved)
                if self._kept and not self._held:  # let go: arrange the axes anew
                    self._redraw()
            finally:
                self._held, picture.answered = False, content["stamp"]

    def _repr_mimebundle_(self, **kwargs):
        still = {"image/png": self.picture.png, "text/plain": self.alt_text}
        header = base64.b64decode(self.picture.png[:32])  # which holds the file's width; the page's is half of it
        width = int.from_bytes(header[16:20], "big") // 2
        return super()._repr_mimebundle_(**kwargs) | still, {"image/png": {"alt": self.alt_text, "width": width}}


def panel(model, draw, *, controls={}, handles={}, title="") -> Panel:  # noqa: B006 (neither is changed)
    """Show a formula as a picture that follows sliders, dragged points, and the model's traits when code sets them.

    model: a traitlets.HasTraits that holds the numbers; tests drive it without a browser.
    draw: draw(model, figure) draws on an empty matplotlib Figure, in Okabe–Ito colours unless it names others, and
    returns what is to be seen in words, made from the data. What it raises, it raises where the trait was set.
    controls: {name of a trait: (least, most, step) for a slider, a list for a slider over these values, or a widget
    of your own}. A slider is labelled with the trait's `help`.
    handles: {name of a trait: [name of each point, for screen readers]}. The trait, a T.List, holds a [x, y] for each
    in data coordinates of figure.axes[0], whose scales are linear; `draw` draws the points and fixes the limits, and
    beyond them no point is dragged. Each can be dragged, or focused and moved with the arrow keys, by 1/50 of the
    axes (1/10 with Shift). Each move sets the trait to a new list, which a validator of the model may change.
    Raises TypeError or ValueError naming the argument.

    Example:
        >>> model = type("Line", (T.HasTraits,), {"slope": T.Float(1.0)})()
        >>> shown = panel(model, lambda model, figure: f"slope {model.slope}", controls={"slope": (-2, 2, 0.5)})
        >>> model.slope = -2
        >>> shown.alt_text
        'slope -2.0'
    """
    if not isinstance(model, T.HasTraits):
        raise TypeError(f"model must be a traitlets.HasTraits, got {type(model).__name__}")
    for argument, given in (("controls", controls), ("handles", handles)):
        if unknown := sorted(set(given) - set(model.trait_names())):
            raise ValueError(f"{argument} must name traits of the model, got {', '.join(map(repr, unknown))}")
    for name, names in handles.items():
        if not isinstance(names, list) or not all(isinstance(word, str) and word.strip() for word in names):
            raise TypeError(f"handles[{name!r}] must be a list with the name of each point, got {names!r}")
    return Panel(model, draw, controls, handles, title)


def _points(model, handles):
    """[name, x, y] of each handle, as the model has them."""
    found = []
    for trait, names in handles.items():
        held = getattr(model, trait)
        if not isinstance(held, list | tuple):
            raise TypeError(f"handles[{trait!r}] must name a trait that holds [x, y] pairs, got {held!r}")
        if len(held) != len(names):
            raise ValueError(f"handles[{trait!r}] names {len(names)} points, but the trait holds {len(held)}")
        for i, pair in enumerate(held):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise ValueError(f"handles[{trait!r}] must name a trait that holds [x, y] pairs, got {pair!r}")
            found.append([names[i], *(number(f"handles[{trait!r}]: point {i}", value) for value in pair)])
    return found


def _frame(figure):
    """Of figure.axes[0], across and then up: where it begins and ends in the picture, as shares of it from the left
    and from the top, and its limits."""
    if not figure.axes:
        raise ValueError("handles need axes, but draw made none")
    axes = figure.axes[0]
    if axes.name != "rectilinear" or not axes.get_xscale() == axes.get_yscale() == "linear":
        scales = axes.name if axes.name != "rectilinear" else f"{axes.get_xscale()} and {axes.get_yscale()}"
        raise ValueError(f"handles need linear axes, got {scales}")
    box = axes.get_position()
    return [[box.x0, box.x1, *axes.get_xlim()], [1 - box.y0, 1 - box.y1, *axes.get_ylim()]]


def _slider(model, name, control):
    """The widget for one trait, linked with it both ways."""
    value, label = getattr(model, name), model.traits()[name].help or name.replace("_", " ")
    look = {"description": label, "style": {"description_width": "initial"}, "layout": {"flex": "1 1 280px"}}
    if isinstance(control, tuple) and len(control) == 3:
        look |= zip(("min", "max", "step"), control, strict=True)
        decimals = f"{control[2]:f}".rstrip("0").partition(".")[2]  # as many as the step has
        number = (widgets.IntSlider, "d") if isinstance(value, int) else (widgets.FloatSlider, f".{len(decimals)}f")
        control = number[0](value, readout_format=number[1], **look)
    elif isinstance(control, list):
        control = widgets.SelectionSlider(options=control, value=value, **look)
    elif not isinstance(control, widgets.Widget):
        raise TypeError(f"controls[{name!r}] must be (least, most, step), a list or a widget, got {control!r}")
    T.link((model, name), (control, "value"))
    return control
