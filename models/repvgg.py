"""RepVGG: branches to train, a plain stack to run (Ding et al., arXiv 2101.03697).

Shortcuts make a network trainable, but cost memory and time when it runs. RepVGG trains with branches and then
computes, from the trained weights, one 3×3 convolution per block that gives the same output: see `reparam.py`.

Names, shapes and initial weights are those of the authors' repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl import nn
from models import reparam
from models.units import ConvBN


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
            return self.rbr_reparam(x, relu=True)
        y = self.rbr_dense(x)
        if self.rbr_identity is not None:
            y = self.rbr_identity(x, add=y)
        return self.rbr_1x1(x, add=y, relu=True)

    def fuse(self) -> RepVGGBlock:
        """A block in the plain form that computes in inference what this one does, to rounding (§3.3).

        A new one; or this one, if it is in that form already.
        """
        if self.rbr_reparam is not None:
            return self
        dense, pointwise = self.rbr_dense, self.rbr_1x1
        branches = [
            reparam.fold_into_kernel(dense.conv.weight, dense.bn),
            reparam.fold_into_kernel(reparam.pad_kernel(pointwise.conv.weight, (3, 3)), pointwise.bn),
        ]
        if self.rbr_identity is not None:  # a 1×1 convolution, too
            identity = reparam.identity_kernel(self.in_channels, self.groups, like=dense.conv.weight)
            branches.append(reparam.fold_into_kernel(reparam.pad_kernel(identity, (3, 3)), self.rbr_identity))
        kernel, bias = reparam.sum_of_branches(branches)
        with nn.init.placeholders():  # its weights are these
            plain = RepVGGBlock(self.in_channels, self.out_channels, self.stride, self.groups, deploy=True)
        plain.rbr_reparam.weight.data, plain.rbr_reparam.bias.data = kernel.data, bias.data
        plain.train(self.training)
        return plain


class RepVGG(nn.Module):
    """A stack of RepVGG blocks, global average, linear. Every stage begins with a block of stride 2.

    widths         channels of each stage
    blocks         number of blocks of each stage after stage 0, which is one block
    first_stride   stride of stage 0: 2, or 1 for small images
    groups         of every second block's convolutions, stage 0 not counted: blocks 2, 4, 6, ... (§3.4)
    deploy         all blocks in their plain form

    Raises: ValueError where there is not one width more than numbers of blocks.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        first_stride: int = 2,
        groups: int = 1,
        deploy: bool = False,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths) - 1:
            raise ValueError(f"RepVGG: expected one width more than numbers of blocks, got {widths} and {blocks}")
        self.stage0 = RepVGGBlock(in_channels, widths[0], first_stride, deploy=deploy)
        self.stages, block = ["stage0"], 0
        for i, count in enumerate(blocks, start=1):
            stage = nn.Sequential()
            for j in range(count):
                block += 1
                before, stride = (widths[i - 1], 2) if j == 0 else (widths[i], 1)
                stage.append(RepVGGBlock(before, widths[i], stride, groups if block % 2 == 0 else 1, deploy))
            self.stages.append(f"stage{i}")
            setattr(self, f"stage{i}", stage)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Any) -> Any:
        """Images (N, H, W, in_channels) → scores (N, num_classes)."""
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.linear(self.gap(x).flatten(1))  # flattened: (N, C)


# ------------------------------------------------------------------------------------------ custom L2 regularisation


def custom_l2(model: nn.Module) -> Any:
    """The squared norm of the kernels that the blocks will be fused to, roughly: to regularise those, not their parts.

    Sum over all blocks in training form; with t₃ and t₁, the scales γ / √(σ² + ε) of their batch norms, as constants:

        Σ (W₃·t₃ + W₁·t₁)² / (t₃² + t₁²) over the middle of the 3×3 kernel  +  Σ W₃² over the rest

    An option of the authors' repository, not of the paper; the identity is left out. It takes the place of weight decay
    on `custom_l2_kernels(model)`, so those belong in a group of parameters without:

        loss = F.cross_entropy(model(images), targets) + 0.5 * weight_decay * custom_l2(model)

    Raises: ValueError for a network that has no RepVGGBlock in training form.
    """
    total: Any = 0
    for block in _blocks_in_training_form("custom_l2", model):
        t3, t1 = (reparam.batch_norm_scale(branch.bn).detach() for branch in (block.rbr_dense, block.rbr_1x1))  # (F,)
        W3, W1 = block.rbr_dense.conv.weight, block.rbr_1x1.conv.weight
        middle = W3[1:2, 1:2]  # (1, 1, C/G, F), as W1
        around = (W3 * W3).sum() - (middle * middle).sum()
        total = total + ((middle * t3 + W1 * t1) ** 2 / (t3**2 + t1**2)).sum() + around
    return total


