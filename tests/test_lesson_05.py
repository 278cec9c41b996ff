"""Lesson 05's gradients, its network, training step and measurements; its stored runs can be measured again."""

import math
from functools import partial

import numpy as np
import ot
import pytest
import results
import torch
import torch.nn.functional as F
from lessons import lesson, parts, stop_after
from scenes import walk
from torch import nn
from tqdm.auto import tqdm

from xlib import dann, encoders
from xlib.course import report, training
from xlib.data import digits, toy
from xlib.experiments import digits as experiment
from xlib.experiments.digits import (
    AUGMENTATIONS,
    METHODS,
    WEIGHTS,
    digits_model,
    draw_digits,
    halves,
    held_out_digits,
    measure_digits,
    start_for_sgd,
    train_digits,
    transport_cost,
)

LESSON = lesson("05_dann")


def defined(*functions, **more):
    """These functions of the lesson, in one scope."""
    scope = {"torch": torch, "F": F, "dann": dann, "toy": toy, "tqdm": tqdm} | more
    for function in functions:
        exec(LESSON.source(function), scope)
    return [scope[function] for function in functions]


@pytest.fixture
def shown(smoke_cells):
    """shown(*cells): what these cells of the lesson define."""
    return partial(smoke_cells, "05_dann", "first-look-model")


def test_the_first_panel_can_be_read_everywhere(shown):
    scope = shown("first-look-panel")
    walk(scope["turned_panel"], degrees=[0, 45, 90])
    turned, view = scope["first_turned"], scope["turned_panel"]
    turned.degrees = 90
    asked = "Turned by 90 degrees, {:.2f} of the triangles are read rightly"
    share = scope["neighbours"].score(*scope["turned_moons"](90, seed=1))
    assert view.alt_text.startswith(asked.format(share))
    assert share < 0.7


def test_the_panel_of_the_coefficients_can_be_read_everywhere(shown):
    scope = shown("moons-picture", "train", "measure", "moons-run", "play-panel", "play-show")
    walk(scope["reversal_panel"], coefficient=scope["COEFFS"])
    for coefficient, row in scope["scores"].items():
        scope["reversal"].coefficient = coefficient
        assert f"target accuracy {row['target']:.2f}" in scope["reversal_panel"].alt_text


def test_only_the_reversal_turns_the_features_round_and_leaves_the_head():
    head, two = torch.tensor([[1.0, -1], [-1, 1]]), torch.tensor([[1.0, 0.5], [0, 1]])
    (gradients,) = defined("gradients", head=head, two=two, coeff=0.5)
    together, minus, reversal = (gradients(variant) for variant in ("together", "minus", "reversal"))
    torch.testing.assert_close(reversal, (-0.5 * together[0], together[1]))
    torch.testing.assert_close(minus, (-0.5 * together[0], -0.5 * together[1]))


def test_moons_repeat_and_a_coefficient_of_0_is_the_source_alone():
    _, train = defined("draw_moons", "train_moons")

    def weights(variant, coeff, part, seed=0):
        model, _ = train(variant, coeff, seed=seed, steps=20)
        return torch.cat([p.detach().flatten() for p in model[part].parameters()])

    assert torch.equal(weights("reversal", 1.0, "features"), weights("reversal", 1.0, "features"))
    assert not torch.equal(weights("reversal", 1.0, "features"), weights("reversal", 1.0, "features", seed=1))
    assert torch.equal(weights("reversal", 0.0, "features"), weights("minus", 0.0, "features"))
    assert not torch.equal(weights("together", 1.0, "features"), weights("reversal", 0.0, "features"))


