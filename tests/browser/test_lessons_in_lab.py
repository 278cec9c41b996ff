"""Lessons 00 and 03, opened in a real JupyterLab and run from top to bottom, with their widgets moved."""

from functools import partial

import pytest
from harness import Notebook, Panel, move_the_explorer

pytestmark = pytest.mark.browser


def test_lesson_00_opens_trains_and_can_be_played_with(browser, lab):
    notebook = Notebook(browser, lab, "00_start_here.ipynb").run_all(seconds=300, budget="smoke")
    move_the_explorer(notebook, "explorer", "clock")
    notebook.clean()
    notebook.close()


def test_lesson_03_trains_a_clip_and_its_widgets_move(browser, lab):
    notebook = Notebook(browser, lab, "03_clip.ipynb").run_all(seconds=400, budget="smoke")
    move_the_explorer(notebook, "numbers_explorer", "seven", 0)
    move_the_explorer(notebook, "emoji_explorer", "face", 1)
    play = Panel(notebook)
    sliders = play.root.get_by_role("slider")
    for slider, key, expression, value in (
        (0, "ArrowRight", "batch.temperature", 0.1),
        (1, "ArrowRight", "batch.size", 13),
        (1, "End", "batch.size", 78),
    ):
        play.changes(partial(play.press, sliders.nth(slider), key), expression, value)
    notebook.clean()
    notebook.close()
