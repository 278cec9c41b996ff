"""The notebook widget: an `ExplorerModel` with a face (view.js and more), and a still picture."""

import importlib
import io
import math
import sys
import threading
import time
from pathlib import Path

import anywidget
import numpy as np
import traitlets as T
from PIL import Image

from xlib.explore import inputs, looks, page, static
from xlib.explore.model import ExplorerModel
from xlib.explore.still import Still

HERE = Path(__file__).parent
# The front end's files. They make one module, in this order: what a file uses while it is read stands before it.
PARTS = ("common", "data", "items", "sounds", "map", "card", "curve", "words", "address", "maps", "matrix", "table",
         "lists", "list", "controls", "offline", "view")  # fmt: skip
# Set here, by the front end, or on the model. In this order: what a choice resets stands behind it.
CHOSEN = ("typed", "axis", "projection", "compare", "step", "hover", "selected", "query", "among",
          "listing")  # fmt: skip
DRAWN = ("step", "projection", "axis", "maps")  # what the still picture shows
ANSWERS = ("neighbours", "ranks", "hubs", "asked", "note", "warning", "alt_text")  # made by the model
FOLLOWED = (*CHOSEN, *ANSWERS, "revision")
LANDS = (-32_768, 98_303)  # a typed text's place, no further from the map than half its width
STRIP = 0.04  # of a map's width, for what lies beyond its edge
SHARE = 0.04  # of the time that a training takes, the most that showing it may take


def show_widgets() -> None:
    """On Colab, let widgets be shown that Colab does not know itself; elsewhere there is nothing to do.

    Example:
        >>> "google.colab" in sys.modules
        False
        >>> show_widgets()  # nothing to do
    """
    if "google.colab" in sys.modules:
        importlib.import_module("google.colab.output").enable_custom_widget_manager()


