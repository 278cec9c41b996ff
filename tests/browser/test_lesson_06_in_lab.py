"""Lesson 06 in a real JupyterLab: a cell of the map chosen and retrained, the explorer moved."""

from functools import partial

import pytest
from harness import Panel, move_the_explorer, opens, until

pytestmark = pytest.mark.browser


opened = opens("06_combined", seconds=900, budget="smoke")


def test_a_cell_is_chosen_and_retrained(opened):
    panel = Panel(opened)
    method, strength = panel.root.get_by_role("slider").all()
    assert opened.kernel("list(retrained)") == [["DANN 0.3", 0.6]]  # what the lesson retrains where nobody chooses
    for slider, key, expression, value, words in (
        (method, "End", "chosen_cell.method", "MMD 20", "MMD 20 at strength 0.6"),
        (strength, "Home", "chosen_cell.strength", 0.2, "MMD 20 at strength 0.2"),
    ):
        panel.changes(partial(panel.press, slider, key), expression, value, words)
    panel.slide(strength, 1.0)
    until(lambda: opened.kernel("chosen_cell.strength") == 1.0, "the mouse takes the strength to 1")
    before = panel.picture.get_attribute("srcset")
    opened.execute("retrained['MMD 20', 1.0] = 0.9; redraw()")  # what the cell below does when its training is done
    until(lambda: panel.picture.get_attribute("srcset") != before, "the retrained cell's diamond appears")
    opened.clean()


def test_three_models_in_one_explorer(opened):
    move_the_explorer(opened, "across_explorer", "twelve")
    assert opened.kernel("across_explorer.model.groups")[0] == "clean"
    opened.clean()
