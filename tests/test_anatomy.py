"""What every lesson holds, and where: human minutes, aims and the questions that ask for them, exercises, folds."""

import re

import pytest
from lessons import NOTEBOOKS, cells

ALL = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
NAMES = [name for name in ALL if name != "00_start_here"]
TIME = re.compile(
    r"^\*\*Your time:\*\* about (\d+½?) hours: (\d+) minutes to read, (\d+) to play, (\d+) for the exercises\. "
    r"A good place to stop half way is the end of section \d+\.$",
    re.M,
)
EXERCISE = re.compile(r"^### Exercise (\d+) · .+?\s+[●○]{3} · (\d+) minutes$", re.M)


def prose(name):
    return "\n".join(cell.source for cell in cells(name) if cell.cell_type == "markdown")


@pytest.mark.parametrize("name", NAMES)
def test_the_top_says_how_long_a_human_takes_and_the_exercises_add_up(name):
    hours, *minutes = TIME.search(cells(name)[0].source).groups()
    stated = sum(int(number) for _, number in EXERCISE.findall(prose(name)))
    assert int(minutes[2]) == stated
    whole = sum(map(int, minutes)) / 60
    assert abs(whole - float(hours.replace("½", ".5"))) <= 0.3


@pytest.mark.parametrize("name", NAMES)
def test_five_aims_and_a_question_for_each(name):
    top = cells(name)[0].source
    aims = re.findall(r"^\* \*\*\w+\*\*", top, re.M)
    questions = re.findall(r"<details><summary>(\d) · ", cells(name)[-1].source)
    assert len(aims) == 5
    assert questions == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("name", NAMES)
def test_exercises_stand_where_they_belong(name):
    text = prose(name)
    assert not re.search(r"^## \d+ · Exercises", text, re.M)
    assert [number for number, _ in EXERCISE.findall(text)] == [
        str(k) for k in range(1, text.count("### Exercise ") + 1)
    ]
    sections = re.split(r"^## ", text, flags=re.M)
    assert max(section.count("### Exercise ") for section in sections) <= 2


@pytest.mark.parametrize("name", NAMES)
def test_folded_code_says_that_it_may_be_skipped(name):
    for cell in cells(name)[2:]:
        if cell.cell_type == "code" and cell.metadata.get("jupyter", {}).get("source_hidden"):
            first = cell.source.splitlines()[0]
            assert first.startswith("# Skip this on first reading"), (cell.id, first)


def visible(text):
    """How many words of a text are in sight: without folds, code, tables, headings and formulas on their own."""
    text = re.sub(r"<details>.*?</details>|```.*?```|\$\$.*?\$\$", "", text, flags=re.S)
    return len(re.sub(r"^>? ?[|#][^\n]*$", "", text, flags=re.M).split())


@pytest.mark.parametrize("name", NAMES)
def test_there_is_something_to_do_after_each_page_of_text(name):
    """An exercise begins a page of its own."""
    page = ""
    for cell in cells(name)[1:-1]:
        page = f"{page}\n{cell.source}" if cell.cell_type == "markdown" else ""
        assert max(map(visible, re.split(r"^### Exercise", page, flags=re.M))) <= 180, cell.id


@pytest.mark.parametrize("name", ALL)
def test_no_markdown_stands_where_it_is_shown_as_it_is_typed(name):
    """From a line that begins with a tag to the next empty one, all is HTML."""
    typed = re.compile(r"`[^`]+`|(?<![\w*])\*\*?[A-Za-z][^*\n]*\*\*?(?![\w*])")
    texts = [cell.source for cell in cells(name) if cell.cell_type == "markdown"]
    for block in (block for text in texts for block in re.split(r"\n\s*\n", text)):
        if html := re.search(r"^</?(?:details|summary|div|p|table|ul|ol|li)\b.*", block, re.M | re.S):
            assert not typed.findall(re.sub(r"<code>.*?</code>|\$[^$]*\$", "", html[0], flags=re.S)), html[0]
