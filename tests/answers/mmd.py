"""What learners write for the checks of lesson 04: right answers in other ways, and mistakes in their own words."""

import math

import torch

from xlib import mmd


def by_autograd(x, y, sigma):
    def k(a, b):
        return (-(a[:, None] - b[None]).square().sum(dim=2) / (2 * sigma**2)).exp().mean()

    x = x.double().clone().requires_grad_()
    push = torch.autograd.grad(k(x, x), x)[0]
    pull = torch.autograd.grad(-2 * k(x, y.double()), x)[0]
    return torch.stack([push.norm(dim=1), pull.norm(dim=1)], dim=1).to(y.dtype)


def with_products(x, y, sigma):
    middle = torch.cat([x, y]).mean(dim=0)
    return mmd.mmd2(x - middle, y - middle, bandwidths=sigma)


def with_members(kernel, n, orders):
    m, member = len(kernel) - n, torch.zeros(len(orders) + 1, len(kernel), dtype=torch.float64)
    member[0, :n] = 1
    member[1:].scatter_(1, orders[:, :n], 1)
    k, other = kernel.double(), 1 - member
    xx, yy, xy = (((a @ k) * b).sum(dim=1) for a, b in ((member, member), (other, other), (member, other)))
    value = (xx - n) / (n * (n - 1)) + (yy - m) / (m * (m - 1)) - 2 * xy / (n * m)
    return ((value >= value[0] - 1e-6).sum() / len(value)).float()


def by_broadcast_product(x, y, sigma):
    def part(others):  # sum over o of k (o - x) is (k @ o) - (sum of k) x
        k = gaussian(x.double(), others.double(), sigma)
        return 2 / (len(x) * len(others)) / sigma**2 * (k @ others.double() - k.sum(1, keepdim=True) * x.double())

    return torch.stack([part(x).norm(dim=1), part(y).norm(dim=1)], dim=1).to(x.dtype)


RIGHT = [
    ("mmd_unbiased", lambda x, y, sigma: mmd.mmd2(x, y, bandwidths=sigma)),
    ("mmd_unbiased", with_products),
    ("expected_biased", lambda n, m, d, sigma: (1 / n + 1 / m) * (1 - (sigma**2 / (sigma**2 + 2)) ** (d / 2))),
    (
        "expected_biased",
        lambda n, m, d, s: torch.tensor((1 / n + 1 / m) * -math.expm1(-d / 2 * math.log1p(2 / s**2))),
    ),
    ("fixed_p_value", with_members),
    ("push_and_pull", by_broadcast_product),
]


# -- wrong answers, written as a learner writes them


def gaussian(a, b, sigma):
    return (-(a[:, None] - b[None]).square().sum(dim=2) / (2 * sigma**2)).exp()


def biased(x, y, sigma):
    return gaussian(x, x, sigma).mean() + gaussian(y, y, sigma).mean() - 2 * gaussian(x, y, sigma).mean()


def diagonal_left(x, y, sigma):
    n, m = len(x), len(y)
    within = gaussian(x, x, sigma).sum() / (n * (n - 1)) + gaussian(y, y, sigma).sum() / (m * (m - 1))
    return within - 2 * gaussian(x, y, sigma).mean()


def laplace(x, y, sigma):
    def k(a, b):
        return (-(a[:, None] - b[None]).norm(dim=2) / (2 * sigma**2)).exp()

    n, m = len(x), len(y)
    within = (k(x, x).sum() - n) / (n * (n - 1)) + (k(y, y).sum() - m) / (m * (m - 1))
    return within - 2 * k(x, y).mean()


def cancelling(x, y, sigma):
    def k(a, b):
        return (-(a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T) / (2 * sigma**2)).exp()

    n, m = len(x), len(y)
    within = (k(x, x).sum() - n) / (n * (n - 1)) + (k(y, y).sum() - m) / (m * (m - 1))
    return within - 2 * k(x, y).mean()


def clamped(x, y, sigma):
    return mmd.mmd2(x, y, bandwidths=sigma).clamp(min=0)


