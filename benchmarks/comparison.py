"""What changed between two files of results, row by row, and whether it is more than noise.

A machine is not equally fast on two days. Where both files have the same row of PyTorch, what is compared is therefore
each row's time as a share of PyTorch's in the same round; otherwise, and for that row itself, seconds.

The ratio of the two medians comes with the interval in which it lies when both are drawn again from their samples, 99
times of 100 (a bootstrap). If 1 is not in it, the row is faster or slower; otherwise the difference may be chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import figures
from benchmarks.engines.registry import label
from benchmarks.reading import EAGER
from benchmarks.results import measured

SAME = ("what", "mode", "shape", "threads", "device")  # cases that differ in one of these are not compared


@dataclass(frozen=True)
class Change:
    """One row of one case, before and after.

    ratio        median of after / median of before
    low, high    between which it lies, 99 times of 100
    share_of     the row whose time it was measured in; empty for seconds
    """

    case: str
    row: str
    ratio: float
    low: float
    high: float
    share_of: str

    @property
    def verdict(self) -> str:
        if self.low <= 1 <= self.high:
            return "no more than noise"
        return "faster" if self.high < 1 else "slower"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Of all rows that both files have."""
    for name, case in before["cases"].items():
        other = after["cases"].get(name)
        if other is None or any(case[key] != other[key] for key in SAME):
            continue
        rows, other_rows = measured(case), measured(other)
        reference = next((row for row in EAGER if row in rows and row in other_rows), "")
        for row in rows.keys() & other_rows.keys():
            share_of = reference if row != reference else ""
            samples = [_samples(rows, row, share_of), _samples(other_rows, row, share_of)]
            medians = [figures.spread(s).median for s in samples]
            yield Change(name, row, medians[1] / medians[0], *figures.bootstrap_ratio(*samples), share_of)


def _samples(rows: Mapping[str, Any], row: str, share_of: str) -> Sequence[float]:
    seconds = rows[row]["seconds"]
    return [a / b for a, b in zip(seconds, rows[share_of]["seconds"], strict=True)] if share_of else seconds


def table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The changes as text, the largest first; and how many are no more than noise."""
    found = sorted(changes(before, after), key=lambda change: (-abs(change.ratio - 1), change.case, change.row))
    lines = []
    for change in found:
        if change.verdict != "no more than noise":
            unit = f" of {label(change.share_of)}" if change.share_of else ""
            lines.append(
                f"{change.case:44}  {label(change.row):28}  {change.verdict}: ×{figures.number(change.ratio)} "
                f"({figures.number(change.low)} to {figures.number(change.high)}){unit}"
            )
    lines.append(f"{len(found) - len(lines)} of {len(found)} rows have changed by no more than noise")
    lines += _differing(before, after)
    return "\n".join(lines)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What could not be compared."""
    if before["machine"] != after["machine"]:
        yield f"the machines differ: {before['machine']} and {after['machine']}"
    for name in before["cases"].keys() & after["cases"].keys():
        if different := [key for key in SAME if before["cases"][name][key] != after["cases"][name][key]]:
            yield f"{name}: not compared, for {' and '.join(different)} differ"
    if alone := sorted(before["cases"].keys() ^ after["cases"].keys()):
        yield f"in one file only: {', '.join(alone)}"
