"""The folder in which `training.fit` keeps a run, and from which a later call takes it up, on whatever machine."""

import contextlib
import hashlib
import json
import os
import random
import re
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load, save, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from xlib._files import written_whole
from xlib.course import runtime

Snapshots = list[tuple[int, Tensor]]

WRAPPERS = r"(?:^|(?<=\.))(?:module|_orig_mod)\."  # in names, by DistributedDataParallel and torch.compile
HOW = {"params", "param_names", "fused", "foreach", "capturable", "differentiable"}  # options that change no result
NOTES = {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"}  # a schedule's own, beside "lr"


class Checkpoint:
    """state.json says where the run is and which safetensors file belongs to it. It is replaced last and in one
    move, so a crash at any moment leaves the older state whole.

    `load` looks at everything before it changes anything, and refuses what cannot go on. An option or a schedule that
    the caller has changed is in force, and said: what both were at the start is kept too, as "given", to compare.
    In a `with` statement no other run of this machine can have the same folder.
    """

    def __init__(self, folder, model: nn.Module, optimizer, scheduler, generator, *, steps: int, title: str):
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"checkpoint must be a path, got {folder!r}")
        if not isinstance(generator, torch.Generator):
            raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")
        self.folder, self.model, self.optimizer = Path(folder).expanduser(), model, optimizer
        self.scheduler, self.generator, self.title = scheduler, generator, title
        self.given = {
            "steps": int(steps),
            "optimizer": type(optimizer).__name__,
            "names": self._names(),
            "groups": _plain("optimizer", [_options(group) for group in optimizer.param_groups]),
            "scheduler": type(scheduler).__name__,
            "schedule": self._schedule(),
        }
        self.ours: set[str] = set()  # files that go once there is a newer one
        self.random: dict | None = None
        # The lock is not in the folder, which may be read-only or on a file system that knows no locks.
        key = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]
        self.lock = FileLock(Path(tempfile.gettempdir()) / f"xlib-checkpoint-{key}.lock")
        for name, value in self._contents([], [])[0].items():  # what cannot be kept says so now
            try:
                save({name: value.detach().flatten()[:0]})
            except (RuntimeError, KeyError, SafetensorError) as error:
                raise ValueError(f"{name} cannot be kept in a checkpoint: {error}") from error

    def __enter__(self) -> "Checkpoint":
        if runtime.is_first_process():
            try:
                self.lock.acquire(timeout=0)
            except Timeout:
                raise ValueError(f"checkpoint {self.folder} is in use by another run; give another folder") from None
            except OSError:
                pass  # another user's lock: do without
        return self

    def __exit__(self, *_) -> None:
        self.lock.release()

    def _names(self) -> list[list[str]]:
        """The names of the optimiser's parameters, group by group."""
        names = {id(p): name for name, p in _bare(dict(self.model.named_parameters())).items()}
        groups = [group["params"] for group in self.optimizer.param_groups]
        if foreign := [tuple(p.shape) for group in groups for p in group if id(p) not in names]:
            raise ValueError(f"model must hold all that the optimizer trains, but lacks one of shape {foreign[0]}")
        return [[names[id(p)] for p in group] for group in groups]

    def _schedule(self) -> dict | None:
        return None if self.scheduler is None else _plain("scheduler", self.scheduler.state_dict())

    # -- saving

    def save(self, history: list[dict], snapshots: Snapshots) -> None:
        """In the first process of a job alone: the others hold the same weights. Where nothing can be written, an
        OSError says so, and what stood there stays."""
        if not runtime.is_first_process():
            return
        tensors, state = self._contents(history, snapshots)
        copies = {  # tied weights share their memory, which a file cannot
            name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        }
        try:
            with written_whole(self.folder / state["tensors"]) as beside:
                save_file(copies, beside)
            with written_whole(self.folder / "state.json") as beside:
                beside.write_text(json.dumps(state), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"step {len(history)} could not be kept in {self.folder} ({error}); what stood there before is whole"
            ) from error
        for name in self.ours - {state["tensors"]}:
            with contextlib.suppress(OSError):  # Windows lets nobody remove what somebody reads
                (self.folder / name).unlink(missing_ok=True)
                self.ours.remove(name)
        self.ours.add(state["tensors"])

    def _contents(self, history: list[dict], snapshots: Snapshots) -> tuple[dict[str, Tensor], dict]:
        """All tensors by name, and what else there is, as JSON takes it."""
        optimizer = self.optimizer.state_dict()
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        found |= {f"optimizer.{i}.{name}": v for i, slots in optimizer["state"].items() for name, v in slots.items()}
        numbers = {name: _plain(name, value) for name, value in found.items() if not isinstance(value, Tensor)}
        tensors = {name: value for name, value in found.items() if name not in numbers}
        tensors |= {f"snapshot.{number}": value for number, (_, value) in enumerate(snapshots)}
        tensors |= {"random.batches": self.generator.get_state(), "random.global": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            tensors |= {f"random.cuda.{i}": value for i, value in enumerate(torch.cuda.get_rng_state_all())}
        if torch.backends.mps.is_available():
            tensors["random.mps"] = torch.mps.get_rng_state()
        numpys = np.random.get_state(legacy=False)  # noqa: NPY002
        return tensors, {
            "tensors": f"step-{len(history)}.safetensors",
            "history": history,
            "snapshots": [step for step, _ in snapshots],
            "optimizer": {"groups": _plain("optimizer", optimizer["param_groups"]), "numbers": numbers},
            "scheduler": self._schedule(),
            "random": _plain("random", {"python": random.getstate(), "numpy": numpys}),
            "given": self.given,
        }

    # -- taking up

    def load(self, shape: Callable[[], tuple] | None) -> tuple[list[dict], Snapshots]:
        """The history and the snapshots in the folder, with model, optimiser and scheduler as they were then; or
        nothing has changed and an error says why. shape: of a snapshot that is taken now."""
        found = self._read()
        reached, steps = len(found["history"]) if found else 0, self.given["steps"]
        if reached < steps and runtime.is_first_process():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=self.folder).close()
            except OSError as error:
                raise OSError(f"checkpoint {self.folder} is no folder that can be written to ({error})") from error
        if found is None:
            return [], []
        self._check_model_and_optimizer(found)
        restored = self._is_same_schedule(found)
        groups = self._groups(found, restored)
        if found["snapshots"] and shape is not None and reached < steps:
            was, now = tuple(found["snapshots"][-1][1].shape), shape()
            if now != was:
                raise self._refused(f"has snapshots of shape {was}, and snapshot returns {now}")
        self._take_up(found, groups, restored)
        self.random = found["random"]
        self.ours = {path.name for path in self.folder.glob("step-*.safetensors")}
        if reached > steps:
            self._say(f"{self.folder} holds {reached} steps, more than the {steps} asked for: nothing is trained")
        elif reached < steps and (changes := self._changes(found["groups"])):
            self._say(f"goes on after step {reached} with {', '.join(changes)}")
        return found["history"], found["snapshots"]

    def _say(self, sentence: str) -> None:
        if runtime.is_first_process():
            print(f"{self.title}: {sentence}")

    def _refused(self, why: str) -> ValueError:
        return ValueError(f"checkpoint {self.folder} {why}; give another folder")

    def _read(self) -> dict | None:
        """What the folder holds, or None."""
        try:
            if not (self.folder / "state.json").exists():
                return None
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
            # Into memory: Windows lets nobody replace a file that a tensor is mapped from.
            tensors = load((self.folder / state["tensors"]).read_bytes())
            values = tensors | state["optimizer"]["numbers"]

            def of(kind: str) -> dict:
                return {name.removeprefix(kind): v for name, v in values.items() if name.startswith(kind)}

            slots: dict[int, dict] = {}
            for name, value in of("optimizer.").items():
                index, slot = name.split(".", 1)
                slots.setdefault(int(index), {})[slot] = value
            groups = [group | {"params": list(group["params"])} for group in state["optimizer"]["groups"]]
            # The first version of this file had neither "given" nor NumPy's and Python's numbers.
            first = self.given | {"groups": groups, "schedule": None}
            return {
                "history": [row | {"loss": row["loss"]} for row in state["history"]],
                "snapshots": [(step, tensors[f"snapshot.{i}"]) for i, step in enumerate(state["snapshots"])],
                "model": of("model."),
                "slots": slots,
                "groups": groups,
                "schedule": state["scheduler"],
                "random": {"batches": tensors["random.batches"], **of("random."), **state.get("random", {})},
                "given": first | state.get("given", {}),
            }
        except PermissionError as error:
            raise PermissionError(f"checkpoint {self.folder} cannot be read ({error})") from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            raise ValueError(
                f"checkpoint {self.folder} is damaged ({error}); delete the folder to start again"
            ) from error

    def _check_model_and_optimizer(self, found: dict) -> None:
        there, here = _bare(found["model"]), _bare(self.model.state_dict())
        for name in [*here, *there]:
            was, now = (tuple(getattr(of[name], "shape", ())) if name in of else "missing" for of in (there, here))
            if was != now:
                raise self._refused(f"holds another model's weights ({name}: {was} there, {now} here)")
        given, now = found["given"], self.given
        if given["optimizer"] != now["optimizer"]:
            raise self._refused(f"was written with {given['optimizer']}, and optimizer is {now['optimizer']}")
        old, new = ([len(group["params"]) for group in of] for of in (found["groups"], self.optimizer.param_groups))
        if old != new or given["names"] != now["names"]:
            raise self._refused(f"has an optimizer over other parameters, in groups of {old}; here they are of {new}")

    def _is_same_schedule(self, found: dict) -> bool:
        """Whether its state can be restored. Else the one that was given is taken to the step that was reached."""
        if self.scheduler is None:
            return found["schedule"] is None
        if _is_stepped(self.scheduler):
            if found["given"]["scheduler"] != self.given["scheduler"]:
                raise self._refused("was written with another scheduler, and this one has been stepped already")
            return True
        # Two functions (of LambdaLR) cannot be compared.
        return found["given"] == self.given and "lr_lambdas" not in str(self.given["schedule"])

    def _groups(self, found: dict, restored: bool) -> list[dict]:
        """The optimiser's options as they are to be: those that the caller has changed are in force."""
        groups = []
        # Plain SGD keeps nothing that would tell: but a schedule notes it in the optimizer, or in itself.
        used = self.optimizer.state or getattr(self.optimizer, "_opt_called", False) or _is_stepped(self.scheduler)
        parts = self.optimizer.param_groups, self.given["groups"], found["given"]["groups"], found["groups"]
        for group, now, given, then in zip(*parts, strict=True):
            # In an optimizer that has been in use, what the run itself moves tells nothing about the caller.
            moves = {name for name in given if used and given[name] != then.get(name)}
            left = {name for name in now.keys() & given.keys() if name in moves or now[name] == given[name]}
            for name in sorted(now.keys() & given.keys() - left):
                begins = name == "momentum" and not given[name] and self.given["optimizer"] == "RMSprop"
                if begins or isinstance(now[name], bool):  # needs another state, which the old run did not keep
                    raise self._refused(f"was written with {name}={given[name]}, which cannot become {now[name]}")
            now |= {name: given[name] for name in left}
            old = then if restored else given
            options = {name: _like(old[name], group[name]) for name in left & old.keys()}
            groups.append(group | options | {"params": then["params"]})
        return groups

    def _take_up(self, found: dict, groups: list[dict], restored: bool) -> None:
        parts = [part for part in (self.optimizer, self.scheduler) if part is not None]
        before = [part.state_dict() for part in parts]
        try:
            self.optimizer.load_state_dict({"state": found["slots"], "param_groups": groups})
            if self.scheduler is not None and restored:
                self.scheduler.load_state_dict(_like(found["schedule"], self.scheduler.state_dict()))
            elif self.scheduler is not None and len(found["history"]) < self.given["steps"]:
                with warnings.catch_warnings():  # torch: the optimiser should have been stepped as often
                    warnings.simplefilter("ignore")
                    for row in found["history"]:
                        step_schedule(self.scheduler, row["loss"])
            here, there = self.model.state_dict(), _bare(found["model"])
            new = {name: _like(there[bare], here[name]) for name, bare in zip(here, _bare(here), strict=True)}
            self.model.load_state_dict(new)
        except Exception as error:
            for part, state in zip(parts, before, strict=True):
                part.load_state_dict(state)
            raise self._refused(f"does not fit: {error}") from error

    def _changes(self, then: list[dict]) -> list[str]:
        """Each option that is not what it was, in words."""
        now = [_plain("optimizer", _options(group)) for group in self.optimizer.param_groups]
        words = [
            f"{name} {_short(new[name])} in place of {_short(old[name])}"
            for new, old in zip(now, then, strict=True)
            for name in sorted((new.keys() & old.keys()) - NOTES)
            if new[name] != old[name]
        ]
        return list(dict.fromkeys(words))  # what several groups share is said once

    def restore_random(self) -> None:
        """Set what draws random numbers to where it was. Last of all, since who looks on may draw some too."""
        if self.random is None:
            return
        states = self.random
        if states["batches"].shape == self.generator.get_state().shape:
            self.generator.set_state(states["batches"])
        else:  # each kind of device has numbers of its own
            self.generator.manual_seed(zlib.crc32(states["batches"].numpy().tobytes()))
            self._say(f"generator is on another kind of device now, {self.generator.device}: it draws other batches")
        torch.set_rng_state(states["global"])
        if torch.cuda.is_available():
            for i in range(torch.cuda.device_count()):
                if (state := states.get(f"cuda.{i}", states.get("cuda"))) is not None:  # the first version had one
                    torch.cuda.set_rng_state(state, i)
        if torch.backends.mps.is_available() and "mps" in states:
            torch.mps.set_rng_state(states["mps"])
        if "python" in states:
            version, words, rest = states["python"]
            random.setstate((version, tuple(words), rest))
            np.random.set_state(states["numpy"])  # noqa: NPY002


