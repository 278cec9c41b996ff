"""Retrieval, zero-shot weights, the small encoders, augmentation and the full-size pair, against loops, torchmetrics,
scipy and torchvision."""

import itertools
import math
import pickle
import weakref

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from torchmetrics.retrieval import RetrievalHitRate, RetrievalRecall
from torchvision import models
from torchvision.models import resnet18
from transformers import BertConfig, BertModel

from xlib.clip import CLIPModel, zero_shot_weights
from xlib.contrastive import info_nce
from xlib.encoders import ImageEncoder, TextEncoder, Vocabulary, random_affine
from xlib.retrieval import Recall, bootstrap, hits, retrieval

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**31)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def whole_numbers(seed, *shape):
    """Small integers as floats: their dot products are exact, and often equal."""
    return torch.randint(-1, 2, shape, generator=seeded(seed)).double()


def targets_for(seed, n, m):
    return torch.randint(m, (n,), generator=seeded(seed + 1))


def values(result):
    return {k: recall.value for k, recall in result.items()}


def scored(*hits):
    """Queries and targets of which those with a 1 are found at rank 1, and the others are not."""
    right = torch.arange(len(hits))
    gallery = torch.eye(len(hits), dtype=torch.float64)
    found = torch.where(torch.tensor(hits, dtype=torch.bool), right, (right + 1) % len(hits))
    return gallery[found], gallery


# -- retrieval: values


def over_all_orders(za, zb, targets, k):
    """Each query's gallery in every order there is, sorted by similarity with Python's stable sort; the mean."""
    hits = []
    for query, target in zip(za.tolist(), targets.tolist(), strict=True):
        similarity = [math.fsum(p * q for p, q in zip(query, row, strict=True)) for row in zb.tolist()]
        for order in itertools.permutations(range(len(similarity))):
            ranked = sorted(order, key=lambda j: -similarity[j])
            hits.append(target in ranked[:k])
    return sum(hits) / len(hits)


