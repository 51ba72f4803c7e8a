"""Reductions: many elements become one. sum, mean, var, std, prod, any, all; and cumsum, which keeps every step.

Sums are NumPy's: in the dtype of x, in pairs of pairs along the fastest axis, so that their error grows with log n, and
one after the other along other axes. cumsum adds one after the other always. Integers and booleans are added in int64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import active, array_module, device_of, is_floating
from minidl.ops.axes import (
    Axis,
    at_least_1d,
    check_keepdims,
    kept_shape,
    normalized_axes,
    normalized_axis,
    on_axis,
    removed_shape,
)
from minidl.ops.broadcast import broadcast_to, floating
from minidl.ops.choice import where
from minidl.ops.options import check_numbers
from minidl.ops.shape import concatenate, flatten
from minidl.tensor import constant_like, raw, tensor_method


class Sum(Function):
    """y = Σ x over axes.  Every summand counts once:  ∂L/∂x = g, repeated along them."""

    def __init__(self, axes: tuple[int, ...], keepdims: bool) -> None:
        self.axes, self.keepdims = axes, keepdims

    def forward(self, x):
        self.shape = x.shape
        return x.sum(axis=self.axes, dtype=_dtype_of_sums(x), keepdims=self.keepdims)

    def backward(self, g):
        g = g.reshape(kept_shape(self.shape, self.axes))  # with the reduced axes, of size 1
        return broadcast_to(g, self.shape)


class Var(Function):
    """y = Σ (x − μ)² / d over axes, d = max(n − correction, 0).  ∂L/∂x = g · 2 (x − μ) / d.

    That μ depends on x as well adds nothing, for Σ (x − μ) = 0. Of too few elements d is 0, and y is infinite, or NaN
    when they are all equal, as in PyTorch.
    """

    def __init__(self, axes: tuple[int, ...], keepdims: bool, correction: float) -> None:
        self.axes, self.keepdims, self.correction = axes, keepdims, correction

    def forward(self, x):
        n = math.prod(x.shape[i] for i in self.axes)
        self.divisor = max(n - self.correction, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            centred = x - x.sum(axis=self.axes, keepdims=True) / n
            y = (centred * centred).sum(axis=self.axes, keepdims=self.keepdims) / self.divisor
        return y.astype(x.dtype, copy=False)

    def backward(self, g, x):
        g = g.reshape(kept_shape(x.shape, self.axes))  # with the reduced axes, of size 1
        with np.errstate(invalid="ignore"):
            return g * (2 / self.divisor if self.divisor else math.inf) * (x - mean(x, self.axes, keepdims=True))


class Std(Function):
    """y = √v, for a variance v.  ∂L/∂v = g / 2y, but 0 where y is 0: where all elements are equal, as in PyTorch."""

    def forward(self, v):
        return array_module(v).sqrt(v)

    def backward(self, g, y):
        return where(y == 0, 0, g / where(y == 0, 1, 2 * y))


class CumSum(Function):
    """yᵢ = x₀ + … + xᵢ along an axis.  ∂L/∂xᵢ = gᵢ + gᵢ₊₁ + …: the running sum of g from the other end."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x):
        return x.cumsum(axis=self.axis, dtype=_dtype_of_sums(x))

    def backward(self, g):
        backwards = on_axis(self.axis, slice(None, None, -1))
        return CumSum(self.axis)(g[backwards])[backwards]


def _dtype_of_sums(x: Any) -> Any:
    return x.dtype if is_floating(x.dtype) else np.int64


# ------------------------------------------------------------------------------------------------- public functions


@tensor_method("sum")
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum of the elements of x over `axis`; that of none is 0. Integers and booleans give int64.

    >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).sum(axis=0)
    Tensor([4., 6.], dtype=float32, device=cpu)
    """
    check_keepdims("sum", keepdims)
    return Sum(normalized_axes("sum", axis, x.ndim), keepdims)(x)


@tensor_method("mean")
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean of the elements of x over `axis`; that of none is NaN. Integers and booleans give float32.

    >>> Tensor([[1, 2], [3, 5]]).mean(axis=1)
    Tensor([1.5, 4. ], dtype=float32, device=cpu)
    """
    x = floating("mean", x)
    check_keepdims("mean", keepdims)
    axes = normalized_axes("mean", axis, x.ndim)
    n = math.prod(x.shape[i] for i in axes)
    total = sum(x, axes, keepdims)
    return total / n if n else total * math.nan


