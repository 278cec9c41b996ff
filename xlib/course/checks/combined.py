"""The checks of lesson 06."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, tensor
from torch.nn.functional import normalize

from xlib.course.checks.engine import Result, check, unit_rows

WIDE, HALF = torch.float64, "A step leaves float64"


def _case(title: str, hint: str, *rows: list, last: tuple = (), dtype: torch.dtype = torch.float32) -> tuple:
    return title, hint, *(tensor(row, dtype=dtype) for row in rows), *last


def gap_closed(answer: Callable) -> Result:
    """Check `gap_closed(source_only, adapted, oracle)`: from target scores (R,), one a seed, the share of the gap
    between the mean of source_only and that of oracle that the mean of adapted has closed; not clamped."""

    def right(*scores):
        low, own, high = (sum(of.tolist()) for of in scores)
        return tensor((own - low) / (high - low))

    clamped = "Do not clamp: a method may do harm, or more than the oracle"
    seeds = "That is the mean of the seeds' shares, which one tiny gap decides: take the means first"
    mistakes = [
        (seeds, lambda s, a, o: ((a - s) / (o - s)).mean()),
        ("That is one share a seed: take the means over the seeds first", lambda s, a, o: (a - s) / (o - s)),
        ("adapted / oracle counts what source only had already", lambda s, a, o: a.mean() / o.mean()),
        ("Relative to source_only: divide by the gap", lambda s, a, o: (a - s).mean() / s.mean()),
        ("That is the gain itself: divide it by the gap", lambda s, a, o: (a - s).mean()),
        ("That is the share that is left", lambda s, a, o: (o - a).mean() / (o - s).mean()),
        ("The sign is swapped: better than source only is above 0", lambda s, a, o: (s - a).mean() / (o - s).mean()),
        ("The best seed is luck: take the means", lambda s, a, o: (a.max() - s.max()) / (o.max() - s.max())),
        *((clamped, lambda *g, ends=ends: right(*g).clamp(*ends)) for ends in ((0, 1), (0, 9), (-9, 1))),
    ]
    hint = "(mean adapted - mean source_only) / (mean oracle - mean source_only)"
    cases = [
        _case("equal gaps", hint, [0.4, 0.5, 0.6], [0.5, 0.8, 0.5], [0.8, 0.9, 1]),
        _case("a tiny gap", seeds, [0.5, 0.89], [0.7, 0.93], [0.9, 0.9]),
        _case("harm", clamped, [0.6, 0.7], [0.5, 0.4], [0.9, 0.9]),
        _case("one seed, above the oracle", clamped, [0.5], [0.95], [0.9]),
        _case("in percent", "Scores times 100 give the same share", [41.0, 52, 63], [60.0, 50, 70], [90.0, 80, 99]),
        _case("float64", HALF, [0.8, 0.8], [0.8, 0.8 + 1e-7], [0.8, 0.8 + 3e-7], dtype=WIDE),
        ("not contiguous", hint, *tensor([[0.4, 0.6, 0.9], [0.5, 0.6, 0.8], [0.3, 0.7, 0.8]]).unbind(dim=1)),
    ]
    return check("gap_closed source_only adapted oracle", answer, right, cases, mistakes, number=True)


def fixed_combined(answer: Callable) -> Result:
    """Check `fixed_combined(za, zb, domain_logits, domain, scale)`: InfoNCE at scale of unit rows (N, d), the mean of
    both directions, plus the cross-entropy of domain_logits (M, 2), from reversed features, with domain (M,), where
    each domain counts one half. The broken version has three mistakes; the first that is left is named."""

    def loss(za, zb, logits, domain, scale, way=None, minus=False, rows=False, pairs=1, halves=1, again=False):
        cosines, logits = za.double() @ zb.double().T * scale, logits.double()
        costs = torch.stack([cosines.logsumexp(dim=1), cosines.logsumexp(dim=0)]) - cosines.diagonal()
        contrast = pairs * (costs if way is None else costs[way]).mean()
        each = logits.logsumexp(dim=1) - logits.gather(1, domain[:, None])[:, 0]
        told = each.mean() if rows else halves * (each[domain == 0].mean() + each[domain == 1].mean()) / 2
        told = 2 * told.detach() - told if again else told
        return (contrast - told if minus else contrast + told).to(za.dtype)

    bugs = {
        "way": "The contrastive part goes in one direction only: take the mean of both",
        "minus": "The domain loss is subtracted: the features are reversed already, and the head learns to be wrong",
        "rows": "The bigger domain counts more: take the mean over each domain, and half their sum",
    }
    values = {"way": 0, "minus": True, "rows": True}
    mistakes = [
        (bugs["way"], partial(loss, way=1)),
        ("That is the sum of the two directions: take their mean", partial(loss, pairs=2)),
        ("That is the sum of the two domains' losses: take half of it", partial(loss, halves=2)),
        ("The features were reversed already: turned round twice they are not reversed", partial(loss, again=True)),
        ("The domain loss is not there", partial(loss, halves=0)),
        ("scale is not used: it multiplies the cosines", lambda *given: loss(*given[:4], 1.0)),
    ]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(loss, **{bug: values[bug] for bug in left})))
    a, b, both = tensor([[1, 0], [0.6, 0.8], [0, 1]]), tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8]]), tensor([1, 0])
    four, hint = tensor([[2.0, 0], [1, 1], [0, 1], [1, 3]]), "The mean over directions, plus that over domains"
    apart, rows = tensor([[0, 9], [0, 9], [1, 9], [0, 9], [1, 9], [0, 9]])[:, 0], partial(unit_rows, dtype=WIDE)
    cases = [
        ("three and one", hint, a, b, four, tensor([0, 0, 0, 1]), 2.0),
        ("one pair", "One pair has no negatives: log 1 = 0", a[1:2], b[:1], four[2:], both, 5.0),
        ("large logits", "exp(300) is inf in float32: F.cross_entropy", a, b, 300 * four[1:3], both, 300.0),
        ("float64", HALF, rows(6, 4, 0), rows(6, 4, 1), rows(6, 2, 2), apart.clone(), 7.0),
        ("not contiguous", hint, unit_rows(6, 5, 3), unit_rows(6, 5, 4), unit_rows(6, 2, 5), apart, 9.0),
    ]
    for given in itertools.chain(*(case[2:5] for case in cases)):
        given.requires_grad_()
    signature, broken = "fixed_combined za zb domain_logits domain scale", partial(loss, **values)
    return check(signature, answer, loss, cases, mistakes, broken=broken)


def pick(answer: Callable) -> Result:
    """Check `pick(source_score, information, tolerance)`: of the candidates (L,) whose source score is at least the
    best one less tolerance, the index of the one with the highest information, and of equals the first."""

    def right(score, information, tolerance):
        score, information = score.tolist(), information.tolist()
        fit = [at for at, own in enumerate(score) if own >= max(score) - tolerance]
        return tensor(max(fit, key=lambda at: information[at]))

    def best(fit: Tensor, information: Tensor, other: float = -math.inf) -> Tensor:
        return torch.where(fit, information, other).argmax()

    strict = "A score of exactly best - tolerance is good enough: >=. With tolerance 0, > finds nobody"
    place = "That is a place among those that are left: the index counts all candidates"
    zero, first = "Information may be below 0, and a 0 would win: use -inf", "Of equals take the first"
    mistakes = [
        ("source_score is ignored: the model may have lost the task", lambda s, i, t: i.argmax()),
        ("That is the best source score: it knows nothing of the target", lambda s, i, t: s.argmax()),
        ("That is the lowest information: take the highest", lambda s, i, t: best(s >= s.max() - t, -i)),
        ("source_score sets the limit and information decides", lambda s, i, t: best(i >= i.max() - t, s)),
        (place, lambda s, i, t: i[s >= s.max() - t].argmax()),
        ("tolerance is no share of the best score: take it off", lambda s, i, t: best(s >= s.max() * (1 - t), i)),
        (strict, lambda s, i, t: best(s > s.max() - t, i)),
        (first, lambda s, i, t: len(s) - 1 - best((s >= s.max() - t).flip(0), i.flip(0))),
        (zero, lambda s, i, t: best(s >= s.max() - t, i, 0.0)),
    ]
    hint = "First who is within tolerance of the best source score, then the highest information"
    table = tensor([[0.96, 0.2], [0.97, 0.5], [0.95, 0.9], [0.9, 1.39], [0.6, 1.4]])
    cases = [
        ("five candidates", hint, *table.T.contiguous(), 0.03),
        _case("the first drops out", place, [0.4, 0.88, 0.9, 0.5], [2.0, 0.3, 0.8, 1], last=(0.05,)),
        _case("low scores", "best - tolerance", [0.5, 0.47, 0.3], [0.1, 0.6, 0.9], last=(0.04,)),
        _case("tolerance 0", strict, [0.5, 0.75, 0.75], [0.9, 0.3, 0.4], last=(0.0,)),
        _case("equals", first, [0.9, 0.9, 0.91, 0.9], [0.1, 0.7, 0.2, 0.7], last=(0.1,)),
        _case("one candidate", "One candidate has index 0", [0.3], [0.1], last=(0.02,)),
        _case("in percent, and below 0", zero, [60.0, 97, 96, 90], [-1e6, -4e6, -3e6, -2e6], last=(3.0,)),
        _case("float64", HALF, [0.9, 0.9], [1.0, 1 + 1e-9], last=(0.1,), dtype=WIDE),
        ("not contiguous", hint, *table.flip(0).T, 0.03),
    ]
    return check("pick source_score information tolerance", answer, right, cases, mistakes, number=True)


def self_training_loss(answer: Callable) -> Result:
    """Check `self_training_loss(plain, changed, threshold)`: from logits (N, C), the cross-entropy of changed with
    plain's class, where plain's largest probability is at least threshold; summed, and divided by N."""

    def loss(plain, changed, threshold, by="all", sure=None, guess=None, strict=False, soft=False):
        p, costs = plain.double().softmax(dim=1), -changed.double().log_softmax(dim=1)
        most = (p if sure is None else sure.double()).amax(dim=1)
        chosen = ((most > threshold) if strict else (most >= threshold)).double()
        own = (plain if guess is None else guess).argmax(dim=1, keepdim=True)
        each = (p * costs).sum(dim=1) if soft else costs.gather(1, own)[:, 0]
        divisor = {"all": len(p), "sure": chosen.sum(), "sure or 1": chosen.sum().clamp(min=1), "none": 1}[by]
        return ((each * chosen).sum() / divisor).to(plain.dtype)

    few = "Divided by the confident ones, two guesses weigh as much as a full batch, and none is nan: divide by N"
    cut = "With nobody confident the loss is 0, and must still depend on changed: its gradient is zeros"
    soft = "The label is plain's class, not its probabilities"
    mistakes = [
        *((few, partial(loss, by=by)) for by in ("sure", "sure or 1")),
        ("That is the sum: divide by N", partial(loss, by="none")),
        ("No threshold: every guess is believed", lambda p, c, t: loss(p, c, 0.0)),
        ("threshold is for a probability: take the softmax of plain", lambda p, c, t: loss(p, c, t, sure=p)),
        ("changed does not say who is sure: plain does", lambda p, c, t: loss(p, c, t, sure=c.softmax(1))),
        ("The labels are changed's own guesses: they come from plain", lambda p, c, t: loss(p, c, t, guess=c)),
        ("plain and changed have swapped parts", lambda p, c, t: loss(c, p, t)),
        *((soft, lambda p, c, t, of=of: loss(of(p), c, t, soft=True)) for of in (Tensor.clone, Tensor.detach)),
        ("A probability of exactly threshold is enough: >=", partial(loss, strict=True)),
        (cut, lambda p, c, t: loss(p, c if (p.softmax(1) >= t).any() else c.detach(), t)),
    ]
    plain, large = tensor([[3.0, 0, 0], [0.5, 1, 0], [0, 0, 4], [0.3, 0.5, 0.3]]), tensor([[300.0, 0], [0, 1]])
    changed, small = tensor([[1.0, 2, 0], [0, 5, 0], [1, 0, 2], [0, 0, 1]]), tensor([[2.0, -1]])
    hint = "Where plain's largest probability is at least threshold: cross-entropy of changed with plain's class"
    cases = [
        ("four pictures", hint, plain, changed, 0.8),
        ("nobody is sure", cut, plain / 9, changed, 0.8),
        ("one picture", hint, small, small.flip(1), 0.9),
        ("large logits", "exp(300) is inf in float32: F.cross_entropy", large, large.flip(1), 1.0),
        ("float64", HALF, 9 * unit_rows(6, 4, 0, WIDE), 5 * unit_rows(6, 4, 1, WIDE), 0.9),
        ("not contiguous", hint, 9 * unit_rows(9, 5, 2), 5 * unit_rows(9, 5, 3), 0.9),
    ]
    for logits in itertools.chain(*(case[2:4] for case in cases)):
        logits.requires_grad_()
    return check("self_training_loss plain changed threshold", answer, loss, cases, mistakes)


def mean_gap_and_recall(answer: Callable) -> Result:
    """Check `mean_gap_and_recall(za, zb)`: (2,), for rows (N, d) brought to length 1 the distance of the two means,
    and the share of za's rows whose most similar row of zb has the same index."""

    def right(za, zb):
        a, b = ([[x / math.hypot(*row) for x in row] for row in z.tolist()] for z in (za, zb))
        gap = math.dist(*([sum(column) / len(z) for column in zip(*z, strict=True)] for z in (a, b)))
        nearest = [min(range(len(b)), key=lambda j, row=row: math.dist(row, b[j])) for row in a]
        return tensor([gap, sum(i == j for i, j in enumerate(nearest)) / len(a)], dtype=za.dtype)

    def made(za, zb, gap=lambda a, b: (a.mean(0) - b.mean(0)).norm(), unit=(True, True), turn=False, share=True):
        rows = [[normalize(z, dim=1) if of else z for z in (za, zb)] for of in unit]
        a, b = rows[1][::-1] if turn else rows[1]
        hits = ((a @ b.T).argmax(dim=1) == torch.arange(len(a))).to(za.dtype)
        return torch.stack([gap(*rows[0]), hits.mean() if share else hits.sum()])

    raw, pairs = "The rows are not brought to length 1", "That is the mean distance of pairs: take the means first"
    mistakes = [
        (raw, partial(made, unit=(False, False))),
        (raw + " before the means", partial(made, unit=(False, True))),
        (raw + " before they are compared: long rows win", partial(made, unit=(True, False))),
        (pairs, partial(made, gap=lambda a, b: (a - b).norm(dim=1).mean())),
        ("The distance is squared", partial(made, gap=lambda a, b: (a.mean(0) - b.mean(0)).square().sum())),
        ("That looks from zb to za: each row of za seeks among zb", partial(made, turn=True)),
        ("Divide the hits by the number of rows", partial(made, share=False)),
        ("The gap comes first, then the recall", lambda *z: made(*z).flip(0)),
    ]
    a, b = tensor([[3.0, 1], [0, 3], [2, 0]]), tensor([[3.0, 3], [0, 2], [0, -1]])
    hint = "Rows to length 1; the distance of their means; in which rows of a @ b.T does the diagonal win?"
    rows = unit_rows(8, 4, 0)
    cases = [
        ("three rows", hint, a, b),
        ("zb is za in another order", "No gap, and no pair found", rows, rows.roll(3, dims=0)),
        ("all moved alike", "A gap, and all pairs found", torch.eye(5), torch.eye(5) + 0.4),
        ("one row", "A single row has no rival: recall 1", a[:1], b[2:]),
        ("long rows", "Only directions count", rows * 10.0 ** torch.arange(-2, 6)[:, None], rows.flip(1)),
        ("float64", HALF, unit_rows(7, 5, 1, WIDE), 9 * unit_rows(7, 5, 2, WIDE)),
        ("not contiguous", hint, 3 * unit_rows(20, 6, 3), unit_rows(20, 6, 3) + unit_rows(20, 6, 4)),
    ]
    return check("mean_gap_and_recall za zb", answer, right, cases, mistakes)
