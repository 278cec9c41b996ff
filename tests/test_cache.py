import os
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path

import pytest
import torch

from xlib._files import written_whole
from xlib.data import cache


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Maker:
    """Makes the same tensors whenever it is asked, and counts."""

    def __init__(self):
        self.calls = 0

    def tensors(self):
        return {
            "bytes": torch.arange(60, dtype=torch.uint8).reshape(3, 20),
            "turned": torch.linspace(-1, 1, 6).reshape(2, 3).T,
            "index": torch.tensor(7),
            "none": torch.empty(0, 4),
        }

    def __call__(self):
        self.calls += 1
        return self.tensors()


def same(found, expected):
    return found.keys() == expected.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


def test_made_once_and_the_same_from_the_file(place):
    make = Maker()
    first, second = cache.cached("a", "1", make), cache.cached("a", "1", make)
    assert make.calls == 1
    assert same(first, make.tensors())
    assert same(second, make.tensors())
    assert [path.name for path in place.iterdir()] == ["a.safetensors"]


def test_another_key_makes_it_again_and_replaces_the_file(place):
    make = Maker()
    cache.cached("a", "version 1", make)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.cached("a", "version 2", make)
        cache.cached("a", "version 2", make)
    assert make.calls == 2
    assert len(list(place.iterdir())) == 1


def test_tensors_do_not_hang_on_the_file(place):
    cache.cached("a", "1", Maker())
    found = cache.cached("a", "1", Maker())
    path = place / "a.safetensors"
    with open(path, "r+b") as file:  # in place: a memory-mapped tensor would change with it
        file.write(b"\xff" * path.stat().st_size)
    assert same(found, Maker().tensors())
    found["bytes"] += 1  # and may be written to


@pytest.mark.parametrize("length", [0, 5, 100, -30, -1])
def test_truncated_file_is_noticed_and_made_again(place, length):
    make = Maker()
    cache.cached("a", "1", make)
    path = place / "a.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    with pytest.warns(UserWarning, match=r"a\.safetensors is damaged .* made again"):
        found = cache.cached("a", "1", make)
    assert same(found, make.tensors())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(cache.cached("a", "1", make), make.tensors())
    assert make.calls == 2


@pytest.mark.long
def test_a_flipped_bit_anywhere_is_noticed(place):
    cache.cached("a", "1", Maker())
    path = place / "a.safetensors"
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    for at in range(len(whole)):
        if whole[at : at + 1] == b" " and at < 8 + header:
            continue  # filler at the header's end
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        make = Maker()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert same(cache.cached("a", "1", make), make.tensors()), f"byte {at}"
        assert (make.calls, len(caught)) == (1, 1), f"byte {at}"


def test_something_else_under_the_name_is_replaced(place):
    place.mkdir()
    (place / "a.safetensors").write_text("not a tensor\n" * 20)
    with pytest.warns(UserWarning, match="damaged"):
        assert same(cache.cached("a", "1", Maker()), Maker().tensors())


def test_folder_that_cannot_be_made_is_said_and_worked_around(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "file" / "cache"))
    make = Maker()
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"Nothing can be kept in .*cache .*set XLIB_CACHE") as caught:
            assert same(cache.cached("a", "1", make), make.tensors())
        assert len(caught) == 1
    assert make.calls == 2


