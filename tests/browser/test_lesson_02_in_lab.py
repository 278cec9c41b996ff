"""Lesson 02 in a real JupyterLab: run from top to bottom, and each of its widgets moved by mouse and by keyboard."""

import pytest
from harness import Panel, move_the_explorer, opens, until

pytestmark = pytest.mark.browser


opened = opens("02_infonce", seconds=400)


@pytest.fixture(autouse=True)
def nothing_complains(opened):
    yield
    opened.clean()


def test_points_on_the_circle(opened):
    circle = Panel(opened, 0)
    start = opened.kernel("circle.captions")
    point = circle.root.get_by_label("caption 1 at")
    moved = circle.changes(lambda: circle.press(point, "Shift+ArrowDown"), "circle.captions")
    assert moved[0] != start[0]
    assert moved[1:] == [pytest.approx(point) for point in start[1:]]
    assert sum(x * x for x in moved[0]) == pytest.approx(1)

    picture = circle.root.get_by_label("picture 3 at")
    pictures = circle.changes(lambda: circle.drag(picture, 60, -80), "circle.pictures")
    assert sum(x * x for x in pictures[2]) == pytest.approx(1)
    loss = opened.kernel("circle.loss.item()")
    circle.changes(lambda: circle.press("steps along the force", "End"), "circle.steps")
    assert opened.kernel("circle.loss.item()") < loss
    circle.changes(lambda: circle.slide("steps along the force", 0.3), "circle.steps")
    circle.changes(lambda: circle.press("temperature τ", "ArrowRight"), "circle.temperature")


def test_the_live_similarity_matrix(opened):
    table = Panel(opened, 1)
    assert table.changes(lambda: table.press("temperature τ", "ArrowRight"), "table.temperature") == 0.3
    assert table.changes(lambda: table.press("picture (row)", "ArrowRight"), "table.row") == 2
    table.changes(lambda: table.slide("temperature τ", 0.0), "table.temperature")
    until(lambda: opened.kernel("table.temperature") == 0.01, "the mouse takes the temperature to its least")
    table.changes(lambda: table.slide("picture (row)", 1.0), "table.row")
    until(lambda: opened.kernel("table.row") == 7, "the mouse takes the row to the last")


def test_the_batch_size_and_the_bound(opened):
    bound = Panel(opened, 2)
    assert bound.changes(lambda: bound.press("batch size N", "ArrowRight"), "bound.size") == 128
    assert bound.changes(lambda: bound.press("true information (nats)", "ArrowRight"), "bound.nats") == 8
    bound.changes(lambda: bound.slide("batch size N", 0.0), "bound.size")
    until(lambda: opened.kernel("bound.size") == 2, "the mouse takes the batch to its least")
    bound.changes(lambda: bound.slide("true information (nats)", 0.0), "bound.nats")
    until(lambda: opened.kernel("bound.nats") == 2, "the mouse takes the information to its least")


@pytest.mark.parametrize(("index", "name"), [(0, "collapse_explorer"), (1, "contrast_explorer")])
def test_the_explorers_show_the_collapse(opened, index, name):
    move_the_explorer(opened, name, "seven", index)


def test_what_the_explorers_show(opened):
    """After the last step everything is one point in the first, and is not in the second."""
    spread = "[float({}.model.frames[i].std()) for i in (0, -1)]".format
    first, last = opened.kernel(spread("collapse_explorer"))
    assert last < first / 5
    first, last = opened.kernel(spread("contrast_explorer"))
    assert last > first / 2
