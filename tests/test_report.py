"""Claims that can fail, intervals over runs against scipy, and runs over seeds that are kept and taken up again."""

import functools
import json
import math
import os

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlib.course import report, seeds
from xlib.course.report import ClaimFailed, claim, interval
from xlib.course.seeds import run_seeds

few = settings(deadline=None, max_examples=25)


@pytest.fixture(autouse=True)
def _full_budget(monkeypatch):
    monkeypatch.setenv("XLIB_BUDGET", "cpu")


# -- claims


@pytest.mark.parametrize(
    ("value", "limits", "line"),
    [
        (0.987654, {"above": 0.9}, "✓ It works: 0.9877 (above 0.9)"),
        (-3, {"below": 0}, "✓ It works: -3 (below 0)"),
        (0.5, {"above": 0, "below": 1}, "✓ It works: 0.5 (above 0 and below 1)"),
        (torch.tensor([[0.25]], requires_grad=True), {"below": 1}, "✓ It works: 0.25 (below 1)"),
        (torch.tensor(3), {"above": 2}, "✓ It works: 3 (above 2)"),
        (np.float32(0.25), {"above": 0.2}, "✓ It works: 0.25 (above 0.2)"),
        (1e9, {"above": 0.2}, "✓ It works: 1e+09 (above 0.2)"),
    ],
)
def test_a_claim_that_holds_is_printed(capsys, recwarn, value, limits, line):
    assert claim("It works", value, **limits) is None
    assert not recwarn.list
    assert capsys.readouterr().out == line + "\n"


FAILING = [
    (0.5, {"above": 0.9}, "✗ It works: 0.5 (above 0.9)"),
    (0.5, {"below": 0.1}, "✗ It works: 0.5 (below 0.1)"),
    (2.0, {"above": 0, "below": 1}, "✗ It works: 2 (above 0 and below 1)"),
    (-2.0, {"above": 0, "below": 1}, "✗ It works: -2 (above 0 and below 1)"),
    (0.9, {"above": 0.9}, "✗ It works: 0.9 (above 0.9)"),  # the interval is open
    (0.9, {"below": 0.9}, "✗ It works: 0.9 (below 0.9)"),
    (math.nan, {"above": -1e9}, "✗ It works: nan (above -1000000000.0)"),
    (torch.tensor(math.nan), {"below": 1e9}, "✗ It works: nan (below 1000000000.0)"),
    (math.inf, {"above": 0}, "✗ It works: inf (above 0)"),
    (torch.tensor(0.5), {"above": 0.9}, "✗ It works: 0.5 (above 0.9)"),
]


@pytest.mark.parametrize(("value", "limits", "line"), FAILING)
def test_a_claim_that_does_not_hold_raises(capsys, value, limits, line):
    with pytest.raises(ClaimFailed) as failed:
        claim("It works", value, **limits)
    assert str(failed.value) == line
    assert isinstance(failed.value, AssertionError)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("value", "limits", "line"), FAILING)
def test_with_a_smoke_budget_it_is_only_printed(capsys, monkeypatch, value, limits, line):
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    claim("It works", value, **limits)
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (0.5, {}, "claim needs above=, below= or both"),
        (0.5, {"above": 1, "below": 0}, "above must be less than below, got above=1 and below=0"),
        (0.5, {"above": 0.5, "below": 0.5}, "above must be less than below"),
        (0.5, {"above": math.nan}, "above must be less than below, got above=nan"),
        (torch.zeros(2), {"above": 0}, r"value must be one number, got shape \(2,\)"),
        (torch.zeros(0), {"above": 0}, r"value must be one number, got shape \(0,\)"),
    ],
)
@pytest.mark.parametrize("budget", ["cpu", "smoke"])
def test_what_is_no_claim_is_refused_under_any_budget(monkeypatch, budget, value, limits, message):
    monkeypatch.setenv("XLIB_BUDGET", budget)
    with pytest.raises(ValueError, match=f"^{message}"):
        claim("It works", value, **limits)


@few
@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0.1, 5))
def test_a_claim_holds_exactly_inside_its_interval(value, low, width):
    try:
        claim("It works", value, above=low, below=low + width)
        held = True
    except ClaimFailed:
        held = False
    assert held == (low < value < low + width)


# -- intervals

runs = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


@few
@given(runs, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_is_students_t(values, level):
    mean, low, high = interval(values, level=level)
    sem = scipy.stats.sem(values)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    if sem > 0:
        expected = scipy.stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=sem)
        assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    else:
        assert (low, high) == pytest.approx((mean, mean), abs=1e-9)


