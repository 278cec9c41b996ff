"""Captioned numbers: captions that can be read back, and pictures made of the right scans and photographs."""

import re
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlib.data import digits, numbers

LISTS = st.lists(st.integers(10, 99), min_size=1, max_size=40)
SPLITS = st.sampled_from(digits.SPLITS)
COLLECTIONS = st.sampled_from(digits.COLLECTIONS)
SEEDS = st.integers(0, 2**32)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@cache
def tables(split="train", strength=0.0, collection="mnist"):
    return numbers.load(split, strength=strength, collection=collection)


@cache
def scans_by_digit(split, collection="mnist"):
    """Computed without the tables: for every digit its scans at 16×16, as a set of bytes."""
    scans, labels = digits.load(split, collection=collection)
    small = torch.nn.functional.interpolate(scans, (16, 16), mode="bicubic", antialias=True).clamp(0, 1)[:, 0]
    return [{scan.numpy().tobytes() for scan in small[labels == digit]} for digit in range(10)]


@cache
def photos_of_pixel_numbers(split):
    """As many photographs of this size as `split` has; their colours count pixels, 0, 1, 2, ... in base 256, and on
    from one split to the other."""
    count = {name: len(digits.photographs(name)) for name in digits.SPLITS}
    number = torch.arange(sum(count.values()) * 300 * 450).view(-1, 300, 450)
    number = number[: count["train"]] if split == "train" else number[count["train"] :]
    return torch.stack((number >> 16, number >> 8 & 255, number & 255), dim=1).float() / 255


def pixel_numbers(images):
    red, green, blue = (images * 255).round().long().unbind(-3)
    return (red << 16) + (green << 8) + blue


def halves(images):
    """The grey left and right half of each picture, as bytes."""
    return [tuple(half.numpy().tobytes() for half in image[0].split(16, dim=1)) for image in images]


# Captions


def read_english(text):
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    value = {word: i for i, word in enumerate((words + " seventeen eighteen nineteen").split(), start=1)}
    tens = "twenty thirty forty fifty sixty seventy eighty ninety"
    value |= {word: 10 * i for i, word in enumerate(tens.split(), start=2)}
    return sum(value[word] for word in text.split("-"))


def read_chinese(text):
    tens, units = text.split("十")
    return 10 * ("一二三四五六七八九".index(tens) + 1 if tens else 1) + " 一二三四五六七八九".index(units or " ")


@given(st.sampled_from(numbers.NUMBERS))
def test_captions_can_be_read_back(number):
    assert read_english(numbers.caption(number)) == number
    assert read_chinese(numbers.caption(number, language="zh")) == number


def test_captions_are_written_as_people_write_them():
    tens = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    units = "one|two|three|four|five|six|seven|eight|nine"
    english = [numbers.caption(n) for n in numbers.NUMBERS]
    chinese = [numbers.caption(n, language="zh") for n in numbers.NUMBERS]
    assert len(set(english)) == len(set(chinese)) == 90
    assert all(re.fullmatch(rf"({tens})(-({units}))?", text) for text in english[10:])
    assert all(re.fullmatch("[二三四五六七八九]?十[一二三四五六七八九]?", text) for text in chinese)
    assert [numbers.caption(n) for n in (10, 12, 17, 20, 42)] == [
        *("ten", "twelve", "seventeen", "twenty", "forty-two"),
    ]
    assert [numbers.caption(n, language="zh") for n in (10, 17, 20, 42)] == ["十", "十七", "二十", "四十二"]


@pytest.mark.parametrize(
    ("number", "language", "error", "message"),
    [
        (9, "en", ValueError, "number must be from 10 to 99, got 9"),
        (100, "zh", ValueError, "number must be from 10 to 99, got 100"),
        (42.0, "en", TypeError, "number must be an int, got float"),
        (torch.tensor(42), "en", TypeError, "number must be an int, got Tensor"),
        (42, "fr", ValueError, "language must be one of 'en', 'zh', got 'fr'"),
    ],
)
def test_bad_caption_arguments_are_named(number, language, error, message):
    with pytest.raises(error, match=message):
        numbers.caption(number, language=language)


