"""What the drawing pad reads, and how long a stroke takes: python tests/benchmarks/bench_pad.py

Lesson 03's CLIP, trained three times. Numbers are drawn by a program as one is taught to write them, by a hand that
is not sure; the pad's own code makes them into pictures. Times are taken inside the page, on the pad of the last one.
"""

import random
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
from harness import FLAGS, chromium, missing
from pads import CAPTIONS, COMPUTES, hand, padded, write

from xlib.data import numbers
from xlib.experiments.numbers import VOCABULARY, train_numbers

SEEDS = (0, 1, 2)
TIMES = """async (count) => {
  const [sheet, list] = [".sheet", ".near ol"].map((name) => document.querySelector(name));
  const box = sheet.getBoundingClientRect(), times = [];
  sheet.setPointerCapture = () => {};
  sheet.hasPointerCapture = () => true;
  const send = (type, x, y) => sheet.dispatchEvent(new PointerEvent(type, {
    clientX: box.x + x * box.width, clientY: box.y + y * box.height, pointerId: 1, bubbles: true,
  }));
  send("pointerdown", 0.1, 0.2);
  for (let i = 0; i < count; i++) {
    await new Promise((done) => setTimeout(done, 50));
    const start = performance.now();
    const changed = new Promise((done) => {
      const watch = new MutationObserver(() => done(watch.disconnect()));
      watch.observe(list, { subtree: true, characterData: true, childList: true, attributes: true });
    });
    send("pointermove", 0.1 + 0.3 * ((i * 0.37) % 1), 0.1 + 0.8 * ((i * 0.61) % 1));
    await changed;
    times.push(performance.now() - start);
  }
  return times;
}"""


@torch.no_grad()
def looked_up(model, vectors, pictures):
    """The cosine of each picture's nearest caption, and that caption's number."""
    cosines, rows = (F.normalize(model["image"](pictures), dim=1) @ vectors.T).max(dim=1)
    return cosines, rows + 10


def drawn(page, shown, numbers_drawn):
    """The pictures that the pad makes of these numbers in strokes, (B, 3, 16, 32)."""
    dice = random.Random(0)
    strokes = [hand(number, dice) for number in numbers_drawn.tolist()]
    code = "([drawn, shrink]) => drawn.map((strokes) => [...pictureOf(strokes, 2, shrink).pixels])"
    return torch.tensor(page.evaluate(code, [strokes, shown.shrink])).view(-1, 1, 16, 32).expand(-1, 3, -1, -1)


def share(found, wanted):
    return (found == wanted).float().mean().item()


def main():
    if why := missing():
        sys.exit(why)
    from playwright.sync_api import sync_playwright

    wanted = torch.arange(10, 100).repeat(2)
    scans = numbers.load("test").draw(wanted, generator=torch.Generator().manual_seed(0))
    print("**180 numbers in strokes; one half taken away; 180 held-out scans; R@1 among 90 captions**\n")
    print("| seed | strokes | scans | cosine, whole | cosine, one half | the digit that is left is named "
          "| a drawn 17 with *seventeen* | with *seven ten* |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = chrome.new_page()
        page.add_script_tag(content=COMPUTES)
        for seed in SEEDS:
            model, _ = train_numbers(seed=seed)
            with torch.no_grad():
                vectors = F.normalize(model["text"](VOCABULARY(CAPTIONS)), dim=1)
                made_up = F.normalize(model["text"](VOCABULARY(["seven ten"])), dim=1)
            shown = padded((model, vectors))
            whole = drawn(page, shown, wanted)
            cosines, found = looked_up(model, vectors, whole)
            _, of_scans = looked_up(model, vectors, scans)
            seventeen, _ = looked_up(model, vectors[17 - 10 :][:1], whole[wanted == 17])
            seven_ten, _ = looked_up(model, made_up, whole[wanted == 17])
            halves, named = [], []
            for gone in (slice(0, 16), slice(16, 32)):
                half = whole.clone()
                half[..., gone] = 0
                near, read = looked_up(model, vectors, half)
                halves.append(near)
                named.append(share(read % 10, wanted % 10) if gone.start == 0 else share(read // 10, wanted // 10))
            print(
                f"| {seed} | {share(found, wanted):.3f} | {share(of_scans, wanted):.3f} | {cosines.mean():.3f} "
                f"| {torch.cat(halves).mean():.3f} | {sum(named) / 2:.3f} "
                f"| {seventeen.mean():.3f} | {seven_ten.mean():.3f} |"
            )
        path = Path(folder) / "pad.html"
        write(path, shown)
        page.goto(path.as_uri())
        page.locator(".xlib-pad .sheet").hover()
        page.evaluate(TIMES, 5)
        times = page.evaluate(TIMES, 50)
        chrome.close()
    print(f"\nFrom a move of the pen to the new list: median {median(times):.0f} ms, worst {max(times):.0f} ms.")


main()
