"""InfoNCE, SigLIP, the learned scale and the floor, against loops over plain floats and against open_clip."""

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import layouts
from open_clip.loss import ClipLoss, SigLipLoss
from torch.testing import assert_close

from xlib.contrastive import LogitScale, info_nce, info_nce_floor, siglip

DIRECTIONS = ("both", "a_to_b", "b_to_a")
few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def unit(seed, *shape, dtype=torch.float64):
    return F.normalize(normal(seed, *shape), dim=1).to(dtype)


def rotation(seed, d):
    return torch.linalg.qr(normal(seed, d, d))[0]


def with_gradients(loss, *leaves):
    """A loss and its gradients with respect to fresh copies of the leaves."""
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    value = loss(*leaves)
    return value, *torch.autograd.grad(value.sum(), leaves)


# -- independent references: loops over Python floats


def dot(x, y):
    return math.fsum(p * q for p, q in zip(x, y, strict=True))


def log_of_sum_of_exp(values):
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def reference_info_nce(za, zb, scale, direction):
    za, zb = za.double().tolist(), zb.double().tolist()
    losses = []
    for i in range(len(za)):
        row = log_of_sum_of_exp([scale * dot(za[i], b) for b in zb]) - scale * dot(za[i], zb[i])
        column = log_of_sum_of_exp([scale * dot(a, zb[i]) for a in za]) - scale * dot(za[i], zb[i])
        losses.append({"a_to_b": row, "b_to_a": column, "both": (row + column) / 2}[direction])
    return losses


def reference_siglip(za, zb, scale, bias):
    za, zb = za.double().tolist(), zb.double().tolist()
    total = 0.0
    for i, a in enumerate(za):
        for j, b in enumerate(zb):
            x = (1 if i == j else -1) * (scale * dot(a, b) + bias)
            total += math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x)) - x
    return total / len(za)


# -- InfoNCE


@few
@given(
    seeds,
    st.integers(1, 7),
    st.integers(1, 5),
    st.floats(0.01, 100),
    st.sampled_from(DIRECTIONS),
    st.sampled_from([torch.float32, torch.float64]),
    layouts,
)
def test_info_nce_is_its_definition(seed, n, d, scale, direction, dtype, layout):
    za, zb = layout(normal(seed, n, d, dtype=dtype)), layout(normal(seed + 1, n, d, dtype=dtype))
    expected = torch.tensor(reference_info_nce(za, zb, scale, direction), dtype=dtype)
    near = {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    assert_close(info_nce(za, zb, logit_scale=scale, direction=direction, reduction="none"), expected, **near)
    assert_close(info_nce(za, zb, logit_scale=scale, direction=direction), expected.mean(), **near)


def test_info_nce_goes_both_ways_and_averages_unless_told():
    za, zb = unit(0, 5, 3), unit(1, 5, 3)
    assert_close(
        info_nce(za, zb, logit_scale=7.0),
        info_nce(za, zb, logit_scale=7.0, direction="both", reduction="none").mean(),
    )
    parameters = inspect.signature(info_nce).parameters
    assert list(parameters) == ["za", "zb", "logit_scale", "direction", "reduction"]
    assert parameters["logit_scale"].default is inspect.Parameter.empty


@few
@given(seeds, st.integers(2, 7), st.sampled_from(DIRECTIONS))
def test_info_nce_symmetries(seed, n, direction):
    za, zb = normal(seed, n, 4), normal(seed + 1, n, 4)
    shuffle = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    turn = rotation(seed, 4)
    losses = info_nce(za, zb, logit_scale=3.0, direction=direction, reduction="none")
    kept = {"logit_scale": 3.0, "direction": direction, "reduction": "none"}
    assert_close(info_nce(za[shuffle], zb[shuffle], **kept), losses[shuffle])
    assert_close(info_nce(za @ turn, zb @ turn, **kept), losses)
    mirrored = {"both": "both", "a_to_b": "b_to_a", "b_to_a": "a_to_b"}[direction]
    assert_close(info_nce(zb, za, logit_scale=3.0, direction=mirrored, reduction="none"), losses)


def test_nothing_is_normalised_in_secret():
    za, zb = unit(0, 6, 3), unit(1, 6, 3)
    assert_close(info_nce(3 * za, zb, logit_scale=2.0), info_nce(za, zb, logit_scale=6.0))
    assert_close(
        siglip(3 * za, zb, logit_scale=2.0, logit_bias=-1.0),
        siglip(za, zb, logit_scale=6.0, logit_bias=-1.0),
    )


def test_one_direction_leaves_the_other_unconstrained():
    logits = 5 * torch.eye(3, dtype=torch.float64) + torch.tensor([[0.0], [8.0], [16.0]])
    identity = torch.eye(3, dtype=torch.float64)
    a_to_b = info_nce(logits, identity, logit_scale=1.0, direction="a_to_b").item()
    b_to_a = info_nce(logits, identity, logit_scale=1.0, direction="b_to_a").item()
    assert a_to_b == pytest.approx(0.0134, abs=5e-5)
    assert b_to_a == pytest.approx(4.683, abs=5e-4)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_info_nce_gradcheck(direction, shape):
    leaves = [normal(0, 4, 3), normal(1, 4, 3), torch.full(shape, 2.5, dtype=torch.float64)]
    leaves = [leaf.requires_grad_() for leaf in leaves]

    def loss(za, zb, scale):
        return info_nce(za, zb, logit_scale=scale, direction=direction, reduction="none")

    assert torch.autograd.gradcheck(loss, leaves)
    assert torch.autograd.gradgradcheck(loss, leaves)


@pytest.mark.parametrize("scale", [0.5, 1 / 0.07, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 33])
def test_info_nce_agrees_with_open_clip(scale, dtype, n):
    leaves = unit(0, n, 8, dtype=dtype), unit(1, n, 8, dtype=dtype), torch.tensor(scale, dtype=dtype)
    ours = with_gradients(lambda za, zb, s: info_nce(za, zb, logit_scale=s), *leaves)
    theirs = with_gradients(lambda za, zb, s: ClipLoss()(za, zb, s), *leaves)
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-11}
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine, other, **near)


