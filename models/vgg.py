"""VGG: depth from small filters (Simonyan & Zisserman, arXiv 1409.1556).

Three 3×3 convolutions see as much of the image as one 7×7, with 27C² weights instead of 49C² and three
non-linearities instead of one (§2.3). So a stage is a few of them, followed by a pooling that halves the image.

Names, shapes and initial weights are torchvision's, as is the batch normalisation of the variants `_bn`: the paper is
older, and has none. Left out of its table 1 are configurations A-LRN and C, which torchvision does not have either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import nn
from minidl.nn import init

CHANNELS = (64, 128, 256, 512, 512)  # of the five stages
CONFIGURATIONS = {  # convolutions of each stage (table 1)
    "A": (1, 1, 2, 2, 2),  # 8 convolutions and 3 fully connected layers: 11 layers with weights
    "B": (2, 2, 2, 2, 2),  # 13
    "D": (2, 2, 3, 3, 3),  # 16
    "E": (2, 2, 4, 4, 4),  # 19
}


def vgg_stage(in_channels: int, channels: int, convolutions: int, batch_norm: bool = False) -> nn.Sequential:
    """`convolutions` × (3×3 convolution, batch norm if asked for, ReLU), then 2×2 max pooling.

    (N, H, W, in_channels) → (N, ⌊H/2⌋, ⌊W/2⌋, channels). As in torchvision, a convolution keeps its
    bias under batch norm.
    """
    layers: list[nn.Module] = []
    for i in range(convolutions):
        layers.append(nn.Conv2d(in_channels if i == 0 else channels, channels, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class VGG(nn.Module):
    """Stages of 3×3 convolutions, then three fully connected layers.

    stages       (channels, convolutions) of each stage; the image is halved after each
    batch_norm   normalise after each convolution
    pooled_size  height and width that the last stage's images are averaged to, before they are flattened: at 224×224
                 they are 7×7 already
    hidden       width of the two hidden fully connected layers
    dropout      probability of dropping an element of either
    linear_std   standard deviation of the fully connected layers' initial weights; all biases are then 0. None leaves
                 both as the layers draw them

    Filters are initially normal with variance 2 / fan_out (He et al., arXiv 1502.01852).
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        batch_norm: bool = False,
        pooled_size: int = 7,
        hidden: int = 4096,
        dropout: float = 0.5,
        linear_std: float | None = 0.01,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        for channels, convolutions in stages:
            self.features.extend(vgg_stage(in_channels, channels, convolutions, batch_norm))
            in_channels = channels
        self.avgpool = nn.AdaptiveAvgPool2d(pooled_size)
        self.classifier = nn.Sequential(
            nn.Linear(pooled_size**2 * in_channels, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        self.flattens = {"classifier.0": (pooled_size, pooled_size, in_channels)}
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                module.weight.data = init.kaiming_normal(module.weight.shape, mode="fan_out")
        if linear_std is not None:
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    parameter.data = np.zeros_like(parameter.data)
                elif name.startswith("classifier"):
                    parameter.data = init.normal(parameter.shape, linear_std)

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        x = self.avgpool(self.features(x))  # (N, pooled_size, pooled_size, C)
        return self.classifier(x.flatten(1))  # flattened: (N, pooled_size² · C)


def vgg11(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """Configuration A: 11 layers with weights; 132,863,336 parameters and 7,609,090,048 multiply-adds at 224×224."""
    return _configuration("A", num_classes, in_channels, **options)


def vgg13(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """Configuration B: 13 layers with weights; 133,047,848 parameters and 11,308,466,176 multiply-adds at 224×224."""
    return _configuration("B", num_classes, in_channels, **options)


def vgg16(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """Configuration D: 16 layers with weights; 138,357,544 parameters and 15,470,264,320 multiply-adds at 224×224.

    Its third stage has three convolutions. A table with two, as a lecture slide has it, is one layer short.
    """
    return _configuration("D", num_classes, in_channels, **options)


def vgg19(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """Configuration E: 19 layers with weights; 143,667,240 parameters and 19,632,062,464 multiply-adds at 224×224."""
    return _configuration("E", num_classes, in_channels, **options)


def vgg11_bn(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """`vgg11` with batch normalisation: 132,868,840 parameters."""
    return vgg11(num_classes, in_channels, batch_norm=True, **options)


def vgg13_bn(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """`vgg13` with batch normalisation: 133,053,736 parameters."""
    return vgg13(num_classes, in_channels, batch_norm=True, **options)


def vgg16_bn(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """`vgg16` with batch normalisation: 138,365,992 parameters."""
    return vgg16(num_classes, in_channels, batch_norm=True, **options)


def vgg19_bn(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> VGG:
    """`vgg19` with batch normalisation: 143,678,248 parameters."""
    return vgg19(num_classes, in_channels, batch_norm=True, **options)


def _configuration(name: str, num_classes: int, in_channels: int, **options: Any) -> VGG:
    return VGG(list(zip(CHANNELS, CONFIGURATIONS[name], strict=True)), num_classes, in_channels, **options)


def vgg_small(num_classes: int = 10, in_channels: int = 1) -> VGG:
    """Two stages of two convolutions, for images of 8×8 to 32×32."""
    stages = [(32, 2), (64, 2)]
    return VGG(stages, num_classes, in_channels, batch_norm=True, pooled_size=2, hidden=128, linear_std=None)
