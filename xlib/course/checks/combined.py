"""The checks of lesson 06."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, tensor
from torch.nn.functional import normalize

from xlib.course.checks.engine import Result, check, unit_rows

WIDE, HALF = torch.float64, "float64 in, and nine digits are compared"


def _case(title: str, hint: str, *rows: list, last: tuple = (), dtype: torch.dtype = torch.float32) -> tuple:
    return title, hint, *(tensor(row, dtype=dtype) for row in rows), *last


def fixed_combined(answer: Callable) -> Result:
    """Check `fixed_combined(za, zb, domain_logits, domain, scale)`: InfoNCE at scale of unit rows (N, d), the mean of
    both directions, plus the cross-entropy of domain_logits (M, 2), from reversed features, with domain (M,), where
    each domain counts one half. The broken version has three mistakes; the first that is left is named."""

    def loss(
        za, zb, logits, domain, scale, way=None, minus=False, rows=False, pairs=1, halves=1, again=False, twice=0
    ):
        cosines, logits = za.double() @ zb.double().T * scale, logits.double()
        if twice:
            logits = logits.softmax(dim=1)
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
        ("The contrastive loss is not there", partial(loss, pairs=0)),
        ("scale is not used: it multiplies the cosines", lambda *given: loss(*given[:4], 1.0)),
        ("scale multiplies the cosines, and does not divide them", lambda *given: loss(*given[:4], 1 / given[4])),
        ("Raw scores go into a cross-entropy, and no softmax of them", partial(loss, twice=1)),
        (
            "Column 0 of domain_logits is for domain 0: the labels are exchanged",
            lambda a, b, c, d, s: loss(a, b, c, 1 - d, s),
        ),
    ]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(loss, **{bug: values[bug] for bug in left})))
    a, b, both = tensor([[1, 0], [0.6, 0.8], [0, 1]]), tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8]]), tensor([1, 0])
    four, apart = tensor([[2.0, 0], [1, 1], [0, 1], [1, 3]]), tensor([[0, 9], [0, 9], [1, 9], [0, 9], [1, 9], [0, 9]])
    rows, apart = partial(unit_rows, dtype=WIDE), apart[:, 0]
    cases = [
        ("three and one", "the loss of three pairs, three pictures of one domain and one of the other", a, b, four,
         tensor([0, 0, 0, 1]), 2.3),
        ("one pair", "the loss of one pair: there is nothing to confuse it with", a[1:2], b[:1], four[2:], both, 5.7),
        ("large logits", "the loss at scale 300: exp(300) is inf in float32", a, b, 300 * four[1:3], both, 300.0),
        ("float64", HALF, rows(6, 4, 0), rows(6, 4, 1), rows(6, 2, 2), apart.clone(), 7.3),
        ("not contiguous", "the loss of six pairs whose rows lie apart in memory", unit_rows(6, 5, 3),
         unit_rows(6, 5, 4), unit_rows(6, 2, 5), apart, 9.1),
    ]  # fmt: skip
    for given in itertools.chain(*(case[2:5] for case in cases)):
        given.requires_grad_()
    signature, broken = "fixed_combined za zb domain_logits domain scale", partial(loss, **values)
    return check(signature, answer, loss, cases, mistakes, broken=broken)


def gap_closed(answer: Callable) -> Result:
    """Check `gap_closed(source_only, adapted, oracle)`: from target scores (n,), one a seed, the share of the gap
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
        ("Divide by the whole gap, and not by what is left of it", lambda s, a, o: (a - s).mean() / (o - a).mean()),
        ("The sign is swapped: better than source only is above 0", lambda s, a, o: (s - a).mean() / (o - s).mean()),
        ("The best seed is luck: take the means", lambda s, a, o: (a.max() - s.max()) / (o.max() - s.max())),
        (
            "That is the median seed: take the means",
            lambda s, a, o: (_middle(a) - _middle(s)) / (_middle(o) - _middle(s)),
        ),
        *((clamped, lambda *g, ends=ends: right(*g).clamp(*ends)) for ends in ((0, 1), (0, 9), (-9, 1))),
    ]
    cases = [
        _case("equal gaps", "the share, where each seed has the same gap", [0.4, 0.5, 0.6], [0.5, 0.8, 0.5],
              [0.8, 0.9, 1]),
        _case("a tiny gap", "the share, where one seed has hardly a gap", [0.5, 0.89], [0.7, 0.93], [0.9, 0.9]),
        _case("harm", "the share of a method that does harm", [0.6, 0.7, 0.2], [0.5, 0.4, 0.1], [0.9, 0.9, 0.7]),
        _case("one seed, above the oracle", "the share of a method that beats the oracle", [0.5], [0.95], [0.9]),
        _case("in percent", "the share, from scores out of 100", [41.0, 52, 63], [60.0, 50, 70], [90.0, 80, 99]),
        _case("harm in most seeds", "the share, where one seed of four gains", [0.31, 0.42, 0.53, 0.47],
              [0.29, 0.33, 0.41, 0.5], [0.71, 0.66, 0.83, 0.92]),
        _case("above the oracle again", "the share of a method that beats the oracle", [0.5, 0.61, 0.48],
              [0.93, 0.97, 0.88], [0.8, 0.85, 0.95]),
        _case("float64", HALF, [0.8, 0.8], [0.8, 0.8 + 1e-7], [0.8, 0.8 + 3e-7], dtype=WIDE),
        ("not contiguous", "the share, from scores that lie apart in memory",
         *tensor([[0.4, 0.6, 0.9], [0.5, 0.6, 0.8], [0.3, 0.7, 0.8]]).unbind(dim=1)),
    ]  # fmt: skip
    return check("gap_closed source_only adapted oracle", answer, right, cases, mistakes, number=True)