@pytest.mark.parametrize("case", parts("feature_gradient")[1], ids=lambda case: case[0])
def test_the_formula_of_exercise_1_is_what_autograd_finds(case):
    _, _, features, weight, domain, coeff = case
    leaf = features.clone().requires_grad_()
    loss = F.binary_cross_entropy_with_logits(dann.grad_reverse(leaf, coeff) @ weight, domain.to(leaf.dtype))
    (found,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(parts("feature_gradient")[0](features, weight, domain, coeff), found)


def test_exercise_3_says_what_its_two_bugs_cost():
    broken, mended = LESSON.stub("fixed_domain_loss"), LESSON.solution("fixed_domain_loss")
    sure = torch.tensor([[30.0, -30.0]])  # of the source
    assert broken(sure, -sure).item() == pytest.approx(0.31, abs=0.005)
    assert mended(sure, -sure).item() == pytest.approx(0, abs=1e-6)
    assert broken(sure.expand(9, 2), sure).item() == pytest.approx(0.41, abs=0.005)
    blind = [mended(guess.expand(9, 2), guess).item() for guess in (sure * x / 30 for x in range(-5, 6))]
    assert min(blind) == pytest.approx(math.log(2), abs=1e-6)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "conditional"), [(1, False), (1, True), (2, False)])
def test_the_network_has_the_sizes_that_it_says(width, conditional):
    model, images = digits_model(width, conditional=conditional), torch.rand(3, 3, 28, 28)
    features = model["features"](images)
    assert features.shape == (3, 800 * width)
    assert model["label"](features).shape == (3, 10)
    assert model["domain"][0].in_features == 800 * width * (10 if conditional else 1)
    assert model["domain"](torch.rand(3, model["domain"][0].in_features)).shape == (3, 2)
    assert isinstance(model["label"][-1], nn.Linear)  # logits
    assert isinstance(model["domain"][-1], nn.Linear)


def test_the_network_pools_before_the_relu_and_gives_what_the_usual_order_gives():
    model, images = digits_model(), torch.rand(5, 3, 28, 28, generator=seeded())
    first, second = (layer for layer in model["features"] if isinstance(layer, nn.Conv2d))
    x = F.max_pool2d(F.conv2d(2 * images - 1, first.weight, first.bias).relu(), 2)
    x = F.max_pool2d(F.conv2d(x, second.weight, second.bias).relu(), 2)
    torch.testing.assert_close(model["features"](images), x.flatten(1))


def test_what_an_image_becomes_does_not_depend_on_its_neighbours():
    model, images = digits_model().train(), torch.rand(4, 3, 28, 28, generator=seeded())
    alone = torch.cat([model["features"](image[None]) for image in images])
    torch.testing.assert_close(model["features"](images), alone, atol=1e-5, rtol=1e-5)


def test_the_start_is_hes_with_biases_of_0_and_channels_last():
    torch.manual_seed(0)
    model = digits_model(2)
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 6
    for layer in layers:
        assert not layer.bias.any()
        found, number = layer.weight.detach(), layer.weight.numel()
        expected = math.sqrt(2 / found[0].numel())  # two by the numbers that reach one output
        assert found.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * number))
        assert found.mean().item() == pytest.approx(0, abs=4 * expected / math.sqrt(number))
    convolution = model["features"][4]
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert not convolution.weight.is_contiguous()
    assert start_for_sgd(model) is model


def test_every_method_has_a_weight():
    assert tuple(WEIGHTS) == METHODS
    assert min(WEIGHTS.values()) > 0


# --- augmentation ---------------------------------------------------------------------------------


def test_grey_takes_from_each_image_one_level_of_its_own():
    levels = AUGMENTATIONS["grey"](torch.zeros(200, 3, 4, 4), seeded())
    assert torch.equal(levels, levels[:, :1, :1, :1].expand_as(levels))
    assert levels.min() < 0.05 < 0.95 < levels.max()
    assert levels.max() <= 1
    images = torch.rand(200, 3, 4, 4, generator=seeded(1))
    torch.testing.assert_close(AUGMENTATIONS["grey"](images, seeded()), (images - levels).abs())


