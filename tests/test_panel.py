"""The panel of controls, points to drag and a scene, driven through its model and its messages, without a browser."""

import base64
import json
import xml.etree.ElementTree as ET

import nbformat
import numpy as np
import pytest
import traitlets as T
from nbclient import NotebookClient

from xlib.explore.panel import panel
from xlib.explore.scene import DARK, LIGHT

HOSTILE = """"><script>window.hacked = 1</script>"""


class Line(T.HasTraits):
    slope = T.Float(1.0, help="slope of the line")
    points = T.Int(4)
    line_style = T.Unicode("solid")
    shown = T.Bool(True, help="show the line")
    doubled = T.Float()

    @T.observe("slope")
    def _double(self, change):
        self.doubled = 2 * self.slope


CONTROLS = {
    "slope": (-5.0, 5.0, 0.001),
    "points": (2, 9, 1),
    "line_style": ["solid", "dotted"],
    "shown": "check",
}


def draw(model, scene):
    model.drawn.append(scene)
    x = np.linspace(0, 1, model.points)
    axes = scene.axes().set(x=(0, 1), y=(-5, 5))
    if model.shown:
        axes.line(x, model.slope * x, dash=model.line_style == "dotted")
    return f"{model.points} points rise by {model.slope:g}, drawn {model.line_style}."


@pytest.fixture
def line():
    model = Line()
    model.drawn = []  # the scenes of all draws, for tests that count them
    return model


def ask(view, stamp=0.5, reset=False, **values):
    """What the browser sends."""
    view._handle_custom_msg(json.loads(json.dumps({"stamp": stamp, "reset": reset, "set": values})), [])


def refused(view, **message):
    """The same, with the error that Jupyter writes into its log."""
    view._asked(view, {"stamp": 0.3, "reset": False} | message, [])


def first_line(view):
    return view.scene["axes"][0]["marks"][0]


def test_setting_a_trait_draws_anew(line):
    view = panel(line, draw, controls=CONTROLS)
    assert view.alt_text == "4 points rise by 1, drawn solid."
    for name, value, words in (
        ("slope", -2.5, "4 points rise by -2.5, drawn solid."),
        ("points", 7, "7 points rise by -2.5, drawn solid."),
        ("line_style", "dotted", "7 points rise by -2.5, drawn dotted."),
    ):
        setattr(line, name, value)
        assert view.alt_text == words
        assert view.values[name] == value
    assert (first_line(view)["y"][-1], len(first_line(view)["y"]), first_line(view)["dash"]) == (-2.5, 7, True)
    assert len(line.drawn) == 4  # once for each change, though the slope moves `doubled` as well


def test_what_the_browser_sets_reaches_the_model_and_comes_back(line):
    view = panel(line, draw, controls=CONTROLS)
    ask(view, 0.7, slope=0.25, points=9, line_style="dotted", shown=False)
    assert (line.slope, line.points, line.line_style, line.shown) == (0.25, 9, "dotted", False)
    assert view.values == {"slope": 0.25, "points": 9, "line_style": "dotted", "shown": False}
    assert (view.answered, view.alt_text) == (0.7, "9 points rise by 0.25, drawn dotted.")
    assert len(line.drawn) == 2  # once, for all of them together
    ask(view, slope=3)  # JavaScript has no whole numbers of its own
    assert (line.slope, type(line.slope)) == (3.0, float)


def test_two_panels_of_one_model_move_together(line):
    one, other = (panel(line, draw, controls=CONTROLS) for _ in range(2))
    ask(one, slope=4.0)
    assert (one.values["slope"], other.values["slope"]) == (4, 4)
    assert other.alt_text == "4 points rise by 4, drawn solid."


def test_the_browser_hears_what_each_control_is(line):
    slope, points, style, shown = panel(line, draw, controls=CONTROLS).controls
    assert slope == {"name": "slope", "label": "slope of the line", "kind": "slider", "least": -5.0, "most": 5.0,
                     "step": 0.001, "decimals": 3}  # fmt: skip
    assert (points["label"], points["least"], points["most"], points["decimals"]) == ("points", 2, 9, 0)
    assert (style["label"], style["kind"], style["options"]) == ("line style", "words", ["solid", "dotted"])
    assert shown == {"name": "shown", "label": "show the line", "kind": "check"}


