"""The checks of lesson 01."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from xlib.course.checks.engine import Result, check, unit_rows

unit = partial(normalize, dim=1)


def _rows(n: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random rows of lengths from about 0.1 to 10 around a common mean, not contiguous."""
    z = unit_rows(n, d, seed, dtype) + 0.7 * unit_rows(1, d, seed + 100, dtype)
    return (z.T * torch.logspace(-1, 1, n, dtype=dtype)).T


def without_bonus(answer: Callable) -> Result:
    """Check `without_bonus(queries, candidates)`: dot products (N, M) from which a vector added to all queries drops
    out, because each candidate's mean over the queries is taken off."""

    def right(queries, candidates):
        q, c = queries.double(), candidates.double()
        table = [[float(row.dot(other)) for other in c] for row in q]
        bonus = [sum(column) / len(q) for column in zip(*table, strict=True)]
        made = [[score - more for score, more in zip(row, bonus, strict=True)] for row in table]
        return torch.tensor(made, dtype=queries.dtype)

    def less(what):
        return lambda queries, candidates: (table := queries @ candidates.T) - what(table)

    def lengths(queries, candidates, *, first=True):
        q, c = (unit(queries), unit(candidates)) if first else (queries, candidates)
        q = q - q.mean(dim=0)
        return q @ c.T if first else unit(q) @ unit(c).T

    def both(queries, candidates):
        return (queries - queries.mean(dim=0)) @ (candidates - candidates.mean(dim=0)).T

    def spread(queries, candidates):
        table = queries @ candidates.T
        return (table - table.mean(dim=0)) / table.std(dim=0, correction=0)

    kept = "Lengths belong to a dot product: these rows were brought to length 1"
    mistakes = [
        ("These are the plain dot products: every candidate keeps its bonus", less(torch.zeros_like)),
        (
            "Each query's own mean is off, which changes no ranking: a bonus belongs to a candidate",
            less(lambda table: table.mean(dim=1, keepdim=True)),
        ),
        ("One number is off the whole table: every candidate has a bonus of its own", less(torch.mean)),
        ("Two means are off: that of the candidates is no bonus, and nobody asked for it", both),
        (kept, lengths),
        (kept, partial(lengths, first=False)),
        ("The bonus is added once more: it has to come off", less(lambda table: -table.mean(dim=0))),
        ("The bonus is what a candidate gets on average: this is the total", less(lambda table: table.sum(dim=0))),
        ("The bonus is the average: this is the best score", less(lambda table: table.amax(dim=0))),
        ("The bonus is the average: this is the median", less(lambda table: table.median(dim=0).values)),
        ("Only the bonus comes off: the scores are divided by their spread as well", spread),
    ]
    table, wide = torch.tensor, torch.float64
    q, c = table([[1, 0], [0.6, 0.8], [0.8, -0.6], [0.28, 0.96]]), table([[0, 1], [-0.6, 0.8], [0.96, 0.28]])
    shift = table([3.1, -1.7])
    cases = [
        ("four and three", "the table of four queries and three candidates of length 1", q, c),
        ("one vector added", "the table of the same queries, with one vector added to all of them", q + shift, c),
        ("rows of all lengths", "the table of rows whose lengths differ", _rows(6, 4, 0), _rows(5, 4, 1)),
        ("one query", "the table of a single query, which has nobody to be compared with", q[:1].clone(), c.clone()),
        ("float64", "float64 in: float64 out", _rows(6, 4, 2, wide).contiguous(), _rows(7, 4, 3, wide).contiguous()),
        ("not contiguous", "the numbers of a row lie apart in memory", _rows(40, 30, 4), _rows(30, 30, 5)),
    ]
    return check("without_bonus queries candidates", answer, right, cases, mistakes)


