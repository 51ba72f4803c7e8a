"""Judges of exercise 9: operations that only move elements, and the way back."""

import itertools
import math

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from minidl.ops.indexing import GetItem, PutItem
from minidl.ops.shape import Reshape, Transpose

pytestmark = pytest.mark.exercise("moving-elements")


def leaf(values):
    return Tensor(np.array(values), requires_grad=True)


def put_back(g, index, shape):
    """Each element of g, added to the place that it was read from: `index` is asked where, with numbers for places."""
    numbers = np.arange(math.prod(shape)).reshape(shape)[index]
    x_grad = np.zeros(math.prod(shape), dtype=g.dtype)
    for place in np.ndindex(g.shape):
        x_grad[numbers[place]] += g[place]
    return x_grad.reshape(shape)


def test_reshape():
    """six elements in rows of three become rows of two, and g goes back into rows of three"""
    x, g = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([[1.0, -2.0], [3.0, 4.0], [5.0, -6.0]])
    y = Reshape((3, 2))(x)
    y.backward(g)
    judge(
        "Reshape((3, 2))(x).backward(g); x.grad",
        x.grad.data,
        np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]),
        given={"x": x, "g": g},
    )


def test_transpose():
    """rows become columns, and in g they become rows again"""
    x, g = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([[1.0, -2.0], [3.0, 4.0], [5.0, -6.0]])
    Transpose((1, 0))(x).backward(g)
    judge(
        "Transpose((1, 0))(x).backward(g); x.grad",
        x.grad.data,
        np.array([[1.0, 3.0, 5.0], [-2.0, 4.0, -6.0]]),
        given={"x": x, "g": g},
    )


def test_the_axes_go_round():
    """axes (1, 2, 0): each moves on by one place, and the way back is (2, 0, 1), not the same again"""
    x = leaf(np.zeros((2, 2, 2)))
    g = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    Transpose((1, 2, 0))(x).backward(g)
    judge(
        "Transpose((1, 2, 0))(x).backward(g); x.grad",
        x.grad.data,
        np.array([[[1.0, 3.0], [5.0, 7.0]], [[2.0, 4.0], [6.0, 8.0]]]),
        given={"g": g},
        mistakes={
            "g is moved by the same axes, (1, 2, 0), once more": [[[1, 5], [2, 6]], [[3, 7], [4, 8]]],
            "all axes of g are reversed": [[[1, 5], [3, 7]], [[2, 6], [4, 8]]],
        },
    )


def test_put_a_slice():
    """zeros, with the elements of x at every other place"""
    x = np.array([10.0, -20.0, 30.0])
    y = PutItem(slice(0, None, 2), (6,)).forward(x)
    judge(
        "PutItem(slice(0, None, 2), (6,)).forward(x)",
        y,
        np.array([10.0, 0.0, -20.0, 0.0, 30.0, 0.0]),
        given={"x": x, "index": slice(0, None, 2), "shape": (6,)},
    )


def test_put_twice_at_one_place():
    """place 1 is named twice, and receives both: 10 + 30"""
    x, index = np.array([10.0, -20.0, 30.0]), np.array([1, 2, 1])
    y = PutItem(index, (4,)).forward(x)
    judge(
        "PutItem(index, (4,)).forward(x)",
        y,
        np.array([0.0, 40.0, -20.0, 0.0]),
        given={"x": x, "index": index},
        mistakes={"only the last of the values that go to one place is kept": np.array([0.0, 30.0, -20.0, 0.0])},
    )


def test_read_rows():
    """rows 2, 0, 2 and 2 of a matrix are read: row 2 receives three gradients, row 1 none"""
    x, index = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([2, 0, 2, 2])
    g = np.array([[1.0, 10.0], [2.0, 20.0], [-4.0, 40.0], [0.5, 5.0]])
    GetItem((index,))(x).backward(g)
    judge(
        "GetItem((index,))(x).backward(g); x.grad, where y = x[index]",
        x.grad.data,
        np.array([[2.0, 20.0], [0.0, 0.0], [-2.5, 55.0]]),
        given={"x": x, "index": index, "g": g},
        mistakes={"only the last of the values that go to one place is kept": [[2, 20], [0, 0], [0.5, 5]]},
    )


