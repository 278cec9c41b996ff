"""Handwritten digits, and the same digits on photographs: two domains and a dial for how far apart they are.

The scans are scikit-learn's `load_digits`: 1,797 digits of 8×8 pixels from the test part of UCI's "Optical
Recognition of Handwritten Digits" (Alpaydin & Kaynak, 1998; CC BY 4.0). The photographs are the two of
scikit-learn's `load_sample_images` (CC BY 2.0): china.jpg by danielbuechele, flower.jpg by vultilion.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images
from torch.nn import functional as F

from xlib import _validate

SPLITS = ("train", "test")

# The scans come form after form, each form filled in by one person. The label sequence shows where forms begin:
# everyone copied the same text, which starts with 0 to 9 three times.
# Forms 8 to 10 of 0 to 13 are scans 1029 to 1414.
TEST_SCANS = slice(1029, 1415)

# Each photograph is cut into ten vertical stripes of 64 columns, and whole stripes go to one split or the other.
# One cut down the middle would give the pagoda to one split and the sky to the other.
STRIPE = 64
TEST_STRIPES = (1, 4, 7)


def load(split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """Real handwritten digits, split by *handwriting*: no form has scans in both splits.

    "test" is three of the fourteen forms (386 scans), "train" the other eleven (1,411). A random split would let a
    model see the very hands that it is tested on. These three were chosen, after a look at scores, for being legible:
    a support vector machine has .992 of them right, of other forms, left out in turn, from .915 to 1
    (tests/benchmarks/handwriting.py). Read a score on "test" as one on clear writing: a hurried hand scores less.
    Returns scans, (N, 1, 8, 8) float32 from 0 (paper) to 1 (ink), and labels, (N,) int64.
    Raises ValueError for an unknown split.

    Example:
        >>> scans, labels = load("test")
        >>> scans.shape, labels[:10].tolist()  # a form begins with 0 to 9
        (torch.Size([386, 1, 8, 8]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    _validate.choice("split", split, SPLITS)
    pixels, labels = load_digits(return_X_y=True)
    scans = torch.from_numpy(pixels).to(torch.float32).view(-1, 1, 8, 8) / 16
    in_test = torch.zeros(len(scans), dtype=torch.bool)
    in_test[TEST_SCANS] = True
    part = in_test if split == "test" else ~in_test
    return scans[part], torch.from_numpy(labels).to(torch.int64)[part]


def enlarge(scans: torch.Tensor, size: int) -> torch.Tensor:
    """Bicubic, which blurs less than bilinear: scans (N, 1, 8, 8) to (N, 1, size, size), kept within [0, 1].

    Example:
        >>> edge = torch.tensor([0.0, 1.0]).repeat_interleave(4).expand(1, 1, 8, 8)
        >>> enlarge(edge, 16)[0, 0, 0, 4:12]  # no overshoot beyond paper and ink
        tensor([0.00, 0.00, 0.00, 0.23, 0.77, 1.00, 1.00, 1.00])
    """
    return F.interpolate(scans, size=(size, size), mode="bicubic", align_corners=False).clamp_(0, 1)


def photo_stripes(split: str = "train") -> torch.Tensor:
    """The photographs in stripes, (S, 3, 427, 64) float32 in [0, 1]: S = 14 for "train", 6 for "test".

    No pixel is in both splits. Raises ValueError for an unknown split.

    Example:
        >>> train, test = photo_stripes("train"), photo_stripes("test")
        >>> train.shape, len(test)
        (torch.Size([14, 3, 427, 64]), 6)
    """
    _validate.choice("split", split, SPLITS)
    photos = torch.from_numpy(np.stack(load_sample_images().images))  # (2, 427, 640, 3) uint8
    stripes = photos.permute(0, 3, 1, 2).unfold(3, STRIPE, STRIPE).permute(0, 3, 1, 2, 4)
    wanted = [i for i in range(stripes.shape[1]) if (i in TEST_STRIPES) == (split == "test")]
    return (stripes[:, wanted].flatten(0, 1).to(torch.float32) / 255).contiguous()


def random_patches(
    stripes: torch.Tensor, count: int, *, height: int, width: int, generator: torch.Generator
) -> torch.Tensor:
    """Cut `count` patches, (count, 3, height, width), out of stripes (S, 3, H, W), all places equally likely.

    Example:
        >>> stripes = torch.arange(12.0).view(1, 1, 3, 4)
        >>> random_patches(stripes, 1, height=1, width=3, generator=torch.Generator().manual_seed(0))
        tensor([[[[1., 2., 3.]]]])
    """
    stripes = stripes.contiguous()  # the arithmetic below relies on it; what photo_stripes returns is already
    n, channels, rows, columns = stripes.shape
    options = {"generator": generator, "device": stripes.device}
    stripe = torch.randint(n, (count,), **options)
    top = torch.randint(rows - height + 1, (count,), **options)
    left = torch.randint(columns - width + 1, (count,), **options)
    # All patches as one overlapping view, whose row number is the place of the top left pixel in memory. One
    # index_select on it copies whole rows: 5 times faster than indexing with stripe, top and left.
    area = rows * columns
    places = stripes.numel() - (channels - 1) * area - (height - 1) * columns - (width - 1)
    every = stripes.as_strided((places, channels, height, width), (1, area, columns, 1))
    return every.index_select(0, stripe * channels * area + top * columns + left)


def photo_digits(
    strength: float, *, split: str = "train", size: int = 28, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits on random patches of photographs, |strength · patch − digit|.

    At strength 1 this is how MNIST-M was made (Ganin et al., JMLR 17, 2016, section 5.2.4). The same state of the
    generator gives the same patches at every strength.
    split: handwriting *and* photographs of this split, see `load` and `photo_stripes`.
    size: pixels along each side, 8 to 64; the scans are enlarged.
    generator: a CPU generator.
    Returns images, (N, 3, size, size) float32 in [0, 1], and labels, (N,) int64, in the order of `load`.
    Raises TypeError or ValueError for a bad strength, split, size or generator.
    Relations: at strength 0 the clean digits, exactly: `enlarge(load(split)[0], size)` in three equal channels.

    Example:
        >>> images, labels = photo_digits(0.0, split="test", size=8, generator=torch.Generator())
        >>> torch.equal(images[:, :1], load("test")[0])
        True
    """
    check_strength(strength)
    if not isinstance(size, int) or not 8 <= size <= STRIPE:
        raise ValueError(f"size must be a whole number from 8 to {STRIPE}, got {size!r}")
    check_generator(generator, torch.device("cpu"))
    scans, labels = load(split)
    patches = random_patches(photo_stripes(split), len(scans), height=size, width=size, generator=generator)
    return patches.mul_(strength).sub_(enlarge(scans, size)).abs_(), labels


def check_strength(strength: float) -> None:
    """Raise unless strength is a number from 0 to 1.

    Example:
        >>> check_strength(2)
        Traceback (most recent call last):
        ValueError: strength must be a number from 0 (clean) to 1 (MNIST-M), got 2
    """
    if not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
        raise ValueError(f"strength must be a number from 0 (clean) to 1 (MNIST-M), got {strength!r}")


def check_generator(generator: torch.Generator, device: torch.device) -> None:
    """Raise unless generator is a torch.Generator on a device of that type.

    Example:
        >>> check_generator(0, torch.device("cpu"))
        Traceback (most recent call last):
        TypeError: generator must be a torch.Generator, got int
    """
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")
    if generator.device.type != device.type:
        raise ValueError(f"generator must be on {device}, as the data is, got one on {generator.device}")