def kept_neighbours(answer: Callable) -> Result:
    """Check `kept_neighbours(z, xy, k)`: which share of the k nearest others, by cosine of the rows of z (N, d), is
    among the k nearest on the map xy (N, 2)?"""

    def right(z, xy, k):
        z, xy, kept = z.double().tolist(), xy.double().tolist(), 0
        lengths = [math.hypot(*row) for row in z]
        for i in range(len(z)):
            others = [j for j in range(len(z)) if j != i]
            cosine = {j: sum(p * q for p, q in zip(z[i], z[j], strict=True)) / lengths[j] for j in others}
            distance = {j: math.dist(xy[i], xy[j]) for j in others}
            near = sorted(others, key=lambda j: -cosine[j])[:k]
            kept += len({*near} & {*sorted(others, key=distance.get)[:k]})
        return torch.tensor(kept / len(z) / k)

    def both(z, xy, k, *, own=False, straight=False, flat=False, farthest=False, along=1):
        """The k nearest of each point on each side."""
        space, seen = normalize(z, dim=along) if along is not None else z, unit(xy) if flat else xy
        near, on_map = space @ space.T, seen @ seen.T if flat else -(seen[:, None] - seen[None]).square().sum(2)
        if straight:
            near = -(z[:, None] - z[None]).square().sum(2)
        if farthest:
            on_map = -on_map
        if not own:
            itself = torch.eye(len(z), dtype=torch.bool)
            near, on_map = (x.masked_fill(itself, -torch.inf) for x in (near, on_map))
        return (x.topk(k, dim=1).indices for x in (near, on_map))

    def shared(z, xy, k, **how):
        a, b = both(z, xy, k, **how)
        return (a[:, :, None] == b[:, None]).any(2).double()  # (N, k): which of the near are on the map

    def made(z, xy, k, **how):
        return shared(z, xy, k, **how).mean()

    def order(z, xy, k):
        a, b = both(z, xy, k)
        return (a == b).double().mean()

    def union(z, xy, k, *, each=True):
        common = shared(z, xy, k).sum(dim=1)
        return (common / (2 * k - common)).mean() if each else common.sum() / (2 * k - common).sum()

    wrong_union = "Divided by what either side has: it is how many of the k nearest in the space the map keeps"
    mistakes = [
        ("Each point counts itself as a neighbour: leave it out", partial(made, own=True)),
        ("That is a dot product: long rows are everybody's neighbours", partial(made, along=None)),
        ("In z, nearness is the cosine: that is the distance", partial(made, straight=True)),
        ("Each column was brought to length 1, and not each row", partial(made, along=0)),
        ("In z, the rows stay as they are: here their mean is off", lambda z, xy, k: made(z - z.mean(0), xy, k)),
        ("On a map, near means a small distance: that is the cosine", partial(made, flat=True)),
        ("The order among the k does not count: compare them as sets", order),
        ("Of the distances, these are the largest: the nearest have the smallest", partial(made, farthest=True)),
        (wrong_union, union),
        (wrong_union, partial(union, each=False)),
        (
            "That is the share of points that keep any neighbour at all",
            lambda z, xy, k: shared(z, xy, k).amax(dim=1).mean(),
        ),
        ("That is the share that is lost", lambda z, xy, k: 1 - made(z, xy, k)),
        ("That is a count: the share is asked for, over all points", lambda z, xy, k: shared(z, xy, k).sum()),
        ("That is the mean count of a point: how large can it get?", lambda z, xy, k: made(z, xy, k) * k),
        (
            "Divided by the number of points, and not by that of neighbours",
            lambda z, xy, k: made(z, xy, k) * k / len(z),
        ),
    ]
    turn = torch.linspace(0, 2.3, 16) ** 2  # no two gaps are equal, so nothing is a tie
    ring = torch.stack([turn.cos(), turn.sin()], dim=1)
    flat = torch.stack([turn * 0.7 + 2.1, (3 * turn).sin()], dim=1)
    lengths = torch.tensor([1.0, 9, 2, 1, 1, 5, 1, 3, 1, 1, 7, 1, 2, 4, 1, 6])[:, None]
    tilted, wide = torch.tensor([[0.9, -0.4]]), torch.float64
    z, xy = _rows(40, 6, 1), 20 + 8 * unit_rows(40, 3, 2)[:, :2]
    cases = [
        ("sixteen points", "the share of five neighbours on a curve, rows of several lengths",
         ring * lengths + tilted, flat, 5),
        ("three points", "the share of two neighbours, which are all the others",
         ring[:3].clone(), flat[:3].clone(), 2),
        ("one neighbour", "the share of one neighbour",
         unit_rows(20, 5, 0), unit_rows(20, 5, 3)[:, :2].contiguous(), 1),
        ("a map off the origin", "the share of five neighbours, on a map with its middle at (20, 20)", z, xy, 5),
        ("float64", "the share of three neighbours, in float64",
         _rows(9, 4, 3, wide), 3.1 * unit_rows(9, 2, 4, wide), 3),
        ("not contiguous", "the numbers of a row lie apart in memory", _rows(30, 8, 5), _rows(30, 2, 6), 4),
    ]  # fmt: skip
    return check("kept_neighbours z xy k", answer, right, cases, mistakes, number=True)


