"""Lesson 05 in a real JupyterLab: run from top to bottom, and both widgets moved by mouse and by keyboard."""

import pytest
from harness import Notebook, move_the_explorer, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, "05_dann.ipynb").run_all(seconds=500)
    yield notebook
    notebook.close()


def test_the_reversal_coefficient(opened):
    root = opened.page.locator(".xlib-panel").first
    root.wait_for()
    root.scroll_into_view_if_needed()
    picture, handle = root.locator("img"), root.get_by_role("slider")

    def moves(act, value):
        before, said = picture.get_attribute("srcset"), picture.get_attribute("alt")
        act()
        until(lambda: opened.kernel("reversal.coefficient") == value, f"the coefficient becomes {value}")
        until(lambda: picture.get_attribute("srcset") != before, "the picture follows")
        until(lambda: picture.get_attribute("alt") != said, "and so do its words")
        assert f"coefficient {value:.1f}" in picture.get_attribute("alt")

    handle.focus()
    moves(lambda: opened.page.keyboard.press("ArrowRight"), 0.1)
    moves(lambda: opened.page.keyboard.press("End"), 2.0)

    def drag():
        at, box, mouse = handle.bounding_box(), handle.locator("xpath=../..").bounding_box(), opened.page.mouse
        mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
        mouse.down()
        mouse.move(box["x"], at["y"] + at["height"] / 2, steps=5)
        mouse.up()

    drag()
    until(lambda: opened.kernel("reversal.coefficient") == 0.0, "the mouse takes the coefficient to 0")
    until(lambda: "coefficient 0.0" in picture.get_attribute("alt"), "and the words follow")
    opened.clean()


def test_the_domains_while_dann_trains(opened):
    root = opened.page.locator(".xlib-explorer").first
    root.wait_for()
    move_the_explorer(opened, root, "digits_explorer", "a 7, clean")
    assert opened.kernel("digits_explorer.model.groups") == ["clean, has labels", "on a photograph, has none"]
    opened.clean()
