"""The trainings that several lessons and `make results` share. Lessons 03 and 05 build them step by step."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, clip, dann, mmd, training
from xlib.contrastive import LogitScale, info_nce
from xlib.data import digits, numbers

TEMPLATES = ("{}", "the number {}", "a photo of {}", "{} written by hand", "数字{}", "手写的{}")


def in_words(number: int, template: str) -> str:
    """A number's caption: in Chinese where the template is Chinese."""
    language = "zh" if any(character >= "\u4e00" for character in template) else "en"
    return template.format(numbers.caption(number, language=language))


VOCABULARY = clip.Vocabulary([in_words(number, template) for number in numbers.NUMBERS for template in TEMPLATES])


def train_numbers(
    *,
    seed: int = 0,
    steps: int = 600,
    batch: int = 78,
    temperature: float | None = None,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 60,
) -> tuple[nn.ModuleDict, training.Run]:
    """CLIP on captioned numbers: pictures from training handwriting, captions of seen numbers alone.

    seed, steps, batch: batches hold different numbers, so at most the 78 of `numbers.SEEN`. temperature: fixed at
    this value; None learns it, from 0.07. snapshot: takes the model, see `training.fit`.

    Returns the model, with parts "image", "text" and "scale", in evaluation mode on `device`, and its Run.
    """
    torch.manual_seed(seed)
    model = nn.ModuleDict(
        {
            "image": clip.ImageEncoder((16, 32)),
            "text": clip.TextEncoder(len(VOCABULARY)),
            "scale": LogitScale() if temperature is None else LogitScale(init=1 / temperature),
        }
    ).to(device)
    model["scale"].requires_grad_(temperature is None)
    pictures = numbers.load("train").to(device)
    seen = torch.tensor(numbers.SEEN, device=device)
    captions = [[in_words(number, template) for template in TEMPLATES] for number in numbers.NUMBERS]
    tokens = VOCABULARY([text for row in captions for text in row]).view(90, len(TEMPLATES), -1).to(device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = seen[torch.randperm(len(seen), generator=generator, device=device)[:batch]]  # no caption twice
        images = clip.random_affine(pictures.draw(chosen, generator=generator), generator=generator)
        wording = torch.randint(len(TEMPLATES), (len(chosen),), generator=generator, device=device)
        za = F.normalize(model["image"](images), dim=1)
        zb = F.normalize(model["text"](tokens[chosen - 10, wording]), dim=1)
        return info_nce(za, zb, logit_scale=model["scale"]())

    return model, _fit(model, loss, generator, steps, 3e-3, 0.01, snapshot, every, "CLIP on numbers")


def train_emoji(
    features: Tensor,
    names: Tensor,
    *,
    seed: int = 0,
    steps: int = 320,
    batch: int = 128,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 40,
) -> tuple[nn.ModuleDict, training.Run]:
    """CLIP on emoji: both towers stand on fixed features, and are small enough for a thousand pairs.

    features: (S, N, D) float32, `clip.edges_and_colours` of N emoji in S styles. names: (N, 384) float32, MiniLM's
    features of their names. Both of the emoji to train on, and no others.

    Returns the model, with parts "image", "text" and "scale", in evaluation mode on `device`, and its Run.
    """
    torch.manual_seed(seed)
    model = nn.ModuleDict(
        {
            "image": nn.Sequential(
                clip.Centre(features.mean(dim=(0, 1))),
                nn.Dropout(0.25),
                nn.Linear(features.shape[2], 512),
                nn.LayerNorm(512),
                nn.GELU(),
                nn.Dropout(0.5),
                nn.Linear(512, 128),
            ),
            "text": nn.Sequential(clip.Centre(names.mean(dim=0)), nn.Dropout(0.2), nn.Linear(names.shape[1], 128)),
            "scale": LogitScale(),
        }
    ).to(device)
    features, names = features.to(device), names.to(device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = torch.randperm(len(names), generator=generator, device=device)[:batch]
        style = torch.randint(len(features), (len(chosen),), generator=generator, device=device)
        za = F.normalize(model["image"](features[style, chosen]), dim=1)
        zb = F.normalize(model["text"](names[chosen]), dim=1)
        return info_nce(za, zb, logit_scale=model["scale"]())

    return model, _fit(model, loss, generator, steps, 2e-3, 0.1, snapshot, every, "CLIP on emoji")


SIDE = 16  # pixels of a digit, each way


def draw_digits(scans: Tensor, stripes: Tensor, strength: float, *, generator: torch.Generator) -> Tensor:
    """Scans (B, 1, 16, 16) on random patches of the stripes (S, 3, H, W), as `digits.photo_digits` blends them:
    (B, 3, 16, 16). At strength 0 they stay clean."""
    if not strength:
        return scans.expand(-1, 3, -1, -1)
    patches = digits.random_patches(stripes, len(scans), height=SIDE, width=SIDE, generator=generator)
    return patches.mul_(strength).sub_(scans).abs_()


def held_out_digits(strength: float, *, copies: int = 1) -> tuple[Tensor, Tensor]:
    """The 386 test scans, each on `copies` patches of the test photographs: (386 copies, 3, 16, 16) and labels."""
    scans, labels = digits.load("test")
    scans, labels = digits.enlarge(scans, SIDE).repeat(copies, 1, 1, 1), labels.repeat(copies)
    generator = torch.Generator().manual_seed(2)
    return draw_digits(scans, digits.photo_stripes("test"), strength, generator=generator), labels


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of two halves with as many of each digit: for a domain probe, which must see other scans in each domain
    and no other difference. Every other row would not do: scans come in the order 0 to 9, even and odd by turns."""
    order = labels.argsort(stable=True)
    return order[::2], order[1::2]


def digits_model() -> nn.ModuleDict:
    """The article's three networks in small, for 16×16 images: "features" (N, 64), "label" (N, 10), "domain" (N, 2).

    GroupNorm, as in `clip.ImageEncoder`: what one image becomes does not depend on the domain of its neighbours.
    """
    layers, before = [], 3
    for width, stride in ((24, 2), (48, 2), (48, 1)):
        layers += [
            nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(),
        ]
        before = width
    features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 4 * 4, 64), nn.LayerNorm(64), nn.ReLU())
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
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 40,
) -> tuple[nn.ModuleDict, training.Run]:
    """Digit classification, clean digits with labels → digits on photographs without.

    strength: of the photographs in the target domain, 0 to 1. align: what brings the features of the two domains
    together, "dann", "mmd" or "coral"; None for the source alone. weight: of that term at the end; `dann_coeff`
    raises it from 0. information: weight of `dann.information_maximisation` of the target's predictions, raised in
    the same way. grey: |image - u| with u from 0 to this, drawn for each image of both domains, in place of the
    image: it turns contrasts round, as a bright photograph does. That is a guess about the target, and not learned
    from it. reverse: stands between features and domain head; another function than `grad_reverse` shows what
    goes wrong. on_target: the oracle, which gets labelled photo digits in place of the clean ones. batch: images of
    each domain in a step; both go through the network together.

    Returns the model of `digits_model`, in evaluation mode on `device`, and its Run with the terms "label",
    "domain" or the name of `align`, and "information".
    Raises ValueError for a bad strength or align.
    """
    digits.check_strength(strength)
    if align is not None:
        _validate.choice("align", align, ("dann", "mmd", "coral"))
    torch.manual_seed(seed)
    model = digits_model().to(device)
    scans, labels = digits.load("train")
    scans, labels = digits.enlarge(scans, SIDE).to(device), labels.to(device)
    stripes = digits.photo_stripes("train").to(device)
    generator = torch.Generator(device).manual_seed(seed)

    def some(strength):
        chosen = torch.randint(len(labels), (batch,), generator=generator, device=device)
        return draw_digits(scans[chosen], stripes, strength, generator=generator), labels[chosen]

    def loss(step: int) -> dict[str, Tensor]:
        images, right = some(strength if on_target else 0)
        if align or information:
            images = torch.cat([images, some(strength)[0]])
        images = clip.random_affine(images, generator=generator)
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

    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    return model, training.fit(
        model,
        loss,
        optimizer,
        steps=steps,
        generator=generator,
        scheduler=torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(steps, 2), pct_start=0.2),
        snapshot=None if snapshot is None else lambda: snapshot(model),
        every=every,
        title=f"digits, {align or ('on the target' if on_target else 'source only')}",
    )


def _fit(model, loss, generator, steps, rate, decay, snapshot, every, title) -> training.Run:
    """AdamW with one cycle of the learning rate. The logit scale is clamped, and kept out of the weight decay, which
    would pull it towards 1."""
    towers = [*model["image"].parameters(), *model["text"].parameters()]
    groups = [
        {"params": towers, "weight_decay": decay},
        {"params": list(model["scale"].parameters()), "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    return training.fit(
        model,
        loss,
        optimizer,
        steps=steps,
        generator=generator,
        scheduler=torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2), pct_start=0.2),
        after_step=model["scale"].clamp_,
        snapshot=None if snapshot is None else lambda: snapshot(model),
        every=every,
        title=title,
    )
