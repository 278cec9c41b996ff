"""xlib.mmd beside the plain form (one cdist and one exp a kernel and block), pytorch-adapt, and permutation loops.

python tests/benchmarks/bench_mmd.py        some two minutes; each number comes from a fresh process: the best time of
a few calls, and by how much the first one raised the resident memory.
"""

import sys

import torch
from measured import against, answer, fresh, measure, table, threads

from xlib.mmd import mmd2, permutation_test

N, D = 4096, 256
LADDERS = {
    "√2": [2 ** (k / 2) for k in (-2, -1, 0, 1, 2)],
    "2": [0.25, 0.5, 1.0, 2.0, 4.0],
    "any": [0.4, 0.7, 1.0, 1.7, 2.3],
}


def samples(n, d=D):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator), torch.randn(n, d, generator=generator) + 0.1


def sigmas(ladder):
    return [(2 * D) ** 0.5 * step for step in LADDERS[ladder]]


def plain(x, y, bandwidths):
    total = 0
    for sigma in bandwidths:
        xx, yy, xy = (torch.exp(-(torch.cdist(a, b) ** 2) / (2 * sigma**2)) for a, b in ((x, x), (y, y), (x, y)))
        n, m = len(x), len(y)
        total += (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()
    return total / len(bandwidths)


def ours(x, y, bandwidths):
    return mmd2(x, y, bandwidths=bandwidths)


def pytorch_adapt(x, y, bandwidths):
    from pytorch_adapt.layers import MMDLoss
    from pytorch_metric_learning.distances import LpDistance

    scales = torch.tensor([1 / (2 * sigma**2) for sigma in bandwidths])
    squared = LpDistance(normalize_embeddings=False, power=2)
    return MMDLoss(kernel_scales=scales, mmd_type="quadratic", bandwidth=1.0, dist_func=squared)(x, y)


def loop_cached(x, y, bandwidths, permutations):
    """The usual loop: the kernel matrix once, then a gather of its blocks for each permutation."""
    z, n = torch.cat([x, y]), len(x)
    squared = torch.cdist(z, z) ** 2
    kernel = sum(torch.exp(-squared / (2 * sigma**2)) for sigma in bandwidths) / len(bandwidths)
    kernel.fill_diagonal_(0)
    generator, values = torch.Generator().manual_seed(0), []
    for _ in range(permutations):
        a, b = torch.randperm(len(z), generator=generator).split([n, len(z) - n])
        xx, yy, xy = kernel[a][:, a].sum(), kernel[b][:, b].sum(), kernel[a][:, b].sum()
        values.append(xx / n / (n - 1) + yy / len(b) / (len(b) - 1) - 2 * xy / n / len(b))
    return torch.stack(values)


def loop_groups(x, y, bandwidths, permutations):
    """The loop over one kernel matrix where each of ten groups is dealt out by itself."""
    z, n = torch.cat([x, y]), len(x)
    squared = torch.cdist(z, z) ** 2
    kernel = sum(torch.exp(-squared / (2 * sigma**2)) for sigma in bandwidths) / len(bandwidths)
    kernel.fill_diagonal_(0)
    labels = torch.cat([torch.arange(len(rows)) % 10 for rows in (x, y)])
    groups = [((labels == group).nonzero()[:, 0], (labels[:n] == group).sum().item()) for group in range(10)]
    generator, values = torch.Generator().manual_seed(0), []
    for _ in range(permutations):
        dealt = [rows[torch.randperm(len(rows), generator=generator)] for rows, _ in groups]
        a = torch.cat([rows[:of_x] for rows, (_, of_x) in zip(dealt, groups, strict=True)])
        b = torch.cat([rows[of_x:] for rows, (_, of_x) in zip(dealt, groups, strict=True)])
        xx, yy, xy = kernel[a][:, a].sum(), kernel[b][:, b].sum(), kernel[a][:, b].sum()
        values.append(xx / n / (n - 1) + yy / len(b) / (len(b) - 1) - 2 * xy / n / len(b))
    return torch.stack(values)


def loop_mmd2(x, y, bandwidths, permutations):
    """The loop without a thought: our own mmd2, called again for each permutation."""
    z, generator = torch.cat([x, y]), torch.Generator().manual_seed(0)
    shuffled = (z[torch.randperm(len(z), generator=generator)] for _ in range(permutations))
    return torch.stack([mmd2(s[: len(x)], s[len(x) :], bandwidths=bandwidths) for s in shuffled])


def products(x, y, bandwidths, permutations):
    generator = torch.Generator().manual_seed(0)
    return permutation_test(x, y, bandwidths=bandwidths, permutations=permutations, generator=generator).null


def products_within(x, y, bandwidths, permutations):
    generator, groups = torch.Generator().manual_seed(0), tuple(torch.arange(len(rows)) % 10 for rows in (x, y))
    options = {"bandwidths": bandwidths, "permutations": permutations, "generator": generator}
    return permutation_test(x, y, groups=groups, **options).null


def one(what, ladder, n, gradient, permutations, repeats):
    x, y = samples(n)
    if gradient:
        x.requires_grad_(), y.requires_grad_()
    more = (permutations,) if permutations else ()

    def call():
        value = globals()[what](x, y, sigmas(ladder), *more)
        if gradient:
            value.backward()
            x.grad = y.grad = None
        return float(value.detach().mean())

    small = samples(64)  # libraries and thread pools are loaded before, not measured
    globals()[what](*small, sigmas(ladder), *((2,) if permutations else ()))
    return measure(call, repeats=repeats)


def main():
    rows = []
    for gradient in (False, True):
        for other, ladder in (("plain", "√2"), ("plain", "2"), ("plain", "any"), ("pytorch_adapt", "√2")):
            base = fresh(__file__, other, ladder, N, gradient, 0, 1)
            mine = fresh(__file__, "ours", ladder, N, gradient, 0, 5)
            label = f"{other}, {'steps of ' * (ladder != 'any')}{ladder}{', with gradient' * gradient}"
            if abs(base["value"] - mine["value"]) > 1e-5:
                sys.exit(f"{label}: {base['value']} and {mine['value']} should be one value")
            rows.append(against(label, base, mine))
    table(f"mmd2, n = m = {N:,}, d = {D}, five bandwidths, {threads()}", rows)

    rows = []
    for name, label, mine in (
        ("loop_cached", "a loop over one kernel matrix", "products"),
        ("loop_mmd2", "a loop over mmd2", "products"),
        ("loop_groups", "within ten groups: a loop over one kernel matrix", "products_within"),
    ):
        base = fresh(__file__, name, "√2", 500, False, 999, 1)
        rows.append(against(label, base, fresh(__file__, mine, "√2", 500, False, 999, 5)))
    table(f"permutation_test, 999 permutations, n = m = 500, d = {D}, {threads()}", rows)

    large = fresh(__file__, "ours", "√2", 50_000, False, 0, 1)
    print(
        f"\nmmd2 at n = m = 50,000, d = {D}: {large['seconds']:.0f} s, {large['extra']:,.0f} MB more than its input;"
    )
    print(f"the whole process holds {large['peak']:,.0f} MB at most.")


if __name__ == "__main__":
    if not answer(one):
        main()
