"""Lesson 03's section on pretrained models, which asks for a GPU or a wish: its cells run here, on tiny models."""

import json

import pytest
import torch
from lessons import NOTEBOOKS
from test_pretrained import bert_files, clip_files, resnet_weights, server, squares  # noqa: F401

from xlib import space
from xlib.data import emoji, numbers
from xlib.experiments.numbers import VOCABULARY, train_numbers
from xlib.online import full, pretrained
from xlib.retrieval import retrieval

CELLS = {
    cell["id"]: "".join(cell["source"])
    for cell in json.loads((NOTEBOOKS / "03_clip.ipynb").read_text("utf-8"))["cells"]
    if cell["cell_type"] == "code"
}
SECTION = ("pretrained-load", "pretrained-emoji", "pretrained-explorer", "captions-run", "fine-tune")


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