@tensor_method("var")
def var(x: Any, axis: Axis = None, keepdims: bool = False, *, correction: float = 1) -> Any:
    """The variance Σ (x − mean)² / (n − correction) over `axis`. Integers and booleans give float32.

    correction=1 (the default, as in PyTorch) estimates the variance of what x was sampled from; correction=0 is the
    variance of x itself, which batch normalisation divides by. With n ≤ correction elements it is infinite or NaN.

    >>> Tensor([1.0, 2.0, 6.0]).var(), Tensor([1.0, 2.0, 6.0]).var(correction=0)
    (Tensor(7., dtype=float32, device=cpu), Tensor(4.6666665, dtype=float32, device=cpu))
    """
    x = floating("var", x)
    return Var(*_variance_options("var", x, axis, keepdims, correction))(x)


@tensor_method("std")
def std(x: Any, axis: Axis = None, keepdims: bool = False, *, correction: float = 1) -> Any:
    """The standard deviation of x over `axis`: the square root of the variance, see `var`.

    Where all elements are equal its gradient is 0.

    >>> Tensor([[1.0, 3.0], [2.0, 2.0]]).std(axis=1, correction=0)
    Tensor([1., 0.], dtype=float32, device=cpu)
    """
    x = floating("std", x)
    return Std()(Var(*_variance_options("std", x, axis, keepdims, correction))(x))


def _variance_options(op: str, x: Any, axis: Axis, keepdims: bool, correction: float) -> tuple[Any, bool, float]:
    check_keepdims(op, keepdims)
    check_numbers(op, correction=correction)
    return normalized_axes(op, axis, x.ndim), keepdims, float(correction)


@tensor_method("prod")
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product of the elements of x over `axis`; that of none is 1. Integers and booleans give int64.

    The elements are multiplied in pairs, the products in pairs again, and so on: log₂ K steps, whose gradients hold
    where y / xᵢ would divide by zero.

    >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).prod(axis=1)
    Tensor([ 2., 12.], dtype=float32, device=cpu)
    """
    check_keepdims("prod", keepdims)
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


@tensor_method("cumsum")
def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sums along `axis`: y[i] = x[0] + … + x[i]. Without an axis, of all elements in one row, as in NumPy.
    Along axis 0 or −1 a tensor without axes is its own sum, as in PyTorch.

    >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).cumsum(axis=1)
    Tensor([[1., 3.],
            [3., 7.]], dtype=float32, device=cpu)
    """
    if axis is None:
        return CumSum(0)(flatten(x))
    rows = at_least_1d(x)
    y = CumSum(normalized_axis("cumsum", axis, rows.ndim))(rows)
    return y if x.ndim else y.reshape(())


@tensor_method("any")
def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether some element over `axis` is not 0 (NaN is not 0); of none, False. The result is boolean.

    >>> Tensor([[0, 2], [0, 0]]).any(axis=1)
    Tensor([ True, False], dtype=bool, device=cpu)
    """
    return _truth("any", x, axis, keepdims)


@tensor_method("all")
def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether no element over `axis` is 0; of none, True. The result is boolean.

    >>> Tensor([[0, 2], [1, 1]]).all(axis=1)
    Tensor([False,  True], dtype=bool, device=cpu)
    """
    return _truth("all", x, axis, keepdims)


def _truth(question: str, x: Any, axis: Axis, keepdims: bool) -> Any:
    check_keepdims(question, keepdims)
    axes = normalized_axes(question, axis, x.ndim)
    with active(device_of(raw(x))):
        answer = getattr(raw(x), question)(axis=axes, keepdims=keepdims)
    return constant_like(x, answer)
