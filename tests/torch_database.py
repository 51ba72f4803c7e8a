"""How a sample of PyTorch's operator database is called in minidl: the names, the arguments, the layouts.

An entry of CALLS takes a `Sample` and then what PyTorch's operator takes. It brings each tensor over with the layout it
has there (`sample.images(x)`, `sample.filters(w)`, or plainly, `sample(x)`) and returns minidl's result, or several; or
raises LeftOut with one of the few reasons there are.
"""

import numpy as np

import minidl
from minidl import Tensor
from minidl import functional as F


class LeftOut(Exception):
    """This sample asks for something that minidl does not have."""


class Sample:
    """The tensors of one sample, brought over: what becomes of them is compared in PyTorch's layout."""

    def __init__(self, torch):
        self.torch = torch
        self.brought = []  # (PyTorch's tensor, ours, the axes of ours in PyTorch's order)
        self.axis = -1  # along which an operator works, where that matters to the comparison
        self.result_axes = None  # a function from a result to its axes in PyTorch's order; None: as they are

    def __call__(self, x, axes=None):
        """A tensor, its axes reordered by `axes`; anything else as it is."""
        if not isinstance(x, self.torch.Tensor):
            return x
        array = x.detach().numpy()
        ours = Tensor(array if axes is None else array.transpose(axes), requires_grad=x.requires_grad)
        back = None if axes is None else [axes.index(i) for i in range(x.ndim)]
        self.brought.append((x, ours, back))
        return ours

    def images(self, x, batched=None):
        """(N, C, ...) → (N, ..., C), and the result the other way. Without a batch it is left out."""
        if batched is not None and x.ndim < batched:
            raise LeftOut("without a batch")
        self.result_axes = channels_second
        return self.channels_last(x)

    def channels_last(self, x):
        return self(x, [0, *range(2, x.ndim), 1] if x.ndim > 2 else None)

    def filters(self, weight):
        """(F, C/G, KH, KW) → (KH, KW, C/G, F)"""
        return self(weight, [2, 3, 1, 0])

    def integers(self, x):
        """Indices, as an array."""
        return x.numpy() if isinstance(x, self.torch.Tensor) else x


def channels_second(ndim):
    return [0, ndim - 1, *range(1, ndim - 1)] if ndim > 2 else None


def pair(option):
    """PyTorch takes an option in a tuple of one, or of none, for the default."""
    return option[0] if isinstance(option, tuple) and len(option) == 1 else option


CALLS = {}


def call(*names):
    def enter(function):
        CALLS.update(dict.fromkeys(names, function))
        return function

    return enter


# ------------------------------------------------------------------------------------------------ two operands, or one


def binary(function):
    return lambda sample, a, b: function(sample(a), sample(b))


def unary(function):
    return lambda sample, x: function(sample(x))


CALLS |= {
    "mul": binary(lambda a, b: a * b), "div no_rounding_mode": binary(lambda a, b: a / b),
    "pow": binary(lambda a, b: a**b), "__radd__": binary(lambda a, b: b + a), "__rsub__": binary(lambda a, b: b - a),
    "__rmul__": binary(lambda a, b: b * a), "__rdiv__": binary(lambda a, b: b / a),
    "__rpow__": binary(lambda a, b: b**a), "__rmatmul__": binary(lambda a, b: b @ a),
    "matmul": binary(lambda a, b: a @ b), "outer": binary(lambda a, b: minidl.outer(a, b)),
    "maximum": binary(minidl.maximum), "minimum": binary(minidl.minimum), "max binary": binary(minidl.maximum),
    "min binary": binary(minidl.minimum), "eq": binary(lambda a, b: a == b), "ne": binary(lambda a, b: a != b),
    "lt": binary(lambda a, b: a < b), "le": binary(lambda a, b: a <= b), "gt": binary(lambda a, b: a > b),
    "ge": binary(lambda a, b: a >= b), "neg": unary(lambda x: -x), "abs": unary(abs), "exp": unary(minidl.exp),
    "log": unary(minidl.log), "sqrt": unary(minidl.sqrt), "sigmoid": unary(F.sigmoid), "tanh": unary(F.tanh),
}  # fmt: skip


@call("add")
def add(sample, a, b, alpha=1):
    return sample(a) + times(alpha, sample(b))


@call("sub")
def subtract(sample, a, b, alpha=1):
    return sample(a) - times(alpha, sample(b))


def times(alpha, b):
    return b if alpha == 1 else Tensor(wrapped(alpha, b.dtype)) * b


def wrapped(alpha, dtype):
    """alpha in that dtype; what does not fit wraps around, as PyTorch has it."""
    return np.asarray(alpha).astype(dtype)


@call("where")
def where(sample, x, condition, other):
    return minidl.where(sample(condition), sample(x), sample(other))


