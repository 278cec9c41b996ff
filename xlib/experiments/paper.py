"""The digits table of the DANN paper, two rows of it, with five methods and as many seeds as you like.

    make paper

With a GPU it trains on all of MNIST, MNIST-M and SVHN; on a CPU the same code runs a reduced version in minutes. The
networks, the learning rate, λ and both their schedules are the paper's, batches are 64 of each domain, and nothing is
chosen: every run is scored once, after its last step. Labels of the target are seen by its oracle alone, "trained on
target", and by the score.

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
from xlib.course import report, runtime, training
from xlib.course.seeds import run_seeds
from xlib.data import cache, digits
from xlib.online import full

ROWS = ("MNIST → MNIST-M", "SVHN → MNIST")
METHODS = ("source only", "DANN", "MMD", "CORAL", "trained on target")
PUBLISHED = {  # of these methods; for the others the paper has no numbers
    "MNIST → MNIST-M": {"source only": 0.5225, "DANN": 0.7666, "trained on target": 0.9596},
    "SVHN → MNIST": {"source only": 0.5490, "DANN": 0.7385, "trained on target": 0.9942},
}
# How much of it each budget does. "side": pixels of an image, each way; None: 28 for the first row and 32 for the
# second, each with the paper's network for it. With a number the small network serves both.
SIZES = {
    "gpu": {"steps": 20_000, "train": None, "test": None, "side": None},
    "cpu": {"steps": 400, "train": 10_000, "test": 2_000, "side": 28},
    "smoke": {"steps": 3, "train": 200, "test": 200, "side": 28},
}
BATCH = 64  # of each domain


class Domains(NamedTuple):
    """Images (N, 3, side, side) uint8 and labels (N,) int64: of the source and the target to train on, and of the
    target to be scored on. The target's labels are for its oracle alone."""

    source: tuple[Tensor, Tensor]
    target: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@functools.lru_cache(maxsize=2)
def load(row: str, size: str, *, stand_ins: bool = False) -> Domains:
    """The data of one of ROWS, as much as SIZES[size] says; loaded once a process.

    stand_ins: the course's own digits in their place, clean and on photographs at full strength. They have 1,411
    images and not 60,000, and what they show is that the code runs, not what the paper's table says.
    Raises ValueError for an unknown row or size, `full.Unavailable` where a data set cannot be had.

    Example:
        >>> domains = load("MNIST → MNIST-M", "smoke", stand_ins=True)
        >>> [images.shape for images, labels in domains][0], torch.equal(domains.source[1], domains.target[1])
        (torch.Size([200, 3, 28, 28]), True)
    """
    _validate.choice("row", row, ROWS)
    _validate.choice("size", size, tuple(SIZES))
    side = SIZES[size]["side"] or {"MNIST → MNIST-M": 28, "SVHN → MNIST": 32}[row]
    sets = {"MNIST → MNIST-M": (full.mnist, full.mnist_m), "SVHN → MNIST": (full.svhn, full.mnist)}[row]
    if stand_ins:
        sets = {"MNIST → MNIST-M": (_clean, _on_photographs), "SVHN → MNIST": (_on_photographs, _clean)}[row]
    source, target = sets
    parts = {"train": SIZES[size]["train"], "test": SIZES[size]["test"]}
    return Domains(
        *(
            _sized(*load_one(split), side, parts[split])
            for load_one, split in ((source, "train"), (target, "train"), (target, "test"))
        )
    )


