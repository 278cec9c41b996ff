"""The training of lesson 06: a CLIP that has captions in one domain, and learns to work in another without."""

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate
from xlib.combined import combined_loss, self_training_loss
from xlib.course import training
from xlib.dann import dann_coeff, grad_reverse, information_maximisation


class Batches(NamedTuple):
    """What `adapt` draws in each step; both functions take a generator.

    source: images (n, ...) and what the text tower takes, for as many captions, no caption twice.
    target: pictures (m, ...) without captions, as they are and changed by augmentation.
    """

    source: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    target: Callable[[torch.Generator], tuple[Tensor, Tensor]]


def adapt(
    start: nn.ModuleDict,
    batches: Batches,
    *,
    steps: int,
    rate: float,
    decay: float,
    align: Mapping[str, float] = MappingProxyType({}),
    between: str = "domains",
    information: float = 0.0,
    guesses: float = 0.0,
    classes: Tensor | None = None,
    seed: int = 0,
    title: str = "adapting",
    snapshot: Callable[[nn.ModuleDict], Tensor] | None = None,
    every: int = 100,
    live: Callable[[training.Run], None] | None = None,
) -> tuple[nn.ModuleDict, training.Run]:
    """Train a copy of a CLIP on captioned source images, and on target images that have no captions.

    Both go through the image tower in one batch. Every term but the contrastive one is raised from 0 by `dann_coeff`.

    Args:
        start: parts "features" (images to (n, f)), "image" (features to embeddings), "text", "scale"; not changed.
        batches: see `Batches`; the target is drawn only where a term needs it.
        steps, rate, decay: of AdamW, with one cycle of the learning rate. seed: of the batches and of the domain
            head.
        align: {"dann": λ of its reversal}, {"mmd": the weight of MMD}, or both; 0 or above.
        between: "domains", whose features are brought together; or "modalities", the embeddings of images and texts.
        information, guesses: weights of `information_maximisation` of the target's captions, of `self_training_loss`.
        classes: what the text tower takes for the captions to guess among. None: those of the batch.
        snapshot: takes the model; every, live: as in `training.fit`.
    Returns the adapted model, in evaluation mode, and its Run.
    Raises TypeError or ValueError for a wrong align or between; whatever the terms raise, with the model and the Run
    of the last good step as the error's `model` and `run`.
    Relations: with no align, information or guesses, plain CLIP on the source: its loss is `info_nce` alone.

    Example:
        >>> from xlib.experiments.numbers import numbers_batches, numbers_model
        >>> options = {"steps": 2, "rate": 3e-3, "decay": 0.01, "align": {"dann": 0.3, "mmd": 1.0}}
        >>> model, run = adapt(numbers_model(0), numbers_batches(1.0), **options)
        >>> sorted(run.history[0])
        ['contrastive', 'domain', 'loss', 'mmd', 'step']
    """
    if not isinstance(align, Mapping):
        raise TypeError(f"align must map names to weights, as {{'dann': 0.3}} does, got {align!r}")
    for name, weight in align.items():
        _validate.choice("align", name, ("dann", "mmd"))
        if _validate.number(f"align[{name!r}]", weight) < 0:
            raise ValueError(f"align[{name!r}] must be 0 or above, got {weight}")
    _validate.choice("between", between, ("domains", "modalities"))
    torch.manual_seed(seed)
    model = copy.deepcopy(start)
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        model.eval()
        features = model["features"](batches.source(torch.Generator(device).manual_seed(seed))[0])
        width = (model["image"](features) if between == "modalities" else features).shape[1]
    model["domain"] = nn.Sequential(nn.Linear(width, 100), nn.ReLU(), nn.Linear(100, 2)).to(device)
    needs_target = bool((align and between == "domains") or information or guesses)

    def loss(step: int) -> dict[str, Tensor]:
        ramp = dann_coeff(step / steps)
        images, words = batches.source(generator)
        n = len(images)
        if needs_target:
            plain, changed = batches.target(generator)
            images = torch.cat([images, changed])
        features = model["features"](images)
        za, zb = F.normalize(model["image"](features), dim=1), F.normalize(model["text"](words), dim=1)
        both = torch.cat([za[:n], zb]) if between == "modalities" else features
        side = (torch.arange(len(both), device=device) >= n).long()
        terms = combined_loss(
            za[:n],
            zb,
            model["domain"](grad_reverse(both, ramp * align["dann"])) if "dann" in align else None,
            side if align else None,
            logit_scale=model["scale"](),
            features=both if "mmd" in align else None,
            mmd_coeff=ramp * align.get("mmd", 0.0),
        )
        if information or guesses:
            captions = zb if classes is None else F.normalize(model["text"](classes), dim=1)
            logits = compared(za[n:], captions)
        if information:
            terms["information"] = -ramp * information * information_maximisation(logits)
        if guesses:
            terms["guesses"] = ramp * guesses * self_training_loss(guess(plain, captions), logits)
        return terms

    @torch.no_grad()
    def guess(images: Tensor, captions: Tensor) -> Tensor:
        model.eval()
        z = F.normalize(model["image"](model["features"](images)), dim=1)
        model.train()
        return compared(z, captions)

    def compared(z: Tensor, captions: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):  # in 16 bits a logit near 100 is a multiple of one half
            return model["scale"]().detach() * z.float() @ captions.float().T

    watched = {"snapshot": None if snapshot is None else lambda: snapshot(model), "every": every, "live": live}
    return model, training.fit_one_cycle(
        model, loss, steps=steps, rate=rate, decay=decay, generator=generator, title=title, **watched
    )
