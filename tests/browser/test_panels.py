"""The panel of sliders and a picture in a real JupyterLab: by keyboard, in both themes, and when drawing fails."""

import pytest
from harness import Notebook, until

pytestmark = pytest.mark.browser

CELL = """
import traitlets as T
from xlib.explore.panel import panel

class Bars(T.HasTraits):
    height = T.Float(0.5, help="height of the bar")
    how_many = T.Int(2)

def draw(model, figure):
    if model.how_many == 5:
        raise RuntimeError("five is too many")
    axes = figure.subplots()
    axes.bar(range(model.how_many), [model.height] * model.how_many)
    axes.set_ylim(0, 1)
    return f"{model.how_many} bars, {model.height:.2f} high <img src=x onerror='window.hacked = 1'>"

bars = Bars()
view = panel(bars, draw, controls={"height": (0.1, 1, 0.1), "how_many": [1, 2, 3, 4, 5]}, title="Bars & <b>more</b>")
view
"""
# The share of the picture's pixels that have the first Okabe–Ito colour.
BLUE = """async (img) => {
  await img.decode();
  const canvas = new OffscreenCanvas(img.naturalWidth, img.naturalHeight), context = canvas.getContext("2d");
  context.drawImage(img, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let n = 0;
  for (let i = 0; i < data.length; i += 4)
    n += Math.abs(data[i] - 0) + Math.abs(data[i + 1] - 0x72) + Math.abs(data[i + 2] - 0xb2) < 12;
  return 4 * n / data.length;
}"""


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, lab.add("panel.ipynb", [CELL])).run_all()
    yield notebook
    notebook.close()


@pytest.fixture
def root(opened):
    """The panel on the page, as it was at first."""
    opened.execute("bars.height, bars.how_many = 0.5, 2")
    found = opened.page.locator(".xlib-panel")
    until(lambda: found.locator("img").get_attribute("alt").startswith("2 bars, 0.50 high"), "the first picture")
    yield found
    opened.clean()
    assert opened.page.evaluate("() => window.hacked") is None


def test_keys_move_a_slider_the_picture_and_its_words(opened, root):
    picture = root.locator("img")
    before, blue = picture.get_attribute("srcset"), picture.evaluate(BLUE)
    assert 0.1 < blue < 0.5
    root.get_by_role("slider", name="height of the bar").focus()
    for _ in range(3):
        opened.page.keyboard.press("ArrowRight")
    until(lambda: picture.get_attribute("alt").startswith("2 bars, 0.80 high"), "the alt text follows")
    assert opened.kernel("round(bars.height, 6)") == 0.8
    until(lambda: picture.evaluate(BLUE) == pytest.approx(blue * 0.8 / 0.5, rel=0.03), "the bars have grown")
    assert picture.get_attribute("srcset") != before
    root.get_by_role("slider", name="how many").focus()
    opened.page.keyboard.press("ArrowLeft")
    until(lambda: picture.get_attribute("alt").startswith("1 bars, 0.80 high"), "the other slider")
    assert opened.page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "how many"


def test_a_trait_set_in_python_moves_slider_and_picture(opened, root):
    opened.execute("bars.height = 1.0")
    until(lambda: root.locator("img").get_attribute("alt").startswith("2 bars, 1.00 high"), "the picture follows")
    slider = root.get_by_role("slider", name="height of the bar")
    until(lambda: slider.get_attribute("aria-valuetext") == "1", "the slider follows")


def test_words_are_spoken_when_the_slider_has_come_to_rest(opened, root):
    spoken, words = root.get_by_role("status"), "2 bars, 0.90 high"
    root.evaluate("""(root) => {
      window.log = [];
      const note = (what) => () => window.log.push([what, performance.now()]);
      new MutationObserver(note("drawn")).observe(root.querySelector("img"), { attributeFilter: ["alt"] });
      new MutationObserver(note("said")).observe(root.querySelector("[role=status]"), { childList: true });
    }""")
    root.get_by_role("slider", name="height of the bar").focus()
    for _ in range(4):
        opened.page.keyboard.press("ArrowRight")
    until(lambda: spoken.text_content().startswith(words), "the last words are said")
    assert spoken.text_content() == root.locator("img").get_attribute("alt")
    log = opened.page.evaluate("() => window.log")
    for i, (what, when) in enumerate(log):
        assert what == "drawn" or all(when - before > 500 for kind, before in log[:i] if kind == "drawn")
    assert spoken.evaluate("(node) => node.children.length") == 0  # text, no markup
    box = spoken.bounding_box()
    assert box["width"] * box["height"] <= 1


def test_a_failure_to_draw_is_seen(opened, root):
    with pytest.raises(Exception, match="five is too many"):
        opened.execute("bars.how_many = 5")
    opened.execute("bars.how_many = 4")
    slider = root.get_by_role("slider", name="how many")
    until(lambda: root.locator("img").get_attribute("alt").startswith("4 bars"), "four bars")
    slider.focus()
    opened.page.keyboard.press("ArrowRight")
    until(lambda: "RuntimeError: five is too many" in root.locator("img").get_attribute("alt"), "the error is shown")
    assert root.locator("img").bounding_box()["width"] > 200  # as words in the picture's place
    until(lambda: "five is too many" in root.get_by_role("status").text_content(), "the error is spoken")
    opened.page.keyboard.press("ArrowLeft")
    until(lambda: root.locator("img").get_attribute("alt").startswith("4 bars"), "the picture is back")
    assert root.locator("img").evaluate(BLUE) > 0.1


def change_theme(notebook, name):
    notebook.command("apputils:change-theme", theme=f"JupyterLab {name}")
    light = "() => document.body.dataset.jpThemeLight === 'true'"
    until(lambda: notebook.page.evaluate(light) == (name == "Light"), "the theme changes")
    # JupyterLab's curtain falls twice, and raises an error, if the theme changes again while it hangs.
    until(lambda: notebook.page.locator("#jupyterlab-splash").count() == 0, "the curtain is gone")


def test_the_picture_is_a_white_card_in_the_dark(opened, root):
    change_theme(opened, "Dark")
    try:
        style = "(img) => { const s = getComputedStyle(img); return [s.backgroundColor, s.color]; }"
        assert root.locator("img").evaluate(style) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    finally:
        change_theme(opened, "Light")


@pytest.mark.parametrize("width", [330, 800])
def test_picture_and_sliders_stay_within_the_page(root, width):
    root.evaluate("(root, width) => (root.style.width = `${width}px`)", width)
    try:
        outer = root.bounding_box()
        parts = root.locator("img, .widget-slider").all()
        assert len(parts) == 3
        for box in [part.bounding_box() for part in parts]:
            assert box["x"] >= outer["x"]
            assert box["x"] + box["width"] <= outer["x"] + outer["width"] + 0.5
        image = root.locator("img").bounding_box()
        assert image["width"] == pytest.approx(min(width, 736), abs=8)  # the padding is 16
        assert image["height"] == pytest.approx(image["width"] / 2, abs=12)
    finally:
        root.evaluate("(root) => (root.style.width = '')")


def test_the_title_is_text(root):
    assert root.get_by_text("Bars & <b>more</b>", exact=True).count() == 1
    assert root.locator("b").count() == 0
