"""Convolution, and the two operations its gradients are made of.

A convolution is linear in its input X and in its weight W: Y = X ∗ W is a bilinear map. Pair it with an upstream
gradient g, ⟨g, X ∗ W⟩, and there are three such maps, one for each of the three that is left out:

    Y  = Conv2d(X, W)                  what the network computes
    Gx = Conv2dInputGradient(g, W)     the gradient to X, also known as transposed convolution
    Gw = Conv2dWeightGradient(X, g)    the gradient to W

The backward of each is made of the other two, and so convolution can be differentiated any number of times. The second
one is of use by itself: it makes large images of small ones, as `conv_transpose2d`.
"""

from __future__ import annotations

import numbers
from typing import Any

from minidl.autograd import Function
from minidl.kernels.convolution import check_algorithm, convolve, convolve_input_gradient, convolve_weight_gradient
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.window import Pair, Sides, Window, pair, sides
from minidl.ops.activation import ReluGradient
from minidl.ops.broadcast import checked_addend, with_parameters
from minidl.ops.padding import pad
from minidl.tensor import raw


class Conv2d(Function):
    """Y = X ∗ W + b + A, a cross-correlation.  X (N, H, W, C), W (KH, KW, C/G, F), b (F,), A and Y (N, OH, OW, F).

    ∂L/∂X = Conv2dInputGradient(g, W),  ∂L/∂W = Conv2dWeightGradient(X, g),  ∂L/∂b = Σ g over N, OH and OW,  ∂L/∂A = g.
    b and A may be None. They are added to each part of the product as soon as it is computed.
    """

    relu = False

    def __init__(self, window: Window, groups: int, algorithm: str = "auto") -> None:
        self.window, self.groups, self.algorithm = window, groups, algorithm

    def forward(self, x, weight, bias, add):
        self.image_size = x.shape[1:3]
        return convolve(x, weight, self.window, self.groups, self.algorithm, Epilogue(bias, add, self.relu))

    def backward(self, g, x, weight):
        to_x = to_weight = to_bias = None
        if self.needs[0]:
            to_x = Conv2dInputGradient(self.window, self.groups, self.image_size, self.algorithm)(g, weight)
        if self.needs[1]:
            to_weight = Conv2dWeightGradient(self.window, self.groups, self.algorithm)(x, g)
        if self.needs[2]:
            to_bias = g.sum(axis=(0, 1, 2))
        return to_x, to_weight, to_bias, g


class Conv2dReLU(Conv2d):
    """Y = max(X ∗ W + b + A, 0).  The gradients are those of `Conv2d`, of g where Y > 0 and 0 elsewhere."""

    relu = True

    def backward(self, g, x, weight, y):  # type: ignore[override]  # it asks for one thing more
        return super().backward(ReluGradient(raw(y))(g), x, weight)


class Conv2dInputGradient(Function):
    """Gx (N, H, W, C) from g (N, OH, OW, F) and W. Its own upstream gradient u looks like X."""

    def __init__(self, window: Window, groups: int, image_size: Pair, algorithm: str = "auto") -> None:
        self.window, self.groups, self.image_size, self.algorithm = window, groups, image_size, algorithm

    def forward(self, g, weight):
        return convolve_input_gradient(g, weight, self.window, self.groups, self.algorithm, *self.image_size)

    def backward(self, u, g, weight):
        return (
            Conv2d(self.window, self.groups, self.algorithm)(u, weight, None, None) if self.needs[0] else None,
            Conv2dWeightGradient(self.window, self.groups, self.algorithm)(u, g) if self.needs[1] else None,
        )


class Conv2dWeightGradient(Function):
    """Gw (KH, KW, C/G, F) from X and g. Its own upstream gradient u looks like W."""

    def __init__(self, window: Window, groups: int, algorithm: str = "auto") -> None:
        self.window, self.groups, self.algorithm = window, groups, algorithm

    def forward(self, x, g):
        self.image_size = x.shape[1:3]
        return convolve_weight_gradient(x, g, self.window, self.groups, self.algorithm)

    def backward(self, u, x, g):
        to_x = to_g = None
        if self.needs[0]:
            to_x = Conv2dInputGradient(self.window, self.groups, self.image_size, self.algorithm)(g, u)
        if self.needs[1]:
            to_g = Conv2d(self.window, self.groups, self.algorithm)(x, u, None, None)
        return to_x, to_g


