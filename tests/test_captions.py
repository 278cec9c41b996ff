"""The caption sets, from stand-ins of their parquet files as the library `datasets` writes them."""

import builtins
import io
import sys

import datasets
import pyarrow.parquet
import pytest
import torch
from fake_hub import FakeHub
from PIL import Image

from xlib.data.pictures import as_rgb
from xlib.online import captions
from xlib.online.download import Unavailable

COLOURS = ["red", "green", "blue"]


def jpeg(colour, mode="RGB"):
    file = io.BytesIO()
    Image.new("RGB", (20, 10), colour).convert(mode).save(file, "JPEG")
    return file.getvalue()


def parquet(rows, features, *, keep_notes=True):
    """keep_notes: whether the library's notes on the features stay in the file, or bytes and text alone."""
    file = io.BytesIO()
    datasets.Dataset.from_list(rows, features=datasets.Features(features)).to_parquet(file)
    if not keep_notes:
        table, file = pyarrow.parquet.read_table(file).replace_schema_metadata(), io.BytesIO()
        pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def flickr8k_rows(colours, **options):
    """The schema of jxie/flickr8k."""
    text = datasets.Value("string")
    features = {"image": datasets.Image(), **{f"caption_{number}": text for number in range(5)}}
    rows = [
        {"image": {"bytes": jpeg(colour), "path": None}}
        | {f"caption_{number}": f" {colour}, {number} .\n" for number in range(5)}
        for colour in colours
    ]
    return parquet(rows, features, **options)


def coco_rows(colours, *, mode="RGB"):
    """The schema of lmms-lab/COCO-Caption2017."""
    text, small, large = (datasets.Value(kind) for kind in ("string", "int32", "int64"))
    features = {
        "question_id": text,
        "image": datasets.Image(),
        "question": text,
        "answer": [text],
        "id": large,
        "license": datasets.Value("int8"),
        "file_name": text,
        "coco_url": text,
        "height": small,
        "width": small,
        "date_captured": text,
    }
    rows = [
        {
            "question_id": f"{number}.jpg",
            "image": {"bytes": jpeg(colour, mode), "path": f"{number}.jpg"},
            "question": "Please carefully observe the image and come up with a caption for the image.",
            "answer": [f"{colour}, {place}" for place in range(5 + number)],
            "id": number,
            "license": 1,
            "file_name": f"{number}.jpg",
            "coco_url": "",
            "height": 10,
            "width": 20,
            "date_captured": "2013-11-14 11:18:45",
        }
        for number, colour in enumerate(colours)
    ]
    return parquet(rows, features)


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "theirs"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "arrow")
    with FakeHub() as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        yield fake


@pytest.fixture
def flickr8k(server):
    one, two = captions._FLICKR8K["train"]
    files = {one: flickr8k_rows(COLOURS[:2]), two: flickr8k_rows(COLOURS[2:])}
    files |= {captions._FLICKR8K["test"][0]: flickr8k_rows(["black", "white"], keep_notes=False)}
    server.add("jxie/flickr8k", "56f58c967835f7c508d684f36bd7897cca9d7634", files, kind="dataset")
    return server


@pytest.fixture
def coco(server):
    files = dict(zip(captions._COCO["val"], (coco_rows(COLOURS), coco_rows(["grey"], mode="L")), strict=True))
    server.add("lmms-lab/COCO-Caption2017", "3bdd5827e243cc3084ac69a1111e69c3ab9193ff", files, kind="dataset")


@pytest.mark.usefixtures("flickr8k")
def test_flickr8k_has_five_captions_for_each_picture():
    data = captions.flickr8k("train")
    assert len(data.images) == len(data.captions) == 3
    assert data.captions[2] == [f"blue, {number} ." for number in range(5)]
    assert data.texts == [caption for own in data.captions for caption in own]
    assert data.owner.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert data.owner.dtype == torch.int64
    for image, colour in zip(data.images, COLOURS, strict=True):
        assert (image.mode, image.size) == ("RGB", (20, 10))
        expected = Image.open(io.BytesIO(jpeg(colour))).getpixel((3, 3))
        assert image.getpixel((3, 3)) == expected


@pytest.mark.usefixtures("coco")
def test_coco_has_as_many_captions_as_were_written_and_grey_pictures_come_in_rgb():
    data = captions.coco()
    assert [len(own) for own in data.captions] == [5, 6, 7, 5]
    assert data.captions[1][5] == "green, 5"
    assert data.owner.bincount().tolist() == [5, 6, 7, 5]
    assert {image.mode for image in data.images} == {"RGB"}
    assert data.images[3].getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.usefixtures("flickr8k")
