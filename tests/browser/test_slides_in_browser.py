"""Slides in a browser, from the disk and with networking off: each fits, panels live, keys turn the right thing."""

import base64
import html
import io
import json

import nbformat
import pytest
import sample_site
import slides
from axe_playwright_python.sync_playwright import Axe
from harness import until
from PIL import Image

from xlib.course import _table
from xlib.explore import page as page_of
from xlib.explore import recorded

pytestmark = [pytest.mark.browser, pytest.mark.long]

ASKED = {"asked": {"name": "02/sample", "question": "Which is <largest>?", "choices": ["the first", "the last"]}}
TRUTH = {"truth": {"name": "02/sample", "truth": {"text": "the last"}, "words": "It is."}}
LONG = "\n\n".join(["## 2 · Much to read", "word " * 160, "$$\\frac{1}{n}\\sum_i x_i$$", "> quoted " + "word " * 120])
RECALL = (
    "**Recall questions**\n\n<details><summary>1 · " + "why " * 60 + "?</summary>" + "because " * 90 + "</details>"
)
GO = """(i) => {
  const slide = document.querySelectorAll(".slides section section")[i], { h, v } = Reveal.getIndices(slide);
  Reveal.slide(h, v);
}"""
# Of the slide that is seen: what does not fit, and its smallest letters.
LOOK = """() => {
  const slide = Reveal.getCurrentSlide(), body = slide.querySelector(".body");
  const said = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  const letters = [...slide.querySelectorAll(":scope > h2, .body *")].filter((node) => said(node) &&
    node.checkVisibility() && !node.closest(".body > .alive, math, script, style"));
  return {
    over: Math.max(slide.scrollHeight - 720, slide.scrollWidth - 1280, body.scrollHeight - body.clientHeight - 1,
      body.scrollWidth - body.clientWidth - 1),
    smallest: Math.min(...letters.map((node) => parseFloat(getComputedStyle(node).fontSize)), 99),
    high: body.clientHeight,
  };
}"""
AT = "() => [...document.querySelectorAll('.slides section section')].indexOf(Reveal.getCurrentSlide())"


def shown(page_form):
    return nbformat.v4.new_output("display_data", {"text/html": page_form})


def told(kind, data):
    return shown(f'<div class="{kind}" data-xlib="{html.escape(json.dumps(data))}"></div>')


def table():
    """Sixteen rows with four intervals each, wider than a slide."""
    names = ("InfoNCE, τ learned", "positives only, not normalised", "popular by turns, masked")
    columns = {"run": _table.column("run", [f"{names[i % 3]}, {i}" for i in range(16)], None)}
    for k in range(4):
        intervals = [_table.Interval(0.1 * i, 0.1 * i - 0.05, 0.1 * i + 0.05) for i in range(16)]
        columns[f"from picture {k}"] = _table.column(f"from picture {k}", intervals, None)
    return _table.as_html(columns)


def wide():
    """Nine rows of three intervals and three numbers: they fit side by side, and not with intervals below."""
    columns = {"five splits": _table.column("five splits", [f"own mean, {i}" for i in range(9)], None)}
    for name in ("R@10, second", "adds", "R@10, first"):
        intervals = [_table.Interval(0.4 + 0.01 * i, 0.35 + 0.01 * i, 0.45 + 0.01 * i) for i in range(9)]
        columns[name] = _table.column(name, intervals, None)
    for name in ("information", "entropy", "density"):
        columns[name] = _table.column(name, [1.234] * 9, None)
    return _table.as_html(columns)


def picture():
    found = io.BytesIO()
    Image.new("RGB", (1400, 400), "grey").save(found, "PNG")
    data = {"image/png": base64.b64encode(found.getvalue()).decode()}
    return nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": "a grey field", "width": 700}})


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The file of a small lesson's slides. What a kernel would have shown is made here, which takes less time."""
    alive = {}
    exec(sample_site.PANEL.replace("\npanel(", "\nwidth = panel("), alive)
    exec(sample_site.EXPLORER, alive)
    line = nbformat.v4.new_output("stream", text="a line that is printed " * 12)
    results = [told("xlib-predict", ASKED), shown(table()), line, told("xlib-truth", TRUTH)]
    texts, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [texts(sample_site.TITLE), texts("## 1 · First\n\n**Play** with $x$."), texts(LONG), texts(RECALL)]
    cells[2:2] = [code(outputs=[shown(recorded.body(alive["width"]))]), code(outputs=results)]
    cells[5:5] = [code(outputs=[picture()]), code(outputs=[shown(page_of.body(alive["explorer"]))])]
    printed = nbformat.v4.new_output(
        "stream", text="a name    0.1 [0.0, 0.2]    more    0.3 [0.2, 0.4]    and more    0.5 [0.4, 0.6]\n" * 4
    )
    lead = texts("## 3 · Led\n\n" + "full " * 80 + "\n\n" + "lead " * 40)
    cells[7:7] = [
        lead,
        code(outputs=[picture()]),
        code(outputs=[told("xlib-predict", ASKED), shown(wide()), printed]),
    ]
    path = tmp_path_factory.mktemp("slides") / "02_sample.html"
    path.write_text(slides.document(nbformat.v4.new_notebook(cells=cells), "02_sample"), "utf-8")
    return path


