"""What `minidl gradcheck` checks against finite differences, by name: operators, blocks and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import models
from minidl import nn
from minidl.backend import generator_state, manual_seed, set_generator_state
from minidl.gradcheck import GradcheckError, GradcheckReport
from minidl.operators import compare, operators
from minidl.tensor import Tensor
from models import (
    cifar_resnet,
    googlenet,
    inception_resnet,
    inception_v2,
    inception_v3,
    inception_v4,
    preact_resnet,
    repvgg,
    resnet,
    vgg,
)

Check = tuple[Callable[[], nn.Module], tuple[int, ...]]  # what makes a module, and the shape of its images

# The blocks of each family, each with the shape of an image batch small enough to check every derivative.
BLOCKS: dict[str, dict[str, Check]] = {
    "VGG": {
        "vgg_stage": (lambda: vgg.vgg_stage(2, 3, convolutions=2, batch_norm=True), (2, 4, 5, 2)),
    },
    "Inception": {
        "NaiveInception": (lambda: googlenet.NaiveInception(3, 2, 3, 2), (2, 3, 4, 3)),
        "Inception": (lambda: googlenet.Inception(3, 2, 2, 3, 1, 2, 2), (2, 3, 4, 3)),
        "AuxiliaryHead": (lambda: googlenet.AuxiliaryHead(3, 4, pooled_size=2, channels=2, hidden=5), (3, 5, 4, 3)),
    },
    "RepVGG": {
        "RepVGGBlock": (lambda: repvgg.RepVGGBlock(4, 4, groups=2), (2, 4, 5, 4)),
    },
    "ResNet": {
        "BasicBlock": (lambda: resnet.BasicBlock(2, 3, stride=2), (2, 5, 4, 2)),
        "Bottleneck": (lambda: resnet.Bottleneck(3, 2, stride=2), (2, 5, 4, 3)),
        "PreActBlock": (lambda: preact_resnet.PreActBlock(2, 3, stride=2), (2, 5, 4, 2)),
        "PreActBottleneck": (lambda: preact_resnet.PreActBottleneck(3, 2, stride=2), (2, 5, 4, 3)),
    },
}

# Blocks with many weights, of which one derivative is compared, along a random direction.
WIDE_BLOCKS: dict[str, Check] = {
    "ConvReLU": (lambda: googlenet.ConvReLU(3, 4, 3, padding=1), (2, 4, 5, 3)),
    "FactorizedInception": (
        lambda: inception_v2.FactorizedInception(3, 2, 2, 3, 2, 3, nn.AvgPool2d(3, stride=1, padding=1), 2),
        (2, 4, 5, 3),
    ),
    "StridedInception": (lambda: inception_v2.StridedInception(3, 2, 3, 2, 3), (2, 4, 6, 3)),
    "inception_v3.InceptionA": (lambda: inception_v3.InceptionA(4, 5), (2, 6, 5, 4)),
    "inception_v3.ReductionA": (lambda: inception_v3.ReductionA(4), (2, 7, 6, 4)),
    "inception_v3.InceptionB": (lambda: inception_v3.InceptionB(4, 6), (2, 5, 4, 4)),
    "inception_v3.ReductionB": (lambda: inception_v3.ReductionB(4), (2, 7, 6, 4)),
    "inception_v3.InceptionC": (lambda: inception_v3.InceptionC(4), (2, 3, 4, 4)),
    "inception_v3.AuxiliaryHead": (lambda: inception_v3.AuxiliaryHead(4, 7), (3, 17, 17, 4)),
    "inception_v4.stem": (lambda: nn.Sequential(*inception_v4.stem(2)), (2, 43, 44, 2)),
    "inception_v4.InceptionA": (lambda: inception_v4.InceptionA(4), (2, 5, 4, 4)),
    "inception_v4.ReductionA": (lambda: inception_v4.ReductionA(4, 3, 5, 6, 7), (2, 7, 6, 4)),
    "inception_v4.InceptionB": (lambda: inception_v4.InceptionB(4), (2, 5, 4, 4)),
    "inception_v4.ReductionB": (lambda: inception_v4.ReductionB(4), (2, 7, 6, 4)),
    "inception_v4.InceptionC": (lambda: inception_v4.InceptionC(4), (2, 3, 4, 4)),
    "inception_resnet.stem": (lambda: nn.Sequential(*inception_resnet.stem_v1(2)), (2, 43, 44, 2)),
    "inception_resnet.Mixed5b": (inception_resnet.Mixed5b, (2, 4, 3, 192)),
    "InceptionResNetA": (lambda: inception_resnet.InceptionResNetA(6, (5, 7)), (2, 5, 4, 6)),
    "InceptionResNetB": (lambda: inception_resnet.InceptionResNetB(6, (2, 3, 4, 5)), (2, 5, 4, 6)),
    "InceptionResNetC": (lambda: inception_resnet.InceptionResNetC(6, (2, 3, 4, 5)), (2, 5, 4, 6)),
    "inception_resnet.ReductionB": (lambda: inception_resnet.ReductionB(4, (5, 6, 7)), (2, 7, 6, 4)),
    "PreActResNet": (
        lambda: preact_resnet.PreActResNet(preact_resnet.PreActBlock, (1, 1), (3, 4), num_classes=3, in_channels=2),
        (2, 9, 8, 2),
    ),
    "PlainBlock": (lambda: cifar_resnet.PlainBlock(2, 3, stride=2), (2, 5, 4, 2)),
    "PaddedShortcut": (lambda: resnet.BasicBlock(2, 4, stride=2, shortcut="A"), (2, 5, 4, 2)),
}


def blocks(family: str | None = None) -> Iterator[str]:
    """The names of the blocks of one family, or of all."""
    for name, of_family in BLOCKS.items():
        if family in (None, name):
            yield from of_family


def names() -> list[str]:
    """Everything that `run` knows: operators, blocks, small networks."""
    return [*operators(), *blocks(), *WIDE_BLOCKS, *models.SMALL]


def run(name: str) -> list[GradcheckReport]:
    """Check the operator, block or network `name`: a report on first derivatives and one on second ones.

    Of operators and blocks every derivative is compared; of wide blocks and whole networks one, along a random
    direction.
    Raises: GradcheckError where backward and differences disagree; KeyError for an unknown name.
    """
    if name in operators():
        return operators()[name].run()
    for family in BLOCKS.values():
        if name in family:
            build, shape = family[name]
            return check_module(build, shape, fast=False)
    if name in WIDE_BLOCKS:
        return check_module(*WIDE_BLOCKS[name], fast=True)
    if name in models.SMALL:
        return check_module(lambda: models.create(name), (4, 8, 8, 1), fast=True)
    raise KeyError(name)


def check_module(build: Callable[[], nn.Module], shape: tuple[int, ...], fast: bool) -> list[GradcheckReport]:
    """Check a module, in training mode and float64, with respect to its input and all its parameters."""
    before = generator_state()
    try:
        manual_seed(0)
        module = build().to(dtype=np.float64)
        x = Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)
        names, parameters = zip(("the images", x), *module.named_parameters(), strict=True)
        try:
            return compare(lambda x, *_: module(x), list(parameters), fast)
        except GradcheckError as error:
            wrong = ", ".join(names[i] for i in error.inputs if i < len(names))
            raise GradcheckError(f"{error}: {wrong}" if wrong else str(error), error.inputs) from error
    finally:
        set_generator_state(before)
