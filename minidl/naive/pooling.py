"""Pooling as plain loops: what a window keeps of the pixels under it, and whose the gradient is."""

from __future__ import annotations

import math

import numpy as np

from minidl.naive.window import Pair, pair, places

# ------------------------------------------------------------------------------------------------------ max pooling


def max_pool2d(
    x: np.ndarray,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """y[n, oh, ow, c] = the largest x[n, h, w, c] under the window. (N, H, W, C) → (N, OH, OW, C)"""
    y, _ = _max_and_winners(x, kernel_size, stride, padding, dilation, ceil_mode)
    return y


def max_pool2d_backward(
    g: np.ndarray,
    x: np.ndarray,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The gradient to x: each g goes whole to the pixel that won its window, and nothing to the others."""
    _, winners = _max_and_winners(x, kernel_size, stride, padding, dilation, ceil_mode)
    gx = np.zeros_like(x)
    N, OH, OW, C = g.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for c in range(C):
                    h, w = winners[n, oh, ow, c]
                    if h >= 0:  # else nobody won
                        gx[n, h, w, c] += g[n, oh, ow, c]
    return gx


def _max_and_winners(
    x: np.ndarray,
    kernel_size: int | Pair,
    stride: int | Pair | None,
    padding: int | Pair,
    dilation: int | Pair,
    ceil_mode: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each window (N, OH, OW, C), and the pixel (h, w) it stood at (N, OH, OW, C, 2).

    Of equal pixels the first one wins, in reading order. A NaN is not larger than anything, but it wins as well: what
    is not a number should not vanish. A dilated window may step over the whole image: its maximum is −∞, and its
    winner (−1, −1), nobody.
    """
    N, H, W, C = x.shape
    (KH, KW), (SH, SW), (PH, PW) = _pooling_options("max_pool2d", kernel_size, stride, padding)
    DH, DW = pair(dilation)
    OH, OW = places(H, KH, SH, PH, DH, ceil_mode), places(W, KW, SW, PW, DW, ceil_mode)

    y = np.zeros((N, OH, OW, C), dtype=x.dtype)
    winners = np.full((N, OH, OW, C, 2), -1)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for c in range(C):
                    best = None
                    for kh in range(KH):
                        for kw in range(KW):
                            h = oh * SH + kh * DH - PH
                            w = ow * SW + kw * DW - PW
                            if 0 <= h < H and 0 <= w < W:
                                pixel = x[n, h, w, c]
                                if best is None or pixel > best or np.isnan(pixel):
                                    best = pixel
                                    winners[n, oh, ow, c] = h, w
                    y[n, oh, ow, c] = -np.inf if best is None else best
    return y, winners


# -------------------------------------------------------------------------------------------------- average pooling


def avg_pool2d(
    x: np.ndarray,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """y[n, oh, ow, c] = (Σ of x[n, h, w, c] under the window) / divisor. (N, H, W, C) → (N, OH, OW, C)

    The divisor is how many elements of the window lie in the image or, with count_include_pad, in its padding; what
    ceil_mode lets hang out beyond the padding never counts. divisor_override takes its place.
    """
    N, H, W, C = x.shape
    (KH, KW), (SH, SW), (PH, PW) = _pooling_options("avg_pool2d", kernel_size, stride, padding)
    OH, OW = places(H, KH, SH, PH, 1, ceil_mode), places(W, KW, SW, PW, 1, ceil_mode)
    MH, MW = (PH, PW) if count_include_pad else (0, 0)  # the margin that counts

    y = np.zeros((N, OH, OW, C), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                top, left = oh * SH - PH, ow * SW - PW
                divisor = divisor_override or _counted(top, KH, H, MH) * _counted(left, KW, W, MW)
                for c in range(C):
                    for h in range(top, top + KH):
                        for w in range(left, left + KW):
                            if 0 <= h < H and 0 <= w < W:
                                y[n, oh, ow, c] += x[n, h, w, c]
                    y[n, oh, ow, c] /= divisor
    return y


def avg_pool2d_backward(
    g: np.ndarray,
    x: np.ndarray,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The gradient to x: each g, shared out equally over the pixels under its window."""
    N, H, W, C = x.shape
    (KH, KW), (SH, SW), (PH, PW) = _pooling_options("avg_pool2d", kernel_size, stride, padding)
    OH, OW = places(H, KH, SH, PH, 1, ceil_mode), places(W, KW, SW, PW, 1, ceil_mode)
    MH, MW = (PH, PW) if count_include_pad else (0, 0)  # the margin that counts

    gx = np.zeros_like(x)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                top, left = oh * SH - PH, ow * SW - PW
                divisor = divisor_override or _counted(top, KH, H, MH) * _counted(left, KW, W, MW)
                for c in range(C):
                    for h in range(top, top + KH):
                        for w in range(left, left + KW):
                            if 0 <= h < H and 0 <= w < W:
                                gx[n, h, w, c] += g[n, oh, ow, c] / divisor
    return gx


def _counted(start: int, kernel: int, size: int, margin: int) -> int:
    """How many elements of a window lie in an image or at most `margin` outside, along one axis."""
    return min(start + kernel, size + margin) - max(start, -margin)


# ----------------------------------------------------------------------------------------------------- norm pooling


def lp_pool2d(
    x: np.ndarray,
    norm_type: float,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    ceil_mode: bool = False,
) -> np.ndarray:
    """y[n, oh, ow, c] = (Σ of x[n, h, w, c]ᵖ under the window)^(1/p), p = norm_type. (N, H, W, C) → (N, OH, OW, C)

    Of a window of ceil_mode only a share lies in the image; its sum is divided by that share. p = ∞ is the largest |x|,
    p = −∞ the smallest.
    """
    if np.isinf(norm_type):
        sign = math.copysign(1, norm_type)
        return sign * max_pool2d(sign * abs(x), kernel_size, stride, ceil_mode=ceil_mode)
    N, H, W, C = x.shape
    (KH, KW), (SH, SW), _ = _pooling_options("lp_pool2d", kernel_size, stride, 0)
    OH, OW = places(H, KH, SH, 0, 1, ceil_mode), places(W, KW, SW, 0, 1, ceil_mode)

    y = np.zeros((N, OH, OW, C), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                top, left = oh * SH, ow * SW
                share = _counted(top, KH, H, 0) * _counted(left, KW, W, 0) / (KH * KW)
                for c in range(C):
                    for h in range(top, min(top + KH, H)):
                        for w in range(left, min(left + KW, W)):
                            y[n, oh, ow, c] += x[n, h, w, c] ** norm_type
                    y[n, oh, ow, c] = (y[n, oh, ow, c] / share) ** (1 / norm_type)
    return y


def lp_pool2d_backward(
    g: np.ndarray,
    x: np.ndarray,
    norm_type: float,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The gradient to x: ∂y/∂x = (x / y)^(p−1) / share; nothing where y = 0. For p = ±∞, g · sign x to the winner."""
    y = lp_pool2d(x, norm_type, kernel_size, stride, ceil_mode)
    if np.isinf(norm_type):
        signed = math.copysign(1, norm_type) * abs(x)
        return np.sign(x) * max_pool2d_backward(g, signed, kernel_size, stride, ceil_mode=ceil_mode)
    _, H, W, _ = x.shape
    (KH, KW), (SH, SW), _ = _pooling_options("lp_pool2d", kernel_size, stride, 0)

    gx = np.zeros_like(x)
    N, OH, OW, C = g.shape
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                top, left = oh * SH, ow * SW
                share = _counted(top, KH, H, 0) * _counted(left, KW, W, 0) / (KH * KW)
                for c in range(C):
                    if y[n, oh, ow, c] == 0:
                        continue
                    for h in range(top, min(top + KH, H)):
                        for w in range(left, min(left + KW, W)):
                            ratio = x[n, h, w, c] / y[n, oh, ow, c]
                            gx[n, h, w, c] += g[n, oh, ow, c] * ratio ** (norm_type - 1) / share
    return gx


# ---------------------------------------------------------------------------------------------------------- options


def _pooling_options(
    op: str, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair
) -> tuple[Pair, Pair, Pair]:
    """Kernel, stride and padding as pairs. Without a stride, windows stand side by side."""
    (KH, KW), (PH, PW) = pair(kernel_size), pair(padding)
    if 2 * PH > KH or 2 * PW > KW:
        raise ValueError(f"{op}: padding may be at most half the kernel {kernel_size!r}, got {padding!r}")
    return (KH, KW), (KH, KW) if stride is None else pair(stride), (PH, PW)
