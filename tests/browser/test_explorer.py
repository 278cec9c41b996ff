"""The embedding explorer in a real JupyterLab: what is seen, what the kernel knows, by mouse and by keyboard."""

import functools
import re
from typing import ClassVar

import numpy as np
import pytest
from harness import PIXELS, ROOT, Notebook, until
from matplotlib import colormaps
from matplotlib.path import Path
from PIL import Image

from xlib.explore import Explorer

pytestmark = pytest.mark.browser

HOSTILE = """</script><img src="data:," onerror="window.hacked=1">"""
# 60 pictures and 60 captions, 5 snapshots. Picture 0 is magenta, a colour that nothing else has: where it is drawn
# can be read off the canvas. Picture 1 has black strokes on nothing. A text is encoded as the mean of the items whose
# captions hold it; where there are none, as what is not a number.
DATA = f"""
import numpy as np
from xlib.explore import Explorer, ExplorerModel, explore
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
def holding(text):
    return [i for i in range(2 * n) if text in captions[i % n]]
def encode(texts):
    rows = [holding(text) for text in texts]
    return np.stack([z[-1, found].mean(0) if found else np.full(24, np.nan) for found in rows])
def make():
    return ExplorerModel(z, captions=captions * 2, images=[*pictures, *[None] * n], labels=labels * 2,
                         domains=["scan", "photo"] * (n // 2) + [None] * n, pairs=[*range(n, 2 * n), *range(n)],
                         steps=[0, 10, 20, 40, 80], encode=encode, suggestions=["thing 5", "magenta square"],
                         title="Sixty, or 60 things")
def nearest(x, step):
    unit = z[step] / np.linalg.norm(z[step], axis=1, keepdims=True)
    return [int(j) for j in np.argsort(-(unit @ x))]
def truth(i, step, k=8):
    return [j for j in nearest(z[step, i], step) if j != i][:k]
"""
# How many pixels of a canvas have a colour, and their centre in CSS pixels; all of them, or those near a place.
COUNT = """(canvas, [[r, g, b], place]) => {
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const [left, top, radius] = (place ?? [0, 0, 1e9]).map((v) => v * devicePixelRatio);
  let [n, x, y] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) >= 12) continue;
    const [column, row] = [(i / 4) % width, Math.floor(i / 4 / width)];
    if (Math.max(Math.abs(column - left), Math.abs(row - top)) > radius) continue;
    n++; x += column; y += row;
  }
  return [n, x / n / devicePixelRatio, y / n / devicePixelRatio];
}"""
# Whether the maps look alike three times in a row, within five seconds.
REST = """async (root) => {
  let [last, alike] = ["", 0];
  for (let k = 0; k < 150 && alike < 2; k++) {
    await new Promise((done) => setTimeout(done, 33));
    const now = [...root.querySelectorAll(".stage > canvas")].map((canvas) => canvas.toDataURL()).join();
    alike = now === last ? alike + 1 : 0;
    last = now;
  }
  return alike === 2;
}"""
# The colours in the middle of a matrix' cells, row by row.
CELLS = """(canvas, side) => {
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const middle = (k) => Math.floor((k + 0.5) * width / side);
  const at = (k) => 4 * (middle(Math.floor(k / side)) * width + middle(k % side));
  return Array.from({ length: side * side }, (_, k) => [...data.slice(at(k), at(k) + 3)]);
}"""
# What Tab should reach, numbered in this order; and what it has reached, with what the browser draws around it.
CONTROLS = """(root) => {
  for (const node of document.querySelectorAll("[data-stop]")) delete node.dataset.stop;  // of another explorer, too
  return [...root.querySelectorAll("button, input, select, canvas[tabindex], .sheet")]
  .filter((node) => node.checkVisibility({ visibilityProperty: true }) && !node.disabled)
  .map((node, k) => (node.dataset.stop = k)).length;
}"""
REACHED = """() => {
  const node = document.activeElement, style = getComputedStyle(node);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && node.matches(":focus-visible");
  return [Number(node.dataset.stop ?? -1), seen, node.ariaLabel ?? node.textContent];
}"""
# The magenta picture; rings, stars and pair lines in the light theme; what is under dark strokes; the matrix' marks.
# And the ground inside a lasso.
MAGENTA, ACCENT, CHIP, WHITE = (255, 0, 255), (0, 103, 184), (233, 235, 238), (255, 255, 255)
LASSO = (217, 232, 244)
SHORT = 0.3  # seconds that a mutant gets for what it never does


class View:
    """One explorer on the page, and the name it has in the kernel. `doomed`: what a mutant waits for in vain."""

    frames: ClassVar = {}  # of both explorers, by layout

    def __init__(self, notebook, name="explorer", doomed=None):
        self.notebook, self.name, self.page, self.doomed = notebook, name, notebook.page, doomed
        self.root = self.page.locator(".xlib-explorer").nth(("explorer", "mutant", "live").index(name))
        self.maps = self.root.locator(".stage > canvas")
        self.canvas = self.maps.first
        self.card = self.root.locator(".card")
        self.rows = self.root.locator("ol .row:visible")
        self.slider = self.root.get_by_role("slider")
        self.search = self.root.get_by_role("searchbox")
        self.matrix = self.root.locator(".matrix > canvas")

    def get(self, attribute):
        return self.notebook.kernel(f"{self.name}.{attribute}")

    def set(self, **values):
        self.notebook.execute("\n".join(f"{self.name}.{key} = {value!r}" for key, value in values.items()))

    def until(self, condition, what, *, seconds=10.0):
        until(condition, what, seconds=SHORT if what == self.doomed else seconds)

    def expect(self, attribute, value, what=None, **options):
        self.until(lambda: self.get(attribute) == value, what or f"{attribute} becomes {value!r}", **options)

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def pixels(self, colour, map=0, *, near=None):
        """How many pixels have this colour, and their centre in CSS pixels."""
        return self.maps.nth(map).evaluate(COUNT, [list(colour), near and list(near)])

    def shows(self, colour, place, map=0):
        """Whether the pixels of a colour have their centre there; positions are whole pixels, and so are sizes."""
        return self.pixels(colour, map)[1:] == pytest.approx(place, abs=2)

    def ringed(self, place, map=0):
        return self.pixels(ACCENT, map, near=(*place, 44))[0] > 100

    def settle(self):
        """Wait until the pictures have come to rest."""
        assert self.root.evaluate(REST), "the picture comes to rest"

    def points(self, *, layout="pca", step=None):
        """(N, 2): where the items should be drawn, worked out from the model's frames alone."""
        step = self.get("step") if step is None else step
        frames = self.frames.get(layout) if self.name != "live" else None
        if frames is None:
            frames = np.array(self.notebook.kernel(f"{self.name}.model.layouts[{layout!r}].frames.tolist()"))
        if layout != "axis" and self.name != "live":  # others are made once
            self.frames[layout] = frames
        return drawn(frames, step, self.size(), free=layout == "axis")

    def point(self, i, **options):
        return self.points(**options)[i].tolist()

    def size(self):
        box = self.canvas.bounding_box()
        return np.array([box["width"], box["height"]])

    def hover(self, place, map=0):
        self.maps.nth(map).hover(position={"x": float(place[0]), "y": float(place[1])})

    def click(self, place, *modifiers, map=0):
        self.maps.nth(map).click(position={"x": float(place[0]), "y": float(place[1])}, modifiers=modifiers)

    def drag(self, path, *keys):
        """Along a path on the first map, with these keys held; how many pixels a lasso covers before its end."""
        self.canvas.scroll_into_view_if_needed()
        box, mouse = self.canvas.bounding_box(), self.page.mouse
        for key in keys:
            self.page.keyboard.down(key)
        for k, (x, y) in enumerate(path):
            mouse.move(box["x"] + x, box["y"] + y)
            if k == 0:
                mouse.down()
        self.page.wait_for_timeout(50)
        inside = self.pixels(LASSO)[0]
        mouse.up()
        for key in keys:
            self.page.keyboard.up(key)
        return inside


