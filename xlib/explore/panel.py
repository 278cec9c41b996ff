"""A formula to play with: sliders, points to drag, a picture that follows them, and what it shows in words."""

import anywidget
import traitlets as T

from xlib._validate import number
from xlib.explore.scene import DARK, LIGHT, Scene, plain, svg
from xlib.explore.still import Still
from xlib.explore.view import HERE, show_widgets

# The front end's files, which make one module in this order.
PARTS = ("common", "scene", "closed", "arrows", "circle", "samples", "recorded", "panel")


def _variables(colours):
    """The theme's colours for style sheets: "#0072B2" is var(--c0072B2)."""
    return "".join(f"--{name.replace('#', 'c')}: {colour}; " for name, colour in colours.items())


_NAMED = {name: name for name in DARK if name.startswith("#")}
_DARK_PAGES = (
    ':is(html[data-theme="dark"], html[theme="dark"], body[data-jp-theme-light="false"], body.vscode-dark)'
    + " .xlib-panel"
)
_UNTOLD = (  # pages that follow the system
    'html:not([data-theme], [theme="light"]) body:not([data-jp-theme-light], .vscode-light, .vscode-dark) .xlib-panel'
)
_DARK = f"{{ {_variables(DARK)} --accent: #6cb8ff; color-scheme: dark; }}"


