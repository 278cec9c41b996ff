"""The tests of Binder and Colab need pip's index and take minutes, and so they stand apart: `make test` runs them
first, by themselves. (The other tests are refused a network.)"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL

import pytest
from clean_notebooks import ROOT
from fresh import environment


def pytest_terminal_summary(terminalreporter):
    """What the tests have measured is shown, and kept in .cache/launch.json."""
    passed = terminalreporter.stats.get("passed", [])
    if measured := dict(pair for report in passed for pair in report.user_properties):
        text = json.dumps(measured, indent=1)
        (ROOT / ".cache" / "launch.json").write_text(text + "\n", "utf-8")
        terminalreporter.write_line(text)


@pytest.fixture(scope="module", autouse=True)
def package_index():
    """Without an index these tests are skipped, but where CI is set they fail."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-deps", "--no-cache-dir", "--timeout=5", "--retries=0", f"--dest={folder}")
        command = [sys.executable, "-m", "pip", "download", *options, "platformdirs"]
        reached = subprocess.run(command, env=environment(), capture_output=True).returncode == 0
    if not reached:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("pip reaches no package index")


@pytest.fixture(scope="module")
def folder():
    """On the disk of the clone and not in /tmp, which is often small. It is deleted after the tests, and nobody waits
    for that: some disks take two minutes for two environments."""
    (ROOT / ".cache").mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=ROOT / ".cache", prefix="launch-"))
    yield path
    subprocess.Popen(["rm", "-rf", path], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True)
