"""Layers that normalise: see `minidl.ops.norm` and `minidl.ops.samplenorm`. Weights start at 1, biases at 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from minidl import functional as F
from minidl.backend import active
from minidl.nn.module import Module, Parameter
from minidl.nn.options import listing
from minidl.ops.broadcast import require_array
from minidl.ops.options import check_sizes
from minidl.tensor import Tensor


class _ChannelNorm(Module):
    """What batch and instance normalisation have in common: parameters and running statistics, one a channel."""

    layouts: ClassVar[dict[int, str]]  # what x may be, by its number of axes

    def __init__(
        self, num_features: int, eps: float, momentum: Any, affine: bool, track_running_stats: bool, bias: bool
    ) -> None:
        super().__init__()
        check_sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight, self.bias = _weight_and_bias((num_features,), affine, bias)
        self.running_mean: Any = None
        self.running_var: Any = None
        self.num_batches_tracked: Any = None
        if track_running_stats:
            self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
            self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))
            self.register_buffer("num_batches_tracked", Tensor(0))

    def _check(self, x: Any) -> None:
        """Raises: ValueError for an x of another layout, or with another number of channels."""
        layer = type(self).__name__
        require_array(layer, x)
        if x.ndim not in self.layouts or x.shape[-1] != self.num_features:
            layouts = " or ".join(self.layouts.values())
            raise ValueError(f"{layer}: expected {layouts} with C = {self.num_features}, got {x.shape}")

    def extra_repr(self) -> str:
        sizes = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        return _described(self, sizes, "affine", "track_running_stats")


class _BatchNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, x: Any, add: Any = None, relu: bool = False) -> Any:
        """add   of the shape of x: added to the result;  relu   take the larger of that and 0"""
        self._check(x)
        moves = self.training and self.num_batches_tracked is not None
        momentum: Any = self.momentum or 0.0
        if moves:
            with active(self.num_batches_tracked.device):
                count = self.num_batches_tracked.data + 1
                if self.momentum is None:
                    momentum = 1 / count.astype(self.running_mean.dtype)
        y = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
            add=add,
            relu=relu,
        )
        if moves:
            self.num_batches_tracked.data = count
        return y


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of rows (N, C) or sequences (N, L, C), for each channel: `BatchNorm2d` of other shapes."""

    layouts: ClassVar = {2: "(N, C)", 3: "(N, L, C)"}


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, H, W, C), or of rows (N, C), for each channel: see `functional.batch_norm`.

    momentum  how far the running statistics move towards a batch's; None averages all batches equally
    affine    learn a weight and, unless bias=False, a bias
    track_running_stats   keep running statistics; without them inference normalises by the batch as well
    """

    layouts: ClassVar = {4: "(N, H, W, C)", 2: "(N, C)"}


class InstanceNorm2d(_ChannelNorm):
    """Instance normalisation of images (N, H, W, C), or of one (H, W, C): see `functional.instance_norm`.

    affine    learn a weight and, unless bias=False, a bias
    track_running_stats   keep running statistics, and normalise by them in inference. (num_batches_tracked stays 0,
              as in PyTorch.)
    """

    layouts: ClassVar = {4: "(N, H, W, C)", 3: "(H, W, C)"}

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, x: Any) -> Any:
        self._check(x)
        images = x if x.ndim == 4 else x.reshape(1, *x.shape)  # (N, H, W, C)
        y = F.instance_norm(
            images,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self.momentum,
            self.eps,
        )
        return y.reshape(x.shape)


class LayerNorm(Module):
    """Layer normalisation of x (..., *normalized_shape): see `functional.layer_norm`."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight, self.bias = _weight_and_bias(self.normalized_shape, elementwise_affine, bias)

    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return _described(self, f"{self.normalized_shape}, eps={self.eps}", "elementwise_affine")


class GroupNorm(Module):
    """Group normalisation of x (N, ..., num_channels): see `functional.group_norm`."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, bias: bool = True
    ) -> None:
        super().__init__()
        check_sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight, self.bias = _weight_and_bias((num_channels,), affine, bias)

    def forward(self, x: Any) -> Any:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return _described(self, f"{self.num_groups}, {self.num_channels}, eps={self.eps}", "affine")


class RMSNorm(Module):
    """Root mean square normalisation of x (..., *normalized_shape): see `functional.rms_norm`."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(np.ones(self.normalized_shape, np.float32)) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return _described(self, f"{self.normalized_shape}, eps={self.eps}", "elementwise_affine")


class LocalResponseNorm(Module):
    """Normalisation of each channel by its neighbours, x (..., C): see `functional.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        check_sizes("LocalResponseNorm", size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Any:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _weight_and_bias(shape: tuple[int, ...], affine: bool, bias: bool) -> tuple[Parameter | None, Parameter | None]:
    return (
        Parameter(np.ones(shape, np.float32)) if affine else None,
        Parameter(np.zeros(shape, np.float32)) if affine and bias else None,
    )


def _shape(layer: str, normalized_shape: Any) -> tuple[int, ...]:
    """normalized_shape as a tuple. Raises: ValueError for what is no integer and no sequence of them, each positive."""
    shape = tuple(normalized_shape) if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    for size in shape or (normalized_shape,):
        check_sizes(layer, normalized_shape=size)
    return shape


def _described(layer: Any, sizes: str, *names: str) -> str:
    """The sizes of a layer, and those of its options that differ from the defaults."""
    options = {name: getattr(layer, name) for name in names}
    if layer.weight is not None and hasattr(layer, "bias"):
        options["bias"] = layer.bias is not None
    return ", ".join(part for part in (sizes, listing(type(layer), options)) if part)
