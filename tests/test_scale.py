"""Tiled losses and gradient caching against the plain losses on the whole batch, and against open_clip.

Several processes have a file of their own: test_processes.py.
"""

import math
import mmap
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import layouts
from open_clip.loss import ClipLoss, SigLipLoss
from torch import nn
from torch.testing import assert_close

from xlib import encoders
from xlib.contrastive import LogitScale, info_nce, siglip
from xlib.scale import cached_backward, extra_memory, info_nce_tiled, siglip_tiled

few = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**31)
sizes = st.integers(1, 9)
tiles = st.integers(1, 12)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def unit(seed, *shape, dtype=torch.float64):
    return F.normalize(normal(seed, *shape), dim=1).to(dtype)


def with_gradients(loss, *leaves):
    """A loss and the gradients of three times it, with respect to the leaves."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]  # no copy: the layout stays
    value = loss(*leaves)
    return value.detach(), *torch.autograd.grad(3 * value, leaves)


def assert_same(tiled, full, za, zb, scale, *bias):
    """Equal losses and gradients, up to the rounding of the largest logit there can be, or of the bound's shift.

    A loss of one entry with slope 1 sets the natural size of each: what is zero by cancellation is compared on it.
    """
    found, expected = (with_gradients(loss, za, zb, scale, *bias) for loss in (tiled, full))
    wide = torch.promote_types(za.dtype, torch.float32)
    longest = [z.to(wide).norm(dim=1).max().item() for z in (za, zb)]
    largest = longest[0] * longest[1] * scale.item() + sum(abs(b.item()) for b in bias)
    if not bias:
        largest = max(largest, math.log(torch.finfo(wide).max))
    rounding = 8 * torch.finfo(wide).eps * (1 + largest)
    entries = len(za) if bias else 1  # SigLIP adds up N entries a row
    natural = [entries, longest[1] * scale.item(), longest[0] * scale.item(), entries * longest[0] * longest[1]]
    natural += [entries] * len(bias)
    assert found[0].dtype == wide
    assert found[0].shape == ()
    for mine, other, size in zip(found, expected, natural, strict=True):
        assert mine.dtype == other.dtype
        coarse = torch.finfo(mine.dtype).eps
        assert_close(mine, other, rtol=4 * coarse + rounding, atol=3 * size * rounding)


def tiled_info_nce(tile):
    return lambda a, b, s: info_nce_tiled(a, b, logit_scale=s, tile=tile)


def full_info_nce(a, b, s):
    return info_nce(a, b, logit_scale=s)


def tiled_siglip(tile):
    return lambda a, b, s, bias: siglip_tiled(a, b, logit_scale=s, logit_bias=bias, tile=tile)


def full_siglip(a, b, s, bias):
    return siglip(a, b, logit_scale=s, logit_bias=bias)


# Both losses as functions of two sides and a scale, tiled and whole.
BOTH = {
    "info_nce": (tiled_info_nce, full_info_nce),
    "siglip": (
        lambda tile: lambda a, b, s: tiled_siglip(tile)(a, b, s, -3.0),
        lambda a, b, s: full_siglip(a, b, s, -3.0),
    ),
}
each_loss = pytest.mark.parametrize(("tiled", "full"), BOTH.values(), ids=BOTH)


# -- tiled is whole


@few
@given(
    seeds,
    sizes,
    st.integers(1, 9),
    tiles,
    st.floats(0.01, 100),
    dtypes,
    st.sampled_from([unit, normal]),
    layouts,
    st.sampled_from([(), (1,), (1, 1)]),
)
def test_tiled_info_nce_is_info_nce(seed, n, d, tile, scale, dtype, draw, layout, shape):
    za, zb = (layout(draw(seed + side, n, d, dtype=dtype)) for side in (0, 1))
    wide = torch.promote_types(dtype, torch.float32)
    assert_same(tiled_info_nce(tile), full_info_nce, za, zb, torch.full(shape, scale, dtype=wide))


@few
@given(
    seeds,
    sizes,
    st.integers(1, 9),
    tiles,
    st.floats(0.01, 100),
    st.floats(-20, 20),
    dtypes,
    st.sampled_from([unit, normal]),
    layouts,
    st.sampled_from([(), (1,), (1, 1)]),
)
def test_tiled_siglip_is_siglip(seed, n, d, tile, scale, bias, dtype, draw, layout, shape):
    za, zb = (layout(draw(seed + side, n, d, dtype=dtype)) for side in (0, 1))
    wide = torch.promote_types(dtype, torch.float32)
    scale, bias = (torch.full(shape, value, dtype=wide) for value in (scale, bias))
    assert_same(tiled_siglip(tile), full_siglip, za, zb, scale, bias)


@few
@given(seeds, st.integers(2, 20), st.floats(0.5, 1), tiles, st.booleans(), st.booleans())
def test_far_pairs_at_a_scale_of_100(seed, n, opposite, tile, mirrored, one):
    """Unit vectors with cosines around -.5 to -1, of all rows or of one: 150 to 200 below the bound."""
    axis = torch.eye(8, dtype=torch.float64)[0]
    za = F.normalize(axis + 0.05 * normal(seed, n, 8), dim=1)
    away = normal(seed + 1, n, 8) * (1 - axis)
    zb = -opposite * axis + (1 - opposite**2) ** 0.5 * F.normalize(away, dim=1)
    if one:
        za[1:] = zb[1:]
    za, zb = (za.float(), zb.float()) if mirrored else (zb.float(), za.float())
    assert_same(tiled_info_nce(tile), full_info_nce, za, zb, torch.tensor(100.0))


def path_taken(za, zb, scale, tile=4):
    return "shared" if info_nce_tiled(za.requires_grad_(), zb, logit_scale=scale, tile=tile).grad_fn.shared else "own"


def sums_below(za, zb, scale):
    """Sums of exponentials below one bound for all, as high as float32 allows."""
    logits = scale * za @ zb.T
    bound = scale * za.norm(dim=1).max() * zb.norm(dim=1).max()
    exp = (logits - bound + math.log(torch.finfo(logits.dtype).max) - math.log(len(za)) - 1).exp()
    return torch.cat([exp.sum(dim=0), exp.sum(dim=1)])


def test_where_the_shared_sums_vanish_they_are_made_again():
    """Opposite unit vectors at a scale of 100. The shared sums are 0, their logarithm gives no loss."""
    za = unit(0, 9, 4, dtype=torch.float32) * 0.1 + torch.tensor([1.0, 0, 0, 0])
    za = F.normalize(za, dim=1)
    zb = -za.roll(1, dims=0)
    assert path_taken(za, zb, 100.0) == "own"
    assert (sums_below(za.detach(), zb, 100.0) == 0).any()
    loss = info_nce_tiled(za, zb, logit_scale=100.0, tile=4)
    assert_close(loss, info_nce(za, zb, logit_scale=100.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["row", "column"])
def test_one_short_row_or_column_among_long_ones_is_enough(side):
    """Its logits are about 0, the bound is 400: in float32 its sum vanishes, in float64 it does not."""
    short, long = 20 * torch.eye(6), 20 * torch.eye(6)
    short[3] = torch.tensor([0.3, -0.2, 0.1, 0.5, 0.4, 0.2])
    long[3] = long[2]  # so that the other side of pair 3 has a logit of 400 too
    za, zb = (short, long) if side == "row" else (long, short)
    assert path_taken(za.clone(), zb, 1.0) == "own"
    assert path_taken(za.double(), zb.double(), 1.0) == "shared"
    sums = sums_below(za, zb, 1.0)
    assert (sums == 0).sum() == 1
    for dtype in (torch.float32, torch.float64):
        assert_same(tiled_info_nce(4), full_info_nce, za.to(dtype), zb.to(dtype), torch.tensor(1.0, dtype=dtype))


def test_a_sum_of_which_a_part_vanished_is_made_again():
    """Somewhere on the way down the largest exponential of row 2 is still there, and the next one is missing."""
    below = math.log(torch.finfo(torch.float32).max) - math.log(4) - 1 - 400  # what all logits get in common
    last = math.log(torch.finfo(torch.float32).tiny) - below  # a logit whose exponential is the last normal number
    torch.set_flush_denormal(True)  # as in the lessons
    left = []
    for lift in range(9):  # wherever exactly the bound is put
        za, zb = 20 * torch.eye(4), 20 * torch.eye(4)
        za[2], zb[2] = torch.tensor([last + lift + 1, last + lift - 0.7, 0, 0]) / 20, zb[0]
        assert path_taken(za.clone(), zb, 1.0) == "own"
        assert_same(tiled_info_nce(3), full_info_nce, za, zb, torch.tensor(1.0))
        left.append(sums_below(za, zb, 1.0)[4 + 2].item())
    assert left[0] > 0


@pytest.mark.parametrize("seed", range(3))
def test_unit_vectors_take_the_fast_path(seed):
    za, zb = unit(seed, 300, 512, dtype=torch.float32), unit(seed + 9, 300, 512, dtype=torch.float32)
    for scale in (1.0, 1 / 0.07, 100.0):
        assert path_taken(za, zb, scale, tile=128) == "shared"
        assert path_taken(za, za.detach(), scale, tile=128) == "shared"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 33])
@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 100.0])
def test_flushing_denormals_changes_nothing(n, scale, dtype):
    """The lessons let the processor do so. Logits close to the bound make sums close to the largest float, and the
    inverse of that is a denormal."""
    za, zb = unit(0, n, 8, dtype=dtype), unit(1, n, 8, dtype=dtype)
    torch.set_flush_denormal(True)
    for other in (zb, za):
        assert_same(tiled_info_nce(5), full_info_nce, za, other, torch.tensor(scale, dtype=dtype))


@pytest.mark.parametrize(("length", "dtype"), [(1e3, torch.float32), (1e4, torch.float32), (1e8, torch.float64)])
def test_rounding_of_huge_logits_does_not_lift_them_over_the_largest_float(length, dtype):
    """Equal rows: each logit is the bound, give or take a rounding of more than 1."""
    for d in (2, 64, 512):
        for seed in range(10):
            z = length * unit(seed, 1, d, dtype=dtype).repeat(5, 1)
            value, *gradients = with_gradients(
                lambda a, b: info_nce_tiled(a, b, logit_scale=100.0, tile=3), z, z.clone()
            )
            assert all(torch.isfinite(part).all() for part in (value, *gradients))


def test_logits_of_a_million_are_no_trouble():
    za, zb = (normal(seed, 9, 4, dtype=torch.float32) * 50 for seed in (0, 1))
    scale = torch.tensor(100.0)
    found = with_gradients(tiled_info_nce(4), za, zb, scale)
    exact = with_gradients(full_info_nce, za.double(), zb.double(), scale.double())
    assert exact[0] > 1e5
    for mine, true in zip(found, exact, strict=True):
        assert_close(mine.double(), true, rtol=1e-4, atol=1e-4 * true.abs().max().item())


def test_a_nearly_perfect_batch_keeps_its_small_loss():
    za = 0.12 * torch.eye(2) + 0.88
    for tile in (1, 2):
        found = info_nce_tiled(za, torch.eye(2), logit_scale=100.0, tile=tile)
        assert found.item() == pytest.approx(math.log1p(math.exp(-12.0)), rel=0.05)


def test_a_loss_is_never_negative():
    """Rounding of a sum of one exponential may put its logarithm below the logit."""
    for scale in torch.linspace(0.5, 100, 200).tolist():
        assert info_nce_tiled(torch.ones(1, 1), torch.ones(1, 1), logit_scale=scale) >= 0


def test_siglip_keeps_the_tail_of_softplus():
    """log(1 + exp(x)) - x is 1.4e-11 at x = 25 and 8e-14 at 30, where torch's own softplus gives 0."""
    for logit in (25.0, 30.0):
        za, zb = torch.tensor([[1.0, 0], [0, 1]]).double(), torch.tensor([[0, 0], [1.0, 0]]).double()
        found = siglip_tiled(za, zb, logit_scale=logit, logit_bias=0.0) - (logit + 3 * math.log(2)) / 2
        assert found.item() == pytest.approx(math.log1p(math.exp(-logit)) / 2, rel=0.2)


