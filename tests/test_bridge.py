"""What joins modalities without pairs: the range of a third cosine against vectors, the detour and relative
representations against loops, and what TENT adapts on models of all kinds."""

import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from xlib.bridge import cosine_range, detour, norm_parameters, relative
from xlib.space import cosine_similarity_matrix

few = settings(deadline=None, max_examples=25)
cosines = st.floats(-1, 1)
WIDE = torch.float64


def normal(seed, *shape, dtype=WIDE):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=WIDE).to(dtype)


def unit(seed, *shape, dtype=WIDE):
    return F.normalize(normal(seed, *shape), dim=-1).to(dtype)


# -- cosine_range


def at(cosine, direction):
    """(d,) the unit vector with that cosine to the first axis, whose rest points along `direction` (d - 1,)."""
    return torch.cat([torch.tensor([cosine], dtype=WIDE), math.sqrt(1 - cosine**2) * direction])


@few
@given(cosines, cosines, st.integers(0, 2**31), st.integers(2, 6))
def test_vectors_keep_to_the_range_and_reach_both_ends(a, b, seed, d):
    least, _, most = cosine_range(torch.tensor(a, dtype=WIDE), torch.tensor(b, dtype=WIDE))
    u, v = unit(seed, 2, d - 1)
    assert least - 1e-12 <= at(a, u) @ at(b, v) <= most + 1e-12
    assert_close(at(a, u) @ at(b, u), most, rtol=0, atol=1e-12)
    assert_close(at(a, u) @ at(b, -u), least, rtol=0, atol=1e-12)


@few
@given(cosines, cosines)
def test_the_range_is_that_of_the_angles(a, b):
    """Also where α + β is more than π: the angle between is 2π - α - β there, whose cosine is the same."""
    least, _, most = cosine_range(torch.tensor(a, dtype=WIDE), torch.tensor(b, dtype=WIDE))
    assert least.item() == pytest.approx(math.cos(math.acos(a) + math.acos(b)), abs=1e-12)
    assert most.item() == pytest.approx(math.cos(math.acos(a) - math.acos(b)), abs=1e-12)


@few
@given(cosines, cosines)
def test_the_middle_is_the_mean_of_the_range(a, b):
    found = cosine_range(a, b)
    assert_close(found.middle, (found.least + found.most) / 2, rtol=0, atol=1e-6)
    assert -1 <= found.least <= found.middle <= found.most <= 1
    swapped = cosine_range(b, a)
    assert all(torch.equal(x, y) for x, y in zip(found, swapped, strict=True))


def test_in_random_directions_the_middle_is_the_mean_and_most_are_as_near_as_said():
    a, b, d, n = 0.8, -0.5, 65, 4000
    directions = unit(0, 2, n, d - 1)
    x, y = (torch.stack([at(cosine, u) for u in part]) for cosine, part in zip((a, b), directions, strict=True))
    found, (_, middle, most) = (x * y).sum(dim=1), cosine_range(a, b)
    root = (most - middle).item()
    error = root / math.sqrt(d - 1)  # of one cosine: what is off t has one direction of d - 1
    assert found.mean().item() == pytest.approx(middle.item(), abs=4 * error / math.sqrt(n))
    assert found.std().item() == pytest.approx(error, rel=0.1)
    assert ((found - middle).abs() < 2 * error).double().mean() > 0.93


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, WIDE])
def test_the_range_is_a_point_where_one_vector_is_t_or_its_opposite(dtype):
    others = torch.linspace(-1, 1, 9).to(dtype)
    for sign in (1.0, -1.0):
        for given_ in ((sign, others), (others, torch.tensor(sign, dtype=dtype))):
            for part in cosine_range(*given_):
                assert part.dtype == torch.promote_types(dtype, torch.float32)
                assert torch.equal(part, sign * others.to(part.dtype))


def test_no_digit_is_lost_near_1():
    a = torch.linspace(0.999, 1, 1001)
    root = [math.sqrt((1 - Fraction(x) ** 2) * Fraction(3, 4)) for x in a.tolist()]
    least, _, most = cosine_range(a, 0.5)
    assert_close(most.double(), a / 2 + torch.tensor(root, dtype=WIDE), rtol=0, atol=1.5e-7)  # its square: 4e-7
    assert_close(least.double(), a / 2 - torch.tensor(root, dtype=WIDE), rtol=0, atol=1.5e-7)


