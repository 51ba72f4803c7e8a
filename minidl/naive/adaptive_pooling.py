"""Adaptive pooling as plain loops: the size of the result is given, and the windows follow from it."""

from __future__ import annotations

import numpy as np

from minidl.naive.window import Pair, pair

# ---------------------------------------------------------------------------------------------------------- average


def adaptive_avg_pool2d(x: np.ndarray, output_size: int | tuple[int | None, int | None]) -> np.ndarray:
    """y[n, oh, ow, c] = the mean of x over rows ⌊oh·H/OH⌋ ≤ h < ⌈(oh+1)·H/OH⌉ and columns alike.

    (N, H, W, C) → (N, OH, OW, C). None keeps a size.
    """
    N, H, W, C = x.shape
    OH, OW = _output_size(output_size, H, W)
    y = np.zeros((N, OH, OW, C), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                rows, cols = _share(oh, H, OH), _share(ow, W, OW)
                for c in range(C):
                    for h in rows:
                        for w in cols:
                            y[n, oh, ow, c] += x[n, h, w, c]
                    y[n, oh, ow, c] /= len(rows) * len(cols)
    return y


def adaptive_avg_pool2d_backward(
    g: np.ndarray, x: np.ndarray, output_size: int | tuple[int | None, int | None]
) -> np.ndarray:
    """The gradient to x: each g, shared out equally over the pixels of its rectangle."""
    N, H, W, C = x.shape
    OH, OW = _output_size(output_size, H, W)
    gx = np.zeros_like(x)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                rows, cols = _share(oh, H, OH), _share(ow, W, OW)
                for c in range(C):
                    for h in rows:
                        for w in cols:
                            gx[n, h, w, c] += g[n, oh, ow, c] / (len(rows) * len(cols))
    return gx


# ---------------------------------------------------------------------------------------------------------- maximum


def adaptive_max_pool2d(x: np.ndarray, output_size: int | tuple[int | None, int | None]) -> np.ndarray:
    """y[n, oh, ow, c] = the largest x[n, h, w, c] over the rectangle of `adaptive_avg_pool2d`."""
    winners = _winners(x, output_size)
    N, OH, OW, C, _ = winners.shape
    y = np.zeros((N, OH, OW, C), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for c in range(C):
                    h, w = winners[n, oh, ow, c]
                    y[n, oh, ow, c] = x[n, h, w, c]
    return y


def adaptive_max_pool2d_backward(
    g: np.ndarray, x: np.ndarray, output_size: int | tuple[int | None, int | None]
) -> np.ndarray:
    """The gradient to x: each g goes whole to the pixel that won its rectangle, and nothing to the others."""
    winners = _winners(x, output_size)
    gx = np.zeros_like(x)
    N, OH, OW, C = g.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for c in range(C):
                    h, w = winners[n, oh, ow, c]
                    gx[n, h, w, c] += g[n, oh, ow, c]
    return gx


def _winners(x: np.ndarray, output_size: int | tuple[int | None, int | None]) -> np.ndarray:
    """The pixel (h, w) that is the largest of its rectangle (N, OH, OW, C, 2).

    Of equal pixels the first one wins, in reading order; a NaN wins whenever one is met.
    """
    N, H, W, C = x.shape
    OH, OW = _output_size(output_size, H, W)
    winners = np.zeros((N, OH, OW, C, 2), dtype=int)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                rows, cols = _share(oh, H, OH), _share(ow, W, OW)
                for c in range(C):
                    best = None
                    for h in rows:
                        for w in cols:
                            pixel = x[n, h, w, c]
                            if best is None or pixel > best or np.isnan(pixel):
                                best = pixel
                                winners[n, oh, ow, c] = h, w
    return winners


# ----------------------------------------------------------------------------------------------------------- places


def _share(place: int, size: int, places: int) -> range:
    """The pixels of one of `places` even shares of `size` pixels; where they do not divide, neighbours overlap."""
    return range(place * size // places, -(-(place + 1) * size // places))  # −(−a // b) is ⌈a / b⌉


def _output_size(output_size: int | tuple[int | None, int | None], H: int, W: int) -> Pair:
    OH, OW = pair(output_size)
    return H if OH is None else OH, W if OW is None else OW
