"""A third modality joins two that know each other, with few pairs: spoken numbers and their captions."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate
from xlib.bridge import relative
from xlib.combined import mmd_loss, self_training_loss
from xlib.course import training
from xlib.dann import dann_coeff
from xlib.experiments.numbers import caption_vectors, scale_at
from xlib.experiments.speech import SEEN, changed, heard, three_towers
from xlib.retrieval import hits

UNPAIRED = ("mmd", "guesses")


def few_pairs(count: int, *, seed: int = 0) -> Tensor:
    """Rows of `heard("train")`, (count,) int64: as many clips of seen numbers, of any voices, and in their captions a
    pair each. No number comes twice before every number has come once; fewer pairs are the first of more.

    count: from 1 to 1,248, all there are where the engine speaks. Raises TypeError or ValueError.

    Example:
        >>> rows = few_pairs(78)
        >>> heard().numbers[rows].unique().shape, few_pairs(10).equal(rows[:10])
        (torch.Size([78]), True)
    """
    clips = heard()
    rows = torch.isin(clips.numbers, SEEN).nonzero()[:, 0]
    _validate.whole("count", count, least=1, most=len(rows))
    mixed = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    by_number = mixed[clips.numbers[mixed].argsort(stable=True)].view(len(SEEN), -1)  # each number's, in mixed order
    order = torch.randperm(len(SEEN), generator=torch.Generator().manual_seed(seed))
    return by_number[order].T.flatten()[:count]


def add_sound(
    start: nn.ModuleDict,
    rows: Tensor,
    *,
    locked: bool = True,
    unpaired: str | None = None,
    temperature: float | None = None,
    steps: int = 300,
    seed: int = 0,
) -> tuple[nn.ModuleDict, training.Run]:
    """A new sound tower beside pictures and captions, from these clips of `heard("train")`, each with its caption.

    In each step up to 78 of the pairs: the cross-entropy of each sound's caption among those of all seen numbers.
    start: parts as of `three_towers`, pictures and captions trained; not changed. locked: whether the text tower
    stays as it is (LiT, Zhai et al. 2022, arXiv 2111.07991) or is trained on. The image tower stays in either case.
    unpaired: what 78 more clips of seen numbers, whose numbers are not told, are there for: "mmd" brings their
    embeddings and those of the captions together as samples (`combined.mmd_loss`); "guesses" teaches each the
    caption that it is nearest to, where the tower is sure (`combined.self_training_loss`). Both are raised from 0.
    temperature: of the sounds' loss; None takes the model's own. The returned towers have the model's own again.
    Returns the towers, in evaluation mode on start's device, and the Run. Raises ValueError for another `unpaired`.

    Example:
        >>> towers, run = add_sound(three_towers(0), few_pairs(10), unpaired="mmd", steps=2)
        >>> sorted(run.history[0]), towers["sound"](heard("test").features[:1]).shape
        (['loss', 'mmd', 'pairs', 'step'], torch.Size([1, 64]))
    """
    if unpaired is not None:
        _validate.choice("unpaired", unpaired, UNPAIRED)
    towers = copy.deepcopy(start).eval()
    device = next(towers.parameters()).device
    towers["sound"] = three_towers(seed)["sound"].to(device)
    towers["image"].requires_grad_(False)
    towers["text"].requires_grad_(not locked)
    towers["scale"].requires_grad_(False)
    scale = towers["scale"]().detach() if temperature is None else scale_at(temperature)().to(device)
    clips, generator = heard(), torch.Generator(device).manual_seed(seed)
    features = clips.features.to(device)
    own = torch.searchsorted(SEEN, clips.numbers).to(device)  # each clip's caption among those of seen numbers
    rows, silent = rows.to(device), torch.isin(clips.numbers, SEEN).nonzero()[:, 0].to(device)

    def captions() -> Tensor:
        return caption_vectors(towers)[SEEN - 10]

    def logits(z: Tensor, texts: Tensor) -> Tensor:
        return scale * F.normalize(z, dim=1) @ texts.T

    fixed = captions().detach() if locked else None

    def loss(step: int) -> dict[str, Tensor]:
        texts = captions() if fixed is None else fixed
        some = rows[torch.randperm(len(rows), generator=generator, device=device)[: len(SEEN)]]
        drawn = features[some]
        if unpaired:
            more = features[silent[torch.randint(len(silent), (len(SEEN),), generator=generator, device=device)]]
            drawn = torch.cat([drawn, more])
        z = towers["sound"](changed(drawn, generator=generator))
        terms = {"pairs": F.cross_entropy(logits(z[: len(some)], texts), own[some])}
        if unpaired == "mmd":
            terms["mmd"] = dann_coeff(step / steps) * mmd_loss(F.normalize(z[len(some) :], dim=1), texts.detach())
        if unpaired == "guesses":
            with torch.no_grad():
                towers["sound"].eval()
                guess = logits(towers["sound"](more), texts)  # as they are: not changed, and without dropout
                towers["sound"].train()
            sure = self_training_loss(guess, logits(z[len(some) :], texts.detach()), threshold=0.5)
            terms["guesses"] = dann_coeff(step / steps) * sure
        return terms

    return towers, training.fit_one_cycle(
        towers, loss, steps=steps, rate=3e-3, decay=0.01, generator=generator, title="a sound tower"
    )


@torch.no_grad()
def asif(
    towers: nn.ModuleDict, rows: Tensor, *, keep: int = 20, power: float = 4.0, voices: str = "test"
) -> dict[str, float]:
    """Sound to text without training: R@1 among 90 of "test" voices' clips, "sound to text seen", "... unseen".

    A clip is described by how like it is to the clips of the pairs, as features; a caption by how like it is to their
    captions, as embeddings (`bridge.relative`).
    rows: as of `few_pairs`. keep, power: as of `relative`; fewer are kept where there are fewer pairs.

    Example:
        >>> found = asif(three_towers(0), few_pairs(20))
        >>> sorted(found)
        ['sound to text seen', 'sound to text unseen']
    """
    clips, asked, texts = heard(), heard(voices), caption_vectors(towers).cpu()
    keep = min(keep, len(rows))
    sounds = relative(asked.features.flatten(1), clips.features[rows].flatten(1), keep=keep, power=power)
    words = relative(texts, texts[clips.numbers[rows] - 10], keep=keep, power=power)
    right = hits(sounds, words, k=(1,), targets=asked.numbers - 10)[:, 0].double()
    is_seen = torch.isin(asked.numbers, SEEN)
    return {
        "sound to text seen": right[is_seen].mean().item(),
        "sound to text unseen": right[~is_seen].mean().item(),
    }
