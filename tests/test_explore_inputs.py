"""What `explore` may be given: numbers, columns and pictures of every make, each with its right value."""

import decimal
import io
import json
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from xlib.explore import ExplorerModel, inputs, pictures

Z = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
NAN = float("nan")


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ---- embeddings


def frozen(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def rows(values):
    """An object array of rows, as a parquet column holds them."""
    found = np.empty(len(values), object)
    found[:] = list(values)
    return found


NUMBERS = {
    "reversed": Z[::-1].copy()[::-1],
    "big-endian": Z.astype(">f4"),
    "big-endian double": Z.astype(">f8"),
    "Fortran": np.asfortranarray(Z),
    "read-only": frozen(Z),
    "object": Z.astype(object),
    "object rows": rows(Z),
    "double": Z.astype(np.float64),
    "long double": Z.astype(np.longdouble),
    "lists": Z.tolist(),
    "tuples": tuple(map(tuple, Z.tolist())),
    "list of arrays": list(Z),
    "list of tensors": [torch.tensor(z, requires_grad=True) for z in Z],
    "list of lists of scalars": [list(z) for z in Z],
    "decimals": [[decimal.Decimal(str(v)) for v in z] for z in Z],
    "DataFrame": pd.DataFrame(Z),
    "nullable DataFrame": pd.DataFrame(Z).astype("Float32"),
    "Arrow DataFrame": pd.DataFrame(Z).astype("float[pyarrow]"),
    "object DataFrame": pd.DataFrame(Z).astype(object),
    "Series of arrays": pd.Series(list(Z), index=range(20, 8, -1)),
    "Series of lists": pd.Series(Z.tolist()),
    "table of one column of rows": pd.DataFrame({"embedding": list(Z)}),
    "Arrow": pa.array(Z.tolist()),
    "sparse matrix": scipy.sparse.csr_matrix(Z),
    "masked": np.ma.array(Z),
    "tensor": torch.tensor(Z),
    "parameter": torch.nn.Parameter(torch.tensor(Z)),
    "transposed tensor": torch.tensor(Z).T.contiguous().T,
    "sparse tensor": torch.tensor(Z).to_sparse(),
    "one snapshot": torch.tensor(Z)[None],
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_embeddings_of_any_make_are_the_same_numbers(kind):
    found = inputs.snapshots(NUMBERS[kind])
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float32, (1, 12, 6), True)
    np.testing.assert_allclose(found[0], Z, rtol=1e-6)


def test_embeddings_backwards_stay_backwards():
    np.testing.assert_array_equal(inputs.snapshots(Z[::-1, ::-1])[0], Z[::-1, ::-1])


DTYPES = "bool int8 uint8 int16 >i2 int64 >i8 float16 >f2 float32 >f4 float64 >f8".split()  # noqa: SIM905


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.sampled_from("CFKA"),
    st.sampled_from([(5, 3), (1, 5, 3), (4, 5, 3), (2, 2)]),
    st.integers(0, 9),
)
def test_any_dtype_and_order(dtype, order, shape, seed):
    x = np.random.default_rng(seed).integers(0, 9, shape).astype(dtype, order=order)[..., ::-1]
    found = inputs.snapshots(x)
    np.testing.assert_array_equal(found, np.array(x.tolist(), np.float32).reshape(found.shape))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_any_dtype_of_torch(dtype):
    x = torch.tensor([[0, 1], [1, 0], [1, 1]], dtype=dtype)
    assert inputs.snapshots(x)[0].tolist() == [[0, 1], [1, 0], [1, 1]]
    assert inputs.snapshots([x, x]).shape == inputs.snapshots([x.tolist()] * 2).shape == (2, 3, 2)


