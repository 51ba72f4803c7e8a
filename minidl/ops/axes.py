"""Axes: how an op is told which ones it works on, and what becomes of a shape there.

`axis` is an integer, of which −1 is the last axis; where an op takes several, also a tuple of them, or None for all of
them. `keepdims` leaves reduced axes with size 1. All is as in NumPy.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

Axis = int | tuple[int, ...] | None


def normalized_axis(op: str, axis: int, ndim: int) -> int:
    """`axis` as a number from 0 to ndim−1."""
    if not isinstance(axis, numbers.Integral) or isinstance(axis, bool) or not -ndim <= axis < ndim:
        raise ValueError(f"{op}: axis {axis!r} does not exist in a tensor of {ndim} dimension(s)")
    return int(axis) % ndim


def normalized_axes(op: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a sorted tuple of distinct axes from 0 to ndim−1; a number is reduced like a vector of one."""
    given = tuple(range(ndim)) if axis is None else tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    if ndim == 0 and given in ((0,), (-1,)):
        return ()
    axes = tuple(sorted(normalized_axis(op, one, ndim) for one in given))
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: axis {axis!r} names one dimension twice")
    return axes


def check_keepdims(op: str, keepdims: bool) -> None:
    """Raises: TypeError for x.sum(1, 2), which would sum over axis 1 only."""
    if not isinstance(keepdims, bool | np.bool_):
        raise TypeError(
            f"{op}: expected keepdims to be True or False, got {keepdims!r}; several axes are given as a tuple, (1, 2)"
        )


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` after a reduction over `axes` with keepdims."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def removed_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` after a reduction over `axes` without keepdims."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def on_axis(axis: int, part: Any) -> tuple[Any, ...]:
    """The index that reads `part` of one axis and all of the others: x[on_axis(2, part)] is x[:, :, part]."""
    return (*(slice(None),) * axis, part)


def at_least_1d(x: Any) -> Any:
    """x, or as a vector of one element when it has no axes, which PyTorch then indexes and sorts as if it had one."""
    return x if x.ndim else x.reshape(1)
