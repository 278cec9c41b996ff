"""What a project needs to be picked up agrees with the rest: the version, the forms, the messages that it quotes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jupyterlab
import pytest
import torch
import yaml
from clean_notebooks import ROOT
from packaging.version import Version

from xlib.course import training

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
    files = [*ROOT.glob("xlib/**/*.py"), *ROOT.glob("tools/*.py"), ROOT / "notebooks" / "01_shared_space.ipynb"]
    said = " ".join(path.read_text("utf-8") for path in files)
    assert [message for message in quoted if message not in said] == ["is not defined", "Kernel Restarting"]


def test_the_two_messages_of_others_are_theirs():
    with pytest.raises(NameError, match="is not defined"):
        exec("a_cell_that_was_passed_over")
    pages = Path(jupyterlab.__file__).parent / "static"
    assert any("Kernel Restarting" in page.read_text("utf-8") for page in pages.glob("jlab_core.*.js"))


@pytest.mark.long
def test_what_training_that_diverges_says_can_be_found():
    """An infinite loss has other words than an infinite gradient: the page has both, and the error's name."""
    model = torch.nn.Linear(2, 1)
    bold = torch.optim.SGD(model.parameters(), lr=1e30)
    with pytest.raises(training.TrainingDiverged, match=r"\bis (inf|nan)\.") as error:
        training.fit(
            model, lambda step: model(torch.ones(4, 2)).square().mean(), bold, steps=9, generator=torch.Generator()
        )
    assert re.search(r"\bis (inf|nan)\b", str(error.value))[0] in HELP
    assert error.typename in HELP


def test_commands_that_are_named_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for text in ((ROOT / "CONTRIBUTING.md").read_text("utf-8"), HELP):
        assert set(re.findall(r"make ([a-z-]+)", text)) <= targets | {"sure"}


@pytest.mark.skipif(os.name == "nt", reason="sh is not there, nor a hub")
def test_what_a_hub_starts_copies_the_lessons_into_the_home_and_hands_on_what_it_was_given(tmp_path):
    """The script of docs/teaching/room.md, with this clone for the one in /srv, and a server that only tells."""
    page = (ROOT / "docs" / "teaching" / "room.md").read_text("utf-8")
    (script,) = re.findall(r"^```sh\n(.+?)^```", page, re.M | re.S)
    told = tmp_path / "server"
    told.write_text('#!/bin/sh\nprintf "%s|" "$PWD" "$@"\n', "utf-8")
    told.chmod(0o755)
    script = script.replace("/srv/xlib/.venv/bin/jupyterhub-singleuser", str(told))
    script = script.replace("/srv/xlib/.venv/bin/python", sys.executable).replace("/srv/xlib", str(ROOT))
    home = tmp_path / "home"
    home.mkdir()
    for _ in range(2):
        command = ["sh", "-c", script, "hub-start", "--port=1", "a b"]
        run = subprocess.run(
            command, env={**os.environ, "HOME": str(home)}, check=True, capture_output=True, text=True
        )
        assert run.stdout == f"{home}|--port=1|a b|"
        lesson = home / "work" / "00_start_here.ipynb"
        lesson.write_text(lesson.read_text("utf-8") + " ", "utf-8")  # the learner's, and so not written over
    assert lesson.read_text("utf-8").endswith("  ")
