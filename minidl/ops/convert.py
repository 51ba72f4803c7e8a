"""Copies and moves: the same numbers in other memory, in another dtype, or on another device."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import device as as_device
from minidl.backend import device_of, to_device
from minidl.tensor import Tensor, tensor_method


class Copy(Function):
    """y = x, in memory of its own."""

    def forward(self, x):
        return x.copy()

    def backward(self, g):
        return g


class AsType(Function):
    """y = x in another dtype.  ∂L/∂x = g in the dtype of x."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, x):
        self.input_dtype = x.dtype
        return x.astype(self.dtype)

    def backward(self, g):
        return g.astype(self.input_dtype)


class To(Function):
    """y = x on another device.  ∂L/∂x = g, brought back."""

    def __init__(self, target: Any) -> None:
        self.target = as_device(target)

    def forward(self, x):
        self.origin = device_of(x)
        return to_device(x, self.target)

    def backward(self, g):
        return To(self.origin)(g)


# ------------------------------------------------------------------------------------------------- public functions


@tensor_method("copy")
def copy(x: Any) -> Any:
    """x in memory of its own; gradients flow through.

    >>> x = Tensor([1.0, 2.0])
    >>> np.shares_memory(x.data, x.copy().data)
    False
    """
    return Copy()(x)


@tensor_method("astype")
def astype(x: Tensor, dtype: Any) -> Tensor:
    """x as `dtype`; gradients flow through between floating dtypes. Returns x itself when nothing changes.

    What NaN, infinities and numbers out of range become as integers depends on the processor, and is not the same on a
    CPU and a GPU.

    >>> Tensor([1.5, -1.5]).astype("int64")
    Tensor([ 1, -1], dtype=int64, device=cpu)
    """
    target = as_dtype("astype", dtype)
    return x if x.dtype == target else AsType(target)(x)


@tensor_method("to")
def to(x: Tensor, device: Any) -> Tensor:
    """x on `device` ("cpu", "gpu", "gpu:1", ...); gradients flow back. Returns x itself when it is there already.

    >>> Tensor([1.0]).to("cpu")
    Tensor([1.], dtype=float32, device=cpu)
    """
    try:
        target = as_device(device)
    except ValueError as error:
        raise ValueError(f"to: {error}; for another dtype use astype") from None
    return x if x.device == target else To(target)(x)


def as_dtype(op: str, dtype: Any) -> np.dtype:
    """Raises: TypeError for what is no dtype of real numbers or booleans."""
    try:
        # NumPy takes None for float64. Byte orders other than the machine's are for files.
        target = None if dtype is None else np.dtype(dtype).newbyteorder("=")
    except TypeError:
        target = None
    if target is None or target.kind not in "fiub" or target.itemsize > 8:
        raise TypeError(f'{op}: expected a dtype of real numbers or booleans, such as "float32", got {dtype!r}')
    return target
