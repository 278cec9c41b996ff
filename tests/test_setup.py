"""`make lab` and `make test`: what they install and when, what they say when they cannot, and a server for real."""

import errno
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import lab
import psutil
import pytest
import setup_env
from clean_notebooks import ROOT

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="make and sh are not there; the README has lines without them"
)

DISK = namedtuple("DISK", "total used free")
# Stands for .venv/bin/python: says that it works, and keeps a diary instead of installing.
FAKE_PYTHON = """#!/bin/sh
here=$(cd "$(dirname "$0")/../.." && pwd)
case "$*" in
"-c "*) echo {version} ;;
"-m pip install"*)
    echo "$*" >> "$here/diary"
    if [ -f "$here/pip_fails" ]; then cat "$here/pip_fails" >&2; exit 1; fi
    case "$*" in *speech*) if [ -f "$here/no_speech" ]; then cat "$here/no_speech" >&2; exit 1; fi ;; esac ;;
*) echo "threads=$OMP_NUM_THREADS $*" >> "$here/diary" ;;
esac
"""
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    """make hands its own variables down to a make that a test starts."""
    for name in (
        "PYTHON",
        "ARGS",
        "CONSTRAINTS",
        "ISOLATE",
        "WORKERS",
        "WHEELS",
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEOVERRIDES",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with an environment that only pretends, and 100 GB free."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "constraints.txt").write_text("emoji==2.12\n", "utf-8")
    script(tmp_path / ".venv" / "bin" / "python", FAKE_PYTHON.format(version=VERSION))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DISK(2e11, 1e11, 1e11))
    return tmp_path


def diary(clone) -> list[str]:
    path = clone / "diary"
    return path.read_text("utf-8").splitlines() if path.exists() else []


# --- installing, once -----------------------------------------------------------------------------


def test_second_run_does_not_call_pip(clone):
    assert setup_env.main([], clone) == 0
    assert len(diary(clone)) == 1
    assert setup_env.main([], clone) == 0
    assert len(diary(clone)) == 1


def test_extras_and_constraints_reach_pip(clone):
    assert setup_env.main(["--extras", "test,browser", "--constraints", "constraints.txt"], clone) == 0
    assert diary(clone)[0].endswith(f"-e .[browser,test] -c {clone / 'constraints.txt'}")


def test_lab_after_test_needs_no_pip_and_test_after_lab_does(clone):
    setup_env.main([], clone)
    setup_env.main(["--extras", "test"], clone)
    assert len(diary(clone)) == 2
    setup_env.main([], clone)
    assert len(diary(clone)) == 2


def installed(clone) -> list[str]:
    """The extras of each of pip's runs."""
    return [line.partition("-e .")[2] for line in diary(clone)]


def test_what_is_optional_comes_with_the_rest_in_one_go(clone, capsys):
    for _ in range(2):
        assert setup_env.main(["--extras", "test", "--optional", "speech"], clone) == 0
    assert installed(clone) == ["[speech,test]"]
    assert setup_env.main(["--optional", "speech"], clone) == 0  # make lab after make test
    assert setup_env.main([], clone) == 0
    assert installed(clone) == ["[speech,test]"]
    assert "left out" not in capsys.readouterr().out


def test_what_is_optional_is_added_where_it_is_not_yet(clone):
    for asked in ([], ["--optional", "speech"], ["--optional", "speech"]):
        assert setup_env.main(asked, clone) == 0
    assert installed(clone) == ["", "[speech]"]
    (clone / ".venv" / setup_env.STAMP).unlink()
    for asked in (["--extras", "speech"], ["--optional", "speech"]):
        assert setup_env.main(asked, clone) == 0
    assert installed(clone)[2:] == ["[speech]"]


def test_what_is_optional_and_cannot_be_had_stops_nothing_and_is_said_in_one_line(clone, capsys):
    (clone / "no_speech").write_text("ERROR: No matching distribution found for espeakng-loader>=0.2.4\n", "utf-8")
    assert setup_env.main(["--optional", "speech"], clone) == 0
    assert installed(clone) == ["[speech]", ""]
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith("Optional, and left out: speech. The lessons go on without. (There is no espeakng-loader")
    assert setup_env.main(["--optional", "speech"], clone) == 0  # nobody waits for pip at each start
    assert len(diary(clone)) == 2
    (clone / "no_speech").unlink()
    assert setup_env.main(["--extras", "test"], clone) == 0  # it is tried again with the next install
    assert installed(clone)[2:] == ["[speech,test]"]


