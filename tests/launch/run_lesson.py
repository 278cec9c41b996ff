"""Run a lesson where Binder's memory is short: in a kernel of this Python that may map 2 GiB and no more.

    python run_lesson.py notebooks/00_start_here.ipynb

Prints as JSON the kernel's limit, the most address space and memory that it had (all in MB, 1e6 bytes), and the
seconds. Linux only: it reads /proc.
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

LIMIT = 2 * 2**30


def measure(path: Path) -> dict[str, float]:
    """Run all cells. Raises nbclient's CellExecutionError for the first that fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": path.parent}})
    started = time.perf_counter()
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        seconds = time.perf_counter() - started
        process = Path(f"/proc/{client.km.provisioner.pid}")
        limit = int(re.search(r"Max address space +(\d+)", (process / "limits").read_text())[1]) / 1e6
        status = (process / "status").read_text()
    peak, resident = (int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024 / 1e6 for name in ("VmPeak", "VmHWM"))
    return {"limit": limit, "address space": peak, "memory": resident, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))  # each process has it for itself; the kernel inherits it
    print(json.dumps(measure(Path(sys.argv[1]))))
