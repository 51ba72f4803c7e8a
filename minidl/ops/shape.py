"""Operations that move elements without computing: reshape, transpose, join, split.

Each is linear, so its backward is its adjoint: what a forward moves from one place to another, the backward moves back.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import is_array
from minidl.kernels.elementwise import joined
from minidl.ops.axes import normalized_axes, normalized_axis, on_axis
from minidl.ops.broadcast import promoted
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
        return joined(inputs, self.axis)

    def backward(self, g):
        return Split(self.sizes, self.axis)(g)


class Split(Function):
    """x cut along an axis into pieces of the given sizes: one output each."""

    def __init__(self, sizes: Sequence[int], axis: int) -> None:
        self.sizes, self.axis = sizes, axis

    def forward(self, x):
        ends = np.cumsum(self.sizes).tolist()
        return tuple(x[on_axis(self.axis, slice(end - n, end))] for n, end in zip(self.sizes, ends, strict=True))

    def backward(self, gs):
        return Concatenate(self.axis)(*gs)


# ------------------------------------------------------------------------------------------------- public functions


def _sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes or axes given one by one, f(2, 3), or as one tuple, f((2, 3))."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given


@tensor_method("reshape")
def reshape(x: Any, *shape: int | tuple[int, ...]) -> Any:
    """x in another shape, in which one size may be -1: whatever is left.

    >>> Tensor([[1, 2, 3], [4, 5, 6]]).reshape(3, -1).shape
    (3, 2)
    """
    sizes = _filled("reshape", _sizes(shape), x.size)
    if sizes is None:
        raise ValueError(f"reshape: {x.size} elements of shape {x.shape} do not fill shape {_sizes(shape)}")
    return Reshape(sizes)(x)


def _filled(op: str, sizes: tuple[int, ...], total: int) -> tuple[int, ...] | None:
    """`sizes` with what is left of `total` in place of -1; None when they do not fill it, or it could be anything."""
    if not all(isinstance(n, numbers.Integral) for n in sizes):
        raise TypeError(f"{op}: expected whole numbers, got {sizes}")
    known = math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known != 0:
        sizes = tuple(total // known if n == -1 else n for n in sizes)
    return sizes if min(sizes, default=0) >= 0 and math.prod(sizes) == total else None


@tensor_method("flatten")
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """x with the axes from start_dim to end_dim (inclusive) made one; a tensor without axes gets one.

    >>> Tensor(np.ones((8, 7, 6, 5))).flatten(1).shape
    (8, 210)
    """
    start, end = (normalized_axis("flatten", axis, max(x.ndim, 1)) for axis in (start_dim, end_dim))
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} lies after end_dim {end_dim}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@tensor_method("unflatten")
def unflatten(x: Any, axis: int, sizes: Sequence[int]) -> Any:
    """x with one axis made several, of the given sizes, in which one may be -1: flatten undone.

    >>> Tensor(np.ones((8, 210, 2))).unflatten(1, (7, -1)).shape
    (8, 7, 30, 2)
    """
    at = normalized_axis("unflatten", axis, x.ndim)
    if not isinstance(sizes, tuple | list) or not sizes:
        raise ValueError(f"unflatten: expected a tuple of at least one size, got {sizes!r}")
    filled = _filled("unflatten", tuple(sizes), x.shape[at])
    if filled is None:
        raise ValueError(f"unflatten: sizes {tuple(sizes)} do not fill the {x.shape[at]} of axis {axis}")
    return reshape(x, (*x.shape[:at], *filled, *x.shape[at + 1 :]))


@tensor_method("transpose", "permute")
def transpose(x: Any, *axes: int | tuple[int, ...]) -> Any:
    """x with its axes in the given order, all of them; without an order, reversed. (swapaxes exchanges two.)

    >>> Tensor(np.ones((8, 3, 5, 7))).transpose(0, 2, 3, 1).shape
    (8, 5, 7, 3)
    """
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
    """x with axis1 and axis2 exchanged.

    >>> Tensor(np.ones((8, 3, 5))).swapaxes(1, -1).shape
    (8, 5, 3)
    """
    order = list(range(x.ndim))
    first, second = normalized_axis("swapaxes", axis1, x.ndim), normalized_axis("swapaxes", axis2, x.ndim)
    order[first], order[second] = second, first
    return Transpose(tuple(order))(x)


@tensor_method("moveaxis")
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """x with the axes `source` moved to the positions `destination`; the others keep their order.

    >>> Tensor(np.ones((8, 3, 5, 7))).moveaxis(1, -1).shape
    (8, 5, 7, 3)
    """
    given = [tuple(axes) if isinstance(axes, tuple | list) else (axes,) for axes in (source, destination)]
    moved, places = ([normalized_axis("moveaxis", axis, x.ndim) for axis in axes] for axes in given)
    if len(moved) != len(places) or len(set(moved)) != len(moved) or len(set(places)) != len(places):
        raise ValueError(f"moveaxis: expected as many distinct axes as positions, got {source} and {destination}")
    order = [axis for axis in range(x.ndim) if axis not in moved]
    for place, axis in sorted(zip(places, moved, strict=True)):
        order.insert(place, axis)
    return Transpose(tuple(order))(x)


@tensor_method("squeeze")
def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """x without the given axes, which must have size 1; without all axes of size 1 when none is given.

    >>> Tensor(np.ones((1, 8, 1))).squeeze().shape, Tensor(np.ones((1, 8, 1))).squeeze(0).shape
    ((8,), (8, 1))
    """
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axes = normalized_axes("squeeze", axis, x.ndim)
    if any(x.shape[one] != 1 for one in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {x.shape} does not have size 1")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@tensor_method("unsqueeze")
def unsqueeze(x: Any, axis: int) -> Any:
    """x with a new axis of size 1 at position `axis` of the result.

    >>> Tensor(np.ones((8, 3))).unsqueeze(1).shape
    (8, 1, 3)
    """
    at = normalized_axis("unsqueeze", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:at], 1, *x.shape[at:]))


def _at_least_one(op: str, tensors: Iterable[Any]) -> list[Any]:
    """The tensors to be joined, at least one."""
    try:
        tensors = list(tensors)
    except TypeError:
        raise TypeError(f"{op}: expected a list of Tensors or arrays, got {type(tensors).__name__}") from None
    if not tensors:
        raise ValueError(f"{op}: expected at least one tensor")
    for x in tensors:
        if not isinstance(x, Tensor) and not is_array(x):
            raise TypeError(f"{op}: expected Tensors or arrays, got {type(x).__name__}")
    common_device(op, tensors)
    return tensors


def concatenate(tensors: Iterable[Any], axis: int = 0) -> Any:
    """The tensors, joined along `axis`; their other sizes must agree.

    >>> minidl.concatenate([Tensor([[1, 2], [3, 4]]), Tensor([[5], [6]])], axis=1)
    Tensor([[1, 2, 5],
            [3, 4, 6]], dtype=int64, device=cpu)
    """
    tensors = _at_least_one("concatenate", tensors)
    shapes = [x.shape for x in tensors]
    at = normalized_axis("concatenate", axis, len(shapes[0]))
    if len({shape[:at] + shape[at + 1 :] for shape in shapes}) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"concatenate: shapes must agree except on axis {axis}, got {', '.join(map(str, shapes))}")
    return Concatenate(at)(*promoted(tensors))


def stack(tensors: Iterable[Any], axis: int = 0) -> Any:
    """The tensors, all of one shape, side by side along a new axis.

    >>> minidl.stack([Tensor([1, 2, 3]), Tensor([4, 5, 6])], axis=1).shape
    (3, 2)
    """
    tensors = _at_least_one("stack", tensors)
    if len({x.shape for x in tensors}) != 1:
        raise ValueError(f"stack: expected tensors of one shape, got {', '.join(str(x.shape) for x in tensors)}")
    at = normalized_axis("stack", axis, tensors[0].ndim + 1)
    return concatenate([unsqueeze(x, at) for x in tensors], at)


@tensor_method("split")
def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis`: into pieces of one size (the last may be smaller), or of the given sizes.

    >>> Tensor([1, 2, 3, 4, 5]).split(3)
    (Tensor([1, 2, 3], dtype=int64, device=cpu), Tensor([4, 5], dtype=int64, device=cpu))
    """
    at = normalized_axis("split", axis, x.ndim)
    total = x.shape[at]
    if isinstance(sizes, int | np.integer):
        size = int(sizes)
        if size < 1:
            raise ValueError(f"split: expected a size of at least 1, got {size}")
        pieces = [min(size, total - start) for start in range(0, total, size)] or [0]
    else:
        try:
            pieces = [operator.index(size) for size in sizes]
        except TypeError:
            raise TypeError(f"split: expected a size or a sequence of sizes, got {sizes!r}") from None
    if sum(pieces) != total or min(pieces, default=0) < 0:
        raise ValueError(f"split: sizes {pieces} do not add up to the {total} of axis {axis}")
    return Split(pieces, at)(x)
