"""Handwritten digits: splits that share neither hands nor photographs, and the blend between the two."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from xlib.data import digits

SPLITS = st.sampled_from(digits.SPLITS)
STRENGTHS = st.floats(0, 1, allow_subnormal=False)
SEEDS = st.integers(0, 2**32)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@cache
def stripes(split):
    return digits.photo_stripes(split)


@cache
def stripes_of_pixel_numbers(split):
    """The stripes cut from photographs whose colours count their pixels: 0, 1, 2, ... in base 256."""
    number = np.arange(2 * 427 * 640).reshape(2, 427, 640)
    photos = np.stack((number >> 16, number >> 8 & 255, number & 255), axis=-1).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "load_sample_images", lambda: SimpleNamespace(images=list(photos)))
        return digits.photo_stripes(split)


def pixel_numbers(images):
    red, green, blue = (images * 255).round().long().unbind(-3)
    return (red << 16) + (green << 8) + blue


def test_load_gives_every_scan_once_with_its_label():
    begin, end = digits.TEST_SCANS.start, digits.TEST_SCANS.stop
    train, test = digits.load("train"), digits.load("test")
    scans, labels = (torch.cat((a[:begin], b, a[begin:])) for a, b in zip(train, test, strict=True))
    assert len(test[0]) == end - begin
    pixels, target = load_digits(return_X_y=True)
    assert scans.shape == (1797, 1, 8, 8)
    assert scans.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert np.array_equal(scans.flatten(1).numpy() * 16, pixels)
    assert np.array_equal(labels.numpy(), target)
    assert (scans.min(), scans.max()) == (0, 1)


def test_both_splits_begin_with_the_first_line_of_a_form():
    """Each writer began with 0 to 9 three times, so the cut does not go through anybody's form."""
    start = list(range(10)) * 3
    for split, forms in (("test", 3), ("train", 11)):
        labels = digits.load(split)[1].tolist()
        assert labels[:30] == start
        assert 122 * forms <= len(labels) <= 130 * forms  # a whole number of forms
        assert min(np.bincount(labels)) >= 12 * forms  # no digit is rare


def test_no_scan_is_in_both_splits():
    train, test = (digits.load(split)[0].flatten(1) for split in ("train", "test"))
    assert torch.cdist(train, test).min() > 0.3


def test_photographs_are_shared_out_pixel_by_pixel():
    train, test = (pixel_numbers(stripes_of_pixel_numbers(split)).flatten() for split in ("train", "test"))
    assert not np.intersect1d(train, test).size
    assert torch.equal(torch.cat((train, test)).sort().values, torch.arange(2 * 427 * 640))


@pytest.mark.long
@given(SPLITS, st.integers(1, 64), st.integers(1, 64), st.integers(1, 9), SEEDS)
def test_a_patch_is_a_rectangle_of_one_photograph(split, height, width, count, seed):
    source = stripes_of_pixel_numbers(split)
    patches = digits.random_patches(source, count, height=height, width=width, generator=seeded(seed))
    assert patches.shape == (count, 3, height, width)
    numbers = pixel_numbers(patches)
    expected = numbers[:, :1, :1] + 640 * torch.arange(height)[:, None] + torch.arange(width)
    assert torch.equal(numbers, expected)
    assert torch.isin(numbers, pixel_numbers(source)).all()


def test_patches_come_from_everywhere():
    small = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    patches = digits.random_patches(small, 1000, height=3, width=3, generator=seeded(0))
    places, times = patches[:, 0, 0, 0].unique(return_counts=True)
    assert places.tolist() == [60 * s + 5 * r + c for s in (0, 1) for r in (0, 1) for c in (0, 1, 2)]
    assert times.min() > 40  # 1000 / 12 = 83 expected


def test_patches_do_not_depend_on_the_memory_layout():
    shuffled = stripes("test").permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    a, b = (
        digits.random_patches(source, 5, height=9, width=8, generator=seeded(1))
        for source in (stripes("test"), shuffled)
    )
    assert not shuffled.is_contiguous()
    assert stripes("test").is_contiguous()
    assert torch.equal(a, b)


