"""Few pairs and other voices: what is trained and what is not, and that labels which are not given are not used."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xlib import dann
from xlib.data import numbers, speech
from xlib.experiments import few_pairs as few
from xlib.experiments import voices
from xlib.experiments.numbers import caption_vectors
from xlib.experiments.speech import SEEN, heard, three_towers

PARTS = ("image", "text", "sound")


@pytest.fixture(scope="module", autouse=True)
def clips_that_come_along():
    """A few voices, the same ones on all machines, and nobody waits for the engine to speak."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "missing", lambda: "a test wants it so")
        patch.setattr(speech, "_say_once", lambda reason: None)
        patch.setattr(speech.util, "find_spec", lambda name: None)
        heard.cache_clear()
        yield
        heard.cache_clear()


def moved(towers, start):
    """Which parts are not as they were."""
    found = set()
    for part in PARTS:
        before, after = start[part].state_dict(), towers[part].state_dict()
        if any(not torch.equal(before[name], after[name]) for name in before):
            found.add(part)
    return found


def renumbered(clips, rows):
    """The same clips with the numbers of these rows, all of them seen ones, mixed up."""
    mixed = clips.numbers.clone()
    mixed[rows] = mixed[rows].flip(0)
    assert not mixed.equal(clips.numbers)
    return clips._replace(numbers=mixed)


# -- few pairs


def test_few_pairs_are_the_first_of_more_and_no_number_is_twice_before_each_was_once():
    clips = heard()
    every = few.few_pairs(4 * 78)  # all there are: four voices, one take
    assert torch.equal(every[:39], few.few_pairs(39))
    assert every.unique().shape == every.shape
    for turn in every.view(4, 78):
        assert sorted(clips.numbers[turn].tolist()) == sorted(numbers.SEEN)
    assert len(clips.voices[every[:78]].unique()) == 4
    assert not torch.equal(every, few.few_pairs(4 * 78, seed=1))
    with pytest.raises(ValueError, match=r"count must be .*312.* got 313"):
        few.few_pairs(313)


@pytest.mark.parametrize(
    ("options", "trained"),
    [({}, {"sound"}), ({"locked": False}, {"sound", "text"}), ({"unpaired": "guesses"}, {"sound"})],
)
def test_who_is_trained(options, trained):
    start = three_towers(0)
    before = {part: {name: value.clone() for name, value in start[part].state_dict().items()} for part in PARTS}
    towers, _ = few.add_sound(start, few.few_pairs(10), steps=2, **options)
    assert moved(towers, start) == trained
    for part in PARTS:
        assert all(torch.equal(before[part][name], value) for name, value in start[part].state_dict().items())
    assert not towers.training
    assert towers["scale"]().item() == pytest.approx(10)


@pytest.mark.parametrize("temperature", [None, 0.02])
def test_the_loss_of_the_pairs_is_a_cross_entropy_among_the_captions_of_seen_numbers(monkeypatch, temperature):
    monkeypatch.setattr(few, "changed", lambda features, generator: features)
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)
    start, rows, clips = three_towers(0), few.few_pairs(7), heard()
    _, run = few.add_sound(start, rows, steps=1, seed=3, temperature=temperature)
    texts = caption_vectors(start.eval()).detach()[SEEN - 10]
    with torch.no_grad():
        z = F.normalize(three_towers(3)["sound"](clips.features[rows]), dim=1)
    own = torch.tensor([numbers.SEEN.index(n) for n in clips.numbers[rows].tolist()])
    expected = F.cross_entropy(z @ texts.T / (temperature or 0.1), own)
    assert run.history[0]["pairs"] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("unpaired", few.UNPAIRED)
def test_the_numbers_of_unpaired_sounds_are_not_used(monkeypatch, unpaired):
    rows, clips = few.few_pairs(10), heard()
    others = torch.isin(clips.numbers, SEEN) & ~torch.isin(torch.arange(len(clips.numbers)), rows)
    runs = []
    for known in (clips, renumbered(clips, others.nonzero()[:, 0])):
        monkeypatch.setattr(few, "heard", lambda *_, known=known: known)
        runs.append(few.add_sound(three_towers(0), rows, steps=3, unpaired=unpaired)[0])
    assert moved(*runs) == set()
    plain, _ = few.add_sound(three_towers(0), rows, steps=3)
    assert moved(plain, runs[0]) == {"sound"}


