"""Initial weights: random, of a size that keeps signals from growing or fading from layer to layer.

A sum of `fan` terms has the variance of its terms times `fan`. In our layouts the fans are read off the shape:

    linear (I, O)                     fan_in = I                fan_out = O
    convolution (KH, KW, C/G, F)      fan_in = KH·KW·C/G        fan_out = KH·KW·F      (as PyTorch counts them)

All functions return a new host array, float32 unless dtype says otherwise, drawn from minidl's generator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.backend import generator


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight: over how many terms its forward and its backward sums run."""
    if len(shape) not in (2, 4):
        raise ValueError(f"fans: expected a linear weight (I, O) or a convolution's (KH, KW, C, F), got shape {shape}")
    area = math.prod(shape[:-2])
    return area * shape[-2], area * shape[-1]


_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0)}


def gain(nonlinearity: str) -> float:
    """By what weights make up for a nonlinearity.

    √2 for relu, which halves the mean square of a signal symmetric around 0. 5/3 for tanh and 1 for sigmoid are
    conventions, as PyTorch tabulates them.
    """
    if nonlinearity not in _GAINS:
        raise ValueError(f"gain: expected one of {', '.join(_GAINS)}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def kaiming_normal(
    shape: tuple[int, ...], mode: str = "fan_in", nonlinearity: str = "relu", dtype: Any = np.float32
) -> np.ndarray:
    """Normal with standard deviation gain / √fan (He et al., arXiv 1502.01852: fan_in is eq. 10, fan_out eq. 14)."""
    return normal(shape, gain(nonlinearity) / math.sqrt(_fan(shape, mode)), dtype)


def kaiming_uniform(
    shape: tuple[int, ...], mode: str = "fan_in", nonlinearity: str = "relu", dtype: Any = np.float32
) -> np.ndarray:
    """Uniform with the same standard deviation: between ±gain · √(3 / fan)."""
    return uniform(shape, gain(nonlinearity) * math.sqrt(3.0 / _fan(shape, mode)), dtype)


def xavier_normal(shape: tuple[int, ...], gain: float = 1.0, dtype: Any = np.float32) -> np.ndarray:
    """Normal with standard deviation gain · √(2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return normal(shape, gain * math.sqrt(2.0 / sum(fans(shape))), dtype)


def xavier_uniform(shape: tuple[int, ...], gain: float = 1.0, dtype: Any = np.float32) -> np.ndarray:
    """Uniform between ±gain · √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return uniform(shape, gain * math.sqrt(6.0 / sum(fans(shape))), dtype)


def normal(shape: tuple[int, ...], std: float, dtype: Any = np.float32) -> np.ndarray:
    """Normal with mean 0 and standard deviation std."""
    return (generator().standard_normal(shape) * std).astype(dtype)


def uniform(shape: tuple[int, ...], bound: float, dtype: Any = np.float32) -> np.ndarray:
    """Uniform between ±bound."""
    return generator().uniform(-bound, bound, shape).astype(dtype)


def _fan(shape: tuple[int, ...], mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'kaiming: expected mode "fan_in" or "fan_out", got {mode!r}')
    return fans(shape)[mode == "fan_out"]
