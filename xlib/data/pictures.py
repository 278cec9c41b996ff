"""A PIL image of any mode, or a picture's file, as 8-bit colours, upright."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

Picture = Image.Image | str | os.PathLike

_ORIENTATION = 0x0112  # EXIF's tag: how the camera was held; 1 is upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def as_rgba(picture: Picture) -> Image.Image:
    """A picture in RGBA, 8 bits a channel, as a viewer would show it: in its true colours, and upright.

    picture: a PIL image of any mode (of several frames: the one that it stands at), or the path of a picture's file,
    where "~" is the home folder. A camera's note on how it was held (EXIF) is followed. Greys of more than 8 bits
    (modes I, I;16 and F) are scaled and not cut off: a picture whose values are all from 0 to 255 counts as one of
    8 bits, to 65,535 as one of 16, floats to 1 as shares of white; any other is stretched from its least to its
    greatest value.
    Returns an image: the given one where nothing is to be done, which else stays as it is. Where its pixels still lie
    in its file they are read from there anew, so that a thousand opened files do not fill the memory.
    Raises TypeError for anything else, OSError for a file that is missing or no picture, ValueError for one without
    pixels or with NaN.

    Example:
        >>> as_rgba(Image.new("CMYK", (4, 3), (0, 255, 255, 0))).getpixel((0, 0))
        (255, 0, 0, 255)
        >>> as_rgba(Image.fromarray(np.full((2, 2), 51400, np.uint16))).getpixel((0, 0))
        (200, 200, 200, 255)
    """
    return _as(picture, "RGBA")


def as_rgb(picture: Picture) -> Image.Image:
    """A picture in RGB, 8 bits a channel: `as_rgba` over white, as a page would show it.

    Arguments and errors are those of `as_rgba`.

    Example:
        >>> clear = Image.new("RGBA", (4, 3), (200, 0, 0, 0))
        >>> as_rgb(clear).getpixel((0, 0)), clear.convert("RGB").getpixel((0, 0))
        ((255, 255, 255), (200, 0, 0))
    """
    return _as(picture, "RGB")


def _as(picture: Picture, mode: str) -> Image.Image:
    with opened(picture) as found:
        return _as_mode(found, mode)


@contextmanager
def opened(picture: Picture) -> Iterator[Image.Image]:
    """The PIL image of a picture. Where its pixels still lie in a file it is another image of that file, which may be
    changed: to read the given one would keep its pixels in memory. Else it is the given one.

    picture: as for `as_rgba`, which says what is raised.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 3)).save(file, "PNG")
        >>> given = Image.open(file)
        >>> with opened(given) as found: found is given, found.size
        (False, (4, 3))
    """
    if not isinstance(picture, str | os.PathLike | Image.Image):
        raise TypeError(f"a picture must be a PIL image or the path of a file, got {type(picture).__name__}")
    file, frame = _file(picture)
    if file is None:
        yield picture
        return
    with file, Image.open(file) as found:
        if frame not in (None, found.tell()):  # some formats count from 1, or cannot seek at all
            found.seek(frame)
        yield found


def _file(picture: Picture) -> tuple[BinaryIO | None, int | None]:
    """The file in which a picture's pixels still lie, if any, and the frame it stands at."""
    # Open, not by its name: of a TIFF that lies on its side, given by its name, Pillow 13 mixes up width and height.
    if not isinstance(picture, Image.Image):
        return open(Path(picture).expanduser(), "rb"), None
    pixels = vars(picture).get("_im", vars(picture).get("im"))  # the second name is that of Pillow before 11.1
    if not isinstance(picture, ImageFile.ImageFile) or pixels is not None:
        return None, None
    if os.path.isfile(picture.filename):
        return open(picture.filename, "rb"), picture.tell()
    file = picture.fp
    if hasattr(file, "getvalue"):  # in memory
        return io.BytesIO(file.getvalue()), picture.tell()
    if file is None or file.closed:
        return None, None
    place = file.tell()  # such as a member of an archive
    file.seek(0)
    content = io.BytesIO(file.read())
    file.seek(place)
    return content, picture.tell()


def _as_mode(picture: Image.Image, mode: str) -> Image.Image:
    if 0 in picture.size:
        raise ValueError(f"a picture must have pixels, got {picture.width} x {picture.height}")
    picture.load()
    try:
        held = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # one of many; a note that cannot be read says nothing
        held = 1
    if picture.mode.startswith(("I", "F")):
        picture = _grey(picture)
    if picture.has_transparency_data:
        picture = picture.convert("LA") if picture.mode == "La" else picture  # from where PIL knows the way on
        picture = picture.convert("RGBA")
        if mode == "RGB":
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    elif mode == "RGBA":  # by way of RGB: PIL would take the four channels of CMYK as they are
        picture = picture.convert("RGB")
    picture = picture if picture.mode == mode else picture.convert(mode)
    # By hand: `ImageOps.exif_transpose` also writes the note anew, and fails where its other entries are odd.
    return picture.transpose(_UPRIGHT[held]) if held in _UPRIGHT else picture


def _grey(picture: Image.Image) -> Image.Image:
    """Greys of 16 or 32 bits, or floating, as a picture of 8 bits."""
    x = np.asarray(picture)
    if not np.isfinite(x).all():
        raise ValueError("a picture must hold finite numbers, got NaN or infinity")
    low, high = float(x.min()), float(x.max())
    limits = (1, 255, 65535) if picture.mode == "F" else (255, 65535)
    white = next((limit for limit in limits if low >= 0 and high <= limit), None)
    black, scale = (0, white) if white else (low, high - low or 1)
    grey = np.empty(x.shape, np.uint8)
    for line, given in zip(grey, x, strict=True):  # a large picture is not held in 64 bits
        line[:] = ((given.astype(np.float64) - black) / scale * 255).round()
    grey = Image.fromarray(grey)
    clear = picture.info.get("transparency")
    if picture.mode.startswith("I;16") and isinstance(clear, int):  # which PIL knows of with 8 bits only
        grey.putalpha(Image.fromarray(np.where(x == clear, 0, 255).astype(np.uint8)))
    return grey
