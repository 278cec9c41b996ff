"""Lesson 07 in a real JupyterLab: the panel that says what fits is moved, and so is the explorer."""

import pytest
from harness import Panel, first_screen, move_the_explorer, opens, second_day, skip_questions

pytestmark = pytest.mark.browser


opened = opens("07_scaling", seconds=900, budget="smoke", memory="2e9")  # as on Binder: too little for two processes


def test_the_first_screen(opened):
    first_screen(opened)
    panel = Panel(opened)
    panel.changes(
        panel.button("▶ play").click, "first_pieces.done", 100, "12 of 12 row sums", seconds=40
    )  # it takes 9
    opened.clean()


def test_the_table_is_taken_away_and_a_large_batch_fits(opened):
    skip_questions(opened)
    panel = Panel(opened, 1)
    for act, expression, value, words in (
        (lambda: panel.press("N, pairs in a batch", "End"), "plan.batch", 2**20, "Fits: nowhere of the three"),
        (panel.button("tiles").click, "plan.way", "tiles", "most of it activations"),
        (panel.button("256").click, "plan.chunk", "256", "most of it vectors"),
        (lambda: panel.press("W, processes", "ArrowRight"), "plan.processes", 2, "2 process(es)"),
    ):
        panel.changes(act, expression, value, words)
    opened.clean()


def test_three_trainings_in_one_explorer(opened):
    move_the_explorer(opened, "emoji_explorer", "face")
    opened.clean()


def test_the_second_day(opened):
    second_day(opened)
