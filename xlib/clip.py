"""CLIP: two encoders, one shared space; retrieval in it, and classification by caption.

The small encoders train in seconds on a CPU. `CLIPModel` is the full-size pair, ResNet-50 and BERT. All of them
return vectors as they come: normalise them (`F.normalize(z, dim=1)`) before you compare or contrast.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate
from xlib.contrastive import LogitScale


class Vocabulary:
    """Words and Chinese characters to integers; 0 pads, 1 stands for any word that is not in the vocabulary.

    texts: all texts whose words shall be known. English is cut into lower-case words, so "forty-two" is two words;
    Chinese is cut into characters.
    """

    def __init__(self, texts: Sequence[str]):
        _strings("texts", texts)
        words = sorted({word for text in texts for word in _words(text)})
        self.index = {word: number for number, word in enumerate(words, start=2)}

    def __len__(self) -> int:
        return len(self.index) + 2

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """texts (B strings, none empty) to tokens (B, L) int64, L the most words of any of them.

        Raises TypeError for anything but strings in a list, ValueError for an empty list or a text without a word.
        """
        _strings("texts", texts)
        rows = [[self.index.get(word, 1) for word in _words(text)] for text in texts]
        if not all(rows):
            empty = texts[[bool(row) for row in rows].index(False)]
            raise ValueError(f"texts must hold at least one word each, got {empty!r}")
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def _strings(name: str, texts: Sequence[str]) -> None:
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name} must be a list of strings, got {texts!r}")
    if not len(texts):
        raise ValueError(f"{name} must not be empty")


def _words(text: str) -> list[str]:
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9']+", text.lower())


class ImageEncoder(nn.Module):
    """A small convolutional encoder: 3x3 convolutions, each of stride 2 but the last, then one linear map.

    GroupNorm and not BatchNorm: each image is normalised by itself, so an embedding does not depend on its
    neighbours in the batch, nor on a domain that the running averages were not made for.

    size: height and width of the images. channels: of each convolution, multiples of 8.
    forward: images (B, 3, *size) float to (B, embed_dim); `features` gives what the linear map is fed with.
    """

    def __init__(self, size: tuple[int, int], *, channels: Sequence[int] = (32, 64, 64), embed_dim: int = 64):
        super().__init__()
        layers, before, shrink = [], 3, 2 ** (len(channels) - 1)
        for number, width in enumerate(channels, start=1):
            stride = 1 if number == len(channels) else 2
            layers += [
                nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False),
                nn.GroupNorm(8, width),
                nn.GELU(),
            ]
            before = width
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
        self.project = nn.Linear(before * math.ceil(size[0] / shrink) * math.ceil(size[1] / shrink), embed_dim)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.features(images))


class TextEncoder(nn.Module):
    """A small recurrent encoder: word embeddings, one GRU, the mean of its states over the words, one linear map.

    The mean, and not the last state: what "seventy" adds is then the same alone and before "one", and a caption that
    was never trained on is read by its words. With the last state, some seeds took a new 70 for a 30 or a 40.

    words: size of the vocabulary. forward: tokens (B, L) int64, 0 pads on the right, to (B, embed_dim).
    """

    def __init__(self, words: int, *, width: int = 128, embed_dim: int = 64):
        super().__init__()
        self.embed = nn.Embedding(words, width // 2, padding_idx=0)
        self.gru = nn.GRU(width // 2, width, batch_first=True)
        self.project = nn.Linear(width, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.gru(self.embed(tokens))
        word = (tokens != 0).unsqueeze(2).to(states.dtype)
        return self.project((states * word).sum(dim=1) / word.sum(dim=1))


def random_affine(
    images: Tensor, *, degrees: float = 10, stretch: float = 0.12, shift: float = 0.1, generator: torch.Generator
) -> Tensor:
    """Turn, stretch, slant and shift each image by its own random amount: the whole batch in one call.

    images: (B, C, H, W) float. degrees: largest turn either way. stretch: largest relative change of size, and of
    slant. shift: largest move, as a share of the picture. What comes in from outside repeats the border.
    Returns images of the same shape and device; the generator lives on that device.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be floating (B, C, H, W), got {images.dtype}, shape {tuple(images.shape)}")
    b, _, h, w = images.shape
    random = torch.rand(5, b, generator=generator, device=images.device, dtype=images.dtype)
    turn, size, slant, down, across = random * 2 - 1
    turn, size, slant = turn * math.radians(degrees), 1 + size * stretch, slant * stretch
    # Coordinates run from -1 to 1 along both sides, so off-diagonal entries carry the ratio of the sides.
    x, y = (torch.arange(1 - n, n, 2, device=images.device, dtype=images.dtype) / n for n in (w, h))

    def line(a: Tensor, b: Tensor, c: Tensor) -> Tensor:  # a x + b y + c for every pixel, (B, H, W)
        a, b, c = (part.view(-1, 1, 1) for part in (a / size, b / size, c))
        return a * x + (b * y.unsqueeze(1) + c)

    # `F.affine_grid` makes the same of a product of matrices, slower and, under autocast, in 16 bits.
    grid = torch.stack(
        [
            line(turn.cos(), (slant - turn.sin()) * h / w, 2 * across * shift),
            line(turn.sin() * w / h, turn.cos(), 2 * down * shift),
        ],
        dim=3,
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def edges_and_colours(images: Tensor) -> Tensor:
    """Fixed features, made by hand: where edges run in which direction, and which colours are where.

    Histograms of oriented gradients, 8 directions in 8x8 cells and, of the picture at a quarter of its size, in 4x4
    cells (Dalal & Triggs 2005); a histogram of 64 colours in 2x2 cells; and an 8x8 thumbnail. A thousand pictures are
    too few to learn such filters from, and enough to learn what to make of them.

    images: (N, 3, H, W) float in [0, 1], H and W at least 32. Returns (N, 1088) float32: four blocks of unit length.
    Raises ValueError for other shapes.
    """
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 32:
        raise ValueError(f"images must have shape (N, 3, H, W) with H and W at least 32, got {tuple(images.shape)}")
    # A hundred at a time: the 64 colours of a thousand pictures would take most of a gigabyte.
    return torch.cat([_edges_and_colours(part) for part in images.split(100)])


def _edges_and_colours(images: Tensor) -> Tensor:
    blocks = [
        _oriented_gradients(images, cells=8),
        _oriented_gradients(F.avg_pool2d(images, 4), cells=4),
        _colour_histogram(images[:, :, ::2, ::2], cells=2),
        F.adaptive_avg_pool2d(images, 8),
    ]
    return torch.cat([F.normalize(block.flatten(1), dim=1) for block in blocks], dim=1)


def _oriented_gradients(images: Tensor, *, cells: int, directions: int = 8) -> Tensor:
    """(N, directions, cells, cells): the root of each cell's mean edge strength, by direction of the edge."""
    grey = images.mean(dim=1, keepdim=True)
    across = grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2]
    down = grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]
    # light-to-dark and dark-to-light are one direction, so half a turn is the whole circle of bins
    direction = torch.atan2(down, across) / math.pi * directions % directions
    bins = torch.arange(directions, device=images.device).view(1, -1, 1, 1)
    apart = (direction - bins).abs()
    share = (1 - torch.minimum(apart, directions - apart)).clamp(min=0)  # between its two nearest bins
    return F.adaptive_avg_pool2d(torch.hypot(across, down) * share, cells).sqrt()