@pytest.mark.parametrize("dtype", [torch.float32, WIDE])
def test_no_end_is_beyond_1(dtype):
    a = torch.linspace(-1, 1, 2001, dtype=dtype)
    assert cosine_range(a, a).most.max() == 1
    assert cosine_range(a, -a).least.min() == -1


@pytest.mark.parametrize(
    ("a", "b", "dtype"),
    [
        (1.00001, 1.00001, None),
        (-1.000009, 1, None),
        (torch.tensor(1.0078, dtype=torch.bfloat16), -1, None),
        (torch.tensor(1.0 + 9e-6, dtype=WIDE), 1, None),
    ],
)
def test_a_little_beyond_1_is_1(a, b, dtype):
    sign = math.copysign(1, a) * math.copysign(1, b)
    assert [part.item() for part in cosine_range(a, b)] == [sign] * 3


def test_shapes_broadcast_and_numbers_take_the_others_dtype():
    a, b = torch.linspace(-1, 1, 3, dtype=WIDE), torch.linspace(-1, 1, 5, dtype=WIDE)
    table = cosine_range(a[:, None], b)
    assert [(part.shape, part.dtype) for part in table] == [((3, 5), WIDE)] * 3
    for i, j in ((0, 1), (2, 4)):
        one = cosine_range(a[i].item(), b[j])
        assert [part.item() for part in one] == [part[i, j].item() for part in table]
    assert [part.dtype for part in cosine_range(0.3, 0.4)] == [torch.float32] * 3
    assert not cosine_range(a.requires_grad_(), 0.4).most.requires_grad
    assert cosine_range(torch.ones(0), 0.5).least.shape == (0,)


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (1.1, 0.0, ValueError, r"a must hold cosines, from -1 to 1, got 1\.1$"),
        (0.0, torch.tensor([0.5, -1.001]), ValueError, r"b must hold cosines, from -1 to 1, got -1\.001$"),
        (torch.tensor(1.00003), 0.0, ValueError, "a must hold cosines"),
        (torch.tensor(1.02, dtype=torch.bfloat16), 0.0, ValueError, "a must hold cosines"),
        (0.0, torch.tensor([math.nan]), ValueError, "b must hold cosines, from -1 to 1, got nan"),
        (math.nan, 0.0, ValueError, "a must be a finite number"),
        ("1", 0.0, TypeError, "a must be a number"),
        (0.0, [0.5], TypeError, "b must be a number"),
        (torch.tensor([1, 0]), 0.0, TypeError, "a must hold floating-point numbers"),
        (torch.ones(2, dtype=torch.float8_e4m3fn), 0.0, TypeError, "a must hold floating-point numbers"),
        (torch.ones(2), torch.ones(2, dtype=WIDE), TypeError, r"b must have the other's dtype torch\.float32"),
        (torch.ones(2), torch.ones(2, device="meta"), ValueError, "b must be on the other's device cpu"),
        (
            torch.ones(2),
            torch.ones(3),
            ValueError,
            r"b must have a shape that broadcasts with a's \(2,\), got \(3,\)",
        ),
    ],
)
def test_what_is_no_cosine_is_named(a, b, error, message):
    with pytest.raises(error, match=f"^{message}"):
        cosine_range(a, b)


# -- detour


def loops(queries, hub, gallery):
    def nearest(row, others):
        found = [float(F.cosine_similarity(row.double(), other.double(), dim=0)) for other in others]
        return max(range(len(found)), key=found.__getitem__)

    return [nearest(hub[nearest(query, hub)], gallery) for query in queries]


@few
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_a_detour_goes_to_the_nearest_and_on_to_its_nearest(seed, b, h, g):
    queries, hub, gallery = (normal(seed + i, n, 4) * 10.0 ** (i - 1) for i, n in enumerate((b, h, g)))
    found = detour(queries, hub, gallery)
    assert found.dtype == torch.int64
    assert found.tolist() == loops(queries, hub, gallery)


def test_from_the_hub_it_is_the_second_step():
    hub, gallery = normal(0, 7, 5), normal(1, 9, 5)
    assert torch.equal(detour(hub, hub, gallery), cosine_similarity_matrix(hub, gallery).argmax(dim=1))


