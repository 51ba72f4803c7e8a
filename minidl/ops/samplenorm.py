"""Normalisation within one sample: what else is in the batch makes no difference.

Layer, group and instance normalisation are the same two steps, `Centre` and `RmsNorm`, and differ in what they take
together: a whole sample, a group of its channels, or one channel. RMS normalisation is the second step alone.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import active
from minidl.ops.axes import Axis, normalized_axes
from minidl.ops.broadcast import floating, require_array, require_one_dtype
from minidl.ops.choice import clip
from minidl.ops.elementwise import sqrt
from minidl.ops.norm import (
    by_running_statistics,
    check_momentum,
    checked_channels,
    move_running_statistics,
    narrowed,
    widened,
)
from minidl.ops.options import check_numbers, check_sizes
from minidl.ops.vector_norm import norm
from minidl.tensor import Tensor

Axes = tuple[int, ...]


def average(x: Any, axes: Axes) -> Any:
    """The mean of x over axes, which are kept with size 1; of nothing it is 0.

    One axis after the other: NumPy adds up whole rows of an image fast, but short runs of its channels slowly.
    """
    n = math.prod(x.shape[axis] for axis in axes)
    for axis in axes:
        x = x.sum(axis=axis, keepdims=True)
    return x / max(n, 1)


class Centre(Function):
    """y = x − μ, with μ the mean over axes.  A projection, its own adjoint: ∂L/∂x = g − mean of g."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def forward(self, x):
        self.mean = average(x, self.axes)
        return x - self.mean

    def backward(self, g):
        return Centre(self.axes)(g)


class RmsNorm(Function):
    """y = r · x with r = 1 / √(mean of x² + ε), the mean over axes.  ∂L/∂x = r · (g − y · mean of g·y)."""

    def __init__(self, axes: Axes, eps: float) -> None:
        self.axes, self.eps = axes, eps

    def forward(self, x):
        with np.errstate(over="ignore", invalid="ignore"):  # the square of a large x, the root of a negative ε
            self.mean_square = average(x * x, self.axes)
            self.r = 1 / sqrt(self.mean_square + self.eps)
        return x * self.r

    def backward(self, g, x):
        r = self.r
        if isinstance(g, Tensor):  # to be differentiated again, and r depends on x
            r = 1 / sqrt(average(x * x, self.axes) + self.eps)
        y = x * r
        return r * (g - y * average(g * y, self.axes))


def standardize_textbook(x: Any, axes: Axes, eps: float = 1e-5) -> Any:
    """(x − μ) / √(σ² + ε), written out: what `Centre` and `RmsNorm` compute faster. The tests compare the two."""
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / sqrt((centred * centred).mean(axis=axes, keepdims=True) + eps)


class ChannelWindowSum(Function):
    """y[..., c] = Σ of x from channel c − before to c + after; beside the channels are zeros.

    It is linear, and its adjoint looks the other way.
    """

    def __init__(self, before: int, after: int) -> None:
        self.before, self.after = before, after

    def forward(self, x):
        y = x.copy()
        for k in range(1, self.before + 1):
            y[..., k:] += x[..., :-k]
        for k in range(1, self.after + 1):
            y[..., :-k] += x[..., k:]
        return y

    def backward(self, g):
        return ChannelWindowSum(self.after, self.before)(g)


# ------------------------------------------------------------------------------------------------- public functions


