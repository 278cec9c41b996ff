"""Pictures, captions and sounds of numbers in one space, where pictures and sounds never meet in training."""

import functools
from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, encoders, space
from xlib.contrastive import info_nce
from xlib.course import training
from xlib.course.runtime import to_device
from xlib.data import numbers, speech
from xlib.experiments.numbers import (
    TEMPLATES,
    TOKENS,
    VOCABULARY,
    caption_vectors,
    held_out_numbers,
    in_words,
    scale_at,
)
from xlib.retrieval import hits

PAIRS = ("picture-text", "sound-text", "sound-picture")
SEEN = torch.tensor(numbers.SEEN)
_IN = {  # the templates of each language
    language: torch.tensor([i for i, each in enumerate(TEMPLATES) if (in_words(10, each)[-1] == "十") == chinese])
    for language, chinese in (("en", False), ("zh", True))
}


class Heard(NamedTuple):
    """What a tower hears of N clips: features (N, 1, 40, 64), see `speech.log_mel`; numbers (N,) and voices (N,)."""

    features: Tensor
    numbers: Tensor
    voices: Tensor


@functools.cache
def heard(voices: str = "train", *, language: str = "en") -> Heard:
    """The clips of `speech.load`, as features; the same tensors at each call.

    Example:
        >>> clips = heard("test")
        >>> clips.features.shape[1:], len(clips.numbers) == len(clips.voices)
        (torch.Size([1, 40, 64]), True)
    """
    spoken = speech.load(voices, language=language)
    features = speech.log_mel([spoken.clip(row) for row in range(len(spoken.numbers))])
    return Heard(features, spoken.numbers, spoken.voices)


def changed(features: Tensor, *, generator: torch.Generator) -> Tensor:
    """Each clip's features a little slower or faster, earlier or later, higher or lower, and with noise.

    features: (B, 1, 40, 64) float, on the generator's device. Stretched by up to an eighth and moved by up to a
    twelfth of their size, `encoders.random_affine` without a turn; and normal noise of a standard deviation of up to
    0.3, drawn for each clip. Returns the same shape.

    Example:
        >>> still = torch.zeros(2, 1, 40, 64)
        >>> changed(still, generator=torch.Generator().manual_seed(0)).std() < 0.3
        tensor(True)
    """
    features = encoders.random_affine(features, degrees=0, stretch=1 / 8, shift=1 / 12, generator=generator)
    loud = 0.3 * torch.rand(len(features), 1, 1, 1, generator=generator, device=features.device)
    return features + loud * torch.randn(features.shape, generator=generator, device=features.device)


def three_towers(seed: int, *, temperature: float | None = 0.1) -> nn.ModuleDict:
    """Parts "image" (N, 3, 16, 32), "text" (tokens) and "sound" (N, 1, 40, 64), each to (N, 64), and "scale".

    temperature: fixed at this value, from 1e-12 to 1e12; None learns it, from 0.07. Raises ValueError or TypeError.

    Example:
        >>> towers = three_towers(0)
        >>> towers["sound"](heard("test").features[:2]).shape, 1 / towers["scale"]().item()
        (torch.Size([2, 64]), 0.1)
    """
    scale = scale_at(temperature)
    torch.manual_seed(seed)
    return nn.ModuleDict(
        {
            "image": encoders.ImageEncoder((16, 32)),
            "text": encoders.TextEncoder(len(VOCABULARY)),
            "sound": encoders.ImageEncoder((speech.BANDS, speech.MOMENTS), channels=(16, 32, 48), inputs=1),
            "scale": scale,
        }
    )


class ThreeBatches(NamedTuple):
    """What `train_three` draws, each by a function of a generator: the 78 numbers of `numbers.SEEN`, each once.

    pictures: images (78, 3, 16, 32) and tokens (78, L) of their captions. sounds: features (78, 1, 40, 64) and
    tokens, each caption in its sound's language. both: features and images of the same numbers, for the oracle.
    """

    pictures: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    sounds: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    both: Callable[[torch.Generator], tuple[Tensor, Tensor]]


