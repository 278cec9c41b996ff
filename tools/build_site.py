"""Run the lessons and write them as a web site that needs neither a kernel nor a network.

    python tools/build_site.py [lesson ...] [--out DIR]        such as 03_clip; all of them where none is named

One page a lesson and an index, in site/ unless told otherwise. Explorers stay alive, panels are shown as pictures. A
lesson that fails stops it by name, and the site that was there before stays as it was.
(Not site.py: Python has a module of that name.)
"""

import argparse
import base64
import html
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import lab
import nbformat
import sync_links
from latex2mathml.converter import convert
from nbclient import NotebookClient
from nbconvert.filters import markdown_mistune as mistune
from nbconvert.filters import strip_ansi
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from tqdm.auto import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xlib.explore import Explorer, page  # noqa: E402

STYLES = Path(__file__).with_name("site.css")
MARK = '<meta name="generator" content="xlib tools/build_site.py">'  # without it, a folder is not ours to replace
# In each kernel: an explorer gives the page's form of itself in place of a widget and its still picture.
START = """
def _start():
    from IPython.display import display
    from xlib.explore import Explorer, page

    def show(explorer):
        display({"text/html": page.body(explorer)}, raw=True)

    # Not by name: each widget has a class of its own, and the first would use the name up.
    get_ipython().display_formatter.ipython_display_formatter.for_type(Explorer, show)

_start()
del _start
"""
# What scrolls sideways can be reached by keyboard; the table of contents is open where there is room beside the text.
SCRIPT = """
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries)
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
});
for (const el of document.querySelectorAll("pre, .wide, :is(p, li):has(> math)")) observer.observe(el);
const contents = document.querySelector(".contents");
if (contents) contents.open = matchMedia("(min-width: 1180px)").matches;
"""
WIDGET = "application/vnd.jupyter.widget-view+json"
LIMITS = '<p class="still">Other projections, and all else that needs Python, work in the launched lesson.</p>'
STILL = '<p class="still">This comes alive in the launched lesson.</p>'
PICTURES = ("image/png", "image/jpeg")
PICTURE = re.compile(r'src="(pictures/[^"]+\.webp)"')
MATH_IN_HTML = re.compile(r"<(code|pre)\b.*?</\1>|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$", re.S)


# ---- from a notebook to what stands on its page ------------------------------------------------------------------


def run(path: Path, done=None):
    """The notebook at path with its outputs; `done` is called after each cell."""
    notebook = nbformat.read(path, as_version=4)
    if not _code_cells(notebook):
        return notebook
    notebook.cells.insert(0, nbformat.v4.new_code_cell(START))
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as folder:  # what a lesson may write is not wanted
        client = NotebookClient(
            notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.extra_arguments = ["--log-level=ERROR"]
        client.on_cell_complete = lambda cell, cell_index: done() if done and cell_index else None  # not for START
        client.execute(env=environment)
    del notebook.cells[0]
    return notebook


def _code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def mathml(latex: str, display: str) -> str:
    """A formula in the browser's own language. ValueError where it holds what is not understood."""
    try:
        found = convert(latex.strip(), display=display)
    except Exception as error:  # the converter's errors have no common ancestor
        raise ValueError(f"cannot set the formula {latex!r}: {error!r}") from error
    for left, right in ((r"\|", "‖"), (r"\{", "{"), (r"\}", "}")):  # what it leaves as it is behind \Big
        found = found.replace(left, right)
    # A row of its own, or browsers do not give it this size where it has an exponent.
    found = re.sub(r"<mo (minsize.*?</mo>)", r'<mrow><mo stretchy="true" \1</mrow>', found)
    if unknown := re.search(r"\\.[A-Za-z]*", found):
        raise ValueError(f"cannot set the formula {latex!r}: unknown command {unknown[0]}")
    return f'<span class="wide formula">{found}</span>' if display == "block" else found


def inner(notebook, text: "Text") -> str:
    """The cells of a notebook that has been run, as what stands on its page."""
    made = (_markdown(cell, text) if cell.cell_type == "markdown" else _code(cell) for cell in notebook.cells)
    return "\n".join(made)


def _markdown(cell, text):
    # Time and launch links stand at the top of a page.
    source = re.sub(
        rf"^(?:{re.escape(sync_links.TIME)}|{re.escape(sync_links.LAUNCH)}).*\n?", "", cell.source, flags=re.M
    )
    return text.render(PICTURE.sub(_embedded, source))


def _embedded(match):
    """A lesson's own picture, in the page: nothing is loaded from beside it."""
    picture = (ROOT / "notebooks" / match[1]).read_bytes()
    return f'src="data:image/webp;base64,{base64.b64encode(picture).decode()}"'


def _code(cell):
    if cell.cell_type != "code" or not cell.source.strip():
        return ""
    code = highlight(cell.source, PythonLexer(), HtmlFormatter())
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        code = f'<details class="code"><summary>Code</summary>{code}</details>'
    return f'<div class="cell">{code}{"".join(map(_output, _joined(cell.outputs)))}</div>'


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
    if output.output_type == "stream":
        return f'<pre class="out">{html.escape(strip_ansi(output.text))}</pre>'
    data = output.data
    if data.get("text/plain") == "":  # a progress bar that has gone, or the dead widget beside its still picture
        return ""
    if 'class="xlib-still' in data.get("text/html", ""):
        return _still(data)
    for kind in PICTURES:
        if kind in data:
            about = output.metadata.get(kind, {})
            alt = html.escape(about.get("alt") or data.get("text/plain", ""))
            width = f' width="{int(about["width"])}"' if "width" in about else ""
            return f'<figure><img alt="{alt}"{width} src="data:{kind};base64,{data[kind].strip()}"></figure>'
    if _alive(data.get("text/html", "")):
        return f'<div class="explorer">{data["text/html"]}{LIMITS}</div>'
    if "text/html" in data:
        return f'<div class="wide">{data["text/html"]}</div>'
    if WIDGET in data:
        return STILL
    return f'<pre class="out">{html.escape(data["text/plain"])}</pre>' if "text/plain" in data else ""


def _still(data):
    """A widget's still picture, light or dark as the page is."""
    light, dark = re.findall(r'src="(data:[^"]*)"', data["text/html"])
    alt = html.escape(data["text/plain"])
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{alt}" src="{light}"></picture>{STILL}</figure>'
    )


