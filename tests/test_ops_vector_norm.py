"""The norm of vectors: every order over every choice of axes, zeros, equal elements, nothing, wrong calls."""

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value, named
from judge import assert_close, scattered

import minidl
from minidl import Tensor
from minidl.ops.vector_norm import norm

INF = float("inf")
ORDERS = [2, 1, 0, 3, 1.5, 0.5, -1, -2.5, INF, -INF]
AXES = {
    "everything": ((2, 3), None, False),
    "the first axis": ((2, 3), 0, False),
    "the middle, kept": ((2, 3, 2), 1, True),
    "two axes": ((2, 3, 2), (-1, 0), False),
    "an axis of one": ((3, 1), 1, False),
    "a scalar": ((), None, True),
    "nothing left over": ((0, 3), 1, False),
    "no axis": ((2, 2), (), False),
}


def by_definition(x, ord, axis, keep):
    sizes = abs(x)
    if ord == 0:
        return (x != 0).astype(float).sum(axis=axis, keepdims=keep)
    if abs(ord) == INF:
        return (sizes.max if ord > 0 else sizes.min)(axis=axis, keepdims=keep)
    return (sizes**ord).sum(axis=axis, keepdims=keep) ** (1 / ord)


def by_torch(x, ord, axis, keep):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    y = torch.linalg.vector_norm(x, ord, axis, keep)
    return y if ord else y + 0 * x.sum()  # of order 0 they give no gradient at all


def of_order(ord, shape, axis, keep):
    return Case(
        lambda x: x.norm(ord, axis, keep),
        (shape,),
        lambda x: by_definition(x, ord, axis, keep),
        lambda x: by_torch(x, ord, axis, keep),
    )


CASES = named({f"order {ord}": {name: of_order(ord, *AXES[name]) for name in AXES} for ord in ORDERS})


@pytest.mark.parametrize("name", CASES)
def test_values(name, device):
    check_value(CASES[name], device)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name, device):
    check_derivatives(CASES[name], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in CASES if "no axis" not in name])  # which are all axes there
def test_against_torch(name):
    check_torch(CASES[name])


def test_defaults(device):
    x = Tensor([[3.0, 0.0], [0.0, -4.0]], device=device)
    assert x.norm().item() == 5
    assert x.norm(axis=1).numpy().tolist() == [3, 4]
    assert x.norm(keepdims=True).shape == (1, 1)


def test_memory_that_is_not_contiguous(device):
    check_derivatives(Case(lambda x: norm(scattered(x), 3, 1) * x.T.norm(axis=0), ((2, 3),)), device)


# ---- where the gradient is a convention


def value_and_gradient(values, ord, device="cpu"):
    """The norm, and its gradient for an upstream gradient of 3."""
    x = Tensor(np.array(values), requires_grad=True, device=device)
    y = x.norm(ord)
    y.backward(Tensor(np.array(3.0), device=device))
    return y.item(), x.grad.numpy().tolist()


@pytest.mark.parametrize("ord", ORDERS)
def test_the_gradient_of_zeros_is_zero(ord, device):
    assert value_and_gradient([0.0, 0.0], ord, device) == (0, [0, 0])


@pytest.mark.parametrize("ord", ORDERS)
def test_so_is_its_derivative(ord, device):
    x = Tensor([[0.0, 0.0], [3.0, 0.0]], requires_grad=True, device=device)
    (first,) = minidl.grad(x.norm(ord, axis=1).sum(), x, create_graph=True)
    (second,) = minidl.grad((first * Tensor([1.0, -2.0], device=device)).sum() + x.sum() * 0, x)
    assert second.numpy()[0].tolist() == [0, 0]
    assert np.isfinite(second.numpy()).all()


def test_equal_elements_share_the_gradient_of_a_maximum(device):
    assert value_and_gradient([2.0, -5.0, 5.0, 5.0], INF, device) == (5, [0, -1, 1, 1])
    assert value_and_gradient([-2.0, 5.0, 2.0], -INF, device) == (2, [-1.5, 0, 1.5])
    x = Tensor([[1.0, -1.0, 0.5], [2.0, 4.0, 4.0]], requires_grad=True, device=device)
    x.norm(INF, axis=1).sum().backward()
    assert x.grad.numpy().tolist() == [[0.5, -0.5, 0], [0, 0.5, 0.5]]