@pytest.mark.parametrize(
    ("control", "decimals"),
    [((-10, 10, 1), 0), ((-10, 10, 0.5), 1), ((0, 1, 1e-7), 7), ((0.05, 1, 0.1), 2), ((0, 20, 10.0), 0)],
)
def test_numbers_have_as_many_decimals_as_the_step_and_the_least(line, control, decimals):
    assert panel(line, draw, controls={"slope": control}).controls[0]["decimals"] == decimals


def test_numbers_of_numpy_are_numbers(line):
    view = panel(line, draw, controls={"slope": list(np.linspace(0, 1, 3)), "points": list(np.arange(3, 6))})
    assert [control["options"] for control in view.controls] == [[0.0, 0.5, 1.0], [3, 4, 5]]
    line.slope = np.float64(0.5)
    assert json.loads(json.dumps([view.controls, view.values, view.scene]))[1]["slope"] == 0.5


# -- reset, and a model that has its own mind


class Steps(T.HasTraits):
    """A seed that begins anew when it changes."""

    step = T.Int(0)
    seed = T.Int(0)

    @T.observe("seed")
    def _anew(self, change):
        self.step = 0

    @T.validate("step")
    def _not_seven(self, proposal):
        if proposal.value == 7:
            raise T.TraitError("seven is refused")
        return min(proposal.value, 8)


def say(model, scene):
    scene.axes().set(x=(0, 1), y=(0, 1))
    return f"step {model.step} of seed {model.seed}"


def test_reset_brings_all_back_though_one_trait_moves_another():
    model = Steps(seed=3)
    model.step = 4
    view = panel(model, say, controls={"step": (0, 10, 1), "seed": (0, 5, 1)})
    assert view.initial == {"step": 4, "seed": 3}
    ask(view, seed=1)
    ask(view, step=2)
    ask(view, reset=True, **view.initial)
    assert (model.step, model.seed, view.values) == (4, 3, {"step": 4, "seed": 3})
    assert view.initial == {"step": 4, "seed": 3}


def test_what_the_model_refuses_or_changes_is_answered():
    model = Steps()
    view = panel(model, say, controls={"step": (0, 10, 1)})
    with pytest.raises(T.TraitError, match=r"^seven is refused$"):
        refused(view, set={"step": 7})
    assert (view.values, view.answered, view.alt_text) == ({"step": 0}, 0.3, "step 0 of seed 0")
    ask(view, 0.4, step=10)
    assert (model.step, view.values, view.answered) == (8, {"step": 8}, 0.4)


def test_the_browser_sets_nothing_else(line):
    view = panel(line, draw, controls={"slope": (0, 1, 0.1)})
    with pytest.raises(ValueError, match=r"^the browser may set slope, got 'points'$"):
        refused(view, set={"points": 5})
    assert (line.points, view.answered) == (4, 0.3)


# -- actions


def test_an_action_tells_how_far_it_is_and_draws_at_its_end(line):
    def run(tell):
        seen.append((view.acting, view.progress))
        tell("step 3 of 5")
        seen.append((view.acting, view.progress))
        line.points = 8

    view, seen = panel(line, draw, controls=CONTROLS, actions={"go": run, "stay": lambda tell: None}), []
    assert view.actions == ["go", "stay"]
    view._handle_custom_msg({"action": 0}, [])
    assert seen == [(True, "working…"), (True, "step 3 of 5")]
    assert (view.acting, view.progress, view.alt_text) == (False, "", "8 points rise by 1, drawn solid.")
    drawn = len(line.drawn)
    view._handle_custom_msg({"action": 1}, [])
    assert len(line.drawn) == drawn + 1  # it may have changed what draw looks up elsewhere


def test_an_action_that_fails_says_so_until_something_else_is_done(line):
    def fail(tell):
        raise ZeroDivisionError("too steep")

    view = panel(line, draw, controls=CONTROLS, actions={"go": fail})
    with pytest.raises(ZeroDivisionError):
        refused(view, action=0)
    assert (view.acting, view.progress) == (False, "ZeroDivisionError: too steep")
    ask(view, slope=2)
    assert view.progress == ""


# -- what goes wrong


