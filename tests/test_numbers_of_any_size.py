"""Numbers of any size, through every public function of the methods: the right value, or an error that names the
argument; never a 0, an infinity or NaN that nothing says anything about.

`CALLS` says how to call each function, and what a common factor of its rows does to its result. Expected values are
those of usual sizes, of float64, or of fractions.
"""

import functools
import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from xlib import bridge, clip, combined, contrastive, dann, mmd, retrieval, scale, space
from xlib.course import report
from xlib.data import toy
from xlib.online.pretrained import measure_retrieval

few = settings(max_examples=25)
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore:Converting a tensor")
WIDE = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
SIZES = {  # factors that take usual numbers to where their squares, or they themselves, hardly fit
    torch.float32: [1e20, 1e25, 1e37, 1e-20, 1e-25, 1e-36],
    torch.float64: [1e25, 1e150, 1e300, 1e-25, 1e-150, 1e-300],
    torch.float16: [1e4, 2e-4],  # numbers here go up to 4, and half precision to 65,504 and down to 6e-5
    torch.bfloat16: [1e20, 1e37, 1e-25, 1e-36],
}
EVERY = [(dtype, size) for dtype, sizes in SIZES.items() for size in sizes]
each_dtype = pytest.mark.parametrize("dtype", SIZES, ids=lambda x: str(x).removeprefix("torch."))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).clamp(-4, 4).to(dtype)


def pair(dtype, n=12, m=12, d=4):
    """Two samples whose numbers lie on a grid, so that any dtype holds them, times any power of two, exactly."""
    a, b = rows(0, n, d), rows(1, m, d) + 0.5
    return tuple((z * 8).round().div(8).to(dtype) for z in (a, b))


def near(dtype):
    return {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2e-4, "atol": 2e-5}


def power(size):
    """The power of two next to a factor: it changes no digit of what it multiplies."""
    return 2.0 ** round(math.log2(size))


# -- every public function, and what a factor s of its rows does: its result is times s to this power


def canonical(a, b, regularisation):
    model = space.cca(a, b, dim=3, regularisation=regularisation)
    # free of the signs that each pair of directions may have
    return torch.cat(
        [
            model.correlations[None],
            model.project_a(a) @ model.correlations.diag() @ model.project_b(b).T.mean(1, True).expand(-1, 3),
        ]
    )


def recalls(found):
    return torch.tensor([list(recall) for recall in found.values()], dtype=torch.float64)


def two_ways(a, b, owner):
    found = measure_retrieval(a, b, owner, resamples=20)
    return torch.cat([recalls(way) for way in found.values()])


def some_of(a, b):
    return (torch.arange(len(a)) * 5 % 7).remainder(len(b))


