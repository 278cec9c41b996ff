"""The digits table of the DANN paper, two rows of it, with five methods and as many seeds as you like.

    make paper

With a GPU it trains on all of MNIST, MNIST-M and SVHN; on a CPU on the 5,000 scans of MNIST that come with the
course, which gives the first row in small. The networks, the learning rate, λ and their schedules are the paper's,
batches are 64 of each domain, and nothing is chosen: a run is judged by its score after the last step. Labels of the
target are seen by its oracle alone, "trained on target", and by the score.

Source: Ganin et al. 2016 (JMLR 17, arXiv 1505.07818), section 5.2, figure 4 and table 2.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, dann, mmd
from xlib.combined import mmd_loss
from xlib.course import report, runtime, training
from xlib.course.seeds import run_seeds
from xlib.data import cache, digits
from xlib.experiments.digits import start_for_sgd
from xlib.online import full

ROWS = ("MNIST → MNIST-M", "SVHN → MNIST")
METHODS = ("source only", "DANN", "MMD", "CORAL", "trained on target")
PUBLISHED = {  # of these methods; for the others the paper has no numbers
    "MNIST → MNIST-M": {"source only": 0.5225, "DANN": 0.7666, "trained on target": 0.9596},
    "SVHN → MNIST": {"source only": 0.5490, "DANN": 0.7385, "trained on target": 0.9942},
}
# What each budget does. "images": how many of each part; None for all there are. Full data are downloaded, and have
# all rows; the others are the course's own, and have the first alone.
SIZES = {
    "gpu": {"full": True, "steps": 20_000, "images": None},
    "cpu": {"full": False, "steps": 6_000, "images": None},
    "smoke": {"full": False, "steps": 6, "images": 200},
}
BATCH = 64  # of each domain


class Domains(NamedTuple):
    """Images (N, 3, side, side) uint8 and labels (N,) int64: of the source and the target to train on, and of the
    target to be scored on. The target's labels are for its oracle alone."""

    source: tuple[Tensor, Tensor]
    target: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@functools.lru_cache(maxsize=2)
def load(row: str, size: str) -> Domains:
    """The data of one of ROWS, as much as SIZES[size] says; loaded once a process.

    Raises ValueError for an unknown row or size, and for a row that a size does not have; `full.Unavailable` where a
    data set cannot be had.

    Example:
        >>> domains = load("MNIST → MNIST-M", "cpu")
        >>> [len(images) for images, labels in domains], torch.equal(domains.source[1], domains.target[1])
        ([4000, 4000, 1000], True)
    """
    _validate.choice("row", row, ROWS)
    _validate.choice("size", size, tuple(SIZES))
    _validate.choice("row", row, rows_of(size))
    if SIZES[size]["full"]:
        source, target = {ROWS[0]: (full.mnist, full.mnist_m), ROWS[1]: (full.svhn, full.mnist)}[row]
    else:
        source, target = _clean, _on_photographs
    side = {ROWS[0]: 28, ROWS[1]: 32}[row]
    parts = (source("train"), target("train"), target("test"))
    return Domains(*(_sized(*part, side, SIZES[size]["images"]) for part in parts))


def rows_of(size: str) -> tuple[str, ...]:
    """Those of ROWS that a size has data for.

    Example:
        >>> rows_of("cpu")
        ('MNIST → MNIST-M',)
        >>> rows_of("gpu") == ROWS
        True
    """
    return ROWS if SIZES[size]["full"] else ROWS[:1]


def _clean(split: str) -> tuple[Tensor, Tensor]:
    scans, labels = digits.load(split)
    return (scans * 255).round().to(torch.uint8), labels


