"""Results in a file: one for each machine, with every sample.

    {"schema": 1,
     "machine": {"processor", "cores", "system", "gpu"},
     "ceilings": {threads: {"flops", "bytes"}},               the fastest products of matrices and copies, a second
     "cases": {name: {"what", "mode", "shape",                see `case.Case`
                      "macs", "bytes",                        see `counting`
                      "threads", "device",
                      "date", "commit", "python", "numpy",    when it was measured, and of what
                      "rows": {row: ...}}}}

A row that was measured is

    {"version": of the engine, "blas": which kernels NumPy's BLAS runs in its process or null, "environment": {...},
     "error": the largest found in its answer,
     "seconds": [a sample a round], "repeats": of how many runs each sample is the mean,
     "peak_bytes", "baseline_bytes": of its process while it ran the case and before it built it, or null}

and one that was not has the reason instead: {"skipped": why}, {"refused": why} for a wrong answer, or {"failed": why}.
The samples of one round stand at the same place in all rows of a case.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
REASONS = ("skipped", "refused", "failed")

# What stands in each place: a type, a type or None, a list or dict of such, or a dict with these names.
COUNT, AMOUNT = "an integer, 0 or more", "a number, 0 or more"
MEASURED: dict[str, Any] = {
    "version": str,
    "blas": (str, None),
    "environment": {str: str},
    "error": AMOUNT,
    "seconds": [AMOUNT],
    "repeats": COUNT,
    "peak_bytes": (COUNT, None),
    "baseline_bytes": (COUNT, None),
}
CASE: dict[str, Any] = {
    **dict.fromkeys(("what", "mode", "device", "date", "commit", "python", "numpy"), str),
    "shape": [COUNT],
    **dict.fromkeys(("macs", "bytes", "threads"), COUNT),
    "rows": {str: "a row"},
}
FILE: dict[str, Any] = {
    "schema": COUNT,
    "machine": {"processor": str, "cores": COUNT, "system": str, "gpu": (str, None)},
    "ceilings": {str: {"flops": AMOUNT, "bytes": AMOUNT}},
    "cases": {str: CASE},
}


class ResultsError(ValueError):
    """A file that is not what this module describes; the message says where."""


def read(path: Path) -> dict[str, Any]:
    """Raises: ResultsError for anything that does not have the schema; FileNotFoundError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON: {error}") from None
    if isinstance(found, dict) and found.get("schema", SCHEMA) != SCHEMA:
        raise ResultsError(f"{path}: schema: expected {SCHEMA}, got {found['schema']!r}; measure again")
    try:
        _check("", found, FILE)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from None
    return found


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Replace the file, in one step. Raises: ResultsError for results that `read` would refuse."""
    _check("", results, FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def begun(path: Path, machine: Mapping[str, Any]) -> dict[str, Any]:
    """What is in the file already, or results without cases where there is none.

    Raises: ResultsError where it is of another machine.
    """
    if not path.exists():
        return {"schema": SCHEMA, "machine": dict(machine), "ceilings": {}, "cases": {}}
    results = read(path)
    if results["machine"] != machine:
        raise ResultsError(
            f"{path}: expected results of this machine, {dict(machine)}, got those of {results['machine']}; "
            "choose another --output"
        )
    return results


def measured(case: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a case that have samples."""
    return {row: found for row, found in case["rows"].items() if found.get("seconds")}


def _check(place: str, value: Any, expected: Any) -> None:
    """Raises: ResultsError where `value` is not what is expected at this place."""
    if expected == "a row":
        _check_row(place, value)
    elif isinstance(expected, tuple):
        if value is not None:
            _check(place, value, expected[0])
    elif isinstance(expected, list):
        _require(place, value, isinstance(value, list), "a list")
        for i, element in enumerate(value):
            _check(f"{place}[{i}]", element, expected[0])
    elif isinstance(expected, dict):
        _check_dict(place, value, expected)
    elif expected is str:
        _require(place, value, isinstance(value, str), "a string")
    else:
        kinds = (int,) if expected == COUNT else (int, float)
        number = isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < float("inf")
        _require(place, value, number, expected)


def _check_dict(place: str, value: Any, expected: Mapping[Any, Any]) -> None:
    _require(place, value, isinstance(value, dict), "an object")
    dot = f"{place}." if place else ""
    if str in expected:  # any names
        for name, element in value.items():
            _check(f"{dot}{name}", element, expected[str])
        return
    if value.keys() != expected.keys():
        missing, unknown = sorted(expected.keys() - value.keys()), sorted(value.keys() - expected.keys())
        raise ResultsError(f"{place or 'file'}: missing {missing}, unknown {unknown}")
    for name, element in expected.items():
        _check(f"{dot}{name}", value[name], element)


def _check_row(place: str, value: Any) -> None:
    _require(place, value, isinstance(value, dict), "an object")
    if len(value) == 1 and next(iter(value)) in REASONS:
        _check(f"{place}.{next(iter(value))}", next(iter(value.values())), str)
    else:
        _check(place, value, MEASURED)
        _require(f"{place}.seconds", value["seconds"], all(s > 0 for s in value["seconds"]), "samples above 0")


def _require(place: str, value: Any, holds: bool, expected: str) -> None:
    if not holds:
        raise ResultsError(f"{place or 'file'}: expected {expected}, got {value!r:.60}")
