"""The panel of sliders and a picture, driven through its model, without a browser."""

import base64
import io

import ipywidgets as widgets
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import traitlets as T
from PIL import Image

from xlib.explore.panel import panel
from xlib.explore.view import PALETTE

HOSTILE = """"><script>window.hacked = 1</script>"""


class Line(T.HasTraits):
    slope = T.Float(1.0, help="slope of the line")
    points = T.Int(4)
    line_style = T.Unicode("solid")
    doubled = T.Float()

    @T.observe("slope")
    def _double(self, change):
        self.doubled = 2 * self.slope


CONTROLS = {"slope": (-5.0, 5.0, 0.001), "points": (2, 9, 1), "line_style": ["solid", "dotted"]}


def draw(model, figure):
    model.figures.append(figure)
    x = np.linspace(0, 1, model.points)
    figure.subplots().plot(x, model.slope * x, "o", linestyle=model.line_style)
    return f"{model.points} points rise by {model.slope:g}, drawn {model.line_style}."


@pytest.fixture
def line():
    model = Line()
    model.figures = []  # what draw was given, for tests that look at them
    return model


def sliders(view):
    return dict(zip(CONTROLS, view.children[-2].children, strict=True))


def pixels(png):
    return np.array(Image.open(io.BytesIO(base64.b64decode(png, validate=True))).convert("RGB"))


def test_setting_a_trait_draws_anew(line):
    view = panel(line, draw, controls=CONTROLS)
    assert view.alt_text == "4 points rise by 1, drawn solid."
    seen = [view.picture.png]
    for name, value, words in (
        ("slope", -2.5, "4 points rise by -2.5, drawn solid."),
        ("points", 7, "7 points rise by -2.5, drawn solid."),
        ("line_style", "dotted", "7 points rise by -2.5, drawn dotted."),
    ):
        setattr(line, name, value)
        assert view.alt_text == words
        assert view.picture.png not in seen
        seen.append(view.picture.png)
    assert pixels(seen[0]).shape == (720, 1440, 3)
    assert len(line.figures) == 4  # once for each change, though the slope moves `doubled` as well


def test_sliders_and_traits_move_each_other(line):
    view = panel(line, draw, controls=CONTROLS)
    found = sliders(view)
    found["slope"].value, found["points"].value, found["line_style"].value = 0.25, 9, "dotted"
    assert (line.slope, line.points, line.line_style) == (0.25, 9, "dotted")
    assert view.alt_text == "9 points rise by 0.25, drawn dotted."
    line.slope, line.points, line.line_style = -1.5, 3, "solid"
    assert [slider.value for slider in found.values()] == [-1.5, 3, "solid"]


def test_two_panels_of_one_model_move_together(line):
    one, other = (panel(line, draw, controls=CONTROLS) for _ in range(2))
    sliders(one)["slope"].value = 4.0
    assert sliders(other)["slope"].value == 4
    assert other.alt_text == "4 points rise by 4, drawn solid."


def test_controls_become_sliders_with_labels(line):
    found = sliders(panel(line, draw, controls=CONTROLS))
    slope, points, style = found.values()
    assert type(slope) is widgets.FloatSlider
    assert (slope.min, slope.max, slope.step, slope.readout_format) == (-5, 5, 0.001, ".3f")
    assert type(points) is widgets.IntSlider
    assert (points.min, points.max, points.step) == (2, 9, 1)
    assert type(style) is widgets.SelectionSlider
    assert style.options == ("solid", "dotted")
    assert [s.description for s in found.values()] == ["slope of the line", "points", "line style"]
    assert {s.style.description_width for s in found.values()} == {"initial"}
    assert all(s.continuous_update for s in found.values())


@pytest.mark.parametrize(("step", "digits"), [(1, ".0f"), (0.5, ".1f"), (0.25, ".2f"), (10.0, ".0f"), (1e-4, ".4f")])
def test_numbers_show_as_many_decimals_as_a_step_has(line, step, digits):
    view = panel(line, draw, controls={"slope": (-10, 10, step)})
    assert view.children[0].children[0].readout_format == digits


def test_a_widget_of_ones_own_is_linked_too(line):
    line.slope = 2.0
    own = widgets.FloatLogSlider(min=-2, max=2, description="slope")
    view = panel(line, draw, controls={"slope": own})
    assert own.value == 2
    own.value = 10.0
    assert line.slope == pytest.approx(10)
    assert view.alt_text == "4 points rise by 10, drawn solid."