# ------------------------------------------------------------------------------------------------- public functions


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair | Sides | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    add: Any = None,
    relu: bool = False,
) -> Any:
    """2-D convolution (cross-correlation) of images with a bank of filters.

    x        images (N, H, W, C)
    weight   filters (KH, KW, C/groups, F): `im2col(x) @ weight.reshape(-1, F)`
    bias     (F,), or None
    stride, dilation   an integer, or a pair (vertical, horizontal)
    padding  zeros around the images: an integer or a pair, on both sides, or ((top, bottom), (left, right)); "valid" is
             none, "same" as many as keep OH = H and OW = W, of an odd number the last one at the bottom and right
    groups   channels and filters are cut into this many groups, each convolved by itself
    algorithm   "im2col": one matrix product; "winograd": a quarter of the multiplications, for 3×3 filters of stride 1,
             with a rounding error of about 1e-5 of the largest value in float32; "naive": the loops of `minidl.naive`;
             "auto": of the first two the one that should be faster. (See `minidl.kernels`.)
    add      (N, OH, OW, F): added to the result; or None
    relu     take the larger of the result and 0. Both within this operation, which takes less time than one by one

    Returns (N, OH, OW, F) with OH = ⌊(H + top + bottom − dilation·(KH − 1) − 1) / stride⌋ + 1, OW alike.

    Raises: ValueError when shapes do not fit, naming both.

    >>> x, weight = Tensor([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1), Tensor([10.0, 1.0]).reshape(1, 2, 1, 1)
    >>> F.conv2d(x, weight).flatten()
    Tensor([12., 23.], dtype=float32, device=cpu)
    """
    op = "conv2d"
    x, weight, bias = _operands(op, x, weight, bias, "C/groups, F")
    _, H, W, C = x.shape
    KH, KW, _, F = weight.shape
    _check_groups(op, groups, channels=C, filters=F)
    if weight.shape[2] * groups != C:
        raise ValueError(
            f"{op}: input {x.shape} has {C} channels on its last axis, weight {weight.shape} expects "
            f"{weight.shape[2] * groups}; images are (N, H, W, C) and the weight is (KH, KW, C/groups, F)"
        )
    _check_bias(op, bias, F)
    stride, dilation = pair(op, "stride", stride, 1), pair(op, "dilation", dilation, 1)
    window = Window((KH, KW), stride, convolution_sides(op, padding, (KH, KW), stride, dilation), dilation)
    window.check_fits(op, H, W)
    check_algorithm(op, algorithm, window, groups)
    add = checked_addend(op, add, x, (x.shape[0], *window.output_size(H, W), F))
    return (Conv2dReLU if relu else Conv2d)(window, groups, algorithm)(x, weight, bias, add)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair | Sides = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> Any:
    """Transposed convolution: each pixel, times the weight, is added to a window of the result.

    As a matrix it is the transpose of the conv2d from F to C channels with these options, which has this weight.

    x        images (N, H, W, C)
    weight   (KH, KW, F/groups, C)
    bias     (F,), or None
    padding  how much is cut off around the result: an integer, a pair, or ((top, bottom), (left, right))
    output_padding   how much of that is left on at the bottom and right, zeros where there is no more. A conv2d with a
             stride makes one size out of several; this says which one to go back to, so it is less than the stride
             (or, as in PyTorch, less than the dilation).

    Returns (N, OH, OW, F), OH = (H − 1)·stride + dilation·(KH − 1) + 1 − top − bottom + output_padding, OW alike.
    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285, chapter 4.

    Raises: ValueError when shapes do not fit, naming both.

    >>> x, weight = Tensor([1.0, 2.0]).reshape(1, 1, 2, 1), Tensor([10.0, 1.0]).reshape(1, 2, 1, 1)
    >>> F.conv_transpose2d(x, weight).flatten()
    Tensor([10., 21.,  2.], dtype=float32, device=cpu)
    """
    op = "conv_transpose2d"
    x, weight, bias = _operands(op, x, weight, bias, "F/groups, C")
    C = x.shape[3]
    _check_groups(op, groups, channels=C)
    if weight.shape[3] != C:
        raise ValueError(
            f"{op}: input {x.shape} has {C} channels on its last axis, weight {weight.shape} expects "
            f"{weight.shape[3]}; images are (N, H, W, C) and the weight is (KH, KW, F/groups, C)"
        )
    _check_bias(op, bias, weight.shape[2] * groups)
    window = Window(weight.shape[:2], pair(op, "stride", stride, 1), dilation=pair(op, "dilation", dilation, 1))
    (top, bottom), (left, right) = sides(op, padding)
    more_rows, more_cols = _checked_output_padding(op, output_padding, window)

    rows, cols = window.covered(*x.shape[1:3])  # what all windows cover, before anything is cut off
    OH, OW = rows - top - bottom + more_rows, cols - left - right + more_cols
    if OH < 1 or OW < 1:
        raise ValueError(f"{op}: of a result of {rows}×{cols}, padding={padding!r} leaves {OH}×{OW}")
    y = Conv2dInputGradient(window, groups, (rows, cols))(x, weight)  # (N, rows, cols, F)
    y = pad(y, ((0, max(0, more_rows - bottom)), (0, max(0, more_cols - right))))
    if y.shape[1:3] != (OH, OW):
        y = y[:, top : top + OH, left : left + OW]  # (N, OH, OW, F)
    return y if bias is None else y + bias