def test_affine_is_the_encoders():
    images = torch.rand(9, 3, 28, 28, generator=seeded(1))
    expected = encoders.random_affine(images, generator=seeded())
    assert torch.equal(AUGMENTATIONS["affine"](images, seeded()), expected)


# --- transport ------------------------------------------------------------------------------------


def sinkhorn(cost, steps, regularisation=0.05):
    """Rows and columns of exp(-cost / regularisation), scaled by turns to the same sums."""
    kernel = np.exp(-cost / regularisation)
    u, v = np.ones(len(kernel)), np.ones(len(kernel.T))
    for _ in range(steps):
        v = 1 / len(v) / (kernel.T @ u)
        u = 1 / len(u) / (kernel @ v)
    return u[:, None] * kernel * v


def mean_squares(source, target):
    return (source[:, None] - target[None]).square().mean(dim=2)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 9), (40, 30)])
def test_transport_costs_what_pot_says_and_what_the_plan_moves(n, m):
    source = torch.randn(n, 4, generator=seeded(n), dtype=torch.float64)
    target = torch.randn(m, 4, generator=seeded(m + 1), dtype=torch.float64) + 0.5
    found = transport_cost(source, target).item()
    cost = mean_squares(source, target).numpy()
    relative, scale = cost / cost.mean(), cost.mean()
    loss = ot.sinkhorn2([], [], relative, 0.05, method="sinkhorn_log", numItermax=50, warn=False)
    assert found == pytest.approx(scale * float(loss), rel=1e-5)
    assert found == pytest.approx((sinkhorn(relative, 50) * cost).sum(), rel=1e-3)
    assert found < scale  # what a plan that moves everything everywhere costs
    exact = ot.emd2([], [], cost)
    assert exact - 1e-6 <= found <= exact + 0.15 * scale  # entropy makes the plan a little worse than the best


def test_transport_knows_the_unit_and_no_order_and_where_there_is_nothing_to_move():
    source, target = (torch.randn(8, 3, generator=seeded(seed), dtype=torch.float64) for seed in (0, 1))
    cost = transport_cost(source, target)
    torch.testing.assert_close(transport_cost(10 * source, 10 * target), 100 * cost)  # features that shrink pay less
    torch.testing.assert_close(transport_cost(source, target.flip(0)), cost)
    doubled = (torch.cat([part, part], dim=1) for part in (source, target))
    torch.testing.assert_close(transport_cost(*doubled), cost)  # the mean over features
    apart = 20 * torch.eye(8, dtype=torch.float64)
    assert transport_cost(apart, apart.flip(0)).item() == pytest.approx(0, abs=1e-4)


def test_transport_of_one_far_row_among_near_ones_stays_finite():
    """exp(-cost / .05 mean costs) is 0 in float32 for every pair of that row: its plan needs logarithms."""
    source = torch.cat([torch.zeros(63, 2), torch.full((1, 2), 1e3)]).requires_grad_()
    target = torch.randn(64, 2, generator=seeded())
    cost = transport_cost(source, target)
    cost.backward()
    assert cost.item() == pytest.approx(1e6 / 64, rel=0.05)
    assert source.grad.isfinite().all()


def test_the_gradient_of_transport_is_the_plan_times_that_of_the_costs():
    source = torch.randn(6, 4, generator=seeded(0), dtype=torch.float64).requires_grad_()
    target = torch.randn(5, 4, generator=seeded(1), dtype=torch.float64).requires_grad_()
    found = torch.autograd.grad(transport_cost(source, target), (source, target))
    cost = mean_squares(source, target).detach().numpy()
    options = {"method": "sinkhorn_log", "numItermax": 50, "warn": False}
    plan = torch.from_numpy(np.asarray(ot.sinkhorn([], [], cost / cost.mean(), 0.05, **options)))
    apart = source.detach()[:, None] - target.detach()[None]  # (6, 5, 4)
    expected = (plan[:, :, None] * apart / 2).sum(dim=1), -(plan[:, :, None] * apart / 2).sum(dim=0)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


