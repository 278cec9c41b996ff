"""The combined loss: its terms against their sources, and its gradient against a minimax with two optimisers."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from xlib import _validate
from xlib.combined import combined_loss, mmd_loss, self_training_loss
from xlib.contrastive import LogitScale, info_nce
from xlib.course import training
from xlib.dann import domain_loss, grad_reverse
from xlib.mmd import mmd2

few = settings(deadline=None, max_examples=25)


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs(seed, n, m, k):
    """za, zb, domain_logits, domain_labels and features: n pairs; m source rows and k target rows, shuffled."""
    labels = torch.tensor([0] * m + [1] * k)[torch.randperm(m + k, generator=torch.Generator().manual_seed(seed))]
    z = F.normalize(normal(seed, 2, n, 5), dim=2)
    return z[0], z[1], normal(seed + 1, m + k, 2), labels, normal(seed + 2, m + k, 4)


@few
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(2, 5), st.integers(2, 5), st.floats(0, 3))
def test_the_terms_are_what_they_are_called(seed, n, m, k, coeff):
    za, zb, logits, labels, features = inputs(seed, n, m, k)
    terms = combined_loss(za, zb, logits, labels, logit_scale=7.0, features=features, mmd_coeff=coeff)
    assert list(terms) == ["contrastive", "domain", "mmd"]
    table = 7 * za @ zb.T
    truth = torch.arange(n)
    assert_close(terms["contrastive"], (F.cross_entropy(table, truth) + F.cross_entropy(table.T, truth)) / 2)
    by_domain = [F.cross_entropy(logits[labels == d], labels[labels == d]) for d in (0, 1)]
    assert_close(terms["domain"], sum(by_domain) / 2)  # weight 1, and each domain one half
    assert_close(terms["mmd"], coeff * mmd2(features[labels == 0], features[labels == 1]))


def test_what_is_not_given_is_left_out():
    za, zb, logits, labels, features = inputs(0, 4, 3, 5)
    assert list(combined_loss(za, zb, logit_scale=1.0)) == ["contrastive"]
    assert list(combined_loss(za, zb, logits, labels, logit_scale=1.0)) == ["contrastive", "domain"]
    alone = combined_loss(za, zb, domain_labels=labels, logit_scale=1.0, features=features)
    assert list(alone) == ["contrastive", "mmd"]
    assert_close(alone["mmd"], mmd2(features[labels == 0], features[labels == 1]))  # a weight of 1 if nothing is said
    off = combined_loss(za, zb, domain_labels=labels, logit_scale=1.0, features=features, mmd_coeff=0)
    assert off["mmd"] == 0  # there, so that the history of a ramp has the same names from its first step


def networks():
    torch.manual_seed(0)
    nets = {"image": nn.Linear(6, 5), "project": nn.Linear(5, 3), "text": nn.Linear(4, 3), "scale": LogitScale()}
    return nn.ModuleDict({**nets, "domain": nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))}).double()


def ours(nets, images, captions, labels, *, coeff, mmd_coeff):
    n = len(captions)
    features = nets["image"](images)
    return combined_loss(
        F.normalize(nets["project"](features[:n]), dim=1),
        F.normalize(nets["text"](captions), dim=1),
        nets["domain"](grad_reverse(features, coeff)),
        labels,
        logit_scale=nets["scale"](),
        features=features,
        mmd_coeff=mmd_coeff,
    )


@pytest.mark.parametrize("coeff", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("mmd_coeff", [0.0, 1.5])
def test_one_optimiser_does_what_a_minimax_with_two_does(coeff, mmd_coeff):
    """By hand, without reversal: encoders descend InfoNCE - λ · domain + μ · MMD², the head descends domain."""
    one, two = networks(), networks()
    head = list(two["domain"].parameters())
    encoders = [p for name, p in two.named_parameters() if not name.startswith("domain")]
    single = torch.optim.SGD(one.parameters(), lr=0.1)
    down, up = torch.optim.SGD(encoders, lr=0.1), torch.optim.SGD(head, lr=0.1)
    images, captions, labels = normal(1, 9, 6), normal(2, 4, 4), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1])
    for _ in range(5):
        single.zero_grad()
        sum(ours(one, images, captions, labels, coeff=coeff, mmd_coeff=mmd_coeff).values()).backward()
        single.step()

        features = two["image"](images)
        za, zb = F.normalize(two["project"](features[:4]), dim=1), F.normalize(two["text"](captions), dim=1)
        logits = two["domain"](features)
        domain = domain_loss(logits[:4], logits[4:])
        task = info_nce(za, zb, logit_scale=two["scale"]()) + mmd_coeff * mmd2(features[:4], features[4:])
        for_encoders = torch.autograd.grad(task - coeff * domain, encoders, retain_graph=True)
        for_head = torch.autograd.grad(domain, head)
        for parameters, gradients in ((encoders, for_encoders), (head, for_head)):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        down.step()
        up.step()
    for (name, p), q in zip(one.named_parameters(), two.parameters(), strict=True):
        assert_close(p, q, msg=lambda text, name=name: f"{name}: {text}")


def test_the_coefficient_is_applied_once_and_to_the_features_alone():
    """From λ = 0.5 to λ = 1 the reversed gradient doubles, and the head's stays."""
    gradients = {}
    for coeff in (0.0, 0.5, 1.0):
        nets = networks()
        images, captions, labels = normal(1, 9, 6), normal(2, 4, 4), torch.tensor([0] * 4 + [1] * 5)
        sum(ours(nets, images, captions, labels, coeff=coeff, mmd_coeff=0).values()).backward()
        gradients[coeff] = nets["image"].weight.grad, nets["domain"][0].weight.grad
    base, half, whole = (gradients[coeff][0] for coeff in (0.0, 0.5, 1.0))
    assert_close(whole - base, 2 * (half - base))
    assert (whole - base).abs().max() > 1e-4
    assert_close(gradients[1.0][1], gradients[0.0][1])


