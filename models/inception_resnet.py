"""Inception-ResNet: Inception modules as residuals (Szegedy et al., arXiv 1602.07261, §3.2 and figures 10 to 19).

A block adds to its input what its branches find, as in ResNet. A 1×1 convolution after the branches brings their
channels to those of the input; it has neither batch normalisation nor activation. And the residual is made small:

    y = relu(x + scale · conv1×1(branches(x)))                                                         (§3.3, figure 20)

With more than 1000 filters such networks "died" early in training: the last layer before the average pooling gave zeros
only. Scales of 0.1 to 0.3 prevent it. Those here, 0.17, 0.10 and 0.20, are the released network's.

Version 1 was made to cost as much as Inception-v3, version 2 as Inception-v4: 6.2 billion multiply-adds beside 5.7, and
9.3 beside 12.3. But the network that was released as Inception-ResNet-v2 is another than that of the figures, with
Inception-v3's stem, twice the blocks, fewer channels and 13.2 billion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import minidl
from minidl import functional as F
from minidl import nn
from models.inception_v4 import ReductionA, pooled_conv, stem
from models.units import BasicConv2d, Branches, require_choice


class Widths(NamedTuple):
    """The channels in which the modules of version 1 (figures 10 to 13) and version 2 (16 to 19) differ."""

    a: tuple[int, int]  # Inception-ResNet-A: the two 3×3 in a row
    k_l_m_n: tuple[int, int, int, int]  # Reduction-A (table 1)
    b: tuple[int, int, int, int]  # Inception-ResNet-B: 1×1; 1×1, 1×7, 7×1
    reduction_b: tuple[int, int, int]  # Reduction-B: the strided 3×3 of each branch
    c: tuple[int, int, int, int]  # Inception-ResNet-C: 1×1; 1×1, 1×3, 3×1


V1 = Widths((32, 32), (192, 192, 256, 384), (128, 128, 128, 128), (384, 256, 256), (192, 192, 192, 192))
V2 = Widths((48, 64), (256, 256, 384, 384), (192, 128, 160, 192), (384, 288, 320), (192, 192, 224, 256))


class InceptionResNetA(nn.Module):
    """On 35×35 (figures 10, 16): 1×1, 3×3 and two 3×3.  (N, H, W, channels) → the same."""

    def __init__(self, channels: int, widths: Sequence[int], scale: float = 0.17) -> None:
        super().__init__()
        c1, c2 = widths
        self.scale = scale
        self.branch0 = BasicConv2d(channels, 32, 1)
        self.branch1 = nn.Sequential(BasicConv2d(channels, 32, 1), BasicConv2d(32, 32, 3, padding=1))
        self.branch2 = nn.Sequential(
            BasicConv2d(channels, 32, 1), BasicConv2d(32, c1, 3, padding=1), BasicConv2d(c1, c2, 3, padding=1)
        )
        self.conv2d = nn.Conv2d(32 + 32 + c2, channels, 1)

    def forward(self, x: Any) -> Any:
        y = minidl.concatenate([self.branch0(x), self.branch1(x), self.branch2(x)], axis=-1)  # (N, H, W, 64 + c2)
        return F.relu(x + self.conv2d(y) * self.scale)


class InceptionResNetB(nn.Module):
    """On 17×17 (figures 11, 17): 1×1, and an n×n filter as 1×n and n×1.  (N, H, W, channels) → the same.

    activation   with the last ReLU
    """

    def __init__(
        self, channels: int, widths: Sequence[int], n: int = 7, scale: float = 0.10, activation: bool = True
    ) -> None:
        super().__init__()
        c0, c1, c2, c3 = widths
        self.scale, self.activation = scale, activation
        self.branch0 = BasicConv2d(channels, c0, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(channels, c1, 1),
            BasicConv2d(c1, c2, (1, n), padding=(0, n // 2)),
            BasicConv2d(c2, c3, (n, 1), padding=(n // 2, 0)),
        )
        self.conv2d = nn.Conv2d(c0 + c3, channels, 1)

    def forward(self, x: Any) -> Any:
        y = minidl.concatenate([self.branch0(x), self.branch1(x)], axis=-1)  # (N, H, W, c0 + c3)
        y = x + self.conv2d(y) * self.scale
        return F.relu(y) if self.activation else y


class InceptionResNetC(InceptionResNetB):
    """On 8×8 (figures 13, 19): as B, with n = 3."""

    def __init__(self, channels: int, widths: Sequence[int], scale: float = 0.20, activation: bool = True) -> None:
        super().__init__(channels, widths, 3, scale, activation)


class ReductionB(Branches):
    """17×17 to 8×8 (figures 12, 18): three branches that end in a strided 3×3, and pooling.  Depth C → Σ widths + C."""

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        c0, c1, c2 = widths
        self.branch0 = nn.Sequential(BasicConv2d(in_channels, 256, 1), BasicConv2d(256, c0, 3, stride=2))
        self.branch1 = nn.Sequential(BasicConv2d(in_channels, 256, 1), BasicConv2d(256, c1, 3, stride=2))
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, 256, 1), BasicConv2d(256, c1, 3, padding=1), BasicConv2d(c1, c2, 3, stride=2)
        )
        self.branch3 = nn.MaxPool2d(3, stride=2)


def stem_v1(in_channels: int) -> list[nn.Module]:
    """The stem of version 1 (figure 14).  299×299×in_channels → 35×35×256."""
    return [
        BasicConv2d(in_channels, 32, 3, stride=2),  # → 149×149
        BasicConv2d(32, 32, 3),
        BasicConv2d(32, 64, 3, padding=1),  # → 147×147
        nn.MaxPool2d(3, stride=2),
        BasicConv2d(64, 80, 1),  # → 73×73
        BasicConv2d(80, 192, 3),  # → 71×71
        BasicConv2d(192, 256, 3, stride=2),
    ]


class InceptionResNet(nn.Module):
    """The network of figure 15: of version 1, or of version 2 as in the figures.

    Images (N, H, W, in_channels), 299×299 and at least 75×75 → scores (N, num_classes).

    version      "v1" or "v2", which have                  v1       v2   channels
                     stem (figures 14, 3)        35×35    256      384
                     5 × A, Reduction-A          17×17    896     1152
                     10 × B, Reduction-B, 5 × C  8×8     1792     2144
    last_block   a sixth C block, with scale 1 and without ReLU, as facenet's version 1 has it
    dropout      probability before the last layer: the paper keeps 0.8

    Figure 17 prints 1154 channels and figure 19 2048, which is not what the branches before them make together.
    """

    def __init__(
        self,
        version: str,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        last_block: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        require_choice("InceptionResNet", "version", version, ("v1", "v2"))
        first, widths = (stem_v1, V1) if version == "v1" else (stem, V2)
        A, B, C = (256, 896, 1792) if version == "v1" else (384, 1152, 2144)  # channels at 35×35, 17×17, 8×8
        self.stem = nn.Sequential(*first(in_channels))
        self.inception_resnet_a = nn.Sequential(*(InceptionResNetA(A, widths.a) for _ in range(5)))
        self.reduction_a = ReductionA(A, *widths.k_l_m_n)
        self.inception_resnet_b = nn.Sequential(*(InceptionResNetB(B, widths.b) for _ in range(10)))
        self.reduction_b = ReductionB(B, widths.reduction_b)
        self.inception_resnet_c = nn.Sequential(*(InceptionResNetC(C, widths.c) for _ in range(5)))
        if last_block:
            self.inception_resnet_c.append(InceptionResNetC(C, widths.c, scale=1.0, activation=False))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(C, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.inception_resnet_a(self.stem(x))
        x = self.inception_resnet_b(self.reduction_a(x))
        x = self.inception_resnet_c(self.reduction_b(x))
        x = self.avgpool(x).flatten(1)  # (N, C)
        return self.fc(self.dropout(x))


class Mixed5b(Branches):
    """The released network's one Inception module without residual.  (N, H, W, 192) → (N, H, W, 96 + 64 + 96 + 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(192, 96, 1)
        self.branch1 = nn.Sequential(BasicConv2d(192, 48, 1), BasicConv2d(48, 64, 5, padding=2))
        self.branch2 = nn.Sequential(
            BasicConv2d(192, 64, 1), BasicConv2d(64, 96, 3, padding=1), BasicConv2d(96, 96, 3, padding=1)
        )
        self.branch3 = pooled_conv(192, 64)


