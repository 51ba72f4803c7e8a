"""What samples say: medians with their quartiles, and ratios with theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Spread:
    """A median, the quartiles around it, and of how many numbers they are."""

    median: float
    lower: float
    upper: float
    n: int


def spread(samples: Sequence[float] | np.ndarray) -> Spread:
    """Raises: ValueError for no samples."""
    if not len(samples):
        raise ValueError("spread: expected at least one sample, got none")
    lower, median, upper = np.quantile(samples, (0.25, 0.5, 0.75))
    return Spread(float(median), float(lower), float(upper), len(samples))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as long ours take: the ratio of the medians, with the quartiles of the ratios round by round.

    The two samples of one round were taken one after the other, on a machine in one mood; so their ratio is steadier
    than either. Raises: ValueError where they are not of the same rounds.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"ratio: expected samples of the same rounds, got {len(ours)} and {len(theirs)}")
    rounds = spread(np.divide(ours, theirs))
    return Spread(spread(ours).median / spread(theirs).median, rounds.lower, rounds.upper, rounds.n)


def bootstrap_ratio(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """The middle 99% of median(after) / median(before), each of them drawn again from its samples `RESAMPLES` times.

    So wide is what the ratio owes to chance (Efron 1979, "Bootstrap methods: another look at the jackknife").
    """
    random = np.random.default_rng(0)
    medians = [np.median(random.choice(samples, (RESAMPLES, len(samples))), axis=1) for samples in (before, after)]
    low, high = np.quantile(medians[1] / medians[0], (0.005, 0.995))
    return float(low), float(high)


def text(value: Spread, unit: float = 1.0) -> str:
    """As "12.3 (12.1 to 12.9)", divided by `unit`."""
    return f"{number(value.median / unit)} ({number(value.lower / unit)} to {number(value.upper / unit)})"


def number(value: float) -> str:
    """With three digits, and none of them as a power of ten."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{decimals}f}"
