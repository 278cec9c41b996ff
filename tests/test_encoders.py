"""Words of every script, and encoders and features of 16 bits and of odd numbers."""

import re
import unicodedata

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from xlib import _sizes
from xlib.data import emoji, numbers
from xlib.encoders import (
    Centre,
    ImageEncoder,
    TextEncoder,
    Vocabulary,
    _words,
    edges_and_colours,
    random_affine,
)

few = settings(deadline=None, max_examples=200)

# -- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Größe, naïve CAFÉ", ["grösse", "naïve", "café"]),
        ("cafe\u0301", ["café"]),  # as a Mac writes it in the name of a file
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("İstanbul ISTANBUL", ["istanbul", "istanbul"]),
        ("Tiếng Việt, Łódź, þorn", ["tiếng", "việt", "łódź", "þorn"]),
        ("don’t DON'T donʼt", ["don't"] * 3),
        ("Hawaiʻi HAWAI‘I, o‘zbek oʻzbek", ["hawai'i", "hawai'i", "o'zbek", "o'zbek"]),
        ("‘two’ “dogs” «run»", ["two", "dogs", "run"]),
        ("Привет, МИР", ["привет", "мир"]),
        ("Σίσυφος ΣΊΣΥΦΟΣ", ["σίσυφοσ", "σίσυφοσ"]),
        ("العَرَبِيَّة لغة", ["العَرَبِيَّة", "لغة"]),
        ("צה״ל שלום", ["צה״ל", "שלום"]),
        ("می‌خواهم", ["می‌خواهم"]),  # a joiner of no width inside
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("தமிழ் తెలుగు አማርኛ ქართული", ["தமிழ்", "తెలుగు", "አማርኛ", "ქართული"]),
        ("한국어 \u1112\u1161\u11ab", ["한국어", "한"]),
        ("四十二", ["四", "十", "二"]),
        ("说‘你好’然后‘ok’", ["说", "你", "好", "然", "后", "ok"]),  # quotes, not apostrophes
        ("日本語カードを", ["日", "本", "語", "カ", "ー", "ド", "を"]),
        ("か\u3099ﾀﾞ", ["が", "ﾀ", "ﾞ"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("第42章 ๔๒ ٤٢ 42", ["第", "42", "章", "๔๒", "٤٢", "42"]),
        ("葛\U000e0100城", ["葛", "城"]),  # a variant of the first character
        ("Wör\u00adter a\u200eb", ["wörter", "ab"]),
        ("col·lega snake_case 3.14", ["col·lega", "snake", "case", "3", "14"]),
        ("👍👍🏽 ok👍", ["👍", "👍🏽", "ok", "👍"]),
        ("👩\u200d👧\u200d👦 🏳️\u200d🌈", ["👩\u200d👧\u200d👦", "🏳\u200d🌈"]),
        ("❤️ ❤ ☺", ["❤", "❤", "☺"]),
        ("🇩🇪🇫🇷 1️⃣", ["🇩🇪", "🇫🇷", "1⃣"]),
        ("© 20 °C, 5 € + 3 → x", ["20", "c", "5", "3", "x"]),
        ("-- !? …", []),
    ],
)
def test_words_of_every_script(text, words):
    assert _words(text) == words
    assert _words(unicodedata.normalize("NFD", text)) == words


def test_each_word_has_a_number_of_its_own():
    vocabulary = Vocabulary(["café", "caf", "हिन्दी", "👍🏽", "Привет"])
    assert len(vocabulary) == 7
    assert vocabulary(["CAFE\u0301 caf", "👍🏽 привет"]).tolist() == vocabulary(["café caf", "👍🏽 Привет"]).tolist()
    assert vocabulary(["caf"]).tolist() != vocabulary(["café"]).tolist()
    assert vocabulary(["हिंदी", "👍"]).tolist() == [[1], [1]]  # other words