class InceptionResNetV2(nn.Module):
    """Inception-ResNet-v2 as it was released, with timm's names.

    Images (N, H, W, in_channels), 299×299 and at least 75×75 → scores (N, num_classes).
    dropout   probability before the last layer: 0.2, since the paper keeps 0.8 (in timm it is 0 until one asks)
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.conv2d_1a = BasicConv2d(in_channels, 32, 3, stride=2)  # → 149×149
        self.conv2d_2a = BasicConv2d(32, 32, 3)
        self.conv2d_2b = BasicConv2d(32, 64, 3, padding=1)  # → 147×147
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = BasicConv2d(64, 80, 1)  # → 73×73
        self.conv2d_4a = BasicConv2d(80, 192, 3)  # → 71×71
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)
        self.mixed_5b = Mixed5b()
        self.repeat = nn.Sequential(*(InceptionResNetA(320, V2.a) for _ in range(10)))  # → 35×35×320
        self.mixed_6a = ReductionA(320, *V2.k_l_m_n)
        self.repeat_1 = nn.Sequential(*(InceptionResNetB(1088, V2.b) for _ in range(20)))  # → 17×17×1088
        self.mixed_7a = ReductionB(1088, V2.reduction_b)
        self.repeat_2 = nn.Sequential(*(InceptionResNetC(2080, V2.c) for _ in range(9)))  # → 8×8×2080
        self.block8 = InceptionResNetC(2080, V2.c, scale=1.0, activation=False)
        self.conv2d_7b = BasicConv2d(2080, 1536, 1)  # → 8×8×1536
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head_drop = nn.Dropout(dropout)
        self.classif = nn.Linear(1536, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x)))
        x = self.repeat(self.mixed_5b(self.maxpool_5a(x)))
        x = self.repeat_1(self.mixed_6a(x))
        x = self.block8(self.repeat_2(self.mixed_7a(x)))
        x = self.global_pool(self.conv2d_7b(x))  # (N, 1536)
        return self.classif(self.head_drop(x))


def inception_resnet_v1(
    num_classes: int = 1000, in_channels: int = 3, variant: str = "paper", **options: Any
) -> InceptionResNet:
    """Inception-ResNet-v1: 22,756,328 parameters, 6,206,361,696 multiply-adds at 299×299. Options: `InceptionResNet`'s.

    variant   "paper", or "facenet" with a sixth C block: 24,357,096 parameters, 6,308,597,856 multiply-adds
    """
    require_choice("inception_resnet_v1", "variant", variant, ("paper", "facenet"))
    return InceptionResNet("v1", num_classes, in_channels, last_block=variant == "facenet", **options)


def inception_resnet_v2(
    num_classes: int = 1000, in_channels: int = 3, variant: str = "released", **options: Any
) -> InceptionResNetV2 | InceptionResNet:
    """Inception-ResNet-v2: 55,843,464 parameters, 13,155,794,016 multiply-adds at 299×299. Options: its class's.

    variant   "released", or "paper" for the one of the figures: 32,433,928 parameters, 9,257,953,632 multiply-adds
    """
    require_choice("inception_resnet_v2", "variant", variant, ("released", "paper"))
    if variant == "released":
        return InceptionResNetV2(num_classes, in_channels, **options)
    return InceptionResNet("v2", num_classes, in_channels, **options)