def p_value(kernel, n, orders, *, rows_only=False, strict=False, ones=True):
    m = len(kernel) - n

    def value(k):
        within = (k[:n, :n].sum() - n) / (n * (n - 1)) + (k[n:, n:].sum() - m) / (m * (m - 1))
        return within - 2 * k[:n, n:].mean()

    kernel = kernel.double()
    real = value(kernel)
    null = torch.stack([value(kernel[order] if rows_only else kernel[order][:, order]) for order in orders])
    count = (null > real + 1e-9 if strict else null >= real - 1e-9).double().sum()
    return (count + ones) / (len(orders) + ones)


def one_bug(**bug):
    return lambda *given: p_value(*given, **bug)


def forces(x, y, sigma, *, push=2, by_sigma=2, alone=False):
    def part(others, factor):
        difference = others[None] - x[:, None]
        k = gaussian(x, others, sigma)
        rows = (k[:, :, None] * difference).sum(dim=1) / sigma**by_sigma
        return (factor * rows / len(others) / (1 if alone else len(x))).norm(dim=1)

    return torch.stack([part(x, push), part(y, 2)], dim=1)


def within(k):
    """The average of a table without its diagonal."""
    n = len(k)
    return (k.sum() - k.diagonal().sum()) / (n * (n - 1))


def by_cdist(x, y, sigma):
    def k(a, b):
        return torch.exp(-(torch.cdist(a, b) ** 2) / (2 * sigma**2))

    return within(k(x, x)) + within(k(y, y)) - 2 * k(x, y).mean()


def upper_triangles(x, y, sigma):
    n, m = len(x), len(y)
    xx, yy = (gaussian(z, z, sigma).triu(diagonal=1).sum() for z in (x, y))
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * gaussian(x, y, sigma).mean()


def n_for_both(x, y, sigma):
    n = len(x)
    xx, yy = (gaussian(z, z, sigma).fill_diagonal_(0).sum() / n / (n - 1) for z in (x, y))
    return xx + yy - 2 * gaussian(x, y, sigma).mean()


def diagonal_zeroed_but_averaged(x, y, sigma):
    xx, yy = (gaussian(z, z, sigma).fill_diagonal_(0).mean() for z in (x, y))
    return xx + yy - 2 * gaussian(x, y, sigma).mean()


def across_once(x, y, sigma):
    return within(gaussian(x, x, sigma)) + within(gaussian(y, y, sigma)) - gaussian(x, y, sigma).mean()


def pairs_twice(x, y, sigma):
    n, m = len(x), len(y)
    xx, yy = gaussian(x, x, sigma).sum() - n, gaussian(y, y, sigma).sum() - m
    return 2 * xx / (n * (n - 1)) + 2 * yy / (m * (m - 1)) - 2 * gaussian(x, y, sigma).mean()


def sigma_unsquared(x, y, sigma):
    return mmd.mmd2(x, y, bandwidths=math.sqrt(sigma))


def absolute(x, y, sigma):
    return mmd.mmd2(x, y, bandwidths=sigma).abs()


def rooted(x, y, sigma):
    return mmd.mmd2(x, y, bandwidths=sigma).sqrt()


def plain_float(x, y, sigma):
    return mmd.mmd2(x, y, bandwidths=sigma).item()


def always_float32(x, y, sigma):
    return mmd.mmd2(x.float(), y.float(), bandwidths=sigma)


def diagonal_of_all_three(x, y, sigma):
    xy = gaussian(x, y, sigma)
    n, m = xy.shape
    across = (xy.sum() - xy.diagonal().sum()) / (n * m - min(n, m))
    return within(gaussian(x, x, sigma)) + within(gaussian(y, y, sigma)) - 2 * across


def alike(d, sigma, c=1.0):
    """The mean of the kernel of two normal points."""
    return (1 + 2 * c / sigma**2) ** (-d / 2)


def any_pairs(n, m, d, sigma):
    e = alike(d, sigma)
    return (1 - e) / max(n - 1, 1) + (1 - e) / max(m - 1, 1)


