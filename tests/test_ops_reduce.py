"""Reductions: values and derivatives over every choice of axes, numbers of nothing, wrong calls."""

import warnings

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value, named
from judge import assert_close, host, scattered

import minidl
from minidl import Tensor
from minidl.backend import is_array
from minidl.ops import reduce

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
    "std": (
        lambda x, axis, keep: x.std(axis, keep),
        lambda x, axis, keep: x.std(axis=axis, ddof=1, keepdims=keep),
        lambda x, axis, keep: x.std(torch_dims(x, axis), keepdim=keep),
    ),
    "std, correction -0.5": (
        lambda x, axis, keep: x.std(axis, keep, correction=-0.5),
        lambda x, axis, keep: x.std(axis=axis, ddof=-0.5, keepdims=keep),
        lambda x, axis, keep: x.std(torch_dims(x, axis), correction=-0.5, keepdim=keep),
    ),
    "prod": (lambda x, axis, keep: x.prod(axis, keep), None, torch_prod),
}


FEW = ["everything", "the middle", "two axes the other way round", "nothing left over"]


def choices(name):
    ours, numpy, torch = REDUCTIONS[name]
    numpy = numpy or (lambda x, axis, keep: getattr(x, name)(axis=axis, keepdims=keep))
    axes = (
        FEW
        if name.startswith("std")
        else MORE_THAN_ONE
        if name == "var"
        else AXES
        if name in ("sum", "prod")
        else ALWAYS_SOMETHING
    )
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
    return "no axis" in name or (name.startswith(("var", "std")) and "nothing left over" in name)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in CASES if not torch_warns(name)])
def test_against_torch(name):
    check_torch(CASES[name])


