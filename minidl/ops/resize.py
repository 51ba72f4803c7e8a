"""Resizing: an image made larger or smaller by looking between its elements, or by spreading out its channels.

Interpolation goes one axis after the other. An element o of the result looks at a position s of the axis, and is a
weighted sum of the elements around it:

    nearest    ▢ ▢ ▣ ▢        linear    ▢ ▣ ▣ ▢        cubic    ▣ ▣ ▣ ▣
                   s                      s                      s

To resize an axis is thus to read it by a table: which elements each o reads, and how much each counts. The gradient is
read by the same table turned around: where each element was read, and how much it counted there.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.autograd import Function
from minidl.backend import array_module, device_of, to_device
from minidl.kernels.shares import shares
from minidl.ops.axes import on_axis
from minidl.ops.broadcast import beside, floating, require_array
from minidl.ops.options import check_sizes


@dataclass(frozen=True)
class Table:
    """How an axis of `size` elements is read: y[o] = Σₜ weights[t, o] · x[index[t, o]].  Both (T, O), on the host."""

    size: int
    index: np.ndarray
    weights: np.ndarray

    def changes_nothing(self) -> bool:
        """Whether y is x."""
        return self.index.shape == (1, self.size) and bool((self.index == np.arange(self.size)).all())

    def turned_around(self) -> Table:
        """The table of the adjoint. An element that was read fewer than T times has weights of 0."""
        t, o = np.nonzero(self.weights)
        element, weight = self.index[t, o], self.weights[t, o]
        order = np.argsort(element, kind="stable")  # all readings of one element side by side
        element, o, weight = element[order], o[order], weight[order]
        number = np.arange(len(element)) - np.searchsorted(element, element)  # 0, 1, ... among those of its element
        shape = (number.max() + 1, self.size)
        index, weights = np.zeros(shape, np.int64), np.zeros(shape)
        index[number, element], weights[number, element] = o, weight
        return Table(self.index.shape[1], index, weights)


class Resample(Function):
    """One axis of x read by a table.  ∂L/∂x is g read by the table turned around."""

    def __init__(self, table: Table, axis: int) -> None:
        self.table, self.axis = table, axis

    def forward(self, x):
        xp, place = array_module(x), device_of(x)
        after = (1,) * (x.ndim - self.axis - 1)
        y = None
        for index, weights in zip(self.table.index, self.table.weights, strict=True):
            part = xp.take(x, to_device(index, place), axis=self.axis)
            if (weights == 0).any():
                part[on_axis(self.axis, to_device(np.flatnonzero(weights == 0), place))] = 0  # before 0 · ∞ gives NaN
            if (weights != 1).any():
                part *= beside(x, weights.reshape(-1, *after))  # (O, 1, ...)
            if y is None:
                y = part
            else:
                y += part
        return y

    def backward(self, g):
        return Resample(self.table.turned_around(), self.axis)(g)


# ------------------------------------------------------------------------------------------------------- the tables


def _table(mode: str, size: int, places: int, scale: float | None, align_corners: bool) -> Table:
    """The table that resizes an axis of `size` elements to `places`.  scale: places / size before it was rounded."""
    if ("linear" in mode and places == size) or (mode == "nearest" and places in (size, 2 * size)):
        scale = None  # as in PyTorch, which here goes by the sizes
    ratio = size / places if scale is None else 1 / scale
    o = np.arange(places)
    if mode == "nearest":
        index, weights = _nearest(o, ratio)
    elif mode == "nearest-exact":
        index, weights = _nearest(o + 0.5, ratio)
    elif mode == "area":
        index, weights = _area(size, places)
    else:
        s = o * (size - 1) / max(places - 1, 1) if align_corners else (o + 0.5) * ratio - 0.5
        index, weights = _cubic(s) if mode == "bicubic" else _linear(np.maximum(s, 0))
    read = weights.any(axis=1)
    return Table(size, np.clip(index, 0, size - 1)[read], weights[read])


def _nearest(o: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """⌊o · ratio⌋, in float32 as in PyTorch: the last bit may decide which element is the nearest."""
    s = (o * np.float32(ratio)).astype(np.float32)
    return np.floor(s).astype(np.int64)[None], np.ones((1, len(o)))


def _area(size: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """All elements of an even share of the axis, the shares of adaptive pooling; each counts the same."""
    start, stop = (np.array(ends) for ends in zip(*((c.start, c.stop) for c in shares(size, places)), strict=True))
    offset = np.arange((stop - start).max())[:, None]
    return start + offset, (offset < stop - start) / (stop - start)


def _linear(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two elements around s; each counts by how near it is."""
    first = np.floor(s)
    share = s - first
    offset = np.array([[0], [1]])
    return first.astype(np.int64) + offset, np.stack([1 - share, share])


