"""ResNet V2: identity all the way (He et al., "Identity mappings in deep residual networks", arXiv 1603.05027).

In the first ResNet a ReLU follows each addition, so the shortcut is not quite an identity. Here normalisation and ReLU
stand before each convolution ("pre-activation", figure 4e), and nothing is left on the way round: y = x + F(x). The
last block's sum has been through neither, so a network of these blocks ends in a BN and a ReLU after it (appendix).

Names are timm's, in every variant (see `VARIANTS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl import nn
from minidl.nn import init
from models.resnet import PaddedShortcut
from models.units import kaiming_fan_out, require_choice


class Projection(nn.Module):
    """A 1×1 convolution on the way round a block. No batch norm follows: its input has been through one."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=bias)

    def forward(self, x: Any) -> Any:
        return self.conv(x)


def shortcut_connection(in_channels: int, out_channels: int, stride: int, option: str, bias: bool) -> nn.Module | None:
    """The way round a block: None, the input itself, where shapes agree.

    option   what there is for new channels: "A" zeros, "B" a projection. Where there are none, but a stride, the
             input is taken at every stride-th pixel.
    """
    require_choice("shortcut_connection", "option", option, ("A", "B"))
    if option == "B" and in_channels != out_channels:
        return Projection(in_channels, out_channels, stride, bias)
    return None if (in_channels, stride) == (out_channels, 1) else PaddedShortcut(in_channels, out_channels, stride)


def go_round(downsample: nn.Module | None, x: Any, activated: Any) -> Any:
    """x on its way round a block. A projection, no identity anyway, reads what the convolutions read (appendix)."""
    return x if downsample is None else downsample(activated if isinstance(downsample, Projection) else x)


class PreActBlock(nn.Module):
    """BN, ReLU, 3×3 convolution, twice, and a shortcut.  (N, H, W, C) → (N, ⌈H/stride⌉, ⌈W/stride⌉, channels).

    shortcut   "A" or "B": see `shortcut_connection`
    bias       of the last convolution and the projection, which no BN follows
    """

    expansion = 1  # output channels / channels

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, shortcut: str = "B", bias: bool = False
    ) -> None:
        super().__init__()
        self.downsample = shortcut_connection(in_channels, channels, stride, shortcut, bias)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)

    def forward(self, x: Any) -> Any:
        activated = self.norm1(x, relu=True)
        y = self.conv1(activated)
        y = self.conv2(self.norm2(y, relu=True))
        return y + go_round(self.downsample, x, activated)


class PreActBottleneck(nn.Module):
    """BN, ReLU and convolution three times (1×1, 3×3, 1×1), and a shortcut; 4·channels come out.

    shortcut, bias   as in `PreActBlock`
    stride_on_1x1    the stride is on the first 1×1 convolution, as in the authors' code, not on the 3×3
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        shortcut: str = "B",
        bias: bool = False,
        stride_on_1x1: bool = False,
    ) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        stride1, stride2 = (stride, 1) if stride_on_1x1 else (1, stride)
        self.downsample = shortcut_connection(in_channels, out_channels, stride, shortcut, bias)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride=stride1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=bias)

    def forward(self, x: Any) -> Any:
        activated = self.norm1(x, relu=True)
        y = self.conv1(activated)
        y = self.conv2(self.norm2(y, relu=True))
        y = self.conv3(self.norm3(y, relu=True))
        return y + go_round(self.downsample, x, activated)


class Stem(nn.Module):
    """The first convolution: 7×7 and a pooling, images a quarter as high and wide; for small images 3×3, same size."""

    def __init__(self, in_channels: int, channels: int, *, small_images: bool, norm: bool, bias: bool) -> None:
        super().__init__()
        kernel_size, stride = (3, 1) if small_images else (7, 2)
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=bias)
        self.norm = nn.BatchNorm2d(channels) if norm else None
        self.pool = None if small_images else nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x, relu=True)
        return x if self.pool is None else self.pool(x)


class Stage(nn.Module):
    """Blocks one after the other, each with its stride; `options` are the block's."""

    def __init__(self, block: Any, in_channels: int, channels: int, strides: Sequence[int], **options: Any) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        for stride in strides:
            self.blocks.append(block(in_channels, channels, stride, **options))
            in_channels = block.expansion * channels

    def forward(self, x: Any) -> Any:
        return self.blocks(x)


