"""The embedding explorer in a real JupyterLab: what is seen, what the kernel knows, by mouse and by keyboard."""

import re

import numpy as np
import pytest
from harness import ROOT, Notebook, until

pytestmark = pytest.mark.browser

HOSTILE = """</script><img src=x onerror="window.hacked=1">"""
# 60 pictures and 60 captions, 5 snapshots. Picture 0 is magenta, a colour that nothing else has: where it is drawn
# can be read off the canvas. Picture 1 has black strokes on nothing.
DATA = f"""
import numpy as np
from xlib.explore import ExplorerModel, Explorer, explore
rng = np.random.default_rng(0)
n, classes = 60, ["animals", "food", "tools"]
captions = [f"thing {{i}}" for i in range(n)]
captions[0], captions[1], captions[2], captions[3] = "magenta square", "猫", "a black CAT", {HOSTILE!r}
labels = [classes[i % 3] for i in range(n)]
centre = np.repeat(rng.normal(size=(1, 3, 24)), 20, 0).reshape(n, 24)
end = np.concatenate([centre + .5 * rng.normal(size=(n, 24)), centre + .5 * rng.normal(size=(n, 24))])
start = rng.normal(size=(2 * n, 24))
z = np.stack([(1 - a) * start + a * end for a in np.linspace(0, 1, 5)])
z[:, 0] *= 3  # apart from the crowd in the picture, and no cosine changes
pictures = np.zeros((n, 24, 24, 4), np.uint8)
pictures[..., 3] = 255
pictures[..., :3] = rng.integers(60, 200, (n, 1, 1, 1))
pictures[0, ..., :3] = 255, 0, 255
pictures[1] = 0
pictures[1, 10:14, 2:22] = 0, 0, 0, 255
def make():
    return ExplorerModel(z, captions=captions * 2, images=[*pictures, *[None] * n], labels=labels * 2,
                         pairs=[*range(n, 2 * n), *range(n)], steps=[0, 10, 20, 40, 80], title="Sixty things")
def truth(i, step, k=8):
    x = z[step] / np.linalg.norm(z[step], axis=1, keepdims=True)
    return [int(j) for j in np.argsort(-(x @ x[i])) if j != i][:k]
"""
# The accent colour of rings and pair lines in the light theme, and the magenta picture.
COUNT = """(canvas, [r, g, b]) => {
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [n, x, y] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4)
    if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12 && data[i + 3] > 250) {
      n++; x += (i / 4) % width; y += Math.floor(i / 4 / width);
    }
  return [n, x / n / devicePixelRatio, y / n / devicePixelRatio];
}"""
MAGENTA, ACCENT, CHIP = (255, 0, 255), (0, 103, 184), (233, 235, 238)


class View:
    """One explorer on the page, and the name it has in the kernel."""

    def __init__(self, notebook, name="explorer", index=0):
        self.notebook, self.name, self.page = notebook, name, notebook.page
        self.root = self.page.locator(".xlib-explorer").nth(index)
        self.canvas = self.root.locator(".stage > canvas")
        self.card = self.root.locator(".card")
        self.rows = self.root.locator("ol .row")
        self.slider = self.root.get_by_role("slider")
        self.search = self.root.get_by_role("searchbox")

    def get(self, attribute):
        return self.notebook.kernel(f"{self.name}.{attribute}")

    def set(self, **values):
        self.notebook.execute("\n".join(f"{self.name}.{key} = {value!r}" for key, value in values.items()))

    def expect(self, attribute, value):
        until(lambda: self.get(attribute) == value, f"{attribute} becomes {value!r}")

    def pixels(self, colour):
        """How many pixels have this colour, and their centre in CSS pixels."""
        return self.canvas.evaluate(COUNT, list(colour))

    def settle(self):
        """Wait until the picture has come to rest: three looks that are alike."""
        seen = []

        def resting():
            self.page.wait_for_timeout(60)
            seen.append(self.canvas.evaluate("(canvas) => canvas.toDataURL()"))
            return len(seen) > 2 and seen[-3] == seen[-2] == seen[-1]

        until(resting, "the picture comes to rest")

    def point(self, i):
        """Where item i should be drawn, worked out from the model's frames alone."""
        frames = np.array(self.notebook.kernel("model.frames.tolist()"))
        step, box = self.get("step"), self.canvas.bounding_box()
        low, high = frames.min((0, 1)), frames.max((0, 1))
        scale = min((np.array([box["width"], box["height"]]) - 60) / (high - low))
        x, y = (frames[step, i] - (low + high) / 2) * scale
        return box["width"] / 2 + x, box["height"] / 2 - y

    def hover(self, i):
        x, y = self.point(i)
        self.canvas.hover(position={"x": x, "y": y})


