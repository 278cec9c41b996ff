"""The checks of lesson 04."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from xlib.course.checks.engine import Result, check


def _sample(n: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal rows, stored column by column, so not contiguous."""
    return torch.randn(d, n, generator=torch.Generator().manual_seed(seed), dtype=dtype).T


def _k(a: list[float], b: list[float], sigma: float) -> float:
    return math.exp(-(math.dist(a, b) ** 2) / (2 * sigma**2))


def mmd_unbiased(answer: Callable) -> Result:
    """Check `mmd_unbiased(x, y, sigma)`: the unbiased MMD² of x (n, d) and y (m, d) with the Gaussian kernel."""

    def right(x, y, sigma):
        p, q = x.double().tolist(), y.double().tolist()
        within = [
            sum(_k(a, b, sigma) for a, b in itertools.permutations(rows, 2)) / len(rows) / (len(rows) - 1)
            for rows in (p, q)
        ]
        across = sum(_k(a, b, sigma) for a in p for b in q) / len(p) / len(q)
        return torch.tensor(within[0] + within[1] - 2 * across, dtype=x.dtype)

    def made(x, y, sigma, *, diagonal=False, by="pairs", root=False, two=True, rate=0.5, twice=2.0):
        def table(a, b):
            d2 = (a.double()[:, None] - b.double()[None]).square().sum(dim=2)
            return (-rate * (d2.sqrt() if root else d2) / (sigma**2 if two else sigma)).exp()

        def within(rows):
            n = len(rows)
            total = table(rows, rows).sum() - (0 if diagonal else n)
            pairs = {"pairs": n, "all": n * n / (n - 1), "half": n / 2, "once": 2 * n, "x": len(x)}[by]
            return total / pairs / (len(x) - 1 if by == "x" else n - 1)

        return (within(x) + within(y) - twice * table(x, y).mean()).to(x.dtype)

    own = "A point is compared with itself: leave out the diagonals of k(x, x) and k(y, y)"
    mistakes = [
        (
            "That is the biased estimate: leave out the diagonals, and divide by n (n - 1)",
            partial(made, diagonal=True, by="all"),
        ),
        (f"{own}. Divided by n (n - 1), they are a constant too much", partial(made, diagonal=True)),
        ("Without its diagonal a table has n (n - 1) entries, not n²", partial(made, by="all")),
        ("Each pair is in the sum twice: divide by n (n - 1), not by half of it", partial(made, by="half")),
        ("Half of a table holds each pair once, and that is n (n - 1) / 2 pairs", partial(made, by="once")),
        ("Each sample has its own size: y has m points and m (m - 1) pairs", partial(made, by="x")),
        ("The distances are not squared: that is no Gaussian kernel", partial(made, root=True)),
        ("sigma is not squared", partial(made, two=False)),
        ("The 2 in 2 σ² is missing", partial(made, rate=1.0)),
        ("The average across counts twice: - 2 mean k(x, y)", partial(made, twice=1.0)),
        ("x with y is added, where it shall be taken off", partial(made, twice=-2.0)),
        ("An estimate of a squared distance may be negative: do not clamp it", lambda *g: made(*g).clamp(min=0)),
        ("An estimate of a squared distance may be negative: do not take its absolute", lambda *g: made(*g).abs()),
        ("That is MMD and not its square, and a negative number has no root", lambda *g: made(*g).sqrt()),
        ("The sign is turned: alike within and not across makes MMD² large", lambda *g: -made(*g)),
    ]
    wide = torch.float64
    x, y = torch.tensor([[0.0], [1], [2]]), torch.tensor([[1.0], [2], [4]])
    far = (
        "Float32, 3,000 away from the origin: squares that are multiplied out leave nothing but rounding there, and "
    )
    far += "torch.cdist multiplies out from 26 rows on"
    cases = [
        ("three and three", "Three numbers against three, at bandwidth 1.3", x, y, 1.3),
        ("another bandwidth", "The same numbers at bandwidth 3.1", x.clone(), y.clone(), 3.1),
        ("4 and 7 points", "4 points against 7, in three dimensions", _sample(4, 3, 0), _sample(7, 3, 1), 2.1),
        ("two and two", "Two points against two", _sample(2, 2, 2), _sample(2, 2, 3), 1.3),
        ("the same points", "Nine points against the same nine", _sample(9, 2, 4), _sample(9, 2, 4), 1.3),
        ("far from the origin", far, 3000 + _sample(64, 2, 5), 3000.5 + _sample(64, 2, 6), 1.3),
        (
            "float64",
            "Float64 in: float64 out",
            _sample(6, 4, 7, wide).contiguous(),
            _sample(5, 4, 8, wide).contiguous(),
            2.3,
        ),
        ("not contiguous", "The numbers of a row lie apart in memory", _sample(30, 8, 9), _sample(25, 8, 10), 3.1),
    ]
    return check("mmd_unbiased x y sigma", answer, right, cases, mistakes)


