"""Claims: what a lesson says, as something that can fail. And pictures and tables, readable by everyone."""

import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Image, display
from matplotlib.figure import Figure

from xlib import _sizes
from xlib.course import _table, runtime
from xlib.course._table import Gain, Interval

LONG = 8  # rows; a table with more is folded, and a picture says what there is to see


class ClaimFailed(AssertionError):
    """A lesson said something that its own run does not show."""


class _Claimed(NamedTuple):
    number: float
    wanted: str
    holds: bool


CLAIMED: dict[str, _Claimed] = {}  # by sentence: what this session has claimed


def claim(
    sentence: str, value: float | torch.Tensor, *, above: float | None = None, below: float | None = None
) -> None:
    """Hold a sentence of the lesson against a measured value; `claims` shows all of them, and fails for a false one.

    Args:
        sentence: what the lesson claims, as a sentence that is true or false.
        value: the measured number, of this run; a float or a tensor with one element.
        above, below: the sentence is true if the number lies between them (and is none of them); at least one of the
            two.
    Raises ValueError for no interval or an empty one, or several values.

    Example:
        >>> claim("Recall is above chance", 0.42)
        Traceback (most recent call last):
        ValueError: claim needs above=, below= or both: a claim that cannot fail is not a claim
    """
    if above is None and below is None:
        raise ValueError("claim needs above=, below= or both: a claim that cannot fail is not a claim")
    low, high = (-math.inf if above is None else above), (math.inf if below is None else below)
    if not low < high:
        raise ValueError(f"above must be less than below, got above={above} and below={below}")
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(f"value must be one number, got shape {tuple(value.shape)}")
    number = float(value.detach() if isinstance(value, torch.Tensor) else value)
    limits = (("above", above), ("below", below))
    wanted = " and ".join(f"{side} {limit:.4g}" for side, limit in limits if limit is not None)
    CLAIMED[sentence] = _Claimed(number, wanted, low < number < high)


def claims() -> None:
    """Display what `claim` was given in this session, with a count; the table is folded if all of it holds.

    Raises ClaimFailed with the sentences that do not hold, after the display; not under XLIB_BUDGET=smoke, where
    training is cut to a few steps. RuntimeError where nothing was claimed.

    Example:
        >>> claim("Recall is above chance", 0.42, above=0.01)
        >>> claims()
        1 of 1 sentences hold in this run
        ✓ Recall is above chance: 0.42 (above 0.01)
    """
    if not CLAIMED:
        raise RuntimeError("nothing was claimed in this session: run the cells above, which call claim(...)")
    lines = [
        f"{'✓' if holds else '✗'} {sentence}: {number:.4g} ({wanted})"
        for sentence, (number, wanted, holds) in CLAIMED.items()
    ]
    failed = [line for line in lines if line.startswith("✗")]
    held = len(lines) - len(failed)
    count = f"{held} of {len(lines)} sentences hold in this run"
    columns = {
        "": [f"{'✓' if one.holds else '✗'} {sentence}" for sentence, one in CLAIMED.items()],
        "measured": [f"{one.number:.4g}" for one in CLAIMED.values()],
        "true if": [one.wanted for one in CLAIMED.values()],
    }
    page = _table.as_html({key: _table.column(key, cells, None) for key, cells in columns.items()})
    output("\n".join([count, *lines]), _table.folded(count, page, "xlib-claims", opened=bool(failed)))
    if failed and runtime.budget() != "smoke":
        raise ClaimFailed("\n".join(failed))


def interval(values: Sequence[float], *, level: float = 0.95, within: tuple[float, float] | None = None) -> Interval:
    """Mean and Student's t interval over independent runs, as (mean, low, high).

    With five seeds this is wide, and honestly so. It takes the runs as draws from one normal distribution, which does
    not know that an accuracy ends at 1: `within` cuts the interval off at the range of the quantity, such as (0, 1).
    Raises ValueError for fewer than two values, one that is not finite or outside the range, or a level outside
    (0, 1).
    Relations: without `within`, `scipy.stats.t.interval` about the mean, with n − 1 degrees of freedom and the
    standard error.

    Example:
        >>> tuple(interval([0.70, 0.72, 0.74]))  # with two seeds the interval would be 7 times as wide
        (0.72, 0.67, 0.77)
        >>> interval([0.90, 0.96], within=(0, 1))
        Interval(mean=0.93, low=0.55, high=1)
    """
    from scipy import stats

    x = torch.as_tensor(values, dtype=torch.float64)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"values must be at least two numbers, one a run, got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(f"values must be finite, got {x.tolist()}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    least, most = within or (-math.inf, math.inf)
    if x.min() < least or x.max() > most:
        raise ValueError(f"values must lie within {within}, got {x.tolist()}")
    size = _sizes.power_of_two(x, wait=True)  # or else squares of 1e200 overflow
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * (x / size).std() / math.sqrt(len(x))) * size
    mean = float((x / size).mean()) * size
    if not math.isfinite(abs(mean) + half):
        raise ValueError(f"values must not be so large that float64 cannot hold their interval, got {x.tolist()}")
    return Interval(mean, max(mean - half, least), min(mean + half, most))