CALLS = {
    # 0: lengths do not count, or bandwidths are as long as the data
    "space.cosine_similarity_matrix": (0, space.cosine_similarity_matrix),
    "space.procrustes": (0, space.procrustes),
    "space.cca": (0, lambda a, b: canonical(a, b, 0.1)),
    "space.cca, without regularisation": (0, lambda a, b: canonical(a, b, 0.0)),
    "mmd.mmd2": (0, mmd.mmd2),
    "mmd.mmd2, biased": (0, lambda a, b: mmd.mmd2(a, b, estimator="biased")),
    "mmd.mmd2, linear": (0, lambda a, b: mmd.mmd2(a, b, estimator="linear")),
    "mmd.mmd2, rff": (0, lambda a, b: mmd.mmd2(a, b, estimator="rff", features=16, generator=seeded())),
    "mmd.mmd2_by_label": (0, lambda a, b: mmd.mmd2_by_label(torch.cat([a, b]), torch.arange(len(a) + len(b)) % 2)),
    "mmd.permutation_test": (0, lambda a, b: mmd.permutation_test(a, b, permutations=19, generator=seeded()).null),
    "mmd.witness": (0, lambda a, b: mmd.witness(a, a, b, bandwidths=None)),
    "retrieval.hits": (0, lambda a, b: retrieval.hits(a, b, targets=some_of(a, b))),
    "retrieval.retrieval": (0, lambda a, b: recalls(retrieval.retrieval(a, b, targets=some_of(a, b), resamples=20))),
    "online.pretrained.measure_retrieval": (0, lambda a, b: two_ways(a, torch.cat([a, b]), torch.arange(24) % 12)),
    "bridge.detour": (0, lambda a, b: bridge.detour(a, b[:6], b.roll(1, dims=1))),
    "bridge.relative": (0, lambda a, b: bridge.relative(a, b, keep=2, power=3)),
    # 1: a length
    "space.alignment, alpha 1": (1, lambda a, b: space.alignment(a, b, alpha=1)),
    "space.modality_gap": (
        1,
        lambda a, b: torch.cat([space.modality_gap(a, b).vector, space.modality_gap(a, b).size[None]]),
    ),
    "mmd.median_bandwidth": (1, mmd.median_bandwidth),
    "dann.grad_reverse": (1, lambda a, b: dann.grad_reverse(a, 0.5)),
    "dann.multilinear_map": (1, lambda a, b: dann.multilinear_map(a, torch.zeros_like(b))),
    "retrieval.bootstrap": (1, lambda a, b: recalls(retrieval.bootstrap(a, [1, 2, 3, 4], resamples=20, level=0.9))),
    "course.report.interval": (1, lambda a, b: torch.tensor(report.interval(a[:, 0].double()), dtype=torch.float64)),
    "course.report.gain": (
        1,
        lambda a, b: torch.tensor(report.gain(a[:, 0].double(), b[:, 0].double()), dtype=torch.float64),
    ),
    # higher
    "space.alignment": (2, space.alignment),
    "mmd.coral": (4, mmd.coral),
    # None: neither, for logits and rates are no lengths
    "space.uniformity": (None, lambda a, b: space.uniformity(a)),
    "contrastive.info_nce": (None, lambda a, b: contrastive.info_nce(a, b, logit_scale=1.0)),
    "contrastive.info_nce, a_to_b, none": (
        None,
        lambda a, b: contrastive.info_nce(a, b, logit_scale=1.0, direction="a_to_b", reduction="none"),
    ),
    "contrastive.siglip": (None, lambda a, b: contrastive.siglip(a, b, logit_scale=1.0, logit_bias=-1.0)),
    "scale.info_nce_tiled": (None, lambda a, b: scale.info_nce_tiled(a, b, logit_scale=1.0, tile=5)),
    "scale.siglip_tiled": (None, lambda a, b: scale.siglip_tiled(a, b, logit_scale=1.0, logit_bias=-1.0, tile=5)),
    "scale.info_nce_distributed": (None, lambda a, b: scale.info_nce_distributed(a, b, logit_scale=1.0)),
    "dann.domain_loss": (None, lambda a, b: dann.domain_loss(a[:, :2], b[:, :2])),
    "dann.class_confusion": (None, lambda a, b: dann.class_confusion(a)),
    "dann.entropy": (None, lambda a, b: dann.entropy(a)),
    "dann.information_maximisation": (None, lambda a, b: dann.information_maximisation(a)),
    "dann.soft_neighbourhood_density": (None, lambda a, b: dann.soft_neighbourhood_density(a)),
    "combined.combined_loss": (
        None,
        lambda a, b: torch.stack(
            list(
                combined.combined_loss(
                    a,
                    b,
                    torch.cat([a, b])[:, :2],
                    (torch.arange(24) < 9).long(),
                    logit_scale=1.0,
                    features=torch.cat([b, a]),
                ).values()
            )
        ),
    ),
    "combined.mmd_loss": (0, combined.mmd_loss),
    "combined.self_training_loss": (None, lambda a, b: combined.self_training_loss(a, b, threshold=0.3)),
    "clip.zero_shot_weights": (
        0,
        lambda a, b: clip.zero_shot_weights(lambda texts: a[: len(texts)], list("pqrs"), ["a {}", "no {}"]),
    ),
}
ELSEWHERE = {  # public, and without a tensor of any size to be given
    "space.CCA": "made by cca, and used by it above",
    "space.ModalityGap": "a result",
    "retrieval.Recall": "a result",
    "mmd.PermutationTest": "a result",
    "contrastive.LogitScale": "numbers, below",
    "contrastive.info_nce_floor": "numbers, below",
    "dann.dann_coeff": "numbers, below",
    "dann.FeatureExtractor": "a network: as large as its weights",
    "dann.LabelPredictor": "a network",
    "dann.DomainClassifier": "a network",
    "clip.CLIPModel": "a network",
    "dann.proxy_a_distance": "slow; below",
    "bridge.CosineRange": "a result",
    "bridge.cosine_range": "cosines, from -1 to 1",
    "bridge.norm_parameters": "says which weights may learn",
    "scale.cached_backward": "calls what it is given; below",
    "scale.all_gather_with_grad": "copies",
    "scale.extra_memory": "measures a call",
}
METHODS = {
    "space": space,
    "contrastive": contrastive,
    "retrieval": retrieval,
    "clip": clip,
    "mmd": mmd,
    "dann": dann,
    "combined": combined,
    "scale": scale,
    "bridge": bridge,
}


def test_no_public_function_is_left_out():
    named = {name.partition(",")[0] for name in CALLS} | ELSEWHERE.keys()
    public = {
        f"{room}.{name}"
        for room, module in METHODS.items()
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    }
    assert public <= named, public - named
    assert {name for name in named if name.split(".")[0] in METHODS} <= public


# -- a common factor


def outcome(call, *tensors):
    """The result, or the ValueError that names an argument of a public function."""
    try:
        return call(*tensors)
    except ValueError as error:
        found = error
    assert str(found).split()[0] in ARGUMENTS
    assert " must" in str(found)
    return found


ARGUMENTS = {
    name
    for module in (*METHODS.values(), report, toy)
    for value in vars(module).values()
    if inspect.isfunction(value)
    for name in inspect.signature(value).parameters
} | {"the"}  # "the result of encode_text must ..."


