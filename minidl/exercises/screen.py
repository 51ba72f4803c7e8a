"""What the exercises print: in colour on a terminal that has it, and plain anywhere else."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any


def _console() -> Any:
    """Rich's console; None where rich is not installed or stdout is no terminal. It heeds NO_COLOR."""
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return None
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True)


def say(*parts: str | tuple[str, str], end: str = "\n") -> None:
    """Print a line of parts, each a text or (text, style) with a style such as "bold green"."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    console = _console()
    if console is None:
        print("".join(text for text, _ in pairs), end=end, flush=True)
        return
    from rich.text import Text

    console.print(Text.assemble(*pairs), end=end)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """On a terminal, say what is being waited for, until it is there."""
    console = _console()
    with console.status(what) if console is not None else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Any]:
    """On a terminal, a bar for so many steps; call what it gives for each."""
    console = _console()
    if console is None:
        yield lambda: None
        return
    from rich import progress

    columns = ("{task.description}", progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeElapsedColumn())
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
