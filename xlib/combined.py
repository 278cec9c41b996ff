"""Contrast across modalities, and align across domains: InfoNCE with an adversarial term, or MMD, or both."""

import torch
import torch.nn.functional as F
from torch import Tensor

from xlib import _validate
from xlib.contrastive import info_nce
from xlib.dann import SOURCE, TARGET, domain_loss
from xlib.mmd import LADDER, median_bandwidth, mmd2, mmd2_by_label


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
    """The terms of one training step, by name; their sum is what `course.training.fit` minimises.

        contrastive  InfoNCE(za, zb), both directions                       pairs: source images and their captions
        domain       the domain head's loss, with weight 1                  where domain_logits are given
        mmd          mmd_coeff * MMD²(features of source, of target)        where features are given

    A step with both, of source images, their captions, and target images without any:

        features = encoder.features(torch.cat([source_images, target_images]))
        domain_logits = head(grad_reverse(features, coeff))                 # λ = coeff stands here, and only here
        za, zb = F.normalize(project(features[:n]), dim=1), F.normalize(text(tokens), dim=1)
        combined_loss(za, zb, domain_logits, domain_labels, logit_scale=scale(), features=features, mmd_coeff=...)

    What differs from the naive version, -mean(sum(za * zb)) + lambda_ * cross_entropy(predictions, domain_labels):

    * Negatives. The naive one is lowest when all vectors are the same one; here every other pair pushes back.
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
        mmd_coeff: 0 or above, the weight of MMD (the unbiased one, five bandwidths about the median), see `mmd_loss`.
    Returns: scalars, float32 at least: "contrastive", and "domain" and "mmd" where asked for, at coefficient 0 too.
    Raises: TypeError or ValueError that names the argument.
    Relations: the terms are `info_nce`, `domain_loss` and mmd_coeff * `mmd_loss` of rows by label; their sources too.

    Example:
        >>> z, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> terms = combined_loss(z[:2], z[:2], torch.zeros(4, 2), labels, logit_scale=1.0, features=z, mmd_coeff=0.5)
        >>> {name: term.item() for name, term in terms.items()}  # a domain head that only guesses: log 2
        {'contrastive': 0.313, 'domain': 0.693, 'mmd': 0.000}
    """
    coeff = _validate.number("mmd_coeff", mmd_coeff)
    if _validate.reads_values(coeff) and coeff < 0:
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
        source, target = domain_labels == SOURCE, domain_labels == TARGET  # (M,) each
        known = _validate.reads_values(domain_labels)  # or else no shape may depend on how many rows are the source's
    if domain_logits is not None and known:
        terms["domain"] = domain_loss(domain_logits[source], domain_logits[target])
    elif domain_logits is not None:
        log_p = domain_logits.to(torch.promote_types(domain_logits.dtype, torch.float32)).log_softmax(dim=1)
        own = torch.stack([source, target], dim=1)
        terms["domain"] = -((log_p * own).sum(dim=0) / own.sum(dim=0)).mean()  # domain_loss, without a cut
    if features is not None:
        if known:
            squared = mmd_loss(features[source], features[target])
        else:
            squared = mmd2_by_label(features, domain_labels, bandwidths=_bandwidths(features[:1], features[1:]))
        terms["mmd"] = coeff * squared
    return terms


def mmd_loss(x: Tensor, y: Tensor) -> Tensor:
    """MMD² as a term of a training: `mmd2`, and a number too where features coincide, which `mmd2` refuses.

    In training they may for a while: where the units of a ReLU are dead, many rows are one point, and the median of
    all distances is 0. σ is then the median distance of those pairs that do not coincide. Where all rows are one
    point, MMD² is 0, and so is its gradient.

    Args: x (n, d), y (m, d), two rows of each at least; floating, finite, same dtype and device.
    Returns: a scalar with a gradient; in float32 at least.
    Raises: TypeError or ValueError that names the argument.
    Relations: `mmd2(x, y)` wherever that has a value.

    Example:
        >>> x, y = torch.zeros(4, 1), torch.tensor([[0.0], [1.0], [1.0]])  # 11 of 21 pairs coincide, 10 are 1 apart
        >>> mmd_loss(x, y).item(), mmd2(x, y, bandwidths=[0.5, 0.5**0.5, 1, 2**0.5, 2]).item()
        (0.297, 0.297)
    """
    _validate.embeddings("x", x)
    _validate.embeddings("y", y, like=x, like_name="x", same="width")
    return mmd2(x, y, bandwidths=_bandwidths(x, y))


