"""Whatever lessons train and measure runs on the GPU of a Mac: tried on a stand-in that refuses what torch refuses
there. The explorer is left out: what goes to the browser comes from the CPU."""

import copy

import numpy as np
import pytest
import results
import torch
import torch.nn.functional as F
from fake_mps import MPS, lacking, mps
from torch import nn
from torch.testing import assert_close

from xlib import bridge, clip, contrastive, dann, encoders, mmd, retrieval, scale, space
from xlib.combined import combined_loss, self_training_loss
from xlib.course import runtime
from xlib.data import digits, emoji, numbers, speech
from xlib.experiments import digits as on_digits
from xlib.experiments import emoji as on_emoji
from xlib.experiments import numbers as on_numbers
from xlib.experiments import pairs as on_pairs
from xlib.experiments import paper


def rows(n, d, seed=0, *, unit=False, device="cpu"):
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return (F.normalize(z, dim=1) if unit else z).to(device)


# -- the stand-in itself


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("_pdist_forward", True),
        ("_pdist_backward", True),
        ("take", True),
        ("linalg_eigvals", True),
        ("heaviside", True),
        ("add", False),
        ("stack", False),  # for every device
        ("sort", False),  # leads to a variant that has a kernel
        ("_cdist_forward", False),
        ("_linalg_svd", False),
        ("linalg_vector_norm", False),
        ("nonzero", False),
        ("_scaled_dot_product_flash_attention_for_cpu", False),  # a Mac's GPU is not asked for that one
    ],
)
def test_torchs_own_table_tells_which_operators_are_lacking(name, lacks):
    assert (name in lacking()) is lacks


