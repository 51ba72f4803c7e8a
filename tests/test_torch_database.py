"""PyTorch's own sample inputs for each operator that minidl has: values and first gradients agree.

`torch.testing._internal.common_methods_invocations.op_db` is what PyTorch tests itself with: for each operator, inputs
that have once been thought of as hard. How many ran, and what was left out and why, is printed after the tests.
"""

import functools
import warnings
from collections import Counter

import numpy as np
import pytest
import report
from torch_database import CALLS, LeftOut, Sample, pair

import minidl
from minidl import Tensor
from minidl.tensor import raw

pytestmark = pytest.mark.torch
FLOATING = {"float64": 1e-9, "float32": 1e-4}  # dtype: tolerance
WHOLE = dict.fromkeys(["int64", "int32", "int16", "int8", "uint8", "bool"], 1e-5)
LESS_EXACT = {"nn.functional.hardsigmoid": 1e-7}  # PyTorch's sixth is that of float32, in float64 too
RANDOM = {"nn.functional.dropout", "nn.functional.dropout2d"}  # what is drawn differs; what is drawn from must not
ran, left_out = Counter(), Counter()


@functools.cache
def database():
    """{name, with the variant where there is one: PyTorch's entry}"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {f"{op.name} {op.variant_test_name}".strip(): op for op in op_db}


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="module", autouse=True)
def said_afterwards():
    yield
    if ran:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in left_out.most_common()) or "none"
        report.lines.append(
            f"PyTorch's operator database: {ran.total():,} samples of {len(ran)} operators agree in values and first "
            f"gradients; left out: {reasons}; and dtypes that minidl has not: complex ones, bfloat16, float16 (it "
            "stores them, but does not compute in them), whole numbers in operators of networks (it makes them float32)"
        )


def of_networks(name):
    return name.startswith("nn.functional.") and name != "nn.functional.one_hot"


CASES = [(name, dtype) for name in CALLS for dtype in (FLOATING if of_networks(name) else FLOATING | WHOLE)]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_samples(name, dtype, torch):
    entry = database()[name]
    kind = getattr(torch, dtype)
    if not entry.supports_dtype(kind, "cpu"):
        assert dtype in WHOLE or name == "nn.functional.one_hot", "PyTorch has this operator"
        return
    differentiable = entry.supports_autograd and kind.is_floating_point
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about deprecated options
        for i, sample in enumerate(entry.sample_inputs("cpu", kind, requires_grad=differentiable)):
            run(torch, name, dtype, entry, sample, f"{name}, sample {i} of {dtype}: {sample.summary()}"[:600])


def run(torch, name, dtype, entry, theirs, which):
    sample = Sample(torch)
    sample.name = entry.name
    try:
        # NumPy says when a power is not a number, in an operator of arrays. In those of networks it may say nothing.
        quiet = {} if of_networks(name) else {"all": "ignore"}
        with warnings.catch_warnings(), np.errstate(**quiet):
            warnings.simplefilter("error")
            ours = CALLS[name](sample, theirs.input, *theirs.args, **theirs.kwargs)
    except LeftOut as reason:
        left_out[str(reason)] += 1
        return
    except Exception as error:
        raise AssertionError(f"{which}\nminidl refused it: {type(error).__name__}: {error}") from error
    expected = entry(theirs.input, *theirs.args, **theirs.kwargs)
    ours = list(ours) if isinstance(ours, tuple | list) else [ours]
    expected = list(expected) if isinstance(expected, tuple | list) else [expected]
    assert len(ours) == len(expected), which
    tolerance = LESS_EXACT.get(name, (FLOATING | WHOLE)[dtype])
    if name in RANDOM:
        compare_law(sample, ours[0], theirs, tolerance, which)
    elif name in ("sort", "argsort", "topk") and not theirs.kwargs.get("stable"):
        compare_order(sample, ours, expected, which)
    else:
        for y, other in zip(ours, expected, strict=True):
            close(in_torch_order(sample, y), other.detach().numpy(), tolerance, which)
    if name not in RANDOM:
        compare_gradients(torch, sample, ours, expected, tolerance, which)
    ran[name] += 1


def in_torch_order(sample, y):
    axes = sample.result_axes(y.ndim) if sample.result_axes else None
    array = raw(y)
    return array if axes is None else array.transpose(axes)


def close(actual, expected, tolerance, which):
    assert actual.shape == expected.shape, which
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=which)


def compare_gradients(torch, sample, ours, expected, tolerance, which):
    pairs = [(y, e) for y, e in zip(ours, expected, strict=True) if e.requires_grad]
    assert [isinstance(y, Tensor) and y.requires_grad for y in ours] == [e.requires_grad for e in expected], which
    if not pairs:
        return
    rng = np.random.default_rng(0)
    upstream = [rng.standard_normal(tuple(e.shape)) for _, e in pairs]
    wanted = [(x, tensor, back) for x, tensor, back in sample.brought if x.requires_grad]
    theirs = torch.autograd.grad(
        [e for _, e in pairs],
        [x for x, _, _ in wanted],
        [torch.tensor(g, dtype=e.dtype) for g, (_, e) in zip(upstream, pairs, strict=True)],
        allow_unused=True,
    )
    mine = minidl.grad(
        [y for y, _ in pairs],
        [tensor for _, tensor, _ in wanted],
        [Tensor(our_order(sample, y, g), dtype=y.dtype) for g, (y, _) in zip(upstream, pairs, strict=True)],
        allow_unused=True,
    )
    for (x, tensor, back), g, e in zip(wanted, mine, theirs, strict=True):
        array = np.zeros(tensor.shape) if g is None else g.numpy()
        array = array if back is None else array.transpose(back)
        close(array, np.zeros(tuple(x.shape)) if e is None else e.numpy(), tolerance, f"gradient: {which}")


def our_order(sample, y, g):
    axes = sample.result_axes(y.ndim) if sample.result_axes else None
    return g if axes is None else g.transpose(np.argsort(axes))


def compare_order(sample, ours, expected, which):
    """Among equal elements PyTorch may take any, unless it is asked for a stable order; minidl's is stable always."""
    ((x, _, _),) = sample.brought
    for y, other in zip(ours, expected, strict=True):
        found, right = raw(y), other.detach().numpy()
        if other is expected[-1]:  # the indices
            values, found, right = (np.atleast_1d(array) for array in (x.detach().numpy(), found, right))
            found, right = (np.take_along_axis(values, indices, sample.axis) for indices in (found, right))
        close(found, right, 0, which)


