"""Pictures and captions of your own, on frozen features: in one domain, and in a second one without captions."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate, dann, encoders, space
from xlib.course import training
from xlib.data import text
from xlib.experiments.adapt import Batches, adapt
from xlib.experiments.emoji import emoji_model
from xlib.online import pretrained
from xlib.retrieval import hits

READINGS = ("meaning", "letters", "both")
_LETTERS = 300  # directions kept of the letters' counts


def caption_features(captions: Sequence[str], *, reading: str = "both") -> Callable[[Sequence[str]], Tensor]:
    """A function of texts to fixed features, made for the captions that are trained on and no others.

    reading: "meaning", MiniLM's 384 numbers, which know English; "letters", how often each run of one to four letters
    stands in the text, against how often it does in the captions (tf-idf), along the 300 directions in which they
    differ most; or "both", side by side. Letters know no meaning, and are there in any language.
    Returns a function of M strings to (M, D) float32 on the CPU, each of the two parts of unit length. Raises
    ValueError for another reading, TypeError or ValueError for captions that are no list of strings.

    Example:
        >>> read = caption_features(["red cat", "red dog", "blue dog"], reading="letters")
        >>> cat, cats, dog = read(["red cat", "red cats", "blue dog"])
        >>> (cat @ cats).item(), (cat @ dog).item()
        (0.999, 0.04)
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    _validate.choice("reading", reading, READINGS)
    captions = encoders._strings("captions", captions)
    counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    table = counts.fit_transform(captions)
    directions = TruncatedSVD(max(1, min(_LETTERS, *(n - 1 for n in table.shape))), random_state=0).fit(table)

    def read(texts: Sequence[str]) -> Tensor:
        parts = []
        if reading != "letters":
            parts.append(text.minilm_features(texts))
        if reading != "meaning":
            found = directions.transform(counts.transform(list(texts)))
            parts.append(F.normalize(torch.from_numpy(found).float(), dim=1))
        return torch.cat(parts, dim=1)

    return read


def frozen(
    captions: Sequence[str], *, clip: bool = False, device: torch.device | str = "cpu"
) -> tuple[Callable[[Tensor], Tensor], Callable[[Sequence[str]], Tensor]]:
    """Two functions that nobody trains here: pictures (N, 3, H, W) uint8 to features, and texts to features.

    clip: OpenAI's CLIP for both, 512 numbers each (fetched once, 607 MB); else `encoders.edges_and_colours`, 1,088
    numbers, and `caption_features` of these captions. All of them float32 on the CPU.
    Raises `online.full.Unavailable` where CLIP cannot be had.

    Example:
        >>> see, read = frozen(["a red square", "a blue one"])
        >>> see(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape, read(["red"]).shape
        (torch.Size([1, 1088]), torch.Size([1, 385]))
    """
    if clip:
        both = pretrained.clip_vit(device)
        return both.encode_images, both.encode_texts
    return encoders.edges_and_colours, caption_features(captions)


def numbered(captions: Sequence[str]) -> tuple[list[str], Tensor]:
    """The different captions in their order, capitals aside, and (N,) int64: which of them each one is.

    Example:
        >>> different, which = numbered(["a cat", "a dog", "A cat"])
        >>> different, which
        (['a cat', 'a dog'], tensor([0, 1, 0]))
    """
    different: dict[str, str] = {}
    for caption in captions:
        different.setdefault(caption.casefold(), caption)
    places = {caption: place for place, caption in enumerate(different)}
    return list(different.values()), torch.tensor([places[caption.casefold()] for caption in captions])


