"""What the docstrings of the rooms say under "Relations": a function equals another one under some condition."""

import pytest
import torch
from test_digits import seeded
from torch import nn

from xlib.contrastive import LogitScale, info_nce
from xlib.course import runtime, training
from xlib.data import digits
from xlib.experiments.adapt import Batches, adapt
from xlib.experiments.digits import held_out_digits, train_digits
from xlib.experiments.numbers import adapt_numbers, numbers_batches, numbers_model
from xlib.explore import Explorer, ExplorerModel, explore
from xlib.online import full


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def test_fit_one_cycle_is_fit_with_one_cycle(monkeypatch):
    for switch in ("XLIB_BF16", "XLIB_COMPILE"):
        monkeypatch.delenv(switch, raising=False)

    def prepared():
        torch.manual_seed(0)
        model = nn.ModuleDict({"map": nn.Linear(3, 2), "scale": LogitScale()})
        x, generator = torch.randn(20, 3, generator=seeded(1)), seeded(2)

        def loss(step):
            z = model["map"](x[torch.randint(20, (8,), generator=generator)])
            return info_nce(z, z.flip(1), logit_scale=model["scale"]())

        return model, loss, {"steps": 12, "generator": generator}

    model, loss, options = prepared()
    short = training.fit_one_cycle(model, loss, rate=0.5, decay=0.01, **options)
    other, loss, options = prepared()
    optimizer, schedule = training.one_cycle(other, steps=12, rate=0.5, decay=0.01)
    long = training.fit(other, loss, optimizer, scheduler=schedule, after_step=other["scale"].clamp_, **options)
    assert short.history == long.history
    assert torch.equal(weights(model), weights(other))


@pytest.mark.parametrize("budget", ["cpu", "gpu"])
def test_steps_go_by_the_budget(monkeypatch, budget):
    monkeypatch.setenv("XLIB_BUDGET", budget)
    assert runtime.steps(400, gpu=20_000) == runtime.by_budget(400, gpu=20_000)


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_one_copy_of_the_held_out_digits_is_photo_digits(strength):
    images, labels = held_out_digits(strength)
    others, same = digits.photo_digits(strength, split="test", generator=seeded(2))
    assert torch.equal(images, others)
    assert torch.equal(labels, same)


def test_the_source_alone_is_the_same_at_every_strength():
    trained = [train_digits(1.0, steps=2), train_digits(0.5, steps=2), train_digits(0.0, on_target=True, steps=2)]
    first, *others = (weights(model) for model, _ in trained)
    assert all(torch.equal(first, other) for other in others)


def test_digits_on_photographs_in_bytes_are_photo_digits_at_strength_1():
    in_bytes = [(x * 255).round().to(torch.uint8) for x in (digits.load("test")[0], digits.photographs("test"))]
    images, _ = digits.photo_digits(1.0, split="test", generator=seeded(5))
    torch.testing.assert_close(full.on_photographs(*in_bytes, seed=5) / 255, images, atol=0.51 / 255, rtol=0)


def test_mnist_m_is_on_photographs(monkeypatch, tmp_path):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    images = torch.randint(256, (5, 1, 28, 28), generator=seeded(0), dtype=torch.uint8)
    photographs = torch.randint(256, (2, 3, 40, 50), generator=seeded(1), dtype=torch.uint8)
    monkeypatch.setattr(full, "mnist", lambda split: (images, torch.arange(5)))
    monkeypatch.setattr(full, "photographs", lambda split: photographs)
    for seed, split in enumerate(("train", "test")):
        assert torch.equal(full.mnist_m(split)[0], full.on_photographs(images, photographs, seed=seed))


def test_adapt_without_alignment_is_info_nce_on_the_source():
    start = nn.ModuleDict(
        {"features": nn.Linear(3, 4), "image": nn.Linear(4, 2), "text": nn.Linear(3, 2), "scale": LogitScale()}
    )
    pairs = torch.randn(2, 6, 3, generator=seeded(0))
    batches = Batches(lambda generator: tuple(pairs), lambda generator: pytest.fail("the target was drawn"))
    _, run = adapt(start, batches, steps=2, rate=0.1, decay=0.0)
    za = nn.functional.normalize(start["image"](start["features"](pairs[0])), dim=1)
    zb = nn.functional.normalize(start["text"](pairs[1]), dim=1)
    first = run.history[0]
    assert first["loss"] == first["contrastive"]
    assert first["loss"] == pytest.approx(info_nce(za, zb, logit_scale=start["scale"]()).item(), rel=1e-5)


def test_adapt_numbers_is_adapt():
    batches, options = numbers_batches(1.0), {"steps": 1, "align": {"mmd": 1.0}}
    model, _ = adapt_numbers(numbers_model(0), batches, **options)
    other, _ = adapt(numbers_model(0), batches, rate=3e-3, decay=0.01, **options)
    assert torch.equal(weights(model), weights(other))


def test_explore_is_an_explorer_of_a_model():
    z, options = torch.randn(3, 6, 4, generator=seeded(0)), {"captions": [*"abcdef"], "k": 2}
    both = explore(z, **options), Explorer(ExplorerModel(z, **options))
    answers = []
    for shown in both:
        shown.selected = [1]
        answers.append([shown.neighbours, shown.alt_text, shown.setup, shown.maps])
    assert answers[0] == answers[1]
    assert answers[0][0]
