"""Captioned numbers: a CLIP trained from nothing, one that adapts to photographs, how both are measured."""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, dann, encoders, space
from xlib.contrastive import LogitScale, info_nce
from xlib.course import training
from xlib.course.runtime import to_device
from xlib.data import numbers
from xlib.experiments.adapt import Batches, adapt
from xlib.retrieval import hits

TEMPLATES = ("{}", "the number {}", "a photo of {}", "{} written by hand", "数字{}", "手写的{}")


def in_words(number: int, template: str) -> str:
    """A number's caption: in Chinese where the template is Chinese.

    Example:
        >>> in_words(42, "a photo of {}"), in_words(42, "数字{}")
        ('a photo of forty-two', '数字四十二')
        >>> in_words(42, "the number {}")
        'the number forty-two'
    """
    language = "zh" if any(character >= "\u4e00" for character in template) else "en"
    return template.format(numbers.caption(number, language=language))


_WORDED = [in_words(number, template) for number in numbers.NUMBERS for template in TEMPLATES]
VOCABULARY = encoders.Vocabulary(_WORDED)
TOKENS = VOCABULARY(_WORDED).view(len(numbers.NUMBERS), len(TEMPLATES), -1)  # (90, 6, L): row i says 10 + i


def scale_at(temperature: float | None) -> LogitScale:
    """A scale fixed at this temperature, from 1e-12 to 1e12; None: one that is learned, from 0.07. Raises TypeError
    or ValueError.

    Example:
        >>> fixed, learned = scale_at(2.0), scale_at(None)
        >>> 1 / fixed().item(), fixed.log_scale.requires_grad, learned.log_scale.requires_grad
        (2.0, False, True)
    """
    scale = LogitScale()
    if temperature is None:
        return scale
    if not 1e-12 <= _validate.positive("temperature", temperature) <= 1e12:
        raise ValueError(f"temperature must be from 1e-12 to 1e12, got {temperature}")
    nn.init.constant_(scale.log_scale, -math.log(temperature))  # a learned one has bounds
    return scale.requires_grad_(False)


