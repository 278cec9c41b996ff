"""Going on from a checkpoint: as an unbroken run, with something changed on purpose, or not at all."""

import copy
import json
import math
import os
import random
import runpy
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim import lr_scheduler as schedules

from xlib.course import _checkpoint, report, training


class Parts:
    """A small problem with dropout and a running mean, whose loss draws from all that can be seen."""

    def __init__(self, seed=0, *, optimizer=None, scheduler=None, model=None, wrap=lambda model: model, device="cpu"):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)  # noqa: NPY002
        layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 1)]
        self.inner = nn.Sequential(*layers) if model is None else model()
        self.model = wrap(self.inner)
        make = optimizer or (lambda parameters: torch.optim.AdamW(parameters, lr=1e-2))
        self.optimizer = make(list(self.model.parameters()))
        self.scheduler = scheduler and scheduler(self.optimizer)
        self.generator = torch.Generator().manual_seed(seed)

    def loss(self, step):
        x = torch.randn(8, 4, generator=self.generator).to(next(self.inner.parameters()).dtype)
        drawn = np.random.rand() + random.random()  # noqa: NPY002
        return (self.inner(x).squeeze(1) - drawn * x.sum(1)).square().mean()

    def fit(self, steps, checkpoint=None, **options):
        given = {"loss": self.loss, "every": 5, **options}
        loss = given.pop("loss")
        return training.fit(
            self.model,
            loss,
            self.optimizer,
            steps=steps,
            generator=self.generator,
            scheduler=self.scheduler,
            checkpoint=checkpoint,
            **given,
        )

    def state(self):
        """Whatever a run moves."""
        scheduler = self.scheduler and self.scheduler.state_dict()
        randoms = self.generator.get_state(), torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
        optimizer = self.optimizer.state_dict()
        modes = [module.training for module in self.model.modules()]
        return copy.deepcopy([self.model.state_dict(), optimizer, scheduler, randoms, modes])


def alike(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def refused(parts, folder, steps, match, error=ValueError, **options):
    """Nothing has moved."""
    before, written = parts.state(), files(folder)
    with pytest.raises(error, match=match):
        parts.fit(steps, folder, **options)
    assert alike(before, parts.state())
    assert files(folder) == written


def weights(parts):
    return copy.deepcopy(dict(parts.inner.state_dict()))


def same(a, b):
    return alike(weights(a), weights(b))


def unbroken(steps, **made):
    parts = Parts(**made)
    parts.fit(steps)
    return parts


def rates(parts, folder, steps):
    """The rate of each step that is made."""
    used = []

    def watched(step):
        used.append(float(parts.optimizer.param_groups[0]["lr"]))
        return parts.loss(step)

    parts.fit(steps, folder, loss=watched)
    return used


def one_cycle(steps, rate=1e-1):
    return lambda optimizer: schedules.OneCycleLR(optimizer, rate, total_steps=steps)


def shaped(steps):
    """As `decaying_sgd`: a schedule whose state does not tell for how many steps it was planned."""
    return lambda optimizer: schedules.LambdaLR(optimizer, lambda step: (1 + 10 * step / steps) ** -0.75)


def sequential(optimizer):
    two = [schedules.LinearLR(optimizer, 0.1, total_iters=4), schedules.CosineAnnealingLR(optimizer, 30)]
    return schedules.SequentialLR(optimizer, two, [4])


OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "fused, rate a tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2), fused=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=1e-2),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, centered=True, momentum=0.5),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=1e-2),
    "Rprop": lambda p: torch.optim.Rprop(p),
}
SCHEDULES = {
    "none": None,
    "OneCycleLR": one_cycle(20),
    "ReduceLROnPlateau": lambda o: schedules.ReduceLROnPlateau(o, factor=0.5, patience=1),
    "MultiStepLR": lambda o: schedules.MultiStepLR(o, [3, 14, 14, 17], gamma=0.5),
    "SequentialLR": sequential,
    "ChainedScheduler": lambda o: schedules.ChainedScheduler(
        [schedules.StepLR(o, 6), schedules.ExponentialLR(o, 0.9)]
    ),
    "CosineAnnealingWarmRestarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 4, 2),
    "CyclicLR": lambda o: schedules.CyclicLR(o, 1e-3, 1e-1, step_size_up=3, cycle_momentum=False),
    "LambdaLR": shaped(20),
    "MultiplicativeLR": lambda o: schedules.MultiplicativeLR(o, lambda step: 0.9),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, 5e-2),
}


