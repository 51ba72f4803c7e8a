"""The layers: each a function of `minidl.functional` together with the parameters and options it needs.

Options, their order and defaults, and initial weights are those of `torch.nn`, without its deprecated and in-place
options; layouts are ours.
"""

from __future__ import annotations

import math
from typing import Any

from minidl import functional as F
from minidl.kernels.window import Pair, pair
from minidl.nn import init
from minidl.nn.module import Module, Parameter
from minidl.nn.options import check_sizes, listing


class Linear(Module):
    """y = x @ weight + bias.  x (..., in_features) → (..., out_features); weight (in_features, out_features).

    Initial weight and bias are uniform between ±1/√in_features.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features)
        self.weight = Parameter(init.uniform((in_features, out_features), bound))
        self.bias = Parameter(init.uniform((out_features,), bound)) if bias else None

    def forward(self, x: Any) -> Any:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


class Conv2d(Module):
    """A bank of `out_channels` filters over images.  x (N, H, W, in_channels) → (N, OH, OW, out_channels).

    weight (KH, KW, in_channels/groups, out_channels). Initial weight and bias are uniform between ±1/√fan_in.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_sizes("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        kernel = pair("Conv2d", "kernel_size", kernel_size, 1)
        shape = (*kernel, in_channels // groups, out_channels)
        bound = 1 / math.sqrt(init.fans(shape)[0])
        self.weight = Parameter(init.uniform(shape, bound))
        self.bias = Parameter(init.uniform((out_channels,), bound)) if bias else None
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def forward(self, x: Any) -> Any:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        options = dict(stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups)
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            listing(F.conv2d, options),
        ]
        parts.append("bias=False" if self.bias is None else "")
        return ", ".join(part for part in parts if part)
