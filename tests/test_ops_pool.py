"""max_pool2d, avg_pool2d, lp_pool2d."""

import math

import fakecupy
import hard_shapes
import numpy as np
import oracle
import pytest
from hypothesis import assume, given
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
from minidl.ops.pool import GatherWinners, MaxPool2d, pooling_window

AVERAGES = [
    {},
    {"ceil_mode": True},
    {"count_include_pad": False},
    {"ceil_mode": True, "count_include_pad": False},
    {"ceil_mode": True, "divisor_override": 5},
    {"divisor_override": -3},
]
DILATED = {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "dilation": (2, 3)}
UNPADDED = {name: case for name, case in hard_shapes.POOLINGS.items() if "padding" not in case[1]}


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


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


# ---- maximum


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", hard_shapes.POOLINGS)
def test_max_pool2d(name, ceil_mode, device, rng):
    shape, options = hard_shapes.POOLINGS[name]
    x, options = separated(rng, shape) - 5, options | {"ceil_mode": ceil_mode}  # negative: zero padding would win
    assert_close(F.max_pool2d(Tensor(x, device=device), **options), oracle.max_pool2d(x, **options))
    check_operator(lambda x: F.max_pool2d(x, **options), [x], device)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool2d_dilated(ceil_mode, device, rng):
    x, options = separated(rng, (2, 6, 7, 2)) - 5, DILATED | {"ceil_mode": ceil_mode}
    assert_close(F.max_pool2d(Tensor(x, device=device), **options), oracle.max_pool2d(x, **options))
    check_operator(lambda x: F.max_pool2d(x, **options), [x], device)


@pytest.mark.torch
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", [*(name for name in hard_shapes.POOLINGS if name != "no images"), "dilated"])
def test_max_pool2d_against_torch(name, ceil_mode, device, rng):
    shape, options = hard_shapes.POOLINGS.get(name, ((2, 6, 7, 2), DILATED))
    x, options = rng.integers(-9, -3, shape).astype(float), options | {"ceil_mode": ceil_mode}  # many ties
    g = rng.standard_normal(oracle.max_pool2d(x, **options).shape)
    like_torch(lambda f, x: f.max_pool2d(x, **options), x, g, device)
    _, indices = F.max_pool2d(Tensor(x, device=device), return_indices=True, **options)
    expected, _ = torch_value_and_gradients(
        lambda f, x: f.max_pool2d(x, return_indices=True, **options)[1] + 0.0 * x.sum(), [x], ["image"], g, "image"
    )
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(host(indices), expected)


def test_of_equal_elements_the_first_wins(device):
    x = Tensor(image([[1, 3, 3], [3, 3, 3], [2, 0, 3]]), requires_grad=True, device=device)
    y, indices = F.max_pool2d(x, 2, stride=1, return_indices=True)
    y.backward(Tensor(image([[1, 10], [100, 1000]]), device=device))
    assert plane(indices).tolist() == [[1, 1], [3, 4]]
    assert plane(x.grad).tolist() == [[0, 11, 0], [100, 1000, 0], [0, 0, 0]]


def test_nan_wins_and_takes_the_gradient(device):
    x = Tensor(image([[1, 9, 2, 3], [4, 5, np.nan, 6]]), requires_grad=True, device=device)
    y = F.max_pool2d(x, 2)
    y.backward(Tensor(image([[1, 2]]), device=device))
    np.testing.assert_array_equal(plane(y), [[9, np.nan]])
    assert plane(x.grad).tolist() == [[0, 1, 0, 0], [0, 0, 2, 0]]
    flipped = Tensor(host(x)[:, :, ::-1], device=device)
    np.testing.assert_array_equal(plane(F.max_pool2d(flipped, 2)), [[np.nan, 9]])


