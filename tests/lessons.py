"""Reads a lesson's notebook, so that tests can run what it prints: solutions, stubs and definitions."""

import ast
import json
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import nbformat
import torch
import torch.nn.functional as F

from xlib.course import checks, training

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
EXECUTED = Path(os.environ["XLIB_TESTS_HOME"]) / "executed"  # lessons as nbmake has run them in this run of the tests
DETAILS = re.compile(r"<details>\s*<summary>(?P<title>.*?)</summary>(?P<body>.*?)</details>", re.DOTALL)
MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)  # a line for IPython and not for Python, such as %pip install
FENCE = re.compile(r"^[ \t]*```python[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)


def cells(name: str) -> list:
    """The cells of notebooks/<name>.ipynb, as nbformat reads them."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells


class Lesson:
    """The code of one notebook. An exercise's cell is known by its check: it calls `checks.<function>(`."""

    def __init__(self, path: Path):
        self.name = path.stem
        cells = json.loads(path.read_text("utf-8"))["cells"]
        texts = {
            kind: ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]
            for kind in ("code", "markdown")
        }
        self._code = texts["code"]
        self._solutions = {}  # function: all code of the <details> block that prints it
        for block in DETAILS.finditer("\n".join(texts["markdown"])):
            if re.sub(r"<.*?>", "", block["title"]).strip().startswith("Solution"):
                code = "\n".join(textwrap.dedent(fence) for fence in FENCE.findall(block["body"]))
                self._solutions.update(dict.fromkeys(_definitions(code), code))

    def functions(self) -> set[str]:
        """The functions that an exercise asks for."""
        return set(re.findall(r"\bchecks\.(\w+)\(", "\n".join(self._code)))

    def solution(self, function: str) -> Callable:
        """The printed solution."""
        return self._run(function, self._solutions.get(function), "printed solution")

    def printed(self, function: str) -> str:
        """The printed solution, as text."""
        return self._need(function, self._solutions.get(function), "printed solution")

    def stub(self, function: str) -> Callable:
        """What the learner starts from: the definition in the exercise's cell. Nothing else of the cell is run."""
        return self._run(function, self._find(function, of_exercise=True), "stub")

    def source(self, function: str) -> str:
        """A function that the lesson defines in front of the learner; the stub, where there is no other."""
        found = self._find(function, of_exercise=False) or self._find(function, of_exercise=True)
        return self._need(function, found, "definition")

    def _find(self, function: str, *, of_exercise: bool) -> str | None:
        cells = [code for code in self._code if (f"checks.{function}(" in code) == of_exercise]
        return next((found for code in cells if (found := _definitions(code).get(function))), None)

    def _need(self, function: str, code: str | None, what: str) -> str:
        if code is None:
            raise LookupError(f"{self.name} has no {what} of {function}")
        return code

    def _run(self, function: str, code: str | None, what: str) -> Callable:
        namespace = {"torch": torch, "F": F, "math": math}
        exec(compile(self._need(function, code, what), f"<{what} of {function} in {self.name}>", "exec"), namespace)
        return namespace[function]


def lesson(name: str, folder: Path = NOTEBOOKS) -> Lesson:
    """The lesson in notebooks/<name>.ipynb."""
    return Lesson(folder / f"{name}.ipynb")


def parts(exercise: str) -> tuple[Callable, list[tuple], list[tuple]]:
    """Oracle, cases and mistakes of an exercise's check."""
    check = getattr(checks, exercise)
    module = sys.modules[check.__module__]
    with mock.patch.object(module, "check", lambda signature, answer, *three, **options: three):
        return check(None)


def stop_after(monkeypatch, steps: int) -> None:
    """Every training ends after these steps, at the rates and weights of the whole: the start of a stored run, whose
    scores on the way are stored too, costs a fraction of it, and other processors have not yet drifted far."""
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda *parts, **options: fit(*parts, **options | {"steps": steps}))


def _definitions(code: str) -> dict[str, str]:
    """The source of each function defined at the top level, decorators included."""
    code = MAGIC.sub(r"\1pass", code)
    lines = code.splitlines()
    return {
        node.name: "\n".join(
            lines[min([node, *node.decorator_list], key=lambda n: n.lineno).lineno - 1 : node.end_lineno]
        )
        for node in ast.parse(code).body
        if isinstance(node, ast.FunctionDef)
    }
