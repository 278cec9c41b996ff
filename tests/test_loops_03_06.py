"""Lessons 03 and 06 show their whole training loop in one cell. Here it runs beside the experiment, bit for bit."""

import ast
import copy
import json

import pytest
import torch
from lessons import MAGIC, NOTEBOOKS

from xlib.contrastive import LogitScale
from xlib.course import runtime
from xlib.data import numbers
from xlib.experiments.numbers import adapt_numbers, numbers_batches, numbers_model, train_numbers

LOOPS = {"03_clip": ("train-parts", "train-loop"), "06_combined": ("adapt-parts", "adapt-loop")}


def cells(lesson):
    """The code cells of a lesson by their id."""
    stored = json.loads((NOTEBOOKS / f"{lesson}.ipynb").read_text("utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in stored if cell["cell_type"] == "code"}


def shown(lesson, *, instead=(), **earlier):
    """The names that the lesson's imports, the cell of its parts and the cell of its loop leave behind.

    instead: pieces of the loop and what stands in their place. earlier: what comes from other cells.
    """
    code = cells(lesson)
    names = {}
    exec(code["set-up"].split("\n\n", 2)[2].split("\ndevice = runtime.start")[0], names)  # no pip, nothing global
    names |= {"device": torch.device("cpu")} | earlier
    parts, loop = (code[name] for name in LOOPS[lesson])
    for old, new in instead:
        assert old in loop
        loop = loop.replace(old, new)
    exec(parts, names)
    exec(loop, names)
    return names


@pytest.fixture(params=["float32", "bfloat16"])
def precision(request, monkeypatch):
    """Three steps: as on a CPU, and in mixed precision as on a GPU."""
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    if request.param == "bfloat16":
        monkeypatch.setattr(runtime, "autocast", lambda device: torch.autocast(device.type, dtype=torch.bfloat16))


@pytest.fixture(params=["free", "held"])
def scale(request, monkeypatch):
    """A scale that learns from 1 / .07; and one between 1 and 1, which leaves it in any step without a clamp."""
    if request.param == "held":
        monkeypatch.setattr(LogitScale.__init__, "__defaults__", (1.0, 1.0))
    return request.param


def same(ours, theirs, scale):
    """Every weight, bit for bit; and whether the scale did what the fixture says."""
    a, b = ours.state_dict(), theirs.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert (theirs["scale"]().item() == 1) == (scale == "held")


@pytest.mark.usefixtures("precision")
def test_the_loop_of_lesson_03_gives_the_weights_of_train_numbers(monkeypatch, scale):
    draw, drawn = numbers.CaptionedNumbers.draw, []

    def keep(self, chosen, *, generator):
        drawn.append(chosen.tolist())
        return draw(self, chosen, generator=generator)

    with monkeypatch.context() as patch:
        patch.setattr(numbers.CaptionedNumbers, "draw", keep)
        names = shown("03_clip", pictures=numbers.load("train"), test_pictures=numbers.load("test"))
    model, run = train_numbers(steps=3, snapshot=names["watch"])
    same(names["model"], model, scale)
    assert [loss.item() for loss in names["losses"]] == run.curve()
    assert [*names["snapshots"]] == [step for step, _ in run.snapshots] == [0, 3]
    for ours, (_, theirs) in zip(names["snapshots"].values(), run.snapshots, strict=True):
        assert torch.equal(ours, theirs)
    assert not names["model"].training  # the next cells measure it
    watched, *batches = drawn
    assert sorted(watched) == sorted([*numbers.NUMBERS] * 2)
    assert [sorted(batch) for batch in batches] == [sorted(numbers.SEEN)] * 3  # each seen number once, and no other


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize(
    ("align", "added"),
    [
        ({"dann": 0.3}, ()),
        (  # as the text below the loop says
            {"dann": 0.3, "mmd": 1.0},
            (
                ('logit_scale=model["scale"]()', 'logit_scale=model["scale"](), features=features, mmd_coeff=ramp'),
                ('terms["contrastive"] + terms["domain"]', "sum(terms.values())"),
            ),
        ),
    ],
)
def test_the_loop_of_lesson_06_gives_the_weights_of_adapt_numbers(scale, align, added):
    start = numbers_model(0)
    before = copy.deepcopy(start.state_dict())
    names = shown("06_combined", instead=added, start=start, STRENGTH=0.6)
    assert start.state_dict().keys() == before.keys()
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in before.items())
    model, run = adapt_numbers(start, numbers_batches(0.6), align=align, steps=3)
    same(names["model"], model, scale)
    found = [{name: term.item() for name, term in row.items()} for row in names["history"]]
    assert found == [{k: v for k, v in row.items() if k not in ("step", "loss")} for row in run.history]


@pytest.mark.parametrize("lesson", LOOPS)
def test_the_loop_is_whole_short_and_the_only_one_to_train_the_model(lesson):
    code = cells(lesson)
    loop = code[LOOPS[lesson][1]]
    assert len([line for line in loop.splitlines() if line.strip()]) <= 25
    places = [loop.index(f"{part}(") for part in ("tqdm", "autocast", "zero_grad", "loss.backward", "optimizer.step")]
    places += [loop.index(f"{part}()") for part in ("schedule.step", 'model["scale"].clamp_')]
    assert places == sorted(places)
    tree = ast.parse(loop)
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef))]
    later = [*code][: [*code].index("claims" if lesson == "03_clip" else "emoji-run")]
    assert [name for name in later if "model" in assigned(code[name])] == [LOOPS[lesson][0]]


def assigned(code):
    """The names that a cell gives a value at its top level."""
    body = ast.parse(MAGIC.sub(r"\1pass", code)).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
