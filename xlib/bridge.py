"""Bridges: what joins two modalities that have few pairs of their own, or none, through one that is paired with both.

Pictures and texts are trained together, texts and sounds too; pictures and sounds never meet. `cosine_range` says how
little two good cosines promise about the third, `detour` goes through the middle instead, and `relative` needs a few
pairs and no training. `norm_parameters` picks the few weights that can be adapted to new data without any labels.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlib import _sizes, _validate
from xlib.space import _unit

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)  # the first: BatchNorm, InstanceNorm


class CosineRange(NamedTuple):
    """The least and the largest cosine that are possible, and their middle."""

    least: Tensor
    middle: Tensor
    most: Tensor


@torch.no_grad()
def cosine_range(a: float | Tensor, b: float | Tensor) -> CosineRange:
    """What can the cosine of x and y be, if x has the cosine a to a third vector t, and y the cosine b?

        a b ± √((1 - a²) (1 - b²))

    Of x, the part along t is a long, and the rest √(1 - a²), at right angles to t; of y likewise. The parts along t
    give a b; the other two may point anywhere, and give anything from minus to plus the product of their lengths.
    Where their directions are independent and random, they give 0 on average, so a b is the mean; in d dimensions
    most values are within 2 / √(d - 1) of the root about it.

    Args: a, b: cosines, from -1 to 1, numbers or floating tensors whose shapes broadcast, of any shape; same dtype
    and device. What is beyond by rounding (1e-5, or twice the step of a 16-bit dtype) counts as 1 or -1.
    Returns: CosineRange(least, middle, most), tensors of the common shape, constants without gradient; in float32 at
    least.
    Raises: TypeError or ValueError that names the argument. On a GPU, where a look would mean waiting, NaN comes out
    where it went in, and a number too large counts as 1.
    Relations: least and most are cos(α + β) and cos(α - β), where a = cos(α) and b = cos(β); middle is their mean.

    Example:
        >>> cosine_range(0.6, 0.6)  # picture to caption, caption to sound
        CosineRange(least=tensor(-0.280), middle=tensor(0.360), most=tensor(1.000))
        >>> cosine_range(1.0, torch.tensor([0.3, -0.7])).least  # x is t
        tensor([ 0.300, -0.700])
    """
    like = next((value for value in (a, b) if isinstance(value, Tensor)), torch.empty(()))
    a, b = _cosines("a", a, like), _cosines("b", b, like)
    try:
        a, b = torch.broadcast_tensors(a, b)
    except RuntimeError:
        raise ValueError(
            f"b must have a shape that broadcasts with a's {tuple(a.shape)}, got {tuple(b.shape)}"
        ) from None
    middle = a * b
    root = ((1 - a) * (1 + a) * ((1 - b) * (1 + b))).sqrt()  # 1 - a² loses digits where a is near 1
    return CosineRange((middle - root).clamp(min=-1), middle, (middle + root).clamp(max=1))


def _cosines(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    """The cosines as a tensor in float32 at least, once it is known that they are some."""
    if not isinstance(value, Tensor):
        value = like.new_full((), _validate.number(name, value))
    if not value.is_floating_point() or value.dtype.itemsize == 1:
        raise TypeError(f"{name} must hold floating-point numbers of 16 bits or more, got {value.dtype}")
    if value.dtype != like.dtype:
        raise TypeError(f"{name} must have the other's dtype {like.dtype}, got {value.dtype}")
    if value.device != like.device:
        raise ValueError(f"{name} must be on the other's device {like.device}, got {value.device}")
    rounding = 1e-5 if value.dtype.itemsize > 2 else 2 * torch.finfo(value.dtype).eps
    value = _sizes.wide(value)
    wrong = ~(value.abs() <= 1 + rounding)  # NaN, too
    if _validate.reads_values(value) and wrong.any():
        raise ValueError(f"{name} must hold cosines, from -1 to 1, got {value[wrong][0].item():g}")
    return value.clamp(-1, 1)


@torch.no_grad()
def detour(queries: Tensor, hub: Tensor, gallery: Tensor) -> Tensor:
    """To the gallery through the hub: each query goes to its nearest row of the hub, and that to its nearest of the
    gallery.

    A picture seeks a sound: it goes to the caption that is nearest to it, and that caption to the nearest sound. Both
    steps are between modalities that were trained together. What is lost on the way: of all that is in the picture,
    only what the caption says can be found.

    Args: queries (B, d), hub (H, d), gallery (G, d), floating, same dtype and device; lengths do not count.
    Returns: (B,) int64, rows of the gallery. Nearest is the largest cosine; of several that differ by no more than
    rounding, the first.
    Raises: TypeError or ValueError that names the argument, for a row of zeros, too: it points nowhere.
    Relations: with `hub` as queries it is the second step alone; where every query has its double in the hub, a
    search in the gallery with the queries themselves.

    Example:
        >>> pictures, captions = torch.tensor([[1.0, 0.1], [0.1, 1.0]]), torch.tensor([[0.9, 0.4], [-0.2, 1.0]])
        >>> detour(pictures, captions, gallery=torch.tensor([[-1.0, 1.0], [1.0, 1.0], [3.0, 0.0]]))
        tensor([1, 0])
        >>> detour(pictures, pictures, gallery=torch.tensor([[-1.0, 1.0], [1.0, 1.0], [3.0, 0.0]]))  # straight on
        tensor([2, 1])
    """
    _validate.embeddings("queries", queries, wait=True)
    for name, rows in (("hub", hub), ("gallery", gallery)):
        _validate.embeddings(name, rows, like=queries, like_name="queries", same="width", wait=True)
    for name, rows in (("queries", queries), ("hub", hub), ("gallery", gallery)):
        if (nowhere := (rows == 0).all(dim=1)).any():
            row = nowhere.nonzero()[0].item()
            raise ValueError(f"{name} must have no rows of zeros (no direction, no cosine), got one in row {row}")
    return _nearest(hub, gallery)[_nearest(queries, hub)]


def _nearest(rows: Tensor, others: Tensor) -> Tensor:
    """(len(rows),) the first of the others with the largest cosine, up to rounding. A thousand rows at a time, so
    that memory stays at 1000 times the others."""
    rows, others, found = _sizes.unit(rows), _sizes.unit(others), []
    slack = 2 * torch.finfo(rows.dtype).eps * rows.shape[1] ** 0.5  # a product rounds equal rows differently
    with torch.autocast(rows.device.type, enabled=False):
        for part in rows.split(1000):
            cosines = part @ others.T  # (1000, len(others)) at most
            found.append((cosines >= cosines.amax(dim=1, keepdim=True) - slack).int().argmax(dim=1))
    return torch.cat(found)


def relative(z: Tensor, anchors: Tensor, *, keep: int, power: float) -> Tensor:
    """Where a row lies, told by its cosines to N anchors: a space that needs no training.

    Take N pairs of a picture and a sound. A new picture is described by how near it is to the N pictures, a new sound
    by how near it is to the N sounds. Both are rows of N numbers with the same meaning, and can be compared, though
    the two encoders have never met: `relative(images, paired_images, ...) @ relative(sounds, paired_sounds, ...).T`
    are their cosines. Only near anchors say something: of each row the `keep` largest cosines stay, the others and
    all below 0 become 0; the power lets the nearest count for more.

    Args:
        z: (B, d), floating; anchors: (N, d), same dtype and device. Lengths do not count.
        keep: whole, from 1 to N. Which of equal cosines stay is left open.
        power: above 0.
    Returns: (B, N), with a gradient, rows of length 1, in float32 at least. A row with no positive cosine is all 0.
    Raises: TypeError or ValueError that names the argument, for a row of zeros, too; on a GPU, where a look would
    mean waiting, such a row comes out as NaN.
    Relations: `F.normalize(cosine_similarity_matrix(z, anchors).relu() ** power, dim=1)` with keep = N.
    Source: Norelli et al. 2023 (ASIF, arXiv 2210.01738), after Moschella et al. 2023 (arXiv 2209.15430). That
    negative cosines count as 0 is a choice made here: an even power would make them positive.

    Example:
        >>> z, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
        >>> [relative(z, anchors, keep=keep, power=2) for keep in (1, 4)]  # cosines .6, .8, -.8 and -.6
        [tensor([[0., 1., 0., 0.]]), tensor([[0.490, 0.872, 0.000, 0.000]])]
    """
    _validate.embeddings("z", z)
    _validate.embeddings("anchors", anchors, like=z, like_name="z", same="width")
    _validate.whole("keep", keep, least=1, most=len(anchors))
    power = _validate.positive("power", power)
    with torch.autocast(z.device.type, enabled=False):
        cosines = _unit("z", z) @ _unit("anchors", anchors).T  # (B, N)
    values, places = cosines.topk(keep, dim=1)  # (B, keep)
    nothing = values <= 0
    largest = values[:, :1].detach().masked_fill(nothing[:, :1], 1.0)
    shares = (values / largest).masked_fill(nothing, 1.0)  # the largest is 1, whose power is 1: no row can vanish
    powers = (shares**power).masked_fill(nothing, 0.0)  # filled twice: the gradient of 0 ** 0.5 would be infinite
    return torch.zeros_like(cosines).scatter(1, places, F.normalize(powers, dim=1))


def norm_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The weights and biases of a model's normalisation layers, and nothing else left to learn: what TENT adapts.

    It changes the model: `requires_grad` is turned on for these, and off for all other parameters, whatever it was
    before. Nothing else changes, neither a weight nor whether the model is in training mode: what BatchNorm
    normalises by, its running averages or the batch, is left to `model.train()` and `model.eval()`.

    TENT lowers `dann.entropy` of the model's answers by them, which needs no labels. They are few: two numbers a
    channel.

    model: holds at least one torch.nn BatchNorm, InstanceNorm, GroupNorm, LayerNorm or RMSNorm, or a subclass, with
        weights (affine).
    Returns: the parameters in the order of `model.modules()`, each once, also where a layer or a weight is shared.
    Raises: TypeError or ValueError that names the argument; the model is then as it was.
    Source: Wang et al. 2021 (TENT, arXiv 2006.10726), where it is done for BatchNorm.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> found = norm_parameters(model)
        >>> [len(found), *(name for name, weight in model.named_parameters() if weight.requires_grad)]
        [2, '1.weight', '1.bias']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    layers = [layer for layer in model.modules() if isinstance(layer, NORMS)]
    weights = [getattr(layer, name, None) for layer in layers for name in ("weight", "bias")]
    found = list(dict.fromkeys(weight for weight in weights if weight is not None))
    if not found:
        raise ValueError(
            f"model must have a normalisation layer with weights, BatchNorm, GroupNorm, LayerNorm or the like, got "
            f"none in {type(model).__name__}"
        )
    model.requires_grad_(False)
    for weight in found:
        weight.requires_grad_(True)
    return found
