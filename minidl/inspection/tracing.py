"""Following an image through a network without computing: which shapes come out, and what computing them would cost.

Inside `following`, each operation is asked for the shape of its result instead of the result. What goes on is a
placeholder: an array of that shape whose elements are all one zero in memory. So a network with placeholders for
weights (see `nn.init.placeholders`) can be counted in milliseconds, and its own `forward` says how.

A step of the network is one operation. Its cost in multiply-adds ("MACs") counts what the papers count: convolutions
and matrix products, padding included, biases not. It also moves the receptive field (Araujo et al. 2019, "Computing
receptive fields of convolutional neural networks", eq. 1-2): with a window of extent k moved by stride s

    size ← size + (k − 1) · step        how many rows and columns of the image an element sees
    step ← step · s                     how many rows and columns of the image lie between neighbours
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.autograd import Function, computing, no_grad
from minidl.kernels.window import Pair, Window
from minidl.ops import (
    activation,
    adaptive_pool,
    choice,
    conv,
    dropout,
    elementwise,
    gate,
    matmul,
    norm,
    pool,
    samplenorm,
    shape,
)
from minidl.ops.indexing import GetItem
from minidl.ops.padding import Pad
from minidl.ops.reduce import Sum

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Field:
    """What one element sees of the image: `size` rows and columns, `step` away from what its neighbours see.

    image   (H, W, C) of the array that it belongs to
    """

    size: tuple[float, float]
    step: tuple[float, float]
    image: tuple[int, int, int]

    def through(self, kernel: Pair, stride: tuple[float, float], image: tuple[int, int, int]) -> Field:
        """The field behind a window, which makes images (H, W, C) of this one."""
        (height, width), (down, right), (SH, SW) = self.size, self.step, stride
        size = height + (kernel[0] - 1) * down, width + (kernel[1] - 1) * right
        return Field(size, (down * SH, right * SW), image)


@dataclass(frozen=True)
class Step:
    """One operation of a network, for a batch of one."""

    name: str  # the Function's
    output_shape: Shape
    macs: int  # multiply-adds
    bytes: int  # of memory that its result takes; 0 where it is a view of its input
    field: Field | None  # of the result; None where an element sees the whole image, or there is none
    computed: bool  # whether it had to be computed after all, having no rule below


# ----------------------------------------------------------------------------------------------- the shapes of results


def _window_shape(window: Window, x: Any, channels: int) -> Shape:
    return (x.shape[0], *window.output_size(*x.shape[1:3]), channels)


def _joined(op: shape.Concatenate, *inputs: Any) -> Shape:
    axis = op.axis % inputs[0].ndim
    joined = sum(x.shape[axis] for x in inputs)
    return (*inputs[0].shape[:axis], joined, *inputs[0].shape[axis + 1 :])


def _summed(op: Sum, x: Any) -> Shape:
    kept = ((1 if op.keepdims else None) if axis in op.axes else size for axis, size in enumerate(x.shape))
    return tuple(size for size in kept if size is not None)


def _padded(op: Pad, x: Any) -> Shape:
    return tuple(before + size + after for size, (before, after) in zip(x.shape, op.margin, strict=True))


def _elementwise(op: Function, *inputs: Any) -> Shape:
    return np.broadcast_shapes(*(np.shape(x) for x in inputs))


def _product(op: matmul.MatMul, a: Any, b: Any) -> Shape:
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])


SHAPES: dict[type, Callable[..., Shape]] = {
    conv.Conv2d: lambda op, x, weight, bias=None: _window_shape(op.window, x, weight.shape[-1]),
    conv.Conv2dInputGradient: lambda op, g, weight: (len(g), *op.image_size, weight.shape[2] * op.groups),
    pool.MaxPool2d: lambda op, x: _window_shape(op.window, x, x.shape[-1]),
    pool.AvgPool2d: lambda op, x: _window_shape(op.window, x, x.shape[-1]),
    adaptive_pool.MeanOfShares: lambda op, x: (x.shape[0], op.places, x.shape[2]),
    adaptive_pool.MaxOfShares: lambda op, x: (x.shape[0], op.places, x.shape[2]),
    norm.BatchNorm: lambda op, x, weight, bias: x.shape,
    norm.FrozenBatchNorm: lambda op, x, weight, bias: x.shape,
    samplenorm.ChannelWindowSum: lambda op, x: x.shape,
    matmul.MatMul: _product,
    shape.Concatenate: _joined,
    Sum: _summed,
    Pad: _padded,
}
ELEMENTWISE = (
    *(elementwise.Add, elementwise.Subtract, elementwise.Multiply, elementwise.Divide, elementwise.Negative),
    *(elementwise.Power, elementwise.PowerOfNumber, elementwise.Exp, elementwise.Log, elementwise.Sqrt),
    *(activation.Relu, activation.Hardtanh, activation.Hardsigmoid, activation.Sigmoid, activation.Tanh),
    *(activation.Elu, activation.Softplus, gate.Gated, gate.Hardswish, gate.NormalCdf, dropout.Dropout),
    *(choice.Maximum, choice.Minimum, choice.Clip),
)
VIEWS = (shape.Reshape, shape.Transpose, GetItem)  # they compute nothing: run on a placeholder, they say it themselves


# ------------------------------------------------------------------------------------------------------ multiply-adds


def _macs(op: Function, arrays: tuple[Any, ...], output: Shape) -> int:
    """How many multiply-adds: for each element of the result of a convolution KH · KW · C/G, of a product A B as many
    as A has columns; a transposed convolution has as many as the convolution that it is the adjoint of."""
    if isinstance(op, conv.Conv2d):
        return math.prod(output) * math.prod(arrays[1].shape[:-1])  # weight (KH, KW, C/G, F)
    if isinstance(op, conv.Conv2dInputGradient):
        return arrays[0].size * math.prod(arrays[1].shape[:-1])
    if isinstance(op, matmul.MatMul):
        return math.prod(output) * arrays[0].shape[-1]
    return 0


# ---------------------------------------------------------------------------------------------------- receptive fields


def _field(op: Function, arrays: tuple[Any, ...], fields: list[Field], output: Shape) -> Field | None:
    """The field of the result. `fields` are those of the inputs that come from the image."""
    if not fields or isinstance(op, matmul.MatMul | Sum):
        return None  # a linear layer and a mean over the image see all of it
    field = fields[0]
    if isinstance(op, conv.Conv2d | pool.MaxPool2d | pool.AvgPool2d):
        return field.through(op.window.extent, op.window.stride, _image(output))
    if isinstance(op, adaptive_pool.MeanOfShares | adaptive_pool.MaxOfShares):
        return _shared(field, arrays[0].shape, op.places)
    # Ways that meet see what the one that sees most does; their steps agree.
    size = (max(f.size[0] for f in fields), max(f.size[1] for f in fields))
    step = (max(f.step[0] for f in fields), max(f.step[1] for f in fields))
    if isinstance(op, GetItem) and len(output) == 4:  # x[:, ::2, ::2]
        before = arrays[0].shape
        step = step[0] * math.ceil(before[1] / output[1]), step[1] * math.ceil(before[2] / output[2])
    return Field(size, step, _image(output) if len(output) == 4 else field.image)


def _image(output: Shape) -> tuple[int, int, int]:
    return output[1], output[2], output[3]


def _shared(field: Field, before: Shape, places: int) -> Field | None:
    """The field behind shares of rows, of an array (N, H, W·C), or of columns, (N·H, W, C)."""
    H, W, C = field.image
    _, size, B = before
    along = 1 if B == C and size == W else 0
    if places == 0:
        return None
    most = max(math.ceil((i + 1) * size / places) - i * size // places for i in range(places))
    kernel = (1, most) if along else (most, 1)
    stride = (1.0, size / places) if along else (size / places, 1.0)
    return field.through(kernel, stride, (H, places, C) if along else (places, W, C))


# ------------------------------------------------------------------------------------------------------------ following


class Follower:
    """Computes shapes in the place of results, and hands each Step to `see`."""

    def __init__(self, see: Callable[[Step], None]) -> None:
        self.see = see
        self._fields: dict[int, tuple[Any, Field | None]] = {}  # by the id of an array, which is kept, so that ids last

    def enter(self, image: Any) -> None:
        """Say that this array (N, H, W, C) is the image."""
        self._remember(image, Field((1, 1), (1, 1), _image(image.shape)))

    def field(self, array: Any) -> Field | None:
        """What an element of this array sees of the image; None where it is all of it, or none."""
        return self._fields.get(id(array), (None, None))[1]

    def __call__(self, op: Function, arrays: tuple[Any, ...]) -> Any:
        rule = _elementwise if isinstance(op, ELEMENTWISE) else SHAPES.get(type(op))
        view = isinstance(op, VIEWS)
        result = op.forward(*arrays) if rule is None else placeholder(rule(op, *arrays), _dtype(arrays))
        several = isinstance(result, tuple)
        outputs = []
        for y in result if several else (result,):
            y = y if view or rule is not None else placeholder(y.shape, y.dtype)
            fields = [f for f in map(self.field, arrays) if f is not None]
            whole = any(id(x) in self._fields and self.field(x) is None for x in arrays)
            field = None if whole else _field(op, arrays, fields, y.shape)
            self._remember(y, field)
            memory = 0 if view else y.size * y.itemsize
            computed = rule is None and not view
            self.see(Step(type(op).__name__, y.shape, _macs(op, arrays, y.shape), memory, field, computed))
            outputs.append(y)
        return tuple(outputs) if several else outputs[0]

    def _remember(self, array: Any, field: Field | None) -> None:
        self._fields[id(array)] = (array, field)


def placeholder(output_shape: Shape, dtype: Any) -> Any:
    """An array of zeros of this shape, all of them at one place in memory."""
    return np.broadcast_to(np.zeros((), dtype), output_shape)


def _dtype(arrays: tuple[Any, ...]) -> Any:
    return np.result_type(*(x for x in arrays if hasattr(x, "dtype")))


@contextlib.contextmanager
def following(see: Callable[[Step], None]) -> Iterator[Follower]:
    """A context in which operations on tensors give placeholders; each calls see(step)."""
    follower = Follower(see)
    with no_grad(), computing(follower):
        yield follower
