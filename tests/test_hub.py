"""Files of the hub, from a stand-in on loopback."""

import hashlib
import random
import time

import pytest
from fake_hub import FakeHub
from flaky_server import make_certificate

from xlib.online import hub
from xlib.online.download import Unavailable

SMALL, LARGE = b'{"size": 3}', random.Random(0).randbytes(300_000)
NAME, REVISION = "somebody/something", "c" * 40
FILES = {"config.json": f"sha256:{hashlib.sha256(SMALL).hexdigest()}", "data/weights.bin": ""}


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "2")  # seconds; the stand-in may have to wait for a processor
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "theirs"))


@pytest.fixture
def server(monkeypatch):
    with FakeHub() as fake:
        fake.add(NAME, REVISION, {"config.json": SMALL, "data/weights.bin": LARGE, "other.bin": LARGE + b"!"})
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        yield fake


def bring(**changes):
    return hub.snapshot(NAME, **{"revision": REVISION, "files": FILES, **changes})


def metadata_of(name):
    return f"{NAME}/resolve/{REVISION}/{name}"


def test_the_named_files_are_brought_once_and_no_others(server, tmp_path, monkeypatch):
    folder = bring()
    assert folder.is_relative_to(tmp_path / "cache")
    assert (folder / "config.json").read_bytes() == SMALL
    assert (folder / "data" / "weights.bin").read_bytes() == LARGE
    assert len(server.asked) == 2
    assert server.heads == [metadata_of("data/weights.bin")]  # only where no digest was given
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert bring() == folder
    assert len(server.asked) + len(server.heads) == 3


def test_a_data_set_lies_elsewhere_than_a_model_of_that_name(server):
    server.add(NAME, REVISION, {"config.json": SMALL, "data/weights.bin": LARGE[:-1]}, kind="dataset")
    assert (bring(kind="dataset") / "data/weights.bin").read_bytes() == LARGE[:-1]
    assert (bring() / "data/weights.bin").read_bytes() == LARGE


def test_a_download_that_is_cut_off_goes_on_where_it_stopped_even_in_a_later_call(server, monkeypatch):
    server.fail(LARGE, "stall")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    with pytest.raises(
        Unavailable, match=r"weights.bin could not be fetched .*silent for 1 s.*0.1 MB of it are kept"
    ):
        bring()
    server.fail(LARGE, "cut")
    folder = bring()
    assert (folder / "data/weights.bin").read_bytes() == LARGE
    assert server.downloads(LARGE) == ["", "bytes=150000-", "bytes=225000-"]


@pytest.mark.parametrize(
    ("name", "data"), [("config.json", SMALL), ("data/weights.bin", LARGE)], ids=["small", "large"]
)
def test_a_damaged_download_is_refused_and_the_next_call_fetches_it_again(server, name, data):
    server.fail(data, "corrupt")
    with pytest.raises(Unavailable, match="is not the published one"):
        bring()
    assert (bring() / name).read_bytes() == data


def test_a_file_that_was_damaged_on_the_disk_is_fetched_again(server):
    path = bring() / "data/weights.bin"
    path.write_bytes(LARGE[:-1] + b"?")
    assert (bring() / "data/weights.bin").read_bytes() == LARGE
    assert server.heads == [metadata_of("data/weights.bin")]  # what the hub stated was kept


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("stall", "silent for 1 s"),
        ("absent", r"127\.0\.0\.1:\d+: 404 Not Found\)"),
        ("unstated", "it does not state the SHA-256"),
        ("gone", "Connection refused"),
    ],
)
def test_a_hub_that_does_not_state_what_a_file_holds_is_left_soon_with_a_sentence(server, monkeypatch, head, reason):
    name = "data/weights.bin"
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    if head == "absent":
        del server.links[metadata_of(name)]
    elif head == "gone":
        server.server.shutdown()
        server.server.server_close()
    else:
        server.bad_heads[metadata_of(name)] = head
    start = time.monotonic()
    with pytest.raises(Unavailable, match=f"weights.bin could not be fetched .*{reason}") as raised:
        bring(files={name: ""})
    assert time.monotonic() - start < 20  # one try, on a busy machine too
    assert raised.value.__context__ is None  # one sentence, not the library's tracebacks
    assert "\n" not in str(raised.value)


