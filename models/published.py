"""What is published of the networks: parameters and multiply-adds, by whom, for which form of them.

The figures are in `published.json`. "Multiply-adds" are those of convolutions and linear layers for one image,
padding counted, as `minidl.inspection.summary` counts them.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Published:
    """A published form of a network."""

    entry: str  # its name in the collection of figures
    network: str  # the name that `models.create` knows
    options: dict[str, Any]  # with which `models.create` makes this form
    source: str  # whose form it is
    input: tuple[int, int, int]  # (H, W, C)
    classes: int
    parameters: int
    macs: int  # in inference
    macs_in_training: int | None = None  # with auxiliary heads
    paper: tuple[str, ...] = ()  # what the paper prints, rounded as it does


@functools.cache
def forms() -> tuple[Published, ...]:
    """All of them."""
    rows = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    return tuple(
        Published(**{**row, "input": tuple(row["input"]), "paper": tuple(row.get("paper", ()))}) for row in rows
    )


def forms_of(network: str) -> list[Published]:
    """The published forms of a network; none for one that only minidl has."""
    return [form for form in forms() if form.network == network]


def agreeing(parameters: int, macs: int, input_shape: tuple[int, ...]) -> list[Published]:
    """The published forms with exactly these figures, for this input."""
    return [
        form
        for form in forms()
        if form.parameters == parameters and macs in (form.macs, form.macs_in_training) and form.input == input_shape
    ]
