"""Write the repository's address, the launch links, the measured times and the glossary wherever they stand.

    python tools/sync_links.py [address]        such as https://github.com/somebody/course, written everywhere
    python tools/sync_links.py --check          changes nothing, and fails where something is out of step

The address stands in [project.urls] of pyproject.toml and comes from there, and so does the version: launch links and
install lines lead to its tag, so that a notebook and the package that it installs are of one release. The times come
from lesson_times.json, which only measure_lessons.py writes; the glossary comes from docs/glossary.md.

Until the course is published its address is one that nobody can register: no account on GitHub has two underscores in
its name. Whoever owned the address could run code on learners' machines, for lessons install xlib from it. Without an
argument the git remote "origin" takes the place of that address, and of no other: a fork that is to stand by itself
names its address once.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from clean_notebooks import repository_notebooks, serialise

ROOT = Path(__file__).resolve().parent.parent
LESSONS = {
    "00_start_here": "**Start here**: a trained space of emoji and their names to play with; a check of the machine",
    "01_shared_space": "**One shared space**: similarity, alignment, uniformity, modality gap; CCA and Procrustes",
    "02_infonce": "**InfoNCE**: temperature, negatives, both directions, numerics; what goes wrong without negatives",
    "03_clip": "**CLIP**: two encoders trained in front of you; retrieval, zero-shot, ensembles of prompts",
    "04_mmd": "**MMD**: two-sample tests with kernels; estimators, bandwidths; MMD as an adaptation loss",
    "05_dann": "**DANN**: gradient reversal, why the minus sign matters; adaptation that works, and that fails",
    "06_combined": "**All together**: across modalities and domains at once, measured over several seeds",
    "07_scaling": "**Scaling up**: from CPU to GPU to several processes; tiled losses, cached gradients",
    "08_sound": "**Sound**: a third modality that never met the first; few pairs or none, and voices never heard",
    "09_your_own": "**Your own pairs**: from a folder of pictures and captions to one page that you can send",
}
# Where an install line, a clone command or a launch link leads to, whatever it led to before.
INSTALL = re.compile(r"git\+https://[^\"\s]+")
CLONE = re.compile(r"git clone https://[^`\s]+")
BINDER = re.compile(r"mybinder\.org/v2/gh/[^/\s]+/[^/\s]+/[^?)\s]+")
COLAB = re.compile(r"colab\.research\.google\.com/github/[^/\s]+/[^/\s]+/blob/[^/\s]+")
NOBODY = "https://github.com/not_published_yet/xlib"
GITHUB = re.compile(r"(?:https://(?:[^@/\s]+@)?|ssh://git@|git@)github\.com[:/]([A-Za-z0-9-]+/[\w.-]+?)(?:\.git)?/?")
PUBLISH = """
**Not published yet.** This copy of the course has no address of its own: the clone command and the badges below name
one that nobody can own, and a lesson installs nothing from it. The first push to GitHub writes the right one, by a
workflow; `make links` does so from the git remote, `make links ARGS=https://github.com/somebody/course` by hand.

"""
ADDRESS = re.compile(r"(?<=<!-- address -->\n).*?(?=<!-- /address -->)", re.S)
TABLE = re.compile(r"(?<=<!-- lessons -->\n).*?(?=<!-- /lessons -->)", re.S)
EXPECTED = re.compile(r'(\bstart\([^)]*?minutes=")[^"\n]*')  # the time that a set-up cell prints
MAP_ROW = re.compile(r"^\| (?:\[)?(\d\d)(?:\]\([^)]*\))? \|", re.M)  # of lesson 00, with a link or without
TIME, LAUNCH = "**Time on a laptop CPU:**", "**Launch:**"


def repository(root: Path = ROOT) -> str:
    found = re.search(r'^Repository = "(https://[^"]+)"', (root / "pyproject.toml").read_text("utf-8"), re.M)
    return found[1]


def published(root: Path = ROOT) -> bool:
    return repository(root) != NOBODY


def github(address: str) -> str | None:
    """The https address of a repository on GitHub, whichever way git spells it, without a name or token in it."""
    found = GITHUB.fullmatch(address.strip())
    return f"https://github.com/{found[1]}" if found else None


def remote(root: Path = ROOT) -> str | None:
    """The address of the git remote "origin", where that is on GitHub."""
    try:  # not `remote get-url`, which shows what git makes of it on this machine
        command = ["git", "-C", str(root), "config", "--get", "remote.origin.url"]
        return github(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        return None


def publish(address: str, root: Path = ROOT) -> None:
    """Write another address into pyproject.toml."""
    path = root / "pyproject.toml"
    path.write_text(path.read_text("utf-8").replace(f'"{repository(root)}"', f'"{address}"'), "utf-8")


def tag(root: Path = ROOT) -> str:
    """The git tag of the version in pyproject.toml."""
    return "v" + re.search(r'^version = "([^"]+)"', (root / "pyproject.toml").read_text("utf-8"), re.M)[1]


def launch_links(name: str, root: Path = ROOT) -> dict[str, str]:
    """The addresses that open a lesson of this version, by the place's name."""
    slug = "/".join(repository(root).split("/")[3:5])
    return {
        "Binder": f"https://mybinder.org/v2/gh/{slug}/{tag(root)}?urlpath=lab/tree/notebooks/{name}.ipynb",
        "Colab": f"https://colab.research.google.com/github/{slug}/blob/{tag(root)}/notebooks/{name}.ipynb",
    }


def read_times(root: Path = ROOT) -> dict:
    """{"machine": a phrase, "lessons": {name: {"seconds": float, "peak_gb": float}}}, empty before the first run.
    "others_gb" is there for a lesson that starts processes of its own."""
    path = root / "tools" / "lesson_times.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {"machine": "", "lessons": {}}


