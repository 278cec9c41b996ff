"""The site of the lessons, built from two tiny ones: what stands on a page, what is kept out, what is never lost."""

import base64
import json
import re

import build_site
import nbformat
import pytest
import sample_site
import sync_links
from bs4 import BeautifulSoup
from clean_notebooks import ROOT, repository_notebooks

from xlib.explore.scene import DARK

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("site")]  # in one process, which builds it once

PAGES = ["index", "first", "second"]


def parsed(name):
    return BeautifulSoup((sample_site.built() / f"{name}.html").read_text("utf-8"), "html.parser")


@pytest.fixture
def first():
    return parsed("first")


@pytest.fixture
def notebook(tmp_path):
    """Writes a notebook of markdown and code cells; returns its path."""

    def write(*cells, name="lesson"):
        make = {"md": nbformat.v4.new_markdown_cell, "py": nbformat.v4.new_code_cell}
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[make[kind](text) for kind, text in cells]), path)
        return path

    return write


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- what stands on a page ---------------------------------------------------------------------------------------


def test_a_page_for_each_lesson_and_an_index_and_nothing_else():
    assert sorted(tree(sample_site.built())) == sorted(f"{name}.html" for name in PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_loaded(name):
    page = parsed(name)
    for tag in page.find_all(["script", "link", "img", "iframe", "source", "object", "embed"]):
        for attribute in ("src", "href", "srcset", "data"):
            assert tag.get(attribute, "data:").startswith("data:"), tag.name
    styles = " ".join(style.get_text() for style in page.find_all("style"))
    assert not re.search(r"@import|url\((?!['\"]?data:)", styles)
    policy = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_formulas_are_set(first):
    formulas = first.main.find_all("math")
    assert [formula["display"] for formula in formulas] == ["inline", "inline", "block", "inline", "inline"]
    assert "‖" in formulas[2].get_text()
    for code in first.main.find_all(["code", "pre", "script"]):
        code.extract()
    assert "$" not in first.main.get_text()
    assert "\\" not in first.main.get_text()


@pytest.mark.parametrize("path", repository_notebooks(), ids=lambda path: path.stem)
def test_every_formula_of_the_lessons_can_be_set(path):
    text = build_site.Text("notebooks", [])
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            page = BeautifulSoup(text.render(cell.source), "html.parser")
            for code in page.find_all(["code", "pre"]):
                code.extract()
            assert "$" not in page.get_text(), cell.id


@pytest.mark.parametrize("formula", [r"\foo x", r"x^", r"\left( x"])
def test_a_formula_that_cannot_be_set_is_named(formula):
    with pytest.raises(ValueError, match="cannot set the formula") as error:
        build_site.mathml(formula, "inline")
    assert repr(formula) in str(error.value)


def test_an_explorer_is_there_with_its_data_as_data(first):
    (place,) = first.select(".xlib-kernelless")
    state = json.loads(place.script.get_text())["state"]
    assert state["setup"]["captions"][3] == sample_site.HOSTILE
    assert state["snapshots"]["steps"] == [0, 5, 9]
    assert place.noscript.img["alt"].startswith("Forty <things>: 20 image and 20 text items")
    assert not first.find_all(attrs={"onerror": True})


def test_only_a_page_with_an_explorer_carries_its_program():
    programs = {name: "xlib-explorer" in str(parsed(name)) for name in PAGES}
    assert programs == {"index": False, "first": True, "second": False}


def test_pictures_have_their_words_and_a_panel_says_that_it_is_still(first):
    panel, figure = first.select("figure")
    assert panel.img["alt"] == "A line up to 1.0."
    assert panel.picture.source["media"] == "(prefers-color-scheme: dark)"
    papers = [base64.b64decode(src.partition(",")[2]) for src in (panel.img["src"], panel.source["srcset"])]
    assert [DARK["paper"].encode() in paper for paper in papers] == [False, True]
    assert "comes alive in the launched lesson" in panel.p.get_text()
    assert figure.img["alt"] == 'A line that rises from 1 to 2, "quoted" & <marked>.'
    assert figure.p is None
    places = [p.find_parent(["figure", "div"]).get("class") for p in first.select("p.still")]
    assert places == [["explorer"], None, ["cell"]]  # the slider alone has no picture


def test_what_is_printed_is_text_and_progress_and_warnings_are_left_out(first):
    assert [pre.get_text() for pre in first.select("pre.out")] == ["first <b>line</b>\nsecond line\n"]
    assert "%|" not in first.main.get_text()


def test_the_lessons_own_picture_is_in_the_page(first):
    picture = first.find("img", alt="Arrows in a panel.")
    there = (build_site.ROOT / "notebooks" / "pictures" / "01_shared_space.webp").read_bytes()
    assert base64.b64decode(picture["src"].removeprefix("data:image/webp;base64,")) == there


def test_hidden_code_is_folded_and_other_code_is_not(first):
    (folded,) = first.select("details.code")
    assert "report.show" in folded.get_text()
    assert not folded.has_attr("open")
    (cell,) = [cell for cell in first.select(".cell") if "class Width" in cell.get_text()]
    assert cell.details is None


def test_hints_and_solutions_hold_what_belongs_to_them(first):
    hint, solution = first.select("main details:not(.code)")
    assert hint.code.get_text() == "$5"
    assert hint.math
    assert "return x" in solution.pre.get_text()
    assert "The same words" not in solution.get_text()


def test_contents_lead_to_every_section(first):
    links = [a["href"] for a in first.select(".contents a")]
    assert len(links) == len(set(links)) == 2
    assert [first.find(id=link[1:]).name for link in links] == ["h2", "h2"]


def test_links_stay_within_the_site_where_they_can(first):
    there = {a.get_text(): a["href"] for a in first.select("main p a")}
    assert there["way on"] == "second.html"
    blob = f"{sync_links.repository()}/blob/main"
    assert there["another lesson"] == f"{blob}/notebooks/07_scaling.ipynb"
    assert there["glossary"] == f"{blob}/docs/glossary.md"
    assert parsed("second").select_one("main p a")["href"] == "first.html#1-an-exercise"


def test_launch_links_come_from_the_one_place_and_stand_at_the_top(first):
    expected = list(sync_links.launch_links("first").values())
    assert [a["href"] for a in first.header.select(".button")] == expected
    assert all(sync_links.tag() in link for link in expected)
    assert "Launch" not in first.main.get_text()
    assert "not measured yet" not in first.main.get_text()


def test_lessons_lead_to_one_another():
    turns = {name: {a["rel"][0]: a["href"] for a in parsed(name).select(".turn a")} for name in ("first", "second")}
    assert turns == {"first": {"next": "second.html"}, "second": {"prev": "first.html"}}


def test_the_index_lists_lessons_in_order_with_a_picture_and_the_licences():
    index = parsed("index")
    assert [a["href"] for a in index.select(".lessons a")] == ["first.html", "second.html"]
    (picture,) = index.select("main img")
    assert len(picture["alt"]) > 50
    assert [h2.get_text() for h2 in index.select("h2")] == ["The lessons", "Licences and thanks"]


def test_the_index_says_of_a_lesson_what_the_readme_says():
    index = BeautifulSoup(build_site.index_page({"04_mmd": "04 · MMD: how far"}), "html.parser")
    (card,) = index.select(".lessons li")
    assert card.a.get_text() == "MMD"
    said = f"{card.a.get_text()}: {card.p.get_text()}"
    assert said.lower() == sync_links.LESSONS["04_mmd"].replace("*", "").lower()
    seconds = sync_links.read_times()["lessons"]["04_mmd"]["seconds"]
    assert f"runs in {sync_links.duration(seconds)}" in card.get_text()


# ---- what is never lost ------------------------------------------------------------------------------------------


def test_a_lesson_that_fails_stops_it_by_name_and_the_old_site_stays(tmp_path, notebook):
    build_site.build([notebook(("md", "# Old"), name="old")], tmp_path / "site")
    before = tree(tmp_path / "site")
    good, bad = notebook(("md", "# Good"), name="good"), notebook(("py", "1 / 0"), name="bad")
    with pytest.raises(SystemExit, match=r"(?s)^bad failed.*ZeroDivisionError"):
        build_site.build([good, bad], tmp_path / "site")
    assert tree(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.ipynb", "good.ipynb", "old.ipynb", "site"]


def test_a_new_site_takes_the_place_of_the_old_one(tmp_path, notebook):
    for name in ("old", "new"):
        build_site.build([notebook(("md", f"# {name}"), name=name)], tmp_path / "site")
    assert sorted(tree(tmp_path / "site")) == ["index.html", "new.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.ipynb", "old.ipynb", "site"]


def test_a_folder_of_something_else_is_left_alone(tmp_path, notebook):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "index.html").write_text("mine", "utf-8")
    with pytest.raises(SystemExit, match="left alone"):
        build_site.build([notebook(("md", "# Lesson"))], tmp_path / "papers")
    assert tree(tmp_path / "papers") == {"index.html": b"mine"}


def test_a_lesson_that_does_not_exist_is_refused():
    with pytest.raises(SystemExit, match="no such lesson: 99_none; there are 00_start_here"):
        build_site.main(["99_none"])


def test_lessons_write_nothing_into_the_repository(tmp_path, notebook):
    (path,) = (notebook(("md", "# Lesson"), ("py", "import os; open('litter', 'w').close(); print(os.getcwd())")),)
    (output,) = build_site.run(path).cells[1].outputs
    assert not (ROOT / "notebooks" / "litter").exists()
    assert not (tmp_path / "litter").exists()
    assert str(ROOT) not in output.text


def test_every_explorer_of_a_lesson_is_one_that_lives(tmp_path):
    start = "import numpy as np\nfrom xlib.explore import explore\n"
    make = "explore(np.random.rand(2, 9, 4), captions=list('abcdefghi'))"
    cells = [nbformat.v4.new_code_cell(source) for source in (start + make, make, make)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "three.ipynb")
    notebook = build_site.run(tmp_path / "three.ipynb")
    found = [output.data.get("text/html", "") for cell in notebook.cells for output in cell.outputs]
    assert [text.count('class="xlib-kernelless"') for text in found] == [1, 1, 1]
