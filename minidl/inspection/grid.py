"""A table for people: plain text, or with rules and colours on a terminal that has rich."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Rows of cells under a header, and their sums at the end.

    The first column has names and the second descriptions, which may be cut; the others have numbers. `styles` are
    those of the rows, in rich's words, such as "bold".
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str]
    styles: Sequence[str]

    def __str__(self) -> str:
        """As lines of text."""
        widths = self._widths()
        lines = [_line(row, widths) for row in (self.header, *self.rows, self.total)]
        rule = "─" * len(lines[0])  # the header's last cell ends where its column does
        return "\n".join((lines[0], rule, *lines[1:-1], rule, lines[-1]))

    def show(self) -> None:
        """Print it: with rich, where it is installed and stdout is a terminal."""
        if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
            print(self)
            return
        import rich.box
        import rich.console
        import rich.table

        console = rich.console.Console()
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_footer=True, show_edge=False, padding=(0, 1, 0, 0))
        widths = self._widths()
        # On a narrow terminal descriptions are cut, or left out; numbers never are: a terminal that has no room for
        # those breaks the lines. Each column has two blanks after it.
        room = console.width - sum(widths) + widths[1] - 2 * len(widths)
        console.width += max(0, -room)
        shown = [i for i in range(len(widths)) if i != 1 or room >= 10]
        for i in shown:
            width = min(widths[i], room) if i == 1 else widths[i]
            header, total = self.header[i], self.total[i]
            table.add_column(header, total, justify="left" if i < 2 else "right", no_wrap=True, width=width)
        for row, style in zip(self.rows, self.styles, strict=True):
            table.add_row(*(row[i] for i in shown), style=style)
        console.print(table)

    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.header, *self.rows, self.total, strict=True)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
    return "  ".join(cells).rstrip()
