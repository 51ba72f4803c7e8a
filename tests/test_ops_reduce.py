"""Reductions: values and derivatives over every choice of axes, ties, numbers of nothing, wrong calls."""

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value, named
from judge import scattered

import minidl
from minidl import Tensor

AXES = {
    "everything": ((2, 3), None),
    "the first axis": ((2, 3), 0),
    "the last axis": ((2, 3), -1),
    "the middle": ((2, 3, 2), 1),
    "the first of three": ((2, 3, 4), 0),
    "two axes": ((2, 3, 2), (0, 2)),
    "two axes the other way round": ((2, 3, 2), (-1, 1)),
    "all axes by name": ((3, 2), (0, 1)),
    "an axis of one": ((3, 1), 1),
    "one element": ((1, 1), None),
    "a scalar": ((), None),
    "a prime number": ((7,), 0),
    "nothing left over": ((0, 3), 1),
    "nothing added": ((0, 3), 0),
    "no axis": ((2, 2), ()),
}
ALWAYS_SOMETHING = [name for name in AXES if name != "nothing added"]
MORE_THAN_ONE = [
    name for name in ALWAYS_SOMETHING if name not in ("an axis of one", "one element", "a scalar", "no axis")
]


def torch_dims(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def torch_extreme(name):
    return lambda x, axis, keep: getattr(x, f"a{name}")(torch_dims(x, axis), keep)


def torch_prod(x, axis, keep):
    dims = sorted((axis % x.ndim for axis in ([axis] if isinstance(axis, int) else torch_dims(x, axis))), reverse=True)
    for dim in dims:
        x = x.prod(dim, keepdim=keep)
    return x


REDUCTIONS = {  # ours(x, axis, keepdims); NumPy's; PyTorch's
    "sum": (lambda x, axis, keep: x.sum(axis, keep), None, lambda x, axis, keep: x.sum(torch_dims(x, axis), keep)),
    "mean": (
        lambda x, axis, keep: x.mean(axis, keepdims=keep),
        None,
        lambda x, axis, keep: x.mean(torch_dims(x, axis), keep),
    ),
    "var": (
        lambda x, axis, keep: x.var(axis, keep),
        lambda x, axis, keep: x.var(axis=axis, ddof=1, keepdims=keep),
        lambda x, axis, keep: x.var(torch_dims(x, axis), keepdim=keep),
    ),
    "var, correction 0": (
        lambda x, axis, keep: x.var(axis, keep, correction=0),
        lambda x, axis, keep: x.var(axis=axis, keepdims=keep),
        lambda x, axis, keep: x.var(torch_dims(x, axis), correction=0, keepdim=keep),
    ),
    "max": (lambda x, axis, keep: x.max(axis, keep), None, torch_extreme("max")),
    "min": (lambda x, axis, keep: x.min(axis, keep), None, torch_extreme("min")),
    "prod": (lambda x, axis, keep: x.prod(axis, keep), None, torch_prod),
}


def choices(name):
    ours, numpy, torch = REDUCTIONS[name]
    numpy = numpy or (lambda x, axis, keep: getattr(x, name)(axis=axis, keepdims=keep))
    axes = MORE_THAN_ONE if name == "var" else AXES if name in ("sum", "prod") else ALWAYS_SOMETHING
    return {
        f"{choice}{', kept' if keep else ''}": Case(
            *[(lambda x, f=f, axis=AXES[choice][1], keep=keep: f(x, axis, keep)) for f in (ours,)],
            (AXES[choice][0],),
            *[(lambda x, f=f, axis=AXES[choice][1], keep=keep: f(x, axis, keep)) for f in (numpy, torch)],
        )
        for choice in axes
        for keep in (False, True)
    }


CASES = named({name: choices(name) for name in REDUCTIONS})


@pytest.mark.parametrize("name", CASES)
def test_values(name, device):
    check_value(CASES[name], device)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name, device):
    check_derivatives(CASES[name], device)


def torch_warns(name):
    """No axes are all axes there; and it warns of the variance of nothing."""
    return "no axis" in name or ("var" in name and "nothing left over" in name)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in CASES if not torch_warns(name)])
def test_against_torch(name):
    check_torch(CASES[name])


@pytest.mark.parametrize("name", REDUCTIONS)
def test_memory_that_is_not_contiguous(name, device):
    ours = REDUCTIONS[name][0]
    check_derivatives(Case(lambda x: ours(scattered(x), 1, False) * ours(x.T, 0, False), ((2, 3),)), device)


# ---- ties


def gradient(y, x):
    return minidl.grad(y.sum(), x)[0].numpy().tolist()


@pytest.mark.parametrize("op", ["max", "min"])
def test_of_equal_elements_the_first_gets_the_gradient(op, device):
    sign = 1 if op == "max" else -1
    x = Tensor(sign * np.array([[1.0, 3.0, 3.0], [3.0, 0.0, 0.0]]), requires_grad=True, device=device)
    assert gradient(getattr(x, op)(), x) == [[0, 1, 0], [0, 0, 0]]
    assert gradient(getattr(x, op)(axis=1), x) == [[0, 1, 0], [1, 0, 0]]
    assert gradient(getattr(x, op)(axis=0), x) == [[0, 1, 1], [1, 0, 0]]
    assert gradient(getattr(x, op)(axis=(1, 0)), x) == [[0, 1, 0], [0, 0, 0]]
    transposed = x.T  # first in the order of indices, not of memory
    assert gradient(getattr(transposed, op)(), x) == [[0, 0, 0], [1, 0, 0]]


