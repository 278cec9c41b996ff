"""Notebooks are stored clean, and the checks that say so refuse one that is not; ruff is content with all code."""

import json
import subprocess
import sys

import nbformat
import pytest
from clean_notebooks import METADATA, ROOT, clean, main, problems, repository_notebooks, serialise

NOTEBOOKS = repository_notebooks()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
def test_notebook_is_stored_clean(path):
    assert problems(path) == []


def good() -> dict:
    cells = [
        nbformat.v4.new_markdown_cell("# A lesson with an é and 四十二", id="title"),
        nbformat.v4.new_code_cell("x = 1\nx", id="first"),
        nbformat.v4.new_code_cell("x + 1", id="second"),
    ]
    return json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=METADATA)))


def stored(tmp_path, notebook: dict, text=None):
    path = tmp_path / "lesson.ipynb"
    path.write_text(text or serialise(notebook), "utf-8")
    return path


def test_good_notebook_has_no_problems(tmp_path):
    assert problems(stored(tmp_path, good())) == []


def output(notebook):
    notebook["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}]


def count(notebook):
    notebook["cells"][1]["execution_count"] = 3


def no_id(notebook):
    del notebook["cells"][1]["id"]


def two_of_an_id(notebook):
    notebook["cells"][2]["id"] = "first"


def old_format(notebook):
    notebook["nbformat_minor"] = 4
    for cell in notebook["cells"]:
        del cell["id"]


def unknown_field(notebook):
    notebook["cells"][1]["colour"] = "red"


def other_kernel(notebook):
    notebook["metadata"] = dict(METADATA, kernelspec={"display_name": "mine", "language": "python", "name": "mine"})


def errors_allowed(notebook):
    notebook["metadata"] = dict(METADATA, execution={"allow_errors": True})


def cell_metadata(notebook):
    notebook["cells"][1]["metadata"] = {"execution": {"iopub.execute_input": "2026-01-01"}}


def long_cell(notebook):
    notebook["cells"][1]["source"] = ["x = 1\n"] * 41


BAD = {
    output: "cell 1 (first) is stored with outputs",
    count: "cell 1 (first) is stored with an execution count",
    no_id: "is no valid notebook",
    two_of_an_id: "uses the id first more than once",
    old_format: "is of format 4.4",
    unknown_field: "is no valid notebook",
    other_kernel: "has other metadata",
    errors_allowed: "has other metadata",
    cell_metadata: "cell 1 (first) has metadata ['execution']",
    long_cell: "cell 1 (first) has 41 lines",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_bad_notebook_is_refused(tmp_path, spoil):
    notebook = good()
    spoil(notebook)
    assert any(BAD[spoil] in problem for problem in problems(stored(tmp_path, notebook)))


@pytest.mark.parametrize("text", ["", "{", json.dumps(good(), indent=4), serialise(good()).rstrip("\n")])
def test_bad_text_is_refused(tmp_path, text):
    path = stored(tmp_path, good(), text or " ")
    assert len(problems(path)) == 1


@pytest.mark.parametrize("spoil", [output, count, errors_allowed, other_kernel, cell_metadata])
def test_what_a_run_leaves_is_cleaned(tmp_path, spoil):
    notebook = good()
    spoil(notebook)
    path = stored(tmp_path, notebook)
    assert clean(path)
    assert problems(path) == []
    assert json.loads(path.read_text("utf-8")) == good()  # the cells' text and ids are what they were
    assert not clean(path)


def test_what_cannot_be_cleaned_is_said(tmp_path, capsys):
    notebook = good()
    long_cell(notebook)
    assert main([str(stored(tmp_path, notebook))]) == 1
    assert "41 lines" in capsys.readouterr().out


def test_notebooks_of_jupyter_clean_to_the_same_text(tmp_path):
    """What JupyterLab saves (nbformat's own layout) and what the script writes do not fight each other."""
    path = stored(tmp_path, good(), nbformat.writes(nbformat.from_dict(good())) + "\n")
    assert not clean(path)


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff(command):
    run = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_ruff_reads_notebooks(tmp_path):
    """The setting that includes them holds: an unused import in a notebook is found, and so is a missing space."""
    notebook = good()
    notebook["cells"][1]["source"] = ["import os\n", "x=1"]
    path = stored(tmp_path, notebook)
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(tmp_path)]
    lint = subprocess.run([sys.executable, "-m", "ruff", "check", *config], capture_output=True, text=True)
    assert "F401" in lint.stdout
    layout = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", *config], capture_output=True, text=True
    )
    assert path.name in layout.stdout
