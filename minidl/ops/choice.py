"""Comparison and choice between elements: ==, <, where, maximum, minimum, clip.

What is chosen is a step function of the inputs, with derivative 0; so the gradient goes to whatever was chosen.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import active, array_module, is_array, is_floating, plain, weak_scalar
from minidl.ops.broadcast import broadcastable, common_shape, floating, operands, require_array, sum_to
from minidl.tensor import Tensor, raw, tensor_method


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
    """y = min(max(x, low), high); a bound may be None.

    The gradient goes to x where low ≤ x ≤ high, and otherwise to the bound that holds, if that is not a number: to low
    where x < low < high, to high where x > high or low > high. A NaN in x leaves it nowhere to go. (All as in PyTorch.)
    """

    def forward(self, x, low, high):
        xp = array_module(x)
        if not is_array(low) and not is_array(high):
            return xp.clip(x, low, high).astype(x.dtype, copy=False)
        y = x if low is None else xp.maximum(x, low)  # CuPy's clip passes over NaN, as a bound and where low > high
        return y if high is None else xp.minimum(y, high)

    def backward(self, g, x, low, high):
        to_x = to_low = to_high = None
        if self.needs[0]:
            inside = True if low is None else x >= low
            inside = inside if high is None else inside & (x <= high)
            to_x = sum_to(where(inside, g, 0), x.shape)
        if self.needs[1]:
            below = x < low if high is None else (x < low) & (low < high)
            to_low = sum_to(where(below, g, 0), low.shape)
        if self.needs[2]:
            above = x > high if low is None else (x > high) | (low > high)
            to_high = sum_to(where(above, g, 0), high.shape)
        return to_x, to_low, to_high


# ------------------------------------------------------------------------------------------------- public functions


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where `condition` (a boolean array or Tensor) holds, b elsewhere; all three broadcast.

    >>> x = Tensor([4.0, -9.0])
    >>> minidl.where(x > 0, x, 0.0)
    Tensor([4., 0.], dtype=float32, device=cpu)
    """
    if getattr(condition, "dtype", None) != np.bool_:
        kind = getattr(condition, "dtype", type(condition).__name__)
        raise TypeError(f"where: expected a boolean array as condition, got {kind}; write x != 0 or x > 0")
    a, b = operands("where", a, b)
    common_shape("where", condition.shape, a.shape, b.shape)
    return Where()(condition, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b, element by element; at a tie each gets half of the gradient.

    >>> minidl.maximum(Tensor([1.0, 5.0]), Tensor([4.0, 2.0]))
    Tensor([4., 5.], dtype=float32, device=cpu)
    """
    return Maximum()(*broadcastable("maximum", a, b))


def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b, element by element; at a tie each gets half of the gradient.

    >>> minidl.minimum(Tensor([1.0, 5.0]), Tensor([4.0, 2.0]))
    Tensor([1., 2.], dtype=float32, device=cpu)
    """
    return Minimum()(*broadcastable("minimum", a, b))


@tensor_method("clip")
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """x limited to low ≤ x ≤ high; None is no limit. Where low > high, it is high.

    low, high   numbers; or Tensors and arrays that broadcast with x, and get the gradient where they hold

    Raises: OverflowError where x is of whole numbers and its dtype holds none that is within the bounds.

    >>> Tensor([-2.0, 0.5, 2.0]).clip(-1.0, 1.0)
    Tensor([-1. ,  0.5,  1. ], dtype=float32, device=cpu)
    >>> Tensor([-2.0, 0.5, 2.0]).clip(high=Tensor([0.0, 1.0, 1.5]))
    Tensor([-2. ,  0.5,  1.5], dtype=float32, device=cpu)
    """
    bounds = [bound for bound in (low, high) if bound is not None]
    if not bounds:
        raise ValueError("clip: at least one of low and high must be given")
    whole = all(isinstance(bound, numbers.Integral) for bound in bounds)
    if whole:
        require_array("clip", x)
    if whole and not is_floating(x.dtype):
        low, high = _whole_bounds(low, high, x.dtype)
    elif _are_numbers_in_order(low, high):
        x = floating("clip", x)
        low, high = (None if bound is None else float(bound) for bound in (low, high))
    else:
        for bound in bounds:
            x, _ = operands("clip", x, bound)  # x is floating as soon as one bound is
        low, high = (None if bound is None else operands("clip", x, bound)[1] for bound in (low, high))
        common_shape("clip", *(one.shape for one in (x, low, high) if one is not None))
    return Clip()(x, low, high)


def _whole_bounds(low: Any, high: Any, dtype: np.dtype) -> tuple[int, int]:
    """Bounds of whole numbers that their dtype can hold. One that it cannot is no bound, or leaves nothing to hold."""
    least, most = (0, 1) if dtype == np.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    low, high = (least if low is None else int(low)), (most if high is None else int(high))
    if low > most or high < least:
        bound = low if low > most else high
        raise OverflowError(f"clip: {bound} does not fit into {dtype}; convert the tensor first, with .astype")
    low, high = max(low, least), min(high, most)
    return (bool(low), bool(high)) if dtype == np.bool_ else (low, high)


def _are_numbers_in_order(low: Any, high: Any) -> bool:
    """Whether the bounds are numbers (or None) with low ≤ high, which NaN never is."""
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    return isinstance(low, numbers.Real) and isinstance(high, numbers.Real) and bool(low <= high)


# Comparisons give plain boolean arrays: no gradient flows through them.


def _comparison(name: str, op: str) -> Callable[[Any, Any], Any]:
    def compare(a: Any, b: Any) -> Any:
        number = isinstance(b, numbers.Real | np.bool_)
        if not number and not isinstance(b, Tensor) and not is_array(b):
            return NotImplemented  # Python then says what cannot be compared; == and != fall back to identity
        if not number and a.shape != b.shape:
            common_shape(op, a.shape, b.shape)
        if is_floating(a.dtype) and (number or (is_array(b) and b.ndim == 0)):
            b = weak_scalar(b, raw(a))  # 0.1 in float32 is not 0.1 in float64
        with active(common_device(op, (a, b))):
            return getattr(raw(a), name)(raw(plain(b)))

    return compare


for _name, _op in {
    "__eq__": "equal", "__ne__": "not_equal", "__lt__": "less", "__le__": "less_equal", "__gt__": "greater",
    "__ge__": "greater_equal",
}.items():  # fmt: skip
    setattr(Tensor, _name, _comparison(_name, _op))
