"""Progress: in a notebook one output of HTML which leaves nothing behind, elsewhere tqdm's text."""

import contextlib
import io
import os
import re
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from xlib.progress import tqdm

CELLS = """
import time
from xlib.progress import tqdm
seen = [i for i in tqdm(range(3), desc="gone", leave=False)]
---
for i in tqdm(range(4), desc="left <b>", mininterval=0):
    pass
---
for i in tqdm(range(9), desc="raises", leave=False):
    raise ValueError("no")
---
def interrupted():
    for i in tqdm(range(9), desc="interrupted", leave=False):
        raise KeyboardInterrupt
interrupted()
---
for i in tqdm(range(3), desc="quick", leave=False, delay=60):
    pass
for i in tqdm(range(3), disable=True):
    pass
---
with tqdm(desc="no total", leave=False) as bar:
    bar.update()
    time.sleep(0.2)
    bar.update()
    shown = bar._output.display_id
"""


def run(**environment):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.split("---")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", allow_errors=True).execute(env=environment)
    return [cell.outputs for cell in notebook.cells]


@pytest.fixture(scope="module")
def outputs():
    return run(**{name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"})


def bundles(found):
    return [dict(output.data) for output in found if output.output_type == "display_data"]


@pytest.mark.long
def test_a_bar_that_is_not_to_be_left_leaves_an_empty_output(outputs):
    assert bundles(outputs[0]) == [{"text/plain": ""}]
    assert bundles(outputs[5]) == [{"text/plain": ""}]


@pytest.mark.long
def test_a_bar_that_is_left_is_html_with_its_words_as_text(outputs):
    (bundle,) = bundles(outputs[1])
    assert bundle["text/html"].startswith('<div><progress max="4" value="4"></progress> left &lt;b&gt;: 100% 4/4 [')
    assert bundle["text/plain"].startswith("left <b>: 100% 4/4 [")


@pytest.mark.long
@pytest.mark.parametrize(("cell", "error"), [(2, "ValueError"), (3, "KeyboardInterrupt")])
def test_a_cell_that_ends_in_an_error_leaves_no_bar_either(outputs, cell, error):
    assert bundles(outputs[cell]) == [{"text/plain": ""}]
    assert [output.ename for output in outputs[cell] if output.output_type == "error"] == [error]


@pytest.mark.long
def test_no_widget_no_stderr_and_nothing_before_the_delay(outputs):
    assert outputs[4] == []
    assert not [output for found in outputs for output in found if output.output_type == "stream"]
    assert "widget" not in str(outputs)


@pytest.mark.long
def test_tqdms_own_switch_silences_it_in_a_notebook_too():
    found = run(**os.environ | {"TQDM_DISABLE": "1"})
    assert [bundles(each) for each in found[:5]] == [[]] * 5


def test_elsewhere_it_is_tqdms_text_on_stderr(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert list(tqdm(range(3), desc="training")) == [0, 1, 2]
    assert re.search(r"training: 100%\|.*\| 3/3 \[", said.getvalue())


def test_it_goes_where_it_is_told(monkeypatch):
    """In a kernel too: a file is a file."""
    monkeypatch.setitem(sys.modules, "IPython", type("", (), {"get_ipython": lambda: type("", (), {"kernel": 1})()}))
    said = io.StringIO()
    list(tqdm(range(3), file=said, disable=False))
    assert "3/3" in said.getvalue()