@pytest.mark.torch
@pytest.mark.parametrize("op", ["sum", "mean", "any"])
def test_no_axes_are_none_where_torch_takes_them_all(op):
    """But for its any and all, which are NumPy's, too."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    array = np.array([[1.0, 0.0], [3.0, 5.0]])
    expected = np.asarray(getattr(array, op)(axis=()))
    np.testing.assert_array_equal(getattr(Tensor(array), op)(()).numpy(), expected)
    assert getattr(torch.from_numpy(array), op)(()).shape == (expected.shape if op == "any" else ())


@pytest.mark.torch
@pytest.mark.parametrize("correction", [2, 3])
def test_the_gradient_of_an_infinite_variance_keeps_its_sign(correction):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = Tensor([1.0, 2.0], requires_grad=True), torch.tensor([1.0, 2.0], requires_grad=True)
    ours.var(correction=correction).backward()
    with pytest.warns(UserWarning, match="degrees of freedom"):
        theirs.var(correction=correction).backward()
    assert (ours.grad.numpy().tolist(), theirs.grad.tolist()) == ([-np.inf, np.inf], [np.inf, np.inf])


@pytest.mark.parametrize("name", REDUCTIONS)
def test_memory_that_is_not_contiguous(name, device):
    ours = REDUCTIONS[name][0]
    check_derivatives(Case(lambda x: ours(scattered(x), 1, False) * ours(x.T, 0, False), ((2, 3),)), device)


# ---- products with zeros


def gradient(y, x):
    return minidl.grad(y.sum(), x)[0].numpy().tolist()


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
            for name in ("sum", "mean", "prod", "var", "std", "cumsum"):
                y = getattr(x, name)(**({"correction": 0.5} if name in ("var", "std") else {}))
                assert y.dtype == dtype
                y.backward(Tensor(np.ones(y.shape), dtype=dtype, device=device))
                assert (x.grad.dtype, x.grad.shape) == (dtype, shape)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers(dtype, device):
    x = Tensor(np.array([1, 0, 1, 1]), dtype=dtype, device=device)
    assert (x.sum().item(), x.prod().item(), x.prod(axis=0, keepdims=True).shape) == (3, 0, (1,))
    assert x.sum().dtype == x.prod().dtype == x.cumsum(0).dtype == np.int64
    assert x.cumsum().numpy().tolist() == [1, 1, 2, 3]
    assert (x.mean().item(), x.mean().dtype) == (0.75, np.float32)
    assert (x.var().item(), x.var().dtype) == (0.25, np.float32)
    assert (x.std().item(), x.std().dtype) == (0.5, np.float32)


def test_a_product_of_small_integers_does_not_wrap_around(device):
    x = Tensor([100, 100, 2], dtype="uint8", device=device)
    assert (x.sum().item(), x.prod().item()) == (202, 20000)
    assert Tensor([100, 100, 100], dtype="int8", device=device).cumsum().numpy().tolist() == [100, 200, 300]


def test_sums_and_products_of_nothing(device):
    x = Tensor(np.zeros((2, 0)), device=device)
    assert x.sum(axis=1).numpy().tolist() == [0, 0]
    assert x.prod(axis=1).numpy().tolist() == [1, 1]
    assert x.prod().item() == 1


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std"])
def test_reductions_of_nothing(name, device):
    """Values and shapes are those of PyTorch, and NumPy does not warn; the gradient is as empty as x."""
    expected = {"sum": 0, "prod": 1}.get(name, np.nan)
    for shape, axis, result in [((0,), None, ()), ((2, 0), 1, (2,)), ((2, 0), None, ()), ((0, 3), (0,), (3,))]:
        x = Tensor(np.zeros(shape), requires_grad=True, device=device)
        y = getattr(x, name)(axis)
        np.testing.assert_array_equal(y.numpy(), np.full(result, expected))
        y.backward(Tensor(np.ones(result), device=device))
        assert x.grad.shape == shape
    x = Tensor(np.zeros((0, 3)), requires_grad=True, device=device)
    assert getattr(x, name)(1, keepdims=True).shape == (0, 1)
    whole = Tensor(np.zeros(0, np.int32), device=device)
    assert getattr(whole, name)().dtype == (np.int64 if name in ("sum", "prod") else np.float32)


# ---- variance: too few elements, equal elements


def test_the_variance_of_too_few_is_not_a_number(device):
    """It is c / 0 or 0 / 0, as in PyTorch, and NumPy does not warn."""
    one, two, equal = ([2.0], [1.0, 3.0], [3.0, 3.0])
    for values, correction, var, std in [
        (one, 0, 0, 0),
        (one, 1, np.nan, np.nan),
        (one, 2, np.nan, np.nan),
        (two, 2, np.inf, np.inf),
        (two, 3, np.inf, np.inf),
        (equal, 2, np.nan, np.nan),
        (equal, 2.5, np.nan, np.nan),
    ]:
        x = Tensor(values, requires_grad=True, device=device)
        np.testing.assert_equal(x.var(correction=correction).item(), var)
        np.testing.assert_equal(x.std(correction=correction).item(), std)
        for y in (x.var(correction=correction), x.std(correction=correction)):
            x.zero_grad()
            y.backward()
            assert np.isfinite(x.grad.numpy()).all() == np.isfinite(var)


@pytest.mark.torch
@pytest.mark.parametrize("correction", [0, 1, 2, 3])
@pytest.mark.parametrize("values", [[2.0], [1.0, 3.0], [3.0, 3.0]])
@pytest.mark.parametrize("op", ["var", "std"])
def test_the_variance_of_too_few_is_pytorchs(op, values, correction):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = torch.tensor(values, requires_grad=True)
    ours = Tensor(values, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch does
        expected = getattr(theirs, op)(correction=correction)
        expected.backward()
    y = getattr(ours, op)(correction=correction)
    y.backward()
    np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
    np.testing.assert_array_equal(abs(ours.grad.numpy()), abs(theirs.grad.numpy()))  # their −∞ has lost its sign


def test_the_standard_deviation_of_equal_elements_has_gradient_zero(device):
    values = np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 6.0]])
    x = Tensor(values, requires_grad=True, device=device)
    (to_x,) = minidl.grad((x.std(axis=1) * Tensor([5.0, 7.0], device=device)).sum(), x, create_graph=True)
    centred = values[1] - values[1].mean()
    assert_close(to_x, np.stack([np.zeros(3), 7 * centred / (2 * values[1].std(ddof=1))]))
    (second,) = minidl.grad((to_x * Tensor([1.0, -2.0, 4.0], device=device)).sum(), x)
    assert second.numpy()[0].tolist() == [0, 0, 0]
    assert (second.numpy()[1] != 0).all()


# ---- running sums

RUNNING = {
    "a row": ((5,), 0),
    "the first axis": ((3, 2), 0),
    "the middle": ((2, 3, 4), 1),
    "the last axis": ((2, 3), -1),
    "one element": ((1, 2), 0),
    "nothing": ((0, 2), 0),
    "rows of nothing": ((2, 0), 0),
    "all as one row": ((2, 3), None),
    "a scalar as one row": ((), None),
    "a scalar along its first axis": ((), 0),
    "a scalar along its last axis": ((), -1),
}


@pytest.mark.parametrize("name", RUNNING)
def test_cumsum(name, device):
    shape, axis = RUNNING[name]
    result = (-1,) if axis is None else shape  # NumPy makes a scalar a vector of one whatever the axis
    case = Case(lambda x: x.cumsum(axis), (shape,), lambda x: x.cumsum(axis).reshape(result))
    check_value(case, device)
    check_derivatives(case, device)


@pytest.mark.torch
@pytest.mark.parametrize("name", RUNNING)
def test_cumsum_against_torch(name):
    shape, axis = RUNNING[name]
    check_torch(
        Case(
            lambda x: x.cumsum(axis),
            (shape,),
            torch=lambda x: x.flatten().cumsum(0) if axis is None else x.cumsum(axis),
        )
    )


def test_cumsum_of_scattered_memory(device):
    check_derivatives(Case(lambda x: scattered(x).cumsum(1) * x.T.cumsum(0).T, ((2, 3),)), device)


# ---- any, all


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_any_and_all(dtype, device):
    values = np.array([[0, 1, 1], [0, 0, 1]])
    x = Tensor(values, dtype=dtype, device=device)
    for axis in (None, 0, -1, (0, 1), ()):
        for keep in (False, True):
            for name in ("any", "all"):
                y = getattr(x, name)(axis, keep)
                assert isinstance(y, Tensor)
                assert (y.dtype, str(y.device)) == (bool, str(x.device))
                assert not y.requires_grad
                np.testing.assert_array_equal(y.numpy(), getattr(values != 0, name)(axis=axis, keepdims=keep))


def test_any_and_all_of_nothing_and_of_nan(device):
    nothing = Tensor(np.zeros((2, 0)), device=device)
    assert nothing.any(1).numpy().tolist() == [False, False]
    assert nothing.all(1).numpy().tolist() == [True, True]
    assert (nothing.any().item(), nothing.all().item()) == (False, True)
    not_a_number = Tensor([np.nan], requires_grad=True, device=device)
    assert not_a_number.any()
    assert not_a_number.all()


def test_any_and_all_of_a_raw_array(device):
    x = Tensor([[0, 2], [1, 1]], device=device).data
    for y, expected in [(reduce.any(x, 0), [True, True]), (reduce.all(x, 1), [False, True])]:
        assert is_array(y)
        assert host(y).tolist() == expected


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


@pytest.mark.parametrize("op", ["sum", "mean", "var", "std", "prod", "any", "all"])
@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_axes(op, call, message):
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=message.format(op)):
        call(x, getattr(x, op))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.cumsum(2), ValueError, r"cumsum: axis 2 does not exist in a tensor of 2 dimension\(s\)"),
        (lambda x: x.cumsum((0, 1)), ValueError, r"cumsum: axis \(0, 1\) does not exist"),
        (lambda x: x.sum().cumsum(1), ValueError, "cumsum: axis 1 does not exist"),
        (lambda x: x.sum().cumsum(-2), ValueError, "cumsum: axis -2 does not exist"),
        (lambda x: x.var(correction="1"), TypeError, "var: correction must be a number, got '1'"),
        (lambda x: x.std(correction=None), TypeError, "std: correction must be a number, got None"),
        (lambda x: x.std(0, True, 1), TypeError, "positional argument"),
        (lambda x: reduce.mean([1.0]), TypeError, "mean: expected a Tensor or an array, got list"),
    ],
)
def test_wrong_options(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3))))
