"""How `report.table` writes its cells, as HTML and as text."""

import html
import math
import numbers
import statistics
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from xlib.retrieval import Recall

STYLE = Path(__file__).with_name("table.css").read_text("utf-8")


class Interval(NamedTuple):
    """A mean with the interval around it, as `interval` returns it: a tuple of three, which `table` knows.

    Example:
        >>> found = Interval(0.72, 0.67, 0.77)
        >>> found.low, found == (0.72, 0.67, 0.77)
        (0.67, True)
    """

    mean: float
    low: float
    high: float


class Gain(Interval):
    """The interval of a difference, as `gain` returns it: `table` writes it with its sign, beside a line at 0.

    Example:
        >>> found = Gain(0.02, -0.005, 0.045)
        >>> found.mean, isinstance(found, Interval)
        (0.02, True)
    """


class Cell(NamedTuple):
    """What is written in a cell: the number (or words), its interval, whether it is the best, and where its bar lies.

    bar: (mean, low, high) from 0 to 1 along the column's scale, and where 0 lies, if on it; None for no bar.
    """

    main: str
    around: str = ""
    best: bool = False
    bar: tuple[float, float, float, float | None] | None = None


def column(key: str, values: list, way: str | None) -> tuple[bool, list[Cell]]:
    """Whether a column holds numbers, and its cells. way: "max" or "min" is the best number, None where none is."""
    values = [Interval(*value) if isinstance(value, Recall) else value for value in values]
    means = [_mean(key, value) for value in values]
    there = [mean for mean in means if mean is not None and not math.isnan(mean)]
    if way and all(mean is None for mean in means):
        raise ValueError(f"best must name columns with numbers, got {key!r}")
    intervals = [value for value in values if isinstance(value, Interval)]
    ends = [end for one in intervals for end in one]
    signed = any(isinstance(one, Gain) for one in intervals) or bool(min(ends, default=0) < 0 < max(ends, default=0))
    decimals = _decimals(intervals) if intervals else 3
    floats = [*ends, *(value for value in values if isinstance(value, numbers.Real))]
    largest = max((abs(x) for x in floats if math.isfinite(x)), default=0)
    write = partial(digits, decimals=decimals, sign=signed, small=0 < largest < 10**-decimals)  # all would be 0.000
    scale = [x for x in (*ends, *there, *[0.0] * signed) if math.isfinite(x)] if intervals else []
    cells = []
    for value, mean in zip(values, means, strict=True):
        if mean is None:
            cells.append(Cell({True: "yes", False: "no", None: ""}.get(value, value)))
            continue
        main = f"{int(value):,}" if isinstance(value, numbers.Integral) else write(mean)
        around = f"[{write(value.low)}, {write(value.high)}]" if isinstance(value, Interval) else ""
        bar = _bar(value if isinstance(value, Interval) else (mean,) * 3, scale) if scale else None
        cells.append(Cell(main, around, bar=bar))
    if way and len(there) > 1:  # what shows the same digits as the best is as good
        best = cells[means.index(max(there) if way == "max" else min(there))].main
        cells = [cell._replace(best=cell.main == best) for cell in cells]
    return any(mean is not None for mean in means), cells


def _mean(key: str, value: Any) -> float | None:
    """The number in a cell, None for words; TypeError for what no cell may hold."""
    if value is None or isinstance(value, bool | str):
        return None
    if isinstance(value, Interval):
        return value.mean
    if isinstance(value, numbers.Real):
        return float(value)
    kinds = "a str, int, float, bool, None or an interval"
    raise TypeError(f"rows must hold {kinds} in column {key!r}, got {type(value).__name__}: {value!r}")


def _decimals(intervals: list[Interval]) -> int:
    """How many decimals a column of intervals supports, judged by the middle one: 10**-decimals is at most half of
    its half width, so .05 gives two and .004 three."""
    widths = [(one.high - one.low) / 2 for one in intervals if 0 < one.high - one.low < math.inf]
    return min(max(-math.floor(math.log10(statistics.median_low(widths) / 2)), 0), 4) if widths else 3


