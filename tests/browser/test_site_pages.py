"""The built site in a browser, from files, with networking off: links, explorers, phone, dark mode, accessibility."""

import pytest
import sample_site
from axe_playwright_python.sync_playwright import Axe
from harness import PIXELS, until

pytestmark = pytest.mark.browser

PAGES = ["index", "first", "second"]
VIEWS = [*((name, 390, "dark") for name in PAGES), *((name, 1200, "light") for name in PAGES)]
CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const { color, backgroundColor } = getComputedStyle(document.body);
  return [light(color), light(backgroundColor)];
}"""


@pytest.fixture
def visit(browser):
    """Opens pages of the site in a context without a network; fails on anything that the console reports."""
    contexts, errors = [], []

    def go(name, *, width=1200, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
        page.on("requestfailed", lambda request: errors.append(request.url))
        page.goto((sample_site.built() / f"{name}.html").as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert errors == []


def violations(page):
    found = Axe().run(page).response["violations"]
    return [(each["id"], node["target"]) for each in found for node in each["nodes"]]


@pytest.mark.parametrize(("name", "width", "scheme"), [*VIEWS, ("first", 390, "light"), ("first", 1200, "dark")])
def test_page_reads_well(visit, name, width, scheme):
    page = visit(name, width=width, scheme=scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    ink, paper = page.evaluate(CONTRAST)
    assert (ink > paper) == (scheme == "dark")
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 10
    page.wait_for_timeout(50)  # what scrolls gets its place in the tab order
    assert violations(page) == []


def test_all_links_lead_somewhere(visit):
    for name in PAGES:
        page = visit(name)
        for href in page.eval_on_selector_all("a", "(links) => links.map((a) => a.getAttribute('href'))"):
            if not href.startswith("https://"):
                place, _, anchor = href.partition("#")
                target = sample_site.built() / (place or f"{name}.html")
                assert target.exists(), href
                assert not anchor or f'id="{anchor}"' in target.read_text("utf-8"), href


def test_the_way_through_the_site(visit):
    page = visit("index")
    for link, heading in (("Second lesson", "Second lesson"), ("Previous", "Tiny & mighty"), ("xlib", "xlib")):
        page.get_by_role("link", name=link).first.click()
        assert heading in page.get_by_role("heading", level=1).inner_text()
    assert page.url.endswith("index.html")


def test_the_explorer_is_alive(visit):
    page = visit("first", width=390)
    root = page.locator(".xlib-explorer")
    canvas, slider = root.locator(".stage > canvas"), root.get_by_role("slider")
    root.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    before = canvas.evaluate(PIXELS)
    slider.focus()
    page.keyboard.press("End")
    until(lambda: canvas.evaluate(PIXELS) != before, "the map follows the slider")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(lambda: root.locator("ol .row").count() == 8, "a chosen item has neighbours")
    assert root.locator("ol .row .caption").first.inner_text()
    page.keyboard.press("Escape")
    root.get_by_role("searchbox").fill("onerror")
    until(lambda: "2 captions hold it" in root.locator("aside").inner_text(), "the hostile caption is found as text")
    assert page.evaluate("() => window.hacked") is None
    assert violations(page) == []


def test_a_click_lists_neighbours(visit):
    page = visit("first")
    root = page.locator(".xlib-explorer")
    root.get_by_role("slider").focus()
    page.keyboard.press("End")  # the page knows neighbours at the last step
    root.locator(".stage > canvas").scroll_into_view_if_needed()
    box = root.locator(".stage > canvas").bounding_box()
    for x, y in [(x / 12, y / 12) for x in range(3, 10) for y in range(3, 10)]:  # one of these places is an item's
        page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        page.wait_for_timeout(100)  # the list comes with the next frame
        if root.locator("ol .row").first.is_visible():
            break
    assert root.locator("ol .row").count() == 8
    assert violations(page) == []


def test_hints_open_and_what_is_wide_scrolls_by_keyboard(visit):
    page = visit("first", width=390)
    solution = page.locator("main details", has_text="Solution").last
    assert not solution.locator("pre").is_visible()
    solution.locator("summary").press("Enter")
    assert solution.locator("pre").is_visible()
    page.wait_for_timeout(100)
    assert solution.locator("pre").evaluate("(pre) => pre.scrollWidth > pre.clientWidth && pre.tabIndex === 0")
    assert page.locator("pre.out").evaluate("(pre) => pre.tabIndex") == -1  # short, and no stop of the tab key


def test_contents_are_open_beside_the_text_and_closed_above_it(visit):
    for width, is_open in ((1200, True), (390, False)):
        assert visit("first", width=width).locator(".contents li").first.is_visible() == is_open
