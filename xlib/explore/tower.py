"""Small encoders read from torch's modules, for tower.js to compute in the browser."""

import torch
from torch import nn

TOLERANCE = 1e-4  # how far what the browser would compute may be from what the encoders do
LAYERS = (nn.Conv2d, nn.GroupNorm, nn.GELU, nn.ReLU, nn.Flatten, nn.Linear)
SKIPPED = (nn.Dropout, nn.Dropout2d, nn.Identity)  # which do nothing in evaluation mode


class Plan:
    """What an image encoder, and a text encoder where there is one, are made of.

    image: a module in evaluation mode of (1, C, H, W) float32 to (1, d), its parts one after the other. size: (H, W).
    width: d, of the embeddings. `data` is what tower.js reads, and `weights` all tensors' numbers, float32.
    Raises TypeError or ValueError naming `image_encoder` or `text_encoder` where it is made of something else.

    Example:
        >>> plan = Plan(nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 8, 2)), (4, 8), 2)
        >>> plan.data["shape"], [layer["kind"] for layer in plan.data["image"]], len(plan.weights()) // 4
        ([3, 4, 8], ['flatten', 'linear'], 194)
    """

    def __init__(self, image, size, width, text=None):
        self._tensors, self._length, self._width = [], 0, width
        leaves = [leaf for leaf in _leaves(image) if not isinstance(leaf, SKIPPED)]
        self.data = {"shape": [_channels(leaves, size), *size]}
        self._read_image(image, leaves)
        if text is not None:
            self._read_text(text)

    def weights(self) -> bytes:
        return torch.cat(self._tensors).numpy().astype("<f4").tobytes()

    def _put(self, tensor):
        """Where the tensor stands among the weights, and its shape."""
        if tensor is None:
            return None
        start, self._length = self._length, self._length + tensor.numel()
        self._tensors.append(tensor.detach().flatten())
        return [start, list(tensor.shape)]

    @torch.no_grad()
    def _read_image(self, image, leaves):
        """Put the layers into the plan. Where these, one after the other, are not the encoder, it does more."""
        probe = torch.linspace(0, 1, torch.Size(self.data["shape"]).numel()).view(1, *self.data["shape"])
        self.data["image"], x = [], probe
        for leaf in leaves:
            if isinstance(leaf, nn.Linear) and x.ndim != 2:
                raise ValueError(f"image_encoder must flatten before {leaf}, got {tuple(x.shape)} there")
            self.data["image"].append(self._layer(leaf))
            try:
                x = leaf(x)
            except RuntimeError as error:
                raise ValueError(f"image_encoder must take pictures of {self.data['shape']}, got: {error}") from error
        made = image(probe)
        if made.ndim != 2 or made.shape != x.shape or (made - x).abs().max() > TOLERANCE * made.abs().max():
            raise ValueError(
                f"image_encoder must do what its layers do one after the other, and give (1, d); got a "
                f"{type(image).__name__} that does something else"
            )
        self._fits("image_encoder", made)

    def _fits(self, name, made):
        if not made.isfinite().all():
            raise ValueError(f"{name} must give finite numbers, got {made.flatten()[:5].tolist()}")
        if made.shape[1] != self._width:
            raise ValueError(f"{name} must give {self._width} numbers, as embeddings has, got {made.shape[1]}")

    def _layer(self, leaf):
        """One layer, as tower.js wants it."""
        own = {name: self._put(getattr(leaf, name, None)) for name in ("weight", "bias")}
        match leaf:
            case nn.Conv2d(groups=1, dilation=(1, 1), padding_mode="zeros", padding=tuple()):
                return own | {"kind": "conv", "stride": list(leaf.stride), "padding": list(leaf.padding)}
            case nn.GroupNorm():
                return own | {"kind": "norm", "groups": leaf.num_groups, "eps": leaf.eps}
            case nn.GELU(approximate="none"):
                return {"kind": "gelu"}
            case nn.ReLU():
                return {"kind": "relu"}
            case nn.Flatten(start_dim=1, end_dim=-1):
                return {"kind": "flatten"}
            case nn.Linear():
                return own | {"kind": "linear"}
        raise ValueError(f"image_encoder must be made of layers with usual options, got {leaf}")

    @torch.no_grad()
    def _read_text(self, text):
        kinds = {"embed": nn.Embedding, "gru": nn.GRU, "project": nn.Linear}
        for name, kind in kinds.items():
            if not isinstance(part := getattr(text, name, None), kind):
                came = type(part).__name__
                raise TypeError(f"text_encoder must have an nn.{kind.__name__} as its `{name}`, got {came}")
        gru = text.gru
        if (gru.num_layers, gru.bidirectional, gru.batch_first) != (1, False, True):
            raise ValueError(f"text_encoder must read with one layer, forwards, batch first, got {gru}")
        tokens = torch.arange(text.embed.num_embeddings)[-3:][None]
        found = text(tokens)
        wanted = text.project(gru(text.embed(tokens))[0].mean(dim=1))
        if found.shape != wanted.shape or (found - wanted).abs().max() > TOLERANCE * wanted.abs().max():
            raise ValueError(
                "text_encoder must project the mean of its GRU's states, got one that does something else"
            )
        self._fits("text_encoder", found)
        names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
        self.data["text"] = {
            "embed": self._put(text.embed.weight),
            "gru": [self._put(getattr(gru, name, None)) for name in names],
            "project": {name: self._put(getattr(text.project, name)) for name in ("weight", "bias")},
        }


def _leaves(module):
    """The layers that a module is made of, in order; its forward is taken to go through them one after the other."""
    if type(module) in LAYERS + SKIPPED:
        return [module]
    if not (children := list(module.children())):
        names = ", ".join(kind.__name__ for kind in LAYERS)
        raise TypeError(f"image_encoder must be made of {names}, got {module}")
    return [leaf for child in children for leaf in _leaves(child)]


def _channels(leaves, size):
    """How many channels a picture has."""
    for leaf in leaves:
        if isinstance(leaf, nn.Conv2d):
            return leaf.in_channels
        if isinstance(leaf, nn.Linear):
            return max(leaf.in_features // (size[0] * size[1]), 1)
    return 3
