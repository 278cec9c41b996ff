"""Take README's picture: lesson 00 in a real JupyterLab, run to the end, with one emoji pointed at. make picture

Needs the extra `browser` and a Chromium, as the browser tests do.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from harness import FLAGS, Lab, Notebook, chromium, missing  # noqa: E402


def main() -> None:
    if why := missing():
        sys.exit(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        lab = Lab(Path(folder))
        try:
            options = {"viewport": {"width": 1560, "height": 1600}}  # tall enough for all of the explorer
            notebook = Notebook(browser, lab, "00_start_here.ipynb", **options).run_all(seconds=300)
            notebook.execute("explorer.hover = icons.names['en'].index('cat face')")
            notebook.page.wait_for_timeout(1500)
            target = ROOT / "docs" / "explorer.png"
            notebook.page.locator(".xlib-explorer").screenshot(path=target)
            print(f"wrote {target.relative_to(ROOT)}")
        finally:
            lab.close()
            browser.close()


if __name__ == "__main__":
    main()
