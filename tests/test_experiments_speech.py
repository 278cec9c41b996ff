"""Three towers: who meets whom in training, and what is measured, beside plain loops."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xlib.data import numbers, speech
from xlib.experiments import speech as three
from xlib.experiments.numbers import TEMPLATES, VOCABULARY, in_words

SEEN = set(numbers.SEEN)


@pytest.fixture(scope="module", autouse=True)
def clips_that_come_along():
    """A few voices, the same ones on all machines, and nobody waits for the engine to speak."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "missing", lambda: "a test wants it so")
        patch.setattr(speech, "_say_once", lambda reason: None)
        three.heard.cache_clear()
        yield
        three.heard.cache_clear()


def test_pairs_that_are_not_asked_for_leave_their_tower_alone():
    start = three.three_towers(3)["sound"].state_dict()
    towers, run = three.train_three(seed=3, steps=2, pairs=("picture-text",))
    assert all(torch.equal(start[name], value) for name, value in towers["sound"].state_dict().items())
    assert run.history[0].keys() == {"step", "loss", "picture-text"}
    towers, run = three.train_three(seed=3, steps=2, pairs=three.PAIRS)
    assert not torch.equal(start["project.weight"], towers["sound"].project.weight)
    assert run.history[0].keys() == {"step", "loss", *three.PAIRS}


def test_the_same_seed_gives_the_same_towers():
    one, other, another = (three.train_three(seed=seed, steps=2)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["sound.project.weight"], another["sound.project.weight"])


def test_the_temperature_is_fixed_or_learned():
    fixed, _ = three.train_three(steps=2, temperature=0.2)
    assert 1 / fixed["scale"]().item() == pytest.approx(0.2)
    learned, _ = three.train_three(steps=2, temperature=None)
    assert 1 / learned["scale"]().item() == pytest.approx(0.07, rel=0.05)
    assert 1 / learned["scale"]().item() != pytest.approx(0.07, rel=1e-6)


class Noted(nn.Module):
    """A tower that keeps what it is given, and what it makes of it."""

    def __init__(self, tower, given, made):
        super().__init__()
        self.tower, self.given, self.made = tower, given, made

    def forward(self, x):
        self.given.append(x)
        self.made.append(self.tower(x))
        return self.made[-1]


@pytest.fixture
def given(monkeypatch):
    """What the towers are given by name, and "... made" of it; nothing is changed on the way."""
    found, make = (
        {f"{name}{more}": [] for name in ("image", "text", "sound") for more in ("", " made")},
        three.three_towers,
    )

    def noted(*arguments, **options):
        towers = make(*arguments, **options)
        for name in ("image", "text", "sound"):
            towers[name] = Noted(towers[name], found[name], found[f"{name} made"])
        return towers

    monkeypatch.setattr(three, "three_towers", noted)
    monkeypatch.setattr(three, "changed", lambda features, generator: features)
    return found


@pytest.mark.parametrize("languages", [("en",), ("zh",), ("en", "zh")])
def test_a_sound_goes_with_a_caption_of_its_number_in_its_language(given, languages):
    three.train_three(steps=3, pairs=("sound-text",), languages=languages)
    assert given["image"] == []
    known = {language: three.heard("train", language=language) for language in languages}
    spoken = set()
    for features, tokens in zip(given["sound"], given["text"], strict=True):
        said = []
        for feature, row in zip(features, tokens.tolist(), strict=True):
            [(language, number)] = [
                (language, int(clips.numbers[place]))
                for language, clips in known.items()
                for place in (clips.features == feature).flatten(1).all(dim=1).nonzero().flatten().tolist()
            ]
            wordings = [in_words(number, each) for each in TEMPLATES if each.isascii() == (language == "en")]
            assert [token for token in row if token] in [VOCABULARY([each])[0].tolist() for each in wordings]
            said.append(number)
            spoken.add(language)
        assert set(said) == SEEN  # each once, none of UNSEEN
    assert spoken == set(languages)


def test_all_voices_and_takes_are_heard(given):
    three.train_three(steps=30, pairs=("sound-text",), languages=("en",))
    clips = three.heard("train")
    heard = torch.cat(given["sound"]).flatten(1)
    of_43 = clips.features[clips.numbers == 43].flatten(1)
    assert all((heard == clip).all(dim=1).any() for clip in of_43)


class Code(nn.Module):
    """A tower that reads a number from its input, and mostly gives the number's vector, as the other towers do."""

    def __init__(self, read, noise, seed):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.read, self.noise, self.one = (
            read,
            noise * torch.randn(90, 540, 64, generator=draw),
            nn.Parameter(torch.zeros(1)),
        )

    def forward(self, x):
        numbers, which = self.read(x)
        codes = torch.randn(90, 64, generator=torch.Generator().manual_seed(0))
        return codes[numbers - 10] + self.noise[numbers - 10, which]


def from_corner(x):
    """The number and its place among the clips or pictures, as the stand-ins below write them."""
    return x[:, 0, 0, 0].round().long(), x[:, 0, 0, 1].round().long()


ROWS = {
    tuple(VOCABULARY([numbers.caption(n, language=language)])[0].tolist()): (n, k)
    for n in numbers.NUMBERS
    for k, language in enumerate(numbers.LANGUAGES)
}


def from_words(tokens):
    return torch.tensor([ROWS[tuple(t for t in row if t)] for row in tokens.tolist()]).unbind(1)


