"""The loaders of the full-scale data sets, on small files in the real formats, from a server on loopback."""

import gzip

import numpy as np
import pytest
import standins
import torch
from standins import SIZES, SVHN, USPS
from torchvision import datasets

from xlib.data import digits
from xlib.online import full
from xlib.online.full import Unavailable


@pytest.fixture
def server(tmp_path, monkeypatch):
    with standins.served(tmp_path, monkeypatch) as flaky:
        yield flaky


@pytest.fixture(autouse=True)
def always_served(server):
    """Also where a test does not look at the server."""


def unpacked(server, name):
    return np.frombuffer(gzip.decompress(server.files[f"mnist/{name}"]), np.uint8)


@pytest.mark.parametrize(("split", "stem"), [("train", "train"), ("test", "t10k")])
def test_mnist_is_read_from_its_own_format(server, split, stem):
    images, labels = full.mnist(split)
    assert (images.shape, images.dtype, labels.dtype) == ((SIZES[stem], 1, 28, 28), torch.uint8, torch.int64)
    assert np.array_equal(images.numpy().ravel(), unpacked(server, f"{stem}-images-idx3-ubyte.gz")[16:])
    assert np.array_equal(labels.numpy(), unpacked(server, f"{stem}-labels-idx1-ubyte.gz")[8:])


def test_what_was_fetched_once_is_read_without_a_network(server, monkeypatch):
    first = [load(split) for load in (full.mnist, full.usps, full.svhn, full.mnist_m) for split in digits.SPLITS]
    asked = len(server.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = [load(split) for load in (full.mnist, full.usps, full.svhn, full.mnist_m) for split in digits.SPLITS]
    assert len(server.asked) == asked
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("split", digits.SPLITS)
def test_usps_is_read_from_its_own_format(split):
    images, labels = full.usps(split)
    pixels, classes = USPS if split == "train" else (USPS[0][::-1], USPS[1][::-1])
    assert (images.shape, images.dtype) == ((5, 1, 16, 16), torch.uint8)
    assert labels.tolist() == classes.tolist()
    assert np.abs(images.numpy()[:, 0] - (pixels + 1) / 2 * 255).max() < 1.1  # cut to whole numbers, of four decimals


@pytest.mark.parametrize("split", digits.SPLITS)
def test_svhn_is_read_from_its_own_format_and_its_ten_is_a_zero(split):
    images, labels = full.svhn(split)
    pixels, classes = SVHN if split == "train" else (SVHN[0][::-1], SVHN[1][::-1])
    assert np.array_equal(images.numpy(), pixels.transpose(0, 3, 1, 2))
    assert (labels.tolist(), labels.dtype) == (classes.tolist(), torch.int64)
    assert images.is_contiguous()


@pytest.mark.parametrize(("split", "count"), [("train", 3), ("test", 2)])
def test_photographs_are_of_one_split_and_one_shape(split, count):
    found = full.photographs(split)
    assert (found.shape, found.dtype) == ((count, 3, 321, 481), torch.uint8)


def test_an_upright_photograph_is_turned_on_its_side(server):
    import io
    import tarfile

    from PIL import Image

    with tarfile.open(fileobj=io.BytesIO(server.files["photographs"])) as archive:
        upright = np.array(Image.open(archive.extractfile("BSR/BSDS500/data/images/train/101.jpg")))
    assert upright.shape == (481, 321, 3)
    assert np.array_equal(full.photographs("train")[1].numpy(), upright.transpose(2, 1, 0))


@pytest.mark.parametrize("split", digits.SPLITS)
def test_mnist_m_is_the_digit_taken_from_a_patch_of_a_photograph(split):
    images, labels = full.mnist_m(split)
    clean, clean_labels = full.mnist(split)
    photographs = full.photographs(split)
    assert (images.shape, images.dtype) == ((len(clean), 3, 28, 28), torch.uint8)
    assert torch.equal(labels, clean_labels)
    for image, digit in zip(images[:4].to(torch.int16), clean[:4].to(torch.int16), strict=True):
        # The patch is digit + image or digit - image, pixel by pixel: look for the one place where that holds.
        places = photographs.to(torch.int16).unfold(2, 28, 1).unfold(3, 28, 1)
        fits = torch.ones(places.shape[0], *places.shape[2:4], dtype=torch.bool)
        for row, column in ((0, 0), (5, 20), (13, 13), (27, 3), (20, 27)):
            patch = places[..., row, column]
            value = image[:, row, column].view(1, 3, 1, 1)
            fits &= ((patch - digit[0, row, column]).abs() == value).all(dim=1)
        assert fits.any()
        photograph, top, left = fits.nonzero()[0].tolist()
        patch = photographs[photograph, :, top : top + 28, left : left + 28].to(torch.int16)
        assert torch.equal((patch - digit).abs(), image)


def test_patches_come_from_everywhere():
    black, white = torch.zeros(1, 3, 40, 60, dtype=torch.uint8), torch.full((1, 3, 40, 60), 255, dtype=torch.uint8)
    empty = torch.zeros(5000, 1, 28, 28, dtype=torch.uint8)
    made = full.on_photographs(empty, torch.cat([black, white]), seed=0)
    assert 0.45 < (made[:, 0, 0, 0] == 255).double().mean() < 0.55
    across = torch.arange(60, dtype=torch.uint8).expand(1, 3, 40, 60)
    assert set(full.on_photographs(empty, across, seed=0)[:, 0, 0, 0].tolist()) == set(range(60 - 28 + 1))


def test_mnist_m_is_the_same_on_every_machine_and_differs_between_the_splits(server, tmp_path, monkeypatch):
    first = full.mnist_m("train")[0]
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "other"))
    assert torch.equal(full.mnist_m("train")[0], first)
    images, photographs = full.mnist("train")[0], full.photographs("train")
    assert not torch.equal(full.on_photographs(images, photographs, seed=1), first)


