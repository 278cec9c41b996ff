"""Lesson 07's script trains alike in any number of processes, outlives the death of one, and its runs can be measured
again."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time

import psutil
import pytest
import results
import torch
import torch.nn.functional as F
import torchvision
from lessons import FENCE, parts
from scenes import walk

from xlib import contrastive
from xlib.course import report, training
from xlib.scale import info_nce_distributed

SCRIPT = report.lesson_file("train_distributed.py")
TOLERANCE = 2e-3  # of a loss of 1 to 5, after 40 steps in which roundings have grown


@pytest.fixture(scope="module")
def alone():
    """The losses of 40 steps, in this process."""
    return runpy.run_path(str(SCRIPT))["train"](steps=40).curve()


def start(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    job = subprocess.Popen(
        [*command, str(SCRIPT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    job.workers = lambda: [p for p in psutil.Process(job.pid).children() if str(SCRIPT) in p.cmdline()]
    return job


def finished(job):
    out, _ = job.communicate(timeout=240)
    assert job.returncode == 0, out
    return out


def started_with_a_checkpoint(folder, *arguments):
    """A job of two processes that has saved its first checkpoint, and its worker of rank 1."""
    job = start(2, "--steps=100000", f"--checkpoint={folder}", *arguments)
    until = time.monotonic() + 120
    while not (folder / "state.json").exists():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)
    return job, next(p for p in job.workers() if p.environ()["RANK"] == "1")


@pytest.mark.long
def test_four_processes_have_the_curve_of_one(alone, tmp_path):
    """78 pairs among four are 19, 20, 19 and 20. Two processes are the next test's."""
    out = finished(start(4, "--steps=40", f"--out={tmp_path / 'curve.json'}"))
    assert "4 process(es), 40 steps" in out
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert curve == pytest.approx(alone, abs=TOLERANCE)
    assert curve[0] == pytest.approx(alone[0], abs=1e-5)
    assert curve[-1] < curve[0] - 1


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_killed_process_ends_the_job_and_the_checkpoint_goes_on(alone, tmp_path):
    job, worker = started_with_a_checkpoint(tmp_path / "kept")
    worker.send_signal(signal.SIGKILL)
    out, _ = job.communicate(timeout=60)
    assert job.returncode != 0
    killed = next(part for part in out.split("[")[::-1] if "(SIGKILL)" in part)
    assert "rank      : 1" in killed  # whether or not torchrun saw it before the abort of the other
    there = len(json.loads((tmp_path / "kept" / "state.json").read_text())["history"])
    assert there >= 20
    steps = max(40, there + 20)
    again = start(2, f"--steps={steps}", f"--checkpoint={tmp_path / 'kept'}", f"--out={tmp_path / 'curve.json'}")
    assert f"2 process(es), {steps} steps" in finished(again)
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert len(curve) == steps
    assert curve[:40] == pytest.approx(alone, abs=TOLERANCE)
    assert curve[0] == pytest.approx(alone[0], abs=1e-5)


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_process_that_hangs_ends_the_job_after_the_timeout(tmp_path):
    job, worker = started_with_a_checkpoint(tmp_path / "kept", "--timeout=3")
    worker.send_signal(signal.SIGSTOP)
    try:
        said = next(line for line in job.stdout if "process 0:" in line)
    finally:
        worker.send_signal(signal.SIGCONT)  # or torchrun would wait half a minute for it to end
    assert "has said nothing for 3 s" in said
    assert "goes on from the checkpoint" in said
    job.communicate(timeout=60)
    assert job.returncode != 0


@pytest.mark.long
def test_without_torchrun_it_says_how_to_start_it():
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "torchrun --standalone" in done.stderr


def test_others_than_the_first_process_write_no_checkpoint(monkeypatch, tmp_path):
    monkeypatch.setattr(training.runtime, "is_first_process", lambda: False)
    runpy.run_path(str(SCRIPT))["train"](steps=2, checkpoint=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.long
def test_a_stored_run_can_be_measured_again():
    """The cheapest of the ways; that they differ in the negatives alone is the next test's."""
    stored = report.stored("07_scaling")
    again = results.one_scaling_run(0, **stored["settings"]["options"]["small"])
    for what, value in again.items():
        assert stored["small"][0][what] == pytest.approx(value, abs=0.02), what


def test_small_cached_and_accumulated_differ_in_the_negatives_alone(monkeypatch):
    """With one chunk as large as the batch the three ways are one, down to rounding."""
    lesson = results.scaling_lesson()
    found = {}
    for way in ("small", "accumulated", "cached"):
        model, _ = lesson["train"](way, chunk=32, batch=32, steps=3)
        found[way] = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(found["accumulated"], found["small"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["cached"], found["small"], rtol=1e-4, atol=1e-4)


def test_the_lines_for_accelerate_train(monkeypatch):
    accelerate = pytest.importorskip("accelerate")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    cells = json.loads((SCRIPT.parent / "07_scaling.ipynb").read_text("utf-8"))["cells"]
    text = next("".join(cell["source"]) for cell in cells if cell["id"] == "processes-after")
    (lines,) = FENCE.findall(text)
    towers = runpy.run_path(str(SCRIPT))["Towers"]()
    before = [p.detach().clone() for p in towers.parameters()]
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.rand(6, 3, 16, 32, generator=generator), torch.arange(6)[:, None] + 2)] * 2
    scope = {"accelerate": accelerate, "info_nce_distributed": info_nce_distributed, "batches": batches}
    scope |= {"model": towers, "optimizer": torch.optim.SGD(towers.parameters(), lr=0.1)}
    exec(lines, scope)
    assert not all(torch.equal(a, b) for a, b in zip(before, towers.parameters(), strict=True))
    assert torch.isfinite(scope["loss"])


