"""Wrong calls of every public operator, as users make them, and what each is answered.

test_contract.py makes them all, on every device; the operators' own test files have more. An answer begins with the
operator's name, which is not repeated here, and then says what was expected and what came; "..." stands for any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import minidl
from minidl import Tensor
from minidl import functional as F

Calls = list[tuple[Callable[[str], Any], type[Exception], str]]  # what is done on a device, and the answer


def zeros(device: str, *shape: int, dtype: str = "float64") -> Tensor:
    return Tensor(np.zeros(shape, dtype), device=device)


def images(device: str, dtype: str = "float64") -> Tensor:
    return zeros(device, 2, 5, 6, 4, dtype=dtype)  # (N, H, W, C)


def channels_first(device: str) -> Tensor:
    return zeros(device, 2, 4, 5, 6)  # (N, C, H, W), as PyTorch has them


def filters(device: str) -> Tensor:
    return zeros(device, 3, 3, 4, 8)  # (KH, KW, C, F)


def given(device: str, *values: Any) -> Tensor:
    return Tensor(np.array(values), device=device)


# ------------------------------------------------------------------------------------- mistakes that many share


def no_tensor(call: Callable[[str, Any], Any]) -> Calls:
    """A list, a number and nothing in place of a Tensor."""
    return [
        (lambda d, wrong=wrong: call(d, wrong), TypeError, f"expected a Tensor or an array, got {type(wrong).__name__}")
        for wrong in ([[1.0, 2.0]], 2.0, None)
    ]


def no_operand(call: Callable[[str, Any], Any]) -> Calls:
    """A list and nothing beside a Tensor, where a number would do."""
    expected = "expected a Tensor, an array or a real number, got "
    return [
        (lambda d, wrong=wrong: call(d, wrong), TypeError, expected + type(wrong).__name__)
        for wrong in ([1.0, 2.0], None)
    ]


def no_broadcast(call: Callable[[Tensor, Tensor], Any]) -> Calls:
    """Images and one value for each row, where one for each channel would fit."""
    message = "shapes do not broadcast: (2, 5, 6, 4), (5,); aligned on the right, sizes must agree or be 1"
    return [(lambda d: call(images(d), zeros(d, 5)), ValueError, message)]


def no_axis(call: Callable[[Tensor, Any], Any]) -> Calls:
    """An axis that a tensor of shape (2, 3) does not have, and what is none."""
    return [
        (lambda d, axis=axis: call(zeros(d, 2, 3), axis), ValueError, f"axis {axis} does not exist in a tensor of 2")
        for axis in (2, True)
    ]


def no_reduction(op: str) -> Calls:
    """Several axes one by one, as transpose and reshape take them, and axes that do not exist."""
    several = "expected keepdims to be True or False, got 2; several axes are given as a tuple, (1, 2)"
    return [
        (lambda d: getattr(images(d), op)(1, 2), TypeError, several),
        *no_axis(lambda x, axis: getattr(x, op)(axis)),
    ]


def two_precisions(name: str, call: Callable[[str], Any]) -> Calls:
    """A float32 input and a float64 parameter."""
    return [(call, TypeError, f"the input is float32 and the {name} float64; convert one, with x.astype")]


# -------------------------------------------------------------------------------------------------- element by element

COMPARISONS = {
    "__eq__": "equal", "__ne__": "not_equal", "__lt__": "less", "__le__": "less_equal", "__gt__": "greater",
    "__ge__": "greater_equal",
}  # fmt: skip

ELEMENTS: dict[str, Calls] = {
    "add": no_operand(lambda d, wrong: zeros(d, 2) + wrong) + no_broadcast(lambda x, y: x + y),
    "subtract": [
        *no_operand(lambda d, wrong: wrong - zeros(d, 2)),
        *no_broadcast(lambda x, y: x - y),
        (lambda d: given(d, True) - given(d, True), TypeError,
         "expected numbers, got booleans; convert them with .astype, or compare them with !="),
    ],
    "multiply": [
        *no_operand(lambda d, wrong: zeros(d, 2) * wrong),
        *no_broadcast(lambda x, y: x * y),
        (lambda d: given(d, 1, 2).astype("uint8") * 1000, OverflowError,
         "1000 does not fit into uint8; convert the tensor first, with .astype"),
    ],
    "divide": no_operand(lambda d, wrong: zeros(d, 2) / wrong) + no_broadcast(lambda x, y: x / y),
    "power": [
        *no_operand(lambda d, wrong: zeros(d, 2) ** wrong),
        *no_broadcast(lambda x, y: x**y),
        (lambda d: given(d, 1, 2) ** -1, ValueError, "integers to the power -1 are no integers; write -1.0"),
    ],
    "negative": [
        (lambda d: -given(d, True), TypeError,
         "expected numbers, got booleans; convert them with .astype, or write x == False"),
    ],
    "absolute": no_tensor(lambda d, wrong: minidl.absolute(wrong)),
    "exp": no_tensor(lambda d, wrong: minidl.exp(wrong)),
    "log": no_tensor(lambda d, wrong: minidl.log(wrong)),
    "sqrt": [
        *no_tensor(lambda d, wrong: minidl.sqrt(wrong)),
        (lambda d: minidl.sqrt(np.array([-1j])), TypeError,
         "expected real numbers or booleans, got an array of dtype complex128"),
    ],
    "where": [
        (lambda d: minidl.where(zeros(d, 2), zeros(d, 2), 0), TypeError,
         "expected a boolean array as condition, got float64; write x != 0 or x > 0"),
        (lambda d: minidl.where([True], zeros(d, 2), 0), TypeError, "expected a boolean array ... got list"),
        (lambda d: minidl.where(zeros(d, 2) > 0, zeros(d, 2), None), TypeError, "expected a Tensor, ... got NoneType"),
        (lambda d: minidl.where(zeros(d, 5) > 0, images(d), 0.0), ValueError,
         "shapes do not broadcast: (5,), (2, 5, 6, 4), ()"),
    ],
    "maximum": [
        *no_operand(lambda d, wrong: minidl.maximum(wrong, zeros(d, 2))),
        *no_broadcast(minidl.maximum),
        (lambda d: minidl.maximum(1.0, 2.0), TypeError, "expected a Tensor or an array, got two numbers"),
    ],
    "minimum": no_operand(lambda d, wrong: minidl.minimum(zeros(d, 2), wrong)) + no_broadcast(minidl.minimum),
    "clip": [
        *no_broadcast(lambda x, low: x.clip(low)),
        (lambda d: zeros(d, 2).clip(), ValueError, "at least one of low and high must be given"),
        (lambda d: zeros(d, 2).clip([0, 1]), TypeError, "expected a Tensor, an array or a real number, got list"),
    ],
    **{name: no_broadcast(lambda x, y, name=name: getattr(x, name)(y)) for name in COMPARISONS},
    "astype": [
        (lambda d: zeros(d, 2).astype("float99"), TypeError,
         """expected a dtype of real numbers or booleans, such as "float32", got 'float99'"""),
        (lambda d: zeros(d, 2).astype(complex), TypeError, "expected a dtype of real numbers ... 'complex'>"),
        (lambda d: zeros(d, 2).astype(None), TypeError, "expected a dtype of real numbers ... got None"),
    ],
    "to": [
        (lambda d: zeros(d, 2).to("cuda"), ValueError, """... expected "cpu", "gpu" or ... got 'cuda'; write "gpu";"""),
        (lambda d: zeros(d, 2).to("float32"), ValueError, "... got 'float32'; for another dtype use astype"),
        (lambda d: zeros(d, 2).to(0), ValueError, "... got 0; "),
    ],
}  # fmt: skip

# --------------------------------------------------------------------------------------------------- moving elements

SHAPES: dict[str, Calls] = {
    "reshape": [
        (lambda d: images(d).reshape(2, 100), ValueError,
         "240 elements of shape (2, 5, 6, 4) do not fill shape (2, 100)"),
        (lambda d: zeros(d, 2, 3).reshape(-1, -1), ValueError, "6 elements ... do not fill shape (-1, -1)"),
        (lambda d: zeros(d, 2, 3).reshape(-1, 6 / 2), TypeError, "expected whole numbers, got (-1, 3.0)"),
    ],
    "flatten": [
        *no_axis(lambda x, axis: x.flatten(axis)),
        (lambda d: images(d).flatten(2, 1), ValueError, "start_dim 2 lies after end_dim 1"),
    ],
    "unflatten": [
        *no_axis(lambda x, axis: x.unflatten(axis, (1, -1))),
        (lambda d: zeros(d, 2, 6).unflatten(1, (2, 4)), ValueError, "sizes (2, 4) do not fill the 6 of axis 1"),
        (lambda d: zeros(d, 2, 6).unflatten(1, 3), ValueError, "expected a tuple of at least one size, got 3"),
    ],
    "transpose": [
        *no_axis(lambda x, axis: x.transpose(axis, 0)),
        (lambda d: images(d).transpose(1, 2), ValueError,
         "expected each of the 4 axes once, got (1, 2); to exchange two axes use swapaxes"),
    ],
    "swapaxes": no_axis(lambda x, axis: x.swapaxes(0, axis)),
    "moveaxis": [
        *no_axis(lambda x, axis: x.moveaxis(axis, 0)),
        (lambda d: images(d).moveaxis((1, 2), -1), ValueError,
         "expected as many distinct axes as positions, got (1, 2) and -1"),
    ],
    "squeeze": [
        *no_axis(lambda x, axis: x.squeeze(axis)),
        (lambda d: zeros(d, 1, 3).squeeze(1), ValueError, "axis 1 of shape (1, 3) does not have size 1"),
    ],
    "unsqueeze": [
        (lambda d: zeros(d, 2, 3).unsqueeze(3), ValueError, "axis 3 does not exist in a tensor of 3 dimension"),
        (lambda d: zeros(d, 2, 3).unsqueeze((0, 1)), ValueError, "axis (0, 1) does not exist in a tensor of 3"),
    ],
    "expand": [
        (lambda d: zeros(d, 5).expand(5, 3), ValueError,
         "shape (5,) cannot be repeated to (5, 3); aligned on the right, sizes must agree or be 1"),
        (lambda d: zeros(d, 1, 3).expand(2.0, 3), TypeError, "expected whole numbers, got (2.0, 3)"),
    ],
    "concatenate": [
        *no_axis(lambda x, axis: minidl.concatenate([x, x], axis)),
        (lambda d: minidl.concatenate([]), ValueError, "expected at least one tensor"),
        (lambda d: minidl.concatenate(3.0), TypeError, "expected a list of Tensors or arrays, got float"),
        (lambda d: minidl.concatenate([zeros(d, 2), [1.0]]), TypeError, "expected Tensors or arrays, got list"),
        (lambda d: minidl.concatenate([images(d), channels_first(d)], axis=1), ValueError,
         "shapes must agree except on axis 1, got (2, 5, 6, 4), (2, 4, 5, 6)"),
    ],
    "stack": [
        (lambda d: minidl.stack([1.0, 2.0]), TypeError, "expected Tensors or arrays, got float"),
        (lambda d: minidl.stack([zeros(d, 2, 3), zeros(d, 3)]), ValueError,
         "expected tensors of one shape, got (2, 3), (3,)"),
        (lambda d: minidl.stack([zeros(d, 2)], 2), ValueError, "axis 2 does not exist in a tensor of 2 dimension"),
    ],
    "split": [
        *no_axis(lambda x, axis: x.split(1, axis)),
        (lambda d: zeros(d, 5).split([2, 2]), ValueError, "sizes [2, 2] do not add up to the 5 of axis 0"),
        (lambda d: zeros(d, 5).split(2.5), TypeError, "expected a size or a sequence of sizes, got 2.5"),
    ],
    "flip": no_axis(lambda x, axis: x.flip(axis)),
    "roll": [
        *no_axis(lambda x, axis: x.roll(1, axis)),
        (lambda d: images(d).roll((1, 2)), ValueError,
         "expected one shift for each axis, got shift (1, 2) and axis None"),
    ],
    "tile": [
        (lambda d: zeros(d, 3).tile(-1), ValueError, "expected numbers of at least 0, got (-1,)"),
        (lambda d: zeros(d, 3).tile(None), TypeError, "expected whole numbers, got (None,)"),
    ],
    "repeat": [
        *no_axis(lambda x, axis: x.repeat(2, axis=axis)),
        (lambda d: images(d).repeat(2, 1, 1, 1), TypeError,
         "name the axis whose slices are repeated, as in x.repeat(2, axis=0); ... PyTorch's ... use x.tile(2)"),
        (lambda d: images(d).repeat([1, 2], axis=1), ValueError,
         "expected 5 counts of at least 0, one a slice of axis 1, got [1, 2]"),
    ],
    "pad": [
        *no_tensor(lambda d, wrong: F.pad(wrong, 1)),
        (lambda d: F.pad(images(d), (1, 1, 2, 2)), ValueError,
         "expected 4 pairs ... got (1, 1, 2, 2). PyTorch's (left, right, top, bottom) is written ((top, bottom), "),
        (lambda d: F.pad(images(d), 1, "edge"), ValueError, "mode must be one of constant, ... got 'edge'"),
        (lambda d: F.pad(images(d), 5, "reflect"), ValueError,
         "mode 'reflect' can add at most 4 to a side of axis 1, which has size 5; got widths (5, 5)"),
    ],
}  # fmt: skip

INDEXING: dict[str, Calls] = {
    "getitem": [
        (lambda d: zeros(d, 2, 3)[2], IndexError, "... 2 ... out of bounds ..., in a tensor of shape (2, 3)"),
        (lambda d: zeros(d, 2, 3)[0, 0, 0], IndexError, "...oo many indices ..., in a tensor of shape (2, 3)"),
        (lambda d: zeros(d, 2, 3)[1.0], IndexError,
         "expected integers, slices, None, ... and integer or boolean arrays, got 1.0, in a tensor of shape (2, 3)"),
        (lambda d: zeros(d, 3, 3)[[0, 1], [0, 1, 2]], IndexError, "... broadcast..., in a tensor of shape (3, 3)"),
        (lambda d: zeros(d, 2, 3)[:, "a"], IndexError, "expected integers, ... got 'a', in a tensor of shape (2, 3)"),
    ],
    "gather": [
        *no_axis(lambda x, axis: x.gather(axis, x.astype(int))),
        (lambda d: zeros(d, 2, 3).gather(1, given(d, 0, 1)), ValueError,
         "expected an index with the axes of the input (2, 3), no larger except on axis 1, got shape (2,)"),
        (lambda d: zeros(d, 2).gather(0, [1]), TypeError, "expected a Tensor or an array, got list"),
        (lambda d: zeros(d, 2).gather(0, zeros(d, 2)), TypeError, "expected integers as index, got float64"),
        (lambda d: zeros("cpu", 2, 3).gather(1, given("cpu", [3])), IndexError,  # only there it is looked at
         "index 3 does not exist on axis 1 of shape (2, 3)"),
    ],
    "take_along_axis": [
        *no_axis(lambda x, axis: x.take_along_axis(x.astype(int), axis)),
        (lambda d: zeros(d, 2, 3).take_along_axis(zeros(d, 2, 3).argmax(1), 1), ValueError,
         "expected indices with the 2 axes of (2, 3), got shape (2,)"),
        (lambda d: zeros(d, 2, 3).take_along_axis(given(d, [0], [0], [0]), 1), ValueError, "shapes do not broadcast: "),
    ],
    "index_select": [
        *no_axis(lambda x, axis: x.index_select(axis, given(x.device, 0))),
        (lambda d: zeros(d, 2, 3).index_select(1, given(d, [0], [1])), ValueError,
         "expected a vector of indices, got shape (2, 1)"),
        (lambda d: zeros("cpu", 2).index_select(0, given("cpu", 2)), IndexError, "index 2 does not exist on axis 0"),
    ],
    "index_add": [
        (lambda d: zeros(d, 2, 3).index_add(1, given(d, 0, 1), zeros(d, 2, 3)), ValueError,
         "for 2 indices along axis 1 of (2, 3) expected a source of shape (2, 2), got (2, 3)"),
        (lambda d: zeros(d, 2).index_add(0, given(d, 1), [1.0]), TypeError, "expected a Tensor or an array, got list"),
        *two_precisions("source", lambda d: zeros(d, 2, dtype="float32").index_add(0, given(d, 1), zeros(d, 1))),
    ],
    "embedding": [
        *no_tensor(lambda d, wrong: F.embedding(wrong, zeros(d, 10, 3))),
        (lambda d: F.embedding(zeros(d, 2), zeros(d, 10, 3)), TypeError, "expected integers as index, got float64"),
        (lambda d: F.embedding(given(d, 1, 2), zeros(d, 10)), ValueError,
         "expected a weight (V, D), one row for each integer, got shape (10,)"),
        (lambda d: F.embedding(given(d, 1, 2), zeros(d, 10, 3), padding_idx=10), ValueError,
         "padding_idx=10 is not one of the 10 rows of the weight"),
        (lambda d: F.embedding(given("cpu", 1, 10), zeros("cpu", 10, 3)), IndexError,
         "index 10 does not exist on axis 0 of shape (10, 3)"),
    ],
    "one_hot": [
        *no_tensor(lambda d, wrong: F.one_hot(wrong)),
        (lambda d: F.one_hot(zeros(d, 2)), TypeError, "expected integers as index, got float64"),
        (lambda d: F.one_hot(given(d, 0, 1), 0), ValueError,
         "expected num_classes of at least 1, or -1 to count them, got 0"),
        (lambda d: F.one_hot(given("cpu", 0, 3), 3), ValueError,
         "class 3 does not exist among 3 classes, numbered from 0"),
    ],
}  # fmt: skip

# ------------------------------------------------------------------------------------------------- over whole axes

REDUCTIONS: dict[str, Calls] = {
    **{op: no_reduction(op) for op in ("sum", "mean", "std", "prod", "any", "all")},
    "var": [
        *no_reduction("var"),
        (lambda d: zeros(d, 2).var(correction="1"), TypeError, "correction must be a number, got '1'"),
    ],
    "norm": [
        *no_axis(lambda x, axis: x.norm(axis=axis)),
        (lambda d: zeros(d, 2, 3).norm("fro"), TypeError,
         "ord must be a number, got 'fro'; the Frobenius norm is ord=2 over all axes"),
        (lambda d: zeros(d, 2, 0).norm(np.inf, axis=1), ValueError,
         "no elements along axis 1 of shape (2, 0), and ord inf has no value for none"),
    ],
    "cumsum": [
        *no_axis(lambda x, axis: x.cumsum(axis)),
        (lambda d: zeros(d, 2, 3).cumsum((0, 1)), ValueError, "axis (0, 1) does not exist"),
    ],
    **{
        op: [
            *no_reduction(op),
            (lambda d, op=op: getattr(zeros(d, 2, 0), op)(axis=1), ValueError,
             "no elements to choose from along axis 1 of shape (2, 0)"),
        ]
        for op in ("max", "min", "argmax", "argmin")
    },
    "sort": [
        *no_axis(lambda x, axis: x.sort(axis)),
        (lambda d: zeros(d, 2, 3).sort(None), ValueError, "axis None does not exist in a tensor of 2"),
    ],
    "argsort": no_axis(lambda x, axis: x.argsort(axis)),
    "topk": [
        *no_axis(lambda x, axis: x.topk(1, axis)),
        (lambda d: zeros(d, 2, 3).topk(5), ValueError,
         "expected k to be from 0 to 3, for axis -1 of shape (2, 3), got 5"),
        (lambda d: zeros(d, 3).topk(-1), ValueError, "expected k to be from 0 to 3, ... got -1"),
    ],
}  # fmt: skip

PRODUCTS: dict[str, Calls] = {
    "matmul": [
        *no_operand(lambda d, wrong: zeros(d, 2, 3) @ wrong),
        (lambda d: zeros(d, 2, 3) @ 2, ValueError, "expected at least one dimension; use * to multiply by a scalar"),
        (lambda d: zeros(d, 2, 3) @ zeros(d, 2, 3), ValueError,
         "shapes (2, 3) and (2, 3) do not fit: the inner sizes differ"),
    ],
    "outer": [
        *no_tensor(lambda d, wrong: minidl.outer(zeros(d, 2), wrong)),
        (lambda d: minidl.outer(zeros(d, 2, 1), zeros(d, 3)), ValueError,
         "expected two vectors, got shapes (2, 1) and (3,)"),
    ],
    "einsum": [
        *no_tensor(lambda d, wrong: minidl.einsum("i,i", zeros(d, 2), wrong)),
        (lambda d: minidl.einsum(zeros(d, 2), zeros(d, 2)), TypeError,
         "expected an equation such as 'ij,jk->ik', got Tensor"),
        (lambda d: minidl.einsum("ij,jk", zeros(d, 2, 3)), ValueError, "'ij,jk' describes 2 operand(s), got 1"),
        (lambda d: minidl.einsum("ij,jk->ik", zeros(d, 2, 3), zeros(d, 4, 5)), ValueError,
         "the sizes of index 'j' differ in shapes (2, 3), (4, 5)"),
        (lambda d: minidl.einsum("nchw->nhwc", zeros(d, 2, 3)), ValueError,
         "'nchw' in 'nchw->nhwc' does not name the 2 axes of its operand"),
    ],
    "linear": [
        *no_tensor(lambda d, wrong: F.linear(wrong, zeros(d, 3, 4))),
        (lambda d: F.linear(zeros(d, 2, 3), zeros(d, 3, 4), [0.0] * 4), TypeError,
         "expected a Tensor or an array, got list"),
        (lambda d: F.linear(zeros(d, 2, 3), zeros(d, 4, 3)), ValueError,
         "input (2, 3) does not fit weight (4, 3); expected (..., I) and (I, O)"),
        (lambda d: F.linear(zeros(d, 2, 3), zeros(d, 3, 4), zeros(d, 3)), ValueError,
         "expected a bias of shape (4,), got (3,)"),
        *two_precisions("weight", lambda d: F.linear(zeros(d, 2, 3, dtype="float32"), zeros(d, 3, 4))),
    ],
}  # fmt: skip

# --------------------------------------------------------------------------------------------------- activations

ACTIVATIONS: dict[str, Calls] = {
    **{
        op: no_tensor(lambda d, wrong, op=op: getattr(F, op)(wrong))
        for op in (
            "relu", "relu6", "hardtanh", "hardsigmoid", "leaky_relu", "elu", "selu", "sigmoid", "logsigmoid", "tanh",
            "softplus", "silu", "gelu", "mish", "hardswish", "softmax", "log_softmax",
        )
    },
    "prelu": [
        (lambda d: F.prelu(zeros(d, 2), 0.25), TypeError, "expected a Tensor or an array, got float"),
        (lambda d: F.prelu(channels_first(d), zeros(d, 4)), ValueError,
         "for input (2, 4, 5, 6) expected a weight of shape (1,) or (6,), got (4,)"),
        *two_precisions("weight", lambda d: F.prelu(zeros(d, 2, dtype="float32"), zeros(d, 1))),
    ],
    "logsumexp": [
        *no_tensor(lambda d, wrong: F.logsumexp(wrong, 0)),
        *no_axis(F.logsumexp),
        (lambda d: F.logsumexp(zeros(d, 2), None), ValueError, "expected at least one axis, got dim=None"),
    ],
}  # fmt: skip
ACTIVATIONS["hardtanh"] += [
    (lambda d: F.hardtanh(zeros(d, 2), 1, -1), ValueError, "min_val must not be above max_val, got 1 and -1"),
    (lambda d: F.hardtanh(zeros(d, 2), (0, 6)), TypeError, "min_val must be a number, got (0, 6)"),
]
ACTIVATIONS["leaky_relu"] += [
    (lambda d: F.leaky_relu(zeros(d, 2), zeros(d, 2)), TypeError, "negative_slope must be a number, got Tensor"),
]
ACTIVATIONS["elu"] += [(lambda d: F.elu(zeros(d, 2), None), TypeError, "alpha must be a number, got None")]
ACTIVATIONS["softplus"] += [
    (lambda d: F.softplus(zeros(d, 2), beta=0), ValueError, "expected a beta other than 0"),
    (lambda d: F.softplus(zeros(d, 2), threshold="20"), TypeError, "threshold must be a number, got '20'"),
]
ACTIVATIONS["gelu"] += [
    (lambda d: F.gelu(zeros(d, 2), approximate=True), ValueError, 'approximate must be "none" or "tanh", got True'),
]
for _softmax in (F.softmax, F.log_softmax):
    ACTIVATIONS[_softmax.__name__] += [
        *no_axis(_softmax),
        (lambda d, f=_softmax: f(zeros(d, 2), dtype=int), TypeError, "dtype must be a floating dtype, got int64"),
        (lambda d, f=_softmax: f(zeros(d, 2), dtype="half32"), TypeError, "expected a dtype ... got 'half32'"),
    ]

# -------------------------------------------------------------------------------------------------------- images

IMAGES: dict[str, Calls] = {
    "conv2d": [
        *no_tensor(lambda d, wrong: F.conv2d(wrong, filters(d))),
        (lambda d: F.conv2d(channels_first(d), filters(d)), ValueError,
         "input (2, 4, 5, 6) has 6 channels on its last axis, weight (3, 3, 4, 8) expects 4; images are (N, H, W, C)"),
        (lambda d: F.conv2d(images(d), zeros(d, 8, 4, 3, 3)), ValueError,
         "input (2, 5, 6, 4) has 4 channels on its last axis, weight (8, 4, 3, 3) expects 3; images are (N, H, W, C) "
         "and the weight is (KH, KW, C/groups, F)"),
        (lambda d: F.conv2d(images(d)[0], filters(d)), ValueError,
         "expected images (N, H, W, C) and a weight (KH, KW, C/groups, F), ... got (5, 6, 4) and (3, 3, 4, 8)"),
        (lambda d: F.conv2d(images(d), zeros(d, 7, 3, 4, 8)), ValueError,
         "a window of 7×3 does not fit into an image of 5×6 padded to 5×6"),
        (lambda d: F.conv2d(images(d), filters(d), padding="full"), ValueError,
         """padding must be numbers, "same" or "valid"; got 'full'"""),
        (lambda d: F.conv2d(images(d), filters(d), groups=3), ValueError,
         "groups=3 must divide the 4 channels and the 8 filters"),
        *two_precisions("weight", lambda d: F.conv2d(images(d, "float32"), filters(d))),
        (lambda d: F.conv2d(images(d), filters(d), algorithm="gemm"), ValueError,
         "algorithm must be one of 'auto', 'im2col', 'winograd', 'naive'; got 'gemm'"),
        (lambda d: F.conv2d(images(d), filters(d), stride=2, algorithm="winograd"), ValueError,
         'algorithm="winograd" computes 3×3 filters with stride 1, dilation 1 and groups=1, got filters of 3×3 with '
         'stride (2, 2), dilation (1, 1) and groups=1; "auto" uses it where it can'),
        (lambda d: F.conv2d(images(d), filters(d), padding=1, add=zeros(d, 8)), ValueError,
         "expected something of shape (2, 5, 6, 8) to add to the result, got add of shape (8,)"),
        (lambda d: F.conv2d(images(d), filters(d), add=0.0), TypeError, "expected a Tensor or an array, got float"),
        *two_precisions(
            "add",
            lambda d: F.conv2d(images(d, "float32"), zeros(d, 1, 1, 4, 4, dtype="float32"), add=images(d)),
        ),
    ],
    "conv_transpose2d": [
        *no_tensor(lambda d, wrong: F.conv_transpose2d(images(d), wrong)),
        (lambda d: F.conv_transpose2d(images(d), filters(d)), ValueError,
         "input (2, 5, 6, 4) has 4 channels on its last axis, weight (3, 3, 4, 8) expects 8; images are (N, H, W, C) "
         "and the weight is (KH, KW, F/groups, C)"),
        (lambda d: F.conv_transpose2d(images(d), zeros(d, 2, 2, 8, 4), stride=2, output_padding=2), ValueError,
         "output_padding must be less than the stride (2, 2) or the dilation (1, 1), got 2"),
        (lambda d: F.conv_transpose2d(images(d), zeros(d, 2, 2, 8, 4), zeros(d, 4)), ValueError,
         "expected a bias of shape (8,), one a filter, got (4,)"),
    ],
    "unfold": [
        *no_tensor(lambda d, wrong: F.unfold(wrong, 2)),
        (lambda d: F.unfold(images(d)[0], 2), ValueError, "expected images (N, H, W, C), got shape (5, 6, 4)"),
        (lambda d: F.unfold(images(d), 7), ValueError, "a window of 7×7 does not fit into an image of 5×6"),
        (lambda d: F.unfold(images(d), 2, stride=0), ValueError,
         "stride must be an integer or a pair of integers, at least 1; got 0"),
    ],
    "fold": [
        *no_tensor(lambda d, wrong: F.fold(wrong, 3, 2)),
        (lambda d: F.fold(zeros(d, 2, 16, 20), (5, 6), 2), ValueError,
         "images of 5×6 have 4·5 windows of 2×2; expected (N, 20, 4·C), got shape (2, 16, 20)"),
    ],
    "max_pool2d": [
        *no_tensor(lambda d, wrong: F.max_pool2d(wrong, 2)),
        (lambda d: F.max_pool2d(images(d)[0], 2), ValueError,
         "expected images (N, H, W, C) of at least one pixel, got shape (5, 6, 4)"),
        (lambda d: F.max_pool2d(images(d), 3, padding=2), ValueError,
         "padding may be at most half the kernel 3, got 2"),
        (lambda d: F.max_pool2d(images(d), (3, 3, 1)), ValueError,
         "kernel_size must be an integer or a pair of integers, at least 1; got (3, 3, 1)"),
    ],
    "avg_pool2d": [
        *no_tensor(lambda d, wrong: F.avg_pool2d(wrong, 2)),
        (lambda d: F.avg_pool2d(images(d), 1.5), ValueError, "kernel_size must be ... got 1.5"),
        (lambda d: F.avg_pool2d(images(d), 6), ValueError, "a window of 6×6 does not fit into an image of 5×6"),
        (lambda d: F.avg_pool2d(images(d), 2, divisor_override=0), ValueError,
         "divisor_override must be an integer other than 0, got 0"),
    ],
    "lp_pool2d": [
        *no_tensor(lambda d, wrong: F.lp_pool2d(wrong, 2, 2)),
        (lambda d: F.lp_pool2d(images(d), 0, 2), ValueError, "norm_type must be a number other than 0, got 0"),
        (lambda d: F.lp_pool2d(images(d), 2, None), ValueError, "kernel_size must be ... got None"),
    ],
    "adaptive_avg_pool2d": [
        *no_tensor(lambda d, wrong: F.adaptive_avg_pool2d(wrong, 1)),
        (lambda d: F.adaptive_avg_pool2d(zeros(d, 2, 20), 1), ValueError,
         "expected images (N, H, W, C) of at least one pixel, got shape (2, 20)"),
        (lambda d: F.adaptive_avg_pool2d(images(d), 2.0), ValueError,
         "output_size must be an integer of at least 0 or None, or a pair of those; got 2.0"),
    ],
    "adaptive_max_pool2d": [
        *no_tensor(lambda d, wrong: F.adaptive_max_pool2d(wrong, 1)),
        (lambda d: F.adaptive_max_pool2d(images(d), (1, 1, 1)), ValueError, "output_size must be ... got (1, 1, 1)"),
        (lambda d: F.adaptive_max_pool2d(images(d).astype(bool), 1), TypeError,
         "expected images of numbers, got bool; convert them, with x.astype("),
    ],
    "interpolate": [
        *no_tensor(lambda d, wrong: F.interpolate(wrong, 2)),
        (lambda d: F.interpolate(images(d)), ValueError, "expected size or scale_factor, got neither"),
        (lambda d: F.interpolate(images(d), 2, mode="linear"), ValueError,
         "mode 'linear' resizes (N, W, C), none of these sizes 0; got shape (2, 5, 6, 4)"),
        (lambda d: F.interpolate(images(d), 2, mode="cubic"), ValueError,
         "mode must be one of nearest, nearest-exact, linear, ... got 'cubic'"),
        (lambda d: F.interpolate(images(d), (2, 3, 4)), ValueError,
         "size must be one or 2 positive whole numbers, got (2, 3, 4)"),
    ],
    "pixel_shuffle": [
        *no_tensor(lambda d, wrong: F.pixel_shuffle(wrong, 2)),
        (lambda d: F.pixel_shuffle(channels_first(d), 2), ValueError,
         "upscale_factor 2 needs 4·C channels on the last axis, got (2, 4, 5, 6)"),
        (lambda d: F.pixel_shuffle(images(d), 2.0), ValueError,
         "upscale_factor must be an integer of at least 1, got 2.0"),
    ],
    "pixel_unshuffle": [
        *no_tensor(lambda d, wrong: F.pixel_unshuffle(wrong, 2)),
        (lambda d: F.pixel_unshuffle(images(d), 2), ValueError,
         "downscale_factor 2 must divide height and width of (N, H, W, C), got (2, 5, 6, 4)"),
        (lambda d: F.pixel_unshuffle(zeros(d, 2, 4), 2), ValueError,
         "expected images (N, H, W, C), got shape (2, 4)"),
    ],
}  # fmt: skip

# ----------------------------------------------------------------------------------------- normalisation, dropout

NORMS: dict[str, Calls] = {
    "batch_norm": [
        *no_tensor(lambda d, wrong: F.batch_norm(wrong, None, None, training=True)),
        (lambda d: F.batch_norm(channels_first(d), zeros(d, 4), zeros(d, 4)), ValueError,
         "input (2, 4, 5, 6) has 6 channels on its last axis, running_mean is (4,)"),
        (lambda d: F.batch_norm(images(d), None, None), ValueError,
         "running_mean and running_var are needed to normalise by"),
        (lambda d: F.batch_norm(zeros(d, 1, 4), None, None, training=True), ValueError,
         "training needs more than one value a channel, input (1, 4) has 1"),
        (lambda d: F.batch_norm(images(d), np.zeros(4), np.ones(4)), TypeError,
         "running_mean must be a Tensor, for it is updated; got ndarray"),
        *two_precisions("weight", lambda d: F.batch_norm(images(d, "float32"), None, None, zeros(d, 4), training=True)),
        (lambda d: F.batch_norm(images(d), None, None, training=True, add=zeros(d, 2, 1, 1, 4)), ValueError,
         "expected something of shape (2, 5, 6, 4) to add to the result, got add of shape (2, 1, 1, 4)"),
        *two_precisions("add", lambda d: F.batch_norm(images(d, "float32"), None, None, training=True, add=images(d))),
    ],
    "layer_norm": [
        *no_tensor(lambda d, wrong: F.layer_norm(wrong, 2)),
        (lambda d: F.layer_norm(images(d), (5, 6)), ValueError,
         "input (2, 5, 6, 4) does not end in normalized_shape (5, 6)"),
        (lambda d: F.layer_norm(images(d), (6, 4), zeros(d, 4)), ValueError,
         "expected a weight of normalized_shape (6, 4), got (4,)"),
        (lambda d: F.layer_norm(images(d), None), ValueError,
         "normalized_shape must be an integer or a tuple of them, got None"),
        *two_precisions("bias", lambda d: F.layer_norm(images(d, "float32"), 4, None, zeros(d, 4))),
    ],
    "group_norm": [
        *no_tensor(lambda d, wrong: F.group_norm(wrong, 2)),
        (lambda d: F.group_norm(channels_first(d), 4), ValueError,
         "num_groups=4 must divide the 6 channels on the last axis of (2, 4, 5, 6)"),
        (lambda d: F.group_norm(zeros(d, 4), 2), ValueError,
         "expected (N, ..., C), channels on the last axis, got shape (4,)"),
        (lambda d: F.group_norm(images(d), 2, eps="1"), TypeError, "eps must be a number, got '1'"),
    ],
    "instance_norm": [
        *no_tensor(lambda d, wrong: F.instance_norm(wrong)),
        (lambda d: F.instance_norm(channels_first(d), weight=zeros(d, 4)), ValueError,
         "input (2, 4, 5, 6) has 6 channels on its last axis, weight is (4,)"),
        (lambda d: F.instance_norm(zeros(d, 2, 4)), ValueError,
         "needs more than one value a channel in each sample, input (2, 4) has one"),
        (lambda d: F.instance_norm(images(d), zeros(d, 4)), ValueError,
         "running_mean and running_var must both be given, or both be None"),
    ],
    "rms_norm": [
        *no_tensor(lambda d, wrong: F.rms_norm(wrong, 2)),
        (lambda d: F.rms_norm(channels_first(d), 4), ValueError,
         "input (2, 4, 5, 6) does not end in normalized_shape (4,)"),
        *two_precisions("weight", lambda d: F.rms_norm(images(d, "float32"), 4, zeros(d, 4))),
    ],
    "local_response_norm": [
        *no_tensor(lambda d, wrong: F.local_response_norm(wrong, 2)),
        (lambda d: F.local_response_norm(images(d), 0), ValueError, "size must be an integer of at least 1, got 0"),
        (lambda d: F.local_response_norm(images(d), 2, alpha=None), TypeError, "alpha must be a number, got None"),
    ],
    "normalize": [
        *no_tensor(lambda d, wrong: F.normalize(wrong)),
        *no_axis(lambda x, axis: F.normalize(x, dim=axis)),
        (lambda d: F.normalize(zeros(d, 2), p="fro"), TypeError, "p must be a number, got 'fro'"),
    ],
    **{
        op: [
            *no_tensor(lambda d, wrong, op=op: getattr(F, op)(wrong)),
            *(
                (lambda d, op=op, p=p: getattr(F, op)(images(d), p), ValueError,
                 f"expected a probability from 0 to 1, got p={p!r}")
                for p in (50, -0.1, "0.5")
            ),
        ]
        for op in ("dropout", "dropout2d")
    },
}  # fmt: skip
NORMS["dropout2d"] += [
    (lambda d: F.dropout2d(images(d)[0]), ValueError,
     "expected images (N, H, W, C), got shape (5, 6, 4); for one image write x[None]"),
]  # fmt: skip

# ---------------------------------------------------------------------------------------------------------- losses

LOSSES: dict[str, Calls] = {
    op: [
        *no_tensor(lambda d, wrong, op=op: getattr(F, op)(zeros(d, 3), wrong)),
        (lambda d, op=op: getattr(F, op)(zeros(d, 3, 1), zeros(d, 3)), ValueError,
         "input (3, 1) and target (3,) must have one shape; nothing broadcasts"),
        (lambda d, op=op: getattr(F, op)(zeros(d, 3), zeros(d, 3), reduction="average"), ValueError,
         """reduction must be "mean", "sum"... got 'average'"""),
    ]
    for op in (
        "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
        "binary_cross_entropy_with_logits", "kl_div",
    )
}  # fmt: skip
LOSSES["mse_loss"] += [
    (lambda d: F.mse_loss(zeros(d, 3, 4), zeros(d, 3, 4), weight=zeros(d, 4)), ValueError,
     "input (3, 4) and weight (4,) must have one shape; nothing broadcasts"),
]  # fmt: skip
LOSSES["smooth_l1_loss"] += [
    (lambda d, beta=beta: F.smooth_l1_loss(zeros(d, 3), zeros(d, 3), beta=beta), ValueError,
     f"expected beta of at least 0, got {beta}")
    for beta in (-1.0, None)
]  # fmt: skip
LOSSES["huber_loss"] += [
    (lambda d, delta=delta: F.huber_loss(zeros(d, 3), zeros(d, 3), delta=delta), ValueError,
     f"expected delta above 0, got {delta}")
    for delta in (0, None)
]  # fmt: skip
LOSSES["binary_cross_entropy"] += [
    (lambda d: F.binary_cross_entropy(zeros("cpu", 3) + 1.5, zeros("cpu", 3)), ValueError,
     "expected inputs from 0 to 1, got 1.5"),
]  # fmt: skip
LOSSES["binary_cross_entropy_with_logits"] += [
    (lambda d: F.binary_cross_entropy_with_logits(zeros(d, 3, 4), zeros(d, 3, 4), pos_weight=zeros(d, 3)), ValueError,
     "shapes do not broadcast: (3,), (3, 4)"),
]  # fmt: skip

CROSS_ENTROPIES: dict[str, Calls] = {
    op: [
        *no_tensor(lambda d, wrong, op=op: getattr(F, op)(wrong, [1])),
        (lambda d, op=op: getattr(F, op)(channels_first(d), zeros(d, 2, 5, 6).astype(int)), ValueError,
         "for scores (2, 4, 5, 6) expected class indices of shape (2, 4, 5), got (2, 5, 6); classes are on the last"),
        (lambda d, op=op: getattr(F, op)(zeros(d, 3, 4), given(d, 0, 1, 2), weight=zeros(d, 3)), ValueError,
         "expected a weight of shape (4,), one a class, got (3,)"),
        (lambda d, op=op: getattr(F, op)(zeros(d, 3, 4), given(d, 0, 1, 2), ignore_index=None), TypeError,
         "expected a whole number as ignore_index, got None"),
        (lambda d, op=op: getattr(F, op)(zeros(d, 3, 4), given(d, 0, 1, 2), reduction="batchmean"), ValueError,
         """reduction must be "mean", "sum" or "none", got 'batchmean'"""),
        (lambda d, op=op: getattr(F, op)(zeros("cpu", 3, 4), given("cpu", 0, 4, 1)), ValueError,
         "class 4 does not exist among 4 classes"),
    ]
    for op in ("cross_entropy", "nll_loss")
}  # fmt: skip
CROSS_ENTROPIES["cross_entropy"] += [
    (lambda d: F.cross_entropy(zeros(d, 3, 4), zeros(d, 3)), ValueError,
     "probabilities must have the shape of x, (3, 4), got (3,); class indices are integers"),
    *(
        (lambda d, wrong=wrong: F.cross_entropy(zeros(d, 3, 4), given(d, 0, 1, 2), label_smoothing=wrong), ValueError,
         f"expected a probability from 0 to 1, got label_smoothing={wrong!r}")
        for wrong in (1.1, "0.1")
    ),
]  # fmt: skip
CROSS_ENTROPIES["nll_loss"] += [
    (lambda d: F.nll_loss(zeros(d, 3, 4), zeros(d, 3)), TypeError,
     "expected class indices, which are integers, got a target of float64"),
]  # fmt: skip

# -------------------------------------------------------------------------------------------------------- all of them


def answer(name: str, message: str) -> str:
    """A regular expression: the operator's name, and the message, in which "..." stands for any text."""
    return "^" + re.escape(f"{COMPARISONS.get(name, name)}: {message}").replace(re.escape("..."), ".*")


