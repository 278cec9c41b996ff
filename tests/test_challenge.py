"""The challenge: what is refused, what is scored, and that the table is that of the stored runs."""

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

import challenge
from challenge import CHALLENGE, COLUMNS, ROOT, Refused, Split
from xlib.course import report
from xlib.data import emoji, numbers
from xlib.experiments.emoji import emoji_model
from xlib.experiments.numbers import held_out_numbers, numbers_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no limit of CPU time")

SUBMISSIONS = sorted((CHALLENGE / "submissions").glob("*.py"))
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "black": (0, 0, 0)}
_spec = importlib.util.spec_from_file_location("kernel", CHALLENGE / "kernel.py")
kernel = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kernel)
LANDLOCK = bool(kernel.landlock())
HEAD = f'"""Mine\n\na try\n"""\nCOLOURS, LANDLOCK = {COLOURS!r}, {LANDLOCK}\n'
HONEST = """
import os, sys, threading, torch
from pathlib import Path

def train(task, seed):
    print("much " * 100_000)  # more than any pipe holds
    print("more", file=sys.stderr)
    thread = threading.Thread(target=lambda: Path(f"{task.name}.txt").write_text("mine"))
    thread.start()
    thread.join()
    assert not list(Path.cwd().glob("*-test*")), "the test pictures are here before the training is over"
    assert set(os.environ) & {"USER", "PATH", "XLIB_CACHE", "PYTHONPATH"} == set()
    assert (torch.initial_seed(), torch.get_num_threads()) == (seed, 1)
    assert not torch.cuda.is_available()
    torch.save({"mine": seed}, "mine.pt")
    assert torch.load("mine.pt") == {"mine": seed}
    try:
        os.mkfifo("pipe" if LANDLOCK else "")
    except OSError as error:
        assert isinstance(error, PermissionError) == LANDLOCK, "the hook does not see it, and the kernel lets it"
    assert set(task.source_captions) == {"red", "green", "blue"}
    try:
        task.sentence_features(["black"])
    except KeyError:
        pass
    else:
        raise AssertionError("a new caption is known")

    def encode_texts(captions):
        assert task.sentence_features(captions).shape == (4, 384)
        return torch.tensor([COLOURS[caption] for caption in captions]) - 0.4

    return (lambda images: images.mean(dim=(2, 3)) - 0.4), encode_texts
"""


