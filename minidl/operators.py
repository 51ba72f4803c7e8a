"""Every operator on a small example: what `minidl gradcheck` checks, and what the tests put through their contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import functional as F
from minidl.backend import generator_state, manual_seed, set_generator_state
from minidl.gradcheck import GradcheckReport, gradcheck, gradgradcheck
from minidl.ops.choice import maximum, minimum, where
from minidl.ops.elementwise import absolute, exp, log, sqrt
from minidl.ops.shape import concatenate, stack
from minidl.tensor import Tensor


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
        return compare(self.function, self.inputs(), fast=False)


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


def compare(function: Callable[..., Any], inputs: list[Tensor], fast: bool) -> list[GradcheckReport]:
    """First and second derivatives of a function that may draw random numbers: two reports."""

    def restarted(*arguments: Tensor) -> Any:
        manual_seed(1)  # dropout must drop the same elements each time
        return function(*arguments)

    before = generator_state()
    try:
        reports = [gradcheck(restarted, inputs, fast=fast)]
        return [*reports, gradgradcheck(restarted, inputs, fast=fast)]
    finally:
        set_generator_state(before)