def duration(seconds: float) -> str:
    """Whole seconds below two minutes, else minutes to a tenth."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def memory(measured: dict) -> str:
    """The kernel's, and that of the processes that it starts."""
    others = measured.get("others_gb")
    return f"{measured['peak_gb']:.1f} GB" + (f", and {others:.1f} GB in other processes" if others else "")


def with_address(text: str, root: Path) -> str:
    """Point every clone command, install line and launch link in a text at the repository and its tag."""
    address, slug = repository(root), "/".join(repository(root).split("/")[3:5])
    text = INSTALL.sub(f"git+{address}@{tag(root)}", CLONE.sub(f"git clone {address}", text))
    text = BINDER.sub(f"mybinder.org/v2/gh/{slug}/{tag(root)}", text)
    return COLAB.sub(f"colab.research.google.com/github/{slug}/blob/{tag(root)}", text)


def lesson_table(root: Path) -> str:
    times = read_times(root)
    rows = ["| | lesson | runs in | peak memory | open it |", "|---|---|---|---|---|"]
    for name, about in LESSONS.items():
        number = name[:2]
        if not (root / "notebooks" / f"{name}.ipynb").exists():
            rows.append(f"| {number} | {about} | in the making | | |")
            continue
        measured = times["lessons"].get(name)
        run = (duration(measured["seconds"]), memory(measured)) if measured else ("not measured yet", "")
        links = launch_links(name, root)
        badges = (
            f"[![Binder](https://mybinder.org/badge_logo.svg)]({links['Binder']}) "
            f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({links['Colab']})"
        )
        rows.append(f"| [{number}](notebooks/{name}.ipynb) | {about} | {run[0]} | {run[1]} | {badges} |")
    if times["machine"]:
        rows += ["", f"Every cell run once, top to bottom, by `make times`: {times['machine']}."]
    return "\n".join(rows) + "\n"


def set_line(text: str, label: str, line: str) -> str:
    """Replace the line that begins with `label`, or add one at the end as a paragraph of its own."""
    pattern = re.compile(rf"^{re.escape(label)}.*$", re.M)
    return pattern.sub(lambda _: line, text) if pattern.search(text) else f"{text.rstrip()}\n\n{line}"


def title_cell(text: str, name: str, root: Path) -> str:
    """A lesson's first cell with its measured time, and plain links: a badge would be an image from the network."""
    measured = read_times(root)["lessons"].get(name)
    run = "not measured yet"
    if measured:
        run = f"{duration(measured['seconds'])} to run every cell once; memory: {memory(measured)}"
    links = " · ".join(f"[{place}]({link})" for place, link in launch_links(name, root).items())
    links += "" if published(root) else " (once the course is published)"
    return set_line(set_line(text, TIME, f"{TIME} {run}"), LAUNCH, f"{LAUNCH} {links}")


def glossary_cell(root: Path) -> str:
    """The cell "glossary" of lesson 00, folded, for it is looked up and not read."""
    text = (root / "docs" / "glossary.md").read_text("utf-8").strip()
    return f"<details><summary>Words and symbols of this course</summary>\n\n{text}\n\n</details>"


def lesson_link(number: str, folder: Path) -> str:
    """The number of a lesson, as a link once the lesson is written."""
    written = next(folder.glob(f"{number}_*.ipynb"), None)
    return f"[{number}]({written.name})" if written else number


def synced_notebook(path: Path, root: Path) -> str:
    notebook = json.loads(path.read_text("utf-8"))
    measured = read_times(root)["lessons"].get(path.stem)
    time = duration(measured["seconds"]) if measured else "not measured yet"
    for index, cell in enumerate(notebook["cells"]):
        text = with_address("".join(cell["source"]), root)
        if path.stem in LESSONS:
            text = title_cell(text, path.stem, root) if index == 0 else EXPECTED.sub(rf"\g<1>{time}", text)
        if cell["id"] == "glossary":
            text = glossary_cell(root)
        if cell["id"] == "map":
            text = MAP_ROW.sub(lambda m: f"| {lesson_link(m[1], path.parent)} |", text)
        cell["source"] = text.splitlines(keepends=True)
    return serialise(notebook)


def synced_readme(root: Path) -> str:
    text = (root / "README.md").read_text("utf-8")
    text = ADDRESS.sub("" if published(root) else PUBLISH, with_address(text, root))
    return TABLE.sub(lambda _: lesson_table(root), text)


def out_of_step(root: Path = ROOT) -> dict[Path, str]:
    """The files that say something else than they should, with the text that they should hold."""
    wanted = {root / "README.md": synced_readme(root)}
    wanted |= {path: synced_notebook(path, root) for path in repository_notebooks(root)}
    return {path: text for path, text in wanted.items() if path.read_text("utf-8") != text}


def write(root: Path = ROOT) -> list[Path]:
    stale = out_of_step(root)
    for path, text in stale.items():
        path.write_text(text, "utf-8")
    return list(stale)


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        stale = list(out_of_step())
        print("\n".join(f"{path.name} is out of step: make links" for path in stale) or "all links are in step")
        return bool(stale)
    address = github(arguments[0]) if arguments else remote() if not published() else None
    if arguments and address is None:
        print(f"address must be that of a repository on GitHub, https://github.com/owner/name, got {arguments[0]!r}")
        return 2
    if address is not None:
        publish(address)
    print(f"address: {repository()}" + ("" if published() else ", which nobody can own: the course is not published"))
    print("\n".join(f"wrote {path.name}" for path in write()) or "all links were in step")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
