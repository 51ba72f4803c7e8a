"""The geometry of a window sliding over images: what convolution and pooling have in common.

padded input  ▢ ▢ ▢ ▢ ▢ ▢ ▢        kernel 3, stride 2: the window stands at 3 places, OH = 3
              └───┘
                  └───┘             element (kh, kw) of all windows together is a strided slice of the
                      └───┘         padded image, and so loops run over KH·KW positions, never over OH·OW places
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minidl.backend import Array, array_module

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]  # (top, bottom), (left, right)


def pair(op: str, name: str, value: Any, least: int) -> Pair:
    """An option given as one integer for both directions or as (vertical, horizontal), each at least `least`."""
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    whole = all(isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in both)
    if len(both) != 2 or not whole or min(both) < least:
        raise ValueError(f"{op}: {name} must be an integer or a pair of integers, at least {least}; got {value!r}")
    return int(both[0]), int(both[1])


def sides(op: str, padding: Any) -> Sides:
    """A padding given as an integer, as (vertical, horizontal), or as ((top, bottom), (left, right)): in that form."""
    vertical, horizontal = padding if isinstance(padding, tuple | list) and len(padding) == 2 else (padding, padding)
    return pair(op, "padding", vertical, 0), pair(op, "padding", horizontal, 0)


@dataclass(frozen=True)
class Window:
    """A window of KH×KW elements, `dilation` apart, moved by `stride` over an image with `padding` around it."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Sides = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False  # keep a last window that begins inside but ends outside the padded image

    @property
    def extent(self) -> Pair:
        """Height and width of the window, from its first to its last element."""
        (KH, KW), (DH, DW) = self.kernel, self.dilation
        return DH * (KH - 1) + 1, DW * (KW - 1) + 1

    def backwards(self) -> Window | None:
        """By which each pixel collects from the windows that it was in: a window of stride 1 over their results.

        None where there is no such window: with another stride, or where the padding is more than the window reaches.
        """
        (height, width), ((top, bottom), (left, right)) = self.extent, self.padding
        rest = (height - 1 - top, height - 1 - bottom), (width - 1 - left, width - 1 - right)
        if self.stride != (1, 1) or min(*rest[0], *rest[1]) < 0:
            return None
        return Window(self.kernel, padding=rest, dilation=self.dilation)

    def output_size(self, H: int, W: int) -> Pair:
        """(OH, OW): at how many places the window stands. Less than 1 where the image is too small for it.

        ⌊(H + padding − extent) / stride⌋ + 1. With ceil_mode the quotient is rounded up, unless the last window
        would then begin in the padding below or to the right of the image (PyTorch's rule); so there it stands at one
        place at least in an image that is only a little too small.
        """
        sizes = []
        for size, extent, stride, (before, after) in zip((H, W), self.extent, self.stride, self.padding, strict=True):
            room = size + before + after - extent
            places = room // stride + 1
            if self.ceil_mode and room % stride and places * stride < size + before:
                places += 1
            sizes.append(places)
        return sizes[0], sizes[1]

    def check_fits(self, op: str, H: int, W: int) -> None:
        """Raises: ValueError when the window does not fit into the padded H×W image even once."""
        if min(self.output_size(H, W)) < 1:
            (top, bottom), (left, right) = self.padding
            raise ValueError(
                f"{op}: a window of {self.extent[0]}×{self.extent[1]} does not fit into an image of "
                f"{H}×{W} padded to {H + top + bottom}×{W + left + right}"
            )

    def covered(self, OH: int, OW: int) -> Pair:
        """How much of the padded image OH×OW windows cover."""
        return (OH - 1) * self.stride[0] + self.extent[0], (OW - 1) * self.stride[1] + self.extent[1]

    def positions(self, OH: int, OW: int) -> Iterator[tuple[int, int, slice, slice]]:
        """For each element (kh, kw) of the window: the rows and columns it meets, in all OH×OW windows at once."""
        (KH, KW), (SH, SW), (DH, DW) = self.kernel, self.stride, self.dilation
        for kh in range(KH):
            for kw in range(KW):
                rows = slice(kh * DH, kh * DH + (OH - 1) * SH + 1, SH)
                cols = slice(kw * DW, kw * DW + (OW - 1) * SW + 1, SW)
                yield kh, kw, rows, cols

    def numbered(self, OH: int, OW: int, W: int, xp: Any) -> tuple[Array, Array]:
        """The index h·W + w, in a padded image W wide, of the first element of each window, (OH, OW), and how much
        larger that of each element of the window is, (KH, KW)."""
        (KH, KW), (SH, SW), (DH, DW) = self.kernel, self.stride, self.dilation
        first = (xp.arange(OH) * SH * W)[:, None] + xp.arange(OW) * SW
        return first, (xp.arange(KH) * DH * W)[:, None] + xp.arange(KW) * DW

    def rows_and_columns(self) -> tuple[Window, Window]:
        """The window as one over KH rows and then one over KW columns."""
        (KH, KW), (SH, SW), (DH, DW) = self.kernel, self.stride, self.dilation
        return Window((KH, 1), (SH, 1), dilation=(DH, 1)), Window((1, KW), (1, SW), dilation=(1, DW))

    def pad(self, x: Array, value: float = 0.0, rows: slice | None = None) -> Array:
        """x (N, H, W, C) with the margin, wide enough for every window: (N, ≥ covered, ≥ covered, C).

        rows   where only the windows of these rows of the output are wanted: what is under them
        """
        N, H, W, C = x.shape
        (top, bottom), (left, right) = self.margins(H, W)
        under = slice(0, top + H + bottom) if rows is None else self.rows_under(rows)
        first = max(0, under.start - top)  # of the image
        last = max(first, min(H, under.stop - top))
        if not (top or bottom or left or right):
            return x[:, first:last]
        padded = array_module(x).empty((N, under.stop - under.start, left + W + right, C), dtype=x.dtype)
        start = first + top - under.start
        stop = start + last - first
        padded[:, :start] = padded[:, stop:] = value
        padded[:, start:stop, :left] = padded[:, start:stop, left + W :] = value
        padded[:, start:stop, left : left + W] = x[:, first:last]
        return padded

    def view(self, padded: Array) -> Array:
        """All windows of a padded image (N, H, W, C): (N, OH, OW, KH, KW, C). They overlap: it is to be read only."""
        N, H, W, C = padded.shape
        (KH, KW), (SH, SW), (DH, DW) = self.kernel, self.stride, self.dilation
        OH, OW = (H - self.extent[0]) // SH + 1, (W - self.extent[1]) // SW + 1
        n, h, w, c = padded.strides
        return array_module(padded).lib.stride_tricks.as_strided(
            padded, (N, OH, OW, KH, KW, C), (n, SH * h, SW * w, DH * h, DW * w, c)
        )

    def rows_under(self, rows: slice) -> slice:
        """The rows of the padded image that the windows of some rows of the output cover."""
        return slice(rows.start * self.stride[0], (rows.stop - 1) * self.stride[0] + self.extent[0])

    def padded_shape(self, N: int, H: int, W: int, C: int) -> tuple[int, int, int, int]:
        """The shape of images (N, H, W, C) with the margin."""
        (top, bottom), (left, right) = self.margins(H, W)
        return N, top + H + bottom, left + W + right, C

    def crop(self, padded: Array, H: int, W: int) -> Array:
        """The image inside the margin: the adjoint of `pad`."""
        (top, _), (left, _) = self.padding
        return padded[:, top : top + H, left : left + W]

    def margins(self, H: int, W: int) -> Sides:
        """The padding, plus what a last window of ceil_mode needs beyond it."""
        (top, bottom), (left, right) = self.padding
        height, width = self.covered(*self.output_size(H, W))
        return (top, max(bottom, height - top - H)), (left, max(right, width - left - W))
