"""A stand-in on loopback for the model hub: names at a commit lead to large file storage, where faults can be set."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import huggingface_hub.constants  # noqa: F401  imported before a test sets a timeout of which it reads whole seconds
from flaky_server import Flaky


@dataclass
class FakeHub(Flaky):
    """links: path of a file in a repository to where its bytes lie, "lfs/" and their SHA-256; `faults` and `asked` of
    downloads are by the latter. heads: paths whose metadata was asked for, and what to answer instead of it. moved:
    old paths to new ones."""

    links: dict[str, str] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    bad_heads: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)

    def add(self, repository: str, revision: str, files: Mapping[str, bytes], *, kind: str = "model") -> None:
        for name, data in files.items():
            prefix = "datasets/" if kind == "dataset" else ""
            stored = f"lfs/{hashlib.sha256(data).hexdigest()}"
            self.links[f"{prefix}{repository}/resolve/{revision}/{name}"] = stored
            self.files[stored] = data

    def downloads(self, data: bytes) -> list[str]:
        """The ranges in which these bytes were asked for."""
        stored = f"lfs/{hashlib.sha256(data).hexdigest()}"
        return [wanted for name, wanted in self.asked if name == stored]

    def fail(self, data: bytes, *faults: str) -> None:
        self.faults[f"lfs/{hashlib.sha256(data).hexdigest()}"] = list(faults)

    def __enter__(self):
        super().__enter__()
        self.server.RequestHandlerClass = _with_links(self.server.RequestHandlerClass)
        return self


def _with_links(handler: type) -> type:
    class Handler(handler):
        def do_GET(self):
            if self.path.lstrip("/") in self.flaky.moved:
                self.to_the_new_name()
            elif stored := self.flaky.links.get(self.path.lstrip("/")):
                self.redirect(stored)
            else:
                super().do_GET()

        def do_HEAD(self):
            name = self.path.lstrip("/")
            self.flaky.heads.append(name)
            bad = self.flaky.bad_heads.get(name)
            if bad == "stall":
                self.flaky.released.wait(30)
            elif name in self.flaky.moved:
                self.to_the_new_name()
            elif bad != "unstated" and name in self.flaky.links:
                self.redirect(self.flaky.links[name])
            else:
                self.send_response(200 if bad else 404)
                self.send_header("ETag", '"0123456789012345678901234567890123456789"')
                self.send_header("Content-Length", "1")
                self.end_headers()

        def to_the_new_name(self):
            self.send_response(307)
            self.send_header("Location", f"/{self.flaky.moved[self.path.lstrip('/')]}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def redirect(self, stored: str):
            self.send_response(302)
            # as of another machine, so that the hub's library does not follow it for the metadata
            self.send_header("Location", f"{self.flaky.url.replace('127.0.0.1', 'localhost')}/{stored}")
            self.send_header("X-Linked-Etag", f'"{stored.removeprefix("lfs/")}"')
            self.send_header("X-Linked-Size", str(len(self.flaky.files[stored])))
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