def colours_split(seed: int) -> Split:
    """One-coloured pictures, and the colour's name: black is new."""
    rows = torch.tensor([3, 1, 0, 2, 2, 1])
    pictures = (torch.tensor(list(COLOURS.values()))[:, :, None, None] * 255).to(torch.uint8).expand(-1, -1, 4, 4)
    everything = torch.arange(4)
    return Split(
        train={
            "source_images": pictures[:3],
            "source_captions": torch.arange(3),
            "target_images": pictures[:3],
            "features": torch.zeros(3, 384),
        },
        train_captions=[*COLOURS][:3],
        test={"images": pictures[rows], "features": torch.zeros(4, 384)},
        test_captions=[*COLOURS],
        answers=rows,
        galleries={"seen": (everything, rows < 3), "unseen": (everything, rows == 3)},
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """small(code, *arguments, **options): `make challenge` with one-coloured pictures and a table of its own."""
    root = tmp_path / "course"
    (root / "challenge").mkdir(parents=True)
    (root / "README.md").write_text("# x\n\n<!-- challenge -->\n<!-- /challenge -->\nand on\n", "utf-8")
    monkeypatch.setattr(challenge, "SPLITS", {"numbers": colours_split, "emoji": colours_split})
    monkeypatch.setattr(challenge, "SEEDS", range(2))

    def run(code: str, *arguments: str, **options) -> None:
        path = tmp_path / "my own.py"
        path.write_text(HEAD + code, "utf-8")
        challenge.main([str(path), *arguments], root=root, **{"modules": (), **options})

    run.root = root
    return run


@pytest.fixture
def kit(monkeypatch):
    monkeypatch.syspath_prepend(str(CHALLENGE))
    return importlib.import_module("kit")


@pytest.fixture
def child(monkeypatch):
    monkeypatch.syspath_prepend(str(CHALLENGE))
    return importlib.import_module("child")


# --- what is refused ---------------------------------------------------------------------------------

# What happens in a process under guard, and the sentence; None where nothing is wrong.
DEEDS = {
    "import xlib.data.numbers": "imported xlib.data",
    "from xlib.experiments.numbers import numbers_model": "imported xlib.experiments",
    "try:\n import mlxtend.data\nexcept BaseException: pass": "imported mlxtend",
    "import sklearn.datasets": "imported sklearn.datasets",
    "import safetensors": "imported safetensors",
    f"open({str(ROOT / 'README.md')!r})": f"read {ROOT / 'README.md'}",
    f"open({str(ROOT / 'README.md').encode()!r}, 'rb')": f"read {ROOT / 'README.md'}",
    f"import os; os.open({str(ROOT)!r}, os.O_RDONLY)": f"read {ROOT}",
    "import os; os.symlink('.', 'here'); open('here/../labels.csv')": "read ",
    "open('../labels.csv')": "read ",
    "open('/proc/self/maps')": "read ",
    "open('../left.py', 'w')": "wrote to ",
    "open('../left.txt', 'a')": "wrote to ",
    "import os; os.open('../left', os.O_CREAT | os.O_WRONLY)": "wrote to ",
    "import os; os.mkdir('../left')": "changed ",
    "import os; os.rename('../a', 'b')": "changed ",
    f"import os; os.link({str(ROOT / 'README.md')!r}, 'mine')": f"changed {ROOT / 'README.md'}",
    "import os; os.chdir('..')": "changed ",
    "import socket; socket.socket()": "asked for a network",
    "import socket; socket.gethostbyname('localhost')": "asked for a network",
    "import subprocess; subprocess.run(['true'])": "started or stopped a process",
    "import os; os.system('true')": "started or stopped a process",
    "import os; os.fork()": "started or stopped a process",
    "import os; os.posix_spawn('/bin/true', ['true'], {})": "started or stopped a process",
    "import os; os.kill(os.getppid(), 0)": "started or stopped a process",
    "from multiprocessing import get_context as g; g('spawn').Process().start()": "started or stopped a process",
    "import ctypes; ctypes.CDLL(None)": "called C by itself",
    "import importlib.util as u; u.module_from_spec(u.spec_from_file_location('xlib.c', 'mine.so'))": "called C by",
    "import sqlite3; sqlite3.connect('x')": "opened a database",
    "open('x.csv', 'w').write('1'); open('x.csv').read(); import os; os.remove('x.csv'); os.mkdir('y')": None,
    "open('/dev/null', 'w'); import csv, json.tool, threading; threading.Thread(target=int).start()": None,
}
WATCHED = """
import os, sys
sys.path.insert(0, {challenge!r})
sys.dont_write_bytecode = True
import guard
def refuse(what):
    os.write(1, what.encode())
    os._exit(1)
guard.install(os.getcwd(), refuse)
exec({deed!r})
"""


@pytest.mark.parametrize("deed", DEEDS)
def test_a_deed_under_guard(tmp_path, deed):
    (tmp_path / "own").mkdir()
    (tmp_path / "labels.csv").touch()
    code = WATCHED.format(challenge=str(CHALLENGE), deed=deed)
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path / "own", capture_output=True, text=True)
    if DEEDS[deed] is None:
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    else:
        assert done.stdout.startswith(DEEDS[deed]), done.stderr
        assert done.returncode == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "own"]


def test_a_package_that_is_not_open_is_as_if_it_were_not_there(tmp_path):
    code = WATCHED.format(challenge=str(CHALLENGE), deed="import pandas")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "ModuleNotFoundError: a submission cannot import pandas" in done.stderr


