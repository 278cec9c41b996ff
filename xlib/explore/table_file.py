"""Files of embeddings with what belongs to them, read without running anything that is in them; and which column is
what, as far as its name and its entries say."""

import codecs
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from xlib.explore.pictures import missing

# What each argument of `explore` is called in tables, likeliest first; in capitals or not.
NAMES = {
    "embeddings": ("embeddings", "embedding", "vector", "vectors", "features", "emb"),
    "captions": ("captions", "caption", "text", "sentence", "title", "name", "description", "content"),
    "images": ("images", "image", "picture", "img", "photo", "thumbnail", "image_path", "img_path", "path",
               "file_name", "filename", "file"),
    "labels": ("labels", "label", "class", "category", "species", "target", "cluster", "topic"),
    "values": ("values",),
}  # fmt: skip
KINDS = (".csv", ".tsv", ".parquet", ".npz")
NO_NUMBERS = re.compile(r"(unnamed: ?\d+|index|(.*_)?id)", re.I)  # columns that count rows and measure nothing


def read(path):
    """{name: its column, of one entry a row} of a table, or {key: array} of an .npz; an error names the file."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    kind = next((k for k in KINDS if path.name.lower().endswith(k)), None)
    if kind is None:
        raise ValueError(f"{path.name} must be a {', '.join(KINDS)} file")
    try:
        if kind == ".npz":
            return _npz(path)
        table = pd.read_parquet(path) if kind == ".parquet" else _csv(path, "\t" if kind == ".tsv" else None)
    except ImportError as error:
        raise ImportError(f"{path.name}: a .parquet file is read by pyarrow, pip install pyarrow") from error
    except UnicodeError as error:
        raise ValueError(f'{path.name} is not in UTF-8 ({error}): save it as "CSV UTF-8", or its like') from error
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path.name} cannot be read as {kind}: {error}") from error
    if not len(table):
        raise ValueError(f"{path.name} has no rows; its columns are {listed(table)}")
    return {str(name): table.iloc[:, j] for j, name in enumerate(table)}


def _npz(path):
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no archive of arrays")
    with np.load(path, allow_pickle=False) as file:  # what is pickled could run code
        found = {}
        for name in file.files:
            try:
                found[name] = file[name]
            except ValueError as error:
                raise ValueError(f"{name!r} holds Python objects, which are not opened; save texts as an array "
                                 f"of texts ({error})") from error  # fmt: skip
        return found


def _csv(path, separator):
    with path.open("rb") as file:
        marks = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
        encoding = "utf-16" if file.read(2) in marks else "utf-8-sig"  # as spreadsheets save "Unicode text"
    with path.open(encoding=encoding) as file:
        head, some = file.readline().strip(), file.read(100_000)
    separator = separator or max(",;\t", key=re.sub(r"\d,(?=\d)", "", head).count)  # not by a number's comma
    options = {"sep": separator, "encoding": encoding, "low_memory": False}
    if separator != "," and re.search(r"(?m)(^|[;\t])[-+]?\d+,\d+([;\t]|$)", some):
        options["decimal"] = ","  # as spreadsheets write numbers in half of Europe
    head = head if separator == "," else head.replace(",", ".")
    if not _is_header([name.strip(' "') for name in head.split(separator)]):
        options["header"] = None
    table = pd.read_csv(path, **options)
    if texts := [j for j in range(table.shape[1]) if not pd.api.types.is_numeric_dtype(table.iloc[:, j])]:
        words = pd.read_csv(path, usecols=texts, dtype=str, keep_default_na=False, **options)
        for name in words:
            table[name] = words[name].replace("", None)  # "NA" and "null" are words, too
    return table


def _is_header(names):
    """Whether a first line holds names: not numbers, unless they count the columns."""
    try:
        numbers = np.array(names, np.float64)
    except ValueError:
        return True
    return bool((np.diff(numbers) == 1).all())


def arguments(columns, folder, wanted):
    """The arguments of `explore`, and where each comes from in words.

    columns: as `read` gives them. folder: where paths of pictures begin. wanted: {argument: a column's name, "none"
    for no such argument, or None for what the names say}. Raises ValueError naming the column that lacks.
    """
    chosen = {}
    for argument, name in wanted.items():
        if name and name != "none":
            chosen[argument] = _found(columns, name, argument)
    open_ = [argument for argument, name in wanted.items() if not name]
    for argument in ("embeddings", "images", "labels", "values", "captions"):
        if argument in open_ and (found := _guess(columns, argument, chosen)):
            chosen[argument] = found
    if "embeddings" not in chosen:
        raise ValueError(f"no column holds embeddings, say which with --embeddings; there are {listed(columns)}")
    given = {argument: _column(columns, argument, names, folder) for argument, names in chosen.items()}
    said = {argument: listed(names) for argument, names in chosen.items()}
    place = _places(columns, chosen)
    if place:
        given["coordinates"], said["coordinates"] = _column(columns, "coordinates", place, folder), listed(place)
    return given, said


def listed(names, most=12):
    names = list(map(repr, names))
    return ", ".join(names if len(names) <= most else [*names[: most - 2], "…", names[-1]])


def _found(columns, name, argument):
    """[name], or the names of the numbered columns that begin with it."""
    if name in columns:
        return [name]
    if argument == "embeddings" and len(found := _numbered(columns).get(name.rstrip("_.- "), [])) > 1:
        return found
    raise ValueError(f"there is no column {name!r} for --{argument}; there are {listed(columns)}")


def _guess(columns, argument, chosen):
    taken = {name for names in chosen.values() for name in names}
    free = {name: column for name, column in columns.items() if name not in taken}
    by_name = [next((n for n in free if n.lower() == usual), None) for usual in NAMES[argument]]
    fits = [name for name in by_name if name is not None and _fits(free[name], argument)]
    if fits:
        return fits[:1]
    if argument == "captions":
        return [name for name in free if isinstance(_first(free[name]), str) and not _address(_first(free[name]))][:1]
    if argument != "embeddings":
        return []
    if rows := [name for name in free if _fits(free[name], argument)]:
        if len(rows) > 1:
            raise ValueError(f"several columns could be embeddings, say which with --embeddings: {listed(rows)}")
        return rows
    numbered = max(_numbered(free).values(), key=len, default=[])
    if len(numbered) > 1:
        return numbered
    other = {name for names in NAMES.values() for name in names} | {"x", "y"}
    numbers = [name for name in free if _is_number(free[name]) and not NO_NUMBERS.fullmatch(name)]
    found = [name for name in numbers if name.lower() not in other]
    return found if len(found) > 1 else []


def _fits(column, argument):
    """Whether what stands in a column can be what its name says."""
    first = _first(column)
    if argument == "embeddings":
        return getattr(column, "ndim", 1) > 1 or isinstance(first, list | np.ndarray) or _is_vector(first)
    if argument == "images":
        if isinstance(first, str):
            return Path(first).suffix.lower() in Image.registered_extensions() and not _address(first)
        return not isinstance(column, pd.Series) or isinstance(first, dict | bytes)
    if argument == "labels" and _is_number(column):
        return bool((pd.Series(column).dropna() % 1 == 0).all())
    return argument != "captions" or not isinstance(first, dict | list | np.ndarray | bytes)


def _first(column):
    return next((value for value in column if not missing(value)), None)


def _address(text):
    return text.startswith(("http://", "https://"))


def _is_vector(text):
    return isinstance(text, str) and bool(re.fullmatch(r"\s*\[\s*[-+.\d][-+.,\deE\s]*\]\s*", text))


def _is_number(column):
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _numbered(columns):
    """{beginning: its columns, by number} of columns of numbers such as dim_0, dim_1 or 0, 1."""
    found = {}
    for name, column in columns.items():
        if (match := re.fullmatch(r"(.*?)[_.\- ]?(\d+)", name)) and _is_number(column):
            found.setdefault(match[1], []).append((int(match[2]), name))
            if name == f"{match[1]}.1" and match[1] in columns:  # the second of this name, to pandas
                found[match[1]].append((0, match[1]))
    return {beginning: [name for _, name in sorted(names)] for beginning, names in found.items()}


def _places(columns, chosen):
    """The names of the columns that place the items on a map, as they are called most often."""
    lower = {name.lower(): name for name in columns}
    if "coordinates" in lower:
        return [lower["coordinates"]]
    taken = {name for names in chosen.values() for name in names}
    for pair in (("x", "y"), ("umap_x", "umap_y")):
        names = [lower.get(name) for name in pair]
        if all(name and name not in taken and _is_number(columns[name]) for name in names):
            return names
    return []


def _column(columns, argument, names, folder):
    """What `explore` is given of one column, or of many of numbers."""
    if len(names) > 1:
        return np.stack([np.asarray(columns[name], np.float64) for name in names], 1)
    column = columns[names[0]]
    if argument == "embeddings" and isinstance(_first(column), str):
        return [_vector(names[0], i, text) for i, text in enumerate(column)]
    if argument == "images" and getattr(column, "ndim", 1) == 1:
        return [_picture(value, folder) for value in column]
    return column


def _vector(name, i, text):
    """The numbers in a text such as "[0.1, 0.2]" or "0.1 0.2"."""
    try:
        return np.array(re.sub(r"[\[\](),]", " ", text).split(), np.float64)
    except (ValueError, TypeError) as error:
        what = f"column {name!r} must hold numbers such as [0.1, 0.2]"
        raise ValueError(f"{what}, got {text!r:.60} in row {i}") from error


def _picture(value, folder):
    """A path from the table's folder; the bytes of a file as they are."""
    if isinstance(value, dict) and value.get("bytes") is not None:
        return value["bytes"]
    value = value.get("path") if isinstance(value, dict) else value
    if not isinstance(value, str) or not value.strip() or _address(value):
        return value
    return folder / Path(value).expanduser()