@each_loss
@pytest.mark.parametrize("side", ["za", "zb", "scale"])
def test_only_one_needs_a_gradient(tiled, full, side):
    leaves = {"za": unit(0, 7, 4), "zb": unit(1, 7, 4), "scale": torch.tensor(5.0).double()}
    leaves[side].requires_grad_()
    expected = torch.autograd.grad(full(*leaves.values()), leaves[side])
    assert_close(torch.autograd.grad(tiled(3)(*leaves.values()), leaves[side]), expected)
    tiled(3)(*leaves.values()).backward()
    assert [name for name, leaf in leaves.items() if leaf.grad is not None] == [side]


def test_only_the_bias_needs_a_gradient():
    leaves = unit(0, 7, 4), unit(1, 7, 4), 5.0, torch.tensor([-1.0], requires_grad=True)
    expected = torch.autograd.grad(full_siglip(*leaves), leaves[-1])
    assert_close(torch.autograd.grad(tiled_siglip(3)(*leaves), leaves[-1]), expected)


@each_loss
def test_the_scale_may_be_a_number_or_of_another_type(tiled, full):
    za, zb = unit(0, 7, 4, dtype=torch.float32), unit(1, 7, 4, dtype=torch.float32)
    expected = full(za, zb, 2.0)
    for scale in (2, 2.0, torch.tensor(2), torch.tensor([2.0]).double(), torch.tensor([[2.0]]).half()):
        assert_close(tiled(3)(za, zb, scale), expected)