def drawn(frames, step, size, *, free=False):
    """(N, 2): where the items belong on a map of this size: they fill it at this step, or a quarter of it where they
    have shrunk further than that. free: each axis has its own scale."""
    xy = frames[step]
    low, high, whole = xy.min(0), xy.max(0), np.ptp(frames, axis=(0, 1))
    top = 60 if free else 30  # there the two texts stand
    scale = (size - [60, top + 30]) / np.maximum(high - low, whole / 4)
    return np.add(size, [0, top - 30]) / 2 + (xy - (low + high) / 2) * (scale if free else scale.min()) * [1, -1]


def within(loop, points):
    """The rows inside a loop, and those too near its edge to say."""
    inside = np.stack([Path(loop).contains_points(points + shift) for shift in ((1, 1), (1, -1), (-1, 1), (-1, -1))])
    return set(np.flatnonzero(inside.all(0)).tolist()), set(np.flatnonzero(inside.any(0) > inside.all(0)).tolist())


# ---- what is checked twice: on the real view, and on views with one line changed -----------------------------------


def check_step(view):
    _, x, y = view.pixels(MAGENTA)
    view.slider.focus()
    view.press(*["ArrowRight"] * 4)
    view.expect("step", 4)
    view.until(lambda: np.hypot(view.pixels(MAGENTA)[1] - x, view.pixels(MAGENTA)[2] - y) > 15, "the picture moves")


def check_hover(view):
    view.set(step=4)
    view.settle()
    assert view.pixels(ACCENT)[0] == 0
    view.hover(view.point(0))
    view.expect("hover", 0)
    view.until(lambda: view.ringed(view.point(0)), "the ring is drawn")
    view.until(lambda: view.pixels(ACCENT)[0] > 300, "and the pair line")
    view.set(hover=-1)
    view.until(lambda: view.pixels(ACCENT)[0] == 0, "both go again")


def check_search(view):
    before = view.pixels(MAGENTA)[0]
    view.search.fill("cat")
    view.expect("query", "cat")
    view.until(lambda: view.pixels(MAGENTA)[0] == 0, "what does not match fades")
    view.search.fill("MAGENTA")
    view.expect("matches", [0, 60])
    view.until(lambda: view.pixels(MAGENTA)[0] > before / 2, "what matches does not")
    view.search.fill("cat")
    view.button("Select them").click()
    view.expect("selected", [2, 62], "the matches are selected")
    view.until(lambda: (view.get("query"), view.search.input_value()) == ("", ""), "the search is over")
    view.search.fill("no such thing")
    view.root.get_by_text("0 of 120 match").wait_for()
    assert view.button("Select them").count() == 0


def check_selection_from_python(view):
    assert view.pixels(ACCENT)[0] == 0
    view.set(selected=[0])
    view.until(lambda: view.ringed(view.point(0)), "the selected item gets its ring")
    view.set(selected=[4, 5, 7, 65])
    view.until(lambda: view.pixels(MAGENTA)[0] == 0, "the others fade")
    view.set(selected=[0, 5, 6, 65])
    view.until(lambda: view.pixels(MAGENTA)[0] > 50, "those selected do not")
    head = view.root.locator(".head")
    view.until(lambda: head.locator(".caption").inner_text() == "4 items selected", "the panel counts them")
    assert head.locator(".meta").inner_text() == "2 animals, 2 tools"
    captions = view.rows.locator(".caption")
    assert captions.all_inner_texts() == ["magenta square", "thing 5", "thing 6", "thing 5"]
    assert "4 items selected" in view.canvas.get_attribute("aria-label")


def check_clicks(view):
    points = view.points()
    view.click(points[0])
    view.expect("selected", [0])
    apart = np.sort(np.hypot(*(points[:, None] - points).transpose(2, 0, 1)))[:, 1]  # from the next item
    far = int(apart[1:].argmax()) + 1
    view.hover(points[far])
    view.expect("hover", far, "the item under the mouse is hovered")
    view.click(points[far], "Control")
    view.expect("selected", [0, far], "Ctrl and a click add an item")
    view.click(points[0], "Control")
    view.expect("selected", [far], "or take it away")
    x, y = np.meshgrid(np.arange(150, view.size()[0] - 150, 10), np.arange(60, view.size()[1] - 40, 10))
    ground = np.stack([x.ravel(), y.ravel()], 1)
    empty = ground[np.hypot(*(ground[:, None] - points).transpose(2, 0, 1)).min(1).argmax()]
    view.click(empty)
    view.expect("selected", [], "a click beside all items clears")


def check_lasso(view):
    points = view.points()
    middle = points.mean(0).round()
    bay = np.add(middle, [(0, -60), (54, -24), (6, 6), (36, 54), (-54, 36), (-36, -42)])  # not convex
    box = np.add(middle, [(-42, -36), (48, -36), (48, 30), (-42, 30)])
    more = np.add(middle, [(0, -10), (80, -70), (70, 60)])

    def chosen(*loops):
        parts = [within(loop, points) for loop in loops]
        unsure = set.union(*(part[1] for part in parts))
        return set(view.get("selected")) - unsure == set.union(*(part[0] for part in parts)) - unsure

    drawn = view.drag(bay, "Shift")
    view.until(lambda: chosen(bay), "Shift and a drag select what is inside")
    assert drawn > 300, "the loop is drawn"
    view.button("Box").click()
    view.drag(box[::2])
    view.until(lambda: chosen(box), "a box selects what is inside")
    view.button("Lasso").click()
    view.drag(bay)
    view.until(lambda: chosen(bay), "the lasso selects what is inside")
    view.drag(more, "Control")
    view.until(lambda: chosen(bay, more), "Ctrl adds")
    view.page.mouse.move(2, 2)
    view.until(lambda: view.pixels(ACCENT)[0] == 0, "the loop goes again")
    assert len({*map(len, (within(loop, points)[0] for loop in (bay, box, more)))}) == 3


def check_keys(view):
    view.canvas.focus()
    view.press("ArrowRight", "Enter")
    view.until(lambda: view.get("selected") == [view.get("hover")] != [-1], "Enter selects")
    [first] = view.get("selected")
    view.press("ArrowRight", " ")
    view.until(lambda: view.get("selected") == [first, view.get("hover")] != [first, first], "Space adds")
    view.press(" ")
    view.expect("selected", [first], "or takes away")
    view.card.wait_for()
    points = view.points(step=0)
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowDown", 1, 1), ("ArrowLeft", 0, -1), ("ArrowUp", 1, -1)):
        before = view.get("hover")
        view.press(key)
        view.until(lambda: view.get("hover") != before, f"{key} moves to another item")  # noqa: B023
        assert sign * (points[view.get("hover")] - points[before])[axis] > 0
    view.press("Escape")
    view.until(lambda: (view.get("selected"), view.get("hover")) == ([], -1), "Escape clears")


def check_zoom(view):
    count, start = view.pixels(MAGENTA)[0], np.array(view.point(0))
    middle = view.size() / 2
    view.canvas.focus()
    view.press("+", "+")
    at = middle + (start - middle) * 2.25
    for axis, (back, forth) in enumerate((("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"))):
        steps = round((middle[axis] - at[axis]) / 60)
        view.press(*[f"Shift+{forth if steps < 0 else back}"] * abs(steps))
        at[axis] += 60 * steps
    view.until(lambda: view.shows(MAGENTA, at), "keys zoom and pan")
    view.until(lambda: 1.6 < view.pixels(MAGENTA)[0] / count < 3.2, "pictures grow with the zoom")
    assert view.get("hover") == -1
    there = at + np.array([70, -40])
    view.drag([at, there - 15, there])
    view.until(lambda: view.shows(MAGENTA, there), "a drag pans")
    assert view.get("selected") == []
    view.press("-")
    view.until(lambda: not view.shows(MAGENTA, there), "− zooms out")
    view.press("0")
    view.until(lambda: view.shows(MAGENTA, start), "0 shows all again")
    view.button("Zoom in").click()
    view.until(lambda: not view.shows(MAGENTA, start), "the button zooms in")
    view.button("Zoom out").click()
    view.until(lambda: view.shows(MAGENTA, start), "the button zooms out")


