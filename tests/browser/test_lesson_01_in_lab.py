"""Lesson 01 in a real JupyterLab: all cells run, and each widget is moved by mouse and by keyboard."""

import math

import pytest
from harness import Panel, explorer, opens, pin_by_keys, second_day, until

pytestmark = pytest.mark.browser


opened = opens("01_shared_space", seconds=500, budget="smoke")


def test_the_first_thing_that_moves_is_on_the_first_screen(opened):
    opened.page.set_viewport_size({"width": 1400, "height": 900})
    opened.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(0)")
    panel = opened.page.locator(".xlib-panel").first
    until(lambda: (box := panel.bounding_box()) and 0 < box["y"] < 700, "the arrows are in sight")
    image = opened.page.locator(".jp-MarkdownCell img").first
    assert image.evaluate("(img) => img.complete && img.naturalWidth > 300")
    assert len(image.get_attribute("alt").split()) > 8
    assert opened.page.locator(".jp-MarkdownCell details").first.get_attribute("open") is None


def test_two_vectors_are_dragged_and_normalised(opened):
    arrows = Panel(opened, 0)
    tip = arrows.root.get_by_role("button", name="tip of a")
    [x, y] = opened.kernel("arrows.tips[0]")
    moved = arrows.changes(lambda: arrows.drag(tip, -40, 30), "arrows.tips[0]")
    assert moved[0] < x
    assert moved[1] > y
    assert arrows.changes(lambda: arrows.press(tip, "ArrowUp"), "arrows.tips[0]")[1] > moved[1]
    arrows.changes(lambda: arrows.drag(tip, 300, 200), "arrows.tips[0]")
    assert math.hypot(*opened.kernel("arrows.tips[0]")) == pytest.approx(2)  # as long as they get

    box = arrows.root.get_by_role("checkbox")
    arrows.changes(box.click, "arrows.normalise", True)
    until(lambda: "length 1.00 and 1.00" in arrows.words(), "both have length 1")
    arrows.changes(lambda: arrows.drag(tip, 30, -60), "arrows.tips[0]")
    assert math.hypot(*opened.kernel("arrows.tips[0]")) == pytest.approx(1)
    words = arrows.words()
    assert words.split("dot product ")[1].split(",")[0] == words.split("cosine ")[1].rstrip(".")
    arrows.press(box, "Space")  # shows nothing new: both have length 1 already
    until(lambda: opened.kernel("arrows.normalise") is False, "Space unticks the box")
    x, y = arrows.changes(lambda: arrows.drag(tip, 60, 0), "arrows.tips[0]")
    assert math.hypot(x, y) != pytest.approx(1)  # and it leaves the circle
    words = arrows.words()
    assert opened.kernel("arrows_panel.alt_text") == words  # which the browser has drawn itself
    arrows.button("reset").click()
    until(lambda: opened.kernel("arrows.tips") == [[1.6, 0.6], [0.6, 1.5]], "reset puts both tips back")
    opened.clean()


def test_the_gap_slides_and_one_direction_of_retrieval_breaks(opened):
    gap = Panel(opened, 1)
    slider = gap.root.get_by_role("slider")
    assert gap.changes(lambda: gap.press(slider, "ArrowRight"), "gap_model.times") == 1.25
    assert gap.changes(lambda: gap.slide(slider, 0.8), "gap_model.times") > 3
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
    assert turn.changes(lambda: turn.press(grip, "ArrowLeft"), "turn.angle") != by_mouse
    turn.drag(grip, -300, 0)  # far off, it stays on its ring
    assert math.hypot(*opened.kernel("turn.grip[0]")) == pytest.approx(2.4)
    until(lambda: slider.get_attribute("aria-valuetext") == str(opened.kernel("turn.angle")), "the slider follows")
    assert turn.changes(turn.root.get_by_label("mirror image first").click, "turn.mirror")
    assert turn.words().startswith("Mirrored")
    assert turn.changes(turn.root.get_by_label("show all angles").click, "turn.curve", says="The best of all angles")
    opened.clean()


def test_a_result_is_folded_until_the_question_is_answered(opened):
    question = opened.page.locator(".xlib-predict", has_text="how many different pictures").first
    question.scroll_into_view_if_needed()
    outputs = opened.page.locator(".jp-OutputArea", has=question)
    table = outputs.locator("table", has_text="different answers")
    assert table.is_hidden()
    question.get_by_label("about 300").check()
    question.get_by_role("button", name="That is my guess").click()
    until(table.is_visible, "the table is shown")
    assert "no, “about 30”. 29: the new moon face alone answers 1,034. By cosine 670." in question.inner_text()
    opened.page.locator(".xlib-predict", has_text="You answered").scroll_into_view_if_needed()
    until(lambda: opened.page.get_by_text("You answered 1 of 9 questions").is_visible(), "it is counted")
    opened.clean()


@pytest.mark.parametrize(("index", "name"), [(0, "pca_map"), (1, "umap_map")])
def test_both_maps_can_be_searched_and_asked(opened, index, name):
    root = explorer(opened, index)
    root.get_by_role("searchbox").fill("face")
    until(lambda: opened.kernel(f"len({name}.matches)") > 10, "the search finds faces")
    root.get_by_role("searchbox").fill("")
    opened.execute(f"{name}.selected = []")
    pin_by_keys(opened, root, name)
    until(lambda: root.locator("ol .row").count() == 8, "its 8 nearest are listed")
    opened.clean()


def test_the_second_day(opened):
    second_day(opened)
