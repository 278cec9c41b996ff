"""Pretrained encoders, from tiny random checkpoints in the formats of the published ones."""

import hashlib
import io
import itertools
import json
import math
import string
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F
from fake_hub import FakeHub
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save
from test_pictures import red
from torch.testing import assert_close
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import to_pil_image
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTokenizer,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)
from transformers import CLIPModel as OpenAIModel

from xlib.clip import CLIPModel
from xlib.data.pictures import as_rgb
from xlib.online import pretrained
from xlib.online.captions import Captioned
from xlib.online.download import Unavailable
from xlib.retrieval import retrieval

SIDE = 32
COLOURS, PLACES = ["red", "green", "blue", "black"], ["left", "right", "above", "below"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def packed(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def clip_files():
    """A tiny CLIP with the files of openai/clip-vit-base-patch32: byte-pair merges, and weights in torch's format,
    with the two tables of positions that newer versions of the library do not keep."""
    letters = [*string.printable[:94], "Ġ"]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "re", "red</w>", "do", "dog</w>"]
    vocabulary = [*pieces, "<|startoftext|>", "<|endoftext|>"]
    size = len(vocabulary)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=tower
        | {"vocab_size": size, "max_position_embeddings": 77, "bos_token_id": size - 2, "eos_token_id": size - 1},
        vision_config=tower | {"image_size": SIDE, "patch_size": 8},
        projection_dim=16,
        initializer_factor=5.0,
    )
    torch.manual_seed(0)
    state = OpenAIModel(config).state_dict()
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    return {
        "config.json": config.to_json_string().encode(),
        "vocab.json": json.dumps({piece: number for number, piece in enumerate(vocabulary)}).encode(),
        "merges.txt": b"#version: 0.2\nr e\nre d</w>\nd o\ndo g</w>\n",
        "pytorch_model.bin": packed(state),
    }


@pytest.fixture(scope="module")
def bert_files():
    """A tiny BERT with the files of bert-base-uncased: all of the pre-training model, and the names that layer norms
    had in 2018."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "square", "##s", *COLOURS, *PLACES]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
    )
    torch.manual_seed(1)
    state = {}
    for name, value in BertForPreTraining(config).state_dict().items():
        if name != "cls.predictions.decoder.weight":  # the word vectors once more
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            state[old] = value + 0.01 * torch.randn_like(value) if value.is_floating_point() else value
    return {
        "config.json": config.to_json_string().encode(),
        "vocab.txt": "\n".join(words).encode() + b"\n",
        "model.safetensors": save({name: value.contiguous() for name, value in state.items()}, {"format": "pt"}),
    }


def tiny_resnet(weights=None):
    return ResNet(BasicBlock, [1, 1, 1, 1])


@pytest.fixture(scope="module")
def resnet_weights():
    torch.manual_seed(2)
    return packed(tiny_resnet().state_dict())


@pytest.fixture
def server(monkeypatch, tmp_path, clip_files, bert_files, resnet_weights):
    monkeypatch.setenv("XLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "theirs"))
    with FakeHub() as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        for published, files in ((pretrained._CLIP, clip_files), (pretrained._BERT, bert_files)):
            assert set(files) == set(published["files"])
            digests = {name: f"sha256:{sha256(data)}" for name, data in files.items()}
            monkeypatch.setitem(published, "files", digests)
            fake.add(published["repository"], published["revision"], files)
        name = f"resnet50-{sha256(resnet_weights)[:8]}.pth"
        fake.files[name] = resnet_weights
        weights = SimpleNamespace(
            url=f"{fake.url}/{name}", transforms=lambda: ImageClassification(crop_size=SIDE, resize_size=SIDE + 4)
        )
        monkeypatch.setattr("torchvision.models.ResNet50_Weights", SimpleNamespace(DEFAULT=weights))
        monkeypatch.setattr("torchvision.models.resnet50", tiny_resnet)
        yield fake


def photographs():
    """Pictures of several sizes, with something to see at the edges."""
    generator = torch.Generator().manual_seed(0)
    return [
        to_pil_image(
            F.interpolate(torch.rand(1, 3, 6, 6, generator=generator), size=size, mode="bicubic")[0].clamp(0, 1)
        )
        for size in ((40, 60), (90, 50), (SIDE, SIDE), (20, 20))
    ]


@pytest.fixture
def library(clip_files, tmp_path):
    """The same checkpoint through the library's usual way: (unit vectors of pictures, of texts)."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name, data in clip_files.items():
        (folder / name).write_bytes(data)
    model = OpenAIModel.from_pretrained(folder).eval()
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    tokenizer = CLIPTokenizer.from_pretrained(folder)

    @torch.no_grad()
    def images(pictures):
        vision = model.vision_model(processor(pictures, return_tensors="pt")["pixel_values"]).pooler_output
        return F.normalize(model.visual_projection(vision), dim=1)

    @torch.no_grad()
    def texts(part):
        alone = [model.text_model(**tokenizer(text, return_tensors="pt")).pooler_output for text in part]
        return F.normalize(model.text_projection(torch.cat(alone)), dim=1)

    return SimpleNamespace(images=images, texts=texts, model=model)


