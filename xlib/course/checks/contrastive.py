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
BIG = "exp(100) is inf in float32"


def _table(za: Tensor, zb: Tensor, scale: float) -> Tensor:
    """The (A, B) logits in float64."""
    return za.to(WIDE) @ zb.to(WIDE).T * scale


def _own(table: Tensor) -> Tensor:
    return torch.eye(len(table), dtype=torch.bool)


def gradient_za(answer: Callable) -> Result:
    """Check `gradient_za(za, zb, logit_scale)`: the gradient (N, d) of symmetric InfoNCE with respect to za. The
    oracle goes through the 2N classifications one by one."""

    def right(za, zb, scale):
        logits, captions = _table(za, zb, scale), zb.to(WIDE)
        found = torch.zeros(za.shape, dtype=WIDE)
        for i in range(len(za)):
            found[i] += (logits[i].softmax(0)[:, None] * captions).sum(0) - captions[i]  # picture i asks
            found += logits[:, i].softmax(0)[:, None] * captions[i]  # caption i asks, and each picture is an option
            found[i] -= captions[i]
        return (found * scale / (2 * len(za))).to(za.dtype)

    def formula(za, zb, scale, rows=1, columns=1, labels=2, in_logits=1, chain=1, counted=2, turned=None):
        logits = _table(za, zb, scale if in_logits else 1)
        p, q = rows * logits.softmax(dim=1), columns * logits.softmax(dim=0)
        table = p + (q.T if turned == "columns" else q) - labels * _own(logits)
        times = zb.to(WIDE)
        if turned == "table":
            table = table.T
        if turned in ("side", "zb"):
            table, times = (table if turned == "side" else table.T), za.to(WIDE)
        return (scale**chain * table @ times / (counted or 1 / len(za)) / len(za)).to(za.dtype)

    def overflows(za, zb, scale):
        exps = (za @ zb.T * scale).exp()
        table = exps / exps.sum(1, keepdim=True) + exps / exps.sum(0) - 2 * _own(exps)
        return scale * table @ zb / (2 * len(za))

    row, column = {"columns": 0, "labels": 1}, {"rows": 0, "labels": 1}
    mistakes = [
        ("That is the rows' question alone: each picture is an option in the columns as well", dict(row, counted=1)),
        ("That is half of the rows' question: the columns are missing", row),
        ("That is the columns' question alone: the rows are missing", dict(column, counted=1)),
        ("That is half of the columns' question: the rows are missing", column),
        ("The chain rule brings logit_scale once more, outside the probabilities", {"chain": 0}),
        ("logit_scale stands outside once too often: the chain rule brings it once", {"chain": 2}),
        ("logit_scale is missing inside the probabilities", {"in_logits": 0}),
        ("The mean is missing: each of the 2N losses weighs 1 / 2N", {"counted": None}),
        ("The mean over the two questions is missing: a factor of ½", {"counted": 1}),
        ("No right answer is taken off: the pull is missing", {"labels": 0}),
        ("The right pair is an answer in both questions: its 1 is taken off once, not twice", {"labels": 1}),
        ("That is the gradient for zb", {"turned": "zb"}),
        ("The right table, applied to the wrong side: a picture is pulled towards captions", {"turned": "side"}),
        ("The table is turned: row i holds what picture i has a part in", {"turned": "table"}),
        (
            "The columns' probabilities are turned: entry (i, j) is picture i's share for caption j",
            {"turned": "columns"},
        ),
    ]
    mistakes = [(says, partial(formula, **options)) for says, options in mistakes]
    mistakes += [
        ("The sign is wrong: this is the force, minus the gradient", lambda a, b, s: -right(a, b, s)),
        ("The mean over N pairs is missing", lambda a, b, s: right(a, b, s) * len(a)),
        (f"{BIG}: the probabilities come out as nan", overflows),
    ]
    a, b = torch.tensor([[1, 0], [0.6, 0.8], [0, 1]]), torch.tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8]])
    near = unit_rows(8, 3, 0)
    far = normalize(near.roll(1, 0) + 0.2 * unit_rows(8, 3, 1), dim=1)
    cases = [
        ("three pairs", "The gradient of three pairs at scale 3.1", a, b, 3.1),
        (
            "one pair",
            "A batch of one pair: its loss is 0 wherever the vectors are",
            a[:1].clone(),
            b[:1].clone(),
            5.0,
        ),
        ("scale 100", f"Eight pairs at scale 100, where {BIG}", near, far, 100.0),
        ("float64", "float64 in, float64 out", unit_rows(7, 5, 2, WIDE), unit_rows(7, 5, 3, WIDE), 7.3),
        ("not unit vectors", "Vectors of lengths 3 and 6, as they come", 3 * near, 6 * far, 7.3),
        ("not contiguous", "Rows that lie apart in memory", unit_rows(33, 9, 6), unit_rows(33, 9, 7), 14.3),
    ]
    return check("gradient_za za zb logit_scale", answer, right, cases, mistakes, by_hand=True)


