"""Scenes: what their numbers become, in Python; and that `check_scene` and `walk` find what is wrong with one.

That the browser draws the same is held by browser/test_scene_in_browser.py.
"""

import base64
import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
import traitlets as T
from PIL import Image
from scenes import check_scene, every_mark, faults, walk

from xlib.explore import still
from xlib.explore.panel import panel
from xlib.explore.scene import DARK, LIGHT, Scene, elements, fixed, layout, svg

SVG = "{http://www.w3.org/2000/svg}"
LIMITS = {"x": (0, 1), "y": (0, 1)}


def one(fill=lambda axes: axes, **about):
    """The data of a scene with one axes from 0 to 1."""
    scene = Scene()
    fill(scene.axes().set(**LIMITS | about))
    return scene.data()


def found(name, data, width=720):
    """The attributes and the content of the elements of a kind."""
    return [(about, inside) for kind, about, inside in elements(data, width, LIGHT)[1] if kind == name]


def texts(data, width=720):
    return [inside for _, inside in found("text", data, width)]


@pytest.mark.parametrize(
    ("value", "how", "text"),
    [
        (-0.004, {}, "0.00"),
        (-0.006, {}, "−0.01"),
        (0.0, {"sign": True}, "0.00"),
        (-0.0001, {"sign": True}, "0.00"),
        (2.5, {"decimals": 0}, "2"),
        (1234.5678, {"decimals": 1, "sign": True}, "+1234.6"),
        (np.float32(-3), {"decimals": 1}, "−3.0"),
        (torch.tensor(0.25), {}, "0.25"),
        (float("nan"), {}, "–"),
        (-float("inf"), {}, "–"),
    ],
)
def test_numbers_are_written_for_people(value, how, text):
    assert fixed(value, **how) == text


