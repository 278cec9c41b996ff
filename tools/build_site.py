"""Run the lessons and write them as a web site that needs neither a kernel nor a network.

    python tools/build_site.py [lesson ...] [--out DIR]        such as 03_clip; all of them where none is named

Into site/ unless told otherwise: a page a lesson, and those of tools/site/pages.py. Explorers, panels and the drawing
pad live in the page; what they need lies in files beside it, which are loaded when they start. A lesson that fails
stops it by name, and the site that was there before stays as it was.
(Not site.py: Python has a module of that name.)

The lessons are run here, and their outputs become HTML here; Sphinx, with myst-nb and sphinx-book-theme, makes the
pages of them. Its settings are in tools/site/conf.py, and tools/site/alive.py is what we add to it.
"""

import argparse
import base64
import contextlib
import hashlib
import html
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import lab
import nbformat
import sync_links
from nbclient import NotebookClient
from nbconvert.filters import strip_ansi
from PIL import Image, ImageOps
from sphinx.cmd.build import build_main
from tqdm.auto import tqdm

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = Path(__file__).with_name("site")
sys.path[:0] = [str(ROOT), str(SETTINGS)]

import alive  # noqa: E402
import glossary  # noqa: E402
import pages  # noqa: E402

from xlib.explore import Explorer, page  # noqa: E402
from xlib.explore.pad import Pad  # noqa: E402
from xlib.explore.panel import Panel  # noqa: E402

# In each kernel, first and last: what lives in the browser gives its form for pages in place of a widget and its
# still picture. A panel does so at once, while its lesson's names mean what it needs; an explorer at the end, since a
# later cell may train what it shows.
START = """
def _start():
    from IPython.display import display
    from xlib.explore import Explorer, pad, page, recorded
    from xlib.explore.panel import Panel

    shown = []

    def show(explorer):
        shown.append((explorer, display({"text/html": ""}, raw=True, display_id=True)))

    def formed(body):
        return lambda widget: display({"text/html": body(widget)}, raw=True)

    # Not by name: each widget has a class of its own, and the first would use the name up.
    for kind, form in ((Explorer, show), (Panel, formed(recorded.body)), (pad.Pad, formed(pad.body))):
        get_ipython().display_formatter.ipython_display_formatter.for_type(kind, form)

    def end():
        for explorer, place in shown:
            place.update({"text/html": page.body(explorer)}, raw=True)

    return end

_end_of_lesson = _start()
"""
END = "_end_of_lesson()"
FACES = {"explorer": Explorer, "panel": Panel, "pad": Pad}
WIDGET = "application/vnd.jupyter.widget-view+json"
STILL = '<p class="still">This comes alive in the launched lesson.</p>'
DATA = re.compile(r'<script type="application/json" class="xlib-(?P<name>[\w-]+)">(?P<text>[^<]*)</script>')
PICTURE = re.compile(
    r'<img (?P<before>[^<>]*?)src="data:image/(?P<kind>[\w+]+);base64,(?P<data>[^"]*)"(?P<after>[^<>]*)>'
)
# Time and launch links stand at the top of a page, and a page has no cells to run.
NOT_HERE = re.compile(
    rf"^(?:{re.escape(sync_links.TIME)}|{re.escape(sync_links.LAUNCH)}|Press \*\*Shift \+ Enter\*\* to run).*\n?",
    re.M,
)
LESSON_PICTURE = re.compile(r'src="(pictures/[^"]+\.webp)"')
PROGRAM = re.compile(r"<script>(?P<text>.*?)</script>", re.S)
SHEET = re.compile(r"<style>.*?</style>", re.S)
BESIDE = 2_000  # bytes of data, a program or a picture, from which on they are a file beside the page


# ---- a lesson ----------------------------------------------------------------------------------------------------


