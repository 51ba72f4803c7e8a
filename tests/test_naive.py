"""The loop twins: values against the independent oracle, gradients against the oracle's numeric ones."""

import inspect
import math

import hard_shapes
import numpy as np
import oracle
import pytest

from minidl import functional, naive


def assert_close(actual, expected, tolerance=1e-12):
    assert actual.shape == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- convolution


@pytest.mark.parametrize("name", hard_shapes.CONVOLUTIONS)
def test_conv2d(name, rng):
    x_shape, weight_shape, options = hard_shapes.CONVOLUTIONS[name]
    x, weight, bias = (
        rng.standard_normal(x_shape),
        rng.standard_normal(weight_shape),
        rng.standard_normal(weight_shape[3]),
    )
    assert_close(naive.conv2d(x, weight, bias, **options), oracle.conv2d(x, weight, bias, **options))
    assert_close(naive.conv2d(x, weight, **options), oracle.conv2d(x, weight, **options))


@pytest.mark.parametrize("name", ["padded", "dilated", "grouped", "gapped"])
def test_conv2d_backward(name, rng):
    x_shape, weight_shape, options = hard_shapes.CONVOLUTIONS[name]
    x, weight, bias = (
        rng.standard_normal(x_shape),
        rng.standard_normal(weight_shape),
        rng.standard_normal(weight_shape[3]),
    )
    g = rng.standard_normal(oracle.conv2d(x, weight, **options).shape)
    # A convolution is linear in each of its inputs: any step is exact, and a large one rounds least.
    expected = oracle.numeric_gradient(lambda *inputs: naive.conv2d(*inputs, **options), [x, weight, bias], g, eps=0.5)
    for actual, numeric in zip(naive.conv2d_backward(g, x, weight, **options), expected, strict=True):
        assert_close(actual, numeric, 1e-11)


def test_conv2d_refuses_channels_that_do_not_fit():
    with pytest.raises(ValueError, match=r"conv2d: 3 channels, weight \(1, 1, 2, 4\) and groups=1 do not fit together"):
        naive.conv2d(np.zeros((1, 2, 2, 3)), np.zeros((1, 1, 2, 4)))
    with pytest.raises(ValueError, match="groups=2 do not fit together"):
        naive.conv2d(np.zeros((1, 2, 2, 4)), np.zeros((1, 1, 2, 3)), groups=2)


BOTH_SIDES = ["overlapping", "gapped", "cut", "more than there is", "dilated", "more than a stride", "grouped"]


@pytest.mark.parametrize("name", [*BOTH_SIDES, "nothing but the bias", "no images"])
def test_conv_transpose2d(name, rng):
    x_shape, weight_shape, options = hard_shapes.TRANSPOSED[name]
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    bias = rng.standard_normal(weight_shape[2] * options.get("groups", 1))
    assert_close(
        naive.conv_transpose2d(x, weight, bias, **options), oracle.conv_transpose2d(x, weight, bias, **options)
    )
    assert_close(naive.conv_transpose2d(x, weight, **options), oracle.conv_transpose2d(x, weight, **options))


@pytest.mark.parametrize("name", BOTH_SIDES)
def test_conv_transpose2d_backward(name, rng):
    x_shape, weight_shape, options = hard_shapes.TRANSPOSED[name]
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    bias = rng.standard_normal(weight_shape[2] * options.get("groups", 1))
    g = rng.standard_normal(oracle.conv_transpose2d(x, weight, **options).shape)
    expected = oracle.numeric_gradient(
        lambda *inputs: oracle.conv_transpose2d(*inputs, **options), [x, weight, bias], g, eps=0.5
    )
    for actual, numeric in zip(naive.conv_transpose2d_backward(g, x, weight, **options), expected, strict=True):
        assert_close(actual, numeric, 1e-11)


def test_conv_transpose2d_refuses_channels_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"conv_transpose2d: 3 channels, weight \(1, 1, 4, 2\) and groups=1 do not fit"
    ):
        naive.conv_transpose2d(np.zeros((1, 2, 2, 3)), np.zeros((1, 1, 4, 2)))
    with pytest.raises(ValueError, match="groups=2 do not fit together"):
        naive.conv_transpose2d(np.zeros((1, 2, 2, 3)), np.zeros((1, 1, 4, 3)), groups=2)


@pytest.mark.parametrize("name", [name for name in hard_shapes.UNFOLDINGS if name != "padded on one side"])
def test_unfold_and_fold(name, rng):
    shape, options = hard_shapes.UNFOLDINGS[name]
    x, size = rng.standard_normal(shape), shape[1:3]
    rows = oracle.unfold(x, **options)
    assert_close(naive.unfold(x, **options), rows)
    g = rng.standard_normal(rows.shape)
    (expected,) = oracle.numeric_gradient(lambda x: oracle.unfold(x, **options), [x], g, eps=0.5)
    assert_close(naive.unfold_backward(g, x, **options), expected)
    assert_close(naive.fold(rows, size, **options), oracle.fold(rows, size, **options))
    (expected,) = oracle.numeric_gradient(lambda rows: oracle.fold(rows, size, **options), [rows], x, eps=0.5)
    assert_close(naive.fold_backward(x, rows, size, **options), expected)


