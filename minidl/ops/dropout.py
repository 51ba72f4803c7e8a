"""Dropout (Srivastava et al., JMLR 15, 2014), inverted: it scales in training, so that inference does nothing.

The mask is not drawn from a stream but computed from (seed, position) by an integer hash. So the CPU and the GPU drop
the same elements, and the mask is recomputed in backward instead of being stored.
"""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd import Function
from minidl.backend import Array, array_module, generator
from minidl.ops.axes import kept_shape
from minidl.ops.broadcast import floating
from minidl.ops.options import check_probability


def _mix(x: Array) -> Array:
    """A hash of 32-bit integers in which every input bit changes every output bit half of the time.

    Constants: C. Wellons, "Prospecting for hash functions" (2018), `lowbias32`.
    """
    x = x ^ (x >> 16)
    x = x * x.dtype.type(0x7FEB352D)  # modulo 2³²
    x = x ^ (x >> 15)
    x = x * x.dtype.type(0x846CA68B)
    return x ^ (x >> 16)


def keep_mask(x: Array, shape: tuple[int, ...], p: float, seed: int) -> Array:
    """A boolean array of `shape` beside x, true with probability 1 − p: for one seed the same on every device."""
    xp = array_module(x)
    position = xp.arange(math.prod(shape), dtype=xp.uint32)
    low, high = position.dtype.type(seed & 0xFFFFFFFF), position.dtype.type(seed >> 32)
    # The high bits first: were it the low ones, seeds s and s + 1 would give one mask with its positions exchanged.
    hashed = _mix(_mix(position ^ high) ^ low)
    return (hashed >= position.dtype.type(min(round(p * 2**32), 2**32 - 1))).reshape(shape)


class Dropout(Function):
    """y = x · mask / (1 − p), where the mask has length 1, one decision for all, along the axes in `together`.

    The same mask drops and scales the gradient, so backward is the op itself.
    """

    def __init__(self, p: float, seed: int, together: tuple[int, ...] = ()) -> None:
        self.p, self.seed, self.together = p, seed, together

    def forward(self, x):
        mask = keep_mask(x, kept_shape(x.shape, self.together), self.p, self.seed)
        return x * (mask * x.dtype.type(1 / (1 - self.p)))

    def backward(self, g):
        return Dropout(self.p, self.seed, self.together)(g)


# ------------------------------------------------------------------------------------------------- public functions


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Each element of x set to 0 with probability p, the others divided by 1 − p; without `training`, x itself.

    The seed of the mask is drawn from the generator that `minidl.manual_seed` restarts.

    >>> minidl.manual_seed(0)
    >>> F.dropout(Tensor([1.0, 2.0, 3.0, 4.0]), p=0.75)
    Tensor([ 0.,  0., 12.,  0.], dtype=float32, device=cpu)
    """
    check_probability("dropout", p=p)
    return _dropped(floating("dropout", x), p, training)


def dropout2d(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """`dropout` of whole channels: x (N, H, W, C) · mask (N, 1, 1, C) / (1 − p) (Tompson et al., arXiv 1411.4280).

    Neighbouring pixels of one channel say nearly the same, so dropping single ones takes little away. p and training
    are those of `dropout`.

    Raises: ValueError for what is no batch of images. PyTorch takes three axes too, as a batch of sequences: for one
    image (H, W, C) write `x[None]`, and for sequences (N, L, C) `x[:, None]`.

    >>> minidl.manual_seed(0)
    >>> F.dropout2d(Tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]))
    Tensor([[[[ 2.,  0.,  6.],
              [ 8.,  0., 12.]]]], dtype=float32, device=cpu)
    """
    check_probability("dropout2d", p=p)
    x = floating("dropout2d", x)
    if x.ndim != 4:
        raise ValueError(f"dropout2d: expected images (N, H, W, C), got shape {x.shape}; for one image write x[None]")
    return _dropped(x, p, training, together=(1, 2))


def _dropped(x: Any, p: float, training: bool, together: tuple[int, ...] = ()) -> Any:
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    return Dropout(p, int(generator().integers(2**63)), together)(x)
