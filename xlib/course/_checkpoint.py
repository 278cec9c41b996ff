"""The folder in which `training.fit` keeps a run, and from which a later call takes it up, on whatever machine."""

import contextlib
import copy
import hashlib
import inspect
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
from torch.nn.parameter import is_lazy

from xlib._files import written_whole
from xlib.course import runtime

Snapshots = list[tuple[int, Tensor]]

WRAPPERS = r"(?:^|(?<=\.))(?:module|_orig_mod|_checkpoint_wrapped_module)\."  # of several processes, of the compiler
HOW = {"fused", "foreach", "capturable", "differentiable", "param_names"}  # options that change no result
ECHOES = {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"}  # a schedule's own notes beside "lr"


class Checkpoint:
    """state.json says where the run is and which safetensors file belongs to it. It is replaced last and in one
    move, so a crash at any moment leaves the older state whole.

    `load` looks at everything before it changes anything, and refuses what cannot go on. An option or a schedule that
    the caller has changed is in force, and said. To tell, what both were at first is kept too ("given"): what the run
    never changed is the caller's. In a `with` statement no other run of this machine can have the same folder.
    """

    def __init__(self, folder, model: nn.Module, optimizer, scheduler, generator, *, steps: int, title: str):
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"checkpoint must be a path, got {folder!r}")
        if not isinstance(generator, torch.Generator):
            raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")
        self.folder, self.model, self.optimizer = Path(folder).expanduser(), model, optimizer
        self.scheduler, self.generator, self.title = scheduler, generator, title
        self.given = {
            "steps": steps,
            "optimizer": type(optimizer).__name__,
            "names": self._names(),
            "groups": [_plain("optimizer", _options(group)) for group in optimizer.param_groups],
            "scheduler": None if scheduler is None else type(scheduler).__name__,
            "schedule": None if scheduler is None else _plain("scheduler", scheduler.state_dict()),
        }
        self.ours: set[str] = set()  # files that go once there is a newer one
        self.random: dict | None = None
        # The lock is not in the folder, which may be read-only or on a file system that knows no locks.
        key = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]
        self.lock = FileLock(Path(tempfile.gettempdir()) / f"xlib-checkpoint-{key}.lock")
        self._can_be_stored(self._contents([], [])[0])

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
        if self.lock.is_locked:
            with contextlib.suppress(OSError):  # on Windows the library removes it
                os.unlink(self.lock.lock_file)
        self.lock.release()

    def _names(self) -> list[list[str]]:
        """The names of the optimiser's parameters, group by group."""
        named = list(self.model.named_parameters())
        names = {id(p): name for (_, p), name in zip(named, _bare([name for name, _ in named]), strict=True)}
        groups = [group["params"] for group in self.optimizer.param_groups]
        if foreign := [tuple(p.shape) for group in groups for p in group if id(p) not in names]:
            raise ValueError(f"model must hold all that the optimizer trains, but lacks one of shape {foreign[0]}")
        return [[names[id(p)] for p in group] for group in groups]

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
        tensors = {f"snapshot.{number}": value for number, (_, value) in enumerate(snapshots)}
        tensors |= {"random.batches": self.generator.get_state(), **_random_tensors()}
        model = {f"model.{name}": v for name, v in self.model.state_dict().items() if not is_lazy(v)}
        optimizer = self.optimizer.state_dict()
        slots = {f"optimizer.{i}.{name}": v for i, own in optimizer["state"].items() for name, v in own.items()}
        state = {
            "tensors": f"step-{len(history)}.safetensors",
            "history": history,
            "snapshots": [step for step, _ in snapshots],
            "model": _apart("model", model, tensors),
            "optimizer": {
                "groups": _plain("optimizer", optimizer["param_groups"]),
                "numbers": _apart("optimizer", slots, tensors),
            },
            "scheduler": None if self.scheduler is None else _plain("scheduler", self.scheduler.state_dict()),
            "random": _plain("random", {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}),  # noqa: NPY002
            "given": self.given,
            "complex": [name for name, value in tensors.items() if value.is_complex()],
        }
        for name in state["complex"]:  # as pairs of real numbers, which each version of safetensors can hold
            tensors[name] = torch.view_as_real(tensors[name].detach().resolve_conj())
        return tensors, state

    def _can_be_stored(self, tensors: dict[str, Tensor]) -> None:
        """Raise now, and not after the first hundred steps."""
        for name, value in tensors.items():
            try:
                if value.layout != torch.strided or value.is_quantized:
                    raise KeyError(f"a {value.layout} tensor")
                save({name: torch.empty(0, dtype=value.dtype)})
            except (KeyError, SafetensorError) as error:
                raise ValueError(f"{name} cannot be kept in a checkpoint: {error}") from error

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
        restored = self._check(found, shape if reached < steps else None)
        before = dict(self.optimizer.state), copy.deepcopy(self.optimizer.state_dict()["param_groups"])
        schedule = None if self.scheduler is None else copy.deepcopy(self.scheduler.state_dict())
        try:
            self._take_up(found, restored)
        except Exception as error:
            self.optimizer.load_state_dict({"state": {}, "param_groups": before[1]})
            self.optimizer.state.update(before[0])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(schedule)
            raise self._refused(f"does not fit: {error}") from error
        if found["given"]:
            self._remember(found, restored)
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
            for name in state.get("complex", ()):
                tensors[name] = torch.view_as_complex(tensors[name])

            def named(kind: str, others: dict) -> dict:
                of = {name: value for name, value in tensors.items() if name.startswith(kind)}
                of |= {name: _together(value, tensors) for name, value in others.items()}
                return {name.removeprefix(kind): value for name, value in of.items()}

            slots: dict[int, dict] = {}
            for name, value in named("optimizer.", state["optimizer"]["numbers"]).items():
                index, slot = name.split(".", 1)
                slots.setdefault(int(index), {})[slot] = value
            return {
                "history": [row | {"loss": row["loss"]} for row in state["history"]],
                "snapshots": [(step, tensors[f"snapshot.{i}"]) for i, step in enumerate(state["snapshots"])],
                "model": named("model.", state.get("model", {})),
                "slots": slots,
                "groups": [group | {"params": list(group["params"])} for group in state["optimizer"]["groups"]],
                "schedule": state["scheduler"],
                "random": {"batches": tensors["random.batches"], **named("random.", {}), **state.get("random", {})},
                "given": state.get("given", {}),  # which the first version of this file did not have
            }
        except PermissionError as error:
            raise PermissionError(f"checkpoint {self.folder} cannot be read ({error})") from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            raise ValueError(
                f"checkpoint {self.folder} is damaged ({error}); delete the folder to start again"
            ) from error

    def _check(self, found: dict, shape: Callable[[], tuple] | None) -> bool:
        """Refuse what cannot go on. Returns whether the schedule is the old one, so that its state can be restored;
        else the one that was given is taken to the step that was reached."""
        there, here = _by_bare_name(found["model"]), _by_bare_name(self.model.state_dict())
        for name in [*here, *there]:
            if name not in here or name not in there or not _fits(there[name], here[name]):
                a, b = (_described(of[name]) if name in of else "missing" for of in (there, here))
                raise self._refused(f"holds another model's weights ({name}: {a} there, {b} here)")
        given, now = found["given"], self.given
        if given and given["optimizer"] != now["optimizer"]:
            raise self._refused(f"was written with {given['optimizer']}, and optimizer is {now['optimizer']}")
        old, new = ([len(group["params"]) for group in of] for of in (found["groups"], self.optimizer.param_groups))
        if old != new or given.get("names", now["names"]) != now["names"]:
            raise self._refused(f"has an optimizer over other parameters, in groups of {old}; here they are of {new}")
        for name in sorted(set().union(*self._anew(found))):
            old, new = found["groups"][0].get(name), now["groups"][0].get(name)
            if isinstance(new, bool) or (name == "momentum" and not old and now["optimizer"] == "RMSprop"):
                raise self._refused(f"was written with {name}={old}, which cannot become {new} on the way")
        if found["snapshots"] and shape is not None and shape() != (was := tuple(found["snapshots"][-1][1].shape)):
            raise self._refused(f"has snapshots of shape {was}, and snapshot returns {shape()}")
        if self.scheduler is None:
            return found["schedule"] is None
        stepped = _position(now["schedule"]) > 0
        if not given:
            return stepped and found["schedule"] is not None
        same = given.get("scheduler") == now["scheduler"] and not _set_anew(
            now["schedule"], given["schedule"], found["schedule"], fresh=not stepped
        )
        if stepped and not same:
            raise self._refused("was written with another scheduler, and this one has been stepped already")
        if stepped:
            return True
        told = "lr_lambdas" not in str(now["schedule"])  # or else it is a function's, which nobody can compare
        return same and told and given["steps"] == now["steps"] and not any(self._anew(found))

    def _anew(self, found: dict) -> list[set[str]]:
        """The options that the caller has changed, group by group."""
        now, then = self.given["groups"], found["groups"]
        given = found["given"].get("groups") or (then if found["schedule"] is None else now)
        fresh = not self.optimizer.state
        return [_set_anew(*three, fresh=fresh) - HOW for three in zip(now, given, then, strict=True)]

    def _take_up(self, found: dict, restored: bool) -> None:
        groups = []
        for group, then, anew in zip(self.optimizer.param_groups, found["groups"], self._anew(found), strict=True):
            options = _options(group)
            if restored:
                old = {name: value for name, value in then.items() if name not in anew | HOW}
                options |= {name: _like(value, options.get(name)) for name, value in old.items()}
            groups.append(options | {"params": then["params"]})
        self.optimizer.load_state_dict({"state": found["slots"], "param_groups": groups})
        if self.scheduler is not None and restored:
            self.scheduler.load_state_dict(_like(found["schedule"], self.scheduler.state_dict()))
        elif self.scheduler is not None and len(found["history"]) < self.given["steps"]:
            told = takes_loss(self.scheduler)
            with warnings.catch_warnings():  # torch: the optimiser should have been stepped as often
                warnings.simplefilter("ignore")
                for row in found["history"]:
                    self.scheduler.step(*[row["loss"]] * told)
        here = list(self.model.state_dict())
        there = _by_bare_name(found["model"])
        self.model.load_state_dict({name: there[bare] for name, bare in zip(here, _bare(here), strict=True)})

    def _remember(self, found: dict, restored: bool) -> None:
        """What the caller has left alone was given at the very start: objects that were in use before are as that run
        left them."""
        for now, given, anew in zip(self.given["groups"], found["given"]["groups"], self._anew(found), strict=True):
            now |= {name: value for name, value in given.items() if restored and name not in anew}
        if restored:
            self.given["schedule"] = found["given"]["schedule"]

    def _changes(self, then: list[dict]) -> list[str]:
        """Each option that is not what it was, in words."""
        words = {}
        for group, old in zip(self.optimizer.param_groups, then, strict=True):
            new = _plain("optimizer", _options(group))
            for name in sorted((new.keys() & old.keys()) - HOW - ECHOES):
                if new[name] != old[name]:
                    words[f"{name} {_short(new[name])} in place of {_short(old[name])}"] = None
        return list(words)

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
            for device in range(torch.cuda.device_count()):
                if f"cuda.{device}" in states:
                    torch.cuda.set_rng_state(states[f"cuda.{device}"], device)
            if "cuda" in states:
                torch.cuda.set_rng_state(states["cuda"])
        if torch.backends.mps.is_available() and "mps" in states:
            torch.mps.set_rng_state(states["mps"])
        if "python" in states:
            version, words, rest = states["python"]
            random.setstate((version, tuple(words), rest))
            if states["numpy"]["bit_generator"] == np.random.get_state(legacy=False)["bit_generator"]:  # noqa: NPY002
                np.random.set_state(states["numpy"])  # noqa: NPY002


