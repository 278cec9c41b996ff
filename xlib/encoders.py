"""Small encoders for pictures and for captions, which train in seconds on a CPU, and features made by hand.

All of them return vectors as they come: normalise them (`F.normalize(z, dim=1)`) before you compare or contrast.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _sizes, _validate


class Vocabulary:
    """Words of any language to integers; 0 pads, 1 stands for any word that is not in the vocabulary.

    A text is cut into words, runs of letters and digits with their accents and vowel signs. Where a script has no
    spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character counts as one, and so does each emoji, with
    its skin tone and all that is joined to it. Capitals and how a letter is encoded make no difference (Unicode's
    NFC and case folding: "Straße" is "STRASSE"), nor does the shape of the apostrophe in "don’t".
    texts: strings in a list or the like; all words in them shall be known.

    Example:
        >>> vocabulary = Vocabulary(["forty-two", "四十二"])
        >>> vocabulary(["forty", "forty-seven", "四二"]).tolist()
        [[2, 0], [2, 1], [6, 4]]
    """

    def __init__(self, texts: Iterable[str]):
        words = sorted({word for text in _strings("texts", texts) for word in _words(text)})
        self.index = {word: number for number, word in enumerate(words, start=2)}

    def __len__(self) -> int:
        return len(self.index) + 2

    def __call__(self, texts: Iterable[str]) -> Tensor:
        """texts (B strings, none empty) to tokens (B, L) int64, L the most words of any of them.

        Raises TypeError for anything but strings in a list, ValueError for an empty list or a text without a word.
        """
        texts = _strings("texts", texts)
        rows = [[self.index.get(word, 1) for word in _words(text)] for text in texts]
        if not all(rows):
            empty = texts[[bool(row) for row in rows].index(False)]
            raise ValueError(f"texts must hold at least one word each, got {empty!r}")
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def _strings(name: str, texts: Iterable[str]) -> list[str]:
    """texts as a list, or an error: of strings, and at least one."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"{name} must be a list of strings, got {texts!r:.200}")
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a list of strings, got {text!r:.200} in place {row}")
    if not texts:
        raise ValueError(f"{name} must not be empty")
    return texts


# Scripts without spaces between words, by the first and last of their characters.
_UNSPACED = [(0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3031, 0x30FF)]
_UNSPACED += [(0x31F0, 0x31FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F)]
_UNSPACED += [(0x20000, 0x3FFFF)]
_EMOJI = [(0x2194, 0x2199), (0x21A9, 0x21AA), (0x2300, 0x23FF), (0x25AA, 0x25FE), (0x2600, 0x27BF)]
_EMOJI += [(0x2934, 0x2935), (0x2B00, 0x2BFF), (0x1F000, 0x1FAFF)]


class _Kinds(dict):
    """What `str.translate` makes of each character: one letter for its kind."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = self._kind(code)
        return kind

    @staticmethod
    def _kind(code: int) -> str:
        char = chr(code)
        if code == 0xFE0F:
            return "v"  # makes an emoji of the character before it
        if 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F:
            return "t"  # a skin tone, or a part of a region's flag
        if 0x1F1E6 <= code <= 0x1F1FF:
            return "r"  # two of them are a country's flag
        if char in "\u200c\u200d" or unicodedata.category(char).startswith("M"):
            return "j" if char == "\u200d" else "m"  # accents and vowel signs: no letters to `re`, which cuts there
        if any(first <= code <= last for first, last in _EMOJI):
            return "e"
        if char.isalnum() or char == "'":
            apart = not char.isdecimal() and any(first <= code <= last for first, last in _UNSPACED)
            return "c" if apart else "a"
        return "'" if char in "’‘·״׳" else " "  # between letters only: apostrophes; in Catalan and in Hebrew


_KINDS = _Kinds()
_WORD = re.compile(
    r"rr?|t|(?:e|.(?=v))[vtm]*(?:j(?:e|.(?=v))[vtm]*)*"  # an emoji
    r"|c[vm]*"  # a character of a script without spaces
    r"|a(?:[amvj]|'(?=a))*"  # a word
)
# Where a word may be hyphenated, which way it is written, and in which of its variants a character is drawn.
_UNSEEN = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0e\ufeff\U000e0100-\U000e01ef]")
_APOSTROPHES = str.maketrans("’‘ʼʻ", "''''", "\ufe0f")  # and without the mark of an emoji


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFC", _UNSEEN.sub("", text)).casefold().replace("i\u0307", "i")  # as of "İ"
    text = unicodedata.normalize("NFC", text)
    words = _WORD.finditer(text.translate(_KINDS))
    return [text[word.start() : word.end()].translate(_APOSTROPHES) for word in words]


class ImageEncoder(nn.Module):
    """A small convolutional encoder: 3x3 convolutions, each of stride 2 but the last, then one linear map.

    GroupNorm and not BatchNorm: each image is normalised by itself, so an embedding does not depend on its
    neighbours in the batch, nor on a domain that the running averages were not made for.
    size: height and width of the images. channels: of each convolution, multiples of 8. inputs: an image's own
    channels, 3 for colours, 1 for a spectrogram. forward: images (B, inputs, *size) float to (B, embed_dim);
    `features` gives what the linear map is fed with.

    Example:
        >>> encoder, images = ImageEncoder((8, 8), embed_dim=8).eval(), torch.linspace(0, 1, 384).view(2, 3, 8, 8)
        >>> encoder(images).shape, torch.allclose(encoder(images)[:1], encoder(images[:1]), atol=1e-5)
        (torch.Size([2, 8]), True)
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        channels: Sequence[int] = (32, 64, 64),
        embed_dim: int = 64,
        inputs: int = 3,
    ):
        super().__init__()
        layers, before, shrink = [], inputs, 2 ** (len(channels) - 1)
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
        return self.project(self.features(images))  # (B, inputs, H, W) to (B, channels * cells) to (B, embed_dim)


