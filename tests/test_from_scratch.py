"""The one-file versions stand alone, run from anywhere, train as the lessons do, and reach the lessons' numbers."""

import ast
import math
import os
import re
import runpy
import subprocess
import sys

import pytest
import results
import torch

from xlib import contrastive, encoders
from xlib import dann as reference
from xlib.course import report
from xlib.data import digits, speech
from xlib.experiments.digits import digits_model, draw_digits, measure_digits, train_digits
from xlib.experiments.numbers import (
    TOKENS,
    VOCABULARY,
    adapt_numbers,
    measure_numbers,
    numbers_batches,
    numbers_model,
    train_numbers,
)
from xlib.experiments.speech import heard, measure_three, three_towers, train_three

FOLDER = results.FOLDER.parent / "from_scratch"
NAMES = tuple(results.FROM_SCRATCH)
METHODS = {
    "clip": ("chance", "untrained", "CLIP"),
    "dann": ("chance", "source only", "DANN", "trained on target"),
    "combined": ("chance", "source only", "CLIP + DANN 0.3"),
    "three": ("chance", "sound to text", "sound to picture", "through text"),
}
clip, dann, combined, three = (results.from_scratch_script(name) for name in METHODS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).requires_grad_()


# --- files that stand alone ------------------------------------------------------------------------


def test_there_are_no_others():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short_and_imports_torch_and_the_data_alone(name):
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert 100 <= len(text.splitlines()) <= 150
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            modules.add(node.module)
    allowed = {"torch", "torch.nn.functional", "tqdm", "xlib.data"}
    assert {module for module in modules if module not in sys.stdlib_module_names} <= allowed
    assert "xlib.data" in modules


@pytest.mark.parametrize("name", NAMES)
def test_the_variable_decides_the_device(name, monkeypatch):
    for asked, device in (("", "cuda" if torch.cuda.is_available() else "cpu"), ("cpu", "cpu"), (" Meta\n", "meta")):
        monkeypatch.setenv("XLIB_DEVICE", asked)
        assert runpy.run_path(FOLDER / f"{name}.py")["DEVICE"] == torch.device(device)
    monkeypatch.setenv("XLIB_DEVICE", "gpu")
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        runpy.run_path(FOLDER / f"{name}.py")


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_another_folder_and_prints_chance_and_a_baseline(name, tmp_path):
    command = [sys.executable, "-X", "importtime", FOLDER / f"{name}.py", "--steps", "3", "--seed", "1"]
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError", "utf-8")  # as where it is not installed
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    env = os.environ | {"PYTHONPATH": path}
    found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, encoding="utf-8")
    assert found.returncode == 0, found.stderr[-2000:]
    lines = [line for line in found.stdout.splitlines() if re.search(r"\d\.\d{3}", line)]
    printed = {re.split(r" {2,}", line)[0]: re.findall(r"\d\.\d{3}", line) for line in lines}
    assert tuple(printed) == METHODS[name]
    assert set(printed["chance"]) == {"0.100" if name == "dann" else "0.011"}
    columns = {"clip": 2, "dann": 2, "combined": 4, "three": 2}[name]
    assert all(len(row) == columns and 0 <= float(max(row)) <= 1 for row in printed.values()), found.stdout
    assert re.search(r"0%\|.*0/3", found.stderr), "there is no progress bar"
    assert ("spoken by fewer voices" in found.stderr) == (name == "three")
    # Its folder comes first on the path: no import may take one of the scripts for a module of that name.
    imported = set(re.findall(r"(?m)^import time:[\d |]+\| *([\w.]+)$", found.stderr))
    assert "torch" in imported
    assert not imported & set(NAMES)
    others = {m for m in imported if m.startswith("xlib.") and not m.startswith("xlib.data")}
    assert others <= {"xlib._validate", "xlib._files", "xlib.progress"}


# --- what the files define is what the lessons teach -----------------------------------------------


