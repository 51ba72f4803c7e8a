"""Every operator on a small example: what `minidl gradcheck` checks, and what the tests put through their contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import functional as F
from minidl.backend import Array, device_of, generator_state, manual_seed, set_generator_state, to_device
from minidl.gradcheck import GradcheckReport, gradcheck, gradgradcheck
from minidl.ops import order, reduce
from minidl.ops.broadcast import expand
from minidl.ops.choice import clip, maximum, minimum, where
from minidl.ops.convert import copy
from minidl.ops.einsum import einsum
from minidl.ops.elementwise import absolute, exp, log, sqrt
from minidl.ops.indexing import gather, getitem, index_add, index_select, take_along_axis
from minidl.ops.matmul import outer
from minidl.ops.rearrange import flip, repeat, roll, tile
from minidl.ops.shape import concatenate, reshape, split, stack, transpose
from minidl.ops.vector_norm import norm
from minidl.tensor import Tensor, raw


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
    They can be given Tensors or raw arrays, on any device.
    """
    targets = np.array([1, 0, 4])
    mean, variance = np.linspace(-1, 1, 5), np.linspace(0.5, 2, 5)
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
        Check("where", lambda a, b: where(near(a, mask), a, b), ((2, 3), (3,))),
        Check("maximum", maximum, ((2, 3), (3,))),
        Check("minimum", minimum, ((2, 3), (3,))),
        Check(
            "clip",
            lambda x, low, high: (clip(x, -0.5, 0.5), clip(x, low, high), clip(x, high=low)),
            ((4, 3), (3,), (4, 1)),
        ),
        Check("sum", lambda x: reduce.sum(x, axis=(0, 2)), ((2, 3, 4),)),
        Check("mean", lambda x: reduce.mean(x, axis=1, keepdims=True), ((2, 3, 4),)),
        Check("var", lambda x: reduce.var(x, axis=(0, 1)), ((2, 3, 4),)),
        Check("std", lambda x: reduce.std(x, axis=(0, 2), correction=0.5), ((2, 3, 4),)),
        Check("norm", lambda x: tuple(norm(x, ord, axis=(0, 2)) for ord in (2, 1, 3, -0.5, np.inf)), ((2, 3, 4),)),
        Check("cumsum", lambda x: (reduce.cumsum(x, axis=1), reduce.cumsum(x)), ((2, 3, 4),)),
        Check("max", lambda x: order.max(x, axis=(0, 2)), ((2, 3, 4),)),
        Check("min", lambda x: order.min(x, axis=1), ((2, 3, 4),)),
        Check("sort", lambda x: (order.sort(x, axis=1)[0], order.sort(x, axis=0, descending=True)[0]), ((2, 3, 4),)),
        Check("topk", lambda x: (order.topk(x, 2, axis=1)[0], order.topk(x, 1, largest=False)[0]), ((2, 3, 4),)),
        Check("prod", lambda x: reduce.prod(x, axis=1), ((2, 5, 3),)),
        Check("reshape", lambda x: reshape(x, 3, -1), ((2, 3, 4),)),
        Check("transpose", lambda x: transpose(x, 1, 2, 0), ((2, 3, 4),)),
        Check("expand", lambda x: expand(x, 2, -1, 3), ((4, 1),)),
        Check("flip", lambda x: flip(x, (0, 2)), ((2, 3, 4),)),
        Check("roll", lambda x: roll(x, (1, -2), (0, 1)), ((2, 3, 4),)),
        Check("tile", lambda x: tile(x, 3, 1, 2), ((2, 3),)),
        Check("repeat", lambda x: (repeat(x, 3, axis=1), repeat(x, [0, 2], axis=0)), ((2, 3),)),
        Check("copy", copy, ((2, 3),)),
        Check("getitem", lambda x: getitem(x, np.s_[[0, 2, 2], :, 1:]), ((3, 2, 4),)),
        Check("gather", lambda x: gather(x, 1, near(x, [[1, 1, 0]])), ((2, 3),)),
        Check("take_along_axis", lambda x: take_along_axis(x, near(x, [[-1], [0], [1]]), axis=1), ((1, 4),)),
        Check("index_select", lambda x: index_select(x, 1, near(x, [2, 0, 2])), ((2, 3, 2),)),
        Check("index_add", lambda x, s: index_add(x, 1, near(x, [2, 0, 2]), s, alpha=0.5), ((2, 4), (2, 3))),
        Check("concatenate", lambda a, b: concatenate([a, b], axis=1), ((2, 3), (2, 4))),
        Check("stack", lambda a, b: stack([a, b], axis=1), ((2, 3), (2, 3))),
        Check("split", lambda x: split(x, [1, 3], axis=1), ((2, 4),)),
        Check(
            "pad",
            lambda x: tuple(
                F.pad(x, ((0, 1), (2, -1)), mode) for mode in ("constant", "reflect", "replicate", "circular")
            ),
            ((2, 3),),
        ),
        Check("matmul", lambda a, b, c: (a @ b, a @ c), ((2, 3, 4), (4, 5), (1, 4, 5))),
        Check("outer", outer, ((3,), (4,))),
        Check("einsum", lambda a, b, c: einsum("bii...,bji,j->j...b", a, b, c), ((2, 3, 3, 5), (2, 4, 3), (4,))),
        Check("linear", F.linear, ((3, 4), (4, 5), (5,))),
        Check(
            "embedding",  # without what makes its gradient another than the derivative: a row used twice, or padding
            lambda w: (
                F.embedding(near(w, [[1, 1, 0]]), w),
                F.embedding(near(w, [3, 0]), w, padding_idx=2, scale_grad_by_freq=True),
            ),
            ((4, 3),),
        ),
        Check("one_hot", lambda x: F.one_hot(near(x, targets), 5) * x, ((3, 5),)),
        Check("relu", F.relu, ((2, 3),)),
        Check("relu6", lambda x: F.relu6(5 * x), ((4, 3),)),
        Check("hardtanh", lambda x: F.hardtanh(x, -0.5, 0.7), ((4, 3),)),
        Check("hardsigmoid", lambda x: F.hardsigmoid(4 * x), ((4, 3),)),
        Check("leaky_relu", lambda x: F.leaky_relu(x, 0.2), ((2, 3),)),
        Check("prelu", lambda x, w, one: (F.prelu(x, w), F.prelu(x, one)), ((4, 3), (3,), (1,))),
        Check("elu", lambda x: F.elu(x, 0.7), ((2, 3),)),
        Check("selu", F.selu, ((2, 3),)),
        Check("sigmoid", F.sigmoid, ((2, 3),)),
        Check("logsigmoid", F.logsigmoid, ((2, 3),)),
        Check("tanh", F.tanh, ((2, 3),)),
        Check("softplus", lambda x: F.softplus(x, 2.0, 1.0), ((2, 3),)),
        Check("silu", F.silu, ((2, 3),)),
        Check("gelu", lambda x: (F.gelu(x), F.gelu(x, "tanh")), ((2, 3),)),
        Check("mish", F.mish, ((2, 3),)),
        Check("hardswish", lambda x: F.hardswish(4 * x), ((4, 3),)),
        Check("softmax", F.softmax, ((2, 5),)),
        Check("log_softmax", F.log_softmax, ((2, 5),)),
        Check("logsumexp", lambda x: F.logsumexp(x, (0, 2)), ((2, 3, 4),)),
        Check(
            "conv2d",
            lambda x, w, b: tuple(
                F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), groups=2, relu=relu) for relu in (False, True)
            ),
            ((2, 6, 7, 4), (3, 2, 2, 6), (6,)),
        ),
        Check(
            "conv_transpose2d",
            lambda x, w, b: F.conv_transpose2d(x, w, b, (3, 2), ((1, 2), (0, 1)), (2, 1), groups=2, dilation=(1, 2)),
            ((2, 2, 3, 4), (3, 2, 3, 4), (6,)),
        ),
        Check("unfold", lambda x: F.unfold(x, (3, 2), (1, 2), ((1, 0), (2, 1)), (2, 1)), ((2, 5, 4, 3),)),
        Check("fold", lambda x: F.fold(x, (5, 4), (3, 2), (1, 2), ((1, 0), (2, 1)), (2, 1)), ((2, 10, 18),)),
        Check("max_pool2d", lambda x: F.max_pool2d(x, (3, 2), (2, 1), 1, (1, 2), ceil_mode=True), ((2, 6, 7, 3),)),
        Check(
            "avg_pool2d",
            lambda x: tuple(F.avg_pool2d(x, (3, 2), (2, 1), 1, True, counted) for counted in (True, False)),
            ((2, 6, 7, 3),),
        ),
        Check("lp_pool2d", lambda x: F.lp_pool2d(x, 3, (3, 2), (2, 1), ceil_mode=True), ((2, 4, 5, 3),), low=1),
        Check("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (3, 2)), ((2, 5, 7, 3),)),
        Check("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, (3, 2)), ((2, 5, 7, 3),)),
        Check(
            "interpolate",
            lambda x: tuple(
                F.interpolate(x, scale_factor=(0.7, 1.8), mode=mode) for mode in ("nearest", "bilinear", "bicubic")
            ),
            ((2, 4, 5, 3),),
        ),
        Check("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), ((2, 3, 5, 12),)),
        Check("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), ((2, 6, 4, 3),)),
        Check(
            "batch_norm",
            lambda x, w, b: (
                F.batch_norm(x, None, None, w, b, training=True, eps=0.1),
                F.batch_norm(x, None, None, w, b, training=True, eps=0.1, relu=True),
                F.batch_norm(x, Tensor(near(x, mean)), Tensor(near(x, variance)), w, b, training=False),
            ),
            ((2, 3, 4, 5), (5,), (5,)),
        ),
        Check("layer_norm", lambda x, w, b: F.layer_norm(x, (4, 5), w, b, eps=0.1), ((2, 3, 4, 5), (4, 5), (4, 5))),
        Check("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b, eps=0.1), ((2, 3, 2, 6), (6,), (6,))),
        Check(
            "instance_norm",
            lambda x, w, b: (
                F.instance_norm(x, None, None, w, b, eps=0.1),
                F.instance_norm(x, Tensor(near(x, mean)), Tensor(near(x, variance)), w, b, use_input_stats=False),
            ),
            ((2, 3, 4, 5), (5,), (5,)),
        ),
        Check("rms_norm", lambda x, w: F.rms_norm(x, (3, 4), w, eps=0.1), ((2, 3, 4), (3, 4))),
        Check("local_response_norm", lambda x: F.local_response_norm(x, 4, 0.5, 0.75, 2.0), ((2, 3, 2, 7),)),
        Check("normalize", F.normalize, ((2, 3, 4),)),
        Check("dropout", lambda x: F.dropout(x, 0.4), ((4, 5),)),
        Check("dropout2d", lambda x: F.dropout2d(x, 0.4), ((2, 3, 2, 5),)),
        Check(
            "cross_entropy",
            lambda x: F.cross_entropy(x, near(x, targets), near(x, variance), label_smoothing=0.1),
            ((3, 5),),
        ),
        Check("nll_loss", lambda x: F.nll_loss(x, near(x, targets), near(x, variance)), ((3, 5),)),
        Check("mse_loss", F.mse_loss, ((3, 4), (3, 4))),
        Check("l1_loss", F.l1_loss, ((3, 4), (3, 4))),
        Check("smooth_l1_loss", lambda x, t: F.smooth_l1_loss(x, t, beta=0.5), ((3, 4), (3, 4))),
        Check("huber_loss", lambda x, t: F.huber_loss(x, t, delta=0.5), ((3, 4), (3, 4))),
        Check(
            "binary_cross_entropy",
            lambda x, t: F.binary_cross_entropy(F.sigmoid(x), F.sigmoid(t)),
            ((3, 4), (3, 4)),
        ),
        Check(
            "binary_cross_entropy_with_logits",
            lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=near(x, variance[1:])),
            ((3, 4), (3, 4)),
        ),
        Check("kl_div", lambda x, t: F.kl_div(F.log_softmax(x), F.softmax(t), "batchmean"), ((3, 4), (3, 4))),
    ]
    return {check.name: check for check in checks}


def near(x: Any, constant: Any) -> Array:
    """A constant as an array where x is."""
    return to_device(np.asarray(constant), device_of(raw(x)))


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
