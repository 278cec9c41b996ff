"""What lesson 04 defines in front of the learner is held against xlib and against libraries."""

import ast
import json
import math

import numpy as np
import pytest
import results
import torch
import torch.nn.functional as F
import traitlets
from lessons import MAGIC, NOTEBOOKS, lesson, parts
from scenes import check_scene, walk
from scipy import integrate, stats
from sklearn.metrics.pairwise import rbf_kernel

from xlib import mmd
from xlib.course import report
from xlib.experiments.digits import halves, held_out_digits
from xlib.explore.panel import panel
from xlib.explore.scene import Scene, fixed

CELLS = {cell["id"]: cell["source"] for cell in json.loads((NOTEBOOKS / "04_mmd.ipynb").read_text("utf-8"))["cells"]}


@pytest.fixture(scope="module")
def shown():
    """The lesson's own functions, in one namespace as in its kernel."""
    found = lesson("04_mmd")
    scope = {"torch": torch, "math": math, "stats": stats, "mmd": mmd, "report": report}
    names = "bell humps phi polynomial powers gaussian repeats tables averages four_estimates truth blobs splits"
    names += (
        " p_values median_of_each rejected kernel loss_with_median coral_p_values short_mmd kept_for_backward move"
    )
    for name in names.split():
        exec(found.source(name), scope)
    return scope


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_kernels_are_those_of_scikit_learn(shown):
    a, b = drawn(7, 3), drawn(5, 3, seed=1)
    expected = rbf_kernel(a.numpy(), b.numpy(), gamma=1 / (2 * 1.5**2))
    np.testing.assert_allclose(shown["gaussian"](a, b, 1.5).numpy(), expected, atol=1e-5)
    torch.testing.assert_close(
        shown["polynomial"](a[:, :1], b[:, :1]), shown["phi"](a[:, :1]) @ shown["phi"](b[:, :1]).T
    )
    features = [shown["powers"](rows[:, :1], 1.0, 40) for rows in (a, b)]
    torch.testing.assert_close(
        features[0] @ features[1].T, shown["gaussian"](a[:, :1].double(), b[:, :1].double(), 1.0)
    )


def test_both_samples_have_mean_0_and_variance_1(shown):
    generator = torch.Generator().manual_seed(0)
    for name in ("bell", "humps"):
        values = shown[name](200_000, generator=generator)
        assert values.shape == (200_000, 1)
        assert values.mean().item() == pytest.approx(0, abs=0.01)
        assert values.var().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["biased", "unbiased", "linear"])
def test_estimates_are_those_of_xlib(shown, name):
    x, y = drawn(3, 10, 2), drawn(3, 10, 2, seed=1) + 0.5
    found = shown["four_estimates"](x, y, 0.8, drawn(3, 2, 4))[name]
    each = [mmd.mmd2(a, b, bandwidths=0.8, estimator=name) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(found, torch.stack(each), atol=1e-5, rtol=0)


def test_many_random_features_come_near_the_biased_estimate(shown):
    x, y, w = drawn(2, 10, 2), drawn(2, 10, 2, seed=1) + 0.5, drawn(2, 2, 100_000, seed=2) / 0.8
    found = shown["four_estimates"](x, y, 0.8, w)
    torch.testing.assert_close(found["rff"], found["biased"], atol=0.01, rtol=0)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 2.0])
def test_the_true_distance_is_what_integration_gives(shown, sigma):
    narrow = math.sqrt(1 - 0.95**2)
    grid = np.linspace(-12, 12, 4001)
    p = stats.norm.pdf(grid)
    q = (stats.norm.pdf(grid, -0.95, narrow) + stats.norm.pdf(grid, 0.95, narrow)) / 2
    smooth = np.exp(-(grid**2) / (2 * sigma**2))
    width = grid[1] - grid[0]
    inner = np.convolve(p - q, smooth, mode="same") * width
    assert shown["truth"](sigma) == pytest.approx(integrate.trapezoid((p - q) * inner, grid), rel=1e-4)


