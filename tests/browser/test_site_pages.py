"""The built site in a browser, from files, with networking off: links, what lives in it, search, themes, phone,
print, accessibility, and what a page costs."""

import functools
import http.server
import re
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import sample_site
from axe_playwright_python.sync_playwright import Axe
from harness import PIXELS, until

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.xdist_group("site")]  # in the process that builds it

PAGES = ["index", "first", "second", "glossary", "explorer", "results", "search", "404"]
PAGES += ["api/xlib.clip", "api/xlib.experiments.numbers"]  # signatures and long names
VIEWS = [*((name, 390, "dark") for name in PAGES), *((name, 1200, "light") for name in PAGES)]
CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const { color, backgroundColor: own } = getComputedStyle(document.body);
  const backgroundColor = own.endsWith(", 0)") ? getComputedStyle(document.documentElement).backgroundColor : own;
  return [light(color), light(backgroundColor)];
}"""
SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value);
}).observe({ type: "layout-shift", buffered: true });"""
PAINT = "() => Math.max(...performance.getEntriesByType('paint').map((entry) => entry.startTime))"


@pytest.fixture
def visit(browser):
    """Opens pages of the site in a context without a network; fails on anything that the console reports, and on any
    request for what is no file of the site."""
    contexts, errors = [], []
    site = sample_site.built().as_uri() + "/"

    def asked(request):
        page.asked.append(request.url)
        if not request.url.startswith((site, "data:", "blob:")):
            errors.append(f"asks for {request.url}")

    def go(name, *, width=1200, scheme="light", **more):
        nonlocal page
        options = {"offline": True, "reduced_motion": "reduce", "color_scheme": scheme} | more
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.asked = []
        page.add_init_script(SHIFTS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
        page.on("request", asked)
        page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
        page.goto(site + (name if ".html" in name else f"{name}.html"))
        return page

    page = None
    yield go
    for context in contexts:
        context.close()
    assert errors == []


def violations(page):
    found = Axe().run(page, options={"preload": False}).response["violations"]  # or it would ask for style sheets
    return [(each["id"], node["target"]) for each in found for node in each["nodes"]]


def through(page):
    """Scroll through the whole page, as a reader does."""
    for _ in range(60):
        page.mouse.wheel(0, 500)
        page.wait_for_timeout(30)
        if page.evaluate("() => scrollY + innerHeight >= document.documentElement.scrollHeight - 2"):
            break


@pytest.mark.parametrize(("name", "width", "scheme"), [*VIEWS, ("first", 390, "light"), ("first", 1200, "dark")])
def test_page_reads_well(visit, name, width, scheme):
    page = visit(name, width=width, scheme=scheme)
    through(page)
    page.evaluate("() => document.querySelectorAll('main details').forEach((each) => (each.open = true))")
    page.wait_for_timeout(100)  # what scrolls gets its place in the tab order
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    ink, paper = page.evaluate(CONTRAST)
    assert (ink > paper) == (scheme == "dark")
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 10
    assert violations(page) == []


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", ["index", "first", "glossary"])
def test_nothing_moves_while_one_reads(visit, name, width):
    page = visit(name, width=width)
    page.wait_for_timeout(300)
    through(page)
    page.wait_for_timeout(300)
    for kind in ("explorer", "panel"):
        places = page.locator(f'.xlib-kernelless[data-kind="{kind}"]')
        assert page.locator(f".xlib-{kind}:not(.still)").count() == places.count()
    assert sum(page.evaluate("() => window.shifts")) < 0.01


def test_a_page_is_light_and_its_data_come_when_they_are_near(visit):
    page = visit("404", width=390)
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.goto((sample_site.built() / "first.html").as_uri())
    print(f"first paint on a processor four times as slow: {page.evaluate(PAINT):.0f} ms")
    files = {Path(unquote(urlsplit(url).path)) for url in page.asked if url.startswith("file:")}
    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert not [path for path in files if "fontawesome" in path.name or "mathjax" in path.name.lower()]


def test_all_links_lead_somewhere(visit):
    for name in ("index", "first", "second", "glossary"):
        page = visit(name)
        for href in page.eval_on_selector_all("a[href]", "(links) => links.map((a) => a.getAttribute('href'))"):
            if not href.startswith("https://"):
                place, _, anchor = href.partition("#")
                target = sample_site.built() / (place or f"{name}.html")
                assert target.exists(), href
                assert not anchor or f'id="{anchor}"' in target.read_text("utf-8"), href


def test_the_way_through_the_site(visit):
    page = visit("index")
    for link, heading in (("Second lesson", "Second lesson"), ("previous", "Tiny & mighty"), ("xlib", "xlib")):
        found = (
            page.locator(".prev-next-area a.left-prev") if link == "previous" else page.get_by_role("link", name=link)
        )
        found.first.click()
        assert heading in page.get_by_role("heading", level=1).inner_text()
    assert page.url.endswith("index.html")


def test_it_works_from_a_folder_of_a_server(browser):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *about):
            pass

    folder, errors = sample_site.built(), []
    handler = functools.partial(Quiet, directory=folder.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/{folder.name}/"
        page = browser.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
        page.on("request", lambda request: request.url.startswith((base, "data:")) or errors.append(request.url))
        page.goto(base)
        page.get_by_role("link", name="Tiny").first.click()
        page.locator(".xlib-explorer canvas").first.wait_for()
        page.get_by_role("link", name="glossary").first.click()
        assert "lossary" in page.get_by_role("heading", level=1).inner_text()
        page.close()
        server.shutdown()
    assert errors == []


def test_search_finds_a_lesson_from_files(visit):
    page = visit("search.html?q=mighty")
    found = page.locator("#search-results li a", has_text="Tiny & mighty")
    until(lambda: found.count(), "a page is found")
    found.first.click()
    assert "Tiny & mighty" in page.get_by_role("heading", level=1).inner_text()


def test_the_explorer_is_alive(visit):
    page = visit("first", width=390)
    root = page.locator(".xlib-explorer")
    canvas, slider = root.locator(".stage > canvas").first, root.get_by_role("slider")
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


def test_a_panel_is_alive(visit):
    page = visit("first")
    panel = page.locator(".xlib-panel")
    panel.scroll_into_view_if_needed()
    picture = panel.locator(".stage > svg")
    until(lambda: panel.evaluate("(panel) => !panel.matches('.still')"), "it has started")
    page.wait_for_timeout(500)
    before = len(page.asked)
    panel.get_by_role("slider").focus()
    page.keyboard.press("End")
    until(lambda: picture.get_attribute("aria-label") == "A line up to 2.0.", "it follows the slider")
    brought = [url for url in page.asked[before:] if not url.startswith(("data:", "blob:"))]
    assert len(brought) == 1, "its scenes come when it is touched"
    assert re.search(r"_static/xlib/first-\w+\.js$", brought[0])
    panel.get_by_role("button", name="reset").click()
    until(lambda: picture.get_attribute("aria-label") == "A line up to 1.0.", "reset leads back")


def test_the_themes_switch_changes_all_of_a_page(visit):
    page = visit("first", scheme="dark")
    through(page)
    ink = "(node) => getComputedStyle(node).color"
    parts = [page.locator(kind).first for kind in ("article", ".xlib-explorer", ".xlib-panel")]

    def light():
        """Whether the ink of each part is dark."""
        return [sum(map(float, re.findall(r"[\d.]+", part.evaluate(ink))[:3])) < 384 for part in parts]

    assert light() == [False] * 3
    page.locator(".theme-switch-button:visible").first.click()
    page.get_by_role("button", name="Light").click()
    until(lambda: light() == [True] * 3, "all is light, though the system is dark")
    assert violations(page) == []


def test_the_theme_is_right_before_anything_is_painted(visit):
    for scheme in ("light", "dark"):
        page = visit("second", scheme=scheme)
        page.add_init_script(
            'addEventListener("DOMContentLoaded", () => (window.early = {...document.documentElement.dataset}))'
        )
        page.reload()
        assert page.evaluate("() => [early.mode, early.theme]") == ["auto", scheme]


def test_a_click_lists_neighbours(visit):
    page = visit("first")
    root = page.locator(".xlib-explorer")
    root.get_by_role("slider").focus()
    page.keyboard.press("End")  # the page knows neighbours at the last step
    canvas = root.locator(".stage > canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for x, y in [(x / 12, y / 12) for x in range(3, 10) for y in range(3, 10)]:  # one of these places is an item's
        page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        page.wait_for_timeout(100)  # the list comes with the next frame
        if root.locator("ol .row").first.is_visible():
            break
    assert root.locator("ol .row").count() == 8


def test_hints_open_and_what_is_wide_scrolls_by_keyboard(visit):
    page = visit("first", width=390)
    solution = page.locator("main details", has_text="Solution").last
    assert not solution.locator("pre").is_visible()
    solution.locator("summary").press("Enter")
    assert solution.locator("pre").is_visible()
    page.wait_for_timeout(100)
    assert solution.locator("pre").evaluate("(pre) => pre.scrollWidth > pre.clientWidth && pre.tabIndex === 0")
    assert page.locator("pre.out").first.evaluate("(pre) => pre.tabIndex") == -1  # short, and no stop of the tab key


def test_an_exercise_has_an_address_and_code_can_be_copied_and_unfolded(visit):
    page = visit("first.html#exercise-tiny")
    exercise = page.locator("#exercise-tiny")
    until(lambda: 0 <= exercise.bounding_box()["y"] < 450, "it stands in the upper half of the window")
    assert page.locator("button.copybtn").count() >= 2
    folded = page.locator("details.hide")
    assert folded.count() == 1
    assert not folded.first.evaluate("(details) => details.open")
    page.get_by_role("button", name="All code").click()
    assert folded.first.evaluate("(details) => details.open")


def test_contents_stand_beside_the_text_where_there_is_room(visit):
    for width, is_open in ((1300, True), (390, False)):
        page = visit("first", width=width)
        links = page.locator(".bd-sidebar-secondary a", has_text="An exercise")
        assert links.first.is_visible() == is_open


def test_on_paper_the_text_stands_alone(visit):
    page = visit("first")
    page.emulate_media(media="print")
    for kind in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".prev-next-footer"):
        assert not page.locator(kind).first.is_visible(), kind
    assert page.locator("article h1").is_visible()
    assert page.locator("main pre").first.evaluate("(pre) => getComputedStyle(pre).whiteSpace") == "pre-wrap"
    assert page.evaluate("() => document.querySelector('article').getBoundingClientRect().width > innerWidth * 0.9")
