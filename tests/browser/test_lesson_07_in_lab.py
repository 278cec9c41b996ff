"""Lesson 07 in a real JupyterLab: the panel that says what fits is moved, and so is the explorer."""

import pytest
from harness import Notebook, move_the_explorer, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, "07_scaling.ipynb").run_all(seconds=900)
    yield notebook
    notebook.close()


def test_the_table_is_taken_away_and_a_large_batch_fits(opened):
    root = opened.page.locator(".xlib-panel").first
    root.wait_for()
    root.scroll_into_view_if_needed()
    picture, (batch, way, chunk, processes) = root.locator("img"), root.get_by_role("slider").all()

    def moves(slider, key, expression, value, words):
        before = picture.get_attribute("srcset")
        slider.focus()
        opened.page.keyboard.press(key)
        until(lambda: opened.kernel(expression) == value, f"{expression} becomes {value}")
        until(lambda: picture.get_attribute("srcset") != before, "the picture follows")
        until(lambda: words in picture.get_attribute("alt"), "and its words")

    moves(batch, "End", "plan.batch", 2**20, "Fits: none of the three")
    moves(way, "ArrowRight", "plan.way", "tiles", "most of it activations")
    moves(chunk, "End", "plan.chunk", "256", "most of it vectors")
    moves(processes, "ArrowRight", "plan.processes", 2, "2 process(es)")
    opened.clean()


def test_three_trainings_in_one_explorer(opened):
    root = opened.page.locator(".xlib-explorer").first
    root.wait_for()
    move_the_explorer(opened, root, "emoji_explorer", "face")
    opened.clean()
