"""Activations: the functions that keep a stack of linear layers from being one linear layer.

At kinks and at infinities, values and gradients are PyTorch's. A piece is switched on and off by a factor of 1 or 0:
on the host, choosing with `where` is ten times slower, for the processor cannot guess which way the next element goes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import Array, array_module
from minidl.kernels import elementwise
from minidl.ops.broadcast import floating, require_array, require_one_dtype, sum_to
from minidl.ops.choice import minimum, where
from minidl.ops.elementwise import exp
from minidl.ops.options import check_numbers
from minidl.tensor import raw, tensor_method

# -------------------------------------------------------------------------------------------------- straight pieces


class Relu(Function):
    """y = max(x, 0).  ∂L/∂x = g where x > 0, else 0: at the kink it is 0. (For NaN it is g, as in PyTorch.)"""

    def forward(self, x):
        return elementwise.relu(x)

    def backward(self, g, y):
        return ReluGradient(raw(y))(g)


class ReluGradient(Function):
    """g where y > 0, else 0, for a constant y = max(x, 0); where that is NaN, g. Linear in g, and its own adjoint."""

    def __init__(self, y: Array) -> None:
        self.y = y

    def forward(self, g):
        return elementwise.where_positive(g, self.y)

    def backward(self, u):
        return ReluGradient(self.y)(u)


class Hardtanh(Function):
    """y = min(max(x, low), high).  ∂L/∂x = g where low < x < high, else 0: at both kinks it is 0.

    (`Clip` is the same but for the kinks, where it passes g on: as PyTorch's clamp does.)
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def forward(self, x):
        self.low, self.high = x.dtype.type(self.low), x.dtype.type(self.high)
        return array_module(x).clip(x, self.low, self.high)

    def backward(self, g, y):
        return g * ((y > self.low) & (y < self.high))


class Hardsigmoid(Function):
    """y = min(max(x + 3, 0), 6) / 6.  ∂L/∂x = g / 6 where −3 < x < 3, else 0: at both kinks it is 0."""

    def forward(self, x):
        return (array_module(x).clip(x + 3, 0, 6) / 6).astype(x.dtype, copy=False)

    def backward(self, g, x):
        return g * ((x > -3) & (x < 3)) / 6


class PRelu(Function):
    """y = max(x, 0) + weight · min(x, 0).

    ∂L/∂x = g where x > 0, else g · weight: at the kink it is g · weight.  ∂L/∂weight = g · min(x, 0).
    """

    @np.errstate(invalid="ignore")  # 0 · −∞ is NaN
    def forward(self, x, weight):
        xp, zero = array_module(x), x.dtype.type(0)
        return (xp.maximum(x, zero) + weight * xp.minimum(x, zero)).astype(x.dtype, copy=False)

    def backward(self, g, x, weight):
        rising = (x > 0).astype(g.dtype)
        return (
            g * (rising + weight * (1 - rising)),
            sum_to(g * minimum(x, 0), weight.shape) if self.needs[1] else None,
        )


# ----------------------------------------------------------------------------------------------------------- curves


class Sigmoid(Function):
    """y = 1 / (1 + e⁻ˣ).  ∂L/∂x = g · y · (1 − y)."""

    def forward(self, x):
        xp = array_module(x)
        y = xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-abs(x)))  # no power above 1: nothing overflows
        return y.astype(x.dtype, copy=False)

    def backward(self, g, y):
        return g * y * (1 - y)


class Tanh(Function):
    """y = tanh x.  ∂L/∂x = g · (1 − y²)."""

    def forward(self, x):
        return array_module(x).tanh(x)

    def backward(self, g, y):
        return g * (1 - y * y)


class Softplus(Function):
    """y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|), in which nothing overflows.  ∂L/∂x = g · sigmoid(x)."""

    def forward(self, x):
        xp = array_module(x)
        y = xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))
        return y.astype(x.dtype, copy=False)

    def backward(self, g, x):
        return g * Sigmoid()(x)


class Elu(Function):
    """y = x where x > 0, else α · (eˣ − 1).  ∂L/∂x = g where x > 0, else g · α · eˣ: at the kink it is g · α."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, x):
        xp, zero = array_module(x), x.dtype.type(0)
        y = xp.maximum(x, zero) + self.alpha * xp.expm1(xp.minimum(x, zero))
        return y.astype(x.dtype, copy=False)

    def backward(self, g, x):
        rising = (x > 0).astype(g.dtype)
        return g * (rising + (1 - rising) * self.alpha * exp(minimum(x, 0)))


# ------------------------------------------------------------------------------------------------- public functions


@tensor_method("relu")
def relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0.

    >>> F.relu(Tensor([-1.0, 0.0, 2.0]))
    Tensor([0., 0., 2.], dtype=float32, device=cpu)
    """
    require_array("relu", x)
    return Relu()(x)


