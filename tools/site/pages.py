"""The pages of the site that are no lessons: home, the explorer's manual, glossary, results, API reference, and the
teaching notes where there are any. All of it is made of files of the repository, as Markdown for Sphinx."""

import base64
import functools
import html
import json
import os
import re
import subprocess
from pathlib import Path

import api
import glossary
import nbformat
import sync_links

from xlib.course import _table, report

ROOT = Path(__file__).resolve().parents[2]
# A file of the repository: the page that is made of it.
MADE_OF = {
    "README.md": "index",
    "docs/explorer.md": "explorer",
    "docs/glossary.md": "glossary",
    "docs/architecture.md": "api/architecture",
    "docs/when_something_goes_wrong.md": "help",
    "challenge/README.md": "challenge",
    "tests/benchmarks/results.md": "results/benchmarks",
}
LINK = re.compile(
    r'(?P<image>!?)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<to>[^)\s]+)(?P<title>\s+"[^"]*")?\)'
    r"|(?P<code>^(?P<fence>```+).*?^(?P=fence)|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))",
    re.S | re.M,
)
# What the home page promises, each with the lesson that keeps it.
ABLE = {
    "00_start_here": "**Walk** around in a space of pictures and words, and know when its map misleads you",
    "01_shared_space": "**Build** a shared space in closed form, and measure alignment, uniformity and the gap",
    "02_infonce": "**Derive** InfoNCE and its gradient, and recognise a bad temperature by its symptoms",
    "03_clip": "**Train** a CLIP model from scratch, and have it name numbers that it never met",
    "04_mmd": "**Test** whether two samples come from one distribution, with a p-value that keeps its word",
    "05_dann": "**Train** against a domain classifier, and say from intervals whether that has paid",
    "06_combined": "**Adapt** CLIP to pictures that nobody has captioned, and choose λ without one target label",
    "07_scaling": "**Compute** the loss of a batch that does not fit, exactly, and split it over several processes",
    "08_sound": "**Join** spoken numbers to pictures that they were never paired with, and see what few pairs can do",
    "09_your_own": "**Check** a folder of your own, train on it, carry it to a second domain, and send the map",
}
# The explorer of the home page plays once when it is seen; not where somebody wants no motion, came for the view that
# the address names, or has touched it.
PLAY = """
<script>
{
  const place = document.querySelector(".xlib-home .xlib-kernelless");
  let touched = matchMedia("(prefers-reduced-motion: reduce)").matches || location.hash.includes("=");
  const button = () => place.querySelector('[data-ui="play"]');
  const stop = (event) => {
    if (!event.isTrusted || touched) return;
    touched = true;
    if (button()?.classList.contains("playing") && !event.composedPath().includes(button())) button().click();
  };
  const touches = ["pointerdown", "keydown", "wheel"];
  for (const kind of touches) place.addEventListener(kind, stop, { capture: true, passive: true });
  new IntersectionObserver((seen, watch) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    watch.disconnect();
    const wait = setInterval(() => {
      if (!touched && !button()) return;
      clearInterval(wait);
      if (!touched) button().click();
    }, 200);
  }, { threshold: 0.4 }).observe(place);
}
</script>
"""


def write(source: Path, lessons: list[str]) -> None:
    """Put the pages beside the lessons, which lie in `source` as they have been run (such as 03_clip.ipynb)."""
    notebooks = {name: nbformat.read(source / f"{name}.ipynb", as_version=4) for name in lessons}
    titles = {name: title(notebook, name) for name, notebook in notebooks.items()}
    written = {}
    for path, page in MADE_OF.items():
        if page not in ("index", "glossary"):  # which are made of more than their file
            written[page] = relinked((ROOT / path).read_text("utf-8"), path, page, lessons)
    notes = teaching()
    for path in notes:
        page = f"teaching/{path.stem}"
        written[page] = relinked(path.read_text("utf-8"), f"docs/teaching/{path.name}", page, lessons)
    used = {name: terms_of(notebook) for name, notebook in notebooks.items()}
    written["glossary"] = relinked(glossary.page(used, titles), "docs/glossary.md", "glossary", lessons)
    written |= results(titles)
    written |= reference(titles)
    written["index"] = home(notebooks, titles, [f"teaching/{path.stem}" for path in notes])
    for page, text in written.items():
        path = source / f"{page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def teaching(root: Path = ROOT) -> list[Path]:
    """The teaching notes, in their order, and what leads to them first."""
    return sorted((root / "docs" / "teaching").glob("*.md"), key=lambda path: (path.stem != "index", path.stem))