def effective_negatives(answer: Callable) -> Result:
    """Check `effective_negatives(cosines, tau)`: exp of the entropy of the push over the wrong captions; cosines
    (1 + n,), the right caption first."""

    def right(cosines, tau):
        z = (cosines[1:].to(WIDE) / tau).tolist()
        weights = [math.exp(x - max(z)) for x in z]
        q = [w / sum(weights) for w in weights]
        return cosines.new_tensor(math.exp(-sum(x * math.log(x) for x in q if x > 0)))

    def q(cosines, tau):
        return torch.softmax(cosines[1:] / tau, dim=0)

    def entropy(p):
        return torch.special.entr(p).sum()

    def added(cosines, tau, eps):
        p = q(cosines, tau)
        return (-(p * (p + eps).log()).sum()).exp()

    def bits(cosines, tau):
        return entropy(q(cosines, tau)) / LN2

    mistakes = [
        ("Is the right caption among your negatives? Leave it out", lambda c, t: entropy((c / t).softmax(0)).exp()),
        ("That is the entropy, not yet the perplexity", lambda c, t: entropy(q(c, t))),
        ("That is the entropy in bits, not yet the perplexity", bits),
        ("The entropy is in bits, and e is raised to it: take nats", lambda c, t: bits(c, t).exp()),
        ("tau divides the cosines", lambda c, t: entropy(q(c, 1 / t)).exp()),
        ("tau is not used", lambda c, t: entropy(q(c, 1.0)).exp()),
        ("0 · log 0 is nan here, and its limit is 0", partial(added, eps=0.0)),
        (
            "1 / sum q² is another count of the same kind: the task asks for the entropy's",
            lambda c, t: 1 / q(c, t).square().sum(),
        ),
        (
            "The push is not normalised: after the right caption is left out, the rest sums to less than 1",
            lambda c, t: entropy((c / t).softmax(0)[1:]).exp(),
        ),
        (
            "The sign of the entropy is wrong: a count of negatives is at least 1",
            lambda c, t: (-entropy(q(c, t))).exp(),
        ),
        (
            "Left out is the last caption: the right one stands first",
            lambda c, t: entropy((c[:-1] / t).softmax(0)).exp(),
        ),
    ]
    small = "A number added inside the logarithm shows in float64: the limit of 0 · log 0 can be had exactly"
    mistakes += [(small, partial(added, eps=10.0**-k)) for k in range(5, 9)]
    given = torch.tensor([0.9, 0.8, 0.1, -0.5])
    cases = [
        (
            "four equal negatives",
            "Four wrong captions with equal cosines",
            torch.tensor([0.9, 0.3, 0.3, 0.3, 0.3]),
            0.07,
        ),
        ("three negatives", "Three wrong captions of 0.8, 0.1 and −0.5 at τ 0.3", given, 0.3),
        ("one negative", "One wrong caption counts as one, whatever the temperature", torch.tensor([0.2, 0.7]), 0.07),
        ("tau = 0.001", "τ of 0.001: some probabilities are exactly 0 in float32", given, 0.001),
        ("float64", "float64 in, float64 out", given.to(WIDE), 0.2),
        ("float64, tau = 0.0005", "τ of 0.0005: some are exactly 0 in float64, too", given.to(WIDE), 0.0005),
        ("not contiguous", "Cosines that lie apart in memory", unit_rows(30, 3, 0)[:, 1], 0.1),
    ]
    return check("effective_negatives cosines tau", answer, right, cases, mistakes)


