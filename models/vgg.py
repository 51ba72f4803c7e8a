"""VGG: depth from small filters (Simonyan & Zisserman, arXiv 1409.1556).

Three 3×3 convolutions see as much of the image as one 7×7, with 27C² weights instead of 49C² and three
non-linearities instead of one (§2.3). So a stage is a few of them, followed by a pooling that halves the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl import nn
from minidl.nn import init


def vgg_stage(in_channels: int, channels: int, convolutions: int, batch_norm: bool = True) -> nn.Sequential:
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
    pooled_size  height and width that the last stage's images are averaged to, before they are flattened
    hidden       width of the two hidden fully connected layers
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, int]],
        num_classes: int = 1000,
        in_channels: int = 3,
        pooled_size: int = 7,
        hidden: int = 4096,
        dropout: float = 0.5,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        widths = [in_channels, *(channels for channels, _ in stages)]
        self.features = nn.Sequential(
            *(vgg_stage(before, *stage, batch_norm) for before, stage in zip(widths, stages, strict=False))
        )
        self.avgpool = nn.AdaptiveAvgPool2d(pooled_size)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(pooled_size**2 * widths[-1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = init.kaiming_normal(module.weight.shape, mode="fan_out")

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        return self.classifier(self.avgpool(self.features(x)))


def vgg_small(num_classes: int = 10, in_channels: int = 1) -> VGG:
    """Two stages of two convolutions, for images of 8×8 to 32×32."""
    return VGG([(32, 2), (64, 2)], num_classes, in_channels, pooled_size=2, hidden=128)
