"""Layers without weights that move elements: flatten, unfold, fold, pad, resize. Options are attributes, by name."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

from minidl import functional as F
from minidl.kernels.window import Pair, Sides, pair, sides
from minidl.nn.module import Module
from minidl.nn.options import described
from minidl.ops.activation import sum_and_relu
from minidl.ops.broadcast import require_array
from minidl.ops.options import check_numbers, check_sizes
from minidl.ops.padding import as_pairs
from minidl.ops.resize import check_options
from minidl.ops.shape import flatten, unflatten


class Flatten(Module):
    """The axes from start_dim to end_dim made one: by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        require_array("Flatten", x)
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return described(self, Flatten)


class Unflatten(Module):
    """One axis made several, of the sizes unflattened_size, in which one may be -1: Flatten undone."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        sizes = unflattened_size if isinstance(unflattened_size, tuple | list) else ()
        if not sizes or not all(isinstance(n, numbers.Integral) for n in (dim, *sizes)):
            raise ValueError(
                f"Unflatten: expected an axis and the sizes it becomes, got dim={dim!r}, "
                f"unflattened_size={unflattened_size!r}"
            )
        self.dim: int = dim
        self.unflattened_size = tuple(sizes)

    def forward(self, x: Any) -> Any:
        require_array("Unflatten", x)
        return unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Module):
    """x itself: a place kept for a layer that may be put there, whose arguments it takes and forgets.

    What a convolution or a batch norm does besides, on request, it does as well: x + add, and the larger of that and 0.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, x: Any, add: Any = None, relu: bool = False) -> Any:
        return sum_and_relu(x, add, relu)


class Unfold(Module):
    """The windows of images, each as a row: see `functional.unfold`."""

    def __init__(
        self,
        kernel_size: int | Pair,
        dilation: int | Pair = 1,
        padding: int | Pair | Sides = 0,
        stride: int | Pair = 1,
    ) -> None:
        super().__init__()
        _check_window("Unfold", kernel_size, dilation, padding, stride)
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Any) -> Any:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return described(self, Unfold)


class Fold(Module):
    """Images from rows, added up where windows overlap: see `functional.fold`."""

    def __init__(
        self,
        output_size: int | Pair,
        kernel_size: int | Pair,
        dilation: int | Pair = 1,
        padding: int | Pair | Sides = 0,
        stride: int | Pair = 1,
    ) -> None:
        super().__init__()
        pair("Fold", "output_size", output_size, 1)
        _check_window("Fold", kernel_size, dilation, padding, stride)
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, x: Any) -> Any:
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return described(self, Fold)


def _check_window(layer: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> None:
    for name, option in {"kernel_size": kernel_size, "dilation": dilation, "stride": stride}.items():
        pair(layer, name, option, 1)
    sides(layer, padding)


# ------------------------------------------------------------------------------------------------------------- padding


class _Pad2d(Module):
    """A margin around images: padding is ((top, bottom), (left, right)) or one integer, as in `functional.pad`."""

    mode: ClassVar[str]
    value = 0.0

    def __init__(self, padding: int | Sides) -> None:
        super().__init__()
        as_pairs(type(self).__name__, padding, ndim=4)
        self.padding = padding

    def forward(self, x: Any) -> Any:
        require_array(type(self).__name__, x)
        if x.ndim != 4:
            raise ValueError(f"{type(self).__name__}: expected images (N, H, W, C), got shape {x.shape}")
        return F.pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad2d(_Pad2d):
    """A margin of one value: see `functional.pad`."""

    mode = "constant"

    def __init__(self, padding: int | Sides, value: float) -> None:
        super().__init__(padding)
        check_numbers(type(self).__name__, value=value)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(_Pad2d):
    """A margin of zeros: see `functional.pad`."""

    mode = "constant"


class ReflectionPad2d(_Pad2d):
    """A margin that mirrors what is inside: see `functional.pad`, mode "reflect"."""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """A margin that repeats the outermost elements: see `functional.pad`, mode "replicate"."""

    mode = "replicate"


class CircularPad2d(_Pad2d):
    """A margin that continues on the opposite side: see `functional.pad`, mode "circular"."""

    mode = "circular"


# ------------------------------------------------------------------------------------------------------------ resizing


class Upsample(Module):
    """Images made larger or smaller by interpolation: see `functional.interpolate`."""

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        check_options("Upsample", size, scale_factor, mode, align_corners, recompute_scale_factor)
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, x: Any) -> Any:
        return F.interpolate(
            x, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        return described(self, Upsample)


class PixelShuffle(Module):
    """Channels spread out over a larger image: see `functional.pixel_shuffle`."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        check_sizes("PixelShuffle", upscale_factor=upscale_factor)
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """An image gathered into the channels of a smaller one: see `functional.pixel_unshuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        check_sizes("PixelUnshuffle", downscale_factor=downscale_factor)
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Any:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
