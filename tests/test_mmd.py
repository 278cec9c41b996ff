"""MMD against loops over floats, explicit embeddings, scikit-learn, torchmetrics, pytorch-adapt and numpy."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_adapt.layers import CORALLoss, MMDLoss
from pytorch_metric_learning.distances import LpDistance
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel
from torch.testing import assert_close
from torchmetrics.image.kid import maximum_mean_discrepancy

from xlib import mmd
from xlib.data import digits
from xlib.experiments.digits import halves
from xlib.mmd import coral, median_bandwidth, mmd2, permutation_test, witness

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**31)
sizes = st.integers(2, 9)
quadratic = st.sampled_from(["unbiased", "biased"])
ladders = st.sampled_from(
    [
        [1.0],
        [0.5, 2**-0.5, 1.0, 2**0.5, 2.0],  # steps of √2: one exponential
        [4.0, 1.0, 0.5, 2.0, 0.25],  # steps of 2, in no order
        [0.4, 0.7, 1.0, 1.7, 2.3],  # no ladder
        [1.0, 1.0, 3.0, 24.0],  # repeated; a step too wide to square across
        [2 ** (k / 2) for k in range(-10, 11)],  # more squarings than one exponential may serve
    ]
)


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def two(seed, n, m, d=3, dtype=torch.float64):
    return normal(seed, n, d, dtype=dtype), normal(seed + 1, m, d, dtype=dtype) * 1.5 + 0.5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[3, 1024], ids=["many tiles", "one tile"])
def tiles(request, monkeypatch):
    monkeypatch.setattr(mmd, "TILE", request.param)


def k(a, b, bandwidths):
    squared = math.fsum((p - q) ** 2 for p, q in zip(a, b, strict=True))
    return math.fsum(math.exp(-squared / (2 * sigma**2)) for sigma in bandwidths) / len(bandwidths)


def loops(x, y, bandwidths, estimator):
    """The definitions, in floats."""
    x, y = x.tolist(), y.tolist()
    n, m = len(x), len(y)
    if estimator == "linear":
        pairs = [(x[i], x[i + 1], y[i], y[i + 1]) for i in range(0, 2 * (min(n, m) // 2), 2)]
        terms = [
            k(a, b, bandwidths) + k(p, q, bandwidths) - k(a, q, bandwidths) - k(b, p, bandwidths)
            for a, b, p, q in pairs
        ]
        return math.fsum(terms) / len(pairs)
    unbiased = estimator == "unbiased"

    def within(s):
        total = math.fsum(
            k(a, b, bandwidths) for i, a in enumerate(s) for j, b in enumerate(s) if not (unbiased and i == j)
        )
        return total / (len(s) * (len(s) - unbiased))

    return within(x) + within(y) - 2 * math.fsum(k(a, b, bandwidths) for a in x for b in y) / (n * m)


def simple(x, y, bandwidths, estimator="unbiased"):
    """The definition again, in plain torch without a matrix product, for autograd."""

    def kernel(a, b):
        squared = (a[:, None] - b[None]).square().sum(dim=2)
        return sum(torch.exp(-squared / (2 * sigma**2)) for sigma in bandwidths) / len(bandwidths)

    n, m = len(x), len(y)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    if estimator == "biased":
        return xx.mean() + yy.mean() - 2 * xy.mean()
    return (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()


# -- values


@few
@given(seeds, sizes, sizes, st.integers(1, 4), ladders, st.sampled_from(["unbiased", "biased", "linear"]))
def test_estimators_are_their_definitions(seed, n, m, d, bandwidths, estimator):
    x, y = two(seed, n, m, d)
    found = mmd2(x, y, bandwidths=bandwidths, estimator=estimator)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(loops(x, y, bandwidths, estimator), abs=1e-12)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize(("n", "m"), [(7, 4), (6, 6), (3, 11), (2, 2)])
def test_values_and_gradients_do_not_depend_on_tiles(n, m, estimator):
    bandwidths = [0.5, 2**-0.5, 1.0, 3.0]
    ours, theirs = ([z.requires_grad_() for z in two(0, n, m)] for _ in range(2))
    found = mmd2(*ours, bandwidths=bandwidths, estimator=estimator)
    expected = simple(*theirs, bandwidths, estimator)
    (3 * found).backward()
    (3 * expected).backward()
    assert_close(found, expected, rtol=0, atol=1e-12)
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine.grad, other.grad, rtol=0, atol=1e-12)


@few
@given(seeds, ladders, quadratic)
def test_gradients_by_finite_differences(seed, bandwidths, estimator):
    x, y = (z.requires_grad_() for z in two(seed, 4, 3, 2))
    assert torch.autograd.gradcheck(lambda x, y: mmd2(x, y, bandwidths=bandwidths, estimator=estimator), (x, y))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: mmd2(x, y, bandwidths=[1.0, 2.0], estimator="linear"),
        lambda x, y: mmd2(x, y, bandwidths=[1.0, 2.0], estimator="rff", features=7, generator=seeded()),
        coral,
    ],
    ids=["linear", "rff", "coral"],
)
def test_the_other_gradients_by_finite_differences(loss):
    assert torch.autograd.gradcheck(loss, tuple(z.requires_grad_() for z in two(3, 5, 4)))


def test_only_one_side_may_need_a_gradient():
    x, y = two(0, 5, 6)
    both = [z.clone().requires_grad_() for z in (x, y)]
    mmd2(*both, bandwidths=1).backward()
    y.requires_grad_()
    mmd2(x, y, bandwidths=1).backward()
    assert x.grad is None
    assert_close(y.grad, both[1].grad)


def test_the_gradient_has_no_gradient_and_says_so():
    x, y = (z.requires_grad_() for z in two(0, 5, 6))
    (grad,) = torch.autograd.grad(mmd2(x, y, bandwidths=1).square(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_biased_is_the_distance_of_explicit_mean_embeddings():
    """In one dimension exp(-(a - b)²/2) = sum_k φ_k(a) φ_k(b), φ_k(a) = exp(-a²/2) a^k / √k!."""
    x, y = two(1, 8, 5, 1)
    order = torch.arange(60, dtype=torch.float64)
    features = [(torch.exp(-(s**2) / 2) * s**order / torch.lgamma(order + 1).mul(0.5).exp()) for s in (x, y)]
    gap = features[0].mean(dim=0) - features[1].mean(dim=0)
    assert_close(mmd2(x, y, bandwidths=1, estimator="biased"), gap.square().sum(), rtol=0, atol=1e-10)


@few
@given(seeds, sizes, sizes)
def test_kernel_matrices_of_scikit_learn(seed, n, m):
    x, y = two(seed, n, m)
    xx, yy, xy = (rbf_kernel(a, b, gamma=1 / (2 * 1.3**2)) for a, b in ((x, x), (y, y), (x, y)))
    expected = xx.mean() + yy.mean() - 2 * xy.mean()
    assert mmd2(x, y, bandwidths=1.3, estimator="biased").item() == pytest.approx(expected, abs=1e-12)


def test_torchmetrics_kid_formula_at_equal_sizes():
    x, y = two(5, 12, 12)
    xx, yy, xy = (torch.from_numpy(rbf_kernel(a, b, gamma=0.5)) for a, b in ((x, x), (y, y), (x, y)))
    assert_close(mmd2(x, y, bandwidths=1), maximum_mean_discrepancy(xx, xy, yy), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("estimator", "theirs"), [("unbiased", "quadratic"), ("linear", "linear")])
def test_parity_with_pytorch_adapt(estimator, theirs):
    bandwidths = [0.5, 1.0, 1.7]
    scales = torch.tensor([1 / (2 * sigma**2) for sigma in bandwidths], dtype=torch.float64)
    distance = LpDistance(normalize_embeddings=False, power=2)
    loss = MMDLoss(kernel_scales=scales, bandwidth=1.0, dist_func=distance, mmd_type=theirs)
    x, y = two(9, 10, 10)
    assert_close(mmd2(x, y, bandwidths=bandwidths, estimator=estimator), loss(x, y), rtol=0, atol=1e-10)


# -- properties


@few
@given(seeds, sizes, sizes, ladders, quadratic)
def test_symmetric_and_blind_to_order_and_shift(seed, n, m, bandwidths, estimator):
    x, y = two(seed, n, m)
    value = mmd2(x, y, bandwidths=bandwidths, estimator=estimator)
    shuffled = x[torch.randperm(n, generator=seeded(seed))], y[torch.randperm(m, generator=seeded(seed))]
    for other in ((y, x), shuffled, (x + 1e4, y + 1e4)):
        assert_close(mmd2(*other, bandwidths=bandwidths, estimator=estimator), value, rtol=0, atol=1e-9)


def test_float32_far_from_the_origin():
    x, y = two(0, 40, 50, 16)
    x, y = (x * 64).round() / 64, (y * 64).round() / 64  # so that adding 1,000 in float32 is exact
    near = mmd2(x, y, bandwidths=4)
    assert_close(mmd2(x.float() + 1000, y.float() + 1000, bandwidths=4).double(), near, rtol=0, atol=2e-6)


@few
@given(seeds, sizes, sizes, ladders)
def test_biased_is_not_negative_and_unbiased_plus_the_diagonals(seed, n, m, bandwidths):
    x, y = two(seed, n, m)
    biased = mmd2(x, y, bandwidths=bandwidths, estimator="biased").item()
    assert biased >= -1e-12
    assert mmd2(x, x.flip(0), bandwidths=bandwidths, estimator="biased").item() == pytest.approx(0, abs=1e-12)
    off_x, off_y = (
        math.fsum(k(a, b, bandwidths) for a, b in itertools.permutations(s.tolist(), 2)) / (len(s) * (len(s) - 1))
        for s in (x, y)
    )
    difference = (1 - off_x) / n + (1 - off_y) / m  # the diagonal's ones, each in place of an average pair
    unbiased = mmd2(x, y, bandwidths=bandwidths).item()
    assert biased - unbiased == pytest.approx(difference, abs=1e-12)


@pytest.mark.parametrize("estimator", ["unbiased", "linear"])
def test_zero_on_average_where_the_distributions_are_the_same(estimator):
    draws = [normal(seed, 14, 2) for seed in range(1500)]
    values = np.array([mmd2(z[:8], z[8:], bandwidths=[0.7, 1.4], estimator=estimator).item() for z in draws])
    low, high = scipy.stats.t.interval(0.999, len(values) - 1, values.mean(), values.std(ddof=1) / len(values) ** 0.5)
    assert low < 0 < high
    assert high - low < 0.05
    assert 0.3 < (values < 0).mean() < 0.7  # a negative estimate is nothing unusual


def test_linear_and_unbiased_have_one_expectation():
    """N(0, 1) against N(1, 1), σ = 1: E k = exp(-δ²/6) / √3."""
    expected = 2 * (1 - math.exp(-1 / 6)) / 3**0.5
    values = {"unbiased": [], "linear": []}
    for seed in range(400):
        x, y = normal(seed, 20, 1), normal(seed + 10_000, 30, 1) + 1
        for estimator, found in values.items():
            found.append(mmd2(x, y, bandwidths=1, estimator=estimator).item())
    for found in values.values():
        assert abs(np.mean(found) - expected) < 4 * np.std(found) / len(found) ** 0.5
    assert np.std(values["linear"]) > 1.5 * np.std(values["unbiased"])


def test_random_features_approach_the_biased_estimator():
    x, y = two(2, 30, 20)
    bandwidths = [0.5, 1.0, 4.0]
    exact = mmd2(x, y, bandwidths=bandwidths, estimator="biased").item()

    def errors(features):
        found = [
            mmd2(x, y, bandwidths=bandwidths, estimator="rff", features=features, generator=seeded(s)).item()
            for s in range(60)
        ]
        return np.array(found) - exact

    little, much = errors(20), errors(2000)
    assert abs(little.mean()) < 4 * little.std() / 60**0.5
    assert much.std() < little.std() / 5  # 10 in the limit
    assert abs(much.mean()) < 4 * much.std() / 60**0.5


def test_random_features_repeat_with_their_generator():
    x, y = two(0, 5, 5)
    first, again, other = (mmd2(x, y, estimator="rff", generator=seeded(s)).item() for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear", "rff"])
def test_16_bits_are_computed_in_32(dtype, estimator):
    x, y = two(0, 9, 8, 4, dtype=dtype)
    x.requires_grad_()
    options = {"bandwidths": 1.5, "estimator": estimator, "generator": seeded()}
    found = mmd2(x, y, **options)
    found.backward()
    assert found.dtype == torch.float32
    assert x.grad.dtype == dtype
    options["generator"] = seeded()
    assert_close(found, mmd2(x.detach().float(), y.float(), **options))


def test_autocast_changes_nothing():
    x, y = two(0, 20, 20, 8, dtype=torch.float32)

    def everything():
        return [
            *(mmd2(x, y, bandwidths=2, estimator=e, generator=seeded()) for e in ("unbiased", "linear", "rff")),
            coral(x, y),
            witness(x, x, y, bandwidths=2),
            permutation_test(x, y, permutations=20, generator=seeded()).null,
        ]

    plain = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = everything()
    assert_close(mixed, plain, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_cancels_under_the_median_heuristic(scale):
    x, y = two(4, 12, 9, dtype=torch.float32)
    assert_close(mmd2(x * scale, y * scale), mmd2(x, y), rtol=1e-4, atol=1e-5)


def test_more_squarings_than_one_exponential_serves_stay_accurate():
    x, y = two(0, 60, 50, 4)
    bandwidths = [2 ** (step / 2) for step in range(-16, 17)]
    assert_close(mmd2(x, y, bandwidths=bandwidths), simple(x, y, bandwidths), rtol=0, atol=1e-13)
    single = mmd2(x.float(), y.float(), bandwidths=bandwidths).double()
    assert_close(single, simple(x, y, bandwidths), rtol=0, atol=1e-6)


def test_a_ladder_takes_one_exponential():
    def plan(sigmas):
        return mmd._squarings([(max(sigmas) / sigma) ** 2 for sigma in sorted(sigmas, reverse=True)], 2.3e-16)

    assert plan([3 * step for step in mmd.LADDER]) == [None, 1, 1, 1, 1]
    assert plan([0.25, 0.5, 1, 2, 4]) == [None, 2, 2, 2, 2]
    assert plan([1, 1.1, 2.2]) == [None, 2, None]
    assert plan([1, 1]) == [None, 0]


# -- the bandwidth


@few
@given(seeds, sizes, sizes)
def test_median_of_all_pairs_of_different_rows(seed, n, m):
    x, y = two(seed, n, m)
    found = median_bandwidth(x, y)
    assert found.dtype == torch.float64
    assert found.shape == ()
    assert found.item() == pytest.approx(np.median(pdist(torch.cat([x, y]).numpy())), rel=1e-12)


def test_median_is_a_constant_of_the_gradient():
    x, y = (z.requires_grad_() for z in two(0, 9, 8))
    sigma = median_bandwidth(x, y)
    assert not sigma.requires_grad
    (found,) = torch.autograd.grad(mmd2(x, y), x)
    bandwidths = [sigma.item() * step for step in (0.5, 2**-0.5, 1, 2**0.5, 2)]
    (expected,) = torch.autograd.grad(simple(x, y, bandwidths), x)
    assert_close(found, expected, rtol=0, atol=1e-12)


def test_median_of_many_rows_is_near_and_blind_to_order():
    x, y = two(0, 2500, 1500, 6)
    exact = np.median(pdist(torch.cat([x, y]).numpy()))
    found = median_bandwidth(x, y).item()
    assert found == pytest.approx(exact, rel=0.01)
    z = torch.cat([x, y])[torch.randperm(4000, generator=seeded())]
    assert median_bandwidth(z[:700], z[700:]).item() == pytest.approx(found, rel=1e-9)


def test_median_that_is_zero_is_refused():
    with pytest.raises(ValueError, match="x and y must not coincide in half of their 10 pairs"):
        median_bandwidth(torch.zeros(4, 2), torch.ones(1, 2))


@pytest.mark.parametrize("bandwidths", [[1.0, 2.0], (2.0, 1.0), torch.tensor([1.0, 2.0]), np.array([1.0, 2.0])])
def test_bandwidths_come_in_any_form(bandwidths):
    x, y = two(0, 4, 5)
    assert_close(mmd2(x, y, bandwidths=bandwidths), simple(x, y, [1.0, 2.0]))


def test_one_bandwidth_may_be_a_number_or_a_tensor():
    x, y = two(0, 4, 5)
    for one in (2, 2.0, torch.tensor(2.0), np.float64(2)):
        assert_close(mmd2(x, y, bandwidths=one), simple(x, y, [2.0]))


# -- the permutation test


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("n", "m"), [(3, 5), (5, 3), (4, 4), (2, 7)])
def test_null_values_are_mmd2_of_the_rows_dealt_out(n, m):
    x, y = two(0, n, m)
    result = permutation_test(x, y, bandwidths=[0.7, 1.5], permutations=40, generator=seeded())
    assert_close(result.statistic, mmd2(x, y, bandwidths=[0.7, 1.5]), rtol=0, atol=1e-12)
    z, possible = torch.cat([x, y]), []
    for chosen in itertools.combinations(range(n + m), n):
        member = torch.zeros(n + m, dtype=torch.bool)
        member[list(chosen)] = True
        possible.append(mmd2(z[member], z[~member], bandwidths=[0.7, 1.5]).item())
    possible = np.array(possible)
    assert possible.mean() == pytest.approx(0, abs=1e-12)  # over all splits, exactly
    assert np.abs(result.null.numpy()[:, None] - possible).min(axis=1).max() < 1e-12
    assert result.null.shape == (40,)
    assert len(result.null.unique()) > 15
    exceeding = (result.null.numpy() >= result.statistic.item() - 1e-12).sum()
    assert result.p_value == (1 + exceeding) / 41


def test_all_splits_are_equally_likely():
    z = normal(0, 5, 2)
    null = permutation_test(z[:2], z[2:], bandwidths=1, permutations=5000, generator=seeded(3)).null
    _, counts = (null * 1e9).round().unique(return_counts=True)
    assert len(counts) == 10
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("n", "m"), [(12, 12), (5, 20)])
def test_p_values_are_uniform_under_the_null(n, m):
    generator = seeded(n)
    p = []
    for seed in range(600):
        z = normal(seed, n + m, 2)
        p.append(permutation_test(z[:n], z[n:], permutations=19, generator=generator).p_value)
    counts = np.bincount(np.round(np.array(p) * 20).astype(int), minlength=21)
    assert counts[0] == 0
    assert scipy.stats.chisquare(counts[1:]).pvalue > 1e-3


def test_a_difference_is_found():
    x, y = normal(0, 40, 3), normal(1, 50, 3) + 1
    result = permutation_test(x, y, permutations=199, generator=seeded())
    assert result.p_value == 1 / 200
    assert isinstance(result.p_value, float)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_splits_count_as_equal(dtype):
    """3 + 3 rows have 10 splits of each value twice: the best one still gets p of 1/10, not of rounding's choice."""
    for seed in range(40):
        x, y = normal(seed, 3, 4, dtype=dtype), normal(seed + 1, 3, 4, dtype=dtype) + 9
        p = permutation_test(x, y, permutations=4000, generator=seeded(seed)).p_value
        assert p == pytest.approx(0.1, abs=0.03)


