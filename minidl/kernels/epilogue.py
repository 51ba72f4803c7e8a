"""What follows a convolution or a normalisation, done to each band as it is computed, while it is in the cache."""

from __future__ import annotations

from typing import NamedTuple

from minidl.backend import Array
from minidl.kernels.bands import Band
from minidl.kernels.elementwise import rectify


class Epilogue(NamedTuple):
    """y + bias + add, then the larger of that and 0.  bias (F,), add (N, OH, OW, F); each may be left out."""

    bias: Array | None = None
    add: Array | None = None
    relu: bool = False

    def apply(self, y: Array, band: Band) -> None:
        """In place, to the band y of the result."""
        if self.bias is not None:
            y += self.bias
        if self.add is not None:
            y += self.add[band]
        if self.relu:
            rectify(y, out=y)

    def applied(self, y: Array) -> Array:
        """The same to the whole result y, in place."""
        self.apply(y, Band(slice(None), slice(None)))
        return y
