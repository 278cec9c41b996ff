"""Lesson 02 in a real JupyterLab: run from top to bottom, and each of its widgets moved by mouse and by keyboard."""

import pytest
from harness import Notebook, move_the_explorer, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, "02_infonce.ipynb").run_all(seconds=400)
    yield notebook
    notebook.close()


@pytest.fixture(autouse=True)
def nothing_complains(opened):
    yield
    opened.clean()


class Moved:
    """A panel, and what must change when it is moved: the kernel's value, the picture, and its words."""

    def __init__(self, notebook, number):
        self.notebook, self.root = notebook, notebook.page.locator(".xlib-panel").nth(number)
        self.root.wait_for()
        self.root.scroll_into_view_if_needed()
        self.picture = self.root.locator("img")

    def state(self, expression):
        picture = self.picture.get_attribute("srcset") or self.picture.get_attribute("src")
        return self.notebook.kernel(expression), picture, self.picture.get_attribute("alt")

    def by(self, act, expression):
        """Do it, and wait until all three have changed; returns the new value in the kernel."""
        before = self.state(expression)
        act()
        what = ("the kernel's state", "the picture", "the alt text")
        for i in range(3):
            until(lambda i=i: self.state(expression)[i] != before[i], f"{what[i]} follows {expression}")
        return self.notebook.kernel(expression)

    def press(self, slider, key):
        self.root.get_by_role("slider", name=slider).focus()
        self.notebook.page.keyboard.press(key)

    def drag(self, slider, share):
        """Take a slider's handle by mouse to a share of its length."""
        handle = self.root.get_by_role("slider", name=slider)
        track, at = handle.locator("xpath=../.."), handle.bounding_box()
        box, mouse = track.bounding_box(), self.notebook.page.mouse
        mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
        mouse.down()
        mouse.move(box["x"] + box["width"] * share, at["y"] + at["height"] / 2, steps=5)
        mouse.up()

    def named(self):
        """Sliders get their names a moment after they appear."""
        until(lambda: self.root.locator("[role=slider][aria-label]").count() >= 2, "the sliders have names")
        return self


def test_points_on_the_circle(opened):
    circle = Moved(opened, 0).named()
    start = opened.kernel("circle.captions")
    point = circle.root.get_by_label("caption 1 at")
    point.focus()
    moved = circle.by(lambda: opened.page.keyboard.press("Shift+ArrowDown"), "circle.captions")
    assert moved[0] != start[0]
    assert moved[1:] == [pytest.approx(point) for point in start[1:]]
    assert sum(x * x for x in moved[0]) == pytest.approx(1)

    def drag():
        box = circle.root.get_by_label("picture 3 at").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        opened.page.mouse.move(x, y)
        opened.page.mouse.down()
        opened.page.mouse.move(x + 60, y + 80, steps=4)
        opened.page.mouse.up()

    pictures = circle.by(drag, "circle.pictures")
    assert sum(x * x for x in pictures[2]) == pytest.approx(1)
    loss = opened.kernel("circle.loss.item()")
    circle.by(lambda: circle.press("steps along the force", "End"), "circle.steps")
    assert opened.kernel("circle.loss.item()") < loss
    circle.by(lambda: circle.drag("steps along the force", 0.3), "circle.steps")
    circle.by(lambda: circle.press("temperature τ", "ArrowRight"), "circle.temperature")


def test_the_live_similarity_matrix(opened):
    table = Moved(opened, 1).named()
    assert table.by(lambda: table.press("temperature τ", "ArrowRight"), "table.temperature") == 0.3
    assert table.by(lambda: table.press("picture (row)", "ArrowRight"), "table.row") == 2
    table.by(lambda: table.drag("temperature τ", 0.0), "table.temperature")
    until(lambda: opened.kernel("table.temperature") == 0.01, "the mouse takes the temperature to its least")
    table.by(lambda: table.drag("picture (row)", 1.0), "table.row")
    until(lambda: opened.kernel("table.row") == 7, "the mouse takes the row to the last")


def test_the_batch_size_and_the_bound(opened):
    bound = Moved(opened, 2).named()
    assert bound.by(lambda: bound.press("batch size N", "ArrowRight"), "bound.size") == 128
    assert bound.by(lambda: bound.press("true information (nats)", "ArrowRight"), "bound.nats") == 8
    bound.by(lambda: bound.drag("batch size N", 0.0), "bound.size")
    until(lambda: opened.kernel("bound.size") == 2, "the mouse takes the batch to its least")
    bound.by(lambda: bound.drag("true information (nats)", 0.0), "bound.nats")
    until(lambda: opened.kernel("bound.nats") == 2, "the mouse takes the information to its least")


@pytest.mark.parametrize(("index", "name"), [(0, "collapse_explorer"), (1, "contrast_explorer")])
def test_the_explorers_show_the_collapse(opened, index, name):
    root = opened.page.locator(".xlib-explorer").nth(index)
    root.wait_for()
    move_the_explorer(opened, root, name, "seven")


def test_what_the_explorers_show(opened):
    """After the last step everything is one point in the first, and is not in the second."""
    spread = "[float({}.model.frames[i].std()) for i in (0, -1)]".format
    first, last = opened.kernel(spread("collapse_explorer"))
    assert last < first / 5
    first, last = opened.kernel(spread("contrast_explorer"))
    assert last > first / 2