def only_the_ones_within(n, m, d, sigma):
    e = alike(d, sigma)
    return 1 / n + e * (1 - 1 / n) + 1 / m + e * (1 - 1 / m)


def new_p(kernel, n, orders, *, compare, above=1, below=1, columns=True, wide=True):
    """The exercise mended, with another comparison or other ones."""
    kernel, m = kernel.double() if wide else kernel, len(kernel) - n

    def value(k):
        inside = (k[:n, :n].sum() - n) / (n * (n - 1)) + (k[n:, n:].sum() - m) / (m * (m - 1))
        return inside - 2 * k[:n, n:].mean()

    null = torch.stack([value(kernel[order][:, order] if columns else kernel[:, order]) for order in orders])
    return (above + compare(null, value(kernel)).double().sum()) / (below + len(orders))


def as_large(null, real):
    return null >= real - 1e-6


def mended(**changes):
    return lambda *given: new_p(*given, **({"compare": as_large} | changes))


def two_forces(x, y, sigma):
    """The two parts of the gradient as vectors, each (n, d)."""

    def part(others):
        k = gaussian(x, others, sigma)[:, :, None]
        return 2 / (len(x) * len(others)) * (k * (others[None] - x[:, None])).sum(dim=1) / sigma**2

    return part(x), part(y)


def by_hand_but(kernel, *, lengths_first=False):
    def answer(x, y, sigma):
        columns = []
        for others in (x, y):
            difference = others[None] - x[:, None]
            rows = 2 / (len(x) * len(others)) * kernel(difference, sigma)[:, :, None] * difference / sigma**2
            columns.append(rows.norm(dim=2).sum(dim=1) if lengths_first else rows.sum(dim=1).norm(dim=1))
        return torch.stack(columns, dim=1)

    return answer


def bell(difference, sigma):
    return (-difference.square().sum(dim=2) / (2 * sigma**2)).exp()


def summed(x, y, sigma):
    push, pull = two_forces(x, y, sigma)
    return torch.stack([(push - pull).norm(dim=1)] * 2, dim=1)


def not_divided(x, y, sigma):
    push, pull = (force.norm(dim=1) for force in two_forces(x, y, sigma))
    return torch.stack([push * len(x) ** 2, pull * len(x) * len(y)], dim=1)


def n_squared_across(x, y, sigma):
    push, pull = (force.norm(dim=1) for force in two_forces(x, y, sigma))
    return torch.stack([push, pull * len(y) / len(x)], dim=1)


def without_itself(x, y, sigma):
    push, pull = (force.norm(dim=1) for force in two_forces(x, y, sigma))
    return torch.stack([push * len(x) / max(len(x) - 1, 1), pull], dim=1)


def by_unit_vectors(x, y, sigma):
    """The derivative by the distance, along a unit vector: NaN where a point meets itself."""

    def part(others):
        difference = others[None] - x[:, None]
        r = difference.norm(dim=2, keepdim=True)
        rows = gaussian(x, others, sigma)[:, :, None] * r / sigma**2 * (difference / r)
        return 2 / (len(x) * len(others)) * rows.sum(dim=1)

    return torch.stack([part(x).norm(dim=1), part(y).norm(dim=1)], dim=1)


