"""Digits, clean and on photographs: the classifier of lessons 04 and 05, alone or with a method of adaptation."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import transforms

from xlib import _validate, dann, encoders, mmd
from xlib.combined import mmd_loss
from xlib.course import training
from xlib.course.runtime import to_device
from xlib.data import digits

SIDE = 28  # pixels of a digit, each way
METHODS = ("dann", "cdan", "mmd", "coral", "sinkhorn", "mcc")
# The weight of each at the end: its paper's own, or 1. CORAL's numbers are small, divided by 4 d²; with 100 its term
# ends at about half of the label loss (800 steps, seed 0).
WEIGHTS = {"dann": 1.0, "cdan": 1.0, "mmd": 1.0, "coral": 100.0, "sinkhorn": 1.0, "mcc": 1.0}
AUGMENTATIONS = {
    "grey": lambda images, generator: (images - _uniform(images, generator)).abs(),
    "affine": lambda images, generator: encoders.random_affine(images, generator=generator),
}


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    """A grey level for each image, (B, 1, 1, 1)."""
    return torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)


def draw_digits(scans: Tensor, photos: Tensor, strength: float, *, generator: torch.Generator) -> Tensor:
    """Scans (B, 1, 28, 28) on random patches of photos (P, 3, H, W), as `digits.photo_digits` blends them:
    (B, 3, 28, 28). At strength 0 they stay clean.

    Example:
        >>> scans, photos = torch.rand(2, 1, 28, 28), torch.rand(1, 3, 28, 28)  # room for one patch alone
        >>> images = draw_digits(scans, photos, 0.5, generator=torch.Generator())
        >>> torch.equal(images, (0.5 * photos - scans).abs())
        True
    """
    if not strength:
        return scans.expand(-1, 3, -1, -1)
    patches = digits.random_patches(photos, len(scans), height=SIDE, width=SIDE, generator=generator)
    return patches.mul_(strength).sub_(scans).abs_()


def held_out_digits(strength: float, *, copies: int = 1, collection: str = "mnist") -> tuple[Tensor, Tensor]:
    """The test scans of a collection, each on `copies` patches of the test photographs: (N copies, 3, 28, 28) and
    labels.

    N is 1,000 for "mnist" and 386 for "uci". Copies are not new scans: an interval must resample scans.
    Relations: one copy is `digits.photo_digits(strength, split="test")` with a generator at seed 2.

    Example:
        >>> images, labels = held_out_digits(1.0, copies=2)
        >>> images.shape, torch.equal(labels[:1000], labels[1000:])
        (torch.Size([2000, 3, 28, 28]), True)
    """
    scans, labels = digits.load("test", collection=collection)
    scans, labels = scans.repeat(copies, 1, 1, 1), labels.repeat(copies)
    generator = torch.Generator().manual_seed(2)
    return draw_digits(scans, digits.photographs("test"), strength, generator=generator), labels


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of two halves with as many of each digit: for a domain probe, which must see other scans in each domain
    and no other difference. Every other row would not do: scans come in the order 0 to 9, even and odd by turns.

    Example:
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> [labels[half].tolist() for half in halves(labels)], labels[::2].tolist()
        ([[0, 1], [0, 1]], [0, 0])
    """
    order = labels.argsort(stable=True)
    return order[::2], order[1::2]


