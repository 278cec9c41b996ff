"""python -m xlib.explore: a table of embeddings, captions and pictures as one page that opens in the browser."""

import argparse
import sys
import webbrowser
from pathlib import Path

import numpy as np

from xlib.explore import explore, table_file

MOST = 10_000  # items on a page, all of whose neighbours are found before it is written: some ten seconds
WORDS = {"embeddings": "embeddings", "captions": "captions", "images": "pictures", "labels": "classes",
         "values": "values on a scale", "coordinates": "a map of its own"}  # fmt: skip


def main(argv=None):
    """Write the page, and say what was taken for what. Ends with a sentence, not a traceback, where that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m xlib.explore",
        description="Write an embedding as one HTML page, with search, neighbours and pictures, and open it in the "
        "browser. Nothing in the file is executed.",
        epilog="Embeddings are one column of lists ([0.1, 0.2] in a .csv), numbered columns (dim_0, dim_1 …), or "
        "else all columns of numbers. Columns called caption, text, title; image, path; label, class, category; x "
        "and y are taken for what they say, unless an option names another. In an .npz the arrays are named "
        "embeddings, captions, images, labels, values, coordinates.",
    )
    parser.add_argument("table", help="a .csv, .tsv, .parquet or .npz file, a row (or entry) an item")
    meaning = {
        "embeddings": "the column of lists, or what the names of its columns begin with",
        "captions": "the column of texts",
        "images": "the column of pictures: paths from the table's folder, or files' bytes",
        "labels": "the column of classes, each of which has a colour",
        "values": "the column of numbers to colour by",
    }
    for name, words in meaning.items():
        more = "" if name == "embeddings" else "; none for no such column"
        parser.add_argument(f"--{name}", metavar="COL", help=words + more)
    parser.add_argument("--umap", action="store_true", help="begin with UMAP in place of PCA; the page has both")
    parser.add_argument("--out", metavar="FILE", help="the page (default: TABLE.explorer.html beside the table)")
    parser.add_argument("--no-browser", action="store_true", help="write the page and do not open it")
    options = parser.parse_args(argv)
    try:
        _write(options, {name: getattr(options, name) for name in meaning})
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.exit(f"python -m xlib.explore: {error}")


def _write(options, wanted):
    table = Path(options.table).expanduser()
    page = Path(options.out).expanduser() if options.out else table.with_suffix(".explorer.html")
    columns = table_file.read(table)
    try:
        given, said = table_file.arguments(columns, table.parent, wanted)
        given, note = _sample(given)
        print(f"{table.name}{note}")
        for argument, words in WORDS.items():
            if argument in said:
                print(f"  {words}: {said[argument]}")
        shown = explore(**given, title=table.stem)
    except (ValueError, TypeError) as error:
        hint = " (--images none leaves the pictures out)" if str(error).startswith("images") else ""
        raise ValueError(f"{table.name}: {error}{hint}") from error
    first = shown.projection
    shown.projection = "pca"  # on the page are the maps that have been shown
    shown.projection = "umap" if options.umap else first
    shown.to_html(page)
    print(f"wrote {page}, {page.stat().st_size / 1e6:.1f} MB")
    if not options.no_browser:
        webbrowser.open(page.resolve().as_uri())


def _sample(given):
    """What `explore` is given, of MOST rows if there are more, and that in words."""
    z = given["embeddings"]
    axis = 1 if getattr(z, "ndim", 1) == 3 else 0
    n = z.shape[1] if axis else len(z)
    if n <= MOST:
        return given, f": {n:,} items"
    rows = np.sort(np.random.default_rng(0).choice(n, MOST, replace=False))
    return {argument: _rows(column, rows, n) for argument, column in given.items()}, (
        f": {n:,} items, of which the page shows {MOST:,}, drawn at random (the same ones each time)"
    )


def _rows(column, rows, n):
    if isinstance(column, list):
        return [column[i] for i in rows] if len(column) == n else column
    if hasattr(column, "iloc"):
        return column.iloc[rows]
    if len(column) == n:
        return column[rows]
    return column[:, rows] if column.ndim == 3 and column.shape[1] == n else column  # else the wrong length is named


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a Windows console may not know every letter of a file's name
    main()