@call("clamp")
def clamp(sample, x, low=None, high=None):
    return sample(x).clip(sample(low), sample(high))


# ----------------------------------------------------------------------------------------------------------- reductions


def axes(x, dim):
    """PyTorch's empty tuple of axes means all of them."""
    return None if isinstance(dim, tuple | list) and not dim else dim


def reduction(name):
    return lambda sample, x, dim=None, keepdim=False: getattr(sample(x), name)(axes(x, dim), keepdim)


CALLS |= {name: reduction(name) for name in ("sum", "mean", "any", "all", "argmax", "argmin")}


@call("prod")
def prod(sample, x, dim=None, keepdim=False, dtype=None):
    x = sample(x) if dtype is None else sample(x).astype(dtype_of(dtype))
    return x.prod(axes(x, dim), keepdim)


@call("cumsum")
def cumsum(sample, x, dim, dtype=None):
    x = sample(x) if dtype is None else sample(x).astype(dtype_of(dtype))
    return x.cumsum(dim)


def dtype_of(torch_dtype):
    return np.dtype(str(torch_dtype).removeprefix("torch."))


@call("var", "var unbiased", "std", "std unbiased")
def var(sample, x, dim=None, unbiased=None, keepdim=False, correction=1):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    correction = 1 if correction is None else correction if unbiased is None else int(unbiased)
    return getattr(sample(x), sample.name)(axes(x, dim), keepdim, correction=correction)


@call("max reduction_with_dim", "min reduction_with_dim")
def extreme_along(sample, x, dim, keepdim=False):
    x = sample(x)
    return getattr(x, sample.name)(axes(x, dim), keepdim), getattr(x, "arg" + sample.name)(axes(x, dim), keepdim)


@call("max reduction_no_dim", "min reduction_no_dim")
def extreme_of_all(sample, x):
    return getattr(sample(x), sample.name)()


@call("linalg.vector_norm")
def vector_norm(sample, x, ord=2, dim=None, keepdim=False):
    return sample(x).norm(ord, axes(x, dim), keepdim)


@call("norm", "norm fro", "norm inf")
def norm(sample, x, p="fro", dim=None, keepdim=False):
    return sample(x).norm(2 if p == "fro" else p, axes(x, dim), keepdim)


@call("logsumexp")
def logsumexp(sample, x, dim, keepdim=False):
    return F.logsumexp(sample(x), dim, keepdim)


# ----------------------------------------------------------------------------------------------------- moving elements


@call("reshape")
def reshape(sample, x, shape):
    return sample(x).reshape(tuple(shape))


@call("flatten")
def flatten(sample, x, start_dim=0, end_dim=-1):
    return sample(x).flatten(start_dim, end_dim)


@call("unflatten")
def unflatten(sample, x, dim, sizes):
    return sample(x).unflatten(dim, tuple(sizes))


@call("T")
def T(sample, x):
    return sample(x).T


@call("transpose")
def transpose(sample, x, dim0, dim1):
    """PyTorch exchanges the axes of a number as if it were a vector of one; NumPy and minidl say that it has none."""
    if x.ndim == 0:
        return sample(x).reshape(1).swapaxes(dim0, dim1).reshape(())
    return sample(x).swapaxes(dim0, dim1)


@call("permute")
def permute(sample, x, order):
    return sample(x).permute(tuple(order))


@call("movedim")
def movedim(sample, x, source, destination):
    return sample(x).moveaxis(source, destination)


@call("clone")
def clone(sample, x, memory_format=None):
    return sample(x).copy()


@call("squeeze", "squeeze multiple")
def squeeze(sample, x, dim=None):
    """PyTorch leaves an axis alone that has another size; NumPy and minidl say that it does."""
    if dim is None:
        return sample(x).squeeze()
    several = dim if isinstance(dim, tuple) else (dim,)
    ones = tuple(one for one in several if x.ndim == 0 or x.shape[one] == 1)
    return sample(x).squeeze(ones)


@call("unsqueeze")
def unsqueeze(sample, x, dim):
    return sample(x).unsqueeze(dim)


@call("expand", "broadcast_to")
def expand(sample, x, shape):
    return sample(x).expand(tuple(shape))


@call("cat")
def cat(sample, tensors, dim=0):
    """PyTorch lets an empty vector be joined to anything."""
    tensors = [x for x in tensors if tuple(x.shape) != (0,)] or tensors[:1]
    return minidl.concatenate([sample(x) for x in tensors], dim)


@call("stack")
def stack(sample, tensors, dim=0):
    return minidl.stack([sample(x) for x in tensors], dim)


@call("split", "split list_args")
def split(sample, x, sizes, dim=0):
    return sample(x).split(sizes if isinstance(sizes, int) else list(sizes), dim)


@call("flip")
def flip(sample, x, dims):
    return sample(x).flip(tuple(dims))