# ---- pooling


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", hard_shapes.POOLINGS)
def test_max_pool2d(name, ceil_mode, rng):
    shape, options = hard_shapes.POOLINGS[name]
    x = rng.standard_normal(shape) - 5  # negative, so that a padding of zeros would win
    options = options | {"ceil_mode": ceil_mode}
    y = naive.max_pool2d(x, **options)
    assert_close(y, oracle.max_pool2d(x, **options))
    g = rng.standard_normal(y.shape)
    (expected,) = oracle.numeric_gradient(lambda x: oracle.max_pool2d(x, **options), [x], g)
    assert_close(naive.max_pool2d_backward(g, x, **options), expected, 1e-8)


def test_max_pool2d_dilated(rng):
    x = rng.standard_normal((2, 6, 7, 2)) - 5
    options = {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "dilation": (2, 3), "ceil_mode": True}
    y = naive.max_pool2d(x, **options)
    assert_close(y, oracle.max_pool2d(x, **options))
    g = rng.standard_normal(y.shape)
    (expected,) = oracle.numeric_gradient(lambda x: oracle.max_pool2d(x, **options), [x], g)
    assert_close(naive.max_pool2d_backward(g, x, **options), expected, 1e-8)


def test_max_pool2d_of_a_window_that_steps_over_the_image_is_minus_infinity():
    x, options = np.ones((2, 1, 3, 2)), {"kernel_size": (2, 1), "padding": (1, 0), "dilation": (2, 1)}
    assert_close(naive.max_pool2d(x, **options), np.full((2, 1, 3, 2), -np.inf))
    assert_close(naive.max_pool2d(x, **options), oracle.max_pool2d(x, **options))
    assert_close(naive.max_pool2d_backward(x, x, **options), np.zeros_like(x))


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pooling_refuses_a_padding_of_more_than_half_the_kernel(name):
    with pytest.raises(ValueError, match=rf"^{name}: padding may be at most half the kernel \(4, 3\), got 2"):
        getattr(naive, name)(np.zeros((2, 5, 6, 3)), (4, 3), padding=2)


def test_max_pool2d_gives_the_gradient_to_the_first_of_equal_pixels_and_to_nan():
    x = np.array([[1.0, 3.0, 3.0], [3.0, np.nan, 2.0]]).reshape(1, 2, 3, 1)
    g = np.array([[10.0, 20.0]]).reshape(1, 1, 2, 1)
    assert_close(naive.max_pool2d(x[:, :1], (1, 3)), np.full((1, 1, 1, 1), 3.0))
    assert naive.max_pool2d_backward(g[:, :, :1], x[:, :1], (1, 3)).ravel().tolist() == [0, 10, 0]
    assert np.isnan(naive.max_pool2d(x, 2, stride=1)).all()
    assert naive.max_pool2d_backward(g, x, 2, stride=1).ravel().tolist() == [0, 0, 0, 0, 30, 0]


