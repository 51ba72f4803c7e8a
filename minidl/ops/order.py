"""Elements by their size: max, min, argmax, argmin, sort, argsort, topk.

Which element is the largest is a step function of the inputs, with derivative 0. So each operation first finds indices,
in raw arrays, and then reads x there: the gradient goes to what was chosen, and of equal elements the first is chosen.

As in NumPy and PyTorch, NaN wins every comparison: it is the largest element and the smallest, and is sorted as the
largest. (Of several NaN the first is chosen, but on a GPU any may be.) A tensor without axes is treated as a vector of
one element.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

from minidl.backend import Array, active, array_module, device_of
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
from minidl.ops.broadcast import require_array
from minidl.ops.indexing import pick
from minidl.tensor import constant_like, raw, tensor_method

# --------------------------------------------------------------------------------------------------------- extremes


@tensor_method("max")
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest element of x over `axis`. Of equal ones the first, in index order, gets the gradient.
    (PyTorch's amax divides it among them.)

    Raises: ValueError when there is no element to choose from.

    >>> Tensor([[1.0, 3.0], [4.0, 2.0]]).max(axis=1)
    Tensor([3., 4.], dtype=float32, device=cpu)
    """
    return _extreme("max", x, axis, keepdims)


@tensor_method("min")
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest element of x over `axis`. Of equal ones the first, in index order, gets the gradient.
    (PyTorch's amin divides it among them.)

    Raises: ValueError when there is no element to choose from.

    >>> Tensor([[1.0, 3.0], [4.0, 2.0]]).min(axis=0, keepdims=True)
    Tensor([[1., 2.]], dtype=float32, device=cpu)
    """
    return _extreme("min", x, axis, keepdims)


@tensor_method("argmax")
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the largest element of x stands along `axis`, int64: of equal ones, the first.

    With axis=None it is the place in x.flatten().

    Raises: ValueError when there is no element to choose from.

    >>> Tensor([[1.0, 3.0], [4.0, 2.0]]).argmax(axis=1)
    Tensor([1, 0], dtype=int64, device=cpu)
    """
    return _place("argmax", x, axis, keepdims)


@tensor_method("argmin")
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the smallest element of x stands along `axis`, int64: of equal ones, the first.

    With axis=None it is the place in x.flatten().

    Raises: ValueError when there is no element to choose from.

    >>> Tensor([[1.0, 3.0], [4.0, 2.0]]).argmin()
    Tensor(0, dtype=int64, device=cpu)
    """
    return _place("argmin", x, axis, keepdims)


def _extreme(op: str, x: Any, axis: Axis, keepdims: bool) -> Any:
    require_array(op, x)
    rows, shape = _rows(op, x, axis, keepdims)
    with active(device_of(raw(rows))):
        winner = getattr(raw(rows), f"arg{op}")(axis=1)  # (M,)
        y = pick(rows, 1, winner[:, None])  # (M, 1)
    return y.reshape(shape)


def _place(op: str, x: Any, axis: int | None, keepdims: bool) -> Any:
    require_array(op, x)
    if axis is not None:
        normalized_axis(op, axis, x.ndim or 1)  # one, where max takes several as well
    with active(device_of(raw(x))):
        rows, shape = _rows(op, raw(x), axis, keepdims)
        return constant_like(x, getattr(rows, op)(axis=1).reshape(shape))


def _rows(op: str, x: Any, axis: Axis, keepdims: bool) -> tuple[Any, tuple[int, ...]]:
    """x as rows (M, K) of what competes, and the shape of the M winners."""
    sizes = x.shape or (1,)
    check_keepdims(op, keepdims)
    axes = normalized_axes(op, axis, len(sizes))
    if 0 in [sizes[i] for i in axes]:
        raise ValueError(f"{op}: no elements to choose from along axis {axis} of shape {x.shape}")
    others = tuple(i for i in range(len(sizes)) if i not in axes)
    M, K = (math.prod(sizes[i] for i in some) for some in (others, axes))
    shape = kept_shape(sizes, axes) if keepdims else removed_shape(sizes, axes)
    rows = at_least_1d(x).transpose(others + axes).reshape((M, K))  # (M, K)
    return rows, shape if x.ndim else ()


# ---------------------------------------------------------------------------------------------------------- sorting


@tensor_method("sort")
def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = False) -> tuple[Any, Any]:
    """The elements of x in order along `axis`, and the int64 indices where they stood: (values, indices).

    NaN is larger than all numbers: it comes last, or first when descending. Equal elements always keep their order;
    `stable` is there because PyTorch, whose call this is, sorts faster without.

    >>> Tensor([2.0, 3.0, 1.0]).sort()
    (Tensor([1., 2., 3.], dtype=float32, device=cpu), Tensor([2, 0, 1], dtype=int64, device=cpu))
    """
    return _in_order("sort", x, axis, descending)


@tensor_method("argsort")
def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The indices of `sort` alone, int64: where the first element in order stands along `axis`, the second, ...

    Equal elements keep their order, whether `stable` asks for it or not.

    >>> Tensor([2.0, 3.0, 1.0]).argsort(descending=True)
    Tensor([1, 0, 2], dtype=int64, device=cpu)
    """
    return _in_order("argsort", x, axis, descending)[1]


@tensor_method("topk")
def topk(x: Any, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Any, Any]:
    """The k largest (or smallest) elements of x along `axis`, best first, and their int64 indices: (values, indices).

    Of equal elements the first are taken. The result is sorted also when `sorted` does not ask for it.

    >>> Tensor([2.0, 3.0, 1.0]).topk(2)
    (Tensor([3., 2.], dtype=float32, device=cpu), Tensor([1, 0], dtype=int64, device=cpu))
    """
    require_array("topk", x)
    n = at_least_1d(x).shape[normalized_axis("topk", axis, x.ndim or 1)]
    least = 0 if x.ndim else 1
    if not isinstance(k, numbers.Integral) or not least <= k <= n:
        raise ValueError(f"topk: expected k to be from {least} to {n}, for axis {axis} of shape {x.shape}, got {k!r}")
    return _in_order("topk", x, axis, largest, k)


def _in_order(op: str, x: Any, axis: int, descending: bool, k: int | None = None) -> tuple[Any, Any]:
    """The first k elements (None: all) of x in order along an axis, and their indices."""
    require_array(op, x)
    vector = at_least_1d(x)
    at = normalized_axis(op, axis, vector.ndim)
    with active(device_of(raw(x))):
        indices = _order(raw(vector), at, descending)
        if k is not None:
            indices = indices[on_axis(at, slice(k))].copy()  # a view would hold on to all of them
        values = pick(vector, at, indices)
    if x.ndim == 0:
        values, indices = values.reshape(()), indices.reshape(())
    return values, constant_like(x, indices)


def _order(x: Array, axis: int, descending: bool) -> Array:
    """Indices that sort x along an axis; equal elements keep their order."""
    xp = array_module(x)
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    # x backwards in ascending order, read backwards: of equal elements the first is first again
    backwards = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(backwards, axis)
