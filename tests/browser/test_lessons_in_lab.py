"""Lessons 00 and 03, opened in a real JupyterLab and run from top to bottom, with their widgets moved."""

from functools import partial

import pytest
from harness import Notebook, Panel, first_screen, move_the_explorer, second_day, skip_questions, until

pytestmark = pytest.mark.browser


def test_lesson_00_opens_trains_and_can_be_played_with(browser, lab):
    notebook = Notebook(browser, lab, "00_start_here.ipynb").run_all(seconds=300, budget="smoke")
    first_screen(notebook)
    assert notebook.kernel("explorer.model.steps")[0] == 0
    move_the_explorer(notebook, "explorer", "clock")
    notebook.clean()
    second_day(notebook)
    notebook.shut_down()
    notebook.close()


def test_lesson_03_trains_a_clip_and_its_widgets_move(browser, lab):
    notebook = Notebook(browser, lab, "03_clip.ipynb").run_all(seconds=400, budget="smoke")
    move_the_explorer(notebook, "numbers_explorer", "seven", 0)
    move_the_explorer(notebook, "emoji_explorer", "face", 1)
    first_screen(notebook)
    first = Panel(notebook)
    first.press("likeness of a pair", "End")
    until(lambda: first.words().startswith("Likeness 1.0"), "the captions lie with their pictures")
    skip_questions(notebook)
    play = Panel(notebook, 1)
    for slider, key, expression, value in (
        ("temperature τ", "ArrowRight", "batch.temperature", 0.5),
        ("pairs in the batch", "ArrowRight", "batch.size", 13),
        ("pairs in the batch", "End", "batch.size", 78),
    ):
        play.changes(partial(play.press, slider, key), expression, value)
    notebook.clean()
    second_day(notebook)
    notebook.shut_down()
    notebook.close()
