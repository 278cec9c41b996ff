"""The lessons' set-up cell where a runtime has torch and numpy but no xlib, as on Colab.

A clone of this tree stands in for the host: its address takes the place of the one in the cell, and of nothing else.
"""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
import sync_links
from clean_notebooks import ROOT
from fresh import call, copy_tree, environment, install_cpu_torch, make_venv, versions
from nbclient import NotebookClient

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the runtime is a Linux machine")

NEWER = "newer-numpy"  # a tag of the host whose xlib asks for a newer numpy than the runtime has
LOOK = """
import json
from importlib.metadata import version
import xlib
print(json.dumps([xlib.__file__, version("xlib-course"), sorted(report.stored("05_dann"))]))
"""


class Colab(NamedTuple):
    folder: Path
    python: Path
    cell: str  # the set-up cell with the host's address


def set_up_cell() -> str:
    cells = json.loads((ROOT / "notebooks" / "00_start_here.ipynb").read_text("utf-8"))["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["id"] == "set-up")


def make_host(folder: Path) -> Path:
    """A git repository with this tree under the tag of its version, and another under the tag NEWER."""
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-C", copy_tree(folder))
    requirements = folder / "requirements.txt"
    text = requirements.read_text("utf-8")

    def commit(tag):
        for command in (("add", "-A"), ("commit", "-q", "-m", tag), ("tag", tag)):
            call(*git, *command, GIT_CONFIG_GLOBAL=os.devnull)

    call(*git, "init", "-q")
    requirements.write_text(re.sub(r"(?m)^numpy.*$", "numpy>=2.4", text), "utf-8")
    commit(NEWER)
    requirements.write_text(text, "utf-8")
    commit(sync_links.tag())
    return folder


@pytest.fixture(scope="module")
def colab(folder):
    python = make_venv(folder / "venv")
    install_cpu_torch(python, "torch")
    call(python, "-m", "pip", "install", "numpy<2.4", "ipykernel", "pip>=24.1")  # an older pip reads no git+file
    call(python, "-m", "ipykernel", "install", "--prefix", folder, "--name", "bare")
    (folder / "content").mkdir()
    address = f"git+{sync_links.repository()}@{sync_links.tag()}"
    assert address in set_up_cell()
    host = make_host(folder / "host").as_uri()
    cell = set_up_cell().replace(address, f"git+{host}@{sync_links.tag()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
        yield Colab(folder, python, cell)


def run(colab: Colab, *cells: str, allow_errors: bool = False) -> list[str]:
    """What each cell prints, in one fresh kernel of the bare environment, in a folder outside the clone."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    where = {"metadata": {"path": colab.folder / "content"}}
    NotebookClient(notebook, kernel_name="bare", resources=where, timeout=600, allow_errors=allow_errors).execute(
        env=environment(PIP_NO_COMPILE="1")  # which would take half of the time
    )
    return [
        "".join(output.get("text", output.get("evalue", "")) for output in cell.outputs) for cell in notebook.cells
    ]


def installed(colab: Colab) -> dict[str, tuple[str, list[int]]]:
    """torch's and numpy's versions, and when what pip noted about them was written."""
    found, site = versions(colab.python), next(colab.python.parents[1].glob("lib/*/site-packages"))
    notes = {name: sorted((site / f"{name}-{found[name]}.dist-info").iterdir()) for name in ("torch", "numpy")}
    return {name: (found[name], [path.stat().st_mtime_ns for path in paths]) for name, paths in notes.items()}


def test_the_set_up_cell_does_not_change_numpy_even_where_xlib_asks_for_it(colab):
    call(colab.python, "-m", "pip", "uninstall", "-y", "xlib-course")  # the other test may have come first
    before = installed(colab)
    said, *_ = run(colab, colab.cell.replace(sync_links.tag(), NEWER), allow_errors=True)
    assert "conflict" in said
    assert "No module named 'xlib'" in said
    assert installed(colab) == before


def test_the_set_up_cell_installs_xlib_beside_torch_and_numpy(colab):
    before = installed(colab)
    first, again, looked = run(colab, colab.cell, colab.cell, LOOK)
    place, version, stored = json.loads(looked)
    assert installed(colab) == before
    assert Path(place).is_relative_to(colab.python.parents[1])
    assert f"v{version}" == sync_links.tag()
    assert "settings" in stored
    assert "device " in first
    assert again == first.splitlines(keepends=True)[-1]  # and nothing of pip's
