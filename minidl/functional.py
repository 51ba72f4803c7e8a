"""Every public function in one list.

Names, argument order and defaults are those of `torch.nn.functional`; the input is `x`, and deprecated and in-place
options are left out. What differs is the layout: images are (N, H, W, C), convolution weights (KH, KW, C/groups, F),
linear weights (I, O), and classes are on the last axis.
"""

from __future__ import annotations

from minidl.ops.activation import (
    elu,
    hardsigmoid,
    hardtanh,
    leaky_relu,
    logsigmoid,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    softplus,
    tanh,
)
from minidl.ops.adaptive_pool import adaptive_avg_pool2d, adaptive_max_pool2d
from minidl.ops.conv import conv2d, conv_transpose2d
from minidl.ops.cross_entropy import cross_entropy, nll_loss
from minidl.ops.dropout import dropout, dropout2d
from minidl.ops.embedding import embedding, one_hot
from minidl.ops.gate import gelu, hardswish, mish, silu
from minidl.ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from minidl.ops.matmul import linear
from minidl.ops.norm import batch_norm
from minidl.ops.padding import pad
from minidl.ops.pool import avg_pool2d, lp_pool2d, max_pool2d
from minidl.ops.resize import interpolate, pixel_shuffle, pixel_unshuffle
from minidl.ops.samplenorm import group_norm, instance_norm, layer_norm, local_response_norm, normalize, rms_norm
from minidl.ops.softmax import log_softmax, logsumexp, softmax
from minidl.ops.unfold import fold, unfold

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "elu",
    "embedding",
    "fold",
    "gelu",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "lp_pool2d",
    "max_pool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
    "unfold",
]