def test_of_several_nans_the_last_takes_the_gradient(device):
    """As in PyTorch; the comparison is in the Hypothesis test against the loops, and in the next test."""
    x = Tensor(image([[np.nan, 1], [np.inf, np.nan], [np.nan, 2]]), requires_grad=True, device=device)
    y, indices = F.max_pool2d(x, 2, stride=1, return_indices=True)
    y.backward(Tensor(image([[1], [2]]), device=device))
    assert np.isnan(host(y)).all()
    assert host(indices).ravel().tolist() == [3, 4]
    assert plane(x.grad).tolist() == [[0, 0], [0, 1], [2, 0]]


@pytest.mark.torch
def test_nan_and_infinities_against_torch(device, rng):
    x = rng.choice([np.nan, np.inf, -np.inf, 1.0, 2.0], (2, 6, 7, 3), p=[0.2, 0.1, 0.5, 0.1, 0.1])
    options = {"kernel_size": 3, "stride": (1, 2), "padding": 1}
    g = rng.standard_normal(oracle.max_pool2d(x, **options).shape)
    like_torch(lambda f, x: f.max_pool2d(x, **options), x, g, device)


def test_an_infinite_gradient_reaches_the_winner_alone(device):
    x = Tensor(image([[1, 4, 2], [3, 0, 5]]), requires_grad=True, device=device)
    y = F.max_pool2d(x, 2, stride=1)
    y.backward(Tensor(image([[-np.inf, np.nan]]), device=device))
    np.testing.assert_array_equal(plane(x.grad), [[0, -np.inf, 0], [0, 0, np.nan]])


def test_padding_never_wins_even_against_minus_infinity(device):
    """Where a window sees nothing larger than the padding, its first element inside the image wins, as in PyTorch."""
    x = Tensor(np.full((1, 4, 4, 1), -np.inf), requires_grad=True, device=device)
    y, indices = F.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    y.backward(Tensor(image([[1, 2], [3, 4]]), device=device))
    assert (host(y) == -np.inf).all()
    assert plane(indices).tolist() == [[0, 1], [4, 5]]
    assert host(x.grad)[0, :2, :2, 0].tolist() == [[1, 2], [3, 4]]
    assert host(x.grad).sum() == 10


def test_a_dilated_window_that_steps_over_the_image_is_minus_infinity(device):
    """As in PyTorch. (Its backward then writes outside of its memory; ours gives the gradient to nobody.)"""
    x = Tensor(np.ones((2, 1, 3, 2)), requires_grad=True, device=device)
    y = F.max_pool2d(x, (2, 1), padding=(1, 0), dilation=(2, 1))
    y.backward(Tensor(np.ones((2, 1, 3, 2)), device=device))
    assert (host(y) == -np.inf).all()
    assert (host(x.grad) == 0).all()


def test_indices_point_at_the_maxima(device, rng):
    x = separated(rng, (2, 5, 7, 3))
    y, indices = F.max_pool2d(Tensor(x, device=device), (3, 2), stride=2, padding=1, return_indices=True)
    planes = x.reshape(2, 35, 3)
    found = np.take_along_axis(planes, host(indices).reshape(2, -1, 3), axis=1).reshape(y.shape)
    np.testing.assert_array_equal(found, host(y))


def test_indices_are_where_the_images_are(fake_gpu, rng):
    """On gpu:1 while gpu:0 is current."""
    x = separated(rng, (2, 5, 7, 3))
    _, indices = F.max_pool2d(Tensor(x, device="gpu:1"), (3, 2), return_indices=True)
    assert str(indices.device) == "gpu:1"
    np.testing.assert_array_equal(host(indices), host(F.max_pool2d(Tensor(x), (3, 2), return_indices=True)[1]))


@pytest.mark.parametrize("place", ["cpu", "gpu:1"])
def test_raw_arrays_give_raw_indices_where_they_are(place, fake_gpu, rng):
    with backend.active(minidl.device(place)):
        x = Tensor(separated(rng, (2, 5, 7, 3)), device=place)
        found = F.max_pool2d(x.data, (3, 2), return_indices=True)
        expected = F.max_pool2d(x, (3, 2), return_indices=True)
        for raw, tensor in zip(found, expected, strict=True):
            assert backend.is_array(raw)
            assert isinstance(tensor, Tensor)
            assert str(backend.device_of(raw)) == str(tensor.device) == place
            assert_close(raw, tensor, 0)


