"""Activations that are x times a gate: s(x) opens from 0 to 1 as x grows, and lets x through.

    silu  x · σ(x)        gelu  x · Φ(x)        mish  x · tanh(softplus(x))        hardswish  x · hardsigmoid(x)

By the product rule the slope is s(x) + x · s′(x). At −∞ all are −∞ · 0, which is NaN, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.kernels import special
from minidl.ops.activation import Hardsigmoid, Softplus, sigmoid, tanh
from minidl.ops.broadcast import floating
from minidl.ops.choice import clip
from minidl.ops.elementwise import exp


class Gated(Function):
    """y = x · s(x).  ∂L/∂x = g · (s(x) + x · s′(x)).

    gate, slope   functions that give s from x, and s′ from x and s: of raw arrays or Tensors
    """

    def __init__(self, gate: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> None:
        self.gate, self.slope = gate, slope

    @np.errstate(invalid="ignore")  # ∞ · 0
    def forward(self, x):
        return (x * self.gate(x)).astype(x.dtype, copy=False)

    @np.errstate(invalid="ignore")
    def backward(self, g, x):
        s = self.gate(x)
        return g * (s + x * self.slope(x, s))


class Hardswish(Function):
    """y = x · hardsigmoid(x).  ∂L/∂x = g · (x/3 + ½) where −3 < x < 3, 0 where x ≤ −3, and g where x ≥ 3."""

    @np.errstate(invalid="ignore")  # ∞ · 0
    def forward(self, x):
        return x * Hardsigmoid()(x)

    def backward(self, g, x):
        inside = ((x > -3) & (x < 3)).astype(g.dtype)
        return g * (inside * (clip(x, -3, 3) / 3 + 0.5) + (x >= 3))


class NormalCdf(Function):
    """y = Φ(x) = erfc(−x/√2) / 2, the probability that a standard normal number is below x.  ∂L/∂x = g · φ(x)."""

    def forward(self, x):
        return (special.erfc(x * -math.sqrt(0.5)) * 0.5).astype(x.dtype, copy=False)

    def backward(self, g, x):
        return g * normal_pdf(x)


# ------------------------------------------------------------------------------------------------- gates and slopes


def sigmoid_slope(x: Any, s: Any) -> Any:
    """σ′ = σ · (1 − σ)."""
    return s * (1 - s)


def normal_cdf(x: Any) -> Any:
    """Φ(x)."""
    return NormalCdf()(x)


def normal_pdf(x: Any, s: Any = None) -> Any:
    """Φ′(x) = φ(x) = e^(−x²/2) / √2π."""
    x = clip(x, -40, 40)  # beyond it is 0, and x² might overflow
    return exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


def tanh_cdf(x: Any) -> Any:
    """(1 + tanh u) / 2 = σ(2u) with u = √(2/π) · (x + 0.044715 x³), which is Φ(x) to three digits."""
    x = clip(x, -30, 30)  # beyond it is 0 or 1, and x³ might overflow
    return sigmoid((x + 0.044715 * x * x * x) * math.sqrt(8 / math.pi))


def tanh_pdf(x: Any, s: Any) -> Any:
    """The slope of tanh_cdf: s · (1 − s) · 2u′."""
    x = clip(x, -30, 30)
    return s * (1 - s) * (1 + 3 * 0.044715 * x * x) * math.sqrt(8 / math.pi)


def mish_gate(x: Any) -> Any:
    """tanh(softplus(x)) = tanh(ln(1 + eˣ))."""
    return tanh(Softplus()(x))


def mish_slope(x: Any, s: Any) -> Any:
    """The slope of mish_gate: (1 − s²) · σ(x)."""
    return (1 - s * s) * sigmoid(x)


# ------------------------------------------------------------------------------------------------- public functions


def silu(x: Any) -> Any:
    """x · sigmoid(x), also known as swish (Elfwing et al. 2017, arXiv 1702.03118; Ramachandran et al., 1710.05941).

    >>> f"{F.silu(Tensor(1.0)):.4f} {F.silu(Tensor(1000.0)):.4f}"
    '0.7311 1000.0000'
    """
    return Gated(sigmoid, sigmoid_slope)(floating("silu", x))


def gelu(x: Any, approximate: str = "none") -> Any:
    """x · Φ(x), Φ being the normal distribution function (Hendrycks & Gimpel 2016, arXiv 1606.08415).

    approximate   "none"; or "tanh": Φ(x) ≈ (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2

    Raises: ValueError for any other approximation.

    >>> f"{F.gelu(Tensor(1.0)):.4f} {F.gelu(Tensor(1.0), approximate='tanh'):.4f}"
    '0.8413 0.8412'
    """
    gates = {"none": (normal_cdf, normal_pdf), "tanh": (tanh_cdf, tanh_pdf)}
    if not isinstance(approximate, str) or approximate not in gates:
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return Gated(*gates[approximate])(floating("gelu", x))


def mish(x: Any) -> Any:
    """x · tanh(softplus(x)) (Misra 2019, arXiv 1908.08681).

    >>> f"{F.mish(Tensor(1.0)):.4f} {F.mish(Tensor(1000.0)):.4f}"
    '0.8651 1000.0000'
    """
    return Gated(mish_gate, mish_slope)(floating("mish", x))


def hardswish(x: Any) -> Any:
    """x · relu6(x + 3) / 6 (Howard et al. 2019, arXiv 1905.02244, §5.2); the derivative at −3 is 0, at 3 it is 1.

    >>> F.hardswish(Tensor([-4.0, 1.5, 4.0]))
    Tensor([-0.   ,  1.125,  4.   ], dtype=float32, device=cpu)
    """
    return Hardswish()(floating("hardswish", x))