# ---- what is checked twice: on the real view, and on views with one redraw taken out ------------------------------


def check_step(view):
    _, x, y = view.pixels(MAGENTA)
    view.slider.focus()
    for _ in range(4):
        view.page.keyboard.press("ArrowRight")
    view.expect("step", 4)
    until(
        lambda: np.hypot(view.pixels(MAGENTA)[1] - x, view.pixels(MAGENTA)[2] - y) > 15,
        "the picture moves",
        seconds=2,
    )


def check_hover(view):
    view.set(step=4)
    view.settle()
    assert view.pixels(ACCENT)[0] == 0
    view.hover(0)
    view.expect("hover", 0)
    until(lambda: view.pixels(ACCENT)[0] > 30, "ring and pair line are drawn", seconds=2)


def check_search(view):
    before = view.pixels(MAGENTA)[0]
    view.search.fill("cat")
    view.expect("query", "cat")
    until(lambda: view.pixels(MAGENTA)[0] == 0, "what does not match fades", seconds=2)
    view.search.fill("MAGENTA")
    view.expect("matches", [0, 60])
    until(lambda: view.pixels(MAGENTA)[0] > before / 2, "what matches does not", seconds=2)


def check_selection_from_python(view):
    assert view.pixels(ACCENT)[0] == 0
    view.set(selected=0)
    until(lambda: view.pixels(ACCENT)[0] > 30, "the selected item gets its ring", seconds=2)


CHECKS = {  # check: the function of view.js whose redraw it is about, that redraw, and how the check fails without
    check_step: ("onStep", "travel();", "the picture moves"),
    check_hover: ("onHover", "redraw();", "ring and pair line are drawn"),
    check_search: ("onQuery", "redraw();", "what does not match fades"),
    check_selection_from_python: ("onAnswer", "redraw();", "the selected item gets its ring"),
}


@pytest.fixture(scope="module")
def opened(browser, lab):
    """The explorer, and below it one with a model of its own for each mutation of CHECKS."""
    source = (ROOT / "xlib" / "explore" / "view.js").read_text()
    cells = [DATA, "model = make()\nexplorer = Explorer(model)\nexplorer", "other = make()"]
    for i, (function, call, _) in enumerate(CHECKS.values()):
        body = re.search(rf"function {function}\(\).*?\n  }}\n", source, re.S)[0]
        assert body.count(call) == 1
        mutant = source.replace(body, body.replace(call, ""))
        cells.append(f"class Mutant{i}(Explorer):\n    _esm = {mutant!r}\nmutant{i} = Mutant{i}(other)\nmutant{i}")
    notebook = Notebook(browser, lab, lab.add("explorer.ipynb", cells)).run_all()
    yield notebook
    notebook.close()


def reset(view, step=0):
    view.page.mouse.move(2, 2)
    view.set(step=step, selected=-1, hover=-1, query="", among="all")
    view.root.get_by_role("button", name="Show all").click()
    view.page.mouse.move(2, 2)
    until(lambda: view.pixels(MAGENTA)[0] > 50, "pictures are drawn")
    view.settle()
    return view


@pytest.fixture
def view(opened):
    yield reset(View(opened))
    opened.clean()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_choices_are_drawn(view, check):
    check(view)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_dropped_redraw_is_noticed(opened, check):
    i = list(CHECKS).index(check)
    mutant = View(opened, f"mutant{i}", i + 1)
    mutant.root.scroll_into_view_if_needed()
    reset(mutant)
    with pytest.raises(AssertionError, match=f"in vain: {CHECKS[check][2]}"):
        check(mutant)


# ---- the rest ------------------------------------------------------------------------------------------------------