# -- resumed is unbroken


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [*((name, "none") for name in OPTIMIZERS), *(("SGD with momentum", s) for s in SCHEDULES)],
)
def test_resumed_is_unbroken(tmp_path, optimizer, scheduler):
    made = {"optimizer": OPTIMIZERS[optimizer], "scheduler": SCHEDULES[scheduler]}
    whole = Parts(**made)
    history = whole.fit(20).history
    ended = whole.state()
    first = Parts(**made)
    with pytest.raises(RuntimeError, match="power cut"):
        first.fit(20, tmp_path, loss=lambda step: first.loss(step) if step < 13 else cut())
    second = Parts(seed=9, **made)
    resumed = second.fit(20, tmp_path)
    assert resumed.history == history
    assert alike(second.state(), ended)


def cut():
    raise RuntimeError("power cut")


def test_the_rate_stays_a_tensor(tmp_path):
    made = {"optimizer": OPTIMIZERS["fused, rate a tensor"], "scheduler": SCHEDULES["MultiStepLR"]}
    Parts(**made).fit(10, tmp_path)
    parts = Parts(**made)
    assert rates(parts, tmp_path, 15) == pytest.approx([5e-3] * 4 + [1.25e-3])
    assert isinstance(parts.optimizer.param_groups[0]["lr"], torch.Tensor)


def test_what_the_onlooker_draws_is_not_drawn_twice(tmp_path):
    def trained(parts, steps, folder=None):
        parts.fit(steps, folder, snapshot=lambda: torch.rand(2), live=lambda run: np.random.rand())  # noqa: NPY002
        return weights(parts)

    expected = trained(Parts(), 10)
    trained(Parts(), 5, tmp_path)
    assert alike(trained(Parts(seed=3), 10, tmp_path), expected)


def test_a_loader_shuffles_as_it_would_have(tmp_path):
    """From torch's own numbers, anew in each epoch; here three steps each."""
    rows = torch.utils.data.TensorDataset(torch.arange(24.0).view(24, 1).expand(24, 4))

    def trained(parts, steps, folder=None):
        seen = []

        def loss(step):
            if step % 3 == 0:
                parts.batches = iter(torch.utils.data.DataLoader(rows, batch_size=8, shuffle=True))
            (x,) = next(parts.batches)
            seen.append(x[:, 0].tolist())
            return parts.inner(x).square().mean()

        parts.fit(steps, folder, loss=loss)
        return seen

    expected = trained(Parts(), 12)
    trained(Parts(), 6, tmp_path)
    assert trained(Parts(seed=8), 12, tmp_path) == expected[6:]


