"""The lesson plans of docs/teaching say what their notebooks hold: cells, guesses, exercises with their minutes, and
numbers. Their own minutes add up, and their links lead somewhere."""

import re
from collections import Counter
from pathlib import Path

import pytest
from lessons import NOTEBOOKS, cells

TEACHING = Path(__file__).resolve().parents[1] / "docs" / "teaching"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
PLANS = sorted(path.stem for path in TEACHING.glob("[0-9][0-9]_*.md"))
SECTIONS = [
    "45 minutes",
    "90 minutes",
    "Before each guess",
    "Three misunderstandings",
    "What to skip",
    "Homework",
]
EXERCISE = re.compile(r"^### Exercise \d+ · .+ (\d+) minutes$", re.M)
CHECK = re.compile(r"`checks\.(\w+)`")
DECIMAL = re.compile(r"(?<![\w.])\d*\.\d+(?![\w.]*\d)")


def plan(name):
    return (TEACHING / f"{name}.md").read_text("utf-8")


def sections(name):
    """{heading: text} of a plan."""
    _, *parts = re.split(r"^## (.+)\n", plan(name), flags=re.M)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(text):
    """The table of a section, row by row, without its head."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def exercises(name):
    """{what is asked for: (its cell, the minutes that the lesson gives)}."""
    found, minutes = {}, None
    for cell in cells(name):
        if cell.cell_type == "markdown":
            stated = EXERCISE.findall(cell.source)
            minutes = int(stated[-1]) if stated else minutes
        elif asked := cell.id.startswith("exercise") and re.search(r"^checks\.(\w+)\(", cell.source, re.M):
            found[asked[1]] = cell.id, minutes
    return found


def named(text):
    """The cells that a text names: `like-this`, or after the word cell."""
    listed = re.findall(r"\bcells? ((?:`[\w-]+`(?:, | and | or )?)+)", text)
    return re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", text) + re.findall(r"`([\w-]+)`", " ".join(listed))


def test_each_lesson_has_a_plan():
    assert PLANS == LESSONS


@pytest.mark.parametrize("name", PLANS)
def test_the_parts_of_a_plan(name):
    assert plan(name).startswith(f"# Lesson {name[:2]} in class: ")
    assert list(sections(name)) == SECTIONS


@pytest.mark.parametrize("minutes", [45, 90])
@pytest.mark.parametrize("name", PLANS)
def test_minutes_add_up(name, minutes):
    table = rows(sections(name)[f"{minutes} minutes"])
    assert sum(int(row[0]) for row in table) == minutes
    assert min(int(row[0]) for row in table) > 0


@pytest.mark.parametrize("name", PLANS)
def test_cells_that_are_named_are_there(name):
    parts, there = sections(name), {cell.id for cell in cells(name)}
    listed = [row[-1] for minutes in (45, 90) for row in rows(parts[f"{minutes} minutes"])]
    listed += [row[0] for row in rows(parts["Before each guess"])]
    used = re.findall(r"`(.+?)`", " ".join(listed)) + named(plan(name))
    assert [cell for cell in used if cell not in there] == []


@pytest.mark.parametrize("name", PLANS)
def test_each_guess_has_a_row(name):
    asked = [cell.id for cell in cells(name) if cell.cell_type == "code"
             for _ in re.findall(r"(?<![\w.])predict\(", cell.source)]  # fmt: skip
    table = rows(sections(name)["Before each guess"])
    assert [row[0].strip("`") for row in table] == asked
    assert all(len(row) == 4 and all(row) for row in table)


@pytest.mark.parametrize("name", PLANS)
def test_three_misunderstandings_and_a_cell_for_each(name):
    _, *parts = re.split(r"^### (.+)\n", sections(name)["Three misunderstandings"], flags=re.M)
    assert len(parts) == 6
    for said, clears_up in zip(parts[::2], parts[1::2], strict=True):
        assert re.fullmatch(r'".+"', said)
        assert {cell.id for cell in cells(name)} & set(named(clears_up)), said


@pytest.mark.parametrize("name", PLANS)
def test_each_exercise_has_its_place(name):
    parts, asked = sections(name), exercises(name)
    assert set(CHECK.findall(plan(name))) == set(asked)
    at_home = CHECK.findall(parts["Homework"])
    assert Counter(at_home) == Counter(set(at_home))
    for check in at_home:
        stated = re.findall(rf"`checks\.{check}`[^`]*?(\d+)\s+minutes", parts["Homework"])
        assert stated == [str(asked[check][1])], check
    if asked:
        assert at_home
        in_class = re.findall(r"`(.+?)`", " ".join(row[-1] for row in rows(parts["90 minutes"])))
        assert set(in_class) & {cell for cell, _ in asked.values()}


@pytest.mark.parametrize("name", PLANS)
def test_numbers_stand_in_the_lesson(name):
    """A decimal number of a plan is one of the notebook, with or without its leading 0."""
    source = "\n".join(cell.source for cell in cells(name))
    known = {number.lstrip("0") for number in DECIMAL.findall(source)}
    assert [number for number in DECIMAL.findall(plan(name)) if number.lstrip("0") not in known] == []


@pytest.mark.parametrize("path", sorted(TEACHING.glob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```|`[^`]*`", "", path.read_text("utf-8"), flags=re.S | re.M)
    to = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", link)]
    assert [link for link in to if not (path.parent / link.partition("#")[0]).exists()] == []


def of_index(heading):
    """The first table below a heading of the index."""
    text = (TEACHING / "index.md").read_text("utf-8").partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return rows("\n".join(text.partition("\n|")[1:]).partition("\n\n")[0])


def test_the_minutes_of_the_index_are_the_lessons():
    said = {row[1].partition("](")[2][:-4]: row[2:5] for row in of_index("The lessons")}
    for name in LESSONS:
        top = next(cell.source for cell in cells(name) if cell.id == "title")
        read, play = re.search(r"(\d+) (?:minutes )?to read, (\d+) to play", top).groups()
        tried = re.search(r"(\d+) for the exercises", top)
        assert said[name] == [read, play, tried[1] if tried else "0"], name


def test_the_day_adds_up():
    day, now = of_index("One day"), None
    for begins, minutes, block, _ in day:
        if begins:
            hours, past = map(int, begins.split(":"))
            assert now in (None, 60 * hours + past), begins
            now = 60 * hours + past
            assert block.endswith(f"the plan of {minutes} minutes")
        now += int(minutes)
    assert sum(int(row[1]) for row in day if row[0]) == 6 * 60  # "six teaching hours"


@pytest.mark.parametrize(("heading", "columns"), [("One day", [2]), ("One week", [1, 2]), ("One term", [1])])
def test_no_lesson_comes_before_what_it_needs(heading, columns):
    needs = {
        row[0][1:3]: re.findall(r"\b0\d\b", re.split(";|the idea", row[5])[0]) for row in of_index("The lessons")
    }
    assert needs["06"] == ["03", "05"]
    taught = [
        number for row in of_index(heading) for column in columns for number in re.findall(r"\b0\d\b", row[column])
    ]
    assert len(set(taught)) >= 6
    for i, number in enumerate(taught):
        assert set(needs[number]) <= set(taught[:i]), number


def test_the_week_sets_exercises_of_lessons_that_were_taught():
    taught = ""
    for _, first, second, homework in of_index("One week"):
        taught += f"{first} {second} "
        asked = [check for name in LESSONS if name[:2] in taught for check in exercises(name)]
        assert set(CHECK.findall(homework)) <= set(asked)
        assert set(re.findall(r"from (0\d)", homework)) <= set(re.findall(r"\b0\d\b", taught))
