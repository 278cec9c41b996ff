"""What a teacher makes of the files that `hand_in` wrote: a table. `python -m xlib.course.checks collect folder/`"""

import argparse
import csv
import sys
from pathlib import Path
from typing import NamedTuple

from xlib._files import written_whole
from xlib.course import report
from xlib.course.checks.records import LESSONS, NAME, Newer, digest, entries_of, parsed, version

KEYS = {"about", "format", "course", "exercises", "sha256"}
ARCHIVES = {".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".xz", ".bz2"}
LARGEST = 2**20  # bytes; a hand-in of all lessons has about 5,000


class HandedIn(NamedTuple):
    """A file: its path in the folder without ".json"; its exercises, None where they cannot be used; and sentences on
    what the teacher should know of it."""

    name: str
    exercises: dict[str, dict] | None
    says: list[str]


def collect(folder: str | Path) -> list[HandedIn]:
    """Read every .json file in a folder and in those below it, hidden ones aside, in the order of their names. Only
    records are read: no answer is run. An archive, such as a .zip, is named and not opened.

    Raises NotADirectoryError where there is no such folder.
    Example:
        >>> collect("no_such_folder")
        Traceback (most recent call last):
        NotADirectoryError: no_such_folder is no folder
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{shown(str(folder))} is no folder")
    found, by_content = [], {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or path.is_dir():
            continue
        if path.suffix.lower() in ARCHIVES:
            says = ["It is an archive, and was not opened: unpack it here, and collect again."]
            found.append(HandedIn(shown(inside.as_posix()), None, says))
        if path.suffix.lower() != ".json":
            continue
        one = HandedIn(shown(inside.with_suffix("").as_posix()), None, [])
        try:
            content = _content(path)
            one = one._replace(exercises=entries_of(content))
            by_content.setdefault(content["sha256"], []).append(one)
            one.says.extend(_remarks(content))
        except OSError as error:
            one.says.append(f"It cannot be read: {error.strerror or error}.")
        except ValueError as error:
            one.says.append(f"{error}.")
        found.append(one)
    for same in by_content.values():
        for one in same:
            if others := [other.name for other in same if other is not one]:
                one.says.append(f"It holds the same as {', '.join(others)}, to the minute: a copy?")
    return found


def _content(path: Path) -> dict:
    """What a hand-in holds. Raises ValueError, as the beginning of a sentence, where it is none or was changed."""
    if not path.is_file():
        raise ValueError("It is no file")
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError("It has more than 1 MB, which no hand-in has; it was not read")
    try:
        content = parsed(text)
        entries_of(content)
    except Newer as newer:
        raise ValueError(f"It cannot be used: {newer}, and collect again") from None
    except ValueError as damage:
        raise ValueError(f"It is damaged, or no hand-in: {damage}") from None
    if "sha256" not in content:
        raise ValueError(f"It has no checksum. Is it {NAME} itself? Ask for the file that checks.hand_in() writes")
    if content.keys() != KEYS or not isinstance(content["about"], str) or not isinstance(content["course"], str):
        raise ValueError("It is damaged, or no hand-in: not as checks.hand_in() writes it")
    if content["sha256"] != digest(content):
        raise ValueError(
            "It was damaged or edited after it was written, for its checksum does not fit; it is left out"
        )
    return content


def _remarks(content: dict) -> list[str]:
    says = []
    if content["course"] != version():
        says.append(f"It comes from version {shown(content['course'][:60])} of the course, and this is {version()}.")
    if unknown := [exercise for exercise in content["exercises"] if exercise not in _ours()]:
        says.append(f"Exercises that this version does not know: {', '.join(unknown)}.")
    return says


def _ours() -> set[str]:
    return {exercise for exercises in LESSONS.values() for exercise in exercises}


def shown(text: str) -> str:
    """Text that came from outside, on one line: what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def rows(found: list[HandedIn]) -> list[dict[str, str]]:
    """For a table: a row for each file that can be used, and for each lesson how many exercises are solved of all.

    Example:
        >>> entry = {"solved": "2026-01-31T12:00Z", "tries": 2, "course": "0.1.0"}
        >>> [row] = rows([HandedIn("Ada", {"clip_loss": entry}, [])])
        >>> row["learner"], row["03"]
        ('Ada', '1/4')
    """
    table = []
    for one in found:
        if one.exercises is not None:
            done = {exercise for exercise, entry in one.exercises.items() if entry["solved"]}
            solved = {name[:2]: f"{len(done & {*lesson})}/{len(lesson)}" for name, lesson in LESSONS.items()}
            table.append({"learner": one.name} | solved)
    return table


def write_csv(path: str | Path, found: list[HandedIn]) -> None:
    """A row for each file that can be used, and a column for each exercise: solved, tried (how often) or open. Those
    that this version of the course does not know stand at the end, marked."""
    used = [one for one in found if one.exercises is not None]
    unknown = sorted({exercise for one in used for exercise in one.exercises} - _ours())
    columns = {exercise: f"{name[:2]} {exercise}" for name, lesson in LESSONS.items() for exercise in lesson}
    columns |= {exercise: f"unknown: {exercise}" for exercise in unknown}
    lines = [["learner", *columns.values(), "remarks"]]
    for one in used:
        lines.append([one.name, *(_state(one.exercises.get(exercise)) for exercise in columns), " ".join(one.says)])
    with (
        written_whole(path) as beside,
        beside.open("w", newline="", encoding="utf-8-sig") as file,
    ):  # as Excel wants it
        csv.writer(file).writerows([[_harmless(cell) for cell in line] for line in lines])


def _state(entry: dict | None) -> str:
    return "open" if not entry else "solved" if entry["solved"] else f"tried ({entry['tries']})"


def _harmless(cell: str) -> str:
    """A spreadsheet takes what begins so for a formula, and runs it."""
    return f"'{cell}" if cell.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20")) else cell  # wide ones as well


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns 0, or 1 where there is no folder or no file in it that can be used."""
    parser = argparse.ArgumentParser(
        prog="python -m xlib.course.checks", description="Records of the exercise checks, for teachers."
    )
    command = parser.add_subparsers(required=True, metavar="collect").add_parser(
        "collect", help="a table of the files that checks.hand_in() wrote, a row for each"
    )
    command.add_argument("folder", type=Path, help="where the files are; folders in it are looked through as well")
    command.add_argument("--csv", metavar="table.csv", type=Path, help="write a column for each exercise, too")
    given = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a name may hold letters that a terminal lacks
    try:
        found = collect(given.folder)
        if table := rows(found):
            report.table(table)
        for one in found:
            for sentence in one.says:
                print(f"{one.name}: {sentence}")
        if not table:
            raise FileNotFoundError(f"{shown(str(given.folder))} holds no file of checks.hand_in() that can be used")
        if given.csv:
            write_csv(given.csv, found)
            print(f"{shown(str(given.csv))} is written.")
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print("This is read from the records alone: no answer was run for it, nor run again.")
    return 0
