"""Gated activations: values, derivatives, kinks, infinities, what is left far out, dtypes, wrong calls."""

import math

import numpy as np
import pytest
from curves import Curve, check_against_torch, check_curve, check_far_out, sigmoid
from judge import assert_close, host, leaves

import minidl
from minidl import Tensor
from minidl import functional as F
from minidl.ops.gate import normal_cdf, tanh_cdf


def cdf(x):
    """Φ(x), from what Python's library has."""
    return math.erfc(-x / math.sqrt(2)) / 2


def pdf(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def nearly_cdf(x):
    return (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


CURVES = {
    "silu": Curve("silu", lambda x: x * sigmoid(x)),
    "gelu": Curve("gelu", lambda x: x * cdf(x)),
    "gelu, approximate": Curve("gelu", lambda x: x * nearly_cdf(x), {"approximate": "tanh"}),
    "mish": Curve("mish", lambda x: x * math.tanh(math.log1p(math.exp(x)))),
    "hardswish": Curve("hardswish", lambda x: x * min(max(x + 3, 0), 6) / 6, kinks=(-3, 3)),
}
NAMES = sorted({curve.name for curve in CURVES.values()})


@pytest.mark.parametrize("name", CURVES)
def test_values_and_derivatives(name, device, rng):
    check_curve(CURVES[name], device, rng)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CURVES)
def test_special_points_against_torch(name, dtype, device, rng):
    check_against_torch(CURVES[name], dtype, device, rng)


def test_the_slope_of_hardswish_at_its_kinks(device):
    (x,) = leaves([np.array([-3.0, -1.5, 3.0])], device)
    (gradient,) = minidl.grad(F.hardswish(x), x, Tensor(np.array([2.0, 3.0, 4.0]), device=device))
    assert_close(gradient, np.array([0, 0, 4.0]), 1e-15)


@pytest.mark.parametrize("name", CURVES)
def test_for_nan_value_and_slope_are_nan(name, device):
    (x,) = leaves([np.full(2, np.nan)], device)
    y = CURVES[name](x)
    (gradient,) = minidl.grad(y, x, Tensor(np.ones(2), device=device))
    assert np.isnan([host(y), host(gradient)]).all()


def doubled(x):
    """What tanh is taken of in the approximation of gelu, doubled: there the gate is σ, far out e to this power."""
    return math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)


FAR_OUT = {
    "silu": ([-700, -50], lambda x: x * math.exp(x), lambda x: (1 + x) * math.exp(x)),
    "gelu": ([-30, -20, -9], lambda x: x * cdf(x), lambda x: cdf(x) + x * pdf(x)),
    "gelu, approximate": (
        [-18, -12],
        lambda x: x * math.exp(doubled(x)),
        lambda x: math.exp(doubled(x)) * (1 + x * math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * x * x)),
    ),
    "mish": ([-700, -50], lambda x: x * math.exp(x), lambda x: (1 + x) * math.exp(x)),
}


@pytest.mark.parametrize("name", FAR_OUT)
def test_what_is_left_far_out(name, device):
    check_far_out(CURVES[name], *FAR_OUT[name], device)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", CURVES)
def test_the_largest_numbers_neither_overflow_nor_warn(name, dtype, device):
    huge = float(np.finfo(dtype).max) / 4
    (x,) = leaves([np.array([-huge, huge], dtype)], device)
    y = CURVES[name](x)
    (gradient,) = minidl.grad(y, x, Tensor(np.ones(2, dtype), device=device))
    assert y.dtype == gradient.dtype == dtype
    assert_close(y, np.array([0, huge], dtype), 0)
    assert_close(gradient, np.array([0, 1], dtype), 0)


@pytest.mark.parametrize("gate", [normal_cdf, tanh_cdf])
def test_the_gates_of_gelu_agree_to_three_digits(gate, device):
    x = np.linspace(-6, 6, 1001)
    error = abs(host(gate(Tensor(x, device=device))) - np.vectorize(cdf)(x)).max()
    assert error < (1e-15 if gate is normal_cdf else 5e-4)


def test_integers_become_float32(device):
    for name in NAMES:
        assert getattr(F, name)(Tensor([-4, 0, 2], device=device)).dtype == np.float32


@pytest.mark.parametrize("name", CURVES)
def test_raw_arrays_and_numpys_numbers(name, device, rng):
    curve = CURVES[name]
    x = Tensor(rng.standard_normal((2, 3)).astype(np.float32), device=device)
    raw = curve(x.data)
    assert not isinstance(raw, Tensor)
    assert raw.dtype == np.float32
    assert_close(raw, host(curve(x)), 0)
    assert_close(np.asarray(curve(np.float64(0.7))), np.asarray(curve.formula(0.7)), 1e-15)


@pytest.mark.parametrize("approximate", ["erf", None, True])
def test_an_unknown_approximation_of_gelu(approximate):
    with pytest.raises(ValueError, match=f'^gelu: approximate must be "none" or "tanh", got {approximate!r}$'):
        F.gelu(Tensor([1.0]), approximate)
