"""A widget's picture, for where the widget cannot live: a notebook opened without its kernel, GitHub, print."""

import asyncio
import base64
import contextlib
import gc
import html
import io
import weakref

import resvg_py
from IPython import get_ipython
from IPython.display import display
from matplotlib import get_data_path

FONTS = [f"{get_data_path()}/fonts/ttf/DejaVuSans{bold}.ttf" for bold in ("", "-Bold")]  # on any machine
REST = 3  # seconds without a change, after which the picture is drawn again
# Written into each still, for its widget N alone. Each view of it that lives has the class xlib-live-N: while there
# is one, the still is hidden; while there is none, so is JupyterLab's "Error displaying widget: model not found",
# which comes next. An error in the widget's own code is seen.
STYLE = """<style>
body:has(.xlib-live-N) :is(.xlib-still-N, .jp-OutputArea-child:has(.xlib-still-N):not(:has(.xlib-live-N))),
.jp-OutputArea-child:has(.xlib-still-N):not(:has(.xlib-live-N))
+ .jp-OutputArea-child:not(:has(.xlib-live-N, .jupyter-widgets-error-widget)),
:is(body[data-jp-theme-light="false"], body.vscode-dark, html[theme="dark"]) .xlib-still-N > img
{ display: none; }
:is(body[data-jp-theme-light="false"], body.vscode-dark, html[theme="dark"]) .xlib-still-N > [hidden]
{ display: block !important; }
</style>"""
RUNS = {}  # of each cell that has made or shown widgets: the message that ran it last, and the stills of that run


class Still:
    """The still pictures of one widget, wherever it is displayed.

    A cell that runs again has lost its outputs: what it made or showed before is closed, which gives the memory back,
    unless another cell shows it, or a box or a list holds it. (One that was displayed into an Output widget counts as
    shown by the cell that did so.) Nothing is lost: displayed again, the widget is open again.

    draw: draw(dark) gives the picture for a light or a dark page: a PIL image, or SVG as a str, or nothing where it
    cannot be drawn. What it shows in words is the widget's `alt_text`. follow: the names of the widget's traits that
    it depends on.
    """

    def __init__(self, widget, draw, follow):
        self.widget, self.draw, self.outputs, self.timer = widget, draw, [], None
        self.cells = set()  # that have made or shown the widget
        widget.add_class(f"xlib-live-{widget.model_id}")
        widget.observe(self._wait, follow)
        widget.observe(self._rest, "comm")
        self._belong()

    def show(self):
        """Display the widget: an output with the picture and one with the living widget, of which one is seen."""
        self._belong()
        self.widget.open()  # if it was closed
        pictures = self._pictures()
        if all(pictures):
            data, metadata = self._bundle(pictures)
            self.outputs.append(display(data, metadata=metadata, raw=True, display_id=True))
        live = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        display({"application/vnd.jupyter.widget-view+json": live, "text/plain": ""}, raw=True)

    def _belong(self):
        """To the cell that is running, and close what belonged to an earlier run of it alone."""
        parent = getattr(get_ipython(), "get_parent", dict)() or {}
        cell = parent.get("metadata", {}).get("cellId")
        if not cell:  # outside a notebook, or in one that does not say
            return
        run, stills = parent["header"]["msg_id"], RUNS.get(cell, ("", ()))
        if stills[0] != run:
            RUNS[cell] = run, weakref.WeakSet()
            for still in stills[1]:
                still.cells.discard(cell)
                if still is not self and not still.cells and not _held(still.widget):
                    still.widget.close()
                    _forget(still.widget)
        RUNS[cell][1].add(self)
        self.cells.add(cell)

    def _rest(self, change):
        if self.timer:
            self.timer.cancel()

    def _wait(self, change):
        if not self.outputs:
            return
        self._rest(change)
        with contextlib.suppress(RuntimeError):  # without a loop, as in a script, nobody looks
            self.timer = asyncio.get_running_loop().call_later(REST, self._redraw)

    def _redraw(self):
        pictures = self._pictures()
        if all(pictures):  # or else the last one stays
            data, metadata = self._bundle(pictures)
            for output in self.outputs:
                output.update(data, metadata=metadata, raw=True)

    def _pictures(self):
        return [self.draw(dark) for dark in (False, True)]

    def _bundle(self, pictures):
        alt = self.widget.alt_text
        light, dark = (_address(picture) for picture in pictures)
        name, words = f"xlib-still-{self.widget.model_id}", html.escape(alt)
        # A notebook that is not trusted is shown without STYLE and `hidden`, but with each element's own style: there
        # the light picture is seen, whatever the theme.
        look = "max-width: 100%; background: {}"
        text = (
            f'{STYLE.replace("-N", f"-{self.widget.model_id}")}<div class="xlib-still {name}">'
            f'<img style="{look.format("white")}" alt="{words}" src="{light}">'
            f'<div hidden style="display: none"><img style="{look.format("#111")}" alt="{words}" src="{dark}"></div>'
            "<p>Run this cell to bring it alive.</p></div>"
        )
        png = base64.b64encode(_png(pictures[0])).decode()
        return {"text/html": text, "image/png": png, "text/plain": alt}, {"image/png": {"alt": alt}}


def _held(widget):
    """Whether it may be seen by way of another widget: boxes keep what is in them, and links their ends, in tuples,
    those of some libraries in lists."""
    return any(type(holder) in (tuple, list) for holder in gc.get_referrers(widget))


def _forget(widget):
    """Take it out of IPython's history of outputs (Out[3], _3, _), which would hold it until the kernel ends."""
    shell = get_ipython()
    for names in (shell.user_ns, shell.user_ns_hidden, shell.user_ns["_oh"], vars(shell.displayhook)):
        for name in [name for name, value in names.items() if value is widget and not str(name).strip("_0123456789")]:
            names[name] = None


def _address(picture):
    kind, content = ("svg+xml", picture.encode()) if isinstance(picture, str) else ("webp", _saved(picture, "WEBP"))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _png(picture):
    """For GitHub and print. 128 colours are enough to read it by, and half the bytes."""
    if isinstance(picture, str):
        return resvg_py.svg_to_bytes(svg_string=picture, font_files=FONTS)
    return _saved(picture.quantize(128), "PNG")


def _saved(picture, kind):
    out = io.BytesIO()
    picture.save(out, kind, quality=70, method=2)
    return out.getvalue()
