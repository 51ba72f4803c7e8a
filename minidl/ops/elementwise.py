"""Operations on single elements: arithmetic, exp and log, comparison and choice.

Each is a formula and its derivative, one under the other. Where an input was broadcast, `sum_to` adds up the gradient.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import active, array_module, device_of, to_device
from minidl.backend import device as as_device
from minidl.ops.broadcast import common_shape, floating, operands, sum_to
from minidl.tensor import Tensor, tensor_method

# ------------------------------------------------------------------------------------------------------- arithmetic


class Add(Function):
    """y = a + b.  ∂L/∂a = ∂L/∂b = g."""

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return a + b

    def backward(self, g):
        return [sum_to(g, shape) if needed else None for shape, needed in zip(self.shapes, self.needs, strict=True)]


class Subtract(Function):
    """y = a − b.  ∂L/∂a = g,  ∂L/∂b = −g."""

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, g):
        to_a, to_b = self.shapes
        return sum_to(g, to_a) if self.needs[0] else None, -sum_to(g, to_b) if self.needs[1] else None


class Multiply(Function):
    """y = a · b.  ∂L/∂a = g · b,  ∂L/∂b = g · a."""

    def forward(self, a, b):
        return a * b

    def backward(self, g, a, b):
        return (
            sum_to(g * b, a.shape) if self.needs[0] else None,
            sum_to(g * a, b.shape) if self.needs[1] else None,
        )


class Divide(Function):
    """y = a / b.  ∂L/∂a = g / b,  ∂L/∂b = −g · (a / b) / b; written so because b² could overflow."""

    def forward(self, a, b):
        return a / b

    def backward(self, g, a, b):
        return (
            sum_to(g / b, a.shape) if self.needs[0] else None,
            sum_to(-g * (a / b) / b, b.shape) if self.needs[1] else None,
        )


class Power(Function):
    """y = a^b.  ∂L/∂a = g · b · a^(b−1),  ∂L/∂b = g · y · log a.

    At the corners the limits are taken: the derivative of a⁰ is 0 even at a = 0, and that of 0^b to b is 0.
    """

    def forward(self, a, b):
        return a**b

    def backward(self, g, a, b):
        to_a = to_b = None
        zero = a == 0
        if self.needs[0]:
            reduced = where(zero & (b == 0), 1, b) - 1  # there the factor b is 0, whatever the power says
            to_a = sum_to(g * b * a**reduced, a.shape)
        if self.needs[1]:
            positive = where(zero, 1, a)
            to_b = sum_to(g * where(zero, 0, positive**b * log(positive)), b.shape)
        return to_a, to_b


class Negative(Function):
    """y = −x.  ∂L/∂x = −g."""

    def forward(self, x):
        return -x

    def backward(self, g):
        return -g


class Absolute(Function):
    """y = |x|.  ∂L/∂x = g · sign(x), which is 0 at the kink x = 0."""

    def forward(self, x):
        return abs(x)

    def backward(self, g, x):
        return g * ((x > 0).astype(g.dtype) - (x < 0).astype(g.dtype))


# ------------------------------------------------------------------------------------------- exponential, logarithm


class Exp(Function):
    """y = eˣ.  ∂L/∂x = g · y."""

    def forward(self, x):
        return array_module(x).exp(x)

    def backward(self, g, y):
        return g * y


class Log(Function):
    """y = ln x.  ∂L/∂x = g / x."""

    def forward(self, x):
        return array_module(x).log(x)

    def backward(self, g, x):
        return g / x


class Sqrt(Function):
    """y = √x.  ∂L/∂x = g / (2y), infinite at 0."""

    def forward(self, x):
        return array_module(x).sqrt(x)

    def backward(self, g, y):
        return g / (2 * y)


# --------------------------------------------------------------------------------------------- comparison and choice


class Where(Function):
    """y = a where the condition holds, else b.  The gradient goes to whichever was chosen."""

    def forward(self, condition, a, b):
        self.shapes = a.shape, b.shape
        return array_module(condition).where(condition, a, b)

    def backward(self, g, condition):
        to_a, to_b = self.shapes
        return (
            None,
            sum_to(where(condition, g, 0), to_a) if self.needs[1] else None,
            sum_to(where(condition, 0, g), to_b) if self.needs[2] else None,
        )


class Maximum(Function):
    """y = max(a, b).  The gradient goes to the larger one; at a tie, half to each (as in PyTorch)."""

    def forward(self, a, b):
        return array_module(a).maximum(a, b)

    def backward(self, g, a, b, y):
        share = (1 + (a == y).astype(g.dtype) - (b == y).astype(g.dtype)) * 0.5  # 1, ½ or 0
        return (
            sum_to(g * share, a.shape) if self.needs[0] else None,
            sum_to(g * (1 - share), b.shape) if self.needs[1] else None,
        )


class Minimum(Maximum):
    """y = min(a, b).  The gradient goes to the smaller one; at a tie, half to each."""

    def forward(self, a, b):
        return array_module(a).minimum(a, b)


class Clip(Function):
    """y = min(max(x, low), high).  ∂L/∂x = g where low ≤ x ≤ high, else 0."""

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = low, high

    def forward(self, x):
        return array_module(x).clip(x, self.low, self.high).astype(x.dtype, copy=False)

    def backward(self, g, x):
        inside = True
        if self.low is not None:
            inside = inside & (x >= self.low)
        if self.high is not None:
            inside = inside & (x <= self.high)
        return where(inside, g, 0)


# ------------------------------------------------------------------------------------------------ copies and moves


class Copy(Function):
    """y = x, in memory of its own."""

    def forward(self, x):
        return x.copy()

    def backward(self, g):
        return g


class AsType(Function):
    """y = x in another dtype.  ∂L/∂x = g in the dtype of x."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, x):
        self.input_dtype = x.dtype
        return x.astype(self.dtype)

    def backward(self, g):
        return g.astype(self.input_dtype)