@pytest.mark.usefixtures("server")
def test_clip_encodes_as_the_library_does(library, monkeypatch):
    monkeypatch.setattr(pretrained, "_BATCH", 3)
    clip, pictures, texts = pretrained.clip_vit(), photographs(), ["Red dog", "a", "a dog, and a red one", "re"]
    za, zb = clip.encode_images(pictures), clip.encode_texts(texts)
    assert za.shape == zb.shape == (4, 16)
    assert za.dtype == torch.float32
    assert not za.requires_grad
    torch.testing.assert_close(za, library.images(pictures), atol=1e-5, rtol=0)
    torch.testing.assert_close(zb, library.texts(texts), atol=1e-5, rtol=0)
    assert (za @ za.T).fill_diagonal_(0).max() < 0.999  # the pictures do differ
    assert clip.logit_scale == pytest.approx(library.model.logit_scale.exp().item())


@pytest.mark.usefixtures("server")
def test_clip_sees_what_openai_showed_it(library):
    """Their steps by hand: bicubic to the shorter side, the middle, mean and deviation of the web's colours."""
    prepared = []
    for picture in photographs():
        scale = SIDE / min(picture.size)
        large = picture.resize([round(length * scale) for length in picture.size], Image.Resampling.BICUBIC)
        left, top = (large.width - SIDE) // 2, (large.height - SIDE) // 2
        middle = large.crop((left, top, left + SIDE, top + SIDE))
        colours = torch.from_numpy(np.array(middle)).permute(2, 0, 1) / 255
        mean, deviation = torch.tensor(
            [[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]]
        ).view(2, 3, 1, 1)
        prepared.append((colours - mean) / deviation)
    with torch.no_grad():
        vision = library.model.vision_model(torch.stack(prepared)).pooler_output
        expected = F.normalize(library.model.visual_projection(vision), dim=1)
    found = pretrained.clip_vit().encode_images(photographs())
    assert (found * expected).sum(dim=1).min() > 0.999


@pytest.mark.usefixtures("server")
def test_a_tensors_pictures_are_shown_whole_their_border_repeated_to_a_square():
    clip = pretrained.clip_vit()
    square, wide = (torch.randint(256, (2, 3, 16, width)) / 255 for width in (16, 32))
    torch.testing.assert_close(clip.encode_images(square), clip.encode_images([to_pil_image(p) for p in square]))
    padded = torch.cat([wide[:, :, :1]] * 8 + [wide] + [wide[:, :, -1:]] * 8, dim=2)
    torch.testing.assert_close(clip.encode_images(wide), clip.encode_images(padded))
    torch.testing.assert_close(clip.encode_images(wide.mT), clip.encode_images(padded.mT))
    other = wide.clone()
    other[:, :, :, 0] = 1 - other[:, :, :, 0]  # the middle of it would not hold this column
    assert (clip.encode_images(wide) * clip.encode_images(other)).sum(dim=1).max() < 0.9999


@pytest.mark.usefixtures("server")
def test_a_text_is_read_up_to_its_77th_piece():
    clip = pretrained.clip_vit()
    long, shorter = (clip.encode_texts(["dog " * count]) for count in (75, 74))
    with pytest.warns(UserWarning, match="^1 of 1 texts are longer than the 77 word pieces"):
        longer = clip.encode_texts(["dog " * 300])
    torch.testing.assert_close(long, longer)
    assert (long * shorter).sum() < 0.99999


