"""Pictures and captions of your own: a folder, a table, and what is wrong with them before anything is trained."""

import csv
import hashlib
import io
import os
import shutil
import tempfile
import textwrap
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from xlib import _validate
from xlib.data import cache, emoji
from xlib.data.pictures import as_rgb
from xlib.progress import tqdm

TABLE, SECOND = "captions.csv", "second"  # what a folder of pairs holds beside its pictures
SIDE = 64  # pixels, each way, of a loaded picture
ENOUGH = 400  # pairs; lesson 09 measures what fewer are worth
TWINS = 0.95  # pictures more alike than this count as one, see `alike`
KINDS = ("no caption", "no file", "no picture", "too large", "not in the table", "small")  # of what `load` meets
_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
_SMALL = 32  # pixels; on fewer there is little to see
_EDITION = "1"  # raise it when `example` writes something else


@dataclass(frozen=True, eq=False, repr=False)  # tensors do not compare to one truth, and would fill the screen
class Pairs:
    """N pictures of a folder, each with a caption.

    Attributes:
        files: N names, as the table has them. captions: N strings; all "" where there is no table.
        pictures: (N, 3, 64, 64) uint8; a picture that is not square has white beside it.
        found: what else was met, for `check`: one of KINDS to the names of files that it holds for.

    Example:
        >>> grey = torch.full((2, 3, 64, 64), 128, dtype=torch.uint8)
        >>> pairs = Pairs(["a.png", "b.png"], ["a grey square", "another one"], grey, {})
        >>> dict(zip(pairs.files, pairs.captions))["b.png"]
        'another one'
    """

    files: list[str]
    captions: list[str]
    pictures: Tensor
    found: dict[str, list[str]]


def load(folder: str | os.PathLike, *, least: int | None = None) -> Pairs:
    """The pictures of a folder and their captions, from its table `captions.csv`; without a table, pictures alone.

    The table's first line names its columns: `file`, the picture's place in the folder, and `caption`; others are
    ignored. A comma, a semicolon or a tab stands between them. A picture may have several lines. What cannot be used
    (no caption, no such file, one outside the folder, no picture) is left out, and `check` tells of it. "~" is the
    home folder. The table's own name may have capitals, and letters such as "ä" may be written as one sign or as two.
    least: pairs that are needed. Default: two pictures, with captions or without.
    Raises NotADirectoryError for no folder; ValueError for a table that is not UTF-8 or lacks one of the columns, for
    fewer than two pictures that can be used, and where `least` is given for no table or for fewer pairs.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a.png", "b.png"): Image.new("RGB", (40, 40), "red").save(Path(folder, name))
        ...     _ = Path(folder, TABLE).write_text("file;caption\\na.png;a red square\\nc.png;a hat\\nb.png;red\\n")
        ...     load(folder).captions
        ['a red square', 'red']
    """
    if least is not None:
        _validate.whole("least", least, least=2)
    pairs = _load(folder, bare=False)
    if least is not None and not any(pairs.captions):
        raise ValueError(
            f"there is no {TABLE} in {folder}. Its first line is file,caption, then comes a line a picture"
        )
    if least is not None and len(pairs.files) < least:
        raise ValueError(f"{folder} has {len(pairs.files)} pairs, and {least} are the least: hundreds say more")
    return pairs