def test_blocks_of_permutations_change_nothing_but_the_draws(monkeypatch):
    x, y = two(0, 6, 8)
    monkeypatch.setattr(mmd, "SPLITS", 14 * 7)
    result = permutation_test(x, y, permutations=300, generator=seeded())
    assert result.null.shape == (300,)
    assert_close(result.statistic, mmd2(x, y), rtol=0, atol=1e-12)
    assert abs(result.null.mean()) < 4 * result.null.std() / 300**0.5
    assert len(result.null.unique()) > 200


def test_very_unequal_sizes_lose_no_digits():
    x, y = two(0, 900, 4, 8, dtype=torch.float32)
    result = permutation_test(x, y, bandwidths=3, permutations=10, generator=seeded())
    assert_close(result.statistic.double(), simple(x.double(), y.double(), [3.0]), rtol=0, atol=3e-6)


# -- the permutation test within groups

PAIR = torch.tensor([4, 4, -7]), torch.tensor([4, -7, 4, -7, -7])


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(
    ("of_x", "of_y", "count"),
    [
        ([4, 4, -7], [4, -7, 4, -7, -7], 6 * 4),  # names in no order, one below 0
        ([0, 1, 0, 1], [1, 0, 1, 0], 6 * 6),
        ([0, 0, 1, 1, 1], [1, 2], 4),  # 0 is x's alone and 2 is y's: those rows stay; and x is the larger one
        ([3, 1, 2], [1, 2, 3], 2**3),
        ([5, 5], [5, 5, 5], 10),
    ],
)
def test_null_values_are_mmd2_of_all_splits_within_groups(of_x, of_y, count):
    x, y = two(0, len(of_x), len(of_y))
    z, labels, possible = torch.cat([x, y]), of_x + of_y, []
    for chosen in itertools.combinations(range(len(z)), len(x)):
        if sorted(labels[i] for i in chosen) == sorted(of_x):
            member = torch.zeros(len(z), dtype=torch.bool)
            member[list(chosen)] = True
            possible.append(mmd2(z[member], z[~member], bandwidths=[0.7, 1.5]).item())
    assert len(possible) == count
    groups = torch.tensor(of_x), torch.tensor(of_y)
    result = permutation_test(x, y, groups=groups, bandwidths=[0.7, 1.5], permutations=600, generator=seeded())
    assert_close(result.statistic, mmd2(x, y, bandwidths=[0.7, 1.5]), rtol=0, atol=1e-12)
    gaps = np.abs(result.null.numpy()[:, None] - np.array(possible))
    assert gaps.min(axis=1).max() < 1e-12  # no other split ...
    assert gaps.min(axis=0).max() < 1e-12  # ... and all of these
    exceeding = (result.null.numpy() >= result.statistic.item() - 1e-12).sum()
    assert result.p_value == (1 + exceeding) / 601
    exact = np.mean(np.array(possible) >= result.statistic.item() - 1e-12)
    assert result.p_value == pytest.approx(exact, abs=0.1)