def holds(dtype, value, factor=1.0, exponent=0):
    """Whether numbers of this dtype can hold value * factor^exponent, a sum of some of it, and all of its digits."""
    logs = value[value != 0].double().abs().log2() + exponent * math.log2(factor)
    low, high = math.log2(torch.finfo(dtype).tiny), math.log2(torch.finfo(dtype).max) - 5
    return bool(((logs > low) & (logs < high)).all())


def times(value, factor, exponent):
    """value * factor^exponent, in float64, by steps that none of them leaves it."""
    value = value.double()
    for _ in range(2 * abs(exponent)):
        value = value * math.sqrt(factor) ** math.copysign(1, exponent)
    return value


def check_law(name, a, b, factors):
    exponent, call = CALLS[name]
    usual = call(a, b)
    for factor in factors:
        found = outcome(call, a * factor, b * factor)
        if isinstance(found, ValueError):
            assert exponent, found
            assert not holds(usual.dtype, usual, factor, exponent), found
            continue
        assert found.dtype == usual.dtype
        assert_close(times(found, factor, -exponent), usual.double(), **near(usual.dtype), msg=beside(factor))


def beside(case):
    """What to say beside a difference found in one of the cases of a loop."""
    return lambda said: f"{case}: {said}"


LAWS = [name for name, (exponent, _) in CALLS.items() if exponent is not None]


@each_dtype
@pytest.mark.parametrize("name", LAWS)
def test_a_common_factor_does_what_it_must(name, dtype):
    check_law(name, *pair(dtype), [power(size) for size in SIZES[dtype]])


@few
@given(st.sampled_from(LAWS), st.sampled_from(EVERY), st.integers(0, 2**31), st.integers(8, 14), st.integers(2, 6))
def test_a_common_factor_does_what_it_must_for_any_rows(name, kind, seed, n, d):
    if "bootstrap" in name:
        d = 4
    if name.startswith("space.cca"):
        d = max(d, 3)
    if "measure_retrieval" in name:
        n = 12
    a, b = (((rows(seed + i, n, d) + i / 2) * 8).round().div(8).to(kind[0]) for i in (0, 1))
    check_law(name, a, b, [power(kind[1])])


EITHER = [
    "space.cosine_similarity_matrix",
    "space.procrustes",
    "space.cca",
    "space.cca, without regularisation",
    "retrieval.hits",
    "retrieval.retrieval",
    "bridge.detour",
    "bridge.relative",
]


@each_dtype
@pytest.mark.parametrize("name", EITHER)
def test_each_side_may_have_a_factor_of_its_own(name, dtype):
    a, b = pair(dtype)
    call = CALLS[name][1]
    expected = call(a, b)
    for size in SIZES[dtype]:
        assert_close(call(a * power(size), b), expected, **near(dtype), msg=beside(size))
        assert_close(call(a, b * power(size)), expected, **near(dtype), msg=beside(size))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*LAWS, "space.uniformity"])
def test_gradients_have_a_factor_too(name, dtype):
    exponent, call = CALLS[name]
    for size in SIZES[dtype]:
        found = []
        for factor in (1.0, power(size)):
            a = (pair(dtype)[0] * factor).requires_grad_()
            value = outcome(call, a, pair(dtype)[1] * factor)
            if isinstance(value, ValueError) or not value.requires_grad:
                break
            weights = torch.linspace(-1, 2, value.numel(), dtype=dtype).view_as(value)
            found += torch.autograd.grad((value * weights).sum(), a)
        if len(found) < 2 or (found[0] != 0).sum() == 0 or found[0].isinf().any():
            continue
        usual, large = found
        if exponent is None:
            assert large.isfinite().all()
        elif holds(dtype, usual, power(size), exponent - 1):
            assert_close(times(large, power(size), 1 - exponent), usual.double(), **near(dtype))


# -- logits and rates: float64, or wider floats, say what is right


LOGITS = [name for name, (exponent, _) in CALLS.items() if exponent is None]


@each_dtype
@pytest.mark.parametrize("name", LOGITS)
def test_logits_of_any_size_give_what_wider_floats_give(name, dtype):
    for size in SIZES[dtype]:
        a, b = (z * power(size) for z in pair(dtype))
        found = outcome(CALLS[name][1], a, b)
        if dtype == torch.float64:
            assert isinstance(found, ValueError) or found.isfinite().all(), size
            continue
        expected = outcome(CALLS[name][1], a.double(), b.double())
        if isinstance(found, ValueError):
            fits = not isinstance(expected, ValueError) and holds(torch.float32, expected)
            assert not fits or name.startswith("space.uniformity"), found
        else:
            assert_close(found.double(), expected, rtol=2e-4, atol=1e-5, msg=beside(size))


def long(z):
    return z.numpy().astype(np.longdouble)


