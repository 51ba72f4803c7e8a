"""What one meets before any arithmetic: an import, the cost of calling an operation; and an epoch from end to end."""

from __future__ import annotations

from benchmarks.case import EPOCH, RECORDED, START, Case
from benchmarks.cases.networks import network

OVERHEAD = ("add", "relu", "matmul")


def epoch(images: int) -> Case:
    """Training `resnet_small` on so many of the digits, once through, 64 at a time."""
    return network("resnet_small", "epoch/resnet_small/digits", EPOCH, 64, options={"images": images}, seconds=6.0)


def overhead(operation: str) -> Case:
    """One operation on 4×4 numbers, recorded for a backward pass: what is timed is everything but arithmetic."""
    return Case(f"overhead/{operation}/4x4", operation, RECORDED, (4, 4), everyone=True, seconds=2.0)


def start() -> Case:
    return Case("start/import", "import", START, everyone=True, seconds=10.0)


def cases() -> list[Case]:
    return [epoch(1437), start(), *map(overhead, OVERHEAD)]
