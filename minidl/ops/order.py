"""Elements by their size: max, min.

Which element is the largest is a step function of the inputs, with derivative 0; so the gradient goes to whatever was
chosen, and of equal elements the first is chosen.
"""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.ops.broadcast import broadcast_to
from minidl.ops.reduce import Axis, normalized_axes, removed_shape
from minidl.tensor import tensor_method


class Max(Function):
    """y = max x over axes.  The gradient goes to the first element (in index order) that reaches the maximum."""

    argument, extreme = "argmax", "max"  # the two questions asked of an array

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x):
        xp = array_module(x)
        others = tuple(i for i in range(x.ndim) if i not in self.axes)
        order = others + self.axes
        K = math.prod(x.shape[i] for i in self.axes)
        rows = x.transpose(order).reshape([x.shape[i] for i in others] + [K])  # (..., K): what competes is last
        winner = getattr(rows, self.argument)(axis=-1)  # (...)
        first = winner[..., None] == xp.arange(K)  # (..., K)
        inverse = tuple(order.index(i) for i in range(x.ndim))
        self.first = first.reshape([x.shape[i] for i in order]).transpose(inverse)  # the shape of x
        return getattr(x, self.extreme)(axis=self.axes, keepdims=True)

    def backward(self, g):
        return broadcast_to(g, self.first.shape) * self.first


class Min(Max):
    """y = min x over axes.  The gradient goes to the first element that reaches the minimum."""

    argument, extreme = "argmin", "min"


# ----------------------------------------------------------------------------------------------------- public functions


@tensor_method("max")
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest element of x over `axis`. Of equal ones, the first gets the gradient.

    Raises: ValueError when there is no element to choose from.
    """
    return _extreme("max", Max, x, axis, keepdims)


@tensor_method("min")
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest element of x over `axis`. Of equal ones, the first gets the gradient.

    Raises: ValueError when there is no element to choose from.
    """
    return _extreme("min", Min, x, axis, keepdims)


def _extreme(op: str, function: type[Max], x: Any, axis: Axis, keepdims: bool) -> Any:
    axes = normalized_axes(op, axis, x.ndim)
    if 0 in [x.shape[i] for i in axes]:
        raise ValueError(f"{op}: no elements to choose from along axis {axis} of shape {x.shape}")
    y = function(axes)(x)
    return y if keepdims else y.reshape(removed_shape(x.shape, axes))