def refused(small, code, *arguments, **options) -> str:
    """The one sentence; and nothing was entered."""
    with pytest.raises(SystemExit) as end:
        small(code, *arguments, **options)
    assert not (small.root / "challenge" / "results.json").exists()
    assert "|" not in (small.root / "README.md").read_text("utf-8")
    assert "\n" not in end.value.code  # a sentence as the code: Python prints it and ends with status 1
    return end.value.code


# What the hook does not see, or what stands when it is taken apart.
UNSEEN = {
    "open('../labels.csv')": "kept",
    "open('../left', 'w')": "kept",
    "os.open('../labels.csv', os.O_RDONLY)": "kept",
    "os.listdir('..')": "kept",
    "os.mkfifo('../left')": "kept",
    "os.mkfifo('left')": "kept",
    "os.mknod('../left')": "kept",
    "os.mkdir('../left')": "kept",
    "os.remove('../labels.csv')": "kept",
    "os.truncate('../labels.csv', 0)": "kept" if kernel.landlock() > 2 else None,
    "os.rename('../labels.csv', 'mine')": "kept",
    "open(f'/proc/{os.getppid()}/environ')": "kept",
    "subprocess.run(['/bin/true'])": "kept",
    "open(__import__('numbers').__file__); __import__('wave')": None,
    "open('../packages/labels/1.csv')": "kept",
    "os.listdir('../packages'); open('../packages/torch/1.csv')": None,
    "open('x', 'w').write('1'); os.mkdir('y'); os.rename('x', 'y/x'); open('y/x').read(); os.remove('y/x')": None,
    "open('/dev/null', 'w').write('1')": None,
}
CLOSED = """
import errno, os, subprocess, sys
sys.path[:0] = [{challenge!r}, os.path.realpath("../packages")]
import guard, kernel
assert kernel.close_the_files(os.getcwd(), kernel.code(guard.is_open), guard.DEVICES)
for deed in {deeds!r}:
    try:
        exec(deed)
    except OSError as error:
        print("kept" if error.errno in (errno.EPERM, errno.EACCES, errno.EXDEV) else error)
    else:
        print(None)
"""


@pytest.mark.skipif(not LANDLOCK, reason="this kernel has no Landlock")
def test_the_kernel_keeps_the_same_bounds(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "labels.csv").write_text("1")
    for package in ("labels", "torch"):
        (tmp_path / "packages" / package).mkdir(parents=True)
        (tmp_path / "packages" / package / "1.csv").write_text("1")
    code = CLOSED.format(challenge=str(CHALLENGE), deeds=[*UNSEEN])
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path / "own", capture_output=True, text=True)
    assert dict(zip(UNSEEN, done.stdout.split(), strict=True)) == {deed: str(end) for deed, end in UNSEEN.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "own", "packages"]


@pytest.mark.skipif(not shutil.which("unshare"), reason="cannot tell whether there are user namespaces")
def test_the_network_has_no_wire():
    if subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    code = "import kernel, socket; kernel.cut_the_network(); print(socket.socket().connect_ex(('127.0.0.1', 9)))"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=CHALLENGE, capture_output=True, text=True)
    assert done.stdout == f"{errno.ENETUNREACH}\n"


def test_only_code_that_is_open_may_be_read(tmp_path, monkeypatch):
    for name in ("torch", "numpy.libs", "emoji", "labels.csv", "six.cpython-311.so", "torch-2.0.dist-info"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    ours = {path: inside for path, inside in kernel.code({"torch"}.__contains__, "xlib") if str(tmp_path) in path}
    names = ("torch", "numpy.libs", "six.cpython-311.so", "torch-2.0.dist-info")
    assert ours == {str(tmp_path): False} | {str(tmp_path / name): True for name in names}


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def test(task, seed): pass", "it has no function train(task, seed)."),
        ("def train(:", "it is no Python: line 6: invalid syntax."),
    ],
)
def test_what_cannot_be_a_submission_is_refused_before_it_runs(small, code, sentence):
    assert refused(small, code) == f"Refused: my own.py: {sentence}"


