"""Every public function in one list.

Names, argument order and defaults are those of `torch.nn.functional`; the input is `x`, and deprecated and in-place
options are left out. What differs is the layout: images are (N, H, W, C), convolution weights (KH, KW, C/groups, F),
linear weights (I, O), and classes are on the last axis.
"""

from __future__ import annotations

from typing import Any

from minidl.ops.activation import relu, sigmoid, tanh
from minidl.ops.adaptive_pool import adaptive_avg_pool2d
from minidl.ops.broadcast import floating, require_one_dtype
from minidl.ops.conv import conv2d
from minidl.ops.cross_entropy import cross_entropy
from minidl.ops.dropout import dropout
from minidl.ops.loss import mse_loss
from minidl.ops.norm import batch_norm
from minidl.ops.pool import avg_pool2d, max_pool2d
from minidl.ops.softmax import log_softmax, softmax

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """y = x @ weight + bias.  x (..., I), weight (I, O), bias (O,) or None → (..., O).

    Raises: ValueError when shapes do not fit. PyTorch's weight is (O, I): transpose it.
    """
    x, weight = floating("linear", x), floating("linear", weight)
    require_one_dtype("linear", x, weight=weight, bias=bias)
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[0]:
        raise ValueError(f"linear: input {x.shape} does not fit weight {weight.shape}; expected (..., I) and (I, O)")
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ValueError(f"linear: expected a bias of shape {weight.shape[1:]}, got {bias.shape}")
    y = x @ weight
    return y if bias is None else y + bias
