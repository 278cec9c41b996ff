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

    def made(x, y, sigma, *, diagonal=False, by="pairs", squared=True, two=True, rate=0.5, twice=2.0, products=False):
        dtype, (x, y) = x.dtype, ((x, y) if products else (x.double(), y.double()))

        def table(a, b):
            d2 = (a[:, None] - b[None]).square().sum(dim=2)
            if products:
                d2 = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
            return (-rate * (d2 if squared else d2.sqrt()) / (sigma**2 if two else sigma)).exp()

        def within(rows):
            n = len(rows)
            total = table(rows, rows).sum() - (0 if diagonal else n)
            return total / {"pairs": n * (n - 1), "all": n * n, "half": n * (n - 1) / 2}[by]

        return (within(x) + within(y) - twice * table(x, y).mean()).to(dtype)

    own = "A point is compared with itself: leave out the diagonals of k(x, x) and k(y, y)"
    mistakes = [
        (
            "That is the biased estimate: leave out the diagonals, and divide by n (n - 1)",
            partial(made, diagonal=True, by="all"),
        ),
        (f"{own}. Divided by n (n - 1), they are a constant too much", partial(made, diagonal=True)),
        ("Without its diagonal a table has n (n - 1) entries, not n²", partial(made, by="all")),
        ("Each pair is in the sum twice: divide by n (n - 1), not by half of it", partial(made, by="half")),
        ("The distances are not squared: that is no Gaussian kernel", partial(made, squared=False)),
        ("sigma is not squared", partial(made, two=False)),
        ("The 2 in 2 σ² is missing", partial(made, rate=1.0)),
        ("The average across counts twice: - 2 mean k(x, y)", partial(made, twice=1.0)),
        ("x with y is added, where it shall be taken off", partial(made, twice=-2.0)),
        ("An estimate of a squared distance may be negative: do not clamp it", lambda *g: made(*g).clamp(min=0)),
        ("That is MMD and not its square, and a negative number has no root", lambda *g: made(*g).sqrt()),
        ("|a|² + |b|² - 2 a·b cancels far from the origin: take differences first", partial(made, products=True)),
    ]
    wide = torch.float64
    x, y = torch.tensor([[0.0], [1], [2]]), torch.tensor([[1.0], [2], [4]])
    far = "|a|² + |b|² - 2 a·b cancels far from the origin: take differences first"
    cases = [
        ("three and three", "Averages within x and y without the diagonal, less twice the one across", x, y, 1.0),
        ("another bandwidth", "exp(-d² / (2 σ²))", x.clone(), y.clone(), 3.0),
        (
            "4 and 7 points",
            "n and m may differ: each sample has its own n (n - 1)",
            _sample(4, 3, 0),
            _sample(7, 3, 1),
            2.0,
        ),
        ("two and two", "Two points are one pair", _sample(2, 2, 2), _sample(2, 2, 3), 1.0),
        (
            "the same points",
            "An estimate of a squared distance may be negative",
            _sample(9, 2, 4),
            _sample(9, 2, 4),
            1.0,
        ),
        ("far from the origin", far, 3000 + _sample(6, 2, 5), 3000.5 + _sample(6, 2, 6), 1.0),
        (
            "float64",
            "A step leaves float64",
            _sample(6, 4, 7, wide).contiguous(),
            _sample(5, 4, 8, wide).contiguous(),
            2.0,
        ),
        (
            "not contiguous",
            "The numbers of a row may lie apart in memory",
            _sample(30, 8, 9),
            _sample(25, 8, 10),
            3.0,
        ),
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
        of = {"sum": 1 / n + 1 / m, "pooled": 2 / (n + m), "x": 2 / n, "pairs": 0.0}[sizes]
        if sizes == "pairs":
            of = 1 / (n - 1) + 1 / (m - 1) if min(n, m) > 1 else math.inf
        return torch.tensor((1 - e if own else 1.0) * of)

    mistakes = [
        ("A coordinate of x - x' has variance 2: each of the two brings 1", partial(made, variance=1.0)),
        ("c t² with t of variance 2: both twos count once, c = 1/σ²", partial(made, variance=4.0)),
        ("σ is not squared", lambda n, m, d, s: made(n, m, d, math.sqrt(s))),
        ("That is for one coordinate: the kernel is a product over d of them", partial(made, power=1)),
        (
            "Each coordinate brings (1 + 2c)^(-1/2): the power is -d/2, not -d",
            lambda n, m, d, s: made(n, m, 2 * d, s),
        ),
        (
            "The diagonal brings 1/n + 1/m, but the other pairs within do not add up to the ones across: take e off",
            partial(made, own=False),
        ),
        ("x has n points and y has m: 1/n + 1/m", partial(made, sizes="x")),
        ("1/n + 1/m is not 2 / (n + m)", partial(made, sizes="pooled")),
        (
            "The biased estimate divides by n², so the diagonal is 1/n of it, not 1/(n - 1)",
            partial(made, sizes="pairs"),
        ),
        (
            "That is e, the mean of the kernel: the estimate is (1 - e) (1/n + 1/m)",
            lambda n, m, d, s: 1 - made(1, 1, d, s) / 2,
        ),
        ("On average the unbiased estimate is 0; the biased is not", lambda *given: torch.tensor(0.0)),
    ]
    hint = "(1 - e) (1/n + 1/m), e the mean of the kernel over two points"
    cases = [
        ("16 and 16 points", hint, 16, 16, 16, 4.0),
        ("one dimension", "With d = 1 the power is -1/2", 10, 10, 1, 1.0),
        ("10 and 40 points", "n and m may differ", 10, 40, 3, 1.5),
        ("one point each", "One point against one: 2 (1 - e)", 1, 1, 2, 1.0),
        ("a narrow kernel", "e is nearly 0, and 1/n + 1/m remains", 20, 30, 8, 0.05),
        ("a wide kernel", "e is nearly 1", 20, 30, 8, 50.0),
        ("100 dimensions", "Is it a power of d?", 64, 64, 100, 14.0),
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
        count = sum(value(order) >= real - 1e-7 for order in orders.tolist())
        return torch.tensor((1 + count) / (1 + len(orders)))

    def made(kernel, n, orders, *, half=False, strict=False, ones=True, least=False, more=False, columns=False):
        kernel, m = kernel.double(), len(kernel) - n

        def value(k):
            within = (k[:n, :n].sum() - n) / (n * (n - 1)) + (k[n:, n:].sum() - m) / (m * (m - 1))
            return within - 2 * k[:n, n:].mean()

        def dealt(order):
            return kernel[:, order] if columns else kernel[order] if half else kernel[order][:, order]

        real, null = value(kernel), torch.stack([value(dealt(order)) for order in orders])
        as_large = (null > real + 1e-7) if strict else (null >= real - 1e-7)
        if least:
            as_large = null <= real + 1e-7
        if more:
            return (1 + as_large.double().sum()) / len(orders)
        return (ones + as_large.double().sum()) / (ones + len(orders))

    bugs = {
        "half": "kernel[order] moves the rows alone, and the columns stay: the diagonal is no diagonal any more",
        "strict": "A split that is just as large counts as well: >=, with a little room for rounding",
        "ones": "p = count / splits can be 0: the real split is one of the possible ones, (1 + count) / (1 + splits)",
    }
    values = {"half": True, "strict": True, "ones": False}
    mistakes = [
        ("Count the splits that are as large or larger, not as small or smaller", partial(made, least=True)),
        ("The real split counts below as well: 1 + len(orders)", partial(made, more=True)),
    ]
    for left in (*itertools.combinations(bugs, 1), *itertools.combinations(bugs, 2)):
        says = bugs[left[0]] + " (and there is one more)" * (len(left) - 1)
        mistakes.append((says, partial(made, **{bug: values[bug] for bug in left})))

    def case(title, hint, n, m, shift, splits, seed, dtype=torch.float32, same=False):
        z = torch.cat([_sample(n, 2, seed, dtype), _sample(m, 2, seed + 50, dtype) + shift])
        z = 0 * z if same else z
        kernel = (-torch.cdist(z, z).square() / 2).exp()
        orders = torch.rand(splits, n + m, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
        orders[0] = torch.arange(n + m)  # the real split may come up
        return title, hint, kernel, n, orders

    wide = torch.float64
    cases = [
        case("5 and 5 points", "How many splits are as large as the real one, itself included?", 5, 5, 0.6, 39, 0),
        case(
            "nothing to find",
            "All points coincide: every split is as large as the real one, so p is 1",
            4,
            4,
            0.0,
            19,
            1,
            same=True,
        ),
        case("far apart", "p is never 0", 8, 8, 9.0, 19, 2),
        case("4 and 9 points", "n and m may differ", 4, 9, 0.8, 60, 3),
        case("one split", "p can be 1/2 or 1", 5, 5, 0.3, 1, 4),
        case("float64", "A step leaves float64", 6, 6, 0.7, 60, 5, wide),
    ]
    title, hint, kernel, n, orders = case("not contiguous", "The numbers may lie apart in memory", 12, 12, 0.5, 99, 6)
    cases.append((title, hint, torch.stack([kernel, kernel], dim=2)[:, :, 0], n, orders.T.contiguous().T))
    broken = partial(made, half=True, strict=True, ones=False)
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
        x, y, sigma, *, push=2.0, pull=2.0, rate=2, kernel=True, itself=True, vectors=True, points=True, squared=True
    ):
        dtype, x, y = x.dtype, x.double(), y.double()

        def part(others, factor):
            difference = others[None] - x[:, None]
            d2 = difference.square().sum(dim=2)
            k = (-(d2 if squared else d2.sqrt()) / (2 * sigma**2)).exp() if kernel else torch.ones_like(d2)
            pairs = len(others) * (len(x) if points else 1) - (0 if itself or others is not x else len(x))
            each = factor / pairs * k[:, :, None] * difference / sigma**rate
            return each.sum(dim=1).norm(dim=1) if vectors else each.norm(dim=2).sum(dim=1)

        return torch.stack([part(x, push), part(y, pull)], dim=1).to(dtype)

    mistakes = [
        ("The push is half of what it should be: x_i stands in k(x_j, x_l) as j and as l", partial(made, push=1.0)),
        ("The 2 in front of the average across is missing", partial(made, pull=1.0)),
        ("Both are half of what they should be", partial(made, push=1.0, pull=1.0)),
        ("Push and pull are in the wrong order: the push, within x, comes first", lambda *g: made(*g).flip(1)),
        ("The derivative of exp(-r² / (2 σ²)) brings down 1 / σ²", partial(made, rate=0)),
        ("The derivative brings down 1 / σ², not 1 / σ", partial(made, rate=1)),
        ("The kernel is missing: a pull fades with the distance", partial(made, kernel=False)),
        ("The biased estimate divides by n², not by n (n - 1)", partial(made, itself=False)),
        ("Add the pulls as vectors first, then take the length: opposite ones cancel", partial(made, vectors=False)),
        (
            "That is the mean over the others alone: x_i is one of n points, divide by n as well",
            partial(made, points=False),
        ),
        (
            "That is the length of the whole gradient, or of nothing: keep the two parts apart",
            lambda *g: made(*g).square(),
        ),
    ]
    wide = torch.float64
    x, y = torch.tensor([[0.0, 0.0], [1, 0], [0, 2]]), torch.tensor([[3.0, 0.0], [2, 2]])
    cases = [
        ("three and two", "2 / (n · others) times the sum of k(x_i, o) (o - x_i) / σ², and its length", x, y, 1.0),
        ("another bandwidth", "Where does σ come in?", x.clone(), y.clone(), 2.5),
        ("one and one", "A single point is not pushed: 0", torch.zeros(1, 2), torch.ones(1, 2), 1.0),
        ("too narrow", "No pull at all is 0, not NaN", _sample(5, 2, 0), 30 + _sample(5, 2, 1), 0.5),
        (
            "coinciding points",
            "Points that coincide do not push each other",
            torch.ones(4, 3),
            torch.zeros(3, 3),
            1.0,
        ),
        (
            "float64",
            "A step leaves float64",
            _sample(6, 4, 2, wide).contiguous(),
            _sample(5, 4, 3, wide).contiguous(),
            2.0,
        ),
        ("not contiguous", "The numbers of a row may lie apart in memory", _sample(20, 8, 4), _sample(15, 8, 5), 3.0),
    ]
    return check("push_and_pull x y sigma", answer, right, cases, mistakes)