REFUSED = {
    "no kernel": (lambda x: F.pdist(x), NotImplementedError, "'_pdist_forward' is not currently implemented"),
    "a kernel since torch 2.6": (lambda x: torch.linalg.qr(x), NotImplementedError, "'linalg_qr' is not currently"),
    "in the backward pass": (
        lambda x: torch.cdist(x.requires_grad_(), x + 1).sum().backward(),
        NotImplementedError,
        "'_cdist_backward' is not currently",
    ),
    "border padding": (
        lambda x: F.grid_sample(x[None, None], x.new_zeros(1, 2, 2, 2), "bilinear", "border", False),
        NotImplementedError,
        "Border padding",
    ),
    "float64": (lambda x: x.double(), TypeError, "float64"),
    "made as float64": (lambda x: torch.zeros(3, dtype=torch.float64, device=MPS), TypeError, "float64"),
    "float64 by way of NumPy": (lambda x: torch.from_numpy(np.ones(3)).to("mps"), TypeError, "float64"),
    "two devices": (lambda x: x + torch.ones(3), RuntimeError, "same device, but add found mps:0 and cpu"),
    "a CPU's generator": (
        lambda x: torch.rand(3, device=x.device, generator=torch.Generator()),
        RuntimeError,
        "'mps' generator but found one on 'cpu'",
    ),
    "NumPy without a copy": (lambda x: np.asarray(x), TypeError, "cpu.. first"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_the_stand_in_refuses_what_a_mac_refuses(case):
    act, error, said = REFUSED[case]
    with mps(), pytest.raises(error, match=said):
        act(rows(2, 3).to(MPS))


def test_the_stand_in_trains_as_the_cpu_does():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    images, labels = rows(8, 64).view(8, 1, 8, 8), torch.arange(8) % 3

    def trained(net, images, labels):
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
        return loss.item()

    expected = trained(copy.deepcopy(net), images, labels)
    with mps():
        moved = net.to(MPS)
        assert {parameter.device.type for parameter in copy.deepcopy(moved).parameters()} == {"mps"}
        assert trained(moved, images.to(MPS), labels.to("mps")) == expected
        assert moved[4].weight.cpu().device.type == "cpu"
        a = torch.arange(6.0, device=MPS)
        a.view(2, 3)[0] += 5  # a view changes what it shows
        assert a.tolist() == [5, 6, 7, 3, 4, 5]
        assert torch.tensor([1, 2], device=a.device).device.type == "mps"
    assert torch.zeros(1).device.type == "cpu"


# -- the methods: the same number as on the CPU, and the same gradients

LOSSES = {
    "info_nce": lambda a, b: contrastive.info_nce(a, b, logit_scale=10.0),
    "info_nce, one direction": lambda a, b: contrastive.info_nce(a, b, logit_scale=10.0, direction="a_to_b"),
    "siglip": lambda a, b: contrastive.siglip(a, b, logit_scale=10.0, logit_bias=-3.0),
    "alignment": space.alignment,
    "uniformity": lambda a, b: space.uniformity(a) + space.uniformity(b),
    "mmd2": lambda a, b: mmd.mmd2(a, b + 1),
    "mmd2, biased": lambda a, b: mmd.mmd2(a, b + 1, estimator="biased"),
    "mmd2, linear": lambda a, b: mmd.mmd2(a, b + 1, estimator="linear", bandwidths=(1.0, 2.0)),
    "coral": mmd.coral,
    "domain_loss": lambda a, b: dann.domain_loss(dann.grad_reverse(a[:, :2], 0.5), b[:, :2]),
    "multilinear_map": lambda a, b: dann.multilinear_map(a, b).square().mean(),
    "self_training_loss": lambda a, b: self_training_loss(9 * a, b, threshold=0.3),
    "combined_loss": lambda a, b: sum(
        combined_loss(
            a,
            b,
            torch.cat([a, b])[:, :2],
            (torch.arange(24, device=a.device) > 11).long(),
            logit_scale=10.0,
            features=torch.cat([a, b + 1]),
            mmd_coeff=0.5,
        ).values()
    ),
    "info_nce_tiled": lambda a, b: scale.info_nce_tiled(a, b, logit_scale=10.0, tile=5),
}


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_and_its_gradients_are_those_of_the_cpu(name):
    def found(device):
        given = [rows(12, 6, seed, unit=True).to(device).requires_grad_() for seed in (0, 1)]
        loss = LOSSES[name](*given)
        return [loss, *torch.autograd.grad(loss, given, materialize_grads=True, allow_unused=True)]

    expected = found("cpu")
    with mps():
        assert_close([x.cpu() for x in found(MPS)], expected)


def numbers_of(result):
    """The tensors and numbers in what a function returns, on the CPU."""
    if isinstance(result, torch.Tensor):
        return result.detach().cpu()
    if isinstance(result, (tuple, list)):
        return [numbers_of(part) for part in result]
    return [numbers_of(part) for part in vars(result).values()] if hasattr(result, "__dict__") else result


MEASURES = {
    "cosine_similarity_matrix": space.cosine_similarity_matrix,
    "modality_gap": space.modality_gap,
    "procrustes": space.procrustes,
    "cca": lambda a, b: space.cca(a, b, dim=2),
    "retrieval": retrieval.retrieval,
    "hits": lambda a, b: retrieval.hits(a, b, k=(1, 5)),
    "cosine_range": lambda a, b: bridge.cosine_range(a[:, 0], b[:, :1]),
    "detour": lambda a, b: bridge.detour(a, b[:15], b),
    "relative": lambda a, b: bridge.relative(a, b, keep=7, power=8),
    "median_bandwidth": mmd.median_bandwidth,
    "permutation_test": lambda a, b: mmd.permutation_test(a, b, generator=torch.Generator().manual_seed(0)),
    "proxy_a_distance": dann.proxy_a_distance,
    "zero_shot_weights": lambda a, b: clip.zero_shot_weights(lambda said: a[: len(said)], ["x", "y"], ["{}", "a {}"]),
}


@pytest.mark.parametrize("name", list(MEASURES))
def test_a_measurement_is_that_of_the_cpu(name):
    given = [rows(40, 6, seed, unit=True) for seed in (0, 1)]
    expected = numbers_of(MEASURES[name](*given))
    with mps():
        assert_close(numbers_of(MEASURES[name](*[z.to(MPS) for z in given])), expected)


def test_mmd_with_random_features_is_about_that_of_the_cpu():
    expected = mmd.mmd2(rows(50, 6), rows(50, 6, 1) + 1, estimator="biased")
    with mps():
        given, draw = (rows(50, 6).to(MPS), rows(50, 6, 1).to(MPS) + 1), torch.Generator(MPS).manual_seed(0)
        found = mmd.mmd2(*given, estimator="rff", features=2000, generator=draw)
        assert found.item() == pytest.approx(expected.item(), rel=0.2)


def test_pictures_are_prepared_as_on_the_cpu():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def found(x):
        draw = torch.Generator(x.device).manual_seed(0)  # the stand-in draws the same numbers
        made = [encoders.edges_and_colours(x), encoders.random_affine(x, generator=draw)]
        return [part.cpu() for part in [*made, *(digits.resized(x, size) for size in (16, 40))]]

    expected = found(images)
    with mps():
        assert_close(found(images.to(MPS)), expected)


# -- what lessons train and measure


def small_emoji():
    features, names = rows(80, 30).view(2, 40, 30).to(MPS), rows(40, 384).to(MPS)
    return features, names, (torch.arange(40) % 2).to(MPS), torch.arange(40).to(MPS)


def adapted_numbers(guess=None, **options):
    start, batches = on_numbers.numbers_model(0).to(MPS), on_numbers.numbers_batches(1.0, guess=guess, device=MPS)
    return on_numbers.adapt_numbers(start, batches, steps=1, information=0.1, guesses=0.1, **options)[0]


def measured_numbers():
    model = adapted_numbers(align={"dann": 1.0, "mmd": 1.0})
    on_numbers.measure_numbers(model, 1.0, each=1)
    pictures, shown, _ = on_numbers.held_out_numbers(1.0, each=1)
    return on_numbers.named(model, pictures, shown)


def adapted_emoji():
    features, names, groups, every = small_emoji()
    start = on_emoji.emoji_model(0, features, names).to(MPS)
    align = {"mmd": 1.0, "dann": 1.0}
    model, _ = on_emoji.adapt_emoji(start, features, features + 0.1, names, steps=2, align=align)
    domains = {"a": features, "b": features + 0.1}
    on_emoji.measure_emoji(model, domains, names, groups, every[:20], every[20:])
    return on_emoji.emoji_recall(model, features, names, every[:20])


def trained_digits(**options):
    return on_digits.train_digits(1.0, steps=1, batch=8, device=MPS, **options)[0]


def drawn_numbers():
    tables, draw = numbers.load("test", strength=1.0).to(MPS), torch.Generator(MPS).manual_seed(0)
    tables.draw(torch.arange(10, 100, device=MPS), generator=draw)
    return tables.deal(torch.arange(10, 100, device=MPS).repeat(2), generator=draw)


def drawn_emoji():
    rgba = torch.randint(256, (2, 4, 64, 64), dtype=torch.uint8).to(MPS)
    return emoji.on_background(rgba), emoji.on_background(rgba, torch.rand(3, 1, 1, device=MPS))


def by_paper(method):
    return paper.train(paper.load(paper.ROWS[0], "smoke"), method, seed=0, steps=1, device=MPS, curve=True)


EXPERIMENTS = {
    **{f"digits, {align}": lambda align=align: trained_digits(align=align) for align in (None, *on_digits.METHODS)},
    **{f"digits, {name}": lambda name=name: trained_digits(augment=name) for name in on_digits.AUGMENTATIONS},
    "digits, oracle": lambda: trained_digits(on_target=True, collections=("mnist", "uci")),
    "digits, measured": lambda: on_digits.measure_digits(trained_digits(), 1.0),
    "numbers": lambda: on_numbers.train_numbers(steps=1, batch=8, device=MPS),
    "numbers, a fixed temperature": lambda: on_numbers.train_numbers(steps=1, batch=8, temperature=0.1, device=MPS),
    **{f"numbers, {guess}": lambda guess=guess: adapted_numbers(guess) for guess in on_numbers.GUESSES},
    "numbers, modalities": lambda: adapted_numbers(align={"dann": 1.0, "mmd": 1.0}, between="modalities"),
    "numbers, measured": measured_numbers,
    "emoji": lambda: on_emoji.train_emoji(*small_emoji()[:2], steps=1, batch=8, device=MPS),
    "emoji, adapted and measured": adapted_emoji,
    "emoji, clouds": lambda: on_emoji.clouds(4, 32, generator=torch.Generator(MPS).manual_seed(0)),
    **{f"paper, {method}": lambda method=method: by_paper(method) for method in paper.METHODS},
    "pictures of numbers": drawn_numbers,
    "pictures of emoji": drawn_emoji,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * ("measured" in name)) for name in EXPERIMENTS]
)
def test_an_experiment_runs(name):
    with mps():
        EXPERIMENTS[name]()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "three")) for name in results.FROM_SCRATCH]
)
def test_a_one_file_version_runs(name, monkeypatch):
    script = results.from_scratch_script(name)
    monkeypatch.setattr(script, "DEVICE", MPS)
    monkeypatch.setattr(speech, "missing", lambda: "a test wants it so")  # a few clips will do
    monkeypatch.setattr(speech, "_say_once", lambda reason: None)
    with mps():
        assert len(script.main(steps=1)) >= 3


