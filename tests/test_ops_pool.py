"""max_pool2d, avg_pool2d, adaptive_avg_pool2d."""

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

AVERAGES = [
    {},
    {"ceil_mode": True},
    {"count_include_pad": False},
    {"ceil_mode": True, "count_include_pad": False},
    {"ceil_mode": True, "divisor_override": 5},
]
DILATED = {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "dilation": (2, 3)}
OUTPUT_SIZES = [1, 3, (1, 4), (2, 5), (5, 7), (4, 3), (7, 2), (None, 3), (2, None), None]


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


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
    value, (gradient,) = value_and_gradients(lambda x: F.max_pool2d(x, **options), [x], g, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: torch_f.max_pool2d(x, **options), [x], ["image"], g, "image"
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)
    _, indices = F.max_pool2d(Tensor(x, device=device), return_indices=True, **options)
    expected_indices, _ = torch_value_and_gradients(
        lambda torch_f, x: torch_f.max_pool2d(x, return_indices=True, **options)[1] + 0.0 * x.sum(),
        [x],
        ["image"],
        g,
        "image",
    )
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(host(indices), expected_indices)


def image(rows):
    return np.array(rows, float)[None, :, :, None]


def test_of_equal_elements_the_first_wins(device):
    x = Tensor(image([[1, 3, 3], [3, 3, 3], [2, 0, 3]]), requires_grad=True, device=device)
    y, indices = F.max_pool2d(x, 2, stride=1, return_indices=True)
    y.backward(Tensor(image([[1, 10], [100, 1000]]), device=device))
    assert host(indices)[0, :, :, 0].tolist() == [[1, 1], [3, 4]]
    assert host(x.grad)[0, :, :, 0].tolist() == [[0, 11, 0], [100, 1000, 0], [0, 0, 0]]


def test_nan_wins_and_takes_the_gradient(device):
    x = Tensor(image([[1, 9, 2, 3], [4, 5, np.nan, 6]]), requires_grad=True, device=device)
    y = F.max_pool2d(x, 2)
    y.backward(Tensor(image([[1, 2]]), device=device))
    np.testing.assert_array_equal(host(y)[0, :, :, 0], [[9, np.nan]])
    assert host(x.grad)[0, :, :, 0].tolist() == [[0, 1, 0, 0], [0, 0, 2, 0]]
    flipped = Tensor(host(x)[:, :, ::-1], device=device)
    np.testing.assert_array_equal(host(F.max_pool2d(flipped, 2))[0, :, :, 0], [[np.nan, 9]])


def test_padding_never_wins_even_against_minus_infinity(device):
    """Where a window sees nothing larger than the padding, its first element inside the image wins, as in PyTorch."""
    x = Tensor(np.full((1, 4, 4, 1), -np.inf), requires_grad=True, device=device)
    y, indices = F.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    y.backward(Tensor(image([[1, 2], [3, 4]]), device=device))
    assert (host(y) == -np.inf).all()
    assert host(indices)[0, :, :, 0].tolist() == [[0, 1], [4, 5]]
    assert host(x.grad)[0, :2, :2, 0].tolist() == [[1, 2], [3, 4]]
    assert host(x.grad).sum() == 10


def test_indices_point_at_the_maxima(device, rng):
    x = separated(rng, (2, 5, 7, 3))
    y, indices = F.max_pool2d(Tensor(x, device=device), (3, 2), stride=2, padding=1, return_indices=True)
    planes = x.reshape(2, 35, 3)
    found = np.take_along_axis(planes, host(indices).reshape(2, -1, 3), axis=1).reshape(y.shape)
    np.testing.assert_array_equal(found, host(y))


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
    value, (gradient,) = value_and_gradients(lambda x: F.avg_pool2d(x, **options), [x], g, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: torch_f.avg_pool2d(x, **options), [x], ["image"], g, "image"
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)


# ---- both, on any shape


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


@given(case=poolings(), dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)))
def test_any_max_pooling_equals_its_loops(case, dilation, device):
    shape, options = case
    sizes = zip(shape[1:3], options["kernel_size"], options["padding"], dilation, strict=True)
    # A dilated window can straddle a small image and see nothing of it: then there is no maximum to speak of.
    assume(all(size >= D * (K - 1) + 1 for size, K, _, D in sizes))
    options = options | {"dilation": dilation}
    rng = np.random.default_rng(0)
    x = rng.integers(-9, -5, shape).astype(float)
    expected = naive.max_pool2d(x, **options)
    g = rng.standard_normal(expected.shape)
    value, (gradient,) = value_and_gradients(lambda x: F.max_pool2d(x, **options), [x], g, device)
    assert_close(value, expected)
    assert_close(gradient, naive.max_pool2d_backward(g, x, **options))


@given(case=poolings(), count_include_pad=st.booleans(), divisor_override=st.none() | st.integers(1, 9))
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
    assert_close(value, expected)
    assert_close(gradient, naive.avg_pool2d_backward(g, x, **options))


# ---- adaptive


def sizes_of(output_size, H, W):
    OH, OW = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    return H if OH is None else OH, W if OW is None else OW


