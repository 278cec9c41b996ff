"""A folder of pictures with captions: what is read of it and what is told, how it is split, and what is trained."""

import csv
import io
import itertools
import os
import unicodedata
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.feature_extraction.text
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xlib import space
from xlib.contrastive import info_nce
from xlib.data import emoji, pairs
from xlib.data.pairs import Pairs, load
from xlib.experiments import pairs as trained
from xlib.retrieval import hits

LOOKED_FOR = [
    "rows without a caption",
    "rows whose file is not there",
    "files that are no picture",
    "pictures of too many pixels",
    "pictures that no row names",
    "pictures of fewer than 32 pixels",
    "fewer than 400 pairs",
    "the same picture twice",
    "near twins",
    "captions that repeat",
    "one caption for more than half",
]


def noise(seed, side=40):
    """A picture like no other."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    """a.png, b.png and c.png, each of its own, and no table."""
    for seed, name in enumerate("abc"):
        noise(seed).save(tmp_path / f"{name}.png")
    return tmp_path


def write(folder, rows, delimiter=",", header=("file", "caption"), encoding="utf-8"):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    (folder / "captions.csv").write_bytes(text.getvalue().encode(encoding))
    return folder


THREE = [("a.png", "one"), ("b.png", "two"), ("c.png", "three")]


# -- the table


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_with_commas_semicolons_or_tabs_with_and_without_a_mark(folder, delimiter, encoding):
    rows = [("a.png", "red, round; small"), ("b.png", "  two\nlines\tand blanks "), ("c.png", 'says "龙"')]
    read = load(write(folder, rows, delimiter, encoding=encoding))
    assert read.files == ["a.png", "b.png", "c.png"]
    assert read.captions == ["red, round; small", "two lines and blanks", 'says "龙"']
    assert read.pictures.shape == (3, 3, 64, 64)
    assert read.pictures.dtype == torch.uint8
    assert not any(read.found.values())


def test_columns_in_another_order_in_capitals_with_others_between_and_empty_lines(folder):
    lines = "Nr, CAPTION ,note,File\r\n1,one,,a.png\r\n\r\n,,,\r\n2,two,x,b.png\r\n3,three\r\n"
    (folder / "captions.csv").write_text(lines, "utf-8", newline="")
    read = load(folder)
    assert (read.files, read.captions) == (["a.png", "b.png"], ["one", "two"])
    assert read.found["no file"] == [""]  # of the line that ends before its file
    assert read.found["not in the table"] == ["c.png"]


def test_signs_that_end_a_line_elsewhere_do_not_end_one_here(folder):
    odd = "one\u2028still one\x0band\x85on"
    (folder / "captions.csv").write_text(f"file,caption\na.png,{odd}\nb.png,two\n", "utf-8")
    assert load(folder).captions == ["one still one and on", "two"]


def test_names_of_files_and_captions_in_chinese(tmp_path):
    for seed, name in enumerate(("龙.png", "火箭.jpg")):
        noise(seed).save(tmp_path / name)
    read = load(write(tmp_path, [("龙.png", "一条龙"), ("火箭.jpg", "火箭")]))
    assert (read.files, read.captions) == (["龙.png", "火箭.jpg"], ["一条龙", "火箭"])


def test_a_table_that_is_not_utf8_says_how_to_save_it(folder):
    write(folder, [("a.png", "für"), ("b.png", "two")], encoding="cp1252")
    with pytest.raises(ValueError, match=r"captions.csv must be UTF-8 text: .* save it as 'CSV UTF-8'"):
        load(folder)


@pytest.mark.parametrize("header", [("file", "text"), ("picture", "caption"), ("a.png", "one"), ("file",), ("",)])
def test_a_table_without_the_columns_shows_the_line_that_is_there(folder, header):
    with pytest.raises(ValueError, match=f"the columns file and caption in its first line, got '{','.join(header)}"):
        load(write(folder, THREE, header=header))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system_and_the_message_shows_none_of_their_ends(folder, end):
    (folder / "captions.csv").write_bytes(end.join(["file,caption", "a.png,one", "b.png,two", ""]).encode())
    assert load(folder).captions == ["one", "two"]
    (folder / "captions.csv").write_bytes(end.join(["image,text", ""]).encode())
    with pytest.raises(ValueError, match=r"in its first line, got 'image,text'$"):
        load(folder)


def test_the_tables_own_name_may_have_capitals(folder):
    write(folder, THREE)
    (folder / "captions.csv").rename(folder / "Captions.CSV")
    assert load(folder).captions == ["one", "two", "three"]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_a_letter_with_its_dots_beside_it_is_the_same_letter(folder, on_disk):
    noise(7).save(folder / unicodedata.normalize(on_disk, "Bäume.png"))  # a Mac may write two signs for one letter
    for in_table in ("NFC", "NFD"):
        read = load(write(folder, [*THREE, (unicodedata.normalize(in_table, "Bäume.png"), "trees")]))
        assert read.captions[-1] == "trees"
        assert not any(read.found.values())


def test_where_no_row_can_be_used_the_message_says_what_was_met(folder):
    with pytest.raises(
        ValueError, match=r"got 0 in .*\(no file: 2, such as 'a'; not in the table: 3, such as 'a.png'"
    ):
        load(write(folder, [("a", "one"), ("b", "two")]))
    with pytest.raises(ValueError, match=r"got 0 in .*\(no caption: 1, such as 'a.png'; not in the table: 2, such"):
        load(write(folder, [("a.png", "")]))


def test_an_empty_table_lacks_its_columns(folder):
    (folder / "captions.csv").touch()
    with pytest.raises(ValueError, match="the columns file and caption"):
        load(folder)


def test_a_quotation_mark_left_open_is_suspected(folder):
    rows = "a.png,one\n" * 20_000
    (folder / "captions.csv").write_text(f'file,caption\na.png,"one\n{rows}', "utf-8")
    with pytest.raises(ValueError, match=r"captions.csv cannot be read .*is a quotation mark left open"):
        load(folder)


def test_without_a_table_all_pictures_are_there_by_name_without_captions(folder):
    (folder / "notes.txt").write_text("no picture")
    (folder / "more.png").mkdir()
    read = load(folder)
    assert (read.files, read.captions) == (["a.png", "b.png", "c.png"], ["", "", ""])
    assert not any(read.found.values())


def test_a_picture_with_three_captions_and_rows_without_one(folder):
    read = load(
        write(folder, [("a.png", "one"), ("a.png", "uno"), ("b.png", " "), ("a.png", "un"), ("c.png", "two")])
    )
    assert (read.files, read.captions) == (["a.png"] * 3 + ["c.png"], ["one", "uno", "un", "two"])
    assert read.pictures[0].equal(read.pictures[2])
    assert read.found["no caption"] == ["b.png"]
    assert not read.found["not in the table"]


# -- files


def test_files_outside_the_folder_are_not_read_and_told(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    for seed, place in enumerate((tmp_path / "out.png", inside / "a.png", inside / "b.png")):
        noise(seed).save(place)
    (inside / "link.png").symlink_to(tmp_path / "out.png")
    (inside / "in.png").symlink_to(inside / "a.png")
    outside = ["../out.png", str(tmp_path / "out.png"), "link.png", "gone.png", ".", "n" * 300]
    rows = [(name, "one") for name in ("a.png", *outside, "sub/../b.png", "in.png")]
    read = load(write(inside, rows))
    assert read.found["no file"] == outside
    assert read.files == ["a.png", "sub/../b.png", "in.png"]


def test_pictures_in_folders_of_the_folder(folder):
    (folder / "sub").mkdir()
    noise(7).save(folder / "sub" / "d.png")
    assert load(write(folder, [*THREE, ("sub/d.png", "four")])).files[-1] == "sub/d.png"


def test_files_that_are_no_picture_are_left_out_and_told_once(folder):
    whole = io.BytesIO()
    noise(5, 200).save(whole, "JPEG")
    (folder / "half.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "text.png").write_text("not a picture at all")
    (folder / "empty.gif").touch()
    bad = ["half.jpg", "text.png", "empty.gif"]
    read = load(write(folder, [*THREE, *((name, words) for name in bad for words in ("bad", "worse"))]))
    assert read.files == ["a.png", "b.png", "c.png"]
    assert read.found["no picture"] == bad


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_no_damage_to_a_file_stops_the_others_from_being_read(folder, kind):
    whole = io.BytesIO()
    noise(5).save(whole, kind)
    dice = np.random.default_rng(0)
    for seed in range(20):
        bytes_ = bytearray(whole.getvalue())
        for place in dice.integers(0, min(len(bytes_), 300), 6):
            bytes_[place] = dice.integers(256)
        (folder / f"damaged{seed}.png").write_bytes(bytes_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what Pillow could still read it would warn of, with a line of its own code
        read = load(folder)
    assert {"a.png", "b.png", "c.png"} <= {*read.files}
    assert len(read.files) + len(read.found["no picture"]) + len(read.found["too large"]) == 23


def test_a_picture_of_too_many_pixels_is_told_and_not_loaded(folder, monkeypatch):
    noise(5, 100).save(folder / "huge.png")
    noise(6, 70).save(folder / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)  # Pillow refuses twice as many, and warns of more than these
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = load(folder)
    assert read.found["too large"] == ["huge.png"]
    assert not read.found["no picture"]
    assert read.files == ["a.png", "b.png", "c.png", "large.png"]


def test_a_small_picture_is_used_and_told(folder):
    noise(5, 31).save(folder / "d.png")
    noise(6, 32).save(folder / "e.png")
    read = load(folder)
    assert read.found["small"] == ["d.png"]
    assert len(read.files) == 5


def first(folder):
    """The first picture's colour in the middle."""
    return load(folder).pictures[0, :, 32, 32].tolist()


