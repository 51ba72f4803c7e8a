"""Matrix products, by several threads."""

from __future__ import annotations

import numpy as np

from minidl.backend import Array, array_module
from minidl.kernels.bands import parts, worth_threads
from minidl.kernels.threads import parallel, threads_of


def product(a: Array, b: Array) -> Array:
    """A B on the last two axes; axes before them broadcast.

    Of several products each thread computes some; of two large matrices some rows of the result or, where it has more
    columns, some columns.
    """
    xp = array_module(a)
    if a.ndim > 2 or b.ndim > 2:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = xp.broadcast_to(a, batch + a.shape[-2:]), xp.broadcast_to(b, batch + b.shape[-2:])
    y = xp.empty((*a.shape[:-1], b.shape[-1]), dtype=xp.result_type(a.dtype, b.dtype))  # (..., M, N)
    by_columns = y.ndim == 2 and y.shape[1] > y.shape[0]

    def compute(part: slice) -> None:
        if by_columns:
            xp.matmul(a, b[:, part], out=y[:, part])
        else:
            xp.matmul(a[part], b if y.ndim == 2 else b[part], out=y[part])

    worth = worth_threads(a.nbytes + b.nbytes, y.size * a.shape[-1])
    parallel(compute, parts(y.shape[1] if by_columns else len(y), threads_of(xp) if worth else 1), xp)
    return y
