"""Lesson 05 in a real JupyterLab: run from top to bottom, and both widgets moved by mouse and by keyboard."""

from functools import partial

import pytest
from harness import Panel, move_the_explorer, opens, until

pytestmark = pytest.mark.browser


opened = opens("05_dann", seconds=500)


def test_the_reversal_coefficient(opened):
    panel = Panel(opened)
    slider = panel.root.get_by_role("slider")
    for key, value in (("ArrowRight", 0.1), ("End", 2.0)):
        press = partial(panel.press, slider, key)
        panel.changes(press, "reversal.coefficient", value, says=f"coefficient {value:.1f}")
    panel.slide(slider, 0.0)
    until(lambda: opened.kernel("reversal.coefficient") == 0.0, "the mouse takes the coefficient to 0")
    until(lambda: "coefficient 0.0" in panel.words(), "and the words follow")
    opened.clean()


def test_the_domains_while_dann_trains(opened):
    move_the_explorer(opened, "digits_explorer", "a 7, clean")
    assert opened.kernel("digits_explorer.model.groups") == ["clean, has labels", "on a photograph, has none"]
    opened.clean()