class Panel(anywidget.AnyWidget):
    """What `panel` returns. `alt_text` is what `draw` said about the picture shown.

    Example:
        >>> model = type("Line", (T.HasTraits,), {"slope": T.Float(1.0, help="how steep")})()
        >>> def draw(model, scene):
        ...     scene.axes().set(x=(0, 1), y=(-2, 2)).line([0, 1], [0, model.slope])
        ...     return "a line"
        >>> shown = panel(model, draw, controls={"slope": (-2, 2, 0.5)}, title="y = a x")
        >>> shown.alt_text, shown.still()[:4]
        ('a line', '<svg')
    """

    _esm = "".join((HERE / f"{name}.js").read_text("utf-8") for name in PARTS)
    _css = (
        (HERE / "panel.css").read_text("utf-8")
        + f".xlib-panel {{ {_variables(LIGHT | _NAMED)} }}\n"
        + f"@media screen {{ {_DARK_PAGES} {_DARK} }}\n"  # paper is white
        + f"@media screen and (prefers-color-scheme: dark) {{ {_UNTOLD} {_DARK} }}\n"
    )

    title = T.Unicode().tag(sync=True)
    controls = T.List().tag(sync=True)  # see _control
    handles = T.List().tag(sync=True)  # [trait, names of its points, whether they stay on a circle]
    values = T.Dict().tag(sync=True)  # of the traits that can be moved here
    initial = T.Dict().tag(sync=True)  # what they were at first, which reset brings back
    scene = T.Dict().tag(sync=True)  # Scene.data(), or empty where it could not be drawn
    alt = T.Unicode().tag(sync=True)
    play = T.Unicode().tag(sync=True)
    actions = T.List().tag(sync=True)  # what stands on the buttons
    acting = T.Bool().tag(sync=True)  # whether an action runs
    progress = T.Unicode().tag(sync=True)  # what it has to say
    closed = T.Unicode().tag(sync=True)  # the name of its formulas in closed.js
    constants = T.Dict().tag(sync=True)  # what they need
    answered = T.Float().tag(sync=True)  # the stamp of the last message from the browser that was dealt with

    def __init__(self, model, draw, **about):
        show_widgets()
        self.model, self._draw, self._actions, self._busy = model, draw, about.pop("actions"), False
        self._names = [
            *(control["name"] for control in about["controls"]),
            *(trait for trait, *_ in about["handles"]),
        ]
        self._first = self._stale = True
        super().__init__(actions=list(self._actions), **about)
        self._redraw()
        self.initial = self.values
        self._still = Still(self, lambda dark: self.still(dark=dark), ["scene", "values"])
        self.on_msg(self._asked)

    def open(self):
        """Follow the model, for a page; after `close` too. Displaying it does so."""
        if self.comm is None:
            self.model.observe(self._redraw, self._names)
            if hasattr(self, "_still"):  # else it is new, and drawn next
                self._redraw()
            super().open()

    def close(self):
        """Take it from all pages, and follow the model no more."""
        if self.comm is not None:
            self.model.unobserve(self._redraw, self._names)
            super().close()

    @property
    def alt_text(self):
        self._whole()
        return self.alt

    def still(self, *, dark=False) -> str:
        """The picture as SVG."""
        self._whole()
        return svg(self.scene, dark=dark) if self.scene else ""

    def _redraw(self, change=None):
        if self._busy:  # once, when all that the browser asked for is set
            return
        if self.closed and not self._first and self.scene:  # the browser draws it
            self._stale = True
            self.values = self._values()
            return
        self._first = False
        values, scene, alt, error = self.drawn()
        self._stale = False
        with self.hold_sync():
            self.values, self.scene, self.alt = values, scene, alt
        if error:
            raise error

    def drawn(self):
        """(values, scene, alt, error): what the model shows now. Where it cannot be drawn there is an error, which
        alt tells: moved by hand, a slider shows nobody the traceback."""
        values = self.values
        try:
            values = self._values()
            scene = Scene()
            words = self._draw(self.model, scene)
            if not isinstance(words, str) or not words.strip():
                raise TypeError(f"draw must return what the picture shows in words, got {words!r}")
            drawn = scene.data()
            if self.handles and any(drawn["axes"][0][side]["log"] for side in "xy"):
                raise ValueError("handles need linear first axes, got a logarithmic scale")
            return values, drawn, words, None
        except Exception as error:
            return values, {}, f"The picture could not be drawn. {type(error).__name__}: {error}", error

    def _whole(self):
        """Draw here too, where only the browser has drawn what is there now."""
        if self._stale:
            self._first = True
            self._redraw()

    def _values(self):
        """What the model holds, as far as it can be moved here; its points are checked."""
        points = {trait: _points(self.model, trait, names) for trait, names, _ in self.handles}
        return {name: plain(getattr(self.model, name)) for name in self._names} | points

    def _asked(self, panel, content, buffers):
        """Do what the browser asks, as far as the model lets it be done, and answer when that is drawn."""
        if "action" in content:
            return self._act(list(self._actions.values())[content["action"]])
        with self.hold_sync():  # the answer and the new picture are one message
            self.progress = ""  # how the last action failed need not be said any longer
            try:
                self._busy = True
                self._set(content["set"])
                if content["reset"]:  # once more, for a trait that another one has moved when it was set
                    self._set(content["set"])
            finally:
                self._busy = False
                try:
                    self._redraw()
                finally:
                    self.answered = content["stamp"]

    def _set(self, values):
        for name, value in values.items():
            if name not in self._names:
                raise ValueError(f"the browser may set {', '.join(self._names)}, got {name!r}")
            trait = self.model.traits()[name]
            setattr(self.model, name, float(value) if isinstance(trait, T.Float) else value)

    def _act(self, function):
        def tell(text):
            self.progress = text

        said = ""
        self.acting = True
        tell("working…")
        try:
            function(tell)
            self._redraw()
        except BaseException as error:  # an interrupt too: somebody waits at the page for the end of it
            said = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.acting = False
            tell(said)

    def _ipython_display_(self):
        self._still.show()


