"""Reductions: many elements become one. sum, mean, var, prod.

`axis` is None (all axes), an integer, or a tuple of them, as in NumPy; `keepdims` leaves reduced axes with size 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import is_floating
from minidl.ops.broadcast import broadcast_to, floating
from minidl.ops.shape import concatenate, normalized_axis
from minidl.tensor import Tensor, tensor_method

Axis = int | tuple[int, ...] | None


def normalized_axes(op: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a sorted tuple of distinct axes from 0 to ndim−1."""
    given = tuple(range(ndim)) if axis is None else tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(sorted(normalized_axis(op, one, ndim) for one in given))
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: axis {axis!r} names one dimension twice")
    return axes


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` after a reduction over `axes` with keepdims."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def removed_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` after a reduction over `axes` without keepdims."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


class Sum(Function):
    """y = Σ x over axes.  Every summand counts once:  ∂L/∂x = g, repeated along them."""

    def __init__(self, axes: tuple[int, ...], keepdims: bool) -> None:
        self.axes, self.keepdims = axes, keepdims

    def forward(self, x):
        self.shape = x.shape
        return x.sum(axis=self.axes, keepdims=self.keepdims)

    def backward(self, g):
        g = g.reshape(kept_shape(self.shape, self.axes))  # with the summed axes, of size 1
        return broadcast_to(g, self.shape)


@tensor_method("sum")
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum of the elements of x over `axis`."""
    return Sum(normalized_axes("sum", axis, x.ndim), keepdims)(x)


@tensor_method("mean")
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean of the elements of x over `axis`; that of integers is float32."""
    axes = normalized_axes("mean", axis, x.ndim)
    return sum(floating("mean", x), axes, keepdims) / math.prod(x.shape[i] for i in axes)


@tensor_method("var")
def var(x: Any, axis: Axis = None, keepdims: bool = False, *, correction: float = 1) -> Any:
    """The variance Σ (x − mean)² / (n − correction) over `axis`.

    correction=1 (the default, as in PyTorch) estimates the variance of what x was sampled from; correction=0 is the
    variance of x itself, which batch normalisation divides by.
    """
    axes = normalized_axes("var", axis, x.ndim)
    centred = x - mean(x, axes, keepdims=True)
    return sum(centred * centred, axes, keepdims) / max(math.prod(x.shape[i] for i in axes) - correction, 0)


@tensor_method("prod")
def prod(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product of the elements of x over `axis`.

    The elements are multiplied in pairs, the products in pairs again, and so on: log₂ K steps, whose gradients hold
    where y / xᵢ would divide by zero.
    """
    axes = normalized_axes("prod", axis, x.ndim)
    if not is_floating(x.dtype):
        x = x.astype(np.int64)  # as in sum: a product of small integers is not a small integer
    others = tuple(i for i in range(x.ndim) if i not in axes)
    kept = tuple(x.shape[i] for i in others)
    y = x.transpose(others + axes).reshape(*kept, math.prod(x.shape[i] for i in axes))  # (..., K)
    while (K := y.shape[-1]) != 1:
        if K == 0:
            y = y.sum(axis=-1, keepdims=True) + 1  # the empty product
        else:
            pairs = y[..., : K // 2] * y[..., K // 2 : K - K % 2]  # (..., K // 2)
            y = concatenate([pairs, y[..., K - 1 :]], axis=-1) if K % 2 else pairs
    return y.reshape(kept_shape(x.shape, axes) if keepdims else removed_shape(x.shape, axes))