class Odd(nn.Module):
    """Weights of every kind; tied ones; a state of its own."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.tied = nn.Linear(4, 4)
        self.tied.weight = nn.Parameter(torch.randn(4, 4))
        self.other = nn.Linear(4, 4)
        self.other.weight = self.tied.weight
        self.number = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("none", torch.zeros(0, 3))
        self.register_buffer("short", torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("turned", torch.rand(2, 3).T)
        self.seen = {"calls": 0, "of": (1, 2)}

    def get_extra_state(self):
        return self.seen

    def set_extra_state(self, state):
        self.seen = state

    def forward(self, x):
        self.seen = {"calls": self.seen["calls"] + 1, "of": (1, 2)}
        self.turned.add_(1)
        return self.number * self.other(self.tied(self.line(x))).sum(1, keepdim=True)


def test_weights_of_every_kind_come_back(tmp_path):
    Parts(model=Odd).fit(5, tmp_path)
    second = Parts(seed=4, model=Odd)
    second.fit(10, tmp_path)
    assert same(second, unbroken(10, model=Odd))
    assert second.inner.seen == {"calls": 10, "of": (1, 2)}
    assert second.inner.other.weight is second.inner.tied.weight


# -- with something changed


def test_a_longer_cycle_goes_on_at_the_step_reached(tmp_path, capsys):
    Parts(scheduler=one_cycle(20)).fit(20, tmp_path)
    capsys.readouterr()
    parts = Parts(scheduler=one_cycle(40))
    plan = rates(Parts(scheduler=one_cycle(40)), None, 40)
    assert rates(parts, tmp_path, 40) == plan[20:]
    said = capsys.readouterr().out
    assert "training: goes on after step 20 with" in said
    assert f"lr {plan[20]:.4g} in place of" in said


@pytest.mark.parametrize("plan", [one_cycle, shaped], ids=["one cycle", "a function"])
@pytest.mark.parametrize(("reached", "steps"), [(12, 40), (12, 30), (12, 15)])
def test_another_number_of_steps_is_another_plan(tmp_path, plan, reached, steps):
    first = Parts(scheduler=plan(20))
    with pytest.raises(RuntimeError, match="power cut"):
        first.fit(20, tmp_path, every=reached, loss=lambda step: first.loss(step) if step < reached else cut())
    expected = rates(Parts(scheduler=plan(steps)), None, steps)[reached:]
    assert rates(Parts(scheduler=plan(steps)), tmp_path, steps) == expected


def test_fit_one_cycle_and_decaying_sgd_can_be_prolonged(tmp_path):
    for name, options in (("cycle", {"decay": 0.1}), ("decay", {})):
        for steps in (20, 40):
            parts, used = Parts(seed=steps), []

            def loss(step, parts=parts, used=used):
                used.append(step)
                return parts.loss(step)

            options |= {"steps": steps, "generator": parts.generator, "checkpoint": tmp_path / name}
            if name == "cycle":
                run = training.fit_one_cycle(parts.model, loss, rate=1e-2, **options)
            else:
                optimizer, schedule = training.decaying_sgd(parts.model, steps=steps, rate=1e-3)
                run = training.fit(parts.model, loss, optimizer, scheduler=schedule, **options)
            assert run.step == steps
            assert used == list(range(steps - 20, steps))


def test_a_schedule_that_does_not_end_is_not_said_to_change(tmp_path, capsys):
    for name in ("MultiStepLR", "ReduceLROnPlateau", "ChainedScheduler", "SequentialLR"):
        made = {"optimizer": OPTIMIZERS["SGD"], "scheduler": SCHEDULES[name]}
        Parts(**made).fit(9, tmp_path / name)
        parts = Parts(seed=1, **made)
        parts.fit(20, tmp_path / name)
        assert alike(parts.state(), unbroken(20, **made).state())
    assert capsys.readouterr().out == ""


def test_fewer_steps_than_reached_give_what_is_there(tmp_path, capsys):
    first = Parts(scheduler=one_cycle(20))
    first.fit(20, tmp_path, snapshot=lambda: torch.zeros(3))
    written = files(tmp_path)
    second = Parts(seed=1, scheduler=one_cycle(8))
    run = second.fit(8, tmp_path, snapshot=lambda: torch.zeros(4))
    assert run.step == 20
    assert [step for step, _ in run.snapshots] == [0, 5, 10, 15, 20]
    assert same(first, second)
    assert files(tmp_path) == written
    assert "holds 20 steps, more than the 8 asked for: nothing is trained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"lr": 1e-2}, {"lr": 1e-4}, "lr 0.0001 in place of 0.01"),
        ({"lr": 1e-2}, {"lr": torch.tensor(1e-4)}, "lr 0.0001 in place of 0.01"),
        ({"betas": (0.9, 0.999)}, {"betas": (0.8, 0.99)}, "betas (0.8, 0.99) in place of (0.9, 0.999)"),
        ({"weight_decay": 0.1}, {"weight_decay": 0.0}, "weight_decay 0 in place of 0.1"),
        ({"eps": 1e-8}, {"eps": 1e-6}, "eps 1e-06 in place of 1e-08"),
        ({"fused": True}, {"fused": False}, None),
        ({"foreach": True}, {"foreach": False}, None),
    ],
)
def test_another_option_is_in_force_and_said(tmp_path, capsys, before, after, said):
    made = [lambda p, options=options: torch.optim.AdamW(p, **options) for options in (before, after)]
    Parts(optimizer=made[0]).fit(10, tmp_path)
    parts = Parts(optimizer=made[1])
    parts.fit(12, tmp_path)
    for name, value in after.items():
        assert parts.optimizer.param_groups[0][name] == pytest.approx(value)
    out = capsys.readouterr().out
    assert out == (f"training: goes on after step 10 with {said}\n" if said else "")
    assert parts.optimizer.state_dict()["state"][0]["step"] == 12  # the moments are those of before


def test_another_rate_under_a_schedule_is_in_force(tmp_path, capsys):
    made = {"optimizer": OPTIMIZERS["SGD"]}
    Parts(scheduler=lambda o: schedules.StepLR(o, 4), **made).fit(10, tmp_path)
    other = {"optimizer": lambda p: torch.optim.SGD(p, lr=1.0), "scheduler": lambda o: schedules.StepLR(o, 4)}
    assert rates(Parts(**other), tmp_path, 13) == pytest.approx([1e-2, 1e-2, 1e-3])
    assert "lr 0.01 in place of 0.0001" in capsys.readouterr().out


def test_what_the_run_itself_changed_is_not_the_callers(tmp_path, capsys):
    """A warm-up by hand: the optimiser's first rate is as before."""

    def warm(parts):
        def after():
            parts.optimizer.param_groups[0]["lr"] *= 1.1

        return after

    states = []
    for steps, folder in ((10, tmp_path), (20, tmp_path), (20, None)):
        parts = Parts()
        parts.fit(steps, folder, after_step=warm(parts))
        states.append(parts.state())
    assert alike(states[1], states[2])
    live = Parts()  # its objects are used twice, and then new ones take up
    for parts, steps in ((live, 4), (live, 10), (Parts(), 20)):
        parts.fit(steps, tmp_path / "live", after_step=warm(parts))
    assert alike(parts.state(), states[2])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("live", ["same", "ahead"])
