"""Elements in other places, or in several: flip, roll, tile, repeat.

Repeating is broadcasting: an axis of size 1 beside the one that is repeated is stretched, and the two are made one.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import array_module, device_of, to_device
from minidl.ops.axes import Axis, normalized_axes, normalized_axis, on_axis
from minidl.ops.broadcast import broadcast_to
from minidl.ops.shape import flatten, reshape, unsqueeze
from minidl.tensor import raw, tensor_method


class Flip(Function):
    """x with the order along some axes reversed.  The gradient is g, reversed again."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x):
        return x[tuple(slice(None, None, -1 if i in self.axes else 1) for i in range(x.ndim))]

    def backward(self, g):
        return Flip(self.axes)(g)


class Roll(Function):
    """x with its elements moved along some axes, in a circle.  The gradient is g, moved back."""

    def __init__(self, shifts: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.shifts, self.axes = shifts, axes

    def forward(self, x):
        return array_module(x).roll(x, self.shifts, self.axes)

    def backward(self, g):
        return Roll(tuple(-n for n in self.shifts), self.axes)(g)


# ------------------------------------------------------------------------------------------------- public functions


@tensor_method("flip")
def flip(x: Any, axis: Axis = None) -> Any:
    """x with the order of its elements reversed along `axis`: None (all axes), an integer or a tuple.

    >>> Tensor([[1, 2, 3], [4, 5, 6]]).flip(1)
    Tensor([[3, 2, 1],
            [6, 5, 4]], dtype=int64, device=cpu)
    """
    return Flip(normalized_axes("flip", axis, x.ndim))(x)


@tensor_method("roll")
def roll(x: Any, shift: int | Sequence[int], axis: Axis = None) -> Any:
    """x with its elements moved by `shift` places along `axis`; what leaves at one end comes back at the other.

    One shift serves for all of several axes; otherwise there is one for each. Without an axis, all elements are one
    row.

    >>> Tensor([1, 2, 3, 4]).roll(1)
    Tensor([4, 1, 2, 3], dtype=int64, device=cpu)
    """
    axes = axis if isinstance(axis, tuple | list) else (0 if axis is None else axis,)
    shifts: tuple[Any, ...] = tuple(shift) if isinstance(shift, tuple | list) else (shift,) * len(axes)
    if not all(isinstance(n, numbers.Integral) for n in shifts):
        raise TypeError(f"roll: expected whole numbers as shift, got {shift!r}")
    if len(shifts) != len(axes):
        raise ValueError(f"roll: expected one shift for each axis, got shift {shift} and axis {axis}")
    if axis is None:
        return reshape(Roll(shifts, (0,))(flatten(x)), x.shape)
    return Roll(shifts, tuple(normalized_axis("roll", one, x.ndim) for one in axes))(x)


@tensor_method("tile")
def tile(x: Any, *reps: int | Sequence[int]) -> Any:
    """x laid side by side: reps[i] copies of the whole along axis i, counted from the last axis. PyTorch's `x.repeat`.

    >>> Tensor([[1, 2], [3, 4]]).tile(2, 1)
    Tensor([[1, 2],
            [3, 4],
            [1, 2],
            [3, 4]], dtype=int64, device=cpu)
    """
    times: Any = reps[0] if len(reps) == 1 and isinstance(reps[0], tuple | list) else reps
    if not all(isinstance(n, numbers.Integral) for n in times):
        raise TypeError(f"tile: expected whole numbers, got {times}")
    if min(times, default=0) < 0:
        raise ValueError(f"tile: expected numbers of at least 0, got {times}")
    ndim = max(x.ndim, len(times))
    times = (1,) * (ndim - len(times)) + tuple(times)
    sizes = (1,) * (ndim - x.ndim) + x.shape
    y = reshape(x, [n for size in sizes for n in (1, size)])  # (1, A, 1, B, ...)
    y = broadcast_to(y, tuple(n for pair in zip(times, sizes, strict=True) for n in pair))  # (times, A, times, B, ...)
    return reshape(y, [n * size for n, size in zip(times, sizes, strict=True)])  # (times · A, times · B, ...)


@tensor_method("repeat")
def repeat(x: Any, repeats: int | Sequence[int], *more: Any, axis: int | None = None) -> Any:
    """Each slice of x along `axis` several times in a row: NumPy's repeat, `torch.repeat_interleave`.

    repeats  how many times: a number, or one for each slice

    `axis` must be named, and no more numbers follow: PyTorch's `x.repeat(2, 3)` repeats the whole, as `x.tile(2, 3)`
    does here.

    >>> Tensor([1, 2, 3]).repeat(2, axis=0), Tensor([1, 2, 3]).repeat([1, 0, 2], axis=0)
    (Tensor([1, 1, 2, 2, 3, 3], dtype=int64, device=cpu), Tensor([1, 3, 3], dtype=int64, device=cpu))
    """
    if axis is None or more:
        raise TypeError(
            "repeat: name the axis whose slices are repeated, as in x.repeat(2, axis=0); to repeat the whole, as "
            "PyTorch's x.repeat(2) does, use x.tile(2)"
        )
    at = normalized_axis("repeat", axis, x.ndim)
    if isinstance(repeats, numbers.Integral):
        return _repeat_alike(x, int(repeats), at)
    return _repeat_by_counts(x, repeats, at)


def _repeat_alike(x: Any, times: int, axis: int) -> Any:
    """Each slice of x along `axis` as often as the others."""
    if times < 0:
        raise ValueError(f"repeat: expected a number of at least 0, got {times}")
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    y = broadcast_to(unsqueeze(x, axis + 1), (*before, n, times, *after))
    return reshape(y, (*before, n * times, *after))


def _repeat_by_counts(x: Any, counts: Any, axis: int) -> Any:
    """Slice i of x along `axis`, counts[i] times: a choice of slices by their numbers."""
    try:
        counts = [operator.index(count) for count in counts]
    except TypeError:
        raise TypeError(f"repeat: expected a whole number or a sequence of them, got {counts!r}") from None
    n = x.shape[axis]
    if len(counts) != n or min(counts, default=0) < 0:
        raise ValueError(f"repeat: expected {n} counts of at least 0, one a slice of axis {axis}, got {counts}")
    chosen = to_device(np.repeat(np.arange(n), counts), device_of(raw(x)))
    return x[on_axis(axis, chosen)]
