"""`python -m xlib.explore`: a table of embeddings as one page, by what its columns are called and hold."""

import io
import json
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xlib.explore import __main__ as command
from xlib.explore import projections, table_file

N = 6
Z = np.random.default_rng(0).normal(size=(N, 4)).round(3)
TEXTS = ["</script><script>alert(1)</script>", "NA", '=cmd|"x"', "café, Größe", "null", "007"]
COLOURS = [[40 * i, 100, 200, 255] for i in range(N)]
BASE = {"text": TEXTS, "label": ["a", "b"] * 3, "image": [f"img/{i}.png" for i in range(N)]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "img").mkdir()
    for i, colour in enumerate(COLOURS):
        Image.new("RGB", (30, 20), tuple(colour[:3])).save(tmp_path / "img" / f"{i}.png")
    return tmp_path


@pytest.fixture
def seen(monkeypatch):
    """What the command gives to `explore`, and the addresses that it opens in a browser."""
    found = []

    def explore(**arguments):
        found.append(real(**arguments))
        return found[-1]

    real = command.explore
    monkeypatch.setattr(command, "explore", explore)
    monkeypatch.setattr(command.webbrowser, "open", found.append)
    return found


def numpys(z):
    return [str(row) for row in z]


def lists(z):
    return [json.dumps(row) for row in z.tolist()]


def table(**columns):
    return pd.DataFrame(BASE | columns)