def test_the_title_is_a_line_of_text(line):
    titled = panel(line, draw, controls=CONTROLS, title=HOSTILE)
    assert isinstance(titled.children[0], widgets.Label)  # which shows text, never markup
    assert titled.children[0].value == HOSTILE
    assert len(panel(line, draw, controls=CONTROLS).children) == 2


# -- what goes wrong


def steep(model, figure):
    if model.slope > 2:
        raise ZeroDivisionError("too steep")
    return draw(model, figure)


@pytest.mark.parametrize("by", ["trait", "slider"])
def test_what_draw_raises_is_raised_where_the_value_was_set(line, by):
    view = panel(line, steep, controls=CONTROLS)
    target, name = (line, "slope") if by == "trait" else (sliders(view)["slope"], "value")
    with pytest.raises(ZeroDivisionError, match=r"^too steep$"):
        setattr(target, name, 3.0)
    assert line.slope == sliders(view)["slope"].value == 3
    assert view.alt_text == "The picture could not be drawn. ZeroDivisionError: too steep"
    assert view.picture.png == ""
    line.slope = 1.5
    assert view.alt_text == "4 points rise by 1.5, drawn solid."
    assert pixels(view.picture.png).shape == (720, 1440, 3)


def test_what_draw_raises_first_is_raised_by_panel(line):
    line.slope = 3.0
    with pytest.raises(ZeroDivisionError, match=r"^too steep$"):
        panel(line, steep, controls=CONTROLS)


@pytest.mark.parametrize("words", [None, "", "  ", 3])
def test_a_picture_without_words_is_refused(line, words):
    with pytest.raises(TypeError, match=rf"^draw must return what the picture shows in words, got {words!r}$"):
        panel(line, lambda model, figure: words, controls=CONTROLS)


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
        ({"controls": {"line_style": ["dashed"]}}, T.TraitError, ""),
    ],
)
def test_panel_names_what_is_wrong(line, arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        panel(**{"model": line, "draw": draw, "controls": CONTROLS} | arguments)
    assert not line.figures  # before any work is done


# -- the picture


def test_the_still_picture_has_its_alt_text(line):
    view = panel(line, lambda model, figure: draw(model, figure) + HOSTILE, controls=CONTROLS)
    line.slope = 3.0
    data, metadata = view._repr_mimebundle_()
    words = "4 points rise by 3, drawn solid." + HOSTILE
    assert data["text/plain"] == view.alt_text == words
    assert metadata == {"image/png": {"alt": words, "width": 720}}
    assert data["image/png"] == view.picture.png
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == view.model_id
    assert not any("html" in kind for kind in data)  # text nowhere becomes markup


def test_the_still_picture_is_as_wide_as_draw_made_it(line):
    def wide(model, figure):
        figure.set_size_inches(9, 2)
        return draw(model, figure)

    view = panel(line, wide, controls=CONTROLS)
    assert pixels(view.picture.png).shape == (400, 1800, 3)
    assert view._repr_mimebundle_()[1]["image/png"]["width"] == 900


def test_pictures_are_white_cards_in_okabe_ito_colours(line):
    def two(model, figure):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], linewidth=20)
        axes.plot([0, 1], [1, 0], linewidth=20)
        return "Two thick lines."

    settings = matplotlib.rcParams["axes.prop_cycle"]
    found = pixels(panel(line, two, controls=CONTROLS).picture.png)
    for colour in ("#ffffff", *PALETTE[:2]):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (found == rgb).all(axis=2).sum() > 10_000, colour
    assert (found[[0, -1]] == 255).all()
    assert matplotlib.rcParams["axes.prop_cycle"] == settings


def test_text_is_nine_points_or_more_on_the_page(line):
    panel(line, draw, controls=CONTROLS)
    axes = line.figures[0].axes[0]
    drawn = [axes.xaxis.label, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()]
    # 100 CSS pixels stand for an inch, and 96 CSS pixels are 72 points
    assert min(text.get_fontsize() for text in drawn) * 100 / 72 * 72 / 96 >= 9


def test_pyplot_holds_no_figure(line):
    before = plt.get_fignums()
    panel(line, draw, controls=CONTROLS)
    line.slope = 2.0
    assert plt.get_fignums() == before


# -- points to drag


