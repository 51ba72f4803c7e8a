"""Judges of exercise 12: softmax without overflow."""

import math

import numpy as np
import oracle
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from minidl.ops.softmax import LogSoftmax

pytestmark = pytest.mark.exercise("log-softmax")


def test_one_to_three():
    """scores ln 1 and ln 3: eˣ is 1 and 3, so the probabilities are 1/4 and 3/4"""
    x = np.array([[0.0, math.log(3.0)]])
    wanted = np.array([[math.log(1 / 4), math.log(3 / 4)]])
    judge(
        "LogSoftmax(1).forward(x), where x is [[ln 1, ln 3]]",
        LogSoftmax(1).forward(x),
        wanted,
        given={"x": x},
        mistakes={
            "no logarithm is taken: these are the probabilities": np.exp(wanted),
            "the sum itself is subtracted, and not its logarithm": x - 4.0,
            "the scores themselves are added up, without eˣ": x - np.log(x.sum()),
            "the maximum is subtracted, and not the logarithm of the sum": x - x.max(),
            "the maximum is subtracted inside the sum only, and not from x itself": wanted + x.max(),
        },
    )


def test_gradient_of_one_row():
    """the same two scores, backwards: each gets its own g, less its share of all g"""
    x, y = np.array([[0.0, math.log(3.0)]]), np.array([[math.log(1 / 4), math.log(3 / 4)]])
    g = np.array([[8.0, -4.0]])  # Σ g = 4
    op = LogSoftmax(1)
    op.forward(x)
    judge(
        "LogSoftmax(1).backward(g, y), where y is [[ln 1/4, ln 3/4]]",
        op.backward(g, y),
        np.array([[8.0 - 1 / 4 * 4.0, -4.0 - 3 / 4 * 4.0]]),
        given={"g": g},
        mistakes={
            "Σ g is taken as 1": g - np.exp(y),
            "y stands where eʸ belongs": g - y * g.sum(),
            "each probability is multiplied by its own g, not by Σ g": g - np.exp(y) * g,
            "the rule of softmax itself is used, whose output is the probabilities": np.exp(y)
            * (g - (g * np.exp(y)).sum()),
            "g is not used: the chain rule multiplies by it": 1 - np.exp(y),
        },
    )


@pytest.mark.parametrize("axis", [1, 0, 2])
def test_along_an_axis(axis):
    """x (2, 3, 4) along one of its axes, forward and back: each line along that axis is a softmax of its own"""
    random = np.random.default_rng(12)
    array, g = random.standard_normal((2, 3, 4)), random.standard_normal((2, 3, 4))
    x = Tensor(array, requires_grad=True)
    with untouched(f"LogSoftmax({axis})(x), and backward from there", x=x, g=g):
        y = LogSoftmax(axis)(x)
        y.backward(g)
    wanted = oracle.log_softmax(array, axis)
    judge(
        f"y = LogSoftmax({axis})(x), x of shape (2, 3, 4)",
        y,
        wanted,
        mistakes={
            "the sum runs over the last axis instead": oracle.log_softmax(array, -1),
            "the sum runs over the whole array instead": array - np.log(np.exp(array).sum()),
        },
    )
    p = np.exp(wanted)
    judge(
        "y.backward(g), x.grad",
        x.grad,
        g - p * g.sum(axis=axis, keepdims=True),
        mistakes={
            "Σ g runs over the last axis instead": g - p * g.sum(axis=-1, keepdims=True),
            "Σ g runs over the whole array instead": g - p * g.sum(),
        },
    )


def test_large_scores():
    """scores of 1000: e¹⁰⁰⁰ is larger than any float, and e⁻⁵⁰⁰⁰ smaller than any; the results are neither"""
    x = np.array([[1000.0, 1000.0], [-5000.0, -5000.0]])
    judge("LogSoftmax(1).forward(x)", LogSoftmax(1).forward(x), np.full((2, 2), -math.log(2.0)), given={"x": x})


def test_scores_far_apart():
    """the smaller of two scores 2000 apart: its probability is 0 in floating point, but the logarithm is −2000"""
    x = np.array([[0.0, -2e6], [2000.0, 0.0]])
    judge(
        "LogSoftmax(1).forward(x)",
        LogSoftmax(1).forward(x),
        np.array([[0.0, -2e6], [0.0, -2000.0]]),
        given={"x": x},
        mistakes={"the logarithm is taken of a probability that has underflowed to 0": np.array([[0.0, -np.inf]] * 2)},
    )


def test_not_a_number():
    """a NaN among the scores: nothing is known of its row, and all of it is NaN; the other row is as ever"""
    x = np.array([[1.0, np.nan], [0.0, 0.0]])
    wanted = np.array([[np.nan, np.nan], [-math.log(2.0), -math.log(2.0)]])
    judge("LogSoftmax(1).forward(x)", LogSoftmax(1).forward(x), wanted, given={"x": x})


def test_float32_stays_float32():
    """float32 in, float32 out, of values and of gradients"""
    x, g = np.array([[1.0, 2.0, 4.0]], np.float32), np.array([[1.0, -2.0, 3.0]], np.float32)
    op = LogSoftmax(1)
    y = op.forward(x)
    wanted = oracle.log_softmax(x)
    judge("LogSoftmax(1).forward(x), x of dtype float32", y, wanted.astype(np.float32), given={"x": x}, tolerance=1e-5)
    gradient = (g - np.exp(wanted) * 2.0).astype(np.float32)  # Σ g = 2
    judge("LogSoftmax(1).backward(g, y), of dtype float32", op.backward(g, y), gradient, tolerance=1e-5)