@torch.no_grad()
def _bandwidths(x: Tensor, y: Tensor) -> list[float] | list[Tensor]:
    """Those of `mmd2`, about the median distance; where that is nothing, about that of the pairs that differ."""
    z = torch.cat([x, y]).detach().to(torch.promote_types(x.dtype, torch.float32))
    unit = z.abs().amax().clamp(min=torch.finfo(z.dtype).tiny)
    z = z / unit  # or else squares of 1e30 overflow
    rounding = 4 * torch.finfo(z.dtype).eps * torch.linalg.vector_norm(z, dim=1).median()
    least = rounding.clamp(min=1e-12)
    try:
        sigma = median_bandwidth(x, y)
    except ValueError:  # where a look costs nothing it says that this is 0
        sigma = torch.zeros_like(unit)
    if not _validate.reads_values(sigma) or sigma <= least * unit:
        z = z[:: -(-len(z) // 2048)]
        distances = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").flatten().sort().values
        differ = (distances > least).sum()
        middle = len(distances) - differ + (differ - 1).div(2, rounding_mode="floor")  # or, of none, the last
        usual = torch.where(differ > 0, distances.gather(0, middle[None])[0], 1.0)
        sigma = torch.where(sigma > least * unit, sigma, usual * unit)
    if _validate.reads_values(sigma):
        sigma = sigma.item()
    return [sigma * step for step in LADDER]


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
    if _validate.reads_values(labels) and (found := labels.unique().tolist()) != [SOURCE, TARGET]:
        raise ValueError(f"domain_labels must hold 0 (source) and 1 (target), both of them, got {found}")


def self_training_loss(plain: Tensor, changed: Tensor, *, threshold: float = 0.9) -> Tensor:
    """Learn from one's own guesses: what the model is sure of in a picture as it is, it is to say of a changed one.

        mean over all N rows of  [max softmax(plain[i]) >= threshold] * cross_entropy(changed[i], argmax plain[i])

    The guess is a label, and gets no gradient. Rows that are not sure count as 0 and stay in the mean, so the loss
    is small while the model knows little. A guess can be sure and wrong: the loss then teaches the mistake.

    Args: plain, changed: (N, C) logits of the same N unlabelled pictures, floating, same dtype and device; threshold,
    the least probability of a guess that counts, above 0 and at most 1.
    Returns: a scalar with a gradient in `changed`; in float32 at least.
    Raises: TypeError or ValueError that names the argument.
    Relations: `F.cross_entropy(changed, plain.argmax(dim=1))` where all rows are sure, as with threshold 1 / C.
    Source: Sohn et al. 2020 (FixMatch, arXiv 2001.07685).

    Example:
        >>> plain, changed = torch.tensor([[4.0, 0.0], [0.5, 0.0]]), torch.zeros(2, 2)  # guesses at .98 and .62
        >>> [self_training_loss(plain, changed, threshold=threshold).item() for threshold in (0.5, 0.9, 0.99)]
        [0.693, 0.347, 0.000]
    """
    _validate.embeddings("plain", plain)
    _validate.embeddings("changed", changed, like=plain, like_name="plain", same="shape")
    if _validate.reads_values(found := _validate.positive("threshold", threshold)) and found > 1:
        raise ValueError(f"threshold must be a probability, at most 1, got {threshold}")
    wide = torch.promote_types(plain.dtype, torch.float32)
    sure, guess = plain.detach().to(wide).softmax(dim=1).max(dim=1)  # (N,) each
    return (F.cross_entropy(changed.to(wide), guess, reduction="none") * (sure >= threshold)).mean()
