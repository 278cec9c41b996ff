"""CLIP: classification by caption in a shared space, and the full-size pair of encoders, ResNet-50 and BERT.

The small pairs of the lessons are made of `xlib.encoders`; their loss is `xlib.contrastive.info_nce`.
"""

import copy
import inspect
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from xlib import _sizes, _validate
from xlib.contrastive import LogitScale
from xlib.encoders import _mean_of_words, _strings
from xlib.progress import tqdm


@torch.no_grad()
def zero_shot_weights(
    encode_text: Callable[[list[str]], Tensor],
    classnames: Iterable[str],
    templates: Iterable[str] = ("{}",),
    *,
    batch: int = 256,
) -> Tensor:
    """A classifier made of words: one unit vector a class, the mean direction of its name in several sentences.

    For each class, its name is put into each template, each sentence becomes a *unit* vector, and their mean is
    scaled back to length 1. Without the first normalisation a long vector would outvote the others; without
    the second a class whose sentences disagree would get smaller logits than the rest. Of all C T sentences at most
    `batch` are in memory at once, and no gradient flows back through the weights: to train the encoder or the prompts
    through them (as CoOp does), write the two normalisations out.

    Args: encode_text, from a list of B strings to (B, d); classnames, C of them; templates, T strings, each with one
    "{}" for the name; batch, the most strings that encode_text is given in one call.
    Returns: (C, d) in the dtype of encode_text's vectors, computed in float32 at least; `F.normalize(images, dim=1) @
    weights.T` are the cosines to each class.
    Raises: TypeError or ValueError that names the argument.
    Relations: with one template, `F.normalize(encode_text(sentences), dim=1)`; see also `retrieval.retrieval`.
    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.1.4.

    Example:
        >>> encode = lambda texts: Tensor([[text.count("cat"), text.count("dog")] for text in texts])
        >>> weights = zero_shot_weights(encode, ["cat", "dog"], ["a {}", "no dog but a {}"])
        >>> nn.functional.normalize(Tensor([[3.0, 1.0]]), dim=1) @ weights.T  # a picture, most of it cat
        tensor([[0.998, 0.316]])
    """
    classnames, templates = _strings("classnames", classnames), _strings("templates", templates)
    _validate.whole("batch", batch, least=1)
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"templates must each hold {{}} once, got {template!r}")
    rows, many = [], max(1, batch // len(templates))  # whole classes at a time, where several fit into a batch
    for start in tqdm(range(0, len(classnames), many), desc="classes", leave=False, delay=1):
        names = classnames[start : start + many]
        texts = [template.replace("{}", name) for name in names for template in templates]
        parts = [_encoded(encode_text, texts[first : first + batch]) for first in range(0, len(texts), batch)]
        unit = torch.cat([_sizes.unit(part) for part in parts]).view(len(names), len(templates), -1)  # (names, T, d)
        rows.append(_sizes.unit(unit.mean(dim=1)))
    return torch.cat(rows).to(parts[0].dtype)  # (C, d)


def _encoded(encode_text: Callable[[list[str]], Tensor], texts: list[str]) -> Tensor:
    vectors = encode_text(texts)
    _validate.embeddings("the result of encode_text", vectors, wait=True)
    if len(vectors) != len(texts):
        raise ValueError(f"encode_text must return a row a text, {len(texts)}, got {len(vectors)}")
    return vectors


class CLIPModel(nn.Module):
    """The full-size pair: ResNet-50 for images, BERT for texts, a linear map from each into the shared space.

    Both towers are built from their configurations, with random weights and without a download. With a network,
    start from pretrained ones: vision=torchvision.models.resnet50(weights="DEFAULT"),
    text=transformers.BertModel.from_pretrained("bert-base-uncased").

    Args: embed_dim, dimensions of the shared space.
    vision: a classifier of pictures that ends in one linear layer, which is left out: torchvision's or timm's ResNet,
    RegNet, DenseNet, EfficientNet, MobileNet, ConvNeXt, ViT, Swin and the like (default ResNet-50).
    text: a transformers model without a head: BERT, RoBERTa, DistilBERT, MPNet, ALBERT, T5's encoder, GPT-2 and the
    like (default BERT-base). Its pooled output is taken and, where it has none, the mean of its last states over the
    text's tokens.
    The given models stay as they are, but their weights are not copied: whoever trains this model trains them too.
    Raises: TypeError or ValueError for towers of other kinds.
    Source: Radford et al. 2021 (arXiv 2103.00020), fig. 3; ResNet: He et al. 2016 (arXiv 1512.03385);
    BERT: Devlin et al. 2019 (arXiv 1810.04805).

    Example:
        >>> import torch, torchvision, transformers
        >>> vision, bert = torchvision.models.resnet18(), transformers.BertConfig(hidden_size=12, num_hidden_layers=1)
        >>> model = CLIPModel(8, vision=vision, text=transformers.BertModel(bert)).eval()
        >>> [z.norm().item() for z in model(torch.ones(1, 3, 32, 32), *torch.ones(2, 1, 5, dtype=torch.int64))]
        [1.00, 1.00, 14.29]
    """

    def __init__(self, embed_dim: int = 512, *, vision: nn.Module | None = None, text: nn.Module | None = None):
        super().__init__()
        _validate.whole("embed_dim", embed_dim, least=1)
        if vision is None:
            from torchvision.models import resnet50

            vision = resnet50(weights=None)
        if text is None:
            from transformers import BertConfig, BertModel

            text = BertModel(BertConfig())
        name, last = _last_layer(vision)
        width = _text_width(text)
        self.visual_encoder, self.text_encoder = _without(vision, name), text  # ImageNet's classes are of no use here
        self.visual_fc = nn.Linear(last.in_features, embed_dim)
        self.text_fc = nn.Linear(width, embed_dim)
        self.logit_scale = LogitScale()

    def image_features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), normalised as the tower expects, to what the linear map is fed with."""
        features = self.visual_encoder(images)
        return getattr(features, "logits", features)  # Inception and transformers' classifiers return more than that

    def text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens and mask, both (B, L) int64, to what the linear map is fed with."""
        found = self.text_encoder(input_ids=input_ids, attention_mask=attention_mask, return_dict=True)
        pooled = getattr(found, "pooler_output", None)
        return _mean_of_words(found.last_hidden_state, attention_mask) if pooled is None else pooled

    def encode_image(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) float, normalised as the tower expects, to (B, embed_dim)."""
        return self.visual_fc(self.image_features(images).to(self.visual_fc.weight.dtype))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens and mask, both (B, L) int64, to (B, embed_dim)."""
        return self.text_fc(self.text_features(input_ids, attention_mask).to(self.text_fc.weight.dtype))

    def forward(self, images: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors of images and of texts, (B, embed_dim) each and in float32 at least, whatever the model's
        dtype or autocast; and the logit scale: what `info_nce` takes."""
        za = _sizes.unit(self.encode_image(images))  # (B, embed_dim)
        zb = _sizes.unit(self.encode_text(input_ids, attention_mask))  # (B, embed_dim)
        return za, zb, self.logit_scale()


def _last_layer(vision: nn.Module) -> tuple[str, nn.Linear]:
    """The linear layer in which a classifier of pictures ends, and its name."""
    if not isinstance(vision, nn.Module):
        raise TypeError(f"vision must be a torch.nn.Module, got {vision!r:.200}")
    names = {name.rpartition(".")[2] for name, _ in vision.named_modules()}
    one = not names & {"head_dist", "distillation_classifier", "aux_head"}  # a distilled ViT, for one, ends in two
    pictures = getattr(vision, "main_input_name", "pixel_values") == "pixel_values"  # as transformers calls them
    for name in ("fc", "head", "heads", "classifier") if one and pictures else ():
        head = dict(vision.named_children()).get(name)  # its own, and not that of a model that it wraps
        parts = () if head is None or isinstance(head, nn.ModuleList) else head.named_modules(prefix=name)
        layers = [part for part in parts if not isinstance(part[1], nn.Identity | nn.Dropout | nn.Sequential)]
        if layers and isinstance(layers[-1][1], nn.Linear):
            return layers[-1]
    raise ValueError(
        "vision must be a classifier of pictures that ends in one linear layer, named fc, head, heads or classifier, "
        f"such as torchvision's ResNet, ViT, ConvNeXt or EfficientNet, got {type(vision).__name__}"
    )


def _text_width(text: nn.Module) -> int:
    """The width of a text tower's states, if it is one."""
    if not isinstance(text, nn.Module):
        raise TypeError(f"text must be a transformers model, got {text!r:.200}")
    name, config = type(text).__name__, getattr(text, "config", None)
    width, reads = getattr(config, "hidden_size", None), inspect.signature(text.forward).parameters
    if not isinstance(width, int) or not {"input_ids", "attention_mask"} <= set(reads):
        raise ValueError(f"text must be a transformers model that reads tokens, such as BertModel, got {name}")
    if getattr(text, "base_model", text) is not text:
        raise ValueError(f"text must be a model without a head, got {name}: give its base_model")
    if getattr(config, "is_encoder_decoder", False) and hasattr(text, "decoder"):
        raise ValueError(f"text must be an encoder or a decoder alone, got {name}: give its get_encoder()")
    return width


def _without(module: nn.Module, name: str) -> nn.Module:
    """A module with the very parts of the given one, but for the layer of that name: for that, nothing."""
    name, _, rest = name.partition(".")
    other = copy.copy(module)
    other._modules = dict(module._modules)
    other._modules[name] = _without(module._modules[name], rest) if rest else nn.Identity()
    return other
