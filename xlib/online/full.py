"""Data sets at the scale of the papers, where there is a network: digits in four domains, photographs with captions.

Each loader fetches once, verifies, and keeps what it fetched in xlib's cache (XLIB_CACHE moves it). From then on no
network is needed. Where nothing is there and nothing can be had they raise `Unavailable`, whose text says what to do.

Pictures come as bytes, so that all of a set fits into memory and onto a GPU: divide by 255 where you use them.
"""

import gzip
import io
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xlib import _validate
from xlib.data import cache
from xlib.data.digits import SPLITS, random_patches
from xlib.data.pictures import as_rgb
from xlib.online.captions import Captioned, coco, flickr8k
from xlib.online.download import Unavailable, fetch
from xlib.progress import tqdm

__all__ = ["Captioned", "Unavailable", "coco", "flickr8k", "mnist", "mnist_m", "photographs", "svhn", "usps"]

PHOTOGRAPHS = ("https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/BSR_bsds500.tgz",)
PHOTOGRAPHS_DIGEST = "gzip:70763455"  # nobody publishes a checksum; this is its size, and gzip keeps a CRC-32 inside
_EDITION = "1"  # raise it when mnist_m makes something else, so that caches made before are dropped


def folder() -> Path:
    """Where the downloads of this module lie; it need not exist yet.

    Example:
        >>> where = folder()
        >>> where.name, where.parent == cache.folder()
        ('full', True)
    """
    return cache.folder() / "full"


