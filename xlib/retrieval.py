"""Retrieval: how often is the right row among the most similar ones, and how sure is that?"""

import math
import numbers
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from xlib import _sizes, _validate


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
    units: Tensor | None = None,
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
        units: int64, (N,) or (N, U), ids of what was sampled to make each query, such as the scans in a picture; see
            `bootstrap`. Default: each query was sampled by itself.
        resamples, level: of the percentile bootstrap (Efron 1979) over the units. It says how much the score would
            vary with other units of this kind, not with another training run: for that, train with several seeds.
        generator: of the bootstrap, on the CPU; default: a fresh one with seed 0.
    Returns: {k: Recall(value, low, high)}. Raises: TypeError or ValueError that names the argument.
    Relations: k = 1 with `clip.zero_shot_weights` as zb and labels as targets is accuracy, if no two cosines tie.

    Example:
        >>> images, texts, same = torch.eye(4), torch.eye(4)[[0, 1, 3, 2]], torch.ones(4, 4)  # two texts exchanged
        >>> [retrieval(images, zb, k=[1])[1].value for zb in (images, texts, same)]
        [1.00, 0.50, 0.25]
    """
    _check_interval(resamples, level)
    found = hits(za, zb, k=k, targets=targets)
    return bootstrap(found, k, units=units, resamples=resamples, level=level, generator=generator)


def hits(za: Tensor, zb: Tensor, *, k: Sequence[int] = (1, 5, 10), targets: Tensor | None = None) -> Tensor:
    """(N, len(k)) float64 on the CPU: for each query the chance that the right row is among the k most similar, which
    is 1 or 0 unless similarities tie. Arguments and errors as for `retrieval`.

    Relations: its mean over queries is `retrieval`'s value. The difference of two models' hits on the same queries,
    given to `bootstrap`, is what one gains on the other, with a paired interval.

    Example:
        >>> images, texts = torch.eye(4), torch.eye(4)[[0, 1, 3, 2]]  # two texts exchanged
        >>> hits(images, texts, k=[1])[:, 0]
        tensor([1., 1., 0., 0.], dtype=torch.float64)
    """
    _validate.embeddings("za", za, wait=True)
    _validate.embeddings("zb", zb, like=za, like_name="za", same="width", wait=True)
    _check_ranks(k)
    if targets is None:
        if len(za) != len(zb):
            raise ValueError(f"targets must be given when za has {len(za)} rows and zb has {len(zb)}")
        targets = torch.arange(len(za), device=za.device)
    _check_targets(targets, len(za), len(zb))
    with torch.autocast(za.device.type, enabled=False):
        ahead, level_with = _places(za.detach(), zb.detach(), targets.to(za.device))
    ranks = torch.tensor([min(rank, len(zb)) for rank in k])
    return ((ranks - ahead[:, None]) / (1 + level_with[:, None])).clamp(0, 1)


def bootstrap(
    hits: Tensor,
    k: Sequence[int],
    *,
    units: Tensor | None = None,
    resamples: int,
    level: float,
    generator: torch.Generator | None = None,
) -> dict[int, Recall]:
    """Mean and percentile interval of hits (N, len(k)), or of the differences of two methods' hits.

    An interval resamples what was sampled. Where several queries are made of one unit, they are not independent, and
    an interval that takes them so is too narrow. Each resample here draws as many units as there are, with
    replacement, and weights a query by how often its units were drawn: by the product, where it is made of several
    (the pigeonhole bootstrap: Owen 2007, The Annals of Applied Statistics 1(2), 386-411). It is careful rather than
    bold: where the luck of a query is its own and not that of its two units, the interval is √3 too wide.

    units: int64, (N,) or (N, U), on the CPU; a unit that a query has twice counts once. Default: `arange(N)`, the
        plain bootstrap over queries. resamples, level, generator: as in `retrieval`.
    Returns {k: Recall(value, low, high)}; no interval leaves the range of the hits.
    Raises TypeError or ValueError that names the argument.
    Relations: without units the interval is `scipy.stats.bootstrap`'s with method="percentile", up to the draws. With
    one unit a query it is that of resampling whole groups (clusters) of queries.

    Example:
        >>> hits = torch.tensor([[1.0], [1.0], [1.0], [0.0]])  # of four queries, at one rank
        >>> bootstrap(hits, [1], resamples=1000, level=0.95)
        {1: Recall(value=0.75, low=0.25, high=1.0)}
        >>> bootstrap(hits, [1], units=torch.tensor([0, 0, 0, 1]), resamples=1000, level=0.95)  # two scans, not four
        {1: Recall(value=0.75, low=0.0, high=1.0)}
    """
    _validate.embeddings("hits", hits, wait=True)
    _check_ranks(k)
    if hits.shape[1] != len(k):
        raise ValueError(f"hits must have a column for each of the {len(k)} ranks in k, got {tuple(hits.shape)}")
    _check_interval(resamples, level)
    size = _sizes.power_of_two(hits, wait=True)  # differences of anything may be given
    hits = hits.to(torch.promote_types(hits.dtype, torch.float32)) / size
    generator = generator or torch.Generator().manual_seed(0)
    drawn_from, members = _units(units, len(hits))
    draws = []
    for _ in range(100 * resamples):
        drawn = torch.randint(drawn_from, (drawn_from,), generator=generator)
        times = torch.cat([drawn.bincount(minlength=drawn_from), torch.ones(1, dtype=torch.int64)])
        weight = times[members].prod(dim=1, dtype=hits.dtype)  # (N,)
        if weight.any():  # all units of some query were drawn; else this resample says nothing
            draws.append(weight @ hits / weight.sum())
        if len(draws) == resamples:
            break
    else:
        raise ValueError(
            f"units must be shared by more queries: resamples hardly ever hold all that one has, {units}"
        )
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=hits.dtype)
    ends = torch.stack(draws).quantile(edges, dim=0).clamp(hits.amin(dim=0), hits.amax(dim=0))  # but for rounding
    return {rank: Recall(*(float(part[i]) * size for part in (hits.mean(dim=0), *ends))) for i, rank in enumerate(k)}


def _units(units: Tensor | None, queries: int) -> tuple[int, Tensor]:
    """How many different units there are, and (N, U), for each query the numbers of its own, counted from 0; that
    many, one more than the last, in the place of a unit that the query has already."""
    if units is None:
        return queries, torch.arange(queries)[:, None]
    if not isinstance(units, Tensor) or units.dtype != torch.int64:
        raise TypeError(f"units must be an int64 tensor, got {getattr(units, 'dtype', type(units).__name__)}")
    if units.ndim not in (1, 2) or len(units) != queries or units.numel() == 0:
        raise ValueError(f"units must have shape ({queries},) or ({queries}, U), got {tuple(units.shape)}")
    different, members = units.cpu().view(queries, -1).unique(return_inverse=True)
    members = members.sort(dim=1).values
    again = torch.zeros_like(members, dtype=torch.bool)
    again[:, 1:] = members[:, 1:] == members[:, :-1]
    return len(different), members.masked_fill(again, len(different))


def _places(za: Tensor, zb: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For each query, how many rows are more similar than the right one, and how many others are just as similar.
    A thousand queries at a time, so that memory stays at 1000 times the gallery.

    A matrix product rounds equal dot products differently, depending on where in the table they stand. So "just as
    similar" means: no further apart than that rounding, see `_comparable`.
    """
    za, zb, length, rounding = _comparable(za, zb)
    ahead, level_with = [], []
    for rows, by, right in zip(za.split(1000), rounding.split(1000), targets.split(1000), strict=True):
        gap = rows @ zb.T  # (rows, M), of 1,000 rows at most
        gap -= gap.gather(1, right[:, None])
        slack = by[:, None] * (length + length[right, None])
        ahead.append((gap > slack).sum(dim=1))
        level_with.append((gap.abs() <= slack).sum(dim=1) - 1)
    return torch.cat(ahead).cpu().double(), torch.cat(level_with).cpu().double()