@pytest.mark.parametrize("script", [clip, combined, three], ids=["clip", "combined", "three"])
def test_info_nce_is_the_lessons(script):
    za, zb, scale = rows(7, 5), rows(7, 5, seed=1), torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    ours, theirs = script.info_nce(za, zb, scale), contrastive.info_nce(za, zb, logit_scale=scale)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(*(torch.autograd.grad(loss, (za, zb, scale)) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("script", [dann, combined], ids=["dann", "combined"])
def test_the_reversal_is_the_lessons(script):
    x, weight = rows(4, 3), rows(4, 3, seed=1).detach()
    assert torch.equal(script.Reverse.apply(x, 0.3), x)
    gradients = [
        torch.autograd.grad((reverse(x, 0.3) * weight).sum(), x)[0]
        for reverse in (script.Reverse.apply, reference.grad_reverse)
    ]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(gradients[0], -0.3 * weight)


def test_the_domain_loss_is_the_lessons_and_balanced():
    source, target = rows(6, 2), rows(2, 2, seed=1)
    torch.testing.assert_close(dann.domain_loss(source, target), reference.domain_loss(source, target))


def test_the_ramp_is_the_lessons():
    for progress in (0.0, 0.05, 0.1, 0.5, 1.0):
        assert dann.ramp(progress) == pytest.approx(reference.dann_coeff(progress), abs=1e-12)


@pytest.mark.parametrize("change", [clip.random_affine, combined.augment, three.random_affine])
def test_pictures_are_changed_as_in_the_lessons(change):
    images = torch.rand(9, 3, 16, 32, generator=seeded())
    ours, theirs = change(images, seeded(1)), encoders.random_affine(images, generator=seeded(1))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_grey_levels_turn_contrasts_round(monkeypatch):
    monkeypatch.setattr(combined, "GREY", 1.0)
    changed = combined.augment(torch.zeros(50, 3, 16, 32), seeded())
    assert torch.equal(changed.amin(dim=(1, 2, 3)), changed.amax(dim=(1, 2, 3)))
    assert changed.min() < 0.2 < 0.8 < changed.max()


def test_digits_are_drawn_on_photographs_as_in_the_lesson():
    scans, photos = digits.load("test")[0][:20], digits.photographs("test")
    for strength in (0.0, 0.6, 1.0):
        ours = dann.draw(scans, photos, strength, seeded())
        torch.testing.assert_close(ours, draw_digits(scans, photos, strength, generator=seeded()))


@pytest.mark.parametrize("script", [clip, combined, three], ids=["clip", "combined", "three"])
def test_captions_become_the_same_tokens(script):
    assert torch.equal(script.tokenise(script.CAPTIONS).unflatten(0, (90, 6)), TOKENS)
    assert len(script.WORDS) + 2 == len(VOCABULARY)


# --- and trains as they do -------------------------------------------------------------------------


def flat(*parts):
    """All parameters of these modules, and these parameters, as one vector."""
    parameters = [list(part.parameters()) if isinstance(part, torch.nn.Module) else [part] for part in parts]
    return torch.cat([p.detach().flatten() for part in parameters for p in part])


def same_way(start, ours, theirs):
    """Whether two trainings from one start have gone the same way, but for rounding."""
    assert start.shape == ours.shape == theirs.shape
    return ((ours - theirs).norm() / (theirs - start).norm()).item() < 0.003


def clip_parts(model):
    return flat(model.image, model.text, model.log_scale)


def test_clip_takes_the_lessons_steps():
    torch.manual_seed(3)
    model = clip.CLIP()
    start = clip_parts(model)
    clip.train(model, 3, 3)
    lesson, _ = train_numbers(seed=3, steps=3)
    assert same_way(start, clip_parts(model), flat(lesson["image"], lesson["text"], lesson["scale"]))
    assert same_way(start[-1], model.log_scale.detach(), lesson["scale"].log_scale.detach())  # it does not decay


@pytest.mark.parametrize(
    ("ours", "lessons"),
    [({}, {}), ({"coeff": dann.LAMBDA}, {"align": "dann"}), ({"labelled": dann.STRENGTH}, {"on_target": True})],
    ids=["source only", "DANN", "on target"],
)
def test_dann_takes_the_lessons_steps(ours, lessons):
    model, (lesson, _) = dann.train("", 3, 3, **ours), train_digits(1.0, seed=3, steps=3, **lessons)
    torch.manual_seed(3)
    start, own = digits_model(), dann_parts(model)
    before, after = (flat(*(m[name] for name in ("features", "label", "domain"))) for m in (start, lesson))
    assert same_way(before, flat(*own), after)
    if "coeff" not in ours:
        assert torch.equal(flat(own[2]), flat(start["domain"]))  # which nobody asked


def dann_parts(model):
    """In the order of the lesson's."""
    return model.layers, model.label, model.domain


def test_dann_measures_what_the_lesson_measures(monkeypatch):
    monkeypatch.setattr(reference, "proxy_a_distance", lambda x, y: 0.0)  # it takes seconds
    lesson, _ = train_digits(1.0, seed=1, steps=40)
    model = dann.Networks()
    theirs = [*lesson["features"].parameters(), *lesson["label"].parameters(), *lesson["domain"].parameters()]
    for a, b in zip((p for part in dann_parts(model) for p in part.parameters()), theirs, strict=True):
        a.data.copy_(b)
    found = measure_digits(lesson, dann.STRENGTH)
    assert found["source accuracy"] > found["target accuracy"] + 0.05 > 0.2
    expected = {"clean": found["source accuracy"], "photographs": found["target accuracy"]}
    assert dann.accuracy(model) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(
    ("ours", "align", "grey", "guess"),
    [(None, {}, 0.0, None), (0.3, {"dann": 0.3}, 0.0, None), (0.3, {"dann": 0.3}, 1.0, "grey levels")],
    ids=["source only", "DANN", "DANN on grey levels"],
)
def test_combined_takes_the_lessons_steps(monkeypatch, ours, align, grey, guess):
    monkeypatch.setattr(combined, "GREY", grey)
    torch.manual_seed(3)
    start = combined.CLIP()
    model = combined.train(start, "", 4, 3, ours)
    lesson, _ = adapt_numbers(numbers_model(3), numbers_batches(0.6, guess=guess), steps=3, seed=4, align=align)
    names = ("features", "image", "embed", "gru", "project", "log_scale")
    before, after = (flat(*(getattr(m, name) for name in names)) for m in (start, model))
    lessons_own = flat(*(lesson[name] for name in ("features", "image", "text", "scale")))
    assert same_way(before, after, lessons_own)
    assert same_way(before[-1], after[-1], lessons_own[-1])  # the scale does not decay


@pytest.fixture
def clips_that_come_along(monkeypatch):
    """A few voices, as where the engine is missing, and nobody waits for it to speak."""
    monkeypatch.setattr(speech, "missing", lambda: "a test wants it so")
    monkeypatch.setattr(speech, "_say_once", lambda reason: None)
    heard.cache_clear()
    yield
    heard.cache_clear()


def three_parts(model):
    """In the order of the lesson's."""
    return model.image, model.embed, model.gru, model.project, model.sound


@pytest.mark.long
def test_three_takes_the_lessons_steps(clips_that_come_along):
    torch.manual_seed(3)
    model = three.Towers()
    start = flat(*three_parts(model))
    three.train(model, 3, 3)
    lesson, _ = train_three(seed=3, steps=3)
    assert same_way(start, flat(*three_parts(model)), flat(*(lesson[name] for name in ("image", "text", "sound"))))


def test_each_row_is_of_the_training_that_it_names(monkeypatch):
    monkeypatch.setattr(
        dann, "train", lambda title, seed, steps, coeff=None, labelled=0.0: (seed, steps, coeff, labelled)
    )
    monkeypatch.setattr(dann, "accuracy", lambda model: model)
    found = dann.main(3, 8)
    assert found["source only"] == (3, 8, None, 0.0)
    assert found["DANN"] == (3, 8, 1.0, 0.0)
    assert found["trained on target"] == (3, 8, None, 1.0)

    def train(start, title, seed, steps, coeff=None):
        return {"start": start, "seed": seed, "steps": steps, "coeff": coeff}

    monkeypatch.setattr(combined, "train", train)
    monkeypatch.setattr(combined, "recall_at_1", lambda model: model)
    found = combined.main(3, 8)
    one, other = found["source only"], found["CLIP + DANN 0.3"]
    assert one["start"] is other["start"]
    assert (one["start"]["seed"], one["start"]["steps"], one["start"]["coeff"]) == (3, 8, None)
    assert (one["seed"], one["steps"], one["coeff"]) == (103, 4, None)
    assert (other["seed"], other["steps"], other["coeff"]) == (103, 4, 0.3)
    usual = combined.main()["source only"]
    assert (usual["start"]["steps"], usual["steps"]) == (results.CLEAN_STEPS, results.ADAPT_STEPS)


def test_a_seed_decides_where_three_towers_start(monkeypatch):
    monkeypatch.setattr(
        three, "recall_at_1", lambda model: {"start": flat(*three_parts(model)), "train": model.asked}
    )
    monkeypatch.setattr(three, "train", lambda model, seed, steps: setattr(model, "asked", (seed, steps)))
    found, theirs = three.main(3, 8), three_towers(3)
    assert torch.equal(found["start"], flat(*(theirs[name] for name in ("image", "text", "sound"))))
    assert found["train"] == (3, 8)
    assert three.main()["train"] == (0, results.THREE_STEPS)


def test_training_leaves_the_start_alone():
    start = combined.CLIP()
    before = flat(start)
    assert not combined.train(start, "", 0, 1, 0.3).training  # dropout is off when it is measured
    assert torch.equal(flat(start), before)


def test_the_scale_is_clamped_after_the_step():
    model = clip.CLIP()
    model.log_scale.data.fill_(5.0)
    clip.train(model, 0, 1)
    assert model.log_scale.item() == pytest.approx(math.log(100))
    start = combined.CLIP()
    start.log_scale.data.fill_(5.0)
    assert combined.train(start, "", 0, 1).log_scale.item() == pytest.approx(math.log(100))


# --- and reaches their numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "score"), [(name, score) for name, scores in results.FROM_SCRATCH.items() for score in scores]
)
def test_its_mean_lies_within_the_lessons_interval(name, score):
    lesson, runs, column = results.FROM_SCRATCH[name][score]
    ours = [row[score] for row in report.stored("from_scratch")[name]]
    assert len(ours) == 5
    _, low, high = report.interval([row[column] for row in report.stored(lesson)[runs]])
    assert low <= sum(ours) / len(ours) <= high


def test_its_docstring_quotes_the_stored_means():
    for name, scores in (
        ("clip", ("untrained, seen", "CLIP, seen", "CLIP, unseen")),
        ("dann", ("source only, photographs", "DANN, photographs", "trained on target, photographs")),
        (
            "combined",
            [f"{m}, target {w}" for w in ("seen", "unseen") for m in ("source only", "CLIP + DANN 0.3")],
        ),
        ("three", ("sound to picture, seen", "sound to picture, unseen", "through text, seen")),
    ):
        said = results.from_scratch_script(name).__doc__
        stored = report.stored("from_scratch")[name]
        for score in scores:
            mean = f"{sum(row[score] for row in stored) / len(stored):.3f}".removeprefix("0")
            assert re.search(rf"(?<![\d.]){re.escape(mean)}\b", said), (name, score, mean)


@pytest.mark.long
def test_clip_measures_what_the_lesson_measures():
    torch.manual_seed(1)
    model = clip.CLIP()
    clip.train(model, 1, 90)
    lesson, ours = results.one_numbers_run(1, steps=90), clip.recall_at_1(model)
    assert lesson["seen"] > 0.3
    assert ours == pytest.approx(lesson, abs=0.03)
    assert not model.training  # dropout is off


@pytest.mark.long
def test_a_stored_run_can_be_measured_again():
    """The cheapest. With DANN it takes the lesson's steps, see above, and those of the lesson's stored run."""
    again = dann.accuracy(dann.train("source only", 0, 600))
    for domain, value in again.items():
        stored = report.stored("from_scratch")["dann"][0][f"source only, {domain}"]
        # Other processors round differently.
        assert value == pytest.approx(stored, abs=0.02 if domain == "clean" else 0.06)


@pytest.mark.long
def test_combined_measures_what_the_lesson_measures(monkeypatch):
    monkeypatch.setattr(reference, "proxy_a_distance", lambda x, y: 0.0)  # it takes seconds
    lesson, _ = adapt_numbers(numbers_model(0), numbers_batches(0.0), steps=80)
    model = combined.CLIP().eval()
    ours = (model.features, model.image, model.embed, model.gru, model.project)
    for a, b in zip(
        [*(p for part in ours for p in part.parameters()), model.log_scale],
        [p for name in ("features", "image", "text", "scale") for p in lesson[name].parameters()],
        strict=True,
    ):
        a.data.copy_(b)
    found = measure_numbers(lesson, 0.6)
    assert found["source seen"] > found["target seen"] + 0.05
    again = combined.recall_at_1(model)
    assert again == pytest.approx({name: found[name] for name in again}, abs=0.002)


@pytest.mark.long
def test_three_measures_what_the_lesson_measures(clips_that_come_along):
    lesson, _ = train_three(seed=1, steps=40)
    model = three.Towers()
    theirs = [p for name in ("image", "text", "sound") for p in lesson[name].parameters()]
    for a, b in zip((p for part in three_parts(model) for p in part.parameters()), theirs, strict=True):
        a.data.copy_(b)
    found, again = measure_three(lesson), three.recall_at_1(model)
    assert found["sound to text seen"] > 0.2
    assert not model.training  # dropout is off
    for method, row in again.items():
        name = method.replace("through text", "sound to text to picture")
        assert row == pytest.approx({which: found[f"{name} {which}"] for which in row}, abs=0.002), method


def test_no_result_is_made_of_the_few_clips_that_come_along(clips_that_come_along):
    with pytest.raises(RuntimeError, match="all voices, and a test wants it so"):
        results.one_from_scratch_run(0, "three")