class Explorer(anywidget.AnyWidget):
    """What `explore` returns. `model` is the `ExplorerModel`; its choices and answers are attributes here too.

    Example:
        >>> model = ExplorerModel(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), captions=["cat", "kitten", "car"])
        >>> shown = Explorer(model)
        >>> shown.query, model.selected = "kit", [1]  # set here or there
        >>> shown.matches, shown.selected
        ([1], [1])
    """

    _esm = "".join((HERE / f"{name}.js").read_text("utf-8") for name in PARTS)
    _css = (HERE / "view.css").read_text("utf-8")  # as a file, anywidget would watch it and never let go of a widget

    # Without the echo a step in the browser costs one small message each way.
    step = T.Int(0).tag(sync=True, echo_update=False)
    hover = T.Int(-1).tag(sync=True, echo_update=False)
    selected = T.List(T.Int()).tag(sync=True, echo_update=False)
    query = T.Unicode("").tag(sync=True, echo_update=False)
    among = T.Unicode("").tag(sync=True, echo_update=False)
    listing = T.Unicode("").tag(sync=True, echo_update=False)
    projection = T.Unicode("pca").tag(sync=True, echo_update=False)
    axis = T.List(T.Unicode()).tag(sync=True, echo_update=False)
    compare = T.Unicode("").tag(sync=True, echo_update=False)
    typed = T.Unicode("").tag(sync=True, echo_update=False)
    neighbours = T.List().tag(sync=True)
    ranks = T.List().tag(sync=True)
    hubs = T.List().tag(sync=True)
    asked = T.List().tag(sync=True)
    note = T.Unicode("").tag(sync=True)
    warning = T.Unicode("").tag(sync=True)
    alt_text = T.Unicode("").tag(sync=True)
    computing = T.Unicode("").tag(sync=True)  # what takes long, while it does
    refused = T.Unicode("").tag(sync=True)  # why the last choice was not taken

    # Numbers travel as bytes, not as JSON. Of the items:
    setup = T.Dict().tag(sync=True)
    columns = T.Bytes().tag(sync=True)
    atlas = T.Bytes().tag(sync=True)
    sounds = T.Bytes().tag(sync=True)  # MP3 files, one behind the other
    # of the snapshots, of which there are others while a model is being trained:
    snapshots = T.Dict().tag(sync=True)
    pair_similarity = T.Bytes().tag(sync=True)
    matrix = T.Bytes().tag(sync=True)
    maps = T.Dict().tag(sync=True)  # further ones when they are asked for
    landed = T.Dict().tag(sync=True)  # where the typed text lies on each map
    heard = T.Dict().tag(sync=True)  # and where its sound does
    spoken = T.Bytes().tag(sync=True)  # that sound, an MP3 file
    loss = T.Bytes().tag(sync=True)  # of each step of a training that is followed
    words = T.Bool(True).tag(sync=True)  # whether regions of the map have words, see words.js
    alive = T.Bool(False).tag(sync=True)  # whether a page has shown this explorer

    def __init__(self, model: ExplorerModel):
        show_widgets()
        self.model, self._drawn, self._sent = model, {}, model.revision
        # Where the kernel answers the browser in a thread of its own, it does so while a cell trains too.
        self._lock = threading.RLock()
        self._run, self._waiting, self._spent, self._since = None, [], 0.0, 0.0  # of the training that is followed
        names = CHOSEN + ANSWERS
        values = {name: getattr(model, name) for name in names}
        super().__init__(**_payload(model), **_snapshots(model), **values)
        self._draw_maps()
        self._still = Still(self, self._picture, DRAWN)
        self.observe(self._to_model, CHOSEN)

    def open(self):
        """Be there for a page; after `close` with what has been chosen meanwhile. Displaying it does so."""
        if self.comm is None:
            self.model.observe(self._from_model, FOLLOWED)
            self.model.observe(self._say, "computing")  # at once: the answer is not there yet
            if hasattr(self, "_still"):  # else it is new
                self._from_model(None)
            super().open()

    def close(self):
        """Take it from all pages, and give its memory back if no variable holds it."""
        if self.comm is not None:
            self.model.unobserve(self._from_model, FOLLOWED)
            self.model.unobserve(self._say, "computing")
            self.alive = False
            super().close()

    def _say(self, change):
        self.computing = self.model.computing

    @property
    def matches(self):
        """Rows whose captions hold the query."""
        return self.model.matches

    def set_state(self, sync_data):
        with self._lock:
            super().set_state(sync_data)

    def _to_model(self, change):
        model = self.model
        chosen = {name: getattr(self, name) for name in CHOSEN if getattr(self, name) != getattr(model, name)}
        if not chosen:  # it is the model that has changed
            return
        kept = {name: getattr(model, name) for name in ("typed_vector", "spoken", "heard_vector")}
        kept["layouts"] = dict(model.layouts)
        refused = ""
        try:
            # The browser may send several at once: all or none. What takes long is said before: within the hold
            # nobody would hear of it.
            with model.saying(model.long_work(chosen)), model.hold_trait_notifications():
                for name, value in chosen.items():
                    setattr(model, name, value)
        except T.TraitError as error:
            for name, value in kept.items():
                setattr(model, name, value)
            refused = str(error)
            raise
        finally:
            with self.hold_sync():
                if refused or list(chosen) != ["hover"]:  # a pointer passing by does not make it unsaid
                    self.refused = refused
                self._from_model(change)  # the model may have clipped or refused

    def _from_model(self, change):
        # One message for all that changed, and nothing goes back to the model before all of it is here.
        with self.hold_sync(), self.hold_trait_notifications():
            if self._sent != self.model.revision:
                self._sent = self.model.revision
                for name, value in _snapshots(self.model).items():
                    setattr(self, name, value)
            for name in CHOSEN + ANSWERS:
                setattr(self, name, getattr(self.model, name))
            self._draw_maps()

    def _draw_maps(self):
        """Send what layouts are new, as 16-bit numbers; one scale for both axes keeps distances comparable."""
        layouts = self.model.layouts
        if any(self._drawn.get(name) is not layout for name, layout in layouts.items()):
            self._drawn = dict(layouts)
            self.maps = {name: _quantised(layout, _shown(self.model)) for name, layout in layouts.items()}
        self.landed = _landing(layouts, self.model.typed_vector)
        self.heard = _landing(layouts, self.model.heard_vector)
        self.spoken = self.model.spoken

    def follow(self, run):
        """Show how a training goes, while it goes: `training.fit(..., snapshot=..., live=explorer.follow)` calls this
        after each snapshot. The items move to where they are now, and the loss is drawn beneath the map; `finish` is
        for when the training has ended. run: has `snapshots`, a list of (step, (N, d)) pairs, and `curve()`, the loss
        of each step.

        Where no page shows the explorer nothing is drawn, nor where drawing would take more than a 25th of the time.

        Example:
            >>> from types import SimpleNamespace
            >>> before, after = np.eye(3), np.array([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.0, 0.0, 1.0]])
            >>> shown = Explorer(ExplorerModel(before, captions=["cat", "kitten", "car"]))
            >>> shown.follow(SimpleNamespace(snapshots=[(0, before), (10, after)], curve=lambda: [0.5] * 10))
            >>> shown.finish(), shown.model.steps
            (None, [0, 10])
        """
        start = time.perf_counter()
        if run is not self._run:
            self._run, self._waiting, self._spent, self._since = run, list(run.snapshots), 0.0, start
        else:
            self._waiting.append(run.snapshots[-1])
        if self.alive and self._spent <= SHARE * (start - self._since):
            self._catch_up()
            self._spent += time.perf_counter() - start

    def finish(self):
        """After a training that was followed: one map for all its snapshots, and the slider goes through them."""
        self._catch_up()
        with self._lock:
            self.model.finish()

    def _catch_up(self):
        """Take up the snapshots that are waiting, and send the last of them."""
        with self._lock, self.hold_sync():
            with self.model.hold_trait_notifications():  # one answer for all of them
                while self._waiting:
                    snapshot = self._waiting.pop(0)
                    self.model.append(*snapshot, drawn=not self._waiting)
            if self._run is not None:
                self.loss = np.array(self._run.curve(), "<f4").tobytes()

    def to_html(self, path, *, pad=None):
        """Write this explorer as one file that works without a kernel and without a network. Its maps are those that
        have been shown here; it lists neighbours at the last snapshot. pad: a drawing pad (`explore.pad`), which
        stands beneath it, with its encoders' weights."""
        page.write(path, self, pad)

    def _ipython_display_(self):
        self._still.show()

    def _picture(self, dark):
        return static.picture(self.model, dark=dark)


