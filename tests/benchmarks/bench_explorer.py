"""The explorer beside a matplotlib redraw, ipympl and jupyter-scatter, in JupyterLab, in one run. Run as a script;
needs the extras browser, many and bench. Times are taken inside the page, at the end of each animation frame: from
the key press to the first frame that differs. Frame rates: of 120 moves, each asked for when the last is drawn.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from harness import FLAGS, Lab, Notebook, chromium, missing, until

DATA = """
import time
import numpy as np
from xlib.explore import explore
rng = np.random.default_rng(0)
def items(n, pictures=0, steps=8):
    z = np.cumsum(rng.normal(size=(steps, n, 32)).astype("f4"), axis=0)
    images = rng.integers(0, 255, (pictures, 3, 12, 12), dtype=np.uint8).repeat(4, 2).repeat(4, 3)
    return {"embeddings": z, "captions": [f"thing {i}" for i in range(n)],
            "images": [*images, *[None] * (n - pictures)], "labels": [i % 8 for i in range(n)]}
def timed(**options):
    start = time.perf_counter()
    explorer = explore(options.pop("embeddings"), **options)
    return explorer, time.perf_counter() - start
"""
OURS = {
    "4,500 pictures": "items(4500, 4500)",
    "2,500 pictures, 2,500 points": "items(5000, 2500)",
    "50,000 points": "items(50000)",
}
OTHERS = {
    "matplotlib redraw": """
import io
import ipywidgets as widgets
from IPython.display import Image, display
from matplotlib.figure import Figure
xy = explorer0.model.frames
n = xy.shape[1]
box = dict(xlim=(xy[..., 0].min(), xy[..., 0].max()), ylim=(xy[..., 1].min(), xy[..., 1].max()))
def redraw(step):  # by hand what plt.show() does: once imported, ipympl takes that over
    fig, png = Figure((7, 5)), io.BytesIO()
    ax = fig.subplots()
    ax.scatter(*xy[step].T, s=9, c=np.arange(n) % 8, cmap="tab10")
    ax.set(**box)
    fig.savefig(png)
    display(Image(png.getvalue()))
slider = widgets.BoundedIntText(0, 0, 7)
widgets.VBox([slider, widgets.interactive_output(redraw, {"step": slider})], _dom_classes=["other0"])""",
    "ipympl": """
from ipympl.backend_nbagg import Canvas, FigureManager
fig = Figure((7, 5))
FigureManager(Canvas(fig), 0)
ax = fig.subplots()
dots = ax.scatter(*xy[0].T, s=9, c=np.arange(n) % 8, cmap="tab10")
ax.set(**box)
def move(change):
    dots.set_offsets(xy[change["new"]])
    fig.canvas.draw_idle()
slider1 = widgets.BoundedIntText(0, 0, 7)
slider1.observe(move, "value")
widgets.VBox([slider1, fig.canvas], _dom_classes=["other1"])""",
    "jupyter-scatter": """
import jscatter
scatter = jscatter.Scatter(x=xy[0, :, 0], y=xy[0, :, 1], color_by=np.arange(n) % 8, width=700, height=500)
slider2 = widgets.BoundedIntText(0, 0, 7)
def turn(change):
    scatter.xy(x=xy[change["new"], :, 0], y=xy[change["new"], :, 1], animate=False)
slider2.observe(turn, "value")
widgets.VBox([slider2, scatter.widget], _dom_classes=["other2"])""",
}
SHOWN = {"matplotlib redraw": ".other0 img", "ipympl": ".other1 canvas", "jupyter-scatter": ".other2 canvas"}
LOOK = """(picture) => {
  const small = new OffscreenCanvas(96, 64).getContext("2d", { willReadFrequently: true });
  window.look = () => {
    const node = [...document.querySelectorAll(picture)].sort((a, b) => b.width * b.height - a.width * a.height)[0];
    if (!(node instanceof HTMLCanvasElement)) return node?.src;
    small.clearRect(0, 0, 96, 64);
    small.drawImage(node, 0, 0, 96, 64);
    return small.getImageData(0, 0, 96, 64).data.reduce((hash, v) => (hash * 31 + v) | 0, 7);
  };
  // A message comes in after all of a frame's drawing.
  window.afterFrame = (f) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = f;
    port2.postMessage(0);
  });
}"""
WATCH = """(where) => {
  window.took = 0;
  const before = look();
  document.querySelector(where).addEventListener("keydown", () => {
    const start = performance.now();
    const wait = () => {
      const end = performance.now(); // without the look itself
      const now = look();
      if (now && now !== before) window.took = end - start;
      else afterFrame(wait);
    };
    afterFrame(wait);
  }, { capture: true, once: true });
}"""
RATE = """async ([canvas, kind]) => {
  const node = document.querySelector(canvas), box = node.getBoundingClientRect();
  const at = (x) => ({ clientX: box.x + x, clientY: box.y + 200, bubbles: true, cancelable: true, pointerId: 1,
    deltaY: x < 260 ? -20 : 20 });
  node.setPointerCapture = () => {};
  node.focus();
  if (kind === "pan") node.dispatchEvent(new PointerEvent("pointerdown", at(200)));
  const frame = () => new Promise((done) => afterFrame(done));
  await frame();
  const start = performance.now(), gaps = [];
  for (let k = 1, last = start; k <= 120; k++) {
    const move = kind === "pan" ? new PointerEvent("pointermove", at(200 + k)) : new WheelEvent("wheel", at(200 + k));
    node.dispatchEvent(move);
    await frame();
    gaps.push(performance.now() - last);
    last = performance.now();
  }
  const took = performance.now() - start;
  node.dispatchEvent(new PointerEvent("pointerup", at(320)));
  return [120_000 / took, gaps.sort((a, b) => a - b)[114]];
}"""
PAINT = """async () => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const panel = window.jupyterapp.shell.currentWidget;
  panel.content.activeCellIndex = panel.content.widgets.length - 1;
  let ended = 0;
  kernel.iopubMessage.connect((_, { header, content }) => {
    if (header.msg_type === "status" && content.execution_state === "idle") ended ||= performance.now();
  });
  window.jupyterapp.commands.execute("notebook:run-cell");
  const painted = () => {
    const canvas = document.querySelector(".emoji .stage canvas");
    if (!canvas?.width) return false;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size > 700; // pictures, not just markers in eight colours
  };
  while (!painted() || !ended) await new Promise((done) => setTimeout(done, 20)); // to look takes time
  return performance.now() - ended;
}"""
EMOJI = """
import torch
from xlib.data import emoji
icons = emoji.load(("openmoji",))
N = len(icons.characters)
z = torch.cumsum(torch.randn(20, 2 * N, 64), 0)
shown, made = timed(embeddings=z, captions=icons.names["en"] * 2, images=[*icons.images["openmoji"], *[None] * N],
    labels=[icons.group_names[g] for g in icons.groups.tolist()] * 2, pairs=[*range(N, 2 * N), *range(N)])