def _colour_histogram(images: Tensor, *, cells: int, shades: int = 4) -> Tensor:
    """(N, shades**3, cells, cells): the root of the share of each colour in each cell."""
    red, green, blue = (images * shades).long().clamp(max=shades - 1).unbind(1)
    one_hot = F.one_hot((red * shades + green) * shades + blue, shades**3)
    return F.adaptive_avg_pool2d(one_hot.permute(0, 3, 1, 2).to(images.dtype), cells).sqrt()


class Centre(nn.Module):
    """Takes a fixed mean off and brings what is left to unit length. Features of real data share a large common
    part, and two vectors that agree in nothing else still have a high cosine because of it.

    mean: (D,). forward: (..., D) to (..., D).
    """

    def __init__(self, mean: Tensor):
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(features - self.mean, dim=-1)


class Recall(NamedTuple):
    """A share of queries from 0 to 1, and its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def retrieval(
    za: Tensor,
    zb: Tensor,
    *,
    k: Sequence[int] = (1, 5, 10),
    targets: Tensor | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> dict[int, Recall]:
    """Recall at k: for which share of the queries `za` is the right row of `zb` among the k most similar?

    Similarity is the dot product, of vectors as they come. Rows of equal similarity (up to rounding) are taken to
    stand in random order, and the expectation over these orders is returned: a collapsed model, with the same
    vector for everything, gets k / M, as chance does, and not 1.

    Args:
        za: (N, d) queries. zb: (M, d) gallery. For the other direction, exchange the two.
        k: the ranks to report, whole numbers from 1 on; a k above M counts as M.
        targets: (N,) int64, the right row of zb for each query; may repeat. Default: row i for query i (then N = M).
        resamples, level: of the percentile bootstrap over queries (Efron 1979). It says how much the score would
            vary with other queries of this kind, not with another training run: for that, train with several seeds.
        generator: of the bootstrap, on the CPU; default: a fresh one with seed 0.

    Returns: {k: Recall(value, low, high)}.
    Raises: TypeError or ValueError that names the argument.
    """
    _validate.embeddings("za", za)
    _validate.embeddings("zb", zb, like=za, like_name="za", same="width")
    if not isinstance(k, Sequence) or not k:
        raise TypeError(f"k must be a list of ranks, such as (1, 5, 10), got {k!r}")
    for rank in k:
        _validate.whole("k", rank, least=1)
    _validate.whole("resamples", resamples, least=1)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if targets is None:
        if len(za) != len(zb):
            raise ValueError(f"targets must be given when za has {len(za)} rows and zb has {len(zb)}")
        targets = torch.arange(len(za), device=za.device)
    _check_targets(targets, len(za), len(zb))
    with torch.autocast(za.device.type, enabled=False):
        ahead, level_with = _places(za.detach(), zb.detach(), targets.to(za.device))
    ranks = torch.tensor(list(k)).clamp(max=len(zb))
    hits = ((ranks - ahead[:, None]) / (1 + level_with[:, None])).clamp(0, 1)  # (N, len(k))
    return bootstrap(hits, k, resamples=resamples, level=level, generator=generator)


def bootstrap(
    hits: Tensor, k: Sequence[int], *, resamples: int, level: float, generator: torch.Generator | None = None
) -> dict[int, Recall]:
    """Mean and percentile interval, over queries, of hits (N, len(k)) in [0, 1]; the options as in `retrieval`."""
    generator = generator or torch.Generator().manual_seed(0)
    draws = torch.stack(
        [hits[torch.randint(len(hits), (len(hits),), generator=generator)].mean(dim=0) for _ in range(resamples)]
    )
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype)
    low, high = draws.quantile(edges, dim=0)
    return {rank: Recall(*(float(part[i]) for part in (hits.mean(dim=0), low, high))) for i, rank in enumerate(k)}


def _places(za: Tensor, zb: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For each query, how many rows are more similar than the right one, and how many others are just as similar.
    A thousand queries at a time, so that memory stays at 1000 times the gallery.

    A matrix product rounds equal dot products differently, depending on where in the table they stand. So "just as
    similar" means: no further apart than that rounding, about eps * sqrt(d) of the lengths' product.
    """
    wide = torch.promote_types(za.dtype, torch.float32)  # 16 bits would make ties of what is not equal
    za, zb = za.to(wide), zb.to(wide)
    length, rounding = zb.norm(dim=1), torch.finfo(wide).eps * math.sqrt(za.shape[1])
    if not torch.isfinite(2 * za.norm(dim=1).max() * length.max()):
        raise ValueError(f"za and zb must have dot products that {wide} can hold, got vectors that are too long")
    ahead, level_with = [], []
    for rows, right in zip(za.split(1000), targets.split(1000), strict=True):
        gap = rows @ zb.T
        gap -= gap.gather(1, right[:, None])
        slack = rounding * rows.norm(dim=1, keepdim=True) * (length + length[right, None])
        ahead.append((gap > slack).sum(dim=1))
        level_with.append((gap.abs() <= slack).sum(dim=1) - 1)
    return torch.cat(ahead).cpu().double(), torch.cat(level_with).cpu().double()


