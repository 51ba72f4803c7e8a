"""Judges of exercise 8: matrix products, one or many at once, and their gradients."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from minidl.ops.matmul import MatMul

pytestmark = pytest.mark.exercise("batched-matmul")


def leaf(values):
    return Tensor(np.array(values), requires_grad=True)


def pairs(a, b):
    """For each product in the batch, where its matrices stand in y, a and b: batch axes of size 1 are repeated."""
    for place in np.ndindex(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])):
        own = []
        for x in (a, b):
            last = place[len(place) - (x.ndim - 2) :]
            own.append(tuple(0 if n == 1 else i for i, n in zip(last, x.shape[:-2], strict=True)))
        yield place, *own


def product(a, b):
    """y[..., m, n] = the sum over k of a[..., m, k] · b[..., k, n]."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.zeros((*batch, a.shape[-2], b.shape[-1]), dtype=a.dtype)
    for place, in_a, in_b in pairs(a, b):
        for m, k, n in np.ndindex(a.shape[-2], a.shape[-1], b.shape[-1]):
            y[(*place, m, n)] += a[(*in_a, m, k)] * b[(*in_b, k, n)]
    return y


def product_gradients(a, b, g):
    """Each summand a · b of an element of y hands g · b to its a and g · a to its b."""
    to_a, to_b = np.zeros_like(a), np.zeros_like(b)
    for place, in_a, in_b in pairs(a, b):
        for m, k, n in np.ndindex(a.shape[-2], a.shape[-1], b.shape[-1]):
            to_a[(*in_a, m, k)] += g[(*place, m, n)] * b[(*in_b, k, n)]
            to_b[(*in_b, k, n)] += g[(*place, m, n)] * a[(*in_a, m, k)]
    return to_a, to_b


A = np.array([[1.0, 2.0], [3.0, 4.0]])
B = np.array([[5.0, -1.0], [0.0, 2.0]])
G = np.array([[1.0, 10.0], [-2.0, 3.0]])


def test_two_by_two():
    """rows of A times columns of B"""
    y = MatMul()(Tensor(A), Tensor(B)).data
    judge(
        "MatMul()(A, B)",
        y,
        np.array([[5.0, 3.0], [15.0, 5.0]]),
        given={"A": A, "B": B},
        mistakes={"the elements are multiplied one by one": A * B, "the product is B A": [[2, 6], [6, 8]]},
    )


def test_gradients_two_by_two():
    """A receives g Bᵀ, and B receives Aᵀ g"""
    a, b = leaf(A), leaf(B)
    MatMul()(a, b).backward(G)
    judge(
        "MatMul()(A, B).backward(g); A.grad, B.grad",
        (a.grad.data, b.grad.data),
        (np.array([[-5.0, 20.0], [-13.0, 6.0]]), np.array([[-5.0, 19.0], [-6.0, 32.0]])),
        given={"A": A, "B": B, "g": G},
        mistakes={
            "B and A are not transposed": (product(G, B), product(A, G)),
            "the factors stand in the other order": (product(B.T, G), product(G, A.T)),
            "the two gradients are exchanged": (product(A.T, G), product(G, B.T)),
            "g is left out, and ones are taken": (product(np.ones((2, 2)), B.T), product(A.T, np.ones((2, 2)))),
        },
    )


def test_a_matrix_with_itself():
    """A A: both uses count, g Aᵀ + Aᵀ g"""
    a = leaf(A)
    MatMul()(a, a).backward(G)
    wanted = np.array([[16.0, 62.0], [-2.0, 38.0]])
    judge("MatMul()(A, A).backward(g); A.grad", a.grad.data, wanted, given={"A": A, "g": G})


def test_two_products():
    """two products at once: only the last two axes are those of the matrices"""
    a, b = leaf([A, [[0.0, 1.0], [1.0, 0.0]]]), leaf([B, [[2.0, 0.0], [0.0, 3.0]]])
    g = np.array([G, [[1.0, 2.0], [3.0, 4.0]]])
    given = {"A": a, "B": b, "g": g}
    y = MatMul()(a, b)
    judge("MatMul()(A, B)", y.data, np.array([[[5.0, 3.0], [15.0, 5.0]], [[0.0, 3.0], [2.0, 0.0]]]), given=given)
    y.backward(g)
    judge(
        "MatMul()(A, B).backward(g); A.grad, B.grad",
        (a.grad.data, b.grad.data),
        (
            np.array([[[-5.0, 20.0], [-13.0, 6.0]], [[2.0, 6.0], [6.0, 12.0]]]),
            np.array([[[-5.0, 19.0], [-6.0, 32.0]], [[3.0, 4.0], [1.0, 2.0]]]),
        ),
        given=given,
        mistakes={"all three axes are reversed": (product(g, b.data.T), product(a.data.T, g))},
    )


SHAPES = [
    ((2, 3), (3, 4)),
    ((4, 1), (1, 3)),
    ((1, 5), (5, 1)),
    ((5, 2, 3), (5, 3, 4)),  # five products
    ((2, 5, 4, 3), (2, 5, 3, 1)),
    ((3, 3, 3), (3, 3, 3)),  # all sizes alike: only the place of an axis tells which it is
    ((5, 2, 3), (3, 4)),  # one B for five A
    ((2, 3), (5, 3, 4)),
    ((4, 1, 2, 3), (5, 3, 2)),  # batches (4, 1) and (5,), so 20 products
    ((1, 2, 3), (4, 3, 2)),
    ((2, 0), (0, 3)),  # sums of no products: zeros
]


@pytest.mark.parametrize(("shape_a", "shape_b"), SHAPES, ids=str)
def test_shapes(shape_a, shape_b):
    """matrices of all shapes, batches, and batches that broadcast; A, B and g keep their numbers"""
    random = np.random.default_rng(0)
    a, b = leaf(random.standard_normal(shape_a)), leaf(random.standard_normal(shape_b))
    wanted = product(a.data, b.data)
    g = random.standard_normal(wanted.shape)
    call = f"MatMul()(A, B), where A has shape {shape_a} and B {shape_b}"
    with untouched(call, A=a, B=b, g=g):
        y = MatMul()(a, b)
        judge(call, y.data, wanted)
        y.backward(Tensor._wrap(g))
    gradients = (a.grad.data, b.grad.data)
    judge(f"{call}, and .backward(g); A.grad, B.grad", gradients, product_gradients(a.data, b.data, g))


def test_float32():
    """what is float32 stays float32"""
    a, b, g = (array.astype(np.float32) for array in (A, B, G))
    judge("MatMul()(A, B), where both are float32", MatMul()(a, b), np.array([[5, 3], [15, 5]], dtype=np.float32))
    one = MatMul()
    one.needs = (True, True)
    wanted = tuple(gradient.astype(np.float32) for gradient in product_gradients(A, B, G))
    judge("MatMul().backward(g, A, B), where all are float32", tuple(one.backward(g, a, b)), wanted)
