"""Losses between an input and a target of one shape: how far the one is from the other, element by element.

Distances (mean squared, absolute, Huber), and how unlikely targets are under predicted probabilities. Nothing
broadcasts: (N, 1) against (N,) would silently become (N, N). A loss has the dtype of its input.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import Array, active, array_module, device_of, plain
from minidl.ops.activation import Softplus
from minidl.ops.broadcast import common_shape, floating
from minidl.ops.choice import clip, maximum, where
from minidl.ops.elementwise import absolute, exp, log
from minidl.tensor import raw


class Huber(Function):
    """y = d² / 2 where |d| < δ, else δ · (|d| − δ / 2).  ∂L/∂d = g · min(max(d, −δ), δ)."""

    def __init__(self, delta: float) -> None:
        self.delta = delta

    def forward(self, d):
        inner = array_module(d).minimum(abs(d), d.dtype.type(self.delta))  # the part of |d| that counts squared
        return inner * (abs(d) - inner * d.dtype.type(0.5))

    def backward(self, g, d):
        return g * clip(d, -self.delta, self.delta)


class BinaryCrossEntropy(Function):
    """l = −t · ln x − (1 − t) · ln(1 − x), where no logarithm is less than −100.

    ∂l/∂x = (x − t) / (x · (1 − x)), divided by no less than 10⁻¹²;  ∂l/∂t = ln(1 − x) − ln x.
    """

    def forward(self, x, t):
        log_x, log_rest = _bounded_logs(x)
        return (t - 1) * log_rest - t * log_x

    def backward(self, g, x, t):
        return (
            g * (x - t) / _variance(x) if self.needs[0] else None,
            -g * BoundedLogit()(x) if self.needs[1] else None,
        )


class BoundedLogit(Function):
    """y = ln x − ln(1 − x), where no logarithm is less than −100.  ∂L/∂x = g / (x · (1 − x))."""

    def forward(self, x):
        log_x, log_rest = _bounded_logs(x)
        return log_x - log_rest

    def backward(self, g, x):
        return g / _variance(x)


def _bounded_logs(x: Array) -> tuple[Array, Array]:
    """ln x and ln(1 − x), at least −100."""
    xp, bound = array_module(x), x.dtype.type(-100)
    with np.errstate(divide="ignore"):  # ln 0 = −∞
        return xp.maximum(xp.log(x), bound), xp.maximum(xp.log1p(-x), bound)


def _variance(x: Any) -> Any:
    """x · (1 − x), the variance of an event of probability x; at least 10⁻¹², so that it can be divided by."""
    return maximum(x * (1 - x), 1e-12)


# -------------------------------------------------------------------------------------------------------- distances


def mse_loss(x: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """(x − target)², for x and target of one shape.

    reduction   "mean", "sum", or "none": element by element
    weight      of the shape of x: each square is multiplied by it, and the mean divides by Σ weight

    Raises: ValueError for shapes that differ.

    >>> F.mse_loss(Tensor([1.0, 2.0]), Tensor([0.0, 5.0]))
    Tensor(5., dtype=float32, device=cpu)
    """
    x, target, weight = _operands("mse_loss", reduction, x, target, weight)
    difference = x - target
    return _weighted(difference * difference, weight, reduction)


def l1_loss(x: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """|x − target|, with reduction and weight as in `mse_loss`; the derivative where both are equal is 0.

    >>> F.l1_loss(Tensor([1.0, 2.0]), Tensor([0.0, 5.0]))
    Tensor(2., dtype=float32, device=cpu)
    """
    x, target, weight = _operands("l1_loss", reduction, x, target, weight)
    return _weighted(absolute(x - target), weight, reduction)


def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """|d| − β/2 for d = x − target, but d² / 2β where |d| < β (Girshick, Fast R-CNN, arXiv 1504.08083, eq. 3).

    beta  at least 0, which makes it `l1_loss`

    >>> F.smooth_l1_loss(Tensor([1.0, 2.0]), Tensor([0.0, 5.0]), reduction="none")
    Tensor([0.5, 2.5], dtype=float32, device=cpu)
    """
    if not isinstance(beta, numbers.Real) or not beta >= 0:
        raise ValueError(f"smooth_l1_loss: expected beta of at least 0, got {beta!r}")
    x, target, _ = _operands("smooth_l1_loss", reduction, x, target)
    return reduced(Huber(beta)(x - target) / float(beta) if beta else absolute(x - target), reduction)


def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """d² / 2 for d = x − target, but δ · (|d| − δ/2) where |d| ≥ δ (Huber 1964, Ann. Math. Statist. 35).

    weight  of the shape of x: each loss is multiplied by it; here the mean still divides by their number

    >>> F.huber_loss(Tensor([1.0, 2.0]), Tensor([0.0, 5.0]), reduction="none", delta=2.0)
    Tensor([0.5, 4. ], dtype=float32, device=cpu)
    """
    if not isinstance(delta, numbers.Real) or not delta > 0:
        raise ValueError(f"huber_loss: expected delta above 0, got {delta!r}")
    x, target, weight = _operands("huber_loss", reduction, x, target, weight)
    losses = Huber(delta)(x - target)
    return reduced(losses if weight is None else losses * weight, reduction)


# ---------------------------------------------------------------------------------------------------- probabilities


def binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """−t · ln x − (1 − t) · ln(1 − x) for probabilities x and targets t. No logarithm counts as less than −100.

    Where x is the sigmoid of scores, better give those to `binary_cross_entropy_with_logits`, which needs no bound.

    weight  multiplies each loss; it is broadcast to the shape of x

    Raises: ValueError for shapes that differ, and for an x or a target outside [0, 1]. On a GPU, where looking would
    mean waiting, such an element gives NaN instead.

    >>> F.binary_cross_entropy(Tensor([0.5, 0.0]), Tensor([1.0, 1.0]), reduction="none")
    Tensor([  0.6931472, 100.       ], dtype=float32, device=cpu)
    """
    x, target, _ = _operands("binary_cross_entropy", reduction, x, target)
    weight = _fitting_weight("binary_cross_entropy", "weight", weight, x)
    x, target = _probabilities("inputs", x), _probabilities("targets", target)
    losses = BinaryCrossEntropy()(x, target)
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """−p · t · ln σ(x) − (1 − t) · ln(1 − σ(x)) for scores x and targets t, which are usually from 0 to 1.

    weight      multiplies each loss
    pos_weight  p, which lets the class 1 count more (p > 1) or less; for scores (N, K), often one a class, (K,)

    Both are broadcast to the shape of x.

    Raises: ValueError for shapes that differ or do not fit.

    >>> F.binary_cross_entropy_with_logits(Tensor([0.0, -800.0]), Tensor([1.0, 1.0]), reduction="none")
    Tensor([6.931472e-01, 8.000000e+02], dtype=float32, device=cpu)
    """
    op = "binary_cross_entropy_with_logits"
    x, target, _ = _operands(op, reduction, x, target)
    weight, pos_weight = _fitting_weight(op, "weight", weight, x), _fitting_weight(op, "pos_weight", pos_weight, x)
    positive = target if pos_weight is None else target * pos_weight
    losses = positive * Softplus()(-x) + (1 - target) * Softplus()(x)  # −ln σ(x) and −ln(1 − σ(x)), in both tails
    return reduced(losses if weight is None else losses * weight, reduction)


def kl_div(x: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """t · (ln t − x): how far the distribution t is from the one with **log**-probabilities x (Kullback–Leibler).

    reduction   "batchmean" divides the sum by the length of the first axis, which gives the divergence by its
                definition; "mean" divides by the number of elements, as its name says and as in PyTorch
    log_target  the target is given as ln t

    Where t = 0, t · ln t is 0, and so is its derivative, which has no limit there.

    >>> F.kl_div(Tensor([[0.5, 0.5]]).log(), Tensor([[1.0, 0.0]]), reduction="batchmean")
    Tensor(0.6931472, dtype=float32, device=cpu)
    """
    x, target, _ = _operands("kl_div", reduction, x, target, reductions=(*REDUCTIONS, "batchmean"))
    t = exp(target) if log_target else target
    log_t = where(t == 0, 0, target) if log_target else log(where(t == 0, 1, t))
    losses = t * (log_t - x)
    if reduction == "batchmean":
        return losses.sum() / ((x.shape[0] or math.nan) if x.ndim else 1)
    return reduced(losses, reduction)


# --------------------------------------------------------------------------------------- what losses have in common

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(op: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raises: ValueError for a reduction that does not exist."""
    if reduction not in allowed:
        names = [f'"{name}"' for name in allowed]
        raise ValueError(f"{op}: reduction must be {', '.join(names[:-1])} or {names[-1]}, got {reduction!r}")


