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


def cosines_without_gap(answer: Callable) -> Result:
    """Check `cosines_without_gap(a, b)`: the (N, M) cosines of unit rows, each modality off its own mean."""

    def right(a, b):
        sides = []
        for rows in (a.double(), b.double()):
            rows = torch.stack([row / row.square().sum().sqrt() for row in rows])
            sides.append([row - sum(rows) / len(rows) for row in rows])
        table = [[p.dot(q) / (p.dot(p) * q.dot(q)).sqrt() for q in sides[1]] for p in sides[0]]
        return torch.tensor(table, dtype=a.dtype)

    def made(a, b, *, before=True, after=True, means="own", dim=1, along=0):
        a, b = (unit(a), unit(b)) if before else (a, b)
        both = torch.cat([a, b]).mean(dim=0) if means == "common" else 0
        own = means == "own"
        a, b = a - (a.mean(along, keepdim=True) if own else both), b - (b.mean(along, keepdim=True) if own else both)
        return normalize(a, dim=dim) @ normalize(b, dim=dim).T if after else a @ b.T

    mistakes = [
        ("No mean is taken off: the gap is still there", partial(made, means="none")),
        ("One mean for both modalities leaves the gap as it is: each has its own", partial(made, means="common")),
        ("Long rows outvote short ones in the mean: normalise before it, too", partial(made, before=False)),
        ("Off the mean, the rows are no unit vectors any more: normalise again", partial(made, after=False)),
        ("Normalised along the wrong dimension: dim=1", partial(made, dim=0)),
        ("That mean runs over the numbers of a row: over the items it is dim=0", partial(made, along=1)),
    ]
    table, wide = torch.tensor, torch.float64
    two = "Unit rows, each modality off its own mean, unit rows again, products"
    a, b = table([[1, 0], [0.6, 0.8], [0.8, 0.6]]), table([[0, 1], [-0.6, 0.8], [-0.8, 0.6]])
    cases = [
        ("three and three", two, a, b),
        ("three and two", "N rows of a and M of b give shape (N, M)", a.clone(), b[:2].clone()),
        ("long rows", "A row counts by its direction alone", _rows(6, 4, 0), 1e4 * _rows(5, 4, 1)),
        ("float64", "A step leaves float64", _rows(6, 4, 2, wide).contiguous(), _rows(6, 4, 3, wide).contiguous()),
        ("not contiguous", "The numbers of a row may lie apart in memory", _rows(40, 30, 4), _rows(30, 30, 5)),
    ]
    return check("cosines_without_gap a b", answer, right, cases, mistakes)


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

    def made(z, xy, k, *, own=False, length=False, flat=False, order=False, farthest=False, straight=False):
        space, seen = z if length else unit(z), unit(xy) if flat else xy
        near, on_map = space @ space.T, seen @ seen.T if flat else -(seen[:, None] - seen[None]).square().sum(2)
        if straight:
            near = -(z[:, None] - z[None]).square().sum(2)
        if farthest:
            on_map = -on_map
        if not own:
            itself = torch.eye(len(z), dtype=torch.bool)
            near, on_map = (x.masked_fill(itself, -torch.inf) for x in (near, on_map))
        a, b = (x.topk(k, dim=1).indices for x in (near, on_map))
        return ((a == b) if order else (a[:, :, None] == b[:, None]).any(2)).double().mean()

    mistakes = [
        ("Each point counts itself as a neighbour: leave the diagonal out", partial(made, own=True)),
        ("That is a dot product: long rows are everybody's neighbours", partial(made, length=True)),
        ("In z, nearness is the cosine: that is the distance", partial(made, straight=True)),
        ("On a map, near means a small distance: that is the cosine", partial(made, flat=True)),
        ("The order among the k does not count: compare them as sets", partial(made, order=True)),
        ("Of the distances, these are the largest: the nearest have the smallest", partial(made, farthest=True)),
        ("That is a count: divide by N and by k", lambda z, xy, k: made(z, xy, k) * len(z) * k),
        ("That is the mean count of a point: divide by k as well", lambda z, xy, k: made(z, xy, k) * k),
    ]
    turn = torch.linspace(0, 2.3, 12) ** 2  # no two gaps are equal, so nothing is a tie
    ring, flat = torch.stack([turn.cos(), turn.sin()], dim=1), torch.stack([turn * 0.7, (3 * turn).sin()], dim=1)
    lengths, wide = torch.tensor([1.0, 9, 2, 1, 1, 5, 1, 3, 1, 1, 7, 1])[:, None], torch.float64
    far = "A distance by way of products cancels far from the origin: take differences first"
    cases = [
        ("twelve points", "Of the k nearest others on each side, how many are the same?", ring * lengths, flat, 3),
        ("three points", "With N - 1 neighbours every other point is one", ring[:3].clone(), flat[:3].clone(), 2),
        ("one neighbour", "k may be 1", unit_rows(20, 5, 0), unit_rows(20, 5, 0)[:, :2].contiguous(), 1),
        ("far from the origin", far, _rows(40, 6, 1), 3000 + _rows(40, 2, 2), 5),
        ("float64", "A step leaves float64", _rows(9, 4, 3, wide), 1e6 + 1e-3 * unit_rows(9, 2, 4, wide), 3),
        ("not contiguous", "The numbers of a row may lie apart in memory", _rows(30, 8, 5), _rows(30, 2, 6), 4),
    ]
    return check("kept_neighbours z xy k", answer, right, cases, mistakes, number=True)