class To(Function):
    """y = x on another device.  ∂L/∂x = g, brought back."""

    def __init__(self, target: Any) -> None:
        self.target = as_device(target)

    def forward(self, x):
        self.origin = device_of(x)
        return to_device(x, self.target)

    def backward(self, g):
        return To(self.origin)(g)


# ------------------------------------------------------------------------------------------------- public functions


def _broadcastable(op: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands in one dtype, of shapes that fit."""
    a, b = operands(op, a, b)
    if a.shape != b.shape:
        common_shape(op, a.shape, b.shape)
    return a, b


@tensor_method("__add__", "__radd__")
def add(a: Any, b: Any) -> Any:
    """a + b, broadcast."""
    return Add()(*_broadcastable("add", a, b))


@tensor_method("__sub__")
def subtract(a: Any, b: Any) -> Any:
    """a − b, broadcast."""
    return Subtract()(*_broadcastable("subtract", a, b))


@tensor_method("__mul__", "__rmul__")
def multiply(a: Any, b: Any) -> Any:
    """a · b, broadcast."""
    return Multiply()(*_broadcastable("multiply", a, b))


@tensor_method("__truediv__")
def divide(a: Any, b: Any) -> Any:
    """a / b, broadcast. The quotient of two integer tensors is float32."""
    a, b = _broadcastable("divide", a, b)
    return Divide()(floating(a), floating(b))


@tensor_method("__pow__")
def power(a: Any, b: Any) -> Any:
    """a to the power b, broadcast."""
    return Power()(*_broadcastable("power", a, b))


@tensor_method("__rsub__")
def _reflected_subtract(b: Any, a: Any) -> Any:
    return subtract(a, b)


@tensor_method("__rtruediv__")
def _reflected_divide(b: Any, a: Any) -> Any:
    return divide(a, b)


@tensor_method("__rpow__")
def _reflected_power(b: Any, a: Any) -> Any:
    return power(a, b)


@tensor_method("__neg__")
def negative(x: Any) -> Any:
    """−x."""
    return Negative()(x)


@tensor_method("__abs__", "abs")
def absolute(x: Any) -> Any:
    """|x|; the derivative at 0 is 0."""
    return Absolute()(x)


@tensor_method("exp")
def exp(x: Any) -> Any:
    """eˣ."""
    return Exp()(floating(x))


@tensor_method("log")
def log(x: Any) -> Any:
    """The natural logarithm of x."""
    return Log()(floating(x))


@tensor_method("sqrt")
def sqrt(x: Any) -> Any:
    """The square root of x; its derivative at 0 is infinite."""
    return Sqrt()(floating(x))


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where `condition` (a boolean array or Tensor) holds, b elsewhere; all three broadcast."""
    if getattr(condition, "dtype", None) != np.bool_:
        kind = getattr(condition, "dtype", type(condition).__name__)
        raise TypeError(f"where: expected a boolean array as condition, got {kind}; write x != 0 or x > 0")
    a, b = operands("where", a, b)
    common_shape("where", condition.shape, a.shape, b.shape)
    return Where()(condition, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b, element by element; at a tie each gets half of the gradient."""
    return Maximum()(*_broadcastable("maximum", a, b))


def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b, element by element; at a tie each gets half of the gradient."""
    return Minimum()(*_broadcastable("minimum", a, b))


@tensor_method("clip")
def clip(x: Any, low: float | None = None, high: float | None = None) -> Any:
    """x limited to low ≤ x ≤ high; None is no limit."""
    if low is None and high is None:
        raise ValueError("clip: at least one of low and high must be given")
    for bound in (low, high):
        if bound is not None and not isinstance(bound, numbers.Real):
            raise TypeError(f"clip: low and high must be numbers, got {type(bound).__name__}; see maximum and minimum")
    if any(bound is not None and not isinstance(bound, numbers.Integral) for bound in (low, high)):
        x = floating(x)
    return Clip(low, high)(x)


@tensor_method("copy")
def copy(x: Any) -> Any:
    """x in memory of its own; gradients flow through."""
    return Copy()(x)


@tensor_method("astype")
def astype(x: Tensor, dtype: Any) -> Tensor:
    """x as `dtype`; gradients flow through between floating dtypes. Returns x itself when nothing changes."""
    target = np.dtype(dtype)
    if target.kind not in "fiub":
        raise TypeError(f"astype: expected a real or boolean dtype, got {target}")
    return x if x.dtype == target else AsType(target)(x)


@tensor_method("to")
def to(x: Tensor, device: Any) -> Tensor:
    """x on `device` ("cpu", "gpu", "gpu:1", ...); gradients flow back. Returns x itself when it is there already."""
    return x if x.device == as_device(device) else To(device)(x)


# Comparisons give plain boolean arrays: no gradient flows through them.


def _comparison(name: str) -> Callable[[Any, Any], Any]:
    def compare(a: Any, b: Any) -> Any:
        try:
            a, b = operands(name, a, b)
        except TypeError:
            return NotImplemented  # Python then says what cannot be compared; == and != fall back to identity
        if a.shape != b.shape:
            common_shape(name, a.shape, b.shape)
        with active(common_device(name, (a, b))):
            return getattr(a.data if isinstance(a, Tensor) else a, name)(b.data if isinstance(b, Tensor) else b)

    return compare


for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(Tensor, _name, _comparison(_name))
