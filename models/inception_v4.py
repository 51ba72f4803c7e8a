"""Inception-v4: one kind of module a resolution (Szegedy et al., arXiv 1602.07261, §3.1 and figures 3 to 9).

Inception-v3 had grown from its predecessors module by module. Here each resolution has one module, repeated, and one
reduction leads to the next:

    299×299×3   stem                     figure 3
    35×35×384   4 × Inception-A          figure 4
                Reduction-A              figure 7
    17×17×1024  7 × Inception-B          figure 5
                Reduction-B              figure 8
    8×8×1536    3 × Inception-C          figure 6

The names of all parts are timm's. There and in the released network an average pooling counts no padding.
"""

from __future__ import annotations

from typing import Any

import minidl
from minidl import nn
from models.units import BasicConv2d, Branches


def pooled_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """The pooling branch of a module: 3×3 averages, of the image's pixels only, and a 1×1 convolution."""
    return nn.Sequential(
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), BasicConv2d(in_channels, out_channels, 1)
    )


class Mixed3a(Branches):
    """The first fork of the stem: pooling beside a strided convolution.  147×147×64 → 73×73×(64 + 96)."""

    def __init__(self) -> None:
        super().__init__()
        self.maxpool = nn.MaxPool2d(3, stride=2)
        self.conv = BasicConv2d(64, 96, 3, stride=2)


class Mixed4a(Branches):
    """The second fork: a 3×3 convolution, in one branch after a factorised 7×7.  73×73×160 → 71×71×(96 + 96)."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(BasicConv2d(160, 64, 1), BasicConv2d(64, 96, 3))
        self.branch1 = nn.Sequential(
            BasicConv2d(160, 64, 1),
            BasicConv2d(64, 64, (1, 7), padding=(0, 3)),
            BasicConv2d(64, 64, (7, 1), padding=(3, 0)),
            BasicConv2d(64, 96, 3),
        )


class Mixed5a(Branches):
    """The third fork: a strided convolution beside pooling.  71×71×192 → 35×35×(192 + 192)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = BasicConv2d(192, 192, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2)


def stem(in_channels: int) -> list[nn.Module]:
    """The layers before the first module (figure 3), also of Inception-ResNet-v2.  299×299×in_channels → 35×35×384."""
    return [
        BasicConv2d(in_channels, 32, 3, stride=2),  # → 149×149
        BasicConv2d(32, 32, 3),
        BasicConv2d(32, 64, 3, padding=1),  # → 147×147
        Mixed3a(),
        Mixed4a(),
        Mixed5a(),
    ]


class InceptionA(Branches):
    """On 35×35 (figure 4): 1×1, 3×3, two 3×3, and pooling.  (N, H, W, in_channels) → (N, H, W, 4 · 96)."""

    def __init__(self, in_channels: int = 384) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(in_channels, 96, 1)
        self.branch1 = nn.Sequential(BasicConv2d(in_channels, 64, 1), BasicConv2d(64, 96, 3, padding=1))
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, 64, 1), BasicConv2d(64, 96, 3, padding=1), BasicConv2d(96, 96, 3, padding=1)
        )
        self.branch3 = pooled_conv(in_channels, 96)


class ReductionA(Branches):
    """35×35 to 17×17 (figure 7).  Depth C → n + m + C.

    k, l, m, n   channels of the 1×1, the 3×3 and the strided 3×3 in a row, and of the strided 3×3 alone (table 1):

                              k     l     m     n
        Inception-v4         192   224   256   384
        Inception-ResNet-v1  192   192   256   384
        Inception-ResNet-v2  256   256   384   384
    """

    def __init__(self, in_channels: int, k: int, l: int, m: int, n: int) -> None:  # noqa: E741 - the paper's letters
        super().__init__()
        self.branch0 = BasicConv2d(in_channels, n, 3, stride=2)
        self.branch1 = nn.Sequential(
            BasicConv2d(in_channels, k, 1), BasicConv2d(k, l, 3, padding=1), BasicConv2d(l, m, 3, stride=2)
        )
        self.branch2 = nn.MaxPool2d(3, stride=2)


