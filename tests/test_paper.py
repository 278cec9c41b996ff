"""The digits table of the DANN paper: its data, networks and trainings, and what `make paper` prints."""

import json

import paper as tool
import pytest
import standins
import torch
from lessons import NOTEBOOKS
from torch import nn

from xlib.course import seeds, training
from xlib.data import digits
from xlib.experiments import paper

STEPS = 12


@pytest.fixture(autouse=True)
def nothing_loaded_yet():
    paper.load.cache_clear()
    yield
    paper.load.cache_clear()


@pytest.fixture(scope="module")
def domains():
    return paper.load("MNIST → MNIST-M", "smoke", stand_ins=True)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("size", paper.SIZES)
@pytest.mark.parametrize("row", paper.ROWS)
def test_the_real_data_sets_are_brought_to_one_form(tmp_path, monkeypatch, row, size):
    from xlib.online import full

    with standins.served(tmp_path, monkeypatch):
        loaded = paper.load(row, size)
        source, target = {"MNIST → MNIST-M": (full.mnist, full.mnist_m), "SVHN → MNIST": (full.svhn, full.mnist)}[row]
        side = {"MNIST → MNIST-M": 28, "SVHN → MNIST": 32}[row] if size == "gpu" else 28
        for (images, labels), (original, right) in zip(
            loaded, (source("train"), target("train"), target("test")), strict=True
        ):
            assert (images.shape, images.dtype) == ((len(original), 3, side, side), torch.uint8)
            assert torch.equal(labels, right)
            assert abs(images.float().mean() - original.float().mean()) < 5  # of 255: enlarged, not changed


def test_a_reduced_size_takes_the_first_images(domains):
    for (_, labels), split in zip(domains, ("train", "train", "test"), strict=True):
        assert torch.equal(labels, digits.load(split)[1][:200])
    clean, on_photographs, test = (images.float() for images, _ in domains)
    assert torch.equal(clean[:, 0], clean[:, 2])
    assert (on_photographs[:, 0] - on_photographs[:, 2]).abs().mean() > 5
    assert test.mean() > clean.mean()


def test_stand_ins_of_the_second_row_go_the_other_way(domains):
    other = paper.load("SVHN → MNIST", "smoke", stand_ins=True)
    assert torch.equal(other.source[0], domains.target[0])
    assert torch.equal(other.target[0], domains.source[0])


@pytest.mark.parametrize(
    ("side", "features", "layers"),
    [
        (28, 768, {"label": [768, 100, 100, 10], "domain": [768, 100, 2]}),
        (32, 6272, {"label": [6272, 3072, 2048, 10], "domain": [6272, 1024, 1024, 2]}),
    ],
)
def test_the_networks_have_the_papers_sizes(side, features, layers):
    model = paper.networks(side)
    out = model["features"](torch.rand(2, 3, side, side))
    assert out.shape == (2, features)
    for head, widths in layers.items():
        linear = [layer for layer in model[head] if isinstance(layer, nn.Linear)]
        assert [linear[0].in_features, *(layer.out_features for layer in linear)] == widths
        assert isinstance(model[head][-1], nn.Linear)  # logits
        assert model[head](out).shape == (2, widths[-1])


@pytest.mark.long
@pytest.mark.parametrize("method", paper.METHODS)
def test_every_method_runs_and_repeats_itself(domains, method):
    (one, run), (same, again), (other, _) = (
        paper.train(domains, method, seed=seed, steps=STEPS) for seed in (0, 0, 1)
    )
    assert run.history == again.history
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))
    extra = {"DANN": {"domain"}, "MMD": {"MMD"}, "CORAL": {"CORAL"}}.get(method, set())
    assert run.history[0].keys() == {"step", "loss", "label"} | extra


@pytest.mark.long
@pytest.mark.parametrize("method", paper.METHODS)
def test_only_the_oracle_sees_a_label_of_the_target_and_only_alignment_its_images(domains, method):
    def with_target(images, labels):
        changed = domains._replace(target=(images, labels))
        return weights(paper.train(changed, method, seed=0, steps=STEPS)[0])

    images, labels = domains.target
    as_it_is = with_target(images, labels)
    assert torch.equal(as_it_is, with_target(images, labels.flip(0))) == (method != "trained on target")
    assert torch.equal(as_it_is, with_target(255 - images, labels)) == (method == "source only")


