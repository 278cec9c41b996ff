"""The checks of lesson 02."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from xlib.course.checks.engine import Result, check, unit_rows

WIDE, LN2 = torch.float64, math.log(2)


def _table(za: Tensor, zb: Tensor, scale: float) -> Tensor:
    """The (N, N) logits in float64."""
    return za.to(WIDE) @ zb.to(WIDE).T * scale


def _own(table: Tensor) -> Tensor:
    return torch.eye(len(table), dtype=torch.bool)


def siglip_loss(answer: Callable) -> Result:
    """Check `siglip_loss(za, zb, logit_scale, logit_bias)`: N² logistic losses, their sum divided by N."""

    def loss(za, zb, scale, bias, wrong=-1.0, outside=False, divide=lambda n: n, diagonal=False):
        table = _table(za, zb, scale)
        own = _own(table)
        answers = torch.where(own, 1.0, wrong).to(WIDE)
        # log sigmoid(x) = -softplus(-x), which no x overflows
        each = softplus(-(answers * table + bias if outside else answers * (table + bias)))
        return ((each.diagonal() if diagonal else each).sum() / divide(len(table))).to(za.dtype)

    mistakes = [
        ("Divide the sum by N, not by N²", partial(loss, divide=lambda n: n * n)),
        ("That is the sum: divide it by the number of pairs", partial(loss, divide=lambda n: 1)),
        ("The sign multiplies the whole logit, bias included", partial(loss, outside=True)),
        ("Wrong pairs count as right: off the diagonal the sign is −1", partial(loss, wrong=1.0)),
        ("Only the diagonal is asked: the N² − N wrong pairs are the negatives", partial(loss, diagonal=True)),
        ("The bias is not used", lambda a, b, s, bias: loss(a, b, s, 0)),
        ("logit_scale is not used: it multiplies the cosines", lambda a, b, s, bias: loss(a, b, 1, bias)),
        ("logit_scale is 1 / temperature: multiply, do not divide", lambda a, b, s, bias: loss(a, b, 1 / s, bias)),
    ]
    a, b = torch.tensor([[1, 0], [0.6, 0.8], [0, 1]]), torch.tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8]])
    stable = "sigmoid(−100) is 0 in float32, and its logarithm −inf: use F.logsigmoid"
    cases = [
        (
            "three pairs",
            "−log sigmoid(sign · (logit + bias)), summed over all entries, divided by N",
            a,
            b,
            2.0,
            -1.0,
        ),
        ("one pair", "One pair has one entry, and its answer is yes", a[:1].clone(), b[:1].clone(), 5.0, -3.0),
        (
            "scale 100",
            stable,
            torch.tensor([[1, 0], [0.6, 0.8]]),
            torch.tensor([[-1.0, 0], [0.6, 0.8]]),
            100.0,
            -10.0,
        ),
        ("float64", "A step leaves float64", unit_rows(7, 5, 0, WIDE), unit_rows(7, 5, 1, WIDE), 10.0, -10.0),
        (
            "not contiguous",
            "The numbers of a row may lie apart in memory",
            unit_rows(9, 5, 2),
            unit_rows(9, 5, 3),
            7.0,
            2.0,
        ),
        (
            "gradients",
            "Nothing may cut the path from the loss to its inputs",
            unit_rows(7, 5, 4).requires_grad_(),
            unit_rows(7, 5, 5).requires_grad_(),
            torch.tensor(7.0, requires_grad=True),
            torch.tensor(-5.0, requires_grad=True),
        ),
    ]
    return check("siglip_loss za zb logit_scale logit_bias", answer, loss, cases, mistakes)


def effective_negatives(answer: Callable) -> Result:
    """Check `effective_negatives(cosines, tau)`: exp of the entropy of the push over the wrong captions; cosines
    (1 + n,), the right caption first."""

    def right(cosines, tau):
        z = (cosines[1:].to(WIDE) / tau).tolist()
        weights = [math.exp(x - max(z)) for x in z]
        q = [w / sum(weights) for w in weights]
        return cosines.new_tensor(math.exp(-sum(x * math.log(x) for x in q if x > 0)))

    def entropy(z):
        return torch.special.entr(torch.softmax(z, dim=0)).sum()

    def naive(cosines, tau):
        q = torch.softmax(cosines[1:] / tau, dim=0)
        return (-(q * q.log()).sum()).exp()

    entr = "What is 0 · log 0? Use torch.special.entr, or log_softmax"
    mistakes = [
        ("Is the right caption among your negatives? Leave it out first", lambda c, t: entropy(c / t).exp()),
        ("That is the entropy: the perplexity is its exp", lambda c, t: entropy(c[1:] / t)),
        (
            "That is the entropy in bits: the perplexity is exp of the one in nats",
            lambda c, t: entropy(c[1:] / t) / LN2,
        ),
        ("exp wants the entropy in nats: the natural logarithm", lambda c, t: (entropy(c[1:] / t) / LN2).exp()),
        ("tau divides the cosines", lambda c, t: entropy(c[1:] * t).exp()),
        ("tau is not used", lambda c, t: entropy(c[1:]).exp()),
        (entr, naive),
        (
            "1 / sum q² is another count: here, exp of the entropy",
            lambda c, t: 1 / (c[1:] / t).softmax(0).square().sum(),
        ),
    ]
    given = torch.tensor([0.9, 0.8, 0.1, -0.5])
    cases = [
        ("four equal negatives", "Equal negatives count fully", torch.tensor([0.9, 0.3, 0.3, 0.3, 0.3]), 0.07),
        ("three negatives", "The perplexity of softmax(cosines[1:] / tau)", given, 0.3),
        ("one negative", "One negative is one, whatever the temperature", torch.tensor([0.2, 0.7]), 0.07),
        ("tau = 0.001", entr, given, 0.001),
        ("float64", "A step leaves float64", given.to(WIDE), 0.2),
        ("not contiguous", "The numbers may lie apart in memory", unit_rows(30, 3, 0)[:, 1], 0.1),
    ]
    return check("effective_negatives cosines tau", answer, right, cases, mistakes)


def _asked(table: Tensor, left_out: Tensor, filler: float = -math.inf, both: bool = True) -> Tensor:
    """The mean loss of both questions (or of the rows alone) with some logits replaced by `filler`."""
    table = table.masked_fill(left_out, filler)
    rows = table.logsumexp(dim=1) - table.diagonal()
    return ((rows + table.logsumexp(dim=0) - table.diagonal()) / 2 if both else rows).mean()


def _twins(table: Tensor, captions: Tensor) -> Tensor:
    return (captions[:, None] == captions) & ~_own(table)


def masked_loss(answer: Callable) -> Result:
    """Check `masked_loss(za, zb, captions, logit_scale)`: InfoNCE both ways, without equal captions' logits."""

    def loss(za, zb, captions, scale, twins=_twins, **options):
        table = _table(za, zb, scale)
        return _asked(table, twins(table, captions), **options).to(za.dtype)

    def nothing(table, captions):
        return torch.zeros_like(table, dtype=torch.bool)

    def neighbours(table, captions):  # only above the diagonal
        return _twins(table, captions).triu()

    mistakes = [
        ("Nothing is masked: equal captions are still negatives", partial(loss, twins=nothing)),
        ("A masked logit of 0 still adds exp(0) = 1 to the sum: use −inf", partial(loss, filler=0.0)),
        ("The pair itself is masked too: keep the diagonal", partial(loss, twins=lambda t, c: c[:, None] == c)),
        ("Only the rows are asked: take the mean of both directions", partial(loss, both=False)),
        ("The mask must be symmetric: twins stand below the diagonal as well", partial(loss, twins=neighbours)),
        ("The mask is the wrong way round: equal captions go out", partial(loss, twins=lambda t, c: c[:, None] != c)),
        ("logit_scale is not used: it multiplies the cosines", lambda a, b, c, s: loss(a, b, c, 1)),
    ]
    a, b = torch.tensor([[1, 0], [0.6, 0.8], [0, 1]]), torch.tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8]])
    some = torch.arange(12) % 5
    overflow = "exp(100) is inf in float32: leave the sum to cross_entropy or logsumexp"
    cases = [
        ("no duplicates", "Without duplicates it is InfoNCE in both directions", a, b, torch.tensor([4, 2, 9]), 2.0),
        (
            "two of three equal",
            "Leave equal captions out of both sums, but keep the pair",
            a,
            b,
            torch.tensor([4, 9, 4]),
            2.0,
        ),
        ("all equal", "No negatives are left: log 1 = 0", a, b, torch.tensor([4, 4, 4]), 2.0),
        ("one pair", "One pair has no negatives: log 1 = 0", a[:1].clone(), b[:1].clone(), torch.tensor([7]), 5.0),
        ("scale 100", overflow, unit_rows(12, 4, 0), unit_rows(12, 4, 1), some, 100.0),
        ("float64", "A step leaves float64", unit_rows(12, 4, 2, WIDE), unit_rows(12, 4, 3, WIDE), some, 9.0),
        (
            "gradients",
            "Nothing may cut the path from the loss to its inputs",
            unit_rows(12, 4, 4).requires_grad_(),
            unit_rows(12, 4, 5).requires_grad_(),
            some,
            9.0,
        ),
    ]
    return check("masked_loss za zb captions logit_scale", answer, loss, cases, mistakes)


