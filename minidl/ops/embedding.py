"""Integers that name things (words, classes): as rows of a table, or as a one among zeros.

The two are one: `one_hot(x, V) @ weight` is `embedding(x, weight)`, which only reads the rows.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from minidl.autograd import common_device
from minidl.backend import Array, active, array_module, device_of
from minidl.ops.broadcast import require_array
from minidl.ops.indexing import GetItem, PutItem, positions_along, require_integers
from minidl.tensor import constant_like, raw


class Embedding(GetItem):
    """y = weight[index], the gradient weighed row by row:  ∂L/∂weight = 0, then ∂L/∂weight[index] += g · share."""

    def __init__(self, index: Any, share: Array) -> None:
        super().__init__(index)
        self.share = share  # (..., 1)

    def backward(self, g):
        return super().backward(g * self.share)


# ------------------------------------------------------------------------------------------------- public functions


def embedding(x: Any, weight: Any, padding_idx: int | None = None, *, scale_grad_by_freq: bool = False) -> Any:
    """Rows of a table: weight[x].  x integers (...), weight (V, D) → (..., D).

    padding_idx         a row that gets no gradient; a negative one counts from the end
    scale_grad_by_freq  divide the gradient that arrives through each element of x by how often its row occurs in x

    PyTorch's max_norm, which changes the weight, and sparse gradients are left out.

    Raises: IndexError for an integer that is not from 0 to V − 1 (on a GPU it wraps around).

    >>> F.embedding(np.array([2, 0]), Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    Tensor([[5., 6.],
            [1., 2.]], dtype=float32, device=cpu)
    """
    op = "embedding"
    require_array(op, weight)
    if weight.ndim != 2:
        raise ValueError(f"{op}: expected a weight (V, D), one row for each integer, got shape {weight.shape}")
    V = weight.shape[0]
    padding = None if padding_idx is None else normalized_row(op, padding_idx, V)
    with active(common_device(op, (x, weight))):
        rows = positions_along(op, x, weight.shape, 0)
        if padding is None and not scale_grad_by_freq:
            return GetItem((rows,))(weight)
        share = array_module(rows).ones(rows.shape, dtype=weight.dtype)
        if scale_grad_by_freq:
            share = share / PutItem((rows,), (V,))(share)[rows]  # 1 / how often the row occurs
        if padding is not None:
            share = share * (rows != padding)
        return Embedding((rows,), share[..., None])(weight)


def normalized_row(op: str, padding_idx: int, V: int) -> int:
    """`padding_idx` as a number from 0 to V − 1."""
    if not isinstance(padding_idx, numbers.Integral) or not -V <= padding_idx < V:
        raise ValueError(f"{op}: padding_idx={padding_idx!r} is not one of the {V} rows of the weight")
    return int(padding_idx) % V


def one_hot(x: Any, num_classes: int = -1) -> Any:
    """Zeros, and a one at the place that each integer of x names.  x (...) → (..., num_classes), int64.

    With num_classes=-1 there are as many as the largest integer needs; to find it, the host looks at x, and waits for a
    GPU. Otherwise a GPU is not waited for: an integer that is no class gives a row of zeros there.

    Raises: ValueError for a class that does not exist.

    >>> F.one_hot(np.array([2, 0]), 3)
    array([[0, 0, 1],
           [1, 0, 0]])
    """
    require_integers("one_hot", x)
    if not isinstance(num_classes, numbers.Integral) or (num_classes != -1 and num_classes < 1):
        raise ValueError(f"one_hot: expected num_classes of at least 1, or -1 to count them, got {num_classes!r}")
    if num_classes == -1 and x.size == 0:
        raise ValueError(f"one_hot: the classes of an input of shape {x.shape} cannot be counted; give num_classes")
    classes = raw(x)
    with active(device_of(classes)):
        xp = array_module(classes)
        if x.size and (num_classes == -1 or xp is np):
            smallest, largest = int(classes.min()), int(classes.max())
            num_classes = largest + 1 if num_classes == -1 else num_classes
            if smallest < 0 or largest >= num_classes:
                wrong = smallest if smallest < 0 else largest
                raise ValueError(f"one_hot: class {wrong} does not exist among {num_classes} classes, numbered from 0")
        y = (classes[..., None] == xp.arange(num_classes)).astype(np.int64)  # (..., num_classes)
    return constant_like(x, y)