# The numbers that are never trained on


def test_seen_and_unseen_share_out_the_numbers():
    assert len(numbers.UNSEEN) == 12
    assert sorted(numbers.SEEN + numbers.UNSEEN) == list(range(10, 100))


def test_everything_that_an_unseen_number_is_made_of_is_seen():
    for language, parts in (("en", re.compile("[a-z]+")), ("zh", re.compile("."))):
        words = {w for n in numbers.SEEN for w in parts.findall(numbers.caption(n, language=language))}
        unseen = {w for n in numbers.UNSEEN for w in parts.findall(numbers.caption(n, language=language))}
        assert unseen <= words
    assert {n // 10 for n in numbers.SEEN} == set(range(1, 10))
    assert {n % 10 for n in numbers.SEEN} == set(range(10))


def test_unseen_numbers_are_spread_out_and_not_mirrored():
    tens, units = [n // 10 for n in numbers.UNSEEN], [n % 10 for n in numbers.UNSEEN]
    assert {tens.count(t) for t in range(2, 10)} == {units.count(u) for u in range(10)} == {1, 2}
    mirrored = {10 * u + t for t, u in zip(tens, units, strict=True) if t != u}
    assert not mirrored & set(numbers.UNSEEN)


# Pictures


@given(LISTS, SPLITS, st.sampled_from([0.0, 0.3, 1.0]), SEEDS)
def test_draw_gives_pictures_in_range_and_repeats(what, split, strength, seed):
    what = torch.tensor(what)
    images = tables(split, strength).draw(what, generator=seeded(seed))
    assert images.shape == (len(what), 3, 16, 32)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, tables(split, strength).draw(what, generator=seeded(seed)))
    images.zero_()  # a picture is the caller's own: writing to it leaves the tables alone
    assert tables(split, strength).draw(what, generator=seeded(seed)).any()


@given(LISTS, SPLITS, COLLECTIONS, SEEDS)
def test_each_half_is_a_scan_of_its_digit_from_its_split(what, split, collection, seed):
    images = tables(split, collection=collection).draw(torch.tensor(what), generator=seeded(seed))
    scans = scans_by_digit(split, collection)
    for number, (left, right) in zip(what, halves(images), strict=True):
        assert left in scans[number // 10]
        assert right in scans[number % 10]
    assert torch.equal(images, images[:, :1].expand(-1, 3, -1, -1))


@pytest.mark.parametrize("collection", digits.COLLECTIONS)
def test_every_scan_is_used_and_none_of_the_other_split(collection):
    what = torch.tensor(numbers.NUMBERS).repeat(400)
    drawn = {}
    for split in digits.SPLITS:
        images = tables(split, collection=collection).draw(what, generator=seeded(0))
        drawn[split] = {half for pair in halves(images) for half in pair}
        assert drawn[split] == set.union(*scans_by_digit(split, collection))
    assert not drawn["train"] & drawn["test"]


def test_numbers_are_written_by_mnist_unless_uci_is_asked_for():
    by_default = numbers.load("test")
    assert torch.equal(by_default.glyphs, tables("test", collection="mnist").glyphs)
    assert {len(tables(split).glyphs) for split in digits.SPLITS} == {4000, 1000}
    assert {len(tables(split, collection="uci").glyphs) for split in digits.SPLITS} == {1411, 386}
    for collection in digits.COLLECTIONS:  # a digit fills the same part of the picture
        ink = tables("train", collection=collection).glyphs.mean(dim=0)
        assert ink[[0, 1, -2, -1]].mean() < 0.02 < 0.2 < ink[4:12, 4:12].mean()


# Pictures whose scans are dealt out


@given(LISTS, SPLITS, COLLECTIONS, st.sampled_from([0.0, 0.6]), SEEDS)
def test_deal_says_which_scans_it_used(what, split, collection, strength, seed):
    data = tables(split, strength, collection)
    images, scans = data.deal(torch.tensor(what), generator=seeded(seed))
    assert scans.shape == (len(what), 2)
    assert scans.dtype == torch.int64
    assert images.shape == (len(what), 3, 16, 32)
    grey = replace(data, photos=None).deal(torch.tensor(what), generator=seeded(seed))
    assert torch.equal(grey[1], scans)
    assert torch.equal(grey[0][:, 0], data.glyphs[scans].transpose(1, 2).flatten(2))
    known = scans_by_digit(split, collection)
    for number, (left, right) in zip(what, halves(grey[0]), strict=True):
        assert left in known[number // 10]
        assert right in known[number % 10]
    if not strength:
        assert torch.equal(images, grey[0])
    again, same = data.deal(torch.tensor(what), generator=seeded(seed))
    assert torch.equal(images, again)
    assert torch.equal(scans, same)


@given(LISTS, SPLITS, COLLECTIONS, st.integers(1, 30), SEEDS)
def test_deal_uses_a_digits_scans_equally_often(what, split, collection, copies, seed):
    data, what = tables(split, collection=collection), torch.tensor(what).repeat(copies)
    used = data.deal(what, generator=seeded(seed))[1].flatten().bincount(minlength=len(data.glyphs))
    for digit in range(10):
        places = data.spans[:, :, 0] == data.spans[:, :, 0].sort().values.unique()[digit]
        first, count = data.spans[places][0].tolist()
        own = used[first : first + count]
        asked = ((what // 10 == digit).sum() + (what % 10 == digit).sum()).item()
        assert own.sum() == asked
        assert own.max() - own.min() <= 1


def test_deal_shuffles_in_every_round():
    """The same pairs of scans do not come back, and no scan stands always in the same place."""
    data = tables("test")
    _, scans = data.deal(torch.full((500,), 88), generator=seeded(0))
    assert len(scans.unique(dim=0)) > 480  # of 500, though each of 100 scans was used ten times
    assert len(scans[:50].unique()) == 100  # the first round
    assert not torch.equal(scans[:50].flatten(), scans[50:100].flatten())
    assert (scans[:50].flatten().diff() != 1).any()
    assert not torch.equal(scans, data.deal(torch.full((500,), 88), generator=seeded(1))[1])


def test_the_held_out_pictures_of_lesson_03_use_each_of_1000_scans_a_few_times():
    for asked, each, most in ((numbers.SEEN, 20, 4), (numbers.UNSEEN, 100, 3)):
        what = torch.tensor(asked).repeat_interleave(each)
        used = tables("test").deal(what, generator=seeded(2))[1].flatten().bincount()
        assert len(used) == 1000
        assert 1 <= used.min() <= used.max() <= most


def test_the_two_halves_are_drawn_independently():
    images = tables().draw(torch.full((400,), 88), generator=seeded(0))
    pairs = halves(images)
    assert len(set(pairs)) > 390
    assert len({left for left, _ in pairs}) > 80


@settings(max_examples=20)
@given(LISTS, SPLITS, st.floats(0.01, 1), SEEDS)
def test_strength_blends_by_absolute_difference(what, split, strength, seed):
    what = torch.tensor(what)
    data = numbers.load(split, strength=strength)
    clean, images = (t.draw(what, generator=seeded(seed)) for t in (tables(split), data))
    full = tables(split, 1.0)
    patches = replace(full, glyphs=torch.zeros_like(full.glyphs)).draw(what, generator=seeded(seed))
    expected = (strength * patches.double() - clean.double()).abs()
    torch.testing.assert_close(images.double(), expected, atol=1e-6, rtol=0)


@settings(max_examples=20)
@given(SPLITS, SEEDS)
def test_more_strength_is_further_from_clean(split, seed):
    what = torch.tensor(numbers.NUMBERS).repeat(3)
    clean, *shifted = (
        tables(split, strength).draw(what, generator=seeded(seed)) for strength in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    )
    distance = [float((images - clean).abs().mean()) for images in shifted]
    assert distance == sorted(distance)
    assert distance[0] > 0.04


@pytest.mark.parametrize("split", digits.SPLITS)
def test_the_picture_is_on_one_patch_of_its_own_splits_photographs(split):
    data = replace(tables(split, 1.0), photos=photos_of_pixel_numbers(split))
    data = replace(data, glyphs=torch.zeros_like(data.glyphs))
    for way in (data.draw, lambda *args, **options: data.deal(*args, **options)[0]):
        drawn = pixel_numbers(way(torch.full((300,), 42), generator=seeded(0)))
        expected = drawn[:, :1, :1] + 450 * torch.arange(16)[:, None] + torch.arange(32)
        assert torch.equal(drawn, expected)
        assert len((drawn[:, 0, 0] // (300 * 450)).unique()) == len(data.photos)  # every photograph
        other = photos_of_pixel_numbers("train" if split == "test" else "test")
        assert not torch.isin(drawn, pixel_numbers(other)).any()
    assert torch.equal(tables(split, 1.0).photos, digits.photographs(split))
    assert torch.equal(tables(split, 0.5).photos, 0.5 * digits.photographs(split))


def test_draw_takes_one_number_and_any_memory_layout():
    what = torch.arange(10, 100)
    assert tables().draw(what[:1], generator=seeded(0)).shape == (1, 3, 16, 32)
    every_other = tables().draw(what[::2], generator=seeded(0))
    assert torch.equal(every_other, tables().draw(what[::2].contiguous(), generator=seeded(0)))


def test_to_moves_every_table():
    for strength in (0.0, 0.5):
        moved = tables("train", strength).to("meta")
        held = [moved.glyphs, moved.spans] + [moved.photos] * (strength > 0)
        assert {t.device.type for t in held} == {"meta"}
    assert moved.photos.shape == tables("train", 0.5).photos.shape


# What is refused


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ([42], TypeError, r"numbers must be a torch.Tensor of dtype torch.int64, got list"),
        (torch.tensor([42.0]), TypeError, r"numbers must be .* got torch.float32"),
        (torch.tensor([42], dtype=torch.int32), TypeError, r"numbers must be .* got torch.int32"),
        (torch.tensor(42), ValueError, r"numbers must be non-empty with shape \(B,\), got shape \(\)"),
        (torch.tensor([[42]]), ValueError, r"numbers must be .* got shape \(1, 1\)"),
        (torch.tensor([], dtype=torch.int64), ValueError, r"numbers must be non-empty .* got shape \(0,\)"),
        (torch.tensor([42, 9]), ValueError, "numbers must be from 10 to 99, got 9"),
        (torch.tensor([42, 100]), ValueError, "numbers must be from 10 to 99, got 100"),
        (torch.tensor([42], device="meta"), ValueError, "numbers must be on cpu, .* got meta"),
    ],
)
def test_bad_numbers_are_named(what, error, message):
    for way in (tables().draw, tables().deal):
        with pytest.raises(error, match=message):
            way(what, generator=seeded(0))


def test_a_bad_generator_is_named():
    for way in ("draw", "deal"):
        with pytest.raises(TypeError, match=r"generator must be a torch.Generator, got int"):
            getattr(tables(), way)(torch.tensor([42]), generator=0)
        with pytest.raises(ValueError, match=r"generator must be on meta, .* got one on cpu"):
            getattr(tables().to("meta"), way)(torch.tensor([42], device="meta"), generator=seeded(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split must be one of 'train', 'test', got 'valid'"),
        ({"collection": "usps"}, "collection must be one of 'mnist', 'uci', got 'usps'"),
        ({"strength": 1.5}, "strength must be a number from 0 .*, got 1.5"),
        ({"strength": -1}, "strength must be a number from 0 .*, got -1"),
    ],
)
def test_bad_load_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        numbers.load(**arguments)
