"""Maximum mean discrepancy (MMD): are these two samples from one distribution, and if not, how far apart are they?

A kernel k says how alike two points are. MMD compares three averages of it: within x, within y, and across,

    MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y) = | mean embedding of x - mean embedding of y |².

The kernel is Gaussian, k(a, b) = exp(-|a - b|² / (2 σ²)), and σ is called the bandwidth. Several bandwidths mean the
average of their kernels, which spares you from betting on one: what one σ cannot tell apart another one can.

In all of this module x (n, d) and y (m, d) are floating, finite, of one dtype and on one device; n and m may differ.
16-bit input is computed in float32, under autocast too, and results come in float32; float64 stays float64.
Wrong input raises a TypeError or ValueError that names the argument.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import combinations_with_replacement, pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from xlib import _sizes, _validate
from xlib.progress import tqdm

Bandwidths = float | Iterable[float] | Tensor | None
Number = float | Tensor

LADDER = tuple(2 ** (step / 2) for step in (-2, -1, 0, 1, 2))  # times the median: what bandwidths=None means
MEDIAN_ROWS = 2048  # up to here the median is over all pairs
NEAR = 150  # √2 σ from the middle: beyond, rounding of |a|² + |b|² - 2 a·b would show
TILE = 512  # rows and columns of the kernel matrix that are in memory at a time
SPLITS = 2**24  # entries of the table of permutations that are in memory at a time


@torch.no_grad()
def median_bandwidth(x: Tensor, y: Tensor) -> Tensor:
    """The median heuristic: σ = the median distance between two different rows of x and y pooled.

    Pooled, so that it does not know which row came from where (or else a permutation test would not be valid); and a
    constant, for a loss must not be lowered by stretching the ruler. Above 2,048 rows it takes 2,048 of them,
    evenly spaced by distance from the mean: no order of rows matters, nothing is random, and the error is about 1%.

    Args: x (n, d), y (m, d). Returns: a scalar without gradient, above 0.
    Raises: ValueError where half of all pairs coincide, too: their median says nothing about the rest.
    Relations: up to 2,048 rows in all, `np.median(scipy.spatial.distance.pdist(rows))`.
    Source: Gretton et al. 2012 (JMLR 13); what it does and does not do: Garreau et al. 2017 (arXiv 1707.07269).

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[10.0]])  # distances 1, 9 and 10
        >>> median_bandwidth(x, y).item(), median_bandwidth(100 * x, 100 * y).item()
        (9.0, 900.0)
    """
    rows = torch.cat(_samples(x, y, least=1)).detach()
    if len(rows) > MEDIAN_ROWS:
        unit = rows / rows.abs().amax()  # or else sums of 1e37 overflow
        order = torch.linalg.vector_norm(unit - unit.mean(dim=0), dim=1).argsort()
        places = torch.arange(MEDIAN_ROWS, device=rows.device) * (len(rows) - 1) // (MEDIAN_ROWS - 1)
        rows = rows[order[places]]
    median = _sizes.held(_sizes.median_distance(rows), x=x, y=y)
    if _validate.reads_values(median) and median == 0:
        pairs = len(rows) * (len(rows) - 1) // 2
        raise ValueError(f"x and y must not coincide in half of their {pairs} pairs: their median distance is 0")
    return median


def mmd2(
    x: Tensor,
    y: Tensor,
    *,
    bandwidths: Bandwidths = None,
    estimator: str = "unbiased",
    features: int = 1024,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The squared maximum mean discrepancy between the distributions that x and y were drawn from.

        biased    mean over all i, j of k(x[i], x[j]) + k(y[i], y[j]) - 2 k(x[i], y[j]): the squared distance of the
                  mean embeddings. Above 0 even where the distributions are the same, for k(x[i], x[i]) = 1.
        unbiased  the same without i = j inside x and inside y. Right on average, so negative at times, most often
                  where the distributions are the same.
        linear    k(x, x') + k(y, y') - k(x, y') - k(x', y), averaged over disjoint pairs of successive rows (the
                  first 2 ⌊min(n, m) / 2⌋ of each). O(n d) time, unbiased, and much noisier.
        rff       the biased one with random Fourier features for the embedding: O((n + m) d features) time, and
                  right on average over the features.

    Differentiable in x and y (once), not in bandwidths. unbiased, biased: O((n + m)² d) time, O((n + m) d) memory.

    Args:
        x, y: (n, d) and (m, d). biased and rff need one row of each, unbiased and linear two.
        bandwidths: σ, or several: above 0, in the units of x. None: median_bandwidth(x, y) times 1/2, 1/√2, 1, √2, 2.
            Steps of √2 or 2 are fastest: k with σ/√2 is the square of k with σ.
        estimator: "unbiased", "biased", "linear" or "rff".
        features, generator: for "rff" alone: how many random frequencies, and what draws them (it must be given).
    Returns: a scalar, from -2 to 2, and from 0 if biased or rff.
    Relations: biased = unbiased + (1 - mean k in x) / n + (1 - mean k in y) / m, means over i ≠ j. rff tends to
    biased with more features; σ² biased to `space.modality_gap(x, y).size`² with a wider σ, to which only means show.
    Source: Gretton et al. 2012 (JMLR 13), eq. 5 (biased), eq. 3 (unbiased), and its linear-time statistic; Rahimi &
    Recht 2007 (NIPS 20); several bandwidths as a loss: Long et al. 2015 (arXiv 1502.02791).

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> [mmd2(x, x + 0.0, bandwidths=1.0, estimator=e).item() for e in ("biased", "unbiased")]  # k(0, 1) = .607
        [0.000, -0.393]
    """
    _validate.choice("estimator", estimator, ("unbiased", "biased", "linear", "rff"))
    x, y = _samples(x, y, least=2 if estimator in ("unbiased", "linear") else 1)
    if estimator == "rff":
        _validate.whole("features", features, least=1)
        _generator(generator)
    z, rates = _scaled([x, y], *_bandwidths(bandwidths, x, y))  # (n + m, d)
    n, m = len(x), len(y)
    with torch.autocast(z.device.type, enabled=False):
        if estimator == "linear":
            value = _linear(z[:n], z[n:], rates)
        elif estimator == "rff":
            value = _random_features(z[:n], z[n:], rates, features, generator)
        elif estimator == "unbiased":
            value = _weighted_sum(z, n, rates, (1 / n / (n - 1), -1 / n / m, 1 / m / (m - 1)))
        else:
            value = _weighted_sum(z, n, rates, (1 / n**2, -1 / n / m, 1 / m**2))
            value = value + (1 / n + 1 / m)  # i = j: k = 1
    return value.to(x.dtype)


