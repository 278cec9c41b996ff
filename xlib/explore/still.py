"""A widget's picture, for where the widget cannot live: a notebook opened without its kernel, GitHub, print."""

import asyncio
import base64
import contextlib
import html
import io

import resvg_py
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


class Still:
    """The still pictures of one widget, wherever it is displayed.

    draw: draw(dark) gives the picture for a light or a dark page: a PIL image, or SVG as a str, or nothing where it
    cannot be drawn. What it shows in words is the widget's `alt_text`. follow: the names of the widget's traits that
    it depends on.
    """

    def __init__(self, widget, draw, follow):
        self.widget, self.draw, self.outputs, self.timer = widget, draw, [], None
        widget.add_class(f"xlib-live-{widget.model_id}")
        widget.observe(self._wait, follow)

    def show(self):
        """Display the widget: an output with the picture and one with the living widget, of which one is seen."""
        pictures = self._pictures()
        if all(pictures):
            data, metadata = self._bundle(pictures)
            self.outputs.append(display(data, metadata=metadata, raw=True, display_id=True))
        live = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        display({"application/vnd.jupyter.widget-view+json": live, "text/plain": ""}, raw=True)

    def _wait(self, change):
        if not self.outputs:
            return
        if self.timer:
            self.timer.cancel()
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