def test_signs_give_the_p_value_of_xlib(shown):
    x, y = drawn(15, 2), drawn(15, 2, seed=1) - 0.5
    signs = shown["splits"](15, 20_000, torch.Generator().manual_seed(2))
    assert (signs.sum(dim=1) == 0).all()
    assert (signs[0] == torch.tensor([1.0] * 15 + [-1.0] * 15)).all()
    z = torch.cat([x, y])
    p = shown["p_values"](shown["gaussian"](z, z, 1.0)[None], signs).item()
    generator = torch.Generator().manual_seed(3)
    expected = mmd.permutation_test(x, y, bandwidths=1.0, permutations=20_000, generator=generator).p_value
    assert p == pytest.approx(expected, abs=0.01)
    assert 0.001 < p < 0.5


def test_p_is_never_0_and_1_where_nothing_can_be_found(shown):
    signs = shown["splits"](6, 19, torch.Generator().manual_seed(0))
    far = torch.cat([drawn(6, 2), drawn(6, 2, seed=1) + 50])
    assert shown["p_values"](shown["gaussian"](far, far, 1.0)[None], signs).item() == pytest.approx(1 / 20)
    assert shown["p_values"](torch.ones(1, 12, 12), signs).item() == 1


def test_median_is_off_the_diagonal(shown):
    z = drawn(2, 9, 3)  # 36 pairs; torch takes the lower of the middle two
    expected = [torch.pdist(rows).median() for rows in z]
    found = shown["median_of_each"](torch.cdist(z, z))
    torch.testing.assert_close(found.flatten(), torch.stack(expected))


def test_wilson_interval_holds_the_share(shown):
    share, low, high = shown["rejected"](torch.tensor([0.01, 0.05, 0.2, 0.9]))
    assert share == 0.5
    assert 0 < low < 0.5 < high < 1


def test_coral_test_uses_the_statistic_of_numpy(shown):
    z = drawn(3, 40, 2)
    z[:, 20:] *= 4
    signs = shown["splits"](20, 99, torch.Generator().manual_seed(0))

    def statistic(rows, sign):
        covariances = [np.cov(rows[sign == side].numpy(), rowvar=False) for side in (1, -1)]
        return ((covariances[0] - covariances[1]) ** 2).sum()

    for rows, p in zip(z, shown["coral_p_values"](z, signs), strict=True):
        values = [statistic(rows, sign) for sign in signs]
        expected = sum(value >= values[0] * (1 - 1e-6) for value in values) / 100
        assert p.item() == pytest.approx(expected, abs=1e-6)


def test_a_detached_median_leaves_the_value_and_changes_the_gradient(shown):
    a, b = drawn(8, 2, seed=4).requires_grad_(), drawn(8, 2, seed=5) + 0.5
    losses = [shown["loss_with_median"](a, b, detach=detach) for detach in (True, False)]
    torch.testing.assert_close(*losses)
    held, free = (torch.autograd.grad(loss, a)[0] for loss in losses)
    assert ((free - held).norm(dim=1) > 1e-6).sum() <= 2


def test_the_short_version_is_off_by_a_constant_alone(shown):
    x, y = drawn(10, 4).requires_grad_(), drawn(10, 4, seed=1)
    short, right = shown["short_mmd"](x, y, sigma=2.0), mmd.mmd2(x, y, bandwidths=2.0)
    assert (short - right).item() == pytest.approx(2 / 9, abs=1e-5)
    torch.testing.assert_close(*(torch.autograd.grad(loss, x)[0] for loss in (short, right)), atol=1e-5, rtol=1e-3)
    unsquared = shown["short_mmd"](x, y, sigma=2.0, squared=False)
    assert torch.autograd.grad(unsquared, x)[0].isnan().all()


def test_what_is_kept_for_backward_grows_with_the_big_tensor(shown):
    x, y = drawn(16, 100).requires_grad_(), drawn(16, 100, seed=1)
    megabytes, _, gradient = shown["kept_for_backward"](lambda a, b: shown["short_mmd"](a, b, sigma=9.0), x, y)
    assert gradient.shape == x.shape
    assert 32 * 32 * 100 * 4 / 1e6 < megabytes < 1.5 * 32 * 32 * 100 * 4 / 1e6
    assert shown["kept_for_backward"](lambda a, b: mmd.mmd2(a, b, bandwidths=9.0), x, y)[0] < megabytes / 5


# -- exercises


