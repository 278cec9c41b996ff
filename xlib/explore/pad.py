"""A pad to draw on: what a picture's encoder makes of the drawing, computed in the browser while it is drawn."""

import base64
import copy
import html
import zlib

import anywidget
import numpy as np
import torch
import torch.nn.functional as F
import traitlets as T
from torch import nn

from xlib import _validate
from xlib.explore import page, projections
from xlib.explore.panel import Panel
from xlib.explore.scene import Scene, fixed, svg
from xlib.explore.still import Still
from xlib.explore.tower import Plan
from xlib.explore.view import HERE, Explorer, scaled, show_widgets

PARTS = ("common", "tower", "strokes", "pad")  # the front end's files, which make one module in this order
LISTED = 6  # captions
FRAME = 28  # pixels of a scan before it is resized: that of MNIST
MARGIN = 0.06  # of the map's width, around the captions


class Pad(anywidget.AnyWidget):
    """What `pad` returns. `pixels` is what the encoder sees, (H, W) from 0 (paper) to 1 (ink), and `caption` what was
    typed: both can be read and set. `nearest` lists the nearest captions, and `alt_text` says them.

    Example:
        >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 32, 2))
        >>> shown = pad(encoder, ["left", "right"], torch.eye(2))
        >>> shown.pixels = torch.ones(16, 32)
        >>> len(shown.nearest()), shown.alt_text[:19]
        (2, 'Drawn; the nearest ')
    """

    _esm = "".join((HERE / f"{name}.js").read_text("utf-8") for name in PARTS)
    # A panel's look, its dark one too.
    _css = Panel._css.replace(".xlib-panel", ".xlib-pad") + (HERE / "pad.css").read_text("utf-8")

    title = T.Unicode().tag(sync=True)
    captions = T.List().tag(sync=True)
    embeddings = T.Bytes().tag(sync=True)  # of the captions, float32 (N, d), unit rows
    plan = T.Dict().tag(sync=True)  # of the encoders, see tower.js
    weights = T.Bytes().tag(sync=True)  # float32: with half of the bits the browser's vectors are 2e-4 off
    index = T.Dict().tag(sync=True)  # the vocabulary's
    shrink = T.List().tag(sync=True)  # (H, 28): how a frame of a scan is resized
    examples = T.Bytes().tag(sync=True)  # ready pictures, float32 (K, H, W)
    linear = T.List().tag(sync=True)  # (2, d + 1): from a unit vector to its place on the map, and the shift
    map = T.Int().tag(sync=True)  # of the explorer whose map it is: its checksum
    bounds = T.List().tag(sync=True)  # left, top, width and height of what is shown of the map
    first = T.Dict().tag(sync=True)  # on a page, what Python has found for the picture that is there at first

    # Without the echo, which would come while the next stroke is being drawn.
    picture = T.Bytes().tag(
        sync=True, echo_update=False, from_json=lambda value, pad: bytes(value)
    )  # (H, W), or nothing
    caption = T.Unicode().tag(sync=True, echo_update=False)

    def __init__(self, image_encoder, text_encoder, vocabulary, **about):
        show_widgets()
        self._image, self._text, self._vocabulary = image_encoder, text_encoder, vocabulary
        super().__init__(**about)
        self._still = Still(self, lambda dark: self.still(dark=dark), ["picture", "caption"])

    @T.validate("picture")
    def _whole_picture(self, proposal):
        wanted = 4 * self.plan["shape"][1] * self.plan["shape"][2]
        if len(proposal.value) not in (0, wanted):
            raise T.TraitError(f"picture must be empty or {wanted} bytes, got {len(proposal.value)}")
        return proposal.value

    @property
    def pixels(self):
        """(H, W) float32; zeros where nothing is drawn."""
        height, width = self.plan["shape"][1:]
        if not self.picture:
            return torch.zeros(height, width)
        return torch.frombuffer(bytearray(self.picture), dtype=torch.float32).view(height, width)

    @pixels.setter
    def pixels(self, pixels):
        shape = tuple(self.plan["shape"][1:])
        self.picture = _bytes(_pictures("pixels", pixels, shape))

    @torch.no_grad()
    def vector(self):
        """(d,) unit: where the picture lies."""
        shape = self.plan["shape"]
        return F.normalize(self._image(self.pixels.expand(1, *shape)), dim=1)[0]

    @torch.no_grad()
    def nearest(self):
        """[(caption, cosine)] of the picture, the nearest first, equal ones in their order; the caption that was
        typed among them. Nothing where nothing is drawn."""
        if not self.picture:
            return []
        known = torch.frombuffer(bytearray(self.embeddings), dtype=torch.float32).view(len(self.captions), -1)
        captions = list(self.captions)
        if (typed := self._typed()) is not None:
            captions, known = [*captions, self.caption], torch.cat([known, typed])
        cosines, rows = (known * self.vector()).sum(dim=1).sort(descending=True, stable=True)
        return [(captions[row], cosine) for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)]

    def _typed(self):
        if self._text is None or not self.caption.strip():
            return None
        try:
            tokens = self._vocabulary([self.caption])
        except ValueError:  # not a word in it
            return None
        return F.normalize(self._text(tokens), dim=1)

    @property
    def alt_text(self):
        if not self.picture:
            return "An empty pad."
        listed = ", ".join(f"{caption} {fixed(cosine)}" for caption, cosine in self.nearest()[:LISTED])
        return f"Drawn; the nearest captions, with their cosines: {listed}."

    def still(self, *, dark=False) -> str:
        """The drawing and its nearest captions, as SVG."""
        scene = Scene(height=220)
        drawing, bars = scene.axes(1.4, 1)
        height, width = self.pixels.shape
        drawing.set(x=(0, width), y=(height, 0), xticks=[], yticks=[], equal=True, title=self.title)
        drawing.picture(1 - self.pixels.expand(3, -1, -1).permute(1, 2, 0), x=(0, width), y=(0, height))
        listed = self.nearest()[:LISTED]
        names = {row: caption[:24] for row, (caption, _) in enumerate(listed)}
        bars.set(x=(0, 1.15), y=(LISTED - 0.5, -0.5), xticks=[], yticks=names, title="nearest captions, by cosine")
        if listed:
            cosines = [cosine for _, cosine in listed]
            texts = [fixed(cosine) for cosine in cosines]
            bars.bars([*names], [max(cosine, 0) for cosine in cosines], across=True, colour="#0072B2", texts=texts)
        return svg(scene.data(), dark=dark)

    def body(self):
        """The place of the pad on a page, for `page.script(pad, "pad")` to start; its weights come when it is
        touched."""
        first = {"vector": self.vector().tolist()} if self.picture else {}
        state = page.state_of(self, {"first": first})
        packed = {"state": {}, "bytes": {"weights": state["bytes"].pop("weights")}}
        del state["state"]["weights"]
        drawn = base64.b64encode(self.still().encode()).decode()
        still = f'<img alt="{html.escape(self.alt_text)}" src="data:image/svg+xml;base64,{drawn}">'
        return page.place("pad", still, state, weights=packed)

    def _ipython_display_(self):
        self._still.show()