@pytest.mark.skipif(np.finfo(np.longdouble).maxexp < 16000, reason="no wider floats here")
@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e-25, 1.0, 1e25, 1e120, 1e150])
def test_losses_are_their_definitions_in_wider_floats(size):
    a, b = (z * size for z in pair(torch.float64, 6, 6))
    wide = long(a) @ long(b).T

    def log_sum(table, axis):
        top = table.max(axis=axis, keepdims=True)
        return (top + np.log(np.exp(table - top).sum(axis=axis, keepdims=True))).squeeze(axis)

    expected = {
        "info_nce": ((log_sum(wide, 1) + log_sum(wide, 0)) / 2 - wide.diagonal()).mean(),
        "siglip": np.logaddexp(0, -(2 * np.eye(6) - 1) * (wide - 1)).sum() / 6,
        "uniformity": log_sum(-2 * ((long(a)[:, None] - long(a)) ** 2).sum(2)[np.triu_indices(6, 1)], 0) - np.log(15),
    }
    calls = {
        "info_nce": [
            contrastive.info_nce(a, b, logit_scale=1.0),
            scale.info_nce_tiled(a, b, logit_scale=1.0, tile=4),
        ],
        "siglip": [f(a, b, logit_scale=1.0, logit_bias=-1.0) for f in (contrastive.siglip, scale.siglip_tiled)],
        "uniformity": [space.uniformity(a)],
    }
    for name, values in calls.items():
        for value in values:
            assert value.item() == pytest.approx(float(expected[name]), rel=1e-9, abs=1e-12)


# -- sizes side by side


def one_long_row(z):
    z[3] *= 2.0**66
    return z


def one_huge_coordinate(z):
    z[:, 1] *= 2.0**70
    return z


def two_far_clusters(z):
    z[::2] += 2.0**20
    return z


def with_(z, at, value):
    z[at] = value
    return z


MIXED = {
    "one long row": one_long_row,
    "one huge coordinate": one_huge_coordinate,
    "one short row": lambda z: with_(z, 5, z[5] * 2.0**-70),
    "far from the origin": lambda z: z + 2.0**20,
    "two far clusters": two_far_clusters,
    "a constant column": lambda z: with_(z, (slice(None), 2), 3.0),
    "a column of zeros": lambda z: with_(z, (slice(None), 2), 0.0),
    "rows that coincide": lambda z: with_(z, slice(4), z[0].clone()),
    "a row of zeros": lambda z: with_(z, 2, 0.0),
    "minus zeros": lambda z: with_(z, 2, -0.0),
}


FAR = ("far from the origin", "two far clusters")
DOTS = ("info_nce", "siglip", "combined", "retrieval", "procrustes", "bridge")  # far out, dots have few digits
ONE_DIRECTION = (*FAR, "one long row", "one huge coordinate")  # beside which no other turn counts


def beyond(name, mix):
    """Whether nothing can be said: float64 draws other features; what is left over is rounding; not unique."""
    rounding = (mix in FAR and any(word in name for word in DOTS)) or (mix == "two far clusters" and "coral" in name)
    return "rff" in name or rounding or ("procrustes" in name and mix in ONE_DIRECTION)


@pytest.mark.parametrize("name", CALLS)
def test_sizes_side_by_side_give_what_float64_gives(name):
    for mix in MIXED:
        if not beyond(name, mix):
            check_mix(name, mix)


def check_mix(name, mix):
    call = CALLS[name][1]
    a, b = (MIXED[mix](z) for z in pair(torch.float32))
    found, expected = outcome(call, a, b), outcome(call, a.double(), b.double())
    if isinstance(found, ValueError):
        refused = any(words in str(found) for words in ("distances / σ overflow", "the smaller rank"))
        assert refused or isinstance(expected, ValueError) or not holds(torch.float32, expected), found
        return
    assert not isinstance(expected, ValueError), expected
    if "cca" in name:  # the correlations: what is projected far out keeps the rounding of the mean
        found, expected = found[0], expected[0]
    tolerance = 3e-2 if mix in FAR else 1e-4
    assert_close(found.double(), expected.double(), rtol=1e-3, atol=tolerance, msg=beside(mix))


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear"])
@pytest.mark.parametrize("offset", [0.0, 2.0**20])
def test_mmd_of_far_clusters_is_its_definition(estimator, offset):
    """In floats: what is near within a cluster counts, however far the other one is, and one row further still."""
    x, y = (two_far_clusters(z) + offset for z in pair(torch.float32))
    x[0] = 2.0**30

    def k(p, q):
        return math.exp(-float(sum((Fraction(s) - Fraction(t)) ** 2 for s, t in zip(p, q, strict=True))) / 2 / 1.5**2)

    x_, y_, n = x.tolist(), y.tolist(), len(x)
    if estimator == "linear":
        quads = [(x_[i], x_[i + 1], y_[i], y_[i + 1]) for i in range(0, n, 2)]
        expected = sum(k(a, b) + k(p, q) - k(a, q) - k(b, p) for a, b, p, q in quads) / len(quads)
    else:
        less = estimator == "unbiased"
        inside = sum(
            k(p, q) for s in (x_, y_) for i, p in enumerate(s) for j, q in enumerate(s) if i != j or not less
        )
        expected = inside / n / (n - less) - 2 * sum(k(p, q) for p in x_ for q in y_) / n**2
    assert mmd.mmd2(x, y, bandwidths=1.5, estimator=estimator).item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-25, 1.0, 1e25])
