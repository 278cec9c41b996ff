"""Lesson 08's own code does what the experiments do, its panels can be read, its stored runs can be measured again,
and it runs where no clip can be spoken."""

import contextlib
import copy

import nbformat
import panels
import pytest
import results
import torch
from lessons import NOTEBOOKS
from nbclient import NotebookClient
from scenes import walk

from xlib.course import report
from xlib.data import speech
from xlib.experiments import voices
from xlib.experiments.speech import heard, train_three


@contextlib.contextmanager
def clips_that_come_along():
    """A few voices, as where the engine is missing. Only for a while: the stored runs are of all voices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech, "missing", lambda: "a test wants it so")
        patch.setattr(speech, "_say_once", lambda reason: None)
        heard.cache_clear()
        yield patch
        heard.cache_clear()


@pytest.fixture(scope="module")
def trained():
    """What the lesson defines up to the first training, of three steps."""
    with clips_that_come_along() as patch:
        patch.setenv("XLIB_BUDGET", "smoke")
        cells = ("set-up", "first-look-sounds", "baseline-run", "train-parts", "train-loop")
        return panels.run("08_sound", panels.start(), *cells)


@pytest.fixture
def lesson(trained):
    with clips_that_come_along():
        yield trained


def test_the_lesson_trains_as_the_stored_runs_were(lesson):
    expected, _ = train_three(seed=0, steps=lesson["steps"])
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(lesson["towers"].state_dict()[name], value, msg=name)


def test_the_lesson_adapts_as_the_stored_runs_were(lesson):
    scope = panels.run("08_sound", dict(lesson), "tent-run")
    clips = scope["KINDS"]["accents"]
    log = scope["tent"](clips, steps=4, every=2)
    assert [row["step"] for row in log] == [0, 2, 4]
    towers, _ = voices.tent(lesson["towers"], clips.features, steps=4, rate=0.01)
    expected = voices.understood(towers, clips)
    assert log[2] == {"step": 4} | {name: pytest.approx(value, abs=1e-4) for name, value in expected.items()}
    assert log[0]["entropy"] > log[2]["entropy"]


@pytest.mark.parametrize("name", ["08 moment", "08 bridge", "08 anchors"])
def test_the_panels_can_be_read_everywhere(name):
    walk(panels.of_lesson(name))


def test_what_the_bridge_says_is_so():
    panel = panels.of_lesson("08 bridge")
    panel.model.a, panel.model.b = 0.9, 0.9
    assert "have one from 0.62 to 1.00, and 0.81 in the mean" in panel.alt_text


@pytest.mark.long
def test_a_stored_run_can_be_measured_again():
    """A sound tower from ten pairs, beside pictures and captions that are trained anew: another processor rounds
    otherwise, and what it ends at may differ by as much as seeds do."""
    pytest.importorskip("espeakng_loader")
    runs, _ = results.few_spoken_pairs()
    stored = report.stored("08_few")["10 locked"]
    found = runs["10 locked"](0)
    assert found.keys() == stored[0].keys() - {"seed"}
    for name in ("picture to text seen", "sound to text seen", "cosine sound to text"):
        spread = max(run[name] for run in stored) - min(run[name] for run in stored)
        assert found[name] == pytest.approx(stored[0][name], abs=spread + 0.01), name


@pytest.mark.long
def test_it_runs_where_no_clip_can_be_spoken(tmp_path, monkeypatch):
    monkeypatch.setenv("XLIB_BUDGET", "smoke")
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path))
    notebook = nbformat.read(NOTEBOOKS / "08_sound.ipynb", as_version=4)
    hide = copy.deepcopy(notebook.cells[1])
    hide.source = "import sys\nsys.modules |= dict.fromkeys(('espeakng_loader', 'hibari'))"
    notebook.cells.insert(0, hide)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = "".join(out.get("text", "") for out in notebook.cells[2].outputs)
    assert "No new clips can be spoken here: the package espeakng-loader is not installed" in printed
    assert not list(tmp_path.glob("speech-*"))
