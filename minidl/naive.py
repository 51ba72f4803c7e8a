"""Convolution and pooling as plain loops: each formula written down, one loop for each of its axes.

Start here. Nothing on this page is fast, and nothing is hidden: arrays are NumPy arrays, images are (N, H, W, C), and
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

from __future__ import annotations

from typing import Any

import numpy as np

Pair = tuple[int, int]

# ------------------------------------------------------------------------------------------------------ convolution


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """y[n, oh, ow, f] = bias[f] + Σ over kh, kw, c of x[n, h, w, c] · weight[kh, kw, c, f].

    x (N, H, W, C), weight (KH, KW, C/G, F), bias (F,) → y (N, OH, OW, F). Each filter sees the channels of its group.
    """
    N, H, W, C = x.shape
    KH, KW, CG, F = weight.shape  # CG = C/G: the channels of one group
    if CG * groups != C or F % groups:
        raise ValueError(f"conv2d: {C} channels, weight {weight.shape} and groups={groups} do not fit together")
    (SH, SW), (PH, PW), (DH, DW) = _pair(stride), _pair(padding), _pair(dilation)
    OH, OW = _places(H, KH, SH, PH, DH), _places(W, KW, SW, PW, DW)

    y = np.zeros((N, OH, OW, F), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for f in range(F):
                    first = f // (F // groups) * CG  # the first channel of this filter's group
                    for kh in range(KH):
                        for kw in range(KW):
                            h = oh * SH + kh * DH - PH
                            w = ow * SW + kw * DW - PW
                            if 0 <= h < H and 0 <= w < W:
                                for c in range(CG):
                                    y[n, oh, ow, f] += x[n, h, w, first + c] * weight[kh, kw, c, f]
                    if bias is not None:
                        y[n, oh, ow, f] += bias[f]
    return y


def conv2d_backward(
    g: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients to x, weight and bias, from g = ∂L/∂y (N, OH, OW, F).

    The loops of `conv2d`, word for word. Only the innermost line differs: y took x · weight, so x gets g · weight, and
    weight gets g · x.
    """
    N, H, W, _ = x.shape
    KH, KW, CG, F = weight.shape
    (SH, SW), (PH, PW), (DH, DW) = _pair(stride), _pair(padding), _pair(dilation)
    OH, OW = _places(H, KH, SH, PH, DH), _places(W, KW, SW, PW, DW)

    gx, gw, gb = np.zeros_like(x), np.zeros_like(weight), np.zeros(F, dtype=weight.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for f in range(F):
                    first = f // (F // groups) * CG
                    for kh in range(KH):
                        for kw in range(KW):
                            h = oh * SH + kh * DH - PH
                            w = ow * SW + kw * DW - PW
                            if 0 <= h < H and 0 <= w < W:
                                for c in range(CG):
                                    gx[n, h, w, first + c] += g[n, oh, ow, f] * weight[kh, kw, c, f]
                                    gw[kh, kw, c, f] += g[n, oh, ow, f] * x[n, h, w, first + c]
                    gb[f] += g[n, oh, ow, f]
    return gx, gw, gb


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
    DH, DW = _pair(dilation)
    OH, OW = _places(H, KH, SH, PH, DH, ceil_mode), _places(W, KW, SW, PW, DW, ceil_mode)

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
    OH, OW = _places(H, KH, SH, PH, 1, ceil_mode), _places(W, KW, SW, PW, 1, ceil_mode)
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
    OH, OW = _places(H, KH, SH, PH, 1, ceil_mode), _places(W, KW, SW, PW, 1, ceil_mode)
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


# ----------------------------------------------------------------------------------------- adaptive average pooling


def adaptive_avg_pool2d(x: np.ndarray, output_size: int | tuple[int | None, int | None]) -> np.ndarray:
    """y[n, oh, ow, c] = the mean of x over rows ⌊oh·H/OH⌋ ≤ h < ⌈(oh+1)·H/OH⌉ and columns alike.

    (N, H, W, C) → (N, OH, OW, C). None keeps a size.
    """
    N, H, W, C = x.shape
    OH, OW = _output_size(output_size, H, W)
    y = np.zeros((N, OH, OW, C), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                rows, cols = _share(oh, H, OH), _share(ow, W, OW)
                for c in range(C):
                    for h in rows:
                        for w in cols:
                            y[n, oh, ow, c] += x[n, h, w, c]
                    y[n, oh, ow, c] /= len(rows) * len(cols)
    return y


def adaptive_avg_pool2d_backward(
    g: np.ndarray, x: np.ndarray, output_size: int | tuple[int | None, int | None]
) -> np.ndarray:
    """The gradient to x: each g, shared out equally over the pixels of its rectangle."""
    N, H, W, C = x.shape
    OH, OW = _output_size(output_size, H, W)
    gx = np.zeros_like(x)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                rows, cols = _share(oh, H, OH), _share(ow, W, OW)
                for c in range(C):
                    for h in rows:
                        for w in cols:
                            gx[n, h, w, c] += g[n, oh, ow, c] / (len(rows) * len(cols))
    return gx


def _share(place: int, size: int, places: int) -> range:
    """The pixels of one of `places` even shares of `size` pixels; where they do not divide, neighbours overlap."""
    return range(place * size // places, -(-(place + 1) * size // places))


def _output_size(output_size: int | tuple[int | None, int | None], H: int, W: int) -> Pair:
    OH, OW = _pair(output_size)
    return H if OH is None else OH, W if OW is None else OW


# ----------------------------------------------------------------------------------------------- options and places


def _pair(option: Any) -> tuple[Any, Any]:
    """An option given once for both directions, or as (vertical, horizontal)."""
    return tuple(option) if isinstance(option, tuple | list) else (option, option)


def _pooling_options(
    op: str, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair
) -> tuple[Pair, Pair, Pair]:
    """Kernel, stride and padding as pairs. Without a stride, windows stand side by side."""
    (KH, KW), (PH, PW) = _pair(kernel_size), _pair(padding)
    if 2 * PH > KH or 2 * PW > KW:
        raise ValueError(f"{op}: padding may be at most half the kernel {kernel_size!r}, got {padding!r}")
    return (KH, KW), (KH, KW) if stride is None else _pair(stride), (PH, PW)


def _places(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> int:
    """At how many places a window stands along an axis: as often as it fits into the padded image, `stride` apart.

    With ceil_mode one time more where something is left over, unless that window would begin in the padding at the end.
    """
    room = size + 2 * padding - ((kernel - 1) * dilation + 1)  # how far the window can move
    places = room // stride + 1
    begins_inside = places * stride - padding < size
    return places + 1 if ceil_mode and room % stride and begins_inside else places
