"""Lesson 09 in a real JupyterLab: the panel moves, and the page that it writes opens by itself."""

import pytest
from harness import Panel, first_screen, move_the_explorer, opens, second_day, skip_questions

pytestmark = pytest.mark.browser


opened = opens("09_your_own", seconds=900, budget="smoke")


def test_the_first_screen(opened):
    first_screen(opened)
    opened.clean()


def test_the_panel(opened):
    skip_questions(opened)
    twins = Panel(opened, 0)
    twins.changes(lambda: twins.press("threshold", "Home"), "first_line.threshold", 0.8, "more than 0.80")
    opened.clean()


def test_the_trained_space_in_the_explorer(opened):
    move_the_explorer(opened, "trained_explorer", "face", 1)
    opened.clean()


def test_the_page_that_is_sent_needs_no_kernel(opened, browser):
    page = opened.kernel("str(page.resolve())")
    alone = browser.new_page()
    errors = []
    alone.on("pageerror", lambda error: errors.append(str(error)))
    alone.route("http://**", lambda route: errors.append(route.request.url))
    alone.route("https://**", lambda route: errors.append(route.request.url))
    alone.goto(f"file://{page}")
    alone.locator(".xlib-explorer canvas, .xlib-explorer svg").first.wait_for()
    assert "Two domains and their captions" in alone.locator("body").inner_text()
    assert errors == []
    alone.close()


def test_the_second_day(opened):
    second_day(opened)
