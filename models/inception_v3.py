"""Inception-v3: large filters taken apart (Szegedy et al., "Rethinking the Inception architecture", arXiv 1512.00567).

A filter that sees a large window costs as many multiply-adds as the window has pixels. Several small ones, one after
the other, see the same window for less (§3); side by side they see a cross of it. With the same channels before,
between and after them, and of those side by side each making half the channels:

    5×5   →   3×3, 3×3            25 / 18 = 1.39 times fewer    (figure 1, in `InceptionA`)
    n×n   →   1×n, n×1            n² / 2n, for n = 7: 3.5       (figure 3, in `InceptionB`)
    3×3   →   1×3 beside 3×1      9 / 3 = 3                     (figure 7, in `InceptionC`)

The form is torchvision's, and so are the names of all parts. Modules that do the same in Inception-v4 are called here
as that paper calls them.
"""

from __future__ import annotations

from typing import Any

import minidl
from minidl import functional as F
from minidl import nn
from minidl.nn import init
from models.units import BasicConv2d, from_imagenet_statistics, truncated_normal


class InceptionA(nn.Module):
    """On 35×35: two 3×3 filters in the place of a 5×5 (figure 5).  (N, H, W, C) → (N, H, W, 224 + proj).

    On 35×35×96, to 96 channels, a 5×5 filter takes 282,240,000 multiply-adds, two 3×3 filters 203,212,800. In the
    released network a 5×5 stands where the figure has the single 3×3.

    proj   channels after the average pooling, which counts the padding, as in torchvision; TensorFlow's does not
    """

    def __init__(self, in_channels: int, proj: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(in_channels, proj, 1)

    def forward(self, x: Any) -> Any:
        one = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        return minidl.concatenate([one, five, double, pooled], axis=-1)  # (N, H, W, 64 + 64 + 96 + proj)


class ReductionA(nn.Module):
    """35×35 to 17×17: pooling and strided convolutions side by side (figure 10).  Depth C → 480 + C.

    Pooling first would lose what the convolutions could have used; they first would cost four times as much (§5).
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x: Any) -> Any:
        three = self.branch3x3(x)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = F.max_pool2d(x, 3, stride=2)
        return minidl.concatenate([three, double, pooled], axis=-1)  # (N, OH, OW, 384 + 96 + C)


class InceptionB(nn.Module):
    """On 17×17: 7×7 filters as 1×7 and 7×1, one and two in a row (figure 6, n = 7).  (N, H, W, C) → (N, H, W, 768).

    On 17×17×192, to 192 channels, a 7×7 filter takes 522,031,104 multiply-adds, 1×7 and 7×1 together 149,151,744.

    c7   channels between the filters
    """

    def __init__(self, in_channels: int, c7: int) -> None:
        super().__init__()
        row: dict[str, Any] = {"kernel_size": (1, 7), "padding": (0, 3)}
        column: dict[str, Any] = {"kernel_size": (7, 1), "padding": (3, 0)}
        self.branch1x1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(in_channels, c7, 1)
        self.branch7x7_2 = BasicConv2d(c7, c7, **row)
        self.branch7x7_3 = BasicConv2d(c7, 192, **column)
        self.branch7x7dbl_1 = BasicConv2d(in_channels, c7, 1)
        self.branch7x7dbl_2 = BasicConv2d(c7, c7, **column)
        self.branch7x7dbl_3 = BasicConv2d(c7, c7, **row)
        self.branch7x7dbl_4 = BasicConv2d(c7, c7, **column)
        self.branch7x7dbl_5 = BasicConv2d(c7, 192, **row)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x: Any) -> Any:
        one = self.branch1x1(x)
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        return minidl.concatenate([one, seven, double, pooled], axis=-1)  # (N, H, W, 4 · 192)


class ReductionB(nn.Module):
    """17×17 to 8×8: as `ReductionA`, with a factorised 7×7 before the second 3×3.  Depth C → 512 + C."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x: Any) -> Any:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        pooled = F.max_pool2d(x, 3, stride=2)
        return minidl.concatenate([three, seven, pooled], axis=-1)  # (N, OH, OW, 320 + 192 + C)


class InceptionC(nn.Module):
    """On 8×8: 1×3 and 3×1 beside each other, for many channels (figure 7).  (N, H, W, C) → (N, H, W, 2048).

    On 8×8×384, to 768 channels, a 3×3 filter takes 169,869,312 multiply-adds, 1×3 and 3×1 with 384 each 56,623,104.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        row: dict[str, Any] = {"kernel_size": (1, 3), "padding": (0, 1)}
        column: dict[str, Any] = {"kernel_size": (3, 1), "padding": (1, 0)}
        self.branch1x1 = BasicConv2d(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, **row)
        self.branch3x3_2b = BasicConv2d(384, 384, **column)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, **row)
        self.branch3x3dbl_3b = BasicConv2d(384, 384, **column)
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x: Any) -> Any:
        one = self.branch1x1(x)
        three = self.branch3x3_1(x)
        three = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        double = [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        pooled = self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))
        return minidl.concatenate([one, *three, *double, pooled], axis=-1)  # (N, H, W, 320 + 4 · 384 + 192)


class AuxiliaryHead(nn.Module):
    """A classifier on the last 17×17 layer (figure 8), with batch normalisation (§4).

    Average pooling to 5×5, 1×1 convolution, 5×5 convolution to 1×1, fully connected.
    (N, H, W, in_channels) → (N, num_classes), with H and W at least 17.
    """

    only_in_training = True  # `reparam.to_deploy` drops it

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = BasicConv2d(in_channels, 128, 1)
        self.conv1 = BasicConv2d(128, 768, 5)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.conv0(F.avg_pool2d(x, 5, stride=3))  # 17×17 → 5×5
        x = F.adaptive_avg_pool2d(self.conv1(x), 1)  # (N, 1, 1, 768); already so, from a 17×17 layer
        return self.fc(x.flatten(1))  # flattened: (N, 768)


class InceptionV3(nn.Module):
    """Images (N, H, W, in_channels) → scores (N, num_classes).  Made for 299×299; 75×75 are the smallest possible.

    aux_logits        with the auxiliary head: in training the result is (scores, auxiliary scores), and images must be
                      299×299 or larger
    transform_input   expect RGB standardised with ImageNet's statistics, and bring it to [-1, 1] as the published
                      weights need it
    dropout           probability before the last layer; torchvision's 0.5. tf-slim keeps 0.8, that is 0.2

    Initial weights are normal with standard deviation 0.1, those of the auxiliary head's linear layer 0.001, as in
    torchvision (which has 0.01 written for the head's 5×5 convolution, where it does nothing).

    Raises: in use, ValueError for transform_input with images that are not RGB.
    """

    aux_weight = 0.4  # of the auxiliary head's loss: model.txt, which comes with the paper; and tf-slim

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        aux_logits: bool = True,
        transform_input: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.transform_input = transform_input
        # Table 1 as released: it prints the stem's last three layers as 3×3 convolutions with 80, 192, 288 filters.
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, 32, 3, stride=2)  # → 149×149
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)  # → 147×147
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)  # → 73×73
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)  # → 71×71
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, proj=32)  # → 35×35×256
        self.Mixed_5c = InceptionA(256, proj=64)
        self.Mixed_5d = InceptionA(288, proj=64)  # → 35×35×288
        self.Mixed_6a = ReductionA(288)
        self.Mixed_6b = InceptionB(768, c7=128)
        self.Mixed_6c = InceptionB(768, c7=160)
        self.Mixed_6d = InceptionB(768, c7=160)
        self.Mixed_6e = InceptionB(768, c7=192)  # → 17×17×768
        self.AuxLogits = AuxiliaryHead(768, num_classes) if aux_logits else None
        self.Mixed_7a = ReductionB(768)
        self.Mixed_7b = InceptionC(1280)
        self.Mixed_7c = InceptionC(2048)  # → 8×8×2048
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        truncated_normal(self, std=0.1)
        if self.AuxLogits is not None:
            self.AuxLogits.fc.weight.data = init.truncated_normal((768, num_classes), std=0.001, bound=2.0)

    def forward(self, x: Any) -> Any:
        if self.transform_input:
            x = from_imagenet_statistics(x)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        auxiliary = self.AuxLogits(x) if self.training and self.AuxLogits is not None else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        scores = self.fc(self.dropout(self.avgpool(x)).flatten(1))  # flattened: (N, 2048)
        return scores if auxiliary is None else (scores, auxiliary)


def inception_v3(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> InceptionV3:
    """Inception-v3: 48 layers with weights on the longest path, 23,834,568 parameters (27,161,264 with the auxiliary
    head), 5,713,216,096 multiply-adds at 299×299. Options: those of `InceptionV3`."""
    return InceptionV3(num_classes, in_channels, **options)