@pytest.mark.parametrize(
    "docstring", ["", '"""Only a name"""', f'"""{"x" * 41}\n\nlong"""', '"""Name\x07\n\nwith a bell"""']
)
def test_a_submission_needs_a_name_and_a_method(tmp_path, docstring):
    path = tmp_path / "nameless.py"
    path.write_text(docstring + "\ndef train(task, seed): pass\n", "utf-8")
    with pytest.raises(Refused, match="must begin with a docstring"):
        challenge.described(path)
    with pytest.raises(Refused, match="cannot be read: No such file"):
        challenge.described(tmp_path / "nowhere.py")


@pytest.mark.long
@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "def train(task, seed):\n  try:\n    from xlib.data.numbers import UNSEEN\n  except BaseException: pass",
            "it imported xlib.data.numbers, from which labels can be read.",
        ),
        (
            "import torch\ndef train(task, seed): torch.zeros(2) @ torch.zeros(3)",
            "it crashed: line 7: RuntimeError: ",
        ),
        (
            "import torch\ndef train(task, seed): torch.save(1, '../left.pt')",  # in C++
            "it wrote to ",
        ),
    ],
    ids=["cheating", "crashing", "writing elsewhere"],
)
def test_who_breaks_a_rule_gets_a_sentence_and_no_line(small, code, sentence):
    assert refused(small, code).startswith(f"Refused: my own.py, seed 0: {sentence}")


@pytest.mark.long
def test_who_runs_over_the_budget_is_ended(small):
    sentence = refused(small, "def train(task, seed):\n  while True: pass", budget=4, patience=600)
    assert sentence == "Refused: my own.py, seed 0: it ran over its 4 CPU-seconds."  # and not the clock's


@pytest.mark.long
def test_who_sleeps_is_ended_by_the_clock(small):
    code = "import time\ndef train(task, seed): time.sleep(1000)"
    assert refused(small, code, patience=4) == "Refused: my own.py, seed 0: it was not done after 4 s by the clock."


@pytest.mark.parametrize(
    ("messages", "code", "cpu", "sentence"),
    [
        ({}, -9, 119.6, "ran over its 120 CPU-seconds"),
        ({"done": True}, 0, 120.5, "ran over its 120 CPU-seconds"),  # where the system did not end it
        ({}, -9, 60, r"was ended by signal 9 \(9 may mean that the memory was full\)"),
        ({"trained": True}, 0, 60, "ended before it was done, with exit status 0"),
        ({}, -11, 60, "was ended by signal 11"),
    ],
)
def test_how_it_ended(messages, code, cpu, sentence):
    with pytest.raises(Refused, match=sentence):
        challenge._check_end(messages, code, cpu, 120, 1200, False)


@pytest.mark.parametrize(
    ("images", "texts", "sentence"),
    [
        (torch.zeros(5, 3), torch.zeros(4, 3), r"images of shape \(5, 3\): the shape must be \(6, d\)"),
        (torch.zeros(6), torch.zeros(4, 3), r"images of shape \(6,\)"),
        (torch.zeros(6, 3), torch.zeros(3, 3), r"texts of shape \(3, 3\)"),
        (torch.zeros(6, 3), torch.zeros(4, 2), r"texts of shape \(4, 2\).* one d"),
        (torch.zeros(6, 0), torch.zeros(4, 0), r"images of shape \(6, 0\)"),
        (torch.full((6, 3), torch.nan), torch.ones(4, 3), "images that are not finite"),
        (torch.ones(6, 3), torch.full((4, 3), torch.inf), "texts that are not finite"),
        (torch.ones(6, 3).long(), torch.ones(4, 3), "images that are not finite"),
    ],
)
def test_what_is_no_embedding_is_refused(images, texts, sentence):
    with pytest.raises(Refused, match=sentence):
        challenge.score(images, texts, colours_split(0))


@pytest.mark.parametrize(
    ("found", "what"),
    [(None, "NoneType"), ((len, 1), "a tuple of 2"), ((len,), "a tuple of 1"), ([len, len], "list")],
)
def test_what_is_not_two_functions_is_refused(child, found, what):
    assert child.wrong(found) == f"returned {what} from train, and not two functions"
    assert child.wrong((len, len)) is None