def test_over_doubles_it_is_a_straight_search():
    queries, gallery = normal(0, 7, 5), normal(1, 9, 5)
    hub = torch.cat([normal(2, 3, 5), 3 * queries])
    assert torch.equal(detour(queries, hub, gallery), cosine_similarity_matrix(queries, gallery).argmax(dim=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, WIDE])
@pytest.mark.parametrize("d", [3, 100, 384])
def test_of_equal_rows_the_first_is_taken_wherever_they_stand(dtype, d):
    """A product may round the cosine of a row differently, depending on where the row stands: 37 of each here."""
    queries = normal(0, 40, d, dtype=dtype)
    many = torch.cat([queries] * 37)
    assert detour(queries, many, many).tolist() == list(range(40))
    assert detour(queries, queries, torch.cat([queries[:1]] * 100)).tolist() == [0] * 40
    for times in range(2, 9):  # of one query, float32 rounds differently on some processors
        assert detour(queries[:1], queries[:1], queries[:1].expand(times, d)).item() == 0


def test_what_differs_by_more_than_rounding_is_no_tie():
    gallery = torch.tensor([[1.0, 2e-3], [1.0, 0.0]])  # cosines 1 - 2e-6 and 1
    assert detour(torch.eye(2)[:1], torch.eye(2), gallery).item() == 1
    assert detour(torch.eye(2, dtype=WIDE)[:1], torch.eye(2, dtype=WIDE), (gallery.double() * 1e-3) ** 2).item() == 1


def test_a_detour_of_many_queries_is_that_of_each():
    queries, hub, gallery = normal(0, 2100, 8), normal(1, 1050, 8), normal(2, 30, 8)
    found = detour(queries, hub, gallery)
    for row in (0, 999, 1000, 2099):
        assert found[row] == detour(queries[row : row + 1], hub, gallery)


class _Largest(TorchFunctionMode):
    """Notes how many numbers the largest tensor holds."""

    size = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.size = max(self.size, made.numel())
        return made


def test_no_table_of_all_queries_is_made():
    with _Largest() as largest:
        detour(normal(0, 1100, 3), normal(1, 50, 3), normal(2, 4, 3))
    assert largest.size == 1000 * 50


@pytest.mark.parametrize("name", ["queries", "hub", "gallery"])
def test_a_detour_names_what_is_wrong(name):
    right = {"queries": normal(0, 4, 3), "hub": normal(1, 5, 3), "gallery": normal(2, 6, 3)}
    zeros, nan = right[name].clone(), right[name].clone()
    zeros[2], nan[1, 2] = 0, math.nan
    for wrong, error, message in (
        (zeros, ValueError, r"no rows of zeros \(no direction, no cosine\), got one in row 2$"),
        (nan, ValueError, "be finite, got NaN or infinity, first in row 1"),
        (right[name].tolist(), TypeError, r"be a torch\.Tensor"),
        (right[name].long(), TypeError, "hold floating-point numbers"),
        (right[name][:0], ValueError, "be non-empty"),
    ):
        with pytest.raises(error, match=rf"^{name} must (have )?{message}"):
            detour(**right | {name: wrong})
    if name != "queries":
        for wrong, error, message in (
            (right[name][:, :2], ValueError, r"queries's width, got \(\d, 2\) beside \(4, 3\)"),
            (right[name].float(), TypeError, "queries's dtype"),
        ):
            with pytest.raises(error, match=f"^{name} must have {message}"):
                detour(**right | {name: wrong})


# -- relative


def relative_in_loops(z, anchors, keep, power):
    rows = []
    for row in z.double():
        found = [float(F.cosine_similarity(row, anchor, dim=0)) for anchor in anchors.double()]
        near = sorted(range(len(found)), key=lambda i, found=found: -found[i])[:keep]
        kept = [max(cosine, 0.0) ** power if i in near else 0.0 for i, cosine in enumerate(found)]
        length = math.hypot(*kept)
        rows.append([x / length if length else 0.0 for x in kept])
    return torch.tensor(rows, dtype=WIDE)


