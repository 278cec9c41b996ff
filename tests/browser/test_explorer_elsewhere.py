"""The explorer outside JupyterLab's notebook: as a file without kernel and network, in Notebook 7, on a plain page of
nbconvert; and what axe-core says to all of it."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from harness import Lab, Notebook, until

from xlib.explore import explore, page

pytestmark = pytest.mark.browser

HOSTILE = """</script><img src=x onerror="window.hacked=1"><!--<script>"""
N = 40


def make(**changes):
    """40 pictures and 40 captions in two domains, three snapshots."""
    rng = np.random.default_rng(0)
    end = np.repeat(rng.normal(size=(4, 16)), 10, 0)
    end = np.concatenate([end + 0.3 * rng.normal(size=(N, 16)) for _ in range(2)])
    start = rng.normal(size=(2 * N, 16))
    pictures = np.zeros((N, 3, 24, 24))
    pictures[:] = rng.random((N, 3, 1, 1))
    options = {
        "captions": [HOSTILE, *[f"thing {i}" for i in range(1, N)]] * 2,
        "images": [*pictures, *[None] * N],
        "labels": [f"class {i // 10}" for i in range(N)] * 2,
        "domains": ["clean"] * 20 + ["photo"] * 20 + [None] * N,
        "pairs": [*range(N, 2 * N), *range(N)],
        "steps": [0, 50, 100],
        "title": f"Forty things {HOSTILE}",
    } | changes
    return explore(np.stack([start, (start + end) / 2, end]), **options)


@pytest.fixture(scope="module")
def explorer():
    found = make()
    found.axis = ["thing 1", "thing 25"]
    found.projection = "pca"
    return found


class Page:
    """An exported file, opened from the disk with the network off."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900}, **options)
        self.page, self.errors = self.context.new_page(), []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.goto(path.as_uri())
        self.root = self.page.locator(".xlib-explorer")
        self.canvas = self.root.locator(".stage > canvas").first
        self.rows = self.root.locator("ol .row")
        until(lambda: self.look().count("#") > 3, "the map is drawn")

    def look(self):
        """A hash of the picture, with a "#" for each of its first colours."""
        count = """(c) => {
          const d = new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer);
          return [new Set(d).size, d.reduce((h, v) => (h * 31 + v) | 0, 7)]; }"""
        colours, code = self.canvas.evaluate(count)
        return "#" * min(colours, 50) + str(code)

    def select(self, key="ArrowRight"):
        self.canvas.focus()
        self.page.keyboard.press(key)
        self.page.keyboard.press("Enter")
        self.root.locator(".head .caption").wait_for()


@pytest.fixture
def opened(browser, explorer, tmp_path):
    explorer.to_html(tmp_path / "explorer.html")
    found = Page(browser, tmp_path / "explorer.html")
    yield found
    assert found.errors == []
    found.context.close()


def test_the_file_is_alive_without_kernel_and_network(opened, explorer):
    before = opened.look()
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("End")
    until(lambda: opened.look() != before, "the map follows the slider")
    opened.page.wait_for_timeout(700)
    opened.root.get_by_role("searchbox").fill("thing 17")
    opened.root.get_by_text("2 of 80 match").wait_for()
    opened.page.keyboard.press("Enter")
    opened.root.locator(".head .caption").wait_for()
    explorer.step, explorer.selected = 2, [17]
    model = explorer.model
    assert opened.rows.locator(".caption").all_inner_texts() == [model.captions[j] for j, _ in model.neighbours]
    cosines = [float(cosine) for cosine in opened.rows.locator(".meta").all_inner_texts()]
    assert cosines == pytest.approx([cosine for _, cosine in model.neighbours], abs=0.005)
    assert opened.root.locator("[data-ui=note]").inner_text() == model.note
    warning = opened.root.locator("[data-ui=warning]")
    assert (warning.inner_text() if warning.is_visible() else "") == model.warning
    rank = opened.root.locator(".pair .rank").inner_text()
    words = {"first": "1st", "second": "2nd", "third": "3rd"}
    rank = re.sub("first|second|third", lambda word: words[word[0]], rank)
    assert [int(number) for number in re.findall(r"\d+", rank)] == [40, *model.ranks, 40]
    opened.root.get_by_role("button", name="Other modality").click()
    explorer.among = "other"
    until(
        lambda: opened.rows.locator(".caption").all_inner_texts() == [model.captions[j] for j, _ in model.neighbours],
        "the neighbours of the other modality are listed",
    )
    explorer.among = "all"
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("Home")
    opened.root.get_by_text("This page knows neighbours at the last step only: step 100.").wait_for()
    assert opened.rows.count() == 0


