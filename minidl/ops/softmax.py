"""Softmax: scores made probabilities, and their logarithm."""

from __future__ import annotations

from typing import Any

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.ops.broadcast import floating
from minidl.ops.elementwise import exp
from minidl.ops.reduce import normalized_axes


class Softmax(Function):
    """y = eˣ / Σ eˣ along an axis.  ∂L/∂x = y · (g − Σ g·y)."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x):
        e = array_module(x).exp(x - x.max(axis=self.axis, keepdims=True))  # a common factor cancels; e ≤ 1
        return e / e.sum(axis=self.axis, keepdims=True)

    def backward(self, g, y):
        return y * (g - (g * y).sum(axis=self.axis, keepdims=True))


class LogSoftmax(Function):
    """y = x − ln Σ eˣ along an axis.  ∂L/∂x = g − eʸ · Σ g."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x):
        xp = array_module(x)
        shifted = x - x.max(axis=self.axis, keepdims=True)
        return shifted - xp.log(xp.exp(shifted).sum(axis=self.axis, keepdims=True))

    def backward(self, g, y):
        return g - exp(y) * g.sum(axis=self.axis, keepdims=True)


# ----------------------------------------------------------------------------------------------------- public functions


def softmax(x: Any, dim: int = -1) -> Any:
    """eˣ / Σ eˣ along `dim`, by default the last axis: the channels, in our layout."""
    x = floating("softmax", x)
    (axis,) = normalized_axes("softmax", dim, x.ndim)
    return Softmax(axis)(x)


def log_softmax(x: Any, dim: int = -1) -> Any:
    """ln softmax(x) along `dim`, computed without ever taking the logarithm of an underflowed 0."""
    x = floating("log_softmax", x)
    (axis,) = normalized_axes("log_softmax", dim, x.ndim)
    return LogSoftmax(axis)(x)