def gain(ours: Sequence[float], theirs: Sequence[float], *, level: float = 0.95) -> Gain:
    """What the one adds to the other, as `interval` of the differences run by run: (mean, low, high).

    ours, theirs: one number a run, the same seed or the same data at the same place. What a seed does to both drops
    out, so that this interval may lie above 0 where those of the two overlap.
    Raises ValueError where they differ in length, and as `interval` does.

    Example:
        >>> ours, theirs = [0.72, 0.75, 0.81], [0.70, 0.72, 0.80]
        >>> gain(ours, theirs)
        Gain(mean=0.020, low=-0.005, high=0.045)
    """
    if len(ours) != len(theirs):
        raise ValueError(f"ours and theirs must have one number a run, got {len(ours)} and {len(theirs)}")
    return Gain(*interval([a - b for a, b in zip(ours, theirs, strict=True)], level=level))


def written(found: tuple[float, float, float], *, sign: bool = False) -> str:
    """(mean, low, high) as text, for a sentence. sign: with + or -, as a difference is written.

    Example:
        >>> written((0.75, 0.7, 0.8))
        '0.750 [0.700, 0.800]'
        >>> written((0.02, -0.005, 0.045), sign=True)
        '+0.020 [-0.005, +0.045]'
    """
    mean, low, high = (_table.digits(number, 3, sign) for number in found)
    return f"{mean} [{low}, {high}]"


def show(figure: Figure, alt: str) -> None:
    """Display a matplotlib figure with alt text: what a reader who cannot see it should learn, with numbers.

    Example:
        >>> show(Figure(), alt=" ")
        Traceback (most recent call last):
        ValueError: alt must say what the picture shows, got an empty text
    """
    if not alt.strip():
        raise ValueError("alt must say what the picture shows, got an empty text")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=144, bbox_inches="tight", facecolor="white")
    display(Image(png.getvalue(), format="png", alt=alt, width=int(figure.get_figwidth() * 100)))


def output(text: str, page: str) -> None:
    """Display HTML (`page`) in a notebook, with `text` for whoever shows no HTML; print the text in a plain script.

    What came from outside must have been through html.escape when it gets here.
    Example:
        >>> output("3 of 5", "<b>3</b> of 5")
        3 of 5
        >>> output("a < b", "a &lt; b")
        a < b
    """
    if InteractiveShell.initialized():
        display({"text/html": page, "text/plain": text}, raw=True)
    else:
        print(text)


def table(rows: Sequence[dict], *, best: dict[str, str] | None = None) -> None:
    """Display dictionaries with the same keys as a table: HTML in a notebook, aligned text elsewhere.

    Args:
        rows: at least one; a key is a column's heading. A cell is a str, int, float, bool, None (left empty), or an
            interval: what `interval` and `gain` return, or a `Recall`. An interval stands small beside its mean, with
            a bar on the column's own scale. Numbers are written to three decimals. Where a column holds intervals, it
            has as many decimals as these support, 4 at most: for a typical one, rounding moves no number by more than
            a quarter of its half width. More than 8 rows are folded away.
        best: {column: "max" or "min"}. The best number of that column is bold, and marked ← in text; several, where
            the table shows the same digits. A column with one number has no best one.
    Raises ValueError for no rows, other keys in one of them, or a `best` that is no column of numbers; TypeError for
    any other cell.

    Example:
        >>> table([{"by": "MMD", "R@1": Interval(0.5, 0.46, 0.54)}, {"by": "none", "R@1": 0.01}], best={"R@1": "max"})
        by    R@1
        ----  -------------------
        MMD   0.50 [0.46, 0.54] ←
        none  0.01
    """
    if not rows:
        raise ValueError("rows must hold at least one dictionary, got none")
    keys, best = list(rows[0]), best or {}
    for at, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise ValueError(f"rows must all have the keys {keys}, got {list(row)} in row {at}")
    for key, way in best.items():
        if key not in keys or way not in ("max", "min"):
            raise ValueError(f"best must be 'max' or 'min' for columns among {keys}, got {key!r}: {way!r}")
    columns = {key: _table.column(key, [row[key] for row in rows], best.get(key)) for key in keys}
    page = _table.as_html(columns)
    output(_table.as_text(columns), _table.folded(f"All {len(rows)} rows", page) if len(rows) > LONG else page)


def lesson_file(name: str) -> Path:
    """A file that lies beside the lessons: in a clone, or where an install without one puts it.

    Raises FileNotFoundError naming the places looked at.

    Example:
        >>> path = lesson_file("results/02_infonce.json")
        >>> path.exists(), path.name
        (True, '02_infonce.json')
    """
    places = [Path(__file__).resolve().parents[2] / "notebooks" / name, Path(sys.prefix) / "share" / "xlib" / name]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(f"there is no {name} at {' or '.join(map(str, places))}")


def stored(lesson: str) -> dict:
    """What `make results` measured for a lesson, over several seeds: notebooks/results/<lesson>.json.

    Raises FileNotFoundError naming the places looked at.

    Example:
        >>> found = stored("07_scaling")
        >>> [row["seed"] for row in found["small"]]
        [0, 1, 2, 3, 4]
    """
    try:
        return json.loads(lesson_file(f"results/{lesson}.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"lesson {lesson!r} has no results ({error}); try `make results`") from None
