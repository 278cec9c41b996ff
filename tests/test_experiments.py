"""What experiments are asked for: any temperature, weights by name, one name for several; and what goes wrong."""

import math

import pytest
import torch

from xlib.contrastive import LogitScale
from xlib.course import training
from xlib.experiments import paper
from xlib.experiments.adapt import Batches, adapt
from xlib.experiments.digits import measure_digits, train_digits
from xlib.experiments.numbers import train_numbers


@pytest.mark.parametrize("temperature", [2.0, 1.0, 0.07, 0.005, 1e-4, 30, torch.tensor(0.5)])
def test_a_fixed_temperature_of_any_size_stays(temperature):
    model, run = train_numbers(steps=2, batch=8, temperature=temperature)
    assert 1 / model["scale"]().item() == pytest.approx(float(temperature), rel=1e-5)
    assert all(map(math.isfinite, run.curve()))


@pytest.mark.parametrize("temperature", [0.01, 0.07, 0.3, 0.5, 1.0])
def test_within_the_usual_bounds_it_is_the_scale_it_always_was(temperature):
    model, _ = train_numbers(steps=1, batch=8, temperature=temperature)
    assert torch.equal(model["scale"].log_scale, LogitScale(init=1 / temperature).log_scale)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf, 1e-40, 1e13, "warm", torch.ones(2)])
def test_no_temperature_is_named(temperature):
    with pytest.raises((ValueError, TypeError), match=r"^temperature must"):
        train_numbers(steps=1, temperature=temperature)


def test_a_fixed_scale_is_not_clamped_and_a_learned_one_is():
    for fixed, expected in ((True, 0.5), (False, 1.0)):
        scale = LogitScale()
        scale.log_scale.data.fill_(math.log(0.5))
        scale.requires_grad_(not fixed)
        model = torch.nn.ModuleDict({"line": torch.nn.Linear(1, 1), "scale": scale})

        def loss(step, model=model):
            return (model["line"](torch.ones(1)) * model["scale"]()).square().sum()

        options = {"steps": 1, "rate": 1e-3, "decay": 0.0, "generator": torch.Generator()}
        training.fit_one_cycle(model, loss, **options)
        assert scale().item() == pytest.approx(expected, rel=1e-6)


def tiny(broken_at=None, dead=False):
    """A start and batches for `adapt`: six pairs of numbers, shifted in the target."""
    torch.manual_seed(0)
    image = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    parts = {"features": image, "image": torch.nn.Linear(8, 3), "text": torch.nn.Linear(4, 3), "scale": LogitScale()}
    if dead:
        torch.nn.init.constant_(image[0].bias, -100.0)  # no unit answers
    calls = []

    def source(generator):
        x = torch.randn(6, 4, generator=generator)
        calls.append(1)
        return (x * math.inf if len(calls) == broken_at else x), x

    def target(generator):
        x = torch.randn(5, 4, generator=generator) + 1
        return x, x

    return torch.nn.ModuleDict(parts), Batches(source, target)


RATES = {"rate": 1e-3, "decay": 0.0}


@pytest.mark.parametrize("between", ["domains", "modalities"])
def test_adapting_goes_on_where_all_features_are_one_point(between):
    start, batches = tiny(dead=True)
    _, run = adapt(start, batches, steps=4, align={"mmd": 1.0, "dann": 0.3}, between=between, **RATES)
    assert run.step == 4
    if between == "domains":
        assert run.curve("mmd") == pytest.approx([0] * 4, abs=1e-6)


@pytest.mark.parametrize("align", ["mmd", "sinkhorn", "coral"])
def test_digits_that_all_look_alike_do_not_end_a_training(monkeypatch, align):
    from xlib.experiments import digits

    make = digits.digits_model

    def dead(*args, **options):
        model = make(*args, **options)
        torch.nn.init.constant_(model["features"][4].bias, -1e4)
        return model

    monkeypatch.setattr(digits, "digits_model", dead)
    _, run = train_digits(1.0, align=align, steps=3, batch=8)
    assert run.curve(align) == pytest.approx([0] * 3, abs=1e-6)


def test_what_an_error_ends_is_not_lost():
    start, batches = tiny(broken_at=4)  # the first batch shows how wide features are
    with pytest.raises(ValueError, match="za must be finite") as caught:
        adapt(start, batches, steps=9, **RATES)
    start, batches = tiny()
    expected, run = adapt(start, batches, steps=9, **RATES)
    assert caught.value.run.history == run.history[:2]
    x = torch.ones(2, 4)
    assert caught.value.model["features"](x).isfinite().all()
    assert sorted(caught.value.model.state_dict()) == sorted(expected.state_dict())


@pytest.mark.parametrize(
    ("align", "says"),
    [
        ("dann", r"align must map names to weights, as \{'dann': 0.3\} does, got 'dann'"),
        (["dann", "mmd"], r"align must map names to weights, .*, got \['dann', 'mmd'\]"),
        (0.3, "align must map names to weights, .*, got 0.3"),
        ({"dan": 1.0}, "align must be one of 'dann', 'mmd', got 'dan'"),
        ({"dann": "1"}, r"align\['dann'\] must be a number"),
        ({"mmd": None}, r"align\['mmd'\] must be a number"),
        ({"mmd": -1.0}, r"align\['mmd'\] must be 0 or above, got -1.0"),
        ({"mmd": math.nan}, r"align\['mmd'\] must be a finite number"),
    ],
)
def test_a_wrong_align_is_named_before_any_work(align, says):
    start, batches = tiny(broken_at=1)
    with pytest.raises((TypeError, ValueError), match=says):
        adapt(start, batches, steps=9, align=align, **RATES)


@pytest.mark.parametrize("collections", ["mnist", ("mnist",), "uc", ["mnist", "uci", "mnist"]])
def test_one_name_for_two_collections_is_named(collections):
    for call in (lambda: train_digits(0.5, collections=collections, steps=1), lambda: measure(collections)):
        with pytest.raises(ValueError, match="collections must be a pair, the source's and the target's, got"):
            call()


def measure(collections):
    return measure_digits(torch.nn.ModuleDict(), 0.5, collections=collections)


def test_one_row_of_the_papers_table_may_stand_alone():
    assert len(paper.measurements(paper.ROWS[0], "smoke")) == len(paper.METHODS)
    with pytest.raises(ValueError, match=r"row must be one of .*, got 'MNIST → USPS'"):
        paper.run(rows="MNIST → USPS", size="smoke")