@settings(max_examples=10)  # each reads all of the data
@given(STRENGTHS, SPLITS, st.sampled_from([8, 16, 28]), SEEDS)
def test_photo_digits_is_the_absolute_difference(strength, split, size, seed):
    images, labels = digits.photo_digits(strength, split=split, size=size, generator=seeded(seed))
    scans, expected_labels = digits.load(split)
    patches = digits.random_patches(stripes(split), len(scans), height=size, width=size, generator=seeded(seed))
    expected = np.abs(strength * patches.double().numpy() - digits.enlarge(scans, size).double().numpy())
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-6)
    assert images.shape == (len(scans), 3, size, size)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(labels, expected_labels)


@settings(max_examples=10)  # each reads all of the data
@given(SPLITS, SEEDS)
def test_strength_0_is_the_clean_digit(split, seed):
    images, _ = digits.photo_digits(0, split=split, generator=seeded(seed))
    assert torch.equal(images, digits.enlarge(digits.load(split)[0], 28).expand(-1, 3, -1, -1))


@pytest.mark.long
@settings(max_examples=10)  # each reads all of the data
@given(SPLITS, SEEDS)
def test_more_strength_is_further_from_clean(split, seed):
    clean, *shifted = (
        digits.photo_digits(strength, split=split, generator=seeded(seed))[0]
        for strength in (0, 0.2, 0.4, 0.6, 0.8, 1)
    )
    distance = [float((images - clean).abs().mean()) for images in shifted]
    assert distance == sorted(distance)
    assert distance[0] > 0.04
    assert distance[-1] > 0.2


def test_at_strength_1_paper_shows_the_photograph_and_ink_its_negative():
    images, _ = digits.photo_digits(1, split="test", size=8, generator=seeded(3))
    scans, _ = digits.load("test")
    patch = digits.random_patches(stripes("test"), len(scans), height=8, width=8, generator=seeded(3))
    paper, ink = (scans.expand_as(images) == value for value in (0, 1))
    assert torch.equal(images[paper], patch[paper])
    torch.testing.assert_close(images[ink], 1 - patch[ink])


@given(st.integers(8, 64), SEEDS)
def test_enlarge_is_a_clipped_bicubic_resize(size, seed):
    """Against Keys' cubic kernel (1981) with a = −.75, as a matrix that acts on rows and on columns."""
    scans = torch.rand(3, 1, 8, 8, generator=seeded(seed)).round(decimals=1)
    matrix = np.zeros((size, 8))
    for i in range(size):
        place = (i + 0.5) * 8 / size - 0.5
        for j in range(-3, 11):
            d = abs(place - j)
            near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[i, min(max(j, 0), 7)] += near if d <= 1 else far if d < 2 else 0
    expected = (matrix @ scans.double().numpy() @ matrix.T).clip(0, 1)
    large = digits.enlarge(scans, size)
    np.testing.assert_allclose(large.numpy(), expected, atol=1e-5)
    assert large.min() >= 0
    assert large.max() <= 1


def test_the_same_generator_state_gives_the_same_images():
    generator = seeded(5)
    first, second = (digits.photo_digits(0.5, generator=generator)[0] for _ in range(2))
    assert torch.equal(first, digits.photo_digits(0.5, generator=seeded(5))[0])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("call", [digits.load, digits.photo_stripes])
def test_an_unknown_split_is_named(call):
    with pytest.raises(ValueError, match=r"split must be one of 'train', 'test', got 'valid'"):
        call("valid")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"split": "valid"}, ValueError, "split must be one of"),
        ({"strength": -0.1}, ValueError, r"strength must be a number from 0 .*, got -0.1"),
        ({"strength": 1.01}, ValueError, "strength must be a number from 0"),
        ({"strength": float("nan")}, ValueError, "strength must be a number from 0 .*, got nan"),
        ({"strength": "1"}, ValueError, "strength must be a number from 0 .*, got '1'"),
        ({"size": 7}, ValueError, "size must be a whole number from 8 to 64, got 7"),
        ({"size": 65}, ValueError, "size must be"),
        ({"size": 28.0}, ValueError, "size must be a whole number from 8 to 64, got 28.0"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, got int"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    arguments = {"strength": 0.5, "generator": seeded(0)} | change
    with pytest.raises(error, match=message):
        digits.photo_digits(arguments.pop("strength"), **arguments)


def test_a_generator_elsewhere_is_refused():
    with pytest.raises(ValueError, match="generator must be on meta, as the data is, got one on cpu"):
        digits.check_generator(seeded(0), torch.device("meta"))
