"""The workflows run commands that there are, and publish what `make site` writes."""

import re
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


def test_there_are_three():
    assert [path.stem for path in FILES] == ["newest", "site", "test"]


def test_every_command_can_be_run(workflow):
    for command in commands(workflow):
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= TARGETS
        for path in re.findall(r"\bbash (\S+)", command):
            assert (ROOT / path).exists()
        for name in re.findall(r"CONSTRAINTS=(\S+)", command):
            assert (ROOT / name).exists()


def test_a_workflow_may_do_what_it_needs_and_no_more(workflow):
    wanted = {"contents": "read"}
    if any("deploy-pages" in step.get("uses", "") for job in workflow["jobs"].values() for step in job["steps"]):
        wanted |= {"pages": "write", "id-token": "write"}
    assert workflow["permissions"] == wanted
    assert all("timeout-minutes" in job for job in workflow["jobs"].values() if "container" in job)


def test_each_does_what_its_name_says():
    by_name = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FILES}
    assert commands(by_name["test"]) == ["bash .ci/run"]
    assert "make test" in commands(by_name["newest"])
    assert not any("CONSTRAINTS" in command for command in commands(by_name["newest"]))
    assert by_name["newest"][True]["schedule"]  # YAML reads the key "on" as true
    assert by_name["newest"]["jobs"]["test"]["env"]["REQUIRE_BROWSER"] == "1"
    pages = next(s for s in by_name["site"]["jobs"]["build"]["steps"] if "upload-pages" in s.get("uses", ""))
    assert f"{pages['with']['path']}/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
