"""Encoders that others have trained: CLIP as OpenAI published it, and ResNet-50 with BERT to make one's own of.

The weights come from the hub and from torchvision's server, at fixed commits and with their digests checked; they are
read as plain tensors, and no code comes with them. Where they are not here and cannot be had: `Unavailable`.
"""

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from xlib import _sizes, _validate
from xlib.clip import CLIPModel
from xlib.contrastive import info_nce
from xlib.course import runtime, training
from xlib.data import cache
from xlib.data.pictures import Picture, as_rgb
from xlib.data.text import quiet
from xlib.encoders import _strings
from xlib.online import hub
from xlib.online.captions import Captioned
from xlib.online.download import fetch
from xlib.progress import tqdm
from xlib.retrieval import Recall, _comparable, bootstrap, retrieval

_CLIP = {
    "repository": "openai/clip-vit-base-patch32",
    "revision": "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
    "files": {
        "config.json": "sha256:b575ef3c36f2a057fa19e221650105052d61cc9c1a972ec15019c6261ec98770",
        "vocab.json": "sha256:5047b556ce86ccaf6aa22b3ffccfc52d391ea4accdab9c2f2407da5b742d4363",
        "merges.txt": "sha256:f526393189112391ce6f9795d4695f704121ce452c3aad1f5335cc41337eba85",
        "pytorch_model.bin": "sha256:a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    },
}
_BERT = {
    "repository": "google-bert/bert-base-uncased",
    "revision": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "files": {
        "config.json": "sha256:7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
        "vocab.txt": "sha256:07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        "model.safetensors": "sha256:68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
    },
}
_BATCH = 64  # pictures or texts at a time where nothing is trained

Pictures = Sequence[Picture] | Tensor


@dataclass(frozen=True)
class Encoders:
    """Two encoders into one space.

    encode_images: N pictures to (N, d) unit vectors, float32 on the CPU. PIL images of any size and mode, or paths of
        their files, are taken as a viewer would show them (`data.pictures.as_rgb`): upright, over white where they
        are transparent; one that cannot be read is named by its place. Of a tensor, (N, 3, H, W) float in [0, 1] or
        uint8, pictures are shown whole: one that is not square gets its border repeated until it is.

    encode_texts: N strings to (N, d), likewise. What lies beyond the word pieces that the model reads (77 for CLIP,
        512 for BERT) is left out, with a warning that tells how many texts are so long.
    logit_scale: what the cosines were multiplied by in training.
    """

    encode_images: Callable[[Pictures], Tensor]
    encode_texts: Callable[[Sequence[str]], Tensor]
    logit_scale: float


def clip_vit(device: torch.device | str = "cpu") -> Encoders:
    """OpenAI's CLIP with a vision transformer, ViT-B/32: d = 512, trained on 400 million pictures from the web and
    their captions (Radford et al. 2021, arXiv 2103.00020). 607 MB; MIT licence.

    Pictures are scaled (bicubic) to 224 pixels along their shorter side, and the square in the middle is taken, as in
    training. What lies beyond a text's first 77 word pieces is left out, with a warning.
    Raises: Unavailable where the weights cannot be had.

    Example:
        >>> both = clip_vit()  # doctest: +SKIP
        >>> cosines = both.encode_images(torch.rand(2, 3, 9, 9)) @ both.encode_texts(["a dog"]).T  # doctest: +SKIP
        >>> cosines.shape, both.logit_scale  # doctest: +SKIP
        (torch.Size([2, 1]), 100.0)
    """
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPTokenizerFast
    from transformers import CLIPModel as OpenAIModel

    folder = hub.snapshot(**_CLIP)
    with quiet():
        config = CLIPConfig.from_pretrained(folder, local_files_only=True)
        # By hand, because the weights lie there in torch's old format: from_pretrained would refuse that under an
        # older torch, and under some versions ask the hub in a thread to convert it.
        weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
        model = OpenAIModel.from_pretrained(None, config=config, state_dict=weights).float().eval().to(device)
        tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    side, longest = config.vision_config.image_size, config.text_config.max_position_embeddings
    prepare = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def images(pictures: Sequence[Picture], rows: Sequence[int]) -> Tensor:
        shown = [_picture("pictures", pictures, row, as_rgb) for row in rows]
        return _tensor(model.get_image_features(prepare(shown, return_tensors="pt")["pixel_values"].to(device)))

    def texts(part: list[str]) -> Tensor:
        tokens = _tokens(tokenizer, part, longest, device)
        return _tensor(model.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"]))

    return _encoders(model, tokenizer, longest, images, texts, model.logit_scale.exp().item())


def _tensor(features) -> Tensor:
    """transformers 5 returns an object that holds the vectors, earlier versions the vectors."""
    return getattr(features, "pooler_output", features)


def resnet_and_bert(embed_dim: int = 512) -> tuple[CLIPModel, Callable, Callable]:
    """`clip.CLIPModel` with pretrained towers: ResNet-50 (ImageNet, torchvision's second recipe; 102 MB) and BERT
    (base, uncased; Devlin et al. 2019, arXiv 1810.04805; 441 MB, Apache 2.0). The linear maps into the shared space
    are new, drawn from torch's global generator: train them first, with `fit_frozen`.
    Returns (model, tokenizer, preprocess): on the CPU in evaluation mode; BERT's tokenizer; and what makes of one PIL
    image the (3, 224, 224) float32 that the ResNet expects.
    Raises: Unavailable where the weights cannot be had.

    Example:
        >>> model, tokenizer, preprocess = resnet_and_bert(embed_dim=256)  # doctest: +SKIP
        >>> preprocess(Image.new("RGB", (640, 480))).shape  # doctest: +SKIP
        torch.Size([3, 224, 224])
    """
    from torchvision.models import ResNet50_Weights, resnet50
    from transformers import BertModel, BertTokenizerFast

    _validate.whole("embed_dim", embed_dim, least=1)
    published = ResNet50_Weights.DEFAULT
    name = published.url.rsplit("/", 1)[1]
    digest = name.removesuffix(".pth").rsplit("-", 1)[1]  # its beginning stands in the name, as torch.hub has it
    path = fetch([published.url], cache.folder() / "full" / name, digest=f"sha256:{digest}")
    folder = hub.snapshot(**_BERT)
    vision = resnet50(weights=None)
    vision.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    with quiet():
        text = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).float()
        tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    return CLIPModel(embed_dim, vision=vision, text=text).eval(), tokenizer, published.transforms()


def encoders(model: CLIPModel, tokenizer: Callable, preprocess: Callable) -> Encoders:
    """The encoders of such a pair as it is now, on the device where it lies. They work in evaluation mode, and leave
    the model in the mode in which it was.

    Example:
        >>> both = encoders(*resnet_and_bert())  # doctest: +SKIP
        >>> both.encode_texts(["a dog", "a cat"]).shape  # doctest: +SKIP
        torch.Size([2, 512])
    """
    longest = _longest(model, tokenizer)

    def images(pictures: Sequence[Picture], rows: Sequence[int]) -> Tensor:
        return model.encode_image(_prepared(model, preprocess, "pictures", pictures, rows))

    def texts(part: list[str]) -> Tensor:
        return model.encode_text(**_tokens(tokenizer, part, longest, _device(model)))

    return _encoders(model, tokenizer, longest, images, texts, model.logit_scale().item())


def _encoders(
    model: nn.Module, tokenizer: Callable, longest: int, images: Callable, texts: Callable, logit_scale: float
) -> Encoders:
    def unit(encode: Callable, items: Sequence, title: str) -> Tensor:
        with _evaluating(model):
            return _sizes.unit(_in_batches(encode, items, device=_device(model), title=title)).cpu()

    def encode_images(pictures: Pictures) -> Tensor:
        pictures = _whole_pictures("pictures", pictures)
        return unit(lambda rows: images(pictures, rows), range(len(pictures)), "pictures")

    def encode_texts(part: Sequence[str]) -> Tensor:
        part = _strings("texts", part)
        _tell_of_cuts(tokenizer, part, longest)
        return unit(texts, part, "texts")

    return Encoders(encode_images=encode_images, encode_texts=encode_texts, logit_scale=logit_scale)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, in here only; each of its parts may have a mode of its own."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@torch.no_grad()
def _in_batches(encode: Callable, items: Sequence, *, device, title: str) -> Tensor:
    """encode of all items, (N, d) float32, `_BATCH` of them at a time."""
    done = []
    for start in tqdm(range(0, len(items), _BATCH), desc=title, leave=False, delay=1):
        with runtime.autocast(torch.device(device)):
            done.append(encode(items[start : start + _BATCH]).float())
    return torch.cat(done)


def _whole_pictures(name: str, pictures: Pictures) -> Sequence[Picture]:
    """PIL images and paths as they come; a tensor's pictures as PIL images, squares."""
    if not isinstance(pictures, Tensor):
        if getattr(pictures, "ndim", 0) == 1:  # an array of objects, or a pandas.Series: by place, not by label
            pictures = pictures.tolist()
        single = isinstance(pictures, str | os.PathLike | Image.Image)
        if single or not hasattr(pictures, "__getitem__") or not hasattr(pictures, "__len__") or not len(pictures):
            raise TypeError(f"{name} must be PIL images, one or more, or a tensor, got {pictures!r:.100}")
        for row, picture in enumerate(pictures if isinstance(pictures, list | tuple) else ()):
            if not isinstance(picture, Picture):
                kind = type(picture).__name__
                raise TypeError(f"{name} must be PIL images, one or more, or a tensor, got {kind} in place {row}")
        return pictures
    bytes_ = pictures.dtype == torch.uint8
    if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.numel() == 0:
        raise ValueError(f"{name} must be float (N, 3, H, W), got {pictures.dtype}, shape {tuple(pictures.shape)}")
    if not (bytes_ or pictures.is_floating_point()):
        raise ValueError(f"{name} must be float (N, 3, H, W), or uint8, got {pictures.dtype}")
    if not (bytes_ or (pictures.min() >= 0 and pictures.max() <= 1)):  # NaN fails too
        least, most = pictures.min().item(), pictures.max().item()
        raise ValueError(f"{name} must hold numbers from 0 to 1, got floats from {least:.3g} to {most:.3g}")
    from torchvision.transforms.functional import to_pil_image

    height, width = pictures.shape[2:]
    down, across = max(0, width - height), max(0, height - width)
    sides = (across // 2, across - across // 2, down // 2, down - down // 2)
    # The middle square would cut a number's digits through. Of 16 bits or bytes there is no padding by the border.
    squares = F.pad(_sizes.wide(pictures.detach()), sides, mode="replicate")
    return [to_pil_image(picture) for picture in (squares.byte() if bytes_ else squares).cpu()]


def _picture(name: str, pictures: Sequence[Picture], row: int, use: Callable) -> Image.Image | Tensor:
    """use(picture) of the one in this row, which an error names."""
    try:
        return use(pictures[row])
    except Exception as error:  # one of many, by what is wrong with the file
        kind = next((kind for kind in (TypeError, OSError, MemoryError) if isinstance(error, kind)), ValueError)
        raise kind(f"{name}[{row}] cannot be used: {type(error).__name__}: {error}") from error


def _prepared(
    model: CLIPModel, preprocess: Callable, name: str, pictures: Sequence[Picture], rows: Sequence[int]
) -> Tensor:
    """These pictures as a batch for the image tower, in its dtype. Decoding and scaling, milliseconds each, share the
    cores."""
    with ThreadPoolExecutor(runtime.cores()) as pool:
        ready = pool.map(lambda row: _picture(name, pictures, row, lambda x: preprocess(as_rgb(x))), rows)
        pixels = torch.stack(list(ready)).to(next(model.visual_encoder.parameters()).dtype)
    return runtime.to_device(pixels, _device(model))


def _longest(model: CLIPModel, tokenizer: Callable) -> int:
    """The most word pieces that a model reads, and its tokenizer gives."""
    text = model.text_encoder
    room = getattr(text.config, "max_position_embeddings", None) or 0
    for name, part in text.named_modules():  # RoBERTa and MPNet count a text's places from after that of the padding
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            room -= part.padding_idx + 1
    told = getattr(tokenizer, "model_max_length", math.inf)
    return min(room if room > 0 else 512, told)


def _tokens(tokenizer: Callable, texts: list[str], longest: int, device) -> dict[str, Tensor]:
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    return {name: tokens[name].to(device) for name in ("input_ids", "attention_mask")}


def _tell_of_cuts(tokenizer: Callable, texts: list[str], longest: int) -> None:
    """Warn where texts are longer than what is read of them."""
    long = [text for text in texts if len(text.encode("utf-8", "replace")) > longest - 3]  # a piece is a byte or more
    if long:
        pieces = tokenizer(long, truncation=True, max_length=longest + 1)["input_ids"]
        if cut := sum(len(ids) > longest for ids in pieces):
            warnings.warn(
                f"{cut} of {len(texts)} texts are longer than the {longest} word pieces that the model reads: the "
                "rest of them is left out",
                stacklevel=3,
            )


def fit_frozen(
    model: CLIPModel,
    tokenizer: Callable,
    preprocess: Callable,
    data: Captioned,
    *,
    steps: int,
    batch: int = 256,
    rate: float = 1e-3,
    generator: torch.Generator,
) -> training.Run:
    """The first phase: train the two linear maps and the logit scale alone, the towers frozen.

    New maps send back useless gradients, which would spoil what the towers know; and while the towers stand still
    each picture and caption goes through them once, so that this phase takes seconds once that is done.

    Args:
        model, tokenizer, preprocess: as `resnet_and_bert` returns them, the model on any device. Its towers, and the
            running averages of their batch norms, stay as they are, bit by bit; its mode, too.
        data: the pictures to train on, of any mode (`data.pictures.as_rgb`), and their captions; one that is longer
            than what the model reads is cut, with a warning. A step draws `batch` different pictures, and one caption
            of each at random.
        rate: the largest learning rate, see `training.fit_one_cycle`. generator: of the draws, on the CPU.
    Returns the Run of `training.fit`; the loss is `info_nce`.
    Raises ValueError where what is trained has 16 bits: Adam's steps would be lost in them, or NaN.

    Example:
        >>> from xlib.online.full import flickr8k
        >>> trio, data = resnet_and_bert(), flickr8k("train")  # doctest: +SKIP
        >>> run = fit_frozen(*trio, data, steps=500, generator=torch.Generator())  # doctest: +SKIP
        >>> both = encoders(*trio)  # doctest: +SKIP
    """
    maps = nn.ModuleDict({"image": model.visual_fc, "text": model.text_fc, "scale": model.logit_scale})
    _check_wide(maps)
    device, longest, own_texts = _device(model), _longest(model, tokenizer), data.texts
    pictures = _whole_pictures("data.images", data.images)
    _tell_of_cuts(tokenizer, own_texts, longest)

    def seen(rows: Sequence[int]) -> Tensor:
        return model.image_features(_prepared(model, preprocess, "data.images", pictures, rows))

    def read(texts: list[str]) -> Tensor:
        return model.text_features(**_tokens(tokenizer, texts, longest, device))

    def loss(step: int) -> Tensor:
        rows, said = (chosen.to(device) for chosen in _draw(data, batch, generator))
        za, zb = _sizes.unit(maps["image"](images[rows])), _sizes.unit(maps["text"](texts[said]))
        return info_nce(za, zb, logit_scale=maps["scale"]())

    with _evaluating(model):
        texts = _in_batches(read, own_texts, device=device, title="captions through BERT")
        images = _in_batches(seen, range(len(pictures)), device=device, title="pictures through the ResNet")
        return training.fit_one_cycle(
            maps, loss, steps=steps, rate=rate, decay=1e-4, generator=generator, title="towers frozen"
        )


def _check_wide(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.dtype.itemsize < 4:
            raise ValueError(
                f"model must be in float32 to be trained (model.float()), got {parameter.dtype}; where 16 bits pay, "
                "they are used by themselves"
            )


def fit_towers(
    model: CLIPModel,
    tokenizer: Callable,
    preprocess: Callable,
    data: Captioned,
    *,
    steps: int,
    batch: int = 64,
    rate: float = 1e-5,
    maps_rate: float = 1e-4,
    generator: torch.Generator,
) -> training.Run:
    """The second phase: train all of it, the towers at a much smaller rate than the maps.

    For a GPU: on two CPU cores a step took a minute, and 8 GB. Arguments as for `fit_frozen`; rate: the towers'
    largest learning rate, maps_rate: that of the linear maps and the scale.

    Example:
        >>> from xlib.online.full import flickr8k
        >>> trio, data = resnet_and_bert(), flickr8k("train")  # doctest: +SKIP
        >>> run = fit_frozen(*trio, data, steps=500, generator=torch.Generator())  # doctest: +SKIP
        >>> run = fit_towers(*trio, data, steps=2000, generator=torch.Generator())  # doctest: +SKIP
    """
    _check_wide(model)
    device, longest, texts = _device(model), _longest(model, tokenizer), data.texts
    pictures = _whole_pictures("data.images", data.images)
    _tell_of_cuts(tokenizer, texts, longest)

    def loss(step: int) -> Tensor:
        rows, said = _draw(data, batch, generator)
        pixels = _prepared(model, preprocess, "data.images", pictures, rows.tolist())
        za, zb, scale = model(pixels, **_tokens(tokenizer, [texts[index] for index in said], longest, device))
        return info_nce(za, zb, logit_scale=scale)

    maps = [*model.visual_fc.parameters(), *model.text_fc.parameters()]
    groups = [
        {"params": [*model.visual_encoder.parameters(), *model.text_encoder.parameters()]},
        {"params": maps},
        {"params": model.logit_scale.parameters(), "weight_decay": 0.0},  # decay would pull the scale towards 1
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=1e-2)
    total = max(steps, 2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [rate, maps_rate, maps_rate], total_steps=total, pct_start=max(0.2, 1.5 / total)
    )
    with _evaluating(model):
        return training.fit(
            _Still(model),
            loss,
            optimizer,
            steps=steps,
            scheduler=schedule,
            after_step=model.logit_scale.clamp_,
            generator=generator,
            mixed=True,
            title="towers and maps",
        )


class _Still(nn.Module):
    """Holds a model in evaluation mode, though `fit` asks for training mode: gradients flow all the same. In training
    mode batch norms would normalise by the few pictures of a batch, and move averages that come from a million; and
    dropout would draw from the global generator."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> "_Still":
        return super().train(False)


def _draw(data: Captioned, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of different pictures, and for each the row in `data.texts` of one of its captions."""
    count = torch.tensor([len(own) for own in data.captions])
    first = count.cumsum(0) - count
    rows = torch.randperm(len(count), generator=generator)[:batch]
    return rows, first[rows] + (torch.rand(len(rows), generator=generator) * count[rows]).long()


def measure_retrieval(
    za: Tensor,
    zb: Tensor,
    owner: Tensor,
    *,
    k: Sequence[int] = (1, 5, 10),
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, dict[int, Recall]]:
    """Recall at k both ways, where a picture has several captions.

    From text to image, the one right answer is the picture that the caption belongs to. From image to text, any of
    the picture's captions is: a hit is when the best-ranked of them is among the k first, which is how the papers
    count. Ties are treated as in `retrieval`: the expectation over their orders.

    Args:
        za: (N, d) pictures. zb: (M, d) captions. owner: (M,) int64, each caption's picture; every picture has one.
        k, resamples, level: as for `retrieval`.
    Returns {"image to text": {k: Recall}, "text to image": {k: Recall}}.
    Raises: TypeError or ValueError that names the argument.
    Relations: with one caption a picture, `retrieval(za, zb)` and `retrieval(zb, za)`.

    Example:
        >>> za, zb = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
        >>> found = measure_retrieval(za, zb, torch.tensor([0, 1, 1]), k=(1,), resamples=10)  # the last one misses
        >>> found["image to text"][1].value, found["text to image"][1].value
        (1.0, 0.67)
    """
    options = {"k": k, "resamples": resamples, "level": level}
    back = retrieval(zb, za, targets=owner, **options)  # checks all of the arguments but the next
    if len(owner.unique()) < len(za):
        raise ValueError(f"owner must name each of the {len(za)} pictures at least once")
    hits = torch.cat([_hits(za[rows], rows, zb, owner, k) for rows in torch.arange(len(za)).split(500)])
    return {"image to text": bootstrap(hits, k, resamples=resamples, level=level), "text to image": back}


def _hits(za: Tensor, rows: Tensor, zb: Tensor, owner: Tensor, k: Sequence[int]) -> Tensor:
    """(len(za), len(k)) float64: the chance that one of a picture's own captions is among the k most similar ones."""
    za, zb, length, rounding = _comparable(za, zb)
    similar = za @ zb.T
    own = owner == rows.to(owner.device)[:, None]
    best, right = similar.masked_fill(~own, -math.inf).max(dim=1, keepdim=True)
    # As in `retrieval`: what differs by no more than the rounding of the two products is a tie.
    slack = rounding[:, None] * (length + length[right])
    ahead = (similar > best + slack).sum(dim=1).cpu().double()
    level = (similar - best).abs() <= slack
    right, wrong = ((level & which).sum(dim=1).cpu().double() for which in (own, ~own))
    chances = []
    for rank in k:
        places = (min(rank, len(zb)) - ahead).clamp(min=0).minimum(right + wrong)
        # None of the right ones in the first `places` of those level: C(wrong, places) / C(right + wrong, places).
        # With more places than wrong ones a logarithm is infinite, and the quotient 0, as it should be.
        none = sum(
            sign * torch.lgamma(count + 1)
            for sign, count in ((1, wrong), (-1, wrong - places), (-1, right + wrong), (1, right + wrong - places))
        )
        chances.append(1 - none.exp())
    return torch.stack(chances, dim=1)
