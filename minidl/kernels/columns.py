"""Convolution as matrix products: im2col, col2im, and the three products of a convolution's forward and backward.

Laying every window of an image out as a row turns a convolution into one matrix product (Chellapilla, Puri & Simard
2006; Caffe's im2col):

    columns (N·OH·OW, KH·KW·C)  @  weight (KH·KW·C, F)  =  y (N·OH·OW, F)

The column matrix is KH·KW times as large as the image. It is not built whole, unless it is smaller than the weight: a
band of output rows at a time, small enough to stay in the cache, is laid out, multiplied and dropped; threads share the
bands. For a 1×1 window of stride 1 the columns are the image itself, and nothing is laid out.
"""

from __future__ import annotations

from collections.abc import Iterator

from minidl.backend import Array, array_module
from minidl.kernels.bands import Band, bands, parts, worth_threads
from minidl.kernels.elementwise import added
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.products import product
from minidl.kernels.threads import parallel, threads_of
from minidl.kernels.window import Window


def im2col(x: Array, window: Window) -> Array:
    """The windows of x (N, H, W, C), which has its padding already, as rows: (N·OH·OW, KH·KW·C)."""
    view = window.view(x)  # (N, OH, OW, KH, KW, C)
    N, OH, OW, KH, KW, C = view.shape
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


def convolve(x: Array, weight: Array, window: Window, groups: int, epilogue: Epilogue) -> Array:
    """y[n, oh, ow, f] = Σ over kh, kw, c of x[n, h, w, c] · weight[kh, kw, c, f], and the epilogue of that.

    h = oh·SH + kh·DH − PH, and w = ow·SW + kw·DW − PW; outside the image, x is 0.
    x (N, H, W, C), weight (KH, KW, C/G, F) → (N, OH, OW, F).
    """
    xp = array_module(x)
    N, H, W, _ = x.shape
    F = weight.shape[-1]
    OH, OW = window.output_size(H, W)
    y = xp.empty((N, OH, OW, F), dtype=xp.result_type(x.dtype, weight.dtype))
    matrices = _matrices(weight, groups)
    if _are_few(N * OH * OW, weight):
        padded = window.pad(x)
        for channels, filters, matrix in matrices:
            columns = im2col(padded[..., channels], window)  # (N·OH·OW, KH·KW·C/G)
            y[..., filters] = product(columns, matrix).reshape(y[..., filters].shape)
        return epilogue.applied(y)

    def compute(band: Band) -> None:
        padded = window.pad(x[band.images], rows=band.rows)
        part = y[band]  # (images, rows, OW, F)
        for channels, filters, matrix in matrices:
            columns = im2col(padded[..., channels], window)  # (band of N·OH·OW, KH·KW·C/G)
            if groups == 1:
                xp.matmul(columns, matrix, out=part.reshape(len(columns), F))  # (band of N·OH·OW, F)
            else:
                part[..., filters] = (columns @ matrix).reshape(part[..., filters].shape)  # (images, rows, OW, F/G)
        epilogue.apply(part, band)

    # A band reads the whole weight, so there should be as much in a band as in it.
    parallel(compute, bands(N, OH, OW * _bytes_a_place(weight), xp, weight.nbytes, OW * weight.size), xp)
    return y


def convolve_input_gradient(g: Array, weight: Array, window: Window, groups: int, H: int, W: int) -> Array:
    """∂L/∂x (N, H, W, C) from g (N, OH, OW, F): columns of gradients, g weightᵀ, added back onto the image."""
    xp = array_module(g)
    N, OH, OW, _ = g.shape
    C = weight.shape[2] * groups
    padded = xp.zeros(window.padded_shape(N, H, W, C), dtype=xp.result_type(g.dtype, weight.dtype))
    matrices = _matrices(weight, groups)
    if _are_few(N * OH * OW, weight):
        for channels, filters, matrix in matrices:
            columns = product(g[..., filters].reshape(N * OH * OW, matrix.shape[1]), matrix.T)  # (N·OH·OW, KH·KW·C/G)
            col2im(columns, padded[..., channels], window)
        return window.crop(padded, H, W)

    def compute(images: slice) -> None:  # whole images, for the bands of one overlap where they are added
        for band in bands(images.stop - images.start, OH, OW * _bytes_a_place(weight), xp, weight.nbytes):
            for channels, filters, matrix in matrices:
                part = g[images][band][..., filters].reshape(-1, matrix.shape[1])  # (band of N·OH·OW, F/G)
                columns = part @ matrix.T  # (band of N·OH·OW, KH·KW·C/G)
                under = padded[images][band.images, window.rows_under(band.rows), :, channels]
                col2im(columns, under, window)

    worth = worth_threads(N * OH * OW * _bytes_a_place(weight), N * OH * OW * weight.size)
    parallel(compute, parts(N, threads_of(xp) if worth else 1), xp)
    return window.crop(padded, H, W)