def panel(
    model,
    draw,
    *,
    controls=None,
    handles=None,
    circles=(),
    play="",
    actions=None,
    closed="",
    constants=None,
    title="",
) -> Panel:
    """Show a formula as a picture that follows sliders, dragged points, and the model's traits when code sets them.

    model: a traitlets.HasTraits that holds the numbers; tests drive it without a browser.
    draw: draw(model, scene) fills a `scene.Scene` and returns what is to be seen in words, made from the data. What
    it raises, it raises where the trait was set.
    controls: {name of a trait: (least, most, step) or a list of numbers for a slider, whose number can also be typed;
    a list of words for buttons; or "check" for a box to tick}. A control is labelled with the trait's `help`.
    handles: {name of a trait: [name of each point, for screen readers]}. The trait, a T.List, holds a [x, y] for each
    in data coordinates of the first axes, whose scales are linear. Each can be dragged, or focused and moved with
    the arrow keys, by 1/50 of the axes (1/10 with Shift). Each move sets the trait to a new list, which a validator
    of the model may change. circles: those of them that stay on a circle around (0, 0), where the keys turn them.
    play: name of a control that a button plays from end to end. actions: {what stands on a button: a function of
    `tell`, which runs here, and may tell("step 10") how far it is}; the picture is drawn anew after it.
    closed: name of the formulas in closed.js that draw this panel in the browser; constants: what they need.
    Raises TypeError or ValueError naming the argument.

    Example:
        >>> model = type("Line", (T.HasTraits,), {"slope": T.Float(1.0)})()
        >>> drawn = lambda model, scene: scene.axes().set(x=(0, 1), y=(-2, 2)).line([0, 1], [0, model.slope])
        >>> shown = panel(model, lambda *both: drawn(*both) and "a line", controls={"slope": (-2, 2, 0.5)})
        >>> shown.alt_text
        'a line'
    """
    controls, handles, actions, constants = (given or {} for given in (controls, handles, actions, constants))
    if not isinstance(model, T.HasTraits):
        raise TypeError(f"model must be a traitlets.HasTraits, got {type(model).__name__}")
    for argument, given in (("controls", controls), ("handles", handles)):
        if unknown := sorted(set(given) - set(model.trait_names())):
            raise ValueError(f"{argument} must name traits of the model, got {', '.join(map(repr, unknown))}")
    for name, names in handles.items():
        if not isinstance(names, list) or not all(isinstance(word, str) and word.strip() for word in names):
            raise TypeError(f"handles[{name!r}] must be a list with the name of each point, got {names!r}")
    for argument, wanted, there in (("circles", circles, handles), ("play", [play] if play else [], controls)):
        if unknown := [name for name in wanted if name not in there]:
            raise ValueError(f"{argument} must be among {', '.join(there) or 'none'}, got {', '.join(unknown)}")
    for name, function in actions.items():
        if not callable(function):
            raise TypeError(f"actions[{name!r}] must be a function of tell, got {function!r}")
    made = [_control(model, name, control) for name, control in controls.items()]
    grips = [[trait, names, trait in circles] for trait, names in handles.items()]
    return Panel(
        model, draw, controls=made, handles=grips, play=play, actions=actions, closed=closed, constants=constants,
        title=title,
    )  # fmt: skip


def _points(model, trait, names):
    """The [x, y] of each of a trait's points, as the model has them."""
    held = getattr(model, trait)
    if not isinstance(held, list | tuple):
        raise TypeError(f"handles[{trait!r}] must name a trait that holds [x, y] pairs, got {held!r}")
    if len(held) != len(names):
        raise ValueError(f"handles[{trait!r}] names {len(names)} points, but the trait holds {len(held)}")
    found = []
    for i, pair in enumerate(held):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"handles[{trait!r}] must name a trait that holds [x, y] pairs, got {pair!r}")
        found.append([number(f"handles[{trait!r}]: point {i}", value) for value in pair])
    return found


def _control(model, name, control):
    """What the browser needs to know about the control of one trait."""
    value, label = getattr(model, name), model.traits()[name].help or name.replace("_", " ")
    about = {"name": name, "label": label}
    if control == "check" and isinstance(value, bool):
        return about | {"kind": "check"}
    if isinstance(control, list) and control:
        control = plain(control)
        if value not in control:
            raise ValueError(f"controls[{name!r}] must hold the trait's value {value!r}, got {control!r}")
        kind = "words" if isinstance(control[0], str) else "slider"
        return about | {"kind": kind, "options": control}
    if isinstance(control, tuple) and len(control) == 3:
        for each in control:
            number(f"controls[{name!r}]", each)
        least, most, step = plain(control)
        if not (least < most and step > 0):
            raise ValueError(f"controls[{name!r}] must have least < most and a step above 0, got {control!r}")
        if isinstance(model.traits()[name], T.Int) and not (least % 1 == step % 1 == 0):
            raise ValueError(f"controls[{name!r}] must be whole numbers, as the trait is, got {control!r}")
        decimals = max(_decimals(least), _decimals(step))
        return about | {"kind": "slider", "least": least, "most": most, "step": step, "decimals": decimals}
    raise TypeError(f'controls[{name!r}] must be (least, most, step), a list or "check", got {control!r}')


def _decimals(value):
    """How many decimals a number has."""
    return len(f"{value:.10f}".rstrip("0").partition(".")[2])
