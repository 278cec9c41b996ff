"""Files of the model hub, at one commit: looked for on this machine first, else fetched and checked.

Downloads go through `online.download`, not the hub's own library, which keeps nothing of a file that it could not
finish (huggingface_hub 2.4), and waits for a silent server for up to seven minutes. No account or token is used.
"""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from xlib._files import written_whole
from xlib.data import cache
from xlib.online.download import Unavailable, advice, fetch, matches, offline, opened, reason


def snapshot(repository: str, *, revision: str, files: Mapping[str, str], kind: str = "model") -> Path:
    """The folder that holds these files of a repository, each of them checked.

    What the hub's own library has brought before (it keeps that where HF_HOME and HF_HUB_CACHE say) is used as it
    lies there. All else is fetched, from HF_ENDPOINT where that is set, and kept in the folder `hub` of xlib's cache
    (XLIB_CACHE). Where everything is here no connection is made.

    Args:
        repository: its name, "owner/name".
        revision: a commit, 40 hex digits.
        files: name in the repository to digest, as `download.fetch` takes it; "" for a large file (one in the hub's
            large file storage) whose SHA-256 the hub states itself; that is kept beside the file.
        kind: "model" or "dataset".
    Raises: Unavailable, with what to do.

    Example:
        >>> from unittest import mock
        >>> files = {"config.json": "sha256:b575ef3c"}
        >>> with mock.patch.dict(os.environ, HF_HUB_OFFLINE="1"): snapshot("no/model", revision="0" * 40, files=files)
        Traceback (most recent call last):
        xlib.online.download.Unavailable: ...config.json is not there, and HF_HUB_OFFLINE is set: unset it, or ...
    """
    if found := _brought_by_others(repository, revision, files, kind):
        return found
    folder = cache.folder() / "hub" / f"{kind}s--{repository.replace('/', '--')}" / revision
    for name, digest in files.items():
        url = _url(repository, revision, name, kind)
        fetch([url], folder / name, digest=digest or _stated(url, folder / name))
    return folder


def _brought_by_others(repository: str, revision: str, files: Mapping[str, str], kind: str) -> Path | None:
    """The snapshot in the hub's own cache, where it is whole and sound."""
    from huggingface_hub import try_to_load_from_cache

    folder = None
    for name, digest in files.items():
        found = try_to_load_from_cache(repository, name, revision=revision, repo_type=kind)
        # A snapshot holds links to the files proper, and the name of a large one is its SHA-256.
        if not isinstance(found, str) or not matches(Path(found), digest or f"sha256:{Path(found).resolve().name}"):
            return None
        folder = Path(found).parents[len(PurePosixPath(name).parts) - 1]
    return folder


def _url(repository: str, revision: str, name: str, kind: str) -> str:
    from huggingface_hub import hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    if endpoint and not endpoint.startswith(("https://", "http://")):
        raise Unavailable(f"HF_ENDPOINT must begin with https://, got {endpoint!r}: correct it, and run this again.")
    return hf_hub_url(repository, name, revision=revision, repo_type=kind, endpoint=endpoint or None)


def _stated(url: str, path: Path) -> str:
    """The digest that the hub states for this file: the one kept from the last time, or else asked for."""
    kept = path.with_name(f"{path.name}.sha256")
    if kept.exists():
        return f"sha256:{kept.read_text('utf-8').strip()}"
    if offline():
        raise Unavailable(f"{path} is not there, and HF_HUB_OFFLINE is set: unset it, and run this again.")
    stated = ""
    try:
        with opened(urllib.request.Request(url, method="HEAD"), _UntilStated()) as answer:
            stated = answer.headers.get("X-Linked-Etag") or answer.headers.get("ETag") or ""
        failed = "it does not state the SHA-256"
    except urllib.error.HTTPError as error:  # a redirect that was not followed as well
        failed, stated = reason(error), error.headers.get("X-Linked-Etag") or ""
    except Unavailable:
        raise
    except (OSError, http.client.HTTPException) as error:
        failed = reason(error)
    stated = stated.removeprefix("W/").strip('"')
    if len(stated) != 64:
        raise Unavailable(
            f"{path.name} could not be fetched ({urlsplit(url).netloc}: {failed}). {advice(failed)} run "
            f"this again. Or put the file at {path} yourself, and its SHA-256 at {kept}."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(kept) as beside:
            beside.write_text(stated, "utf-8")
    except OSError:
        pass  # `fetch` says what is wrong with the folder
    return f"sha256:{stated}"


class _UntilStated(urllib.request.HTTPRedirectHandler):
    """Follows a redirect, as of a repository that has another name now, but not the one to the storage of large
    files: that one states the digest, and what is behind it does not."""

    def redirect_request(self, request, file, code, message, headers, url):
        if headers.get("X-Linked-Etag"):
            return None
        following = super().redirect_request(request, file, code, message, headers, url)
        following.method = request.get_method()  # older versions of Python would ask for the file
        return following
