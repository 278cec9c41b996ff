"""The site of the lessons, built from two tiny ones: what stands on a page, what is kept out, what is never lost."""

import json
import re
import sys
import urllib.parse

import build_site
import nbformat
import pytest
import sample_site
import sync_links
from bs4 import BeautifulSoup
from clean_notebooks import ROOT, repository_notebooks
from myst_parser.config.main import MdParserConfig
from myst_parser.mdit_to_docutils.base import DocutilsRenderer
from myst_parser.parsers.mdit import create_md_parser
from PIL import Image

alive = sys.modules["alive"]  # from tools/site, by way of build_site
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("site")]  # in one process, which builds it once

PAGES = ["index", "first", "second", "search", "glossary", "explorer", "404"]


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


@pytest.fixture
def unrendered(monkeypatch):
    """Sphinx is left out: a page for each source."""

    def render(source, new, lessons):
        for path in source.glob("*.ipynb"):
            (new / f"{path.stem}.html").write_text(path.read_text("utf-8"), "utf-8")
        (new / "index.html").write_text(alive.MARK, "utf-8")

    monkeypatch.setattr(build_site, "render", render)
    monkeypatch.setattr(build_site.pages, "write", lambda source, lessons: None)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def local(page, address):
    """The file that a page's own address leads to."""
    path = urllib.parse.unquote(re.split(r"[?#]", address)[0])
    return (sample_site.built() / page).parent / path


# ---- what stands on a page ---------------------------------------------------------------------------------------


def test_a_page_for_each_lesson_and_those_of_pages_py_and_nothing_that_nobody_needs():
    names = set(tree(sample_site.built()))
    assert {f"{name}.html" for name in PAGES} <= names
    assert {"results.html", "api/index.html", "searchindex.js", "_static/preview.png"} <= names
    assert not [
        name for name in names if re.search(r"fontawesome|\.map$|\.ipynb$|objects\.inv|_sources|\.doctree", name)
    ]
    assert sum(len(content) for content in tree(sample_site.built()).values()) < 6.5e6


def test_nothing_is_loaded_but_the_sites_own_files_and_by_relative_addresses():
    pages = [name for name in tree(sample_site.built()) if name.endswith(".html")]
    assert len(pages) > 20
    for name in pages:
        page = parsed(name.removesuffix(".html"))
        policies = page.find_all("meta", {"http-equiv": "Content-Security-Policy"})
        assert [policy["content"] for policy in policies] == [alive.POLICY], name
        loads = policies[0].find_all_previous(["script", "link", "img"])
        assert not loads, "the policy comes before what it is about"
        for tag in page.find_all(["script", "link", "img", "iframe", "source", "object", "embed"]):
            for attribute in ("src", "href", "srcset", "data", "data-src"):
                address = tag.get(attribute, "data:")
                assert address.startswith(("data:", "#")) or local(name, address).is_file(), (name, tag.name, address)
    assert alive.POLICY.startswith("default-src 'none';")
    assert "http" not in alive.POLICY


def test_style_sheets_load_nothing_from_elsewhere():
    for name, content in tree(sample_site.built()).items():
        if name.endswith(".css"):
            for address in re.findall(r"(?:url\(|@import )['\"]?([^'\")]*)", content.decode()):
                assert address.startswith(("data:", "#")) or local(name, address).is_file(), (name, address)


def test_formulas_are_set(first):
    article = first.article
    formulas = article.find_all("math")
    assert [formula["display"] for formula in formulas] == ["inline", "inline", "block", "inline", "inline"]
    assert "‖" in formulas[2].get_text()
    for code in article.find_all(["code", "pre", "script"]):
        code.extract()
    assert "$" not in article.get_text()
    assert "\\" not in article.get_text()


@pytest.mark.parametrize("path", repository_notebooks(), ids=lambda path: path.stem)
def test_every_formula_of_the_lessons_can_be_set(path):
    settings = MdParserConfig(enable_extensions={"dollarmath", "amsmath"}, dmath_double_inline=True)
    markdown = create_md_parser(settings, DocutilsRenderer)
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            tokens = [part for token in markdown.parse(cell.source) for part in [token, *(token.children or [])]]
            for token in tokens:
                if token.type.startswith(("math_", "amsmath")):
                    assert "<math" in alive.mathml(token.content, "inline")
                elif token.type in ("html_block", "html_inline"):
                    words = re.sub(r"<(code|pre)\b.*?</\1>", "", token.content, flags=re.S)
                    assert "$" not in BeautifulSoup(alive.set_in_html(words), "html.parser").get_text(), cell.id
                elif token.type == "text":
                    assert "$" not in token.content, cell.id


