"""Handouts: what is for the teacher is gone from a lesson, everything else is there, and the solutions are whole."""

import json
import re
from difflib import SequenceMatcher

import handouts
import nbformat
import pytest
from lessons import DETAILS, FENCE, NOTEBOOKS, lesson
from nbclient import NotebookClient

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handouts")
    assert handouts.write(NAMES, folder) == []
    return folder


def cells(path):
    return nbformat.read(path, as_version=4).cells


def both(name, out):
    """The cells of a lesson and of its handout, by id."""
    return [{cell.id: cell for cell in cells(folder / f"{name}.ipynb")} for folder in (NOTEBOOKS, out)]


def words(text):
    return " ".join(text.split())


def helps(name):
    """Title and text of all that stands folded below exercises, and of what answers a numbered question."""
    for cell in cells(NOTEBOOKS / f"{name}.ipynb"):
        for found in DETAILS.finditer(cell.source if cell.cell_type == "markdown" else ""):
            title = found["title"].strip()
            if re.match(r"Hint|Solution|\d+ ?[·.]", title) or cell.id.endswith("-help"):
                yield title, found["body"]


@pytest.mark.parametrize("name", NAMES)
def test_no_hint_no_solution_and_no_answer_is_left(name, out):
    lesson_, handout = ("\n".join(cell.source for cell in found.values()) for found in both(name, out))
    taken = "\n".join(body for _, body in helps(name))
    lines = {line.strip() for line in taken.splitlines() if len(line.strip()) > 12}
    assert len(lines) >= 5
    for line in lines:  # a line of a solution may stand in a cell of the lesson as well
        assert handout.count(line) == lesson_.count(line) - taken.count(line), line
    for code in (fence for _, body in helps(name) for fence in FENCE.findall(body)):
        assert words(code) not in words(handout)
    assert not re.search(r"<summary>\s*(Hint|Solution|\d+ ?[·.])", handout)


def alike(line, other):
    compared = SequenceMatcher(None, line, other)
    return compared.quick_ratio() > 0.8 and compared.ratio() > 0.8  # the first is an upper bound, and soon found


@pytest.mark.parametrize("name", NAMES)
def test_no_code_of_a_handout_is_a_solution_in_other_words(name, out):
    """Nearly each line of a solution, with other names or numbers, in one cell of code that is no exercise."""
    code = [cell for cell in cells(out / f"{name}.ipynb") if cell.cell_type == "code" and "exercise" not in cell.id]
    for function in lesson(name).functions():
        body = lesson(name).printed(function).partition("\n")[2]
        lines = [line.strip() for line in body.splitlines() if len(line.strip()) > 22]
        for cell in code:
            there = [line.strip() for line in cell.source.splitlines()]
            found = sum(any(alike(line, own) for own in there) for line in lines)
            assert len(lines) < 2 or found < 0.7 * len(lines), (function, cell.id)


@pytest.mark.parametrize("name", NAMES)
def test_all_the_rest_is_there(name, out):
    before, after = both(name, out)
    gone = [one for one in before if one not in after]
    assert all(re.fullmatch("exercise-.*-help", one) for one in gone), gone
    assert list(after) == [one for one in before if one not in gone]
    for one, cell in after.items():
        if cell.cell_type == "code":
            assert cell == before[one]
            continue
        here, there = (DETAILS.sub("", text) for text in (before[one].source, cell.source))
        for question in (title for title, _ in helps(name) if title[0].isdigit()):  # it stays, without its answer
            assert (question in cell.source) == (question in before[one].source)
            there = there.replace(question, "")
        assert words(re.sub(r"\*\*Launch:.*", "", here)) == words(there), one
        kept = [title for title, _ in DETAILS.findall(before[one].source) if re.match(r"(Wh|Is|How|A )", title)]
        assert [title for title, _ in DETAILS.findall(cell.source) if title in kept] == kept


@pytest.mark.parametrize("name", NAMES)
def test_a_handout_shows_its_pictures_and_opens_nothing_with_solutions(name, out):
    text = "\n".join(cell.source for cell in cells(out / f"{name}.ipynb"))
    pictures = re.findall(r'src="([^":]+)"', text)
    assert pictures
    assert all((out / picture).is_file() for picture in pictures)
    assert "mybinder" not in text


@pytest.mark.parametrize("name", NAMES)
def test_solutions_are_whole(name, out):
    found = handouts.exercises(json.loads((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")))
    assert len(found) == len(lesson(name).functions())
    page = (out / "solutions" / f"{name}.md").read_text("utf-8")
    for exercise in found:
        titles = [title for title, _ in exercise.help]
        assert titles[:2] == ["Hint 1", "Hint 2"]
        assert titles[-1].startswith("Solution")
    for function in lesson(name).functions():
        assert lesson(name).printed(function).strip() in page
    for title, body in helps(name):
        assert title in page
        assert body.strip() in page


@pytest.mark.long
def test_a_solution_pasted_into_the_handout_passes_its_check(out, monkeypatch):
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    name = "02_infonce"
    page = (out / "solutions" / f"{name}.md").read_text("utf-8")
    printed = {re.search(r"def (\w+)", code)[1]: code for code in FENCE.findall(page)}  # the last one: the solution
    notebook = nbformat.read(out / f"{name}.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id == "set-up" or "\nchecks." in cell.source]
    functions = []
    for cell in notebook.cells[1:]:
        functions.append(re.search(r"^checks\.(\w+)\(", cell.source, re.M)[1])
        cell.source = f"{printed[functions[-1]]}\nchecks.{functions[-1]}({functions[-1]})"
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": out}}).execute()
    said = str([cell.outputs for cell in notebook.cells])
    assert len(functions) == 5
    assert all(f"✓ {function}: " in said for function in functions), said


def test_it_is_safe_to_repeat_and_leaves_what_is_not_its_own(tmp_path):
    assert handouts.write(["02_infonce"], tmp_path) == []
    own = tmp_path / "solutions" / "marks.txt"
    own.write_text("mine", "utf-8")
    changed = tmp_path / "02_infonce.ipynb"
    changed.write_text("changed by the teacher", "utf-8")
    (tmp_path / "solutions" / "02_infonce.md").unlink()
    (said,) = handouts.write(["02_infonce", "03_clip"], tmp_path)
    assert str(changed) in said
    assert changed.read_text("utf-8") == "changed by the teacher"
    assert own.read_text("utf-8") == "mine"
    assert (tmp_path / "solutions" / "02_infonce.md").exists()
    changed.unlink()
    assert handouts.write(["02_infonce"], tmp_path) == []
    assert cells(changed)
    assert not list(tmp_path.rglob(".*-*"))  # nothing half written


def test_a_lesson_that_is_not_there_stops_it_before_anything_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="10_nothing"):
        handouts.write(["02_infonce", "10_nothing"], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(SystemExit, match="no such lesson: 10_nothing; there are 00_start_here, "):
        handouts.main(["10_nothing"])


def test_a_command_makes_the_lessons_that_it_names_and_all_where_it_names_none():
    assert handouts.named(["03_clip", "02_infonce"], "") == ["03_clip", "02_infonce"]
    assert handouts.named([], "") == NAMES
