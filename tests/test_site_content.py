"""The pages of the site that are no lessons: the API reference lacks no public name, the glossary leads to first uses
that exist, results are the files' numbers, no relative link is dead. The Markdown is tested; Sphinx is not run."""

import ast
import html
import importlib
import json
import os
import re
import statistics
import sys
from pathlib import Path

import nbformat
import pytest
import sync_links
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools" / "site"))

import api  # noqa: E402
import glossary  # noqa: E402
import pages  # noqa: E402

HOSTILE = """</script><img src=x onerror="hacked=1"> {code}`x` $x$ [a](b) &amp; *b* _c_ | `"""
EXPLORER = '<div class="xlib-kernelless" data-kind="explorer"><script>{}</script>\n\n<img alt="a map"></div>'
LESSONS = {"00_start_here": "", "01_shared_space": EXPLORER, "05_dann": EXPLORER.replace("a map", "another")}


def markdown(*sources):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source) for source in sources])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """{page: Markdown}, and {lesson: notebook}, of three lessons as the builder hands them over: run, and linked."""
    source, notebooks = tmp_path_factory.mktemp("source"), {}
    for name, output in LESSONS.items():
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        if output:
            cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
            cell.outputs = [
                nbformat.v4.new_output("display_data", {"text/html": f"<div>{output}<p>Words.</p></div>"})
            ]
        glossary.link_terms(notebook)
        nbformat.write(notebook, source / f"{name}.ipynb")
        notebooks[name] = notebook
    pages.write(source, list(LESSONS))
    found = {path.relative_to(source).with_suffix("").as_posix(): path for path in source.rglob("*.md")}
    return {page: path.read_text("utf-8") for page, path in found.items()}, notebooks


# ---- the API reference


def entries(text):
    return re.findall(r"^`+\{py:(?:function|class|data)\} (\w+)", text, re.M)


@pytest.mark.parametrize("room", api.ROOMS)
def test_every_public_name_has_an_entry(site, room):
    for name in api.modules()[room]:
        module = importlib.import_module(name)
        wanted = set(api.OPEN.get(name) or getattr(module, "__all__", ()))
        if not wanted:
            wanted = {key for key, value in vars(module).items() if getattr(value, "__module__", None) == name}
            wanted = {key for key in wanted if callable(vars(module)[key]) and not key.startswith("_")}
        found = entries(site[0][f"api/{name}"])
        assert wanted <= set(found), f"{name} lacks {wanted - set(found)}"
        assert len(set(found)) == len(found)
        assert not [one for one in found if one.startswith("_")]


def test_every_public_module_has_a_page_that_the_first_one_names(site):
    internal = {path.stem for path in (ROOT / "xlib" / "explore").glob("*.py")} - {"__init__", "panel", "pad"}
    internal |= {path.stem for path in (ROOT / "xlib" / "course" / "checks").glob("*.py")} - {"__init__"}
    written = {page.removeprefix("api/") for page in site[0] if page.startswith("api/xlib")}
    for path in (ROOT / "xlib").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        folder, _, stem = module.rpartition(".")
        if stem.startswith("_") or (folder in ("xlib.explore", "xlib.course.checks") and stem in internal):
            assert module not in written
        else:
            assert module in written
            assert f"({module}.md)" in site[0]["api/index"]


def words(text):
    return re.findall(r"\w+", re.sub(r"\\(?=[^a-zA-Z0-9\s])|# doctest: .*| <xlib[\w.]*>", "", text))


def test_an_entry_holds_all_that_the_docstring_says_in_order(site):
    for module in (module for room in api.modules().values() for module in room):
        text = iter(words(site[0][f"api/{module}"]))
        assert all(word in text for word in words(api.docstring(module))), module
        for name in sorted(api.names(module), key=lambda name: not hasattr(name.node, "name")):
            docstring = (ast.get_docstring(name.node) if hasattr(name.node, "name") else None) or ""
            assert name.name in text  # which is read up to there
            missing = next((word for word in words(docstring) if word not in text), None)
            assert missing is None, (name.full, missing)


