"""GoogLeNet: filters of several sizes side by side (Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842).

Which filter size is right depends on how large things are in the image. An Inception module does not choose: it applies
1×1, 3×3 and 5×5 filters and a pooling in parallel and concatenates their outputs in depth.
"""

from __future__ import annotations

from typing import Any

import minidl
from minidl import functional as F
from minidl import nn


class BasicConv2d(nn.Module):
    """Convolution without bias, batch normalisation, ReLU: the unit all Inception networks are built from.

    The paper has no batch normalisation; torchvision's GoogLeNet, whose form this is, does (with ε = 0.001).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, **options)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x: Any) -> Any:
        return F.relu(self.bn(self.conv(x)))


class NaiveInception(nn.Module):
    """The module as first thought of (figure 2a): 1×1, 3×3 and 5×5 filters and a 3×3 max pooling, in parallel.

    (N, H, W, C) → (N, H, W, c1 + c3 + c5 + C). The pooling keeps all C channels, so depth can only grow, and the larger
    filters read all of them: on 28×28×256 with 128, 192 and 96 filters, 854,196,224 multiply-adds.
    """

    def __init__(self, in_channels: int, c1: int, c3: int, c5: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, c1, 1)
        self.branch2 = BasicConv2d(in_channels, c3, 3, padding=1)
        self.branch3 = BasicConv2d(in_channels, c5, 5, padding=2)
        self.branch4 = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, x: Any) -> Any:
        return minidl.concatenate([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], axis=-1)


class Inception(nn.Module):
    """The module with dimension reduction (figure 2b): 1×1 filters before the 3×3 and 5×5, and after the pooling.

    (N, H, W, C) → (N, H, W, c1 + c3 + c5 + pool). A 1×1 filter projects C channels to few, and the expensive filters
    read only those: on 28×28×256 with 64 channels in between, 271,351,808 multiply-adds, 3.15 times fewer.

    c3_reduce, c5_reduce   channels between the 1×1 and the larger filter
    """

    def __init__(self, in_channels: int, c1: int, c3_reduce: int, c3: int, c5_reduce: int, c5: int, pool: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, c1, 1)
        self.branch2 = nn.Sequential(BasicConv2d(in_channels, c3_reduce, 1), BasicConv2d(c3_reduce, c3, 3, padding=1))
        self.branch3 = nn.Sequential(BasicConv2d(in_channels, c5_reduce, 1), BasicConv2d(c5_reduce, c5, 5, padding=2))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BasicConv2d(in_channels, pool, 1))

    def forward(self, x: Any) -> Any:
        return minidl.concatenate([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], axis=-1)


class AuxiliaryHead(nn.Module):
    """A classifier on a middle layer (§5): its loss, weighted 0.3, carries gradient to the early layers in training.

    Average pooling to pooled_size², 1×1 convolution, fully connected, ReLU, 70% dropout, fully connected.
    (N, H, W, in_channels) → (N, num_classes). The paper has pooled_size 4, channels 128 and hidden 1024.
    """

    def __init__(
        self, in_channels: int, num_classes: int, pooled_size: int = 4, channels: int = 128, hidden: int = 1024
    ) -> None:
        super().__init__()
        self.pooled_size = pooled_size
        self.conv = BasicConv2d(in_channels, channels, 1)
        self.fc1 = nn.Linear(pooled_size**2 * channels, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Any) -> Any:
        x = self.conv(F.adaptive_avg_pool2d(x, self.pooled_size))  # (N, pooled_size, pooled_size, channels)
        x = F.relu(self.fc1(x.flatten(1)))  # (N, hidden)
        return self.fc2(self.dropout(x))


class InceptionSmall(nn.Module):
    """Three Inception modules, an auxiliary head after the first, for images of 8×8 to 32×32.

    In training it returns (scores, auxiliary scores), each (N, num_classes); otherwise the scores alone.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = BasicConv2d(in_channels, 32, 3, padding=1)
        self.inception3a = Inception(32, c1=16, c3_reduce=16, c3=32, c5_reduce=8, c5=8, pool=8)  # → 64
        self.aux1 = AuxiliaryHead(64, num_classes, pooled_size=2, channels=32, hidden=64)
        self.maxpool = nn.MaxPool2d(2)
        self.inception4a = Inception(64, c1=32, c3_reduce=32, c3=64, c5_reduce=16, c5=16, pool=16)  # → 128
        self.inception4b = Inception(128, c1=32, c3_reduce=32, c3=64, c5_reduce=16, c5=16, pool=16)  # → 128
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.inception3a(self.conv1(x))  # (N, H, W, 64)
        auxiliary = self.aux1(x) if self.training else None
        x = self.inception4b(self.inception4a(self.maxpool(x)))  # (N, H/2, W/2, 128)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)  # (N, 128)
        scores = self.fc(self.dropout(x))
        return scores if auxiliary is None else (scores, auxiliary)


def inception_small(num_classes: int = 10, in_channels: int = 1) -> InceptionSmall:
    """A small GoogLeNet, for images of 8×8 to 32×32."""
    return InceptionSmall(num_classes, in_channels)