def step_schedule(scheduler, loss: float) -> None:
    scheduler.step(*([loss] if isinstance(scheduler, ReduceLROnPlateau) else []))


def _is_stepped(scheduler) -> bool:
    while hasattr(scheduler, "_schedulers"):  # one made of several
        scheduler = scheduler._schedulers[0]
    return getattr(scheduler, "last_epoch", 0) > 0


def _bare(weights: dict) -> dict:
    """By their names without what wraps a model, unless two would then be the same."""
    bare = {re.sub(WRAPPERS, "", name): value for name, value in weights.items()}
    return bare if len(bare) == len(weights) else weights


def _options(group: dict) -> dict:
    return {name: value for name, value in group.items() if name not in HOW}


def _short(value) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(what: str, value):
    """A copy as JSON gives it back; a tensor is a number, and a function is left out."""

    def other(value):
        if callable(value):
            return None
        if isinstance(value, np.ndarray | np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
            return value.tolist()
        raise TypeError(f"it holds a {type(value).__name__}")

    try:
        return json.loads(json.dumps(value, default=other))
    except TypeError as error:
        raise ValueError(f"{what} cannot be kept in a checkpoint: {error}") from error


def _like(value, now):
    """What `_plain` made of something, in the types of what stands in its place now."""
    if isinstance(now, Tensor) and not isinstance(value, Tensor):
        return torch.as_tensor(value, dtype=now.dtype, device=now.device).reshape(now.shape)
    if isinstance(now, dict) and isinstance(value, dict):
        keys = {str(key): key for key in now}
        return type(now)({keys.get(key, key): _like(v, now.get(keys.get(key, key))) for key, v in value.items()})
    if isinstance(now, list | tuple) and isinstance(value, list) and len(now) == len(value):
        return type(now)([_like(*two) for two in zip(value, now, strict=True)])
    return now if callable(now) and value is None else value