def run(path: Path, done=None):
    """The notebook at path with its outputs; `done` is called after each cell."""
    notebook = nbformat.read(path, as_version=4)
    if not _code_cells(notebook):
        return notebook
    notebook.cells = [nbformat.v4.new_code_cell(START), *notebook.cells, nbformat.v4.new_code_cell(END)]
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as folder:  # what a lesson may write is not wanted
        client = NotebookClient(
            notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.extra_arguments = ["--log-level=ERROR"]
        last = len(notebook.cells) - 1
        client.on_cell_complete = lambda cell, cell_index: done() if done and 0 < cell_index < last else None
        client.execute(env=environment)
    notebook.cells = notebook.cells[1:-1]
    return notebook


def _code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def for_sphinx(notebook, name: str, static: Path):
    """A notebook that has been run, as Sphinx is to read it: outputs are HTML, and what is large is in `static`."""
    cells, sheets = [], set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LESSON_PICTURE.sub(_with_shape, cell.source)
            cell.source = NOT_HERE.sub("", cell.source)
        elif cell.cell_type == "code":
            if cell.metadata.get("jupyter", {}).get("source_hidden"):
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            if cell.id.startswith("exercise-") and "checks." in cell.source:
                cells.append(nbformat.v4.new_markdown_cell(_opens(name, cell.id)))
            made = (_once(_beside(_output(output), name, static), sheets) for output in _joined(cell.outputs))
            cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": text}) for text in made if text]
        cells.append(cell)
    if cells and cells[0].cell_type == "markdown":
        cells[0].source = re.sub(
            r"^(# .*\n?)", lambda title: f"{title[1].rstrip()}\n\n{_facts(name)}", cells[0].source
        )
    notebook.cells = cells
    notebook.metadata.pop("widgets", None)  # what kernels knew of widgets
    return notebook


def _with_shape(match):
    """A lesson's own picture with its shape, so that the text beside it does not move when it comes."""
    with Image.open(ROOT / "notebooks" / match[1]) as picture:
        return f'{match[0]} style="aspect-ratio: {picture.width} / {picture.height}"'


def _facts(name):
    measured = sync_links.read_times()["lessons"].get(name)
    if not measured:
        return ""
    time, memory = sync_links.duration(measured["seconds"]), sync_links.memory(measured)
    return f'<p class="facts">All cells run in {time} on a laptop CPU; memory: {memory}.</p>\n'


def _opens(name, cell):
    """What stands before an exercise's stub: links that open the lesson at that cell, and the cell's anchor."""
    links = sync_links.launch_links(name)
    links["Binder"] += f"%23cell-id%3D{cell}"
    links["Colab"] += f"#scrollTo={cell}"
    title = "" if sync_links.published() else ' title="Works once the course is published"'
    buttons = " ".join(
        f'<a class="xlib-button" href="{html.escape(link)}"{title}>{place}</a>' for place, link in links.items()
    )
    anchor = f'<a class="headerlink" href="#{cell}" title="Link to this exercise">#</a>'
    return f'<p class="exercise" id="{cell}">Write it yourself in {buttons} {anchor}</p>'


def _joined(outputs):
    """The outputs with what was printed in a row as one; warnings and progress on stderr are left out."""
    found = []
    for output in outputs:
        if output.output_type == "stream" and found and found[-1].output_type == "stream" and output.name == "stdout":
            found[-1].text += output.text
        elif output.output_type != "stream" or output.name == "stdout":
            found.append(output)
    return found


def _output(output):
    """The HTML of one output, or an empty string."""
    if output.output_type == "stream":
        return f'<pre class="out">{html.escape(strip_ansi(output.text))}</pre>'
    data = output.data
    page_form = data.get("text/html", "")
    if data.get("text/plain") == "":  # a progress bar that has gone, or the dead widget beside its still picture
        return ""
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            about = output.metadata.get(kind, {})
            alt = html.escape(about.get("alt") or data.get("text/plain", ""))
            width = f' width="{int(about["width"])}"' if "width" in about else ""
            return f'<figure><img alt="{alt}"{width} src="data:{kind};base64,{data[kind].strip()}"></figure>'
    if 'class="xlib-kernelless"' in page_form:
        return f'<div class="alive">{page_form}</div>'
    if page_form:
        return f'<div class="wide">{page_form}</div>'
    if WIDGET in data:
        return STILL
    return f'<pre class="out">{html.escape(data["text/plain"])}</pre>' if "text/plain" in data else ""


def _beside(text, name, static):
    """An output whose large data and pictures have moved into files of their own, under names that tell their content
    apart, so that no old file is taken for a new one."""

    def written(content, ending):
        key = f"{name}-{hashlib.sha256(content).hexdigest()[:10]}"
        (static / f"{key}.{ending}").write_bytes(content)
        return key, f"_static/xlib/{key}.{ending}"

    def script(match):
        if len(match["text"]) < BESIDE:
            return match[0]
        key = f"{name}-{hashlib.sha256(match['text'].encode()).hexdigest()[:10]}"  # which stands in the file as well
        (static / f"{key}.js").write_text(f'(globalThis.xlibCame ??= {{}})["{key}:data"] = {match["text"]};', "utf-8")
        return (
            f'<script type="application/json" class="xlib-{match["name"]}" data-key="{key}" '
            f'data-src="_static/xlib/{key}.js"></script>'
        )

    def picture(match):
        content, others = base64.b64decode(match["data"]), match["before"] + match["after"]
        if len(content) < BESIDE:
            return match[0]
        kind = match["kind"].removesuffix("+xml")
        _, src = written(content, kind)
        return f'<img {others.strip()}{_size(content, kind, others)} loading="lazy" src="{src}">'

    def program(match):
        if len(match["text"]) < BESIDE:
            return match[0]
        _, src = written(match["text"].encode(), "js")
        return f'<script src="{src}"></script>'

    return PICTURE.sub(picture, PROGRAM.sub(program, DATA.sub(script, text)))


def _once(text, there):
    """The same HTML without the style sheets that are there already: outputs bring the same ones again and again."""
    return SHEET.sub(lambda sheet: "" if sheet[0] in there else there.add(sheet[0]) or sheet[0], text)


def _size(content, kind, others):
    """The attributes that keep a picture's place free until it has come."""
    if "style=" in others or "height=" in others:
        return ""
    if kind == "svg":
        found = re.search(rb'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', content)
        across, up = map(float, found.groups()) if found else (0, 0)
    else:
        across, up = Image.open(io.BytesIO(content)).size
    if not across:
        return ""
    if given := re.search(r'width="(\d+)"', others):
        return f' height="{round(up * int(given[1]) / across)}"'
    return f' width="{round(across)}" height="{round(up)}"'


# ---- the site ----------------------------------------------------------------------------------------------------


def build(paths: list[Path], out: Path) -> None:
    """Run the notebooks at `paths`, in this order, and put their site in `out`. SystemExit names what failed."""
    out = out.resolve()
    if out.exists() and not _ours(out):
        sys.exit(f"{out} holds something else than a site of this script, and is left alone")
    out.parent.mkdir(parents=True, exist_ok=True)
    names = [path.stem for path in paths]
    new = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    new.chmod(0o755)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, static = Path(folder, "source"), Path(folder, "source", "_static", "xlib")
            static.mkdir(parents=True)
            counts = [len(_code_cells(nbformat.read(path, as_version=4))) for path in paths]
            with tqdm(total=sum(counts), unit="cell") as bar:
                for name, path in zip(names, paths, strict=True):
                    bar.set_description(name)
                    try:
                        notebook = for_sphinx(run(path, bar.update), name, static)
                    except Exception as error:  # a lesson may fail in any way
                        sys.exit(f"{name} failed, and no site was written: {error}")
                    glossary.link_terms(notebook)
                    nbformat.write(notebook, source / f"{name}.ipynb")
            pages.write(source, names)
            render(source, new, names)
        _swap(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def render(source: Path, new: Path, lessons: list[str]) -> None:
    """Make the pages of what is in `source`, with all that they need beside them."""
    said, made = io.StringIO(), source.parent / "made" / "site"  # MyST-NB puts a folder of its own beside it
    with contextlib.redirect_stderr(said):
        command = ["-q", "-j", "auto", "-b", "html", "-c", str(SETTINGS), "-d", str(source.parent / "doctrees")]
        failed = build_main([*command, "-D", f"lessons={','.join(lessons)}", str(source), str(made)])
    if failed:
        sys.exit(f"Sphinx failed, and no site was written: {said.getvalue().strip()}")
    print(said.getvalue(), end="", file=sys.stderr)
    alive.patch(made)
    shutil.copytree(made, new, dirs_exist_ok=True)
    shutil.copytree(source / "_static", new / "_static", dirs_exist_ok=True)
    shutil.copytree(ROOT / "notebooks" / "pictures", new / "pictures")
    for kind, widget in FACES.items():
        (new / "_static" / "xlib" / f"{kind}.js").write_text(page.script(widget, kind), "utf-8")
        (new / "_static" / "xlib" / f"{kind}.css").write_text(page.stylesheet(widget), "utf-8")
    with Image.open(ROOT / "docs" / "explorer.png") as picture:
        preview = ImageOps.pad(picture.convert("RGB"), (1200, 630), color="white")
        preview.quantize(128).save(new / "_static" / "preview.png")
    names = sorted(path.relative_to(new).as_posix() for path in new.rglob("*.html"))
    for path, text in alive.around_the_pages(names).items():
        (new / path).write_text(text, "utf-8")


def _ours(folder):
    index = folder / "index.html"
    return folder.is_dir() and (
        not any(folder.iterdir()) or (index.exists() and alive.MARK in index.read_text("utf-8"))
    )


def _swap(new, out):
    """Put a finished folder where another was; the old one is gone only when the new one stands."""
    old = new.with_name(new.name + "-old")
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Run the lessons and write them as a web site.")
    parser.add_argument("lessons", nargs="*", help="such as 03_clip; all of them where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="the folder to write, site/ by default")
    chosen = parser.parse_args(arguments)
    there = [name for name in sync_links.LESSONS if (ROOT / "notebooks" / f"{name}.ipynb").exists()]
    if unknown := set(chosen.lessons) - set(there):
        sys.exit(f"no such lesson: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    lab.prepare(ROOT / ".jupyter", os.environ)
    names = [name for name in there if name in chosen.lessons or not chosen.lessons]
    out = chosen.out.expanduser()
    build([ROOT / "notebooks" / f"{name}.ipynb" for name in names], out)
    print(f"wrote {out / 'index.html'}")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a Windows console may not know every letter of a folder's name
    main(sys.argv[1:])
