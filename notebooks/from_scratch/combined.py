"""CLIP + DANN in one file: a CLIP that has captions for clean pictures alone learns to name numbers on photographs.

    python notebooks/from_scratch/combined.py [--seed 0] [--steps 1000]

A CLIP is trained on clean pictures. Then two copies train on for 3/5 as many steps: one as before, the other on
photographs without captions too, whose features a domain head must not tell from clean ones: lesson 06 at strength
.6. Printed is recall at 1 among 90 captions, for held-out pictures. Means of five seeds on photographs: chance .011,
source only .193, CLIP + DANN .281; of numbers never trained on .252 and .290. A minute on two cores.
Papers: Radford et al. 2021 (CLIP), arXiv 2103.00020; Ganin et al. 2016 (DANN), JMLR 17, arXiv 1505.07818.
"""

import argparse
import copy
import math
import re
from os import getenv

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from xlib.data import numbers

DEVICE = torch.device(getenv("XLIB_DEVICE", "").strip().lower() or ("cuda" if torch.cuda.is_available() else "cpu"))
STRENGTH, LAMBDA = 0.6, 0.3  # how far the photographs show, from 0 to 1; how strong the reversed gradient becomes
GREY = 0.0  # try 1.0: lesson 06's grey levels turn contrasts round, as bright photographs do
WAYS = {"en": ("{}", "the number {}", "a photo of {}", "{} written by hand"), "zh": ("数字{}", "手写的{}")}
CAPTIONS = [way.format(numbers.caption(n, language=to)) for n in numbers.NUMBERS for to in WAYS for way in WAYS[to]]
WORD = re.compile(r"[a-z]+|[\u4e00-\u9fff]")  # "forty-two" is two words; Chinese is cut into characters
WORDS = sorted(set(WORD.findall(" ".join(CAPTIONS))))


