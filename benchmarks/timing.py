"""Timing that survives a noisy machine: candidates take turns, and what is quoted is the median and its quartiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Milliseconds over n runs."""

    median: float
    lower: float  # quartile
    upper: float  # quartile
    n: int

    def __str__(self) -> str:
        return f"{self.median:.3g} ms ({self.lower:.3g} to {self.upper:.3g})"


def interleaved(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time each candidate once a round, in turn, after one round that does not count.

    Taking turns means that when the machine slows down it slows down for all of them, and their ratios hold.
    """
    milliseconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(rounds + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            elapsed = 1000 * (time.perf_counter() - start)
            if round_number > 0:
                milliseconds[name].append(elapsed)
    timings = {}
    for name, values in milliseconds.items():
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        timings[name] = Timing(median, lower, upper, rounds)
    return timings