@few
@given(st.text(st.characters(exclude_characters="\ufe0f\u20e3")))  # with these any sign may be an emoji
def test_words_are_the_same_however_letters_are_encoded_and_are_words_again(text):
    words = _words(text)
    assert _words(unicodedata.normalize("NFD", text)) == words
    assert _words(" ".join(words)) == words


def plain(text):
    """How English and Chinese were always cut."""
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9']+", text.lower())


@few
@given(st.text("".join(map(chr, range(128))) + "四十二数字"))
def test_english_and_chinese_are_cut_as_ever(text):
    assert _words(text) == plain(text)


def test_the_lessons_own_captions_are_cut_as_ever():
    captions = [numbers.caption(n, language=to) for n in numbers.NUMBERS for to in ("en", "zh")]
    names = emoji.load().names
    for texts in (captions, names["en"], names["zh"]):
        assert [text for text in texts if _words(text) != plain(text) and text != "piñata"] == []
    for texts in names.values():  # in fourteen languages
        assert all(map(_words, texts))


def test_every_emoji_is_one_word():
    assert [char for char in emoji.load().characters if len(_words(char)) != 1] == []


def test_a_single_object_and_what_is_no_string_are_named_and_any_container_is_read():
    pandas = pytest.importorskip("pandas")
    for bad, said in ((5, "got 5"), (["a", None], "got None in place 1"), (b"ab", "got 97 in place 0")):
        with pytest.raises(TypeError, match=f"^texts must be a list of strings, {said}"):
            Vocabulary(bad)
    series = pandas.Series(["two dogs", "a dog"], index=[7, 3])
    assert (
        Vocabulary(series).index
        == Vocabulary(text for text in series).index
        == {"a": 2, "dog": 3, "dogs": 4, "two": 5}
    )
    assert Vocabulary(series)(series).tolist() == [[5, 4], [2, 3]]
    with pytest.raises(ValueError, match=r"^texts must hold at least one word each, got '\?'"):
        Vocabulary(series)(pandas.Series(["a", "?"], index=[1, 0]))


# -- 16 bits and odd numbers

HALVES = [torch.float16, torch.bfloat16]


