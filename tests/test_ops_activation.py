"""Activations: values, derivatives, kinks, infinities, what is left far out, dtypes, wrong calls."""

import itertools
import math

import numpy as np
import pytest
from curves import Curve, check_against_torch, check_curve, check_far_out, sigmoid
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
from minidl import Tensor
from minidl import functional as F
from minidl.kernels import elementwise

SELU = 1.0507009873554805, 1.6732632423543772  # λ and α of Klambauer et al. 2017
CURVES = {
    "relu": Curve("relu", lambda x: max(x, 0), kinks=(0,)),
    "relu6": Curve("relu6", lambda x: min(max(x, 0), 6), kinks=(0, 6)),
    "hardtanh": Curve("hardtanh", lambda x: min(max(x, -1), 1), kinks=(-1, 1)),
    "hardtanh, narrow": Curve(
        "hardtanh", lambda x: min(max(x, 0.25), 2.25), {"min_val": 0.25, "max_val": 2.25}, kinks=(0.25, 2.25)
    ),
    "hardtanh, a point": Curve("hardtanh", lambda x: 2.0, {"min_val": 2, "max_val": 2}, kinks=(2,)),
    "hardsigmoid": Curve("hardsigmoid", lambda x: min(max(x + 3, 0), 6) / 6, kinks=(-3, 3)),
    "leaky_relu": Curve("leaky_relu", lambda x: x if x > 0 else 0.01 * x, kinks=(0,)),
    "leaky_relu, steep": Curve("leaky_relu", lambda x: x if x > 0 else 3 * x, {"negative_slope": 3}, kinks=(0,)),
    "leaky_relu, flat": Curve("leaky_relu", lambda x: max(x, 0), {"negative_slope": 0}, kinks=(0,)),
    "leaky_relu, falling": Curve(
        "leaky_relu", lambda x: x if x > 0 else -0.5 * x, {"negative_slope": -0.5}, kinks=(0,)
    ),
    "elu": Curve("elu", lambda x: x if x > 0 else math.expm1(x), kinks=(0,)),
    "elu, with a kink": Curve("elu", lambda x: x if x > 0 else -0.7 * math.expm1(x), {"alpha": -0.7}, kinks=(0,)),
    "selu": Curve("selu", lambda x: SELU[0] * (x if x > 0 else SELU[1] * math.expm1(x)), kinks=(0,)),
    "sigmoid": Curve("sigmoid", sigmoid),
    "logsigmoid": Curve("logsigmoid", lambda x: -math.log1p(math.exp(-x))),
    "tanh": Curve("tanh", math.tanh),
    "softplus": Curve("softplus", lambda x: math.log1p(math.exp(x)), kinks=(20,)),
    "softplus, cut short": Curve(
        "softplus",
        lambda x: x if 2 * x > 3 else math.log1p(math.exp(2 * x)) / 2,
        {"beta": 2, "threshold": 3},
        kinks=(1.5,),
    ),
    "softplus, turned round": Curve(
        "softplus", lambda x: x if -x > -1 else -math.log1p(math.exp(-x)), {"beta": -1, "threshold": -1}, kinks=(1,)
    ),
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


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_methods(name, device, rng):
    x = Tensor(rng.standard_normal((2, 3)), device=device)
    assert_close(getattr(x, name)(), getattr(F, name)(x), 0)


# ---- kinks, and far out

AT_KINKS = {  # the slopes at the kinks, and those between them
    "relu": [0, 1],
    "relu6": [0, 0, 1],
    "hardtanh": [0, 0, 1],
    "hardsigmoid": [0, 0, 1 / 6],
    "leaky_relu": [0.01, 1],
    "elu, with a kink": [-0.7, 1],
}


@pytest.mark.parametrize("name", AT_KINKS)
def test_the_slope_at_a_kink(name, device):
    curve = CURVES[name]
    (x,) = leaves([np.array([*curve.kinks, sum(curve.kinks) / 2 + 0.25])], device)
    g = np.arange(2.0, 2 + x.size)
    (gradient,) = minidl.grad(curve(x), x, Tensor(g, device=device))
    assert_close(gradient, np.array(AT_KINKS[name]) * g, 1e-15)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_bounds_are_taken_in_the_dtype_of_the_input(shape, device):
    """0.1 is another number in float32: at the kink, and clipped to it from far below, the slope is 0."""
    for value, expected in ((0.1, 0.1), (-5.0, 0.1), (0.7, 0.7), (9.0, 0.7)):
        x = Tensor(np.full(shape, value, np.float32), requires_grad=True, device=device)
        y = F.hardtanh(x, 0.1, 0.7)
        y.sum().backward()
        assert_close(y, np.full(shape, expected, np.float32), 0)
        assert_close(x.grad, np.zeros(shape, np.float32), 0)


FOR_NAN = {"relu": 1, "relu6": 0, "hardtanh": 0, "hardsigmoid": 0, "leaky_relu": 0.01}  # NaN for all others


@pytest.mark.parametrize("name", [name for name in CURVES if "," not in name])
def test_for_nan(name, device):
    """The value is NaN. So is the slope, but where it is one of two numbers."""
    (x,) = leaves([np.full(2, np.nan)], device)
    y = CURVES[name](x)
    (gradient,) = minidl.grad(y, x, Tensor(np.array([1.0, 2.0]), device=device))
    np.testing.assert_array_equal(host(y), [np.nan, np.nan])
    np.testing.assert_array_equal(host(gradient), np.array([1.0, 2.0]) * FOR_NAN.get(name, np.nan))


FAR_OUT = {
    "sigmoid": ([-700, -50], math.exp, math.exp),
    "logsigmoid": ([40, 700], lambda x: -math.exp(-x), lambda x: math.exp(-x)),
    "softplus": ([-700, -50], math.exp, math.exp),
    "elu": ([-1e-20, -1e-300], lambda x: x, lambda x: 1),
    "selu": ([-1e-20, -1e-300], lambda x: x * SELU[0] * SELU[1], lambda x: SELU[0] * SELU[1]),
}


@pytest.mark.parametrize("name", FAR_OUT)
def test_what_is_left_far_out(name, device):
    check_far_out(CURVES[name], *FAR_OUT[name], device)


def test_the_slope_of_elu_far_out(device):
    (x,) = leaves([np.array([-50.0, -700.0])], device)
    (gradient,) = minidl.grad(F.elu(x, 2.0), x, Tensor(np.ones(2), device=device))
    np.testing.assert_allclose(host(gradient), 2 * np.exp([-50.0, -700.0]), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", CURVES)
def test_the_largest_numbers_neither_overflow_nor_warn(name, dtype, device):
    huge = float(np.finfo(dtype).max) / 4
    (x,) = leaves([np.array([-huge, huge], dtype)], device)
    y = CURVES[name](x)
    (gradient,) = minidl.grad(y, x, Tensor(np.ones(2, dtype), device=device))
    assert y.dtype == gradient.dtype == dtype
    assert np.isfinite(host(y)).all()
    assert np.isfinite(host(gradient)).all()


def test_softplus_does_not_overflow_below_a_high_threshold(device):
    """PyTorch's e^(beta · x) does: it gives ∞, and a gradient of NaN."""
    (x,) = leaves([np.array([1000.0])], device)
    y = F.softplus(x, threshold=2000)
    (gradient,) = minidl.grad(y, x, Tensor(np.ones(1), device=device))
    assert (y.item(), gradient.item()) == (1000, 1)


@pytest.mark.torch
def test_softplus_does_overflow_in_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = torch.tensor(1000.0, requires_grad=True)
    y = torch.nn.functional.softplus(x, threshold=2000)
    y.backward()
    assert y.isinf()
    assert x.grad.isnan()


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "expected"), [("relu", 0), ("relu6", np.nan), ("hardtanh", np.nan), ("hardsigmoid", np.nan)]
)
def test_an_infinite_gradient_where_the_slope_is_zero(name, expected):
    """PyTorch's is 0, and so is relu's; of the others it is ∞ · 0 = NaN, for a product is faster than a choice."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, g = np.full(2, -5.0), np.array([np.inf, 1])
    theirs = torch.tensor(x, requires_grad=True)
    getattr(torch.nn.functional, name)(theirs).backward(torch.tensor(g))
    with np.errstate(invalid="ignore"):
        (gradient,) = minidl.grad(getattr(F, name)(ours := Tensor(x, requires_grad=True)), ours, g)
    np.testing.assert_array_equal(theirs.grad.numpy(), [0, 0])
    np.testing.assert_array_equal(gradient.numpy(), [expected, 0])


# ---- prelu

WEIGHTS = {"one": (1,), "a number": (), "one a channel": (5,)}


@pytest.mark.parametrize("weight_shape", WEIGHTS.values(), ids=WEIGHTS)
def test_prelu(weight_shape, device, rng):
    x, weight = separated(rng, (3, 4, 5)), rng.standard_normal(weight_shape)
    assert_close(F.prelu(*leaves([x, weight], device)), np.where(x > 0, x, weight * x), 1e-15)
    check_operator(F.prelu, [x, weight], device)
    minidl.gradgradcheck(F.prelu, leaves([x[0], weight], device), fast=device != "cpu")


def test_prelu_of_a_number_and_of_a_row(device):
    for shape in ((), (4,), (0, 4)):
        check_operator(F.prelu, [np.full(shape, -2.0), np.full(1, 0.3)], device)
    check_operator(F.prelu, [np.array([-2.0, 3.0, -1.0]), np.array([0.1, 0.2, 0.3])], device)


@pytest.mark.torch
@pytest.mark.parametrize("weight_shape", WEIGHTS.values(), ids=WEIGHTS)
def test_prelu_against_torch(weight_shape, device, rng):
    """Also at the kink, at infinities and for NaN. PyTorch's channels are on axis 1, ours on the last."""
    x, g = separated(rng, (4, 5)), rng.standard_normal((4, 5))
    x[0] = [0.0, -0.0, np.inf, -np.inf, np.nan]
    weight = rng.standard_normal(weight_shape)
    value, gradients = value_and_gradients(F.prelu, [x, weight], g, device)
    expected, expected_gradients = torch_value_and_gradients(
        lambda torch_f, *inputs: torch_f.prelu(*inputs), [x, weight], [None, None], g
    )
    for actual, wanted in zip((value, *gradients), (expected, *expected_gradients), strict=True):
        assert_close(actual, wanted.reshape(actual.shape), 1e-13)


