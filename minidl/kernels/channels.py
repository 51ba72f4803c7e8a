"""Per-channel statistics and batch normalisation on raw arrays x (M, C): M = N·H·W values of each channel.

Sums over M are products with a row of ones: a matrix product adds up faster than a reduction over a leading axis.
"""

from __future__ import annotations

from minidl.backend import Array, array_module

BLOCK = 8192  # rows added up at a time: blocks stay in the cache, and sums of sums round less


def channel_sum(x: Array, other: Array | None = None) -> Array:
    """Σ over M of x, or of x · other, for each channel: (C,). Blocks are added up in float64."""
    xp = array_module(x)
    M, C = x.shape
    total = xp.zeros(C, dtype=xp.float64)
    ones = xp.ones(min(M, BLOCK), dtype=x.dtype)
    for start in range(0, M, BLOCK):
        block = x[start : start + BLOCK]
        if other is not None:
            block = block * other[start : start + BLOCK]
        total += ones[: len(block)] @ block
    return total.astype(x.dtype)


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance of each channel, in two passes: E[x²] − E[x]² would cancel in float32."""
    M = x.shape[0]
    mean = channel_sum(x) / M
    centred = x - mean
    return mean, channel_sum(centred, centred) / M


def normalize(x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array) -> Array:
    """y = (x − mean) · inv_std · weight + bias."""
    y = x - mean
    y *= inv_std * weight
    y += bias
    return y


def normalize_gradients(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, needs_x: bool = True
) -> tuple[Array | None, Array, Array]:
    """Gradients to x, weight and bias, when mean and inv_std were computed from x itself (Ioffe & Szegedy 2015, §3).

    With x̂ = (x − mean) · inv_std:   ∂L/∂bias = Σ g,   ∂L/∂weight = Σ g·x̂,
    ∂L/∂x = weight · inv_std · (g − Σg/M − x̂ · Σ(g·x̂)/M): g without its mean and without its part along x̂.
    """
    M = x.shape[0]
    normalized = x - mean
    normalized *= inv_std
    to_bias = channel_sum(g)
    to_weight = channel_sum(g, normalized)
    if not needs_x:
        return None, to_weight, to_bias
    normalized *= to_weight / M
    to_x = g - to_bias / M
    to_x -= normalized
    to_x *= weight * inv_std
    return to_x, to_weight, to_bias
