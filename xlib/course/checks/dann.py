"""The checks of lesson 05."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from xlib.course.checks.engine import Result, check, unit_rows


def feature_gradient(answer: Callable) -> Result:
    """Check `feature_gradient(features, weight, domain, coeff)`: what reaches features (N, d) through a reversal
    from the mean binary cross-entropy of the domain logits features @ weight; domain (N,) int64, 1 for the target.
    Without autograd."""

    def sigmoid(z):
        return (1 + torch.tanh(z / 2)) / 2  # another way to write it

    def arrived(f, w, y, c, turn=-1.0, rows=None, squared=False, along=None):
        share = sigmoid((f * w).sum(dim=1))
        by_logit = (share - y) * (share * (1 - share) if squared else 1) / (len(f) if rows is None else rows)
        return turn * c * by_logit[:, None] * (w if along is None else along)

    mistakes = [
        ("The minus sign is missing: these features would help the domain head", partial(arrived, turn=1.0)),
        ("coeff is not used: it multiplies the gradient", lambda f, w, y, c: arrived(f, w, y, 1)),
        ("coeff is applied twice", lambda f, w, y, c: arrived(f, w, y, c * c)),
        ("That is the gradient of the sum: the loss is the mean over the rows", partial(arrived, rows=1)),
        (
            "You divide by the number of all entries: the mean is over the rows, one logit each",
            lambda f, w, y, c: arrived(f, w, y, c, rows=f.numel()),
        ),
        (
            "A logit is no probability yet: what turns the one into the other?",
            lambda f, w, y, c: -c * (f @ w - y)[:, None] * w / len(f),
        ),
        (
            "That is half of it: the mean is over all rows, and no domain has a half of its own here",
            lambda f, w, y, c: arrived(f, w, y, c, rows=2 * len(f)),
        ),
        (
            "Each domain counts one half here: the mean shall be over all rows alike",
            lambda f, w, y, c: arrived(f, w, y, c, rows=2 * (y[:, None] == y).sum(dim=1)),
        ),
        ("The domains are exchanged: 1 is the target", lambda f, w, y, c: arrived(f, w, 1 - y, c)),
        (
            "The sigmoid of z is the probability of domain 1: what you compare with domain is that of domain 0",
            lambda f, w, y, c: -c * ((1 - sigmoid(f @ w) - y) / len(f))[:, None] * w,
        ),
        (
            "The weight is missing: a feature reaches the logit through it, and so does what comes back",
            lambda f, w, y, c: arrived(f, w, y, c, along=torch.ones_like(w)),
        ),
        (
            "That goes along the features, as what reaches the weight does. What reaches a row goes along the weight",
            lambda f, w, y, c: arrived(f, w, y, c, along=f),
        ),
        ("That is the derivative of a squared error: the cross-entropy's is simpler", partial(arrived, squared=True)),
    ]
    table, wide = torch.tensor, torch.float64
    cases = [
        (
            "three rows",
            "Compared: what reaches each of three rows, at coeff 0.3",
            table([[1.0, -2], [0.5, 1.5], [2, 1]]),
            table([0.7, -1.3]),
            table([0, 1, 1]),
            0.3,
        ),
        (
            "one row",
            "Compared: what reaches the only row, at coeff 2.3",
            table([[1.5, 1]]),
            table([0.9, 1.1]),
            table([1]),
            2.3,
        ),
        ("coeff 0", "No gradient passes a reversal of 0", table([[1.0, 2]]), table([1.0, 1.0]), table([0]), 0.0),
        (
            "float64",
            "The features are float64, and so is what reaches them",
            unit_rows(6, 3, 0, wide),
            unit_rows(1, 3, 1, wide)[0],
            table([0, 1] * 3),
            0.7,
        ),
        (
            "not contiguous",
            "Compared: what reaches each of six rows that lie apart in memory",
            unit_rows(6, 4, 2),
            unit_rows(1, 4, 3)[0],
            table([0, 0, 1, 1, 1, 1]),
            1.7,
        ),
        (
            "large logits",
            "The logits are 260 and -260, and exp(260) is inf in float32",
            table([[200.0], [-200.0]]),
            table([1.3]),
            table([0, 0]),
            1.1,
        ),
    ]
    return check("feature_gradient features weight domain coeff", answer, arrived, cases, mistakes, by_hand=True)


def fixed_domain_loss(answer: Callable) -> Result:
    """Check `fixed_domain_loss(source_logits, target_logits)`: half the mean cross-entropy over the source (class 0),
    half over the target (class 1). The broken version has two mistakes; the first that is left is named."""

    def loss(s, t, soft=False, rows=False, classes=(0, 1), parts=2, total=False):
        if soft:
            s, t = s.softmax(dim=1), t.softmax(dim=1)
        ls, lt = s.logsumexp(dim=1) - s[:, classes[0]], t.logsumexp(dim=1) - t[:, classes[1]]
        if rows:
            return torch.cat([ls, lt]).mean()
        return (ls.sum() + lt.sum() if total else ls.mean() + lt.mean()) / parts

    soft = "There is still a softmax before the cross-entropy, which has one of its own"
    mistakes = [
        (soft, partial(loss, soft=True)),
        ("The bigger domain still counts more than the smaller one", partial(loss, rows=True)),
        ("The domains are exchanged: the source is class 0 and the target 1", partial(loss, classes=(1, 0))),
        ("Both domains are called source: the target is class 1", partial(loss, classes=(0, 0))),
        ("That is twice the loss: a classifier that knows nothing would cost 2 log 2", partial(loss, parts=1)),
        ("Sums over the rows: a bigger batch would cost more", partial(loss, total=True)),
        (
            "F.nll_loss takes logarithms, and these are probabilities",
            lambda s, t: -(s.softmax(dim=1)[:, 0].mean() + t.softmax(dim=1)[:, 1].mean()) / 2,
        ),
        (soft + " (and there is one more)", partial(loss, soft=True, rows=True)),
    ]
    table, wide = torch.tensor, torch.float64
    cases = [
        (
            "three and one",
            "Compared: the loss of three source rows and one target row",
            table([[2.0, 0], [1, 1], [0, 1]]),
            table([[0.0, 3]]),
        ),
        ("one and one", "Compared: the loss of one row each", table([[1.0, -1]]), table([[2.0, 0.5]])),
        (
            "large logits",
            "The logits are 300, and exp(300) is inf in float32",
            table([[300.0, 0]]),
            table([[300.0, 0], [0, 9]]),
        ),
        (
            "float64",
            "The logits are float64, and so is their loss",
            unit_rows(5, 2, 0, wide),
            unit_rows(3, 2, 1, wide),
        ),
        (
            "not contiguous",
            "Compared: the loss of four source and nine target rows that lie apart in memory",
            unit_rows(4, 2, 2),
            unit_rows(9, 2, 3),
        ),
    ]
    for case in cases:
        for logits in case[2:]:
            logits.requires_grad_()
    broken = partial(loss, soft=True, rows=True)
    return check("fixed_domain_loss source_logits target_logits", answer, loss, cases, mistakes, broken=broken)


def a_distance(answer: Callable) -> Result:
    """Check `a_distance(guess, domain)`: 2 (1 - 2 ε), kept within [0, 2], where ε is the mean of the error rates
    on the two domains; guess and domain (N,) int64, 0 for the source and 1 for the target."""

    def rates(guess, domain):
        wrong = (guess != domain).double()
        return wrong[domain == 0].mean(), wrong[domain == 1].mean(), wrong.mean()

    def errors(guess, domain):
        return (guess != domain).double().sum() / 2

    def of(error: Tensor) -> Tensor:
        return (2 - 4 * error).clamp(0, 2).float()

    def half(guess, domain):
        return sum(rates(guess, domain)[:2]) / 2

    def right(guess, domain):
        return of(half(guess, domain))

    mistakes = [
        ("Each domain counts one half, whatever its size", lambda g, d: of(rates(g, d)[2])),
        (
            "A probe that is wrong more than half of the time counts as 0, not as less",
            lambda g, d: (2 - 4 * half(g, d)).float(),
        ),
        (
            "A probe that is wrong more than half of the time counts as 0, not as if it were right so often",
            lambda g, d: (2 - 4 * half(g, d)).abs().float(),
        ),
        ("That is half of it: no mistake at all gives 2", lambda g, d: right(g, d) / 2),
        ("A coin, wrong half of the time, gets more than 0 here", lambda g, d: (2 - 2 * half(g, d)).float()),
        ("ε is an error rate, and this counts the right guesses", lambda g, d: right(1 - g, d)),
        ("That is the sum of the two error rates, not their mean", lambda g, d: of(2 * half(g, d))),
        ("Only the source's rows are asked", lambda g, d: of(rates(g, d)[0])),
        ("Only the target's rows are asked", lambda g, d: of(rates(g, d)[1])),
        ("That is the worse domain alone: both count one half", lambda g, d: of(max(rates(g, d)[:2]))),
        ("That is the better domain alone: both count one half", lambda g, d: of(min(rates(g, d)[:2]))),
        ("Those are numbers of errors: a rate is their share of the domain's rows", lambda g, d: of(errors(g, d))),
        ("That is the error itself: a coin has 1/2 of it, and no distance", lambda g, d: half(g, d).float()),
    ]
    table = torch.tensor
    many = torch.arange(60)
    cases = [
        (
            "eleven rows",
            "Seven source rows, two of them wrong; four target rows, one of them wrong",
            table([0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1]),
            table([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]),
        ),
        ("no mistake", "Every guess is right", table([0, 1, 0]), table([0, 1, 0])),
        (
            "five rows",
            "One of two source rows is wrong, and one of three target rows",
            table([1, 0, 1, 0, 1]),
            table([0, 0, 1, 1, 1]),
        ),
        (
            "four to one",
            "The probe says source to everything, to four source rows and one target row",
            table([0, 0, 0, 0, 0]),
            table([0, 0, 0, 0, 1]),
        ),
        (
            "worse than chance",
            "Four of five rows are wrong",
            table([1, 1, 0, 0, 1]),
            table([0, 0, 1, 1, 1]),
        ),
        (
            "all wrong but two",
            "Two of seven source rows are right, and no target row",
            table([1, 0, 1, 1, 1, 0, 1, 0, 0]),
            table([0, 0, 0, 0, 0, 0, 0, 1, 1]),
        ),
        (
            "sixty rows",
            "Forty source rows, four of them wrong; twenty target rows, seven of them wrong",
            ((many >= 40) & (many < 53) | (many % 10 == 3) & (many < 40)).long(),
            (many >= 40).long(),
        ),
    ]
    return check("a_distance guess domain", answer, right, cases, mistakes, number=True)


def least_error(answer: Callable) -> Result:
    """Check `least_error(source_shares, target_shares)`: where the features of two domains have one distribution, the
    least that the errors on source and target can add up to, given the classes' shares (C,) in both."""

    def right(p: Tensor, q: Tensor) -> Tensor:
        return (p - q).clamp(min=0).sum()  # what the source has more of: as much as what the target has more of

    mistakes = [
        (
            "Too much by a factor of 2: one row that is wrong fills up one class and empties another",
            lambda p, q: (p - q).abs().sum(),
        ),
        ("That is the largest difference alone: the other classes have theirs", lambda p, q: (p - q).abs().max()),
        ("That is a mean over the classes: errors of different classes add up", lambda p, q: (p - q).abs().mean()),
        ("That is a mean over the classes: errors of different classes add up", lambda p, q: right(p, q) / len(p)),
        ("With their signs the differences cancel", lambda p, q: (p - q).sum() / 2),
        (
            "Squares shrink what is small: three rows of ten would count as nine of a hundred",
            lambda p, q: (p - q).square().sum() / 2,
        ),
        (
            "Squares shrink what is small: three rows of ten would count as nine of a hundred",
            lambda p, q: (p - q).square().sum(),
        ),
        ("That is a length in the plane of the shares, and not a share of rows", lambda p, q: (p - q).norm()),
        ("That is how often two labels drawn at random differ", lambda p, q: 1 - (p * q).sum()),
        ("That is class 0 alone", lambda p, q: (p - q)[0].abs()),
        ("That is what the two have in common, and may be right", lambda p, q: torch.minimum(p, q).sum()),
    ]
    table, wide = torch.tensor, torch.float64
    cases = [
        (
            "four classes",
            "Compared: the least total of both errors for four classes, two of them rarer in the target",
            table([0.45, 0.3, 0.2, 0.05]),
            table([0.1, 0.17, 0.3, 0.43]),
        ),
        ("equal shares", "Nothing differs, so nothing need be wrong", table([0.5, 0.5]), table([0.5, 0.5])),
        ("nothing in common", "Each domain has a class that the other lacks", table([1.0, 0]), table([0.0, 1])),
        ("one class", "There is nothing to confuse it with", table([1.0]), table([1.0])),
        (
            "five classes",
            "Compared: the least total of both errors for five classes",
            table([0.3, 0.1, 0.25, 0.15, 0.2]),
            table([0.17, 0.21, 0.08, 0.34, 0.2]),
        ),
        (
            "float64",
            "The shares are float64 and differ in the ninth place, too",
            table([0.3, 0.3, 0.4], dtype=wide),
            table([0.2, 0.3 + 1e-9, 0.5 - 1e-9], dtype=wide),
        ),
        (
            "not contiguous",
            "Compared: the least total of both errors for two classes whose shares lie apart in memory",
            torch.tensor([[0.6, 0], [0.4, 0]])[:, 0],
            torch.tensor([[0.2, 0], [0.8, 0]])[:, 0],
        ),
    ]
    return check("least_error source_shares target_shares", answer, right, cases, mistakes)