def test_each_negative_is_pushed_by_its_own_probability():
    za, zb = normal(0, 5, 3), normal(1, 5, 3)
    _, grad, _ = with_gradients(
        lambda a, b: info_nce(a, b, logit_scale=2.0, direction="a_to_b", reduction="none"), za, zb
    )
    push = torch.softmax(2 * za @ zb.T, dim=1) - torch.eye(5)
    assert_close(grad, 2 * push @ zb)


# -- SigLIP


@few
@given(
    seeds,
    st.integers(1, 7),
    st.integers(1, 5),
    st.floats(0.01, 100),
    st.floats(-20, 20),
    st.sampled_from([torch.float32, torch.float64]),
    layouts,
)
def test_siglip_is_its_definition(seed, n, d, scale, bias, dtype, layout):
    za, zb = layout(normal(seed, n, d, dtype=dtype)), layout(normal(seed + 1, n, d, dtype=dtype))
    expected = torch.tensor(reference_siglip(za, zb, scale, bias), dtype=dtype)
    near = {"rtol": 1e-5, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    assert_close(siglip(za, zb, logit_scale=scale, logit_bias=bias), expected, **near)


@few
@given(seeds, st.integers(2, 7))
def test_siglip_symmetries(seed, n):
    za, zb = normal(seed, n, 4), normal(seed + 1, n, 4)
    shuffle = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    turn = rotation(seed, 4)
    loss = siglip(za, zb, logit_scale=3.0, logit_bias=-2.0)
    for a, b in [(zb, za), (za[shuffle], zb[shuffle]), (za @ turn, zb @ turn)]:
        assert_close(siglip(a, b, logit_scale=3.0, logit_bias=-2.0), loss)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_siglip_gradcheck(shape):
    scale, bias = torch.full(shape, 2.5, dtype=torch.float64), torch.full(shape, -1.0, dtype=torch.float64)
    leaves = [leaf.requires_grad_() for leaf in (normal(0, 4, 3), normal(1, 4, 3), scale, bias)]

    def loss(za, zb, scale, bias):
        return siglip(za, zb, logit_scale=scale, logit_bias=bias)

    assert torch.autograd.gradcheck(loss, leaves)
    assert torch.autograd.gradgradcheck(loss, leaves)


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (100.0, -10.0), (1.0, 3.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_siglip_agrees_with_open_clip(scale, bias, dtype):
    leaves = (
        unit(0, 17, 8, dtype=dtype),
        unit(1, 17, 8, dtype=dtype),
        torch.tensor(scale, dtype=dtype),
        torch.tensor(bias, dtype=dtype),
    )
    ours = with_gradients(lambda za, zb, s, b: siglip(za, zb, logit_scale=s, logit_bias=b), *leaves)
    theirs = with_gradients(lambda za, zb, s, b: SigLipLoss()(za, zb, s, b), *leaves)
    near = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-11}
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine, other, **near)


