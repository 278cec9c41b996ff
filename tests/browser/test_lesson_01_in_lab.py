"""Lesson 01 in a real JupyterLab: all cells run, and each widget is moved by mouse and by keyboard."""

import math

import pytest
from harness import Notebook, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, "01_shared_space.ipynb").run_all(seconds=500)
    yield notebook
    notebook.close()


class Shown:
    """One panel on the page: what can be seen of it changes with what is done to it, and the kernel knows."""

    def __init__(self, notebook, index):
        self.notebook, self.root = notebook, notebook.page.locator(".xlib-panel").nth(index)
        self.root.scroll_into_view_if_needed()
        self.picture = self.root.locator("img")

    def changes(self, act, known):
        """Act; then the kernel's answer to `known` is a new one, and so are the picture and its words."""
        look = lambda: [self.picture.get_attribute(name) for name in ("srcset", "alt")]  # noqa: E731
        before, knew = look(), self.notebook.kernel(known)
        act()
        until(lambda: self.notebook.kernel(known) != knew, f"{known} changes")
        until(lambda: all(new != old for new, old in zip(look(), before, strict=True)), "picture and words follow")
        return self.notebook.kernel(known)

    def press(self, key, *, on):
        on.focus()
        self.notebook.page.keyboard.press(key)

    def drag(self, handle, across, up):
        """By mouse, by that many pixels."""
        handle.hover()
        box, mouse = handle.bounding_box(), self.notebook.page.mouse
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + across / 2, y - up / 2)
        mouse.move(x + across, y - up)
        mouse.up()


def test_two_vectors_are_dragged_and_normalised(opened):
    arrows = Shown(opened, 0)
    tip = arrows.root.get_by_role("button", name="tip of a")
    [x, y] = opened.kernel("arrows.tips[0]")
    moved = arrows.changes(lambda: arrows.drag(tip, -40, 30), "arrows.tips[0]")
    assert moved[0] < x
    assert moved[1] > y
    assert arrows.changes(lambda: arrows.press("ArrowUp", on=tip), "arrows.tips[0]")[1] > moved[1]

    box = arrows.root.get_by_role("checkbox")
    assert arrows.changes(box.click, "arrows.normalise")
    until(lambda: "length 1.00 and 1.00" in arrows.picture.get_attribute("alt"), "both have length 1")
    arrows.changes(lambda: arrows.drag(tip, 30, -60), "arrows.tips[0]")
    assert math.hypot(*opened.kernel("arrows.tips[0]")) == pytest.approx(1)
    words = arrows.picture.get_attribute("alt")
    assert words.split("dot product ")[1].split(",")[0] == words.split("cosine ")[1].rstrip(".")
    arrows.press("Space", on=box)  # shows nothing new: both have length 1 already
    until(lambda: opened.kernel("arrows.normalise") is False, "Space unticks the box")
    x, y = arrows.changes(lambda: arrows.drag(tip, 60, 0), "arrows.tips[0]")
    assert math.hypot(x, y) != pytest.approx(1)  # and it leaves the circle
    opened.clean()


def test_the_gap_slides_and_one_direction_of_retrieval_breaks(opened):
    gap = Shown(opened, 1)
    slider = gap.root.get_by_role("slider")
    assert gap.changes(lambda: gap.press("ArrowRight", on=slider), "gap_model.times") == 1.25
    track = gap.root.locator(".widget-slider .slider-container, .noUi-target").first.bounding_box()
    middle = track["y"] + track["height"] / 2
    by_mouse = lambda: opened.page.mouse.click(track["x"] + 0.8 * track["width"], middle)  # noqa: E731
    assert gap.changes(by_mouse, "gap_model.times") > 3
    assert "from name to sentence 1.00" in gap.picture.get_attribute("alt")
    broken = float(gap.picture.get_attribute("alt").split("back ")[1].rstrip("."))
    assert broken < 0.1
    assert gap.changes(gap.root.get_by_role("checkbox").click, "gap_model.right_angles")
    until(lambda: "back 0.99" in gap.picture.get_attribute("alt"), "at right angles nothing breaks")
    opened.clean()


def test_one_modality_is_turned_onto_the_other(opened):
    turn = Shown(opened, 2)
    slider, grip = turn.root.get_by_role("slider"), turn.root.get_by_role("button", name="handle that turns")
    assert turn.changes(lambda: turn.press("ArrowRight", on=slider), "turn.angle") == 1
    by_mouse = turn.changes(lambda: turn.drag(grip, -60, 80), "turn.angle")
    assert by_mouse > 20
    assert turn.changes(lambda: turn.press("ArrowLeft", on=grip), "turn.angle") > by_mouse
    assert math.hypot(*opened.kernel("turn.grip[0]")) == pytest.approx(2.4)
    until(lambda: slider.get_attribute("aria-valuetext") == str(opened.kernel("turn.angle")), "the slider follows")
    assert turn.changes(turn.root.get_by_role("checkbox").click, "turn.mirror")
    assert turn.picture.get_attribute("alt").startswith("Mirrored")
    opened.clean()


@pytest.mark.parametrize(("index", "name"), [(0, "pca_map"), (1, "umap_map")])
def test_both_maps_can_be_searched_and_asked(opened, index, name):
    root = opened.page.locator(".xlib-explorer").nth(index)
    root.scroll_into_view_if_needed()
    root.get_by_role("searchbox").fill("face")
    until(lambda: opened.kernel(f"len({name}.matches)") > 10, "the search finds faces")
    root.get_by_role("searchbox").fill("")
    opened.execute(f"{name}.selected = []")
    canvas = root.locator(".stage > canvas")
    canvas.focus()
    opened.page.keyboard.press("ArrowRight")
    until(lambda: opened.kernel(f"{name}.hover") >= 0, "an arrow key reaches an item")
    opened.page.keyboard.press("Enter")
    until(lambda: opened.kernel(f"len({name}.selected)") == 1, "Enter pins it")
    assert root.locator("ol .row").count() == 8
    opened.clean()
