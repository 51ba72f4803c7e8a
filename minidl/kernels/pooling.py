"""Pooling on raw arrays: the maximum and the sum over windows, and the adjoints that hand gradients back.

They loop over the positions of the window; each position is, for all windows together, one strided slice. (The gradient
of a maximum needs no loop: it goes to the one place that an index names.) Threads share bands of the output; where
windows that overlap are added up, whole images.

A step of a loop is one short pass, and threads that share short ones mostly wait for each other. So the bands of a
maximum or a sum are as large as the cache that the cores share: with those of a convolution, two threads take longer
than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.backend import Array, array_module, is_array, is_floating
from minidl.kernels.bands import Band, bands, whole_images
from minidl.kernels.threads import parallel
from minidl.kernels.window import Window

SHARED_CACHE = 16 << 20  # bytes of a band


def max_windows(x: Array, window: Window) -> Array:
    """The maximum of each window of x (N, H, W, C): (N, OH, OW, C). The margin never wins; a NaN does."""
    return _reduce_windows(array_module(x).maximum, x, window, _lowest(x))


def sum_windows(x: Array, window: Window, divisor: Any = 1) -> Array:
    """The sum of each window of x (N, H, W, C), divided by a number or an array (OH, OW, 1): (N, OH, OW, C).

    The margin counts as 0.
    """
    return _reduce_windows(array_module(x).add, x, window, 0, divisor)


def _reduce_windows(reduce: Any, x: Array, window: Window, margin: float, divisor: Any = 1) -> Array:
    """reduce, a ufunc of two arrays, over all elements of each window: over its rows, and then over its columns.

    So a window of KH×KW takes KH + KW steps, not KH·KW. What comes out is divided by a number or an array (OH, OW, 1).
    """
    xp = array_module(x)
    N, H, W, C = x.shape
    OH, OW = window.output_size(H, W)
    y = xp.empty((N, OH, OW, C), dtype=x.dtype)
    by_rows, by_columns = window.rows_and_columns()

    def compute(band: Band) -> None:
        padded = window.pad(x[band.images], margin, band.rows)
        part = y[band]  # (images, rows, OW, C)
        rows = [padded[:, rows] for _, _, rows, _ in by_rows.positions(part.shape[1], padded.shape[2])]
        over_rows = _accumulated(reduce, rows, xp.empty_like(rows[0]))  # (images, rows, ≥ covered, C)
        _accumulated(reduce, [over_rows[:, :, cols] for _, _, _, cols in by_columns.positions(1, OW)], part)
        if is_array(divisor):
            part /= divisor[band.rows]
        elif divisor != 1:
            part /= divisor

    parallel(compute, bands(N, OH, _bytes_a_row(window, x), xp, SHARED_CACHE), xp)
    return y


def _accumulated(reduce: Any, arrays: Sequence[Array], out: Array) -> Array:
    """reduce(... reduce(reduce(a, b), c) ...), in `out`: the first step writes there, so nothing is copied."""
    so_far, *rest = arrays
    if not rest:
        out[...] = so_far
    for array in rest:
        so_far = reduce(so_far, array, out=out)
    return out


def max_windows_and_winners(x: Array, window: Window) -> tuple[Array, Array]:
    """The maximum of each window of x (N, H, W, C), and which position kh·KW + kw it stood at: two (N, OH, OW, C).

    Of equal elements the first in reading order wins; a NaN wins over every number, and of several the last.
    """
    xp = array_module(x)
    N, H, W, C = x.shape
    OH, OW = window.output_size(H, W)
    KH, KW = window.kernel
    number = xp.uint8 if KH * KW < 256 else xp.uint32
    y, winner = xp.empty((N, OH, OW, C), dtype=x.dtype), xp.empty((N, OH, OW, C), dtype=number)
    first_inside = _first_inside(window, OH, OW, xp).astype(number)  # (OH, OW, 1)
    by_rows, by_columns = window.rows_and_columns()

    # The first in reading order is the first of its line, in the first line that has it: so columns come before rows.
    def compute(band: Band) -> None:
        padded = window.pad(x[band.images], _lowest(x), band.rows)
        best, at = y[band], winner[band]  # (images, rows, OW, C) each
        in_line = [padded[:, :, cols] for _, _, _, cols in by_columns.positions(1, OW)]  # (images, ≥ covered, OW, C)
        of_lines, kw = xp.empty_like(in_line[0]), xp.empty(in_line[0].shape, dtype=number)
        _first_largest(in_line, [number(k) for k in range(KW)], of_lines, kw)
        under = [rows for _, _, rows, _ in by_rows.positions(best.shape[1], OW)]  # KH times the lines of each window
        _first_largest(
            [of_lines[:, rows] for rows in under],
            [number(kh * KW) + kw[:, rows] for kh, rows in enumerate(under)],
            best,
            at,
        )
        if xp is not np or (best != best).any():  # on a GPU, to ask would take longer
            _find_nans(padded, window, best, at)
        xp.maximum(at, first_inside[band.rows], out=at)  # where all is −∞, so is the margin

    parallel(compute, bands(N, OH, _bytes_a_row(window, x), xp, SHARED_CACHE), xp)
    return y, winner


def _first_largest(arrays: Sequence[Array], numbers: Sequence[Array], best: Array, at: Array) -> None:
    """The largest of several arrays, in `best`, and the number of the first that has it, in `at`; the numbers grow."""
    xp = array_module(best)
    if len(arrays) == 1:
        best[...], at[...] = arrays[0], numbers[0]
    so_far, number_so_far = arrays[0], numbers[0]
    for array, number in zip(arrays[1:], numbers[1:], strict=True):
        number_so_far = xp.maximum(number_so_far, (array > so_far) * number, out=at)
        so_far = xp.maximum(so_far, array, out=best)


def _find_nans(padded: Array, window: Window, best: Array, at: Array) -> None:
    """Where the maximum is NaN, the position of the window's last one, written to `at` (images, rows, OW, C)."""
    xp = array_module(at)
    last = xp.zeros_like(at)
    for kh, kw, rows, cols in window.positions(*at.shape[1:3]):
        candidate = padded[:, rows, cols]
        xp.maximum(last, (candidate != candidate) * at.dtype.type(kh * window.kernel[1] + kw), out=last)
    at[...] = xp.where(best != best, last, at)