def digits_model(width: int = 1, *, conditional: bool = False) -> nn.ModuleDict:
    """The DANN paper's small network (figure 4a) in smaller, for images (N, 3, 28, 28) from 0 to 1: "features"
    (N, 800 width), "label" (N, 10), "domain" (N, 2).

    width: how many times as many channels as usual. conditional: the domain head takes `dann.multilinear_map`, of ten
    times as many numbers. There is no normalisation by batch, image or group: what one image becomes does not depend
    on its neighbours' domain, and the contrast between digit and ground is not evened out.

    Example:
        >>> model, images = digits_model(), torch.rand(2, 3, 28, 28)
        >>> model["domain"](model["features"](images)).shape
        torch.Size([2, 2])
    """
    one, two = 16 * width, 32 * width
    features = nn.Sequential(
        transforms.Normalize([0.5] * 3, [0.5] * 3),  # to -1 ... 1, for both domains
        *(nn.Conv2d(3, one, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(
            nn.Conv2d(one, two, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
        ),  # pooled first: the same, for a quarter of the work
        nn.Flatten(),
    )
    size = two * 5 * 5
    label = nn.Sequential(nn.Linear(size, 100), nn.ReLU(), nn.Linear(100, 10))
    domain = nn.Sequential(nn.Linear(10 * size if conditional else size, 100), nn.ReLU(), nn.Linear(100, 2))
    model = nn.ModuleDict({"features": features, "label": label, "domain": domain})
    return start_for_sgd(model)


def start_for_sgd(model: nn.Module) -> nn.Module:
    """Weights as He et al. 2015 draw them, biases 0, channels last in memory, where pooling is several times faster.
    torch's own start is too faint for plain stochastic gradient descent. Returns the model, changed in place.

    Example:
        >>> layer = start_for_sgd(nn.Linear(1000, 100))
        >>> layer.weight.std().item(), layer.bias.sum().item()  # the square root of 2 / 1000
        (0.04, 0.0)
    """
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model.to(memory_format=torch.channels_last)


def transport_cost(source: Tensor, target: Tensor) -> Tensor:
    """What it costs to move the source's features onto the target's: (N, d) and (M, d) to a scalar with a gradient.

    The cost of a pair is its mean squared difference, over the d features. The plan is Sinkhorn's with entropic
    regularisation of .05 mean costs, found by the library POT (Flamary et al. 2021) and then held fixed, as the
    envelope theorem allows: the derivative by a cost is what the plan moves there. The costs themselves stay
    absolute. Divided by their mean they would not notice that all features shrink to one point, which is where
    training took them.
    Source: Cuturi 2013 (NIPS 26); for adaptation, Damodaran et al. 2018 (ECCV), here without their term on labels.

    Example:
        >>> near, far = torch.tensor([[0.0], [5.0]]), torch.tensor([[5.0], [1.0]])
        >>> transport_cost(near, far).item()  # half of the mass has to move by 1
        0.5
    """
    import ot

    # By a matrix product: the other way has no gradient on the GPU of a Mac in torch 2.5.
    cost = torch.cdist(source, target, compute_mode="use_mm_for_euclid_dist").square() / source.shape[1]
    masses = [torch.full((len(part),), 1 / len(part), device=part.device) for part in (source, target)]
    with torch.no_grad():
        relative = cost / cost.mean().clamp(min=1e-30)  # all on one point: nothing to move
        plan = ot.sinkhorn(*masses, relative, 0.05, method="sinkhorn_log", numItermax=50, warn=False)  # no underflow
    return (plan * cost).sum()


def train_digits(
    strength: float,
    *,
    align: str | None = None,
    weight: float | None = None,
    augment: str | None = None,
    collections: tuple[str, str] = ("mnist", "mnist"),
    reverse: Callable[[Tensor, float], Tensor] = dann.grad_reverse,
    on_target: bool = False,
    seed: int = 0,
    steps: int = 600,
    batch: int = 64,
    width: int = 1,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 100,
) -> tuple[nn.ModuleDict, training.Run]:
    """Digit classification, clean digits with labels → digits on photographs without.

    strength: of the photographs in the target domain, 0 to 1. align: one of METHODS, or None for the source alone.
    weight: of its term at the end, WEIGHTS if None; `dann_coeff` raises it from 0. For "dann" and "cdan" it is λ, in
    the reversal. augment: one of AUGMENTATIONS, of each image of both domains by its own random amount: "grey" is
    |image - u| with u from 0 to 1, "affine" `encoders.random_affine`. collections: the source's and the target's
    handwriting, see `digits.load`. reverse: stands between features and domain head; another function than
    `grad_reverse` shows what goes wrong. on_target: the oracle, which gets the target's images with labels in place
    of the source's. batch: images of each domain in a step; both go through the network together. width: as in
    `digits_model`. snapshot: takes the model, see `training.fit`.
    Returns the model of `digits_model`, in evaluation mode on `device`, and its Run with the terms "label" and
    "domain" ("dann", "cdan") or the name of `align`.
    Raises ValueError for a bad strength, collection, align or augment.
    Relations: without align the strength plays no part: all are `train_digits(0)`.

    Example:
        >>> model, run = train_digits(1.0, align="dann", steps=2)
        >>> sorted(run.history[0])
        ['domain', 'label', 'loss', 'step']
    """
    digits.check_strength(strength)
    for name, value, choices in (("align", align, METHODS), ("augment", augment, tuple(AUGMENTATIONS))):
        if value is not None:
            _validate.choice(name, value, choices)
    _check_pair(collections)
    of = [digits.load("train", collection=collection) for collection in collections]
    own, other = (tuple(to_device(part, device) for part in domain) for domain in of)
    own, own_strength = (other, strength) if on_target else (own, 0)
    photos = to_device(digits.photographs("train"), device)
    torch.manual_seed(seed)
    model = digits_model(width, conditional=align == "cdan").to(device)
    generator = torch.Generator(device).manual_seed(seed)
    weight = WEIGHTS.get(align) if weight is None else weight

    def some(scans: Tensor, labels: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(labels), (batch,), generator=generator, device=device)
        return draw_digits(scans[chosen], photos, strength, generator=generator), labels[chosen]

    def loss(step: int) -> dict[str, Tensor]:
        images, right = some(*own, own_strength)
        if align:
            images = torch.cat([images, some(*other, strength)[0]])
        if augment:
            images = AUGMENTATIONS[augment](images, generator)
        features = model["features"](images)
        logits, ramp = model["label"](features), dann.dann_coeff(step / steps)
        source, target = features[:batch], features[batch:]
        terms = {"label": F.cross_entropy(logits[:batch], right)}
        if align in ("dann", "cdan"):
            seen = features if align == "dann" else dann.multilinear_map(features, logits)
            domain = model["domain"](reverse(seen, ramp * weight))
            terms["domain"] = dann.domain_loss(domain[:batch], domain[batch:])
        elif align == "mcc":
            terms[align] = ramp * weight * dann.class_confusion(logits[batch:])
        elif align:
            distance = {"mmd": mmd_loss, "coral": mmd.coral, "sinkhorn": transport_cost}[align]
            terms[align] = ramp * weight * distance(source, target)
        return terms

    optimizer, schedule = training.decaying_sgd(model, steps=steps, rate=0.02)
    title = f"digits, {align or ('on the target' if on_target else 'source only')}"
    watched = {"snapshot": None if snapshot is None else lambda: snapshot(model), "every": every}
    return model, training.fit(
        model,
        loss,
        optimizer,
        steps=steps,
        scheduler=schedule,
        generator=generator,
        mixed=True,
        title=title,
        **watched,
    )


def _check_pair(collections: tuple[str, str]) -> None:
    if isinstance(collections, str) or len(collections) != 2:
        raise ValueError(f"collections must be a pair, the source's and the target's, got {collections!r}")


@torch.no_grad()
def measure_digits(
    model: nn.ModuleDict, strength: float, *, copies: int = 2, collections: tuple[str, str] = ("mnist", "mnist")
) -> dict[str, float]:
    """What a model of `digits_model` is worth on held-out handwriting, clean ("source") and on held-out photographs.

    Returns "source accuracy" and "target accuracy", and for each digit "target accuracy of 0" ...; "A-distance", of a
    fresh probe on some 200 scans of the source and other scans of the target (250 of MNIST's, 193 of UCI's);
    "classes met", the share of the ten digits whose mean feature in the target lies nearer to that of the same digit
    in the source than to any other; "class distance", the mean distance between a digit's two means, in units of that
    between two of the source's digits; and of the target's predictions, without labels, "entropy", "information",
    "density".

    Example:
        >>> found = measure_digits(digits_model(), 1.0, copies=1)  # untrained
        >>> len(found), found["source accuracy"] < 0.4
        (18, True)
    """
    _check_pair(collections)
    device = next(model.parameters()).device
    clean, clean_labels = held_out_digits(0, collection=collections[0])
    images, labels = held_out_digits(strength, copies=copies, collection=collections[1])
    source, target = ([model["features"](part.to(device)) for part in x.split(500)] for x in (clean, images))
    source, target = torch.cat(source), torch.cat(target)
    logits = model["label"](target)
    right = (logits.argmax(dim=1).cpu() == labels).double()
    result = {
        "source accuracy": (model["label"](source).argmax(dim=1).cpu() == clean_labels).double().mean().item(),
        "target accuracy": right.mean().item(),
    }
    result |= {f"target accuracy of {digit}": right[labels == digit].mean().item() for digit in range(10)}
    source, target = source.cpu(), target.cpu()
    (one, _), (_, other) = halves(clean_labels), halves(labels[: len(labels) // copies])
    some, others = one[:: max(1, len(one) // 200)], other[:: max(1, len(other) // 200)]
    result["A-distance"] = dann.proxy_a_distance(source[some], target[others])
    means = [
        torch.stack([x[y == digit].mean(dim=0) for digit in range(10)])
        for x, y in ((source, clean_labels), (target, labels))
    ]
    between = torch.cdist(means[1], means[0])  # (10, 10), target digit by source digit
    result["classes met"] = (between.argmin(dim=1) == torch.arange(10)).double().mean().item()
    within = torch.cdist(means[0], means[0]).sum() / 90  # the mean of ten digits' distances, less their ten zeros
    result["class distance"] = (between.diagonal().mean() / within).item()
    result["entropy"] = dann.entropy(logits).item()
    result["information"] = dann.information_maximisation(logits).item()
    result["density"] = dann.soft_neighbourhood_density(logits).item()
    return result