def test_all_splits_within_groups_are_equally_likely():
    x, y = two(0, 3, 5)
    null = permutation_test(x, y, groups=PAIR, bandwidths=1, permutations=6000, generator=seeded(3)).null
    _, counts = (null * 1e9).round().unique(return_counts=True)
    assert len(counts) == 24
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("n", "m"), [(40, 60), (60, 40), (50, 50)])
def test_without_groups_the_rows_are_dealt_out_as_ever_and_one_group_changes_nothing(n, m):
    x, y = two(0, n, m, dtype=torch.float32)
    plain = permutation_test(x, y, bandwidths=1.5, permutations=50, generator=seeded(4))
    z, small = torch.cat(sorted((x, y), key=len)), min(n, m)
    chosen = torch.rand(50, len(z), generator=seeded(4)).argsort(dim=1)[:, :small]  # nothing else is drawn
    for order, value in zip(chosen, plain.null, strict=True):
        member = torch.zeros(len(z), dtype=torch.bool)
        member[order] = True
        assert_close(value, mmd2(z[member], z[~member], bandwidths=1.5), rtol=0, atol=1e-5)
    one = torch.full((n,), 8), torch.full((m,), 8)
    grouped = permutation_test(x, y, groups=one, bandwidths=1.5, permutations=50, generator=seeded(4))
    assert torch.equal(grouped.null, plain.null)
    assert grouped.p_value == plain.p_value