@pytest.mark.parametrize(
    ("limits", "log", "words"),
    [
        ((0, 1), False, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ((-0.3, 0.3), False, ["−0.2", "0.0", "0.2"]),  # not -0.0
        ((10, 0), False, ["0", "2", "4", "6", "8", "10"]),
        ((0, 1e-7), False, None),
        ((0.1, 1000), True, ["0.1", "1", "10", "100", "1000"]),
    ],
)
def test_ticks_are_round_and_within_the_limits(limits, log, words):
    axis = one(x=limits, xlog=log)["axes"][0]["x"]
    assert all(min(limits) <= value <= max(limits) for value, _ in axis["ticks"])
    assert len({text for _, text in axis["ticks"]}) == len(axis["ticks"]) >= 3
    assert words is None or [text for _, text in axis["ticks"]] == words


def test_ticks_of_ones_own_are_values_or_words():
    assert one(xticks=[0, 0.25, -1e-3])["axes"][0]["x"]["ticks"] == [[0.0, "0"], [0.25, "0.25"], [-0.001, "−0.001"]]
    assert one(xticks={0.5: "half"})["axes"][0]["x"]["ticks"] == [[0.5, "half"]]
    assert texts(one(xticks=[], yticks=[])) == []


@pytest.mark.parametrize("seed", range(3))
def test_all_of_it_is_plain_data(seed):
    data = every_mark(seed)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_lists_tensors_and_arrays_are_the_same_and_gaps_are_none():
    kinds = (list, np.array, lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True))
    data = [one(lambda axes, k=kind: axes.line(k([0, float("nan"), 1]), k([1, 1, 0]))) for kind in kinds]
    assert data[0] == data[1] == data[2]
    assert data[0]["axes"][0]["marks"][0]["x"] == [0, None, 1]
    ((_, (path,)),) = found("svg", data[0])
    assert path[1]["d"].count("M") == 2
    assert "L" not in path[1]["d"]


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda axes: axes.points([1, 2], [1]), "x, y must be as many, got 2, 1"),
        (lambda axes: axes.points([1, 2], [1, 2], colour=["ink"]), "x, y, colour must be as many, got 2, 2, 1"),
        (lambda axes: axes.points([1, np.nan], [1, 2]), "x must be finite numbers, got nan"),
        (lambda axes: axes.points([[[1]]], [1]), r"x must be a list of numbers, got shape \(1, 1, 1\)"),
        (lambda axes: axes.points([1], [1], shape="o-"), r"shape must be one of o s D \^ \* x, got 'o-'"),
        (lambda axes: axes.points([1], [1], colour="black"), "colour must be ink, .* or \"#rrggbb\", got 'black'"),
        (lambda axes: axes.bars([1, 2], [1, 2], texts=["1"]), "at, to, texts must be as many, got 2, 2, 1"),
        (lambda axes: axes.text([1, 2], [1, 2], "word"), "x, y, text must be as many, got 2, 2, 1"),
        (lambda axes: axes.area([1], [np.inf], [2]), "low must be finite numbers, got inf"),
        (lambda axes: axes.segments([1], [1], [1], [1, 2]), "x0, y0, x1, y1 must be as many, got 1, 1, 1, 2"),
        (lambda axes: axes.cells([[1]], low=2, high=2), "low must be below high, got 2 and 2"),
        (lambda axes: axes.cells([[1, 2]], low=0, high=2, texts=["ab", "c"]), "texts must be 1 rows as long as"),
        (lambda axes: axes.set(x=(0, 0), y=(0, 1)), r"x must be two different numbers, got \(0, 0\)"),
        (lambda axes: axes.set(x=(0, 1), y=(0, np.inf)), "y must be two different numbers, got"),
        (lambda axes: axes.set(x=(0, 1), y=(0, 1), ylog=True), "y must be two different numbers, above 0, got"),
    ],
)
def test_what_cannot_be_drawn_is_named(fill, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        one(fill)


def test_a_scene_without_axes_or_limits_and_zeros_on_a_logarithmic_axis_are_named():
    for scene in (Scene(), Scene()):
        with pytest.raises(ValueError, match=r"^each axes of a scene needs set\(x="):
            scene.data()
        scene.axes()
    with pytest.raises(ValueError, match=r"^y must be above 0 on a logarithmic axis, got 0.0 for line$"):
        one(lambda axes: axes.line([0, 1], [0, 1]), y=(0.1, 1), ylog=True)


def test_axes_are_as_wide_as_their_weights_say_and_stand_below_each_other_where_it_is_narrow():
    scene = Scene(height=300)
    for axes in scene.axes(1, 3):
        axes.set(**LIMITS)
    height, (first, second) = layout(scene.data(), 820)
    assert (height, first["outer"], second["outer"]) == (300, [0, 200], [220, 600])
    assert 0 <= first["left"] < first["left"] + first["width"] <= 200
    height, (first, second) = layout(scene.data(), 400)
    assert (height, first["outer"], second["outer"]) == (600, [0, 400], [0, 400])
    assert second["top"] == first["top"] + 300


@pytest.mark.parametrize("width", [390, 900])
def test_equal_axes_have_one_scale(width):
    _, (box,) = layout(one(x=(-3, 3), y=(2, 0), equal=True), width)
    assert box["width"] / 6 == pytest.approx(box["height"] / 2)
    assert box["left"] + box["width"] <= width


def test_points_are_where_their_numbers_say():
    data = one(lambda axes: axes.points([0, 1, 0.25], [0, 1, 0.5]), y=(1, 0))
    _, (box,) = layout(data, 720)
    (low, high, between) = [
        (about["cx"] - box["left"], about["cy"] - box["top"]) for about, _ in found("circle", data)
    ]
    assert low == pytest.approx((0, 0))  # y runs down
    assert high == pytest.approx((box["width"], box["height"]))
    assert between == pytest.approx((box["width"] / 4, box["height"] / 2))


def test_a_field_has_its_first_row_below():
    data = one(
        lambda axes: axes.field(
            [[0, 0], [1, np.nan]], low=0, high=1, colours=["#000000", "#ffffff"], x=(0, 1), y=(0, 1)
        )
    )
    ((_, (image,)),) = found("svg", data)
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(image[1]["href"].partition(",")[2]))))
    assert pixels[:, :, 0].tolist() == [[255, 0], [0, 0]]


@pytest.mark.parametrize("smooth", [False, True])
def test_pixels_stay_squares_in_the_picture_for_print_too(smooth):
    data = one(lambda axes: axes.picture([[[0.0] * 3, [1.0] * 3]], x=(0, 1), y=(0, 1), smooth=smooth))
    drawn = Image.open(io.BytesIO(still._png(svg(data, width=720)))).convert("L")
    greys = np.bincount(np.array(drawn).ravel(), minlength=256)[60:196]  # LIGHT's own texts and lines are few
    assert (greys.min() > 20) == smooth


# -- as a file


@pytest.mark.parametrize("dark", [False, True])
def test_the_file_is_xml_and_what_it_says_is_text(dark):
    hostile = """<script>alert("1")</script> & ' ]]>"""
    data = one(lambda axes: axes.text(0.5, 0.5, hostile), title=hostile, xlabel=hostile, ylabel=hostile)
    root = ET.fromstring(svg(data, dark=dark))
    said = [node.text for node in root.iter(f"{SVG}text")]
    assert said.count(hostile) == 4
    assert {node.tag for node in root.iter()} <= {SVG + name for name in ("svg", "rect", "text", "line", "path")}
    assert root[0].get("fill") == (DARK if dark else LIGHT)["paper"]
    assert (root.get("width"), root.get("viewBox")) == ("720", "0 0 720 340")


