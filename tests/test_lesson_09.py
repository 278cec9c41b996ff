"""Lesson 09 runs on folders that nobody prepared, its panel can be read, its stored runs can be measured again."""

import math
from pathlib import Path

import nbformat
import numpy as np
import panels
import pytest
import results
import torch
import torch.nn.functional as F
from lessons import NOTEBOOKS
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from photographs import photographs
from PIL import Image
from scenes import walk

from xlib.course import report


def executed(folder, at, monkeypatch):
    """The lesson with FOLDER set to a folder, run in `at`, by what its code cells print, by id."""
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    notebook = nbformat.read(NOTEBOOKS / "09_your_own.ipynb", as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    begins = [line for line in cells["folder"].source.splitlines() if line.startswith("FOLDER = None")]
    assert len(begins) == 1
    cells["folder"].source = cells["folder"].source.replace(begins[0], f"FOLDER = {str(folder)!r}")
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(at)}}).execute()

    def words(output):
        return output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))

    return {name: "".join(map(words, cell.get("outputs", []))) for name, cell in cells.items()}


@pytest.mark.long
def test_it_runs_on_photographs_that_nobody_prepared(tmp_path, monkeypatch):
    folder = photographs(tmp_path / "some photographs")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    (tmp_path / "work").mkdir()
    said = executed(folder, tmp_path / "work", monkeypatch)
    assert "28 pairs of pictures and captions, such as: an astronaut in an orange suit" in said["folder"]
    assert "OpenMoji" not in said["first-look"]  # whose licence is not that of these pictures
    rows = [" ".join(line.split()) for line in said["check-run"].splitlines()]
    assert "rows whose file is not there 1 gone.png Mend the name (capitals count). It is left out here." in rows
    assert "files that are no picture 1 broken.jpg Save it anew as PNG or JPEG. It is left out here." in rows
    assert any(row.startswith("the same picture twice 2 chessboard_GRAY.png and chessboard_RGB.png") for row in rows)
    assert any(row.startswith("near twins 1 motorcycle_left.png and motorcycle_right.png Look") for row in rows)
    assert "fewer than 400 pairs 1 28 pairs Collect more: section 3 shows what fewer are worth." in rows
    assert "A test of 6 is small" in said["split"]
    assert "made of your own, at dusk" in said["second-load"]
    assert "second (oracle)" in said["adapt-table"]
    assert "hold in this run" in said["claims-second"]
    assert (tmp_path / "work" / "my_space.html").stat().st_size > 50_000
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.long
def test_a_second_domain_without_captions_is_adapted_to_and_not_measured(tmp_path, monkeypatch):
    folder = photographs(tmp_path / "photographs")
    (folder / "second").mkdir()
    for name in ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "horse", "moon", "page", "text"):
        Image.open(folder / f"{name}.png").convert("L").rotate(90).save(folder / "second" / f"{name}.jpg")
    said = executed(folder, tmp_path, monkeypatch)
    assert "10 pictures of a second domain" in said["second-load"]
    assert "10 to adapt to, without captions; 0 to measure on" in said["second-load"]
    assert "oracle" not in said["adapt-table"]
    assert "there are no captions to know it by" in said["adapt-table"]