# ---------------------------------------------------------------------------------------------------------- options


def convolution_sides(op: str, padding: Any, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """The padding of a conv2d, "same" and "valid" among others, as ((top, bottom), (left, right))."""
    if not isinstance(padding, str):
        return sides(op, padding)
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise ValueError(f'{op}: padding must be numbers, "same" or "valid"; got {padding!r}')
    if stride != (1, 1):
        raise ValueError(f'{op}: padding="same" keeps the size of images, and goes with stride 1 only; got {stride}')
    vertical, horizontal = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
    return (vertical // 2, vertical - vertical // 2), (horizontal // 2, horizontal - horizontal // 2)


def _checked_output_padding(op: str, output_padding: Any, window: Window) -> Pair:
    more = pair(op, "output_padding", output_padding, 0)
    if any(n >= max(steps) for n, *steps in zip(more, window.stride, window.dilation, strict=True)):
        raise ValueError(
            f"{op}: output_padding must be less than the stride {window.stride} or the dilation {window.dilation}, "
            f"got {output_padding!r}"
        )
    return more


def _operands(op: str, x: Any, weight: Any, bias: Any, channels: str) -> tuple[Any, Any, Any]:
    """Images, weight and bias, floating and of one dtype. `channels` says what is on the weight's last two axes."""
    x, weight, bias = with_parameters(op, x, weight, bias)
    if x.ndim != 4 or weight.ndim != 4 or 0 in x.shape[1:3] or 0 in (*weight.shape[:2], weight.shape[3]):
        raise ValueError(
            f"{op}: expected images (N, H, W, C) and a weight (KH, KW, {channels}), where only N and the weight's "
            f"third axis may be 0, got {x.shape} and {weight.shape}"
        )
    return x, weight, bias


def _check_groups(op: str, groups: Any, **counts: int) -> None:
    if not isinstance(groups, numbers.Integral) or groups < 1 or any(n % groups for n in counts.values()):
        listing = " and ".join(f"the {n} {name}" for name, n in counts.items())
        raise ValueError(f"{op}: groups={groups!r} must divide {listing}")


def _check_bias(op: str, bias: Any, filters: int) -> None:
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"{op}: expected a bias of shape ({filters},), one a filter, got {bias.shape}")