def test_names_of_groups_mean_nothing_and_neither_does_which_sample_is_first():
    x, y = two(0, 30, 45)
    groups = torch.arange(30) % 4, torch.arange(45) % 4
    names = torch.tensor([700, -3, 2**62, 0])
    found = permutation_test(x, y, groups=groups, permutations=60, generator=seeded())
    renamed = permutation_test(x, y, groups=tuple(names[g] for g in groups), permutations=60, generator=seeded())
    swapped = permutation_test(y, x, groups=list(groups[::-1]), permutations=60, generator=seeded())
    assert torch.equal(found.null, renamed.null)
    assert torch.equal(found.null, swapped.null)
    assert found.p_value == swapped.p_value


def uniform(p, permutations, seed=0):
    """p-value of Kolmogorov and Smirnov's test that p, whole numbers of 1 / (1 + permutations), are uniform."""
    spread = np.array(p) - np.random.default_rng(seed).random(len(p)) / (1 + permutations)
    return scipy.stats.kstest(spread, "uniform").pvalue


def test_p_values_of_halves_balanced_by_digit_are_uniform_with_groups_and_not_without():
    """Lesson 04, section 7: two halves of the held-out scans with as many of each digit, and nothing to find."""
    scans, labels = digits.load("test")
    rows = digits.resized(scans, 8).flatten(1)
    generator, p = seeded(), {"within digits": [], "balanced": [], "at random": []}
    for _ in range(300):
        some = torch.randperm(len(rows), generator=generator)[:200]
        some = some[torch.cat(halves(labels[some]))]  # as many of each digit, but for odd ones
        x, y = (rows[half] for half in some.chunk(2))
        of_x, of_y = (labels[half] for half in some.chunk(2))
        options = {"bandwidths": 2.0, "permutations": 99, "generator": generator}
        p["balanced"].append(permutation_test(x, y, **options).p_value)
        p["within digits"].append(permutation_test(x, y, groups=(of_x, of_y), **options).p_value)
        x, y = rows[some[torch.randperm(len(some), generator=generator)]].chunk(2)
        p["at random"].append(permutation_test(x, y, **options).p_value)
    assert uniform(p["within digits"], 99) > 1e-3
    assert uniform(p["at random"], 99) > 1e-3  # random halves are what a random deal can judge
    assert uniform(p["balanced"], 99) < 1e-12
    assert np.mean(np.array(p["balanced"]) <= 0.2) < 0.06  # far too few, and nothing would be found


