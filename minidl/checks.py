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
from models import googlenet, preact_resnet, repvgg, resnet, vgg

# The blocks of each family, each with the shape of an image batch small enough to check every derivative.
BLOCKS: dict[str, dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]] = {
    "VGG": {
        "vgg_stage": (lambda: vgg.vgg_stage(2, 3, convolutions=2), (2, 4, 5, 2)),
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


def blocks(family: str | None = None) -> Iterator[str]:
    """The names of the blocks of one family, or of all."""
    for name, of_family in BLOCKS.items():
        if family in (None, name):
            yield from of_family


def names() -> list[str]:
    """Everything that `run` knows: operators, blocks, networks."""
    return [*operators(), *blocks(), *models.names()]


def run(name: str) -> list[GradcheckReport]:
    """Check the operator, block or network `name`: a report on first derivatives and one on second ones.

    Of operators and blocks every derivative is compared, of whole networks one along a random direction.
    Raises: GradcheckError where backward and differences disagree; KeyError for an unknown name.
    """
    if name in operators():
        return operators()[name].run()
    for family in BLOCKS.values():
        if name in family:
            build, shape = family[name]
            return check_module(build, shape, fast=False)
    if name in models.names():
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
