"""Lesson 06 in a real JupyterLab: a cell of the map chosen and retrained, the explorer moved."""

import pytest
from harness import Notebook, move_the_explorer, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, "06_combined.ipynb").run_all(seconds=900)
    yield notebook
    notebook.close()


def test_a_cell_is_chosen_and_retrained(opened):
    root = opened.page.locator(".xlib-panel").first
    root.wait_for()
    root.scroll_into_view_if_needed()
    picture, (coefficient, strength) = root.locator("img"), root.get_by_role("slider").all()

    def moves(slider, key, expression, value, words):
        before = picture.get_attribute("srcset")
        slider.focus()
        opened.page.keyboard.press(key)
        until(lambda: opened.kernel(expression) == value, f"{expression} becomes {value}")
        until(lambda: picture.get_attribute("srcset") != before, "the picture follows")
        until(lambda: words in picture.get_attribute("alt"), "and its words")

    assert opened.kernel("list(retrained)") == [[0.3, 0.6]]  # what the lesson retrains where nobody chooses
    moves(coefficient, "End", "chosen_cell.coefficient", 3.0, "λ = 3.0 at strength 0.6")
    moves(strength, "Home", "chosen_cell.strength", 0.4, "λ = 3.0 at strength 0.4")

    def drag():
        at, box, mouse = strength.bounding_box(), strength.locator("xpath=../..").bounding_box(), opened.page.mouse
        mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
        mouse.down()
        mouse.move(box["x"] + box["width"], at["y"] + at["height"] / 2, steps=5)
        mouse.up()

    drag()
    until(lambda: opened.kernel("chosen_cell.strength") == 1.0, "the mouse takes the strength to 1")
    before = picture.get_attribute("srcset")
    opened.execute("retrained[3.0, 1.0] = 0.9; redraw()")  # what the cell below does when its training is done
    until(lambda: picture.get_attribute("srcset") != before, "the retrained cell's diamond appears")
    opened.clean()


def test_three_models_in_one_explorer(opened):
    root = opened.page.locator(".xlib-explorer").first
    root.wait_for()
    move_the_explorer(opened, root, "across_explorer", "ten")
    assert opened.kernel("across_explorer.model.groups")[0] == "clean"
    opened.clean()
