"""Wrong on purpose: for each operation of the engine a backward with a mistake that people make.

What `minidl.gradcheck` lets pass, nobody will notice. So each of these takes the place of the right backward for a
while, and tests/test_wrong_backwards.py requires that gradcheck rejects it. Nearly all of them give a gradient of the
right shape, for the engine refuses the others by itself.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import minidl.ops
from minidl import Tensor
from minidl import functional as F
from minidl.autograd import Function
from minidl.gradcheck import GradcheckError
from minidl.kernels import pooling, shares
from minidl.operators import Check, operators
from minidl.ops.activation import Elu, Hardsigmoid, Hardtanh, PRelu, Relu, ReluGradient, Sigmoid, Softplus, Tanh
from minidl.ops.adaptive_pool import GatherFromShares, MaxOfShares, MeanOfShares, ScatterToShares, SpreadOverShares
from minidl.ops.axes import kept_shape
from minidl.ops.broadcast import BroadcastTo, broadcast_to, sum_to
from minidl.ops.choice import Clip, Maximum, Minimum, Where, minimum, where
from minidl.ops.conv import Conv2d, Conv2dInputGradient, Conv2dReLU, Conv2dWeightGradient
from minidl.ops.convert import Copy
from minidl.ops.cross_entropy import SoftmaxCrossEntropy
from minidl.ops.dropout import Dropout
from minidl.ops.einsum import Contraction
from minidl.ops.elementwise import (
    Absolute,
    Add,
    Divide,
    Exp,
    Log,
    Multiply,
    Negative,
    Power,
    PowerOfNumber,
    Sqrt,
    Subtract,
    exp,
)
from minidl.ops.embedding import Embedding
from minidl.ops.gate import Gated, Hardswish, NormalCdf
from minidl.ops.indexing import GetItem, PutItem
from minidl.ops.loss import BinaryCrossEntropy, BoundedLogit, Huber
from minidl.ops.matmul import MatMul
from minidl.ops.norm import BatchNorm, BatchNormReLU, FrozenBatchNorm
from minidl.ops.padding import Pad, PadWithCopies, PadWithCopiesAdjoint
from minidl.ops.pool import AvgPool2d, AvgPool2dAdjoint, GatherWinners, LPPool2d, MaxPool2d, ScatterToWinners
from minidl.ops.rearrange import Flip, Roll
from minidl.ops.reduce import CumSum, Std, Sum, Var
from minidl.ops.resize import Resample
from minidl.ops.samplenorm import Centre, ChannelWindowSum, RmsNorm, average
from minidl.ops.shape import Concatenate, Reshape, Split, Transpose
from minidl.ops.softmax import LogSoftmax, LogSumExp, Softmax, softmax
from minidl.ops.unfold import Fold, Unfold
from minidl.ops.vector_norm import MaxNorm, PNorm


def functions() -> list[type[Function]]:
    """Every Function that is defined in minidl.ops."""
    modules = [importlib.import_module(f"minidl.ops.{m.name}") for m in pkgutil.iter_modules(minidl.ops.__path__)]
    classes = [kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)]
    return sorted({kind for kind in classes if issubclass(kind, Function)} - {Function}, key=lambda kind: kind.__name__)


RIGHT = {kind: kind.backward for kind in functions()}

NO_WRONG_TWIN = {
    "AsType": "its backward has nothing to do where all is float64, as in gradcheck",
    "To": "its backward has nothing to do on one device",
}


@dataclass(frozen=True)
class Wrong:
    """A wrong backward.

    operator   whose check reaches the operation: its name in minidl.operators, or a Check made for this mistake
    kind       the Function whose backward is replaced
    mistake    what is wrong, in words
    backward   the replacement
    order      of the derivatives that are wrong: 2 is for gradgradcheck to see, 3 for gradgradcheck of the gradient
    says       what the error says; a RuntimeError is the engine's own, which looks at shape, dtype and number
    """

    operator: str | Check
    kind: type[Function]
    mistake: str
    backward: Callable[..., Any]
    order: int = 1
    says: str = "the difference quotient"
    error: type[Exception] = GradcheckError

    def check(self) -> Check:
        return self.operator if isinstance(self.operator, Check) else operators()[self.operator]

    def __str__(self) -> str:
        return f"{self.check().name}, {self.kind.__name__}: {self.mistake}"


def refused(
    operator: str | Check, kind: type[Function], mistake: str, backward: Callable[..., Any], says: str
) -> Wrong:
    """What the engine itself refuses."""
    return Wrong(operator, kind, mistake, backward, says=says, error=RuntimeError)


# ------------------------------------------------------------------------------------------- what the mistakes share


def right(self, g, *wanted):
    """What the right backward gives, to be spoilt: of its kind or, where a ReLU follows, of the kind without."""
    kinds = [kind for kind in type(self).__mro__ if kind in RIGHT]
    return next(RIGHT[kind] for kind in kinds if parameters(RIGHT[kind]) == 2 + len(wanted))(self, g, *wanted)


def parameters(function):
    return len(inspect.signature(function).parameters)


def T(x):
    """The last two axes exchanged."""
    return x.swapaxes(-1, -2)


def constant(x):
    """x without its history: a second derivative ends here."""
    return x.detach() if isinstance(x, Tensor) else x


def put_back(blocks, window, H, W):
    """The adjoint of laying out windows, with = where += belongs: of windows that overlap, the last one wins.

    blocks  (N, OH, OW, KH, KW, C)
    """
    N, OH, OW, _, _, C = blocks.shape
    (top, bottom), (left, right) = window.margins(H, W)
    padded = np.zeros((N, top + H + bottom, left + W + right, C))
    for kh, kw, rows, cols in window.positions(OH, OW):
        padded[:, rows, cols] = blocks[:, :, :, kh, kw]
    return window.crop(padded, H, W)


def moved(window, down):
    """The window over an image that is thought to lie `down` rows further down in its margin."""
    (top, bottom), sides = window.padding
    return replace(window, padding=((top + down, bottom - down), sides))


def without_dilation(window):
    """The window with its elements side by side, at as many places as before."""
    (top, bottom), (left, right) = window.padding
    KH, KW = window.kernel
    height, width = window.extent
    return replace(window, dilation=(1, 1), padding=((top, bottom - height + KH), (left, right - width + KW)))


# ---------------------------------------------------------------------------------------------------- single elements


def bounds_as_constants(self, g, x, low, high):
    to_x, to_low, to_high = right(self, g, x, low, high)
    return to_x, None if to_low is None else to_low * 0, None if to_high is None else to_high * 0


def high_forgotten(self, g, x, low, high):
    _, to_low, to_high = right(self, g, x, low, high)
    return g if low is None else where(x >= low, g, 0), to_low, to_high


ELEMENTWISE = [
    refused("add", Add, "missing un-broadcast", lambda self, g: (g, g), says="expected shape"),
    Wrong("add", Add, "un-broadcast by taking the first row", lambda self, g: (g, g[0])),
    Wrong("add", Add, "un-broadcast by a mean", lambda self, g: (g, g.mean(axis=0))),
    Wrong("subtract", Subtract, "sign forgotten", lambda self, g: (g, sum_to(g, (2, 1)))),
    Wrong("multiply", Multiply, "factors exchanged", lambda self, g, a, b: (g * a, sum_to(g * b, b.shape))),
    Wrong("multiply", Multiply, "the second factor is a constant", lambda self, g, b: (g * b, b * 0)),
    refused("multiply", Multiply, "one gradient for two inputs", lambda self, g, b: g * b, says="returned 1 gradient"),
    Wrong("multiply", Copy, "cut off", lambda self, g: g * 0, order=2),
    Wrong("outer", Multiply, "the other factor forgotten", lambda self, g: (sum_to(g, (3, 1)), sum_to(g, (4,)))),
    Wrong("divide", Divide, "1/b for 1/b²", lambda self, g, a, b: (g / b, sum_to(-g * a / b, b.shape))),
    Wrong("divide", Divide, "sign forgotten", lambda self, g, a, b: (g / b, sum_to(g * a / b / b, b.shape))),
    Wrong("power_of_number", PowerOfNumber, "exponent not lowered", lambda self, g, x: g * self.n * x**self.n),
    Wrong("power_of_number", PowerOfNumber, "exponent not in front", lambda self, g, x: g * x ** (self.n - 1)),
    Wrong("power", Power, "log a forgotten", lambda self, g, a, b: (g * b * a ** (b - 1), sum_to(g * a**b, b.shape))),
    Wrong("power", Power, "the exponent is a constant", lambda self, g, a, b: (g * b * a ** (b - 1), b * 0)),
    Wrong("negative", Negative, "sign forgotten", lambda self, g: g),
    Wrong("absolute", Absolute, "sign forgotten", lambda self, g: g),
    Wrong("exp", Exp, "x for exp(x)", lambda self, g, x: g * x),
    Wrong("exp", Exp, "ignores g", lambda self, g, y: y),
    Wrong("log", Log, "divides by the output", lambda self, g, y: g / y),
    refused("log", Log, "in float32", lambda self, g, x: (g / x).astype(np.float32), says="digits were lost"),
    Wrong("sqrt", Sqrt, "2 forgotten", lambda self, g, y: g / y),
    Wrong("sqrt", Sqrt, "brackets forgotten: g / 2 · y", lambda self, g, y: g / 2 * y),
    Wrong("where", Where, "condition ignored", lambda self, g: (None, g, sum_to(g, (3,)))),
    Wrong("where", Where, "condition inverted", lambda self, g, condition: right(self, g, ~condition)),
    Wrong("maximum", Maximum, "g to both", lambda self, g: (g, sum_to(g, (3,)))),
    Wrong("maximum", Maximum, "g to the loser", lambda self, g, a, b: (g * (a < b), sum_to(g * (a > b), b.shape))),
    Wrong("minimum", Minimum, "of maximum", lambda self, g, a, b: (g * (a > b), sum_to(g * (a < b), b.shape))),
    Wrong("clip", Clip, "bounds ignored", lambda self, g, x, low, high: (g, *right(self, g, x, low, high)[1:])),
    Wrong("clip", Clip, "upper bound forgotten", high_forgotten),
    Wrong("clip", Clip, "bounds are constants", bounds_as_constants),
]

# --------------------------------------------------------------------------------------------------------- activations

WORKSPACE = np.zeros((2, 3))


def in_a_workspace(self, g, y):
    return np.multiply(g, y * (1 - y), out=WORKSPACE) if g.shape == WORKSPACE.shape else right(self, g, y)


def running_total(self, g, x):
    self.total = getattr(self, "total", 0) + right(self, g, x)
    return self.total


def overwrites_g(self, g, y):
    g *= 1 - y * y
    return g


def weight_from_all(self, g, x, weight):
    return right(self, g, x, weight)[0], sum_to(g * x, weight.shape)


ACTIVATIONS = [
    Wrong("relu", Relu, "g everywhere", lambda self, g: g),
    Wrong("relu", Relu, "looks at g for y", lambda self, g: g * (g > 0)),
    Wrong("relu", ReluGradient, "u everywhere", lambda self, u: u, order=2),
    Wrong("relu6", Hardtanh, "as if it were relu", lambda self, g, y: g * (y > self.low)),
    Wrong("hardtanh", Hardtanh, "bounds of relu6", lambda self, g, y: g * ((y > 0) & (y < 6))),
    Wrong("hardsigmoid", Hardsigmoid, "1/6 forgotten", lambda self, g, x: g * ((x > -3) & (x < 3))),
    Wrong("hardsigmoid", Hardsigmoid, "slope on the flat parts", lambda self, g: g / 6),
    Wrong("leaky_relu", PRelu, "leaky slope forgotten", lambda self, g, x: (g * (x > 0), None)),
    Wrong("prelu", PRelu, "weight gradient from all of x", weight_from_all),
    Wrong("elu", Elu, "alpha forgotten", lambda self, g, x: g * exp(minimum(x, 0))),
    Wrong("elu", Elu, "adds to what it gave before", running_total, says="two results for one upstream gradient"),
    Wrong("selu", Elu, "as if it were relu", lambda self, g, x: g * (x > 0)),
    Wrong("sigmoid", Sigmoid, "x (1 − x) for y (1 − y)", lambda self, g, x: g * x * (1 - x)),
    Wrong("sigmoid", Sigmoid, "gives memory that it writes to again", in_a_workspace, says="used twice|quotient"),
    Wrong("sigmoid", Sigmoid, "upstream gradient cut off", lambda self, g, y: constant(g) * y * (1 - y), order=2),
    Wrong("tanh", Tanh, "square forgotten", lambda self, g, y: g * (1 - y)),
    Wrong("tanh", Tanh, "overwrites g", overwrites_g, says="wrote into the upstream gradient"),
    Wrong("tanh", Tanh, "second derivative cut off", lambda self, g, y: g * (1 - constant(y) ** 2), order=2),
    Wrong("softplus", Softplus, "of relu", lambda self, g, x: g * (x > 0)),
    Wrong("logsigmoid", Softplus, "1 − σ for σ", lambda self, g, x: g * (1 - Sigmoid()(x))),
    Wrong("silu", Gated, "inner derivative missing", lambda self, g, x: g * self.gate(x)),
    Wrong("gelu", Gated, "inner derivative missing", lambda self, g, x: g * self.gate(x)),
    Wrong("mish", Gated, "inner derivative missing", lambda self, g, x: g * self.gate(x)),
    Wrong("silu", Gated, "the gate is a constant", lambda self, g, x: right(self, g, constant(x)), order=2),
    Wrong("hardswish", Hardswish, "inner derivative missing", lambda self, g, x: g * Hardsigmoid()(x)),
    Wrong("gelu", NormalCdf, "√2π forgotten", lambda self, g, x: g * exp(x * x * -0.5), order=2),
]

# ------------------------------------------------------------------------------------------------- sums, norms, softmax


def centres_its_input(self, g, x):
    x -= x.mean(axis=self.axes, keepdims=True)
    return g.reshape(kept_shape(x.shape, self.axes)) * 2 * x / self.divisor


REDUCTIONS = [
    Wrong("sum", Sum, "mean for sum", lambda self, g: right(self, g) / 8),
    Wrong("sum", Sum, "a reshape where a broadcast belongs", lambda self, g: np.resize(g, self.shape)),
    Wrong("sum", Sum, "g is a constant", lambda self, g: right(self, constant(g)), order=2, says="do not depend"),
    Wrong("mean", Divide, "sum for mean", lambda self, g: (g, None)),
    Wrong("var", Var, "mean forgotten", lambda self, g, x: right(self, g, x) + g * 2 * x.mean() / self.divisor),
    Wrong("var", Var, "divides by n", lambda self, g, x: right(self, g, x) * self.divisor / (self.divisor + 1)),
    Wrong("var", Var, "centres its input in place", centres_its_input, says="backward wrote into input 0"),
    Wrong("std", Std, "2 forgotten", lambda self, g, y: g / y),
    Wrong("cumsum", CumSum, "not reversed", lambda self, g: CumSum(self.axis)(g)),
    Wrong("cumsum", CumSum, "not reversed again", lambda self, g: np.flip(right(self, g), self.axis)),
    Wrong("prod", Multiply, "divides by the wrong factor", lambda self, g, a, b, y: (g * y / b, g * y / a)),
    Wrong("norm", PNorm, "not divided by the norm", lambda self, g, x: g * np.sign(x) * abs(x) ** (self.p - 1)),
    Wrong("norm", PNorm, "sign forgotten", lambda self, g, x, y: right(self, g, abs(x), y)),
    Wrong("norm", MaxNorm, "sign forgotten", lambda self, g, x, y: right(self, g, abs(x), y)),
    Wrong("norm", MaxNorm, "g to every element", lambda self, g, x: g * np.sign(x)),
    Wrong("normalize", PNorm, "the length is a constant", lambda self, g, x: x * 0),
    Wrong("softmax", Softmax, "dx = 0", lambda self, g: g * 0),
    Wrong("softmax", Softmax, "as if outputs were independent", lambda self, g, y: g * y * (1 - y)),
    Wrong("softmax", Softmax, "sum over the wrong axis", lambda self, g, y: y * (g - (g * y).sum(axis=0))),
    Wrong("softmax", Softmax, "y is a constant", lambda self, g, y: right(self, g, constant(y)), order=2),
    Wrong("log_softmax", LogSoftmax, "dx = g", lambda self, g: g),
    Wrong("log_softmax", LogSoftmax, "Σ g taken for 1", lambda self, g, y: g - exp(y)),
    Wrong("logsumexp", LogSumExp, "the same share for all", lambda self, g, x: broadcast_to(g / 8, x.shape)),
]

# ----------------------------------------------------------------------------------------------- shapes, order, indices


def assigned(self, g):
    y = np.zeros(self.shape)
    y[self.index] = g  # an element that was read twice has what the last reading gives
    return y


def indices_in_another_order(self, g, a, b):
    to_b = Contraction(self.of_a, self.of_y, self.of_b[::-1])(a, g)
    return right(self, g, a, b)[0], to_b.reshape(b.shape)


BATCHES = Check("matmul of batches", lambda a, b: a @ b, ((2, 3, 4), (1, 4, 5)))

SHAPES = [
    Wrong("expand", BroadcastTo, "only the first repetition", lambda self, g: g[0, :, :1]),
    Wrong("expand", BroadcastTo, "mean for sum", lambda self, g: right(self, g) / 6),
    Wrong("reshape", Reshape, "columns before rows", lambda self, g: g.reshape(self.input_shape, order="F")),
    Wrong("reshape", Reshape, "gradient clipped", lambda self, g: right(self, g).clip(-1, 1), says="linear|quotient"),
    refused("transpose", Transpose, "same order again", lambda self, g: g.transpose(self.axes), says="expected shape"),
    Wrong("transpose", Transpose, "a reshape for a transpose", lambda self, g: g.reshape(2, 3, 4)),
    Wrong("pixel_shuffle", Transpose, "a reshape for a transpose", lambda self, g: g.reshape(right(self, g).shape)),
    Wrong("concatenate", Concatenate, "off by one", lambda self, g: (g[:, 1:4], g[:, 3:])),
    Wrong("concatenate", Concatenate, "each gets the start of g", lambda self, g: (g[:, :3], g[:, :4])),
    Wrong("stack", Concatenate, "order reversed", lambda self, g: right(self, g)[::-1]),
    Wrong("split", Split, "order reversed", lambda self, gs: right(self, gs[::-1])),
    Wrong("flip", Flip, "not flipped", lambda self, g: g),
    Wrong("flip", Flip, "all axes flipped", lambda self, g: np.flip(g)),
    Wrong("roll", Roll, "the wrong way", lambda self, g: Roll(self.shifts, self.axes)(g)),
    Wrong("max", GetItem, "g to every element", lambda self, g: broadcast_to(g, self.shape)),
    Wrong("min", GetItem, "g to the first element", lambda self, g: g * (np.arange(self.shape[1]) == 0)),
    Wrong("sort", GetItem, "not undone", lambda self, g: g),
    Wrong("topk", GetItem, "g to the first k", lambda self, g: PutItem(tuple(map(slice, g.shape)), self.shape)(g)),
    Wrong("getitem", GetItem, "= for +=", assigned),
    Wrong("gather", GetItem, "= for +=", assigned),
    Wrong("index_select", GetItem, "= for +=", assigned),
    Wrong("repeat", GetItem, "= for +=", assigned),
    Wrong("embedding", GetItem, "= for +=: a word that comes twice counts once", assigned),
    Wrong("take_along_axis", GetItem, "a column too far", lambda self, g: np.roll(right(self, g), 1, axis=1)),
    Wrong("index_add", PutItem, "g from the first positions", lambda self, g: g[:, :3]),
    Wrong("embedding", Embedding, "mean over the words", lambda self, g: right(self, g / len(g))),
    Wrong("embedding", Embedding, "words exchanged", lambda self, g: right(self, g[::-1])),
    Wrong("pad", Pad, "off-by-one crop", lambda self, g: g[:2, 1:3]),
    Wrong("pad", Pad, "margin not cropped", lambda self, g: g[:2, :2]),
    Wrong("pad", PadWithCopies, "margin dropped, as with zeros", lambda self, g: Pad(self.margin, 0).backward(g)),
    Wrong("pad", PadWithCopiesAdjoint, "zeros around", lambda self, u: Pad(self.margin, 0)(u), order=2),
    refused(BATCHES, MatMul, "missing un-broadcast", lambda self, g, a, b: (g @ T(b), T(a) @ g), says="expected shape"),
    Wrong(BATCHES, MatMul, "of one in the batch", lambda self, g, a, b: (g @ T(b), T(a[:1]) @ g[:1])),
    Wrong("matmul", MatMul, "mean over the batch", lambda self, g, a, b: (g @ T(b), sum_to(T(a) @ g, b.shape) / 2)),
    Wrong("linear", MatMul, "a reshape for a transpose", lambda self, g, a, b: (g @ b.T, (g.T @ a).reshape(4, 5))),
    Wrong("linear", MatMul, "ignores g", lambda self, g, a, b: ((0 * g + 1) @ b.T, a.T @ (0 * g + 1))),
    Wrong("linear", MatMul, "x is a constant", lambda self, g, a, b: right(self, g, constant(a), b), order=2),
    Wrong("einsum", Contraction, "indices in another order", indices_in_another_order),
]

# ------------------------------------------------------------------------------------------ convolution and its windows


def conv2d(change):
    """Conv2d's backward with something changed: change(self, g, x, weight, *right gradients) but that to `add`."""
    return lambda self, g, x, weight: (*change(self, g, x, weight, *right(self, g, x, weight)[:3]), g)