def gradient_za(answer: Callable) -> Result:
    """Check `gradient_za(za, zb, logit_scale)`: the gradient (N, d) of symmetric InfoNCE with respect to za. The
    oracle is autograd in float64, the formula is what is asked for."""

    def right(za, zb, scale):
        leaf = za.detach().to(WIDE).requires_grad_()
        table = _table(leaf, zb, scale)
        return torch.autograd.grad(_asked(table, torch.zeros_like(table, dtype=torch.bool)), leaf)[0].to(za.dtype)

    def formula(za, zb, scale, rows=1.0, columns=1.0, once=1, share=0.5, labels=1, other=False):
        table = _table(za, zb, scale)
        p = rows * table.softmax(dim=1) + columns * table.softmax(dim=0) - labels * (rows + columns) * _own(table)
        p = p.T @ za.to(WIDE) if other else p @ zb.to(WIDE)
        return (scale**once * share * p / len(table)).to(za.dtype)

    mistakes = [
        ("That is the rows' question alone: add the columns' softmaxes", partial(formula, columns=0.0, share=1)),
        ("That is half of the rows' question: the columns' softmaxes are missing", partial(formula, columns=0.0)),
        ("That is the columns' question alone: the rows' softmaxes are missing", partial(formula, rows=0.0, share=1)),
        ("logit_scale is missing outside the softmax: chain rule", partial(formula, once=0)),
        ("The mean over N pairs is missing: divide by N", lambda a, b, s: formula(a, b, s) * len(a)),
        ("The mean over the two questions is missing: divide by 2", partial(formula, share=1)),
        ("The sign is wrong: this is the force, minus the gradient", lambda a, b, s: -formula(a, b, s)),
        ("The right pairs' −1 is missing: p − [j = r]", partial(formula, labels=0)),
        ("That is the gradient for zb", partial(formula, other=True)),
    ]
    a, b = torch.tensor([[1, 0], [0.6, 0.8], [0, 1]]), torch.tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8]])
    chain = "logit_scale / (2 N) · (P_rows + P_columns − 2 I) @ zb"
    cases = [
        ("three pairs", "Each logit stands in a row's softmax and in a column's", a, b, 2.0),
        ("one pair", "One pair has no negatives: the gradient is 0", a[:1].clone(), b[:1].clone(), 5.0),
        ("scale 30", chain, unit_rows(8, 3, 0), unit_rows(8, 3, 1), 30.0),
        ("float64", "A step leaves float64", unit_rows(7, 5, 2, WIDE), unit_rows(7, 5, 3, WIDE), 7.0),
        ("not unit vectors", "Nothing is normalised here", 3 * unit_rows(6, 4, 4), 0.5 * unit_rows(6, 4, 5), 2.0),
        (
            "not contiguous",
            "The numbers of a row may lie apart in memory",
            unit_rows(33, 9, 6),
            unit_rows(33, 9, 7),
            14.3,
        ),
    ]
    return check("gradient_za za zb logit_scale", answer, right, cases, mistakes)