def test_the_naive_loss_cannot_tell_a_collapse_from_success_and_this_one_can():
    za = F.normalize(normal(0, 16, 8), dim=1)
    collapsed = za[:1].expand(16, 8)
    assert_close((collapsed * collapsed).sum(1).mean(), (za * za).sum(1).mean())
    whole = combined_loss(za, za, logit_scale=20.0)["contrastive"]
    assert combined_loss(collapsed, collapsed, logit_scale=20.0)["contrastive"].item() == pytest.approx(math.log(16))
    assert whole < 0.5


def test_training_lowers_the_terms_and_their_names_are_in_the_history():
    nets, generator = networks(), torch.Generator().manual_seed(0)
    hidden = normal(3, 40, 4)
    images = torch.cat([hidden, hidden + 2]) @ normal(4, 4, 6)  # the target is shifted, and has no captions
    labels = torch.tensor([0] * 40 + [1] * 40)
    run = training.fit(
        nets,
        lambda step: ours(nets, images, hidden, labels, coeff=0.3, mmd_coeff=1.0),
        torch.optim.AdamW(nets.parameters(), lr=1e-2),
        steps=60,
        generator=generator,
        after_step=nets["scale"].clamp_,
    )
    first, last = run.history[0], run.history[-1]
    assert last["loss"] == pytest.approx(last["contrastive"] + last["domain"] + last["mmd"], rel=1e-6)
    assert last["contrastive"] < first["contrastive"] / 2
    assert last["mmd"] < first["mmd"] / 2