def test_interval_is_a_95_percent_one_if_nothing_is_said_and_takes_tensors():
    values = [0.81, 0.79, 0.86, 0.8, 0.83]
    assert interval(values) == interval(values, level=0.95) == interval(torch.tensor(values, dtype=torch.float64))
    assert interval([1, 2]) == pytest.approx((1.5, 1.5 - 12.7062 / 2, 1.5 + 12.7062 / 2), abs=1e-4)  # t(1) table
    assert all(type(part) is float for part in interval(values))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_an_interval_is_cut_off_at_the_range_of_its_quantity(values):
    mean, low, high = report.interval(values, within=(0, 1))
    same, lower, higher = report.interval(values)
    assert (mean, low, high) == (same, max(lower, 0), min(higher, 1))


def test_a_value_outside_its_range_is_named():
    with pytest.raises(ValueError, match=r"values must lie within \(0, 1\), got \[0.5, 1.5\]"):
        report.interval([0.5, 1.5], within=(0, 1))


def test_a_gain_is_the_interval_of_the_differences_run_by_run():
    ours, theirs = [0.9, 0.5, 0.7], [0.8, 0.4, 0.6]  # .1 each, however much the runs differ
    assert report.gain(ours, theirs) == pytest.approx((0.1, 0.1, 0.1))
    assert report.gain(ours, [0.4, 0.8, 0.6])[1] < 0 < report.gain(ours, [0.4, 0.8, 0.6])[0]
    assert report.gain(ours, theirs, level=0.5) == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="one number a run, got 3 and 2"):
        report.gain(ours, theirs[:2])


def test_an_interval_is_written_with_three_digits_and_a_difference_with_its_sign():
    assert report.written((0.75, 0.7, 0.8)) == "0.750 [0.700, 0.800]"
    assert report.written((0.0, -0.0104, 0.2), sign=True) == "+0.000 [-0.010, +0.200]"