def test_an_extra_that_is_asked_for_outright_is_not_optional(clone):
    (clone / "no_speech").write_text("ERROR: No matching distribution found for espeakng-loader>=0.2.4\n", "utf-8")
    assert "There is no espeakng-loader" in setup_env.main(["--extras", "speech", "--optional", "speech"], clone)
    assert installed(clone) == ["[speech]"]


def test_where_all_of_pip_fails_it_is_not_what_is_optional(clone, capsys):
    (clone / "pip_fails").write_text("WARNING: Retrying after connection broken\n", "utf-8")
    assert "could not reach" in setup_env.main(["--optional", "speech"], clone)
    assert "left out" not in capsys.readouterr().out


def test_make_installs_the_voices_where_lessons_are_run(clone):
    for target, extras in (
        ("lab", "[speech]"),
        ("test", "[browser,speech,test]"),
        ("site", "[site,speech]"),
        ("times", "[speech,test]"),
        ("picture", "[browser,speech]"),
        ("results", "[speech]"),
    ):
        (clone / ".venv" / setup_env.STAMP).unlink(missing_ok=True)
        (clone / "diary").unlink(missing_ok=True)
        assert make(clone, target).returncode == 0
        assert installed(clone)[0] == extras, target


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_changed_requirements_are_installed_with_the_extras_of_before(clone, name):
    setup_env.main(["--extras", "test"], clone)
    with open(clone / name, "a") as file:
        file.write("\n# changed\n")
    setup_env.main([], clone)
    assert [line.partition("-e ")[2] for line in diary(clone)] == [".[test]", ".[test]"]


def test_constraints_are_taken_up_when_asked_for_and_left_alone_when_not(clone):
    setup_env.main([], clone)
    setup_env.main(["--constraints", "constraints.txt"], clone)
    assert "-c" in diary(clone)[1]
    setup_env.main([], clone)
    assert len(diary(clone)) == 2
    (clone / "constraints.txt").write_text("emoji==2.13\n", "utf-8")
    setup_env.main(["--constraints", "constraints.txt"], clone)
    assert len(diary(clone)) == 3


def test_moved_clone_is_installed_anew(clone, tmp_path_factory):
    setup_env.main([], clone)
    moved = tmp_path_factory.mktemp("elsewhere") / "clone"
    shutil.copytree(clone, moved)
    setup_env.main([], moved)
    assert len(diary(moved)) == 2


def test_interrupted_install_is_finished(clone):
    """An install that pip did not finish leaves no stamp, even where an older install had left one."""
    setup_env.main([], clone)
    (clone / "pip_fails").write_text("killed\n", "utf-8")
    assert "did not finish" in setup_env.main(["--extras", "test"], clone)
    (clone / "pip_fails").unlink()
    assert setup_env.main([], clone) == 0
    assert len(diary(clone)) == 3
    assert setup_env.main([], clone) == 0
    assert len(diary(clone)) == 3


def test_half_written_packages_are_written_again(clone):
    site = clone / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("torn-1.0.dist-info/METADATA", "whole-1.0.dist-info/RECORD", "~eplaced/x.py", "whole/x.py"):
        script(site / name, "")
    setup_env.main([], clone)
    assert sorted(path.name for path in site.iterdir()) == ["whole", "whole-1.0.dist-info"]


def test_damaged_stamp_counts_as_none(clone):
    setup_env.main([], clone)
    (clone / ".venv" / setup_env.STAMP).write_text('{"finger', "utf-8")
    setup_env.main([], clone)
    assert len(diary(clone)) == 2


def test_users_pip_settings_cannot_send_packages_elsewhere(clone, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "a mirror")
    environment = setup_env.pip_environment(clone / ".venv")
    assert environment["PIP_USER"] == "0"
    assert environment["PIP_INDEX_URL"] == "a mirror"
    assert not {"PIP_TARGET", "PYTHONPATH"} & set(environment)