def test_the_file_has_both_maps_and_comparisons_but_nothing_that_needs_a_kernel(opened):
    options = opened.root.locator("[data-ui=projection] option:not([disabled])").all_inner_texts()
    assert options == ["PCA", "Between two texts"]
    before = opened.look()
    opened.root.get_by_label("Projection").select_option("axis")
    until(lambda: opened.look() != before, "the other projection is shown")
    assert opened.root.locator(".axis.x span").all_inner_texts() == ["← thing 1", "cosine", "thing 25 →"]
    assert not opened.root.get_by_role("textbox", name="Your own caption").is_visible()
    assert not opened.root.get_by_role("textbox", name="Axis from").is_visible()
    assert opened.root.locator("[data-ui=compare] option:not([disabled])").all_inner_texts() == [
        *("nothing", "first and later step", "modalities", "domains"),
    ]
    opened.root.get_by_label("Compare").select_option("domains")
    until(lambda: opened.root.locator(".stage > canvas").count() == 2, "two maps are shown")
    assert opened.root.locator(".what").all_inner_texts() == ["clean", "photo"]


def test_captions_of_the_file_are_text(opened):
    opened.root.get_by_role("searchbox").fill("<!--")
    opened.page.keyboard.press("Enter")
    until(lambda: opened.root.locator(".head .caption").inner_text() == HOSTILE, "the caption is shown as it is")
    opened.root.get_by_role("button", name="Table", exact=True).click()
    assert opened.root.locator("tbody th").first.inner_text() == HOSTILE
    assert opened.root.locator("img").count() == 0
    assert opened.page.evaluate("() => window.hacked") is None
    assert opened.page.title() == f"Forty things {HOSTILE}"


def test_an_unescaped_caption_would_be_noticed(browser, explorer, tmp_path, monkeypatch):
    """The same file without the one line that escapes: the check above is not idle."""
    escaped = re.compile(r"\\u003c")
    monkeypatch.setattr(page, "body", lambda e, body=page.body: escaped.sub("<", body(e)))
    explorer.to_html(tmp_path / "broken.html")
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.goto((tmp_path / "broken.html").as_uri())
    tab.wait_for_timeout(300)
    assert tab.locator(".xlib-explorer").count() == 0 or tab.evaluate("() => window.hacked") == 1
    context.close()


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"])
def test_the_first_arrow_reaches_an_item_of_a_collapsed_map(browser, tmp_path, key):
    """All items lie in one point: none lies ahead of the middle, in any direction."""
    explore(np.ones((5, 4)), captions=list("abcde"), labels=list("aabbc")).to_html(tmp_path / "one.html")
    opened = Page(browser, tmp_path / "one.html")
    opened.select(key)
    assert opened.root.locator(".head .caption").inner_text() in "abcde"
    opened.context.close()