def test_16_bits_are_computed_in_32_and_modalities_can_be_the_domains():
    za, zb, logits, labels, features = (t.bfloat16() if t.is_floating_point() else t for t in inputs(0, 6, 6, 6))
    terms = combined_loss(za, zb, logits, labels, logit_scale=7.0, features=features)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    a, b = normal(0, 6, 4), normal(1, 6, 4)
    both = torch.tensor([0] * 6 + [1] * 6)
    apart = combined_loss(a, b, domain_labels=both, logit_scale=1.0, features=torch.cat([a, b + 3]))["mmd"]
    assert apart > combined_loss(a, b, domain_labels=both, logit_scale=1.0, features=torch.cat([a, b]))["mmd"] + 0.1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"domain_labels": None}, TypeError, "domain_labels must be an int64 tensor.*got NoneType"),
        ({"domain_labels": torch.zeros(8)}, TypeError, "domain_labels must be an int64 tensor.*got torch.float32"),
        ({"domain_labels": torch.zeros(8, 1).long()}, ValueError, r"domain_labels must have shape \(8,\).*\(8, 1\)"),
        ({"domain_labels": torch.arange(7) % 2}, ValueError, r"domain_labels must have shape \(8,\).*domain_logits"),
        ({"domain_labels": torch.zeros(8).long()}, ValueError, r"domain_labels must hold 0 .* and 1 .*got \[0\]"),
        ({"domain_labels": torch.arange(8) % 3}, ValueError, r"domain_labels must hold 0 .*got \[0, 1, 2\]"),
        ({"domain_logits": None, "features": None}, ValueError, "domain_labels were given, but neither"),
        ({"features": torch.zeros(7, 4)}, ValueError, r"domain_labels must have shape \(7,\), one a row of features"),
        ({"features": torch.full((8, 4), math.nan)}, ValueError, "features must be finite"),
        ({"domain_logits": torch.zeros(8)}, ValueError, "domain_logits must be non-empty with shape"),
        ({"domain_logits": torch.zeros(8, 1)}, ValueError, "domain_logits must have 2 columns"),
        ({"mmd_coeff": -1}, ValueError, "mmd_coeff must be 0 or above, got -1"),
        ({"mmd_coeff": math.inf}, ValueError, "mmd_coeff must be a finite number"),
        ({"logit_scale": 0}, ValueError, "logit_scale must be above 0"),
        ({"zb": torch.zeros(3, 5)}, ValueError, "zb must have za's shape"),
    ],
)
def test_it_names_what_is_wrong(change, error, message):
    za, zb, logits, labels, features = inputs(0, 4, 3, 5)
    arguments = {"za": za, "zb": zb, "domain_logits": logits, "domain_labels": labels, "logit_scale": 1.0}
    with pytest.raises(error, match=f"^{message}"):
        combined_loss(**{**arguments, "features": features, **change})


@few
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(2, 5), st.floats(0.3, 1))
def test_self_training_is_cross_entropy_with_sure_guesses(seed, n, c, threshold):
    plain, changed = 4 * normal(seed, n, c), normal(seed + 1, n, c)
    total = 0.0
    for row, other in zip(plain.tolist(), changed.tolist(), strict=True):
        odds = [math.exp(x) for x in row]
        if max(odds) / sum(odds) >= threshold:
            total += math.log(sum(math.exp(x) for x in other)) - other[odds.index(max(odds))]
    found = self_training_loss(plain, changed, threshold=threshold)
    assert found.item() == pytest.approx(total / n, abs=1e-9)


def test_guesses_get_no_gradient_and_an_unsure_batch_gives_zeros():
    plain, changed = (normal(seed, 4, 3).requires_grad_() for seed in (0, 1))
    loss = self_training_loss(plain * 20, changed, threshold=0.9)
    assert loss > 0
    loss.backward()
    assert plain.grad is None
    assert changed.grad.abs().sum() > 0
    unsure, after = torch.zeros(2, 3), torch.randn(2, 3, requires_grad=True)
    self_training_loss(unsure, after).backward()
    assert torch.equal(after.grad, torch.zeros(2, 3))


def test_self_training_names_what_is_wrong():
    with pytest.raises(ValueError, match="changed must have plain's shape"):
        self_training_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="threshold must be a probability"):
        self_training_loss(torch.zeros(2, 3), torch.zeros(2, 3), threshold=1.5)
    with pytest.raises(TypeError, match="plain"):
        self_training_loss([[0.0]], torch.zeros(1, 1))


# -- features that coincide


def dead(dtype=torch.float32):
    """Sixteen rows of features, of which three in four are one point, as behind dead ReLUs."""
    return torch.cat([normal(0, 4, 8), torch.zeros(12, 8)]).to(dtype)


SIDES = torch.tensor([0] * 8 + [1] * 8)


