"""Downloads against a server that cuts off, corrupts and stalls."""

import contextlib
import gzip
import hashlib
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from flaky_server import Flaky, make_certificate

from xlib.online import download
from xlib.online.download import Unavailable, fetch

DATA = random.Random(0).randbytes(300_000)
MD5 = "md5:" + hashlib.md5(DATA).hexdigest()


@pytest.fixture
def server():
    with Flaky(files={"data.bin": DATA}) as flaky:
        yield flaky


@pytest.fixture(autouse=True)
def quick_and_online(monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.5")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "data.bin"


def ranges(server):
    return [wanted for _, wanted in server.asked]


def beside(path):
    return sorted(item.name for item in path.parent.iterdir() if not item.name.endswith(".lock"))


def test_a_file_is_fetched_once(server, path):
    for _ in range(2):
        assert fetch([f"{server.url}/data.bin"], path, digest=MD5) == path
        assert path.read_bytes() == DATA
    assert ranges(server) == [""]
    assert beside(path) == ["data.bin"]


@pytest.mark.parametrize(
    "digest", ["sha256:" + hashlib.sha256(DATA).hexdigest(), "sha256:" + hashlib.sha256(DATA).hexdigest()[:8]]
)
def test_other_digests_and_their_beginnings_are_understood(server, path, digest):
    assert fetch([f"{server.url}/data.bin"], path, digest=digest).read_bytes() == DATA


@pytest.mark.parametrize("digest", ["md5:", "md5:" + "0" * 32, MD5[:-1] + "x"])
def test_a_digest_that_is_empty_or_another_one_never_matches(tmp_path, digest):
    file = tmp_path / "file"
    file.write_bytes(DATA)
    assert not download.matches(file, digest)


def test_a_gzip_file_without_a_published_checksum_is_checked_by_its_size_and_its_own_crc(tmp_path):
    packed = gzip.compress(DATA)
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    whole.write_bytes(packed)
    middle = len(packed) // 2
    damaged.write_bytes(packed[:middle] + bytes([packed[middle] ^ 255]) + packed[middle + 1 :])
    assert download.matches(whole, f"gzip:{len(packed)}")
    assert not download.matches(whole, f"gzip:{len(packed) + 1}")
    assert not download.matches(damaged, f"gzip:{len(packed)}")


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(server, path):
    server.faults["data.bin"] = ["cut", "cut"]
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA
    assert ranges(server) == ["", "bytes=150000-", "bytes=225000-"]


def test_what_came_before_the_last_try_is_kept_for_the_next_call(server, path):
    server.faults["data.bin"] = ["cut"] * 3
    with pytest.raises(
        Unavailable, match=r"cut off after 0\.3 of 0\.3 MB\).* 0\.3 MB of it are kept.*run this again"
    ):
        fetch([f"{server.url}/data.bin"], path, digest=MD5)
    assert beside(path) == ["data.bin.part"]
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA
    assert ranges(server)[-1] == "bytes=262500-"


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(server, path):
    server.faults["data.bin"] = ["cut", "whole"]
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA


def test_a_corrupt_download_is_thrown_away_and_said(server, path):
    server.faults["data.bin"] = ["corrupt"]
    with pytest.raises(Unavailable, match="not the published one"):
        fetch([f"{server.url}/data.bin"], path, digest=MD5)
    assert beside(path) == []
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA


def test_a_wrong_beginning_from_an_earlier_run_is_replaced(server, path):
    path.parent.mkdir()
    path.with_name("data.bin.part").write_bytes(b"x" * 1000)
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA
    assert ranges(server) == ["bytes=1000-", ""]


@pytest.mark.parametrize("start", [DATA, DATA + b"more"], ids=["complete", "too long"])
def test_a_beginning_that_is_no_shorter_than_the_file_does_not_confuse(server, path, start):
    path.parent.mkdir()
    path.with_name("data.bin.part").write_bytes(start)
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA


def test_a_damaged_file_is_fetched_again(server, path):
    fetch([f"{server.url}/data.bin"], path, digest=MD5)
    path.write_bytes(DATA[:-1])
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA


def test_a_silent_server_is_left_after_the_timeout(server, path):
    server.faults["data.bin"] = ["stall"] * 3
    start = time.monotonic()
    with pytest.raises(Unavailable, match=r"silent for 0\.5 s"):
        fetch([f"{server.url}/data.bin"], path, digest=MD5)
    assert time.monotonic() - start < 5
    assert len(server.asked) == 1
    assert path.with_name("data.bin.part").stat().st_size == 150_000


@pytest.mark.parametrize("wrong", ["abc", "0", "-1", "nan", "inf", "1e9", "5 s"])
def test_a_timeout_that_is_none_is_named(server, path, monkeypatch, wrong):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", wrong)
    with pytest.raises(Unavailable, match=f"^HF_HUB_DOWNLOAD_TIMEOUT must be a number of .* above 0, got '{wrong}'"):
        fetch([f"{server.url}/data.bin"], path, digest=MD5)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", " 5\n")
    assert download.timeout() == 5


@pytest.mark.parametrize("fault", ["404", "500", "corrupt", "stall", "closed"])
def test_the_next_address_serves_where_the_first_fails(server, path, fault):
    first = {"404": f"{server.url}/gone.bin", "closed": "http://127.0.0.1:9/data.bin"}.get(fault)
    server.files["first.bin"] = DATA
    server.faults["first.bin"] = [fault]
    urls = [first or f"{server.url}/first.bin", f"{server.url}/data.bin"]
    assert fetch(urls, path, digest=MD5).read_bytes() == DATA


def test_all_reasons_are_said_and_where_the_file_could_be_put(server, path):
    with pytest.raises(Unavailable) as caught:
        fetch([f"{server.url}/gone.bin", "http://127.0.0.1:9/data.bin"], path, digest=MD5)
    text = str(caught.value)
    assert "404" in text
    assert "refused" in text
    assert str(path) in text
    assert caught.value.__context__ is None  # no other traceback above it


def test_offline_means_that_nobody_is_asked(server, path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="is not there, and HF_HUB_OFFLINE is set"):
        fetch([f"{server.url}/data.bin"], path, digest=MD5)
    path.parent.mkdir()
    path.write_bytes(DATA[:-1])
    with pytest.raises(Unavailable, match="is damaged, and HF_HUB_OFFLINE is set"):
        fetch([f"{server.url}/data.bin"], path, digest=MD5)
    path.write_bytes(DATA)
    assert fetch([f"{server.url}/data.bin"], path, digest=MD5) == path
    assert not server.asked


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match=r"cannot be written .*set XLIB_CACHE"):
        fetch([f"{server.url}/data.bin"], tmp_path / "file" / "data.bin", digest=MD5)