def expected_biased(answer: Callable) -> Result:
    """Check `expected_biased(n, m, d, sigma)`: the mean of the biased MMD² if both samples come from N(0, I)."""

    def right(n, m, d, sigma):
        from scipy import integrate, stats

        # |x - x'|² is twice a chi-square number with d degrees of freedom
        density = stats.chi2(d).pdf
        pieces = (0, 1, d / 2, d, 2 * d, 4 * d + 60)
        e = sum(
            integrate.quad(lambda q: math.exp(-q / sigma**2) * density(q), low, high, limit=200)[0]
            for low, high in itertools.pairwise(sorted(set(pieces)))
        )
        return torch.tensor((1 - e) * (1 / n + 1 / m))

    def made(n, m, d, sigma, *, variance=2.0, power=None, own=True, sizes="sum"):
        e = (1 + variance / sigma**2) ** (-(d if power is None else power) / 2)
        of = {"sum": 1 / n + 1 / m, "pooled": 2 / (n + m), "x": 2 / n, "one": 1 / n, "pairs": math.inf}[sizes]
        if sizes == "pairs" and min(n, m) > 1:
            of = 1 / (n - 1) + 1 / (m - 1)
        return torch.tensor((1 - e if own else 1.0) * of)

    def alike(n, m, d, sigma):
        return 1 - made(1, 1, d, sigma) / 2

    mistakes = [
        ("A coordinate of x - x' has variance 2: each of the two brings 1", partial(made, variance=1.0)),
        ("c t² with t of variance 2: both twos count once, c = 1/σ²", partial(made, variance=4.0)),
        ("σ is not squared", lambda n, m, d, s: made(n, m, d, math.sqrt(s))),
        ("That is for one coordinate: the kernel is a product over d of them", partial(made, power=1)),
        ("Each coordinate brings a square root: the power is -d/2, not -d", lambda n, m, d, s: made(n, m, 2 * d, s)),
        (
            "The power has lost its minus: a kernel is at most 1 on average",
            lambda n, m, d, s: made(n, m, d, s, power=-d),
        ),
        ("Two different points are a little alike as well, within a sample and across", partial(made, own=False)),
        ("x has n points and y has m: each has a diagonal of its own", partial(made, sizes="x")),
        ("y has a diagonal, too", partial(made, sizes="one")),
        (
            "Two averages are taken, of x and of y: they do not make one of n + m points",
            partial(made, sizes="pooled"),
        ),
        (
            "The biased estimate divides by n², so that n ones weigh 1/n and not 1/(n - 1)",
            partial(made, sizes="pairs"),
        ),
        ("That is how alike two points are on average, and not yet the mean of the estimate", alike),
        (
            "An entry on the diagonal is more than the others by 1 less their mean, not by their mean",
            lambda n, m, d, s: (1 / n + 1 / m) * alike(n, m, d, s),
        ),
        (
            "The entries across have a mean, too, and it is taken off twice",
            lambda n, m, d, s: made(n, m, d, s) + 2 * alike(n, m, d, s),
        ),
        ("On average the unbiased estimate is 0; the biased is not", lambda *given: torch.tensor(0.0)),
    ]
    against = "Compared with numerical integration"
    cases = [
        ("16 and 16 points", f"{against}, in 16 dimensions, at bandwidth 4.1", 16, 16, 16, 4.1),
        ("one dimension", f"{against}, in one dimension, at bandwidth 1.3", 10, 10, 1, 1.3),
        ("10 and 40 points", f"{against}, of samples of different sizes", 10, 40, 3, 1.7),
        ("one point each", f"{against}, of one point against one", 1, 1, 2, 1.3),
        ("a narrow kernel", f"{against}, at bandwidth .05: no two different points are alike", 20, 30, 8, 0.05),
        ("a wide kernel", f"{against}, at bandwidth 50: nearly all points are alike", 20, 30, 8, 50.0),
        ("100 dimensions", f"{against}, in 100 dimensions", 64, 64, 100, 14.5),
    ]
    return check("expected_biased n m d sigma", answer, right, cases, mistakes, number=True)


