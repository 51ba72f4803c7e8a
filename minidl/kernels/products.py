"""Matrix products, by several threads."""

from __future__ import annotations

from minidl.backend import Array, array_module
from minidl.kernels.bands import NOT_WORTH_A_THREAD, parts
from minidl.kernels.threads import parallel, threads_of


def product(a: Array, b: Array) -> Array:
    """A B on the last two axes; axes before them broadcast.

    Of two large matrices each thread computes some rows of the result or, where it has more columns, some columns.
    """
    if a.ndim > 2 or b.ndim > 2:
        return a @ b
    xp = array_module(a)
    y = xp.empty((len(a), b.shape[1]), dtype=xp.result_type(a.dtype, b.dtype))  # (M, N)
    by_rows = len(y) >= y.shape[1]

    def compute(part: slice) -> None:
        if by_rows:
            xp.matmul(a[part], b, out=y[part])
        else:
            xp.matmul(a, b[:, part], out=y[:, part])

    parallel(compute, parts(max(y.shape), threads_of(xp) if a.nbytes + b.nbytes > NOT_WORTH_A_THREAD else 1), xp)
    return y
