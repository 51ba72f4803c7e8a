"""A run: case after case, each written to the file of results as soon as it is done."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import counting, figures, machine, progress, results
from benchmarks.case import Case
from benchmarks.engines.registry import label
from benchmarks.handle import Worker
from benchmarks.reading import EAGER
from benchmarks.runner import Rows, Runner


def run(
    cases: Sequence[Case],
    rows: Sequence[str],
    output: Path,
    *,
    threads: int,
    device: str = "cpu",
    **options: Any,
) -> list[str]:
    """Measure the cases, and put them into the file `output` beside those that are there, or in their place.

    options   of `Runner`: rounds, turn, asked_for, keep

    Returns what went wrong: a line for each row that was refused or failed.
    """
    place = machine.describe(device)
    found = results.begun(output, place)
    with Worker({}, threads) as worker:
        kernels = worker.ask("kernels")
    for n in sorted({case.threads or threads for case in cases}):
        with Worker(kernels, n) as worker:
            found["ceilings"][str(n)] = worker.ask("ceilings", n, device)
    wrong = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Runner(Path(folder), threads, device, kernels, **options) as runner,
        progress.display(len(cases)) as shown,
    ):
        for case in cases:
            of_case = runner.measure(case, rows, shown.doing)
            found["cases"][case.name] = described(case, case.threads or threads, device) | {"rows": of_case}
            results.write(output, found)
            wrong += [f"{case.name}: {label(row)}: {problem}" for row, problem in problems(of_case)]
            shown.done(line(case.name, of_case))
    return wrong


def described(case: Case, threads: int, device: str) -> dict[str, Any]:
    """A case as `results` has it, but for its rows."""
    return {
        "what": case.what,
        "mode": case.mode,
        "shape": list(case.shape),
        "macs": counting.macs(case),
        "bytes": counting.moved_bytes(case),
        "threads": threads,
        "device": device,
        **machine.state(),
    }


def problems(rows: Rows) -> list[tuple[str, str]]:
    """The rows that were refused or failed, and why."""
    return [
        (row, f"{reason}: {found[reason]}")
        for row, found in rows.items()
        for reason in ("refused", "failed")
        if reason in found
    ]


def line(name: str, rows: Rows) -> str:
    """How a case went: how long minidl takes, and how many times as long as the faster of PyTorch's layouts."""
    medians = {row: figures.spread(found["seconds"]).median for row, found in rows.items() if "seconds" in found}
    parts = [f"{name:44}"]
    if "minidl" in medians:
        parts.append(f"minidl {figures.number(1000 * medians['minidl'])} ms")
    if eager := [row for row in EAGER if row in medians]:
        faster = min(eager, key=medians.__getitem__)
        parts.append(f"{label(faster)} {figures.number(1000 * medians[faster])} ms")
        if "minidl" in medians:
            parts.append(f"ratio {figures.number(medians['minidl'] / medians[faster])}")
    return "  ".join([*parts, *(f"\n  {label(row)} {problem}" for row, problem in problems(rows))])
