"""What the engines have in common that are not made for speed: the few cases that they run."""

from __future__ import annotations

from benchmarks.case import BACKWARD, FORWARD, RECORDED, START, Case
from benchmarks.engines.engine import Engine


class SmallEngine(Engine):
    """One row, and cases small enough: a convolution, single operations, the start."""

    def unable(self, row: str, case: Case) -> str:
        if case.mode in (RECORDED, START):
            return ""
        if case.what != "conv2d" or case.mode not in (FORWARD, BACKWARD):
            return "of the larger cases it runs the convolution"
        return "" if case.everyone else "it runs one small convolution; larger ones would hold up the others"