def test_a_file_that_is_mapped_is_read_without_a_warning(tmp_path):
    np.save(tmp_path / "z.npy", Z)
    model = ExplorerModel(np.load(tmp_path / "z.npy", mmap_mode="r"))
    assert model.frames.shape == (1, 12, 2)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ("numbers", TypeError, "embeddings must be a torch.Tensor or numpy array, or rows of numbers, got str"),
        ({"a": 1}, TypeError, "got dict"),
        (None, TypeError, "got NoneType"),
        ((row for row in Z), TypeError, "got generator"),
        ([["a", "b"]] * 3, TypeError, "embeddings must hold real numbers, got .*'a'"),
        (np.array([["1", "2"]] * 3, object), TypeError, "must hold real numbers, got str '1' in row 0"),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), TypeError, "embeddings, column 'b', must hold .* got str 'x'"),
        (Z + 1j, TypeError, "must hold real numbers, got complex"),
        (np.array([["2020-01-01"] * 2] * 3, "M8[D]"), TypeError, "real numbers, got datetime64"),
        ([[1, 2], [1, 2, 3]], ValueError, r"rows of one shape, got \(2,\) first and \(3,\) in row 1"),
        ([Z, Z[:5]], ValueError, r"rows of one shape, got \(12, 6\) first and \(5, 6\) in row 1"),
        ([[1.0, None], [2.0, 3.0]], ValueError, "finite, got NaN or infinity, first in snapshot 0, row 0"),
        (pd.DataFrame({"a": [1, pd.NA], "b": [1, 2]}, dtype="Int64"), ValueError, "finite, .* row 1"),
        (np.ma.array(Z, mask=Z > 9) + np.ma.array(Z, mask=np.arange(72).reshape(12, 6) == 8), ValueError, "row 1"),
        (Z.astype(float) * 1e300, ValueError, r"range of 32-bit numbers .* snapshot 0, row 0: scale them"),
        (np.diag([1.0, 1e-50]), ValueError, "got 1e-50 as the largest of snapshot 0, row 1"),
        ([[10**400, 1], [1, 1]], ValueError, "range of 64-bit numbers"),
        ([], ValueError, "embeddings must have shape"),
        ([1.0, 2.0], ValueError, r"embeddings must have shape .* got \(2,\)"),
    ],
)
def test_what_are_no_embeddings_is_refused_by_name(bad, error, message):
    with pytest.raises(error, match=message):
        inputs.snapshots(bad)


# ---- columns

GAPS = {
    "None": ["a", None, "b"],
    "nan": ["a", NAN, "b"],
    "np.nan": np.array(["a", np.nan, "b"], object),
    "NA": ["a", pd.NA, "b"],
    "NaT": ["a", pd.NaT, "b"],
    "numpy's NaT": ["a", np.datetime64("NaT"), "b"],
    "a categorical": pd.Series(["a", None, "b"], dtype="category"),
    "string": pd.Series(["a", None, "b"], dtype="string", index=[7, 3, 5]),
    "Arrow in pandas": pd.Series(["a", None, "b"], dtype=pd.ArrowDtype(pa.string())),
    "Arrow": pa.array(["a", None, "b"]),
    "masked": np.ma.array(["a", "x", "b"], mask=[0, 1, 0]),
    "a list of masked": list(np.ma.array(["a", "x", "b"], mask=[0, 1, 0])),
    "a table of one column": pd.DataFrame({"label": ["a", None, "b"]}),
}
COUNTS = {
    "floats": pd.Series([2, np.nan, 1]),
    "half": np.array([2, np.nan, 1], np.float16),
    "big-endian": np.array([2, np.nan, 1], ">f8"),
    "Int64": pd.Series([2, None, 1], dtype="Int64"),
    "Arrow": pd.Series([2, None, 1], dtype="int64[pyarrow]"),
    "object": [2, None, np.float32(1)],
    "decimals": [decimal.Decimal(2), decimal.Decimal("NaN"), decimal.Decimal(1)],
    "masked": np.ma.array([2, 7, 1], mask=[0, 1, 0]),
    "a list of masked": list(np.ma.array([2, 7, 1], mask=[0, 1, 0])),
    "bfloat16": torch.tensor([2, NAN, 1]).bfloat16(),
    "tensors": [torch.tensor(2), None, torch.tensor([1.0])],
    "a column": np.array([[2], [NAN], [1]]),
}


