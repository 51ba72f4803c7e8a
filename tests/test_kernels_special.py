"""erfc, against Python's own, and its coefficients, against what the docstring says they are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import host

from minidl import Tensor
from minidl.kernels import special
from minidl.kernels.special import erfc

SMALLEST = np.finfo(np.float64).tiny  # below it, numbers have fewer digits


def by_python(x):
    return np.vectorize(math.erfc, otypes=[np.float64])(x)


def on(device, x):
    return host(erfc(Tensor(x, device=device).data))


def test_a_dense_grid(device):
    """The whole way from 2 down to where nothing is left; and close to 0."""
    x = np.concatenate([np.linspace(-7, 28, 30_001), np.logspace(-320, 0, 400), -np.logspace(-320, 0, 400)])
    y, expected = on(device, x), by_python(x)
    small = expected < SMALLEST
    np.testing.assert_allclose(y[~small], expected[~small], rtol=2e-15)
    np.testing.assert_allclose(y[small], expected[small], rtol=0, atol=1e-14 * SMALLEST)


def test_a_dense_grid_in_float32(device):
    x = np.linspace(-5, 9, 30_001, dtype=np.float32)
    y = on(device, x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, by_python(x), rtol=8e-7)


@given(st.floats(width=64))
def test_any_number(x):
    (y,), expected = erfc(np.array([x])), math.erfc(x) if x == x else x
    np.testing.assert_allclose(y, expected, rtol=2e-15, atol=SMALLEST)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_corners(dtype, device):
    largest = np.finfo(dtype).max
    y = on(device, np.array([0.0, -0.0, np.inf, -np.inf, largest, -largest, np.nan], dtype))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.array([1, 1, 0, 2, 0, 2, np.nan], dtype))


def test_half_precision_is_computed_in_single_precision(device):
    x = np.linspace(-3, 3, 101, dtype=np.float16)
    np.testing.assert_allclose(on(device, x), by_python(x), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (3, 5, 7)], ids=str)
def test_shapes(shape, device, rng):
    x = rng.standard_normal(shape)
    assert on(device, x).shape == shape
    np.testing.assert_allclose(on(device, x), by_python(x), rtol=2e-15)


def test_memory_that_is_not_contiguous(device, rng):
    x = Tensor(rng.standard_normal((6, 4, 5)), device=device).data
    view = x.transpose(2, 0, 1)[::2, ::-1]
    np.testing.assert_allclose(host(erfc(view)), by_python(host(view)), rtol=2e-15)


@pytest.mark.parametrize("size", [special.BLOCK - 1, special.BLOCK, 2 * special.BLOCK + 1])
def test_blocks(size, rng):
    x = rng.standard_normal(size)
    before = x.copy()
    np.testing.assert_allclose(erfc(x), by_python(x), rtol=2e-15)
    np.testing.assert_array_equal(x, before)


# ---- where the coefficients come from


def scaled_erfc(z):
    """e^(z²) · erfc(z): as it is where z is small, and as Laplace's continued fraction where e^(z²) might overflow."""
    if z < 2:
        return math.exp(z * z) * math.erfc(z)
    tail = z
    for k in range(500, 0, -1):
        tail = z + k / 2 / tail
    return 1 / (math.sqrt(math.pi) * tail)


def test_the_coefficients_are_what_the_docstring_says():
    N, K = 80, special.K
    angles = np.pi * (np.arange(N) + 0.5) / N
    s = (np.cos(angles) + 1) / 2
    p = np.array([scaled_erfc(K / one - K) for one in s]) / s
    computed = [(2 - (k == 0)) / N * np.sum(p * np.cos(k * angles)) for k in range(len(special.CHEBYSHEV))]
    np.testing.assert_allclose(special.CHEBYSHEV, computed, rtol=0, atol=1e-15)
    np.testing.assert_allclose(special.CHEBYSHEV[:12], computed[:12], rtol=1e-7)


def test_the_powers_hardly_round():
    for powers in special.POWERS.values():
        assert np.abs(powers).sum() < 1.001
