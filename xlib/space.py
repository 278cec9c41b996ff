"""A shared space: how to measure it, and two ways to build one in closed form.

Embeddings are rows. `za` and `zb` are paired: row i of one belongs to row i of the other. Only
`cosine_similarity_matrix` normalises, as its name says; alignment, uniformity and the modality gap are *defined* for
unit vectors, and take what they are given: pass `F.normalize(z, dim=1)` unless you want to see what happens without.
16-bit embeddings are computed, and results returned, in float32. Wrong input raises a TypeError or ValueError that
names the argument; so do numbers of a size at which the result cannot be held.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from xlib import _sizes, _validate


def cosine_similarity_matrix(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The cosine of the angle between rows, S[i, j] = <a[i], b[j]> / (|a[i]| |b[j]|): 1 same direction, -1 opposite.

    Args: a (N, d) and b (M, d), floating, same dtype and device. Returns: (N, M), within [-1, 1] up to rounding.
    Raises: ValueError for a row of zeros, too: it points nowhere, and calling its cosine 0 would hide a dead encoder.
    On a GPU, where a look would mean waiting, its cosines are NaN.
    Relations: `a @ b.T` of unit vectors; the diagonal is `F.cosine_similarity(a, b)`.

    Example:
        >>> a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[9.0, 0.0], [0.0, 5.0], [-1.0, 1.0]])
        >>> cosine_similarity_matrix(a, b)  # lengths do not count
        tensor([[ 1.000,  0.000, -0.707]])
    """
    _validate.embeddings("a", a)
    _validate.embeddings("b", b, like=a, like_name="a", same="width")
    return _unit("a", a) @ _unit("b", b).T  # (N, M)


def alignment(za: torch.Tensor, zb: torch.Tensor, *, alpha: float = 2) -> torch.Tensor:
    """How far apart the two halves of a pair lie: the mean of |za[i] - zb[i]|^alpha. Lower is better, 0 is perfect.

    A space can be perfectly aligned and useless, with everything in one point; read it beside `uniformity`.

    Args: za, zb (N, d), floating, same dtype and device; alpha above 0.
    Returns: a scalar. With alpha < 1 its gradient is infinite where a pair coincides.
    Relations: 2 - 2 * (mean cosine of the pairs) of unit vectors at alpha = 2: 0 to 4, and 2 for unrelated pairs.
    Source: Wang & Isola 2020 (arXiv 2005.10242), the definition of L_align in section 4.1.

    Example:
        >>> za, zb = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])  # cosines 1 and 0.8
        >>> alignment(za, zb).item(), alignment(za, zb.flip(0)).item()
        (0.20, 1.40)
    """
    _validate.embeddings("za", za)
    _validate.embeddings("zb", zb, like=za, like_name="za")
    alpha = _validate.positive("alpha", alpha)
    distances = _sizes.lengths(_sizes.wide(za) - _sizes.wide(zb))  # (N,)
    return _sizes.held(distances.pow(alpha).mean(), parts=distances, za=za, zb=zb, alpha=alpha)


