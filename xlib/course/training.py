"""One plain training loop: a progress bar, a history, snapshots for the explorer, checkpoints that resume."""

import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from xlib import _validate
from xlib.course import runtime
from xlib.course._checkpoint import Checkpoint, step_schedule
from xlib.progress import tqdm


@dataclass
class Run:
    """What `fit` reached.

    history: one dictionary a step: {"step": 1, "loss": ..., and each named term}, plain floats.
    snapshots: (step, tensor) pairs, in order; the tensors are on the CPU.
    interrupted: True when Ctrl-C (or Jupyter's stop button) ended the run early.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    snapshots: list[tuple[int, Tensor]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def step(self) -> int:
        """The number of steps that were finished."""
        return len(self.history)

    def curve(self, name: str = "loss") -> list[float]:
        """One column of the history, a number a step."""
        return [row[name] for row in self.history]


class TrainingDiverged(RuntimeError):
    """A loss term became NaN or infinite. The model still holds the weights of the last good step."""


def fit(
    model: nn.Module,
    loss: Callable[[int], Tensor | dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    generator: torch.Generator,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    after_step: Callable[[], None] | None = None,
    snapshot: Callable[[], Tensor] | None = None,
    every: int = 100,
    live: Callable[[Run], None] | None = None,
    checkpoint: str | os.PathLike | None = None,
    mixed: bool = False,
    title: str = "training",
) -> Run:
    """Minimise a loss for a number of steps.

    In a job of several processes each one calls this; the first alone shows a bar, prints, and writes checkpoints,
    which all of them take up. On CUDA the most memory that the run held is printed at its end.

    Args:
        model: holds every trained parameter, and is switched to training mode. Nothing is moved between devices.
        loss: called with the step number (0, 1, ...); draws a batch and returns one scalar, or a dictionary of named
            scalars whose sum is minimised.
        optimizer: over the model's parameters, with its learning rate.
        steps: where to stop, counted from the very first step, so that a resumed run ends where an unbroken one does.
        generator: what `loss` draws its batches from; its state is part of a checkpoint, so that a resumed run
            sees the batches that it would have seen.
        scheduler: stepped once a step, with the loss where it takes one, as ReduceLROnPlateau does.
        after_step: called after each step, for example to clamp a temperature.
        snapshot: returns a tensor to keep, such as embeddings of fixed items; called in evaluation mode without
            gradients before the first step, after each `every` steps, and after the last one.
        live: called with the run after each snapshot, to show how the training goes: an explorer's `follow`.
        checkpoint: a folder. Progress is written there every `every` steps and at the end, and taken up again
            when it already holds some. Two files: step-<number>.safetensors (tensors) and state.json (numbers).
        mixed: whether `loss` runs under `runtime.autocast`; parameters, gradients and updates stay in float32.
        title: stands before the progress bar.
    Returns a Run. After Ctrl-C it holds what was reached, `interrupted` is True, and the model is usable. A second
    Ctrl-C does not wait for the step to end, so the checkpoint stays as it was.
    Raises TrainingDiverged where a term of the loss is not finite: it says which and at which step, and no update is
    made; ValueError for steps or every not above zero, `live` without `snapshot`, a loss of something else than
    scalars, an optimizer that needs a closure (LBFGS), a one-cycle schedule of fewer steps, a checkpoint that is
    damaged, in use, or of another model, optimizer class or shape of snapshot (nothing is changed then); OSError for
    a checkpoint that cannot be written. An error on the way holds what was reached, as its `model` and `run`.

    A resumed run is the unbroken one, number by number: weights, buffers, optimiser, schedule, and the random states
    of `generator`, torch (CPU and GPUs), NumPy and Python come from the checkpoint. Another number of processes,
    torch.compile, another device or dtype are no hindrance; a GPU draws other numbers than a CPU, though. Another
    rate or option of the optimizer is in force from there on, and another schedule (also one that is planned for
    other steps) goes on at the step that was reached; what has changed is printed. With fewer steps than were
    reached the model and the Run of the checkpoint come back as they are. What `fit` cannot see starts anew: other
    generators, a DataLoader's place in its epoch, a schedule that `loss` steps itself, what `loss` keeps outside the
    model (a moving average, a queue), and buffers that are not persistent. In a job all go on with the random
    states of the first process.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> run = fit(model, lambda i: (model.weight - 3).square(), optimizer, steps=50, generator=torch.Generator())
        >>> run.step, model.weight.item()
        (50, 3.0)
    """
    for name, value in (("steps", steps), ("every", every)):
        if _validate.number(name, value) < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if live is not None and snapshot is None:
        raise ValueError("live shows snapshots: it needs snapshot=..., a function that returns them")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("optimizer LBFGS calls the loss itself (a closure); fit takes others")
    store = None
    if checkpoint is not None:
        store = Checkpoint(checkpoint, model, optimizer, scheduler, generator, steps=steps, title=title)
    _check_plan(scheduler, steps, resumed=store is not None)
    with store or contextlib.nullcontext():
        run = Run() if store is None else Run(*store.load(snapshot and (lambda: _shape(model, snapshot))))
        first = runtime.is_first_process()
        if snapshot is not None and not run.snapshots:
            _take(run, model, snapshot)
        if live is not None and first:
            live(run)
        model.train()
        device = next(model.parameters()).device
        precision = runtime.autocast(device) if mixed else contextlib.nullcontext()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        kept = "what was reached is kept"
        silent = {} if first else {"disable": True}  # and else as TQDM_DISABLE says
        bar = tqdm(total=steps, initial=min(run.step, steps), desc=title, leave=False, **silent)
        if store is not None:
            store.restore_random()
        try:
            with _stop_between_steps() as stop:
                while run.step < steps and not stop:
                    run.history.append(_one_step(model, loss, optimizer, run.step, precision))
                    if scheduler is not None:
                        step_schedule(scheduler, run.history[-1]["loss"])
                    if after_step is not None:
                        after_step()
                    bar.update()
                    if run.step % 10 == 0:
                        bar.set_postfix(loss=f"{run.history[-1]['loss']:.4f}", refresh=False)
                    if run.step % every == 0 or run.step == steps:
                        if snapshot is not None:
                            _take(run, model, snapshot)
                        if live is not None and first:
                            live(run)
                        if store is not None:
                            store.save(run.history, run.snapshots)
            run.interrupted = run.step < steps
            if run.interrupted and store is not None:
                store.save(run.history, run.snapshots)
        except KeyboardInterrupt:  # a second Ctrl-C acts at once, and half a step must be in no checkpoint
            run.interrupted = True
            kept = kept if store is None else "the checkpoint stays as it was"
        except Exception as error:
            error.model, error.run = model, run  # or else they were lost with the function that made the model
            raise
        finally:
            bar.close()
            model.eval()
        if run.interrupted and first:
            print(f"{title}: stopped by you after {run.step} of {steps} steps; {kept}")
        if device.type == "cuda" and first:
            print(f"{title}: at most {torch.cuda.max_memory_allocated(device) / 2**20:,.0f} MB of GPU memory")
        return run


def _check_plan(scheduler, steps: int, *, resumed: bool) -> None:
    """Raise unless a one-cycle schedule lasts for the steps: torch says so after the update that is one too many."""
    chained = isinstance(scheduler, torch.optim.lr_scheduler.ChainedScheduler)
    for part in scheduler._schedulers if chained else [scheduler]:
        if isinstance(part, torch.optim.lr_scheduler.OneCycleLR):
            left = part.total_steps - (0 if resumed else part.last_epoch)
            if left < steps:
                raise ValueError(f"scheduler is planned for {left} steps, and steps is {steps}: plan it for as many")


def one_cycle(
    model: nn.Module, *, steps: int, rate: float, decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, and one cycle of its learning rate: up to `rate` in a fifth of the steps, down to almost 0 in the rest
    (Smith & Topin 2018, arXiv 1708.07120). Step both once a batch.
    decay: weight decay, of all but single numbers such as a logit scale, which it would pull towards 1.

    Example:
        >>> optimizer, schedule = one_cycle(nn.Linear(2, 2), steps=10, rate=0.1, decay=0.01)
        >>> [(optimizer.step(), schedule.step(), schedule.get_last_lr()[0])[2] for _ in range(9)]
        [0.100, 0.096, 0.085, 0.069, 0.050, 0.031, 0.015, 0.004, 0.000]
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 0], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim == 0], "weight_decay": 0.0},
    ]
    # All parameters in one call, in place of some ten calls for each: 3 to 9% off the time of the experiments' steps.
    fused = parameters[0].device.type in ("cpu", "cuda", "mps")
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=fused)
    total = max(steps, 2)
    up = max(0.2, 1.5 / total)  # a way up that ends with the first step is a division by zero in OneCycleLR
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=total, pct_start=up)


def fit_one_cycle(model: nn.Module, loss: Callable, *, steps: int, rate: float, decay: float, **options) -> Run:
    """`fit` in mixed precision where that pays, see `runtime.autocast`, and compiled where XLIB_COMPILE=1 asks for
    it, see `runtime.compiled`. A part called "scale" is clamped after each step, if it is trained. options: the
    others of `fit`.
    Relations: on a CPU, `fit` with the optimiser and the scheduler of `one_cycle`.

    Example:
        >>> model = nn.ModuleDict({"line": nn.Linear(1, 1)})
        >>> options = {"steps": 100, "rate": 0.3, "decay": 0.0, "generator": torch.Generator()}
        >>> run = fit_one_cycle(model, lambda step: (model["line"](torch.ones(1)) - 3).square().sum(), **options)
        >>> run.curve()[-1] < 0.01
        True
    """
    optimizer, schedule = one_cycle(model, steps=steps, rate=rate, decay=decay)
    scale = dict(model.named_children()).get("scale")
    clamp = scale.clamp_ if scale is not None and any(p.requires_grad for p in scale.parameters()) else None
    with runtime.compiled(model):
        return fit(model, loss, optimizer, steps=steps, scheduler=schedule, after_step=clamp, mixed=True, **options)


def decaying_sgd(
    model: nn.Module, *, steps: int, rate: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Stochastic gradient descent with momentum .9 as in the DANN paper: rate / (1 + 10 p)^.75, where p, the share of
    the steps that are done, runs from 0 to 1 (Ganin et al. 2016, section 5.2.2). Step both once a batch.

    Example:
        >>> optimizer, schedule = decaying_sgd(nn.Linear(2, 2), steps=10, rate=0.1)
        >>> [(optimizer.step(), schedule.step(), schedule.get_last_lr()[0])[2] for _ in range(10)]
        [0.059, 0.044, 0.035, 0.030, 0.026, 0.023, 0.021, 0.019, 0.018, 0.017]
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + 10 * step / steps) ** -0.75)


@contextlib.contextmanager
def _stop_between_steps():
    """Turn the first Ctrl-C into a request (the list is no longer empty), so that no update is cut in half."""
    asked: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may handle signals
        return

    def handler(signum, frame):
        asked.append(True)
        signal.signal(signal.SIGINT, before)  # the next one acts at once

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _one_step(
    model: nn.Module, loss, optimizer: torch.optim.Optimizer, step: int, precision: contextlib.AbstractContextManager
) -> dict[str, float]:
    with precision:
        terms = loss(step)
    terms = dict(terms) if isinstance(terms, dict) else {"loss": terms}
    for name, value in terms.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"loss term {name!r} must be a tensor with one element, got {value!r}")
    values = torch.stack([value.reshape(()) for value in terms.values()])
    total = values.sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    # One transfer for all numbers: reading each alone would make a GPU wait once a number.
    *numbers, sum_, norm = torch.stack([*values.detach(), total.detach(), norm]).tolist()
    for name, number in zip(terms, numbers, strict=True):
        if not math.isfinite(number):
            raise TrainingDiverged(f"step {step}: loss term {name!r} is {number}. {_ADVICE}")
    if not math.isfinite(norm):
        raise TrainingDiverged(f"step {step}: the gradient of {' + '.join(terms)} is not finite. {_ADVICE}")
    optimizer.step()
    return {"step": step + 1, **dict(zip(terms, numbers, strict=True)), "loss": sum_}


_ADVICE = "No update was made. Try a smaller learning rate, or look at what goes into it."


@torch.no_grad()
def _shape(model: nn.Module, snapshot: Callable[[], Tensor]) -> tuple[int, ...]:
    """Of a snapshot that nobody keeps; every part's mode stays."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        return tuple(snapshot().shape)
    finally:
        for part, mode in modes:
            part.training = mode


@torch.no_grad()
def _take(run: Run, model: nn.Module, snapshot: Callable[[], Tensor]) -> None:
    model.eval()
    run.snapshots.append((run.step, snapshot().detach().cpu().clone()))
    model.train()