def digits(number: float, decimals: int, sign: bool = False, small: bool = False) -> str:
    """A number as it is read: 0.150, 12,346, 1.2 × 10⁻⁷; and 0.000 where rounding leaves nothing, without a sign."""
    if not math.isfinite(number):
        return str(number)
    plus = "+" if sign else ""
    if number and (small or abs(number) >= 1e9):
        mantissa, _, power = f"{number:{plus}.1e}".partition("e")
        return f"{mantissa} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    text = f"{number:{plus},.{0 if abs(number) >= 1000 else decimals}f}"
    return text if text.strip("+-0.") else text.lstrip("+-")


def _bar(found: tuple[float, float, float], scale: list[float]) -> tuple[float, float, float, float | None] | None:
    """Mean, low and high as shares of the scale, cut off at its ends, and where 0 lies on it."""
    low, high = min(scale), max(scale)
    share = lambda number: min(max((number - low) / (high - low), 0.0), 1.0)  # noqa: E731
    if not low < high or math.isnan(sum(found)):
        return None
    return *map(share, found), share(0.0) if low <= 0 <= high else None


def as_text(columns: dict[str, tuple[bool, list[Cell]]]) -> str:
    texts = {}
    for key, (_, cells) in columns.items():
        written = [" ".join(filter(None, (cell.main, cell.around, "←" * cell.best))) for cell in cells]
        width = max(map(len, (key, *written)))
        texts[key] = [line.ljust(width) for line in (key, "-" * width, *written)]
    return "\n".join("  ".join(row).rstrip() for row in zip(*texts.values(), strict=True))


def as_html(columns: dict[str, tuple[bool, list[Cell]]]) -> str:
    """The style is left out by a notebook that is not trusted, and so are the bars: the rest must do."""
    heads, body = [], []
    for key, (of_numbers, cells) in columns.items():
        side = (
            "left" if any(cell.around for cell in cells) else _side(of_numbers)
        )  # over the means, not over the bars
        heads.append(
            f'<th scope="col" style="text-align: {side}">{html.escape(key)}</th>' if key.strip() else "<td></td>"
        )
    for row in zip(*(cells for _, cells in columns.values()), strict=True):
        parts = []
        for at, (cell, (of_numbers, cells)) in enumerate(zip(row, columns.values(), strict=True)):
            width = max(len(one.around) for one in cells)
            tag, scope = ("td", "") if at else ("th", ' scope="row"')
            parts.append(f'<{tag}{scope} style="text-align: {_side(of_numbers)}">{_inside(cell, width)}</{tag}>')
        body.append(f"<tr>{''.join(parts)}</tr>")
    words = ", ".join(key for key in columns if key.strip())
    label = html.escape(f"Table of {len(body)} row{'s' * (len(body) != 1)}: {words}")
    reached = 'tabindex="0" data-lm-suppress-shortcuts="true"'  # arrow keys scroll it, which Jupyter would take
    return (
        f'<style>{STYLE}</style><div class="xlib-table" role="region" aria-label="{label}" {reached}><table>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def folded(words: str, page: str, name: str = "xlib-folded", *, opened: bool = False) -> str:
    """HTML behind a line that opens it. name: a class for the style."""
    return f'<details class="{name}"{" open" * opened}><summary>{html.escape(words)}</summary>{page}</details>'


def _side(of_numbers: bool) -> str:
    return "right" if of_numbers else "left"


def _inside(cell: Cell, width: int) -> str:
    """A cell's HTML. width: letters of the column's longest interval; its means then stand under each other."""
    inside = f"<strong>{html.escape(cell.main)}</strong>" if cell.best else html.escape(cell.main)
    if not width:
        return inside
    marks = ""
    if cell.bar:
        *found, zero = cell.bar
        mean, low, high = (f"{4 + 64 * share:.1f}" for share in found)
        if zero is not None:
            marks += f'<path d="M{4 + 64 * zero:.1f} 0V14" stroke="currentColor" stroke-opacity=".6"/>'
        marks += f'<path d="M{low} 7H{high}" stroke="currentColor" stroke-width="3"/>'
        marks += f'<circle cx="{mean}" cy="7" r="4" fill="currentColor"/>'
    small = f'<small style="min-width: {0.85 * width:.1f}ch">{cell.around}</small>'
    return f'{inside} {small}<svg width="72" height="14" aria-hidden="true">{marks}</svg>'
