"""The training loop: history, snapshots, checkpoints that resume, divergence, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from xlib.contrastive import LogitScale
from xlib.course import runtime, training
from xlib.experiments.digits import METHODS, train_digits
from xlib.experiments.emoji import train_emoji
from xlib.experiments.numbers import adapt_numbers, numbers_batches, numbers_model, train_numbers


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


def test_who_looks_on_is_called_after_each_snapshot(rank):
    parts, seen = problem(), []
    snapshot = lambda: parts["model"][0].weight  # noqa: E731

    def live(found):
        assert len(found.curve()) == found.step
        seen.append([step for step, _ in found.snapshots])

    run(parts, steps=25, snapshot=snapshot, every=10, live=live)
    assert seen == [[0], [0, 10], [0, 10, 20], [0, 10, 20, 25]]
    rank(1)  # another process of the same job shows nothing
    run(problem(), steps=5, snapshot=snapshot, live=live)
    assert len(seen) == 4
    with pytest.raises(ValueError, match="live shows snapshots: it needs snapshot"):
        run(problem(), steps=5, live=live)


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


def test_a_number_of_steps_that_is_none_is_named():
    with pytest.raises(TypeError, match="steps must be a number"):
        run(problem(), steps="3")


def test_a_loss_that_is_not_a_scalar_is_named():
    with pytest.raises(ValueError, match="loss term 'rows' must be a tensor with one element"):
        run(problem(), steps=3, loss=lambda step: {"rows": torch.zeros(3)})


def test_after_step_runs_once_a_step():
    calls = []
    run(problem(), steps=5, after_step=lambda: calls.append(1))
    assert len(calls) == 5


# -- one cycle


def two_layers(seed=0):
    """A model with all that `fit_one_cycle` treats on its own: dropout, and a single number, the scale."""
    torch.manual_seed(seed)
    image = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
    model, generator = (
        nn.ModuleDict({"image": image, "scale": LogitScale(init=2.0)}),
        torch.Generator().manual_seed(seed),
    )

    def loss(step):
        x = torch.randn(16, 4, generator=generator)
        return (model["scale"]() * model["image"](x).squeeze(1) - x.sum(1)).square().mean()

    return model, loss, generator


def one_cycle(model, loss, generator, **options):
    return training.fit_one_cycle(model, loss, rate=1e-2, decay=0.1, generator=generator, **options)


@pytest.mark.parametrize("steps", range(1, 13))
def test_one_cycle_goes_up_once_and_comes_down_in_any_number_of_steps(monkeypatch, steps):
    rates, fit = [], training.fit

    def watched(model, loss, optimizer, **options):
        def keep(step):
            rates.append(optimizer.param_groups[0]["lr"])
            return loss(step)

        return fit(model, keep, optimizer, **options)

    monkeypatch.setattr(training, "fit", watched)
    assert one_cycle(*two_layers(), steps=steps).step == steps
    top = rates.index(max(rates))
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)
    assert 0 < max(rates) <= 1e-2 * (1 + 1e-9)
    if steps > 1:
        assert top <= max(1, steps // 5)
        assert rates[-1] < 1e-5
    if steps >= 10:
        assert max(rates) == pytest.approx(1e-2, rel=0.05)


def test_one_cycle_is_plain_adamw_without_decay_of_the_scale():
    model, loss, generator = two_layers()
    one_cycle(model, loss, generator, steps=20)
    other, loss, _ = two_layers()
    weights = [p for name, p in other.named_parameters() if name != "scale.log_scale"]
    groups = [{"params": weights}, {"params": [other["scale"].log_scale], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.1, fused=False, foreach=False)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=20, pct_start=0.2)
    other.train()
    for step in range(20):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
        scheduler.step()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_resumed_cycle_is_the_unbroken_one(tmp_path):
    whole, loss, generator = two_layers()
    unbroken = one_cycle(whole, loss, generator, steps=30)
    first, loss, generator = two_layers()
    with pytest.raises(RuntimeError, match="power cut"):
        one_cycle(first, until(14, loss), generator, steps=30, every=7, checkpoint=tmp_path)
    second, loss, generator = two_layers(seed=99)
    resumed = one_cycle(second, loss, generator, steps=30, every=7, checkpoint=tmp_path)
    assert resumed.history == unbroken.history
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_decaying_sgd_is_the_papers_rate_and_momentum_alone(steps):
    """Against the formula, and against the update written out for one weight."""
    weight = nn.Linear(1, 1, bias=False)
    start = weight.weight.item()
    optimizer, schedule = training.decaying_sgd(weight, steps=steps, rate=0.05)
    assert isinstance(optimizer, torch.optim.SGD)
    x, velocity, rates, expected = start, 0.0, [], []
    for step in range(min(steps, 20)):
        rates.append(optimizer.param_groups[0]["lr"])
        expected.append(0.05 / (1 + 10 * step / steps) ** 0.75)
        optimizer.zero_grad()
        weight.weight.square().sum().backward()
        optimizer.step()
        schedule.step()
        velocity = 0.9 * velocity + 2 * x
        x -= expected[-1] * velocity
    assert rates == pytest.approx(expected)
    assert weight.weight.item() == pytest.approx(x, rel=1e-4, abs=1e-6)
    for _ in range(steps - min(steps, 20)):
        schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.05 * 11**-0.75])


def test_a_resumed_decay_is_the_unbroken_one(tmp_path):
    def trained(last, steps=30, **options):
        model, loss, generator = two_layers()
        optimizer, schedule = training.decaying_sgd(model, steps=steps, rate=1e-3)
        options |= {"generator": generator, "scheduler": schedule}
        try:
            return model, training.fit(model, until(last, loss), optimizer, steps=steps, **options)
        except RuntimeError:
            return model, None

    whole, unbroken = trained(None)
    _, broken = trained(14, every=7, checkpoint=tmp_path)
    assert broken is None
    second, resumed = trained(None, every=7, checkpoint=tmp_path)
    assert resumed.history == unbroken.history
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def until(last, loss):
    def broken(step):
        if step == last:
            raise RuntimeError("power cut")
        return loss(step)

    return broken


# -- mixed precision, compiling, a GPU


def test_only_a_mixed_run_is_under_autocast_and_the_weights_stay_in_float32(monkeypatch):
    monkeypatch.setattr(runtime, "autocast", lambda device: torch.autocast(device.type, dtype=torch.bfloat16))
    for mixed, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        parts, found = problem(), []
        parts["model"][0].register_forward_hook(
            lambda module, inputs, output, found=found: found.append(output.dtype)
        )
        run(parts, steps=2, mixed=mixed)
        assert found == [dtype] * 2
        assert weights(parts).dtype == torch.float32
    model, loss, generator = two_layers()
    found = []
    model["image"][0].register_forward_hook(lambda module, inputs, output: found.append(output.dtype))
    one_cycle(model, loss, generator, steps=2)
    assert found == [torch.bfloat16] * 2


BOTH = {"dann": 0.3, "mmd": 1.0}


def emoji_features():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 40, 1088, generator=generator), torch.randn(40, 384, generator=generator)


@pytest.mark.parametrize(
    "train",
    [
        lambda: train_numbers(steps=2),
        *(lambda align=align: train_digits(0.6, align=align, steps=2) for align in METHODS),
        lambda: adapt_numbers(numbers_model(0), numbers_batches(0.6), align=BOTH, information=0.1, steps=2),
        lambda: adapt_numbers(numbers_model(0), numbers_batches(0.6), align=BOTH, between="modalities", steps=2),
        lambda: adapt_numbers(numbers_model(0), numbers_batches(0.6), guesses=1.0, steps=2),
        lambda: train_emoji(*emoji_features(), steps=2, batch=16),
    ],
)
def test_every_recipe_trains_in_mixed_precision_too(monkeypatch, train):
    _, plain = train()
    monkeypatch.setattr(runtime, "autocast", lambda device: torch.autocast(device.type, dtype=torch.bfloat16))
    _, mixed = train()
    assert mixed.history != plain.history
    assert mixed.history[0] == pytest.approx(plain.history[0], rel=0.05, abs=0.05)


def test_a_recipe_is_compiled_where_the_switch_asks_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function: asked.append(function.__self__) or function)
    train_numbers(steps=1)
    assert not asked
    monkeypatch.setenv("XLIB_COMPILE", "1")
    model, _ = train_numbers(steps=1)
    assert asked == list(model.children())


def test_a_run_on_a_gpu_prints_the_memory_that_it_held_at_most(monkeypatch, capsys):
    """With a model that says it is on one; the memory's counter began anew."""
    calls = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append(device))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1500 * 2**20)
    parts, gpu = problem(), torch.device("cuda", 0)
    real = list(parts["model"].parameters())
    lists = iter([[SimpleNamespace(device=gpu)]])  # the first asked for, and then the real ones again
    monkeypatch.setattr(parts["model"], "parameters", lambda: iter(next(lists, real)))
    run(parts, steps=2, title="big")
    assert calls == [gpu]
    assert capsys.readouterr().out == "big: at most 1,500 MB of GPU memory\n"
    run(problem(), steps=2)
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compiled", ["0", "1"])
def test_the_experiments_train_on_a_real_gpu(monkeypatch, capsys, compiled):
    monkeypatch.setenv("XLIB_COMPILE", compiled)
    model, found = train_numbers(steps=60, device="cuda")
    assert all(p.is_cuda and p.dtype == torch.float32 for p in model.parameters())
    assert sum(found.curve()[-5:]) < 0.8 * sum(found.curve()[:5])
    assert "MB of GPU memory" in capsys.readouterr().out
    for align in METHODS:
        _, found = train_digits(0.6, align=align, augment="affine", steps=20, device="cuda")
        assert found.step == 20
    start, batches = numbers_model(0).to("cuda"), numbers_batches(0.6, device="cuda")
    _, found = adapt_numbers(start, batches, align=BOTH, information=0.1, guesses=1.0, steps=20)
    assert found.step == 20