@pytest.mark.parametrize("below_zero", [False, True])
def test_the_equal_splits_are_equal_but_for_rounding_and_no_other_is_near(below_zero):
    right, cases, _ = parts("fixed_p_value")
    title = "equal splits below 0" if below_zero else "equal splits"
    kernel, n, orders = next(args for found, _, *args in cases if found == title)
    assert kernel.dtype == torch.float32

    def value(order, dtype):
        k, m = kernel.to(dtype)[order][:, order], len(kernel) - n
        within = (k[:n, :n].sum() - n) / (n * (n - 1)) + (k[n:, n:].sum() - m) / (m * (m - 1))
        return (within - 2 * k[:n, n:].mean()).item()

    given = torch.arange(len(kernel))
    real = value(given, torch.float64)
    assert (real < 0) == below_zero
    apart = torch.tensor([value(order, torch.float64) - real for order in orders])
    same = torch.tensor([set(order[:n].tolist()) == set(range(n)) for order in orders])
    assert same.sum() == 20
    assert apart[same].abs().max() < 1e-7
    assert apart[~same].abs().min() > 1e-4  # so that any small room for rounding gives the same p
    rounded = torch.tensor([value(order, torch.float32) for order in orders[same]])
    assert (rounded < value(given, torch.float32)).any()
    assert right(kernel, n, orders).item() == pytest.approx((1 + (apart > -1e-6).sum().item()) / 41)


def test_far_from_the_origin_what_is_multiplied_out_is_lost_and_differences_are_not(shown):
    right, cases, _ = parts("mmd_unbiased")
    x, y, sigma = next(args for title, _, *args in cases if title == "far from the origin")
    differences = lesson("04_mmd").solution("mmd_unbiased")(x, y, sigma)
    torch.testing.assert_close(differences, right(x, y, sigma), atol=1e-5, rtol=0)
    table, exact = (shown["gaussian"](a, b, sigma).mean() for a, b in ((x, y), (x.double(), y.double())))
    assert abs(table - exact) > 0.001


def test_push_and_pull_of_the_solution_are_those_that_the_lesson_shows(shown):
    scope = {"torch": torch, "gaussian": shown["gaussian"], "report": report}
    exec("".join(CELLS["forces"]), scope)
    solution = lesson("04_mmd").solution("push_and_pull")
    for width, (push, pull) in scope["forces"].items():
        expected = solution(scope["x"].detach(), scope["y"], width)
        torch.testing.assert_close(torch.stack([push, pull], dim=1), expected, atol=1e-30, rtol=1e-6)
    assert "10⁻²⁴" in "".join(CELLS["forces-after"])
    assert 1e-25 < scope["forces"][0.3][1].mean() < 1e-23


def test_one_median_takes_the_gradient_of_two_points(shown):
    z = drawn(16, 2)
    held, free = (
        torch.autograd.functional.jacobian(lambda z, d=d: shown["loss_with_median"](*z.split(8), detach=d), z)
        for d in (True, False)
    )
    changed = ((free - held).norm(dim=1) > 1e-6).nonzero().flatten().tolist()
    assert len(changed) == 2
    between = torch.cdist(z, z)[changed[0], changed[1]].item()
    assert between == pytest.approx(torch.pdist(z).median().item(), rel=1e-4)


# -- the panels


@pytest.fixture
def samples():
    """The panel of two samples, as its cells make it."""
    return results.from_lesson("04_mmd", ("set-up", "drag-model", "drag-draw", "drag-panel"))


def p_value(scope):
    return float(scope["samples_panel"].alt_text.split(", p ")[1].split(";")[0])


def test_the_panel_of_two_samples_is_readable_everywhere(samples):
    walk(samples["samples_panel"], sigma=[0.1, 0.7, 3.0])
    for sample in (samples["two_samples"].twins, samples["two_samples"].ring):
        sample(None)
        samples["samples_panel"].still()
        check_scene(samples["samples_panel"].scene)


