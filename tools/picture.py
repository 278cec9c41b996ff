"""Take the pictures of README and of the lessons' first cells, from the lessons in a real JupyterLab. make picture

    python tools/picture.py [lesson ...]        all of them where none is named

Needs the extra `browser` and a Chromium, as the browser tests do.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from harness import FLAGS, READY, Lab, Notebook, chromium, missing  # noqa: E402

# Of each lesson: the cell up to which it is run, and what is done then. The last widget so far is what is taken.
LESSONS = {
    "00_start_here": ("train-live", "explorer.hover = icons.names['en'].index('cat face')"),
    "01_shared_space": ("umap-map", ""),
    "02_infonce": ("circle-show", ""),
    "03_clip": ("first-look-panel", "first_four.likeness, first_four.temperature = 0.5, 0.1"),
    "04_mmd": ("drag-panel", ""),
    "05_dann": ("first-look-panel", "first_turned.degrees = 35"),
    "06_combined": ("first-look-panel", "first_mixed.strength = 0.8"),
    "07_scaling": ("first-look-panel", "first_pieces.done = 50"),
    "08_sound": ("first-look-sounds", "first_sounds.selected = [0]"),
    "09_your_own": ("send-explorer", ""),
}
RUN = """(id) => {
  const { content } = window.jupyterapp.shell.currentWidget;
  content.activeCellIndex = content.widgets.findIndex((cell) => cell.model.id === id) + 1;
  return window.jupyterapp.commands.execute("notebook:run-all-above").then(() => null);
}"""


def taken(browser, lab, name: str) -> Image.Image:
    """The last widget that there is then, in twice the page's pixels."""
    options = {"viewport": {"width": 1560, "height": 1600}, "device_scale_factor": 2}  # tall enough for the explorer
    notebook = Notebook(browser, lab, f"{name}.ipynb", **options)
    last, code = LESSONS[name]
    notebook.page.evaluate(RUN, last)
    notebook.page.wait_for_function(READY, timeout=300_000)
    notebook.execute(code)
    notebook.page.wait_for_timeout(2000)
    png = notebook.page.locator(".xlib-panel, .xlib-explorer").last.screenshot()
    notebook.close()
    return Image.open(io.BytesIO(png)).convert("RGB")


def main(names: list[str]) -> None:
    if why := missing():
        sys.exit(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        lab = Lab(Path(folder))
        try:
            for name in names or LESSONS:
                picture = taken(browser, lab, name)
                if name == "00_start_here":
                    picture.resize((picture.width // 2, picture.height // 2)).save(ROOT / "docs" / "explorer.png")
                small = picture.resize((800, round(picture.height * 800 / picture.width)))
                target = ROOT / "notebooks" / "pictures" / f"{name}.webp"
                small.save(target, quality=80)
                print(f"wrote {target.relative_to(ROOT)}, {target.stat().st_size // 1000} kB")
        finally:
            lab.close()
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
