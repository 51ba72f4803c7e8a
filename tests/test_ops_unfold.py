"""unfold and fold: each the other's adjoint, and with a matrix product between them a convolution."""

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
    torch_fold,
    torch_unfold,
    torch_value_and_gradients,
    value_and_gradients,
)

import minidl
from minidl import Tensor, naive
from minidl import functional as F


def images_and_rows(name, rng):
    """Images, rows such as unfold makes of them, and the options."""
    shape, options = hard_shapes.UNFOLDINGS[name]
    x = rng.standard_normal(shape)
    return x, rng.standard_normal(oracle.unfold(x, **options).shape), options


@pytest.mark.parametrize("name", hard_shapes.UNFOLDINGS)
def test_values(name, device, rng):
    x, rows, options = images_and_rows(name, rng)
    assert_close(F.unfold(Tensor(x, device=device), **options), oracle.unfold(x, **options))
    size = x.shape[1:3]
    assert_close(F.fold(Tensor(rows, device=device), size, **options), oracle.fold(rows, size, **options))


@pytest.mark.parametrize("name", hard_shapes.UNFOLDINGS)
def test_gradients_and_manners(name, device, rng):
    x, rows, options = images_and_rows(name, rng)
    check_operator(lambda x: F.unfold(x, **options), [x], device)
    check_operator(lambda rows: F.fold(rows, x.shape[1:3], **options), [rows], device)


def test_full_second_derivatives(device, rng):
    """Both are linear: squared, their second derivatives are not zero."""
    options = {"kernel_size": (2, 3), "padding": ((1, 0), (0, 2)), "stride": (1, 2)}
    x, rows = leaves([rng.standard_normal((2, 3, 2, 2)), rng.standard_normal((2, 3, 12))], device)
    minidl.gradgradcheck(lambda x: F.unfold(x, **options) ** 2, [x])
    minidl.gradgradcheck(lambda rows: F.fold(rows, (3, 2), **options) ** 2, [rows])


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in hard_shapes.UNFOLDINGS if name != "no images"])
def test_unfold_against_torch(name, device, rng):
    x, rows, options = images_and_rows(name, rng)
    value, (gradient,) = value_and_gradients(lambda x: F.unfold(x, **options), [x], rows, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: torch_unfold(torch_f, x, **options), [x], ["image"], rows
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in hard_shapes.UNFOLDINGS if name != "no images"])
def test_fold_against_torch(name, device, rng):
    x, rows, options = images_and_rows(name, rng)
    size = x.shape[1:3]
    value, (gradient,) = value_and_gradients(lambda rows: F.fold(rows, size, **options), [rows], x, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, rows: torch_fold(torch_f, rows, size, **options), [rows], [None], x, "image"
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)


@st.composite
def unfoldings(draw):
    small, side = st.integers(1, 3), st.integers(0, 3)
    options = {name: draw(st.tuples(small, small)) for name in ("kernel_size", "dilation", "stride")}
    options["padding"] = draw(st.tuples(st.tuples(side, side), st.tuples(side, side)))
    shape = tuple(draw(st.integers(low, high)) for low, high in ((0, 2), (1, 6), (1, 6), (1, 3)))
    for i in range(2):
        extent = options["dilation"][i] * (options["kernel_size"][i] - 1) + 1
        assume(shape[1 + i] + sum(options["padding"][i]) >= extent)
    return shape, options


@given(case=unfoldings())
def test_any_unfolding_equals_its_loops_and_fold_is_its_adjoint(case, device):
    shape, options = case
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, shape).astype(np.float64)
    x_padded = np.pad(x, ((0, 0), *options["padding"], (0, 0)))
    expected = naive.unfold(x_padded, **(options | {"padding": 0}))
    rows = rng.integers(-9, 10, expected.shape).astype(np.float64)
    value, (gradient,) = value_and_gradients(lambda x: F.unfold(x, **options), [x], rows, device)
    np.testing.assert_array_equal(value, expected)
    folded, (back,) = value_and_gradients(lambda rows: F.fold(rows, shape[1:3], **options), [rows], x, device)
    np.testing.assert_array_equal(folded, oracle.fold(rows, shape[1:3], **options))
    np.testing.assert_array_equal(gradient, folded)
    np.testing.assert_array_equal(back, value)
    assert (value * rows).sum() == (x * folded).sum()


@pytest.mark.parametrize("name", ["padded", "gapped", "dilated", "kernel as large as the padded image"])
def test_unfolded_images_times_the_weight_are_the_convolution(name, device, rng):
    x_shape, weight_shape, options = hard_shapes.CONVOLUTIONS[name]
    x, weight = leaves([rng.standard_normal(x_shape), rng.standard_normal(weight_shape)], device)
    y = F.unfold(x, weight_shape[:2], **options) @ weight.reshape(-1, weight_shape[3])
    expected = oracle.conv2d(host(x), host(weight), **options)
    assert_close(y.reshape(expected.shape), expected)