def drawn(folder, captions, many=24):
    """A folder of pictures of noise, the n-th with captions(n)."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    lines = ["file,caption"]
    for n in range(many):
        Image.fromarray(dice.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{n}.png")
        lines += [f"{n}.png,{caption}" for caption in captions(n)]
    (folder / "captions.csv").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.mark.long
def test_a_picture_with_two_captions_is_no_twin_of_itself_and_both_are_right(tmp_path, monkeypatch):
    folder = drawn(tmp_path / "two captions", lambda n: [f"number {n}", f"nombre {n}"])
    said = executed(folder, tmp_path, monkeypatch)
    assert "48 pairs of pictures" in said["folder"]
    assert "pictures with a twin: 0.00" in said["check-run"]
    assert "0 pairs are alike by more than 0.95" in said["twins-panel"]
    chance = next(line for line in said["baseline"].splitlines() if line.startswith("chance"))
    share = 1 - math.comb(8, 5) / math.comb(10, 5)  # two of ten captions are right for each of the five pictures
    assert [float(x) for x in chance.split()[1:]] == pytest.approx([0.2, share, 1], abs=0.06)
    assert "split by burst" in said["bursts-run"]


@pytest.mark.long
def test_a_test_of_one_caption_says_nothing_and_says_so(tmp_path, monkeypatch):
    folder = drawn(tmp_path / "kinds", lambda n: [f"kind {n % 6}"])
    said = executed(folder, tmp_path, monkeypatch)
    assert "All pictures of the test have one caption" in said["split"]
    assert (tmp_path / "my_space.html").is_file()


@pytest.mark.long
def test_a_folder_without_a_table_is_told_what_to_write(tmp_path, monkeypatch):
    folder = drawn(tmp_path / "bare", lambda n: [])
    (folder / "captions.csv").unlink()
    with pytest.raises(
        CellExecutionError, match=r"ValueError.*there is no captions.csv in .*bare. Its first line is"
    ):
        executed(folder, tmp_path, monkeypatch)


@pytest.mark.long
def test_nine_pairs_are_too_few_and_ten_are_enough(tmp_path, monkeypatch):
    with pytest.raises(CellExecutionError, match=r"nine has 9 pairs, and 10 are the least"):
        executed(drawn(tmp_path / "nine", lambda n: [f"number {n}"], many=9), tmp_path, monkeypatch)
    said = executed(drawn(tmp_path / "ten", lambda n: [f"number {n}"], many=10), tmp_path, monkeypatch)
    assert "A test of 2 is small" in said["split"]
    assert (tmp_path / "my_space.html").is_file()


@pytest.mark.long
def test_the_whole_way_in_twenty_lines_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOKS / "09_your_own.ipynb", as_version=4).cells}
    way = cells["claims-title"].partition("```python\n")[2].partition("```")[0]
    steps = [[line for line in step.splitlines() if line] for step in way.split("\n\n")]
    assert max(map(len, steps)) <= 5
    assert sum(map(len, steps)) <= 20
    names = panels.start() | {"FOLDER": photographs(tmp_path / "photographs")}
    panels.run("09_your_own", names, "set-up")
    exec(way, names)
    assert len(names["moved"]) == 28
    assert "page.js" not in Path("my_space.html").read_text("utf-8")
    assert "a ginger cat looks past the camera" in {*names["of_train"], *names["of_test"]}


def test_where_clip_makes_the_features_it_stands_beside_as_it_is(tmp_path):
    cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOKS / "09_your_own.ipynb", as_version=4).cells}
    names = panels.run("09_your_own", panels.start(), "set-up")
    folder = drawn(tmp_path / "clip", lambda n: [f"number {n}"])
    exec(cells["folder"].replace("None", repr(str(folder)), 1).replace("CLIP = False", "CLIP = True"), names)
    space = F.normalize(torch.randn(24, 16, generator=torch.Generator().manual_seed(0)), dim=1)

    def made(captions, *, clip, device):
        assert clip
        return (lambda pictures: 2 * space), lambda texts: torch.stack(
            [space[int(text.split()[1])] for text in texts]
        )

    names["frozen"] = made  # a CLIP that knows each pair
    for cell in ("split", "features-run", "baseline"):
        exec(cells[cell], names)
    told = {row["5 pairs of the test"]: row["R@1"] for row in names["rows"]}
    assert list(told) == ["chance", "CCA, a formula", "CLIP as it is"]
    assert told["CLIP as it is"].value == 1


def test_the_panel_can_be_read_everywhere():
    walk(panels.of_lesson("09 twins"))


def test_what_the_panel_says_is_so():
    panel, own = panels.of_lesson("09 twins"), panels.your_own()["own"]
    small = F.adaptive_avg_pool2d(own.pictures.float(), 16).flatten(1)
    for threshold in (0.9, 0.97):
        panel.model.threshold = threshold
        above = (torch.corrcoef(small).triu(1) > threshold).sum().item()
        said = int(panel.alt_text.split(" pairs are alike")[0].replace(",", ""))
        assert said == pytest.approx(above, abs=2)  # pairs at the very threshold, but for rounding


@pytest.mark.long
def test_a_stored_run_can_be_measured_again():
    """Another processor rounds otherwise, and what it ends at may differ by as much as seeds do."""
    runs, _ = results.own_folder()
    stored = report.stored("09_own")["25 pairs"]
    found = runs["25 pairs"](0)
    assert found.keys() == stored[0].keys() - {"seed"}
    for name in ("test", "CCA test"):
        spread = max(run[name] for run in stored) - min(run[name] for run in stored)
        assert found[name] == pytest.approx(stored[0][name], abs=spread + 0.01), name