def test_a_difference_that_balance_hides_is_found_within_groups():
    labels = torch.arange(120) % 6
    centres = 6 * normal(9, 6, 2)
    x, y = centres[labels] + normal(0, 120, 2) * 0.5, centres[labels] + normal(1, 120, 2) * 0.5 + 0.3
    options = {"permutations": 199, "generator": seeded()}
    assert permutation_test(x, y, **options).p_value > 0.9
    assert permutation_test(x, y, groups=(labels, labels), **options).p_value == 1 / 200


def test_other_shares_of_the_groups_are_no_difference_within_them():
    generator, plain, within = seeded(), [], []
    of_x, of_y = torch.arange(60) % 3 // 2, (torch.arange(60) % 3 + 1) // 2  # a third of x is 1, two thirds of y
    for seed in range(200):
        x, y = normal(seed, 60, 2) + 3 * of_x[:, None], normal(seed + 500, 60, 2) + 3 * of_y[:, None]
        options = {"permutations": 39, "generator": generator}
        plain.append(permutation_test(x, y, **options).p_value)
        within.append(permutation_test(x, y, groups=(of_x, of_y), **options).p_value)
    assert np.mean(np.array(plain) <= 0.05) > 0.8
    assert uniform(within, 39) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_splits_within_groups_count_as_equal(dtype):
    """Two groups of one and one row have two splits of each of two values: p is 1/2 or 1, not rounding's choice."""
    groups = torch.arange(2), torch.arange(2)
    for seed in range(40):
        x, y = normal(seed, 2, 4, dtype=dtype), normal(seed + 1, 2, 4, dtype=dtype)
        p = permutation_test(x, y, groups=groups, permutations=2000, generator=seeded(seed)).p_value
        assert min(abs(p - 0.5), abs(p - 1)) < 0.05


