"""Print rows of the DANN paper's digits table, measured here, beside the published numbers. See `make paper`.

    python tools/paper.py ["MNIST → MNIST-M"] [--seeds 5]

XLIB_BUDGET says how much: gpu (two rows on all images, the default where there is a GPU), cpu (the first row on the
5,000 scans of MNIST that come with the course; with five seeds about an hour of two cores), smoke (a few steps).
What is finished is kept, and the same command goes on where it was stopped.
"""

import argparse
import sys
from collections.abc import Iterable

import torch

from xlib.course import report, runtime
from xlib.experiments import paper
from xlib.online.full import Unavailable


def have_data(rows: Iterable[str], size: str) -> bool:
    """Fetch what the rows need, here and not in the processes that train. Says why where that fails."""
    try:
        for row in rows:
            paper.load(row, size)
    except Unavailable as reason:
        print(f"{reason}\n")
        return False
    return True


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=" or ".join(paper.ROWS))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(arguments)
    if unknown := [row for row in options.rows if row not in paper.ROWS]:
        parser.error(f"unknown rows {unknown}: choose from {list(paper.ROWS)}")
    size = runtime.budget()
    if paper.SIZES[size]["full"] and not have_data(options.rows or paper.ROWS, size):
        print("So here is the first row in small, on the scans that come with the course.\n")
        size, options.rows = "cpu", []
    if missing := [row for row in options.rows if row not in paper.rows_of(size)]:
        parser.error(f"{missing[0]} needs data that are downloaded where there is a GPU, or XLIB_BUDGET=gpu")
    torch.set_flush_denormal(True)
    print(paper.describe(size) + "\n")
    found = paper.run(rows=options.rows or None, seeds=range(options.seeds), size=size)
    report.table(paper.table(found))


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a Windows console may know no arrows
    main()
