"""Layers that pool: see `minidl.ops.pool` and `minidl.ops.adaptive_pool`. Their options are attributes, by name."""

from __future__ import annotations

from typing import Any

from minidl import functional as F
from minidl.kernels.window import Pair
from minidl.nn.module import Module
from minidl.nn.options import described
from minidl.ops.adaptive_pool import OutputSize, output_pair
from minidl.ops.pool import check_divisor, check_norm_type, pooling_window


class MaxPool2d(Module):
    """The maximum of each window: see `functional.max_pool2d`."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        pooling_window("MaxPool2d", kernel_size, stride, padding, dilation)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return described(self, MaxPool2d)


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
        pooling_window("AvgPool2d", kernel_size, stride, padding)
        check_divisor("AvgPool2d", divisor_override)
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return described(self, AvgPool2d)


class LPPool2d(Module):
    """(Σ xᵖ)^(1/p) over each window, with p = norm_type: see `functional.lp_pool2d`."""

    def __init__(
        self, norm_type: float, kernel_size: int | Pair, stride: int | Pair | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        check_norm_type("LPPool2d", norm_type)
        pooling_window("LPPool2d", kernel_size, stride)
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, x: Any) -> Any:
        return F.lp_pool2d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return described(self, LPPool2d)


class AdaptiveAvgPool2d(Module):
    """The means over an even division of the image: see `functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        output_pair("AdaptiveAvgPool2d", output_size)
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return described(self, AdaptiveAvgPool2d)


class AdaptiveMaxPool2d(Module):
    """The maxima over an even division of the image: see `functional.adaptive_max_pool2d`."""

    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        output_pair("AdaptiveMaxPool2d", output_size)
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Any) -> Any:
        return F.adaptive_max_pool2d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return described(self, AdaptiveMaxPool2d)