def test_clip_is_fetched_once_and_then_loads_and_encodes_without_a_network_or_a_word(server, monkeypatch, capfd):
    pretrained.clip_vit()
    asked, threads = len(server.asked), set(threading.enumerate())
    assert asked == 4
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    capfd.readouterr()
    clip = pretrained.clip_vit()
    clip.encode_texts(["a"])
    clip.encode_images(photographs())
    assert len(server.asked) == asked
    assert not server.heads
    assert capfd.readouterr() == ("", "")
    assert not [thread for thread in set(threading.enumerate()) - threads if "conversion" in thread.name]


def test_weights_that_are_not_the_published_ones_are_never_read(server, clip_files, resnet_weights, monkeypatch):
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("read"))
    server.fail(clip_files["pytorch_model.bin"], "corrupt")
    with pytest.raises(Unavailable, match=r"pytorch_model\.bin could not be fetched .*not the published one"):
        pretrained.clip_vit()
    server.faults[f"resnet50-{sha256(resnet_weights)[:8]}.pth"] = ["corrupt"]
    with pytest.raises(Unavailable, match=r"resnet50-\w{8}\.pth could not be fetched .*not the published one"):
        pretrained.resnet_and_bert()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("encode", "given", "error", "message"),
    [
        ("encode_texts", "one string", TypeError, "^texts must be a list of strings, got 'one string'"),
        ("encode_texts", [], ValueError, "^texts must not be empty"),
        ("encode_texts", 5, TypeError, "^texts must be a list of strings, got 5"),
        ("encode_texts", ["a", 1], TypeError, "^texts must be a list of strings, got 1 in place 1"),
        ("encode_images", [], TypeError, "pictures must be PIL images, one or more"),
        ("encode_images", "a.png", TypeError, "pictures must be PIL images, one or more"),
        ("encode_images", Image.new("L", (4, 3)), TypeError, "pictures must be PIL images, one or more"),
        ("encode_images", [Image.new("L", (4, 3)), None], TypeError, "got NoneType in place 1"),
        ("encode_images", [torch.zeros(3, 8, 8)], TypeError, "got Tensor in place 0"),
        ("encode_images", [Image.new("L", (4, 3)), "no.png"], OSError, r"pictures\[1\] cannot be used: FileNotFound"),
        (
            "encode_images",
            torch.zeros(2, 4, 8, 8),
            ValueError,
            r"pictures must be float \(N, 3, H, W\), got torch.fl",
        ),
        ("encode_images", torch.zeros(2, 3, 8, 8).long(), ValueError, r"pictures must be float .*got torch.int64"),
        ("encode_images", torch.full((1, 3, 8, 8), 255.0), ValueError, "from 0 to 1, got floats from 255 to 255"),
        ("encode_images", torch.full((1, 3, 8, 8), torch.nan), ValueError, "from 0 to 1, got floats from nan"),
    ],
)
def test_wrong_pictures_and_texts_are_named(encode, given, error, message):
    with pytest.raises(error, match=message):
        getattr(pretrained.clip_vit(), encode)(given)


@pytest.mark.usefixtures("server")
def test_resnet_and_bert_have_the_published_weights(bert_files, tmp_path):
    model, tokenizer, preprocess = pretrained.resnet_and_bert(embed_dim=7)
    torch.manual_seed(2)
    expected = tiny_resnet().eval()
    expected.fc = torch.nn.Identity()
    pixels = torch.stack([preprocess(picture) for picture in photographs()])
    assert pixels.shape == (4, 3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(model.visual_encoder(pixels), expected(pixels))

    (tmp_path / "model.safetensors").write_bytes(bert_files["model.safetensors"])
    published = load_file(tmp_path / "model.safetensors")
    text = model.text_encoder.state_dict()
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        for name in text
    }
    assert old <= {name.removeprefix("bert.") for name in published} | {"embeddings.position_ids"}
    for name, value in text.items():
        was = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        assert torch.equal(value, published[f"bert.{was}"]), name
    assert tokenizer("A red SQUARES")["input_ids"] == [2, 5, 8, 6, 7, 3]
    assert isinstance(model.text_encoder, BertModel)
    assert not any(part.training for part in model.modules())
    both = pretrained.encoders(model, tokenizer, preprocess)
    assert both.encode_images(photographs()).shape == (4, 7)
    assert both.logit_scale == pytest.approx(1 / 0.07)


