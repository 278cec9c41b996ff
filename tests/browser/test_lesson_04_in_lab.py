"""Lesson 04 in a real JupyterLab: run from top to bottom, points dragged, sliders moved, a question answered."""

from functools import partial

import pytest
from harness import Panel, opens, until

pytestmark = pytest.mark.browser

opened = opens("04_mmd", seconds=400, budget="smoke")


@pytest.fixture
def samples(opened):
    """The panel at the top, as it was at first."""
    panel = Panel(opened)
    if panel.button("reset").is_enabled():
        panel.button("reset").click()
    until(lambda: panel.words().startswith("σ 0.70: unbiased MMD² 0.207, p 0.020;"), "the panel as it begins")
    until(lambda: opened.kernel("two_samples.y[0]") == [1.1, 0.4], "the kernel has it, too")
    yield panel
    opened.clean()


def test_two_samples_are_dragged_by_mouse_and_keys(opened, samples):
    assert samples.rings.count() == 16
    start = opened.kernel("two_samples.x")
    x, y = samples.changes(lambda: samples.drag(samples.rings.nth(2), 60, 40), "two_samples.x[2]")
    assert x > start[2][0]
    assert y > start[2][1]
    moved = opened.kernel("two_samples.x")
    assert [i for i in range(8) if moved[i] != start[i]] == [2]
    last = opened.kernel("two_samples.y[7]")
    x, y = samples.changes(lambda: samples.press(samples.rings.nth(15), "Shift+ArrowLeft"), "two_samples.y[7]")
    assert x < last[0] - 0.3
    assert y == last[1]
    samples.changes(lambda: samples.press("bandwidth σ", "Home"), "two_samples.sigma", 0.1)
    assert samples.words().startswith("σ 0.10: unbiased MMD²")
    assert opened.kernel("samples_panel.alt_text") == samples.words()  # Python's own words


def test_buttons_move_a_whole_sample(opened, samples):
    samples.changes(samples.button("put each y on an x").click, "two_samples.y", opened.kernel("two_samples.x"))
    assert samples.words().endswith("The means are 0.00 apart; the witness is 0 everywhere.")
    samples.changes(samples.button("put y in a ring around x").click, "two_samples.y")
    assert ", p 0.005;" in samples.words()


def test_samples_far_apart_get_the_smallest_p(opened, samples):
    opened.execute("two_samples.sigma, two_samples.y = 0.7, [[2.0 + i / 50, 2.0 - i / 50] for i in range(8)]")
    until(lambda: ", p 0.005;" in samples.words(), "p is 1 / 200")


def test_the_panel_stands_below_the_set_up_and_once_more_in_section_3(opened, samples):
    again = Panel(opened, 1)
    samples.press("bandwidth σ", "End")
    for panel in (samples, again):
        until(lambda panel=panel: panel.words().startswith("σ 3.00"), "both show what was set")


def test_the_dial_shows_itself_when_its_question_is_answered_and_plays(opened):
    dial, cell = Panel.__new__(Panel), opened.page.locator(".jp-CodeCell", has_text="later, or never").first
    dial.notebook, dial.root = opened, opened.page.locator(".xlib-panel").nth(2)
    dial.picture = dial.root.locator(".stage > svg")
    cell.scroll_into_view_if_needed()
    choice = cell.get_by_role("radio", name="later, or never")
    choice.wait_for()
    assert not dial.root.is_visible()
    choice.click()
    cell.get_by_role("button", name="That is my guess").click()
    dial.root.wait_for()
    slider = "strength of the photographs"
    for key, strength in (("ArrowRight", 0.3), ("End", 1.0), ("Home", 0.0)):
        dial.changes(partial(dial.press, slider, key), "dial.strength", pytest.approx(strength, abs=1e-9))
        assert dial.words().startswith(f"Strength {strength:.1f}: twenty digits")
    dial.button("play").click()
    until(lambda: opened.kernel("dial.strength") == 1, "it plays from 0 to 1", seconds=30)
    opened.clean()