@pytest.mark.parametrize(
    "modes",
    [
        {},
        {"ceil_mode": True},
        {"count_include_pad": False},
        {"ceil_mode": True, "count_include_pad": False},
        {"divisor_override": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", hard_shapes.POOLINGS)
def test_avg_pool2d(name, modes, rng):
    shape, options = hard_shapes.POOLINGS[name]
    x, options = rng.standard_normal(shape), options | modes
    y = naive.avg_pool2d(x, **options)
    assert_close(y, oracle.avg_pool2d(x, **options))
    g = rng.standard_normal(y.shape)
    (expected,) = oracle.numeric_gradient(lambda x: oracle.avg_pool2d(x, **options), [x], g, eps=0.5)  # linear: exact
    assert_close(naive.avg_pool2d_backward(g, x, **options), expected)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("norm_type", [1, 2, 3, 0.5, -2, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["side by side", "remainder", "overlapping", "gapped"])
def test_lp_pool2d(name, norm_type, ceil_mode, rng):
    shape, options = hard_shapes.POOLINGS[name]
    x = rng.uniform(0.5, 1.5, shape)
    if norm_type not in (3, 0.5):  # of negative sums, odd powers have no root
        x *= rng.choice([-1, 1], shape)
    options = options | {"ceil_mode": ceil_mode}
    y = naive.lp_pool2d(x, norm_type, **options)
    assert_close(y, oracle.lp_pool2d(x, norm_type, **options))
    g = rng.standard_normal(y.shape)
    (expected,) = oracle.numeric_gradient(lambda x: oracle.lp_pool2d(x, norm_type, **options), [x], g)
    assert_close(naive.lp_pool2d_backward(g, x, norm_type, **options), expected, 1e-6)


@pytest.mark.parametrize("norm_type", [1, 2, 3, math.inf])
def test_lp_pool2d_gives_an_all_zero_window_no_gradient(norm_type):
    x = np.array([0.0, 0.0, 2.0, 0.0]).reshape(1, 1, 4, 1)
    g = np.array([5.0, 7.0]).reshape(1, 1, 2, 1)
    assert naive.lp_pool2d(x, norm_type, (1, 2)).ravel().tolist() == [0, 2]
    expected = [0, 0, 7, 7] if norm_type == 1 else [0, 0, 7, 0]
    assert naive.lp_pool2d_backward(g, x, norm_type, (1, 2)).ravel().tolist() == expected


def sizes_of(output_size, shape):
    OH, OW = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    return shape[1] if OH is None else OH, shape[2] if OW is None else OW


@pytest.mark.parametrize("name", hard_shapes.ADAPTIVE_POOLINGS)
def test_adaptive_max_pool2d(name, rng):
    shape, output_size = hard_shapes.ADAPTIVE_POOLINGS[name]
    x, sizes = rng.standard_normal(shape) - 5, sizes_of(output_size, shape)
    y = naive.adaptive_max_pool2d(x, output_size)
    assert_close(y, oracle.adaptive_max_pool2d(x, sizes)[0])
    g = rng.standard_normal(y.shape)
    (expected,) = oracle.numeric_gradient(lambda x: oracle.adaptive_max_pool2d(x, sizes)[0], [x], g)
    assert_close(naive.adaptive_max_pool2d_backward(g, x, output_size), expected, 1e-8)


def test_adaptive_max_pool2d_gives_the_gradient_to_the_first_of_equal_pixels_and_to_the_last_nan():
    x = np.array([[1.0, 3.0, np.nan, 2.0], [3.0, 0.0, np.nan, 9.0]]).reshape(1, 2, 4, 1)
    g = np.array([[10.0, 20.0]]).reshape(1, 1, 2, 1)
    np.testing.assert_array_equal(naive.adaptive_max_pool2d(x, (1, 2)).ravel(), [3, np.nan])
    assert naive.adaptive_max_pool2d_backward(g, x, (1, 2)).ravel().tolist() == [0, 10, 0, 0, 0, 0, 20, 0]


@pytest.mark.parametrize("name", hard_shapes.ADAPTIVE_POOLINGS)
def test_adaptive_avg_pool2d(name, rng):
    shape, output_size = hard_shapes.ADAPTIVE_POOLINGS[name]
    x, sizes = rng.standard_normal(shape), sizes_of(output_size, shape)
    y = naive.adaptive_avg_pool2d(x, output_size)
    assert_close(y, oracle.adaptive_avg_pool2d(x, sizes))
    g = rng.standard_normal(y.shape)
    (expected,) = oracle.numeric_gradient(lambda x: oracle.adaptive_avg_pool2d(x, sizes), [x], g, eps=0.5)
    assert_close(naive.adaptive_avg_pool2d_backward(g, x, output_size), expected)


# ---- all of them


def test_options_and_defaults_are_those_of_functional():
    for name in (name for name in naive.__all__ if not name.endswith("_backward")):
        ours = inspect.signature(getattr(functional, name)).parameters
        loops = inspect.signature(getattr(naive, name)).parameters
        backward = inspect.signature(getattr(naive, name + "_backward")).parameters
        left_out = {"return_indices", "algorithm", "add", "relu"}
        assert [(p, ours[p].default) for p in ours if p not in left_out] == [(p, loops[p].default) for p in loops]
        assert {p: q.default for p, q in backward.items() if p != "g"} == {
            p: q.default for p, q in loops.items() if p != "bias"
        }


def test_dtype_is_kept_and_nothing_is_written_to(rng):
    x, weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 4, 5, 2), (3, 2, 2, 3), (3,)))
    before = [array.copy() for array in (x, weight, bias)]
    results = [naive.conv2d(x, weight, bias)]
    results += naive.conv2d_backward(results[0], x, weight)
    results.append(naive.conv_transpose2d(results[0], weight, bias[:2]))
    results += naive.conv_transpose2d_backward(x, results[0], weight)
    results += [naive.unfold(x, 2), naive.unfold_backward(naive.unfold(x, 2), x, 2)]
    pools = [("max_pool2d", 2), ("avg_pool2d", 2), ("lp_pool2d", 2, 2), ("lp_pool2d", -math.inf, 2)]
    for name, *options in [*pools, ("adaptive_avg_pool2d", 3), ("adaptive_max_pool2d", 3)]:
        y = getattr(naive, name)(x, *options)
        results += [y, getattr(naive, name + "_backward")(y, x, *options)]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}
    for array, copy in zip((x, weight, bias), before, strict=True):
        np.testing.assert_array_equal(array, copy)