def test_the_panel_shows_the_test_of_xlib(samples):
    model, view = samples["two_samples"], samples["samples_panel"]
    x, y = (torch.tensor(sample, dtype=torch.float64) for sample in (model.x, model.y))
    draws = torch.Generator().manual_seed(0)
    test = mmd.permutation_test(x, y, bandwidths=model.sigma, permutations=199, generator=draws)
    assert view.alt_text.startswith(f"σ 0.70: unbiased MMD² {test.statistic:.3f}, p {test.p_value:.3f};")
    right = view.scene["axes"][1]
    counts = [sum(root**2 for root in mark["to"]) for mark in right["marks"][:2]]
    assert counts == pytest.approx([199, 200 * test.p_value - 1])
    assert right["title"] == f"p = (1 + {counts[1]:.0f}) / 200 = {test.p_value:.3f}"
    codes = torch.tensor([[int(digit) for digit in code] for code in samples["split_codes"]], dtype=torch.float64)
    assert (codes.sum(dim=1) == 8).all()
    z = torch.cat([x, y])
    null = [mmd.mmd2(z[code == 1], z[code == 0], bandwidths=model.sigma) for code in codes]
    torch.testing.assert_close(torch.stack(null), test.null)  # what the browser is given deals out the same


def test_what_is_folded_below_the_panel_is_what_one_sees(samples):
    model, text = samples["two_samples"], "".join(CELLS["drag-answers"])
    start = model.y
    model.sigma = 0.1
    assert "MMD² is .000 and p is .76" in text
    assert "unbiased MMD² 0.000, p 0.760;" in samples["samples_panel"].alt_text
    model.twins(None)
    assert "It is −.18 with σ = .7, and −.25 with σ = .1" in text
    for sigma, value in ((0.1, "−0.250"), (0.7, "−0.179")):
        model.sigma = sigma
        assert f"unbiased MMD² {value}, p 1.000;" in samples["samples_panel"].alt_text
    model.ring(None)
    assert np.mean(model.y, axis=0) == pytest.approx(np.mean(model.x, axis=0), abs=1e-6)
    assert "σ from .2 to 1.1 does: p ≤ .05. With 1.2 and more" in text
    for tenths in range(1, 31):
        model.sigma = tenths / 10
        assert (p_value(samples) <= 0.05) == (2 <= tenths <= 11)
    model.y, model.sigma = start, 0.7
    assert p_value(samples) == 0.02


def test_the_two_ways_below_the_first_panel_lead_there(samples):
    text = "".join(CELLS["question"])
    for way, words, p in (("twins", "makes $p$ 1:", 1.0), ("ring", "makes it .005,", 0.005)):
        assert words in text
        getattr(samples["two_samples"], way)(None)
        assert p_value(samples) == p


@pytest.mark.parametrize("ps", [[0.195] + [0.005] * 10, [0.5] * 11, [0.005] * 11])
def test_the_dial_is_readable_everywhere(ps):
    rates = [0.95, 0.949, 0.952, 0.95, 0.942, 0.932, 0.905, 0.827, 0.707, 0.597, 0.494]
    apart = [-0.0002, 0.0018, 0.0094, 0.0234, 0.0436, 0.0691, 0.0978, 0.1268, 0.1515, 0.168, 0.1749]
    found = [dict(zip(("accuracy", "MMD²", "p"), row, strict=True)) for row in zip(rates, apart, ps, strict=True)]
    scope = {"along": {step / 10: row for step, row in enumerate(found)}, "held_out_digits": held_out_digits}
    scope |= {"torch": torch, "F": F, "traitlets": traitlets, "fixed": fixed, "Scene": Scene}
    scope |= {"BLUE": "#0072B2", "ORANGE": "#D55E00"}
    exec("".join(CELLS["dial-draw"]), scope)
    model = scope["Dial"]()
    dial = panel(model, scope["draw_dial"], controls={"strength": (0.0, 1.0, 0.1)}, play="strength")
    walk(dial, strength=[0.0, 0.1, 0.5, 1.0])
    model.strength = 0.0
    assert dial.alt_text.endswith(
        f"0.950 of the held-out ones are read right, and MMD² between clean and photographed "
        f"features is −0.0002, p = {ps[0]:.3f}."
    )
    solid, hollow = (mark for mark in dial.scene["axes"][2]["marks"] if mark["mark"] == "points")
    assert len(hollow["x"]) == sum(p > 0.05 for p in ps)
    assert len(solid["x"]) == sum(p <= 0.05 for p in ps)