def _clean(split: str) -> tuple[Tensor, Tensor]:
    scans, labels = digits.load(split)
    return (digits.enlarge(scans, 28) * 255).round().to(torch.uint8), labels


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
        features = [nn.Conv2d(3, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 48, 5), nn.ReLU(), nn.MaxPool2d(2)]
        width, label, domain = 48 * 4 * 4, (100, 100), (100,)
    else:  # figure 4b
        first = [nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
        second = [nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
        features = [*first, *second, nn.Conv2d(64, 128, 5, padding=2), nn.ReLU()]
        width, label, domain = 128 * 7 * 7, (3072, 2048), (1024, 1024)
    model = nn.ModuleDict(
        {
            "features": nn.Sequential(*features, nn.Flatten()),
            "label": _head(width, *label, 10),
            "domain": _head(width, *domain, 2),
        }
    )
    for layer in model.modules():  # torch's own start is too faint for plain stochastic gradient descent
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def _head(*widths: int) -> nn.Sequential:
    layers = [nn.Linear(widths[0], widths[1])]
    for before, width in itertools.pairwise(widths[1:]):
        layers += [nn.ReLU(), nn.Linear(before, width)]
    return nn.Sequential(*layers)


def train(
    domains: Domains, method: str, *, seed: int, steps: int, device: torch.device | str = "cpu"
) -> tuple[nn.ModuleDict, training.Run]:
    """One training with one of METHODS. Returns the model, in evaluation mode on `device`, and its Run.

    Stochastic gradient descent with momentum .9 and the rate .01 / (1 + 10 p)^.75, where p runs from 0 to 1; what
    aligns the domains is weighted with `dann.dann_coeff(p)`, as the paper does it.

    Example:
        >>> domains = load(ROWS[0], "smoke", stand_ins=True)
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
            terms[method] = ramp * {"MMD": mmd.mmd2, "CORAL": mmd.coral}[method](own, other)
        return terms

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + 10 * step / steps) ** -0.75)
    run = training.fit(
        model, loss, optimizer, steps=steps, scheduler=schedule, generator=generator, title=f"digits, {method}"
    )
    return model, run


def _scaled(images: Tensor) -> Tensor:
    """Bytes to -1 ... 1: the same constants for both domains."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def accuracy(model: nn.ModuleDict, images: Tensor, labels: Tensor) -> float:
    """The share of images (N, 3, side, side) uint8 whose digit is recognised.

    Example:
        >>> domains = load(ROWS[0], "smoke", stand_ins=True)
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


def one_run(seed: int, *, row: str, method: str, size: str, stand_ins: bool) -> dict[str, float]:
    """Train once, and score once: {"accuracy": on the target's test images}.

    Example:
        >>> options = {"method": "source only", "size": "smoke", "stand_ins": True}  # 3 steps
        >>> list(one_run(0, row=ROWS[0], **options))
        ['accuracy']
    """
    domains, device = load(row, size, stand_ins=stand_ins), runtime.pick_device()
    model, _ = train(domains, method, seed=seed, steps=SIZES[size]["steps"], device=device)
    return {"accuracy": round(accuracy(model, *domains.test), 4)}


def run(
    *, rows: Iterable[str] = ROWS, seeds: Iterable[int] = range(5), size: str | None = None, stand_ins: bool = False
) -> dict[str, list[dict[str, float]]]:
    """Every method on these rows with these seeds: "row: method" to one dictionary a seed, as `run_seeds`.

    size: of SIZES; None for the present budget's. What is finished is kept in xlib's cache, so that a run that was
    stopped goes on. On a GPU one training at a time, on a CPU one a core.
    Raises `full.Unavailable` where a data set cannot be had.

    Example:
        >>> found = run(rows=ROWS[:1], seeds=range(3), size="smoke", stand_ins=True)  # doctest: +SKIP
        >>> run(rows=["MNIST → USPS"])  # refused before anything is trained
        Traceback (most recent call last):
        ValueError: row must be one of 'MNIST → MNIST-M', 'SVHN → MNIST', got 'MNIST → USPS'
    """
    size, rows = runtime.budget() if size is None else size, list(rows)
    for row in rows:
        load(row, size, stand_ins=stand_ins)  # fetched here, and not in the processes that train
    name = f"{size}-{'stand-ins' if stand_ins else 'full'}"
    return run_seeds(
        measurements(rows, size, stand_ins),
        seeds,
        file=cache.folder() / "paper" / f"{name}.json",
        settings=SIZES[size],
        processes=None if runtime.pick_device().type == "cpu" else 1,
    )


def describe(size: str, stand_ins: bool) -> str:
    """What a table of this size shows, as a sentence or two for above it.

    Example:
        >>> full, reduced = describe("gpu", False), describe("cpu", False)
        >>> print(full)
        All images, 20,000 steps, the paper's networks. Nothing was chosen by target labels.
    """
    of = SIZES[size]
    if size == "gpu" and not stand_ins:
        return f"All images, {of['steps']:,} steps, the paper's networks. Nothing was chosen by target labels."
    data = (
        "the course's own 1,411 digits in place of the data sets" if stand_ins else f"{of['train']:,} of the images"
    )
    network = (
        f"{of['side']} pixels a side and one small network for both rows" if of["side"] else "the paper's networks"
    )
    return (
        f"Reduced: {data}, {of['steps']:,} steps, {network}. The numbers show that the code runs; they cannot be "
        "held against the published ones."
    )


def measurements(rows: Iterable[str], size: str, stand_ins: bool) -> dict[str, Callable[[int], dict[str, float]]]:
    """What `run` measures, as functions of a seed.

    Example:
        >>> chosen = measurements(ROWS, "smoke", True)
        >>> len(chosen), list(chosen)[1]
        (10, 'MNIST → MNIST-M: DANN')
    """
    return {
        f"{row}: {method}": functools.partial(one_run, row=row, method=method, size=size, stand_ins=stand_ins)
        for row in rows
        for method in METHODS
    }


def table(found: dict[str, list[dict[str, float]]], *, stand_ins: bool = False) -> list[dict[str, str]]:
    """Rows for `report.table`: mean accuracy and the 95% interval of the mean, beside the published number.

    Example:
        >>> found = {"MNIST → MNIST-M: DANN": [{"accuracy": 0.75}, {"accuracy": 0.77}]}
        >>> table(found)
        [{'': 'MNIST → MNIST-M', 'method': 'DANN', '2 seeds': '0.760 [0.633, 0.887]', 'published': '0.7666'}]
    """
    rows = []
    for row, method in itertools.product(ROWS, METHODS):
        values = [run["accuracy"] for run in found.get(f"{row}: {method}", [])]
        if not values:
            continue
        ours = f"{values[0]:.3f} (one seed)"
        if len(values) > 1:
            mean, low, high = report.interval(values)
            ours = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        published = PUBLISHED[row].get(method)
        rows.append(
            {
                "": f"{row} (stand-ins)" if stand_ins else row,
                "method": method,
                f"{len(values)} seeds": ours,
                "published": f"{published:.4f}" if published else "-",
            }
        )
    return rows