def mnist(split: str = "train") -> tuple[Tensor, Tensor]:
    """MNIST: handwritten digits on black, by some 500 people (LeCun, Bottou, Bengio & Haffner 1998). 12 MB;
    CC BY-SA 3.0.
    Returns images, (60000 or 10000, 1, 28, 28) uint8 from 0 (paper) to 255 (ink), and labels, (N,) int64.
    Raises ValueError for an unknown split, Unavailable where it cannot be had.

    Example:
        >>> images, labels = mnist("test")  # doctest: +SKIP
        >>> mnist("validation")  # refused before anything is fetched
        Traceback (most recent call last):
        ValueError: split must be one of 'train', 'test', got 'validation'
    """
    from torchvision import datasets

    _validate.choice("split", split, SPLITS)
    mirrors, packed = datasets.MNIST.mirrors, {}
    for name, md5 in datasets.MNIST.resources:
        packed[name] = fetch([mirror + name for mirror in mirrors], folder() / "mnist" / name, digest=f"md5:{md5}")

    def read() -> datasets.MNIST:
        with tempfile.TemporaryDirectory() as root:  # torchvision reads the unpacked files, and does not check them
            raw = Path(root) / "MNIST" / "raw"
            raw.mkdir(parents=True)
            for name, path in packed.items():
                (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
            return datasets.MNIST(root, train=split == "train")

    found = _parsed(read, folder() / "mnist")
    return found.data.unsqueeze(1).contiguous(), found.targets.to(torch.int64)


def usps(split: str = "train") -> tuple[Tensor, Tensor]:
    """USPS: digits from the envelopes of a US post office (Hull 1994). 8 MB; no licence is stated.

    Returns images, (7291 or 2007, 1, 16, 16) uint8 from 0 (paper) to 255 (ink), and labels, (N,) int64.
    Raises ValueError for an unknown split, Unavailable where it cannot be had.

    Example:
        >>> images, labels = usps("test")  # doctest: +SKIP
        >>> images.shape, images.float().div(255).max().item()  # doctest: +SKIP
        (torch.Size([2007, 1, 16, 16]), 1.0)
    """
    from torchvision import datasets

    _validate.choice("split", split, SPLITS)
    url, name, md5 = datasets.USPS.split_list[split]
    path = fetch([url], folder() / name, digest=f"md5:{md5}")
    found = _parsed(lambda: datasets.USPS(folder(), train=split == "train"), path)
    return torch.from_numpy(found.data).unsqueeze(1), torch.tensor(found.targets)


def svhn(split: str = "train") -> tuple[Tensor, Tensor]:
    """Street View House Numbers, cut to single digits (Netzer et al. 2011). 182 MB for "train", 64 MB for "test"; for
    non-commercial use only.
    Returns images, (73257 or 26032, 3, 32, 32) uint8, and labels, (N,) int64, where 0 is the digit 0.
    Raises ValueError for an unknown split, Unavailable where it cannot be had.

    Example:
        >>> images, labels = svhn("test")  # doctest: +SKIP
        >>> images.shape, labels.unique().tolist()  # doctest: +SKIP
        (torch.Size([26032, 3, 32, 32]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    from torchvision import datasets

    _validate.choice("split", split, SPLITS)
    url, name, md5 = datasets.SVHN.split_list[split]
    path = fetch([url], folder() / name, digest=f"md5:{md5}")
    found = _parsed(lambda: datasets.SVHN(folder(), split=split), path)
    return torch.from_numpy(np.ascontiguousarray(found.data)), torch.from_numpy(found.labels)


def photographs(split: str = "train") -> Tensor:
    """The photographs of BSDS500, the Berkeley segmentation data set (Arbelaez, Maire, Fowlkes & Malik 2011). 71 MB;
    for research and teaching, not for commerce.
    Returns (200, 3, 321, 481) uint8 for either split; those taken upright are turned on their side, so that all have
    one shape. "train" and "test" are the data set's own; its 100 for validation are left out.
    Raises ValueError for an unknown split, Unavailable where it cannot be had.

    Example:
        >>> train, test = photographs("train"), photographs("test")  # doctest: +SKIP
        >>> train.shape, test.dtype  # doctest: +SKIP
        (torch.Size([200, 3, 321, 481]), torch.uint8)
    """
    _validate.choice("split", split, SPLITS)
    path = fetch(PHOTOGRAPHS, folder() / "BSR_bsds500.tgz", digest=PHOTOGRAPHS_DIGEST)

    def read() -> list[Tensor]:
        found = {}
        with tarfile.open(path) as archive:  # read in place: nothing in it is unpacked onto the disk
            for member in archive:
                if f"/images/{split}/" in member.name and member.name.endswith(".jpg"):
                    with Image.open(io.BytesIO(archive.extractfile(member).read())) as image:
                        found[member.name] = torch.from_numpy(np.array(as_rgb(image))).permute(2, 0, 1)
        upright = [image.shape[1] > image.shape[2] for image in found.values()]
        turned = [image.mT if up else image for image, up in zip(found.values(), upright, strict=True)]
        return torch.stack([image for _, image in sorted(zip(found, turned, strict=True))])

    return _parsed(read, path)


def mnist_m(split: str = "train") -> tuple[Tensor, Tensor]:
    """MNIST-M: each digit of MNIST on a random patch of a photograph, |patch - digit| in each colour.

    As its authors made it (Ganin et al. 2016, section 5.2.4), but for two things: the patches are drawn anew, since
    their draw was not published; and the test digits lie on the test photographs of BSDS500, so that no background of
    training is met again. Made once, in some seconds, from `mnist` and `photographs`, and kept in xlib's cache.
    Returns images, (60000 or 10000, 3, 28, 28) uint8, and labels, (N,) int64, in the order of `mnist`.
    Raises ValueError for an unknown split, Unavailable where one of the two cannot be had.
    Relations: `on_photographs(mnist(split)[0], photographs(split), seed=0)`, of "test" with seed=1.

    Example:
        >>> images, labels = mnist_m("test")  # doctest: +SKIP
        >>> images.shape, torch.equal(labels, mnist("test")[1])  # doctest: +SKIP
        (torch.Size([10000, 3, 28, 28]), True)
    """
    _validate.choice("split", split, SPLITS)

    def make() -> dict[str, Tensor]:
        images, labels = mnist(split)
        return {"images": on_photographs(images, photographs(split), seed=SPLITS.index(split)), "labels": labels}

    from torchvision import datasets

    key = " ".join([_EDITION, split, PHOTOGRAPHS_DIGEST, *(md5 for _, md5 in datasets.MNIST.resources)])
    made = cache.cached(f"mnist-m-{split}", key, make)
    return made["images"], made["labels"]


def on_photographs(images: Tensor, photographs: Tensor, *, seed: int) -> Tensor:
    """|patch - digit|, each digit on a patch of its own, all places in all photographs equally likely.

    images: (N, 1, h, w) uint8. photographs: (S, 3, H, W) uint8, at least as large. Returns (N, 3, h, w) uint8.
    Relations: what `digits.photo_digits` does at strength 1, in bytes: up to rounding, for 2,000 images or fewer.

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)  # paper, ink
        >>> on_photographs(images, torch.full((1, 3, 9, 9), 200, dtype=torch.uint8), seed=0)[0, 0]
        tensor([[200,  55]], dtype=torch.uint8)
    """
    generator, (height, width) = torch.Generator().manual_seed(seed), images.shape[2:]
    blended = []
    for part in tqdm(images.split(2000), desc="MNIST-M", leave=False, delay=1):
        patches = random_patches(photographs, len(part), height=height, width=width, generator=generator)
        blended.append((patches.to(torch.int16) - part).abs().to(torch.uint8))
    return torch.cat(blended)


def _parsed(read: Callable, path: Path):
    """What read() makes of verified files; Unavailable where it fails all the same, with the reason in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision, about arrays that cannot be written to
            return read()
    except MemoryError:
        raise
    except Exception as error:  # one of many, by the format
        raise Unavailable(
            f"{path} was fetched and verified, and cannot be read ({type(error).__name__}: {error}). Delete it and "
            "run this again; if that does not help, this version of torchvision or scipy reads it in another way."
        ) from None