body = Pad.body


def pad(
    image_encoder,
    captions,
    embeddings,
    *,
    text_encoder=None,
    vocabulary=None,
    explorer=None,
    examples=None,
    size=(16, 32),
    title="",
) -> Pad:
    """Show a pad to draw on with mouse, finger, pen or keys. While one draws, the encoder runs in the browser, from a
    copy of its weights: the nearest captions are listed, and a star lands on the map.

    image_encoder: a torch module of (1, C, H, W) float to (1, d), made of convolutions, GroupNorm, GELU, ReLU and
    linear maps one after the other, such as an nn.Sequential or `encoders.ImageEncoder`. It is looked at in
    evaluation mode. captions: N texts. embeddings: (N, d) tensor of theirs.
    text_encoder, vocabulary: with both one can type a caption of one's own. A module with an nn.Embedding `embed`, an
    nn.GRU `gru` whose states it takes the mean of, and an nn.Linear `project`, as `encoders.TextEncoder` is; and a
    function of a list of texts to (B, L) tokens, whose `index` has each word's, as `encoders.Vocabulary` is.
    explorer: of the same space: its PCA map is shown, and it shows the star, too. examples: (K, H, W) or (K, C, H, W)
    float from 0 (paper) to 1 (ink), pictures to begin with, of which the first is there at once.
    size: (H, W), W a multiple of H. A drawing is made into one scan for each square of H × H as MNIST's were: its
    longer side 20 of 28 pixels, its ink's middle in the middle.
    Raises TypeError or ValueError naming the argument.

    Example:
        >>> encoder = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(8 * 14 * 30, 2))
        >>> shown = pad(encoder, ["eleven", "twelve"], torch.eye(2), examples=torch.ones(1, 16, 32))
        >>> sorted(caption for caption, cosine in shown.nearest())
        ['eleven', 'twelve']
    """
    if not isinstance(image_encoder, nn.Module):
        raise TypeError(f"image_encoder must be a torch.nn.Module, got {type(image_encoder).__name__}")
    if (text_encoder is None) != (vocabulary is None):
        given = "text_encoder" if vocabulary is None else "vocabulary"
        raise ValueError(f"text_encoder and vocabulary go together, got {given} alone")
    height, width = _checked_size(size)
    listed = hasattr(captions, "__len__") and not isinstance(captions, str) and len(captions)
    if not listed or not all(isinstance(caption, str) for caption in captions):
        raise TypeError(f"captions must be a list of strings, got {captions!r:.200}")
    _validate.embeddings("embeddings", embeddings)
    if len(embeddings) != len(captions):
        raise ValueError(f"embeddings must have a row for each caption, got {len(embeddings)} for {len(captions)}")
    unit = F.normalize(embeddings.detach().cpu().float(), dim=1)

    # The pad stays with the weights of now, whatever becomes of the encoders.
    image, text = (
        None if module is None else copy.deepcopy(module).cpu().float().eval()
        for module in (image_encoder, text_encoder)
    )
    plan = Plan(image, (height, width), unit.shape[1], text)
    if text is not None:
        _check_vocabulary(vocabulary, text.embed.num_embeddings)
    ready = torch.zeros(0, height, width)
    if examples is not None:
        ready = _pictures("examples", examples, ("K", height, width))
    # As digits.resized does, along one side: a frame's rows, or its columns.
    frame, smaller = torch.eye(FRAME)[None, None], height < FRAME
    shrink = F.interpolate(frame, (height, FRAME), mode="bicubic", align_corners=False, antialias=smaller)[0, 0]
    return Pad(
        image,
        text,
        vocabulary,
        title=title,
        captions=list(captions),
        embeddings=_bytes(unit),
        plan=plan.data,
        weights=plan.weights(),
        index={} if text is None else dict(vocabulary.index),
        shrink=shrink.tolist(),
        examples=_bytes(ready),
        picture=_bytes(ready[:1]),
        **_map(unit.numpy(), explorer),
    )


