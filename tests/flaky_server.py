"""A file server on loopback that can be told to misbehave, for the tests of downloads."""

import http.server
import shutil
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest


def make_certificate(folder: Path) -> None:
    """A company's own certificate for 127.0.0.1 and its key, ca.pem and key.pem; "by hash" holds it as OpenSSL looks
    for it in a folder."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl, which makes a certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=company"
    extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"]
    subprocess.run([*command.split(), *extra], cwd=folder, check=True, capture_output=True)
    ask = ["openssl", "x509", "-hash", "-noout", "-in", "ca.pem"]
    name = subprocess.run(ask, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    (folder / "by hash").mkdir()
    shutil.copy(folder / "ca.pem", folder / "by hash" / f"{name}.0")


@dataclass
class Flaky:
    """files: path to bytes. faults: path to a list of faults, used up one a request: "cut" (closes half-way), "stall"
    (sends half, then nothing), "slow" (begins after two seconds), "corrupt" (one byte differs), "whole" (knows no
    ranges), "500". asked: (path, Range header or "") of each request."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"flaky": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def secure(self, certificate: Path) -> None:
        """From now on behind the certificate of that folder."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    flaky: Flaky

    def log_message(self, *_):
        pass

    def do_GET(self):
        name, wanted = self.path.lstrip("/"), self.headers.get("Range", "")
        self.flaky.asked.append((name, wanted))
        waiting = self.flaky.faults.get(name, [])
        fault = waiting.pop(0) if waiting else ""
        if fault == "slow":
            self.flaky.released.wait(2)
        if fault == "500" or name not in self.flaky.files:
            self.send_error(500 if fault else 404)
            return
        data, start = self.flaky.files[name], 0
        if wanted and fault != "whole":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        body = data[start:]
        if fault == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault in ("cut", "stall") else body)
        self.wfile.flush()
        if fault == "stall":
            self.flaky.released.wait(30)
        self.close_connection = True
