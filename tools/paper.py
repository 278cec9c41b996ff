"""Print two rows of the DANN paper's digits table, measured here, beside the published numbers. See `make paper`.

    python tools/paper.py ["MNIST → MNIST-M"] [--seeds 5]

XLIB_BUDGET says how much: gpu (all of it, the default where there is a GPU), cpu (reduced), smoke (a few steps). What
is finished is kept, and the same command goes on where it was stopped.
"""

import argparse

import torch

from xlib.course import report, runtime
from xlib.experiments import paper
from xlib.online.full import Unavailable


def have_data(rows: list[str], size: str) -> bool:
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
    rows = options.rows or list(paper.ROWS)
    if unknown := [row for row in rows if row not in paper.ROWS]:
        parser.error(f"unknown rows {unknown}: choose from {list(paper.ROWS)}")
    size = runtime.budget()
    torch.set_flush_denormal(True)
    stand_ins = not have_data(rows, size)
    print(paper.describe(size, stand_ins) + "\n")
    found = paper.run(rows=rows, seeds=range(options.seeds), size=size, stand_ins=stand_ins)
    report.table(paper.table(found, stand_ins=stand_ins))


if __name__ == "__main__":
    main()
