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

from minidl.backend import Array, array_module
from minidl.kernels.bands import Band, parts
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.threads import parallel, threads_of
from minidl.kernels.tiles import Tiles, best, multiplications
from minidl.kernels.window import Window

SMALL_FILTERS = 4 << 20  # bytes: transformed, they fit the cache beside as many tiles
CHUNK_SCRATCH = 16 << 20  # bytes of transformed tiles at a time that all threads together multiply
SHARES = 4  # of the P products for each thread: the slower one takes fewer of them


def applies(window: Window, groups: int) -> bool:
    """Whether this is a convolution that Winograd's algorithm computes: 3×3, stride 1, dense, of all channels."""
    return window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and groups == 1


# What it takes to transform one number, in multiply-adds of a large matrix product. Measured over 180 convolutions of
# 4×4 to 56×56 pixels, 16 to 512 channels and 1 or 8 images on two cores: with these the choice costs 1% on average.
FILTER_COST = 120  # of the filters, which come from and go to memory: (m+2)² numbers for each channel and filter
KEPT_FILTER_COST = 20  # of filters that have been transformed, and only come from memory
TILE_COST = 50  # of the tiles, in the cache: (m+2)² numbers for each channel and for each filter


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
    U = tiles.filters(weight)  # (P, C, F)
    y = xp.empty((N, tiles.OH, tiles.OW, F), dtype=x.dtype)
    T = N * tiles.TH * tiles.TW
    if C * F > T * (C + F):
        _with_few_tiles(tiles, x, U, epilogue, y)
        return y

    def compute(band: Band) -> None:
        M = tiles.inputs(x, band) @ U  # (P, T of the band, C) times (P, C, F): (P, T of the band, F)
        written = tiles.write_outputs(M, band, y)
        epilogue.apply(y[written], written)

    # A band reads all filters, so there should be more in a band than a few rows for them to be multiplied with.
    parallel(compute, tiles.bands(N, tiles.TH, C, F, xp, scratch=U.nbytes // 2), xp)
    return y


def _with_few_tiles(tiles: Tiles, x: Array, U: Array, epilogue: Epilogue, y: Array) -> None:
    """The convolution where filters take more memory than tiles: threads share the tiles, then the P products, of which
    each reads filters that no other reads, and then the tiles again."""
    xp, N = array_module(x), len(x)
    P, C, F = U.shape
    T = N * tiles.TH * tiles.TW
    V, M = xp.empty((P, T * C), dtype=x.dtype), xp.empty((P, T, F), dtype=x.dtype)

    def transform(band: Band) -> None:
        t = tiles.places(band, tiles.TH)
        tiles.inputs(x, band, out=V[:, t.start * C : t.stop * C])

    def multiply(part: slice) -> None:
        xp.matmul(V.reshape(P, T, C)[part], U[part], out=M[part])  # (part of P, T, F)

    def write(band: Band) -> None:
        written = tiles.write_outputs(M[:, tiles.places(band, tiles.TH)], band, y)
        epilogue.apply(y[written], written)

    every = tiles.bands(N, tiles.TH, C, F, xp)
    parallel(transform, every, xp)
    parallel(multiply, parts(P, SHARES * threads_of(xp)), xp)
    parallel(write, every, xp)


def convolve_weight_gradient(x: Array, g: Array, window: Window) -> Array:
    """`columns.convolve_weight_gradient` by Winograd's algorithm: (3, 3, C, F).

    ∂L/∂U = Vᵀ ∂L/∂M, a product for each element of a tile.
    """
    _, H, W, C = x.shape
    tiles = Tiles(window, H, W, x)
    bytes_of_U = tiles.P * C * g.shape[3] * x.dtype.itemsize
    gradient = _sums_of_bands if bytes_of_U < SMALL_FILTERS else _sums_of_chunks
    return tiles.filter_gradient(gradient(tiles, x, g))


def _sums_of_bands(tiles: Tiles, x: Array, g: Array) -> Array:
    """∂L/∂U (P, C, F), where it is small: each thread adds up one stretch of the bands, always the same."""
    xp = array_module(x)
    C, F = x.shape[3], g.shape[3]
    every = tiles.bands(len(x), tiles.TH, C, F, xp, scratch=SMALL_FILTERS)
    shares = [every[part] for part in parts(len(every), threads_of(xp))]
    totals = [xp.zeros((tiles.P, C, F), dtype=x.dtype) for _ in shares]

    def compute(i: int) -> None:
        for band in shares[i]:
            totals[i] += tiles.inputs(x, band).swapaxes(1, 2) @ tiles.output_gradients(g, band)  # (P, C, F)

    parallel(compute, range(len(shares)), xp)
    for total in totals[1:]:
        totals[0] += total
    return totals[0]


def _sums_of_chunks(tiles: Tiles, x: Array, g: Array) -> Array:
    """∂L/∂U (P, C, F), where it is large: threads first share the tiles of a chunk, to transform them, and then the P
    products of which it is the sum; so none of them has sums of its own."""
    xp = array_module(x)
    P, C, F = tiles.P, x.shape[3], g.shape[3]
    to_U = xp.zeros((P, C, F), dtype=x.dtype)

    def add(chunk: Band) -> None:
        images, rows = chunk.images.stop - chunk.images.start, chunk.rows.stop - chunk.rows.start
        T = images * rows * tiles.TW
        V, to_M = xp.empty((P, T * C), dtype=x.dtype), xp.empty((P, T * F), dtype=x.dtype)  # (P, T·C), (P, T·F)

        def transform(piece: Band) -> None:
            band, t = piece.inside(chunk), tiles.places(piece, rows)
            tiles.inputs(x, band, out=V[:, t.start * C : t.stop * C])
            tiles.output_gradients(g, band, out=to_M[:, t.start * F : t.stop * F])

        def multiply(part: slice) -> None:
            to_U[part] += V.reshape(P, T, C)[part].swapaxes(1, 2) @ to_M.reshape(P, T, F)[part]  # (part of P, C, F)

        parallel(transform, tiles.bands(images, rows, C, F, xp), xp)
        parallel(multiply, parts(P, SHARES * threads_of(xp)), xp)

    for chunk in tiles.bands(len(x), tiles.TH, C, F, xp, scratch=CHUNK_SCRATCH):
        add(chunk)
    return to_U