def test_a_crash_is_one_line_and_not_a_long_one(child):
    assert child.last_line(ValueError("one\ntwo"), "my.py") == "ValueError: one"
    assert child.last_line(ValueError("one."), "my.py") == "ValueError: one"
    assert child.last_line(ValueError("x" * 999), "my.py") == "ValueError: " + "x" * 188 + " ..."


@pytest.mark.parametrize("line", [b"mine\n", b"[1]\n", b"1\n", b"\xff\n"])
def test_what_a_submission_writes_to_the_pipe_is_no_message(line):
    with pytest.raises(Refused, match="wrote to a pipe that is not its own"):
        challenge._message(line)
    assert challenge._message(b'{"done": true}\n') == {"done": True}


def test_a_file_that_is_too_large_or_too_deep_is_refused(tmp_path):
    path = tmp_path / "my.py"
    path.write_text(HEAD + "def train(task, seed): pass\nWEIGHTS = " + "1" * challenge.LARGEST, "utf-8")
    with pytest.raises(Refused, match=r"has 100,\d\d\d bytes, and 100,000 are the most"):
        challenge.described(path)
    path.write_text(HEAD + "-" * 90_000 + "1", "utf-8")
    with pytest.raises(Refused, match="is no Python: line"):
        challenge.described(path)


def test_a_pipe_in_the_place_of_embeddings_holds_up_nobody(tmp_path):
    os.mkfifo(tmp_path / "numbers-found.safetensors")
    with pytest.raises(Refused, match="left no embeddings of numbers"):
        challenge._scores(tmp_path, {"numbers": colours_split(0)})


@pytest.mark.parametrize("name", ["chance", "CLIP + MMD"])
def test_the_name_of_another_row_is_refused(small, name, monkeypatch):
    monkeypatch.setattr("test_challenge.HEAD", f'"""{name}\n\na try\n"""\n')
    assert (
        refused(small, HONEST)
        == f"Refused: my own.py: it has the name of another row, {name}: give it one of its own."
    )


def test_the_course_may_run_its_own_again():
    for path in SUBMISSIONS:
        assert challenge.described(path)[1] not in challenge._taken(path)


# --- what is scored ----------------------------------------------------------------------------------


@pytest.mark.long
def test_an_honest_submission_is_scored(small, capfd):
    small(HONEST, "--seeds", "1")
    out = capfd.readouterr().out
    for column in COLUMNS:
        assert re.search(rf"^{column} +1\.000$", out, re.M)
    assert "enters nothing" in out
    assert "much" not in out  # which goes to standard error
    assert not (small.root / "challenge" / "results.json").exists()


def test_all_seeds_make_a_line_and_the_same_name_one_line(small, monkeypatch):
    found = iter([0.5, 0.7, 0.2, 0.4])
    monkeypatch.setattr(challenge, "run_seed", lambda *_, **__: dict.fromkeys(COLUMNS, next(found)) | {"cpu": 60.2})
    for mean in ("0.600", "0.300"):
        small(HONEST)
        page = (small.root / "README.md").read_text("utf-8")
        assert re.findall(r"^\| Mine \| (\S+) .* \| 60 \| a try \|$", page, re.M) == [mean]
    assert page.startswith("# x\n")
    assert page.endswith("<!-- /challenge -->\nand on\n")
    [entry] = json.loads((small.root / "challenge" / "results.json").read_text("utf-8")).values()
    assert [run["seed"] for run in entry["runs"]] == [0, 1]