def test_a_large_window(device, rng):
    """More elements than a byte can number."""
    x = separated(rng, (1, 18, 17, 2))
    g = rng.standard_normal((1, 2, 1, 2))
    value, (gradient,) = value_and_gradients(lambda x: F.max_pool2d(x, 17, stride=1), [x], g, device)
    assert_close(value, naive.max_pool2d(x, 17, stride=1))
    assert_close(gradient, naive.max_pool2d_backward(g, x, 17, stride=1))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_the_largest_of_integers_is_an_integer(dtype, device, rng):
    """The two largest int64 are one number in floating point. The padding is the smallest integer, and never wins."""
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = rng.integers(least, most, (2, 4, 6, 2), dtype, endpoint=True)
    x[0, :2, :2, 0] = [[most - 1, most], [least, least]]
    x[1, 0] = least
    y, indices = F.max_pool2d(Tensor(x, device=device), (2, 3), stride=(1, 2), padding=1, return_indices=True)
    assert y.dtype == dtype
    for n, oh, ow, c in np.ndindex(y.shape):
        h, w = max(oh - 1, 0), max(2 * ow - 1, 0)
        window = x[n, h : oh + 1, w : 2 * ow + 2, c]
        assert host(y)[n, oh, ow, c] == window.max()
        first_row, first_col = np.argwhere(window == window.max())[0]
        assert host(indices)[n, oh, ow, c] == (h + first_row) * 6 + w + first_col


# ---- mean


@pytest.mark.parametrize("modes", AVERAGES, ids=str)
@pytest.mark.parametrize("name", hard_shapes.POOLINGS)
def test_avg_pool2d(name, modes, device, rng):
    shape, options = hard_shapes.POOLINGS[name]
    x, options = rng.standard_normal(shape), options | modes
    assert_close(F.avg_pool2d(Tensor(x, device=device), **options), oracle.avg_pool2d(x, **options))
    check_operator(lambda x: F.avg_pool2d(x, **options), [x], device)


@pytest.mark.torch
@pytest.mark.parametrize("modes", AVERAGES, ids=str)
@pytest.mark.parametrize("name", [name for name in hard_shapes.POOLINGS if name != "no images"])
def test_avg_pool2d_against_torch(name, modes, device, rng):
    shape, options = hard_shapes.POOLINGS[name]
    x, options = rng.standard_normal(shape), options | modes
    g = rng.standard_normal(oracle.avg_pool2d(x, **options).shape)
    like_torch(lambda f, x: f.avg_pool2d(x, **options), x, g, device)


def test_an_infinity_stays_in_the_windows_that_cover_it(device):
    x = image([[np.inf, 1, 2, 3], [4, 5, 6, np.nan]])
    np.testing.assert_array_equal(plane(F.avg_pool2d(Tensor(x, device=device), 2, stride=1)), [[np.inf, 3.5, np.nan]])


def test_a_numpy_divisor_does_not_change_the_dtype(device):
    x = Tensor(np.ones((1, 2, 2, 1), np.float32), device=device)
    y = F.avg_pool2d(x, 2, divisor_override=np.int64(8))
    assert (y.dtype, y.item()) == (np.float32, 0.5)


# ---- norm


def of_both_signs(rng, shape):
    """Magnitudes from 0.5 to 1.5, far enough from each other that the largest and the smallest of a window stay so."""
    n = max(math.prod(shape), 1)
    magnitudes = 0.5 + rng.permutation(n)[: math.prod(shape)].reshape(shape) / n
    return magnitudes * rng.choice([-1, 1], shape)


