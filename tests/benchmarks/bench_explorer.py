"""The explorer beside a matplotlib redraw, in JupyterLab, in one run.

Run as a script: key press to new frame, bytes a slider step, first paint. Times are taken inside the page: from the
key press to the first animation frame that differs.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from harness import FLAGS, Lab, Notebook, chromium, missing, until

CELLS = [
    """
import time
import numpy as np
from xlib.explore import explore
rng = np.random.default_rng(0)
n = 1400
z = np.cumsum(rng.normal(size=(8, 2 * n, 64)), axis=0)
pictures = np.kron(rng.integers(0, 255, (n, 3, 9, 9), dtype=np.uint8), np.ones((1, 1, 8, 8), np.uint8))
start = time.perf_counter()
explorer = explore(z, captions=[f"thing {i}" for i in range(n)] * 2, images=[*pictures, *[None] * n],
                   labels=[i % 8 for i in range(n)] * 2, pairs=[*range(n, 2 * n), *range(n)])
made = time.perf_counter() - start""",
    """
import matplotlib.pyplot as plt
import ipywidgets as widgets
xy = explorer.model.frames
def redraw(step):
    fig, ax = plt.subplots(figsize=(7, 5))
    ax.scatter(*xy[step].T, s=9, c=np.arange(2 * n) % 8, cmap="tab10")
    ax.set(xlim=(xy[..., 0].min(), xy[..., 0].max()), ylim=(xy[..., 1].min(), xy[..., 1].max()))
    plt.show()
slider = widgets.IntText()
widgets.VBox([slider, widgets.interactive_output(redraw, {"step": slider})], _dom_classes=["redrawn"])""",
    "explorer",
]
WATCH = """([where, picture]) => {
  const small = new OffscreenCanvas(96, 64).getContext("2d", { willReadFrequently: true });
  const look = () => {
    const node = [...document.querySelectorAll(picture)].at(-1);
    if (!(node instanceof HTMLCanvasElement)) return node?.src;
    small.clearRect(0, 0, 96, 64);
    small.drawImage(node, 0, 0, 96, 64);
    return small.getImageData(0, 0, 96, 64).data.reduce((hash, v) => (hash * 31 + v) | 0, 7);
  };
  window.took = 0;
  document.querySelector(where).addEventListener("keydown", () => {
    const [start, before] = [performance.now(), look()];
    const wait = () => {
      const now = look();
      if (now && now !== before) window.took = performance.now() - start;
      else requestAnimationFrame(wait);
    };
    requestAnimationFrame(wait);
  }, { capture: true, once: true });
}"""
PAINT = """async () => {
  const start = performance.now();
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2;
  window.jupyterapp.commands.execute("notebook:run-cell");
  const painted = () => {
    const canvas = document.querySelector(".xlib-explorer .stage canvas");
    if (!canvas?.width) return false;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const words = new Uint32Array(data.buffer);
    return new Set(words).size > 4000; // pictures, not just markers in eight colours
  };
  while (!painted()) await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def step(notebook, where, picture):
    """Median ms from key press to changed picture, and median bytes over the kernel's socket for it, both ways."""
    times, traffic = [], []
    for _ in range(7):
        notebook.page.locator(where).focus()
        notebook.page.evaluate(WATCH, [where, picture])
        notebook.traffic.clear()
        notebook.page.keyboard.press("ArrowUp")
        times.append(until(lambda: notebook.page.evaluate("() => window.took"), "the picture changes"))
        notebook.page.wait_for_timeout(1200)
        traffic.append(sum(notebook.traffic))
    return median(times), median(traffic)


def main():
    if why := missing():
        sys.exit(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        lab = Lab(Path(folder))
        try:
            notebook = Notebook(browser, lab, lab.add("bench.ipynb", [*CELLS[:-1], ""])).run_all()
            notebook.execute("state = explorer.get_state()")
            sent = notebook.kernel(
                "sum(len(v) for v in state.values() if isinstance(v, bytes)) + len(str(state['setup']))"
            )
            notebook.page.evaluate("""(source) => {
              window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.setSource(source);
            }""", CELLS[-1])  # fmt: skip
            paint = notebook.page.evaluate(PAINT)
            notebook.page.wait_for_timeout(1000)
            ours = step(notebook, ".xlib-explorer input[type=range]", ".xlib-explorer .stage canvas")
            theirs = step(notebook, ".redrawn input", ".redrawn img")
            made = notebook.kernel("made")
        finally:
            lab.close()
            browser.close()
    print("1,400 pictures and 1,400 captions, 8 snapshots, 64 dimensions")
    print(f"  explore():                   {made * 1000:6.0f} ms, state sent once {sent / 1e6:.2f} MB")
    print(f"  run cell to pictures shown:  {paint:6.0f} ms (with the still picture)")
    print(f"  explorer:  key press to new frame {ours[0]:5.0f} ms, {ours[1] / 1000:6.1f} kB a step with all headers")
    print(f"  matplotlib redraw (no pictures):  {theirs[0]:5.0f} ms, {theirs[1] / 1000:6.1f} kB a step")


if __name__ == "__main__":
    main()