def convolve_weight_gradient(x: Array, g: Array, window: Window, groups: int) -> Array:
    """∂L/∂weight (KH, KW, C/G, F) from g (N, OH, OW, F): columnsᵀ g, added up over the bands.

    Each thread adds up one stretch of the bands, always the same, and the sums are added in order: so the result does
    not depend on which thread was faster.
    """
    xp = array_module(x)
    N, OH, OW, F = g.shape
    gradient = xp.empty((*window.kernel, x.shape[3] // groups, F), dtype=xp.result_type(x.dtype, g.dtype))
    if _are_few(N * OH * OW, gradient):
        padded = window.pad(x)
        for channels, filters in _groups(gradient, groups):
            part = gradient[..., filters]  # (KH, KW, C/G, F/G)
            columns = im2col(padded[..., channels], window)  # (N·OH·OW, KH·KW·C/G)
            part[...] = product(columns.T, g[..., filters].reshape(len(columns), part.shape[3])).reshape(part.shape)
        return gradient
    # A band adds to the whole gradient, so there should be more in a band than in the gradient.
    every = bands(N, OH, OW * _bytes_a_place(gradient), xp, 2 * gradient.nbytes, OW * gradient.size)
    stretches = [every[part] for part in parts(len(every), threads_of(xp))]
    totals = [gradient, *(xp.empty_like(gradient) for _ in stretches[1:])]

    def compute(i: int) -> None:
        for band in stretches[i]:
            padded = window.pad(x[band.images], rows=band.rows)
            for channels, filters in _groups(gradient, groups):
                columns = im2col(padded[..., channels], window)  # (band of N·OH·OW, KH·KW·C/G)
                total = totals[i][..., filters]  # (KH, KW, C/G, F/G)
                part = g[band][..., filters].reshape(len(columns), total.shape[3])  # (band of N·OH·OW, F/G)
                of_band = (columns.T @ part).reshape(total.shape)
                if band is stretches[i][0]:
                    total[...] = of_band
                else:
                    total += of_band

    parallel(compute, range(len(stretches)), xp)
    return totals[0] if len(totals) == 1 else added(totals)


def _are_few(rows: int, weight: Array) -> bool:
    """Whether so many rows of a group's columns, and of the result, take less memory than the weight.

    Then threads share the weight, and each multiplies all rows by its part. Sharing rows, each would read all of it.
    """
    KH, KW, C, F = weight.shape
    K = KH * KW * C
    return rows * (K + F) < K * F


def _bytes_a_place(weight: Array) -> int:
    """What one place of the window takes: KH·KW·C/G elements of a column matrix, and F of the result."""
    KH, KW, C, F = weight.shape
    return (KH * KW * C + F) * weight.dtype.itemsize


def _matrices(weight: Array, groups: int) -> list[tuple[slice, slice, Array]]:
    """Of each group the input channels, the filters, and the filters as a matrix (KH·KW·C/G, F/G)."""
    return [
        (channels, filters, weight[..., filters].reshape(-1, filters.stop - filters.start))
        for channels, filters in _groups(weight, groups)
    ]


def _groups(weight: Array, groups: int) -> Iterator[tuple[slice, slice]]:
    """The input channels and the filters of each group."""
    C, F = weight.shape[2], weight.shape[3] // groups
    for k in range(groups):
        yield slice(k * C, (k + 1) * C), slice(k * F, (k + 1) * F)