@pytest.mark.parametrize("norm_type", [2, 3, math.inf, -math.inf])
@pytest.mark.parametrize("name", UNPADDED)
def test_lp_pool2d(name, norm_type, device, rng):
    shape, options = UNPADDED[name]
    x, options = of_both_signs(rng, shape), options | {"ceil_mode": True}
    x = abs(x) if norm_type == 3 else x
    assert_close(F.lp_pool2d(Tensor(x, device=device), norm_type, **options), oracle.lp_pool2d(x, norm_type, **options))
    check_operator(lambda x: F.lp_pool2d(x, norm_type, **options), [x], device)


@pytest.mark.torch
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("norm_type", [1, 2, 2.0, 3, 2.5, 0.5, -1, -2, math.inf, -math.inf])
def test_lp_pool2d_against_torch(norm_type, ceil_mode, device, rng):
    shape, options = hard_shapes.POOLINGS["remainder"]
    x, options = of_both_signs(rng, shape), options | {"ceil_mode": ceil_mode}
    x = x if norm_type in (1, 2, -2, math.inf, -math.inf) else abs(x)
    if norm_type >= 1:
        x = x * (rng.random(shape) < 0.4)  # zeros, and windows of nothing else
    g = rng.standard_normal(oracle.lp_pool2d(np.ones(shape), 1, **options).shape)
    like_torch(lambda f, x: f.lp_pool2d(x, norm_type, **options), x, g, device)


@pytest.mark.parametrize("norm_type", [1, 2, 3.0, 1.5, math.inf, -math.inf])
def test_the_gradient_of_an_all_zero_window_is_zero(norm_type, device):
    x = Tensor(image([[0, 0, 3, 3], [0, 0, 3, 3]]), requires_grad=True, device=device)
    y = F.lp_pool2d(x, norm_type, 2)
    y.backward(Tensor(image([[5, 7]]), device=device))
    assert plane(y)[0, 0] == 0
    assert plane(x.grad)[:, :2].tolist() == [[0, 0], [0, 0]]
    assert (plane(x.grad)[:, 2:] > 0).any()


@pytest.mark.parametrize("norm_type", [1, 3])
def test_the_gradient_of_powers_that_cancel_is_zero_too(norm_type, device):
    """For p = 1 as well, where the derivative is 1: PyTorch's convention, which is that of the all-zero window."""
    x = Tensor(image([[-1, 2, 1, -2]]), requires_grad=True, device=device)
    y = F.lp_pool2d(x, norm_type, (1, 4))
    y.backward()
    assert y.item() == 0
    assert plane(x.grad).tolist() == [[0, 0, 0, 0]]


def test_below_one_the_derivative_at_zero_is_infinite(device):
    """And where all of a window is 0, it is 0 · ∞: NaN, as in PyTorch."""
    x = Tensor(image([[0, 4, 0, 0]]), requires_grad=True, device=device)
    y = F.lp_pool2d(x, 0.5, (1, 2))
    y.backward(Tensor(image([[1, 1]]), device=device))
    assert plane(y).tolist() == [[4, 0]]
    np.testing.assert_array_equal(plane(x.grad), [[np.inf, 1, np.nan, np.nan]])


def test_a_negative_exponent(device):
    """1 / (1/a + 1/b): 0 where one of them is 0, ∞ where they cancel."""
    x = Tensor(image([[2, 2, 2, 0, 2, -2]]), device=device)
    assert plane(F.lp_pool2d(x, -1, (1, 2))).tolist() == [[1, 0, np.inf]]


def test_the_root_of_a_negative_sum_is_nan(device):
    x = Tensor(image([[-2, 1, -1, 2]]), device=device)
    y = plane(F.lp_pool2d(x, 3, (1, 2)))
    assert np.isnan(y[0, 0])
    assert y[0, 1] == pytest.approx(7 ** (1 / 3))
    assert plane(F.lp_pool2d(x, 1, (1, 2))).tolist() == [[-1, 1]]


def test_powers_that_are_too_large_are_infinite(device):
    x = Tensor(np.full((1, 2, 2, 1), 1e30, np.float32), device=device)
    assert F.lp_pool2d(x, 2, 2).item() == np.inf


