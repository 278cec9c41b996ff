"""The panel of controls, points to drag and a scene in a real JupyterLab: by mouse and keyboard, in both themes,
while Python is busy, and when drawing fails.
"""

import math

import pytest
from harness import Notebook, Panel, centre, until

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror='window.hacked = 1'>"
BARS = f"""
import time
import numpy as np, traitlets as T
from xlib.explore.panel import panel

class Bars(T.HasTraits):
    height = T.Float(0.5, help="height of the bar")
    how_many = T.Int(2)
    word = T.Unicode("plain", help="kind {HOSTILE}")
    tick = T.Bool(False, help="tick me")

drawn = []
def draw(model, scene):
    drawn.append(model.height)
    if model.how_many == 5:
        raise RuntimeError("five is too many " + {HOSTILE!r})
    left, right = scene.axes(1, 1)
    n = model.how_many
    left.set(x=(-0.6, 4.6), y=(0, 1.1), ylabel="height", title=model.word + {HOSTILE!r})
    texts = [f"{{model.height:.2f}}"] * n
    left.bars(range(n), [model.height] * n, colour="#0072B2", texts=texts, hatched=[model.tick] * n)
    right.set(x=(-0.5, 3.5), y=(1.5, -0.5), xticks=range(4), yticks=[])
    right.cells([[0, 1, 2, 3]] * 2, low=0, high=3).pick(x=("how_many", {{i: i + 1 for i in range(4)}}))
    return f"{{n}} bars, {{model.height:.2f}} high {HOSTILE}"

def work(tell):
    for i in range(3):
        tell(f"step {{i}} {HOSTILE}")
        time.sleep(0.3)
    bars.height = 1.0

def fail(tell):
    raise ValueError("it rains")

bars = Bars()
controls = {{"height": (0.1, 1, 0.1), "how_many": [1, 2, 3, 4, 5], "word": ["plain", "fancy"], "tick": "check"}}
view = panel(bars, draw, controls=controls, play="height", actions={{"work": work, "fail": fail}},
             title="Bars & <b>more</b>")
view
"""
POINTS = """
class Points(T.HasTraits):
    images = T.List([[1.0, 0.0], [0.0, 1.0]])
    free = T.List([[0.5, -0.5]])

    @T.validate("images")
    def _onto_the_circle(self, proposal):
        xy = np.array(proposal.value, float)
        return (xy / np.linalg.norm(xy, axis=1, keepdims=True)).tolist()

def draw_points(model, scene):
    moved.append(model.free[0])
    if model.free[0][1] > 1.2:
        raise RuntimeError("too high")
    axes = scene.axes().set(x=(-1.5, 1.5), y=(-1.5, 1.5), equal=True)
    axes.points(*np.transpose(model.images), colour="#0072B2", label="images")
    axes.points(*np.transpose(model.free), shape="^", colour="#D55E00", label="free")
    return "; ".join(f"{x:.2f} {y:.2f}" for x, y in model.images + model.free)

moved = []
points = Points()
handles = {"images": ["image 1", "image 2"], "free": ["free one <b>"]}
panel(points, draw_points, handles=handles, circles=["images"])
"""
# The same with its formulas in the browser as well.
CLOSED = """
from xlib.explore.panel import Panel
FORMULAS = '''
CLOSED.example = {
  settle(values) {
    const on = ([x, y]) => [x / Math.hypot(x, y), y / Math.hypot(x, y)];
    return { ...values, images: values.images.map(on) };
  },
  draw(values, given) {
    const scene = structuredClone(given);
    [values.images, values.free].forEach((places, i) =>
      Object.assign(scene.axes[0].marks[i], { x: places.map(([x]) => x), y: places.map(([, y]) => y) }));
    const words = ([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`;
    return { scene, alt: [...values.images, ...values.free].map(words).join("; ") };
  },
};
export default'''
Panel._esm = Panel._esm.replace("export default", FORMULAS)
same = Points()
panel(same, draw_points, handles=handles, circles=["images"], closed="example")
"""
AGAIN = "view  # once more"


@pytest.fixture(scope="module")
def opened(browser, lab):
    notebook = Notebook(browser, lab, lab.add("panel.ipynb", [BARS, AGAIN, POINTS, CLOSED])).run_all()
    notebook.page.wait_for_timeout(1000)
    notebook.spoken = notebook.page.locator(".xlib-panel [role=status]").all_text_contents()
    yield notebook
    notebook.close()


