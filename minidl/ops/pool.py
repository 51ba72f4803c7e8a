"""Pooling: an image made smaller by taking the maximum or the mean of each window.

Both are linear once it is known which element won, so their backward is their adjoint, and the backward of that is the
pooling itself again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import Array, active, device_of
from minidl.kernels import pooling
from minidl.kernels.window import Pair, Window, pair
from minidl.ops.broadcast import beside, floating
from minidl.tensor import Tensor


class MaxPool2d(Function):
    """y = the maximum of each window.  g goes to the winner: of equal elements, the first in reading order."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, x):
        self.image_size = x.shape[1:3]
        y, self.winner = pooling.max_windows(x, self.window)
        return y

    def backward(self, g):
        return ScatterToWinners(self.window, self.winner, self.image_size)(g)


class ScatterToWinners(Function):
    """Each g added where the maximum of its window stood. The adjoint of GatherWinners."""

    def __init__(self, window: Window, winner: Array, image_size: Pair) -> None:
        self.window, self.winner, self.image_size = window, winner, image_size

    def forward(self, g):
        return pooling.scatter_to_winners(g, self.winner, self.window, *self.image_size)

    def backward(self, u):
        return GatherWinners(self.window, self.winner, self.image_size)(u)


class GatherWinners(Function):
    """The element of each window at the place where the maximum of x stood."""

    def __init__(self, window: Window, winner: Array, image_size: Pair) -> None:
        self.window, self.winner, self.image_size = window, winner, image_size

    def forward(self, u):
        return pooling.gather_winners(u, self.winner, self.window)

    def backward(self, g):
        return ScatterToWinners(self.window, self.winner, self.image_size)(g)


class AvgPool2d(Function):
    """y = (Σ over each window) / divisor.  Every element of a window gets g / divisor."""

    def __init__(self, window: Window, divisor: Any) -> None:
        self.window, self.divisor = window, divisor

    def forward(self, x):
        self.image_size = x.shape[1:3]
        return pooling.sum_windows(x, self.window) / self.divisor

    def backward(self, g):
        return AvgPool2dAdjoint(self.window, self.divisor, self.image_size)(g)


class AvgPool2dAdjoint(Function):
    """Each g / divisor added to every element of its window."""

    def __init__(self, window: Window, divisor: Any, image_size: Pair) -> None:
        self.window, self.divisor, self.image_size = window, divisor, image_size

    def forward(self, g):
        return pooling.spread_windows(g / self.divisor, self.window, *self.image_size)

    def backward(self, u):
        return AvgPool2d(self.window, self.divisor)(u)


# ------------------------------------------------------------------------------------------------- public functions


def max_pool2d(
    x: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window of images x (N, H, W, C): (N, OH, OW, C).

    stride defaults to kernel_size. The padding counts as −∞, so it never wins, and is at most half the kernel.
    ceil_mode keeps a last window that ends outside the image. At a tie the first element, in reading order, wins.
    With return_indices the result is (y, indices): int64, index h·W + w of each winner in its image plane.
    """
    op = "max_pool2d"
    x, window = _pooling_window(op, x, kernel_size, stride, padding, dilation, ceil_mode)
    pool = MaxPool2d(window)
    y = pool(x)
    if not return_indices:
        return y
    with active(device_of(pool.winner)):
        indices = pooling.flat_indices(pool.winner, window, x.shape[2])
    return y, Tensor._wrap(indices) if isinstance(y, Tensor) else indices


def avg_pool2d(
    x: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of images x (N, H, W, C): (N, OH, OW, C).

    stride defaults to kernel_size. The padding counts as zeros: as elements too with count_include_pad, otherwise
    only elements of the image are counted. Whatever a window of ceil_mode covers beyond the padding is never counted.
    divisor_override divides by that number instead.
    """
    op = "avg_pool2d"
    x, window = _pooling_window(op, x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and divisor_override < 1:
        raise ValueError(f"{op}: divisor_override must be at least 1, got {divisor_override!r}")
    divisor = divisor_override or _window_sizes(window, x, count_include_pad)
    return AvgPool2d(window, divisor)(x)


def _pooling_window(
    op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Any, Window]:
    """x, checked, and the window of the options."""
    x = floating(op, x)
    if x.ndim != 4:
        raise ValueError(f"{op}: expected images (N, H, W, C), got shape {x.shape}")
    kernel = pair(op, "kernel_size", kernel_size, 1)
    vertical, horizontal = pair(op, "padding", padding, 0)
    if 2 * vertical > kernel[0] or 2 * horizontal > kernel[1]:
        raise ValueError(f"{op}: padding may be at most half the kernel {kernel_size!r}, got {padding!r}")
    window = Window(
        kernel=kernel,
        stride=kernel if stride is None else pair(op, "stride", stride, 1),
        padding=((vertical, vertical), (horizontal, horizontal)),
        dilation=pair(op, "dilation", dilation, 1),
        ceil_mode=ceil_mode,
    )
    window.check_fits(op, *x.shape[1:3])
    return x, window


def _window_sizes(window: Window, x: Any, include_padding: bool) -> Any:
    """How many elements each window averages: a number, or an array (OH, OW, 1) where windows differ."""
    H, W = x.shape[1:3]
    counts = []
    for size, places, K, stride, (before, after) in zip(
        (H, W), window.output_size(H, W), window.kernel, window.stride, window.padding, strict=True
    ):
        starts = np.arange(places) * stride - before
        first, last = (-before, size + after) if include_padding else (0, size)
        counts.append(np.minimum(starts + K, last) - np.maximum(starts, first))
    sizes = counts[0][:, None, None] * counts[1][:, None]  # (OH, OW, 1)
    if (sizes == sizes[0, 0]).all():
        return int(sizes[0, 0, 0])
    return beside(x, sizes)
