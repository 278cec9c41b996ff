"""One of several processes of a test in test_processes: python process_worker.py RANK WORLD FOLDER

Meets the others through a file in FOLDER, and leaves what it found there for the test to compare.
"""

import datetime
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from xlib import encoders
from xlib.contrastive import LogitScale, info_nce
from xlib.scale import all_gather_with_grad, info_nce_distributed, info_nce_tiled

# How many rows each process holds.
SPLITS = {
    2: {"even": [3, 3], "ragged": [4, 3], "lopsided": [1, 6]},
    4: {"even": [2, 2, 2, 2], "ragged": [2, 2, 2, 1], "ten": [3, 3, 2, 2], "lopsided": [1, 5, 1, 2]},
}


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(n):
    """Pairs of unit vectors, and a scale."""
    za = F.normalize(normal(0, n, 5), dim=1)
    return za, F.normalize(za + normal(1, n, 5), dim=1), torch.tensor(7.0, dtype=torch.float64)


def gathered_info_nce(za, zb, *, logit_scale):
    return info_nce(all_gather_with_grad(za), all_gather_with_grad(zb), logit_scale=logit_scale)


def gathered_info_nce_tiled(za, zb, *, logit_scale):
    return info_nce_tiled(all_gather_with_grad(za), all_gather_with_grad(zb), logit_scale=logit_scale, tile=3)


def under_autocast(za, zb):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return info_nce_distributed(za, zb, logit_scale=7.0)


LOSSES = {
    "info_nce_distributed": info_nce_distributed,
    "gather, info_nce": gathered_info_nce,
    "gather, info_nce_tiled": gathered_info_nce_tiled,
}


def detached_info_nce(za, zb, *, logit_scale):
    """The trap: the others' rows come without a gradient, and one's own are put back among them. Even rows only."""
    whole = []
    for z in (za, zb):
        parts = [torch.empty_like(z) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, z.detach().contiguous())
        parts[dist.get_rank()] = z
        whole.append(torch.cat(parts))
    return info_nce(*whole, logit_scale=logit_scale)


class Model(nn.Module):
    """A small CLIP without dropout, in float64."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = encoders.ImageEncoder((4, 8), channels=(8, 16), embed_dim=6), encoders.TextEncoder(20)
        self.text.project = nn.Linear(128, 6)
        self.scale = LogitScale()
        self.double().eval()

    def forward(self, images, tokens):
        return F.normalize(self.image(images), dim=1), F.normalize(self.text(tokens), dim=1), self.scale()


def inputs(n):
    return normal(2, n, 3, 4, 8), torch.randint(1, 20, (n, 3), generator=torch.Generator().manual_seed(3))


def training(model, loss, rows, steps=1, lr=0.1):
    """Steps of SGD on one batch: the losses, and the gradients of the last one."""
    optimizer, curve = torch.optim.SGD(model.parameters(), lr=lr), []
    images, tokens = (part[rows] for part in inputs(10))
    for _ in range(steps):
        optimizer.zero_grad()
        za, zb, scale = model(images, tokens)
        value = loss(za, zb, logit_scale=scale)
        value.backward()
        optimizer.step()
        curve.append(value.item())
    return {"curve": curve, "gradients": [parameter.grad for parameter in model.parameters()]}


def with_gradients(loss, *leaves):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = loss(*leaves)
    value.backward()
    return [value.detach(), *(leaf.grad for leaf in leaves)]


def mine(sizes, rank):
    return slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))


def found_by(rank, world):
    found = {"leaves": {}, "ddp": {}}
    for split, sizes in SPLITS[world].items():
        n, rows = sum(sizes), mine(sizes, rank)
        za, zb, scale = vectors(n)
        for name, loss in LOSSES.items():
            found["leaves"][split, name] = with_gradients(
                lambda a, b, s, loss=loss: loss(a, b, logit_scale=s), za[rows], zb[rows], scale
            )
        found["leaves"][split, "rows"] = all_gather_with_grad(za[rows])
        # Each process asks something else of all rows, so that a sum over the processes shows.
        found["leaves"][split, "wishes"] = with_gradients(
            lambda a, n=n: (all_gather_with_grad(a) * normal(10 + rank, n, 5)).sum(), za[rows]
        )
        found["leaves"][split, "autocast"] = with_gradients(under_autocast, za[rows].float(), zb[rows].float())
        weights = normal(10 + rank, n, 5).bfloat16()
        found["leaves"][split, "bfloat16"] = all_gather_with_grad(za[rows].bfloat16())
        found["leaves"][split, "bfloat16 wishes"] = with_gradients(
            lambda a, weights=weights: (all_gather_with_grad(a) * weights).sum(), za[rows].bfloat16()
        )
    everyone = {2: [6, 4], 4: [3, 3, 2, 2]}[world]
    for name, loss in LOSSES.items():
        found["ddp"][name] = training(DistributedDataParallel(Model()), loss, mine(everyone, rank), steps=3)
    even = mine([8 // world] * world, rank)
    found["ddp"]["trap"] = training(DistributedDataParallel(Model()), detached_info_nce, even)
    return found


def one_bad_batch(rank, world):
    """What each process hears when the first one's batch is wrong, and after how many seconds."""
    za, zb, scale = vectors(3)
    wrong = {2: za * torch.nan, 4: za[:0]}[world]
    start = time.monotonic()
    try:
        info_nce_distributed(za if rank else wrong, zb, logit_scale=scale)
    except (ValueError, RuntimeError) as error:  # a ValueError is none of torch's
        return type(error).__name__, str(error), time.monotonic() - start
    return None


def main():
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    dist.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=world,
        timeout=datetime.timedelta(seconds=60),
    )
    found = found_by(rank, world)
    dist.barrier()
    found["one bad batch"] = one_bad_batch(rank, world)  # the last thing they do together
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    main()
    os._exit(0)  # as train_distributed.py does, and for its reason