def test_blocks_of_permutations_within_groups(monkeypatch):
    x, y = two(0, 6, 8)
    groups = torch.arange(6) % 2, torch.arange(8) % 2
    monkeypatch.setattr(mmd, "SPLITS", 14 * 7)
    result = permutation_test(x, y, groups=groups, permutations=300, generator=seeded())
    assert result.null.shape == (300,)
    assert_close(result.statistic, mmd2(x, y), rtol=0, atol=1e-12)
    assert len(result.null.unique()) > 150


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (torch.zeros(4, dtype=torch.int64), TypeError, "groups must be a pair of tensors.*got Tensor"),
        ((torch.zeros(4, dtype=torch.int64),), TypeError, "groups must be a pair of tensors.*got 1 things"),
        (([0, 1, 0, 1], [0, 1, 0, 1, 0]), TypeError, "groups must be int64 tensors, got list for x"),
        ((torch.zeros(4), torch.zeros(5)), TypeError, "groups must be int64 tensors, got torch.float32 for x"),
        ((torch.arange(4), torch.arange(5).int()), TypeError, "groups must be int64 tensors, got torch.int32 for y"),
        ((torch.arange(4), torch.arange(4)), ValueError, r"groups must hold a label.*\(4,\) for 5 of y"),
        ((torch.arange(5), torch.arange(4)), ValueError, r"groups must hold a label.*\(5,\) for 4 of x"),
        ((torch.arange(4)[:, None], torch.arange(5)), ValueError, r"groups must hold a label.*\(4, 1\) for 4 of x"),
        ((torch.arange(4), torch.arange(5, device="meta")), ValueError, "groups must be on x's device cpu, got meta"),
        ((torch.arange(4), torch.arange(4, 9)), ValueError, "groups must have a label that x and y share"),
    ],
)
def test_bad_groups_are_named_before_any_work(groups, error, message, monkeypatch):
    monkeypatch.delattr(mmd, "median_bandwidth")
    with pytest.raises(error, match=message):
        permutation_test(GOOD, torch.cat([GOOD, GOOD[:1]]), groups=groups, generator=seeded())


