"""From a key on a panel's slider to the new picture on the page, and what travels for it, in JupyterLab.

Three ways to draw one figure, of two axes with ten labelled points, five arrows and a matrix: a picture by matplotlib
for each step, as panels were drawn at first; a scene of numbers from Python, drawn by the browser; and a scene that
the browser works out too. Times are taken inside the page, from the key to the frame after the new picture.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from harness import FLAGS, Lab, Notebook, chromium, missing, until

STEPS = 40
COMMON = """
import base64, io
import numpy as np, traitlets as T

class Points(T.HasTraits):
    turn = T.Float(0.0)

def places(turn):
    angles = np.arange(10) * 0.6 + turn
    xy = np.stack([np.cos(angles), np.sin(angles)], 1)
    return xy[:5], xy[5:]

def words(images, captions):
    return "Ten points: " + ", ".join(f"{x:.2f} {y:.2f}" for x, y in [*images, *captions])
"""
# Before: matplotlib's picture, at twice the page's pixels, in a widget of an image and a slider.
BEFORE = '''
import anywidget
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

class Before(anywidget.AnyWidget):
    _esm = """export default { render({ model, el }) {
      const root = Object.assign(document.createElement("div"), { className: "before" });
      const slider = Object.assign(document.createElement("input"), { type: "range", max: 100, value: 0 });
      const picture = new Image(736);
      root.setAttribute("data-lm-suppress-shortcuts", "true");
      slider.setAttribute("data-lm-suppress-shortcuts", "true");
      const show = () => { picture.src = `data:image/png;base64,${model.get("png")}`; };
      slider.oninput = () => { model.set("turn", slider.value / 100); model.save_changes(); };
      model.on("change:png", show);
      show();
      root.append(slider, picture);
      el.append(root);
    } };"""
    turn = T.Float(0.0).tag(sync=True)
    png = T.Unicode().tag(sync=True)

    @T.observe("turn")
    def redraw(self, change=None):
        figure = Figure((7.2, 3.6), dpi=200, layout="constrained")
        canvas, (left, right) = FigureCanvasAgg(figure), figure.subplots(1, 2)
        images, captions = places(self.turn)
        angles = np.linspace(0, 2 * np.pi, 100)
        left.plot(np.cos(angles), np.sin(angles), color="0.7")
        left.scatter(*images.T, s=60)
        left.scatter(*captions.T, s=60, marker="^")
        for image in images:
            left.annotate("", image, (0, 0), arrowprops={"arrowstyle": "->"})
        for k, point in enumerate([*images, *captions]):
            left.text(*point, str(k))
        left.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xlabel="x", ylabel="y", title="vectors")
        right.imshow(images @ captions.T, cmap="viridis", vmin=-1, vmax=1)
        right.set(xlabel="caption", ylabel="image", title="similarities")
        canvas.draw()
        out = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(out, "png", compress_level=1)
        self.png = base64.b64encode(out.getvalue()).decode()

before = Before()
before.redraw()
before
'''
AFTER = """
from xlib.explore.panel import Panel, panel

def draw(model, scene):
    left, right = scene.axes(1, 1)
    images, captions = places(model.turn)
    left.set(x=(-1.3, 1.3), y=(-1.3, 1.3), equal=True, xlabel="x", ylabel="y", title="vectors").circle(0, 0, 1)
    left.points(*images.T, colour="#0072B2").points(*captions.T, colour="#D55E00", shape="^")
    left.segments(np.zeros(5), np.zeros(5), *images.T, arrow=True)
    left.text(*np.concatenate([images, captions]).T, [str(k) for k in range(10)], dx=12, dy=-8)
    right.set(x=(-0.5, 4.5), y=(4.5, -0.5), equal=True, xlabel="caption", ylabel="image", title="similarities")
    right.cells(images @ captions.T, low=-1, high=1, colours="viridis")
    return words(images, captions)

