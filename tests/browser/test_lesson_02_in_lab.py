"""Lesson 02 in a real JupyterLab: run from top to bottom, and each of its widgets moved by mouse and by keyboard."""

import math

import pytest
from harness import SKIP, Panel, centre, move_the_explorer, opens, until

pytestmark = pytest.mark.browser


opened = opens("02_infonce", seconds=400)
TOP, AGAIN, TABLE, BOUND = range(4)  # the panels, as they stand on the page


@pytest.fixture(autouse=True)
def nothing_complains(opened):
    yield
    opened.clean()


def angle(pair):
    return math.degrees(math.atan2(pair[1], pair[0])) % 360


def test_a_question_folds_what_its_cell_shows_until_it_is_answered(opened):
    asked = opened.page.locator(".xlib-predict")
    first = asked.filter(has_text="Which picture pays the highest loss?").first
    table = opened.page.get_by_role("region", name="Table of 4 rows: picture").first
    assert not table.is_visible()
    first.get_by_role("radio", name="picture 3").check()
    first.get_by_role("button", name="That is my guess").click()
    until(table.is_visible, "the table unfolds")
    said = "✓ You said “picture 3”: yes. It gives its own caption 11%; a blind guess would give it 25%."
    assert first.get_by_role("status").inner_text() == said
    for _ in range(3):  # of questions in one cell, each is asked when the one before has its answer
        opened.page.evaluate(SKIP)
    assert opened.page.locator(".xlib-predict.open").count() == 0
    summary = asked.filter(has_text="You answered").last
    assert "You answered 1 of 13 questions. Right choices: 1 of 1." in summary.text_content()


@pytest.fixture
def circle(opened):
    """The first panel, as it was at first."""
    panel = Panel(opened, TOP)
    opened.execute("circle.temperature, circle.steps = 0.5, 0")
    opened.execute(
        "circle.pictures, circle.captions = on_circle(80, 170, 300).tolist(), on_circle(20, 125, 235).tolist()"
    )
    until(lambda: panel.rings.nth(4).get_attribute("aria-label") == "caption 2 at (−0.57, 0.82)", "they stand anew")
    return panel


def test_the_circle_is_what_moves_first(opened, circle):
    opened.execute("circle.captions = [[0.0, 1.0], *circle.captions[1:]]")  # at the very top ↓ must not get stuck
    point = circle.rings.nth(3)
    until(lambda: point.get_attribute("aria-label") == "caption 1 at (0.00, 1.00)", "it is at the top")
    moved = circle.changes(lambda: circle.press(point, "ArrowDown"), "circle.captions")
    assert angle(moved[0]) == pytest.approx(87)
    moved = circle.changes(lambda: circle.press(point, "Shift+ArrowUp"), "circle.captions")
    assert angle(moved[0]) == pytest.approx(102)
    pictures = circle.changes(lambda: circle.drag(circle.rings.nth(2), 60, 80), "circle.pictures")
    assert math.hypot(*pictures[2]) == pytest.approx(1)
    circle.changes(lambda: circle.press("temperature τ", "ArrowRight"), "circle.temperature")
    circle.button("reset").click()
    until(lambda: opened.kernel("circle.temperature") == 0.5, "reset brings τ back")
    assert [round(angle(x)) for x in opened.kernel("circle.pictures")] == [80, 170, 300]


def test_play_leads_to_three_corners_where_each_point_can_be_taken(opened, circle):
    circle.button("play").click()
    until(lambda: opened.kernel("circle.steps") == 200, "the steps are played", seconds=30)
    until(lambda: circle.button("▶ play").count(), "it has come to its end")
    pictures, captions = opened.kernel("[circle.pictures, circle.captions]")
    assert [abs(angle(v) - angle(t)) for v, t in zip(pictures, captions, strict=True)] == pytest.approx(
        [0] * 3, abs=1
    )
    assert circle.words().startswith("Loss 0.09")
    picture, caption = circle.rings.nth(0), circle.rings.nth(3)  # the wider ring is the picture's
    x, y = centre(picture)
    for across, moved, stays in ((16, picture, caption), (0, caption, picture)):
        before = [ring.get_attribute("aria-label") for ring in (moved, stays)]
        opened.page.mouse.move(x + across, y)
        opened.page.mouse.down()
        opened.page.mouse.move(x + across + 40, y + 40, steps=4)
        opened.page.mouse.up()
        assert moved.get_attribute("aria-label") != before[0]
        assert stays.get_attribute("aria-label") == before[1]
    until(lambda: opened.kernel("circle.steps") == 0, "Python knows of it")
    words = circle.words()
    until(lambda: Panel(opened, AGAIN).words() == words, "the same circle in section 2 follows")


def test_the_live_similarity_matrix(opened):
    table = Panel(opened, TABLE)
    number = table.number("temperature τ")
    number.fill("0.07")
    table.changes(lambda: number.press("Enter"), "table.temperature", 0.07, "Temperature 0.07")
    assert number.input_value() == "0.07"
    assert table.changes(lambda: table.press("picture of the number", "ArrowRight"), "table.picture") == 48
    assert table.number("picture of the number").input_value() == "48"  # the number of the picture, not of the row
    row = table.picture.get_by_text("27", exact=True).nth(1)  # the first one stands below its column
    table.changes(lambda: opened.page.mouse.click(centre(row)[0] + 60, centre(row)[1]), "table.picture", 27)
    table.changes(lambda: table.slide("temperature τ", 0.0), "table.temperature", 0.01)
    table.changes(lambda: table.slide("picture of the number", 1.0), "table.picture", 17)
    assert "nan" not in table.words()


def test_the_batch_size_and_the_bound(opened):
    bound = Panel(opened, BOUND)
    assert bound.changes(lambda: bound.press("batch size N", "ArrowRight"), "bound.size") == 128
    assert bound.changes(lambda: bound.press("true information (nats)", "ArrowRight"), "bound.nats") == 8
    bound.changes(lambda: bound.slide("batch size N", 0.0), "bound.size", 2)
    bound.changes(lambda: bound.slide("true information (nats)", 0.0), "bound.nats", 2)
    tick = bound.picture.locator("text", has_text="512")
    click = lambda: opened.page.mouse.click(centre(tick)[0], centre(tick)[1] - 100)  # noqa: E731
    bound.changes(click, "bound.size", 512)


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
