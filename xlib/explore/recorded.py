"""Panels on a page without a kernel: all that their controls can show is drawn beforehand; recorded.js shows it."""

import base64
import contextlib
import gzip
import html
import json
import math

from xlib.explore import page
from xlib.explore.scene import DARK, LIGHT, svg
from xlib.progress import tqdm

MOST = 320  # states of one panel, of some kB each; a control with more values than that leaves is thinned
DIGITS = 6  # of a mark's place: a hundredth of a pixel
SHADES = 1000  # of a field's colours, of which the eye tells some hundred
NEEDS = "needs Python: run the lesson for it"  # what panel.js says beside a button
COLOURS = {name: f"var(--{name.replace('#', 'c')})" for name in LIGHT | DARK}


def body(panel) -> str:
    """The place of one panel on a page, with its picture, its state, and the pictures of all states that its controls
    lead to. One whose formulas the browser knows (`closed`) has no need of those.

    The style sheet and the script are `page.stylesheet(panel)` and `page.script(panel, "panel")`. Points that no
    control moves cannot be dragged there. The model is left as it was.

    Example:
        >>> import traitlets
        >>> from xlib.explore.panel import panel
        >>> model = type("Line", (traitlets.HasTraits,), {"slope": traitlets.Float(1.0)})()
        >>> drawn = lambda model, scene: scene.axes().set(x=(0, 1), y=(-2, 2)).line([0, 1], [0, model.slope])
        >>> shown = panel(model, lambda *both: drawn(*both) and "a line", controls={"slope": (-2, 2, 0.5)})
        >>> body(shown)[:48], model.slope
        ('<div class="xlib-kernelless" data-kind="panel"><', 1.0)
    """
    alt, changed, more = panel.alt_text, {}, {}  # the words first: they see to it that the scene is the model's
    if not panel.closed:
        found = record(panel)
        moved = {name for k, name in enumerate(found["names"]) if len({str(row[k]) for row in found["values"]}) > 1}
        changed["controls"] = [
            control | {"options": options} if control["kind"] == "slider" else control
            for control, options in zip(panel.controls, found["options"], strict=True)
        ]
        changed["handles"] = [handle for handle in panel.handles if handle[0] in moved]
        more["scenes"] = base64.b64encode(gzip.compress(_written(found), mtime=0)).decode()
    changed["scene"] = _short(panel.scene)
    return page.place("panel", _still(panel, alt), page.state_of(panel, changed), **more)


def record(panel) -> dict:
    """All states that a panel's controls lead to, from what it shows now and from what it showed at first, as
    recorded.js reads them:

    names: its controls, then its points; options: of each control, the values it can be set to. values: of each
    state, what the model makes of them, in the order of names. now, first: two of the states. shown: each state's
    scene, of scenes, whose marks are places in `marks`; alts: its words. moves: [state, control, option, state that
    it leads to], where that is not the state with this one value changed.

    Each state is set in the model, as the browser would, and drawn; then the model is as it was. What draw raises is
    what that state says in words.
    """
    model, names = panel.model, panel._names
    options = _thinned(panel)
    before = dict(model.trait_values())
    places, rows, alts, shown, scenes, marks, moves = {}, [], [], [], {}, {}, []

    def state():
        held = panel._values()
        return _sent([held[name] for name in names])

    def here():
        """The model's state; a new one is drawn."""
        values = state()
        key = json.dumps(values)
        if key not in places:
            places[key] = len(rows)
            _, scene, alt, _ = panel.drawn()
            rows.append(values)
            alts.append(alt)
            shown.append(_place(scenes, _by_marks(_short(scene), marks)))
            bar.update()
        return places[key]

    def put(values):
        for _ in range(2):  # once more, for a trait that another one has moved when it was set
            for name, value in zip(names, values, strict=True):
                if getattr(model, name) != value:
                    _set(panel, name, value)
            if state() == values:
                return True
        return False

    total = math.prod(map(len, options))
    panel._busy = True  # it need not follow
    try:
        with tqdm(total=total, desc=panel.title or "panel", leave=False, delay=1) as bar:
            now = here()
            put([panel.initial[name] for name in names])
            first = here()
            for place, row in enumerate(rows):  # which grows
                for control, option in _steps(options):
                    if put(row):
                        _set(panel, names[control], options[control][option])
                        moves.append([place, control, option, here()])
    finally:
        for name, value in [*before.items()] * 2:
            if getattr(model, name) is not value:
                with contextlib.suppress(Exception):  # of who follows the model
                    model.set_trait(name, value)
        panel._busy = False
    return {
        "names": names,
        "options": options,
        "values": rows,
        "now": now,
        "first": first,
        "shown": shown,
        "scenes": list(map(json.loads, scenes)),
        "marks": list(map(json.loads, marks)),
        "alts": alts,
        "moves": _unexpected(moves, rows, options),
    }