def test_what_is_measured_is_what_plain_loops_find(monkeypatch):
    of_clip = torch.arange(10, 100).repeat_interleave(2).repeat(3)  # three voices, two takes
    voices = torch.arange(3).repeat_interleave(180)
    features = torch.zeros(540, 1, 40, 64)
    features[:, 0, 0, 0], features[:, 0, 0, 1] = of_clip, torch.arange(540)
    shown = torch.arange(10, 100).repeat_interleave(3)
    pictures = torch.zeros(270, 3, 16, 32)
    pictures[:, 0, 0, 0], pictures[:, 0, 0, 1] = shown, torch.arange(270)
    clips = three.Heard(features, of_clip, voices)
    monkeypatch.setattr(three, "heard", lambda kind, language: clips)
    monkeypatch.setattr(three, "held_out_numbers", lambda strength: (pictures, shown, None))
    towers = nn.ModuleDict(
        {"image": Code(from_corner, 1.5, 1), "sound": Code(from_corner, 1.6, 2), "text": Code(from_words, 1.4, 3)}
    )
    found = three.measure_three(towers, language="zh", galleries=2)

    with torch.no_grad():
        captions = {
            language: F.normalize(
                torch.cat(
                    [towers["text"](VOCABULARY([numbers.caption(n, language=language)])) for n in numbers.NUMBERS]
                )
            )
            for language in numbers.LANGUAGES
        }
        sounds, images = (
            F.normalize(towers[name](inputs)) for name, inputs in (("sound", features), ("image", pictures))
        )
    right = {}

    def asked(name, query, gallery, number):
        hit = int((gallery @ query).argmax()) == number - 10
        right.setdefault(f"{name} {'seen' if number in SEEN else 'unseen'}", []).append(hit)

    walls = [torch.stack([images[(shown == n).nonzero()[k, 0]] for n in numbers.NUMBERS]) for k in range(2)]
    for picture, number in zip(images, shown.tolist(), strict=True):
        asked("picture to text", picture, captions["en"], number)
    for sound, number in zip(sounds, of_clip.tolist(), strict=True):
        asked("sound to text", sound, captions["zh"], number)
        nearest = captions["zh"][(captions["zh"] @ sound).argmax()]
        for wall in walls:
            asked("sound to picture", sound, wall, number)
            asked("sound to text to picture", nearest, wall, number)
            asked("centred sound to picture", sound - sounds.mean(dim=0), wall - images.mean(dim=0), number)
    for voice in range(3):
        for take in range(2):
            of_voice = [((voices == voice) & (of_clip == n)).nonzero()[take, 0] for n in numbers.NUMBERS]
            for wall in walls:
                for number, picture in zip(numbers.NUMBERS, wall, strict=True):
                    asked("picture to sound", picture, sounds[of_voice], number)
    for name, hits in right.items():
        assert 0.2 < sum(hits) / len(hits) < 0.95, name  # so that a mistake would show
        assert found[name] == pytest.approx(sum(hits) / len(hits)), name
    kept = [torch.tensor([n in SEEN for n in each.tolist()]) for each in (of_clip, shown)]
    gap = sounds[kept[0]].mean(dim=0) - images[kept[1]].mean(dim=0)
    assert found["gap"] == pytest.approx(gap.norm().item(), rel=1e-5)
    own = {}
    for sound, number in zip(sounds, of_clip.tolist(), strict=True):
        if number in SEEN:
            own.setdefault("cosine sound to text", []).append(sound @ captions["zh"][number - 10])
            own.setdefault("cosine sound to picture", []).extend(sound @ wall[number - 10] for wall in walls)
    for wall in walls:
        own.setdefault("cosine picture to text", []).extend(wall[n - 10] @ captions["en"][n - 10] for n in SEEN)
    for name, cosines in own.items():
        assert found[name] == pytest.approx(torch.stack(cosines).mean().item(), rel=1e-4), name
    assert found.keys() == {*right, *own, "gap"}


def test_a_changed_clip_is_much_like_it_was_and_never_the_same():
    clips = three.heard("test").features[:40]
    draw = torch.Generator().manual_seed(0)
    one, other = (three.changed(clips, generator=draw) for _ in range(2))
    flat = [each.flatten(1) for each in (clips, one, other)]
    alike = [F.cosine_similarity(flat[0], each) for each in flat[1:]]
    assert F.cosine_similarity(flat[0], clips.flip(3).flatten(1)).mean() < 0.5 < torch.stack(alike).mean() < 0.95
    assert not torch.equal(one, other)
    assert (one - other).flatten(1).std(dim=1).unique().numel() == len(clips)  # each by its own amount


def test_what_is_compared_are_the_rows_of_one_number(given, monkeypatch):
    compared = []

    def noted(za, zb, *, logit_scale):
        compared.append((za, zb))
        return (za - zb).square().mean()

    monkeypatch.setattr(three, "info_nce", noted)
    three.train_three(steps=1)
    made = [
        F.normalize(given[f"{name} made"][k], dim=1)
        for name, k in (("image", 0), ("text", 0), ("sound", 0), ("text", 1))
    ]
    assert all(torch.equal(z, wanted) for z, wanted in zip([z for pair in compared for z in pair], made, strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pairs": ()}, "pairs must hold at least one of"),
        ({"pairs": "sound-text"}, "pairs must hold at least one of"),
        ({"pairs": ("text-sound",)}, "pairs must be one of.*got 'text-sound'"),
        ({"languages": ()}, "languages must hold at least one of"),
        ({"languages": ("fr",)}, "languages must be one of.*got 'fr'"),
        ({"temperature": 0.0}, "temperature must"),
    ],
)
def test_bad_input_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        three.train_three(steps=1, **options)
