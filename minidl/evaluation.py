"""How good a model is: its loss, its accuracy, and which classes it takes for which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import functional as F
from minidl.autograd import no_grad
from minidl.backend import Array, Device, active, array_module, to_device, to_host
from minidl.backend import device as as_device
from minidl.nn import Module
from minidl.tensor import Tensor

Loss = Callable[[Any, Any], Any]  # (scores (N, K), labels (N,)) → a scalar, the mean over the batch


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` measured. confusion[i, j] counts the images of class i that were taken for class j, (K, K)."""

    loss: float
    accuracy: float
    confusion: np.ndarray


@no_grad()
def evaluate(
    model: Module,
    loader: Iterable[tuple[Array, Array]],
    device: str | Device = "cpu",
    loss: Loss = F.cross_entropy,
) -> Evaluation:
    """Loss, accuracy and confusion of `model`, in inference mode, over the batches (images, labels) of `loader`.

    The model stays on the device where it is, which must be `device`; its modules return to the mode they were in.
    """
    place = as_device(device)
    loss_sum: Any = 0.0
    pairs: list[Array] = []
    count = K = 0
    with active(place), _inference(model):
        for images, labels in loader:
            images, labels = to_device(images, place), to_device(labels, place)
            scores = main_and_auxiliary(model(Tensor(images)))[0].data  # (N, K)
            count, K = count + len(labels), scores.shape[-1]
            loss_sum = loss_sum + summed(loss(Tensor(scores), labels), len(labels))
            pairs.append(labels.astype(np.int64) * K + scores.argmax(axis=-1))  # (class, prediction) as one number
        if not pairs:
            raise ValueError("evaluate: the loader gave no batch")
        counts = np.bincount(to_host(array_module(pairs[0]).concatenate(pairs)), minlength=K * K)
    confusion = counts.reshape(K, K)
    return Evaluation(float(loss_sum) / count, float(np.trace(confusion)) / count, confusion)


@contextmanager
def _inference(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def main_and_auxiliary(output: Any) -> tuple[Any, ...]:
    """The main scores of a model and those of its auxiliary heads, if it has any."""
    return output if isinstance(output, tuple) else (output,)


def auxiliary_weight(model: Module) -> float:
    """How much the loss of an auxiliary head counts: the model's own `aux_weight`, or 0.3, as in GoogLeNet (§5)."""
    return float(getattr(model, "aux_weight", 0.3))


def training_loss(output: Any, labels: Any, loss: Loss, aux_weight: float) -> tuple[Tensor, Tensor]:
    """The loss that training minimises, and the main scores.

    A model with auxiliary heads returns (scores, *auxiliary_scores) in training; each auxiliary loss is added with
    aux_weight (GoogLeNet: Szegedy et al., arXiv 1409.4842, §5).
    """
    scores, *auxiliary = main_and_auxiliary(output)
    total = loss(scores, labels)
    for auxiliary_scores in auxiliary:
        total = total + aux_weight * loss(auxiliary_scores, labels)
    return total, scores


def summed(loss: Tensor, count: int) -> Array:
    """A batch's mean loss as the sum over its images, in float64, still on the device."""
    return loss.data.astype(np.float64) * count