def _thinned(panel):
    """For each control the values that are recorded. While there are more than MOST states, the longest slider keeps
    only every second, third … of its values, its ends, and what it is set to now and at first."""
    every = [_options(control) for control in panel.controls]
    options, steps = list(every), [1] * len(every)
    sliders = [k for k, control in enumerate(panel.controls) if control["kind"] == "slider"]
    while math.prod(map(len, options)) > MOST and (long := [k for k in sliders if steps[k] < len(every[k])]):
        k = max(long, key=lambda k: len(options[k]))
        steps[k] += 1
        name = panel.controls[k]["name"]
        kept = {*every[k][:: steps[k]], every[k][-1], panel.values[name], panel.initial[name]}
        options[k] = [value for value in every[k] if value in kept]
    return options


def _options(control):
    """All values of a control, in the order of the page and as the browser sends them: 1.0 is 1."""
    if control["kind"] == "check":
        return [False, True]
    values = control.get("options")
    if values is None:
        least, step = control["least"], control["step"]
        count = int((control["most"] - least) / step + 1e-6) + 1
        values = [round(least + i * step, control["decimals"]) for i in range(count)]
    return _sent(values)


def _sent(value):
    """As the browser sends it, for which 1.0 is 1."""
    if isinstance(value, list):
        return [_sent(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _steps(options):
    return [(control, option) for control, values in enumerate(options) for option in range(len(values))]


def _set(panel, name, value):
    """As the browser does; a value that is refused, or not wanted by who follows the model, is not the end."""
    with contextlib.suppress(Exception):
        panel._set({name: value})


def _unexpected(moves, rows, options):
    """The moves that do more than change one value, or less."""
    count = len(options)
    by_controls = {json.dumps(row[:count]): state for state, row in reversed(list(enumerate(rows)))}
    found = []
    for state, control, option, to in moves:
        wanted = [options[control][option] if k == control else value for k, value in enumerate(rows[state][:count])]
        if by_controls.get(json.dumps(wanted)) != to:
            found.append([state, control, option, to])
    return found


# ---- fewer bytes --------------------------------------------------------------------------------------------------


def _by_marks(scene, marks):
    """The scene with each mark's place among all that there are, as text."""
    if not scene:
        return "{}"
    axes = [part | {"marks": [_place(marks, json.dumps(mark)) for mark in part["marks"]]} for part in scene["axes"]]
    return json.dumps(scene | {"axes": axes})


def _place(found, text):
    return found.setdefault(text, len(found))


def _short(scene):
    """The scene with no more digits in its marks than can be seen."""
    if not scene:
        return {}
    axes = [part | {"marks": [_rounded(_levels(mark)) for mark in part["marks"]]} for part in scene["axes"]]
    return scene | {"axes": axes}


def _rounded(value):
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return {name: _rounded(each) for name, each in value.items()} if isinstance(value, dict) else value


def _levels(mark):
    if mark["mark"] != "field":
        return mark
    low, high = mark["low"], mark["high"]
    level = lambda v: v and round(min(max((v - low) / (high - low), 0), 1) * SHADES)  # noqa: E731
    return mark | {"low": 0, "high": SHADES, "values": [[level(v) for v in row] for row in mark["values"]]}


def _written(found):
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()


# ---- the picture until it starts ----------------------------------------------------------------------------------


def _still(panel, alt):
    """The panel as it will stand there, of the same height, with nothing that can be moved."""
    scene, title = panel.scene, panel.title
    tall = scene.get("height", 0)
    picture = f'<div role="img" aria-label="{html.escape(alt)}">{svg(scene, colours=COLOURS)}</div>' if scene else ""
    parts = [
        f'<p class="title">{html.escape(title)}</p>' if title else "",
        f'<div class="controls">{"".join(map(_control, panel.controls))}</div>',
        f'<div class="stage" style="--beside: {tall}px; --below: {tall * len(scene.get("axes", []))}px">',
        picture or html.escape(alt),
        f'</div><div class="bar">{_buttons(["▶ play"] * bool(panel.play) + ["reset", *panel.actions])}',
        f'<span class="progress">{NEEDS}</span></div>' if panel.actions and not panel.closed else "</div>",
    ]
    return f'<div class="xlib-panel still">{"".join(parts)}</div>'


def _control(control):
    label = f'<span class="label">{html.escape(control["label"])}</span>'
    if control["kind"] == "words":
        return f'<div class="control words">{label}<div class="choice">{_buttons(control["options"])}</div></div>'
    if control["kind"] == "check":
        return f'<div class="control check"><input type="checkbox" disabled>{label}</div>'
    return f'<div class="control slide">{label}</div>'


def _buttons(words):
    return "".join(f'<button type="button" disabled>{html.escape(each)}</button>' for each in words)
