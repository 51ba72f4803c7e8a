"""The layers of a network as a table for people: plain text, or with rules and colours on a terminal that has rich."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidl.inspection.tracing import Shape

HEADER = ("layer", "", "output", "parameters", "MACs", "activations", "field", "stride")  # field: receptive field


@dataclass
class Layer:
    """A module of a network: what it computes for one image, the modules inside it included.

    output_shape      without the batch; of the first tensor where it gives several, () where it gives none; None when
                      it was not run. That of the last time, when it was run several times
    parameters        how many numbers it learns
    macs              multiply-adds of its convolutions and matrix products
    activation_bytes  memory of all results that are computed in it
    receptive_field   how many rows and columns of the image an element of its output sees (more than there are, when
                      the window reaches over the border); None: all of it
    stride            how many rows and columns of the image lie between neighbours of its output
    """

    name: str
    kind: str
    depth: int
    output_shape: Shape | None = None
    parameters: int = 0
    macs: int = 0
    activation_bytes: int = 0
    receptive_field: tuple[float, float] | None = None
    stride: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}


def text(layers: Sequence[Layer], network: Layer) -> str:
    """The layers, and the network that they make up as their sum, as lines of text."""
    rows = _rows(layers, network)
    widths = [max(len(row[i]) for row in (HEADER, *rows)) for i in range(len(HEADER))]
    lines = [_line(row, widths) for row in (HEADER, *rows)]
    rule = "─" * len(lines[0])  # the header's last cell ends where its column does
    return "\n".join((lines[0], rule, *lines[1:-1], rule, lines[-1]))


def show(layers: Sequence[Layer], network: Layer) -> None:
    """Print this table: with rich, where it is installed and stdout is a terminal."""
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        print(text(layers, network))
        return
    import rich.box
    import rich.console
    import rich.table

    console = rich.console.Console()
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_footer=True, show_edge=False, padding=(0, 1, 0, 0))
    *rows, total = _rows(layers, network)
    widths = [max(len(row[i]) for row in (HEADER, *rows, total)) for i in range(len(HEADER))]
    # On a narrow terminal the layers' descriptions are cut, or left out; numbers never are: a terminal that has no room
    # for those breaks the lines. Each column has two blanks after it.
    room = console.width - sum(widths) + widths[1] - 2 * len(widths)
    console.width += max(0, -room)
    shown = [i for i in range(len(HEADER)) if i != 1 or room >= 10]
    for i in shown:
        width = min(widths[i], room) if i == 1 else widths[i]
        table.add_column(HEADER[i], total[i], justify="left" if i < 2 else "right", no_wrap=True, width=width)
    for layer, row in zip(layers, rows, strict=True):
        holds_next = any(other.name.startswith(f"{layer.name}.") for other in layers)
        style = "dim" if layer.output_shape is None else "bold" if holds_next else ""
        table.add_row(*(row[i] for i in shown), style=style)
    console.print(table)


def size(number: int) -> str:
    """Bytes, in the unit that leaves a few digits."""
    for unit, power in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= power:
            return f"{number / power:.3g} {unit}"
    return f"{number} B"


def _rows(layers: Sequence[Layer], network: Layer) -> list[Sequence[str]]:
    """A row of cells for each layer, and one for the sums."""
    return [*map(_row, layers), ("total", network.kind, *_row(network)[2:6], "", "")]


def _row(layer: Layer) -> Sequence[str]:
    name = "  " * (layer.depth - 1) + layer.name.rpartition(".")[2]
    if layer.output_shape is None:
        return name, f"{layer.kind} (not run in inference)", "", f"{layer.parameters:,}", "", "", "", ""
    return (
        name,
        layer.kind,
        "×".join(map(str, layer.output_shape)),
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.macs:,}" if layer.macs else "",
        size(layer.activation_bytes) if layer.activation_bytes else "",
        "all" if layer.receptive_field is None else _pair(layer.receptive_field),
        "" if layer.stride is None else _pair(layer.stride),
    )


def _pair(values: tuple[float, float]) -> str:
    """One number, or 1×7 where the two differ."""
    return "×".join(f"{v:g}" for v in (values if values[0] != values[1] else values[:1]))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
    return "  ".join(cells).rstrip()
