"""Adaptive pooling on raw arrays: an axis divided into even shares, and the mean or the maximum of each.

All work on the middle axis of an array (A, size, B). Share i of `places` covers the elements from ⌊i · size / places⌋
up to ⌈(i + 1) · size / places⌉, exclusive; where `places` does not divide `size`, neighbours may overlap by one:

size 7        ▢ ▢ ▢ ▢ ▢ ▢ ▢
3 places      └───┘                loops run over the places, or over the elements of the longest share,
                  └───┘            each time for all A and B at once
                      └───┘
"""

from __future__ import annotations

from minidl.backend import Array, array_module
from minidl.kernels.elementwise import where_else_zero


def shares(size: int, places: int) -> list[slice]:
    """The stretch of an axis of `size` elements that each of the places covers. −(−a // b) is ⌈a / b⌉."""
    return [slice(i * size // places, -(-(i + 1) * size // places)) for i in range(places)]


def mean_shares(x: Array, places: int) -> Array:
    """The mean of each share of x: (A, size, B) → (A, places, B)."""
    A, size, B = x.shape
    y = array_module(x).empty((A, places, B), dtype=x.dtype)
    for i, share in enumerate(shares(size, places)):
        y[:, i] = x[:, share].sum(axis=1) / (share.stop - share.start)
    return y


def spread_shares(g: Array, size: int) -> Array:
    """The adjoint of mean_shares: each g / n added to the n elements of its share. (A, places, B) → (A, size, B)"""
    A, places, B = g.shape
    x = array_module(g).zeros((A, size, B), dtype=g.dtype)
    for i, share in enumerate(shares(size, places)):
        x[:, share] += g[:, i : i + 1] / (share.stop - share.start)
    return x


def max_shares(x: Array, places: int) -> tuple[Array, Array]:
    """The maximum of each share of x (A, size, B), and where along the axis it stood: two (A, places, B).

    Of equal elements the first wins; a NaN wins over every number, and of several the last.
    """
    xp = array_module(x)
    cut = shares(x.shape[1], places)
    first = xp.asarray([share.start for share in cut], dtype=xp.int32)  # (places,)
    last = xp.asarray([share.stop - 1 for share in cut], dtype=xp.int32)
    y = x[:, first]  # (A, places, B)
    winner = xp.broadcast_to(first[:, None], y.shape).copy()
    for k in range(1, max((share.stop - share.start for share in cut), default=0)):
        at = xp.minimum(first + k, last)  # shorter shares meet their last element again
        candidate = x[:, at]  # (A, places, B)
        better = (candidate > y) | (candidate != candidate)  # or it is NaN, which differs from itself
        xp.maximum(y, candidate, out=y)
        xp.maximum(winner, better * at[:, None], out=winner)  # `at` grows: the last that was better is the largest
    return y, winner


def scatter_shares(g: Array, winner: Array, size: int) -> Array:
    """Zeros (A, size, B), with each g (A, places, B) added where the maximum of its share stood."""
    xp = array_module(g)
    A, places, B = g.shape
    x = xp.zeros((A, size, B), dtype=g.dtype)
    for i, share in enumerate(shares(size, places)):
        at = xp.arange(share.start, share.stop, dtype=winner.dtype)[:, None]  # (n, 1)
        x[:, share] += where_else_zero(winner[:, i : i + 1] == at, g[:, i : i + 1])  # (A, n, B)
    return x


def gather_shares(x: Array, winner: Array) -> Array:
    """The element of each share of x (A, size, B) where the maximum stood: (A, places, B)."""
    return array_module(x).take_along_axis(x, winner, axis=1)
