"""adaptive_avg_pool2d, adaptive_max_pool2d."""

import fakecupy
import hard_shapes
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import (
    assert_close,
    check_operator,
    host,
    leaves,
    scattered,
    separated,
    torch_value_and_gradients,
    value_and_gradients,
)

import minidl
from minidl import Tensor, backend, naive
from minidl import functional as F
from minidl.ops.adaptive_pool import GatherFromShares, MaxOfShares

BOTH = ["adaptive_avg_pool2d", "adaptive_max_pool2d"]
IN_TORCH = [name for name in hard_shapes.ADAPTIVE_POOLINGS if name != "no places"]  # of which it has no gradient


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


def sizes_of(output_size, shape):
    """output_size with None filled in, as the oracle wants it, and PyTorch, which takes no None for both."""
    OH, OW = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    return shape[1] if OH is None else OH, shape[2] if OW is None else OW


def image(rows):
    return np.array(rows, float)[None, :, :, None]


def plane(x):
    """The rows of a single image with one channel."""
    return host(x)[0, :, :, 0]


def like_torch(function, x, g, device):
    """function(F, x), F ours or PyTorch's: the same value, and for the upstream g the same gradient."""
    value, (gradient,) = value_and_gradients(lambda x: function(F, x), [x], g, device)
    expected, (expected_gradient,) = torch_value_and_gradients(function, [x], ["image"], g, "image")
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)


# ---- mean


