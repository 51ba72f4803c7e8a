"""A worker process, as the runner sees it."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# How many threads an engine may use, in the words of the libraries that read it from the environment.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MINIDL_NUM_THREADS")


class WorkerError(Exception):
    """What was asked of a worker failed there; the message says how."""


class Worker:
    """A process that computes one row.

    environment   variables that it has beside our own
    threads       how many it may use
    """

    def __init__(self, environment: Mapping[str, str], threads: int) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(THREADS, str(threads)), **environment},
            start_new_session=True,  # Ctrl-C is for the runner, which ends its workers
        )

    def ask(self, command: str, *arguments: Any) -> Any:
        """Have it carry out a command (`worker.Worker`) and wait for the result. Raises: WorkerError."""
        self.send(command, *arguments)
        return self.receive()

    def send(self, command: str, *arguments: Any) -> None:
        """Give it a command, and do not wait; `receive` does."""
        assert self._process.stdin is not None
        try:
            pickle.dump((command, arguments), self._process.stdin)
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._last_words()) from None

    def receive(self) -> Any:
        assert self._process.stdout is not None
        try:
            kind, value = pickle.load(self._process.stdout)
        except EOFError:
            raise WorkerError(self._last_words()) from None
        if kind == "error":
            raise WorkerError(value)
        return value

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it did not read any more
                    stream.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _last_words(self) -> str:
        """Why it ended: its status, and the last line that it wrote to stderr."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing to stderr")
        return f"its process ended with status {status}: {last}"
