"""Judges of exercise 14: a fully connected layer."""

import contextlib

import numpy as np
import oracle
import pytest

from minidl import Tensor
from minidl import functional as F
from minidl.exercises.judging import judge, require, untouched

pytestmark = pytest.mark.exercise("linear")


def test_two_features_two_outputs():
    """two rows of two features through a 2×2 weight"""
    x = np.array([[1.0, 2.0], [0.0, -1.0]])
    weight = np.array([[1.0, 10.0], [100.0, 1000.0]])  # (I, O)
    bias = np.array([0.5, 0.0])
    wanted = np.array([[201.5, 2010.0], [-99.5, -1000.0]])
    judge(
        "F.linear(Tensor(x), Tensor(weight), Tensor(bias))",
        F.linear(Tensor(x), Tensor(weight), Tensor(bias)),
        wanted,
        given={"x": x, "weight": weight, "bias": bias},
        mistakes={
            "the weight is transposed; here it is (I, O), features in, outputs out": x @ weight.T + bias,
            "the bias is left out": x @ weight,
            "the factors of the product stand in the other order": weight @ x + bias,
            "elements are multiplied with each other, where a matrix product belongs": x * weight + bias,
        },
    )


def test_without_bias():
    """bias None: a batch norm that follows has a shift of its own"""
    x, weight = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0, -1.0], [3.0, 1.0, 0.0]])
    judge(
        "F.linear(Tensor(x), Tensor(weight))",
        F.linear(Tensor(x), Tensor(weight)),
        np.array([[7.0, 2.0, -1.0]]),
        given={"x": x, "weight": weight},
    )


@pytest.mark.parametrize("shape", [(5, 3), (3,), (2, 4, 3), (2, 1, 2, 3)], ids=str)
def test_any_axes_in_front(shape):
    """x (..., 3): one vector, rows, rows of rows; what is in front of the features stays"""
    random = np.random.default_rng(14)
    x, weight, bias = (random.standard_normal(s) for s in (shape, (3, 4), (4,)))
    y = F.linear(Tensor(x), Tensor(weight), Tensor(bias))
    judge(f"F.linear(x, weight, bias), x {shape}, weight (3, 4), bias (4,)", y, oracle.linear(x, weight, bias))


@pytest.mark.parametrize("front", [(2, 5), (6,), ()], ids=str)
def test_gradients(front):
    """a graph from x, weight and bias, zeros at first, to y: the bias is used in every row, and gets the sum"""
    random = np.random.default_rng(15)
    arrays = [random.standard_normal((*front, 3)), random.standard_normal((3, 4)), np.zeros(4)]
    g = random.standard_normal((*front, 4))
    x, weight, bias = (Tensor(array, requires_grad=True) for array in arrays)
    with untouched("F.linear(x, weight, bias), and backward from there", x=x, weight=weight, bias=bias, g=g):
        y = F.linear(x, weight, bias)
        require(
            isinstance(y, Tensor) and y.requires_grad,
            f"the result is no part of the graph, it is a {type(y).__name__}: compute with the Tensors, not with .data",
            call="F.linear(x, weight, bias), where all three are Tensors that require a gradient",
        )
        y.backward(g)
    rows, g_rows = arrays[0].reshape(-1, 3), g.reshape(-1, 4)
    wanted = {
        "x": np.einsum("...o,io->...i", g, arrays[1]),
        "weight": sum(np.outer(row, g_row) for row, g_row in zip(rows, g_rows, strict=True)),
        "bias": sum(g_rows),
    }
    for (name, gradient), tensor in zip(wanted.items(), (x, weight, bias), strict=True):
        require(tensor.grad is not None, f"{name}.grad is None: no gradient has come to it", call="y.backward(g)")
        judge(f"F.linear(x, weight, bias).backward(g), x {arrays[0].shape}, {name}.grad", tensor.grad, gradient)


def test_float32_and_arrays():
    """plain arrays give a plain array, and float32 stays float32"""
    x, weight, bias = (np.array(a, np.float32) for a in ([[1, 2]], [[1, 0], [0, 1]], [0.5, -0.5]))
    judge("F.linear(x, weight, bias), float32 arrays", F.linear(x, weight, bias), np.array([[1.5, 1.5]], np.float32))


def test_shapes_that_do_not_fit():
    """a bias (1,) would broadcast without a word: it raises ValueError, as does PyTorch's (O, I)"""
    x, weight = np.ones((2, 3)), np.ones((3, 4))
    F.linear(x, weight)
    for case, arguments in {"bias (1,)": (x, weight, np.ones(1)), "weight (4, 3)": (x, np.ones((4, 3)))}.items():
        with contextlib.suppress(ValueError):
            F.linear(*arguments)
            require(False, f"no ValueError was raised for x (2, 3), weight (3, 4) and {case}")
