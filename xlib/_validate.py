"""Checks of arguments, shared by all modules: say which argument, what came, and what was expected."""

import torch


def embeddings(name: str, x: torch.Tensor, *, like: torch.Tensor | None = None, like_name: str = "") -> None:
    """Raise unless x is a finite, floating, non-empty (rows, dimensions) tensor; with `like`, of its shape,
    dtype and device too."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of shape (rows, dimensions), got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must hold floating-point numbers, got {x.dtype}")
    if x.ndim != 2 or x.numel() == 0:
        raise ValueError(
            f"{name} must be non-empty with shape (rows, dimensions), got shape {tuple(x.shape)}"
        )
    if like is not None:
        if x.shape != like.shape:
            raise ValueError(
                f"{name} must have {like_name}'s shape {tuple(like.shape)}, got {tuple(x.shape)}"
            )
        if x.dtype != like.dtype:
            raise TypeError(f"{name} must have {like_name}'s dtype {like.dtype}, got {x.dtype}")
        if x.device != like.device:
            raise ValueError(f"{name} must be on {like_name}'s device {like.device}, got {x.device}")
    if not torch.isfinite(x).all():
        bad = (~torch.isfinite(x)).any(dim=1).nonzero()[0].item()
        raise ValueError(f"{name} must be finite, got NaN or infinity, first in row {bad}")


def choice(name: str, value: str, options: tuple[str, ...]) -> None:
    """Raise unless value is one of the options."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")


def positive(name: str, value: float | torch.Tensor) -> None:
    """Raise unless value is a finite number (or one-element tensor) above zero."""
    number = float(value)
    if not (0 < number < float("inf")):
        raise ValueError(f"{name} must be a finite number above 0, got {number}")