def _middle(scores: Tensor) -> Tensor:
    return scores.median()


def self_training_loss(answer: Callable) -> Result:
    """Check `self_training_loss(plain, changed, threshold)`: from logits (N, C), the cross-entropy of changed with
    plain's class, where plain's largest probability is at least threshold; summed, and divided by N."""

    def loss(plain, changed, threshold, by="all", sure=None, guess=None, strict=False, soft=False, twice=False):
        p, costs = plain.double().softmax(dim=1), -changed.double().log_softmax(dim=1)
        if twice:
            costs = -changed.double().softmax(dim=1).log_softmax(dim=1)
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
        (
            "That softmax goes over the pictures: it goes over the classes",
            lambda p, c, t: loss(p, c, t, sure=p.softmax(0)),
        ),
        ("changed does not say who is sure: plain does", lambda p, c, t: loss(p, c, t, sure=c.softmax(1))),
        ("The labels are changed's own guesses: they come from plain", lambda p, c, t: loss(p, c, t, guess=c)),
        ("plain and changed have swapped parts", lambda p, c, t: loss(c, p, t)),
        *((soft, lambda p, c, t, of=of: loss(of(p), c, t, soft=True)) for of in (Tensor.clone, Tensor.detach)),
        ("A probability of exactly threshold is enough: >=", partial(loss, strict=True)),
        ("Raw scores go into a cross-entropy, and no softmax of them", partial(loss, twice=True)),
        (cut, lambda p, c, t: loss(p, c if (p.softmax(1) >= t).any() else c.detach(), t)),
    ]
    plain, large = tensor([[3.0, 0, 0], [0.5, 1, 0], [0, 0, 4], [0.3, 0.5, 0.3]]), tensor([[300.0, 0], [0, 1]])
    changed, small = tensor([[1.0, 2, 0], [0, 5, 0], [1, 0, 2], [0, 0, 1]]), tensor([[2.1, -1]])
    certain = tensor([[0.0, 0, 60], [1, 2, 3], [90, 0, 1]])
    cases = [
        ("four pictures", "the loss of four pictures, of which two are surely known", plain, changed, 0.8),
        ("nobody is sure", "the loss where no guess is sure enough", plain / 9, changed, 0.8),
        ("one picture", "the loss of a batch of one", small, small.flip(1), 0.9),
        ("one picture, and not sure", "the loss of a batch of one, whose guess is not sure enough", small / 5,
         small.flip(1), 0.7),
        ("large logits", "the loss with logits of 300, and threshold 1", large, large.flip(1), 1.0),
        ("certain", "the loss at threshold 1, where two of three guesses are certain", certain, changed[:3], 1.0),
        ("float64", HALF, 9 * unit_rows(6, 4, 0, WIDE), 5 * unit_rows(6, 4, 1, WIDE), 0.9),
        ("not contiguous", "the loss of nine pictures whose rows lie apart in memory", 9 * unit_rows(9, 5, 2),
         5 * unit_rows(9, 5, 3), 0.9),
    ]  # fmt: skip
    for logits in itertools.chain(*(case[2:4] for case in cases)):
        logits.requires_grad_()
    return check("self_training_loss plain changed threshold", answer, loss, cases, mistakes)


def chosen_gain(answer: Callable) -> Result:
    """Check `chosen_gain(target, source, score, tolerance)`: of tables (n, L), a row a seed and a column a
    candidate, the first without adaptation. (2,): the mean over the seeds of what is added to the first column on the
    target by the candidate with the highest score among those whose source score is at least the best of their
    seed less tolerance (of equals the first); and by the one that is best on the target."""

    def right(target, source, score, tolerance):
        gains = [[], []]
        for t, s, i in zip(target.tolist(), source.tolist(), score.tolist(), strict=True):
            fit = [at for at, own in enumerate(s) if own >= max(s) - tolerance]
            gains[0].append(t[max(fit, key=lambda at, i=i: i[at])] - t[0])
            gains[1].append(max(t) - t[0])
        return tensor([sum(part) / len(part) for part in gains], dtype=target.dtype)

    def made(t, s, i, tolerance, fit=None, by=None, fill=-math.inf, oracle=None, last=False, own=False):
        fit = s >= s.amax(dim=1, keepdim=True) - tolerance if fit is None else fit
        by = torch.where(fit, i if by is None else by, fill)
        place = by.shape[1] - 1 - by.flip(1).argmax(dim=1) if last else by.argmax(dim=1)
        chosen = t.gather(1, place[:, None])[:, 0].mean()
        best = t.amax(dim=1).mean() if oracle is None else oracle(t, fit)
        return torch.stack([chosen, best]) - (0 if own else t[:, 0].mean())

    def of_all(t, s, i, tolerance, oracle=None):
        return made(t, s, i, tolerance, fit=(s >= s.max() - tolerance), oracle=oracle)

    def one_for_all(t, s, i, tolerance):
        fit = s.mean(dim=0) >= s.mean(dim=0).max() - tolerance
        return made(t, s, i, tolerance, fit=fit.expand_as(s), by=i.mean(dim=0).expand_as(i))

    def among_those_left(t, s, i, tolerance):
        places = [own[one >= one.max() - tolerance].argmax() for one, own in zip(s, i, strict=True)]
        return torch.stack([t.gather(1, torch.stack(places)[:, None]).mean(), t.amax(dim=1).mean()]) - t[:, 0].mean()

    def strictly(t, s, i, tolerance):
        return made(t, s, i, tolerance, fit=s > s.amax(dim=1, keepdim=True) - tolerance)

    def share(t, s, i, tolerance):
        return made(t, s, i, tolerance, fit=s >= s.amax(dim=1, keepdim=True) * (1 - tolerance))

    def lost(*given):
        chosen, best = right(*given)
        return torch.stack([chosen, best - chosen])

    mistakes = [
        ("source is ignored: a model may have lost the task, and be sure of itself",
         lambda t, s, i, tolerance: made(t, s, i, math.inf)),
        ("The limit is each seed's own: best of its row, less tolerance", of_all),
        ("Choose in each seed anew: a mean over seeds is nobody's model", one_for_all),
        ("A score of exactly best - tolerance is good enough: >=", strictly),
        ("tolerance is no share of the best score: take it off", share),
        ("A score may be below 0, and a 0 would win: use -inf", partial(made, fill=0.0)),
        ("That is a place among those that are left: it counts all candidates", among_those_left),
        ("That is the lowest score: take the highest", lambda t, s, i, tol: made(t, s, i, tol, by=-i)),
        ("That is the best source score: it knows nothing of the target", lambda t, s, i, tol: made(t, s, s, tol)),
        ("Of equals take the first", partial(made, last=True)),
        ("Those are scores: take off the first column, which is not adapted", partial(made, own=True)),
        ("The oracle looks in each seed, and not at the means",
         partial(made, oracle=lambda t, fit: t.mean(dim=0).max())),
        ("The oracle keeps to no limit on the source",
         partial(made, oracle=lambda t, fit: t.masked_fill(~fit, -math.inf).amax(dim=1).mean())),
        ("The rule's gain comes first, then the oracle's", lambda *given: right(*given).flip(0)),
        ("The second number is the oracle's gain, and not what is lost to it", lost),
        ("That is the best seed: take the mean over the seeds",
         lambda t, s, i, tolerance: torch.stack([right(*(part[at : at + 1] for part in (t, s, i)), tolerance)
                                                 for at in range(len(t))]).amax(dim=0)),
    ]  # fmt: skip
    target = [[0.2, 0.32, 0.29, 0.1], [0.18, 0.21, 0.27, 0.33], [0.22, 0.4, 0.2, 0.44]]
    source = [[0.96, 0.97, 0.95, 0.8], [0.97, 0.94, 0.96, 0.955], [0.9, 0.91, 0.92, 0.86]]
    spread = [[1.1, 1.3, 1.4, 1.9], [1.2, 1.7, 1.5, 1.4], [1.0, 1.2, 1.35, 1.6]]
    dice = torch.Generator().manual_seed(2)
    many = [torch.rand(5, 6, generator=dice, dtype=WIDE) - below for below in (0, 0, 1)]
    apart = [torch.rand(6, 4, generator=dice).T for _ in range(3)]
    cases = [
        _case("three seeds", "the two gains, over three seeds and four candidates", target, source, spread,
              last=(0.03,)),
        _case("one seed", "the two gains in one seed, where the first candidate drops out", [[0.3, 0.5, 0.42, 0.61]],
              [[0.4, 0.88, 0.9, 0.52]], [[2.0, 0.8, 0.8, 1.2]], last=(0.05,)),
        _case("seeds of unlike skill", "the two gains, where one seed reads the source far better than the other",
              [[0.31, 0.47, 0.6], [0.2, 0.37, 0.29]], [[0.97, 0.96, 0.95], [0.7, 0.66, 0.69]],
              [[0.1, 0.9, 0.7], [0.2, 1.3, 0.8]], last=(0.015,)),
        _case("tolerance 0", "the two gains at tolerance 0", [[0.2, 0.5, 0.4], [0.3, 0.1, 0.7]],
              [[0.5, 0.75, 0.75], [0.25, 0.5, 0.5]], [[0.9, 0.3, 0.4], [0.9, 0.3, 0.6]], last=(0.0,)),
        _case("equals", "the two gains, where candidates have the same score",
              [[0.2, 0.5, 0.4, 0.3], [0.3, 0.1, 0.6, 0.7]], [[0.9, 0.9, 0.91, 0.9], [0.9, 0.93, 0.9, 0.89]],
              [[0.1, 0.7, 0.2, 0.7], [0.5, 0.4, 0.5, 0.5]], last=(0.1,)),
        _case("in percent, and below 0", "the two gains from shares out of 100, with scores below 0",
              [[31.0, 47, 60, 52], [20, 37, 29, 44]], [[60.0, 97, 96, 90], [71, 93, 96, 80]],
              [[-1e6, -4e6, -3e6, -2e6], [-2e6, -3e6, -4e6, -1e6]], last=(3.0,)),
        ("float64", HALF, *many, 0.4),
        ("not contiguous", "the two gains from tables whose rows lie apart in memory", *apart, 0.3),
    ]  # fmt: skip
    return check("chosen_gain target source score tolerance", answer, right, cases, mistakes)


