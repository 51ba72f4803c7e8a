"""Convolution as matrix products: im2col, col2im, and the three products of a convolution's forward and backward.

Laying every window of an image out as a row turns a convolution into one matrix product (Chellapilla, Puri & Simard
2006; Caffe's im2col):

    columns (N·OH·OW, KH·KW·C)  @  weight (KH·KW·C, F)  =  y (N·OH·OW, F)

The column matrix is KH·KW times as large as the image. It is never built whole: a band of output rows at a time, small
enough to stay in the cache, is laid out, multiplied and dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.backend import Array, array_module
from minidl.kernels.window import Window

CPU_SCRATCH = 4 << 20  # bytes of columns at a time: about a core's cache
GPU_SCRATCH = 256 << 20  # enough to fill a GPU


def im2col(x: Array, window: Window) -> Array:
    """The windows of x (N, H, W, C), which has its padding already, as rows: (N·OH·OW, KH·KW·C)."""
    N, H, W, C = x.shape
    (KH, KW), (SH, SW), (DH, DW) = window.kernel, window.stride, window.dilation
    OH, OW = (H - window.extent[0]) // SH + 1, (W - window.extent[1]) // SW + 1
    n, h, w, c = x.strides
    view = array_module(x).lib.stride_tricks.as_strided(
        x, (N, OH, OW, KH, KW, C), (n, SH * h, SW * w, DH * h, DW * w, c)
    )
    return view.reshape(N * OH * OW, KH * KW * C)  # (N·OH·OW, KH·KW·C); a copy, except for a 1×1 window


def col2im(columns: Array, x: Array, window: Window) -> None:
    """The adjoint of im2col: add each row back onto the window of x (N, H, W, C) it was taken from, in place.

    Windows overlap, so contributions add up (+=); within one window position they do not, so a slice can be added.
    """
    N, H, W, C = x.shape
    KH, KW = window.kernel
    OH = (H - window.extent[0]) // window.stride[0] + 1
    OW = (W - window.extent[1]) // window.stride[1] + 1
    blocks = columns.reshape(N, OH, OW, KH, KW, C)
    for kh, kw, rows, cols in window.positions(OH, OW):
        x[:, rows, cols] += blocks[:, :, :, kh, kw]  # (N, OH, OW, C)


def convolve(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    """y[n, oh, ow, f] = bias[f] + Σ over kh, kw, c of x[n, h, w, c] · weight[kh, kw, c, f].

    h = oh·SH + kh·DH − PH, and w = ow·SW + kw·DW − PW; outside the image, x is 0.
    x (N, H, W, C), weight (KH, KW, C/G, F), bias (F,) or None → (N, OH, OW, F).
    """
    xp = array_module(x)
    N, H, W, _ = x.shape
    F = weight.shape[-1]
    OH, OW = window.output_size(H, W)
    padded = window.pad(x)
    y = xp.empty((N, OH, OW, F), dtype=xp.result_type(x.dtype, weight.dtype))
    for images, rows, source in _bands(N, OH, OW, weight, window, xp):
        for channels, filters in _groups(weight, groups):
            columns = im2col(padded[images, source, :, channels], window)
            matrix = weight[..., filters].reshape(-1, filters.stop - filters.start)  # (KH·KW·C/G, F/G)
            band = columns @ matrix  # (band of N·OH·OW, F/G)
            if bias is not None:
                band += bias[filters]
            part = y[images, rows, :, filters]  # (images, rows, OW, F/G)
            part[...] = band.reshape(part.shape)
    return y


def convolve_input_gradient(g: Array, weight: Array, window: Window, groups: int, H: int, W: int) -> Array:
    """∂L/∂x (N, H, W, C) from g (N, OH, OW, F): columns of gradients, g weightᵀ, added back onto the image."""
    xp = array_module(g)
    N, OH, OW, _ = g.shape
    C = weight.shape[2] * groups
    padded = xp.zeros(window.padded_shape(N, H, W, C), dtype=xp.result_type(g.dtype, weight.dtype))
    for images, rows, source in _bands(N, OH, OW, weight, window, xp):
        for channels, filters in _groups(weight, groups):
            band = g[images, rows, :, filters].reshape(-1, filters.stop - filters.start)  # (band of N·OH·OW, F/G)
            matrix = weight[..., filters].reshape(-1, band.shape[1])  # (KH·KW·C/G, F/G)
            columns = band @ matrix.T  # (band of N·OH·OW, KH·KW·C/G)
            col2im(columns, padded[images, source, :, channels], window)
    return window.crop(padded, H, W)


def convolve_weight_gradient(x: Array, g: Array, window: Window, groups: int) -> Array:
    """∂L/∂weight (KH, KW, C/G, F) from g (N, OH, OW, F): columnsᵀ g, added up over the bands."""
    xp = array_module(x)
    N, OH, OW, F = g.shape
    padded = window.pad(x)
    gradient = xp.zeros((*window.kernel, x.shape[3] // groups, F), dtype=xp.result_type(x.dtype, g.dtype))
    for images, rows, source in _bands(N, OH, OW, gradient, window, xp):
        for channels, filters in _groups(gradient, groups):
            columns = im2col(padded[images, source, :, channels], window)
            band = g[images, rows, :, filters].reshape(-1, filters.stop - filters.start)  # (band of N·OH·OW, F/G)
            part = gradient[..., filters]  # (KH, KW, C/G, F/G)
            part += (columns.T @ band).reshape(part.shape)
    return gradient


def _bands(N: int, OH: int, OW: int, weight: Array, window: Window, xp: object) -> Iterator[tuple[slice, slice, slice]]:
    """Cut the output into bands whose columns fit the scratch memory.

    Yields (images, output rows, padded input rows under them): several whole images at a time where they are small,
    some rows of one image where they are large.
    """
    scratch = CPU_SCRATCH if xp is np else GPU_SCRATCH
    KH, KW, C, _ = weight.shape
    row_bytes = max(1, OW * KH * KW * C * weight.dtype.itemsize)
    rows = max(1, min(OH, scratch // row_bytes))
    images = max(1, scratch // (row_bytes * OH)) if rows == OH else 1
    for n in range(0, N, images):
        for start in range(0, OH, rows):
            stop = min(start + rows, OH)
            first = start * window.stride[0]
            last = (stop - 1) * window.stride[0] + window.extent[0]
            yield slice(n, min(n + images, N)), slice(start, stop), slice(first, last)


def _groups(weight: Array, groups: int) -> Iterator[tuple[slice, slice]]:
    """The input channels and the filters of each group."""
    C, F = weight.shape[2], weight.shape[3] // groups
    for k in range(groups):
        yield slice(k * C, (k + 1) * C), slice(k * F, (k + 1) * F)
