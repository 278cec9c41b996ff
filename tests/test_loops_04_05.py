"""The training loops that lessons 04 and 05 show are those of `train_digits`: the same weights, to the last bit."""

import json

import pytest
import torch
from lessons import MAGIC, NOTEBOOKS

from xlib.course import runtime
from xlib.experiments.digits import train_digits

# lesson: cells before its loop, the loop's cell, the model's name, and the same training by `train_digits`
SHOWN = {
    "04_mmd": (
        ["set-up", "train-source", "mmd-model"],
        "mmd-loop",
        "aligned",
        {"strength": 1.0, "align": "mmd", "weight": 1.0},
    ),
    "05_dann": (
        ["set-up", "digits-measured", "dann-model"],
        "dann-loop",
        "model",
        {"strength": 1.0, "align": "dann"},
    ),
}


def cells(name):
    """id: source of each cell of a lesson, lines for IPython left out."""
    stored = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))["cells"]
    return {cell["id"]: MAGIC.sub(r"\1pass", "".join(cell["source"])) for cell in stored}


def trained(name):
    """A lesson's variables after its loop."""
    before, loop, _, _ = SHOWN[name]
    scope, source = {}, cells(name)
    for cell in [*before, loop]:
        exec(compile(source[cell], f"<{cell} of {name}>", "exec"), scope)
    return scope


@pytest.fixture(params=["cpu", "as on a gpu"])
def machine(request, monkeypatch):
    """A budget of three steps, on the CPU; and the same in 16 bits, with the batch and width of a GPU."""
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    monkeypatch.setattr(runtime, "pick_device", lambda: torch.device("cpu"))
    if request.param == "as on a gpu":
        monkeypatch.setattr(runtime, "by_budget", lambda cpu, *, gpu: gpu)
        monkeypatch.setattr(runtime, "autocast", lambda device: torch.autocast(device.type, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", SHOWN)
def test_the_loop_that_is_shown_gives_the_weights_of_train_digits(machine, name):
    scope = trained(name)
    *_, model, options = SHOWN[name]
    found = scope[model].state_dict()
    expected, run = train_digits(steps=runtime.steps(400), **options, **scope.get("larger", {}))
    assert run.step == scope["step"] + 1 == 3
    assert found.keys() == expected.state_dict().keys()
    for part, value in expected.state_dict().items():
        assert torch.equal(found[part], value), part


@pytest.mark.parametrize("name", SHOWN)
def test_the_whole_step_stands_in_one_short_cell(name):
    loop = cells(name)[SHOWN[name][1]]
    assert len([line for line in loop.splitlines() if line.strip()]) <= 25
    for part in ("tqdm(", "draw_digits(", "autocast(", "dann_coeff("):
        assert part in loop
    for part in ("optimizer.zero_grad()", "loss.backward()", "optimizer.step()", "schedule.step()"):
        assert loop.count(part) == 1
    assert not any(word in loop for word in ("def ", "lambda", "fit(", "train_digits"))


@pytest.mark.parametrize(("name", "used"), [("04_mmd", '"+ MMD": aligned,'), ("05_dann", '"DANN": model,')])
def test_what_the_loop_trained_is_what_the_lesson_goes_on_with(name, used):
    source = cells(name)
    order = list(source)
    (using,) = [cell for cell, code in source.items() if used in code]
    assert order.index(SHOWN[name][1]) + 1 == order.index(using)
    again = f'STRENGTH, align="{SHOWN[name][3]["align"]}", steps'
    assert not any(again in " ".join(code.split()) for code in source.values())


def test_lesson_05_keeps_the_features_before_the_first_step_and_after_the_last(machine):
    scope = trained("05_dann")
    assert list(scope["snapshots"]) == [0, 3]
    assert torch.equal(scope["snapshots"][3], scope["watch"](scope["model"]))
    assert not torch.equal(*scope["snapshots"].values())
