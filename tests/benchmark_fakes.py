"""Stand-ins for the benchmarks' tests: engines without a process, and results that nobody measured."""

from pathlib import Path

import numpy as np

from benchmarks import inputs
from benchmarks.case import FORWARD, Case
from benchmarks.engines.engine import Engine
from benchmarks.handle import WorkerError
from benchmarks.runner import Runner

RELU = Case("made-up/relu/forward", "relu", FORWARD, (4, 4), seconds=1.0)  # its answer is checked by definition


def right(case):
    return {"y": np.maximum(inputs.operands(case)["x"], 0)}


class FakeEngine(Engine):
    """An engine of one row, whose process is a `FakeWorker`."""

    packages = ()

    def __init__(self, why_not="", left_out=""):
        self.why_not, self.why_left_out = why_not, left_out

    def unable(self, row, case):
        return self.why_not

    def left_out(self, row, case):
        return self.why_left_out

    def environment(self, row, kernels, threads):
        return {"ROW": row, "THREADS": str(threads), **kernels}


class FakeWorker:
    """What `handle.Worker` is to a runner. It does what `script` says for its row, and writes down that it was asked.

    script   {command: what it gives, or an exception that it raises, or a function of the arguments}
    """

    def __init__(self, row, script, log):
        self.row, self.log, self.alive = row, log, True
        self.script = {
            "load": {"version": "1", "blas": None, "environment": {}},
            "answer": right,
            "repeats": 1,
            "turn": 0.5,
            "memory": {"peak_bytes": 3, "baseline_bytes": 1},
            "finish": None,
            **script,
        }

    def send(self, command, *arguments):
        self.asked = command, arguments

    def receive(self):
        return self.ask(*self.asked[:1], *self.asked[1])

    def ask(self, command, *arguments):
        self.log.append((command, self.row))
        reply = self.script[command]
        if isinstance(reply, BaseException):
            raise reply
        return reply(*arguments) if callable(reply) else reply

    def close(self):
        self.log.append(("close", self.row))
        self.alive = False


class FakeRunner(Runner):
    """A runner of fake rows.

    scripts   {row: the script of its worker}
    engines   {row: its engine}, for those that are not an ordinary `FakeEngine`
    """

    def __init__(self, scripts, engines=None, **options):
        self.log = []
        super().__init__(
            Path("nowhere"),
            2,
            start=lambda environment, threads: FakeWorker(environment["ROW"], scripts[environment["ROW"]], self.log),
            engine_of=lambda row: (engines or {}).get(row, FakeEngine()),
            **options,
        )

    def commands(self, *names):
        """Which rows were given these commands, in order."""
        return [row for command, row in self.log if command in names]


def failing(*arguments):
    raise WorkerError("its process ended with status 1: out of luck")


def row(*seconds, **changes):
    """A row as it is written to a file."""
    return {
        "version": "1.0",
        "blas": None,
        "environment": {"OMP_NUM_THREADS": "2"},
        "error": 1e-6,
        "seconds": list(seconds),
        "repeats": 1,
        "peak_bytes": 300_000_000,
        "baseline_bytes": 100_000_000,
    } | changes


def case(rows, **changes):
    """A case as it is written to a file."""
    return {
        "what": "conv2d",
        "mode": "forward",
        "shape": [8, 56, 56, 64],
        "macs": 1_000_000_000,
        "bytes": 100_000_000,
        "threads": 2,
        "device": "cpu",
        "date": "2025-01-02T03:04:05+00:00",
        "commit": "0123456789ab",
        "python": "3.11.7",
        "numpy": "2.0.0",
        "rows": rows,
    } | changes


def file(**cases):
    """A file of results; the underscores of a case's name stand for its slashes."""
    return {
        "schema": 1,
        "machine": {"processor": "Fast One", "cores": 2, "system": "Linux", "gpu": None},
        "ceilings": {"1": {"flops": 2e11, "bytes": 2e10}, "2": {"flops": 4e11, "bytes": 4e10}},
        "cases": {name.replace("_", "/"): case for name, case in cases.items()},
    }
