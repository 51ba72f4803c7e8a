"""What is read out of results: times, ratios, shares of the machine's ceilings, for tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import figures
from benchmarks.figures import Spread
from benchmarks.results import measured

EAGER = ("torch/nchw", "torch/channels-last", "torch/tf32-off")  # PyTorch as people run it, in its layouts
FOLDED = ("torch/nchw-folded", "torch/channels-last-folded")  # and with batch norm folded into convolutions
PYTORCH = (EAGER, FOLDED, ("torch/compiled",), ("torch/tf32-on",))
OTHERS = (("onnxruntime",), ("mygrad",), ("dezero",), ("tinygrad",), ("naive",))


@dataclass(frozen=True)
class Reading:
    """One case of a file of results."""

    name: str
    case: Mapping[str, Any]
    ceilings: Mapping[str, float]

    def has(self, row: str | None) -> bool:
        """Whether the row was measured."""
        return row in measured(self.case)

    def samples(self, row: str) -> list[float]:
        return self.case["rows"][row]["seconds"]

    def time(self, row: str) -> Spread:
        """Seconds."""
        return figures.spread(self.samples(row))

    def fastest(self, rows: Sequence[str]) -> str | None:
        """Of these rows the one with the smallest median; None where none was measured."""
        return min((row for row in rows if self.has(row)), key=lambda row: self.time(row).median, default=None)

    def ratio(self, row: str, reference: str) -> Spread:
        """How many times as long as the reference a row takes."""
        return figures.ratio(self.samples(row), self.samples(reference))

    def flops(self, row: str) -> float:
        """Floating-point operations a second: two for each multiply-add of the direct algorithm."""
        return 2 * self.case["macs"] / self.time(row).median

    def bandwidth(self, row: str) -> float:
        """Bytes a second, of those that have to be moved at least."""
        return self.case["bytes"] / self.time(row).median

    def share(self, row: str) -> float:
        """Of the machine's ceiling: that of arithmetic, or of copying where there are no multiply-adds."""
        if self.case["macs"]:
            return self.flops(row) / self.ceilings["flops"]
        return self.bandwidth(row) / self.ceilings["bytes"]

    def memory(self, row: str) -> int | None:
        """Bytes that the case took at most, on top of the engine; None where that is not known."""
        found = self.case["rows"][row]
        if found["peak_bytes"] is None or found["baseline_bytes"] is None:
            return None
        return max(0, found["peak_bytes"] - found["baseline_bytes"])


def readings(results: Mapping[str, Any], prefix: str = "") -> Iterator[Reading]:
    """The cases whose names begin so, in their order."""
    for name, case in results["cases"].items():
        if name.startswith(prefix):
            yield Reading(name, case, results["ceilings"][str(case["threads"])])


def losses(results: Mapping[str, Any], rivals: Sequence[Sequence[str]]) -> list[tuple[Reading, str, Spread]]:
    """(case, row, ratio) wherever the fastest row of a rival is faster than minidl, the largest ratio first."""
    found = []
    for reading in readings(results):
        for rows in rivals:
            row = reading.fastest(rows)
            if row is not None and reading.has("minidl"):
                ratio = reading.ratio("minidl", row)
                if ratio.median > 1:
                    found.append((reading, row, ratio))
    return sorted(found, key=lambda loss: -loss[2].median)