def test_medians_see_what_is_near_beside_what_is_far(dtype, size):
    z = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=dtype) * power(size)
    assert mmd.median_bandwidth(z[:2], z[2:]).item() == pytest.approx(3.5 * power(size))  # 1, 2, 3, 4, 6, 7
    far = torch.cat([z, z.new_full((1, 1), power(size) * 2.0**40)])
    assert mmd.median_bandwidth(far[:2], far[2:]).item() == pytest.approx(6.5 * power(size), rel=1e-6)
    with pytest.raises(ValueError, match="x and y must not coincide in half of their 10 pairs"):
        mmd.median_bandwidth(z[[0, 0, 0, 0]] + power(size) / 3, z[:1])


@pytest.mark.parametrize(
    ("dtype", "unit", "far", "expected"),
    [
        (torch.float64, 1.0, [1e200], 6.5),  # squares of 1e-200 are 0
        (torch.float64, 1.0, [1e300], 6.5),
        (torch.float64, 1e-300, [1e300], 6.5e-300),
        (torch.float64, 1.0, [1e200, 3e200, -2e200], 2e200),  # six near pairs, four of 1e200, five of 2e200
        (torch.float32, 1e-20, [1e30], 6.5e-20),
    ],
)
def test_what_lies_as_far_as_floats_reach_does_not_make_the_rest_coincide(dtype, unit, far, expected):
    near_ = torch.tensor([0.0, 1.0, 3.0, 7.0], dtype=dtype) * unit
    rows_ = torch.cat([near_, torch.tensor(far, dtype=dtype)])[:, None]
    assert mmd.median_bandwidth(rows_[:2], rows_[2:]).item() == pytest.approx(expected)


def test_the_median_of_many_rows_has_a_factor_too():
    z = rows(0, 3000, 1, dtype=torch.float32) + 3  # of which it takes 2,048: their sum overflows at 1e37
    usual = mmd.median_bandwidth(z[:9], z[9:])
    for size in (1e37, 1e-36):
        assert_close(mmd.median_bandwidth(z[:9] * power(size), z[9:] * power(size)) / power(size), usual)


def test_a_median_that_no_float_holds_is_named():
    far = torch.tensor([[1.7e308]], dtype=torch.float64)
    with pytest.raises(ValueError, match="x and y must be of a size"):
        mmd.median_bandwidth(far, -far)


@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0), (2.0**60, 1.0, 2.0**-60), (1.0, 2.0**-12, 2.0**-20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_correlations_do_not_depend_on_the_units_of_single_columns(scales, dtype):
    a, b = rows(0, 40, 3), rows(1, 40, 3)
    b[:, 0] += 2 * a[:, 2]
    expected = space.cca(a, b, dim=3, regularisation=0.0).correlations
    units = torch.tensor(scales, dtype=dtype)
    found = space.cca(a.to(dtype) * units, b.to(dtype) * units.flip(0), dim=3, regularisation=0.0)
    assert_close(found.correlations.double(), expected, rtol=1e-4, atol=1e-4)
    assert_close(found.project_a(a.to(dtype) * units).var(dim=0), torch.ones(3, dtype=dtype), rtol=1e-3, atol=1e-3)


# -- ties


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1.0), (torch.float32, 1e20), (torch.float64, 1e-20)])
@pytest.mark.parametrize("sigma", [1e-3, 0.05, 0.3])
@pytest.mark.parametrize(("n", "m"), [(5, 5), (20, 30), (60, 40)])
def test_a_p_value_counts_all_splits_that_are_as_good(dtype, sigma, size, n, m):
    """Rows at two places: a split is as good as the given one if it takes as many of each place, or is further from
    even; so the splits are counted by whole numbers."""
    places = 3 * rows(0, 2, 7, dtype=dtype)
    of = torch.randint(2, (n + m,), generator=seeded())
    z = places[of] * power(size)
    result = mmd.permutation_test(z[:n], z[n:], bandwidths=sigma * power(size), permutations=200, generator=seeded(1))
    dealt = torch.rand(200, n + m, generator=seeded(1)).argsort(dim=1)
    here = of if n <= m else torch.cat([of[n:], of[:n]])  # the smaller sample is dealt out
    small, all_, ones = min(n, m), n + m, of.sum().item()

    def value(a):
        """MMD² where the small sample has a rows at the second place: in fractions, for k is 1 or next to 0."""
        b, large = ones - a, all_ - small
        xx, yy = a * (a - 1) + (small - a) * (small - a - 1), b * (b - 1) + (large - b) * (large - b - 1)
        xy = a * b + (small - a) * (large - b)
        return Fraction(xx, small * (small - 1)) + Fraction(yy, large * (large - 1)) - Fraction(2 * xy, small * large)

    null = [value(count) for count in here[dealt[:, :small]].sum(dim=1).tolist()]
    assert result.p_value == (1 + sum(v >= value(here[:small].sum().item()) for v in null)) / 201