class Head(nn.Module):
    """Global average pooling, and a linear layer written as a 1×1 convolution.  (N, H, W, C) → (N, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Conv2d(in_channels, num_classes, 1)
        self.flatten = nn.Flatten()

    def forward(self, x: Any) -> Any:
        return self.flatten(self.fc(self.global_pool(x)))


class PreActResNet(nn.Module):
    """A convolution, stages of pre-activation blocks, BN and ReLU, global average pooling, linear.

    block            `PreActBlock` or `PreActBottleneck`
    blocks           how many of them each stage has
    widths           their `channels` in each stage; the first is the stem's as well
    small_images     the stem of the networks for CIFAR: see `Stem`
    stem_norm        the first BN and ReLU come right after the first convolution, before the ways part (appendix)
    stride_in_last   the image is halved by the last block of a stage, not by the first of the next
    bias             a bias in every convolution that no BN follows: stem, last ones of the blocks, projections
    options          of the blocks: shortcut, stride_on_1x1

    Initial weights as in timm: filters normal with variance 2 / fan_out (He et al., arXiv 1502.01852), those of the
    head with standard deviation 0.01, biases 0.
    """

    def __init__(
        self,
        block: type[PreActBlock] | type[PreActBottleneck],
        blocks: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        small_images: bool = False,
        stem_norm: bool = False,
        stride_in_last: bool = False,
        bias: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        C = widths[0]
        self.stem = Stem(in_channels, C, small_images=small_images, norm=stem_norm, bias=bias)
        self.stages = nn.Sequential()
        for i, (channels, count) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1] * count
            if stride_in_last:
                strides[-1] = 1 if i == len(blocks) - 1 else 2
            else:
                strides[0] = 1 if i == 0 else 2
            self.stages.append(Stage(block, C, channels, strides, bias=bias, **options))
            C = block.expansion * channels
        if stem_norm:  # the stem has the BN of the first block, so that its output goes both ways
            self.stages[0].blocks[0].norm1 = nn.Identity()
        self.norm = nn.BatchNorm2d(C)
        self.head = Head(C, num_classes)
        kaiming_fan_out(self)
        self.head.fc.weight.data = init.normal(self.head.fc.weight.shape, 0.01)

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        x = self.stages(self.stem(x))  # (N, ⌈H/32⌉, ⌈W/32⌉, C); for small images (N, ⌈H/4⌉, ⌈W/4⌉, C)
        return self.head(self.norm(x, relu=True))


VARIANTS: dict[str, dict[str, Any]] = {  # of the ImageNet networks
    "timm": {},  # whose checkpoints are in use
    "paper": {"stem_norm": True, "stride_on_1x1": True},  # the appendix, and the authors' code
    # tf-slim, but for its first pooling: "SAME" has its windows a pixel further right and down on even images.
    "slim": {"stride_in_last": True, "bias": True},
}


def _imagenet(
    blocks: Sequence[int], num_classes: int, in_channels: int, variant: str = "timm", **options: Any
) -> PreActResNet:
    require_choice("PreActResNet", "variant", variant, VARIANTS)
    options = VARIANTS[variant] | options
    return PreActResNet(PreActBottleneck, blocks, num_classes=num_classes, in_channels=in_channels, **options)


def preact_resnet50(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> PreActResNet:
    """50 layers: 25,549,352 parameters, 4,089,184,256 multiply-adds at 224×224."""
    return _imagenet((3, 4, 6, 3), num_classes, in_channels, **options)


def preact_resnet101(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> PreActResNet:
    """101 layers: 44,541,480 parameters, 7,801,405,440 multiply-adds at 224×224."""
    return _imagenet((3, 4, 23, 3), num_classes, in_channels, **options)


def preact_resnet152(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> PreActResNet:
    """152 layers: 60,185,128 parameters, 11,513,626,624 multiply-adds at 224×224."""
    return _imagenet((3, 8, 36, 3), num_classes, in_channels, **options)


def preact_resnet200(
    num_classes: int = 1000, in_channels: int = 3, variant: str = "paper", **options: Any
) -> PreActResNet:
    """200 layers: 64,666,152 parameters, 14,776,270,848 multiply-adds at 224×224; timm has none of this depth."""
    return _imagenet((3, 24, 36, 3), num_classes, in_channels, variant, **options)