class Arrows(T.HasTraits):
    images = T.List([[1.0, 0.0], [0.0, 1.0]])  # on the unit circle
    free = T.List([[0.5, 0.25]])
    word = T.Unicode("free")
    scale = T.Unicode("linear")
    axes = T.Int(2)

    @T.validate("images")
    def _onto_the_circle(self, proposal):
        xy = np.array(proposal.value, float)
        return (xy / np.linalg.norm(xy, axis=1, keepdims=True)).tolist()


HANDLES = {"images": ["image 1", "image 2"], "free": ["free"]}


def draw_arrows(model, figure):
    every = figure.subplots(1, model.axes, squeeze=False)[0] if model.axes else []
    for axes in every[:1]:
        axes.plot(*np.array(model.images).T, "o")
        axes.plot(*model.free[0], "^")
        axes.set(xlim=(-1.5, 1.5), ylim=(2, -2), title=model.word, xscale=model.scale)
        axes.set_ylabel("tall\n" * max(1, round(abs(model.free[0][1]) * 4)))  # takes room as the point moves
    return f"images at {model.images}, {model.word} at {model.free}"


@pytest.fixture
def arrows():
    return Arrows()


def ask(view, *moves, held=False, stamp=0.5):
    """What the browser sends."""
    view.picture._handle_custom_msg({"stamp": stamp, "held": held, "moves": [list(move) for move in moves]}, [])


def test_what_is_dragged_reaches_the_model_and_the_ring_follows_the_model(arrows):
    view, seen, before = panel(arrows, draw_arrows, handles=HANDLES), [], arrows.images
    assert view.picture.points == [["image 1", 1.0, 0.0], ["image 2", 0.0, 1.0], ["free", 0.5, 0.25]]
    arrows.observe(lambda change: seen.append((change.name, change.new)))
    pictures = [view.picture.png]
    ask(view, (2, -0.75, 1.0), stamp=0.1)
    assert seen == [("free", [[-0.75, 1.0]])]
    assert view.alt_text == "images at [[1.0, 0.0], [0.0, 1.0]], free at [[-0.75, 1.0]]"
    assert view.picture.answered == 0.1
    pictures.append(view.picture.png)
    ask(view, (1, 3.0, 4.0), stamp=0.2)  # the model has its own mind: it puts the point on the unit circle
    assert arrows.images == [[1.0, 0.0], [0.6, 0.8]]
    assert view.picture.points == [["image 1", 1.0, 0.0], ["image 2", 0.6, 0.8], ["free", -0.75, 1.0]]
    assert before == [[1.0, 0.0], [0.0, 1.0]]  # a new list each time, so that observers can tell
    assert view.picture.answered == 0.2
    assert view.picture.png not in pictures


def test_several_points_move_in_one_message(arrows):
    view = panel(arrows, draw_arrows, handles=HANDLES)
    ask(view, (0, 0.0, -2.0), (2, 0.5, 0.5), (1, 0.0, 5.0))
    assert (arrows.images, arrows.free) == ([[0.0, -1.0], [0.0, 1.0]], [[0.5, 0.5]])


def test_points_set_in_python_move_the_rings(arrows):
    arrows.free = [(1, 2)]  # pairs may be tuples, and numbers whole
    view = panel(arrows, draw_arrows, controls={"word": ["free", "bound"]}, handles=HANDLES)
    assert view.picture.points[2] == ["free", 1.0, 2.0]
    ask(view, (2, 0.5, 1.5))
    arrows.images = [[0.0, 2.0], [2.0, 0.0]]
    assert view.picture.points == [["image 1", 0.0, 1.0], ["image 2", 1.0, 0.0], ["free", 0.5, 1.5]]
    view.children[0].children[0].value = "bound"  # beside a control
    assert view.alt_text == "images at [[0.0, 1.0], [1.0, 0.0]], bound at [[0.5, 1.5]]"


def test_the_frame_says_where_the_axes_are(arrows):
    figures = []
    view = panel(arrows, lambda m, figure: figures.append(figure) or draw_arrows(m, figure), handles=HANDLES)
    (left, right, *xlim), (bottom, top, *ylim) = view.picture.frame
    assert (xlim, ylim) == ([-1.5, 1.5], [2, -2])  # an axis may run downwards
    # The same as where matplotlib itself puts two data points, in pixels from the lower left.
    pixels_of = figures[0].axes[0].transData.transform([(-1.5, 2), (1.5, -2)])
    expected = [[left * 1440, (1 - bottom) * 720], [right * 1440, (1 - top) * 720]]
    np.testing.assert_allclose(pixels_of, expected, atol=0.01)


