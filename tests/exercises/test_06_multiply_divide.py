"""Judges of exercise 6: products and quotients, and their gradients."""

import numpy as np
import oracle
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from minidl.ops.elementwise import Divide, Multiply

pytestmark = pytest.mark.exercise("multiply-divide")


def leaf(values):
    return Tensor(np.array(values), requires_grad=True)


def gradients(function, a, b, g):
    """The gradients to the arrays a and b, for the upstream gradient g."""
    a, b = leaf(a), leaf(b)
    function()(a, b).backward(Tensor._wrap(g))
    return a.grad.data, b.grad.data


A = np.array([[1.0, 2.0], [-3.0, 4.0]])
B = np.array([[5.0, -1.0], [2.0, 8.0]])
G = np.array([[1.0, 10.0], [-2.0, 3.0]])


def test_a_product():
    """y = a · b, element by element"""
    y = Multiply()(Tensor(A), Tensor(B))
    judge("Multiply()(a, b)", y.data, np.array([[5.0, -2.0], [-6.0, 32.0]]), given={"a": A, "b": B})


def test_gradients_of_a_product():
    """what a receives depends on b, and the other way round; g keeps its numbers"""
    with untouched("Multiply()(a, b).backward(g)", g=G):
        received = gradients(Multiply, A, B, G)
    judge(
        "Multiply()(a, b).backward(g); a.grad, b.grad",
        received,
        (np.array([[5.0, -10.0], [-4.0, 24.0]]), np.array([[1.0, 20.0], [6.0, 12.0]])),
        given={"a": A, "b": B, "g": G},
        mistakes={
            "the two gradients are exchanged": (G * A, G * B),
            "g is left out": (B, A),
            "only g is passed on": (G, G),
        },
    )


def test_a_quotient():
    """y = a / b, element by element"""
    y = Divide()(Tensor(A), Tensor(B))
    judge("Divide()(a, b)", y.data, np.array([[0.2, -2.0], [-1.5, 0.5]]), given={"a": A, "b": B})


def test_gradients_of_a_quotient():
    """−a / b² for the denominator: it pushes the quotient towards 0 as it grows"""
    a, b, g = np.array([6.0, -8.0]), np.array([2.0, 4.0]), np.array([10.0, 1.0])
    judge(
        "Divide()(a, b).backward(g); a.grad, b.grad",
        gradients(Divide, a, b, g),
        (np.array([5.0, 0.25]), np.array([-15.0, 0.5])),
        given={"a": a, "b": b, "g": g},
        mistakes={
            "the minus sign is missing": (g / b, g * a / b**2),
            "b stands once in the denominator, and should twice": (g / b, -g * a / b),
            "g is left out": (1 / b, -a / b**2),
        },
    )


def test_used_twice():
    """x · x has the gradient 2x · g, and x / x none at all"""
    x, g = leaf([3.0, -2.0]), np.array([1.0, 10.0])
    Multiply()(x, x).backward(g)
    judge("Multiply()(x, x).backward(g); x.grad", x.grad.data, np.array([6.0, -40.0]), given={"x": x, "g": g})
    x = leaf([3.0, -2.0])
    Divide()(x, x).backward(g)
    judge("Divide()(x, x).backward(g); x.grad", x.grad.data, np.array([0.0, 0.0]), given={"x": x, "g": g})


def test_a_row_of_factors():
    """b (2,) multiplies both rows of a (2, 2): its gradient has the shape of b, and adds up both rows"""
    b = np.array([5.0, -1.0])
    judge(
        "Multiply()(a, b).backward(g); a.grad, b.grad",
        gradients(Multiply, A, b, G),
        (np.array([[5.0, -10.0], [-10.0, -3.0]]), np.array([7.0, 32.0])),
        given={"a": A, "b": b, "g": G},
    )


SHAPES = [((2, 3), (3,)), ((2, 3), (2, 1)), ((4, 1, 3), (2, 1)), ((2, 1), (3, 2, 4)), ((), (2, 3)), ((1,), (1, 1))]


@pytest.mark.parametrize(("shape_a", "shape_b"), SHAPES, ids=str)
def test_broadcast(shape_a, shape_b):
    """operands of different shapes, each repeated where it has to be; both, and g, keep their numbers"""
    random = np.random.default_rng(0)
    a = random.standard_normal(shape_a)
    b = np.where(random.random(shape_b) < 0.5, -1, 1) * random.uniform(0.5, 2, shape_b)  # not near 0
    g = random.standard_normal(np.broadcast_shapes(shape_a, shape_b))
    for function, formula in [(Multiply, lambda a, b: a * b), (Divide, lambda a, b: a / b)]:
        call = f"{function.__name__}()(a, b).backward(g); a.grad, b.grad, where a has shape {shape_a} and b {shape_b}"
        x, z = leaf(a), leaf(b)
        with untouched(call, a=x, b=z, g=g):
            y = function()(x, z)
            judge(f"{function.__name__}()(a, b)", y.data, formula(a, b))
            y.backward(Tensor._wrap(g))
        judge(call, (x.grad.data, z.grad.data), tuple(oracle.numeric_gradient(formula, [a, b], g)), tolerance=1e-7)


def test_a_large_denominator():
    """b = 10¹⁶⁰: b² is too large for a float64, and so is g · a, but −g · (a / b) / b is not"""
    a, b, g = np.array([1e160, 1e160]), np.array([1e160, 1e160]), np.array([1.0, 1e160])
    _, to_b = gradients(Divide, a, b, g)
    judge(
        "Divide()(a, b).backward(g); b.grad · (1e160, 1)",
        to_b * np.array([1e160, 1.0]),
        np.array([-1.0, -1.0]),
        given={"a": "1e160, twice", "b": "1e160, twice", "g": "1 and 1e160"},
        mistakes={
            "b² has overflowed to infinity": np.array([0.0, 0.0]),
            "b² and g · a have overflowed to infinity": np.array([0.0, np.nan]),
            "g · a has overflowed to infinity": np.array([-1.0, -np.inf]),
        },
    )


def test_a_small_denominator():
    """a = 2⁻¹⁰⁶¹ and b = 2⁻¹⁰⁶⁰: 1 / b is too large for a float64, but a / b is 1/2"""
    a, b = np.array([2.0**-1061]), np.array([2.0**-1060])
    judge("Divide()(a, b)", Divide()(Tensor(a), Tensor(b)).data, np.array([0.5]), given={"a": "2⁻¹⁰⁶¹", "b": "2⁻¹⁰⁶⁰"})


def test_float32():
    """results and gradients of float32 are float32"""
    a, b, g = (array.astype(np.float32) for array in (A, B, G))
    for function, wanted in [(Multiply, [[5, -2], [-6, 32]]), (Divide, [[0.2, -2], [-1.5, 0.5]])]:
        name, one = function.__name__, function()
        one.needs = (True, True)
        wanted = np.array(wanted, dtype=np.float32)
        judge(f"{name}().forward(a, b), where both are float32", one.forward(a, b), wanted, tolerance=1e-6)
        for which, gradient in zip("ab", one.backward(g, a, b), strict=True):
            call = f"the dtype of {name}.backward(g, a, b), gradient to {which}, where all are float32"
            judge(call, str(gradient.dtype), "float32")