def test_a_companys_certificate_is_asked_for_and_then_trusted_for_the_digest_as_well(server, monkeypatch, tmp_path):
    make_certificate(tmp_path)
    server.secure(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with pytest.raises(Unavailable, match=r"certificate is not trusted .*set REQUESTS_CA_BUNDLE"):
        bring(files={"data/weights.bin": ""})
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert hub._stated(hub._url(NAME, REVISION, "data/weights.bin", "model"), tmp_path / "weights.bin") == (
        f"sha256:{hashlib.sha256(LARGE).hexdigest()}"
    )


def test_a_repository_that_has_another_name_now_states_the_digest_there(server):
    old = metadata_of("data/weights.bin").replace("something", "former")
    server.moved[old] = metadata_of("data/weights.bin")
    folder = hub.snapshot(NAME.replace("something", "former"), revision=REVISION, files={"data/weights.bin": ""})
    assert (folder / "data" / "weights.bin").read_bytes() == LARGE
    assert server.heads == [old, metadata_of("data/weights.bin")]


def test_the_address_of_a_mirror_may_end_in_a_slash_and_must_be_one(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f" {server.url}/\n")
    assert (bring() / "data/weights.bin").read_bytes() == LARGE
    monkeypatch.setenv("HF_ENDPOINT", "mirror.example.org/")
    with pytest.raises(Unavailable, match=r"^HF_ENDPOINT must begin with https://, got 'mirror.example.org'"):
        bring(revision="d" * 40)


def test_a_missing_file_is_said(server):
    with pytest.raises(Unavailable, match=r"absent\.json could not be fetched .*404"):
        bring(files={"absent.json": FILES["config.json"]})


@pytest.mark.parametrize("name", list(FILES))
def test_offline_and_not_there_is_said_and_nobody_is_asked(server, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match=r"is not there, and HF_HUB_OFFLINE is set"):
        bring(files={name: FILES[name]})
    assert not server.asked
    assert not server.heads


@pytest.fixture
def theirs(tmp_path):
    """A snapshot as the hub's own library lays it down: links to blobs, a large one named by its SHA-256."""
    repository = tmp_path / "theirs" / f"models--{NAME.replace('/', '--')}"
    folder = repository / "snapshots" / REVISION
    for name, data, blob in (
        ("config.json", SMALL, hashlib.sha1(b"blob %d\0" % len(SMALL) + SMALL).hexdigest()),
        ("data/weights.bin", LARGE, hashlib.sha256(LARGE).hexdigest()),
    ):
        (repository / "blobs").mkdir(parents=True, exist_ok=True)
        (repository / "blobs" / blob).write_bytes(data)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(repository / "blobs" / blob)
    return folder


@pytest.mark.parametrize("is_offline", ["0", "1"])
def test_what_the_hubs_own_library_has_brought_is_used_and_nobody_is_asked(server, theirs, monkeypatch, is_offline):
    monkeypatch.setenv("HF_HUB_OFFLINE", is_offline)
    assert bring() == theirs
    assert not server.asked
    assert not server.heads


def test_but_a_model_is_not_taken_for_a_data_set_of_that_name(server, theirs):
    server.add(NAME, REVISION, {"config.json": SMALL, "data/weights.bin": LARGE[:-1]}, kind="dataset")
    assert (bring(kind="dataset") / "data/weights.bin").read_bytes() == LARGE[:-1]


@pytest.mark.parametrize("name", list(FILES))
@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_but_not_where_it_is_damaged_or_not_whole(server, theirs, name, fault):
    if fault == "damaged":
        (theirs / name).write_bytes(b"x")
    else:
        (theirs / name).unlink()
    folder = bring()
    assert folder != theirs
    assert [(folder / name).read_bytes() for name in FILES] == [SMALL, LARGE]


def test_the_hubs_own_library_lays_it_down_like_that(server, theirs, tmp_path):
    """So that the fixture above is real."""
    import huggingface_hub

    brought = huggingface_hub.hf_hub_download(
        NAME, "data/weights.bin", revision=REVISION, endpoint=server.url, cache_dir=tmp_path / "real"
    )
    assert brought == str(theirs / "data/weights.bin").replace("theirs", "real")
    assert hub._brought_by_others(NAME, REVISION, {"data/weights.bin": ""}, "model") == theirs
