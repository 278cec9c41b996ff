"""Pictures of any kind as thumbnails, one picture in memory at a time."""

import io
import os

import numpy as np
import pandas as pd
import torch
from PIL import Image

from xlib.data.pictures import as_rgb, as_rgba, opened

THUMBNAIL = 48  # pixels of a thumbnail's longer side: sharp at 24 CSS pixels on a dense screen


def sequence(name, given, n, what):
    """What is given as n pictures or the like, to be indexed from 0; its entries are not looked at. Raises TypeError
    or ValueError with this name."""
    given = given.iloc[:, 0] if isinstance(given, pd.DataFrame) and given.shape[1] == 1 else given
    given = given.array if isinstance(given, pd.Series) else given
    if isinstance(given, str | bytes | dict) or not (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        raise TypeError(f"{name} must be a sequence of {n} {what}, got {type(given).__name__}")
    if len(given) != n:
        raise ValueError(f"{name} must have {n} entries, got {len(given)}")
    return given


def thumbnails(images, n):
    """(N,) index of each item's thumbnail or −1, and the thumbnails: (M, h, w, 4) uint8, one size for all.

    images: n entries, which may be made when they are asked for, as a torch Dataset makes them: PIL images of any
    mode, arrays or tensors, paths of files, the bytes of one, or None, NaN or "" for no picture. Of an entry
    (picture, label) the first is shown. What is given is not changed; a file that was opened is not loaded.
    """
    if images is None:
        return np.full(n, -1), np.zeros((0, 1, 1, 4), np.uint8)
    images = sequence("images", images, n, "pictures")
    sprites, small = np.full(n, -1), []
    for i in range(n):
        picture = _small(i, images[i])
        if picture is not None:
            sprites[i] = len(small)
            small.append(picture)
    if not small:
        return sprites, np.zeros((0, 1, 1, 4), np.uint8)
    height, width = np.max([picture.shape[:2] for picture in small], axis=0)
    cells = np.zeros((len(small), height, width, 4), np.uint8)
    for cell, picture in zip(cells, small, strict=True):
        h, w = picture.shape[:2]
        top, left = (height - h) // 2, (width - w) // 2
        cell[top : top + h, left : left + w] = picture
    return sprites, cells


def missing(value):
    """Whether a single value stands for none: None, NaN, NA or NaT."""
    return value is None or (pd.api.types.is_scalar(value) and pd.isna(value))


def tensor(x):
    """A tensor of any kind as an array: without a copy where its numbers can stay as they are."""
    x = x.detach()
    x = x.dequantize() if x.is_quantized else x.to_dense() if x.layout is not torch.strided else x
    x = x.cpu()
    if x.is_floating_point() and x.dtype not in (torch.float32, torch.float64):
        x = x.float()  # numpy has no bfloat16
    return x.resolve_conj().resolve_neg().numpy()


def _small(i, image):
    """One picture as (h, w, 4) uint8, at most THUMBNAIL high and wide; None for none."""
    if isinstance(image, tuple) and image and not isinstance(image[0], int | float):
        image = image[0]
    if isinstance(image, dict) and ("bytes" in image or "path" in image):  # as datasets of the hub store one
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if missing(image) or (isinstance(image, str) and not image.strip()):
        return None
    if isinstance(image, Image.Image | str | os.PathLike | bytes | bytearray | memoryview) or hasattr(image, "read"):
        try:
            return _opened(image)
        except Exception as error:  # whatever a broken file makes of its reader
            raise ValueError(f"images[{i}] could not be read: {error}") from error
    return _reduced(Image.fromarray(_array(i, image)))


def _opened(image):
    """The thumbnail of a PIL image or a file."""
    if isinstance(image, str) and image.lower().startswith(("http://", "https://")):
        raise ValueError(f"{image:.80} is an address: explore() loads nothing, save the picture first")
    if hasattr(image, "read"):
        image = Image.open(image)
    is_file = isinstance(image, bytes | bytearray | memoryview)
    with Image.open(io.BytesIO(image)) if is_file else opened(image) as found:
        if found is not image:
            found.draft(None, (2 * THUMBNAIL, 2 * THUMBNAIL))  # a JPEG need not be read in all its detail
            found.load()
        shown = as_rgba(found) if found.has_transparency_data else as_rgb(found)
        return _reduced(shown.copy() if shown is image else shown)


def _reduced(picture):
    """(h, w, 4) uint8 of a picture of its own in one of the modes L, RGB, RGBA."""
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(picture.convert("RGBA"))


def _bytes(x, black, white):
    """x as uint8, some lines at a time: a large picture is not held in several copies."""
    found = np.empty(x.shape, np.uint8)
    for at in range(0, len(x), 64):
        found[at : at + 64] = ((x[at : at + 64] - black) / (white - black)).clip(0, 1) * 255 + 0.5
    return found


def _array(i, image):
    """One array as (h, w) or (h, w, 2 to 4) uint8."""
    x = tensor(image) if isinstance(image, torch.Tensor) else np.asarray(image)
    if x.dtype.kind not in "biuf" and x.dtype.name != "bfloat16":
        raise TypeError(
            f"images[{i}] must be a PIL image, an array, a tensor, a file's path or its bytes, got "
            f"{type(image).__name__} {image!r:.60}"
        )
    if x.ndim == 3 and x.shape[0] in (1, 2, 3, 4) and x.shape[2] not in (3, 4):
        x = x.transpose(1, 2, 0)
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[2] not in (1, 2, 3, 4)) or x.size == 0:
        raise ValueError(f"images[{i}] must have shape (h, w), (3|4, h, w) or (h, w, 3|4), got {x.shape}")
    x = x[..., 0] if x.ndim == 3 and x.shape[2] == 1 else x
    if x.dtype == bool:
        x = x.astype(np.uint8) * 255
    elif x.dtype.kind in "iu" and x.dtype != np.uint8:
        white = 255 if x.max() <= 255 else 65535
        if x.min() < 0 or x.max() > white or (x.dtype.kind == "i" and x.max() == 1):  # 0 and 1: of what, nobody says
            got = f"{x.dtype}, {x.min()} to {x.max()}"
            raise ValueError(f"images[{i}] must be uint8, or whole numbers in 0 to 255 or to 65535, got {got}")
        x = _bytes(x, 0, white)
    elif x.dtype != np.uint8:
        x = x.astype(np.float32) if x.dtype.name == "bfloat16" else x
        if not (x.min() >= -1e-3 and x.max() <= 1.001):  # NaN fails too
            raise ValueError(
                f"images[{i}] must be uint8, or floating point within [0, 1], got {x.dtype}, {x.min()} to {x.max()}"
            )
        x = _bytes(x, 0, 1)
    if x.ndim == 3 and x.shape[2] == 2:  # grey and alpha
        x = x[..., [0, 0, 0, 1]]
    return np.ascontiguousarray(x)
