"""Lessons 00 and 03, opened in a real JupyterLab and run from top to bottom, with their widgets moved."""

import pytest
from harness import Notebook, until

pytestmark = pytest.mark.browser

PIXELS = "(canvas) => canvas.toDataURL()"


def move_the_explorer(notebook, root, name, word):
    """Slider, search and click: each changes what is drawn and what the kernel knows."""
    canvas, slider = root.locator(".stage > canvas"), root.get_by_role("slider")
    root.scroll_into_view_if_needed()

    def changes(act, expression, value):
        before = canvas.evaluate(PIXELS)
        act()
        until(lambda: notebook.kernel(expression) == value, f"{expression} becomes {value!r}")
        until(lambda: canvas.evaluate(PIXELS) != before, f"the picture follows {expression}")

    last = notebook.kernel(f"len({name}.model.frames)") - 1
    slider.focus()
    notebook.page.keyboard.press("Home")
    until(lambda: notebook.kernel(f"{name}.step") == 0, "Home goes to the first step")
    changes(lambda: notebook.page.keyboard.press("End"), f"{name}.step", last)
    changes(lambda: root.get_by_role("searchbox").fill(word), f"{name}.query", word)
    assert 0 < notebook.kernel(f"len({name}.matches)") < notebook.kernel(f"len({name}.model.captions)") / 3
    root.get_by_role("searchbox").fill("")
    notebook.execute(f"{name}.selected = -1")

    box = canvas.bounding_box()
    # From the middle of the map, the arrow keys lead to items; Enter pins the one that is reached.
    canvas.focus()
    notebook.page.keyboard.press("ArrowRight")
    until(lambda: notebook.kernel(f"{name}.hover") >= 0, "an arrow key reaches an item")
    notebook.page.keyboard.press("Enter")
    until(lambda: notebook.kernel(f"{name}.selected") >= 0, "Enter pins it")
    assert root.locator("ol .row").count() == len(notebook.kernel(f"[row for row, _ in {name}.neighbours]")) > 0
    notebook.page.keyboard.press("Escape")
    until(lambda: notebook.kernel(f"{name}.selected") == -1, "Escape lets it go")
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})  # by mouse: no error, item or not


def test_lesson_00_opens_trains_and_can_be_played_with(browser, lab):
    notebook = Notebook(browser, lab, "00_start_here.ipynb").run_all(seconds=300)
    root = notebook.page.locator(".xlib-explorer").first
    root.wait_for()
    move_the_explorer(notebook, root, "explorer", "clock")
    notebook.clean()
    notebook.close()


def test_lesson_03_trains_a_clip_and_its_widgets_move(browser, lab):
    notebook = Notebook(browser, lab, "03_clip.ipynb").run_all(seconds=400)
    for index, (name, word) in enumerate((("numbers_explorer", "seven"), ("emoji_explorer", "face"))):
        root = notebook.page.locator(".xlib-explorer").nth(index)
        root.wait_for()
        move_the_explorer(notebook, root, name, word)

    play = notebook.page.locator(".xlib-panel").first
    play.scroll_into_view_if_needed()
    picture = play.locator("img")
    before, said = picture.get_attribute("srcset"), picture.get_attribute("alt")
    play.get_by_role("slider").first.focus()
    notebook.page.keyboard.press("ArrowRight")
    until(lambda: notebook.kernel("batch.temperature") == 0.1, "the temperature moves")
    until(lambda: picture.get_attribute("srcset") != before, "the panel's picture follows")
    until(lambda: picture.get_attribute("alt") != said, "and so do its words")
    notebook.clean()
    notebook.close()
