"""The checks of lesson 03."""

import itertools
import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from xlib.course.checks.engine import Result, check, unit_rows


def _pairs(scales: dict[str, tuple[str, float]], of_scale: Callable, *, gradients: bool) -> list[tuple]:
    """Cases for a loss of za, zb and of_scale(scale). scales: title, what is compared, scale. gradients: compare them
    in all cases, not just in the last."""
    table, wide = torch.tensor, torch.float64
    a, b = table([[1, 0], [0.6, 0.8], [0, 1]]), table([[0.8, 0.6], [1, 0], [0.6, 0.8]])
    apart = table([[1, 0], [0.6, 0.8]]), table([[1, 0], [-0.6, -0.8]])
    inputs = {
        "three pairs": (a, b),
        "one pair": (a[1:2].clone(), b[:1].clone()),
        "scale 100": apart,
        "scale 90": apart,
        "float64": tuple(unit_rows(7, 5, seed, wide).contiguous() for seed in (0, 1)),
        "not contiguous": (unit_rows(7, 5, 2), unit_rows(7, 5, 3)),
        "gradients": (unit_rows(7, 5, 4), unit_rows(7, 5, 5)),
    }
    cases = [
        (title, hint, *(rows.clone() for rows in inputs[title]), of_scale(table(scale)))
        for title, (hint, scale) in scales.items()
    ]
    for tensor in itertools.chain(*(case[2:] for case in cases if gradients or case is cases[-1])):
        tensor.requires_grad_()
    return cases


def _logits(za: Tensor, zb: Tensor, scale: Any) -> Tensor:
    return za.double() @ zb.double().T * scale


def _costs(za: Tensor, zb: Tensor, scale: Any) -> Tensor:
    """(2, N): what each row of za pays for guessing its row of zb, and each row of zb for guessing its row of za."""
    logits = _logits(za, zb, scale)
    return (torch.stack([logits.logsumexp(dim=1), logits.logsumexp(dim=0)]) - logits.diagonal()).to(za.dtype)


def clip_loss(answer: Callable) -> Result:
    """Check `clip_loss(za, zb, logit_scale)`: InfoNCE of unit rows za and zb (N, d), the mean of both directions."""

    def after_softmax(za, zb, scale):
        labels = torch.arange(len(za))
        tables = _logits(za, zb, scale), _logits(za, zb, scale).T
        return (sum(cross_entropy(table.softmax(dim=1), labels) for table in tables) / 2).to(za.dtype)

    def all_zero(za, zb, scale):
        labels = torch.zeros(len(za), dtype=torch.int64)
        tables = _logits(za, zb, scale), _logits(za, zb, scale).T
        return (sum(cross_entropy(table, labels) for table in tables) / 2).to(za.dtype)

    def whole_table(za, zb, scale):
        logits = _logits(za, zb, scale)
        return (-(logits.log_softmax(dim=1) + logits.log_softmax(dim=0)).mean() / 2).to(za.dtype)

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
        ("That is the sum over the batch and both directions: take the mean", lambda a, b, s: _costs(a, b, s).sum()),
        ("The sign is wrong: the better the guess, the lower the loss", lambda a, b, s: -_costs(a, b, s).mean()),
        ("A softmax too many: cross_entropy takes the logits as they are and does its own", after_softmax),
        ("All labels are 0: each picture is asked for the first caption, not for its own", all_zero),
        ("That is over all N × N entries: only those of the pairs count, on the diagonal", whole_table),
        (empty, lambda a, b, s: -(a * b).sum(dim=1).mean()),
        (empty, lambda a, b, s: -s * (a * b).sum(dim=1).mean()),
    ]
    cases = _pairs(
        {
            "three pairs": ("The loss of three pairs at scale 3.1", 3.1),
            "one pair": ("The loss of one pair alone, which has no negatives", 5.3),
            "scale 100": ("exp(100) is inf in float32, and the log of what it divides -inf", 100.0),
            "float64": ("The loss of seven pairs in float64, to nine digits", 6.7),
            "not contiguous": ("Seven pairs, the numbers of a row apart in memory", 6.7),
            "gradients": ("Seven pairs, and the gradients that reach all three inputs", 6.7),
        },
        lambda scale: scale,
        gradients=False,
    )
    return check("clip_loss za zb logit_scale", answer, lambda *given: _costs(*given).mean(), cases, mistakes)