def test_broken_environment_is_made_anew(tmp_path, monkeypatch):
    """As after an upgrade of the system's Python, which leaves a link to nothing."""
    python = setup_env.venv_python(tmp_path / ".venv")
    python.parent.mkdir(parents=True)
    python.symlink_to(tmp_path / "gone")
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    assert setup_env.missing(tmp_path / ".venv", tmp_path, [], None) == "there is none yet"
    run = subprocess.run

    def without_pip(command, **options):  # which would take some seconds more
        return run([*command, "--without-pip"] if "venv" in command else command, **options)

    monkeypatch.setattr(subprocess, "run", without_pip)
    setup_env.make_venv(tmp_path / ".venv")
    assert run([str(python), "-c", "print(6 * 7)"], capture_output=True).stdout.strip() == b"42"


def test_sound_environment_is_kept(clone):
    before = setup_env.venv_python(clone / ".venv").read_text("utf-8")
    setup_env.make_venv(clone / ".venv")
    assert setup_env.venv_python(clone / ".venv").read_text("utf-8") == before


def test_another_python_is_taken_only_when_asked_for(clone, monkeypatch):
    script(clone / ".venv" / "bin" / "python", FAKE_PYTHON.format(version="3.99"))
    setup_env.main([], clone)
    assert setup_env.missing(clone / ".venv", clone, [], None) == ""
    monkeypatch.setenv("PYTHON", "python3")
    assert setup_env.missing(clone / ".venv", clone, [], None) == f"Python {VERSION} was asked for"


# --- one sentence when it cannot be ---------------------------------------------------------------


def test_full_disk_is_said_before_anything_is_done(clone, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DISK(1e11, 9.9e10, 9e8))
    says = setup_env.main([], clone)
    assert re.match(r"The disk is full: the course needs about \d+ GB of room in .*, and 0.9 GB are free\.", says)
    assert diary(clone) == []


def test_disk_that_fills_up_under_pip_is_said(clone, capsys):
    (clone / "pip_fails").write_text(
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", "utf-8"
    )
    assert setup_env.main([], clone).startswith("The disk is full")
    assert capsys.readouterr().err == ""


def test_disk_that_fills_up_anywhere_is_said(clone, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert setup_env.main([], clone).startswith("The disk is full")


def test_less_room_is_asked_for_where_torch_is_in_or_is_the_cpu_build(clone, monkeypatch):
    venv = clone / ".venv"
    monkeypatch.setattr(setup_env.platform, "system", lambda: "Linux")
    cuda = setup_env.gigabytes_needed(venv)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "a mirror/whl/cpu")
    cpu = setup_env.gigabytes_needed(venv)
    script(venv / "lib" / "python3.11" / "site-packages" / "torch" / "__init__.py", "")
    assert cuda > cpu > setup_env.gigabytes_needed(venv)


@pytest.mark.parametrize(
    ("complaint", "says"),
    [
        ("WARNING: Retrying after connection broken\nERROR: No matching distribution found for x", "could not reach"),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'SSLError(SSLCertVerificationError(1, '"
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate ...'))'\nERROR: No matching distribution found for x\n",
            "pip does not trust the package index's certificate. Where a company's proxy reads along, set PIP_CERT",
        ),
        (
            "ERROR: Could not find a suitable TLS CA certificate bundle, invalid path: x\n",
            "set PIP_CERT to the file",
        ),
        ("ERROR: No matching distribution found for torch>=2.4\n", "There is no torch>=2.4 for Python"),
        ("error: gcc is not there\n", "error: gcc is not there\nThe install did not finish; the lines above say why"),
    ],
)
def test_other_complaints_of_pip(clone, complaint, says):
    (clone / "pip_fails").write_text(complaint, "utf-8")
    assert says in setup_env.main([], clone)


def test_warnings_of_pip_are_shown(clone, capsys):
    (clone / "pip_fails").write_text("WARNING: this is slow\nERROR: [Errno 28] No space left on device\n", "utf-8")
    setup_env.main([], clone)
    assert capsys.readouterr().err == "WARNING: this is slow\n"


def test_missing_constraints_file_is_said(clone):
    assert "There is no constraints file" in setup_env.main(["--constraints", "nowhere.txt"], clone)


def test_missing_venv_is_said(clone, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)  # as Debian has it without python3-venv
    assert f"apt install python{VERSION}-venv" in setup_env.main([], clone)