def title(notebook, name: str) -> str:
    """A lesson's heading, without its number and Markdown."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^# (.+)", cell.source, re.M)):
            return re.sub(r"[*`$]", "", found[1])
    return name


def terms_of(notebook) -> set[str]:
    """The keys of the glossary's words that a lesson links."""
    return {key for cell in notebook.cells for key in glossary.USE.findall(cell.source)}


def relinked(text: str, path: str, page: str, lessons: list[str]) -> str:
    """A text of the repository's file `path` as what stands on `page`: links lead to the site's pages where there is
    one, to the repository where it is published, and are words elsewhere; pictures come along as they are."""
    folder, home = os.path.dirname(path), os.path.dirname(page)

    def found(match):
        if match["code"] or re.match(r"[a-z][a-z0-9+.-]*:|#|//", match["to"]):
            return match[0]
        place, hash_, anchor = match["to"].partition("#")
        target = os.path.normpath(os.path.join(folder, place)).replace(os.sep, "/")
        there = where(target, lessons)
        if match["image"]:
            picture = (ROOT / target).read_bytes()
            kind = Path(target).suffix[1:].replace("jpg", "jpeg")
            return f"![{match['words']}](data:image/{kind};base64,{base64.b64encode(picture).decode()})"
        if there:
            to = os.path.relpath(there, home or ".").replace(os.sep, "/")
            return f"[{match['words']}]({to}{hash_}{anchor}{match['title'] or ''})"
        if sync_links.published() and not target.startswith(".."):
            kind = "tree" if (ROOT / target).is_dir() else "blob"
            to = f"{sync_links.repository()}/{kind}/main/{target}{hash_}{anchor}"
            return f"[{match['words']}]({to}{match['title'] or ''})"
        return match["words"]

    return LINK.sub(found, text)


def where(target: str, lessons: list[str]) -> str | None:
    """The source of the page that shows a file of the repository, None where no page does."""
    if target in MADE_OF:
        return f"{MADE_OF[target]}.md"
    if (name := re.fullmatch(r"notebooks/([^/]+)\.ipynb", target)) and name[1] in lessons:
        return f"{name[1]}.ipynb"
    if (name := re.fullmatch(r"docs/teaching/([^/]+)\.md", target)) and (ROOT / target).exists():
        return f"teaching/{name[1]}.md"
    if (name := re.fullmatch(r"notebooks/results/([^/]+)\.json", target)) and (ROOT / target).exists():
        return f"results/{name[1]}.md"
    module = re.sub(r"(/__init__)?\.py$", "", target).replace("/", ".")
    return f"api/{module}.md" if any(module in room for room in api.modules().values()) else None


# ---- home --------------------------------------------------------------------------------------------------------