def uniformity(z: torch.Tensor, *, t: float = 2) -> torch.Tensor:
    """How evenly the points are spread: the log of the mean of exp(-t |z[i] - z[j]|²) over pairs i < j.

    Lower is better: 0 when all points coincide, about -2t when unit vectors spread evenly over a sphere of many
    dimensions, and -4t at the very least (all pairs opposite, which only two points can be).

    Args: z (N, d), floating, N >= 2; t above 0, in 1 / distance². Returns: a scalar, in O(N² d) time, O(N²) memory.
    Relations: exp(uniformity) is the mean inside a sample of unbiased `mmd.mmd2`, with bandwidth 1 / √(2t).
    Source: Wang & Isola 2020 (arXiv 2005.10242), the definition of L_uniform in section 4.1.

    Example:
        >>> corners, two = torch.eye(4), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # squared distances 2; and 4
        >>> [uniformity(z).item() for z in (corners[[0, 0]], corners, two)]
        [0.00, -4.00, -8.00]
    """
    _validate.embeddings("z", z)
    _at_least_two("z", z)
    home, t, z = z.device, _validate.positive("t", t), _sizes.wide(z)
    if home.type == "mps":  # has no gradient of cdist in torch 2.5
        z = z.cpu()
    near = z - z.mean(dim=0)
    rounding = t * torch.finfo(z.dtype).eps * near.detach().square().sum(dim=1).amax()
    if _validate.traced(z) or (_validate.reads_values(z) and rounding < 1e-5):
        with torch.autocast(z.device.type, enabled=False):
            squared = _sizes.squared_distances(near, near)  # (N, N)
    else:
        squared = _sizes.held(_sizes.exact_squared_distances(z, z), z=z, t=t)
    exponents = (-t * squared).fill_diagonal_(-math.inf)  # a point and itself are no pair
    log_mean = exponents.flatten().logsumexp(dim=0) - math.log(len(z) * (len(z) - 1))
    return _sizes.held(log_mean.to(home, z.dtype), z=z, t=t)


class ModalityGap(NamedTuple):
    """The arrow from the centroid of zb to the centroid of za, and its length."""

    vector: torch.Tensor  # (d,)
    size: torch.Tensor  # scalar


def modality_gap(za: torch.Tensor, zb: torch.Tensor) -> ModalityGap:
    """How far apart the two modalities' clouds lie: the difference of their centroids, and its length.

    From 0 to 2 for unit vectors. Pretrained CLIP has .82 on COCO: images and texts live in two separate cones,
    although each image is nearest to its own text *among texts*.

    Args: za (N, d) and zb (M, d), floating, same dtype and device.
    Returns: ModalityGap(vector, size), with vector = mean of za - mean of zb.
    Relations: size² is `alignment` of the centroids, at most that of the pairs, and the limit of σ² times biased
        `mmd.mmd2` for a wide bandwidth σ.
    Source: Liang et al. 2022 (arXiv 2203.02053), the gap of the embedding shift experiment.

    Example:
        >>> za, zb = torch.tensor([[0.8, 0.6], [0.8, -0.6]]), torch.tensor([[-0.6, 0.8], [-0.6, -0.8]])
        >>> modality_gap(za, zb)
        ModalityGap(vector=tensor([1.40, 0.00]), size=tensor(1.40))
    """
    _validate.embeddings("za", za)
    _validate.embeddings("zb", zb, like=za, like_name="za", same="width")
    size = _sizes.power_of_two(za, zb)  # or else sums of 1e38 overflow
    za_, zb_ = _sizes.wide(za) / size, _sizes.wide(zb) / size
    vector = za_.mean(dim=0) - zb_.mean(dim=0)  # (d,)
    if _validate.reads_values(vector) and vector.abs().max() < 1e-3 * zb_.mean(dim=0).abs().max():  # but for rounding
        vector = (za_ - zb_.mean(dim=0)).mean(dim=0) - (zb_ - zb_.mean(dim=0)).mean(dim=0)
    length = _sizes.lengths(vector[None])[0] * size
    return ModalityGap(vector * size, _sizes.held(length, za=za, zb=zb))


