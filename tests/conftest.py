"""What holds for every test: one thread a process, no network, and nothing of the user's own settings."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before numpy and torch are imported, and inherited by kernels and scripts that tests start.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

OFFLINE = str(Path(__file__).parent / "offline")
sys.path.insert(0, OFFLINE)
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([OFFLINE, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)

import loopback_only  # noqa: E402

loopback_only.install()

if "XLIB_TESTS_HOME" not in os.environ:  # workers of pytest-xdist inherit it from the process that made it
    HOME = Path(tempfile.mkdtemp(prefix="xlib-tests-"))
    os.environ["XLIB_TESTS_HOME"] = str(HOME)
    atexit.register(shutil.rmtree, HOME, ignore_errors=True)
HOME = Path(os.environ["XLIB_TESTS_HOME"])
for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
    os.environ[name] = str(HOME / name.lower())
for name in ("MPLBACKEND", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH", "JUPYTER_TOKEN", "XLIB_BUDGET"):
    os.environ.pop(name, None)  # a kernel draws with its own inline backend

import matplotlib  # noqa: E402
import nbformat  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from _pytest.doctest import DoctestModule  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from lessons import EXECUTED  # noqa: E402
from nbmake.nb_run import NotebookRun  # noqa: E402

matplotlib.use("Agg")

# No deadline: two workers on two shared cores say nothing about speed. In CI the same examples every time.
settings.register_profile(
    "xlib", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("xlib")


def pytest_runtest_teardown():
    """A lesson's set-up cell lets the processor flush denormals and prints fewer digits, for the whole process."""
    torch.set_flush_denormal(False)
    torch.set_printoptions(profile="default")


execute = NotebookRun.execute


def execute_and_keep(run):
    """So that a test that reads a lesson's outputs need not run it once more."""
    result = execute(run)
    EXECUTED.mkdir(exist_ok=True)
    nbformat.write(result.nb, EXECUTED / Path(run.filename).name)
    return result


NotebookRun.execute = execute_and_keep


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """--doctest-modules is for xlib."""
    return [found for found in (yield) if not isinstance(found, DoctestModule)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Browser tests share a JupyterLab: those that run a whole lesson are one group, the others another, since
    together they would be a chain longer than all the rest. A group of a test's own stays as it is: a second name
    would make a third group of both. A lesson is one with whoever reads its outputs."""
    for item in items:
        if item.get_closest_marker("browser") and not item.get_closest_marker("xdist_group"):
            name = "lessons in lab" if item.path.stem.endswith("_in_lab") else "browser"
            item.add_marker(pytest.mark.xdist_group(name))
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
def pytest_lessons_come_first(items):  # a hook by its specname alone would not be one: pytest looks for the prefix
    """After the shuffle: who reads a lesson's outputs comes after nbmake, and need not run the lesson once more."""
    items.sort(key=lambda item: item.path.suffix != ".ipynb")


@pytest.fixture
def smoke_cells(monkeypatch):
    """smoke_cells(lesson, *cells): what these cells define after the set-up, with models of a few steps."""
    import results  # imports xlib

    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    return lambda name, *cells: results.from_lesson(name, ("set-up", *cells))
