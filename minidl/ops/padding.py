"""Padding: a margin around a tensor.

    constant     v v | a b c d | v v        reflect     c b | a b c d | c b
    replicate    a a | a b c d | d d        circular    c d | a b c d | a b

A constant margin comes from nowhere, and its gradient goes nowhere. The others are made of copies of elements inside,
and to those their gradients are added.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.ops.axes import on_axis
from minidl.ops.broadcast import require_array
from minidl.ops.options import check_numbers
from minidl.tensor import tensor_method

Pairs = tuple[tuple[int, int], ...]  # (before, after) of every axis

# Of which element of an axis of size n, outside of which i lies, element i is a copy.
COPIES: dict[str, Callable[[int, int], int]] = {
    "reflect": lambda i, n: n - 1 - abs(n - 1 - abs(i)),
    "replicate": lambda i, n: min(max(i, 0), n - 1),
    "circular": lambda i, n: i % n,
}


class Pad(Function):
    """x with a margin of a constant value.  The gradient is g without the margin."""

    def __init__(self, margin: Pairs, value: float) -> None:
        self.margin, self.value = margin, value

    def forward(self, x):
        return array_module(x).pad(x, self.margin, constant_values=self.value)

    def backward(self, g):
        return g[_inside(self.margin, g.shape)]


class PadWithCopies(Function):
    """x with a margin of copies of its own elements.  The gradient is g with the margin added where it came from."""

    def __init__(self, margin: Pairs, mode: str) -> None:
        self.margin, self.mode = margin, mode

    def forward(self, x):
        shape = tuple(before + n + after for n, (before, after) in zip(x.shape, self.margin, strict=True))
        y = array_module(x).empty(shape, dtype=x.dtype)
        y[_inside(self.margin, shape)] = x
        for copy, original in _copies(self.margin, self.mode, shape):
            y[copy] = y[original]
        return y

    def backward(self, g):
        return PadWithCopiesAdjoint(self.margin, self.mode)(g)


class PadWithCopiesAdjoint(Function):
    """g without its margin, each element of which is added to the one that it was a copy of."""

    def __init__(self, margin: Pairs, mode: str) -> None:
        self.margin, self.mode = margin, mode

    def forward(self, g):
        y = g.copy()
        for copy, original in reversed(list(_copies(self.margin, self.mode, g.shape))):
            y[original] += y[copy]
        return y[_inside(self.margin, g.shape)]

    def backward(self, u):
        return PadWithCopies(self.margin, self.mode)(u)


def _inside(margin: Pairs, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where x stands in a padded tensor of the given shape."""
    return tuple(slice(before, n - after) for n, (before, after) in zip(shape, margin, strict=True))


def _copies(margin: Pairs, mode: str, shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    """Pairs of places in a padded tensor of the given shape: a row of the margin, and the row it is a copy of.

    One axis after the other, each with the margins of those before it: so the corners are filled, too.
    """
    for axis, (before, after) in enumerate(margin):
        n = shape[axis] - before - after
        for i in (*range(-before, 0), *range(n, n + after)):
            yield on_axis(axis, before + i), on_axis(axis, before + COPIES[mode](i, n))


# ------------------------------------------------------------------------------------------------- public functions


@tensor_method("pad")
def pad(x: Any, pad: int | Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> Any:
    """x with a margin around it; a negative width cuts elements off.

    pad    a pair (before, after) for every axis of x; for images (N, H, W, C) also ((top, bottom), (left, right)), or
           one integer for all four sides
    mode   what the margin is made of: "constant" (value), "reflect" (x mirrored at its outermost elements, which stay
           single; each width must be smaller than the axis), "replicate" (the outermost elements), or "circular" (the
           opposite side; each width at most the axis)

    As in PyTorch, "reflect" and "replicate" cut off last, and the margin may show what was cut; the others cut first.

    Raises: ValueError for widths that are not such pairs (PyTorch's flat list is not), for a margin too wide for the
    mode, and where too much is cut off.

    >>> F.pad(Tensor([[1, 2, 3]]), ((0, 0), (2, 1)), mode="reflect")
    Tensor([[3, 2, 1, 2, 3, 2]], dtype=int64, device=cpu)
    """
    require_array("pad", x)
    pairs = as_pairs("pad", pad, x.ndim)
    if not isinstance(mode, str) or mode not in ("constant", *COPIES):
        raise ValueError(f"pad: mode must be one of {', '.join(['constant', *COPIES])}; got {mode!r}")
    check_numbers("pad", value=value)
    if mode != "constant" and value != 0:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    _check_widths(pairs, mode, x.shape)
    if mode in ("reflect", "replicate"):
        return _cut(_extended(x, pairs, mode, value), pairs)
    return _extended(_cut(x, pairs), pairs, mode, value)


def as_pairs(op: str, pad: Any, ndim: int) -> Pairs:
    """`pad` as a pair (before, after) for each of ndim axes."""
    images = ndim == 4
    given = ((pad, pad), (pad, pad)) if images and isinstance(pad, numbers.Integral) else pad
    pairs: Pairs | None
    try:
        pairs = tuple((operator.index(before), operator.index(after)) for before, after in given)
    except (TypeError, ValueError):
        pairs = None
    if images and pairs is not None and len(pairs) == 2:
        return ((0, 0), *pairs, (0, 0))
    if pairs is None or len(pairs) != ndim:
        raise ValueError(
            f"{op}: expected {ndim} pairs (before, after), one an axis"
            + (", or for images ((top, bottom), (left, right)) or one integer" if images else "")
            + f"; got {pad!r}. PyTorch's (left, right, top, bottom) is written ((top, bottom), (left, right)) here"
        )
    return pairs


def _check_widths(pairs: Pairs, mode: str, shape: tuple[int, ...]) -> None:
    """Raises: ValueError where the mode cannot pad an axis so wide, or nothing would be left of it."""
    for axis, (size, (before, after)) in enumerate(zip(shape, pairs, strict=True)):
        if before == after == 0:
            continue
        left = size + min(before, 0) + min(after, 0)  # what is there when cutting comes first
        if (size + before + after if mode in ("reflect", "replicate") else left) < 0:
            raise ValueError(f"pad: widths {(before, after)} cut off too much of axis {axis}, which has size {size}")
        everything = math.inf if size else 0
        widest = {"constant": math.inf, "reflect": size - 1, "replicate": everything, "circular": left}[mode]
        if max(before, after) > widest:
            raise ValueError(
                f"pad: mode {mode!r} can add at most {widest} to a side of axis {axis}, which has size {size}; "
                f"got widths {(before, after)}"
            )


def _extended(x: Any, pairs: Pairs, mode: str, value: float) -> Any:
    """x with the margin of positive widths."""
    margin = tuple((max(before, 0), max(after, 0)) for before, after in pairs)
    if not any(n for pair in margin for n in pair):
        return x
    return Pad(margin, value)(x) if mode == "constant" else PadWithCopies(margin, mode)(x)


def _cut(x: Any, pairs: Pairs) -> Any:
    """x without what negative widths cut off."""
    if all(n >= 0 for pair in pairs for n in pair):
        return x
    return x[tuple(slice(max(-before, 0), min(after, 0) or None) for before, after in pairs)]