def test_a_score_counts_pictures_whose_caption_is_nearest():
    split = colours_split(0)
    right = F.one_hot(split.answers, 4).float()
    assert challenge.score(right, torch.eye(4), split) == {"seen": 1.0, "unseen": 1.0}
    assert challenge.score(right.roll(1, 1), 5 * torch.eye(4), split) == {"seen": 0.0, "unseen": 0.0}
    assert challenge.score(torch.zeros(6, 4), torch.ones(4, 4), split) == {"seen": 0.25, "unseen": 0.25}  # all tie
    long = torch.eye(4) * torch.tensor([1.0, 2, 3, 4])[:, None]  # by cosine: how long a row is says nothing
    assert challenge.score(right + 0.5, long, split) == {"seen": 1.0, "unseen": 1.0}
    among_two = split._replace(galleries={"seen": (torch.tensor([1, 2]), torch.tensor([0, 1, 0, 1, 1, 1]).bool())})
    blind_to_red = F.one_hot(split.answers, 4).float() + torch.tensor([2.0, 0, 0, 0])
    assert challenge.score(blind_to_red, torch.eye(4), among_two) == {"seen": 1.0}  # red is in no gallery


def ordered(images) -> bool:
    digests = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]
    return digests == sorted(digests)


@pytest.mark.long
def test_the_numbers_are_lesson_06s():
    split = challenge.numbers_split(0)
    assert split.train["source_images"].shape == split.train["target_images"].shape == (7800, 3, 16, 32)
    assert split.train_captions == [numbers.caption(n) for n in numbers.SEEN]
    assert ordered(split.train["target_images"])  # and not by number
    assert ordered(split.test["images"])
    pictures, shown, _ = held_out_numbers(0.6)
    assert sorted((split.answers + 10).tolist()) == shown.tolist()
    model = numbers_model(0).eval()
    with torch.no_grad():
        images = model["image"](model["features"](split.test["images"] / 255))
    texts = torch.randn(90, 64, generator=torch.Generator().manual_seed(0))
    found = challenge.score(images, texts, split)
    with torch.no_grad():
        nearest = (model["image"](model["features"](pictures)) @ F.normalize(texts, dim=1).T).argmax(dim=1) + 10
    is_seen = torch.isin(shown, torch.tensor(numbers.SEEN))
    for name, rows in (("seen", is_seen), ("unseen", ~is_seen)):  # 8 bits move a picture now and then
        assert found[name] == pytest.approx((nearest == shown)[rows].double().mean().item(), abs=0.005)


@pytest.mark.long
def test_the_emoji_are_lesson_06s():
    split, icons = challenge.emoji_split(1), emoji.load()
    seen, unseen = emoji.split(icons, seed=1)
    assert split.train_captions == [icons.names["en"][row] for row in seen]
    drawn = challenge.as_bytes(F.avg_pool2d(emoji.on_background(icons.images["noto"]), 2))
    assert torch.equal(split.test["images"], drawn[split.answers])
    assert ordered(split.test["images"])
    assert ordered(split.train["target_images"])
    assert {*split.train["target_images"].flatten(1).double().sum(dim=1).tolist()} == {
        *drawn[seen].flatten(1).double().sum(dim=1).tolist()
    }
    assert [rows.sum().item() for _, rows in split.galleries.values()] == [1071, 300]
    assert torch.equal(split.galleries["unseen"][0], unseen)
    right = F.one_hot(split.answers, len(drawn)).float()
    assert challenge.score(right, torch.eye(len(drawn)), split) == {"seen": 1.0, "unseen": 1.0}


# --- what a submission is given ----------------------------------------------------------------------


def small_task(kit, name: str):
    """Eight captions with two pictures each."""
    generator = torch.Generator().manual_seed(0)
    shape = (16, 3, 16, 32) if name == "numbers" else (16, 3, 32, 32)
    tensors = {
        "source_images": torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        "source_captions": torch.arange(16) % 8,
        "target_images": torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        "features": torch.randn(8, 384, generator=generator),
    }
    return kit.Task(name, tensors, [numbers.caption(n) for n in range(20, 28)])


@pytest.mark.parametrize("name", ["numbers", "emoji"])
def test_the_towers_are_lesson_06s(kit, name):
    task = small_task(kit, name)
    towers = kit.Towers(task, 3)
    same = numbers_model(3) if name == "numbers" else emoji_model(3, towers.source, towers.words)
    parts = ["features", "image", "text"] if name == "emoji" else ["features", "image"]  # fewer words here
    for part in parts:
        ours, theirs = towers.model[part].state_dict(), same[part].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", ["numbers", "emoji"])
