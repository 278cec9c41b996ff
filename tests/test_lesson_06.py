"""Lesson 06: its trainings see what they may see, its guesses are what their names say, its runs can be repeated."""

import copy
import functools
import json
from types import SimpleNamespace

import pytest
import results
import torch
import torch.nn.functional as F
from lessons import stop_after
from scenes import walk
from test_numbers import halves, scans_by_digit

from xlib import dann, encoders, mmd
from xlib.course import report
from xlib.data import digits, emoji, numbers
from xlib.experiments import adapt
from xlib.experiments.adapt import Batches
from xlib.experiments.emoji import (
    EMOJI_GUESSES,
    adapt_emoji,
    clouds,
    emoji_features,
    emoji_model,
    emoji_recall,
    measure_emoji,
)
from xlib.experiments.numbers import (
    GUESSES,
    TEMPLATES,
    VOCABULARY,
    adapt_numbers,
    held_out_numbers,
    in_words,
    measure_numbers,
    named,
    numbers_batches,
    numbers_model,
)
from xlib.retrieval import retrieval

SEEN = torch.tensor(numbers.SEEN)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.fixture(scope="module")
def start():
    return numbers_model(0)


# --- a training step ------------------------------------------------------------------------------


def first_losses(monkeypatch, start, batches, **options):
    """The model, and its terms in the first and in the middle step, without dropout; and what was drawn in each."""
    drawn = []

    def keep(name, draw):
        def drawing(generator):
            drawn.append((name, draw(generator)))
            return drawn[-1][1]

        return drawing

    def once(model, loss, optimizer, **rest):
        model.eval()
        drawn.clear()
        monkeypatch.setattr(torch.nn.Module, "train", lambda self, mode=True: self)  # guesses switch it on again
        return [loss(0), loss(rest["steps"] // 2)]

    monkeypatch.setattr(adapt.training, "fit", once)
    watched = Batches(keep("source", batches.source), keep("target", batches.target))
    model, terms = adapt_numbers(start, watched, steps=100, **options)
    return model, terms, drawn


def test_the_target_is_drawn_only_where_a_term_needs_it(monkeypatch, start):
    batches = numbers_batches(0.6)
    for options, terms, parts in (
        ({}, {"contrastive"}, {"source"}),
        ({"align": {"mmd": 1.0}, "between": "modalities"}, {"contrastive", "mmd"}, {"source"}),
        ({"align": {"mmd": 1.0}}, {"contrastive", "mmd"}, {"source", "target"}),
        ({"align": {"dann": 0.3}}, {"contrastive", "domain"}, {"source", "target"}),
        ({"align": {"dann": 0.3, "mmd": 1.0}}, {"contrastive", "domain", "mmd"}, {"source", "target"}),
        ({"information": 0.1}, {"contrastive", "information"}, {"source", "target"}),
        ({"guesses": 1.0}, {"contrastive", "guesses"}, {"source", "target"}),
    ):
        with monkeypatch.context() as patch:
            _, found, drawn = first_losses(patch, start, batches, **options)
        assert found[1].keys() == terms
        assert {name for name, _ in drawn} == parts
        assert all(found[0][name].item() == 0 for name in terms - {"contrastive", "domain"})  # raised from 0


def in_the_middle(monkeypatch, start, align):
    """The model, its terms in the middle step, and the features of the source and of the target there."""
    with monkeypatch.context() as patch:
        model, terms, drawn = first_losses(patch, start, numbers_batches(0.6), align=align)
    (_, (images, _)), (_, (_, changed)) = drawn[2:]
    return model, terms[1], model["features"](images), model["features"](changed)


@pytest.mark.parametrize("weight", [1.0, 20.0])
@pytest.mark.parametrize("other", [{}, {"dann": 0.3}])
def test_mmd_has_its_weight_and_is_raised(monkeypatch, start, weight, other):
    _, terms, *features = in_the_middle(monkeypatch, start, {"mmd": weight} | other)
    expected = weight * dann.dann_coeff(0.5) * mmd.mmd2(*features).item()
    assert abs(expected) > 1e-3
    assert terms["mmd"].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("weight", [0.3, 0.9])
@pytest.mark.parametrize("other", [{}, {"mmd": 20.0}])
def test_the_weight_of_dann_stands_in_the_reversal_alone(monkeypatch, start, weight, other):
    model, terms, source, target = in_the_middle(monkeypatch, start, {"dann": weight} | other)
    plain = dann.domain_loss(model["domain"](source), model["domain"](target))
    torch.testing.assert_close(terms["domain"], plain)
    for part, factor in (("features", -weight * dann.dann_coeff(0.5)), ("domain", 1.0)):
        inputs = list(model[part].parameters())
        found, expected = (torch.autograd.grad(loss, inputs, retain_graph=True) for loss in (terms["domain"], plain))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, factor * theirs, rtol=1e-3, atol=1e-6)
        assert max(gradient.abs().max() for gradient in found) > 1e-4


def test_guesses_come_from_pictures_as_they_are(monkeypatch, start):
    plain, changed = torch.rand(78, 3, 16, 32), torch.rand(78, 3, 16, 32)
    source = numbers_batches(0.0).source
    seen = []
    monkeypatch.setattr(adapt, "self_training_loss", lambda *logits: seen.append(logits) or logits[1].sum())
    batches = Batches(source, lambda generator: (plain, changed))
    model, _, drawn = first_losses(monkeypatch, start, batches, guesses=1.0)
    with torch.no_grad():
        captions = F.normalize(model["text"](drawn[0][1][1]), dim=1)
        for part, logits in zip((plain, changed), seen[0], strict=True):
            z = F.normalize(model["image"](model["features"](part)), dim=1)
            torch.testing.assert_close(logits, model["scale"]() * z @ captions.T, rtol=1e-4, atol=1e-4)
    assert not seen[0][0].requires_grad


def test_the_seed_draws_the_batches(monkeypatch, start):
    def batches(seed):
        with monkeypatch.context() as patch:
            _, _, drawn = first_losses(patch, start, numbers_batches(0.6), align={"mmd": 1.0}, seed=seed)
        return [images for _, (images, _) in drawn]

    first, again, other = (batches(seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[2])  # nor are those of two steps the same


# --- a training -----------------------------------------------------------------------------------


def test_adapting_leaves_the_start_alone_and_repeats(start):
    before = copy.deepcopy(start.state_dict())
    batches = numbers_batches(0.6)

    def adapted(seed):
        model, run = adapt_numbers(start, batches, align={"dann": 0.3}, guesses=1.0, steps=3, seed=seed)
        assert run.step == 3
        assert not model.training
        return weights(model)

    assert torch.equal(adapted(1), adapted(1))
    assert not torch.equal(adapted(1), adapted(2))
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"align": {"cora": 1.0}}, "align must be one of 'dann', 'mmd', got 'cora'"),
        ({"align": {"dann": 0.3, "coral": 1.0}}, "align .* got 'coral'"),
        ({"between": "styles"}, "between must be one of 'domains', 'modalities', got 'styles'"),
    ],
)
def test_bad_options_are_named(start, options, says):
    with pytest.raises(ValueError, match=says):
        adapt_numbers(start, numbers_batches(0.6), steps=1, **options)