def _check_targets(targets: Tensor, queries: int, gallery: int) -> None:
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64:
        raise TypeError(f"targets must be an int64 tensor, got {getattr(targets, 'dtype', type(targets).__name__)}")
    if targets.shape != (queries,):
        raise ValueError(f"targets must have shape ({queries},), one a query, got {tuple(targets.shape)}")
    if targets.min() < 0 or targets.max() >= gallery:
        raise ValueError(
            f"targets must be rows of zb, 0 to {gallery - 1}, got {int(targets.min())} to {int(targets.max())}"
        )


def zero_shot_weights(
    encode_text: Callable[[list[str]], Tensor], classnames: Sequence[str], templates: Sequence[str] = ("{}",)
) -> Tensor:
    """A classifier made of words: one unit vector a class, the mean direction of its name in several sentences.

    For each class, its name is put into each template, each sentence becomes a *unit* vector, and their mean is
    scaled back to length 1. Without the first normalisation a long vector would outvote the others; without
    the second a class whose sentences disagree would get smaller logits than the rest.

    Args:
        encode_text: takes a list of B strings and returns (B, d).
        classnames: C names. templates: T strings, each with one "{}" for the name.

    Returns: (C, d); `F.normalize(images, dim=1) @ weights.T` are the cosines to each class.
    Raises: TypeError or ValueError that names the argument.
    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.1.4.
    """
    _strings("classnames", classnames)
    _strings("templates", templates)
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"templates must each hold {{}} once, got {template!r}")
    vectors = encode_text([template.replace("{}", name) for name in classnames for template in templates])
    _validate.embeddings("the result of encode_text", vectors)
    if len(vectors) != len(classnames) * len(templates):
        raise ValueError(
            f"encode_text must return a row a text, {len(classnames) * len(templates)}, got {len(vectors)}"
        )
    unit = F.normalize(vectors, dim=1).view(len(classnames), len(templates), -1)
    return F.normalize(unit.mean(dim=1), dim=1)