@few
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 8), st.data(), st.floats(0.2, 9))
def test_relative_is_its_definition(seed, b, n, data, power):
    keep = data.draw(st.integers(1, n))
    z, anchors = normal(seed, b, 4), 30 * normal(seed + 1, n, 4)
    found = relative(z, anchors, keep=keep, power=power)
    assert found.shape == (b, n)
    assert_close(found, relative_in_loops(z, anchors, keep, power))
    assert ((found > 0).sum(dim=1) <= keep).all()
    assert all(length == pytest.approx(1) or length == 0 for length in found.norm(dim=1).tolist())


@pytest.mark.parametrize("power", [0.5, 1, 2, 8])
def test_with_all_anchors_it_is_a_power_of_cosines(power):
    z, anchors = normal(0, 6, 5), normal(1, 9, 5)
    cosine = cosine_similarity_matrix(z, anchors)
    assert_close(relative(z, anchors, keep=9, power=power), F.normalize(cosine.relu() ** power, dim=1))


def test_anchors_in_another_order_give_columns_in_that_order():
    z, anchors, order = normal(0, 6, 5), normal(1, 9, 5), torch.randperm(9)
    assert torch.equal(
        relative(z, anchors[order], keep=3, power=2) > 0, (relative(z, anchors, keep=3, power=2) > 0)[:, order]
    )


def test_two_spaces_that_are_turned_against_each_other_are_one():
    """What ASIF lives from: cosines within a modality do not know how its space lies."""
    z, anchors = normal(0, 6, 5), normal(1, 9, 5)
    turned = torch.linalg.qr(normal(2, 5, 5)).Q
    assert_close(
        relative(z @ turned, anchors @ turned, keep=4, power=3),
        relative(z, anchors, keep=4, power=3),
        atol=1e-9,
        rtol=0,
    )


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 1e3])
@pytest.mark.parametrize("keep", [1, 3])
def test_a_row_without_a_positive_cosine_is_0_and_so_is_its_gradient(keep, power):
    z = torch.tensor(
        [[-1.0, -2.0], [-1.0, 0.0], [2.0, 1.0], [1.0, 0.0]], requires_grad=True
    )  # two have a cosine of 0
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):  # NaN on the way, too
        found = relative(z, anchors, keep=keep, power=power)
        by_z, by_anchors = torch.autograd.grad((found * torch.tensor([1.0, 2.0, 4.0])).sum(), (z, anchors))
    assert found[:2].tolist() == [[0, 0, 0]] * 2
    assert found[2:].norm(dim=1).tolist() == pytest.approx([1, 1])
    assert by_z[:2].tolist() == [[0, 0]] * 2
    assert by_z.isfinite().all()
    assert by_anchors.isfinite().all()


@pytest.mark.parametrize("power", [0.5, 2.0, 3.0])
def test_its_gradient_is_that_of_differences(power):
    z, anchors = normal(0, 3, 4).requires_grad_(), normal(1, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: relative(*given, keep=2, power=power), (z, anchors))