def least_scale(answer: Callable) -> Result:
    """Check `least_scale(n, loss)`: the scale whose floor is this loss; 0 where n pairs may have it at any scale. The
    oracle halves an interval."""

    def floor(n, scale):
        return math.log1p((n - 1) * math.exp(-scale * n / (n - 1)))

    def right(n, loss):
        low, high = 0.0, 64.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if floor(n, middle) > loss else (low, middle)
        return torch.tensor(high, dtype=WIDE).float()

    def formula(n, loss, share=lambda n: (n - 1) / n, wrong=lambda n: n - 1, own=1.0, log=math.log, then=lambda s: s):
        ratio = wrong(n) / (math.exp(loss) - own)
        return torch.tensor(then(max(share(n) * log(ratio), 0.0)) if ratio > 0 else math.nan)

    def not_cut(n, loss):
        return torch.tensor((n - 1) / n * math.log((n - 1) / math.expm1(loss)))

    mistakes = [
        ("The gap between right and wrong cosines can be a little more than 1", {"share": lambda n: 1}),
        ("The gap n / (n − 1) stands on the wrong side of the fraction", {"share": lambda n: n / (n - 1)}),
        (
            "That would need wrong cosines of −1 throughout: more than two points cannot all be opposite",
            {"share": lambda n: 0.5},
        ),
        ("A picture has n − 1 wrong captions, not n", {"wrong": lambda n: n}),
        ("The right caption's own term in the sum, a 1, is lost", {"own": 0.0}),
        ("That is the temperature: the scale is asked for", {"then": lambda s: 1 / s if s else math.inf}),
        ("The sign is wrong: a larger scale has a lower floor", {"then": lambda s: -s}),
        ("The logarithm is the natural one", {"log": math.log2}),
        ("The logarithm is the natural one: a loss is in nats", {"log": math.log10}),
    ]
    mistakes = [(says, partial(formula, **options)) for says, options in mistakes]
    mistakes += [
        ("A scale is not negative: where every scale will do, the least is 0", not_cut),
        (
            "That is the floor at this scale: the loss is given, and the scale is asked for",
            lambda n, loss: torch.tensor(floor(n, loss)),
        ),
        ("That is what a batch shows of the information", lambda n, loss: torch.tensor(math.log(n) - loss)),
    ]
    cases = [
        ("64 pairs, loss 0.02", "The least scale for 64 pairs and a loss of 0.02", 64, 0.02),
        ("2 pairs, loss 0.31", "The least scale for two pairs and a loss of 0.31", 2, 0.31),
        ("256 pairs, loss 4.548", "The least scale for 256 pairs that are stuck at 4.548", 256, 4.548),
        ("64 pairs, loss 5", "A loss of 5, more than blind guessing costs 64 pairs", 64, 5.0),
        ("2 pairs, loss 0.9", "A loss of 0.9, more than blind guessing costs two pairs", 2, 0.9),
        ("65,536 pairs, loss 0.0001", "The least scale for 65,536 pairs and a loss of 0.0001", 65536, 1e-4),
    ]
    return check("least_scale n loss", answer, right, cases, mistakes, number=True)


