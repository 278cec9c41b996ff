"""Train a submission to the challenge in a clean process, score it, and write its line. See `make challenge`.

    python tools/challenge.py my.py [--seeds 1]

Five seeds make a line of the table in README.md and in challenge/results.json; fewer are a quick try, and enter
nothing. A submission that breaks a rule of challenge/README.md is refused with a sentence, and exit status 1.
"""

import argparse
import ast
import contextlib
import hashlib
import html
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from xlib._files import written_whole
from xlib.course import report
from xlib.data import emoji, numbers, text
from xlib.experiments.emoji import EMOJI_SIDE
from xlib.experiments.numbers import held_out_numbers
from xlib.progress import tqdm
from xlib.retrieval import hits

ROOT = Path(__file__).resolve().parent.parent
CHALLENGE = ROOT / "challenge"
BUDGET = 120  # CPU-seconds for one seed, both tasks, from the first line of Python to the last
PATIENCE = 10  # times as long by the clock, on a machine that does other things as well
SEEDS = range(5)
STRENGTH = 0.6  # of the photographs under the numbers
LARGEST = 100_000  # bytes of a submission: weights trained elsewhere do not come along
EACH = 100  # pictures of each number to train on
COLUMNS = ("numbers seen", "numbers unseen", "emoji seen", "emoji unseen")
CHANCE = {"numbers seen": 1 / 90, "numbers unseen": 1 / 90, "emoji seen": 1 / 1071, "emoji unseen": 1 / 300}
# Loaded before the guard stands: what a submission may use.
MODULES = ("torch._dynamo", "xlib.experiments.adapt", "xlib.mmd", "xlib.space", "xlib.retrieval", "xlib.scale")
MODULES += ("xlib.clip", "xlib.bridge")


class Refused(Exception):
    """Why a submission gets no line, as the end of a sentence that begins with "it"."""


# --- the splits --------------------------------------------------------------------------------------


class Split(NamedTuple):
    """A task with one seed. The child gets train, test and their captions; answers and galleries stay here.

    train: source_images (N, 3, H, W) uint8, source_captions (N,) rows of train_captions, target_images (M, 3, H, W)
    uint8, features (C, 384). test: images (T, 3, H, W) uint8, features (A, 384). answers (T,): rows of test_captions.
    galleries: for "seen" and "unseen" the rows of test_captions that are compared with, and which pictures (T,) bool.
    """

    train: dict[str, Tensor]
    train_captions: list[str]
    test: dict[str, Tensor]
    test_captions: list[str]
    answers: Tensor
    galleries: dict[str, tuple[Tensor, Tensor]]


def as_bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def by_content(images: Tensor) -> Tensor:
    """The order of the pictures' SHA-256, which says nothing about what they show, and is the same each time."""
    digests = [hashlib.sha256(image.numpy().tobytes()).digest() for image in images]
    return torch.tensor(sorted(range(len(images)), key=digests.__getitem__))


def numbers_split(seed: int) -> Split:
    """Lesson 06's captioned numbers: clean → on photographs at .6. 78 numbers to train on, 12 are new; all of the
    lesson's held-out pictures, each among all 90 captions."""
    generator = torch.Generator().manual_seed(seed)
    shown = torch.tensor(numbers.SEEN).repeat_interleave(EACH)
    source = as_bytes(numbers.load("train").draw(shown, generator=generator))
    target = as_bytes(numbers.load("train", strength=STRENGTH).draw(shown, generator=generator))
    tested, answers, _ = held_out_numbers(STRENGTH)
    tested = as_bytes(tested)
    order, test_order = by_content(target), by_content(tested)
    answers = answers[test_order] - 10
    captions = [numbers.caption(number) for number in numbers.NUMBERS]
    features = text.minilm_features(captions)
    seen = torch.tensor(numbers.SEEN) - 10
    is_seen = torch.isin(answers, seen)
    train = {"source_images": source, "source_captions": torch.arange(len(seen)).repeat_interleave(EACH)}
    return Split(
        train=train | {"target_images": target[order], "features": features[seen]},
        train_captions=[captions[row] for row in seen],
        test={"images": tested[test_order], "features": features},
        test_captions=captions,
        answers=answers,
        galleries={"seen": (torch.arange(90), is_seen), "unseen": (torch.arange(90), ~is_seen)},
    )