def check_compare(view, option):
    """Two maps, by keyboard: where item 0 lies on them, and what is ringed on each while it is hovered."""
    view.set(step=4)
    shown = {  # option: titles, the layout and step of each map, the item that stands for item 0 on the second
        "steps": (["step 0", "step 80"], [("pca", 0), ("pca", 4)], 0),
        "modality": (["image", "text"], [("pca", 4), ("pca", 4)], 60),
        "domains": (["scan", "photo"], [("pca", 4), ("pca", 4)], 60),
        "projection": (["PCA", "UMAP"], [("pca", 4), ("umap", 4)], 0),
    }
    titles, layouts, counterpart = shown[option]
    view.root.get_by_label("Compare").focus()
    view.press(*["ArrowDown"] * (1 + list(shown).index(option)))
    view.expect("compare", option, seconds=60)
    view.until(lambda: view.root.locator(".what").all_inner_texts() == titles, "each map has its title")
    view.set(hover=0)  # on top of what lies there too
    view.settle()
    first, second = (
        view.point(i, layout=layout, step=step) for i, (layout, step) in zip((0, counterpart), layouts, strict=True)
    )
    view.until(lambda: view.shows(MAGENTA, first, 0), "the first map shows its part")
    if counterpart:
        view.until(lambda: view.pixels(MAGENTA, 1)[0] == 0, "the second map shows its part")
    else:
        view.until(lambda: view.shows(MAGENTA, second, 1), "the second map shows its part")
    view.set(hover=-1)
    view.until(lambda: view.pixels(ACCENT, 1)[0] == 0, "nothing is ringed")
    view.hover(first)
    view.expect("hover", 0)
    view.until(lambda: view.ringed(first, 0), "the item is ringed")
    view.until(lambda: view.ringed(second, 1), "its counterpart is ringed")
    view.hover(second, 1)
    view.until(lambda: view.get("hover") == counterpart, "hovered on the second map")
    other = second if option == "domains" else first  # texts have no domain: they are on both maps
    view.until(lambda: view.ringed(other, 0), "ringed on the first")
    view.page.mouse.move(2, 2)
    view.expect("hover", -1)
    if counterpart:
        return
    view.click(first)
    view.expect("selected", [0])
    view.page.mouse.move(2, 2)
    view.expect("hover", -1)
    view.until(lambda: view.ringed(second, 1), "the selection is shared")
    view.press("Escape")
    view.until(lambda: view.pixels(ACCENT, 1)[0] == 0, "the ring is gone")
    count = view.pixels(MAGENTA, 1)[0]
    view.canvas.focus()
    view.hover(second)  # on the first map, where item 0 lies on the second: there it must stay
    for _ in range(3):
        view.page.mouse.wheel(0, -100)
    view.page.mouse.move(2, 2)
    view.until(lambda: view.pixels(MAGENTA, 1)[0] > 1.6 * count, "the zoom is shared")
    view.set(query="magenta")  # drawn over what lies there too
    view.until(lambda: view.shows(MAGENTA, second, 1), "and so is its middle")


check_compare_steps = functools.partial(check_compare, option="steps")
check_compare_modality = functools.partial(check_compare, option="modality")
check_compare_domains = functools.partial(check_compare, option="domains")
check_compare_projection = functools.partial(check_compare, option="projection")


def check_projection(view):
    view.set(step=4, hover=0)  # on top of what lies there too
    axis = view.root.locator(".axis.x")
    view.root.get_by_label("Projection").focus()
    view.press("ArrowDown")
    view.expect("projection", "umap", seconds=60)
    view.until(lambda: view.shows(MAGENTA, view.point(0, layout="umap")), "the map is UMAP's", seconds=60)
    view.until(lambda: axis.inner_text() == "UMAP 1", "the axis says UMAP")
    view.press("ArrowDown")
    view.root.get_by_label("Axis from").fill("thing 4")
    view.press("Tab")
    view.page.keyboard.type("MAGENTA square")
    view.press("Enter")
    view.expect("axis", ["thing 4", "MAGENTA square"], "Enter asks for the axis")
    view.expect("projection", "axis")
    view.until(lambda: view.shows(MAGENTA, view.point(0, layout="axis")), "the map is the axis'")
    ends = ["← thing 4", "cosine", "MAGENTA square →"]
    view.until(lambda: axis.locator("span").all_inner_texts() == ends, "the axis' ends are both texts")
    view.settle()
    before, refused = view.canvas.evaluate(PIXELS), view.root.get_by_role("alert")
    view.root.get_by_label("Axis to").fill("no such text")
    view.press("Enter")
    view.until(lambda: "'no such text'" in "".join(refused.all_inner_texts()), "it says why not")
    view.expect("axis", ["thing 4", "MAGENTA square"])
    assert view.canvas.evaluate(PIXELS) == before
    view.root.get_by_label("Projection").focus()
    view.press("ArrowUp", "ArrowUp")
    view.expect("projection", "pca")
    view.until(lambda: view.shows(MAGENTA, view.point(0)), "the map is PCA's again")
    view.until(lambda: refused.count() == 0, "the refusal goes")


def check_typed(view):
    view.root.get_by_label("Your own caption").fill(" thing 5")
    view.press("Enter")
    view.expect("typed", "thing 5", "Enter places it")
    view.expect("step", 4)
    rows = view.notebook.kernel("holding('thing 5')")
    place = view.points()[rows].mean(0)  # PCA is linear, and `encode` takes the mean
    view.until(lambda: view.pixels(ACCENT)[0] > 60 and view.shows(ACCENT, place), "a star where it lands")
    captions, found = view.get("model.captions"), view.notebook.kernel("nearest(encode(['thing 5'])[0], 4)")
    listed = view.rows.locator(".caption")
    view.expect("neighbours", [[j, pytest.approx(c, abs=1e-4)] for j, c in cosines_of(view, found)], "pictures only")
    assert view.root.locator(".head").inner_text().split("\n") == ["thing 5", "your own caption"]
    assert view.pixels(MAGENTA)[0] == 0
    view.button("All items").click()
    view.until(lambda: listed.all_inner_texts() == [captions[j] for j in found[:8]], "what it retrieves is listed")
    view.slider.focus()
    view.press("Home")
    view.until(lambda: view.pixels(ACCENT)[0] == 0, "no star at a step that the encoder does not know")
    says = "your own caption, at step 80"  # the list is that of this step still
    view.until(lambda: view.root.locator(".head .meta").inner_text() == says, "it says of which step the list is")
    refused = view.root.get_by_role("alert")
    view.root.get_by_label("Your own caption").fill("no such text")
    view.button("Place it").click()
    view.until(lambda: "'no such text'" in "".join(refused.all_inner_texts()), "it says why not")
    view.expect("typed", "thing 5")
    view.click(view.point(0, step=0))
    view.until(lambda: (view.get("typed"), view.get("selected")) == ("", [0]), "a click takes over")


def cosines_of(view, found):
    """The first eight pictures among the rows found, and their cosines with the typed text."""
    rows = [j for j in found if j < 60][:8]
    cosines = f"[float(x @ encode(['thing 5'])[0] / np.linalg.norm(x)) for x in z[4, {rows}]]"
    norm = view.notebook.kernel("float(np.linalg.norm(encode(['thing 5'])[0]))")
    return zip(rows, [c / norm for c in view.notebook.kernel(cosines)], strict=True)