def takes_loss(scheduler) -> bool:
    """Whether `step` must be told the loss, as that of ReduceLROnPlateau."""
    return any(p.default is p.empty and p.kind < p.VAR_POSITIONAL for p in _arguments(scheduler))


def needs_closure(optimizer) -> bool:
    """Whether `step` must be given a function that it calls several times, as that of LBFGS."""
    return any(p.name == "closure" and p.default is p.empty for p in _arguments(optimizer))


def _arguments(stepped) -> list[inspect.Parameter]:
    return list(inspect.signature(stepped.step).parameters.values())


def _random_tensors() -> dict[str, Tensor]:
    """torch's own generators. In a job of several processes each has its own GPU: "cuda" is this one's."""
    states = {"random.global": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["random.cuda"] = torch.cuda.get_rng_state()
        for device in set(range(torch.cuda.device_count())) - {torch.cuda.current_device()}:
            states[f"random.cuda.{device}"] = torch.cuda.get_rng_state(device)
    if torch.backends.mps.is_available():
        states["random.mps"] = torch.mps.get_rng_state()
    return states


# -- names, shapes, options


def _bare(names: list[str]) -> list[str]:
    """The names as they are without what wraps a model, unless two would then be the same."""
    bare = [re.sub(WRAPPERS, "", name) for name in names]
    return bare if len(set(bare)) == len(set(names)) else names


def _by_bare_name(of: dict) -> dict:
    return dict(zip(_bare(list(of)), of.values(), strict=True))


def _fits(there, here) -> bool:
    if not (isinstance(there, Tensor) and isinstance(here, Tensor)):
        return isinstance(there, Tensor) == isinstance(here, Tensor)
    kinds = [(value.is_floating_point(), value.is_complex()) for value in (there, here)]
    return kinds[0] == kinds[1] and (is_lazy(here) or there.shape == here.shape)


def _described(value) -> str:
    if not isinstance(value, Tensor) or is_lazy(value):
        return type(value).__name__
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _options(group: dict) -> dict:
    return {name: value for name, value in group.items() if name != "params"}


def _set_anew(now: dict, given: dict, then: dict, *, fresh: bool) -> set[str]:
    """Which of them the caller has set to something else. One that has been in use differs by what it did, too: then
    only what the run had left alone can tell."""
    return {
        name
        for name in now.keys() & given.keys()
        if now[name] != given[name] and (fresh or given[name] == then.get(name))
    }


def _position(schedule: dict) -> int:
    inner = max(map(_position, schedule.get("_schedulers", ())), default=0)
    return schedule.get("last_epoch", inner)


def _short(value) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# -- from Python to JSON and back


def _plain(what: str, value):
    """A copy as JSON gives it back: tensors and arrays are numbers or lists of them. A function is left out."""

    def other(value):
        if callable(value):
            return None
        if hasattr(value, "tolist"):
            return value.tolist()
        raise ValueError(f"{what} holds a {type(value).__name__}, which cannot be kept in a checkpoint")

    return json.loads(json.dumps(value, default=other))


def _like(value, now):
    """What `_plain` made of something, in the types of what stands in its place now."""
    if isinstance(now, Tensor):
        return torch.as_tensor(value, dtype=now.dtype, device=now.device).reshape(now.shape)
    if isinstance(now, dict) and isinstance(value, dict):
        keys = {str(key): key for key in now}
        return type(now)({keys.get(key, key): _like(v, now.get(keys.get(key, key))) for key, v in value.items()})
    if isinstance(now, list | tuple) and isinstance(value, list) and len(now) == len(value):
        return type(now)([_like(*two) for two in zip(value, now, strict=True)])
    return now if callable(now) and value is None else value


def _apart(what: str, found: dict, tensors: dict[str, Tensor]) -> dict:
    """Put what are tensors among `tensors`, those deep inside something too; return the others."""

    def parted(name: str, value):
        if isinstance(value, Tensor):
            tensors[name] = value
            return {"tensor": name}
        if isinstance(value, dict):
            return {"items": [[key, parted(f"{name}.{i}", v)] for i, (key, v) in enumerate(value.items())]}
        if isinstance(value, list | tuple):
            return {type(value).__name__: [parted(f"{name}.{i}", v) for i, v in enumerate(value)]}
        return _plain(what, value)

    tensors |= {name: value for name, value in found.items() if isinstance(value, Tensor)}
    return {name: parted(f"in {name}", value) for name, value in found.items() if not isinstance(value, Tensor)}


def _together(value, tensors: dict[str, Tensor]):
    """What `_apart` took apart."""
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "items":
        return {key: _together(v, tensors) for key, v in inner}
    return {"list": list, "tuple": tuple}[kind](_together(v, tensors) for v in inner)