def sum_and_relu(x: Any, add: Any, relu: bool) -> Any:
    """x + add, where there is something to add, and with `relu` the larger of that and 0."""
    y = x if add is None else x + add
    return Relu()(y) if relu else y


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6); the derivative at 0 and at 6 is 0 (Krizhevsky 2010, as in MobileNet).

    >>> F.relu6(Tensor([-1.0, 2.0, 7.0]))
    Tensor([0., 2., 6.], dtype=float32, device=cpu)
    """
    require_array("relu6", x)
    return Hardtanh(0, 6)(x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x limited to min_val ≤ x ≤ max_val; the derivative at both ends is 0. Integers stay so, with integer bounds.

    Raises: ValueError when min_val > max_val, and for a negative min_val and a dtype without sign.

    >>> F.hardtanh(Tensor([-3.0, 0.5, 3.0]))
    Tensor([-1. ,  0.5,  1. ], dtype=float32, device=cpu)
    """
    check_numbers("hardtanh", min_val=min_val, max_val=max_val)
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val must not be above max_val, got {min_val} and {max_val}")
    require_array("hardtanh", x)
    if min_val < 0 and x.dtype.kind in "ub":
        raise ValueError(f"hardtanh: {x.dtype} has no value as low as min_val={min_val}; convert x, with x.astype(...)")
    return Hardtanh(min_val, max_val)(x)


def hardsigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6: a sigmoid of straight pieces; the derivative at ±3 is 0 (Howard et al., arXiv 1905.02244).

    >>> F.hardsigmoid(Tensor([-4.0, 0.0, 1.5]))
    Tensor([0.  , 0.5 , 0.75], dtype=float32, device=cpu)
    """
    return Hardsigmoid()(floating("hardsigmoid", x))


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """max(x, 0) + negative_slope · min(x, 0); the derivative at 0 is negative_slope (Maas et al. 2013).

    >>> F.leaky_relu(Tensor([-1.0, 2.0]), 0.5)
    Tensor([-0.5,  2. ], dtype=float32, device=cpu)
    """
    check_numbers("leaky_relu", negative_slope=negative_slope)
    return PRelu()(floating("leaky_relu", x), negative_slope)


def prelu(x: Any, weight: Any) -> Any:
    """max(x, 0) + weight · min(x, 0): leaky_relu with a slope that is learnt (He et al. 2015, arXiv 1502.01852, §2.1).

    weight   one number, () or (1,); or one for each channel, (C,) for x (..., C)

    Raises: ValueError for a weight of another shape.

    >>> F.prelu(Tensor([[-1.0, -1.0], [3.0, 4.0]]), Tensor([0.25, 0.5]))
    Tensor([[-0.25, -0.5 ],
            [ 3.  ,  4.  ]], dtype=float32, device=cpu)
    """
    x = floating("prelu", x)
    require_array("prelu", weight)
    require_one_dtype("prelu", x, weight=weight)
    C = x.shape[-1] if x.ndim else 1
    if weight.shape not in ((), (1,), (C,)):
        raise ValueError(f"prelu: for input {x.shape} expected a weight of shape (1,) or ({C},), got {weight.shape}")
    return PRelu()(x, weight.reshape(()) if weight.size == 1 else weight)  # weight () or (C,)


@tensor_method("sigmoid")
def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ).

    >>> F.sigmoid(Tensor([-1000.0, 0.0, 1000.0]))
    Tensor([0. , 0.5, 1. ], dtype=float32, device=cpu)
    """
    return Sigmoid()(floating("sigmoid", x))


def logsigmoid(x: Any) -> Any:
    """ln sigmoid(x) = −ln(1 + e⁻ˣ), also where sigmoid(x) is 0 or 1.

    >>> F.logsigmoid(Tensor([-1000.0, 1000.0]))
    Tensor([-1000.,    -0.], dtype=float32, device=cpu)
    """
    return -Softplus()(-floating("logsigmoid", x))


@tensor_method("tanh")
def tanh(x: Any) -> Any:
    """The hyperbolic tangent of x.

    >>> F.tanh(Tensor([-1000.0, 0.0, 1000.0]))
    Tensor([-1.,  0.,  1.], dtype=float32, device=cpu)
    """
    return Tanh()(floating("tanh", x))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """ln(1 + e^(beta · x)) / beta, a smooth relu; x itself where beta · x > threshold.

    Raises: ValueError for beta = 0.

    >>> F.softplus(Tensor([-1000.0, 1000.0]))
    Tensor([   0., 1000.], dtype=float32, device=cpu)
    >>> f"{F.softplus(Tensor(0.0)):.4f}"
    '0.6931'
    """
    check_numbers("softplus", beta=beta, threshold=threshold)
    if beta == 0:
        raise ValueError("softplus: expected a beta other than 0")
    x = floating("softplus", x)
    z = x * float(beta)
    return where(z > threshold, x, Softplus()(z) / float(beta))


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha · (eˣ − 1) (Clevert et al. 2015, arXiv 1511.07289); the derivative at 0 is alpha.

    >>> F.elu(Tensor([-1000.0, 0.0, 2.0]), alpha=0.5)
    Tensor([-0.5,  0. ,  2. ], dtype=float32, device=cpu)
    """
    check_numbers("elu", alpha=alpha)
    return Elu(alpha)(floating("elu", x))


# Klambauer et al. 2017, arXiv 1706.02515, §2: the α and λ that keep inputs of mean 0 and variance 1 so.
SELU_ALPHA, SELU_LAMBDA = 1.6732632423543772, 1.0507009873554805


def selu(x: Any) -> Any:
    """λ · elu(x, α), with the λ = 1.0507… and α = 1.6733… of self-normalising networks.

    >>> f"{F.selu(Tensor(1.0)):.4f} {F.selu(Tensor(-1000.0)):.4f}"
    '1.0507 -1.7581'
    """
    return Elu(SELU_ALPHA)(floating("selu", x)) * SELU_LAMBDA
