"""Judges of exercise 1: the slope between two points."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.differences import Line
from minidl.exercises.judging import judge

pytestmark = pytest.mark.exercise("central-difference")


def line_of(function, *points, directions=None):
    """The Line through these vectors, along which the outputs are function(*vectors)."""
    tensors = [Tensor(np.array(point)) for point in points]
    directions = [np.ones(x.shape) for x in tensors] if directions is None else directions
    return Line(lambda: np.concatenate([np.zeros(0), function(*(x.data for x in tensors))]), tensors, directions)


def test_a_straight_line():
    """y = 3x: its slope is 3 everywhere, whatever the step"""
    line = line_of(lambda x: 3 * x, [2.0])
    judge("line.slopes(0.5), where y = 3x", line.slopes(0.5), np.array([3.0]), given={"x": 2.0, "eps": 0.5})
    judge("line.slopes(0.25), where y = 3x", line.slopes(0.25), np.array([3.0]), given={"x": 2.0, "eps": 0.25})


def test_a_parabola():
    """y = x² at 2: the errors on the two sides cancel, and the slope 4 is met exactly"""
    line = line_of(lambda x: x * x, [2.0])
    judge(
        "line.slopes(0.5), where y = x²",
        line.slopes(0.5),
        np.array([4.0]),
        given={"x": 2.0, "eps": 0.5, "y(x + eps)": 6.25, "y(x)": 4.0, "y(x - eps)": 2.25},
        mistakes={
            "the slope is taken from x to x + eps, on one side only": np.array([4.5]),
            "the slope is taken from x - eps to x, on one side only": np.array([3.5]),
        },
    )


def test_several_outputs():
    """three outputs, and two inputs that move at once: one slope for each output, negative where it falls"""
    line = line_of(
        lambda a, b: np.array([a[0] * b[0], a[0] ** 2, -3 * b[0]]),
        [3.0],
        [5.0],
        directions=[np.array([1.0]), np.array([2.0])],
    )
    judge(
        "line.slopes(0.125), where y = (a·b, a², −3b)",
        line.slopes(0.125),
        np.array([11.0, 6.0, -6.0]),
        given={"a": 3.0, "b": 5.0, "direction of a": 1.0, "direction of b": 2.0, "eps": 0.125},
    )


@pytest.mark.parametrize("eps", [0.1, 0.01, 0.001, 1e-5])
def test_a_cubic(eps):
    """y = x³ at 1: the slope comes out as 3 + eps², for the formula has an error of order eps²"""
    line = line_of(lambda x: x**3, [1.0])
    judge(f"line.slopes({eps}), where y = x³", line.slopes(eps), np.array([3 + eps**2]), given={"x": 1.0, "eps": eps})
