"""Dropout (Srivastava et al. 2014), inverted: the scaling happens in training, so that inference does nothing.

The mask is not drawn from a stream but computed from (seed, position) by an integer hash. So the CPU and the GPU drop
the same elements, and the mask is recomputed in backward instead of being stored.
"""

from __future__ import annotations

from typing import Any

from minidl.autograd import Function
from minidl.backend import Array, array_module, generator
from minidl.ops.broadcast import floating


def _mix(x: Array) -> Array:
    """A hash of 32-bit integers in which every input bit changes every output bit half of the time.

    Constants: C. Wellons, "Prospecting for hash functions" (2018), `lowbias32`.
    """
    x = x ^ (x >> 16)
    x = x * x.dtype.type(0x7FEB352D)  # modulo 2³²
    x = x ^ (x >> 15)
    x = x * x.dtype.type(0x846CA68B)
    return x ^ (x >> 16)


def keep_mask(x: Array, p: float, seed: int) -> Array:
    """A boolean array like x, true with probability 1 − p: the same for the same seed and shape on every device."""
    xp = array_module(x)
    position = xp.arange(x.size, dtype=xp.uint32)
    low, high = position.dtype.type(seed & 0xFFFFFFFF), position.dtype.type(seed >> 32)
    # The high bits first: were it the low ones, seeds s and s + 1 would give one mask with its positions exchanged.
    hashed = _mix(_mix(position ^ high) ^ low)
    return (hashed >= position.dtype.type(min(round(p * 2**32), 2**32 - 1))).reshape(x.shape)


class Dropout(Function):
    """y = x · mask / (1 − p).  The same mask drops and scales the gradient, so backward is the op itself."""

    def __init__(self, p: float, seed: int) -> None:
        self.p, self.seed = p, seed

    def forward(self, x):
        return x * keep_mask(x, self.p, self.seed) * x.dtype.type(1 / (1 - self.p))

    def backward(self, g):
        return Dropout(self.p, self.seed)(g)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Each element of x set to 0 with probability p, the others divided by 1 − p; without `training`, x itself.

    The seed of the mask is drawn from the generator that `minidl.manual_seed` restarts.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: expected a probability from 0 to 1, got p={p!r}")
    if not training or p == 0:
        return x
    x = floating("dropout", x)
    if p == 1:
        return x * 0.0
    return Dropout(p, int(generator().integers(2**63)))(x)