def test_a_small_kernel_is_not_all_ties():
    """Where nothing is near anything, differences are as small as the kernel: they count all the same."""
    x, y = torch.arange(5.0)[:, None], torch.arange(5.0)[:, None] + 20
    for sigma in (1.0, 0.14):  # k of neighbours: .6, and 8e-12
        found = mmd.permutation_test(x, y, bandwidths=sigma, permutations=300, generator=seeded())
        assert found.p_value < 0.03


def test_a_long_caption_makes_no_ties_among_the_others():
    """Of five captions a picture: each is compared within its own rounding, as in `retrieval`."""
    generator = seeded()
    za, owner = torch.randn(40, 8, generator=generator), torch.arange(40).repeat_interleave(5)
    zb = za[owner] + torch.randn(200, 8, generator=generator)
    for length in (1.0, 1e5, 1e30):
        for own in (0, 17):
            longer = zb.clone()
            longer[own] *= length
            found = measure_retrieval(za, longer, owner, resamples=1)["image to text"]
            similar, best = za.double() @ longer.double().T, []
            for row in range(40):
                order = similar[row].argsort(descending=True)
                best.append(owner[order].tolist().index(row))
            expected = {k: sum(rank < k for rank in best) / 40 for k in (1, 5, 10)}
            assert {k: recall.value for k, recall in found.items()} == pytest.approx(expected)


# -- kinds of tensors


def expanded(z):
    return z[:1].expand_as(z)


KINDS = {
    "transposed": lambda z: z.T.contiguous().T,
    "every second": lambda z: torch.stack([z, z * torch.nan], dim=2).flatten(1)[:, ::2],
    "a parameter": lambda z: torch.nn.Parameter(z),
    "from numpy": lambda z: torch.from_numpy(np.asfortranarray(z.numpy())),
    "in inference mode": lambda z: in_inference_mode(z),
}


def in_inference_mode(z):
    with torch.inference_mode():
        return z.clone()


@pytest.mark.parametrize("name", CALLS)
def test_how_a_tensor_lies_in_memory_changes_nothing(name):
    a, b = pair(torch.float32)
    before = a.clone(), b.clone()
    expected = CALLS[name][1](a, b)
    for kind, make in KINDS.items():
        found = CALLS[name][1](make(a), make(b)).detach()
        assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=beside(kind))
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize("name", CALLS)
def test_rows_that_are_one_row_in_memory(name):
    a, b = pair(torch.float32)
    found, expected = (outcome(CALLS[name][1], kind(a), b) for kind in (expanded, lambda z: expanded(z).clone()))
    if isinstance(found, ValueError):
        assert str(found) == str(expected)
    else:
        assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in LAWS if not any(s in n for s in ("measure", "bootstrap", "zero_shot"))])
def test_few_rows_and_columns(name):
    for n, d in ((2, 1), (2, 4), (4, 4), (3, 9)):
        found = outcome(CALLS[name][1], *pair(torch.float64, n, n, d))
        assert isinstance(found, ValueError) or found.isfinite().all(), (n, d)


WRONG = {
    "numpy": (lambda z: z.numpy(), TypeError),
    "a list": (lambda z: z.tolist(), TypeError),
    "whole numbers": (lambda z: z.long(), TypeError),
    "yes and no": (lambda z: z > 0, TypeError),
    "complex": (lambda z: z.to(torch.complex64), TypeError),
    "8 bits": (lambda z: z.to(torch.float8_e4m3fn), TypeError),
    "sparse": (lambda z: z.to_sparse(), TypeError),
    "one row": (lambda z: z[0], ValueError),
    "a number": (lambda z: z[0, 0], ValueError),
    "three axes": (lambda z: z[None], ValueError),
    "no row": (lambda z: z[:0], ValueError),
    "no column": (lambda z: z[:, :0], ValueError),
    "NaN": (lambda z: z.masked_fill(z == z.max(), torch.nan), ValueError),
    "infinity": (lambda z: z.masked_fill(z == z.max(), -torch.inf), ValueError),
}
SLICED = (
    "dann.domain_loss",
    "combined.combined",
    "online",
    "interval",
    "gain",
    "grad_reverse",
    "zero_shot",
    "mmd2_by_label",
    "hits",
    "retrieval.retrieval",
    "cca",
    "modality_gap",
)  # cut up before they are given


@pytest.mark.parametrize(
    "name", [name for name in CALLS if not name.startswith(SLICED) and not any(s in name for s in SLICED)]
)
def test_wrong_kinds_are_named(name):
    a, b = pair(torch.float32)
    for make, error in WRONG.values():
        with pytest.raises(error, match=r"^\w+ must "):
            CALLS[name][1](make(a), b)


# -- numbers beside tensors