# -- section 7


@pytest.fixture
def section():
    """Functions of section 7 over features made here: 100 scans, two numbers each, in which digits differ."""
    digit = torch.arange(10).repeat(10)
    features = {0.0: drawn(100, 2) + 3 * digit[:, None], 1.0: drawn(100, 2, seed=1) + 3 * digit[:, None]}
    features[1.0][digit == 4] += 100
    scope = {"torch": torch, "mmd": mmd, "halves": halves, "digit": digit, "STRENGTH": 1.0, "device": "cpu"}
    scope |= {"score": lambda model, strength: (0.5, features[strength]), "clean": features[0.0], "width": 3.0}
    scope["these"], scope["those"] = halves(digit)
    found = lesson("04_mmd")
    for name in ("distance", "digit_distances", "p_of_halves"):
        exec(found.source(name), scope)
    return scope


def test_distances_of_digits_are_mmd2_of_their_rows_with_one_ladder(section):
    apart = section["digit_distances"](None)
    x, y = (section["score"](None, s)[1][section[half]] for s, half in ((0.0, "these"), (1.0, "those")))
    sigma = mmd.median_bandwidth(x, y)
    of_x, of_y = (section["digit"][section[half]] for half in ("these", "those"))
    for i, j in ((0, 0), (4, 4), (2, 7)):
        expected = mmd.mmd2(x[of_x == i], y[of_y == j], bandwidths=[sigma * step for step in mmd.LADDER])
        assert apart[i, j].item() == pytest.approx(expected.item(), abs=1e-5)
    assert apart[4, 4] > apart.diag().median() + 0.2  # the digit that was moved away
    assert (apart.argmin(dim=0) == torch.arange(10)).sum() >= 8


def test_the_distance_is_a_test_within_digits_of_different_scans(section):
    assert not set(section["these"].tolist()) & set(section["those"].tolist())
    of_x, of_y = (section["digit"][section[half]] for half in ("these", "those"))
    assert torch.equal(of_x, of_y)
    assert section["distance"](None, 1.0).p_value == 1 / 200
    x, y = (section["score"](None, s)[1][section[half]] for s, half in ((0.0, "these"), (1.0, "those")))
    draws = torch.Generator().manual_seed(0)
    expected = mmd.permutation_test(x, y, groups=(of_x, of_y), permutations=199, generator=draws)
    assert torch.equal(section["distance"](None, 1.0).null, expected.null)


def test_the_trap_compares_halves_that_were_drawn_as_it_says(section, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "randperm", lambda n, generator: drawn(n, seed=len(seen)).argsort())
    section["digit"] = torch.arange(10).repeat(40)
    section["clean"] = features = torch.arange(400.0)[:, None]

    def keep(x, y, *, groups, **options):
        seen.append((x, y, groups))
        return mmd.PermutationTest(None, 0.5, None)

    monkeypatch.setattr(mmd, "permutation_test", keep)
    for balanced, within in ((True, True), (True, False), (False, False)):
        section["draws"] = None
        section["p_of_halves"](features, balanced=balanced, within=within)
        x, y, groups = seen[-1]
        assert len(x) == len(y) == 150
        assert not set(x.flatten().tolist()) & set(y.flatten().tolist())  # no scan is in both
        of_x, of_y = (sample.flatten().long() % 10 for sample in (x, y))
        uneven = (of_x.bincount() - of_y.bincount()).abs().max()
        assert uneven <= 1 if balanced else uneven > 1
        assert (groups is not None) == within
        if within:
            assert torch.equal(groups[0], of_x)
            assert torch.equal(groups[1], of_y)


def test_after_the_trap_no_test_deals_out_at_random():
    stored = json.loads((NOTEBOOKS / "04_mmd.ipynb").read_text("utf-8"))["cells"]
    ids = [cell["id"] for cell in stored]
    section = stored[ids.index("trap-after") : ids.index("wrong")]
    code = "\n".join(MAGIC.sub("pass", "".join(c["source"])) for c in section if c["cell_type"] == "code")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    tests = [call for call in calls if getattr(call.func, "attr", "") == "permutation_test"]
    assert [[k.arg for k in call.keywords if k.arg == "groups"] for call in tests] == [["groups"]]