def three_batches(
    *, languages: tuple[str, ...] = numbers.LANGUAGES, device: torch.device | str = "cpu"
) -> ThreeBatches:
    """Pictures of any two training scans, captions in any wording, sounds of any training voice in these languages.

    Example:
        >>> batches = three_batches()
        >>> sounds, tokens = batches.sounds(torch.Generator().manual_seed(0))
        >>> sounds.shape, len(tokens)
        (torch.Size([78, 1, 40, 64]), 78)
    """
    written = numbers.load("train").to(device)
    tokens, seen = to_device(TOKENS, device), to_device(SEEN, device)
    spoken = [by_number(heard("train", language=language), device) for language in languages]
    wordings = [to_device(_IN[language], device) for language in languages]

    def any_of(count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(count, (len(seen),), generator=generator, device=device)

    def shuffled(generator: torch.Generator) -> Tensor:
        return seen[torch.randperm(len(seen), generator=generator, device=device)]

    def image(chosen: Tensor, generator: torch.Generator) -> Tensor:
        return encoders.random_affine(written.draw(chosen, generator=generator), generator=generator)

    def sound(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features, and a wording for each in its language."""
        features = torch.stack([each[chosen - 10, any_of(each.shape[1], generator)] for each in spoken])
        wording = torch.stack([each[any_of(len(each), generator)] for each in wordings])  # (languages, 78)
        which, row = any_of(len(spoken), generator), torch.arange(len(seen), device=device)
        return changed(features[which, row], generator=generator), wording[which, row]

    def pictures(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = shuffled(generator)
        return image(chosen, generator), tokens[chosen - 10, any_of(len(TEMPLATES), generator)]

    def sounds(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = shuffled(generator)
        features, wording = sound(chosen, generator)
        return features, tokens[chosen - 10, wording]

    def both(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = shuffled(generator)
        features, _ = sound(chosen, generator)
        return features, image(chosen, generator)

    return ThreeBatches(pictures, sounds, both)


def train_three(
    *,
    seed: int = 0,
    steps: int = 500,
    pairs: Collection[str] = ("picture-text", "sound-text"),
    temperature: float | None = 0.1,
    languages: tuple[str, ...] = numbers.LANGUAGES,
    device: torch.device | str = "cpu",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 60,
) -> tuple[nn.ModuleDict, training.Run]:
    """InfoNCE between the modalities that are paired, all of a step added up: seen numbers alone, training voices.

    What a step draws for each kind of pair: `three_batches`.
    pairs: one or more of PAIRS. Without "sound-picture", pictures and sounds never meet; each meets captions alone.
    temperature: see `three_towers`. languages: of the sounds, "en", "zh" or both. snapshot: takes the model, see
    `training.fit`.
    Returns the towers, in evaluation mode on `device`, and the Run, with the loss of each kind of pair by its name.
    Raises ValueError for other pairs, languages or temperatures.
    Source: ImageBind (Girdhar et al. 2023, arXiv 2305.05665), which pairs five modalities with pictures alone.

    Example:
        >>> towers, run = train_three(steps=2)
        >>> sorted(run.history[0]), towers["sound"](heard("test").features[:1]).shape
        (['loss', 'picture-text', 'sound-text', 'step'], torch.Size([1, 64]))
    """
    if isinstance(pairs, str) or not pairs:
        raise ValueError(f"pairs must hold at least one of {PAIRS}, got {pairs!r}")
    for pair in pairs:
        _validate.choice("pairs", pair, PAIRS)
    if isinstance(languages, str) or not languages:
        raise ValueError(f"languages must hold at least one of {numbers.LANGUAGES}, got {languages!r}")
    for language in languages:
        _validate.choice("languages", language, numbers.LANGUAGES)
    towers = three_towers(seed, temperature=temperature).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    batches = three_batches(languages=languages, device=device)

    def unit(part: str, inputs: Tensor) -> Tensor:
        return F.normalize(towers[part](inputs), dim=1)

    def loss(step: int) -> dict[str, Tensor]:
        terms, scale = {}, towers["scale"]()
        if "picture-text" in pairs:
            images, tokens = batches.pictures(generator)
            terms["picture-text"] = info_nce(unit("image", images), unit("text", tokens), logit_scale=scale)
        if "sound-text" in pairs:
            sounds, tokens = batches.sounds(generator)
            terms["sound-text"] = info_nce(unit("sound", sounds), unit("text", tokens), logit_scale=scale)
        if "sound-picture" in pairs:
            sounds, images = batches.both(generator)
            terms["sound-picture"] = info_nce(unit("sound", sounds), unit("image", images), logit_scale=scale)
        return terms

    watched = {"snapshot": None if snapshot is None else lambda: snapshot(towers), "every": every}
    return towers, training.fit_one_cycle(
        towers, loss, steps=steps, rate=3e-3, decay=0.01, generator=generator, title="three towers", **watched
    )


def by_number(clips: Heard, device: torch.device | str) -> Tensor:
    """(90, clips of each number, 1, 40, 64): row i holds number 10 + i. All numbers must be said equally often.

    Example:
        >>> clips = heard("test")
        >>> by_number(clips, "cpu").shape[0], len(clips.numbers) % 90
        (90, 0)
    """
    order = clips.numbers.argsort(stable=True)
    return to_device(clips.features[order].unflatten(0, (len(numbers.NUMBERS), -1)), device)


@torch.no_grad()
def measure_three(
    towers: nn.ModuleDict, *, voices: str = "test", language: str = "en", galleries: int = 5
) -> dict[str, float]:
    """R@1 among 90, of voices and scans that were held out: "... seen" and "... unseen", by whether the number was
    trained on.

    "sound to text", "picture to text": among the captions in this language and in English. "sound to picture": among
    90 pictures, one of each number. "sound to text to picture": the detour, from the caption that was nearest to the
    sound. "picture to sound": among 90 clips, one voice's. All that asks for pictures is the mean over `galleries` of
    them; "picture to sound" over all voices' takes.
    "centred sound to picture": by dot products, with one mean taken out of the sounds and one out of the pictures.
    And of seen numbers: "gap", `space.modality_gap` of the sounds and the pictures; "cosine ...", the mean cosine of
    the two that belong together, from "sound to text", "picture to text" and "sound to picture".
    voices, language: as of `speech.load`.

    Example:
        >>> found = measure_three(three_towers(0), galleries=1)  # untrained, so at chance: 1 of 90
        >>> found["sound to picture seen"] < 0.1, found["sound to text unseen"] < 0.1
        (True, True)
    """
    towers.eval()
    device = next(towers.parameters()).device
    pictures, shown, _ = held_out_numbers(0.0)
    clips = heard(voices, language=language)
    z = {
        "picture": torch.cat([towers["image"](part.to(device)).cpu() for part in pictures.split(500)]),
        "sound": torch.cat([towers["sound"](part.to(device)).cpu() for part in clips.features.split(500)]),
    }
    z = {name: F.normalize(rows, dim=1) for name, rows in z.items()}
    own, english = (caption_vectors(towers, language=each).cpu() for each in (language, "en"))
    walls = z["picture"].unflatten(0, (len(numbers.NUMBERS), -1))[:, :galleries].unbind(1)  # (90, 64) each
    nearest = own[(z["sound"] @ own.T).argmax(dim=1)]
    # One voice's first take, its second, the next voice's first ...: each has all numbers in order.
    takes = len(clips.numbers) // (len(numbers.NUMBERS) * len(clips.voices.unique()))
    choirs = z["sound"].view(-1, len(numbers.NUMBERS), takes, z["sound"].shape[1]).transpose(1, 2).flatten(0, 1)
    asked = {
        "picture to text": (z["picture"], [english], shown),
        "sound to text": (z["sound"], [own], clips.numbers),
        "sound to picture": (z["sound"], walls, clips.numbers),
        "sound to text to picture": (nearest, walls, clips.numbers),
        "picture to sound": (torch.cat(walls), choirs, torch.tensor(numbers.NUMBERS).repeat(galleries)),
        "centred sound to picture": (
            z["sound"] - z["sound"].mean(dim=0),
            [wall - z["picture"].mean(dim=0) for wall in walls],
            clips.numbers,
        ),
    }
    result = {}
    for name, (queries, found, what) in asked.items():
        right = torch.stack([hits(queries, gallery, k=(1,), targets=what - 10)[:, 0] for gallery in found]).mean(
            dim=0
        )
        is_seen = torch.isin(what, SEEN)
        result[f"{name} seen"] = right[is_seen].mean().item()
        result[f"{name} unseen"] = right[~is_seen].mean().item()
    is_seen, walls = torch.isin(clips.numbers, SEEN), torch.stack(walls)
    sounds, spoken = z["sound"][is_seen], clips.numbers[is_seen] - 10
    pictures = walls[:, SEEN - 10]
    result["gap"] = space.modality_gap(sounds, z["picture"][torch.isin(shown, SEEN)]).size.item()
    result["cosine sound to text"] = (sounds * own[spoken]).sum(dim=1).mean().item()
    result["cosine picture to text"] = (pictures * english[SEEN - 10]).sum(dim=2).mean().item()
    result["cosine sound to picture"] = (sounds * walls[:, spoken]).sum(dim=2).mean().item()
    return result
