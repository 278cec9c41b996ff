"""The challenge: what is refused, what is scored, and that the table is that of the stored runs."""

import hashlib
import importlib
import json
import re
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
HEAD = '"""Mine\n\na try\n"""\nCOLOURS = ' + repr(COLOURS) + "\n"
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
        ("def train(task, seed): pass", "it returned NoneType from train, and not two functions."),
    ],
    ids=["cheating", "crashing", "no functions"],
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
        ({}, -9, 60, "ended before it was done, with exit status -9"),
        ({"trained": True}, 0, 60, "ended before it was done, with exit status 0"),
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
    ],
)
def test_what_is_no_embedding_is_refused(images, texts, sentence):
    with pytest.raises(Refused, match=sentence):
        challenge.score(images, texts, colours_split(0))


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

    entries = {"low": runs(0.1, 0.2), "<b>|`x`": runs(0.9, 1.0)}
    lines = challenge.table({name: {"method": "m", "runs": found} for name, found in entries.items()}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| &lt;b&gt;\\|\\`x\\`", "| low", "| chance"]
    assert report.written(report.interval([0.9, 1.0], within=(0, 1))) in lines[2]
    assert "1.000]" in lines[2]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [8] * 5
