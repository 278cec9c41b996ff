"""Pictures as 8-bit colours: PIL images of every mode, photographs held sideways, files."""

import struct
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from xlib.data.pictures import as_rgb, as_rgba

RED = (200, 30, 30)
GREYS = np.arange(16).reshape(4, 4) * 17  # 0 to 255


def red(mode):
    """A picture of one colour in this mode, by way of a mode from which PIL gets there."""
    image = Image.new("RGB", (4, 3), RED)
    if mode == "LAB":
        profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    by_way = {"La": "LA", "RGBa": "RGBA", "I;16": "L", "I;16L": "L", "I;16B": "L"}
    return image.convert(by_way.get(mode, "RGB")).convert(mode)


@pytest.mark.parametrize(
    ("modes", "expected", "slack"),
    [
        ("RGB RGBA RGBX RGBa CMYK", RED, 0),
        ("YCbCr HSV LAB", RED, 3),
        ("P PA", (204, 25, 25), 26),  # dithered, of PIL's 216 colours
        ("L LA La I F I;16 I;16L I;16B", (81, 81, 81), 0),
        ("1", (0, 0, 0), 255),  # black or white, by dithering
    ],
)
def test_every_mode_keeps_its_colours(modes, expected, slack):
    for mode in modes.split():
        given = red(mode)
        before = given.tobytes()
        for found, size in ((as_rgb(given), 3), (as_rgba(given), 4)):
            assert found.size == (4, 3)
            pixel = found.getpixel((1, 1))
            assert len(pixel) == size
            assert pixel[3:] == (255,) * (size - 3)
            assert np.abs(np.subtract(pixel[:3], expected)).max() <= slack, mode
        assert (given.mode, given.tobytes()) == (mode, before)


def test_black_and_white_are_black_and_white():
    assert as_rgb(Image.new("1", (1, 1), 1)).getpixel((0, 0)) == (255, 255, 255)
    assert as_rgb(Image.new("1", (1, 1), 0)).getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    "greys",
    [
        GREYS.astype(np.int32),
        GREYS.astype(np.float32),
        (GREYS * 257).astype("<u2"),
        (GREYS * 257).astype(">u2"),
        (GREYS * 257).astype(np.int32),  # as older versions of Pillow open a PNG of 16 bits
        (GREYS * 257).astype(np.float32),
        (GREYS / 255).astype(np.float32),
        GREYS.astype(np.int32) * 1000,
        (GREYS * 40 - 1000).astype(np.float32),
        GREYS.astype(np.int32) * (2**31 // 255) - 2**30,
        (GREYS / 255 * 6e38 - 3e38).astype(np.float32),
    ],
)
def test_greys_of_many_bits_are_scaled_and_not_cut_off(greys):
    found = np.asarray(as_rgb(Image.fromarray(greys)))
    assert np.array_equal(found, np.repeat(GREYS[:, :, None], 3, axis=2))


@pytest.mark.parametrize("grey", [np.int32(-5), np.int32(70000), np.float32(-0.5), np.float32(3e38)])
def test_a_picture_of_one_odd_grey_is_black_without_a_warning(grey):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.asarray(as_rgb(Image.fromarray(np.full((2, 3), grey)))).any()


def test_a_deep_grey_that_a_png_calls_clear_is_white_on_a_page(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray((GREYS * 257).astype(np.uint16)).save(path, transparency=34 * 257)
    assert as_rgba(path).getpixel((2, 0)) == (34, 34, 34, 0)
    assert [as_rgb(path).getpixel((x, 0))[0] for x in range(4)] == [0, 17, 255, 51]


def test_a_png_of_16_bits_keeps_its_greys(tmp_path):
    Image.fromarray((GREYS * 257).astype(np.uint16)).save(tmp_path / "deep.png")
    assert np.array_equal(np.asarray(as_rgb(tmp_path / "deep.png"))[:, :, 0], GREYS)


def half_clear(mode):
    """Left half clear, right half red."""
    image = Image.new("RGBA", (4, 2), (*RED, 255))
    image.paste((0, 0, 90, 0), (0, 0, 2, 2))
    if mode == "P":
        image = image.convert("RGB").quantize(2)
        image.info["transparency"] = image.getpixel((0, 0))
        return image
    if mode == "palette":
        return image.quantize(4)  # a palette of colours with an alpha each
    if mode == "RGB":
        image = image.convert("RGB")
        image.info["transparency"] = (0, 0, 90)
        return image
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "palette", "RGB"])
def test_what_is_clear_is_white_on_a_page_and_stays_clear_with_an_alpha(mode):
    given = half_clear(mode)
    assert as_rgb(given).getpixel((0, 0)) == (255, 255, 255)
    assert as_rgba(given).getpixel((0, 0))[3] == 0
    right = as_rgb(given).getpixel((3, 0))
    assert right == as_rgba(given).getpixel((3, 0))[:3] == ((81,) * 3 if mode == "LA" else RED)


def test_half_clear_is_half_white():
    assert as_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 51))).getpixel((0, 0)) == (204, 204, 204)
    assert as_rgb(Image.new("La", (1, 1), (51, 102))).getpixel((0, 0)) == (204, 204, 204)  # grey 127 times its alpha


UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
HELD = {  # by EXIF's number, what the file holds of an upright picture
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: UPRIGHT.T[::-1],
    7: UPRIGHT.T[::-1, ::-1],
    8: UPRIGHT.T[:, ::-1],
}


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_photographs_are_upright(tmp_path, held, kind):
    note = Image.Exif()
    note[0x0112] = held
    path = tmp_path / f"photograph.{kind}"
    options = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(np.ascontiguousarray(HELD[held])).save(path, exif=note, **options)
    for given in (path, Image.open(path)):
        assert np.array_equal(np.asarray(as_rgb(given))[:, :, 0], UPRIGHT)


def test_a_deep_grey_or_coloured_photograph_is_upright_too(tmp_path):
    note = Image.Exif()
    note[0x0112] = 6
    for name, image in (
        ("deep.tiff", Image.fromarray(HELD[6].astype(np.uint16) * 257)),
        ("print.jpg", Image.new("CMYK", (20, 40), (0, 255, 255, 0))),
    ):
        image.save(tmp_path / name, exif=note)
        assert as_rgb(tmp_path / name).size == image.size[::-1]
    assert np.array_equal(np.asarray(as_rgb(tmp_path / "deep.tiff"))[:, :, 0], UPRIGHT)
    assert np.abs(np.subtract(as_rgb(tmp_path / "print.jpg").getpixel((5, 5)), (255, 0, 0))).max() < 5


def test_a_note_that_pil_cannot_write_again_turns_the_picture_all_the_same(tmp_path):
    """`ImageOps.exif_transpose` writes the whole note anew, and stops at a number that does not fit its type."""
    turned, resolution = struct.pack("<HHIHxx", 0x0112, 3, 1, 6), struct.pack("<HHII", 0x011A, 10, 1, 38)
    note = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + turned + resolution + bytes(4) + struct.pack("<ii", -72, 1)
    Image.new("RGB", (20, 10)).save(tmp_path / "odd.jpg", exif=note)
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(tmp_path / "odd.jpg"))
    assert as_rgb(tmp_path / "odd.jpg").size == (10, 20)
    Image.new("RGB", (20, 10)).save(tmp_path / "broken.jpg", exif=b"Exif\0\0Exif\0\0II*\0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL says that it is corrupt
        assert as_rgb(tmp_path / "broken.jpg").size == (20, 10)


def test_the_frame_that_an_animation_stands_at(tmp_path):
    frames = [Image.new("P", (3, 3), number) for number in (0, 1)]
    for frame in frames:
        frame.putpalette([255, 0, 0, 0, 0, 255])
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    opened = Image.open(tmp_path / "two.gif")
    assert as_rgb(opened).getpixel((0, 0)) == as_rgb(tmp_path / "two.gif").getpixel((0, 0)) == (255, 0, 0)
    opened.seek(1)
    assert as_rgb(opened).getpixel((0, 0)) == (0, 0, 255)


def test_files_of_formats_that_count_their_frames_otherwise_or_not_at_all(tmp_path):
    size, planes = struct.pack(">HIIHH", 3, 2, 2, 8, 3), bytes([200] * 4 + [30] * 8)
    (tmp_path / "a.psd").write_bytes(b"8BPS\0\1" + bytes(6) + size + bytes(14) + planes)  # the first frame is 1
    Image.new("F", (4, 3), 0.5).save(tmp_path / "a.spider", format="SPIDER")
    for name, colour in (("a.psd", RED), ("a.spider", (128, 128, 128))):
        for given in (tmp_path / name, Image.open(tmp_path / name)):
            assert as_rgb(given).getpixel((1, 1)) == colour


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_opened_files_do_not_fill_the_memory(tmp_path, kind):
    path = tmp_path / f"large.{kind}"
    Image.new("RGB", (64, 48), RED).save(path)
    opened = Image.open(path)
    assert np.abs(np.subtract(as_rgb(opened).getpixel((1, 1)), RED)).max() < 4
    assert vars(opened).get("_im", vars(opened).get("im")) is None  # not read: it holds no pixels
    changed = Image.open(path)
    changed.paste((0, 0, 255), (0, 0, 64, 48))
    assert as_rgb(changed).getpixel((1, 1)) == (0, 0, 255)  # what is in memory counts, where somebody worked on it
    with Image.open(path) as closed:
        pass
    assert as_rgb(closed).size == (64, 48)


def test_an_rgb_picture_is_given_back_without_a_copy():
    image = Image.new("RGB", (1000, 1000))
    tracemalloc.start()
    assert as_rgb(image) is image
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_paths_of_the_home_folder_and_as_text(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    red("RGB").save(tmp_path / "a.png")
    for path in ("~/a.png", str(tmp_path / "a.png"), tmp_path / "a.png"):
        assert as_rgb(path).getpixel((0, 0)) == RED


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            np.zeros((3, 3, 3), np.uint8),
            TypeError,
            "a picture must be a PIL image or the path of a file, got ndarray",
        ),
        (None, TypeError, "got NoneType"),
        ("no such file.png", FileNotFoundError, "no such file"),
        (Image.new("RGB", (0, 5)), ValueError, "a picture must have pixels, got 0 x 5"),
        (Image.fromarray(np.full((2, 2), np.nan, np.float32)), ValueError, "finite numbers, got NaN"),
    ],
)
def test_what_is_no_picture_is_named(given, error, message):
    with pytest.raises(error, match=message):
        as_rgb(given)


def test_a_file_that_is_no_picture_is_an_error_of_the_file(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(OSError, match=r"cannot identify image file .*a\.png"):
        as_rgb(tmp_path / "a.png")
