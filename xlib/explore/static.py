"""The explorer as a still picture, for where no widget can run: see still.py."""

import textwrap
import unicodedata
from functools import cache

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from PIL import Image

from xlib.explore import looks

MARKERS = "oD^svPX*<>_|"  # by domain or modality, as in items.js
WIDTH, HEIGHT, DPI = 7.6, 5.0, 100
BOX = (0.05, 0.07, 0.68, 0.85)  # the axes, in shares of the figure
DENSE = 10_000  # markers; more hide each other
EDGE = 30  # pixels between the axes' edge and an item that lies beyond it
# Paper, ink, and what is quieter than ink: of the light theme and of the dark one.
INKS = {False: ("#ffffff", "#1a1a1a", "#595959"), True: ("#111111", "#e0e0e0", "#a3a3a3")}
BOTH_WAYS = matplotlib.__version_info__ >= (3, 11)  # an older one writes Hebrew and Arabic the wrong way round
CJK = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei",
       "WenQuanYi Micro Hei", "SimHei", "Arial Unicode MS")  # fmt: skip


def picture(model, *, dark=False) -> Image.Image:
    """The model's current step, thinned out to what can be read: pictures, some captions, a few pair lines."""
    paper, ink, quiet = INKS[dark]
    palette = [ink if colour == "#000000" else colour for colour in model.colours.palette]  # no black on black
    layout = model.layouts[model.projection]
    far = layout.far(model.step)
    figure = Figure((WIDTH, HEIGHT), dpi=DPI, facecolor=paper)
    axes = figure.add_axes(BOX, xticks=[], yticks=[], facecolor=paper)
    size = np.array([BOX[2] * WIDTH, BOX[3] * HEIGHT]) * DPI
    # In pixels, the box in the middle; it is that of all steps: a space that collapsed looks small.
    low, high = layout.box.astype(np.float64)
    room = (size - (2 * EDGE + 60 if layout.cut else 50)) / np.maximum(high - low, 1e-300)
    true = (layout.frames[model.step] - (low + high) / 2) * (room if layout.free else room.min()) + size / 2
    xy = pixels = true.clip(EDGE, size - EDGE) if layout.cut else true  # what lies beyond the box stands at the edge
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))

    style = {"family": list(_fonts()), "fontsize": 9, "parse_math": False, "color": ink}
    grey = looks.MISSING[dark] if model.colours.scale else looks.GREY
    colours = np.array([grey, *palette])[model.colours.of]
    inks = to_rgba_array([grey, *palette])[model.colours.of]
    shown = _thin(pixels, np.flatnonzero(model.sprites >= 0), 29)  # a thumbnail on its chip is 28 pixels wide
    rest = np.setdiff1d(np.arange(len(xy)), shown)
    if len(rest) > DENSE:  # one in each square of two pixels
        rest = np.sort(rest[np.unique((pixels[rest] // 2).astype(int), axis=0, return_index=True)[1]])
    for group in range(len(model.groups)):  # at most as many as there are markers
        rows = rest[model.group[rest] == group]
        thin = {"linewidths": 1.5 if MARKERS[group] in "_|" else 0}  # these are lines
        axes.scatter(*xy[rows].T, s=9, c=inks[rows], marker=MARKERS[group], alpha=0.6, **thin)
    for i in np.flatnonzero(far):
        axes.plot(*_arrow(xy[i], true[i] - xy[i]).T, color=ink, linewidth=1.5, zorder=6)
    paired = shown if len(shown) else rest
    for i in paired[model.pairs[paired] >= 0][:: max(1, len(paired) // 12)]:
        axes.plot(*xy[[i, model.pairs[i]]].T, color=quiet, linewidth=0.8, zorder=3)
    axes.imshow(_collage(model, pixels, shown, size, colours), extent=(*axes.get_xlim(), *axes.get_ylim()), zorder=4)
    axes.set_aspect("auto")
    axes.spines[:].set_color(quiet)
    captioned = (i for i in np.flatnonzero(model.sprites < 0) if _drawable(model.captions[i]))
    for i in _apart(pixels, captioned, shown, size):
        words = model.captions[i] if len(model.captions[i]) <= 24 else model.captions[i][:23] + "…"
        text = axes.annotate(words, xy[i], (4, 0), textcoords="offset points", va="center", zorder=5, **style)
        text.set_bbox({"facecolor": paper, "alpha": 0.75, "edgecolor": "none", "pad": 0.5})
    axes.set_xlabel(model.axes[0], fontsize=9, color=ink)
    axes.set_ylabel(model.axes[1], fontsize=9, color=ink)
    step = model.step_name(model.step) if len(model.steps) > 1 else ""
    title = ", ".join(filter(None, map(_readable, [model.title, step])))
    axes.set_title(title, loc="left", **style | {"fontsize": 11})
    said = [line for words in model.remarks_at(layout, model.step) for line in textwrap.wrap(words, 36)]
    _legend(figure, model, [grey, *palette], said, style)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _arrow(xy, beyond):
    """(3, 2): an arrow's head beside an item at the edge, towards where it lies."""
    ahead = np.sign(beyond.round(6)) / max(np.linalg.norm(np.sign(beyond.round(6))), 1)
    across = ahead[::-1] * [-1, 1]
    return xy + np.array([16 * ahead + 5 * across, 22 * ahead, 16 * ahead - 5 * across])


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
        if len(chosen) == most:
            break
        right, up = (pixels[[*chosen, *thumbnails]] - pixels[i]).T
        others = np.arange(len(right)) < len(chosen)
        meets = (np.abs(up) < np.where(others, 16, 24)) & (right > np.where(others, -165, -16)) & (right < 180)
        if not meets.any() and pixels[i, 0] < size[0] - 165:
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


def _legend(figure, model, colours, said, style):
    """To the right of the axes, from the top: shapes, classes, no value; from the bottom: sentences, scale."""

    def handle(marker, colour, name):
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=_readable(name))

    left, scale, ink = BOX[0] + BOX[2] + 0.01, model.colours.scale, style["color"]
    handles = [handle(MARKERS[g], ink, name) for g, name in enumerate(model.groups) if len(model.groups) > 1]
    handles += [handle("s", colour, name) for name, colour in zip(model.colours.names, colours[1:], strict=False)]
    if scale and scale["missing"]:
        handles.append(handle("s", colours[0], f"no value ({scale['missing']:,})"))
    if handles:
        dense = {"labelspacing": 0.2, "markerscale": 0.7} if len(handles) > (9 if scale else 18) else {}
        two = len(handles) + len(said) > 30  # columns: one has no more room
        narrow = {"ncols": 2, "handlelength": 1, "handletextpad": 0.5, "columnspacing": 0.5, "borderpad": 0}
        options = dense | (narrow if two else {})
        box = figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(left, BOX[1] + BOX[3] + 0.01), **options
        )
        box.set_frame_on(False)
        for text in box.get_texts():
            text.set(**style | ({"fontsize": 7} if dense else {}), text=_short(text.get_text(), 12 if two else 29))
    figure.text(left + 0.01, 0.03, "\n".join(said), va="bottom", **style | {"fontsize": 7})
    if scale:
        bottom = 0.08 + 0.024 * len(said)
        bar = figure.add_axes((left + 0.015, bottom, 0.02, 0.28), xticks=[], yticks=[])
        steps = np.arange(len(colours) - 1)[:, None]
        bar.imshow(steps, cmap=ListedColormap(colours[1:]), aspect="auto", origin="lower")
        bar.spines[:].set_visible(False)
        names = ("low", "middle", "high") if scale["low"] != scale["high"] else ("middle",)
        for share, name in zip((0, 0.5, 1) if len(names) > 1 else (0.5,), names, strict=True):
            figure.text(left + 0.045, bottom + 0.28 * share, scale[name], va="center", **style)


def _short(text, most):
    return text[:most] + "…" * (len(text) > most)


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
    """Whether it comes out right: there are the characters, and, if need be, a way to write from right to left."""
    if text.isascii():
        return text.isprintable()
    backwards = any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    return (BOTH_WAYS or not backwards) and all(ord(character) in _characters() for character in text)


def _readable(text):
    """The text without what would come out as an empty box."""
    return "".join(character for character in text if _drawable(character))
