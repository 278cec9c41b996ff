"""Lessons 00 and 03, opened in a real JupyterLab and run from top to bottom, with their widgets moved."""

import pytest
from harness import Notebook, move_the_explorer, until

pytestmark = pytest.mark.browser


def test_lesson_00_opens_trains_and_can_be_played_with(browser, lab):
    notebook = Notebook(browser, lab, "00_start_here.ipynb").run_all(seconds=300)
    root = notebook.page.locator(".xlib-explorer").first
    root.wait_for()
    move_the_explorer(notebook, root, "explorer", "clock")
    notebook.clean()
    notebook.close()


def test_lesson_03_trains_a_clip_and_its_widgets_move(browser, lab):
    notebook = Notebook(browser, lab, "03_clip.ipynb").run_all(seconds=400)
    for index, (name, word) in enumerate((("numbers_explorer", "seven"), ("emoji_explorer", "face"))):
        root = notebook.page.locator(".xlib-explorer").nth(index)
        root.wait_for()
        move_the_explorer(notebook, root, name, word)

    play = notebook.page.locator(".xlib-panel").first
    play.scroll_into_view_if_needed()
    picture = play.locator("img")
    for slider, key, expression, value in (
        (0, "ArrowRight", "batch.temperature", 0.1),
        (1, "ArrowRight", "batch.size", 13),
        (1, "End", "batch.size", 78),
    ):
        before, said = picture.get_attribute("srcset"), picture.get_attribute("alt")
        play.get_by_role("slider").nth(slider).focus()
        notebook.page.keyboard.press(key)
        until(lambda: notebook.kernel(expression) == value, f"{expression} becomes {value}")  # noqa: B023
        until(lambda: picture.get_attribute("srcset") != before, "the panel's picture follows")  # noqa: B023
        until(lambda: picture.get_attribute("alt") != said, "and so do its words")  # noqa: B023
    notebook.clean()
    notebook.close()