# -- several processes


@pytest.fixture
def rank(tmp_path, monkeypatch):
    """Sets this process's place in a job; the process group is a real one, of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield lambda place: monkeypatch.setattr(torch.distributed, "get_rank", lambda: place)
    torch.distributed.destroy_process_group()


def test_the_first_process_writes_and_all_of_them_take_up(tmp_path, capsys, rank):
    folder = tmp_path / "checkpoint"
    rank(1)
    run(problem(), steps=10, checkpoint=folder)
    assert not folder.exists()
    assert capsys.readouterr().err == ""  # no bar
    rank(0)
    run(problem(), steps=10, checkpoint=folder)
    assert "training" in capsys.readouterr().err
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    rank(1)
    other = problem(seed=5)
    assert run(other, steps=30, checkpoint=folder).step == 30
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before
    unbroken = problem()
    run(unbroken, steps=30)
    assert torch.equal(weights(other), weights(unbroken))


def test_the_first_process_alone_says_that_it_was_stopped(tmp_path, capsys, rank):
    for place, said in ((1, ""), (0, "training: stopped by you after 5 of 30 steps; what was reached is kept\n")):
        rank(place)
        parts = problem()

        def loss(step, parts=parts):
            if step == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return parts["loss"](step)

        result = run(parts, steps=30, loss=loss, checkpoint=tmp_path / "checkpoint")
        assert result.interrupted
        assert capsys.readouterr().out == said
    assert (tmp_path / "checkpoint" / "state.json").exists()


@pytest.mark.long
def test_tqdms_own_switch_silences_the_bar_but_not_the_sentences(tmp_path):
    """As run_seeds does for the processes that it starts: their bars would write over its own."""
    code = f"""
import torch
from xlib.course import training
for steps in (3, 2):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {{"steps": steps, "generator": torch.Generator(), "checkpoint": {str(tmp_path / "kept")!r}}}
    training.fit(model, lambda step: model(torch.ones(1, 1)).sum(), optimizer, **options)
"""
    environment = os.environ | {"TQDM_DISABLE": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    assert said.stdout.endswith("holds 3 steps, more than the 2 asked for: nothing is trained\n")