SPECIAL = {
    "a zero among others": [0.0, 2.0, -2.0],
    "another sign of zero": [-0.0, 1.0, 3.0],
    "NaN": [np.nan, 1.0, -2.0],
    "infinity": [INF, 1.0, -INF],
    "infinities alone": [-INF, INF],
    "squares that overflow": [1e200, -1.0],
    "squares that underflow": [1e-200, 1e-200],
}
OVERFLOWING = {(3, "squares that overflow"), (-1, "squares that underflow"), (-2.5, "squares that underflow")}


@pytest.mark.torch
@pytest.mark.parametrize("ord", ORDERS)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_are_pytorchs(name, ord):
    """Also where NumPy would warn. OVERFLOWING: there PyTorch computes |x|ᵖ⁻¹ and yᵖ⁻¹ apart, and ∞ / ∞ is NaN."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = torch.tensor(SPECIAL[name], dtype=torch.float64, requires_grad=True)
    expected = torch.linalg.vector_norm(theirs, ord)
    expected.backward(torch.tensor(3.0, dtype=torch.float64))
    y, gradient = value_and_gradient(SPECIAL[name], ord)
    np.testing.assert_allclose(y, expected.item(), rtol=1e-12)
    if (ord, name) in OVERFLOWING:
        assert np.isfinite(gradient).all()
        assert theirs.grad.isnan().any()
    else:
        np.testing.assert_allclose(gradient, np.zeros(len(gradient)) if ord == 0 else theirs.grad, rtol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("ord", [2, 3, 4.5, 1])
def test_second_derivatives_beside_a_zero(ord):
    """An element 0 of a vector that is not: there the derivative is smooth for ord ≥ 2."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    values, direction = np.array([0.0, 3.0, -4.0]), np.array([0.5, -1.0, 2.0])
    x, theirs = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    (first,) = minidl.grad(x.norm(ord), x, create_graph=True)
    (second,) = minidl.grad((first * direction).sum(), x)
    (first_theirs,) = torch.autograd.grad(torch.linalg.vector_norm(theirs, ord), theirs, create_graph=True)
    loss = (first_theirs * torch.tensor(direction)).sum() + 0 * theirs.sum()
    assert_close(second, torch.autograd.grad(loss, theirs)[0].numpy())


# ---- nothing at all, dtypes


@pytest.mark.parametrize("ord", ORDERS)
def test_of_nothing(ord, device):
    """0 for orders that have a value for none; empty where no vector is asked about."""
    x = Tensor(np.zeros((2, 0)), requires_grad=True, device=device)
    assert x.norm(ord, axis=0).shape == (0,)
    if 0 <= ord < INF:
        assert x.norm(ord, axis=1).numpy().tolist() == [0, 0]
        y = x.norm(ord)
        assert y.item() == 0
        y.backward()
        assert x.grad.shape == (2, 0)
    else:
        for axis in (None, 1, (0, 1)):
            with pytest.raises(ValueError, match=rf"norm: no elements along axis .* of shape \(2, 0\), and ord {ord}"):
                x.norm(ord, axis=axis)


@pytest.mark.parametrize("ord", ORDERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype, ord, device):
    for shape in ((), (2, 3)):
        x = Tensor(np.ones(shape), dtype=dtype, requires_grad=True, device=device)
        y = x.norm(ord)
        y.backward()
        assert y.dtype == x.grad.dtype == dtype
    assert Tensor([3, 4], device=device).norm().dtype == np.float32
    assert norm(x.data, ord, axis=1).dtype == dtype


WRONG = [
    (lambda x: x.norm("fro"), TypeError, "norm: ord must be a number, got 'fro'; the Frobenius norm is ord=2 over all"),
    (lambda x: x.norm(None), TypeError, "norm: ord must be a number, got None"),
    (lambda x: x.norm(np.nan), TypeError, "norm: ord must be a number, got nan"),
    (lambda x: x.norm(axis=2), ValueError, r"norm: axis 2 does not exist in a tensor of 2 dimension\(s\)"),
    (lambda x: x.norm(axis=(1, 1)), ValueError, r"norm: axis \(1, 1\) names one dimension twice"),
    (lambda x: norm([3.0, 4.0]), TypeError, "norm: expected a Tensor or an array, got list"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3))))