def fixed_p_value(answer: Callable) -> Result:
    """Check `fixed_p_value(kernel, n, orders)`: the p-value of a permutation test. The broken version has three
    mistakes; the first that is left is named, and whether there is another."""

    def right(kernel, n, orders):
        rows = kernel.double().tolist()

        def value(order):
            x, y = order[:n], order[n:]
            within = [
                sum(rows[i][j] for i, j in itertools.permutations(side, 2)) / len(side) / (len(side) - 1)
                for side in (x, y)
            ]
            return within[0] + within[1] - 2 * sum(rows[i][j] for i in x for j in y) / len(x) / len(y)

        real = value(list(range(len(rows))))
        count = sum(value(order) >= real - 1e-6 for order in orders.tolist())
        return torch.tensor((1 + count) / (1 + len(orders)))

    def made(kernel, n, orders, *, moved="both", strict=False, size=False, least=False, above=1, below=1):
        kernel, m = kernel.double(), len(kernel) - n

        def value(k):
            within = (k[:n, :n].sum() - n) / (n * (n - 1)) + (k[n:, n:].sum() - m) / (m * (m - 1))
            return within - 2 * k[:n, n:].mean()

        def dealt(order):
            return {"rows": kernel[order], "columns": kernel[:, order], "both": kernel[order][:, order]}[moved]

        real, null = value(kernel), torch.stack([value(dealt(order)) for order in orders])
        if size:
            real, null = real.abs(), null.abs()
        as_large = (null > real + 1e-6) if strict else (null >= real - 1e-6)
        if least:
            as_large = null <= real + 1e-6
        return (above + as_large.double().sum()) / (below + len(orders))

    bugs = {
        "half": (
            "kernel[order] moves the rows alone, and the columns stay: the diagonal is no diagonal any more",
            {"moved": "rows"},
        ),
        "strict": (
            "A split that is just as large as the real one counts as well, with a little room for rounding",
            {"strict": True},
        ),
        "ones": (
            "p can be 0: the real split is one of the possible ones, and counts above and below",
            {"above": 0, "below": 0},
        ),
    }
    mistakes = [
        ("Count the splits that are as large or larger, not as small or smaller", partial(made, least=True)),
        ("The real split counts below as well: there is one split more than orders has rows", partial(made, below=0)),
        ("The real split counts above as well: it is as large as itself", partial(made, above=0)),
        ("A split far below 0 is not large: do not take absolute values", partial(made, size=True)),
        (
            "That is 1 - p: the share of splits that are smaller",
            lambda *given: 1 - made(*given),
        ),
        ("kernel[:, order] moves the columns alone, and the rows stay", partial(made, moved="columns")),
    ]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]][0] + " (and there is one more)" * (len(left) - 1)
        options = {option: value for bug in left for option, value in bugs[bug][1].items()}
        mistakes.append((says, partial(made, **options)))

    def case(title, hint, n, m, shift, splits, seed, dtype=torch.float32, *, equal=False):
        draws = torch.Generator().manual_seed(seed)
        z = torch.cat([_sample(n, 2, seed, dtype), _sample(m, 2, seed + 50, dtype) + shift])
        kernel = (-(z[:, None] - z[None]).square().sum(dim=2) / 2).exp()
        orders = torch.rand(splits, n + m, generator=draws).argsort(dim=1)
        orders[0] = torch.arange(n + m)  # the real split may come up
        for row in range(0, splits, 2) if equal else ():
            orders[row] = torch.cat([torch.randperm(n, generator=draws), n + torch.randperm(m, generator=draws)])
        return title, hint, kernel, n, orders

    def coincide(title, hint, kernel, n, orders):
        return title, hint, torch.ones_like(kernel), n, orders

    wide = torch.float64
    same = "Every second row of orders deals the same points to x as the real split: equal but for rounding"
    cases = [
        case("5 and 5 points", "39 splits of 5 and 5 points, the real one among them", 5, 5, 0.6, 39, 4),
        coincide(*case("nothing to find", "All points coincide: no split differs from another", 4, 4, 0.0, 19, 1)),
        case("far apart", "19 splits of points that lie far apart, the real one among them", 8, 8, 9.0, 19, 2),
        case("4 and 9 points", "60 splits of 4 and 9 points", 4, 9, 0.8, 60, 2),
        case("one split", "A single split, and that is the real one", 5, 5, 0.3, 1, 4),
        case("equal splits", same, 12, 10, 0.9, 40, 7, equal=True),
        case("equal splits below 0", f"{same}. MMD² is below 0 here", 12, 10, 0.0, 40, 6, equal=True),
        case("float64", "The kernel in float64", 6, 6, 0.7, 60, 5, wide),
    ]
    title, hint, kernel, n, orders = case(
        "not contiguous", "Kernel and orders lie apart in memory", 12, 12, 0.5, 99, 3
    )
    cases.append((title, hint, torch.stack([kernel, kernel], dim=2)[:, :, 0], n, orders.T.contiguous().T))
    broken = partial(made, moved="rows", strict=True, above=0, below=0)
    return check("fixed_p_value kernel n orders", answer, right, cases, mistakes, broken=broken, number=True)