# -- witness and CORAL


@pytest.mark.usefixtures("tiles")
def test_witness_is_its_definition_and_gives_the_biased_mmd():
    x, y = two(0, 8, 5)
    points, bandwidths = normal(7, 10, 3), [0.6, 1.5]
    expected = [
        math.fsum(k(t, a, bandwidths) for a in x.tolist()) / 8
        - math.fsum(k(t, b, bandwidths) for b in y.tolist()) / 5
        for t in points.tolist()
    ]
    found = witness(points, x, y, bandwidths=bandwidths)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    gap = witness(x, x, y, bandwidths=bandwidths).mean() - witness(y, x, y, bandwidths=bandwidths).mean()
    assert_close(gap, mmd2(x, y, bandwidths=bandwidths, estimator="biased"), rtol=0, atol=1e-12)


@few
@given(seeds, sizes, sizes, st.integers(1, 5))
def test_coral_against_numpy_and_pytorch_adapt(seed, n, m, d):
    x, y = two(seed, n, m, d)
    gap = np.atleast_2d(np.cov(x.numpy(), rowvar=False)) - np.atleast_2d(np.cov(y.numpy(), rowvar=False))
    assert coral(x, y).item() == pytest.approx((gap**2).sum() / (4 * d**2), rel=1e-9, abs=1e-12)
    assert_close(coral(x, y), CORALLoss()(x, y), rtol=1e-9, atol=1e-12)
    assert_close(coral(x + 7, y - 5), coral(x, y))
    assert coral(x, x.flip(0)).item() == pytest.approx(0, abs=1e-12)


