"""The two trainings that several lessons and `make results` share. Lesson 03 builds them step by step."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import clip, training
from xlib.contrastive import LogitScale, info_nce
from xlib.data import numbers

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
