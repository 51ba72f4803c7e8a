"""Slopes between two points, and the kinks between them."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.differences import Line, Tolerance, unit

TOLERANCE = Tolerance(eps=1e-6, atol=1e-6, rtol=1e-5)


def line(function, x, index=(0,)):
    x = Tensor(np.asarray(x, float))
    return Line(lambda: function(x.data), [x], [unit(x.shape, index)])


def test_a_unit_direction():
    assert unit((2, 3), (1, 0)).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert unit((), ()) == 1


def test_the_slope_of_every_output():
    slopes = line(lambda x: np.array([x[0] ** 3, np.sin(x[0]), x[1]]), [2.0, 5.0]).slopes(1e-6)
    np.testing.assert_allclose(slopes, [12.0, np.cos(2.0), 0.0], atol=1e-8)


def test_all_tensors_move_at_once_and_are_put_back():
    a, b = Tensor(np.array([1.0])), Tensor(np.array([2.0]))
    before = a.data, b.data
    along = Line(lambda: a.data * b.data, [a, b], [np.array([3.0]), np.array([-1.0])])
    np.testing.assert_allclose(along.slopes(1e-6), [3 * 2 - 1 * 1], atol=1e-8)
    np.testing.assert_allclose(along.at(0.5), [(1 + 1.5) * (2 - 0.5)])
    assert (a.data is before[0], b.data is before[1]) == (True, True)


def test_the_data_is_put_back_when_the_function_raises():
    x = Tensor(np.array([1.0]))
    before = x.data
    with pytest.raises(ZeroDivisionError):
        Line(lambda: 1 // 0, [x], [np.ones(1)]).slopes(1e-6)
    assert x.data is before


@pytest.mark.parametrize("eps", [0.0, -1e-6, np.nan])
def test_a_step_goes_forward(eps):
    with pytest.raises(ValueError, match="gradcheck: eps must be above 0, got"):
        Tolerance(eps, 1e-6, 1e-5)


def test_what_is_accepted():
    analytic, numeric = np.array([1.0, 1.0, 1.0, np.nan, 0.0]), np.array([1 + 9e-6, 1 + 2e-5, -1.0, np.nan, 9e-7])
    assert TOLERANCE.accepts(analytic, numeric).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("function", "x", "analytic", "kinked"),
    [
        (lambda x: np.maximum(x, 0), 0.0, 0.0, True),  # at the kink, either side and all between
        (lambda x: np.maximum(x, 0), 0.0, 1.0, True),
        (lambda x: np.maximum(x, 0), 0.0, 0.3, True),
        (lambda x: np.maximum(x, 0), 0.0, 1.1, False),
        (lambda x: np.maximum(x, 0), 0.0, -0.1, False),
        (lambda x: np.maximum(x, 0), 0.0, np.nan, False),
        (lambda x: np.maximum(x, 0), 5e-7, 1.0, True),  # beside it, the slope of that side
        (lambda x: np.maximum(x, 0), 5e-7, 0.0, False),
        (lambda x: np.maximum(x, 0), 5e-7, 0.3, False),
        (lambda x: np.maximum(x, 0), -5e-7, 0.0, True),
        (lambda x: np.maximum(x, 0), -5e-7, 1.0, False),
        (lambda x: x * x, 3.0, 6.1, False),  # no kink at all
        (lambda x: 1e3 * x * x, 3.0, 6000.1, False),  # nor where the slope changes fast
        (lambda x: 1e6 * x * x, 0.0, 0.02, False),
        (lambda x: np.maximum(x, 0) + 1e3 * x * x, 0.0, 0.3, True),  # a kink in what is curved
        (lambda x: x + 1e9, 0.5, 0.0, False),  # where a small step is lost in rounding
    ],
)
def test_what_is_a_kink(function, x, analytic, kinked):
    found = line(function, [x]).is_kinked(np.array([analytic]), TOLERANCE)
    assert found.tolist() == [kinked]
