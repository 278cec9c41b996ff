"""Lesson 04 in a real JupyterLab: run from top to bottom, points dragged, sliders moved."""

import pytest
from harness import Notebook, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lesson(browser, lab):
    notebook = Notebook(browser, lab, "04_mmd.ipynb").run_all(seconds=400)
    yield notebook
    notebook.clean()
    notebook.close()


def follows(notebook, picture, act, expression, wanted):
    """`act` changes what the kernel knows, the picture, and its words."""
    before, said = picture.get_attribute("srcset"), picture.get_attribute("alt")
    act()
    until(lambda: wanted(notebook.kernel(expression)), f"{expression} follows")
    until(lambda: picture.get_attribute("srcset") != before, "the picture follows")
    until(lambda: picture.get_attribute("alt") != said, "so do its words")


def test_two_samples_are_dragged_by_mouse_and_keys(lesson):
    panel = lesson.page.locator(".xlib-panel").first
    panel.scroll_into_view_if_needed()
    picture, rings = panel.locator("img"), panel.locator("button")
    assert rings.count() == 16
    start = lesson.kernel("two_samples.x")
    box = rings.nth(2).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag():
        lesson.page.mouse.move(x, y)
        lesson.page.mouse.down()
        lesson.page.mouse.move(x + 60, y - 40, steps=4)
        lesson.page.mouse.up()

    follows(lesson, picture, drag, "two_samples.x[2]", lambda now: now[0] > start[2][0] and now[1] > start[2][1])
    moved = lesson.kernel("two_samples.x")
    assert [i for i in range(8) if moved[i] != start[i]] == [2]
    last = lesson.kernel("two_samples.y[7]")
    rings.nth(15).focus()
    key = lambda name: lambda: lesson.page.keyboard.press(name)  # noqa: E731
    follows(lesson, picture, key("Shift+ArrowLeft"), "two_samples.y[7][0]", lambda now: now < last[0] - 0.3)
    assert lesson.kernel("two_samples.y[7][1]") == last[1]
    panel.get_by_role("slider").focus()
    follows(lesson, picture, key("Home"), "two_samples.sigma", lambda now: now == 0.1)
    assert picture.get_attribute("alt").startswith("σ 0.10: unbiased MMD²")
    assert lesson.kernel("samples_panel.alt_text") == picture.get_attribute("alt")
    lesson.clean()


def test_samples_far_apart_get_the_smallest_p(lesson):
    picture = lesson.page.locator(".xlib-panel").first.locator("img")
    lesson.execute("two_samples.sigma, two_samples.y = 0.7, [[2.0 + i / 50, 2.0 - i / 50] for i in range(8)]")
    until(lambda: ", p 0.005;" in picture.get_attribute("alt"), "p is 1 / 200")


def test_the_dial_turns_and_keeps_what_was_visited(lesson):
    panel = lesson.page.locator(".xlib-panel").nth(1)
    panel.scroll_into_view_if_needed()
    picture, slider = panel.locator("img"), panel.get_by_role("slider")
    slider.focus()
    for key, strength, visited in (("ArrowRight", 0.3, 2), ("End", 1.0, 3), ("Home", 0.0, 4)):
        press = lambda: lesson.page.keyboard.press(key)  # noqa: E731, B023
        follows(lesson, picture, press, "dial.strength", lambda now: abs(now - strength) < 1e-9)  # noqa: B023
        assert picture.get_attribute("alt").startswith(f"Strength {strength:.1f}: twenty digits")
        assert picture.get_attribute("alt").endswith(f"{visited} strengths visited.")
    accuracy = lesson.kernel("{str(strength): found[0] for strength, found in visited.items()}")
    assert accuracy["0.0"] > accuracy["1.0"] + 0.2
    lesson.clean()