def luminance(colour):
    if colour.startswith("#"):
        rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    else:
        rgb = [int(v) / 255 for v in re.findall(r"\d+", colour)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, LIGHT | DARK], ids=["light", "dark"])
def test_text_can_be_read_on_its_ground(theme):
    assert contrast(theme["ink"], theme["paper"]) >= 7
    assert contrast(theme["soft"], theme["paper"]) >= 4.5


def test_marks_are_lifted_where_the_ground_is_dark():
    for name, lifted in DARK.items():
        assert name == "faint" or name == "paper" or contrast(lifted, DARK["paper"]) >= 6, name


@pytest.mark.parametrize("colours", ["cividis", "viridis", "RdBu", ["#ffffff", "#D55E00"]])
def test_words_on_cells_can_be_read(colours):
    values = np.linspace(0, 1, 60).reshape(6, 10)
    data = one(
        lambda axes: axes.cells(values, low=0, high=1, colours=colours, texts=[["1"] * 10] * 6), xticks=[], yticks=[]
    )
    grounds, words = found("rect", data), found("text", data)
    assert min(contrast(a["fill"], b["fill"]) for (a, _), (b, _) in zip(grounds, words, strict=True)) >= 4.5


# -- what check_scene and walk find


def test_nothing_is_wrong_with_a_good_scene():
    check_scene(
        one(lambda axes: axes.points([0, 1], [0, 1], label="here").text(0.5, 0.6, "−0.01 to 0.00"), title="A title")
    )


def wide(axes):
    axes.text([0.5, 0.53], [0.5, 0.5], ["a first text", "another text"])


@pytest.mark.parametrize(
    ("fill", "about", "fault"),
    [
        (lambda axes: axes.text(0.5, 0.5, "pull -0.000"), {}, "'pull -0.000' has '-0.000'"),
        (lambda axes: axes.text(0.5, 0.5, "−0.00"), {}, "'−0.00' has '−0.00'"),
        (lambda axes: axes.text(0.5, 0.5, "nan%"), {}, "'nan%' has 'nan'"),
        (lambda axes: axes.text(0.5, 0.5, "inf"), {}, "has 'inf'"),
        (lambda axes: axes.text(0.5, 0.5, "None"), {}, "has 'None'"),
        (lambda axes: axes.text(0.5, 0.5, "3.2e+02 s"), {}, "'3.2e+02 s' has '2e+0'"),
        (lambda axes: axes.points([0.5], [1.2]), {}, "points at y = 1.2, outside 0 to 1"),
        (lambda axes: axes.bars([0.5], [-0.1], thick=0.1), {}, "bars at y = -0.1, outside 0 to 1"),
        (lambda axes: axes.bars([0.5], [2], thick=0.1, across=True), {}, "bars at x = 2, outside 0 to 1"),
        (lambda axes: axes.segments(0, 0, 1, 3), {}, "segments at y = 3, outside 0 to 1"),
        (lambda axes: axes.box(0, 0, 1, 3), {}, "rectangle at y = 3, outside 0 to 1"),
        (lambda axes: axes, {"xticks": [0, 5]}, "tick '5' is off its axis"),
        (lambda axes: axes, {"yticks": [0.5]}, "one tick, 0.5, says nothing of the scale of y"),
        (wide, {}, "'a first text' is on 'another text'"),
        (lambda axes: axes, {"xticks": [0.5, 0.51]}, "'0.5' is on '0.51'"),
        (lambda axes: axes.text(1, 0.5, "far out", anchor="start"), {}, "'far out' is partly outside the picture"),
        (lambda axes: axes, {"ylabel": "word " * 20}, "is partly outside the picture"),
        (lambda axes: axes, {"title": "word " * 200}, "axes 0 are only"),
        (lambda axes: axes.text(0.5, 0.5, "gap").segments(0, 0, 1, 1), {}, "'gap' is struck by a ink line"),
        (lambda axes: axes.text(0.5, 0.5, "gap").line([0, 1], [0.5, 0.5], dash=True), {}, "'gap' is struck by a ink"),
        (lambda axes: axes.line([0, 1], [0, 1], colour="#123456"), {}, "colour #123456 is neither Okabe–Ito"),
        (lambda axes: axes.line([0, 1], [0, 1], colour="#0072b2"), {}, "colour #0072b2 is neither"),  # no dark one
        (lambda axes: axes.line([0, 1], [0, 1], colour="#000000"), {}, "colour #000000 is neither"),
        (
            lambda axes: axes.points([0.5], [0.5]).points([0.2], [0.2], shape="^", label="this"),
            {},
            "nothing says what ink o stands for",
        ),
        (
            lambda axes: axes.line([0, 1], [0, 1], label="this").line([0, 1], [1, 0], colour="#D55E00"),
            {},
            "nothing says what #D55E00 line stands for",
        ),
        (
            lambda axes: axes.points([0.1, 0.9], [0.1, 0.9], colour=["#0072B2", "soft"]),
            {},
            "what #0072B2 o stands for",
        ),
    ],
)
def test_each_fault_is_found_and_said(fill, about, fault):
    data = one(fill, **about)
    assert any(fault in each for each in faults(data)), faults(data)
    with pytest.raises(AssertionError, match=re.escape(fault)):
        check_scene(data)