def test_an_interrupted_download_goes_on_and_the_data_are_right(server):
    name = "train-SVHN"
    server.faults[name] = ["cut"]
    assert torch.equal(full.svhn("train")[0], torch.from_numpy(SVHN[0].transpose(0, 3, 1, 2).copy()))
    assert [wanted for path, wanted in server.asked if path == name] == ["", f"bytes={len(server.files[name]) // 2}-"]


LOADERS = {"mnist": "mnist/train-images-idx3-ubyte.gz", "usps": "train-USPS", "svhn": "train-SVHN"}
LOADERS |= {"photographs": "photographs", "mnist_m": "photographs"}


@pytest.mark.parametrize(("loader", "name"), LOADERS.items())
@pytest.mark.parametrize("fault", ["corrupt", "stall", "cut", "404", "offline"])
def test_every_loader_says_in_one_sentence_what_to_do(server, monkeypatch, loader, name, fault):
    if fault == "404":
        del server.files[name]
    elif fault == "offline":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    else:
        server.faults[name] = [fault] * 6
    with pytest.raises(Unavailable) as caught:
        getattr(full, loader)("train")
    text = str(caught.value)
    assert "run this again" in text or "unset it, or copy the file there" in text
    assert "\n" not in text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("loader", LOADERS)
def test_an_unknown_split_is_refused_before_anything_is_fetched(server, loader):
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', got 'valid'"):
        getattr(full, loader)("valid")
    assert not server.asked


@pytest.mark.parametrize("name", ["train-USPS", "train-SVHN", "photographs", "mnist/train-images-idx3-ubyte.gz"])
def test_a_file_that_is_verified_and_cannot_be_read_is_no_traceback_from_a_library(server, monkeypatch, name):
    wrong = gzip.compress(b"something else")
    server.files[name] = wrong
    monkeypatch.setattr(full, "PHOTOGRAPHS_DIGEST", f"gzip:{len(wrong)}")
    for dataset in (datasets.USPS, datasets.SVHN):
        address, file, _ = dataset.split_list["train"]
        if address.endswith(name):
            monkeypatch.setattr(dataset, "split_list", {"train": [address, file, standins.md5(wrong)]})
    resources = [(n, standins.md5(wrong) if name.endswith(n) else m) for n, m in datasets.MNIST.resources]
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    loader = {value: key for key, value in reversed(LOADERS.items())}[name]
    with pytest.raises(Unavailable, match="fetched and verified, and cannot be read"):
        getattr(full, loader)("train")