@pytest.mark.parametrize("bias", [-10, 0.1, torch.tensor(-3), torch.tensor([0.3]).double(), torch.tensor(0.5).half()])
def test_the_bias_may_be_a_number_or_of_another_type(bias):
    """In float64 a number keeps its 53 bits: 0.1 must not come by way of float32."""
    for dtype in (torch.float32, torch.float64):
        za, zb = unit(0, 7, 4, dtype=dtype), unit(1, 7, 4, dtype=dtype)
        exact = bias.to(dtype) if isinstance(bias, torch.Tensor) else bias
        near = {"rtol": 1e-6, "atol": 0} if dtype == torch.float32 else {"rtol": 1e-13, "atol": 0}
        assert_close(tiled_siglip(3)(za, zb, 2.0, bias), full_siglip(za, zb, 2.0, exact), **near)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("far", [False, True])
def test_autocast_changes_nothing(tiled, full, dtype, far):
    """Not even with the backward pass inside, where autocast would round the products of plain torch."""
    za, zb = unit(0, 33, 16, dtype=torch.float32), unit(1, 33, 16, dtype=torch.float32)
    leaves = za, -za if far else zb, torch.tensor(100.0)
    expected = with_gradients(tiled(10), *leaves)
    with torch.autocast("cpu", dtype=dtype):
        found = with_gradients(tiled(10), *leaves)
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        assert_close(mine, other, rtol=0, atol=0)
    assert_same(tiled(10), full, *leaves)