def _lowest(x: Array) -> float:
    """What is less than every number in the dtype of x, or the least of them: it never wins."""
    return -math.inf if is_floating(x.dtype) else np.iinfo(x.dtype).min


def _first_inside(window: Window, OH: int, OW: int, xp: Any) -> Array:
    """The first position kh·KW + kw of each window that is not in the margin: (OH, OW, 1)."""
    first = []
    for places, K, stride, (before, _), dilation in zip(
        (OH, OW), window.kernel, window.stride, window.padding, window.dilation, strict=True
    ):
        start = xp.arange(places) * stride - before
        first.append(xp.clip(-(start // dilation), 0, K - 1))  # the smallest k with start + k · dilation ≥ 0
    return (first[0][:, None] * window.kernel[1] + first[1])[..., None]  # (OH, OW, 1)


def scatter_to_winners(g: Array, winner: Array, window: Window, H: int, W: int) -> Array:
    """Zeros (N, H, W, C), with each g (N, OH, OW, C) added where its window's maximum stood.

    Where windows overlap several may be added at one place: on a GPU in any order, so that last bits may differ.
    """
    xp, (N, _, _, C) = array_module(g), g.shape
    y = xp.empty((N, H, W, C), dtype=g.dtype)
    _, *padded_image = window.padded_shape(N, H, W, C)
    has_margin = tuple(padded_image) != (H, W, C)

    def compute(images: slice) -> None:
        part = y[images]
        padded = xp.empty((len(part), *padded_image), dtype=g.dtype) if has_margin else part
        padded[...] = 0
        places = _places(winner[images], window, padded_image)
        xp.add.at(padded.reshape(-1), places.reshape(-1), g[images].reshape(-1))
        if has_margin:
            part[...] = window.crop(padded, H, W)

    # With the margin and without it; and of each winner its place, and its number as an index, int64.
    parallel(compute, whole_images(2 * y.nbytes + 2 * 8 * g.size, N, xp), xp)
    return y


def gather_winners(x: Array, winner: Array, window: Window) -> Array:
    """The element of each window of x (N, H, W, C) at the position where the maximum stood: (N, OH, OW, C)."""
    padded = window.pad(x)
    return array_module(x).take(padded, _places(winner, window, padded.shape[1:]))


def _places(winner: Array, window: Window, padded_image: Sequence[int]) -> Array:
    """Where each winning element is in the memory of padded images (N, H, W, C): int64 (N, OH, OW, C)."""
    xp, (N, OH, OW, _), (H, W, C) = array_module(winner), winner.shape, padded_image
    first, from_first = window.numbered(OH, OW, W, xp)  # (OH, OW), (KH, KW)
    places = xp.take(from_first * C, winner)
    places += first[..., None] * C + xp.arange(C)  # (OH, OW, C)
    places += xp.arange(N)[:, None, None, None] * (H * W * C)
    return places


def flat_indices(winner: Array, window: Window, W: int) -> Array:
    """Winning positions as indices h·W + w into the image plane, int64 (N, OH, OW, C)."""
    xp, (_, OH, OW, _), ((top, _), (left, _)) = array_module(winner), winner.shape, window.padding
    first, from_first = window.numbered(OH, OW, W, xp)
    return xp.take(from_first, winner) + (first - (top * W + left))[..., None]


def spread_windows(g: Array, window: Window, H: int, W: int) -> Array:
    """The adjoint of sum_windows: each g (N, OH, OW, C) added to every element of its window, (N, H, W, C).

    With stride 1 it is again a sum over windows: each pixel collects from the windows that it was in.
    """
    N, OH, OW, C = g.shape
    backwards = window.backwards()
    if backwards is not None:
        return sum_windows(g, backwards)
    padded = array_module(g).zeros(window.padded_shape(N, H, W, C), dtype=g.dtype)

    def compute(images: slice) -> None:
        for _, _, rows, cols in window.positions(OH, OW):
            padded[images, rows, cols] += g[images]

    parallel(compute, whole_images(_bytes_of_all(window, g), N, array_module(g)), array_module(g))
    return window.crop(padded, H, W)


def _bytes_a_row(window: Window, x: Array) -> int:
    """What is written on the way to a row of the output: the lines under it, padded, then reduced, then the row."""
    return 3 * window.stride[0] * x.shape[2] * x.shape[3] * x.dtype.itemsize


def _bytes_of_all(window: Window, g: Array) -> int:
    """What is written when each g is added at every position of its window."""
    return math.prod(window.kernel) * g.nbytes