def test_items_are_drawn_where_the_model_says(view):
    for step in (0, 2, 4):
        view.set(step=step)
        view.settle()
        assert view.pixels(MAGENTA)[1:] == pytest.approx(view.point(0), abs=2)
    assert "Step 80 (5 of 5 snapshots)" in view.canvas.get_attribute("aria-label")


def test_motion_is_reduced_on_request(view):
    frames = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"

    def after_two_frames():
        view.slider.focus()
        view.page.keyboard.press("End")
        view.page.evaluate(frames)
        soon = view.pixels(MAGENTA)[1:]
        view.settle()
        return np.hypot(*np.subtract(soon, view.pixels(MAGENTA)[1:]))

    assert after_two_frames() > 5  # gliding
    view.page.emulate_media(reduced_motion="reduce")
    try:
        reset(view)
        assert after_two_frames() < 1
    finally:
        view.page.emulate_media(reduced_motion="no-preference")


def test_play_runs_through_all_snapshots_and_stops(view):
    view.root.get_by_role("button", name="Play training").click()
    view.root.get_by_role("button", name="Pause").wait_for()
    view.expect("step", 4)
    view.root.get_by_role("button", name="Play training").wait_for()
    view.root.get_by_role("button", name="Play training").click()  # from the end: again from the start
    until(lambda: view.get("step") < 4, "play starts over")
    view.root.get_by_role("button", name="Pause").click()


def test_hover_card_tells_picture_caption_class_modality_and_similarity(view):
    view.set(step=4)
    view.settle()
    view.hover(0)
    view.card.wait_for()
    cosine = view.notebook.kernel("float(model.pair_similarity[4, 0])")
    assert view.card.inner_text().split("\n") == [
        "magenta square",
        "animals · image",
        f"similarity to its text {cosine:.2f}",
    ]
    assert view.card.locator("canvas").evaluate(COUNT, list(MAGENTA))[0] > 100
    assert "magenta square" in view.root.locator(".unseen").text_content()
    view.page.mouse.move(2, 2)
    view.card.wait_for(state="hidden")
    view.expect("hover", -1)


@pytest.mark.parametrize("among", ["all", "other"])
def test_click_lists_the_neighbours_of_the_full_space(view, among):
    view.set(step=3)
    view.settle()
    x, y = view.point(0)
    view.canvas.click(position={"x": x, "y": y})
    view.expect("selected", 0)
    expected = view.notebook.kernel("truth(0, 3, 119)")
    if among == "other":
        view.root.get_by_role("button", name="Other modality").click()
        expected = [j for j in expected if j >= 60]
    captions = view.notebook.kernel("model.captions")
    until(
        lambda: view.rows.locator(".caption").all_inner_texts() == [captions[j] for j in expected[:8]],
        "the right list",
    )
    assert [j for j, _ in view.get("neighbours")] == expected[:8]
    assert "all 24 dimensions" in view.root.locator(".note").inner_text()
    view.rows.nth(2).click()
    view.expect("selected", expected[2])
    view.page.keyboard.press("Escape")
    view.expect("selected", -1)
    view.page.mouse.move(2, 2)
    until(lambda: view.pixels(ACCENT)[0] == 0, "the ring is gone")


def test_search_counts_and_enter_selects_match_after_match(view):
    view.search.fill("cAt")
    view.root.get_by_text("2 of 120 match").wait_for()
    for match in (2, 62, 2):
        view.page.keyboard.press("Enter")
        view.expect("selected", match)
    view.search.fill("猫")
    view.expect("matches", [1, 61])
    view.page.keyboard.press("Escape")
    view.expect("query", "")
    assert view.search.input_value() == ""
    view.set(query="thing 5")
    until(lambda: view.search.input_value() == "thing 5", "a query set in Python is shown")
    view.root.get_by_text("22 of 120 match").wait_for()


