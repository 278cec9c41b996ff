"""What it takes to redraw a panel's picture, alone and in JupyterLab.

Run as a script: processor time of a redraw, step by step, and the time from a pointer's move to the new picture,
taken inside the page. The figure is typical: 7.2 × 3.6 inches, two axes, ten labelled points, five arrows.
"""

import inspect
import io
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import traitlets as T
from matplotlib import rc_context
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from harness import FLAGS, Lab, Notebook, chromium, missing, until

from xlib.explore.panel import STYLE, panel


class Points(T.HasTraits):
    xy = T.List([[float(np.cos(k)), float(np.sin(k))] for k in range(10)])


def draw(model, figure):
    left, right = figure.subplots(1, 2)
    images, captions = np.array(model.xy[:5]), np.array(model.xy[5:])
    angles = np.linspace(0, 2 * np.pi, 100)
    left.plot(np.cos(angles), np.sin(angles), color="0.7")
    left.scatter(*images.T, s=60)
    left.scatter(*captions.T, s=60, marker="^")
    for image in images:
        left.annotate("", image, (0, 0), arrowprops={"arrowstyle": "->"})
    for k, point in enumerate(model.xy):
        left.text(*point, str(k))
    left.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xlabel="x", ylabel="y", title="vectors")
    right.imshow(images @ captions.T, cmap="viridis", vmin=-1, vmax=1)
    right.set(xlabel="caption", ylabel="image", title="similarities")
    return "Ten points: " + ", ".join(f"{x:.2f} {y:.2f}" for x, y in model.xy)


NAMES = {"xy": [f"point {k}" for k in range(10)]}
SOURCES = ["import numpy as np\nimport traitlets as T\nfrom xlib.explore.panel import panel\n"]
SOURCES += [inspect.getsource(Points), inspect.getsource(draw), f"panel(Points(), draw, handles={NAMES})"]
WATCH = """() => {
  const picture = document.querySelector(".xlib-card img");
  window.took = [];
  document.querySelector(".xlib-card button").addEventListener("pointermove", () => {
    const [start, before] = [performance.now(), picture.srcset];
    const wait = async () => {
      if (picture.srcset === before) return requestAnimationFrame(wait);
      await picture.decode();
      requestAnimationFrame(() => window.took.push(performance.now() - start));
    };
    wait();
  });
}"""


def cost(act, runs=25):
    """Median and least processor time of a call, in ms: other programs disturb it less than the clock."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        act()
        times.append((time.process_time() - start) * 1000)
    return f"{median(times):6.0f} {min(times):6.0f}"


def plain(model, **look):
    """The redraw that needs no thought: a constrained layout each time, saved with matplotlib's own settings."""
    with rc_context(STYLE):
        figure = Figure((7.2, 3.6), **look)
        draw(model, figure)
        figure.savefig(io.BytesIO(), format="png", dpi=200)


def in_the_browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        lab = Lab(Path(folder))
        try:
            notebook = Notebook(browser, lab, lab.add("bench.ipynb", ["\n".join(SOURCES)])).run_all()
            ring, mouse = notebook.page.locator(".xlib-card button").first, notebook.page.mouse
            ring.wait_for()
            box = ring.bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            mouse.move(x, y)
            mouse.down()
            notebook.page.evaluate(WATCH)
            for k in range(1, 16):
                mouse.move(x - 4 * k, y + 2 * k)
                until(lambda k=k: notebook.page.evaluate("() => window.took.length") == k, "the picture follows")
                notebook.page.wait_for_timeout(300)
            times = notebook.page.evaluate("() => window.took")
            mouse.up()
        finally:
            lab.close()
            browser.close()
    print(f"  pointer moves to new picture on the page (clock)  {median(times):6.0f} {min(times):6.0f}")


def main():
    model = Points()
    view = panel(model, draw, handles=NAMES)
    nudge = iter(range(10**6))

    def move(held):
        xy = [[0.5, next(nudge) % 100 / 100], *model.xy[1:]]
        view.picture._handle_custom_msg({"stamp": 1.0, "held": held, "moves": [[0, *xy[0]]]}, [])

    print("one frame, in ms                                    median  least")
    print(f"  draw() alone, nothing painted                     {cost(lambda: draw(model, Figure((7.2, 3.6))))}")
    print(f"  savefig, constrained layout                       {cost(lambda: plain(model, layout='constrained'))}")
    print(f"  savefig, no layout                                {cost(lambda: plain(model))}")
    print(f"  panel, a trait or a slider set                    {cost(lambda: move(False))}")
    print(f"  panel, while a point is held: axes stay           {cost(lambda: move(True))}")
    print(missing() or "", end="")
    if not missing():
        in_the_browser()


if __name__ == "__main__":
    main()