def test_a_cell_that_runs_again_with_the_same_objects(tmp_path, live):
    made = {"optimizer": OPTIMIZERS["SGD with momentum"], "scheduler": SCHEDULES["CosineAnnealingWarmRestarts"]}
    parts = Parts(**made)
    if live == "same":
        parts.fit(10, tmp_path)
    else:
        with pytest.raises(RuntimeError, match="power cut"):
            parts.fit(20, tmp_path, loss=lambda step: parts.loss(step) if step < 14 else cut())
    parts.fit(20, tmp_path)
    assert alike(parts.state(), unbroken(20, **made).state())


@pytest.mark.parametrize(
    ("anew", "schedule"),
    [(False, "MultiStepLR"), (True, "MultiStepLR"), (False, "ReduceLROnPlateau"), (False, "ChainedScheduler")],
)
def test_an_optimizer_in_use_that_keeps_nothing(tmp_path, anew, schedule):
    """Plain SGD has no state that tells of its use; the cell fails at step 14 and runs again."""
    made = {"optimizer": OPTIMIZERS["SGD"], "scheduler": SCHEDULES[schedule]}
    parts = Parts(**made)
    with pytest.raises(RuntimeError, match="power cut"):
        parts.fit(20, tmp_path, loss=lambda step: parts.loss(step) if step < 14 else cut())
    if anew:
        parts.scheduler = made["scheduler"](parts.optimizer)
    assert rates(parts, tmp_path, 24) == pytest.approx(rates(Parts(**made), None, 24)[10:])


def test_a_rate_set_in_the_live_optimizer_is_in_force(tmp_path, capsys):
    parts = Parts()
    parts.fit(10, tmp_path)
    parts.optimizer.param_groups[0]["lr"] = 1e-4
    assert rates(parts, tmp_path, 12) == [1e-4, 1e-4]
    assert "lr 0.0001 in place of 0.01" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, lambda o: schedules.ExponentialLR(o, 0.5), [1e-2 * 0.5**10, 1e-2 * 0.5**11]),
        (lambda o: schedules.ExponentialLR(o, 0.5), None, [1e-2, 1e-2]),
        (lambda o: schedules.ExponentialLR(o, 0.5), lambda o: schedules.ExponentialLR(o, 0.9), None),
        (lambda o: schedules.ExponentialLR(o, 0.5), lambda o: schedules.StepLR(o, 11), [1e-2, 1e-3]),
        (one_cycle(20), lambda o: schedules.ReduceLROnPlateau(o), [1e-2, 1e-2]),
        (shaped(20), lambda o: schedules.LambdaLR(o, lambda step: 1 / (1 + step)), [1e-2 / 11, 1e-2 / 12]),
        (
            lambda o: schedules.MultiplicativeLR(o, lambda step: 0.5),
            lambda o: schedules.MultiplicativeLR(o, lambda step: 0.9),
            None,
        ),
    ],
    ids=["added", "removed", "another factor", "another class", "plateau", "a function", "a factor by function"],
)
def test_another_schedule_is_in_force(tmp_path, capsys, before, after, expected):
    Parts(scheduler=before).fit(10, tmp_path)
    expected = expected or [1e-2 * 0.9**10, 1e-2 * 0.9**11]
    assert rates(Parts(scheduler=after), tmp_path, 12) == pytest.approx(expected)
    assert "goes on after step 10 with" in capsys.readouterr().out


