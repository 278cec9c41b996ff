"""Drawing pads to measure and to try: a page that has one, its encoders by themselves, and numbers in strokes."""

from xlib.data import numbers
from xlib.experiments.numbers import VOCABULARY
from xlib.explore import page
from xlib.explore.pad import HERE, PARTS, pad

CAPTIONS = [numbers.caption(number) for number in numbers.NUMBERS]
# What computes, without the elements on a page, for a page's window.
COMPUTES = (
    "".join((HERE / f"{name}.js").read_text("utf-8") for name in PARTS[:-1])
    + """
Object.assign(window, { createTowers, tokensOf, pictureOf, framed, resized });
window.floats = (t) => new Float32Array(Uint8Array.from(atob(t), (c) => c.charCodeAt(0)).buffer);"""
)
# A digit in a square of side 1, as one is taught to write it.
SHAPES = {
    0: [[(0.5, 0.1), (0.3, 0.2), (0.22, 0.5), (0.3, 0.8), (0.5, 0.9), (0.7, 0.8), (0.78, 0.5), (0.7, 0.2),
         (0.5, 0.1)]],
    1: [[(0.5, 0.1), (0.5, 0.9)]],
    2: [[(0.25, 0.3), (0.35, 0.12), (0.6, 0.1), (0.75, 0.28), (0.65, 0.5), (0.25, 0.88), (0.8, 0.88)]],
    3: [[(0.25, 0.15), (0.6, 0.1), (0.75, 0.28), (0.5, 0.47), (0.77, 0.65), (0.65, 0.88), (0.25, 0.85)]],
    4: [[(0.35, 0.1), (0.22, 0.55), (0.8, 0.55)], [(0.65, 0.1), (0.62, 0.92)]],
    5: [[(0.75, 0.1), (0.3, 0.1), (0.27, 0.45), (0.6, 0.42), (0.77, 0.62), (0.65, 0.87), (0.25, 0.88)]],
    6: [[(0.65, 0.1), (0.38, 0.3), (0.25, 0.65), (0.4, 0.9), (0.65, 0.85), (0.72, 0.65), (0.55, 0.53), (0.3, 0.62)]],
    7: [[(0.2, 0.12), (0.78, 0.12), (0.42, 0.9)]],
    8: [[(0.7, 0.22), (0.5, 0.1), (0.3, 0.22), (0.4, 0.42), (0.65, 0.58), (0.7, 0.8), (0.5, 0.9), (0.3, 0.8),
         (0.35, 0.6), (0.65, 0.4), (0.7, 0.22)]],
    9: [[(0.7, 0.3), (0.5, 0.1), (0.28, 0.28), (0.4, 0.5), (0.65, 0.45), (0.72, 0.25), (0.68, 0.5), (0.6, 0.9)]],
}  # fmt: skip


def shape(number):
    return [
        [(x + square, y) for x, y in stroke] for square, d in enumerate(divmod(number, 10)) for stroke in SHAPES[d]
    ]


def hand(number, dice):
    """The strokes of a number, on a pad of two squares, by a hand that is not sure."""
    strokes = []
    for square, digit in enumerate(divmod(number, 10)):
        slant, wide, high = dice.uniform(-0.15, 0.15), dice.uniform(0.6, 1), dice.uniform(0.7, 1)
        for stroke in SHAPES[digit]:
            points = [(x - 0.5 + dice.gauss(0, 0.02), y - 0.5 + dice.gauss(0, 0.02)) for x, y in stroke]
            strokes.append([(square + 0.5 + wide * x - slant * y, 0.5 + high * y) for x, y in points])
    return strokes


def padded(clip, **given):
    model, vectors = clip
    options = {"text_encoder": model["text"], "vocabulary": VOCABULARY, "title": "Draw a number"} | given
    return pad(model["image"], CAPTIONS, vectors, **options)


def write(path, shown, *, change=lambda body: body):
    """A page that has this pad alone. change: what becomes of its place before that is written."""
    head = f'<meta charset="utf-8"><title>Pad</title><style>{page.stylesheet(shown)}</style>'
    look = "<style>:root { color-scheme: light dark } body { background: Canvas; color: CanvasText }</style>"
    body = f"<main><h1>Pad</h1>{change(shown.body())}</main><script>{page.script(shown, 'pad')}</script>"
    path.write_text(f'<!doctype html><html lang="en">{head}{look}<body>{body}', "utf-8")