def mended_loss(answer: Callable) -> Result:
    """Check `mended_loss(za, zb, captions, tau)`: masked InfoNCE of features of any length, both directions. The
    broken version has three mistakes; the first that is left is named, and whether there are more."""

    def loss(za, zb, captions, tau, dim=1, hot=False, filler=-math.inf):
        za, zb = (z if dim is None else normalize(z, dim=dim) for z in (za, zb))
        table = _table(za, zb, tau if hot else 1 / tau)
        return _asked(table, _twins(table, captions), filler).to(za.dtype)

    bugs = {
        "dim": ("The features are normalised along the batch: a vector is a row, dim=1", 0),
        "hot": ("The cosines are multiplied by tau: divide, or nothing is ever certain", True),
        "filler": ("A masked logit of 0 still adds exp(0) = 1 to its sum: use −inf", 0.0),
    }
    raw = "Nothing is normalised: dot products of long vectors are no cosines"
    mistakes = [(raw, partial(loss, dim=None))]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]][0] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(loss, **{bug: bugs[bug][1] for bug in left})))
    broken = partial(loss, dim=0, hot=True, filler=0.0)
    a, b = torch.tensor([[2, 0], [0.6, 0.8], [0, 3]]), torch.tensor([[1.6, 1.2], [1, 0], [-0.6, 0.8]])
    some = torch.arange(12) % 5
    cases = [
        (
            "three pairs",
            "Unit rows, cosines / tau, twins at −inf, both directions",
            a,
            b,
            torch.tensor([4, 9, 4]),
            0.5,
        ),
        ("no duplicates", "Without twins it is InfoNCE in both directions", a, b, torch.tensor([4, 2, 9]), 0.5),
        ("one pair", "One pair has no negatives: log 1 = 0", a[:1].clone(), b[:1].clone(), torch.tensor([7]), 0.2),
        ("tau = 0.01", "Logits reach 100", unit_rows(12, 4, 0), 2 * unit_rows(12, 4, 1), some, 0.01),
        ("float64", "A step leaves float64", 5 * unit_rows(12, 4, 2, WIDE), unit_rows(12, 4, 3, WIDE), some, 0.1),
        (
            "gradients",
            "Nothing may cut the path from the loss to its inputs",
            (3 * unit_rows(12, 4, 4)).requires_grad_(),
            unit_rows(12, 4, 5).requires_grad_(),
            some,
            0.1,
        ),
    ]
    return check("mended_loss za zb captions tau", answer, loss, cases, mistakes, broken=broken)