def _bytes(tensor):
    return tensor.numpy().astype("<f4").tobytes()


def _checked_size(size):
    try:
        height, width = size
    except (TypeError, ValueError):
        raise TypeError(f"size must be (height, width), got {size!r}") from None
    _validate.whole("size[0]", height, least=4, most=64)
    _validate.whole("size[1]", width, least=height, most=8 * height)
    if width % height:
        raise ValueError(f"size must have a width that is a multiple of its height, got {size!r}")
    return height, width


def _check_vocabulary(vocabulary, words):
    if not callable(vocabulary) or not isinstance(index := getattr(vocabulary, "index", None), dict):
        raise TypeError(
            f"vocabulary must have an `index` of words, and cut texts when called, got {vocabulary!r:.200}"
        )
    if not all(isinstance(token, int) for token in index.values()):
        raise TypeError("vocabulary must have whole numbers in its `index`")
    if (most := max([1, *index.values()])) >= words:
        raise ValueError(f"vocabulary must have tokens below {words}, as text_encoder has words, got {most}")


def _pictures(name, pictures, shape):
    """Pictures as one tensor of shape (H, W) or ("K", H, W), of any K, on the CPU; colours are averaged."""
    if not isinstance(pictures, torch.Tensor) or not pictures.is_floating_point():
        came = pictures.dtype if isinstance(pictures, torch.Tensor) else type(pictures).__name__
        raise TypeError(f"{name} must be a floating tensor, got {came}")
    found = pictures.detach().cpu().float()
    if found.ndim == len(shape) + 1:
        found = found.mean(dim=-3)
    if found.ndim != len(shape) or found.shape[-2:] != shape[-2:]:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have shape ({wanted}), got {tuple(pictures.shape)}")
    if not ((found >= -1e-3) & (found <= 1.001)).all():  # NaN fails too
        raise ValueError(f"{name} must be in [0, 1], got {found.min().item():.3g} to {found.max().item():.3g}")
    return found.clamp(0, 1)


def _map(unit, explorer):
    """Where unit vectors lie on the PCA map, of the explorer where there is one: a linear map, since PCA is."""
    if explorer is None:
        if min(unit.shape) < 2:
            raise ValueError(f"embeddings must have two rows and two columns at least, got {unit.shape}")
        layout, checksum = projections.pca(unit[None]), 0
    else:
        if not isinstance(explorer, Explorer):
            raise TypeError(f"explorer must be an Explorer, got {type(explorer).__name__}")
        if (width := explorer.model.embeddings.shape[2]) != unit.shape[1]:
            raise ValueError(f"explorer must be of {unit.shape[1]} dimensions, as embeddings is, got {width}")
        layout = explorer.model.layout("pca")
        checksum = zlib.adler32(explorer.maps.get("pca", {}).get("frames", b""))
    shift = scaled(layout, layout.place(np.zeros(unit.shape[1])))
    turn = scaled(layout, layout.place(np.eye(unit.shape[1]))) - shift
    places = unit @ turn + shift
    low, span = places.min(0), max(np.ptp(places, 0).max(), 1.0)
    box = [*(low - MARGIN * span), *(np.ptp(places, 0) + 2 * MARGIN * span)]
    return {
        "linear": [[*turn[:, axis].tolist(), float(shift[axis])] for axis in range(2)],
        "map": checksum,
        "bounds": [float(v) for v in box],
    }
