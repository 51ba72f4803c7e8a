"""The losses of classification: how unlikely the model found the right class.

Classes are on the last axis, as all features are: scores (N, K) with a class for each row, (N, H, W, K) with one for
each pixel. (PyTorch has the classes on axis 1.)
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import Array, active, array_module, is_floating, plain
from minidl.ops.broadcast import floating, require_array
from minidl.ops.choice import where
from minidl.ops.loss import check_reduction, mean_over, reduced
from minidl.ops.options import check_probability
from minidl.ops.softmax import log_softmax, softmax
from minidl.tensor import raw


class SoftmaxCrossEntropy(Function):
    """l = −Σₖ qₖ · ln softmax(x)ₖ over the last axis, with 0 · ln 0 = 0.  x and q (..., K) → l (...).

    ∂l/∂x = softmax(x) · Σₖ qₖ − q: for a distribution q simply softmax(x) − q.  ∂l/∂q = −ln softmax(x).
    """

    def forward(self, x, q):
        return (q * array_module(x).where(q == 0, x.dtype.type(0), -log_softmax(x))).sum(axis=-1)

    def backward(self, g, x, q):
        g = g[..., None]  # (..., 1)
        return (
            g * (softmax(x) * q.sum(axis=-1, keepdims=True) - q) if self.needs[0] else None,
            -g * log_softmax(x) if self.needs[1] else None,
        )


def smoothed(q: Any, epsilon: float) -> Any:
    """(1 − ε) · q + ε / K: distributions q (..., K) over K classes, mixed with the even one.

    Source: Szegedy et al., arXiv 1512.00567, §7.
    """
    return q * (1 - epsilon) + epsilon / q.shape[-1]


# ------------------------------------------------------------------------------------------------- public functions


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The cross-entropy between targets and softmax(x), classes on the last axis of x (..., K).

    target           class indices (...), integers from 0 to K − 1; or probabilities (..., K), floating
    weight           (K,): how much each class counts
    ignore_index     a target that contributes neither loss nor gradient (class indices only)
    reduction        "mean": over what is not ignored, weighted where there are weights; over the rows (...) for
                     probabilities; over nothing NaN. "sum"; or "none", (...)
    label_smoothing  ε: the target becomes (1 − ε) · target + ε / K, see `smoothed`

    Raises: ValueError for shapes that do not match (nothing broadcasts) and for a class that does not exist. On a GPU,
    where looking would mean waiting, such a class gives NaN instead.

    >>> F.cross_entropy(Tensor([[0.0, 0.0], [0.0, 2.0]]), [1, 1], reduction="none")
    Tensor([0.6931472 , 0.12692805], dtype=float32, device=cpu)
    """
    op = "cross_entropy"
    x, target, weight = _operands(op, x, target, weight, ignore_index, reduction)
    _check_probabilities(target, x.shape, ignore_index)
    check_probability(op, label_smoothing=label_smoothing)
    by_index = not is_floating(target.dtype)
    K = x.shape[-1]
    with active(common_device(op, (x, target, weight))):
        if by_index:
            index, share = _classes(op, raw(target), K, ignore_index, x.dtype)
            q = (index[..., None] == array_module(index).arange(K)).astype(x.dtype)  # (..., K)
        else:
            q = target.astype(x.dtype)
        if label_smoothing:
            q = smoothed(q, float(label_smoothing))  # a NumPy float64 would make q one
        if weight is not None:
            q = q * weight
        if by_index:
            q = q * share[..., None]
            counted = (share if weight is None else share * weight[index]).sum()
    losses = SoftmaxCrossEntropy()(x, q)
    return mean_over(losses, counted) if by_index and reduction == "mean" else reduced(losses, reduction)


def nll_loss(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """−x[..., target] for log-probabilities x (..., K) and classes target (...): `cross_entropy` after `log_softmax`.

    weight, ignore_index, reduction, and what a wrong class does: as in `cross_entropy`

    >>> F.nll_loss(F.log_softmax(Tensor([[0.0, 0.0], [0.0, 2.0]])), [1, 1])
    Tensor(0.4100376, dtype=float32, device=cpu)
    """
    op = "nll_loss"
    x, target, weight = _operands(op, x, target, weight, ignore_index, reduction)
    if is_floating(target.dtype):
        raise TypeError(f"{op}: expected class indices, which are integers, got a target of {target.dtype}")
    rows, K = target.size, x.shape[-1]
    with active(common_device(op, (x, target, weight))):
        index, share = _classes(op, raw(target), K, ignore_index, x.dtype)
        chosen = x.reshape(rows, K)[array_module(index).arange(rows), index.reshape(rows)]  # (rows,)
        losses = where(share == 0, 0, -chosen.reshape(index.shape))  # (...); an ignored −∞ times 0 would be NaN
        share = share if weight is None else share * weight[index]
        losses, counted = losses * share, share.sum()
    return mean_over(losses, counted) if reduction == "mean" else reduced(losses, reduction)


# ----------------------------------------------------------------------------------------- what both have in common


def _operands(op: str, x: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> tuple[Any, Any, Any]:
    """Scores, targets as an array, and weights in the dtype of the scores, all of shapes that fit."""
    check_reduction(op, reduction)
    if not isinstance(ignore_index, numbers.Integral):
        raise TypeError(f"{op}: expected a whole number as ignore_index, got {ignore_index!r}")
    x = floating(op, x)
    target = plain(target) if hasattr(target, "dtype") else np.asarray(target)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{op}: expected scores (..., K) for at least one class, got shape {x.shape}")
    if not is_floating(target.dtype) and target.shape != x.shape[:-1]:
        raise ValueError(
            f"{op}: for scores {x.shape} expected class indices of shape {x.shape[:-1]}, "
            f"got {target.shape}; classes are on the last axis"
        )
    if weight is None:
        return x, target, None
    require_array(op, weight)
    if weight.shape != x.shape[-1:]:
        raise ValueError(f"{op}: expected a weight of shape {x.shape[-1:]}, one a class, got {weight.shape}")
    with active(common_device(op, (x, target, weight))):
        return x, target, weight.astype(x.dtype)


def _check_probabilities(target: Any, shape: tuple[int, ...], ignore_index: int) -> None:
    if not is_floating(target.dtype):
        return
    if target.shape != shape:
        raise ValueError(
            f"cross_entropy: probabilities must have the shape of x, {shape}, got {target.shape}; class indices are "
            "integers"
        )
    if ignore_index >= 0:
        raise ValueError(
            f"cross_entropy: ignore_index={ignore_index} is for class indices; the target is probabilities"
        )


def _classes(op: str, target: Array, K: int, ignore_index: int, dtype: Any) -> tuple[Array, Array]:
    """For each target (...) a class that exists, and how much it counts: 1, or 0 if ignored, or NaN if it is wrong."""
    xp = array_module(target)
    target = target.astype(np.int64)  # bytes could not be compared with −100
    ignored = target == ignore_index
    wrong = ((target < 0) | (target >= K)) & ~ignored
    if xp is np and wrong.any():
        raise ValueError(f"{op}: class {target[wrong].flat[0]} does not exist among {K} classes")
    share = xp.where(wrong, dtype.type(math.nan), (~ignored).astype(dtype))
    return xp.where(ignored | wrong, 0, target), share
