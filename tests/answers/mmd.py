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


RIGHT = [
    ("mmd_unbiased", lambda x, y, sigma: mmd.mmd2(x, y, bandwidths=sigma)),
    ("mmd_unbiased", with_products),
    ("expected_biased", lambda n, m, d, sigma: (1 / n + 1 / m) * (1 - (sigma**2 / (sigma**2 + 2)) ** (d / 2))),
    (
        "expected_biased",
        lambda n, m, d, s: torch.tensor((1 / n + 1 / m) * -math.expm1(-d / 2 * math.log1p(2 / s**2))),
    ),
    ("fixed_p_value", with_members),
    ("push_and_pull", by_autograd),
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


WRONG = [
    ("mmd_unbiased", biased, "three and three", "biased estimate"),
    ("mmd_unbiased", diagonal_left, "three and three", "a constant too much"),
    ("mmd_unbiased", laplace, "three and three", "not squared"),
    ("mmd_unbiased", clamped, "three and three", "do not clamp"),
    ("mmd_unbiased", cancelling, "far from the origin", "cancels far from the origin"),
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
    ("expected_biased", lambda n, m, d, s: 2 / n * (1 - (1 + 2 / s**2) ** (-d / 2)), "10 and 40 points", "y has m"),
    (
        "expected_biased",
        lambda n, m, d, s: 2 / (n + m) * (1 - (1 + 2 / s**2) ** (-d / 2)),
        "16 and 16 points",
        "not 2 / (n + m)",
    ),
    ("expected_biased", lambda n, m, d, s: 1 / n + 1 / m, "16 and 16 points", "take e off"),
    ("fixed_p_value", one_bug(rows_only=True), "5 and 5 points", "rows alone"),
    ("fixed_p_value", one_bug(strict=True), "5 and 5 points", ">="),
    ("fixed_p_value", one_bug(ones=False), "5 and 5 points", "can be 0"),
    ("fixed_p_value", one_bug(ones=False, strict=True), "5 and 5 points", "(and there is one more)"),
    ("push_and_pull", lambda *given: forces(*given, push=1), "three and two", "half of what it should be"),
    ("push_and_pull", lambda *given: forces(*given, by_sigma=1), "another bandwidth", "not 1 / σ"),
    ("push_and_pull", lambda *given: forces(*given, alone=True), "three and two", "divide by n as well"),
    ("push_and_pull", lambda *given: forces(*given).flip(1), "three and two", "wrong order"),
]
