"""Run every lesson in a fresh kernel, one after the other, and write its seconds and peak memory where they are read.

    python tools/measure_lessons.py [lesson ...]        such as 03_clip; all of them where none is named

The numbers go to lesson_times.json, and from there into the README's table and the lessons' title cells: no other
hand writes them. A lesson that fails keeps its old numbers, and makes this fail.
"""

import json
import os
import platform
import sys
import threading
import time
from pathlib import Path

import lab
import nbformat
import psutil
import sync_links
from nbclient import NotebookClient
from tqdm.auto import tqdm

ROOT = Path(__file__).resolve().parent.parent
BUDGETS = {"06_combined": 180, "07_scaling": 120, "08_sound": 120}  # seconds; every other lesson has 90
BUDGET, MEMORY_BUDGET = 90, 1.5


def resident_gb(process: psutil.Process) -> float:
    """Memory of a process, now, in GB (1e9 bytes); where the system tells, what it shares counts in part."""
    try:
        memory = process.memory_full_info()
        return getattr(memory, "pss", memory.rss) / 1e9
    except psutil.Error:  # it has just ended
        return 0.0


def others_gb(kernel: psutil.Process) -> float:
    """Memory of all processes that a kernel has started."""
    return sum(resident_gb(child) for child in kernel.children(recursive=True))


def measure(path: Path) -> dict[str, float]:
    """Wall-clock seconds with the kernel's start; the most memory in GB that it had, and that the processes had which
    it started, if any; sampled ten times a second."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    peak, others, done = 0.0, 0.0, threading.Event()

    def watch(kernel: psutil.Process) -> None:
        nonlocal peak, others
        while not done.wait(0.1):
            peak = max(peak, kernel.memory_info().rss / 1e9)
            others = max(others, others_gb(kernel))

    started = time.perf_counter()
    with client.setup_kernel():
        watcher = threading.Thread(target=watch, args=(psutil.Process(client.km.provisioner.pid),))
        watcher.start()
        try:
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            seconds = time.perf_counter() - started
        finally:
            done.set()
            watcher.join()
    found = {"seconds": round(seconds, 1), "peak_gb": round(peak, 2)}
    return found | ({"others_gb": round(others, 2)} if others > 0.05 else {})


def machine() -> str:
    """Where the numbers come from, in a phrase."""
    import torch

    from xlib.course import runtime

    device = runtime.pick_device()
    where = f"a {torch.cuda.get_device_name(device)}" if device.type == "cuda" else f"{runtime.cores()} CPU cores"
    where += ", no GPU" if device.type == "cpu" else ""
    return f"{where}, Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}"


def main(names: list[str]) -> int:
    there = [name for name in sync_links.LESSONS if (ROOT / "notebooks" / f"{name}.ipynb").exists()]
    if unknown := set(names) - set(there):
        sys.exit(f"no such lesson: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    lab.prepare(ROOT / ".jupyter", os.environ)
    times, failed = sync_links.read_times(), []
    if times["machine"] != machine():  # numbers of two machines do not belong in one table
        times = {"machine": machine(), "lessons": {}}
    for name in (bar := tqdm(names or there, unit="lesson")):
        bar.set_description(name)
        try:
            result = measure(ROOT / "notebooks" / f"{name}.ipynb")
        except Exception as error:  # a lesson may fail in any way; the others are still to be measured
            failed.append(name)
            tqdm.write(f"{name} failed: {error}")
            continue
        times["lessons"][name] = result
        over = result["seconds"] > BUDGETS.get(name, BUDGET) or result["peak_gb"] > MEMORY_BUDGET
        tqdm.write(f"{name}: {result['seconds']} s, {result['peak_gb']} GB{'  OVER ITS BUDGET' if over else ''}")
    (ROOT / "tools" / "lesson_times.json").write_text(json.dumps(times, indent=1, sort_keys=True) + "\n", "utf-8")
    sync_links.write()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