def steep(model, scene):
    if model.slope > 2:
        raise ZeroDivisionError("too steep")
    return draw(model, scene)


@pytest.mark.parametrize("by", ["trait", "browser"])
def test_what_draw_raises_is_raised_where_the_value_was_set(line, by):
    view = panel(line, steep, controls=CONTROLS)
    with pytest.raises(ZeroDivisionError, match=r"^too steep$"):
        refused(view, set={"slope": 3.0}) if by == "browser" else setattr(line, "slope", 3.0)
    assert line.slope == view.values["slope"] == 3
    assert view.alt_text == "The picture could not be drawn. ZeroDivisionError: too steep"
    assert (view.scene, view.still()) == ({}, "")
    assert view.answered == (0.3 if by == "browser" else 0)
    line.slope = 1.5
    assert view.alt_text == "4 points rise by 1.5, drawn solid."
    assert first_line(view)["y"][-1] == 1.5


def test_what_draw_raises_first_is_raised_by_panel(line):
    line.slope = 3.0
    with pytest.raises(ZeroDivisionError, match=r"^too steep$"):
        panel(line, steep, controls=CONTROLS)


@pytest.mark.parametrize("words", [None, "", "  ", 3])
def test_a_picture_without_words_is_refused(line, words):
    with pytest.raises(TypeError, match=rf"^draw must return what the picture shows in words, got {words!r}$"):
        panel(line, lambda model, scene: words, controls=CONTROLS)


def test_a_scene_without_axes_is_refused(line):
    with pytest.raises(ValueError, match=r"^each axes of a scene needs set"):
        panel(line, lambda model, scene: "nothing", controls=CONTROLS)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": {"slope": 1}}, TypeError, "model must be a traitlets.HasTraits, got dict"),
        (
            {"controls": {"slope": (0, 1, 0.1), "b": (0, 1, 1), "a": []}},
            ValueError,
            "controls must name traits of the model, got 'a', 'b'",
        ),
        ({"controls": {"slope": (0, 1)}}, TypeError, r"controls\['slope'\] must be \(least, most, step\), a list"),
        ({"controls": {"slope": "0-1"}}, TypeError, r"controls\['slope'\] must be .*, got '0-1'"),
        ({"controls": {"slope": "check"}}, TypeError, r"controls\['slope'\] must be .*, got 'check'"),
        ({"controls": {"slope": []}}, TypeError, r"controls\['slope'\] must be .*, got \[\]"),
        ({"controls": {"slope": (1, 0, 0.1)}}, ValueError, r"controls\['slope'\] must have least < most and a step"),
        ({"controls": {"slope": (0, 1, 0)}}, ValueError, r"controls\['slope'\] must have least < most and a step"),
        ({"controls": {"slope": (0, 1, "a")}}, TypeError, r"controls\['slope'\] must be a number .*, got 'a'"),
        ({"controls": {"points": (0, 10, 0.5)}}, ValueError, r"controls\['points'\] must be whole numbers, as"),
        (
            {"controls": {"line_style": ["dashed"]}},
            ValueError,
            r"controls\['line_style'\] must hold the trait's value",
        ),
        ({"play": "doubled"}, ValueError, "play must be among slope, points, line_style, shown, got doubled"),
        ({"circles": ["slope"]}, ValueError, "circles must be among none, got slope"),
        ({"actions": {"go": "run"}}, TypeError, r"actions\['go'\] must be a function of tell, got 'run'"),
    ],
)
def test_panel_names_what_is_wrong(line, arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        panel(**{"model": line, "draw": draw, "controls": CONTROLS} | arguments)
    assert not line.drawn  # before any work is done


# -- the still picture


def test_the_still_is_the_scene_of_the_moment_in_either_theme(line):
    view = panel(line, draw, controls=CONTROLS)
    before = view.still()
    line.slope = 3.0
    light, dark = (ET.fromstring(view.still(dark=dark)) for dark in (False, True))
    assert view.still() != before
    assert (light[0].get("fill"), dark[0].get("fill")) == (LIGHT["paper"], DARK["paper"])


CELL = f"""
import traitlets as T
from xlib.explore.panel import panel
model = type("Line", (T.HasTraits,), {{"slope": T.Float(1.0)}})()
def draw(model, scene):
    if model.slope > 2:
        raise ValueError("too steep")
    scene.axes().set(x=(0, 1), y=(-2, 2), title={HOSTILE!r}).line([0, 1], [0, model.slope])
    return f"slope {{model.slope}}" + {HOSTILE!r}
shown = panel(model, draw, controls={{"slope": (-2, 3, 0.5)}}, title={HOSTILE!r})
shown
---
try:
    model.slope = 3.0
except ValueError:
    pass
shown
"""


@pytest.mark.long
def test_a_panel_is_two_outputs_its_picture_and_the_widget():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELL.split("---\n")])
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    still, live = notebook.cells[0].outputs
    assert sorted(still.data) == ["image/png", "text/html", "text/plain"]
    assert still.data["text/plain"] == "slope 1.0" + HOSTILE
    assert "<script" not in still.data["text/html"]
    assert base64.b64decode(still.data["image/png"]).startswith(b"\x89PNG")
    assert sorted(live.data) == ["application/vnd.jupyter.widget-view+json", "text/plain"]
    (failed,) = notebook.cells[1].outputs  # there is no picture of it, but it can be moved back
    assert "application/vnd.jupyter.widget-view+json" in failed.data


