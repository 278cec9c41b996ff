"""DANN in one file: a classifier of clean digits learns to read digits on photographs, without a label there.

    python notebooks/from_scratch/dann.py [--seed 0] [--steps 600]

A domain head learns to tell clean digits from those on photographs by their features, and the feature extractor
learns to make that impossible: between the two, the gradient is turned round. This is lesson 05's own training.
Printed is the accuracy on held-out scans of MNIST, clean and on photographs that were not trained on. Means of five
seeds on photographs: chance .100, source only .482, DANN .722, trained there with labels .932. Half a minute.

Paper: Ganin et al. 2016, Domain-Adversarial Training of Neural Networks, JMLR 17, arXiv 1505.07818.
"""

import argparse
import math
from os import getenv

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from xlib.data import digits

DEVICE = torch.device(getenv("XLIB_DEVICE", "").strip().lower() or ("cuda" if torch.cuda.is_available() else "cpu"))
STRENGTH = 1.0  # of the photographs in the target domain: 0 is clean, 1 the whole photograph, as in MNIST-M
LAMBDA = 1.0  # of the reversed gradient, at the end of training
BATCH = 64  # images of each domain


def draw(scans, photos, strength, generator):
    """Scans (N, 1, 28, 28) as they are, or on random patches of photographs, |strength · patch − scan|."""
    if strength == 0:
        return scans.expand(-1, 3, -1, -1)
    patches = digits.random_patches(photos, len(scans), height=28, width=28, generator=generator)
    return (strength * patches - scans).abs()


def domain_loss(source, target):
    """The domain head's cross-entropy: 0 is right for source, 1 for target, and each domain counts one half."""
    return -(source.log_softmax(dim=1)[:, 0].mean() + target.log_softmax(dim=1)[:, 1].mean()) / 2


def ramp(progress):
    """From 0 to nearly 1 as progress goes from 0 to 1: at first the domain head knows nothing worth obeying."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


class Reverse(torch.autograd.Function):
    """x on the way forward; on the way back the gradient times -coeff.

    A minus sign in front of the loss would not do: the domain head would be trained to be wrong. Here it descends its
    loss at full speed, and only what comes before the reversal climbs.
    """

    @staticmethod
    def forward(ctx, x, coeff):
        ctx.coeff = coeff
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.coeff * gradient, None  # coeff is a number and gets none


class Networks(nn.Module):
    """The paper's small network in smaller: images (N, 3, 28, 28) to 800 features, and two heads on top of them.

    Nothing in it normalises by batch: what one image becomes does not depend on its neighbours' domain.
    """

    def __init__(self):
        super().__init__()
        # Pooled before the ReLU: the same numbers, for a quarter of the work.
        layers = [nn.Conv2d(3, 16, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.MaxPool2d(2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.label = nn.Sequential(nn.Linear(800, 100), nn.ReLU(), nn.Linear(100, 10))
        self.domain = nn.Sequential(nn.Linear(800, 100), nn.ReLU(), nn.Linear(100, 2))
        for layer in self.modules():  # torch's own start is too faint for plain stochastic gradient descent
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def features(self, images):
        return self.layers(2 * images - 1)  # -1 to 1, by the same constants for both domains


def train(title, seed, steps, *, coeff=None, labelled=0.0):
    """Learn from labelled digits at strength `labelled`; with a coeff, also to make photographs look like them."""
    torch.manual_seed(seed)
    model = Networks().to(DEVICE, memory_format=torch.channels_last)  # which pools faster
    scans, labels = (part.to(DEVICE) for part in digits.load("train"))
    photos = digits.photographs("train").to(DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + 10 * step / steps) ** -0.75)
    for step in tqdm(range(steps), desc=title, leave=False):
        chosen = torch.randint(len(labels), (BATCH,), generator=generator, device=DEVICE)
        images = draw(scans[chosen], photos, labelled, generator)
        if coeff is not None:  # other digits for the target, and their labels are not looked at
            others = torch.randint(len(labels), (BATCH,), generator=generator, device=DEVICE)
            images = torch.cat([images, draw(scans[others], photos, STRENGTH, generator)])
        features = model.features(images)  # both domains in one batch
        loss = F.cross_entropy(model.label(features[:BATCH]), labels[chosen])
        if coeff is not None:  # λ stands in the reversal and nowhere else
            domain = model.domain(Reverse.apply(features, coeff * ramp(step / steps)))
            loss = loss + domain_loss(domain[:BATCH], domain[BATCH:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def accuracy(model):
    """On the 1,000 test scans, clean, and each on two patches of the test photographs."""
    scans, labels = digits.load("test")
    found = {}
    for domain, strength, copies in (("clean", 0.0, 1), ("photographs", STRENGTH, 2)):
        many, generator = scans.repeat(copies, 1, 1, 1), torch.Generator().manual_seed(2)
        images = draw(many, digits.photographs("test"), strength, generator).to(DEVICE)
        answers = model.label(model.features(images)).argmax(dim=1).cpu()
        found[domain] = (answers == labels.repeat(copies)).float().mean().item()
    return found


def main(seed=0, steps=600):
    return {
        "chance": {"clean": 0.1, "photographs": 0.1},
        "source only": accuracy(train("source only", seed, steps)),
        "DANN": accuracy(train("DANN", seed, steps, coeff=LAMBDA)),
        "trained on target": accuracy(train("on target", seed, steps, labelled=STRENGTH)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=600)
    scores = main(**vars(parser.parse_args()))
    print("accuracy               clean  photographs")
    for method, row in scores.items():
        print(f"{method:20}{row['clean']:8.3f}{row['photographs']:13.3f}")