class Wrapped(nn.Module):
    """What DistributedDataParallel does to names."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args):
        return self.module(*args)


WRAPS = {
    "as it is": lambda model: model,
    "several processes": Wrapped,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "both": lambda model: Wrapped(torch.compile(model, backend="eager")),
    "both, the other way round": lambda model: torch.compile(Wrapped(model), backend="eager"),
}


@pytest.mark.parametrize(
    ("before", "after"),
    [*((name, "as it is") for name in WRAPS), *(("as it is", name) for name in WRAPS), tuple(WRAPS)[-2:]],
)
def test_from_one_process_to_several_and_back(tmp_path, before, after):
    whole = unbroken(6)
    Parts(wrap=WRAPS[before]).fit(3, tmp_path)
    second = Parts(seed=1, wrap=WRAPS[after])
    second.fit(6, tmp_path)
    assert same(second, whole)


def test_a_part_that_is_wrapped_or_called_module(tmp_path):
    def two():
        return nn.Sequential(nn.ModuleDict({"module": nn.Linear(4, 3)})["module"], nn.Linear(3, 1))

    Parts(model=two).fit(3, tmp_path)
    second = Parts(seed=1, model=lambda: nn.Sequential(Wrapped(nn.Linear(4, 3)), nn.Linear(3, 1)))
    second.fit(6, tmp_path)
    whole = unbroken(6, model=two)
    assert alike(list(weights(whole).values()), list(weights(second).values()))

    class Clash(nn.Module):  # without "module." both would have one name
        def __init__(self):
            super().__init__()
            self.weight, self.module = nn.Parameter(torch.rand(1)), nn.Linear(1, 1)

    weights_ = Clash().state_dict()
    assert _checkpoint._bare(weights_) == weights_


@pytest.mark.parametrize(("before", "after"), [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)])
def test_another_dtype_goes_on(tmp_path, before, after):
    def model(dtype):
        return lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)

    first = Parts(model=model(before))
    first.fit(5, tmp_path)
    second = Parts(seed=1, model=model(after))
    second.fit(5, tmp_path)
    assert all(alike(b, a.to(after)) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))
    second.fit(8, tmp_path)
    assert all(p.dtype == after for p in second.model.parameters())
    assert second.optimizer.state_dict()["state"][0]["exp_avg"].dtype == after


def test_every_may_change_and_numbers_may_be_numpys_or_torchs(tmp_path):
    Parts().fit(np.int64(10), tmp_path, snapshot=lambda: torch.zeros(2))
    run = Parts().fit(torch.tensor(20), tmp_path, snapshot=lambda: torch.zeros(2), every=np.int32(4))
    assert [step for step, _ in run.snapshots] == [0, 5, 10, 12, 16, 20]


def test_a_generator_of_another_device_is_set_anew_and_said(tmp_path, capsys):
    """A GPU's state has another length."""
    Parts().fit(5, tmp_path)
    change(tmp_path, **{"random.batches": torch.arange(16, dtype=torch.uint8)})
    drawn = []
    for _ in range(2):
        parts = Parts()
        parts.fit(
            6, tmp_path / ".." / tmp_path.name, loss=lambda step, parts=parts: drawn.append(1) or parts.loss(step)
        )
        drawn.append(parts.generator.get_state())
        assert (
            "training: generator is on another kind of device now, cpu: it draws other batches"
            in capsys.readouterr().out
        )
        change(tmp_path, steps=5, **{"random.batches": torch.arange(16, dtype=torch.uint8)})
    fresh = Parts()
    fresh.fit(1)
    assert torch.equal(drawn[1], drawn[3])  # but the same ones each time,
    assert not torch.equal(drawn[1], fresh.generator.get_state())  # and not those of the start


def change(folder, *, steps=None, **tensors):
    """Put other tensors into a checkpoint, and take steps off it."""
    state = json.loads((folder / "state.json").read_text("utf-8"))
    found = safetensors.torch.load((folder / state["tensors"]).read_bytes())
    safetensors.torch.save_file(found | tensors, folder / state["tensors"])
    state["history"] = state["history"][:steps]
    (folder / "state.json").write_text(json.dumps(state), "utf-8")


def test_every_gpu_has_its_state_again(tmp_path, monkeypatch):
    """With three of them imagined, and then two; the first version of the folder held one state."""
    made = {"optimizer": OPTIMIZERS["SGD"]}
    states, found = [torch.tensor([device], dtype=torch.uint8) for device in range(3)], {}
    for name, value in {"is_available": True, "is_initialized": True, "device_count": 3}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: found.update({device: state.item()}))
    Parts(**made).fit(2, tmp_path)
    Parts(**made).fit(2, tmp_path)
    assert found == {0: 0, 1: 1, 2: 2}
    found.clear()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    Parts(**made).fit(2, tmp_path)
    assert found == {0: 0, 1: 1}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    Parts(**made).fit(2, tmp_path / "old")
    change(tmp_path / "old", **{"random.cuda": torch.tensor([9], dtype=torch.uint8)})
    Parts(**made).fit(2, tmp_path / "old")
    assert found == {0: 9, 1: 9}


def test_an_apple_gpu_has_its_state_again(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.tensor([7], dtype=torch.uint8))
    found = []
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: found.append(state.item()))
    Parts(optimizer=OPTIMIZERS["SGD"]).fit(2, tmp_path)
    Parts(optimizer=OPTIMIZERS["SGD"]).fit(2, tmp_path)
    assert found == [7]


def test_a_folder_of_the_first_version_is_taken_up(tmp_path):
    """It had neither the caller's settings nor NumPy's and Python's states."""
    for name, made in {"none": {}, "plan": {"scheduler": one_cycle(20)}}.items():
        folder = tmp_path / name
        first = Parts(**made)
        first.fit(10, folder)
        state = json.loads((folder / "state.json").read_text("utf-8"))
        keep = ("tensors", "history", "snapshots", "optimizer", "scheduler")
        (folder / "state.json").write_text(json.dumps({key: state[key] for key in keep}), "utf-8")
        drawn = random.getstate(), np.random.get_state()  # noqa: NPY002
        second = Parts(seed=5, **made)
        random.setstate(drawn[0]), np.random.set_state(drawn[1])  # noqa: NPY002
        second.fit(20, folder)
        assert same(second, unbroken(20, **made))
    Parts().fit(10, tmp_path / "rate")
    (tmp_path / "rate" / "state.json").write_text(
        json.dumps({key: json.loads((tmp_path / "rate" / "state.json").read_text("utf-8"))[key] for key in keep})
    )
    assert rates(Parts(optimizer=lambda p: torch.optim.AdamW(p, lr=1e-4)), tmp_path / "rate", 12) == [1e-4, 1e-4]
    longer = rates(Parts(scheduler=one_cycle(40)), None, 40)
    assert rates(Parts(scheduler=one_cycle(40)), tmp_path / "plan", 40) == longer[20:]


