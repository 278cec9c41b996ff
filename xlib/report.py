"""Claims: what a lesson says, as something that can fail. Runs over several seeds. And pictures and tables, readable
by everyone."""

import contextlib
import functools
import io
import json
import math
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
from IPython.display import Image, display
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from xlib import _validate, runtime
from xlib._files import written_whole

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class ClaimFailed(AssertionError):
    """A lesson said something that its own run does not show."""


def claim(
    sentence: str,
    value: float | torch.Tensor,
    *,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Print the sentence with its measured value, and raise unless above < value < below.

    Args:
        sentence: what the lesson claims, as a sentence that is true or false.
        value: the measured number, of this run; a float or a tensor with one element.
        above, below: the open interval that the number must lie in; at least one of the two.

    Raises:
        ClaimFailed: the number is outside the interval, or NaN. Under XLIB_BUDGET=smoke, where training is cut to
            a few steps, this is printed and not raised.
        ValueError: no interval was given, or it is empty; value has more than one element.
    """
    if above is None and below is None:
        raise ValueError("claim needs above=, below= or both: a claim that cannot fail is not a claim")
    low, high = (-math.inf if above is None else above), (math.inf if below is None else below)
    if not low < high:
        raise ValueError(f"above must be less than below, got above={above} and below={below}")
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(f"value must be one number, got shape {tuple(value.shape)}")
    number = float(value.detach() if isinstance(value, torch.Tensor) else value)
    wanted = " and ".join(
        text for text, limit in ((f"above {above}", above), (f"below {below}", below)) if limit is not None
    )
    holds = low < number < high
    line = f"{'✓' if holds else '✗'} {sentence}: {number:.4g} ({wanted})"
    if holds or runtime.budget() == "smoke":
        print(line)
    else:
        raise ClaimFailed(line)


def interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval over independent runs, as (mean, low, high).

    With five seeds this is wide, and honestly so. It takes the runs as draws from one normal distribution.

    Raises:
        ValueError: fewer than two values, a value that is not finite, or level outside (0, 1).
    """
    from scipy import stats

    x = torch.as_tensor(values, dtype=torch.float64)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"values must be at least two numbers, one a run, got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(f"values must be finite, got {x.tolist()}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std() / math.sqrt(len(x)))
    mean = float(x.mean())
    return mean, mean - half, mean + half


def show(figure: Figure, alt: str) -> None:
    """Display a matplotlib figure with alt text: what a reader who cannot see it should learn, with numbers."""
    if not alt.strip():
        raise ValueError("alt must say what the picture shows, got an empty text")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=144, bbox_inches="tight", facecolor="white")
    display(Image(png.getvalue(), format="png", alt=alt, width=int(figure.get_figwidth() * 100)))


def table(rows: Sequence[dict]) -> None:
    """Print dictionaries with the same keys as an aligned table, numbers to three decimals."""
    text = [{key: f"{v:.3f}" if isinstance(v, float) else str(v) for key, v in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(row[key]) for row in text)) for key in text[0]}
    for row in ({key: key for key in widths}, {key: "-" * width for key, width in widths.items()}, *text):
        print("  ".join(row[key].ljust(width) for key, width in widths.items()).rstrip())


def lesson_file(name: str) -> Path:
    """A file that lies beside the lessons: in a clone, or where an install without one puts it.

    Raises FileNotFoundError naming the places looked at.
    """
    places = [Path(__file__).resolve().parents[1] / "notebooks" / name, Path(sys.prefix) / "share" / "xlib" / name]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(f"there is no {name} at {' or '.join(map(str, places))}")


