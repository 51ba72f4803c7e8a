"""What layers did and how long it took them, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minidl.inspection.grid import Grid
from minidl.inspection.tables import emphasis, indented, size
from minidl.inspection.tracing import Shape

FORWARD = ("forward ms", "GFLOP/s", "of roof", "moved")
BACKWARD = ("backward ms", "GFLOP/s", "of roof", "moved")


@dataclass(frozen=True)
class Work:
    """What was done, and in what time.

    macs    multiply-adds of convolutions and matrix products, by their definition: Winograd's algorithm does with fewer
    moved   bytes that have to be moved at least: each operation reads what it is given and writes its result
    limit   the seconds that each operation would take at the machine's ceilings, added up
    """

    seconds: float = 0.0
    macs: int = 0
    moved: int = 0
    limit: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.seconds + other.seconds, self.macs + other.macs, self.moved + other.moved, self.limit + other.limit
        )

    @property
    def flops(self) -> float:
        """Floating-point operations a second; a multiply-add is two."""
        return 2 * self.macs / self.seconds if self.seconds else 0.0

    @property
    def intensity(self) -> float:
        """Floating-point operations for each byte moved."""
        return 2 * self.macs / self.moved if self.moved else 0.0

    @property
    def of_roof(self) -> float:
        """The speed as a share of the roofline's. Above 1 is what takes fewer multiplications, or stays in a cache."""
        return self.limit / self.seconds if self.seconds else 0.0


@dataclass
class Timing:
    """A layer: what it did in one run, for a whole batch.

    output_shape   without the batch; of the first tensor where it gives several, () where it gives none
    """

    name: str
    kind: str
    output_shape: Shape = ()
    forward: Work = field(default=Work())
    backward: Work = field(default=Work())

    @property
    def seconds(self) -> float:
        """Forward and backward."""
        return self.forward.seconds + self.backward.seconds

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "output_shape": list(self.output_shape),
            "forward": asdict(self.forward),
            "backward": asdict(self.backward),
        }


def grid(timings: Sequence[Timing], rest: Sequence[Timing], total: Timing, training: bool) -> Grid:
    """The layers, what is none of them, and the sum."""
    header = ("layer", "", "output", "MACs", *FORWARD, *(BACKWARD if training else ()), "share")
    names = [timing.name for timing in timings]
    rows = [_row(indented(timing.name), timing, total, training) for timing in timings]
    rows += [_row(timing.name, timing, total, training) for timing in rest]
    styles = [emphasis(name, names) for name in names] + ["dim"] * len(rest)
    return Grid(header, rows, _row("total", total, total, training), styles)


def _row(name: str, timing: Timing, total: Timing, training: bool) -> Sequence[str]:
    shape = "×".join(map(str, timing.output_shape))
    macs = f"{timing.forward.macs:,}" if timing.forward.macs else ""
    cells = (*_cells(timing.forward), *(_cells(timing.backward) if training else ()))
    return name, timing.kind, shape, macs, *cells, f"{timing.seconds / total.seconds:.1%}"


def _cells(work: Work) -> Sequence[str]:
    """Time, speed, share of the roofline, bytes; empty where there is nothing to say."""
    return (
        f"{1e3 * work.seconds:.3f}",
        f"{work.flops / 1e9:.1f}" if work.macs else "",
        f"{work.of_roof:.0%}" if work.limit else "",
        size(work.moved) if work.moved else "",
    )
