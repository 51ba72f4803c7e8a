"""One case, measured: every row in a worker of its own, all of them alive, one at a time computing.

Before anything is timed each answer is checked. Then there are rounds: in each, every worker computes once while the
others wait for their pipes. So a machine that slows down does so for all, and the ratio of two samples of one round
holds when neither of them alone does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import answers
from benchmarks.answers import WrongAnswerError
from benchmarks.case import Case
from benchmarks.engines.engine import Engine, Setting
from benchmarks.engines.registry import engine_of
from benchmarks.handle import Worker, WorkerError

Rows = dict[str, dict[str, Any]]
Ready = dict[str, Any]  # {row: its worker}
Tell = Callable[[str], None]

REFERENCE = "minidl/reference"
LEAST, MOST = 5, 50  # rounds
PAUSE = 0.05  # seconds: threads of BLAS and OpenMP look out for more work that long after the last


@dataclass
class Runner:
    """How cases are measured.

    folder     for files that engines need
    threads    of each engine, unless a case says otherwise
    device     "cpu" or "gpu"
    kernels    the environment with which NumPy's BLAS runs what suits the processor
    rounds     how many; None goes on for the seconds that the case says, `LEAST` rounds at least and `MOST` at most
    turn       seconds: a shorter computation is repeated within a turn
    asked_for  rows that were asked for by name: they are not left out
    keep       keep workers for the next case: faster to start, and memory is not that of the case alone
    start      makes a worker
    engine_of  the engine of a row
    """

    folder: Path
    threads: int
    device: str = "cpu"
    kernels: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None
    turn: float = 0.1
    asked_for: Sequence[str] = ()
    keep: bool = False
    start: Callable[[Mapping[str, str], int], Any] = Worker
    engine_of: Callable[[str], Engine] = engine_of

    def __post_init__(self) -> None:
        self._exported: set[str] = set()
        self._kept: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._kept.values():
            worker.close()

    def measure(self, case: Case, rows: Sequence[str], tell: Tell = lambda doing: None) -> Rows:
        """{row: what was measured, or why not}, as `results` has it.  tell   is told what is going on"""
        found: Rows = {}
        with ExitStack() as workers:
            tell(f"{case.name}: starting engines")
            ready = self._begin(case, rows, found, workers)
            if ready:
                tell(f"{case.name}: checking answers")
                self._check(case, ready, found)
            self._take_turns(case, ready, found, tell)
        return {row: found[row] for row in rows}

    def _begin(self, case: Case, rows: Sequence[str], found: Rows, workers: ExitStack) -> Ready:
        """{row: its worker, with the engine loaded}; why the other rows have none is put in `found`."""
        ready: Ready = {}
        for row in rows:
            if reason := self._why_not(row, case):
                found[row] = {"skipped": reason}
            else:
                with _failing(row, ready, found):
                    self._export(row, case)
                    ready[row] = self._worker(row, case, workers)
        for row, worker in list(ready.items()):  # while one engine is imported, others are, too
            with _failing(row, ready, found):
                found[row] = worker.receive()
        return ready

    def _check(self, case: Case, ready: Ready, found: Rows) -> None:
        """Compare each answer with the definition or the reference, and drop the rows that are wrong."""
        try:
            expected = answers.by_definition(case)
            if expected is None:
                expected = answers.by_reference(self._reference_answer(case))
        except WorkerError as problem:  # nothing can be checked, so nothing is timed
            found |= {row: {"failed": f"there is no answer to check it with: {problem}"} for row in ready}
            ready.clear()
            return
        for row, worker in list(ready.items()):
            with _failing(row, ready, found):
                error = answers.check(case, worker.ask("answer", case), expected)
                repeats = worker.ask("repeats", self.turn)
                found[row] |= {"error": error, "repeats": repeats, "seconds": []}

    def _take_turns(self, case: Case, ready: Ready, found: Rows, tell: Tell) -> None:
        """Rounds, each of them beginning with another row."""
        begun, number = time.monotonic(), 0
        while ready and self._goes_on(number, time.monotonic() - begun, case):
            tell(f"{case.name}: round {number + 1}")
            order = list(ready)
            for row in order[number % len(order) :] + order[: number % len(order)]:
                time.sleep(PAUSE)
                with _failing(row, ready, found):
                    found[row]["seconds"].append(ready[row].ask("turn", found[row]["repeats"]))
            number += 1
        for row, worker in list(ready.items()):
            with _failing(row, ready, found):
                found[row] |= worker.ask("memory")
                worker.ask("finish")

    def _goes_on(self, number: int, seconds: float, case: Case) -> bool:
        if self.rounds is not None:
            return number < self.rounds
        return number < LEAST or (number < MOST and seconds < case.seconds)

    def _why_not(self, row: str, case: Case) -> str:
        engine = self.engine_of(row)
        left_out = "" if row in self.asked_for else engine.left_out(row, case)
        return engine.missing() or engine.unable(row, case) or left_out

    def _reference_answer(self, case: Case) -> Any:
        self._export(REFERENCE, case)
        with ExitStack() as workers:
            worker = self._worker(REFERENCE, case, workers)
            worker.receive()
            return worker.ask("answer", case)

    def _export(self, row: str, case: Case) -> None:
        """The files that a case needs, once: made by processes in which nothing is measured."""
        for exporter in self.engine_of(row).exporters:
            name = self.engine_of(exporter).needs(case)
            if name and name not in self._exported:
                with ExitStack() as workers:
                    worker = self._started("export", self.kernels, self.threads, workers)
                    worker.ask("export", exporter, case, self.folder)
                self._exported.add(name)

    def _worker(self, row: str, case: Case, workers: ExitStack) -> Any:
        """A worker that has been told to load the row's engine; its reply is still to be received."""
        threads = case.threads or self.threads
        environment = self.engine_of(row).environment(row, self.kernels, threads)
        worker = self._started(row, environment, threads, workers)
        worker.send("load", row, case, Setting(self.folder, threads, self.device))
        return worker

    def _started(self, purpose: str, environment: Mapping[str, str], threads: int, workers: ExitStack) -> Any:
        """A new worker, which `workers` close; or one that is kept."""
        if not self.keep:
            worker = self.start(environment, threads)
            workers.callback(worker.close)
            return worker
        kept = self._kept.get((purpose, threads))
        if kept is None or not kept.alive:
            kept = self._kept[purpose, threads] = self.start(environment, threads)
        return kept


@contextmanager
def _failing(row: str, ready: Ready, found: Rows) -> Iterator[None]:
    """A context in which a worker may fail, or be wrong: its row is then out, and the reason is kept."""
    try:
        yield
    except (WorkerError, WrongAnswerError) as problem:
        kind = "refused" if isinstance(problem, WrongAnswerError) else "failed"
        found[row] = {kind: str(problem)}
        ready.pop(row, None)
