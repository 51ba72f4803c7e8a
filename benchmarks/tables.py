"""The tables of the report, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks import figures
from benchmarks.cases.blocks import PAIRS
from benchmarks.engines.registry import label, rows
from benchmarks.figures import Spread, number
from benchmarks.reading import EAGER, FOLDED, Reading, losses, readings
from benchmarks.results import measured

Cell = Callable[[Reading], str]
FORWARD, BACKWARD = "forward", "forward+backward"  # how the names of cases end


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table, numbers to the right; empty where there are no lines."""
    lines = list(lines)
    if not lines:
        return ""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def lost(results: Mapping[str, Any], rivals: Sequence[Sequence[str]]) -> str:
    """Every case in which one of the rivals is faster."""
    lines = [
        (
            f"`{reading.name}`",
            label(row),
            _ratio(ratio),
            figures.text(reading.time("minidl"), 1e-3),
            figures.text(reading.time(row), 1e-3),
        )
        for reading, row, ratio in losses(results, rivals)
    ]
    return table(("case", "faster is", "ratio", "minidl, ms", "it, ms"), lines) or "In no case."


def networks(results: Mapping[str, Any], mode: str) -> str:
    """Whole networks, "inference" or "training"."""
    columns: dict[str, Cell] = {
        "minidl, ms": _milliseconds("minidl"),
        "PyTorch, ms": lambda r: _named(r, EAGER),
        "**ratio**": _against(EAGER, bold=True),
        "to folded": _against(FOLDED),
        "to compiled": _against(("torch/compiled",)),
        "to ONNX Runtime": _against(("onnxruntime",)),
        "NumPy's own kernels": _against(EAGER, ours="minidl/own-kernels"),
        "im2col": _against(EAGER, ours="minidl/im2col"),
        "GFLOP/s": _flops("minidl"),
        "of ceiling": _share("minidl"),
        "memory, MB": _memory,
        "× PyTorch's": _memory_ratio,
    }
    found = [*readings(results, "network/"), *readings(results, "latency/")]
    return _columns("network", [r for r in found if r.name.endswith(f"/{mode}")], columns, _network_name)


def convolutions(results: Mapping[str, Any], mode: str) -> str:
    """The 3×3 convolutions of VGG."""
    columns: dict[str, Cell] = {
        "minidl, ms": _milliseconds("minidl"),
        "im2col, ms": _milliseconds("minidl/im2col"),
        "Winograd, ms": _milliseconds("minidl/winograd"),
        "PyTorch, ms": lambda r: _named(r, EAGER),
        "**ratio**": _against(EAGER, bold=True),
        "GFLOP/s": _flops("minidl"),
        "of ceiling": _share("minidl"),
    }
    found = [r for r in readings(results, "conv/") if r.name.endswith(f"/{mode}") and "tiny" not in r.name]
    return _columns("channels@image", found, columns, lambda r: r.name.split("/")[1])


def memory_bound(results: Mapping[str, Any]) -> str:
    """Pooling and batch norm, which move more than they compute."""
    columns: dict[str, Cell] = {
        "minidl, ms": _milliseconds("minidl"),
        "PyTorch, ms": lambda r: _named(r, EAGER),
        "**ratio**": _against(EAGER, bold=True),
        "GB/s": lambda r: number(r.bandwidth("minidl") / 1e9) if r.has("minidl") else "",
        "of ceiling": _share("minidl"),
    }
    found = [*readings(results, "pool/"), *readings(results, "norm/")]
    return _columns("", found, columns, lambda r: r.name.partition("/")[2])


def everyone(results: Mapping[str, Any], name: str) -> str:
    """One convolution in every engine, `name` being that of its cases up to the mode."""
    pair = {r.name.rpartition("/")[2]: r for r in readings(results, f"{name}/")}
    if not pair.keys() >= {FORWARD, BACKWARD}:
        return ""
    forward, backward = pair[FORWARD], pair[BACKWARD]
    lines = [
        (
            label(row),
            _milliseconds(row)(forward),
            _flops(row)(forward),
            _milliseconds(row)(backward),
            _flops(row)(backward),
            _ratio(backward.ratio(row, "minidl")) if backward.has(row) and backward.has("minidl") else "",
        )
        for row in rows()
        if forward.has(row) or backward.has(row)
    ]
    header = ("engine", "forward, ms", "GFLOP/s", "with backward, ms", "GFLOP/s", "× minidl's time")
    return table(header, lines)


def lessons(results: Mapping[str, Any]) -> str:
    """Pairs of blocks: how many times fewer multiply-adds, and how many times faster."""
    cases = {r.name: r for r in readings(results, "block/")}
    lines = []
    for pair in PAIRS:
        for mode in (FORWARD, BACKWARD):
            more, less = (cases.get(f"block/{block}/{mode}") for block in (pair.more, pair.less))
            if more is not None and less is not None:
                times = [_gain(more, less, ours) for ours in (("minidl",), EAGER)]
                macs = number(more.case["macs"] / less.case["macs"])
                lines.append((f"{pair.more} → {pair.less.partition('/')[2]}: {pair.source}", mode, macs, *times))
    return table(("", "", "multiply-adds ÷", "minidl's time ÷", "PyTorch's time ÷"), lines)