def mmd2_by_label(z: Tensor, labels: Tensor, *, bandwidths: Bandwidths = None) -> Tensor:
    """mmd2(z[labels == 0], z[labels == 1]) where nobody may wait to hear how many rows these are: all shapes are z's.

    Args: z (rows, d); labels (rows,), on its device; bandwidths as in `mmd2`. Fewer than two rows of a label: NaN.
    Relations: `mmd2` of the two parts, unbiased, value and gradient.

    Example:
        >>> z, labels = torch.tensor([[0.0], [3.0], [1.0], [5.0]]), torch.tensor([0, 1, 0, 1])
        >>> mmd2_by_label(z, labels).item(), mmd2(z[::2], z[1::2]).item()
        (0.714, 0.714)
    """
    x, y = _samples(z[:1], z[1:], least=1)  # any cut will do where rows are pooled
    dtype = x.dtype
    z, rates = _scaled([x, y], *_bandwidths(bandwidths, x, y))
    x, y = sides = torch.stack([labels == 0, labels == 1]).to(z)
    n, m = x.sum(), y.sum()
    partners = torch.stack([x / n / (n - 1) - y / n / m, y / m / (m - 1) - x / n / m])
    with torch.autocast(z.device.type, enabled=False):
        return _weighted_sum(z, 0, rates, (1.0, 1.0, 1.0), sides, partners).to(dtype)


