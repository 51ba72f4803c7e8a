"""BN-Inception: GoogLeNet with batch normalisation (Ioffe & Szegedy, arXiv 1502.03167, appendix, figure 5).

Normalising what goes into each ReLU allows much higher learning rates: the same network without it takes 14 times as
many steps to the same accuracy (§4.2.2). The modules are GoogLeNet's, but that two 3×3 filters take the place of a 5×5,
most poolings average, and two of the modules halve the image themselves, where GoogLeNet has a pooling between modules.

Two networks are called Inception-v2. This is the one of 2015, for 224×224, as in TensorFlow's and most libraries. The
other, of "Rethinking the Inception architecture" (arXiv 1512.00567, table 1), for 299×299, is Inception-v3 without
some of its improvements.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from minidl import nn
from models.units import BasicConv2d, Branches, require_choice, separable_conv


class FactorizedInception(Branches):
    """An Inception module with two 3×3 filters for the 5×5.  (N, H, W, C) → (N, H, W, c1 + c3 + d3 + proj).

    c3_reduce, c3   channels of the 1×1 and the 3×3 filters of the second branch
    d3_reduce, d3   channels of the 1×1 and of each of the two 3×3 filters of the third, "double #3×3"
    pool, proj      pooling of the fourth branch, 3×3 with stride 1, and channels of the 1×1 after it
    unit            makes a convolution, up to its ReLU
    """

    def __init__(
        self,
        in_channels: int,
        c1: int,
        c3_reduce: int,
        c3: int,
        d3_reduce: int,
        d3: int,
        pool: nn.Module,
        proj: int,
        unit: Callable[..., nn.Module] = BasicConv2d,
    ) -> None:
        super().__init__()
        self.branch1 = unit(in_channels, c1, 1)
        self.branch2 = nn.Sequential(unit(in_channels, c3_reduce, 1), unit(c3_reduce, c3, 3, padding=1))
        self.branch3 = nn.Sequential(
            unit(in_channels, d3_reduce, 1), unit(d3_reduce, d3, 3, padding=1), unit(d3, d3, 3, padding=1)
        )
        self.branch4 = nn.Sequential(pool, unit(in_channels, proj, 1))


class StridedInception(Branches):
    """A module that halves the image: stride 2, no 1×1 branch, and a max pooling that passes all channels through.

    (N, H, W, C) → (N, H/2, W/2, c3 + d3 + C), for even H and W: of odd ones the filters, which have padding, and the
    pooling, which has none, make images of different sizes. Arguments are those of `FactorizedInception`.
    """

    def __init__(
        self,
        in_channels: int,
        c3_reduce: int,
        c3: int,
        d3_reduce: int,
        d3: int,
        unit: Callable[..., nn.Module] = BasicConv2d,
    ) -> None:
        super().__init__()
        self.branch2 = nn.Sequential(unit(in_channels, c3_reduce, 1), unit(c3_reduce, c3, 3, stride=2, padding=1))
        self.branch3 = nn.Sequential(
            unit(in_channels, d3_reduce, 1), unit(d3_reduce, d3, 3, padding=1), unit(d3, d3, 3, stride=2, padding=1)
        )
        self.branch4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)


class BNInception(nn.Module):
    """The network of figure 5.  Images (N, H, W, in_channels) → scores (N, num_classes).

    H and W are multiples of 32, or such that 3c and 4e get even sizes (see `StridedInception`).

    dropout          probability before the last layer. The paper has none (§4.2.1), its ensemble 5 or 10% (§4.2.3),
                     tf-slim 20%
    variant          "caffe" or "slim", see below
    conv_bias        convolutions have a bias, without effect under batch normalisation; None for the variant's
    separable_stem   the first convolution is a separable one, as the paper has it; None for the variant's

    Figure 5 contradicts itself: by its columns 4c, 4d and 4e have 608, 608 and 1056 channels, by its output sizes 576,
    576 and 1024. "caffe" follows the columns; it is the form whose checkpoints people have, for images in the order
    blue, green, red, from 0 to 255, with (104, 117, 128) subtracted. "slim" is TensorFlow's, with fewer channels after
    two poolings, which makes the output sizes true.

                                        caffe        slim
        pool proj of 4c, 4d             128          96
        conv_bias                       True         False
        separable_stem                  False        True
        ε of batch normalisation        1e-5         1e-3
        its momentum                    0.1          0.0003
        average pooling counts padding  yes          no

    In TensorFlow a convolution with stride 2 pads even images by one pixel more below and on the right than above and
    on the left, and batch normalisation has no weight; here both are as in "caffe". Initial weights are those of the
    layers, for the paper names no others.

    Raises: ValueError for another variant.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        dropout: float = 0.0,
        variant: str = "caffe",
        conv_bias: bool | None = None,
        separable_stem: bool | None = None,
    ) -> None:
        super().__init__()
        require_choice("BNInception", "variant", variant, ("caffe", "slim"))
        caffe = variant == "caffe"
        unit = partial(
            BasicConv2d,
            bias=caffe if conv_bias is None else conv_bias,
            eps=1e-5 if caffe else 1e-3,
            momentum=0.1 if caffe else 0.0003,
        )
        separable = not caffe if separable_stem is None else separable_stem
        first = partial(separable_conv, unit) if separable else unit
        inception = partial(FactorizedInception, unit=unit)
        strided = partial(StridedInception, unit=unit)
        avg = partial(nn.AvgPool2d, 3, stride=1, padding=1, count_include_pad=caffe)
        max_ = partial(nn.MaxPool2d, 3, stride=1, padding=1)
        proj = 128 if caffe else 96
        c4d = 480 + proj  # channels of 4c and 4d: 608 or 576

        # Figure 5. Of a module: input, #1×1, #3×3 reduce, #3×3, double #3×3 reduce, double #3×3, pooling, pool proj.
        self.conv1 = first(in_channels, 64, 7, stride=2, padding=3)  # → 112×112×64
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = unit(64, 64, 1)
        self.conv3 = unit(64, 192, 3, padding=1)  # → 56×56×192
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception(192, 64, 64, 64, 64, 96, avg(), 32)  # → 28×28×256
        self.inception3b = inception(256, 64, 64, 96, 64, 96, avg(), 64)  # → 28×28×320
        self.inception3c = strided(320, 128, 160, 64, 96)  # → 14×14×576
        self.inception4a = inception(576, 224, 64, 96, 96, 128, avg(), 128)  # → 14×14×576
        self.inception4b = inception(576, 192, 96, 128, 96, 128, avg(), 128)  # → 14×14×576
        self.inception4c = inception(576, 160, 128, 160, 128, 160, avg(), proj)  # → 14×14×608 or 576
        self.inception4d = inception(c4d, 96, 128, 192, 160, 192, avg(), proj)  # → 14×14×608 or 576
        self.inception4e = strided(c4d, 128, 192, 192, 256)  # → 7×7×1056 or 1024
        self.inception5a = inception(c4d + 448, 352, 192, 320, 160, 224, avg(), 128)  # → 7×7×1024
        self.inception5b = inception(1024, 352, 192, 320, 192, 224, max_(), 128)  # → 7×7×1024
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.maxpool1(self.conv1(x))  # (N, H/4, W/4, 64)
        x = self.maxpool2(self.conv3(self.conv2(x)))  # (N, H/8, W/8, 192)
        x = self.inception3c(self.inception3b(self.inception3a(x)))  # (N, H/16, W/16, 576)
        x = self.inception4c(self.inception4b(self.inception4a(x)))  # (N, H/16, W/16, 608 or 576)
        x = self.inception4e(self.inception4d(x))  # (N, H/32, W/32, 1056 or 1024)
        x = self.inception5b(self.inception5a(x))  # (N, H/32, W/32, 1024)
        return self.fc(self.dropout(self.avgpool(x).flatten(1)))  # flattened: (N, 1024)


def inception_v2(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> BNInception:
    """BN-Inception: 34 layers, 11,295,240 parameters, 2,032,600,064 multiply-adds at 224×224.

    variant="slim": 35 layers, 11,188,288 parameters, 1,934,857,216 multiply-adds. (The paper says 13.6 million; no
    reading of its figure 5 gives so many.)
    """
    return BNInception(num_classes, in_channels, **options)