# --- a training step ------------------------------------------------------------------------------


def first_losses(monkeypatch, **options):
    """The terms of the first and of the middle step of a digit training, and what the network was fed with."""
    seen = []

    def once(model, loss, optimizer, **rest):
        model["features"].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        return [loss(0), loss(rest["steps"] // 2)]

    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", once)
        model, terms = train_digits(options.pop("strength", 0.6), steps=100, batch=8, **options)
    return model, terms, seen


def is_grey(images):
    return torch.equal(images, images[:, :1].expand_as(images))


@pytest.mark.parametrize("align", [None, *METHODS])
def test_the_target_is_looked_at_only_where_a_term_needs_it(monkeypatch, align):
    _, terms, seen = first_losses(monkeypatch, align=align)
    extra = {None: set(), "dann": {"domain"}, "cdan": {"domain"}}.get(align, {align})
    assert [step.keys() for step in terms] == [{"label"} | extra] * 2
    assert [images.shape for images in seen] == [(16 if align else 8, 3, 28, 28)] * 2
    for images in seen:
        assert is_grey(images[:8])  # clean digits
        assert not align or not is_grey(images[8:])
    _, _, oracles = first_losses(monkeypatch, align=align, on_target=True)
    assert not is_grey(oracles[0][:8])


def with_target(monkeypatch, change, **options):
    """The weights after three steps from MNIST to UCI, with scans and labels of UCI changed."""
    load = digits.load

    def changed(split, *, collection):
        found = load(split, collection=collection)
        return change(*found) if collection == "uci" else found

    with monkeypatch.context() as patch:
        patch.setattr(experiment.digits, "load", changed)
        return weights(train_digits(0.6, steps=3, batch=8, collections=("mnist", "uci"), **options)[0])


@pytest.mark.parametrize("align", [None, *METHODS])
def test_labels_of_the_target_are_never_used_and_its_scans_by_alignment_alone(monkeypatch, align):
    as_it_is = with_target(monkeypatch, lambda *both: both, align=align)
    other_labels = with_target(monkeypatch, lambda scans, labels: (scans, 9 - labels), align=align)
    other_scans = with_target(monkeypatch, lambda scans, labels: (1 - scans, labels), align=align)
    assert torch.equal(as_it_is, other_labels)
    assert torch.equal(as_it_is, other_scans) == (align is None)


def test_the_oracle_alone_uses_the_targets_labels(monkeypatch):
    as_it_is = with_target(monkeypatch, lambda *both: both, on_target=True)
    other_labels = with_target(monkeypatch, lambda scans, labels: (scans, 9 - labels), on_target=True)
    assert not torch.equal(as_it_is, other_labels)


def test_each_domain_has_the_handwriting_of_its_collection(monkeypatch):
    """UCI's scans leave a frame of 4 pixels empty, and MNIST's do not: at strength 0 it shows in the images."""

    def framed(images):
        images = images.clone()
        images[..., 4:24, 4:24] = 0
        return not images.any()

    for collections in (("mnist", "uci"), ("uci", "mnist"), ("uci", "uci"), ("mnist", "mnist")):
        options = {"strength": 0, "align": "coral", "collections": collections, "augment": None}
        _, _, seen = first_losses(monkeypatch, **options)
        both = torch.cat(seen).view(2, 2, 8, 3, 28, 28).transpose(0, 1)
        assert [framed(images) for images in both] == [name == "uci" for name in collections]
        _, _, seen = first_losses(monkeypatch, **options, on_target=True)
        assert framed(seen[0][:8]) == (collections[1] == "uci")


@pytest.mark.parametrize("align", ["mmd", "coral", "sinkhorn", "mcc"])
def test_a_term_is_ramped_up_and_weighted_once(monkeypatch, align):
    _, usual, _ = first_losses(monkeypatch, align=align)
    _, twice, _ = first_losses(monkeypatch, align=align, weight=2 * WEIGHTS[align])
    model, once, seen = first_losses(monkeypatch, align=align, weight=1.0)
    assert usual[0][align].item() == 0
    features = model["features"](seen[1])
    distance = {
        "mmd": lambda: experiment.mmd.mmd2(features[:8], features[8:]),
        "coral": lambda: experiment.mmd.coral(features[:8], features[8:]),
        "sinkhorn": lambda: transport_cost(features[:8], features[8:]),
        "mcc": lambda: dann.class_confusion(model["label"](features[8:])),
    }[align]()
    expected = dann.dann_coeff(0.5) * distance.item()
    assert expected != 0
    assert once[1][align].item() == pytest.approx(expected, rel=1e-4)
    assert usual[1][align].item() == pytest.approx(WEIGHTS[align] * expected, rel=1e-4)
    assert twice[1][align].item() == pytest.approx(2 * WEIGHTS[align] * expected, rel=1e-4)


@pytest.mark.parametrize("align", ["dann", "cdan"])
def test_the_coefficient_is_applied_once_and_in_the_reversal_alone(monkeypatch, align):
    asked, shown = [], []

    def reverse(features, coeff):
        asked.append(coeff)
        shown.append(features)
        return features

    model, one, seen = first_losses(monkeypatch, align=align, weight=0.3, reverse=reverse)
    _, other, _ = first_losses(monkeypatch, align=align, weight=0.9)
    assert asked == [0, pytest.approx(0.3 * dann.dann_coeff(0.5))]
    torch.testing.assert_close(one[1]["domain"], other[1]["domain"])  # the loss itself has weight 1
    features = model["features"](seen[1])
    if align == "cdan":
        features = dann.multilinear_map(features, model["label"](features))
    torch.testing.assert_close(shown[1], features)
    asked.clear()
    first_losses(monkeypatch, align=align, reverse=reverse)
    assert asked[1] == pytest.approx(dann.dann_coeff(0.5))  # λ = 1, if nothing is said


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("align", [None, "dann"])
def test_images_of_both_domains_are_augmented_each_by_its_own_amount(monkeypatch, augment, align):
    amounts = []

    def noted(images, generator):
        amounts.append(images)
        return AUGMENTATIONS[augment](images, generator)

    changed = dict.fromkeys(AUGMENTATIONS, lambda images, generator: pytest.fail("the other one")) | {augment: noted}
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "AUGMENTATIONS", changed)
        _, _, seen = first_losses(monkeypatch, augment=augment, align=align)
    plain = first_losses(monkeypatch, align=align)[2][0]
    assert torch.equal(amounts[0], plain)  # the same draws before
    assert [len(part) for part in amounts] == [16 if align else 8] * 2
    assert not any(torch.equal(one, other) for one, other in zip(plain, seen[0], strict=True))
    if augment == "grey":
        levels = seen[0][:8, 0, 0, 0]  # clean digits, whose corner is paper
        assert len(levels.unique()) == 8


def test_snapshots_are_of_the_model_on_the_way():
    def snapshot(model):
        assert not model.training
        return weights(model)

    model, run = train_digits(0.6, align="mmd", steps=5, batch=8, snapshot=snapshot, every=2)
    assert [step for step, _ in run.snapshots] == [0, 2, 4, 5]
    assert torch.equal(run.snapshots[-1][1], weights(model))
    assert len({tuple(value[:50].tolist()) for _, value in run.snapshots}) == 4
    assert torch.equal(weights(train_digits(0.6, align="mmd", steps=5, batch=8)[0]), weights(model))  # only watched
    assert train_digits(0.6, steps=2, batch=8)[1].snapshots == []


def test_the_rate_follows_the_papers_schedule(monkeypatch):
    rates, fit = [], training.fit

    def watched(model, loss, optimizer, **options):
        def noted(step):
            rates.append(optimizer.param_groups[0]["lr"])
            return loss(step)

        (group,) = optimizer.param_groups
        assert (type(optimizer), group["momentum"], group["weight_decay"]) == (torch.optim.SGD, 0.9, 0)
        assert len(group["params"]) == len(list(model.parameters()))
        return fit(model, noted, optimizer, **options)

    monkeypatch.setattr(training, "fit", watched)
    train_digits(0.6, align="dann", steps=10, batch=8)
    assert rates == pytest.approx([0.02 / (1 + 10 * step / 10) ** 0.75 for step in range(10)])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"align": "DANN"}, "align must be one of 'dann', 'cdan'"),
        ({"strength": 2}, "strength must be"),
        ({"augment": "clouds"}, "augment must be one of 'grey', 'affine', got 'clouds'"),
        ({"collections": ("mnist", "usps")}, "collection must be one of"),
    ],
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        train_digits(**({"strength": 0.5} | options))


