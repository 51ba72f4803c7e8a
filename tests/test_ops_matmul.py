"""Matrix products: vectors, matrices, batches that broadcast, nothing, wrong calls."""

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value
from judge import host, scattered

import minidl
from minidl import Tensor

SHAPES = {
    "matrix, matrix": ((2, 3), (3, 4)),
    "matrix, vector": ((2, 3), (3,)),
    "vector, matrix": ((3,), (3, 2)),
    "vector, vector": ((3,), (3,)),
    "batch, matrix": ((2, 2, 3), (3, 4)),
    "two batches, matrix": ((2, 1, 2, 3), (3, 2)),
    "batch, vector": ((2, 2, 3), (3,)),
    "vector, batch": ((3,), (2, 3, 2)),
    "matrix, batch": ((2, 3), (2, 3, 2)),
    "batch, batch": ((2, 3, 2), (2, 2, 3)),
    "batches that broadcast": ((2, 1, 2, 3), (3, 3, 1)),
    "batch of one": ((1, 2, 3), (3, 3, 2)),
    "sizes of one": ((1, 1), (1, 1)),
    "no rows": ((0, 3), (3, 2)),
    "no columns": ((2, 3), (3, 0)),
    "nothing to add": ((2, 0), (0, 3)),
    "no batch": ((0, 2, 3), (3, 2)),
    "no batch on both sides": ((0, 2, 3), (0, 3, 2)),
    "empty vectors": ((0,), (0,)),
}
CASES = {name: Case(lambda a, b: a @ b, shapes) for name, shapes in SHAPES.items()} | {
    "nothing on the left, a batch": Case(lambda a, b: a @ b, ((0, 0), (2, 0, 0))),
    "nothing, a batch and a vector": Case(lambda a, b: a @ b, ((2, 0, 3), (3,))),
    "x @ x": Case(lambda x: x @ x, ((3, 3),)),
    "x @ x.T": Case(lambda x: x @ x.T, ((2, 3),)),
    "x.T @ x @ v": Case(lambda x, v: x.T @ x @ v, ((2, 3), (3,))),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name, device):
    check_value(CASES[name], device)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name, device):
    check_derivatives(CASES[name], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", CASES)
def test_against_torch(name):
    check_torch(CASES[name])


def test_memory_that_is_not_contiguous(device):
    check_derivatives(Case(lambda a, b: scattered(a) @ b.T, ((2, 3), (4, 3))), device)
    check_derivatives(Case(lambda a, b: a.swapaxes(0, 2) @ scattered(b), ((3, 2, 2), (3, 2))), device)


def test_dtypes(device):
    single = Tensor(np.ones((2, 2)), dtype="float32", requires_grad=True, device=device)
    double = Tensor(np.ones((2, 2)), dtype="float64", requires_grad=True, device=device)
    whole = Tensor(np.full((2, 2), 3), device=device)
    assert (whole @ whole).numpy().tolist() == [[18, 18], [18, 18]]
    assert (whole @ whole).dtype == np.int64
    for y in (single @ whole, whole @ single, single @ whole.data, whole.data @ single, single[0] @ single[1]):
        assert y.dtype == np.float32
    (single @ double).sum().backward()
    assert (single.grad.dtype, double.grad.dtype) == (np.float32, np.float64)


def test_an_unwanted_gradient_is_not_computed(device, monkeypatch):
    """A weight that is a constant costs no product in the backward pass."""
    a = Tensor(np.ones((2, 3)), requires_grad=True, device=device)
    b = Tensor(np.ones((3, 4)), device=device)
    results = []
    backward = minidl.ops.matmul.MatMul.backward
    monkeypatch.setattr(
        minidl.ops.matmul.MatMul, "backward", lambda *args: results.append(backward(*args)) or results[-1]
    )
    (a @ b).sum().backward()
    ((to_a, to_b),) = results
    assert to_a.shape == (2, 3)
    assert to_b is None


# ---- outer

OUTER = {
    "two vectors": ((2,), (3,)),
    "one element": ((1,), (2,)),
    "nothing": ((0,), (2,)),
}
OUTER_CASES = {
    name: Case(minidl.outer, shapes, np.outer, lambda a, b: a.outer(b)) for name, shapes in OUTER.items()
} | {
    "a vector with itself": Case(lambda a: minidl.outer(a, a), ((3,),), lambda a: np.outer(a, a), lambda a: a.outer(a))
}


@pytest.mark.parametrize("name", OUTER_CASES)
def test_outer(name, device):
    check_value(OUTER_CASES[name], device)
    check_derivatives(OUTER_CASES[name], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", OUTER_CASES)
def test_outer_against_torch(name):
    check_torch(OUTER_CASES[name])


def test_outer_of_integers_and_raw_arrays(device):
    a, b = Tensor([1, 2], device=device), Tensor(np.array([0.5, 1.0, 2.0], np.float32), device=device)
    assert minidl.outer(a, a).numpy().tolist() == [[1, 2], [2, 4]]
    assert minidl.outer(a, b).dtype == np.float32
    y = minidl.outer(a.data, a.data)
    assert not isinstance(y, Tensor)
    assert host(y).tolist() == [[1, 2], [2, 4]]


WRONG = [
    (lambda a: minidl.outer(a, a[0]), ValueError, r"outer: expected two vectors, got shapes \(2, 3\) and \(3,\)"),
    (lambda a: minidl.outer(a[0], a[0, 0]), ValueError, r"outer: expected two vectors, got shapes \(3,\) and \(\)"),
    (lambda a: minidl.outer(a, [1.0]), TypeError, "outer: expected a Tensor or an array, got list"),
    (lambda a: minidl.outer(2, a[0]), TypeError, "outer: expected a Tensor or an array, got int"),
    (lambda a: a @ 2, ValueError, r"matmul: expected at least one dimension; use \* to multiply by a scalar"),
    (lambda a: 2.0 @ a, ValueError, "matmul: expected at least one dimension"),
    (lambda a: a @ a.sum(), ValueError, "matmul: expected at least one dimension"),
    (lambda a: a @ a, ValueError, r"matmul: shapes \(2, 3\) and \(2, 3\) do not fit: the inner sizes differ"),
    (lambda a: a @ np.ones(2), ValueError, r"matmul: shapes \(2, 3\) and \(2,\) do not fit"),
    (lambda a: np.ones((2, 2, 2)) @ a.T, ValueError, r"matmul: shapes \(2, 2, 2\) and \(3, 2\) do not fit"),
    (
        lambda a: a.expand(4, 2, 3) @ np.ones((5, 3, 2)),
        ValueError,
        r"matmul \(batch\): shapes do not broadcast: \(4,\), \(5,\)",
    ),
    (lambda a: a @ [1.0, 2.0, 3.0], TypeError, "matmul: expected a Tensor, an array or a real number, got list"),
    (lambda a: [[1.0, 2.0]] @ a, TypeError, "matmul: expected .* got list"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), requires_grad=True))
