"""CLIP on captioned numbers, in as many processes as torchrun starts:

    torchrun --standalone --nproc-per-node=2 train_distributed.py --steps 60 --checkpoint folder --out curve.json

Each process encodes its share of every batch. The loss is that of the whole batch, and so are the gradients: the
curve is the same for any number of processes. A job that was ended goes on from its checkpoint when it is started
again, with as many processes as you like. With GPUs each process takes one (NCCL); without, they share the cores
(gloo).
"""

import argparse
import datetime
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from xlib import contrastive, encoders
from xlib.course import training
from xlib.data import numbers
from xlib.scale import info_nce_distributed

VOCABULARY = encoders.Vocabulary([numbers.caption(number) for number in numbers.NUMBERS])


class Towers(nn.Module):
    """Lesson 03's two encoders and its scale. One module, since DistributedDataParallel watches one `forward`."""

    def __init__(self):
        super().__init__()
        self.image = encoders.ImageEncoder((16, 32))
        self.text = encoders.TextEncoder(len(VOCABULARY))
        self.scale = contrastive.LogitScale()
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # each process would drop something else, and no two curves could be compared

    def forward(self, images, tokens):
        za, zb = F.normalize(self.image(images), dim=1), F.normalize(self.text(tokens), dim=1)
        return za, zb, self.scale()


def train(*, steps: int, seed: int = 0, checkpoint: str | None = None, device: torch.device | str = "cpu"):
    """Train, as one process of the group if there is one. Returns the Run, with the losses of the whole batch."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    torch.manual_seed(seed)
    towers = Towers().to(device)
    model = nn.parallel.DistributedDataParallel(towers) if dist.is_initialized() else towers

    pictures, seen = numbers.load("train").to(device), torch.tensor(numbers.SEEN, device=device)
    tokens = VOCABULARY([numbers.caption(number) for number in numbers.NUMBERS]).to(device)
    generator = torch.Generator(device).manual_seed(seed)

    def loss(step):
        # Every process draws the same whole batch, which is cheaper here than sending it, and keeps its own share.
        chosen = seen[torch.randperm(len(seen), generator=generator, device=device)]
        images = encoders.random_affine(pictures.draw(chosen, generator=generator), generator=generator)
        own = slice(rank * len(seen) // world, (rank + 1) * len(seen) // world)
        za, zb, scale = model(images[own], tokens[chosen[own] - 10])
        return info_nce_distributed(za, zb, logit_scale=scale)

    return training.fit(
        model,
        loss,
        torch.optim.AdamW(model.parameters(), lr=2e-3),
        steps=steps,
        generator=generator,
        after_step=towers.scale.clamp_,
        checkpoint=checkpoint,
        every=20,
        title=f"CLIP, {world} process(es)",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", help="a folder; the job goes on from what it finds there")
    parser.add_argument("--out", help="a file for the losses, as JSON")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for a process that says nothing")
    options = parser.parse_args()
    if "RANK" not in os.environ:
        sys.exit(f"start me with torchrun: torchrun --standalone --nproc-per-node=2 {Path(__file__).name}")

    torch.set_flush_denormal(True)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=datetime.timedelta(seconds=options.timeout))
    try:
        run = train(steps=options.steps, seed=options.seed, checkpoint=options.checkpoint, device=device)
    except training.TrainingDiverged:
        raise
    except RuntimeError as error:  # what torch raises when another process is gone or does not answer
        reason = str(error).split(". ")[0]
        again = "goes on from the checkpoint" if options.checkpoint else "begins anew: there is no checkpoint"
        sys.exit(
            f"process {dist.get_rank()}: another process is gone or has said nothing for {options.timeout:g} s "
            f"({reason}). The same command {again}."
        )
    if dist.get_rank() == 0:
        print(f"{dist.get_world_size()} process(es), {run.step} steps, last loss {run.curve()[-1]:.4f}")
        if options.out:
            Path(options.out).write_text(json.dumps(run.curve()), "utf-8")
    dist.barrier()  # nobody leaves while another process still waits for it
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    # DistributedDataParallel keeps gloo's threads beyond the group's end (torch 2.14), and one that asks for Python's
    # lock while Python is being taken down aborts the process. So leave Python standing.
    sys.stdout.flush()
    os._exit(0)