def test_a_snapshot_is_taken_every_so_many_steps_and_changes_nothing(start):
    batches, options, modes = numbers_batches(0.6), {"steps": 7, "align": {"dann": 0.3}}, []

    def watch(model):
        modes.append(model.training)
        return weights(model)

    model, run = adapt_numbers(start, batches, snapshot=watch, every=3, **options)
    assert [step for step, _ in run.snapshots] == [0, 3, 6, 7]
    assert modes == [False] * 4
    first, *_, last = (found for _, found in run.snapshots)
    assert torch.equal(first[: len(weights(start))], weights(start))  # the domain head comes after them
    assert torch.equal(last, weights(model))
    unwatched, run = adapt_numbers(start, batches, **options)
    assert torch.equal(weights(unwatched), last)
    assert not run.snapshots


# --- captioned numbers ----------------------------------------------------------------------------


def test_batches_hold_each_seen_number_once_and_the_target_has_no_captions():
    plain = numbers_batches(0.6)
    images, words = plain.source(seeded())
    assert images.shape == (78, 3, 16, 32)
    known = {
        tuple(row.tolist()): number
        for template in TEMPLATES
        for number, row in zip(
            numbers.NUMBERS, VOCABULARY([in_words(n, template) for n in numbers.NUMBERS]), strict=True
        )
    }
    strip = {tuple(x for x in key if x): number for key, number in known.items()}
    assert sorted(strip[tuple(x for x in row if x)] for row in words.tolist()) == sorted(numbers.SEEN)
    assert is_grey(images)  # clean
    as_is, changed = plain.target(seeded())
    assert not is_grey(as_is)  # on photographs
    assert as_is.shape == changed.shape == (78, 3, 16, 32)
    oracle, _ = numbers_batches(0.6, on_target=True).source(seeded())
    assert not is_grey(oracle)