def test_old_python_is_said(clone, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    assert setup_env.main([], clone).startswith("The course needs Python 3.10 or newer; this is")


def make(clone, *arguments, path=None):
    env = dict(os.environ, PATH=str(path) if path else os.environ["PATH"])
    return subprocess.run([shutil.which("make"), *arguments], cwd=clone, env=env, capture_output=True, text=True)


@pytest.fixture
def bin_folder(tmp_path_factory):
    """A folder to be the whole search path: sh, and what a test puts there."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "sh").symlink_to(shutil.which("sh"))
    return folder


OLD = '#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.8.18; else exit 1; fi\n'
LAUNCHER = "#!/bin/sh\necho nothing to launch >&2\nexit 127\n"


@pytest.mark.parametrize("target", ["lab", "test"])
def test_make_with_an_old_python_says_one_sentence(clone, bin_folder, target):
    (clone / ".venv" / "bin" / "python").unlink()
    script(bin_folder / "python3", OLD)
    script(bin_folder / "python3.12", LAUNCHER)
    run = make(clone, target, path=bin_folder)
    assert run.returncode != 0
    sentence, make_says = run.stderr.splitlines()
    assert sentence.startswith(
        "The course needs Python 3.10 or newer, and none was found (python3 is Python 3.8.18)."
    )
    assert make_says.startswith("make: ***")


def test_make_without_any_python_says_one_sentence(clone, bin_folder):
    (clone / ".venv" / "bin" / "python").unlink()
    run = make(clone, "lab", path=bin_folder)
    assert run.stderr.startswith("The course needs Python 3.10 or newer, and none was found. Install one")


def test_make_with_a_python_that_was_named_and_is_old_takes_no_other(clone, bin_folder):
    old = script(bin_folder / "a python", OLD)  # a space in its name must do no harm
    run = make(clone, "lab", f"PYTHON={old}")
    assert run.returncode != 0
    assert f"({old} is Python 3.8.18)" in run.stderr


def test_make_finds_a_newer_python_beside_an_old_one(clone, bin_folder):
    script(bin_folder / "python3", OLD)
    (clone / ".venv" / "bin" / "python").unlink()
    script(bin_folder / "python3.11", '#!/bin/sh\nif [ "$1" = -c ]; then exit 0; fi\necho it was "$@"\n')
    run = make(clone, "lab", path=bin_folder)
    assert run.stdout.startswith("it was tools/setup_env.py")


def test_make_on_a_full_disk_says_one_sentence(clone):
    """As a real process: no traceback, and make stops."""
    setup = clone / "tools" / "setup_env.py"
    text = setup.read_text("utf-8")
    setup.write_text(
        text.replace("import sys\n", "import sys\nshutil.disk_usage = lambda path: type('D', (), {'free': 0})\n", 1)
    )
    run = make(clone, "lab")
    assert run.returncode != 0
    assert "The disk is full" in run.stderr
    assert "Traceback" not in run.stderr


def test_scripts_that_meet_old_pythons_can_be_read_by_them():
    """Python 3.6's grammar: an old interpreter gets as far as the sentence."""
    import ast

    ast.parse((ROOT / "tools" / "setup_env.py").read_text("utf-8"), feature_version=(3, 6))


# --- what make runs -------------------------------------------------------------------------------


def test_make_lab_passes_flags_on(clone):
    setup_env.main([], clone)
    assert make(clone, "lab", "ARGS=--no-browser --port=8899").returncode == 0
    assert diary(clone)[-1].endswith("tools/lab.py --no-browser --port=8899")


def test_make_test_runs_all_on_all_cores_with_one_thread_each(clone):
    setup_env.main(["--extras", "test,browser", "--optional", "speech"], clone)
    assert make(clone, "test", "ARGS=-k digits").returncode == 0
    launched, ran = diary(clone)[-2:]
    assert " -m pytest tests/launch " in launched
    assert launched.endswith("-k digits")
    assert ran.startswith("threads=1 -m pytest tests notebooks xlib --nbmake")
    assert "-n logical" in ran
    assert "--dist=loadgroup" in ran
    assert ran.endswith("-k digits")


@pytest.mark.long
def test_tests_of_one_group_stay_in_one_process(tmp_path):
    """Where pytest and pytest-xdist do not fit together, groups are lost without a word, and lessons run twice."""
    mark = "import pytest\npytestmark = pytest.mark.xdist_group('g')\n"
    for name in ("test_a.py", "test_b.py"):
        tests = "".join(f"def test_{number}(): pass\n" for number in range(3))
        (tmp_path / name).write_text(mark + tests, "utf-8")
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist=loadgroup", "-v", "-p", "no:cacheprovider"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert len(set(re.findall(r"\[(gw\d)\] .*PASSED", said))) == 1, said


def test_make_test_fails_when_a_test_fails(clone):
    setup_env.main(["--extras", "test,browser", "--optional", "speech"], clone)
    script(clone / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    assert make(clone, "test").returncode != 0


@pytest.mark.parametrize(
    ("arguments", "environ", "token"),
    [
        (["--IdentityProvider.token=mine"], {}, "mine"),
        (["--ServerApp.token=mine"], {"JUPYTER_TOKEN": "other"}, "mine"),
        ([], {"JUPYTER_TOKEN": "mine"}, "mine"),
        (["--IdentityProvider.token="], {}, "[0-9a-f]{48}"),
        (["--NotebookApp.token=''"], {}, "[0-9a-f]{48}"),
        (["--IdentityProvider.token"], {"JUPYTER_TOKEN": ""}, "[0-9a-f]{48}"),
    ],
)
def test_there_is_always_a_token(arguments, environ, token):
    given = [flag for flag in lab.flags(arguments, environ) if "token" in flag]
    assert len(given) == 1
    assert re.fullmatch(f"--IdentityProvider.token={token}", given[0])


def test_root_is_allowed_only_where_it_is_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "--allow-root" not in lab.flags([], {})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--allow-root" in lab.flags([], {})


# --- the learner's copies ------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path):
    """Two lessons, and a folder for copies that is not there yet."""
    for name in ("00_start_here", "03_clip"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(f"{name}, first version", "utf-8")
    (tmp_path / "notebooks" / "pictures").mkdir()
    (tmp_path / "notebooks" / "pictures" / "03_clip.webp").write_bytes(b"a picture")
    return tmp_path / "notebooks", tmp_path / "work"


def lessons(folder) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in folder.glob("*.ipynb")}


def test_lessons_are_copied_once_and_what_a_learner_writes_stays(course):
    notebooks, work = course
    assert lab.copy_lessons(*course) == []
    assert lessons(work) == lessons(notebooks)
    assert (work / "pictures" / "03_clip.webp").read_bytes() == b"a picture"
    (work / "03_clip.ipynb").write_text("my answers", "utf-8")
    assert lab.copy_lessons(*course) == []  # the lesson is the one that was copied
    assert lessons(work)["03_clip.ipynb"] == "my answers"


def test_a_lesson_that_is_new_in_the_course_is_copied_and_one_that_changed_is_named(course):
    notebooks, work = course
    lab.copy_lessons(*course)
    (work / "03_clip.ipynb").write_text("my answers", "utf-8")
    (notebooks / "03_clip.ipynb").write_text("03_clip, second version", "utf-8")
    (notebooks / "04_mmd.ipynb").write_text("04_mmd", "utf-8")
    for _ in range(2):  # as often as it starts
        (line,) = lab.copy_lessons(*course)
        assert line.startswith(
            "03_clip.ipynb has changed in the course since your copy was made, which stays as it is."
        )
        assert "rename or delete work/03_clip.ipynb" in line
    assert lessons(work)["03_clip.ipynb"] == "my answers"
    assert lessons(work)["04_mmd.ipynb"] == "04_mmd"
    (work / "03_clip.ipynb").rename(work / "03_mine.ipynb")  # starting over
    assert lab.copy_lessons(*course) == []
    assert lessons(work)["03_clip.ipynb"] == "03_clip, second version"
    assert lessons(work)["03_mine.ipynb"] == "my answers"
    assert lab.copy_lessons(*course) == []


def test_git_does_not_see_the_copies(clone):
    """Nor does a pull meet them, or `make clean-notebooks`."""
    shutil.copy(ROOT / ".gitignore", clone)
    git = ["git", "-C", clone, "-c", "user.name=x", "-c", "user.email=x"]
    shutil.copytree(ROOT / "notebooks", clone / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "the course"], check=True)
    lab.copy_lessons(clone / "notebooks", clone / "work")
    (clone / "work" / "00_start_here.ipynb").write_text("my answers", "utf-8")
    assert subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout == ""


# --- a server for real ----------------------------------------------------------------------------

HOSTILE = """
c.IdentityProvider.token = ""
c.ServerApp.token = ""
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.root_dir = "/"
c.ServerApp.open_browser = True
"""


def ask(port, path, method="GET", token=""):
    """Status, headers and body that the server answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={"Authorization": f"token {token}"} if token else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`make lab` for a user whose own settings would open it to anybody; yields its port, token, process and home."""
    home = tmp_path_factory.mktemp("home")
    script(home / ".jupyter" / "jupyter_server_config.py", HOSTILE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = f"--no-browser --port={port} --ServerApp.port_retries=0 --IdentityProvider.token="
    there = not setup_env.missing(ROOT / ".venv", ROOT, [], None, ["speech"])
    command = ["make", "lab", f"ARGS={flags}"] if there else [sys.executable, "tools/lab.py", *flags.split()]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "XDG", "MAKE", "MFLAGS"))}
    env = dict(kept, HOME=str(home), JUPYTER_CONFIG_DIR=str(home / ".jupyter"))
    with open(home.parent / f"{home.name}.log", "w+b") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            address = rf"http://127\.0\.0\.1:{port}/lab/tree/{lab.START}\?token=(\w+)".encode()
            deadline = time.monotonic() + 120
            while not (found := re.search(address, Path(log.name).read_bytes())):
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.2)
            while not answers(port):  # the address is printed a moment before
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.2)
            yield port, found[1].decode(), process, home
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