def squares():
    """Sixteen pictures of one coloured square, each with two captions."""
    images, said = [], []
    for colour, place in itertools.product(COLOURS, PLACES):
        image = Image.new("RGB", (SIDE, SIDE), "white")
        x, y = {"left": (2, 10), "right": (18, 10), "above": (10, 2), "below": (10, 18)}[place]
        ImageDraw.Draw(image).rectangle((x, y, x + 11, y + 11), fill=colour)
        images.append(image)
        said.append([f"a {colour} square {place}", f"{place} a {colour} square"])
    return Captioned(images=images, captions=said)


def towers(model):
    kept = {**model.visual_encoder.state_dict(), **model.text_encoder.state_dict()}
    return {name: value.clone() for name, value in kept.items()}


def run_frozen(seed=0, steps=400):
    torch.manual_seed(seed)
    pair = pretrained.resnet_and_bert(embed_dim=16)
    before = towers(pair[0])
    run = pretrained.fit_frozen(
        *pair, squares(), steps=steps, batch=16, rate=0.01, generator=torch.Generator().manual_seed(seed)
    )
    return pair, before, run


def recall_at_1(pair):
    data = squares()
    both = pretrained.encoders(*pair)
    za, zb = both.encode_images(data.images), both.encode_texts(data.texts)
    found = pretrained.measure_retrieval(za, zb, data.owner, resamples=10)
    return [found[way][1].value for way in ("image to text", "text to image")]


@pytest.mark.usefixtures("server")
def test_with_the_towers_frozen_the_maps_learn_and_the_towers_stay_bit_by_bit():
    pair, before, run = run_frozen()
    after = towers(pair[0])
    assert "bn1.running_mean" in before
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert run.step == 400
    assert run.curve()[-1] < run.curve()[0] / 2
    assert min(recall_at_1(pair)) > 0.5  # chance is 1/16
    assert not any(part.training for part in pair[0].modules())


@pytest.mark.usefixtures("server")
def test_then_the_towers_move_but_not_the_averages_of_their_batch_norms():
    pair, before, _ = run_frozen(steps=2)
    run = pretrained.fit_towers(
        *pair, squares(), steps=12, batch=8, rate=1e-3, maps_rate=1e-2, generator=torch.Generator().manual_seed(1)
    )
    after = towers(pair[0])
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {"conv1.weight", "bn1.weight", "encoder.layer.0.attention.self.query.weight"} <= moved
    assert not {name for name in moved if "running" in name or "num_batches" in name}
    assert sum(run.curve()[-3:]) < sum(run.curve()[:3])


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("fit", [pretrained.fit_frozen, pretrained.fit_towers])
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(fit):
    curves = []
    for seed, ambient in ((0, 5), (0, 6), (1, 5)):
        torch.manual_seed(0)
        pair = pretrained.resnet_and_bert(embed_dim=8)
        torch.manual_seed(ambient)  # the global generator plays no part
        generator = torch.Generator().manual_seed(seed)
        curves.append(fit(*pair, squares(), steps=3, batch=4, generator=generator).curve())
    assert curves[0] == curves[1] != curves[2]


# -- pictures of any mode, numbers of 16 bits, texts of any length, models in any mode

MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"]
shrink = ImageClassification(crop_size=SIDE, resize_size=SIDE)