def rows(*values, d=512):
    return torch.tensor(values)[:, None] * torch.cat([torch.ones(d // 2), -torch.ones(d // 2)])


@pytest.mark.parametrize("dtype", HALVES)
def test_unit_rows_of_16_bits_are_computed_in_32(dtype):
    given = rows(0.0, 1e-7, 1.0, 6e4).to(dtype)  # 6e4² and the norm of 512 such numbers exceed 65,504
    found = _sizes.unit(given)
    assert found.dtype == torch.float32
    assert_close(found, rows(0.0, *[512**-0.5] * 3), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("dtype", "large"), [(torch.float32, 3e37), (torch.float64, 1e300)])
def test_unit_rows_of_any_size_with_their_gradient(dtype, large):
    sizes = [large, 1e25, 1e20, 1.0, 1e-12, 1e-20, 1e-25, 1 / large]
    given = (torch.tensor(sizes, dtype=dtype)[:, None] * torch.tensor([3.0, -4.0], dtype=dtype)).requires_grad_()
    found = _sizes.unit(given / 4)
    assert_close(found, torch.tensor([[0.6, -0.8]], dtype=dtype).expand(8, 2))
    found[3, 0].backward()
    assert given.grad.isfinite().all()
    assert _sizes.unit(torch.zeros(1, 3)).tolist() == [[0, 0, 0]]


def test_unit_rows_of_usual_sizes_are_those_of_torch_to_the_last_bit():
    given = torch.randn(50, 33, generator=torch.Generator().manual_seed(0))
    assert torch.equal(_sizes.unit(given), F.normalize(given, dim=1))


@pytest.mark.parametrize("dtype", HALVES)
def test_centring_in_16_bits(dtype):
    features = rows(0.0, 1.0, 3e4, -6e4)
    exact = Centre(features.mean(dim=0))(features)
    centre = Centre(features.mean(dim=0)).to(dtype)
    found = centre(features.to(dtype))
    assert found.dtype == dtype
    assert_close(found.float(), exact, rtol=0.02, atol=1e-3)
    nowhere = centre(centre.mean.expand(2, -1))  # where the mean itself is: no direction
    assert nowhere.tolist() == torch.zeros(2, 512).tolist()
    assert Centre(torch.zeros(4))(torch.ones(1, 4, dtype=dtype)).dtype == torch.float32  # its mean has 32 bits
    assert Centre(torch.zeros(4, dtype=torch.float64))(torch.ones(1, 4)).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(Centre(features.mean(dim=0))(features), exact)


def test_compilers_and_vmap_follow_what_is_normalised():
    """Where numbers are looked at to see whether they are usual, there is nothing to compile."""
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = torch.cat([edges_and_colours(images), torch.zeros(1, 1088), torch.full((1, 1088), 1e30)])
    centre = Centre(features[0])
    for f, x in (
        (_sizes.unit, features),
        (centre, features),
        (centre, features[:4].half()),
        (edges_and_colours, images),
    ):
        compiled = torch.compile(f, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), f(x))
        assert_close(torch.func.vmap(f)(x.unflatten(0, (1, -1)))[0], f(x))
    jacobian = torch.func.jacrev(_sizes.unit)(torch.tensor([3e30, 4e30]))
    assert_close(jacobian, torch.tensor([[0.64, -0.48], [-0.48, 0.36]]) / 5e30)


@pytest.mark.parametrize("dtype", HALVES)
def test_small_encoders_in_16_bits_give_what_32_give(dtype):
    torch.manual_seed(0)
    images, tokens = torch.rand(3, 3, 8, 8), torch.randint(1, 9, (3, 3000))
    images[0] = 0
    tokens[1, 1:], tokens[2] = 0, 0  # a single word; none at all
    for encoder, inputs in ((ImageEncoder((8, 8)).eval(), images), (TextEncoder(9).eval(), tokens)):
        exact = encoder(inputs)
        assert exact.isfinite().all()
        half = encoder.to(dtype)(inputs.to(dtype) if inputs.is_floating_point() else inputs)
        assert half.dtype == dtype
        assert_close(half.float(), exact, rtol=0, atol=0.03)


@pytest.mark.parametrize("dtype", HALVES)
def test_features_made_by_hand_in_16_bits(dtype):
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    images[0] = 0.5  # no edge
    found = edges_and_colours(images)
    assert found.dtype == torch.float32
    assert torch.equal(found, edges_and_colours(images.float()))
    assert found.isfinite().all()
    assert not found[0, :640].any()


def test_features_of_bytes_are_those_of_the_same_picture_in_floats():
    images = torch.randint(256, (2, 3, 40, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(edges_and_colours(images), edges_and_colours(images / 255))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 3, 32, 32), 255.0), r"images must be in \[0, 1\], or uint8 .* got floats from 255 to 255"),
        (torch.full((1, 3, 32, 32), -1.0), "got floats from -1 to -1"),
        (torch.full((1, 3, 32, 32), torch.nan), "got floats from nan to nan"),
        (torch.ones((1, 3, 32, 32), dtype=torch.int64), "images must be floating .* or uint8 .* got torch.int64"),
        (torch.ones((1, 3, 32, 32), dtype=torch.bool), "got torch.bool"),
    ],
)
def test_features_of_other_numbers_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        edges_and_colours(images)


@pytest.mark.parametrize("dtype", HALVES)
def test_augmentation_in_16_bits_stays_within_the_picture(dtype):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    moved = random_affine(images, generator=torch.Generator().manual_seed(1))
    assert moved.dtype == dtype
    assert moved.isfinite().all()
    assert (images.min() - 0.01 <= moved.min()) & (moved.max() <= images.max() + 0.01)
