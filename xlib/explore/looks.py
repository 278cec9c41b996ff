"""How items look: a shape for the domain, a colour for the class or the value, and what the legend says of both."""

import math
from dataclasses import dataclass, field

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from xlib.explore import inputs, projections

SHAPES = 12  # different ones, of markers and of pictures, as in items.js
# The colours of Okabe and Ito; and behind them others, each as far as possible in OKLab from those before it, from
# the paper and from grey: as seen by most people, and by those whose eyes lack the cones for red, green or blue
# (Machado, Oliveira and Fernandes 2009).
OKABE_ITO = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]  # fmt: skip
PALETTE = [
    *OKABE_ITO,
    "#870F5A", "#871EFF", "#0000C3", "#5A5A00", "#4B1E87", "#8778FF", "#C3003C", "#1EE178", "#692D1E", "#C3B4C3",
    "#96B478", "#4B3CD2", "#96FFA5", "#964B87", "#0F4B69", "#FF2D69", "#00E1FF", "#D23CD2",
]  # fmt: skip
GREY = "#808080"
# Of values: as even as matplotlib's plasma, without its ends, which are too near to dark and to light paper.
SCALE = [to_hex(colour) for colour in colormaps["plasma"](np.linspace(0.22, 0.79, 64))]
MISSING = {False: "#d0d0d0", True: "#484848"}  # of an item without a value, by whether the paper is dark


@dataclass
class Colours:
    """The colour of each of N items."""

    of: np.ndarray  # (N,) 0 for grey, or 1 + its index in the palette
    palette: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of classes: what each colour stands for
    scale: dict | None = None  # of values: the numbers in the legend, and how many are missing
    remark: str = ""


def shapes(domains, modality):
    """What each shape stands for; (N,) each item's index among these; and where some share one a sentence on that.
    The shape says the domain, and where there is none the modality; of more than SHAPES the smallest share one."""
    names, codes = inputs.codes([m if d is None else d for d, m in zip(domains, modality, strict=True)])
    if len(names) <= SHAPES:
        return names, codes, ""
    what = "modalities" if all(d is None for d in domains) else "domains"
    if len(names) == len(codes):
        return [what], 0 * codes, f"Each of the {len(names):,} {what} is one item: all have the same shape."
    kept, of = _largest(codes, len(names), SHAPES - 1)
    rest = len(names) - len(kept)
    own = f"The {len(kept)} largest of {len(names):,} {what} have a shape of their own"
    return [*(names[g] for g in kept), f"other ({rest:,} {what})"], of, f"{own}; the other {rest:,} share one."


def of_classes(classes, codes):
    """A colour a class: of more than there are colours the largest ones have one, and the rest is grey. codes: (N,)
    each item's index among the classes, −1 for none."""
    if len(classes) <= len(PALETTE):
        return Colours(codes + 1, PALETTE[: len(classes)], [str(c) for c in classes])
    if len(classes) == (codes >= 0).sum():
        return Colours(0 * codes, remark=f"Each of the {len(classes):,} classes is one item: all are grey.")
    kept, of = _largest(codes, len(classes), len(PALETTE))
    rest = len(classes) - len(kept)
    others = f"other {rest:,} are" if rest > 1 else "other one is"
    remark = f"The {len(kept)} largest of {len(classes):,} classes have a colour of their own; the {others} grey."
    names = [*(str(classes[c]) for c in kept), f"other ({rest:,} class{'es' if rest > 1 else ''})"]
    return Colours(of + 1, [*PALETTE, GREY], names, remark=remark)


def of_values(values):
    """A colour for each of the values (N,), NaN for a missing one; a few far ones get that of the scale's end."""
    known = np.isfinite(values)
    if not known.any():
        return Colours(np.zeros(len(values), int), remark="No item has a value: all are grey.")
    # In units of the largest, so that no difference of two is too large for a number.
    unit = np.abs(values[known]).max() or 1.0
    some = values[known] / unit
    seen = some[projections.bulk(some[:, None], far=3)]
    low, high = seen.min(), seen.max()
    share = (some - low) / (high - low) if high > low else np.full(len(some), 0.5)
    of = np.zeros(len(values), int)
    of[known] = 1 + (share.clip(0, 1) * (len(SCALE) - 1)).round().astype(int)
    ends = [float(v) for v in (low * unit, (low + high) / 2 * unit, high * unit)]
    if high > low:  # three digits of what lies between them, and whole numbers up to 100,000
        magnitude = math.floor(math.log10(high - low) + math.log10(unit))
        ends = [round(v, max(2 - magnitude, 0 if magnitude < 5 else -math.inf)) for v in ends]
    texts = [figure(v, 15 if high > low else 6) for v in ends]
    scale = {
        "low": "≤ " * bool((some < low).any()) + texts[0],
        "middle": texts[1],
        "high": "≥ " * bool((some > high).any()) + texts[2],
        "missing": int((~known).sum()),
    }
    return Colours(of, SCALE, scale=scale)


def figure(value, digits=6):
    """A number for people: in so many digits at least, or more where it has more before the point; "" for NaN.

    Example:
        >>> figure(2026.0), figure(1234567.0), figure(-0.12345678), figure(1e-9)
        ('2026', '1,234,567', '−0.123457', '1e−9')
    """
    if np.isnan(value):
        return ""
    before = len(f"{abs(value):.0f}") if abs(value) < 1e15 else 0
    text = f"{value + 0.0:,.{max(digits, before)}g}"  # no −0
    text = text.replace("e+", "e").replace("e-0", "e-").replace("-", "−")
    return text.replace(",", "") if abs(value) < 10_000 else text


def beyond(far):
    """On the items, so many, that lie beyond the edge of a map; as in maps.js.

    Example:
        >>> beyond(2), beyond(0)
        ('2 items lie beyond the edge of the map, where the arrows point.', '')
    """
    lie, point = ("items lie", "arrows point") if far > 1 else ("item lies", "arrow points")
    return f"{far:,} {lie} beyond the edge of the map, where the {point}." if far else ""


def _largest(codes, many, most):
    """The `most` codes of the most items, in order, and each item's index among them: behind the last for all other
    codes, −1 for −1."""
    kept = np.sort(np.argsort(-np.bincount(codes[codes >= 0], minlength=many), kind="stable")[:most])
    index = np.full(many + 1, len(kept))
    index[kept], index[-1] = np.arange(len(kept)), -1
    return kept, index[codes]