panel(Points(), draw, controls={"turn": (0, 1, 0.01)})
"""
CLOSED = """
Panel._esm = Panel._esm.replace("export default", '''
CLOSED.bench = {
  settle: (values) => values,
  draw({ turn }, given) {
    const scene = structuredClone(given);
    const xy = Array.from({ length: 10 }, (_, k) => [Math.cos(k * 0.6 + turn), Math.sin(k * 0.6 + turn)]);
    const [images, captions] = [xy.slice(0, 5), xy.slice(5)];
    const [x, y] = [0, 1].map((i) => xy.map((point) => point[i]));
    const [, one, other, arrows, texts] = scene.axes[0].marks;
    [one.x, one.y, other.x, other.y] = [x.slice(0, 5), y.slice(0, 5), x.slice(5), y.slice(5)];
    [arrows.x1, arrows.y1, texts.x, texts.y] = [one.x, one.y, x, y];
    scene.axes[1].marks[0].values = images.map(([a, b]) => captions.map(([c, d]) => a * c + b * d));
    return { scene, alt: "Ten points: " + xy.map(([a, b]) => `${a.toFixed(2)} ${b.toFixed(2)}`).join(", ") };
  },
};
export default''')
panel(Points(), draw, controls={"turn": (0, 1, 0.01)}, closed="bench")
"""
WATCH = """([slider, picture]) => {
  window.took = [];
  const shown = () => picture.src ?? picture.getAttribute("aria-label");
  slider.addEventListener("keydown", () => {
    const [start, before] = [performance.now(), shown()];
    const seen = new MutationObserver(async () => {
      if (shown() === before) return;
      seen.disconnect();
      if (picture.decode) await picture.decode();
      requestAnimationFrame(() => setTimeout(() => window.took.push(performance.now() - start))); // it is painted
    });
    seen.observe(picture, { attributeFilter: ["src", "aria-label"] });
  });
}"""


def measure(notebook, root, picture):
    """(times in ms, kB) of a step."""
    root = notebook.page.locator(root).first
    slider, picture = root.locator("input[type=range]"), root.locator(picture).first
    picture.wait_for()
    slider.scroll_into_view_if_needed()
    slider.focus()
    notebook.page.evaluate(WATCH, [slider.element_handle(), picture.element_handle()])
    notebook.page.wait_for_timeout(1000)
    before = sum(notebook.traffic)
    for k in range(1, STEPS + 1):
        notebook.page.keyboard.press("ArrowRight")
        until(lambda k=k: notebook.page.evaluate("() => window.took.length") == k, "the picture follows")
        notebook.page.wait_for_timeout(100)
    notebook.page.wait_for_timeout(500)
    return notebook.page.evaluate("() => window.took"), (sum(notebook.traffic) - before) / STEPS / 1000


def main():
    if why := missing():
        sys.exit(why)
    from playwright.sync_api import sync_playwright

    ways = {
        "matplotlib's picture, as at first": (".before", "img"),
        "a scene from Python": (".xlib-panel >> nth=0", ".stage > svg"),
        "a scene worked out in the browser": (".xlib-panel >> nth=1", ".stage > svg"),
    }
    found = {}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        lab = Lab(Path(folder))
        try:
            cells = [COMMON, BEFORE, AFTER, CLOSED]
            notebook = Notebook(browser, lab, lab.add("bench.ipynb", cells)).run_all()
            for way, (root, picture) in ways.items():
                found[way] = measure(notebook, root, picture)
        finally:
            lab.close()
            browser.close()
    print("key → new picture on the page           median    worst    a step    faster by")
    first = median(found["matplotlib's picture, as at first"][0])
    for way, (times, size) in found.items():
        faster = f"{first / median(times):7.1f} ×" if median(times) != first else ""
        print(f"{way:36s} {median(times):6.0f} ms {max(times):5.0f} ms {size:6.1f} kB  {faster}")


if __name__ == "__main__":
    main()
