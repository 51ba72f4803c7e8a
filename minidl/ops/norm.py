"""Batch normalisation (Ioffe & Szegedy, arXiv 1502.03167): each channel brought to mean 0 and variance 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import Array, active, array_module, device_of, is_array
from minidl.kernels import channels
from minidl.ops import activation
from minidl.ops.broadcast import checked_addend, floating, require_array, require_one_dtype
from minidl.ops.elementwise import sqrt
from minidl.ops.options import check_numbers
from minidl.ops.reduce import mean
from minidl.tensor import Tensor, raw


class BatchNorm(Function):
    """y = (x − μ) / √(σ² + ε) · weight + bias + a, with μ, σ² the mean and biased variance of a channel of this batch.

    x and a (..., C), weight and bias (C,); a may be None. Where `relu` is true, max(y, 0) instead. Left behind for the
    running statistics and for backward: `mean`, `variance` and `inv_std` = 1 / √(σ² + ε), (C,).

    The gradients are those of the textbook form `batch_norm_textbook`, worked out by hand in
    `channels.normalize_gradients`; under create_graph the same formula runs on Tensors.
    """

    relu = False

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x, weight, bias, add):
        C = x.shape[-1]
        rows = x.reshape(-1, C)  # (M, C)
        self.mean, self.variance = channels.moments(rows)
        self.inv_std = 1 / array_module(x).sqrt(self.variance + self.eps)
        scale = self.inv_std * weight
        addend = None if add is None else add.reshape(-1, C)  # (M, C)
        return channels.affine(rows, scale, bias - self.mean * scale, addend, self.relu).reshape(x.shape)  # (..., C)

    def backward(self, g, x, weight):
        return self._differentiable_gradients(g, x, weight) if isinstance(g, Tensor) else self._gradients(g, x, weight)

    def _gradients(self, g: Array, x: Array, weight: Array, y: Array | None = None) -> tuple[Array | None, ...]:
        """To x, weight, bias and a. g is the gradient to the output; y is that output where a ReLU came last."""
        g, flat, y = (None if array is None else array.reshape(-1, x.shape[-1]) for array in (g, x, y))  # (M, C)
        to_x, to_weight, to_bias, g = channels.normalize_gradients(
            g, flat, self.mean, self.inv_std, weight, y, needs_x=self.needs[0]
        )  # (M, C), (C,), (C,), (M, C)
        return None if to_x is None else to_x.reshape(x.shape), to_weight, to_bias, g.reshape(x.shape)  # x: (..., C)

    def _differentiable_gradients(self, g: Tensor, x: Any, weight: Any) -> tuple[Any, Tensor, Tensor, Tensor]:
        """The gradients as functions of g, x and weight that can be differentiated again."""
        axes = tuple(range(x.ndim - 1))
        centred = x - mean(x, axes)
        inv_std = 1 / sqrt(mean(centred * centred, axes) + self.eps)
        normalized = centred * inv_std
        to_x = None
        if self.needs[0]:
            to_x = weight * inv_std * (g - mean(g, axes) - normalized * mean(g * normalized, axes))
        return to_x, (g * normalized).sum(axis=axes), g.sum(axis=axes), g


class BatchNormReLU(BatchNorm):
    """y = max(BN(x) + a, 0).  The gradients are those of `BatchNorm`, of g where y > 0 and 0 elsewhere."""

    relu = True

    def backward(self, g, x, weight, y):  # type: ignore[override]  # it asks for one thing more
        if isinstance(g, Tensor):
            return self._differentiable_gradients(activation.ReluGradient(raw(y))(g), x, weight)
        return self._gradients(g, x, weight, y)


def batch_norm_textbook(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Batch normalisation in training, written out: what `BatchNorm` computes faster. The tests compare the two."""
    axes = tuple(range(x.ndim - 1))
    centred = x - mean(x, axes)
    variance = mean(centred * centred, axes)
    return centred / sqrt(variance + eps) * weight + bias


class FrozenBatchNorm(Function):
    """y = x̂ · weight + bias with x̂ = (x − μ) / √(σ² + ε), where μ and σ² (C,) are constants.

    One multiplication and one addition for each element.
    ∂L/∂x = g · weight / √(σ² + ε),  ∂L/∂weight = Σ g · x̂,  ∂L/∂bias = Σ g, the sums over all but the channels.
    """

    def __init__(self, mean: Array, variance: Array, eps: float) -> None:
        self.mean, self.inv_std = mean, 1 / sqrt(variance + eps)

    def forward(self, x, weight, bias):
        scale = self.inv_std * weight
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # (M, C)
        return channels.affine(rows, scale, bias - self.mean * scale).reshape(x.shape)  # (..., C)

    def backward(self, g, x, weight):
        axes = tuple(range(x.ndim - 1))
        return (
            g * (weight * self.inv_std) if self.needs[0] else None,
            (g * ((x - self.mean) * self.inv_std)).sum(axis=axes) if self.needs[1] else None,
            g.sum(axis=axes) if self.needs[2] else None,
        )


