"""Lesson 03 measures what it says, on the scans that it says. Its section on pretrained models asks for a GPU or a
wish: its cells run here, on tiny models."""

import json
from functools import partial

import pytest
import results
import torch
from lessons import NOTEBOOKS, stop_after
from scenes import walk
from test_pretrained import bert_files, clip_files, resnet_weights, server, squares  # noqa: F401

from xlib import space
from xlib.course import report
from xlib.data import digits, emoji, numbers
from xlib.experiments.numbers import VOCABULARY, train_numbers
from xlib.online import full, pretrained
from xlib.retrieval import retrieval

CELLS = {
    cell["id"]: "".join(cell["source"])
    for cell in json.loads((NOTEBOOKS / "03_clip.ipynb").read_text("utf-8"))["cells"]
    if cell["cell_type"] == "code"
}
SECTION = ("pretrained-load", "pretrained-emoji", "pretrained-explorer", "captions-run", "fine-tune")


# -- the panels


@pytest.fixture
def shown(smoke_cells):
    """shown(*cells): what these cells of the lesson define."""
    return partial(smoke_cells, "03_clip", "first-look-model")


def test_the_first_panel_can_be_read_everywhere(shown):
    scope = shown("first-look-panel")
    walk(scope["four_panel"], likeness=[0.0, 0.3, 1.0])
    four, view = scope["first_four"], scope["four_panel"]
    four.likeness, four.temperature = 1.0, 0.02
    assert view.alt_text == (
        "Likeness 1.0, temperature 0.02: a picture gives its own caption 1.00 on average, the loss is 0.00; "
        "blind guessing has 1.39."
    )
    four.likeness = 0.0
    loss = float(view.alt_text.split("the loss is ")[1].split(";")[0])
    (bars,) = (mark for mark in view.scene["axes"][1]["marks"] if mark["mark"] == "bars")
    assert loss > 2.6
    assert bars["texts"] == [f"{loss:.2f} ↑", "1.39"], "a bar that is cut off says so"


def test_the_panel_of_the_batch_can_be_read_everywhere(shown):
    scope = shown("data-picture", "train-parts", "play-panel", "play-panel-draw", "play-panel-show")
    walk(scope["batch_panel"], size=[2, 12, 78])
    scope["batch"].temperature, scope["batch"].size = 1.0, 2
    assert "100% of the push goes to the hardest negative" in scope["batch_panel"].alt_text  # there is one
    scope["spoken"][:2] = scope["played"][1] = -scope["played"][0]  # as far apart as can be
    scope["spoken"][0] = scope["played"][0]
    walk(scope["batch_panel"], size=[2])
    scope["batch"].temperature = 0.01
    assert "loss 0.000 of 0.69" in scope["batch_panel"].alt_text


@pytest.mark.long
def test_the_pad_reads_with_the_learners_own_encoder(shown):
    scope = shown("data-picture", "train-parts", "train-loop", "explorer", "pad")
    pad, known = scope["number_pad"], scope["encode"](scope["words"])
    with torch.no_grad():
        own = torch.nn.functional.normalize(scope["model"]["image"](scope["watched_images"][32:33]), dim=1)
    assert pad.nearest()[0][0] == scope["words"][(known @ own[0]).argmax()]  # the first example shows 42
    assert pad.map != 0, "the star is on the explorer's map"
    pad.caption = "seven ten"
    assert len(pad.nearest()) == 91


# -- sections 4 and 7: held-out pictures, and whose scans they are made of


