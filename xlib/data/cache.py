"""Keeps what is costly to make: safetensors files that are written whole or not at all, and checked when read."""

import contextlib
import json
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from xlib._files import written_whole


def folder() -> Path:
    """Where xlib keeps its cache: `$XLIB_CACHE`, else `.cache/xlib` in the clone when xlib runs from one, else the
    user's own cache folder, or `xlib` in the system's folder for temporary files where no home folder is known. It
    need not exist yet. Raises ValueError where XLIB_CACHE begins with the home folder of nobody, as "~nobody/cache".

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, XLIB_CACHE="elsewhere"): folder().name
        'elsewhere'
    """
    if chosen := os.environ.get("XLIB_CACHE"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise ValueError(f"XLIB_CACHE is {chosen!r}, and no such home folder is known: give all of it") from None
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file():
        return root / ".cache" / "xlib"
    with contextlib.suppress(RuntimeError):  # no home folder is known, as to a user without a name in a container
        own = Path(platformdirs.user_cache_dir("xlib", appauthor=False))
        if own.is_absolute():  # older versions leave the "~" as it is
            return own
    return Path(tempfile.gettempdir(), "xlib")


def cached(name: str, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of make(), from the cache folder when an intact copy with the same key is there.

    A file gets its name only when it is complete: processes that start at once each make their own, and the last one
    stays. A damaged file gives a warning and is made again. A folder that cannot be written gives a warning, and the
    tensors are returned all the same. Damage is found by a CRC-32 over the key and each tensor's name, type, shape
    and bytes: proof against accidents, not forgery.

    Args:
        name: the file's name in the folder, without its ending; one name holds one key at a time.
        key: says what the tensors were made from (versions, settings); another key makes them again.
        make: returns the tensors by name; called only when the cache cannot serve.

    Example:
        >>> import tempfile, unittest.mock as mock
        >>> with tempfile.TemporaryDirectory() as new, mock.patch.dict(os.environ, XLIB_CACHE=new):
        ...     made = cached("squares", "edition 1", lambda: {"x": torch.arange(3) ** 2})
        ...     cached("squares", "edition 1", lambda: 1 / 0)["x"]  # which is not called
        tensor([0, 1, 4])
    """
    path = folder() / f"{name}.safetensors"
    try:
        tensors = _read(path, key)
        if tensors is not None:
            return tensors
    except OSError:
        pass  # not there, or not readable: make() serves either way
    except (SafetensorError, ValueError) as error:
        warnings.warn(f"The cache file {path} is damaged ({error}) and is made again.", stacklevel=2)
    tensors = {label: tensor.contiguous() for label, tensor in make().items()}
    try:
        _write(path, key, tensors)
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"Nothing can be kept in the cache folder {path.parent} ({error}), so this is made anew each time; "
            "set XLIB_CACHE to a folder with room that can be written to.",
            stacklevel=2,
        )
    return tensors


def _checksum(key: str, tensors: dict[str, Tensor]) -> str:
    crc = zlib.crc32(key.encode())
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), crc)
    return f"{crc:08x}"


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    """The file's tensors; None when they were made with another key. Raises ValueError when it is damaged."""
    # Read as one piece: safetensors would open the file twice, and find two different ones when it is replaced in
    # between; and tensors that are mapped from a file take the process with them when somebody cuts it short.
    data = path.read_bytes()
    tensors = load(data)
    written = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    if written.get("crc32") != _checksum(written.get("key", ""), tensors):
        raise ValueError("its checksum does not match")
    return tensors if written["key"] == key else None


def _write(path: Path, key: str, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        save_file(tensors, beside, {"key": key, "crc32": _checksum(key, tensors)})
