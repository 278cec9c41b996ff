"""A model that has heard some voices meets others: what adaptation adds, in training and at test time."""

import copy
from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import dann
from xlib.bridge import norm_parameters
from xlib.course import training
from xlib.course.runtime import to_device
from xlib.experiments.adapt import Batches, adapt
from xlib.experiments.numbers import TOKENS, caption_vectors
from xlib.experiments.speech import SEEN, Heard, by_number, changed, heard
from xlib.progress import tqdm
from xlib.retrieval import hits


class _Unit(nn.Module):
    """Rows of length 1, which cannot flee from a domain head."""

    def forward(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=1)


def of_voices(kind: str, voices: tuple[int, ...]) -> Heard:
    """What `heard(kind)` has of these voices, by their places.

    Example:
        >>> clips = of_voices("whisper", (0,))
        >>> clips.voices.unique(), len(clips.numbers) == len(clips.features)
        (tensor([0]), True)
    """
    clips = heard(kind)
    rows = torch.isin(clips.voices, torch.tensor(voices)).nonzero()[:, 0]
    return Heard(*(part[rows] for part in clips))


def adapt_voices(
    start: nn.ModuleDict,
    target: Heard,
    *,
    steps: int = 200,
    align: Mapping[str, float] = MappingProxyType({}),
    guesses: float = 0.0,
    change: bool = True,
    on_target: bool = False,
    seed: int = 0,
) -> tuple[nn.ModuleDict, training.Run]:
    """Train the sound tower on: captions for the training voices, none for the target's clips of seen numbers.

    start: as of `three_towers`, trained; not changed. The text tower and the scale stay as they are. target: clips of
    other voices, whose numbers are not used but to leave those out that are unseen. align, guesses: as of `adapt`,
    between the embeddings of the two domains' sounds. change: whether the captioned clips are `changed`. on_target:
    the oracle's, with captions for the target's clips alone.
    Returns the towers with another sound tower, in evaluation mode on start's device, and the Run.

    Example:
        >>> from xlib.experiments.speech import three_towers
        >>> towers, run = adapt_voices(three_towers(0), of_voices("whisper", (0,)), align={"dann": 0.1}, steps=2)
        >>> sorted(run.history[0])
        ['contrastive', 'domain', 'loss', 'step']
    """
    device = next(start.parameters()).device
    parts = {"features": nn.Sequential(start["sound"], _Unit()), "image": nn.Identity()}
    model = copy.deepcopy(nn.ModuleDict(parts | {"text": start["text"], "scale": start["scale"]}))
    for part in ("text", "scale"):
        model[part].requires_grad_(False)
    of_source = by_number(target if on_target else heard(), device)
    of_target = to_device(target.features[torch.isin(target.numbers, SEEN)], device)
    captions, seen = to_device(TOKENS[:, 0], device), to_device(SEEN, device)

    def source(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = seen[torch.randperm(len(seen), generator=generator, device=device)]
        which = torch.randint(of_source.shape[1], (len(seen),), generator=generator, device=device)
        drawn = of_source[chosen - 10, which]
        return changed(drawn, generator=generator) if change else drawn, captions[chosen - 10]

    def unlabelled(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = of_target[torch.randint(len(of_target), (len(seen),), generator=generator, device=device)]
        return drawn, changed(drawn, generator=generator)

    adapted, run = adapt(
        model, Batches(source, unlabelled), steps=steps, rate=1e-3, decay=0.01, align=align, guesses=guesses,
        classes=captions[seen - 10], seed=seed, title="other voices",
    )  # fmt: skip
    towers = copy.deepcopy(start)
    towers["sound"] = adapted["features"][0]
    return towers, run


def tent(
    start: nn.ModuleDict, features: Tensor, *, steps: int, rate: float, batch: int = 90, seed: int = 0
) -> tuple[nn.ModuleDict, list[dict[str, float]]]:
    """TENT: make the answers to unlabelled clips surer, by the sound tower's normalisation layers alone.

    In each step the entropy of the captions' probabilities, among all 90, goes down by one step of Adam.
    start: as of `three_towers`; not changed. features: (N, 1, 40, 64), what is heard at test time. batch: clips a
    step, drawn at random.
    Returns the towers, in evaluation mode, and of each step the "entropy" before it, in nats.
    Source: Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021, arXiv 2006.10726;
    there the layers are BatchNorm, which moves to the batch's own mean as well.

    Example:
        >>> from xlib.experiments.speech import three_towers
        >>> towers, log = tent(three_towers(0), heard("whisper").features, steps=2, rate=1e-3, batch=20)
        >>> len(log), log[0]["entropy"] > 3  # untrained: not far from log 90, 4.5
        (2, True)
    """
    towers = copy.deepcopy(start).eval()
    device = next(towers.parameters()).device
    texts, scale = caption_vectors(towers).detach(), towers["scale"]().detach()
    optimizer = torch.optim.Adam(norm_parameters(towers["sound"]), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    log = []
    for _ in tqdm(range(steps), desc="TENT", leave=False):
        drawn = features[torch.randperm(len(features), generator=generator)[:batch]].to(device)
        loss = dann.entropy(scale * F.normalize(towers["sound"](drawn), dim=1) @ texts.T)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.append({"entropy": loss.item()})
    return towers, log


@torch.no_grad()
def understood(towers: nn.ModuleDict, clips: Heard) -> dict[str, float]:
    """R@1 of clips among the 90 English captions, "seen", "unseen" and "all"; without their numbers: "entropy" and
    "density" of the answers among captions of seen numbers (`dann.entropy`, `dann.soft_neighbourhood_density`), and
    "captions", how many of the 90 are ever the answer.

    Example:
        >>> from xlib.experiments.speech import three_towers
        >>> found = understood(three_towers(0), of_voices("whisper", (0,)))
        >>> sorted(found)
        ['all', 'captions', 'density', 'entropy', 'seen', 'unseen']
    """
    towers.eval()
    device = next(towers.parameters()).device
    z = torch.cat([F.normalize(towers["sound"](part.to(device)), dim=1) for part in clips.features.split(500)]).cpu()
    texts = caption_vectors(towers).cpu()
    right = hits(z, texts, k=(1,), targets=clips.numbers - 10)[:, 0].double()
    is_seen = torch.isin(clips.numbers, SEEN)
    logits = towers["scale"]().cpu() * z[is_seen] @ texts[SEEN - 10].T
    return {
        "seen": right[is_seen].mean().item(),
        "unseen": right[~is_seen].mean().item(),
        "all": right.mean().item(),
        "entropy": dann.entropy(logits).item(),
        "density": dann.soft_neighbourhood_density(logits).item(),
        "captions": len((z @ texts.T).argmax(dim=1).unique()),
    }
