"""Matrix products cut into rows or columns: the product, whoever computes which part."""

import numpy as np
import pytest
from judge import host, largest_error

from minidl.backend import device as as_device
from minidl.backend import to_device
from minidl.kernels import bands
from minidl.kernels.products import product

SHAPES = [
    ((9, 4), (4, 5)),  # by rows
    ((4, 5), (5, 9)),  # by columns
    ((1, 5), (5, 7)),
    ((7, 5), (5, 1)),
    ((1, 3), (3, 1)),
    ((5, 0), (0, 3)),
    ((0, 4), (4, 3)),
    ((0, 4), (4, 0)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)),
    ((1, 9, 4), (1, 4, 5)),  # a batch of fewer products than threads
    ((1, 4, 5), (5, 9)),
    ((2, 1, 3, 4), (3, 4, 5)),
    ((0, 3, 4), (4, 5)),
]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("a", "b"), SHAPES, ids=str)
def test_it_is_the_product(a, b, threads, device, use_threads, monkeypatch, rng):
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    use_threads(threads)
    a, b = rng.standard_normal(a), rng.standard_normal(b)
    for left in (a, a[..., ::-1].copy()[..., ::-1]):
        for right in (b, b.swapaxes(-1, -2).copy().swapaxes(-1, -2)):
            y = product(*(to_device(array, as_device(device)) for array in (left, right)))
            assert largest_error(y, a @ b) <= 1e-14


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (np.float32, np.float32, np.float32),
        (np.float32, np.float64, np.float64),
        (np.float16, np.float16, np.float16),
        (np.int64, np.int64, np.int64),
        (np.int32, np.float32, np.float64),
    ],
)
def test_the_dtype_is_the_products(a, b, expected, device):
    y = product(*(to_device(np.ones((3, 3), dtype), as_device(device)) for dtype in (a, b)))
    assert y.dtype == expected
    assert (host(y) == 3).all()
