"""Digits, clean and on photographs: the classifier of lessons 04 and 05, with DANN, MMD or CORAL, or without."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, dann, encoders, mmd
from xlib.course import training
from xlib.course.runtime import to_device
from xlib.data import digits

SIDE = 16  # pixels of a digit, each way


def draw_digits(scans: Tensor, stripes: Tensor, strength: float, *, generator: torch.Generator) -> Tensor:
    """Scans (B, 1, 16, 16) on random patches of the stripes (S, 3, H, W), as `digits.photo_digits` blends them:
    (B, 3, 16, 16). At strength 0 they stay clean.

    Example:
        >>> scans, stripes = torch.rand(2, 1, 16, 16), torch.rand(1, 3, 16, 16)  # room for one patch alone
        >>> images = draw_digits(scans, stripes, 0.5, generator=torch.Generator())
        >>> torch.equal(images, (0.5 * stripes - scans).abs())
        True
    """
    if not strength:
        return scans.expand(-1, 3, -1, -1)
    patches = digits.random_patches(stripes, len(scans), height=SIDE, width=SIDE, generator=generator)
    return patches.mul_(strength).sub_(scans).abs_()


def held_out_digits(strength: float, *, copies: int = 1) -> tuple[Tensor, Tensor]:
    """The 386 test scans, each on `copies` patches of the test photographs: (386 copies, 3, 16, 16) and labels.

    Relations: one copy is `digits.photo_digits(strength, split="test", size=16)` with a generator at seed 2.

    Example:
        >>> images, labels = held_out_digits(1.0, copies=2)
        >>> images.shape, torch.equal(labels[:386], labels[386:])
        (torch.Size([772, 3, 16, 16]), True)
    """
    scans, labels = digits.load("test")
    scans, labels = digits.enlarge(scans, SIDE).repeat(copies, 1, 1, 1), labels.repeat(copies)
    generator = torch.Generator().manual_seed(2)
    return draw_digits(scans, digits.photo_stripes("test"), strength, generator=generator), labels


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


def digits_model(width: int = 1) -> nn.ModuleDict:
    """The article's three networks in small, for 16×16 images: "features" (N, 64), "label" (N, 10), "domain" (N, 2).

    width: how many times as many channels as usual. GroupNorm, as in `encoders.ImageEncoder`: what one image becomes
    does not depend on the domain of its neighbours.

    Example:
        >>> model, images = digits_model(), torch.rand(2, 3, 16, 16)
        >>> model["domain"](model["features"](images)).shape
        torch.Size([2, 2])
    """
    layers, before = [], 3
    for channels, stride in ((24 * width, 2), (48 * width, 2), (48 * width, 1)):
        layers += [
            nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
        ]
        before = channels
    features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * 4 * 4, 64), nn.LayerNorm(64), nn.ReLU())
    domain = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    return nn.ModuleDict({"features": features, "label": nn.Linear(64, 10), "domain": domain})


def train_digits(
    strength: float,
    *,
    align: str | None = None,
    weight: float = 1.0,
    information: float = 0.0,
    grey: float = 0.0,
    reverse: Callable[[Tensor, float], Tensor] = dann.grad_reverse,
    on_target: bool = False,
    seed: int = 0,
    steps: int = 400,
    batch: int = 64,
    width: int = 1,
    device: torch.device | str = "cpu",
) -> tuple[nn.ModuleDict, training.Run]:
    """Digit classification, clean digits with labels → digits on photographs without.

    strength: of the photographs in the target domain, 0 to 1. align: what brings the features of the two domains
    together, "dann", "mmd" or "coral"; None for the source alone. weight: of that term at the end; `dann_coeff`
    raises it from 0. information: weight of `dann.information_maximisation` of the target's predictions, raised in
    the same way. grey: |image - u| with u from 0 to this, drawn for each image of both domains, in place of the
    image: it turns contrasts round, as a bright photograph does. That is a guess about the target, and not learned
    from it. reverse: stands between features and domain head; another function than `grad_reverse` shows what
    goes wrong. on_target: the oracle, which gets labelled photo digits in place of the clean ones. batch: images of
    each domain in a step; both go through the network together. width: as in `digits_model`.
    Returns the model of `digits_model`, in evaluation mode on `device`, and its Run with the terms "label",
    "domain" or the name of `align`, and "information".
    Raises ValueError for a bad strength or align.
    Relations: with neither align nor information the strength plays no part: all are `train_digits(0,
    on_target=True)`.

    Example:
        >>> model, run = train_digits(1.0, align="dann", information=0.1, steps=2)
        >>> sorted(run.history[0]), run.history[0]["domain"]  # log 2: not told apart yet
        (['domain', 'information', 'label', 'loss', 'step'], 0.7)
    """
    digits.check_strength(strength)
    if align is not None:
        _validate.choice("align", align, ("dann", "mmd", "coral"))
    torch.manual_seed(seed)
    model = digits_model(width).to(device)
    scans, labels = digits.load("train")
    scans, labels = to_device(digits.enlarge(scans, SIDE), device), to_device(labels, device)
    stripes = to_device(digits.photo_stripes("train"), device)
    generator = torch.Generator(device).manual_seed(seed)

    def some(strength):
        chosen = torch.randint(len(labels), (batch,), generator=generator, device=device)
        return draw_digits(scans[chosen], stripes, strength, generator=generator), labels[chosen]

    def loss(step: int) -> dict[str, Tensor]:
        images, right = some(strength if on_target else 0)
        if align or information:
            images = torch.cat([images, some(strength)[0]])
        images = encoders.random_affine(images, generator=generator)
        if grey:
            images = (images - grey * torch.rand(len(images), 1, 1, 1, generator=generator, device=device)).abs()
        features = model["features"](images)
        logits, ramp = model["label"](features), dann.dann_coeff(step / steps)
        source, target = features[:batch], features[batch:]
        terms = {"label": F.cross_entropy(logits[:batch], right)}
        if align == "dann":
            domain = model["domain"](reverse(features, ramp * weight))
            terms["domain"] = dann.domain_loss(domain[:batch], domain[batch:])
        elif align:
            terms[align] = ramp * weight * (mmd.mmd2 if align == "mmd" else mmd.coral)(source, target)
        if information:
            terms["information"] = -ramp * information * dann.information_maximisation(logits[batch:])
        return terms

    title = f"digits, {align or ('on the target' if on_target else 'source only')}"
    return model, training.fit_one_cycle(
        model, loss, steps=steps, rate=2e-3, decay=0.01, generator=generator, title=title
    )