@pytest.fixture
def bars(opened):
    """The panel with bars, as it was at first."""
    found = Panel(opened, 0)
    opened.execute("view.progress = ''; bars.how_many, bars.height, bars.word, bars.tick = 2, 0.5, 'plain', False")
    until(lambda: found.words().startswith("2 bars, 0.50 high"), "the first picture")
    opened.execute("drawn.clear()")
    yield found
    opened.clean()
    assert opened.page.evaluate("() => window.hacked") is None
    assert opened.page.locator(".xlib-panel img").count() == 0


def says(panel, words):
    until(lambda: panel.words().startswith(words), f"the picture's words are {words}, not {panel.words()}")


def heights(panel):
    """Of the bars, in pixels."""
    return [float(bar.get_attribute("height")) for bar in panel.picture.locator("rect[fill='var(--c0072B2)']").all()]


# -- controls


def test_keys_move_a_slider_the_picture_and_its_words(opened, bars):
    before = heights(bars)
    for _ in range(3):
        bars.press("height of the bar", "ArrowRight")
    says(bars, "2 bars, 0.80 high")
    assert opened.kernel("bars.height") == 0.8
    assert heights(bars) == [pytest.approx(one * 0.8 / 0.5, abs=0.1) for one in before]
    bars.press("how many", "ArrowLeft")
    says(bars, "1 bars, 0.80 high")
    assert len(heights(bars)) == 1
    assert bars.handle("how many").evaluate("(slider) => slider === document.activeElement")


def test_a_trait_set_in_python_moves_slider_number_and_picture(opened, bars):
    opened.execute("bars.height = 1.0")
    says(bars, "2 bars, 1.00 high")
    assert bars.handle("height of the bar").get_attribute("aria-valuetext") == "1.0"
    assert bars.number("height of the bar").input_value() == "1.0"
    opened.execute("bars.height = 0.4321")  # what no place of the slider is
    says(bars, "2 bars, 0.43 high")
    assert bars.number("height of the bar").input_value() == "0.4321"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("0.32", 0.3), ("0,72", 0.7), ("7", 1.0), ("-1", 0.1), ("−3", 0.1), ("warm", 0.5), ("", 0.5), ("0.9xyz", 0.9)],
)
@pytest.mark.parametrize("end", ["Enter", "Tab"])
def test_numbers_can_be_typed(opened, bars, typed, shown, end):
    field = bars.number("height of the bar")
    field.click(click_count=3)
    opened.page.keyboard.press("Delete")
    opened.page.keyboard.type(typed)
    assert opened.kernel("bars.height") == 0.5  # not while it is being typed
    opened.page.keyboard.press(end)
    says(bars, f"2 bars, {shown:.2f} high")
    assert field.input_value() == f"{shown:.1f}"
    assert opened.kernel("bars.height") == shown


def test_a_number_being_typed_stays_though_the_picture_changes(opened, bars):
    field = bars.number("how many")
    field.click(click_count=3)
    opened.page.keyboard.type("4")
    opened.execute("bars.height = 0.7")
    says(bars, "2 bars, 0.70 high")
    assert field.input_value() == "4"
    opened.page.keyboard.press("Enter")
    says(bars, "4 bars, 0.70 high")


def test_words_and_boxes_are_chosen_by_mouse_and_keyboard(opened, bars):
    fancy, box = bars.button("fancy"), bars.root.get_by_role("checkbox", name="tick me")
    assert bars.root.get_by_role("group", name=f"kind {HOSTILE}").count() == 1
    fancy.click()
    until(lambda: fancy.get_attribute("aria-pressed") == "true", "it is pressed")
    until(lambda: opened.kernel("bars.word") == "fancy", "the model follows")
    until(lambda: "fancy" in bars.picture.text_content(), "and the picture")
    assert bars.button("plain").get_attribute("aria-pressed") == "false"
    strokes = bars.picture.locator("line[stroke='var(--paper)']").count()
    box.focus()
    opened.page.keyboard.press("Space")
    until(lambda: opened.kernel("bars.tick"), "the box is ticked")
    until(lambda: bars.picture.locator("line[stroke='var(--paper)']").count() > strokes, "the bars are hatched")