def test_leaky_relu_is_prelu_with_a_weight_that_is_not_learnt(device, rng):
    x = Tensor(rng.standard_normal((3, 4)), device=device)
    assert_close(F.leaky_relu(x, 0.2), F.prelu(x, Tensor(np.array(0.2), device=device)), 0)


# ---- dtypes


def test_integers(device):
    """What is only cut off stays an integer, with bounds cut to integers (as in PyTorch); the rest is float32."""
    x = Tensor([-4, 0, 2, 9], device=device)
    for function, expected in [
        (F.relu, [0, 0, 2, 9]),
        (F.relu6, [0, 0, 2, 6]),
        (F.hardtanh, [-1, 0, 1, 1]),
        (lambda x: F.hardtanh(x, -2.7, 3.9), [-2, 0, 2, 3]),
    ]:
        assert function(x).dtype == np.int64
        assert host(function(x)).tolist() == expected
    for name in sorted(set(NAMES) - {"relu", "relu6", "hardtanh"}):
        assert getattr(F, name)(x).dtype == np.float32
    assert F.prelu(x, Tensor([0.5], device=device)).dtype == np.float32
    assert host(F.hardtanh(Tensor([0, 2, 9], dtype="uint8", device=device), 0, 3)).tolist() == [0, 2, 3]