def test_what_is_unpaired_is_checked_first():
    with pytest.raises(ValueError, match="unpaired must be one of 'mmd', 'guesses', got 'dann'"):
        few.add_sound(None, None, unpaired="dann")


def test_asif_knows_what_has_an_anchor():
    found = few.asif(three_towers(0), few.few_pairs(312), power=8.0, voices="train")
    assert found["sound to text seen"] > 0.95  # each clip is its own anchor, though the text tower is untrained
    assert found["sound to text unseen"] < 0.5
    two = few.asif(three_towers(0), few.few_pairs(2), keep=20)
    assert 0 < two["sound to text seen"] < 0.2


# -- other voices


@pytest.mark.parametrize("options", [{"align": {"mmd": 1.0}}, {"guesses": 1.0}, {}])
def test_adaptation_trains_the_sound_tower_and_uses_no_number_of_the_target(options):
    start, target = three_towers(0), voices.of_voices("accents", (0,))
    rows = torch.isin(target.numbers, SEEN).nonzero()[:, 0]
    one, other = (
        voices.adapt_voices(start, clips, steps=3, **options)[0] for clips in (target, renumbered(target, rows))
    )
    assert moved(one, start) == {"sound"}
    assert moved(one, other) == set()


def test_the_oracle_uses_the_targets_numbers_and_they_alone():
    start, target = three_towers(0), voices.of_voices("accents", (0,))
    rows = torch.isin(target.numbers, SEEN).nonzero()[:, 0]
    one, other = (
        voices.adapt_voices(start, clips, steps=2, on_target=True)[0] for clips in (target, renumbered(target, rows))
    )
    assert moved(one, other) == {"sound"}


def test_unseen_numbers_of_the_target_are_not_heard():
    target = voices.of_voices("accents", (0,))
    features = target.features.clone()
    features[~torch.isin(target.numbers, SEEN)] = float("nan")
    towers, _ = voices.adapt_voices(three_towers(0), target._replace(features=features), steps=2, guesses=1.0)
    assert all(value.isfinite().all() for value in towers["sound"].state_dict().values())


def test_without_changes_the_sounds_are_as_they_are(monkeypatch):
    given = []
    monkeypatch.setattr(voices, "changed", lambda features, generator: given.append(1) or features)
    voices.adapt_voices(three_towers(0), voices.of_voices("accents", (0,)), steps=2, change=False)
    assert not given


def test_tent_moves_normalisation_alone_and_down_the_entropy():
    start, clips = three_towers(0).eval(), voices.of_voices("whisper", (0,))
    towers, log = voices.tent(start, clips.features, steps=8, rate=0.01, batch=90)
    norms = {
        f"{name}.{which}"
        for name, layer in start["sound"].named_modules()
        if isinstance(layer, nn.GroupNorm)
        for which in ("weight", "bias")
    }
    before, after = start["sound"].state_dict(), towers["sound"].state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == norms
    assert moved(towers, start) == {"sound"}
    with torch.no_grad():
        z = F.normalize(start["sound"](clips.features), dim=1)
        assert log[0]["entropy"] == pytest.approx(dann.entropy(10 * z @ caption_vectors(start).T).item(), rel=1e-4)
    assert log[-1]["entropy"] < log[0]["entropy"] - 0.01


def test_what_is_understood_is_counted_among_all_captions():
    towers, clips = three_towers(0), voices.of_voices("whisper", (0,))
    texts = caption_vectors(towers).detach()

    class Told(nn.Module):
        """A tower that knows the number of its clips, but says ninety-nine for eleven."""

        def forward(self, features):
            said = torch.where(clips.numbers == 11, 99, clips.numbers)
            return 3 * texts[said - 10]

    towers["sound"] = Told()
    found = voices.understood(towers, clips)
    assert found["all"] == pytest.approx(89 / 90)
    assert (found["seen"], found["unseen"]) == (pytest.approx(77 / 78), 1.0) if 11 in numbers.SEEN else (1.0, 11 / 12)
    assert found["captions"] == 89