# -- refused before anything moves


def small(parameters):
    return torch.optim.SGD(parameters, lr=1e-2)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"optimizer": small}, "was written with AdamW, and optimizer is SGD"),
        ({"optimizer": lambda p: torch.optim.Adam(p)}, "was written with AdamW, and optimizer is Adam"),
        ({"optimizer": lambda p: torch.optim.AdamW(p, amsgrad=True)}, "amsgrad=False, which cannot become True"),
        ({"optimizer": lambda p: torch.optim.AdamW(p[:3])}, r"other parameters, in groups of \[6\]; .* of \[3\]"),
        (
            {"optimizer": lambda p: torch.optim.AdamW([{"params": p[:2]}, {"params": p[2:]}])},
            r"here they are of \[2, 4\]",
        ),
        ({"optimizer": lambda p: torch.optim.AdamW(p[::-1])}, "over other parameters"),
        (
            {"model": lambda: nn.Linear(4, 1)},
            r"another model's weights \(weight: missing there, \(1, 4\) here\)",
        ),
        (
            {"model": lambda: nn.Sequential(nn.Linear(4, 1))},
            r"\(0.weight: \(6, 4\) there, \(1, 4\) here\)",
        ),
        ({"scheduler": one_cycle(12)}, "scheduler is planned for 12 steps, and steps is 20"),
    ],
)
def test_what_cannot_go_on_is_refused_and_nothing_moves(tmp_path, changed, says):
    Parts().fit(10, tmp_path)
    refused(Parts(seed=1, **changed), tmp_path, 20, says)


def test_rmsprop_cannot_begin_to_have_momentum(tmp_path):
    Parts(optimizer=lambda p: torch.optim.RMSprop(p)).fit(5, tmp_path)
    other = Parts(optimizer=lambda p: torch.optim.RMSprop(p, momentum=0.9))
    refused(other, tmp_path, 9, "momentum=0, which cannot become 0.9")


def test_another_shape_of_snapshot_is_refused(tmp_path):
    Parts().fit(5, tmp_path, snapshot=lambda: torch.zeros(12, 2))
    says = r"has snapshots of shape \(12, 2\), and snapshot returns \(12, 3\)"
    refused(Parts(), tmp_path, 9, says, snapshot=lambda: torch.zeros(12, 3))


def test_a_scheduler_in_use_cannot_replace_another(tmp_path):
    Parts(scheduler=one_cycle(20)).fit(10, tmp_path)
    used = Parts(scheduler=lambda o: schedules.StepLR(o, 3))
    used.fit(2)
    refused(used, tmp_path, 20, "another scheduler, and this one has been stepped already")


def test_what_fails_while_it_is_set_is_set_back(tmp_path):
    class Stubborn(schedules.StepLR):
        def step(self, *args):
            if self.last_epoch == 4:
                raise ArithmeticError("no more")
            super().step(*args)

    Parts().fit(10, tmp_path)
    refused(Parts(scheduler=lambda o: Stubborn(o, 1)), tmp_path, 20, "does not fit: no more")


@pytest.mark.parametrize(
    "state",
    ["", "[]", "{}", "null", '{"tensors": "other.safetensors"}', '{"tensors": "step-5.safetensors", "history": [1]}'],
)
def test_a_foreign_state_is_named(tmp_path, state):
    Parts().fit(5, tmp_path)
    (tmp_path / "state.json").write_text(state)
    refused(Parts(), tmp_path, 9, r"checkpoint .* is damaged \(.*\); delete the folder")


def test_half_a_file_is_named(tmp_path):
    Parts().fit(5, tmp_path)
    whole = (tmp_path / "step-5.safetensors").read_bytes()
    for half in (b"", whole[:4], whole[:-1], whole + b"1", b"PK" + whole, None):
        if half is None:
            (tmp_path / "step-5.safetensors").unlink()
        else:
            (tmp_path / "step-5.safetensors").write_bytes(half)
        refused(Parts(), tmp_path, 9, r"is damaged \(")


