"""The captions that lesson 00 proposes to type: each finds what it names, in the space that the lesson trains."""

import re

import pytest
import torch
from lessons import MAGIC, lesson

# A hit counts where one of these words is in its name: written down before any result was looked at.
PROPOSED = {
    "a cat on a roof": "cat",
    "the clock strikes midnight": "clock watch o'clock thirty hourglass stopwatch timer alarm",
    "she gave him her heart": "heart hearts love",
    "the train to work is late": "train locomotive railway metro tram rail monorail station tramway",
}
pytestmark = pytest.mark.xdist_group("first captions")  # one space, trained in full, for all of them
LEAST = 5  # of the 8 pictures that are listed


@pytest.fixture(scope="module")
def space():
    """What lesson 00 has defined when its explorer has followed the training, in full."""
    namespace = {"__name__": "__main__"}
    cells = [MAGIC.sub(r"\1pass", code) for code in lesson("00_start_here")._code]
    last = next(k for k, code in enumerate(cells) if "explorer.finish()" in code)
    for code in cells[: last + 1]:
        exec(compile(code, "<00_start_here>", "exec"), namespace)
    return namespace


def found(caption, names):
    """How many of the names hold a word that is accepted for the caption."""
    wanted = set(PROPOSED[caption].split())
    return sum(bool(wanted & set(re.split(r"[ \-]", name.lower()))) for name in names)


@pytest.mark.long
@pytest.mark.parametrize("caption", PROPOSED)
def test_a_proposed_caption_finds_what_it_names(space, caption):
    model = space["explorer"].model
    model.typed = caption
    names = [model.captions[j] for j, _ in model.neighbours]
    assert [model.sprites[j] >= 0 for j, _ in model.neighbours] == [True] * 8
    assert found(caption, names) >= LEAST, names
    assert set(model.suggestions) == set(PROPOSED)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_they_do_so_whatever_the_seed(space, seed, monkeypatch):
    seen, features, names = (space[name] for name in ("seen", "features", "names"))
    model, _ = space["train_emoji"](features[:, seen], names[seen], seed=seed)
    monkeypatch.setitem(space, "model", model)  # which `encode` asks
    with torch.no_grad():
        pictures = space["embed"](model)[: len(names)]
        order = (space["encode"](list(PROPOSED)) @ pictures.T).topk(8).indices
    icons = space["icons"].names["en"]
    for caption, rows in zip(PROPOSED, order.tolist(), strict=True):
        assert found(caption, [icons[i] for i in rows]) >= LEAST, caption


@pytest.mark.long
def test_the_count_would_notice_a_caption_that_fails(space):
    """What the lesson once proposed: no cheese in sight."""
    model = space["explorer"].model
    model.typed = "something to eat with cheese"
    names = [model.captions[j] for j, _ in model.neighbours]
    assert sum(bool(set(name.split()) & {"cheese", "pizza", "sandwich", "hamburger", "fondue"}) for name in names) < 5
