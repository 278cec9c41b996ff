"""The glossary: one file, shown in lesson 00, each word defined once and explained in the lesson that it names."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import sync_links

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "glossary.md").read_text("utf-8")
ENTRIES = re.findall(r"^- \*\*(.+?)\*\* \((\d\d)\): (.+)\.$", TEXT, re.M)
WORDS = [word for word, _, _ in ENTRIES]
SYMBOLS = re.findall(r"^\| (\$.+?\$) \| (`.+?`) \| .+ \|$", TEXT, re.M)


def cell(name, notebook="00_start_here", root=ROOT):
    cells = nbformat.read(root / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    return next(cell.source for cell in cells if cell.id == name)


def test_every_line_is_an_entry():
    assert len(ENTRIES) == TEXT.count("\n- ") > 30
    assert len(SYMBOLS) == TEXT.count("\n| $") > 5


def test_each_word_is_defined_once_and_found_by_the_alphabet():
    assert len({word.lower() for word in WORDS}) == len(WORDS)
    plain = [word.lower() for word in WORDS]
    assert plain == sorted(plain)


def test_lesson_00_shows_the_file():
    assert TEXT.strip() in cell("glossary")


def prose(number, *left_out):
    """Cell ids and texts of a lesson's prose, in order: what it says itself, without code, links and what others
    wrote. Title and headings are left out, for they name what is to come."""
    path = next((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and cell.id not in ("title", "glossary", *left_out):
            text = re.sub(r"```.*?```|^#+ [^\n]*", "", cell.source.split("**Further reading**")[0], flags=re.S | re.M)
            yield cell.id, " ".join(re.sub(r"`[^`]*`|\]\([^)]*\)|</?\w[^>]*>", "", text).split())


def pattern(word):
    """The word, or its plural; as it is written, where it has capitals."""
    ending = r"\d" if word == "R@k" else r"(?:e?s)?(?![\w-])"
    stem = re.escape(word.removesuffix("k") if word == "R@k" else word).replace(r"\ ", "[ -]")
    return re.compile(rf"(?<![\w-]){stem}{ending}", re.I if word == word.lower() else 0)


@pytest.mark.parametrize(("word", "number"), [(word, number) for word, number, _ in ENTRIES])
def test_a_word_is_not_used_before_the_lesson_that_explains_it(word, number):
    earlier = [f"{n:02}" for n in range(int(number))]
    used = [(n, cell) for n in earlier for cell, text in prose(n, "map") if pattern(word).search(text)]
    assert used == []


@pytest.mark.parametrize(("word", "number"), [(word, number) for word, number, _ in ENTRIES])
def test_a_word_is_bold_where_its_lesson_first_uses_it(word, number):
    cell, text = next((cell, text) for cell, text in prose(number) if pattern(word).search(text))
    bold = re.findall(r"\*\*(.+?)\*\*", text)
    assert any(pattern(word).search(words) for words in bold), (cell, text)


def test_the_map_links_the_lessons_that_are_written():
    rows = re.findall(r"^\| (\S*\d\d\S*) \|", cell("map"), re.M)
    written = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))[1:]
    assert [row for row in rows if "(" in row] == [f"[{name[:2]}]({name})" for name in written]


def test_a_change_of_the_file_reaches_the_notebook(tmp_path):
    for name in ("README.md", "pyproject.toml", "docs", "notebooks", "tools"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    glossary = tmp_path / "docs" / "glossary.md"
    glossary.write_text(TEXT + "- **zzz** (00): a word that nobody knows.\n", "utf-8")
    assert [path.name for path in sync_links.write(tmp_path)] == ["00_start_here.ipynb"]
    assert "- **zzz** (00)" in cell("glossary", root=tmp_path)