def test_everything_is_reached_by_keyboard(view):
    active = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    before = view.page.evaluate(active)
    view.canvas.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        hovered = view.get("hover")
        view.page.keyboard.press(key)
        until(lambda hovered=hovered: view.get("hover") != hovered, f"{key} moves to another item")
    view.card.wait_for()
    view.page.keyboard.press("Enter")
    view.expect("selected", view.get("hover"))
    view.rows.first.wait_for()
    reached = []
    for _ in range(17):
        view.page.keyboard.press("Tab")
        reached.append(
            view.page.evaluate("() => document.activeElement.ariaLabel ?? document.activeElement.className")
        )
    assert reached == [
        *("Zoom in", "Zoom out", "Show all", "Play training", "Training step", "Clear selection", "row pair"),
        *("", ""),  # among all, among the other modality
        *["row"] * 8,
    ]
    view.expect("hover", view.get("neighbours")[7][0])
    view.page.keyboard.press("Escape")
    view.expect("selected", -1)
    view.canvas.focus()
    size = view.pixels(MAGENTA)[0]
    for _ in range(2):
        view.page.keyboard.press("+")
    until(lambda: view.pixels(MAGENTA)[0] > size * 1.3 or view.pixels(MAGENTA)[0] == 0, "+ zooms in")
    view.page.keyboard.press("0")
    until(lambda: view.pixels(MAGENTA)[1:] == pytest.approx(view.point(0), abs=2), "0 shows all again")
    assert view.page.evaluate(active) == before  # JupyterLab saw none of these keys


def test_wheel_zooms_only_a_focused_map(view):
    x, y = view.point(0)
    view.canvas.hover(position={"x": x, "y": y})
    view.expect("hover", 0)
    view.settle()
    size = view.pixels(MAGENTA)[0]
    view.page.mouse.wheel(0, -30)
    view.settle()
    assert view.pixels(MAGENTA)[0] == pytest.approx(size, rel=0.02)
    view.canvas.focus()
    view.canvas.hover(position={"x": x, "y": y})
    view.page.mouse.wheel(0, -300)
    until(lambda: view.pixels(MAGENTA)[0] > size * 1.1, "the wheel zooms")


def test_captions_are_text_everywhere(view):
    view.set(selected=3, hover=3, query="script")
    until(lambda: view.root.locator(".head .caption").inner_text() == HOSTILE, "the caption is shown as it is")
    assert view.card.locator("b").inner_text() == HOSTILE
    assert view.root.locator("img, script").count() == 0
    assert view.page.evaluate("() => window.hacked") is None


def test_dark_theme_is_legible(view):
    luminance = """(node) => {
      const style = getComputedStyle(node), paper = getComputedStyle(node.closest(".xlib-explorer"));
      return [style.color, paper.backgroundColor].map((text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      });
    }"""
    view.notebook.command("apputils:change-theme", theme="JupyterLab Dark")
    try:
        until(lambda: "dark" in view.root.get_attribute("class"), "the explorer turns dark")
        view.set(selected=1)
        for part in (".head .caption", ".note", ".legend", ".axis.x", ".step"):
            ink, paper = view.root.locator(part).first.evaluate(luminance)
            assert paper < 0.05
            assert (ink + 0.05) / (paper + 0.05) > 7, part
        until(
            lambda: view.root.locator(".head canvas").evaluate(COUNT, list(CHIP))[0] > 300,
            "a light chip is under dark strokes",
        )
    finally:
        view.notebook.command("apputils:change-theme", theme="JupyterLab Light")
        until(lambda: "dark" not in view.root.get_attribute("class"), "the explorer turns light")


@pytest.mark.parametrize("width", [420, 1300])
def test_nothing_overlaps_or_overflows(view, width):
    view.root.evaluate("(root, width) => (root.style.width = `${width}px`)", min(width, 1000))
    view.set(selected=3)
    try:
        view.settle()
        root = view.root.bounding_box()
        boxes = [part.bounding_box() for part in view.root.locator(".stage, aside, .training, .legend, .top").all()]
        for box in boxes:
            assert box["x"] >= root["x"]
            assert box["x"] + box["width"] <= root["x"] + root["width"] + 0.5
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                apart_x = max(a["x"], b["x"]) >= min(a["x"] + a["width"], b["x"] + b["width"]) - 0.5
                apart_y = max(a["y"], b["y"]) >= min(a["y"] + a["height"], b["y"] + b["height"]) - 0.5
                assert apart_x or apart_y
        sizes = "(root) => [...root.querySelectorAll('*')].map((e) => parseFloat(getComputedStyle(e).fontSize))"
        assert min(view.root.evaluate(sizes)) >= 12  # 12 CSS pixels are 9 points
    finally:
        view.root.evaluate("(root) => (root.style.width = '')")