@pytest.mark.torch
@pytest.mark.parametrize("op", ["max", "min"])
def test_ties_along_an_axis_are_pytorchs(op):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    values = [[1.0, 3.0, 1.0, 3.0], [2.0, 2.0, 2.0, 2.0]]
    theirs = torch.tensor(values, requires_grad=True)
    getattr(theirs, op)(1).values.sum().backward()
    x = Tensor(values, requires_grad=True)
    assert gradient(getattr(x, op)(axis=1), x) == theirs.grad.tolist()


@pytest.mark.parametrize("zeros", [(1,), (0, 2)])
def test_derivatives_of_a_product_with_zeros(zeros, device):
    values = np.array([2.0, 3.0, 5.0])
    values[list(zeros)] = 0
    x = Tensor(values, requires_grad=True, device=device)
    minidl.gradcheck(lambda x: x.prod(), [x])
    minidl.gradgradcheck(lambda x: x.prod(), [x])
    expected = [np.prod(np.delete(values, i)) for i in range(3)]
    assert gradient(x.prod(), x) == expected


# ---- dtypes, and nothing at all


def test_dtypes(device):
    for dtype in ("float16", "float32", "float64"):
        for shape in [(), (2, 3)]:
            x = Tensor(np.ones(shape), dtype=dtype, requires_grad=True, device=device)
            for name in ("sum", "mean", "max", "min", "prod"):
                y = getattr(x, name)()
                assert y.dtype == dtype
                y.backward()
                assert (x.grad.dtype, x.grad.shape) == (dtype, shape)
    x = Tensor(np.arange(4.0), dtype="float32", requires_grad=True, device=device)
    assert x.var().dtype == np.float32


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers(dtype, device):
    x = Tensor(np.array([1, 0, 1, 1]), dtype=dtype, device=device)
    assert (x.sum().item(), x.prod().item(), x.prod(axis=0, keepdims=True).shape) == (3, 0, (1,))
    assert x.sum().dtype.kind in "iu"
    assert (x.max().item(), x.min().item()) == (1, 0)
    assert (x.max().dtype, x.min().dtype) == (dtype, dtype)
    assert (x.mean().item(), x.mean().dtype) == (0.75, np.float32)
    assert (x.var().item(), x.var().dtype) == (0.25, np.float32)


def test_a_product_of_small_integers_does_not_wrap_around(device):
    x = Tensor([100, 100, 2], dtype="uint8", device=device)
    assert (x.sum().item(), x.prod().item()) == (202, 20000)


def test_the_smallest_number_without_sign(device):
    assert Tensor([3, 0, 255], dtype="uint8", device=device).min().item() == 0


def test_sums_and_products_of_nothing(device):
    x = Tensor(np.zeros((2, 0)), device=device)
    assert x.sum(axis=1).numpy().tolist() == [0, 0]
    assert x.prod(axis=1).numpy().tolist() == [1, 1]
    assert x.prod().item() == 1


def test_the_variance_of_too_few_is_not_a_number(device):
    x = Tensor([2.0], device=device)
    with np.errstate(all="ignore"):
        assert np.isnan(x.var().item())
        assert x.var(correction=0).item() == 0


def test_nan_is_the_largest_and_the_smallest(device):
    x = Tensor([1.0, np.nan, 3.0], device=device)
    assert np.isnan(x.max().item())
    assert np.isnan(x.min().item())


# ---- wrong calls


WRONG = [
    (lambda x, f: f(axis=2), r"{}: axis 2 does not exist in a tensor of 2 dimension\(s\)"),
    (lambda x, f: f(axis=-3), "{}: axis -3 does not exist"),
    (lambda x, f: f(axis=(0, 5)), "{}: axis 5 does not exist"),
    (lambda x, f: f(axis=0.5), "{}: axis 0.5 does not exist"),
    (lambda x, f: f(axis="0"), "{}: axis '0' does not exist"),
    (lambda x, f: f(axis=(1, 1)), r"{}: axis \(1, 1\) names one dimension twice"),
    (lambda x, f: f(axis=(1, -1)), r"{}: axis \(1, -1\) names one dimension twice"),
]


@pytest.mark.parametrize("op", ["sum", "mean", "var", "max", "min", "prod"])
@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_axes(op, call, message):
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=message.format(op)):
        call(x, getattr(x, op))


@pytest.mark.parametrize("op", ["max", "min"])
def test_the_extreme_of_nothing(op):
    x = Tensor(np.zeros((2, 0)))
    with pytest.raises(ValueError, match=rf"{op}: no elements to choose from along axis 1 of shape \(2, 0\)"):
        getattr(x, op)(axis=1)
    with pytest.raises(ValueError, match=f"{op}: no elements to choose from along axis None"):
        getattr(x, op)()
    assert getattr(x, op)(axis=0).shape == (0,)
