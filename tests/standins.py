"""Small files in the formats of the real data sets, for the tests of xlib.online.full."""

import bz2
import contextlib
import gzip
import hashlib
import io
import tarfile

import numpy as np
import scipy.io
from flaky_server import Flaky
from PIL import Image
from torchvision import datasets

from xlib.online import full

RANDOM = np.random.default_rng(7)
USPS = RANDOM.uniform(-1, 1, (5, 16, 16)), np.array([0, 9, 3, 3, 1])
SVHN = RANDOM.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8), np.array([0, 1, 2, 9, 0, 5])
SIZES = {"train": 40, "t10k": 12}


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """The format of MNIST's files: two zero bytes, the type (8 is uint8), the dimensions, big-endian sizes, bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def mnist_files(count: dict[str, int]) -> dict[str, bytes]:
    """The four packed files of MNIST with `count` ("train", "t10k") random digits."""
    random, files = np.random.default_rng(0), {}
    for split, n in count.items():
        files[f"{split}-images-idx3-ubyte.gz"] = gzip.compress(idx(random.integers(0, 256, (n, 28, 28))))
        files[f"{split}-labels-idx1-ubyte.gz"] = gzip.compress(idx(random.integers(0, 10, n)))
    return files


def usps_file(images: np.ndarray, labels: np.ndarray) -> bytes:
    """(N, 16, 16) in [-1, 1] and digits 0 to 9 in LIBSVM's text format, where the classes are 1 to 10."""
    lines = [
        " ".join([str(label + 1), *(f"{i}:{value:.4f}" for i, value in enumerate(image.ravel(), start=1))])
        for image, label in zip(images, labels, strict=True)
    ]
    return bz2.compress("\n".join([*lines, ""]).encode())


def svhn_file(images: np.ndarray, labels: np.ndarray) -> bytes:
    """(N, 32, 32, 3) uint8 and digits in MATLAB's format, pictures along the last axis, digit 0 as class 10."""
    file = io.BytesIO()
    classes = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    scipy.io.savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": classes}, do_compression=True)
    return file.getvalue()


def photographs_file(splits: dict[str, int]) -> bytes:
    """BSDS500's archive with so many smooth random pictures a split, every other one upright; and other files."""
    random, file = np.random.default_rng(1), io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(f"BSR/BSDS500/data/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        for split, count in splits.items():
            for number in range(count):
                size = (481, 321) if number % 2 == 0 else (321, 481)
                coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
                jpg = io.BytesIO()
                coarse.resize(size, Image.Resampling.BICUBIC).save(jpg, "JPEG")
                add(f"images/{split}/{100 + number}.jpg", jpg.getvalue())
                add(f"groundTruth/{split}/{100 + number}.mat", b"not a picture")
            add(f"images/{split}/Thumbs.db", b"not a picture either")
    return file.getvalue()


@contextlib.contextmanager
def served(tmp_path, monkeypatch):
    """All of them on a server, in place of the real ones: their addresses, and the digests of the small files. In the
    test split of USPS and SVHN everything stands in the reverse order."""
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.5")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    mnist, photographs = mnist_files(SIZES), photographs_file({"train": 3, "val": 1, "test": 2})
    with Flaky(files={f"mnist/{name}": data for name, data in mnist.items()}) as flaky:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{flaky.url}/away/", f"{flaky.url}/mnist/"])
        monkeypatch.setattr(datasets.MNIST, "resources", [(name, md5(data)) for name, data in mnist.items()])
        flaky.files["photographs"] = photographs
        monkeypatch.setattr(full, "PHOTOGRAPHS", (f"{flaky.url}/photographs",))
        monkeypatch.setattr(full, "PHOTOGRAPHS_DIGEST", f"gzip:{len(photographs)}")
        for dataset, pack, content in ((datasets.USPS, usps_file, USPS), (datasets.SVHN, svhn_file, SVHN)):
            places = {}
            for split, order in (("train", 1), ("test", -1)):
                name = f"{split}-{dataset.__name__}"
                flaky.files[name] = pack(*(part[::order] for part in content))
                places[split] = [f"{flaky.url}/{name}", dataset.split_list[split][1], md5(flaky.files[name])]
            monkeypatch.setattr(dataset, "split_list", places)
        yield flaky
