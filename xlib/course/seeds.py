"""One measurement with several seeds: in parallel processes, and kept as it is done."""

import contextlib
import functools
import json
import math
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from xlib import _validate
from xlib._files import written_whole
from xlib.course import runtime
from xlib.progress import tqdm

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


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
    where it
    was: only missing seeds are run, and the rows of seeds that are not asked for stay. The file never mixes: with
    other settings than it was made with, or with runs to add and other versions of Python or torch than it was made
    with, this is an error and nothing is run. Delete the file to start afresh.

    Args:
        one_run: takes a seed, and draws all that is random from it; returns finite numbers by name. In parallel
            processes
            it must be importable: a function of a module or script (guarded by `if __name__ ...`), or
            functools.partial of one; not one written in a notebook, which needs processes=1. Several measurements by
            name share the processes, and the file.
        seeds: whole numbers, each once.
        file: a JSON file {"settings": ..., "versions": ..., name: [row, ...]}, or None to keep nothing. The name of a
            single one_run is "runs".
        settings: everything that the numbers depend on beside the seed, as JSON can hold it; needed with a file.
        processes: how many at a time; None for one a core. With 1, all runs in this process.
    Returns: the rows {"seed": seed, **numbers} in the order of seeds; by name if one_run was a mapping.
    Raises: ValueError or TypeError that names what is wrong; RuntimeError that names the run which failed.

    Example:
        >>> run_seeds(lambda seed: {"square": seed**2}, [3, 2], processes=1)
        [{'seed': 3, 'square': 9.0}, {'seed': 2, 'square': 4.0}]
        >>> run_seeds({"a": lambda seed: {"x": 1}, "b": lambda seed: {"x": 2}}, [0], processes=1)
        {'a': [{'seed': 0, 'x': 1.0}], 'b': [{'seed': 0, 'x': 2.0}]}
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
    processes = runtime.cores() if processes is None else processes
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