def is_grey(images):
    return torch.equal(images, images[:, :1].expand_as(images))


def test_each_domain_is_in_the_handwriting_of_its_collection(monkeypatch):
    monkeypatch.setattr(encoders, "random_affine", lambda images, *, generator: images)
    own = {name: set.union(*scans_by_digit("train", name)) for name in digits.COLLECTIONS}

    def hands(images):
        """Whose scans a batch is made of."""
        used = {half for pair in halves(images) for half in pair}
        return [name for name, scans in own.items() if used <= scans]

    for collection in digits.COLLECTIONS:
        batches = numbers_batches(0.0, collection=collection)
        assert hands(batches.source(seeded())[0]) == ["mnist"]
        assert [hands(images) for images in batches.target(seeded())] == [[collection]] * 2
        oracle = numbers_batches(0.0, collection=collection, on_target=True)
        assert hands(oracle.source(seeded())[0]) == [collection]


# --- guesses at the target ------------------------------------------------------------------------


def dice(seed=0):
    return functools.partial(torch.rand, generator=seeded(seed))


def amount(value):
    """A die that says the same for all images."""
    return lambda *shape: torch.full(shape, value)


def pictures_of_all_shades(seed=0):
    """Random ones, of which a half is paper or ink."""
    return (2 * torch.rand(60, 3, 16, 32, generator=seeded(seed)) - 0.5).clamp(0, 1)


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("on_target", [False, True])
def test_a_guess_changes_each_picture_of_both_domains_and_nothing_else(guess, on_target):
    plain, guessed = (numbers_batches(0.6, guess=name, on_target=on_target) for name in (None, guess))
    (images, words), (changed, same) = plain.source(seeded()), guessed.source(seeded())
    assert torch.equal(words, same)
    assert (images != changed).flatten(1).any(dim=1).all()
    (as_is, images), (same, others) = plain.target(seeded()), guessed.target(seeded())
    assert torch.equal(as_is, same)  # what a self-trained guess is made from
    assert (images != others).flatten(1).any(dim=1).all()
    for found in (changed, others):
        assert 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize("guess", GUESSES)
def test_a_guess_keeps_to_paper_and_ink(guess):
    images = pictures_of_all_shades()
    changed = GUESSES[guess](images, dice())
    assert changed.shape == images.shape
    assert 0 <= changed.min() < 0.01 < 0.95 < changed.max() <= 1
    assert torch.equal(GUESSES[guess](images, amount(0.0)), images)  # the amount may be none
    assert torch.equal(GUESSES[guess](images, dice()), changed)
    assert not torch.equal(GUESSES[guess](images, dice(1)), changed)


def test_grey_levels_take_from_each_picture_a_level_of_its_own():
    levels = GUESSES["grey levels"](torch.zeros(200, 3, 16, 32), dice())
    assert torch.equal(levels, levels[:, :1, :1, :1].expand_as(levels))
    assert levels.min() < 0.05 < 0.95 < levels.max()
    images = pictures_of_all_shades()
    torch.testing.assert_close(GUESSES["grey levels"](images, dice()), (images - levels[:60]).abs())
    assert torch.equal(GUESSES["grey levels"](images, amount(1.0)), 1 - images)