@pytest.mark.parametrize("axes", list(itertools.permutations(range(4))), ids=str)
def test_all_orders_of_axes(axes):
    """every order of the axes of a (2, 3, 4, 5), where each size tells which axis it is"""
    x = leaf(np.random.default_rng(0).standard_normal((2, 3, 4, 5)))
    y = Transpose(axes)(x)
    g = np.random.default_rng(1).standard_normal(y.shape)
    wanted = np.zeros(x.shape)
    for place in np.ndindex(y.shape):
        back = [0] * 4
        for i, axis in enumerate(axes):  # axis i of y is axis axes[i] of x
            back[axis] = place[i]
        wanted[tuple(back)] = g[place]
    call = f"Transpose({axes})(x).backward(g); x.grad, where x has shape (2, 3, 4, 5)"
    with untouched(call, g=g):
        y.backward(Tensor._wrap(g))
    judge(call, x.grad.data, wanted)


@pytest.mark.parametrize(
    ("shape", "new"),
    [((2, 3, 4), (4, 6)), ((6,), (1, 2, 3)), ((2, 3), (6,)), ((1, 1), ()), ((), (1,)), ((0, 3), (3, 0))],
    ids=str,
)
def test_reshapes(shape, new):
    """all kinds of shapes; g goes back into that of x, element by element in the same order"""
    x, g = leaf(np.ones(shape)), np.asarray(np.random.default_rng(2).standard_normal(new))
    with untouched(f"Reshape({new})(x).backward(g), where x has shape {shape}", g=g):
        Reshape(new)(x).backward(Tensor._wrap(g))
    wanted = np.zeros(shape)
    for back, place in zip(np.ndindex(shape), np.ndindex(new), strict=True):
        wanted[back] = g[place]
    judge(f"Reshape({new})(x).backward(g); x.grad, where x has shape {shape}", x.grad.data, wanted)


ROWS, COLUMNS = np.array([2, 0, 2, -1]), np.array([1, 3, 1, -1])
INDICES = {
    "2": (2,),
    ":, 1": (slice(None), 1),
    "1:, slice(None, None, -2)": (slice(1, None), slice(None, None, -2)),
    "..., -1": (..., -1),
    "None, 1": (None, 1),
    "a mask": (np.array([[True, False, False, True], [False] * 4, [True] * 4]),),
    "a mask of rows": (np.array([True, False, True]),),
    "rows": (ROWS,),
    "rows, columns": (ROWS, COLUMNS),
    ":, columns": (slice(None), COLUMNS),
    "rows, 1:3": (ROWS, slice(1, 3)),
    "a table of rows": (ROWS.reshape(2, 2),),
    "rows below each other, columns": (ROWS[:, None], COLUMNS),
}


@pytest.mark.parametrize("name", INDICES)
def test_indices(name):
    """x[index] of a (3, 4, 2) for every kind of index; g goes back to where it was read, and keeps its numbers"""
    index, random = INDICES[name], np.random.default_rng(3)
    x = leaf(random.standard_normal((3, 4, 2)))
    y = GetItem(index)(x)
    g = random.standard_normal(y.shape)
    wanted = put_back(g, index, (3, 4, 2))
    given = {"index": index, "rows": ROWS, "columns": COLUMNS}
    call = f"GetItem(index)(x).backward(g); x.grad, where y = x[{name}], and x has shape (3, 4, 2)"
    with untouched(call, g=g):
        y.backward(Tensor._wrap(g))
    judge(call, x.grad.data, wanted, given=given)
    call = f"PutItem(index, (3, 4, 2)).forward(g), where the index is [{name}]"
    with untouched(call, g=g):
        y = PutItem(index, (3, 4, 2)).forward(g)
    judge(call, y, wanted, given=given)


def test_float32():
    """what is float32 stays float32"""
    x = np.array([1.5, -2.0, 4.0], dtype=np.float32)
    for index, wanted in [(np.array([1, 0, 1]), [-2.0, 5.5]), (np.array([[False] * 3, [True] * 3]), [[0.0] * 3, x])]:
        shape = np.shape(wanted)
        y = PutItem((index,), shape).forward(x)
        judge(f"PutItem(index, {shape}).forward(x), where x is float32", y, np.array(wanted, dtype=np.float32))
    read = GetItem((np.array([1, 0, 1]),))
    read.forward(x)
    got = read.backward(np.array([1.0, 10.0, 100.0], dtype=np.float32))
    judge("GetItem([1, 0, 1]).backward(g), where x and g are float32", got, np.array([10.0, 101.0, 0.0], np.float32))
