"""The drawing pad in Python: what it takes, what it refuses, what it says, and what it hands to a page."""

import base64
import gzip
import io
import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from test_explore_page import HOSTILE, Reader
from torch import nn

from xlib.encoders import ImageEncoder, TextEncoder, Vocabulary
from xlib.explore import explore
from xlib.explore import pad as pads
from xlib.explore.pad import Pad, pad
from xlib.explore.panel import Panel
from xlib.explore.tower import Plan

CAPTIONS = ["eleven", "forty-two", "ninety"]
WORDS = Vocabulary(CAPTIONS)
D = 64


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    return ImageEncoder((16, 32)), TextEncoder(len(WORDS))


def rows(n=3, d=D):
    return torch.linspace(-1, 1, n * d).sin().view(n, d)


def made(encoders, **given):
    image, text = encoders
    options = {"captions": CAPTIONS, "embeddings": rows(), "text_encoder": text, "vocabulary": WORDS} | given
    return pad(options.pop("image", image), options.pop("captions"), options.pop("embeddings"), **options)


def test_it_says_what_torch_says(encoders):
    shown = made(encoders)
    assert (shown.nearest(), shown.alt_text) == ([], "An empty pad.")
    shown.pixels = pixels = torch.rand(16, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(shown.pixels, pixels)
    with torch.no_grad():
        vector = F.normalize(encoders[0].eval()(pixels.expand(1, 3, 16, 32)), dim=1)
        cosines = (F.normalize(rows(), dim=1) @ vector[0]).tolist()
        typed = F.normalize(encoders[1](WORDS(["forty eleven"])), dim=1) @ vector[0]
    wanted = sorted(zip(CAPTIONS, cosines, strict=True), key=lambda one: -one[1])
    assert [name for name, _ in shown.nearest()] == [name for name, _ in wanted]
    assert [cosine for _, cosine in shown.nearest()] == pytest.approx([cosine for _, cosine in wanted], abs=1e-6)
    assert wanted[0][0] in shown.alt_text
    shown.caption = "forty eleven"
    assert dict(shown.nearest())["forty eleven"] == pytest.approx(typed.item(), abs=1e-6)
    shown.caption = " ?! "  # not a word in it
    assert len(shown.nearest()) == 3
    assert shown.still().startswith("<svg")
    assert shown.still(dark=True) != shown.still()


def test_the_still_shows_the_drawing_as_ink_on_paper(encoders):
    shown, ink = made(encoders), torch.zeros(16, 32)
    ink[2:5, 7:9] = 1
    shown.pixels = ink
    [png] = re.findall(r'href="data:image/png;base64,([^"]+)"', shown.still())
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("L"))
    tall, wide = picture.shape[0] // 16, picture.shape[1] // 32
    assert (picture[:: max(tall, 1), :: max(wide, 1)] == 255 * (1 - ink.numpy())).all()


def test_it_keeps_the_weights_of_now_and_leaves_the_encoders_alone(encoders):
    image = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 16 * 32, D)).train()
    state = torch.get_rng_state()
    shown = made(encoders, image=image, examples=torch.ones(1, 16, 32))
    assert torch.equal(torch.get_rng_state(), state)
    assert image.training
    before = shown.nearest()
    with torch.no_grad():
        image[2].weight.neg_()
    assert shown.nearest() == before


def test_equal_captions_stand_in_their_order(encoders):
    shown = made(encoders, embeddings=torch.ones(3, D), examples=torch.rand(2, 3, 16, 32))
    assert [name for name, _ in shown.nearest()] == CAPTIONS


class Twice(nn.Module):
    """Does more than its parts one after the other."""

    def __init__(self):
        super().__init__()
        self.flatten, self.linear = nn.Flatten(), nn.Linear(3 * 16 * 32, D)

    def forward(self, x):
        return 2 * self.linear(self.flatten(x)) + 1


def with_last_state():
    class Last(TextEncoder):
        def forward(self, tokens):
            return self.project(self.gru(self.embed(tokens))[0][:, -1])

    return Last(len(WORDS))