WRONG = [
    ("mmd_unbiased", biased, "three and three", "biased estimate"),
    ("mmd_unbiased", diagonal_left, "three and three", "a constant too much"),
    ("mmd_unbiased", laplace, "three and three", "not squared"),
    ("mmd_unbiased", clamped, "three and three", "do not clamp"),
    ("mmd_unbiased", cancelling, "far from the origin", "squares that are multiplied out"),
    (
        "mmd_unbiased",
        lambda x, y, s: mmd.mmd2(x, y, bandwidths=s / math.sqrt(2)),
        "three and three",
        "The 2 in 2 σ² is missing",
    ),
    (
        "expected_biased",
        lambda n, m, d, s: (1 / n + 1 / m) * (1 - (1 + 1 / s**2) ** (-d / 2)),
        "16 and 16 points",
        "variance 2",
    ),
    (
        "expected_biased",
        lambda n, m, d, s: (1 / n + 1 / m) * (1 - (1 + 2 / s**2) ** -0.5),
        "16 and 16 points",
        "one coordinate",
    ),
    (
        "expected_biased",
        lambda n, m, d, s: 2 / n * (1 - (1 + 2 / s**2) ** (-d / 2)),
        "10 and 40 points",
        "a diagonal of its own",
    ),
    (
        "expected_biased",
        lambda n, m, d, s: 2 / (n + m) * (1 - (1 + 2 / s**2) ** (-d / 2)),
        "16 and 16 points",
        "do not make one of n + m points",
    ),
    ("expected_biased", lambda n, m, d, s: 1 / n + 1 / m, "16 and 16 points", "a little alike as well"),
    ("fixed_p_value", one_bug(rows_only=True), "5 and 5 points", "rows alone"),
    ("fixed_p_value", one_bug(strict=True), "5 and 5 points", "just as large"),
    ("fixed_p_value", one_bug(ones=False), "5 and 5 points", "can be 0"),
    ("fixed_p_value", one_bug(ones=False, strict=True), "5 and 5 points", "(and there is one more)"),
    ("push_and_pull", lambda *given: forces(*given, push=1), "three and two", "half of what it should be"),
    ("push_and_pull", lambda *given: forces(*given, by_sigma=1), "three and two", "not 1 / σ"),
    ("push_and_pull", lambda *given: forces(*given, alone=True), "three and two", "divide by n as well"),
    ("push_and_pull", lambda *given: forces(*given).flip(1), "three and two", "wrong order"),
    ("mmd_unbiased", by_cdist, "far from the origin", "torch.cdist multiplies out from 26 rows on"),
    ("mmd_unbiased", upper_triangles, "three and three", "holds each pair once"),
    ("mmd_unbiased", n_for_both, "4 and 7 points", "Each sample has its own size"),
    ("mmd_unbiased", diagonal_zeroed_but_averaged, "three and three", "entries, not n²"),
    ("mmd_unbiased", across_once, "three and three", "counts twice"),
    ("mmd_unbiased", pairs_twice, "three and three", "Each pair is in the sum twice"),
    ("mmd_unbiased", sigma_unsquared, "three and three", "sigma is not squared"),
    ("mmd_unbiased", absolute, "three and three", "do not take its absolute"),
    ("mmd_unbiased", rooted, "three and three", "a negative number has no root"),
    ("mmd_unbiased", lambda *given: -mmd.mmd2(*given[:2], bandwidths=given[2]), "three and three", "sign is turned"),
    ("mmd_unbiased", plain_float, "three and three", "got float"),
    ("mmd_unbiased", always_float32, "float64", "The result shall have the input's dtype"),
    ("mmd_unbiased", diagonal_of_all_three, "three and three", "Three numbers against three"),
    ("expected_biased", lambda n, m, d, s: (1 / n + 1 / m) * (1 - alike(d, s, 2)), "16 and 16 points", "both twos"),
    (
        "expected_biased",
        lambda n, m, d, s: (1 / n + 1 / m) * (1 - alike(d, math.sqrt(s))),
        "16 and 16 points",
        "σ is not squared",
    ),
    ("expected_biased", lambda n, m, d, s: (1 / n + 1 / m) * (1 - alike(2 * d, s)), "16 and 16 points", "not -d"),
    (
        "expected_biased",
        lambda n, m, d, s: (1 / n + 1 / m) * (1 - alike(-d, s)),
        "16 and 16 points",
        "lost its minus",
    ),
    ("expected_biased", lambda n, m, d, s: (1 - alike(d, s)) / n, "16 and 16 points", "y has a diagonal, too"),
    ("expected_biased", any_pairs, "16 and 16 points", "divides by n²"),
    ("expected_biased", lambda n, m, d, s: alike(d, s), "16 and 16 points", "how alike two points are"),
    ("expected_biased", lambda n, m, d, s: (1 / n + 1 / m) * alike(d, s), "16 and 16 points", "not by their mean"),
    ("expected_biased", only_the_ones_within, "16 and 16 points", "taken off twice"),
    ("expected_biased", lambda n, m, d, s: 0.0, "16 and 16 points", "the biased is not"),
    (
        "expected_biased",
        lambda n, m, d, s: (1 - alike(d, s)) * (1 / n + 1 / m - 2 / (n * m)),
        "16 and 16 points",
        "Compared with numerical integration",
    ),
    (
        "expected_biased",
        lambda n, m, d, s: (1 / n + 1 / m) * (1 - (1 + 2 * d / s**2) ** -0.5),
        "16 and 16 points",
        "in 16 dimensions",
    ),
    ("fixed_p_value", mended(compare=lambda null, real: null <= real + 1e-6), "5 and 5 points", "not as small or"),
    ("fixed_p_value", mended(below=0), "5 and 5 points", "The real split counts below as well"),
    ("fixed_p_value", mended(above=0), "5 and 5 points", "The real split counts above as well"),
    (
        "fixed_p_value",
        mended(compare=lambda null, real: null.abs() >= real.abs() - 1e-6),
        "5 and 5 points",
        "do not take absolute values",
    ),
    ("fixed_p_value", lambda *given: 1 - mended()(*given), "5 and 5 points", "That is 1 - p"),
    ("fixed_p_value", mended(columns=False), "5 and 5 points", "columns alone"),
    ("fixed_p_value", mended(compare=lambda null, real: null > real), "5 and 5 points", "just as large"),
    (
        "fixed_p_value",
        mended(compare=lambda null, real: null >= real, wide=False),
        "equal splits",
        "equal but for rounding",
    ),
    (
        "fixed_p_value",
        mended(compare=lambda null, real: null >= real * (1 - 1e-5), wide=False),
        "equal splits below 0",
        "MMD² is below 0 here",
    ),
    ("fixed_p_value", one_bug(rows_only=True, ones=False), "5 and 5 points", "(and there is one more)"),
    ("fixed_p_value", one_bug(rows_only=True, strict=True), "5 and 5 points", "(and there is one more)"),
    (
        "fixed_p_value",
        mended(compare=lambda null, real: null >= null.median()),
        "5 and 5 points",
        "39 splits of 5 and 5 points",
    ),
    ("push_and_pull", by_autograd, "push_and_pull", "without autograd"),
    ("push_and_pull", lambda *given: forces(*given) / 2, "three and two", "Both are half"),
    ("push_and_pull", lambda *given: forces(*given, by_sigma=0), "three and two", "brings down 1 / σ²"),
    ("push_and_pull", by_hand_but(bell, lengths_first=True), "three and two", "opposite ones cancel"),
    (
        "push_and_pull",
        by_hand_but(lambda difference, sigma: torch.ones(difference.shape[:2], dtype=difference.dtype)),
        "three and two",
        "The kernel is missing",
    ),
    (
        "push_and_pull",
        by_hand_but(lambda difference, sigma: (-difference.norm(dim=2) / (2 * sigma**2)).exp()),
        "three and two",
        "not squared",
    ),
    (
        "push_and_pull",
        by_hand_but(lambda difference, sigma: (-difference.square().sum(dim=2) / sigma**2).exp()),
        "three and two",
        "The 2 in the kernel's",
    ),
    ("push_and_pull", lambda *given: forces(*given).square(), "three and two", "squared lengths"),
    ("push_and_pull", summed, "three and two", "keep the two parts apart"),
    ("push_and_pull", not_divided, "three and two", "Nothing is divided"),
    ("push_and_pull", n_squared_across, "three and two", "n m pairs"),
    ("push_and_pull", without_itself, "three and two", "not by n (n - 1)"),
    ("push_and_pull", by_unit_vectors, "three and two", "Three points against two"),
    ("push_and_pull", lambda *given: forces(*given).T, "three and two", "Rows and columns are exchanged"),
    ("push_and_pull", lambda *given: torch.stack(two_forces(*given), dim=1), "three and two", "got (3, 2, 2)"),
    (
        "push_and_pull",
        lambda *given: tuple(force.norm(dim=1) for force in two_forces(*given)),
        "three and two",
        "make one tensor of them",
    ),
]
