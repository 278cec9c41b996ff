"""CLIP: classification by caption in a shared space, and the full-size pair of encoders, ResNet-50 and BERT.

The small pairs of the lessons are made of `xlib.encoders`; their loss is `xlib.contrastive.info_nce`.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _validate
from xlib.contrastive import LogitScale
from xlib.encoders import _strings


def zero_shot_weights(
    encode_text: Callable[[list[str]], Tensor], classnames: Sequence[str], templates: Sequence[str] = ("{}",)
) -> Tensor:
    """A classifier made of words: one unit vector a class, the mean direction of its name in several sentences.

    For each class, its name is put into each template, each sentence becomes a *unit* vector, and their mean is
    scaled back to length 1. Without the first normalisation a long vector would outvote the others; without
    the second a class whose sentences disagree would get smaller logits than the rest.

    Args: encode_text, from a list of B strings to (B, d); classnames, C of them; templates, T strings, each with one
    "{}" for the name.
    Returns: (C, d); `F.normalize(images, dim=1) @ weights.T` are the cosines to each class.
    Raises: TypeError or ValueError that names the argument.
    Relations: with one template, `F.normalize(encode_text(sentences), dim=1)`; see also `retrieval.retrieval`.
    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.1.4.

    Example:
        >>> encode = lambda texts: Tensor([[text.count("cat"), text.count("dog")] for text in texts])
        >>> weights = zero_shot_weights(encode, ["cat", "dog"], ["a {}", "no dog but a {}"])
        >>> F.normalize(Tensor([[3.0, 1.0]]), dim=1) @ weights.T  # a picture, most of it cat
        tensor([[0.998, 0.316]])
    """
    _strings("classnames", classnames)
    _strings("templates", templates)
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"templates must each hold {{}} once, got {template!r}")
    vectors = encode_text([template.replace("{}", name) for name in classnames for template in templates])
    _validate.embeddings("the result of encode_text", vectors, wait=True)
    if len(vectors) != len(classnames) * len(templates):
        raise ValueError(
            f"encode_text must return a row a text, {len(classnames) * len(templates)}, got {len(vectors)}"
        )
    unit = F.normalize(vectors, dim=1).view(len(classnames), len(templates), -1)  # (C, T, d)
    return F.normalize(unit.mean(dim=1), dim=1)  # (C, d)


class CLIPModel(nn.Module):
    """The full-size pair: ResNet-50 for images, BERT for texts, a linear map from each into the shared space.

    Both towers are built from their configurations, with random weights and without a download. With a network,
    start from pretrained ones: vision=torchvision.models.resnet50(weights="DEFAULT"),
    text=transformers.BertModel.from_pretrained("bert-base-uncased").

    Args: embed_dim, dimensions of the shared space; vision, a torchvision ResNet, whose last layer is replaced
    (default ResNet-50); text, a transformers encoder with a pooled output (default BERT-base).
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
        self.visual_encoder, self.text_encoder = vision, text
        self.visual_fc = nn.Linear(vision.fc.in_features, embed_dim)
        self.visual_encoder.fc = nn.Identity()  # ImageNet's 1,000 classes are of no use here
        self.text_fc = nn.Linear(text.config.hidden_size, embed_dim)
        self.logit_scale = LogitScale()

    def encode_image(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) float, normalised as the tower expects, to (B, embed_dim)."""
        return self.visual_fc(self.visual_encoder(images))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens and mask, both (B, L) int64, to (B, embed_dim)."""
        return self.text_fc(self.text_encoder(input_ids=input_ids, attention_mask=attention_mask).pooler_output)

    def forward(self, images: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors of images and of texts, (B, embed_dim) each, and the logit scale: what `info_nce` takes."""
        za = F.normalize(self.encode_image(images), dim=1)  # (B, embed_dim)
        zb = F.normalize(self.encode_text(input_ids, attention_mask), dim=1)  # (B, embed_dim)
        return za, zb, self.logit_scale()