def test_the_test_images_are_not_trained_on(domains):
    changed = domains._replace(test=(255 - domains.test[0], domains.test[1].flip(0)))
    for method in paper.METHODS:
        one, other = (paper.train(some, method, seed=0, steps=2)[0] for some in (domains, changed))
        assert torch.equal(weights(one), weights(other))


@pytest.mark.long
def test_the_domain_head_learns_and_the_features_are_pushed_the_other_way(domains, monkeypatch):
    """Against the same training without the minus sign: there, the domains are easier to tell apart."""
    monkeypatch.setattr(paper.dann, "dann_coeff", lambda progress: 1.0)
    reversed_ = paper.train(domains, "DANN", seed=0, steps=60)[1].curve("domain")[-1]
    monkeypatch.setattr(paper.dann, "grad_reverse", lambda x, coeff: x)
    together = paper.train(domains, "DANN", seed=0, steps=60)[1].curve("domain")[-1]
    assert together < 0.1 < reversed_


def test_the_rate_and_the_weight_follow_the_papers_schedules(domains, monkeypatch):
    rates, weights_ = [], []
    fit = training.fit

    def watched(model, loss, optimizer, *, scheduler, **options):
        def noted(step):
            rates.append(optimizer.param_groups[0]["lr"])
            return loss(step)

        assert optimizer.param_groups[0]["momentum"] == 0.9
        return fit(model, noted, optimizer, scheduler=scheduler, **options)

    real = paper.dann.grad_reverse
    monkeypatch.setattr(paper.training, "fit", watched)
    monkeypatch.setattr(paper.dann, "grad_reverse", lambda x, coeff: weights_.append(coeff) or real(x, coeff))
    paper.train(domains, "DANN", seed=0, steps=10)
    progress = torch.arange(10) / 10
    assert rates == pytest.approx((0.01 / (1 + 10 * progress) ** 0.75).tolist())
    assert weights_ == pytest.approx((2 / (1 + torch.exp(-10 * progress)) - 1).tolist(), abs=1e-6)


