"""Files from the network: resumed where they stopped, verified, written whole; one sentence where that fails."""

import contextlib
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

import certifi
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
    20. Raises Unavailable where that holds no number from above 0 to a day.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, HF_HUB_DOWNLOAD_TIMEOUT="5"): timeout()
        5.0
    """
    asked = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "").strip() or "20"
    with contextlib.suppress(ValueError):
        if 0 < float(asked) <= 86_400:
            return float(asked)
    raise Unavailable(
        f"HF_HUB_DOWNLOAD_TIMEOUT must be a number of seconds above 0, got {asked!r}: correct it or unset it, and "
        "run this again."
    )


def opened(request: urllib.request.Request, *handlers: urllib.request.BaseHandler) -> http.client.HTTPResponse:
    """A server's answer, through the proxy of HTTPS_PROXY where that is set. Trusted are the certificates of the
    system (or of SSL_CERT_FILE and SSL_CERT_DIR), certifi's where Python finds none, and those that
    REQUESTS_CA_BUNDLE or, where that is not set, CURL_CA_BUNDLE names: a file, or a folder of them by their hashes;
    "~" is the home folder.

    Raises: what urllib raises, see `reason`; Unavailable where such a variable leads to no certificates.

    Example:
        >>> with opened(urllib.request.Request("data:text/plain,hello")) as answer:
        ...     answer.headers["Content-Type"], answer.read()
        ('text/plain', b'hello')
    """
    secure = urllib.request.HTTPSHandler(context=_trusting())
    return urllib.request.build_opener(secure, *handlers).open(request, timeout=timeout())


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:  # as with python.org's Python for macOS
        context.load_verify_locations(certifi.where())
    named = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)][:1]
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", *named):
        if not os.environ.get(name):
            continue
        # SSL_CERT_DIR may name several folders.
        parts = os.environ[name].split(os.pathsep) if name == "SSL_CERT_DIR" else [os.environ[name]]
        for part in (Path(os.path.expanduser(part)) for part in parts if part):
            try:
                context.load_verify_locations(**{"capath" if part.is_dir() else "cafile": part})
            except OSError as error:  # an ssl.SSLError as well: a file without certificates
                state = "is not there" if isinstance(error, FileNotFoundError) else "cannot be read"
                state = "holds no certificates" if isinstance(error, ssl.SSLError) else state
                raise Unavailable(
                    f"{name} names {part}, which {state}: correct it or unset it, and run this again."
                ) from None
    return context


def reason(error: Exception) -> str:
    """What went wrong with a connection, in a few words.

    Example:
        >>> reason(urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")))
        'Connection refused'
        >>> reason(urllib.error.URLError(ssl.SSLCertVerificationError("...")))[:30]
        'its certificate is not trusted'
    """
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    cause = getattr(error, "reason", error)  # urllib wraps what goes wrong before the first byte
    if isinstance(cause, TimeoutError):
        return f"silent for {timeout():g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{_DISTRUST} ({getattr(cause, 'verify_message', '') or cause})"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


_DISTRUST = "its certificate is not trusted"


def advice(reasons: str) -> str:
    """What to do about what `reason` says, as the beginning of a sentence that ends with "run this again".

    Example:
        >>> advice("timed out")
        'Look at the connection and'
        >>> advice("its certificate is not trusted (self-signed certificate)").split(", ")[1]
        'set REQUESTS_CA_BUNDLE to the file of its certificate'
    """
    if _DISTRUST in reasons:
        return "Where a company's proxy reads along, set REQUESTS_CA_BUNDLE to the file of its certificate, and"
    return "Look at the connection and"


def fetch(urls: Sequence[str], path: str | os.PathLike, *, digest: str) -> Path:
    """The file at `path`: the one that is there, if it is sound, or else a download.

    A download grows in a file beside `path` ("....part") and takes its name once it is whole and verified. Where it
    breaks off, the same call goes on from there. Several processes that ask for one file wait for each other.

    Args:
        urls: where to get it, tried in this order, each as `opened` does it.
        path: "~" is the home folder; folders that are not there are made.
        digest: "md5:..." or "sha256:..." in hex, or its first digits, as the publisher states it. Where none is
            published, "gzip:SIZE": a gzip file of so many bytes, which is whole by the CRC-32 that it ends with.
    Raises: Unavailable, with what to do.

    Example:
        >>> here = Path(os.devnull)  # is there, and has the digest of no bytes at all: nobody is asked
        >>> fetch(["https://example.org/never"], here, digest="md5:d41d8cd98f00b204e9800998ecf8427e") == here
        True
    """
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        raise Unavailable(f"{path} is a folder: a file is to be written there, so move it away.")
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
            failed = _bring(url, part)
            if not failed and matches(part, digest):
                os.replace(part, path)
                return path
            if not failed:
                part.unlink()  # to go on from wrong bytes would not make them right
            if failed or not resumed:  # else: perhaps only what was there before is wrong, so once from the beginning
                break
        reasons.append(f"{urllib.parse.urlsplit(url).netloc}: {failed or 'its file is not the published one'}")
    kept = f" {part.stat().st_size / 1e6:.1f} MB of it are kept." if part.exists() else ""
    raise Unavailable(
        f"{path.name} could not be fetched ({'; '.join(reasons)}).{kept} {advice(str(reasons))} run this again: "
        f"it goes on where it stopped. Or put the file at {path} yourself."
    )


def _bring(url: str, part: Path) -> str:
    """Bring `part` to its full length. Returns "", or in a few words why it is not there."""
    for _ in range(_TRIES):
        try:
            _go_on(url, part)
            return ""
        except urllib.error.HTTPError as error:
            return reason(error)
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ssl.SSLError,
            TimeoutError,
            ConnectionError,
        ) as error:
            said = reason(error)
            if isinstance(getattr(error, "reason", error), (TimeoutError, ssl.SSLCertVerificationError)):
                break  # a silent server has had its time, and trust does not come by asking again
    return said


def _go_on(url: str, part: Path) -> None:
    """One connection: append to `part` what is missing, or write it anew where the server sends all of it."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = opened(request)
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