def test_an_entry_has_signature_arguments_errors_source_and_example(site):
    entry = site[0]["api/xlib.mmd"].split("{py:function} median_bandwidth")[1].split("{py:")[0]
    assert entry.startswith("(x: Tensor, y: Tensor) -> Tensor\n")
    for words in ("**Args**: x (n, d), y (m, d).", "**Raises**: ValueError where half", "**Source**: Gretton et al.",
                  "[arXiv 1707.07269](https://arxiv.org/abs/1707.07269)", "**Example**\n\n```pycon\n>>> x, y = torch",
                  "**In the lessons**: 04"):  # fmt: skip
        assert words in entry, words
    entry = site[0]["api/xlib.space"].split("{py:function} uniformity")[1].split("{py:class}")[0]
    assert "[01](../01_shared_space.ipynb)" in entry


@pytest.mark.parametrize(
    ("docstring", "wanted"),
    [
        ("Words.\n\nx: a number. y, z: (N,) each. Raises TypeError where\nit is none.\n",
         "Words.\n\n* `x`: a number.\n* `y, z`: (N,) each.\n\n**Raises** TypeError where it is none."),
        ("Words.\n\nArgs:\n    x: a number,\n        or two.\n    y: none.\nReturns: x.",
         "Words.\n\n**Args**\n\n* `x`: a number, or two.\n* `y`: none.\n\n**Returns**: x."),
        ("Words.\n\n    x = y²,  y > 0\n\nMore.", "Words.\n\n```text\nx = y²,  y > 0\n```\n\nMore."),
        ("Words.\n\n    one  the first,\n         of two\n    two  the other\n",
         "Words.\n\n* `one`: the first, of two\n* `two`: the other"),
        ("A.\n\nExample:\n    >>> f()  # doctest: +SKIP\n    1", "A.\n\n**Example**\n\n```pycon\n>>> f()\n1\n```"),
        ("See `g` and `mmd.mmd2(x)`, not `x` or `os.path`.",
         "See {py:obj}`g <xlib.toy.g>` and {py:obj}`mmd.mmd2(x) <xlib.mmd.mmd2>`, not `x` or `os.path`."),
        ("- 1. no list", "\\- 1. no list"),
        ("a < b [c](d) <e> $f$ {g} h_i *j* | ~ \\k", r"a \< b \[c\](d) \<e\> \$f\$ \{g\} h\_i \*j\* \| \~ \\k"),
    ],
)  # fmt: skip
def test_a_docstring_becomes_markdown(docstring, wanted):
    link = api.linker("xlib.toy", {"xlib.toy.g", "xlib.mmd.mmd2", "xlib.toy.x"}, ("x", "y", "z"))
    assert api.body(docstring, ("x", "y", "z"), link) == wanted


def test_what_a_docstring_holds_is_text(tmp_path):
    """Read by the parser that Sphinx uses: no tag, role, formula or link comes out of words."""
    tree = pytest.importorskip("myst_parser.parsers.docutils_").Parser
    from docutils.core import publish_doctree

    settings = {"myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence", "deflist"], "report_level": 5}
    found = publish_doctree(api.body(HOSTILE), parser=tree(), settings_overrides=settings)
    assert {node.tagname for node in found.findall()} <= {"document", "paragraph", "#text", "literal"}
    assert "".join(found.astext().split()) == "".join(HOSTILE.replace("`x`", "x").split())


def test_the_names_that_a_lesson_uses_are_found():
    cell = nbformat.v4.new_code_cell
    cells = [cell("%pip install x\nfrom xlib import space as s, mmd\nfrom xlib.clip import CLIPModel as C"),
             cell("s.alignment(1)\nC()"), cell("not python ("), markdown("mmd.coral").cells[0]]  # fmt: skip
    found = api.uses(nbformat.v4.new_notebook(cells=cells))
    assert {"xlib.space.alignment", "xlib.clip.CLIPModel"} <= found
    assert not any("coral" in name for name in found)


# ---- the glossary

