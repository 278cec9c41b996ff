"""Fill a folder with all that `make lab` installs, for machines without a network: what `make wheels` runs.

    python tools/wheels.py [--folder wheels] [--constraints constraints.txt]

There `make lab WHEELS=folder` takes everything from it. The wheels fit the Python that runs this script, and machines
of this kind. pip gathers them in the clone's .cache first, and each moves into the folder whole. The folder's list,
wheels.json, says that it is complete only when it is: an interrupted run is noticed, and the next one completes it.
"""

import argparse
import ast
import errno
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

from setup_env import (
    LIST,
    ROOT,
    Refusal,
    check_python,
    digest,
    disk_full,
    free_gigabytes,
    gigabytes_needed,
    make_venv,
    one_at_a_time,
    read_list,
    run_pip,
    this_platform,
    this_python,
    torn,
)

OPTIONAL = "speech"  # the extra that `make lab` asks for, and does without where there is none


def listed_in(pyproject, name):
    """The list of requirements with that name in the text of a pyproject.toml. (tomllib comes with Python 3.11.)"""
    found = re.search(rf"^{name} = (\[.*?\])[ \t]*(?:#[^\n]*)?$", pyproject, re.M | re.S)
    return ast.literal_eval(found[1])


def unpacked(wheel):
    """Bytes of all that a wheel holds."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(info.file_size for info in archive.infolist())


def write_list(folder, listed):
    part = folder / f"{LIST}.part"
    part.write_text(json.dumps(listed, indent=1) + "\n", "utf-8")
    os.replace(part, folder / LIST)


def gather(root, work, constraints):
    """Let pip bring the wheels into a folder, and build those that the index has no build of. Returns the folder."""
    pyproject = (root / "pyproject.toml").read_text("utf-8")
    got = work / "got"
    build = listed_in(pyproject, "requires")  # the clone itself is not among the wheels; to install it pip builds it
    command = ["wheel", "-w", str(got), "-r", "requirements.txt", "wheel", *build]
    command += ["-c", str(constraints)] if constraints else []
    print("Gathering the wheels. The first time takes some minutes.", flush=True)
    make_venv(work / "venv")
    try:
        run_pip(work / "venv", root, [*command, *listed_in(pyproject, OPTIONAL)])
    except Refusal as refusal:
        run_pip(work / "venv", root, command)  # where that fails too, optional is not what it is about
        print(f"Optional, and left out: {OPTIONAL}. ({str(refusal).splitlines()[0]})", flush=True)
    return got


def move(got, folder, made_from):
    """Move the wheels into the folder, take away those of an earlier run, and write the list. Returns the list."""
    wheels = sorted(got.glob("*.whl"))
    files = {wheel.name: wheel.stat().st_size for wheel in wheels}
    old = read_list(folder).get("files", {})
    listed = {
        "complete": False,
        "python": this_python(),
        "platform": this_platform(),
        "made_from": made_from,
        "unpacked": sum(map(unpacked, wheels)),
        "files": {**old, **files},
    }
    write_list(folder, listed)
    for wheel in wheels:
        shutil.move(wheel, folder / f"{wheel.name}.part")  # which may be another disk, and take its time
        os.replace(folder / f"{wheel.name}.part", folder / wheel.name)
    for name in set(old) - set(files):
        (folder / name).unlink(missing_ok=True)
    for part in folder.glob("*.whl.part"):
        part.unlink()
    listed.update(complete=True, files=files)
    write_list(folder, listed)
    return listed


def fill(folder, root, constraints):
    """Bring the folder up to date. Returns its list."""
    sources = [root / "requirements.txt", root / "pyproject.toml", *([constraints] if constraints else [])]
    made_from = digest(this_python(), this_platform(), *(path.read_text("utf-8") for path in sources))
    work = root / ".cache" / "wheels"
    with one_at_a_time(root):
        listed = read_list(folder)
        kind = f"Python {this_python()} on {this_platform()}"
        if listed and kind != (other := f"Python {listed['python']} on {listed['platform']}"):
            raise Refusal(f"{folder} is for {other}, and this is {kind}. Name another folder, or delete that one.")
        if listed.get("complete") and listed["made_from"] == made_from and not torn(folder, listed["files"]):
            return listed
        strangers = sorted({wheel.name for wheel in folder.glob("*.whl")} - set(listed.get("files", {})))
        if strangers:
            raise Refusal(f"{folder} holds wheels of others, such as {strangers[0]}. Name a folder of its own.")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            if free_gigabytes(work) < gigabytes_needed(work / "venv"):
                raise disk_full(work / "venv")
            folder.mkdir(parents=True, exist_ok=True)
            return move(gather(root, work, constraints), folder, made_from)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", default="wheels", help="where the wheels go; it is made where there is none")
    parser.add_argument("--constraints", default="", help="a file of exact versions, such as constraints.txt")
    options = parser.parse_args(arguments)
    folder = root / pathlib.Path(options.folder).expanduser()
    try:
        check_python()
        constraints = root / options.constraints if options.constraints else None
        if constraints and not constraints.is_file():
            raise Refusal(f"There is no constraints file {constraints}.")
        listed = fill(folder, root, constraints)
    except Refusal as refusal:
        return str(refusal)
    except subprocess.CalledProcessError as error:
        return f"Could not make an environment for pip: {(error.stderr or b'').decode(errors='replace')}"
    except OSError as error:
        full = error.errno == errno.ENOSPC
        return (
            f"The disk of {folder} is full. Make room, then repeat." if full else f"Could not fill {folder}: {error}"
        )
    except KeyboardInterrupt:
        return "Stopped. The same command completes the folder."
    gigabytes = sum(listed["files"].values()) / 1e9
    print(
        f"{folder}: {len(listed['files'])} files, {gigabytes:.2f} GB, for Python {listed['python']} on "
        f"{listed['platform']}; installed they take about {listed['unpacked'] / 1e9:.1f} GB.\n"
        "On each machine, in its own copy of the course, without a network:\n"
        f'    make lab WHEELS="{options.folder}"      (or wherever the folder lies there)'
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
