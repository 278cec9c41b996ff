"""A printed solution runs as it is pasted: each name in it is its own, or Python's, or that of a cell above it."""

import builtins
import dis
import json
import re
import textwrap
from types import CodeType

import pytest
from lessons import DETAILS, FENCE, MAGIC, NOTEBOOKS


def names(code, *operations):
    """The names that a piece of code handles so at its top level; with LOAD_GLOBAL, in its functions as well."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname in operations}
    inner = [part for part in code.co_consts if isinstance(part, CodeType)] if "LOAD_GLOBAL" in operations else []
    return found.union(*(names(part, *operations) for part in inner))


def compiled(code, where):
    return compile(MAGIC.sub(r"\1pass", textwrap.dedent(code)), where, "exec", dont_inherit=True)


def solutions(path):
    """Of each printed solution: its first function, its code, and the names that the cells above it define."""
    defined = set(dir(builtins))
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            defined |= names(compiled(text, cell["id"]), "STORE_NAME")
            continue
        for block in DETAILS.finditer(text):
            if re.sub(r"<.*?>", "", block["title"]).strip().startswith("Solution"):
                code = "\n".join(textwrap.dedent(fence) for fence in FENCE.findall(block["body"]))
                yield re.search(r"def (\w+)", code)[1], code, set(defined)


PRINTED = [
    pytest.param(code, defined, id=f"{path.stem}-{name}")
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    for name, code, defined in solutions(path)
]


@pytest.mark.parametrize(("code", "defined"), PRINTED)
def test_every_name_of_a_printed_solution_is_defined_above_it_or_in_it(code, defined):
    solution = compiled(code, "solution")
    missing = names(solution, "LOAD_GLOBAL", "LOAD_NAME") - names(solution, "STORE_NAME") - defined
    assert not missing


def test_a_name_from_nowhere_is_found():
    def made(value):
        return [math.sqrt(part) for part in torch.ones(value)]  # noqa: F821

    assert {"math", "torch"} <= names(made.__code__, "LOAD_GLOBAL")


def test_there_is_a_solution_for_every_check():
    checks = sum(len(re.findall(r"\bchecks\.\w+\(", path.read_text("utf-8"))) for path in NOTEBOOKS.glob("*.ipynb"))
    assert len(PRINTED) == checks > 20
