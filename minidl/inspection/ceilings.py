"""The two ceilings of a machine: how fast it computes, and how fast it moves memory.

Whatever is computed, numbers are computed with and numbers are moved. For work of W floating-point operations that
moves B bytes no machine needs less time than

    max(W / gemm_ceiling, B / copy_ceiling)

and so its speed is at most min(gemm_ceiling, W/B · copy_ceiling). Drawn over the arithmetic intensity W/B this is a
slope that turns into a level line, the roofline (Williams, Waterman & Patterson 2009, "Roofline: an insightful visual
performance model for multicore architectures"). What lies under the slope, such as a ReLU, is limited by memory; what
lies under the level line, such as a 3×3 convolution of many channels, by arithmetic.

Both are measured, by what an array library does best, a product of matrices and a copy, and not taken from a
processor's data sheet: this is what a program that stands on that library can hope for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.backend import CPU, Device, active, gpu_module
from minidl.inspection import clock
from minidl.kernels.threads import get_num_threads, parallel

SECONDS = 0.25  # how long a measurement goes on
ROUNDS = 3  # at least
MATRIX = {"cpu": 768, "gpu": 4096}  # rows and columns: enough for the library to be at its best
COPIED = {"cpu": 2**26, "gpu": 2**28}  # bytes: more than caches hold


class Ceilings(NamedTuple):
    """What a machine can do in a second."""

    flops: float  # floating-point operations
    bandwidth: float  # bytes, read and written

    def seconds(self, macs: int, moved: int) -> float:
        """The least that work of so many multiply-adds takes, which moves so many bytes."""
        return max(2 * macs / self.flops, moved / self.bandwidth)


def measure(threads: int, device: Device = CPU) -> Ceilings:
    """Both ceilings, in under two seconds."""
    return Ceilings(gemm_ceiling(threads, device), copy_ceiling(threads, device))


def gemm_ceiling(threads: int, device: Device = CPU) -> float:
    """Floating-point operations a second, of products of float32 matrices: an addition and a multiplication are two.

    threads   how many products are computed at once, each by one thread of BLAS; at most `minidl.get_num_threads()`.
              Without threadpoolctl they take turns, and BLAS has its own threads. On a GPU there is one product

    Raises: ValueError for a number of threads that minidl does not use.
    """
    n, pieces = MATRIX[device.kind], _pieces("gemm_ceiling", threads, device)
    with active(device):
        xp = np if device == CPU else gpu_module()
        a, b = (xp.ones((n, n), dtype=np.float32) for _ in range(2))
        products = [xp.zeros_like(a) for _ in range(pieces)]
        seconds = _best(lambda product: xp.matmul(a, b, out=product), products, device)
    return 2 * n**3 * pieces / seconds


def copy_ceiling(threads: int, device: Device = CPU) -> float:
    """Bytes a second, read and written, of copying an array that no cache holds.

    threads   how many copy a part of it at once; at most `minidl.get_num_threads()`, and without threadpoolctl they
              take turns. On a GPU it is copied as one

    Raises: ValueError for a number of threads that minidl does not use.
    """
    pieces = _pieces("copy_ceiling", threads, device)
    with active(device):
        xp = np if device == CPU else gpu_module()
        x = xp.ones(COPIED[device.kind] // 4, dtype=np.float32)
        y = xp.zeros_like(x)
        ends = [x.size * i // pieces for i in range(pieces + 1)]
        parts = [slice(*pair) for pair in itertools.pairwise(ends)]
        seconds = _best(lambda part: xp.copyto(y[part], x[part]), parts, device)
    return 2 * x.nbytes / seconds


def _pieces(name: str, threads: int, device: Device) -> int:
    """Into how many pieces the work is cut."""
    if not 1 <= threads <= get_num_threads():
        raise ValueError(
            f"{name}: expected 1 to {get_num_threads()} threads, got {threads}; minidl.set_num_threads(n) allows more"
        )
    return threads if device == CPU else 1


def _best(work: Callable[[Any], Any], pieces: Sequence[Any], device: Device) -> float:
    """How many seconds work(piece) takes for all pieces, at best."""
    times: list[float] = []
    begin = clock.now(device)
    while len(times) <= ROUNDS or clock.now(device) - begin < SECONDS:
        start = clock.now(device)
        parallel(work, pieces)
        times.append(clock.now(device) - start)
    return min(times[1:])  # the first wakes the threads