@pytest.mark.parametrize("name", CURVES)
def test_raw_arrays_and_numpys_numbers(name, device, rng):
    curve = CURVES[name]
    x = Tensor(rng.standard_normal((2, 3)).astype(np.float32), device=device)
    raw = curve(x.data)
    assert not isinstance(raw, Tensor)
    assert raw.dtype == np.float32
    assert_close(raw, host(curve(x)), 0)
    assert_close(np.asarray(curve(np.float64(0.7))), np.asarray(curve.formula(0.7)), 1e-15)


# ---- in pieces


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pieces_and_threads_change_nothing_about_relu(threads, device, use_threads, monkeypatch, rng):
    """Neither do gaps in the memory, of x or of the gradient."""
    use_threads(threads)
    x, g = rng.standard_normal((2, 6, 5, 4))
    expected = [np.maximum(x, 0), g * (x > 0)]
    monkeypatch.setattr(elementwise, "LARGE", 1)
    monkeypatch.setattr(elementwise, "PIECE", 7)
    for change_x, change_g in itertools.product([lambda x: x, scattered], repeat=2):
        (leaf,), upstream = leaves([x], device), Tensor(g, device=device)
        y = F.relu(change_x(leaf))
        gradient = minidl.grad(y, leaf, change_g(upstream))[0]
        for actual, whole in zip((y, gradient), expected, strict=True):
            assert_close(actual, whole, 0)