def uniformity_gradient(answer: Callable) -> Result:
    """Check `uniformity_gradient(z, t)`: the derivative of the uniformity of z (N, d) by each of its points."""

    def right(z, t):
        z = z.double()
        pairs = [(i, j) for i in range(len(z)) for j in range(i)]
        logits = [-t * math.dist(z[i].tolist(), z[j].tolist()) ** 2 for i, j in pairs]
        top = max(logits)
        total, gradient = sum(math.exp(x - top) for x in logits), torch.zeros_like(z)
        for (i, j), logit in zip(pairs, logits, strict=True):
            push = -2 * t * math.exp(logit - top) / total * (z[i] - z[j])
            gradient[i] += push
            gradient[j] -= push
        return gradient

    def made(z, t, *, factor=2.0, rows=False, itself=False, naive=False, uniform=False):
        difference = z[:, None] - z[None]
        logits = -t * difference.square().sum(dim=2)
        if not itself:
            logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
        weight = logits.softmax(dim=1) if rows else logits.flatten().softmax(dim=0).view_as(logits)
        if naive:
            weight = logits.exp() / logits.exp().sum()
        if uniform:
            weight = torch.full_like(logits, 1 / (len(z) * (len(z) - 1)))
        return (factor * -t * 2 * weight[:, :, None] * difference).sum(dim=1)

    def cast(function):
        return lambda z, t: function(z, t).to(z.dtype)

    over = "exp(-t d²) is 0 for all pairs, and 0 / 0: a softmax takes the maximum out first"
    mistakes = [
        ("The sign is wrong: that is the push on the points, the gradient is its opposite", partial(made, factor=-2)),
        (
            "Half of the gradient: d|x|² = 2 x dx, and a full table holds each pair twice",
            partial(made, factor=1),
        ),
        ("Twice the gradient: the weights of the pairs i < j sum to 1", partial(made, factor=4)),
        ("The softmax runs over all pairs, not over the others of each point", partial(made, rows=True, factor=1)),
        ("The softmax runs over all pairs, not over the others of each point", partial(made, rows=True)),
        ("A point is no neighbour of itself: leave the diagonal out of the softmax", partial(made, itself=True)),
        ("t is missing: the derivative of t |z - z'|² brings it down", lambda z, t: made(z, t) / t),
        ("Far pairs count less: each pair is weighted by its softmax", partial(made, uniform=True)),
        (
            "exp(-t d²) is 0 for all pairs, and 0 / 0: a softmax takes the maximum out first",
            partial(made, naive=True),
        ),
    ]
    wide = torch.float64
    three = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    cases = [
        ("three points", "Sum over j of w_ij (-2t)(z_i - z_j), w the softmax over the pairs", three, 3.0),
        ("two points", "With one pair, its weight is 1", three[:2].clone(), 0.5),
        ("t = 500", over, three.clone(), 500.0),
        ("coinciding points", "Points that coincide do not push each other", torch.ones(4, 3), 2.0),
        ("float64", "A step leaves float64", unit_rows(7, 5, 0, wide).contiguous(), 3.0),
        ("not contiguous", "The numbers of a row may lie apart in memory", unit_rows(20, 5, 1), 2.0),
    ]
    return check("uniformity_gradient z t", answer, cast(right), cases, mistakes)


