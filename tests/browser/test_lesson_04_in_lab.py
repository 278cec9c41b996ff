"""Lesson 04 in a real JupyterLab: run from top to bottom, points dragged, sliders moved."""

from functools import partial

import pytest
from harness import Panel, opens, until

pytestmark = pytest.mark.browser

opened = opens("04_mmd", seconds=400)


def test_two_samples_are_dragged_by_mouse_and_keys(opened):
    panel = Panel(opened)
    rings, slider = panel.root.locator("button"), panel.root.get_by_role("slider")
    assert rings.count() == 16
    start = opened.kernel("two_samples.x")
    x, y = panel.changes(lambda: panel.drag(rings.nth(2), 60, 40), "two_samples.x[2]")
    assert x > start[2][0]
    assert y > start[2][1]
    moved = opened.kernel("two_samples.x")
    assert [i for i in range(8) if moved[i] != start[i]] == [2]
    last = opened.kernel("two_samples.y[7]")
    x, y = panel.changes(lambda: panel.press(rings.nth(15), "Shift+ArrowLeft"), "two_samples.y[7]")
    assert x < last[0] - 0.3
    assert y == last[1]
    panel.changes(lambda: panel.press(slider, "Home"), "two_samples.sigma", 0.1)
    assert panel.words().startswith("σ 0.10: unbiased MMD²")
    assert opened.kernel("samples_panel.alt_text") == panel.words()
    opened.clean()


def test_samples_far_apart_get_the_smallest_p(opened):
    panel = Panel(opened)
    opened.execute("two_samples.sigma, two_samples.y = 0.7, [[2.0 + i / 50, 2.0 - i / 50] for i in range(8)]")
    until(lambda: ", p 0.005;" in panel.words(), "p is 1 / 200")
    opened.clean()


def test_the_dial_turns_and_keeps_what_was_visited(opened):
    dial = Panel(opened, 1)
    slider = dial.root.get_by_role("slider")
    for key, strength, visited in (("ArrowRight", 0.3, 2), ("End", 1.0, 3), ("Home", 0.0, 4)):
        dial.changes(partial(dial.press, slider, key), "dial.strength", pytest.approx(strength, abs=1e-9))
        assert dial.words().startswith(f"Strength {strength:.1f}: twenty digits")
        assert dial.words().endswith(f"{visited} strengths visited.")
    accuracy = opened.kernel("{str(strength): found[0] for strength, found in visited.items()}")
    assert accuracy["0.0"] > accuracy["1.0"] + 0.2
    opened.clean()
