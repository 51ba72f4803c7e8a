"""Losses: how far predictions are from targets, as one number to go down."""

from __future__ import annotations

from typing import Any

from minidl.ops.broadcast import floating


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """(x − target)², averaged, summed, or ("none") element by element.

    Raises: ValueError unless both have one shape: (N, 1) against (N,) would silently broadcast to (N, N).
    """
    check_reduction("mse_loss", reduction)
    x, target = floating("mse_loss", x), floating("mse_loss", target)
    if x.shape != target.shape:
        raise ValueError(f"mse_loss: input {x.shape} and target {target.shape} must have one shape; nothing broadcasts")
    difference = x - target
    squares = difference * difference
    if reduction == "mean":
        return squares.mean()
    return squares.sum() if reduction == "sum" else squares


def check_reduction(op: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'{op}: reduction must be "mean", "sum" or "none", got {reduction!r}')
