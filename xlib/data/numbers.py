"""Captioned numbers: two handwritten digits side by side, and their number in words.

90 captions, "ten" to "ninety-nine" or 十 to 九十九, put together from a few words: whoever has learned the words
and the two places can name a number that was never shown. A dozen are kept back to find out (`UNSEEN`).
"""

from dataclasses import dataclass, replace

import torch

from xlib import _validate
from xlib.data import digits

NUMBERS = tuple(range(10, 100))

# Never trained on. Every tens digit from 2 to 9 is here once or twice, and so is every unit; but no number has
# its mirror image here (42, not 24), so that reading the digits in the wrong order is not a lucky guess, and all
# words and all digits in both places still occur in training. The teens must stay: "seventeen" is a word of its
# own, so a reader of English words who never met it has nothing to go by. A reader of Chinese has: 十七 is 十,
# as in every number, and 七, as in 二十七.
UNSEEN = (27, 34, 38, 42, 45, 51, 59, 63, 70, 76, 88, 92)
SEEN = tuple(n for n in NUMBERS if n not in UNSEEN)

SIDE = 16  # pixels of a digit, each way
LANGUAGES = ("en", "zh")

_UNITS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", *(f"{x}teen" for x in ("thir", "four", "fif", "six", "seven", "eigh", "nine")))
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_CHINESE = ("", *"一二三四五六七八九")


def caption(number: int, *, language: str = "en") -> str:
    """A number from 10 to 99 in words: English, hyphenated ("forty-two"), or simplified Chinese ("四十二").

    Raises TypeError for anything but a whole number, ValueError outside 10 to 99 or for another language.

    Example:
        >>> caption(42), caption(42, language="zh")
        ('forty-two', '四十二')
        >>> caption(17), caption(17, language="zh")  # a word of its own, or 十 and 七
        ('seventeen', '十七')
    """
    _validate.choice("language", language, LANGUAGES)
    if not isinstance(number, int):
        raise TypeError(f"number must be an int, got {type(number).__name__}")
    if number not in NUMBERS:
        raise ValueError(f"number must be from 10 to 99, got {number}")
    tens, unit = divmod(number, 10)
    if language == "zh":
        return ("" if tens == 1 else _CHINESE[tens]) + "十" + _CHINESE[unit]
    if tens == 1:
        return _TEENS[unit]
    return _TENS[tens - 2] + ("-" if unit else "") + _UNITS[unit]