@pytest.mark.parametrize("kind", GAPS)
def test_a_missing_name_of_any_make_is_none(kind):
    column = GAPS[kind]
    assert inputs.labels(column, 3) == inputs.domains(column, 3) == ["a", None, "b"]
    assert inputs.captions(column, 3) == ["a", "1", "b"]
    assert inputs.modality(column, 3, np.array([-1, -1, 0])) == ["a", "text", "b"]


@pytest.mark.parametrize("kind", COUNTS)
def test_whole_floats_are_ints_and_what_is_missing_is_none(kind):
    column = COUNTS[kind]
    found = inputs.labels(column, 3)
    assert found == [2, None, 1]
    assert [type(v) for v in found] == [int, type(None), int]
    assert inputs.captions(column, 3) == ["2", "1", "1"]
    assert inputs.domains(column, 3) == ["2", None, "1"]
    assert inputs.pairs(pd.Series([2, np.nan, 1]), 3).tolist() == [2, -1, 1]
    np.testing.assert_array_equal(inputs.values(column, 3), [2, np.nan, 1])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([True, np.bool_(False), None], ["True", "False", None]),
        (pd.Series([True, None, False], dtype="boolean"), ["True", None, "False"]),
        (np.array([b"a", b"\xc3\xa9", b"c"]), ["a", "é", "c"]),
        (
            [pd.Timestamp("2020-01-01"), pd.NaT, pd.Timestamp("2020-01-02 10:00")],
            ["2020-01-01", None, "2020-01-02 10:00:00"],
        ),
        (np.array(["2020-01-01", "NaT", "2020-01-02"], "M8[D]"), ["2020-01-01", None, "2020-01-02"]),
        (pd.cut([1, 2, 3], [0, 2, 4]), ["(0, 2]", "(0, 2]", "(2, 4]"]),
        ([Path("a/b"), "x\ud800", 3], ["a/b", "x?", 3]),
        (range(3), [0, 1, 2]),
        (torch.tensor([2, 0, 1], dtype=torch.uint8), [2, 0, 1]),
        (None, [None, None, None]),
    ],
)
def test_labels_of_other_kinds(column, expected):
    assert inputs.labels(column, 3) == expected


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([0.5, 1, 2], TypeError, r"labels\[0\] has the wrong type float: 0.5; numbers on a scale belong in values="),
        (pd.Series([1.0, np.nan, 0.25]), TypeError, r"labels\[0\] .* values="),
        ([1.0, 2.0, float("inf")], TypeError, r"labels\[0\] has the wrong type float"),
        ([["a"], ["b"], ["c"]], TypeError, r"labels\[0\] has the wrong type list"),
        ({"a": 1, "b": 2, "c": 3}, TypeError, "labels must be a sequence of 3 entries, got dict"),
        ("abc", TypeError, "labels must be a sequence of 3 entries, got str"),
        (np.eye(3), ValueError, r"labels must have 3 entries in one column, got shape \(3, 3\)"),
        (pd.DataFrame(np.eye(3)), ValueError, r"one column, got shape \(3, 3\)"),
        (["a"], ValueError, "labels must have 3 entries, got 1"),
    ],
)
def test_what_are_no_labels_is_refused_by_name(bad, error, message):
    with pytest.raises(error, match=message):
        inputs.labels(bad, 3)


def test_values_are_numbers():
    np.testing.assert_array_equal(inputs.values([0.1, None, True], 3), [0.1, np.nan, 1])
    np.testing.assert_array_equal(inputs.values(np.array([0.1, 0.2], np.float32), 2), [0.1, 0.2])
    with pytest.raises(TypeError, match=r"values\[1\] must be a number or missing, got str 'high'"):
        inputs.values([1, "high"], 2)
    with pytest.raises(TypeError, match=r"values\[0\] must be a number or missing, got Timestamp"):
        inputs.values(pd.to_datetime(["2020-01-01", "2020-01-02"]), 2)
    with pytest.raises(ValueError, match="values must be finite or missing, got inf in row 1"):
        inputs.values([1, float("inf")], 2)


