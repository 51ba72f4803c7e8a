"""Judges of exercise 2: when two derivatives count as equal."""

import numpy as np
import pytest

from minidl.differences import Tolerance
from minidl.exercises.judging import require

pytestmark = pytest.mark.exercise("relative-error")


def judge_accepts(analytic, numeric, wanted, atol, rtol):
    analytic, numeric, wanted = np.array(analytic), np.array(numeric), np.array(wanted)
    got = Tolerance(eps=1e-6, atol=atol, rtol=rtol).accepts(analytic, numeric)
    call = f"Tolerance(atol={atol}, rtol={rtol}).accepts(analytic, numeric)"
    given = {"analytic": analytic, "numeric": numeric}
    boolean = isinstance(got, np.ndarray | np.generic) and got.dtype == bool
    require(boolean, f"wanted  an array of booleans\ngot     {got!r:.200}", call=call, given=given)
    said = f"wanted  {wanted.tolist()}\ngot     {got.tolist()}"
    if got.shape != wanted.shape:
        said += (
            f"\nan answer for each pair is wanted, so an array of shape {wanted.shape}; this one has shape {got.shape}"
        )
        require(False, said, call=call, given=given)
    for place in np.ndindex(wanted.shape):
        a, n = float(analytic[place]), float(numeric[place])
        said += f"\n{a:.6g} and {n:.6g} differ by {abs(a - n):.6g}, and up to {atol + rtol * abs(n):.6g} is accepted"
        require(got[place] == wanted[place], said, call=call, given=given)
        said = said.rpartition("\n")[0]


def test_around_four():
    """atol 0.5 and rtol 0.25: around 4, a difference up to 0.5 + 0.25 · 4 = 1.5 is accepted"""
    judge_accepts([4.0, 5.25, 2.75, 5.75, 2.25], [4.0] * 5, [True, True, True, False, False], atol=0.5, rtol=0.25)


def test_the_bound_itself():
    """a difference of exactly atol + rtol · |numeric| is still accepted"""
    judge_accepts([5.5, 2.5], [4.0, 4.0], [True, True], atol=0.5, rtol=0.25)


def test_negative_derivatives():
    """around −4 as much is accepted as around 4"""
    judge_accepts([-4.0, -5.25, -2.75, -5.75, -2.25, 4.0], [-4.0] * 6, [True] * 3 + [False] * 3, atol=0.5, rtol=0.25)


def test_relative_to_the_difference_quotient():
    """the quotient is what is trusted: a large wrong gradient does not widen its own tolerance"""
    judge_accepts([8.0, 0.875, -0.875], [4.0, 0.0, 0.0], [False] * 3, atol=0.5, rtol=0.5)


def test_not_a_number():
    """NaN is never accepted, on either side"""
    nan = float("nan")
    judge_accepts([nan, 1.0, nan], [1.0, nan, nan], [False] * 3, atol=0.5, rtol=0.25)


@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3)])
def test_many(shape):
    """an answer for each pair of a vector or a matrix of derivatives"""
    random = np.random.default_rng(0)
    numeric = random.standard_normal(shape)
    analytic = numeric + 0.4 * random.standard_normal(shape)
    wanted = np.zeros(shape, dtype=bool)
    for place in np.ndindex(shape):
        wanted[place] = abs(analytic[place] - numeric[place]) <= 0.125 + 0.25 * abs(numeric[place])
    judge_accepts(analytic, numeric, wanted, atol=0.125, rtol=0.25)