@call("roll")
def roll(sample, x, shifts, dims=None):
    return sample(x).roll(shifts, dims if dims != () else None)


@call("tile")
def tile(sample, x, reps):
    return sample(x).tile(reps)


@call("repeat")
def repeat(sample, x, sizes):
    return sample(x).tile(sizes)


@call("repeat_interleave")
def repeat_interleave(sample, x, repeats, dim=None, output_size=None):
    x = sample(x)
    return (x.flatten() if dim is None else x).repeat(sample.integers(repeats), axis=0 if dim is None else dim)


@call("einsum")
def einsum(sample, operands, equation):
    return minidl.einsum(equation, *[sample(x) for x in operands])


# -------------------------------------------------------------------------------------------------- indexing, and order


@call("__getitem__")
def getitem(sample, x, index):
    several = index if isinstance(index, tuple) else (index,)
    ours = tuple(sample.integers(part) for part in several)
    return sample(x)[ours if isinstance(index, tuple) else ours[0]]


@call("gather")
def gather(sample, x, dim, index):
    index = sample.integers(index)
    if index.size == 0:  # PyTorch takes any shape for no index
        return sample(x).gather(dim, index.reshape((0,) * max(x.ndim, 1))).reshape(index.shape)
    return sample(x).gather(dim, index)


@call("take_along_dim")
def take_along(sample, x, index, dim=None):
    index = sample.integers(index)
    return sample(x).take_along_axis(index.ravel() if dim is None else index, dim)


@call("index_add")
def index_add(sample, x, dim, index, source, alpha=1):
    x = sample(x)
    return x.index_add(dim, sample.integers(index), sample(source), alpha=wrapped(alpha, x.dtype).item())


@call("index_select")
def index_select(sample, x, dim, index):
    return sample(x).index_select(dim, sample.integers(index))


@call("sort", "argsort")
def sort(sample, x, dim=-1, descending=False, stable=False):
    sample.axis = dim
    return getattr(sample(x), sample.name)(dim, descending, stable)


@call("topk")
def topk(sample, x, k, dim=-1, largest=True, sorted=True):
    sample.axis = dim
    return sample(x).topk(k, dim, largest, sorted)


@call("nn.functional.one_hot")
def one_hot(sample, x, num_classes=-1):
    return F.one_hot(sample(x), num_classes)


@call("nn.functional.embedding")
def embedding(sample, weight, index, **options):
    return F.embedding(sample.integers(index), sample(weight), **options)


# -------------------------------------------------------------------------------------------- activations and softmax


def activation(sample, x, *args, **options):
    return getattr(F, sample.name.removeprefix("nn.functional."))(sample(x), *args, **options)


ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "elu", "selu", "silu", "gelu", "hardswish", "hardsigmoid", "hardtanh", "softplus",
    "mish", "logsigmoid",
)  # fmt: skip
CALLS |= {f"nn.functional.{name}": activation for name in ACTIVATIONS}


@call("nn.functional.prelu")
def prelu(sample, x, weight):
    sample.result_axes = channels_second
    return F.prelu(sample.channels_last(x), sample(weight))


@call("softmax", "softmax with_dtype", "log_softmax", "log_softmax with_dtype")
def softmax(sample, x, dim, dtype=None):
    return getattr(F, sample.name)(sample(x), dim, None if dtype is None else dtype_of(dtype))


# ------------------------------------------------------------------------------------ convolution, pooling and the rest


@call("nn.functional.linear")
def linear(sample, x, weight, bias=None):
    if weight.ndim == 1:  # PyTorch's result then has no feature axis
        return F.linear(sample(x), sample(weight).reshape(-1, 1)).squeeze(-1) + (0 if bias is None else sample(bias))
    return F.linear(sample(x), sample(weight, [1, 0]), sample(bias))


@call("nn.functional.conv2d", "nn.functional.conv_transpose2d")
def convolution(sample, x, weight, bias=None, **options):
    x = sample.images(x, batched=4)
    function = getattr(F, sample.name.removeprefix("nn.functional."))
    return function(x, sample.filters(weight), sample(bias), **options)


@call("nn.functional.unfold")
def unfold(sample, x, kernel_size, dilation=1, padding=0, stride=1):
    """PyTorch's (N, C·KH·KW, L) from ours, (N, L, KH·KW·C)."""
    N, C, _, _ = x.shape
    columns = F.unfold(sample.images(x, batched=4), kernel_size, dilation, padding, stride)
    sample.result_axes = None
    KH, KW = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    L = columns.shape[1]
    return columns.reshape(N, L, KH, KW, C).transpose(0, 4, 2, 3, 1).reshape(N, C * KH * KW, L)


@call("nn.functional.max_pool2d")
def max_pool2d(sample, x, **options):
    return F.max_pool2d(sample.images(x, batched=4), **options)