def test_accuracy_is_the_share_that_is_right(domains):
    class Fixed(nn.Module):
        def forward(self, images):
            return torch.nn.functional.one_hot(images[:, 0].long().clamp(0, 9), 10)

    class Corner(nn.Module):
        def forward(self, images):
            return (images[:, 0, 0, 0] + 1).mul(127.5).round()[:, None]

    model = nn.ModuleDict({"features": Corner(), "label": Fixed(), "weight": nn.Linear(1, 1)})
    images = torch.zeros(1500, 3, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(1500) % 10
    labels = torch.arange(1500) % 10
    assert paper.accuracy(model, images, labels) == 1
    labels[:150] = (labels[:150] + 1) % 10
    assert paper.accuracy(model, images, labels) == pytest.approx(0.9)


@pytest.mark.long
def test_training_on_the_source_works_and_photographs_are_harder():
    domains = paper.load("MNIST → MNIST-M", "cpu", stand_ins=True)
    model, _ = paper.train(domains, "source only", seed=0, steps=120)
    on_source, on_target = (paper.accuracy(model, *part) for part in (domains.source, domains.test))
    assert on_source > 0.95
    assert 0.2 < on_target < on_source - 0.2


# --- make paper -----------------------------------------------------------------------------------


@pytest.fixture
def smoke(monkeypatch, tmp_path):
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(seeds.os, "cpu_count", lambda: 1)  # in this process, where it can be watched


@pytest.mark.long
def test_without_the_data_it_says_so_and_trains_on_stand_ins(smoke, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tool.main(["--seeds", "2"])
    out = capsys.readouterr().out
    assert "HF_HUB_OFFLINE is set" in out
    assert "Reduced: the course's own 1,411 digits in place of the data sets, 3 steps" in out
    assert "cannot be held against the published ones" in out
    shown = [line for line in out.splitlines() if "→" in line]
    assert [line.split(" (stand-ins)")[0] for line in shown] == [row for row in paper.ROWS for _ in range(5)]
    assert "2 seeds" in out


def test_with_the_data_it_trains_on_them(smoke, capsys, monkeypatch, tmp_path):
    with standins.served(tmp_path, monkeypatch):
        tool.main(["MNIST → MNIST-M", "--seeds", "1"])
    out = capsys.readouterr().out
    assert "Reduced: 200 of the images, 3 steps" in out
    assert "SVHN" not in out
    assert "(one seed)" in out
    assert "stand-ins" not in out


@pytest.mark.long
def test_what_is_finished_is_not_run_again(smoke, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    first = paper.run(rows=paper.ROWS[:1], seeds=range(2), stand_ins=True)
    monkeypatch.setattr(paper, "train", None)
    assert paper.run(rows=paper.ROWS[:1], seeds=range(2), stand_ins=True) == first
    with pytest.raises(RuntimeError, match="seed 2"):
        paper.run(rows=paper.ROWS[:1], seeds=range(3), stand_ins=True)


def test_data_that_cannot_be_had_are_told_before_anything_is_trained(smoke, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(paper, "train", None)
    with pytest.raises(paper.full.Unavailable):
        paper.run()


def test_the_table_puts_the_published_number_beside_ours():
    found = {
        f"{row}: {method}": [{"seed": 0, "accuracy": 0.5}, {"seed": 1, "accuracy": 0.6}]
        for row in paper.ROWS
        for method in paper.METHODS
    }
    rows = paper.table(found)
    assert rows[0] == {
        "": "MNIST → MNIST-M",
        "method": "source only",
        "2 seeds": "0.550 [-0.085, 1.185]",
        "published": "0.5225",
    }
    assert [row["published"] for row in rows[5:]] == ["0.5490", "0.7385", "-", "-", "0.9942"]


def test_a_row_that_nobody_knows_is_refused(capsys):
    with pytest.raises(SystemExit):
        tool.main(["MNIST → USPS"])
    assert "choose from" in capsys.readouterr().err
    with pytest.raises(ValueError, match="row must be one of"):
        paper.load("MNIST → USPS", "cpu")
    with pytest.raises(ValueError, match="method must be one of"):
        paper.train(None, "CDAN", seed=0, steps=1)


@pytest.mark.parametrize(
    ("size", "stand_ins", "says"),
    [
        ("gpu", False, "All images, 20,000 steps, the paper's networks"),
        ("gpu", True, "Reduced: the course's own"),
        ("cpu", False, "Reduced: 10,000 of the images, 400 steps, 28 pixels a side"),
    ],
)
def test_the_heading_says_what_was_done(size, stand_ins, says):
    assert paper.describe(size, stand_ins).startswith(says)


# --- lesson 05's cell -----------------------------------------------------------------------------


@pytest.fixture
def cell(monkeypatch, tmp_path):
    """Runs it under a budget, with what the set-up cell imports."""
    cells = json.loads((NOTEBOOKS / "05_dann.ipynb").read_text("utf-8"))["cells"]
    code = next("".join(cell["source"]) for cell in cells if cell["id"] == "paper-run")
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))

    def run(budget):
        monkeypatch.setenv("XLIB_BUDGET", budget)
        exec(
            code,
            {"paper": paper, "report": paper.report, "runtime": paper.runtime, "Unavailable": paper.full.Unavailable},
        )

    return run


def test_without_a_gpu_the_lesson_shows_the_stored_runs(cell, capsys, monkeypatch):
    monkeypatch.setattr(paper, "train", None)
    cell("cpu")
    out = capsys.readouterr().out
    assert out.startswith("Reduced: the course's own 1,411 digits")
    assert out.count("(stand-ins)") == 10


def test_with_a_gpu_and_no_data_the_lesson_says_why_and_goes_on(cell, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cell("gpu")
    out = capsys.readouterr().out
    assert "HF_HUB_OFFLINE is set" in out
    assert out.count("(stand-ins)") == 10


def test_with_a_gpu_the_lesson_trains_on_the_real_data(cell, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(paper.SIZES, "gpu", paper.SIZES["gpu"] | {"steps": 2})
    monkeypatch.setattr(seeds.os, "cpu_count", lambda: 1)  # in this process, where the data are served
    with standins.served(tmp_path, monkeypatch):
        cell("gpu")
    out = capsys.readouterr().out
    assert out.startswith("All images, 2 steps, the paper's networks")
    assert out.count("MNIST → MNIST-M") == 5
    assert "stand-ins" not in out


@pytest.mark.long
def test_the_stored_runs_come_out_again(monkeypatch):
    """One of them, which takes some seconds; on another processor the last digits differ."""
    stored = paper.report.stored("05_paper")["MNIST → MNIST-M: source only"][0]
    found = paper.one_run(0, row="MNIST → MNIST-M", method="source only", size="cpu", stand_ins=True)
    assert found["accuracy"] == pytest.approx(stored["accuracy"], abs=0.03)
