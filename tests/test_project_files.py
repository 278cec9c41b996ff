"""What a project needs to be picked up agrees with the rest: the version, the forms, the messages that it quotes."""

import re

import pytest
import yaml
from clean_notebooks import ROOT
from packaging.version import Version

try:
    import tomllib
except ImportError:  # before Python 3.11
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HELP = (ROOT / "docs" / "when_something_goes_wrong.md").read_text("utf-8")


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]["text"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_the_newest_change_is_of_this_version():
    versions = re.findall(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert versions[0] == PROJECT["version"]
    assert [*map(Version, versions)] == sorted(map(Version, versions), reverse=True)


@pytest.mark.parametrize("name", ["wrong", "idea"])
def test_an_issue_form_asks_for_something(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text("utf-8"))
    assert form["name"]
    assert form["description"]
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    assert {part["type"] for part in form["body"]} <= {"input", "textarea"}
    assert any(part.get("validations", {}).get("required") for part in form["body"])
    assert all(part["attributes"]["label"] for part in form["body"])


def test_every_message_that_is_quoted_is_one_that_the_code_says():
    quoted = re.findall(r'^\*\*"(.+?)"\*\*', HELP, re.M)
    assert len(quoted) == 10
    files = [*ROOT.glob("xlib/**/*.py"), *ROOT.glob("tools/*.py"), ROOT / "tests" / "browser" / "harness.py"]
    said = " ".join(path.read_text("utf-8") for path in [*files, ROOT / "notebooks" / "01_shared_space.ipynb"])
    assert [message for message in quoted if message not in said] == []


def test_commands_that_are_named_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for text in ((ROOT / "CONTRIBUTING.md").read_text("utf-8"), HELP):
        assert set(re.findall(r"make ([a-z-]+)", text)) <= targets | {"sure"}
