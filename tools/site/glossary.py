"""The glossary's page, and the links to it: the first use of each of its words in a lesson leads to the word."""

import html
import re
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"
LINE = re.compile(r"^- \*\*(.+?)\*\* \((\d\d)\): (.+)$", re.M)
USE = re.compile(r'<a class="xlib-term" id="use-([\w-]+)"')
# What is no prose, in Markdown as the lessons write it: code, formulas, links, headings, summaries and tags.
NO_PROSE = re.compile(
    r"^(?P<fence>```+|~~~+).*?^(?P=fence)|^#{1,6} [^\n]*|^\*\*(?:Time on a laptop CPU|Launch):\*\*[^\n]*"
    r"|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)|\$\$.+?\$\$|(?<![\\$])\$(?=\S)[^$\n]+?(?<=\S)\$"
    r"|\\begin\{(?P<env>\w+\*?)\}.*?\\end\{(?P=env)\}|!?\[(?:[^\[\]]|\[[^\]]*\])*\](?:\([^)]*\)|\[[^\]]*\])"
    r"|<(?P<tag>a|code|pre|script|style|summary|h[1-6])\b.*?</(?P=tag)>|<!--.*?-->|</?\w[^>]*>|https?://\S+",
    re.S | re.M,
)
ADJECTIVES = ("negative",)  # in the singular they mostly mean something else
LAST = "**Further reading**"  # behind it stand the titles of other people's works


class Term(NamedTuple):
    """A word of the glossary, the number of the lesson that explains it, and what it means, as Markdown."""

    word: str
    lesson: str
    meaning: str

    @property
    def key(self) -> str:
        return re.sub(r"\W+", "-", self.word).strip("-")

    @property
    def anchor(self) -> str:
        return f"term-{self.key}"

    @property
    def words(self) -> str:
        """The meaning without Markdown, for a tooltip."""
        return re.sub(r"[*`$]", "", self.meaning)


def terms(text: str | None = None) -> list[Term]:
    """The words of docs/glossary.md, or of a text like it."""
    return [Term(*found) for found in LINE.findall(FILE.read_text("utf-8") if text is None else text)]


def pattern(known: list[Term]) -> re.Pattern:
    """One expression for all words, as singular or plural, the longest first; group i + 1 is known[i]."""
    order = sorted(range(len(known)), key=lambda i: -len(known[i].word))
    parts = []
    for i in order:
        if re.fullmatch(r".*@k", known[i].word):
            stem, ending = re.escape(known[i].word[:-1]), r"\d+(?!\w)"
        else:
            stem = re.escape(known[i].word).replace(r"\ ", r"[\s-]")
            ending = r"(?:e?s)(?![\w-])" if known[i].word in ADJECTIVES else r"(?:e?s)?(?![\w-])"
            if stem.endswith("y"):
                stem = f"{stem[:-1]}(?:y|ies)"
        parts.append(f"(?P<t{i}>{stem}{ending})")
    return re.compile(rf"(?<![\w-])(?:{'|'.join(parts)})", re.I)


def link_terms(notebook, known: list[Term] | None = None, page: str = "glossary.html") -> list[str]:
    """Make the first use of each word in a lesson's prose a link to its place in the glossary, which says what it
    means when it is pointed at. The notebook's Markdown cells are changed; other lessons' words are found, too.

    Returns: the words that are used. Code, formulas, links, headings and the glossary in lesson 00 are left alone.
    """
    known = terms() if known is None else known
    found, left = pattern(known), dict(enumerate(known))

    def linked(match):
        i = int(match.lastgroup[1:])
        if i not in left:
            return match[0]
        term = left.pop(i)
        about = html.escape(term.words)
        return f'<a class="xlib-term" id="use-{term.key}" href="{page}#{term.anchor}" title="{about}">{match[0]}</a>'

    for cell in notebook.cells:
        if cell.cell_type != "markdown" or cell.get("id") == "glossary" or not left:
            continue
        prose, last, rest = cell.source.partition(LAST)
        cell.source = outside(prose, lambda text: found.sub(linked, text)) + last + rest
    return [term.word for term in known if term not in left.values()]


def outside(text: str, change) -> str:
    """Markdown with change(words) in place of its prose."""
    parts, at = [], 0
    for match in NO_PROSE.finditer(text):
        parts += [change(text[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*parts, change(text[at:])])


def page(used: dict[str, set[str]], titles: dict[str, str], text: str | None = None) -> str:
    """The glossary as a page: each word with the lesson that explains it and links to where lessons first use it.

    used: for each lesson of the site, by name, the keys of the words that it links; titles: its title, by name.
    """
    text = FILE.read_text("utf-8") if text is None else text
    lines = ["# Glossary", "", "A word leads here from where a lesson first uses it, and from here back.", ""]
    for line in text.splitlines():
        found = LINE.match(line)
        lines += _entry(Term(*found.groups()), used, titles) if found else [line]
    return "\n".join(lines) + "\n"


def _entry(term, used, titles):
    """The lines of a word: a definition list's item."""

    def to(name, words):
        hash_ = f"#use-{term.key}" if term.key in used.get(name, ()) else ""
        return f'<a href="{html.escape(name)}.html{hash_}" title="{html.escape(titles[name])}">{words}</a>'

    home = next((name for name in titles if name.startswith(f"{term.lesson}_")), None)
    others = [to(name, html.escape(name[:2])) for name in titles if name != home and term.key in used.get(name, ())]
    where = f"explained in {to(home, f'lesson {term.lesson}') if home else f'lesson {term.lesson}'}"
    where += f"; used in {', '.join(others)}" if others else ""
    meaning = f"{term.meaning[:1].upper()}{term.meaning[1:]}"
    return [
        f'<span id="{term.anchor}"></span>**{term.word}**',
        f': {meaning} <span class="xlib-uses">{where}</span>',
        "",
    ]