TERMS = [
    glossary.Term("logit", "02", "a score."),
    glossary.Term("logit scale", "02", 'what *multiplies* <b>"them"</b>, by $s$.'),
    glossary.Term("R@k", "00", "a share."),
    glossary.Term("modality", "01", "a kind."),
    glossary.Term("negative", "02", "the others."),
]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("A logit scale, a logit, a logit.", "A ⟦logit scale⟧, a ⟦logit⟧, a logit."),
        ("Two Logits, two modalities, **R@10**.", "Two ⟦Logits⟧, two ⟦modalities⟧, **⟦R@10⟧**."),
        ("prelogit, logit-like, logits", "prelogit, logit-like, ⟦logits⟧"),
        ("It may be negative: negatives", "It may be negative: ⟦negatives⟧"),
        ("# A logit\n\n`logit` $logit$ [logit](a.md) ![logit](a.png)",) * 2,
        ("```\nlogit\n```\n$$\nlogit\n$$\n<a href='logit'>logit</a> <summary>logit</summary> <b title='logit'>",) * 2,
        ("**Further reading**\n\n* Logit",) * 2,
        ("<details><summary>Why?</summary>A logit</details>", "<details><summary>Why?</summary>A ⟦logit⟧</details>"),
    ],
)  # fmt: skip
def test_the_first_use_of_a_word_is_linked(source, wanted):
    notebook = markdown(source)
    used = glossary.link_terms(notebook, TERMS)
    linked = re.sub(r'<a class="xlib-term".*?>(.*?)</a>', r"⟦\1⟧", notebook.cells[0].source)
    assert linked == wanted
    assert len(used) == wanted.count("⟦")


def test_a_link_says_what_the_word_means_whatever_that_holds():
    notebook = markdown("The logit scale.")
    glossary.link_terms(notebook, TERMS)
    (tag,) = re.findall(r"<a .*?>(?=logit)", notebook.cells[0].source)
    assert 'title="what multiplies &lt;b&gt;&quot;them&quot;&lt;/b&gt;, by s."' in tag
    assert 'href="glossary.html#term-logit-scale"' in tag


def test_each_word_leads_to_its_first_uses_and_back(site):
    text, notebooks = site
    glossary_page = text["glossary"]
    anchors = re.findall(r'<span id="(term-[\w-]+)">', glossary_page)
    assert anchors == [term.anchor for term in glossary.terms()]
    assert len(set(anchors)) == len(anchors) > 50
    there = []
    for name, notebook in notebooks.items():
        source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        there += [f"{name}.html#{anchor}" for anchor in re.findall(r'id="(use-[\w-]+)"', source)]
        assert set(re.findall(r'href="glossary.html#([\w-]+)"', source)) <= set(anchors)
    back = re.findall(r'href="([\w-]+\.html#use-[\w-]+)"', glossary_page)
    assert sorted(back) == sorted(set(there))
    assert len(set(there)) == len(there) > 30


def test_the_word_of_each_lesson_is_found_in_it(site):
    """Each word that a lesson explains is linked in that lesson: the pattern misses none."""
    for name, notebook in site[1].items():
        keys = pages.terms_of(notebook)
        missing = [term.word for term in glossary.terms() if name.startswith(term.lesson) and term.key not in keys]
        assert missing == []


# ---- results


