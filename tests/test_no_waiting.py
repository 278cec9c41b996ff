"""No loss waits for a GPU: forward and backward under modes that refuse whatever needs a value, or a shape that
depends on values; the compiler takes each loss whole; and what goes unchecked shows as a loss that is not finite.

There is no GPU here. Two things stand in for it: the CPU, told that its values may not be read (`on_gpu`), and the
device "meta", whose tensors have none.
"""

import contextlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from xlib import _validate, bridge, contrastive, dann, mmd, retrieval, scale, space
from xlib.combined import combined_loss, self_training_loss
from xlib.course import training

WAITS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero", "masked_select", "bincount"}
WAITS |= {"_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"}
READS = (Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__)  # which need no operator on a CPU


class Waited(AssertionError):
    pass


class _Operators(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        bad = name in WAITS
        if name.startswith(("index", "_index_put", "_unsafe_index")) and isinstance(args[1], list | tuple):
            bad |= any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        if name == "repeat_interleave":
            bad |= kwargs.get("output_size") is None
        if name in ("_to_copy", "copy_") and not kwargs.get("non_blocking"):
            to = kwargs.get("device") or args[0].device
            bad |= torch.device(to).type != args[name == "copy_"].device.type
        if bad:
            raise Waited(f"{func} makes a GPU wait")
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in READS:
            raise Waited(f"{func} makes a GPU wait")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def no_waiting():
    with _Operators(), _Functions():
        yield


def values_unread(x):
    return not isinstance(x, Tensor)


@pytest.fixture
def on_gpu(monkeypatch):
    """The CPU as if it were a GPU."""
    monkeypatch.setattr(_validate, "reads_values", values_unread)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(mmd, "TILE", 5)


def seeded():
    return torch.Generator().manual_seed(0)


def pair(dtype=torch.float32):
    z = torch.randn(2, 8, 4, generator=seeded(), dtype=torch.float64).to(dtype)
    return z[0].clone().requires_grad_(), (z[1] + 0.5).requires_grad_()


def labels(z):
    return (torch.arange(8, device=z.device) * 3 % 8 > 4).long()  # five of the source and three of the target, mixed


SCALES = {
    (device, dtype): contrastive.LogitScale(init=5.0).to(device, dtype)
    for device, dtype in (("cpu", torch.float32), ("cpu", torch.float64), ("meta", torch.float32))
}


def learned(z):
    return SCALES[z.device.type, z.dtype]()


def all_terms(a, b, logit_scale=5.0, **options):
    terms = combined_loss(a, b, a[:, :2], labels(a), logit_scale=logit_scale, features=b, **options)
    return sum(terms.values())


LOSSES = {
    f"info_nce, {direction}, {reduction}": lambda a, b, d=direction, r=reduction: contrastive.info_nce(
        a, b, logit_scale=5.0, direction=d, reduction=r
    ).sum()
    for direction in ("both", "a_to_b", "b_to_a")
    for reduction in ("mean", "none")
} | {
    "info_nce, scale learned": lambda a, b: contrastive.info_nce(a, b, logit_scale=learned(a)),
    "info_nce, scale of the data": lambda a, b: contrastive.info_nce(a, b, logit_scale=b[:1, :1].exp()),
    "siglip": lambda a, b: contrastive.siglip(a, b, logit_scale=5.0, logit_bias=-3.0),
    "siglip, learned": lambda a, b: contrastive.siglip(a, b, logit_scale=learned(a), logit_bias=b[0, :1]),
    "alignment": lambda a, b: space.alignment(a, b),
    "uniformity": lambda a, b: space.uniformity(a) + space.uniformity(b, t=1),
    "modality_gap": lambda a, b: space.modality_gap(a, b).size,
    "cosines": lambda a, b: space.cosine_similarity_matrix(a, b).square().sum(),
    "mmd2": lambda a, b: mmd.mmd2(a, b),
    "mmd2, biased": lambda a, b: mmd.mmd2(a, b[:5], estimator="biased", bandwidths=[4.0, 1.0, 2.0]),
    "mmd2, one bandwidth": lambda a, b: mmd.mmd2(a, b[:5], bandwidths=1.5),
    "mmd2, a tensor": lambda a, b: mmd.mmd2(a, b[:5], bandwidths=a.new_ones(3).cumsum(0)),
    "mmd2, the median": lambda a, b: mmd.mmd2(a, b, bandwidths=mmd.median_bandwidth(a, b)),
    "mmd2, tensors": lambda a, b: mmd.mmd2(a, b, bandwidths=[0.5, mmd.median_bandwidth(a, b)], estimator="biased"),
    "mmd2, linear": lambda a, b: mmd.mmd2(a, b, estimator="linear"),
    "mmd2, linear, a tensor": lambda a, b: mmd.mmd2(a, b, estimator="linear", bandwidths=a.new_ones(2).cumsum(0)),
    "mmd2 by label": lambda a, b: mmd.mmd2_by_label(a, labels(a)) + mmd.mmd2_by_label(b, labels(b)),
    "coral": lambda a, b: mmd.coral(a, b),
    "domain_loss": lambda a, b: dann.domain_loss(a[:, :2], b[:3, :2]),
    "grad_reverse": lambda a, b: (dann.grad_reverse(a, 0.3) * b).sum(),
    "grad_reverse, a tensor": lambda a, b: (dann.grad_reverse(a, a.new_ones(1) / 3) * b).sum(),
    "multilinear_map": lambda a, b: (dann.multilinear_map(a, b[:, :3]) ** 2).sum(),
    "class_confusion": lambda a, b: dann.class_confusion(a) + dann.class_confusion(b[:5], temperature=1.0),
    "entropy": lambda a, b: dann.entropy(a) + dann.entropy(b),
    "information_maximisation": lambda a, b: dann.information_maximisation(a + b),
    "soft_neighbourhood_density": lambda a, b: dann.soft_neighbourhood_density(a + b, temperature=0.3),
    "combined_loss": lambda a, b: all_terms(a, b, mmd_coeff=0.5),
    "combined_loss, tensors": lambda a, b: all_terms(a, b, learned(a), mmd_coeff=a.new_ones(())),
    "self_training_loss": lambda a, b: self_training_loss(a, b, threshold=0.3),
    "info_nce_tiled": lambda a, b: scale.info_nce_tiled(a, b, logit_scale=5.0, tile=5),
    "info_nce_tiled, learned": lambda a, b: scale.info_nce_tiled(a, b, logit_scale=learned(a)),
    "siglip_tiled": lambda a, b: scale.siglip_tiled(a, b, logit_scale=5.0, logit_bias=-3.0, tile=5),
    "siglip_tiled, learned": lambda a, b: scale.siglip_tiled(a, b, logit_scale=learned(a), logit_bias=b[0, :1]),
    "relative": lambda a, b: bridge.relative(a, b, keep=3, power=4).sum(),
    "relative, a tensor": lambda a, b: bridge.relative(a, b, keep=3, power=learned(a)).sum(),
    "info_nce_distributed": lambda a, b: scale.info_nce_distributed(a, b, logit_scale=5.0),
}
RANDOM = {
    "mmd2, rff": lambda a, b, g: mmd.mmd2(a, b, estimator="rff", features=16, generator=g),
    "mmd2, rff, a tensor": lambda a, b, g: mmd.mmd2(
        a, b, estimator="rff", features=16, generator=g, bandwidths=a.new_ones(2).cumsum(0)
    ),
}
each_loss = pytest.mark.parametrize("name", LOSSES)
every_loss = pytest.mark.parametrize("name", [*LOSSES, *RANDOM])


def compute(name, a, b):
    return LOSSES[name](a, b) if name in LOSSES else RANDOM[name](a, b, seeded())


def with_gradients(value, *leaves):
    gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    return [value.detach(), *(0 * z if g is None else g for z, g in zip(leaves, gradients, strict=True))]


# -- the modes themselves


def reads(x):
    return {
        "item": lambda: x.sum().item(),
        "float": lambda: float(x.sum()),
        "if": lambda: 1 if x.sum() > 0 else 2,
        "not": lambda: not (x == 0).any(),
        "mask": lambda: x[x > 0],
        "a mask in place": lambda: x.detach().clone().__setitem__(x > 0, 1.0),
        "tolist": lambda: x.tolist(),
        "numpy": lambda: np.asarray(x.detach()),
        "nonzero": lambda: (x > 0).nonzero(),
        "unique": lambda: x.unique(),
        "masked_select": lambda: x.masked_select(x > 0),
        "equal": lambda: torch.equal(x, x),
        "allclose": lambda: torch.allclose(x, x),
        "bincount": lambda: (x > 0).long().flatten().bincount(),
        "where": lambda: torch.where(x > 0),
        "cov": lambda: torch.cov(x),
        "a copy to another device": lambda: x.to("meta"),
        "a number sent there": lambda: torch.tensor([1.0], device="cpu").to("meta"),
    }


@pytest.mark.parametrize("name", reads(torch.ones(2, 2)))
def test_the_modes_see_all_that_waits(name):
    read = reads(torch.ones(2, 2))[name]
    read()
    with no_waiting(), pytest.raises(Waited):
        read()


def test_the_modes_see_what_waits_on_the_way_back():
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * gradient.max().item()

    x = torch.ones(2, requires_grad=True)
    with no_waiting():
        y = Reads.apply(x).sum()
        with pytest.raises(Waited):
            y.backward()


def test_the_modes_let_pass_what_does_not_wait():
    x = torch.ones(3, 3, requires_grad=True)
    with no_waiting():
        picked = x[torch.arange(2)].where(x[:2] > 0, 0)
        (picked.kthvalue(2, dim=1).values.sum() + x.sort().values.mean()).backward()
        x.detach().to(torch.float64).to("meta", non_blocking=True)


# -- no loss waits


@pytest.mark.usefixtures("on_gpu")
@every_loss
def test_no_loss_waits(name):
    a, b = pair()
    with no_waiting():
        compute(name, a, b).backward()


@every_loss
def test_no_loss_reads_what_is_not_there(name, monkeypatch):
    """No check is switched here: a loss takes a GPU's way by itself. And no number is copied over from the CPU."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())  # unknown on "meta"
    a, b = (z.detach().to("meta").requires_grad_() for z in pair())
    with no_waiting():
        value = compute(name, a, b)
        value.backward()
    assert (value.device.type, value.shape) == ("meta", ())


@pytest.mark.usefixtures("on_gpu")
def test_neither_the_learned_scale_nor_many_rows_make_it_wait(monkeypatch):
    monkeypatch.setattr(mmd, "MEDIAN_ROWS", 7)
    scale_, (a, b) = contrastive.LogitScale(), pair()
    with no_waiting():
        (contrastive.info_nce(a, b, logit_scale=scale_()) + mmd.mmd2(a, b)).backward()
        scale_.clamp_()


@every_loss
def test_a_gpus_way_leads_to_the_same_values_and_gradients(name, monkeypatch):
    leaves = pair(torch.float64)
    expected = with_gradients(compute(name, *leaves), *leaves)
    monkeypatch.setattr(_validate, "reads_values", values_unread)
    assert_close(with_gradients(compute(name, *leaves), *leaves), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale_", [5.0, 1000.0])
@pytest.mark.usefixtures("on_gpu")
def test_tiles_are_exact_where_no_sum_may_be_looked_at(scale_):
    a, b = (F.normalize(z, dim=1).detach().requires_grad_() for z in pair())
    found = with_gradients(scale.info_nce_tiled(a, b, logit_scale=scale_, tile=3), a, b)
    assert_close(found, with_gradients(contrastive.info_nce(a, b, logit_scale=scale_), a, b), rtol=1e-4, atol=1e-4)


# -- what is checked all the same, and what shows later


@pytest.mark.usefixtures("on_gpu")
def test_shapes_types_and_plain_numbers_are_checked_everywhere():
    a, b = (z.detach() for z in pair())
    for call, error, message in (
        (lambda: contrastive.info_nce(a, b[:3], logit_scale=1.0), ValueError, "zb must have za's shape"),
        (lambda: contrastive.info_nce(a, b.double(), logit_scale=1.0), TypeError, "zb must have za's dtype"),
        (lambda: contrastive.info_nce(a, b, logit_scale=0.0), ValueError, "logit_scale must be above 0"),
        (lambda: contrastive.info_nce(a, b, logit_scale=torch.ones(2)), ValueError, "logit_scale must hold one"),
        (lambda: mmd.mmd2(a, b, bandwidths=[1, -1]), ValueError, "bandwidths must be above 0, got -1"),
        (lambda: mmd.mmd2(a, b, bandwidths=torch.ones(0)), ValueError, "bandwidths must hold one number at least"),
        (lambda: dann.grad_reverse(a, -1.0), ValueError, "coeff must be 0 or above"),
        (lambda: all_terms(a, b, mmd_coeff=-1), ValueError, "mmd_coeff must be 0 or above"),
        (lambda: self_training_loss(a, b, threshold=2), ValueError, "threshold must be a probability"),
        (lambda: combined_loss(a, b, b, labels(a)[:7], logit_scale=1.0), ValueError, "domain_labels must have"),
    ):
        with pytest.raises(error, match=f"^{message}"):
            call()


@pytest.mark.usefixtures("on_gpu")
@every_loss
def test_nan_comes_out_where_it_went_in(name):
    a, b = pair()
    a.data[0, :2], b.data[1] = torch.nan, torch.nan
    if name.startswith("self_training"):
        a = pair()[0]  # an unknown guess counts as not sure: it is in the other side that NaN shows
    value = compute(name, a, b)
    if name.startswith("grad_reverse"):
        assert value.isnan()
    else:
        assert not value.isfinite()


@pytest.mark.usefixtures("on_gpu")
def test_what_has_no_value_is_not_finite():
    a, b = (z.detach() for z in pair())
    alone, one = torch.zeros(8).long(), (torch.arange(8) == 3).long()
    assert not mmd.mmd2(torch.zeros(4, 2), torch.zeros(4, 2)).isfinite()  # a median of 0
    assert not mmd.mmd2(a, b, bandwidths=torch.tensor(0.0)).isfinite()
    for wrong in (alone, 1 - alone, one, 1 - one):
        assert not mmd.mmd2_by_label(a, wrong).isfinite()
    for wrong in (alone, 1 - alone):
        assert not combined_loss(a, b, a[:, :2], wrong, logit_scale=1.0)["domain"].isfinite()
    assert space.cosine_similarity_matrix(a * (torch.arange(8) > 0)[:, None], b)[0].isnan().all()


@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize("term", ["contrastive", "domain", "mmd"])
def test_training_names_the_step_and_the_term(term):
    model, (a, b) = nn.Linear(4, 4), (z.detach() for z in pair())

    def loss(step):
        rows = {"contrastive": a, "domain": a, "mmd": a}
        if step == 2:
            rows[term] = a * torch.nan
        z = {name: model(part) for name, part in rows.items()}
        return combined_loss(z["contrastive"], b, z["domain"][:, :2], labels(a), logit_scale=1.0, features=z["mmd"])

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(training.TrainingDiverged, match=f"step 2: loss term '{term}' is nan"):
        training.fit(model, loss, optimizer, steps=5, generator=seeded())


@pytest.mark.usefixtures("on_gpu")
def test_measurements_look_at_what_they_measure():
    """Of NaN, retrieval would measure a perfect recall, and a permutation test the smallest p there is."""
    a, b = (z.detach() for z in pair())
    bad = b.clone()
    bad[2, 1] = torch.nan
    for call in (
        lambda: retrieval.retrieval(a, bad),
        lambda: bridge.detour(bad, a, b),
        lambda: bridge.detour(a, b, bad),
        lambda: space.procrustes(a, bad),
        lambda: space.cca(a, bad, dim=1),
        lambda: space.cca(a, b, dim=1).project_b(bad),
        lambda: mmd.permutation_test(a, bad, generator=seeded()),
        lambda: mmd.witness(a, a, bad, bandwidths=1.0),
        lambda: dann.proxy_a_distance(torch.cat([a, a]), torch.cat([a, bad])),
    ):
        with pytest.raises(ValueError, match=r"must be finite, got NaN or infinity, first in row (2|10)$"):
            call()


def test_values_are_read_on_the_cpu_alone():
    assert _validate.reads_values(2.0)
    assert _validate.reads_values(torch.ones(2))
    assert not _validate.reads_values(torch.ones(2, device="meta"))
    assert compiled(lambda x: x + _validate.reads_values(x))(torch.zeros(1)) == 0


# -- the compiler, and vmap


def compiled(loss, backend="eager"):
    torch._dynamo.reset()
    return torch.compile(loss, fullgraph=True, backend=backend)


TRACED = ("info_nce, both, mean", "mmd2", "combined_loss", "info_nce_tiled", "siglip_tiled")


@pytest.mark.long
@each_loss
def test_the_compiler_takes_each_loss_whole(name):
    """And traces the gradient of some, which takes three times as long."""
    leaves = pair()
    found = with_gradients(compiled(LOSSES[name], "aot_eager" if name in TRACED else "eager")(*leaves), *leaves)
    assert_close(found, with_gradients(LOSSES[name](*leaves), *leaves), rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_numbers_may_change_between_calls_of_a_compiled_loss():
    def loss(a, b, coeff):
        return all_terms(dann.grad_reverse(a, coeff), b, coeff + 1, mmd_coeff=coeff)

    leaves, fast = pair(), compiled(loss)
    for coeff in (0.0, 0.1, 0.25, 0.3, 1, 0.7):
        assert_close(
            with_gradients(fast(*leaves, coeff), *leaves),
            with_gradients(loss(*leaves, coeff), *leaves),
            rtol=1e-4,
            atol=1e-6,
        )


def test_a_compiled_loss_checks_shapes_and_plain_numbers():
    a, b = pair()
    for wrong in ({"logit_scale": -1.0}, {"logit_scale": 1.0, "direction": "up"}):
        with pytest.raises(Exception, match=r"logit_scale must be above 0|direction must be one of"):
            compiled(lambda a, b, wrong=wrong: contrastive.info_nce(a, b, **wrong))(a, b)


def test_random_features_are_the_compilers_limit():
    """torch.compile cannot take a torch.Generator into a graph; without fullgraph it goes round it."""
    a, b = pair()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(lambda g: torch.randn(2, generator=g))(seeded())
    torch._dynamo.reset()
    fast = torch.compile(RANDOM["mmd2, rff"], backend="eager")
    assert_close(fast(a, b, seeded()), RANDOM["mmd2, rff"](a, b, seeded()))


@pytest.mark.parametrize("coeff", [0.3, torch.tensor(0.3)], ids=["number", "tensor"])
@pytest.mark.parametrize("unread", [False, True])
def test_vmap_takes_grad_reverse(coeff, unread, monkeypatch):
    if unread:
        monkeypatch.setattr(_validate, "reads_values", values_unread)
    x, w = (z.detach() for z in pair())
    assert torch.equal(torch.func.vmap(lambda row: dann.grad_reverse(row, coeff))(x), x)

    def loss(row, by):
        return (dann.grad_reverse(row, coeff) ** 3 * by).sum()

    assert_close(torch.func.vmap(torch.func.grad(loss))(x, w), -0.3 * 3 * x**2 * w)
    twice = torch.func.vmap(torch.func.jacrev(torch.func.grad(loss)))(x, w)
    assert_close(twice.diagonal(dim1=1, dim2=2), 0.3**2 * 6 * x * w)


@pytest.mark.usefixtures("on_gpu")
def test_vmap_takes_a_coefficient_a_row():
    x, w = (z.detach() for z in pair())
    coeffs = torch.arange(8.0)
    found = torch.func.vmap(torch.func.grad(lambda row, c, by: (dann.grad_reverse(row, c) * by).sum()))(x, coeffs, w)
    assert_close(found, -coeffs[:, None] * w)
