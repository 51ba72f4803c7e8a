"""Judges of exercise 7: sums and means over axes, and their gradients."""

import itertools
import math

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, require, untouched
from minidl.ops.reduce import Sum, mean

pytestmark = pytest.mark.exercise("sum-mean")


def leaf(values):
    return Tensor(np.array(values), requires_grad=True)


def place_in_sum(place, axes):
    """Where an element of x is counted: the same place, with 0 on the axes that are added up."""
    return tuple(0 if axis in axes else i for axis, i in enumerate(place))


def added_up(x, axes, keepdims):
    y = np.zeros([1 if axis in axes else n for axis, n in enumerate(x.shape)], dtype=x.dtype)
    for place in np.ndindex(x.shape):
        y[place_in_sum(place, axes)] += x[place]
    return y if keepdims else y.reshape([n for axis, n in enumerate(x.shape) if axis not in axes])


def handed_out(g, shape, axes):
    """The gradient of a sum: every element receives what arrived at the sum it was counted in."""
    kept = g.reshape([1 if axis in axes else n for axis, n in enumerate(shape)])
    x_grad = np.zeros(shape, dtype=g.dtype)
    for place in np.ndindex(shape):
        x_grad[place] = kept[place_in_sum(place, axes)]
    return x_grad


X = np.array([[1.0, 2.0], [3.0, 5.0]])


def test_sums_of_rows():
    """the sum over axis 1 of a 2×2 matrix: one number for each row"""
    judge("Sum(axes=(1,), keepdims=False)(x)", Sum((1,), False)(Tensor(X)).data, np.array([3.0, 8.0]), given={"x": X})


def test_gradient_of_sums_of_rows():
    """the first sum's gradient goes to all of the first row, the second one's to all of the second"""
    x, g = leaf(X), np.array([10.0, -20.0])
    Sum((1,), False)(x).backward(g)
    judge(
        "Sum(axes=(1,), keepdims=False)(x).backward(g); x.grad",
        x.grad.data,
        np.array([[10.0, 10.0], [-20.0, -20.0]]),
        given={"x": X, "g": g},
        mistakes={
            "g is repeated along the axis that was kept: NumPy lines up shapes on the right": [[10, -20], [10, -20]],
            "g is left out": np.ones((2, 2)),
            "g is divided by the number of summands, as for a mean": [[5, 5], [-10, -10]],
        },
    )


def test_means():
    """the mean over axis 1, over axis 0, and over all"""
    for axis, wanted in [(1, [1.5, 4.0]), (0, [2.0, 3.5]), (None, 2.75)]:
        judge(f"mean(x, axis={axis})", mean(Tensor(X), axis).data, np.array(wanted), given={"x": X})


def test_gradient_of_means():
    """each element of a row of two has half of the weight"""
    x, g = leaf(X), np.array([10.0, -20.0])
    mean(x, 1).backward(g)
    wanted = np.array([[5.0, 5.0], [-10.0, -10.0]])
    judge("mean(x, axis=1).backward(g); x.grad", x.grad.data, wanted, given={"x": X, "g": g})


AXES = [axes for count in range(4) for axes in itertools.combinations(range(3), count)]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", AXES)
def test_all_axes(axes, keepdims):
    """every choice of axes of a (2, 3, 4), none and all of them too; x and g keep their numbers"""
    random = np.random.default_rng(0)
    x = leaf(random.standard_normal((2, 3, 4)))
    wanted = added_up(x.data, axes, keepdims)
    g = random.standard_normal(wanted.shape)
    call = f"Sum(axes={axes}, keepdims={keepdims})(x), where x has shape (2, 3, 4)"
    with untouched(call, x=x, g=g):
        y = Sum(axes, keepdims)(x)
        judge(call, y.data, wanted)
        y.backward(Tensor._wrap(g))
    judge(f"{call}, and .backward(g); x.grad", x.grad.data, handed_out(g, (2, 3, 4), axes))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (2, 0), (-3, 1), ()])
def test_means_over_axes(axis, keepdims):
    """several axes, axes counted from the end, and keepdims; the gradient is divided as the mean is"""
    random = np.random.default_rng(1)
    x = leaf(random.standard_normal((2, 3, 4)))
    axes = {None: (0, 1, 2), 0: (0,), -1: (2,), (2, 0): (0, 2), (-3, 1): (0, 1)}.get(axis, axis)
    n = math.prod((2, 3, 4)[i] for i in axes)
    wanted = added_up(x.data, axes, keepdims) / n
    y = mean(x, axis, keepdims)
    call = f"mean(x, axis={axis}, keepdims={keepdims}), where x has shape (2, 3, 4)"
    judge(call, y.data, wanted)
    g = random.standard_normal(wanted.shape)
    y.backward(g)
    judge(f"{call}, and .backward(g); x.grad", x.grad.data, handed_out(g, (2, 3, 4), axes) / n)


def test_dtypes():
    """float32 stays float32, and the mean of integers and booleans is float32"""
    x = Tensor(X.astype(np.float32), requires_grad=True)
    y = Sum((0,), False)(x)
    judge("Sum(axes=(0,), keepdims=False)(x), where x is float32", y.data, np.array([4.0, 7.0], dtype=np.float32))
    halves = np.array([1.5, 4.0], dtype=np.float32)
    judge("mean(x, axis=1), where x is float32", mean(x, 1).data, halves)
    judge("mean(x, axis=1), where x is int64", mean(Tensor([[1, 2], [3, 5]]), 1).data, halves)
    half = np.array([0.5], dtype=np.float32)
    got, call = mean(X.astype(np.float32), 1), "mean(x, axis=1), where x is a float32 array, and no Tensor"
    require(isinstance(got, np.ndarray), f"wanted  an array\ngot     a {type(got).__name__}", call=call)
    judge(call, got, halves)
    judge("mean(x, axis=1), where x is boolean", mean(Tensor([[True, False]]), 1).data, half)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # 0 / 0
def test_the_mean_of_nothing():
    """the mean of no elements is NaN"""
    judge("mean(x, axis=1), where x has shape (2, 0)", mean(Tensor(np.zeros((2, 0))), 1).data, np.array([np.nan] * 2))