@dataclass(frozen=True)
class CaptionedNumbers:
    """What pictures of numbers are made of, on one device; `load` makes it.

    glyphs: (G, 16, 16) float32, one split's scans, sorted by digit.
    spans: (90, 2, 2) int64, for number 10 + i, for its tens and its unit: the digit's first glyph, and how many.
    photos: (P, 3, H, W) float32, that split's photographs times the strength; None at strength 0.

    Example:
        >>> tables = load("test", strength=1.0)
        >>> tables.draw(torch.tensor([42, 17]), generator=torch.Generator()).shape
        torch.Size([2, 3, 16, 32])
    """

    glyphs: torch.Tensor
    spans: torch.Tensor
    photos: torch.Tensor | None

    def to(self, device: torch.device | str) -> "CaptionedNumbers":
        """The same on another device."""
        photos = None if self.photos is None else self.photos.to(device)
        return replace(self, glyphs=self.glyphs.to(device), spans=self.spans.to(device), photos=photos)

    def draw(self, numbers: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """Draw each number with any two scans of its digits, on any patch of a photograph: pictures to train on.

        numbers: (B,) int64 from 10 to 99, on the device of the tables, as the generator is. Values are checked
            on a CPU alone: on a GPU that would make every step of training wait.

        Returns (B, 3, 16, 32) float32 in [0, 1], |strength · patch − digits| as in `digits.photo_digits`. The same
        state of the generator gives the same picture, and the same scans and patches at every strength above 0.
        Raises TypeError or ValueError for bad numbers or a bad generator.
        """
        _check_numbers(numbers, self.glyphs.device)
        digits.check_generator(generator, self.glyphs.device)
        first, count = self.spans.index_select(0, numbers - 10).unbind(2)  # (B, 2) each: tens, unit
        dice = torch.randint(2**31, first.shape, generator=generator, device=first.device)
        return self._write(first + dice % count, generator)

    def deal(self, numbers: torch.Tensor, *, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw each number with scans dealt out like cards: pictures to measure with.

        A digit's scans are shuffled and used one after the other, and shuffled again when all are used. So no scan is
        used more than once more often than another of its digit, and few pictures lean on one scan.
        numbers, generator: as for `draw`.

        Returns pictures, as `draw` does, and (B, 2) int64, the rows of `glyphs` that each is made of, tens and unit:
        the units of `retrieval`'s bootstrap. Raises as `draw` does.
        Relations: the grey halves of picture i at strength 0 are glyphs[scans[i]].
        """
        _check_numbers(numbers, self.glyphs.device)
        digits.check_generator(generator, self.glyphs.device)
        firsts, counts = self.spans.index_select(0, numbers - 10).flatten(0, 1).unbind(1)  # tens, unit, tens, ...
        scans = firsts.clone()
        for first in firsts.unique():  # one digit each
            places = (firsts == first).nonzero().flatten()
            count = int(counts[places[0]])
            dice = torch.rand(-(-len(places) // count), count, generator=generator, device=first.device)
            scans[places] += dice.argsort(dim=1).flatten()[: len(places)]
        scans = scans.view(-1, 2)
        return self._write(scans, generator), scans

    def _write(self, scans: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Pictures (B, 3, 16, 32) of these rows (B, 2) of `glyphs`, each on any patch."""
        tens, unit = scans.unbind(1)
        pair = (self.glyphs.index_select(0, tens), self.glyphs.index_select(0, unit))
        grey = torch.cat(pair, dim=2).unsqueeze(1)  # (B, 1, 16, 32)
        if self.photos is None:
            return torch.cat((grey, grey, grey), dim=1)
        patches = digits.random_patches(self.photos, len(scans), height=SIDE, width=2 * SIDE, generator=generator)
        return patches.sub_(grey).abs_()


def load(split: str = "train", *, strength: float = 0.0, collection: str = "mnist") -> CaptionedNumbers:
    """The tables for one split's handwriting and photographs ("train" or "test"), on the CPU.

    strength: how much of the photographs shows, from 0 (clean digits) to 1, see `digits.photo_digits`.
    collection: whose handwriting, "mnist" or "uci", see `digits.load`; 28×28 scans are resized to 16×16.
    The splits keep scans and photographs apart, not numbers: that is for SEEN and UNSEEN.
    Raises ValueError for an unknown split or collection, or a strength outside [0, 1].

    Example:
        >>> tables = load("test")
        >>> tables.photos is None, len(tables.glyphs), tables.spans[42 - 10, :, 1].tolist()  # ways to write a 4, a 2
        (True, 1000, [100, 100])
        >>> load("test", collection="uci").spans[42 - 10, :, 1].tolist()
        [39, 37]
    """
    digits.check_strength(strength)
    scans, labels = digits.load(split, collection=collection)
    count = labels.bincount(minlength=10)
    first = count.cumsum(0) - count
    number = torch.tensor(NUMBERS)
    places = torch.stack((number // 10, number % 10), dim=1)  # (90, 2)
    return CaptionedNumbers(
        glyphs=digits.resized(scans, SIDE)[labels.argsort(stable=True), 0],
        spans=torch.stack((first[places], count[places]), dim=2),
        photos=digits.photographs(split) * strength if strength else None,
    )


def _check_numbers(numbers: torch.Tensor, device: torch.device) -> None:
    if not isinstance(numbers, torch.Tensor) or numbers.dtype != torch.int64:
        came = numbers.dtype if isinstance(numbers, torch.Tensor) else type(numbers).__name__
        raise TypeError(f"numbers must be a torch.Tensor of dtype torch.int64, got {came}")
    if numbers.ndim != 1 or len(numbers) == 0:
        raise ValueError(f"numbers must be non-empty with shape (B,), got shape {tuple(numbers.shape)}")
    if numbers.device != device:
        raise ValueError(f"numbers must be on {device}, as the tables are, got {numbers.device}")
    if device.type == "cpu":
        low, high = (int(edge) for edge in numbers.aminmax())
        if low < 10 or high > 99:
            raise ValueError(f"numbers must be from 10 to 99, got {low if low < 10 else high}")
