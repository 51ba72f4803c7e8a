"""The length of vectors: one number for how far from 0 they are, by the p-norm (Σ |x|ᵖ)^(1/p) and its limits."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.ops.axes import Axis, check_keepdims, normalized_axes, removed_shape
from minidl.ops.broadcast import floating
from minidl.ops.choice import where
from minidl.ops.elementwise import absolute, sign
from minidl.ops.reduce import sum
from minidl.tensor import tensor_method


class PNorm(Function):
    """y = (Σ |x|ᵖ)^(1/p) over axes, which are kept.  ∂L/∂x = g · sign(x) · (|x| / y)ᵖ⁻¹, but 0 where y is 0.

    With p = 2 that is g · x / y.
    """

    def __init__(self, p: float, axes: tuple[int, ...]) -> None:
        self.p, self.axes = p, axes

    def forward(self, x):
        with np.errstate(over="ignore", divide="ignore"):  # |0|ᵖ is infinite for p < 0, and y is 0
            if self.p == 2:
                return array_module(x).sqrt((x * x).sum(axis=self.axes, keepdims=True))
            y = (abs(x) ** self.p).sum(axis=self.axes, keepdims=True) ** (1 / self.p)
        return y.astype(x.dtype, copy=False)

    def backward(self, g, x, y):
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            ratio = x / where(y == 0, 1, y)
            if self.p != 2:
                ratio = sign(x) * where(x == 0, 1, absolute(ratio)) ** (self.p - 1)
            return where(y == 0, 0, g * ratio)


class MaxNorm(Function):
    """y = max |x| over axes, which are kept, or min |x|.  Equal ones share g."""

    def __init__(self, largest: bool, axes: tuple[int, ...]) -> None:
        self.largest, self.axes = largest, axes

    def forward(self, x):
        return (abs(x).max if self.largest else abs(x).min)(axis=self.axes, keepdims=True)

    def backward(self, g, x, y):
        reached = (absolute(x) == y) | (x != x)  # where there is NaN, y is NaN
        count = reached.sum(axis=self.axes, keepdims=True).astype(g.dtype)
        return where(reached, sign(x) * (g / count), 0)


# ------------------------------------------------------------------------------------------------- public functions


@tensor_method("norm")
def norm(x: Any, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Any:
    """The norm of the vectors of x over `axis`, never that of a matrix: `torch.linalg.vector_norm`.

        ord 2      √Σ x²             over all axes: the Frobenius norm
        ord 0      how many are not 0
        ord ±inf   max |x|, min |x|  equal ones share the gradient
        other      (Σ |x|ᵒʳᵈ)^(1/ord)

    The gradient of a vector of zeros is 0. Integers give float32.

    Raises: ValueError for a norm of nothing with ord < 0 or inf.

    >>> Tensor([[3.0, -4.0], [0.0, 2.0]]).norm(axis=1)
    Tensor([5., 2.], dtype=float32, device=cpu)
    """
    if not isinstance(ord, numbers.Real) or math.isnan(ord):
        raise TypeError(f"norm: ord must be a number, got {ord!r}; the Frobenius norm is ord=2 over all axes")
    check_keepdims("norm", keepdims)
    x = floating("norm", x)
    axes = normalized_axes("norm", axis, x.ndim)
    if 0 in [x.shape[i] for i in axes] and (ord < 0 or ord == math.inf):
        raise ValueError(f"norm: no elements along axis {axis} of shape {x.shape}, and ord {ord} has no value for none")
    if ord == 0:
        return sum(where(x == 0, 0, x**0), axes, keepdims)
    y = MaxNorm(ord > 0, axes)(x) if math.isinf(ord) else PNorm(float(ord), axes)(x)
    return y if keepdims else y.reshape(removed_shape(x.shape, axes))