# ------------------------------------------------------------------------------------------------- public functions


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    add: Any = None,
    relu: bool = False,
) -> Any:
    """Batch normalisation of x (N, ..., C), such as images (N, H, W, C), for each channel (the last axis).

    training  normalise by this batch's mean and biased variance, and, where running statistics are given, move them:
              running ← (1 − momentum) · running + momentum · batch's, with the unbiased variance (n / (n − 1))
    otherwise normalise by running_mean and running_var, which are then constants
    weight, bias   scale and shift (C,), or None for 1 and 0
    add       of the shape of x: added to the result; or None
    relu      take the larger of the result and 0. In training both are done within this operation, which takes less
              time than one by one

    A batch of no values is given back as it is, and moves nothing.

    Raises: ValueError for a shape that is not (C,); in training, for a batch with one value a channel, whose variance
    says nothing, and for eps = 0.

    >>> F.batch_norm(Tensor([[1.0, 30.0], [3.0, 50.0]]), None, None, training=True)
    Tensor([[-0.999995, -1.      ],
            [ 0.999995,  1.      ]], dtype=float32, device=cpu)
    """
    x = checked_channels("batch_norm", x, running_mean, running_var, weight, bias)
    check_numbers("batch_norm", eps=eps)
    check_momentum("batch_norm", momentum)
    if eps < 0 or (training and eps == 0):
        raise ValueError(f"batch_norm: eps must be positive in training and at least 0 otherwise, got {eps!r}")
    add = checked_addend("batch_norm", add, x, x.shape)
    if not training:
        y = by_running_statistics("batch_norm", x, running_mean, running_var, weight, bias, eps)
        return activation.sum_and_relu(y, add, relu)
    M = math.prod(x.shape[:-1])
    if M == 1:
        raise ValueError(f"batch_norm: training needs more than one value a channel, input {x.shape} has 1")
    weight, bias = _ones_and_zeros_for_none(x, weight, bias)
    if x.size == 0:
        return activation.sum_and_relu(x * weight + bias, add, relu)
    op = (BatchNormReLU if relu else BatchNorm)(eps)
    y = op(widened(x), weight, bias, None if add is None else widened(add))
    move_running_statistics(running_mean, running_var, op.mean, op.variance, M, momentum)
    return narrowed(y, x.dtype)


# ----------------------------------------------------------------------------- shared with normalisation in samples


def checked_channels(op: str, x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any) -> Any:
    """x (N, ..., C) as floating data; raises unless all else is (C,), of one dtype and on one device."""
    x = floating(op, x)
    if x.ndim < 2:
        raise ValueError(f"{op}: expected (N, ..., C), channels on the last axis, got shape {x.shape}")
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{op}: running_mean and running_var must both be given, or both be None")
    C = x.shape[-1]
    for name, statistic in dict(running_mean=running_mean, running_var=running_var).items():
        if not isinstance(statistic, Tensor | None):
            raise TypeError(f"{op}: {name} must be a Tensor, for it is updated; got {type(statistic).__name__}")
        if statistic is not None and statistic.requires_grad:
            raise ValueError(f"{op}: no gradient flows to {name}; give it as {name}.detach()")
    for name, given in dict(running_mean=running_mean, running_var=running_var, weight=weight, bias=bias).items():
        if given is not None:
            require_array(op, given)
            if given.shape != (C,):
                raise ValueError(f"{op}: input {x.shape} has {C} channels on its last axis, {name} is {given.shape}")
    require_one_dtype(op, x, weight=weight, bias=bias)
    common_device(op, (x, running_mean, running_var, weight, bias))
    return x


def check_momentum(op: str, momentum: Any) -> None:
    """Raises: TypeError for what is not a number; one that was computed may be an array () on the device."""
    if not (is_array(momentum) and momentum.ndim == 0):
        check_numbers(op, momentum=momentum)


def widened(x: Any) -> Any:
    """x, but float16 as float32, in which PyTorch normalises as well: the square of 256 is too large for float16."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def narrowed(y: Any, dtype: Any) -> Any:
    """y in dtype, where its input was widened."""
    return y if y.dtype == dtype else y.astype(dtype)


def by_running_statistics(
    op: str, x: Any, running_mean: Tensor | None, running_var: Tensor | None, weight: Any, bias: Any, eps: float
) -> Any:
    """x normalised by running statistics, which are constants."""
    if running_mean is None or running_var is None:
        raise ValueError(f"{op}: running_mean and running_var are needed to normalise by")
    weight, bias = _ones_and_zeros_for_none(x, weight, bias)
    with active(running_mean.device):
        wide = widened(x)
        mean, variance = (statistic.data.astype(wide.dtype) for statistic in (running_mean, running_var))
        return narrowed(FrozenBatchNorm(mean, variance, eps)(wide, weight, bias), x.dtype)


def _ones_and_zeros_for_none(x: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    """weight and bias, or the ones and zeros (C,) that stand for None."""
    xp, C = array_module(raw(x)), x.shape[-1]
    with active(device_of(raw(x))):
        return (
            xp.ones(C, dtype=x.dtype) if weight is None else weight,
            xp.zeros(C, dtype=x.dtype) if bias is None else bias,
        )


def move_running_statistics(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Array,
    variance: Array,
    n: int,
    momentum: float,
) -> None:
    """running ← (1 − momentum) · running + momentum · batch's, in the dtype of the running statistics.

    variance   the biased one of n values, which is made unbiased
    """
    if running_mean is None or running_var is None:
        return
    with active(running_mean.device):
        for running, batch in ((running_mean, mean), (running_var, variance * (n / (n - 1)))):
            moved = (1 - momentum) * running.data + momentum * batch
            running.data = moved.astype(running.dtype, copy=False)
