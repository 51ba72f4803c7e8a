"""Pooling: an image made smaller by taking the maximum, the mean or a norm of each window.

Maximum and mean are linear once it is known which element won, so their backward is their adjoint, and the backward of
that is the pooling itself again.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from minidl.autograd import Function, is_grad_enabled
from minidl.backend import Array, active, device_of
from minidl.kernels import pooling
from minidl.kernels.window import Pair, Window, pair
from minidl.ops.broadcast import beside, floating, require_array
from minidl.ops.choice import where
from minidl.tensor import constant_like, raw


class MaxPool2d(Function):
    """y = the maximum of each window.  g goes to the winner: of equal elements, the first in reading order."""

    def __init__(self, window: Window, indices: bool = False) -> None:
        self.window, self.indices = window, indices

    def forward(self, x):
        self.image_size = x.shape[1:3]
        if not (self.indices or is_grad_enabled()):
            return pooling.max_windows(x, self.window)
        y, self.winner = pooling.max_windows_and_winners(x, self.window)
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
        return pooling.sum_windows(x, self.window, self.divisor)

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


class LPPool2d(Function):
    """y = (Σ xᵖ / share)^(1/p) over each window.  ∂L/∂x = xᵖ⁻¹ · (g · y¹⁻ᵖ / share, added up over the windows of x).

    share  how much of a window lies in the image: 1, or an array (OH, OW, 1)

    Where the sum is 0, nothing of g is passed on (and at x = 0, for p < 1, that is 0 · ∞).
    """

    def __init__(self, window: Window, p: float, share: Any) -> None:
        self.window, self.p, self.share = window, p, share

    @np.errstate(all="ignore")  # powers beyond the largest number, the root of a negative sum
    def forward(self, x):
        total = pooling.sum_windows(x**self.p, self.window, self.share)
        self.zero = total == 0
        return total ** (1 / self.p)

    @np.errstate(all="ignore")
    def backward(self, g, x, y):
        to_total = where(self.zero, 0, g * where(self.zero, 1, y) ** (1 - self.p))
        return x ** (self.p - 1) * AvgPool2dAdjoint(self.window, self.share, x.shape[1:3])(to_total)


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
    """The maximum of each window of images x (N, H, W, C): (N, OH, OW, C), in the dtype of x, integers too.

    Sizes are an integer or a pair (vertical, horizontal). stride defaults to kernel_size; dilation is how far apart the
    elements of a window are. The padding counts as −∞, so it never wins, and is at most half the kernel.
    ceil_mode keeps a last window that ends outside the image. At a tie the first element, in reading order, wins; a
    NaN wins over every number.
    With return_indices the result is (y, indices): int64, index h·W + w of each winner in its image plane.

    Raises: ValueError for options that are no sizes, and where the window does not fit into the padded image.

    >>> x = Tensor([[1.0, 5.0, 2.0], [4.0, 3.0, 0.0]]).reshape(1, 2, 3, 1)
    >>> F.max_pool2d(x, (2, 2), stride=1).flatten()
    Tensor([5., 5.], dtype=float32, device=cpu)
    """
    op = "max_pool2d"
    require_images(op, x)
    window = pooling_window(op, kernel_size, stride, padding, dilation, ceil_mode)
    window.check_fits(op, *x.shape[1:3])
    pool = MaxPool2d(window, indices=return_indices)
    y = pool(x)
    if not return_indices:
        return y
    with active(device_of(pool.winner)):
        indices = pooling.flat_indices(pool.winner, window, x.shape[2])
    return y, constant_like(y, indices)


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

    kernel_size, stride and padding are those of `max_pool2d`. The padding counts as zeros: as elements too with
    count_include_pad, otherwise only elements of the image are counted. Whatever a window of ceil_mode covers beyond
    the padding is never counted. divisor_override divides by that number instead.

    Raises: ValueError for options that are no sizes, and where the window does not fit into the padded image.

    >>> x = Tensor([[1.0, 5.0, 2.0], [4.0, 2.0, 0.0]]).reshape(1, 2, 3, 1)
    >>> F.avg_pool2d(x, 2, ceil_mode=True).flatten()
    Tensor([3., 1.], dtype=float32, device=cpu)
    """
    op = "avg_pool2d"
    x = floating(op, x)
    require_images(op, x)
    window = pooling_window(op, kernel_size, stride, padding, ceil_mode=ceil_mode)
    window.check_fits(op, *x.shape[1:3])
    check_divisor(op, divisor_override)
    divisor = _window_sizes(window, x, count_include_pad) if divisor_override is None else int(divisor_override)
    return AvgPool2d(window, divisor)(x)


