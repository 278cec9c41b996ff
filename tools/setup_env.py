"""Make .venv and install the course into it, once: what `make lab` and `make test` run first.

    python tools/setup_env.py [--extras test,browser] [--optional speech] [--constraints constraints.txt]
        [--wheels folder]

A stamp in .venv says what has been installed. It is taken away before pip starts and written when pip is done, so
an install that was interrupted is noticed and finished, and a second run needs neither pip nor a network. An optional
extra that pip cannot get is left out, and one line says so; it is tried again with the next install.
With --wheels pip takes everything from a folder that `make wheels` has filled, and needs no network.
Whatever goes wrong ends in one sentence. Standard library only, and written so that Python 3.6 can still read it.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import platform
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAMP = "installed.json"
LIST = "wheels.json"  # what a folder of wheels holds, and for whom; written by tools/wheels.py


class Refusal(Exception):
    """Something that the reader of the terminal can mend; its text is all that they see."""


def venv_python(venv):
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(venv):
    return [*venv.glob("lib/python*/site-packages"), *venv.glob("Lib/site-packages")]


def digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def fingerprint(root):
    """A hash of all that decides what belongs in the environment, and of where the editable install points."""
    return digest(str(root), *((root / name).read_text("utf-8") for name in ("requirements.txt", "pyproject.toml")))


def read_stamp(venv):
    try:
        stamp = json.loads((venv / STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def this_python():
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def this_platform():
    return f"{platform.system()} {platform.machine()}"


def missing(venv, root, extras, constraints, optional=()):
    """Why something must be installed, or "" where nothing is to be done.

    Asking for no constraints is content with an install that had some: they lie within the loose bounds.
    """
    stamp = read_stamp(venv)
    asked = this_python() if os.environ.get("PYTHON") else ""
    known = set(stamp.get("extras", []))
    new = sorted((set(extras) - known) | (set(optional) - known - set(stamp.get("optional", []))))
    if not venv_python(venv).exists():
        return "there is none yet"
    if not stamp:
        return "the last install did not finish"
    if asked and stamp.get("python") != asked:
        return f"Python {asked} was asked for"
    if stamp.get("fingerprint") != fingerprint(root):
        return "the requirements have changed"
    if new:
        return "to be added: " + ", ".join(new)
    if constraints and stamp.get("constraints") != digest(constraints.read_text("utf-8")):
        return "the constraints have changed"
    return ""


def gigabytes_needed(venv, wheels=None):
    """Room to ask for: .venv took 6.9 GB on Linux, where pip brings the CUDA build of torch, and pip keeps the wheels
    beside it while it works. Those of a folder stay where they are, and their list says what they hold: to that come
    a tenth of it, for what Python compiles, and a margin."""
    if any((site / "torch" / "__init__.py").exists() for site in site_packages(venv)):
        return 1
    if wheels:
        return math.ceil(1.1 * read_list(wheels).get("unpacked", 0) / 1e9 + 0.2)
    indices = os.environ.get("PIP_EXTRA_INDEX_URL", "") + os.environ.get("PIP_INDEX_URL", "")
    return 10 if platform.system() == "Linux" and "cpu" not in indices else 4


def free_gigabytes(venv):
    return shutil.disk_usage(str(venv if venv.exists() else venv.parent)).free / 1e9


def disk_full(venv, wheels=None):
    return Refusal(
        f"The disk is full: the course needs about {gigabytes_needed(venv, wheels)} GB of room in {venv.parent}, and "
        f"{free_gigabytes(venv):.1f} GB are free. Make room, then run the same command: it goes on where it stopped."
    )


def check_python():
    if sys.version_info < (3, 10):  # noqa: UP036, this is where an older one is told
        raise Refusal(f"The course needs Python 3.10 or newer; this is {platform.python_version()}.")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Refusal(
            f"Python {this_python()} ({sys.executable}) comes without venv. "
            f"On Debian and Ubuntu: sudo apt install python{this_python()}-venv"
        ) from None


def describe(python):
    """The "3.11" of an environment whose Python and pip both run, or "" for one that is broken."""
    code = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return (
            subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            .stdout.decode()
            .strip()
        )
    except OSError:
        return ""


def kept(venv):
    """The "3.11" of an environment that is sound and was not asked to be of another version, else ""."""
    version = describe(venv_python(venv))
    return version if version == this_python() or not os.environ.get("PYTHON") else ""


def make_venv(venv):
    """A fresh .venv, unless there is one to keep."""
    if kept(venv):
        return
    base = getattr(sys, "_base_executable", sys.executable)  # this may be .venv's own Python, about to be replaced
    subprocess.run([base, "-m", "venv", "--clear", str(venv)], check=True, stderr=subprocess.PIPE)


def drop_torn_packages(venv):
    """Forget packages that an interrupted pip left half written, so that the next pip writes them anew.

    pip writes a package's RECORD last, and calls a package "~name" while it replaces it.
    """
    for site in site_packages(venv):
        for folder in site.iterdir():
            if folder.name.startswith("~") or (folder.suffix == ".dist-info" and not (folder / "RECORD").exists()):
                shutil.rmtree(str(folder), ignore_errors=True)


def read_list(wheels):
    """What `make wheels` has noted of its folder; {} where it has not, or where the note is damaged."""
    try:
        listed = json.loads((wheels / LIST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    keys = {"complete", "python", "platform", "made_from", "unpacked", "files"}
    return listed if isinstance(listed, dict) and keys <= set(listed) else {}


def torn(wheels, files):
    """Those of the listed files that are not there in their full size."""
    return [name for name, size in files.items() if not is_whole(wheels / name, size)]


def is_whole(path, size):
    return path.is_file() and path.stat().st_size == size


def check_wheels(wheels, venv):
    """Refuses a folder that cannot serve, before .venv is touched."""
    if not wheels.is_dir():
        raise Refusal(f"There is no folder {wheels}. `make wheels` makes one, on a machine with a network.")
    listed = read_list(wheels)
    again = "Run `make wheels` once more where there is a network, and copy the whole folder."
    if not listed:
        what = "has no wheels.json, the list" if any(wheels.glob("*.whl")) else "is not one"
        raise Refusal(f"{wheels} {what} that `make wheels` leaves. {again}")
    if not listed["complete"]:
        raise Refusal(f"{wheels} was left unfinished. {again}")
    python = kept(venv) or this_python()
    if (listed["python"], listed["platform"]) != (python, this_platform()):
        hint = (
            f"Another Python may do: make lab WHEELS=... PYTHON=python{listed['python']}"
            if listed["platform"] == this_platform()
            else "Fill one on a machine of this kind: make wheels"
        )
        raise Refusal(
            f"{wheels} is for Python {listed['python']} on {listed['platform']}, and this is Python {python} on "
            f"{this_platform()}. {hint}"
        )
    lost = torn(wheels, listed["files"])
    if lost:
        raise Refusal(
            f"{wheels} is not whole: {len(lost)} of its {len(listed['files'])} files are missing or cut short, "
            f"{lost[0]} among them. Copy it once more."
        )


def pip_environment(venv, wheels=None):
    """The user's own pip settings (a mirror, a proxy, a cache) hold; those that would install elsewhere do not. A
    folder of wheels stands alone: no setting may add another place to it."""
    drop = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"}
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in drop and not (wheels and name.startswith("PIP_"))
    }
    if wheels:
        own["PIP_CONFIG_FILE"] = os.devnull  # pip's word for: no settings file at all
    return dict(
        own, PIP_USER="0", TMPDIR=str(venv / "tmp")
    )  # TMPDIR: on the disk that was checked; /tmp is often small


def pip_install(venv, root, extras, constraints, wheels=None):
    arguments = ["install", "-e", "." + (f"[{','.join(extras)}]" if extras else "")]
    arguments += ["-c", str(constraints)] if constraints else []
    arguments += ["--no-index", "--find-links", str(wheels)] if wheels else []
    run_pip(venv, root, arguments, wheels)


def run_pip(venv, root, arguments, wheels=None):
    command = [str(venv_python(venv)), "-m", "pip", arguments[0], "--disable-pip-version-check", *arguments[1:]]
    (venv / "tmp").mkdir(exist_ok=True)
    # pip's progress goes straight to the terminal; its complaints pass through here, to be understood.
    # Warnings (it tries again, it is slow) are shown at once, errors only where there is no plainer word for them.
    with subprocess.Popen(command, cwd=str(root), env=pip_environment(venv, wheels), stderr=subprocess.PIPE) as pip:
        complaints = ""
        for line in pip.stderr:
            complaints += line.decode(errors="replace")
            if b"WARNING" in line:
                sys.stderr.write(line.decode(errors="replace"))
    shutil.rmtree(str(venv / "tmp"), ignore_errors=True)
    if pip.returncode:
        raise refusal_for(complaints, venv, wheels)


def refusal_for(complaints, venv, wheels=None):
    """What a complaint of pip or venv means to somebody who only wants to open the course."""
    if "No space left" in complaints or free_gigabytes(venv) < 0.2:
        return disk_full(venv, wheels)
    if wheels and any(sign in complaints for sign in ("BadZipFile", "zlib.error", " is invalid.")):
        return Refusal(
            f"A file in {wheels} is damaged. Copy the folder once more; then the same command goes on where it "
            "stopped."
        )
    if "CERTIFICATE_VERIFY_FAILED" in complaints or "CA certificate bundle" in complaints:
        return Refusal(
            "pip does not trust the package index's certificate. Where a company's proxy reads along, set PIP_CERT "
            "to the file of its certificate; then the same command goes on where it stopped."
        )
    if "Connection" in complaints or "Retrying" in complaints:
        return Refusal(
            "pip could not reach the package index. With a network, the same command goes on where it stopped."
        )
    if "No matching distribution found for" in complaints:
        name = complaints.rsplit("No matching distribution found for", 1)[1].splitlines()[0].strip()
        if wheels:
            return Refusal(
                f"{wheels} has no {name}: it was filled for other requirements than this copy of the course has, "
                "or on a newer system than this one. Run `make wheels` in this copy, where there is a network."
            )
        return Refusal(
            f"There is no {name} for Python {platform.python_version()} on {platform.system()} {platform.machine()}. "
            "Another Python may do: make lab PYTHON=python3.12"
        )
    return Refusal(f"{complaints}The install did not finish; the lines above say why. The same command tries again.")


@contextlib.contextmanager
def one_at_a_time(root):
    """`make lab` and `make test` may be started together. Locks the clone's folder, so that no lock file is left."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder = os.open(str(root), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def install(venv, root, extras, constraints, optional=(), wheels=None):
    """Bring venv up to date. Returns why anything had to be done, "" where nothing had."""
    if not missing(venv, root, extras, constraints, optional):
        return ""
    with one_at_a_time(root):
        # Another make may have seen to it while this one waited.
        reason = missing(venv, root, extras, constraints, optional)
        if not reason:
            return ""
        if wheels:
            check_wheels(wheels, venv)
        print(f"Setting up .venv ({reason}). The first time takes some minutes.", flush=True)
        if free_gigabytes(venv) < gigabytes_needed(venv, wheels):
            raise disk_full(venv, wheels)
        stamp = read_stamp(venv)
        extras = sorted({*extras, *stamp.get("extras", [])})
        optional = sorted({*optional, *stamp.get("optional", [])} - set(extras))
        if (venv / STAMP).exists():
            (venv / STAMP).unlink()
        make_venv(venv)
        drop_torn_packages(venv)
        try:
            pip_install(venv, root, sorted([*extras, *optional]), constraints, wheels)
        except Refusal as refusal:
            if not optional:
                raise
            pip_install(
                venv, root, extras, constraints, wheels
            )  # where that fails too, optional is not what it is about
            why = str(refusal).splitlines()[0]
            print(f"Optional, and left out: {', '.join(optional)}. The lessons go on without. ({why})", flush=True)
        stamp = {
            "fingerprint": fingerprint(root),
            "constraints": digest(constraints.read_text("utf-8")) if constraints else "",
            "extras": extras,
            "optional": optional,
            "python": describe(venv_python(venv)),
        }
        (venv / (STAMP + ".part")).write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")
        os.replace(str(venv / (STAMP + ".part")), str(venv / STAMP))
    return reason


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--extras", default="", help="extras of pyproject.toml, separated by commas")
    parser.add_argument("--optional", default="", help="extras that may fail to install, separated by commas")
    parser.add_argument("--constraints", default="", help="a file of exact versions, such as constraints.txt")
    parser.add_argument("--wheels", default="", help="a folder of `make wheels`, to install from without a network")
    options = parser.parse_args(arguments)
    venv = root / ".venv"
    try:
        check_python()
        constraints = root / options.constraints if options.constraints else None
        if constraints and not constraints.is_file():
            raise Refusal(f"There is no constraints file {constraints}.")
        extras, optional = (
            [extra for extra in names.split(",") if extra] for names in (options.extras, options.optional)
        )
        wheels = root / pathlib.Path(options.wheels).expanduser() if options.wheels else None
        install(venv, root, extras, constraints, optional, wheels)
    except Refusal as refusal:
        return str(refusal)
    except subprocess.CalledProcessError as error:
        return str(refusal_for((error.stderr or b"").decode(errors="replace"), venv))
    except OSError as error:
        return str(disk_full(venv)) if error.errno == errno.ENOSPC else f"Could not set up .venv: {error}"
    except KeyboardInterrupt:
        return "Stopped. The same command goes on where it left off."
    return 0


if __name__ == "__main__":
    sys.exit(main())
