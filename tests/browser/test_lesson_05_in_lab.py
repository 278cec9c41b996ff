"""Lesson 05 in a real JupyterLab: run from top to bottom, and both widgets moved by mouse and by keyboard."""

from functools import partial

import pytest
from harness import Panel, first_screen, move_the_explorer, opens, second_day, skip_questions, until

pytestmark = pytest.mark.browser


opened = opens("05_dann", seconds=500, budget="smoke")


def test_the_first_screen(opened):
    first_screen(opened)
    panel = Panel(opened)
    slider = panel.root.get_by_role("slider")
    read = lambda: float(panel.words().split("degrees, ")[1].split(" of")[0])  # noqa: E731
    straight = read()
    panel.press(slider, "End")
    until(lambda: panel.words().startswith("Turned by 90 degrees"), "the triangles are turned")
    assert read() < straight - 0.3
    opened.clean()


def test_the_reversal_coefficient(opened):
    skip_questions(opened)
    panel = Panel(opened, 1)
    slider = panel.root.get_by_role("slider")
    for key, value in (("End", 2.0), ("ArrowLeft", 1.0)):  # 0 and 0.1 look the same after a few steps
        press = partial(panel.press, slider, key)
        panel.changes(press, "reversal.coefficient", value, says=f"coefficient {value:.1f}")
    panel.slide(slider, 0.0)
    until(lambda: opened.kernel("reversal.coefficient") == 0.0, "the mouse takes the coefficient to 0")
    until(lambda: "coefficient 0.0" in panel.words(), "and the words follow")
    opened.clean()


def test_the_domains_while_dann_trains(opened):
    move_the_explorer(opened, "digits_explorer", "7, clean")
    assert opened.kernel("digits_explorer.model.groups") == ["clean, with labels", "on a photograph"]
    opened.clean()


def test_the_second_day(opened):
    second_day(opened)
