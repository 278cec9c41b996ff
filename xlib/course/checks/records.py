"""What is solved and what was tried: the record that the checks keep beside the notebook.

It says of each exercise how many answers a check has seen, when one first passed (UTC, to the minute), and which
version of the course said so. It holds no name, no code and no guess, and nothing is sent anywhere. A stub writes
nothing. Only a notebook's kernel keeps a record; scripts and tests do not.
"""

import contextlib
import hashlib
import html
import importlib.metadata
import json
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock
from IPython import get_ipython

from xlib._files import written_whole
from xlib.course import report

# Each lesson's exercises in their order: the name of the check, and the title in the lesson.
LESSONS = {
    "01_shared_space": {
        "without_bonus": "Take the bonus away",
        "fixed_similarity": "Find three bugs",
        "kept_neighbours": "How many neighbours does a map keep?",
        "uniformity_gradient": "Who pushes whom?",
    },
    "02_infonce": {
        "gradient_za": "A derivation: the gradient of the whole batch",
        "effective_negatives": "The effective number of negatives",
        "least_scale": "How large must the scale be?",
        "siglip_block": "SigLIP, one block at a time",
        "mended_loss": "Find three bugs",
    },
    "03_clip": {
        "clip_loss": "The other question",
        "recall_at_k": "Recall, and the model that answers the same to everything",
        "zero_shot_classifier": "A classifier out of words",
        "fixed_loss": "Find three bugs",
    },
    "04_mmd": {
        "mmd_unbiased": "The unbiased estimate, from nothing",
        "expected_biased": 'What does "nothing" look like?',
        "fixed_p_value": "Mend a p-value",
        "push_and_pull": "Push and pull",
    },
    "05_dann": {
        "feature_gradient": "The gradient that arrives",
        "a_distance": "From a probe's answers to a distance",
        "fixed_domain_loss": "Two bugs in a domain loss",
        "least_error": "Other class shares in the target",
    },
    "06_combined": {
        "fixed_combined": "Three bugs in a combined loss",
        "gap_closed": "How much of the gap?",
        "self_training_loss": "Learn from your own guesses",
        "chosen_gain": "What did looking add?",
        "mean_gap_and_recall": "Predict, then explain",
    },
    "07_scaling": {
        "largest_batch": "What fits?",
        "row_log_sums": "Log-sums without the table",
        "cached_gradient": "Gradient caching",
        "share_of_loss": "Each process its share",
    },
    "08_sound": {
        "cosine_range": "What two cosines say about the third",
        "detour": "Through the captions",
        "relative": "Told by anchors",
        "tent_parameters": "What may adapt?",
    },
    "09_your_own": {
        "rows_for_test": "Whole groups",
        "loss_with_repeats": "A loss for captions that repeat",
        "onto_source": "Onto the source's mean and spread",
    },
}

NAME, FORMAT = "solved_exercises.json", 1
ABOUT = "Which exercises of the xlib course were solved and tried. No name, no code. `checks.hand_in()` hands it in."
UNKEPT: dict[str, dict] = {}  # what this session could not write
ELSEWHERE = "Copy the lesson into a folder that you may write to, and work there."
TIME = "%Y-%m-%dT%H:%MZ"


# -- keeping


def keep(exercise: str, *, solved: bool) -> str:
    """Add one answer to the record, in a notebook's kernel. Returns what the learner should be told, mostly nothing.
    Whatever is wrong with the folder or the file, the check goes on, and its result stands in `UNKEPT`."""
    if not hasattr(get_ipython(), "kernel"):
        return ""
    path, said = _path(), ""
    try:
        with _alone(path):
            try:
                entries = _and_unkept(_read(path))
            except ValueError as damage:
                entries = _and_unkept({})
                said = f"{NAME} cannot be read ({damage}). It is now {_set_aside(path)}, and a new record begins."
            entries[exercise] = _after(entries.get(exercise), solved)
            with written_whole(path) as beside:
                content = {"about": ABOUT, "format": FORMAT, "exercises": entries}
                beside.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        UNKEPT.clear()
        return said
    except OSError as error:
        first = not UNKEPT
        UNKEPT[exercise] = _after(_known().get(exercise), solved)
        why = error.strerror or error
        said = (
            f"No record is kept of what you solve: {NAME} cannot be written beside the notebook ({why}). {ELSEWHERE}"
        )
        return said * first


