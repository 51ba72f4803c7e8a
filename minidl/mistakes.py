"""What a wrong gradient looks like: the mistakes that are made again and again, recognised by their numbers."""

from __future__ import annotations

import itertools

import numpy as np


def likely_mistake(analytic: np.ndarray, numeric: np.ndarray, ignores_upstream: bool = False) -> str:
    """A guess at why the gradient `analytic` is not `numeric`, or "" when the numbers tell nothing.

    analytic          what backward gave, for one random upstream gradient; of any shape
    numeric           what finite differences gave, of the same shape
    ignores_upstream  whether backward gives the same for another upstream gradient
    """
    if not np.isfinite(analytic).all():
        return "it is not finite"
    if not analytic.any():
        return "it is zero"
    if ignores_upstream:
        return "it is the same for every upstream gradient: backward does not multiply by g"
    if _same(analytic, -numeric):
        return "its sign is wrong"
    return (
        _factor(analytic, numeric)
        or _exchanged_axes(analytic, numeric)
        or _shifted(analytic, numeric)
        or _elsewhere(analytic, numeric)
        or _some_elements(analytic, numeric)
    )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-6)


def _factor(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """Proportional, with a factor that often is a size: of the whole, or along some axes."""
    if numeric.size < 2 or not numeric.any():
        return ""
    factor = float((analytic * numeric).sum() / (numeric * numeric).sum())
    if not _same(analytic, factor * numeric):
        return ""
    if abs(factor) < 1:
        times, what = 1 / factor, "too small: a mean where a sum belongs?"
    else:
        times, what = factor, "too large: a sum where a mean belongs, or something counted twice?"
    if abs(times - round(times)) > 1e-3:
        return f"it is {factor:.4g} times what it should be: a factor is missing"
    return f"it is {round(times)} times {what}"


def _exchanged_axes(analytic: np.ndarray, numeric: np.ndarray) -> str:
    for axes in itertools.permutations(range(numeric.ndim)):
        if axes != tuple(range(numeric.ndim)) and _same(analytic.transpose(axes), numeric):
            return f"its axes are exchanged: a transpose to {axes} is missing"
    return ""


def _shifted(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """Off by one along an axis: all but the border is what its neighbour should be."""
    for axis, size in enumerate(numeric.shape):
        inner, outer = (np.take(numeric, range(start, size - 1 + start), axis) for start in (0, 1))
        for direction, moved in (("behind", inner), ("ahead of", outer)):
            start = 1 if direction == "behind" else 0
            if size > 2 and moved.any() and _same(np.take(analytic, range(start, size - 1 + start), axis), moved):
                return f"along axis {axis} it is one element {direction} where it should be"
    return ""


def _elsewhere(analytic: np.ndarray, numeric: np.ndarray) -> str:
    if numeric.size > 2 and _same(np.sort(analytic, axis=None), np.sort(numeric, axis=None)):
        return "its elements are right but stand in the wrong places: a reshape where a transpose belongs?"
    return ""


def _some_elements(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """Right in part: then the wrong elements are where to look."""
    wrong = ~np.isclose(analytic, numeric, rtol=1e-4, atol=1e-6)
    if wrong.all() or not wrong.any():
        return ""
    if not analytic[wrong].any():
        return f"{wrong.sum()} of its {wrong.size} elements are zero and should not be"
    return f"{wrong.sum()} of its {wrong.size} elements are wrong, the others right"
