"""Activations: relu, sigmoid, tanh, and softmax with its logarithm."""

from __future__ import annotations

from typing import Any

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.ops.broadcast import floating, require_array
from minidl.ops.elementwise import exp
from minidl.ops.reduce import normalized_axes
from minidl.tensor import tensor_method


class Relu(Function):
    """y = max(x, 0).  ∂L/∂x = g where y > 0, else 0; at the kink x = 0 it is 0."""

    def forward(self, x):
        return array_module(x).maximum(x, x.dtype.type(0))

    def backward(self, g, y):
        return g * (y > 0)


class Sigmoid(Function):
    """y = 1 / (1 + e⁻ˣ).  ∂L/∂x = g · y · (1 − y)."""

    def forward(self, x):
        xp = array_module(x)
        z = xp.exp(-abs(x))  # at most 1, so nothing overflows
        return xp.where(x >= 0, 1 / (1 + z), z / (1 + z)).astype(x.dtype, copy=False)

    def backward(self, g, y):
        return g * y * (1 - y)


class Tanh(Function):
    """y = tanh x.  ∂L/∂x = g · (1 − y²)."""

    def forward(self, x):
        return array_module(x).tanh(x)

    def backward(self, g, y):
        return g * (1 - y * y)


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


@tensor_method("relu")
def relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0."""
    require_array("relu", x)
    return Relu()(x)


@tensor_method("sigmoid")
def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ)."""
    return Sigmoid()(floating("sigmoid", x))


@tensor_method("tanh")
def tanh(x: Any) -> Any:
    """The hyperbolic tangent of x."""
    return Tanh()(floating("tanh", x))


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