def solved() -> set[str]:
    """The exercises that the record has as solved."""
    return {exercise for exercise, entry in _known().items() if entry["solved"]}


def _path() -> Path:
    """Where the kernel was started, which is the notebook's folder, wherever a lesson has gone since by os.chdir."""
    return Path(getattr(get_ipython(), "starting_dir", ""), NAME)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other notebook of this folder changes the record meanwhile."""
    # The lock is not in the folder, which may be on a file system that knows no locks.
    key = hashlib.sha256(os.path.realpath(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"xlib-record-{key}.lock")
    with contextlib.suppress(OSError, NotImplementedError):  # another user's lock, or one that hangs: do without
        lock.acquire(timeout=5)
    try:
        yield
    finally:
        lock.release()


def _read(path: Path) -> dict[str, dict]:
    """The record's entries, none where there is no record. Raises ValueError where it is damaged."""
    try:
        return entries_of(parsed(path.read_bytes()))
    except FileNotFoundError:
        return {}


def _known() -> dict[str, dict]:
    """The record as far as it can be read, and what this session could not add to it."""
    try:
        return _and_unkept(_read(_path()))
    except (OSError, ValueError):
        return _and_unkept({})


def _and_unkept(entries: dict[str, dict]) -> dict[str, dict]:
    solved = {exercise: entry for exercise, entry in entries.items() if entry["solved"]}
    return entries | UNKEPT | solved


def _after(entry: dict | None, solved: bool) -> dict:
    """An exercise's entry after one more answer. What is solved stays solved."""
    first, tries = (entry["solved"], entry["tries"]) if entry else (None, 0)
    now = datetime.now(timezone.utc).strftime(TIME) if solved else None
    return {"solved": first or now, "tries": tries + 1, "course": entry["course"] if first else version()}


def _set_aside(path: Path) -> str:
    """Give a damaged record another name, which is returned."""
    aside, n = path.with_suffix(".damaged.json"), 1
    while aside.exists():
        n += 1
        aside = path.with_suffix(f".damaged-{n}.json")
    return path.rename(aside).name


def version() -> str:
    """The version of the course."""
    try:
        return importlib.metadata.version("xlib-course")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


# -- reading what may be damaged, or written by others


class Newer(ValueError):
    """A later version of the course wrote it."""


def parsed(text: bytes) -> dict:
    """The JSON object in a file. Raises ValueError, in words for the reader, where there is none."""
    try:
        content = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("no text in UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    return content


def entries_of(content: dict) -> dict[str, dict]:
    """The exercises in a record or a hand-in. Raises ValueError where an entry is not as `keep` writes it, and Newer
    where a later version of the course may know it."""
    if type(content.get("format")) is int and content["format"] > FORMAT:
        raise Newer("a newer version of the course wrote it: update this one")
    if content.get("format") != FORMAT or not isinstance(content.get("exercises"), dict):
        raise ValueError(f"no record of exercises in format {FORMAT}")
    for exercise, entry in content["exercises"].items():
        if not re.fullmatch(r"\w{1,60}", exercise) or not _is_entry(entry):
            raise ValueError(f"the entry of {exercise[:60]!a} is not as the checks write it")
    return content["exercises"]


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"solved", "tries", "course"}:
        return False
    solved, tries, course = entry["solved"], entry["tries"], entry["course"]
    fine = type(tries) is int and 0 < tries < 10**9 and isinstance(course, str) and len(course) < 60
    return fine and (solved is None or (isinstance(solved, str) and _is_time(solved)))


