"""Open the course in JupyterLab: on this machine alone, behind a token, and without a trace outside the clone.

    python tools/lab.py [flags of jupyter lab, such as --no-browser --port=8899]

What opens are the learner's own copies of the lessons, in the clone's work folder: made once, never written over, and
not git's business, so that a newer course can be pulled whatever was typed into them.
Settings, workspaces and histories live in the clone's .jupyter folder. Settings of other Jupyter installs are not
read: one that turns the token off, or a kernel that is not the course's own, must not leak in.
"""

import hashlib
import json
import os
import pathlib
import secrets
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
START = "work/00_start_here.ipynb"
TOKEN_FLAGS = tuple(f"--{owner}.token" for owner in ("IdentityProvider", "ServerApp", "NotebookApp", "LabApp"))
NEWS = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"


def prepare(state: pathlib.Path, environ) -> None:
    """Point Jupyter and IPython at folders in `state`; `environ` is changed in place."""
    homes = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH"):
        environ.pop(name, None)
    environ.update({name: str(state / folder) for name, folder in homes.items()}, PYTHONNOUSERSITE="1")
    news = state / "settings" / NEWS
    if not news.exists():  # no news popup, no look for updates: the course works offline, and stays quiet
        news.parent.mkdir(parents=True, exist_ok=True)
        news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}), "utf-8")
        (state / ".gitignore").write_text("*\n", "utf-8")


def copy_lessons(notebooks: pathlib.Path, work: pathlib.Path) -> list[str]:
    """Copy the lessons that `work` lacks, and note of which version each is. Returns what the learner should know: of
    each lesson that has changed in the course since it was copied, a line."""
    work.mkdir(exist_ok=True)
    note = work / ".copied_from.json"  # {name: checksum of the lesson as it was when it was copied}
    known = json.loads(note.read_text("utf-8")) if note.exists() else {}
    changed = []
    for lesson in sorted(notebooks.glob("*.ipynb")):
        name, version = lesson.name, hashlib.sha256(lesson.read_bytes()).hexdigest()
        if not (work / name).exists():
            shutil.copyfile(lesson, work / name)
            known[name] = version
        elif known.get(name) != version:
            changed.append(
                f"{name} has changed in the course since your copy was made, which stays as it is. To start over, "
                f"rename or delete work/{name} and run this again: a fresh copy is made."
            )
    note.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    shutil.copytree(notebooks / "pictures", work / "pictures", dirs_exist_ok=True)  # the lessons' own, beside them
    return changed


def flags(arguments: list[str], environ) -> list[str]:
    """The command line for JupyterLab: the learner's flags, and ours. The token is theirs if they chose one."""
    chosen = [flag.partition("=")[2].strip("'\" ") for flag in arguments if flag.startswith(TOKEN_FLAGS)]
    token = next(filter(None, [*chosen, environ.get("JUPYTER_TOKEN")]), None) or secrets.token_hex(24)
    ours = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{START}",
        "--LabApp.extension_manager=readonly",  # extensions would come from the network
        "--LanguageServerManager.autodetect=False",  # it would call npm, which writes to the home folder
        "--KernelSpecManager.allowed_kernelspecs=python3",  # .venv's own
    ]
    if not any(flag.startswith(("--ip", "--ServerApp.ip")) for flag in arguments):
        ours.append("--ServerApp.ip=127.0.0.1")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        ours.append("--allow-root")
    theirs = [flag for flag in arguments if not flag.startswith(TOKEN_FLAGS)]
    return [*ours, *theirs, f"--IdentityProvider.token={token}"]


def main(arguments: list[str]) -> None:
    prepare(ROOT / ".jupyter", os.environ)
    for line in copy_lessons(ROOT / "notebooks", ROOT / "work"):
        print(line)
    from jupyterlab.labapp import LabApp  # after prepare: Jupyter reads its folders when it is imported

    server = LabApp.initialize_server(flags(arguments, os.environ))
    if not server.identity_provider.token:
        sys.exit("JupyterLab would have started without a token, so it was not started.")
    server.identity_provider.token_generated = True  # so that the address is printed with the token in it
    server.start()


if __name__ == "__main__":
    main(sys.argv[1:])
