"""Checks of arguments, shared by all modules: say which argument, what came, and what was expected."""

import math
import numbers

import torch
from torch import Tensor
from torch.autograd import forward_ad

SAME = {"shape": slice(0, 2), "rows": slice(0, 1), "width": slice(1, 2)}


def reads_values(x: object) -> bool:
    """Whether a look at the values of x costs no waiting. A GPU would first finish all that it was given, and a
    compiler and `torch.func` have no values: what is wrong there shows as a loss that is not finite, which
    `training.fit` names."""
    if not isinstance(x, Tensor):
        return True
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not traced(x)


def traced(x: Tensor) -> bool:
    """Whether x stands for the many values of `torch.func.vmap`, is watched by `grad` and its kin, or carries a
    tangent (forward mode)."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.is_functorch_wrapped_tensor(x) or forward_ad.unpack_dual(x).tangent is not None


def embeddings(
    name: str, x: Tensor, *, like: Tensor | None = None, like_name: str = "", same: str = "shape", wait: bool = False
) -> None:
    """Raise unless x is a finite, floating, non-empty (rows, dimensions) tensor; with `like`, of its dtype and
    device too, and of the same "shape", number of "rows", or "width". `wait`: look at values even where that takes
    waiting, because what is measured of NaN may look like a number."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of shape (rows, dimensions), got {type(x).__name__}")
    if x.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got {x.layout}")
    if not x.is_floating_point() or x.dtype.itemsize == 1:  # torch has few functions of 8 bits
        raise TypeError(f"{name} must hold floating-point numbers of 16 bits or more, got {x.dtype}")
    if x.ndim != 2 or x.numel() == 0:
        raise ValueError(f"{name} must be non-empty with shape (rows, dimensions), got shape {tuple(x.shape)}")
    if like is not None:
        if x.shape[SAME[same]] != like.shape[SAME[same]]:
            raise ValueError(
                f"{name} must have {like_name}'s {same}, got {tuple(x.shape)} beside {tuple(like.shape)}"
            )
        if x.dtype != like.dtype:
            raise TypeError(f"{name} must have {like_name}'s dtype {like.dtype}, got {x.dtype}")
        if x.device != like.device:
            raise ValueError(f"{name} must be on {like_name}'s device {like.device}, got {x.device}")
    if (wait or reads_values(x)) and not torch.isfinite(x).all():
        bad = (~torch.isfinite(x)).any(dim=1).nonzero()[0].item()
        raise ValueError(f"{name} must be finite, got NaN or infinity, first in row {bad}")


def choice(name: str, value: str, options: tuple[str, ...]) -> None:
    """Raise unless value is one of the options."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")


def number(name: str, value: float | Tensor) -> float | Tensor:
    """Raise unless value is a finite number or one-element tensor; return it as a float, or as a scalar tensor
    without gradient where reading it would take waiting."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex():
            raise ValueError(f"{name} must hold one real number, got shape {tuple(value.shape)} and {value.dtype}")
        if not reads_values(value):
            return value.detach().reshape(())
        value = value.detach().item()
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number or one-element tensor, got {value!r}")
    try:
        found = float(value)
    except OverflowError:  # such as 10**400
        found = math.inf
    if not -math.inf < found < math.inf:  # which torch.compile can follow, for a number that changes
        raise ValueError(f"{name} must be a finite number, got {found}")
    return found


def positive(name: str, value: float | Tensor) -> float | Tensor:
    """Raise unless value is a number as above and above zero; return it as `number` does."""
    found = number(name, value)
    if reads_values(found) and found <= 0:
        raise ValueError(f"{name} must be above 0, got {found}")
    return found


def whole(name: str, value: int, *, least: int, most: int | None = None) -> None:
    """Raise unless value is an integer from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least or (most is not None and value > most):
        to = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be {to}, got {value}")
