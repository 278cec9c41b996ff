"""What must agree across files: addresses, times, versions, imports. And what must stand in none of them."""

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions

import nbformat
import pytest
import sync_links
import yaml
from clean_notebooks import ROOT, repository_notebooks
from freeze_constraints import LEFT_OUT, binder_files, lines
from measure_lessons import BUDGET, BUDGETS, MEMORY_BUDGET, measure
from nbclient.exceptions import CellExecutionError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOTEBOOKS = repository_notebooks()
LESSONS = [path for path in NOTEBOOKS if path.stem in sync_links.LESSONS]


def repository_files():
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
        return [path for name in names if name and (path := ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        folders = [ROOT / name for name in ("notebooks", "xlib", "tests", "tools", "binder", ".ci")]
        return [*ROOT.glob("*.*"), *(path for folder in folders for path in folder.rglob("*") if path.is_file())]


def requirements(*extras) -> list[Requirement]:
    found = [Requirement(text) for text in distribution("xlib-course").requires]
    return [r for r in found if not r.marker or any(r.marker.evaluate({"extra": extra}) for extra in extras)]


def source(path) -> str:
    return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"])


# --- one address, in pyproject.toml ---------------------------------------------------------------


def test_every_link_and_time_is_in_step():
    assert [path.name for path in sync_links.out_of_step()] == []


def test_installed_metadata_has_the_address():
    assert f"Repository, {sync_links.repository()}" in distribution("xlib-course").metadata.get_all("Project-URL")


def set_up_lines(path) -> str:
    """What a lesson does where xlib is missing."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = next("".join(cell["source"]) for cell in cells if cell["id"] == "set-up")
    return "\n".join(re.findall(r"^if .*\n(?:    .*\n)+", text, re.M)[:1])


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_lesson_can_be_launched_and_installed_elsewhere(path):
    for link in sync_links.launch_links(path.stem).values():
        assert link in source(path)
    assert f"git+{sync_links.repository()}@{sync_links.tag()}" in set_up_lines(path), (
        "the set-up cell does not install xlib from the repository's tag"
    )
    assert set_up_lines(path) == set_up_lines(LESSONS[0])


@pytest.fixture
def small_course(tmp_path):
    """A copy of what carries addresses, with one lesson of our own, measured."""
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    cells = [
        {
            "cell_type": "markdown",
            "id": "title",
            "metadata": {},
            "source": ["# CLIP\n", "\n", "After it you can ..."],
        },
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "set-up",
            "metadata": {},
            "outputs": [],
            "source": [
                f'%pip install -q "xlib-course @ git+{sync_links.repository()}"\n',
                'device = start(seed=0, minutes="a guess")',
            ],
        },
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "03_clip.ipynb").write_text(json.dumps(notebook), "utf-8")
    (tmp_path / "tools").mkdir()
    times = {"machine": "a calm machine", "lessons": {"03_clip": {"seconds": 61.4, "peak_gb": 0.91}}}
    (tmp_path / "tools" / "lesson_times.json").write_text(json.dumps(times), "utf-8")
    sync_links.write(tmp_path)
    return tmp_path


def test_table_and_title_hold_links_and_times(small_course):
    readme = (small_course / "README.md").read_text("utf-8")
    row = next(line for line in readme.splitlines() if "03_clip.ipynb)" in line)
    assert "| 61 s | 0.9 GB |" in row
    tag = sync_links.tag(small_course)
    assert f"mybinder.org/v2/gh/not_published_yet/xlib/{tag}?urlpath=lab/tree/notebooks/03_clip.ipynb" in row
    assert f"/github/not_published_yet/xlib/blob/{tag}/notebooks/03_clip.ipynb" in row
    assert readme.count("in the making") == len(sync_links.LESSONS) - 1
    assert "a calm machine" in readme
    title = source(small_course / "notebooks" / "03_clip.ipynb")
    assert "**Time on a laptop CPU:** 61 s to run every cell once; memory: 0.9 GB" in title
    assert "After it you can ..." in title
    assert 'start(seed=0, minutes="61 s")' in title


def test_writing_twice_changes_nothing(small_course):
    assert sync_links.write(small_course) == []


def change(course, old, new):
    pyproject = course / "pyproject.toml"
    pyproject.write_text(pyproject.read_text("utf-8").replace(old, new), "utf-8")


@pytest.fixture
def whole_course(tmp_path):
    """A copy of everything that carries addresses."""
    names = ["README.md", "pyproject.toml", "tools/lesson_times.json", "docs/glossary.md"]
    for path in (*(ROOT / name for name in names), *NOTEBOOKS):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


def test_a_fork_and_a_release_change_one_line_each(whole_course):
    old = sync_links.tag()
    change(whole_course, "/not_published_yet/xlib", "/somebody/my.course")
    change(whole_course, f'version = "{old[1:]}"', 'version = "7.1.0rc1"')
    files = [whole_course / "README.md", *(whole_course / path.relative_to(ROOT) for path in NOTEBOOKS)]
    assert set(sync_links.out_of_step(whole_course)) == set(files)
    sync_links.write(whole_course)
    for path in files:
        text = path.read_text("utf-8")
        assert "not_published_yet/xlib" not in text
        assert old not in text
        assert "mybinder.org/v2/gh/somebody/my.course/v7.1.0rc1?urlpath" in text
        assert "colab.research.google.com/github/somebody/my.course/blob/v7.1.0rc1/notebooks/" in text
        if path.suffix == ".ipynb":
            assert "git+https://github.com/somebody/my.course@v7.1.0rc1" in text
    assert "git clone https://github.com/somebody/my.course\n" in files[0].read_text("utf-8")


def test_and_back_again(whole_course):
    before = {path: path.read_text("utf-8") for path in whole_course.rglob("*.*") if path.is_file()}
    addresses = "/not_published_yet/xlib", "/somebody/my.course"
    for old, new in (addresses, addresses[::-1]):
        change(whole_course, old, new)
        sync_links.write(whole_course)
    assert {path: path.read_text("utf-8") for path in before} == before


@pytest.mark.parametrize(("seconds", "says"), [(4.2, "4 s"), (119.4, "119 s"), (120, "2.0 min"), (174, "2.9 min")])
def test_durations(seconds, says):
    assert sync_links.duration(seconds) == says


# --- measured numbers within the budgets ----------------------------------------------------------


def test_recorded_times_keep_the_budgets():
    for name, measured in sync_links.read_times()["lessons"].items():
        assert measured["seconds"] <= BUDGETS.get(name, BUDGET), name
        assert measured["peak_gb"] <= MEMORY_BUDGET, name


def notebook_of(path, *code):
    cells = [nbformat.v4.new_code_cell(cell) for cell in code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.long
def test_measuring_sees_time_and_peak_memory(tmp_path):
    nap, hungry = "import time\ntime.sleep(0.5)", "x = bytearray(b'1') * 400_000_000\ntime.sleep(0.5)\ndel x"
    calm = measure(notebook_of(tmp_path / "calm.ipynb", nap))
    result = measure(notebook_of(tmp_path / "hungry.ipynb", nap, hungry))
    assert result["seconds"] >= 0.5
    assert 0.35 < result["peak_gb"] - calm["peak_gb"] < 0.45


@pytest.mark.long
def test_measuring_tells_a_lesson_from_the_processes_that_it_starts(tmp_path):
    child = "x = bytearray(b'1') * 400_000_000; import time; time.sleep(1)"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    result = measure(notebook_of(tmp_path / "parent.ipynb", code))
    assert result["peak_gb"] < 0.3
    assert 0.38 < result["others_gb"] < 0.5
    assert sync_links.memory(result).endswith(" GB, and 0.4 GB in other processes")
    assert "others_gb" not in measure(notebook_of(tmp_path / "alone.ipynb", "import time\ntime.sleep(0.5)"))


def test_a_lesson_that_fails_is_not_measured(tmp_path):
    with pytest.raises(CellExecutionError, match="1 / 0"):
        measure(notebook_of(tmp_path / "broken.ipynb", "1 / 0"))


# --- versions -------------------------------------------------------------------------------------


def pins() -> dict[str, str]:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    return dict(line.split("==") for line in text.splitlines() if line and not line.startswith("#"))


def test_requirements_are_lower_bounds_and_single_versions_that_do_not_work():
    for requirement in requirements("test", "browser"):
        operators = {spec.operator for spec in requirement.specifier}
        assert {">="} <= operators <= {">=", "!="}, requirement


def test_constraints_pin_each_requirement_within_its_bounds():
    for requirement in requirements("test", "browser"):
        version = pins()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_constraints_hold_nothing_that_only_fits_one_build():
    assert not [name for name in pins() if LEFT_OUT.match(name)]
    assert not [version for version in pins().values() if "+" in version]


def test_freezing_leaves_out_what_only_one_machine_has():
    class Installed:
        def __init__(self, name, version):
            self.name, self.version = name, version

    found = [
        ("torch", "2.14.1+cpu"),
        ("nvidia-cublas", "13"),
        ("triton", "3"),
        ("Xlib_Course", "0.1.0"),
        ("Emoji", "2.1"),
    ]
    assert lines([Installed(*each) for each in found]) == ["emoji==2.1", "torch==2.14.1"]


def imported(text: str) -> set[str]:
    """Top-level names of all modules that a source imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


distributions_by_module = functools.cache(packages_distributions)  # it takes a second


def undeclared(modules: set[str], *extras) -> set[str]:
    declared = {canonicalize_name(requirement.name) for requirement in requirements(*extras)}
    providers = distributions_by_module()
    outside = modules - set(sys.stdlib_module_names) - {"xlib"}
    providers.setdefault("hibari", ["hibari-tts"])  # which no test installs
    return {m for m in outside if not declared & {canonicalize_name(name) for name in providers.get(m, [m])}}


@pytest.mark.parametrize("path", sorted((ROOT / "xlib").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_xlib_imports_is_required(path):
    # the modules that an extra belongs to
    extras = {"many.py": ["many"], "captions.py": ["full"], "speech.py": ["speech", "neural"]}.get(path.name, [])
    assert undeclared(imported(path.read_text("utf-8")), *extras) == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
def test_what_a_notebook_imports_is_required(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    plain = [re.sub(r"^(\s*)[%!].*$", r"\1pass", cell, flags=re.M) for cell in code]
    assert undeclared(set().union(*map(imported, plain))) == set()


def test_an_undeclared_import_is_noticed():
    assert undeclared(imported("import torch\ndef f():\n    import execnet.gateway")) == {"execnet"}


# --- Binder and CI --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binder/postBuild", "binder/start", ".ci/run"])
@pytest.mark.skipif(os.name == "nt", reason="needs bash")
def test_scripts_can_be_run(name):
    assert os.access(ROOT / name, os.X_OK)
    assert subprocess.run(["bash", "-n", str(ROOT / name)]).returncode == 0


def test_binder_builds_for_the_python_that_the_constraints_are_for():
    header = (ROOT / "constraints.txt").read_text("utf-8")
    python = re.search(r"Python (\d+\.\d+)", header)[1]
    assert f"python={python}" in binder_environment()


def binder_environment() -> list:
    return yaml.safe_load((ROOT / "binder" / "environment.yml").read_text("utf-8"))["dependencies"]


def test_binder_installs_what_is_required_in_the_tested_versions():
    texts = [(ROOT / name).read_text("utf-8") for name in ("requirements.txt", "constraints.txt")]
    for name, text in binder_files(*texts).items():
        assert (ROOT / "binder" / name).read_text("utf-8") == text, "run `make constraints`"
    assert {"pip": ["-r requirements.txt"]} in binder_environment()
    found = (ROOT / "binder" / "requirements.txt").read_text("utf-8").splitlines()
    assert found[1] == "-c constraints.txt"
    names = {Requirement(line).name for line in found[2:]}
    assert names | {"torch", "torchvision"} == {requirement.name for requirement in requirements()}


def test_binder_leaves_torch_to_conda():
    requirements, constraints = (
        "torch>=2.5\ntorchvision>=0.20\ntorchmetrics>=1\n",
        "torch==2.14.1\ntorchmetrics==1.9.0\n",
    )
    made = binder_files(requirements, constraints)
    assert made["requirements.txt"].splitlines()[1:] == ["-c constraints.txt", "torchmetrics>=1"]
    assert made["constraints.txt"].splitlines()[1:] == ["torchmetrics==1.9.0"]


def test_binder_asks_for_the_torch_that_the_requirements_ask_for():
    required = (ROOT / "requirements.txt").read_text("utf-8")
    conda = (ROOT / "binder" / "environment.yml").read_text("utf-8").replace("pytorch-cpu", "torch")
    for name in ("torch", "torchvision"):
        assert re.search(rf"\b{name}>=\S+", conda)[0] == re.search(rf"\b{name}>=\S+", required)[0]


# --- what must not be there -----------------------------------------------------------------------

# Hosts of package registries, which mirrors replace, and folders of one machine; spelled so that this file passes.
FORBIDDEN = [
    r"pypi\.org|pythonhosted\.org|download\.py"
    + r"torch\.org|npmjs\.(?:org|com)|anaconda\.org|deb\.debian"
    + r"\.org",
    r"(?<![\w.$}>-])/(?:work|root|tmp)/",
    r"/(?:home|Users)/\w+/",
]


def forbidden(text: str) -> list[str]:
    return [found[0] for pattern in FORBIDDEN for found in re.finditer(pattern, text)]


def test_no_registry_hosts_and_no_paths_of_one_machine():
    found = {}
    for path in repository_files():
        if path == ROOT / "tests" / "test_repository.py":
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        if hits := forbidden(text):
            found[path.relative_to(ROOT).as_posix()] = hits
    assert found == {}


@pytest.mark.parametrize(
    "text", ["pip install --index-url https://py" + "pi.org/simple", 'open("/ro' + 'ot/x")', "cd /ho" + "me/me/x"]
)
def test_what_is_forbidden_is_found(text):
    assert len(forbidden(text)) == 1


# --- the README -----------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text("utf-8")
LOCAL_LINKS = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]


def test_readme_pictures_have_alt_text():
    pictures = re.findall(r"!\[([^\]]*)\]", README)
    assert pictures
    assert all(len(alt) > 3 for alt in pictures)


@pytest.mark.parametrize("target", LOCAL_LINKS)
def test_readme_links_lead_somewhere(target):
    if not (ROOT / "docs").exists() and target.startswith("docs/"):
        pytest.skip("docs/ is still to be made from the running course")
    assert (ROOT / target).exists()