RIM = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let n = 0;
  for (let i = 0; i < data.length; i += 4) n += data[i] < 215 && data[i + 1] > 100 && data[i + 2] < 130;
  return n; // pixels of a darker yellow
}"""


def test_yellow_marks_have_a_rim_on_white(browser, tmp_path):
    labels = [*"abcdef", *"g" * 64]  # the seventh colour is yellow
    vectors = np.random.default_rng(0).normal(size=(70, 8))
    explore(vectors, captions=[""] * 70, labels=labels).to_html(tmp_path / "yellow.html")
    opened = Page(browser, tmp_path / "yellow.html", color_scheme="light")
    assert opened.canvas.evaluate(RIM) > 500
    opened.context.close()


def test_nothing_is_wider_than_a_phone(browser, explorer, tmp_path):
    explorer.to_html(tmp_path / "explorer.html")
    phone = Page(browser, tmp_path / "explorer.html", is_mobile=True, device_scale_factor=2)
    phone.page.set_viewport_size({"width": 390, "height": 800})
    for tab in ("Map", "Matrix", "Table"):
        phone.root.get_by_role("button", name=tab, exact=True).click()
        phone.page.wait_for_timeout(150)
        assert phone.page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert phone.errors == []
    phone.context.close()


def violations(tab, where=None):
    found = Axe().run(tab, context=where).response["violations"]
    return [f"{v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_file(browser, explorer, tmp_path, scheme):
    explorer.to_html(tmp_path / "explorer.html")
    opened = Page(browser, tmp_path / "explorer.html", color_scheme=scheme)
    assert violations(opened.page) == []
    opened.root.get_by_role("slider").focus()
    opened.page.keyboard.press("End")  # where the page knows neighbours
    opened.select()
    for tab in ("Map", "Matrix", "Table"):
        opened.root.get_by_role("button", name=tab, exact=True).click()
        assert violations(opened.page) == []
    opened.root.locator(".sheet").evaluate("(sheet) => sheet.removeAttribute('aria-label')")
    opened.root.locator(".note").first.evaluate("(note) => (note.style.color = '#999')")
    opened.root.get_by_role("searchbox").evaluate(
        "(box) => { box.removeAttribute('aria-label'); box.placeholder = ''; }"
    )
    assert any(line.startswith("label: <input") for line in violations(opened.page))  # axe would have said so
    opened.context.close()


CELL = f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_explorer_elsewhere import make
explorer = make(encode=lambda texts: __import__("torch").ones(len(texts), 16))
explorer"""


def test_axe_finds_nothing_in_jupyterlab(browser, lab):
    notebook = Notebook(browser, lab, lab.add("axe.ipynb", [CELL])).run_all()
    root = notebook.page.locator(".xlib-explorer")
    root.locator(".stage > canvas").first.focus()
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("Enter")
    root.locator(".head .caption").wait_for()
    root.get_by_label("Projection").select_option("axis")
    for tab in ("Map", "Matrix", "Table"):
        root.get_by_role("button", name=tab, exact=True).click()
        assert violations(notebook.page, ".xlib-explorer") == []
    notebook.close()


class Notebook7(Lab):
    module, app, where = "notebook", "JupyterNotebookApp", "notebooks"


def test_it_works_in_notebook_7(browser, tmp_path_factory):
    server = Notebook7(tmp_path_factory.mktemp("notebook7"))
    try:
        path = server.add("seven.ipynb", [CELL])
        notebook = Notebook(browser, server, path)
        notebook.errors.clear()  # one is the application's own, about a setting that it does not have
        notebook.run_all()
        root = notebook.page.locator(".xlib-explorer")
        root.get_by_role("slider").focus()
        notebook.page.keyboard.press("ArrowRight")
        until(lambda: notebook.kernel("explorer.step") == 1, "the kernel follows the slider")
        root.locator(".stage > canvas").focus()
        notebook.page.keyboard.press("ArrowRight")
        notebook.page.keyboard.press("Enter")
        until(lambda: notebook.kernel("len(explorer.neighbours)") == 8, "the kernel answers")
        notebook.execute("explorer.selected = [3]")
        until(lambda: root.locator(".head .caption").inner_text() == "thing 3", "the page follows the kernel")
        notebook.clean()
        notebook.close()
    finally:
        server.close()


def test_a_plain_page_of_nbconvert_shows_the_still_picture(browser, tmp_path):
    cell = nbformat.v4.new_code_cell(CELL)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "plain.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", "plain.ipynb"]
    command += ["--template=classic"]  # "lab" leaves every picture's alternative text out
    command += [
        "--ExecutePreprocessor.store_widget_state=False"
    ]  # with it, the page asks a CDN for the widget instead
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.goto((tmp_path / "plain.html").as_uri())
    picture = tab.locator(".xlib-still img:visible")
    assert picture.evaluate("(image) => image.naturalWidth") > 400
    assert "40 image and 40 text items" in picture.get_attribute("alt")
    context.close()
