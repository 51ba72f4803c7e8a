"""The rule of dtypes, asked of any operator of two operands: numbers are weak, nothing silently becomes float64."""

import itertools

import numpy as np
from judge import host

from minidl import Tensor

FLOATS = ["float16", "float32", "float64"]
NUMBERS = [2, 0.5, True, np.float64(0.5), np.float32(0.5), np.int64(2)]


def check_numbers_are_weak(function, expected, dtype, device):
    """A number on either side takes the dtype of the tensor; `expected` computes with plain numbers."""
    for number, shape in itertools.product(NUMBERS, [(), (2,)]):
        x = Tensor(np.full(shape, 1.5), dtype=dtype, requires_grad=True, device=device)
        for a, b in [(x, number), (number, x)]:
            y = function(a, b)
            assert (y.dtype, y.shape, y.device) == (dtype, shape, x.device)
            value = expected(*[1.5 if operand is x else float(operand) for operand in (a, b)])
            np.testing.assert_allclose(host(y), np.full(shape, value), rtol=1e-3)
            y.sum().backward()
            assert (x.grad.dtype, x.grad.shape) == (dtype, shape)


def check_two_precisions_meet_in_the_wider(function, device):
    """And each gradient is in the dtype of its operand."""
    narrow = Tensor(np.full(3, 1.5, np.float32), requires_grad=True, device=device)
    wide = Tensor(np.full((2, 1), 2.5, np.float64), requires_grad=True, device=device)
    y = function(narrow, wide)
    assert y.dtype == np.float64
    y.sum().backward()
    assert (narrow.grad.dtype, wide.grad.dtype) == (np.float32, np.float64)


def check_integers_take_the_dtype_of_floats(function, dtype, device):
    """Booleans too; Tensors and raw arrays alike."""
    for integer in ("bool", "int8", "int32", "int64", "uint8"):
        x = Tensor(np.full((), 1.5), dtype=dtype, requires_grad=True, device=device)
        n = Tensor(np.ones(2), dtype=integer, device=device)
        for a, b in [(x, n), (n, x), (x, n.data), (n.data, x)]:
            y = function(a, b)
            assert (y.dtype, y.shape) == (dtype, (2,))
            y.sum().backward()
            assert x.grad.dtype == dtype
