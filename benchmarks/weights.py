"""Weights as after some training, the same for every engine: those that layers begin with would hide mistakes.

A new batch norm has mean 0, variance 1, weight 1 and bias 0: leaving it out would change nothing. A new network's
scores may be tiny, and then its gradients say little.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import modules
from benchmarks.case import Case
from minidl import Tensor, nn, no_grad
from minidl.backend import manual_seed


def trained(case: Case) -> nn.Module:
    """The block or network of a case. Its running statistics are about those of four images, its scores vary by 1."""
    manual_seed(0)
    module, random = modules.create(case.options), np.random.default_rng(0)
    images = Tensor(random.standard_normal((4, *case.shape[1:]), dtype=np.float32))
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        assert norm.weight is not None and norm.bias is not None
        norm.weight.data = random.uniform(0.5, 1.5, norm.num_features).astype(np.float32)
        norm.bias.data = random.uniform(-0.2, 0.2, norm.num_features).astype(np.float32)
        norm.momentum = None  # the statistics become the mean over all batches: one
    with no_grad():
        module.train()(images)
        for norm in norms:
            norm.momentum = 0.1
            norm.running_mean.data = _off(norm.running_mean, norm.running_var.data**0.5, random)
            norm.running_var.data = _off(norm.running_var, norm.running_var.data, random)
        if "watched" in case.options:
            last = dict(module.named_parameters())[case.options["watched"][-1]]
            last.data = last.data / module.eval()(images).numpy().std()
    return module


def _off(statistic: Tensor, scale: np.ndarray, random: np.random.Generator) -> Any:
    """A running statistic, up to a fifth of `scale` away: batch statistics would give something else."""
    return statistic.data + scale * random.uniform(-0.2, 0.2, scale.shape).astype(np.float32)
