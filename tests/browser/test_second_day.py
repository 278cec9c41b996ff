"""A notebook that was run, saved and opened again: no dead widgets, and nothing left of progress bars. The lessons
are looked at where they are run, in test_lesson*_in_lab.py."""

import subprocess
import sys
from pathlib import Path

import pytest
from harness import LOOK, Notebook, second_day, until

pytestmark = pytest.mark.browser

EXPLORER = f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_explorer_elsewhere import make
explorer = make()
explorer"""
PROGRESS = """from xlib.progress import tqdm
for i in tqdm(range(3), desc="training", leave=False):
    pass
print("trained")"""
CELLS = [EXPLORER, PROGRESS, "from IPython.display import display\ndisplay(explorer)\nprint('beneath')"]


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, lab.add("day.ipynb", CELLS)).run_all()
    yield notebook
    notebook.close()


def test_pictures_stand_where_the_widgets_were(opened):
    second_day(opened)


def test_while_the_widget_lives_its_picture_is_not_seen(opened):
    roots = opened.page.locator(".xlib-explorer")
    for i in range(2):  # one widget in two cells
        roots.nth(i).scroll_into_view_if_needed()
        roots.nth(i).locator(".stage > canvas").first.wait_for()
        assert opened.page.evaluate(LOOK)["stills"] == []


def saved(notebook, name):
    """A copy of the notebook as it is on the disk."""
    notebook.command("docmanager:save")
    copy = notebook.lab.notebooks / name
    copy.write_text((notebook.lab.notebooks / notebook.path).read_text("utf-8"), "utf-8")
    return copy


def test_a_notebook_that_is_not_trusted_shows_the_light_picture(opened):
    copy = saved(opened, "stranger.ipynb")
    copy.write_text(copy.read_text("utf-8").replace("beneath", "not what was signed"), "utf-8")
    stranger = Notebook(opened.browser, opened.lab, copy.name)
    still = until(lambda: stranger.page.evaluate(LOOK)["stills"], "a picture is seen")[0]
    assert still["seen"] == [True, False]
    assert still["words"] == "Run this cell to bring it alive."
    stranger.close()


def test_a_page_of_nbconvert_has_the_picture_and_no_dead_widget(opened, tmp_path):
    copy = saved(opened, "page.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", tmp_path, copy]
    subprocess.run(command, check=True, capture_output=True)
    context = opened.browser.new_context(offline=True)
    tab = context.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    stills = tab.locator(".xlib-still")
    assert stills.count() == 2
    for i in range(2):
        light, dark = stills.nth(i).locator("img").all()
        assert light.is_visible()
        assert light.evaluate("(image) => image.naturalWidth") > 300
        assert not dark.is_visible()
    assert "widget" not in tab.locator("body").inner_text().replace(EXPLORER, "").lower()
    context.close()
