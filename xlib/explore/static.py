"""The explorer as a still picture, for where no widget can run: see still.py."""

from functools import cache

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from PIL import Image

MARKERS = "oD^s"  # by domain or modality, as in items.js
WIDTH, HEIGHT, DPI = 7.6, 5.0, 100
BOX = (0.05, 0.07, 0.68, 0.85)  # the axes, in shares of the figure
# Paper, ink, and what is quieter than ink: of the light theme and of the dark one.
INKS = {False: ("#ffffff", "#1a1a1a", "#595959"), True: ("#111111", "#e0e0e0", "#a3a3a3")}
CJK = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei",
       "WenQuanYi Micro Hei", "SimHei", "Arial Unicode MS")  # fmt: skip


def picture(model, *, palette, dark=False) -> Image.Image:
    """The model's current step, thinned out to what can be read: pictures, some captions, a few pair lines."""
    paper, ink, quiet = INKS[dark]
    palette = [ink if colour == "#000000" else colour for colour in palette]  # black says nothing on black
    xy = model.frames[model.step]
    figure = Figure((WIDTH, HEIGHT), dpi=DPI, facecolor=paper)
    axes = figure.add_axes(BOX, xticks=[], yticks=[], facecolor=paper)
    size = np.array([BOX[2] * WIDTH, BOX[3] * HEIGHT]) * DPI
    low, high = model.frames.min((0, 1)), model.frames.max((0, 1))  # of all steps: a space that collapsed looks small
    half = max(float(((high - low) / (size - 50)).max()), 1e-9) * size / 2  # one scale for both axes
    middle = (low + high) / 2
    axes.set(xlim=middle[0] + [-half[0], half[0]], ylim=middle[1] + [-half[1], half[1]])
    pixels = ((xy - middle) / half + 1) / 2 * size

    style = {"family": list(_fonts()), "fontsize": 9, "parse_math": False, "color": ink}
    colours = np.array(
        [palette[model.classes.index(c)] if palette and c is not None else "#808080" for c in model.labels]
    )
    shown = _thin(pixels, np.flatnonzero(model.sprites >= 0), 29)  # a thumbnail on its chip is 28 pixels wide
    rest = np.setdiff1d(np.arange(len(xy)), shown)
    for group in range(len(model.groups)):
        rows = rest[model.group[rest] == group]
        axes.scatter(*xy[rows].T, s=9, c=colours[rows], marker=MARKERS[group], alpha=0.6, linewidths=0)
    paired = shown if len(shown) else rest
    for i in paired[model.pairs[paired] >= 0][:: max(1, len(paired) // 12)]:
        axes.plot(*xy[[i, model.pairs[i]]].T, color=quiet, linewidth=0.8, zorder=3)
    axes.imshow(_collage(model, pixels, shown, size, colours), extent=(*axes.get_xlim(), *axes.get_ylim()), zorder=4)
    axes.set_aspect("auto")
    axes.spines[:].set_color(quiet)
    captioned = [i for i in np.flatnonzero(model.sprites < 0) if _drawable(model.captions[i])]
    for i in _apart(pixels, captioned, shown, size):
        words = model.captions[i] if len(model.captions[i]) <= 24 else model.captions[i][:23] + "…"
        text = axes.annotate(words, xy[i], (4, 0), textcoords="offset points", va="center", zorder=5, **style)
        text.set_bbox({"facecolor": paper, "alpha": 0.75, "edgecolor": "none", "pad": 0.5})
    axes.set_xlabel(model.axes[0], fontsize=9, color=ink)
    axes.set_ylabel(model.axes[1], fontsize=9, color=ink)
    step = model.step_name(model.step) if len(model.steps) > 1 else ""
    title = ", ".join(filter(None, map(_readable, [model.title, step])))
    axes.set_title(title, loc="left", **style | {"fontsize": 11})
    _legend(figure, model, palette, style)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _thin(pixels, rows, spacing):
    """As many of the rows, in their order, as have no other that was chosen within `spacing` pixels both ways."""
    chosen = []
    for i in rows:
        if not len(chosen) or (np.abs(pixels[chosen] - pixels[i]).max(1) >= spacing).all():
            chosen.append(i)
    return np.array(chosen, int)


def _apart(pixels, rows, thumbnails, size, most=20):
    """Up to `most` of the rows whose captions, to the right of them, meet no other, no thumbnail and no edge."""
    chosen = []
    for i in rows:
        right, up = (pixels[[*chosen, *thumbnails]] - pixels[i]).T
        others = np.arange(len(right)) < len(chosen)
        meets = (np.abs(up) < np.where(others, 16, 24)) & (right > np.where(others, -165, -16)) & (right < 180)
        if not meets.any() and pixels[i, 0] < size[0] - 165 and len(chosen) < most:
            chosen.append(i)
    return chosen


def _collage(model, pixels, rows, size, colours):
    """The rows' thumbnails on light chips, where they belong, on one transparent sheet of the axes' size."""
    sheet = Image.new("RGBA", tuple(size.astype(int)))
    for i in rows:
        thumbnail = Image.fromarray(model.thumbnails[model.sprites[i]])
        thumbnail.thumbnail((24, 24))
        chip = Image.new("RGBA", (thumbnail.width + 4, thumbnail.height + 4), colours[i])
        chip.paste("white", (1, 1, chip.width - 1, chip.height - 1))
        chip.alpha_composite(thumbnail, (2, 2))
        x, y = pixels[i, 0] - chip.width / 2, size[1] - pixels[i, 1] - chip.height / 2
        sheet.paste(chip, (int(x), int(y)))
    return sheet


def _legend(figure, model, palette, style):
    def handle(marker, colour, name):
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=_readable(name))

    handles = [
        handle(MARKERS[g], style["color"], name) for g, name in enumerate(model.groups) if len(model.groups) > 1
    ]
    handles += [handle("s", colour, str(c)) for c, colour in zip(model.classes, palette, strict=False)]
    if handles:
        box = figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(BOX[0] + BOX[2] + 0.01, BOX[1] + BOX[3] + 0.01)
        )
        box.set_frame_on(False)
        for text in box.get_texts():
            text.set(**style)


@cache
def _fonts():
    """The families to draw text with: matplotlib's own, and a Chinese one if the machine has any."""
    have = {font.name for font in font_manager.fontManager.ttflist}
    return "DejaVu Sans", *[name for name in CJK if name in have][:1]


@cache
def _characters():
    """Every character that these families can draw."""
    return set().union(*(FT2Font(font_manager.findfont(name)).get_charmap() for name in _fonts()))


def _drawable(text):
    return (text.isascii() and text.isprintable()) or all(ord(character) in _characters() for character in text)


def _readable(text):
    """The text without what would come out as an empty box."""
    return "".join(character for character in text if _drawable(character))
