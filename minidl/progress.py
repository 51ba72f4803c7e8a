"""What a run shows while it trains: a moving bar on a terminal, plain lines anywhere else, or nothing.

The three displays have one shape. `Silent` is that shape; the others override what they show.
"""

from __future__ import annotations

import importlib.util
import sys
from types import TracebackType
from typing import Any


def display(show: bool) -> Silent:
    """The display for this place: a `Bar` where rich is installed and stdout is a terminal, otherwise `Lines`."""
    if not show:
        return Silent()
    if sys.stdout is not None and sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        return Bar()
    return Lines()


class Silent:
    """Shows nothing. Used as `with display(...) as shown:`, which puts the terminal in order however it is left."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def begin(self, title: str, batches: int) -> None:
        """An epoch of so many batches begins."""

    def advance(self) -> None:
        """A batch is done."""

    def end(self, line: str) -> None:
        """The epoch is done; `line` says how it went."""


class Lines(Silent):
    """One line an epoch: for logs, pipes, and terminals without rich."""

    def end(self, line: str) -> None:
        print(line, flush=True)


class Bar(Silent):
    """The running epoch as a bar, with the finished ones as lines above it. Needs rich."""

    def __init__(self) -> None:
        from rich import progress

        columns = ("{task.description}", progress.BarColumn(), progress.MofNCompleteColumn(), "batches")
        self._bar: Any = progress.Progress(*columns, progress.TimeRemainingColumn(), transient=True)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Silent:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, title: str, batches: int) -> None:
        self._bar.reset(self._task, description=title, total=batches)

    def advance(self) -> None:
        self._bar.advance(self._task)

    def end(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
