"""The layers: each a function of `minidl.functional` together with the parameters and options it needs.

Options, their order and defaults, and initial weights are those of `torch.nn`, without its deprecated and in-place
options; layouts are ours.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import functional as F
from minidl.kernels.window import Pair, pair
from minidl.nn import init
from minidl.nn.module import Module, Parameter
from minidl.tensor import Tensor


class Linear(Module):
    """y = x @ weight + bias.  x (..., in_features) → (..., out_features); weight (in_features, out_features).

    Initial weight and bias are uniform between ±1/√in_features.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        _check_sizes("Linear", in_features=in_features, out_features=out_features)
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
        _check_sizes("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
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
            _listing(F.conv2d, options),
        ]
        parts.append("bias=False" if self.bias is None else "")
        return ", ".join(part for part in parts if part)


class BatchNorm2d(Module):
    """Batch normalisation of images (N, H, W, C), or of rows (N, C), for each channel: see `functional.batch_norm`.

    momentum  how far the running statistics move towards a batch's; None averages all batches equally
    affine    learn a weight (initially 1) and a bias (initially 0)
    track_running_stats   keep running statistics; without them inference normalises by the batch as well
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        _check_sizes("BatchNorm2d", num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean: Any = None
        self.running_var: Any = None
        self.num_batches_tracked: Any = None
        if track_running_stats:
            self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
            self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))
            self.register_buffer("num_batches_tracked", Tensor(0))

    def forward(self, x: Any) -> Any:
        moves = self.training and self.num_batches_tracked is not None
        momentum: Any = self.momentum
        if moves:
            count = self.num_batches_tracked + 1
            momentum = (1 / count.astype(self.running_mean.dtype)).data if momentum is None else momentum
        y = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )
        if moves:
            self.num_batches_tracked.data = count.data
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


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
        return _listing(F.max_pool2d, self.options)


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
        return _listing(F.avg_pool2d, self.options)


class AdaptiveAvgPool2d(Module):
    """The means over an even division of the image: see `functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"{self.output_size}"


class Dropout(Module):
    """In training, each element is 0 with probability p and the others are divided by 1 − p."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: expected a probability from 0 to 1, got p={p!r}")
        self.p = p

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)."""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class Tanh(Module):
    """tanh x."""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class Flatten(Module):
    """The axes from start_dim to end_dim made one: by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return x.flatten(self.start_dim, self.end_dim)


class Identity(Module):
    """x itself: a place kept for a layer that may be put there."""

    def forward(self, x: Any) -> Any:
        return x


def _check_sizes(layer: str, **sizes: int) -> None:
    """Raises: ValueError for a size that is not a positive integer."""
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or size < 1:
            raise ValueError(f"{layer}: {name} must be an integer of at least 1, got {size!r}")


def _listing(function: Callable[..., Any], options: dict[str, Any]) -> str:
    """The options that differ from the defaults of `function`, as `name=value`."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    return ", ".join(f"{name}={value}" for name, value in options.items() if value != defaults[name])