class ByLetters:
    """A tokenizer: a letter a piece, between a beginning and an end, as those of transformers answer."""

    model_max_length = int(1e30)

    def __call__(self, texts, *, truncation, max_length, padding=False, return_tensors=None):
        rows = [torch.tensor([1, *(3 + ord(letter) % 25 for letter in text[: max_length - 2]), 2]) for text in texts]
        if not padding:
            return {"input_ids": [row.tolist() for row in rows]}
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def own_pair(text=BertModel, config=BertConfig, seed=0, **options):
    torch.manual_seed(seed)
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 24, "max_position_embeddings": 12, "initializer_range": 0.3}
    return CLIPModel(8, vision=tiny_resnet(), text=text(config(**sizes, **options))), ByLetters(), shrink


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("which", ["CLIP", "own"])
def test_pictures_of_every_mode_are_seen_in_their_colours(which, tmp_path):
    both = pretrained.clip_vit() if which == "CLIP" else pretrained.encoders(*own_pair())
    given = [red(mode) for mode in MODES]
    flat = [as_rgb(image) for image in given]
    expected = both.encode_images(flat)
    assert torch.equal(both.encode_images(given), expected)
    assert [image.mode for image in given] == MODES
    cards = Image.new("RGBA", (4, 3), (200, 30, 30, 0)), Image.new("RGB", (4, 3), "white")
    clear, white = both.encode_images(cards)
    assert torch.equal(clear, white)
    sideways = Image.new("RGB", (60, 40), "white")
    sideways.paste((0, 0, 90), (0, 0, 30, 40))
    sideways.getexif()[0x0112] = 6
    upright = Image.new("RGB", (40, 60), "white")
    upright.paste((0, 0, 90), (0, 0, 40, 30))
    assert torch.equal(both.encode_images([sideways]), both.encode_images([upright]))
    upright.save(tmp_path / "a.png")
    series = pandas.Series([tmp_path / "a.png", str(tmp_path / "a.png"), upright], index=[7, 3, 5])
    found = both.encode_images(series)
    assert torch.equal(found, both.encode_images([upright] * 3))


