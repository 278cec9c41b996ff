"""The workflows run commands that there are, publish what `make site` writes, and tag a version once."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))


def commands(workflow):
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def workflow(request):
    return yaml.safe_load(request.param.read_text("utf-8"))


def test_there_are_five():
    assert [path.stem for path in FILES] == ["newest", "platforms", "site", "tag", "test"]


def test_every_command_can_be_run(workflow):
    for command in commands(workflow):
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= TARGETS
        for path in re.findall(r"\bbash (\S+)", command):
            assert (ROOT / path).exists()
        for name in re.findall(r"CONSTRAINTS=(\S+)", command):
            assert (ROOT / name).exists()
        for path in re.findall(r"\b(?:tests|tools|notebooks|xlib)\b[\w/.]*", command):
            assert (ROOT / path).exists()


def test_actions_are_pinned_in_one_way(workflow):
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)
    everywhere = "\n".join(path.read_text("utf-8") for path in FILES)
    for name in used:  # one version of each
        assert set(re.findall(re.escape(name.partition("@")[0]) + r"@\S+", everywhere)) == {name}


def test_a_workflow_may_do_what_it_needs_and_no_more(workflow):
    wanted = {"contents": "read"}
    if any("deploy-pages" in step.get("uses", "") for job in workflow["jobs"].values() for step in job["steps"]):
        wanted |= {"pages": "write", "id-token": "write"}
    if any("git push" in command for command in commands(workflow)):
        wanted = {"contents": "write"}
    assert workflow["permissions"] == wanted
    assert all("timeout-minutes" in job for job in workflow["jobs"].values() if len(job["steps"]) > 3)


def test_each_does_what_its_name_says():
    by_name = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FILES}
    assert commands(by_name["test"]) == ["bash .ci/run"]
    assert "make test" in commands(by_name["newest"])
    assert not any("CONSTRAINTS" in command for command in commands(by_name["newest"]))
    assert by_name["newest"][True]["schedule"]  # YAML reads the key "on" as true
    assert by_name["newest"]["jobs"]["test"]["env"]["REQUIRE_BROWSER"] == "1"
    pages = next(s for s in by_name["site"]["jobs"]["build"]["steps"] if "upload-pages" in s.get("uses", ""))
    assert f"/{pages['with']['path']}/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_macos_and_windows_do_what_the_readme_and_make_check_do():
    text = (ROOT / ".github" / "workflows" / "platforms.yml").read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["concurrency"]["cancel-in-progress"] is True
    jobs = workflow["jobs"]
    assert {name: job["runs-on"] for name, job in jobs.items()} == {
        "macos": "macos-latest",
        "windows": "windows-latest",
    }
    done = {name: [step["run"].strip() for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert done["macos"][0] == "make check"
    for name in done:  # lessons 00 and 03, on the CPU; `runtime.pick_device` knows the variable
        assert re.findall(r"notebooks/(\d\d)", done[name][-1]) == ["00", "03"]
        assert "--nbmake" in done[name][-1]
    assert workflow["env"] == {"XLIB_DEVICE": "cpu"}

    readme = (ROOT / "README.md").read_text("utf-8").split("Without make (Windows")[1].split("</details>")[0]
    lines = [
        line.split("  (")[0].strip() for block in readme.split("```")[1::2] for line in block.strip().splitlines()
    ]
    windows = [line for command in done["windows"] for line in command.splitlines()]
    for line in lines:
        if "pytest" not in line and not line.endswith("tools/lab.py"):  # which opens a browser, and stays
            assert line in windows, f"the README has another line than the workflow: {line}"

    check = (ROOT / "Makefile").read_text("utf-8").split("\ncheck:\n")[1].split("\n\n")[0]
    for command in ("ruff check .", "ruff format --check --quiet .", "lint-imports --no-logo"):
        assert command in check
        assert any(line.endswith(command) for line in windows)
    tests = next(line for line in windows if "-m pytest tests" in line)
    for part in ("pytest tests xlib --doctest-modules", '-m "not browser and not long"', "--dist=loadgroup -q"):
        assert part in check
        assert part in tests


@pytest.mark.skipif(os.name == "nt", reason="needs bash")
def test_a_version_is_tagged_once(tmp_path):
    script = commands(yaml.safe_load((ROOT / ".github" / "workflows" / "tag.yml").read_text("utf-8")))[-1]
    clone = tmp_path / "clone"

    def git(*command, at=clone):
        names = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = os.environ | names | {"GIT_CONFIG_GLOBAL": os.devnull}
        return subprocess.run(("git", *command), cwd=at, env=env, check=True, capture_output=True, text=True).stdout

    def push(version):
        """What the workflow does after a push of this version. Returns the tags at the host, and this commit."""
        (clone / "pyproject.toml").write_text(f'[project]\nname = "x"\nversion = "{version}"\n', "utf-8")
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", version)
        # A clone of the last commit alone and without its tags, as the checkout action makes it.
        checkout = tmp_path / f"checkout-{len(list(tmp_path.iterdir()))}"
        git("push", "-q", "origin", "HEAD:main")
        git("clone", "-q", "--depth=1", "--no-tags", "--branch=main", host.as_uri(), checkout, at=tmp_path)
        subprocess.run(["bash", "-e", "-c", script], cwd=checkout, check=True, capture_output=True)
        tags = dict(line.split()[::-1] for line in git("ls-remote", "--tags", "origin").splitlines())
        return {name.rpartition("/")[2]: commit for name, commit in tags.items()}, git("rev-parse", "HEAD").strip()

    host = tmp_path / "host"
    git("init", "-q", "--bare", host, at=tmp_path)
    git("clone", "-q", host.as_uri(), clone, at=tmp_path)
    tags, first = push("0.1.0")
    assert tags == {"v0.1.0": first}
    assert push("0.1.0")[0] == {"v0.1.0": first}
    tags, second = push("0.2.0")
    assert tags == {"v0.1.0": first, "v0.2.0": second}
