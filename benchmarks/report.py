"""The part of `benchmarks/README.md` that results write: where PyTorch is faster, first; then tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import plots, profiles, results, tables
from benchmarks.figures import number
from benchmarks.reading import OTHERS, PYTORCH

PAGE = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- `python -m benchmarks report` writes what follows -->", "<!-- up to here -->"
NOTHING = "Nothing has been measured yet: `python -m benchmarks run`, then `python -m benchmarks report`."


def write(folder: Path) -> None:
    """Write the page and the pictures of all results in `folder`. Raises: ResultsError; ModuleNotFoundError."""
    found = collect(folder)
    for path, measured in found.items():
        plots.draw(measured, path)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


def collect(folder: Path) -> dict[Path, dict[str, Any]]:
    """The files of results, in the order of their names."""
    return {path: results.read(path) for path in sorted(folder.glob("*.json"))}


def page(text: str, found: Mapping[Path, Mapping[str, Any]]) -> str:
    """The page with its written part made anew. Raises: ValueError where that part is not marked."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name}: expected the lines {BEGIN} and {END}, between which the results go")
    sections = [section(path, measured) for path, measured in found.items()] or [NOTHING]
    return "\n\n".join((before + begin, *sections, end + after))


def section(path: Path, found: Mapping[str, Any]) -> str:
    """What was measured on one machine."""
    machine = found["machine"]
    title = f"### {machine['gpu'] or machine['processor']}, {machine['cores']} cores"
    parts = [
        (title, _circumstances(path, found)),
        ("#### Where PyTorch is faster", tables.lost(found, PYTORCH)),
        ("#### Whole networks, inference", tables.networks(found, "inference")),
        ("#### Whole networks, a training step", tables.networks(found, "training")),
        ("#### Where minidl's time goes", profiles.account(path.with_suffix(""))),
        ("#### A 3×3 convolution, forward", tables.convolutions(found, tables.FORWARD)),
        ("#### A 3×3 convolution, forward and backward", tables.convolutions(found, tables.BACKWARD)),
        (
            "#### The same convolution in every engine: 64 → 64 channels, 8 images of 56×56",
            tables.everyone(found, "conv/64@56"),
        ),
        (
            "#### And one small enough for plain loops: 4 → 8 channels, 2 images of 8×8",
            tables.everyone(found, "conv/tiny"),
        ),
        ("#### Pooling and batch norm", tables.memory_bound(found)),
        ("#### Fewer multiply-adds, less time?", tables.lessons(found)),
        ("#### From end to end, and before any arithmetic", tables.endtoend(found)),
        ("#### Where other engines are faster", tables.lost(found, OTHERS)),
        ("#### Pictures", _pictures(path, found)),
        ("#### Not measured", tables.not_measured(found)),
    ]
    return "\n\n".join(f"{heading}\n\n{content}" for heading, content in parts if content)


def _circumstances(path: Path, found: Mapping[str, Any]) -> str:
    cases = found["cases"].values()
    dates = sorted({case["date"][:10] for case in cases})
    commits = sorted({case["commit"] for case in cases})
    ceilings = "; ".join(
        f"{number(of['flops'] / 1e9)} GFLOP/s in products of matrices and {number(of['bytes'] / 1e9)} GB/s in copies "
        f"with {threads} thread(s)"
        for threads, of in sorted(found["ceilings"].items())
    )
    return (
        f"{len(found['cases'])} cases, measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))} at "
        f"{', '.join(commits)}; every sample is in [`{path.name}`](results/{path.name}). Ceilings: {ceilings}. "
        f"{tables.engines(found)}."
    )


def _pictures(path: Path, found: Mapping[str, Any]) -> str:
    drawn = plots.pictures(found, path)
    return "\n\n".join(f"![{caption}](results/{picture.name})\n\n{caption}" for picture, caption in drawn.items())
