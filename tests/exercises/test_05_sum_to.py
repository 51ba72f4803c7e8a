"""Judges of exercise 5: what broadcasting repeated is added up."""

import numpy as np
import pytest

from minidl.exercises.judging import judge, untouched
from minidl.ops.broadcast import sum_to

pytestmark = pytest.mark.exercise("sum-to")


def added_up(g, shape):
    """Each element of g, added to the one element it was a copy of."""
    y = np.zeros(shape, dtype=g.dtype)
    for place in np.ndindex(g.shape):
        own = place[g.ndim - len(shape) :]  # broadcasting adds axes in front
        y[tuple(0 if n == 1 else i for i, n in zip(own, shape, strict=True))] += g[place]
    return y


def test_a_bias():
    """a bias (3,) was added to two rows: each of its elements receives from both"""
    g = np.array([[1.0, 2.0, 3.0], [10.0, -20.0, 30.0]])
    judge(
        "sum_to(g, (3,))",
        sum_to(g, (3,)),
        np.array([11.0, -18.0, 33.0]),
        given={"g": g},
        mistakes={"only the first row is taken": g[0], "the mean is taken": np.array([5.5, -9.0, 16.5])},
    )


def test_a_column():
    """a column (2, 1) was repeated three times to the right: the axis stays, with size 1"""
    g = np.array([[1.0, 2.0, 3.0], [10.0, -20.0, 30.0]])
    judge("sum_to(g, (2, 1))", sum_to(g, (2, 1)), np.array([[6.0], [20.0]]), given={"g": g})


def test_nothing_was_repeated():
    """of g's own shape: nothing is added up"""
    g = np.array([[1.0, -2.0], [3.0, 4.0]])
    judge("sum_to(g, (2, 2))", sum_to(g, (2, 2)), np.array([[1.0, -2.0], [3.0, 4.0]]), given={"g": g})


def test_a_number():
    """a number, of shape (), was added to every element"""
    g = np.array([[1.0, -2.0], [3.0, 4.0]])
    judge("sum_to(g, ())", sum_to(g, ()), np.array(6.0), given={"g": g})


def test_a_new_axis_and_a_column():
    """(2, 1) was repeated to (2, 2, 2): once more in front, and twice to the right"""
    g = np.array([[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]])
    judge("sum_to(g, (2, 1))", sum_to(g, (2, 1)), np.array([[33.0], [77.0]]), given={"g": g})


SHAPES = [
    ((2, 3, 4, 5), (5,)),  # a bias of channels, (N, H, W, C)
    ((2, 3, 4, 5), (4, 5)),
    ((2, 3, 4, 5), (2, 1, 1, 5)),
    ((2, 3, 4, 5), (3, 1, 5)),
    ((2, 3, 4, 5), (1, 1, 1, 1)),
    ((2, 3, 4, 5), (1, 4, 1)),
    ((3, 3, 3), (3, 1, 3)),  # all sizes alike: only the place of an axis tells which it is
    ((3, 3, 3), (3, 3)),
    ((3, 3, 3), (3, 1)),
    ((2, 1, 3), (1, 3)),  # an axis of size 1 that was not repeated
    ((4, 1, 2), (1, 1)),
    ((1, 1, 3), (3,)),
    ((1, 2), (2,)),
    ((1, 1), ()),
    ((0, 3), (1, 3)),  # repeated no times: the sum of nothing
    ((0, 3), (3,)),
]


@pytest.mark.parametrize(("larger", "shape"), SHAPES, ids=str)
def test_shapes(larger, shape):
    """new axes in front, repeated axes of size 1, and both at once; g keeps its numbers"""
    g = np.random.default_rng(0).standard_normal(larger)
    with untouched(f"sum_to(g, {shape})", g=g):
        got = sum_to(g, shape)
    judge(f"sum_to(g, {shape}), where g has shape {larger}", got, added_up(g, shape))


def test_float32():
    """what is float32 stays float32"""
    g = np.random.default_rng(1).standard_normal((4, 2, 3)).astype(np.float32)
    for shape in [(3,), (2, 1), (4, 1, 3)]:
        judge(f"sum_to(g, {shape}), where g is float32", sum_to(g, shape), added_up(g, shape), tolerance=1e-5)