def custom_l2_kernels(model: nn.Module) -> list[nn.Parameter]:
    """The kernels that `custom_l2` regularises. Raises: ValueError where it does."""
    blocks = _blocks_in_training_form("custom_l2_kernels", model)
    return [branch.conv.weight for block in blocks for branch in (block.rbr_dense, block.rbr_1x1)]


def _blocks_in_training_form(name: str, model: nn.Module) -> list[RepVGGBlock]:
    blocks = [part for part in model.modules() if isinstance(part, RepVGGBlock) and part.rbr_reparam is None]
    if not blocks:
        raise ValueError(f"{name}: expected a network with a RepVGGBlock in training form, got none")
    return blocks


# ------------------------------------------------------------------------------------------------------- networks

# Multiply-adds are those of an image of 224×224.

A = (2, 4, 14, 1)  # blocks of stages 1 to 4, of 22 with stage 0 (table 2)
B = (4, 6, 16, 1)  # of 28


def _repvgg(
    blocks: Sequence[int], a: float, b: float, num_classes: int, in_channels: int, groups: int = 1, **options: Any
) -> RepVGG:
    """The network of table 2 with the multipliers of table 3: a of stages 0 to 3, b of stage 4."""
    widths = [min(64, int(64 * a)), int(64 * a), int(128 * a), int(256 * a), int(512 * b)]
    return RepVGG(widths, blocks, num_classes, in_channels, groups=groups, **options)


def repvgg_a0(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """22 blocks, 9,108,968 parameters, 1.51 G multiply-adds; deployed 8,309,384 and 1.36 G."""
    return _repvgg(A, 0.75, 2.5, num_classes, in_channels, **options)


def repvgg_a1(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """22 blocks, 14,092,264 parameters, 2.63 G multiply-adds; deployed 12,789,864 and 2.36 G."""
    return _repvgg(A, 1, 2.5, num_classes, in_channels, **options)


def repvgg_a2(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """22 blocks, 28,210,600 parameters, 5.69 G multiply-adds; deployed 25,499,944 and 5.12 G."""
    return _repvgg(A, 1.5, 2.75, num_classes, in_channels, **options)


def repvgg_b0(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 15,817,960 parameters, 3.40 G multiply-adds; deployed 14,339,048 and 3.06 G."""
    return _repvgg(B, 1, 2.5, num_classes, in_channels, **options)


def repvgg_b1(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 57,415,016 parameters, 13.13 G multiply-adds; deployed 51,829,480 and 11.82 G."""
    return _repvgg(B, 2, 4, num_classes, in_channels, **options)


def repvgg_b1g2(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 45,782,376 parameters, 9.79 G multiply-adds; deployed 41,360,104 and 8.81 G."""
    return _repvgg(B, 2, 4, num_classes, in_channels, groups=2, **options)


def repvgg_b1g4(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 39,966,056 parameters, 8.12 G multiply-adds; deployed 36,125,416 and 7.31 G."""
    return _repvgg(B, 2, 4, num_classes, in_channels, groups=4, **options)


def repvgg_b2(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 89,022,376 parameters, 20.42 G multiply-adds; deployed 80,315,112 and 18.38 G."""
    return _repvgg(B, 2.5, 5, num_classes, in_channels, **options)


def repvgg_b2g2(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 70,846,376 parameters, 15.20 G multiply-adds; deployed 63,956,712 and 13.68 G."""
    return _repvgg(B, 2.5, 5, num_classes, in_channels, groups=2, **options)


def repvgg_b2g4(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 61,758,376 parameters, 12.59 G multiply-adds; deployed 55,777,512 and 11.33 G."""
    return _repvgg(B, 2.5, 5, num_classes, in_channels, groups=4, **options)


def repvgg_b3(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 123,085,288 parameters, 29.12 G multiply-adds; deployed 110,960,872 and 26.21 G."""
    return _repvgg(B, 3, 5, num_classes, in_channels, **options)


def repvgg_b3g2(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 96,911,848 parameters, 21.61 G multiply-adds; deployed 87,404,776 and 19.45 G."""
    return _repvgg(B, 3, 5, num_classes, in_channels, groups=2, **options)


def repvgg_b3g4(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> RepVGG:
    """28 blocks, 83,825,128 parameters, 17.85 G multiply-adds; deployed 75,626,728 and 16.06 G."""
    return _repvgg(B, 3, 5, num_classes, in_channels, groups=4, **options)


def repvgg_small(num_classes: int = 10, in_channels: int = 1) -> RepVGG:
    """Three stages of one, two and two blocks, for images of 8×8 to 32×32."""
    return RepVGG((32, 48, 64), (2, 2), num_classes, in_channels, first_stride=1)
