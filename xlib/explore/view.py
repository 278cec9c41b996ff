"""The notebook widget: an `ExplorerModel` with a face (view.js and more), and a still picture in the same output."""

import base64
import importlib
import io
import math
import sys
from pathlib import Path

import anywidget
import numpy as np
import traitlets as T
from PIL import Image

from xlib.explore import page, static
from xlib.explore.model import ExplorerModel

HERE = Path(__file__).parent
# The front end's files. They make one module, in this order: what a file uses while it is read stands before it.
PARTS = ("common", "data", "items", "map", "card", "maps", "matrix", "table", "list", "controls", "offline", "view")
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]  # Okabe–Ito
# Set here, by the front end, or on the model. In this order: what a choice resets stands behind it.
CHOSEN = ("typed", "axis", "projection", "compare", "step", "hover", "selected", "query", "among")
ANSWERS = ("neighbours", "ranks", "note", "warning", "alt_text")  # made by the model


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
    _css = HERE / "view.css"

    # Without the echo a step in the browser costs one small message each way.
    step = T.Int(0).tag(sync=True, echo_update=False)
    hover = T.Int(-1).tag(sync=True, echo_update=False)
    selected = T.List(T.Int()).tag(sync=True, echo_update=False)
    query = T.Unicode("").tag(sync=True, echo_update=False)
    among = T.Unicode("all").tag(sync=True, echo_update=False)
    projection = T.Unicode("pca").tag(sync=True, echo_update=False)
    axis = T.List(T.Unicode()).tag(sync=True, echo_update=False)
    compare = T.Unicode("").tag(sync=True, echo_update=False)
    typed = T.Unicode("").tag(sync=True, echo_update=False)
    neighbours = T.List().tag(sync=True)
    ranks = T.List().tag(sync=True)
    note = T.Unicode("").tag(sync=True)
    warning = T.Unicode("").tag(sync=True)
    alt_text = T.Unicode("").tag(sync=True)
    refused = T.Unicode("").tag(sync=True)  # why the last choice was not taken

    # Numbers travel as bytes, not as JSON. Only the maps can grow: by a projection that is asked for.
    setup = T.Dict().tag(sync=True)
    columns = T.Bytes().tag(sync=True)
    pair_similarity = T.Bytes().tag(sync=True)
    matrix = T.Bytes().tag(sync=True)
    atlas = T.Bytes().tag(sync=True)
    maps = T.Dict().tag(sync=True)
    landed = T.Dict().tag(sync=True)  # where the typed text lies on each map

    def __init__(self, model: ExplorerModel):
        show_widgets()
        self.model, self._drawn = model, {}
        names = CHOSEN + ANSWERS
        super().__init__(**_payload(model), **{name: getattr(model, name) for name in names})
        self._draw_maps()
        self.observe(self._to_model, CHOSEN)
        model.observe(self._from_model, names)

    @property
    def matches(self):
        """Rows whose captions hold the query."""
        return self.model.matches

    def _to_model(self, change):
        model = self.model
        chosen = {name: getattr(self, name) for name in CHOSEN if getattr(self, name) != getattr(model, name)}
        if not chosen:  # it is the model that has changed
            return
        kept = model.typed_vector, dict(model.layouts)
        refused = ""
        try:
            with model.hold_trait_notifications():  # the browser may send several at once: all or none
                for name, value in chosen.items():
                    setattr(model, name, value)
        except T.TraitError as error:
            model.typed_vector, model.layouts = kept
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
            for name in CHOSEN + ANSWERS:
                setattr(self, name, getattr(self.model, name))
            self._draw_maps()

    def _draw_maps(self):
        """Send what layouts are new, as 16-bit numbers; one scale for both axes keeps distances comparable."""
        layouts = self.model.layouts
        if any(self._drawn.get(name) is not layout for name, layout in layouts.items()):
            self._drawn = dict(layouts)
            self.maps = {name: _quantised(layout) for name, layout in layouts.items()}
        vector = self.model.typed_vector
        places = {} if vector is None else {name: layout.place(vector) for name, layout in layouts.items()}
        self.landed = {name: _scaled(layouts[name], xy).tolist() for name, xy in places.items()}

    def to_html(self, path):
        """Write this explorer as one file that works without a kernel and without a network. Its maps are those that
        have been shown here; it lists neighbours at the last snapshot."""
        page.write(path, self)

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        png = base64.b64encode(static.picture(self.model, palette=_palette(self.model))).decode()
        data |= {"image/png": png, "text/plain": self.alt_text}
        return data, {**metadata, "image/png": {"alt": self.alt_text}}


def _scaled(layout, xy):
    low = layout.frames.min((0, 1))
    span = max(float((layout.frames.max((0, 1)) - low).max()), 1e-12)
    return (xy - low) / span * 65535


def _quantised(layout):
    frames = _scaled(layout, layout.frames).round().astype("<u2")
    extent = frames.max((0, 1)).clip(1).tolist()
    return {"axes": layout.axes, "extent": extent, "frames": frames.tobytes()}


def _payload(model):
    classes = [model.classes.index(c) if c is not None else -1 for c in model.labels]
    names = list(dict.fromkeys(d for d in model.domains if d is not None))
    domains = [names.index(d) if d is not None else -1 for d in model.domains]
    kinds = [model.modalities.index(m) for m in model.modality]
    similarity = np.nan_to_num(model.pair_similarity * 10_000).round().astype("<i2")
    rows, columns, cosines = model.matrix()
    low, high = float(cosines.min()), float(cosines.max())
    shades = (cosines - low) / max(high - low, 1e-12) * 255
    atlas, across = _atlas(model.thumbnails)
    setup = {
        "title": model.title,
        "captions": model.captions,
        "classes": [str(c) for c in model.classes],
        "modalities": model.modalities,
        "domains": names,
        "groups": model.groups,
        "steps": model.steps,
        "dimensions": model.embeddings.shape[2],
        "k": model.k,
        "palette": _palette(model),
        "cell": list(model.thumbnails.shape[2:0:-1]),
        "across": across,
        "comparisons": model.comparisons,
        "encodes": model.encode is not None,
        "matrix": {"rows": rows.tolist(), "columns": columns.tolist(), "low": low, "high": high},
    }
    return {
        "setup": setup,
        "columns": np.array([classes, kinds, model.pairs, model.sprites, domains, model.group], "<i4").tobytes(),
        "pair_similarity": similarity.tobytes(),
        "matrix": shades.round().astype(np.uint8).tobytes(),
        "atlas": atlas,
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


def _palette(model):
    """A colour a class, or none where there are too many to tell apart."""
    return PALETTE[: len(model.classes)] if len(model.classes) <= len(PALETTE) else []