def chain(*layers, width=3 * 16 * 32):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, D))


def not_finite():
    encoder = chain()
    nn.init.constant_(encoder[1].bias, float("nan"))
    return encoder


REFUSED = {
    "no module": ({"image": torch.rand}, TypeError, "image_encoder must be a torch.nn.Module, got builtin"),
    "unknown layer": ({"image": chain(nn.Softplus())}, TypeError, "image_encoder .*got Softplus"),
    "tanh gelu": ({"image": chain(nn.GELU("tanh"))}, ValueError, "image_encoder .*approximate='tanh'"),
    "groups": ({"image": chain(nn.Conv2d(3, 3, 3, padding=1, groups=3))}, ValueError, "image_encoder .*groups=3"),
    "dilation": ({"image": chain(nn.Conv2d(3, 3, 3, padding=2, dilation=2))}, ValueError, "image_encoder .*dilation"),
    "padding": (
        {"image": chain(nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"))},
        ValueError,
        "image_encoder .*circular",
    ),
    "not finite": ({"image": not_finite()}, ValueError, "image_encoder must give finite numbers, got .nan"),
    "no flatten": ({"image": nn.Sequential(nn.Linear(32, D))}, ValueError, "image_encoder must flatten"),
    "other size": (
        {"image": ImageEncoder((8, 8))},
        ValueError,
        "image_encoder must take pictures of \\[3, 16, 32\\]",
    ),
    "more than its parts": ({"image": Twice()}, ValueError, "image_encoder .*Twice that does something else"),
    "other width": ({"image": ImageEncoder((16, 32), embed_dim=8)}, ValueError, "image_encoder must give 64.*got 8"),
    "captions": ({"captions": "forty"}, TypeError, "captions must be a list of strings, got 'forty'"),
    "no captions": ({"captions": []}, TypeError, "captions"),
    "captions that are none": ({"captions": None}, TypeError, "captions must be a list of strings, got None"),
    "one caption": (
        {"captions": ["a"], "embeddings": rows(1)},
        ValueError,
        "embeddings must have two rows and two columns at least, got .1, 64.",
    ),
    "embeddings": ({"embeddings": rows(2)}, ValueError, "embeddings must have a row for each caption, got 2 for 3"),
    "nan": ({"embeddings": rows() * float("nan")}, ValueError, "embeddings must be finite"),
    "list": ({"embeddings": [[1.0]]}, TypeError, "embeddings must be a torch.Tensor"),
    "text alone": ({"vocabulary": None}, ValueError, "go together, got text_encoder alone"),
    "other text": (
        {"text_encoder": nn.Linear(2, 2)},
        TypeError,
        "text_encoder must have an nn.Embedding as its `embed`",
    ),
    "last state": ({"text_encoder": with_last_state()}, ValueError, "text_encoder must project the mean"),
    "text width": (
        {"text_encoder": TextEncoder(len(WORDS), embed_dim=8)},
        ValueError,
        "text_encoder must give 64 numbers.*got 8",
    ),
    "vocabulary": ({"vocabulary": str}, TypeError, "vocabulary must have an `index`"),
    "too many words": (
        {"vocabulary": Vocabulary(["a b c d e f g h"])},
        ValueError,
        "vocabulary must have tokens below 6.*got 9",
    ),
    "words": (
        {"vocabulary": type("Odd", (), {"index": {"a": "b"}, "__call__": str})()},
        TypeError,
        "vocabulary must have whole numbers in its `index`",
    ),
    "explorer": ({"explorer": 3}, TypeError, "explorer must be an Explorer, got int"),
    "examples": ({"examples": [[1]]}, TypeError, "examples must be a floating tensor, got list"),
    "one number": ({"examples": 5}, TypeError, "examples must be a floating tensor, got int"),
    "example's shape": ({"examples": torch.rand(2, 8, 8)}, ValueError, "examples must have shape \\(K, 16, 32\\)"),
    "one example": ({"examples": torch.rand(16, 32)}, ValueError, "examples .*, got \\(16, 32\\)"),
    "example's range": ({"examples": torch.full((1, 16, 32), 9.0)}, ValueError, "examples must be in .0, 1., got 9"),
    "size": ({"size": 16}, TypeError, "size must be \\(height, width\\), got 16"),
    "odd size": ({"size": (16, 40)}, ValueError, "size must have a width that is a multiple"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_named(encoders, case):
    given, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        made(encoders, **given)


def test_what_the_browser_may_set(encoders):
    shown = made(encoders)
    shown.set_state({"picture": memoryview(rows(8).numpy().tobytes()), "caption": "ninety"})
    assert torch.equal(shown.pixels, rows(8).view(16, 32))
    with pytest.raises(Exception, match="picture must be empty or 2048 bytes, got 3"):
        shown.set_state({"picture": b"abc"})


def test_the_plan_holds_every_number_once(encoders):
    plan = Plan(encoders[0].eval(), (16, 32), D, encoders[1].eval())
    both = sum(p.numel() for part in encoders for p in part.parameters())
    assert len(plan.weights()) == 4 * both
    kinds = [layer["kind"] for layer in plan.data["image"]]
    assert kinds == ["conv", "norm", "gelu"] * 3 + ["flatten", "linear"]
    start, shape = plan.data["image"][0]["weight"]
    stored = np.frombuffer(plan.weights(), "<f4")[start : start + int(np.prod(shape))]
    assert np.array_equal(stored, encoders[0].features[0].weight.detach().flatten())


def test_the_star_lands_where_the_explorer_places_a_vector(encoders):
    space = F.normalize(torch.cat([rows(20) + torch.eye(20, D), rows(3)]), dim=1)
    explorer = explore(space, captions=[f"item {i}" for i in range(20)] + CAPTIONS, encode=lambda texts: space[20:21])
    shown = made(encoders, embeddings=space[20:], explorer=explorer)
    explorer.typed = "eleven"
    turn = np.array(shown.linear)
    assert turn[:, :-1] @ space[20].numpy() + turn[:, -1] == pytest.approx(explorer.landed["pca"], abs=1)
    assert shown.map != 0
    with pytest.raises(ValueError, match=r"explorer must be of 64 dimensions.*got 8"):
        made(encoders, explorer=explore(rows(3, 8)))


def test_a_page_brings_the_weights_apart_and_text_stays_text(encoders, tmp_path):
    hostile = [*HOSTILE, "plain"]
    vectors = rows(len(hostile))
    shown = made(encoders, captions=hostile, embeddings=vectors, title=HOSTILE[0], examples=torch.rand(1, 16, 32))
    found = Reader(pads.body(shown))
    assert [tag for tag, _ in found.tags] == ["div", "script", "script", "img"]
    assert [name for _, attributes in found.tags for name in attributes if name.startswith("on")] == []
    state, weights = (json.loads(text) for text in found.texts["script"])
    assert state["state"]["captions"] == hostile
    assert "weights" not in state["state"]
    assert gzip.decompress(base64.b64decode(weights["bytes"]["weights"])) == shown.weights
    assert state["state"]["first"]["vector"] == shown.vector().tolist()
    assert len(found.texts["script"][0]) < 40_000 < len(found.texts["script"][1])
    explorer = explore(vectors, captions=hostile)
    explorer.to_html(tmp_path / "page.html", pad=shown)
    tags = [tag for tag, _ in Reader((tmp_path / "page.html").read_text("utf-8")).tags]
    assert tags.count("script") == 4
    assert tags.count("svg") == 0  # of a title
    with pytest.raises(TypeError, match=r"pad must be a Pad, .*got str"):
        explorer.to_html(tmp_path / "other.html", pad="pad")
    assert not (tmp_path / "other.html").exists()


def test_the_style_is_a_panels():
    assert Panel._css.replace("panel", "pad") in Pad._css.replace("panel", "pad")
    assert ".xlib-panel" not in Pad._css
