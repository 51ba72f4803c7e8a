"""Activations: relu, sigmoid, tanh, softmax, log_softmax."""

import numpy as np
import oracle
import pytest
from judge import assert_close, check_operator, host, leaves, separated, torch_value_and_gradients, value_and_gradients

import minidl
from minidl import Tensor
from minidl import functional as F

ELEMENTWISE = {"relu": lambda x: np.where(x > 0, x, 0), "sigmoid": oracle.sigmoid, "tanh": np.tanh}
ALONG_AN_AXIS = {"softmax": oracle.softmax, "log_softmax": oracle.log_softmax}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, device, rng):
    function, x = getattr(F, name), separated(rng, (3, 4, 5))
    assert_close(function(Tensor(x, device=device)), ELEMENTWISE[name](x))
    assert_close(getattr(Tensor(x, device=device), name)(), ELEMENTWISE[name](x))
    check_operator(function, [x], device)


@pytest.mark.parametrize("dim", [-1, 0, 1, -2])
@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_along_an_axis(name, dim, device, rng):
    x = 2 * rng.standard_normal((3, 4, 5))
    assert_close(getattr(F, name)(Tensor(x, device=device), dim), ALONG_AN_AXIS[name](x, dim))
    check_operator(lambda x: getattr(F, name)(x, dim), [x], device)


@pytest.mark.parametrize("name", [*ELEMENTWISE, *ALONG_AN_AXIS])
def test_full_second_derivatives(name, device, rng):
    minidl.gradgradcheck(getattr(F, name), leaves([separated(rng, (2, 3))], device))


@pytest.mark.torch
@pytest.mark.parametrize("name", [*ELEMENTWISE, *ALONG_AN_AXIS])
def test_against_torch(name, device, rng):
    x, g = separated(rng, (3, 4, 5)), rng.standard_normal((3, 4, 5))
    options = {"dim": 1} if name in ALONG_AN_AXIS else {}
    value, (gradient,) = value_and_gradients(lambda x: getattr(F, name)(x, **options), [x], g, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: getattr(torch_f, name)(x, **options), [x], [None], g
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)


def test_relu_at_the_kink_and_for_nan(device):
    x = Tensor([-0.0, 0.0, np.nan, -1.0, 2.0], requires_grad=True, device=device)
    y = F.relu(x)
    y.backward(Tensor([1.0, 2.0, 3.0, 4.0, 5.0], device=device))
    np.testing.assert_array_equal(host(y), [0, 0, np.nan, 0, 2])
    np.testing.assert_array_equal(host(x.grad)[[0, 1, 3, 4]], [0, 0, 0, 5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_values_neither_overflow_nor_warn(dtype, device):
    huge = float(np.finfo(dtype).max) / 4
    x = Tensor(np.array([-huge, -800.0, 0.0, 800.0, huge], dtype), requires_grad=True, device=device)
    for name, expected in (("sigmoid", [0, 0, 0.5, 1, 1]), ("tanh", [-1, -1, 0, 1, 1]), ("softmax", [0, 0, 0, 0, 1])):
        y = getattr(F, name)(x)
        assert y.dtype == dtype
        assert_close(y, np.array(expected))
    with np.errstate(all="ignore"):  # exp(-huge) underflows, rightly
        np.testing.assert_allclose(host(F.log_softmax(x))[1:], [-huge, -huge, -huge, 0], rtol=1e-6)
    (gradient,) = minidl.grad(F.sigmoid(x), [x], Tensor(np.ones(5, dtype), device=device))
    assert_close(gradient, np.array([0, 0, 0.25, 0, 0]))


def test_log_softmax_where_softmax_underflows(device):
    x = Tensor([[0.0, 200.0, -200.0]], device=device)
    assert host(F.softmax(x))[0, 2] == 0
    np.testing.assert_allclose(host(F.log_softmax(x)), [[-200, 0, -400]])


def test_softmax_sums_to_one_and_ignores_a_shift(device, rng):
    x = rng.standard_normal((4, 7))
    y = host(F.softmax(Tensor(x, device=device), 0))
    np.testing.assert_allclose(y.sum(axis=0), np.ones(7))
    np.testing.assert_allclose(host(F.softmax(Tensor(x + 1e3, device=device), 0)), y, rtol=1e-12)


def test_masked_scores_have_probability_zero_and_no_gradient(device):
    x = Tensor([[1.0, -np.inf, 2.0]], requires_grad=True, device=device)
    y = F.softmax(x)
    y.backward(Tensor([[1.0, 5.0, 2.0]], device=device))
    assert host(y)[0, 1] == 0
    assert host(x.grad)[0, 1] == 0
    assert np.isfinite(host(x.grad)).all()


def test_integers_become_float32(device):
    x = Tensor([[1, 0, -2]], device=device)
    assert F.relu(x).dtype == np.int64
    for name in ("sigmoid", "tanh", "softmax", "log_softmax"):
        assert getattr(F, name)(x).dtype == np.float32


def test_raw_arrays_give_raw_arrays(device, rng):
    x = Tensor(rng.standard_normal((2, 3)), device=device)
    for name in (*ELEMENTWISE, *ALONG_AN_AXIS):
        raw = getattr(F, name)(x.data)
        assert not isinstance(raw, Tensor)
        assert_close(raw, host(getattr(F, name)(x)), 0)


@pytest.mark.parametrize("name", [*ELEMENTWISE, *ALONG_AN_AXIS])
def test_a_list_is_no_tensor(name):
    for wrong in ([1.0, 2.0], 1.0, None):
        with pytest.raises(TypeError, match=f"^{name}: expected a Tensor or an array, got {type(wrong).__name__}$"):
            getattr(F, name)(wrong)


@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_wrong_axis(name, device):
    with pytest.raises(ValueError, match=f"{name}: axis 2 does not exist in a tensor of 2 dimension"):
        getattr(F, name)(Tensor(np.ones((2, 3)), device=device), 2)


def test_no_rows(device):
    for name in ALONG_AN_AXIS:
        assert getattr(F, name)(Tensor(np.ones((0, 3)), device=device)).shape == (0, 3)
