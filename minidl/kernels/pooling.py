"""Pooling on raw arrays: the maximum and the sum over windows, and the adjoints that hand gradients back.

All loop over the KH·KW positions of the window; each position is, for all windows together, one strided slice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.backend import Array, array_module, is_floating
from minidl.kernels.window import Window


def max_windows(x: Array, window: Window) -> tuple[Array, Array]:
    """The maximum of each window of x (N, H, W, C), and which position kh·KW + kw it stood at: two (N, OH, OW, C).

    The margin never wins. Of equal elements the first wins; a NaN wins over every number, and of several the last.
    """
    xp = array_module(x)
    N, H, W, C = x.shape
    OH, OW = window.output_size(H, W)
    lowest = -math.inf if is_floating(x.dtype) else np.iinfo(x.dtype).min
    padded = window.pad(x, lowest)
    y = xp.full((N, OH, OW, C), lowest, dtype=x.dtype)
    number = xp.uint8 if math.prod(window.kernel) <= 256 else xp.int32
    winner = xp.broadcast_to(_first_inside(window, OH, OW, xp).astype(number), y.shape).copy()
    for kh, kw, rows, cols in window.positions(OH, OW):
        candidate = padded[:, rows, cols]  # (N, OH, OW, C)
        better = (candidate > y) | (candidate != candidate)  # or it is NaN, which differs from itself
        xp.maximum(y, candidate, out=y)
        # Position numbers grow, so the last that was better is the largest.
        xp.maximum(winner, better * number(kh * window.kernel[1] + kw), out=winner)
    return y, winner


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
    """Zeros (N, H, W, C), with each g (N, OH, OW, C) added where its window's maximum stood."""
    N, OH, OW, C = g.shape
    padded = array_module(g).zeros(window.padded_shape(N, H, W, C), dtype=g.dtype)
    for kh, kw, rows, cols in window.positions(OH, OW):
        padded[:, rows, cols] += where_else_zero(winner == kh * window.kernel[1] + kw, g)
    return window.crop(padded, H, W)


def gather_winners(x: Array, winner: Array, window: Window) -> Array:
    """The element of each window of x (N, H, W, C) at the position where the maximum stood: (N, OH, OW, C)."""
    _, OH, OW, _ = winner.shape
    padded = window.pad(x)
    y = array_module(x).zeros(winner.shape, dtype=x.dtype)
    for kh, kw, rows, cols in window.positions(OH, OW):
        y += where_else_zero(winner == kh * window.kernel[1] + kw, padded[:, rows, cols])
    return y


def where_else_zero(mask: Array, x: Array) -> Array:
    """x where the mask holds, and 0 elsewhere, also in place of ∞ and NaN.

    That is where(mask, x, 0). But NumPy's `where` branches at every element, and among windows nobody can guess the
    branch: & with a pattern of all ones or all zeros takes a tenth of the time.
    """
    bits = f"i{x.dtype.itemsize}"
    return (x.view(bits) & -mask.astype(bits)).view(x.dtype)


def flat_indices(winner: Array, window: Window, W: int) -> Array:
    """Winning positions as indices h·W + w into the image plane, int64 (N, OH, OW, C)."""
    xp = array_module(winner)
    _, OH, OW, _ = winner.shape
    kh, kw = winner.astype(xp.int64) // window.kernel[1], winner.astype(xp.int64) % window.kernel[1]
    top = xp.arange(OH)[:, None, None] * window.stride[0] - window.padding[0][0]  # (OH, 1, 1)
    left = xp.arange(OW)[:, None] * window.stride[1] - window.padding[1][0]  # (OW, 1)
    h, w = top + kh * window.dilation[0], left + kw * window.dilation[1]  # (N, OH, OW, C) each
    return h * W + w


def sum_windows(x: Array, window: Window) -> Array:
    """The sum of each window of x (N, H, W, C): (N, OH, OW, C). The margin counts as 0."""
    N, H, W, C = x.shape
    OH, OW = window.output_size(H, W)
    padded = window.pad(x)
    y = array_module(x).zeros((N, OH, OW, C), dtype=x.dtype)
    for _, _, rows, cols in window.positions(OH, OW):
        y += padded[:, rows, cols]
    return y


def spread_windows(g: Array, window: Window, H: int, W: int) -> Array:
    """The adjoint of sum_windows: each g (N, OH, OW, C) added to every element of its window, (N, H, W, C)."""
    N, OH, OW, C = g.shape
    padded = array_module(g).zeros(window.padded_shape(N, H, W, C), dtype=g.dtype)
    for _, _, rows, cols in window.positions(OH, OW):
        padded[:, rows, cols] += g
    return window.crop(padded, H, W)
