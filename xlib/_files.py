"""Files that are there whole, or not at all."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside `path` to write to. At the end it takes its name, which no reader can catch half done; where
    anything fails it is gone, and what stood at `path` stays. "~" is the home folder. Raises an OSError that names
    `path` or its folder, before anything is written, where no file can be made there."""
    path = Path(os.path.expanduser(path))  # of "~name.txt", and no user of that name, it leaves the "~"
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        if path.parent.exists():
            raise NotADirectoryError(f"{path.parent} is a file and no folder, so {path.name} cannot be written to it")
        raise FileNotFoundError(f"the folder {path.parent} does not exist, so {path.name} cannot be written to it")
    # The beginning of the name alone, for a whole one may be as long as a name can be.
    beside = path.with_name(f".{path.name[:40]}.{os.getpid()}-{threading.get_ident()}")
    try:
        beside.touch()  # a folder that takes no file says so here, and not after a long computation
        yield beside
        _take_its_name(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is not None and Path(error.filename) == beside:
            raise type(error)(error.errno, error.strerror, str(path)) from None  # nobody knows the file beside it
        raise


def _take_its_name(beside: Path, path: Path) -> None:
    """On Windows a file that somebody reads at the moment, perhaps a virus scanner, cannot be replaced: it waits."""
    for seconds in (0.01, 0.1, 1, 0):
        try:
            return os.replace(beside, path)
        except PermissionError:
            if sys.platform != "win32" or not seconds:
                raise
            time.sleep(seconds)
