"""Structural re-parameterisation: other weights, the same function (Ding et al., RepVGG, arXiv 2101.03697, §3.3).

In inference a batch norm is a scale and a shift of each channel, so it folds into the convolution before it; 1×1
filters and the identity are 3×3 filters that are mostly zero; and convolutions of one input add up by adding their
filters. Four steps, each exact, that turn a training network of several branches into a plain one.

Kernels are Tensors (KH, KW, C/G, F), biases (F,).
"""

from __future__ import annotations

import numpy as np

from minidl import Tensor, nn


def fold_batch_norm(kernel: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The kernel and bias of one convolution that does what convolving with `kernel` and then `bn` does in inference.

    bn(X ∗ W) = (X ∗ W − μ) · t + β with t = γ / √(σ² + ε), which is X ∗ (W · t) + (β − μ · t)   (eq. 3)
    """
    t = bn.weight / (bn.running_var + bn.eps).sqrt()  # (F,)
    return kernel * t, bn.bias - bn.running_mean * t


def pad_1x1_to_3x3(kernel: Tensor) -> Tensor:
    """A 1×1 filter as the middle of a 3×3 filter of zeros. Raises: ValueError for a filter of another size."""
    if kernel.shape[:2] != (1, 1):
        raise ValueError(f"pad_1x1_to_3x3: expected a kernel (1, 1, C/G, F), got shape {kernel.shape}")
    return kernel.pad(((1, 1), (1, 1), (0, 0), (0, 0)))  # (3, 3, C/G, F)


def identity_3x3(channels: int, groups: int, like: Tensor) -> Tensor:
    """The 3×3 kernel (3, 3, C/G, C) that gives its input back: filter f reads channel f of its group, in the middle.

    It has the dtype of `like`, and is on its device.
    """
    kernel = np.zeros((3, 3, channels // groups, channels))
    for f in range(channels):
        kernel[1, 1, f % (channels // groups), f] = 1
    return Tensor(kernel, dtype=like.dtype, device=like.device)


def sum_of_branches(branches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """X ∗ W₁ + b₁ + X ∗ W₂ + b₂ + ... = X ∗ (W₁ + W₂ + ...) + (b₁ + b₂ + ...), for kernels of one shape.

    Raises: ValueError for kernels of several shapes, of which broadcasting would make a wrong sum.
    """
    kernels, biases = zip(*branches, strict=True)
    if len({kernel.shape for kernel in kernels}) != 1:
        shapes = ", ".join(str(kernel.shape) for kernel in kernels)
        raise ValueError(f"sum_of_branches: expected kernels of one shape, got {shapes}; pad_1x1_to_3x3 enlarges 1×1")
    return sum(kernels[1:], kernels[0]), sum(biases[1:], biases[0])
