"""Axes: names of axes as numbers, shapes after a reduction, and indices of one axis."""

import numpy as np
import pytest

from minidl.ops.axes import (
    at_least_1d,
    check_keepdims,
    kept_shape,
    normalized_axes,
    normalized_axis,
    on_axis,
    removed_shape,
)


def test_axes_count_from_either_end():
    assert [normalized_axis("op", axis, 3) for axis in (-3, -2, -1, 0, 1, np.int64(2))] == [0, 1, 2, 0, 1, 2]
    assert normalized_axes("op", None, 3) == (0, 1, 2)
    assert normalized_axes("op", -1, 3) == (2,)
    assert normalized_axes("op", [-1, 0], 3) == (0, 2)
    assert normalized_axes("op", (), 3) == ()


@pytest.mark.parametrize("axis", [3, -4, 1.0, "1", None, True])
def test_an_axis_that_does_not_exist(axis):
    with pytest.raises(ValueError, match=f"^op: axis {axis!r} does not exist in a tensor of 3 dimension"):
        normalized_axis("op", axis, 3)


def test_one_axis_named_twice():
    with pytest.raises(ValueError, match=r"^op: axis \(1, -2\) names one dimension twice"):
        normalized_axes("op", (1, -2), 3)


def test_keepdims_is_true_or_false():
    check_keepdims("op", True)
    check_keepdims("op", np.bool_(False))
    with pytest.raises(TypeError, match="^op: expected keepdims to be True or False, got 1; several axes are given as"):
        check_keepdims("op", 1)


@pytest.mark.parametrize("axes", [(), (0,), (1, 3), (0, 1, 2, 3)])
def test_the_shapes_are_those_of_a_sum(axes):
    x = np.ones((2, 3, 1, 5))
    assert kept_shape(x.shape, axes) == x.sum(axis=axes, keepdims=True).shape
    assert removed_shape(x.shape, axes) == x.sum(axis=axes).shape


def test_the_index_of_one_axis():
    x = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(x[on_axis(0, 1)], x[1])
    assert np.array_equal(x[on_axis(2, slice(1, 3))], x[:, :, 1:3])


def test_a_number_as_a_vector():
    x = np.ones(3)
    assert at_least_1d(x) is x
    assert at_least_1d(np.array(2.0)).shape == (1,)


def test_a_number_is_reduced_like_a_vector_of_one():
    assert normalized_axes("op", 0, 0) == normalized_axes("op", -1, 0) == normalized_axes("op", (0,), 0) == ()
    for axis in (1, -2, (0, 0), (0, -1)):
        with pytest.raises(ValueError, match="op: axis .* does not exist in a tensor of 0 dimension"):
            normalized_axes("op", axis, 0)
