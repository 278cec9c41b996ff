"""Lesson 01 in a real JupyterLab: all cells run, and each widget is moved by mouse and by keyboard."""

import math

import pytest
from harness import Panel, explorer, opens, pin_by_keys, until

pytestmark = pytest.mark.browser


opened = opens("01_shared_space", seconds=500, budget="smoke")


def test_two_vectors_are_dragged_and_normalised(opened):
    arrows = Panel(opened, 0)
    tip = arrows.root.get_by_role("button", name="tip of a")
    [x, y] = opened.kernel("arrows.tips[0]")
    moved = arrows.changes(lambda: arrows.drag(tip, -40, 30), "arrows.tips[0]")
    assert moved[0] < x
    assert moved[1] > y
    assert arrows.changes(lambda: arrows.press(tip, "ArrowUp"), "arrows.tips[0]")[1] > moved[1]

    box = arrows.root.get_by_role("checkbox")
    assert arrows.changes(box.click, "arrows.normalise")
    until(lambda: "length 1.00 and 1.00" in arrows.words(), "both have length 1")
    arrows.changes(lambda: arrows.drag(tip, 30, -60), "arrows.tips[0]")
    assert math.hypot(*opened.kernel("arrows.tips[0]")) == pytest.approx(1)
    words = arrows.words()
    assert words.split("dot product ")[1].split(",")[0] == words.split("cosine ")[1].rstrip(".")
    arrows.press(box, "Space")  # shows nothing new: both have length 1 already
    until(lambda: opened.kernel("arrows.normalise") is False, "Space unticks the box")
    x, y = arrows.changes(lambda: arrows.drag(tip, 60, 0), "arrows.tips[0]")
    assert math.hypot(x, y) != pytest.approx(1)  # and it leaves the circle
    opened.clean()


def test_the_gap_slides_and_one_direction_of_retrieval_breaks(opened):
    gap = Panel(opened, 1)
    slider = gap.root.get_by_role("slider")
    assert gap.changes(lambda: gap.press(slider, "ArrowRight"), "gap_model.times") == 1.25
    track = gap.root.locator(".widget-slider .slider-container, .noUi-target").first.bounding_box()
    middle = track["y"] + track["height"] / 2
    by_mouse = lambda: opened.page.mouse.click(track["x"] + 0.8 * track["width"], middle)  # noqa: E731
    assert gap.changes(by_mouse, "gap_model.times") > 3
    assert "from name to sentence 1.00" in gap.words()
    broken = float(gap.words().split("back ")[1].rstrip("."))
    assert broken < 0.1
    assert gap.changes(gap.root.get_by_role("checkbox").click, "gap_model.right_angles")
    until(lambda: "back 0.99" in gap.words(), "at right angles nothing breaks")
    opened.clean()


def test_one_modality_is_turned_onto_the_other(opened):
    turn = Panel(opened, 2)
    slider, grip = turn.root.get_by_role("slider"), turn.root.get_by_role("button", name="handle that turns")
    assert turn.changes(lambda: turn.press(slider, "ArrowRight"), "turn.angle") == 1
    by_mouse = turn.changes(lambda: turn.drag(grip, -60, 80), "turn.angle")
    assert by_mouse > 20
    assert turn.changes(lambda: turn.press(grip, "ArrowLeft"), "turn.angle") > by_mouse
    assert math.hypot(*opened.kernel("turn.grip[0]")) == pytest.approx(2.4)
    until(lambda: slider.get_attribute("aria-valuetext") == str(opened.kernel("turn.angle")), "the slider follows")
    assert turn.changes(turn.root.get_by_role("checkbox").click, "turn.mirror")
    assert turn.words().startswith("Mirrored")
    opened.clean()


@pytest.mark.parametrize(("index", "name"), [(0, "pca_map"), (1, "umap_map")])
def test_both_maps_can_be_searched_and_asked(opened, index, name):
    root = explorer(opened, index)
    root.get_by_role("searchbox").fill("face")
    until(lambda: opened.kernel(f"len({name}.matches)") > 10, "the search finds faces")
    root.get_by_role("searchbox").fill("")
    opened.execute(f"{name}.selected = []")
    pin_by_keys(opened, root, name)
    assert root.locator("ol .row").count() == 8
    opened.clean()
