"""What `minidl gradcheck` checks against finite differences, by name: operators, blocks and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import models
from minidl import functional as F
from minidl import nn
from minidl.backend import generator_state, manual_seed, set_generator_state
from minidl.gradcheck import GradcheckError, GradcheckReport, gradcheck, gradgradcheck
from minidl.ops.choice import maximum, minimum, where
from minidl.ops.elementwise import absolute, exp, log, sqrt
from minidl.ops.shape import concatenate, stack
from minidl.tensor import Tensor
from models import googlenet, preact_resnet, repvgg, resnet, vgg


@dataclass(frozen=True)
class Check:
    """A function, and the shapes of inputs on which its gradients are compared with differences."""

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    low: float | None = None  # inputs are standard normal, or uniform between low and low + 1 where low is given

    def inputs(self) -> list[Tensor]:
        """The same float64 tensors each time, all requiring gradients."""
        random = np.random.default_rng(0)
        draw = random.standard_normal if self.low is None else (lambda shape: self.low + random.random(shape))
        return [Tensor(draw(shape), requires_grad=True) for shape in self.shapes]

    def run(self) -> list[GradcheckReport]:
        """Compare first and second derivatives, every one. Raises: GradcheckError where they disagree."""
        return _run(self.function, self.inputs(), fast=False)


def operators() -> dict[str, Check]:
    """The operators, on shapes in which no two sizes are equal and nothing fits evenly.

    All functions of `minidl.functional` and all operations of `minidl.ops`, but for a cast and a copy between devices.
    What is only another spelling (flatten and squeeze are a reshape, swapaxes is a transpose) is left out.
    """
    targets = np.array([1, 0, 4])
    mean, variance = Tensor(np.linspace(-1, 1, 5)), Tensor(np.linspace(0.5, 2, 5))
    mask = np.array([[True, False, True], [False, False, True]])
    checks = [
        Check("add", lambda a, b: a + b, ((2, 3), (3,))),
        Check("subtract", lambda a, b: a - b, ((2, 3), (2, 1))),
        Check("multiply", lambda a, b: a * b, ((2, 3), (3,))),
        Check("divide", lambda a, b: a / b, ((2, 3), (3,)), low=1),
        Check("power", lambda a, b: a**b, ((2, 3), (3,)), low=1),
        Check("power_of_number", lambda x: x**3, ((2, 3),)),
        Check("negative", lambda x: -x, ((2, 3),)),
        Check("absolute", absolute, ((2, 3),)),
        Check("exp", exp, ((2, 3),)),
        Check("log", log, ((2, 3),), low=1),
        Check("sqrt", sqrt, ((2, 3),), low=1),
        Check("where", lambda a, b: where(mask, a, b), ((2, 3), (3,))),
        Check("maximum", maximum, ((2, 3), (3,))),
        Check("minimum", minimum, ((2, 3), (3,))),
        Check("clip", lambda x: x.clip(-0.5, 0.5), ((4, 3),)),
        Check("sum", lambda x: x.sum(axis=(0, 2)), ((2, 3, 4),)),
        Check("mean", lambda x: x.mean(axis=1, keepdims=True), ((2, 3, 4),)),
        Check("var", lambda x: x.var(axis=(0, 1)), ((2, 3, 4),)),
        Check("max", lambda x: x.max(axis=(0, 2)), ((2, 3, 4),)),
        Check("min", lambda x: x.min(axis=1), ((2, 3, 4),)),
        Check("prod", lambda x: x.prod(axis=1), ((2, 5, 3),)),
        Check("reshape", lambda x: x.reshape(3, -1), ((2, 3, 4),)),
        Check("transpose", lambda x: x.transpose(1, 2, 0), ((2, 3, 4),)),
        Check("expand", lambda x: x.expand(2, -1, 3), ((4, 1),)),
        Check("getitem", lambda x: x[[0, 2, 2], :, 1:], ((3, 2, 4),)),
        Check("concatenate", lambda a, b: concatenate([a, b], axis=1), ((2, 3), (2, 4))),
        Check("stack", lambda a, b: stack([a, b], axis=1), ((2, 3), (2, 3))),
        Check("split", lambda x: x.split([1, 3], axis=1), ((2, 4),)),
        Check("pad", lambda x: x.pad(((1, 0), (0, 2))), ((2, 3),)),
        Check("matmul", lambda a, b: a @ b, ((2, 3, 4), (4, 5))),
        Check("linear", F.linear, ((3, 4), (4, 5), (5,))),
        Check("relu", F.relu, ((2, 3),)),
        Check("sigmoid", F.sigmoid, ((2, 3),)),
        Check("tanh", F.tanh, ((2, 3),)),
        Check("softmax", F.softmax, ((2, 5),)),
        Check("log_softmax", F.log_softmax, ((2, 5),)),
        Check(
            "conv2d",
            lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
            ((2, 5, 7, 4), (3, 2, 2, 6), (6,)),
        ),
        Check("max_pool2d", lambda x: F.max_pool2d(x, (3, 2), (2, 1), 1, (1, 2), ceil_mode=True), ((2, 5, 7, 3),)),
        Check(
            "avg_pool2d",
            lambda x: tuple(F.avg_pool2d(x, (3, 2), (2, 1), 1, True, counted) for counted in (True, False)),
            ((2, 5, 7, 3),),
        ),
        Check("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (3, 2)), ((2, 5, 7, 3),)),
        Check(
            "batch_norm",
            lambda x, w, b: (
                F.batch_norm(x, None, None, w, b, training=True),
                F.batch_norm(x, mean, variance, w, b, training=False),
            ),
            ((2, 3, 4, 5), (5,), (5,)),
        ),
        Check("dropout", lambda x: F.dropout(x, 0.4), ((4, 5),)),
        Check("cross_entropy", lambda x: F.cross_entropy(x, targets, label_smoothing=0.1), ((3, 5),)),
        Check("mse_loss", F.mse_loss, ((3, 4), (3, 4))),
    ]
    return {check.name: check for check in checks}


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
            return _run(lambda x, *_: module(x), list(parameters), fast)
        except GradcheckError as error:
            wrong = ", ".join(names[i] for i in error.inputs if i < len(names))
            raise GradcheckError(f"{error}: {wrong}" if wrong else str(error), error.inputs) from error
    finally:
        set_generator_state(before)


def _run(function: Callable[..., Any], inputs: list[Tensor], fast: bool) -> list[GradcheckReport]:
    def restarted(*arguments: Tensor) -> Any:
        manual_seed(1)  # dropout must drop the same elements each time
        return function(*arguments)

    before = generator_state()
    try:
        reports = [gradcheck(restarted, inputs, fast=fast)]
        return [*reports, gradgradcheck(restarted, inputs, fast=fast)]
    finally:
        set_generator_state(before)