def conv2d_over(another):
    """Conv2d's backward with the gradient to x by another window: another(window)."""

    def change(self, g, x, weight, to_x, to_weight, to_bias):
        return Conv2dInputGradient(another(self.window), self.groups, self.image_size)(g, weight), to_weight, to_bias

    return conv2d(change)


def assigned_columns(self, g, x, weight, to_x, to_weight, to_bias):
    groups = zip(np.split(g, self.groups, axis=3), np.split(weight, self.groups, axis=3), strict=True)
    blocks = np.concatenate([np.einsum("nyxf,klcf->nyxklc", *pair) for pair in groups], axis=-1)
    return put_back(blocks, self.window, *self.image_size), to_weight, to_bias


def groups_mixed_up(self, g, x, weight, to_x, to_weight, to_bias):
    return right(self, g, x, np.roll(weight, weight.shape[3] // self.groups, axis=3))[0], to_weight, to_bias


def kernel_axes_swapped(self, g, x, weight, to_x, to_weight, to_bias):
    return to_x, to_weight.swapaxes(0, 1).reshape(weight.shape), to_bias


def kernel_turned(self, g, x, weight, to_x, to_weight, to_bias):
    return to_x, to_weight[::-1, ::-1], to_bias


def weight_from_the_wrong_input(self, g, x, weight, to_x, to_weight, to_bias):
    return to_x, right(self, g, x[::-1], weight)[1], to_bias


def bias_averaged(self, g, x, weight, to_x, to_weight, to_bias):
    return to_x, to_weight, g.mean(axis=(0, 1, 2))


def bias_of_one_image(self, g, x, weight, to_x, to_weight, to_bias):
    return to_x, to_weight, g[0].sum(axis=(0, 1))


def output_padding_taken_for_zeros(self, u, g, weight):
    return right(self, np.pad(u[:, :-3], ((0, 0), (0, 3), (0, 0), (0, 0))), g, weight)


def transposed_weight_from_the_wrong_input(self, u, g, weight):
    return right(self, u, g, weight)[0], right(self, u, g[::-1], weight)[1]


def transposed_without_dilation(self, u, g, weight):
    window = replace(self.window, dilation=(1, 1))
    return Conv2d(window, self.groups)(u[:, :, :-1], weight, None, None), right(self, u, g, weight)[1]


def weight_as_a_constant(self, g, x, weight):
    return right(self, g, x, constant(weight))


def second_without_dilation(self, u, x, g):
    return right(self, u, x, g)[0], Conv2d(without_dilation(self.window), self.groups)(x, u, None, None)


def added_to_one_image(self, g, x, weight):
    return *right(self, g, x, weight)[:3], g * (np.arange(len(g)) == 0)[:, None, None, None]


def relu_forgotten(self, g, x, weight):
    return right(self, g, x, weight)


def relu_of_g(self, g, x, weight):
    return right(self, g * (g > 0), x, weight)


def add_after_the_relu(self, g, x, weight, y):
    return *right(self, g, x, weight, y)[:-1], g


def switched_afterwards(self, g, x, weight, y):
    to_x, *others = right(self, g, x, weight)
    return to_x * (y > 0), *others


def assigned_rows(self, g):
    blocks = g.reshape(len(g), *self.window.output_size(*self.image_size), *self.window.kernel, -1)
    return put_back(blocks, self.window, *self.image_size)


def reordered(axes):
    """Unfold's backward for rows (N, OH·OW, KH·KW·C) in which KH, KW and C come in another order."""

    def backward(self, g):
        blocks = g.reshape(*g.shape[:2], *self.window.kernel, -1)  # (N, OH·OW, KH, KW, C)
        return right(self, blocks.transpose(0, 1, *axes).reshape(g.shape))

    return backward


FOLLOWED = {  # what follows, within the operation
    "conv2d, add": Check(
        "conv2d and add",
        lambda x, w, a: F.conv2d(x, w, padding=1, add=a),
        ((2, 3, 2, 2), (3, 3, 2, 2), (2, 3, 2, 2)),
    ),
    "conv2d, relu": Check(
        "conv2d, add and relu",
        lambda x, w, a: F.conv2d(x, w, padding=1, add=a, relu=True),
        ((2, 3, 2, 2), (3, 3, 2, 2), (2, 3, 2, 2)),
    ),
    "batch_norm, relu": Check(
        "batch_norm, add and relu",
        lambda x, w, a: F.batch_norm(x, None, None, w, training=True, eps=0.1, add=a, relu=True),
        ((4, 2, 3), (3,), (4, 2, 3)),
    ),
}

CONVOLUTION = [
    Wrong("conv2d", Conv2d, "= for += where windows overlap", conv2d(assigned_columns)),
    Wrong("conv2d", Conv2d, "padding forgotten: the margin not cropped", conv2d_over(lambda w: moved(w, -1))),
    Wrong("conv2d", Conv2d, "off-by-one crop", conv2d_over(lambda w: moved(w, 1))),
    Wrong("conv2d", Conv2d, "dilation forgotten", conv2d_over(without_dilation)),
    Wrong("conv2d", Conv2d, "groups mixed up", conv2d(groups_mixed_up)),
    Wrong("conv2d", Conv2d, "KH and KW swapped", conv2d(kernel_axes_swapped)),
    Wrong("conv2d", Conv2d, "kernel turned around", conv2d(kernel_turned)),
    Wrong("conv2d", Conv2d, "weight gradient from the wrong input", conv2d(weight_from_the_wrong_input)),
    Wrong("conv2d", Conv2d, "bias gradient averaged", conv2d(bias_averaged)),
    Wrong("conv2d", Conv2d, "bias gradient of one image", conv2d(bias_of_one_image)),
    Wrong(FOLLOWED["conv2d, add"], Conv2d, "add: gradient of one image", added_to_one_image),
    Wrong(FOLLOWED["conv2d, relu"], Conv2dReLU, "g everywhere", relu_forgotten),
    Wrong(FOLLOWED["conv2d, relu"], Conv2dReLU, "looks at g for y", relu_of_g),
    Wrong(FOLLOWED["conv2d, relu"], Conv2dReLU, "add after the ReLU", add_after_the_relu),
    Wrong("conv2d", Conv2d, "weight is a constant", weight_as_a_constant, order=2),
    Wrong("conv2d", Conv2dWeightGradient, "dilation forgotten", second_without_dilation, order=2),
    Wrong("conv_transpose2d", Conv2dInputGradient, "wrong output padding", output_padding_taken_for_zeros),
    Wrong("conv_transpose2d", Conv2dInputGradient, "dilation forgotten", transposed_without_dilation),
    Wrong("conv_transpose2d", Conv2dInputGradient, "wrong input", transposed_weight_from_the_wrong_input),
    Wrong("unfold", Unfold, "= for += where windows overlap", assigned_rows),
    Wrong("unfold", Unfold, "wrong stride remainder", lambda self, g: Fold(moved(self.window, -1), self.image_size)(g)),
    Wrong("unfold", Unfold, "KH and KW swapped", reordered((3, 2, 4))),
    Wrong("unfold", Unfold, "rows (C, KH, KW), as in PyTorch", reordered((4, 2, 3))),
    Wrong("fold", Fold, "dilation forgotten", lambda self, g: Unfold(without_dilation(self.window))(g)),
    Wrong("fold", Fold, "padding on the other side", lambda self, g: Unfold(moved(self.window, -1))(g)),
]

# --------------------------------------------------------------------------------------------------- pooling, resizing


def to_first_position(self, g):
    return ScatterToWinners(self.window, self.winner * 0, self.image_size)(g)


def to_every_element(self, g):
    return pooling.spread_windows(g, self.window, *self.image_size)


def kh_for_kw(self, g):
    KH, KW = self.window.kernel
    return ScatterToWinners(self.window, self.winner // KH * KW + self.winner % KH, self.image_size)(g)


def assigned_winners(self, g):
    won = self.winner[:, :, :, None] == np.arange(np.prod(self.window.kernel))[:, None]  # (N, OH, OW, KH·KW, C)
    blocks = (g[:, :, :, None] * won).reshape(*g.shape[:3], *self.window.kernel, g.shape[3])
    return put_back(blocks, self.window, *self.image_size)


def assigned_means(self, g):
    blocks = np.broadcast_to((g / self.divisor)[:, :, :, None, None], (*g.shape[:3], *self.window.kernel, g.shape[3]))
    return put_back(blocks, self.window, *self.image_size)


def divided_by_the_kernel(self, g):
    return AvgPool2dAdjoint(self.window, np.prod(self.window.kernel), self.image_size)(g)


def last_windows_forgotten(self, g, x, y):
    return right(self, g * (np.arange(g.shape[1]) < g.shape[1] - 1)[:, None, None], x, y)


def shares_side_by_side(self, g):
    places = g.shape[1]
    return g[:, np.arange(self.size) * places // self.size] * places / self.size


def to_first_of_share(self, g):
    first = np.array([share.start for share in shares.shares(self.size, g.shape[1])])[:, None]
    return ScatterToShares(np.broadcast_to(first, g.shape), self.size)(g)


def maxima_of_shares(self, u):
    return MaxOfShares(self.winner.shape[1])(u)


def assigned_readings(self, g):
    x = np.zeros((*g.shape[: self.axis], self.table.size, *g.shape[self.axis + 1 :]))
    for index, weights in zip(self.table.index, self.table.weights, strict=True):
        np.moveaxis(x, self.axis, -1)[..., index] = np.moveaxis(g, self.axis, -1) * weights
    return x


def all_to_one_neighbour(self, g):
    table = replace(self.table, index=self.table.index[:1], weights=self.table.weights.sum(axis=0, keepdims=True))
    return Resample(table.turned_around(), self.axis)(g)


POOLING = [
    Wrong("max_pool2d", MaxPool2d, "g to the first position", to_first_position),
    Wrong("max_pool2d", MaxPool2d, "g to every element", to_every_element),
    Wrong("max_pool2d", MaxPool2d, "KH for KW", kh_for_kw),
    Wrong("max_pool2d", MaxPool2d, "= for += where windows overlap", assigned_winners),
    Wrong("max_pool2d", ScatterToWinners, "maxima of u", lambda self, u: MaxPool2d(self.window)(u), order=2),
    Wrong("max_pool2d", GatherWinners, "g to the first position", to_first_position, order=3),
    Wrong("avg_pool2d", AvgPool2d, "divisor wrong with count_include_pad", divided_by_the_kernel),
    Wrong("avg_pool2d", AvgPool2d, "sum for mean", to_every_element),
    Wrong("avg_pool2d", AvgPool2d, "= for += where windows overlap", assigned_means),
    Wrong("avg_pool2d", AvgPool2dAdjoint, "sum for mean", lambda self, u: AvgPool2d(self.window, 1)(u), order=2),
    Wrong("lp_pool2d", LPPool2d, "last windows of ceil_mode forgotten", last_windows_forgotten),
    Wrong("lp_pool2d", LPPool2d, "inner derivative missing", lambda self, g, x, y: right(self, g, x, y) / x**2),
    Wrong("adaptive_avg_pool2d", MeanOfShares, "shares that do not overlap", shares_side_by_side),
    Wrong("adaptive_avg_pool2d", SpreadOverShares, "sum for mean", lambda self, u: 2 * right(self, u), order=2),
    Wrong("adaptive_max_pool2d", MaxOfShares, "g to the first", to_first_of_share),
    Wrong("adaptive_max_pool2d", MaxOfShares, "g to all", lambda self, g: SpreadOverShares(self.size)(g)),
    Wrong("adaptive_max_pool2d", ScatterToShares, "maxima of u", maxima_of_shares, order=2),
    Wrong("adaptive_max_pool2d", GatherFromShares, "g to the first", to_first_of_share, order=3),
    Wrong("interpolate", Resample, "= for += where an element is read twice", assigned_readings),
    Wrong("interpolate", Resample, "all to one neighbour", all_to_one_neighbour),
]

# ------------------------------------------------------------------------------------------------------- normalisation


def batch_norm(gradient):
    """BatchNorm's backward with another gradient to x: gradient(g, x̂), times weight and inv_std."""

    def backward(self, g, x, weight):
        to_x = gradient(g, (x - self.mean) * self.inv_std) * (weight * self.inv_std)
        return to_x, *right(self, g, x, weight)[1:]

    return backward


def channel_mean(x):
    return x.mean(axis=tuple(range(x.ndim - 1)))


def recorded_with_constants(self, g, x, weight):
    gradients = right(self, g, x, weight)
    return (g * (weight * self.inv_std), *gradients[1:]) if isinstance(g, Tensor) else gradients


def weight_forgotten(self, g, x, weight):
    to_x, *others = right(self, g, x, weight)
    return to_x / weight, *others


def from_x_itself(self, g, x, weight):
    to_x, _, to_bias = right(self, g, x, weight)
    return to_x, sum_to(g * x, weight.shape), to_bias


def batch_norm_without_eps(self, g, x, weight):
    self.inv_std = 1 / np.sqrt(self.variance)
    return right(self, g, x, weight)


def rms_norm_with(r, axes=()):
    """RmsNorm's backward with another r, computed by r(mean square, eps), or over more axes."""

    def backward(self, g, x):
        scale = r(self.mean_square, self.eps)
        return scale * (g - x * scale * average(g * x * scale, (*axes, *self.axes)))

    return backward


def same_window(self, g):
    return ChannelWindowSum(self.before, self.after)(g)


LARGE_EPS = {  # with the usual 10⁻⁵ a mistake about ε is as small as the tolerance
    "batch": Check(
        "batch_norm with ε", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=0.1), ((6, 2), (2,), (2,))
    ),
    "layer": Check("layer_norm with ε", lambda x: F.layer_norm(x, 4, eps=0.1), ((3, 4),)),
    "rms": Check("rms_norm with ε", lambda x: F.rms_norm(x, 4, eps=0.1), ((3, 4),)),
}

NORMALISATION = [
    Wrong("batch_norm", BatchNorm, "dx = 0", batch_norm(lambda g, x: g * 0)),
    Wrong("batch_norm", BatchNorm, "statistics as constants", batch_norm(lambda g, x: g)),
    Wrong("batch_norm", BatchNorm, "variance as a constant", batch_norm(lambda g, x: g - channel_mean(g))),
    Wrong("batch_norm", BatchNorm, "mean as a constant", batch_norm(lambda g, x: g - x * channel_mean(g * x))),
    Wrong("batch_norm", BatchNorm, "weight forgotten", weight_forgotten),
    Wrong("batch_norm", BatchNorm, "recorded with statistics as constants", recorded_with_constants, order=2),
    Wrong(LARGE_EPS["batch"], BatchNorm, "ε forgotten", batch_norm_without_eps),
    Wrong(FOLLOWED["batch_norm, relu"], BatchNormReLU, "g everywhere", relu_forgotten),
    Wrong(FOLLOWED["batch_norm, relu"], BatchNormReLU, "looks at g for y", relu_of_g),
    Wrong(FOLLOWED["batch_norm, relu"], BatchNormReLU, "add after the ReLU", add_after_the_relu),
    Wrong(FOLLOWED["batch_norm, relu"], BatchNormReLU, "only the gradient to x switched", switched_afterwards),
    Wrong("batch_norm", FrozenBatchNorm, "weight forgotten", weight_forgotten),
    Wrong("batch_norm", FrozenBatchNorm, "weight gradient from x, not x̂", from_x_itself),
    Wrong("layer_norm", Centre, "one projection missing: the mean of g", lambda self, g: g),
    Wrong("layer_norm", RmsNorm, "one projection missing: along y", lambda self, g: g * self.r),
    Wrong("group_norm", RmsNorm, "dx = 0", lambda self, g: g * 0),
    Wrong("instance_norm", RmsNorm, "over the samples as well", rms_norm_with(lambda m, eps: (m + eps) ** -0.5, (0,))),
    Wrong("rms_norm", RmsNorm, "x for y", lambda self, g, x: self.r * (g - x * average(g * x, self.axes))),
    Wrong("rms_norm", RmsNorm, "r is a constant", rms_norm_with(lambda m, eps: (m + eps) ** -0.5), order=2),
    Wrong(LARGE_EPS["layer"], RmsNorm, "ε added twice", rms_norm_with(lambda m, eps: (m + 2 * eps) ** -0.5)),
    Wrong(LARGE_EPS["rms"], RmsNorm, "ε outside the root", rms_norm_with(lambda m, eps: 1 / (m**0.5 + eps))),
    Wrong("local_response_norm", ChannelWindowSum, "not turned around", same_window),
]

# ----------------------------------------------------------------------------------------------------- dropout, losses


def cross_entropy(gradient):
    """SoftmaxCrossEntropy's backward with another gradient to the scores: gradient(softmax(x), q)."""
    return lambda self, g, x, q: (g[..., None] * gradient(softmax(x), q), None)


def normalized(q):
    return q / q.sum(axis=-1, keepdims=True)


def largest(q):
    return (q == q.max(axis=-1, keepdims=True)).astype(q.dtype)


def of_the_one_with_logits(self, g, x, t):
    return g * (x - t), right(self, g, x, t)[1]


WEIGHTED = Check(
    "cross_entropy with weights",
    lambda x: F.cross_entropy(x, np.array([1, 0, 4]), Tensor(np.linspace(0.5, 2, 5))),
    ((3, 5),),
)

LOSSES = [
    Wrong("dropout", Dropout, "not scaled", lambda self, g: right(self, g) * (1 - self.p)),
    Wrong("dropout", Dropout, "another mask", lambda self, g: Dropout(self.p, self.seed + 1)(g)),
    Wrong("dropout", Dropout, "nothing dropped", lambda self, g: g / (1 - self.p)),
    Wrong("dropout2d", Dropout, "a mask of pixels", lambda self, g: Dropout(self.p, self.seed)(g)),
    Wrong("cross_entropy", SoftmaxCrossEntropy, "target not subtracted", cross_entropy(lambda p, q: p)),
    Wrong("cross_entropy", SoftmaxCrossEntropy, "smoothing forgotten", cross_entropy(lambda p, q: p - largest(q))),
    Wrong("cross_entropy", SoftmaxCrossEntropy, "ignores g", lambda self, g, x, q: (softmax(x) - q, None)),
    Wrong(WEIGHTED, SoftmaxCrossEntropy, "weights ignored", cross_entropy(lambda p, q: p - normalized(q))),
    Wrong(WEIGHTED, SoftmaxCrossEntropy, "weights ignored beside softmax", cross_entropy(lambda p, q: p - q)),
    Wrong("nll_loss", Multiply, "weights ignored", lambda self, g: (g, None)),
    Wrong("nll_loss", GetItem, "score of class 0", lambda self, g: g[:, None] * (np.arange(5) == 0)),
    Wrong("mse_loss", Multiply, "2 forgotten", lambda self, g, b: (g * b, b * 0)),
    Wrong("l1_loss", Absolute, "of the square", lambda self, g, x: g * 2 * x),
    Wrong("smooth_l1_loss", Huber, "of d²/2 everywhere", lambda self, g, d: g * d),
    Wrong("huber_loss", Huber, "of |d| everywhere", lambda self, g, d: g * np.sign(d) * self.delta),
    Wrong("binary_cross_entropy", BinaryCrossEntropy, "of the one with logits", of_the_one_with_logits),
    Wrong("binary_cross_entropy", BoundedLogit, "sign", lambda self, g, x: g / x - g / (1 - x), order=2),
    Wrong("binary_cross_entropy_with_logits", Softplus, "σ(−x) for σ(x)", lambda self, g, x: g * Sigmoid()(-x)),
    Wrong("kl_div", Log, "1/x forgotten", lambda self, g: g),
]

WRONG = ELEMENTWISE + ACTIVATIONS + REDUCTIONS + SHAPES + CONVOLUTION + POOLING + NORMALISATION + LOSSES

# Every derivative of these takes long on the inputs of their checks. One derivative is compared on those inputs, and
# every one on these.
SMALLER = {
    "conv2d": ((2, 4, 2, 4), (3, 2, 2, 6), (6,)),
    "conv_transpose2d": ((2, 2, 2, 4), (3, 2, 1, 4), (2,)),
    "unfold": ((2, 5, 4, 2),),
    "fold": ((2, 10, 12),),
    "max_pool2d": ((2, 4, 3, 2),),
    "avg_pool2d": ((2, 4, 3, 2),),
    "adaptive_avg_pool2d": ((1, 5, 7, 2),),
    "adaptive_max_pool2d": ((1, 5, 5, 2),),
    "interpolate": ((1, 4, 5, 2),),
    "pixel_shuffle": ((1, 2, 3, 8),),
    "batch_norm": ((3, 2, 5), (5,), (5,)),
    "layer_norm": ((2, 4, 5), (4, 5), (4, 5)),
    "group_norm": ((2, 3, 6), (6,), (6,)),
    "instance_norm": ((2, 3, 5), (5,), (5,)),
    "local_response_norm": ((2, 7),),
}