def test_pictures_of_other_kinds_have_their_true_colours(folder):
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(folder / "A.jpg")
    assert first(folder) == pytest.approx([255, 0, 0], abs=3)
    (folder / "A.jpg").unlink()
    Image.fromarray(np.full((40, 40), 51400, np.uint16)).save(folder / "A.png")
    assert first(folder) == [200, 200, 200]
    Image.new("RGBA", (40, 40), (200, 0, 0, 0)).save(folder / "A.png")
    assert first(folder) == [255, 255, 255]
    red, blue = (Image.new("RGB", (40, 40), colour) for colour in ("red", "blue"))
    (folder / "A.png").unlink()
    red.save(folder / "A.gif", save_all=True, append_images=[blue, blue])
    assert first(folder) == [255, 0, 0]


def test_a_photograph_stands_upright_with_white_beside_it(tmp_path):
    upright = Image.new("RGB", (40, 80), "blue")
    upright.paste("red", (0, 0, 40, 40))
    note = Image.Exif()
    note[0x0112] = 6  # the camera lay on its side
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=note)
    upright.save(tmp_path / "b.jpg")
    a, b = load(tmp_path).pictures.int()
    assert (a - b).abs().max() < 30  # JPEG is not exact
    assert b[:, :, :14].min() > 240
    assert b[0, 4:28, 20:44].min() > 200
    assert b[2, 36:60, 20:44].min() > 200