TABLES = {
    "a column of JSON": ("t.csv", lambda p: table(embedding=lists(Z)).to_csv(p, index=False)),
    "as numpy prints": ("t.csv", lambda p: table(vec=numpys(Z)).to_csv(p)),
    "numbered, of a spreadsheet": (
        "t.csv",
        lambda p: table(**{f"dim_{j}": Z[:, j] for j in (3, 0, 2, 1)}).to_csv(p, sep=";", encoding="utf-8-sig"),
    ),
    "of a spreadsheet with decimal commas": (
        "t.csv",
        lambda p: table(**{f"dim_{j}": Z[:, j] for j in range(4)}).to_csv(p, sep=";", decimal=","),
    ),
    "Unicode text of a spreadsheet": (
        "t.csv",
        lambda p: table().join(pd.DataFrame(Z)).to_csv(p, sep="\t", index=False, encoding="utf-16"),
    ),
    "1 to 4": ("t.csv", lambda p: table().join(pd.DataFrame(Z, columns=range(1, 5))).to_csv(p)),
    "one name for all": (
        "t.csv",
        lambda p: pd.concat([table(), pd.DataFrame(Z, columns=["z"] * 4)], axis=1).to_csv(p, index=False),
    ),
    "0 to 3": ("t.tsv", lambda p: table().join(pd.DataFrame(Z)).to_csv(p, sep="\t", index=False)),
    "lists": ("t.parquet", lambda p: table(embedding=list(Z)).to_parquet(p)),
    "a fixed number of floats": ("t.parquet", lambda p: table(features=list(Z.astype("f4"))).to_parquet(p)),
    "pictures inside": (
        "t.parquet",
        lambda p: (
            table(embedding=list(Z))
            .assign(image=[{"bytes": (p.parent / "img" / f"{i}.png").read_bytes(), "path": None} for i in range(N)])
            .to_parquet(p)
        ),
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_becomes_a_page(folder, seen, capsys, kind):
    name, write = TABLES[kind]
    write(folder / name)
    command.main([str(folder / name)])
    shown, address = seen
    model = shown.model
    np.testing.assert_allclose(model.embeddings[0], Z, rtol=1e-6)
    assert (model.captions, model.labels) == (TEXTS, ["a", "b"] * 3)
    assert model.thumbnails[:, 10, 15].tolist() == COLOURS
    written = folder / "t.explorer.html"
    assert address == written.as_uri()
    text = written.read_text("utf-8")
    assert "<script>alert(1)" not in text  # a caption is text, and runs nowhere
    data = json.loads(re.search(r'"application/json"[^>]*>(.*?)</script>', text, re.S)[1])
    assert "café, Größe" in data["state"]["setup"]["captions"]
    said = capsys.readouterr().out
    assert f"{name}: 6 items" in said
    for line in ("captions: 'text'", "pictures: 'image'", "classes: 'label'", f"wrote {written}"):
        assert line in said


def test_an_npz_by_the_arguments_names(folder, seen):
    places = Z[:, :2]
    arrays = {"embeddings": np.stack([Z, 2 * Z]), "captions": np.array(TEXTS), "labels": np.arange(N) % 2}
    np.savez(folder / "t.npz", **arrays, images=np.full((N, 3, 8, 8), 0.5), values=Z[:, 0], coordinates=places)
    command.main([str(folder / "t.npz"), "--no-browser", "--out", str(folder / "mine.html")])
    (shown,) = seen
    assert shown.model.embeddings.shape == (2, N, 4)
    assert (shown.model.captions, shown.model.labels) == (TEXTS, [0, 1] * 3)
    assert shown.model.thumbnails.shape == (N, 8, 8, 4)
    np.testing.assert_allclose(shown.model.values, Z[:, 0])
    np.testing.assert_allclose(shown.model.frames[1], places)
    assert (folder / "mine.html").is_file()
    assert set(shown.maps) == {"given", "pca"}


def test_columns_without_names_that_say_it():
    """Iris, a matrix without a header, columns of places, and what counts rows."""
    for labels, classes in (("species", ["a", "b"] * 3), ("target", [0, 1] * 3)):
        measured = {"id": range(N), "petal": Z[:, 0], "sepal": Z[:, 1], labels: classes}
        _, said = table_file.arguments(pd.DataFrame(measured), Path("."), {"embeddings": None, "labels": None})
        assert said == {"embeddings": "'petal', 'sepal'", "labels": repr(labels)}
    wanted = dict.fromkeys(table_file.NAMES)
    given, said = table_file.arguments(
        pd.DataFrame(
            {"emb": list(Z), "x": Z[:, 0], "y": Z[:, 1], "words": TEXTS, "image": ["https://a.b/c.png"] * N}
        ),
        Path("."),
        wanted,
    )
    assert said == {"embeddings": "'emb'", "captions": "'words'", "coordinates": "'x', 'y'"}
    np.testing.assert_array_equal(given["coordinates"], Z[:, :2])


@pytest.mark.parametrize(
    "text",
    [
        pd.DataFrame(Z).to_csv(index=False, header=False),
        pd.DataFrame(Z).to_csv(index=False, header=False, sep=";", decimal=","),
        pd.DataFrame(Z).to_csv(index=False),
        pd.DataFrame(Z, columns=range(1, 5)).to_csv(index=False),  # names that count are no row
        pd.DataFrame(Z).to_csv(sep="\t"),
    ],
)
def test_a_matrix_with_and_without_a_header(tmp_path, text):
    (tmp_path / "bare.csv").write_text(text)
    given, _ = table_file.arguments(table_file.read(tmp_path / "bare.csv"), tmp_path, dict.fromkeys(table_file.NAMES))
    np.testing.assert_allclose(given["embeddings"], Z)


def test_options_say_which_column(folder, seen, monkeypatch):
    monkeypatch.setattr(projections, "umap", projections.pca)  # which takes no seconds to compile
    table(score=Z[:, 0], a_0=Z[:, 0], a_1=Z[:, 1], b_0=Z[:, 2], b_1=Z[:, 3], b_2=Z[:, 0]).to_csv(folder / "t.csv")
    options = "--embeddings a_ --captions label --images none --labels none --values score --no-browser --umap"
    command.main([str(folder / "t.csv"), *options.split()])
    (shown,) = seen
    np.testing.assert_allclose(shown.model.embeddings[0], Z[:, :2], rtol=1e-6)
    assert (shown.model.captions, shown.model.labels) == (["a", "b"] * 3, [None] * N)
    assert (shown.model.sprites < 0).all()
    assert (shown.projection, set(shown.maps)) == ("umap", {"pca", "umap"})


class Traitor:
    def __reduce__(self):
        return print, ("this was run",)


def pickled(path):
    with zipfile.ZipFile(path, "w") as file:
        array = io.BytesIO()
        np.save(array, np.array([Traitor()], object))
        file.writestr("embeddings.npy", array.getvalue())


@pytest.mark.parametrize(
    ("name", "write", "options", "message"),
    [
        ("t.csv", None, "", "there is no file"),
        ("t.xlsx", lambda p: p.write_text("x"), "", r"t.xlsx must be a .csv, .tsv, .parquet, .npz file"),
        ("t.csv", lambda p: p.write_text(""), "", "t.csv cannot be read as .csv"),
        (
            "t.csv",
            lambda p: p.write_bytes(b"text,0\ncaf\xe9,1"),
            "",
            't.csv is not in UTF-8 .*: save it as "CSV UTF-8"',
        ),
        ("t.csv", lambda p: table(dim=1)[:0].to_csv(p), "", "t.csv has no rows; its columns are .*'dim'"),
        ("t.parquet", lambda p: p.write_text("x"), "", "t.parquet cannot be read as .parquet"),
        ("t.npz", lambda p: p.write_bytes(pickle.dumps(Traitor())), "", "t.npz .*: it is no archive of arrays"),
        ("t.npz", pickled, "", "'embeddings' holds Python objects, which are not opened"),
        ("t.csv", lambda p: table().to_csv(p), "", "t.csv: no column holds embeddings, .* there are .*'text'"),
        ("t.csv", lambda p: table(e=lists(Z), f=lists(Z)).to_csv(p), "", "several columns could .* 'e', 'f'"),
        ("t.csv", lambda p: table(emb=lists(Z)).to_csv(p), "--labels nope", "no column 'nope' for --labels; .*'emb'"),
        (
            "t.csv",
            lambda p: table(emb=["[1, 2]"] * 5 + ["[1, x]"]).to_csv(p),
            "",
            r"'emb' .*'\[1, x\]' in row 5",
        ),
        ("t.csv", lambda p: table(emb=["[1, 2]"] * 5 + [None]).to_csv(p), "", "column 'emb' .* got nan in row 5"),
        ("t.csv", lambda p: table(emb=lists(Z), image=["no.png"] * 6).to_csv(p), "", r"images\[0\] .*--images none"),
        ("t.csv", lambda p: table(emb=lists(Z)).to_csv(p), "--values text", r"t.csv: values\[0\] must be a number"),
        ("t.csv", lambda p: table(emb=lists(Z)).to_csv(p), "--out nowhere/x.html", "nowhere"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(folder, capsys, name, write, options, message):
    if write:
        write(folder / name)
    with pytest.raises(SystemExit) as stopped:
        command.main([str(folder / name), "--no-browser", *options.split()])
    assert re.search(message, str(stopped.value)), stopped.value
    assert str(stopped.value).startswith("python -m xlib.explore: ")
    assert "this was run" not in capsys.readouterr().out
    assert not list(folder.glob("*.html"))


def test_parquet_without_pyarrow_says_what_to_install(folder, monkeypatch):
    table(embedding=list(Z)).to_parquet(folder / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(pd, "read_parquet", lambda path: __import__("pyarrow"))
    with pytest.raises(ImportError, match=r"t.parquet: a .parquet file is read by pyarrow, pip install pyarrow"):
        table_file.read(folder / "t.parquet")


def test_of_many_items_a_sample_that_stays_the_same(folder, seen, capsys, monkeypatch):
    monkeypatch.setattr(command, "MOST", 4)
    table(embedding=list(Z), x=Z[:, 0], y=Z[:, 1]).to_parquet(folder / "t.parquet")
    for _ in range(2):
        command.main([str(folder / "t.parquet"), "--no-browser"])
    one, other = (shown.model for shown in seen)
    assert one.captions == other.captions
    rows = [TEXTS.index(caption) for caption in one.captions]
    assert len(rows) == 4
    np.testing.assert_allclose(one.embeddings[0], Z[rows], rtol=1e-6)
    np.testing.assert_allclose(one.frames[0], Z[rows, :2])
    assert one.thumbnails[:, 10, 15].tolist() == [COLOURS[i] for i in rows]
    assert "6 items, of which the page shows 4, drawn at random" in capsys.readouterr().out


@pytest.mark.long
def test_as_a_command(folder):
    table(embedding=lists(Z)).to_csv(folder / "t.csv")
    run = [sys.executable, "-m", "xlib.explore", "t.csv", "--no-browser"]
    said = subprocess.run(run, capture_output=True, text=True, cwd=folder)
    assert said.returncode == 0, said.stderr
    assert "wrote t.explorer.html" in said.stdout
    assert (folder / "t.explorer.html").stat().st_size > 50_000
