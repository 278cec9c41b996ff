"""Tables, predictions and check results as a reader meets them: in JupyterLab, reopened, untrusted, and as a page."""

import re
import subprocess
import sys

import build_site
import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from harness import READY, Notebook, until

from xlib.course.checks import records

pytestmark = pytest.mark.browser

TABLE = """from xlib.course import checks, report
from xlib.course.predict import guesses, predict
from xlib.course.report import Gain, Interval

names = "source only, as lesson 03 left it", "DANN, λ = 0.3", "MMD, λ = 20"
means, gains = (Interval(0.41, 0.38, 0.44), Interval(0.62, 0.57, 0.67), Interval(0.71, 0.69, 0.73)), (None, 0.21, 0.3)
rows = [
    {"five seeds": name, "R@1": mean, "more": more and Gain(more, more - 0.05, more + 0.05), "new names": -0.0001,
     "steps": 1200, "what it is": "a sentence that takes some room <b>here</b>"}
    for name, mean, more in zip(names, means, gains)
]
report.table(rows, best={"R@1": "max"})"""
SLIDER = """question = predict("99/share", "Which share finds its caption?", slider=(0, 1, 0.01))
print("the share is shown here")
question.answer(0.3719, words="Chance is 1 in 90.")"""
CHOICE = """question = predict("99/push", "As τ falls, the push …", choices=["rises", "stays", "<i>falls</i>"])
report.table([{"it": "the push is shown here"}])
question.answer("rises")"""
NUMBER = """question = predict("99/memory", "What does N = 4,096 take?", number="MB")
print("the memory is shown here")
question.answer(320.4)"""
WENT = 'guesses("99")'
CHECK = """def gap_closed(source_only, adapted, oracle):
    return (adapted.mean() - source_only.mean()) / (oracle.mean() - source_only.mean()) {}

checks.gap_closed(gap_closed)"""
CELLS = [TABLE, SLIDER, CHOICE, NUMBER, WENT, CHECK.format("+ 1"), CHECK.format("")]
SEEN = """(words) => {
  const at = [...document.querySelectorAll("pre, td, th")].filter((el) => el.textContent.includes(words))
    .filter((el) => !el.closest(".cm-editor, .highlight, .jp-InputArea"));
  const there = (el) => el.checkVisibility({ visibilityProperty: true }) && el.getBoundingClientRect().height > 5;
  return at.length === 1 && there(at[0]);
}"""
CONTRAST = """(el) => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const behind = [];
  for (let each = el; each; each = each.parentElement) behind.unshift(getComputedStyle(each).backgroundColor);
  const light = (colours) => {
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 :
      ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(["#fff", ...behind]), ink = light(["#fff", ...behind, getComputedStyle(el).color]);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""

SHUT_DOWN = """async () => {
  const context = window.jupyterapp.shell.currentWidget.sessionContext;
  await context.shutdown();
  return !context.session?.kernel;
}"""


@pytest.fixture(scope="module")
def shown(browser, lab):
    """The cells above, run; what was guessed and solved before is forgotten."""
    notebook = Notebook(browser, lab, lab.add("shown.ipynb", CELLS), viewport={"width": 1400, "height": 1000})
    notebook.page.evaluate("localStorage.clear()")
    (lab.notebooks / records.NAME).unlink(missing_ok=True)  # other tests solve the same exercise
    notebook.run_all()
    yield notebook
    notebook.close()


@pytest.fixture
def asked(shown):
    """The same, with nothing answered."""
    shown.page.evaluate("""() => {
      for (const [key, text] of Object.entries(localStorage).filter(([key]) => key.startsWith("xlib-predict:"))) {
        const { guess, skipped, ...rest } = JSON.parse(text);
        localStorage.setItem(key, JSON.stringify(rest));
      }
      document.dispatchEvent(new Event("xlib-predict"));
    }""")
    return shown


def question(page, words):
    box = page.locator(".xlib-predict", has_text=words).first
    box.scroll_into_view_if_needed()
    return box


def went(page):
    """How the guesses went."""
    return page.locator(".xlib-predict:has(table)")


def seen(page, what):
    return page.evaluate(SEEN, f"{what} shown here")


# -- tables


def test_a_table_on_a_phone_scrolls_inside_itself_and_keeps_its_first_column(shown):
    page = shown.page
    shown.command("application:toggle-left-area")
    page.set_viewport_size({"width": 390, "height": 800})
    try:
        table = page.locator(".xlib-table").first
        table.scroll_into_view_if_needed()
        inside = "(el) => [el.clientWidth, el.scrollWidth, el.getBoundingClientRect().right <= innerWidth]"
        until(lambda: table.evaluate(inside)[0] < 390, "the notebook takes the phone's width")
        width, whole, fits = table.evaluate(inside)
        assert whole > width
        assert fits
        row = table.locator("tbody tr").first
        first, last = row.locator("th"), row.locator("td").last
        before = first.bounding_box()["x"], last.bounding_box()["x"]
        table.focus()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        until(lambda: table.evaluate("(el) => el.scrollLeft") > 50, "the arrow key scrolls the table")
        assert last.bounding_box()["x"] < before[1] - 50
        assert first.bounding_box()["x"] == pytest.approx(before[0], abs=1)
        on_top = """(el) => {
          const { x, y, width, height } = el.getBoundingClientRect();
          const opaque = !/rgba|transparent/.test(getComputedStyle(el).backgroundColor);
          return opaque && el.contains(document.elementFromPoint(x + width - 2, y + height / 2));
        }"""
        assert first.evaluate(on_top)
        assert table.locator("thead th").first.evaluate(on_top)
    finally:
        page.set_viewport_size({"width": 1400, "height": 1000})
        shown.command("application:toggle-left-area")


def test_a_table_says_what_it_is_and_shows_the_best(shown):
    table = shown.page.get_by_role("region", name=re.compile("^Table of 3 rows: five seeds, R@1, more, "))
    table.scroll_into_view_if_needed()  # which waits for a page that another test has just loaded anew
    assert [each.inner_text() for each in table.locator("strong").all()] == ["0.71"]
    assert table.get_by_role("columnheader").all_inner_texts()[:2] == ["five seeds", "R@1"]
    assert table.get_by_role("rowheader").all_inner_texts()[1] == "DANN, λ = 0.3"
    assert "<b>here</b>" in table.inner_text()
    assert "-0.000" not in table.inner_text()
    bars = table.locator("tbody tr").nth(2).locator("td").first.locator("svg circle")
    assert float(bars.get_attribute("cx")) == pytest.approx(4 + 64 * (0.71 - 0.38) / (0.73 - 0.38), abs=0.1)
    cells = table.locator("tbody tr").nth(2).locator("td")
    drawn, following = cells.first.locator("svg").bounding_box(), cells.nth(1).bounding_box()
    assert drawn["x"] + drawn["width"] < following["x"]  # in its own column


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_small_and_grey_text_can_be_read_in_both_themes(asked, theme):
    page = asked.page
    asked.command("apputils:change-theme", theme=theme)
    try:
        dark = str(theme.endswith("Light")).lower()
        page.wait_for_function("(light) => document.body.dataset.jpThemeLight === light", arg=dark)
        page.wait_for_timeout(500)  # the theme's style sheet comes a little later
        for what in (".xlib-table small", ".xlib-table thead th", ".xlib-predict .folded", ".xlib-predict legend"):
            each = page.locator(what).locator("visible=true").first
            each.scroll_into_view_if_needed()
            assert each.evaluate(CONTRAST) >= 4.5, what
        for what in (".xlib-check .count", ".xlib-check summary", ".xlib-check .passed", ".xlib-check .wrong"):
            page.locator(what).first.scroll_into_view_if_needed()
            assert page.locator(what).first.evaluate(CONTRAST) >= 4.5, what
    finally:
        asked.command("apputils:change-theme", theme="JupyterLab Light")


# -- predictions


@pytest.fixture
def untouched(browser, lab):
    """The same in a page of its own, in which nobody has moved a slider."""
    notebook = Notebook(browser, lab, lab.add("untouched.ipynb", CELLS)).run_all()
    yield notebook
    notebook.close()


def test_a_result_is_folded_until_the_slider_was_touched_and_confirmed(untouched):
    page, box = untouched.page, question(untouched.page, "Which share")
    sure, slider = box.get_by_role("button", name="That is my guess"), box.get_by_role("slider")
    assert not seen(page, "the share is")
    assert "The result is folded" in box.inner_text()
    assert sure.is_disabled()
    assert slider.get_attribute("aria-valuetext") == "no guess yet"
    slider.click(position={"x": slider.bounding_box()["width"] / 4, "y": 2})
    assert not seen(page, "the share is")
    assert 0.2 < float(box.locator("output").inner_text()) < 0.3
    said = box.locator("output").inner_text()
    sure.click()
    until(lambda: seen(page, "the share is"), "the result unfolds")
    assert box.get_by_role("status").inner_text() == f"You said {said}, it is 0.37. Chance is 1 in 90."
    assert page.locator(".xlib-truth").first.is_hidden()


def test_a_click_in_the_middle_of_the_slider_is_an_answer(untouched):
    box = question(untouched.page, "Which share")
    box.get_by_role("slider").click()
    assert box.locator("output").inner_text() == "0.50"
    assert box.get_by_role("button", name="That is my guess").is_enabled()


def test_keyboard_alone_answers_and_answers_anew(asked):
    page, box = asked.page, question(asked.page, "As τ falls")
    cell = page.locator(".jp-Notebook .jp-Cell.jp-mod-active")
    box.get_by_role("radio").first.focus()
    active = cell.evaluate("(el) => [...el.parentElement.children].indexOf(el)")
    page.keyboard.press("ArrowDown")  # JupyterLab would go to the next cell
    assert box.get_by_role("radio", name="stays").is_checked()
    assert cell.evaluate("(el) => [...el.parentElement.children].indexOf(el)") == active
    assert not seen(page, "the push is")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    until(lambda: seen(page, "the push is"), "the table unfolds")
    verdict = box.get_by_role("status")
    assert verdict.inner_text() == "✗ You said “stays”: no, “rises”."
    assert verdict.evaluate("(el) => el === document.activeElement")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    until(lambda: not seen(page, "the push is"), "the table is folded again")
    assert box.get_by_role("button", name="That is my guess").is_disabled()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    until(lambda: verdict.inner_text() == "✓ You said “rises”: yes.", "the new answer counts")
    assert box.locator("i").count() == 0  # a choice is text

    number = question(page, "What does N").get_by_role("spinbutton")
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    number.press_sequentially("dd64")  # by two d, JupyterLab deletes a cell
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    page.keyboard.press("Enter")
    until(lambda: seen(page, "the memory is"), "Enter confirms a number")
    assert question(page, "What does N").get_by_role("status").inner_text() == "You said 64 MB, it is 320 MB."


def test_skipping_shows_the_result_and_is_no_guess(asked):
    page, box = asked.page, question(asked.page, "What does N")
    box.get_by_role("button", name="Skip").click()
    until(lambda: seen(page, "the memory is"), "the result unfolds")
    assert box.get_by_role("status").inner_text() == "Skipped. Answer: 320 MB."
    assert went(page).get_by_role("status").inner_text() == "You answered 0 of 3 questions."
    assert went(page).locator("tbody tr").last.locator("td").all_inner_texts() == [
        "What does N = 4,096 take?", "skipped", "320 MB",
    ]  # fmt: skip


def test_guesses_are_summed_up_as_they_are_given_and_can_be_forgotten(asked):
    page, summary = asked.page, went(asked.page)
    assert summary.get_by_role("status").inner_text() == "You answered 0 of 3 questions."
    assert "0.37" not in summary.inner_text()  # nothing is given away
    question(page, "Which share").get_by_role("slider").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    question(page, "As τ falls").get_by_role("radio", name="rises").check()
    question(page, "As τ falls").get_by_role("button", name="That is my guess").click()
    question(page, "What does N").get_by_role("spinbutton").fill("160")
    page.keyboard.press("Enter")
    summary.scroll_into_view_if_needed()
    sentence = (
        "You answered 3 of 3 questions. Right choices: 1 of 1. Sliders: off by 63% of their length on average. "
    )
    sentence += "Numbers: off by 50% of the true number on average."
    until(lambda: summary.get_by_role("status").inner_text() == sentence, "the sum follows the answers")
    assert summary.locator("tbody tr").first.locator("td").all_inner_texts()[1:] == ["1.00", "0.37"]
    summary.get_by_role("button", name="Forget").click()
    assert not seen(page, "the share is")
    assert summary.get_by_role("status").inner_text() == "You answered 0 of 3 questions."


def test_what_was_said_survives_a_second_run_and_a_page_without_a_kernel(browser, lab):
    notebook = Notebook(
        browser, lab, lab.add("again.ipynb", CELLS), viewport={"width": 1400, "height": 1000}
    ).run_all()
    page, said = notebook.page, "You said 0.00, it is 0.37. Chance is 1 in 90."
    question(page, "Which share").get_by_role("slider").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    notebook.run_all()
    verdict = question(page, "Which share").get_by_role("status")
    until(lambda: verdict.inner_text() == said, "a second run keeps the guess")
    assert seen(page, "the share is")

    notebook.command("docmanager:save")
    page.on("dialog", lambda dialog: dialog.accept())  # an output that comes late is not saved, and JupyterLab asks
    page.goto(lab.url("again.ipynb"))  # and not reload, which would open the other tests' notebooks as well
    page.wait_for_function(READY, timeout=90_000)
    until(lambda: page.evaluate(SHUT_DOWN), "the kernel is shut down", seconds=60)
    assert question(page, "Which share").get_by_role("status").inner_text() == said
    other = question(page, "As τ falls")
    assert not seen(page, "the push is")
    other.get_by_role("radio", name="rises").check()
    other.get_by_role("button", name="That is my guess").click()
    until(lambda: seen(page, "the push is"), "an answer is taken without a kernel")
    assert other.get_by_role("status").inner_text() == "✓ You said “rises”: yes."
    notebook.close()


def test_an_error_is_no_result_and_is_not_folded(browser, lab):
    cells = ["from xlib.course.predict import predict\npredict('98/error', 'Will it work?', number='')\n1 / 0"]
    notebook = Notebook(browser, lab, lab.add("error.ipynb", cells))
    notebook.command("notebook:run-all-cells")
    error = notebook.page.locator(".jp-OutputArea-child", has_text="ZeroDivisionError")
    error.wait_for()
    assert notebook.page.get_by_text("The result is folded").is_visible()
    assert error.bounding_box()["height"] > 20
    notebook.close()


def test_without_trust_everything_is_shown_as_text(asked, browser, lab):
    asked.command("docmanager:save")
    until(lambda: "the share is shown here" in (lab.notebooks / "shown.ipynb").read_text("utf-8"), "it is saved")
    notebook = nbformat.read(lab.notebooks / "shown.ipynb", as_version=4)
    notebook.cells[0].source += "\n# what nobody here has run"  # so that it has no signature
    for output in (output for cell in notebook.cells for output in cell.outputs):
        if "text/html" in output.get("data", {}):
            output.data["text/html"] = output.data["text/html"].replace("five seeds", "5 seeds")
    nbformat.write(notebook, lab.notebooks / "stranger.ipynb")
    other = Notebook(browser, lab, "stranger.ipynb", viewport={"width": 1400, "height": 2500})
    page = other.page
    assert page.locator("th", has_text="5 seeds").first.is_visible()
    assert page.locator(".xlib-predict button").count() == 0
    assert page.get_by_text("Predict: Which share finds its caption? (from 0 to 1)").is_visible()
    assert seen(page, "the share is")
    assert page.get_by_text("Answer: 0.37. Chance is 1 in 90.").is_visible()
    right = page.locator("td", has_text="0.71").first
    assert right.evaluate("(el) => getComputedStyle(el).textAlign") == "right"
    other.close()


@pytest.mark.parametrize("made_by", ["nbconvert", "our site"])
def test_a_page_folds_and_unfolds_from_a_file(asked, browser, lab, tmp_path, made_by):
    asked.command("docmanager:save")
    until(lambda: "the share is shown here" in (lab.notebooks / "shown.ipynb").read_text("utf-8"), "it is saved")
    file = tmp_path / "shown.html"
    if made_by == "nbconvert":
        command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", tmp_path]
        subprocess.run([*command, lab.notebooks / "shown.ipynb"], check=True, capture_output=True)
    else:
        notebook = nbformat.read(lab.notebooks / "shown.ipynb", as_version=4)
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# Results"))
        source, file = tmp_path / "source", tmp_path / "site" / "index.html"
        for folder in (source / "_static" / "xlib", file.parent):
            folder.mkdir(parents=True)
        nbformat.write(build_site.for_sphinx(notebook, "index", source / "_static" / "xlib"), source / "index.ipynb")
        build_site.render(source, file.parent, ["index"])
    context = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark", offline=True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    box = question(page, "As τ falls")
    assert not seen(page, "the push is")
    if made_by == "our site":
        found = Axe().run(page, options={"preload": False}).response["violations"]
        assert [(each["id"], node["target"]) for each in found for node in each["nodes"]] == []
    box.get_by_role("radio", name="stays").check()
    box.get_by_role("button", name="That is my guess").click()
    assert seen(page, "the push is")
    assert not seen(page, "the memory is")
    page.reload()
    assert seen(page, "the push is")
    assert (
        page.locator(".xlib-predict:has(table)").get_by_role("status").inner_text().startswith("You answered 1 of 3")
    )
    assert errors == []
    context.close()


# -- checks


def test_a_check_shows_wrong_and_right_by_sign_shape_and_words(shown):
    page = shown.page
    wrong, right = (page.locator(".xlib-check").nth(i) for i in range(2))
    wrong.scroll_into_view_if_needed()
    assert wrong.get_by_role("img", name="wrong").inner_text() == "✗"
    assert right.get_by_role("img", name="passed").inner_text() == "✓"
    radius = "(el) => getComputedStyle(el).borderRadius"
    assert wrong.locator("b").evaluate(radius) != right.locator("b").evaluate(radius) == "50%"
    given = wrong.locator("details code")
    assert not given.is_visible()
    assert "(input:" not in wrong.inner_text()
    wrong.get_by_text("the input that showed it").click()
    assert given.inner_text().startswith("source_only = [")
    assert right.locator("details").count() == 0
    assert wrong.inner_text().rstrip().endswith("0 of 5 solved in this lesson")
    assert right.inner_text().rstrip().endswith("1 of 5 solved in this lesson")
