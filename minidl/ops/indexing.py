"""Indexing: elements read from where an index points, and, backwards, put back and added up there.

Reading is linear in what is read. Its adjoint starts from zeros and adds each gradient to the place its element came
from, so that a place that was read twice receives both:

    GetItem: y = x[index]                    PutItem: y = 0, then y[index] += x

All of this file is these two, with one index or another:

    x[1:, mask]           the index that the user wrote
    index_select          of one axis only these positions: x[:, index]
    gather                along one axis, a position for every element: y[i, j] = x[i, index[i, j]]
    index_add             x plus what PutItem puts

An index out of range is an error on the CPU, and on a GPU if it is a number. Arrays and lists of indices are not looked
at there, for that would mean waiting: they wrap around.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import Array, active, array_module, is_array, is_floating, to_device
from minidl.kernels.scatter import put_at
from minidl.ops.axes import at_least_1d, normalized_axis, on_axis
from minidl.ops.broadcast import broadcast_to, common_shape, require_array, require_one_dtype
from minidl.tensor import Tensor, raw, tensor_method


class GetItem(Function):
    """y = x[index].  Its adjoint puts g back where y was read."""

    def __init__(self, index: Any) -> None:
        self.index = index

    def forward(self, x):
        self.shape = x.shape
        return x[self.index]

    def backward(self, g):
        return PutItem(self.index, self.shape)(g)


class PutItem(Function):
    """y = zeros, then y[index] += x. An element indexed twice receives both contributions."""

    def __init__(self, index: Any, shape: tuple[int, ...]) -> None:
        self.index, self.shape = index, shape

    def forward(self, x):
        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        if any(is_array(part) and part.dtype != bool for part in parts):
            return put_at(parts, x, self.shape)
        y = array_module(x).zeros(self.shape, dtype=x.dtype)
        y[self.index] = x  # slices, integers and masks reach no element twice
        return y

    def backward(self, g):
        return GetItem(self.index)(g)


# ------------------------------------------------------------------------------------------------- any index at all


@tensor_method("__getitem__")
def getitem(x: Any, index: Any) -> Any:
    """x[index], with slices, integers, None, `...`, integer arrays and boolean masks, as in NumPy.

    A mask has as many results as it has true elements: on a GPU it makes the host wait. Nothing else does.

    Raises: IndexError for an index that x does not have.

    >>> Tensor([[1.0, 2.0], [3.0, 4.0]])[[1, 0], 0]
    Tensor([3., 1.], dtype=float32, device=cpu)
    """
    given = index if isinstance(index, tuple) else (index,)
    place = common_device("getitem", (x, *given))
    try:
        with active(place):
            parts = tuple(_index_part(part, place) for part in given)
        return GetItem(parts)(x)
    except (IndexError, TypeError, ValueError) as error:
        kind = IndexError if "broadcast" in str(error) else type(error)  # in CuPy that is a ValueError
        raise kind(f"getitem: {error}, in a tensor of shape {x.shape}") from None


def _index_part(part: Any, place: Any) -> Any:
    """One entry of an index, with Tensors and sequences made arrays."""
    if isinstance(part, Tensor) or is_array(part):
        return raw(part).copy()  # the caller may write into the original before backward needs it
    if isinstance(part, list | tuple | range):
        part = np.array(part)
        return to_device(part if part.size else part.astype(np.int64), place)  # [] would be floating
    if part is None or part is ... or isinstance(part, slice | np.bool_) or hasattr(part, "__index__"):
        return part
    # Said here because CuPy would read x[1.9] as x[1].
    raise IndexError(f"expected integers, slices, None, ... and integer or boolean arrays, got {part!r}")


# --------------------------------------------------------------------------------------------------- along one axis


def pick(x: Any, axis: int, index: Array) -> Any:
    """y[i, j] = x[i, index[i, j]], here for axis 1. The index is raw, int64, in range, and has the axes of x."""
    xp = array_module(index)
    # On the other axes x is read where y stands: (n, 1, 1), (n, 1), (n,)
    grid = [xp.arange(n).reshape(n, *[1] * (index.ndim - i - 1)) for i, n in enumerate(index.shape)]
    grid[axis] = index
    return GetItem(tuple(grid))(x)


@tensor_method("gather")
def gather(x: Any, axis: int, index: Any) -> Any:
    """Along `axis`, the element that `index` names for each place of y: y[i, j] = x[i, index[i, j]] for axis 1.

    index  integers (Tensor or array) from 0 to x.shape[axis] − 1, with as many axes as x; on the other axes it may be
           smaller, and then the rest of x is not read. It gives y its shape.

    >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).gather(1, np.array([[1], [0]]))
    Tensor([[2.],
            [3.]], dtype=float32, device=cpu)
    """
    op = "gather"
    require_array(op, x)
    with active(common_device(op, (x, index))):
        rows, at = at_least_1d(x), normalized_axis(op, axis, max(x.ndim, 1))
        given = positions_along(op, index, rows.shape, at)
        positions = at_least_1d(given)
        too_large = any(m > n for i, (m, n) in enumerate(zip(positions.shape, rows.shape, strict=False)) if i != at)
        if positions.ndim != rows.ndim or too_large:
            raise ValueError(
                f"{op}: expected an index with the axes of the input {x.shape}, no larger except on axis {axis}, "
                f"got shape {given.shape}"
            )
        y = pick(rows, at, positions)
    return y if y.shape == given.shape else y.reshape(given.shape)


@tensor_method("take_along_axis")
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """As gather, but the other axes of x and `indices` broadcast, and negative indices count from the end (NumPy's).

    With axis=None x is flattened first, and the indices have one axis.

    >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).take_along_axis(np.array([[-1]]), axis=1)
    Tensor([[2.],
            [4.]], dtype=float32, device=cpu)
    """
    op = "take_along_axis"
    require_array(op, x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    at = normalized_axis(op, axis, x.ndim)
    n = x.shape[at]
    with active(common_device(op, (x, indices))):
        positions = positions_along(op, indices, x.shape, at, lowest=-n)
        if positions.ndim != x.ndim:
            raise ValueError(f"{op}: expected indices with the {x.ndim} axes of {x.shape}, got shape {positions.shape}")
        shape = common_shape(op, _with_size(x.shape, at, 1), _with_size(positions.shape, at, 1))
        positions = array_module(positions).broadcast_to(positions, _with_size(shape, at, positions.shape[at]))
        if x.shape != _with_size(shape, at, n):
            x = broadcast_to(x, _with_size(shape, at, n))
        return pick(x, at, positions)


@tensor_method("index_select")
def index_select(x: Any, axis: int, index: Any) -> Any:
    """x with only the positions `index` along `axis`: x[:, index] for axis 1.

    index  a vector of integers from 0 to x.shape[axis] − 1; a number is a vector of one

    >>> Tensor([[1.0, 2.0, 3.0]]).index_select(1, np.array([2, 0, 0]))
    Tensor([[3., 1., 1.]], dtype=float32, device=cpu)
    """
    op = "index_select"
    require_array(op, x)
    with active(common_device(op, (x, index))):
        rows, at = at_least_1d(x), normalized_axis(op, axis, max(x.ndim, 1))
        positions = _vector(op, index, rows.shape, at)
        if x.ndim == 0 and len(positions) != 1:
            raise ValueError(f"{op}: of a tensor without axes expected one index, got {len(positions)}")
        y = GetItem(on_axis(at, positions))(rows)
    return y if x.ndim else y.reshape(())


@tensor_method("index_add")
def index_add(x: Any, axis: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """x with alpha · source added at the positions `index` along `axis`: y[:, index] += alpha · source for axis 1.

    index   a vector of integers from 0; a position that stands there twice receives both
    source  the shape of x, but along `axis` one slice for each index; the dtype of x

    >>> Tensor([1.0, 2.0, 3.0]).index_add(0, np.array([0, 2, 0]), Tensor([10.0, 20.0, 30.0]))
    Tensor([41.,  2., 23.], dtype=float32, device=cpu)
    """
    op = "index_add"
    require_array(op, x)
    require_array(op, source)
    require_one_dtype(op, x, source=source)
    if not isinstance(alpha, numbers.Real if is_floating(x.dtype) else numbers.Integral):
        kind = "number" if is_floating(x.dtype) else "whole number"
        raise TypeError(f"{op}: for {x.dtype} expected a {kind} as alpha, got {alpha!r}")
    alpha = float(alpha) if is_floating(x.dtype) else int(alpha)  # a NumPy float64 would make raw arrays float64
    with active(common_device(op, (x, index, source))):
        rows, at = at_least_1d(x), normalized_axis(op, axis, max(x.ndim, 1))
        positions = _vector(op, index, rows.shape, at)
        expected = _with_size(rows.shape, at, len(positions))
        if source.ndim != x.ndim or at_least_1d(source).shape != expected:
            raise ValueError(
                f"{op}: for {len(positions)} indices along axis {axis} of {x.shape} expected a source of shape "
                f"{expected}, got {source.shape}"
            )
        added = PutItem(on_axis(at, positions), rows.shape)(at_least_1d(source))
        return x + (added if alpha == 1 else added * alpha).reshape(x.shape)


# ---------------------------------------------------------------------------------------------------- small helpers


def positions_along(op: str, index: Any, shape: tuple[int, ...], axis: int, lowest: int = 0) -> Array:
    """`index` as int64, in memory of its own: the caller may write into the original before backward needs it."""
    require_integers(op, index)
    positions = raw(index).astype(np.int64)
    if array_module(positions) is np and positions.size:
        for i in (int(positions.min()), int(positions.max())):
            if not lowest <= i < shape[axis]:
                raise IndexError(f"{op}: index {i} does not exist on axis {axis} of shape {shape}")
    return positions


def _vector(op: str, index: Any, shape: tuple[int, ...], axis: int) -> Array:
    """Positions along one axis."""
    positions = at_least_1d(positions_along(op, index, shape, axis))
    if positions.ndim != 1:
        raise ValueError(f"{op}: expected a vector of indices, got shape {positions.shape}")
    return positions


def require_integers(op: str, index: Any) -> None:
    require_array(op, index)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{op}: expected integers as index, got {index.dtype}")


def _with_size(shape: tuple[int, ...], axis: int, n: int) -> tuple[int, ...]:
    """`shape` with size n on one axis."""
    return (*shape[:axis], n, *shape[axis + 1 :])
