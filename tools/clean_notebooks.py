"""Store notebooks as the repository wants them: `problems` says what is wrong with one, `clean` mends what it can.

    python tools/clean_notebooks.py [notebook ...]      all of the repository's where none is named

No outputs, no execution counts, ids that stay, and no metadata but the kernel's name: then a change of a lesson
reads as a change of that lesson, and no setting (such as nbmake's "allow_errors") can hide a failure.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST_CELL = 40
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = {"tags", "jupyter"}  # "jupyter" holds source_hidden, which folds a cell's code away


def repository_notebooks(root: Path = ROOT) -> list[Path]:
    """Every notebook that git holds or would add, or those in notebooks/ where this is no git clone."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.ipynb"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return sorted((root / "notebooks").rglob("*.ipynb"))
    return sorted(path for name in listed.split("\0") if name and (path := root / name).exists())


def serialise(notebook: dict) -> str:
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def cleaned(notebook: dict) -> dict:
    """A copy without what a run leaves behind. Ids and text stay as they are."""
    cells = []
    for cell in notebook["cells"]:
        cell = dict(cell, metadata={k: v for k, v in cell["metadata"].items() if k in CELL_METADATA})
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
        cells.append(cell)
    return dict(notebook, cells=cells, metadata=METADATA)


def clean(path: Path) -> bool:
    """Rewrite a notebook in its stored form. Returns whether anything changed."""
    before = path.read_text("utf-8")
    after = serialise(cleaned(json.loads(before)))
    if after != before:
        path.write_text(after, "utf-8")
    return after != before


def problems(path: Path) -> list[str]:
    """What keeps a notebook from being stored as it is, in words; empty for a good one."""
    from nbformat.validator import iter_validate  # here, so that sync_links.py runs where nothing is installed

    text = path.read_text("utf-8")
    try:
        notebook = json.loads(text)
        errors = list(iter_validate(notebook))  # nbformat.validate would mend ids while it looks
    except ValueError as error:
        errors = [error]
    if errors:
        return [f"is no valid notebook: {str(errors[0]).splitlines()[0]}"]
    found = []
    if (notebook["nbformat"], notebook["nbformat_minor"]) != (4, 5):
        found.append(f"is of format {notebook['nbformat']}.{notebook['nbformat_minor']}, not 4.5")
    if notebook["metadata"] != METADATA:
        found.append(f"has other metadata than {METADATA}")
    ids = [cell.get("id") for cell in notebook["cells"]]
    found += [f"uses the id {name} more than once" for name in sorted({i for i in ids if i and ids.count(i) > 1})]
    for number, cell in enumerate(notebook["cells"]):
        where = f"cell {number} ({cell.get('id')})"
        lines = len("".join(cell["source"]).splitlines())
        if lines > LONGEST_CELL and cell.get("id") != "glossary":  # which is folded, and looked up
            found.append(f"{where} has {lines} lines, more than {LONGEST_CELL}")
        if cell.get("outputs"):
            found.append(f"{where} is stored with outputs")
        if cell.get("execution_count") is not None:
            found.append(f"{where} is stored with an execution count")
        if extra := set(cell["metadata"]) - CELL_METADATA:
            found.append(f"{where} has metadata {sorted(extra)}")
    if not found and text != serialise(cleaned(notebook)):
        found.append("is not laid out as `make clean-notebooks` does it")
    return found


def main(names: list[str]) -> int:
    paths = [Path(name).expanduser() for name in names] or repository_notebooks()
    for path in paths:
        if clean(path):
            print(f"cleaned {path}")
    left = [f"{path} {problem}" for path in paths for problem in problems(path)]
    print("\n".join(left) or f"{len(paths)} notebooks are in order")
    return bool(left)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a Windows console may not know every letter of a folder's name
    sys.exit(main(sys.argv[1:]))
