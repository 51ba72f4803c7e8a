"""Following an image through a network without computing: which shapes come out, and what computing them would cost.

Inside `following`, each operation is asked for the shape of its result instead of the result. What goes on is a
placeholder: an array of that shape whose elements are all one zero in memory. So a network with placeholders for
weights (see `nn.init.placeholders`) can be counted in milliseconds, and its own `forward` says how.

A step of the network is one operation. Its cost in multiply-adds ("MACs") counts what the papers count: convolutions
and matrix products, padding included, biases not. It also moves the receptive field (Araujo et al. 2019, "Computing
receptive fields of convolutional neural networks", eq. 1-2): with a window of extent k moved by stride s

    size ← size + (k − 1) · step        how many rows and columns of the image an element sees
    step ← step · s                     how many rows and columns of the image lie between neighbours

An operation without a rule is computed after all, and taken to work on each element by itself.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.autograd import Function, computing, no_grad
from minidl.kernels.shares import shares
from minidl.kernels.window import Pair, Window
from minidl.ops import (
    activation,
    adaptive_pool,
    choice,
    conv,
    dropout,
    einsum,
    elementwise,
    gate,
    matmul,
    norm,
    pool,
    resize,
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

    def through(self, extent: Pair, stride: tuple[float, float], image: tuple[int, int, int]) -> Field:
        """The field behind a window of this extent, which makes images (H, W, C) of this one."""
        (height, width), (down, right), (SH, SW) = self.size, self.step, stride
        size = height + (extent[0] - 1) * down, width + (extent[1] - 1) * right
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
    joined = sum(x.shape[op.axis] for x in inputs)
    return (*inputs[0].shape[: op.axis], joined, *inputs[0].shape[op.axis + 1 :])


def _summed(op: Sum, x: Any) -> Shape:
    kept = ((1 if op.keepdims else None) if axis in op.axes else size for axis, size in enumerate(x.shape))
    return tuple(size for size in kept if size is not None)


def _padded(op: Pad, x: Any) -> Shape:
    return tuple(before + size + after for size, (before, after) in zip(x.shape, op.margin, strict=True))


def _elementwise(op: Function, *inputs: Any) -> Shape:
    return np.broadcast_shapes(*(np.shape(x) for x in inputs))


def _product(op: matmul.MatMul, a: Any, b: Any) -> Shape:
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])


def _contracted(op: einsum.Contraction, a: Any, b: Any) -> Shape:
    sizes = _sizes(op, a, b)
    return tuple(sizes[i] for i in op.of_y)


def _sizes(op: einsum.Contraction, a: Any, b: Any) -> dict[einsum.Index, int]:
    """How far each index of the equation runs."""
    return dict(zip(op.of_a + op.of_b, a.shape + b.shape, strict=True))


def _resampled(op: resize.Resample, x: Any) -> Shape:
    return (*x.shape[: op.axis], op.table.index.shape[1], *x.shape[op.axis + 1 :])


SHAPES: dict[type, Callable[..., Shape]] = {
    conv.Conv2d: lambda op, x, weight, bias, add: _window_shape(op.window, x, weight.shape[-1]),
    conv.Conv2dReLU: lambda op, x, weight, bias, add: _window_shape(op.window, x, weight.shape[-1]),
    conv.Conv2dInputGradient: lambda op, g, weight: (len(g), *op.image_size, weight.shape[2] * op.groups),
    pool.MaxPool2d: lambda op, x: _window_shape(op.window, x, x.shape[-1]),
    pool.AvgPool2d: lambda op, x: _window_shape(op.window, x, x.shape[-1]),
    adaptive_pool.MeanOfShares: lambda op, x: (x.shape[0], op.places, x.shape[2]),
    adaptive_pool.MaxOfShares: lambda op, x: (x.shape[0], op.places, x.shape[2]),
    norm.FrozenBatchNorm: lambda op, x, weight, bias: x.shape,
    samplenorm.ChannelWindowSum: lambda op, x: x.shape,
    matmul.MatMul: _product,
    einsum.Contraction: _contracted,
    resize.Resample: _resampled,
    shape.Concatenate: _joined,
    Sum: _summed,
    Pad: _padded,
}
ELEMENTWISE = (
    *(elementwise.Add, elementwise.Subtract, elementwise.Multiply, elementwise.Divide, elementwise.Negative),
    *(elementwise.Absolute, elementwise.Power, elementwise.PowerOfNumber, elementwise.Exp, elementwise.Log),
    *(elementwise.Sqrt, activation.Relu, activation.Hardtanh, activation.Hardsigmoid, activation.PRelu),
    *(activation.Sigmoid, activation.Tanh, activation.Elu, activation.Softplus, gate.Gated, gate.Hardswish),
    *(dropout.Dropout, choice.Where, choice.Maximum, choice.Minimum, choice.Clip),
)
# They compute nothing: run on a placeholder, they say the shape themselves.
VIEWS = (shape.Reshape, shape.Transpose, shape.Split, GetItem)


# ------------------------------------------------------------------------------------------------------ multiply-adds


def macs(op: Function, arrays: tuple[Any, ...], output: Shape) -> int:
    """How many multiply-adds: for each element of the result of a convolution KH · KW · C/G, of a product A B as many
    as A has columns; a transposed convolution has as many as the convolution that it is the adjoint of. A product by
    Einstein summation has one for each setting of all its indices, where it sums over any."""
    if isinstance(op, conv.Conv2d):
        return math.prod(output) * math.prod(arrays[1].shape[:-1])  # weight (KH, KW, C/G, F)
    if isinstance(op, conv.Conv2dInputGradient):
        return arrays[0].size * math.prod(arrays[1].shape[:-1])
    if isinstance(op, matmul.MatMul):
        return math.prod(output) * arrays[0].shape[-1]
    if isinstance(op, einsum.Contraction) and not set(op.of_a) <= set(op.of_y):
        return math.prod(_sizes(op, *arrays).values())
    return 0


# ---------------------------------------------------------------------------------------------------- receptive fields


def _field(op: Function, arrays: tuple[Any, ...], fields: list[Field], output: Shape) -> Field | None:
    """The field of the result. `fields` are those of the inputs that come from the image."""
    field, before = fields[0], np.shape(arrays[0])
    if isinstance(op, conv.Conv2d | pool.MaxPool2d | pool.AvgPool2d):
        return field.through(op.window.extent, op.window.stride, _image(output))
    if isinstance(op, conv.Conv2dInputGradient):
        (extent_h, extent_w), (SH, SW) = op.window.extent, op.window.stride
        reached = math.ceil(extent_h / SH), math.ceil(extent_w / SW)  # elements of g that meet in one of the result
        return field.through(reached, (1 / SH, 1 / SW), _image(output))
    if isinstance(op, adaptive_pool.MeanOfShares | adaptive_pool.MaxOfShares):
        return _shared(field, before, op.places)
    if isinstance(op, resize.Resample) and len(output) == 4:
        return _resized(field, op, output)
    if isinstance(op, matmul.MatMul | einsum.Contraction | Sum):
        return _mixed(field, op, before, output)
    # Ways that meet see what the one that sees most does. Their steps agree, but for one that is broadcast.
    size = (max(f.size[0] for f in fields), max(f.size[1] for f in fields))
    step = (min(f.step[0] for f in fields), min(f.step[1] for f in fields))
    if isinstance(op, GetItem) and len(before) == len(output) == 4 and 0 not in output:  # x[:, ::2, ::2]
        down, right = _distances(op, before)
        step = step[0] * down, step[1] * right
    return Field(size, step, _image(output) if len(output) == 4 else field.image)


def _image(output: Shape) -> tuple[int, int, int]:
    return output[1], output[2], output[3]


def _shared(field: Field, before: Shape, places: int) -> Field | None:
    """The field behind shares of rows, of an array (N, H, W·C), or of columns, (N·H, W, C)."""
    H, W, C = field.image
    _, size, B = before
    if places == 0:
        return None
    extent, stride = max(share.stop - share.start for share in shares(size, places)), size / places
    if (size, B) == (W, C):
        return field.through((1, extent), (1, stride), (H, places, C))
    return field.through((extent, 1), (stride, 1), (places, W, C))


def _resized(field: Field, op: resize.Resample, output: Shape) -> Field:
    """The field behind one axis read by a table, T neighbours for each of its places."""
    T, places = op.table.index.shape
    stride = op.table.size / places
    if op.axis == 1:
        return field.through((T, 1), (stride, 1), _image(output))
    return field.through((1, T), (1, stride), _image(output))


def _mixed(field: Field, op: Function, before: Shape, output: Shape) -> Field | None:
    """The field of a sum or a product: it sees the whole image, unless it mixes the channels of each pixel alone."""
    H, W, C = field.image
    if isinstance(op, Sum) and op.axes == (3,):
        return replace(field, image=(H, W, 1))
    if isinstance(op, matmul.MatMul) and before == (H * W, C) and H * W > 1:  # nn.Linear, given an image
        return replace(field, image=(H, W, output[-1]))
    return None


def _distances(op: GetItem, before: Shape) -> tuple[int, int]:
    """How far apart neighbours in x[index] were in x: rows and columns find it out by their numbers."""
    _, H, W, _ = before
    rows = np.broadcast_to(np.arange(H)[:, None, None], before)[op.index]
    columns = np.broadcast_to(np.arange(W)[:, None], before)[op.index]
    down = abs(rows[0, 1, 0, 0] - rows[0, 0, 0, 0]) if rows.shape[1] > 1 else 1
    right = abs(columns[0, 0, 1, 0] - columns[0, 0, 0, 0]) if columns.shape[2] > 1 else 1
    return int(down), int(right)


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
            from_image = [self._fields[id(x)][1] for x in arrays if id(x) in self._fields]
            fields = [field for field in from_image if field is not None]
            field = _field(op, arrays, fields, y.shape) if 0 < len(fields) == len(from_image) else None
            if from_image:
                self._remember(y, field)
            memory = 0 if view else y.size * y.itemsize
            computed = rule is None and not view
            self.see(Step(type(op).__name__, y.shape, macs(op, arrays, y.shape), memory, field, computed))
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
