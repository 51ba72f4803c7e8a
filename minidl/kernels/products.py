"""Matrix products, by several threads."""

from __future__ import annotations

import numpy as np

from minidl.backend import Array, array_module
from minidl.kernels.bands import parts, worth_threads
from minidl.kernels.threads import parallel, threads_of


def product(a: Array, b: Array) -> Array:
    """A B on the last two axes; axes before them broadcast.

    Threads share the products of a batch, or else the rows of the result or, where it has more columns, its columns.
    """
    xp = array_module(a)
    if a.ndim > 2 or b.ndim > 2:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = xp.broadcast_to(a, batch + a.shape[-2:]), xp.broadcast_to(b, batch + b.shape[-2:])
    y = xp.empty((*a.shape[:-1], b.shape[-1]), dtype=xp.result_type(a.dtype, b.dtype))  # (..., M, N)
    threads = threads_of(xp) if worth_threads(a.nbytes + b.nbytes, y.size * a.shape[-1]) else 1
    M, N = y.shape[-2:]

    def of_batch(part: slice) -> None:
        xp.matmul(a[part], b[part], out=y[part])

    def of_rows(part: slice) -> None:
        xp.matmul(a[..., part, :], b, out=y[..., part, :])

    def of_columns(part: slice) -> None:
        xp.matmul(a, b[..., part], out=y[..., part])

    if y.ndim > 2 and len(y) >= threads:
        parallel(of_batch, parts(len(y), threads), xp)
    else:
        parallel(of_rows if M >= N else of_columns, parts(max(M, N), threads), xp)
    return y
