"""Lesson 07 in a real JupyterLab: the panel that says what fits is moved, and so is the explorer."""

from functools import partial

import pytest
from harness import Panel, move_the_explorer, opens

pytestmark = pytest.mark.browser


opened = opens("07_scaling", seconds=900, budget="smoke")


def test_the_table_is_taken_away_and_a_large_batch_fits(opened):
    panel = Panel(opened)
    batch, way, chunk, processes = panel.root.get_by_role("slider").all()
    for slider, key, expression, value, words in (
        (batch, "End", "plan.batch", 2**20, "Fits: none of the three"),
        (way, "ArrowRight", "plan.way", "tiles", "most of it activations"),
        (chunk, "End", "plan.chunk", "256", "most of it vectors"),
        (processes, "ArrowRight", "plan.processes", 2, "2 process(es)"),
    ):
        panel.changes(partial(panel.press, slider, key), expression, value, words)
    opened.clean()


def test_three_trainings_in_one_explorer(opened):
    move_the_explorer(opened, "emoji_explorer", "face")
    opened.clean()
