"""Bands: the pieces that an operation on images is cut into.

    image 0  ───────────  ┐ a band: some whole images where they are small,
    image 1  ───────────  ┘         some rows of one image where they are large
    image 2  ───────────
    ...

A band is small enough that what is computed on the way to it stays in the cache, and every thread gets equally many,
unless there is next to nothing to do. Large and deep tensors are cut the same way.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from minidl.kernels.threads import threads_of

CPU_SCRATCH = 4 << 20  # bytes: a few times a core's own cache, within the one that cores share; measured
GPU_SCRATCH = 256 << 20  # enough to fill a GPU

# A second thread takes some 0.1 ms to be woken and to take turns at Python's interpreter lock. What is no more work
# than this is not cut in two.
NOT_WORTH_A_THREAD = 40_000_000  # multiply-adds of a matrix product
MULTIPLY_ADDS_PER_BYTE = 10  # a byte that is written and read on the way takes as long as so many


class Band(NamedTuple):
    """Rows of images; as an index, `y[band]`, the part of y (N, OH, ...) that it is."""

    images: slice
    rows: slice


def bands(N: int, OH: int, row_bytes: int, xp: Any, scratch: int = 0, row_work: int = 0) -> list[Band]:
    """Cut N images of OH rows into bands of at most CPU_SCRATCH bytes, or `scratch` where it is more; on a GPU, of
    GPU_SCRATCH. What is not worth a thread is one band.

    row_bytes, row_work   the bytes that are written on the way to a row, and its multiply-adds
    """
    if not worth_threads(N * OH * row_bytes, N * OH * row_work):
        return [Band(slice(0, N), slice(0, OH))]
    scratch = max(scratch, CPU_SCRATCH) if xp is np else GPU_SCRATCH
    most = max(1, scratch // max(1, row_bytes))  # rows in a band
    threads = threads_of(xp)
    if N == 0 or (most >= OH and threads <= N):
        return [Band(images, slice(0, OH)) for images in even_parts(N, -(-N // max(1, most // OH)), xp)]
    count = -(-OH // most)
    rows = parts(OH, count) if N % threads == 0 else even_parts(OH, count, xp)  # N times as many are even anyway
    return [Band(slice(n, n + 1), part) for n in range(N) for part in rows]


def whole_images(nbytes: int, N: int, xp: Any) -> list[slice]:
    """N images, of so many bytes together, in parts that fit the cache, equally many a thread; small ones in one."""
    scratch = CPU_SCRATCH if xp is np else GPU_SCRATCH
    return even_parts(N, -(-nbytes // scratch) if worth_threads(nbytes) else 0, xp)


def worth_threads(nbytes: int, work: int = 0) -> bool:
    """Whether there is enough to do: bytes that are written on the way, and multiply-adds."""
    return MULTIPLY_ADDS_PER_BYTE * nbytes + work > NOT_WORTH_A_THREAD


def even_parts(n: int, count: int, xp: Any) -> list[slice]:
    """0, 1, ... n − 1 in `count` parts, or a few more, so that every thread gets equally many: two threads take as long
    for 3 parts as for 4.

    Where count is 0 there is one part, for one thread; and there are never more than n.
    """
    threads = threads_of(xp)
    return parts(n, -(-count // threads) * threads)


def parts(n: int, count: int) -> list[slice]:
    """0, 1, ... n − 1 in `count` parts of nearly one size, or in as many as there are numbers."""
    count = max(1, min(n, count))
    ends = [n * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]
