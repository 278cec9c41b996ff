"""Our Sphinx extension: formulas as MathML, anchors, launch buttons, what makes explorers and panels live, the policy
that keeps a page from loading anything but the site's own files, and what other sites show of a link."""

import html
import os
import re
import shutil
from pathlib import Path

import pages
import sync_links
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.transforms import SphinxTransform

# Nothing but the site's own files can run or be loaded.
POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; font-src 'self'; media-src data:"
)
MARK = '<meta name="generator" content="xlib tools/build_site.py" />'  # without it, a folder is not ours to replace
KINDS = ("explorer", "panel", "pad")
# It may be shown at any depth, so it needs no file beside itself.
NOT_FOUND = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>No such page · xlib</title>
<style>
:root {{ color-scheme: light dark; font: 1.1rem/1.6 system-ui, sans-serif; }}
body {{ background: Canvas; color: CanvasText; }}
a {{ color: LinkText; }}
main {{ max-width: 32rem; margin: 20vh auto; padding: 0 1.5rem; }}
</style>
</head>
<body>
<main>
<h1>No such page</h1>
<p>There is nothing at this address. The lessons are listed on <a href="{home}">the first page</a>.</p>
</main>
</body>
</html>
"""
# Of what Sphinx and the theme write: no icons from a font or a script of 1.5 MB (site.css draws them), and nothing
# that only other programs read.
LEFT_OUT = (
    *("_static/scripts/fontawesome*", "_static/vendor", "_static/**/*.map", "_static/scripts/*.LICENSE.txt"),
    *("_static/*webpack-macros.html", "_static/locales", "_sources", ".buildinfo", "objects.inv"),
)
PATCHES = {
    "html": [
        (r"<script[^>]*fontawesome[^>]*></script>|<!-- So that users can add custom icons -->", ""),
        (
            r'<div id="pst-primary-sidebar"',
            r'<div role="complementary" aria-label="The site" id="pst-primary-sidebar"',
        ),
        # An argument a line is no list of definitions, and has no terms.
        (r'<dd>(<em class="sig-param">.*)</dd>', r'<div class="sig-line">\1</div>'),
        (r'<dl>\s*((?:<div class="sig-line">.*</div>\s*)+)</dl>', r"<div>\1</div>"),
        (r' data-bs-toggle="tooltip"', ""),  # it covers the menu, and lies outside of all landmarks: titles do
        (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Its pages">'),
        (r'<th class="head[^"]*"><p></p></th>', "<td></td>"),  # a heading that says nothing is none
    ],
    "css": [(r"@font-face\s*{[^}]*fontawesome[^}]*}", ""), (r'(\.fa-[\w-]+,?)+{--fa:"[^"]*"[^}]*}', "")],
}
# Scripts that would hold up the first paint, and are not needed for it. The search page's own depend on their order.
DEFERRED = (r'<script (?=src="[./]*_static/(?!documentation_options)[^"]*\?v=)', "<script defer ")
MATH_IN_HTML = re.compile(r"<(code|pre)\b.*?</\1>|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$", re.S)


def address() -> str | None:
    """Where GitHub Pages puts the site, ending in a slash; None until the course is published."""
    if not sync_links.published():
        return None
    owner, name = sync_links.repository().split("/")[3:5]
    return f"https://{owner.lower()}.github.io/{name}/"


def slug(title: str) -> str:
    """A heading's anchor."""
    return re.sub(r"\W+", "-", title).strip("-").lower() or "part"


# ---- formulas ----------------------------------------------------------------------------------------------------


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


def set_in_html(text: str) -> str:
    """HTML with the formulas between its dollars set, outside code."""

    def found(match):
        if match["block"]:
            return mathml(html.unescape(match["block"]), "block")
        return mathml(html.unescape(match["inline"]), "inline") if match["inline"] else match[0]

    return MATH_IN_HTML.sub(found, text)


def _inline(self, node):
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self, node):
    self.body.append(mathml(node.astext(), "block"))
    raise nodes.SkipNode


# ---- what Markdown becomes ----------------------------------------------------------------------------------------


class Anchors(SphinxTransform):
    """Each section is found under its title, as `slug` writes it; the second one of a name gets a number."""

    default_priority = 15

    def apply(self):
        taken, slugs = set(), self.env.metadata[self.env.docname].get("myst_slugs", {})
        for section in self.document.findall(nodes.section):
            base, again = slug(section.next_node(nodes.title).astext()), 0
            while (name := f"{base}-{again}" if again else base) in taken:
                again += 1
            taken.add(name)
            section["ids"] = [name]
            self.document.ids[name] = section
            if name in slugs:  # where MyST's links go: (line, id, title)
                slugs[name] = (slugs[name][0], name, slugs[name][2])