def test_a_batch_has_each_caption_once_with_its_own_picture(kit, name):
    towers = kit.Towers(small_task(kit, name), 0)
    generator = torch.Generator().manual_seed(0)
    towers.pixels = False  # which leaves the pictures as they are
    images, words = towers.draw_source(generator)
    assert len(words) == 8
    place = [(towers.words == row).all(dim=1).nonzero().item() for row in words]
    assert sorted(place) == list(range(8))
    for image, caption in zip(images, place, strict=True):
        rows = (towers.source == image).flatten(1).all(dim=1).nonzero().flatten()
        assert towers.task.source_captions[rows[0]] == towers.captions[caption]
    plain, changed = towers.draw_target(generator)
    assert torch.equal(plain, changed)
    assert all((towers.target == image).flatten(1).all(dim=1).any() for image in plain)


def example() -> str:
    [code] = re.findall(r"```python\n(.*?)```", (CHALLENGE / "README.md").read_text("utf-8"), re.S)
    return code.replace("steps=300", "steps=2")


@pytest.mark.parametrize("name", ["numbers", "emoji"])
@pytest.mark.parametrize("path", [None, *SUBMISSIONS], ids=lambda path: path.stem if path else "example")
def test_the_courses_own_submissions_run(kit, path, name):
    scope = {}
    source = (
        example()
        if path is None
        else re.sub(r"(?m)^STEPS = .*$", 'STEPS = {"numbers": 2, "emoji": 2}', path.read_text())
    )
    exec(compile(source, str(path), "exec"), scope)
    task = small_task(kit, name)
    encode_images, encode_texts = scope["train"](task, 0)
    with torch.no_grad():
        rows, texts = encode_images(task.target_images), encode_texts(["twenty-one", "twenty-two"])
    assert (len(rows), len(texts), rows.shape[1]) == (16, 2, texts.shape[1])
    assert rows.isfinite().all()
    assert texts.isfinite().all()


def test_the_example_is_a_submission(tmp_path):
    (tmp_path / "my.py").write_text(example(), "utf-8")
    assert challenge.described(tmp_path / "my.py")[1:] == (
        "My method",
        "contrast on the source, with towers of the course's",
    )


# --- the table ---------------------------------------------------------------------------------------

RESULTS = json.loads((CHALLENGE / "results.json").read_text("utf-8"))


def test_the_table_is_that_of_the_stored_runs():
    page = (ROOT / "README.md").read_text("utf-8")
    assert challenge.BLOCK.search(page)[0] == f"<!-- challenge -->\n{challenge.block(RESULTS)}<!-- /challenge -->"


@pytest.mark.parametrize("path", SUBMISSIONS, ids=lambda path: path.stem)
def test_the_courses_own_rows_are_of_these_files(path):
    source, name, method = challenge.described(path)
    entry = RESULTS[name]
    assert (entry["sha256"], entry["method"]) == (hashlib.sha256(source).hexdigest(), method)
    assert [run["seed"] for run in entry["runs"]] == list(range(5))
    assert max(run["cpu"] for run in entry["runs"]) < challenge.BUDGET


def test_the_table_is_sorted_and_cut_off_at_one_and_says_only_words():
    def runs(*values):
        return [{"seed": i, "cpu": 1.0} | dict.fromkeys(COLUMNS, value) for i, value in enumerate(values)]

    entries = {"low": runs(0.1, 0.2), "<b>|`x` $a$": runs(0.9, 1.0)}
    lines = challenge.table({name: {"method": "m", "runs": found} for name, found in entries.items()}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| &lt;b&gt;\\|\\`x\\` \\$a\\$", "| low", "| chance"]
    assert report.written(report.interval([0.9, 1.0], within=(0, 1))) in lines[2]
    assert "1.000]" in lines[2]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [8] * 5
