"""Contrast across modalities, and align across domains: InfoNCE with an adversarial term, or MMD, or both."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, training
from xlib.contrastive import info_nce
from xlib.dann import SOURCE, TARGET, dann_coeff, domain_loss, grad_reverse, information_maximisation
from xlib.mmd import mmd2


def combined_loss(
    za: Tensor,
    zb: Tensor,
    domain_logits: Tensor | None = None,
    domain_labels: Tensor | None = None,
    *,
    logit_scale: float | Tensor,
    features: Tensor | None = None,
    mmd_coeff: float = 1.0,
) -> dict[str, Tensor]:
    """The terms of one training step, by name; their sum is what `training.fit` minimises.

        contrastive  InfoNCE(za, zb), both directions                       pairs: source images and their captions
        domain       the domain head's loss, with weight 1                  where domain_logits are given
        mmd          mmd_coeff * MMD²(features of source, of target)        where features are given

    A step with both, of source images, their captions, and target images without any:

        features = encoder.features(torch.cat([source_images, target_images]))
        domain_logits = head(grad_reverse(features, coeff))                 # λ = coeff stands here, and only here
        za, zb = F.normalize(project(features[:n]), dim=1), F.normalize(text(tokens), dim=1)
        combined_loss(za, zb, domain_logits, domain_labels, logit_scale=scale(), features=features, mmd_coeff=...)

    What differs from the naive version, -mean(sum(za * zb)) + lambda_ * cross_entropy(predictions, domain_labels):

    * Negatives. The naive one is lowest when all vectors are the same one; here every other pair of the batch
      pushes back.
    * A scale. Without one, and with cosines, even perfect features cannot be confident (`info_nce_floor`); without
      cosines, the naive one falls for ever as vectors grow.
    * Reversal. The naive one teaches the features to be told apart. A finished logit cannot be mended: a minus sign
      here would turn the domain head round as well. So the logits must come from `grad_reverse(features, coeff)`.
    * λ once. The reversal has the coefficient λ already, so the domain loss has weight 1: features climb λ times its
      gradient, and the head descends it at full speed. The history shows the loss itself, to compare with log 2.
    * Balance. Each domain counts one half in the domain loss, and once in MMD, whatever their shares of the batch.

    Nothing says that domains are photographs and drawings: give images and texts as `features`, 0 for image and 1 for
    text, and the modalities are aligned.

    Args:
        za, zb: (N, d), paired by row, used as they come; source pairs alone, for the target's captions are not known.
        domain_logits: (M, 2), from reversed features of both domains; None leaves the term out.
        domain_labels: (M,) int64, 0 for source and 1 for target, both present; for domain_logits and for features.
        logit_scale: above 0; the scale itself, as in `info_nce`.
        features: (M, f), *not* reversed: MMD is lowered by both sides as it is. None leaves the term out.
        mmd_coeff: 0 or above, the weight of MMD (the unbiased one, five bandwidths about the median).

    Returns: scalars, float32 at least: "contrastive", and "domain" and "mmd" where asked for, at coefficient 0 too.
    Raises: TypeError or ValueError that names the argument.
    Source: the terms' own, see `info_nce`, `domain_loss` and `mmd2`.
    """
    coeff = _validate.number("mmd_coeff", mmd_coeff)
    if coeff < 0:
        raise ValueError(f"mmd_coeff must be 0 or above, got {mmd_coeff}")
    given = {
        name: rows for name, rows in (("domain_logits", domain_logits), ("features", features)) if rows is not None
    }
    for name, rows in given.items():
        _validate.embeddings(name, rows)
        _check_labels(domain_labels, rows, name)
    if domain_logits is not None and domain_logits.shape[1] != 2:
        raise ValueError(f"domain_logits must have 2 columns, one a domain, got shape {tuple(domain_logits.shape)}")
    if not given and domain_labels is not None:
        raise ValueError("domain_labels were given, but neither domain_logits nor features to use them with")
    terms = {"contrastive": info_nce(za, zb, logit_scale=logit_scale)}
    if given:
        source, target = domain_labels == SOURCE, domain_labels == TARGET
    if domain_logits is not None:
        terms["domain"] = domain_loss(domain_logits[source], domain_logits[target])
    if features is not None:
        terms["mmd"] = coeff * mmd2(features[source], features[target])
    return terms


def _check_labels(labels: Tensor | None, rows: Tensor, name: str) -> None:
    """Raise unless there is a 0 or a 1 for each row, and both occur."""
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        came = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"domain_labels must be an int64 tensor, 0 for source and 1 for target, got {came}")
    if labels.shape != (len(rows),):
        raise ValueError(
            f"domain_labels must have shape ({len(rows)},), one a row of {name}, got {tuple(labels.shape)}"
        )
    if labels.device != rows.device:
        raise ValueError(f"domain_labels must be on the device of {name}, {rows.device}, got {labels.device}")
    found = labels.unique().tolist()
    if found != [SOURCE, TARGET]:
        raise ValueError(f"domain_labels must hold 0 (source) and 1 (target), both of them, got {found}")


def self_training_loss(plain: Tensor, changed: Tensor, *, threshold: float = 0.9) -> Tensor:
    """Learn from one's own guesses: what the model is sure of in a picture as it is, it is to say of a changed one.

        mean over all N rows of  [max softmax(plain[i]) >= threshold] * cross_entropy(changed[i], argmax plain[i])

    The guess is a label, and gets no gradient. Rows that are not sure count as 0 and stay in the mean, so the loss
    is small while the model knows little. A guess can be sure and wrong: the loss then teaches the mistake.

    Args:
        plain, changed: (N, C) logits of the same N unlabelled pictures, floating, same dtype and device.
        threshold: least probability of a guess that counts, above 0 and at most 1.

    Returns: a scalar with a gradient in `changed`; in float32 at least.
    Raises: TypeError or ValueError that names the argument.
    Source: Sohn et al. 2020 (FixMatch, arXiv 2001.07685).
    """
    _validate.embeddings("plain", plain)
    _validate.embeddings("changed", changed, like=plain, like_name="plain", same="shape")
    if _validate.positive("threshold", threshold) > 1:
        raise ValueError(f"threshold must be a probability, at most 1, got {threshold}")
    wide = torch.promote_types(plain.dtype, torch.float32)
    sure, guess = plain.detach().to(wide).softmax(dim=1).max(dim=1)
    return (F.cross_entropy(changed.to(wide), guess, reduction="none") * (sure >= threshold)).mean()


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
    align: tuple[str, ...] = (),
    between: str = "domains",
    coeff: float = 0.3,
    information: float = 0.0,
    guesses: float = 0.0,
    classes: Tensor | None = None,
    seed: int = 0,
    title: str = "adapting",
) -> tuple[nn.ModuleDict, training.Run]:
    """Train a copy of a CLIP on captioned source images, and on target images that have no captions.

    Both go through the image tower in one batch. Every term but the contrastive one is raised from 0 by `dann_coeff`.

    Args:
        start: parts "features" (images to (n, f)), "image" (features to embeddings), "text", "scale"; not changed.
        batches: see `Batches`; the target is drawn only where a term needs it.
        steps, rate, decay: of AdamW, with one cycle of the learning rate.
        align: any of "dann" and "mmd".
        between: "domains", whose features are brought together; or "modalities", the embeddings of images and texts.
        coeff: λ of the reversal. MMD has weight 1.
        information: weight of `information_maximisation` of the target's captions.
        guesses: weight of `self_training_loss`.
        classes: what the text tower takes for the captions to guess among. None: those of the batch.
        seed: of the batches and of the domain head.

    Returns the adapted model, in evaluation mode, and its Run.
    Raises ValueError for an unknown name in align or between; whatever the terms raise.
    """
    for name in align:
        _validate.choice("align", name, ("dann", "mmd"))
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
            model["domain"](grad_reverse(both, ramp * coeff)) if "dann" in align else None,
            side if align else None,
            logit_scale=model["scale"](),
            features=both if "mmd" in align else None,
            mmd_coeff=ramp,
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

    return model, training.fit_one_cycle(
        model, loss, steps=steps, rate=rate, decay=decay, generator=generator, title=title
    )