def test_a_click_on_a_cell_chooses_it(opened, bars):
    cell = bars.picture.locator("rect[fill^='rgb']").nth(3)
    assert bars.picture.evaluate("(svg) => getComputedStyle(svg).cursor") == "pointer"
    cell.click()
    says(bars, "4 bars")
    assert opened.kernel("bars.how_many") == 4
    bars.picture.click(position={"x": 200, "y": 100})  # on axes without cells
    assert opened.kernel("bars.how_many") == 4


# -- play, reset, actions


def test_play_goes_on_to_the_end_and_from_there_begins_anew(opened, bars):
    play = bars.button("▶ play")
    play.click()
    assert bars.button("pause").count() == 1
    says(bars, "2 bars, 1.00 high")
    until(lambda: bars.button("▶ play").count() == 1, "it has stopped by itself")
    assert opened.kernel("sorted(set(round(h, 1) for h in drawn))") == [0.6, 0.7, 0.8, 0.9, 1.0]
    play.click()
    says(bars, "2 bars, 0.30 high")
    bars.button("pause").click()
    until(lambda: opened.kernel("view.values['height']") == opened.kernel("bars.height"), "at rest")
    height = opened.kernel("bars.height")
    assert 0.3 <= height < 1
    opened.page.wait_for_timeout(300)
    assert opened.kernel("bars.height") == height


def test_a_hand_on_a_control_stops_play(opened, bars):
    bars.button("▶ play").click()
    bars.press("how many", "ArrowRight")
    assert bars.button("▶ play").count() == 1
    says(bars, "3 bars")
    height = opened.kernel("bars.height")
    opened.page.wait_for_timeout(300)
    assert opened.kernel("bars.height") == height


@pytest.mark.parametrize("index", [0, 1])
def test_reset_brings_back_what_was_there_at_first(opened, bars, index):
    bars = Panel(opened, index)
    reset = bars.button("reset")
    assert reset.is_disabled()
    opened.execute("bars.height = 0.7")
    bars.press("how many", "ArrowRight")
    bars.button("fancy").click()
    says(bars, "3 bars, 0.70 high")
    reset.click()
    says(bars, "2 bars, 0.50 high")
    assert opened.kernel("[bars.height, bars.how_many, bars.word, bars.tick]") == [0.5, 2, "plain", False]
    until(reset.is_disabled, "there is nothing to bring back")


# All that a node says while one looks away, and whether the button can be pressed then.
TOLD = """(node, button) => {
  window.told = [];
  const note = () => window.told.push([node.textContent, button.disabled]);
  new MutationObserver(note).observe(node, { childList: true, characterData: true, subtree: true });
}"""


def test_an_action_says_how_far_it_is(opened, bars):
    work, status = bars.button("work"), bars.root.locator(".progress")
    status.evaluate(TOLD, work.element_handle())
    work.click()
    says(bars, "2 bars, 1.00 high")
    until(lambda: status.inner_text() == "" and work.is_enabled(), "it is done")
    told = {}  # what was said, and whether the button was out of use when it was first said
    for words, disabled in opened.page.evaluate("told"):
        told.setdefault(words, disabled)
    steps = [f"step {i} {HOSTILE}" for i in range(3)]
    assert list(told.items())[:4] == [("working…", True), *((step, True) for step in steps)]


def test_an_action_that_fails_says_so(opened, bars):
    fail, status = bars.button("fail"), bars.root.locator(".progress")
    fail.click()
    until(lambda: status.inner_text() == "ValueError: it rains", "the error is shown")
    until(fail.is_enabled, "it can be tried again")
    bars.press("how many", "ArrowRight")
    until(lambda: status.inner_text() == "", "the error goes when something else is done")


# -- Python is slow, or fails

# Keep the kernel busy, without waiting for it.
BUSY = """(seconds) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  kernel.requestExecute({ code: `import time; time.sleep(${seconds})`, silent: true, store_history: false });
}"""
WATCH = """(slider) => {
  window.seen = [];
  const look = () => { window.seen.push(+slider.value); window.watching = requestAnimationFrame(look); };
  look();
}"""


