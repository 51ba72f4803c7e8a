"""Activations: relu, sigmoid, tanh, and softmax with its logarithm."""

from __future__ import annotations

from typing import Any

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.ops.broadcast import floating, require_array
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