@call("nn.functional.avg_pool2d")
def avg_pool2d(sample, x, kernel_size, stride=None, padding=0, *args, **options):
    x = sample.images(x, batched=4)
    return F.avg_pool2d(x, pair(kernel_size), pair(stride) or None, pair(padding), *args, **options)


@call("nn.functional.adaptive_avg_pool2d", "nn.functional.adaptive_max_pool2d")
def adaptive_pool2d(sample, x, output_size, *args):
    x = sample.images(x, batched=4)
    return getattr(F, sample.name.removeprefix("nn.functional."))(x, pair(output_size), *args)


@call("nn.functional.batch_norm")
def batch_norm(sample, x, mean, variance, weight=None, bias=None, **options):
    if x.ndim < 2:
        raise LeftOut("without a batch")
    return F.batch_norm(sample.images(x), *running(mean, variance), sample(weight), sample(bias), **options)


@call("nn.functional.instance_norm")
def instance_norm(sample, x, running_mean=None, running_var=None, weight=None, bias=None, **options):
    statistics = running(running_mean, running_var)
    return F.instance_norm(sample.images(x), *statistics, sample(weight), sample(bias), **options)


def running(mean, variance):
    """Statistics of their own: they are updated in place, and PyTorch's must not be."""
    return [None if x is None else Tensor(x.detach().numpy()) for x in (mean, variance)]


@call("nn.functional.group_norm")
def group_norm(sample, x, groups, weight=None, bias=None, **options):
    return F.group_norm(sample.images(x), groups, sample(weight), sample(bias), **options)


@call("nn.functional.layer_norm", "nn.functional.rms_norm")
def layer_norm(sample, x, shape, *parameters, **options):
    function = getattr(F, sample.name.removeprefix("nn.functional."))
    return function(sample(x), shape, *[sample(p) for p in parameters], **options)


@call("nn.functional.local_response_norm")
def local_response_norm(sample, x, size, **options):
    return F.local_response_norm(sample.images(x), size, **options)


@call("nn.functional.normalize")
def normalize(sample, x, dim=1, **options):
    return F.normalize(sample(x), dim=dim, **options)


@call("nn.functional.pad constant", "nn.functional.pad reflect", "nn.functional.pad replicate",
      "nn.functional.pad replicate_negative", "nn.functional.pad circular")  # fmt: skip
def pad(sample, x, flat, mode="constant", value=None):
    """PyTorch's list begins with the last axis: (before, after) of it, of the one before, ..."""
    pairs = [(0, 0)] * (x.ndim - len(flat) // 2) + list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    return F.pad(sample(x), pairs, mode, 0.0 if value is None else value)


INTERPOLATIONS = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area")


@call(*(f"nn.functional.interpolate {mode}" for mode in INTERPOLATIONS))
def interpolate(sample, x, size=None, **options):
    return F.interpolate(sample.images(x), size, **options)


@call("nn.functional.upsample_nearest", "nn.functional.upsample_bilinear")
def upsample(sample, x, size=None, scale_factor=None):
    bilinear = sample.name.endswith("bilinear")
    options = {"mode": "bilinear", "align_corners": True} if bilinear else {}
    size = None if size is None else tuple(size) if isinstance(size, tuple) else size
    return F.interpolate(sample.images(x), size, scale_factor, **options)


@call("nn.functional.pixel_shuffle", "nn.functional.pixel_unshuffle")
def pixel_shuffle(sample, x, **options):
    (factor,) = options.values()
    return getattr(F, sample.name.removeprefix("nn.functional."))(sample.images(x, batched=4), factor)


@call("nn.functional.dropout")
def dropout(sample, x, p=0.5, training=True):
    return F.dropout(sample(x), p, training)


@call("nn.functional.dropout2d")
def dropout2d(sample, x, p=0.5, training=True):
    return F.dropout2d(sample.images(x, batched=4), p, training)


# --------------------------------------------------------------------------------------------------------------- losses


@call("nn.functional.cross_entropy")
def cross_entropy(sample, x, target, weight=None, **options):
    target = sample.channels_last(target) if target.dtype.is_floating_point else sample.integers(target)
    x = sample.channels_last(x)
    return F.cross_entropy(x, target, sample(weight), **options)


@call("nn.functional.nll_loss")
def nll_loss(sample, x, target, weight=None, **options):
    return F.nll_loss(sample.channels_last(x), sample.integers(target), sample(weight), **options)


LOSSES = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
)  # fmt: skip


@call(*(f"nn.functional.{name}" for name in LOSSES))
def loss(sample, x, target, weight=None, pos_weight=None, **options):
    given = {name: sample(w) for name, w in (("weight", weight), ("pos_weight", pos_weight)) if w is not None}
    return getattr(F, sample.name.removeprefix("nn.functional."))(sample(x), sample(target), **given, **options)
