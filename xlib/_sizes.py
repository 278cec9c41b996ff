"""Numbers of any size: so that squares of 1e25 do not end as infinity, nor those of 1e-25 as 0, without a word.

float32 reaches from 1e-38 to 3e38, and squares leave it from 1e-19 and 1e19 on. Powers of two can be divided out and
multiplied in again without rounding, so that nothing changes for numbers of usual size.
"""

import math

import torch
from torch import Tensor

from xlib import _validate

ROOM = {torch.float32: 16, torch.float64: 128}  # up to 2^16 and down to 2^-16, an eighth power fits into float32


def power_of_two(*tables: Tensor, wait: bool = False) -> float:
    """About the largest number in the tables, where its eighth power would leave their type; 1.0 for usual sizes.
    `wait`: look even where that takes waiting; else it is 1.0 there, and what overflows comes out as not finite."""
    if not (wait or _validate.reads_values(tables[0])):
        return 1.0
    largest = max(table.detach().abs().max().item() for table in tables)
    exponent = math.frexp(largest)[1] - 1
    dtype = torch.promote_types(tables[0].dtype, torch.float32)
    least = -120 if dtype == torch.float32 else -1000  # so that 1 / 2^least is a number, too
    return 1.0 if largest == 0 or abs(exponent) < ROOM[dtype] else 2.0 ** max(exponent, least)


def usual(rows: Tensor, *, wait: bool = False) -> Tensor:
    """The rows, divided by the power of two that brings them to usual size, all by the same."""
    size = power_of_two(rows, wait=wait)
    return rows if size == 1 else rows / size


def off_mean(rows: Tensor) -> Tensor:
    """Rows less their mean; twice where they lie so far from the origin that the mean's own rounding would show."""
    mean = rows.mean(dim=0)
    off = rows - mean
    if _validate.reads_values(rows) and mean.detach().abs().max() < 1e3 * off.detach().abs().max():
        return off
    return off - off.mean(dim=0)


def wide(x: Tensor) -> Tensor:
    """x in float32 if it has 16 bits, else as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def unit(rows: Tensor) -> Tensor:
    """Rows (..., d) at length 1, in float32 at least; zeros stay zeros. In 16 bits the length of a long row would be
    infinite, and `F.normalize` would divide a row of zeros by 0."""
    rows = wide(rows)
    return torch.nn.functional.normalize(rows / of_rows(rows), dim=-1, eps=2.0 ** -ROOM[rows.dtype])


def of_rows(rows: Tensor) -> Tensor:
    """(..., 1) each row's largest number, where its size is not usual, else 1."""
    largest = rows.detach().abs().amax(dim=-1, keepdim=True)
    room = 2.0 ** ROOM[rows.dtype]
    return largest.masked_fill((largest == 0) | ((largest > 1 / room) & (largest < room)), 1.0)


def lengths(rows: Tensor) -> Tensor:
    """(N,) |rows[i]|."""
    size = of_rows(rows)
    return torch.linalg.vector_norm(rows / size, dim=1) * size[:, 0]


def squared_distances(a: Tensor, b: Tensor, *, near: float | Tensor | None = None) -> Tensor:
    """(len(a), len(b)) |a[i] - b[j]|² as |a[i]|² + |b[j]|² - 2 a[i]·b[j]: fast, and off by their size times eps.
    From differences where a row's |.|² is above `near`, and where seeing that takes no waiting."""
    a2, b2 = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (a, b))
    if near is not None and _validate.reads_values(a2) and max(a2.amax(), b2.amax()) > near:
        return exact_squared_distances(a, b)
    return torch.addmm(b2, a, b.T, alpha=-2).add_(a2[:, None]).clamp_(min=0)


def exact_squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """The same from differences, so that near rows far from the origin lose no digits; slow. On a CPU in float64,
    which holds all squares of float32. (`F.pdist` would do for a = b, but Apple's GPU does not have it.)"""
    if a.device.type == "cpu":
        a, b = a.double(), b.double()
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def median_distance(rows: Tensor) -> Tensor:
    """The median of |rows[i] - rows[j]| over i < j; 0 where half of all pairs coincide."""
    home = rows.device
    if home.type == "mps":  # has no kthvalue in torch 2.5
        rows = rows.cpu()
    unit = rows.abs().amax().clamp(min=torch.finfo(rows.dtype).tiny)
    z = rows / unit  # or else squares of 1e30 overflow
    if _validate.reads_values(rows):
        z = z - z.mean(dim=0)
        with torch.autocast(rows.device.type, enabled=False):
            lower, upper = _middle(squared_distances(z, z))
        if lower < z.square().sum(dim=1).amax() / 256:  # so near beside the farthest that rounding shows
            wide = rows.double()
            lower, upper = _middle(exact_squared_distances(wide / unit, wide / unit))
            if lower < 1e-300:  # a square of 1e-200, or of 0: the largest difference in any column tells
                least, unit = _middle(torch.cdist(wide, wide, p=math.inf))
                if least == 0:
                    return least.to(home, rows.dtype)
                lower, upper = _middle(exact_squared_distances(wide / unit, wide / unit))
    else:
        lower, upper = _middle(exact_squared_distances(z, z))
    return ((lower.sqrt() + upper.sqrt()) / 2 * unit).to(home, rows.dtype)


def _middle(table: Tensor) -> tuple[Tensor, Tensor]:
    """The two middle values, or the middle one twice, of what stands above the diagonal of a square table."""
    i, j = torch.triu_indices(*table.shape, 1, device=table.device)
    pairs = table[i, j]
    lower = pairs.kthvalue((len(pairs) + 1) // 2).values
    if len(pairs) % 2:
        return lower, lower
    below = pairs <= lower  # a second kthvalue would take as long as the first
    return lower, torch.where(below.sum() > len(pairs) // 2, lower, pairs.masked_fill(below, math.inf).amin())


def held(value: Tensor, *, parts: Tensor | None = None, **given: Tensor | float) -> Tensor:
    """The value of the arguments given by name, once it is known that its type can hold it: that it is finite, and,
    where `parts` are not, not 0. Not looked at where that takes waiting."""
    if not _validate.reads_values(value):
        return value
    finite = math.isfinite(value.detach().item()) if value.ndim == 0 else torch.isfinite(value).all()
    vanished = parts is not None and (value == 0).any() and (parts > 0).any()
    if not finite or vanished:
        sizes = [part.detach().abs().max() if isinstance(part, Tensor) else abs(part) for part in given.values()]
        raise ValueError(
            f"{' and '.join(given)} must be of a size that lets {value.dtype} hold the result, got numbers up to "
            f"{' and '.join(f'{float(size):.3g}' for size in sizes)}"
        )
    return value
