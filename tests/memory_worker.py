"""For test_scale: python memory_worker.py CALL, in a process of its own, prints by how many MB the call raised what
the process holds, at most. Linux only."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from xlib import contrastive, encoders
from xlib.scale import cached_backward, info_nce_tiled


def resident(which):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) / 1024


def extra(call):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, from what is held now
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def pairs(n):
    generator = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(n, 64, generator=generator), dim=1).requires_grad_() for _ in range(2)]


def of_a_loss(loss):
    def step(n):
        loss(*pairs(n), logit_scale=torch.tensor(10.0, requires_grad=True)).backward()

    step(64)  # libraries are loaded before, not measured
    return extra(lambda: step(4096))


def of_the_encoders(batch, chunk=0):
    """A step of lesson 03's encoders, with chunk 0 at once."""
    towers = encoders.ImageEncoder((16, 32)), encoders.TextEncoder(100)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, 16, 32, generator=generator)
    tokens = torch.randint(1, 100, (batch, 4), generator=generator)

    def loss(za, zb):
        return info_nce_tiled(F.normalize(za, dim=1), F.normalize(zb, dim=1), logit_scale=10.0, tile=128)

    def step(rows):
        if chunk:
            cached_backward(loss, (towers[0], images[:rows]), (towers[1], tokens[:rows]), chunk=chunk)
        else:
            loss(towers[0](images[:rows]), towers[1](tokens[:rows])).backward()

    step(16)
    return extra(lambda: step(batch))


CALLS = {
    "info_nce": lambda: of_a_loss(contrastive.info_nce),
    "info_nce_tiled": lambda: of_a_loss(info_nce_tiled),
    "batch of 128": lambda: of_the_encoders(128),
    "batch of 2048 in chunks of 128": lambda: of_the_encoders(2048, 128),
}

if __name__ == "__main__":
    print(CALLS[sys.argv[1]]())