@few
@given(seeds, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_recall_is_the_mean_over_all_orders_of_ties(seed, n, m, d):
    za, zb, targets = whole_numbers(seed, n, d), whole_numbers(seed + 2, m, d), targets_for(seed, n, m)
    found = retrieval(za, zb, k=(1, 2, 3, 9), targets=targets, resamples=1)
    assert list(found) == [1, 2, 3, 9]
    for k, recall in found.items():
        assert recall.value == pytest.approx(over_all_orders(za, zb, targets, k), abs=1e-12)
    assert found[9].value == 1  # k above M counts as M


@few
@given(seeds, st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(1, 12))
def test_recall_equals_torchmetrics_without_ties(seed, n, m, d, k):
    za, zb, targets = normal(seed, n, d), normal(seed + 2, m, d), targets_for(seed, n, m)
    relevant = F.one_hot(targets, m).bool()
    query = torch.arange(n)[:, None].expand(n, m)
    scores = za @ zb.T
    scores -= scores.min() - 1  # their recall takes a score of 0 or less for "not retrieved"
    found = retrieval(za, zb, k=[k], targets=targets, resamples=1)[k].value
    for metric in (RetrievalRecall, RetrievalHitRate):
        theirs = metric(top_k=k)(scores.flatten(), relevant.flatten(), indexes=query.flatten())
        assert found == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("n", [999, 1000, 1001, 2001])
def test_recall_across_blocks_of_a_thousand_queries(n):
    za, zb, targets = whole_numbers(n, n, 3), whole_numbers(1, 7, 3), targets_for(2, n, 7)
    table = za.long().numpy() @ zb.long().numpy().T
    right = table[np.arange(n), targets.numpy()][:, None]
    expected = np.clip((2 - (table > right).sum(1)) / (table == right).sum(1), 0, 1).mean()
    assert retrieval(za, zb, k=[2], targets=targets, resamples=1)[2].value == pytest.approx(expected, abs=1e-12)


def test_each_query_meets_its_own_target_in_the_second_block():
    za = torch.eye(3, dtype=torch.float64).repeat(700, 1)[: 2000 + 1]
    targets = (torch.arange(2001) + (torch.arange(2001) >= 1500)) % 3  # right up to row 1,499, wrong from there
    assert retrieval(za, torch.eye(3, dtype=torch.float64), k=[1], targets=targets)[1].value == 1500 / 2001


@pytest.mark.parametrize("n", [7, 33, 90, 1003])
@pytest.mark.parametrize("d", [3, 37, 64, 384])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_collapsed_model_is_at_chance(n, d, dtype):
    """Equal dot products come out of a matrix product with different last bits; these are no ranking."""
    z = normal(n * d, 1, d, dtype=dtype).repeat(n, 1)
    for k, recall in retrieval(z, z, k=(1, 5), resamples=1).items():
        assert recall.value == pytest.approx(k / n, abs=1e-12)


def test_differences_above_rounding_are_a_ranking():
    for dtype, step in ((torch.float32, 1e-5), (torch.float64, 1e-13)):
        zb = 1 + step * torch.arange(4, dtype=torch.float64)[:, None].to(dtype)
        ones = torch.ones(4, 1, dtype=dtype)
        assert values(retrieval(ones, zb, k=(1, 2), resamples=1)) == {1: 0.25, 2: 0.5}
        assert values(retrieval(ones, zb, k=(1,), targets=torch.full((4,), 3), resamples=1)) == {1: 1}
        assert values(retrieval(ones, zb, k=(3,), targets=torch.full((4,), 0), resamples=1)) == {3: 0}


@few
@given(seeds, st.integers(2, 8), st.integers(1, 5))
def test_recall_of_the_other_direction_is_that_of_the_transposed_table(seed, n, d):
    za, zb = whole_numbers(seed, n, d), whole_numbers(seed + 2, n, d)
    table = za @ zb.T
    rank = 1 + (table > table.diagonal()[None]).sum(0)
    ties = (table == table.diagonal()[None]).sum(0)
    expected = float(((3 - rank).double() / ties).clamp(0, 1).mean())
    assert retrieval(zb, za, k=[2], resamples=1)[2].value == pytest.approx(expected, abs=1e-12)


@few
@given(seeds, st.integers(1, 9), st.integers(1, 9))
def test_recall_does_not_depend_on_the_order_of_the_gallery(seed, n, m):
    za, zb, targets = normal(seed, n, 4), normal(seed + 2, m, 4), targets_for(seed, n, m)
    order = torch.randperm(m, generator=seeded(seed))
    place = torch.empty(m, dtype=torch.int64)
    place[order] = torch.arange(m)
    moved = retrieval(za, zb[order], k=(1, 3), targets=place[targets], resamples=20)
    assert moved == retrieval(za, zb, k=(1, 3), targets=targets, resamples=20)


def test_similarity_is_the_dot_product_and_not_the_cosine():
    za, zb = torch.ones(1, 2), torch.tensor([[1.0, 1.0], [3.0, 0.0]])
    assert retrieval(za, zb, k=[1], targets=torch.tensor([1]))[1].value == 1


def test_sixteen_bits_make_no_ties_of_their_own():
    za, zb = normal(0, 300, 16, dtype=torch.bfloat16), normal(1, 300, 16, dtype=torch.bfloat16)
    exact = retrieval(za.double(), zb.double(), resamples=1)
    assert values(retrieval(za, zb, resamples=1)) == pytest.approx(values(exact), abs=1e-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert values(retrieval(za.float(), zb.float(), resamples=1)) == pytest.approx(values(exact), abs=1e-12)


def test_retrieval_leaves_no_graph_and_changes_nothing():
    za = normal(0, 5, 3).requires_grad_()
    before = za.detach().clone()
    assert all(type(part) is float for part in retrieval(za, za)[1])
    assert_close(za.detach(), before, rtol=0, atol=0)
    assert za.grad is None


# -- retrieval: intervals


@pytest.mark.parametrize(("n", "right"), [(40, 12), (200, 170), (25, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_interval_is_that_of_the_exact_bootstrap(n, right, level):
    """With a hit a 0 or a 1, the bootstrap's distribution is a binomial one, and its quantiles are known."""
    za, zb = scored(*[1] * right, *[0] * (n - right))
    found = retrieval(za, zb, k=[1], resamples=8000, level=level)[1]
    assert found.value == right / n
    exact = scipy.stats.binom.ppf([(1 - level) / 2, (1 + level) / 2], n, right / n) / n
    # a quantile of 8,000 draws may land one step of 1 / n beside the exact one
    assert np.abs(np.array([found.low, found.high]) - exact).max() <= 1 / n + 1e-9


def test_interval_agrees_with_scipys_bootstrap():
    hits = (torch.rand(300, generator=seeded(3)) < 0.6).tolist()
    found = retrieval(*scored(*hits), k=[1], resamples=5000, level=0.9)[1]
    theirs = scipy.stats.bootstrap(
        (np.array(hits, float),),
        np.mean,
        method="percentile",
        confidence_level=0.9,
        n_resamples=5000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.008)
    assert found.high - found.low > 0.08


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """100 tests of 200 queries each of a model that finds 70%: 90% intervals miss about ten times."""
    covered = 0
    for seed in range(100):
        hits = torch.rand(200, generator=seeded(seed)) < 0.7
        found = retrieval(*scored(*hits.tolist()), k=[1], resamples=300, level=0.9)[1]
        covered += found.low <= 0.7 <= found.high
    assert 80 <= covered <= 97  # fewer, or more, come less than once in a thousand when it is 90%


@few
@given(seeds, st.integers(1, 20))
def test_interval_contains_the_value_and_narrows_with_its_level(seed, n):
    za, zb = normal(seed, n, 3), normal(seed + 1, n, 3)
    wide, narrow = (retrieval(za, zb, k=(1, 2), level=level, resamples=200) for level in (0.95, 0.5))
    for k in (1, 2):
        assert 0 <= wide[k].low <= wide[k].value <= wide[k].high <= 1
        assert wide[k].low <= narrow[k].low <= narrow[k].high <= wide[k].high


def test_resamples_redraw_queries_and_not_ranks():
    """One query drawn again and again has one score: for n = 1 there is no spread."""
    za, zb = torch.ones(1, 1), torch.ones(2, 1)
    assert retrieval(za, zb, k=[1], targets=torch.tensor([0]))[1] == (0.5, 0.5, 0.5)


def test_intervals_repeat():
    za, zb = normal(0, 30, 3), normal(1, 30, 3)
    state = torch.get_rng_state()
    first = retrieval(za, zb)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers are used up
    torch.manual_seed(5)
    assert retrieval(za, zb) == first == retrieval(za, zb, generator=seeded(0))
    other = retrieval(za, zb, generator=seeded(1))
    assert values(other) == values(first)
    assert other != first
    assert retrieval(za, zb, resamples=7) != first


def test_recall_prints_its_interval():
    assert str(Recall(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"


# -- retrieval: intervals that resample what queries are made of


def as_hits(*columns):
    return torch.stack([torch.as_tensor(column).double() for column in columns], dim=1)


OPTIONS = {"resamples": 400, "level": 0.9}


@few
@given(seeds, st.integers(1, 30))
def test_a_query_that_is_its_own_unit_has_the_plain_interval(seed, n):
    found = as_hits(torch.rand(n, generator=seeded(seed)), torch.rand(n, generator=seeded(seed)) < 0.7)
    plain = bootstrap(found, [1, 5], **OPTIONS)
    draws = seeded(0)
    means = torch.stack(
        [found[torch.randint(n, (n,), generator=draws)].mean(dim=0) for _ in range(OPTIONS["resamples"])]
    )
    for i, k in enumerate([1, 5]):
        edges = means[:, i].quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
        assert plain[k] == pytest.approx((found[:, i].mean().item(), *edges.tolist()), abs=1e-12)
    other_names = torch.randperm(n, generator=seeded(seed)).sort().values * 7 - 3  # ids need not be 0 to N - 1
    for units in (torch.arange(n), torch.arange(n)[:, None], other_names, torch.arange(n)[:, None].expand(n, 3)):
        assert bootstrap(found, [1, 5], units=units, **OPTIONS) == plain


@few
@given(seeds, st.integers(2, 12), st.integers(1, 5))
def test_one_unit_a_query_resamples_whole_groups(seed, groups, size):
    """As one would write it down: draw groups, put their queries together, take the mean."""
    found = (torch.rand(groups * size, generator=seeded(seed)) < 0.6).double()
    units = torch.arange(groups).repeat(size)
    draws = seeded(0)
    means = []
    for _ in range(OPTIONS["resamples"]):
        drawn = torch.randint(groups, (groups,), generator=draws)
        means.append(torch.cat([found[units == group] for group in drawn]).mean())
    edges = torch.stack(means).quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
    assert bootstrap(found[:, None], [1], units=units, **OPTIONS)[1][1:] == pytest.approx(edges.tolist(), abs=1e-12)


def test_two_units_a_query_weigh_by_the_product():
    """Four units in three queries: every one of the 4^4 resamples, written out."""
    found, units = torch.tensor([1.0, 0.0, 0.5]).double(), torch.tensor([[8, 2], [2, 9], [5, 5]])
    exact = []
    for drawn in itertools.product((2, 5, 8, 9), repeat=4):
        weight = [drawn.count(8) * drawn.count(2), drawn.count(2) * drawn.count(9), drawn.count(5)]
        if sum(weight):
            exact.append(sum(w * h for w, h in zip(weight, found.tolist(), strict=True)) / sum(weight))
    for level in (0.5, 0.8, 0.95):
        low, high = np.quantile(exact, [(1 - level) / 2, (1 + level) / 2])
        recall = bootstrap(found[:, None], [1], units=units, resamples=4000, level=level)[1]
        assert recall == pytest.approx((0.5, low, high), abs=0.03)


def worlds(seed, own=0.0):
    """300 pictures of two of 60 scans each, and whether they are read: both scans are legible, each with a chance of
    .8; but for a share `own`, where the picture's own luck decides, .64 as well."""
    luck = seeded(seed)
    legible, scans = torch.rand(60, generator=luck) < 0.8, torch.randint(60, (300, 2), generator=luck)
    read = legible[scans].all(dim=1)
    chance, alone = torch.rand(2, 300, generator=luck)
    return torch.where(alone < own, chance < 0.64, read).double()[:, None], scans


def test_the_interval_of_shared_scans_covers_and_the_plain_one_does_not():
    """120 worlds with another 60 scans each: of all such pictures .8 · .8 can be read."""
    covered = torch.zeros(2)
    for seed in range(120):
        found, scans = worlds(seed)
        for i, units in enumerate((scans, None)):
            _, low, high = bootstrap(found, [1], units=units, resamples=200, level=0.9)[1]
            covered[i] += low <= 0.64 <= high
    by_scan, plain = (covered / 120).tolist()
    assert 0.83 <= by_scan <= 0.97  # fewer, or more, come less than once in a hundred when it is .9
    assert plain < 0.6


def test_luck_of_the_pictures_own_makes_the_interval_of_scans_too_wide_by_the_root_of_three():
    ratios = []
    for seed in range(30):
        found, scans = worlds(seed, own=1.0)
        wide, right = (bootstrap(found, [1], units=units, resamples=300, level=0.9)[1] for units in (scans, None))
        ratios.append((wide.high - wide.low) / (right.high - right.low))
    assert sum(ratios) / len(ratios) == pytest.approx(3**0.5, abs=0.15)


def test_retrieval_takes_units_and_its_hits_are_public():
    za, zb = normal(0, 40, 3), normal(1, 40, 3)
    scans = torch.randint(9, (40, 2), generator=seeded(2))
    found = hits(za, zb, k=(1, 5))
    assert found.shape == (40, 2)
    assert found.dtype == torch.float64
    assert retrieval(za, zb, k=(1, 5), units=scans) == bootstrap(
        found, (1, 5), units=scans, resamples=1000, level=0.95
    )
    assert retrieval(za, zb, k=(1, 5), units=scans) != retrieval(za, zb, k=(1, 5))
    targets = torch.randint(40, (40,), generator=seeded(3))
    every = retrieval(za, zb, targets=targets, resamples=1)
    assert [recall.value for recall in every.values()] == hits(za, zb, targets=targets).mean(dim=0).tolist()


def test_a_gain_is_a_paired_difference_of_hits():
    """One method finds what the other does, and ten more: the two intervals overlap, that of the gain is above 0."""
    one, scans = worlds(5)
    other = one.clone()
    other[(one == 0).nonzero()[:10, 0]] = 1
    apart = [bootstrap(found, [1], units=scans, resamples=1000, level=0.95)[1] for found in (one, other)]
    assert apart[0].high > apart[1].low
    gain = bootstrap(other - one, [1], units=scans, resamples=1000, level=0.95)[1]
    assert gain.value == pytest.approx(10 / 300)
    assert 0 <= gain.low < gain.value < gain.high < 0.1
    loss = bootstrap(one - other, [1], units=scans, resamples=1000, level=0.95)[1]
    assert loss == pytest.approx((-gain.value, -gain.high, -gain.low), abs=1e-12)


@few
@given(seeds, st.integers(1, 40), st.integers(1, 3), st.integers(1, 20))
def test_no_interval_leaves_the_range_of_the_hits(seed, n, width, different):
    share = torch.rand(1, generator=seeded(seed), dtype=torch.float64).item()  # sums of it are rounded
    units = torch.randint(different, (n, width), generator=seeded(seed + 1))
    mixed = torch.where(torch.rand(n, generator=seeded(seed)) < 0.9, torch.ones(n).double(), share)
    found = as_hits(torch.full((n,), share, dtype=torch.float64), torch.ones(n), mixed)
    same, ones, between = bootstrap(found, [1, 2, 3], units=units, resamples=50, level=0.99).values()
    assert (same.low, same.high) == (share, share)
    assert ones == (1, 1, 1)
    assert found[:, 2].min() <= between.low <= between.high <= 1


def test_a_resample_that_holds_no_query_is_drawn_again():
    found = torch.tensor([[1.0], [0.0]]).double()
    units = torch.tensor([[0, 1, 2], [3, 4, 5]])  # 6 of 6 units in half of a percent of resamples, 3 of 6 in some
    low_high = bootstrap(found, [1], units=units, resamples=200, level=0.9)[1][1:]
    assert low_high == (0, 1)
    with pytest.raises(ValueError, match="units must be shared by more queries"):
        bootstrap(found[:1], [1], units=torch.arange(12)[None], resamples=5, level=0.9)


# -- retrieval: errors

GOOD = normal(0, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"za": [[1.0]]}, TypeError, "za must be a torch.Tensor"),
        ({"za": GOOD.long()}, TypeError, "za must hold floating-point"),
        ({"za": GOOD[0]}, ValueError, "za must be non-empty"),
        ({"za": GOOD[:0]}, ValueError, "za must be non-empty"),
        ({"za": GOOD / 0}, ValueError, "za must be finite"),
        ({"zb": GOOD.numpy()}, TypeError, "zb must be a torch.Tensor"),
        ({"zb": GOOD[:, :1]}, ValueError, "zb must have za's width"),
        ({"zb": GOOD.float()}, TypeError, "zb must have za's dtype"),
        ({"zb": GOOD * torch.nan}, ValueError, "zb must be finite"),
        ({"zb": GOOD[:2]}, ValueError, "targets must be given when za has 3 rows and zb has 2"),
        ({"k": 5}, TypeError, "k must be a list of ranks, such as .*, got 5"),
        ({"k": ()}, TypeError, "k must be a list of ranks"),
        ({"k": (1, 0)}, ValueError, "k must be at least 1, got 0"),
        ({"k": (1.5,)}, TypeError, "k must be a whole number"),
        ({"targets": [0, 1, 2]}, TypeError, "targets must be an int64 tensor, got list"),
        ({"targets": torch.zeros(3)}, TypeError, "targets must be an int64 tensor, got torch.float32"),
        ({"targets": torch.zeros(2, dtype=torch.int64)}, ValueError, r"targets must have shape \(3,\)"),
        ({"targets": torch.tensor([0, 1, 3])}, ValueError, "targets must be rows of zb, 0 to 2, got 0 to 3"),
        ({"targets": torch.tensor([0, -1, 2])}, ValueError, "targets must be rows of zb, 0 to 2, got -1 to 2"),
        ({"units": [0, 1, 2]}, TypeError, "units must be an int64 tensor, got list"),
        ({"units": torch.zeros(3)}, TypeError, "units must be an int64 tensor, got torch.float32"),
        ({"units": torch.arange(4)}, ValueError, r"units must have shape \(3,\) or \(3, U\), got \(4,\)"),
        ({"units": torch.zeros(3, 0).long()}, ValueError, r"units must have shape .*, got \(3, 0\)"),
        ({"units": torch.zeros(3, 1, 1).long()}, ValueError, r"units must have shape .*, got \(3, 1, 1\)"),
        ({"resamples": 0}, ValueError, "resamples must be at least 1"),
        ({"resamples": 10.0}, TypeError, "resamples must be a whole number"),
        ({"level": 0}, ValueError, "level must lie between 0 and 1, got 0"),
        ({"level": 1}, ValueError, "level must lie between 0 and 1, got 1"),
        ({"level": math.nan}, ValueError, "level must lie between 0 and 1, got nan"),
    ],
)
def test_retrieval_names_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        retrieval(**{"za": GOOD, "zb": GOOD} | arguments)


# -- zero-shot weights


def table_of(seed, d):
    """An encoder that gives each text a vector of its own, the same each time, of no particular length."""
    known = {}

    def encode(texts):
        for text in texts:
            known.setdefault(text, normal(seed + len(known), d) * (1 + 10 * (len(known) % 3)))
        return torch.stack([known[text] for text in texts])

    return encode


def mean_directions(encode, classnames, templates):
    rows = []
    for name in classnames:
        total = [0.0] * encode(["any"]).shape[1]
        for template in templates:
            vector = encode([name.join(template.split("{}"))])[0].tolist()
            length = math.sqrt(math.fsum(x * x for x in vector))
            total = [t + x / length for t, x in zip(total, vector, strict=True)]
        length = math.sqrt(math.fsum(x * x for x in total))
        rows.append([x / length for x in total])
    return torch.tensor(rows, dtype=torch.float64)


TEMPLATES = ["{}", "a photo of {}.", "{}, drawn by hand", "the number {}"]


@few
@given(seeds, st.integers(1, 4), st.permutations(TEMPLATES), st.integers(1, 4), st.integers(2, 5))
def test_zero_shot_weights_equal_loops(seed, classes, templates, many, d):
    encode = table_of(seed, d)
    names = [f"name {i}" for i in range(classes)]
    weights = zero_shot_weights(encode, names, templates[:many])
    assert_close(weights, mean_directions(encode, names, templates[:many]), rtol=1e-9, atol=1e-9)
    assert_close(weights.norm(dim=1), torch.ones(classes, dtype=torch.float64))
    shuffled = zero_shot_weights(encode, names, sorted(templates[:many]))
    assert_close(weights, shuffled, rtol=1e-9, atol=1e-9)


def test_one_template_gives_the_normalised_encoding():
    encode = table_of(0, 4)
    names = ["cat", "dog"]
    assert_close(zero_shot_weights(encode, names), F.normalize(encode(names), dim=1))
    assert_close(zero_shot_weights(encode, names, ["a {}"]), F.normalize(encode(["a cat", "a dog"]), dim=1))


def test_all_sentences_are_encoded_in_one_call_and_braces_are_just_text():
    calls = []

    def encode(texts):
        calls.append(texts)
        return torch.ones(len(texts), 2)

    zero_shot_weights(encode, ["{x}", "b"], ["{}!", "{y} {}", "{{}}"])
    assert calls == [["{x}!", "{y} {x}", "{{x}}", "b!", "{y} b", "{b}"]]


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 8, 11, 12, 100])
def test_zero_shot_weights_are_the_same_in_batches_of_any_size(batch):
    encode, calls = table_of(0, 5), []
    names, templates = [f"name {i}" for i in range(3)], TEMPLATES
    expected = zero_shot_weights(encode, names, templates)
    found = zero_shot_weights(lambda texts: calls.append(texts) or encode(texts), names, templates, batch=batch)
    assert torch.equal(found, expected)
    assert max(map(len, calls)) <= batch
    assert [text for texts in calls for text in texts] == [t.replace("{}", n) for n in names for t in templates]


def test_a_thousand_classes_in_eighty_sentences_are_never_in_memory_at_once_and_leave_no_graph():
    """All of it at once, with what gradients need, would be 80,000 rows of each layer."""
    layers = nn.Sequential(nn.Linear(8, 512), nn.GELU(), nn.Linear(512, 64))
    sizes, alive = [], []

    def encode(texts):
        sizes.append(len(texts))
        out = layers(torch.ones(len(texts), 8))
        alive.append(weakref.ref(out))
        assert not out.requires_grad
        return out

    names, templates = [f"class {i}" for i in range(1000)], [f"{i}, {{}}" for i in range(80)]
    weights = zero_shot_weights(encode, names, templates)
    assert weights.shape == (1000, 64)
    assert not weights.requires_grad
    assert sum(sizes) == 80_000
    assert max(sizes) <= 256
    assert sum(out() is not None for out in alive) == 0
    assert all(p.requires_grad for p in layers.parameters())  # as they were
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_zero_shot_weights_of_16_bits_are_computed_in_32(dtype):
    encode = table_of(1, 512)
    size = {"a": 2000.0, "b": 1e-8, "c": 1.0, "d": 0.0}  # norms above 65,504, and ones that vanish

    def encode_half(texts):
        return (encode([text[-1] for text in texts]) * torch.tensor([[size[text[-1]]] for text in texts])).to(dtype)

    weights = zero_shot_weights(encode_half, list("abcd"), ["{}", "a {}"])
    assert weights.dtype == dtype
    rows = encode_half(list("abcd")).double()
    expected = torch.cat([F.normalize(rows[:3], dim=1, eps=0), torch.zeros(1, 512).double()])
    assert_close(weights.double(), expected, rtol=0.01, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(zero_shot_weights(encode_half, list("abcd"), ["{}", "a {}"]), weights)


def test_zero_shot_weights_take_any_container_of_strings_and_change_none():
    pandas = pytest.importorskip("pandas")
    encode, names, templates = table_of(0, 4), ["cat", "dog"], ["{}", "a {}"]
    expected = zero_shot_weights(encode, names, templates)
    for kind in (tuple, iter, np.array, lambda texts: pandas.Series(texts, index=[5, 2])):
        assert torch.equal(zero_shot_weights(encode, kind(names), kind(templates)), expected)
    assert (names, templates) == (["cat", "dog"], ["{}", "a {}"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"classnames": "cat"}, TypeError, "classnames must be a list of strings, got 'cat'"),
        ({"classnames": ["cat", 3]}, TypeError, "classnames must be a list of strings"),
        ({"classnames": []}, ValueError, "classnames must not be empty"),
        ({"classnames": 3}, TypeError, "classnames must be a list of strings, got 3"),
        ({"batch": 0}, ValueError, "batch must be at least 1, got 0"),
        ({"batch": 2.5}, TypeError, "batch must be a whole number, got 2.5"),
        ({"templates": "a {}"}, TypeError, "templates must be a list of strings, got 'a {}'"),
        ({"templates": []}, ValueError, "templates must not be empty"),
        ({"templates": ["{}", "a photo"]}, ValueError, "templates must each hold {} once, got 'a photo'"),
        ({"templates": ["{} or {}"]}, ValueError, "templates must each hold {} once, got '{} or {}'"),
        ({"encode_text": lambda t: torch.ones(1, 2)}, ValueError, "encode_text must return a row a text, 2, got 1"),
        ({"encode_text": lambda t: [[1.0]] * len(t)}, TypeError, "the result of encode_text must be a torch.Tensor"),
        (
            {"encode_text": lambda t: torch.full((2, 2), torch.nan)},
            ValueError,
            "the result of encode_text must be finite",
        ),
    ],
)
def test_zero_shot_weights_name_what_is_wrong(arguments, error, message):
    good = {"encode_text": lambda texts: torch.ones(len(texts), 2), "classnames": ["cat", "dog"]}
    with pytest.raises(error, match=f"^{message}"):
        zero_shot_weights(**good | arguments)


# -- words


def test_tokens_can_be_read_back():
    texts = ["forty-two", "Twelve", "forty  NINE!", "it's 7", "四十二"]
    vocabulary = Vocabulary(texts)
    words = {number: word for word, number in vocabulary.index.items()}
    read = [[words[t] for t in row if t] for row in vocabulary(texts).tolist()]
    assert read == [["forty", "two"], ["twelve"], ["forty", "nine"], ["it's", "7"], ["四", "十", "二"]]
    assert len(vocabulary) == 11  # nine words and characters, the padding, the unknown
    assert sorted(words) == list(range(2, 11))


def test_tokens_are_padded_on_the_right_and_unknown_words_are_one():
    vocabulary = Vocabulary(["two forty", "二"])
    tokens = vocabulary(["forty-two two", "two", "zwei 三二"])
    assert tokens.dtype == torch.int64
    two, forty, er = (vocabulary.index[word] for word in ("two", "forty", "二"))
    assert tokens.tolist() == [[forty, two, two], [two, 0, 0], [1, 1, er]]


def test_numbering_does_not_depend_on_the_order_of_the_texts():
    assert Vocabulary(["b a", "c"]).index == Vocabulary(["c", "a", "a b"]).index == {"a": 2, "b": 3, "c": 4}


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("two", TypeError, "texts must be a list of strings, got 'two'"),
        (["two", 1], TypeError, "texts must be a list of strings, got 1 in place 1"),
        ([], ValueError, "texts must not be empty"),
        (["two", " -"], ValueError, "texts must hold at least one word each, got ' -'"),
    ],
)
def test_vocabulary_names_what_is_wrong(texts, error, message):
    with pytest.raises(error, match=f"^{message}"):
        Vocabulary(["two"])(texts)
    if error is TypeError or not texts:
        with pytest.raises(error, match=f"^{message}"):
            Vocabulary(texts)


