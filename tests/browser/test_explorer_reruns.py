"""Cells that run again in JupyterLab: what they showed before is let go, and what others show stays alive."""

import pytest
from harness import Notebook, until

pytestmark = pytest.mark.browser

CELLS = [
    """import gc
import numpy as np
from xlib.explore import Explorer, explore
z = np.random.default_rng(0).normal(size=(3, 20, 8))
kept = globals().get("kept") or explore(z, title="kept")""",
    "kept",
    "explore(z, title='new')",
]
COUNT = "gc.collect() and sum(type(one).__name__ == 'Explorer' and one.comm is not None for one in gc.get_objects())"


def alive(notebook):
    return notebook.page.locator(".xlib-explorer .stage > canvas").count()


def test_a_cell_that_runs_again_shows_one_explorer_and_holds_one(browser, lab):
    notebook = Notebook(browser, lab, lab.add("reruns.ipynb", CELLS)).run_all()
    until(lambda: alive(notebook) == 2, "two explorers")
    for _ in range(2):
        notebook.run_all()
        until(lambda: alive(notebook) == 2, "two explorers")
        assert notebook.kernel(COUNT) == 2
    notebook.execute("kept.close(); kept.selected = [3]")
    until(lambda: alive(notebook) == 1, "the other explorer alone")
    notebook.run_all()  # displayed again, it is open again, with what was chosen meanwhile
    until(lambda: alive(notebook) == 2, "two explorers")
    assert notebook.kernel("kept.selected") == [3]
    notebook.page.locator(".xlib-explorer .stage > canvas").first.focus()
    notebook.page.keyboard.press("Escape")
    assert "Error displaying widget" not in notebook.page.locator("body").inner_text()
    notebook.close()