def test_folder_that_cannot_be_written_is_said_and_left_clean(place, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.warns(UserWarning, match="Permission denied"):
        assert same(cache.cached("a", "1", Maker()), Maker().tensors())
    assert list(place.iterdir()) == []


def test_full_disk_is_said_and_left_clean(place):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = {"big": torch.ones(1 << 16)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, hard))  # every write beyond 4 kB fails, as on a full disk
    try:
        with pytest.warns(UserWarning, match="Nothing can be kept"):
            found = cache.cached("a", "1", lambda: big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert same(found, big)
    assert list(place.iterdir()) == []


def test_interrupted_write_leaves_nothing_behind(place, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "save_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.cached("a", "1", Maker())
    assert list(place.iterdir()) == []


@pytest.mark.long
def test_processes_that_write_at_once_never_read_half_a_file(place):
    # Both make and read the same file, under a key that keeps changing; a warning (damage) ends a process.
    code = """
        import time, torch
        from pathlib import Path
        from xlib.data.cache import cached, folder

        def make(round):
            return {"x": torch.full((200_000,), round), "y": torch.arange(1000) * round}

        folder().mkdir(exist_ok=True)
        (folder() / f"ready{time.time_ns()}").touch()
        while len(list(folder().glob("ready*"))) < 2:
            time.sleep(0.001)
        for round in range(40):
            found = cached("shared", str(round % 3), lambda: make(round % 3))
            assert all(torch.equal(found[name], tensor) for name, tensor in make(round % 3).items())
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert list(place.glob(".*")) == []


def test_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XLIB_CACHE", "~/elsewhere")
    assert cache.folder() == Path.home() / "elsewhere"
    monkeypatch.setenv("XLIB_CACHE", "")
    clone = Path(__file__).resolve().parents[1]
    assert cache.folder() == clone / ".cache" / "xlib"
    installed = tmp_path / "site-packages" / "xlib" / "data" / "cache.py"
    monkeypatch.setattr(cache, "__file__", str(installed))
    assert cache.folder().name == "xlib"
    assert tmp_path not in cache.folder().parents
    assert Path.home() in cache.folder().parents


def test_a_cache_in_a_folder_of_any_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "Zoë's 数据 100%"))
    make = Maker()
    assert all(same(cache.cached("a", "1", make), make.tensors()) for _ in range(2))
    assert make.calls == 1


def test_where_no_home_folder_is_known_the_cache_is_not_a_folder_named_tilde(monkeypatch, tmp_path):
    monkeypatch.delenv("XLIB_CACHE", raising=False)
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "site-packages" / "xlib" / "data" / "cache.py"))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without a name, in a container
    assert cache.folder() == Path(tempfile.gettempdir(), "xlib")
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *_, **__: "~/.cache/xlib")  # an older version
    assert cache.folder() == Path(tempfile.gettempdir(), "xlib")
    monkeypatch.setenv("XLIB_CACHE", "~/elsewhere")
    with pytest.raises(ValueError, match=r"XLIB_CACHE is '~/elsewhere', and no such home folder is known"):
        cache.folder()


# -- files that are there whole or not at all


def test_a_file_is_written_into_the_home_folder_and_under_a_name_as_long_as_a_name_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(path).replace("~", str(tmp_path), 1))
    for name in ("~/a.txt", "~/" + "n" * 255, "~/" + "数" * 85, "~/" + "e\u0301 con:" if os.name != "nt" else "~/é"):
        with written_whole(name) as beside:
            assert beside.parent == tmp_path
            beside.write_text("whole", "utf-8")
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 4
    assert all(path.read_text("utf-8") == "whole" for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        (
            "no/such/a.txt",
            FileNotFoundError,
            r"^the folder .*such does not exist, so a\.txt cannot be written to it$",
        ),
        ("file/a.txt", NotADirectoryError, r"^.*file is a file and no folder, so a\.txt cannot be written to it$"),
        ("folder", IsADirectoryError, r"^.*folder is a folder: give the name of a file$"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_a_place_where_no_file_can_be_made_is_named_before_anything_is_written(tmp_path, name, error, said, kind):
    (tmp_path / "file").write_text("kept", "utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match=said), written_whole(kind(tmp_path / name)):
        pytest.fail("the work begins all the same")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_name_may_begin_with_a_tilde_that_is_nobodys_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with written_whole("~nobodys.txt") as beside:
        beside.write_text("kept", "utf-8")
    assert (tmp_path / "~nobodys.txt").read_text("utf-8") == "kept"
    with pytest.raises(FileNotFoundError, match=r"^the folder ~nobodys does not exist"), written_whole("~nobodys/a"):
        pytest.fail("the work begins all the same")


def test_an_error_of_the_disk_names_the_file_and_not_the_one_beside_it(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    path = tmp_path / "a.txt"
    path.write_text("before", "utf-8")
    for name in ("touch", "write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, refuse)
            refused = pytest.raises(PermissionError, match=r"Permission denied: '[^']*a\.txt'$")
            with refused as caught, written_whole(path) as beside:
                beside.write_text("after", "utf-8")
        assert caught.value.errno == 13
    monkeypatch.setattr(os, "replace", lambda old, new: refuse(old))
    with pytest.raises(PermissionError, match=r"'[^']*a\.txt'$"), written_whole(path) as beside:
        beside.write_text("after", "utf-8")
    assert path.read_text("utf-8") == "before"
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("refusals", "system"), [(3, "win32"), (4, "win32"), (1, "linux")])
def test_on_windows_a_file_that_somebody_reads_is_waited_for(tmp_path, monkeypatch, refusals, system):
    replace, naps = os.replace, []

    def busy(old, new):
        if len(naps) < refusals:
            naps.append(None)
            raise PermissionError(13, "The process cannot access the file", str(old), None, str(new))
        replace(old, new)

    monkeypatch.setattr("xlib._files.sys.platform", system)
    monkeypatch.setattr("xlib._files.time.sleep", lambda seconds: None)
    monkeypatch.setattr(os, "replace", busy)
    if refusals == 3:
        with written_whole(tmp_path / "a.txt") as beside:
            beside.write_text("whole", "utf-8")
        assert (tmp_path / "a.txt").read_text("utf-8") == "whole"
    else:
        with pytest.raises(PermissionError, match=r"a\.txt'"), written_whole(tmp_path / "a.txt") as beside:
            beside.write_text("whole", "utf-8")
        assert list(tmp_path.iterdir()) == []