def compare_law(sample, y, theirs, tolerance, which):
    """What is dropped differs from library to library; but all is 0 or x / (1 − p), and so is the gradient."""
    ((_, x, _),) = sample.brought
    p = theirs.kwargs.get("p", 0.5) if theirs.kwargs.get("training", True) else 0.0
    scale = 0.0 if p == 1 else 1 / (1 - p)
    kept = y.numpy() != 0
    close(y.numpy(), np.where(kept, x.numpy() * scale, 0), tolerance, which)
    assert kept.all() if p == 0 else not kept.any() if p == 1 else True, which
    if y.requires_grad:
        (g,) = minidl.grad(y, x, np.ones(y.shape))
        close(g.numpy(), kept * scale, tolerance, which)


# ---------------------------------------------------------------------------------------------------- nothing forgotten

SAME_NAME_ANOTHER_THING = {
    "norm nuc",  # a norm of matrices
    "div floor_rounding", "div trunc_rounding", "nn.functional.silu complex",  # other operators
    "nn.functional.batch_norm without_cudnn",  # the same samples for GPUs
    "item", "to",  # the ways out of a tensor, and to another device: tests/test_tensor.py
}  # fmt: skip


def test_every_operator_of_minidl_that_pytorch_has_samples_for_is_called(torch):
    """By name: those of minidl.functional, and the methods of Tensor."""
    called = {name.split()[0] for name in CALLS}
    ours = {f"nn.functional.{name}" for name in minidl.functional.__all__}
    ours |= {name for name in vars(Tensor) if not name.startswith("_")}
    variants = {name for name in database() if name.split()[0] in ours | called and name not in CALLS}
    assert variants == SAME_NAME_ANOTHER_THING


def test_the_reasons_to_leave_a_sample_out_are_few():
    assert set(left_out) <= {"without a batch"}
    assert pair((3,)) == 3
