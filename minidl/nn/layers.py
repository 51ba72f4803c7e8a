"""The layers: each a function of `minidl.functional` together with the parameters and options it needs.

Options, their order and defaults, and initial weights are those of `torch.nn`, without its deprecated and in-place
options; layouts are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minidl import functional as F
from minidl.kernels.convolution import check_algorithm
from minidl.kernels.window import Pair, Sides, Window, pair, sides
from minidl.nn import init
from minidl.nn.module import Module, Parameter
from minidl.nn.options import listing
from minidl.ops.broadcast import require_array
from minidl.ops.conv import convolution_sides
from minidl.ops.embedding import normalized_row
from minidl.ops.options import check_sizes


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
    padding_mode   what the padding is made of: "zeros", or "reflect", "replicate", "circular" as in `functional.pad`
    algorithm      how it is computed, see `functional.conv2d`
    relu           take the larger of the result and 0
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | Sides | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        algorithm: str = "auto",
        relu: bool = False,
    ) -> None:
        super().__init__()
        _check_channels("Conv2d", in_channels, out_channels, groups)
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f'Conv2d: padding_mode must be "zeros", "reflect", "replicate" or "circular", got {padding_mode!r}'
            )
        kernel = pair("Conv2d", "kernel_size", kernel_size, 1)
        steps = pair("Conv2d", "stride", stride, 1), pair("Conv2d", "dilation", dilation, 1)
        self._sides = convolution_sides("Conv2d", padding, kernel, *steps)
        shape = (*kernel, in_channels // groups, out_channels)
        bound = 1 / math.sqrt(init.fans(shape)[0])
        self.weight = Parameter(init.uniform(shape, bound))
        self.bias = Parameter(init.uniform((out_channels,), bound)) if bias else None
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.padding_mode, self.algorithm, self.relu = padding_mode, algorithm, relu
        check_algorithm("Conv2d", algorithm, Window(kernel, steps[0], dilation=steps[1]), groups)

    def forward(self, x: Any, add: Any = None, relu: bool = False) -> Any:
        """add   of the shape of the result: added to it;  relu   take the larger of that and 0"""
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._sides, mode=self.padding_mode), 0
        return F.conv2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            algorithm=self.algorithm,
            add=add,
            relu=relu or self.relu,
        )

    def extra_repr(self) -> str:
        names = ("stride", "padding", "dilation", "groups", "bias", "padding_mode", "algorithm", "relu")
        return _described(self, Conv2d, names)


class ConvTranspose2d(Module):
    """A Conv2d run backwards.  x (N, H, W, in_channels) → (N, OH, OW, out_channels): see `functional.conv_transpose2d`.

    weight (KH, KW, out_channels/groups, in_channels): that of the Conv2d from out_channels to in_channels. Initial
    weight and bias are uniform between ±1/√fan_in of that one, as in PyTorch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | Sides = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
    ) -> None:
        super().__init__()
        name = "ConvTranspose2d"
        _check_channels(name, in_channels, out_channels, groups)
        pair(name, "output_padding", output_padding, 0)
        self._window = Window(
            kernel=pair(name, "kernel_size", kernel_size, 1),
            stride=pair(name, "stride", stride, 1),
            padding=sides(name, padding),
            dilation=pair(name, "dilation", dilation, 1),
        )
        kernel = self._window.kernel
        shape = (*kernel, out_channels // groups, in_channels)
        bound = 1 / math.sqrt(init.fans(shape)[0])
        self.weight = Parameter(init.uniform(shape, bound))
        self.bias = Parameter(init.uniform((out_channels,), bound)) if bias else None
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.groups, self.dilation = groups, dilation

    def forward(self, x: Any, output_size: int | Sequence[int] | None = None) -> Any:
        """output_size, (OH, OW) or the shape of a batch of images, is what to set output_padding for."""
        more = self.output_padding if output_size is None else self._output_padding(x, output_size)
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )

    def _output_padding(self, x: Any, output_size: Any) -> Pair:
        """What there must be more than without output_padding: less than a stride."""
        require_array("ConvTranspose2d", x)
        if x.ndim != 4:
            raise ValueError(f"ConvTranspose2d: expected images (N, H, W, C), got shape {x.shape}")
        is_shape = isinstance(output_size, tuple | list) and len(output_size) == 4
        OH, OW = pair("ConvTranspose2d", "output_size", output_size[1:3] if is_shape else output_size, 1)
        rows, cols = self._window.covered(*x.shape[1:3])
        (top, bottom), (left, right) = self._window.padding
        least, (SH, SW) = (rows - top - bottom, cols - left - right), self._window.stride
        if not (0 <= OH - least[0] < SH and 0 <= OW - least[1] < SW):
            most = least[0] + SH - 1, least[1] + SW - 1
            raise ValueError(
                f"ConvTranspose2d: images {x.shape} can become {least} to {most}, got output_size={output_size!r}"
            )
        return OH - least[0], OW - least[1]

    def extra_repr(self) -> str:
        names = ("stride", "padding", "output_padding", "groups", "bias", "dilation")
        return _described(self, ConvTranspose2d, names)


class Embedding(Module):
    """A table of vectors.  x, integers (...) → (..., embedding_dim); weight (num_embeddings, embedding_dim).

    Initial weights are standard normal. The row padding_idx starts as zeros and gets no gradient: it stays.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        scale_grad_by_freq: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        weight = init.normal((num_embeddings, embedding_dim), 1.0)
        if padding_idx is not None:
            padding_idx = normalized_row("Embedding", padding_idx, num_embeddings)
            if not init.is_placeholder(weight):
                weight[padding_idx] = 0
        self.weight = Parameter(weight)
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.scale_grad_by_freq = scale_grad_by_freq

    def forward(self, x: Any) -> Any:
        return F.embedding(x, self.weight, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq)

    def extra_repr(self) -> str:
        options = dict(padding_idx=self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq)
        sizes = f"{self.num_embeddings}, {self.embedding_dim}"
        return ", ".join(part for part in (sizes, listing(F.embedding, options)) if part)


def _check_channels(layer: str, in_channels: int, out_channels: int, groups: int) -> None:
    check_sizes(layer, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{layer}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
        )


def _described(layer: Any, kind: type[Module], names: Sequence[str]) -> str:
    """The sizes of a convolution, and those of its options that differ from the defaults of its kind."""
    options = {name: getattr(layer, name) for name in names} | {"bias": layer.bias is not None}
    sizes = f"{layer.in_channels}, {layer.out_channels}, kernel_size={layer.kernel_size}"
    return ", ".join(part for part in (sizes, listing(kind, options)) if part)