def _cubic(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The four elements around s, weighed by cubic convolution with a = −¾ (Keys, doi:10.1109/TASSP.1981.1163711)."""
    first = np.floor(s)
    offset = np.array([[-1], [0], [1], [2]])
    d = abs(s - first - offset)  # the distance to each: (4, O)
    a = -0.75
    inner = (a + 2) * d**3 - (a + 3) * d**2 + 1  # d ≤ 1
    outer = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a  # 1 < d ≤ 2
    return first.astype(np.int64) + offset, np.where(d <= 1, inner, outer)


# ------------------------------------------------------------------------------------------------- public functions

LAYOUTS = {3: "(N, W, C)", 4: "(N, H, W, C)", 5: "(N, D, H, W, C)"}
MODES = {
    "nearest": (3, 4, 5),
    "nearest-exact": (3, 4, 5),
    "linear": (3,),
    "bilinear": (4,),
    "trilinear": (5,),
    "bicubic": (4,),
    "area": (3, 4, 5),
}


def interpolate(
    x: Any,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """x resized: (N, W, C), (N, H, W, C) or (N, D, H, W, C), and all but N and C changed.

    size           the sizes of the result: one for all axes, or a tuple; or else
    scale_factor   by which the sizes are multiplied, and then rounded down
    mode           "nearest", "nearest-exact" and "area", the mean of what it covers; "linear" for (N, W, C), "bilinear"
                   and "bicubic" for images, "trilinear" for volumes
    align_corners  the outermost elements keep their places; otherwise the outer edges of the elements do
    recompute_scale_factor   after rounding read x by the ratio of the sizes, and no longer by scale_factor

    As in PyTorch, "nearest" reads what lies under the upper left corner of an element of the result, "nearest-exact"
    what lies under its centre. These two keep integers, the others make them float32. What counts 0 is not read at all,
    and may be infinite.

    Raises: ValueError for other modes, for options that do not go together, for antialias, and for sizes below 1.

    >>> F.interpolate(Tensor([[[0.0], [4.0]]]), scale_factor=2, mode="linear").flatten()
    Tensor([0., 1., 3., 4.], dtype=float32, device=cpu)
    """
    op = "interpolate"
    require_array(op, x)
    check_options(op, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    if x.ndim not in MODES[mode] or 0 in x.shape[1:-1]:
        layouts = " or ".join(LAYOUTS[ndim] for ndim in MODES[mode])
        raise ValueError(f"{op}: mode {mode!r} resizes {layouts}, none of these sizes 0; got shape {x.shape}")
    if not mode.startswith("nearest"):
        x = floating(op, x)
    for axis, (places, factor) in enumerate(_output_sizes(x.shape[1:-1], size, scale_factor), start=1):
        scale = None if recompute_scale_factor else factor
        table = _table(mode, x.shape[axis], places, scale, bool(align_corners))
        x = x if table.changes_nothing() else Resample(table, axis)(x)
    return x


def check_options(
    op: str,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool = False,
) -> None:
    """Raises: ValueError for options of `interpolate` that are not there, or do not go together."""
    if not isinstance(mode, str) or mode not in MODES:
        raise ValueError(f"{op}: mode must be one of {', '.join(MODES)}; got {mode!r}")
    if antialias:
        raise ValueError(f"{op}: antialias is not there; smooth before shrinking, for instance with avg_pool2d")
    if align_corners is not None and (mode.startswith("nearest") or mode == "area"):
        raise ValueError(f"{op}: mode {mode!r} has no corners to align; leave align_corners out")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{op}: expected size or scale_factor, got {'neither' if size is None else 'both'}")
    if recompute_scale_factor and scale_factor is None:
        raise ValueError(f"{op}: recompute_scale_factor needs a scale_factor, got size={size!r}")


def _output_sizes(before: tuple[int, ...], size: Any, scale_factor: Any) -> list[tuple[int, float | None]]:
    """The size of each axis of the result, and by what it was multiplied for that, if by anything."""
    if size is not None:
        return [(int(n), None) for n in _one_an_axis("size", size, len(before), numbers.Integral)]
    factors = [float(f) for f in _one_an_axis("scale_factor", scale_factor, len(before), numbers.Real)]
    after = [int(n * factor) for n, factor in zip(before, factors, strict=True)]
    if min(after) < 1:
        raise ValueError(f"interpolate: scale_factor {scale_factor} leaves nothing of the sizes {before}")
    return list(zip(after, factors, strict=True))


def _one_an_axis(name: str, value: Any, axes: int, kind: Any) -> tuple[Any, ...]:
    """An option given as one positive number for all axes, or as a tuple of one for each."""
    given = tuple(value) if isinstance(value, tuple | list) else (value,) * axes
    valid = [isinstance(n, kind) and not isinstance(n, bool) and 0 < n < math.inf for n in given]
    if len(given) != axes or not all(valid):
        whole = "whole numbers" if kind is numbers.Integral else "numbers"
        raise ValueError(f"interpolate: {name} must be one or {axes} positive {whole}, got {value!r}")
    return given


# ---------------------------------------------------------------------------------------------- channels and places


def pixel_shuffle(x: Any, upscale_factor: int) -> Any:
    """Channels spread out over an image r times as large: (N, H, W, C·r²) → (N, H·r, W·r, C), r = upscale_factor.

    Each place becomes r×r places: channel c·r² + i·r + j goes to row i, column j, channel c of them. So a network that
    computes at low resolution ends at a high one (Shi et al., arXiv 1609.05158). Axes before H are left alone.

    Raises: ValueError when r² does not divide the channels.

    >>> F.pixel_shuffle(Tensor([[[[1, 2, 3, 4]]]]), 2)[0, :, :, 0]
    Tensor([[1, 2], [3, 4]], dtype=int64, device=cpu)
    """
    op = "pixel_shuffle"
    r = _factor(op, "upscale_factor", x, upscale_factor)
    *N, H, W, channels = x.shape
    if channels % r**2:
        raise ValueError(f"{op}: upscale_factor {r} needs {r**2}·C channels on the last axis, got {x.shape}")
    C, n = channels // r**2, len(N)
    x = x.reshape(*N, H, W, C, r, r)  # (N, H, W, C, r, r)
    x = x.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2)  # (N, H, r, W, r, C)
    return x.reshape(*N, H * r, W * r, C)  # (N, H·r, W·r, C)


def pixel_unshuffle(x: Any, downscale_factor: int) -> Any:
    """The inverse of `pixel_shuffle`: (N, H·r, W·r, C) → (N, H, W, C·r²), r = downscale_factor.

    Raises: ValueError when r does not divide height and width.

    >>> F.pixel_unshuffle(Tensor([[[[1], [2]], [[3], [4]]]]), 2)
    Tensor([[[[1, 2, 3, 4]]]], dtype=int64, device=cpu)
    """
    op = "pixel_unshuffle"
    r = _factor(op, "downscale_factor", x, downscale_factor)
    *N, height, width, C = x.shape
    if height % r or width % r:
        raise ValueError(f"{op}: downscale_factor {r} must divide height and width of (N, H, W, C), got {x.shape}")
    H, W, n = height // r, width // r, len(N)
    x = x.reshape(*N, H, r, W, r, C)  # (N, H, r, W, r, C)
    x = x.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3)  # (N, H, W, C, r, r)
    return x.reshape(*N, H, W, C * r**2)  # (N, H, W, C·r²)


def _factor(op: str, name: str, x: Any, value: Any) -> int:
    """The factor of an image x, both checked."""
    require_array(op, x)
    if x.ndim < 3:
        raise ValueError(f"{op}: expected images (N, H, W, C), got shape {x.shape}")
    check_sizes(op, **{name: value})
    return int(value)