@pytest.mark.parametrize("align", [None, *METHODS])
def test_digits_repeat_and_depend_on_the_seed(align):
    one, same, other = (weights(train_digits(0.6, align=align, seed=seed, steps=3, batch=8)[0]) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_digits_are_drawn_as_photo_digits_are(strength):
    scans, photos = torch.rand(5, 1, 28, 28, generator=seeded(1)), torch.rand(2, 3, 40, 33, generator=seeded(2))
    before = scans.clone()
    images = draw_digits(scans, photos, strength, generator=seeded())
    patches = digits.random_patches(photos, 5, height=28, width=28, generator=seeded())
    torch.testing.assert_close(images, (strength * patches - scans).abs().expand(-1, 3, -1, -1))
    assert torch.equal(scans, before)


# --- measuring ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("collection", "count"), [("mnist", 1000), ("uci", 386)])
def test_held_out_digits_are_new_scans_on_new_photographs(collection, count):
    clean, labels = held_out_digits(0, collection=collection)
    photo, again = held_out_digits(0.6, copies=2, collection=collection)
    scans, right = digits.load("test", collection=collection)
    assert torch.equal(clean, scans.expand(-1, 3, -1, -1))
    assert torch.equal(labels, right)
    assert photo.shape == (2 * count, 3, 28, 28)
    assert torch.equal(torch.cat([labels, labels]), again)
    assert not torch.equal(photo[:count], photo[count:])
    patches = digits.random_patches(digits.photographs("test"), 2 * count, height=28, width=28, generator=seeded(2))
    torch.testing.assert_close(photo, (0.6 * patches - scans.repeat(2, 1, 1, 1)).abs())
    assert torch.equal(held_out_digits(0.6, copies=2, collection=collection)[0], photo)


@pytest.mark.parametrize("collection", digits.COLLECTIONS)
def test_halves_differ_in_nothing_but_the_scans(collection):
    _, labels = held_out_digits(0, collection=collection)
    one, other = halves(labels)
    assert sorted([*one.tolist(), *other.tolist()]) == list(range(len(labels)))
    assert (labels[one].bincount() - labels[other].bincount()).abs().max() <= 1
    every_other = [(labels[start::2] % 2).double().mean() for start in (0, 1)]
    assert abs(every_other[0] - every_other[1]) > 0.3  # with those a probe finds a difference where there is none


class Coarse(nn.Module):
    """Images to the means of 16 squares in each colour, (N, 48)."""

    def forward(self, images):
        return F.avg_pool2d(images, 7).flatten(1)


def coarse_model():
    torch.manual_seed(0)
    return nn.ModuleDict({"features": Coarse(), "label": nn.Linear(48, 10), "domain": nn.Linear(48, 2)})


def measured(monkeypatch, model, strength, **options):
    """What `measure_digits` finds, and the rows that it gave to the probe."""
    probed = []

    def probe(x, y):
        probed.extend([x, y])
        return 0.625

    with monkeypatch.context() as patch:
        patch.setattr(dann, "proxy_a_distance", probe)
        return measure_digits(model, strength, **options), *probed


@pytest.mark.parametrize(
    ("strength", "copies", "collections"),
    [(1.0, 1, ("mnist", "mnist")), (0.5, 3, ("mnist", "uci")), (0.0, 2, ("uci", "mnist"))],
)
def test_what_is_measured_is_what_plain_loops_say(monkeypatch, strength, copies, collections):
    model = coarse_model()
    found, *_ = measured(monkeypatch, model, strength, copies=copies, collections=collections)
    clean, clean_labels = held_out_digits(0, collection=collections[0])
    images, labels = held_out_digits(strength, copies=copies, collection=collections[1])
    with torch.no_grad():
        x, y = (model["features"](part).double().numpy() for part in (clean, images))
        guesses = [model["label"](model["features"](part)).argmax(dim=1).tolist() for part in (clean, images)]
        logits = model["label"](model["features"](images))
    right = [
        [a == b for a, b in zip(guess, of.tolist(), strict=True)]
        for guess, of in zip(guesses, (clean_labels, labels), strict=True)
    ]
    assert found["source accuracy"] == pytest.approx(np.mean(right[0]))
    assert found["target accuracy"] == pytest.approx(np.mean(right[1]))
    of_digit = [[ok for ok, label in zip(right[1], labels.tolist(), strict=True) if label == d] for d in range(10)]
    assert [found[f"target accuracy of {d}"] for d in range(10)] == pytest.approx([np.mean(ok) for ok in of_digit])

    means = [
        [
            np.mean([row for row, label in zip(rows, of.tolist(), strict=True) if label == d], axis=0)
            for d in range(10)
        ]
        for rows, of in ((x, clean_labels), (y, labels))
    ]

    def apart(a, b):
        return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))

    met = [min(range(10), key=lambda d: apart(means[1][own], means[0][d])) == own for own in range(10)]
    assert found["classes met"] == pytest.approx(np.mean(met))
    between = [apart(means[0][a], means[0][b]) for a in range(10) for b in range(a)]
    own = [apart(means[0][d], means[1][d]) for d in range(10)]
    assert found["class distance"] == pytest.approx(np.mean(own) / np.mean(between), rel=1e-4)

    assert found["A-distance"] == 0.625
    assert found["entropy"] == pytest.approx(dann.entropy(logits).item(), rel=1e-4)
    assert found["information"] == pytest.approx(dann.information_maximisation(logits).item(), rel=1e-3)
    assert found["density"] == pytest.approx(dann.soft_neighbourhood_density(logits).item(), rel=1e-4)
    assert len(found) == 18