def _load(folder: str | os.PathLike, *, bare: bool) -> Pairs:
    """`load`; bare: what has no caption, in the table or without a row in it, is kept."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(f"folder must be a folder with pictures, and there is none at {folder}")
    inside = sorted(path.name for path in folder.iterdir() if path.is_file())
    there = [name for name in inside if Path(name).suffix.lower() in _ENDINGS]
    table = next((folder / name for name in inside if name.lower() == TABLE), None)
    rows = _rows(table) if table else []
    named = {unicodedata.normalize("NFC", name) for name, _ in rows}
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    found["not in the table"] = [name for name in there if unicodedata.normalize("NFC", name) not in named]
    if bare or not table:
        rows += [(name, "") for name in found["not in the table"]]
        found["not in the table"] = []
    kept, read, home = [], {}, folder.resolve()
    for name, caption in tqdm(rows, desc="reading pictures", leave=False, delay=1):
        path = _file(home, name)
        if table and not bare and not caption:
            found["no caption"].append(name)
        elif path is None:
            found["no file"].append(name)
        else:
            if name not in read:
                read[name] = _read(path, name, found)
            if read[name] is not None:
                kept.append((name, caption, read[name]))
    if len(kept) < 2:
        met = "; ".join(f"{kind}: {len(names)}, such as {names[0]!r}" for kind, names in found.items() if names)
        if not kept and not met:
            met = "no row in its table" if table else "none in the folder itself, and no table that names others"
        told = f" ({met})" if met else ""
        raise ValueError(
            f"folder must hold at least two pictures that can be used, got {len(kept)} in {folder}{told}"
        )
    files, captions, pictures = (list(part) for part in zip(*kept, strict=True))
    return Pairs(files, captions, torch.stack(pictures), found)


def _rows(table: Path) -> list[tuple[str, str]]:
    """(file, caption) of each line of the table, with single blanks between the words."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{table} must be UTF-8 text: of a spreadsheet, save it as 'CSV UTF-8' ({error.reason})"
        ) from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:  # such as a cell of 131,073 letters
        raise ValueError(f"{table} cannot be read ({error}): is a quotation mark left open?") from None
    names = [name.strip().lower() for name in (lines or [[]])[0]]
    if not {"file", "caption"} <= {*names}:
        raise ValueError(
            f"{table} must name the columns file and caption in its first line, got {header.strip()[:80]!r}"
        )
    places = names.index("file"), names.index("caption")
    cells = [[*line, *[""] * len(names)] for line in lines[1:] if any(map(str.strip, line))]
    return [(_plain(line[places[0]]), " ".join(line[places[1]].split())) for line in cells]


def _plain(name: str) -> str:
    """A file's name as the folder has it: "./a.png" and ".\\a.png" are a.png."""
    return str(PurePosixPath(name.strip().replace("\\", "/"))) if name.strip() else ""


def _file(home: Path, name: str) -> Path | None:
    """The file of that name within the folder, or None where there is none, or it lies elsewhere."""
    for written in (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))):
        try:
            path = (home / written).resolve()
            if path.is_relative_to(home) and path.is_file():
                return path
        except (OSError, ValueError):  # a name that no file can have: too long, or with a zero in it
            pass
    return None