@pytest.mark.parametrize("formula", [r"\foo x", r"x^", r"\left( x"])
def test_a_formula_that_cannot_be_set_is_named(formula):
    with pytest.raises(ValueError, match="cannot set the formula") as error:
        alive.mathml(formula, "inline")
    assert repr(formula) in str(error.value)


def test_an_explorer_is_there_with_its_data_as_data_in_a_file_beside_the_page(first):
    (place,) = first.select('.xlib-kernelless[data-kind="explorer"]')
    script = place.find("script", class_="xlib-state")
    assert script.get_text() == ""
    start = f'(globalThis.xlibCame ??= {{}})["{script["data-key"]}:data"] = '
    text = local("first.html", script["data-src"]).read_text("utf-8")
    assert text.startswith(start)
    assert "<" not in text
    state = json.loads(text.removeprefix(start).removesuffix(";"))["state"]
    assert state["setup"]["captions"][3] == sample_site.HOSTILE
    assert state["snapshots"]["steps"] == [0, 5, 9]
    assert place.img["alt"].startswith("Forty <things>: 20 image and 20 text items")
    assert int(place.img["width"]) > int(place.img["height"]) > 300  # its place is kept free until it comes
    assert not first.find_all(attrs={"onerror": True})


def test_only_a_page_with_an_explorer_carries_its_program():
    programs = {
        name: [tag["src"] for tag in parsed(name).find_all("script", src=re.compile("/xlib/explorer.js"))]
        for name in ("first", "second", "glossary")
    }
    assert programs == {"first": ["_static/xlib/explorer.js"], "second": [], "glossary": []}


def test_pictures_have_their_words_and_what_only_python_shows_says_so(first):
    (panel,) = first.select('.xlib-kernelless[data-kind="panel"]')
    assert panel.find(attrs={"aria-label": "A line up to 1.0."})
    assert panel.find("script", class_="xlib-scenes")
    (figure,) = first.select("figure")
    assert figure.img["alt"] == 'A line that rises from 1 to 2, "quoted" & <marked>.'
    drawn = Image.open(local("first.html", figure.img["src"]))
    assert (figure.img["width"], figure.img["height"]) == ("700", str(round(700 * drawn.height / drawn.width)))
    (alone,) = first.select("p.still")  # of the slider, which has no picture
    assert "comes alive in the launched lesson" in alone.get_text()


def test_what_is_printed_is_text_and_progress_and_warnings_are_left_out(first):
    assert [pre.get_text() for pre in first.select("pre.out")] == ["first <b>line</b>\nsecond line\n"]
    assert "%|" not in first.article.get_text()
    assert "nobody needs this" not in first.select("pre.out")[0].get_text()


def test_the_lessons_own_picture_is_beside_the_page_and_keeps_its_place(first):
    picture = first.find("img", alt="Arrows in a panel.")
    there = ROOT / "notebooks" / "pictures" / "01_shared_space.webp"
    assert local("first.html", picture["src"]).read_bytes() == there.read_bytes()
    assert re.fullmatch(r"aspect-ratio: \d+ / \d+", picture["style"])


def test_hidden_code_is_folded_and_other_code_is_not(first):
    (folded,) = first.select("details.hide")
    assert "report.show" in folded.get_text()
    assert not folded.has_attr("open")
    assert not first.find("figure").find_parent("details")
    (cell,) = [cell for cell in first.select(".cell") if "class Width" in cell.get_text()]
    assert cell.details is None
    assert first.select_one("button.xlib-code").get_text() == "All code"
    assert parsed("second").select("button.xlib-code") == []


def test_hints_and_solutions_hold_what_belongs_to_them(first):
    hint, solution = first.select("article details:not(.hide)")
    assert hint.code.get_text() == "$5"
    assert hint.math
    assert "return x" in solution.pre.get_text()
    assert "The same words" not in solution.get_text()


def test_an_exercise_opens_at_its_place_and_has_an_anchor(first):
    (line,) = first.select("p.exercise")
    assert line["id"] == "exercise-tiny"
    assert line.find_next("pre").get_text().startswith("def answer(x)")
    links = {a.get_text(): a["href"] for a in line.select("a.xlib-button")}
    launch = sync_links.launch_links("first")
    assert links == {
        "Binder": launch["Binder"] + "%23cell-id%3Dexercise-tiny",  # JupyterLab goes to #cell-id=…
        "Colab": launch["Colab"] + "#scrollTo=exercise-tiny",
    }
    assert line.select_one("a.headerlink")["href"] == "#exercise-tiny"


@pytest.mark.parametrize("path", repository_notebooks(), ids=lambda path: path.stem)
def test_every_exercise_of_the_lessons_gets_its_line(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    stubs = [c.id for c in notebook.cells if c.cell_type == "code" and re.search(r"^checks\.\w+\(", c.source, re.M)]
    made = build_site.for_sphinx(notebook, path.stem, tmp_path).cells
    lines = {i: re.search(r'<p class="exercise" id="([^"]+)"', cell.source) for i, cell in enumerate(made)}
    assert [(line[1], made[i + 1].id) for i, line in lines.items() if line] == [(stub, stub) for stub in stubs]


def test_contents_lead_to_every_section_under_its_name(first):
    links = [a["href"] for a in first.select("#pst-page-toc-nav a")]
    assert links == ["#1-an-exercise", "#1-an-exercise-1"]
    assert [first.find(id=link[1:]).find("h2").get_text() for link in links] == ["1 · An exercise#"] * 2


@pytest.mark.parametrize("name", PAGES)
def test_no_anchor_stands_for_two_places(name):
    ids = [tag["id"] for tag in parsed(name).find_all(id=True)]
    assert len(ids) == len(set(ids))


def test_links_stay_within_the_site_where_they_can_and_are_none_where_nothing_is_published(first):
    there = {a.get_text(): a["href"] for a in first.select("article section > p a")}
    assert there["way on"] == "second.html"
    assert there["glossary"] == "glossary.html"
    assert "another lesson" not in there
    assert "another lesson" in first.article.get_text()
    assert parsed("second").select_one("article p a")["href"] == "first.html#1-an-exercise"
    assert not re.search(r'href="https://github.com/not_published_yet/xlib"', str(first))


def test_launch_links_come_from_the_one_place_and_stand_at_the_top(first):
    header = first.select_one(".article-header-buttons")
    expected = sync_links.launch_links("first")
    assert {a.get_text(): a["href"] for a in header.select("a")} == expected
    assert all(sync_links.tag() in link for link in expected.values())
    assert all("once the course is published" in a["title"] for a in header.select("a"))
    assert "Launch" not in first.article.get_text()
    assert "not measured yet" not in first.article.get_text()
    assert "Shift + Enter" not in first.article.get_text()
    assert parsed("glossary").select(".article-header-buttons a") == []


def test_lessons_lead_to_one_another_and_all_are_listed_in_order():
    assert parsed("first").select_one("a.right-next")["href"] == "second.html"
    assert parsed("second").select_one("a.left-prev")["href"] == "first.html"
    listed = [a["href"] for a in parsed("second").select(".bd-docs-nav a") if not a["href"].startswith("api/")]
    assert listed[:2] == ["first.html", "#"]


def test_a_page_says_what_it_is(first):
    said = {tag["property"]: tag["content"] for tag in first.find_all("meta", property=True)}
    assert said["og:title"] == "Tiny & mighty: x2"
    assert said["og:description"].startswith("A sentence with")
    assert first.find("meta", {"name": "description"})["content"] == said["og:description"]
    assert "og:image" not in said  # it needs an address, which there is none yet
    assert first.html["lang"] == "en"
    assert first.select_one("#pst-skip-link a")["href"] == "#main-content"
    assert first.select_one("main#main-content")


def test_times_stand_under_the_title_of_a_lesson_that_was_measured(tmp_path):
    notebook = nbformat.read(ROOT / "notebooks" / "04_mmd.ipynb", as_version=4)
    lines = build_site.for_sphinx(notebook, "04_mmd", tmp_path).cells[0].source.split("\n")
    assert lines[0].startswith("# 04")
    time = sync_links.duration(sync_links.read_times()["lessons"]["04_mmd"]["seconds"])
    assert f"All cells run in {time} on a laptop CPU" in lines[2]


def test_search_knows_the_lessons_and_asks_for_no_page():
    index = (sample_site.built() / "searchindex.js").read_text("utf-8")
    assert all(word in index for word in ("temperatur", "first", "second"))
    options = (sample_site.built() / "_static" / "documentation_options.js").read_text("utf-8")
    assert re.search(r"SHOW_SEARCH_SUMMARY: false", options)


def test_outputs_bring_a_style_sheet_once_and_large_programs_beside_the_page(tmp_path):
    large = "x" * 3000
    outputs = [f"<style>a {{}}</style><script>{large}</script><b>{i}</b>" for i in range(2)]
    data = [nbformat.v4.new_output("display_data", {"text/html": text}) for text in outputs]
    cell = nbformat.v4.new_code_cell("1", outputs=data)
    made = build_site.for_sphinx(nbformat.v4.new_notebook(cells=[cell]), "some", tmp_path).cells[0].outputs
    one, two = (output.data["text/html"] for output in made)
    assert (one.count("<style>"), two.count("<style>")) == (1, 0)
    (src,) = set(re.findall(r'<script src="_static/xlib/([^"]+)"></script>', one + two))
    assert (tmp_path / src).read_text("utf-8") == large


def test_a_published_site_has_its_address_wherever_one_is_asked_for(tmp_path, monkeypatch, notebook):
    monkeypatch.setattr(sync_links, "repository", lambda root=ROOT: "https://github.com/Some/course")
    index = "# Home\n\n```{toctree}\nlesson\n```\n"
    monkeypatch.setattr(build_site.pages, "write", lambda source, _: (source / "index.md").write_text(index, "utf-8"))
    build_site.build(
        [
            notebook(("md", "# One\n\nA [file](../tools/lab.py) and [a lesson](07_scaling.ipynb#a).")),
        ],
        tmp_path / "site",
    )
    page = BeautifulSoup((tmp_path / "site" / "lesson.html").read_text("utf-8"), "html.parser")
    base = "https://some.github.io/course/"
    said = {tag["property"]: tag["content"] for tag in page.find_all("meta", property=True)}
    assert said["og:image"] == f"{base}_static/preview.png"
    assert said["og:url"] == page.find("link", rel="canonical")["href"] == f"{base}lesson.html"
    blob = "https://github.com/Some/course/blob/main"
    assert [a["href"] for a in page.select("article p a")] == [
        f"{blob}/tools/lab.py",
        f"{blob}/notebooks/07_scaling.ipynb#a",
    ]
    assert not page.select(".article-header-buttons a[title]")
    site = tree(tmp_path / "site")
    found = re.findall(r"<loc>(.*?)</loc>", site["sitemap.xml"].decode())
    assert found == [f"{base}index.html", f"{base}lesson.html"]
    assert f"Sitemap: {base}sitemap.xml" in site["robots.txt"].decode()
    assert base in site["404.html"].decode()
    assert "sitemap.xml" not in tree(sample_site.built())


# ---- what is never lost ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unrendered")
def test_a_lesson_that_fails_stops_it_by_name_and_the_old_site_stays(tmp_path, notebook):
    build_site.build([notebook(("md", "# Old"), name="old")], tmp_path / "site")
    before = tree(tmp_path / "site")
    good, bad = notebook(("md", "# Good"), name="good"), notebook(("py", "1 / 0"), name="bad")
    with pytest.raises(SystemExit, match=r"(?s)^bad failed.*ZeroDivisionError"):
        build_site.build([good, bad], tmp_path / "site")
    assert tree(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.ipynb", "good.ipynb", "old.ipynb", "site"]


def test_a_page_that_sphinx_cannot_make_stops_it_and_the_old_site_stays(tmp_path, notebook, monkeypatch):
    monkeypatch.setattr(
        build_site.pages, "write", lambda source, _: (source / "index.md").write_text("# Home", "utf-8")
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text(alive.MARK, "utf-8")
    with pytest.raises(SystemExit, match=r"(?s)^Sphinx failed, and no site was written: .*cannot set the formula"):
        build_site.build([notebook(("md", "# Lesson\n\n$\\foo x$"))], tmp_path / "site")
    assert tree(tmp_path / "site") == {"index.html": alive.MARK.encode()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lesson.ipynb", "site"]


@pytest.mark.usefixtures("unrendered")
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