def siglip_block(answer: Callable) -> Result:
    """Check `siglip_block(za, zb, row, column, n, logit_scale, logit_bias)`: what one block of the table adds to
    SigLIP's loss of n pairs."""

    def right(za, zb, row, column, n, scale, bias, wrong=-1.0, where="bias in", own=None, each=None, divide=None):
        cosines = _table(za, zb, 1)
        own = own or (lambda i, j: i + row == j + column)
        own = own(torch.arange(len(za))[:, None], torch.arange(len(zb)))
        signs = torch.where(own, 1.0, wrong).to(WIDE)
        x = {
            "bias in": signs * (cosines * scale + bias),
            "bias out": signs * cosines * scale + bias,
            "bias scaled": signs * (cosines + bias) * scale,
        }[where]
        terms = each(x) if each else softplus(-x)  # log sigmoid(x) = -softplus(-x), which no x overflows
        return (terms.sum() / (divide(len(za), len(zb), n) if divide else n)).to(za.dtype)

    def everywhere(i, j):
        return torch.ones(i.shape[0], j.shape[0], dtype=torch.bool)

    def plain(za, zb, row, column, n, scale, bias):
        i, j = torch.arange(len(za))[:, None] + row, torch.arange(len(zb)) + column
        signs = torch.where(i == j, 1.0, -1.0).to(za.dtype)
        return -(signs * (za @ zb.T * scale + bias)).sigmoid().log().sum() / n

    mistakes = [
        (
            "The block's own diagonal is not where its pairs are: row and column say where it lies",
            {"own": lambda i, j: i == j},
        ),
        (
            "Shifted the wrong way: picture i of the block is pair row + i",
            lambda *g: right(*g[:2], g[3], g[2], *g[4:]),
        ),
        ("A wrong pair has the sign −1, not 0", {"wrong": 0.0}),
        ("All pairs count as right: away from the pairs the sign is −1", {"wrong": 1.0, "own": everywhere}),
        ("All pairs count as wrong", {"own": lambda i, j: ~everywhere(i, j)}),
        ("The sign multiplies the whole logit, bias included", {"where": "bias out"}),
        ("The scale multiplies the cosine alone, and not the bias", {"where": "bias scaled"}),
        (
            "Divided by the block's rows: the parts have to add up to the loss of n pairs",
            {"divide": lambda a, b, n: a},
        ),
        (
            "That is the block's mean: the parts have to add up to the loss of n pairs",
            {"divide": lambda a, b, n: a * b},
        ),
        ("Divided by n²: the loss is the sum over n² entries, divided by n", {"divide": lambda a, b, n: n * n}),
        ("The sum is not divided by n", {"divide": lambda a, b, n: 1}),
        ("The minus is missing: no entry pays less than 0", {"each": lambda x: -softplus(-x)}),
        ("The sign inside is wrong: right pairs are pushed apart", {"each": softplus}),
        ("That is the sum of probabilities: their logarithms are missing", {"each": torch.sigmoid}),
        ("The bias is not used", lambda *g: right(*g[:6], 0.0)),
        ("logit_scale is not used: it multiplies the cosines", lambda *g: right(*g[:5], 1.0, g[6])),
        ("logit_scale is 1 / temperature: multiply, do not divide", lambda *g: right(*g[:5], 1 / g[5], g[6])),
        ("The probability is 0 in float32 for a logit of −104 and less, and its logarithm −inf", plain),
    ]
    mistakes = [(says, partial(right, **how) if isinstance(how, dict) else how) for says, how in mistakes]
    a, b = torch.tensor([[1, 0], [0.6, 0.8], [0, 1]]), torch.tensor([[0.8, 0.6], [1, 0], [-0.6, 0.8]])
    wide = 5 * unit_rows(40, 4, 6), 5 * unit_rows(30, 4, 7)
    cases = [
        ("on the diagonal", "Pictures 4 to 6 against captions 4 to 6, of 11 pairs", a, b, 4, 4, 11, 3.1, -1.7),
        ("beside it", "Pictures 0 to 2 against captions 5 to 7, of 11 pairs", a, b, 0, 5, 11, 3.1, -1.7),
        (
            "across it",
            "Pictures 6 to 12 against captions 2 to 10, of 20 pairs",
            unit_rows(7, 5, 0),
            unit_rows(9, 5, 1),
            6,
            2,
            20,
            7.3,
            -4.2,
        ),
        (
            "one entry",
            "One picture against its own caption, of 5 pairs",
            a[:1].clone(),
            b[:1].clone(),
            3,
            3,
            5,
            5.0,
            -3.0,
        ),
        (
            "scale 100",
            "Logits of −110 and +90",
            torch.tensor([[1, 0], [0.6, 0.8]]),
            torch.tensor([[-1.0, 0], [0.6, 0.8]]),
            0,
            0,
            2,
            100.0,
            -10.0,
        ),
        (
            "scale 100, across",
            "Vectors of length 5 at scale 100: logits of some thousands",
            *wide,
            3,
            0,
            70,
            100.0,
            -10.0,
        ),
        (
            "float64",
            "float64 in, float64 out",
            unit_rows(7, 5, 2, WIDE),
            unit_rows(6, 5, 3, WIDE),
            1,
            4,
            12,
            9.1,
            -8.7,
        ),
        (
            "gradients",
            "The gradients of za, zb, scale and bias",
            unit_rows(7, 5, 4).requires_grad_(),
            unit_rows(6, 5, 5).requires_grad_(),
            1,
            4,
            12,
            torch.tensor(7.3, requires_grad=True),
            torch.tensor(-4.2, requires_grad=True),
        ),
    ]
    return check("siglip_block za zb row column n logit_scale logit_bias", answer, right, cases, mistakes)


def _asked(table: Tensor, left_out: Tensor, filler: float = -math.inf, rows_twice: bool = False) -> Tensor:
    """The mean loss of both questions with some logits replaced by `filler`; or the rows' question, asked twice."""
    table = table.masked_fill(left_out, filler)
    rows = table.logsumexp(dim=1)
    return ((rows + (rows if rows_twice else table.logsumexp(dim=0))) / 2 - table.diagonal()).mean()


def _first(table: Tensor, left_out: Tensor) -> Tensor:
    """As `_asked`, if the right answer of each question were the first."""
    table = table.masked_fill(left_out, -math.inf)
    return (table.logsumexp(dim=1) + table.logsumexp(dim=0) - table[0] - table[:, 0]).mean() / 2


def _twins(table: Tensor, captions: Tensor) -> Tensor:
    return (captions[:, None] == captions) & ~_own(table)