class TextEncoder(nn.Module):
    """A small recurrent encoder: word embeddings, one GRU, the mean of its states over the words, one linear map.

    The mean, and not the last state: what "seventy" adds is then the same alone and before "one", so a new caption is
    read by its words. With the last state, some seeds took a new 70 for a 30 or a 40.
    words: size of the vocabulary. forward: tokens (B, L) int64, 0 pads on the right, to (B, embed_dim).

    Example:
        >>> encoder, short, padded = TextEncoder(10).eval(), torch.tensor([[3, 7]]), torch.tensor([[3, 7, 0, 0]])
        >>> torch.allclose(encoder(short), encoder(padded), atol=1e-5)  # padding says nothing
        True
    """

    def __init__(self, words: int, *, width: int = 128, embed_dim: int = 64):
        super().__init__()
        self.embed = nn.Embedding(words, width // 2, padding_idx=0)
        self.gru = nn.GRU(width // 2, width, batch_first=True)
        self.project = nn.Linear(width, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.gru(self.embed(tokens))  # (B, L, width)
        return self.project(_mean_of_words(states, tokens != 0))  # (B, width) to (B, embed_dim)


def _mean_of_words(states: Tensor, words: Tensor) -> Tensor:
    """The mean over L of states (B, L, d) where words (B, L) are; of none, zeros. Summed in float32 at least."""
    words = words.unsqueeze(2).to(_sizes.wide(states).dtype)
    return ((states * words).sum(dim=1) / words.sum(dim=1).clamp(min=1)).to(states.dtype)


def random_affine(
    images: Tensor, *, degrees: float = 10, stretch: float = 0.12, shift: float = 0.1, generator: torch.Generator
) -> Tensor:
    """Turn, stretch, slant and shift each image by its own random amount: the whole batch in one call.

    images: (B, C, H, W) float. degrees: largest turn either way. stretch: largest relative change of size, and of
    slant. shift: largest move, as a share of the picture. What comes in from outside repeats the border.
    Returns the same shape, dtype and device, which is the generator's too. Raises ValueError for other shapes.
    Relations: `F.affine_grid` of each image's matrix and `F.grid_sample`; the identity where all amounts are 0.

    Example:
        >>> bar, draw = torch.eye(5)[2].expand(1, 1, 5, 5), torch.Generator().manual_seed(0)
        >>> random_affine(bar, degrees=0, stretch=0, shift=0.1, generator=draw).sum().item()  # moved, no ink is lost
        5.00
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be floating (B, C, H, W), got {images.dtype}, shape {tuple(images.shape)}")
    b, _, h, w = images.shape
    random = torch.rand(5, b, generator=generator, device=images.device, dtype=images.dtype)
    turn, size, slant, down, across = random * 2 - 1  # (B,) each
    turn, size, slant = turn * math.radians(degrees), 1 + size * stretch, slant * stretch
    # Coordinates run from -1 to 1 along both sides, so off-diagonal entries carry the ratio of the sides.
    x, y = (torch.arange(1 - n, n, 2, device=images.device, dtype=images.dtype) / n for n in (w, h))

    def line(a: Tensor, b: Tensor, c: Tensor) -> Tensor:  # a x + b y + c for every pixel, (B, H, W)
        a, b, c = (part.view(-1, 1, 1) for part in (a / size, b / size, c))
        return a * x + (b * y.unsqueeze(1) + c)

    # `F.affine_grid` makes the same of a product of matrices, slower and, under autocast, in 16 bits. What lies
    # outside is moved to the middle of the outermost pixel: padding_mode="border" would stop Apple's GPU.
    across = line(turn.cos(), (slant - turn.sin()) * h / w, 2 * across * shift).clamp(1 / w - 1, 1 - 1 / w)
    down = line(turn.sin() * w / h, turn.cos(), 2 * down * shift).clamp(1 / h - 1, 1 - 1 / h)
    return F.grid_sample(images, torch.stack([across, down], dim=3), align_corners=False)


def edges_and_colours(images: Tensor) -> Tensor:
    """Fixed features, made by hand: where edges run in which direction, and which colours are where.

    Histograms of oriented gradients, 8 directions in 8x8 cells and, of the picture at a quarter of its size, in 4x4
    cells (Dalal & Triggs 2005); a histogram of 64 colours in 2x2 cells; and an 8x8 thumbnail. A thousand pictures are
    too few to learn such filters from, and enough to learn what to make of them.
    images: (N, 3, H, W) float in [0, 1] or uint8 in [0, 255], H and W at least 32, or ValueError.
    Returns (N, 1088), float32 or, of float64, that: four blocks of unit length (or of zeros, where there is no edge).
    Relations: where all have edges, `f @ f.T / 4` is `space.cosine_similarity_matrix(f, f)`: four cosines' mean.

    Example:
        >>> upright = (torch.arange(32) // 8 % 2.0).expand(1, 3, 32, 32)  # stripes
        >>> f = edges_and_colours(torch.cat([upright, upright.mT]))
        >>> (f @ f.T / 4)[0].tolist()  # no edge is shared, but the colours are
        [1.00, 0.375]
    """
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 32:
        raise ValueError(f"images must have shape (N, 3, H, W) with H and W at least 32, got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        images = images / 255
    elif not images.is_floating_point():
        raise ValueError(f"images must be floating in [0, 1], or uint8 in [0, 255], got {images.dtype}")
    elif torch.compiler.is_compiling() or _validate.traced(images):
        pass  # which have no values to look at
    elif len(images) and not (images.min() >= -1e-3 and images.max() <= 1.001):  # NaN fails too
        least, most = images.min().item(), images.max().item()
        raise ValueError(f"images must be in [0, 1], or uint8 in [0, 255], got floats from {least:.3g} to {most:.3g}")
    images = _sizes.wide(images)
    # A hundred at a time: the 64 colours of a thousand pictures would take most of a gigabyte.
    return torch.cat([_edges_and_colours(part) for part in images.split(100)])


def _edges_and_colours(images: Tensor) -> Tensor:
    blocks = [
        _oriented_gradients(images, cells=8),
        _oriented_gradients(F.avg_pool2d(images, 4), cells=4),
        _colour_histogram(images[:, :, ::2, ::2], cells=2),
        F.adaptive_avg_pool2d(images, 8),
    ]
    return torch.cat([_sizes.unit(block.flatten(1)) for block in blocks], dim=1)  # (N, 1088)


def _oriented_gradients(images: Tensor, *, cells: int, directions: int = 8) -> Tensor:
    """(N, directions, cells, cells): the root of each cell's mean edge strength, by direction of the edge."""
    grey = images.mean(dim=1, keepdim=True)  # (N, 1, H, W)
    across = grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2]  # (N, 1, H - 2, W - 2)
    down = grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]
    # light-to-dark and dark-to-light are one direction, so half a turn is the whole circle of bins
    direction = torch.atan2(down, across) / math.pi * directions % directions
    bins = torch.arange(directions, device=images.device).view(1, -1, 1, 1)
    apart = (direction - bins).abs()  # (N, directions, H - 2, W - 2)
    share = (1 - torch.minimum(apart, directions - apart)).clamp(min=0)  # between its two nearest bins
    return F.adaptive_avg_pool2d(torch.hypot(across, down) * share, cells).sqrt()


def _colour_histogram(images: Tensor, *, cells: int, shades: int = 4) -> Tensor:
    """(N, shades**3, cells, cells): the root of the share of each colour in each cell."""
    red, green, blue = (images * shades).long().clamp(max=shades - 1).unbind(1)
    one_hot = F.one_hot((red * shades + green) * shades + blue, shades**3)  # (N, H, W, shades**3)
    return F.adaptive_avg_pool2d(one_hot.permute(0, 3, 1, 2).to(images.dtype), cells).sqrt()


class Centre(nn.Module):
    """Takes a fixed mean off and brings what is left to unit length. Features of real data share a large common
    part, and two vectors that agree in nothing else still have a high cosine because of it.

    mean: (D,). forward: (..., D) to (..., D) in the features' dtype, computed in float32 at least.
    Relations: `Centre(torch.zeros(D))` is `F.normalize(features, dim=-1)`.

    Example:
        >>> x = torch.tensor([[10.0, 1.0], [10.0, -1.0]])
        >>> [F.cosine_similarity(*z, dim=0).item() for z in (x, Centre(x.mean(dim=0))(x))]
        [0.98, -1.00]
    """

    def __init__(self, mean: Tensor):
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        return _sizes.unit(_sizes.wide(features) - _sizes.wide(self.mean)).to(
            torch.promote_types(features.dtype, self.mean.dtype)
        )
