"""Which slides a lesson has: the rules of tools/slides.py, on a small lesson whose outputs are written here."""

import html
import json
import re

import nbformat
import pytest
import slides
from bs4 import BeautifulSoup

TITLE = """# 02 · A *small* lesson

<img align="right" width="36%" alt="Arrows in a panel." src="pictures/01_shared_space.webp">

What it is about.

<details><summary>What you will be able to do, and what you need</summary>

* **say** this;
* **do** that.

</details>

**Your time:** an hour.

**Time on a laptop CPU:** 3 s"""
SECTION = """## 1 · Is $x < y$?

The idea, with [another lesson](01_shared_space.ipynb) and [a paper](https://arxiv.org/abs/1).

{long}

It leads to

$$L = \\frac{{1}}{{n}}$$

**Two remedies.** The first one.

**Play** with the slider.""".format(long=" ".join(["long"] * 90))
EXERCISE = """<details><summary>What to look for</summary>

What was *seen*.

</details>

### Exercise 1 · Do it      ●○○ · 5 minutes

Write `double(x)`."""
HELP = """<details><summary>Hint 1</summary>secret hint</details>
<details><summary>It fails on 3</summary>secret help</details>
<details><summary>Solution</summary>

```python
secret solution
```
</details>"""
SUMMARY = """## Summary

{items}

**Recall questions**

<details><summary>1 · How many?</summary>Two of <em>them</em>.</details>

**Further reading**

* Somebody, *Something*, 2020.""".format(items="\n".join(f"* point {i}" + " word" * 30 for i in range(5)))
ASKED = {"asked": {"name": "02/first", "question": "Is <it> so?", "choices": ["yes", "<b>no</b>"]}}
TRUTH = {"truth": {"name": "02/first", "truth": {"text": "yes"}, "words": "By 3 < 4."}}
SLIDER = {"asked": {"name": "02/second", "question": "How much?", "slider": [-1, 1, 0.1]}}


def told(data, kind="xlib-predict"):
    return shown({"text/html": f'<div class="{kind}" data-xlib="{html.escape(json.dumps(data))}"></div>'})


def shown(data, **metadata):
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def table(rows):
    inside = "".join(f"<tr><th>row {i}</th><td>{i}</td></tr>" for i in range(rows))
    head = "<thead><tr><th>name</th><th>n</th></tr></thead>"
    page = f'<div class="xlib-table" role="region" tabindex="0"><table>{head}<tbody>{inside}</tbody></table></div>'
    return shown({"text/html": f'<details class="xlib-folded"><summary>All</summary>{page}</details>'})


def printed(text):
    return nbformat.v4.new_output("stream", text=text)


def made(cells):
    """A notebook of {name: text, or the outputs of code}."""
    make = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    found = [
        make[0](of, id=name) if isinstance(of, str) else make[1]("code", id=name, outputs=of)
        for name, of in cells.items()
    ]
    return nbformat.v4.new_notebook(cells=found)


@pytest.fixture(scope="module")
def notebook():
    picture = shown({"image/png": "aGVsbG8="}, **{"image/png": {"alt": "a line that rises"}})
    panel = shown({"text/html": '<div class="xlib-kernelless" data-kind="panel">still</div>'})
    claims = shown({"text/html": '<details class="xlib-claims"><summary>7 of 7 sentences hold</summary></details>'})
    check = shown({"text/html": '<div class="xlib-check">not solved yet</div>'})
    cells = {
        "title": TITLE,
        "set-up": [printed("device cpu")],
        "idea": SECTION,
        "panel": [panel],
        "run": [told(ASKED), told(SLIDER), printed("a result"), table(25), told(TRUTH, "xlib-truth")],
        "picture": [printed("by <the> way"), picture],
        "task": EXERCISE,
        "exercise-double": [check],
        "exercise-double-help": HELP,
        "claims": [claims],
        "my-record": [table(2)],
        "summary": SUMMARY,
    }
    return made(cells)


@pytest.fixture
def columns(notebook):
    return slides.slides(notebook)


@pytest.fixture
def deck(columns):
    return [slide for column in columns for slide in column]


def words(text):
    return " ".join(BeautifulSoup(text, "html.parser").get_text(" ").split())


def test_the_slides_in_their_order(columns):
    assert [[(slide.kind, slide.cell) for slide in column] for column in columns] == [
        [("title", "title"), ("text", "title")],
        [("text", "idea"), ("text", "idea"), ("text", "idea"), ("text", "idea"), ("alive", "panel")]
        + [("question", "run"), ("question", "run"), ("result", "run")]
        + [("result", "run")] * 3
        + [("answer", "run"), ("figure", "picture"), ("exercise", "task"), ("claims", "claims")],
        [("text", "summary")] * 3 + [("recall", "summary"), ("text", "summary")],
    ]


def test_the_title_has_its_picture_and_what_one_will_be_able_to_do(deck):
    assert words("".join(deck[0].body)) == "02 · A small lesson What it is about."
    assert 'alt="Arrows in a panel."' in "".join(deck[0].body)
    assert deck[1].heading == "What you will be able to do"
    assert words("".join(deck[1].body)) == "say this; do that."
    assert "an hour" in words(" ".join(deck[1].notes))
    assert "3 s" not in "".join(slide_text for slide in deck for slide_text in (*slide.body, *slide.notes))


def test_text_has_room_on_its_slide_and_what_is_left_is_a_note(deck):
    idea, formula, remedies, play = deck[2:6]
    assert words("".join(idea.body)) == "The idea, with another lesson and a paper ."
    assert "long long" in words("".join(idea.notes))
    assert "ipynb" not in "".join(idea.body)
    assert '<a href="https://arxiv.org/abs/1">' in "".join(idea.body)
    assert words(formula.body[0]) == "It leads to"  # and not in the notes as well
    assert "It leads to" not in "".join(idea.notes)
    assert "<mfrac>" in formula.body[1]
    assert "<math" in idea.heading
    assert formula.heading == idea.heading
    assert (remedies.heading, words("".join(remedies.body))) == ("Two remedies", "The first one.")
    assert (play.heading, words("".join(play.body))) == ("Play", "Play with the slider.")


def test_a_question_comes_before_its_result_and_text_stays_text(deck):
    first, second, *results, answer = [slide for slide in deck if slide.cell == "run"]
    assert words("".join(first.body)) == "Is <it> so? yes <b>no</b>"
    assert words("".join(second.body)) == "How much? from −1 to 1"
    assert words("".join(results[0].body)) == "a result"
    assert words("".join(answer.body)) == "Is <it> so? yes By 3 < 4."


def led(words_of_lead, outputs):
    """The slides of a section whose text leads to a cell's outputs, after a paragraph that fills its first slide."""
    text = f"## 1 · First\n\n{'full ' * 80}\n\n{'first ' * 10}\n\n{'lead ' * words_of_lead}"
    columns = slides.slides(made({"title": "# T", "text": text, "between": [printed("by the way")], "run": outputs}))
    return columns[1]


def test_what_leads_to_a_question_or_a_result_is_on_its_slide_and_no_note(notebook):
    for outputs, kind in (([told(ASKED)], "question"), ([table(3)], "result")):
        section, shown_ = led(20, outputs)
        assert (section.kind, shown_.kind) == ("text", kind)
        assert words(shown_.body[0]) == " ".join(["first"] * 10 + ["lead"] * 20)
        assert shown_.body[0].startswith('<div class="lead">')
        assert [words(note) for note in section.notes] == ["by the way"]


def test_much_that_leads_to_it_and_all_that_leads_to_a_panel_or_a_long_table_is_on_a_slide_before(notebook):
    panel = shown({"text/html": '<div class="xlib-kernelless" data-kind="panel">still</div>'})
    for count, outputs, kind in ((60, [told(ASKED)], "question"), (5, [panel], "alive"), (5, [table(9)], "result")):
        section, before, shown_ = led(count, outputs)
        assert (before.kind, before.heading, shown_.kind) == ("text", "1 · First", kind)
        assert words("".join(before.body)) == " ".join(["first"] * 10 + ["lead"] * count)
        assert "lead" not in "".join([*shown_.body, *shown_.notes, *section.notes])


def test_of_very_much_that_leads_to_it_the_last_is_shown_and_the_first_a_note(notebook):
    section, before, _ = led(165, [told(ASKED)])
    assert words("".join(before.body)) == " ".join(["lead"] * 165)
    assert words(section.notes[0]) == " ".join(["first"] * 10)


def test_text_that_is_followed_by_a_fold_leads_to_nothing(notebook):
    text = f"## 1 · First\n\n{'full ' * 80}\n\n{'text ' * 20}\n\n<details><summary>Why</summary>since</details>"
    section, question = slides.slides(made({"title": "# T", "text": text, "run": [told(ASKED)]}))[1]
    assert "text" in section.notes[0]
    assert "text" not in "".join(question.body)


def test_a_long_exercise_is_whole(notebook):
    task = f"### Exercise 1 · Do it      ●○○ · 5 minutes\n\n*Why: so.*\n\n{'task ' * 100}\n\n* {'item ' * 40}"
    _, (exercise,) = slides.slides(made({"title": "# T", "s": "## 1 · First", "task": task}))
    assert exercise.kind == "exercise"
    assert words("".join(exercise.body)) == " ".join(["Why: so."] + ["task"] * 100 + ["item"] * 40)