@pytest.mark.parametrize("output_size", OUTPUT_SIZES, ids=str)
def test_adaptive_avg_pool2d(output_size, device, rng):
    x = rng.standard_normal((2, 5, 7, 3))
    expected = oracle.adaptive_avg_pool2d(x, sizes_of(output_size, 5, 7))
    assert_close(F.adaptive_avg_pool2d(Tensor(x, device=device), output_size), expected)
    assert_close(naive.adaptive_avg_pool2d(x, output_size), expected)
    check_operator(lambda x: F.adaptive_avg_pool2d(x, output_size), [x], device)


@pytest.mark.torch
@pytest.mark.parametrize("output_size", OUTPUT_SIZES, ids=str)
def test_adaptive_avg_pool2d_against_torch(output_size, device, rng):
    x = rng.standard_normal((2, 5, 7, 3))
    g = rng.standard_normal((2, *sizes_of(output_size, 5, 7), 3))
    value, (gradient,) = value_and_gradients(lambda x: F.adaptive_avg_pool2d(x, output_size), [x], g, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: torch_f.adaptive_avg_pool2d(x, sizes_of(output_size, 5, 7)), [x], ["image"], g, "image"
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)
    assert_close(gradient, naive.adaptive_avg_pool2d_backward(g, x, output_size))


# ---- all three

POOLS = {
    "max_pool2d": lambda x: F.max_pool2d(x, (3, 2), stride=2, padding=1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, (3, 2), stride=2, padding=1, count_include_pad=False),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
}


@pytest.mark.parametrize("name", POOLS)
def test_full_second_derivatives(name, device, rng):
    minidl.gradgradcheck(POOLS[name], leaves([separated(rng, (2, 3, 4, 2))], device))


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
    assert POOLS[name](x).dtype == np.float32
    raw = POOLS[name](x.data)
    assert not isinstance(raw, Tensor)
    assert_close(raw, POOLS[name](x), 0)


def test_a_stride_of_none_is_the_kernel(device, rng):
    x = rng.standard_normal((2, 7, 7, 2))
    for pool in (F.max_pool2d, F.avg_pool2d):
        (t,) = leaves([x], device)
        assert_close(pool(t, (3, 2)), pool(t, (3, 2), stride=(3, 2)), 0)


@pytest.mark.parametrize(
    ("pool", "shape", "options", "message"),
    [
        (F.max_pool2d, (5, 6, 3), {"kernel_size": 2}, r"expected images \(N, H, W, C\), got shape \(5, 6, 3\)"),
        (F.avg_pool2d, (5, 6), {"kernel_size": 2}, r"expected images \(N, H, W, C\), got shape \(5, 6\)"),
        (F.max_pool2d, (2, 5, 6, 3), {"kernel_size": 0}, "kernel_size must be .* at least 1; got 0"),
        (F.avg_pool2d, (2, 5, 6, 3), {"kernel_size": (2, 2.0)}, r"kernel_size must be .* got \(2, 2.0\)"),
        (F.max_pool2d, (2, 5, 6, 3), {"kernel_size": 2, "stride": 0}, "stride must be .* at least 1; got 0"),
        (F.max_pool2d, (2, 5, 6, 3), {"kernel_size": 2, "dilation": 0}, "dilation must be .* at least 1; got 0"),
        (F.avg_pool2d, (2, 5, 6, 3), {"kernel_size": 2, "padding": -1}, "padding must be .* at least 0; got -1"),
        (F.max_pool2d, (2, 5, 6, 3), {"kernel_size": 3, "padding": 2}, "padding may be .* half the kernel 3, got 2"),
        (F.avg_pool2d, (2, 5, 6, 3), {"kernel_size": (4, 3), "padding": 2}, r"padding may .* kernel \(4, 3\), got 2"),
        (F.max_pool2d, (2, 5, 6, 3), {"kernel_size": (6, 2)}, "a window of 6×2 does not fit .* 5×6 padded to 5×6"),
        (F.max_pool2d, (2, 5, 6, 3), {"kernel_size": 2, "dilation": 6}, "a window of 7×7 does not fit"),
        (F.avg_pool2d, (2, 5, 6, 3), {"kernel_size": 2, "divisor_override": 0}, "divisor_override must be .* 1, got 0"),
        (F.adaptive_avg_pool2d, (5, 6), {"output_size": 2}, r"expected images \(N, H, W, C\), got shape \(5, 6\)"),
        (F.adaptive_avg_pool2d, (2, 5, 6, 3), {"output_size": 0}, r"output_size must be .* at least 1; got \(0, 0\)"),
        (F.adaptive_avg_pool2d, (2, 5, 6, 3), {"output_size": (2, 2.5)}, r"output_size must be .* got \(2, 2.5\)"),
        (F.adaptive_avg_pool2d, (2, 5, 6, 3), {"output_size": (1, 2, 3)}, r"output_size must be .* got \(1, 2, 3\)"),
    ],
)  # fmt: skip
def test_wrong_calls(pool, shape, options, message, device):
    with pytest.raises(ValueError, match=f"^{pool.__name__}: {message}"):
        pool(Tensor(np.ones(shape), device=device), **options)