def test_a_tensor_of_bytes_or_of_16_bits_is_seen_as_one_of_floats():
    both = pretrained.encoders(*own_pair())
    images = torch.randint(256, (3, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = both.encode_images(((images.double() + 0.4) / 255).clamp(max=1))
    assert_close(both.encode_images(images), expected, atol=1e-6, rtol=0)
    assert_close(both.encode_images(images.half() / 255), expected, atol=0.02, rtol=0)
    assert_close(both.encode_images(images.bfloat16() / 255), expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("fit", [pretrained.fit_frozen, pretrained.fit_towers])
def test_training_takes_pictures_of_every_mode_and_leaves_flags_and_arguments_alone(fit):
    def trained(images):
        trio = own_pair()
        trio[0].text_encoder.embeddings.requires_grad_(False)
        trio[0].train()
        trio[0].visual_encoder.layer1.eval()  # somebody's own choice
        flags = [(p.requires_grad, id(p)) for p in trio[0].parameters()]
        modes = [part.training for part in trio[0].modules()]
        data = Captioned(images=images, captions=[[f"c{row}"] for row in range(len(images))])
        run = fit(*trio, data, steps=2, batch=4, generator=torch.Generator().manual_seed(0))
        assert [(p.requires_grad, id(p)) for p in trio[0].parameters()] == flags
        assert [part.training for part in trio[0].modules()] == modes
        return run.curve(), data

    given = [red(mode) for mode in MODES]
    curve, data = trained(given)
    assert curve == trained([as_rgb(image) for image in given])[0]
    assert data.images is given
    assert [image.mode for image in given] == MODES
    series = pandas.Series(given, index=range(9, 9 + len(given)))  # by place, and not by label
    assert curve == trained(series)[0]
    with pytest.raises(OSError, match=r"^data.images\[3\] cannot be used: FileNotFoundError"):
        trained([*given[:3], "no.png"])
    with pytest.raises(TypeError, match=r"^data.images must be PIL images, .* got ndarray in place 1"):
        trained([given[0], np.zeros((8, 8, 3), np.uint8)])


def test_encoding_is_in_evaluation_mode_and_leaves_the_mode_as_it_was():
    model, *others = own_pair()
    both = pretrained.encoders(model.train(), *others)
    model.visual_encoder.layer2.eval()
    modes = [part.training for part in model.modules()]
    pictures, before = [red("RGB"), red("L")], {k: v.clone() for k, v in model.state_dict().items()}
    found = both.encode_images(pictures), both.encode_texts(["abc", "b"])
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # averages, too
    model.eval()
    assert torch.equal(both.encode_images(pictures), found[0])
    assert torch.equal(both.encode_texts(["abc", "b"]), found[1])
    with pytest.raises(OSError, match=r"no\.png"):
        both.encode_images(["no.png"])
    assert not any(part.training for part in model.modules())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_16_bits_encodes_and_is_not_trained_in_them(dtype):
    trio, data = own_pair(), squares()
    texts = [text[:10] for text in data.texts]
    wide = pretrained.encoders(*trio)
    expected = wide.encode_images(data.images), wide.encode_texts(texts)
    trio[0].to(dtype)
    both = pretrained.encoders(*trio)
    for found, exact in zip((both.encode_images(data.images), both.encode_texts(texts)), expected, strict=True):
        assert found.dtype == torch.float32
        assert_close(found.norm(dim=1), torch.ones(len(found)))
        assert_close(found, exact, atol=0.08, rtol=0)
    for fit in (pretrained.fit_frozen, pretrained.fit_towers):
        with pytest.raises(ValueError, match=rf"^model must be in float32 to be trained .* got {dtype}"):
            fit(*trio, data, steps=2, generator=torch.Generator())
    with torch.no_grad():
        for size, length in ((0.0, 0.0), (1e-7, 1.0), (6e4, 1.0)):
            trio[0].text_fc.weight.zero_()
            trio[0].text_fc.bias.fill_(size)
            assert_close(both.encode_texts(texts[:2]).norm(dim=1), torch.full((2,), length))


@pytest.mark.parametrize(
    ("text", "config", "reads"), [(BertModel, BertConfig, 12), (RobertaModel, RobertaConfig, 10)]
)
def test_texts_are_read_as_far_as_the_model_does_and_a_warning_counts_the_rest(text, config, reads):
    both = pretrained.encoders(*own_pair(text, config))
    letters = "abcdefghijklmnop"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = both.encode_texts([letters[: reads - 2], letters[: reads - 3]])  # and a beginning and an end
    assert not torch.allclose(whole[0], whole[1], atol=1e-4)
    told = f"^2 of 3 texts are longer than the {reads} word pieces that the model reads"
    with pytest.warns(UserWarning, match=told) as record:
        found = both.encode_texts([letters, "ab", letters[: reads - 1]])
    assert len(record) == 1
    assert record[0].filename == __file__
    assert_close(found[0], whole[0])


def test_captions_are_read_further_than_64_pieces():
    """As far as BERT goes, which is 512; it used to be 64, without a word."""
    torch.manual_seed(0)
    text = BertModel(BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    both = pretrained.encoders(CLIPModel(8, vision=tiny_resnet(), text=text), ByLetters(), shrink)
    a, b = both.encode_texts(["a" * 100, "a" * 99 + "b"])
    assert not torch.equal(a, b)


def test_a_caption_that_is_cut_in_training_is_told():
    data = Captioned(images=[red("L"), red("RGB")], captions=[["a" * 11], ["ab"]])
    for fit in (pretrained.fit_frozen, pretrained.fit_towers):
        with pytest.warns(UserWarning, match="^1 of 2 texts are longer than the 12 word pieces"):
            fit(*own_pair(), data, steps=1, batch=2, generator=torch.Generator().manual_seed(0))


def test_towers_without_a_pooler_are_trained_frozen_too():
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}
    text = DistilBertModel(DistilBertConfig(**sizes, max_position_embeddings=40))
    trio = CLIPModel(8, vision=tiny_resnet(), text=text), ByLetters(), shrink
    run = pretrained.fit_frozen(
        *trio, squares(), steps=60, batch=16, rate=0.03, generator=torch.Generator().manual_seed(0)
    )
    assert run.curve()[-1] < run.curve()[0]
    assert (
        pretrained.fit_towers(*trio, squares(), steps=1, batch=4, generator=torch.Generator().manual_seed(0)).step
        == 1
    )


@pytest.mark.usefixtures("server")
def test_the_towers_get_the_smaller_rate_and_the_scale_no_decay_but_a_limit(monkeypatch):
    groups, options = [], {}

    def fit(model, loss, optimizer, **others):
        groups.extend(optimizer.param_groups)
        options.update(others)

    monkeypatch.setattr(pretrained.training, "fit", fit)
    pair = pretrained.resnet_and_bert()
    pretrained.fit_towers(
        *pair, squares(), steps=5, rate=1e-5, maps_rate=1e-4, generator=torch.Generator().manual_seed(0)
    )
    assert [group["max_lr"] for group in groups] == [1e-5, 1e-4, 1e-4]
    assert [group["weight_decay"] > 0 for group in groups] == [True, True, False]
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in pair[0].parameters()}
    assert options["mixed"]
    pair[0].logit_scale.log_scale.data.fill_(9.0)
    options["after_step"]()
    assert pair[0].logit_scale().item() == pytest.approx(100)


def test_a_batch_holds_no_picture_twice_and_any_of_its_captions():
    data = Captioned(images=[None] * 4, captions=[["a"], ["b", "c"], ["d", "e", "f"], ["g"]])
    generator, said = torch.Generator().manual_seed(0), set()
    for _ in range(60):
        rows, texts = pretrained._draw(data, 3, generator)
        assert len(set(rows.tolist())) == 3
        assert torch.equal(data.owner[texts], rows)
        said |= set(texts.tolist())
    assert said == set(range(7))
    assert len(pretrained._draw(data, 100, generator)[0]) == 4


def values(found, way):
    return {k: recall.value for k, recall in found[way].items()}


def test_a_hit_is_any_of_a_pictures_captions_among_the_first():
    """By hand: rank all captions for each picture, and look for the first of its own."""
    generator = torch.Generator().manual_seed(0)
    owner = torch.cat([torch.arange(30), torch.randint(30, (60,), generator=generator)])
    za = torch.randn(30, 5, generator=generator)
    zb = za[owner] + 2 * torch.randn(90, 5, generator=generator)
    found = pretrained.measure_retrieval(za, zb, owner)
    order = (za @ zb.T).argsort(dim=1, descending=True)
    first = [owner[order[row]].tolist().index(row) for row in range(30)]
    expected = {k: sum(rank < k for rank in first) / 30 for k in (1, 5, 10)}
    assert values(found, "image to text") == pytest.approx(expected)
    assert 0 < expected[1] < expected[10] < 1
    assert found["text to image"] == retrieval(zb, za, targets=owner)
    for recall in found["image to text"].values():
        assert recall.low < recall.value < recall.high


def test_with_one_caption_a_picture_it_is_the_ordinary_recall():
    generator = torch.Generator().manual_seed(1)
    za, zb = (torch.randint(-1, 2, (700, 6), generator=generator).float() for _ in range(2))  # full of ties
    found = pretrained.measure_retrieval(za, zb, torch.arange(700))
    assert found["image to text"] == {
        k: pytest.approx(tuple(recall), abs=1e-9) for k, recall in retrieval(za, zb).items()
    }


def test_a_collapsed_model_gets_what_chance_gets():
    generator = torch.Generator().manual_seed(0)
    same = F.normalize(torch.randn(1, 512, generator=generator), dim=1)
    za, zb = same.repeat(20, 1), same * (1 + 1e-6 * torch.rand(100, 1, generator=generator))  # but for rounding
    owner = torch.arange(20).repeat_interleave(5)
    found = values(pretrained.measure_retrieval(za, zb, owner, k=(1, 5, 96)), "image to text")
    assert found == pytest.approx({1: 0.05, 5: 1 - math.comb(95, 5) / math.comb(100, 5), 96: 1.0})


def test_ties_count_as_the_mean_over_their_orders():
    """Of a picture's captions and another's: one ahead, then two own and three others level, then the rest."""
    za = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    first = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1])
    owner = torch.tensor([1, 0, 0, 1, 1, 1, 0])
    found = pretrained._hits(za[:1], torch.tensor([0]), torch.stack([first, 1 - first], 1), owner, range(1, 8))[0]
    orders = list(itertools.permutations([True, True, False, False, False]))
    expected = [0.0, *(sum(any(order[:places]) for order in orders) / len(orders) for places in range(1, 6)), 1.0]
    assert found.tolist() == pytest.approx(expected)


def test_a_picture_without_a_caption_is_refused():
    with pytest.raises(ValueError, match="owner must name each of the 3 pictures"):
        pretrained.measure_retrieval(torch.eye(3), torch.eye(3), torch.tensor([0, 1, 1]))
