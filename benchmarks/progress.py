"""What a run shows: a moving bar with what is going on, on a terminal that has rich; and a line for each case done."""

from __future__ import annotations

import importlib.util
import sys
from types import TracebackType
from typing import Any


def display(cases: int) -> Lines:
    """The display for this place: a `Bar` where rich is installed and stdout is a terminal, otherwise `Lines`."""
    if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
        return Bar(cases)
    return Lines()


class Lines:
    """A line for each case that is done: for logs, pipes, and terminals without rich."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def doing(self, what: str) -> None:
        """This is going on now."""

    def done(self, lines: str) -> None:
        """A case is done; `lines` say how it went."""
        print(lines, flush=True)


class Bar(Lines):
    """How many of the cases are done, and what is going on. Needs rich."""

    def __init__(self, cases: int) -> None:
        from rich import progress

        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeElapsedColumn())
        self._bar: Any = progress.Progress(*columns, "{task.description}", transient=True)
        self._task = self._bar.add_task("", total=cases)

    def __enter__(self) -> Lines:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def doing(self, what: str) -> None:
        self._bar.update(self._task, description=what)

    def done(self, lines: str) -> None:
        self._bar.advance(self._task)
        self._bar.console.print(lines, markup=False, highlight=False, soft_wrap=True)