def test_interval_covers_the_mean_as_often_as_it_says():
    """Two thousand times five runs: 90% is 1,800, give or take 13."""
    generator = torch.Generator().manual_seed(0)
    draws = 3 + 2 * torch.randn(2000, 5, generator=generator, dtype=torch.float64)
    ends = [interval(runs, level=0.9) for runs in draws]
    assert 1740 < sum(low < 3 < high for _, low, high in ends) < 1860


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([0.5], {}, r"values must be at least two numbers, one a run, got shape \(1,\)"),
        ([], {}, "values must be at least two numbers"),
        ([[0.5, 0.6]], {}, r"values must be at least two numbers, one a run, got shape \(1, 2\)"),
        ([0.5, math.nan], {}, "values must be finite"),
        ([0.5, math.inf], {}, "values must be finite"),
        ([0.5, 0.6], {"level": 0}, "level must lie between 0 and 1, got 0"),
        ([0.5, 0.6], {"level": 1}, "level must lie between 0 and 1, got 1"),
        ([0.5, 0.6], {"level": 95}, "level must lie between 0 and 1, got 95"),
        ([0.5, 0.6], {"level": math.nan}, "level must lie between 0 and 1, got nan"),
    ],
)
def test_interval_names_what_is_wrong(values, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        interval(values, **options)


# -- runs over several seeds


def measure(seed, *, scale=1.0):
    """Importable, as parallel processes need it. Says where it ran, and on how many threads."""
    value = torch.rand(1, generator=torch.Generator().manual_seed(seed)).item()
    omp = float(os.environ.get("OPENBLAS_NUM_THREADS", "0"))
    return {"value": scale * value, "process": os.getpid(), "threads": torch.get_num_threads(), "omp": omp}


def refuse_seed_2(seed):
    if seed == 2:
        raise LookupError("no such thing")
    return {"value": seed}


def never(seed):
    raise AssertionError("nothing is left to run")


@pytest.mark.long
def test_runs_in_parallel_are_those_in_one_process_and_use_one_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    torch_threads = torch.get_num_threads()
    jobs = {"plain": measure, "scaled": functools.partial(measure, scale=3.0)}
    tables = run_seeds(jobs, [4, 0, 7], processes=2)
    assert list(tables) == ["plain", "scaled"]
    for name, scale in (("plain", 1.0), ("scaled", 3.0)):
        assert [row["seed"] for row in tables[name]] == [4, 0, 7]
        assert [row["value"] for row in tables[name]] == [scale * measure(seed)["value"] for seed in (4, 0, 7)]
        assert {(row["threads"], row["omp"]) for row in tables[name]} == {(1, 1)}
        assert os.getpid() not in {row["process"] for row in tables[name]}
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    alone = run_seeds(measure, [4, 0, 7], processes=1)
    assert [row["value"] for row in alone] == [row["value"] for row in tables["plain"]]
    assert {(row["process"], row["threads"]) for row in alone} == {(os.getpid(), 1)}
    assert torch.get_num_threads() == torch_threads


def test_what_is_done_is_kept_when_a_run_fails_and_only_the_rest_is_run_again(tmp_path):
    file, settings = tmp_path / "new" / "runs.json", {"steps": (1, 2), "what": "中"}
    with pytest.raises(RuntimeError, match=r"^runs, seed 2: LookupError: no such thing") as failed:
        run_seeds(refuse_seed_2, [0, 1, 2, 3], file=file, settings=settings, processes=1)
    assert isinstance(failed.value.__cause__, LookupError)
    kept = json.loads(file.read_text("utf-8"))
    assert kept["runs"] == [{"seed": 0, "value": 0.0}, {"seed": 1, "value": 1.0}]
    assert kept["settings"] == {"steps": [1, 2], "what": "中"}
    assert kept["versions"]["torch"] == torch.__version__.split("+")[0]
    asked = []
    rows = run_seeds(
        lambda seed: asked.append(seed) or {"value": 10}, [3, 2, 1], file=file, settings=settings, processes=1
    )
    assert asked == [3, 2]
    assert [(row["seed"], row["value"]) for row in rows] == [(3, 10), (2, 10), (1, 1)]
    assert [row["seed"] for row in json.loads(file.read_text("utf-8"))["runs"]] == [0, 1, 2, 3]
    assert os.listdir(file.parent) == ["runs.json"]
    assert run_seeds(never, [0, 3], file=file, settings=settings, processes=1) == [
        {"seed": 0, "value": 0.0},
        {"seed": 3, "value": 10.0},
    ]


@pytest.mark.long
def test_a_failure_in_another_process_is_named_too():
    with pytest.raises(RuntimeError, match=r"^runs, seed 2: LookupError: no such thing"):
        run_seeds(refuse_seed_2, [1, 2], processes=2)


def test_a_file_takes_another_name_and_stays_whole_when_writing_fails(tmp_path, monkeypatch):
    file = tmp_path / "runs.json"
    run_seeds({"a": refuse_seed_2}, [0], file=file, settings={}, processes=1)
    run_seeds({"b": refuse_seed_2}, [1], file=file, settings={}, processes=1)
    before = file.read_text("utf-8")
    assert {name: len(json.loads(before)[name]) for name in ("a", "b")} == {"a": 1, "b": 1}

    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(seeds.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        run_seeds({"b": refuse_seed_2}, [3], file=file, settings={}, processes=1)
    assert file.read_text("utf-8") == before


def test_other_settings_or_versions_are_never_mixed(tmp_path, monkeypatch):
    file = tmp_path / "runs.json"
    run_seeds(refuse_seed_2, [0], file=file, settings={"steps": 1}, processes=1)
    before = file.read_text("utf-8")
    with pytest.raises(ValueError, match=r"made with the settings {'steps': 1}, not {'steps': 2}; delete it"):
        run_seeds(never, [0], file=file, settings={"steps": 2}, processes=1)
    monkeypatch.setattr(seeds, "_versions", lambda: {"python": "3", "torch": "0.1"})
    assert len(run_seeds(never, [0], file=file, settings={"steps": 1}, processes=1)) == 1  # to read is always fine
    with pytest.raises(ValueError, match=r"was made with .*, and this is .*'torch': '0.1'.*delete it"):
        run_seeds(never, [0, 1], file=file, settings={"steps": 1}, processes=1)
    assert file.read_text("utf-8") == before


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": {}, "versions": {}, "runs": [{"value": 1}]}'])
def test_a_file_that_holds_no_runs_is_named_and_left_alone(tmp_path, text):
    file = tmp_path / "runs.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"runs\.json holds no runs .*delete it"):
        run_seeds(never, [0], file=file, settings={}, processes=1)
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((measure, []), {}, ValueError, r"seeds must hold at least one, each once, got \[\]"),
        ((measure, [1, 1]), {}, ValueError, "seeds must hold at least one, each once"),
        ((measure, [0.5]), {}, TypeError, "seeds must be a whole number"),
        ((measure, [-1]), {}, ValueError, "seeds must be at least 0"),
        (({}, [0]), {}, ValueError, "one_run must have names"),
        (({"settings": measure}, [0]), {}, ValueError, "one_run must have names, none of them 'settings'"),
        ((measure, [0]), {"file": "never_written.json"}, ValueError, "settings must say"),
        ((measure, [0]), {"processes": 0}, ValueError, "processes must be at least 1"),
        ((lambda seed: {"value": math.nan}, [0]), {}, RuntimeError, "runs, seed 0: ValueError: one_run must return"),
        ((lambda seed: {}, [0]), {}, RuntimeError, "runs, seed 0: ValueError: one_run must return finite numbers"),
        ((lambda seed: {"seed": 1}, [0]), {}, RuntimeError, "runs, seed 0: ValueError: one_run must return"),
    ],
)
def test_run_seeds_names_what_is_wrong(arguments, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        run_seeds(*arguments, **{"processes": 1, **options})