def test_where_nothing_differs_all_classes_meet(monkeypatch):
    found, *_ = measured(monkeypatch, coarse_model(), 0.0, copies=1)
    assert found["classes met"] == 1
    assert found["class distance"] == pytest.approx(0, abs=1e-3)
    assert found["target accuracy"] == found["source accuracy"]


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize(("collection", "count", "each"), [("mnist", 250, 25), ("uci", 193, 17)])
def test_the_probe_sees_other_scans_of_the_same_digits_in_each_domain(monkeypatch, collection, count, each, copies):
    """At strength 0 a row of the target equals the row of its scan in the source."""
    model = coarse_model()
    _, x, y = measured(monkeypatch, model, 0.0, copies=copies, collections=(collection, collection))
    clean, labels = held_out_digits(0, collection=collection)
    rows = model["features"](clean)
    assert len(x) == len(y) == count
    one, other = (torch.cdist(part, rows, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1) for part in (x, y))
    assert max(one.values.max(), other.values.max()) < 1e-6
    assert not set(one.indices.tolist()) & set(other.indices.tolist())
    counts = [labels[part.indices].bincount(minlength=10) for part in (one, other)]
    assert (counts[0] - counts[1]).abs().max() <= 1
    assert min(count.min() for count in counts) >= each


def test_measuring_changes_nothing_and_takes_no_gradient(monkeypatch):
    model = coarse_model()
    one, *_ = measured(monkeypatch, model, 1.0, copies=1)
    state = torch.get_rng_state()
    again, x, _ = measured(monkeypatch, model, 1.0, copies=1)
    assert again == one
    assert torch.equal(torch.get_rng_state(), state)
    assert not x.requires_grad