@each_loss
def test_arguments_are_left_as_they_were(tiled, full):
    leaves = normal(0, 5, 3), normal(1, 5, 3), torch.tensor(2.0).double()
    before = [leaf.clone() for leaf in leaves]
    with_gradients(tiled(2), *leaves)
    assert all(torch.equal(x, y) for x, y in zip(leaves, before, strict=True))


@each_loss
def test_the_default_tile(tiled, full):
    """1,100 rows: one tile more than a batch of 1,024."""
    za, zb, scale = unit(0, 1100, 4, dtype=torch.float32), unit(1, 1100, 4, dtype=torch.float32), torch.tensor(9.0)
    ours = {tiled_info_nce: info_nce_tiled}.get(tiled, lambda a, b, **s: siglip_tiled(a, b, logit_bias=-3.0, **s))
    assert_same(lambda a, b, s: ours(a, b, logit_scale=s), full, za, zb, scale)


# -- derivatives


@pytest.mark.parametrize("path", ["shared", "own"])
def test_info_nce_gradcheck(path):
    za, zb = normal(0, 5, 3), normal(1, 5, 3)
    if path == "own":
        za[0] = zb[0] = torch.tensor([40.0, 0, 0])  # a bound of 4,000, out of reach of the other rows
    leaves = [leaf.requires_grad_() for leaf in (za, zb, torch.tensor(2.5).double())]
    assert path_taken(za, zb, leaves[2]) == path
    assert torch.autograd.gradcheck(tiled_info_nce(2), leaves)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_siglip_gradcheck(shape):
    scale, bias = torch.full(shape, 2.5, dtype=torch.float64), torch.full(shape, -1.0, dtype=torch.float64)
    leaves = [leaf.requires_grad_() for leaf in (normal(0, 5, 3), normal(1, 5, 3), scale, bias)]
    assert torch.autograd.gradcheck(tiled_siglip(2), leaves)


