"""ResNet: layers learn what to add to their input (He et al., arXiv 1512.03385).

In a plain network the gradient is multiplied back through every layer, and shrinks. A residual block computes
y = relu(F(x) + x): the gradient of the sum passes to x unchanged, whatever F does to it, straight to earlier layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl import functional as F
from minidl import nn
from minidl.nn import init


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """The way round a block: None, the input itself, where shapes agree; else a 1×1 projection (option B, §3.3)."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (figure 5, left).  (N, H, W, C) → (N, ⌈H/stride⌉, ⌈W/stride⌉, channels)."""

    expansion = 1  # output channels / channels

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(in_channels, channels, stride)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1 to fewer channels, 3×3 there, 1×1 back to four times as many (figure 5, right), and a shortcut.

    (N, H, W, C) → (N, ⌈H/stride⌉, ⌈W/stride⌉, 4·channels). The stride is on the 3×3 convolution, as in torchvision
    ("v1.5"); the paper has it on the first 1×1.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.expansion * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)
        self.downsample = shortcut(in_channels, self.expansion * channels, stride)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class CifarResNet(nn.Module):
    """The network of §4.2 for small images: a 3×3 convolution, stages of `blocks` blocks, global average, linear.

    widths   channels of each stage; from the second on, a stage begins with stride 2

    Where a stage changes shapes, shortcuts are 1×1 projections (option B). The paper's CIFAR networks have option A
    there, without parameters: every second pixel, and zeros for the new channels.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: int,
        widths: Sequence[int] = (16, 32, 64),
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        channels = widths[0]
        for i, width in enumerate(widths):
            stage = nn.Sequential()
            for j in range(blocks):
                stage.append(block(channels, width, stride=2 if i > 0 and j == 0 else 1))
                channels = width * block.expansion
            self.stages.append(stage)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = init.kaiming_normal(module.weight.shape, mode="fan_out")

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = stage(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))  # flattened: (N, channels)


def resnet_small(num_classes: int = 10, in_channels: int = 1) -> CifarResNet:
    """Three stages of one basic block, for images of 8×8 to 32×32."""
    return CifarResNet(BasicBlock, 1, (16, 32, 64), num_classes, in_channels)