def check_matrix(view):
    view.button("Matrix").click()
    rows, columns = view.notebook.kernel(f"[part.tolist() for part in {view.name}.model.matrix()[:2]]")
    cosines = np.array(view.notebook.kernel(f"{view.name}.model.matrix()[2].tolist()"))
    ramp = np.array([colormaps["viridis"](v)[:3] for v in (0.0, 0.25, 0.5, 0.75, 1.0)]) * 255

    def alike(step):
        share = (cosines[step] - cosines.min()) / (cosines.max() - cosines.min())
        expected = np.stack([np.interp(share, np.linspace(0, 1, 5), channel) for channel in ramp.T], -1)
        return np.abs(np.array(view.matrix.evaluate(CELLS, len(rows))).reshape(expected.shape) - expected).max() < 4

    view.until(lambda: alike(0), "its colours are the cosines")
    view.set(step=4)
    view.until(lambda: alike(4), "they follow the step")
    assert [len(rows), columns] == [60, [i + 60 for i in rows]]
    unit = view.matrix.bounding_box()["width"] / 60
    view.matrix.hover(position={"x": 12.5 * unit, "y": 7.5 * unit})
    i, j, captions = rows[7], columns[12], view.get("model.captions")
    said = view.root.locator(".cell [data-ui=cell]")
    view.until(lambda: f"{captions[i]} (image)" in said.inner_text(), "the row's item is named")
    assert f"{captions[j]} (text)" in said.inner_text()
    assert float(said.locator("b").inner_text()) == pytest.approx(cosines[4, 7, 12], abs=0.0101)
    view.expect("hover", i)
    assert captions[j] in view.root.locator("[data-ui=live]").text_content()
    view.page.mouse.move(2, 2)
    view.expect("hover", -1)
    assert said.inner_text() == ""
    assert view.matrix.evaluate(COUNT, [WHITE, None])[0] == 0
    view.set(hover=rows[20])
    marked = lambda: view.matrix.evaluate(COUNT, [WHITE, None])  # noqa: E731
    view.until(lambda: marked()[0] > 500 and abs(marked()[2] - 20.5 * unit) < 2, "a hovered item marks its row")
    view.matrix.focus()
    view.press("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowRight", "ArrowUp")
    view.press("Enter")
    view.expect("selected", [rows[1], columns[1]], "keys select both items")
    view.matrix.click(position={"x": 9.5 * unit, "y": 3.5 * unit})
    view.expect("selected", [rows[3], columns[9]], "a click selects both items")


def check_table(view):
    view.button("Table").click()
    pages, body = view.root.locator(".pages span"), view.root.locator("tbody tr")
    view.until(lambda: pages.inner_text() == "1 to 20 of 120", "the first page")
    assert body.count() == 20
    assert view.button("Previous").is_disabled()
    cells = lambda r: body.nth(r).locator("td, th").all_inner_texts()[2:]  # noqa: E731
    cosine = lambda step, i: f"{view.notebook.kernel(f'float(model.pair_similarity[{step}, {i}])'):.2f}"  # noqa: E731
    assert cells(0) == ["magenta square", cosine(0, 0), "animals", "image", "scan"]
    view.set(step=4)
    view.until(lambda: cells(0)[1] == cosine(4, 0), "cosines follow the step")
    view.button("Next").click()
    view.until(lambda: pages.inner_text() == "21 to 40 of 120", "the next page")
    assert cells(3)[0] == "thing 23"
    view.button("Previous").focus()
    view.press("Enter")
    view.until(lambda: pages.inner_text() == "1 to 20 of 120", "the page before")
    view.search.fill("thing 5")
    view.until(lambda: pages.inner_text() == "1 to 20 of 22", "the search filters")
    view.button("Next").click()
    view.until(lambda: [cells(r)[0] for r in range(body.count())] == ["thing 58", "thing 59"], "the last page")
    assert cells(1)[2:] == ["tools", "text", ""]
    view.root.get_by_role("checkbox", name="Select thing 58, text").focus()
    view.expect("hover", 118, "the item in focus is hovered")
    view.press(" ")
    view.expect("selected", [118], "Space on a box selects")
    view.press("Tab")
    view.expect("hover", 119)  # focus had stayed where it was
    box = view.root.get_by_role("checkbox", name="Select thing 59, text")
    box.click()
    view.expect("selected", [118, 119], "a click on a box selects")
    box.click()
    view.expect("selected", [118], "and takes away")
    view.set(selected=[119])
    view.until(lambda: box.is_checked(), "boxes follow Python")
    body.first.hover()
    view.expect("hover", 118, "the item under the mouse is hovered")
    view.button("Map").click()
    view.expect("hover", -1)