def _read(path: Path, name: str, found: dict[str, list[str]]) -> Tensor | None:
    """A picture as (3, SIDE, SIDE) uint8, or None where the file holds none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of many pixels and of what it could still read
            picture = as_rgb(path)
    except Image.DecompressionBombError:
        found["too large"].append(name)
        return None
    except (OSError, ValueError, SyntaxError):
        found["no picture"].append(name)
        return None
    if min(picture.size) < _SMALL:
        found["small"].append(name)
    square = ImageOps.pad(picture, (SIDE, SIDE), color="white")
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def alike(pictures: Tensor) -> Tensor:
    """How alike pictures look: the cosine of any two, at 16 × 16 pixels and off each picture's own mean.

    pictures: (N, 3, H, W) uint8. Returns (N, N) float32 from -1 to 1. A brighter copy is the same; a picture of one
    grey is like no other, and one of another single colour like all of its hue.

    Example:
        >>> ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
        >>> alike(torch.cat([ramp, ramp // 2 + 100, ramp.mT]))[0].tolist()
        [1.0, 1.0, 0.1]
    """
    small = F.adaptive_avg_pool2d(pictures.float() / 255, 16).flatten(1)
    off_mean = small - small.mean(dim=1, keepdim=True)
    unit = F.normalize(off_mean, dim=1, eps=1e-3)  # what is left of one grey is rounding, and no likeness
    return (unit @ unit.T).clamp(-1, 1)


def groups(pairs: Pairs, *, threshold: float = TWINS) -> Tensor:
    """(N,) int64: the same number for what must stay together in a split.

    Two rows belong together when they are of one file, when their captions are the same but for capitals, when their
    pictures are `alike` by more than `threshold`, and when a chain of such rows connects them. Each row is compared
    with each other one: 10,000 rows take about a gigabyte.
    Raises TypeError or ValueError for a threshold that is no number or outside (0, 1].

    Example:
        >>> pictures = torch.stack([torch.eye(32), torch.eye(32).flip(0)])[[0, 1, 0, 0], None].expand(-1, 3, -1, -1)
        >>> groups(Pairs(["a", "b", "c", "d"], ["one", "two", "three", "Two"], (255 * pictures).byte(), {}))
        tensor([0, 0, 0, 0])
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not 0 < _validate.number("threshold", threshold) <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
    together = alike(pairs.pictures) > threshold
    captions = [caption.casefold() or str(row) for row, caption in enumerate(pairs.captions)]
    for words in (pairs.files, captions, _pixels(pairs.pictures)):  # the last for pictures of one colour
        number = _numbered(words)
        together |= number[:, None] == number
    places = together.nonzero(as_tuple=True)
    graph = coo_matrix((np.ones(len(places[0]), bool), tuple(x.numpy() for x in places)), shape=together.shape)
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long()


def _pixels(pictures: Tensor) -> list[str]:
    """A digest of each picture, the same where all pixels are."""
    return [hashlib.sha256(picture.numpy().tobytes()).hexdigest() for picture in pictures]


def _numbered(words: Sequence[str]) -> Tensor:
    """(N,) int64: the same number for the same word, counted in their order."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(word, len(numbers)) for word in words])


def split(groups: Tensor, *, share: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows to train on, and rows kept for the test: whole groups, drawn at random, so that no twin is on both sides.

    groups: (N,) int64. share: of the rows, for the test; a group that is too large for what is left stays with the
    training. seed: another draws other groups.
    Returns two ascending int64 tensors, none empty. Raises ValueError for a share outside (0, 1) or fewer than two
    groups.

    Example:
        >>> train, test = split(torch.tensor([7, 2, 2, 7, 3]), share=0.4)
        >>> train, test  # rows 0 and 3 stay together, and so do 1 and 2
        (tensor([1, 2, 4]), tensor([0, 3]))
    """
    if not 0 < _validate.number("share", share) < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    sizes = groups.unique(return_inverse=True)[1].bincount()
    if len(sizes) < 2:
        raise ValueError(f"groups must be at least two, got {len(sizes)}: all rows are twins, or have one caption")
    numbers, kept = groups.unique(return_inverse=True)[1], []
    room = min(max(1, round(share * len(groups))), len(groups) - 1)  # one row at least for each side
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).tolist()
    for group in order:
        if sizes[group] <= room:
            kept.append(group)
            room -= int(sizes[group])
    kept = kept or [int(sizes.argmin())]  # of two large groups the smaller one
    for_test = torch.isin(numbers, torch.tensor(kept))
    return (~for_test).nonzero()[:, 0], for_test.nonzero()[:, 0]


def check(pairs: Pairs, *, threshold: float = TWINS) -> list[dict[str, str | int]]:
    """What may be wrong with pairs, for `report.table`: a row for each thing that was looked for, found or not.

    Columns: "looked for", "found" (how many), "for example", "what to do" (empty where nothing was found).

    Example:
        >>> red = torch.eye(64).mul(255).byte().expand(2, 3, 64, 64)
        >>> [row["looked for"] for row in check(Pairs(["a", "b"], ["red", "red"], red, {})) if row["found"]]
        ['fewer than 400 pairs', 'the same picture twice', 'captions that repeat', 'one caption for more than half']
    """
    once = one_row_a_file(pairs)
    files = [pairs.files[row] for row in once.tolist()]
    same, near = _twins(pairs.pictures[once], threshold)
    times = Counter(caption.casefold() for caption in pairs.captions if caption)
    few = [f"{len(pairs.files)} pairs"] if times and len(pairs.files) < ENOUGH else []
    repeated = [caption for caption, n in times.most_common() if n > 1]
    most = [caption for caption, n in times.most_common(1) if n > len(pairs.files) / 2]
    of = {kind: pairs.found.get(kind, []) for kind in KINDS}
    together = "A split keeps them on one side."
    looked = [
        ("rows without a caption", of["no caption"], "Write one, or take the row out. It is left out here."),
        ("rows whose file is not there", of["no file"], "Mend the name (capitals count). It is left out here."),
        ("files that are no picture", of["no picture"], "Save it anew as PNG or JPEG. It is left out here."),
        ("pictures of too many pixels", of["too large"], "Scale it down. It is left out here."),
        ("pictures that no row names", of["not in the table"], "Add a row. Until then they are not used."),
        (f"pictures of fewer than {_SMALL} pixels", of["small"], "Take the larger original, if there is one."),
        (f"fewer than {ENOUGH} pairs", few, "Collect more: section 3 shows what fewer are worth."),
        ("the same picture twice", [f"{files[a]} and {files[b]}" for a, b in same], f"Keep one. {together}"),
        ("near twins", [f"{files[a]} and {files[b]}" for a, b in near], f"Look at them. {together}"),
        ("captions that repeat", repeated, "Say what tells the pictures apart. Until then any of them is right."),
        ("one caption for more than half", most, "Write what each one shows: there is nothing to learn here."),
    ]
    return [
        {
            "looked for": what,
            "found": len(found),
            "for example": textwrap.shorten(", ".join(found[:2]), 64, placeholder=" …"),
        }
        | {"what to do": advice if found else ""}
        for what, found, advice in looked
    ]


def one_row_a_file(pairs: Pairs) -> Tensor:
    """(M,) int64, ascending: the first row of each of the M files, however many captions a picture has.

    Example:
        >>> grey = torch.full((3, 3, 64, 64), 128, dtype=torch.uint8)
        >>> one_row_a_file(Pairs(["a.png", "a.png", "b.png"], ["one", "uno", "two"], grey, {}))
        tensor([0, 2])
    """
    first: dict[str, int] = {}
    for row, file in enumerate(pairs.files):
        first.setdefault(file, row)
    return torch.tensor([*first.values()])


def _twins(pictures: Tensor, threshold: float) -> tuple[list[list[int]], list[list[int]]]:
    """Pairs of rows whose pictures are the same, and pairs that are only alike."""
    number = _numbered(_pixels(pictures))
    same = number[:, None] == number
    near = (alike(pictures) > threshold) & ~same
    return same.triu(1).nonzero().tolist(), near.triu(1).nonzero().tolist()


class Second(NamedTuple):
    """Pictures of a second domain: M files, M captions, to measure with, "" where none is known, (M, 3, 64, 64) uint8
    and what else was met, as in `Pairs`; rows to adapt to, and rows to measure on; (M,) the `groups` of all rows; and
    whether they were made of the first domain's pictures.

    Example:
        >>> pictures, none = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.tensor([], dtype=torch.int64)
        >>> there = Second(["a", "b"], ["", ""], pictures, {}, torch.arange(2), none, torch.arange(2), made=False)
        >>> len(there.pool), len(there.measured)  # two pictures to adapt to, and none with a caption
        (2, 0)
    """

    files: list[str]
    captions: list[str]
    pictures: Tensor
    found: dict[str, list[str]]
    pool: Tensor
    measured: Tensor
    groups: Tensor
    made: bool


def load_second(folder: str | os.PathLike, own: Pairs, train: Tensor, test: Tensor, *, seed: int = 0) -> Second:
    """The pictures in the folder's own folder `second`; where there is none, `own` pictures `at_dusk`.

    own: of `load(folder)`; train, test: its rows. A half of the second pictures, whole `groups` of them, is to
    measure on, as far as it has captions (a table in `second`); all others are to adapt to, also those that no row
    names. Made ones are adapted to on the rows of train, and measured on those of test. seed: of the halves.
    Raises as `load` does, and ValueError for captioned pictures that are all of one group.

    Example:
        >>> pictures = torch.rand(4, 3, 64, 64).mul(255).byte()
        >>> own = Pairs(["a", "b", "c", "d"], ["one", "two", "three", "four"], pictures, {})
        >>> there = load_second("nowhere", own, torch.tensor([0, 1, 2]), torch.tensor([3]))
        >>> there.made, there.pool, there.measured
        (True, tensor([0, 1, 2]), tensor([3]))
    """
    place = Path(folder).expanduser() / SECOND
    if not place.is_dir():
        return Second(own.files, own.captions, at_dusk(own.pictures), {}, train, test, groups(own), True)
    there = _load(place, bare=True)
    numbers = groups(there)
    known = torch.tensor([bool(caption) for caption in there.captions])
    pool, measured = torch.arange(len(known)), torch.tensor([], dtype=torch.int64)
    if known.any():
        try:
            half, rest = split(numbers, share=0.5, seed=seed)
        except ValueError as error:
            raise ValueError(f"the pictures in {place} cannot be halved: {error}") from None
        captioned = torch.isin(numbers, numbers[known])
        pool, measured = torch.cat([half, rest[~captioned[rest]]]).sort().values, rest[known[rest]]
    return Second(there.files, there.captions, there.pictures, there.found, pool, measured, numbers, False)


def at_dusk(pictures: Tensor) -> Tensor:
    """Pictures as a cheap camera might take them at dusk: a third of the light, most of it blue, and noise.

    pictures: (N, 3, H, W) uint8; returns the same. The noise is drawn anew from one seed in each call.

    Example:
        >>> grey = torch.full((1, 3, 32, 32), 200, dtype=torch.uint8)
        >>> at_dusk(grey).float().mean(dim=(0, 2, 3)).round().tolist()
        [56.0, 64.0, 92.0]
    """
    generator = torch.Generator().manual_seed(0)
    light = torch.tensor([0.28, 0.32, 0.46]).view(3, 1, 1)
    noise = 12 * torch.randn(pictures.shape, generator=generator)
    return (pictures * light + noise).round().clamp(0, 255).byte()


def example(language: str = "en") -> Path:
    """A folder to begin with: 1,371 emoji in black and white (Noto) with their names, and in `second` the same ones
    in colour (Twemoji), whose names are there to measure with and not to train on. Written once, into xlib's cache.

    language: of the names, one of `emoji.load().names`: "en", "zh", "de", "es", "ja" and nine more.
    Raises ValueError for another language; OSError where the cache cannot be written.

    Example:
        >>> pairs = load(example("de"))
        >>> pairs.captions[0], pairs.pictures.shape
        ('grinsendes gesicht', torch.Size([1371, 3, 64, 64]))
    """
    icons = emoji.load(("noto", "twemoji"))
    _validate.choice("language", language, tuple(icons.names))
    folder = cache.folder() / f"pairs-{language}-{_EDITION}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for place, style in ((making, "noto"), (making / SECOND, "twemoji")):
            place.mkdir(exist_ok=True)
            pictures = (emoji.on_background(icons.images[style]) * 255).round().byte().permute(0, 2, 3, 1).numpy()
            files = [f"{ord(character[0]):x}.png" for character in icons.characters]
            for file, picture in zip(tqdm(files, desc="writing", leave=False, delay=1), pictures, strict=True):
                Image.fromarray(picture).save(place / file)
            with open(place / TABLE, "w", encoding="utf-8", newline="") as table:
                csv.writer(table).writerows([("file", "caption"), *zip(files, icons.names[language], strict=True)])
        making.chmod(0o755)  # mkdtemp's is for one user alone
        try:
            making.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another notebook was first
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder
