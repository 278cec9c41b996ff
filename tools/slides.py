"""Write each lesson's main line as slides: one HTML file a lesson, with panels alive, that needs no network.

    python tools/slides.py [lesson ...]        such as 02_infonce; all of them where none is named

Into slides/. The lessons are run here as for the site (build_site.py). What turns the pages is reveal.js, from the
package sphinx-revealjs. Which slides there are follows from how a lesson is written; no lesson is listed here:

* The title with its picture and what one will be able to do; each "## " begins a column, with the text below it.
* Further text: what has a run-in heading (**Play.**, **Two remedies.**), formulas with the paragraph that leads to
  them, tables, exercises without their help. Of long text there is as much as can be read from the back row.
* Each question to predict, before the results of its cell; each table, figure, panel and explorer; then the answer.
  The text that leads to them stands above the first of these, or on a slide of its own before it.
* What else a cell prints, and all text that is on no slide, is in the speaker notes (key S) of the slide before it.
* How many of the claims hold, the summary, the recall questions with answers that come one key later, the reading.
"""

import base64
import html
import json
import mimetypes
import os
import re
import sys
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import build_site
import handouts
import lab
import nbformat
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbconvert.filters import strip_ansi
from tqdm.auto import tqdm

from xlib._files import written_whole
from xlib.explore import page

ROOT = Path(__file__).resolve().parent.parent
LOOK = Path(__file__).with_name("slides")
REVEAL = resources.files("sphinx_revealjs") / "_static" / "revealjs"
alive = sys.modules["alive"]  # from tools/site, by way of build_site

WORDS = 85  # of text on a slide; a formula counts for FORMULA of them
FORMULA = 12
WHOLE = 170  # words of what is of no use in part: an exercise, or the text that leads to a question
ABOVE = 40  # words above a question or a result
ROWS = 11  # of a table
FEW = 7  # rows, head and all, of a table that leaves room for a text above it or a line below
# Nothing but what is in the file can run or be loaded; the speaker's view holds the file itself.
POLICY = f"{page.POLICY}; frame-src 'self' file:"
# A heading run in: a sentence in bold, "Play", or nothing but bold.
RUN_IN = re.compile(r"\*\*(?P<head>[^*]+?(?:[.:!?](?=\*\*)|(?<=^\*\*Play)(?=\*\*)|(?=\*\*$)))\*\*")
DATA = re.compile(r'class="(xlib-predict|xlib-truth)" data-xlib="(?P<told>[^"]*)"')
OWN_LINK = re.compile(r'<a href="(?!https?:)[^"]*">(.*?)</a>', re.S)  # to a file of the course
NOT_SHOWN = {"set-up", "my-record"}  # cells of every lesson
OBJECTIVES = "What you will be able to do"
TABLE = (ROOT / "xlib" / "course" / "table.css").read_text("utf-8")


@dataclass
class Slide:
    """A slide: its kind, for the style; its heading and what is on it, as HTML; its notes, the cell's name first."""

    kind: str
    heading: str
    body: list[str]
    cell: str
    notes: list[str] = field(default_factory=list)
    words: int = 0


@dataclass
class Block:
    """A paragraph, formula, table, list item or fold of a lesson's text: its kind, Markdown, HTML and words."""

    kind: str
    source: str
    html: str
    words: int


# ---- text --------------------------------------------------------------------------------------------------------


def markdown() -> MarkdownIt:
    """Markdown as the lessons write it, with formulas as MathML."""
    reader = MarkdownIt("commonmark").enable("table")
    return reader.use(dollarmath_plugin, renderer=_formula)


def _formula(text, options):
    return alive.mathml(text, "block" if options["display_mode"] else "inline")


READER = markdown()


def as_html(source: str) -> str:
    """Markdown as HTML; links within the course become their words, for a slide stands by itself."""
    return OWN_LINK.sub(r"\1", READER.render(source))


def blocks(source: str) -> list[Block]:
    """The blocks of a cell's Markdown, in order. Each item of a list is one, so that a list can go on."""
    found, at = [], 0
    for fold in [*handouts.DETAILS.finditer(source), None]:
        found += _plain(source[at : fold.start() if fold else len(source)])
        if fold:
            body = alive.set_in_html(as_html(fold["body"].strip()))
            found.append(Block("fold", fold["title"].strip(), body, 0))
            at = fold.end()
    return found


def _plain(source):
    tokens, found, depth, start = READER.parse(source), [], 0, 0
    lines = source.splitlines(keepends=True)
    for i, token in enumerate(tokens):
        if depth == 0:
            start = i
        depth += token.nesting
        if depth:
            continue
        run = tokens[start : i + 1]
        kind = {"heading_open": run[0].tag, "math_block": "formula"}.get(
            run[0].type, run[0].type.removesuffix("_open")
        )
        for part in _items(run) if kind.endswith("_list") else [run]:
            first, last = part[0].map or run[0].map
            text = "".join(lines[first:last]).strip()
            page_form = OWN_LINK.sub(r"\1", READER.renderer.render(part, READER.options, {}))
            if kind == "html_block":
                page_form = alive.set_in_html(page_form)
            found.append(Block(kind, text, page_form, _length(kind, text)))
    return found


def _items(run):
    """A list's tokens as those of lists of one item each; a numbered one goes on counting."""
    items, start = [], 0
    for i, token in enumerate(run):
        if token.type == "list_item_open" and token.level == 1:
            start = i
        if token.type == "list_item_close" and token.level == 1:
            opening = run[0].copy(map=run[start].map, attrs=dict(run[0].attrs))
            if run[0].type == "ordered_list_open":
                opening.attrs["start"] = int(run[0].attrs.get("start", 1)) + len(items)
            items.append([opening, *run[start : i + 1], run[-1]])
    return items


def _length(kind, text):
    if kind == "formula":
        return FORMULA
    return len(re.sub(r"\$[^$]+\$", "x", text).split())


# ---- a lesson's slides -------------------------------------------------------------------------------------------


class Deck:
    """The slides of a lesson as they come, in columns, one a section."""

    def __init__(self):
        self.columns: list[list[Slide]] = [[]]
        self.section = ""  # the heading of the slides to come
        self.asked = {}  # by name: the questions so far
        self.lead = []  # the notes that lead to what comes next: the slide with the note, and the block

    def add(self, kind, body, *, cell, heading=None, words=0):
        """A slide more; below the section's heading where it has none of its own."""
        slide = Slide(kind, self.section if heading is None else heading, list(body), cell, words=words)
        self.columns[-1].append(slide)
        return slide

    def note(self, text):
        """What is not on a slide goes into the notes of the one before it, which is returned."""
        if last := next((column[-1] for column in reversed(self.columns) if column), None):
            last.notes.append(text)
        return last

    def led(self):
        """The blocks that lead to what comes next, or the last ones of them; they are no notes any more."""
        blocks = []
        while self.lead and self.lead[-1][1].words + sum(block.words for block in blocks) <= WHOLE:
            slide, block = self.lead.pop()
            slide.notes.remove(block.html)
            blocks.insert(0, block)
        self.lead = []
        return blocks


def slides(notebook) -> list[list[Slide]]:
    """The slides of a lesson that has been run by `build_site.run`, a list a section."""
    deck = Deck()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            _text(deck, cell)
        elif cell.cell_type == "code" and cell.id not in NOT_SHOWN:
            _results(deck, cell)
    kept = [[one for one in column if one.body] for column in deck.columns]
    return [column for column in kept if column]


def _text(deck, cell):
    """The slides of a cell's text. `slide` is the one that takes what follows, as long as there is room."""
    slide, deck.lead = None, []
    for block in blocks(build_site.NOT_HERE.sub("", cell.source)):
        leads, deck.lead = deck.lead, []
        room = WHOLE if slide and slide.kind == "exercise" else WORDS
        if block.kind == "fold":
            _fold(deck, cell, block)
            slide = None
        elif new := _opened(deck, cell, block):
            slide = new
        elif slide and (slide.words + block.words <= room or not slide.words):
            slide.body.append(block.html)
            slide.words += block.words
        elif slide and block.kind.endswith("_list"):  # it goes on
            slide = deck.add(slide.kind, [block.html], cell=cell.id, heading=slide.heading, words=block.words)
        elif block.kind in ("formula", "table", "blockquote"):
            deck.lead = leads[-1:]
            both = [*deck.led(), block]
            slide = deck.add("text", [each.html for each in both], cell=cell.id, words=sum(b.words for b in both))
        else:
            slide = None
            if noted := deck.note(block.html):
                deck.lead = [*leads, (noted, block)]


def _opened(deck, cell, block):
    """The slide that a heading begins, or a paragraph with a heading run in; else None."""
    if block.kind == "h1":
        return deck.add("title", [block.html], cell=cell.id, heading="")
    if block.kind in ("h2", "h3"):
        heading = READER.renderInline(re.sub(r"\s{3,}", " · ", re.sub(r"^#+\s*", "", block.source)))
        if block.kind == "h2":
            deck.columns.append([])
            deck.section = heading
        kind = "exercise" if handouts.EXERCISE.match(block.source) else "text"
        return deck.add(kind, [], cell=cell.id, heading=heading)
    if cell.id != "title" and block.kind == "paragraph" and (run_in := RUN_IN.match(block.source)):
        head, rest = run_in["head"].rstrip(".:"), block.source[run_in.end() :].strip()
        if rest[:1].islower():  # "**Play** with two arrows": it is the rest of the sentence
            rest = block.source
        body = [as_html(rest)] if rest else []
        return deck.add("text", body, cell=cell.id, heading=READER.renderInline(head), words=block.words)
    return None


def _fold(deck, cell, block):
    """What is folded in the lesson: the aims and the questions are slides, help with exercises is left out."""
    if block.source.startswith(OBJECTIVES):
        deck.add("text", [block.html], cell=cell.id, heading=block.source.partition(",")[0])
    elif handouts.QUESTION.match(block.source):
        question = f'<p class="ask">{alive.set_in_html(block.source)}</p>'
        answer = f'<div class="fragment">{block.html}</div>'
        deck.add("recall", [question, answer], cell=cell.id, heading="To recall")
    elif not handouts.is_help(cell, block.source):
        deck.note(f"<h4>{alive.set_in_html(block.source)}</h4>{block.html}")


# ---- results -----------------------------------------------------------------------------------------------------


def _results(deck, cell):
    """The slides of what a cell shows, with the text that leads there. What it prints is a result where it was asked
    for, and else a note."""
    outputs = [output for output in build_site._joined(cell.outputs) if output.output_type != "error"]
    asks = any("xlib-predict" in _page(output) for output in outputs)
    column, at = deck.columns[-1], len(deck.columns[-1])
    for output in outputs:
        text = _page(output)
        if told := DATA.search(text):
            _question(deck, cell, json.loads(html.unescape(told["told"])))
        elif output.output_type == "stream":
            printed = f"<pre>{html.escape(strip_ansi(output.text.strip()))}</pre>"
            if not asks:
                deck.note(printed)
            elif len(column) > at and column[-1].kind == "result" and len(printed) <= 160 and _has_room(column[-1]):
                column[-1].body.append(printed)  # a line or two below its table
            else:
                deck.add("result", [printed], cell=cell.id)
        elif 'class="xlib-kernelless"' in text:
            deck.add("alive", [f'<div class="alive" data-prevent-swipe>{text}</div>'], cell=cell.id)
        elif "image/png" in output.data or "image/jpeg" in output.data:
            deck.add("figure", [build_site._output(output)], cell=cell.id)
        elif 'class="xlib-claims"' in text:
            count = BeautifulSoup(text, "html.parser").summary.text
            deck.add("claims", [f'<p class="ask">{html.escape(count)}</p>'], cell=cell.id)
        elif 'class="xlib-table"' in text:
            for part in _tables(text):
                deck.add("result", [part], cell=cell.id)
    if len(column) > at and (lead := deck.led()):
        text = "".join(block.html for block in lead)
        if not _has_room(column[at]) or sum(block.words for block in lead) > ABOVE:
            column.insert(at, Slide("text", deck.section, [text], cell.id))
        else:
            column[at].body.insert(0, f'<div class="lead">{text}</div>')


def _has_room(slide):
    """Whether a slide has room for more than its result: a panel or a long table needs all of it."""
    return slide.kind != "alive" and "".join(slide.body).count("<tr") <= FEW


def _page(output):
    return output.get("data", {}).get("text/html", "")


def _question(deck, cell, told):
    """A question with what there is to choose from, or its answer."""
    if asked := told.get("asked"):
        deck.asked[asked["name"]] = asked["question"]
        body = [f'<p class="ask">{html.escape(asked["question"])}</p>']
        if choices := asked.get("choices"):
            items = "".join(f"<li>{html.escape(choice)}</li>" for choice in choices)
            body.append(f'<ol class="choices">{items}</ol>')
        elif slider := asked.get("slider"):
            body.append(f'<p class="range">from {slider[0]:g} to {slider[1]:g}</p>'.replace("-", "−"))
        elif unit := asked.get("unit"):
            body.append(f'<p class="range">a number of {html.escape(unit)}</p>')
        deck.add("question", body, cell=cell.id, heading="Predict")
    elif truth := told.get("truth"):
        body = [
            f'<p class="again">{html.escape(deck.asked.get(truth["name"], ""))}</p>',
            f'<p class="ask">{html.escape(truth["truth"]["text"])}</p>',
            f"<p>{html.escape(truth['words'])}</p>",
        ]
        deck.add("answer", body, cell=cell.id, heading="What it shows")


def _tables(text):
    """The table of an output, unfolded; one with more rows than a slide holds, as several."""
    region = BeautifulSoup(text, "html.parser").select_one("div.xlib-table")
    for name in ("role", "tabindex", "aria-label", "data-lm-suppress-shortcuts"):  # nothing to scroll here
        del region[name]
    rows = [row.extract() for row in region.select("tbody > tr")]
    count = -(-len(rows) // ROWS)
    for part in range(count):
        body = region.select_one("tbody")
        body.clear()
        body.extend(rows[len(rows) * part // count : len(rows) * (part + 1) // count])
        yield str(region)


# ---- the file ----------------------------------------------------------------------------------------------------


def document(notebook, name: str) -> str:
    """A lesson's slides as one page of HTML that loads nothing."""
    columns = slides(notebook)
    inside = "\n".join(f"<section>{''.join(map(_section, column))}</section>" for column in columns)
    inside = build_site.LESSON_PICTURE.sub(_picture, inside)
    kinds = [kind for kind in build_site.FACES if f'data-kind="{kind}"' in inside]
    faces = [build_site.FACES[kind] for kind in kinds]
    sheets = [_of_reveal("dist/reveal.css"), TABLE, *map(page.stylesheet, faces), _ours("slides.css")]
    scripts = [_of_reveal("dist/reveal.js"), _of_reveal("plugin/notes/notes.js"), _ours("slides.js")]
    scripts += [page.script(face, kind) for kind, face in zip(kinds, faces, strict=True)]
    title = BeautifulSoup(columns[0][0].body[0], "html.parser").text.strip() or name
    return f"""<!doctype html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{"".join(sheets)}</style>
</head>
<body>
<main class="reveal">
<div class="slides">
{inside}
</div>
</main>
{"".join(f"<script>{_inline(script)}</script>" for script in scripts)}
</body>
</html>
"""


def _section(slide):
    heading = f"<h2>{slide.heading}</h2>" if slide.heading else ""
    notes = "".join([f"<p>Cell <code>{html.escape(slide.cell)}</code></p>", *slide.notes])
    return (
        f'<section class="{slide.kind}">{heading}<div class="body">{"".join(slide.body)}</div>'
        f'<aside class="notes">{notes}</aside></section>\n'
    )


def _picture(match):
    """A lesson's own picture, in the page."""
    path = ROOT / "notebooks" / match[1]
    kind = mimetypes.guess_type(path.name)[0] or "image/webp"
    return f'src="data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"'


def _of_reveal(name):
    """A file of reveal.js. Its style is for its own controls and progress bar, and not for those within panels."""
    return re.sub(r"\.reveal \.(?=controls|progress)", ".reveal > .", (REVEAL / name).read_text("utf-8"))


def _ours(name):
    return (LOOK / name).read_text("utf-8")


def _inline(script):
    """A script that holds HTML in its strings must not end its element, nor begin a comment."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def write(path: Path, out: Path, done=None) -> Path:
    """Run the lesson at `path` and write its slides into `out`, all of the file or nothing. Returns the file."""
    text = document(build_site.run(path, done), path.stem)
    out.mkdir(parents=True, exist_ok=True)
    with written_whole(out / f"{path.stem}.html") as beside:
        beside.write_text(text, "utf-8")
    return out / f"{path.stem}.html"


def main(arguments: list[str]) -> None:
    names = handouts.named(arguments, "Run the lessons and write their main lines as slides.", ROOT)
    lab.prepare(ROOT / ".jupyter", os.environ)
    for name in names:
        lesson = ROOT / "notebooks" / f"{name}.ipynb"
        count = len(build_site._code_cells(nbformat.read(lesson, as_version=4)))
        with tqdm(total=count, unit="cell", desc=name) as bar:
            try:
                path = write(lesson, ROOT / "slides", bar.update)
            except Exception as error:  # a lesson may fail in any way
                sys.exit(f"{name} failed, and its slides stay as they were: {error}")
        print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a Windows console may not know every letter of a folder's name
    main(sys.argv[1:])
