"""The tiles and matrices of Winograd's convolution: F(2×2, 3×3) and F(4×4, 3×3) (Lavin & Gray, arXiv 1509.09308).

What they are for is said in `winograd.py`. Here is what it is made of: the matrices G, B and A of that paper (§4.1,
§4.3) as Kronecker products, the windows that tiles are, and each of the three maps with its adjoint beside it.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, NamedTuple

import numpy as np

from minidl.backend import Array, array_module
from minidl.kernels.bands import CPU_SCRATCH, Band, bands, even_parts
from minidl.kernels.threads import parallel
from minidl.kernels.window import Window


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


def multiplications(transforms: Transforms, OH: int, OW: int) -> int:
    """How many there are for each image, channel and filter: P for each tile, also for those that stick out."""
    m = transforms.m
    return (m + 2) ** 2 * -(-OH // m) * -(-OW // m)


def best(OH: int, OW: int) -> Transforms:
    """The tiles that take fewer multiplications; of equals the smaller, which round less."""
    return min((F2, F4), key=lambda transforms: multiplications(transforms, OH, OW))


_kept: dict[tuple[int, int], Array] = {}  # U of each constant weight, by the weight's id and P


def constant(array: np.ndarray) -> np.ndarray:
    """A copy that nobody can write to, ever: its memory is that of a `bytes`."""
    return np.ndarray(array.shape, array.dtype, buffer=array.tobytes())


def is_constant(array: Array) -> bool:
    """Whether `constant` made it. What is worked out from it stays true."""
    return isinstance(array, np.ndarray) and isinstance(array.base, bytes)


def is_turned(weight: Array) -> bool:
    """Whether channels lie closer together than filters, as for an input gradient, which exchanges the two."""
    return weight.strides[2] < weight.strides[3]


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

    def bands(self, N: int, C: int, F: int, xp: Any, scratch: int = 0) -> list[Band]:
        """Bands of tiles, of which C + F channels are transformed and multiplied."""
        of_row = self.TW * self.P
        return bands(N, self.TH, of_row * (C + F) * self.to_tile.dtype.itemsize, xp, scratch, of_row * C * F)

    def are_few(self, N: int, C: int, F: int) -> bool:
        """Whether those of N images take less memory, in C channels and F filters, than the filters do."""
        return N * self.TH * self.TW * (C + F) < C * F

    def places(self, band: Band) -> slice:
        """Where the tiles of a band lie among those of all images."""
        first = band.images.start * self.TH + band.rows.start
        last = (band.images.stop - 1) * self.TH + band.rows.stop
        return slice(first * self.TW, last * self.TW)

    def filters(self, weight: Array) -> Array:
        """U (P, C, F) = (G⊗G) w, from weight (3, 3, C, F). That of a constant is kept as long as the constant lives."""
        if is_turned(weight):  # a copy would take longer than a view
            return self.filters(weight.swapaxes(2, 3)).swapaxes(1, 2)
        key = id(weight), self.P
        if key in _kept:
            return _kept[key]
        _, _, C, F = weight.shape
        U = _by_channels(self.to_filter, weight.reshape(9, C, F))
        if is_constant(weight):
            _kept[key] = U
            weakref.finalize(weight, _kept.pop, key, None)
        return U

    def filter_gradient(self, to_U: Array) -> Array:
        """∂L/∂w (3, 3, C, F) from ∂L/∂U (P, C, F): the transpose of `filters`."""
        _, C, F = to_U.shape
        return _by_channels(self.to_filter.T, to_U).reshape(3, 3, C, F)

    def inputs(self, x: Array, band: Band, out: Array | None = None) -> Array:
        """V (P, T, C) = (B⊗B)ᵀ d, from the tiles of a band of images x (N, H, W, C)."""
        return self._transformed(self.to_tile, self.of_inputs, x, band, out)

    def output_gradients(self, g: Array, band: Band, out: Array | None = None) -> Array:
        """∂L/∂M (P, T, F) = (A⊗A) g, from the tiles of a band of g (N, OH, OW, F): the transpose of `write_outputs`."""
        return self._transformed(self.to_output.T, self.of_outputs, g, band, out)

    def _transformed(self, matrix: Array, window: Window, x: Array, band: Band, out: Array | None) -> Array:
        """matrix (P, K) times the windows of K elements in a band of x (N, H, W, C): (P, T, C)."""
        view = window.view(window.pad(x[band.images], rows=band.rows))  # (images, TH, TW, KH, KW, C)
        T, K, C = math.prod(view.shape[:3]), matrix.shape[1], view.shape[5]
        if out is None:
            out = array_module(x).empty((self.P, T, C), dtype=x.dtype)
        _multiply_each(matrix, view.reshape(T, K, C).swapaxes(0, 1), out)
        return out

    def write_outputs(self, M: Array, band: Band, y: Array) -> Band:
        """(A⊗A)ᵀ M, from M (P, T, F), written to the band's outputs in y (N, OH, OW, F): which are given back."""
        m, F = self.m, y.shape[3]
        written = Band(band.images, slice(band.rows.start * m, min(band.rows.stop * m, self.OH)))
        part = y[written]  # (images, rows, OW, F)
        N, TH = part.shape[0], band.rows.stop - band.rows.start
        tiles = (self.to_output @ M.swapaxes(0, 1)).reshape(N, TH, self.TW, m, m, F)  # from (T, m², F)
        tiles = tiles.swapaxes(2, 3)  # (N, TH, m, TW, m, F)
        if part.size == tiles.size:
            part.reshape(N, TH, m, self.TW, m, F)[...] = tiles
        else:  # the last tiles stick out
            part[...] = tiles.reshape(N, TH * m, self.TW * m, F)[:, : part.shape[1], : self.OW]
        return written


def _by_channels(matrix: Array, x: Array) -> Array:
    """matrix (M, K) times x (K, C, F), which may lie in memory in any way: (M, C, F). Threads share the channels C."""
    xp = array_module(x)
    y = xp.empty((len(matrix), *x.shape[1:]), dtype=x.dtype)

    def compute(part: slice) -> None:
        _multiply_each(matrix, x[:, part], y[:, part])

    parallel(compute, even_parts(x.shape[1], max(x.nbytes, y.nbytes) // CPU_SCRATCH, xp), xp)
    return y


def _multiply_each(matrix: Array, x: Array, out: Array) -> None:
    """matrix (M, K) times x (K, T, C), in out (M, T, C), as T products: BLAS is up to three times as fast at small ones
    as at a single one with T·C columns, which it first copies into blocks."""
    array_module(x).matmul(matrix, x.swapaxes(0, 1), out=out.swapaxes(0, 1))  # (T, M, C) from (T, K, C)
