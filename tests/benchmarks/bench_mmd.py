"""xlib.mmd beside the plain form (one cdist and one exp a kernel and block): python tests/benchmarks/bench_mmd.py

Each line comes from a fresh process: the best time of a few calls, and by how much the first one raised the peak
resident set. Add `--threads 1` for one core, `--large` for n = 50,000 (minutes).
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

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
    return MMDLoss(kernel_scales=scales, bandwidth=1.0, dist_func=LpDistance(normalize_embeddings=False, power=2))(
        x, y
    )


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


def loop_mmd2(x, y, bandwidths, permutations):
    """The loop without a thought: our own mmd2, called again for each permutation."""
    z, generator = torch.cat([x, y]), torch.Generator().manual_seed(0)
    shuffled = (z[torch.randperm(len(z), generator=generator)] for _ in range(permutations))
    return torch.stack([mmd2(s[: len(x)], s[len(x) :], bandwidths=bandwidths) for s in shuffled])


def products(x, y, bandwidths, permutations):
    generator = torch.Generator().manual_seed(0)
    return permutation_test(x, y, bandwidths=bandwidths, permutations=permutations, generator=generator).null


def measure(what, ladder, n, gradient, permutations, repeats):
    """In this process: seconds, and MB above what was there before."""
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
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, from what is held now
    before = resident("VmRSS")
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = call()
        times.append(time.perf_counter() - start)
        if len(times) == 1:
            peak = resident("VmHWM")
    return {"seconds": min(times), "extra": peak - before, "peak": peak, "value": value}


def resident(which):
    """MB of this process in memory: now (VmRSS), or at most (VmHWM). Linux only."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) / 1024


def fresh(threads, *arguments):
    command = [sys.executable, __file__, "--threads", str(threads), "--one", json.dumps(arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def line(label, base, other, same=True):
    if same and abs(base["value"] - other["value"]) > 1e-5:
        sys.exit(f"{label}: {base['value']} and {other['value']} should be one value")
    print(
        f"{label:55} {base['seconds']:7.2f} s {base['extra']:6.0f} MB | {other['seconds']:6.3f} s "
        f"{other['extra']:4.0f} MB (process {other['peak']:4.0f} MB) | {base['seconds'] / other['seconds']:5.1f} x "
        f"faster, 1/{base['extra'] / max(other['extra'], 1):.0f} of the memory",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    print(f"torch {torch.__version__}, {options.threads} thread(s); n = m = {N:,}, d = {D}, 5 bandwidths")
    print(f"{'':55} {'baseline':>20} | xlib")
    for gradient in (False, True):
        for ladder in LADDERS:
            base = fresh(options.threads, "plain", ladder, N, gradient, 0, 1)
            mine = fresh(options.threads, "ours", ladder, N, gradient, 0, 5)
            line(f"plain, steps of {ladder}{', with gradient' if gradient else ''}", base, mine)
    if importlib.util.find_spec("pytorch_adapt"):
        for gradient in (False, True):
            base = fresh(options.threads, "pytorch_adapt", "√2", N, gradient, 0, 1)
            mine = fresh(options.threads, "ours", "√2", N, gradient, 0, 5)
            line(f"pytorch-adapt, steps of √2{', with gradient' if gradient else ''}", base, mine)
    for name, label in (("loop_cached", "loop over one kernel matrix"), ("loop_mmd2", "loop over mmd2")):
        base = fresh(options.threads, name, "√2", 500, False, 999, 1)
        mine = fresh(options.threads, "products", "√2", 500, False, 999, 5)
        line(f"999 permutations, n = m = 500, {label}", base, mine, same=False)
    if options.large:
        mine = fresh(options.threads, "ours", "√2", 50_000, False, 0, 1)
        print(f"n = m = 50,000, steps of √2: {mine['seconds']:.0f} s, in all {mine['peak']:.0f} MB")


if __name__ == "__main__":
    main()