def test_blur_makes_neighbours_alike_and_leaves_plain_pictures_alone():
    plain = torch.rand(60, 3, 1, 1, generator=seeded(1)).expand(-1, -1, 16, 32)
    torch.testing.assert_close(GUESSES["blur"](plain, dice()), plain)
    images = pictures_of_all_shades()
    strong = GUESSES["blur"](images, amount(1.0))
    for y, x in ((0, 0), (0, 7), (5, 9), (15, 31)):
        window = images[:, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        torch.testing.assert_close(strong[:, :, y, x], window.mean(dim=(2, 3)))
    torch.testing.assert_close(GUESSES["blur"](images, amount(0.3)), 0.7 * images + 0.3 * strong)
    blurred = GUESSES["blur"](images, dice())
    rough = roughness(blurred) / roughness(images)
    assert rough.max() < 1
    assert rough.min() < 0.2 < 0.8 < rough.max()  # from much to hardly any


def roughness(images):
    """The mean squared difference of neighbours in each picture, (N,)."""
    return sum(images.diff(dim=dim).square().mean(dim=(1, 2, 3)) for dim in (2, 3))


def test_noise_differs_in_each_pixel_and_keeps_the_mean():
    grey = torch.full((200, 3, 16, 32), 0.5)
    noise = GUESSES["noise"](grey, dice()) - 0.5
    assert noise.mean(dim=(1, 2, 3)).abs().max() < 0.04
    spread = noise.std(dim=(1, 2, 3))
    assert spread.min() < 0.02 < 0.27 < spread.max() < 0.3  # of numbers drawn evenly from -u / 2 to u / 2: .29 u
    for dim in (1, 2, 3):  # colours and neighbours have nothing to do with each other
        torch.testing.assert_close(noise.diff(dim=dim).square().mean(), 2 * noise.square().mean(), rtol=0.05, atol=0)
    assert GUESSES["noise"](torch.ones(200, 3, 16, 32), dice()).mean() < 0.99  # cut off at ink


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"guess": "sepia"}, "guess must be one of 'grey levels', 'blur', 'noise', got 'sepia'"),
        ({"collection": "usps"}, "collection must be one of 'mnist', 'uci', got 'usps'"),
        ({"strength": 1.5}, "strength must be a number from 0 .* got 1.5"),
    ],
)
def test_bad_batches_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        numbers_batches(**{"strength": 0.6} | options)


# --- held-out numbers, and how a model is measured on them ----------------------------------------


@pytest.mark.parametrize(("collection", "each"), [("mnist", 20), ("uci", 8)])
@pytest.mark.parametrize("strength", [0.0, 0.6])
def test_held_out_numbers_show_each_number_as_often_and_use_no_scan_much(collection, each, strength):
    pictures, shown, scans = held_out_numbers(strength, collection=collection)
    assert pictures.shape == (90 * each, 3, 16, 32)
    assert shown.view(90, each).unique(dim=1).flatten().tolist() == [*numbers.NUMBERS]
    assert scans.shape == (90 * each, 2)
    assert scans.flatten().bincount().max() <= 5
    assert is_grey(pictures) == (strength == 0)
    assert all(len(part) == 90 * 3 for part in held_out_numbers(strength, collection=collection, each=3))


