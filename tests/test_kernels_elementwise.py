"""Operations on single elements: in pieces and by threads as all at once, whatever the memory is like."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import host

from minidl.backend import device as as_device
from minidl.backend import to_device
from minidl.kernels import elementwise as kernels
from minidl.kernels.elementwise import added, copied, elementwise, in_pieces, joined, rectify, relu, where_positive

DTYPES = [np.float16, np.float32, np.float64]


@pytest.fixture(params=[1, 2, 3])
def tiny(request, monkeypatch, use_threads):
    """Nothing is too small to be cut, into pieces of seven elements."""
    monkeypatch.setattr(kernels, "LARGE", 1)
    monkeypatch.setattr(kernels, "PIECE", 7)
    use_threads(request.param)


def on(device, array):
    return to_device(np.asarray(array), as_device(device))


def layouts(x):
    """The array in memory of several kinds: as it is, in the other order, with gaps, turned round, repeated."""
    return [x, x.T.copy().T, np.repeat(x, 2, axis=-1)[..., ::2], x[..., ::-1], np.broadcast_to(x[:1], x.shape)]


# ---------------------------------------------------------------------------------------------------------- in pieces


@pytest.mark.parametrize("dtype", DTYPES)
def test_pieces_are_the_whole(dtype, tiny, rng):
    for a in layouts(rng.standard_normal((5, 4, 9)).astype(dtype)):
        for b in layouts(rng.standard_normal((5, 4, 9)).astype(dtype)):
            y = elementwise(np.subtract, a, b)
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, a - b)
            assert not np.may_share_memory(y, a)
            assert not np.may_share_memory(y, b)


@pytest.mark.parametrize(
    "other", [np.ones((3, 8), np.float64), np.ones((8,), np.float32), np.float32(2), 2.0], ids=repr
)
def test_another_shape_or_dtype(other, tiny):
    """Then all is done at once, with NumPy's rules for what comes out."""
    x = np.arange(24, dtype=np.float32).reshape(3, 8)
    for pair in ((x, other), (x, other) if np.ndim(other) == 0 else (other, x)):
        y, expected = elementwise(np.add, *pair), np.add(*pair)
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_added_is_the_sum_in_that_order(count, dtype, device, tiny, rng):
    arrays = [rng.standard_normal((5, 4, 9)).astype(dtype) for _ in range(count)]
    before = [array.copy() for array in arrays]
    expected = arrays[0] + arrays[1]
    for array in arrays[2:]:
        expected = expected + array
    given = [on(device, array) for array in arrays]
    y = added(given)
    assert y.dtype == dtype
    np.testing.assert_array_equal(host(y), expected)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(host(array), copy)


@given(size=st.integers(1, 60))
def test_every_element_once(size, tiny):
    x, seen = np.zeros(size), []

    def work(part):
        part += 1
        seen.append((part.size, threading.current_thread()))

    in_pieces(work, x)
    assert (x == 1).all()
    assert sum(n for n, _ in seen) == size
    assert size < 14 or (len(seen) > 1 and max(n for n, _ in seen) <= 14)


def test_what_is_small_is_one_piece(use_threads):
    use_threads(3)
    seen = []
    in_pieces(seen.append, np.zeros(kernels.LARGE - 1))
    in_pieces(seen.append, np.zeros((2, kernels.LARGE)).T)
    assert [part.size for part in seen] == [kernels.LARGE - 1, 2 * kernels.LARGE]
    seen.clear()
    in_pieces(seen.append, np.zeros(kernels.LARGE))
    assert len(seen) == 3


def test_several_arrays_are_cut_alike(tiny):
    """As an optimizer has them: what it reads, and what it writes to."""
    p, g, velocity = (np.arange(50.0).reshape(5, 10) + k for k in range(3))
    expected = p - 0.1 * (0.9 * velocity + g)

    def step(p, g, velocity):
        velocity *= 0.9
        velocity += g
        p -= 0.1 * velocity

    in_pieces(step, p, g, velocity)
    np.testing.assert_array_equal(p, expected)
    p, velocity = np.zeros((10, 5)).T, np.zeros((5, 10))  # of two orders
    in_pieces(step, p, g, velocity)
    np.testing.assert_array_equal(p, -0.1 * g)


