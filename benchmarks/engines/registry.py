"""Which engines there are, and which of their rows are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from benchmarks.engines.dezero import DeZero
from benchmarks.engines.engine import Engine
from benchmarks.engines.minidl import Minidl
from benchmarks.engines.mygrad import MyGrad
from benchmarks.engines.naive import Naive
from benchmarks.engines.onnx_runtime import OnnxRuntime
from benchmarks.engines.pytorch import PyTorch
from benchmarks.engines.tinygrad import Tinygrad

ENGINES: tuple[Engine, ...] = (Minidl(), PyTorch(), OnnxRuntime(), MyGrad(), DeZero(), Tinygrad(), Naive())


def rows(device: str | None = None) -> list[str]:
    """The names of all rows, or of those that run on a device, in the order of the tables."""
    return [row for engine in ENGINES for row in engine.rows if device in (None, *engine.devices.get(row, ("cpu",)))]


def engine_of(row: str) -> Engine:
    """The engine whose row this is."""
    name = row.partition("/")[0]
    return next(engine for engine in ENGINES if engine.name == name)


def label(row: str) -> str:
    """What tables call a row; its name where there is no such row any more."""
    return next((engine.rows[row] for engine in ENGINES if row in engine.rows), row)


def select(patterns: Sequence[str], device: str) -> list[str]:
    """The rows that patterns name: a row's name; an engine's, for all that it has; `*` stands for any letters.

    "minidl", the name of both, is the row; "minidl*" are all of them.

    Raises: ValueError for a pattern that matches none.
    """
    known = rows(device)
    chosen = set()
    for pattern in patterns:
        found = [row for row in known if row == pattern] or [
            row for row in known if fnmatchcase(row, pattern) or fnmatchcase(row.partition("/")[0], pattern)
        ]
        if not found:
            near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"no engine or row {pattern!r} on the {device}: {hint}")
        chosen |= set(found)
    return [row for row in known if row in chosen]
