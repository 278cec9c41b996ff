"""Write the lessons for a class: without hints, solutions and recall answers. These lie apart, for the teacher.

    python tools/handouts.py [lesson ...]        such as 03_clip; all of them where none is named

Into handouts/: each lesson as a notebook that runs from there, with the pictures that it shows. Into
handouts/solutions/: a page of Markdown a lesson, with the task, the hints and the solution of each exercise, and the
answers to the recall questions. Both are made of notebooks/, and of nothing else.

A file that somebody has changed since it was written stays as it is, and is named. Nothing is ever removed.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import clean_notebooks
import sync_links

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xlib._files import written_whole  # noqa: E402

NOTE = ".written.json"  # {file: checksum of what was written to it}
DETAILS = re.compile(r"<details>\s*<summary>(?P<title>.*?)</summary>(?P<body>.*?)</details>\n?", re.S)
HELP = re.compile(r"exercise-.*-help")  # the cell below an exercise, with all that helps
QUESTION = re.compile(r"\d+\s?[·.] ")  # how a question begins whose answer is folded: "1 · In a batch of 8 ..."
EXERCISE = re.compile(r"^### Exercise \d", re.M)
# It would open the lesson as it is, solutions and all.
LAUNCH = re.compile(rf"\n*^{re.escape(sync_links.LAUNCH)}.*$", re.M)
ABOUT = (
    "For the teacher: what `make handouts` leaves out of the lesson, made from the lesson itself. Each exercise with "
    "its hints and its solution, then the questions to recall, with answers."
)


class Exercise(NamedTuple):
    """An exercise of a lesson: its text from the heading on, its cell, and the titles and texts of what helps."""

    task: str
    stub: str
    help: list[tuple[str, str]]


def handout(notebook: dict) -> dict:
    """A copy of a notebook without what is for the teacher; a cell of which nothing is left is gone."""
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            cells.append(cell)
            continue
        text = _source(cell)
        left = DETAILS.sub(lambda found, cell=cell: _left(cell, found), LAUNCH.sub("", text))
        if left == text:
            cells.append(cell)
        elif left.strip():
            cells.append(dict(cell, source=left.rstrip("\n").splitlines(keepends=True)))
    return dict(notebook, cells=cells)


def exercises(notebook: dict) -> list[Exercise]:
    """The exercises of a notebook, in its order. What stands between a task and its cell is part of the task."""
    found, task = [], None
    for cell in notebook["cells"]:
        text = _source(cell)
        if cell["cell_type"] == "code":
            if task is not None and "checks." in text and cell["id"].startswith("exercise-"):
                found.append(Exercise("\n\n".join(task), text, []))
                task = None
            continue
        if begin := EXERCISE.search(text):
            task = [text[begin.start() :].strip()]
        elif task is not None:
            task.append(text.strip())
        elif found:
            helps = [match for match in DETAILS.finditer(text) if is_help(cell, match["title"])]
            found[-1].help.extend((match["title"].strip(), match["body"].strip()) for match in helps)
    return found


def questions(notebook: dict) -> list[tuple[str, str]]:
    """The questions whose answers are folded, and the answers."""
    texts = [_source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    matches = [match for text in texts for match in DETAILS.finditer(text)]
    return [(match["title"].strip(), match["body"].strip()) for match in matches if QUESTION.match(match["title"])]


def solutions(notebook: dict) -> str:
    """A lesson's page for the teacher, as Markdown."""
    title = next(line for cell in notebook["cells"] for line in _source(cell).splitlines() if line.startswith("# "))
    parts = [f"{title}: solutions", ABOUT]
    for task, stub, helps in exercises(notebook):
        parts += [task.replace("### Exercise", "## Exercise", 1), f"```python\n{stub.strip()}\n```"]
        parts += [f"**{name}**\n\n{text}" for name, text in helps]
    if asked := questions(notebook):
        parts += ["## Questions", *(f"**{question}**\n\n{answer}" for question, answer in asked)]
    return "\n\n".join(parts) + "\n"


def write(names: list[str], out: Path) -> list[str]:
    """Write the handouts and solutions of these lessons into `out`. Returns what the teacher should know, a line for
    each file that was left alone. All is made before anything is written."""
    files = {}
    for name in names:
        notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
        files[f"{name}.ipynb"] = clean_notebooks.serialise(handout(notebook)).encode()
        files[f"solutions/{name}.md"] = solutions(notebook).encode()
    for path in sorted((ROOT / "notebooks" / "pictures").iterdir()):
        files[f"pictures/{path.name}"] = path.read_bytes()
    for folder in {(out / name).parent for name in files}:
        folder.mkdir(parents=True, exist_ok=True)
    note = out / NOTE
    known = json.loads(note.read_text("utf-8")) if note.exists() else {}
    said = []
    for name, content in files.items():
        path = out / name
        there = _checksum(path.read_bytes()) if path.exists() else None
        if there not in (None, known.get(name), _checksum(content)):
            said.append(f"{path} was changed by hand, and stays as it is: rename or delete it for a fresh one")
            continue
        with written_whole(path) as beside:
            beside.write_bytes(content)
        known[name] = _checksum(content)
    with written_whole(note) as beside:
        beside.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    return said


def _source(cell):
    return "".join(cell["source"])


def is_help(cell, title):
    return bool(HELP.fullmatch(cell["id"])) or re.match(r"\s*(Hint|Solution)", title) is not None


def _left(cell, details):
    """What a handout keeps of a folded text: of an answer the question, of help nothing, of anything else all."""
    if is_help(cell, details["title"]):
        return ""
    return f"{details['title'].strip()}\n\n" if QUESTION.match(details["title"]) else details[0]


def _checksum(content):
    return hashlib.sha256(content).hexdigest()


def named(arguments: list[str], about: str, root: Path = ROOT) -> list[str]:
    """The lessons that a command names, all of them where it names none; SystemExit for one that is not there."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("lessons", nargs="*", help="such as 03_clip; all of them where none is named")
    chosen = parser.parse_args(arguments).lessons
    there = [path.stem for path in sorted((root / "notebooks").glob("*.ipynb"))]
    if unknown := set(chosen) - set(there):
        sys.exit(f"no such lesson: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    return chosen or there


def main(arguments: list[str]) -> None:
    names = named(arguments, "Write the lessons for a class, and their solutions apart.")
    out = ROOT / "handouts"
    for line in write(names, out):
        print(line)
    print(f"wrote {out}, and the solutions into {out / 'solutions'}")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a Windows console may not know every letter of a folder's name
    main(sys.argv[1:])