def test_a_line_printed_after_a_table_stands_below_it_and_much_on_a_slide_of_its_own(notebook):
    cells = {"title": "# T", "s": "## 1 · First\n\nText."}
    below = slides.slides(made(cells | {"run": [told(ASKED), table(3), printed("a note\n")]}))[1]
    assert [slide.kind for slide in below] == ["text", "question", "result"]
    assert below[-1].body[1] == "<pre>a note</pre>"
    for full in ([table(3), printed("a line\n" * 30)], [table(9), printed("a note")]):
        much = slides.slides(made(cells | {"run": [told(ASKED), *full]}))[1]
        assert [slide.kind for slide in much] == ["text", "question", "result", "result"]


def test_a_long_table_is_on_several_slides_with_its_head_and_none_of_its_rows_is_lost(deck):
    tables = [BeautifulSoup(slide.body[0], "html.parser") for slide in deck if "xlib-table" in "".join(slide.body)]
    assert [len(one.select("tbody tr")) for one in tables] == [8, 8, 9]
    assert [row.th.text for one in tables for row in one.select("tbody tr")] == [f"row {i}" for i in range(25)]
    assert all(one.select("thead th") and not one.select("details, [tabindex]") for one in tables)


def test_pictures_keep_their_words_and_notes_say_what_was_printed_and_what_to_look_for(deck):
    (figure,) = [slide for slide in deck if slide.kind == "figure"]
    assert 'alt="a line that rises"' in figure.body[0]
    assert "What was seen ." in words("".join(figure.notes))
    (answer,) = [slide for slide in deck if slide.kind == "answer"]
    assert words("".join(answer.notes)) == "by <the> way"


def test_an_exercise_without_its_help_and_a_count_of_the_claims(deck):
    (exercise,) = [slide for slide in deck if slide.kind == "exercise"]
    assert exercise.heading == "Exercise 1 · Do it · ●○○ · 5 minutes"
    everything = "".join(text for slide in deck for text in (*slide.body, *slide.notes))
    assert not re.search("secret|not solved yet|device cpu|row 26", everything)
    assert words("".join(next(slide for slide in deck if slide.kind == "claims").body)) == "7 of 7 sentences hold"


def test_a_long_list_goes_on_and_an_answer_comes_a_key_later(columns):
    *summary, recall, reading = columns[-1]
    assert [slide.heading for slide in summary] == ["Summary"] * 3
    assert [len(re.findall("point", "".join(slide.body))) for slide in summary] == [2, 2, 1]
    assert words(recall.body[0]) == "1 · How many?"
    assert recall.body[1].startswith('<div class="fragment">')
    assert words(recall.body[1]) == "Two of them ."
    assert reading.heading == "Further reading"


def test_a_numbered_list_goes_on_counting():
    first, second = slides.blocks("3. one\n4. two")
    assert ('<ol start="3">' in first.html, '<ol start="4">' in second.html) == (True, True)


def test_the_page_is_whole_loads_nothing_and_holds_what_its_kinds_need(notebook):
    text = slides.document(notebook, "02_small")
    page = BeautifulSoup(text, "html.parser")
    assert page.title.text == "02 · A small lesson"
    assert page.select_one("[http-equiv=Content-Security-Policy]")["content"].startswith("default-src 'none'")
    assert not page.select("script[src], link[rel=stylesheet]")
    assert all(image["src"].startswith("data:") for image in page.select("img"))
    assert len(page.select(".slides > section > section")) == sum(map(len, slides.slides(notebook)))
    assert 'startEach("panel"' in text
    assert 'startEach("explorer"' not in text
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert [script.count("<!--") for script in scripts] == [0] * len(scripts)


def test_a_lesson_that_fails_leaves_its_slides_as_they_were(tmp_path, monkeypatch):
    def run(path, done):
        raise RuntimeError("the kernel died")

    monkeypatch.setattr(slides.build_site, "run", run)
    monkeypatch.setattr(slides, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()
    lesson = tmp_path / "notebooks" / "02_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), lesson)
    monkeypatch.setattr(slides.lab, "prepare", lambda *_: None)
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "02_small.html").write_text("as before", "utf-8")
    with pytest.raises(SystemExit, match="02_small failed, and its slides stay as they were: the kernel died"):
        slides.main(["02_small"])
    with pytest.raises(SystemExit, match="no such lesson: 03_other; there are 02_small"):
        slides.main(["03_other"])
    assert [path.name for path in (tmp_path / "slides").iterdir()] == ["02_small.html"]
    assert (tmp_path / "slides" / "02_small.html").read_text("utf-8") == "as before"