def test_a_path_in_the_home_folder_and_a_folder_in_its_place(server, tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(path).replace("~", str(tmp_path), 1))
    assert fetch([f"{server.url}/data.bin"], "~/deep/data.bin", digest=MD5) == tmp_path / "deep" / "data.bin"
    with pytest.raises(Unavailable, match=r"deep is a folder: a file is to be written there"):
        fetch([f"{server.url}/data.bin"], tmp_path / "deep", digest=MD5)
    assert len(server.asked) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_said(server, path):
    path.parent.mkdir()
    path.with_name("data.bin.part").symlink_to("/dev/full")
    with pytest.raises(Unavailable, match=r"No space left.*make room"):
        fetch([f"{server.url}/data.bin"], path, digest=MD5)


@pytest.mark.long
def test_two_processes_that_want_one_file_fetch_it_once(server, path, monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "20")
    code = f"""
from pathlib import Path
from xlib.online.download import fetch
fetch([{server.url + "/data.bin"!r}], Path({str(path)!r}), digest={MD5!r})
"""
    server.faults["data.bin"] = ["slow", "slow"]  # until the other process has started as well
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert path.read_bytes() == DATA
    assert ranges(server) == [""]


# -- certificates and proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Zoë's 证书")
    make_certificate(folder)
    (folder / "empty.pem").write_text("no certificate in here\n", "utf-8")
    return folder


