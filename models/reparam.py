"""Structural re-parameterisation: other weights, the same function (Ding et al., RepVGG, arXiv 2101.03697, §3.3).

In inference a batch norm is a scale and a shift of each channel, so it folds into the convolution before it; 1×1
filters and the identity are 3×3 filters that are mostly zero; and convolutions of one input add up by adding their
filters. Four steps, each exact, that turn a training network of several branches into a plain one.

Kernels are raw arrays (KH, KW, C/G, F), biases (F,).
"""

from __future__ import annotations

import numpy as np

from minidl import nn
from minidl.backend import Array, array_module


def fold_batch_norm(kernel: Array, bn: nn.BatchNorm2d) -> tuple[Array, Array]:
    """The kernel and bias of one convolution that does what convolving with `kernel` and then `bn` does in inference.

    bn(X ∗ W) = (X ∗ W − μ) · t + β with t = γ / √(σ² + ε), which is X ∗ (W · t) + (β − μ · t)   (eq. 3)
    """
    xp = array_module(kernel)
    t = bn.weight.data / xp.sqrt(bn.running_var.data + bn.eps)  # (F,)
    return kernel * t, bn.bias.data - bn.running_mean.data * t


def pad_1x1_to_3x3(kernel: Array) -> Array:
    """A 1×1 filter as the middle of a 3×3 filter of zeros."""
    xp = array_module(kernel)
    padded = xp.zeros((3, 3, *kernel.shape[2:]), dtype=kernel.dtype)
    padded[1, 1] = kernel[0, 0]
    return padded


def identity_3x3(channels: int, groups: int, like: Array) -> Array:
    """The 3×3 kernel (3, 3, C/G, C) that gives its input back: filter f reads channel f of its group, in the middle."""
    kernel = np.zeros((3, 3, channels // groups, channels))
    for f in range(channels):
        kernel[1, 1, f % (channels // groups), f] = 1
    return array_module(like).asarray(kernel.astype(like.dtype))


def sum_of_branches(branches: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """X ∗ W₁ + b₁ + X ∗ W₂ + b₂ + ... = X ∗ (W₁ + W₂ + ...) + (b₁ + b₂ + ...), for kernels of one shape."""
    kernels, biases = zip(*branches, strict=True)
    return sum(kernels[1:], kernels[0]), sum(biases[1:], biases[0])