def test_captions_are_row_numbers_where_there_are_none():
    assert inputs.captions(None, 3) == ["0", "1", "2"]
    assert inputs.captions([1.5, np.str_("x"), ""], 3) == ["1.5", "x", ""]
    with pytest.raises(TypeError, match=r"captions\[1\] has the wrong type list: \['a', 'b'\]"):
        inputs.captions(["a", ["a", "b"]], 2)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list, pd.DataFrame, lambda x: np.asarray(x, ">f4")])
def test_coordinates_are_one_map_or_one_of_each_snapshot(kind):
    xy = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert inputs.coordinates(kind(xy), 3, 2).tolist() == [xy, xy]
    assert inputs.coordinates([kind(xy), kind(xy)], 3, 2).tolist() == [xy, xy]
    with pytest.raises(ValueError, match=r"coordinates must have shape \(4, 2\), x and y of each item, got \(3, 2\)"):
        inputs.coordinates(kind(xy), 4, 1)
    with pytest.raises(ValueError, match=r"coordinates must be finite, .* row 1"):
        inputs.coordinates(kind([[0.0, 1.0], [2.0, NAN], [4.0, 5.0]]), 3, 2)


def test_fifty_thousand_ids_are_quick():
    ids = [f"item {i}" for i in range(50_000)]
    start = time.perf_counter()
    assert inputs.labels(pd.Series(ids), 50_000) == ids
    names, rows_of = inputs.codes(ids)
    assert time.perf_counter() - start < 2  # a quadratic search takes minutes
    assert names == ids
    assert (rows_of == np.arange(50_000)).all()
    assert inputs.codes(["b", None, "b"])[1].tolist() == [0, 1, 0]


# ---- pictures

RED = Image.new("RGB", (8, 8), (200, 30, 30))
GREY = [81, 81, 81, 255]


def pixel(image, at=(0.5, 0.5)):
    """The colour in the middle of the only picture's thumbnail."""
    cells = pictures.thumbnails([image], 1)[1]
    _, height, width, _ = cells.shape
    return cells[0, int(height * at[0]), int(width * at[1])].tolist()


def lab():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(RED, ImageCms.buildTransform(*profiles, "RGB", "LAB"))


