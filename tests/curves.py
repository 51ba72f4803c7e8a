"""An activation is a curve: a function of one number, applied to each. This is what is asked of every one of them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from judge import assert_close, check_operator, host, leaves, separated

import minidl
from minidl import Tensor
from minidl import functional as F


class Curve(NamedTuple):
    """The function's name and options, the formula on a Python number, and where it has kinks."""

    name: str
    formula: Callable[[float], float]
    options: dict[str, Any] = {}  # noqa: RUF012
    kinks: tuple[float, ...] = ()

    def __call__(self, x):
        return getattr(F, self.name)(x, **self.options)

    def by_formula(self, x):
        return np.vectorize(self.formula, otypes=[np.float64])(x)

    def by_torch(self, torch, x):
        return getattr(torch.nn.functional, self.name)(x, **self.options)


def smooth_points(rng, shape=(3, 4, 5)):
    """From −6 to 6, at least 0.02 from every kink."""
    return 20 * separated(rng, shape)


def check_curve(curve, device, rng):
    """The value is the formula's, first and second derivatives are right, shapes without elements or axes are kept."""
    x = smooth_points(rng)
    assert_close(curve(Tensor(x, device=device)), curve.by_formula(x), 1e-14)
    check_operator(curve, [x], device)
    for shape in ((), (0,), (2, 0, 3), (1, 1)):
        check_operator(curve, [smooth_points(rng, shape) + 0.31], device)
    minidl.gradgradcheck(curve, leaves([smooth_points(rng, (5, 6))], device), fast=device != "cpu")


ORDINARY = [-1e30, -800, -40, -20, -6, -3, -1, -0.5, -1e-12, -0.0, 0, 1e-12, 0.5, 1, 3, 6, 20, 40, 800, 1e30]


def special_points(curve, dtype):
    """Numbers near and far, infinities, NaN, the kinks, and the next numbers on both sides of them."""
    kinks = np.array(curve.kinks, dtype)
    beside = [np.nextafter(kinks, dtype(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([np.array([*ORDINARY, -np.inf, np.inf, np.nan], dtype), kinks, *beside])


def check_against_torch(curve, dtype, device, rng):
    """PyTorch's values and gradients at all special points, and no warning on the way.

    PyTorch always computes in float64: in float32 its gelu is NaN at ∞, and so is, at 1e30, its gelu's gradient.
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    points = special_points(curve, dtype)
    g = rng.uniform(0.5, 2, points.shape).astype(dtype)
    theirs = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    expected = curve.by_torch(torch, theirs)
    (expected_gradient,) = torch.autograd.grad(expected, theirs, torch.tensor(g, dtype=torch.float64))
    (x,) = leaves([points], device)
    y = curve(x)
    recorded = minidl.grad(y, x, Tensor(g, requires_grad=True, device=device), create_graph=True)[0]
    (gradient,) = minidl.grad(curve(x), x, Tensor(g, device=device))
    assert y.dtype == gradient.dtype == recorded.dtype == dtype
    tolerance = {np.float32: 2e-6, np.float64: 1e-14}[dtype]
    compare(points, y, expected.detach().numpy(), tolerance)
    # PyTorch's gradient for NaN depends on how many elements there are: it has two ways to compute them.
    numbers = ~np.isnan(points)
    # In the gradient of hardsigmoid it takes 1/6 in float32, whatever the dtype.
    tolerance = max(tolerance, 4e-8) if curve.name == "hardsigmoid" else tolerance
    for actual in (gradient, recorded):
        compare(points[numbers], host(actual)[numbers], expected_gradient.numpy()[numbers], tolerance)


def compare(points, actual, expected, tolerance):
    actual = host(actual)
    wrong = ~np.isclose(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    assert not wrong.any(), list(zip(points[wrong], actual[wrong], expected[wrong], strict=True))


def check_far_out(curve, points, formula, slope, device):
    """Where nearly nothing is left of the function or its slope, most digits of it are still right."""
    (x,) = leaves([np.array(points, np.float64)], device)
    y = curve(x)
    (gradient,) = minidl.grad(y, x, Tensor(np.ones(x.shape), device=device))
    np.testing.assert_allclose(host(y), [formula(p) for p in points], rtol=1e-12, atol=0)
    np.testing.assert_allclose(host(gradient), [slope(p) for p in points], rtol=1e-12, atol=0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
