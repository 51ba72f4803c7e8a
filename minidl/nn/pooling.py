"""Layers that pool: see `minidl.ops.pool`."""

from __future__ import annotations

from typing import Any

from minidl import functional as F
from minidl.kernels.window import Pair
from minidl.nn.module import Module
from minidl.nn.options import listing


class MaxPool2d(Module):
    """The maximum of each window: see `functional.max_pool2d`."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = dict(
            kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
        )

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(x, **self.options)

    def extra_repr(self) -> str:
        return listing(F.max_pool2d, self.options)


class AvgPool2d(Module):
    """The mean of each window: see `functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = dict(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(x, **self.options)

    def extra_repr(self) -> str:
        return listing(F.avg_pool2d, self.options)


class AdaptiveAvgPool2d(Module):
    """The means over an even division of the image: see `functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"{self.output_size}"