def _alive(text):
    return 'class="xlib-kernelless"' in text


class Text(mistune.IPythonRenderer):
    """Markdown as JupyterLab reads it, formulas as MathML, links within the site. `contents` gathers the headings."""

    def __init__(self, folder: str, there: list[str]):
        super().__init__(escape=False, embed_images=True, path=str(ROOT / folder))
        self.folder, self.there, self.contents = folder, there, []

    def render(self, source: str) -> str:
        return mistune.MarkdownWithMath(renderer=self).render(source)

    def heading(self, text, level, **attrs):
        words = re.sub(r"<annotation.*?</annotation>|<[^>]*>", "", text)
        name = base = re.sub(r"\W+", "-", html.unescape(words)).strip("-").lower() or "part"
        taken = {name for _, name, _ in self.contents}
        while name in taken:
            name = f"{base}-{len(taken)}"
        self.contents.append((level, name, words))
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def link(self, text, url, title=None):
        if not re.match(r"[a-z]+:|#|//", url):
            place, hash_, anchor = url.partition("#")
            target = os.path.normpath(os.path.join(self.folder, place)).replace(os.sep, "/")
            lesson = Path(target).stem
            if target == f"notebooks/{lesson}.ipynb" and lesson in self.there:
                url = f"{lesson}.html{hash_}{anchor}"
            else:
                url = f"{sync_links.repository()}/blob/main/{target}{hash_}{anchor}"
        return super().link(text, url, title)

    def table(self, text):
        return f'<div class="wide"><table>{text}</table></div>\n'

    def table_cell(self, text, align=None, head=False):
        if head and not text.strip():
            return "  <td></td>\n"  # a heading that says nothing is none
        tag, style = ("th" if head else "td"), (f' style="text-align:{align}"' if align else "")
        return f"  <{tag}{style}>{text}</{tag}>\n"

    def block_math(self, body):
        return mathml(body, "block")

    def inline_math(self, body):
        return mathml(body, "inline")

    def latex_environment(self, name, body):
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def block_html(self, text):  # the pictures in it are not embedded: that would close a <details> too early
        return MATH_IN_HTML.sub(_set, text)

    def inline_html(self, text):
        return text


def _set(match):
    if match["block"]:
        return mathml(html.unescape(match["block"]), "block")
    return mathml(html.unescape(match["inline"]), "inline") if match["inline"] else match[0]


# ---- pages -------------------------------------------------------------------------------------------------------