# -- the small encoders


def without_dropout(model):
    """In training mode, where a BatchNorm would look at the whole batch, with nothing dropped."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    return model


@pytest.mark.parametrize("size", [(8, 8), (16, 32), (9, 13), (1, 1)])
@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 8, 24)])
def test_image_encoder_takes_any_size(size, channels):
    encoder = ImageEncoder(size, channels=channels, embed_dim=5)
    images = normal(0, 3, 3, *size, dtype=torch.float32)
    assert encoder(images).shape == (3, 5)
    height, width = (math.ceil(side / 2 ** (len(channels) - 1)) for side in size)
    assert encoder.features(images).shape == (3, channels[-1] * height * width)


def test_an_image_s_embedding_does_not_depend_on_its_batch():
    encoder = without_dropout(ImageEncoder((16, 32)))
    images = normal(0, 6, 3, 16, 32, dtype=torch.float32)
    images[3:] *= 50
    together = encoder(images)
    assert_close(encoder(images[:1]), together[:1], rtol=1e-4, atol=1e-5)
    assert_close(encoder(images[2:]), together[2:], rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_image_encoder_drops_features_in_training_only():
    encoder, images = ImageEncoder((8, 8)), normal(0, 2, 3, 8, 8, dtype=torch.float32)
    assert not torch.equal(encoder(images), encoder(images))
    encoder.eval()
    assert torch.equal(encoder(images), encoder(images))


@few
@given(seeds, st.integers(0, 5))
def test_padding_does_not_change_a_text_s_embedding(seed, more):
    torch.manual_seed(seed)
    encoder = TextEncoder(9, width=12, embed_dim=5).eval()
    tokens = torch.randint(1, 9, (4, 6), generator=seeded(seed))
    lengths = torch.randint(1, 7, (4,), generator=seeded(seed))
    tokens[torch.arange(6) >= lengths[:, None]] = 0
    together = encoder(F.pad(tokens, (0, more)))
    assert together.shape == (4, 5)
    for row, length, embedding in zip(tokens, lengths, together, strict=True):
        assert_close(encoder(row[None, :length])[0], embedding, rtol=1e-4, atol=1e-5)


def test_text_encoder_reads_words_in_order_up_to_the_last():
    torch.manual_seed(0)
    encoder = TextEncoder(9)
    two_forty, forty_two, last_differs, alone = encoder(torch.tensor([[2, 3, 4], [3, 2, 4], [2, 3, 5], [2, 0, 0]]))
    assert two_forty.shape == (64,)
    for other in (forty_two, last_differs, alone):
        assert (two_forty - other).abs().max() > 0.01


@pytest.mark.parametrize(
    ("encoder", "inputs"),
    [
        (ImageEncoder((8, 12)), normal(0, 4, 3, 8, 12, dtype=torch.float32)),
        (TextEncoder(9), torch.tensor([[2, 3, 4], [5, 6, 0], [7, 0, 0], [8, 1, 0]])),
    ],
)
def test_gradients_reach_every_parameter(encoder, inputs):
    encoder(inputs).square().sum().backward()
    dead = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


# -- augmentation


def seen_from(height, width, count=64, **amounts):
    """What random_affine does, measured: each output pixel says where in the input it was taken from.

    The images hold their own pixels' coordinates, which linear interpolation copies exactly. Returns for each image
    the matrix and offset of (row, column), in pixels about the picture's centre, from output to input; and the
    output itself of a picture of noise under the same draw.
    """
    rows, columns = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij"
    )
    noise = torch.rand(height, width, generator=seeded(1))
    images = torch.stack([rows, columns, noise]).double().expand(count, 3, height, width)
    none = {"degrees": 0, "stretch": 0, "shift": 0}
    out = random_affine(images, **none | amounts, generator=seeded(0)).numpy()
    inner = (slice(height // 4, -(height // 4)), slice(width // 4, -(width // 4)))  # where no border is seen
    where = np.stack([rows[inner].ravel(), columns[inner].ravel(), np.ones(rows[inner].numel())], 1)
    source = out[:, :2, inner[0], inner[1]].reshape(count, 2, -1)
    fit = np.stack([np.linalg.lstsq(where, xy.T, rcond=None)[0].T for xy in source])
    assert np.abs(np.einsum("nij,pj->nip", fit, where) - source).max() < 1e-9  # it is affine
    return fit[:, :, :2], fit[:, :, 2], out[:, 2], noise.numpy()


@pytest.mark.parametrize("size", [(16, 32), (32, 16), (16, 16)])
def test_a_turn_is_a_rotation_in_pixels_whatever_the_shape(size):
    matrix, offset, _, _ = seen_from(*size, degrees=15)
    assert np.abs(matrix @ matrix.transpose(0, 2, 1) - np.eye(2)).max() < 1e-9  # neither sheared nor stretched
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert np.abs(offset).max() < 1e-9  # about the centre
    angles = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert -15 < angles.min() < -12
    assert 12 < angles.max() < 15


def test_a_shift_is_a_share_of_each_side():
    matrix, offset, _, _ = seen_from(16, 32, shift=0.1)
    assert np.abs(matrix - np.eye(2)).max() < 1e-9
    for moves, side in zip(offset.T, (16, 32), strict=True):
        assert -0.1 * side < moves.min() < -0.08 * side
        assert 0.08 * side < moves.max() < 0.1 * side
    assert abs(np.corrcoef(offset.T)[0, 1]) < 0.4  # down and across are drawn apart


def test_a_stretch_scales_about_the_centre_and_slants_rows():
    matrix, offset, _, _ = seen_from(16, 32, stretch=0.12)
    assert np.abs(offset).max() < 1e-9
    size, slant = 1 / matrix[:, 0, 0], matrix[:, 1, 0] / matrix[:, 0, 0]
    assert matrix[:, 1, 1] == pytest.approx(matrix[:, 0, 0])
    assert np.abs(matrix[:, 0, 1]).max() < 1e-9
    for found, middle in ((size, 1), (slant, 0)):
        assert middle - 0.12 < found.min() < middle - 0.09
        assert middle + 0.09 < found.max() < middle + 0.12


def test_a_shift_is_the_same_share_when_the_picture_is_stretched():
    _, offset, _, _ = seen_from(16, 32, shift=0.1, stretch=0.12)
    assert np.abs(offset / [16, 32]).max() < 0.1


def test_each_image_has_its_own_amount_of_everything():
    matrix, offset, _, _ = seen_from(16, 32, degrees=10, stretch=0.1, shift=0.05)
    drawn = np.concatenate([matrix.reshape(-1, 4), offset], axis=1)
    assert all(len(set(column.round(6))) == len(drawn) for column in drawn.T)
    assert np.abs(np.corrcoef(drawn[:, [2, 4, 5]].T) - np.eye(3)).max() < 0.4


@pytest.mark.parametrize("size", [(16, 32), (20, 12)])
def test_pixels_are_interpolated_and_the_border_repeated_as_scipy_does(size):
    matrix, offset, out, noise = seen_from(*size, count=8, degrees=20, stretch=0.1, shift=0.1)
    centre = (np.array(size) - 1) / 2
    for m, o, found in zip(matrix, offset, out, strict=True):
        expected = scipy.ndimage.affine_transform(noise, m, centre + o - m @ centre, order=1, mode="nearest")
        assert np.abs(found - expected).max() < 1e-6
    assert np.abs(out - noise).max() > 0.3


@few
@given(seeds, st.integers(1, 4), st.integers(2, 9), st.integers(2, 9))
def test_no_amount_changes_nothing_and_any_amount_stays_in_range(seed, b, height, width):
    images = torch.rand(b, 3, height, width, generator=seeded(seed))
    still = random_affine(images, degrees=0, stretch=0, shift=0, generator=seeded(seed))
    assert_close(still, images, rtol=0, atol=1e-5)
    moved = random_affine(images, degrees=180, stretch=0.9, shift=1, generator=seeded(seed))
    assert moved.shape == images.shape
    assert images.amin() - 1e-6 <= moved.amin()
    assert moved.amax() <= images.amax() + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_augmentation_repeats_with_its_generator_and_uses_no_other(dtype):
    images = torch.rand(3, 3, 8, 8, generator=seeded(0), dtype=dtype)
    state, before, generator = torch.get_rng_state(), images.clone(), seeded(4)
    first = random_affine(images, generator=generator)
    second = random_affine(images, generator=generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    assert first.dtype == dtype
    assert torch.equal(random_affine(images, generator=seeded(4)), first)
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("images", [torch.ones(3, 8, 8), torch.ones(2, 3, 8, 8, dtype=torch.uint8)])
def test_augmentation_names_what_is_wrong(images):
    with pytest.raises(ValueError, match=r"^images must be floating \(B, C, H, W\), got"):
        random_affine(images, generator=seeded(0))


# -- the full-size pair


def tiny_bert(**options):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return BertModel(BertConfig(vocab_size=30, max_position_embeddings=12, **sizes | options))


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return CLIPModel(7, vision=resnet18(weights=None), text=tiny_bert()).eval()


def batch(n=4, length=5):
    ids = torch.randint(1, 30, (n, length), generator=seeded(1))
    mask = torch.ones_like(ids)
    mask[0, 3:] = 0
    return normal(0, n, 3, 32, 32, dtype=torch.float32), ids, mask


def test_clip_gives_unit_vectors_and_the_scale(pair):
    images, ids, mask = batch()
    za, zb, scale = pair(images, ids, mask)
    assert za.shape == zb.shape == (4, 7)
    for z, raw in ((za, pair.encode_image(images)), (zb, pair.encode_text(ids, mask))):
        assert_close(z.norm(dim=1), torch.ones(4))
        assert_close(z, raw / raw.norm(dim=1, keepdim=True))
        assert (raw.norm(dim=1) - 1).abs().min() > 1e-3  # as they come
    assert scale.shape == ()
    assert scale.item() == pytest.approx(1 / 0.07)


def test_clip_pays_no_attention_to_what_is_masked(pair):
    _, ids, mask = batch()
    other = torch.where(mask == 1, ids, 29)
    assert not torch.equal(other, ids)
    assert_close(pair.encode_text(other, mask), pair.encode_text(ids, mask))
    assert (pair.encode_text(other, torch.ones_like(mask)) - pair.encode_text(ids, mask))[0].abs().max() > 1e-4


def test_the_loss_reaches_the_scale_and_every_parameter_of_both_towers(pair):
    """The article makes `logit_scale` and never uses it: its gradient stays None."""
    pair.train()
    za, zb, scale = pair(*batch())
    info_nce(za, zb, logit_scale=scale).backward()
    assert pair.logit_scale.log_scale.grad.abs() > 0
    dead = [name for name, p in pair.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
SIZES |= {"max_position_embeddings": 20}
T5_SIZES = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
GPT_SIZES = {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 20}


def distilbert():
    sizes = {
        "vocab_size": 30,
        "dim": 16,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": 24,
        "max_position_embeddings": 20,
    }
    return transformers.DistilBertModel(transformers.DistilBertConfig(**sizes))


POOLED = {
    "BERT": tiny_bert,
    "RoBERTa": lambda: transformers.RobertaModel(transformers.RobertaConfig(**SIZES)),
    "MPNet": lambda: transformers.MPNetModel(transformers.MPNetConfig(**SIZES)),
    "ALBERT": lambda: transformers.AlbertModel(transformers.AlbertConfig(**SIZES, embedding_size=8)),
    "CLIP's": lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(**SIZES, eos_token_id=29)),
}
UNPOOLED = {
    "BERT without": lambda: BertModel(BertConfig(**SIZES), add_pooling_layer=False),
    "DistilBERT": distilbert,
    "ELECTRA": lambda: transformers.ElectraModel(transformers.ElectraConfig(**SIZES, embedding_size=8)),
    "T5's encoder": lambda: transformers.T5EncoderModel(transformers.T5Config(**T5_SIZES)),
    "out of T5": lambda: transformers.T5Model(transformers.T5Config(**T5_SIZES)).get_encoder(),
    "GPT-2": lambda: transformers.GPT2Model(transformers.GPT2Config(**GPT_SIZES)),
}


@pytest.mark.parametrize("name", POOLED | UNPOOLED)
def test_usual_text_towers_are_pooled_or_averaged_over_the_words(name):
    text = (POOLED | UNPOOLED)[name]()
    model = CLIPModel(7, vision=resnet18(weights=None), text=text).eval()
    _, ids, mask = batch()
    ids = ids.clamp(min=2)  # 0 and 1 are the padding of some
    found = text(input_ids=ids, attention_mask=mask)
    if name in POOLED:
        expected = found.pooler_output
    else:
        expected = torch.stack([row[:3].mean(0) if i == 0 else row.mean(0) for i, row in enumerate(found[0])])
    assert_close(model.text_features(ids, mask), expected)
    assert_close(model.encode_text(ids, mask), model.text_fc(expected))
    padded = model.encode_text(F.pad(ids, (0, 3), value=1), F.pad(mask, (0, 3)))
    if name != "CLIP's":  # which looks for its last token, the padding too
        assert_close(padded, model.encode_text(ids, mask))
    model.train()
    model.encode_text(ids, mask).square().sum().backward()
    assert all(p.grad is not None for p in model.text_encoder.parameters())


def test_text_towers_that_answer_with_a_tuple(pair):
    _, *tokens = batch()
    expected = pair.encode_text(*tokens)
    pair.text_encoder.config.return_dict = False
    assert isinstance(pair.text_encoder(*tokens), tuple)
    assert torch.equal(pair.encode_text(*tokens), expected)


def with_1000_classes(name):
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(models, name)(weights=None, **options)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnext50_32x4d",
        "densenet121",
        "vgg11",
        "vit_b_32",
        "swin_t",
        "convnext_tiny",
        "efficientnet_b0",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "shufflenet_v2_x0_5",
        "googlenet",
        "inception_v3",
    ],
)
def test_usual_image_towers_lose_their_last_layer_and_the_given_ones_keep_it(name):
    side = 299 if name == "inception_v3" else 224
    with torch.device("meta"):  # shapes without numbers
        vision = with_1000_classes(name)
        parts, keys = list(vision.named_modules()), list(vision.state_dict())
        model = CLIPModel(7, vision=vision, text=tiny_bert())
        assert model.encode_image(torch.empty(2, 3, side, side)).shape == (2, 7)
        model.eval()
        assert model.encode_image(torch.empty(2, 3, side, side)).shape == (2, 7)
        assert vision.eval()(torch.empty(2, 3, side, side)).shape == (2, 1000)
    assert [(n, id(part)) for n, part in vision.named_modules()] == [(n, id(part)) for n, part in parts]
    mine = {key.removeprefix("visual_encoder.") for key in model.state_dict() if key.startswith("visual_encoder.")}
    last = {key for key in keys if key not in mine}
    assert mine < set(keys)
    assert {key.rsplit(".", 1)[1] for key in last} == {"weight", "bias"}


def named(module, **parts):
    for name, part in parts.items():
        module.add_module(name, part)
    return module


def test_regnet_and_classifiers_of_transformers_too():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    vit = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, image_size=32))
    for vision in (models.regnet_y_400mf(weights=None), vit):
        assert CLIPModel(7, vision=vision, text=tiny_bert()).encode_image(torch.ones(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    ("tower", "bad", "error", "message"),
    [
        ("vision", lambda: "resnet50", TypeError, "vision must be a torch.nn.Module, got 'resnet50'"),
        ("vision", lambda: resnet18, TypeError, "vision must be a torch.nn.Module, got <function"),
        ("vision", lambda: models.squeezenet1_1(), ValueError, "vision must be a classifier .* got SqueezeNet"),
        ("vision", lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), ValueError, ".*got Sequential"),
        ("vision", lambda: torch.compile(resnet18(), backend="eager"), ValueError, ".*got OptimizedModule"),
        ("vision", lambda: named(nn.Identity(), head=nn.Linear(3, 2), aux_head=nn.Linear(3, 2)), ValueError, ""),
        ("vision", lambda: named(nn.Identity(), head=nn.ModuleList([nn.Linear(3, 2)] * 2)), ValueError, ""),
        (
            "vision",
            lambda: named(nn.Identity(), head=named(nn.Linear(3, 2), head_dist=nn.Linear(3, 2))),
            ValueError,
            "",
        ),
        (
            "vision",
            lambda: transformers.BertForSequenceClassification(BertConfig(**SIZES)),
            ValueError,
            "vision must be a classifier of pictures .* got BertForSequenceClassification",
        ),
        ("text", lambda: "bert-base-uncased", TypeError, "text must be a transformers model, got 'bert-"),
        (
            "text",
            lambda: nn.Linear(3, 2),
            ValueError,
            "text must be a transformers model that reads tokens.* got Lin",
        ),
        ("text", lambda: tiny_bert().encoder, ValueError, "text must be .* that reads tokens.* got BertEncoder"),
        (
            "text",
            lambda: transformers.BertForMaskedLM(BertConfig(**SIZES)),
            ValueError,
            "text must be a model without a head, got BertForMaskedLM: give its base_model",
        ),
        (
            "text",
            lambda: transformers.T5Model(transformers.T5Config(**T5_SIZES)),
            ValueError,
            r"text must be an encoder or a decoder alone, got T5Model: give its get_encoder\(\)",
        ),
        (
            "text",
            lambda: transformers.ViTModel(transformers.ViTConfig(hidden_size=16, num_hidden_layers=1)),
            ValueError,
            "text must be a transformers model that reads tokens.* got ViTModel",
        ),
    ],
)
def test_other_towers_are_refused_in_one_sentence_before_training(tower, bad, error, message):
    towers = {"vision": resnet18(weights=None), "text": tiny_bert()} | {tower: bad()}
    with pytest.raises(error, match=f"^{message}") as raised:
        CLIPModel(7, **towers)
    assert "\n" not in str(raised.value)


def test_the_given_backbone_still_tells_classes_and_shares_its_weights():
    vision = resnet18(weights=None).eval()
    images = normal(0, 2, 3, 32, 32, dtype=torch.float32)
    before = vision(images)
    model = CLIPModel(7, vision=vision, text=tiny_bert())
    assert torch.equal(vision(images), before)
    assert isinstance(vision.fc, nn.Linear)
    assert model.visual_encoder.conv1 is vision.conv1
    with torch.no_grad():
        model.visual_encoder.conv1.weight.mul_(2)
    assert not torch.equal(vision(images), before)  # whoever trains the one trains the other
    again = pickle.loads(pickle.dumps(model))
    assert_close(again.eval().encode_image(images), model.eval().encode_image(images))
    assert CLIPModel(3, vision=vision, text=tiny_bert()).visual_fc.in_features == 512  # so it can be used twice


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_clip_in_16_bits_gives_unit_vectors_and_never_nan(pair, dtype):
    images, ids, mask = batch()
    exact = pair(images, ids, mask)
    with torch.autocast("cpu", dtype=dtype):
        mixed = pair(images, ids, mask)
    pair.to(dtype)
    half = pair(images.to(dtype), ids, mask)
    for found in (mixed, half):
        for z, expected in zip(found[:2], exact[:2], strict=True):
            assert z.dtype == torch.float32
            assert_close(z.norm(dim=1), torch.ones(4))
            assert_close(z, expected, rtol=0, atol=0.05)
    with torch.no_grad():
        for size, length in ((0.0, 0.0), (1e-6, 1.0), (6e4, 1.0)):
            for last in (pair.visual_fc, pair.text_fc):
                last.weight.zero_()
                last.bias.fill_(size)
            za, zb, _ = pair(images.to(dtype), ids, mask)
            assert_close(za.norm(dim=1), torch.full((4,), length))
            assert_close(zb.norm(dim=1), torch.full((4,), length))


def test_names_of_weights_are_those_of_earlier_checkpoints(pair):
    names = set(pair.state_dict())
    assert {"logit_scale.log_scale", "visual_fc.weight", "text_fc.bias"} < names
    kept = {f"visual_encoder.{name}" for name in resnet18().state_dict() if not name.startswith("fc.")}
    kept |= {f"text_encoder.{name}" for name in tiny_bert().state_dict()}
    assert {name for name in names if "encoder" in name} == kept


def test_a_pretrained_text_tower_is_taken_from_a_folder(tmp_path):
    text = tiny_bert()
    text.save_pretrained(tmp_path)
    again = CLIPModel(7, vision=resnet18(weights=None), text=BertModel.from_pretrained(tmp_path)).eval()
    _, ids, mask = batch()
    expected = text.eval()(input_ids=ids, attention_mask=mask).pooler_output
    assert_close(again.text_encoder(input_ids=ids, attention_mask=mask).pooler_output, expected)
    assert again.encode_text(ids, mask).shape == (4, 7)


def resnet50_parameters():
    """Without the last layer: a 7x7 stem, and bottlenecks of 1x1, 3x3, 1x1, each with a BatchNorm of 2 a channel."""
    total, before = 3 * 64 * 49 + 2 * 64, 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            total += before * width + 9 * width * width + 4 * width * width + 2 * (width + width + 4 * width)
            if block == 0:  # the shortcut changes width too
                total += before * 4 * width + 2 * 4 * width
            before = 4 * width
    return total


def bert_parameters(words=30522, width=768, positions=512, layers=12, inner=3072):
    def linear(a, b):
        return a * b + b

    layer = 4 * linear(width, width) + linear(width, inner) + linear(inner, width) + 2 * 2 * width
    return (words + positions + 2) * width + 2 * width + layers * layer + linear(width, width)


def test_full_size_is_resnet_50_and_bert_base():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):  # shapes without numbers: nothing is drawn, nothing is stored
        model = CLIPModel()
        assert model.encode_image(torch.empty(2, 3, 224, 224)).shape == (2, 512)
    assert count(model.visual_encoder) == resnet50_parameters() == 23_508_032
    assert count(model.text_encoder) == bert_parameters() == 109_482_240
    assert count(model.visual_fc) == 2048 * 512 + 512
    assert count(model.text_fc) == 768 * 512 + 512
    assert count(model) == 23_508_032 + 109_482_240 + 2048 * 512 + 512 + 768 * 512 + 512 + 1


def test_width_of_the_shared_space():
    for bad, error in ((0, ValueError), (2.5, TypeError), (resnet18, TypeError)):
        with pytest.raises(error, match=r"^embed_dim must be"):
            CLIPModel(bad, vision=resnet18(weights=None), text=tiny_bert())


@pytest.mark.parametrize("shift", [0.1, 2])  # in part, and altogether outside
@pytest.mark.parametrize(("h", "w"), [(12, 20), (9, 5), (1, 1)])
def test_random_affine_moves_as_affine_grid_does(h, w, shift):
    """The grid is made by hand, for speed, and without border padding, for Apple's GPU; torch's own give the same."""
    images = torch.rand(5, 2, h, w, generator=torch.Generator().manual_seed(0))
    found = random_affine(images, shift=shift, generator=torch.Generator().manual_seed(1))
    draws = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1
    matrices = []
    for turn, size, slant, down, across in draws.T.tolist():
        turn, size, slant = math.radians(10 * turn), 1 + 0.12 * size, 0.12 * slant
        first = [math.cos(turn) / size, (slant - math.sin(turn)) * h / w / size, 2 * across * shift]
        second = [math.sin(turn) * w / h / size, math.cos(turn) / size, 2 * down * shift]
        matrices.append([first, second])
    grid = F.affine_grid(torch.tensor(matrices), images.shape, align_corners=False)
    expected = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