@pytest.mark.parametrize(
    "scale_",
    [1e-38, 1e-20, 1e20, 1e30, 1e38, 10**30, Fraction(10**30), 10**400, -1, 0, math.inf, math.nan, "1", None],
)
@pytest.mark.parametrize("loss", ["info_nce", "siglip", "info_nce_tiled", "siglip_tiled", "info_nce_distributed"])
def test_scales_of_any_size(loss, scale_):
    a, b = (F.normalize(z, dim=1) for z in pair(torch.float32))
    module = contrastive if hasattr(contrastive, loss) else scale
    bias = {"logit_bias": 0.0} if "siglip" in loss else {}
    call = functools.partial(getattr(module, loss), logit_scale=scale_, **bias)
    if not (isinstance(scale_, int | float | Fraction) and 0 < scale_ < 1e39):
        with pytest.raises((TypeError, ValueError), match=r"^logit_scale must"):
            call(a, b)
        return
    found = outcome(call, a, b)
    if isinstance(found, ValueError):
        assert float(scale_) > 1e36
    else:
        assert_close(found.double(), call(a.double(), b.double()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: contrastive.info_nce_floor(2**53, 1.0), 53 * math.log(2) - 1),
        (lambda: contrastive.info_nce_floor(10**400, 1.0), "n must be from 1 to"),
        (lambda: contrastive.info_nce_floor(5, 1e300), 0.0),
        (lambda: contrastive.info_nce_floor(5, 1e-300), math.log(5)),
        (lambda: contrastive.info_nce_floor(5, 10**400), "logit_scale must be a finite number"),
        (lambda: math.log(contrastive.LogitScale(init=1e38, maximum=1e38)().item()), math.log(1e38)),
        (lambda: contrastive.LogitScale(maximum=1e300), "maximum must be at least 1, and"),
        (lambda: dann.dann_coeff(1, gamma=1e308), 1.0),
        (lambda: dann.dann_coeff(1, gamma=1e-300), 5e-301),
        (lambda: dann.dann_coeff(0.5, gamma=10**400), "gamma must be a finite number"),
        (lambda: dann.grad_reverse(torch.ones(1), 1e39), "coeff must be 0 or above"),
        (lambda: dann.grad_reverse(torch.ones(1).half(), 1e5), "coeff must be 0 or above"),
        (lambda: dann.class_confusion(torch.eye(3), temperature=1e-45), "logits and temperature must"),
        (lambda: dann.class_confusion(torch.eye(3), temperature=1e-30).item(), 0.0),
        (lambda: dann.class_confusion(torch.eye(3), temperature=1e30).item(), 2 / 3),
        (lambda: dann.entropy(torch.tensor([[3e38, -3e38]])).item(), 0.0),
        (lambda: dann.information_maximisation(torch.tensor([[3e38, -3e38]])).item(), 0.0),
        (
            lambda: dann.domain_loss(*torch.tensor([[[-3e38, 3e38]], [[3e38, -3e38]]])),
            "source_logits and target_logits",
        ),
        (lambda: dann.soft_neighbourhood_density(torch.eye(3), temperature=1e-44), "logits and temperature must"),
        (lambda: space.alignment(torch.eye(2), -torch.eye(2), alpha=1000.0), "za and zb and alpha must be of a size"),
        (
            lambda: space.alignment(torch.eye(2), 0.9 * torch.eye(2), alpha=1000.0),
            "za and zb and alpha must be of a size",
        ),
        (lambda: space.alignment(torch.eye(2), torch.eye(2)).item(), 0.0),
        (
            lambda: contrastive.info_nce(1e20 * torch.eye(2), 1 - torch.eye(2), logit_scale=Fraction(10**30)),
            "za and zb and logit_scale must be of a size that lets",
        ),
        (lambda: space.cca(*(1e-39 * z for z in pair(torch.float32)), dim=1), "a must be of a size that lets"),
        (lambda: space.uniformity(torch.eye(2), t=1e-45).item(), 0.0),
        (lambda: space.uniformity(torch.eye(2), t=1e30).item(), -2e30),
        (lambda: space.uniformity(torch.eye(2), t=3e38), "z and t must be of a size"),
        (lambda: mmd.mmd2(torch.eye(3), 1 - torch.eye(3), bandwidths=1e38).item(), 0.0),
        (lambda: mmd.mmd2(torch.eye(3), 1 - torch.eye(3), bandwidths=1e-30), "bandwidths must not be so small"),
        (lambda: mmd.mmd2(torch.eye(3), 1 - torch.eye(3), bandwidths=10**400), "bandwidths must be a finite number"),
        (
            lambda: mmd.mmd2(*(1e25 * z for z in (torch.eye(3), 1 - torch.eye(3))), bandwidths=1e25).item(),
            mmd.mmd2(torch.eye(3), 1 - torch.eye(3), bandwidths=1.0).item(),
        ),
        (lambda: report.interval([1e200, 3e200]).mean, 2e200),
        (lambda: report.interval([1e-200, 3e-200]).high, 2e-200 + 12.706204736 * 1e-200),
        (lambda: report.interval([1e308, -1e308]), "values must not be so large"),
        (lambda: retrieval.hits(torch.eye(2), torch.eye(2), k=[10**30])[0, 0].item(), 1.0),
        (lambda: toy.moons(4, noise=1e38, generator=seeded()), "noise must be at most 1e30"),
        (lambda: toy.paired_gaussians(4, dim=2, latent=1, noise=1e38, generator=seeded()), "noise must be at most"),
    ],
)
def test_numbers_at_the_edge(call, expected):
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=f"^{expected}"):
            call()
    else:
        assert call() == pytest.approx(expected, rel=1e-6, abs=1e-6 * (abs(expected) > 1e-30))


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_the_probe_needs_no_usual_sizes(size):
    x, y = rows(0, 15, 2) * size, (rows(1, 15, 2) + torch.tensor([9.0, 0.0])) * size
    assert dann.proxy_a_distance(x, y) == 2.0


