"""Claims that can fail, intervals over runs against scipy, tables; and runs over seeds, kept and taken up again."""

import functools
import json
import math
import os
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlib.course import _table, report, seeds
from xlib.course.report import ClaimFailed, Gain, Interval, claim, claims, interval
from xlib.course.seeds import run_seeds
from xlib.retrieval import Recall

few = settings(deadline=None, max_examples=25)


@pytest.fixture(autouse=True)
def _full_budget(monkeypatch):
    monkeypatch.setenv("XLIB_BUDGET", "cpu")


# -- claims


@pytest.fixture(autouse=True)
def _nothing_claimed(monkeypatch):
    monkeypatch.setattr(report, "CLAIMED", {})


HOLDING = [
    (0.987654, {"above": 0.9}, "✓ It works: 0.9877 (above 0.9)"),
    (-3, {"below": 0}, "✓ It works: -3 (below 0)"),
    (0.5, {"above": 0, "below": 1}, "✓ It works: 0.5 (above 0 and below 1)"),
    (torch.tensor([[0.25]], requires_grad=True), {"below": 1}, "✓ It works: 0.25 (below 1)"),
    (torch.tensor(3), {"above": 2}, "✓ It works: 3 (above 2)"),
    (np.float32(0.25), {"above": 0.2}, "✓ It works: 0.25 (above 0.2)"),
    (1e9, {"above": 1 / 300}, "✓ It works: 1e+09 (above 0.003333)"),
]


@pytest.mark.parametrize(("value", "limits", "line"), HOLDING)
def test_a_claim_that_holds_is_shown(capsys, recwarn, value, limits, line):
    assert claim("It works", value, **limits) is None
    assert capsys.readouterr().out == ""
    claims()
    assert not recwarn.list
    assert capsys.readouterr().out == f"1 of 1 sentences hold in this run\n{line}\n"


FAILING = [
    (0.5, {"above": 0.9}, "✗ It works: 0.5 (above 0.9)"),
    (0.5, {"below": 0.1}, "✗ It works: 0.5 (below 0.1)"),
    (2.0, {"above": 0, "below": 1}, "✗ It works: 2 (above 0 and below 1)"),
    (-2.0, {"above": 0, "below": 1}, "✗ It works: -2 (above 0 and below 1)"),
    (0.9, {"above": 0.9}, "✗ It works: 0.9 (above 0.9)"),  # the interval is open
    (0.9, {"below": 0.9}, "✗ It works: 0.9 (below 0.9)"),
    (math.nan, {"above": -1e9}, "✗ It works: nan (above -1e+09)"),
    (torch.tensor(math.nan), {"below": 1e9}, "✗ It works: nan (below 1e+09)"),
    (math.inf, {"above": 0}, "✗ It works: inf (above 0)"),
    (torch.tensor(0.5), {"above": 0.9}, "✗ It works: 0.5 (above 0.9)"),
]


@pytest.mark.parametrize(("value", "limits", "line"), FAILING)
def test_a_claim_that_does_not_hold_is_shown_and_raises(capsys, value, limits, line):
    claim("It holds", 1, above=0)
    claim("It works", value, **limits)
    with pytest.raises(ClaimFailed) as failed:
        claims()
    assert str(failed.value) == line
    assert isinstance(failed.value, AssertionError)
    shown = "1 of 2 sentences hold in this run\n✓ It holds: 1 (above 0)\n"
    assert capsys.readouterr().out == f"{shown}{line}\n"


@pytest.mark.parametrize(("value", "limits", "line"), FAILING)
def test_with_a_smoke_budget_it_is_only_shown(capsys, monkeypatch, value, limits, line):
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    claim("It works", value, **limits)
    claims()
    assert capsys.readouterr().out == f"0 of 1 sentences hold in this run\n{line}\n"


def test_a_cell_that_is_run_again_claims_its_sentence_once(capsys):
    claim("It works", 0.5, above=0.9)
    claim("It works", 0.95, above=0.9)
    claims()
    claims()
    assert capsys.readouterr().out.count("✓ It works: 0.95 (above 0.9)") == 2


def test_claims_without_a_claim_say_what_to_run():
    with pytest.raises(RuntimeError, match=r"^nothing was claimed in this session: run the cells above"):
        claims()


@pytest.mark.parametrize("value", [1, -1])
def test_a_notebook_folds_claims_that_hold_and_opens_one_that_does_not(monkeypatch, value):
    pages = []
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    monkeypatch.setattr(report, "output", lambda text, page: pages.append(page))
    claim("0 < 1 & more", value, above=0)
    claims()
    opened, words = ("", "1 of 1") if value > 0 else (" open", "0 of 1")
    assert f'<details class="xlib-claims"{opened}><summary>{words} sentences hold' in pages[0]
    assert "0 &lt; 1 &amp; more" in pages[0]


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
    claim("It works", value, above=low, below=low + width)
    assert report.CLAIMED["It works"].holds == (low < value < low + width)


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
    assert report.written((0.0, -0.0104, 0.2), sign=True) == "0.000 [-0.010, +0.200]"
    assert report.written((-0.0001, -0.0104, 0.2)) == "0.000 [-0.010, 0.200]"


