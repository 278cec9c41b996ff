"""The benchmarks' common parts work, and the stored tables hold what the course promises of its losses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "benchmarks"
RESULTS = (HERE / "results.md").read_text("utf-8")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run.py over two benchmarks of its own: one prints a table, and one a column and then does as it is told."""
    monkeypatch.syspath_prepend(HERE)
    import run as module

    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "TITLES", {"one": "The first", "two": "The second"})
    (tmp_path / "bench_one.py").write_text("print('| a |\\n|---|\\n| 1 |')")
    (tmp_path / "bench_two.py").write_text("import sys\nprint('a  2')\nsys.exit(0)")
    return module


def test_all_tables_are_written_down(run, tmp_path, capsys):
    assert run.main([]) == 0
    written = (tmp_path / "results.md").read_text("utf-8")
    assert "## The first\n\n| a |\n|---|\n| 1 |\n\n`bench_one.py`" in written
    assert "## The second\n\n```\na  2\n```" in written
    assert "torch 2" in written
    assert "| 1 |" in capsys.readouterr().out


def test_a_part_or_a_failure_does_not_replace_them(run, tmp_path, capsys):
    assert run.main(["one"]) == 0
    (tmp_path / "bench_two.py").write_text("raise SystemExit('no such library')")
    assert run.main([]) == 1
    assert "no such library" in capsys.readouterr().err
    assert not (tmp_path / "results.md").exists()
    with pytest.raises(SystemExit, match="no such benchmark: three; there are one, two"):
        run.main(["three"])


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be set back on Linux alone")
def test_the_extra_memory_of_a_call_is_measured():
    code = "import measured; print(measured.measure(lambda: len(b'1' * 300_000_000), repeats=2))"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    found = eval(done.stdout)
    assert 290 < found["extra"] < 320  # MB
    assert found["value"] == 300_000_000
    assert found["seconds"] > 0


def row(start):
    """The cells of a table's row."""
    (line,) = (line for line in RESULTS.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("start", "time", "memory"),
    [
        ("open_clip ClipLoss / info_nce_tiled, d = 128", 0.5, 10),
        ("open_clip ClipLoss / info_nce_tiled, d = 512", 0.6, 8),
        ("open_clip SigLipLoss / siglip_tiled, d = 128", 0.5, 10),
        ("open_clip SigLipLoss / siglip_tiled, d = 512", 0.6, 8),
        ("plain, steps of √2", 1 / 12, 10),
        ("plain, any", 1 / 5, 10),
        ("plain, steps of √2, with gradient", 1 / 4, 10),
        ("pytorch_adapt, steps of √2", 1, 1),
        ("a loop over one kernel matrix", 1 / 20, 0),
    ],
)
def test_the_stored_ratios_keep_the_promises(start, time, memory):
    *_, faster, _, share = row(start)
    assert 1 / float(faster) <= time
    assert int(share.removeprefix("1/")) >= memory


def test_the_largest_inputs_stay_within_their_memory():
    infonce = re.search(r"N = 65,536.*?holds ([\d,]+) MB", RESULTS, re.S)
    mmd = re.search(r"n = m = 50,000.*?holds ([\d,]+) MB", RESULTS, re.S)
    assert int(infonce[1].replace(",", "")) <= 1500
    assert int(mmd[1].replace(",", "")) <= 1000


def test_a_cached_step_needs_the_memory_of_a_chunk():
    whole, cached, small = (
        int(row(start)[3].split()[0])
        for start in ("batch 4,096 at once", "batch 4,096, cached_backward in chunks of 256", "batch 256 at once")
    )
    assert cached < 1.4 * small < whole / 5
