"""Winograd's convolution: 3×3 filters with a quarter of the multiplications (Lavin & Gray, arXiv 1509.09308).

Direct convolution takes 9 multiplications for each output, channel and filter. Winograd's F(m×m, 3×3) computes m×m
outputs at once from a tile d of (m+2)×(m+2) inputs, with one multiplication for each element of the tile: 36 instead
of 144 for m = 4, 16 instead of 36 for m = 2. With the small matrices A, B and G of that paper (§4.1, §4.3):

    U = G w Gᵀ              the filter, in the basis where convolution is elementwise        (m+2, m+2)
    V = Bᵀ d B              the tile, likewise
    Y = Aᵀ (Σ over c of U ⊙ V) A                                                             (m, m)

Written for all tiles T, channels C and filters F at once, everything is a matrix product. The two-sided products are
products with Kronecker matrices: vec(Bᵀ d B) = (B⊗B)ᵀ vec(d), and the sum over channels is one product V U for each of
the P = (m+2)² elements of a tile:

    V (P, T·C) = (B⊗B)ᵀ d (P, T·C)      M (P, T, F) = V (P, T, C) U (P, C, F)      Y (m², T·F) = (A⊗A)ᵀ M (P, T·F)

The same three maps, transposed, give the gradient to the filter. Rounding errors grow with the numbers in A, B and G:
in float32 the largest error is about 1e-5 of the largest value for m = 4 (5e-5 at most in the tests), 1e-6 for m = 2.
And a value that is not finite spreads over its tile, not over its window.
"""

from __future__ import annotations

from typing import Any

from minidl.backend import Array, array_module
from minidl.kernels.bands import Band, even_parts, parts
from minidl.kernels.elementwise import added
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.threads import parallel, threads_of
from minidl.kernels.tiles import Tiles, best, is_constant, is_turned, multiplications
from minidl.kernels.window import Window


def applies(window: Window, groups: int) -> bool:
    """Whether this is a convolution that Winograd's algorithm computes: 3×3, stride 1, dense, of all channels."""
    return window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and groups == 1


# What it takes to transform one number, in multiply-adds of a large matrix product. Measured over 180 convolutions of
# 4×4 to 56×56 pixels, 16 to 512 channels and 1 or 8 images on two cores: the choice by these takes 1 to 2% longer, on
# average, than the faster way each time.
FILTER_COST = 30  # of the filters: (m+2)² numbers for each channel and filter
KEPT_FILTER_COST = 10  # of filters that have been transformed, and only come from memory
TILE_COST = 30  # of the tiles: (m+2)² numbers for each channel and for each filter

KEPT_PARTS = 8  # of the P products with filters that are kept: the slower thread takes fewer of them


def is_faster(N: int, OH: int, OW: int, C: int, F: int, filters_kept: bool = False) -> bool:
    """Whether it should take less time than im2col: whether it saves more multiplications than it has other work."""
    transforms = best(OH, OW)
    transformed = multiplications(transforms, OH, OW)  # numbers, for each image and channel
    saved = N * (9 * OH * OW - transformed) * C * F
    filter_cost = KEPT_FILTER_COST if filters_kept else FILTER_COST
    return saved > filter_cost * (transforms.m + 2) ** 2 * C * F + TILE_COST * N * transformed * (C + F)


