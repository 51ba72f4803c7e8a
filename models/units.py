"""What several families share: convolutions with what follows them, branches side by side, images, first weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import minidl
from minidl import nn
from minidl.nn import init


class ConvReLU(nn.Module):
    """A convolution with bias, and ReLU: the unit of networks older than batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, **options)

    def forward(self, x: Any) -> Any:
        return self.conv(x, relu=True)


class ConvBN(nn.Module):
    """A convolution, and batch normalisation.  (N, H, W, in_channels) → (N, OH, OW, out_channels).

    eps, momentum   of the batch normalisation
    bias            of the convolution: one under a batch normalisation is subtracted again with the mean, and only
                    checkpoints that have it need it
    options         of the convolution: stride, padding, groups, ...
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        bias: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=bias, **options)
        self.bn = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)

    def forward(self, x: Any, add: Any = None, relu: bool = False) -> Any:
        """add, relu   what follows: see `nn.BatchNorm2d`"""
        return self.bn(self.conv(x), add=add, relu=relu)


class BasicConv2d(ConvBN):
    """`ConvBN` and ReLU: the unit of the Inception networks, in which ε is 0.001."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        eps: float = 1e-3,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, eps=eps, **options)

    def forward(self, x: Any, add: Any = None, relu: bool = True) -> Any:
        return super().forward(x, add, relu)


class Branches(nn.Module):
    """Branches side by side: each reads the whole input, and their outputs are concatenated in depth.

    (N, H, W, C) → (N, OH, OW, F₁ + F₂ + ...). They are the parts that a subclass assigns, in their order.
    """

    def forward(self, x: Any) -> Any:
        return minidl.concatenate([branch(x) for branch in self.children()], axis=-1)  # (N, OH, OW, F₁ + F₂ + ...)


def separable_conv(
    unit: Callable[..., nn.Module],
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    depth_multiplier: int = 8,
    **options: Any,
) -> nn.Sequential:
    """Each channel filtered by itself, depth_multiplier times, and what comes out mixed by a 1×1 convolution.

    (N, H, W, in_channels) → (N, OH, OW, out_channels). `unit` makes the 1×1 convolution with what follows it; options
    (stride, padding) are those of the filters. The 7×7 at the start of GoogLeNet takes 7·7·3·8 + 24·64 = 2,712 weights
    so, and 7·7·3·64 = 9,408 whole.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, depth_multiplier * in_channels, kernel_size, groups=in_channels, bias=False, **options),
        unit(depth_multiplier * in_channels, out_channels, 1),
    )


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green, blue, from 0 to 1


def from_imagenet_statistics(x: Any) -> Any:
    """RGB images standardised with ImageNet's mean and deviation, to values between -1 and 1.  (N, H, W, 3) → the same.

    z = (pixel − mean) / std, with pixels between 0 and 1, becomes 2·pixel − 1 = z · std/0.5 + (mean − 0.5)/0.5. The
    published weights of GoogLeNet and Inception-v3 were trained on the latter (torchvision's `transform_input`).

    Raises: ValueError for images of another number of channels.
    """
    if x.shape[-1] != 3:
        raise ValueError(f"from_imagenet_statistics: expected RGB images (N, H, W, 3), got shape {x.shape}")
    return minidl.concatenate(
        [
            x[..., c : c + 1] * (std / 0.5) + (mean - 0.5) / 0.5  # (N, H, W, 1)
            for c, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
        ],
        axis=-1,
    )  # (N, H, W, 3)


def truncated_normal(model: nn.Module, std: float) -> None:
    """Filters and matrices normal with mean 0 and deviation std, in all of `model`; biases stay as they are.

    As torchvision begins its Inception networks. What lies outside ±2 is drawn again: with std 0.1 or less nothing.
    (TensorFlow, where the networks come from, cuts at two deviations.)
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data = init.truncated_normal(module.weight.shape, std, bound=2.0)


def kaiming_fan_out(model: nn.Module) -> None:
    """Filters normal with variance 2 / fan_out (He et al., arXiv 1502.01852, eq. 14), biases 0, in all of `model`."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = init.kaiming_normal(module.weight.shape, mode="fan_out")
            if module.bias is not None:
                module.bias.data = np.zeros(module.bias.shape, np.float32)


def caffe_xavier(model: nn.Module, *, bias: float) -> None:
    """Filters and matrices uniform with variance 1 / fan_in, biases `bias`, in all of `model`.

    Caffe's "xavier" filler. (Glorot & Bengio, after whom it is named, have the variance 2 / (fan_in + fan_out).)
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in, _ = init.fans(module.weight.shape)
            module.weight.data = init.uniform(module.weight.shape, math.sqrt(3 / fan_in))
            if module.bias is not None:
                module.bias.data = np.full(module.bias.shape, bias, np.float32)


def require_network(name: str, model: Any) -> None:
    """Raises: TypeError for a `model` given to the function `name` that is none."""
    if not isinstance(model, nn.Module):
        raise TypeError(f'{name}: expected a network, such as models.create("resnet18"), got {model!r:.60}')


def require_choice(name: str, option: str, value: Any, choices: Iterable[str]) -> None:
    """Raises: ValueError for an option of `name` that is none of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}: {option} must be one of {', '.join(map(repr, choices))}; got {value!r}")
