"""What the lessons show and what xlib holds are the same, and what they quote can be measured again."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
import results
import torch
from lessons import EXECUTED
from nbclient import NotebookClient

from xlib.course import report
from xlib.experiments.digits import train_digits
from xlib.experiments.numbers import train_numbers

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_training_repeats_and_depends_on_the_seed():
    def weights(seed):
        model, _ = train_numbers(seed=seed, steps=3)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_fixed_temperature_stays_fixed():
    model, _ = train_numbers(steps=3, temperature=0.5)
    assert model["scale"]().item() == pytest.approx(2.0)
    assert train_numbers(steps=3)[0]["scale"]().item() != pytest.approx(1 / 0.07, rel=1e-6)


def test_a_model_can_be_wider():
    counts = [
        [sum(p.numel() for p in train(width)[0].parameters()) for width in (1, 2)]
        for train in (
            lambda width: train_numbers(steps=2, width=width),
            lambda width: train_digits(0.6, steps=2, width=width),
        )
    ]
    assert all(2 < wide / usual < 4 for usual, wide in counts), counts


@pytest.mark.parametrize("name", results.LESSONS)
def test_all_that_a_lesson_measures_is_stored_with_its_settings(name):
    runs, settings = results.LESSONS[name]()
    stored = report.stored(name)
    assert stored["settings"] == json.loads(json.dumps(settings))
    assert stored.keys() == {"settings", "versions", *runs}
    for run in runs:
        assert [row["seed"] for row in stored[run]] == list(results.SEEDS), run


@pytest.mark.long
def test_a_stored_control_of_lesson_03_can_be_measured_again():
    """The one that costs least: CLIP and CCA on emoji. Their scores on unseen names are those of another file."""
    seen, unseen, methods = results.emoji_vectors(0, runs=1)
    trained, new = report.stored("03_controls")["emoji, trained names"][0], report.stored("03_clip")["emoji"][0]
    for method in ("clip", "cca"):
        for rows, k, stored in ((seen, 1, trained), (unseen, 10, new)):
            again = results.emoji_score(*methods[method], rows, k)
            assert again == pytest.approx(stored[method], abs=0.03), method  # other processors round differently


@pytest.mark.long
def test_a_stored_short_run_of_lesson_03_can_be_measured_again():
    again = results.one_numbers_run(1, steps=90, **results.SHORT["fixed at 1"])["seen"]
    assert again == pytest.approx(report.stored("03_clip")["90 steps: fixed at 1"][1]["seen"], abs=0.03)


def test_the_floors_hold_in_every_stored_run():
    stored = report.stored("03_clip")
    assert min(run["seen"] for run in stored["numbers"]) >= 0.93
    assert min(run["unseen"] for run in stored["numbers"]) >= 0.905
    assert min(run["three clips"] for run in stored["emoji"]) >= 0.35


@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in NAMES])
def executed(request, tmp_path_factory):
    """A lesson with its outputs: as nbmake has run it, or else run here with a budget of a few steps, from a folder
    that is not its own. (That budget and another folder are what the browser tests run with.)"""
    if (found := EXECUTED / f"{request.param}.ipynb").exists():
        return nbformat.read(found, as_version=4)
    notebook = nbformat.read(ROOT / "notebooks" / f"{request.param}.ipynb", as_version=4)
    os.environ["XLIB_BUDGET"] = "smoke"
    try:
        folder = str(tmp_path_factory.mktemp("elsewhere"))
        NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    finally:
        del os.environ["XLIB_BUDGET"]
    return notebook


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.long
def test_every_picture_has_alt_text_with_numbers(executed):
    pictures = [o for o in outputs(executed) if "image/png" in o.get("data", {})]
    assert pictures
    for output in pictures:
        alt = output.metadata.get("image/png", {}).get("alt") or output.metadata.get("alt", "")
        assert len(alt.split()) > 8, output.data.get("text/plain")


@pytest.mark.long
def test_a_lesson_prints_no_warning_and_no_error(executed):
    noise = [o.text for o in outputs(executed) if o.output_type == "stream" and o.name == "stderr"]
    assert not [text for text in noise if "it/s" not in text and "%|" not in text], noise


@pytest.mark.long
def test_every_exercise_is_unsolved_and_every_claim_is_printed(executed):
    texts = (o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs(executed))
    printed = "\n".join(texts)
    sources = "\n".join(cell.source for cell in executed.cells if cell.cell_type == "code")
    assert printed.count("not solved yet") + printed.count("fixed_loss") >= sources.count("\nchecks.")
    claims = len(re.findall(r"\bclaim\(", sources))
    assert f" of {claims} sentences hold in this run" in printed


def test_every_recall_question_and_exercise_folds_its_answer_away():
    for name in NAMES:
        text = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
        markdown = "\n".join("".join(c["source"]) for c in text["cells"] if c["cell_type"] == "markdown")
        assert markdown.count("<details>") == markdown.count("</details>") >= 3
        assert "**Recall questions**" in markdown
        assert "**Further reading**" in markdown
