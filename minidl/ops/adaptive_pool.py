"""Adaptive pooling: the size of the result is given, and the windows follow from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.window import pair
from minidl.ops.broadcast import beside, floating
from minidl.ops.matmul import matmul


def adaptive_avg_pool2d(x: Any, output_size: int | tuple[int | None, int | None]) -> Any:
    """The means over an even division of images x (N, H, W, C) into output_size places: (N, OH, OW, C).

    Place oh covers rows ⌊oh·H/OH⌋ up to ⌈(oh+1)·H/OH⌉ (exclusive), columns alike; places may overlap by a row where
    OH does not divide H. None keeps a size. A mean over a rectangle is a mean over rows of means over columns, so this
    is two products with small averaging matrices. (And so, since 0 · ∞ is NaN, an infinity in x makes its plane NaN.)
    """
    x = floating("adaptive_avg_pool2d", x)
    if x.ndim != 4:
        raise ValueError(f"adaptive_avg_pool2d: expected images (N, H, W, C), got shape {x.shape}")
    N, H, W, C = x.shape
    given = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    sizes = tuple(x.shape[1 + axis] if n is None else n for axis, n in enumerate(given))
    OH, OW = pair("adaptive_avg_pool2d", "output_size", sizes, 1)
    if (OH, OW) == (1, 1):
        return x.mean(axis=(1, 2), keepdims=True)
    over_rows = beside(x, _averaging_matrix(H, OH))
    over_columns = beside(x, _averaging_matrix(W, OW))
    y = matmul(over_rows, x.reshape(N, H, W * C))  # (N, OH, W·C)
    return matmul(over_columns, y.reshape(N, OH, W, C))  # (N, OH, OW, C)


def _averaging_matrix(size: int, places: int) -> np.ndarray:
    """(places, size): row i holds 1/n at the n elements that place i covers."""
    matrix = np.zeros((places, size))
    for i in range(places):
        start, stop = i * size // places, -(-(i + 1) * size // places)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix
