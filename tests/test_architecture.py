"""Who imports whom: the rules in pyproject.toml hold, see what breaks them, and docs/architecture.md draws them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT = Path(sys.executable).with_name("lint-imports")
ROOMS = ("course", "experiments", "online", "explore", "data")


def lint(folder: Path) -> tuple[int, str]:
    """Exit status and words of import-linter on the xlib in a folder."""
    found = subprocess.run(
        [LINT, "--no-logo", "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return found.returncode, found.stdout


def test_the_rules_are_kept():
    status, said = lint(ROOT)
    assert status == 0, said
    assert "3 kept, 0 broken" in said


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("mmd.py", "from xlib.course import runtime", "xlib.mmd -> xlib.course.runtime"),
        ("contrastive.py", "import xlib.data.numbers", "xlib.contrastive -> xlib.data.numbers"),
        ("space.py", "from xlib import contrastive, clip", "xlib.space -> xlib.clip"),
        ("dann.py", "from matplotlib.figure import Figure", "xlib.dann -> matplotlib"),
        ("data/toy.py", "from xlib import space", "xlib.data.toy -> xlib.space"),
        ("explore/model.py", "from xlib.course import runtime", "xlib.explore.model -> xlib.course.runtime"),
        ("course/report.py", "from xlib.online import hub", "xlib.course.report -> xlib.online.hub"),
        ("online/hub.py", "from xlib.experiments import digits", "xlib.online.hub -> xlib.experiments.digits"),
        ("recipes.py", "import torch", "xlib.recipes"),  # a module that has no place
    ],
)
def test_what_breaks_a_rule_is_seen(tmp_path, module, line, said):
    shutil.copytree(ROOT / "xlib", tmp_path / "xlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "xlib" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    status, found = lint(tmp_path)
    assert status == 1
    assert said in found


def test_the_page_names_every_module_and_nothing_that_is_gone():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    drawing = page.split("```")[1]
    for room in ROOMS:
        assert f"xlib/{room}" in drawing
    for path in (ROOT / "xlib").glob("*.py"):
        if not path.stem.startswith("_"):
            assert re.search(rf"\b{path.stem}\b", drawing), f"the drawing lacks {path.stem}"
            assert f"`xlib/{path.stem}.py`" in page
    for room in ("course", "experiments", "online", "data"):
        for path in (ROOT / "xlib" / room).glob("[!_]*.py"):
            assert re.search(rf"\b{path.stem}\b", drawing), f"the drawing lacks {room}/{path.stem}"
    for name in re.findall(r"`((?:xlib|tools|tests|docs|notebooks)/[\w./]+)`", page):
        assert (ROOT / name).exists(), f"the page names {name}"


def test_no_module_stands_at_an_old_place():
    """Old import paths have no aliases: whoever used one is told by Python."""
    old = "recipes runtime report training checks paper pretrained data.full data.captions data.download data.hub"
    code = "import importlib.util; print([n for n in %r if importlib.util.find_spec(f'xlib.{n}')])"
    found = subprocess.run([sys.executable, "-c", code % old.split()], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "[]", found.stderr