# --- the stored runs ------------------------------------------------------------------------------


def of(file, run, score="target accuracy"):
    return [row[score] for row in report.stored(file)[run]]


@pytest.mark.long
@pytest.mark.parametrize("name", ["source only", "DANN"])
def test_a_stored_run_begins_as_it_did(name, monkeypatch):
    """The first sixth of one; the lesson trains DANN to its end. Other processors round differently."""
    stored = report.stored("05_own")[name][0]
    stop_after(monkeypatch, results.OWN_STEPS // 6)
    again = results.one_digits_run(0, strength=1.0, steps=results.OWN_STEPS, **results.OWN[name])
    assert again.keys() <= stored.keys()
    reached = f"after {results.OWN_STEPS // 6} steps"
    assert again[reached] == pytest.approx(stored[reached], abs=0.03)


@pytest.mark.long
def test_a_stored_run_on_moons_can_be_measured_again():
    [stored] = [row for row in report.stored("05_moons")["λ = 0.0, from seed 5"] if row["seed"] == 2]
    again = results.one_moons_run(2, data="draw_moons", first=5, **results.MOONS["λ = 0.0"])
    assert again.keys() == stored.keys() - {"seed"}
    for score, allowed in (("source", 0.02), ("target", 0.1), ("A-distance", 0.3), ("last loss", 0.05)):
        assert again[score] == pytest.approx(stored[score], abs=allowed), score


@pytest.mark.long
def test_stored_runs_with_reversal_on_moons_have_the_same_mean_again():
    """One run alone may end elsewhere on another processor, as it does with another seed; a fault in the code moves
    the mean of five. Two such means differ by more than is allowed in 1 of 1,000 cases, by 25 stored runs' spread.
    """
    name = "nine of ten: λ = 1.0"
    stored = report.stored("05_moons")
    again = [results.one_moons_run(seed, data="skewed", first=5, **results.MOONS[name]) for seed in range(5)]
    rows = [row for first in range(0, 25, 5) for row in stored[f"{name}, from seed {first}"]]
    assert len(rows) == 25
    for score in ("source", "target", "A-distance", "last loss"):
        values = np.array([row[score] for row in rows])
        allowed = max(0.02, 3.29 * values.std(ddof=1) * (1 / 5 + 1 / 25) ** 0.5)
        assert np.mean([row[score] for row in again]) == pytest.approx(values.mean(), abs=allowed), score


def test_the_curve_of_a_run_ends_at_its_score():
    """After the last step 1,000 of the 2,000 pictures are looked at."""
    for run in results.OWN:
        for row in report.stored("05_own")[run]:
            assert row[f"after {results.OWN_STEPS} steps"] == pytest.approx(row["target accuracy"], abs=0.03)
            assert [name for name in row if name.startswith("after ")] == [
                f"after {step} steps" for step in range(100, 601, 100)
            ]


def test_what_the_issue_asks_of_the_stored_runs():
    """Where DANN works: by .10 and more at strength 1, and in the lesson's own short run; the interval above 0."""
    for file in ("05_dann", "05_own"):
        assert [row["seed"] for row in report.stored(file)["DANN"]] == list(results.SEEDS)
        mean, low, _ = report.gain(of(file, "DANN"), of(file, "source only"))
        assert mean >= 0.10
        assert low > 0
        best = of(file, "trained on target")
        assert min(best) > max(of(file, "DANN"))
