"""Indexing: elements read from where an index points, and, backwards, put back and added up there.

Reading is linear in what is read. Its adjoint starts from zeros and adds each gradient to the place its element came
from: a place that was read twice receives both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import CPU, array_module, as_array, device_of, is_array
from minidl.tensor import Tensor, raw, tensor_method


class GetItem(Function):
    """y = x[index].  Its adjoint puts g back where y was read."""

    def __init__(self, index: Any) -> None:
        self.index = index

    def forward(self, x):
        self.shape = x.shape
        return x[self.index]

    def backward(self, g):
        return PutItem(self.index, self.shape)(g)


class PutItem(Function):
    """y = zeros, then y[index] += x. An element indexed twice receives both contributions."""

    def __init__(self, index: Any, shape: tuple[int, ...]) -> None:
        self.index, self.shape = index, shape

    def forward(self, x):
        xp = array_module(x)
        y = xp.zeros(self.shape, dtype=x.dtype)
        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        if any(is_array(part) and part.dtype != bool for part in parts):
            xp.add.at(y, self.index, x)
        else:
            y[self.index] = x  # slices, integers and masks reach no element twice
        return y

    def backward(self, g):
        return GetItem(self.index)(g)


# ----------------------------------------------------------------------------------------------------- public functions


@tensor_method("__getitem__")
def getitem(x: Any, index: Any) -> Any:
    """x[index], with slices, integers, None, `...`, integer arrays and boolean masks, as in NumPy."""
    parts = index if isinstance(index, tuple) else (index,)
    place = device_of(raw(x))
    plain = tuple(_index_part(part, place) for part in parts)
    common_device("indexing", (x, *plain))
    return GetItem(plain if isinstance(index, tuple) else plain[0])(x)


def _index_part(part: Any, place: Any) -> Any:
    """One entry of an index, with Tensors and sequences made arrays."""
    if isinstance(part, Tensor) or is_array(part):
        return raw(part).copy()  # the caller may write into the original before backward needs it
    if isinstance(part, list | tuple | range):
        return as_array(part, np.int64 if not part else None, None if place == CPU else place)
    return part