def mended_loss(answer: Callable) -> Result:
    """Check `mended_loss(za, zb, captions, tau)`: masked InfoNCE of features of any length, both directions. The
    broken version has three mistakes; the first that is left is named, and whether there are more."""

    def loss(za, zb, captions, tau, dim=1, scale=lambda tau: 1 / tau, left_out=_twins, asked=_asked, **options):
        za, zb = (z if dim is None else normalize(z, dim=dim) for z in (za, zb))
        table = _table(za, zb, scale(tau))
        return asked(table, left_out(table, captions), **options).to(za.dtype)

    def times_infinity(za, zb, captions, tau):
        table = _table(normalize(za, dim=1), normalize(zb, dim=1), 1 / tau)
        table = table + _twins(table, captions).to(WIDE) * -math.inf
        return ((table.logsumexp(0) + table.logsumexp(1)) / 2 - table.diagonal()).mean().to(za.dtype)

    bugs = {
        "dim": ("The features are normalised along the batch: a vector is a row", 0),
        "filler": ("A masked logit of 0 still adds exp(0) = 1 to its sum", 0.0),
        "rows_twice": ("Both questions compare captions: nothing compares the pictures of one caption", True),
    }
    mistakes = []
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]][0] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(loss, **{bug: bugs[bug][1] for bug in left})))
    mistakes += [
        ("Nothing is normalised: dot products of long vectors are no cosines", partial(loss, dim=None)),
        ("tau was right: it divides the cosines", partial(loss, scale=lambda tau: tau)),
        ("tau is lost: it divides the cosines", partial(loss, scale=lambda tau: 1)),
        ("−100 is not low enough: at τ 0.01 a right pair's logit may be −100 as well", partial(loss, filler=-100.0)),
        ("The pair itself is masked too: keep the diagonal", partial(loss, left_out=lambda t, c: c[:, None] == c)),
        (
            "Nothing is masked any more: equal captions are negatives again",
            partial(loss, left_out=lambda t, c: torch.zeros_like(t, dtype=torch.bool)),
        ),
        (
            "The mask is the wrong way round: equal captions go out",
            partial(loss, left_out=lambda t, c: c[:, None] != c),
        ),
        (
            "Only half of the twins are masked: they stand below the diagonal as well",
            partial(loss, left_out=lambda t, c: _twins(t, c).triu()),
        ),
        ("0 · −inf is nan: a mask cannot be multiplied with it", times_infinity),
        ("The two questions are added: their mean is asked for", lambda *given: 2 * loss(*given)),
        ("The right answer is always the first: that of row i is i", partial(loss, asked=_first)),
    ]
    broken = partial(loss, **{bug: value for bug, (_, value) in bugs.items()})
    a, b = torch.tensor([[2, 0], [0.6, 0.8], [0, 3]]), torch.tensor([[1.6, 1.2], [1, 0], [-0.6, 0.8]])
    some, same = torch.arange(12) % 5, torch.tensor([4, 4, 4])
    cases = [
        (
            "three pairs",
            "Three pairs, two of them with the same caption, at τ 0.3",
            a,
            b,
            torch.tensor([4, 9, 4]),
            0.3,
        ),
        ("no duplicates", "Three pairs with three captions at τ 0.3", a, b, torch.tensor([4, 2, 9]), 0.3),
        (
            "one pair",
            "One pair has no negatives: its loss is 0",
            a[:1].clone(),
            b[:1].clone(),
            torch.tensor([7]),
            0.2,
        ),
        (
            "tau = 0.01",
            "Twelve pairs at τ 0.01: logits reach 100",
            unit_rows(12, 4, 0),
            2 * unit_rows(12, 4, 1),
            some,
            0.01,
        ),
        ("all equal", "Three equal captions, far from their pictures: no negative is left", a, -a, same, 0.01),
        (
            "both equal",
            "Two equal captions, far from their pictures, at τ 0.0102",
            a[:2].clone(),
            -a[:2],
            same[:2].clone(),
            0.0102,
        ),
        ("float64", "float64 in, float64 out", 5 * unit_rows(12, 4, 2, WIDE), unit_rows(12, 4, 3, WIDE), some, 0.1),
        (
            "gradients",
            "The gradients of za and zb",
            (3 * unit_rows(12, 4, 4)).requires_grad_(),
            unit_rows(12, 4, 5).requires_grad_(),
            some,
            0.1,
        ),
    ]
    return check("mended_loss za zb captions tau", answer, loss, cases, mistakes, broken=broken)
