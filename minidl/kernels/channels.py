"""Batch normalisation on raw arrays x (M, C): M = N·H·W values of each channel.

The M rows are cut into pieces that fit the cache that cores share, and all that can be done to a piece is done while it
is there; threads share the pieces. Sums over rows are products with a row of ones: a matrix product adds up faster than
a reduction over a leading axis. What the pieces give is added up in float64, in their order.
"""

from __future__ import annotations

from collections.abc import Callable

from minidl.backend import Array, array_module
from minidl.kernels.bands import even_parts
from minidl.kernels.elementwise import PIECE, rectify, where_else_zero
from minidl.kernels.threads import parallel

ROW = 8192  # numbers: NumPy is faster at long rows, so several rows of x are taken as one


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance of each channel: two (C,).

    The squares that are added up are those of deviations, for E[x²] − E[x]² would cancel in float32; and of deviations
    from each piece's own mean, so that x is read once. With nₚ rows, mean mₚ and Mₚ = Σ (x − mₚ)² in piece p,

        mean = Σ nₚ mₚ / M,        variance = (Σ Mₚ + Σ nₚ (mₚ − mean)²) / M

    (Chan, Golub & LeVeque, "Algorithms for computing the sample variance", 1983).
    """
    xp = array_module(x)
    M, C = x.shape
    k = _together(x)
    x = x.reshape(M // k, k * C)  # (M / k, k·C)

    def of_piece(rows: slice) -> tuple[Array, Array]:
        piece = x[rows]
        ones = xp.ones(len(piece), dtype=x.dtype)
        centre = xp.dot(ones, piece) / len(piece)  # (k·C,): the mean, but for rounding
        deviations = piece - centre
        rest = xp.dot(ones, deviations).astype(xp.float64) / len(piece)
        deviations *= deviations
        return centre + rest, xp.dot(ones, deviations).astype(xp.float64) - len(piece) * rest**2

    means, squares = (array.reshape(-1, C) for array in _sums(of_piece, x))  # (k · pieces, C) each
    sizes = xp.asarray([[rows.stop - rows.start] * k for rows in _pieces(x)], dtype=xp.float64).reshape(-1, 1)
    mean = (sizes * means).sum(axis=0) / M
    variance = (squares + sizes * (means - mean) ** 2).sum(axis=0) / M
    return mean.astype(x.dtype), variance.astype(x.dtype)


def affine(x: Array, scale: Array, shift: Array, add: Array | None = None, relu: bool = False) -> Array:
    """y = x · scale + shift for each channel, then + add (M, C), then the larger of that and 0."""
    xp, (M, C) = array_module(x), x.shape
    k = _together(x)
    x, add = (None if array is None else array.reshape(M // k, k * C) for array in (x, add))  # (M / k, k·C)
    scale, shift = xp.tile(scale, k), xp.tile(shift, k)  # (k·C,)
    y = xp.empty_like(x)

    def compute(rows: slice) -> None:
        piece = xp.multiply(x[rows], scale, out=y[rows])
        piece += shift
        if add is not None:
            piece += add[rows]
        if relu:
            rectify(piece, out=piece)

    parallel(compute, _pieces(x), xp)
    return y.reshape(M, C)


def normalize_gradients(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, y: Array | None = None, needs_x: bool = True
) -> tuple[Array | None, Array, Array, Array]:
    """Gradients to x, weight and bias, when mean and inv_std were computed from x itself (Ioffe & Szegedy 2015, §3).

    With x̂ = (x − mean) · inv_std:   ∂L/∂bias = Σ g,   ∂L/∂weight = Σ g·x̂,
    ∂L/∂x = weight · inv_std · (g − Σg/M − x̂ · Σ(g·x̂)/M): g without its mean and without its part along x̂.

    y   where given, the output, max(..., 0), and g is the gradient to it: 0 takes its place where y is 0

    The g that was used is the last of the four that are returned.
    """
    xp, (M, C) = array_module(x), x.shape
    k = _together(x)
    g, x, y = (None if array is None else array.reshape(M // k, k * C) for array in (g, x, y))  # (M / k, k·C)
    used = g if y is None else xp.empty(g.shape, dtype=g.dtype)
    centre = xp.tile(mean, k)  # (k·C,)

    def of_piece(rows: slice) -> tuple[Array, Array]:
        if y is not None:
            where_else_zero(y[rows] != 0, g[rows], out=used[rows])
        ones = xp.ones(rows.stop - rows.start, dtype=x.dtype)
        deviations = x[rows] - centre
        deviations *= used[rows]
        return xp.dot(ones, used[rows]), xp.dot(ones, deviations)

    # Σ g and Σ g·(x − mean): (C,), float64, from (pieces, k·C)
    to_bias, along = (sums.reshape(-1, C).sum(axis=0) for sums in _sums(of_piece, x))
    to_weight = along * inv_std
    result = to_weight.astype(x.dtype), to_bias.astype(x.dtype), used.reshape(M, C)
    if not needs_x:
        return None, *result
    of_g = weight * inv_std
    of_x = -of_g * inv_std * to_weight / M
    rest = -of_g * to_bias / M - mean * of_x
    of_g, of_x, rest = (xp.tile(factor.astype(x.dtype), k) for factor in (of_g, of_x, rest))  # (k·C,)
    to_x = xp.empty_like(x)

    def compute(rows: slice) -> None:  # the formula above, as g · of_g + x · of_x + rest
        piece = xp.multiply(x[rows], of_x, out=to_x[rows])
        piece += rest
        piece += used[rows] * of_g

    parallel(compute, _pieces(x), xp)
    return to_x.reshape(M, C), *result


def _together(x: Array) -> int:
    """How many rows of x (M, C) make one of at most ROW numbers: the largest power of two that divides M."""
    M, C = x.shape
    k = 1
    while M % (2 * k) == 0 and 0 < 2 * k * C <= ROW:
        k *= 2
    return k


def _pieces(x: Array) -> list[slice]:
    """The rows of x (M, C) in pieces of some PIECE numbers, equally many for each thread; less than that in one."""
    return even_parts(len(x), x.size // PIECE, array_module(x))


def _sums(of_piece: Callable[[slice], tuple[Array, ...]], x: Array) -> tuple[Array, ...]:
    """What of_piece gives for each piece of x, (C,) each, one below the other: (pieces, C) each, in float64."""
    xp, pieces = array_module(x), _pieces(x)
    results: list[tuple[Array, ...]] = [()] * len(pieces)

    def compute(i: int) -> None:
        results[i] = of_piece(pieces[i])

    parallel(compute, range(len(pieces)), xp)
    return tuple(xp.stack(column).astype(xp.float64) for column in zip(*results, strict=True))