def test_towers_that_give_nan_are_named():
    weight = torch.full((2, 2), math.nan, requires_grad=True)
    with pytest.raises(ValueError, match=r"^towers\[0\] must return finite vectors"):
        scale.cached_backward(lambda z: z.sum(), (lambda x: x @ weight, torch.ones(4, 2)), chunk=2)


# -- torch.func, which has no values to look at either

LOSSES = [
    "space.alignment",
    "space.uniformity",
    "space.cosine_similarity_matrix",
    "mmd.mmd2",
    "mmd.mmd2, biased",
    "mmd.mmd2, linear",
    "mmd.mmd2_by_label",
    "mmd.median_bandwidth",
    "mmd.coral",
    "contrastive.info_nce",
    "contrastive.siglip",
    "scale.info_nce_distributed",
    "scale.info_nce_tiled",
    "scale.siglip_tiled",
    "dann.domain_loss",
    "dann.class_confusion",
    "dann.entropy",
    "dann.grad_reverse",
    "dann.information_maximisation",
    "dann.soft_neighbourhood_density",
    "dann.multilinear_map",
]


@pytest.mark.parametrize("name", LOSSES)
def test_vmap_grad_and_their_nestings(name):
    a, b = (torch.stack([z, 2 * z.flip(0), z.roll(1, 1)]) for z in pair(torch.float64))
    call = CALLS[name][1]

    def total(x, y):
        return call(x, y).sum()

    def gradient(x, y):
        x = x.clone().requires_grad_()
        value = total(x, y)
        return torch.autograd.grad(value, x)[0] if value.requires_grad else torch.zeros_like(x)

    values = torch.stack([call(x, y) for x, y in zip(a, b, strict=True)])
    gradients = torch.stack([gradient(x, y) for x, y in zip(a, b, strict=True)])
    vmap, grad = torch.func.vmap, torch.func.grad
    assert_close(vmap(call)(a, b), values, rtol=1e-6, atol=1e-9)
    assert_close(torch.stack([grad(total)(x, y) for x, y in zip(a, b, strict=True)]), gradients, rtol=1e-6, atol=1e-9)
    assert_close(vmap(grad(total))(a, b), gradients, rtol=1e-6, atol=1e-9)
    assert_close(grad(lambda x: vmap(total)(x, b).sum())(a), gradients, rtol=1e-6, atol=1e-9)
    assert_close(torch.func.jacrev(total)(a[0], b[0]), gradients[0], rtol=1e-6, atol=1e-9)


@pytest.mark.long  # for the first derivative of this kind torch compiles some
@pytest.mark.parametrize("name", [*LOSSES, "space.modality_gap", "combined.combined_loss"])
def test_forward_mode_gives_the_gradient(name):
    a, b = pair(torch.float64)

    def total(x):
        return CALLS[name][1](x, b).sum()

    x = a.clone().requires_grad_()
    value = total(x)
    gradient = torch.autograd.grad(value, x)[0] if value.requires_grad else torch.zeros_like(x)
    assert_close(torch.func.jacfwd(total)(a), gradient, rtol=1e-6, atol=1e-9)
    with forward_ad.dual_level(), torch.no_grad():  # which forward mode takes no notice of
        tangent = forward_ad.unpack_dual(total(forward_ad.make_dual(a, b))).tangent
    expected = (gradient * b).sum()
    assert_close(torch.zeros_like(expected) if tangent is None else tangent, expected, rtol=1e-6, atol=1e-9)


class _NoPdist(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "pdist" not in str(func), f"Apple's GPU has no {func}"
        return func(*args, **(kwargs or {}))


def test_no_distance_is_made_by_what_a_gpu_lacks():
    a, b = pair(torch.float32)
    a.requires_grad_()
    with _NoPdist():
        (mmd.mmd2(a, b) + space.uniformity(a) + mmd.mmd2_by_label(a, torch.arange(12) % 2)).backward()
        mmd.permutation_test(a.detach(), b, permutations=9, generator=seeded())
    assert a.grad.isfinite().all()
