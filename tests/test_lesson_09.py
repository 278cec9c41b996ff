"""Lesson 09 runs on folders that nobody prepared, its panel can be read, its stored runs can be measured again."""

import nbformat
import panels
import pytest
import results
import torch
from lessons import NOTEBOOKS
from nbclient import NotebookClient
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
    assert "6 pictures for the test are few" in said["split"]
    assert "made of your own, at dusk" in said["second-load"]
    assert "second (oracle)" in said["adapt-table"]
    assert "hold in this run" in said["claims-stored"]
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
    assert "5 to adapt to, without captions; 0 to measure on" in said["second-load"]
    assert "oracle" not in said["adapt-table"]
    assert "there are no captions to know it by" in said["adapt-table"]


def test_the_panel_can_be_read_everywhere():
    walk(panels.of_lesson("09 twins"))


def test_what_the_panel_says_is_so():
    panel, own = panels.of_lesson("09 twins"), panels.your_own()["own"]
    small = torch.nn.functional.adaptive_avg_pool2d(own.pictures.float(), 16).flatten(1)
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