@pytest.fixture
def secure(server, certificate, monkeypatch):
    """The same server, behind that certificate."""
    server.secure(certificate)
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)
    return server


BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def test_a_certificate_that_is_not_trusted_is_called_that_and_asked_for_once(secure, path):
    with pytest.raises(
        Unavailable, match=r"certificate is not trusted \(.*self.signed.*set REQUESTS_CA_BUNDLE"
    ) as caught:
        fetch([f"{secure.url}/data.bin"], path, digest=MD5)
    assert "Look at the connection" not in str(caught.value)
    assert not secure.asked


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("holds", ["ca.pem", "by hash"])
def test_a_companys_certificate_is_trusted_where_a_variable_names_it(
    secure, path, certificate, monkeypatch, name, holds
):
    monkeypatch.setenv(name, str(certificate / holds))
    assert fetch([f"{secure.url}/data.bin"], path, digest=MD5).read_bytes() == DATA


def test_a_bundle_may_lie_in_the_home_folder_and_the_first_variable_decides(secure, path, certificate, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda name: str(name).replace("~", str(certificate)))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "~/ca.pem")
    monkeypatch.setenv("CURL_CA_BUNDLE", "~/empty.pem")  # as in requests, which does not look at it then
    assert fetch([f"{secure.url}/data.bin"], path, digest=MD5).read_bytes() == DATA


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize(("file", "state"), [("gone.pem", "is not there"), ("empty.pem", "holds no certificates")])
def test_a_bundle_that_is_not_there_is_named(secure, path, certificate, monkeypatch, name, file, state):
    monkeypatch.setenv(name, str(certificate / file))
    with pytest.raises(Unavailable, match=rf"^{name} names .*{file}, which {state}: correct it or unset it"):
        fetch([f"{secure.url}/data.bin"], path, digest=MD5)
    assert not secure.asked


def test_a_bundle_that_may_not_be_read_is_not_called_missing(secure, path, certificate, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "ca.pem"))
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refuse)
    with pytest.raises(Unavailable, match=r"^REQUESTS_CA_BUNDLE names .*ca\.pem, which cannot be read: correct it"):
        fetch([f"{secure.url}/data.bin"], path, digest=MD5)


def test_where_python_finds_no_certificates_those_of_certifi_are_trusted(monkeypatch):
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)
    assert download._trusting().cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("secured", [False, True])
def test_a_proxy_is_used_and_left_out_where_no_proxy_says_so(server, path, monkeypatch, secured, request):
    if secured:
        request.getfixturevalue("secure")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(request.getfixturevalue("certificate") / "ca.pem"))
    with Proxy() as proxy:
        scheme = "https" if secured else "http"
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "example.org")
        assert fetch([f"{server.url}/data.bin"], path, digest=MD5).read_bytes() == DATA
        assert len(proxy.asked) == 1
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert fetch([f"{server.url}/data.bin"], path.with_name("again"), digest=MD5).read_bytes() == DATA
        assert len(proxy.asked) == 1


class Proxy:
    """Passes bytes on, for http and, through CONNECT, for https; asked: the first line of each request."""

    def __enter__(self):
        self.asked, self.listener = [], socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.pass_on, args=(self.listener.accept()[0],), daemon=True).start()

    def pass_on(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.asked.append(f"{method} {target}")
        host, port = target.removeprefix("http://").partition("/")[0].split(":")
        server = socket.create_connection((host, int(port)))
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            server.sendall(head.replace(f"http://{host}:{port}".encode(), b"", 1))
        threading.Thread(target=self.copy, args=(client, server), daemon=True).start()
        self.copy(server, client)

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(2**16):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
