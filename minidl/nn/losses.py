"""Losses as modules, which hold their options: see `minidl.ops.loss` and `minidl.ops.cross_entropy`.

Weights are buffers: they move with `.to(device)` and are saved in `state_dict()`, but they are not learnt.
"""

from __future__ import annotations

from typing import Any

from minidl import functional as F
from minidl.nn.module import Module
from minidl.ops.loss import REDUCTIONS, check_reduction
from minidl.tensor import Tensor


class Loss(Module):
    """What all losses have: a reduction."""

    reductions: tuple[str, ...] = REDUCTIONS  # that exist

    def __init__(self, reduction: str) -> None:
        super().__init__()
        check_reduction(type(self).__name__, reduction, self.reductions)
        self.reduction = reduction


class WeightedLoss(Loss):
    """A loss with a weight, which may be None."""

    weight: Tensor | None

    def __init__(self, weight: Tensor | None, reduction: str) -> None:
        super().__init__(reduction)
        self._register("weight", weight)

    def _register(self, name: str, value: Tensor | None) -> None:
        if value is None:
            setattr(self, name, None)
        else:
            self.register_buffer(name, value)


class CrossEntropyLoss(WeightedLoss):
    """`functional.cross_entropy` of scores (..., K) and class indices (...) or probabilities (..., K)."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, x: Any, target: Any) -> Any:
        return F.cross_entropy(x, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(WeightedLoss):
    """`functional.nll_loss` of log-probabilities (..., K) and class indices (...)."""

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, x: Any, target: Any) -> Any:
        return F.nll_loss(x, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(Loss):
    """`functional.mse_loss`: (x − target)²."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, x: Any, target: Any) -> Any:
        return F.mse_loss(x, target, self.reduction)


class L1Loss(Loss):
    """`functional.l1_loss`: |x − target|."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, x: Any, target: Any) -> Any:
        return F.l1_loss(x, target, self.reduction)


class SmoothL1Loss(Loss):
    """`functional.smooth_l1_loss`: a distance, smooth where it is less than β."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, x: Any, target: Any) -> Any:
        return F.smooth_l1_loss(x, target, self.reduction, self.beta)


class HuberLoss(Loss):
    """`functional.huber_loss`: half the square of a distance, linear where that is more than δ."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, x: Any, target: Any) -> Any:
        return F.huber_loss(x, target, self.reduction, self.delta)


class BCELoss(WeightedLoss):
    """`functional.binary_cross_entropy` of probabilities; of scores better `BCEWithLogitsLoss`."""

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)

    def forward(self, x: Any, target: Any) -> Any:
        return F.binary_cross_entropy(x, target, self.weight, self.reduction)


class BCEWithLogitsLoss(WeightedLoss):
    """`functional.binary_cross_entropy_with_logits` of scores."""

    pos_weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        super().__init__(weight, reduction)
        self._register("pos_weight", pos_weight)

    def forward(self, x: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(x, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(Loss):
    """`functional.kl_div` of log-probabilities and probabilities, or (log_target) two log-probabilities."""

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, x: Any, target: Any) -> Any:
        return F.kl_div(x, target, self.reduction, self.log_target)
