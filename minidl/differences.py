"""Finite differences: the slope of a function between two nearby points, and whether there is a kink between them.

A kink (relu at 0, a tie of maxima) has a slope on each side and no derivative. A step ε across it gives a mixture of
the two, which is no reason to call a backward pass wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.backend import to_device
from minidl.tensor import Tensor


@dataclass(frozen=True)
class Tolerance:
    """The step, and how far a derivative may be from its difference quotient."""

    eps: float
    atol: float
    rtol: float

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise ValueError(f"gradcheck: eps must be above 0, got {self.eps}")

    @property
    def smaller_eps(self) -> float:
        """A step that tells a kink beside x from a wrong derivative: far smaller, and still not lost in rounding."""
        return self.eps / 32

    def accepts(self, analytic: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        """Where |analytic − numeric| ≤ atol + rtol · |numeric|. NaN is never accepted."""
        return abs(analytic - numeric) <= self.atol + self.rtol * abs(numeric)


@dataclass(frozen=True)
class Line:
    """A line through the inputs of a function: all `tensors` moved at once, each along its direction."""

    evaluate: Callable[[], np.ndarray]  # the function's outputs (M,), as the tensors are now
    tensors: Sequence[Tensor]
    directions: Sequence[np.ndarray]

    def at(self, step: float) -> np.ndarray:
        """The outputs (M,) at x + step · direction. The data is replaced, not changed, and put back in any case."""
        originals = [x.data for x in self.tensors]
        try:
            for x, direction in zip(self.tensors, self.directions, strict=True):  # a tensor given twice moves twice
                x.data = (Tensor._wrap(x.data) + to_device(step * direction, x.device)).data
            return self.evaluate()
        finally:
            for x, original in zip(self.tensors, originals, strict=True):
                x.data = original

    def slopes(self, eps: float) -> np.ndarray:
        """Central differences (y(x + εu) − y(x − εu)) / 2ε, (M,)."""
        return (self.at(eps) - self.at(-eps)) / (2 * eps)

    def is_kinked(self, analytic: np.ndarray, tolerance: Tolerance) -> np.ndarray:
        """Where a kink explains that the difference quotient is not `analytic`: boolean (M,).

        A kink beside x is not met by a far smaller step, which `analytic` agrees with. A kink at x itself is met by
        every step: the slopes ahead and behind differ, by as much for a small step as for a large one (where a function
        is only curved, by less), and what lies between them is a subgradient. Where outputs are so large that rounding
        alone makes slopes differ, nothing is explained.
        """
        eps, large = tolerance.smaller_eps, tolerance.eps
        above, here, below = self.at(eps), self.at(0.0), self.at(-eps)
        ahead, behind, central = (above - here) / eps, (here - below) / eps, (above - below) / (2 * eps)
        slack = tolerance.atol + tolerance.rtol * abs(central)
        bend, least_bend = abs(ahead - behind), 1e-3 * (1 + abs(central))
        large_bend = abs(self.at(large) - 2 * here + self.at(-large)) / large
        bent = (bend > least_bend) & (large_bend < 2 * bend)
        low, high = np.minimum(ahead, behind) - slack, np.maximum(ahead, behind) + slack
        explained = tolerance.accepts(analytic, central) | (bent & (low <= analytic) & (analytic <= high))
        return explained & (rounding(here, eps) < least_bend)


def rounding(outputs: np.ndarray, eps: float) -> np.ndarray:
    """How wrong the rounding of outputs (M,) can make a slope between points ε apart."""
    return 4 * np.spacing(abs(outputs)) / eps


def unit(shape: tuple[int, ...], index: tuple[int, ...]) -> Any:
    """Zeros with a one at `index`: the direction that moves one element."""
    direction = np.zeros(shape)
    direction[index] = 1.0
    return direction