@pytest.mark.parametrize("resumed", [False, True])
def test_what_needs_a_closure_or_lasts_too_short_is_named_at_once(tmp_path, resumed):
    parts = Parts(optimizer=lambda p: torch.optim.LBFGS(p))
    with pytest.raises(ValueError, match="optimizer LBFGS calls the loss itself"):
        parts.fit(2, tmp_path if resumed else None)
    for schedule in (one_cycle(20), lambda o: schedules.ChainedScheduler([one_cycle(20)(o)])):
        parts = Parts(scheduler=schedule)
        before = weights(parts)
        with pytest.raises(ValueError, match="scheduler is planned for 20 steps, and steps is 21"):
            parts.fit(21, tmp_path if resumed else None)
        assert alike(weights(parts), before)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_kept_is_named_before_the_first_step(tmp_path):
    class Secret(nn.Linear):
        def get_extra_state(self):
            return object()

    with pytest.raises(ValueError, match=r"model\._extra_state cannot be kept in a checkpoint: it holds a object"):
        Parts(model=lambda: Secret(4, 1)).fit(3, tmp_path)
    lone = nn.Parameter(torch.zeros(3))
    with pytest.raises(
        ValueError, match=r"model must hold all that the optimizer trains, but lacks one of shape \(3,\)"
    ):
        Parts(optimizer=lambda p: torch.optim.SGD([*p, lone])).fit(3, tmp_path)
    sparse = nn.Linear(4, 1)
    sparse.register_buffer("few", torch.eye(3).to_sparse())
    with pytest.raises(ValueError, match=r"model.few cannot be kept in a checkpoint"):
        Parts(model=lambda: sparse).fit(3, tmp_path)
    parts = Parts()
    parts.generator = np.random.default_rng()
    with pytest.raises(TypeError, match=r"generator must be a torch.Generator, got Generator"):
        parts.fit(3, tmp_path)
    for wrong in (3, True, [tmp_path]):
        with pytest.raises(TypeError, match="checkpoint must be a path, got"):
            Parts().fit(3, wrong)
    assert not list(tmp_path.iterdir())


# -- files


def test_a_folder_beside_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Parts().fit(3, "~/runs/one")
    assert sorted(files(tmp_path / "runs" / "one")) == ["state.json", "step-3.safetensors"]
    assert not (tmp_path / "~").exists()


def test_a_file_in_the_way_or_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("mine")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        parts, before = Parts(), None
        before = parts.state()
        with pytest.raises(OSError, match=r"checkpoint .*taken.* is no folder that can be written to"):
            parts.fit(3, folder)
        assert alike(before, parts.state())
    assert (tmp_path / "taken").read_text() == "mine"

    def full(**options):
        raise PermissionError(13, "Permission denied")

    Parts().fit(3, tmp_path / "kept")
    monkeypatch.setattr(_checkpoint.tempfile, "TemporaryFile", full)  # as root a test may write anywhere
    refused(Parts(), tmp_path / "kept", 9, "is no folder that can be written to", OSError)
    assert Parts().fit(3, tmp_path / "kept").step == 3  # which reads alone


def test_a_full_disk_ends_with_a_sentence_and_the_older_state(tmp_path, monkeypatch):
    Parts().fit(5, tmp_path)
    written, parts = files(tmp_path), Parts()
    for broken in (OSError(28, "No space left on device"), safetensors.SafetensorError("I/O error: no space")):

        def full(tensors, path, broken=broken):
            Path(path).write_bytes(b"half")
            raise broken

        monkeypatch.setattr(_checkpoint, "save_file", full)
        with pytest.raises(
            OSError, match=r"step 10 could not be kept in .*space.*; what stood there before is whole"
        ):
            parts.fit(20, tmp_path)
        assert files(tmp_path) == written
    monkeypatch.undo()
    parts.fit(20, tmp_path)
    assert same(parts, unbroken(20))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
def test_a_resumed_run_replaces_its_files_where_mapped_ones_cannot_be(tmp_path, monkeypatch):
    """As on Windows, where neither removal nor replacement of a file works while it is mapped."""

    def guarded(function):
        def checked(path, *args, **options):
            for name in (path, *args):
                if str(name) in Path("/proc/self/maps").read_text():
                    raise PermissionError(13, "in use", str(name))
            return function(path, *args, **options)

        return checked

    monkeypatch.setattr(Path, "unlink", guarded(Path.unlink))
    monkeypatch.setattr(os, "replace", guarded(os.replace))
    Parts().fit(5, tmp_path, snapshot=lambda: torch.zeros(200, 2))
    run = Parts().fit(10, tmp_path, snapshot=lambda: torch.zeros(200, 2))
    assert sorted(files(tmp_path)) == ["state.json", "step-10.safetensors"]
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert len(run.snapshots) == 3


def test_a_file_that_somebody_reads_goes_the_next_time(tmp_path, monkeypatch):
    unlink = Path.unlink

    def held(path, **options):
        if path.name == "step-5.safetensors" and len(files(tmp_path)) < 4:
            raise PermissionError(13, "in use")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", held)
    Parts().fit(10, tmp_path)
    assert "step-5.safetensors" in files(tmp_path)
    monkeypatch.undo()
    Parts().fit(15, tmp_path)
    assert sorted(files(tmp_path)) == ["state.json", "step-15.safetensors"]


