"""Retrieval: how often is the right row among the most similar ones, and how sure is that?"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from xlib import _validate


class Recall(NamedTuple):
    """A share of queries from 0 to 1, and its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def retrieval(
    za: Tensor,
    zb: Tensor,
    *,
    k: Sequence[int] = (1, 5, 10),
    targets: Tensor | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> dict[int, Recall]:
    """Recall at k: for which share of the queries `za` is the right row of `zb` among the k most similar?

    Similarity is the dot product, of vectors as they come. What is returned is the expectation over random orders of
    rows of equal similarity (up to rounding): a collapsed model gets k / M, as chance does, and not 1.

    Args:
        za, zb: (N, d) queries and (M, d) gallery. For the other direction, exchange the two.
        k: the ranks to report, whole numbers from 1 on; a k above M counts as M.
        targets: (N,) int64, the right row of zb for each query; may repeat. Default: row i for query i (then N = M).
        resamples, level: of the percentile bootstrap over queries (Efron 1979). It says how much the score would
            vary with other queries of this kind, not with another training run: for that, train with several seeds.
        generator: of the bootstrap, on the CPU; default: a fresh one with seed 0.
    Returns: {k: Recall(value, low, high)}. Raises: TypeError or ValueError that names the argument.
    Relations: k = 1 with `clip.zero_shot_weights` as zb and labels as targets is accuracy, if no two cosines tie.

    Example:
        >>> images, texts, same = torch.eye(4), torch.eye(4)[[0, 1, 3, 2]], torch.ones(4, 4)  # two texts exchanged
        >>> [retrieval(images, zb, k=[1])[1].value for zb in (images, texts, same)]
        [1.00, 0.50, 0.25]
    """
    _validate.embeddings("za", za, wait=True)
    _validate.embeddings("zb", zb, like=za, like_name="za", same="width", wait=True)
    if not isinstance(k, Sequence) or not k:
        raise TypeError(f"k must be a list of ranks, such as (1, 5, 10), got {k!r}")
    for rank in k:
        _validate.whole("k", rank, least=1)
    _validate.whole("resamples", resamples, least=1)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if targets is None:
        if len(za) != len(zb):
            raise ValueError(f"targets must be given when za has {len(za)} rows and zb has {len(zb)}")
        targets = torch.arange(len(za), device=za.device)
    _check_targets(targets, len(za), len(zb))
    with torch.autocast(za.device.type, enabled=False):
        ahead, level_with = _places(za.detach(), zb.detach(), targets.to(za.device))
    ranks = torch.tensor(list(k)).clamp(max=len(zb))
    hits = ((ranks - ahead[:, None]) / (1 + level_with[:, None])).clamp(0, 1)  # (N, len(k))
    return bootstrap(hits, k, resamples=resamples, level=level, generator=generator)


def bootstrap(
    hits: Tensor, k: Sequence[int], *, resamples: int, level: float, generator: torch.Generator | None = None
) -> dict[int, Recall]:
    """Mean and percentile interval, over queries, of hits (N, len(k)) in [0, 1]; the options as in `retrieval`.

    Relations: the interval is `scipy.stats.bootstrap`'s with method="percentile", up to the draws.

    Example:
        >>> hits = torch.tensor([[1.0], [1.0], [1.0], [0.0]])  # of four queries, at one rank
        >>> bootstrap(hits, [1], resamples=1000, level=0.95)
        {1: Recall(value=0.75, low=0.25, high=1.0)}
    """
    generator = generator or torch.Generator().manual_seed(0)
    draws = torch.stack(
        [hits[torch.randint(len(hits), (len(hits),), generator=generator)].mean(dim=0) for _ in range(resamples)]
    )
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype)
    low, high = draws.quantile(edges, dim=0)  # (len(k),) each
    return {rank: Recall(*(float(part[i]) for part in (hits.mean(dim=0), low, high))) for i, rank in enumerate(k)}


def _places(za: Tensor, zb: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For each query, how many rows are more similar than the right one, and how many others are just as similar.
    A thousand queries at a time, so that memory stays at 1000 times the gallery.

    A matrix product rounds equal dot products differently, depending on where in the table they stand. So "just as
    similar" means: no further apart than that rounding, about eps * sqrt(d) of the lengths' product.
    """
    wide = torch.promote_types(za.dtype, torch.float32)  # 16 bits would make ties of what is not equal
    za, zb = za.to(wide), zb.to(wide)
    length, rounding = zb.norm(dim=1), torch.finfo(wide).eps * math.sqrt(za.shape[1])
    if not torch.isfinite(2 * za.norm(dim=1).max() * length.max()):
        raise ValueError(f"za and zb must have dot products that {wide} can hold, got vectors that are too long")
    ahead, level_with = [], []
    for rows, right in zip(za.split(1000), targets.split(1000), strict=True):
        gap = rows @ zb.T  # (rows, M), of 1,000 rows at most
        gap -= gap.gather(1, right[:, None])
        slack = rounding * rows.norm(dim=1, keepdim=True) * (length + length[right, None])
        ahead.append((gap > slack).sum(dim=1))
        level_with.append((gap.abs() <= slack).sum(dim=1) - 1)
    return torch.cat(ahead).cpu().double(), torch.cat(level_with).cpu().double()


def _check_targets(targets: Tensor, queries: int, gallery: int) -> None:
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64:
        raise TypeError(f"targets must be an int64 tensor, got {getattr(targets, 'dtype', type(targets).__name__)}")
    if targets.shape != (queries,):
        raise ValueError(f"targets must have shape ({queries},), one a query, got {tuple(targets.shape)}")
    if targets.min() < 0 or targets.max() >= gallery:
        raise ValueError(
            f"targets must be rows of zb, 0 to {gallery - 1}, got {int(targets.min())} to {int(targets.max())}"
        )
