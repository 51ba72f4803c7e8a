"""What an adapter is: how one engine computes a case, in one or several ways, which are rows of the tables."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.case import Case
from benchmarks.engines.work import Work


@dataclass(frozen=True)
class Setting:
    """Where and how a row is computed.

    folder    where `export` has put files
    threads   how many the engine may use
    device    "cpu" or "gpu"
    """

    folder: Path
    threads: int
    device: str = "cpu"


class Engine:
    """An engine's adapter. The engine itself is imported only in `load` and what is called after it.

    name       what `--engines` calls it
    packages   what has to be installed, the engine first
    install    the command that does it
    rows       its ways to compute, {name: what tables call it}. A name is the engine's, or begins with it and "/"
    devices    {row: where it runs}, for rows that do not run on the CPU alone
    exporters  the engines whose files it reads, in the order in which they are written
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    install: ClassVar[str]
    rows: ClassVar[Mapping[str, str]]
    devices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    exporters: ClassVar[tuple[str, ...]] = ()

    def missing(self) -> str:
        """Why the engine cannot be used here; empty where it can."""
        absent = [package for package in self.packages if importlib.util.find_spec(package) is None]
        return f"{' and '.join(absent)} not installed: {self.install}" if absent else ""

    def version(self) -> str:
        """Of the installed package."""
        return importlib.metadata.version(self.packages[0])

    def unable(self, row: str, case: Case) -> str:
        """Why this row has no such case; empty where it has."""
        raise NotImplementedError

    def left_out(self, row: str, case: Case) -> str:
        """Why this row is computed only where it is asked for by name; empty where it always is."""
        return ""

    def environment(self, row: str, kernels: Mapping[str, str], threads: int) -> dict[str, str]:
        """Variables of the row's process.  kernels   those with which NumPy's BLAS runs what suits the processor"""
        return {}

    def needs(self, case: Case) -> str:
        """The name of the file that `export` makes for this case; empty where there is none."""
        return ""

    def export(self, case: Case, folder: Path) -> None:
        """Write that file. It runs in a process of its own, and may import other engines too."""

    def load(self, row: str, case: Case, setting: Setting) -> None:
        """Import the engine and all that the case needs of it, and tell it how many threads to use."""
        raise NotImplementedError

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        """Build the case."""
        raise NotImplementedError