@pytest.mark.parametrize(
    "fill",
    [
        lambda axes: axes.line([-5, 9], [-5, 9]).area([-5, 9], [-5, -5], [9, 9]),  # which are cut off
        lambda axes: (
            axes.line([0, 1], [0, 1]).text(0.8, 0.82, "a loss", dy=-10).line([0, 1], [0.1, 0.1], label="b", dash=True)
        ),
        lambda axes: axes.points([0.1, 0.9], [0.2, 0.8], colour=["#0072B2", "soft"]).text(
            [0.1, 0.9], [0.3, 0.9], ["a", "b"]
        ),
        lambda axes: axes.line([0, 1], [0.5, 0.5], colour="faint", dash=True).line(
            [0, 1], [0, 1]
        ),  # a ground, and one
        lambda axes: axes.segments(0, 0, 1, 1, arrow=True).text(0.5, 0.5, "an arrow has to start somewhere"),
        lambda axes: axes.text(0.5, 0.5, "5-0.5 → e, 1 000, and informed nano Nonets"),
    ],
)
def test_what_is_no_fault_is_not_called_one(fill):
    check_scene(one(fill))


def test_all_faults_are_said_at_once_and_the_width_with_them():
    data = one(
        lambda axes: axes.text(0.5, 0.5, "nan").points([2], [2]), xticks={0.4: "some words", 0.6: "some other"}
    )
    with pytest.raises(AssertionError) as error:
        check_scene(data)
    said = str(error.value)
    assert "720 px wide: 'nan' has 'nan'" in said
    assert "points at x = 2" in said
    assert "390 px wide: 'some words' is on 'some other'" in said
    assert "720 px wide: 'some words' is on" not in said


class Model(T.HasTraits):
    share = T.Float(0.5)
    kind = T.Unicode("one")
    on = T.Bool(False)
    spots = T.List([[0.5, 0.5]])
    hidden = T.Int(0)


def draw(model, scene):
    axes = scene.axes().set(x=(0, 1), y=(0, 1))
    axes.points(*np.transpose(model.spots)).text(
        *model.spots[0], "spot" if model.spots[0] == [0.5, 0.5] else "s", dy=-12
    )
    if model.share == 1 and model.on:
        axes.points([2], [0])
    if model.kind == "two" and model.hidden:
        raise RuntimeError("two is too many")
    return "nan%" if model.kind == "three" else "a spot"


CONTROLS = {"share": (0, 1, 0.1), "kind": ["one", "two", "three"], "on": "check"}


def walked(draw, **corners):
    model = Model()
    shown = panel(model, draw, controls=CONTROLS, handles={"spots": ["a spot"]})
    try:
        walk(shown, **corners)
    except AssertionError as error:
        return str(error)
    finally:
        assert (model.share, model.kind, model.on, model.spots, model.hidden) == (0.5, "one", False, [[0.5, 0.5]], 0)
    return ""


def test_a_walk_finds_what_only_a_corner_shows():
    said = walked(draw)
    assert "points at x = 2, outside 0 to 1 (with share = 1, kind = one, on = True)" in said
    assert "the words have 'nan': nan% (with share = 0, kind = three, on = False)" in said
    assert "too many" not in said
    assert "RuntimeError: two is too many (with share = 0, kind = two, on = False, hidden = 1)" in walked(
        draw, hidden=[1]
    )
    assert "nan" not in walked(draw, kind=["one"])


def test_a_walk_takes_handles_to_the_corners():
    def far(model, scene):
        axes = scene.axes().set(x=(-1, 1), y=(3, -3))
        seen.append(model.spots[0])
        axes.text(*model.spots[0], "a spot with a long name", anchor="start")
        return "a spot"

    seen = []
    said = walked(far)
    assert "'a spot with a long name' is partly outside the picture (with spots = [[1.0, 3.0]])" in said
    assert all([x, y] in seen for x in (-1, 1) for y in (-3, 3))


def test_a_walk_over_a_good_panel_is_silent_and_brings_all_back():
    def good(model, scene):
        scene.axes().set(x=(0, 1), y=(0, 1)).points(*np.transpose(model.spots))
        return f"a spot, {fixed(model.share)}"

    assert walked(good) == ""
