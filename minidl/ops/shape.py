"""Operations that move elements without computing: reshape, transpose, index, join, split, pad.

Each is linear, so its backward is its adjoint: what a forward moves from one place to another, the backward moves back,
adding up where a place was read more than once.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import array_module, is_array
from minidl.ops.broadcast import without_surprise
from minidl.tensor import Tensor, tensor_method


class Reshape(Function):
    """The same elements, in the same order, in another shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        self.input_shape = x.shape
        return x.reshape(self.shape)

    def backward(self, g):
        return g.reshape(self.input_shape)


class Transpose(Function):
    """Axes in another order: axis i of y is axis axes[i] of x."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x):
        return x.transpose(self.axes)

    def backward(self, g):
        inverse = tuple(self.axes.index(i) for i in range(len(self.axes)))
        return g.transpose(inverse)


class Concatenate(Function):
    """y = inputs joined along an existing axis.  Each input gets its stretch of g."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *inputs):
        self.sizes = [x.shape[self.axis] for x in inputs]
        return array_module(inputs[0]).concatenate(inputs, axis=self.axis)

    def backward(self, g):
        return Split(self.sizes, self.axis)(g)


class Split(Function):
    """x cut along an axis into pieces of the given sizes: one output each."""

    def __init__(self, sizes: Sequence[int], axis: int) -> None:
        self.sizes, self.axis = sizes, axis

    def forward(self, x):
        ends = np.cumsum(self.sizes).tolist()
        before = (slice(None),) * self.axis
        return tuple(x[(*before, slice(end - n, end))] for n, end in zip(self.sizes, ends, strict=True))

    def backward(self, gs):
        return Concatenate(self.axis)(*gs)


# ------------------------------------------------------------------------------------------------- public functions


def _sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or axes given one by one, f(2, 3), or as one tuple, f((2, 3))."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given


@tensor_method("reshape")
def reshape(x: Any, *shape: int | tuple[int, ...]) -> Any:
    """x in another shape, in which one size may be -1: whatever is left."""
    sizes = _sizes(shape)
    if not all(isinstance(n, numbers.Integral) for n in sizes):
        raise TypeError(f"reshape: expected whole numbers, got {sizes}")
    known = math.prod(n for n in sizes if n != -1)
    fits = known == x.size if -1 not in sizes else sizes.count(-1) == 1 and known != 0 and x.size % known == 0
    if not fits or min(sizes, default=0) < -1:
        raise ValueError(f"reshape: {x.size} elements of shape {x.shape} do not fill shape {sizes}")
    return Reshape(sizes)(x)


@tensor_method("flatten")
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """x with the axes from start_dim to end_dim (inclusive) made one."""
    if x.ndim == 0:
        return reshape(x, 1)
    start, end = (normalized_axis("flatten", axis, x.ndim) for axis in (start_dim, end_dim))
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} lies after end_dim {end_dim}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@tensor_method("transpose", "permute")
def transpose(x: Any, *axes: int | tuple[int, ...]) -> Any:
    """x with its axes in the given order, all of them; without an order, reversed. (swapaxes exchanges two.)"""
    order = _sizes(axes) if axes else tuple(reversed(range(x.ndim)))
    positive = tuple(normalized_axis("transpose", axis, x.ndim) for axis in order)
    if sorted(positive) != list(range(x.ndim)):
        raise ValueError(
            f"transpose: expected each of the {x.ndim} axes once, got {order}; to exchange two axes use swapaxes"
        )
    return Transpose(positive)(x)


Tensor.T = property(transpose, doc="x with its axes reversed")


@tensor_method("swapaxes")
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged."""
    order = list(range(x.ndim))
    first, second = normalized_axis("swapaxes", axis1, x.ndim), normalized_axis("swapaxes", axis2, x.ndim)
    order[first], order[second] = second, first
    return Transpose(tuple(order))(x)


@tensor_method("squeeze")
def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """x without the given axes, which must have size 1; without all axes of size 1 when none is given."""
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axes = [normalized_axis("squeeze", one, x.ndim) for one in (axis if isinstance(axis, tuple | list) else (axis,))]
    if any(x.shape[one] != 1 for one in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {x.shape} does not have size 1")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@tensor_method("unsqueeze")
def unsqueeze(x: Any, axis: int) -> Any:
    """x with a new axis of size 1 at position `axis` of the result."""
    at = normalized_axis("unsqueeze", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def _at_least_one(op: str, tensors: Iterable[Any]) -> list[Any]:
    """The tensors to be joined, at least one."""
    tensors = list(tensors)
    if not tensors:
        raise ValueError(f"{op}: expected at least one tensor")
    for x in tensors:
        if not isinstance(x, Tensor) and not is_array(x):
            raise TypeError(f"{op}: expected Tensors or arrays, got {type(x).__name__}")
    return tensors


def concatenate(tensors: Iterable[Any], axis: int = 0) -> Any:
    """Tensors joined along `axis`; their other sizes must agree."""
    tensors = _at_least_one("concatenate", tensors)
    shapes = [x.shape for x in tensors]
    at = normalized_axis("concatenate", axis, len(shapes[0]))
    if len({shape[:at] + shape[at + 1 :] for shape in shapes}) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"concatenate: shapes must agree except on axis {axis}, got {', '.join(map(str, shapes))}")
    return Concatenate(at)(*without_surprise(tensors))


def stack(tensors: Iterable[Any], axis: int = 0) -> Any:
    """Tensors of one shape side by side along a new axis."""
    tensors = _at_least_one("stack", tensors)
    if len({x.shape for x in tensors}) != 1:
        raise ValueError(f"stack: expected tensors of one shape, got {', '.join(str(x.shape) for x in tensors)}")
    return concatenate([unsqueeze(x, axis) for x in tensors], axis)


@tensor_method("split")
def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis`: into pieces of one size (the last may be smaller), or of the given sizes."""
    at = normalized_axis("split", axis, x.ndim)
    total = x.shape[at]
    if isinstance(sizes, int | np.integer):
        size = int(sizes)
        if size < 1:
            raise ValueError(f"split: expected a size of at least 1, got {size}")
        pieces = [min(size, total - start) for start in range(0, total, size)] or [0]
    else:
        pieces = [operator.index(size) for size in sizes]
    if sum(pieces) != total or min(pieces, default=0) < 0:
        raise ValueError(f"split: sizes {pieces} do not add up to the {total} of axis {axis}")
    return Split(pieces, at)(x)


def normalized_axis(op: str, axis: int, ndim: int) -> int:
    """`axis` as a number from 0 to ndim−1."""
    if not isinstance(axis, numbers.Integral) or not -ndim <= axis < ndim:
        raise ValueError(f"{op}: axis {axis!r} does not exist in a tensor of {ndim} dimension(s)")
    return int(axis) % ndim
