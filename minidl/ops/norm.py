"""Batch normalisation (Ioffe & Szegedy, arXiv 1502.03167): each channel brought to mean 0 and variance 1."""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd import Function, common_device
from minidl.backend import Array, active, array_module
from minidl.kernels import channels
from minidl.ops.broadcast import floating, require_one_dtype
from minidl.ops.elementwise import sqrt
from minidl.ops.reduce import mean
from minidl.tensor import Tensor, raw


class BatchNorm(Function):
    """y = (x − μ) / √(σ² + ε) · weight + bias, with μ, σ² the mean and biased variance of each channel of this batch.

    x (..., C), weight and bias (C,). Left behind for the running statistics: `mean` and `variance`, (C,).

    The gradients are those of the textbook form `batch_norm_textbook`, worked out by hand in
    `channels.normalize_gradients`; under create_graph the same formula runs on Tensors.
    """

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x, weight, bias):
        C = x.shape[-1]
        rows = x.reshape(-1, C)  # (M, C)
        self.mean, self.variance = channels.moments(rows)
        self.inv_std = 1 / array_module(x).sqrt(self.variance + self.eps)
        return channels.normalize(rows, self.mean, self.inv_std, weight, bias).reshape(x.shape)  # (..., C)

    def backward(self, g, x, weight):
        if isinstance(g, Tensor):
            return _differentiable_gradients(g, x, weight, self.eps)
        C = x.shape[-1]
        g, rows = g.reshape(-1, C), x.reshape(-1, C)  # (M, C) each
        to_x, to_weight, to_bias = channels.normalize_gradients(g, rows, self.mean, self.inv_std, weight)
        return to_x.reshape(x.shape), to_weight, to_bias  # (..., C), (C,), (C,)


def _differentiable_gradients(g: Tensor, x: Any, weight: Any, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of batch normalisation as functions of g, x and weight that can be differentiated again."""
    axes = tuple(range(x.ndim - 1))
    centred = x - mean(x, axes)
    inv_std = 1 / sqrt(mean(centred * centred, axes) + eps)
    normalized = centred * inv_std
    to_x = weight * inv_std * (g - mean(g, axes) - normalized * mean(g * normalized, axes))
    return to_x, (g * normalized).sum(axis=axes), g.sum(axis=axes)


def batch_norm_textbook(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Batch normalisation in training, written out: what `BatchNorm` computes faster. The tests compare the two."""
    axes = tuple(range(x.ndim - 1))
    centred = x - mean(x, axes)
    variance = mean(centred * centred, axes)
    return centred / sqrt(variance + eps) * weight + bias


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Batch normalisation of x (N, H, W, C) or (N, C), for each channel (the last axis).

    training  normalise by this batch's mean and biased variance, and, where running statistics are given, move them:
              running ← (1 − momentum) · running + momentum · batch's, with the unbiased variance (n / (n − 1))
    otherwise normalise by running_mean and running_var, which are then constants
    weight, bias   scale and shift (C,), or None for 1 and 0

    Raises: ValueError for a shape that is not (C,); in training, for a batch with one value a channel, whose variance
    says nothing.
    """
    x = floating("batch_norm", x)
    C = x.shape[-1] if x.ndim else 0
    for name, given in dict(running_mean=running_mean, running_var=running_var, weight=weight, bias=bias).items():
        if given is not None and given.shape != (C,):
            raise ValueError(f"batch_norm: input {x.shape} has {C} channels on its last axis, {name} is {given.shape}")
    for name, given in dict(running_mean=running_mean, running_var=running_var).items():
        if not isinstance(given, Tensor | None):
            raise TypeError(f"batch_norm: {name} must be a Tensor, for it is updated; got {type(given).__name__}")
    require_one_dtype("batch_norm", x, weight=weight, bias=bias)
    place = common_device("batch_norm", (x, running_mean, running_var, weight, bias))
    xp = array_module(raw(x))
    with active(place):
        weight = xp.ones(C, dtype=x.dtype) if weight is None else weight
        bias = xp.zeros(C, dtype=x.dtype) if bias is None else bias
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: running_mean and running_var are needed when training=False")
        with active(place):
            centre, variance = (raw(statistic).astype(x.dtype) for statistic in (running_mean, running_var))
            scale = weight / sqrt(variance + eps)
            return x * scale + (bias - centre * scale)

    M = math.prod(x.shape[:-1])
    if M < 2:
        raise ValueError(f"batch_norm: training needs more than one value a channel, input {x.shape} has {M}")
    op = BatchNorm(eps)
    y = op(x, weight, bias)
    with active(place):
        if running_mean is not None:
            _move(running_mean, op.mean, momentum)
        if running_var is not None:
            _move(running_var, op.variance * (M / (M - 1)), momentum)
    return y


def _move(running: Tensor, batch: Array, momentum: float) -> None:
    """running ← (1 − momentum) · running + momentum · batch, in the dtype of the running statistic."""
    running.data = ((1 - momentum) * running.data + momentum * batch).astype(running.dtype, copy=False)
