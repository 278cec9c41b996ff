"""What `explore` is given, checked and brought into one form, before any work is done.

A missing entry of a column is None, NaN, NA or NaT, masked, or a pandas or Arrow column's own; here it becomes None.
"""

import contextlib
import numbers
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from uuid import UUID

import numpy as np
import pandas as pd
import torch

from xlib.explore import clips
from xlib.explore.pictures import missing, sequence, tensor, thumbnails

__all__ = [
    "captions", "codes", "coordinates", "domains", "labels", "modality", "pairs", "snapshots", "sounds", "steps",
    "suggestions", "thumbnails", "values",
]  # fmt: skip

SINGLE = np.finfo(np.float32)  # what the explorer calculates in

# ---- arrays of numbers


def snapshots(embeddings):
    """(T, N, d) float32 of embeddings (N, d) or (T, N, d): a tensor, an array, a table, or rows of any of these."""
    z = _numbers("embeddings", embeddings)
    shape, z = z.shape, z[None] if z.ndim == 2 else z
    if z.ndim != 3 or z.shape[0] < 1 or z.shape[1] < 2 or z.shape[2] < 2:
        raise ValueError(
            "embeddings must have shape (N, d) or (T, N, d) with at least two items and two dimensions, "
            f"got {tuple(shape)}"
        )
    if z.dtype == np.float32:  # as it is, without a copy where it lies in order
        single = np.ascontiguousarray(z, np.float32)
    else:
        with np.errstate(over="ignore", under="ignore"):
            single = np.ascontiguousarray(z, np.float32)
        most = np.abs(z).max(2)
        fits = (most == 0) | ((most >= SINGLE.tiny) & (most <= SINGLE.max)) | ~np.isfinite(most)
        if not fits.all():
            t, row = np.argwhere(~fits)[0]
            raise ValueError(
                f"embeddings must lie in the range of 32-bit numbers ({SINGLE.tiny:.1e} to {SINGLE.max:.1e}), got "
                f"{most[t, row]:.3g} as the largest of snapshot {t}, row {row}: scale them all by one factor"
            )
    if not np.isfinite(single).all():
        t, row = np.argwhere(~np.isfinite(single).all(2))[0]
        raise ValueError(f"embeddings must be finite, got NaN or infinity, first in snapshot {t}, row {row}")
    return single


def coordinates(given, n, t):
    """(T, N, 2) float64: each item's place on a map, of (N, 2), the same in all snapshots, or (T, N, 2)."""
    xy = _numbers("coordinates", given).astype(np.float64)
    if xy.shape not in ((n, 2), (1, n, 2), (t, n, 2)):
        expected = f"({n}, 2)" if t == 1 else f"({n}, 2) or ({t}, {n}, 2)"
        raise ValueError(f"coordinates must have shape {expected}, x and y of each item, got {xy.shape}")
    xy = np.broadcast_to(xy, (t, n, 2)).copy()
    if not np.isfinite(xy).all():
        row = np.argwhere(~np.isfinite(xy).all(2))[0][1]
        raise ValueError(f"coordinates must be finite, got NaN or infinity, first in row {row}")
    return xy


def values(given, n):
    """(N,) float64, NaN where one is missing; None stays None. Dates are no numbers; true is 1."""
    if given is None:
        return None
    found = [np.nan if v is None else v for v in _column("values", given, n)]
    for i, value in enumerate(found):
        if not isinstance(value, _NUMBER):
            raise TypeError(f"values[{i}] must be a number or missing, got {type(value).__name__} {value!r}")
    found = np.array([_float("values", value) for value in found])
    if np.isinf(found).any():
        raise ValueError(f"values must be finite or missing, got {found[np.isinf(found)][0]} in row "
                         f"{np.flatnonzero(np.isinf(found))[0]}")  # fmt: skip
    return found


_NUMBER = (numbers.Real, Decimal, np.bool_)


def _float(name, value):
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must lie in the range of 64-bit numbers, got {value!r:.40}") from error


