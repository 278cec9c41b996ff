"""Gradient reversal, the domain loss, the probe, and scores without labels: against float64 by hand, and at work."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_adapt.layers import DiversityLoss, EntropyLoss, GradientReversal
from torch import nn
from torch.testing import assert_close

from xlib.dann import (
    DomainClassifier,
    FeatureExtractor,
    LabelPredictor,
    class_confusion,
    dann_coeff,
    domain_loss,
    entropy,
    grad_reverse,
    information_maximisation,
    multilinear_map,
    proxy_a_distance,
    soft_neighbourhood_density,
)
from xlib.data.toy import moons

few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


LAYOUTS = {
    "contiguous": torch.clone,
    "transposed": lambda z: z.T.contiguous().T,
    "strided": lambda z: z.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)[::2, ::2],
}


# -- grad_reverse


@few
@given(seeds, st.floats(0, 10), st.sampled_from(list(LAYOUTS)))
def test_reversal_is_the_identity_and_turns_the_gradient_round(seed, coeff, layout):
    x = LAYOUTS[layout](normal(seed, 4, 3)).requires_grad_()
    upstream = normal(seed + 1, 4, 3)
    y = grad_reverse(x, coeff)
    assert torch.equal(y, x)
    assert torch.equal(torch.autograd.grad(y, x, upstream)[0], -coeff * upstream)


@few
@given(seeds, st.floats(0, 10))
def test_reversal_is_pytorch_adapts(seed, coeff):
    x, upstream = normal(seed, 4, 3).requires_grad_(), normal(seed + 1, 4, 3)
    ours, theirs = grad_reverse(x, coeff), GradientReversal(coeff).double()(x)
    gradients = (torch.autograd.grad(y, x, upstream)[0] for y in (ours, theirs))
    assert_close(*gradients, rtol=1e-6, atol=1e-12)  # they hold the coefficient in float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4, 5)])
def test_reversal_takes_any_floating_tensor(dtype, shape):
    x = torch.ones(shape, dtype=dtype, requires_grad=True)
    y = grad_reverse(x)
    assert (y.dtype, y.shape) == (dtype, shape)
    y.backward(torch.full_like(y, 2))
    assert torch.equal(x.grad, torch.full_like(x, -2))  # the coefficient is 1 if nothing is said


def test_a_coefficient_of_zero_stops_the_gradient_and_a_tensor_is_a_number():
    x = torch.ones(3, requires_grad=True)
    assert (torch.autograd.grad(grad_reverse(x, 0).sum(), x)[0] == 0).all()
    coeff = torch.tensor([0.5], requires_grad=True)
    grad_reverse(x, coeff).sum().backward()
    assert torch.equal(x.grad, torch.full((3,), -0.5))
    assert coeff.grad is None


def test_gradients_reverse_and_what_comes_after_does_not():
    """Head behind the reversal: descends. Features before it: climb, λ times."""
    x, w, v = normal(0, 6, 3), normal(1, 3, 2).requires_grad_(), normal(2, 2, 2).requires_grad_()
    plain = torch.autograd.grad(domain_loss((x @ w @ v)[:3], (x @ w @ v)[3:]), (w, v))
    z = grad_reverse(x @ w, 0.3) @ v
    reversed_ = torch.autograd.grad(domain_loss(z[:3], z[3:]), (w, v))
    assert_close(reversed_[0], -0.3 * plain[0])
    assert_close(reversed_[1], plain[1])


def test_a_second_derivative_passes_the_reversal_twice():
    x = torch.tensor([2.0], requires_grad=True)
    first = torch.autograd.grad(grad_reverse(x, 3.0).pow(3).sum(), x, create_graph=True)[0]
    assert_close(first, torch.tensor([-36.0]))  # -3 · 3 x²
    assert_close(torch.autograd.grad(first, x)[0], torch.tensor([108.0]))  # 3² · 6 x


def test_reversal_under_autocast_in_place_and_under_func():
    x, layer = torch.randn(4, 8, requires_grad=True), nn.Linear(8, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = torch.autograd.grad(layer(x).float().sum(), x)[0]
        turned = torch.autograd.grad(layer(grad_reverse(x, 2.0)).float().sum(), x)[0]
    assert turned.dtype == torch.float32
    assert torch.equal(turned, -2 * plain)
    y = grad_reverse(x, 2.0).relu_()  # an in-place layer behind it leaves x alone
    assert (x < 0).any()
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], -2.0 * (x > 0))
    assert torch.equal(torch.func.grad(lambda t: grad_reverse(t, 2.0).sum())(x), torch.full_like(x, -2))


@pytest.mark.parametrize(
    ("x", "coeff", "error", "message"),
    [
        ([1.0], 1.0, TypeError, "x must be a torch.Tensor, got list"),
        (torch.ones(2, dtype=torch.int64), 1.0, TypeError, "x must hold floating-point numbers.*got torch.int64"),
        (torch.ones(2), -0.1, ValueError, "coeff must be 0 or above .*got -0.1"),
        (torch.ones(2), math.nan, ValueError, "coeff must be a finite number, got nan"),
        (torch.ones(2), "1", TypeError, "coeff must be a number"),
        (torch.ones(2), torch.ones(2), ValueError, "coeff must hold one real number"),
    ],
)
def test_reversal_names_what_is_wrong(x, coeff, error, message):
    with pytest.raises(error, match=f"^{message}"):
        grad_reverse(x, coeff)


# -- the schedule


@few
@given(st.floats(0, 1), st.floats(0.1, 100))
def test_schedule_is_the_papers(progress, gamma):
    assert dann_coeff(progress, gamma) == pytest.approx(2 / (1 + math.exp(-gamma * progress)) - 1, abs=1e-12)


def test_schedule_starts_at_0_ends_near_1_and_takes_extremes():
    assert dann_coeff(0) == 0
    assert dann_coeff(1) == pytest.approx(0.99990920, abs=1e-8)
    assert (dann_coeff(0.1), dann_coeff(0.5)) == pytest.approx((0.4621172, 0.9866143), abs=1e-7)
    assert dann_coeff(1, gamma=1e6) == 1
    values = [dann_coeff(k / 50) for k in range(51)]
    assert values == sorted(set(values))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.01,), "progress must be from 0 to 1"),
        ((1.01,), "progress must be from 0 to 1"),
        ((math.nan,), "progress must be a finite number"),
        ((0.5, 0), "gamma must be above 0"),
        ((0.5, -10), "gamma must be above 0"),
    ],
)
def test_schedule_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        dann_coeff(*arguments)


# -- the three networks


def test_the_networks_have_the_articles_layers_and_give_logits():
    torch.manual_seed(0)
    nets = FeatureExtractor(), LabelPredictor(), DomainClassifier()
    shapes = [[tuple(p.shape) for p in net.parameters()] for net in nets]
    assert shapes == [
        [(64, 3, 5, 5), (64,), (50, 64, 5, 5), (50,)],
        [(100, 800), (100,), (10, 100), (10,)],
        [(100, 800), (100,), (2, 100), (2,)],
    ]
    images = torch.rand(4, 3, 28, 28)
    w1, b1, w2, b2 = nets[0].parameters()
    by_hand = F.max_pool2d(F.conv2d(images, w1, b1).relu(), 2)
    by_hand = F.max_pool2d(F.conv2d(by_hand, w2, b2).relu(), 2).reshape(4, 800)
    features = nets[0](images)
    assert_close(features, by_hand)
    for net, classes in zip(nets[1:], (10, 2), strict=True):
        w1, b1, w2, b2 = net.parameters()
        assert_close(net(features), (features @ w1.T + b1).relu() @ w2.T + b2)
        assert net(features).shape == (4, classes)
        assert net(features).min() < 0  # a softmax or sigmoid at the end would have none below 0


@pytest.mark.parametrize("shape", [(3, 28, 28), (2, 1, 28, 28), (2, 3, 32, 32)])
def test_the_networks_name_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"^images must have shape \(N, 3, 28, 28\), got"):
        FeatureExtractor()(torch.zeros(shape))


@pytest.mark.parametrize("head", [LabelPredictor, DomainClassifier])
@pytest.mark.parametrize("shape", [(800,), (2, 799), (2, 50, 4, 4)])
def test_the_heads_name_a_wrong_shape(head, shape):
    with pytest.raises(ValueError, match=r"^features must have shape \(N, 800\), got"):
        head()(torch.zeros(shape))


# -- the domain loss


def reference_domain_loss(source, target):
    """Half a mean over each domain, of log(1 + exp(wrong logit - right logit))."""

    def cross_entropy(rows, right):
        return math.fsum(np.logaddexp(0, row[1 - right] - row[right]) for row in rows.tolist()) / len(rows)

    return (cross_entropy(source, 0) + cross_entropy(target, 1)) / 2


@few
@given(seeds, st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.1, 1, 100]), st.sampled_from(list(LAYOUTS)))
def test_domain_loss_is_balanced_cross_entropy(seed, n, m, size, layout):
    source, target = size * normal(seed, n, 2), size * normal(seed + 1, m, 2)
    loss = domain_loss(LAYOUTS[layout](source), LAYOUTS[layout](target))
    assert loss.item() == pytest.approx(reference_domain_loss(source, target), rel=1e-12, abs=1e-12)
    assert_close(domain_loss(source.repeat(3, 1), target), loss)  # sizes do not matter
    if n == m:
        labels = torch.tensor([0] * n + [1] * n)
        assert_close(loss, F.cross_entropy(torch.cat([source, target]), labels))


def test_domain_loss_knows_which_domain_is_which_and_its_gradient_is_right():
    assert domain_loss(torch.zeros(3, 2), torch.zeros(5, 2)).item() == pytest.approx(math.log(2))
    right = torch.tensor([[50.0, -50.0]])
    assert domain_loss(right, -right) == 0
    assert domain_loss(-right, right) == 100
    leaves = normal(0, 2, 2).requires_grad_(), normal(1, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(domain_loss, leaves)


def test_domain_loss_of_16_bits_is_computed_in_32():
    source, target = normal(0, 64, 2, dtype=torch.bfloat16), normal(1, 64, 2, dtype=torch.bfloat16)
    loss = domain_loss(source, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference_domain_loss(source.double(), target.double()), rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(domain_loss(source, target), loss)


@pytest.mark.parametrize(
    ("source", "target", "error", "message"),
    [
        (torch.zeros(3), torch.zeros(3, 2), ValueError, "source_logits must be non-empty with shape"),
        (torch.zeros(3, 1), torch.zeros(3, 1), ValueError, "source_logits must have 2 columns, one a domain"),
        (torch.zeros(3, 2), torch.zeros(0, 2), ValueError, "target_logits must be non-empty"),
        (torch.zeros(3, 2), torch.zeros(3, 3), ValueError, "target_logits must have source_logits's width"),
        (torch.zeros(3, 2), torch.zeros(3, 2).double(), TypeError, "target_logits must have source_logits's dtype"),
        (torch.full((3, 2), math.nan), torch.zeros(3, 2), ValueError, "source_logits must be finite"),
        (torch.zeros(3, 2).long(), torch.zeros(3, 2), TypeError, "source_logits must hold floating-point"),
    ],
)
def test_domain_loss_names_what_is_wrong(source, target, error, message):
    with pytest.raises(error, match=f"^{message}"):
        domain_loss(source, target)


# -- what CDAN's domain head sees


@few
@given(seeds, st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.sampled_from(list(LAYOUTS)))
def test_multilinear_map_is_each_feature_times_each_probability(seed, n, d, c, layout):
    features, logits = normal(seed, n, d), 3 * normal(seed + 1, n, c)
    found = multilinear_map(LAYOUTS[layout](features), LAYOUTS[layout](logits))
    assert found.shape == (n, d * c)
    assert_close(found, torch.einsum("nd,nc->ndc", features, logits.softmax(dim=1)).reshape(n, d * c))
    assert_close(found.view(n, d, c).sum(dim=2), features)
    by_hand = [
        [f * q for f in row for q in softmax(of)] for row, of in zip(features.tolist(), logits.tolist(), strict=True)
    ]
    assert_close(found, torch.tensor(by_hand, dtype=torch.float64))


def test_multilinear_map_sends_gradients_to_the_features_alone():
    features, logits = normal(0, 4, 3).requires_grad_(), normal(1, 4, 5).requires_grad_()
    upstream = normal(2, 4, 15)
    (multilinear_map(features, logits) * upstream).sum().backward()
    assert logits.grad is None
    expected = torch.einsum("ndc,nc->nd", upstream.view(4, 3, 5), logits.detach().softmax(dim=1))
    assert_close(features.grad, expected)
    assert not multilinear_map(features.detach(), logits).requires_grad


def test_a_head_on_the_multilinear_map_can_tell_what_one_on_the_features_cannot():
    """Class 0 stands left in the source and right in the target, class 1 the other way round: no line parts the
    domains by the features, and one does class by class, where the predictions are sure; where blind, none again."""
    right = torch.tensor([0, 1]).repeat(20)
    sign = 1 - 2.0 * right.double()
    x = torch.cat([-sign, sign])[:, None] + 0.1 * normal(0, 80, 1)
    domain, sure = torch.arange(2).repeat_interleave(40), 20 * F.one_hot(right.repeat(2), 2).double()

    def errors(rows):
        rows = torch.cat([rows, torch.ones(80, 1, dtype=torch.float64)], dim=1)
        line = torch.linalg.lstsq(rows, 2.0 * domain[:, None].double() - 1).solution
        return ((rows @ line)[:, 0] > 0).long().ne(domain).double().mean().item()

    assert errors(multilinear_map(x, sure)) == 0
    assert errors(x) > 0.2
    assert errors(multilinear_map(x, 0 * sure)) > 0.2


def test_multilinear_map_of_16_bits_takes_its_probabilities_in_32():
    features, logits = normal(0, 8, 3, dtype=torch.float16), 40 * normal(1, 8, 5, dtype=torch.float16)
    found = multilinear_map(features, logits)
    assert found.dtype == torch.float16
    p = logits.float().softmax(dim=1).half()
    assert torch.equal(found, (features[:, :, None] * p[:, None, :]).flatten(1))


@pytest.mark.parametrize(
    ("features", "logits", "error", "message"),
    [
        (torch.zeros(3), torch.zeros(3, 2), ValueError, "features must be non-empty with shape"),
        (torch.zeros(3, 2), torch.zeros(4, 2), ValueError, "logits must have features's rows"),
        (torch.zeros(3, 2), torch.zeros(3, 0), ValueError, "logits must be non-empty"),
        (torch.zeros(3, 2), torch.zeros(3, 2).double(), TypeError, "logits must have features's dtype"),
        (torch.zeros(3, 2).long(), torch.zeros(3, 2), TypeError, "features must hold floating-point"),
        (torch.full((3, 2), math.inf), torch.zeros(3, 2), ValueError, "features must be finite"),
        (torch.zeros(3, 2), torch.full((3, 2), math.nan), ValueError, "logits must be finite"),
    ],
)
def test_multilinear_map_names_what_is_wrong(features, logits, error, message):
    with pytest.raises(error, match=f"^{message}"):
        multilinear_map(features, logits)


# -- minimum class confusion


def reference_confusion(logits, temperature):
    """Jin et al. 2020, equation by equation, in loops over floats."""
    rows = [softmax([z / temperature for z in row]) for row in logits.tolist()]  # eq. 3
    batch, classes = len(rows), len(rows[0])
    surprise = [1 + math.exp(-plain_entropy(row)) for row in rows]
    weight = [batch * s / math.fsum(surprise) for s in surprise]  # eq. 5
    confusion = [
        [math.fsum(rows[i][j] * weight[i] * rows[i][k] for i in range(batch)) for k in range(classes)]
        for j in range(classes)
    ]  # eq. 4 and 6
    by_row = [[confusion[j][k] / math.fsum(confusion[j]) for k in range(classes)] for j in range(classes)]
    return math.fsum(by_row[j][k] for j in range(classes) for k in range(classes) if k != j) / classes  # eq. 7


@few
@given(
    seeds,
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from([0.1, 1, 10]),
    st.sampled_from([0.5, 1.0, 2.5]),
    st.sampled_from(list(LAYOUTS)),
)
def test_class_confusion_is_what_the_papers_equations_say(seed, n, c, size, temperature, layout):
    logits = size * normal(seed, n, c)
    found = class_confusion(LAYOUTS[layout](logits), temperature=temperature).item()
    assert found == pytest.approx(reference_confusion(logits, temperature), abs=1e-12)
    assert -1e-12 <= found <= 1 - 1 / c + 1e-12  # the diagonal of a stochastic matrix similar to a positive one
    assert class_confusion(logits).item() == pytest.approx(reference_confusion(logits, 2.5), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_class_confusion_of_blind_of_sure_and_of_collapsed_predictions(classes):
    sure = 300 * torch.eye(classes).repeat(4, 1)
    collapsed = sure[:1].expand(4 * classes, -1)
    blind = torch.zeros(4 * classes, classes)
    assert class_confusion(blind).item() == pytest.approx(1 - 1 / classes)
    assert class_confusion(sure).item() == pytest.approx(0, abs=1e-6)
    # One name for everything, the best of all by `entropy`, costs as much as knowing nothing.
    for size in (0.01, 0.1, 1.0):
        assert class_confusion(size * collapsed).item() == pytest.approx(1 - 1 / classes, abs=1e-6)
    assert entropy(collapsed) < 1e-6
    half = sure[torch.arange(4 * classes) % (classes // 2)]  # sure, of half of the classes
    assert class_confusion(half).item() == pytest.approx(1 / 2, abs=1e-6)
    often = torch.cat([collapsed, sure])  # the first class five times as often as another: it does not matter
    assert class_confusion(often).item() == pytest.approx(0, abs=1e-6)


def test_class_confusion_goes_down_where_it_is_minimised_and_uses_all_classes():
    centres = torch.eye(3).repeat_interleave(20, dim=0)
    logits = (centres + 0.3 * normal(0, 60, 3, dtype=torch.float32)).requires_grad_()
    before = class_confusion(logits).item()
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        class_confusion(logits).backward()
        optimizer.step()
    after, right = class_confusion(logits).item(), (logits.argmax(dim=1) == centres.argmax(dim=1)).double().mean()
    assert before > 0.5 > 0.1 > after
    assert right > 0.9


def test_class_confusion_has_a_right_gradient_and_its_weights_have_none():
    logits = (2 * normal(0, 6, 3)).requires_grad_()
    (found,) = torch.autograd.grad(class_confusion(logits), logits)
    assert not torch.autograd.gradcheck(class_confusion, logits, raise_exception=False)  # they count as constants
    p = (logits.detach() / 2.5).softmax(dim=1)
    weight = 1 + torch.exp((p * p.log()).sum(dim=1))
    weight = weight / weight.mean()

    def held(logits):
        p = (logits / 2.5).softmax(dim=1)
        confusion = torch.einsum("ij,i,ik->jk", p, weight, p)
        return 1 - (confusion.diagonal() / confusion.sum(dim=1)).mean()

    assert_close(held(logits), class_confusion(logits))
    assert torch.autograd.gradcheck(held, logits)
    assert_close(found, torch.autograd.grad(held(logits), logits)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_class_confusion_of_16_bits_is_computed_in_32(dtype):
    logits = (4 * normal(0, 64, 10)).to(dtype).requires_grad_()
    loss = class_confusion(logits)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference_confusion(logits.double().detach(), 2.5), rel=1e-5)
    loss.backward()
    assert (logits.grad.dtype, logits.grad.isfinite().all()) == (dtype, True)
    large = torch.full((4, 2), 6e4).to(dtype)  # which a temperature of 1/2 takes beyond the range of float16
    assert class_confusion(large, temperature=0.5).item() == pytest.approx(1 / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_class_that_is_never_predicted_makes_no_nan(dtype):
    """Its probability is 0 in float32, in each row, and so is its row of the confusion."""
    logits = torch.zeros(6, 4, dtype=dtype)
    logits[:, 3] = -6e4
    logits[torch.arange(6), torch.arange(6) % 3] = 6e4
    logits.requires_grad_()
    loss = class_confusion(logits)
    loss.backward()
    assert loss.item() == pytest.approx(1 / 4)  # none of it lies on the diagonal: it counts as confused
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "options", "error", "message"),
    [
        (torch.zeros(3), {}, ValueError, "logits must be non-empty with shape"),
        (torch.zeros(0, 3), {}, ValueError, "logits must be non-empty"),
        (torch.zeros(3, 2).long(), {}, TypeError, "logits must hold floating-point"),
        (torch.full((3, 2), math.nan), {}, ValueError, "logits must be finite"),
        (torch.zeros(3, 2), {"temperature": 0}, ValueError, "temperature must be above 0"),
        (torch.zeros(3, 2), {"temperature": "1"}, TypeError, "temperature must be a number"),
    ],
)
def test_class_confusion_names_what_is_wrong(logits, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        class_confusion(logits, **options)


# -- the probe


@pytest.mark.long
def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is():
    x, y = normal(0, 100, 5), normal(1, 100, 5)
    assert proxy_a_distance(x, y) < 0.4
    assert proxy_a_distance(x, y + 10) == 2
    shift = torch.tensor([2.0, 0, 0, 0, 0])
    # two unit Gaussians 2 apart: the best error is Φ(-1) = .159, so 2 (1 - 2 · .159) = 1.365
    assert proxy_a_distance(normal(2, 400, 5), normal(3, 400, 5) + shift) == pytest.approx(1.365, abs=0.2)


@pytest.mark.long
def test_the_probe_is_asked_about_rows_that_it_has_not_seen():
    """Forty rows in fifty dimensions: any two halves are separable, and only held-out rows show that it is noise."""
    values = [proxy_a_distance(normal(s, 20, 50), normal(s + 100, 20, 50)) for s in range(4)]
    assert sum(values) / 4 < 0.6
    assert all(0 <= value <= 2 for value in values)  # where the error is above one half, too


@pytest.mark.long
def test_each_domain_counts_one_half_in_training_and_in_the_error():
    x, y = normal(0, 180, 3), normal(1, 20, 3)
    assert proxy_a_distance(x, y) < 0.6
    y = torch.cat([y[:10], y[10:] + 20])
    # half of y lies in x: ε = (0 + .5) / 2. The share of all rows that are wrong is .05, and would give 1.8
    assert proxy_a_distance(0.1 * x, 0.1 * y) == pytest.approx(1.0, abs=0.2)
    # 2 apart, as above; without weights the probe would call most of the smaller one by the bigger one's name: .9
    shift = torch.tensor([2.0, 0, 0])
    assert proxy_a_distance(normal(2, 900, 3), normal(3, 100, 3) + shift) == pytest.approx(1.365, abs=0.25)


@pytest.mark.long
def test_the_probe_repeats_needs_no_common_scale_and_takes_no_gradient():
    x, y = normal(0, 40, 4).requires_grad_(), normal(1, 40, 4) + 1.0
    value = proxy_a_distance(x, y)
    assert type(value) is float
    assert value == proxy_a_distance(x, y)
    assert proxy_a_distance(y, x) == pytest.approx(value, abs=0.3)
    scale = torch.tensor([1e-6, 1.0, 1e6, 0.0])
    other = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert proxy_a_distance(x * scale, y * scale) == pytest.approx(proxy_a_distance(x * other, y * other), abs=1e-9)
    assert {proxy_a_distance(x, y, seed=seed) for seed in range(4)} != {value}


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (torch.zeros(9, 2), torch.zeros(10, 2), {}, ValueError, "x must have at least 10 rows.*got 9"),
        (torch.zeros(10, 2), torch.zeros(9, 2), {}, ValueError, "y must have at least 10 rows.*got 9"),
        (torch.zeros(10, 2), torch.zeros(10, 3), {}, ValueError, "y must have x's width"),
        (torch.zeros(10), torch.zeros(10, 3), {}, ValueError, "x must be non-empty with shape"),
        (torch.zeros(10, 2), torch.full((10, 2), math.inf), {}, ValueError, "y must be finite"),
        (torch.zeros(10, 2), torch.zeros(10, 2), {"seed": -1}, ValueError, "seed must be from 0"),
        (torch.zeros(10, 2), torch.zeros(10, 2), {"seed": 0.5}, TypeError, "seed must be a whole number"),
    ],
)
def test_the_probe_names_what_is_wrong(x, y, options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        proxy_a_distance(x, y, **options)


# -- scores without labels


def plain_entropy(p):
    return -math.fsum(q * math.log(q) for q in p if q > 0)


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / math.fsum(powers) for power in powers]


@few
@given(seeds, st.integers(2, 7), st.integers(1, 5), st.sampled_from([0.1, 1, 30]), st.sampled_from(list(LAYOUTS)))
def test_scores_are_what_loops_over_floats_say(seed, n, c, size, layout):
    logits = size * normal(seed, n, c)
    p = [softmax(row) for row in logits.tolist()]
    mean = [math.fsum(column) / n for column in zip(*p, strict=True)]
    unsure = math.fsum(map(plain_entropy, p)) / n
    laid = LAYOUTS[layout](logits)
    assert entropy(laid).item() == pytest.approx(unsure, abs=1e-12)
    assert information_maximisation(laid).item() == pytest.approx(plain_entropy(mean) - unsure, abs=1e-12)
    assert -1e-12 <= information_maximisation(laid).item() <= math.log(c) + 1e-12
    assert_close(entropy(laid), EntropyLoss()(logits))
    assert_close(information_maximisation(laid), -DiversityLoss()(logits) - EntropyLoss()(logits))
    unit = [[q / math.sqrt(math.fsum(r * r for r in row)) for q in row] for row in p]
    density = [
        plain_entropy(softmax([math.fsum(map(float.__mul__, unit[i], unit[j])) / 0.05 for j in range(n) if j != i]))
        for i in range(n)
    ]
    assert soft_neighbourhood_density(laid).item() == pytest.approx(math.fsum(density) / n, abs=1e-9)


def test_what_each_score_rewards():
    sure = 50 * torch.eye(3).repeat(4, 1)  # 12 rows, three clusters of four, each called by its name
    collapsed = sure[:1].repeat(12, 1)
    assert entropy(sure) == pytest.approx(0, abs=1e-12)
    assert entropy(collapsed) == pytest.approx(0, abs=1e-12)  # entropy cannot tell them apart
    assert entropy(torch.zeros(5, 3)).item() == pytest.approx(math.log(3))
    assert information_maximisation(sure).item() == pytest.approx(math.log(3))
    assert information_maximisation(collapsed).item() == pytest.approx(0, abs=1e-6)
    assert information_maximisation(torch.zeros(5, 3)).item() == pytest.approx(0, abs=1e-6)
    assert soft_neighbourhood_density(sure).item() == pytest.approx(math.log(3), abs=1e-4)  # three others each
    assert soft_neighbourhood_density(collapsed).item() == pytest.approx(math.log(11), abs=1e-4)  # as documented
    assert soft_neighbourhood_density(sure, temperature=1e6) == pytest.approx(math.log(11), abs=1e-4)


@pytest.mark.parametrize("score", [entropy, information_maximisation, soft_neighbourhood_density])
def test_scores_have_right_gradients_and_stay_finite(score):
    assert torch.autograd.gradcheck(score, normal(0, 4, 3).requires_grad_())
    extreme = torch.tensor([[1e4, 0.0, -1e4], [1e4, 0.0, -1e4], [0.0, 1e4, -1e4]], requires_grad=True)
    score(extreme).backward()  # the third class has probability 0 in float32, in each row and on average
    assert torch.isfinite(extreme.grad).all()
    assert score(normal(0, 4, 3, dtype=torch.bfloat16)).dtype == torch.float32
    with pytest.raises(ValueError, match=r"^logits must be finite"):
        score(torch.full((3, 2), math.nan))
    with pytest.raises(ValueError, match=r"^logits must be non-empty"):
        score(torch.zeros(3))


def test_density_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"^logits must have at least 2 rows, got 1"):
        soft_neighbourhood_density(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"^temperature must be above 0"):
        soft_neighbourhood_density(torch.zeros(3, 2), temperature=0)


# -- at work


def train(nets, batch, steps, *, coeff, reverse=True):
    """The shortest DANN there is: nets are features, label head and domain head; batch() gives xs, ys, xt."""
    features, labels, domains = nets
    optimizer = torch.optim.SGD([p for net in nets for p in net.parameters()], lr=0.05, momentum=0.9)
    for step in range(steps):
        xs, ys, xt = batch()
        h = features(torch.cat([xs, xt]))
        loss = F.cross_entropy(labels(h[: len(xs)]), ys)
        if coeff:
            z = domains(grad_reverse(h, coeff * dann_coeff(step / steps)) if reverse else h)
            loss = loss + domain_loss(z[: len(xs)], z[len(xs) :])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def shifted(seed, n, shift):
    """The class is the sign of the first coordinate; the domain shifts the second."""
    x = normal(seed, n, 4, dtype=torch.float32)
    return x + torch.tensor([0.0, shift, 0.0, 0.0]) + x.sign() * torch.tensor([1.0, 0, 0, 0]), (x[:, 0] > 0).long()


@pytest.mark.long
def test_with_reversal_features_part_less_and_without_it_more():
    """Two features of four coordinates: one for the class, and one that is free to tell the domains apart."""
    (xs, ys), (xt, _) = shifted(0, 200, 0.0), shifted(1, 200, 1.5)
    (held_xs, _), (held_xt, held_yt) = shifted(2, 200, 0.0), shifted(3, 200, 1.5)

    def reach(coeff, reverse):
        torch.manual_seed(0)
        nets = nn.Linear(4, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        with torch.no_grad():
            nets[0].weight.copy_(torch.tensor([[0.5, 0.2, 0.2, 0.2], [0.1, 0.5, 0.5, 0.5]]))
        train(nets, lambda: (xs, ys, xt), 300, coeff=coeff, reverse=reverse)
        with torch.no_grad():
            accuracy = (nets[1](nets[0](held_xt)).argmax(1) == held_yt).float().mean().item()
            return proxy_a_distance(nets[0](held_xs), nets[0](held_xt)), accuracy

    (alone, _), (reversed_, accuracy), (naive, _) = reach(0, True), reach(1.0, True), reach(1.0, False)
    print("proxy A-distance:", alone, reversed_, naive, "accuracy:", accuracy)
    assert reversed_ + 0.2 < alone < naive - 0.1
    assert accuracy > 0.95


@pytest.mark.long
def test_rotated_moons():
    """Ganin's toy: 35 degrees cost a source-only net a third of the target, and DANN gets most of it back.

    Single runs range widely, so it is the mean of two.
    """

    def target_accuracy(seed, coeff, *, n=300, size=64, width=64):
        torch.manual_seed(seed)
        g = torch.Generator().manual_seed(seed)
        (xs, ys), (xt, yt) = moons(n, generator=g), moons(n, degrees=35, generator=g)
        features = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        domains = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        nets = features, nn.Linear(width, 2), domains

        def batch():
            i, j = torch.randint(n, (2, size), generator=g)
            return xs[i], ys[i], xt[j]

        train(nets, batch, 2000 if coeff else 500, coeff=coeff)
        with torch.no_grad():
            return (nets[1](features(xt)).argmax(1) == yt).float().mean().item()

    source_only = [target_accuracy(seed, 0) for seed in range(2)]
    dann = [target_accuracy(seed, 0.3) for seed in range(2)]
    print("source only, DANN:", source_only, dann)
    assert sum(source_only) / 2 < 0.76
    assert sum(dann) / 2 > 0.82