def whole(title: str, top: str, main: str, *, side: str = "") -> str:
    """One page that stands for itself: nothing is loaded from anywhere."""
    lively = _alive(main)
    colours = "\n".join(
        f"@media (prefers-color-scheme: {scheme}) {{ {HtmlFormatter(style=name).get_style_defs('.highlight')} }}"
        for scheme, name in (("light", "xcode"), ("dark", "lightbulb"))
    )
    sheet = STYLES.read_text("utf-8") + colours + (page.stylesheet(Explorer) if lively else "")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{page.POLICY}">
{MARK}
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>
{sheet}
</style>
</head>
<body>
<a class="skip" href="#main">Skip to the text</a>
<header>{top}</header>
<div class="columns">
{side}
<main id="main">
{main}
</main>
</div>
<footer>{_footer()}</footer>
<script type="module">{SCRIPT}</script>
{f'<script type="module">{page.script(Explorer)}</script>' if lively else ""}
</body>
</html>
"""


def lesson_page(name: str, body: str, text: Text, titles: dict[str, str]) -> str:
    anchors = [(anchor, words) for level, anchor, words in text.contents if level == 2]
    links = "".join(f'<li><a href="#{anchor}">{words}</a></li>' for anchor, words in anchors)
    side = (
        '<nav aria-label="On this page"><details class="contents"><summary>On this page</summary>'
        f"<ol>{links}</ol></details></nav>"
    )
    body = body.replace("</h1>", f"</h1>\n{_facts(name)}", 1)
    top = f'<a href="index.html">xlib</a>{_launch(name)}'
    return whole(titles[name], top, body + _turns(name, titles), side=side if anchors else "")


def index_page(titles: dict[str, str]) -> str:
    readme = (ROOT / "README.md").read_text("utf-8")
    text = Text("", list(titles))
    start, *sections = re.split(r"^(?=## )", readme, flags=re.M)
    licences = "".join(section for section in sections if section.startswith("## Licences"))
    cards = []
    for name, title in titles.items():
        known, _, about = sync_links.LESSONS.get(name, title).partition(": ")
        measured = sync_links.read_times()["lessons"].get(name)
        time = f"runs in {sync_links.duration(measured['seconds'])}" if measured else ""
        cards.append(
            f'<li><span class="number" aria-hidden="true">{html.escape(name[:2])}</span><div>'
            f'<a href="{name}.html">{html.escape(known.strip("*"))}</a>'
            f'<p>{html.escape(about[:1].upper() + about[1:])}</p><p class="quiet">{time}</p></div></li>'
        )
    lessons = '<h2 id="lessons">The lessons</h2>\n<ol class="lessons">' + "\n".join(cards) + "</ol>"
    body = text.render(start) + lessons + text.render(licences)
    address = html.escape(sync_links.repository())
    top = f'<a href="index.html" aria-current="page">xlib</a><p><a class="button" href="{address}">Repository</a></p>'
    title = next(html.unescape(words) for _, _, words in text.contents)
    return whole(title, top, body)


def _turns(name, titles):
    """Links to the lessons before and after."""
    names = list(titles)
    at = names.index(name)
    ends = (("prev", "Previous", names[:at][-1:]), ("next", "Next", names[at + 1 :][:1]))
    links = "".join(
        f'<a rel="{rel}" href="{other}.html"><span>{word}</span> {html.escape(titles[other])}</a>'
        for rel, word, found in ends
        for other in found
    )
    return f'<nav class="turn" aria-label="Lessons before and after">{links}</nav>' if links else ""


def _launch(name):
    buttons = (
        f'<a class="button" href="{html.escape(link)}">{place}</a>'
        for place, link in sync_links.launch_links(name).items()
    )
    return f"<p>Launch in {' '.join(buttons)}</p>"


def _facts(name):
    measured = sync_links.read_times()["lessons"].get(name)
    if not measured:
        return ""
    time = sync_links.duration(measured["seconds"])
    memory = sync_links.memory(measured)
    return f'<p class="quiet">All cells run in {time} on a laptop CPU; memory: {memory}.</p>'


def _footer():
    address = html.escape(sync_links.repository())
    return f'<p>Made by running the lessons of <a href="{address}">{address.partition("//")[2]}</a>.</p>'


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
        bodies, texts, titles = {}, {}, {}
        counts = [len(_code_cells(nbformat.read(path, as_version=4))) for path in paths]
        with tqdm(total=sum(counts), unit="cell") as bar:
            for name, path in zip(names, paths, strict=True):
                bar.set_description(name)
                texts[name] = Text("notebooks", names)
                try:
                    bodies[name] = inner(run(path, bar.update), texts[name])
                except Exception as error:  # a lesson may fail in any way
                    sys.exit(f"{name} failed, and no site was written: {error}")
                headings = [html.unescape(words) for level, _, words in texts[name].contents if level == 1]
                titles[name] = headings[0] if headings else name
        for name in names:
            text = lesson_page(name, bodies[name], texts[name], titles)
            (new / f"{name}.html").write_text(text, "utf-8")
        (new / "index.html").write_text(index_page(titles), "utf-8")
        _swap(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _ours(folder):
    index = folder / "index.html"
    return folder.is_dir() and (not any(folder.iterdir()) or (index.exists() and MARK in index.read_text("utf-8")))


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