# -- numerics

LOSSES = {
    "info_nce": (lambda za, zb, s: info_nce(za, zb, logit_scale=s)),
    "a_to_b": (lambda za, zb, s: info_nce(za, zb, logit_scale=s, direction="a_to_b")),
    "b_to_a": (lambda za, zb, s: info_nce(za, zb, logit_scale=s, direction="b_to_a")),
    "siglip": (lambda za, zb, s: siglip(za, zb, logit_scale=s, logit_bias=-10.0)),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every_loss
def test_logits_of_a_million_are_no_trouble(loss):
    za, zb = (normal(seed, 9, 4, dtype=torch.float32) * 50 for seed in (0, 1))  # products around 1e4
    scale = torch.tensor(100.0)
    found = with_gradients(loss, za, zb, scale)
    exact = with_gradients(loss, za.double(), zb.double(), scale.double())
    assert exact[0] > 1e5
    for mine, true in zip(found, exact, strict=True):
        assert_close(mine.double(), true, rtol=1e-4, atol=1e-4 * true.abs().max().item())


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_nearly_perfect_batch_keeps_its_small_loss(direction):
    """log sum exp - diagonal would round this 3e-6 to the grid of numbers near 100, 8e-6 wide."""
    za = 0.12 * torch.eye(2) + 0.88
    found = info_nce(za, torch.eye(2), logit_scale=100.0, direction=direction)
    assert found.item() == pytest.approx(math.log1p(math.exp(-12.0)), rel=0.05)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_computed_in_float32(loss, dtype):
    za, zb = unit(0, 33, 16, dtype=dtype), unit(1, 33, 16, dtype=dtype)
    scale = torch.tensor(100.0)
    found = with_gradients(loss, za, zb, scale)
    expected = with_gradients(loss, za.float(), zb.float(), scale)
    assert [x.dtype for x in found] == [torch.float32, dtype, dtype, torch.float32]
    assert_close(found[0], expected[0])
    assert_close(found[3], expected[3])
    for mine, other in zip(found[1:3], expected[1:3], strict=True):
        assert_close(mine, other.to(dtype))
    big = torch.full((2, 4), 300.0, dtype=torch.float16)  # 4 * 300² overflows float16
    assert torch.isfinite(loss(big, big, 1.0))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(loss, dtype):
    def under_autocast(*leaves):
        with torch.autocast("cpu", dtype=dtype):
            return loss(*leaves)

    leaves = unit(0, 33, 16, dtype=torch.float32), unit(1, 33, 16, dtype=torch.float32), torch.tensor(100.0)
    expected, found = with_gradients(loss, *leaves), with_gradients(under_autocast, *leaves)
    for mine, other in zip(found, expected, strict=True):
        assert_close(mine, other, rtol=0, atol=0)


@every_loss
def test_a_scale_of_another_type_does_not_change_the_loss(loss):
    za, zb = unit(0, 5, 3, dtype=torch.float32), unit(1, 5, 3, dtype=torch.float32)
    expected = loss(za, zb, 2.0)
    for scale in (2, torch.tensor(2), torch.tensor([2.0]).double(), torch.tensor([[2.0]]).half()):
        assert_close(loss(za, zb, scale), expected)


@every_loss
def test_arguments_are_left_as_they_were(loss):
    za, zb, scale = normal(0, 4, 3), normal(1, 4, 3), torch.tensor(2.0)
    before = za.clone(), zb.clone(), scale.clone()
    loss(za, zb, scale)
    assert all(torch.equal(x, y) for x, y in zip((za, zb, scale), before, strict=True))


def test_a_batch_of_one_has_nothing_to_learn():
    za, zb, scale = unit(0, 1, 3), unit(1, 1, 3), torch.tensor(100.0, dtype=torch.float64)
    for direction in DIRECTIONS:
        for found in with_gradients(
            lambda a, b, s, way=direction: info_nce(a, b, logit_scale=s, direction=way), za, zb, scale
        ):
            assert_close(found, torch.zeros_like(found), rtol=0, atol=0)
    yes = siglip(za, za, logit_scale=2.0, logit_bias=-1.0).item()
    assert yes == pytest.approx(math.log(1 + math.exp(-1.0)))


@pytest.mark.parametrize("n", [1, 2, 50])
def test_identical_rows_cost_log_n(n):
    z = torch.ones(n, 3)
    for direction in DIRECTIONS:
        assert info_nce(z, z, logit_scale=100.0, direction=direction).item() == pytest.approx(math.log(n))


# -- the learned scale


@few
@given(st.floats(1, 100))
def test_the_scale_starts_at_init_and_stores_its_logarithm(init):
    scale = LogitScale(init=init)
    assert scale().shape == ()
    assert scale().item() == pytest.approx(init, rel=1e-5)
    assert scale.log_scale.item() == pytest.approx(math.log(init), abs=1e-6)
    assert dict(scale.state_dict()).keys() == {"log_scale"}
    (gradient,) = torch.autograd.grad(scale(), scale.log_scale)
    assert gradient.item() == pytest.approx(init, rel=1e-5)  # d exp(x) / dx = exp(x): exp was applied once


def test_the_scale_starts_at_clips_value():
    assert LogitScale()().item() == pytest.approx(1 / 0.07)
    assert LogitScale().maximum == 100.0
    assert "14.29" in repr(LogitScale())


@pytest.mark.parametrize(
    ("stored", "kept"), [(-2.0, 1.0), (0.0, 1.0), (1.5, math.exp(1.5)), (4.7, 100.0), (50.0, 100.0)]
)
def test_clamping_brings_the_parameter_into_range_in_place(stored, kept):
    scale = LogitScale()
    parameter = scale.log_scale
    parameter.data.fill_(stored)
    scale.clamp_()
    assert scale.log_scale is parameter
    assert parameter.requires_grad
    assert scale().item() == pytest.approx(kept, rel=1e-5)


def test_maximum_is_the_callers():
    scale = LogitScale(init=5, maximum=20)
    scale.log_scale.data.fill_(9.0)
    scale.clamp_()
    assert scale().item() == pytest.approx(20, rel=1e-5)


def test_above_the_cap_the_gradient_lives():
    """The trap: min(scale, 100) inside the loss has no gradient above 100, so the scale can never come back."""
    za = unit(0, 8, 4, dtype=torch.float32)
    zb = za.roll(1, dims=0)  # every pair is wrong, so any sensible step makes the scale smaller

    def step(forward, *, clamp):
        scale = LogitScale(init=100.0)
        scale.log_scale.data.fill_(math.log(120.0))
        optimizer = torch.optim.SGD(scale.parameters(), lr=0.1)
        info_nce(za, zb, logit_scale=forward(scale)).backward()
        gradient = scale.log_scale.grad.item()
        optimizer.step()
        if clamp:
            scale.clamp_()
        return gradient, scale.log_scale.item()

    trapped, stayed = step(lambda scale: scale().clamp(max=100.0), clamp=False)
    assert trapped == 0.0
    assert stayed == pytest.approx(math.log(120.0))
    gradient, moved = step(lambda scale: scale(), clamp=True)
    assert gradient > 1.0
    assert moved < math.log(100.0)


def test_a_scale_can_be_learned():
    za = unit(0, 32, 16, dtype=torch.float32)
    scale = LogitScale(maximum=50.0)
    optimizer = torch.optim.SGD(scale.parameters(), lr=1.0)
    seen = []
    for _ in range(60):
        optimizer.zero_grad()
        info_nce(za, za, logit_scale=scale()).backward()  # every pair is right: the sharper the better
        optimizer.step()
        scale.clamp_()
        seen.append(scale().item())
    assert seen[0] > 1 / 0.07
    assert max(seen) <= 50.0001


# -- the floor


@pytest.mark.parametrize(
    ("n", "scale", "floor"), [(256, 1.0, 4.548), (1, 1.0, 0.0), (1, 100.0, 0.0), (2, 1.0, 0.126928)]
)
def test_known_floors(n, scale, floor):
    assert info_nce_floor(n, scale) == pytest.approx(floor, abs=5e-4)


@few
@given(st.integers(2, 40), st.floats(0.01, 25))
def test_a_regular_simplex_reaches_the_floor(n, scale):
    corners = F.normalize(torch.eye(n, dtype=torch.float64) - 1 / n, dim=1)
    for direction in DIRECTIONS:
        reached = info_nce(corners, corners, logit_scale=scale, direction=direction).item()
        assert reached == pytest.approx(info_nce_floor(n, scale), rel=1e-9, abs=1e-13)


@few
@given(seeds, st.integers(1, 12), st.integers(1, 12), st.floats(0.01, 100), st.floats(0, 2))
def test_no_unit_vectors_get_below_the_floor(seed, n, d, scale, noise):
    """Also close to the optimum: corners of a simplex, with a little noise."""
    corners = torch.eye(n, max(n, d), dtype=torch.float64) - torch.eye(n, max(n, d)).sum(0).double() / n
    za = F.normalize(corners + noise * normal(seed, *corners.shape), dim=1)
    zb = F.normalize(corners + noise * normal(seed + 1, *corners.shape), dim=1)
    for direction in DIRECTIONS:
        loss = info_nce(za, zb, logit_scale=scale, direction=direction).item()
        assert loss >= info_nce_floor(n, scale) - 1e-12


def test_the_floor_takes_tensors_and_extremes():
    assert info_nce_floor(256, torch.tensor([1.0], requires_grad=True)) == info_nce_floor(256, 1.0)
    assert info_nce_floor(10**6, 1e-9) == pytest.approx(math.log(10**6))
    assert info_nce_floor(2, 1e4) == 0.0
    assert info_nce_floor(3, 30.0) == pytest.approx(2 * math.exp(-45.0), rel=1e-12, abs=0)


# -- wrong arguments are named


GOOD = torch.ones(3, 2)
BAD_EMBEDDINGS = [
    (np.ones((3, 2)), TypeError),
    (torch.ones(3, 2, dtype=torch.long), TypeError),
    (torch.ones(2), ValueError),
    (torch.ones(3, 2, 1), ValueError),
    (torch.ones(0, 2), ValueError),
    (torch.ones(3, 0), ValueError),
    (torch.full((3, 2), torch.nan), ValueError),
    (torch.full((3, 2), torch.inf), ValueError),
]
BAD_SCALES = [
    (0.0, ValueError),
    (-1.0, ValueError),
    (float("nan"), ValueError),
    (float("inf"), ValueError),
    (torch.tensor(0.0), ValueError),
    (torch.ones(3), ValueError),
    (None, TypeError),
    ("14", TypeError),
]


@every_loss
@pytest.mark.parametrize(("bad", "error"), BAD_EMBEDDINGS)
def test_bad_embeddings_are_named(loss, bad, error):
    with pytest.raises(error, match=r"^za must"):
        loss(bad, GOOD, 1.0)
    with pytest.raises(error, match=r"^zb must"):
        loss(GOOD, bad, 1.0)


@every_loss
@pytest.mark.parametrize(
    ("bad", "error"),
    [(torch.ones(4, 2), ValueError), (torch.ones(3, 5), ValueError), (GOOD.double(), TypeError)],
)
def test_halves_that_do_not_match_are_named(loss, bad, error):
    with pytest.raises(error, match=r"^zb must have za's"):
        loss(GOOD, bad, 1.0)


@every_loss
@pytest.mark.parametrize(("bad", "error"), BAD_SCALES)
def test_bad_scales_are_named(loss, bad, error):
    with pytest.raises(error, match=r"^logit_scale must"):
        loss(GOOD, GOOD, bad)
    with pytest.raises(error, match=r"^logit_scale must"):
        info_nce_floor(3, bad)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: info_nce(GOOD, GOOD, logit_scale=1.0, direction="image_to_text"), ValueError, "direction"),
        (lambda: info_nce(GOOD, GOOD, logit_scale=1.0, reduction="sum"), ValueError, "reduction"),
        (lambda: siglip(GOOD, GOOD, logit_scale=1.0, logit_bias=float("nan")), ValueError, "logit_bias"),
        (lambda: siglip(GOOD, GOOD, logit_scale=1.0, logit_bias=torch.ones(3)), ValueError, "logit_bias"),
        (lambda: siglip(GOOD, GOOD, logit_scale=1.0, logit_bias=None), TypeError, "logit_bias"),
        (lambda: info_nce_floor(0, 1.0), ValueError, "n"),
        (lambda: info_nce_floor(2.0, 1.0), TypeError, "n"),
        (lambda: LogitScale(init=0.0), ValueError, "init"),
        (lambda: LogitScale(init=-1.0), ValueError, "init"),
        (lambda: LogitScale(init=0.5), ValueError, "init"),
        (lambda: LogitScale(init=101.0), ValueError, "init"),
        (lambda: LogitScale(init=float("nan")), ValueError, "init"),
        (lambda: LogitScale(init=None), TypeError, "init"),
        (lambda: LogitScale(init=1.0, maximum=0.5), ValueError, "maximum"),
        (lambda: LogitScale(maximum=float("inf")), ValueError, "maximum"),
    ],
)
def test_other_bad_arguments_are_named(call, error, name):
    with pytest.raises(error, match=f"^{name} must"):
        call()