def uniformity_gradient(answer: Callable) -> Result:
    """Check `uniformity_gradient(z, rate)`: the derivative of the uniformity of z (N, d) by each of its points, found
    without autograd."""

    def right(z, rate):
        wide = z.double()
        pairs = [(i, j) for i in range(len(z)) for j in range(i)]
        logits = [-rate * math.dist(wide[i].tolist(), wide[j].tolist()) ** 2 for i, j in pairs]
        top = max(logits)
        total, gradient = sum(math.exp(x - top) for x in logits), torch.zeros_like(wide)
        for (i, j), logit in zip(pairs, logits, strict=True):
            push = -2 * rate * math.exp(logit - top) / total * (wide[i] - wide[j])
            gradient[i] += push
            gradient[j] -= push
        return gradient.to(z.dtype)

    def made(z, rate, *, factor=2.0, rows=False, itself=False, naive=False, uniform=False, log=True, straight=False):
        difference = z[:, None] - z[None]
        squared = difference.square().sum(dim=2)
        logits = -rate * (squared.sqrt() if straight else squared)
        if not itself:
            logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
        weight = logits.softmax(dim=1) if rows else logits.flatten().softmax(dim=0).view_as(logits)
        if naive:
            weight = logits.exp() / logits.exp().sum()
        if not log:
            weight = logits.exp() / (len(z) * (len(z) - 1))
        if uniform:
            weight = torch.full_like(logits, 1 / (len(z) * (len(z) - 1)))
        return (factor * -rate * 2 * weight[:, :, None] * difference).sum(dim=1)

    def one_end(z, rate):
        difference = z[:, None] - z[None]
        logits = -rate * difference.square().sum(dim=2)
        above = torch.ones_like(logits, dtype=torch.bool).triu(1)
        weight = logits.masked_fill(~above, -torch.inf).flatten().softmax(dim=0).view_as(logits)
        return (-2 * rate * weight[:, :, None] * difference).sum(dim=1)

    def projected(z, rate):
        gradient = made(z, rate)
        return gradient - (gradient * z).sum(dim=1, keepdim=True) / z.square().sum(dim=1, keepdim=True) * z

    by_point = "All pairs together have weights that sum to 1: here those of each point do"
    mistakes = [
        ("The sign is wrong: this way the points are pushed, and uniformity falls", partial(made, factor=-2)),
        ("Half of the gradient: a full table holds each pair twice, and d|x|² is 2 x dx", partial(made, factor=1)),
        ("Twice the gradient: the weights of the pairs i < j sum to 1", partial(made, factor=4)),
        (by_point, partial(made, rows=True, factor=1)),
        (by_point, partial(made, rows=True)),
        ("A point is no pair with itself: leave it out of the weights", partial(made, itself=True)),
        ("Each pair pushes both of its points: here it pushes one", one_end),
        ("The rate is missing: the derivative of the exponent brings it down", lambda z, rate: made(z, rate) / rate),
        ("The rate is an argument: here it is always 2", lambda z, rate: made(z, 2.0)),
        ("Far pairs count less: here all count the same", partial(made, uniform=True)),
        ("That is the gradient of the mean, and not of its log", partial(made, log=False)),
        ("In the exponent stands the squared distance: here its root", partial(made, straight=True)),
        ("The points are free: this gradient was projected onto a sphere", projected),
        ("exp(-rate d²) is 0 for all pairs, and 0 / 0 is NaN: take the largest exponent out first",
         partial(made, naive=True)),
    ]  # fmt: skip
    wide = torch.float64
    four = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.3, -1.2], [-0.7, 0.4]])
    cases = [
        ("four points", "the gradient of four points in the plane", four, 0.9),
        ("three points", "the gradient of three points, at another rate", four[1:].clone(), 0.37),
        ("two points", "the gradient of a single pair", four[:2].clone(), 0.55),
        ("rate 500", "the gradient at a rate so large that exp(-500) is 0 in float32", four.clone(), 500.0),
        ("rate 800", "the gradient at a larger rate still", 1.3 * four[:3], 800.0),
        ("coinciding points", "the gradient where all points are one", torch.ones(4, 3), 1.7),
        ("float64", "float64 in: float64 out", unit_rows(7, 5, 0, wide).contiguous(), 3.1),
        ("not contiguous", "the numbers of a row lie apart in memory", unit_rows(20, 5, 1), 2.3),
    ]
    return check("uniformity_gradient z rate", answer, right, cases, mistakes, by_hand=True)


