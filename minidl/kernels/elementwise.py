"""Operations on single elements of large arrays, a piece at a time and by several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.backend import Array, array_module, is_floating
from minidl.kernels.bands import even_parts
from minidl.kernels.threads import parallel

# Elements of a piece. It fits the cache that the cores share, but not a core's own: a pass over less takes so little
# time that threads would mostly wait, for each other, for Python's interpreter lock and to be woken.
PIECE = 1 << 19
LARGE = PIECE  # elements: in fewer, threads cost more than they save


def elementwise(function: Callable[..., Any], *arrays: Array) -> Array:
    """function(*arrays), for a function such as np.add that takes `out`, and arrays of one shape and dtype."""
    if not _can_be_cut(arrays):
        return function(*arrays)
    y = np.empty_like(arrays[0])
    in_pieces(lambda *pieces: function(*pieces[:-1], out=pieces[-1]), *arrays, y)
    return y


def in_pieces(work: Callable[..., None], *arrays: Array) -> None:
    """work(*arrays), which may write to them and takes every element by itself, on one stretch of all after the other.

    What is not large, or lies in memory in another order, is one piece.
    """
    if not _can_be_cut(arrays):
        work(*arrays)
        return
    flat = [array.reshape(-1) for array in arrays]  # (size,) each, not copied

    def compute(part: slice) -> None:
        work(*(array[part] for array in flat))

    parallel(compute, even_parts(flat[0].size, flat[0].size // PIECE, np))


def _can_be_cut(arrays: Sequence[Any]) -> bool:
    """Whether they are large arrays on the host of one shape, without gaps and in the same order."""
    first = arrays[0]
    return (
        array_module(first) is np
        and first.size >= LARGE
        and all(
            isinstance(array, np.ndarray)
            and array.shape == first.shape
            and array.dtype == first.dtype
            and array.flags.c_contiguous
            for array in arrays
        )
    )


def copied(x: Array) -> Array:
    """A copy of x."""
    return elementwise(lambda x, out=None: x.copy() if out is None else np.copyto(out, x), x)


def added(arrays: Sequence[Array]) -> Array:
    """The sum of two arrays or more, of one shape and dtype: all of them read once."""

    def add(first: Array, second: Array, *rest: Array, out: Array | None = None) -> Array:
        y = array_module(first).add(first, second, out=out)
        for array in rest:
            y += array
        return y

    return elementwise(add, *arrays)


def joined(arrays: Sequence[Array], axis: int) -> Array:
    """The arrays one after the other along `axis`. Threads share the first axis, unless that is the one."""
    xp, size = array_module(arrays[0]), sum(array.size for array in arrays)
    if xp is not np or axis == 0 or size < LARGE:
        return xp.concatenate(arrays, axis=axis)
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    y = np.empty(shape, dtype=np.result_type(*arrays))

    def compute(part: slice) -> None:
        np.concatenate([array[part] for array in arrays], axis=axis, out=y[part])

    parallel(compute, even_parts(len(y), size // PIECE, np))
    return y


def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""
    return elementwise(rectify, x) if is_floating(x.dtype) else array_module(x).maximum(x, x.dtype.type(0))


def rectify(x: Array, out: Array | None = None) -> Array:
    """max(x, 0) of floating x. `clip` between two bounds is three times as fast as NumPy's `maximum` with a number."""
    return array_module(x).clip(x, x.dtype.type(0), x.dtype.type(np.inf), out=out)


def where_positive(g: Array, y: Array) -> Array:
    """g where y > 0, otherwise 0, for a y = max(x, 0) that is never negative; where y is NaN, g."""
    return elementwise(_where_positive, g, y)


def _where_positive(g: Array, y: Array, out: Array | None = None) -> Array:
    return where_else_zero(y != 0, g, out)


def where_else_zero(mask: Array, x: Array, out: Array | None = None) -> Array:
    """x where the mask holds, and 0 elsewhere, also in place of ∞ and NaN.

    That is where(mask, x, 0). But NumPy's `where` branches at every element, and often nobody can guess the branch: the
    bits of x as an integer, times 1 or 0, take a tenth of the time.
    """
    bits = f"i{x.dtype.itemsize}"
    return array_module(x).multiply(mask, x.view(bits), out=None if out is None else out.view(bits)).view(x.dtype)
