"""`make wheels` and `make lab WHEELS=folder`: a folder filled from a small index, and installed from it alone.

A stand-in course asks for tiny packages that are made on the spot, its build backend among them; pip is the real one.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import pip
import pytest
import setup_env
import wheels
from clean_notebooks import ROOT

try:
    import tomllib
except ImportError:  # before Python 3.11
    tomllib = pytest.importorskip("tomli")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="make and sh are not there; docs/teaching/room.md has lines")

DISK = namedtuple("DISK", "total used free")
PYPROJECT = """\
[build-system]
requires = ["tiny-build>=1"]  # not the real one: a test must not need a network
build-backend = "tiny_build"

[project]
name = "tiny-course"
version = "1"
dynamic = ["dependencies"]

[project.optional-dependencies]
speech = ["tiny-voice>=1"]  # optional
"""
BACKEND = '''
import pathlib
import zipfile


def build_editable(folder, config_settings=None, metadata_directory=None):
    """The course as a wheel that holds its requirements and nothing else."""
    needed = pathlib.Path("requirements.txt").read_text("utf-8").split()
    lines = ["Metadata-Version: 2.1", "Name: tiny-course", "Version: 1"]
    lines += [f"Requires-Dist: {each}" for each in needed]
    lines += ["Provides-Extra: speech", 'Requires-Dist: tiny-voice>=1; extra == "speech"', ""]
    info = "tiny_course-1.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder) / "tiny_course-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\\n".join(lines))
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return "tiny_course-1-py3-none-any.whl"
'''


def tiny(folder: Path, name: str, version: str) -> None:
    """Write a wheel with one module: the build backend, or nothing much."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", BACKEND if name == "tiny-build" else "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def venv_with_pip(venv: Path) -> None:
    """Like setup_env.make_venv, with this environment's pip instead of a fresh one, which takes seconds."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = setup_env.site_packages(venv)
    (venv / "pip").mkdir()
    (venv / "pip" / "pip").symlink_to(Path(pip.__file__).parent)
    (site / "pip.pth").write_text(f"{venv / 'pip'}\n", "utf-8")


ALSO = ("PYTHON", "WHEELS", "CONSTRAINTS", "ARGS")  # what `make test` may have been given, and hands on


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path_factory):
    """Nobody's own settings of pip and make, room on the disk, and an index: a folder that pip's settings name."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "MAKE", "MFLAGS")) or name in ALSO]:
        monkeypatch.delenv(name)
    index = tmp_path_factory.mktemp("index")
    for name in ("tiny-build", "tiny-data", "tiny-voice", "wheel"):
        tiny(index, name, "1.0")
    settings = tmp_path_factory.mktemp("settings") / "pip.conf"
    settings.write_text(f"[global]\nno-index = true\nfind-links = {index}\n", "utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DISK(2e11, 1e11, 1e11))
    monkeypatch.setattr(setup_env, "make_venv", venv_with_pip)
    monkeypatch.setattr(wheels, "make_venv", venv_with_pip)
    return index


@pytest.fixture
def course(tmp_path):
    root = tmp_path / "course"
    root.mkdir()
    (root / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    (root / "requirements.txt").write_text("tiny-data>=1\n", "utf-8")
    (root / "constraints.txt").write_text("tiny-data==1.0\n", "utf-8")
    return root


def names(folder: Path) -> list[str]:
    return sorted(path.name.partition("-py3")[0] for path in folder.glob("*.whl"))


def in_venv(root: Path) -> dict[str, str]:
    code = "import importlib.metadata as m; print({d.metadata['Name']: d.version for d in m.distributions()})"
    python = setup_env.venv_python(root / ".venv")
    return eval(subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout)


EVERYTHING = ["tiny_build-1.0", "tiny_data-1.0", "tiny_voice-1.0", "wheel-1.0"]


# --- filling, then installing ---------------------------------------------------------------------


@pytest.mark.long
def test_a_folder_is_filled_and_a_course_installed_from_it_alone(course, settings, tmp_path, capsys, monkeypatch):
    assert wheels.main([], course) == 0
    assert names(course / "wheels") == EVERYTHING
    said = capsys.readouterr().out
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"wheels: 4 files, 0.00 GB, for Python {version} on " in said
    assert 'make lab WHEELS="wheels"' in said
    assert not (course / ".cache" / "wheels").exists()

    # On another machine: the folder has moved, and what the user's settings name has a newer one, which is not taken.
    shutil.rmtree(course / ".cache")
    stick = shutil.move(course / "wheels", tmp_path / "a stick's folder")
    tiny(settings, "tiny-data", "2.0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(settings))
    (tmp_path / "config" / "pip").mkdir(parents=True)
    (tmp_path / "config" / "pip" / "pip.conf").write_text(f"[global]\nfind-links = {settings}\n", "utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert setup_env.main(["--optional", "speech", "--wheels", str(stick)], course) == 0
    installed = in_venv(course)
    assert installed == {"tiny-course": "1", "tiny-data": "1.0", "tiny-voice": "1.0"}

    shutil.rmtree(stick)  # the stick is pulled out, and the same command still opens the course
    capsys.readouterr()
    assert setup_env.main(["--optional", "speech", "--wheels", str(stick)], course) == 0
    assert capsys.readouterr().out == ""


def test_the_build_requirements_and_the_optional_extra_are_those_of_the_course():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    known = tomllib.loads(text)
    assert wheels.listed_in(text, "requires") == known["build-system"]["requires"]
    extra = known["project"]["optional-dependencies"][wheels.OPTIONAL]
    assert wheels.listed_in(text, wheels.OPTIONAL) == extra


def test_a_full_folder_needs_no_pip_and_an_outdated_one_does(course, monkeypatch):
    calls = gathered_by_hand(monkeypatch)
    for _ in range(2):
        assert wheels.main([], course) == 0
    assert len(calls) == 1
    for change in ("tiny_data-1.0-py3-none-any.whl", "wheels.json"):
        (course / "wheels" / change).write_text("", "utf-8")
        if change == "wheels.json":
            shutil.rmtree(course / "wheels")  # wheels that nobody lists are not touched; see below
        assert wheels.main([], course) == 0
    assert len(calls) == 3
    (course / "requirements.txt").write_text("tiny-data>=1.0\n", "utf-8")
    assert wheels.main([], course) == 0
    assert wheels.main(["--constraints", "constraints.txt"], course) == 0
    assert len(calls) == 5


def gathered_by_hand(monkeypatch, contents=(("tiny-data", "1.0"), ("tiny-build", "1.0"))) -> list:
    """Instead of pip: wheels that are simply there. Returns a list that grows with each call."""
    calls = []

    def gather(root, work, constraints):
        (work / "got").mkdir()
        for name, version in contents:
            tiny(work / "got", name, version)
        calls.append(constraints)
        return work / "got"

    monkeypatch.setattr(wheels, "gather", gather)
    return calls


def test_what_pip_is_asked_for(course, monkeypatch, capsys):
    asked = []

    def run_pip(venv, root, arguments, folder=None):
        asked.append(arguments)
        if "tiny-voice>=1" in arguments:
            raise setup_env.Refusal("There is no tiny-voice.\nAnd more.")

    monkeypatch.setattr(wheels, "run_pip", run_pip)
    assert wheels.main(["--constraints", "constraints.txt"], course) == 0
    one, two = asked
    assert one == [*two, "tiny-voice>=1"]
    assert two[3:] == ["-r", "requirements.txt", "wheel", "tiny-build>=1", "-c", str(course / "constraints.txt")]
    assert "Optional, and left out: speech. (There is no tiny-voice.)" in capsys.readouterr().out.splitlines()


def test_an_interrupted_run_is_noticed_and_completed(course, monkeypatch):
    calls = gathered_by_hand(monkeypatch)
    replace, done = os.replace, []

    def once(source, target):
        if str(target).endswith(".whl"):
            if done:
                raise KeyboardInterrupt
            done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", once)
        assert wheels.main([], course).startswith("Stopped.")
    assert len(names(course / "wheels")) == 1
    says = setup_env.main(["--wheels", "wheels"], course)
    assert "was left unfinished. Run `make wheels` once more" in says
    assert not (course / ".venv").exists()
    assert wheels.main([], course) == 0
    assert len(calls) == 2
    assert sorted(path.suffix for path in (course / "wheels").iterdir()) == [".json", ".whl", ".whl"]


def test_wheels_of_an_earlier_run_go_and_those_of_others_stay(course, monkeypatch):
    gathered_by_hand(monkeypatch)
    assert wheels.main([], course) == 0
    (course / "requirements.txt").write_text("tiny-data>=2\n", "utf-8")
    gathered_by_hand(monkeypatch, [("tiny-data", "2.0")])
    assert wheels.main([], course) == 0
    assert names(course / "wheels") == ["tiny_data-2.0"]
    downloads = course / "Downloads"
    downloads.mkdir()
    tiny(downloads, "somebodys", "1.0")
    says = wheels.main(["--folder", "Downloads"], course)
    assert "holds wheels of others, such as somebodys-1.0-py3-none-any.whl" in says
    assert names(downloads) == ["somebodys-1.0"]


@pytest.mark.parametrize(("key", "value"), [("python", "3.99"), ("platform", "Darwin arm64")])
def test_a_folder_for_other_machines_keeps_its_wheels(course, full, monkeypatch, key, value):
    """Two kinds of machine and one stick: who fills it second must not empty it for the first."""
    change_list(full, **{key: value})
    calls = gathered_by_hand(monkeypatch, [("tiny-data", "2.0")])
    said = wheels.main([], course)
    assert said.startswith(f"{full} is for Python ")
    assert value in said
    assert said.endswith("Name another folder, or delete that one.")
    assert calls == []
    assert names(full) == ["tiny_build-1.0", "tiny_data-1.0"]


def test_a_full_disk_is_said_before_anything_is_done(course, monkeypatch):
    calls = gathered_by_hand(monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DISK(1e11, 9.9e10, 9e8))
    assert wheels.main([], course).startswith("The disk is full: ")
    assert calls == []
    assert not (course / "wheels").exists()


# --- a folder that will not do --------------------------------------------------------------------


@pytest.fixture
def full(course, monkeypatch):
    """A folder that is in order."""
    gathered_by_hand(monkeypatch)
    assert wheels.main([], course) == 0
    return course / "wheels"


def change_list(folder: Path, **changes) -> None:
    listed = json.loads((folder / setup_env.LIST).read_text("utf-8"))
    (folder / setup_env.LIST).write_text(json.dumps({**listed, **changes}), "utf-8")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


BAD = {
    "missing": (shutil.rmtree, "There is no folder "),
    "empty": (empty, " is not one that `make wheels` leaves."),
    "without its list": (lambda folder: (folder / setup_env.LIST).unlink(), " has no wheels.json, the list that"),
    "with half a list": (lambda folder: (folder / setup_env.LIST).write_text('{"comp'), " has no wheels.json, the"),
    "with an odd list": (lambda folder: (folder / setup_env.LIST).write_text("{}"), " has no wheels.json, the list"),
    "another Python": (lambda folder: change_list(folder, python="3.99"), "PYTHON=python3.99"),
    "another machine": (
        lambda folder: change_list(folder, platform="Darwin arm64"),
        " on Darwin arm64, and this is Python ",
    ),
    "half copied": (
        lambda folder: (folder / "tiny_data-1.0-py3-none-any.whl").unlink(),
        " is not whole: 1 of its 2 files are missing or cut short, tiny_data-1.0-py3-none-any.whl among them.",
    ),
    "cut short": (lambda folder: os.truncate(folder / "tiny_build-1.0-py3-none-any.whl", 9), "1 of its 2 files"),
}


@pytest.mark.parametrize(("spoil", "says"), BAD.values(), ids=BAD)
def test_a_folder_that_will_not_do_is_refused_before_venv_is_touched(course, full, spoil, says):
    spoil(full)
    said = setup_env.main(["--wheels", "wheels"], course)
    assert says in said
    assert str(full) in said
    assert "\n" not in said
    assert not (course / ".venv").exists()


def test_an_environment_that_is_there_decides_for_which_python(course, full, monkeypatch):
    """A sound .venv of another Python is kept, so the wheels must fit that."""
    monkeypatch.setattr(setup_env, "describe", lambda python: "3.98")
    assert "and this is Python 3.98 on" in setup_env.main(["--wheels", "wheels"], course)
    monkeypatch.setenv("PYTHON", "python3")  # which makes .venv anew
    setup_env.check_wheels(full, course / ".venv")


@pytest.mark.long
def test_a_folder_for_other_requirements_is_said(course, full):
    (course / "requirements.txt").write_text("tiny-data>=3\n", "utf-8")
    said = setup_env.main(["--wheels", "wheels"], course)
    assert said.startswith(f"{full} has no tiny-data>=3: it was filled for other requirements than this copy")
    assert not (course / ".venv" / setup_env.STAMP).exists()


@pytest.mark.parametrize(
    "complaint",
    [
        "ERROR: Wheel 'emoji' located at /stick/emoji-2.16.0-py3-none-any.whl is invalid.\n",
        "Traceback ...\nzipfile.BadZipFile: Bad CRC-32 for file 'emoji/unicode_codes/emoji.json'\n",
        "Traceback ...\nzlib.error: Error -3 while decompressing data: invalid block type\n",
    ],
)
def test_a_damaged_wheel_is_said(course, complaint):
    """What pip says of a file with its full size and zeros in it, as from a stick that was pulled out too soon."""
    venv = course / ".venv"
    assert str(setup_env.refusal_for(complaint, venv, Path("stick"))).startswith("A file in stick is damaged. Copy")
    assert "the lines above say why" in str(setup_env.refusal_for(complaint, venv))  # without a folder


def test_room_is_asked_for_by_what_the_wheels_hold(course, full, monkeypatch):
    change_list(full, unpacked=7_000_000_000)
    assert setup_env.gigabytes_needed(course / ".venv", full) == 8
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DISK(1e11, 9.3e10, 7.5e9))
    said = setup_env.main(["--wheels", "wheels"], course)
    assert said.startswith("The disk is full: the course needs about 8 GB of room")
    assert not (course / ".venv").exists()


# --- make -----------------------------------------------------------------------------------------


@pytest.fixture
def clone(course):
    shutil.copytree(ROOT / "tools", course / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", course)
    return course


def make(clone, *arguments):
    return subprocess.run(["make", *arguments], cwd=clone, capture_output=True, text=True)


def test_make_passes_the_folder_on(clone):
    lab = make(clone, "-n", "lab", "WHEELS=../my stick/wheels").stdout
    assert 'tools/setup_env.py  --wheels "../my stick/wheels" --optional speech' in lab
    both = make(clone, "-n", "wheels", "WHEELS=../my stick", "CONSTRAINTS=constraints.txt").stdout
    assert both.strip().endswith('tools/wheels.py --constraints constraints.txt --folder "../my stick"')
    assert "--" not in make(clone, "-n", "wheels").stdout


def test_make_says_one_sentence_about_a_folder_that_is_not_there(clone):
    (clone / "wheels").mkdir()  # a target of that name runs all the same
    assert "wheels.py" in make(clone, "-n", "wheels").stdout
    run = make(clone, "lab", "WHEELS=../my stick")
    assert run.returncode != 0
    sentence, make_says = run.stderr.splitlines()
    assert sentence.startswith("There is no folder ")
    assert "my stick. `make wheels` makes one" in sentence
    assert make_says.startswith("make: ***")
    assert not (clone / ".venv").exists()