def mean_gap_and_recall(answer: Callable) -> Result:
    """Check `mean_gap_and_recall(za, zb)`: (2,), for rows (N, d) brought to length 1 the distance of the two means,
    and the share of za's rows whose most similar row of zb stands at the same place."""

    def right(za, zb):
        a, b = ([[x / math.hypot(*row) for x in row] for row in z.tolist()] for z in (za, zb))
        gap = math.dist(*([sum(column) / len(z) for column in zip(*z, strict=True)] for z in (a, b)))
        nearest = [min(range(len(b)), key=lambda j, row=row: math.dist(row, b[j])) for row in a]
        return tensor([gap, sum(i == j for i, j in enumerate(nearest)) / len(a)], dtype=za.dtype)

    def made(za, zb, gap=lambda a, b: (a.mean(0) - b.mean(0)).norm(), unit=(True, True), turn=False, share=1):
        rows = [[normalize(z, dim=1) if of else z for z in (za, zb)] for of in unit]
        a, b = rows[1][::-1] if turn else rows[1]
        hits = ((a @ b.T).argmax(dim=1) == torch.arange(len(a))).to(za.dtype)
        return torch.stack([gap(*rows[0]), share * hits.mean() if share else hits.sum()])

    raw, pairs = "The rows are not brought to length 1", "That is the mean distance of pairs: take the means first"
    mistakes = [
        (raw, partial(made, unit=(False, False))),
        (raw + " before the means", partial(made, unit=(False, True))),
        (raw + " before they are compared: long rows win", partial(made, unit=(True, False))),
        (pairs, partial(made, gap=lambda a, b: (a - b).norm(dim=1).mean())),
        ("The distance is squared", partial(made, gap=lambda a, b: (a.mean(0) - b.mean(0)).square().sum())),
        ("The means are not brought to length 1: only the rows are",
         partial(made, gap=lambda a, b: (normalize(a.mean(0), dim=0) - normalize(b.mean(0), dim=0)).norm())),
        ("Those are means of rows: take the mean vector of each cloud",
         partial(made, gap=lambda a, b: (a.mean(1) - b.mean(1)).norm())),
        ("The gap is a length: take all coordinates of the difference",
         partial(made, gap=lambda a, b: (a.mean() - b.mean()).abs())),
        ("That looks from zb to za: each row of za seeks among zb", partial(made, turn=True)),
        ("Divide the hits by the number of rows", partial(made, share=0)),
        ("The recall goes from 0 to 1, and not to 100", partial(made, share=100)),
        ("The gap comes first, then the recall", lambda *z: made(*z).flip(0)),
    ]  # fmt: skip
    a, b = tensor([[3.0, 1], [0, 3], [2, 0]]), tensor([[3.0, 3], [0, 2], [0, -1]])
    rows = unit_rows(8, 4, 0)
    cases = [
        ("three rows", "the gap and the recall of three rows", a, b),
        ("zb is za in another order", "no gap, and no pair found", rows, rows.roll(3, dims=0)),
        ("all moved alike", "a gap, and all pairs found", torch.eye(5), torch.eye(5) + 0.4),
        ("one row", "a single row has no rival", a[:1], b[2:]),
        ("long rows", "only directions count: the rows are between 0.01 and 100000 long",
         rows * 10.0 ** torch.arange(-2, 6)[:, None], rows.flip(1)),
        ("float64", HALF, unit_rows(7, 5, 1, WIDE), 9 * unit_rows(7, 5, 2, WIDE)),
        ("not contiguous", "the gap and the recall of twenty rows that lie apart in memory", 3 * unit_rows(20, 6, 3),
         unit_rows(20, 6, 3) + unit_rows(20, 6, 4)),
    ]  # fmt: skip
    return check("mean_gap_and_recall za zb", answer, right, cases, mistakes)
