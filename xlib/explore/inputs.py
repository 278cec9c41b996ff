"""What `explore` is given, checked and brought into one form, before any work is done."""

import numpy as np
import torch
from PIL import Image

THUMBNAIL = 48  # pixels of a thumbnail's longer side: sharp at 24 CSS pixels on a dense screen


def snapshots(embeddings):
    if not isinstance(embeddings, (torch.Tensor, np.ndarray)):
        raise TypeError(f"embeddings must be a torch.Tensor or numpy array, got {type(embeddings).__name__}")
    z = torch.as_tensor(embeddings).detach().float().cpu().numpy()
    z = z[None] if z.ndim == 2 else z
    if z.ndim != 3 or z.shape[0] < 1 or z.shape[1] < 2 or z.shape[2] < 2:
        raise ValueError(
            "embeddings must have shape (N, d) or (T, N, d) with at least two items and two dimensions, "
            f"got {tuple(embeddings.shape)}"
        )
    if not np.isfinite(z).all():
        t, row = np.argwhere(~np.isfinite(z).all(2))[0]
        raise ValueError(f"embeddings must be finite, got NaN or infinity, first in snapshot {t}, row {row}")
    return z


def column(name, values, n, kinds):
    """values as a list of n entries of the given types; None stays None."""
    if values is None:
        return None
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise TypeError(f"{name} must be a sequence of {n} entries, got {type(values).__name__}")
    if len(values) != n:
        raise ValueError(f"{name} must have {n} entries, got {len(values)}")
    values = [v.item() if hasattr(v, "item") else v for v in values]
    for i, value in enumerate(values):
        if not isinstance(value, kinds):
            raise TypeError(f"{name}[{i}] has the wrong type {type(value).__name__}: {value!r}")
    return values


def steps(values, n):
    """The n training steps, or names, of the snapshots."""
    found = column("steps", values, n, (int, str)) or list(range(n))
    if len({isinstance(step, str) for step in found}) > 1:
        raise TypeError(f"steps must be whole numbers, or names, not both; got {found}")
    if "" in found:
        raise ValueError(f"steps must have names that are not empty, got {found}")
    return found


def suggestions(values, encode):
    """Captions to try, as a list of up to 6 texts."""
    values = [values] if isinstance(values, str) else list(values)
    if len(values) > 6 or not all(isinstance(text, str) and text.strip() for text in values):
        raise ValueError(f"suggestions must be up to 6 texts, got {values!r}")
    if values and encode is None:
        raise ValueError("suggestions need an encoder: explore(..., encode=...)")
    return values


def pairs(values, n):
    """(N,) the row of each item's counterpart, −1 for none."""
    rows = np.array(column("pairs", values, n, int) or [-1] * n)
    if bad := [i for i, j in enumerate(rows) if not -1 <= j < n or j == i]:
        raise ValueError(f"pairs must be another row, 0 to {n - 1}, or −1; got {rows[bad[0]]} in row {bad[0]}")
    return rows


def modality(sprites):
    """Without names for the modalities: what has a picture is an image, where some items have none."""
    if (sprites < 0).all() or (sprites >= 0).all():
        return ["item" if s < 0 else "image" for s in sprites]
    return ["image" if s >= 0 else "text" for s in sprites]


def thumbnails(images, n):
    """(N,) index of each item's thumbnail or −1, and the thumbnails: (M, h, w, 4) uint8, one size for all."""
    images = [None] * n if images is None else images
    if not hasattr(images, "__len__") or len(images) != n:
        raise ValueError(
            f"images must have {n} entries, got {len(images) if hasattr(images, '__len__') else images!r}"
        )
    rgba = {i: _rgba(i, image) for i, image in enumerate(images) if image is not None}
    sprites = np.full(n, -1)
    sprites[list(rgba)] = np.arange(len(rgba))
    if not rgba:
        return sprites, np.zeros((0, 1, 1, 4), np.uint8)
    size = np.max([image.shape[:2] for image in rgba.values()], axis=0)
    height, width = np.ceil(size * min(1, THUMBNAIL / size.max())).astype(int)
    cells = np.zeros((len(rgba), height, width, 4), np.uint8)
    for cell, pixels in zip(cells, rgba.values(), strict=True):
        picture = Image.fromarray(pixels)
        picture.thumbnail((width, height), Image.Resampling.BOX)
        top, left = (height - picture.height) // 2, (width - picture.width) // 2
        cell[top : top + picture.height, left : left + picture.width] = picture
    return sprites, cells


def _rgba(i, image):
    """One picture as (h, w, 4) uint8."""
    x = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if x.ndim == 3 and x.shape[0] in (1, 3, 4) and x.shape[2] not in (3, 4):
        x = x.transpose(1, 2, 0)
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4) or x.size == 0:
        raise ValueError(f"images[{i}] must have shape (3|4, h, w) or (h, w, 3|4), got {x.shape}")
    if x.dtype != np.uint8:
        if not (np.issubdtype(x.dtype, np.floating) and x.min() >= -1e-3 and x.max() <= 1.001):  # NaN fails too
            raise ValueError(f"images[{i}] must be uint8, or floating point within [0, 1], got {x.dtype}")
        x = (x.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    if x.shape[2] < 4:
        x = np.concatenate(
            [np.broadcast_to(x[..., :3], (*x.shape[:2], 3)), np.full((*x.shape[:2], 1), 255, np.uint8)], 2
        )
    return x