class CLIPModel(nn.Module):
    """The full-size pair: ResNet-50 for images, BERT for texts, a linear map from each into the shared space.

    Both towers are built from their configurations, with random weights and without a download. With a network,
    start from pretrained ones:

        CLIPModel(vision=torchvision.models.resnet50(weights="DEFAULT"),
                  text=transformers.BertModel.from_pretrained("bert-base-uncased"))

    Args:
        embed_dim: dimensions of the shared space.
        vision: a torchvision ResNet, whose last layer is replaced; default ResNet-50.
        text: a transformers encoder with a pooled output; default BERT-base.

    Source: Radford et al. 2021 (arXiv 2103.00020), fig. 3; ResNet: He et al. 2016 (arXiv 1512.03385);
    BERT: Devlin et al. 2019 (arXiv 1810.04805).
    """

    def __init__(self, embed_dim: int = 512, *, vision: nn.Module | None = None, text: nn.Module | None = None):
        super().__init__()
        _validate.whole("embed_dim", embed_dim, least=1)
        if vision is None:
            from torchvision.models import resnet50

            vision = resnet50(weights=None)
        if text is None:
            from transformers import BertConfig, BertModel

            text = BertModel(BertConfig())
        self.visual_encoder, self.text_encoder = vision, text
        self.visual_fc = nn.Linear(vision.fc.in_features, embed_dim)
        self.visual_encoder.fc = nn.Identity()  # ImageNet's 1,000 classes are of no use here
        self.text_fc = nn.Linear(text.config.hidden_size, embed_dim)
        self.logit_scale = LogitScale()

    def encode_image(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) float, normalised as the tower expects, to (B, embed_dim)."""
        return self.visual_fc(self.visual_encoder(images))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens and mask, both (B, L) int64, to (B, embed_dim)."""
        return self.text_fc(self.text_encoder(input_ids=input_ids, attention_mask=attention_mask).pooler_output)

    def forward(self, images: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors of images and of texts, (B, embed_dim) each, and the logit scale: what `info_nce` takes."""
        za = F.normalize(self.encode_image(images), dim=1)
        zb = F.normalize(self.encode_text(input_ids, attention_mask), dim=1)
        return za, zb, self.logit_scale()
