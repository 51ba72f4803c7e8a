"""Initial weights: random, of a size that keeps signals from growing or fading from layer to layer.

A sum of `fan` terms has the variance of its terms times `fan`. In our layouts the fans are read off the shape:

    linear (I, O)                     fan_in = I                fan_out = O
    convolution (KH, KW, C/G, F)      fan_in = KH·KW·C/G        fan_out = KH·KW·F      (as PyTorch counts them)

All functions return a new host array, float32 unless dtype says otherwise, drawn from minidl's generator. Inside
`placeholders()` they draw nothing, and return an array that has its shape only.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
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
    return _drawn(shape, dtype, lambda: generator().standard_normal(shape) * std)


def uniform(shape: tuple[int, ...], bound: float, dtype: Any = np.float32) -> np.ndarray:
    """Uniform between ±bound."""
    return _drawn(shape, dtype, lambda: generator().uniform(-bound, bound, shape))


def truncated_normal(shape: tuple[int, ...], std: float, bound: float, dtype: Any = np.float32) -> np.ndarray:
    """Normal with mean 0 and standard deviation std, where what lies outside ±bound is drawn again.

    Raises: ValueError for a bound below std / 100, where a draw inside would be rare.
    """
    if not bound >= std / 100 > 0:
        raise ValueError(f"truncated_normal: expected std > 0 and bound ≥ std / 100, got std={std!r}, bound={bound!r}")

    def draw() -> np.ndarray:
        values = generator().standard_normal(shape) * std
        while (outside := abs(values) > bound).any():
            values[outside] = generator().standard_normal(int(outside.sum())) * std
        return values

    return _drawn(shape, dtype, draw)


# ------------------------------------------------------------------------------------------------------ placeholders

_state = threading.local()


@contextlib.contextmanager
def placeholders() -> Iterator[None]:
    """Inside, layers are made without weights: their parameters have shape and dtype, and no memory.

        with nn.init.placeholders():
            model = models.create("vgg19")  # 143,667,240 parameters, and no array of that size

    It is how a network is counted that need not run, or made that is given its weights at once by `load_state_dict`.
    Each weight is then one zero, read at every place; nothing is drawn from the generator.
    """
    before = making_placeholders()
    _state.placeholders = True
    try:
        yield
    finally:
        _state.placeholders = before


def making_placeholders() -> bool:
    """Whether this thread is inside `placeholders()`."""
    return getattr(_state, "placeholders", False)


def is_placeholder(array: Any) -> bool:
    """Whether all elements of an array, more than one, are at one place in memory."""
    return isinstance(array, np.ndarray) and array.size > 1 and not any(array.strides)


def _drawn(shape: tuple[int, ...], dtype: Any, draw: Callable[[], np.ndarray]) -> np.ndarray:
    if making_placeholders():
        return np.broadcast_to(np.zeros((), dtype), shape)
    return draw().astype(dtype)


def _fan(shape: tuple[int, ...], mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'kaiming: expected mode "fan_in" or "fan_out", got {mode!r}')
    return fans(shape)[mode == "fan_out"]