def scaled(layout, xy):
    """Places as numbers from 0 to 65,535, with one scale for both axes unless these are different things. Where items
    lie beyond the box there is a strip around it, with them on its rim."""
    low, high = layout.box.astype(np.float64)
    spans = high - low if layout.free else np.full(2, (high - low).max())
    strip = STRIP if layout.cut else 0
    return ((xy - low) / np.maximum(spans, 1e-300) * (1 - 2 * strip) + strip) * 65535


def _landing(layouts, vector):
    """{name: [x, y]} where a vector (d,) that is no item lies on each map; nothing for None."""
    places = {} if vector is None else {name: layout.place(vector) for name, layout in layouts.items()}
    return {name: scaled(layouts[name], xy).clip(*LANDS).tolist() for name, xy in places.items()}


def _quantised(layout, shown):
    steps = range(len(layout.frames))[shown]
    frames = scaled(layout, layout.frames[shown]).clip(0, 65535).round().astype("<u2").tobytes()
    far = [np.flatnonzero(layout.far(t)).tolist() for t in steps]
    return {"axes": layout.axes, "free": layout.free, "far": far, "frames": frames}


def _shown(model):
    """The snapshots that the browser knows: all, but while a model is being trained only the last and the one before,
    so that a message costs as little at its end as at its start."""
    return slice(-2 if model.live else None, None)


def _snapshots(model):
    """What there is of each snapshot, but for the maps."""
    shown = _shown(model)
    similarity = np.nan_to_num(model.pair_similarity[shown] * 10_000).round().astype("<i2")
    rows, columns, cosines = model.matrix()
    low, high = float(cosines.min()), float(cosines.max())
    shades = (cosines[shown] - low) / max(high - low, 1e-12) * 255
    snapshots = {
        "steps": model.steps[shown],
        "comparisons": model.comparisons,
        "training": model.live,
        "matrix": {"rows": rows.tolist(), "columns": columns.tolist(), "low": low, "high": high},
    }
    numbers = {"pair_similarity": similarity.tobytes(), "matrix": shades.round().astype(np.uint8).tobytes()}
    return {"snapshots": snapshots} | numbers


def _payload(model):
    names, domains = inputs.codes([d for d in model.domains if d is not None])
    has = np.array([d is not None for d in model.domains])
    domain_of = np.full(len(has), -1)
    domain_of[has] = domains
    kinds = inputs.codes(model.modality)[1]
    values = np.full(len(has), np.nan) if model.values is None else model.values
    ranks = np.unique(values, return_inverse=True)[1]  # by which they are sorted
    atlas, across = _atlas(model.thumbnails)
    setup = {
        "title": model.title,
        "captions": model.captions,
        "classes": [str(c) for c in model.classes],
        "modalities": model.modalities,
        "domains": names,
        "groups": model.groups,
        "dimensions": model.embeddings.shape[2],
        "k": model.k,
        "palette": model.colours.palette,
        "tones": model.colours.names,
        "scale": model.colours.scale,
        "values": [] if model.values is None else [looks.figure(v) for v in values],
        "missing": list(looks.MISSING.values()),
        "remarks": model.remarks,
        "cell": list(model.thumbnails.shape[2:0:-1]),
        "across": across,
        "sounds": [len(file) for file in model.sounds] if any(model.sounds) else [],
        "encodes": model.encode is not None,
        "speaks": model.speak is not None,
        "suggestions": model.suggestions,
    }
    columns = [model.class_of, kinds, model.pairs, model.sprites, domain_of, model.group, model.colours.of, ranks]
    return {
        "setup": setup,
        "columns": np.array(columns, "<i4").tobytes(),
        "atlas": atlas,
        "sounds": b"".join(model.sounds),
    }


def _atlas(cells):
    """All thumbnails in one WebP picture, row by row, and how many stand in a row."""
    count, height, width, _ = cells.shape
    if not count:
        return b"", 1
    across = math.ceil(math.sqrt(count * height / width))
    down = math.ceil(count / across)
    sheet = np.zeros((down * across, height, width, 4), np.uint8)
    sheet[:count] = cells
    sheet = sheet.reshape(down, across, height, width, 4).swapaxes(1, 2).reshape(down * height, across * width, 4)
    out = io.BytesIO()
    small = sheet.shape[0] * sheet.shape[1] < 300_000  # where lossless costs little, pixels stay pixels
    Image.fromarray(sheet).save(out, "WEBP", lossless=small, quality=75, alpha_quality=50, method=2)
    return out.getvalue(), across
