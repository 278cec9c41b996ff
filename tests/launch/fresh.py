"""Fresh environments for the tests of Binder and Colab, built from the package index like those are.

TORCH_CPU_INDEX     where pip finds torch's CPU builds: a folder, or the address of an index
CPU_TORCH           which ones to install; "torch torchvision" where it is not set
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clean_notebooks import ROOT
from packaging.requirements import Requirement

CUDA = ("nvidia", "cuda", "triton")  # how the names of what only torch's CUDA build asks for begin
# tests/conftest.py's guard against the network comes by PYTHONPATH, and it holds every process to one thread.
NOT_HANDED_ON = ("PYTHONPATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def environment(**more: str) -> dict[str, str]:
    """Variables for a child that may use the network and as many threads as it would elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in (*NOT_HANDED_ON, "XLIB_CACHE")}
    return kept | more


def call(*command, cwd: Path | None = None, **more: str) -> str:
    """What a command prints; where it fails, the test fails with what it complained about."""
    command = list(map(str, command))
    done = subprocess.run(command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_tree(target: Path) -> Path:
    """What git tracks or would add, as it is now."""
    listed = call("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # and not deleted since
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def make_venv(folder: Path) -> Path:
    """A fresh environment in a folder. Returns its Python."""
    call(sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


def versions(python: Path) -> dict[str, str]:
    """What is installed there."""
    listed = json.loads(call(python, "-m", "pip", "list", "--format=json"))
    return {each["name"].lower(): each["version"] for each in listed}


def install_cpu_torch(python: Path, *names: str) -> None:
    """Install those of torch and torchvision that are named, in their CPU build; skip where pip has none."""
    asked = os.environ.get("CPU_TORCH", "torch torchvision").split()
    command = [python, "-m", "pip", "install", *(each for each in asked if Requirement(each).name in names)]
    if source := os.environ.get("TORCH_CPU_INDEX"):
        command += ["--index-url" if source.startswith("http") else "--find-links", source]
    plan = json.loads(call(*command, "--dry-run", "--quiet", "--report", "-"))
    if any(each["metadata"]["name"].startswith(CUDA) for each in plan["install"]):
        pytest.skip(
            "pip's torch is the CUDA build here: set TORCH_CPU_INDEX to a folder or index with torch's CPU builds, "
            "or CPU_TORCH to a version that pip has as such"
        )
    call(*command)