def stored(lesson: str) -> dict:
    """What `make results` measured for a lesson, over several seeds: notebooks/results/<lesson>.json.

    Raises FileNotFoundError naming the places looked at.
    """
    try:
        return json.loads(lesson_file(f"results/{lesson}.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"lesson {lesson!r} has no results ({error}); try `make results`") from None


def run_seeds(
    one_run: Callable[[int], dict[str, float]] | Mapping[str, Callable[[int], dict[str, float]]],
    seeds: Iterable[int],
    *,
    file: str | os.PathLike | None = None,
    settings: dict | None = None,
    processes: int | None = None,
) -> list[dict[str, float]] | dict[str, list[dict[str, float]]]:
    """Repeat a measurement with several seeds, in parallel processes of one thread each, and keep what is done.

    Each finished run is written to the file at once and in one move, so a run that was stopped or failed goes on
    where it was: only missing seeds are run, and the rows of seeds that are not asked for stay. The file never
    mixes: with other settings than it was made with, or with runs to add and other versions of Python or torch than
    it was made with, this is an error and nothing is run. Delete the file to start afresh.

    Args:
        one_run: takes a seed, and draws all that is random from it; returns finite numbers by name. In parallel
            processes it must be importable: a function of a module or script (guarded by `if __name__ ...`), or
            functools.partial of one; not a function written in a notebook, which needs processes=1. Several
            measurements by name share the processes, and the file.
        seeds: whole numbers, each once.
        file: a JSON file {"settings": ..., "versions": ..., name: [row, ...]}, or None to keep nothing. The name of a
            single one_run is "runs".
        settings: everything that the numbers depend on beside the seed, as JSON can hold it; needed with a file.
        processes: how many at a time; None for one a core. With 1, all runs in this process.

    Returns: the rows {"seed": seed, **numbers} in the order of seeds; by name if one_run was a mapping.
    Raises: ValueError or TypeError that names what is wrong; RuntimeError that names the run which failed.
    """
    runs = dict(one_run) if isinstance(one_run, Mapping) else {"runs": one_run}
    seeds = list(seeds)
    if not runs or {"settings", "versions"} & runs.keys():
        raise ValueError(f"one_run must have names, none of them 'settings' or 'versions', got {list(runs)}")
    for seed in seeds:
        _validate.whole("seeds", seed, least=0)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must hold at least one, each once, got {seeds}")
    if file is not None and settings is None:
        raise ValueError("settings must say what the numbers in the file depend on, got None")
    processes = os.cpu_count() or 1 if processes is None else processes
    _validate.whole("processes", processes, least=1)

    done = {"settings": json.loads(json.dumps(settings)), "versions": _versions()} | {name: [] for name in runs}
    if file is not None:
        done = _kept(Path(file), done)
    missing = [(name, seed) for seed in seeds for name in runs if seed not in {row["seed"] for row in done[name]}]
    if missing and done["versions"] != _versions():
        raise ValueError(
            f"{file} was made with {done['versions']}, and this is {_versions()}; delete it to start afresh"
        )
    for name, seed, row in _finished(runs, missing, min(processes, len(missing))):
        done[name] = sorted([*done[name], {"seed": seed, **row}], key=lambda row: row["seed"])
        if file is not None:
            _write(Path(file), done)
    rows = {name: {row["seed"]: row for row in done[name]} for name in runs}
    result = {name: [rows[name][seed] for seed in seeds] for name in runs}
    return result if isinstance(one_run, Mapping) else result["runs"]


def _finished(runs: dict, jobs: list[tuple[str, int]], processes: int) -> Iterator[tuple[str, int, dict]]:
    """Name, seed and row of each job, as they are done."""
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(jobs), desc="runs", leave=False, disable=not jobs))
        if processes <= 1:
            results = ((job, functools.partial(_measure, runs[job[0]], job[1])) for job in jobs)
        else:
            # Spawned, not forked: a fork of a process in which torch has threads may hang.
            spawn = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(processes, spawn, initializer=torch.set_flush_denormal, initargs=(True,))
            stack.callback(pool.shutdown, cancel_futures=True)
            # Inherited at the first submit, which starts all processes. Their own bars would write over this one.
            with _environment(ONE_THREAD | {"TQDM_DISABLE": "1"}):
                futures = {pool.submit(_measure, runs[name], seed): (name, seed) for name, seed in jobs}
            results = ((futures[future], future.result) for future in as_completed(futures))
        for (name, seed), result in results:
            try:
                row = result()
            except Exception as error:
                raise RuntimeError(f"{name}, seed {seed}: {type(error).__name__}: {error}") from error
            yield name, seed, row
            bar.update()


def _measure(one_run: Callable[[int], dict[str, float]], seed: int) -> dict[str, float]:
    """One run on one thread, whose numbers do not depend on how many cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        row = {name: float(value) for name, value in one_run(seed).items()}
    finally:
        torch.set_num_threads(threads)
    bad = {name: value for name, value in row.items() if not math.isfinite(value)}
    if bad or not row or "seed" in row:
        raise ValueError(f"one_run must return finite numbers by name, none of them called 'seed', got {bad or row}")
    return row


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}


def _kept(path: Path, empty: dict) -> dict:
    """What the file holds, if it was made with the same settings; what is empty if there is no file."""
    if not path.exists():
        return empty
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        settings, _ = found["settings"], found["versions"]
        for name in found.keys() - {"settings", "versions"}:
            [row["seed"] for row in found[name]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no runs ({type(error).__name__}: {error}); delete it to start afresh"
        ) from error
    if settings != empty["settings"]:
        raise ValueError(
            f"{path} was made with the settings {settings}, not {empty['settings']}; delete it to start afresh"
        )
    return empty | found


def _write(path: Path, data: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        beside.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