PLAIN = "RGB RGBA RGBX CMYK YCbCr HSV L LA I F I;16 I;16B 1 P".split()  # noqa: SIM905
MODES = {mode: RED.convert(mode) for mode in PLAIN} | {
    "RGBa": RED.convert("RGBA").convert("RGBa"),
    "La": RED.convert("LA").convert("La"),
    "PA": RED.convert("P").convert("PA"),
    "LAB": lab(),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_of_any_mode_has_its_true_colours(mode):
    true = {"1": [0, 0, 0, 255], "P": [204, 51, 51, 255], "PA": [204, 51, 51, 255]}  # the nearest of that palette
    expected = true.get(mode, GREY if mode[0] in "LIF" and mode != "LAB" else [200, 30, 30, 255])
    before = MODES[mode].tobytes()
    np.testing.assert_allclose(pixel(MODES[mode]), expected, atol=2)
    assert MODES[mode].tobytes() == before


def test_what_is_transparent_stays_so():
    palette = RED.convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert pixel(palette)[3] == 0
    assert pixel(Image.new("RGBA", (9, 9), (1, 2, 3, 0)))[3] == 0
    assert pixel(Image.new("LA", (9, 9), (100, 128))) == [100, 100, 100, 128]


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("array", "grey"),
    [
        (np.full((5, 7), 100, np.uint8), 100),
        (np.full((1, 5, 7), 100, np.uint8), 100),
        (np.full((5, 7, 1), 100, np.uint8), 100),
        (np.full((1, 1000), 100, np.uint8), 100),
        (np.full((5, 7), True), 255),
        (np.full((5, 7), 100), 100),  # ints
        (np.full((5, 7), 40_000, np.uint16), 156),
        (np.full((5, 7), 0.5, np.float16), 128),
        (np.full((5, 7), 0.5, ">f8"), 128),
        ([[0.5] * 7] * 5, 128),
        (torch.full((5, 7), 0.5, requires_grad=True), 128),
        (torch.full((3, 5, 7), 0.5).bfloat16(), 128),
        (torch.full((3, 5, 7), 0.5).half(), 128),
        (Image.fromarray(np.full((5, 7), 40_000, np.int32)), 156),
        (Image.fromarray(np.full((5, 7), 0.5, np.float32)), 128),
        (Image.fromarray(np.full((5, 7), 100, np.float32)), 100),
        (saved(Image.fromarray(np.full((5, 7), 40_000, np.uint16)), "PNG"), 156),
        (saved(Image.fromarray(np.full((5, 7), 200, np.uint16)), "PNG"), 200),  # as `data.pictures` has it
        (saved(Image.fromarray(np.full((5, 7), 40_000, np.uint16)), "TIFF"), 156),
    ],
)
def test_greys_are_the_greys_they_are(array, grey):
    assert pixel(array) == [grey, grey, grey, 255]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_photographs_stand_upright(tmp_path, kind, orientation):
    """Taken with a phone held on its side: blue is on the left as stored, red on the right."""
    stored = Image.new("RGB", (120, 90), (200, 30, 30))
    stored.paste((0, 0, 255), (0, 0, 60, 90))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{kind.lower()}"
    stored.save(path, exif=exif)
    blue = {1: (0.5, 0.1), 3: (0.5, 0.9), 6: (0.1, 0.5), 8: (0.9, 0.5)}[orientation]
    with Image.open(path) as lazy:
        size = lazy.size
        loaded = Image.open(io.BytesIO(path.read_bytes()))
        loaded.load()
        for picture in (path, str(path), lazy, loaded, path.read_bytes(), io.BytesIO(path.read_bytes())):
            np.testing.assert_allclose(pixel(picture, blue), [0, 0, 255, 255], atol=8)
            np.testing.assert_allclose(pixel(picture, (1 - blue[0], 1 - blue[1])), [200, 30, 30, 255], atol=8)
        assert lazy.size == size
        assert lazy.getexif()[0x0112] == orientation


def test_a_photograph_with_an_odd_note_stands_upright(tmp_path):
    """Its resolution is below 0, which PIL can read and not write."""
    turned, resolution = struct.pack("<HHIHxx", 0x0112, 3, 1, 6), struct.pack("<HHII", 0x011A, 10, 1, 38)
    note = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + turned + resolution + bytes(4) + struct.pack("<ii", -72, 1)
    RED.resize((20, 10)).save(tmp_path / "odd.jpg", exif=note)
    assert pictures.thumbnails([tmp_path / "odd.jpg"], 1)[1].shape == (1, 20, 10, 4)