def emoji_split(seed: int) -> Split:
    """Lesson 06's emoji: in colour by two artists → in black and white by a third. 300 of other concepts, others with
    each seed, are new; a picture is compared with the names of its own split."""
    icons = emoji.load(("openmoji", "twemoji", "noto"))
    drawn = {
        style: as_bytes(F.avg_pool2d(emoji.on_background(rgba), rgba.shape[-1] // EMOJI_SIDE))
        for style, rgba in icons.images.items()
    }
    seen, unseen = emoji.split(icons, seed=seed)
    names = icons.names["en"]
    features = text.minilm_features(names)
    target = drawn["noto"][seen]
    answers = by_content(drawn["noto"])
    is_seen = torch.isin(answers, seen)
    train = {
        "source_images": torch.cat([drawn["openmoji"][seen], drawn["twemoji"][seen]]),
        "source_captions": torch.arange(len(seen)).repeat(2),
    }
    return Split(
        train=train | {"target_images": target[by_content(target)], "features": features[seen]},
        train_captions=[names[row] for row in seen],
        test={"images": drawn["noto"][answers], "features": features},
        test_captions=names,
        answers=answers,
        galleries={"seen": (seen, is_seen), "unseen": (unseen, ~is_seen)},
    )


SPLITS: dict[str, Callable[[int], Split]] = {"numbers": numbers_split, "emoji": emoji_split}


def score(images: Tensor, texts: Tensor, split: Split) -> dict[str, float]:
    """R@1 by cosine, of the pictures of seen and of new captions. images (T, d), texts (A, d). Raises Refused."""
    for name, rows, wanted in (("images", images, len(split.answers)), ("texts", texts, len(split.test_captions))):
        if rows.ndim != 2 or len(rows) != wanted or rows.shape[1] != images.shape[-1] or not rows.shape[1]:
            raise Refused(
                f"returned {name} of shape {tuple(rows.shape)}: the shape must be ({wanted}, d), "
                "with one d for images and texts"
            )
        if rows.dtype != torch.float32 or not rows.isfinite().all():
            raise Refused(f"returned {name} that are not finite numbers")
    images, texts = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    found = {}
    for name, (gallery, rows) in split.galleries.items():
        place = torch.full((len(texts),), -1)
        place[gallery] = torch.arange(len(gallery))
        right = hits(images[rows], texts[gallery], k=(1,), targets=place[split.answers[rows]])
        found[name] = right.mean().item()
    return found


# --- one seed ----------------------------------------------------------------------------------------


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's own."""
    ours = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TQDM_DISABLE"), "1")
    ours |= dict.fromkeys(("HOME", "TMPDIR"), str(folder))
    return ours | {
        "CUDA_VISIBLE_DEVICES": "",  # CPU-seconds say nothing of what a GPU does
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }


def run_seed(
    source: bytes,
    seed: int,
    splits: dict[str, Split],
    *,
    budget: int = BUDGET,
    patience: float | None = None,
    modules: tuple[str, ...] = MODULES,
) -> dict[str, float]:
    """Train and test a submission in a process of its own. budget: CPU-seconds. patience: seconds by the clock.
    Returns R@1 by COLUMNS and "cpu". Raises Refused."""
    patience = PATIENCE * budget if patience is None else patience
    with tempfile.TemporaryDirectory(prefix="xlib-challenge-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        (folder / "submission.py").write_bytes(source)
        for task, split in splits.items():
            _hand_over(split.train, split.train_captions, folder / f"{task}-train.safetensors")
        command = [sys.executable, str(CHALLENGE / "child.py"), str(folder), str(seed), str(budget), *modules]
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        over = threading.Event()

        def stop() -> None:
            over.set()
            _kill(child.pid)

        clock = threading.Timer(patience, stop)
        clock.start()
        messages = {}
        try:
            for line in child.stdout:
                messages |= _message(line)
                if "trained" in messages and "done" not in messages:
                    for task, split in splits.items():
                        _hand_over(split.test, split.test_captions, folder / f"{task}-test.safetensors")
                    with contextlib.suppress(BrokenPipeError):  # it has ended
                        child.stdin.write(b"\n")
            _, status, used = os.wait4(child.pid, 0)
        finally:
            clock.cancel()
            _kill(child.pid)
            child.stdin.close()
            child.stdout.close()
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime
        _check_end(messages, child.returncode, cpu, budget, patience, over.is_set())
        return _scores(folder, splits) | {"cpu": round(cpu, 1)}


def _hand_over(tensors: dict[str, Tensor], captions: list[str], path: Path) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"captions": json.dumps(captions)}
    )


def _message(line: bytes) -> dict:
    """What child.py tells. Raises Refused where a submission has found the pipe, and writes to it."""
    try:
        return {**json.loads(line)}
    except (ValueError, TypeError):
        raise Refused("wrote to a pipe that is not its own") from None


def _kill(group: int) -> None:
    """The child and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the second on macOS, where it has ended
        os.killpg(group, signal.SIGKILL)


def _check_end(messages: dict, code: int, cpu: float, budget: int, patience: float, over: bool) -> None:
    """Raise Refused unless the child did all of it, in time."""
    if "refused" in messages:
        raise Refused(messages["refused"])
    if over:
        raise Refused(f"was not done after {patience:.0f} s by the clock")
    if cpu > budget or (code in (-signal.SIGKILL, -signal.SIGXCPU) and cpu > budget - 1):
        raise Refused(f"ran over its {budget} CPU-seconds")
    if "crashed" in messages:
        raise Refused(f"crashed: {messages['crashed']}")
    if code < 0:
        raise Refused(f"was ended by signal {-code} (9 may mean that the memory was full)")
    if "done" not in messages:
        raise Refused(f"ended before it was done, with exit status {code}")


def _scores(folder: Path, splits: dict[str, Split]) -> dict[str, float]:
    result = {}
    for task, split in splits.items():
        path = folder / f"{task}-found.safetensors"
        try:
            found = load_file(path) if path.is_file() else {}
            scores = score(found["images"], found["texts"], split)
        except (OSError, KeyError, SafetensorError):
            raise Refused(f"left no embeddings of {task}") from None
        result |= {f"{task} {name}": round(value, 4) for name, value in scores.items()}
    return result


# --- the table ---------------------------------------------------------------------------------------


def described(path: Path) -> tuple[bytes, str, str]:
    """A submission's source, and by its docstring its name and its method in few words. It is not run. Raises
    Refused."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from None
    if len(source) > LARGEST:
        raise Refused(f"has {len(source):,} bytes, and {LARGEST:,} are the most")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(
            f"is no Python: line {getattr(error, 'lineno', '?')}: {(error.args or ['too deep'])[0]}"
        ) from None
    name, _, method = (ast.get_docstring(tree) or "").partition("\n")
    name, method = name.strip(), " ".join(method.split())
    if not 1 <= len(name) <= 40 or not 1 <= len(method) <= 200 or not (name + method).isprintable():
        raise Refused(
            "must begin with a docstring: a line with its name, of 40 characters at most, an empty line, and the "
            "method in few words, 200 characters at most"
        )
    if not any(isinstance(node, ast.FunctionDef) and node.name == "train" for node in tree.body):
        raise Refused("has no function train(task, seed)")
    return source, name, method


def _taken(path: Path) -> set[str]:
    """Names of the course's own rows, which no other file replaces."""
    others = [own for own in (CHALLENGE / "submissions").glob("*.py") if own.resolve() != path.resolve()]
    return {"chance", *(described(own)[1] for own in others)}


def table(entries: dict[str, dict]) -> str:
    """The table in Markdown: by the mean of the four scores, the highest first, and chance at the end."""
    rows = {}
    for name, entry in entries.items():
        found = [report.interval([row[column] for row in entry["runs"]], within=(0, 1)) for column in COLUMNS]
        cpu = sum(row["cpu"] for row in entry["runs"]) / len(entry["runs"])
        cells = [_cell(name), *map(report.written, found), f"{cpu:.0f}", _cell(entry["method"])]
        rows[name] = sum(one.mean for one in found), cells
    ranked = [cells for _, cells in sorted(rows.values(), key=lambda row: -row[0])]
    ranked.append(["chance", *(f"{CHANCE[column]:.3f}" for column in COLUMNS), "", ""])
    heading = ["submission", *COLUMNS, "CPU s", "in few words"]
    lines = [heading, ["---", *["---:"] * 5, "---"], *ranked]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(words: str) -> str:
    """Plain words in a cell of a table in Markdown."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(words, quote=False))


BLOCK = re.compile(r"(<!-- challenge -->\n).*?(<!-- /challenge -->)", re.S)


def block(entries: dict[str, dict]) -> str:
    """What stands between the marks in README.md."""
    return f"""
**A challenge.** Do better than the course: one Python file with one function, {BUDGET} CPU-seconds a seed, captions
in one domain and none in the other. `make challenge SUBMISSION=my.py` trains it with five seeds, each in a clean
process, and writes its line here; [challenge/README.md](challenge/README.md) has the rules and an example. R@1 on the
target, with 95% intervals over five seeds, sorted by the mean of the four:

{table(entries)}

"""


def enter(name: str, method: str, source: bytes, runs: list[dict], *, root: Path = ROOT) -> None:
    """Write a submission's line into results.json and README.md, in place of the one of the same name."""
    path, readme = root / "challenge" / "results.json", root / "README.md"
    entries = json.loads(path.read_text("utf-8")) if path.exists() else {}
    versions = {"python": platform.python_version(), "torch": torch.__version__.partition("+")[0]}
    digest = hashlib.sha256(source).hexdigest()
    entries[name] = {"method": method, "sha256": digest, "versions": versions, "runs": runs}
    page = readme.read_text("utf-8")
    if not BLOCK.search(page):
        raise ValueError(f"{readme} has lost its marks <!-- challenge --> and <!-- /challenge -->")
    page = BLOCK.sub(lambda found: found[1] + block(entries) + found[2], page)
    for file, words in ((path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n"), (readme, page)):
        with written_whole(file) as beside:
            beside.write_text(words, "utf-8")
            if file.exists():
                shutil.copymode(file, beside)


def main(arguments: list[str] | None = None, *, root: Path = ROOT, **options) -> None:
    """options: of `run_seed`, for the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submission", type=Path, help="a Python file with a function train(task, seed)")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="fewer than 5 are a quick try, for no table")
    asked = parser.parse_args(arguments)
    if not 1 <= asked.seeds <= len(SEEDS):
        parser.error(f"--seeds must be from 1 to {len(SEEDS)}, got {asked.seeds}")
    if sys.platform == "win32":
        sys.exit("The challenge needs Linux or macOS, whose limits of CPU time hold the budget.")
    if str(asked.submission) in ("", "."):
        parser.error("name a file: make challenge SUBMISSION=my.py")
    where = ""
    try:
        source, name, method = described(asked.submission)
        if name in _taken(asked.submission):
            raise Refused(f"has the name of another row, {name}: give it one of its own")
        runs = []
        for seed in tqdm(SEEDS[: asked.seeds], desc=name, unit="seed", leave=False):
            where = f", seed {seed}"
            splits = {task: make(seed) for task, make in SPLITS.items()}
            runs.append({"seed": seed, **run_seed(source, seed, splits, **options)})
    except Refused as reason:
        sys.exit(f"Refused: {asked.submission.name}{where}: it {reason}.")
    if len(runs) == len(SEEDS):
        enter(name, method, source, runs, root=root)
    for column in (*COLUMNS, "cpu"):
        print(f"{column:15}", *(f"{row[column]:8.3f}" for row in runs))
    print(
        "Its line stands in README.md."
        if len(runs) == len(SEEDS)
        else "A try with fewer than 5 seeds enters nothing."
    )


if __name__ == "__main__":
    main()