@torch.no_grad()
def procrustes(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The rotation, with or without a reflection, that carries the rows of a as near as possible to the rows of b.

        R = argmin |a R - b|_F  over R with R R' = 1:    a' b = U S V'  (SVD),    R = U V'

    It keeps every length and angle of a, so it can only line two spaces up, not repair either of them. It turns
    about the origin and centres nothing: take the means off first if a and b may be shifted against each other,
    `procrustes(a - a.mean(0), b - b.mean(0))`. Use it on new rows as `a_new @ R`.

    Args: a (N, d_a) and b (N, d_b), floating, same dtype and device, paired by row, d_a <= d_b. (With d_a > d_b
        dimensions must be thrown away, and there is no closed form; fit b to a, or reduce a by PCA first.)
    Returns: R (d_a, d_b), a constant without gradient. It is unique only where a' b has rank d_a.
    Relations: `weight_a @ weight_b.T` of `cca(dim=d, regularisation=0)` for white data, where both can turn only.
    Source: Schönemann 1966 (Psychometrika 31).

    Example:
        >>> a, quarter_turn = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> (procrustes(a, a @ quarter_turn) - quarter_turn).abs().max().item()  # the hidden turn is found
        0.000
    """
    _validate.embeddings("a", a, wait=True)
    _validate.embeddings("b", b, like=a, like_name="a", same="rows", wait=True)
    if a.shape[1] > b.shape[1]:
        raise ValueError(f"a must have at most b's {b.shape[1]} dimensions, got {a.shape[1]}")
    a, b = (_sizes.usual(_sizes.wide(x), wait=True) for x in (a, b))  # lengths do not turn anything
    u, _, vt = torch.linalg.svd(a.T @ b, full_matrices=False)  # (d_a, d_a) and (d_a, d_b)
    return u @ vt


@dataclass(frozen=True, eq=False)
class CCA:
    """Two linear maps into a shared space, made by `cca`; use them on new rows with `project_a` and `project_b`.

    To let the surer directions count for more in a comparison, multiply both projections by `correlations`.
    """

    mean_a: torch.Tensor  # (d_a,)
    weight_a: torch.Tensor  # (d_a, dim)
    mean_b: torch.Tensor  # (d_b,)
    weight_b: torch.Tensor  # (d_b, dim)
    correlations: torch.Tensor  # (dim,), falling, from 0 to 1

    def project_a(self, a: torch.Tensor) -> torch.Tensor:
        """(N, d_a) -> (N, dim). On the fitted rows, without regularisation: uncorrelated columns of variance 1."""
        return _project("a", a, self.mean_a, self.weight_a)

    def project_b(self, b: torch.Tensor) -> torch.Tensor:
        """(N, d_b) -> (N, dim), comparable with `project_a` column by column."""
        return _project("b", b, self.mean_b, self.weight_b)


@torch.no_grad()
def cca(a: torch.Tensor, b: torch.Tensor, *, dim: int, regularisation: float = 0.1) -> CCA:
    """Canonical correlation analysis: the `dim` pairs of directions along which a and b correlate most.

    Whiten each side, so that no direction counts for more because it is long; then the SVD of the whitened
    cross-covariance pairs the directions, and its singular values are the canonical correlations:

        C_a^(-1/2) C_ab C_b^(-1/2) = P diag(correlations) Q',    weight_a = C_a^(-1/2) P,    weight_b = C_b^(-1/2) Q
        C_a = cov(a) + regularisation * (mean variance of a's dimensions) * identity,    C_b likewise

    With fewer rows than dimensions, and no regularisation, *every* pair of data sets correlates perfectly: whitening
    blows up chance patterns of tiny variance. Regularisation holds them down; "correlations" then are the shrunken
    ones, and columns have variances below 1.

    Args:
        a, b: (N, d_a) and (N, d_b), floating, same dtype and device, paired by row, N >= 2. Means are taken off.
        dim: number of directions, at most min(d_a, d_b, N - 1).
        regularisation: 0 (classical CCA; directions without variance are left out) or above.
    Returns: a CCA; its tensors are constants without gradient. Each pair of columns has an arbitrary common sign.
    Relations: for one column each, unregularised, the correlation is |Pearson's r|, `np.corrcoef`.
    Source: Hotelling 1936 (Biometrika 28); with the ridge, Vinod 1976 (J. Econometrics 4).

    Example:
        >>> a, b = torch.eye(3)[:, :2], torch.tensor([[5.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
        >>> [cca(a, b, dim=2, regularisation=r).correlations for r in (0.0, 0.1)]  # of three rows, chance makes 1
        [tensor([1.00, 1.00]), tensor([0.94, 0.40])]
    """
    _validate.embeddings("a", a, wait=True)
    _validate.embeddings("b", b, like=a, like_name="a", same="rows", wait=True)
    _at_least_two("a", a)
    _validate.whole("dim", dim, least=1, most=min(a.shape[1], b.shape[1], len(a) - 1))
    if _validate.number("regularisation", regularisation) < 0:
        raise ValueError(f"regularisation must be 0 or above, got {regularisation}")
    mean_a, whiten_a, scores_a = _whiten("a", _sizes.wide(a), regularisation)
    mean_b, whiten_b, scores_b = _whiten("b", _sizes.wide(b), regularisation)
    rank = min(scores_a.shape[1], scores_b.shape[1])
    if dim > rank:
        raise ValueError(f"dim must be at most {rank}, the smaller rank of a and b off their means, got {dim}")
    p, correlations, qt = torch.linalg.svd(scores_a.T @ scores_b, full_matrices=False)
    return CCA(mean_a, whiten_a @ p[:, :dim], mean_b, whiten_b @ qt[:dim].T, correlations[:dim].clamp(max=1.0))


def _whiten(name: str, x: torch.Tensor, regularisation: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mean (d,), the map (d, rank) that whitens rows off the mean, and the whitened rows (N, rank) / sqrt(N - 1).

    By SVD of the rows themselves: forming their covariance first would square its condition number.
    """
    size = _sizes.power_of_two(x, wait=True)
    x = x / size
    off = _sizes.off_mean(x)
    columns = _columns(x, off) if regularisation == 0 else torch.ones_like(off[0])  # (d,)
    u, s, vt = torch.linalg.svd(off / columns, full_matrices=False)
    kept = s > s[0] * max(x.shape) * torch.finfo(x.dtype).eps  # what is smaller is rounding
    u, s, vt = u[:, kept], s[kept], vt[kept]
    variance = s**2 / (len(x) - 1)
    ridged = (variance + regularisation * variance.sum() / x.shape[1]).sqrt()
    mean, weight = x.mean(dim=0) * size, vt.T / ridged / columns[:, None] / size
    return mean, _sizes.held(weight, **{name: x * size}), u * (variance.sqrt() / ridged)


def _columns(x: torch.Tensor, off: torch.Tensor) -> torch.Tensor:
    """(d,) what to divide x's columns by, which changes no correlation: 1, but where one is so small beside the
    others that it would be taken for their rounding."""
    largest = off.abs().amax(dim=0)
    noise = 4 * torch.finfo(x.dtype).eps * x.abs().amax(dim=0)  # of a constant
    return (largest / largest.max()).masked_fill((largest > largest.max() / 256) | (largest <= noise), 1.0)


def _project(name: str, x: torch.Tensor, mean: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    _validate.embeddings(name, x, wait=True)
    if x.shape[1] != len(mean):
        raise ValueError(f"{name} must have the {len(mean)} dimensions that were fitted, got {x.shape[1]}")
    return (_sizes.wide(x) - mean) @ weight


def _unit(name: str, x: torch.Tensor) -> torch.Tensor:
    """Rows of x at length 1."""
    x = _sizes.wide(x)
    largest = x.detach().abs().amax(dim=1, keepdim=True)
    if _validate.reads_values(x) and (largest == 0).any():
        row = (largest == 0).nonzero()[0, 0].item()
        raise ValueError(f"{name} must have no rows of zeros (no direction, no cosine), got one in row {row}")
    x = x / largest  # or else the squares of 1e30 overflow and those of 1e-30 vanish
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)


def _at_least_two(name: str, x: torch.Tensor) -> None:
    if len(x) < 2:
        raise ValueError(f"{name} must have at least 2 rows, got {len(x)}")
