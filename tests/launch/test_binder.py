"""Binder's environment, built as repo2docker builds it but for conda, and two lessons run in it within 2 GiB.

repo2docker hands environment.yml to conda: first come torch and torchvision in their CPU build, then pip with
binder/requirements.txt. It then runs binder/postBuild in the repository, and binder/start before the learner's
Jupyter. Here pip brings torch as well, into a venv.

Where there is a CPU build of torch but none of torchvision, the compiled part of torchvision does not load, and its
import fails for want of two operators that find overlapping boxes. The course uses nothing of that part: the two are
then declared, without code, and what has been measured says so.
"""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from fresh import call, copy_tree, install_cpu_torch, make_venv, versions
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Binder is Linux")

RUN_LESSON = Path(__file__).with_name("run_lesson.py")
IMPORT_TORCHVISION = """\
try:
    import torchvision
except RuntimeError as error:
    print(error)
"""
DECLARED = """\
import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


class Binder(NamedTuple):
    repository: Path
    python: Path
    path: str  # the variable PATH
    before: dict[str, str]  # versions, as conda would have brought them
    torchvision: str  # how it is there


def megabytes(folder: Path) -> int:
    """Room that it takes on the disk, in 1e6 bytes."""
    return round(sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6)


def make_torchvision_load(python: Path) -> str:
    """Returns how it does."""
    complaint = call(python, "-c", IMPORT_TORCHVISION)
    if not complaint:
        return "as built"
    assert "operator torchvision::" in complaint
    package = next(python.parents[1].glob("lib/*/site-packages/torchvision/__init__.py"))
    package.write_text(DECLARED + package.read_text("utf-8"), "utf-8")
    assert call(python, "-c", IMPORT_TORCHVISION) == ""
    return "without its compiled part"


@pytest.fixture(scope="module")
def binder(folder):
    repository, python = copy_tree(folder / "repository"), make_venv(folder / "venv")
    install_cpu_torch(python, "torch", "torchvision")
    torchvision, before = make_torchvision_load(python), versions(python)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    call(python, "-m", "pip", "install", "-U", "-r", "requirements.txt", cwd=repository / "binder")  # as mamba does
    call(repository / "binder" / "postBuild", cwd=repository, PATH=path)
    return Binder(repository, python, path, before, torchvision)


def test_pip_leaves_the_torch_of_conda_as_it_is(binder):
    after = versions(binder.python)
    assert {name: after[name] for name in ("torch", "torchvision")} == {
        name: binder.before[name] for name in ("torch", "torchvision")
    }


def test_the_rest_is_the_tested_set(binder):
    text = (binder.repository / "constraints.txt").read_text("utf-8")
    pins = dict(line.split("==") for line in text.splitlines() if "==" in line)
    brought = {"pip", "xlib-course", *binder.before}
    other = {name: version for name, version in versions(binder.python).items() if name not in brought}
    assert "transformers" in other
    assert {name: pins.get(canonicalize_name(name)) for name in other} == other


def test_the_environment_fits_on_a_small_disk(binder, record_property):
    size = megabytes(binder.python.parents[1])
    record_property(
        "Binder's environment", {"MB": size, "torch": binder.before["torch"], "torchvision": binder.torchvision}
    )
    assert 1000 < size < 3500


def test_the_first_lesson_finds_its_emoji_drawn(binder):
    assert [*(binder.repository / ".cache" / "xlib").glob("minilm-*.safetensors")]


def test_lesson_08_finds_its_numbers_spoken(binder, record_property):
    spoken = [*(binder.repository / ".cache" / "xlib").glob("speech-*.safetensors")]
    record_property("spoken numbers in Binder's image", {"MB": round(sum(f.stat().st_size for f in spoken) / 1e6)})
    assert len(spoken) == 6
    assert 100e6 < sum(file.stat().st_size for file in spoken) < 150e6


@pytest.mark.parametrize("lesson", ["00_start_here", "03_clip"])
def test_a_lesson_runs_in_the_memory_of_binder(binder, lesson, record_property):
    command = ("binder/start", "python", RUN_LESSON, f"notebooks/{lesson}.ipynb")
    measured = json.loads(call(*command, cwd=binder.repository, PATH=binder.path))
    record_property(f"{lesson} under Binder's limits", measured)
    assert measured["limit"] == 2 * 2**30 / 1e6
    assert measured["memory"] < measured["address space"] < measured["limit"]
    assert 300 < measured["memory"] < 1500
