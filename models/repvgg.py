"""RepVGG: branches to train, a plain stack to run (Ding et al., arXiv 2101.03697).

Shortcuts make a network trainable, but cost memory and time when it runs. RepVGG trains with branches and then
computes, from the trained weights, one 3×3 convolution per block that gives the same output: see `reparam.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from minidl import functional as F
from minidl import nn
from models import reparam


class ConvBN(nn.Module):
    """A convolution without bias, and batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False, **options)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Any) -> Any:
        return self.bn(self.conv(x))


class RepVGGBlock(nn.Module):
    """y = relu(BN₃(x ∗ W₃ₓ₃) + BN₁(x ∗ W₁ₓ₁) + BN₀(x)); the last term only where input and output have one shape.

    (N, H, W, in_channels) → (N, ⌈H/stride⌉, ⌈W/stride⌉, out_channels)

    deploy   the plain form, y = relu(x ∗ W + b), as `fuse()` makes it
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, deploy: bool = False
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride, self.groups = in_channels, out_channels, stride, groups
        options: dict[str, Any] = dict(stride=stride, groups=groups)
        self.rbr_reparam: Any = nn.Conv2d(in_channels, out_channels, 3, padding=1, **options) if deploy else None
        if not deploy:
            same_shape = in_channels == out_channels and stride == 1
            self.rbr_identity = nn.BatchNorm2d(in_channels) if same_shape else None
            self.rbr_dense = ConvBN(in_channels, out_channels, 3, padding=1, **options)
            self.rbr_1x1 = ConvBN(in_channels, out_channels, 1, **options)

    def forward(self, x: Any) -> Any:
        if self.rbr_reparam is not None:
            return F.relu(self.rbr_reparam(x))
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        return F.relu(y if self.rbr_identity is None else y + self.rbr_identity(x))

    def fuse(self) -> RepVGGBlock:
        """A new block in the plain form, which computes in inference what this one does, to rounding."""
        if self.rbr_reparam is not None:
            raise ValueError("RepVGGBlock.fuse: this block is in its plain form already")
        dense, pointwise = self.rbr_dense, self.rbr_1x1
        branches = [
            reparam.fold_batch_norm(dense.conv.weight, dense.bn),
            reparam.fold_batch_norm(reparam.pad_1x1_to_3x3(pointwise.conv.weight), pointwise.bn),
        ]
        if self.rbr_identity is not None:
            identity = reparam.identity_3x3(self.in_channels, self.groups, like=dense.conv.weight)
            branches.append(reparam.fold_batch_norm(identity, self.rbr_identity))
        kernel, bias = reparam.sum_of_branches(branches)
        plain = RepVGGBlock(self.in_channels, self.out_channels, self.stride, self.groups, deploy=True)
        plain.rbr_reparam.weight.data, plain.rbr_reparam.bias.data = kernel.data, bias.data
        plain.train(self.training)
        return plain


class RepVGG(nn.Module):
    """A stack of RepVGG blocks, global average, linear. Every stage begins with a block of stride 2.

    widths, blocks   channels and number of blocks of each stage
    first_stride     stride of the first stage: 2, or 1 for small images
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        first_stride: int = 2,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = in_channels
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            stage = nn.Sequential()
            for j in range(count):
                stride = 1 if j > 0 else first_stride if i == 0 else 2
                stage.append(RepVGGBlock(channels, width, stride))
                channels = width
            self.stages.append(stage)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        for stage in self.stages:
            x = stage(x)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))  # flattened: (N, channels)

    def fuse(self) -> RepVGG:
        """A new network in the plain form: the same outputs in inference, one 3×3 convolution a block.

        This network is left as it is; the linear layer's weights are copied.
        """
        plain = copy.deepcopy(self)
        plain.zero_grad()
        for stage in plain.stages:
            for name, block in list(stage.named_children()):
                if isinstance(block, RepVGGBlock):
                    setattr(stage, name, block.fuse())
        return plain


def repvgg_small(num_classes: int = 10, in_channels: int = 1) -> RepVGG:
    """Three stages of one, two and two blocks, for images of 8×8 to 32×32."""
    return RepVGG((32, 48, 64), (1, 2, 2), num_classes, in_channels, first_stride=1)
