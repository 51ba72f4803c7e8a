"""Adaptive pooling: the size of the result is given, and the windows follow from it.

Place (oh, ow) covers an even share of the rows and an even share of the columns: a rectangle. The mean of a rectangle
is the mean of the means of its rows, and its maximum the maximum of their maxima. So both are operations along one axis
(see `kernels/shares.py`), applied to the two axes in turn: OH + OW places to visit instead of OH·OW.
"""

from __future__ import annotations

import numbers
from typing import Any

from minidl.autograd import Function
from minidl.backend import Array, active, array_module, device_of
from minidl.kernels import shares
from minidl.ops.broadcast import floating
from minidl.ops.pool import require_images
from minidl.tensor import constant_like

OutputSize = int | None | tuple[int | None, int | None]


class MeanOfShares(Function):
    """y = the mean of each share of x: (A, size, B) → (A, places, B).  Each of its n elements gets g / n."""

    def __init__(self, places: int) -> None:
        self.places = places

    def forward(self, x):
        self.size = x.shape[1]
        return shares.mean_shares(x, self.places)

    def backward(self, g):
        return SpreadOverShares(self.size)(g)


class SpreadOverShares(Function):
    """Each g / n added to the n elements of its share: (A, places, B) → (A, size, B). The adjoint of MeanOfShares."""

    def __init__(self, size: int) -> None:
        self.size = size

    def forward(self, g):
        self.places = g.shape[1]
        return shares.spread_shares(g, self.size)

    def backward(self, u):
        return MeanOfShares(self.places)(u)


class MaxOfShares(Function):
    """y = the maximum of each share of x: (A, size, B) → (A, places, B).  g goes to the first that reached it."""

    def __init__(self, places: int) -> None:
        self.places = places

    def forward(self, x):
        self.size = x.shape[1]
        y, self.winner = shares.max_shares(x, self.places)
        return y

    def backward(self, g):
        return ScatterToShares(self.winner, self.size)(g)


class ScatterToShares(Function):
    """Each g added where the maximum of its share stood. The adjoint of GatherFromShares."""

    def __init__(self, winner: Array, size: int) -> None:
        self.winner, self.size = winner, size

    def forward(self, g):
        return shares.scatter_shares(g, self.winner, self.size)

    def backward(self, u):
        return GatherFromShares(self.winner)(u)


class GatherFromShares(Function):
    """The element of each share at the place where the maximum of x stood."""

    def __init__(self, winner: Array) -> None:
        self.winner = winner

    def forward(self, u):
        self.size = u.shape[1]
        return shares.gather_shares(u, self.winner)

    def backward(self, g):
        return ScatterToShares(self.winner, self.size)(g)


# ------------------------------------------------------------------------------------------------- public functions


def adaptive_avg_pool2d(x: Any, output_size: OutputSize) -> Any:
    """The means over an even division of images x (N, H, W, C) into output_size places: (N, OH, OW, C).

    Place oh covers rows ⌊oh·H/OH⌋ up to ⌈(oh+1)·H/OH⌉ (exclusive), columns alike; places may overlap by a row where
    OH does not divide H. None keeps a size, and 1 is global average pooling (Lin et al., arXiv 1312.4400, §3.2).

    Raises: ValueError for an output_size that is no size, and for images without a pixel.

    >>> F.adaptive_avg_pool2d(Tensor([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1), (1, 2)).flatten()
    Tensor([1.5, 4. ], dtype=float32, device=cpu)
    """
    op = "adaptive_avg_pool2d"
    x = floating(op, x)
    require_images(op, x)
    N, H, W, C = x.shape
    OH, OW = _places(op, output_size, H, W)
    y = MeanOfShares(OH)(x.reshape(N, H, W * C))  # (N, OH, W·C)
    y = MeanOfShares(OW)(y.reshape(N * OH, W, C))  # (N·OH, OW, C)
    return y.reshape(N, OH, OW, C)  # (N, OH, OW, C)


def adaptive_max_pool2d(x: Any, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The maxima over an even division of images x (N, H, W, C) into output_size places: (N, OH, OW, C).

    The places are those of `adaptive_avg_pool2d`. At a tie the first element, in reading order, wins; a NaN wins over
    every number.
    With return_indices the result is (y, indices): int64, index h·W + w of each winner in its image plane.

    Raises: ValueError for an output_size that is no size, and for images without a pixel.

    >>> F.adaptive_max_pool2d(Tensor([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1), (1, 2)).flatten()
    Tensor([2., 6.], dtype=float32, device=cpu)
    """
    op = "adaptive_max_pool2d"
    require_images(op, x)
    N, H, W, C = x.shape
    OH, OW = _places(op, output_size, H, W)
    # Each row's winner first, then the winner among rows: so ties are decided in reading order.
    in_rows, among_rows = MaxOfShares(OW), MaxOfShares(OH)
    y = in_rows(x.reshape(N * H, W, C))  # (N·H, OW, C)
    y = among_rows(y.reshape(N, H, OW * C)).reshape(N, OH, OW, C)  # (N, OH, OW, C)
    if not return_indices:
        return y
    h = among_rows.winner  # (N, OH, OW·C)
    with active(device_of(h)):
        xp = array_module(h)
        w = xp.take_along_axis(in_rows.winner.reshape(N, H, OW * C), h, axis=1)  # (N, OH, OW·C)
        indices = (h.astype(xp.int64) * W + w).reshape(N, OH, OW, C)  # (N, OH, OW, C)
    return y, constant_like(y, indices)


def output_pair(op: str, output_size: Any) -> tuple[int | None, int | None]:
    """output_size as a pair, in which None keeps a size. Raises: ValueError for anything else."""
    both = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size, output_size)
    whole = [isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in both]
    if len(both) != 2 or not all(n is None or (is_whole and n >= 0) for n, is_whole in zip(both, whole, strict=True)):
        raise ValueError(
            f"{op}: output_size must be an integer of at least 0 or None, or a pair of those; got {output_size!r}"
        )
    return both


def _places(op: str, output_size: Any, H: int, W: int) -> tuple[int, int]:
    """How many rows and columns of places: (OH, OW)."""
    OH, OW = output_pair(op, output_size)
    return H if OH is None else int(OH), W if OW is None else int(OW)
