"""CuPy's `cupy.cuda.thrust` on the CPU: sorting, by NumPy, of memory that addresses point to.

It takes the place of the module of that name, which holds machine code for GPUs.
"""

import ctypes
import math

import numpy as np

available = True


def get_build_version() -> int:
    return 0


def sort(dtype, data: int, keys: int, shape) -> None:
    """Sort along the last axis. (`keys` is scratch memory.)"""
    array = _array(data, dtype, shape)
    array[...] = np.sort(array, axis=-1, kind="stable")


def argsort(dtype, indices: int, data: int, keys: int, shape) -> None:
    """Sort along the last axis, and write where each element stood."""
    array, order = _array(data, dtype, shape), _array(indices, np.uint64, shape)
    order[...] = np.argsort(array, axis=-1, kind="stable")
    array[...] = np.take_along_axis(array, order.astype(np.int64), axis=-1)


def _array(address: int, dtype, shape) -> np.ndarray:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(tuple(shape))