# -- points to drag


class Arrows(T.HasTraits):
    images = T.List([[1.0, 0.0], [0.0, 1.0]])  # on the unit circle
    free = T.List([[0.5, 0.25]])
    word = T.Unicode("free")
    log = T.Bool(False)

    @T.validate("images")
    def _onto_the_circle(self, proposal):
        xy = np.array(proposal.value, float)
        return (xy / np.linalg.norm(xy, axis=1, keepdims=True)).tolist()


HANDLES = {"images": ["image 1", "image 2"], "free": ["free"]}


def draw_arrows(model, scene):
    axes = scene.axes().set(x=(0.01, 1.5) if model.log else (-1.5, 1.5), y=(2, -2), xlog=model.log)
    if not model.log:
        axes.points(*np.transpose(model.images), colour="#0072B2").points(*np.transpose(model.free), shape="^")
    return f"images at {model.images}, {model.word} at {model.free}"


@pytest.fixture
def arrows():
    return Arrows()


def test_what_is_dragged_reaches_the_model_and_the_ring_follows_the_model(arrows):
    view, seen, before = panel(arrows, draw_arrows, handles=HANDLES, circles=["images"]), [], arrows.images
    assert view.handles == [["images", ["image 1", "image 2"], True], ["free", ["free"], False]]
    assert view.values == {"images": [[1, 0], [0, 1]], "free": [[0.5, 0.25]]}
    arrows.observe(lambda change: seen.append((change.name, change.new)))
    ask(view, 0.1, free=[[-0.75, 1.0]])
    assert seen == [("free", [[-0.75, 1.0]])]
    assert view.alt_text == "images at [[1.0, 0.0], [0.0, 1.0]], free at [[-0.75, 1.0]]"
    assert view.answered == 0.1
    ask(view, 0.2, images=[[1.0, 0.0], [3.0, 4.0]])  # the model has its own mind: it puts the point on the circle
    assert arrows.images == [[1.0, 0.0], [0.6, 0.8]]
    assert view.values == {"images": [[1, 0], [0.6, 0.8]], "free": [[-0.75, 1]]}
    assert before == [[1.0, 0.0], [0.0, 1.0]]  # a new list each time, so that observers can tell
    assert view.answered == 0.2


def test_points_set_in_python_move_the_rings(arrows):
    arrows.free = [(1, np.float64(2))]  # pairs may be tuples, and numbers whole or numpy's
    view = panel(arrows, draw_arrows, controls={"word": ["free", "bound"]}, handles=HANDLES)
    assert view.values["free"] == [[1.0, 2.0]]
    assert json.dumps(view.values["free"]) == "[[1.0, 2.0]]"
    arrows.images = [[0.0, 2.0], [2.0, 0.0]]
    assert view.values["images"] == [[0.0, 1.0], [1.0, 0.0]]
    ask(view, word="bound")  # beside a control
    assert view.alt_text.endswith("bound at [(1, 2.0)]") or view.alt_text.endswith("bound at [(1, np.float64(2.0))]")


