"""The checks of lesson 03."""

import itertools
import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from xlib.course.checks.engine import Result, check, unit_rows


def _pairs(of_scale: Callable, *, gradients: bool) -> list[tuple]:
    """Cases for a loss of za, zb and of_scale(scale). gradients: compare them in all cases, not just in the last."""
    table, wide = torch.tensor, torch.float64
    a, b = table([[1, 0], [0.6, 0.8], [0, 1]]), table([[0.8, 0.6], [1, 0], [-0.6, 0.8]])
    overflow = "exp(100) is inf in float32, and the log of a tiny softmax -inf: use log_softmax or cross_entropy"
    rows = [
        ("three pairs", "Row i and column i of scale * za @ zb.T shall pick entry i: average 2 N losses", a, b, 2),
        ("one pair", "One pair has no negatives: the loss is log 1 = 0", a[1:2].clone(), b[:1].clone(), 5),
        ("scale 100", overflow, table([[1, 0], [0.6, 0.8]]), table([[1, 0], [-0.6, -0.8]]), 100),
        (
            "float64",
            "A step leaves float64",
            unit_rows(7, 5, 0, wide).contiguous(),
            unit_rows(7, 5, 1, wide).contiguous(),
            7,
        ),
        ("not contiguous", "The numbers of a row may lie apart in memory", unit_rows(7, 5, 2), unit_rows(7, 5, 3), 7),
        (
            "gradients",
            "Nothing may cut the path from the loss to its inputs",
            unit_rows(7, 5, 4),
            unit_rows(7, 5, 5),
            7,
        ),
    ]
    cases = [(*row[:4], of_scale(table(float(row[4])))) for row in rows]
    for tensor in itertools.chain(*(case[2:] for case in cases if gradients or case is cases[-1])):
        tensor.requires_grad_()
    return cases


def _costs(za: Tensor, zb: Tensor, scale: Any) -> Tensor:
    """(2, N): what each row of za pays for guessing its row of zb, and each row of zb for guessing its row of za."""
    logits = za.double() @ zb.double().T * scale
    return (torch.stack([logits.logsumexp(dim=1), logits.logsumexp(dim=0)]) - logits.diagonal()).to(za.dtype)


def clip_loss(answer: Callable) -> Result:
    """Check `clip_loss(za, zb, logit_scale)`: InfoNCE of unit rows za and zb (N, d), the mean of both directions."""
    alone = "That is the loss in one direction only, {}: take the mean of both"
    empty = "It has no negatives: a model with one and the same vector for everything would be perfect"
    mistakes = [
        (alone.format("za to zb"), lambda a, b, s: _costs(a, b, s)[0].mean()),
        (alone.format("zb to za"), lambda a, b, s: _costs(a, b, s)[1].mean()),
        ("logit_scale is not used: it multiplies the cosines", lambda a, b, s: _costs(a, b, 1).mean()),
        ("logit_scale is 1 / temperature: multiply, do not divide", lambda a, b, s: _costs(a, b, 1 / s).mean()),
        ("logit_scale is the scale itself, not its logarithm: no exp", lambda a, b, s: _costs(a, b, s.exp()).mean()),
        ("That is the sum of the two directions: take their mean", lambda a, b, s: 2 * _costs(a, b, s).mean()),
        ("That is the sum over the batch: take the mean", lambda a, b, s: _costs(a, b, s).sum() / 2),
        (empty, lambda a, b, s: -(a * b).sum(dim=1).mean()),
        (empty, lambda a, b, s: -s * (a * b).sum(dim=1).mean()),
    ]
    cases = _pairs(lambda scale: scale, gradients=False)
    return check("clip_loss za zb logit_scale", answer, lambda *given: _costs(*given).mean(), cases, mistakes)


def fixed_loss(answer: Callable) -> Result:
    """Check `fixed_loss(za, zb, log_scale)`: the same loss from the logarithm of the scale, and its gradients. The
    broken version has three mistakes; the first that is left is named, and whether there is another."""

    def loss(za, zb, log_scale, raw=False, twice=False, cut=False):
        costs = _costs(za, zb.detach() if cut else zb, log_scale if raw else log_scale.exp())
        return costs[0].mean() if twice else costs.mean()

    bugs = {
        "raw": "log_scale is a logarithm: the logits want its exp",
        "twice": "Both terms read the rows, image to text: text to image reads the columns, logits.T",
        "cut": "zb is detached: the text encoder never learns",
    }
    mistakes = [("That is the sum of the two directions: take their mean", lambda *given: 2 * loss(*given))]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(loss, **dict.fromkeys(left, True))))
    cases, broken = _pairs(torch.log, gradients=True), partial(loss, raw=True, twice=True, cut=True)
    return check("fixed_loss za zb log_scale", answer, loss, cases, mistakes, broken=broken)


