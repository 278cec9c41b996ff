"""Run the benchmarks one after the other, print their tables, and write them into results.md: make bench

    python tests/benchmarks/run.py [name ...]        such as scale; all of them where none is named, under ten minutes

Numbers of one table come from one run on one machine. Run it on an idle one: what else runs there takes its share.
"""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
TITLES = {
    "scale": "Contrastive losses and gradient caching",
    "mmd": "Maximum mean discrepancy and its permutation test",
    "training": "Training",
    "explorer": "The embedding explorer",
    "panel": "Panels",
    "numbers": "Captioned numbers",
    "pad": "The drawing pad",
    "emoji": "Emoji",
}
MEASURED = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "pytorch-adapt",
    "lightning",
    "transformers",
    "jupyterlab",
    "ipympl",
    "jupyter-scatter",
)


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> str:
    versions = []
    for package in MEASURED:
        try:
            versions.append(f"{package} {importlib.metadata.version(package).partition('+')[0]}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"without {package}")
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python "
        f"{platform.python_version()}; {', '.join(versions)}. Load when it began: {os.getloadavg()[0]:.1f}."
    )


def main(names: list[str]) -> int:
    if unknown := set(names) - set(TITLES):
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    begun, failed = time.monotonic(), []
    parts = ["# What `make bench` measured\n", machine(), ""]
    print(parts[1], flush=True)
    for name in names or TITLES:
        start = time.monotonic()
        done = subprocess.run([sys.executable, HERE / f"bench_{name}.py"], capture_output=True, text=True)
        if done.returncode:
            failed.append(name)
            print(done.stderr[-3000:], file=sys.stderr)
        said = done.stdout.strip()
        said = said if "|---" in said else f"```\n{said}\n```"  # columns made of spaces
        text = f"## {TITLES[name]}\n\n{said}\n\n`bench_{name}.py`, {time.monotonic() - start:.0f} s\n"
        print(f"\n{text}", flush=True)
        parts.append(text)
    print(f"{time.monotonic() - begun:.0f} s in all")
    if not names and not failed:  # a part, or a table with a hole, does not replace the whole
        (HERE / "results.md").write_text("\n".join(parts), "utf-8")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