def _numbers(name, given):
    """given, whatever holds it, as one array of real numbers; what is missing in it is NaN."""
    if isinstance(given, torch.Tensor):
        given = tensor(given)
    elif hasattr(given, "toarray"):  # a sparse matrix of scipy's
        given = given.toarray()
    elif isinstance(given, pd.DataFrame):
        if given.shape[1] == 1:  # which may hold rows
            return _numbers(name, given.iloc[:, 0])
        columns = [_numbers(f"{name}, column {c!r},", given.iloc[:, j]) for j, c in enumerate(given)]
        return np.stack(columns, 1) if columns else np.zeros((len(given), 0))
    elif isinstance(given, pd.Series) and pd.api.types.is_numeric_dtype(given):
        given = given.to_numpy(np.float64, na_value=np.nan)
    elif isinstance(given, np.ma.MaskedArray):
        given = given.astype(np.float64).filled(np.nan)
    elif hasattr(given, "__array__"):
        given = np.asarray(given)
    elif isinstance(given, list | tuple) and len(given) and isinstance(given[0], _NUMBER):
        with contextlib.suppress(ValueError):  # rows of different lengths are named below
            given = np.array(given)
    if isinstance(given, np.ndarray) and given.dtype != object:
        if given.dtype.name == "bfloat16" or given.dtype.name.startswith("float8"):  # as jax has them
            given = given.astype(np.float32)
        if given.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, got {given.dtype}")
        return given
    if isinstance(given, str | bytes | dict | set) or not (hasattr(given, "__len__") and hasattr(given, "__iter__")):
        what = f"{name} must be a torch.Tensor or numpy array, or rows of numbers"
        raise TypeError(f"{what}, got {type(given).__name__}")
    if isinstance(given, np.ndarray) and given.ndim == 0:
        return _numbers(name, given.item())
    rows = []
    for i, row in enumerate(given):
        if missing(row):
            row = np.float64(np.nan)
        elif isinstance(row, _NUMBER):
            row = np.float64(_float(name, row))
        elif isinstance(row, str | bytes) or not (hasattr(row, "__len__") or hasattr(row, "__array__")):
            raise TypeError(f"{name} must hold real numbers, got {type(row).__name__} {row!r:.40} in row {i}")
        else:
            row = _numbers(name, row)
        if rows and row.shape != rows[0].shape:
            raise ValueError(
                f"{name} must have rows of one shape, got {rows[0].shape} first and {row.shape} in row {i}"
            )
        rows.append(row)
    return np.stack(rows) if rows else np.zeros(0)


# ---- columns, one entry an item


def captions(given, n):
    """n texts: numbers and dates as they are written, and the row's number where a caption is missing, or all are."""
    found = [None] * n if given is None else _whole(_column("captions", given, n))
    return [str(i) if v is None else _text("captions", i, v) for i, v in enumerate(found)]


def labels(given, n):
    """n class names or whole numbers, or None for an item without one; True is the class "True"."""
    found = [None] * n if given is None else _whole(_column("labels", given, n))
    for i, value in enumerate(found):
        if isinstance(value, (float, Decimal)):
            kind = type(value).__name__
            raise TypeError(f"labels[{i}] has the wrong type {kind}: {value!r}; numbers on a scale belong in values=")
    return [v if v is None or type(v) is int else _text("labels", i, v) for i, v in enumerate(found)]


def domains(given, n):
    """n names, or None for an item without one."""
    return _names("domains", given, n)


def _names(name, given, n):
    """n texts, or None for an item without one."""
    found = [None] * n if given is None else _whole(_column(name, given, n))
    return [v if v is None else _text(name, i, v) for i, v in enumerate(found)]


def sounds(given, n):
    """n clips, each as `clips.checked` makes it, or None for an item without one."""
    if given is None:
        return [None] * n
    given = sequence("sounds", given, n, "clips")
    found = [given[i] for i in range(n)]
    return [None if missing(clip) else clips.checked(f"sounds[{i}]", clip) for i, clip in enumerate(found)]


def modality(given, n, sprites, sounds=None):
    """n names. Where one is missing, or all are: an image is what has a picture, a sound what has a sound only, and
    "text" what has neither, where others have. sounds: n clips, as above."""
    heard = [clip is not None for clip in sounds or [None] * n]
    some = (sprites >= 0).any() or any(heard)
    usual = [
        "image" if s >= 0 else "sound" if sound else "text" if some else "item"
        for s, sound in zip(sprites, heard, strict=True)
    ]
    return [name or here for name, here in zip(_names("modality", given, n), usual, strict=True)]