def reduced(losses: Any, reduction: str) -> Any:
    """The mean of the losses (of none: NaN), their sum, or ("none") the losses."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    mean = losses.sum() / (losses.size or math.nan)
    return mean if mean.dtype == losses.dtype else mean.astype(losses.dtype)  # NumPy 1 made a float32 scalar float64


def mean_over(losses: Any, counted: Any) -> Any:
    """Σ losses / counted, where `counted` was computed and may be 0: then it is NaN, and the gradient 0."""
    with active(device_of(raw(losses))):
        nothing = counted == 0
        return where(nothing, math.nan, losses.sum() / where(nothing, 1, counted))


def _weighted(losses: Any, weight: Any, reduction: str) -> Any:
    if weight is None:
        return reduced(losses, reduction)
    losses = losses * weight
    return mean_over(losses, weight.sum()) if reduction == "mean" else reduced(losses, reduction)


def _operands(
    op: str, reduction: str, x: Any, target: Any, weight: Any = None, reductions: tuple[str, ...] = REDUCTIONS
) -> tuple[Any, Any, Any]:
    """x, target and weight, checked, in one floating dtype: that of x."""
    check_reduction(op, reduction, reductions)
    x, target = floating(op, plain(x)), floating(op, plain(target))
    weight = None if weight is None else floating(op, plain(weight))
    for name, other in (("target", target), ("weight", weight)):
        if other is not None and other.shape != x.shape:
            raise ValueError(f"{op}: input {x.shape} and {name} {other.shape} must have one shape; nothing broadcasts")
    with active(common_device(op, (x, target, weight))):
        return x, target.astype(x.dtype), None if weight is None else weight.astype(x.dtype)


def _fitting_weight(op: str, name: str, weight: Any, x: Any) -> Any:
    """A weight in the dtype of x. Raises: ValueError when it does not broadcast to the shape of x."""
    if weight is None:
        return None
    weight = floating(op, plain(weight))
    if common_shape(op, weight.shape, x.shape) != x.shape:
        raise ValueError(f"{op}: {name} {weight.shape} cannot be repeated to the shape of the input, {x.shape}")
    with active(common_device(op, (x, weight))):
        return weight.astype(x.dtype)


def _probabilities(name: str, values: Any) -> Any:
    """The values, which must be from 0 to 1; on a GPU, NaN where they are not."""
    xp = array_module(raw(values))
    with active(device_of(raw(values))):
        inside = (values >= 0) & (values <= 1)
        if xp is not np:
            return where(inside, values, math.nan)
    if not inside.all():
        wrong = raw(values)[~inside].flat[0]
        raise ValueError(f"binary_cross_entropy: expected {name} from 0 to 1, got {wrong}")
    return values