def fixed_similarity(answer: Callable) -> Result:
    """Check `fixed_similarity(a, b, new_a, new_b)`: cosines (n, m) of new rows, turned by a rotation fitted on old
    ones. The broken version has three mistakes. Of two that are left it says so; the last one is named."""

    def made(a, b, new_a, new_b, *, leak="", turn=False, dim="", raw=False, fit=False):
        mean_a, mean_b = (
            (new if side in leak else old).mean(0) for side, old, new in (("a", a, new_a), ("b", b, new_b))
        )
        if raw:
            mean_a, mean_b = torch.zeros_like(mean_a), torch.zeros_like(mean_b)
        u, _, vt = torch.linalg.svd(a.T @ b if fit else (a - a.mean(0)).T @ (b - b.mean(0)))
        turned = (new_a - mean_a) @ ((u @ vt).T if turn else u @ vt)
        sides = (("a", turned), ("b", new_b - mean_b))
        p, q = (x if dim == "none" else normalize(x, dim=0 if side in dim else 1) for side, x in sides)
        return p @ q.T

    def right(a, b, new_a, new_b):
        from scipy.linalg import orthogonal_procrustes

        from_a, from_b = (x.double() - x.double().sum(0) / len(x) for x in (a, b))
        turn = torch.from_numpy(orthogonal_procrustes(from_a.numpy(), from_b.numpy())[0])
        p, q = (new_a.double() - a.double().mean(0)) @ turn, new_b.double() - b.double().mean(0)
        table = (p @ q.T) / p.square().sum(1).sqrt()[:, None] / q.square().sum(1).sqrt()
        return table.to(a.dtype)

    bugs = {"leak": "ab", "turn": True, "dim": "ab"}
    last = "Two bugs are mended. The last one: "
    mistakes = [
        (last + "the numbers of a new row change with the new rows that come beside it", partial(made, leak="ab")),
        (last + "the rows of a do not come near their partners in b", partial(made, turn=True)),
        (last + "the rows that are multiplied have other lengths than 1", partial(made, dim="ab")),
        ("a is taken off a mean of the new rows, b off one of the old", partial(made, leak="a")),
        ("b is taken off a mean of the new rows, a off one of the old", partial(made, leak="b")),
        ("One side has rows of length 1, and the other has not", partial(made, dim="a")),
        ("One side has rows of length 1, and the other has not", partial(made, dim="b")),
        ("Dot products, and no cosines: lengths still count", partial(made, dim="none")),
        ("No means are taken off the new rows, but they were in the fit", partial(made, raw=True)),
        ("The rotation is fitted on rows whose means are still in", partial(made, fit=True)),
    ]
    two_left = "One bug of the three is mended, two are left"
    mistakes += [
        (two_left, partial(made, **{bug: bugs[bug] for bug in left})) for left in itertools.combinations(bugs, 2)
    ]

    def pairs(n, d, seed, dtype=torch.float32):
        a = _rows(n, d, seed, dtype)
        q = torch.linalg.qr(unit_rows(d, d, seed + 7, dtype))[0]
        return a, a @ q + 0.1 * unit_rows(n, d, seed + 8, dtype) + 2

    def case(title, hint, n, d, new, seed, dtype=torch.float32):
        a, b = pairs(n + new, d, seed, dtype)
        return title, hint, a[:n].clone(), b[:n].clone(), a[n:], b[n:]

    cases = [
        case("twenty old pairs, three new", "the table of three new pairs after a fit on twenty old", 20, 3, 3, 0),
        case("one new pair", "the one number of one new pair", 20, 3, 1, 1),
        ("large scale", "the table of rows with numbers near 100,000",
         *(1e5 * x for x in case("", "", 30, 4, 5, 2)[2:])),
        case("float64", "float64 in: float64 out", 20, 5, 6, 3, torch.float64),
        case("not contiguous", "the numbers of a row lie apart in memory", 40, 8, 10, 4),
    ]  # fmt: skip
    broken = partial(made, **bugs)
    return check("fixed_similarity a b new_a new_b", answer, right, cases, mistakes, broken=broken)
