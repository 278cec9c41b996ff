"""One run of a submission, in a process of its own, which tools/challenge.py starts.

    python challenge/child.py FOLDER SEED BUDGET MODULE ...

In FOLDER are submission.py and the tasks to train on. When it has trained it says so, and a line on its standard
input tells that the test pictures have come; no label is ever here. What it prints goes to standard error.
"""

import importlib
import importlib.util
import json
import os
import random
import resource
import sys
import traceback
from pathlib import Path

import guard
import kernel

TASKS = ("numbers", "emoji")
LONGEST = 200  # characters of what a crash says


def reader():
    """A function that reads a file of tensors and its captions. No other function of safetensors is left: they open
    files that no hook sees."""
    from safetensors.torch import load

    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        del sys.modules[name]

    def read(path: Path) -> tuple[dict, list[str]]:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return load(data), json.loads(header["__metadata__"]["captions"])

    return read


def writer():
    from safetensors.torch import save

    return lambda tensors, path: path.write_bytes(save(tensors))


def wrong(found: object) -> str | None:
    """What is not as it should be with what `train` returned."""
    if isinstance(found, tuple) and [callable(one) for one in found] == [True, True]:
        return None
    what = f"a tuple of {len(found)}" if isinstance(found, tuple) else type(found).__name__
    return f"returned {what} from train, and not two functions"


def last_line(error: BaseException, file: Path) -> str:
    """What went wrong, and in which line of the submission."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines = [error.lineno]
    said = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    said = said.rstrip(".") if len(said) <= LONGEST else said[:LONGEST] + " ..."
    return (f"line {lines[-1]}: " if lines else "") + said


def seen(opener, mode: str):
    """A class that opens files in C++, with an open of Python's before it, which the guard sees."""

    def open_first(file, *args, **kwargs):
        if isinstance(file, str):
            open(file, mode).close()
        return opener(file, *args, **kwargs)

    return open_first


def main(folder: Path, seed: int, budget: int, modules: list[str]) -> None:
    said = os.dup(1)
    os.dup2(2, 1)

    def tell(**message) -> None:
        os.write(said, (json.dumps(message) + "\n").encode())

    def refuse(what: str) -> None:
        tell(refused=what)
        os._exit(1)

    resource.setrlimit(resource.RLIMIT_CPU, (budget, budget))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.cut_the_network()
    import kit
    import numpy as np
    import torch

    for module in modules:  # what a submission may use is loaded now: some of it needs C on its way in
        importlib.import_module(module)
    write, read = writer(), reader()
    for owner in (torch, torch.UntypedStorage):
        owner.from_file = lambda *args, **kwargs: refuse("read a file unseen (from_file)")
    torch._C.PyTorchFileWriter = seen(torch._C.PyTorchFileWriter, "ab")  # torch.save's
    torch._C.PyTorchFileReader = seen(torch._C.PyTorchFileReader, "rb")
    torch.cuda.is_available()  # which settles for good that there is none: the environment hides it
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    file = folder / "submission.py"
    os.chdir(folder)
    # After the imports, as torch asks the system for much. It binds this thread and those that it starts: so far
    # no other runs Python.
    xlib = sys.modules["xlib"].__path__[0]
    kernel.close_the_files(str(folder), kernel.code(guard.is_open, xlib), guard.DEVICES)
    guard.install(str(folder), refuse)
    try:
        spec = importlib.util.spec_from_file_location("submission", file)
        submission = sys.modules["submission"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(submission)
        tasks, encoders = {}, {}
        for name in TASKS:
            tensors, captions = read(folder / f"{name}-train.safetensors")
            tasks[name] = kit.Task(name, tensors, captions)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002  a submission may still use it
            torch.manual_seed(seed)
            encoders[name] = submission.train(tasks[name], seed)
            if what := wrong(encoders[name]):
                refuse(what)
        tell(trained=True)
        sys.stdin.readline()
        for name, (encode_images, encode_texts) in encoders.items():
            tensors, captions = read(folder / f"{name}-test.safetensors")
            tasks[name].learn(captions, tensors["features"])
            with torch.no_grad():
                found = {"images": encode_images(kit.as_float(tensors["images"])), "texts": encode_texts(captions)}
            for part, rows in found.items():
                if not isinstance(rows, torch.Tensor):
                    refuse(f"returned {type(rows).__name__} for the {part} of {name}, and not a torch.Tensor")
            tensors = {part: rows.detach().to("cpu", torch.float32).contiguous() for part, rows in found.items()}
            write(tensors, folder / f"{name}-found.safetensors")
    except BaseException as error:
        tell(crashed=last_line(error, file))
        os._exit(1)
    tell(done=True)
    os._exit(0)  # whatever threads there still are


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