def term(features, monkeypatch=None):
    """The term of MMD and its gradient; with monkeypatch as on a GPU, where nobody looks at values."""
    if monkeypatch is not None:
        monkeypatch.setattr(_validate, "reads_values", lambda x: not isinstance(x, torch.Tensor))
    features, z = features.clone().requires_grad_(), F.normalize(normal(1, 8, 4), dim=1)
    value = combined_loss(z, z, None, SIDES, logit_scale=10.0, features=features)["mmd"]
    value.backward()
    if monkeypatch is not None:
        monkeypatch.undo()
    return value.detach(), features.grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
@pytest.mark.parametrize("noise", [0.0, 1e-20])
def test_where_most_features_coincide_the_others_give_the_bandwidth(monkeypatch, dtype, scale, noise):
    rows = (scale * (dead(dtype) + noise * normal(3, 16, 8).to(dtype))).to(dtype)
    z = dead(dtype).double()
    apart = torch.pdist(z)[torch.pdist(z) > 0]
    steps = [apart.median().item() * 2 ** (step / 2) for step in range(-2, 3)]
    expected = mmd2(z[:8], z[8:], bandwidths=steps)
    for where in (None, monkeypatch):
        value, gradient = term(rows, where)
        assert value.item() == pytest.approx(expected.item(), rel=1e-2 if dtype == torch.bfloat16 else 1e-4)
        assert gradient.isfinite().all()
        assert gradient[4:].abs().sum() > 0  # what coincides is moved, too
    if dtype != torch.bfloat16:
        with pytest.raises(ValueError, match="x and y"):
            mmd2(dead(dtype)[:8], dead(dtype)[8:])  # which says so where it is no loss


@pytest.mark.parametrize("at", [0.0, 7.3, 1e6, 1e30, 1e-30])
def test_where_all_features_coincide_mmd_is_0_and_moves_nothing(monkeypatch, at):
    for where in (None, monkeypatch):
        value, gradient = term(torch.full((16, 8), at), where)
        assert value.abs() < 1e-6
        assert torch.equal(gradient, torch.zeros(16, 8))


def test_features_that_coincide_but_for_rounding_are_no_ruler(monkeypatch):
    rows = torch.cat([normal(0, 4, 8), 1 + 1e-7 * normal(1, 12, 8)]).float()
    for where in (None, monkeypatch):
        _, gradient = term(rows, where)
        assert gradient.abs().max() < 1


def test_elsewhere_the_term_is_mmd2_to_the_last_digit():
    for seed in range(20):
        x, y = normal(seed, 2, 9, 4, dtype=torch.float32)
        assert torch.equal(mmd_loss(x, y + 1), mmd2(x, y + 1))


def test_many_rows_that_coincide():
    x = torch.cat([torch.zeros(1000, 2), normal(0, 200, 2, dtype=torch.float32)])  # above 2,048 rows with y's
    assert mmd_loss(x, x.flip(0)).abs() < 1e-3
    assert mmd_loss(x, torch.cat([x[:1000], x[1000:] + 3])) > 1e-3


def test_wrong_samples_are_named():
    x = torch.zeros(4, 2)
    for bad, error, says in (
        ((x, torch.zeros(4, 3)), ValueError, "y must have x's width"),
        ((x[:1], x), ValueError, "x must have at least 2 rows"),
        ((x.long(), x), TypeError, "x must hold floating-point"),
        ((x * math.nan, x), ValueError, "x must be finite"),
    ):
        with pytest.raises(error, match=says):
            mmd_loss(*bad)


def test_a_training_goes_on_while_features_coincide():
    """All units of the ReLU are dead at first; the contrastive term brings them to life."""
    torch.manual_seed(0)
    nets = networks()
    nets["image"] = nn.Sequential(nets["image"], nn.LeakyReLU(0.0))
    with torch.no_grad():
        nets["image"][0].bias.fill_(-3)
    images, captions, labels = normal(1, 9, 6), normal(2, 4, 4), torch.tensor([0] * 4 + [1] * 5)
    assert (nets["image"](images) > 0).any(dim=1).sum() <= 2
    run = training.fit(
        nets,
        lambda step: ours(nets, images, captions, labels, coeff=0.3, mmd_coeff=1.0),
        torch.optim.AdamW(nets.parameters(), lr=1e-2),
        steps=20,
        generator=torch.Generator(),
    )
    assert run.step == 20