def test_relu_is_linear_where_it_is_differentiated(device):
    """Its gradient is g switched on and off: differentiated to g it is switched alike, and to x it is 0."""
    (x, g) = leaves([np.array([-1.0, 0.0, 2.0]), np.array([3.0, 4.0, 5.0])], device)
    (gradient,) = minidl.grad(F.relu(x), [x], g, create_graph=True)
    to_g, to_x = minidl.grad(gradient, [g, x], Tensor(np.array([7.0, 8.0, 9.0]), device=device), allow_unused=True)
    assert host(gradient).tolist() == [0, 0, 5]
    assert host(to_g).tolist() == [0, 0, 9]
    assert to_x is None or host(to_x).tolist() == [0, 0, 0]


# ---- wrong calls

WRONG = [
    (lambda x: F.hardtanh(x, 1, -1), ValueError, "^hardtanh: min_val must not be above max_val, got 1 and -1$"),
    (lambda x: F.hardtanh(x, "0", 1), TypeError, "^hardtanh: min_val must be a number, got '0'$"),
    (lambda x: F.hardtanh(x, 0, None), TypeError, "^hardtanh: max_val must be a number, got None$"),
    (
        lambda x: F.hardtanh(x.astype("uint8")),
        ValueError,
        r"^hardtanh: uint8 has no value as low as min_val=-1.0; convert x, with x.astype\(...\)$",
    ),
    (lambda x: F.leaky_relu(x, x), TypeError, r"^leaky_relu: negative_slope must be a number, got Tensor\("),
    (lambda x: F.elu(x, [1]), TypeError, r"^elu: alpha must be a number, got \[1\]$"),
    (lambda x: F.softplus(x, "1"), TypeError, "^softplus: beta must be a number, got '1'$"),
    (lambda x: F.softplus(x, 1, None), TypeError, "^softplus: threshold must be a number, got None$"),
    (lambda x: F.softplus(x, 0), ValueError, "^softplus: expected a beta other than 0$"),
    (lambda x: F.prelu(x, 0.25), TypeError, "^prelu: expected a Tensor or an array, got float$"),
    (
        lambda x: F.prelu(x, x[0, :2]),
        ValueError,
        r"^prelu: for input \(2, 3\) expected a weight of shape \(1,\) or \(3,\), got \(2,\)$",
    ),
    (lambda x: F.prelu(x, x[:1]), ValueError, r"expected a weight of shape \(1,\) or \(3,\), got \(1, 3\)$"),
    (lambda x: F.prelu(x[0, 0], x[0]), ValueError, r"^prelu: for input \(\) expected .* \(1,\), got \(3,\)$"),
    (
        lambda x: F.prelu(x, x[0].astype("float64")),
        TypeError,
        "^prelu: the input is float32 and the weight float64; convert one",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3), np.float32)))
