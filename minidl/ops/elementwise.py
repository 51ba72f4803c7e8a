"""Operations on single elements: arithmetic, exponential and logarithm.

Each is a formula and its derivative, one under the other. Where an input was broadcast, `sum_to` adds up the gradient.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import Array, array_module, is_floating
from minidl.kernels.elementwise import elementwise
from minidl.ops.broadcast import broadcastable, floating, require_array, sum_to
from minidl.ops.choice import where
from minidl.tensor import tensor_method

# ------------------------------------------------------------------------------------------------------- arithmetic


class Add(Function):
    """y = a + b.  ∂L/∂a = ∂L/∂b = g."""

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return elementwise(array_module(a).add, a, b)

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


class PowerOfNumber(Function):
    """y = xⁿ for a plain number n.  ∂L/∂x = g · n · xⁿ⁻¹; for n = 0 it is 0, even at x = 0."""

    def __init__(self, n: float) -> None:
        self.n = n

    def forward(self, x):
        return (x**self.n).astype(x.dtype, copy=False)

    def backward(self, g, x):
        return g * 0 if self.n == 0 else g * self.n * x ** (self.n - 1)


class Power(Function):
    """y = a^b.  ∂L/∂a = g · b · a^(b−1),  ∂L/∂b = g · y · log a.

    At the corners the limits are taken: the derivative of a⁰ is 0 even at a = 0, and that of 0^b to b is 0. A negative
    power of an integer is cut to an integer: 1, −1 or (as in PyTorch, for 0 as well) 0.
    """

    def forward(self, a, b):
        dtype = np.promote_types(a.dtype, b.dtype)
        return _signed_power(a.astype(dtype, copy=False), b) if dtype.kind == "i" else a**b

    def backward(self, g, a, b):
        to_a = to_b = None
        zero = a == 0
        if self.needs[0]:
            reduced = where(zero & (b == 0), 1, b) - 1  # there the factor b is 0, whatever the power says
            to_a = sum_to(g * b * a**reduced, a.shape)
        if self.needs[1]:
            nonzero = where(zero, 1, a)
            to_b = sum_to(g * where(zero, 0, nonzero**b * log(nonzero)), b.shape)
        return to_a, to_b


def _signed_power(a: Array, b: Array) -> Array:
    """aᵇ of whole numbers. To a negative power that is 1/aⁿ rounded towards 0, as in PyTorch: 1, −1 or 0."""
    y = a ** array_module(a).maximum(b, 0)
    reciprocal = (a == 1) + (a == -1) * (1 - 2 * (b % 2))
    return where(b < 0, reciprocal, y).astype(y.dtype, copy=False)


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
        return g * sign(x)


def sign(x: Any) -> Any:
    """−1, 0 or 1, in the dtype of x; 0 for NaN."""
    return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)


# ------------------------------------------------------------------------------------------- exponential, logarithm


class Exp(Function):
    """y = eˣ.  ∂L/∂x = g · y."""

    @np.errstate(over="ignore")  # to ∞, as it should
    def forward(self, x):
        return array_module(x).exp(x)

    def backward(self, g, y):
        return g * y


class Log(Function):
    """y = ln x.  ∂L/∂x = g / x."""

    @np.errstate(divide="ignore")  # ln 0 = −∞
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


# ------------------------------------------------------------------------------------------------- public functions


@tensor_method("__add__", "__radd__")
def add(a: Any, b: Any) -> Any:
    """a + b, broadcast.

    >>> Tensor([[1.0], [2.0]]) + Tensor([10.0, 20.0])
    Tensor([[11., 21.],
            [12., 22.]], dtype=float32, device=cpu)
    """
    return Add()(*broadcastable("add", a, b))


@tensor_method("__sub__")
def subtract(a: Any, b: Any) -> Any:
    """a − b, broadcast.

    >>> 3.0 - Tensor([1.0, 2.0])
    Tensor([2., 1.], dtype=float32, device=cpu)
    """
    a, b = broadcastable("subtract", a, b)
    if a.dtype == b.dtype == np.bool_:
        raise TypeError("subtract: expected numbers, got booleans; convert them with .astype, or compare them with !=")
    return Subtract()(a, b)


@tensor_method("__mul__", "__rmul__")
def multiply(a: Any, b: Any) -> Any:
    """a · b, broadcast.

    >>> Tensor([1.0, 2.0]) * 3.0
    Tensor([3., 6.], dtype=float32, device=cpu)
    """
    return Multiply()(*broadcastable("multiply", a, b))


@tensor_method("__truediv__")
def divide(a: Any, b: Any) -> Any:
    """a / b, broadcast. The quotient of two integer tensors is float32.

    >>> Tensor([1, 3]) / 2
    Tensor([0.5, 1.5], dtype=float32, device=cpu)
    """
    if isinstance(b, numbers.Real):
        a = floating("divide", a)
    elif isinstance(a, numbers.Real):
        b = floating("divide", b)
    a, b = broadcastable("divide", a, b)
    return Divide()(floating("divide", a), floating("divide", b))


@tensor_method("__pow__")
def power(a: Any, b: Any) -> Any:
    """a to the power b, broadcast.

    Raises: ValueError for integers to a power that is a negative whole number: write `n ** -1.0`.

    >>> Tensor([1.0, 4.0]) ** 0.5
    Tensor([1., 2.], dtype=float32, device=cpu)
    """
    if isinstance(b, int | float) and (isinstance(b, float) or is_floating(getattr(a, "dtype", np.int64))):
        return PowerOfNumber(float(b))(floating("power", a))
    if isinstance(b, numbers.Integral) and b < 0:
        raise ValueError(f"power: integers to the power {b} are no integers; write {b}.0")
    return Power()(*broadcastable("power", a, b))


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
    """−x.

    >>> -Tensor([1.0, -2.0])
    Tensor([-1.,  2.], dtype=float32, device=cpu)
    """
    if x.dtype == np.bool_:
        raise TypeError("negative: expected numbers, got booleans; convert them with .astype, or write x == False")
    return Negative()(x)


@tensor_method("__abs__", "abs")
def absolute(x: Any) -> Any:
    """|x|; the derivative at 0 is 0.

    >>> minidl.absolute(Tensor([1.0, -2.0]))
    Tensor([1., 2.], dtype=float32, device=cpu)
    """
    require_array("absolute", x)
    return Absolute()(x)


@tensor_method("exp")
def exp(x: Any) -> Any:
    """eˣ.

    >>> minidl.exp(Tensor([0.0, -np.inf]))
    Tensor([1., 0.], dtype=float32, device=cpu)
    """
    return Exp()(floating("exp", x))


@tensor_method("log")
def log(x: Any) -> Any:
    """The natural logarithm of x.

    >>> minidl.log(Tensor([1.0, np.inf]))
    Tensor([ 0., inf], dtype=float32, device=cpu)
    """
    return Log()(floating("log", x))


@tensor_method("sqrt")
def sqrt(x: Any) -> Any:
    """The square root of x; its derivative at 0 is infinite.

    >>> minidl.sqrt(Tensor([1.0, 9.0]))
    Tensor([1., 3.], dtype=float32, device=cpu)
    """
    return Sqrt()(floating("sqrt", x))