def rows_of(page):
    """{column: {run: text}} of each table in a page."""
    for one in re.findall(r"<table>.*?</table>", page, re.S):
        columns = [html.unescape(name) for name in re.findall(r'<th scope="col"[^>]*>(.*?)</th>', one)]
        for row in re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", one):
            head, *cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
            for column, cell in zip(columns[1:], cells, strict=True):
                yield html.unescape(head), column, re.sub(r"<svg.*|<[^>]*>", "", cell)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_are_the_numbers_of_the_file(site, path):
    found = json.loads(path.read_text("utf-8"))
    page = site[0][f"results/{path.stem}"]
    shown = list(rows_of(page))
    runs = {name: rows for name, rows in found.items() if name not in ("settings", "versions")}
    numbers = {}
    for name, rows in runs.items():
        for row in rows:
            for column, value in row.items():
                if column != "seed":
                    numbers.setdefault((name.split(", from seed ")[0], column), []).append(value)
    assert sorted((run, column) for run, column, _ in shown) == sorted(numbers)
    for run, column, text in shown[:: max(1, len(shown) // 40)]:
        values = numbers[run, column]
        mean, low, high = (float(number.replace(",", "")) for number in re.findall(r"[-+]?[\d.,]*\d", text)[:3])
        half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        step = 10.0 ** -len(text.split()[0].partition(".")[2])
        wanted = statistics.mean(values)
        assert (mean, low, high) == pytest.approx((wanted, wanted - half, wanted + half), abs=0.51 * step), (
            run,
            column,
        )


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_stand_beside_their_settings(site, path):
    found = json.loads(path.read_text("utf-8"))
    page = site[0][f"results/{path.stem}"]
    plain = html.unescape(page).replace("\\", "")
    for name, value in found["settings"].items():
        assert f"Settings: {name}" in page if isinstance(value, dict) else f"**{name[:1].upper()}{name[1:]}**" in page
        for inner in value if isinstance(value, dict) else [value] if isinstance(value, str) else []:
            assert str(inner) in plain
    assert f"torch {found['versions']['torch']}" in page
    assert f"`make results ARGS={path.stem}`" in page
    assert f"(results/{path.stem}.md)" in site[0]["results"]
    quoting = [f"{n.stem[:2]}" for n in sorted((ROOT / "notebooks").glob("0*.ipynb"))
               if f'stored(\\"{path.stem}\\")' in n.read_text("utf-8")]  # fmt: skip
    line = re.search(r"\*\*Quoted in lesson\*\*: (.*)", page)
    assert re.findall(r"\b(\d\d)(?!_)\b", line[1] if line else "") == quoting


def test_what_the_benchmarks_measured_is_there(site):
    text = (ROOT / "tests" / "benchmarks" / "results.md").read_text("utf-8")
    assert re.findall(r"\d[\d,.]* (?:s|MB)\b", text) == re.findall(
        r"\d[\d,.]* (?:s|MB)\b", site[0]["results/benchmarks"]
    )


def test_hostile_names_of_results_are_text():
    rows = [{"seed": 0, HOSTILE: 1.0}, {"seed": 1, HOSTILE: 2.0}]
    found = {"settings": {"what": HOSTILE, HOSTILE: {HOSTILE: 1}}, "versions": {"torch": "1"}, HOSTILE: rows}
    page = pages.result(Path("mine.json"), found, {HOSTILE: rows}, {})
    assert "<img" not in page.replace("\\<img", "")
    assert html.unescape(page).count("onerror") >= 4


# ---- home, and the links of all pages


def test_home_has_a_live_explorer_what_you_will_be_able_to_do_and_cards(site):
    home = site[0]["index"]
    assert home.count('data-kind="explorer"') == 1
    assert 'alt="a map"' in home
    assert "another" not in home
    for block in re.findall(r'<div class="xlib-home">.*?</div>\n</div>|<script>\n.*?</script>', home, re.S):
        assert "\n\n" not in block  # which would end it, in Markdown
    assert "prefers-reduced-motion" in home
    for name in pages.ABLE:
        words = f"([lesson {name[:2]}]({name}.ipynb))" if name in LESSONS else f"(lesson {name[:2]})"
        assert words in home
    assert list(pages.ABLE) == list(sync_links.LESSONS)
    for name in LESSONS:
        seconds = sync_links.read_times()["lessons"][name]["seconds"]
        card = re.search(rf'<li><a href="{name}.html">.*?</li>', home)[0]
        assert f"runs in {sync_links.duration(seconds)}" in card
    assert "make lab" in home
    assert "OpenMoji" in home
    assert "Version 0.1.0" in home.replace(sync_links.tag()[1:], "0.1.0")
    listed = re.findall(r"^(?!:)[\w/]+$", "".join(re.findall(r"```\{toctree\}(.*?)```", home, re.S)), re.M)
    notes = [f"teaching/{path.stem}" for path in pages.teaching()]
    assert listed == [*LESSONS, *notes, "explorer", "challenge", "help", "glossary", "results", "api/index"]


def test_home_of_lessons_without_an_explorer_plays_nothing():
    home = pages.home({"mine": markdown("# <b>Mine</b>")}, {"mine": "<b>Mine</b>"}, [])
    assert "<script" not in home
    assert "<strong>&lt;b&gt;Mine&lt;/b&gt;</strong>" in home


def test_no_relative_link_is_dead_and_every_page_is_in_a_tree(site):
    text, notebooks = site
    there = {f"{page}.md" for page in text} | {f"{name}.ipynb" for name in notebooks}
    listed = {"index"}
    for page, source in text.items():
        folder = os.path.dirname(page)
        for words in re.findall(r"```\{toctree\}(.*?)```", source, re.S):
            listed |= {os.path.normpath(os.path.join(folder, one)) for one in re.findall(r"^[\w/.]+$", words, re.M)}
        prose = re.sub(r"^```(?:text|pycon|python|bash).*?^```", "", source, flags=re.S | re.M)
        prose = re.sub(r"(?<!\})`[^`\n]*`(?!\])", "", prose)
        for to in re.findall(r"\]\((?!https?:|#|data:)([^)\s]+)\)", prose):
            assert os.path.normpath(os.path.join(folder, to.partition("#")[0])) in there, (page, to)
        for to in re.findall(r'href="([\w./-]+\.html)', source):
            assert to.removesuffix(".html") in {*text, *notebooks}, (page, to)
        known = {name.full for room in api.modules().values() for module in room for name in api.names(module)}
        for to in re.findall(r"\{py:obj\}`[^`]* <([\w.]+)>`", source):
            assert to in known
    assert listed == {*text, *notebooks}


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("[a](glossary.md#logit)", "[a](glossary.md#logit)"),
        ("[a `b`](../notebooks/05_dann.ipynb)", "[a `b`](05_dann.ipynb)"),
        ("[a](../tests/benchmarks/results.md)", "[a](results/benchmarks.md)"),
        ("[a](../notebooks/results/05_dann.json)", "[a](results/05_dann.md)"),
        ("[a](../xlib/mmd.py)", "[a](api/xlib.mmd.md)"),
        ("[a](../README.md)", "[a](index.md)"),
        ("[a](https://a.org/b) [c](#d)", "[a](https://a.org/b) [c](#d)"),
        ("`[a](b.md)`\n```\n[a](b.md)\n```", "`[a](b.md)`\n```\n[a](b.md)\n```"),
        ("[a](../notebooks/07_scaling.ipynb)", None),
        ("[a](../Makefile)", None),
        ("[a](../../outside.md)", "a"),
    ],
)
def test_a_link_of_the_repository_leads_to_a_page_or_is_text(monkeypatch, link, wanted, published):
    monkeypatch.setattr(sync_links, "published", lambda: published)
    monkeypatch.setattr(sync_links, "repository", lambda: "https://github.com/a/b")
    found = pages.relinked(link, "docs/explorer.md", "explorer", ["05_dann"])
    if wanted is None:
        wanted = link.replace("../", "https://github.com/a/b/blob/main/") if published else "a"
    assert found == wanted


def test_pictures_come_along(site):
    found = pages.relinked("![a map](explorer.png)", "docs/explorer.md", "explorer", [])
    assert re.fullmatch(r"!\[a map\]\(data:image/png;base64,[\w+/=]+\)", found)


def test_teaching_notes_are_shown_in_order_when_there_are_any(tmp_path, monkeypatch):
    notes = tmp_path / "docs" / "teaching"
    notes.mkdir(parents=True)
    for name in ("02_b", "01_a"):
        (notes / f"{name}.md").write_text(f"# {name}\n\n[other](01_a.md), [word](../glossary.md)", "utf-8")
    home = pages.home({}, {}, [f"teaching/{path.stem}" for path in pages.teaching(tmp_path)])
    assert re.search(r":caption: Teaching\n:hidden:\n\nteaching/01_a\nteaching/02_b\n```", home)
    text = pages.relinked((notes / "02_b.md").read_text("utf-8"), "docs/teaching/02_b.md", "teaching/02_b", [])
    assert "[word](../glossary.md)" in text