@pytest.fixture
def page(browser, sample):
    """The slides at 1280 × 720, without a network; fails on what the console reports and on any request."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True, reduced_motion="reduce")
    found, errors = context.new_page(), []
    context.on("console", lambda said: said.type in ("error", "warning") and errors.append(said.text))
    found.on("pageerror", lambda error: errors.append(str(error)))
    own = (sample.as_uri(), "data:", "blob:")
    context.on("request", lambda asked: asked.url.startswith(own) or errors.append(f"asks for {asked.url}"))
    found.goto(sample.as_uri())
    until(lambda: found.evaluate("() => Reveal.isReady()"), "it starts")
    yield found
    context.close()
    assert errors == []


def to(page, kind):
    """Go to the first slide of a kind; its place."""
    found = page.evaluate(
        "(kind) => [...document.querySelectorAll('.slides section section')].findIndex((s) => s.matches(kind))", kind
    )
    page.evaluate(GO, found)
    return found


def serious(page):
    found = Axe().run(page, options={"preload": False}).response["violations"]
    bad = [each for each in found if each["impact"] in ("serious", "critical")]
    return [(each["id"], node["target"]) for each in bad for node in each["nodes"]]


def test_every_slide_fits_and_can_be_read(page):
    kinds = page.evaluate("() => [...document.querySelectorAll('.slides section section')].map((s) => s.className)")
    assert len(kinds) >= 12
    for i in range(len(kinds)):
        page.evaluate(GO, i)
        until(lambda: page.evaluate(LOOK)["over"] <= 0, f"slide {i} fits", seconds=20)
        seen = page.evaluate(LOOK)
        assert seen["smallest"] >= 18, (i, seen)
        assert seen["high"] > 500, (i, seen)


def test_letters_become_smaller_before_a_line_breaks_or_an_interval_stands_below_its_mean(page):
    all_of_them = "[...document.querySelectorAll('.slides section section')]"
    place = page.evaluate(f"() => {all_of_them}.findIndex((slide) => slide.innerHTML.includes('a name'))")
    page.evaluate(GO, place)
    until(lambda: page.evaluate(LOOK)["over"] <= 0, "it fits", seconds=20)
    lines = page.locator(".present pre").evaluate(
        "(node) => node.getBoundingClientRect().height / parseFloat(getComputedStyle(node).lineHeight)"
    )
    assert lines == pytest.approx(4, abs=0.2)
    page.evaluate(GO, place - 1)
    until(lambda: page.evaluate(LOOK)["over"] <= 0, "the table fits", seconds=20)
    assert "tighter" not in page.evaluate("() => Reveal.getCurrentSlide().querySelector('.body').className")


def test_a_slider_moves_its_picture_and_arrows_within_it_do_not_turn_the_page(page):
    here = to(page, ".alive")
    slider = page.locator(".present .xlib-panel:not(.still)").get_by_role("slider", name="width")
    slider.wait_for()
    picture = page.locator(".present .xlib-panel:not(.still) svg").first
    before = picture.get_attribute("aria-label")
    slider.press("ArrowLeft")
    until(lambda: picture.get_attribute("aria-label") != before, "it moves")
    page.locator(".present").get_by_role("button", name="reset").press("ArrowRight")  # which is no field to type into
    assert page.evaluate(AT) == here
    slider.press("PageDown")  # what turns pages in a lecturer's hand
    assert page.evaluate(AT) == here + 1
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(AT) == here
    box = picture.bounding_box()
    assert box["width"] > 500  # larger than on a page


def test_a_map_is_told_in_its_own_pixels_where_the_pointer_is_when_the_room_is_large(page):
    """An explorer asks for offsetX and offsetY; its slide is scaled, and it is zoomed within."""
    page.set_viewport_size({"width": 1920, "height": 1080})
    to(page, "[class~=alive]:has([data-kind=explorer])")
    canvas = page.locator(".present .xlib-explorer .stage > canvas").first
    canvas.wait_for()
    page.wait_for_timeout(500)
    canvas.evaluate("(node) => node.addEventListener('pointermove', (e) => (window.at = [e.offsetX, e.offsetY]))")
    box = canvas.bounding_box()
    own = canvas.evaluate("(node) => [node.clientWidth, node.clientHeight]")
    assert box["width"] > 1.4 * own[0]
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    assert page.evaluate("() => window.at") == pytest.approx([0.75 * own[0], 0.25 * own[1]], abs=3)


def test_the_first_and_a_panels_slide_are_accessible_and_the_answer_comes_with_a_key(page):
    assert serious(page) == []
    to(page, ".alive")
    page.locator(".present .xlib-panel:not(.still)").wait_for()
    assert serious(page) == []
    to(page, ".recall")
    answer = page.locator(".present .fragment")
    assert not answer.evaluate("(node) => node.classList.contains('visible')")
    page.keyboard.press("ArrowRight")
    assert answer.evaluate("(node) => node.classList.contains('visible')")


def test_the_speakers_window_has_the_notes(page):
    to(page, ".figure")
    with page.context.expect_page() as opened:
        page.keyboard.press("s")
    notes = opened.value.locator(".speaker-controls-notes")
    until(lambda: "Cell" in notes.inner_text(), "the notes come", seconds=15)
