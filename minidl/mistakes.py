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
    if _same(analytic, numeric):
        return ""  # what is wrong does not show here
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
    """Of one shape, and nearly equal for numbers of this size."""
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-6 * abs(b).max(initial=0.0))


def _factor(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """Proportional, with a factor that often is a size: of the whole, or along some axes."""
    if numeric.size < 2 or not numeric.any():
        return ""
    factor = float((analytic * numeric).sum() / (numeric * numeric).sum())
    if abs(factor - 1) < 1e-3 or not _same(analytic, factor * numeric):
        return ""  # so near to 1 it is no factor that someone forgot
    if abs(factor) < 1:
        times, what = 1 / factor, "too small: a mean where a sum belongs?"
    else:
        times, what = factor, "too large: a sum where a mean belongs, or something counted twice?"
    if round(times) < 2 or abs(times - round(times)) > 1e-3:
        return f"it is {factor:.6g} times what it should be: a factor is missing"
    return f"it is {round(times)} times {what}"


def _exchanged_axes(analytic: np.ndarray, numeric: np.ndarray) -> str:
    for axes in itertools.permutations(range(numeric.ndim)):
        if axes != tuple(range(numeric.ndim)) and _same(analytic.transpose(axes), numeric):
            return f"its axes are exchanged: a transpose to {axes} is missing"
    return ""


def _shifted(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """Off by one along an axis: all but the border is what its neighbour should be, and not right as it stands."""
    for axis, size in enumerate(numeric.shape):
        first, last = (np.take(numeric, range(start, size - 1 + start), axis) for start in (0, 1))
        for direction, start, moved, unmoved in (("behind", 1, first, last), ("ahead of", 0, last, first)):
            part = np.take(analytic, range(start, size - 1 + start), axis)
            if size > 2 and moved.any() and _same(part, moved) and not _same(part, unmoved):
                return f"along axis {axis} it is one element {direction} where it should be"
    return ""


def _elsewhere(analytic: np.ndarray, numeric: np.ndarray) -> str:
    if numeric.size <= 2 or not _same(np.sort(analytic, axis=None), np.sort(numeric, axis=None)):
        return ""
    question = ": a reshape where a transpose belongs?" if numeric.ndim > 1 else ""
    return f"its elements are right but stand in the wrong places{question}"


def _some_elements(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """Right in part: then the wrong elements are where to look."""
    wrong = ~np.isclose(analytic, numeric, rtol=1e-4, atol=1e-6 * abs(numeric).max(initial=0.0))
    if wrong.all() or not wrong.any():
        return ""
    if not analytic[wrong].any():
        return f"{wrong.sum()} of its {wrong.size} elements are zero and should not be"
    return f"{wrong.sum()} of its {wrong.size} elements are wrong, the others right"
