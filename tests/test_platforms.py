"""What other systems do otherwise: letters in files and on consoles, folders of any name."""

import ast
import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for room in ("xlib", "tools", "notebooks") for path in sorted((ROOT / room).rglob("*.py"))]


def without_encoding(text: str) -> list[int]:
    """Lines where a text file is read or written in the letters of the system, which differ on Windows."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        words = [part.value for arg in node.args for part in ast.walk(arg) if isinstance(part, ast.Constant)]
        plainly = isinstance(node.func, ast.Name) and name == "open" and not {"rb", "wb", "ab"} & {*words}
        if plainly or (name in ("read_text", "write_text") and not {"utf-8", "utf8"} & {*words}):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_file_is_read_and_written_as_utf_8(path):
    assert without_encoding(path.read_text("utf-8")) == []


def test_a_file_in_the_letters_of_the_system_is_seen():
    text = (
        "open(p)\nopen(p, 'rb')\np.read_text()\np.write_text(t, 'utf-8')\nopen(p, encoding='utf-8')\nopen(p, 'w')\n"
    )
    assert without_encoding(text) == [1, 3, 6]


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii"])
@pytest.mark.parametrize(
    ("program", "arguments", "said"),
    [
        ("tools/paper.py", ["--help"], "[--seeds 5]"),
        ("tools/clean_notebooks.py", ["Zoë 数据 🙂.ipynb"], "cleaned Zo"),
        ("notebooks/from_scratch/clip.py", ["--help"], "CLIP in one file"),
        ("notebooks/from_scratch/dann.py", ["--help"], "DANN in one file"),
        ("notebooks/from_scratch/combined.py", ["--help"], "CLIP + DANN in one file"),
        ("notebooks/from_scratch/three.py", ["--help"], "Three modalities in one file"),
        ("notebooks/train_distributed.py", ["--help"], "torchrun"),
        ("xlib/explore/__main__.py", ["Zoë 数据 🙂.npz", "--no-browser"], "wrote Zo"),
    ],
)
def test_a_program_prints_on_a_console_that_knows_few_letters(
    tmp_path, monkeypatch, encoding, program, arguments, said
):
    untidy = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    (tmp_path / "Zoë 数据 🙂.ipynb").write_text(untidy, "utf-8")
    np.savez(tmp_path / "Zoë 数据 🙂.npz", embeddings=np.eye(12), captions=list("abcdefghijkl"))
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.setattr(sys, "stdout", console)
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(ROOT / program), run_name="__main__")
    console.flush()
    assert said in console.buffer.getvalue().decode(encoding)


@pytest.mark.long
def test_the_course_runs_in_folders_of_any_name_and_on_a_console_that_knows_few_letters(tmp_path):
    """A user's name is part of the cache's path, and a console's letters are the system's."""
    home = tmp_path / "Zoë O'Neill 数据"
    home.mkdir()
    code = """
from xlib.course import runtime
from xlib.data import digits
from xlib.experiments.digits import train_digits
from xlib._files import written_whole
runtime.start(seed=1)
digits.photographs()
model, run = train_digits(0.0, collections=("uci", "uci"), steps=1, batch=8)
with written_whole("~/run.txt") as beside:
    beside.write_text("→", "utf-8")
"""
    env = os.environ | {"HOME": str(home), "USERPROFILE": str(home), "XLIB_CACHE": "~/缓存"}
    env |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "XLIB_DEVICE": "cpu"}
    (home / "étude.py").write_text(code, "utf-8")
    done = subprocess.run([sys.executable, "étude.py"], cwd=home, env=env, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert "as XLIB_DEVICE says" in done.stdout.decode("ascii")
    assert (home / "run.txt").read_text("utf-8") == "→"
    assert "photographs.safetensors" in {path.name for path in (home / "缓存").iterdir()}
    assert not list(home.glob("~*"))