def test_a_window_cut_off_by_the_image_is_scaled_up(device):
    """As if the missing elements had been like those that are there."""
    x = Tensor(np.ones((1, 3, 3, 1)), device=device)
    assert plane(F.lp_pool2d(x, 2, 2, ceil_mode=True)).tolist() == [[2, 2], [2, 2]]


def test_a_window_cut_off_by_the_image_on_a_second_device(fake_gpu):
    x = Tensor(np.ones((1, 3, 3, 1)), device="gpu:1")
    y = F.lp_pool2d(x, 2, 2, ceil_mode=True)
    assert str(y.device) == "gpu:1"
    assert plane(y).tolist() == [[2, 2], [2, 2]]


def test_a_numpy_exponent_does_not_change_the_dtype(device):
    x = Tensor(np.ones((1, 2, 2, 1), np.float32), device=device)
    for pooled in (F.lp_pool2d(x, np.float64(2), 2), F.lp_pool2d(x.data, np.float64(2), 2)):
        assert (pooled.dtype, host(pooled).item()) == (np.float32, 2)


# ---- on any shape


@st.composite
def poolings(draw):
    small = st.integers(1, 4)
    kernel = draw(st.tuples(small, small))
    options = {
        "kernel_size": kernel,
        "stride": draw(st.none() | st.tuples(small, small)),
        "padding": tuple(draw(st.integers(0, K // 2)) for K in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 8)), draw(st.integers(1, 8)), draw(st.integers(1, 2)))
    return shape, options


@given(case=poolings(), dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)), nan=st.booleans())
def test_any_max_pooling_equals_its_loops(case, dilation, nan, device):
    shape, options = case
    sizes = zip(shape[1:3], options["kernel_size"], options["padding"], dilation, strict=True)
    # A dilated window can straddle a small image and see nothing of it: then there is no maximum to speak of.
    assume(all(size >= D * (K - 1) + 1 for size, K, _, D in sizes))
    options = options | {"dilation": dilation}
    rng = np.random.default_rng(0)
    x = rng.integers(-9, -5, shape).astype(float)
    if nan:
        x[rng.random(shape) < 0.3] = np.nan
    expected = naive.max_pool2d(x, **options)
    g = rng.standard_normal(expected.shape)
    value, (gradient,) = value_and_gradients(lambda x: F.max_pool2d(x, **options), [x], g, device)
    assert_close(value, oracle.max_pool2d(x, **options))
    assert_close(value, expected)
    assert_close(gradient, naive.max_pool2d_backward(g, x, **options))


@given(
    case=poolings(),
    count_include_pad=st.booleans(),
    divisor_override=st.none() | st.integers(1, 9) | st.integers(-9, -1),
)
def test_any_average_pooling_equals_its_loops(case, count_include_pad, divisor_override, device):
    shape, options = case
    sizes = zip(shape[1:3], options["kernel_size"], options["padding"], strict=True)
    assume(all(size + 2 * P >= K for size, K, P in sizes))
    options = options | {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    expected = naive.avg_pool2d(x, **options)
    g = rng.standard_normal(expected.shape)
    value, (gradient,) = value_and_gradients(lambda x: F.avg_pool2d(x, **options), [x], g, device)
    assert_close(value, oracle.avg_pool2d(x, **options))
    assert_close(value, expected)
    assert_close(gradient, naive.avg_pool2d_backward(g, x, **options))


@given(case=poolings(), norm_type=st.sampled_from([1, 2, 3, 4.0, 2.5, 0.5, -1, math.inf, -math.inf]))
def test_any_norm_pooling_equals_its_loops(case, norm_type, device):
    shape, options = case
    assume(all(size >= K for size, K in zip(shape[1:3], options["kernel_size"], strict=True)))
    options = {name: option for name, option in options.items() if name != "padding"}
    rng = np.random.default_rng(0)
    x = of_both_signs(rng, shape)
    x = x if norm_type in (2, 4) or math.isinf(norm_type) else abs(x)
    expected = naive.lp_pool2d(x, norm_type, **options)
    g = rng.standard_normal(expected.shape)
    value, (gradient,) = value_and_gradients(lambda x: F.lp_pool2d(x, norm_type, **options), [x], g, device)
    assert_close(value, oracle.lp_pool2d(x, norm_type, **options))
    assert_close(value, expected)
    assert_close(gradient, naive.lp_pool2d_backward(g, x, norm_type, **options))


# ---- all of them

POOLS = {
    "max_pool2d": lambda x: F.max_pool2d(x, (3, 2), stride=2, padding=1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, (3, 2), stride=2, padding=1, count_include_pad=False),
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2, (3, 2), stride=2, ceil_mode=True),
}


@pytest.mark.parametrize("name", POOLS)
def test_full_second_derivatives(name, device, rng):
    minidl.gradgradcheck(POOLS[name], leaves([separated(rng, (2, 3, 4, 2))], device))


def test_gathering_winners_can_be_differentiated(device, rng):
    """It stands in the second derivative of the maximum; its own gradient is in the third."""
    x = separated(rng, (2, 5, 7, 3))
    window = pooling_window("max_pool2d", (3, 2), (2, 1), 1)
    pool = MaxPool2d(window)
    pool(Tensor(x, device=device))
    winner = pool.winner
    check_operator(lambda u: GatherWinners(window, winner, (5, 7))(u), [rng.standard_normal(x.shape)], device)


@pytest.mark.parametrize("name", POOLS)
def test_memory_order_does_not_matter(name, device, rng):
    (x,) = leaves([separated(rng, (2, 5, 7, 3))], device)
    y = POOLS[name](x)
    g = Tensor(rng.standard_normal(y.shape), device=device)
    (expected,) = minidl.grad(y, [x], g)
    for mixed in (scattered(x), scattered(x, axis=1), x[:, ::-1, ::-1][:, ::-1, ::-1]):
        y_mixed = POOLS[name](mixed)
        assert_close(y_mixed, y)
        (gradient,) = minidl.grad(y_mixed, [x], scattered(g), retain_graph=True)
        assert_close(gradient, expected)


@pytest.mark.parametrize("name", POOLS)
def test_integers_and_raw_arrays(name, device):
    x = Tensor(np.arange(2 * 4 * 5 * 2).reshape(2, 4, 5, 2), device=device)
    assert POOLS[name](x).dtype == (np.int64 if name == "max_pool2d" else np.float32)
    raw = POOLS[name](x.data)
    assert not isinstance(raw, Tensor)
    assert_close(raw, POOLS[name](x), 0)


@pytest.mark.parametrize("name", POOLS)
def test_no_channels_give_no_channels(name, device):
    """Nothing to do, where PyTorch refuses."""
    x = Tensor(np.ones((2, 5, 6, 0), np.float32), requires_grad=True, device=device)
    y = POOLS[name](x)
    assert y.shape == (2, *POOLS[name](Tensor(np.ones((2, 5, 6, 1)))).shape[1:3], 0)
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_a_stride_of_none_is_the_kernel(device, rng):
    x = abs(rng.standard_normal((2, 7, 7, 2)))
    (t,) = leaves([x], device)
    for pool in (F.max_pool2d, F.avg_pool2d, lambda x, *a, **k: F.lp_pool2d(x, 3, *a, **k)):
        assert_close(pool(t, (3, 2)), pool(t, (3, 2), stride=(3, 2)), 0)


MAX, AVG, LP = F.max_pool2d, F.avg_pool2d, F.lp_pool2d


@pytest.mark.parametrize(
    ("pool", "shape", "options", "message"),
    [
        (MAX, (5, 6, 3), {"kernel_size": 2}, r"expected images \(N, H, W, C\) of at least one pixel, .* \(5, 6, 3\)"),
        (AVG, (5, 6), {"kernel_size": 2}, r"expected images \(N, H, W, C\) of at least one pixel, got shape \(5, 6\)"),
        (LP, (1, 2, 5, 6, 3), {"norm_type": 2, "kernel_size": 2}, r"expected images .* got shape \(1, 2, 5, 6, 3\)"),
        (MAX, (2, 0, 6, 3), {"kernel_size": 2, "padding": 1}, r"at least one pixel, got shape \(2, 0, 6, 3\)"),
        (AVG, (2, 5, 0, 3), {"kernel_size": 2, "padding": 1}, r"at least one pixel, got shape \(2, 5, 0, 3\)"),
        (LP, (2, 0, 0, 3), {"norm_type": 2, "kernel_size": 1}, r"at least one pixel, got shape \(2, 0, 0, 3\)"),
        (MAX, (2, 5, 6, 3), {"kernel_size": 0}, "kernel_size must be .* at least 1; got 0"),
        (MAX, (2, 5, 6, 3), {"kernel_size": (2, 2, 2)}, r"kernel_size must be .* got \(2, 2, 2\)"),
        (AVG, (2, 5, 6, 3), {"kernel_size": (2, 2.0)}, r"kernel_size must be .* got \(2, 2.0\)"),
        (MAX, (2, 5, 6, 3), {"kernel_size": 2, "stride": 0}, "stride must be .* at least 1; got 0"),
        (LP, (2, 5, 6, 3), {"norm_type": 2, "kernel_size": 2, "stride": (1, 0)}, r"stride must be .* got \(1, 0\)"),
        (MAX, (2, 5, 6, 3), {"kernel_size": 2, "dilation": 0}, "dilation must be .* at least 1; got 0"),
        (AVG, (2, 5, 6, 3), {"kernel_size": 2, "padding": -1}, "padding must be .* at least 0; got -1"),
        (MAX, (2, 5, 6, 3), {"kernel_size": 3, "padding": 2}, "padding may be .* half the kernel 3, got 2"),
        (AVG, (2, 5, 6, 3), {"kernel_size": (4, 3), "padding": 2}, r"padding may .* kernel \(4, 3\), got 2"),
        (MAX, (2, 5, 6, 3), {"kernel_size": (6, 2)}, "a window of 6×2 does not fit .* 5×6 padded to 5×6"),
        (AVG, (2, 5, 6, 3), {"kernel_size": (2, 9), "padding": 1}, "a window of 2×9 does not fit .* 5×6 padded to 7×8"),
        (LP, (2, 5, 6, 3), {"norm_type": 2, "kernel_size": 7}, "a window of 7×7 does not fit"),
        (MAX, (2, 5, 6, 3), {"kernel_size": 2, "dilation": 6}, "a window of 7×7 does not fit"),
        (AVG, (2, 5, 6, 3), {"kernel_size": 2, "divisor_override": 0}, "divisor_override must be .* than 0, got 0"),
        (AVG, (2, 5, 6, 3), {"kernel_size": 2, "divisor_override": 2.5}, "divisor_override must be .* got 2.5"),
        (AVG, (2, 5, 6, 3), {"kernel_size": 2, "divisor_override": True}, "divisor_override must be .* got True"),
        (LP, (2, 5, 6, 3), {"norm_type": 0, "kernel_size": 2}, "norm_type must be a number other than 0, got 0"),
        (LP, (2, 5, 6, 3), {"norm_type": math.nan, "kernel_size": 2}, "norm_type must be .* got nan"),
        (LP, (2, 5, 6, 3), {"norm_type": "2", "kernel_size": 2}, "norm_type must be .* got '2'"),
    ],
)  # fmt: skip
def test_wrong_calls(pool, shape, options, message, device):
    with pytest.raises(ValueError, match=f"^{pool.__name__}: .*{message}"):
        pool(Tensor(np.ones(shape), device=device), **options)


def test_the_larger_of_booleans(device):
    with pytest.raises(TypeError, match="^max_pool2d: expected images of numbers, got bool; convert them"):
        F.max_pool2d(Tensor(np.ones((2, 5, 6, 3), bool), device=device), 2)