def test_pictures_are_decoded_when_they_are_asked_for(monkeypatch):
    decoded = []
    monkeypatch.setattr(captions, "as_rgb", lambda image: decoded.append(1) or as_rgb(image))
    images = captions.flickr8k("train").images
    assert decoded == []
    assert [image.size for image in images[1:]] == [(20, 10)] * 2
    assert len(decoded) == 2
    assert images[-1].getpixel((0, 0)) == images[torch.tensor(2)].getpixel((0, 0))
    with pytest.raises(IndexError):
        images[3]


def test_a_split_alone_is_fetched_and_then_no_network_is_needed(flickr8k, monkeypatch):
    assert len(captions.flickr8k("test").images) == 2
    assert [head.rsplit("/", 1)[1] for head in flickr8k.heads] == ["test-00000-of-00001-42a2661d12c73e48.parquet"]
    asked = len(flickr8k.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = captions.flickr8k("test")
    assert data.captions[1][0] == "white, 0 ."
    assert data.images[1].getpixel((0, 0)) == (255, 255, 255)
    assert len(flickr8k.asked) == asked
    with pytest.raises(Unavailable, match=r"train-00000.*is not there, and HF_HUB_OFFLINE is set"):
        captions.flickr8k("train")


@pytest.mark.usefixtures("flickr8k")
def test_splits_do_not_get_mixed_up_in_the_librarys_own_cache():
    assert [len(captions.flickr8k(split).images) for split in ("train", "test", "train")] == [3, 2, 3]


def test_a_file_that_the_library_cannot_read_is_one_sentence(server):
    files = {captions._FLICKR8K["test"][0]: b"PAR1, so it says"}
    server.add("jxie/flickr8k", "56f58c967835f7c508d684f36bd7897cca9d7634", files, kind="dataset")
    with pytest.raises(
        Unavailable, match=r"fetched and verified, and cannot be read \(\w+: .*run this again"
    ) as raised:
        captions.flickr8k("test")
    assert raised.value.__suppress_context__
    assert "\n" not in str(raised.value)


def test_without_the_library_it_says_what_to_install(server, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "datasets")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match="needs the library datasets: pip install datasets"):
        captions.coco()
    assert not server.heads


@pytest.mark.parametrize("load", [captions.flickr8k, captions.coco])
def test_an_unknown_split_is_named(load):
    with pytest.raises(ValueError, match=r"split must be one of .* got 'dev'"):
        load("dev")


@pytest.mark.parametrize(
    ("images", "own", "message"),
    [
        ([1, 2], [["a"]], "captions must hold 2 lists, one a picture, got 1"),
        ([1], [["a"], ["b"]], "captions must hold 1 lists, one a picture, got 2"),
        (
            [1, 2],
            [["a"], []],
            r"captions\[1\] must be a list of one or more strings, got \[\]",
        ),  # `_draw` took the next one's
        (
            [1, 2],
            ["a dog", "a cat"],
            r"captions\[0\] must be a list of one or more strings, got 'a dog'",
        ),  # by letters
        ([1, 2], [["a"], None], r"captions\[1\] must be a list of one or more strings, got None"),
        ([1, 2], [["a"], float("nan")], r"captions\[1\] must be a list of one or more strings, got nan"),
        ([1, 2], [["a"], ["b", None]], r"captions\[1\] must be a list of one or more strings, got \['b', None\]"),
        ([], [], "images must not be empty"),
    ],
)
def test_each_picture_has_captions(images, own, message):
    with pytest.raises(ValueError, match=message):
        captions.Captioned(images=images, captions=own)


def test_pictures_of_any_mode_come_in_rgb_over_white_and_upright():
    held = Image.new("RGB", (4, 3))
    held.getexif()[0x0112] = 6
    given = [Image.new("RGBA", (4, 3)), Image.new("CMYK", (4, 3), (0, 255, 255, 0)), Image.new("I;16", (4, 3), 65535)]
    pictures = captions.Pictures([{"image": image} for image in [*given, held]])
    assert [image.getpixel((0, 0)) for image in pictures] == [(255,) * 3, (255, 0, 0), (255,) * 3, (0,) * 3]
    assert [image.size for image in pictures] == [(4, 3)] * 3 + [(3, 4)]
