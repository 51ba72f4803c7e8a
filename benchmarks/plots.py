"""The pictures of the report: a roofline, the ratios to PyTorch, and how time and memory grow.

matplotlib comes with the extra `show`: pip install "minidl[show]".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reading import EAGER, FOLDED, Reading, readings
from minidl.inspection.plots import require_matplotlib

MINIDL, PYTORCH = "tab:red", "tab:blue"
SWEEPS = {"batch": "images", "side": "rows and columns of an image", "threads": "threads"}


def pictures(results: Mapping[str, Any], path: Path) -> dict[Path, str]:
    """{file beside `path`: what it shows}, of the pictures that there are results for."""
    found = {}
    for name, (caption, prefixes, _) in _PICTURES.items():
        if any(reading.has("minidl") for prefix in prefixes for reading in readings(results, prefix)):
            found[path.with_name(f"{path.stem}-{name}.png")] = caption
    return found


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw them. Raises: ModuleNotFoundError without matplotlib, with the command that installs it."""
    require_matplotlib()
    from matplotlib.figure import Figure

    for picture in pictures(results, path):
        _, prefixes, onto = _PICTURES[picture.stem.removeprefix(f"{path.stem}-")]
        figure = Figure(dpi=120, layout="constrained")
        onto(figure, [r for prefix in prefixes for r in readings(results, prefix) if r.has("minidl")])
        figure.savefig(picture)


def _roofline(figure: Any, found: Sequence[Reading]) -> None:
    """Speed over arithmetic intensity, under the two ceilings."""
    figure.set_size_inches(8, 5)
    axis = figure.subplots()
    counted = [r for r in found if r.case["macs"]]
    intensity = np.array([2 * r.case["macs"] / r.case["bytes"] for r in counted])
    ceilings = max((r.ceilings for r in counted), key=lambda ceilings: ceilings["flops"])
    x = np.geomspace(intensity.min() / 2, intensity.max() * 2, 200)
    roof = np.minimum(ceilings["flops"], x * ceilings["bytes"]) / 1e9
    axis.plot(x, roof, color="black", linewidth=1, label="ceilings: copies, products of matrices")
    for color, marker, rows, name in ((PYTORCH, "s", EAGER, "PyTorch, eager"), (MINIDL, "o", ("minidl",), "minidl")):
        chosen = [(i, r, r.fastest(rows)) for i, r in zip(intensity, counted, strict=True)]
        points = [(i, r.flops(row) / 1e9) for i, r, row in chosen if row is not None]
        axis.plot(*np.array(points).T, marker, color=color, markersize=5, alpha=0.7, label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("arithmetic intensity: operations of the direct algorithm / bytes moved at least")
    axis.set_ylabel("GFLOP/s")
    axis.grid(alpha=0.3)
    axis.legend()


def _ratios(figure: Any, found: Sequence[Reading]) -> None:
    """A bar for each network, longer than 1 where PyTorch is faster."""
    figure.set_size_inches(8, 0.45 * len(found) + 1)
    axis = figure.subplots()
    found = found[::-1]  # the first at the top
    for offset, rows, color, name in ((0.2, EAGER, PYTORCH, "eager"), (-0.2, FOLDED, "tab:cyan", "eager, folded")):
        bars = [(i, r.ratio("minidl", row)) for i, r in enumerate(found) if (row := r.fastest(rows)) is not None]
        for i, ratio in bars:
            errors = [[max(0.0, ratio.median - ratio.lower)], [max(0.0, ratio.upper - ratio.median)]]
            label = name if i == bars[0][0] else None
            axis.barh(i + offset, ratio.median, 0.36, xerr=errors, color=color, ecolor="0.3", label=label)
    axis.axvline(1, color="black", linewidth=1)
    names = [f"{r.name.partition('/')[2]}, batch {r.case['shape'][0]}" for r in found]
    axis.set_yticks(range(len(found)), names)
    axis.set_xlabel("minidl's time / PyTorch's, in the faster of its layouts")
    axis.grid(axis="x", alpha=0.3)
    axis.legend()


def _growth(figure: Any, found: Sequence[Reading]) -> None:
    """Time and memory over batch, side and threads; dashed, what is proportional to the multiply-adds."""
    modes = [mode for mode in ("inference", "training") if any(f"/{mode}/" in r.name for r in found)]
    sweeps = [sweep for sweep in SWEEPS if any(f"/{sweep}/" in r.name for r in found)]
    figure.set_size_inches(4 * len(sweeps), 5 * len(modes))
    axes = figure.subplots(2 * len(modes), len(sweeps), squeeze=False)
    for i, mode in enumerate(modes):
        for j, sweep in enumerate(sweeps):
            points = {int(r.name.rpartition("/")[2]): r for r in found if f"/{mode}/{sweep}/" in r.name}
            time, memory = axes[2 * i, j], axes[2 * i + 1, j]
            _curve(time, points, lambda r, row: 1000 * r.time(row).median)
            _curve(memory, points, lambda r, row: (r.memory(row) or np.nan) / 1e6)
            if sweep != "threads":
                _proportional(time, points)
            time.set_title(mode)
            time.set_ylabel("ms")
            memory.set_ylabel("memory, MB")
            for axis in (time, memory):
                axis.set_xlabel(SWEEPS[sweep])
    axes[0, 0].legend()


def _curve(axis: Any, points: Mapping[int, Reading], value: Callable[[Reading, str], float]) -> None:
    for rows, color, marker, name in ((EAGER, PYTORCH, "s-", "PyTorch"), (("minidl",), MINIDL, "o-", "minidl")):
        chosen = [(x, r, r.fastest(rows)) for x, r in sorted(points.items())]
        line = [(x, value(r, row)) for x, r, row in chosen if row is not None]
        if line:
            axis.plot(*np.array(line).T, marker, color=color, markersize=4, label=name)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(sorted(points), map(str, sorted(points)), minor=False)
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.3)


def _proportional(axis: Any, points: Mapping[int, Reading]) -> None:
    """The multiply-adds, scaled to minidl's time for the most of them."""
    x = sorted(points)
    scale = points[x[-1]].time("minidl").median / points[x[-1]].case["macs"]
    axis.plot(x, [1000 * scale * points[n].case["macs"] for n in x], "--", color="0.5", label="multiply-adds")


# {name: what it shows, which cases, how}
_PICTURES: dict[str, tuple[str, tuple[str, ...], Callable[[Any, Sequence[Reading]], None]]] = {
    "ratios": ("Whole networks: minidl's time over PyTorch's.", ("network/", "latency/"), _ratios),
    "roofline": (
        "All cases under the machine's ceilings. A point above them is saved work: Winograd's algorithm does a part of "
        "the multiplications that are counted.",
        ("network/", "conv/", "block/"),
        _roofline,
    ),
    "growth": (
        "ResNet-18: time and memory against batch (of 224×224), image (8 of them) and threads.",
        ("scaling/",),
        _growth,
    ),
}