shown.add_class("emoji")
state = shown.get_state()
sent = sum(len(v) for v in state.values() if isinstance(v, bytes)) + len(str(state["setup"]))
sent += sum(len(m["frames"]) for m in state["maps"].values())
live = explore(z[0], captions=icons.names["en"] * 2, pairs=[*range(N, 2 * N), *range(N)]).model
def append(step):
    start = time.perf_counter()
    live.append(step, z[step])
    return time.perf_counter() - start
appended = sorted(map(append, range(1, 20)))
"""


def step(notebook, where, picture):
    """Median ms from key press to changed picture, and median bytes over the kernel's socket for it, both ways."""
    times, traffic = [], []
    notebook.page.evaluate(LOOK, picture)
    for _ in range(7):
        notebook.page.locator(where).focus()
        notebook.page.evaluate(WATCH, where)
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

    cells = [DATA]
    for i, made in enumerate(OURS.values()):
        cells.append(f"explorer{i}, seconds{i} = timed(**{made})\nexplorer{i}.add_class('ours{i}')\nexplorer{i}")
    cells += [*OTHERS.values(), EMOJI, "shown"]
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        lab = Lab(Path(folder))
        try:
            notebook = Notebook(browser, lab, lab.add("bench.ipynb", [*cells[:-1], ""])).run_all(seconds=400)
            notebook.page.evaluate("""(source) => {
              window.jupyterapp.shell.currentWidget.content.widgets.at(-1).model.sharedModel.setSource(source);
            }""", cells[-1])  # fmt: skip
            paint = notebook.page.evaluate(PAINT)
            notebook.page.wait_for_timeout(1000)
            print(f"1,371 emoji and their names, 20 snapshots: explore() {notebook.kernel('made') * 1000:.0f} ms")
            print(
                f"  sent once {notebook.kernel('sent') / 1e6:.2f} MB; first paint {paint:.0f} ms after the cell ends"
            )
            median_of, most = notebook.kernel("[1000 * appended[9], 1000 * appended[-1]]")
            print(f"  one more snapshot while it trains: {median_of:.0f} ms, at most {most:.0f}")
            print(f"{'':34}{'key → frame':>12}{'a step':>10}{'pan':>11}{'(95%)':>8}{'zoom':>11}{'(95%)':>8}")
            for i, name in enumerate(OURS):
                root, canvas = f".ours{i} .xlib-explorer", f".ours{i} .stage canvas"
                notebook.page.locator(root).scroll_into_view_if_needed()
                ms, size = step(notebook, f"{root} input[type=range]", canvas)
                pan, zoom = (notebook.page.evaluate(RATE, [canvas, kind]) for kind in ("pan", "zoom"))
                rates = "".join(f"{rate:7.0f} /s{slow:6.0f} ms" for rate, slow in (pan, zoom))
                print(f"explorer, {name:24}{ms:9.0f} ms{size / 1000:7.1f} kB{rates}")
            for i, name in enumerate(OTHERS):
                notebook.page.locator(f".other{i}").scroll_into_view_if_needed()
                ms, size = step(notebook, f".other{i} input", SHOWN[name])
                print(f"{name + ', 4,500 points':34}{ms:9.0f} ms{size / 1000:7.1f} kB")
        finally:
            lab.close()
            browser.close()


if __name__ == "__main__":
    main()