def test_pairs_of_your_own_are_trained_on_and_found():
    captions, files = ["a", "b", "c", "d", "A", "e"], ["1", "2", "3", "4", "5", "1"]
    with mps():
        images, texts = rows(6, 20, 0, device=MPS), rows(6, 30, 1, device=MPS)
        texts[4] = texts[0]
        model, _ = on_pairs.train_pairs(images, texts, captions, target=images[:3], align={"mmd": 1.0}, steps=2)
        za, zb = on_pairs.embed_images(model, images), on_pairs.embed_texts(model, texts)
        found = on_pairs.found_captions(za, zb, captions, files=files, k=[1, 2])
        on_pairs.without_captions(model, images[:3], texts)
        on_pairs.onto_source(images, images[:3], images[3:], spread=True)
    assert found.shape == (6, 2)
    expected = on_pairs.found_captions(za.cpu(), zb.cpu(), captions, files=files, k=[1, 2])
    assert_close(found.cpu(), expected)


def test_to_device_does_not_pin_memory_for_it():
    with mps():
        assert runtime.to_device(torch.ones(2), MPS).device.type == "mps"


LOOPS = {  # the cells of a lesson that lead to its own training loop
    "03_clip": ("first-look-model", "data-picture", "train-parts", "train-loop"),
    "04_mmd": ("train-source", "mmd-model", "mmd-loop"),
    "05_dann": ("digits-measured", "dann-model", "dann-loop"),
    "06_combined": ("start-run", "adapt-parts", "adapt-loop"),
}


@pytest.mark.long
@pytest.mark.parametrize("lesson", LOOPS)
def test_the_loop_that_a_lesson_shows_runs(smoke_cells, monkeypatch, lesson):
    monkeypatch.setattr(runtime, "pick_device", lambda: MPS)
    with mps():
        found = smoke_cells(lesson, *LOOPS[lesson])
    assert found["device"] == MPS
    assert found["step"] in (2, 3)  # the third of three, counted from 0 or from 1
    model = found.get("model", found.get("aligned"))
    assert {weight.device.type for weight in model.parameters()} == {"mps"}
