"""The checks of lesson 05."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from xlib.course.checks.engine import Result, check, unit_rows


def feature_gradient(answer: Callable) -> Result:
    """Check `feature_gradient(features, weight, domain, coeff)`: what reaches features (N, d) through a reversal
    from the mean binary cross-entropy of the domain logits features @ weight; domain (N,) int64, 1 for the target."""

    def pull(f, w, y, c, turn=-1.0, size=None):
        given = f.detach().clone().requires_grad_()
        logits = (given * w).sum(dim=1)
        loss = (torch.nn.functional.softplus(logits) - y * logits).sum() / (size or len(f))
        return turn * c * torch.autograd.grad(loss, given)[0]

    mistakes = [
        ("The minus sign is missing: these features would help the domain head", partial(pull, turn=1.0)),
        ("coeff is not used: it multiplies the gradient", lambda f, w, y, c: pull(f, w, y, 1)),
        ("coeff is applied twice", lambda f, w, y, c: pull(f, w, y, c * c)),
        ("That is the gradient of the sum: the loss is the mean over the rows", partial(pull, size=1)),
        (
            "y is not the probability: take the sigmoid of the logits first",
            lambda f, w, y, c: -c * (f @ w - y)[:, None] * w / len(f),
        ),
    ]
    table, wide = torch.tensor, torch.float64
    hint = "The gradient by a logit is (sigmoid(logit) - y) / N; each logit hands it on along weight"
    cases = [
        ("two rows", hint, table([[1.0, 0], [0, 2]]), table([0.5, -1.0]), table([0, 1]), 0.3),
        ("one row", hint, table([[3.0, 1]]), table([1.0, 1.0]), table([1]), 2.0),
        (
            "coeff 0",
            "No gradient passes: zeros of the features' shape",
            table([[1.0, 2]]),
            table([1.0, 1.0]),
            table([0]),
            0.0,
        ),
        (
            "float64",
            "A step leaves float64",
            unit_rows(6, 3, 0, wide),
            unit_rows(1, 3, 1, wide)[0],
            table([0, 1] * 3),
            0.7,
        ),
        ("not contiguous", hint, unit_rows(6, 4, 2), unit_rows(1, 4, 3)[0], table([0, 0, 0, 1, 1, 1]), 1.0),
        (
            "large logits",
            "exp(200) is inf in float32: torch.sigmoid",
            table([[200.0], [-200.0]]),
            table([1.0]),
            table([0, 0]),
            1.0,
        ),
    ]
    return check("feature_gradient features weight domain coeff", answer, pull, cases, mistakes)


def fixed_domain_loss(answer: Callable) -> Result:
    """Check `fixed_domain_loss(source_logits, target_logits)`: half the mean cross-entropy over the source (class 0),
    half over the target (class 1). The broken version has two mistakes; the first that is left is named."""

    def loss(s, t, soft=False, rows=False, swap=False, whole=False):
        if soft:
            s, t = s.softmax(dim=1), t.softmax(dim=1)
        own, other = (1, 0) if swap else (0, 1)
        ls, lt = s.logsumexp(dim=1) - s[:, own], t.logsumexp(dim=1) - t[:, other]
        if rows:
            return torch.cat([ls, lt]).mean()
        return (ls.mean() + lt.mean()) / (1 if whole else 2)

    soft = "There is a softmax before cross-entropy, which has one: the loss can never get below .313"
    mean = "Each domain counts one half: take the mean over the source, the mean over the target, and half their sum"
    mistakes = [
        (soft, partial(loss, soft=True)),
        (mean, partial(loss, rows=True)),
        ("The source is class 0 and the target 1, not the other way round", partial(loss, swap=True)),
        ("That is the sum of the two means: take half of it", partial(loss, whole=True)),
        (soft + " (and there is one more)", partial(loss, soft=True, rows=True)),
    ]
    table, wide = torch.tensor, torch.float64
    cases = [
        ("three and one", mean, table([[2.0, 0], [1, 1], [0, 1]]), table([[0.0, 3]])),
        ("one and one", "Source row: class 0. Target row: class 1", table([[1.0, -1]]), table([[2.0, 0.5]])),
        (
            "large logits",
            "exp(300) is inf in float32: F.cross_entropy",
            table([[300.0, 0]]),
            table([[300.0, 0], [0, 9]]),
        ),
        ("float64", "A step leaves float64", unit_rows(5, 2, 0, wide), unit_rows(3, 2, 1, wide)),
        ("not contiguous", mean, unit_rows(4, 2, 2), unit_rows(9, 2, 3)),
    ]
    for case in cases:
        for logits in case[2:]:
            logits.requires_grad_()
    broken = partial(loss, soft=True, rows=True)
    return check("fixed_domain_loss source_logits target_logits", answer, loss, cases, mistakes, broken=broken)


def a_distance(answer: Callable) -> Result:
    """Check `a_distance(guess, domain)`: 2 (1 - 2 ε), kept within [0, 2], where ε is the mean of the error rates
    on the two domains; guess and domain (N,) int64, 0 for the source and 1 for the target."""

    def errors(guess, domain):
        wrong = (guess != domain).double()
        return wrong[domain == 0].mean(), wrong[domain == 1].mean(), wrong.mean()

    def right(guess, domain):
        source, target, _ = errors(guess, domain)
        return torch.tensor(min(max(2 - 2 * float(source + target), 0.0), 2.0))

    mistakes = [
        (
            "Each domain counts one half, whatever its size",
            lambda g, d: (2 - 4 * errors(g, d)[2]).clamp(0, 2).float(),
        ),
        (
            "A probe that is wrong more than half of the time counts as 0",
            lambda g, d: (2 - 2 * sum(errors(g, d)[:2])).float(),
        ),
        ("That is 1 - 2 ε: the distance runs up to 2", lambda g, d: right(g, d) / 2),
        ("That is 2 (1 - ε): at ε = 1/2 the distance is 0", lambda g, d: (2 - sum(errors(g, d)[:2])).float()),
        ("ε is an error rate, and this counts the right ones", lambda g, d: right(1 - g, d)),
    ]
    table = torch.tensor
    big = torch.arange(60) % 2
    cases = [
        ("six rows", "ε is the mean of the two error rates", table([0, 0, 1, 1, 1, 1]), table([0, 0, 0, 1, 1, 1])),
        ("no mistake", "ε = 0 gives 2", table([0, 1]), table([0, 1])),
        (
            "four to one",
            "A probe that says source to everything has ε = 1/2",
            table([0, 0, 0, 0, 0]),
            table([0, 0, 0, 0, 1]),
        ),
        ("worse than chance", "Keep it within [0, 2]", table([1, 1, 0, 0, 1]), table([0, 0, 1, 1, 1])),
        (
            "not contiguous",
            "ε is the mean of the two error rates",
            big.repeat_interleave(2)[::2],
            (torch.arange(120) // 4 % 2)[::2],
        ),
    ]
    return check("a_distance guess domain", answer, right, cases, mistakes, number=True)


def least_error(answer: Callable) -> Result:
    """Check `least_error(source_shares, target_shares)`: where the features of two domains have one distribution, the
    least that the errors on source and target can add up to, given the classes' shares (C,) in both."""

    def gap(p: Tensor, q: Tensor) -> Tensor:
        return (p - q).double().abs()

    def right(p, q):
        return (gap(p, q).sum() / 2).to(p.dtype)

    mistakes = [
        ("Half of that: what one class has too much another one has too little", lambda p, q: 2 * right(p, q)),
        ("That is the largest difference: add up all classes", lambda p, q: gap(p, q).max().to(p.dtype)),
        ("That is the mean over the classes: add them up", lambda p, q: right(p, q) / len(p)),
        ("Take the absolute differences: with signs they add up to 0", lambda p, q: (p - q).sum() / 2),
        ("Absolute differences, not squared ones", lambda p, q: (gap(p, q).square().sum() / 2).to(p.dtype)),
    ]
    table, wide = torch.tensor, torch.float64
    hint = "The predictions have the same shares in both domains: how far from each domain's labels must these be?"
    cases = [
        ("four classes", hint, table([0.5, 0.3, 0.2, 0.0]), table([0.1, 0.2, 0.3, 0.4])),
        ("equal shares", "With equal shares nothing stands in the way: 0", table([0.5, 0.5]), table([0.5, 0.5])),
        ("nothing in common", hint, table([1.0, 0]), table([0.0, 1])),
        ("one class", "One class leaves nothing to confuse", table([1.0]), table([1.0])),
        (
            "float64",
            "A step leaves float64",
            table([0.3, 0.3, 0.4], dtype=wide),
            table([0.2, 0.3 + 1e-9, 0.5 - 1e-9], dtype=wide),
        ),
        ("not contiguous", hint, torch.tensor([[0.6, 0], [0.4, 0]])[:, 0], torch.tensor([[0.2, 0], [0.8, 0]])[:, 0]),
    ]
    return check("least_error source_shares target_shares", answer, right, cases, mistakes)