class Formulas(SphinxTransform):
    """In HTML that stands in Markdown, such as <details>, formulas are set as well; outputs are left alone."""

    default_priority = 20

    def apply(self):
        for node in self.document.findall(nodes.raw):
            if "html" in node.get("format", "") and not _in_output(node):
                node[:] = [nodes.Text(set_in_html(node.astext()))]


def _in_output(node):
    while node := node.parent:
        if "cell_output" in node.get("classes", ()):
            return True
    return False


class Links(SphinxTransform):
    """A link to a file of the repository leads to its page where there is one, else to the repository."""

    default_priority = 30

    def apply(self):
        lesson = self.env.docname in sync_links.LESSONS or str(self.document.get("source", "")).endswith(".ipynb")
        for node in list(self.document.findall(lambda node: "reftarget" in getattr(node, "attributes", ()))):
            path, _, anchor = node["reftarget"].partition("#")
            if node.get("refdomain") == "doc" or not path or re.match(r"[a-z]+:", path):
                continue
            target = os.path.normpath(os.path.join("notebooks" if lesson else "", path)).replace(os.sep, "/")
            if (page := pages.MADE_OF.get(target)) in self.env.found_docs:
                node["refdomain"], node["reftarget"], node["reftargetid"] = "doc", page, anchor or None
                continue
            if (alive := Path(target)).suffix not in (".ipynb", ".md", ".py", ".json") or alive.is_absolute():
                continue
            inner = node.next_node(nodes.inline) or nodes.inline("", node.astext())
            if sync_links.published():
                uri = f"{sync_links.repository()}/blob/main/{target}" + (f"#{anchor}" if anchor else "")
                node.replace_self(nodes.reference("", "", *inner.children, refuri=uri, internal=False))
            else:
                node.replace_self(inner)


# ---- what stands around a page ------------------------------------------------------------------------------------


def _around(app, pagename, templatename, context, doctree):
    body = context.get("body", "")
    context["kinds"] = [kind for kind in KINDS if f'data-kind="{kind}"' in body]
    context["launch"] = sync_links.launch_links(pagename) if pagename in app.config.lessons else {}
    context["published"] = sync_links.published()
    paragraph = doctree and next(iter(doctree.findall(_is_prose)), None)
    words = " ".join(paragraph.astext().split()) if paragraph else "An interactive course on embeddings."
    about = html.escape(words if len(words) <= 200 else words[:200].rsplit(" ", 1)[0] + " …")
    title = html.escape(html.unescape(re.sub("<[^>]*>", "", context.get("title", "xlib"))))
    tags = [
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}" />',
        MARK,
        '<link rel="icon" href="data:," />',
        f'<meta name="description" content="{about}" />',
        f'<meta property="og:title" content="{title}" />',
        f'<meta property="og:description" content="{about}" />',
        '<meta property="og:type" content="article" />',
        '<meta property="og:site_name" content="xlib" />',
    ]
    if base := address():
        tags += [
            f'<link rel="canonical" href="{base}{pagename}.html" />',
            f'<meta property="og:url" content="{base}{pagename}.html" />',
            f'<meta property="og:image" content="{base}_static/preview.png" />',
            '<meta name="twitter:card" content="summary_large_image" />',
        ]
    context["metatags"] = "\n".join(tags) + context.get("metatags", "")


def _is_prose(node):
    return isinstance(node, nodes.paragraph) and len(node.astext()) > 40


def patch(folder: Path) -> None:
    """Change in a site what Sphinx and the theme have no setting for."""
    for pattern in LEFT_OUT:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for ending, patches in PATCHES.items():
        for path in folder.rglob(f"*.{ending}"):
            text = path.read_text("utf-8")
            for pattern, replacement in [*patches, DEFERRED] if path.name != "search.html" else patches:
                text = re.sub(pattern, replacement, text)
            path.write_text(text, "utf-8")


def around_the_pages(names: list[str]) -> dict[str, str]:
    """The further files of a site with these pages: what a wrong address gets, and what search engines ask for. The
    latter name whole addresses, and so are left out until the course has one."""
    base = address()
    found = {"404.html": NOT_FOUND.format(policy=POLICY, home=base or "index.html")}
    if base:
        urls = "".join(f"<url><loc>{base}{name}</loc></url>\n" for name in names if name != "search.html")
        found["sitemap.xml"] = (
            '<?xml version="1.0" encoding="utf-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n'
        )
        found["robots.txt"] = f"User-agent: *\nAllow: /\nSitemap: {base}sitemap.xml\n"
    return found


def setup(app):
    app.add_config_value("lessons", [], "html")
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    for transform in (Anchors, Formulas, Links):
        app.add_transform(transform)
    app.connect("html-page-context", _around)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