@pytest.mark.parametrize("name", hard_shapes.ADAPTIVE_POOLINGS)
def test_adaptive_avg_pool2d(name, device, rng):
    shape, output_size = hard_shapes.ADAPTIVE_POOLINGS[name]
    x = rng.standard_normal(shape)
    expected = oracle.adaptive_avg_pool2d(x, sizes_of(output_size, shape))
    assert_close(F.adaptive_avg_pool2d(Tensor(x, device=device), output_size), expected)
    check_operator(lambda x: F.adaptive_avg_pool2d(x, output_size), [x], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", IN_TORCH)
def test_adaptive_avg_pool2d_against_torch(name, device, rng):
    shape, output_size = hard_shapes.ADAPTIVE_POOLINGS[name]
    sizes = sizes_of(output_size, shape)
    x, g = rng.standard_normal(shape), rng.standard_normal((shape[0], *sizes, shape[3]))
    like_torch(lambda f, x: f.adaptive_avg_pool2d(x, sizes), x, g, device)


def test_an_infinity_stays_in_the_places_that_cover_it(device):
    """Rows 0-1, 1-3, 3-4 and columns 0-1, 1-2: with weights of 0 for the others, 0 · ∞ would make all of it NaN."""
    x = image([[np.inf, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, -np.inf]])
    y = F.adaptive_avg_pool2d(Tensor(x, device=device), (3, 2))
    np.testing.assert_array_equal(plane(y), [[np.inf, 3], [6.5, 7.5], [11, -np.inf]])


def test_a_nan_stays_in_the_places_that_cover_it(device):
    x = image([[1, 2, 3, 4], [5, 6, 7, np.nan]])
    y = F.adaptive_avg_pool2d(Tensor(x, device=device), (2, 2))
    np.testing.assert_array_equal(plane(y), [[1.5, 3.5], [5.5, np.nan]])


def test_an_infinite_gradient_stays_in_the_place_it_came_from(device):
    x = Tensor(np.ones((1, 5, 2, 1)), requires_grad=True, device=device)
    y = F.adaptive_avg_pool2d(x, (3, 1))  # rows 0-1, 1-3, 3-4
    y.backward(Tensor(image([[np.inf], [12], [8]]), device=device))
    np.testing.assert_array_equal(plane(x.grad), [[np.inf] * 2, [np.inf] * 2, [2, 2], [4, 4], [2, 2]])


# ---- maximum


@pytest.mark.parametrize("name", hard_shapes.ADAPTIVE_POOLINGS)
def test_adaptive_max_pool2d(name, device, rng):
    shape, output_size = hard_shapes.ADAPTIVE_POOLINGS[name]
    x = separated(rng, shape) - 5
    expected, expected_indices = oracle.adaptive_max_pool2d(x, sizes_of(output_size, shape))
    y, indices = F.adaptive_max_pool2d(Tensor(x, device=device), output_size, return_indices=True)
    assert_close(y, expected)
    assert (indices.dtype, str(indices.device)) == (np.int64, str(y.device))
    np.testing.assert_array_equal(host(indices), expected_indices)
    check_operator(lambda x: F.adaptive_max_pool2d(x, output_size), [x], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", IN_TORCH)
def test_adaptive_max_pool2d_against_torch(name, device, rng):
    shape, output_size = hard_shapes.ADAPTIVE_POOLINGS[name]
    sizes = sizes_of(output_size, shape)
    x = rng.choice([-3.0, -2.0, -1.0, np.nan, -np.inf], shape, p=[0.2, 0.2, 0.2, 0.05, 0.35])  # many ties
    g = rng.standard_normal((shape[0], *sizes, shape[3]))
    like_torch(lambda f, x: f.adaptive_max_pool2d(x, sizes), x, g, device)
    _, indices = F.adaptive_max_pool2d(Tensor(x, device=device), output_size, return_indices=True)
    expected, _ = torch_value_and_gradients(
        lambda f, x: f.adaptive_max_pool2d(x, sizes, True)[1] + 0.0 * x.nan_to_num(0, 0, 0).sum(),
        [x],
        ["image"],
        g,
        "image",
    )
    np.testing.assert_array_equal(host(indices), expected)


def test_of_equal_elements_the_first_in_reading_order_wins(device):
    """(0, 2) stands before (1, 0) and (1, 1), though in a later column."""
    x = Tensor(image([[1, 2, 3], [3, 3, 0], [3, 0, 3]]), requires_grad=True, device=device)
    y, indices = F.adaptive_max_pool2d(x, 1, return_indices=True)
    y.backward()
    assert indices.item() == 2
    assert plane(x.grad).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_nan_wins_and_of_several_the_last(device):
    """As in PyTorch."""
    x = Tensor(image([[np.inf, np.nan, 1, 2], [np.nan, 0, 3, 4]]), requires_grad=True, device=device)
    y, indices = F.adaptive_max_pool2d(x, (1, 2), return_indices=True)
    y.backward(Tensor(image([[5, 6]]), device=device))
    np.testing.assert_array_equal(plane(y), [[np.nan, 4]])
    assert plane(indices).tolist() == [[4, 7]]
    assert plane(x.grad).tolist() == [[0, 0, 0, 0], [5, 0, 0, 6]]


def test_an_element_that_wins_in_two_places_gets_both_gradients(device):
    x = Tensor(image([[1, 2, 9, 3, 4]]), requires_grad=True, device=device)
    y = F.adaptive_max_pool2d(x, (1, 2))  # columns 0-2 and 2-4
    y.backward(Tensor(image([[10, 1]]), device=device))
    assert plane(x.grad).tolist() == [[0, 0, 11, 0, 0]]


def test_an_infinite_gradient_reaches_the_winner_alone(device):
    x = Tensor(image([[1, 4, 2], [3, 0, 5]]), requires_grad=True, device=device)
    y = F.adaptive_max_pool2d(x, (1, 2))
    y.backward(Tensor(image([[-np.inf, np.nan]]), device=device))
    np.testing.assert_array_equal(plane(x.grad), [[0, -np.inf, 0], [0, 0, np.nan]])


def test_indices_are_where_the_images_are(fake_gpu, rng):
    """On gpu:1 while gpu:0 is current."""
    x = separated(rng, (2, 5, 7, 3))
    _, indices = F.adaptive_max_pool2d(Tensor(x, device="gpu:1"), (3, 2), return_indices=True)
    assert str(indices.device) == "gpu:1"
    expected = F.adaptive_max_pool2d(Tensor(x), (3, 2), return_indices=True)[1]
    np.testing.assert_array_equal(host(indices), host(expected))


@pytest.mark.parametrize("place", ["cpu", "gpu:1"])
def test_raw_arrays_give_raw_indices_where_they_are(place, fake_gpu, rng):
    with backend.active(minidl.device(place)):
        x = Tensor(separated(rng, (2, 5, 7, 3)), device=place)
        found = F.adaptive_max_pool2d(x.data, (3, 2), return_indices=True)
        expected = F.adaptive_max_pool2d(x, (3, 2), return_indices=True)
        for raw, tensor in zip(found, expected, strict=True):
            assert backend.is_array(raw)
            assert isinstance(tensor, Tensor)
            assert str(backend.device_of(raw)) == str(tensor.device) == place
            assert_close(raw, tensor, 0)


# ---- both


@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(1, 9), st.integers(1, 2)),
    output_size=st.tuples(st.none() | st.integers(0, 11), st.none() | st.integers(0, 11)),
)
def test_any_adaptive_pooling_equals_its_loops(shape, output_size, device):
    rng = np.random.default_rng(0)
    sizes = sizes_of(output_size, shape)
    g = rng.standard_normal((shape[0], *sizes, shape[3]))
    x = rng.standard_normal(shape)
    value, (gradient,) = value_and_gradients(lambda x: F.adaptive_avg_pool2d(x, output_size), [x], g, device)
    assert_close(value, oracle.adaptive_avg_pool2d(x, sizes))
    assert_close(value, naive.adaptive_avg_pool2d(x, output_size))
    assert_close(gradient, naive.adaptive_avg_pool2d_backward(g, x, output_size))

    x = rng.choice([-3.0, -2.0, np.nan], shape, p=[0.5, 0.45, 0.05])
    value, (gradient,) = value_and_gradients(lambda x: F.adaptive_max_pool2d(x, output_size), [x], g, device)
    expected, expected_indices = oracle.adaptive_max_pool2d(x, sizes)
    _, indices = F.adaptive_max_pool2d(Tensor(x, device=device), output_size, return_indices=True)
    assert_close(value, expected)
    np.testing.assert_array_equal(host(indices), expected_indices)
    assert_close(value, naive.adaptive_max_pool2d(x, output_size))
    assert_close(gradient, naive.adaptive_max_pool2d_backward(g, x, output_size))


