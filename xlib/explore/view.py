"""The notebook widget: an `ExplorerModel` with a face (view.js), and a still picture of it in the same output."""

import base64
import io
import math
from pathlib import Path

import anywidget
import numpy as np
import traitlets as T
from PIL import Image

from xlib.explore import static
from xlib.explore.model import ExplorerModel

HERE = Path(__file__).parent
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]  # Okabe–Ito
CHOSEN = ("step", "hover", "selected", "query", "among")  # set here, by the front end, or on the model
ANSWERS = ("neighbours", "pair_rank", "note", "alt_text")  # made by the model


class Explorer(anywidget.AnyWidget):
    """What `explore` returns. `model` is the `ExplorerModel`; its choices and answers are attributes here too."""

    _esm = HERE / "view.js"
    _css = HERE / "view.css"

    # Without the echo a step in the browser costs one small message each way.
    step = T.Int(0).tag(sync=True, echo_update=False)
    hover = T.Int(-1).tag(sync=True, echo_update=False)
    selected = T.Int(-1).tag(sync=True, echo_update=False)
    query = T.Unicode("").tag(sync=True, echo_update=False)
    among = T.Unicode("all").tag(sync=True, echo_update=False)
    neighbours = T.List().tag(sync=True)
    pair_rank = T.Int(0).tag(sync=True)
    note = T.Unicode("").tag(sync=True)
    alt_text = T.Unicode("").tag(sync=True)

    # What never changes, sent once; numbers travel as bytes, not as JSON.
    setup = T.Dict().tag(sync=True)
    frames = T.Bytes().tag(sync=True)
    columns = T.Bytes().tag(sync=True)
    pair_similarity = T.Bytes().tag(sync=True)
    atlas = T.Bytes().tag(sync=True)

    def __init__(self, model: ExplorerModel):
        self.model = model
        names = CHOSEN + ANSWERS
        super().__init__(**_payload(model), **{name: getattr(model, name) for name in names})
        self.observe(self._to_model, CHOSEN)
        model.observe(self._from_model, names)

    @property
    def matches(self):
        """Rows whose captions hold the query."""
        return self.model.matches

    def _to_model(self, change):
        try:
            with self.model.hold_trait_notifications():  # the browser may send several at once: all or none
                for name in CHOSEN:
                    setattr(self.model, name, getattr(self, name))
        finally:
            self._from_model(change)  # the model may have clipped or refused

    def _from_model(self, change):
        with self.hold_sync():  # one message for all that changed
            for name in CHOSEN + ANSWERS:
                setattr(self, name, getattr(self.model, name))

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        png = base64.b64encode(static.picture(self.model, palette=_palette(self.model))).decode()
        data |= {"image/png": png, "text/plain": self.alt_text}
        return data, {**metadata, "image/png": {"alt": self.alt_text}}


def _payload(model):
    low = model.frames.min((0, 1))
    span = max(float((model.frames.max((0, 1)) - low).max()), 1e-12)  # one scale: distances stay comparable
    frames = ((model.frames - low) / span * 65535).round().astype("<u2")
    classes = [model.classes.index(c) if c is not None else -1 for c in model.labels]
    kinds = [model.modalities.index(m) for m in model.modality]
    similarity = np.nan_to_num(model.pair_similarity * 10_000).round().astype("<i2")
    atlas, across = _atlas(model.thumbnails)
    setup = {
        "title": model.title,
        "captions": model.captions,
        "classes": [str(c) for c in model.classes],
        "modalities": model.modalities,
        "steps": model.steps,
        "axes": model.axes,
        "extent": frames.max((0, 1)).clip(1).tolist(),
        "dimensions": model.embeddings.shape[2],
        "k": model.k,
        "palette": _palette(model),
        "cell": list(model.thumbnails.shape[2:0:-1]),
        "across": across,
    }
    columns = np.array([classes, kinds, model.pairs, model.sprites], "<i4")
    return {
        "setup": setup,
        "frames": frames.tobytes(),
        "columns": columns.tobytes(),
        "pair_similarity": similarity.tobytes(),
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
    Image.fromarray(sheet).save(out, "WEBP", lossless=small, quality=85, method=2)
    return out.getvalue(), across


def _palette(model):
    """A colour a class, or none where there are too many to tell apart."""
    return PALETTE[: len(model.classes)] if len(model.classes) <= len(PALETTE) else []
