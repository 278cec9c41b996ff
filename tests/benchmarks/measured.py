"""Time and memory of one call in a process of its own. Linux only: elsewhere the peak cannot be set back."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def measure(call: Callable[[], float], *, repeats: int) -> dict[str, float]:
    """The best seconds of a few calls; the MB by which the first raised what the process holds; the process's peak
    in MB; and what the call returned."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, from what is held now
    before, times = _resident("VmRSS"), []
    for number in range(repeats):
        start = time.perf_counter()
        value = call()
        times.append(time.perf_counter() - start)
        if number == 0:
            peak = _resident("VmHWM")
    return {"seconds": min(times), "extra": max(peak - before, 1.0), "peak": peak, "value": value}


def _resident(which: str) -> float:
    """MB (10^6 bytes) of this process in memory: now (VmRSS), or at most (VmHWM)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024 / 1e6


def fresh(script: str, *arguments, **variables: str) -> dict[str, float]:
    """What `answer` prints in a new process of the script, called with these arguments; variables: of its
    environment."""
    command = [sys.executable, script, "--one", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    if done.returncode:
        sys.exit(f"{Path(script).name} {arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(function: Callable[..., dict]) -> bool:
    """In a process that `fresh` started: print the function's answer, and say so."""
    if "--one" not in sys.argv:
        return False
    print(json.dumps(function(*json.loads(sys.argv[sys.argv.index("--one") + 1]))))
    return True


def table(title: str, rows: list[dict[str, str]]) -> None:
    """Print a Markdown table."""
    print(f"\n**{title}**\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(row.values()) + " |", flush=True)


def against(label: str, base: dict, mine: dict) -> dict[str, str]:
    """A row of a table: the other side, ours, and the two ratios."""
    return {
        "": label,
        "other": f"{base['seconds']:.2f} s, {base['extra']:,.0f} MB",
        "xlib": f"{mine['seconds']:.2f} s, {mine['extra']:,.0f} MB",
        "times as fast": f"{base['seconds'] / mine['seconds']:.1f}",
        "of its time": f"{mine['seconds'] / base['seconds']:.2f}",
        "of its memory": f"1/{base['extra'] / mine['extra']:.0f}",
    }


def threads() -> str:
    return f"{torch.get_num_threads()} thread(s)"