@pytest.mark.parametrize("name", BOTH)
def test_full_second_derivatives(name, device, rng):
    """Places that overlap, so that one pixel is added to more than once."""
    minidl.gradgradcheck(lambda x: getattr(F, name)(x, (2, 3)), leaves([separated(rng, (2, 3, 4, 2))], device))


def test_gathering_winners_can_be_differentiated(device, rng):
    """It stands in the second derivative of the maximum; its own gradient is in the third."""
    x = separated(rng, (2, 7, 3))
    pool = MaxOfShares(5)
    pool(Tensor(x, device=device))
    winner = pool.winner
    check_operator(lambda u: GatherFromShares(winner)(u), [rng.standard_normal(x.shape)], device)


@pytest.mark.parametrize("name", BOTH)
def test_memory_order_does_not_matter(name, device, rng):
    def pool(x):
        return getattr(F, name)(x, (2, 3))

    (x,) = leaves([separated(rng, (2, 5, 7, 3))], device)
    y = pool(x)
    g = Tensor(rng.standard_normal(y.shape), device=device)
    (expected,) = minidl.grad(y, [x], g)
    for mixed in (scattered(x), scattered(x, axis=1), x[:, ::-1, ::-1][:, ::-1, ::-1]):
        y_mixed = pool(mixed)
        assert_close(y_mixed, y)
        (gradient,) = minidl.grad(y_mixed, [x], scattered(g), retain_graph=True)
        assert_close(gradient, expected)


def test_None_keeps_a_size(device, rng):
    x = Tensor(rng.standard_normal((2, 5, 7, 3)), device=device)
    for pool in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        assert_close(pool(x, None), x, 0)
        assert pool(x, [None, 3]).shape == (2, 5, 3, 3)
        assert pool(x, (np.int64(2), None)).shape == (2, 2, 7, 3)


@pytest.mark.parametrize(("name", "dtype"), [(BOTH[0], np.float32), (BOTH[1], np.int64)])
def test_integers_and_raw_arrays(name, dtype, device):
    """The mean of integers is float32, their maximum an integer."""
    x = Tensor(np.arange(2 * 4 * 5 * 2).reshape(2, 4, 5, 2), device=device)
    y = getattr(F, name)(x, (2, 3))
    assert y.dtype == dtype
    raw = getattr(F, name)(x.data, (2, 3))
    assert not isinstance(raw, Tensor)
    assert_close(raw, y, 0)


@pytest.mark.parametrize("name", BOTH)
def test_no_channels_give_no_channels(name, device):
    """Nothing to do. PyTorch agrees about the mean, and refuses the maximum."""
    x = Tensor(np.ones((2, 5, 6, 0), np.float32), requires_grad=True, device=device)
    y = getattr(F, name)(x, (3, 2))
    assert y.shape == (2, 3, 2, 0)
    y.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("shape", "output_size", "message"),
    [
        ((5, 6), 2, r"expected images \(N, H, W, C\) of at least one pixel, got shape \(5, 6\)"),
        ((2, 0, 6, 3), 1, r"expected images .* of at least one pixel, got shape \(2, 0, 6, 3\)"),
        ((2, 5, 0, 3), 0, r"expected images .* of at least one pixel, got shape \(2, 5, 0, 3\)"),
        ((2, 5, 6, 3), -1, "output_size must be an integer of at least 0 or None, or a pair of those; got -1"),
        ((2, 5, 6, 3), (2, 2.5), r"output_size must be .* got \(2, 2.5\)"),
        ((2, 5, 6, 3), (2,), r"output_size must be .* got \(2,\)"),
        ((2, 5, 6, 3), (), r"output_size must be .* got \(\)"),
        ((2, 5, 6, 3), (1, 2, None), r"output_size must be .* got \(1, 2, None\)"),
        ((2, 5, 6, 3), True, "output_size must be .* got True"),
        ((2, 5, 6, 3), "same", "output_size must be .* got 'same'"),
    ],
)
def test_wrong_calls(name, shape, output_size, message, device):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        getattr(F, name)(Tensor(np.ones(shape), device=device), output_size)
