"""Files from the network: resumed where they stopped, verified, written whole; one sentence where that fails."""

import errno
import gzip
import hashlib
import http
import http.client
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from xlib.progress import tqdm

_TRIES = 3  # a connection, each; what has come so far is kept from one to the next
_CHUNK = 2**16


class Unavailable(OSError):
    """What a cell needs is not on this machine, and cannot be fetched now. Its text says what to do about it.

    Lessons catch it, print it, and go on with what is there.
    """


def offline() -> bool:
    """Whether HF_HUB_OFFLINE asks for no connections at all: for xlib's own downloads as well as the hub's.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, HF_HUB_OFFLINE="yes"): offline()
        True
    """
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")


def timeout() -> float:
    """Seconds to wait for a server that says nothing: HF_HUB_DOWNLOAD_TIMEOUT, as the hub's own library reads it, or
    20.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, HF_HUB_DOWNLOAD_TIMEOUT="2.5"): timeout()
        2.5
    """
    return float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "").strip() or 20)


def fetch(urls: Sequence[str], path: Path, *, digest: str) -> Path:
    """The file at `path`: the one that is there, if it is sound, or else a download.

    A download grows in a file beside `path` ("....part") and takes its name once it is whole and verified. Where it
    breaks off, the same call goes on from there. Several processes that ask for one file wait for each other.

    Args:
        urls: where to get it, tried in this order.
        digest: "md5:..." or "sha256:..." in hex, or its first digits, as the publisher states it. Where none is
            published, "gzip:SIZE": a gzip file of so many bytes, which is whole by the CRC-32 that it ends with.
    Raises: Unavailable, with what to do.

    Example:
        >>> here = Path(os.devnull)  # is there, and has the digest of no bytes at all: nobody is asked
        >>> fetch(["https://example.org/never"], here, digest="md5:d41d8cd98f00b204e9800998ecf8427e") == here
        True
    """
    if path.exists() and matches(path, digest):
        return path
    if offline():
        state = "is damaged" if path.exists() else "is not there"
        raise Unavailable(f"{path} {state}, and HF_HUB_OFFLINE is set: unset it, or copy the file there.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.exists() and matches(path, digest):  # another process has brought it meanwhile
                return path
            return _download(urls, path, digest)
    except Unavailable:
        raise
    except OSError as error:
        full = error.errno == errno.ENOSPC
        do = "make room and run this again" if full else "set XLIB_CACHE to a folder that can be written to"
        raise Unavailable(f"{path} cannot be written ({error.strerror or error}): {do}.") from None


def matches(path: Path, digest: str) -> bool:
    """Whether the file has this digest, see `fetch`.

    Example:
        >>> matches(Path(os.devnull), "md5:d41d8cd98f00")  # no bytes, by the first digits
        True
        >>> matches(Path(os.devnull), "md5:")  # which says nothing
        False
    """
    kind, _, wanted = digest.partition(":")
    if kind == "gzip":
        return path.stat().st_size == int(wanted) and _is_whole_gzip(path)
    found = hashlib.new(kind)
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            found.update(piece)
    return bool(wanted) and found.hexdigest().startswith(wanted)


def _is_whole_gzip(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(2**20):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True


def _download(urls: Sequence[str], path: Path, digest: str) -> Path:
    part, reasons = path.with_name(f"{path.name}.part"), []
    for url in urls:
        for _ in range(2):
            resumed = part.exists()
            reason = _bring(url, part)
            if not reason and matches(part, digest):
                os.replace(part, path)
                return path
            if not reason:
                part.unlink()  # to go on from wrong bytes would not make them right
            if reason or not resumed:  # else: perhaps only what was there before is wrong, so once from the beginning
                break
        reasons.append(f"{urllib.parse.urlsplit(url).netloc}: {reason or 'its file is not the published one'}")
    kept = f" {part.stat().st_size / 1e6:.1f} MB of it are kept." if part.exists() else ""
    raise Unavailable(
        f"{path.name} could not be fetched ({'; '.join(reasons)}).{kept} Look at the connection and run this again: "
        f"it goes on where it stopped. Or put the file at {path} yourself."
    )


def _bring(url: str, part: Path) -> str:
    """Bring `part` to its full length. Returns "", or in a few words why it is not there."""
    reason = ""
    for _ in range(_TRIES):
        try:
            _go_on(url, part)
            return ""
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.reason}"
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ssl.SSLError,
            TimeoutError,
            ConnectionError,
        ) as error:
            cause = getattr(error, "reason", error)  # urllib wraps what goes wrong before the first byte
            if isinstance(cause, TimeoutError):
                return f"silent for {timeout():g} s"  # that was its time
            reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return reason


def _go_on(url: str, part: Path) -> None:
    """One connection: append to `part` what is missing, or write it anew where the server sends all of it."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=timeout())
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range", "").endswith(f"*/{have}"):
            return  # all of it is here
        part.unlink()  # longer than the file, so it was never the beginning of it
        return _go_on(url, part)
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        length = answer.headers.get("Content-Length")
        have = have if resumed else 0
        total = None if length is None else have + int(length)
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False, delay=1)
        with bar, open(part, "ab" if resumed else "wb") as file:
            while piece := answer.read1(_CHUNK):  # what is there, so that nothing is lost when it stalls
                file.write(piece)
                bar.update(len(piece))
        if total is not None and part.stat().st_size < total:
            raise ConnectionError(f"cut off after {part.stat().st_size / 1e6:.1f} of {total / 1e6:.1f} MB")