@pytest.mark.parametrize("power", [1e-300, 1e-30, 1e3, 1e30, 1e300, torch.tensor(400.0)])
def test_no_power_makes_a_row_vanish_or_a_0_grow(power):
    z, anchors = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.2, 1.0], [0.1, 1.0], [-1.0, 0.0], [0.0, 1.0]])
    found = relative(z, anchors, keep=4, power=power)[0]  # cosines .20, .10, -1 and 0
    assert found.norm().item() == pytest.approx(1)
    assert found[2:].tolist() == [0, 0]
    wanted = [1.0, 0.0] if power > 1 else [0.5**0.5, 0.5**0.5]
    assert_close(found[:2], torch.tensor(wanted), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_computed_and_returned_in_float32(dtype):
    z, anchors = normal(0, 6, 5, dtype=dtype), normal(1, 9, 5, dtype=dtype)
    found = relative(z, anchors, keep=4, power=8)
    assert found.dtype == torch.float32
    assert_close(found, relative(z.float(), anchors.float(), keep=4, power=8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(relative(z.float(), anchors.float(), keep=4, power=8), found)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep": 0}, ValueError, "keep must be from 1 to 6, got 0"),
        ({"keep": 7}, ValueError, "keep must be from 1 to 6, got 7"),
        ({"keep": 2.0}, TypeError, "keep must be a whole number"),
        ({"power": 0}, ValueError, "power must be above 0"),
        ({"power": -2.0}, ValueError, "power must be above 0"),
        ({"power": math.inf}, ValueError, "power must be a finite number"),
        ({"power": "2"}, TypeError, "power must be a number"),
        ({"z": torch.zeros(2, 3)}, ValueError, "z must have no rows of zeros"),
        ({"z": torch.full((2, 3), math.nan)}, ValueError, "z must be finite"),
        ({"anchors": torch.zeros(6, 3)}, ValueError, "anchors must have no rows of zeros"),
        ({"anchors": torch.ones(6, 4)}, ValueError, "anchors must have z's width"),
        ({"anchors": torch.ones(6, 3, dtype=WIDE)}, TypeError, "anchors must have z's dtype"),
    ],
)
def test_relative_names_what_is_wrong(options, error, message):
    given_ = {"z": torch.ones(2, 3), "anchors": torch.ones(6, 3), "keep": 2, "power": 2.0}
    with pytest.raises(error, match=f"^{message}"):
        relative(**given_ | options)


# -- norm_parameters


class _Own(nn.LayerNorm):
    """A subclass with a weight more."""

    def __init__(self, width):
        super().__init__(width)
        self.more = nn.Parameter(torch.ones(1))


def models():
    shared = nn.LayerNorm(4)
    tied = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    tied[2].weight = tied[0].weight
    return {
        "batch norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)), ["1.weight", "1.bias"]),
        "all kinds": (
            nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2), nn.GroupNorm(1, 2),
                          nn.InstanceNorm2d(2, affine=True), nn.LayerNorm(2), nn.LayerNorm(2, bias=False),
                          nn.RMSNorm(2)),
            [f"{i}.{name}" for i in range(8) for name in ("weight", "bias")[: 2 - (i > 5)]],
        ),
        "without weights": (
            nn.Sequential(nn.BatchNorm2d(2, affine=False), nn.InstanceNorm1d(2), nn.LayerNorm(2), nn.Linear(2, 2),
                          nn.LayerNorm(2, elementwise_affine=False), nn.LocalResponseNorm(2)),
            ["2.weight", "2.bias"],
        ),
        "nested": (
            nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"own": nn.RMSNorm(4)}))),
            ["1.1.own.weight"],
        ),
        "a transformer": (
            nn.TransformerEncoderLayer(4, 2, 8), ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"]
        ),
        "a shared layer": (nn.Sequential(shared, nn.Linear(4, 4), shared), ["0.weight", "0.bias"]),
        "a shared weight": (tied, ["0.weight", "0.bias", "2.bias"]),
        "itself": (nn.GroupNorm(1, 3), ["weight", "bias"]),
        "a subclass": (_Own(3), ["weight", "bias"]),
    }  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", models())
def test_the_norms_alone_learn(name, before):
    model, expected = models()[name]
    model.requires_grad_(before)
    training = [layer.training for layer in model.modules()]
    values = {key: value.clone() for key, value in model.state_dict().items()}
    found = norm_parameters(model)
    names = {id(weight): key for key, weight in model.named_parameters()}
    assert [names[id(weight)] for weight in found] == expected
    assert [key for key, weight in model.named_parameters() if weight.requires_grad] == expected
    assert [layer.training for layer in model.modules()] == training
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())


def test_an_optimiser_takes_them_and_moves_nothing_else():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(norm_parameters(model), lr=0.1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(normal(0, 5, 4, dtype=torch.float32)).softmax(dim=1).square().sum().backward()
    optimizer.step()
    assert [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])] == [
        "1.weight",
        "1.bias",
    ]


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False)), nn.Sequential()]
)
def test_a_model_without_norms_is_named_and_left_as_it_was(model):
    with pytest.raises(ValueError, match=r"^model must have a normalisation layer with weights.* got none in \w+$"):
        norm_parameters(model)
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("wrong", [None, [nn.LayerNorm(2)], nn.LayerNorm, torch.ones(2)])
def test_what_is_no_model_is_named(wrong):
    with pytest.raises(TypeError, match=r"^model must be a torch\.nn\.Module, got \w+$"):
        norm_parameters(wrong)
