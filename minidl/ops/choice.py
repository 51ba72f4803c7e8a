"""Comparison and choice between elements: ==, <, where, maximum, minimum, clip.

What is chosen is a step function of the inputs, with derivative 0; so the gradient goes to whatever was chosen.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import active, array_module, is_array, is_floating, plain, weak_scalar
from minidl.ops.broadcast import broadcastable, common_shape, floating, operands, sum_to
from minidl.tensor import Tensor, raw, tensor_method


class Where(Function):
    """y = a where the condition holds, else b.  The gradient goes to whichever was chosen."""

    def forward(self, condition, a, b):
        self.shapes = a.shape, b.shape
        return array_module(condition).where(condition, a, b)

    def backward(self, g, condition):
        to_a, to_b = self.shapes
        return (
            None,
            sum_to(where(condition, g, 0), to_a) if self.needs[1] else None,
            sum_to(where(condition, 0, g), to_b) if self.needs[2] else None,
        )


class Maximum(Function):
    """y = max(a, b).  The gradient goes to the larger one; at a tie, half to each (as in PyTorch)."""

    def forward(self, a, b):
        return array_module(a).maximum(a, b)

    def backward(self, g, a, b, y):
        share = (1 + (a == y).astype(g.dtype) - (b == y).astype(g.dtype)) * 0.5  # 1, ½ or 0
        return (
            sum_to(g * share, a.shape) if self.needs[0] else None,
            sum_to(g * (1 - share), b.shape) if self.needs[1] else None,
        )


class Minimum(Maximum):
    """y = min(a, b).  The gradient goes to the smaller one; at a tie, half to each."""

    def forward(self, a, b):
        return array_module(a).minimum(a, b)


class Clip(Function):
    """y = min(max(x, low), high).  ∂L/∂x = g where low ≤ x ≤ high, else 0."""

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = low, high

    def forward(self, x):
        return array_module(x).clip(x, self.low, self.high).astype(x.dtype, copy=False)

    def backward(self, g, x):
        inside = True
        if self.low is not None:
            inside = inside & (x >= self.low)
        if self.high is not None:
            inside = inside & (x <= self.high)
        return where(inside, g, 0)


# ------------------------------------------------------------------------------------------------- public functions


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where `condition` (a boolean array or Tensor) holds, b elsewhere; all three broadcast."""
    if getattr(condition, "dtype", None) != np.bool_:
        kind = getattr(condition, "dtype", type(condition).__name__)
        raise TypeError(f"where: expected a boolean array as condition, got {kind}; write x != 0 or x > 0")
    a, b = operands("where", a, b)
    common_shape("where", condition.shape, a.shape, b.shape)
    return Where()(condition, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b, element by element; at a tie each gets half of the gradient."""
    return Maximum()(*broadcastable("maximum", a, b))


def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b, element by element; at a tie each gets half of the gradient."""
    return Minimum()(*broadcastable("minimum", a, b))


@tensor_method("clip")
def clip(x: Any, low: float | None = None, high: float | None = None) -> Any:
    """x limited to low ≤ x ≤ high; None is no limit."""
    if low is None and high is None:
        raise ValueError("clip: at least one of low and high must be given")
    for bound in (low, high):
        if bound is not None and not isinstance(bound, numbers.Real):
            raise TypeError(f"clip: low and high must be numbers, got {type(bound).__name__}; see maximum and minimum")
    if any(bound is not None and not isinstance(bound, numbers.Integral) for bound in (low, high)):
        x = floating("clip", x)
    return Clip(low, high)(x)


# Comparisons give plain boolean arrays: no gradient flows through them.


def _comparison(name: str) -> Callable[[Any, Any], Any]:
    def compare(a: Any, b: Any) -> Any:
        number = isinstance(b, numbers.Real | np.bool_)
        if not number and not isinstance(b, Tensor) and not is_array(b):
            return NotImplemented  # Python then says what cannot be compared; == and != fall back to identity
        if not number and a.shape != b.shape:
            common_shape(name, a.shape, b.shape)
        if is_floating(a.dtype) and (number or (is_array(b) and b.ndim == 0)):
            b = weak_scalar(b, raw(a))  # 0.1 in float32 is not 0.1 in float64
        with active(common_device(name, (a, b))):
            return getattr(raw(a), name)(raw(plain(b)))

    return compare


for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(Tensor, _name, _comparison(_name))
