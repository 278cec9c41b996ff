"""The training loop: history, snapshots, checkpoints that resume, divergence, Ctrl-C."""

import json
import os
import signal

import pytest
import torch
from torch import nn

from xlib import training


def problem(seed=0, *, dropout=0.2, optimizer="adamw"):
    """A small regression with everything that a checkpoint must carry: dropout, momentum, a schedule, batches."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
    if optimizer == "adamw":
        opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-2, total_steps=30)
    else:
        opt = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 1 / (1 + step))
    generator = torch.Generator().manual_seed(seed)

    def loss(step):
        x = torch.randn(16, 4, generator=generator)
        return {
            "fit": (model(x).squeeze(1) - x.sum(1)).square().mean(),
            "size": 1e-3 * model[0].weight.square().sum(),
        }

    return dict(model=model, loss=loss, optimizer=opt, generator=generator, scheduler=scheduler)


def run(parts, **options):
    return training.fit(
        parts["model"],
        options.pop("loss", parts["loss"]),
        parts["optimizer"],
        generator=parts["generator"],
        scheduler=parts["scheduler"],
        **options,
    )


def weights(parts):
    return torch.cat([p.detach().flatten() for p in parts["model"].parameters()])


def test_history_names_each_term_and_their_sum():
    result = run(problem(), steps=30)
    assert result.step == 30
    assert result.curve("step") == list(range(1, 31))
    for row in result.history:
        assert row["loss"] == pytest.approx(row["fit"] + row["size"], rel=1e-6)
    assert sum(result.curve()[-5:]) < 0.9 * sum(result.curve()[:5])


def test_one_scalar_is_enough():
    parts = problem()
    result = run(parts, steps=2, loss=lambda step: parts["loss"](step)["fit"])
    assert set(result.history[0]) == {"step", "loss"}


def test_snapshots_come_before_during_and_after_in_evaluation_mode():
    parts, modes = problem(), []

    def snapshot():
        modes.append((parts["model"].training, torch.is_grad_enabled()))
        return parts["model"][0].weight

    result = run(parts, steps=25, snapshot=snapshot, every=10)
    assert [step for step, _ in result.snapshots] == [0, 10, 20, 25]
    assert modes == [(False, False)] * 4
    assert not torch.equal(result.snapshots[0][1], result.snapshots[1][1])  # copies, not one live weight
    assert not parts["model"].training


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_is_the_unbroken_run(tmp_path, optimizer):
    whole = problem(optimizer=optimizer)
    unbroken = run(whole, steps=30, snapshot=lambda: weights(whole), every=7)

    first = problem(optimizer=optimizer)
    run(first, steps=14, snapshot=lambda: weights(first), every=7, checkpoint=tmp_path)
    torch.manual_seed(99)
    second = problem(seed=99, optimizer=optimizer)  # nothing but the folder connects the two
    resumed = run(second, steps=30, snapshot=lambda: weights(second), every=7, checkpoint=tmp_path)

    assert torch.equal(weights(whole), weights(second))
    assert resumed.history == unbroken.history
    assert [s for s, _ in resumed.snapshots] == [s for s, _ in unbroken.snapshots]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(resumed.snapshots, unbroken.snapshots, strict=True))


def test_a_finished_checkpoint_trains_no_further(tmp_path):
    parts = problem()
    run(parts, steps=10, checkpoint=tmp_path)
    again = problem(seed=1)
    assert run(again, steps=10, checkpoint=tmp_path).step == 10
    assert torch.equal(weights(parts), weights(again))


def test_a_checkpoint_is_two_plain_files(tmp_path):
    run(problem(), steps=10, every=4, checkpoint=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.json", "step-10.safetensors"]
    assert json.loads((tmp_path / "state.json").read_text())["history"][-1]["step"] == 10


def test_a_crash_while_saving_leaves_the_older_state_whole(tmp_path, monkeypatch):
    run(problem(), steps=10, checkpoint=tmp_path)
    replace = os.replace

    def crash_on_json(source, target):
        if str(target).endswith("state.json"):
            raise OSError("power cut")
        replace(source, target)

    monkeypatch.setattr(os, "replace", crash_on_json)
    with pytest.raises(OSError, match="power cut"):
        run(problem(), steps=20, checkpoint=tmp_path)
    monkeypatch.undo()
    parts = problem()
    run(parts, steps=20, checkpoint=tmp_path)
    unbroken = problem()
    run(unbroken, steps=20)
    assert torch.equal(weights(parts), weights(unbroken))


def test_a_damaged_or_foreign_checkpoint_is_refused_before_anything_changes(tmp_path):
    run(problem(), steps=10, checkpoint=tmp_path)
    other = problem()
    other["model"] = nn.Linear(4, 1)
    other["optimizer"] = torch.optim.SGD(other["model"].parameters())
    before = weights(other)
    with pytest.raises(ValueError, match="another model's weights"):
        run(other, steps=20, checkpoint=tmp_path)
    assert torch.equal(before, weights(other))
    file = tmp_path / "step-10.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"checkpoint .* is damaged"):
        run(problem(), steps=20, checkpoint=tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_divergence_names_the_step_and_the_term_and_keeps_the_last_good_weights(bad):
    parts = problem()
    kept = []

    def loss(step):
        terms = parts["loss"](step)
        if step == 3:
            kept.append(weights(parts).clone())
            terms["size"] = terms["size"] * bad
        return terms

    with pytest.raises(training.TrainingDiverged, match=r"step 3: loss term 'size' is (nan|inf)"):
        run(parts, steps=10, loss=loss)
    assert torch.equal(kept[0], weights(parts))


def test_a_finite_loss_with_a_broken_gradient_is_stopped_too():
    parts = problem()
    broken = lambda step: {"root": parts["model"][0].weight.mul(0).sum().sqrt()}  # d sqrt(x) at 0 is infinite  # noqa: E731
    with pytest.raises(training.TrainingDiverged, match="step 0: the gradient of root is not finite"):
        run(parts, steps=3, loss=broken)
    assert torch.isfinite(weights(parts)).all()


def test_ctrl_c_keeps_what_was_reached_and_the_run_goes_on_from_there(tmp_path, capsys):
    parts = problem()

    def loss(step):
        if step == 11:
            os.kill(os.getpid(), signal.SIGINT)  # what Ctrl-C and Jupyter's stop button send
        return parts["loss"](step)

    before = signal.getsignal(signal.SIGINT)  # not Python's own where a shell started the tests in the background
    stopped = run(parts, steps=30, loss=loss, checkpoint=tmp_path)
    assert stopped.interrupted
    assert stopped.step == 12
    assert "stopped by you after 12 of 30 steps" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    second = problem(seed=5)
    assert not run(second, steps=30, checkpoint=tmp_path).interrupted
    unbroken = problem()
    run(unbroken, steps=30)
    assert torch.equal(weights(second), weights(unbroken))


def test_an_interrupt_raised_inside_the_loss_is_kept_too():
    parts = problem()

    def loss(step):
        if step == 4:
            raise KeyboardInterrupt
        return parts["loss"](step)

    result = run(parts, steps=30, loss=loss)
    assert result.interrupted
    assert result.step == 4


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("every", 0), ("steps", -3)])
def test_wrong_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        run(problem(), **{"steps": 3, name: value})


def test_a_loss_that_is_not_a_scalar_is_named():
    with pytest.raises(ValueError, match="loss term 'rows' must be a tensor with one element"):
        run(problem(), steps=3, loss=lambda step: {"rows": torch.zeros(3)})


def test_after_step_runs_once_a_step():
    calls = []
    run(problem(), steps=5, after_step=lambda: calls.append(1))
    assert len(calls) == 5