def test_folding_counts_the_windows_over_a_pixel(device):
    x = Tensor(np.ones((1, 3, 4, 1)), device=device)
    counts = F.fold(F.unfold(x, (2, 3)), (3, 4), (2, 3))
    assert host(counts)[0, :, :, 0].tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]]


def test_memory_order_does_not_matter(device, rng):
    x, rows, options = images_and_rows("padded", rng)
    x_tensor, rows_tensor = leaves([x, rows], device)
    for axis in (0, 1):
        assert_close(F.unfold(scattered(x_tensor, axis), **options), oracle.unfold(x, **options))
        folded = F.fold(scattered(rows_tensor, axis), x.shape[1:3], **options)
        assert_close(folded, oracle.fold(rows, x.shape[1:3], **options))


def test_integers_become_float32_and_raw_arrays_stay_raw(device, rng):
    x, rows = Tensor(np.ones((1, 3, 4, 2), int), device=device), Tensor(np.ones((1, 6, 8), int), device=device)
    assert F.unfold(x, 2).dtype == F.fold(rows, (3, 4), 2).dtype == np.float32
    x, rows, options = images_and_rows("padded", rng)
    raw_x, raw_rows = (tensor.data for tensor in leaves([x, rows], device))
    raw = F.unfold(raw_x, **options), F.fold(raw_rows, x.shape[1:3], **options)
    assert not any(isinstance(result, Tensor) for result in raw)
    assert_close(raw[0], oracle.unfold(x, **options))
    assert_close(raw[1], oracle.fold(rows, x.shape[1:3], **options))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5, 6, 4), {"kernel_size": 2}, r"expected images \(N, H, W, C\), got shape \(5, 6, 4\)"),
        ((2, 5, 6, 4), {"kernel_size": 0}, "kernel_size must be an integer or a pair of integers, at least 1; got 0"),
        ((2, 5, 6, 4), {"kernel_size": (2, 3, 4)}, r"kernel_size must be .* got \(2, 3, 4\)"),
        ((2, 5, 6, 4), {"kernel_size": 2, "stride": 1.5}, "stride must be .* at least 1; got 1.5"),
        ((2, 5, 6, 4), {"kernel_size": 2, "dilation": (1, 0)}, r"dilation must be .* at least 1; got \(1, 0\)"),
        ((2, 5, 6, 4), {"kernel_size": 2, "padding": -1}, "padding must be .* at least 0; got -1"),
        ((2, 5, 6, 4), {"kernel_size": 2, "padding": "same"}, "padding must be .* got 'same'"),
        ((2, 5, 6, 4), {"kernel_size": 3, "dilation": 3, "padding": (0, 1)}, "7×7 does not .* 5×6 padded to 5×8"),
    ],
)  # fmt: skip
def test_wrong_unfold_calls(shape, options, message, device):
    with pytest.raises(ValueError, match=f"^unfold: .*{message}"):
        F.unfold(Tensor(np.ones(shape), device=device), **options)


@pytest.mark.parametrize(
    ("shape", "output_size", "options", "message"),
    [
        ((2, 20, 12), (5, 6), {"kernel_size": 2, "stride": 0}, "stride must be .* at least 1; got 0"),
        ((2, 20, 12), (5, 6), {"kernel_size": -2}, "kernel_size must be .* at least 1; got -2"),
        ((2, 20, 12), (5, 6), {"kernel_size": 2, "padding": (0, -1)}, "padding must be .* at least 0; got -1"),
        ((2, 20, 12), (5, 0), {"kernel_size": 2}, r"output_size must be .* at least 1; got \(5, 0\)"),
        ((2, 20, 12), (5, 6, 3), {"kernel_size": 2}, r"output_size must be .* got \(5, 6, 3\)"),
        ((2, 20, 12), (1, 6), {"kernel_size": 2}, "a window of 2×2 does not fit into an image of 1×6 padded to 1×6"),
        ((2, 12, 20), (5, 6), {"kernel_size": 2}, r"5×6 have 4·5 windows of 2×2; .* 4·C\), got shape \(2, 12, 20\)"),
        ((2, 20, 13), (5, 6), {"kernel_size": 2}, r"expected \(N, 20, 4·C\), got shape \(2, 20, 13\)"),
        ((20, 12), (5, 6), {"kernel_size": 2}, r"expected \(N, 20, 4·C\), got shape \(20, 12\)"),
    ],
)  # fmt: skip
def test_wrong_fold_calls(shape, output_size, options, message, device):
    with pytest.raises(ValueError, match=f"^fold: .*{message}"):
        F.fold(Tensor(np.ones(shape), device=device), output_size, **options)
