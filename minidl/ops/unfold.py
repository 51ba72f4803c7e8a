"""Unfold and fold: the windows of an image as rows of a matrix, and back.

Laid out so, a convolution is one matrix product: unfold(x, (KH, KW)) @ weight.reshape(-1, F). `kernels/columns.py` does
this a band at a time; here the matrix is whole, to be looked at or to be used for something else.

Windows overlap, so fold(unfold(x)) is not x: a pixel comes back as often as there are windows over it. Each of the two
is the adjoint of the other, ⟨unfold(x), y⟩ = ⟨x, fold(y)⟩, and so its backward.
"""

from __future__ import annotations

from typing import Any

from minidl.autograd import Function
from minidl.backend import array_module
from minidl.kernels.columns import col2im, im2col
from minidl.kernels.window import Pair, Sides, Window, pair, sides
from minidl.ops.broadcast import floating


class Unfold(Function):
    """X (N, H, W, C) → the windows of X, a row each: (N, OH·OW, KH·KW·C).  ∂L/∂X = Fold(g)."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, x):
        self.image_size = x.shape[1:3]
        OH, OW = self.window.output_size(*self.image_size)
        columns = im2col(self.window.pad(x), self.window)  # (N·OH·OW, KH·KW·C)
        return columns.reshape(x.shape[0], OH * OW, columns.shape[1])  # (N, OH·OW, KH·KW·C)

    def backward(self, g):
        return Fold(self.window, self.image_size)(g)


class Fold(Function):
    """Rows (N, OH·OW, KH·KW·C) added up where their windows are: (N, H, W, C).  The gradient is Unfold(g)."""

    def __init__(self, window: Window, image_size: Pair) -> None:
        self.window, self.image_size = window, image_size

    def forward(self, x):
        (H, W), (KH, KW) = self.image_size, self.window.kernel
        N, C = x.shape[0], x.shape[2] // (KH * KW)
        padded = array_module(x).zeros(self.window.padded_shape(N, H, W, C), dtype=x.dtype)
        col2im(x, padded, self.window)
        return self.window.crop(padded, H, W)  # (N, H, W, C)

    def backward(self, g):
        return Unfold(self.window)(g)


# ------------------------------------------------------------------------------------------------- public functions


def unfold(
    x: Any,
    kernel_size: int | Pair,
    dilation: int | Pair = 1,
    padding: int | Pair | Sides = 0,
    stride: int | Pair = 1,
) -> Any:
    """The windows of images x (N, H, W, C), each as a row (im2col): (N, L, KH·KW·C).

    L = OH·OW: windows are in reading order, and so is what is in one: (kh, kw, c). kernel_size is (KH, KW), or one
    integer for both; dilation, padding and stride are those of conv2d.

    Raises: ValueError when a window does not fit into the images.

    >>> F.unfold(Tensor([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1), (1, 2))
    Tensor([[[1., 2.],
             [2., 3.]]], dtype=float32, device=cpu)
    """
    x = floating("unfold", x)
    if x.ndim != 4:
        raise ValueError(f"unfold: expected images (N, H, W, C), got shape {x.shape}")
    window = _window("unfold", kernel_size, dilation, padding, stride)
    window.check_fits("unfold", *x.shape[1:3])
    return Unfold(window)(x)


def fold(
    x: Any,
    output_size: int | Pair,
    kernel_size: int | Pair,
    dilation: int | Pair = 1,
    padding: int | Pair | Sides = 0,
    stride: int | Pair = 1,
) -> Any:
    """Images (N, H, W, C) from rows x (N, L, KH·KW·C), added up where windows overlap (col2im): the adjoint of unfold.

    output_size is (H, W), or one integer for both; kernel_size, dilation, padding and stride are those of the unfold
    that lays out such rows.

    Raises: ValueError when that unfold would lay out other rows.

    >>> F.fold(Tensor([[1.0, 2.0], [2.0, 3.0]]).reshape(1, 2, 2), (1, 3), (1, 2)).flatten()
    Tensor([1., 4., 3.], dtype=float32, device=cpu)
    """
    x = floating("fold", x)
    H, W = pair("fold", "output_size", output_size, 1)
    window = _window("fold", kernel_size, dilation, padding, stride)
    window.check_fits("fold", H, W)
    (OH, OW), (KH, KW) = window.output_size(H, W), window.kernel
    if x.ndim != 3 or x.shape[1] != OH * OW or x.shape[2] % (KH * KW):
        raise ValueError(
            f"fold: images of {H}×{W} have {OH}·{OW} windows of {KH}×{KW}; expected (N, {OH * OW}, {KH * KW}·C), "
            f"got shape {x.shape}"
        )
    return Fold(window, (H, W))(x)


def _window(op: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Window:
    return Window(
        kernel=pair(op, "kernel_size", kernel_size, 1),
        stride=pair(op, "stride", stride, 1),
        padding=sides(op, padding),
        dilation=pair(op, "dilation", dilation, 1),
    )
