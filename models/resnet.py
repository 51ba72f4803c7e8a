"""ResNet: layers learn what to add to their input (He et al., arXiv 1512.03385).

In a plain network the gradient is multiplied back through every layer. A residual block computes y = relu(F(x) + x):
the gradient of the sum passes to x unchanged, whatever F does to it, straight to earlier layers.

Names, shapes and initial weights are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import functional as F
from minidl import nn
from models.units import kaiming_fan_out, require_choice

VARIANTS = ("v1.5", "paper")


class PaddedShortcut(nn.Module):
    """The input at every stride-th pixel, and zeros for the new channels: nothing to learn (option A of §3.3).

    (N, H, W, in_channels) → (N, ⌈H/stride⌉, ⌈W/stride⌉, out_channels). The paper does not say where the zeros are;
    here they come last.

    Raises: ValueError where out_channels are fewer.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"PaddedShortcut: expected out_channels ≥ {in_channels}, got {out_channels}; use option B")
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride

    def forward(self, x: Any) -> Any:
        x = x[:, :: self.stride, :: self.stride]  # (N, ⌈H/stride⌉, ⌈W/stride⌉, in_channels)
        new_channels = self.out_channels - self.in_channels
        return F.pad(x, ((0, 0), (0, 0), (0, 0), (0, new_channels)))  # (N, ⌈H/stride⌉, ⌈W/stride⌉, out_channels)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"


def shortcut_connection(in_channels: int, out_channels: int, stride: int, option: str = "B") -> nn.Module | None:
    """The way round a block, of which §4.1 compares three options (table 3); None is the input itself.

    option   what a block has that changes the shape: "A" `PaddedShortcut`, "B" a 1×1 projection and batch norm;
             "C": a projection in every block
    """
    require_choice("shortcut_connection", "option", option, ("A", "B", "C"))
    if option != "C" and stride == 1 and in_channels == out_channels:
        return None
    if option == "A":
        return PaddedShortcut(in_channels, out_channels, stride)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (figure 5, left).  (N, H, W, C) → (N, ⌈H/stride⌉, ⌈W/stride⌉, channels).

    shortcut   "A", "B" or "C": see `shortcut_connection`
    variant    as in `Bottleneck`; here the stride is on the first convolution in both
    """

    expansion = 1  # output channels / channels

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, shortcut: str = "B", variant: str = "v1.5"
    ) -> None:
        super().__init__()
        require_choice("BasicBlock", "variant", variant, VARIANTS)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut_connection(in_channels, channels, stride, shortcut)

    def forward(self, x: Any) -> Any:
        y = self.bn1(self.conv1(x), relu=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn2(self.conv2(y), add=shortcut, relu=True)


class Bottleneck(nn.Module):
    """1×1 to fewer channels, 3×3 there, 1×1 back to four times as many (figure 5, right), and a shortcut.

    (N, H, W, C) → (N, ⌈H/stride⌉, ⌈W/stride⌉, 4·channels).

    shortcut   "A", "B" or "C": see `shortcut_connection`
    variant    where the stride is: "v1.5", as in torchvision, on the 3×3 convolution, which sees every pixel; "paper",
               as in the authors' Caffe networks, on the first 1×1, which passes three of four pixels over
    """

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, shortcut: str = "B", variant: str = "v1.5"
    ) -> None:
        super().__init__()
        require_choice("Bottleneck", "variant", variant, VARIANTS)
        out_channels = self.expansion * channels
        stride1, stride2 = (stride, 1) if variant == "paper" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride=stride1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut_connection(in_channels, out_channels, stride, shortcut)

    def forward(self, x: Any) -> Any:
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn3(self.conv3(y), add=shortcut, relu=True)


def stage(block: Any, in_channels: int, channels: int, blocks: int, stride: int, **options: Any) -> nn.Sequential:
    """`blocks` blocks one after the other, the first of them with the stride; `options` are the block's."""
    return nn.Sequential(
        block(in_channels, channels, stride, **options),
        *(block(block.expansion * channels, channels, **options) for _ in range(blocks - 1)),
    )


class ResNet(nn.Module):
    """The networks of table 1: a 7×7 convolution, four stages of blocks, global average pooling, linear.

    block     `BasicBlock` or `Bottleneck`
    blocks    how many of them each stage has
    widths    their `channels` in each stage
    zero_init_residual   let the last batch norm of each block start with weight 0, so that the block starts as its
              shortcut (Goyal et al., arXiv 1706.02677, §5.1)
    options   of the blocks: variant, shortcut

    At 224×224 the stages' images are 56×56, 28×28, 14×14 and 7×7; any size from 1×1 on will do. Filters are initially
    normal with variance 2 / fan_out (He et al., arXiv 1502.01852).
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        zero_init_residual: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        C = block.expansion
        self.conv1 = nn.Conv2d(in_channels, widths[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(block, widths[0], widths[0], blocks[0], stride=1, **options)
        self.layer2 = stage(block, C * widths[0], widths[1], blocks[1], stride=2, **options)
        self.layer3 = stage(block, C * widths[1], widths[2], blocks[2], stride=2, **options)
        self.layer4 = stage(block, C * widths[2], widths[3], blocks[3], stride=2, **options)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(C * widths[3], num_classes)
        kaiming_fan_out(self)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    last: Any = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                    last.weight.data = np.zeros(last.weight.shape, np.float32)

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        x = self.maxpool(self.bn1(self.conv1(x), relu=True))  # (N, ⌈H/4⌉, ⌈W/4⌉, widths[0])
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (N, ⌈H/32⌉, ⌈W/32⌉, C)
        return self.fc(self.avgpool(x).flatten(1))  # flattened: (N, C)


def resnet18(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """18 layers: 11,689,512 parameters, 1,814,073,344 multiply-adds at 224×224."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes=num_classes, in_channels=in_channels, **options)


def resnet34(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """34 layers: 21,797,672 parameters, 3,663,761,408 multiply-adds at 224×224."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes=num_classes, in_channels=in_channels, **options)


def resnet50(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """50 layers: 25,557,032 parameters, 4,089,184,256 multiply-adds at 224×224 (variant "paper": 3,857,973,248)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes=num_classes, in_channels=in_channels, **options)


def resnet101(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """101 layers: 44,549,160 parameters, 7,801,405,440 multiply-adds at 224×224 (variant "paper": 7,570,194,432)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes=num_classes, in_channels=in_channels, **options)


def resnet152(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """152 layers: 60,192,808 parameters, 11,513,626,624 multiply-adds at 224×224 (variant "paper": 11,282,415,616)."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes=num_classes, in_channels=in_channels, **options)