def fixed_loss(answer: Callable) -> Result:
    """Check `fixed_loss(za, zb, log_scale)`: the same loss from the logarithm of the scale, and its gradients. The
    broken version has three mistakes; what the first that is left leads to is said, and whether there is another."""

    def loss(za, zb, log_scale, held=False, twice=False, cut=False):
        scale = log_scale.exp().clamp(max=100) if held else log_scale.exp()
        costs = _costs(za, zb.detach() if cut else zb, scale)
        return costs[0].mean() if twice else costs.mean()

    bugs = {
        "twice": "The same question is asked twice, the other never",
        "cut": "The text encoder would never learn from it",
        "held": "Above 100 the scale gets no gradient: once there, it could not come back",
    }
    mistakes = [
        ("That is the sum of the two directions: take their mean", lambda *given: 2 * loss(*given)),
        ("The scale multiplies the cosines: do not divide by it", lambda a, b, s: loss(a, b, -s)),
        ("log_scale is the logarithm of the scale, not the scale", lambda a, b, s: _costs(a, b, s).mean()),
        (bugs["twice"], lambda a, b, s: _costs(a, b, s.exp())[1].mean()),
    ]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(loss, **dict.fromkeys(left, True))))
    cases = _pairs(
        {
            "three pairs": ("The loss of three pairs at scale 130, and its gradients", 130.0),
            "one pair": ("The loss of one pair alone, and its gradients", 5.3),
            "scale 90": ("Two pairs at scale 90, and the gradients", 90.0),
            "float64": ("Seven pairs in float64, to nine digits, and the gradients", 6.7),
            "not contiguous": ("Seven pairs, the numbers of a row apart in memory, at scale 120", 120.0),
        },
        torch.log,
        gradients=True,
    )
    broken = partial(loss, held=True, twice=True, cut=True)
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

    def shares(s, t, k, least=0.0, most=1.0):
        own = s.gather(1, t[:, None])
        return ((k - (s > own).sum(dim=1)) / (s == own).sum(dim=1)).clamp(least, most)

    def middle(s, t, k, up_to=False):
        own = s.gather(1, t[:, None])
        ahead = (s > own).sum(dim=1) + ((s == own).sum(dim=1) - 1) / 2
        return (ahead + 1 <= k if up_to else ahead < k).float().mean()

    def divided(s, t, k, by):
        own = s.gather(1, t[:, None])
        return ((k - (s > own).sum(dim=1)) / by(s, own)).clamp(0, 1).mean()

    def by_topk(s, t, k):
        return (s.topk(k, dim=1).indices == t[:, None]).any(dim=1).float().mean()

    def by_sort(s, t, k):
        return (s.argsort(dim=1, descending=True, stable=True)[:, :k] == t[:, None]).any(dim=1).float().mean()

    no_lower, no_upper = "where its column is far behind, a row counts less than 0", "more than 1 where it is ahead"
    by_place = "Of equals, those that stand first in memory win: their order shall be random"
    mistakes = [
        ("That is recall at 1: k is ignored", lambda s, t, k: shares(s, t, 1).mean()),
        ("That is recall at k + 1: the best column has none ahead of it", lambda s, t, k: shares(s, t, k + 1).mean()),
        ("The order is ascending: these are the k least similar", lambda s, t, k: shares(-s, t, k).mean()),
        ("targets is ignored", lambda s, t, k: shares(s, torch.arange(len(s)) % s.shape[1], k).mean()),
        ("Divide by the number of rows, not of columns", lambda s, t, k: shares(s, t, k).sum() / s.shape[1]),
        ("Divided by k it is a precision: divide by the rows only", lambda s, t, k: shares(s, t, k).mean() / k),
        ("That is a count: divide by the number of rows", lambda s, t, k: shares(s, t, k).sum()),
        (f"A share leaves 0 to 1: {no_lower}", lambda s, t, k: shares(s, t, k, least=-math.inf).mean()),
        (f"A share leaves 0 to 1: {no_upper} of k places", lambda s, t, k: shares(s, t, k, most=math.inf).mean()),
        (
            f"A share leaves 0 to 1: {no_lower}, and {no_upper}",
            lambda s, t, k: shares(s, t, k, least=-math.inf, most=math.inf).mean(),
        ),
        ("Ties count as hits: a collapsed model would look perfect", lambda s, t, k: shares(s, t, k).ceil().mean()),
        ("Ties count as misses: k of M equals are worth k / M", lambda s, t, k: shares(s, t, k).floor().mean()),
        ("Equals get the middle of their places: it is all or nothing, and should be a share", middle),
        (
            "Equals get the middle of their places: it is all or nothing, and should be a share",
            partial(middle, up_to=True),
        ),
        (
            "Divided by the number of columns: only those level with the right one share the places",
            lambda s, t, k: divided(s, t, k, lambda s, own: s.shape[1]),
        ),
        (
            "The right column counts as one of its equals: here it is counted twice",
            lambda s, t, k: divided(s, t, k, lambda s, own: (s == own).sum(dim=1) + 1),
        ),
        (
            "The right column counts as one of its equals: here it is left out, and without ties 0 are left",
            lambda s, t, k: divided(s, t, k, lambda s, own: (s == own).sum(dim=1) - 1),
        ),
        (by_place, by_topk),
        (by_place, by_sort),
    ]
    table, wide = torch.tensor, torch.float64
    five = [[2, 6, 5, 4, 3, 1.0], [6, 3, 4, 1, 2, 5], [2, 4, 1, 3, 6, 5], [6, 1, 2, 5, 3, 4], [3, 2, 1, 6, 5, 4]]
    ties = (unit_rows(40, 9, 0) * 5).round()
    nearly = table([[1, 1 + 1e-9, 0], [0.5, 0.2, 0.5 + 1e-9], [0.3, 0.1, 0.2]], dtype=wide)
    cases = [
        ("five rows", "Five rows without ties, at k 2", table(five), table([3, 0, 2, 3, 3]), 2),
        ("all equal", "Four rows of four equals, in random order, at k 2", torch.zeros(4, 4), table([1, 1, 0, 3]), 2),
        (
            "one row",
            "One row with one column ahead and three level, in random order, at k 3",
            table([[0.9, 0.5, 0.5, 0.5, 0.1]]),
            table([1]),
            3,
        ),
        ("float64", "In float64, 1 + 1e-9 is more than 1 and no tie", nearly, table([0, 0, 1]), 1),
        ("not contiguous", "Forty rows with many ties, apart in memory, at k 3", ties, torch.arange(40) % 7, 3),
        (
            "large numbers",
            "Forty rows without ties, of numbers up to a million, at k 5",
            unit_rows(40, 50, 1) * 1e6,
            torch.arange(40).flip(0),
            5,
        ),
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

    def flat(encode, names, templates):  # all sentences normalised at once, along the batch
        sentences = normalize(each(encode, names, templates).flatten(0, 1), dim=0)
        return unit(sentences.view(len(names), len(templates), -1).mean(1))

    mixed = "Classes and templates are mixed up: `for name ... for template ...` gives (C, T, d), in this order"
    batch = "Normalised along the batch, and not along the vector: dim=-1"
    joined = "All templates went into one text: a sentence each, and an encoding each"
    outside = "The name stands beside its template: it belongs into the {}"
    mistakes = [
        ("The rows are no unit vectors: normalise the mean as well", lambda *x: unit(each(*x)).mean(1)),
        ("Long vectors outvote short ones: normalise before the mean", lambda *x: unit(each(*x).mean(1))),
        ("Nothing is normalised: neither the sentences nor their mean", lambda *x: each(*x).mean(1)),
        (mixed, lambda e, c, t: unit(unit(each(e, c, t)).reshape(len(t), len(c), -1).mean(0))),
        (mixed, lambda e, c, t: unit(unit(each(e, c, t).transpose(0, 1).reshape(len(c), len(t), -1)).mean(1))),
        ("Only the first template is used", lambda *x: unit(each(*x)[:, 0])),
        ("Only the last template is used", lambda *x: unit(each(*x)[:, -1])),
        ("The templates are not used", lambda e, c, t: unit(e(c))),
        ("The class names are not used", lambda e, c, t: unit(unit(e(list(t))).mean(0)).expand(len(c), -1)),
        (batch, lambda *x: unit(normalize(each(*x), dim=1).mean(1))),
        (batch, flat),
        (batch, lambda *x: normalize(unit(each(*x)).mean(1), dim=0)),
        (
            "The mean is over the classes, one row a template: it shall be over the templates",
            lambda *x: unit(unit(each(*x)).mean(0)),
        ),
        (joined, lambda e, c, t: unit(e([" ".join(text.replace("{}", name) for text in t) for name in c]))),
        (
            outside,
            lambda e, c, t: unit(torch.stack([unit(e([text + " " + name for text in t])) for name in c]).mean(1)),
        ),
        (outside, lambda e, c, t: unit(torch.stack([unit(e([text + name for text in t])) for name in c]).mean(1))),
    ]
    two, three = ["cat", "dog"], ["a photo of a {}.", "a drawing of a {}.", "{}"]
    cases = [
        ("two classes", "Two classes in three sentences, a row a class", encode_text, two, three),
        ("one template", "Three classes in one sentence", encode_text, ["cat", "dog", "owl"], ["a {}"]),
        ("one class", "One class in three sentences gives shape (1, d)", encode_text, ["cat"], three),
        (
            "one long vector",
            "Two sentences, the one's vectors 99 times as long",
            encode_text,
            two,
            ["a {}!", "the {}"],
        ),
        ("float64", "An encoder in float64, to nine digits", lambda texts: encode_text(texts).double(), two, three),
        ("twelve classes", "Twelve classes in three sentences", encode_text, [str(n) for n in range(12)], three),
    ]
    return check("zero_shot_classifier encode_text classnames templates", answer, right, cases, mistakes)
