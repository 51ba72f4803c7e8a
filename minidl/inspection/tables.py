"""The layers of a network as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidl.inspection.grid import Grid
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


def grid(layers: Sequence[Layer], network: Layer) -> Grid:
    """The layers, and the network that they make up as their sum, as a table."""
    total = ("total", network.kind, *_row(network)[2:6], "", "")
    names = [layer.name for layer in layers]
    styles = ["dim" if layer.output_shape is None else emphasis(layer.name, names) for layer in layers]
    return Grid(HEADER, [_row(layer) for layer in layers], total, styles)


def emphasis(name: str, names: Sequence[str]) -> str:
    """The style of a layer's row: bold where rows of the layers inside it follow."""
    return "bold" if any(other.startswith(f"{name}.") for other in names) else ""


def indented(name: str) -> str:
    """A layer's own name, as far to the right as it is deep inside others."""
    return "  " * name.count(".") + name.rpartition(".")[2]


def size(number: int) -> str:
    """Bytes, in the unit that leaves a few digits."""
    for unit, power in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= power:
            return f"{number / power:.3g} {unit}"
    return f"{number} B"


def _row(layer: Layer) -> Sequence[str]:
    name = indented(layer.name)
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