def test_of_a_moving_picture_the_frame_it_is_at():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime")]
    moving = Image.open(io.BytesIO(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    assert pixel(moving) == [255, 0, 0, 255]
    moving.seek(1)
    assert pixel(moving) == [0, 255, 0, 255]
    assert moving.tell() == 1


def test_a_photograph_for_print():
    ink = Image.new("CMYK", (300, 200), (0, 200, 200, 20))
    np.testing.assert_allclose(pixel(saved(ink, "JPEG")), [*ink.convert("RGB").getpixel((0, 0)), 255], atol=3)


class Dataset:
    """As a torch Dataset: each picture is made when it is asked for, beside its label."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return (None if i == 1 else RED), 7  # with no end of its own


@pytest.mark.parametrize(
    "images",
    [
        Dataset(),
        [RED, None, np.asarray(RED)],
        [RED, NAN, {"bytes": saved(RED, "PNG"), "path": None}],
        pd.Series([RED, None, RED], index=[5, 3, 1]),
        pd.DataFrame({"image": [RED, pd.NA, RED]}),
        np.array([RED, None, RED], object),
        [np.asarray(RED), "", torch.tensor(np.asarray(RED)).permute(2, 0, 1)],
    ],
)
def test_pictures_come_in_any_container_and_some_may_be_missing(images):
    sprites, cells = inputs.thumbnails(images, 3)
    assert sprites.tolist() == [0, -1, 1]
    assert cells.shape == (2, 8, 8, 4)
    assert (cells == [200, 30, 30, 255]).all()


def test_paths_of_every_make_and_sizes_of_every_shape(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    RED.save(tmp_path / "red.png")
    Image.new("RGB", (1000, 1), "lime").save(tmp_path / "line.png")
    column = pd.Series(["~/red.png", None, str(tmp_path / "line.png")], dtype="string")
    sprites, cells = inputs.thumbnails(column, 3)
    assert sprites.tolist() == [0, -1, 1]
    assert cells.shape == (2, 8, 48, 4)
    assert cells[0, 4, 24].tolist() == [200, 30, 30, 255]
    assert cells[1, 3, 24].tolist() == [0, 255, 0, 255]
    assert cells[1, 7, 24, 3] == 0


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ("nowhere.png", ValueError, r"images\[1\] could not be read: .*No such file .*nowhere.png"),
        (Path("/"), ValueError, r"images\[1\] could not be read: .*'/'"),
        ("https://example.org/a.png", ValueError, r"images\[1\] .* is an address"),
        (b"no picture", ValueError, r"images\[1\] could not be read: cannot identify"),
        (saved(RED.resize((300, 300)), "PNG")[:200], ValueError, r"images\[1\] could not be read"),
        (
            Image.new("RGB", (0, 5)),
            ValueError,
            r"images\[1\] could not be read: a picture must have pixels, got 0 x 5",
        ),
        (object(), TypeError, r"images\[1\] must be a PIL image, an array, a tensor, a file's path .* got object"),
        ({"a": 1}, TypeError, r"images\[1\] must be a PIL image, .* got dict"),
        (np.zeros((0, 5)), ValueError, r"images\[1\] must have shape"),
        (np.full((5, 5), np.nan), ValueError, r"images\[1\] must be uint8, .* got float64, nan to nan"),
        (np.full((5, 5), 200.0), ValueError, r"images\[1\] must be uint8, .* got float64, 200.0 to 200.0"),
        ("HTTPS://example.org/a.png", ValueError, r"images\[1\] .* is an address"),
        (np.full((5, 5), -5), ValueError, r"images\[1\] must be uint8, or whole numbers .* got int64, -5 to -5"),
        (np.array([["a"]]), TypeError, r"images\[1\] must be a PIL image"),
    ],
)
def test_what_is_no_picture_is_named_with_its_row(bad, error, message):
    with pytest.raises(error, match=message):
        inputs.thumbnails([RED, bad], 2)


@pytest.mark.parametrize("bad", ["ab", {"a": 1, "b": 2}, iter([1, 2]), 5])
def test_what_is_no_sequence_of_pictures_is_refused(bad):
    with pytest.raises(TypeError, match="images must be a sequence of 2 pictures, got"):
        inputs.thumbnails(bad, 2)


def test_all_of_it_reaches_the_explorer():
    table = pd.DataFrame({"name": ["a", None, "b"], "kind": [1.0, np.nan, 2.0], "z": list(Z[:3])})
    model = ExplorerModel(table["z"], captions=table["name"], labels=table["kind"], images=[RED.convert("L")] * 3)
    assert (model.captions, model.labels, model.classes) == (["a", "1", "b"], [1, None, 2], [1, 2])
    assert model.thumbnails[1, 4, 4].tolist() == GREY
    assert json.dumps(model.captions)