def lp_pool2d(
    x: Any,
    norm_type: float,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    ceil_mode: bool = False,
) -> Any:
    """(Σ xᵖ)^(1/p) over each window of images x (N, H, W, C), with p = norm_type: (N, OH, OW, C).

    That is the p-norm of the window (Sermanet et al., arXiv 1204.3968) where p is even or no element negative; the root
    of a negative sum is NaN.
    p = ∞ is the largest |x|, p = −∞ the smallest. kernel_size and stride are those of `max_pool2d`. Of a window of
    ceil_mode that ends outside the image, the sum is scaled up to a whole window. Where Σ xᵖ = 0, the gradient is 0
    for p ≥ 1.

    Raises: ValueError for p = 0 or NaN, options that are no sizes, and where the window does not fit into the image.

    >>> F.lp_pool2d(Tensor([3.0, -4.0]).reshape(1, 1, 2, 1), 2, (1, 2)).flatten()
    Tensor([5.], dtype=float32, device=cpu)
    """
    op = "lp_pool2d"
    x = floating(op, x)
    require_images(op, x)
    check_norm_type(op, norm_type)
    window = pooling_window(op, kernel_size, stride, ceil_mode=ceil_mode)
    window.check_fits(op, *x.shape[1:3])
    p = float(norm_type)
    if math.isinf(p):
        return MaxPool2d(window)(abs(x)) if p > 0 else -MaxPool2d(window)(-abs(x))
    with active(device_of(raw(x))):
        share = _window_sizes(window, x, include_padding=False) / math.prod(window.kernel)
    return LPPool2d(window, p, share)(x)


# ---------------------------------------------------------------------------------------------------------- options


def require_images(op: str, x: Any) -> None:
    """Raises: TypeError or ValueError for anything but images (N, H, W, C) of numbers, with at least one pixel."""
    require_array(op, x)
    if x.dtype == np.bool_:
        raise TypeError(f"{op}: expected images of numbers, got bool; convert them, with x.astype(...)")
    if x.ndim != 4 or 0 in x.shape[1:3]:
        raise ValueError(f"{op}: expected images (N, H, W, C) of at least one pixel, got shape {x.shape}")


def pooling_window(
    op: str, kernel_size: Any, stride: Any, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Window:
    """The window of these options. Raises: ValueError for options that no image could be pooled with."""
    kernel = pair(op, "kernel_size", kernel_size, 1)
    vertical, horizontal = pair(op, "padding", padding, 0)
    if 2 * vertical > kernel[0] or 2 * horizontal > kernel[1]:
        raise ValueError(f"{op}: padding may be at most half the kernel {kernel_size!r}, got {padding!r}")
    return Window(
        kernel=kernel,
        stride=kernel if stride is None else pair(op, "stride", stride, 1),
        padding=((vertical, vertical), (horizontal, horizontal)),
        dilation=pair(op, "dilation", dilation, 1),
        ceil_mode=ceil_mode,
    )


def check_divisor(op: str, divisor: Any) -> None:
    """Raises: ValueError for what is neither None nor an integer other than 0."""
    whole = isinstance(divisor, numbers.Integral) and not isinstance(divisor, bool)
    if divisor is not None and not (whole and divisor != 0):
        raise ValueError(f"{op}: divisor_override must be an integer other than 0, got {divisor!r}")


def check_norm_type(op: str, p: Any) -> None:
    """Raises: ValueError for what is no number, 0 or NaN."""
    if not isinstance(p, numbers.Real) or isinstance(p, bool) or p == 0 or math.isnan(p):
        raise ValueError(f"{op}: norm_type must be a number other than 0, got {p!r}")


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