# -- wrong input

GOOD = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
FUNCTIONS = {
    "mmd2": mmd2,
    "permutation_test": lambda x, y: permutation_test(x, y, generator=seeded()),
    "median_bandwidth": median_bandwidth,
    "witness": lambda x, y: witness(GOOD, x, y, bandwidths=None),
    "coral": coral,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_samples_are_named(name):
    call, nan = FUNCTIONS[name], GOOD.clone()
    nan[2, 1] = torch.nan
    for x, y, error, message in (
        (GOOD.tolist(), GOOD, TypeError, "x must be a torch.Tensor"),
        (GOOD, GOOD.long(), TypeError, "y must hold floating-point numbers"),
        (GOOD[0], GOOD, ValueError, "x must be non-empty with shape"),
        (GOOD, GOOD[:, :2], ValueError, "y must have x's width"),
        (GOOD, GOOD.double(), TypeError, "y must have x's dtype"),
        (GOOD, nan, ValueError, "y must be finite.*row 2"),
    ):
        with pytest.raises(error, match=message):
            call(x, y)


@pytest.mark.parametrize("estimator", ["unbiased", "linear"])
def test_two_rows_are_needed_without_the_diagonal(estimator):
    with pytest.raises(ValueError, match="x must have at least 2 rows"):
        mmd2(GOOD[:1], GOOD, bandwidths=1, estimator=estimator)
    with pytest.raises(ValueError, match="y must have at least 2 rows"):
        mmd2(GOOD, GOOD[:1], bandwidths=1, estimator=estimator)
    with pytest.raises(ValueError, match="y must have at least 2 rows"):
        permutation_test(GOOD, GOOD[:1], generator=seeded())


def test_one_row_is_enough_with_the_diagonal():
    a, b = normal(0, 1, 2), normal(1, 1, 2)
    expected = 2 - 2 * k(a[0].tolist(), b[0].tolist(), [1])
    assert mmd2(a, b, bandwidths=1, estimator="biased").item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"estimator": "u"}, ValueError, "estimator must be one of 'unbiased', 'biased', 'linear', 'rff', got 'u'"),
        ({"bandwidths": []}, ValueError, "bandwidths must hold one number at least"),
        ({"bandwidths": [1, 0]}, ValueError, "bandwidths must be above 0, got 0"),
        ({"bandwidths": -1}, ValueError, "bandwidths must be above 0"),
        ({"bandwidths": math.nan}, ValueError, "bandwidths must be a finite number"),
        ({"bandwidths": "auto"}, TypeError, "bandwidths must be a number"),
        ({"bandwidths": 1e-30}, ValueError, "bandwidths must not be so small"),
        ({"estimator": "rff"}, TypeError, "generator must be a torch.Generator.*None"),
        (
            {"estimator": "rff", "features": 0, "generator": seeded()},
            ValueError,
            "features must be at least 1, got 0",
        ),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        mmd2(GOOD, GOOD + 1, **options)


def test_bad_options_of_the_test_are_named():
    with pytest.raises(ValueError, match="permutations must be at least 1, got 0"):
        permutation_test(GOOD, GOOD, permutations=0, generator=seeded())
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator.*got 7"):
        permutation_test(GOOD, GOOD, generator=7)
    with pytest.raises(ValueError, match="points must have x's width"):
        witness(GOOD[:, :2], GOOD, GOOD, bandwidths=1)