@each_loss
def test_a_second_derivative_is_refused(tiled, full):
    za, zb = unit(0, 5, 3).requires_grad_(), unit(1, 5, 3)
    weight = torch.tensor(2.0).double().requires_grad_()

    def second(loss):
        (first,) = torch.autograd.grad(weight * loss(za, zb, 2.0), za, create_graph=True)
        first.square().sum().backward()

    with pytest.raises(RuntimeError, match="differentiate twice"):
        second(tiled(2))
    assert za.grad is None
    second(full)
    assert za.grad.abs().max() > 0  # the plain loss has one


@each_loss
def test_no_graph_where_none_is_wanted(tiled, full):
    za, zb = unit(0, 5, 3).requires_grad_(), unit(1, 5, 3)
    with torch.no_grad():
        found = tiled(2)(za, zb, 2.0)
    assert found.grad_fn is None
    assert not found.requires_grad
    assert not tiled(2)(za.detach(), zb, 2.0).requires_grad
    assert_close(found, full(za, zb, 2.0).detach())


# -- open_clip


@pytest.mark.parametrize("scale", [0.5, 1 / 0.07, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 33])
def test_open_clip_agrees(scale, dtype, n):
    za, zb = unit(0, n, 8, dtype=dtype), unit(1, n, 8, dtype=dtype)
    scale, bias = torch.tensor(scale, dtype=dtype), torch.tensor(-10.0, dtype=dtype)
    assert_same(tiled_info_nce(10), lambda a, b, s: ClipLoss()(a, b, s), za, zb, scale)
    assert_same(tiled_siglip(10), lambda a, b, s, t: SigLipLoss()(a, b, s, t), za, zb, scale, bias)


# -- memory


def test_extra_memory_is_the_peak_of_the_call():
    def call(megabytes):
        held = mmap.mmap(-1, megabytes * 10**6)  # new pages: an allocator may still hold some of an earlier test's
        for place in range(0, len(held), mmap.PAGESIZE):
            held[place] = 1
        time.sleep(0.1)
        held.close()  # gone again before the end

    assert 45 < extra_memory(lambda: call(50)) < 70
    assert extra_memory(lambda: call(1)) < 15
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        extra_memory(lambda: 1 / 0)
    assert threading.active_count() == before  # nobody goes on watching


def in_a_fresh_process(call):
    """MB that the call needs at its peak, in a fresh process where what is freed is given back at once."""
    script = Path(__file__).with_name("memory_worker.py")
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    return float(subprocess.run([sys.executable, script, call], env=env, check=True, capture_output=True).stdout)


linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read as on Linux")


@pytest.mark.long
@linux
def test_tiles_need_an_eighth_of_the_memory():
    """4,096 pairs: the table of logits is 67 MB, and the plain loss keeps and makes several."""
    plain, tiled = in_a_fresh_process("info_nce"), in_a_fresh_process("info_nce_tiled")
    assert plain > 150
    assert tiled < plain / 8


@pytest.mark.long
@linux
def test_cached_backward_needs_the_memory_of_a_chunk():
    """2,048 pairs in chunks of 128 against 128 pairs: no more than its 1.6, and three times the vectors."""
    vectors = 3 * 2 * 2048 * 64 * 4 / 2**20
    one, all_of_them = in_a_fresh_process("batch of 128"), in_a_fresh_process("batch of 2048 in chunks of 128")
    assert all_of_them < 1.6 * one + vectors


# -- gradient caching


