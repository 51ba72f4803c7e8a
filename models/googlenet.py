"""GoogLeNet: filters of several sizes side by side (Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842).

Which filter size is right depends on how large things are in the image. An Inception module does not choose: it applies
1×1, 3×3 and 5×5 filters and a pooling in parallel and concatenates their outputs in depth. Nine such modules make a
network of 22 layers with weights, and two auxiliary classifiers bring gradient to the early ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minidl import functional as F
from minidl import nn
from models.units import (
    BasicConv2d,
    Branches,
    ConvReLU,
    caffe_xavier,
    from_imagenet_statistics,
    require_choice,
    separable_conv,
    truncated_normal,
)


class NaiveInception(Branches):
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


class Inception(Branches):
    """The module with dimension reduction (figure 2b): 1×1 filters before the 3×3 and 5×5, and after the pooling.

    (N, H, W, C) → (N, H, W, c1 + c3 + c5 + proj). A 1×1 filter projects C channels to few, and the expensive filters
    read only those: on 28×28×256 with 64 channels in between, 271,351,808 multiply-adds, 3.15 times fewer. (The 358
    million that is often printed counts the 3×3 filters twice.)

    c3_reduce, c5_reduce   channels between the 1×1 and the larger filter
    proj                   channels of the 1×1 after the pooling
    kernel5                the size of the filters called 5×5: in torchvision they are 3×3
    unit                   makes a convolution, up to its ReLU
    """

    def __init__(
        self,
        in_channels: int,
        c1: int,
        c3_reduce: int,
        c3: int,
        c5_reduce: int,
        c5: int,
        proj: int,
        kernel5: int = 5,
        unit: Callable[..., nn.Module] = BasicConv2d,
    ) -> None:
        super().__init__()
        self.branch1 = unit(in_channels, c1, 1)
        self.branch2 = nn.Sequential(unit(in_channels, c3_reduce, 1), unit(c3_reduce, c3, 3, padding=1))
        self.branch3 = nn.Sequential(
            unit(in_channels, c5_reduce, 1), unit(c5_reduce, c5, kernel5, padding=kernel5 // 2)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), unit(in_channels, proj, 1))


class AuxiliaryHead(nn.Module):
    """A classifier on a middle layer (§5): its loss, weighted 0.3, carries gradient to the early layers in training.

    Average pooling to pooled_size², 1×1 convolution, fully connected, ReLU, dropout, fully connected.
    (N, H, W, in_channels) → (N, num_classes). The sizes given by default are the paper's.

    adaptive   pool whatever comes to pooled_size², as torchvision does. Otherwise, as in the paper, pool 5×5 windows
               three pixels apart, which make 4×4 of 14×14
    """

    only_in_training = True  # `reparam.to_deploy` drops it

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        pooled_size: int = 4,
        channels: int = 128,
        hidden: int = 1024,
        dropout: float = 0.7,
        adaptive: bool = True,
        unit: Callable[..., nn.Module] = BasicConv2d,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(pooled_size) if adaptive else nn.AvgPool2d(5, stride=3)
        self.conv = unit(in_channels, channels, 1)
        self.fc1 = nn.Linear(pooled_size**2 * channels, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)
        self.dropout = nn.Dropout(dropout)
        self.flattens = {"fc1": (pooled_size, pooled_size, channels)}

    def forward(self, x: Any) -> Any:
        x = self.conv(self.avgpool(x))  # (N, pooled_size, pooled_size, channels)
        x = F.relu(self.fc1(x.flatten(1)))  # (N, hidden)
        return self.fc2(self.dropout(x))


class GoogLeNet(nn.Module):
    """The network of Table 1.  Images (N, H, W, in_channels) → scores (N, num_classes).

    aux_logits        with auxiliary heads on 4a and 4d: in training the result is (scores, those of 4a, those of 4d)
    transform_input   expect RGB standardised with ImageNet's statistics, and bring it to [-1, 1] as the published
                      weights need it
    dropout           probability before the last layer; None for the variant's, torchvision's 0.2 or the paper's 0.4
    dropout_aux       probability in the auxiliary heads
    variant           "torchvision", the form whose checkpoints people have, or "paper", Table 1 to the letter
    separable_stem    the first convolution as a separable one. Only so Table 1 comes out in its first row, "2.7K"
                      parameters and "34M" operations, and in its sum, the 1.5 billion multiply-adds of §1

    Where the variants differ:
                              torchvision                        paper
        after a convolution   batch normalisation, ReLU          ReLU; local response normalisation twice (figure 3)
        "5×5" filters         3×3, by an old mistake             5×5
        maxpool4              2×2                                3×3
        auxiliary pooling     to 4×4, whatever the image         5×5 windows, 3 pixels apart: 4×4 at 224×224
        smallest image        15×15                              31×31
        initial weights       normal, σ = 0.01; biases as in     uniform ± √(3 / fan_in); biases 0.2, of classifiers 0:
                              `nn.Linear`                        Caffe's bvlc_googlenet, for the paper names none

    Raises: ValueError for another variant, and in use for transform_input with images that are not RGB.
    """

    aux_weight = 0.3  # §5

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        aux_logits: bool = True,
        transform_input: bool = False,
        dropout: float | None = None,
        dropout_aux: float = 0.7,
        variant: str = "torchvision",
        separable_stem: bool = False,
    ) -> None:
        super().__init__()
        require_choice("GoogLeNet", "variant", variant, ("torchvision", "paper"))
        self.transform_input = transform_input
        paper = variant == "paper"
        unit: Callable[..., nn.Module] = ConvReLU if paper else BasicConv2d
        first = partial(separable_conv, unit) if separable_stem else unit
        norm = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=1.0)
        inception = partial(Inception, kernel5=5 if paper else 3, unit=unit)
        head = partial(AuxiliaryHead, num_classes=num_classes, dropout=dropout_aux, adaptive=not paper, unit=unit)

        # Table 1. Of a module: channels of its input, #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj.
        self.conv1 = first(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = norm() if paper else None
        self.conv2 = unit(64, 64, 1)
        self.conv3 = unit(64, 192, 3, padding=1)
        self.norm2 = norm() if paper else None
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)  # → 28×28×256
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)  # → 28×28×480
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)  # → 14×14×512
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)  # → 14×14×512
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)  # → 14×14×512
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)  # → 14×14×528
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)  # → 14×14×832
        self.maxpool4 = nn.MaxPool2d(3 if paper else 2, stride=2, ceil_mode=True)
        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)  # → 7×7×832
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)  # → 7×7×1024
        self.aux1 = head(512) if aux_logits else None  # reads 4a
        self.aux2 = head(528) if aux_logits else None  # reads 4d
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout((0.4 if paper else 0.2) if dropout is None else dropout)
        self.fc = nn.Linear(1024, num_classes)
        if paper:
            caffe_xavier(self, bias=0.2)
            for classifier in (self.fc, *(aux.fc2 for aux in (self.aux1, self.aux2) if aux is not None)):
                classifier.bias = nn.Parameter(np.zeros(num_classes, np.float32))
        else:
            truncated_normal(self, std=0.01)

    def forward(self, x: Any) -> Any:
        if self.transform_input:
            x = from_imagenet_statistics(x)
        x = self.maxpool1(self.conv1(x))  # (N, H/4, W/4, 64), for multiples of 32
        x = self.conv3(self.conv2(x if self.norm1 is None else self.norm1(x)))  # (N, H/4, W/4, 192)
        x = self.maxpool2(x if self.norm2 is None else self.norm2(x))  # (N, H/8, W/8, 192)
        x = self.maxpool3(self.inception3b(self.inception3a(x)))  # (N, H/16, W/16, 480)
        x = self.inception4a(x)  # (N, H/16, W/16, 512)
        auxiliary = [self.aux1(x)] if self.training and self.aux1 is not None else []
        x = self.inception4d(self.inception4c(self.inception4b(x)))  # (N, H/16, W/16, 528)
        auxiliary += [self.aux2(x)] if self.training and self.aux2 is not None else []
        x = self.maxpool4(self.inception4e(x))  # (N, H/32, W/32, 832)
        x = self.inception5b(self.inception5a(x))  # (N, H/32, W/32, 1024)
        scores = self.fc(self.dropout(self.avgpool(x).flatten(1)))  # flattened: (N, 1024)
        return (scores, *auxiliary) if auxiliary else scores


def googlenet(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> GoogLeNet:
    """Inception-v1: 22 layers, 6,624,904 parameters, 13,004,888 with the heads; at 224×224 1,498,376,192 multiply-adds.

    variant="paper": 6,998,552, 13,378,280, 1,582,671,872; and with separable_stem=True 6,991,856 and 1,498,677,248.
    """
    return GoogLeNet(num_classes, in_channels, **options)


class InceptionSmall(nn.Module):
    """Three Inception modules, an auxiliary head after the first, for images of 8×8 to 32×32.

    In training it returns (scores, auxiliary scores), each (N, num_classes); otherwise the scores alone.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = BasicConv2d(in_channels, 32, 3, padding=1)
        self.inception3a = Inception(32, c1=16, c3_reduce=16, c3=32, c5_reduce=8, c5=8, proj=8)  # → 64
        self.aux1 = AuxiliaryHead(64, num_classes, pooled_size=2, channels=32, hidden=64)
        self.maxpool = nn.MaxPool2d(2)
        self.inception4a = Inception(64, c1=32, c3_reduce=32, c3=64, c5_reduce=16, c5=16, proj=16)  # → 128
        self.inception4b = Inception(128, c1=32, c3_reduce=32, c3=64, c5_reduce=16, c5=16, proj=16)  # → 128
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.inception3a(self.conv1(x))  # (N, H, W, 64)
        auxiliary = self.aux1(x) if self.training and self.aux1 is not None else None
        x = self.inception4b(self.inception4a(self.maxpool(x)))  # (N, ⌊H/2⌋, ⌊W/2⌋, 128)
        scores = self.fc(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))  # flattened: (N, 128)
        return scores if auxiliary is None else (scores, auxiliary)


def inception_small(num_classes: int = 10, in_channels: int = 1) -> InceptionSmall:
    """A small GoogLeNet, for images of 8×8 to 32×32."""
    return InceptionSmall(num_classes, in_channels)