def convolve(x: Array, weight: Array, window: Window, epilogue: Epilogue) -> Array:
    """`columns.convolve` by Winograd's algorithm: x (N, H, W, C), weight (3, 3, C, F) → (N, OH, OW, F)."""
    xp = array_module(x)
    N, H, W, C = x.shape
    F = weight.shape[3]
    tiles = Tiles(window, H, W, x)
    y = xp.empty((N, tiles.OH, tiles.OW, F), dtype=x.dtype)
    if tiles.are_few(N, C, F):
        _with_few_tiles(tiles, x, weight, epilogue, y)
        return y
    U = tiles.filters(weight)  # (P, C, F)

    def compute(band: Band) -> None:
        M = tiles.inputs(x, band) @ U  # (P, T of the band, C) times (P, C, F): (P, T of the band, F)
        written = tiles.write_outputs(M, band, y)
        epilogue.apply(y[written], written)

    # A band reads all filters, so it should have enough of its own to make that worth while: half as much was measured.
    parallel(compute, tiles.bands(N, C, F, xp, scratch=U.nbytes // 2), xp)
    return y


def _with_few_tiles(tiles: Tiles, x: Array, weight: Array, epilogue: Epilogue, y: Array) -> None:
    """The convolution where filters take more memory than tiles: threads share the tiles, then the filters, so that no
    two read the same, and then the tiles again."""
    xp, N, (_, _, C, F) = array_module(x), len(x), weight.shape
    T = N * tiles.TH * tiles.TW
    V, M = xp.empty((tiles.P, T, C), dtype=x.dtype), xp.empty((tiles.P, T, F), dtype=x.dtype)

    def transform(band: Band) -> None:
        tiles.inputs(x, band, out=V[:, tiles.places(band)])

    def multiply_by_kept(part: slice) -> None:
        xp.matmul(V[part], tiles.filters(weight)[part], out=M[part])  # (part of P, T, F)

    def transform_and_multiply(part: slice) -> None:
        xp.matmul(V, tiles.filters(weight[..., part]), out=M[..., part])  # (P, T, part of F)

    def write(band: Band) -> None:
        written = tiles.write_outputs(M[:, tiles.places(band)], band, y)
        epilogue.apply(y[written], written)

    every = tiles.bands(N, C, F, xp)
    parallel(transform, every, xp)
    if is_constant(weight):
        tiles.filters(weight)  # all of them, by all threads, if they are not kept yet
        parallel(multiply_by_kept, even_parts(tiles.P, KEPT_PARTS, xp), xp)
    else:
        # OpenBLAS takes three times as long for a product with 64 columns of a transposed matrix, but not with 32.
        parallel(transform_and_multiply, _some_at_a_time(F, 32 if is_turned(weight) else 64, xp), xp)
    parallel(write, every, xp)


def convolve_weight_gradient(x: Array, g: Array, window: Window) -> Array:
    """`columns.convolve_weight_gradient` by Winograd's algorithm: (3, 3, C, F).

    ∂L/∂U = Vᵀ ∂L/∂M, a product for each element of a tile. Each thread adds up one stretch of the bands, always the
    same.
    """
    xp = array_module(x)
    N, H, W, C = x.shape
    F = g.shape[3]
    tiles = Tiles(window, H, W, x)
    if tiles.are_few(N, C, F):
        return _gradient_with_few_tiles(tiles, x, g)
    # A band adds to all of ∂L/∂U, so there should be as much in a band.
    every = tiles.bands(N, C, F, xp, scratch=tiles.P * C * F * x.dtype.itemsize)
    stretches = [every[part] for part in parts(len(every), threads_of(xp))]
    totals: list[Array] = [None] * len(stretches)  # (P, C, F) each

    def of_band(band: Band) -> Array:
        return tiles.inputs(x, band).swapaxes(1, 2) @ tiles.output_gradients(g, band)  # (P, C, F)

    def compute(i: int) -> None:
        first, *rest = stretches[i]
        totals[i] = of_band(first)
        for band in rest:
            totals[i] += of_band(band)

    parallel(compute, range(len(stretches)), xp)
    return tiles.filter_gradient(added(totals) if len(totals) > 1 else totals[0])


def _gradient_with_few_tiles(tiles: Tiles, x: Array, g: Array) -> Array:
    """The gradient where it takes more memory than tiles: threads share the tiles, then the channels. So there is never
    more of ∂L/∂U than the parts that they are at."""
    xp, N, C, F = array_module(x), len(x), x.shape[3], g.shape[3]
    T = N * tiles.TH * tiles.TW
    V, to_M = xp.empty((tiles.P, T, C), dtype=x.dtype), xp.empty((tiles.P, T, F), dtype=x.dtype)
    gradient = xp.empty((3, 3, C, F), dtype=x.dtype)

    def transform(band: Band) -> None:
        t = tiles.places(band)
        tiles.inputs(x, band, out=V[:, t])
        tiles.output_gradients(g, band, out=to_M[:, t])

    def multiply(part: slice) -> None:
        to_U = V[..., part].swapaxes(1, 2) @ to_M  # (P, part of C, F)
        gradient[:, :, part] = tiles.filter_gradient(to_U)  # (3, 3, part of C, F)

    parallel(transform, tiles.bands(N, C, F, xp), xp)
    parallel(multiply, _some_at_a_time(C, 64, xp), xp)
    return gradient


def _some_at_a_time(n: int, most: int, xp: Any) -> list[slice]:
    """n channels or filters in parts of at most `most`, equally many for each thread, and of 32 or a multiple of it:
    OpenBLAS takes at least as long for 48 as for 64."""
    return [slice(32 * part.start, 32 * part.stop) for part in even_parts(-(-n // 32), -(-n // most), xp)]