def tokenise(texts):
    """Captions to rows of whole numbers from 2 on, filled up with 0 to the length of the longest."""
    rows = [torch.tensor([WORDS.index(word) + 2 for word in WORD.findall(text)]) for text in texts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def augment(images, generator):
    """Each picture turned by up to 10 degrees, stretched or slanted by up to 12%, shifted by up to 10%; then GREY."""
    n, _, h, w = images.shape
    turn, size, slant, down, across = 2 * torch.rand(5, n, generator=generator, device=images.device) - 1
    turn, size, slant = turn * math.radians(10), 1 + 0.12 * size, 0.12 * slant
    from_x = [turn.cos() / size, (slant - turn.sin()) / size * h / w, 0.2 * across]  # of each pixel, from -1 to 1
    from_y = [turn.sin() / size * w / h, turn.cos() / size, 0.2 * down]
    grid = F.affine_grid(torch.stack(from_x + from_y, dim=1).view(n, 2, 3), images.shape, align_corners=False)
    edge = 1 - 1 / torch.tensor([w, h], device=images.device)  # the middle of the outermost pixel: it is repeated
    shade = GREY * torch.rand(n, 1, 1, 1, generator=generator, device=images.device) if GREY else 0
    return (F.grid_sample(images, grid.clamp(-edge, edge), align_corners=False) - shade).abs()


def info_nce(za, zb, scale):
    """Symmetric InfoNCE: row i of za belongs to row i of zb, and all other rows are wrong answers."""
    logits, right = scale * za @ zb.T, torch.arange(len(za), device=za.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


class Reverse(torch.autograd.Function):
    """x on the way forward; on the way back the gradient times -coeff, so that what comes before climbs."""

    @staticmethod
    def forward(ctx, x, coeff):
        ctx.coeff = coeff
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.coeff * gradient, None


class CLIP(nn.Module):
    """Pictures to 192 features, of one length: they cannot flee by growing. These, and captions, to 64 dimensions."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, 24), nn.GELU()]
        layers += [nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, 48), nn.GELU()]
        layers += [nn.Conv2d(48, 48, 3, padding=1, bias=False), nn.GroupNorm(8, 48), nn.GELU()]
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(48 * 4 * 8, 192), nn.LayerNorm(192), nn.ReLU()]
        self.features, self.image = nn.Sequential(*layers), nn.Linear(192, 64)
        self.embed, self.gru = nn.Embedding(len(WORDS) + 2, 64, padding_idx=0), nn.GRU(64, 128, batch_first=True)
        self.project, self.log_scale = nn.Linear(128, 64), nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def text(self, tokens):
        states, word = self.gru(self.embed(tokens))[0], (tokens != 0).unsqueeze(2).float()
        return self.project((states * word).sum(dim=1) / word.sum(dim=1))  # the mean over words


def train(start, title, seed, steps, coeff=None):
    """A copy, trained on clean pictures and captions; with a coeff, also to make photographs look like clean ones."""
    torch.manual_seed(seed)
    model = copy.deepcopy(start).train()
    model.domain = nn.Sequential(nn.Linear(192, 100), nn.ReLU(), nn.Linear(100, 2)).to(DEVICE)
    clean, photographs = (numbers.load("train", strength=s).to(DEVICE) for s in (0.0, STRENGTH))
    seen, tokens = torch.tensor(numbers.SEEN, device=DEVICE), tokenise(CAPTIONS).unflatten(0, (90, 6)).to(DEVICE)
    generator, n = torch.Generator(DEVICE).manual_seed(seed), len(seen)
    groups = [{"params": [p for p in model.parameters() if p.ndim]}, {"params": [model.log_scale], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, weight_decay=0.01, fused=True)  # decay would pull the scale to 1
    total = max(steps, 2)  # the rate rises in a fifth of the steps, in more than one at least, and falls in the rest
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=total, pct_start=max(0.2, 1.5 / total))
    for step in tqdm(range(steps), desc=title, leave=False):
        chosen = seen[torch.randperm(n, generator=generator, device=DEVICE)]  # no caption twice in a batch
        wording = torch.randint(6, (n,), generator=generator, device=DEVICE)
        images = augment(clean.draw(chosen, generator=generator), generator)
        if coeff is not None:  # pictures of any numbers, and nobody says which
            others = seen[torch.randint(n, (n,), generator=generator, device=DEVICE)]
            images = torch.cat([images, augment(photographs.draw(others, generator=generator), generator)])
        features = model.features(images)  # both domains in one batch; those below n have captions
        za, zb = model.image(features[:n]), model.text(tokens[chosen - 10, wording])
        loss = info_nce(F.normalize(za, dim=1), F.normalize(zb, dim=1), model.log_scale.exp())
        if coeff is not None:  # λ rises from 0, while the domain head knows nothing; it stands in the reversal alone
            ramp = 2 / (1 + math.exp(-10 * step / steps)) - 1
            domain = model.domain(Reverse.apply(features, coeff * ramp)).log_softmax(dim=1)
            loss = loss - (domain[:n, 0].mean() + domain[n:, 1].mean()) / 2  # cross-entropy, one half for each domain
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cycle.step()
        model.log_scale.data.clamp_(0, math.log(100))  # after the step: in the loss it would cut off the gradient
    return model.eval()


@torch.no_grad()
def recall_at_1(model):
    """For which share of held-out pictures, 20 a number, is the right caption of 90 the nearest?"""
    shown, found = torch.arange(10, 100).repeat_interleave(20), {}
    seen = torch.isin(shown, torch.tensor(numbers.SEEN))
    zb = F.normalize(model.text(tokenise([numbers.caption(n) for n in numbers.NUMBERS]).to(DEVICE)), dim=1)
    for domain, seed, s in (("source", 2, 0.0), ("target", 3, STRENGTH)):
        images, _ = numbers.load("test", strength=s).deal(shown, generator=torch.Generator().manual_seed(seed))
        right = ((model.image(model.features(images.to(DEVICE))) @ zb.T).argmax(dim=1).cpu() + 10 == shown).float()
        found |= {f"{domain} seen": right[seen].mean().item(), f"{domain} unseen": right[~seen].mean().item()}
    return found


def main(seed=0, steps=1000):
    torch.manual_seed(seed)
    clean, more = train(CLIP().to(DEVICE), "clean CLIP", seed, steps), max(1, steps * 3 // 5)
    source_only = recall_at_1(train(clean, "source only", 100 + seed, more))
    adapted = recall_at_1(train(clean, "CLIP + DANN", 100 + seed, more, LAMBDA))
    return {"chance": dict.fromkeys(adapted, 1 / 90), "source only": source_only, f"CLIP + DANN {LAMBDA}": adapted}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1000)
    for method, row in main(**vars(parser.parse_args())).items():
        print(f"{method:18}", *(f"{name} {value:.3f}" for name, value in row.items()), sep="   ")