def train_pairs(
    images: Tensor,
    texts: Tensor,
    captions: Sequence[str],
    *,
    target: Tensor | None = None,
    start: nn.ModuleDict | None = None,
    steps: int = 320,
    batch: int = 128,
    seed: int = 0,
    **options,
) -> tuple[nn.ModuleDict, training.Run]:
    """Two small towers on frozen features of N pairs: those of lesson 03's emoji, and `adapt`'s training.

    images (N, D), texts (N, E) float32: features of the pairs to train on, on one device; captions: their N texts. No
    caption comes twice in a batch, so that none is its own negative. target: (M, D), features of pictures without
    captions, for the options that need it. start: towers to go on from; else new ones.
    options: align, information, guesses, snapshot, every, live, as in `adapt`.
    Returns the towers, parts "features", "image", "text" and "scale", in evaluation mode, and the Run.
    Raises ValueError for fewer than two different captions, for another number of them than of rows, and without
    target for an option that needs it; whatever `adapt` raises.

    Example:
        >>> images, texts = torch.rand(6, 1088), torch.rand(6, 384)
        >>> model, run = train_pairs(images, texts, ["one", "two", "three"] * 2, steps=2)
        >>> embed_images(model, images).shape, run.step
        (torch.Size([6, 128]), 2)
    """
    different, which = numbered(captions)
    if not len(images) == len(texts) == len(captions):
        counts = f"{len(images)}, {len(texts)} and {len(captions)}"
        raise ValueError(f"images, texts and captions must be as many, got {counts}")
    needs = [name for name in ("align", "information", "guesses") if options.get(name)]
    if needs and target is None:
        raise ValueError(f"target must be given for {needs[0]}: the second domain's pictures, got None")
    if len(different) < 2:
        raise ValueError(f"captions must be at least two different ones, got {different}")
    device = images.device
    which = which.to(device)
    order = which.argsort(stable=True)  # the rows of caption 0, of caption 1, ...
    times = which.bincount()
    begin = times.cumsum(0) - times
    size = min(batch, len(different))

    def source(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randperm(len(different), generator=generator, device=device)[:size]
        share = torch.rand(size, generator=generator, device=device)
        rows = order[begin[chosen] + (share * times[chosen]).long()]
        return images[rows], texts[rows]

    def unpaired(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(target), (size,), generator=generator, device=device)
        return target[rows], target[rows]  # the tower's dropout is all that changes them

    if start is None:
        start = emoji_model(seed, images, texts).to(device)
    classes = texts[order[begin]]
    return adapt(
        start,
        Batches(source, unpaired),
        steps=steps,
        rate=2e-3,
        decay=0.1,
        classes=classes,
        seed=seed,
        title="two towers",
        **options,
    )


@torch.no_grad()
def embed_images(model: nn.ModuleDict, images: Tensor) -> Tensor:
    """Features (N, D) of pictures to unit vectors (N, d).

    Example:
        >>> model = emoji_model(0, torch.rand(5, 20), torch.rand(5, 30))
        >>> embed_images(model.eval(), torch.rand(2, 20)).norm(dim=1)
        tensor([1.0, 1.0])
    """
    return F.normalize(model["image"](model["features"](images)), dim=1)


@torch.no_grad()
def embed_texts(model: nn.ModuleDict, texts: Tensor) -> Tensor:
    """Features (N, E) of captions to unit vectors (N, d).

    Example:
        >>> model = emoji_model(0, torch.rand(5, 20), torch.rand(5, 30))
        >>> embed_texts(model.eval(), torch.rand(2, 30)).norm(dim=1)
        tensor([1.0, 1.0])
    """
    return F.normalize(model["text"](texts), dim=1)


def found_captions(
    za: Tensor,
    zb: Tensor,
    captions: Sequence[str],
    *,
    files: Sequence[str] | None = None,
    k: Sequence[int] = (1, 5, 10),
) -> Tensor:
    """`retrieval.hits` of pictures among the different captions, (N, len(k)): equal captions count as one.

    za: (N, d) of N pictures; zb: (N, d) of their captions, in the same order, equal for equal captions. files: the
    pictures' names; where one stands in several rows, any of its captions is right for it. Default: N pictures.
    Raises ValueError for another number of captions or of files than of rows.

    Example:
        >>> z = torch.eye(3)[[0, 1, 2, 2]]
        >>> found_captions(z, z, ["a cat", "a dog", "a hat", "A hat"], k=[1])[:, 0].tolist()
        [1.0, 1.0, 1.0, 1.0]
        >>> found_captions(z[[0, 0]], z[:2], ["a cat", "kitty"], files=["1.png", "1.png"], k=[1])[:, 0].tolist()
        [1.0, 1.0]
    """
    files = range(len(za)) if files is None else files
    if not len(za) == len(zb) == len(captions) == len(files):
        counts = f"{len(za)}, {len(zb)}, {len(captions)} and {len(files)}"
        raise ValueError(f"za, zb, captions and files must be as many, got {counts}")
    different, which = numbered(captions)
    rows = torch.arange(len(which))
    first = torch.full((len(different),), len(which)).scatter_reduce(0, which, rows, "amin")  # of each caption
    found = hits(za, zb[first], k=k, targets=which)
    place = {file: number for number, file in enumerate(dict.fromkeys(files))}
    of_file = torch.tensor([place[file] for file in files])[:, None].expand_as(found)
    best = found.new_zeros(len(place), len(k)).scatter_reduce(0, of_file, found, "amax")
    return best.gather(0, of_file)


def found_by_chance(captions: Sequence[str], *, files: Sequence[str] | None = None, k: int = 10) -> float:
    """What `found_captions` gives in the mean where the captions stand in random order.

    Example:
        >>> found_by_chance(["a cat", "a dog", "a hat", "A hat"], k=1)  # one of three
        0.333
        >>> found_by_chance(["a cat", "kitty", "a dog", "a hat"], files=["1", "1", "2", "3"], k=1)
        0.375
    """
    different, which = numbered(captions)
    right: dict = {}
    for file, number in zip(range(len(captions)) if files is None else files, which.tolist(), strict=True):
        right.setdefault(file, []).append(number)
    n, k = len(different), min(k, len(different))
    missed = [len(numbers) * math.comb(n - len({*numbers}), k) for numbers in right.values()]
    return 1 - sum(missed) / (len(captions) * math.comb(n, k))


def cca_pairs(images: Tensor, texts: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The baseline: lesson 01's CCA of the features of the pairs to train on, as two functions to unit vectors.

    images (N, D), texts (N, E). 100 directions, as far as there are so many; regularisation 1, as in lesson 03.

    Example:
        >>> images, texts = torch.rand(9, 20), torch.rand(9, 30)
        >>> see, read = cca_pairs(images, texts)
        >>> (see(images) @ read(texts).T).argmax(dim=1).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    ranks = [int(torch.linalg.matrix_rank(x - x.mean(dim=0))) for x in (images, texts)]  # lower where pictures repeat
    most = min(100, *ranks)
    found = space.cca(images, texts, dim=most, regularisation=1.0)
    weight = found.correlations

    def see(x: Tensor) -> Tensor:
        return F.normalize(found.project_a(x) * weight, dim=1)

    def read(x: Tensor) -> Tensor:
        return F.normalize(found.project_b(x) * weight, dim=1)

    return see, read


def onto_source(target: Tensor, pool: Tensor, source: Tensor, *, spread: bool = False) -> Tensor:
    """Features (M, D) of a second domain, moved so that the mean of its `pool` (P, D) is that of `source` (N, D).

    spread: each of the D numbers also gets the source's standard deviation; one that never changes in the pool is
    only moved. It needs no caption and no training. What it assumes: that both domains show about the same things.
    Source: per-domain statistics, as of batch normalisation in Li et al. 2016 (arXiv 1603.04779).

    Example:
        >>> pool, source = torch.tensor([[4.0, 1.0], [6.0, 1.0]]), torch.tensor([[-2.0, 0.0], [2.0, 0.0]])
        >>> [onto_source(pool, pool, source, spread=spread).tolist() for spread in (False, True)]
        [[[-1.0, 0.0], [1.0, 0.0]], [[-2.0, 0.0], [2.0, 0.0]]]
    """
    centred = target - pool.mean(dim=0)
    if spread:
        wide = pool.std(dim=0)
        centred = centred * torch.where(wide > 0, source.std(dim=0) / wide, 1.0)
    return centred + source.mean(dim=0)


@torch.no_grad()
def without_captions(model: nn.ModuleDict, images: Tensor, classes: Tensor) -> dict[str, float]:
    """Scores of a model on features (M, D) of a second domain that need no caption of it: "information", "entropy",
    "density" (lesson 05), of its choice among the captions `classes` (C, E) that it was trained on.

    Example:
        >>> model = emoji_model(0, torch.rand(5, 20), torch.rand(5, 30)).eval()
        >>> sorted(without_captions(model, torch.rand(4, 20), torch.rand(5, 30)))
        ['density', 'entropy', 'information']
    """
    logits = model["scale"]() * embed_images(model, images) @ embed_texts(model, classes).T
    return {
        "information": dann.information_maximisation(logits).item(),
        "entropy": dann.entropy(logits).item(),
        "density": dann.soft_neighbourhood_density(logits).item(),
    }


def bursts(pictures: Tensor, *, shots: int = 4, seed: int = 0) -> Tensor:
    """Each picture as somebody might take it several times in a row: (N, 3, H, W) uint8 to (N, shots, 3, H, W).

    Each shot is turned and moved a little (`encoders.random_affine`), and up to a fifth darker.

    Example:
        >>> two = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> bursts(two, shots=4).shape
        torch.Size([2, 4, 3, 32, 32])
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for some in pictures.split(64):  # all at once would take some hundred megabytes
        many = some.repeat_interleave(shots, dim=0).float() / 255
        moved = encoders.random_affine(many, degrees=4, stretch=0.04, shift=0.03, generator=generator)
        light = 1 - 0.2 * torch.rand(len(many), 1, 1, 1, generator=generator)
        found.append((moved * light * 255).round().byte())
    return torch.cat(found).view(len(pictures), shots, *pictures.shape[1:])
