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

import math
import weakref
from typing import Any, NamedTuple

import numpy as np

from minidl.backend import Array, array_module
from minidl.kernels.bands import CPU_SCRATCH, Band, bands, parts
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.threads import parallel, threads_of
from minidl.kernels.window import Window

CHUNK_SCRATCH = 16 << 20  # bytes of transformed tiles at a time that all threads together multiply


class Transforms(NamedTuple):
    """The matrices of F(m×m, 3×3), with P = (m+2)²."""

    m: int  # outputs of a tile, in each direction
    to_filter: np.ndarray  # G⊗G (P, 9)
    to_tile: np.ndarray  # (B⊗B)ᵀ (P, P)
    to_output: np.ndarray  # (A⊗A)ᵀ (m², P)


def _transforms(m: int, G: list[list[float]], BT: list[list[float]], AT: list[list[float]]) -> Transforms:
    return Transforms(m, *(np.kron(matrix, matrix) for matrix in (np.array(G), np.array(BT), np.array(AT))))


F2 = _transforms(  # eq. 7
    2,
    G=[[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    BT=[[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    AT=[[1, 1, 1, 0], [0, 1, -1, -1]],
)
F4 = _transforms(  # §4.3
    4,
    G=[
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    BT=[
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    AT=[[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
)


def applies(window: Window, groups: int) -> bool:
    """Whether this is a convolution that Winograd's algorithm computes: 3×3, stride 1, dense, of all channels."""
    return window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and groups == 1


def multiplications(transforms: Transforms, OH: int, OW: int) -> int:
    """How many there are for each image, channel and filter: P for each tile, also for those that stick out."""
    m = transforms.m
    return (m + 2) ** 2 * -(-OH // m) * -(-OW // m)


def best(OH: int, OW: int) -> Transforms:
    """The tiles that take fewer multiplications; of equals the smaller, which round less."""
    return min((F2, F4), key=lambda transforms: multiplications(transforms, OH, OW))


# What it takes to transform one number, in multiply-adds of a large matrix product. Measured over 180 convolutions of
# 4×4 to 56×56 pixels, 16 to 512 channels and 1 or 8 images on two cores: with these the choice costs 1% on average.
FILTER_COST = 120  # of the filters, which come from and go to memory: (m+2)² numbers for each channel and filter
KEPT_FILTER_COST = 5  # of filters that have been transformed, and only come from memory
TILE_COST = 50  # of the tiles, in the cache: (m+2)² numbers for each channel and for each filter


def is_faster(N: int, OH: int, OW: int, C: int, F: int, filters_kept: bool = False) -> bool:
    """Whether it should take less time than im2col: whether it saves more multiplications than it has other work."""
    transforms = best(OH, OW)
    transformed = multiplications(transforms, OH, OW)  # numbers, for each image and channel
    saved = N * (9 * OH * OW - transformed) * C * F
    filter_cost = KEPT_FILTER_COST if filters_kept else FILTER_COST
    return saved > filter_cost * (transforms.m + 2) ** 2 * C * F + TILE_COST * N * transformed * (C + F)


_kept: dict[tuple[int, int], Array] = {}  # U of each constant weight, by the weight's id and P


def is_constant(weight: Array) -> bool:
    """Whether this is a NumPy array that nobody can write to, as `models.to_deploy` makes of weights."""
    return isinstance(weight, np.ndarray) and weight.base is None and not weight.flags.writeable


class Tiles:
    """The m×m tiles that cover the outputs of a convolution, as windows, and the matrices that transform them.

    Of the padded image a tile takes m+2 rows and columns, m apart; of the outputs m. The last tiles may stick out.
    """

    def __init__(self, window: Window, H: int, W: int, like: Array) -> None:
        self.OH, self.OW = window.output_size(H, W)
        transforms = best(self.OH, self.OW)
        self.m = m = transforms.m
        self.P = (m + 2) ** 2
        self.TH, self.TW = -(-self.OH // m), -(-self.OW // m)
        (top, _), (left, _) = window.padding
        sides = (top, self.TH * m + 2 - top - H), (left, self.TW * m + 2 - left - W)
        self.of_inputs = Window((m + 2, m + 2), (m, m), sides)
        self.of_outputs = Window((m, m), (m, m), ((0, self.TH * m - self.OH), (0, self.TW * m - self.OW)))
        self.to_filter, self.to_tile, self.to_output = (
            array_module(like).asarray(matrix, dtype=like.dtype) for matrix in transforms[1:]
        )

    def bands(self, N: int, rows: int, C: int, F: int, xp: Any, scratch: int = 0) -> list[Band]:
        """Bands of tiles, of which C + F channels are transformed and multiplied."""
        of_row = self.TW * self.P
        return bands(N, rows, of_row * (C + F) * self.to_tile.dtype.itemsize, xp, scratch, of_row * C * F)

    def places(self, band: Band, rows: int) -> slice:
        """Where the tiles of a band lie among those of all images, each of so many rows of tiles."""
        first, last = band.images.start * rows + band.rows.start, (band.images.stop - 1) * rows + band.rows.stop
        return slice(first * self.TW, last * self.TW)

    def filters(self, weight: Array) -> Array:
        """U (P, C, F) = (G⊗G) w, from weight (3, 3, C, F). That of a constant is kept as long as the constant lives."""
        if weight.strides[2] < weight.strides[3]:  # as for an input gradient; a copy would take longer than a view
            return self.filters(weight.swapaxes(2, 3)).swapaxes(1, 2)
        key = id(weight), self.P
        if is_constant(weight) and key in _kept:
            return _kept[key]
        _, _, C, F = weight.shape
        U = _by_columns(self.to_filter, weight.reshape(9, C * F)).reshape(self.P, C, F)
        if is_constant(weight):
            _kept[key] = U
            weakref.finalize(weight, _kept.pop, key, None)
        return U

    def filter_gradient(self, to_U: Array) -> Array:
        """∂L/∂w (3, 3, C, F) from ∂L/∂U (P, C, F): the transpose of `filters`."""
        P, C, F = to_U.shape
        return _by_columns(self.to_filter.T, to_U.reshape(P, C * F)).reshape(3, 3, C, F)

    def inputs(self, x: Array, band: Band, out: Array | None = None) -> Array:
        """V (P, T, C) = (B⊗B)ᵀ d, from the tiles of a band of images x (N, H, W, C)."""
        return self._transformed(self.to_tile, self.of_inputs, x, band, out)

    def output_gradients(self, g: Array, band: Band, out: Array | None = None) -> Array:
        """∂L/∂M (P, T, F) = (A⊗A) g, from the tiles of a band of g (N, OH, OW, F): the transpose of `write_outputs`."""
        return self._transformed(self.to_output.T, self.of_outputs, g, band, out)

    def _transformed(self, matrix: Array, window: Window, x: Array, band: Band, out: Array | None) -> Array:
        """matrix (P, K) times the windows of K elements in a band of x (N, H, W, C): (P, T, C), or (P, T·C) in out."""
        view = window.view(window.pad(x[band.images], rows=band.rows))  # (images, TH, TW, KH, KW, C)
        T, C = math.prod(view.shape[:3]), view.shape[5]
        columns = view.transpose(3, 4, 0, 1, 2, 5).reshape(matrix.shape[1], T * C)  # (K, T·C)
        return array_module(x).matmul(matrix, columns, out=out).reshape(self.P, T, C)

    def write_outputs(self, M: Array, band: Band, y: Array) -> Band:
        """(A⊗A)ᵀ M, from M (P, T, F), written to the band's outputs in y (N, OH, OW, F): which are given back."""
        m, F = self.m, y.shape[3]
        written = Band(band.images, slice(band.rows.start * m, min(band.rows.stop * m, self.OH)))
        part = y[written]  # (images, rows, OW, F)
        N, TH = part.shape[0], band.rows.stop - band.rows.start
        tiles = (self.to_output @ M.reshape(self.P, -1)).reshape(m, m, N, TH, self.TW, F)
        tiles = tiles.transpose(2, 3, 0, 4, 1, 5)  # (N, TH, m, TW, m, F)
        if part.size == tiles.size:
            part.reshape(N, TH, m, self.TW, m, F)[...] = tiles
        else:  # the last tiles stick out
            part[...] = tiles.reshape(N, TH * m, self.TW * m, F)[:, : part.shape[1], : self.OW]
        return written


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
        xp.matmul(V.reshape(P, T, C)[part], U[part], out=M[part])

    def write(band: Band) -> None:
        written = tiles.write_outputs(M[:, tiles.places(band, tiles.TH)], band, y)
        epilogue.apply(y[written], written)

    every = tiles.bands(N, tiles.TH, C, F, xp)
    parallel(transform, every, xp)
    parallel(multiply, parts(P, 4 * threads_of(xp)), xp)
    parallel(write, every, xp)


def convolve_weight_gradient(x: Array, g: Array, window: Window) -> Array:
    """`columns.convolve_weight_gradient` by Winograd's algorithm: (3, 3, C, F).

    ∂L/∂U = Vᵀ ∂L/∂M, a product for each element of a tile. Threads first share the tiles, to transform them, and then
    those products; so no sums of theirs have to be added.
    """
    xp = array_module(x)
    N, H, W, C = x.shape
    F = g.shape[3]
    tiles = Tiles(window, H, W, x)
    P = tiles.P
    to_U = xp.zeros((P, C, F), dtype=x.dtype)

    def add(chunk: Band) -> None:
        images, rows = chunk.images.stop - chunk.images.start, chunk.rows.stop - chunk.rows.start
        T = images * rows * tiles.TW
        V, to_M = xp.empty((P, T * C), dtype=x.dtype), xp.empty((P, T * F), dtype=x.dtype)

        def transform(piece: Band) -> None:
            band, t = piece.inside(chunk), tiles.places(piece, rows)
            tiles.inputs(x, band, out=V[:, t.start * C : t.stop * C])
            tiles.output_gradients(g, band, out=to_M[:, t.start * F : t.stop * F])

        def multiply(part: slice) -> None:
            to_U[part] += V.reshape(P, T, C)[part].swapaxes(1, 2) @ to_M.reshape(P, T, F)[part]  # (part of P, C, F)

        parallel(transform, tiles.bands(images, rows, C, F, xp), xp)
        parallel(multiply, parts(P, 4 * threads_of(xp)), xp)

    for chunk in tiles.bands(N, tiles.TH, C, F, xp, scratch=CHUNK_SCRATCH):
        add(chunk)
    return tiles.filter_gradient(to_U)


def _by_columns(matrix: Array, x: Array) -> Array:
    """matrix (M, K) times x (K, N): (M, N), some columns at a time. x may lie in memory in any way."""
    xp = array_module(x)
    y = xp.empty((len(matrix), x.shape[1]), dtype=x.dtype)

    def compute(part: slice) -> None:
        xp.matmul(matrix, xp.ascontiguousarray(x[:, part]), out=y[:, part])

    parallel(compute, parts(x.shape[1], -(-max(x.nbytes, y.nbytes) // CPU_SCRATCH)), xp)
    return y