def _comparable(za: Tensor, zb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """za and zb so that dot products rank as before, and float holds them, whatever the vectors' size; the lengths
    of zb (M,); and by how much of them a dot product with each row of za may be off, (N,): eps * sqrt(d) of its own.
    """
    wide = torch.promote_types(za.dtype, torch.float32)  # 16 bits would make ties of what is not equal
    za, zb = za.to(wide), _sizes.usual(zb.to(wide), wait=True)
    za = za / _sizes.of_rows(za)  # a query's own length changes no rank
    rounding = torch.finfo(wide).eps * math.sqrt(za.shape[1])
    return za, zb, _sizes.lengths(zb), rounding * _sizes.lengths(za)


def _check_ranks(k: Sequence[int]) -> None:
    if not isinstance(k, Sequence) or not k:
        raise TypeError(f"k must be a list of ranks, such as (1, 5, 10), got {k!r}")
    for rank in k:
        _validate.whole("k", rank, least=1)


def _check_interval(resamples: int, level: float) -> None:
    _validate.whole("resamples", resamples, least=1)
    if not isinstance(level, numbers.Real):
        raise TypeError(f"level must be a number between 0 and 1, got {level!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")


def _check_targets(targets: Tensor, queries: int, gallery: int) -> None:
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64:
        raise TypeError(f"targets must be an int64 tensor, got {getattr(targets, 'dtype', type(targets).__name__)}")
    if targets.shape != (queries,):
        raise ValueError(f"targets must have shape ({queries},), one a query, got {tuple(targets.shape)}")
    if targets.min() < 0 or targets.max() >= gallery:
        raise ValueError(
            f"targets must be rows of zb, 0 to {gallery - 1}, got {int(targets.min())} to {int(targets.max())}"
        )