def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Layer normalisation (Ba et al., arXiv 1607.06450): y = (x − μ) / √(σ² + ε) · weight + bias.

    x (..., *normalized_shape); weight and bias of normalized_shape, or None for 1 and 0. Mean μ and biased variance σ²
    are taken over the last axes, as many as normalized_shape has: (C,) normalises each pixel of images, (H, W, C) each
    image.

    Raises: ValueError when x does not end in normalized_shape, or weight or bias does not have it.

    >>> F.layer_norm(Tensor([[1.0, 3.0], [10.0, 50.0]]), (2,))
    Tensor([[-0.999995,  0.999995],
            [-1.      ,  1.      ]], dtype=float32, device=cpu)
    """
    x, axes = _with_last_axes("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    check_numbers("layer_norm", eps=eps)
    y = RmsNorm(axes, eps)(Centre(axes)(widened(x)))
    return _scaled_and_shifted(y, weight, bias, x.dtype)


def rms_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """Root mean square normalisation (Zhang & Sennrich, arXiv 1910.07467): y = x / √(mean of x² + ε) · weight.

    x (..., *normalized_shape); weight of normalized_shape, or None for 1. The mean is taken over the last axes, as many
    as normalized_shape has. eps None is the machine epsilon of x: of float32, should x be float16.

    Raises: ValueError when x does not end in normalized_shape, or weight does not have it.

    >>> F.rms_norm(Tensor([[1.0, 7.0]]), (2,))
    Tensor([[0.2, 1.4]], dtype=float32, device=cpu)
    """
    x, axes = _with_last_axes("rms_norm", x, normalized_shape, weight=weight)
    wide = widened(x)
    if eps is None:
        eps = float(np.finfo(wide.dtype).eps)
    check_numbers("rms_norm", eps=eps)
    return _scaled_and_shifted(RmsNorm(axes, eps)(wide), weight, None, x.dtype)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Group normalisation (Wu & He, arXiv 1803.08494): y = (x − μ) / √(σ² + ε) · weight + bias.

    x (N, ..., C); weight and bias (C,), or None for 1 and 0. Mean μ and biased variance σ² are those of a group in one
    sample: of C / num_groups consecutive channels, wherever they are in the image.

    Raises: ValueError when num_groups does not divide C, when weight or bias is not (C,), and for a single sample with
    one value a group.

    >>> F.group_norm(Tensor([[1.0, 3.0, 10.0, 50.0]]), num_groups=2)
    Tensor([[-0.999995,  0.999995, -1.      ,  1.      ]], dtype=float32, device=cpu)
    """
    x = checked_channels("group_norm", x, None, None, weight, bias)
    check_numbers("group_norm", eps=eps)
    *others, C = x.shape
    G = num_groups
    if not isinstance(G, numbers.Integral) or G < 1 or C % G:
        raise ValueError(f"group_norm: num_groups={G!r} must divide the {C} channels on the last axis of {x.shape}")
    if x.size == G:
        raise ValueError(f"group_norm: needs more than one value a group, input {x.shape} has {G} groups of one")
    grouped = widened(x).reshape(*others, G, C // G)  # (N, ..., G, C/G)
    axes = (*range(1, len(others)), x.ndim)
    y = RmsNorm(axes, eps)(Centre(axes)(grouped)).reshape(x.shape)  # (N, ..., C)
    return _scaled_and_shifted(y, weight, bias, x.dtype)


def instance_norm(
    x: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Instance normalisation (Ulyanov et al., arXiv 1607.08022): y = (x − μ) / √(σ² + ε) · weight + bias.

    x (N, ..., C), such as images (N, H, W, C); all else is (C,), or None.

    use_input_stats  take mean μ and biased variance σ² of each channel of each sample, and, where running statistics
                     are given, move them: running ← (1 − momentum) · running + momentum · the samples' mean, for the
                     variance of unbiased ones. A batch of nothing moves nothing.
    otherwise        they are running_mean and running_var, which are then constants

    Raises: ValueError for a shape that is not (C,), and for samples with one value a channel.

    >>> F.instance_norm(Tensor([[[1.0, 10.0], [3.0, 50.0]]]))
    Tensor([[[-0.999995, -1.      ],
             [ 0.999995,  1.      ]]], dtype=float32, device=cpu)
    """
    op = "instance_norm"
    x = checked_channels(op, x, running_mean, running_var, weight, bias)
    check_numbers(op, eps=eps)
    check_momentum(op, momentum)
    if not use_input_stats:
        return by_running_statistics(op, x, running_mean, running_var, weight, bias, eps)
    C, S = x.shape[-1], math.prod(x.shape[1:-1])
    if S == 1:
        raise ValueError(f"{op}: needs more than one value a channel in each sample, input {x.shape} has one")
    axes = tuple(range(1, x.ndim - 1))
    centre, scale = Centre(axes), RmsNorm(axes, eps)
    y = scale(centre(widened(x)))
    if x.size and running_mean is not None:
        with active(running_mean.device):
            mean, variance = (average(one, (0,)).reshape(C) for one in (centre.mean, scale.mean_square))  # (C,) each
        move_running_statistics(running_mean, running_var, mean, variance, S, momentum)
    return _scaled_and_shifted(y, weight, bias, x.dtype)


def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """Local response normalisation (Krizhevsky et al. 2012, §3.3): y = x / (k + alpha / size · Σ x²) ** beta.

    x (..., C). At each position the sum is taken over `size` neighbouring channels, from c − size // 2 to
    c + (size − 1) // 2; beyond the first and last channel are zeros. (The paper's alpha is this one over size.)

    Raises: ValueError for a size that is not a positive integer.

    >>> F.local_response_norm(Tensor([[1.0, 2.0, 3.0]]), size=2, alpha=2.0, beta=1.0)
    Tensor([[0.5       , 0.33333334, 0.21428572]], dtype=float32, device=cpu)
    """
    x = floating("local_response_norm", x)
    if x.ndim == 0:
        raise ValueError("local_response_norm: expected (..., C), channels on the last axis, got shape ()")
    check_sizes("local_response_norm", size=size)
    check_numbers("local_response_norm", alpha=alpha, beta=beta, k=k)
    squares = ChannelWindowSum(before=size // 2, after=(size - 1) // 2)(x * x)
    return x / (squares * float(alpha / size) + float(k)) ** float(beta)


def normalize(x: Any, p: float = 2.0, dim: Axis = -1, eps: float = 1e-12) -> Any:
    """Vectors of length 1: x / max(‖x‖ₚ, eps), the p-norm taken over `dim`, by default the last axis: the channels.

    Shorter vectors than eps, and zeros, are divided by eps, as is their gradient. (PyTorch's default is dim=1, its
    channel axis.)

    >>> F.normalize(Tensor([[3.0, -4.0], [0.0, 0.0]]))
    Tensor([[ 0.6, -0.8],
            [ 0. ,  0. ]], dtype=float32, device=cpu)
    """
    x = floating("normalize", x)
    check_numbers("normalize", p=p, eps=eps)
    axes = normalized_axes("normalize", dim, x.ndim)
    return x / clip(norm(x, p, axes, keepdims=True), eps)


# ---------------------------------------------------------------------------------------------------------- helpers


def _with_last_axes(op: str, x: Any, normalized_shape: Any, **parameters: Any) -> tuple[Any, Axes]:
    """x as floating data, and its last axes; raises unless they, and the parameters, have normalized_shape."""
    x = floating(op, x)
    shape = tuple(normalized_shape) if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    if not shape or any(not isinstance(n, numbers.Integral) for n in shape):
        raise ValueError(f"{op}: normalized_shape must be an integer or a tuple of them, got {normalized_shape!r}")
    if x.shape[-len(shape) :] != shape:
        raise ValueError(f"{op}: input {x.shape} does not end in normalized_shape {shape}")
    for name, given in parameters.items():
        if given is not None:
            require_array(op, given)
            if given.shape != shape:
                raise ValueError(f"{op}: expected a {name} of normalized_shape {shape}, got {given.shape}")
    require_one_dtype(op, x, **parameters)
    common_device(op, (x, *parameters.values()))
    return x, tuple(range(x.ndim - len(shape), x.ndim))


def _scaled_and_shifted(y: Any, weight: Any, bias: Any, dtype: Any) -> Any:
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return narrowed(y, dtype)