def test_a_failure_while_dragging_is_shown_and_mended_by_dragging_on(arrows):
    def careful(model, scene):
        if model.free[0][0] > 1:
            raise ZeroDivisionError("too far")
        return draw_arrows(model, scene)

    view = panel(arrows, careful, handles=HANDLES)
    with pytest.raises(ZeroDivisionError):
        refused(view, set={"free": [[1.25, 0.0]]})
    assert (view.scene, view.answered) == ({}, 0.3)
    assert view.alt_text == "The picture could not be drawn. ZeroDivisionError: too far"
    assert view.values["free"] == [[1.25, 0.0]]  # the ring is where the model's point is
    ask(view, free=[[0.75, 0.0]])
    assert view.alt_text.endswith("free at [[0.75, 0.0]]")
    assert view.scene


def test_a_changed_number_of_points_is_named(arrows):
    view = panel(arrows, draw_arrows, handles=HANDLES)
    with pytest.raises(ValueError, match=r"^handles\['free'\] names 1 points, but the trait holds 2$"):
        arrows.free = [[0.0, 0.0], [1.0, 1.0]]
    assert view.scene == {}
    assert "handles['free'] names 1 points" in view.alt_text


@pytest.mark.parametrize(
    ("handles", "error", "message"),
    [
        ({"z": ["z"], "images": ["a", "b"]}, ValueError, "handles must name traits of the model, got 'z'"),
        ({"images": ["a"]}, ValueError, r"handles\['images'\] names 1 points, but the trait holds 2"),
        ({"free": "f"}, TypeError, r"handles\['free'\] must be a list with the name of each point, got 'f'"),
        ({"free": [1]}, TypeError, r"handles\['free'\] must be a list with the name of each point, got \[1\]"),
        ({"free": [" "]}, TypeError, r"handles\['free'\] must be a list with the name of each point, got \[' '\]"),
        ({"word": list("free")}, TypeError, r"handles\['word'\] must name a trait that holds \[x, y\] pairs, got 'f"),
    ],
)
def test_handles_are_checked_before_anything_is_drawn(arrows, handles, error, message):
    with pytest.raises(error, match=f"^{message}"):
        panel(arrows, lambda *both: pytest.fail("drawn"), handles=handles)


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        ([1.0], ValueError, r"handles\['free'\] must name a trait that holds \[x, y\] pairs, got \[1.0\]"),
        ([1.0, 2.0, 3.0], ValueError, r"handles\['free'\] must name .* pairs, got \[1.0, 2.0, 3.0\]"),
        (4, ValueError, r"handles\['free'\] must name .* pairs, got 4"),
        ("xy", ValueError, r"handles\['free'\] must name .* pairs, got 'xy'"),
        ([1.0, float("nan")], ValueError, r"handles\['free'\]: point 0 must be a finite number, got nan"),
        ([float("inf"), 0], ValueError, r"handles\['free'\]: point 0 must be a finite number, got inf"),
        ([1.0, "2"], TypeError, r"handles\['free'\]: point 0 must be a number .*, got '2'"),
    ],
)
def test_points_are_pairs_of_finite_numbers(arrows, pair, error, message):
    arrows.free = [pair]
    with pytest.raises(error, match=f"^{message}"):
        panel(arrows, lambda *both: pytest.fail("drawn"), handles=HANDLES)


def test_only_linear_axes_can_be_dragged_on(arrows):
    arrows.log = True
    with pytest.raises(ValueError, match=r"^handles need linear first axes, got a logarithmic scale$"):
        panel(arrows, draw_arrows, handles=HANDLES)


# -- a panel that the browser draws


def test_a_closed_panel_is_drawn_here_only_when_somebody_looks(line):
    view = panel(line, draw, controls=CONTROLS, closed="arrows", constants={"k": 2})
    assert (view.closed, view.constants, len(line.drawn)) == ("arrows", {"k": 2}, 1)
    for slope in (2.0, 3.0, 4.0):
        ask(view, slope, slope=slope)
    assert (view.values["slope"], view.answered, len(line.drawn)) == (4, 4, 1)
    assert view.alt_text == "4 points rise by 4, drawn solid."
    assert len(line.drawn) == 2
    assert first_line(view)["y"][-1] == 4
    view.still()
    assert len(line.drawn) == 2