def test_pairs_that_are_needed(tmp_path):
    for name in "abc":
        noise(ord(name)).save(tmp_path / f"{name}.png")
    assert len(load(tmp_path).files) == 3
    with pytest.raises(ValueError, match=r"there is no captions.csv in .*Its first line is file,caption, then"):
        load(tmp_path, least=2)
    (tmp_path / "captions.csv").write_text("file,caption\na.png,a\nb.png,\nc.png,c\n")
    assert load(tmp_path, least=2).captions == ["a", "c"]
    with pytest.raises(ValueError, match="has 2 pairs, and 3 are the least"):
        load(tmp_path, least=3)
    with pytest.raises(ValueError, match="least must be at least 2, got 1"):
        load(tmp_path / "nowhere", least=1)


def test_a_folder_that_is_not_there_and_one_without_pictures(tmp_path):
    with pytest.raises(NotADirectoryError, match=r"there is none at .*nowhere"):
        load(tmp_path / "nowhere")
    noise(0).save(tmp_path / "a.png")
    with pytest.raises(NotADirectoryError):
        load(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"at least two pictures that can be used, got 1 in .*\d$"):
        load(tmp_path)
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "within").mkdir()
    noise(0).save(tmp_path / "all" / "within" / "a.png")
    with pytest.raises(ValueError, match=r"got 0 in .*\(none in the folder itself, and no table that names others\)"):
        load(tmp_path / "all")


def test_the_home_folder_by_its_sign(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert len(load(os.path.join("~", folder.name)).files) == 3


# -- groups and split


def made(captions, *, files=None, same=(), near=()):
    """Pairs with a picture of noise each; same, near: rows that have that of another, or nearly so."""
    pictures = torch.stack([torch.from_numpy(np.array(noise(row, 64))).movedim(2, 0) for row in range(len(captions))])
    for a, b in same:
        pictures[b] = pictures[a]
    for a, b in near:
        pictures[b] = pictures[a] // 2 + 60
    return Pairs(files or [f"{row}.png" for row in range(len(captions))], captions, pictures, {})


def test_pictures_are_alike_whatever_their_light_and_one_of_one_colour_like_no_other():
    rows = made(["a", "b", "c", "d"], near=[(0, 1)]).pictures
    rows[3] = 200
    likeness = pairs.alike(rows)
    assert likeness.dtype == torch.float32
    assert likeness[0, 1] > 0.99
    assert likeness[0, 2].abs() < 0.3
    assert likeness[3].abs().max() < 1e-3
    assert likeness.equal(likeness.T)
    greys = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 64, 64)
    assert pairs.alike(greys).abs().max() < 1e-3  # though the mean of some is not quite that grey


def test_groups_are_chains_of_one_file_one_caption_or_twins():
    files = ["p", "p", "q", "r", "s", "t", "u", "v"]
    captions = ["one", "two", "TWO", "three", "four", "five", "", ""]
    found = pairs.groups(made(captions, files=files, same=[(0, 1)], near=[(2, 3), (4, 5)]))
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 2, 3]  # and rows without a caption have none in common


def test_the_same_picture_of_one_colour_is_one_group_and_found():
    grey = torch.full((3, 3, 64, 64), 128, dtype=torch.uint8)
    grey[2] = 90  # another one, though `alike` cannot tell
    own = Pairs(["a", "b", "c"], ["one", "two", "three"], grey, {})
    assert pairs.groups(own).tolist() == [0, 0, 1]
    found = {row["looked for"]: row["for example"] for row in pairs.check(own) if row["found"]}
    assert found["the same picture twice"] == "a and b"
    assert "near twins" not in found


@pytest.mark.parametrize("threshold", [0, 1.01, -1, float("nan"), "high", None])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises((TypeError, ValueError), match="threshold must be"):
        pairs.groups(made(["a", "b"]), threshold=threshold)


