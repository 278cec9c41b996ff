"""The losses of several processes, in real gloo processes on this machine, against one process with all the rows.

Each number of processes is started once (process_worker.py holds what they do); the tests compare what they found.
"""

import os
import subprocess
import sys
from pathlib import Path

import process_worker as worker
import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from xlib.contrastive import info_nce
from xlib.scale import all_gather_with_grad, info_nce_distributed

pytestmark = [
    pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this torch has no gloo"),
    pytest.mark.xdist_group("processes"),
    pytest.mark.long,
]
EXACT = {"rtol": 1e-9, "atol": 1e-11}
each_loss = pytest.mark.parametrize("name", worker.LOSSES)


def start(world, folder):
    """What each of so many processes found."""
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    env = os.environ | {"OMP_NUM_THREADS": "1"} | ({"GLOO_SOCKET_IFNAME": loopback} if loopback else {})
    processes = [
        subprocess.Popen(
            [sys.executable, worker.__file__, str(rank), str(world), str(folder)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


@pytest.fixture(scope="module", params=[2, 4], ids=["2 processes", "4 processes"])
def found(request, tmp_path_factory):
    return start(request.param, Path(tmp_path_factory.mktemp("processes")))


def splits(found):
    return worker.SPLITS[len(found)].items()


def whole(n):
    """The loss of all rows in one process, and its gradients."""
    return worker.with_gradients(lambda a, b, s: info_nce(a, b, logit_scale=s), *worker.vectors(n))


@each_loss
def test_every_process_has_the_loss_of_the_whole_batch(found, name):
    for split, sizes in splits(found):
        expected = whole(sum(sizes))[0]
        values = [process["leaves"][split, name][0] for process in found]
        assert len({value.item() for value in values}) == 1
        assert_close(values[0], expected, **EXACT)


@each_loss
def test_gradients_of_the_vectors_are_those_of_one_process_times_their_number(found, name):
    for split, sizes in splits(found):
        _, *expected, _ = whole(sum(sizes))
        for side in (1, 2):
            joined = torch.cat([process["leaves"][split, name][side] for process in found])
            assert_close(joined / len(found), expected[side - 1], **EXACT)


@each_loss
def test_the_mean_of_the_scales_gradients_is_that_of_one_process(found, name):
    for split, sizes in splits(found):
        mean = torch.stack([process["leaves"][split, name][3] for process in found]).mean()
        assert_close(mean, whole(sum(sizes))[3], **EXACT)


def test_gathered_rows_stand_in_the_order_of_the_ranks(found):
    for split, sizes in splits(found):
        for process in found:
            assert torch.equal(process["leaves"][split, "rows"], worker.vectors(sum(sizes))[0])


def test_what_every_process_asks_of_a_row_is_added_up(found):
    for split, sizes in splits(found):
        joined = torch.cat([process["leaves"][split, "wishes"][1] for process in found])
        assert_close(joined, sum(worker.normal(10 + rank, sum(sizes), 5) for rank in range(len(found))))


def test_bfloat16_goes_there_and_back(found):
    """Forward without a change; backward it is a sum over the processes, rounded to 8 bits."""
    for split, sizes in splits(found):
        n, whole_batch = sum(sizes), worker.vectors(sum(sizes))[0].bfloat16()
        for process in found:
            assert torch.equal(process["leaves"][split, "bfloat16"], whole_batch)
        joined = torch.cat([process["leaves"][split, "bfloat16 wishes"][1] for process in found])
        assert joined.dtype == torch.bfloat16
        expected = sum(worker.normal(10 + rank, n, 5).bfloat16().double() for rank in range(len(found)))
        assert_close(joined.double(), expected, rtol=0.02, atol=0.05)


def test_a_wrong_batch_is_named_where_it_is_and_nobody_waits_for_it(found):
    (kind, message, _), *others = (process["one bad batch"] for process in found)
    assert kind == "ValueError"
    assert message.startswith("za must be " + {2: "finite", 4: "non-empty"}[len(found)])
    for kind, _, seconds in others:
        assert kind.endswith("Error")
        assert seconds < 30  # the timeout of the group is 60


def test_autocast_does_not_round_the_loss(found):
    for split, sizes in splits(found):
        expected = whole(sum(sizes))
        for process in found:
            assert process["leaves"][split, "autocast"][0].dtype == torch.float32
            assert_close(process["leaves"][split, "autocast"][0].double(), expected[0], rtol=1e-5, atol=1e-6)
        joined = torch.cat([process["leaves"][split, "autocast"][1] for process in found]) / len(found)
        assert_close(joined.double(), expected[1], rtol=1e-4, atol=1e-6)


@each_loss
def test_training_with_ddp_is_training_in_one_process(found, name):
    """Loss by loss over three steps, and every parameter's gradient."""
    expected = worker.training(worker.Model(), info_nce, slice(0, 10), steps=3)
    assert expected["curve"][2] < expected["curve"][0]
    for process in found:
        assert process["ddp"][name]["curve"] == pytest.approx(expected["curve"], rel=1e-9)
        for mine, other in zip(process["ddp"][name]["gradients"], expected["gradients"], strict=True):
            assert other.abs().max() > 1e-6
            assert_close(mine, other, **EXACT)


def test_a_gather_without_gradients_makes_the_encoders_gradient_too_small(found):
    """The trap: the loss is right, the scale's gradient too, and the encoders' is 1/W of what it should be."""
    expected = worker.training(worker.Model(), info_nce, slice(0, 8))
    names = [name for name, _ in worker.Model().named_parameters()]
    for process in found:
        trap = process["ddp"]["trap"]
        assert trap["curve"] == pytest.approx(expected["curve"], rel=1e-9)
        for name, mine, other in zip(names, trap["gradients"], expected["gradients"], strict=True):
            assert_close(mine, other if "scale" in name else other / len(found), **EXACT)


# -- without a process group


def test_alone_the_rows_are_ones_own():
    z = worker.normal(0, 4, 3).requires_grad_()
    assert torch.equal(all_gather_with_grad(z), z)
    all_gather_with_grad(z).sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))


@pytest.mark.parametrize("name", worker.LOSSES)
def test_alone_it_is_info_nce(name):
    leaves = worker.vectors(6)
    mine = worker.with_gradients(lambda a, b, s: worker.LOSSES[name](a, b, logit_scale=s), *leaves)
    for found, expected in zip(mine, whole(6), strict=True):
        assert_close(found, expected, **EXACT)


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"za": [[1.0]]}, TypeError, "za"),
        ({"za": torch.ones(3)}, ValueError, "za"),
        ({"zb": torch.ones(3, 3)}, ValueError, "zb"),
        ({"zb": torch.ones(3, 2).double()}, TypeError, "zb"),
        ({"logit_scale": 0.0}, ValueError, "logit_scale"),
        ({"logit_scale": "7"}, TypeError, "logit_scale"),
    ],
)
def test_wrong_arguments_are_named(change, error, named):
    with pytest.raises(error, match=named):
        info_nce_distributed(**{"za": torch.ones(3, 2), "zb": torch.ones(3, 2), "logit_scale": 7.0} | change)
