"""Judges of exercise 11: ReLU, and its kink."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, require, untouched
from minidl.ops.activation import Relu

pytestmark = pytest.mark.exercise("relu")


def backward(g, x, y):
    """The gradient to x, after the forward pass, as in a graph: forward may have left something behind."""
    op = Relu()
    op.forward(x)
    return op.backward(g, y)


def test_four_numbers():
    """the larger of x and 0, of four numbers"""
    x = np.array([-2.0, -0.5, 0.5, 3.0])
    judge(
        "Relu().forward(x)",
        Relu().forward(x),
        np.array([0.0, 0.0, 0.5, 3.0]),
        given={"x": x},
        mistakes={"the absolute value is taken": abs(x), "x > 0 itself is returned, a step": np.array([0.0, 0, 1, 1])},
    )


def test_gradient_of_four_numbers():
    """g passes where x was positive, and is stopped elsewhere"""
    x, y = np.array([-2.0, -0.5, 0.5, 3.0]), np.array([0.0, 0.0, 0.5, 3.0])
    g = np.array([10.0, -20.0, 30.0, -40.0])
    judge(
        "Relu().backward(g, y), where y is what forward gave",
        backward(g, x, y),
        np.array([0.0, 0.0, 30.0, -40.0]),
        given={"y": y, "g": g},
        mistakes={
            "g is not used: the chain rule multiplies by it": (y > 0).astype(float),
            "g itself goes through max(..., 0); it is the sign of x that counts, and g may be negative": np.maximum(
                g, 0
            ),
            "g is multiplied by y; the slope is 1 where x > 0, however large x is": g * y,
        },
    )


def test_the_kink():
    """at x = 0 the gradient is 0, by convention"""
    y, g = np.array([0.0, 1e-300, 1.0]), np.array([5.0, 6.0, 7.0])
    judge("Relu().backward(g, y)", backward(g, y, y), np.array([0.0, 6.0, 7.0]), given={"y": y, "g": g})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # 0 · ∞, which is what goes wrong here
def test_infinities():
    """x = −∞ gives 0, and where y is 0 even g = ∞ is stopped: nothing is multiplied by 0, for 0 · ∞ is NaN"""
    x = np.array([-np.inf, -1.0, 1.0, np.inf])
    y = np.array([0.0, 0.0, 1.0, np.inf])
    judge("Relu().forward(x)", Relu().forward(x), y, given={"x": x})
    g = np.array([5.0, np.inf, -np.inf, 6.0])
    judge("Relu().backward(g, y)", backward(g, x, y), np.array([0.0, 0.0, -np.inf, 6.0]), given={"y": y, "g": g})


def test_nothing_is_cut():
    """all of x is positive: the result has the same numbers, in an array of its own"""
    x = np.array([1.0, 2.0])
    y = Relu().forward(x)
    judge("Relu().forward(x)", y, np.array([1.0, 2.0]), given={"x": x})
    require(not np.shares_memory(y, x), "y is x itself, or a view of it: make a new array", call="Relu().forward(x)")


def test_images_through_a_graph():
    """images (N, H, W, C) of both signs, forward and back"""
    random = np.random.default_rng(11)
    array, g = random.standard_normal((2, 3, 4, 5)), random.standard_normal((2, 3, 4, 5))
    array[1, 2] = 0.0
    x = Tensor(array, requires_grad=True)
    with untouched("Relu()(x), and backward from there", x=x, g=g):
        y = Relu()(x)
        y.backward(g)
    wanted, gradient = np.zeros(array.shape), np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        if array[place] > 0:
            wanted[place], gradient[place] = array[place], g[place]
    judge("y = Relu()(x), x of shape (2, 3, 4, 5)", y, wanted)
    judge("y.backward(g), x.grad", x.grad, gradient)


def test_float32_stays_float32():
    """float32 in, float32 out, of values and of gradients"""
    x = np.array([-1.5, 2.5], np.float32)
    y = Relu().forward(x)
    judge("Relu().forward(x), x of dtype float32", y, np.array([0.0, 2.5], np.float32), given={"x": x})
    g = np.array([3.0, 4.0], np.float32)
    judge("Relu().backward(g, y), of dtype float32", backward(g, x, y), np.array([0.0, 4.0], np.float32))


def test_not_a_number():
    """NaN stays NaN, and lets g pass: what has gone wrong should not be hidden"""
    x, g = np.array([np.nan, -1.0, 1.0]), np.array([5.0, 6.0, 7.0])
    y = Relu().forward(x)
    judge("Relu().forward(x)", y, np.array([np.nan, 0.0, 1.0]), given={"x": x})
    judge("Relu().backward(g, y)", backward(g, x, y), np.array([5.0, 0.0, 7.0]), given={"y": y, "g": g})
