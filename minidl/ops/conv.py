"""Convolution, and the two operations its gradients are made of.

A convolution is linear in its input X and in its weight W: Y = X ∗ W is a bilinear map. Pair it with an upstream
gradient g, ⟨g, X ∗ W⟩, and there are three such maps, one for each of the three that is left out:

    Y  = Convolve(X, W)            what the network computes
    Gx = InputGradient(g, W)       the gradient to X, also known as transposed convolution
    Gw = WeightGradient(X, g)      the gradient to W

The backward of each is made of the other two, and so convolution can be differentiated any number of times.
"""

from __future__ import annotations

import numbers
from typing import Any

from minidl.autograd import Function
from minidl.kernels.columns import convolve, convolve_input_gradient, convolve_weight_gradient
from minidl.kernels.window import Pair, Window, pair
from minidl.ops.broadcast import floating, require_one_dtype


class Conv2d(Function):
    """Y = X ∗ W + b, a cross-correlation.  X (N, H, W, C), W (KH, KW, C/G, F), b (F,) → Y (N, OH, OW, F).

    ∂L/∂X = InputGradient(g, W),  ∂L/∂W = WeightGradient(X, g),  ∂L/∂b = Σ g over N, OH and OW.
    """

    def __init__(self, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups

    def forward(self, x, weight, bias=None):
        self.image_size = x.shape[1:3]
        self.has_bias = bias is not None
        return convolve(x, weight, bias, self.window, self.groups)

    def backward(self, g, x, weight):
        to_x = to_weight = to_bias = None
        if self.needs[0]:
            to_x = Conv2dInputGradient(self.window, self.groups, self.image_size)(g, weight)
        if self.needs[1]:
            to_weight = Conv2dWeightGradient(self.window, self.groups)(x, g)
        if not self.has_bias:
            return to_x, to_weight
        if self.needs[2]:
            to_bias = g.sum(axis=(0, 1, 2))
        return to_x, to_weight, to_bias


class Conv2dInputGradient(Function):
    """Gx (N, H, W, C) from g (N, OH, OW, F) and W. Its own upstream gradient u looks like X."""

    def __init__(self, window: Window, groups: int, image_size: Pair) -> None:
        self.window, self.groups, self.image_size = window, groups, image_size

    def forward(self, g, weight):
        return convolve_input_gradient(g, weight, self.window, self.groups, *self.image_size)

    def backward(self, u, g, weight):
        return (
            Conv2d(self.window, self.groups)(u, weight) if self.needs[0] else None,
            Conv2dWeightGradient(self.window, self.groups)(u, g) if self.needs[1] else None,
        )


class Conv2dWeightGradient(Function):
    """Gw (KH, KW, C/G, F) from X and g. Its own upstream gradient u looks like W."""

    def __init__(self, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups

    def forward(self, x, g):
        self.image_size = x.shape[1:3]
        return convolve_weight_gradient(x, g, self.window, self.groups)

    def backward(self, u, x, g):
        return (
            Conv2dInputGradient(self.window, self.groups, self.image_size)(g, u) if self.needs[0] else None,
            Conv2d(self.window, self.groups)(x, u) if self.needs[1] else None,
        )


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """2-D convolution (cross-correlation) of images with a bank of filters.

    x        images (N, H, W, C)
    weight   filters (KH, KW, C/groups, F): `im2col(x) @ weight.reshape(-1, F)`
    bias     (F,), or None
    stride, padding, dilation   an integer, or a pair (vertical, horizontal); padding adds zeros on both sides
    groups   channels and filters are cut into this many groups, each convolved by itself

    Returns (N, OH, OW, F) with OH = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1, OW alike.
    Raises: ValueError when shapes do not fit, naming both.
    """
    x, weight = floating("conv2d", x), floating("conv2d", weight)
    require_one_dtype("conv2d", x, weight=weight, bias=bias)
    if x.ndim != 4 or weight.ndim != 4 or 0 in weight.shape[:2]:
        raise ValueError(
            f"conv2d: expected images (N, H, W, C) and a weight (KH, KW, C/groups, F), got {x.shape} and {weight.shape}"
        )
    window = Window(
        kernel=weight.shape[:2],
        stride=pair("conv2d", "stride", stride, 1),
        padding=_both_sides(pair("conv2d", "padding", padding, 0)),
        dilation=pair("conv2d", "dilation", dilation, 1),
    )
    _, H, W, C = x.shape
    if not isinstance(groups, numbers.Integral) or groups < 1 or C % groups or weight.shape[3] % groups:
        raise ValueError(f"conv2d: groups={groups!r} must divide the {C} channels and the {weight.shape[3]} filters")
    if weight.shape[2] * groups != C:
        raise ValueError(
            f"conv2d: input {x.shape} has {C} channels on its last axis, weight {weight.shape} expects "
            f"{weight.shape[2] * groups}; images are (N, H, W, C)"
        )
    if bias is not None and bias.shape != weight.shape[3:]:
        raise ValueError(f"conv2d: expected a bias of shape {weight.shape[3:]}, one a filter, got {bias.shape}")
    window.check_fits("conv2d", H, W)
    return Conv2d(window, groups)(x, weight) if bias is None else Conv2d(window, groups)(x, weight, bias)


def _both_sides(padding: Pair) -> tuple[Pair, Pair]:
    """The same padding before and after: ((top, bottom), (left, right))."""
    return (padding[0], padding[0]), (padding[1], padding[1])