one_worker = pytest.mark.xdist_group("lab server")  # so that one server serves all of these


@one_worker
def test_server_answers_with_the_token(server):
    port, token, *_ = server
    status, _, body = ask(port, f"/api/contents/{lab.START}", token=token)
    assert status == 200  # the clone is the root, whatever the user's settings say
    assert json.loads(body)["type"] == "notebook"


@one_worker
@pytest.mark.parametrize("wrong", ["", "0" * 48])
def test_server_refuses_without_the_token(server, wrong):
    port = server[0]
    assert ask(port, "/api/contents", token=wrong)[0] == 403
    status, headers, _ = ask(port, f"/lab/tree/{lab.START}", token=wrong)
    assert status == 302
    assert headers["Location"].startswith("/login")


@one_worker
def test_server_listens_on_this_machine_alone(server):
    process = psutil.Process(server[2].pid)
    everyone = [process, *process.children(recursive=True)]
    listening = [c.laddr.ip for p in everyone for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert set(listening) == {"127.0.0.1"}


@one_worker
def test_server_offers_the_courses_own_kernel_and_no_other(server):
    port, token, process, _ = server
    assert list(json.loads(ask(port, "/api/kernelspecs", token=token)[2])["kernelspecs"]) == ["python3"]
    status, _, body = ask(port, "/api/kernels", method="POST", token=token)
    assert status == 201
    kernel = json.loads(body)["id"]
    commands = [p.cmdline() for p in psutil.Process(process.pid).children(recursive=True)]
    started = [command[0] for command in commands if "ipykernel_launcher" in command]
    assert [Path(python).parent for python in started] == [Path(sys.executable).parent]
    assert ask(port, f"/api/kernels/{kernel}", method="DELETE", token=token)[0] == 204


@one_worker
def test_server_asks_nobody_for_news(server):
    port, token, *_ = server
    body = ask(port, "/lab/api/settings/@jupyterlab/apputils-extension:notification", token=token)[2]
    assert json.loads(body)["settings"]["fetchNews"] == "false"


@one_worker
def test_server_leaves_nothing_outside_the_clone(server):
    port, token, _, home = server
    kernel = json.loads(ask(port, "/api/kernels", method="POST", token=token)[2])["id"]
    ask(port, "/lab", token=token)
    ask(port, f"/api/kernels/{kernel}", method="DELETE", token=token)
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    assert files == [".jupyter/jupyter_server_config.py"]