def fixed_similarity(answer: Callable) -> Result:
    """Check `fixed_similarity(a, b, new_a, new_b)`: cosines (n, m) of new rows, turned by a rotation fitted on old
    ones. The broken version has three mistakes; the first that is left is named, and whether there is another."""

    def made(a, b, new_a, new_b, *, leak=False, turn=False, dim=False, raw=False):
        mean_a, mean_b = (new_a.mean(0), new_b.mean(0)) if leak else (a.mean(0), b.mean(0))
        if raw:
            mean_a, mean_b = torch.zeros_like(mean_a), torch.zeros_like(mean_b)
        u, _, vt = torch.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
        turned = (new_a - mean_a) @ ((u @ vt).T if turn else u @ vt)
        along = 0 if dim else 1
        return normalize(turned, dim=along) @ normalize(new_b - mean_b, dim=along).T

    def right(a, b, new_a, new_b):
        from scipy.linalg import orthogonal_procrustes

        from_a, from_b = (x.double() - x.double().sum(0) / len(x) for x in (a, b))
        turn = torch.from_numpy(orthogonal_procrustes(from_a.numpy(), from_b.numpy())[0])
        p, q = (new_a.double() - a.double().mean(0)) @ turn, new_b.double() - b.double().mean(0)
        table = (p @ q.T) / p.square().sum(1).sqrt()[:, None] / q.square().sum(1).sqrt()
        return table.to(a.dtype)

    bugs = {
        "leak": "The means of the new rows are taken off: those of a and b belong to what was fitted",
        "turn": "The rotation is the wrong way round: R = U V', and not its transpose",
        "dim": "The rows are no unit vectors: normalise along dim=1",
    }
    mistakes = [("No means are taken off the new rows: those of a and b", partial(made, raw=True))]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(made, **dict.fromkeys(left, True))))

    def pairs(n, d, seed, dtype=torch.float32):
        a = _rows(n, d, seed, dtype)
        q = torch.linalg.qr(unit_rows(d, d, seed + 7, dtype))[0]
        return a, a @ q + 0.1 * unit_rows(n, d, seed + 8, dtype) + 2

    def case(title, hint, n, d, new, seed, dtype=torch.float32):
        a, b = pairs(n + new, d, seed, dtype)
        return title, hint, a[:n].clone(), b[:n].clone(), a[n:], b[n:]

    one = "One new row: what is left of it after its own mean?"
    cases = [
        case("twenty old pairs, three new", "Fit on a and b; then centre, turn, normalise, multiply", 20, 3, 3, 0),
        case("one new pair", one, 20, 3, 1, 1),
        ("large scale", "Only directions count", *(1e5 * x for x in case("", "", 30, 4, 5, 2)[2:])),
        case("float64", "A step leaves float64", 20, 5, 6, 3, torch.float64),
        case("not contiguous", "The numbers of a row may lie apart in memory", 40, 8, 10, 4),
    ]
    broken = partial(made, leak=True, turn=True, dim=True)
    return check("fixed_similarity a b new_a new_b", answer, right, cases, mistakes, broken=broken)