def endtoend(results: Mapping[str, Any]) -> str:
    """An epoch, an import, single operations on 4×4 numbers: a line for each row that ran one of them."""
    found = [r for prefix in ("epoch/", "start/", "overhead/") for r in readings(results, prefix)]
    units = {"epoch": (1e-3, "ms"), "start": (1e-3, "ms"), "overhead": (1e-6, "µs")}
    header, cells = ["engine"], []
    for reading in found:
        group, what, _ = reading.name.split("/") if reading.name.count("/") == 2 else (*reading.name.split("/"), "")
        header.append(f"{what if group == 'overhead' else group}, {units[group][1]}")
    for row in rows():
        line = [figures.text(r.time(row), units[r.name.partition("/")[0]][0]) if r.has(row) else "" for r in found]
        if any(line):
            cells.append([label(row), *line])
    return table(header, cells)


def not_measured(results: Mapping[str, Any]) -> str:
    """Answers that were wrong, engines that failed, and engines that were not there; each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, case in results["cases"].items():
        for row, found in case["rows"].items():
            for kind in ("refused", "failed", "skipped"):
                if kind in found and (kind != "skipped" or "not installed" in found[kind]):
                    reasons.setdefault((label(row), f"{kind}: {found[kind]}"), []).append(name)
    return "\n".join(
        f"- {row}, {reason} ({f'`{names[0]}`' if len(names) == 1 else f'{len(names)} cases'})"
        for (row, reason), names in reasons.items()
    )


def engines(results: Mapping[str, Any]) -> str:
    """What was measured: versions, and which kernels NumPy's BLAS ran for minidl."""
    versions: dict[str, None] = {}
    kernels: dict[str, None] = {}
    for case in results["cases"].values():
        for row, found in measured(case).items():
            versions[f"{row.partition('/')[0]} {found['version']}"] = None
            if row in ("minidl", "minidl/own-kernels") and found["blas"]:
                kernels[f"{label(row)}: {found['blas']}"] = None
    return f"{', '.join(v for v in versions if not v.startswith('naive'))}; BLAS kernels of {', '.join(kernels)}"


# -------------------------------------------------------------------------------------------------------------- cells


def _columns(first: str, found: Sequence[Reading], columns: Mapping[str, Cell], name: Callable[[Reading], str]) -> str:
    """A line for each case, with those columns that have something in it for one of them."""
    cells = {header: [cell(reading) for reading in found] for header, cell in columns.items()}
    kept = {header: column for header, column in cells.items() if any(column)}
    lines = [[name(reading), *(column[i] for column in kept.values())] for i, reading in enumerate(found)]
    return table((first, *kept), lines)


def _milliseconds(row: str) -> Cell:
    return lambda r: figures.text(r.time(row), 1e-3) if r.has(row) else ""


def _named(reading: Reading, candidates: Sequence[str]) -> str:
    """The fastest of the candidates, and which it is."""
    row = reading.fastest(candidates)
    return "" if row is None else f"{figures.text(reading.time(row), 1e-3)} {label(row).rpartition(', ')[2]}"


def _against(candidates: Sequence[str], ours: str = "minidl", bold: bool = False) -> Cell:
    """How many times as long as the fastest of the candidates."""

    def cell(reading: Reading) -> str:
        row = reading.fastest(candidates)
        return _ratio(reading.ratio(ours, row), bold) if row is not None and reading.has(ours) else ""

    return cell


def _ratio(ratio: Spread, bold: bool = False) -> str:
    middle = f"**{ratio.median:.2f}**" if bold else f"{ratio.median:.2f}"
    return f"{middle} ({ratio.lower:.2f} to {ratio.upper:.2f})"


def _gain(more: Reading, less: Reading, candidates: Sequence[str]) -> str:
    slow, fast = more.fastest(candidates), less.fastest(candidates)
    return "" if slow is None or fast is None else f"{more.time(slow).median / less.time(fast).median:.2f}"


def _flops(row: str) -> Cell:
    return lambda r: number(r.flops(row) / 1e9) if r.has(row) and r.case["macs"] else ""


def _share(row: str) -> Cell:
    return lambda r: f"{r.share(row):.0%}" if r.has(row) else ""


def _memory(reading: Reading) -> str:
    taken = reading.memory("minidl") if reading.has("minidl") else None
    return "" if taken is None else number(taken / 1e6)


def _memory_ratio(reading: Reading) -> str:
    row = reading.fastest(EAGER)
    ours, theirs = (reading.memory(r) if r is not None and reading.has(r) else None for r in ("minidl", row))
    return f"{ours / theirs:.2f}" if ours is not None and theirs else ""


def _network_name(reading: Reading) -> str:
    return f"{reading.name.split('/')[1]}, batch {reading.case['shape'][0]}"
