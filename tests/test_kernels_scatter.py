"""Additions at an index: as np.add.at does them, on every device and in every dtype."""

import numpy as np
import pytest
from judge import host

from minidl import Tensor
from minidl.kernels.scatter import put_at

ROWS, MASK = np.array([2, -1, 0, 2]), np.array([[True, False], [True, True], [False, True]])
INDICES = {
    "rows": ((3, 2), (ROWS,)),
    "rows of one": ((3,), (ROWS,)),
    "rows of several axes": ((3, 2, 4), (ROWS,)),
    "rows in two axes": ((3, 2), (ROWS.reshape(2, 2),)),
    "columns": ((2, 3, 4), (slice(None), ROWS)),
    "columns of a part": ((5, 3, 2), (slice(None, 0, -2), ROWS)),
    "the last axis": ((2, 4, 3), (..., ROWS)),
    "the first axis, and the others": ((3, 2, 4), (ROWS, ...)),
    "arrays side by side": ((4, 3, 2), (ROWS, ROWS)),
    "arrays apart": ((3, 2, 3), (ROWS, slice(None), ROWS)),
    "a new axis": ((3, 2), (None, ROWS, None)),
    "an integer": ((3, 2, 3), (ROWS, 1)),
    "no dimensions": ((3, 2), (np.array(1),)),
    "a mask of two axes": ((3, 2, 3), (MASK, ROWS)),
    "a mask of none": ((3, 2), (True, ROWS)),
    "a mask of none, an array": ((3, 2), (np.array(True), ROWS)),
    "no indices": ((3, 2), (ROWS[:0],)),
    "rows of nothing": ((3, 0), (ROWS,)),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "int16", "uint8", "bool"])
def test_what_is_named_twice_is_added_twice(dtype, device, rng):
    for shape, index in INDICES.values():
        x = rng.integers(-3, 4, np.zeros(shape)[index].shape).astype(dtype)
        expected = np.zeros(shape, dtype)
        np.add.at(expected, index, x)
        on_device = tuple(Tensor(p, device=device).data if isinstance(p, np.ndarray) else p for p in index)
        y = put_at(on_device, Tensor(x, device=device).data, shape)
        assert (y.dtype, y.shape) == (dtype, shape)
        np.testing.assert_array_equal(host(y), expected)


def test_scattered_memory(device, rng):
    x = rng.standard_normal((2, 4)).T  # (4, 2)
    expected = np.zeros((3, 2))
    np.add.at(expected, (ROWS,), x)
    y = put_at((Tensor(ROWS, device=device).data,), Tensor(x.T, device=device).data.T, (3, 2))
    np.testing.assert_allclose(host(y), expected, rtol=1e-15)