@pytest.mark.parametrize("collection", digits.COLLECTIONS)
def test_held_out_numbers_are_written_with_held_out_scans_of_their_digits(collection):
    pictures, shown, scans = held_out_numbers(0.0, collection=collection)
    tables, (_, labels) = numbers.load("test", collection=collection), digits.load("test", collection=collection)
    assert torch.equal(pictures[:, 0], tables.glyphs[scans].transpose(1, 2).flatten(2))
    assert torch.equal(labels.sort().values[scans], torch.stack([shown // 10, shown % 10], dim=1))
    on_photographs = held_out_numbers(0.6, collection=collection)
    assert torch.equal(on_photographs[2], scans)  # at every strength the same
    known = scans_by_digit("test", collection)
    for number, (left, right) in zip(shown[::50].tolist(), halves(pictures[::50]), strict=True):
        assert left in known[number // 10]
        assert right in known[number % 10]


def test_held_out_numbers_are_dealt_by_their_seed():
    usual, same, other = (held_out_numbers(0.6, seed=seed) for seed in (3, 3, 2))
    assert all(torch.equal(a, b) for a, b in zip(usual, same, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(usual, held_out_numbers(0.6), strict=True))
    assert torch.equal(usual[1], other[1])
    assert (usual[2] == other[2]).double().mean() < 0.1
    assert not torch.equal(usual[0], other[0])


@pytest.fixture(scope="module")
def trained():
    """Better than chance, and far from perfect."""
    return adapt_numbers(numbers_model(0), numbers_batches(0.0), steps=60)[0]


@pytest.mark.long
@pytest.mark.parametrize(("strength", "collection"), [(0.6, "mnist"), (0.0, "uci")])
def test_the_measured_recalls_are_means_over_held_out_numbers(monkeypatch, trained, strength, collection):
    compared = []
    monkeypatch.setattr(dann, "proxy_a_distance", lambda *rows: compared.append(rows) or 0.0)  # it takes seconds
    found = measure_numbers(trained, strength, collection=collection)
    domains = {"source": held_out_numbers(0.0, seed=2), "target": held_out_numbers(strength, collection=collection)}
    for domain, (pictures, shown, _) in domains.items():
        right, seen = named(trained, pictures, shown), torch.isin(shown, SEEN)
        assert set(right.tolist()) == {0, 1}
        assert found[f"{domain} seen"] == pytest.approx(right[seen].mean().item(), abs=1e-6)
        assert found[f"{domain} unseen"] == pytest.approx(right[~seen].mean().item(), abs=1e-6)
    assert found["source seen"] > found["target seen"] + 0.02 > 0.05
    with torch.no_grad():
        five = [
            trained["features"](pictures.view(90, -1, 3, 16, 32)[:, :5].flatten(0, 1))
            for pictures, _, _ in domains.values()
        ]
    for ours, theirs in zip(compared[0], five, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.long
def test_named_is_retrieval_among_90_captions_and_so_is_text_to_image(monkeypatch, trained):
    monkeypatch.setattr(dann, "proxy_a_distance", lambda *rows: 0.0)
    pictures, shown, _ = held_out_numbers(0.6, each=4)
    with torch.no_grad():
        za = F.normalize(trained["image"](trained["features"](pictures)), dim=1)
        captions = VOCABULARY([numbers.caption(number) for number in numbers.NUMBERS])
        zb = F.normalize(trained["text"](captions), dim=1)
    expected = ((za @ zb.T).argmax(dim=1) == shown - 10).float()
    assert torch.equal(named(trained, pictures, shown), expected)
    galleries = [retrieval(zb, za[i::4], k=(1,), resamples=1)[1].value for i in range(4)]
    found = measure_numbers(trained, 0.6, each=4)
    assert found["target text to image"] == pytest.approx(sum(galleries) / 4, abs=1e-6)


def test_an_untrained_clip_guesses_and_dropout_is_off(start):
    start.train()
    found = measure_numbers(start, 0.6, each=2)
    assert all(0 <= found[f"{d} {n}"] < 0.12 for d in ("source", "target") for n in ("seen", "unseen"))
    assert found == measure_numbers(start, 0.6, each=2)


# --- emoji ----------------------------------------------------------------------------------------


def test_clouds_have_the_amplitudes_of_photographs():
    drawn = clouds(200, 32, generator=seeded())
    assert drawn.shape == (200, 3, 32, 32)
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert torch.equal(drawn, clouds(200, 32, generator=seeded()))
    grey = drawn.mean(dim=1)
    grey = grey[(grey > 0.02).flatten(1).all(1) & (grey < 0.98).flatten(1).all(1)]  # cut off nowhere
    amplitude = torch.fft.rfft2(grey - grey.mean(dim=(1, 2), keepdim=True)).abs().mean(dim=0)
    frequency = torch.hypot(torch.fft.fftfreq(32)[:, None], torch.fft.rfftfreq(32))
    some = (frequency > 0.03) & (frequency < 0.4)
    x, y = frequency[some].log(), amplitude[some].log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert slope.item() == pytest.approx(-1, abs=0.1)


def test_emoji_domains_are_named():
    with pytest.raises(ValueError, match=r"domain must be one of .* 'clouds behind', got 'photos'"):
        emoji_features(None, "photos")
    with pytest.raises(ValueError, match="split"):
        emoji_features(None, "photographs", split="valid")
    with pytest.raises(ValueError, match="side must be one of 32, 64, got 16"):
        emoji_features(None, "photographs", side=16)


BLANK = torch.zeros(6, 4, 64, 64, dtype=torch.uint8)


def painted(seed=0):
    """Six emoji of random colours, that cover all, in the left half of the picture."""
    rgba = BLANK.clone()
    rgba[:, :3] = torch.randint(256, (6, 3, 64, 64), generator=seeded(seed), dtype=torch.uint8)
    rgba[..., :32] = torch.cat([rgba[:, :3, :, :32], torch.full((6, 1, 64, 32), 255, dtype=torch.uint8)], dim=1)
    return rgba


@pytest.fixture
def drawn(monkeypatch):
    """The pictures that `emoji_features` looks at: (styles × copies, 6, 3, 32, 32)."""
    monkeypatch.setattr(encoders, "edges_and_colours", lambda images: images)

    def draw(rgba, domain, **options):
        return emoji_features(SimpleNamespace(images=dict.fromkeys(emoji.STYLES, rgba)), domain, **options)

    return draw


THROUGH = ("photographs", "clouds", "specks")


def test_there_is_a_test_for_each_guess():
    assert {*THROUGH, "clouds behind"} == {"photographs", *EMOJI_GUESSES}


@pytest.mark.parametrize("domain", THROUGH)
@pytest.mark.parametrize("side", [32, 64])
def test_what_shines_through_darkens_white_paper_by_up_to_six_tenths(drawn, domain, side):
    paper = drawn(BLANK, domain, copies=2, side=side)
    assert paper.shape == (4, 6, 3, side, side)
    assert 0.4 <= paper.min() < 0.5 < 0.9 < paper.max() <= 1
    assert len(paper.flatten(0, 1).flatten(1).unique(dim=0)) == 24  # no two pictures have the same behind them
    assert torch.equal(drawn(BLANK, "colour", side=side), torch.ones(2, 6, 3, side, side))
    emojis = painted()  # darkened by as much
    expected = drawn(emojis, "colour", side=side).repeat(2, 1, 1, 1, 1) * paper
    torch.testing.assert_close(drawn(emojis, domain, copies=2, side=side), expected)


def test_photographs_and_clouds_are_smooth_and_specks_are_not(drawn):
    behind = {name: (drawn(BLANK, name).flatten(0, 1) - 0.4) / 0.6 for name in THROUGH}
    for dim in (1, 2, 3):  # of two numbers drawn from 0 to 1; the colours of a speck are drawn as well
        assert behind["specks"].diff(dim=dim).square().mean().item() == pytest.approx(1 / 6, rel=0.05)
    assert roughness(behind["clouds"]).mean() < 0.1
    assert roughness(behind["photographs"]).mean() < 0.1
    assert not is_grey(behind["clouds"])


def test_only_photographs_come_from_the_split_asked_for(drawn, monkeypatch):
    grounds = {"train": 0.25, "test": 0.75}
    monkeypatch.setattr(digits, "photographs", lambda split: torch.full((2, 3, 90, 90), grounds[split]))
    for split, ground in grounds.items():
        paper = drawn(BLANK, "photographs", split=split)
        torch.testing.assert_close(paper, torch.full_like(paper, 0.4 + 0.6 * ground))
    for guess in EMOJI_GUESSES:  # by somebody who has none
        as_it_is = drawn(BLANK, guess)
        with monkeypatch.context() as patch:
            patch.setattr(digits, "photographs", lambda split: torch.zeros(2, 3, 90, 90))
            assert torch.equal(drawn(BLANK, guess), as_it_is)


def test_clouds_behind_show_where_an_emoji_is_transparent_and_nowhere_else(drawn):
    emojis, generator = painted(), seeded()
    behind = torch.stack([F.avg_pool2d(clouds(6, 64, generator=generator), 2) for _ in range(4)])
    found, colour = drawn(emojis, "clouds behind", copies=2), drawn(emojis, "colour")
    torch.testing.assert_close(found[..., :16], colour.repeat(2, 1, 1, 1, 1)[..., :16])
    torch.testing.assert_close(found[..., 16:], behind[..., 16:])
    torch.testing.assert_close(drawn(BLANK, "clouds behind", copies=2), behind)
    half = BLANK.clone()
    half[:, 3] = 128  # black glass
    torch.testing.assert_close(drawn(half, "clouds behind", copies=2), 127 / 255 * behind)


@pytest.fixture(scope="module")
def made_up():
    """Features of 60 emoji in two styles and of their names, no better than chance; and a model of them."""
    features, names = torch.rand(2, 60, 40, generator=seeded()), torch.randn(60, 384, generator=seeded(1))
    return features, names, emoji_model(0, features, names).eval()


def test_emoji_recall_is_the_mean_of_retrieval_over_the_styles(made_up):
    features, names, model = made_up
    rows = torch.randperm(60, generator=seeded(2))[:37]
    with torch.no_grad():
        texts = F.normalize(model["text"](names), dim=1)
        found = []
        for style in features:
            z = F.normalize(model["image"](model["features"](style)), dim=1)
            found.append(retrieval(z[rows], texts[rows], k=(10,), resamples=1)[10].value)
    assert found[0] != found[1]
    assert emoji_recall(model, features, names, rows) == pytest.approx(sum(found) / 2)
    assert 0 < sum(found) / 2 < 1
    other = torch.arange(60)[~torch.isin(torch.arange(60), rows)]
    measured = measure_emoji(model, {"colour": features}, names, torch.arange(60) % 2, rows, other)
    assert measured["colour seen"] == pytest.approx(sum(found) / 2)
    assert measured["colour unseen"] == pytest.approx(emoji_recall(model, features, names, other))


def test_adapt_emoji_leaves_the_start_alone_and_repeats(made_up):
    features, names, start = made_up
    before, target = copy.deepcopy(start.state_dict()), torch.rand(1, 60, 40, generator=seeded(3))

    def adapted(target, **options):
        model, run = adapt_emoji(start, features, target, names, batch=16, steps=3, **options)
        assert run.step == 3
        assert not model.training
        return weights(model)

    first = adapted(target, align={"mmd": 1.0}, guesses=1.0)
    assert torch.equal(first, adapted(target, align={"mmd": 1.0}, guesses=1.0))
    assert not torch.equal(first, adapted(target, align={"mmd": 1.0}, guesses=1.0, seed=1))
    assert not torch.equal(first, adapted(1 - target, align={"mmd": 1.0}, guesses=1.0))
    assert torch.equal(adapted(target), adapted(None))  # which no term asks for
    assert start.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())


# --- the stored runs ------------------------------------------------------------------------------


@pytest.mark.long
def test_a_stored_run_begins_as_it_did(monkeypatch):
    """The first quarter of one of emoji; the lesson itself trains those of numbers. Other processors round
    differently. Domains that it does not look at are not drawn."""
    stored = report.stored("06_emoji")["photographs MMD 20"][0]
    monkeypatch.setattr(results, "EMOJI_GUESSES", ())
    monkeypatch.setattr(results, "emoji_domains", results.emoji_domains.__wrapped__)
    steps = results.EMOJI_STEPS // 4
    stop_after(monkeypatch, steps)
    again = results.one_emoji_across_run(0, "photographs", **results.PHOTOGRAPHS["MMD 20"])
    assert again.keys() <= stored.keys()
    for reached in ("after 0 steps", f"after {steps} steps"):
        assert again[reached] == pytest.approx(stored[reached], abs=0.02), reached


# --- panels ---------------------------------------------------------------------------------------


def test_the_panel_of_a_number_on_a_photograph_can_be_read_everywhere():
    scope = results.from_lesson("06_combined", ("set-up", "first-look-panel"))
    walk(scope["first_panel"])
    assert "0% of the picture are strokes" in words_at(scope, 0.0)
    assert " 0% of the picture are strokes" not in words_at(scope, 1.0)


def words_at(scope, strength):
    scope["first_mixed"].strength = strength
    return scope["first_panel"].alt_text


def test_the_map_can_be_read_everywhere_with_and_without_retrained_cells():
    scope = results.from_lesson("06_combined", ("set-up", "data-picture", "map-panel", "map-draw", "map-retrain"))
    scope |= {"STRENGTH": 0.6, "model": None, "own": {"DANN 0.3": {"target seen": 0.31}}}
    exec(cell_of("map-panel-run"), scope)
    walk(scope["map_panel"], strength=scope["STRENGTHS"])
    scope["retrained"].update(dict.fromkeys(scope["cells"], 0.99))
    scope["chosen_cell"].strength, scope["chosen_cell"].method = 0.2, "MMD 20"
    walk(scope["map_panel"], strength=scope["STRENGTHS"])
    (stored, yours) = (mark for mark in scope["map_panel"].scene["axes"][1]["marks"] if mark["mark"] == "points")
    assert (stored["label"], yours["label"]) == ("stored", "yours")
    assert (yours["x"], yours["y"]) == ([1], [0.99])


def cell_of(name):
    cells = json.loads(report.lesson_file("06_combined.ipynb").read_text("utf-8"))["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["id"] == name)