@settings(max_examples=60)
@given(
    st.lists(st.integers(-3, 9), min_size=2, max_size=40).filter(lambda rows: len(set(rows)) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_no_group_is_on_both_sides_and_the_test_has_its_share_at_most(groups, share, seed):
    groups = torch.tensor(groups)
    train, test = pairs.split(groups, share=share, seed=seed)
    assert sorted(train.tolist() + test.tolist()) == list(range(len(groups)))
    assert train.tolist() == sorted(train.tolist())
    assert test.tolist() == sorted(test.tolist())
    assert len(train) > 0
    assert len(test) > 0
    assert not {*groups[train].tolist()} & {*groups[test].tolist()}
    room, sizes = max(1, round(share * len(groups))), groups.unique(return_counts=True)[1]
    assert len(test) <= room or len(test) == sizes.min()  # the smallest group, where none fits
    again = pairs.split(groups, share=share, seed=seed)
    assert train.equal(again[0])
    assert test.equal(again[1])


def test_another_seed_draws_other_rows_and_the_share_is_met():
    groups = torch.arange(300) // 3
    tests = [pairs.split(groups, share=0.3, seed=seed)[1] for seed in range(3)]
    assert [len(rows) for rows in tests] == [90, 90, 90]
    assert len({tuple(rows.tolist()) for rows in tests}) == 3


@pytest.mark.parametrize("share", [0, 1, -0.2, 1.5, float("inf"), "half"])
def test_a_share_that_is_none(share):
    with pytest.raises((TypeError, ValueError), match="share must"):
        pairs.split(torch.arange(9), share=share)


def test_one_group_cannot_be_split():
    with pytest.raises(ValueError, match="groups must be at least two, got 1: all rows are twins"):
        pairs.split(torch.zeros(9, dtype=torch.int64))


# -- what is wrong with the data


def found(read):
    return {row["looked for"]: row["found"] for row in pairs.check(read) if row["found"]}


def many(n=400):
    """Pairs with nothing wrong: n pictures with n captions."""
    pictures = torch.randint(256, (n, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    return Pairs([f"{row}.png" for row in range(n)], [f"number {row}" for row in range(n)], pictures, {})


def test_where_nothing_is_wrong_all_rows_are_there_without_advice():
    rows = pairs.check(many())
    assert [row["looked for"] for row in rows] == LOOKED_FOR
    assert all(row == {**row, "found": 0, "for example": "", "what to do": ""} for row in rows)


def test_each_thing_that_load_meets_is_told_with_an_example_and_advice():
    for kind, looked in zip(pairs.KINDS, LOOKED_FOR[:6], strict=True):
        read = many()
        read.found[kind] = ["x.png", "y.png", "z.png"]
        rows = [row for row in pairs.check(read) if row["found"]]
        assert [(row["looked for"], row["found"], row["for example"]) for row in rows] == [
            (looked, 3, "x.png, y.png")
        ]
        assert rows[0]["what to do"].endswith(".")


def test_too_few_twins_and_captions_that_repeat_are_told():
    assert found(many(399)) == {"fewer than 400 pairs": 1}
    read = many()
    read.pictures[1], read.pictures[9] = read.pictures[0], read.pictures[8] // 2 + 60
    assert found(read) == {"the same picture twice": 1, "near twins": 1}
    assert pairs.check(read)[7]["for example"] == "0.png and 1.png"
    assert pairs.check(read)[8]["for example"] == "8.png and 9.png"
    read = many()
    read.captions[3:6] = ["Same", "same", "SAME"]
    assert found(read) == {"captions that repeat": 1}
    read.captions[:200] = ["a photo"] * 200
    assert found(read) == {"captions that repeat": 1}
    read.captions[200] = "a photo"
    assert found(read) == {"captions that repeat": 1, "one caption for more than half": 1}
    assert pairs.check(read)[10]["for example"] == "a photo"


def test_one_picture_with_three_captions_is_no_twin_of_itself(folder):
    read = load(write(folder, [("a.png", "one"), ("a.png", "uno"), ("a.png", "un"), ("b.png", "two")]))
    assert found(read) == {"pictures that no row names": 1, "fewer than 400 pairs": 1}
    assert pairs.one_row_a_file(read).tolist() == [0, 3]


def test_a_folder_without_captions_is_checked_for_its_pictures_alone(folder):
    noise(0).save(folder / "d.png")
    assert found(load(folder)) == {"the same picture twice": 1}


def test_near_twins_are_those_above_the_threshold():
    read = many()
    mix = read.pictures[0].float() + 0.5 * read.pictures[1].float()
    read.pictures[2] = (mix / 1.5).byte()
    likeness = pairs.alike(read.pictures)[0, 2].item()
    for threshold, n in ((likeness - 0.01, 1), (likeness + 0.01, 0)):
        assert pairs.check(read, threshold=threshold)[8]["found"] == n
        assert (len(pairs.groups(read, threshold=threshold).unique()) == 399) == bool(n)


# -- the second domain


def test_a_second_folder_with_captions_is_halved_and_measured_where_it_has_some(folder):
    second = folder / "second"
    second.mkdir()
    for seed in range(10):
        noise(100 + seed).save(second / f"{seed}.png")
    own = load(folder)
    rows = torch.arange(3)
    there = pairs.load_second(folder, own, rows[:2], rows[2:])
    assert (there.made, len(there.pictures), there.captions) == (False, 10, [""] * 10)
    assert (len(there.pool), len(there.measured)) == (10, 0)  # all there is to adapt to
    assert there.groups.tolist() == list(range(10))
    write(second, [(f"{seed}.png", f"number {seed}") for seed in range(10)])
    there = pairs.load_second(folder, own, rows[:2], rows[2:])
    assert sorted(there.pool.tolist() + there.measured.tolist()) == list(range(10))
    assert (len(there.pool), len(there.measured)) == (5, 5)
    assert there.pool.tolist() == sorted(there.pool.tolist())
    assert (there.captions[7], there.files[7]) == ("number 7", "7.png")
    assert not there.pool.equal(pairs.load_second(folder, own, rows[:2], rows[2:], seed=1).pool)


def test_of_a_second_folder_what_has_no_caption_is_adapted_to(folder):
    second = folder / "second"
    second.mkdir()
    for seed in range(12):
        noise(100 + seed).save(second / f"{seed}.png")
    noise(100).save(second / "again.png")  # number 0 once more, and no row names it
    (second / "broken.png").write_text("no picture")
    write(second, [*((f"{seed}.png", f"number {seed}") for seed in range(6)), ("6.png", "")])
    rows = torch.arange(3)
    measured = []
    for seed in range(8):
        there = pairs.load_second(folder, load(folder), rows[:2], rows[2:], seed=seed)
        assert there.found["no picture"] == ["broken.png"]
        assert not there.found["no caption"] + there.found["not in the table"]
        assert all(there.captions[row] for row in there.measured.tolist())
        in_pool = {there.files[row] for row in there.pool.tolist()}
        assert {f"{seed}.png" for seed in range(6, 12)} <= in_pool
        assert not {*there.groups[there.pool].tolist()} & {*there.groups[there.measured].tolist()}
        measured.append(len(there.measured))
    assert 0 < sum(measured) < 6 * 8


def test_a_second_folder_of_one_group_cannot_be_halved(folder):
    second = folder / "second"
    second.mkdir()
    for name in ("a.png", "b.png"):
        noise(9).save(second / name)
    own, rows = load(folder), torch.arange(3)
    assert len(pairs.load_second(folder, own, rows[:2], rows[2:]).pool) == 2
    write(second, [("a.png", "one"), ("b.png", "two")])
    with pytest.raises(ValueError, match=r"the pictures in .*second cannot be halved: groups must be at least two"):
        pairs.load_second(folder, own, rows[:2], rows[2:])


def test_without_a_second_folder_it_is_made_of_the_same_pictures(folder):
    own, rows = load(write(folder, THREE)), torch.arange(3)
    there = pairs.load_second(folder, own, rows[:2], rows[2:])
    assert there.made
    assert (there.files, there.captions) == (own.files, own.captions)
    assert there.groups.equal(pairs.groups(own))
    assert (there.pool.tolist(), there.measured.tolist()) == ([0, 1], [2])
    assert there.pictures.equal(pairs.at_dusk(own.pictures))


def test_dusk_is_dark_blue_noisy_and_the_same_each_time():
    white = torch.full((2, 3, 64, 64), 255, dtype=torch.uint8)
    before, state = white.clone(), torch.random.get_rng_state()
    dusk = pairs.at_dusk(white)
    assert dusk.dtype == torch.uint8
    assert dusk.equal(pairs.at_dusk(white))
    assert white.equal(before)
    assert torch.random.get_rng_state().equal(state)
    assert dusk.float().mean(dim=(0, 2, 3)).tolist() == pytest.approx([71.4, 81.6, 117.3], abs=1)
    assert dusk.float().std(dim=(0, 2, 3)).tolist() == pytest.approx([12, 12, 12], abs=0.5)
    assert pairs.at_dusk(0 * white).max() > 30  # no number goes round below 0 or above 255
    assert pairs.at_dusk(0 * white).float().mean() < 6


# -- the example


@pytest.fixture
def icons(tmp_path, monkeypatch):
    """An example of three emoji, in a cache of its own."""
    characters, names = ["😀", "🐉", "☎️"], {"en": ["a face", "a dragon", "a phone"], "zh": ["嘿嘿", "龙", "电话"]}
    dice = torch.Generator().manual_seed(0)
    images = {style: torch.randint(256, (3, 4, 64, 64), generator=dice).byte() for style in ("noto", "twemoji")}
    made = SimpleNamespace(characters=characters, names=names, images=images)
    monkeypatch.setattr(emoji, "load", lambda styles: made)
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))
    return made


def test_the_example_is_a_folder_like_any_other(icons, tmp_path):
    place = pairs.example("zh")
    read, second = load(place), load(place / "second")
    assert read.captions == second.captions == ["嘿嘿", "龙", "电话"]
    assert read.files == ["1f600.png", "1f409.png", "260e.png"]
    wanted = (emoji.on_background(icons.images["twemoji"]) * 255).round()
    assert (second.pictures - wanted).abs().max() < 1
    assert not any(read.found.values())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [place.name]
    before = (place / "captions.csv").stat().st_mtime_ns
    assert pairs.example("zh") == place
    assert (place / "captions.csv").stat().st_mtime_ns == before
    assert pairs.example("en") != place
    with pytest.raises(ValueError, match="language must be one of 'en', 'zh', got 'tlh'"):
        pairs.example("tlh")


@pytest.mark.parametrize("stop", [OSError("no room"), KeyboardInterrupt()])
def test_what_is_interrupted_leaves_nothing_behind(icons, tmp_path, monkeypatch, stop):
    save, times = Image.Image.save, []

    def breaks(*given):
        times.append(given)
        if len(times) == 5:
            raise stop
        save(*given)

    monkeypatch.setattr(Image.Image, "save", breaks)
    with pytest.raises(type(stop)):
        pairs.example()
    assert not list((tmp_path / "cache").iterdir())
    folder = pairs.example()
    assert len(load(folder).files) == 3
    if os.name == "posix":  # a cache may be shared
        assert folder.stat().st_mode & 0o777 == 0o755


def test_two_notebooks_write_it_at_once(icons, tmp_path, monkeypatch):
    save, other = Image.Image.save, []

    def meanwhile(*given):
        if not other:
            other.append(None)
            other[:] = [pairs.example()]
        save(*given)

    monkeypatch.setattr(Image.Image, "save", meanwhile)
    place = pairs.example()
    assert other == [place]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [place.name]
    assert len(load(place).files) == 3


def test_a_cache_that_cannot_be_written_is_an_error(icons, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="file"):
        pairs.example()


# -- features


def test_letters_are_fitted_on_the_captions_alone_and_know_any_language():
    captions = ["red cat", "red dog", "blue dog", "一条龙", "一只猫"]
    read = trained.caption_features(captions, reading="letters")
    alone = read(["red cat"])
    assert alone.shape == (1, 4)
    assert alone.dtype == torch.float32
    assert torch.allclose(read(["zebra xylophone", "red cat"])[1:], alone)
    assert torch.allclose(read(["Red Cat", "red cat"]), alone.expand(2, -1))
    cat, cats, dog, dragon, two = read(["red cat", "red cats", "blue dog", "一条龙", "两条龙"])
    assert cat @ cats > cat @ dog
    assert dragon @ two > dragon @ cat
    assert torch.allclose(*read(["@#%", "жук"]))  # of which nothing is known but where they begin and end
    assert read(captions).norm(dim=1).tolist() == pytest.approx([1] * 5)


def test_letters_are_runs_of_one_to_four(monkeypatch):
    made, count = [], sklearn.feature_extraction.text.TfidfVectorizer
    monkeypatch.setattr(
        sklearn.feature_extraction.text,
        "TfidfVectorizer",
        lambda **options: made.append(count(**options)) or made[0],
    )
    trained.caption_features(["red cat", "blue dog"], reading="letters")
    assert {len(run) for run in made[0].vocabulary_} == {1, 2, 3, 4}
    assert {"blue", " cat", "cat "} <= {*made[0].vocabulary_}
    assert "d ca" not in made[0].vocabulary_  # within words, and their ends


def test_both_readings_stand_side_by_side(monkeypatch):
    monkeypatch.setattr(trained.text, "minilm_features", lambda texts: torch.ones(len(texts), 384))
    captions = ["red cat", "red dog", "blue dog"]
    parts = {reading: trained.caption_features(captions, reading=reading) for reading in trained.READINGS}
    assert parts["both"](captions).equal(torch.cat([parts["meaning"](captions), parts["letters"](captions)], dim=1))
    see, read = trained.frozen(captions)
    assert see(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 1088)
    assert read(["red"]).shape == (1, 386)


def test_captions_and_readings_that_are_none():
    with pytest.raises(ValueError, match="reading must be one of 'meaning', 'letters', 'both', got 'sound'"):
        trained.caption_features(["a", "b"], reading="sound")
    for captions in ("red cat", [], [3]):
        with pytest.raises((TypeError, ValueError), match="captions must"):
            trained.caption_features(captions)


def test_different_captions_in_their_order():
    different, which = trained.numbered(["b", "A", "B", "a", "c"])
    assert different == ["b", "A", "c"]
    assert which.tolist() == [0, 1, 0, 1, 2]
    assert which.dtype == torch.int64


# -- training


def features(n, *, images=24, texts=16):
    dice = torch.Generator().manual_seed(n)
    return torch.randn(n, images, generator=dice), torch.randn(n, texts, generator=dice)


def drawn(monkeypatch, captions, draws=30, **options):
    """The rows of the batches that `train_pairs` would draw."""
    images, texts = features(len(captions))
    caught = {}
    monkeypatch.setattr(trained, "adapt", lambda start, batches, **given: caught.update(given, batches=batches))
    trained.train_pairs(images, texts, captions, start=torch.nn.ModuleDict(), **options)
    generator, rows = torch.Generator().manual_seed(0), []
    for _ in range(draws):
        x, y = caught["batches"].source(generator)
        at = [next(row for row in range(len(images)) if images[row].equal(one)) for one in x]
        assert texts[at].equal(y)
        rows.append(at)
    return rows, caught


def test_no_caption_comes_twice_in_a_batch_and_each_picture_comes(monkeypatch):
    captions = ["one", "two", "One", "three", "ONE", "two", "four"]
    rows, caught = drawn(monkeypatch, captions)
    assert all(len({captions[row].lower() for row in batch}) == len(batch) == 4 for batch in rows)
    assert {row for batch in rows for row in batch} == set(range(7))
    ones = [row for batch in rows for row in batch if captions[row].lower() == "one"]
    assert min(ones.count(row) for row in (0, 2, 4)) >= 4
    assert caught["classes"].equal(features(7)[1][[0, 1, 3, 6]])
    assert (caught["steps"], caught["rate"], caught["decay"]) == (320, 2e-3, 0.1)  # of lesson 03's emoji
    rows, _ = drawn(monkeypatch, captions, batch=3)
    assert all(len(batch) == 3 for batch in rows)


def test_target_pictures_are_drawn_as_they_are(monkeypatch):
    target = 7 + torch.arange(5.0)[:, None].expand(5, 24)
    _, caught = drawn(monkeypatch, ["a", "b", "c"], target=target)
    plain, changed = caught["batches"].target(torch.Generator().manual_seed(0))
    assert plain.shape == (3, 24)
    assert plain.equal(changed)
    assert {*plain[:, 0].tolist()} <= {7, 8, 9, 10, 11}


def test_the_same_seed_gives_the_same_towers_and_start_goes_on():
    images, texts = features(12)
    captions = [f"number {row % 6}" for row in range(12)]
    one, run = trained.train_pairs(images, texts, captions, steps=4, seed=3)
    two, _ = trained.train_pairs(images, texts, captions, steps=4, seed=3)
    other, _ = trained.train_pairs(images, texts, captions, steps=4, seed=4)
    assert trained.embed_images(one, images).equal(trained.embed_images(two, images))
    assert not trained.embed_images(one, images).allclose(trained.embed_images(other, images))
    assert run.step == 4
    assert not one.training
    on, _ = trained.train_pairs(images, texts, captions, start=one, steps=1)
    assert trained.embed_images(one, images).equal(trained.embed_images(two, images))  # a copy was trained
    moved = (trained.embed_texts(on, texts) * trained.embed_texts(one, texts)).sum(dim=1)
    assert 0.5 < moved.min() < 1


def test_two_captions_are_enough_and_one_is_not():
    images, texts = features(3)
    _, run = trained.train_pairs(images, texts, ["a", "b", "A"], steps=2)
    assert run.step == 2
    with pytest.raises(ValueError, match=r"captions must be at least two different ones, got \['a'\]"):
        trained.train_pairs(images, texts, ["a", "a", "A"], steps=2)


def test_rows_and_captions_are_as_many():
    images, texts = features(4)
    with pytest.raises(ValueError, match="images, texts and captions must be as many, got 4, 4 and 3"):
        trained.train_pairs(images, texts, list("abc"), steps=2)


@pytest.mark.parametrize("options", [{"align": {"mmd": 1.0}}, {"information": 1.0}, {"guesses": 1.0}])
def test_what_needs_a_second_domain_says_so_without_one(options):
    images, texts = features(4)
    with pytest.raises(ValueError, match="target must be"):
        trained.train_pairs(images, texts, list("abcd"), steps=2, **options)
    target = torch.randn(5, 24)
    _, run = trained.train_pairs(images, texts, list("abcd"), target=target, steps=2, **options)
    assert {"mmd", "information", "guesses"} & {*run.history[0]}


@pytest.mark.long
def test_towers_learn_what_there_is_to_learn():
    dice = torch.Generator().manual_seed(0)
    hidden = torch.randn(60, 6, generator=dice)
    images, texts = (hidden @ torch.randn(6, d, generator=dice) for d in (24, 16))
    model, _ = trained.train_pairs(images[:50], texts[:50], [f"number {row}" for row in range(50)], steps=60)
    za, zb = trained.embed_images(model, images), trained.embed_texts(model, texts)
    assert hits(za[50:], zb[50:], k=[1]).mean() > 0.4
    assert info_nce(za[50:], zb[50:], logit_scale=10.0) < 2.0


# -- measuring


def test_found_captions_against_a_loop():
    captions = ["one", "two", "One", "three", "two", "four"]
    dice = torch.Generator().manual_seed(0)
    za = F.normalize(torch.randn(6, 5, generator=dice), dim=1)
    zb = F.normalize(torch.randn(6, 5, generator=dice), dim=1)
    zb[2], zb[4] = zb[0], zb[1]
    different = [0, 1, 3, 5]
    for row, got in enumerate(trained.found_captions(za, zb, captions, k=[1, 2])):
        order = sorted(different, key=lambda other, row=row: -float(za[row] @ zb[other]))
        right = next(other for other in different if captions[other].lower() == captions[row].lower())
        assert got.tolist() == [order.index(right) < 1, order.index(right) < 2]


def test_any_caption_of_a_picture_is_right_for_it():
    files, captions = ["a", "b", "a", "c", "a"], ["one", "two", "uno", "two", "One"]
    dice = torch.Generator().manual_seed(0)
    of_file = F.normalize(torch.randn(3, 5, generator=dice), dim=1)
    za, zb = of_file[[0, 1, 0, 2, 0]], F.normalize(torch.randn(3, 5, generator=dice), dim=1)[[0, 1, 2, 1, 0]]
    found = trained.found_captions(za, zb, captions, files=files, k=[1, 2])
    right = {"a": {0, 2}, "b": {1}, "c": {1}}
    for row, got in enumerate(found.tolist()):
        order = (zb[:3] @ za[row]).argsort(descending=True).tolist()
        assert got == [bool(right[files[row]] & {*order[:k]}) for k in (1, 2)]
    plain = trained.found_captions(za, zb, captions, k=[1])
    assert plain[0] + plain[2] <= 1  # only one of two stands first
    with pytest.raises(ValueError, match="za, zb, captions and files must be as many, got 5, 5, 5 and 4"):
        trained.found_captions(za, zb, captions, files=files[1:])


def test_chance_is_the_mean_over_all_orders_of_the_captions():
    files, captions = ["a", "b", "a", "c", "d", "a"], ["one", "two", "uno", "two", "four", "One"]
    za = torch.tensor([[1.0, 0.0]]).expand(6, 2)  # all pictures have the captions in one order
    angles = [torch.tensor(order)[[0, 1, 2, 1, 3, 0]] / 4 for order in itertools.permutations(range(4))]
    for k in (1, 2, 9):
        found = [
            trained.found_captions(za, torch.stack([x.cos(), x.sin()], dim=1), captions, files=files, k=[k]).mean()
            for x in angles
        ]
        by_chance = trained.found_by_chance(captions, files=files, k=k)
        assert by_chance == pytest.approx(torch.stack(found).mean().item())
    assert trained.found_by_chance(list("abcde"), k=2) == pytest.approx(0.4)
    assert trained.found_by_chance(list("abcde"), k=9) == 1


@pytest.mark.parametrize("n", [2, 3, 9])
def test_cca_of_few_pairs_finds_its_own_pairs(n):
    images, texts = features(n)
    see, read = trained.cca_pairs(images, texts)
    assert see(images).shape == read(texts).shape == (n, min(n - 1, 16))
    assert (see(images) @ read(texts).T).argmax(dim=1).tolist() == list(range(n))
    assert see(images[:1]).norm().item() == pytest.approx(1, abs=1e-5)


def test_cca_is_that_of_lesson_01_weighted_by_its_correlations():
    images, texts = features(40)
    see, read = trained.cca_pairs(images, texts)
    found = space.cca(images, texts, dim=16, regularisation=1.0)
    assert torch.allclose(see(images), F.normalize(found.project_a(images) * found.correlations, dim=1), atol=1e-5)
    assert torch.allclose(read(texts), F.normalize(found.project_b(texts) * found.correlations, dim=1), atol=1e-5)


def test_cca_has_no_more_directions_than_there_are_different_pictures():
    images, texts = features(12)
    images[6:] = images[:6] + 1e-7  # the same ones again, but for rounding
    see, _ = trained.cca_pairs(images, texts)
    assert see(images).shape == (12, 5)


def test_a_second_domain_is_moved_by_what_its_pool_shows():
    dice = torch.Generator().manual_seed(0)
    pool = 5 + 3 * torch.randn(50, 4, generator=dice)
    source = torch.randn(30, 4, generator=dice) * torch.tensor([1.0, 2, 3, 4]) - 1
    pool[:, 3] = 9.0
    before = pool.clone()
    moved = trained.onto_source(pool, pool, source)
    assert torch.allclose(moved.mean(dim=0), source.mean(dim=0), atol=1e-5)
    assert torch.allclose(moved.std(dim=0), pool.std(dim=0))
    stretched = trained.onto_source(pool, pool, source, spread=True)
    assert torch.allclose(stretched.mean(dim=0), source.mean(dim=0), atol=1e-5)
    assert torch.allclose(stretched[:, :3].std(dim=0), source[:, :3].std(dim=0))
    assert stretched[:, 3].std() == 0
    assert pool.equal(before)
    one = trained.onto_source(pool[:1] + 1, pool, source, spread=True)
    assert torch.allclose(one - stretched[:1], (source.std(0) / pool.std(0)).where(pool.std(0) > 0, 1.0), atol=1e-5)


def test_scores_without_captions_are_those_of_lesson_05():
    images, texts = features(9)
    model = trained.emoji_model(0, images, texts).eval()
    scores = trained.without_captions(model, images, texts[:4])
    logits = model["scale"]() * trained.embed_images(model, images) @ trained.embed_texts(model, texts[:4]).T
    shares = logits.softmax(dim=1)
    entropy = -(shares * shares.log()).sum(dim=1).mean()
    mean = shares.mean(dim=0)
    assert list(scores) == ["information", "entropy", "density"]
    assert scores["entropy"] == pytest.approx(entropy.item(), abs=1e-4)
    assert scores["information"] == pytest.approx((-(mean * mean.log()).sum() - entropy).item(), abs=1e-4)


def test_bursts_are_the_same_picture_moved_and_darker():
    pictures = torch.stack([torch.from_numpy(np.array(noise(row, 8).resize((64, 64)))) for row in range(3)])
    pictures = pictures.movedim(3, 1).contiguous()
    shots = trained.bursts(pictures, shots=3, seed=1)
    assert shots.shape == (3, 3, 3, 64, 64)
    assert shots.dtype == torch.uint8
    assert shots.equal(trained.bursts(pictures, shots=3, seed=1))
    assert not shots.equal(trained.bursts(pictures, shots=3, seed=2))
    assert not shots[:, 0].equal(shots[:, 1])
    likeness = pairs.alike(torch.cat([pictures, shots.flatten(0, 1)]))[:3, 3:].view(3, 3, 3)
    assert likeness.mean(dim=2).argmax(dim=1).tolist() == [0, 1, 2]
    light = trained.bursts(torch.full((40, 3, 64, 64), 200, dtype=torch.uint8))[..., 32, 32].float() / 200
    assert 0.79 <= light.min() < 0.83
    assert 0.97 < light.max() <= 1
