"""Convolution and pooling as plain loops: each formula written down, one loop for each of its axes.

Start here. Nothing in this folder is fast, and nothing is hidden: arrays are NumPy arrays, images are (N, H, W, C), and
every function is followed by its backward. The engine computes the same numbers, only far faster (`ops/` has
the idea, `kernels/` the speed), and its tests compare the two.

All loops ask the same question: which pixel does element (kh, kw) of the window over output (oh, ow) look at?

    h = oh · stride + kh · dilation − padding            w alike

Outside the image there is nothing to look at: for a sum that is a zero, for a maximum it is −∞.

A backward needs no new idea. Where the forward says `y += a * b`, a small step of `a` moves y by `b` times that step,
and L by g · `b` times it, where g = ∂L/∂y. So the same loops run again, over the same pairs, and say
`gradient of a += g * b`. It is always `+=`: a pixel lies under many windows, and what each of them passes back adds up.

N batch; H, W in; OH, OW out; C in-channels; F out-channels; KH, KW kernel; G groups; g the upstream gradient.
Options and defaults are those of `minidl.functional`. The dtype of the images is kept.
"""

from minidl.naive.adaptive_pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
)
from minidl.naive.convolution import (
    conv2d,
    conv2d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    fold,
    fold_backward,
    unfold,
    unfold_backward,
)
from minidl.naive.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    lp_pool2d,
    lp_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv2d",
    "conv2d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "fold",
    "fold_backward",
    "lp_pool2d",
    "lp_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "unfold",
    "unfold_backward",
]