def test_the_mean_of_all_shares_is_the_whole_loss_with_its_gradients():
    right, cases, _ = parts("share_of_loss")
    for _, _, all_a, all_b, sizes, _, scale in cases:
        mean = sum(right(all_a, all_b, sizes, rank, scale) for rank in range(len(sizes))) / len(sizes)
        whole = contrastive.info_nce(all_a, all_b, logit_scale=scale)
        torch.testing.assert_close(mean, whole)
        found, true = (torch.autograd.grad(loss, (all_a, all_b)) for loss in (mean, whole))
        torch.testing.assert_close(found, true, atol=1e-5, rtol=1e-4)


def test_an_index_that_looks_into_every_cell_finds_the_true_ten():
    scope = results.from_lesson("07_scaling", ("set-up", "million-run"))
    generator = torch.Generator().manual_seed(1)
    directions = F.normalize(torch.randn(50, 32, generator=generator), dim=1)
    gallery, queries = scope["made"](3000, directions, generator), scope["made"](20, directions, generator)
    index = scope["index_of"](gallery, cells=40)
    truth = scope["exact_ten"](queries, index[1])
    torch.testing.assert_close((queries @ index[1].T).topk(10).indices, truth)
    assert torch.equal(scope["index_ten"](queries, index, 40).sort(dim=1).values, truth.sort(dim=1).values)
    assert sorted(map(tuple, index[1].tolist())) == sorted(map(tuple, gallery.tolist()))  # sorted, none lost
    few = scope["index_ten"](queries, index, 1)
    own = (queries @ index[0].T).argmax(dim=1)
    for cell, rows in zip(own.tolist(), few.tolist(), strict=True):
        start, end = index[2][cell]
        assert all(row == -1 or start <= row < end for row in rows)


def test_a_resnet_50_keeps_86_mb_of_a_picture_as_the_lesson_says():
    """What its layers save for the backward pass, counted on torch's meta device, less the weights among it. What two
    layers save, as a ReLU its output and the next convolution its input, is there once."""
    with torch.device("meta"):
        model, images = torchvision.models.resnet50(), torch.empty(8, 3, 224, 224)
    weights, kept = {p.untyped_storage()._cdata for p in model.parameters()}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = model(images)  # held, and with it all that is saved: no storage's place is given away
    cells = json.loads((SCRIPT.parent / "07_scaling.ipynb").read_text("utf-8"))["cells"]
    assert result.requires_grad
    assert sum(kept.values()) / 8 / 1e6 == pytest.approx(86, rel=0.02)
    assert "86 MB" in next("".join(cell["source"]) for cell in cells if cell["id"] == "play")


# --- panels ---------------------------------------------------------------------------------------


def test_the_panel_of_pieces_can_be_read_everywhere():
    scope = results.from_lesson("07_scaling", ("set-up", "first-look-model", "first-look-panel"))
    walk(scope["first_panel"], done=[1, 37, 100])
    scope["first_pieces"].tile, scope["first_pieces"].done = 6, 75
    words = "Piece 3 of 4: 36 of 144 numbers are in memory at a time, and 6 of 12 row sums are ready."
    assert scope["first_panel"].alt_text == words


def test_the_panel_of_a_step_can_be_read_everywhere():
    scope = results.from_lesson(
        "07_scaling", ("set-up", "machine", "cost-run", "play-counts", "play-words", "play-panel", "play-show")
    )
    walk(scope["plan_panel"])
    plan = scope["plan"]
    plan.batch, plan.way, plan.chunk = 65_536, "tiles", "256"  # what the text asks for
    assert sum(scope["bytes_of"](plan).values()) < 2e9
    assert "Fits: Binder, laptop, H100." in scope["plan_panel"].alt_text
