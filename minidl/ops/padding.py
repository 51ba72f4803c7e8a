"""Padding: a margin around a tensor."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.tensor import tensor_method


class Pad(Function):
    """x with a margin of a constant value.  The gradient is g without the margin."""

    def __init__(self, widths: tuple[tuple[int, int], ...], value: float) -> None:
        self.widths, self.value = widths, value

    def forward(self, x):
        self.shape = x.shape
        return array_module(x).pad(x, self.widths, constant_values=self.value)

    def backward(self, g):
        return g[tuple(slice(before, before + n) for (before, _), n in zip(self.widths, self.shape, strict=True))]


# ----------------------------------------------------------------------------------------------------- public functions


@tensor_method("pad")
def pad(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    """x with `before` and `after` elements of `value` added along each axis: widths is one such pair an axis."""
    try:
        pairs = tuple((operator.index(before), operator.index(after)) for before, after in widths)
    except (TypeError, ValueError):
        pairs = None
    if pairs is None or len(pairs) != x.ndim or any(n < 0 for pair in pairs for n in pair):
        raise ValueError(f"pad: expected {x.ndim} pairs (before, after) of at least 0, one an axis, got {widths}")
    return Pad(pairs, value)(x) if any(n for pair in pairs for n in pair) else x