def test_while_python_is_busy_the_last_value_wins_and_the_slider_does_not_jump(opened, bars):
    slider, status = bars.handle("height of the bar"), bars.root.locator(".progress")
    opened.execute("bars.height = 0.1")
    says(bars, "2 bars, 0.10 high")
    opened.execute("drawn.clear()")
    slider.evaluate(WATCH)
    opened.page.evaluate(BUSY, 5)  # longer than eight keys take on a machine that is busy with other tests
    for _ in range(8):
        bars.press("height of the bar", "ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.9"  # the slider does not wait
    assert bars.words().startswith("2 bars, 0.10")  # the picture does
    until(lambda: status.inner_text() == "waiting for Python…", "the wait is explained")
    says(bars, "2 bars, 0.90 high")
    until(lambda: status.inner_text() == "", "and over")
    seen = opened.page.evaluate("() => { cancelAnimationFrame(window.watching); return window.seen; }")
    assert seen == sorted(seen)
    assert set(range(9)) >= set(seen) >= {0, 8}
    assert opened.kernel("drawn") == [0.2, 0.9]  # the first, and the last of what was asked for meanwhile


def test_a_failure_to_draw_is_seen_and_mended(opened, bars):
    bars.slide("how many", 0.75)
    says(bars, "4 bars")
    box = bars.picture.bounding_box()
    bars.press("how many", "ArrowRight")
    failed = bars.root.locator(".failed")
    until(lambda: "RuntimeError: five is too many <img" in failed.inner_text(), "the error is shown, as text")
    assert bars.picture.bounding_box() == box  # the page does not jump
    assert bars.picture.locator("*").count() == 0
    until(lambda: "five is too many" in bars.root.get_by_role("status").text_content(), "the error is spoken")
    opened.page.mouse.click(*centre(bars.picture))  # nothing is there to choose
    bars.press("how many", "ArrowLeft")
    says(bars, "4 bars")
    assert len(heights(bars)) == 4
    assert not failed.is_visible()


# -- how it looks, and how it sounds


def change_theme(notebook, name):
    notebook.command("apputils:change-theme", theme=f"JupyterLab {name}")
    light = "() => document.body.dataset.jpThemeLight === 'true'"
    until(lambda: notebook.page.evaluate(light) == (name == "Light"), "the theme changes")
    # JupyterLab's curtain falls twice, and raises an error, if the theme changes again while it hangs.
    until(lambda: notebook.page.locator("#jupyterlab-splash").count() == 0, "the curtain is gone")


# The contrast of each text in a panel with what it stands on, as WCAG has it.
CONTRASTS = """(root) => {
  const rgb = (colour) => colour.match(/[\\d.]+/g).map((v) => v * (colour.startsWith("color(") ? 255 : 1));
  const light = (colour) => {
    const [r, g, b] = rgb(colour).map((v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const { backgroundColor } = getComputedStyle(node);
      if (rgb(backgroundColor)[3] !== 0) return backgroundColor;
    }
  };
  const found = {};
  for (const node of root.querySelectorAll("text, p, label, span, input[type=text], button:not(:disabled)")) {
    const text = node.value || node.textContent;
    if (!text.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const ink = style[node.tagName === "text" ? "fill" : "color"];
    const [low, high] = [ink, ground(node)].map(light).sort((a, b) => a - b);
    found[text] = (high + 0.05) / (low + 0.05);
  }
  return found;
}"""


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_a_panel_is_of_the_themes_colours(opened, bars, theme):
    change_theme(opened, theme)
    try:
        paper = {"Light": "rgb(255, 255, 255)", "Dark": "rgb(17, 17, 17)"}[theme]
        blue = {"Light": "rgb(0, 114, 178)", "Dark": "rgb(79, 168, 224)"}[theme]
        assert bars.root.evaluate("(root) => getComputedStyle(root).backgroundColor") == paper
        assert bars.picture.evaluate("(svg) => getComputedStyle(svg).backgroundColor") == "rgba(0, 0, 0, 0)"
        bar = bars.picture.locator("rect[fill='var(--c0072B2)']").first
        assert bar.evaluate("(bar) => getComputedStyle(bar).fill") == blue
        found = bars.root.evaluate(CONTRASTS)
        assert len(found) > 15
        assert min(found.values()) >= 4.5, found
    finally:
        change_theme(opened, "Light")


@pytest.mark.parametrize("width", [330, 560, 800, 1100])
def test_all_of_it_stays_within_the_page_and_text_keeps_its_size(opened, bars, width):
    bars.root.evaluate("(root, width) => (root.parentElement.style.width = `${width}px`)", width)
    try:
        inner = min(width, 960) - 30
        until(lambda: float(bars.picture.get_attribute("width")) == pytest.approx(inner, abs=2), "drawn anew")
        outer = bars.root.bounding_box()
        assert outer["width"] == pytest.approx(min(width, 960), abs=1)
        parts = bars.root.locator("input, button, label, text, rect, .title").all()
        for box in filter(None, [part.bounding_box() for part in parts]):
            assert box["x"] >= outer["x"] - 0.5
            assert box["x"] + box["width"] <= outer["x"] + outer["width"] + 0.5
        sizes = "(svg) => [...svg.querySelectorAll('text')].map((text) => text.getBoundingClientRect().height)"
        assert min(bars.picture.evaluate(sizes)) >= 13
        tops = [
            bars.picture.locator(f"rect[fill{kind}]").first.bounding_box()["y"] for kind in ("^='rgb'", "^='var'")
        ]
        assert (tops[0] > tops[1] + 100) == (inner < 560)  # the second axes stand below the first
        for slider in bars.root.get_by_role("slider").all():
            assert slider.bounding_box()["width"] >= 80
    finally:
        bars.root.evaluate("(root) => (root.parentElement.style.width = '')")


def test_titles_and_labels_are_text(bars):
    assert bars.root.get_by_text("Bars & <b>more</b>", exact=True).count() == 1
    assert bars.root.locator("b").count() == 0
    assert (
        bars.picture.locator("text", has_text="plain<img").count()
        + bars.picture.locator("text", has_text="<img").count()
    )


def test_all_has_a_name(bars):
    assert bars.root.get_by_role("img").get_attribute("aria-label") == bars.words()
    assert bars.root.get_by_role("slider").count() == 2
    for name in ("height of the bar", "how many"):
        assert bars.root.get_by_role("slider", name=name, exact=True).count() == 1
        assert bars.root.get_by_role("textbox", name=f"{name}, as a number", exact=True).count() == 1
    assert bars.root.get_by_role("application").count() == 0  # no points
    for button in bars.root.get_by_role("button").all():
        assert button.inner_text().strip()


def test_words_are_spoken_when_the_slider_has_come_to_rest(opened, bars):
    spoken, words = bars.root.get_by_role("status"), "2 bars, 0.90 high"
    bars.root.evaluate("""(root) => {
      window.log = [];
      const note = (what) => () => window.log.push([what, performance.now()]);
      new MutationObserver(note("drawn")).observe(root.querySelector("svg"), { attributeFilter: ["aria-label"] });
      new MutationObserver(note("said")).observe(root.querySelector("[role=status]"), { childList: true });
    }""")
    for _ in range(4):
        bars.press("height of the bar", "ArrowRight")
    until(lambda: spoken.text_content().startswith(words), "the last words are said")
    assert spoken.text_content() == bars.words()
    log = opened.page.evaluate("() => window.log")
    assert any(what == "said" for what, _ in log)
    for i, (what, when) in enumerate(log):
        assert what == "drawn" or all(when - before > 500 for kind, before in log[:i] if kind == "drawn")
    assert spoken.evaluate("(node) => node.children.length") == 0  # text, no markup
    box = spoken.bounding_box()
    assert box["width"] * box["height"] <= 1


def test_what_has_just_been_shown_is_not_spoken(opened):
    assert opened.spoken == [""] * 4


def test_two_views_of_one_panel_go_together(opened, bars):
    other = Panel(opened, 1)
    other.press("height of the bar", "ArrowRight")
    for each in (bars, other):
        says(each, "2 bars, 0.60 high")
        assert each.handle("height of the bar").get_attribute("aria-valuetext") == "0.6"
    bars.press("how many", "ArrowRight")
    for each in (bars, other):
        says(each, "3 bars, 0.60 high")


# -- points to drag

NAMES = ("image 1", "image 2", "free one <b>")
FIRST = ("1.00, 0.00", "0.00, 1.00", "0.50, −0.50")


def dragged(opened, index, name):
    found = Panel(opened, index)

    def as_at_first():  # asked for again, where a late move of the test before has come in between
        opened.execute(f"{name}.images, {name}.free = [[1.0, 0.0], [0.0, 1.0]], [[0.5, -0.5]]")
        first = [f"{one} at ({xy})" for one, xy in zip(NAMES, FIRST, strict=True)]
        return [ring.get_attribute("aria-label") for ring in found.rings.all()] == first

    until(as_at_first, "the points are where they were at first", seconds=30)
    opened.execute("moved.clear()")
    yield found
    opened.page.mouse.up()
    opened.page.mouse.move(0, 0)
    opened.clean()


@pytest.fixture
def drag(opened):
    """The panel with points to drag, as it was at first, and the mouse elsewhere."""
    yield from dragged(opened, 2, "points")


@pytest.fixture
def closed(opened):
    """The one that the browser draws by itself."""
    yield from dragged(opened, 3, "same")


def at(panel, i, where):
    """Wait until a ring says where it is."""
    label = f"{NAMES[i]} at ({where})"
    until(lambda: panel.rings.nth(i).get_attribute("aria-label") == label, label)


def scale(panel):
    """CSS pixels that stand for 1: image 1 and 2 are √2 apart at first."""
    return math.dist(*(centre(panel.rings.nth(i)) for i in range(2))) / math.sqrt(2)


def spot(panel, i):
    """Where a point is drawn: image 1, image 2 or the free one. The legend's marks come first."""
    kind = "polygon[fill='var(--cD55E00)']" if i == 2 else "circle[fill='var(--c0072B2)']"
    found = panel.picture.locator(kind)
    return centre(found.nth(1 + i % 2))


def near(one, other, within=1.0):
    return math.dist(one, other) <= within


def test_a_point_follows_the_mouse_and_the_picture_follows_the_point(opened, drag):
    mouse, ring, unit = opened.page.mouse, drag.rings.nth(2), scale(drag)
    x, y = centre(ring)
    mouse.move(x + 4, y - 3)  # not quite in the middle: the ring must not jump
    mouse.down()
    assert near(centre(ring), (x, y), 0.1)
    mouse.move(x + 4 - unit, y - 3 - unit * 0.75)
    assert near(centre(ring), (x - unit, y - unit * 0.75))  # at once
    at(drag, 2, "−0.50, 0.25")
    until(lambda: opened.kernel("points.free") == [pytest.approx([-0.5, 0.25], abs=0.01)], "the model follows")
    says(drag, "1.00 0.00; 0.00 1.00; -0.50 0.25")
    mouse.move(x + 4 - 9 * unit, y - 3)  # far outside: as far as the axes go
    at(drag, 2, "−1.50, −0.50")
    mouse.up()
    until(lambda: opened.kernel("points.free") == [pytest.approx([-1.5, -0.5], abs=0.01)], "clipped to the limits")
    assert opened.kernel("points.free[0][0]") == -1.5
    assert opened.kernel("points.images") == [[1, 0], [0, 1]]


def test_a_point_on_a_circle_stays_on_it(opened, drag):
    mouse, unit = opened.page.mouse, scale(drag)
    x, y = centre(drag.rings.nth(0))
    mouse.move(x, y)
    mouse.down()
    mouse.move(x - 0.6 * unit, y - 0.3 * unit, steps=3)  # to (0.4, 0.3), inside of it
    on = (x - unit + 0.8 * unit, y - 0.6 * unit)
    assert near(centre(drag.rings.nth(0)), on, 1.5)
    until(lambda: opened.kernel("points.images")[0] == pytest.approx([0.8, 0.6], abs=0.02), "on the circle")
    mouse.up()
    at(drag, 0, "0.80, 0.60")
    until(lambda: near(spot(drag, 0), centre(drag.rings.nth(0))), "the point is in its ring")


RINGS = """([root, i]) => {
  window.far = [];
  const middle = (node) => {
    const { x, y, width, height } = node.getBoundingClientRect();
    return [x + width / 2, y + height / 2];
  };
  const ring = root.querySelectorAll("[role=application] button")[i];
  const look = () => { // what the frame shows: asked for before it, painted after it
    const drawn = root.querySelectorAll(i === 2 ? "svg polygon" : "svg circle")[1 + (i % 2)];
    const [a, b] = [middle(ring), middle(drawn)];
    window.far.push([Math.hypot(a[0] - b[0], a[1] - b[1]), ...a]);
    window.watching = requestAnimationFrame(() => setTimeout(look));
  };
  look();
}"""


@pytest.mark.parametrize("i", [0, 2])
def test_a_ring_never_leaves_its_point_where_the_browser_draws(opened, closed, i):
    mouse, ring = opened.page.mouse, closed.rings.nth(i)
    x, y = centre(ring)
    opened.page.evaluate(BUSY, 1)  # Python has no part in it
    opened.page.evaluate(RINGS, [closed.root.element_handle(), i])
    mouse.move(x, y)
    mouse.down()
    for step in range(40):
        mouse.move(x - 3 * step, y - 2 * step)
    mouse.up()
    for key in ("ArrowUp", "ArrowLeft", "Shift+ArrowUp"):
        closed.press(ring, key)
    far = opened.page.evaluate("() => { cancelAnimationFrame(window.watching); return window.far; }")
    assert len({(x, y) for _, x, y in far}) > 10  # it has been looked at on its way
    # The triangle's box is not around its middle.
    rest = far[0][0]
    assert max(abs(distance - rest) for distance, *_ in far) <= 1
    assert rest <= (1 if i == 0 else 2)
    last = "; ".join("{:.2f} {:.2f}" for _ in range(3))
    knows = "[v for pair in same.images + same.free for v in pair]"
    until(lambda: last.format(*opened.kernel(knows)) == closed.words(), "Python follows")


def test_where_the_browser_draws_python_hears_of_it_and_is_heard(opened, closed):
    closed.press(closed.rings.nth(2), "Shift+ArrowRight")
    says(closed, "1.00 0.00; 0.00 1.00; 0.80 -0.50")
    until(lambda: opened.kernel("same.free") == [pytest.approx([0.8, -0.5])], "Python hears of it")
    assert opened.kernel("len(moved)") == 0  # and draws nothing
    opened.execute("same.free = [[-0.25, 0.25]]")
    says(closed, "1.00 0.00; 0.00 1.00; -0.25 0.25")
    closed.button("reset").click()
    says(closed, "1.00 0.00; 0.00 1.00; 0.50 -0.50")
    until(lambda: opened.kernel("same.free") == [[0.5, -0.5]], "reset reaches Python")


def test_of_many_quick_moves_the_last_arrives_and_not_all_are_drawn(opened, drag):
    mouse, ring, unit = opened.page.mouse, drag.rings.nth(2), scale(drag)
    x, y = centre(ring)
    opened.execute("slow = lambda change: time.sleep(0.2); points.observe(slow, 'free')")
    try:
        mouse.move(x, y)
        mouse.down()
        for i in range(60):
            mouse.move(x - i, y - i)
        end = (x - 0.25 * unit, y + 0.5 * unit)
        mouse.move(*end)
        mouse.up()
        assert near(centre(ring), end)  # let go, it does not jump back to where Python still is
        until(lambda: opened.kernel("points.free") == [pytest.approx([0.25, -1], abs=0.01)], "the last one arrives")
        at(drag, 2, "0.25, −1.00")
        until(lambda: drag.words().endswith("0.25 -1.00"), "and its picture")
        assert 2 <= opened.kernel("len(moved)") < 20
    finally:
        opened.execute("points.unobserve(slow, 'free')")


def test_arrow_keys_move_a_point_and_nothing_else(opened, drag):
    ring, keyboard = drag.rings.nth(2), opened.page.keyboard
    active = "() => [window.jupyterapp.shell.currentWidget.content.activeCellIndex, document.activeElement.ariaLabel]"
    ring.focus()
    cell, scrolled = opened.page.evaluate(active)[0], drag.root.bounding_box()["y"]
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
    until(lambda: drag.words().endswith("0.20 -0.20"), "and the picture")
    assert opened.page.evaluate(active) == [cell, "free one <b> at (0.20, −0.20)"]  # focus stays, in the same cell
    assert drag.root.bounding_box()["y"] == scrolled
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    cells = opened.page.evaluate(count)
    keyboard.press("b")  # which elsewhere adds a cell
    for _ in range(30):
        keyboard.press("Shift+ArrowRight")
    assert opened.page.evaluate(count) == cells
    at(drag, 2, "1.50, −0.20")  # and no further
    until(lambda: opened.kernel("points.free") == [pytest.approx([1.5, -0.2])], "at the edge")


def test_keys_turn_a_point_around_its_circle(opened, drag):
    ring = drag.rings.nth(1)  # at the very top, where along x and y there is nothing to gain
    for keys, degrees in (("ArrowDown",), 87), (("ArrowRight", "ArrowUp"), 93), (("Shift+ArrowLeft",), 78):
        for key in keys:
            drag.press(ring, key)
        turned = [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]
        until(lambda t=turned: opened.kernel("points.images[1]") == pytest.approx(t, abs=1e-6), f"{keys}: {degrees}°")
    assert opened.kernel("points.images[0]") == [1, 0]
    for _ in range(20):
        drag.press(ring, "Shift+ArrowUp")  # all the way around
    turned = [math.cos(math.radians(18)), math.sin(math.radians(18))]
    until(lambda: opened.kernel("points.images[1]") == pytest.approx(turned, abs=1e-6), "at 18°")


def test_a_held_key_keeps_the_last_position_too(opened, drag):
    drag.rings.nth(2).focus()
    for _ in range(10):
        opened.page.keyboard.down("ArrowLeft")  # the second and later ones are repeats
    opened.page.keyboard.up("ArrowLeft")
    until(lambda: opened.kernel("points.free") == [pytest.approx([-0.1, -0.5])], "ten steps")
    at(drag, 2, "−0.10, −0.50")


def test_code_moves_rings_and_rings_sit_on_points_at_every_width(opened, drag):
    opened.execute("points.images = [[0.6, 0.8], [-0.8, -0.6]]")
    at(drag, 0, "0.60, 0.80")
    at(drag, 1, "−0.80, −0.60")
    for width in ("", "520px", "330px"):
        drag.root.evaluate("(root, width) => (root.style.width = width)", width)
        try:
            until(lambda: near(centre(drag.rings.nth(0)), spot(drag, 0)), f"the first, at {width}")
            until(lambda: near(centre(drag.rings.nth(1)), spot(drag, 1)), f"the second, at {width}")
            assert all(ring.bounding_box()["width"] >= 24 for ring in drag.rings.all())
        finally:
            drag.root.evaluate("(root) => (root.style.width = '')")


def test_a_point_that_cannot_be_drawn_can_be_moved_back(opened, drag):
    ring, keyboard = drag.rings.nth(2), opened.page.keyboard
    opened.execute("points.free = [[0.5, 1.0]]")
    at(drag, 2, "0.50, 1.00")
    box = drag.picture.bounding_box()
    ring.focus()
    keyboard.press("Shift+ArrowUp")
    until(lambda: "RuntimeError: too high" in drag.words(), "the error is shown")
    at(drag, 2, "0.50, 1.30")
    assert drag.picture.bounding_box() == box  # the page does not jump, and the ring is within reach
    keyboard.press("Shift+ArrowDown")
    until(lambda: drag.words().endswith("0.50 1.00"), "the picture is back")
    assert drag.picture.bounding_box() == box


def test_rings_can_be_seen_when_they_are_needed(opened, drag):
    ring = drag.rings.nth(2)
    shown = "(ring) => [+getComputedStyle(ring).opacity, getComputedStyle(ring).outlineStyle]"
    for theme, ink in (("Light", "rgb(27, 31, 36)"), ("Dark", "rgb(230, 233, 236)")):
        change_theme(opened, theme)
        try:
            opened.page.evaluate("() => document.activeElement.blur()")
            opened.page.mouse.move(0, 0)
            assert 0.2 < ring.evaluate(shown)[0] < 0.6  # one sees that there is something to take
            opened.page.mouse.move(*centre(ring))
            assert ring.evaluate(shown)[0] == 1
            opened.page.mouse.move(0, 0)
            drag.rings.nth(1).focus()
            opened.page.keyboard.press("Tab")  # the rings follow one another
            assert ring.evaluate(shown) == [1, "solid"]
            style = "(ring) => { const s = getComputedStyle(ring); return [s.borderTopColor, s.touchAction]; }"
            assert ring.evaluate(style) == [ink, "none"]
        finally:
            change_theme(opened, "Light")


def test_rings_have_roles_and_names(drag):
    assert drag.root.get_by_role("application", name="points to move").get_by_role("button").count() == 3
    assert drag.root.get_by_role("button", name="image 2 at (0.00, 1.00)", exact=True).count() == 1
    assert drag.root.locator("b").count() == 0  # a name is text