def test_an_exception_reaches_the_caller(tiny):
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
        elementwise(np.divide, np.ones(100), np.zeros(100))


def test_on_a_device(device, tiny, rng):
    x = rng.standard_normal((5, 4, 9)).astype(np.float32)
    there = on(device, x)
    for y in (copied(there), relu(there), where_positive(there, there), joined([there, there], 1)):
        assert type(y) is type(there)
        assert y.dtype == np.float32
    np.testing.assert_array_equal(host(copied(there)), x)
    np.testing.assert_array_equal(host(relu(there)), np.maximum(x, 0))
    np.testing.assert_array_equal(host(where_positive(there, relu(there))), x * (x > 0))
    np.testing.assert_array_equal(host(joined([there, 2 * there], 1)), np.concatenate([x, 2 * x], axis=1))


# --------------------------------------------------------------------------------------------- copies and concatenation


@pytest.mark.parametrize("dtype", [*DTYPES, np.int64, bool])
def test_a_copy_is_a_copy(dtype, tiny, rng):
    for x in layouts(rng.integers(0, 2, (5, 4, 9)).astype(dtype)):
        y = copied(x)
        assert y.dtype == dtype
        assert y.flags.writeable
        assert not np.may_share_memory(x, y)
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_joined(axis, tiny, rng):
    shapes = np.full((4, 3), (5, 4, 6))
    shapes[:, axis] = [3, 1, 0, 6]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    arrays[0] = arrays[0].T.copy().T
    y = joined(arrays, axis)
    np.testing.assert_array_equal(y, np.concatenate(arrays, axis=axis))
    assert not any(np.may_share_memory(y, array) for array in arrays)
    assert joined([arrays[0].astype(np.float32), arrays[1]], axis).dtype == np.float64
    assert joined([arrays[0].astype(np.float32)] * 2, axis).dtype == np.float32


# -------------------------------------------------------------------------------------------------------------- ReLU

SPECIAL = [-np.inf, -1.5, -0.0, 0.0, 6e-8, 2.0, np.inf, np.nan]


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu(dtype, device, tiny, rng):
    x = np.concatenate([np.array(SPECIAL, dtype), rng.standard_normal(40).astype(dtype)])
    expected = np.where(x <= 0, dtype(0), x)  # NaN is not at most 0
    for function in (relu, rectify):
        y = function(on(device, x))
        assert y.dtype == dtype
        np.testing.assert_array_equal(host(y), expected)
    out = on(device, x)
    rectify(out, out=out)
    np.testing.assert_array_equal(host(out), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8])
def test_relu_of_whole_numbers(dtype, device, tiny):
    x = np.array([-3, 0, 5, 127] * 10).astype(dtype)
    y = relu(on(device, x))
    assert y.dtype == dtype
    np.testing.assert_array_equal(host(y), np.maximum(x, 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_positive(dtype, device, tiny, rng):
    """For every y that a ReLU gives, and gradients of both signs."""
    y = np.tile(np.array([0.0, 6e-8, 2.0, np.inf, np.nan], dtype), 10)
    g = rng.standard_normal(y.size).astype(dtype)
    expected = np.where(y == 0, dtype(0), g)
    result = where_positive(on(device, g), on(device, y))
    assert result.dtype == dtype
    np.testing.assert_array_equal(host(result), expected)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_where_positive_of_what_is_not_finite(value, device):
    """A gradient that has overflowed stays where it belongs: a switched-off unit gets 0, as in PyTorch."""
    g, y = on(device, np.full(20, value)), on(device, np.tile([0.0, 1.0], 10))
    np.testing.assert_array_equal(host(where_positive(g, y)), np.tile([0.0, value], 10))