def test_files_of_others_stay(tmp_path):
    (tmp_path / "step-99.safetensors").write_bytes(b"somebody's")
    (tmp_path / "notes.txt").write_text("mine")
    Parts().fit(10, tmp_path)
    assert sorted(files(tmp_path)) == ["notes.txt", "state.json", "step-10.safetensors", "step-99.safetensors"]


def test_two_runs_cannot_have_one_folder_at_once(tmp_path):
    Parts().fit(5, tmp_path)
    outer, tried = Parts(), []

    def loss(step):
        if not tried:
            tried.append(step)
            refused(Parts(), tmp_path, 20, "is in use by another run; give another folder")
        return outer.loss(step)

    outer.fit(10, tmp_path, loss=loss)
    assert tried
    assert Parts().fit(10, tmp_path).step == 10  # free again


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_within_a_step_or_within_a_save(tmp_path, monkeypatch, capsys, times):
    """The second one acts at once: half a step is in no checkpoint."""

    def press():
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

    parts = Parts()

    def loss(step):
        value = parts.loss(step)  # batch and running means have moved
        if step == 12:
            press()
        return value

    run = parts.fit(20, tmp_path / "step", loss=loss)
    assert (run.interrupted, run.step) == (True, 14 - times)
    said = {1: "of 20 steps; what was reached is kept\n", 2: "of 20 steps; the checkpoint stays as it was\n"}
    assert capsys.readouterr().out == f"training: stopped by you after {14 - times} {said[times]}"
    reached = files(tmp_path / "step")
    assert sorted(reached) == ["state.json", f"step-{13 if times == 1 else 10}.safetensors"]

    def save_file(tensors, path, saved=_checkpoint.save_file):
        press()
        saved(tensors, path)

    Parts().fit(5, tmp_path / "save")
    monkeypatch.setattr(_checkpoint, "save_file", save_file)
    Parts().fit(20, tmp_path / "save")
    monkeypatch.undo()
    assert sorted(files(tmp_path / "save")) == ["state.json", f"step-{10 if times == 1 else 5}.safetensors"]
    for folder in ("step", "save"):
        resumed = Parts(seed=3)
        resumed.fit(20, tmp_path / folder)
        assert same(resumed, unbroken(20))


def test_after_a_divergence_the_run_goes_on_from_the_checkpoint(tmp_path, capsys):
    def fitted(parts, rate):
        broken = lambda step: parts.loss(step) * (math.nan if step == 7 and rate > 0.05 else 1)  # noqa: E731
        return parts.fit(20, tmp_path, loss=broken)

    for _ in range(2):
        with pytest.raises(training.TrainingDiverged, match="step 7"):
            fitted(Parts(scheduler=one_cycle(20)), 0.1)
    assert capsys.readouterr().out == ""
    assert fitted(Parts(scheduler=one_cycle(20, 0.01)), 0.01).step == 20
    assert "goes on after step 5 with lr 0.01 in place of 0.1" in capsys.readouterr().out


def test_a_diverged_run_is_in_the_error(tmp_path):
    parts = Parts()
    with pytest.raises(training.TrainingDiverged, match="step 7: loss term 'loss' is nan") as caught:
        parts.fit(20, tmp_path, loss=lambda step: parts.loss(step) * (float("nan") if step == 7 else 1))
    assert caught.value.run.step == 7
    assert caught.value.model is parts.model
    assert json.loads((tmp_path / "state.json").read_text("utf-8"))["history"][-1]["step"] == 5


def test_numbers_as_json_gives_them_back_fit_what_they_were():
    now = {"milestones": Counter({3: 1}), "pair": (1, 2), "rate": torch.tensor(0.5), "of": [{2: "a"}], "f": len}
    plain = _checkpoint._plain("scheduler", now)
    assert plain == {"milestones": {"3": 1}, "pair": [1, 2], "rate": 0.5, "of": [{"2": "a"}], "f": None}
    again = _checkpoint._like(plain, now)
    assert again == now
    assert isinstance(again["milestones"], Counter)
    assert isinstance(again["pair"], tuple)
    with pytest.raises(ValueError, match="scheduler cannot be kept in a checkpoint: it holds a set"):
        _checkpoint._plain("scheduler", {1, 2})


@pytest.mark.long
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no processes to start")
def test_from_one_real_process_to_two_and_back(tmp_path):
    """With torchrun, DistributedDataParallel and gloo."""
    script = str(report.lesson_file("train_distributed.py"))
    train, folder = runpy.run_path(script)["train"], tmp_path / "kept"

    train(steps=5, checkpoint=folder)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    options = ["--steps=10", f"--checkpoint={folder}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=240)
    assert "2 process(es), 10 steps" in done.stdout, done.stderr
    resumed = train(steps=15, checkpoint=folder).curve()
    assert resumed == pytest.approx(train(steps=15).curve(), abs=1e-4)
