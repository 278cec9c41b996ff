"""tqdm, for notebooks that are read again: a bar that leaves no widget behind."""

import html
import io
import sys

from tqdm import std

NOTHING = {"text/plain": ""}  # an output that takes no room


class tqdm(std.tqdm):
    """tqdm's bar, with all its arguments. In a Jupyter kernel it is HTML, in one output that each refresh replaces
    and that is empty after `leave=False`: tqdm's own is a widget there, and a widget is an error message in a
    notebook that is opened without its kernel. Elsewhere it is tqdm's text on stderr.

    Example:
        >>> [step for step in tqdm(range(3), desc="training", leave=False)]
        [0, 1, 2]
    """

    _display = _output = None  # IPython's function, in a kernel; and the output, once there is one

    def __init__(self, *args, **kwargs):
        ipython = sys.modules.get("IPython")  # loaded, where this is a kernel: nobody else need have it
        if ipython and hasattr(ipython.get_ipython(), "kernel") and kwargs.get("file") is None:
            self._display = ipython.display.display
            kwargs["file"] = io.StringIO()  # what else tqdm writes, to move a terminal's cursor
        super().__init__(*args, **kwargs)

    def display(self, msg=None, pos=None):
        if self._display is None:
            return super().display(msg, pos)
        if msg != "":  # which would clear a terminal's line: see `close`
            words = msg or self.format_meter(**self.format_dict | {"ncols": 0})  # 0: without a bar made of letters
            bar = f'<progress max="{self.total}" value="{self.n}"></progress> ' if self.total else ""
            self._show({"text/html": f"<div>{bar}{html.escape(words)}</div>", "text/plain": words})
        return True

    def close(self):
        super().close()
        if self._output and not self.leave:
            self._show(NOTHING)
            self._output = None

    def _show(self, bundle):
        if self._output:
            self._output.update(bundle, raw=True)
        else:
            self._output = self._display(bundle, raw=True, display_id=True)