class PermutationTest(NamedTuple):
    """What `permutation_test` found."""

    statistic: Tensor  # scalar: the unbiased MMD² of x and y
    p_value: float  # above 0, at most 1
    null: Tensor  # (permutations,): the same of the pooled rows, dealt out at random


@torch.no_grad()
def permutation_test(
    x: Tensor,
    y: Tensor,
    *,
    groups: tuple[Tensor, Tensor] | None = None,
    bandwidths: Bandwidths = None,
    permutations: int = 999,
    generator: torch.Generator,
) -> PermutationTest:
    """How often would MMD² be as large as here if all rows came from one distribution?

    If they do, which rows are called x is arbitrary: deal the pooled rows out again at random, `permutations` times.

        p = (1 + number of null values >= statistic) / (1 + permutations)

    The given split is one of the possible ones, so it counts, and p is never 0: P(p <= α) <= α under the null, for
    any n and m. The mean of the unbiased statistic over all splits is exactly 0. Bandwidths must not depend on which
    row is x's: the default does not. One that was picked because it gave a small p makes the p-value wrong.

    groups: were x and y made with so many rows of each digit, a random split is less balanced than the given one, and
    p too large. With their groups the rows are dealt out within each: every split keeps how many of each x has. The
    question is then whether, *within each group*, x and y come from one distribution.
    The kernel matrix is made once: O((n + m)² (d + permutations)) time, O((n + m) (d + permutations)) memory.

    Args: x (n, d) and y (m, d), two rows of each at least; groups (n,) and (m,), int64, the labels of their rows, one
    at least in both; bandwidths as in `mmd2`; permutations at least 1.
    Returns: PermutationTest(statistic, p_value, null).
    Raises: TypeError or ValueError, before any work, for a wrong argument.
    Relations: the statistic and each null value are unbiased `mmd2` of the rows as given and as dealt out. One group
    of all rows changes nothing, nor do other names for the groups.
    Source: Gretton et al. 2012 (JMLR 13); the two ones in p: Phipson & Smyth 2010 (SAGMB 9, 39); groups, there called
    blocks: Winkler et al. 2015 (NeuroImage 123).

    Example:
        >>> parity = torch.arange(16) % 2  # odd rows lie far from even ones, and y beside x
        >>> x = torch.arange(8.0).repeat_interleave(2)[:, None] + 100 * parity[:, None]
        >>> for groups in (None, (parity, parity)):
        ...     print(permutation_test(x, x + 6, groups=groups, generator=torch.Generator().manual_seed(0)).p_value)
        0.710 0.001
    """
    samples = _samples(x, y, least=2, wait=True)
    _validate.whole("permutations", permutations, least=1)
    _generator(generator)
    labels = (None, None) if groups is None else _groups(groups, *samples)
    # Symmetric, and with a small x nothing cancels.
    (x, x_groups), (y, y_groups) = sorted(zip(samples, labels, strict=True), key=lambda side: len(side[0]))
    z, rates = _scaled([x, y], *_bandwidths(bandwidths, x, y))  # (n + m, d)
    given, values, step = x.new_zeros(1, len(z)), [], max(1, SPLITS // len(z))
    given[0, : len(x)] = 1
    member = given  # whether the first, the second, ... of a random order goes to x
    if groups is not None:  # the order within each group instead, one group below the other
        pooled = torch.cat([x_groups, y_groups])
        member = given[:, pooled.argsort(stable=True)]
    for start in range(0, permutations, step):
        noise = torch.rand(min(step, permutations - start), len(z), generator=generator, device=generator.device)
        order = noise.argsort(dim=1).to(z.device)  # (s, n + m), s splits
        if groups is not None:
            order = order.gather(1, pooled[order].argsort(dim=1, stable=True))
        splits = torch.cat([given, x.new_zeros(noise.shape).scatter_(1, order, member.expand_as(order))])
        with torch.autocast(z.device.type, enabled=False):
            block, size = _split_values(z, len(x), rates, splits)
        values.append(block[1:])
    statistic, null = block[0], torch.cat(values)
    # Few rows have few splits, and rows that coincide fewer: equal ones must not differ by rounding.
    ties = max(16 * torch.finfo(x.dtype).eps, 1e-10) * size[0]
    return PermutationTest(statistic, (1 + (null >= statistic - ties).sum().item()) / (1 + permutations), null)


@torch.no_grad()
def witness(points: Tensor, x: Tensor, y: Tensor, *, bandwidths: Bandwidths) -> Tensor:
    """Where do x and y differ? The witness function: mean k(point, x[i]) - mean k(point, y[j]).

    Positive where x is denser, negative where y is. Of all functions of its norm it tells x and y apart best.

    Args: points (p, d), x (n, d), y (m, d); bandwidths as in `mmd2`. Returns: (p,), without gradient.
    Relations: its mean over x less its mean over y is the biased `mmd2`. Source: Gretton et al. 2012 (JMLR 13).

    Example:
        >>> x, y, between = torch.zeros(1, 1), torch.full((1, 1), 4.0), torch.tensor([[0.0], [2.0], [4.0]])
        >>> witness(between, x, y, bandwidths=1.0).tolist()
        [1.00, 0.00, -1.00]
    """
    _validate.embeddings("points", points, wait=True)
    x_wide, y_wide = _samples(x, y, least=1, wait=True)
    _validate.embeddings("points", points, like=x, like_name="x", same="width")
    p = len(points)
    z, rates = _scaled([points.to(x_wide.dtype), x_wide, y_wide], *_bandwidths(bandwidths, x_wide, y_wide))
    weights = z.new_tensor([1 / len(x)] * len(x) + [-1 / len(y)] * len(y))
    values = z.new_zeros(p)
    with torch.autocast(z.device.type, enabled=False):
        for a, value in zip(z[:p].split(TILE), values.split(TILE), strict=True):
            for b, weight in zip(z[p:].split(TILE), weights.split(TILE), strict=True):
                value += _tile(a, b, rates)[0] @ weight
    return values.to(x_wide.dtype)


def coral(x: Tensor, y: Tensor) -> Tensor:
    """Deep CORAL: the squared distance between two covariance matrices, |C_x - C_y|²_F / (4 d²).

    It is blind to means and to all beyond second moments, and has no bandwidth. Covariances divide by n - 1.

    Args: x (n, d), y (m, d), two rows of each at least. Returns: a scalar, >= 0. O((n + m) d²) time, O(d²) memory.
    Relations: for n = m, (n / (n - 1))² / (4 d²) times the biased MMD² with kernel <a, b>², each sample off its mean.
    Source: Sun & Saenko 2016 (arXiv 1607.01719).

    Example:
        >>> x = torch.tensor([[-1.0], [1.0]])  # its variance is 2, that of 2 x is 8
        >>> coral(x, x + 7).item(), coral(x, 2 * x).item()
        (0.0, 9.0)
    """
    x, y = _samples(x, y, least=2)
    size = _sizes.power_of_two(x, y)  # or else sums of 1e38 overflow, and below fourth powers
    off = [_sizes.off_mean(sample / size) for sample in (x, y)]
    spread = _sizes.power_of_two(*off)
    with torch.autocast(x.device.type, enabled=False):  # torch.cov would make a GPU wait
        of_x, of_y = (rows.T @ rows / (len(rows) - 1) for rows in (sample / spread for sample in off))
        unit = (of_x - of_y).square().sum() / (4 * x.shape[1] ** 2)
    value = unit * (size * spread) * (size * spread) * (size * spread) * (size * spread)
    rounding = (16 * torch.finfo(value.dtype).eps) ** 2  # of `unit`: less than this may be a 0
    return _sizes.held(value, parts=unit - rounding, x=x, y=y)


# -- arguments


def _samples(x: Tensor, y: Tensor, *, least: int, wait: bool = False) -> tuple[Tensor, Tensor]:
    """x and y in float32 at least, once they are known to be two samples of `least` rows or more."""
    _validate.embeddings("x", x, wait=wait)
    _validate.embeddings("y", y, like=x, like_name="x", same="width", wait=wait)
    for name, sample in (("x", x), ("y", y)):
        if len(sample) < least:
            raise ValueError(f"{name} must have at least {least} rows here, got {len(sample)}")
    wide = torch.promote_types(x.dtype, torch.float32)
    return x.to(wide), y.to(wide)


def _bandwidths(bandwidths: Bandwidths, x: Tensor, y: Tensor) -> tuple[Number, list[Number]]:
    """A unit and, widest first, the bandwidths in it; scalar tensors where floats would have to be waited for."""
    if bandwidths is None:
        median = _validate.positive("bandwidths", median_bandwidth(x, y))
        if isinstance(median, Tensor):
            return median, list(LADDER[::-1])
        bandwidths = [median * step for step in LADDER]
    if isinstance(bandwidths, Tensor):
        bandwidths = bandwidths.flatten().unbind()
    sigmas = bandwidths if isinstance(bandwidths, Iterable) else [bandwidths]
    sigmas = [_validate.positive("bandwidths", sigma) for sigma in sigmas]
    if not sigmas:
        raise ValueError("bandwidths must hold one number at least, got none")
    if all(map(_validate.reads_values, sigmas)):
        return 1.0, sorted(sigmas, reverse=True)
    return 1.0, list(torch.stack([x.new_ones(()) * sigma for sigma in sigmas]).to(x).sort(descending=True)[0])


def _groups(groups: tuple[Tensor, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The labels of the rows of x and of y, once they are known to be that, and to leave something to deal out."""
    if not isinstance(groups, tuple | list) or len(groups) != 2:
        what = f"{len(groups)} things" if isinstance(groups, tuple | list) else type(groups).__name__
        raise TypeError(f"groups must be a pair of tensors, labels of the rows of x and of y, got {what}")
    for part, name, sample in zip(groups, "xy", (x, y), strict=True):
        if not isinstance(part, Tensor) or part.dtype != torch.int64:
            what = part.dtype if isinstance(part, Tensor) else type(part).__name__
            raise TypeError(f"groups must be int64 tensors, got {what} for {name}")
        if part.shape != sample.shape[:1]:
            shape = tuple(part.shape)
            raise ValueError(f"groups must hold a label for each row, got shape {shape} for {len(sample)} of {name}")
        if part.device != sample.device:
            raise ValueError(f"groups must be on x's device {x.device}, got {part.device} for {name}")
    if not torch.isin(*groups).any():
        raise ValueError("groups must have a label that x and y share, or else nothing can be dealt out and p is 1")
    return tuple(groups)


def _generator(generator: torch.Generator | None) -> None:
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, for nothing is random unseen, got {generator!r}")


def _scaled(samples: list[Tensor], unit: Number, sigmas: list[Number]) -> tuple[Tensor, list[Number]]:
    """All rows, one below the other, moved and scaled so that kernel r is exp(-rates[r] * squared distance).

    Moved to their mean, because |a|² + |b|² - 2 a·b cancels badly far from the origin; rates[0] is 1. Where some lie
    far from it all the same, on a CPU: to their median, for a single one may have dragged the mean away; in float64.
    """
    z = torch.cat(samples)
    size = _sizes.power_of_two(z)
    if size != 1:
        z, unit = z / size, unit / size
    factor = 1 / (math.sqrt(2) * (unit * sigmas[0]))
    z = z.sub_(z.detach().mean(dim=0)).mul_(factor)
    rates = [(sigmas[0] / sigma) ** 2 for sigma in sigmas]
    longest = torch.linalg.vector_norm(z.detach(), dim=1).amax() * (sigmas[0] / sigmas[-1])
    if not _validate.reads_values(longest):
        return z, rates
    if not (2 * longest).square().isfinite():
        narrow = unit * sigmas[-1] * size
        raise ValueError(
            f"bandwidths must not be so small that distances / σ overflow in {z.dtype}, got {narrow:.3g} for "
            f"distances up to {2 * longest * narrow:.3g}"
        )
    if longest > NEAR:
        rows = torch.cat(samples).double() / size
        z = (rows - rows.detach().median(dim=0).values) * factor
    return z, rates


# -- the estimators, on rows from _scaled


def _linear(x: Tensor, y: Tensor, rates: list[Number]) -> Tensor:
    half = min(len(x), len(y)) // 2
    x, x2, y, y2 = x[: 2 * half : 2], x[1 : 2 * half : 2], y[: 2 * half : 2], y[1 : 2 * half : 2]

    def k(a: Tensor, b: Tensor) -> Tensor:
        squared = (a - b).square().sum(dim=1)  # (pairs,)
        return sum((-rate * squared).exp() for rate in rates) / len(rates)

    return (k(x, x2) + k(y, y2) - k(x, y2) - k(x2, y)).mean()


def _random_features(x: Tensor, y: Tensor, rates: list[Number], features: int, generator: torch.Generator) -> Tensor:
    """exp(-r |a - b|²) is the mean of cos(w·(a - b)) = cos w·a cos w·b + sin w·a sin w·b over w from N(0, 2 r)."""
    draw = {"generator": generator, "device": generator.device}
    which = torch.randint(len(rates), (features,), **draw)  # an average of kernels: a mixture of frequencies
    w = torch.randn(x.shape[1], features, **draw, dtype=x.dtype)  # (d, features)
    which, w = (drawn.to(x.device, non_blocking=True) for drawn in (which, w))
    w *= (2 * torch.stack([x.new_ones(()) * rate for rate in rates])[which]).sqrt()

    def mean_embedding(sample: Tensor) -> Tensor:
        waves = (rows @ w for rows in sample.split(TILE))
        return sum(torch.cat([wave.cos().sum(dim=0), wave.sin().sum(dim=0)]) for wave in waves) / len(sample)

    return (mean_embedding(x) - mean_embedding(y)).square().sum() / features


def _weighted_sum(
    z: Tensor,
    n: int,
    rates: list[Number],
    weights: tuple[float, float, float],
    sides: Tensor | None = None,
    partners: Tensor | None = None,
) -> Tensor:
    """The sum of weight * k(z[i], z[j]) over i ≠ j; weights for both among the first n rows, one, and none.
    Where sides and partners (2, rows) are given, each pair has a weight of its own too, sides[:, i] · partners[:, j].
    """
    wanted = (torch.is_grad_enabled() and z.requires_grad) or _validate.traced(z)
    function = _WeightedSum if torch.compiler.is_compiling() else _ForwardToo
    return function.apply(z, n, rates, weights, sides, partners, wanted)[0]


class _WeightedSum(torch.autograd.Function):
    """The gradient of one number is as small as the input, so it is made on the way and no tile is kept or redone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z, n, rates, weights, sides, partners, wanted):
        total, gradient = 0.0, torch.zeros_like(z)
        for i, j, kernel, slope in _tiles(z, n, rates, want_slope=wanted):
            weight = weights[(i.start >= n) + (j.start >= n)]
            if sides is not None:
                own = (sides[:, i, None] * partners[:, None, j]).sum(dim=0)
                kernel, slope = kernel * own, slope * own[: len(slope)]
            part = kernel.sum()  # in 64 bits, for much of these sums cancels; MPS has them on the CPU alone
            part = (part.cpu() if part.device.type == "mps" else part).double()
            total = total + weight * (1 + (i != j)) * part
            if wanted:  # d|a - b|² = 2 (a - b)·(da - db), and each pair counts twice
                slope *= 4 * weight
                for a, b, rows in ((i, j, slope), (j, i, slope.T))[: 1 + (i != j)]:
                    gradient[a] += rows.sum(dim=1, keepdim=True) * z[a] - rows @ z[b]
        return total.to(z), gradient

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream, _):
        return upstream * ctx.saved_tensors[0], *[None] * 6


class _ForwardToo(_WeightedSum):
    """With forward mode; apart, because `torch.compile` does not take a function that has it."""

    @staticmethod
    def setup_context(ctx, inputs, output):
        _WeightedSum.setup_context(ctx, inputs, output)
        ctx.save_for_forward(output[1])

    @staticmethod
    def jvp(ctx, tangent, *_):
        return (ctx.saved_tensors[0] * tangent).sum(), None


def _split_values(z: Tensor, n: int, rates: list[Number], splits: Tensor) -> tuple[Tensor, Tensor]:
    """The unbiased MMD² of each split (s, rows of z) of the rows into n of x (1) and the others of y (0); and the
    size of what was added and subtracted for it. The kernel in 64 bits, where there are any: or else rows that
    coincide would not have the same in common with all others."""
    m = len(z) - n
    of_row, xx = splits.new_zeros(len(z)), torch.zeros_like(splits[:, 0])
    for i, j, kernel, _ in _tiles(z if z.device.type == "mps" else z.double(), n, rates):
        kernel = kernel.to(splits)
        xx += (1 + (i != j)) * ((splits[:, i] @ kernel) * splits[:, j]).sum(dim=1)
        of_row[i] += kernel.sum(dim=1)
        if i != j:
            of_row[j] += kernel.sum(dim=0)
    xy = splits @ of_row - xx  # (s,)
    yy = of_row.sum() - 2 * xy - xx
    within, across = xx / n / (n - 1) + yy / m / (m - 1), 2 * xy / n / m
    return within - across, within + across


# -- the kernel matrix, a tile at a time


def _tiles(z: Tensor, n: int, rates: list[Number], *, want_slope: bool = False) -> Iterator[tuple]:
    """Slices i <= j of the rows, and _tile of them: the other half of the matrix is its mirror image.

    The diagonal is 0, and no tile has rows of both samples, x (the first n) and y.
    """
    starts = [*range(0, n, TILE), *range(n, len(z), TILE)]
    parts = [slice(start, stop) for start, stop in pairwise([*starts, len(z)])]
    pairs = list(combinations_with_replacement(parts, 2))
    quiet = len(pairs) < 200 or torch.compiler.is_compiling()
    for i, j in pairs if quiet else tqdm(pairs, leave=False, delay=1):
        yield i, j, *_tile(z[i], z[j], rates, same=i == j, want_slope=want_slope)


def _tile(
    a: Tensor, b: Tensor, rates: list[Number], *, same: bool = False, want_slope: bool = False
) -> tuple[Tensor, Tensor]:
    """The average of exp(-rate * |a[i] - b[j]|²) over rates, and, if wanted, its derivative by the squared distance.

    `same`: a is b, and a point and itself are no pair.
    """
    squared = _sizes.squared_distances(a, b, near=NEAR**2 / rates[-1])  # (len(a), len(b))
    if same:
        squared.fill_diagonal_(math.inf)
    kernel, slope = torch.zeros_like(squared), torch.zeros_like(squared[: len(a) * want_slope])
    for rate, squarings in zip(rates, _squarings(rates, torch.finfo(squared.dtype).eps), strict=True):
        if squarings is None:
            power = (-rate * squared).exp_()
        for _ in range(squarings or 0):
            power.square_()
        kernel.add_(power, alpha=1 / len(rates))
        if want_slope:
            weighted, factor = (power * rate, 1) if isinstance(rate, Tensor) else (power, rate)
            slope.add_(weighted, alpha=-factor / len(rates))
    return kernel, slope


def _squarings(rates: list[Number], eps: float) -> list[int | None]:
    """How often to square each kernel to get the next: exp(-2 r) = exp(-r)². None: take a new exponential.

    One exponential serves five kernels, two squarings each, at most: each squaring doubles its relative error.
    """
    if isinstance(rates[0], Tensor):
        return [None] * len(rates)
    plan = [None]
    for before, rate in pairwise(rates):
        doublings = math.log2(rate / before)
        fits = len(plan) % 5 and abs(doublings - round(doublings)) <= 8 * eps and doublings < 2.5
        plan.append(round(doublings) if fits else None)
    return plan
