"""Convolution as plain loops, its transpose, and what both do to a window: unfold and fold."""

from __future__ import annotations

import numpy as np

from minidl.naive.window import Pair, covered, pair, places

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
    (SH, SW), (PH, PW), (DH, DW) = pair(stride), pair(padding), pair(dilation)
    OH, OW = places(H, KH, SH, PH, DH), places(W, KW, SW, PW, DW)

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
    (SH, SW), (PH, PW), (DH, DW) = pair(stride), pair(padding), pair(dilation)
    OH, OW = places(H, KH, SH, PH, DH), places(W, KW, SW, PW, DW)

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


# ------------------------------------------------------------------------------------------- transposed convolution


def conv_transpose2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> np.ndarray:
    """y[n, oh, ow, f] = bias[f] + Σ over h, w, kh, kw, c of x[n, h, w, c] · weight[kh, kw, f, c].

    x (N, H, W, C), weight (KH, KW, F/G, C), bias (F,) → y (N, OH, OW, F). A convolution run backwards: what
    `conv2d_backward` says to gx, with in and out exchanged, so that oh = h · stride + kh · dilation − padding.
    """
    N, H, W, C = x.shape
    KH, KW, FG, _ = weight.shape  # FG = F/G: the filters of one group
    if weight.shape[3] != C or C % groups:
        raise ValueError(
            f"conv_transpose2d: {C} channels, weight {weight.shape} and groups={groups} do not fit together"
        )
    (SH, SW), (PH, PW), (DH, DW) = pair(stride), pair(padding), pair(dilation)
    more_rows, more_cols = pair(output_padding)
    OH, OW = covered(H, KH, SH, PH, DH) + more_rows, covered(W, KW, SW, PW, DW) + more_cols

    y = np.zeros((N, OH, OW, FG * groups), dtype=x.dtype)
    if bias is not None:
        y += bias
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    first = c // (C // groups) * FG  # the first filter of this channel's group
                    for kh in range(KH):
                        for kw in range(KW):
                            oh = h * SH + kh * DH - PH
                            ow = w * SW + kw * DW - PW
                            if 0 <= oh < OH and 0 <= ow < OW:
                                for f in range(FG):
                                    y[n, oh, ow, first + f] += x[n, h, w, c] * weight[kh, kw, f, c]
    return y


def conv_transpose2d_backward(
    g: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    groups: int = 1,
    dilation: int | Pair = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients to x, weight and bias, from g = ∂L/∂y (N, OH, OW, F). That to x is a `conv2d` of g."""
    N, H, W, C = x.shape
    KH, KW, FG, _ = weight.shape
    (SH, SW), (PH, PW), (DH, DW) = pair(stride), pair(padding), pair(dilation)
    _, OH, OW, _ = g.shape

    gx, gw = np.zeros_like(x), np.zeros_like(weight)
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    first = c // (C // groups) * FG
                    for kh in range(KH):
                        for kw in range(KW):
                            oh = h * SH + kh * DH - PH
                            ow = w * SW + kw * DW - PW
                            if 0 <= oh < OH and 0 <= ow < OW:
                                for f in range(FG):
                                    gx[n, h, w, c] += g[n, oh, ow, first + f] * weight[kh, kw, f, c]
                                    gw[kh, kw, f, c] += g[n, oh, ow, first + f] * x[n, h, w, c]
    return gx, gw, g.sum(axis=(0, 1, 2))


# -------------------------------------------------------------------------------------------------- unfold and fold


def unfold(
    x: np.ndarray,
    kernel_size: int | Pair,
    dilation: int | Pair = 1,
    padding: int | Pair = 0,
    stride: int | Pair = 1,
) -> np.ndarray:
    """y[n, oh·OW + ow, (kh·KW + kw)·C + c] = x[n, h, w, c]: each window, laid out as a row of a matrix.

    (N, H, W, C) → (N, OH·OW, KH·KW·C). Times weight.reshape(KH·KW·C, F), that is `conv2d`.
    """
    N, H, W, C = x.shape
    (KH, KW), (SH, SW), (PH, PW), (DH, DW) = pair(kernel_size), pair(stride), pair(padding), pair(dilation)
    OH, OW = places(H, KH, SH, PH, DH), places(W, KW, SW, PW, DW)

    y = np.zeros((N, OH * OW, KH * KW * C), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for kh in range(KH):
                    for kw in range(KW):
                        h = oh * SH + kh * DH - PH
                        w = ow * SW + kw * DW - PW
                        if 0 <= h < H and 0 <= w < W:
                            for c in range(C):
                                y[n, oh * OW + ow, (kh * KW + kw) * C + c] = x[n, h, w, c]
    return y


def unfold_backward(
    g: np.ndarray,
    x: np.ndarray,
    kernel_size: int | Pair,
    dilation: int | Pair = 1,
    padding: int | Pair = 0,
    stride: int | Pair = 1,
) -> np.ndarray:
    """The gradient to x: what was taken from a pixel, by however many windows, goes back to it. That is `fold`."""
    return fold(g, x.shape[1:3], kernel_size, dilation, padding, stride)


def fold(
    x: np.ndarray,
    output_size: int | Pair,
    kernel_size: int | Pair,
    dilation: int | Pair = 1,
    padding: int | Pair = 0,
    stride: int | Pair = 1,
) -> np.ndarray:
    """y[n, h, w, c] = Σ over its places in all windows of x[n, oh·OW + ow, (kh·KW + kw)·C + c].

    (N, OH·OW, KH·KW·C) → (N, H, W, C)
    """
    (H, W), (KH, KW) = pair(output_size), pair(kernel_size)
    (SH, SW), (PH, PW), (DH, DW) = pair(stride), pair(padding), pair(dilation)
    OH, OW = places(H, KH, SH, PH, DH), places(W, KW, SW, PW, DW)
    N, C = x.shape[0], x.shape[2] // (KH * KW)

    y = np.zeros((N, H, W, C), dtype=x.dtype)
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                for kh in range(KH):
                    for kw in range(KW):
                        h = oh * SH + kh * DH - PH
                        w = ow * SW + kw * DW - PW
                        if 0 <= h < H and 0 <= w < W:
                            for c in range(C):
                                y[n, h, w, c] += x[n, oh * OW + ow, (kh * KW + kw) * C + c]
    return y


def fold_backward(
    g: np.ndarray,
    x: np.ndarray,
    output_size: int | Pair,
    kernel_size: int | Pair,
    dilation: int | Pair = 1,
    padding: int | Pair = 0,
    stride: int | Pair = 1,
) -> np.ndarray:
    """The gradient to x: each element went to one pixel, and gets what that one gets. That is `unfold`."""
    return unfold(g, kernel_size, dilation, padding, stride)
