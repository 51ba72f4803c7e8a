"""The process in which one engine computes, alone: `python -m benchmarks.worker`, started by `handle.Worker`.

It reads commands from stdin and writes a reply to each to stdout, both pickled: (name, arguments), and ("ok", value) or
("error", message). Between commands it waits for the pipe and uses no processor. It ends when stdin does.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks import memory
from benchmarks.case import START, Case
from benchmarks.engines.engine import Engine, Setting
from benchmarks.engines.registry import engine_of
from benchmarks.engines.work import Answer, Work

ENVIRONMENT = ("OPENBLAS_", "OMP_", "MKL_", "KMP_", "GOMP_", "MINIDL_", "NUM_CPU_THREADS")  # what engines obey


class Worker:
    """The commands. Each is a method; `serve` calls it by its name."""

    def __init__(self) -> None:
        self.engine: Engine
        self.row: str
        self.setting: Setting
        self.work: Work
        self.baseline: int | None = None
        self.measures_memory = True

    def export(self, engine: str, case: Case, folder: Path) -> None:
        """Write the file that an engine needs for a case."""
        engine_of(engine).export(case, folder)

    def load(self, row: str, case: Case, setting: Setting) -> dict[str, Any]:
        """Import the engine. What is running then: its version, NumPy's BLAS, the environment."""
        self.engine, self.row, self.setting = engine_of(row), row, setting
        self.engine.load(row, case, setting)
        self.baseline = memory.resident()
        environment = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT)}
        return {"version": self.engine.version(), "blas": blas_kernels(), "environment": environment}

    def answer(self, case: Case) -> Answer:
        """Build the case, and compute it once."""
        self.work = self.engine.prepare(self.row, case, self.setting)
        self.measures_memory = memory.reset_peak() and case.mode != START and self.setting.device == "cpu"
        return self.work.answer()

    def repeats(self, least: float) -> int:
        """How often to compute in a turn, so that it takes `least` seconds."""
        seconds = self.work.clock(self.work.run, 1)
        if seconds < 3 * least:  # the first times may be slow ones
            seconds = min(seconds, *(self.work.clock(self.work.run, 1) for _ in range(3)))
        return max(1, round(least / max(seconds, 1e-7)))

    def turn(self, repeats: int) -> float:
        """Compute so many times; how long each took, in seconds."""
        return self.work.clock(self.work.run, repeats)

    def memory(self) -> dict[str, int | None]:
        """The peak while the case was computed, and what the process had with nothing but the engine in it."""
        known = self.measures_memory
        return {"peak_bytes": memory.peak() if known else None, "baseline_bytes": self.baseline if known else None}

    def finish(self) -> None:
        """Forget the case."""
        del self.work

    def ceilings(self, threads: int, device: str) -> dict[str, float]:
        """The fastest that this machine computes and copies."""
        import minidl
        from minidl.inspection.ceilings import copy_ceiling, gemm_ceiling

        where = minidl.device(device)
        return {"flops": gemm_ceiling(threads, where), "bytes": copy_ceiling(threads, where)}

    def kernels(self) -> dict[str, str]:
        """The environment with which NumPy's BLAS would run what suits the processor."""
        from minidl.process import recommended_environment

        return recommended_environment()


def blas_kernels() -> str | None:
    """For which processor the kernels are that OpenBLAS runs here; None where there is none, or no threadpoolctl."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return None
    found = [info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"]
    return found[0] if found else None


def serve(commands: BinaryIO, replies: BinaryIO) -> None:
    """Carry out commands until there are no more."""
    worker = Worker()
    while True:
        try:
            name, arguments = pickle.load(commands)
        except EOFError:
            return
        command: Callable[..., Any] = getattr(worker, name)
        try:
            reply: tuple[str, Any] = ("ok", command(*arguments))
        except Exception as error:  # whatever an engine does, the others go on
            reply = ("error", f"{type(error).__name__}: {error}")
        pickle.dump(reply, replies, protocol=5)
        replies.flush()


def main() -> None:
    """Serve stdin. What an engine prints goes to stderr: stdout is for replies."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