# -- tables


class Reader(HTMLParser):
    """Rows of cells of a table's HTML: (tag, attributes, text), the style left out."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.bold, self.wrapper, self._path = [], [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self._path.append(tag)
        if tag == "div":
            self.wrapper = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((tag, dict(attributes), ""))

    def handle_endtag(self, tag):
        while self._path and self._path.pop() != tag:
            pass

    def handle_data(self, data):
        if "tr" in self._path:
            self.rows[-1][-1] = (*self.rows[-1][-1][:2], self.rows[-1][-1][2] + data)
        if "strong" in self._path:
            self.bold.append(data)

    def texts(self):
        return [[text.strip() for _, _, text in row] for row in self.rows]


@pytest.fixture
def shown(monkeypatch):
    """report.table of some rows: its lines, and its HTML as read."""

    def show(rows, **options):
        found = []
        monkeypatch.setattr(report, "output", lambda *two: found.extend(two))
        report.table(rows, **options)
        return found[0].splitlines(), Reader(found[1])

    return show


def cell(shown, value, *others):
    """How a number is written in a column with others."""
    return shown([{"of": "", "x": each} for each in (value, *others)])[1].texts()[1][1]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ((0.5,), "0.500"),
        ((-0.0,), "0.000"),
        ((-0.0004, 1.0), "0.000"),
        ((-0.0006, 1.0), "-0.001"),
        ((3.2e-7, -1e-9), "3.2 × 10⁻⁷"),
        ((3.2e-7, 1.0), "0.000"),
        ((12345.6, 0.5), "12,346"),
        ((-2.5e12,), "-2.5 × 10¹²"),
        ((math.nan, 1.0), "nan"),
        ((np.float32(0.25),), "0.250"),
        ((4096,), "4,096"),
        ((np.int64(7),), "7"),
        ((True,), "yes"),
        ((None,), ""),
        (("0.417 [0.35, 0.48]",), "0.417 [0.35, 0.48]"),
        ((Interval(0.15, 0.1, 0.2),), "0.15 [0.10, 0.20]"),
        ((Interval(0.15, 0.146, 0.154),), "0.150 [0.146, 0.154]"),
        ((Interval(0.5, 0.5, 0.5),), "0.500 [0.500, 0.500]"),
        ((Interval(0.5, 0.49999, 0.50001),), "0.5000 [0.5000, 0.5000]"),
        ((Interval(320, 300, 340),), "320 [300, 340]"),
        ((Interval(math.nan, math.nan, math.nan), 0.5), "nan [nan, nan]"),
        ((Gain(0.2, 0.15, 0.25),), "+0.20 [+0.15, +0.25]"),
        ((Interval(0.2, -0.15, 0.55),), "+0.2 [-0.1, +0.6]"),
        ((Gain(-0.001, -0.051, 0.049),), "0.00 [-0.05, +0.05]"),
        ((Recall(0.5, 0.45, 0.55),), "0.50 [0.45, 0.55]"),
        ((Interval(*np.array([0.1, -0.05, 0.3])),), "+0.10 [-0.05, +0.30]"),
        ((0.0333, Interval(0.5, 0.45, 0.55)), "0.03"),
    ],
)
def test_a_number_is_written_as_it_is_read(shown, values, written):
    assert cell(shown, *values) == written


@few
@given(st.floats(-900, 900), st.floats(2e-4, 50))
def test_rounding_moves_an_interval_by_at_most_a_quarter_of_its_half_width(mean, half):
    _, (found,) = _table.column("x", [Interval(mean, mean - half, mean + half)], None)
    for text, number in zip(
        [found.main, *found.around[1:-1].split(", ")], [mean, mean - half, mean + half], strict=True
    ):
        assert abs(float(text) - number) <= max(half / 4, 0.5e-4) * (1 + 1e-9)
        assert not (text.startswith("-") and float(text) == 0)


def test_a_column_has_one_number_of_decimals_that_of_its_middle_interval(shown):
    rows = [{"of": "", "x": Interval(0.5, 0.5 - half, 0.5 + half)} for half in (0.05, 0.0004, 0.06)]
    assert [row[1] for row in shown(rows)[1].texts()[1:]] == [
        "0.50 [0.45, 0.55]",
        "0.50 [0.50, 0.50]",
        "0.50 [0.44, 0.56]",
    ]


def test_a_table_is_aligned_text_and_html_with_scopes(shown):
    lines, page = shown([{"way": "MMD", "": 3, "n": 0.5}, {"way": "a & b", "": 12, "n": None}])
    assert lines == ["way        n", "-----  --  -----", "MMD    3   0.500", "a & b  12"]
    (way, blank, number), (row, *_), _ = page.rows
    assert [way[0], blank[0], number[0], row[0]] == ["th", "td", "th", "th"]
    assert (way[1]["scope"], row[1]["scope"]) == ("col", "row")
    assert [each[1]["style"] for each in page.rows[1]] == [
        "text-align: left",
        "text-align: right",
        "text-align: right",
    ]
    assert page.wrapper["aria-label"] == "Table of 2 rows: way, n"
    assert (page.wrapper["role"], page.wrapper["tabindex"]) == ("region", "0")
    assert page.texts()[2] == ["a & b", "12", ""]


def test_words_from_outside_are_text(shown, monkeypatch):
    hostile = "<img src=x onerror=alert(1)>"
    _, page = shown([{hostile: hostile, "x": 1}])
    assert page.texts() == [[hostile, "x"], [hostile, "1"]]
    assert page.wrapper["aria-label"] == f"Table of 1 row: {hostile}, x"


@pytest.mark.parametrize(
    ("values", "way", "bold"),
    [
        ((0.5, 0.7, 0.6), "max", ["0.700"]),
        ((0.5, 0.7, 0.6), "min", ["0.500"]),
        ((0.70001, 0.7, 0.6), "max", ["0.700", "0.700"]),  # what shows the same digits is as good
        ((Interval(0.5, 0.4, 0.6), Interval(0.7, 0.6, 0.8), None), "max", ["0.70"]),
        ((3, "-", 3), "max", ["3", "3"]),
        ((math.nan, 0.2, 0.1), "max", ["0.200"]),
        ((math.nan, math.nan), "max", []),
        ((0.5, "-", None), "max", []),  # one number is no best one
        ((0.5,), "max", []),
    ],
)
def test_the_best_is_bold_and_marked(shown, values, way, bold):
    lines, page = shown([{"of": "", "x": value} for value in values], best={"x": way})
    assert page.bold == bold
    assert sum(line.endswith("←") for line in lines) == len(bold)


def test_bars_lie_on_the_scale_of_their_column():
    column = [Gain(0.2, 0.1, 0.3), Gain(-0.1, -0.2, 0.0), 0.05, None, "-"]
    _, cells = _table.column("x", column, None)
    assert cells[0].bar == pytest.approx((0.8, 0.6, 1, 0.4))  # from -0.2 to 0.3
    assert cells[1].bar == pytest.approx((0.2, 0, 0.4, 0.4))
    assert cells[2].bar == pytest.approx((0.5, 0.5, 0.5, 0.4))
    assert [each.bar for each in cells[3:]] == [None, None]
    _, cells = _table.column("x", [Interval(0.5, 0.4, 0.6), Interval(0.7, 0.6, 0.8)], None)
    assert cells[0].bar[3] is None  # no line at 0 where nothing is a difference
    _, cells = _table.column("x", [Gain(0.2, 0.1, 0.3)], None)
    assert cells[0].bar[3] == 0
    _, cells = _table.column("x", [Interval(1, 1, 1)], None)
    assert cells[0].bar is None


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ([], {}, ValueError, "rows must hold at least one dictionary"),
        ([{"a": 1}, {"b": 1}], {}, ValueError, r"rows must all have the keys \['a'\], got \['b'\] in row 1"),
        ([{"a": [1, 2]}], {}, TypeError, r"rows must hold .* in column 'a', got list: \[1, 2\]"),
        ([{"a": (0.5, 0.4, 0.6)}], {}, TypeError, "rows must hold .* or an interval in column 'a', got tuple"),
        ([{"a": 1}], {"best": {"b": "max"}}, ValueError, r"best must .* columns among \['a'\], got 'b'"),
        ([{"a": 1}], {"best": {"a": "most"}}, ValueError, "best must be 'max' or 'min' .*, got 'a': 'most'"),
        ([{"a": "x"}], {"best": {"a": "max"}}, ValueError, "best must name columns with numbers, got 'a'"),
    ],
)
def test_table_names_what_is_wrong(rows, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        report.table(rows, **options)


def test_without_a_notebook_a_table_is_printed_and_in_one_both_forms_are_displayed(monkeypatch, capsys):
    report.table([{"x": 1}])
    assert capsys.readouterr().out == "x\n-\n1\n"
    shown = []
    monkeypatch.setattr(report.InteractiveShell, "initialized", lambda: True)
    monkeypatch.setattr(report, "display", lambda data, raw: shown.append(data))
    report.table([{"x": 1}])
    assert shown[0]["text/plain"] == "x\n-\n1"
    assert "<table>" in shown[0]["text/html"]
    assert capsys.readouterr().out == ""


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


@pytest.mark.parametrize(
    ("rows", "opens"), [(8, "<style"), (9, '<details class="xlib-folded"><summary>All 9 rows</summary>')]
)
def test_a_long_table_is_folded_away(monkeypatch, rows, opens):
    pages = []
    monkeypatch.setattr(report, "output", lambda text, page: pages.append(page))
    report.table([{"at": row} for row in range(rows)])
    assert pages[0].startswith(opens)