def with_answers(groups: Iterable[dict[str, Calls]]) -> dict[str, Calls]:
    return {
        name: [(call, kind, answer(name, message)) for call, kind, message in calls]
        for group in groups
        for name, calls in group.items()
    }


WRONG_CALLS = with_answers(
    [ELEMENTS, SHAPES, INDEXING, REDUCTIONS, PRODUCTS, ACTIVATIONS, IMAGES, NORMS, LOSSES, CROSS_ENTROPIES]
)

# Operands on two devices. The answer says where each is.
TWO_DEVICES: dict[str, Callable[[str, str], Any]] = {
    "add": lambda here, there: zeros(here, 2) + zeros(there, 2),
    "subtract": lambda here, there: zeros(here, 2) - zeros(there, 2),
    "multiply": lambda here, there: zeros(here, 2) * zeros(there, 2).data,
    "divide": lambda here, there: zeros(here, 2) / zeros(there, 2),
    "power": lambda here, there: zeros(here, 2) ** zeros(there, 2),
    "equal": lambda here, there: zeros(here, 2) == zeros(there, 2),
    "less": lambda here, there: zeros(here, 2) < zeros(there, 2).data,
    "where": lambda here, there: minidl.where(zeros(here, 2) > 0, zeros(there, 2), 0.0),
    "maximum": lambda here, there: minidl.maximum(zeros(here, 2), zeros(there, 2)),
    "minimum": lambda here, there: minidl.minimum(zeros(here, 2), zeros(there, 2)),
    "clip": lambda here, there: zeros(here, 2).clip(zeros(there, 2)),
    "concatenate": lambda here, there: minidl.concatenate([zeros(here, 2), zeros(there, 2)]),
    "stack": lambda here, there: minidl.stack([zeros(here, 2), zeros(there, 2)]),
    "getitem": lambda here, there: zeros(here, 2)[given(there, 0)],
    "gather": lambda here, there: zeros(here, 2).gather(0, given(there, 0)),
    "take_along_axis": lambda here, there: zeros(here, 2).take_along_axis(given(there, 0)),
    "index_select": lambda here, there: zeros(here, 2).index_select(0, given(there, 0)),
    "index_add": lambda here, there: zeros(here, 2).index_add(0, given(here, 0), zeros(there, 1)),
    "matmul": lambda here, there: zeros(here, 2, 3) @ zeros(there, 3, 4),
    "outer": lambda here, there: minidl.outer(zeros(here, 2), zeros(there, 3)),
    "einsum": lambda here, there: minidl.einsum("i,i", zeros(here, 2), zeros(there, 2)),
    "linear": lambda here, there: F.linear(zeros(here, 2, 3), zeros(here, 3, 4), zeros(there, 4)),
    "prelu": lambda here, there: F.prelu(zeros(here, 2), zeros(there, 1)),
    "conv2d": lambda here, there: F.conv2d(images(here), filters(there)),
    "conv_transpose2d": lambda here, there: F.conv_transpose2d(images(here), zeros(there, 3, 3, 8, 4)),
    "batch_norm": lambda here, there: F.batch_norm(images(here), zeros(there, 4), zeros(there, 4)),
    "layer_norm": lambda here, there: F.layer_norm(images(here), 4, bias=zeros(there, 4)),
    "group_norm": lambda here, there: F.group_norm(images(here), 2, zeros(there, 4)),
    "instance_norm": lambda here, there: F.instance_norm(images(here), bias=zeros(there, 4)),
    "rms_norm": lambda here, there: F.rms_norm(images(here), 4, zeros(there, 4)),
    "embedding": lambda here, there: F.embedding(given(here, 0), zeros(there, 3, 2)),
    **{op: lambda here, there, op=op: getattr(F, op)(zeros(here, 2), zeros(there, 2)) for op in LOSSES},
    "cross_entropy": lambda here, there: F.cross_entropy(zeros(here, 2, 3), given(there, 0, 1).data),
    "nll_loss": lambda here, there: F.nll_loss(zeros(here, 2, 3), given(here, 0, 1), zeros(there, 3)),
}