def test_axes_stand_still_while_a_point_is_held_and_are_arranged_when_it_is_let_go(arrows):
    view = panel(arrows, draw_arrows, handles=HANDLES)
    first = view.picture.frame
    ask(view, (2, 0.5, 1.0), held=True)
    assert view.picture.frame == first  # although the label needs more room now
    held = view.picture.png
    ask(view, held=False)
    assert view.picture.frame != first
    assert view.picture.png != held
    assert view.picture.png == panel(arrows, draw_arrows, handles=HANDLES).picture.png  # as if it had been there ever
    settled, draws = view.picture.frame, []
    view._draw = lambda *both: draws.append(both) or draw_arrows(*both)
    ask(view, stamp=0.7)  # nothing to do: it is answered all the same
    assert (view.picture.frame, view.picture.answered, len(draws)) == (settled, 0.7, 0)
    ask(view, (2, 0.5, -0.25))
    assert len(draws) == 1
    arrows.free = [[0.5, 1.5]]
    assert view.picture.frame != settled  # set in Python, it is never held


def test_a_held_point_may_change_the_number_of_axes(arrows):
    def change(model, figure):
        model.axes = 1 if model.free[0][0] > 1 else 2
        return draw_arrows(model, figure)

    view = panel(arrows, change, handles=HANDLES)
    narrow = view.picture.frame[0][1]
    ask(view, (2, 1.25, 0.0), held=True)
    assert view.picture.frame[0][1] > narrow + 0.3


def test_a_refused_point_is_answered_and_stays():
    class Strict(Arrows):
        @T.validate("free")
        def _not_left(self, proposal):
            if proposal.value[0][0] < 0:
                raise T.TraitError("not on the left")
            return proposal.value

    view = panel(Strict(), draw_arrows, handles=HANDLES)
    with pytest.raises(T.TraitError, match=r"^not on the left$"):
        view._move(view.picture, {"stamp": 0.3, "held": True, "moves": [[2, -1.0, 0.0]]}, [])
    assert view.picture.points[2] == ["free", 0.5, 0.25]
    assert view.picture.answered == 0.3


def test_a_failure_while_dragging_is_shown_and_mended_by_dragging_on(arrows):
    def careful(model, figure):
        if model.free[0][0] > 1:
            raise ZeroDivisionError("too far")
        return draw_arrows(model, figure)

    view = panel(arrows, careful, handles=HANDLES)
    with pytest.raises(ZeroDivisionError):
        view._move(view.picture, {"stamp": 0.3, "held": True, "moves": [[2, 1.25, 0.0]]}, [])
    assert (view.picture.png, view.picture.answered) == ("", 0.3)
    assert view.alt_text == "The picture could not be drawn. ZeroDivisionError: too far"
    assert view.picture.points[2] == ["free", 1.25, 0.0]  # the ring is where the model's point is
    ask(view, (2, 0.75, 0.0))
    assert view.alt_text.endswith("free at [[0.75, 0.0]]")
    assert pixels(view.picture.png).shape == (720, 1440, 3)


def test_without_handles_nothing_is_sent_for_them(line):
    view = panel(line, draw, controls=CONTROLS)
    assert (view.picture.points, view.picture.frame) == ([], [])


def test_a_changed_number_of_points_is_named(arrows):
    view = panel(arrows, draw_arrows, handles=HANDLES)
    with pytest.raises(ValueError, match=r"^handles\['free'\] names 1 points, but the trait holds 2$"):
        arrows.free = [[0.0, 0.0], [1.0, 1.0]]
    assert view.picture.png == ""
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


@pytest.mark.parametrize("scale", ["log", "symlog"])
def test_only_linear_axes_can_be_dragged_on(arrows, scale):
    arrows.images, arrows.scale = [[1.0, 1.0], [1.0, 1.0]], scale
    with pytest.raises(ValueError, match=f"^handles need linear axes, got {scale} and linear$"):
        panel(arrows, draw_arrows, handles=HANDLES)


def test_polar_axes_and_none_are_refused(arrows):
    def polar(model, figure):
        figure.subplots(subplot_kw={"projection": "polar"})
        return "A polar plot."

    with pytest.raises(ValueError, match=r"^handles need linear axes, got polar$"):
        panel(arrows, polar, handles=HANDLES)
    arrows.axes = 0
    with pytest.raises(ValueError, match=r"^handles need axes, but draw made none$"):
        panel(arrows, draw_arrows, handles=HANDLES)
