"""Claims that can fail, and intervals over runs, against scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlib.report import ClaimFailed, claim, interval

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
