"""The ResNets of CIFAR, and the plain networks they are compared with (He et al., arXiv 1512.03385, §4.2).

The images are 32×32, so the networks are thin, and can be very deep. Three stages of n blocks work on 32×32, 16×16 and
8×8 pixels with 16, 32 and 64 channels: 6n + 2 layers with weights. A plain network has the same layers, and no
shortcuts.

What shortcuts do for the gradient shows in the first layer of a new network: ‖∂L/∂W‖ for four random images.

                                             plain             residual
    layers                                 20      110        20      110
    weights as nn.Conv2d draws them       8e-9      0        0.08     0.3
    variance 2 / fan_out                  0.04     0.01       2       3e8
    variance 2 / fan_out, batch norm       6       1e7        2        18

From weights a little too small, the gradient of a plain network vanishes, and that of a residual one arrives. Weights
of the right size (He et al., arXiv 1502.01852) mend the plain network; but then sums grow with every block, and the
residual one's gradient explodes. Batch norm holds the sums down. What it does not mend is the plain network, whose
gradient now grows with every layer that it comes back through. Shortcuts and batch norm together bear depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl import nn
from models.resnet import BasicBlock, Bottleneck, stage
from models.units import kaiming_fan_out

WIDTHS = (16, 32, 64)


class PlainBlock(nn.Module):
    """A `BasicBlock` without its shortcut.  (N, H, W, C) → (N, ⌈H/stride⌉, ⌈W/stride⌉, channels)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Any) -> Any:
        y = self.bn1(self.conv1(x), relu=True)
        return self.bn2(self.conv2(y), relu=True)


class CifarResNet(nn.Module):
    """A 3×3 convolution, three stages of n blocks, global average pooling, linear.

    block    `BasicBlock`, `Bottleneck` or `PlainBlock`
    n        how many of them each stage has; the second and third stage begin with stride 2
    widths   their `channels` in each stage
    batch_norm   False leaves the batch norms out, to see what they do for the gradient
    options  of the blocks: shortcut, variant

    Filters are initially normal with variance 2 / fan_out (He et al., arXiv 1502.01852). The 1202 layers of table 6 are
    CifarResNet(BasicBlock, 200, shortcut="A").
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck] | type[PlainBlock],
        n: int,
        widths: Sequence[int] = WIDTHS,
        num_classes: int = 10,
        in_channels: int = 3,
        *,
        batch_norm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        C = block.expansion
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = stage(block, widths[0], widths[0], n, stride=1, **options)
        self.layer2 = stage(block, C * widths[0], widths[1], n, stride=2, **options)
        self.layer3 = stage(block, C * widths[1], widths[2], n, stride=2, **options)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(C * widths[2], num_classes)
        kaiming_fan_out(self)
        if not batch_norm:
            for module in list(self.modules()):
                for name, child in list(module.named_children()):
                    if isinstance(child, nn.BatchNorm2d):
                        setattr(module, name, nn.Identity())

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        x = self.bn1(self.conv1(x), relu=True)  # (N, H, W, widths[0])
        x = self.layer3(self.layer2(self.layer1(x)))  # (N, ⌈H/4⌉, ⌈W/4⌉, C)
        return self.fc(self.avgpool(x).flatten(1))  # flattened: (N, C)


def resnet20(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """20 layers, n = 3: 269,722 parameters, 272,474 with shortcut="B"; 40,551,040 multiply-adds."""
    return CifarResNet(BasicBlock, 3, WIDTHS, num_classes, in_channels, shortcut=shortcut, **options)


def resnet32(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """32 layers, n = 5: 464,154 parameters, 466,906 with shortcut="B"; 68,862,592 multiply-adds."""
    return CifarResNet(BasicBlock, 5, WIDTHS, num_classes, in_channels, shortcut=shortcut, **options)


def resnet44(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """44 layers, n = 7: 658,586 parameters, 661,338 with shortcut="B"; 97,174,144 multiply-adds."""
    return CifarResNet(BasicBlock, 7, WIDTHS, num_classes, in_channels, shortcut=shortcut, **options)


def resnet56(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """56 layers, n = 9: 853,018 parameters, 855,770 with shortcut="B"; 125,485,696 multiply-adds."""
    return CifarResNet(BasicBlock, 9, WIDTHS, num_classes, in_channels, shortcut=shortcut, **options)


def resnet110(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """110 layers, n = 18: 1,727,962 parameters, 1,730,714 with shortcut="B"; 252,887,680 multiply-adds."""
    return CifarResNet(BasicBlock, 18, WIDTHS, num_classes, in_channels, shortcut=shortcut, **options)


def plain20(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """`resnet20` without shortcuts."""
    return CifarResNet(PlainBlock, 3, WIDTHS, num_classes, in_channels, **options)


def plain32(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """`resnet32` without shortcuts."""
    return CifarResNet(PlainBlock, 5, WIDTHS, num_classes, in_channels, **options)


def plain44(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """`resnet44` without shortcuts."""
    return CifarResNet(PlainBlock, 7, WIDTHS, num_classes, in_channels, **options)


def plain56(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """`resnet56` without shortcuts."""
    return CifarResNet(PlainBlock, 9, WIDTHS, num_classes, in_channels, **options)


def plain110(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """`resnet110` without shortcuts."""
    return CifarResNet(PlainBlock, 18, WIDTHS, num_classes, in_channels, **options)


def resnet_small(num_classes: int = 10, in_channels: int = 1) -> CifarResNet:
    """Three stages of one basic block, with projections, for images of 8×8 to 32×32."""
    return CifarResNet(BasicBlock, 1, WIDTHS, num_classes, in_channels)