@pytest.fixture(scope="module")
def measured():
    """What the lesson's cells leave behind when a model of five steps is measured on all held-out pictures."""
    names = {}
    exec(CELLS["set-up"].split("\n\n", 2)[2].split("\nwidth, emoji_batch")[0], names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLIB_BUDGET", "cpu")
        model, _ = train_numbers(steps=5)
        names |= {
            "device": torch.device("cpu"),
            "model": model,
            "pictures": numbers.load("train"),
            "test_pictures": numbers.load("test"),
            "plain": VOCABULARY([numbers.caption(number) for number in numbers.NUMBERS]),
        }
        patch.setattr(names["report"], "show", lambda figure, alt: None)
        for name in ("measure-run", "baselines", "mistakes"):
            exec(CELLS[name], names)
    return names


def test_the_lesson_measures_what_make_results_measures(measured):
    again = results.one_numbers_run(0, steps=5)
    assert {name: round(score.value, 4) for name, score in measured["reached"].items()} == again
    assert again["seen"] > 1 / 90


def test_its_pictures_are_made_of_the_scans_that_it_resamples(measured):
    glyphs = numbers.load("test").glyphs
    for name, images in measured["held_out"].items():
        scans, asked = measured["made_of"][name], measured["queries"][name]
        assert torch.equal(images[:, 0], glyphs[scans].transpose(1, 2).flatten(2))
        assert torch.equal(scans // 100, torch.stack([asked // 10, asked % 10], dim=1))  # 100 scans of each digit
        assert scans.flatten().bincount(minlength=1000).max() <= 4
        hit = measured["found"]["CLIP"][name]
        za = torch.nn.functional.normalize(measured["model"]["image"](images), dim=1)
        zb = torch.nn.functional.normalize(measured["model"]["text"](measured["plain"]), dim=1)
        assert measured["reached"][name] == retrieval(za, zb, k=(1,), targets=asked - 10, units=scans)[1]
        gain = measured["above_told"][name]
        told = measured["found"]["told where the digits are"][name]
        assert gain.value == pytest.approx((hit - told).mean().item())
        assert -1 <= gain.low <= gain.value <= gain.high < 0


def test_all_baselines_but_chance_are_of_the_same_pictures(measured):
    shapes = {name: (len(asked), 1) for name, asked in measured["queries"].items()}
    for by_name in measured["found"].values():
        assert {name: tuple(hit.shape) for name, hit in by_name.items()} == shapes
    assert measured["scores"]["nearest training picture"]["unseen"].value == 0
    assert measured["scores"]["told where the digits are"]["seen"].value > 0.7


def test_the_scans_of_its_mistakes_are_counted_as_one_would_by_hand(measured):
    guilty, times, bad = set(), {}, {}
    for asked, answer, scans in zip(*(measured[name].tolist() for name in ("asked", "answers", "used")), strict=True):
        pairs = zip(divmod(asked, 10), divmod(answer, 10), scans, strict=True)
        for right, said, scan in pairs:
            times[scan] = times.get(scan, 0) + 1
            if right != said:
                guilty.add(scan)
                bad[scan] = bad.get(scan, 0) + 1
    assert measured["guilty"] == len(guilty)
    assert measured["again"].item() == pytest.approx(sum(bad.values()) / sum(times[scan] for scan in guilty))
    assert measured["worst"].item() == pytest.approx(sum(sorted(bad.values())[-20:]) / sum(bad.values()))
    assert len(measured["wrong"]) == (measured["asked"] != measured["answers"]).sum()


def test_the_tokenizer_cuts_a_caption_in_two_as_the_lesson_says():
    whole, apart = VOCABULARY(["forty-two"]), VOCABULARY(["forty two"])
    assert torch.equal(whole, apart)
    assert (whole != 0).sum() == 2


def test_no_scan_of_a_test_picture_is_trained_on():
    train, test = (digits.load(split)[0].flatten(1).unique(dim=0) for split in digits.SPLITS)
    both = torch.cat([train, test]).unique(dim=0)
    assert len(both) == len(train) + len(test)


def mean(runs, key):
    return sum(run[key] for run in runs) / len(runs)


def test_what_the_prose_says_of_five_runs_holds_in_the_stored_ones():
    runs, controls = report.stored("03_clip")["numbers"], report.stored("03_controls")
    assert all(run["seen"] > 0.92 and run["unseen"] > 0.9 for run in runs)  # more than nine times in ten
    in_parts, whole = controls["captions in parts"], controls["a word a number"]
    assert [{key: run[key] for key in ("seed", "seen", "unseen")} for run in in_parts] == runs  # the same trainings
    assert round(mean(in_parts, "unseen"), 2) == round(mean(whole, "composed"), 2) == 0.93
    assert round(mean(in_parts, "expected"), 2) == 0.94
    labelled = controls["image encoder with digit labels"]
    assert abs(mean(labelled, "seen") - mean(in_parts, "seen")) < 0.005  # as good on numbers that it knows
    assert round(100 * (mean(labelled, "seen") - mean(labelled, "unseen"))) == 7
    behind = {name: 100 * (mean(runs, "seen") - mean(controls[name], "seen")) for name in controls if "600" in name}
    assert {name: round(points) for name, points in behind.items()} == {
        "600 steps: fixed at 1": 7,
        "600 steps: fixed at .01": 4,
    }
    on_trained = controls["emoji, trained names"]
    assert round(100 * (mean(on_trained, "clip") - mean(on_trained, "cca"))) == 7


# -- the controls: trainings in which one thing is changed


def test_one_word_a_number_takes_the_parts_out_of_the_captions_and_nothing_else():
    tokens = results.one_word_a_number()
    assert tokens.shape[:2] == (90, 6)
    plain, chinese = tokens[:, 0], tokens[:, 4]  # "{}", and "数字{}" of two characters before the number
    assert (plain != 0).sum(dim=1).tolist() == [1] * 90
    assert len(plain[:, 0].unique()) == len(chinese[:, 2].unique()) == 90
    assert (chinese != 0).sum(dim=1).tolist() == [3] * 90
    frame = tokens[:, 1][:, :2]  # "the number {}"
    assert (frame == frame[0]).all()
    assert 1 not in tokens  # no unknown word


def test_vectors_that_are_sums_of_a_ten_and_a_unit_are_put_together_again():
    every = torch.arange(10, 100)
    ten, unit = torch.randn(2, 10, 64, generator=torch.Generator().manual_seed(0))
    captions = ten[every // 10] + unit[every % 10]
    unseen = torch.tensor(numbers.UNSEEN) - 10
    damaged = captions.clone()
    damaged[unseen] = 7.0
    together = results.composed(damaged)
    torch.testing.assert_close(together[unseen], torch.nn.functional.normalize(captions[unseen], dim=1))
    others = torch.ones(90, dtype=torch.bool)
    others[unseen] = False
    assert torch.equal(together[others], captions[others])


@pytest.mark.long
def test_the_controls_train_and_read_the_pictures_as_the_lesson_does(monkeypatch):
    """For ten steps, after which the words of a caption have begun to count."""
    stop_after(monkeypatch, 10)
    again = results.one_numbers_run(0)
    for control in (results.one_long_run(0), results.one_words_run(0, whole=False)):
        assert {name: control[name] for name in again} == again
    whole = results.one_words_run(0, whole=True)
    assert whole.keys() == {"seen", "unseen", "composed"}
    assert whole["seen"] != again["seen"]


# -- section 12: pretrained models

STYLES = ("openmoji", "twemoji")


@pytest.fixture(scope="module")
def icons():
    """Every thirtieth emoji. Of the module, so that it comes from the usual cache."""
    every = emoji.load(STYLES)
    few = torch.arange(0, len(every.characters), 30)
    return emoji.Emoji(
        characters=[every.characters[i] for i in few],
        names={"en": [every.names["en"][i] for i in few]},
        groups=every.groups[few],
        group_names=every.group_names,
        concepts=every.concepts[few],
        images={style: pictures[few] for style, pictures in every.images.items()},
    )


@pytest.fixture
def earlier(monkeypatch, icons):
    """What the section takes from the cells above it, with few emoji and numbers."""
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    names = {}
    exec(CELLS["set-up"].split("\n\n", 2)[2], names)
    model, _ = train_numbers(steps=1)
    every = torch.tensor(numbers.NUMBERS).repeat(2)
    vectors = torch.nn.functional.normalize(torch.randn(3, len(icons.characters), 8), dim=2)

    def score(pictures, texts, rows, k=10):
        return sum(retrieval(style[rows], texts[rows], k=(k,), resamples=2)[k].value for style in pictures) / 2

    return names | {
        "styles": STYLES,
        "icons": icons,
        "unseen": torch.arange(12),
        "words": [numbers.caption(number) for number in numbers.NUMBERS],
        "model": model,
        "watched_images": numbers.load("test").draw(every, generator=torch.Generator().manual_seed(0)),
        "plain": VOCABULARY([numbers.caption(number) for number in numbers.NUMBERS]),
        "score": score,
        "pictures_1": vectors[:2],
        "texts_1": vectors[2],
        "display": lambda shown: names.update(shown=shown),
    }


def test_without_a_gpu_nothing_is_fetched_and_each_cell_says_what_it_would_do(earlier, monkeypatch, capsys):
    for load in (pretrained.clip_vit, full.flickr8k, pretrained.resnet_and_bert):
        monkeypatch.setattr(pretrained if hasattr(pretrained, load.__name__) else full, load.__name__, _never(load))
    for name in SECTION:
        exec(CELLS[name], earlier)
    assert "clip_vit is left out without a GPU; WANTED = True fetches it" in capsys.readouterr().out


def _never(load):
    def called(*_):
        raise AssertionError(f"{load.__name__} was called")

    called.__name__ = load.__name__
    return called


def test_with_a_gpu_and_no_network_it_says_why_and_goes_on(earlier, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("XLIB_BUDGET", "gpu")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "theirs"))
    for name in SECTION:
        exec(CELLS[name], earlier)
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().out


@pytest.mark.usefixtures("server")
def test_the_section_runs_with_real_checkpoints(earlier, monkeypatch, capsys):
    monkeypatch.setattr(full, "flickr8k", lambda split: squares())
    for name in SECTION:
        exec(CELLS[name].replace('WANTED = runtime.budget() == "gpu"', "WANTED = True"), earlier)
    out = capsys.readouterr().out
    assert "trained to a logit scale of 14" in out  # 1 / .07, where training begins: the tiny model had none
    assert "OpenAI's CLIP, image to text: R@1" in out
    assert "OpenAI's CLIP, text to image: R@1" in out
    for when in ("maps untrained", "towers frozen", "all trained"):
        assert f"ResNet-50 + BERT, {when}: image to text: R@1" in out
    shown = earlier["big_explorer"]
    assert len(shown.model.captions) == 2 * len(earlier["icons"].characters) + 180
    shown.typed = "a red dog"  # asks the encoder
    assert shown.neighbours
    gap = space.modality_gap(earlier["big_pictures"][0], earlier["big_names"]).size.item()
    assert f"modality gap on emoji: {gap:.2f}" in out


@pytest.mark.usefixtures("server")
def test_on_a_cpu_the_wish_does_not_start_hours_of_fine_tuning(earlier, monkeypatch, capsys):
    monkeypatch.setattr(full, "flickr8k", lambda split: squares())
    monkeypatch.setenv("XLIB_BUDGET", "cpu")
    monkeypatch.setattr(pretrained, "fit_towers", None)
    for name in SECTION:
        exec(CELLS[name].replace('WANTED = runtime.budget() == "gpu"', "WANTED = True"), earlier)
    assert "OpenAI's CLIP, image to text: R@1" in capsys.readouterr().out
    assert earlier["pair"] is None
