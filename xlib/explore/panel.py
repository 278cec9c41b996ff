"""A formula to play with: sliders, a picture that follows them, and what it shows in words."""

import base64
import io

import anywidget
import ipywidgets as widgets
import traitlets as T
from matplotlib import rc_context
from matplotlib.figure import Figure

from xlib.explore.view import HERE, PALETTE

STYLE = {"axes.prop_cycle": f"cycler('color', {PALETTE})", "axes.spines.top": False, "axes.spines.right": False}


class _Picture(anywidget.AnyWidget):
    _esm = HERE / "panel.js"
    png = T.Unicode().tag(sync=True)  # in base64, or empty
    alt = T.Unicode().tag(sync=True)


class Panel(widgets.VBox):
    """What `panel` returns. `alt_text` is what `draw` said about the picture shown."""

    def __init__(self, model, draw, controls, title):
        row = widgets.Box([_slider(model, *item) for item in controls.items()], layout={"flex_flow": "row wrap"})
        self.model, self.picture, self._draw = model, _Picture(), draw
        self._redraw()
        super().__init__([widgets.Label(title, style={"font_weight": "bold"})] * bool(title) + [row, self.picture])
        self.add_class("xlib-panel")
        model.observe(self._redraw, list(controls))

    alt_text = property(lambda self: self.picture.alt)

    def _redraw(self, change=None):
        png, alt = "", "The picture could not be drawn."  # moved by hand, a slider shows nobody the traceback
        try:
            with rc_context(STYLE):
                figure, out = Figure((7.2, 3.6), layout="constrained"), io.BytesIO()
                words = self._draw(self.model, figure)
                figure.savefig(out, format="png", dpi=200)  # twice the pixels of the page, see panel.js
            if not isinstance(words, str) or not words.strip():
                raise TypeError(f"draw must return what the picture shows in words, got {words!r}")
            png, alt = base64.b64encode(out.getvalue()).decode(), words
        except Exception as error:
            alt += f" {type(error).__name__}: {error}"
            raise
        finally:
            with self.picture.hold_sync():
                self.picture.png, self.picture.alt = png, alt

    def _repr_mimebundle_(self, **kwargs):
        still = {"image/png": self.picture.png, "text/plain": self.alt_text}
        header = base64.b64decode(self.picture.png[:32])  # which holds the file's width; the page's is half of it
        width = int.from_bytes(header[16:20], "big") // 2
        return super()._repr_mimebundle_(**kwargs) | still, {"image/png": {"alt": self.alt_text, "width": width}}


def panel(model, draw, *, controls, title="") -> Panel:
    """Show a formula as sliders and a picture that follows them, and follows the model's traits when code sets them.

    model: a traitlets.HasTraits that holds the numbers; tests drive it without a browser.
    draw: draw(model, figure) draws on an empty matplotlib Figure, in Okabe–Ito colours unless it names others, and
    returns what is to be seen in words, made from the data. What it raises, it raises where the trait was set.
    controls: {name of a trait: (least, most, step) for a slider, a list for a slider over these values, or a widget
    of your own}. A slider is labelled with the trait's `help`. Raises TypeError or ValueError naming the argument.
    """
    if not isinstance(model, T.HasTraits):
        raise TypeError(f"model must be a traitlets.HasTraits, got {type(model).__name__}")
    if unknown := sorted(set(controls) - set(model.trait_names())):
        raise ValueError(f"controls must name traits of the model, got {', '.join(map(repr, unknown))}")
    return Panel(model, draw, controls, title)


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
