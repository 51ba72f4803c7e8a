"""ResNet V2: identity all the way (He et al., "Identity mappings in deep residual networks", arXiv 1603.05027).

In the first ResNet a ReLU follows each addition, so the shortcut is not quite an identity. Here normalisation and ReLU
stand before each convolution ("pre-activation", figure 4e), and nothing is left on the way round: y = x + F(x). The
last block's sum has been through neither, so a network of these blocks ends in a BN and a ReLU after it (appendix).
"""

from __future__ import annotations

from typing import Any

from minidl import functional as F
from minidl import nn


class PreActBlock(nn.Module):
    """BN, ReLU, 3×3 convolution, twice, and a shortcut.  (N, H, W, C) → (N, ⌈H/stride⌉, ⌈W/stride⌉, channels).

    Where shapes differ, the shortcut is a 1×1 projection, and both ways share the first BN and ReLU, as in the authors'
    code (github.com/KaimingHe/resnet-1k-layers).
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.downsample = _projection(in_channels, channels, stride)

    def forward(self, x: Any) -> Any:
        activated = F.relu(self.bn1(x))
        y = self.conv1(activated)
        y = self.conv2(F.relu(self.bn2(y)))
        return y + (x if self.downsample is None else self.downsample(activated))


class PreActBottleneck(nn.Module):
    """BN, ReLU and convolution three times (1×1, 3×3, 1×1), and a shortcut; 4·channels come out."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.expansion * channels, 1, bias=False)
        self.downsample = _projection(in_channels, self.expansion * channels, stride)

    def forward(self, x: Any) -> Any:
        activated = F.relu(self.bn1(x))
        y = self.conv1(activated)
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (x if self.downsample is None else self.downsample(activated))


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """A 1×1 convolution where the input's shape is not the output's, else None: the input itself."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