def check_save(view):
    def saved(act):
        with view.page.expect_download() as found:
            act()
        picture = Image.open(found.value.path())
        assert found.value.suggested_filename == "sixty-or-60-things-step-0.png"
        assert picture.format == "PNG"
        pixels = np.array(picture.convert("RGB"))
        return pixels, np.argwhere((pixels == MAGENTA).all(2)).mean(0)[::-1] / 2

    wide, tall = view.size()
    left, top = 16, 44  # of the map in the picture: above it stands the title
    pixels, at = saved(view.button("Save picture").click)
    height, width = pixels.shape[:2]
    assert (width, height > 2 * (top + tall + 40)) == (2 * (round(wide) + 32), True), "two pixels for each of CSS"
    assert at == pytest.approx(np.add(view.pixels(MAGENTA)[1:], [left, top]), abs=1.5)
    dark = (pixels.sum(2) < 300) & (pixels.max(2) < 130)  # the ink of words
    words = dark[: 2 * top - 8, : 2 * left + 400].sum(), dark[2 * (top + round(tall) + 6) : -60, width // 3 :].sum()
    assert min(words) > 200, "title and axis are written"
    orange = (np.abs(pixels[2 * (top + round(tall) + 26) :].astype(int) - (230, 159, 0)).sum(2) < 12).sum()
    assert orange > 100, "the legend is in the picture"
    view.root.get_by_label("Compare").select_option("steps")
    view.expect("compare", "steps")
    view.settle()
    wide, tall = view.size()
    view.button("Save picture").focus()
    pixels, at = saved(lambda: view.press("Enter"))
    assert pixels.shape[1] == 2 * (2 * round(wide) + 16 + 32)
    both = np.mean([view.pixels(MAGENTA)[1:], np.add(view.pixels(MAGENTA, 1)[1:], [round(wide) + 16, 0])], 0)
    assert at == pytest.approx(np.add(both, [left, top]), abs=1.5), "both maps are in the picture"


def check_legend(view):
    """Items of what is not pressed fade, and cannot be reached; the magenta square is an animal, on a scan."""
    view.set(step=4)
    view.settle()
    pressed = lambda name: view.button(name).get_attribute("aria-pressed") == "true"  # noqa: E731
    before = view.pixels(MAGENTA)[0]
    view.button("animals").click()
    view.until(lambda: view.pixels(MAGENTA)[0] == 0, "a class that is not pressed fades")
    assert [pressed(name) for name in ("animals", "food", "scan")] == [False, True, True]
    view.hover(view.point(0))
    view.page.wait_for_timeout(100)
    assert view.get("hover") != 0, "it cannot be hovered"
    view.button("animals").focus()
    view.press("Enter")
    view.until(lambda: view.pixels(MAGENTA)[0] > before / 2, "a second click shows it again")
    view.button("tools").click(modifiers=["Shift"])
    view.until(lambda: view.pixels(MAGENTA)[0] == 0, "Shift shows this class alone")
    assert [pressed(name) for name in ("animals", "food", "tools")] == [False, False, True]
    view.button("tools").click(modifiers=["Shift"])
    view.until(lambda: view.pixels(MAGENTA)[0] > before / 2, "and then all again")
    view.button("text").dblclick()
    view.until(lambda: view.pixels(MAGENTA)[0] == 0, "two clicks show this shape alone")
    assert [pressed(name) for name in ("scan", "photo", "text", "animals")] == [False, False, True, True]
    view.button("text").dblclick()
    view.until(lambda: view.pixels(MAGENTA)[0] > before / 2, "and then all shapes again")


def check_zoom_to_selection(view):
    closer = view.button("Zoom to selection")
    assert closer.is_disabled()
    chosen = [0, 9, 27]
    view.set(selected=chosen)
    view.until(closer.is_enabled, "it can be pressed")
    closer.click()
    start = view.points(step=0)[chosen]
    low, high, size = start.min(0), start.max(0), view.size()
    scale = min((size - [120, 120]) / (high - low))
    at = size / 2 + (start[0] - (low + high) / 2) * scale
    view.until(lambda: view.shows(MAGENTA, at), "the selection fills the map")
    view.button("Show all").click()
    view.until(lambda: view.shows(MAGENTA, start[0]), "and all can be seen again")


def check_height(view):
    """Nothing that is chosen moves what is below."""
    tall = lambda: round(view.root.bounding_box()["height"])  # noqa: E731
    before = tall()
    changes = [
        *({"selected": rows} for rows in ([0], list(range(90)), [])),
        *({"compare": name} for name in ("steps", "modality", "")),
        *({"axis": ["thing 4", "thing 5"]}, {"projection": "pca"}, {"typed": "thing 5"}, {"query": "thing"}),
        {"query": "no such thing"},
    ]
    for change in changes:
        view.set(**change)
        view.page.wait_for_timeout(80)
        assert tall() == before, f"the height stays: {change}"
    for tab in ("Matrix", "Table", "Map"):
        view.button(tab).click()
        view.page.wait_for_timeout(80)
        assert tall() == before, f"the height stays: {tab}"
    view.search.fill("")
    view.root.get_by_label("Your own caption").fill("no such text")
    view.press("Enter")
    view.root.get_by_role("alert").wait_for()
    assert tall() == before, "the height stays: a refusal"


def check_narrow(view):
    """Where there is no room beside the map, the chosen item stands over it, and can be closed."""
    view.root.evaluate("(root) => (root.style.width = '520px')")
    try:
        view.page.wait_for_timeout(100)
        view.settle()
        height, lowest = view.root.bounding_box()["height"], int(view.points()[:, 1].argmax())
        assert not view.root.locator(".chosen").is_visible()
        view.click(view.point(lowest))
        view.expect("selected", [lowest])
        sheet, stage = view.root.locator(".chosen").bounding_box(), view.canvas.bounding_box()
        assert stage["y"] < sheet["y"] < sheet["y"] + sheet["height"] < stage["y"] + stage["height"], "over the map"
        assert view.root.bounding_box()["height"] == height, "over the map"
        x = view.point(lowest)[0]
        free = sheet["y"] - stage["y"]
        ring = lambda: view.pixels(ACCENT, near=(x, free / 2, free / 2))  # noqa: E731
        view.until(lambda: ring()[0] > 100, "the chosen item is not covered")
        view.button("Clear selection").click()
        view.expect("selected", [])
        view.until(lambda: not view.root.locator(".chosen").is_visible(), "it can be closed")
        view.hover(view.point(0))
        view.expect("hover", 0, "the map is where it was")
    finally:
        view.root.evaluate("(root) => (root.style.width = '')")


# UMAP is forgotten, and what takes its place is slow; and back again.
FORGET = """
import dataclasses, time
from xlib.explore import projections
kept, umap = {name}.model.layouts.pop("umap", None), projections.umap
def slow(z):
    time.sleep(1.5)
    return dataclasses.replace(projections.pca(z), axes=["UMAP 1", "UMAP 2"])
projections.umap = slow
{name}.model.layouts.pop("axis", None)
{name}._drawn, {name}.maps = {{}}, {{"pca": {name}.maps["pca"]}}
"""
REMEMBER = """
projections.umap, {name}.compare, {name}._drawn = umap, "", {{}}
{name}.model.layouts.pop("umap", None)
if kept:
    {name}.model.layouts["umap"] = kept
{name}._draw_maps()
"""


def check_veil(view):
    """A map that is yet to be computed says so, and no other one stands in for it."""
    view.notebook.execute(FORGET.format(name=view.name))
    try:
        stages = view.root.locator(".stage")
        names = stages.locator(".axis.x")
        view.root.get_by_label("Compare").select_option("projection")
        veil = stages.nth(1).locator(".veil")
        view.until(lambda: veil.is_visible() and veil.inner_text() == "computing UMAP…", "it says what is computed")
        assert view.maps.nth(1).evaluate("(canvas) => getComputedStyle(canvas).opacity") == "0", "nothing is shown"
        assert names.nth(1).text_content() == "", "no other map's axes"
        assert stages.nth(0).locator(".veil").text_content() == ""
        view.until(lambda: not veil.is_visible(), "the veil goes")
        view.until(lambda: names.nth(1).inner_text() == "UMAP 1", "the map is there")
        view.set(compare="")
        view.root.get_by_label("Projection").select_option("axis")
        view.until(lambda: veil_of(view).startswith("Give two texts"), "it asks for two texts")
        fields = [view.root.get_by_label(name) for name in ("Axis from", "Axis to")]
        placeholders = [field.get_attribute("placeholder") for field in fields]
        captions = set(view.get("model.captions"))
        assert {text.split(": ", 1)[1] for text in placeholders} <= captions, "examples from the map itself"
        assert placeholders[0] != placeholders[1]
        view.root.get_by_label("Projection").select_option("pca")
        view.until(lambda: veil_of(view) == "", "no longer")
    finally:
        view.until(lambda: view.get("computing") == "", "it is over")
        view.notebook.execute(REMEMBER.format(name=view.name))


def veil_of(view):
    return view.root.locator(".veil").first.text_content()


def check_focus_returns(view):
    at = "() => document.activeElement.getAttribute('aria-roledescription') ?? document.activeElement.textContent"
    view.canvas.focus()
    view.press("ArrowRight", "Enter")
    view.until(lambda: view.button("Clear selection").is_visible(), "an item is selected")
    view.button("Clear selection").click()
    view.expect("selected", [])
    assert view.page.evaluate(at) == "map of an embedding", "the map has the focus again"
    view.set(selected=[0])
    view.button("Lasso").focus()
    view.rows.first.wait_for()
    view.rows.first.focus()
    view.press("Escape")
    view.expect("selected", [])
    assert view.page.evaluate(at) == "Lasso", "what had the focus has it again"


def check_chips(view):
    chips = view.root.get_by_role("group", name="Captions to try").get_by_role("button")
    assert chips.all_inner_texts() == ["thing 5", "magenta square"]
    chips.nth(0).click()
    view.expect("typed", "thing 5", "a click places it")
    view.until(lambda: view.root.get_by_label("Your own caption").input_value() == "thing 5", "the field shows it")
    chips.nth(1).focus()
    view.press("Enter")
    view.expect("typed", "magenta square")
    assert [chip.get_attribute("aria-pressed") for chip in chips.all()] == ["false", "true"]


def check_card(view):
    """The card of the hovered item keeps out of the way."""
    view.set(step=4)
    view.settle()
    view.hover(view.point(0))
    view.card.wait_for()
    view.click(view.point(0))
    view.expect("selected", [0])
    view.until(lambda: not view.card.is_visible(), "beside the panel there is no card")
    view.press("Escape")
    view.expect("selected", [])
    view.hover(np.add(view.point(1), 0.5))
    view.until(view.card.is_visible, "it is back")
    box, (x, y) = view.canvas.bounding_box(), view.point(1)
    view.page.mouse.move(box["x"] + x, box["y"] + y)
    view.page.mouse.down()
    view.page.mouse.move(box["x"] + x + 20, box["y"] + y + 20, steps=3)
    shown = view.card.is_visible()
    view.page.mouse.up()
    assert not shown, "nor while something is dragged"


# How wide each option of a select is, beside the room that it has; and forty letters, beside the field for a caption.
WORDS = """(root) => {
  const c = new OffscreenCanvas(1, 1).getContext("2d");
  const wide = (node, words) => ((c.font = getComputedStyle(node).font), c.measureText(words).width);
  const selects = [...root.querySelectorAll("select")];
  const field = root.querySelector(".typing input");
  return {
    selects: selects.map((s) => [s.clientWidth - 20, Math.max(...[...s.options].map((o) => wide(s, o.text)))]),
    field: [field.clientWidth - 18, wide(field, "something to eat with cheese, on a plate")],
    rows: new Set([...root.querySelectorAll("div.bar > :not([hidden])")].map((node) => node.offsetTop)).size,
  };
}"""


def check_toolbar(view):
    for width, rows in ((968, 1), (720, 2)):  # what JupyterLab leaves of 1,400 and of 900 pixels
        view.root.evaluate("(root, width) => (root.style.width = `${width}px`)", width)
        try:
            found = view.root.evaluate(WORDS)
            assert found["rows"] <= rows, "the toolbar's rows"
            assert all(words <= room for room, words in found["selects"]), "no option is cut"
            room, words = found["field"]
            assert words <= room, "forty letters can be seen"
        finally:
            view.root.evaluate("(root) => (root.style.width = '')")


def check_wheel(view):
    place = view.point(0)
    view.hover(place)
    view.expect("hover", 0)
    view.settle()
    size = view.pixels(MAGENTA)[0]
    view.page.mouse.wheel(0, -30)
    says = view.root.get_by_text("Ctrl + scroll to zoom")
    view.until(says.is_visible, "it says how to zoom")
    view.settle()
    assert view.pixels(MAGENTA)[0] == pytest.approx(size, rel=0.02)
    view.until(lambda: not says.is_visible(), "for a moment")
    view.canvas.focus()
    view.hover(view.point(0))  # the page has scrolled
    view.page.mouse.wheel(0, -300)
    view.until(lambda: view.pixels(MAGENTA)[0] > size * 1.1, "the wheel zooms")


def check_captions_are_text(view):
    view.set(query="script", selected=[3], hover=3)
    text = lambda part: view.root.locator(part).first.text_content()  # noqa: E731
    view.until(lambda: text(".head .caption") == HOSTILE, "the panel shows the caption as it is")
    assert text(".card b") == HOSTILE, "the card shows the caption as it is"
    view.button("Table").click()
    view.until(lambda: text("tbody th") == HOSTILE, "the table shows the caption as it is")
    view.button("Matrix").click()
    at = view.notebook.kernel(f"{view.name}.model.matrix()[0].tolist().index(3)")
    unit = view.matrix.bounding_box()["width"] / 60
    view.matrix.hover(position={"x": (at + 0.5) * unit, "y": (at + 0.5) * unit})
    view.until(lambda: HOSTILE in text(".cell [data-ui=cell]"), "the matrix shows the caption as it is")
    view.button("Map").click()
    view.set(axis=[HOSTILE, "thing 5"])
    view.until(lambda: HOSTILE in text(".axis.x"), "the axis shows the caption as it is")
    typed = view.root.get_by_label("Your own caption")
    typed.fill(HOSTILE)
    view.press("Enter")
    view.until(lambda: text(".head .caption") == view.get("typed") == HOSTILE, "what is typed is shown as it is")
    typed.fill(f"no {HOSTILE}")
    view.press("Enter")
    view.until(lambda: f"no {HOSTILE}" in text("[role=alert]"), "the refusal shows it as it is")
    assert view.root.locator("img, script").count() == 0, "no caption is markup"
    assert view.page.evaluate("() => window.hacked") is None, "no caption is markup"


def check_focus(view):
    """Tab reaches every control of every tab in order, and each shows that it has the focus."""
    view.set(query="thing", selected=[0], compare="steps", axis=["thing 4", "thing 5"])
    names = []
    for tab in ("Map", "Matrix", "Table"):
        view.button(tab).click()
        view.page.mouse.move(2, 2)
        controls = view.root.evaluate(CONTROLS)
        view.button("Map").focus()
        view.press("Tab", "Shift+Tab")
        for stop in range(controls):
            at, seen, name = view.page.evaluate(REACHED)
            assert at == stop, f"every control is reached, after {names[-1:]}"
            assert seen, f"the focus is seen on {name}"
            names.append(name)
            view.press("Tab")
        assert view.page.evaluate(REACHED)[0] == -1, "and then the explorer is left"
    for name in ("Lasso", "Zoom in", "Axis from", "Your own caption", "Clear selection", "Training step", "Next"):
        assert name in names


def check_warning(view):
    """A row whose neighbours the map does not show, and one whose neighbours it does."""
    first = "next(i for i in range(60) if m.set_trait('selected', [i]) or bool(m.warning) == {})".format
    warned, unwarned = view.notebook.kernel(f"(lambda m: [{first(True)}, {first(False)}])({view.name}.model)")
    box = view.root.locator(".chosen .warning")
    view.set(selected=[warned])
    view.until(lambda: box.is_visible() and box.inner_text() == view.get("warning"), "the warning is seen")
    assert box.inner_text().startswith("Only ")
    assert "trustworthiness: 0." in view.root.locator(".chosen .note").inner_text()
    view.set(selected=[unwarned])
    view.until(lambda: not box.is_visible(), "the warning goes")


# What is broken, and how the check notices: the file and its function (or "" for anywhere), what is there, what the
# mutant has instead, and what is then waited for in vain or found wrong.
MUTANTS = {
    check_step: [("view.onStep", "maps.travel();", "", "the picture moves")],
    check_hover: [("view.onHover", "redraw();", "", "the ring is drawn")],
    check_search: [
        ("view.onQuery", "redraw();", "", "what does not match fades"),
        ("", "[...view.matches], query", "[...view.matches].slice(1), query", "the matches are selected"),
    ],
    check_selection_from_python: [
        ("view.onAnswer", "redraw();", "", "the selected item gets its ring"),
        ("maps.emphasised", "one < 0 ? selected()", "one < 0 ? data.order", "the others fade"),
    ],
    check_clicks: [
        ("map.best", "c < least", "c < least && i < 12", "the item under the mouse is hovered"),
        (
            "maps.listen",
            "if (i < 0) set({ selected: []",
            "if (i < 0) set({ selected: selected()",
            "a click beside all items clears",
        ),
    ],
    check_lasso: [
        ("", "event.shiftKey && tool", "false && tool", "Shift and a drag select what is inside"),
        ("maps.listen", "[x, gesture.from[1]]", "gesture.from", "a box selects what is inside"),
        ("maps.listen", "...(add ? selected() : [])", "...[]", "Ctrl adds"),
    ],
    check_keys: [("maps.listen", '" ": ()', '"x": ()', "Space adds")],
    check_zoom: [
        ("maps.listen", "ShiftArrowLeft: () => pan(60", "ShiftArrowLeft: () => pan(0", "keys zoom and pan"),
        ("", "Math.sqrt(look.zoom * aspect)", "Math.sqrt(aspect)", "pictures grow with the zoom"),
    ],
    check_compare_steps: [
        ("maps.arrange", "m === 0 ? 0 : null", "null", "the first map shows its part"),
        ("maps.drawMaps", "if (labels)", "if (m && look.zoom > 1) return;\nif (labels)", "the zoom is shared"),
    ],
    check_compare_modality: [("maps.arrange", 'compare === "modality"', "false", "the second map shows its part")],
    check_compare_domains: [
        ("maps.arrange", "domainOf[i] === 0", "domainOf[i] === 1", "the first map shows its part")
    ],
    check_compare_projection: [("", '["pca", "umap"][m]', '"pca"', "the second map shows its part")],
    check_projection: [
        ("", '[m] : get("projection")', '[m] : "pca"', "the map is UMAP's"),
        ("", "set({ axis: [", "set({ unused: [", "Enter asks for the axis"),
        ("controls.fillRefused", 'textContent = get("refused")', 'textContent = ""', "it says why not"),
    ],
    check_typed: [
        ("", "view.place(ui.typed.value.trim())", "", "Enter places it"),
        ("list.fillTop", "`your own caption${placed}`", '"your own caption"', "it says of which step the list is"),
        ("map.draw", "ax + bx * map.landed[0]", "ax + bx * map.landed[1]", "a star where it lands"),
    ],
    check_matrix: [
        ("matrix.drawMatrix", 'get("step") * side * side', "0", "they follow the step"),
        ("matrix.drawMatrix", 'band(get("hover"), 2)', "{}", "a hovered item marks its row"),
        ("", "ArrowDown: () => cell(1, 0), Enter", "ArrowDown: () => cell(1, 1), Enter", "keys select both items"),
    ],
    check_table: [
        ("view.onStep", "table.fill();", "", "cosines follow the step"),
        ("view.onQuery", "table.turn(0);", "", "the search filters"),
        ("", '"focusin", "pointerover"', '"pointerover"', "the item in focus is hovered"),
    ],
    check_save: [
        ("maps.picture", "pad + m * (look.width + gap)", "pad", "both maps are in the picture"),
        ("maps.picture", "Math.max(2, dpr)", "dpr", "two pixels for each of CSS"),
        ("maps.picture", "for (const { x, name, draw, wide } of row)", "for (const {} of [])", "the legend"),
    ],
    check_legend: [
        ("maps.bright", "view.lit ?", "false ?", "a class that is not pressed fades"),
        ("map.best", "view.lit && !view.lit[i]", "false", "it cannot be hovered"),
        ("", "was ? [] : others", "others", "and then all again"),
    ],
    check_zoom_to_selection: [("map.around", "- top() - 3 * EDGE", "", "the selection fills the map")],
    check_height: [
        ("maps.measure", "wide * 0.68", "look.width * 0.68", "the height stays"),
    ],
    check_narrow: [("maps.reveal", "look.y += lifted - lift", "", "the chosen item is not covered")],
    check_veil: [
        ("maps.awaited", "if (!here)", "if (false)", "it says what is computed"),
        ("maps.veil", 'classList.toggle("blank"', 'classList.toggle("none"', "nothing is shown"),
        ("maps.nameAxes", 'here ? here.axes : ["", ""]', "map.layout.axes", "no other map's axes"),
    ],
    check_focus_returns: [("view.close", "back.focus({ preventScroll: true });", "", "the map has the focus again")],
    check_chips: [("", '"click", () => view.place(text)', '"focus", () => 0', "a click places it")],
    check_card: [
        ("card.fillCard", " || view.one() === i", "", "beside the panel there is no card"),
        ("maps.listen", "card.hide();", "", "nor while something is dragged"),
    ],
    check_toolbar: [
        ("", "= MARKUP;", "= `${MARKUP}<style>@scope { select { max-width: 100px } }</style>`;", "no option is cut"),
        ("", "= MARKUP;", "= `${MARKUP}<style>@scope { .typing { max-width: 240px } }</style>`;", "forty letters"),
    ],
    check_wheel: [("maps.listen", "return say(", "return (() => {})(", "it says how to zoom")],
    check_captions_are_text: [
        ("list.fillRow", "caption.textContent", "caption.innerHTML", "the panel shows the caption as it is"),
        ("controls.fillRefused", "refused.textContent", "refused.innerHTML", "the refusal shows it as it is"),
    ],
    check_focus: [
        ("maps.addMap", "tabindex: 0", "tabindex: -1", "every control is reached"),
        (
            "",
            "= MARKUP;",
            "= `${MARKUP}<style>@scope { * { outline: none !important } }</style>`;",
            "the focus is seen",
        ),
    ],
    check_warning: [("list.fillList", "ui.warning.textContent", "ui.warning.title", "the warning is seen")],
}


def name_of(check):
    return getattr(check, "__name__", "") or f"check_compare_{check.keywords['option']}"


BROKEN = [(check, *mutant) for check, mutants in MUTANTS.items() for mutant in mutants]


@pytest.fixture(scope="module")
def opened(browser, lab):
    """The explorer, and below it one that is given a mutant's front end before each check; both maps of one model."""
    cells = [
        DATA,
        "model = make()\nexplorer = Explorer(model)\nexplorer",
        "other = make()\nother.layouts = dict(model.layouts)  # UMAP takes a while\nmutant = Explorer(other)\nmutant",
        "live = explore(z[0], captions=captions * 2, images=[*pictures, *[None] * n], steps=[0])\nlive",
    ]
    notebook = Notebook(browser, lab, lab.add("explorer.ipynb", cells)).run_all()
    notebook.page.locator(".xlib-explorer").nth(2).wait_for()
    notebook.page.emulate_media(reduced_motion="reduce")  # saves time; what glides is checked on its own
    yield notebook
    notebook.close()


AT_FIRST = """(root) => {
  document.activeElement.blur();
  for (const faded of root.querySelectorAll(".legend [aria-pressed=false]")) faded.click();
  for (const at of ["[data-tab=map]", "[data-tool=move]", "[aria-label='Show all']"]) root.querySelector(at).click();
}"""


STATE = {
    "typed": "",
    "axis": [],
    "projection": "pca",
    "compare": "",
    "selected": [],
    "hover": -1,
    "query": "",
    "among": "",
}


def reset(view, step=0):
    view.page.mouse.move(2, 2)
    view.root.evaluate(AT_FIRST)
    view.set(**STATE, step=step)
    view.page.mouse.move(2, 2)
    until(lambda: view.maps.count() == 1 and view.pixels(MAGENTA)[0] > 50, "pictures are drawn")
    view.settle()
    return view


@pytest.fixture
def view(opened):
    yield reset(View(opened))
    opened.clean()


@pytest.mark.parametrize("check", MUTANTS, ids=name_of)
def test_it_is_seen_and_known(view, check):
    check(view)


@pytest.mark.parametrize(
    ("check", "function", "old", "new", "fails"), BROKEN, ids=[f"{name_of(b[0])}: {b[-1]}" for b in BROKEN]
)
def test_a_mutant_is_noticed(opened, check, function, old, new, fails):
    source = body = Explorer._esm
    if function:
        file, name = function.split(".")
        text = (ROOT / "xlib" / "explore" / f"{file}.js").read_text()
        body = re.search(rf"function {name}\(.*?\n  }}\n", text, re.S)[0]
    assert source.count(body) == body.count(old) == 1
    root = opened.page.locator(".xlib-explorer").nth(1)
    root.evaluate("(root) => (root.dataset.old = 1)")
    mutated = source.replace(body, body.replace(old, new))
    # Before it comes, all is as at first, here and in the browser, whatever the mutant before has left: this one may
    # never draw what changes.
    opened.page.mouse.move(2, 2)
    View(opened, "mutant").set(**STATE, step=0)
    opened.execute(f"mutant.send_state()\nmutant._esm = {mutated!r}")
    until(lambda: root.get_attribute("data-old") is None, "the mutant is there")
    view = View(opened, "mutant", doomed=fails)
    try:
        with pytest.raises(AssertionError, match=re.escape(fails)):
            check(reset(view))
    finally:
        opened.page.keyboard.up("Shift"), opened.page.keyboard.up("Control"), opened.page.mouse.up()
        opened.page.evaluate("() => delete window.hacked")
        opened.errors.clear()


# ---- the rest ------------------------------------------------------------------------------------------------------


def test_items_are_drawn_where_the_model_says(view):
    for step in (0, 2, 4):
        view.set(step=step)
        view.settle()
        assert view.shows(MAGENTA, view.point(0))
    assert "Step 80 (5 of 5 snapshots)" in view.canvas.get_attribute("aria-label")


def test_a_map_chosen_behind_the_table_has_its_size(view):
    view.set(compare="steps")
    until(lambda: view.maps.count() == 2, "two maps")
    view.settle()
    view.button("Table").click()
    view.set(compare="")
    until(lambda: view.maps.count() == 1, "one map")
    view.button("Map").click()
    until(lambda: view.shows(MAGENTA, view.point(0)), "it fills its place")


def test_motion_is_reduced_on_request(view):
    frames = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"

    def after_two_frames(motion):
        reset(view).page.emulate_media(reduced_motion=motion)
        view.slider.focus()
        view.press("End")
        view.page.evaluate(frames)
        soon = view.pixels(MAGENTA)[1:]
        view.settle()
        return np.hypot(*np.subtract(soon, view.pixels(MAGENTA)[1:]))

    assert after_two_frames("no-preference") > 5  # gliding
    assert after_two_frames("reduce") < 1


def test_play_runs_through_all_snapshots_and_stops(view):
    view.button("Play training").click()
    view.button("Pause").wait_for()
    view.expect("step", 4)
    view.button("Play training").wait_for()
    view.button("Play training").click()  # from the end: again from the start
    until(lambda: view.get("step") < 4, "play starts over")
    view.button("Pause").click()


# A training, of which each step waits until there is a file of its number.
TRAIN = """
import pathlib, time, types
shown, run = [], types.SimpleNamespace(snapshots=[], curve=lambda: [9 / (1 + i) for i in range(10 * t + 1)])
for t in range(5):
    while not pathlib.Path({folder!r}, str(t)).exists():
        time.sleep(0.02)
    run.snapshots.append((10 * t, z[t]))
    live.follow(run)
    shown.append(live.model.layouts["pca"].frames[-1].tolist())
live.finish()
"""
START = """(code) => {
  window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code });
}"""
STATUS = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"


def test_items_move_while_a_cell_trains_and_the_loss_is_drawn_beneath(opened, tmp_path):
    view = View(opened, "live")
    view.root.scroll_into_view_if_needed()
    view.settle()
    curve, says = view.root.locator(".curve"), lambda: view.root.locator(".curve").get_attribute("aria-label")
    assert not curve.is_visible()
    opened.execute("from xlib.explore import view\nview.SHARE = 1e9")  # however busy this machine is
    opened.page.evaluate(START, TRAIN.format(folder=str(tmp_path)))
    seen = []
    for t in range(5):
        (tmp_path / str(t)).touch()
        what = f"Training loss: {10 * t + 1} steps"
        until(lambda: (says() or "").startswith(what), what)  # noqa: B023
        view.settle()
        seen.append(view.pixels(MAGENTA)[1:])
        assert not view.slider.is_visible() or t == 4
        assert opened.page.evaluate(STATUS) == "busy" or t == 4
    until(view.slider.is_visible, "at the end there is a slider")
    frames = np.array(opened.kernel("shown"))
    for t, place in enumerate(seen[:4]):
        pair = frames[max(0, t - 1) : t + 1]  # what the browser knows
        assert place == pytest.approx(drawn(pair, -1, view.size())[0], abs=2), f"at snapshot {t}"
    assert view.get("model.steps") == [0, 10, 20, 30, 40]
    view.slider.focus()
    view.press("Home", "ArrowRight")
    view.expect("step", 1)
    until(lambda: view.root.locator(".step").inner_text() == "step 10", "the slider goes through them")
    view.settle()
    assert view.shows(MAGENTA, view.point(0))  # on one map for all
    ink = curve.evaluate(COUNT, [list(ACCENT), None])
    assert ink[0] > 200, "the curve is drawn"


def test_hover_card_tells_picture_caption_class_modality_domain_and_cosine(view):
    view.set(step=4)
    view.settle()
    view.hover(view.point(0))
    view.card.wait_for()
    cosine = view.notebook.kernel("float(model.pair_similarity[4, 0])")
    assert view.card.inner_text().split("\n") == [
        "magenta square",
        "animals · image · scan",
        f"cosine with its text {cosine:.2f}",
    ]
    assert view.card.locator("canvas").evaluate(COUNT, [list(MAGENTA), None])[0] > 100
    assert "magenta square" in view.root.locator("[data-ui=live]").text_content()
    view.page.mouse.move(2, 2)
    view.card.wait_for(state="hidden")
    view.expect("hover", -1)


@pytest.mark.parametrize("among", ["all", "other"])
def test_click_lists_the_neighbours_of_the_full_space(view, among):
    view.set(step=3)
    view.settle()
    view.click(view.point(0))
    view.expect("selected", [0])
    expected = view.notebook.kernel("truth(0, 3, 119)")
    if among == "other":
        view.button("Other modality").click()
        expected = [j for j in expected if j >= 60]
    captions = view.get("model.captions")
    listed = view.rows.locator(".caption")
    until(lambda: listed.all_inner_texts() == [captions[j] for j in expected[:8]], "the right list")
    assert [j for j, _ in view.get("neighbours")] == expected[:8]
    assert "all 24 dimensions" in view.root.locator(".chosen .note").inner_text()
    view.rows.nth(2).click()
    view.expect("selected", [expected[2]])
    view.press("Escape")
    view.expect("selected", [])
    view.page.mouse.move(2, 2)
    until(lambda: view.pixels(ACCENT)[0] == 0, "the ring is gone")


def test_search_counts_and_enter_selects_match_after_match(view):
    view.search.fill("cAt")
    view.root.get_by_text("2 of 120 match").wait_for()
    for match in (2, 62, 2):
        view.press("Enter")
        view.expect("selected", [match])
    view.search.fill("猫")
    view.expect("matches", [1, 61])
    view.press("Escape")
    view.expect("query", "")
    assert view.search.input_value() == ""
    view.set(query="thing 5")
    until(lambda: view.search.input_value() == "thing 5", "a query set in Python is shown")
    view.root.get_by_text("22 of 120 match").wait_for()


def test_the_panel_is_walked_by_keyboard_and_lab_keeps_out(view):
    active = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    view.canvas.focus()
    before = view.page.evaluate(active)
    view.press("ArrowRight", "ArrowDown")
    until(lambda: view.get("hover") >= 0, "an arrow key reaches an item")
    view.press("Enter")
    view.rows.first.wait_for()
    reached = []
    for _ in range(28):
        view.press("Tab")
        reached.append(
            view.page.evaluate("() => document.activeElement.ariaLabel ?? document.activeElement.className")
        )
    assert reached == [
        *("Zoom in", "Zoom out", "Show all"),
        *[""] * 5,  # Move, Lasso, Box, Zoom to selection, Save picture
        *("Play training", "Training step"),
        *[""] * 6,  # the legend
        *("Clear selection", "row pair"),
        *("", ""),  # among all, among the other modality
        *["row"] * 8,
    ]
    view.expect("hover", view.get("neighbours")[7][0])
    view.press("Enter")
    view.expect("selected", [view.get("hover")])
    view.press("Escape")
    view.expect("selected", [])
    assert view.page.evaluate(active) == before  # JupyterLab saw none of these keys


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
        view.set(selected=[1], compare="steps")
        view.root.locator(".what").first.wait_for()
        for part in (".head .caption", ".chosen .note", ".legend", ".axis.x", ".step", ".what", ".bar label"):
            ink, paper = view.root.locator(part).first.evaluate(luminance)
            assert paper < 0.05
            assert (ink + 0.05) / (paper + 0.05) > 7, part
        under_strokes = lambda: view.root.locator(".head canvas").evaluate(COUNT, [list(CHIP), None])  # noqa: E731
        until(lambda: under_strokes()[0] > 300, "a light chip is under dark strokes")
    finally:
        view.notebook.command("apputils:change-theme", theme="JupyterLab Light")
        until(lambda: "dark" not in view.root.get_attribute("class"), "the explorer turns light")


@pytest.mark.parametrize("width", [420, 1300])
def test_nothing_overlaps_or_overflows(view, width):
    view.root.evaluate("(root, width) => (root.style.width = `${width}px`)", min(width, 1000))
    view.set(selected=[3])
    parts = ".stage, aside, .training, .legend, .top, div.bar > *"
    try:
        for tab, compare in (("Map", ""), ("Map", "steps"), ("Matrix", ""), ("Table", "")):
            view.button(tab).click()
            view.set(compare=compare)
            view.page.wait_for_timeout(60)
            root = view.root.bounding_box()
            boxes = [box for part in view.root.locator(parts).all() if (box := part.bounding_box())]
            for box in boxes:
                assert box["x"] >= root["x"]
                assert box["x"] + box["width"] <= root["x"] + root["width"] + 0.5
            for i, a in enumerate(boxes):
                for b in boxes[:i]:
                    apart_x = max(a["x"], b["x"]) >= min(a["x"] + a["width"], b["x"] + b["width"]) - 0.5
                    apart_y = max(a["y"], b["y"]) >= min(a["y"] + a["height"], b["y"] + b["height"]) - 0.5
                    assert apart_x or apart_y, (a, b)
            sizes = "(root) => [...root.querySelectorAll('*')].map((e) => parseFloat(getComputedStyle(e).fontSize))"
            assert min(view.root.evaluate(sizes)) >= 12  # 12 CSS pixels are 9 points
    finally:
        view.root.evaluate("(root) => (root.style.width = '')")