def home(notebooks: dict, titles: dict[str, str], notes: list[str]) -> str:
    readme = (ROOT / "README.md").read_text("utf-8")
    heading, about = re.match(r"# (.+?)\n\n(.+?)\n\n", readme, re.S).groups()
    licences = re.search(r"^## Licences.*", readme, re.S | re.M)[0]
    explorer = next(filter(None, map(explorer_of, notebooks.values())), "")
    live = f'<div class="xlib-home">\n{explorer}\n</div>\n{PLAY}' if explorer else ""
    able = [f"* {words} {_lesson(name, titles)}" for name, words in ABLE.items()]
    parts = [
        f"# {heading}",
        about,
        live,
        "## What you will be able to do",
        "\n".join(able),
        "## Start here",
        _start(titles),
        "## The lessons",
        _cards(titles),
        "## How to cite",
        _cite(),
        relinked(licences, "README.md", "index", list(titles)),
        _tree("Lessons", titles),
        _tree("Teaching", notes),
        _tree("Reference", ["explorer", "challenge", "help", "glossary", "results", "api/index"]),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def explorer_of(notebook) -> str:
    """The first explorer among a lesson's outputs, as it stands on the lesson's page."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            page = output.get("data", {}).get("text/html", "")
            if found := re.search(r'<div class="xlib-kernelless" data-kind="explorer".*?</div>', page, re.S):
                return re.sub(r"\n\s*\n", "\n", found[0])  # an empty line would end it, in Markdown
    return ""


def _lesson(name, titles):
    words = f"lesson {name[:2]}"
    return f"([{words}]({name}.ipynb))" if name in titles else f"({words})"


def _start(titles):
    name = "00_start_here"
    read = f"Read [lesson 00]({name}.ipynb) here" if name in titles else "Read a lesson here"
    lines = [f"{read}: explorers and panels are alive in these pages. To write code of your own, run it", ""]
    if sync_links.published():
        links = " or ".join(f"[{place}]({link})" for place, link in sync_links.launch_links(name).items())
        lines.append(f"* in the browser, with nothing to install, on {links};")
        commands = [
            f"git clone {sync_links.repository()}",
            f"cd {sync_links.repository().split('/')[-1]}",
            "make lab",
        ]
    else:
        lines.append("* in the browser, on Binder or Colab, once the course is published;")
        commands = ["make lab  # in a clone of the course"]
    lines.append("* on your machine, with Python 3.10 or newer and `make`:\n")
    return "\n".join([*lines, "  ```bash", *(f"  {command}" for command in commands), "  ```"])


def _cards(titles):
    times = sync_links.read_times()
    items = []
    for name, heading in titles.items():
        known, _, about = sync_links.LESSONS.get(name, re.sub(r"^\d\d · ", "", heading)).partition(": ")
        measured = times["lessons"].get(name)
        time = f'<p class="xlib-time">runs in {sync_links.duration(measured["seconds"])}</p>' if measured else ""
        items.append(
            f'<li><a href="{html.escape(name)}.html"><b aria-hidden="true">{html.escape(name[:2])}</b>'
            f"<strong>{html.escape(known.strip('*'))}</strong></a>"
            f"<p>{html.escape(about[:1].upper() + about[1:])}</p>{time}</li>"
        )
    cards = '<ol class="xlib-lessons">\n' + "\n".join(items) + "\n</ol>"
    return cards + (f"\n\nEvery cell run once, top to bottom: {times['machine']}." if times["machine"] else "")


def _cite():
    licence = (ROOT / "LICENSE").read_text("utf-8")
    year, authors = re.search(r"Copyright \(c\) (\d+) (.+)", licence).groups()
    address = f" {sync_links.repository()}" if sync_links.published() else ""
    heading = (ROOT / "README.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")
    return f"> {authors[:1].upper()}{authors[1:]} ({year}). *{heading}*. Version {sync_links.tag()[1:]}.{address}"


def _tree(caption, entries):
    listed = "\n".join(entries)
    return f"```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{listed}\n```" if listed else ""


# ---- results -----------------------------------------------------------------------------------------------------


def results(titles: dict[str, str]) -> dict[str, str]:
    """The pages of notebooks/results/*.json, and one that leads to them."""
    files = sorted((ROOT / "notebooks" / "results").glob("*.json"))
    written, rows = {}, []
    for path in files:
        found = json.loads(path.read_text("utf-8"))
        runs = pooled({name: rows for name, rows in found.items() if name not in ("settings", "versions")})
        seeds = {row["seed"] for rows in runs.values() for row in rows}
        written[f"results/{path.stem}"] = result(path, found, runs, titles)
        rows.append(f"| [{path.stem}](results/{path.stem}.md) | {_quoted(path.stem, titles, '')} | {len(runs)} |"
                    f" {len(seeds)} | `make results ARGS={path.stem}` |")  # fmt: skip
    lines = [
        "# Results",
        "What the lessons quote, measured with several seeds, beside the settings that it was measured with. A page"
        " is made of the file that the command writes and the lesson reads. Nothing is copied by hand.",
        "\n".join(["| file | quoted in lesson | runs | seeds | to repeat it |", "|---|---|---|---|---|", *rows]),
        "How fast the methods are and how much memory they take, beside other libraries, is in"
        " [what `make bench` measured](results/benchmarks.md).",
        "```{toctree}\n:hidden:\n\n" + "\n".join([*written, "results/benchmarks"]) + "\n```",
    ]
    return written | {"results": "\n\n".join(lines) + "\n"}


def pooled(runs: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """Runs by name; those called "..., from seed 5" are of one measurement, whose first seed this is."""
    found = {}
    for name, rows in runs.items():
        name, _, first = name.partition(", from seed ")
        found.setdefault(name, []).extend({**row, "seed": row["seed"] + int(first or 0)} for row in rows)
    return found


def result(path: Path, found: dict, runs: dict, titles: dict[str, str]) -> str:
    """The page of one file: its settings, and mean and interval of each number of each run."""
    settings, versions = (
        found["settings"],
        {"Python" if k == "python" else k: v for k, v in found["versions"].items()},
    )
    seeds = sorted({row["seed"] for rows in runs.values() for row in rows})
    facts = {"Quoted in lesson": _quoted(path.stem, titles, "../")}
    plain = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    facts |= {name[:1].upper() + name[1:]: api.escaped(_written(value)) for name, value in plain.items()}
    facts |= {
        "Seeds": f"{_row(seeds)}; each run on one thread, so that the number of cores makes no difference",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Stored": _date(path),
        "To repeat it": f"delete `notebooks/results/{path.name}`, then `make results ARGS={path.stem}`",
    }
    lines = [f"# {path.stem}", "\n".join(f"* **{api.escaped(k)}**: {v}" for k, v in facts.items() if v)]
    for name, value in settings.items():
        if isinstance(value, dict):
            text = json.dumps(value, ensure_ascii=False, indent=1)
            lines.append(_folded(f"Settings: {name}", f"<pre>{html.escape(text)}</pre>"))
    lines.append(
        "**Mean and 95% interval** over the seeds: Student's t, not cut off at the ends of a number's range. The bar"
        " beside a number shows the same on the column's scale. The table scrolls sideways."
    )
    kinds = {"": [], "Class by class": [], "Along the training": []}
    for kind, wanted in zip(kinds, (None, r".* of \d", r"after \d+ steps"), strict=True):
        by_columns = {}
        for name, rows in runs.items():
            columns = tuple(c for c in rows[0] if c != "seed" and _kind(c) == wanted)
            if columns:
                by_columns.setdefault(columns, {})[name] = rows
        for columns, of_runs in by_columns.items():
            page = table(columns, of_runs)
            lines.append(_folded(kind, page) if kind else page)
    style = f"<style>{_table.STYLE}</style>"
    head, *rest = "\n\n".join(lines).split(style)
    return head + style.join(rest[:1] and ["", rest[0]]) + "".join(rest[1:]) + "\n"


def _row(seeds):
    whole = seeds == [*range(seeds[0], seeds[-1] + 1)] and len(seeds) > 2
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _written(value):
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _kind(column):
    return next((p for p in (r".* of \d", r"after \d+ steps") if re.fullmatch(p, column)), None)


def table(columns: tuple[str, ...], runs: dict[str, list[dict]]) -> str:
    """HTML as `report.table` writes it: a row a run, mean and interval of each column."""
    found = {column: [report.interval([row[column] for row in rows]) for rows in runs.values()] for column in columns}
    cells = {"run": _table.column("run", list(runs), None)}
    page = _table.as_html(cells | {name: _table.column(name, values, None) for name, values in found.items()})
    return re.sub(r"\n\s*\n", "\n", page)  # an empty line would end it, in Markdown


def _folded(words, page):
    return f'<details class="xlib-folded"><summary>{html.escape(words)}</summary>\n{page}\n</details>'


@functools.cache
def _lessons_code():
    """The lessons' names and what their code says, of all that are in the repository."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        found[path.stem] = nbformat.read(path, as_version=4)
    return found


def _quoted(stem, titles, up):
    asked = re.compile(rf"stored\(\s*[\"']{re.escape(stem)}[\"']")
    return _lesson_links(
        [
            name
            for name, notebook in _lessons_code().items()
            if any(cell.cell_type == "code" and asked.search(cell.source) for cell in notebook.cells)
        ],
        titles,
        up,
    )


def _lesson_links(names, titles, up):
    """Numbers of lessons, as links where the site has them."""
    return ", ".join(f"[{name[:2]}]({up}{name}.ipynb)" if name in titles else name[:2] for name in names)


def _date(path):
    """The day on which a file was last stored in git; empty where git does not know, as in a clone of the last commit
    alone, which would be the day of that."""

    def git(*words):
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        if git("rev-parse", "--is-shallow-repository") == "true":
            return ""
        return git("log", "-1", "--format=%cs", "--", str(path))
    except (OSError, subprocess.CalledProcessError):
        return ""


# ---- the API reference -------------------------------------------------------------------------------------------


def reference(titles: dict[str, str]) -> dict[str, str]:
    """A page for each public module of xlib, and one that leads to them."""
    rooms = api.modules()
    names = {module: api.names(module) for room in rooms.values() for module in room}
    known = {name.full for found in names.values() for name in found}
    used = {name: api.uses(notebook) for name, notebook in _lessons_code().items()}
    written, lines = {}, ["# API reference", _ABOUT]
    for room, modules in rooms.items():
        lines += [f"## {room}", "\n".join(f"* [`{one}`]({one}.md): {_first(one)}" for one in modules)]
        lines.append("```{toctree}\n:hidden:\n\n" + "\n".join(modules) + "\n```")
        for module in modules:
            entries = []
            for name in sorted(names[module], key=lambda name: not hasattr(name.node, "name")):  # constants are last
                lessons = _lesson_links([one for one, found in used.items() if name.full in found], titles, "../")
                entries.append(api.entry(name, known, f"**In the lessons**: {lessons}" if lessons else ""))
            words = api.body(api.docstring(module), (), api.linker(module, known))
            top = [f"# {module}", f"```{{py:module}} {module}\n```", words, _code_at(module)]
            written[f"api/{module}"] = "\n\n".join(filter(None, [*top, *entries])) + "\n"
    lines += ["```{toctree}\n:hidden:\n\narchitecture\n```"]
    return written | {"api/index": "\n\n".join(lines) + "\n"}


_ABOUT = (
    "Every public function and class of `xlib`, from its own docstring: what goes in and comes out with shapes and"
    " units, what it raises, where it is from, and an example that the tests run. The rooms are those of"
    " [who may import whom](architecture.md). Shapes are in brackets: (N, d) is N rows of d numbers."
)


def _first(module):
    """The first sentence of a module's docstring."""
    words = " ".join(api.docstring(module).split("\n\n")[0].split())
    return api.inline(words)


def _code_at(module):
    path = api.file_of(module).relative_to(ROOT).as_posix()
    if sync_links.published():
        return f"Code: [`{path}`]({sync_links.repository()}/blob/main/{path})"
    return f"Code: `{path}`"