class Model(nn.Module):
    """Lesson 03's encoders and scale."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text, self.scale = encoders.ImageEncoder((16, 32)), encoders.TextEncoder(30), LogitScale()

    def loss(self, za, zb):
        return info_nce(F.normalize(za, dim=1), F.normalize(zb, dim=1), logit_scale=self.scale())


def batch(n):
    tokens = torch.randint(1, 30, (n, 4), generator=torch.Generator().manual_seed(1))
    return normal(0, n, 3, 16, 32, dtype=torch.float32), tokens


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


def assert_near(found, expected):
    """To 1e-5 of the largest entry of each gradient."""
    for mine, other in zip(found, expected, strict=True):
        assert other.abs().max() > 0
        assert_close(mine, other, rtol=0, atol=1e-5 * max(1, other.abs().max().item()))


@pytest.mark.parametrize("chunk", [1, 5, 8, 23, 100])
def test_cached_gradients_are_those_of_the_whole_batch(chunk):
    images, tokens = batch(23)
    whole, cached = Model().eval(), Model().eval()
    expected = whole.loss(whole.image(images), whole.text(tokens))
    expected.backward()
    value = cached_backward(cached.loss, (cached.image, images), (cached.text, tokens), chunk=chunk)
    assert not value.requires_grad
    assert_close(value, expected.detach(), rtol=0, atol=1e-5)
    assert_near(gradients(cached), gradients(whole))


def test_accumulated_chunks_would_give_another_gradient():
    """Why it takes more than a loop over chunks."""
    images, tokens = batch(20)
    summed, cached = Model().eval(), Model().eval()
    for part, words in zip(images.split(5), tokens.split(5), strict=True):
        (summed.loss(summed.image(part), summed.text(words)) / 4).backward()
    cached_backward(cached.loss, (cached.image, images), (cached.text, tokens), chunk=5)
    mine, other = (torch.cat([g.flatten() for g in gradients(model)]) for model in (cached, summed))
    assert (mine - other).norm() > 0.1 * mine.norm()


def test_gradients_are_added_to_what_is_there():
    images, tokens = batch(7)
    once, twice = Model().eval(), Model().eval()
    for model, times in ((once, 1), (twice, 2)):
        for _ in range(times):
            cached_backward(model.loss, (model.image, images), (model.text, tokens), chunk=3)
    assert_near(gradients(twice), [2 * gradient for gradient in gradients(once)])


@pytest.mark.parametrize("towers", [1, 3])
def test_any_number_of_towers(towers):
    torch.manual_seed(0)
    encoders = nn.ModuleList(nn.Linear(4, 3) for _ in range(towers))
    inputs = [normal(seed, 7, 4, dtype=torch.float32) for seed in range(towers)]

    def loss(*vectors):
        return sum(
            info_nce(a, b, logit_scale=2.0) for a, b in zip(vectors, (*vectors[1:], inputs[0][:, :3]), strict=True)
        )

    loss(*(encode(x) for encode, x in zip(encoders, inputs, strict=True))).backward()
    expected = [gradient.clone() for gradient in gradients(encoders)]
    encoders.zero_grad()
    cached_backward(loss, *zip(encoders, inputs, strict=True), chunk=2)
    assert_near(gradients(encoders), expected)


def test_a_frozen_tower_stays_without_gradients():
    images, tokens = batch(9)
    whole, cached = Model().eval(), Model().eval()
    for model in (whole, cached):
        model.text.requires_grad_(False)
    whole.loss(whole.image(images), whole.text(tokens)).backward()
    cached_backward(cached.loss, (cached.image, images), (cached.text, tokens), chunk=4)
    assert gradients(cached.text) == [None] * len(gradients(cached.text))
    assert_near(gradients(cached.image), gradients(whole.image))


def test_a_tower_that_the_loss_ignores_gets_zeros():
    images, tokens = batch(5)
    model = Model().eval()
    cached_backward(lambda za, zb: za.square().sum(), (model.image, images), (model.text, tokens), chunk=2)
    assert all(not gradient.any() for gradient in gradients(model.text))


def test_it_works_where_gradients_are_switched_off():
    images, tokens = batch(5)
    model, other = Model().eval(), Model().eval()
    cached_backward(other.loss, (other.image, images), (other.text, tokens), chunk=2)
    with torch.no_grad():
        cached_backward(model.loss, (model.image, images), (model.text, tokens), chunk=2)
    assert_near(gradients(model), gradients(other))


def test_under_autocast_weights_get_their_gradients():
    """A weight that autocast rounded without a graph must not be used again with one, and the loss's own products
    are not rounded on the way back."""
    torch.manual_seed(0)
    whole = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    cached = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    cached.load_state_dict(whole.state_dict())
    inputs, other = normal(0, 16, 6, dtype=torch.float32), unit(1, 16, 4, dtype=torch.float32)
    mix = normal(2, 4, 4, dtype=torch.float32).requires_grad_()

    def loss(z):
        return info_nce(F.normalize(z.float() + 0 * mix.sum(), dim=1), other, logit_scale=20.0)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = loss(whole(inputs))
    expected.backward()  # outside, as torch asks for
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cached_backward(loss, (cached, inputs), chunk=16)
    for mine, right in zip(gradients(cached), gradients(whole), strict=True):
        assert_close(mine, right, rtol=1e-4, atol=1e-4 * right.abs().max().item())


# -- what draws random numbers, and what looks at its neighbours


def chunkwise(encode, inputs, chunk):
    return torch.cat([encode(part) for part in inputs.split(chunk)])


@pytest.mark.parametrize("chunk", [3, 4, 12])
def test_dropout_is_the_same_in_both_passes(chunk):
    """As through the joined chunks in one graph, from the same random state. The loss draws from it too, and what
    comes after goes on from there."""
    images, others = batch(12)[0], normal(5, 12, 3, 16, 32, dtype=torch.float32)
    plain, cached, still = Model(), Model(), Model().eval()

    def noisy(model):
        return lambda za, zb: model.loss(za, F.dropout(zb, 0.1))

    torch.manual_seed(3)
    noisy(plain)(chunkwise(plain.image, images, chunk), chunkwise(plain.image, others, chunk)).backward()
    after = torch.rand(3)
    torch.manual_seed(3)
    cached_backward(noisy(cached), (cached.image, images), (cached.image, others), chunk=chunk)
    assert torch.equal(torch.rand(3), after)
    expected = gradients(plain.image) + gradients(plain.scale)
    assert_near(gradients(cached.image) + gradients(cached.scale), expected)
    still.loss(still.image(images), still.image(others)).backward()  # dropout was on, and made a difference
    assert (gradients(still.image)[-1] - gradients(cached.image)[-1]).norm() > 0.05 * gradients(still.image)[
        -1
    ].norm()


@pytest.mark.parametrize("number", [0, 1])
def test_a_tower_that_augments_for_itself_is_found_out(number):
    images, tokens = batch(8)
    model = Model().eval()
    generator = torch.Generator().manual_seed(0)

    def augmented(part):
        return model.image(encoders.random_affine(part, generator=generator))

    towers = [(model.text, tokens)]
    towers.insert(number, (augmented, images))
    with pytest.raises(RuntimeError, match=rf"towers\[{number}\].*augment"):
        cached_backward(model.loss, *towers, chunk=4)


def test_batch_norm_in_training_sees_its_chunk_and_moves_twice():
    """The caveat: chunks are normalised each by itself, so this is not the gradient of the batch."""
    inputs, targets = normal(0, 12, 4, dtype=torch.float32), unit(1, 12, 3, dtype=torch.float32)

    def fresh():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

    def loss(z):
        return info_nce(z, targets, logit_scale=2.0)

    whole, chunks, cached, twice = fresh(), fresh(), fresh(), fresh()
    loss(whole(inputs)).backward()
    loss(chunkwise(chunks, inputs, 4)).backward()
    cached_backward(loss, (cached, inputs), chunk=4)
    assert_near(gradients(cached)[2:], gradients(chunks)[2:])
    assert_close(gradients(cached)[0], gradients(chunks)[0], rtol=0, atol=1e-6)
    assert (gradients(cached)[0] - gradients(whole)[0]).norm() > 0.1 * gradients(whole)[0].norm()
    assert chunks[1].num_batches_tracked == 3
    assert cached[1].num_batches_tracked == 6
    for _ in range(2):
        chunkwise(twice, inputs, 4)
    assert_close(cached[1].running_mean, twice[1].running_mean)
    assert not torch.allclose(cached[1].running_mean, chunks[1].running_mean)


@pytest.mark.parametrize("norm", [lambda: nn.GroupNorm(2, 4), lambda: nn.LayerNorm(4)], ids=["group", "layer"])
def test_norms_of_single_rows_are_safe(norm):
    torch.manual_seed(0)
    encode = nn.Sequential(nn.Linear(4, 4), norm()).train()
    inputs, targets = normal(0, 12, 4, dtype=torch.float32), unit(1, 12, 4, dtype=torch.float32)

    def loss(z):
        return info_nce(z, targets, logit_scale=2.0)

    loss(encode(inputs)).backward()
    expected = [gradient.clone() for gradient in gradients(encode)]
    encode.zero_grad()
    cached_backward(loss, (encode, inputs), chunk=5)
    for mine, other in zip(gradients(encode), expected, strict=True):
        assert_close(mine, other, rtol=0, atol=1e-5)


# -- wrong arguments are named

GOOD = torch.ones(3, 2)
BAD = [
    ({"za": np.ones((3, 2))}, TypeError, "za"),
    ({"za": GOOD.long()}, TypeError, "za"),
    ({"za": torch.ones(2)}, ValueError, "za"),
    ({"za": torch.ones(0, 2), "zb": torch.ones(0, 2)}, ValueError, "za"),
    ({"za": torch.full((3, 2), torch.nan)}, ValueError, "za"),
    ({"zb": torch.full((3, 2), torch.inf)}, ValueError, "zb"),
    ({"zb": torch.ones(3, 3)}, ValueError, "zb"),
    ({"zb": torch.ones(4, 2)}, ValueError, "zb"),
    ({"zb": GOOD.double()}, TypeError, "zb"),
    ({"zb": GOOD.to("meta")}, ValueError, "zb"),
    ({"logit_scale": 0.0}, ValueError, "logit_scale"),
    ({"logit_scale": torch.tensor(-1.0)}, ValueError, "logit_scale"),
    ({"logit_scale": torch.ones(3)}, ValueError, "logit_scale"),
    ({"logit_scale": math.nan}, ValueError, "logit_scale"),
    ({"logit_scale": None}, TypeError, "logit_scale"),
    ({"tile": 0}, ValueError, "tile"),
    ({"tile": -1}, ValueError, "tile"),
    ({"tile": 2.0}, TypeError, "tile"),
    ({"tile": True}, TypeError, "tile"),
]


@pytest.mark.parametrize(("change", "error", "named"), BAD)
def test_wrong_arguments_of_the_losses_are_named(change, error, named):
    arguments = {"za": GOOD, "zb": GOOD, "logit_scale": 2.0} | change
    for loss in (info_nce_tiled, lambda *a, **k: siglip_tiled(*a, logit_bias=-1.0, **k)):
        with pytest.raises(error, match=f"^{named} must"):
            loss(arguments["za"], arguments["zb"], **{k: v for k, v in arguments.items() if k[0] != "z"})


@pytest.mark.parametrize(
    ("bias", "error"), [(math.inf, ValueError), (torch.ones(2), ValueError), (None, TypeError), ("-10", TypeError)]
)
def test_a_wrong_bias_is_named(bias, error):
    with pytest.raises(error, match=r"^logit_bias must"):
        siglip_tiled(GOOD, GOOD, logit_scale=2.0, logit_bias=bias)


ENCODE = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("loss", "towers", "chunk", "error", "named"),
    [
        (torch.sum, [(ENCODE, GOOD)], 0, ValueError, "chunk"),
        (torch.sum, [(ENCODE, GOOD)], 2.0, TypeError, "chunk"),
        (torch.sum, [], 2, ValueError, "towers"),
        (torch.sum, [(ENCODE, GOOD), (None, GOOD)], 2, TypeError, r"towers\[1\]"),
        (torch.sum, [(ENCODE, [1.0])], 2, TypeError, r"towers\[0\]"),
        (torch.sum, [(ENCODE, torch.tensor(1.0))], 2, (TypeError, ValueError), r"towers\[0\]"),
        (torch.sum, [(ENCODE, GOOD[:0])], 2, (TypeError, ValueError), r"towers\[0\]"),
        (torch.sum, [ENCODE], 2, TypeError, r"towers\[0\]"),
        (torch.sum, [(ENCODE,)], 2, TypeError, r"towers\[0\]"),
        (torch.sum, [(ENCODE, GOOD), (lambda x: x[:1], GOOD)], 2, ValueError, r"towers\[1\]"),
        (torch.sum, [(lambda x: [x], GOOD)], 2, (TypeError, ValueError), r"towers\[0\]"),
        (None, [(ENCODE, GOOD)], 2, TypeError, "loss"),
        (lambda z: z, [(ENCODE, GOOD)], 2, ValueError, "loss"),
        (lambda z: 3.0, [(ENCODE, GOOD)], 2, TypeError, "loss"),
    ],
)
def test_wrong_arguments_of_cached_backward_are_named(loss, towers, chunk, error, named):
    with pytest.raises(error, match=f"^{named} must"):
        cached_backward(loss, *towers, chunk=chunk)
