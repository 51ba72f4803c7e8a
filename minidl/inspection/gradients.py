"""How large the gradient is in each layer: whether it still reaches the first ones (lecture: vanishing gradients)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minidl import functional as F
from minidl.backend import generator_state, set_generator_state, to_host
from minidl.evaluation import auxiliary_weight, training_loss
from minidl.nn import Module
from minidl.tensor import Tensor


def gradient_norms(model: Module, images: Any, labels: Any, aux_weight: float | None = None) -> dict[str, float]:
    """‖∂L/∂W‖, the root of the sum of squares, for each weight matrix and filter bank W of `model`, by name, from the
    input to the output; those that are frozen are left out.

    L is the cross-entropy of one batch, in training mode. Auxiliary scores count with `aux_weight`, or else the model's
    own, as in training.

    It is measured on a copy: the model's weights, gradients, running statistics and mode, and the random numbers that
    come next, stay as they are.
    """
    before = generator_state()
    try:
        probe = copy.deepcopy(model).train()
        probe.zero_grad()
        device = next(probe.parameters()).device
        weight = auxiliary_weight(model) if aux_weight is None else aux_weight
        output = probe(Tensor(images, device=device))
        loss, _ = training_loss(output, Tensor(labels, device=device), F.cross_entropy, weight)
        loss.backward()
    finally:
        set_generator_state(before)
    return {
        name: float(np.linalg.norm(to_host(p.grad.data)))
        for name, p in probe.named_parameters()
        if p.ndim > 1 and p.grad is not None
    }