def push_and_pull(answer: Callable) -> Result:
    """Check `push_and_pull(x, y, sigma)`: (n, 2), how strongly the parts of the biased MMD² move each row."""

    def right(x, y, sigma):
        p, q, n = x.double().tolist(), y.double().tolist(), len(x)
        lengths = []
        for a in p:
            row = []
            for others in (p, q):
                force = [
                    2 / n / len(others) * sum(_k(a, b, sigma) * (b[c] - a[c]) for b in others) / sigma**2
                    for c in range(len(a))
                ]
                row.append(math.hypot(*force))
            lengths.append(row)
        return torch.tensor(lengths, dtype=x.dtype)

    def made(
        x,
        y,
        sigma,
        *,
        push=2.0,
        pull=2.0,
        rate=2,
        kernel="gauss",
        itself=True,
        vectors=True,
        pairs="both",
        sum_up=False,
    ):
        dtype, x, y = x.dtype, x.double(), y.double()

        def part(others, factor):
            difference = others[None] - x[:, None]
            d2 = difference.square().sum(dim=2)
            exponent = {"gauss": d2 / 2, "root": d2.sqrt() / 2, "no 2": d2, "none": 0 * d2}[kernel]
            n = len(x)
            count = {"both": n * len(others), "others": len(others), "x": n * n, "none": 1}[pairs]
            count -= 0 if itself or others is not x else n
            each = factor / count * (-exponent / sigma**2).exp()[:, :, None] * difference / sigma**rate
            return each.sum(dim=1) if vectors else each.norm(dim=2).sum(dim=1, keepdim=True)

        parts = [part(x, push), -part(y, pull)]
        parts = [sum(parts)] * 2 if sum_up else parts
        return torch.stack([vector.norm(dim=1) for vector in parts], dim=1).to(dtype)

    mistakes = [
        ("The push is half of what it should be: x_i stands in k(x_j, x_l) as j and as l", partial(made, push=1.0)),
        ("The 2 in front of the average across is missing", partial(made, pull=1.0)),
        ("Both are half of what they should be", partial(made, push=1.0, pull=1.0)),
        ("Push and pull are in the wrong order: the push, within x, comes first", lambda *g: made(*g).flip(1)),
        ("The derivative of exp(-r² / (2 σ²)) brings down 1 / σ²", partial(made, rate=0)),
        ("The derivative brings down 1 / σ², not 1 / σ", partial(made, rate=1)),
        ("The kernel is missing: a pull fades with the distance", partial(made, kernel="none")),
        ("The distances in the kernel are not squared", partial(made, kernel="root")),
        ("The 2 in the kernel's 2 σ² is missing", partial(made, kernel="no 2")),
        ("The biased estimate divides by n², not by n (n - 1)", partial(made, itself=False)),
        ("Add the pulls as vectors first, then take the length: opposite ones cancel", partial(made, vectors=False)),
        (
            "That is the mean over the others alone: x_i is one of n points, divide by n as well",
            partial(made, pairs="others"),
        ),
        ("Nothing is divided: both averages are over pairs", partial(made, pairs="none")),
        ("Across there are n m pairs, and not n²", partial(made, pairs="x")),
        ("Those are squared lengths", lambda *g: made(*g).square()),
        ("That is the length of the whole gradient, twice: keep the two parts apart", partial(made, sum_up=True)),
    ]
    wide = torch.float64
    x, y = torch.tensor([[0.0, 0.0], [1, 0], [0, 2]]), torch.tensor([[3.0, 0.0], [2, 2]])
    shapes = "a row for each of x, its push and then its pull"
    cases = [
        ("three and two", f"Three points against two at bandwidth 1.3: {shapes}", x, y, 1.3),
        ("another bandwidth", "The same points at bandwidth 2.7", x.clone(), y.clone(), 2.7),
        ("one and one", "One point against one: nothing pushes it", torch.zeros(1, 2), torch.ones(1, 2), 1.3),
        (
            "too narrow",
            "30 away at bandwidth .5: no pull is 0, not NaN",
            _sample(5, 2, 0),
            30 + _sample(5, 2, 1),
            0.5,
        ),
        (
            "coinciding points",
            "All of x in one place, all of y in another: nothing pushes",
            torch.ones(4, 3),
            torch.zeros(3, 3),
            1.3,
        ),
        (
            "float64",
            "Float64 in: float64 out",
            _sample(6, 4, 2, wide).contiguous(),
            _sample(5, 4, 3, wide).contiguous(),
            2.3,
        ),
        ("not contiguous", "The numbers of a row lie apart in memory", _sample(20, 8, 4), _sample(15, 8, 5), 3.1),
    ]
    return check("push_and_pull x y sigma", answer, right, cases, mistakes, by_hand=True)
