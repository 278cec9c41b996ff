"""xlib.scale beside open_clip's losses, and gradient caching beside a plain step.

python tests/benchmarks/bench_scale.py        some two minutes; each number comes from a fresh process: the best time
of a few calls, forward and backward, and by how much the first one raised the resident memory.
"""

import sys

import torch
import torch.nn.functional as F
from measured import against, answer, fresh, measure, table, threads

from xlib import contrastive, encoders
from xlib.data import numbers
from xlib.experiments.numbers import VOCABULARY
from xlib.scale import cached_backward, info_nce_tiled, siglip_tiled

N = 8192


def pairs(n, d):
    generator = torch.Generator().manual_seed(0)
    za = F.normalize(torch.randn(n, d, generator=generator), dim=1)
    zb = F.normalize(za + 0.1 * torch.randn(n, d, generator=generator), dim=1)
    return za.requires_grad_(), zb.requires_grad_()


def loss(what, za, zb, scale):
    if what == "ClipLoss":
        from open_clip.loss import ClipLoss

        return ClipLoss()(za, zb, scale)
    if what == "SigLipLoss":
        from open_clip.loss import SigLipLoss

        return SigLipLoss()(za, zb, scale, torch.tensor(-10.0))
    if what == "siglip_tiled":
        return siglip_tiled(za, zb, logit_scale=scale, logit_bias=-10.0)
    return {"info_nce": contrastive.info_nce, "info_nce_tiled": info_nce_tiled}[what](za, zb, logit_scale=scale)


def of_a_loss(what, n, d, repeats):
    za, zb = pairs(n, d)
    scale = torch.tensor(1 / 0.07, requires_grad=True)

    def call():
        za.grad = zb.grad = scale.grad = None
        value = loss(what, za, zb, scale)
        value.backward()
        return value.item()

    small = pairs(64, d)  # libraries and thread pools are loaded before, not measured
    loss(what, *small, scale).backward()
    return measure(call, repeats=repeats)


def of_a_step(batch, chunk):
    """A training step of lesson 03's CLIP; chunk 0: at once. Captions repeat in a batch of 4,096, which no training
    should allow; time and memory do not mind."""
    torch.manual_seed(0)
    image, text = encoders.ImageEncoder((16, 32)), encoders.TextEncoder(len(VOCABULARY))
    image.eval(), text.eval()  # no dropout, so that both ways give one gradient
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(10, 100, (batch,), generator=generator)
    pictures = numbers.load("train").draw(chosen, generator=generator)
    tokens = VOCABULARY([numbers.caption(number) for number in chosen.tolist()])

    def whole(za, zb):
        return info_nce_tiled(F.normalize(za, dim=1), F.normalize(zb, dim=1), logit_scale=1 / 0.07)

    def call(rows=batch):
        image.zero_grad(), text.zero_grad()
        if chunk:
            cached_backward(whole, (image, pictures[:rows]), (text, tokens[:rows]), chunk=chunk)
        else:
            whole(image(pictures[:rows]), text(tokens[:rows])).backward()
        return torch.cat([p.grad.flatten() for p in (*image.parameters(), *text.parameters())])

    call(16)
    result = measure(call, repeats=2)
    return result | {"value": result["value"].tolist()}


def one(kind, *arguments):
    return {"loss": of_a_loss, "step": of_a_step}[kind](*arguments)


def main():
    rows = []
    for other, ours in (("ClipLoss", "info_nce_tiled"), ("SigLipLoss", "siglip_tiled")):
        for d in (128, 512):
            base, mine = (fresh(__file__, "loss", what, N, d, repeats) for what, repeats in ((other, 3), (ours, 5)))
            if abs(base["value"] - mine["value"]) > 1e-4 * base["value"]:
                sys.exit(f"{other} {base['value']} and {ours} {mine['value']} should be one value")
            rows.append(against(f"open_clip {other} / {ours}, d = {d}", base, mine))
    base, mine = (fresh(__file__, "loss", what, N, 128, 3) for what in ("info_nce", "info_nce_tiled"))
    rows.append(against("xlib's info_nce / info_nce_tiled, d = 128", base, mine))
    table(f"Contrastive losses, N = {N:,}, forward and backward, {threads()}", rows)

    large = fresh(__file__, "loss", "info_nce_tiled", 65_536, 128, 1)
    print(
        f"\ninfo_nce_tiled at N = 65,536, d = 128, forward and backward: {large['seconds']:.0f} s; the whole process"
    )
    print(f"holds {large['peak']:,.0f} MB at most. The table alone would take {65_536**2 * 4 / 1e6:,.0f} MB.")

    ways = {
        "batch 4,096 at once": (4096, 0),
        "batch 4,096, cached_backward in chunks of 256": (4096, 256),
        "batch 256 at once": (256, 0),
    }
    # glibc keeps what a chunk gives back for the next one; told to return it at once, it shows what is in use.
    steps = {name: fresh(__file__, "step", *way) for name, way in ways.items()}
    in_use = {name: fresh(__file__, "step", *way, MALLOC_MMAP_THRESHOLD_="65536") for name, way in ways.items()}
    base, cached, _ = (torch.tensor(step["value"]) for step in steps.values())
    table(
        f"Gradient caching, a step of lesson 03's CLIP, {threads()}",
        [
            {
                "": name,
                "seconds": f"{step['seconds']:.2f}",
                "extra memory": f"{step['extra']:,.0f} MB",
                "in use": f"{in_use[name]['extra']:,.0f} MB",
            }
            for name, step in steps.items()
        ],
    )
    apart = (base - cached).abs().max()
    print(f"\nThe first two gradients differ by {apart:.1e} at most, in entries of up to {base.abs().max():.2f}.")


if __name__ == "__main__":
    if not answer(one):
        main()