class InceptionB(Branches):
    """On 17×17 (figure 5): factorised 7×7 filters, one and two.

    (N, H, W, in_channels) → (N, H, W, 384 + 256 + 256 + 128), 1024 channels.
    """

    def __init__(self, in_channels: int = 1024) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(in_channels, 384, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(in_channels, 192, 1),
            BasicConv2d(192, 224, (1, 7), padding=(0, 3)),
            BasicConv2d(224, 256, (7, 1), padding=(3, 0)),
        )
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, 192, 1),
            BasicConv2d(192, 192, (7, 1), padding=(3, 0)),
            BasicConv2d(192, 224, (1, 7), padding=(0, 3)),
            BasicConv2d(224, 224, (7, 1), padding=(3, 0)),
            BasicConv2d(224, 256, (1, 7), padding=(0, 3)),
        )
        self.branch3 = pooled_conv(in_channels, 128)


class ReductionB(Branches):
    """17×17 to 8×8 (figure 8).  Depth C → 192 + 320 + C."""

    def __init__(self, in_channels: int = 1024) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(BasicConv2d(in_channels, 192, 1), BasicConv2d(192, 192, 3, stride=2))
        self.branch1 = nn.Sequential(
            BasicConv2d(in_channels, 256, 1),
            BasicConv2d(256, 256, (1, 7), padding=(0, 3)),
            BasicConv2d(256, 320, (7, 1), padding=(3, 0)),
            BasicConv2d(320, 320, 3, stride=2),
        )
        self.branch2 = nn.MaxPool2d(3, stride=2)


class InceptionC(nn.Module):
    """On 8×8 (figure 6): branches that end in 1×3 beside 3×1.  (N, H, W, in_channels) → (N, H, W, 6 · 256)."""

    def __init__(self, in_channels: int = 1536) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(in_channels, 256, 1)
        self.branch1_0 = BasicConv2d(in_channels, 384, 1)
        self.branch1_1a = BasicConv2d(384, 256, (1, 3), padding=(0, 1))
        self.branch1_1b = BasicConv2d(384, 256, (3, 1), padding=(1, 0))
        self.branch2_0 = BasicConv2d(in_channels, 384, 1)
        self.branch2_1 = BasicConv2d(384, 448, (3, 1), padding=(1, 0))
        self.branch2_2 = BasicConv2d(448, 512, (1, 3), padding=(0, 1))
        self.branch2_3a = BasicConv2d(512, 256, (1, 3), padding=(0, 1))
        self.branch2_3b = BasicConv2d(512, 256, (3, 1), padding=(1, 0))
        self.branch3 = pooled_conv(in_channels, 256)

    def forward(self, x: Any) -> Any:
        one = self.branch1_0(x)
        two = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        branches = [
            self.branch0(x),
            *(self.branch1_1a(one), self.branch1_1b(one)),
            *(self.branch2_3a(two), self.branch2_3b(two)),
            self.branch3(x),
        ]
        return minidl.concatenate(branches, axis=-1)  # (N, H, W, 6 · 256)


class InceptionV4(nn.Module):
    """The network of figure 9.  Images (N, H, W, in_channels), 299×299 and at least 75×75 → scores (N, num_classes).

    dropout   probability before the last layer: 0.2, since the paper keeps 0.8 (in timm it is 0 until one asks)

    Convolutions and linear layer begin as `nn.Conv2d` and `nn.Linear` do: the paper names no initial weights.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *stem(in_channels),
            *(InceptionA() for _ in range(4)),
            ReductionA(384, k=192, l=224, m=256, n=384),
            *(InceptionB() for _ in range(7)),
            ReductionB(),
            *(InceptionC() for _ in range(3)),
        )
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head_drop = nn.Dropout(dropout)
        self.last_linear = nn.Linear(1536, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.global_pool(self.features(x))  # (N, 1536)
        return self.last_linear(self.head_drop(x))


def inception_v4(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> InceptionV4:
    """Inception-v4: 76 layers with weights on the longest path, 42,679,816 parameters, 12,253,974,624 multiply-adds at
    299×299. Options: those of `InceptionV4`."""
    return InceptionV4(num_classes, in_channels, **options)