def _on_photographs(split: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(digits.SPLITS.index(split))
    images, labels = digits.photo_digits(1.0, split=split, generator=generator)
    return (images * 255).round().to(torch.uint8), labels


def _sized(images: Tensor, labels: Tensor, side: int, count: int | None) -> tuple[Tensor, Tensor]:
    """The first `count` of them, in three colours and of that side."""
    from torchvision.transforms.functional import resize

    images, labels = images[:count], labels[:count]
    if images.shape[-1] != side:
        images = torch.cat([resize(part, [side, side], antialias=True) for part in images.split(5000)])
    return images.expand(-1, 3, -1, -1).contiguous(), labels


def networks(side: int) -> nn.ModuleDict:
    """The paper's networks for images (N, 3, side, side), side 28 or 32, with random weights: "features" (flat),
    "label" (logits of ten classes), "domain" (logits of two: our heads end in one logit a class, theirs in one).

    Example:
        >>> model = networks(28)
        >>> model["domain"](model["features"](torch.rand(2, 3, 28, 28))).shape
        torch.Size([2, 2])
    """
    _validate.choice("side", side, (28, 32))
    if side == 28:  # figure 4a
        # Pooled before the ReLU, here and below: the same numbers, for a quarter of the work.
        features = [nn.Conv2d(3, 32, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(32, 48, 5), nn.MaxPool2d(2), nn.ReLU()]
        width, label, domain = 48 * 4 * 4, (100, 100), (100,)
    else:  # figure 4b
        first = [nn.Conv2d(3, 64, 5, padding=2), nn.MaxPool2d(3, 2), nn.ReLU()]
        second = [nn.Conv2d(64, 64, 5, padding=2), nn.MaxPool2d(3, 2), nn.ReLU()]
        features = [*first, *second, nn.Conv2d(64, 128, 5, padding=2), nn.ReLU()]
        width, label, domain = 128 * 7 * 7, (3072, 2048), (1024, 1024)
    model = nn.ModuleDict(
        {
            "features": nn.Sequential(*features, nn.Flatten()),
            "label": _head(width, *label, 10),
            "domain": _head(width, *domain, 2),
        }
    )
    return start_for_sgd(model)


def _head(*widths: int) -> nn.Sequential:
    layers = [nn.Linear(widths[0], widths[1])]
    for before, width in itertools.pairwise(widths[1:]):
        layers += [nn.ReLU(), nn.Linear(before, width)]
    return nn.Sequential(*layers)


def train(
    domains: Domains, method: str, *, seed: int, steps: int, device: torch.device | str = "cpu", curve: bool = False
) -> tuple[nn.ModuleDict, training.Run]:
    """One training with one of METHODS. Returns the model, in evaluation mode on `device`, and its Run.

    curve: keep the accuracy on the test images after each sixth of the steps, as the Run's snapshots: to see whether
    training was long enough. Nothing is chosen by it.

    Stochastic gradient descent with momentum .9 and the rate .01 / (1 + 10 p)^.75, where p runs from 0 to 1; what
    aligns the domains is weighted with `dann.dann_coeff(p)`, as the paper does it.

    Example:
        >>> domains = load(ROWS[0], "smoke")
        >>> model, run = train(domains, "CORAL", seed=0, steps=2)
        >>> sorted(run.history[0])
        ['CORAL', 'label', 'loss', 'step']
    """
    _validate.choice("method", method, METHODS)
    torch.manual_seed(seed)
    source = domains.target if method == "trained on target" else domains.source
    model = networks(source[0].shape[-1]).to(device)
    images, labels = (runtime.to_device(part, device) for part in source)
    unlabelled = runtime.to_device(domains.target[0], device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step: int) -> dict[str, Tensor]:
        chosen = torch.randint(len(images), (BATCH,), generator=generator, device=device)
        batch, aligned = images[chosen], method in ("DANN", "MMD", "CORAL")
        if aligned:
            others = torch.randint(len(unlabelled), (BATCH,), generator=generator, device=device)
            batch = torch.cat([batch, unlabelled[others]])
        features, ramp = model["features"](_scaled(batch)), dann.dann_coeff(step / steps)
        own, other = features[:BATCH], features[BATCH:]
        terms = {"label": F.cross_entropy(model["label"](own), labels[chosen])}
        if method == "DANN":
            domain = model["domain"](dann.grad_reverse(features, ramp))
            terms["domain"] = dann.domain_loss(domain[:BATCH], domain[BATCH:])
        elif aligned:
            terms[method] = ramp * {"MMD": mmd_loss, "CORAL": mmd.coral}[method](own, other)
        return terms

    optimizer, schedule = training.decaying_sgd(model, steps=steps, rate=0.01)
    watched = {"snapshot": lambda: torch.tensor(accuracy(model, *domains.test)), "every": max(1, steps // 6)}
    run = training.fit(
        model,
        loss,
        optimizer,
        steps=steps,
        scheduler=schedule,
        generator=generator,
        title=f"digits, {method}",
        **(watched if curve else {}),
    )
    return model, run


def _scaled(images: Tensor) -> Tensor:
    """Bytes to -1 ... 1: the same constants for both domains."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def accuracy(model: nn.ModuleDict, images: Tensor, labels: Tensor) -> float:
    """The share of images (N, 3, side, side) uint8 whose digit is recognised.

    Example:
        >>> domains = load(ROWS[0], "smoke")
        >>> model, _ = train(domains, "trained on target", seed=0, steps=2)
        >>> 0 <= accuracy(model, *domains.test) <= 1
        True
    """
    device = next(model.parameters()).device
    right = [
        (model["label"](model["features"](_scaled(part.to(device)))).argmax(dim=1).cpu() == digit)
        for part, digit in zip(images.split(1000), labels.split(1000), strict=True)
    ]
    return torch.cat(right).double().mean().item()


def one_run(seed: int, *, row: str, method: str, size: str) -> dict[str, float]:
    """Train once: {"accuracy": on the target's test images after the last step, "after 1000 steps": on the way, ...}.

    Example:
        >>> found = one_run(0, row=ROWS[0], method="source only", size="smoke")  # of 6 steps
        >>> list(found)[:3]
        ['accuracy', 'after 1 steps', 'after 2 steps']
    """
    domains, device = load(row, size), runtime.pick_device()
    model, run = train(domains, method, seed=seed, steps=SIZES[size]["steps"], device=device, curve=True)
    scores = {"accuracy": accuracy(model, *domains.test)}
    scores |= {f"after {step} steps": value.item() for step, value in run.snapshots if step}
    return {name: round(value, 4) for name, value in scores.items()}


def run(
    *, rows: Iterable[str] | None = None, seeds: Iterable[int] = range(5), size: str | None = None
) -> dict[str, list[dict[str, float]]]:
    """Every method on these rows with these seeds: "row: method" to one dictionary a seed, as `run_seeds`.

    rows: None for all that the size has. size: of SIZES; None for the present budget's. What is finished is kept in
    xlib's cache, so that a run that was stopped goes on. On a GPU one training at a time, on a CPU one a core.
    Raises `full.Unavailable` where a data set cannot be had.

    Example:
        >>> found = run(seeds=range(3), size="smoke")  # doctest: +SKIP
        >>> run(rows=["MNIST → USPS"])  # refused before anything is trained
        Traceback (most recent call last):
        ValueError: row must be one of 'MNIST → MNIST-M', 'SVHN → MNIST', got 'MNIST → USPS'
    """
    size = runtime.budget() if size is None else size
    rows = rows_of(size) if rows is None else [rows] if isinstance(rows, str) else list(rows)
    for row in rows:
        load(row, size)  # fetched here, and not in the processes that train
    return run_seeds(
        measurements(rows, size),
        seeds,
        file=cache.folder() / "paper" / f"{size}.json",
        settings=SIZES[size],
        processes=None if runtime.pick_device().type == "cpu" else 1,
    )


def describe(size: str) -> str:
    """What a table of this size shows, in two sentences for above it.

    Example:
        >>> describe("cpu").split(",")[0]
        'The first row in small'
        >>> print(describe("gpu"))
        All images, 20,000 steps, the paper's networks and schedules. Nothing was chosen by target labels.
    """
    of = SIZES[size]
    images = "All images"
    if not of["full"]:
        images = f"The first row in small, {of['images'] or 4000:,} training images a domain and not 60,000"
    rest = f"{of['steps']:,} steps, the paper's networks and schedules. Nothing was chosen by target labels."
    return f"{images}, {rest}"


def measurements(rows: Iterable[str], size: str) -> dict[str, Callable[[int], dict[str, float]]]:
    """What `run` measures, as functions of a seed.

    Example:
        >>> chosen = measurements(ROWS, "gpu")
        >>> len(chosen), list(chosen)[1]
        (10, 'MNIST → MNIST-M: DANN')
    """
    return {
        f"{row}: {method}": functools.partial(one_run, row=row, method=method, size=size)
        for row in ([rows] if isinstance(rows, str) else rows)
        for method in METHODS
    }


def table(found: dict[str, list[dict[str, float]]]) -> list[dict[str, str]]:
    """Rows for `report.table`: mean accuracy with the 95% interval of the mean over the seeds, what that is more than
    the source alone has (of the differences seed by seed), and the published number.

    Example:
        >>> runs = {"source only": (0.52, 0.54), "DANN": (0.75, 0.77)}
        >>> found = {f"MNIST → MNIST-M: {name}": [{"accuracy": x} for x in two] for name, two in runs.items()}
        >>> list(table(found)[1].values())
        ['MNIST → MNIST-M', 'DANN', '0.760 [0.633, 0.887]', '+0.230 [+0.230, +0.230]', '0.7666']
    """
    rows = []
    for row, method in itertools.product(ROWS, METHODS):
        values, alone = ([run["accuracy"] for run in found.get(f"{row}: {m}", [])] for m in (method, "source only"))
        if not values:
            continue
        several = len(values) > 1
        more = several and len(alone) == len(values) and method != "source only"
        published = PUBLISHED[row].get(method)
        rows.append(
            {
                "": row,
                "method": method,
                f"{len(values)} seeds": report.written(report.interval(values, within=(0, 1)))
                if several
                else f"{values[0]:.3f} (one seed)",
                "more than source only": report.written(report.gain(values, alone), sign=True) if more else "-",
                "published": f"{published:.4f}" if published else "-",
            }
        )
    return rows