def train_numbers(
    *,
    seed: int = 0,
    steps: int = 600,
    batch: int = 78,
    width: int = 1,
    temperature: float | None = None,
    tokens: Tensor = TOKENS,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 60,
) -> tuple[nn.ModuleDict, training.Run]:
    """CLIP on captioned numbers: pictures made of training scans, captions of seen numbers alone.

    seed, steps, batch: batches hold different numbers, so at most the 78 of `numbers.SEEN`. width: how many times as
    many channels and states as usual. temperature: fixed at this value, 1e-12 to 1e12; None learns it, from 0.07.
    tokens: (90, 6, L) int64, another way to cut the captions into words. snapshot: takes the model, see
    `training.fit`.
    Returns the model, with parts "image", "text" and "scale", in evaluation mode on `device`, and its Run.

    Example:
        >>> model, run = train_numbers(steps=2, batch=16)
        >>> model["text"](VOCABULARY(["forty-two", "四十二"])).shape
        torch.Size([2, 64])
        >>> 1 / model["scale"]().item()  # the temperature has hardly moved
        0.07
    """
    scale = scale_at(temperature)
    torch.manual_seed(seed)
    model = nn.ModuleDict(
        {
            "image": encoders.ImageEncoder((16, 32), channels=(32 * width, 64 * width, 64 * width)),
            "text": encoders.TextEncoder(int(tokens.max()) + 1, width=128 * width),
            "scale": scale,
        }
    ).to(device)
    pictures = numbers.load("train").to(device)
    seen = torch.tensor(numbers.SEEN, device=device)
    tokens = to_device(tokens, device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = seen[torch.randperm(len(seen), generator=generator, device=device)[:batch]]  # no caption twice
        images = encoders.random_affine(pictures.draw(chosen, generator=generator), generator=generator)
        wording = torch.randint(len(TEMPLATES), (len(chosen),), generator=generator, device=device)
        za = F.normalize(model["image"](images), dim=1)
        zb = F.normalize(model["text"](tokens[chosen - 10, wording]), dim=1)
        return info_nce(za, zb, logit_scale=model["scale"]())

    watched = {"snapshot": None if snapshot is None else lambda: snapshot(model), "every": every}
    return model, training.fit_one_cycle(
        model, loss, steps=steps, rate=3e-3, decay=0.01, generator=generator, title="CLIP on numbers", **watched
    )


def numbers_model(seed: int) -> nn.ModuleDict:
    """A CLIP for 16×32 images with features to align: "features" (N, 192), "image" (features to (N, 64)), "text",
    "scale". LayerNorm keeps the features' lengths alike, so that they cannot flee from a domain head without end.

    Example:
        >>> model, pictures = numbers_model(0), torch.rand(2, 3, 16, 32)
        >>> model["image"](model["features"](pictures)).shape
        torch.Size([2, 64])
    """
    torch.manual_seed(seed)
    encoder = encoders.ImageEncoder((16, 32), channels=(24, 48, 48), embed_dim=192)
    return nn.ModuleDict(
        {
            "features": nn.Sequential(encoder, nn.LayerNorm(192), nn.ReLU()),
            "image": nn.Linear(192, 64),
            "text": encoders.TextEncoder(len(VOCABULARY)),
            "scale": LogitScale(),
        }
    )


# What somebody who has never seen the target may guess about it: a change of each training picture, in both domains.
GUESSES = {
    "grey levels": lambda images, dice: (images - dice(len(images), 1, 1, 1)).abs(),
    "blur": lambda images, dice: images.lerp(_of_nine(images), dice(len(images), 1, 1, 1)),
    "noise": lambda images, dice: (images + dice(len(images), 1, 1, 1) * (dice(*images.shape) - 0.5)).clamp(0, 1),
}


def _of_nine(images: Tensor) -> Tensor:
    """Each pixel the mean of itself and its neighbours."""
    return F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


def numbers_batches(
    strength: float,
    *,
    collection: str = "mnist",
    guess: str | None = None,
    on_target: bool = False,
    device: torch.device | str = "cpu",
) -> Batches:
    """Captioned numbers, clean with captions → on photographs without. In each step all 78 of `numbers.SEEN`, with
    any two scans of their digits and in any wording of TEMPLATES; in the target 78 of them at random.
    strength: of the photographs in the target, 0 to 1. collection: whose handwriting the target is, see
    `digits.load`; the source is MNIST's. guess: one of GUESSES, by a random amount for each image. on_target: the
    oracle's, with captions for pictures of the target.
    Raises ValueError for a bad strength, collection or guess.

    Example:
        >>> batches = numbers_batches(1.0)
        >>> (images, tokens), (plain, changed) = (draw(torch.Generator()) for draw in batches)
        >>> images.shape, len(tokens), plain.shape == changed.shape
        (torch.Size([78, 3, 16, 32]), 78, True)
    """
    if guess is not None:
        _validate.choice("guess", guess, tuple(GUESSES))
    clean = numbers.load("train").to(device)
    other = numbers.load("train", strength=strength, collection=collection).to(device)
    seen = torch.tensor(numbers.SEEN, device=device)
    tokens = to_device(TOKENS, device)

    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        images = encoders.random_affine(images, generator=generator)
        if guess is None:
            return images
        return GUESSES[guess](images, functools.partial(torch.rand, generator=generator, device=device))

    def source(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = seen[torch.randperm(len(seen), generator=generator, device=device)]
        wording = torch.randint(len(TEMPLATES), (len(seen),), generator=generator, device=device)
        images = (other if on_target else clean).draw(chosen, generator=generator)
        return change(images, generator), tokens[chosen - 10, wording]

    def target(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        unknown = torch.randint(len(seen), (len(seen),), generator=generator, device=device)
        images = other.draw(seen[unknown], generator=generator)
        return images, change(images, generator)

    return Batches(source, target)


def adapt_numbers(
    start: nn.ModuleDict, batches: Batches, *, steps: int = 600, **options
) -> tuple[nn.ModuleDict, training.Run]:
    """`adapt` of a `numbers_model` on `numbers_batches`, with the rate and decay of `train_numbers`. A first
    training on clean numbers alone is one as well, of 1,000 steps.

    Example:
        >>> start, batches = numbers_model(0), numbers_batches(1.0)
        >>> model, run = adapt_numbers(start, batches, steps=2, align={"mmd": 1.0})
        >>> sorted(run.history[0]), run.history[0]["mmd"]  # not in the first step: it is raised from 0
        (['contrastive', 'loss', 'mmd', 'step'], 0.0)
    """
    return adapt(start, batches, steps=steps, rate=3e-3, decay=0.01, **options)


EACH = {"mnist": 20, "uci": 8}  # held-out pictures of each number: then no scan is in more than five


def held_out_numbers(
    strength: float, *, collection: str = "mnist", each: int | None = None, seed: int = 3
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures to measure with: `each` of each number, of held-out scans dealt out like cards.

    Returns pictures (B, 3, 16, 32), what they show (B,), each number's in a row, and the scans (B, 2), see `deal`.

    Example:
        >>> pictures, shown, scans = held_out_numbers(0.6)
        >>> len(pictures), scans.unique(return_counts=True)[1].max().item()  # no scan is in more than 4
        (1800, 4)
    """
    shown = torch.arange(10, 100).repeat_interleave(each or EACH[collection])
    tables = numbers.load("test", strength=strength, collection=collection)
    pictures, scans = tables.deal(shown, generator=torch.Generator().manual_seed(seed))
    return pictures, shown, scans


@torch.no_grad()
def named(model: nn.ModuleDict, pictures: Tensor, shown: Tensor) -> Tensor:
    """Which pictures find their caption among all 90: (B,) of 0 and 1. pictures, shown: as of `held_out_numbers`.

    Example:
        >>> pictures, shown, _ = held_out_numbers(1.0, each=1)
        >>> named(numbers_model(0), pictures, shown).mean() < 0.1  # untrained, so at chance: 1 of 90
        tensor(True)
    """
    device = next(model.parameters()).device
    za = torch.cat(
        [F.normalize(model["image"](model["features"](part)), dim=1) for part in pictures.to(device).split(500)]
    )
    return hits(za, caption_vectors(model), k=(1,), targets=shown.to(device) - 10)[:, 0].float().cpu()


def caption_vectors(model: nn.ModuleDict, *, language: str = "en") -> Tensor:
    """The embeddings of the 90 captions, (90, 64), unit rows, on the model's device.

    Example:
        >>> vectors = caption_vectors(numbers_model(0), language="zh")
        >>> vectors.shape, vectors[0].norm().item()
        (torch.Size([90, 64]), 1.00)
    """
    tokens = VOCABULARY([numbers.caption(number, language=language) for number in numbers.NUMBERS])
    return F.normalize(model["text"](tokens.to(next(model.parameters()).device)), dim=1)


@torch.no_grad()
def measure_numbers(
    model: nn.ModuleDict, strength: float, *, collection: str = "mnist", each: int | None = None
) -> dict[str, float]:
    """`held_out_numbers`: MNIST's clean ones ("source"), and `collection`'s at this strength ("target").

    Returns, for both domains, R@1 among 90 captions ("... seen", "... unseen", by whether the number was trained on)
    and R@1 of a caption among 90 pictures ("... text to image"). "A-distance" of the features, "modality gap" of the
    source. And of the target's predictions among the 78 captions trained on, without a label: "entropy",
    "information", "density".

    Example:
        >>> found = measure_numbers(numbers_model(0), 1.0, each=2)  # untrained, so at chance: 1 of 90
        >>> found["source seen"] < 0.1, found["target unseen"] < 0.1
        (True, True)
    """
    model.eval()
    device = next(model.parameters()).device
    is_seen = torch.isin(torch.arange(10, 100), torch.tensor(numbers.SEEN))
    texts = caption_vectors(model).cpu()
    result, features = {}, {}
    for domain, of, s, seed in (("source", "mnist", 0.0, 2), ("target", collection, strength, 3)):
        pictures, shown, _ = held_out_numbers(s, collection=of, each=each, seed=seed)
        features[domain] = torch.cat([model["features"](part).cpu() for part in pictures.to(device).split(500)])
        za = F.normalize(model["image"](features[domain].to(device)).cpu(), dim=1)
        right = hits(za, texts, k=(1,), targets=shown - 10)[:, 0].double().view(90, -1)
        result[f"{domain} seen"] = right[is_seen].mean().item()
        result[f"{domain} unseen"] = right[~is_seen].mean().item()
        images = za.view(90, -1, 64)
        found = [hits(texts, gallery, k=(1,)).double().mean() for gallery in images.unbind(1)]
        result[f"{domain} text to image"] = torch.stack(found).mean().item()
        if domain == "source":
            result["modality gap"] = space.modality_gap(za, texts).size.item()
    logits = model["scale"]().cpu() * images[is_seen].flatten(0, 1) @ texts[is_seen].T
    result["entropy"] = dann.entropy(logits).item()
    result["information"] = dann.information_maximisation(logits).item()
    result["density"] = dann.soft_neighbourhood_density(logits).item()
    some = [part.view(90, -1, 192)[:, :5].flatten(0, 1) for part in features.values()]  # five pictures of each number
    result["A-distance"] = dann.proxy_a_distance(*some)
    return result