def recall_at_k(answer: Callable) -> Result:
    """Check `recall_at_k(similarity, targets, k)`: for which share of the rows of similarity (N, M) is the column
    named in targets (N,) among the k most similar, when equally similar columns stand in random order?"""

    def right(similarity, targets, k):
        share = 0.0
        for row, target in zip(similarity.tolist(), targets.tolist(), strict=True):
            ahead, level = sum(other > row[target] for other in row), row.count(row[target])
            share += sum(place < k for place in range(ahead, ahead + level)) / level / len(targets)
        return torch.tensor(share)

    def hits(s, t, k):
        own = s.gather(1, t[:, None])
        return ((k - (s > own).sum(dim=1)) / (s == own).sum(dim=1)).clamp(0, 1)

    mistakes = [
        ("That is recall at 1: k is ignored", lambda s, t, k: hits(s, t, 1).mean()),
        ("The order is ascending: these are the k least similar", lambda s, t, k: hits(-s, t, k).mean()),
        ("targets is ignored", lambda s, t, k: hits(s, torch.arange(len(s)) % s.shape[1], k).mean()),
        ("Divide by the number of rows, not of columns", lambda s, t, k: hits(s, t, k).sum() / s.shape[1]),
        ("Divided by k it is a precision: divide by the rows only", lambda s, t, k: hits(s, t, k).mean() / k),
        ("That is a count: divide by the number of rows", lambda s, t, k: hits(s, t, k).sum()),
        ("Ties count as hits: a collapsed model would look perfect", lambda s, t, k: hits(s, t, k).ceil().mean()),
        ("Ties count as misses: k of M equals are worth k / M", lambda s, t, k: hits(s, t, k).floor().mean()),
    ]
    table, wide = torch.tensor, torch.float64
    five = [[2, 6, 5, 4, 3, 1.0], [3, 2, 5, 4, 6, 1], [6, 2, 4, 3, 1, 5], [6, 3, 2, 4, 5, 1], [5, 2, 3, 1, 4, 6]]
    random = "Equally similar columns stand in random order: what is the share on average over the orders?"
    cases = [
        ("five rows", "Is targets[i] among the k largest of row i?", table(five), table([3, 4, 1, 4, 5]), 2),
        ("all equal", random, torch.zeros(4, 4), table([1, 1, 0, 3]), 2),
        ("one row", random, table([[0.9, 0.5, 0.5, 0.5, 0.1]]), table([1]), 3),
        ("float64", "1 + 1e-9 is more than 1: stay in float64", table([[1, 1 + 1e-9, 0]], dtype=wide), table([0]), 1),
        ("not contiguous", random, (unit_rows(40, 9, 0) * 5).round(), torch.arange(40) % 9, 3),
        ("large numbers", "Only the order in a row counts", unit_rows(40, 50, 1) * 1e6, torch.arange(40), 5),
    ]
    return check("recall_at_k similarity targets k", answer, right, cases, mistakes, number=True)


def zero_shot_classifier(answer: Callable) -> Result:
    """Check `zero_shot_classifier(encode_text, classnames, templates)`: (C, d), for each class the direction of the
    mean of its sentences' unit vectors. encode_text takes a list of B strings and returns (B, d)."""
    unit = partial(normalize, dim=-1)

    def encode_text(texts):  # with an exclamation mark, a vector 99 times as long
        if isinstance(texts, str):
            raise TypeError(f"encode_text takes a list of strings, got the string {texts!r}")
        codes = [(99 if "!" in text else 1, zlib.crc32(text.encode())) for text in texts]
        return torch.tensor([[size * math.sin(n * code) for n in (1, 2, 3, 4)] for size, code in codes])

    def each(encode, names, templates):  # (C, T, d)
        return torch.stack([encode([text.replace("{}", name) for text in templates]) for name in names])

    def right(*given):
        rows = [[row.double() / row.double().square().sum().sqrt() for row in of_class] for of_class in each(*given)]
        return torch.stack([sum(row) / sum(row).square().sum().sqrt() for row in rows]).to(each(*given).dtype)

    mixed = "Classes and templates are mixed up: `for name ... for template ...` gives (C, T, d), in this order"
    mistakes = [
        ("The rows are no unit vectors: normalise the mean as well", lambda *x: unit(each(*x)).mean(1)),
        ("Long vectors outvote short ones: normalise before the mean", lambda *x: unit(each(*x).mean(1))),
        ("Nothing is normalised: neither the sentences nor their mean", lambda *x: each(*x).mean(1)),
        (mixed, lambda e, c, t: unit(unit(each(e, c, t)).reshape(len(t), len(c), -1).mean(0))),
        (mixed, lambda e, c, t: unit(unit(each(e, c, t).transpose(0, 1).reshape(len(c), len(t), -1)).mean(1))),
        ("Only the first template is used", lambda *x: unit(each(*x)[:, 0])),
        ("The templates are not used", lambda e, c, t: unit(e(c))),
        ("Normalised along the wrong dimension: dim=-1", lambda *x: unit(normalize(each(*x), dim=1).mean(1))),
    ]
    two, three = ["cat", "dog"], ["a photo of a {}.", "a drawing of a {}.", "{}"]
    cases = [
        ("two classes", "Unit sentences, their mean by class, unit again", encode_text, two, three),
        ("one template", "One template is a mean of one", encode_text, ["cat", "dog", "owl"], ["a {}"]),
        ("one class", "One class gives shape (1, d)", encode_text, ["cat"], three),
        ("one long vector", "A sentence counts by its direction alone", encode_text, two, ["a {}!", "the {}"]),
        ("float64", "A step leaves float64", lambda texts: encode_text(texts).double(), two, three),
        ("twelve classes", "Each row is of one class", encode_text, [str(n) for n in range(12)], three),
    ]
    return check("zero_shot_classifier encode_text classnames templates", answer, right, cases, mistakes)