def _is_time(text: str) -> bool:
    try:
        return datetime.strptime(text, TIME).strftime(TIME) == text
    except ValueError:
        return False


def digest(content: dict) -> str:
    """SHA-256 over what a hand-in holds besides it, however it is laid out."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# -- showing, and handing in


def progress(lesson: str) -> None:
    """Display what the record says of a lesson's exercises: solved, tried or open, now and on earlier days.

    lesson: the notebook's name, such as "03_clip". Raises ValueError for any other.
    Example:
        >>> progress("05_dann")
        exercise                                  state   first solved
        ----------------------------------------  ------  ------------
        1 · The gradient that arrives             · open
        2 · From a probe's answers to a distance  · open
        ...
    """
    if lesson not in LESSONS:
        raise ValueError(f"lesson must be one of {', '.join(map(repr, LESSONS))}, got {lesson!r}")
    known, rows = _known(), []
    for number, (exercise, title) in enumerate(LESSONS[lesson].items(), start=1):
        entry = known.get(exercise)
        rows.append({"exercise": f"{number} · {title}", "state": _state(entry), "first solved": _day(entry)})
    report.table(rows)
    kept = f"What you solve is kept in {NAME} beside the notebook, without your name and code."
    if UNKEPT:
        kept = f"{NAME} cannot be written here, so this is forgotten when the kernel stops."
    kept = _damage() or kept
    text = f"{kept} To hand it in, run `checks.hand_in()` in a cell of its own."
    page = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))
    report.output(text, f"<p>{page}</p>")


def _state(entry: dict | None) -> str:
    if not entry:
        return "· open"
    return "✓ solved" if entry["solved"] else f"✗ tried ({entry['tries']})"


def _day(entry: dict | None) -> str | None:
    return entry["solved"][:10] if entry and entry["solved"] else None


def _damage() -> str:
    """A sentence on a damaged record."""
    with contextlib.suppress(OSError):
        try:
            _read(_path())
        except ValueError as damage:
            return f"{NAME} cannot be read ({damage}); the next check sets it aside and begins a new one."
    return ""


def hand_in() -> None:
    """Write the record to one file for your teacher, `hand_in_<8 hex digits>.json` beside the notebook; print its
    name, and what is in it.

    The digits come from the content: the same record makes the same file, another one a new file, and earlier ones
    stay. The file holds a SHA-256 of its content. With it `python -m xlib.course.checks collect` notices a file that
    was damaged or edited. It is no proof of who solved what: no secret is in it, so whoever reads this code can make
    a file that fits. Where nothing was tried yet, the record cannot be read or the file not be written, a line says
    so, and nothing is written.

    Example:
        >>> hand_in()
        Nothing to hand in yet: no check has seen an answer in this folder. Nothing was written.
    """
    path = _path()
    if damage := _damage():
        return print(f"{damage} Nothing was written.")
    try:
        entries = _and_unkept(_read(path))
    except OSError as error:
        return print(f"{NAME} cannot be read ({error.strerror or error}). Nothing was written.")
    if not entries:
        return print("Nothing to hand in yet: no check has seen an answer in this folder. Nothing was written.")
    content = {"about": ABOUT, "format": FORMAT, "course": version(), "exercises": entries}
    content["sha256"] = digest(content)
    file = path.with_name(f"hand_in_{content['sha256'][:8]}.json")
    try:
        with written_whole(file) as beside:
            beside.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    except OSError as error:
        why = error.strerror or error
        return print(f"{file.name} cannot be written beside the notebook ({why}). {ELSEWHERE} Nothing was written.")
    done = sum(bool(entry["solved"]) for entry in entries.values())
    print(
        f"{file.name} is written beside this notebook: {done} solved, {len(entries) - done} tried.\n"
        "In it: of each exercise how often you tried, when you first solved it, and which version of the course\n"
        "said so; a checksum, which shows damage and proves nothing. Not in it: your name, your code, your guesses.\n"
        "Rename it as your class does, and send it."
    )
