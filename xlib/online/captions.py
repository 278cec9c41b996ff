"""Photographs with several captions each: Flickr8k, and COCO's validation pictures, from the hub.

They need the library `datasets`, which is no part of the course's requirements: pip install datasets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xlib import _validate
from xlib.data.pictures import Picture, as_rgb
from xlib.online import hub
from xlib.online.download import Unavailable

_FLICKR8K = {
    "train": (
        "data/train-00000-of-00002-2f8f6bfa852eac4b.parquet",
        "data/train-00001-of-00002-2173151d8cd6c7fb.parquet",
    ),
    "validation": ("data/validation-00000-of-00001-7025a2b596f14b7b.parquet",),
    "test": ("data/test-00000-of-00001-42a2661d12c73e48.parquet",),
}
_COCO = {"val": ("data/val-00000-of-00002.parquet", "data/val-00001-of-00002.parquet")}


class Pictures(Sequence):
    """A column of encoded pictures as a sequence of PIL images in RGB (`data.pictures.as_rgb`), each decoded when it
    is asked for.

    Example:
        >>> from PIL import Image
        >>> pictures = Pictures([{"image": Image.new("L", (4, 3))}] * 5)  # grey ones, as COCO has a few
        >>> pictures[0].mode, len(pictures[1:3])
        ('RGB', 2)
    """

    def __init__(self, rows):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return as_rgb(self._rows[int(index)]["image"])


@dataclass(frozen=True)
class Captioned:
    """Pictures and their captions.

    images: N pictures, one or more, PIL of any size and mode or paths of files. captions: for each its captions, one
    or more.
    Raises ValueError where a picture has no captions, or a caption no picture.

    Example:
        >>> data = Captioned(images=["one", "two"], captions=[["a dog", "it runs"], ["a cat"]])
        >>> data.texts, data.owner.tolist()
        (['a dog', 'it runs', 'a cat'], [0, 0, 1])
    """

    images: Sequence[Picture]
    captions: list[list[str]]

    def __post_init__(self):
        if len(self.images) != len(self.captions):
            raise ValueError(f"captions must hold {len(self.images)} lists, one a picture, got {len(self.captions)}")
        if not len(self.images):
            raise ValueError("images must not be empty")
        for row, own in enumerate(self.captions):
            several = hasattr(own, "__len__") and len(own) and not isinstance(own, str)
            if not several or not all(isinstance(caption, str) for caption in own):
                raise ValueError(f"captions[{row}] must be a list of one or more strings, got {own!r:.100}")

    @property
    def texts(self) -> list[str]:
        """All M captions, picture by picture."""
        return [caption for own in self.captions for caption in own]

    @property
    def owner(self) -> Tensor:
        """(M,) int64: the picture that each of `texts` belongs to."""
        return torch.repeat_interleave(torch.tensor([len(own) for own in self.captions]))


def flickr8k(split: str = "test") -> Captioned:
    """Flickr8k: photographs of people and dogs doing things, five captions each.

    "train" has 6,000 pictures (828 MB), "validation" and "test" 1,000 each (138 MB); a split's files alone are
    fetched. The photographs are their owners' on Flickr, for non-commercial research and teaching; the captions are
    by Hodosh, Young & Hockenmaier, "Framing Image Description as a Ranking Task", JAIR 2013. Copy on the hub:
    jxie/flickr8k.
    Raises ValueError for an unknown split, Unavailable where it cannot be had.

    Example:
        >>> data = flickr8k("test")  # doctest: +SKIP
        >>> len(data.images), len(data.texts)  # doctest: +SKIP
        (1000, 5000)
    """
    _validate.choice("split", split, tuple(_FLICKR8K))
    columns = [f"caption_{number}" for number in range(5)]
    return _load(
        "jxie/flickr8k",
        "56f58c967835f7c508d684f36bd7897cca9d7634",
        _FLICKR8K[split],
        lambda rows: [[text.strip() for text in row] for row in zip(*(rows[name] for name in columns), strict=True)],
    )


def coco(split: str = "val") -> Captioned:
    """The validation pictures of COCO 2017: 5,000 photographs of everyday scenes, five captions or more each. 815 MB.

    Pictures: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014 (arXiv 1405.0312), each under the
    Creative Commons licence that its owner chose on Flickr; captions: Chen et al., "Microsoft COCO Captions", 2015
    (arXiv 1504.00325), CC BY 4.0. Copy on the hub: lmms-lab/COCO-Caption2017.
    Raises ValueError for an unknown split, Unavailable where it cannot be had.

    Example:
        >>> data = coco()  # doctest: +SKIP
        >>> coco("train")
        Traceback (most recent call last):
        ValueError: split must be one of 'val', got 'train'
    """
    _validate.choice("split", split, tuple(_COCO))
    return _load(
        "lmms-lab/COCO-Caption2017",
        "3bdd5827e243cc3084ac69a1111e69c3ab9193ff",
        _COCO[split],
        lambda rows: [[text.strip() for text in own] for own in rows["answer"]],
    )


def _load(repository: str, revision: str, names: Sequence[str], captions: Callable[[Mapping], list]) -> Captioned:
    try:
        import datasets
    except ImportError:
        raise Unavailable(f"{repository} needs the library datasets: pip install datasets.") from None
    folder = hub.snapshot(repository, revision=revision, files=dict.fromkeys(names, ""), kind="dataset")
    files = [str(folder / name) for name in names]
    try:
        # Copied once into the library's own cache (HF_HOME and HF_DATASETS_CACHE move it), and read from there bit
        # by bit: the pictures never stand in memory all at once.
        rows = datasets.load_dataset("parquet", data_files=files, split="train")
        rows = rows.cast_column("image", datasets.Image())
        return Captioned(
            images=Pictures(rows.select_columns("image")), captions=captions(rows.remove_columns("image"))
        )
    except Exception as error:  # one of many, by the version of the library
        raise Unavailable(
            f"{', '.join(files)}: fetched and verified, and cannot be read ({type(error).__name__}: "
            f"{(str(error).strip() or 'no reason given').splitlines()[0]}). Make room on the disk, or delete the "
            "folder that HF_DATASETS_CACHE names (~/.cache/huggingface/datasets), and run this again."
        ) from None
