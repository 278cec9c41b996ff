"""The panel of sliders, points to drag and a picture in a real JupyterLab: by mouse and keyboard, in both themes, and
when drawing fails."""

import math

import pytest
from harness import Notebook, centre, until

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
DRAG = """
import numpy as np

class Points(T.HasTraits):
    images = T.List([[1.0, 0.0], [0.0, 1.0]])
    free = T.List([[0.5, -0.5]])
    size = T.Int(8)

    @T.validate("images")
    def _onto_the_circle(self, proposal):
        xy = np.array(proposal.value, float)
        return (xy / np.linalg.norm(xy, axis=1, keepdims=True)).tolist()

def draw_points(model, figure):
    if model.free[0][1] > 1.2:
        raise RuntimeError("too high")
    axes, other = figure.subplots(1, 2)
    axes.plot(*np.array(model.images).T, "o", ms=model.size)  # in blue
    axes.plot(*model.free[0], "^", ms=model.size)
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
    other.imshow(np.array(model.images) @ np.transpose(model.images), cmap="gray")
    drawn.append((model.images, model.free))
    return "; ".join(f"{x:.2f} {y:.2f}" for x, y in model.images + model.free)

drawn = []
points = Points()
handles = {"images": ["image 1", "image 2"], "free": ["free one <b>"]}
dragged = panel(points, draw_points, controls={"size": (2, 20, 1)}, handles=handles)
dragged
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
    notebook = Notebook(browser, lab, lab.add("panel.ipynb", [CELL, DRAG])).run_all()
    yield notebook
    notebook.close()


@pytest.fixture
def root(opened):
    """The panel on the page, as it was at first."""
    opened.execute("bars.height, bars.how_many = 0.5, 2")
    found = opened.page.locator(".xlib-panel").first
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


# -- points to drag

# Where the middle of the blue pixels of one half of the picture's first axes is on the page.
SPOT = """async (img, [least, most]) => {
  await img.decode();
  const [width, height] = [1440, 720], context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(img, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  let [n, x, y] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const [column, row] = [(i / 4) % width, Math.floor(i / 4 / width)];
    if (Math.abs(data[i]) + Math.abs(data[i + 1] - 0x72) + Math.abs(data[i + 2] - 0xb2) < 12
        && row >= least * height && row < most * height) [n, x, y] = [n + 1, x + column, y + row];
  }
  const box = img.getBoundingClientRect();
  return [box.left + 8 + (x / n / width) * (box.width - 16), box.top + 8 + (y / n / height) * (box.height - 16)];
}"""
NAMES = ("image 1", "image 2", "free one <b>")


@pytest.fixture
def drag(opened):
    """The panel with points to drag, as it was at first, and the mouse elsewhere."""
    found = opened.page.locator(".xlib-panel").nth(1)
    found.scroll_into_view_if_needed()
    first = [f"{name} at ({xy})" for name, xy in zip(NAMES, ("1.00, 0.00", "0.00, 1.00", "0.50, −0.50"), strict=True)]

    def as_at_first():  # asked for again, where a late move of the test before has come in between
        opened.execute("points.images, points.free, points.size = [[1.0, 0.0], [0.0, 1.0]], [[0.5, -0.5]], 8")
        return [found.locator("button").nth(i).get_attribute("aria-label") for i in range(3)] == first

    until(as_at_first, "the points are where they were at first", seconds=30)
    opened.execute("drawn.clear()")
    yield found
    opened.page.mouse.up()
    opened.page.mouse.move(0, 0)
    opened.clean()


def at(root, i, where):
    """Wait until a ring says where it is, and the model agrees."""
    label = f"{NAMES[i]} at ({where})"
    until(lambda: root.locator("button").nth(i).get_attribute("aria-label") == label, label)


def scale(root):
    """CSS pixels that stand for 1 on the first axes: image 1 and 2 are √2 apart at first."""
    one, two = (centre(root.locator("button").nth(i)) for i in range(2))
    return math.dist(one, two) / math.sqrt(2)


def near(one, other, within=1.5):
    return math.dist(one, other) <= within


def test_a_point_follows_the_mouse_and_the_picture_follows_the_point(opened, drag):
    mouse, ring, unit = opened.page.mouse, drag.locator("button").nth(2), scale(drag)
    picture, before, (x, y) = drag.locator("img"), drag.locator("img").get_attribute("srcset"), centre(ring)
    mouse.move(x + 4, y - 3)  # not quite in the middle: the ring must not jump
    mouse.down()
    mouse.move(x + 4 - unit, y - 3 - unit * 0.75)
    assert near(centre(ring), (x - unit, y - unit * 0.75))  # at once
    at(drag, 2, "−0.50, 0.25")
    until(lambda: opened.kernel("points.free") == [pytest.approx([-0.5, 0.25], abs=0.01)], "the model follows")
    until(lambda: picture.get_attribute("alt") == "1.00 0.00; 0.00 1.00; -0.50 0.25", "so do the words")
    assert picture.get_attribute("srcset") != before
    mouse.move(x + 4 - 9 * unit, y - 3)  # far outside: as far as the axes go
    at(drag, 2, "−1.50, −0.50")
    mouse.up()
    until(lambda: opened.kernel("points.free") == [pytest.approx([-1.5, -0.5], abs=0.01)], "clipped to the limits")
    assert opened.kernel("points.free[0][0]") == -1.5
    at(drag, 2, "−1.50, −0.50")
    assert opened.kernel("points.images") == [[1, 0], [0, 1]]


def test_the_ring_returns_to_where_the_model_puts_the_point(opened, drag):
    mouse, ring, unit = opened.page.mouse, drag.locator("button").nth(0), scale(drag)
    x, y = centre(ring)
    middle = (x - unit, y)
    mouse.move(x, y)
    mouse.down()
    mouse.move(x - 0.2 * unit, y - 0.6 * unit, steps=3)  # to (0.8, 0.6)...
    mouse.move(x - 0.6 * unit, y - 0.3 * unit, steps=3)  # and (0.4, 0.3), in the same direction
    until(lambda: opened.kernel("points.images")[0] == pytest.approx([0.8, 0.6], abs=0.02), "on the circle")
    until(lambda: drag.locator("img").get_attribute("alt").startswith("0.8"), "the answer has come")
    assert near(centre(ring), (x - 0.6 * unit, y - 0.3 * unit))  # the ring stays with the mouse while held
    mouse.up()
    until(
        lambda: near(centre(ring), (middle[0] + 0.8 * unit, middle[1] - 0.6 * unit), 3), "the ring is on the circle"
    )
    at(drag, 0, "0.80, 0.60")
    assert near(drag.locator("img").evaluate(SPOT, [0.25, 0.5]), centre(ring))  # and on the point's picture


def test_of_many_quick_moves_the_last_arrives_and_not_all_are_drawn(opened, drag):
    mouse, ring, unit = opened.page.mouse, drag.locator("button").nth(2), scale(drag)
    x, y = centre(ring)
    opened.execute("import time; slow = lambda change: time.sleep(0.2); points.observe(slow, 'free')")
    try:
        mouse.move(x, y)
        mouse.down()
        for i in range(60):
            mouse.move(x - i, y - i)
        mouse.move(x - 0.25 * unit, y + 0.5 * unit)
        mouse.up()
        until(lambda: opened.kernel("points.free") == [pytest.approx([0.25, -1], abs=0.01)], "the last one arrives")
        at(drag, 2, "0.25, −1.00")
        until(lambda: drag.locator("img").get_attribute("alt").endswith("0.25 -1.00"), "and its picture")
        assert 2 <= opened.kernel("len(drawn)") < 20
    finally:
        opened.execute("points.unobserve(slow, 'free')")


def test_arrow_keys_move_a_point_and_nothing_else(opened, drag):
    ring, keyboard = drag.locator("button").nth(2), opened.page.keyboard
    active = "() => [window.jupyterapp.shell.currentWidget.content.activeCellIndex, document.activeElement.ariaLabel]"
    ring.focus()
    cell, scrolled = opened.page.evaluate(active)[0], drag.bounding_box()["y"]
    for key, where in (
        ("ArrowRight", "0.56, −0.50"),
        ("ArrowUp", "0.56, −0.44"),
        ("ArrowLeft", "0.50, −0.44"),
        ("ArrowDown", "0.50, −0.50"),
        ("Shift+ArrowLeft", "0.20, −0.50"),
        ("Shift+ArrowUp", "0.20, −0.20"),
    ):
        keyboard.press(key)
        at(drag, 2, where)
    until(lambda: opened.kernel("points.free") == [pytest.approx([0.2, -0.2])], "the model follows")
    until(lambda: drag.locator("img").get_attribute("alt").endswith("0.20 -0.20"), "and the picture")
    assert opened.page.evaluate(active) == [cell, "free one <b> at (0.20, −0.20)"]  # focus stays, in the same cell
    assert drag.bounding_box()["y"] == scrolled
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    cells = opened.page.evaluate(count)
    keyboard.press("b")  # which elsewhere adds a cell
    for _ in range(30):
        keyboard.press("Shift+ArrowRight")
    assert opened.page.evaluate(count) == cells
    at(drag, 2, "1.50, −0.20")  # and no further
    until(lambda: opened.kernel("points.free") == [pytest.approx([1.5, -0.2])], "at the edge")


def test_keys_move_a_point_along_the_circle(opened, drag):
    ring, answered = drag.locator("button").nth(0), opened.kernel("dragged.picture.answered")
    ring.focus()
    opened.page.keyboard.press("ArrowRight")  # away from the middle: back it comes
    until(lambda: opened.kernel("dragged.picture.answered") != answered, "an answer")
    at(drag, 0, "1.00, 0.00")
    assert opened.kernel("points.images[0]") == [1, 0]
    for _ in range(3):
        opened.page.keyboard.press("ArrowUp")
    until(lambda: opened.kernel("points.images[0][1]") > 0.15, "along the circle")
    x, y = opened.kernel("points.images[0]")
    assert math.hypot(x, y) == pytest.approx(1)
    at(drag, 0, f"{x:.2f}, {y:.2f}")


def test_a_held_key_keeps_the_last_position_too(opened, drag):
    ring = drag.locator("button").nth(2)
    ring.focus()
    for _ in range(10):
        opened.page.keyboard.down("ArrowLeft")  # the second and later ones are repeats
    opened.page.keyboard.up("ArrowLeft")
    until(lambda: opened.kernel("points.free") == [pytest.approx([-0.1, -0.5])], "ten steps")
    at(drag, 2, "−0.10, −0.50")


def test_code_moves_rings_and_rings_sit_on_points_at_every_width(opened, drag):
    opened.execute("points.images, points.size = [[0.6, 0.8], [-0.8, -0.6]], 14")
    at(drag, 0, "0.60, 0.80")
    at(drag, 1, "−0.80, −0.60")
    for width in ("", "520px", "330px"):
        drag.evaluate("(root, width) => (root.style.width = width)", width)
        try:
            upper, lower = (drag.locator("img").evaluate(SPOT, part) for part in ([0, 0.5], [0.5, 1]))
            assert near(centre(drag.locator("button").nth(0)), upper), width
            assert near(centre(drag.locator("button").nth(1)), lower), width
            assert all(ring.bounding_box()["width"] >= 24 for ring in drag.locator("button").all())
        finally:
            drag.evaluate("(root) => (root.style.width = '')")


def test_a_point_that_cannot_be_drawn_can_be_moved_back(opened, drag):
    ring, picture, keyboard = drag.locator("button").nth(2), drag.locator("img"), opened.page.keyboard
    opened.execute("points.free = [[0.5, 1.0]]")
    at(drag, 2, "0.50, 1.00")
    box = picture.bounding_box()
    ring.focus()
    keyboard.press("Shift+ArrowUp")
    until(lambda: "RuntimeError: too high" in picture.get_attribute("alt"), "the error is shown")
    at(drag, 2, "0.50, 1.30")
    assert picture.bounding_box() == box  # the page does not jump, and the ring is within reach
    keyboard.press("Shift+ArrowDown")
    until(lambda: picture.get_attribute("alt").endswith("0.50 1.00"), "the picture is back")
    assert picture.bounding_box() == box


def test_rings_can_be_seen_when_they_are_needed(opened, drag):
    ring = drag.locator("button").nth(2)
    shown = "(ring) => [getComputedStyle(ring).opacity, getComputedStyle(ring).outlineStyle]"
    opened.page.evaluate("() => document.activeElement.blur()")
    opened.page.mouse.move(0, 0)
    for theme in ("Light", "Dark"):
        change_theme(opened, theme)
        try:
            assert ring.evaluate(shown)[0] == "0"
            opened.page.mouse.move(*centre(drag.locator("img")))
            assert 0 < float(ring.evaluate(shown)[0]) < 1
            opened.page.mouse.move(*centre(ring))
            assert ring.evaluate(shown)[0] == "1"
            opened.page.mouse.move(0, 0)
            drag.locator("button").nth(1).focus()
            opened.page.keyboard.press("Tab")  # the rings follow one another
            assert ring.evaluate(shown) == ["1", "solid"]
            style = "(ring) => { const s = getComputedStyle(ring); return [s.borderTopColor, s.touchAction]; }"
            assert ring.evaluate(style) == ["rgb(0, 0, 0)", "none"]
            opened.page.evaluate("() => document.activeElement.blur()")
        finally:
            change_theme(opened, "Light")


def test_rings_have_roles_and_names(drag):
    assert drag.get_by_role("application", name="points to move").get_by_role("button").count() == 3
    assert drag.get_by_role("button", name="image 2 at (0.00, 1.00)", exact=True).count() == 1
    assert drag.locator("b").count() == 0  # a name is text


def test_a_panel_without_points_has_no_rings(root):
    assert root.locator("button").count() == 0
    assert root.get_by_role("application").count() == 0
