"""Softmax: scores made probabilities, its logarithm, and the logarithm of the sum that it divides by.

All are the same for scores that are shifted by a constant, in a row; shifted so that the largest is 0, nothing
overflows. A score of −∞ is a place that is masked: it gets probability 0 and no gradient. A row of nothing but −∞, or
with a +∞, has no softmax: it is NaN, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import Array, array_module, is_floating
from minidl.ops.axes import at_least_1d, kept_shape, normalized_axes, normalized_axis, removed_shape
from minidl.ops.broadcast import floating, require_array
from minidl.ops.convert import as_dtype, astype
from minidl.ops.elementwise import exp


class Softmax(Function):
    """y = eˣ / Σ eˣ along an axis.  ∂L/∂x = y · (g − Σ g·y)."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    @np.errstate(over="ignore", invalid="ignore")  # ∞ − ∞, and the difference of the largest numbers
    def forward(self, x):
        e = array_module(x).exp(x - largest(x, (self.axis,)))  # a common factor cancels; e ≤ 1
        return e / e.sum(axis=self.axis, keepdims=True)

    def backward(self, g, y):
        return y * (g - (g * y).sum(axis=self.axis, keepdims=True))


class LogSoftmax(Function):
    """y = x − ln Σ eˣ along an axis.  ∂L/∂x = g − eʸ · Σ g."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")
    def forward(self, x):
        xp = array_module(x)
        shifted = x - largest(x, (self.axis,))
        return shifted - xp.log(xp.exp(shifted).sum(axis=self.axis, keepdims=True))

    def backward(self, g, y):
        return g - exp(y) * g.sum(axis=self.axis, keepdims=True)


class LogSumExp(Function):
    """y = ln Σ eˣ over axes, which stay with size 1.  ∂L/∂x = g · e^(x − y), the softmax; NaN for x = y = ±∞."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    @np.errstate(over="ignore", divide="ignore")  # ln 0 = −∞
    def forward(self, x):
        xp = array_module(x)
        m = largest(x, self.axes)
        m = xp.where(xp.isinf(m), x.dtype.type(0), m)  # ∞ − ∞ would be NaN
        return xp.log(xp.exp(x - m).sum(axis=self.axes, keepdims=True)) + m

    @np.errstate(over="ignore", invalid="ignore")
    def backward(self, g, x, y):
        return g * exp(x - y)


def largest(x: Array, axes: tuple[int, ...]) -> Array:
    """The maximum over axes, kept with size 1; 0 where there is nothing to choose from."""
    if 0 in [x.shape[i] for i in axes]:
        return array_module(x).zeros(kept_shape(x.shape, axes), dtype=x.dtype)
    return x.max(axis=axes, keepdims=True)


# ------------------------------------------------------------------------------------------------- public functions


def softmax(x: Any, dim: int = -1, dtype: Any = None) -> Any:
    """eˣ / Σ eˣ along `dim`, by default the last axis: the channels, in our layout.

    dtype   a floating dtype to convert x to, before anything else

    >>> F.softmax(Tensor([[0.0, 0.0], [1000.0, -1000.0]]))
    Tensor([[0.5, 0.5],
            [1. , 0. ]], dtype=float32, device=cpu)
    """
    return _along("softmax", Softmax, x, dim, dtype)


def log_softmax(x: Any, dim: int = -1, dtype: Any = None) -> Any:
    """ln softmax(x) along `dim`, computed without ever taking the logarithm of an underflowed 0. See softmax.

    >>> F.log_softmax(Tensor([1000.0, -1000.0]))
    Tensor([    0., -2000.], dtype=float32, device=cpu)
    """
    return _along("log_softmax", LogSoftmax, x, dim, dtype)


def logsumexp(x: Any, dim: int | tuple[int, ...], keepdim: bool = False) -> Any:
    """ln Σ eˣ over one or several axes: a smooth maximum. That of nothing, or of nothing but −∞, is −∞.

    >>> F.logsumexp(Tensor([[0.0, 1000.0], [-np.inf, 2.0]]), dim=1)
    Tensor([1000.,    2.], dtype=float32, device=cpu)
    """
    x = floating("logsumexp", x)
    if dim is None or (isinstance(dim, tuple) and not dim):
        raise ValueError(f"logsumexp: expected at least one axis, got dim={dim}")
    rows = at_least_1d(x)
    axes = normalized_axes("logsumexp", dim, rows.ndim)
    y = LogSumExp(axes)(rows)
    return y if keepdim and x.ndim else y.reshape(removed_shape(rows.shape, axes))


def _along(op: str, function: type[Softmax] | type[LogSoftmax], x: Any, dim: int, dtype: Any) -> Any:
    """softmax or log_softmax, after what both check."""
    require_array(op, x)
    if dtype is not None:
        if not is_floating(as_dtype(op, dtype)):
            raise TypeError(f"{op}: dtype must be a floating dtype, got {np.dtype(dtype)}")
        x = astype(x, dtype)
    x = floating(op, x)
    rows = at_least_1d(x)
    y = function(normalized_axis(op, dim, rows.ndim))(rows)
    return y if x.ndim else y.reshape(())