def pairs(given, n):
    """(N,) the row of each item's counterpart, −1 for none or a missing one."""
    found = [-1] * n if given is None else [-1 if v is None else v for v in _whole(_column("pairs", given, n))]
    for i, row in enumerate(found):
        if type(row) is not int:
            raise TypeError(f"pairs[{i}] has the wrong type {type(row).__name__}: {row!r}, not a row's number")
    if bad := [i for i, j in enumerate(found) if not -1 <= j < n or j == i]:
        raise ValueError(f"pairs must be another row, 0 to {n - 1}, or −1; got {found[bad[0]]} in row {bad[0]}")
    return np.array(found)


def steps(given, n):
    """The n training steps, or names, of the snapshots."""
    found = list(range(n)) if given is None else _whole(_column("steps", given, n))
    for i, step in enumerate(found):
        if type(step) not in (int, str):
            raise TypeError(f"steps[{i}] has the wrong type {type(step).__name__}: {step!r}")
    if len({isinstance(step, str) for step in found}) > 1:
        raise TypeError(f"steps must be whole numbers, or names, not both; got {found}")
    if "" in found:
        raise ValueError(f"steps must have names that are not empty, got {found}")
    return found


def suggestions(given, encode):
    """Captions to try, as a list of up to 6 texts."""
    found = [given] if isinstance(given, str) else list(given)
    if len(found) > 6 or not all(isinstance(text, str) and text.strip() for text in found):
        raise ValueError(f"suggestions must be up to 6 texts, got {found!r}")
    if found and encode is None:
        raise ValueError("suggestions need an encoder: explore(..., encode=...)")
    return found


def codes(found):
    """The different entries in order of appearance, and each entry's index among them: (N,)."""
    index = {}
    rows = np.array([index.setdefault(value, len(index)) for value in found], int)
    return list(index), rows


def _column(name, given, n):
    """given as a list of n entries of Python's own types, None where one is missing."""
    if isinstance(given, torch.Tensor):
        given = tensor(given)
    if isinstance(given, pd.DataFrame) and given.shape[1] == 1:
        given = given.iloc[:, 0]
    if isinstance(given, str | bytes | dict | set) or not hasattr(given, "__len__"):
        raise TypeError(f"{name} must be a sequence of {n} entries, got {type(given).__name__}")
    shape = getattr(given, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1 and not hasattr(given, "iloc"):
        given = given[:, 0]
    elif shape is not None and len(shape) != 1:
        raise ValueError(f"{name} must have {n} entries in one column, got shape {tuple(shape)}")
    if len(given) != n:
        raise ValueError(f"{name} must have {n} entries, got {len(given)}")
    if hasattr(given, "to_pylist"):  # of Arrow
        given = given.to_pylist()
    elif isinstance(given, np.ma.MaskedArray):
        given = given.tolist()  # None where masked
    elif not hasattr(given, "__iter__"):
        given = [given[i] for i in range(n)]
    found = [_plain(value) for value in given]
    for i in np.flatnonzero(pd.isna(pd.Series(found, dtype=object))):
        found[i] = None
    return found


def _plain(value):
    """A numpy scalar, or a tensor of one number, as Python's own type; a date as pandas has it."""
    if value is np.ma.masked:  # an entry of a masked array
        return None
    if isinstance(value, np.datetime64 | np.timedelta64):
        return pd.Timestamp(value) if isinstance(value, np.datetime64) else pd.Timedelta(value)
    if isinstance(value, np.floating) and not isinstance(value, float):
        return float(str(value))  # 0.1 of 32 bits is 0.1, not 0.10000000149
    one = isinstance(value, np.generic) or getattr(value, "ndim", None) == 0 or getattr(value, "shape", None) == (1,)
    return value.item() if one and hasattr(value, "item") else value


def _whole(found):
    """Fractions stay; where all of a column's numbers are whole, each becomes an int: pandas makes floats of ints
    when one is missing."""
    floats = [v for v in found if isinstance(v, (float, Decimal))]
    if floats and all(v % 1 == 0 for v in floats):  # false for infinity, whose remainder is NaN
        return [int(v) if isinstance(v, (float, Decimal)) else v for v in found]
    return found


def _text(name, i, value):
    """A name as text, as far as it is one."""
    if isinstance(value, Enum):
        value = value.name
    elif isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    elif isinstance(value, datetime):
        value = str(value).removesuffix(" 00:00:00")  # a day
    elif not pd.api.types.is_scalar(value) and not isinstance(value, PurePath | UUID):
        raise TypeError(
            f"{name}[{i}] has the wrong type {type(value).__name__}: {value!r:.80}, not one text or number"
        )
    return str(value).encode("utf-8", "replace").decode("utf-8")  # half a character, as of a file's name, is "?"
