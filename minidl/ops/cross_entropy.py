"""The losses of classification: how unlikely the model found the right class."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import Array, active, array_module, is_floating, plain
from minidl.ops.broadcast import floating, require_array
from minidl.ops.loss import check_reduction
from minidl.ops.softmax import log_softmax, softmax
from minidl.tensor import raw


class SoftmaxCrossEntropy(Function):
    """l = −Σₖ qₖ · ln softmax(x)ₖ over the last axis, with 0 · ln 0 = 0.  x and q (..., K) → l (...).

    ∂l/∂x = softmax(x) · Σₖ qₖ − q: for a distribution q simply softmax(x) − q.  ∂l/∂q = −ln softmax(x).
    """

    def forward(self, x, q):
        return -(q * array_module(x).where(q == 0, x.dtype.type(0), log_softmax(x))).sum(axis=-1)

    def backward(self, g, x, q):
        g = g[..., None]  # (..., 1)
        return (
            g * (softmax(x) * q.sum(axis=-1, keepdims=True) - q) if self.needs[0] else None,
            -g * log_softmax(x) if self.needs[1] else None,
        )


# ----------------------------------------------------------------------------------------------------- public functions


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
    reduction        "mean": over what is not ignored, weighted where there are weights; "sum"; or "none", (...)
    label_smoothing  ε: the target becomes (1 − ε) · target + ε / K (Szegedy et al., arXiv 1512.00567, §7)

    Raises: ValueError for shapes that do not match (nothing broadcasts) and for a class that does not exist. On a GPU,
    where looking would mean waiting, such a class gives NaN instead.
    """
    x = floating("cross_entropy", x)
    check_reduction("cross_entropy", reduction)
    target = plain(target) if hasattr(target, "dtype") else np.asarray(target)
    if weight is not None:
        require_array("cross_entropy", weight)
    _check_cross_entropy(x, target, weight, label_smoothing)
    K = x.shape[-1]
    with active(common_device("cross_entropy", (x, target, weight))):
        weight = None if weight is None else raw(weight).astype(x.dtype)
        if is_floating(target.dtype):
            q, present, counted = target.astype(x.dtype), 1.0, x.size // K
        else:
            q = _one_hot(raw(target), K, ignore_index, x.dtype)
            present = q.sum(axis=-1, keepdims=True)  # (..., 1): 1, or 0 where ignored
            counted = (q if weight is None else q * weight).sum()
        if label_smoothing:
            q = q * (1 - label_smoothing) + present * (label_smoothing / K)
        if weight is not None:
            q = q * weight
    losses = SoftmaxCrossEntropy()(x, q)
    if reduction == "mean":
        return losses.sum() / counted
    return losses.sum() if reduction == "sum" else losses


def _check_cross_entropy(x: Any, target: Any, weight: Any, label_smoothing: float) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: expected label_smoothing from 0 to 1, got {label_smoothing!r}")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"cross_entropy: expected scores (..., K) for at least one class, got shape {x.shape}")
    if is_floating(target.dtype) and target.shape != x.shape:
        raise ValueError(f"cross_entropy: probabilities must have the shape of x, {x.shape}, got {target.shape}")
    if not is_floating(target.dtype) and target.shape != x.shape[:-1]:
        raise ValueError(
            f"cross_entropy: for scores {x.shape} expected class indices of shape {x.shape[:-1]}, "
            f"got {target.shape}; classes are on the last axis"
        )
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"cross_entropy: expected a weight of shape {x.shape[-1:]}, one a class, got {weight.shape}")


def _one_hot(indices: Array, K: int, ignore_index: int, dtype: Any) -> Array:
    """Rows of K zeros with a one at each index (..., K); zeros only where it is ignored."""
    xp = array_module(indices)
    ignored = indices == ignore_index
    wrong = ((indices < 0) | (indices >= K)) & ~ignored
    if xp is np and wrong.any():
        raise ValueError(f"cross_entropy: class {indices[wrong].flat[0]} does not exist among {K} classes")
    q = (indices[..., None] == xp.arange(K)).astype(dtype)  # (..., K)
    q = xp.where(wrong[..., None], q.dtype.type(np.nan), q)
    return xp.where(ignored[..., None], q.dtype.type(0), q)
