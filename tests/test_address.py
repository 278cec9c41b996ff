"""The course's address: nobody's until it is published, then the publisher's. Nothing is installed from nobody's."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import sync_links
import yaml
from clean_notebooks import ROOT, repository_notebooks
from IPython.core.inputtransformer2 import TransformerManager

LESSON = ROOT / "notebooks" / "03_clip.ipynb"
OURS = "https://github.com/somebody/my.course"


@pytest.fixture
def course(tmp_path):
    """A git repository with what carries addresses, and the tools that write them."""
    folder = tmp_path / "course"
    names = ["README.md", "pyproject.toml", "docs/glossary.md", "tools/lesson_times.json", "tools/sync_links.py"]
    for path in (*(ROOT / name for name in [*names, "tools/clean_notebooks.py"]), *repository_notebooks()):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    sync_links.publish(sync_links.NOBODY, folder)
    sync_links.write(folder)
    git(folder, "init", "-q", "-b", "main")
    return folder


def git(folder, *command):
    names = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = os.environ | names | {"GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(("git", "-C", folder, *command), env=env, check=True, capture_output=True, text=True).stdout


def links(course, *arguments):
    """`make links`, with a Python that has nothing installed."""
    command = [sys.executable, "-S", course / "tools" / "sync_links.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def addresses(course):
    """Every "owner/name" of GitHub that something is cloned, launched or installed from."""
    texts = [path.read_text("utf-8") for path in (course / "README.md", *course.glob("notebooks/*.ipynb"))]
    place = r"(?:clone https://github\.com|git\+https://github\.com|/v2/gh|/github)/([\w-]+/[\w.-]+)"
    return set(re.findall(place, "\n".join(texts)))


def test_nobody_can_register_the_address_of_a_course_that_is_not_published():
    owner = sync_links.NOBODY.split("/")[3]
    assert owner.count("_") >= 2  # letters, digits and hyphens; and one underscore in accounts that a company manages
    assert sync_links.github(sync_links.NOBODY) is None  # so it is never taken for a place to publish at


def test_one_address_stands_in_all_files(course):
    assert addresses(course) == {"not_published_yet/xlib"}
    assert addresses(ROOT) == {"/".join(sync_links.repository().split("/")[3:])}


def test_nothing_is_installed_by_a_name_that_the_package_index_does_not_know():
    command = ["git", "-C", ROOT, "grep", "-nE", r"pip install .*xlib-course[^@]*$", "--", ":!tests"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""


def set_up(path):
    """What the set-up cell of a lesson does where xlib is missing: the lines that pip is called with."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = next("".join(cell["source"]) for cell in cells if cell["id"] == "set-up").split("\n\nimport torch\n")[0]
    called = []

    class Shell:
        def run_line_magic(self, name, line, *_):
            called.append(f"{name} {line}")

    code = TransformerManager().transform_cell(text).replace('find_spec("xlib")', 'find_spec("no_such_module")')
    names = {"get_ipython": Shell}
    try:
        exec(code, names)
    except ModuleNotFoundError as error:
        called.append(str(error))
    return called, names


def test_the_set_up_cell_installs_nothing_from_nobody_and_says_what_to_do(course):
    for path in course.glob("notebooks/0*.ipynb"):
        called, _ = set_up(path)
        assert len(called) == 1
        assert called[0].startswith("xlib is missing, and this copy is not published: pip install -e .")


def test_the_set_up_cell_of_a_published_course_installs_from_its_address(course):
    links(course, OURS)
    (line,), names = set_up(course / "notebooks" / "03_clip.ipynb")
    assert line == 'pip install -q "xlib-course @ {course}" {" ".join(kept)}'
    assert names["course"] == f"git+{OURS}@{sync_links.tag()}"
    assert re.fullmatch(r"torch==\S+ torchvision==\S+ numpy==\S+", " ".join(names["kept"]))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://github.com/somebody/my.course", OURS),
        ("https://github.com/somebody/my.course.git\n", OURS),
        ("https://github.com/somebody/my.course/", OURS),
        ("https://x-access-token:secret@github.com/somebody/my.course", OURS),  # as a checkout in CI may have it
        ("git@github.com:somebody/my.course.git", OURS),
        ("ssh://git@github.com/somebody/my.course.git", OURS),
        ("https://gitlab.com/somebody/my.course", None),  # launch links are of GitHub alone
        ("https://github.com.evil.example/somebody/my.course", None),
        ("https://evil.example/github.com/somebody/course", None),
        ("https://github.com/not_published_yet/xlib", None),
        ("https://github.com/somebody", None),
        ("file:///srv/github.com/somebody/course", None),
        ("", None),
    ],
)
def test_an_address_is_read_however_git_spells_it(given, taken):
    assert sync_links.github(given) == taken


def test_the_remote_takes_the_place_of_nobody(course):
    assert "not published" in links(course).stdout
    assert addresses(course) == {"not_published_yet/xlib"}
    assert "**Not published yet.**" in (course / "README.md").read_text("utf-8")
    git(course, "remote", "add", "origin", "git@github.com:somebody/my.course.git")
    assert f"address: {OURS}\n" in links(course).stdout
    assert addresses(course) == {"somebody/my.course"}
    assert sync_links.repository(course) == OURS
    for path in (course / "README.md", course / "notebooks" / "03_clip.ipynb"):
        assert "ot published yet" not in path.read_text("utf-8")
        assert "once the course is published" not in path.read_text("utf-8")


def test_a_contributors_fork_keeps_the_address_and_one_of_its_own_names_it(course):
    links(course, OURS)
    git(course, "remote", "add", "origin", "https://github.com/fork/my.course")
    links(course)
    assert addresses(course) == {"somebody/my.course"}
    links(course, "https://github.com/fork/my.course")
    assert addresses(course) == {"fork/my.course"}


def test_another_host_is_refused_before_anything_is_written(course):
    before = {path: path.read_bytes() for path in course.rglob("*.*") if ".git" not in path.parts and path.is_file()}
    done = links(course, "https://gitlab.com/somebody/course")
    assert done.returncode == 2
    assert done.stdout.startswith("address must be that of a repository on GitHub, ")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.skipif(os.name == "nt", reason="needs bash")
def test_the_first_push_writes_the_address_and_then_makes_the_tag(course, tmp_path):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tag.yml").read_text("utf-8"))
    scripts = [step["run"] for step in workflow["jobs"]["tag"]["steps"] if "run" in step]
    host = tmp_path / "host"
    git(tmp_path, "init", "-q", "--bare", host)
    git(course, "config", f"url.{host.as_uri()}.insteadOf", OURS)  # what git calls by this address is here
    git(course, "remote", "add", "origin", OURS)
    git(course, "add", "-A")
    git(course, "commit", "-q", "-m", "first")
    git(course, "push", "-q", "origin", "main")
    commits = []
    for _ in range(2):
        for script in scripts:
            subprocess.run(["bash", "-e", "-c", script], cwd=course, check=True, capture_output=True)
        commits.append(git(host, "rev-parse", "main", sync_links.tag()).split())
    assert commits[0] == commits[1]
    assert commits[0][0] == commits[0][1]  # the tag has the address
    assert git(host, "log", "--format=%s", "main").splitlines()[1:] == ["first"]
    assert f'Repository = "{OURS}"' in git(host, "show", "main:pyproject.toml")
