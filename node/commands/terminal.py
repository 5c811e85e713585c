"""Tables and progress for people. Only this module imports rich.

A table that is too wide for the terminal is fitted to it: UIDs are shortened and long texts wrap.
Piped output is plain text, one line per row, and nothing in it is shortened.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from node import clock

if TYPE_CHECKING:
    from rich import progress  # imported where bars are shown: it takes a tenth of a second

GAP = "  "
UID = re.compile(r"[0-9.]{20,}\Z")
UID_END = 14  # characters of a shortened UID: its end distinguishes series of one study
LONGEST_WORD = 24  # characters; longer words are split

_T = TypeVar("_T")
Report = Callable[[str, float], None]  # stage, and the share of it that is done


def printable(text: str) -> str:
    """Replace control characters: text from a peer must not move the cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def say(text: str = "", end: str = "\n") -> None:
    """Print one line, or a part of it, without control characters."""
    print(printable(text), end=end)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns that fit the terminal; print the head alone if there are no rows."""
    lines = [list(head), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if console.is_terminal and sum(widths) + len(GAP) * (len(head) - 1) > console.width:
        _print_fitted(console, lines)
        return
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(GAP.join(cells).rstrip())


def _print_fitted(console: Console, lines: list[list[str]]) -> None:
    """Print a table with shortened UIDs and wrapped cells, or one block per row if too wide."""
    lines = [[f"…{cell[-UID_END:]}" if UID.match(cell) else cell for cell in row] for row in lines]
    widths = _widths(lines, console.width - (len(lines[0]) - 1))
    if widths is None:
        for row in lines[1:]:
            for name, cell in zip(lines[0], row, strict=True):
                console.print(Text(f"{name}: {cell}"))
            console.print()
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name, width in zip(lines[0], widths, strict=True):
        table.add_column(name, width=width, overflow="fold")
    for row in lines[1:]:
        table.add_row(*map(Text, row))
    console.print(table)


def _widths(lines: list[list[str]], total: int) -> list[int] | None:
    """Return column widths that sum up to at most `total` and split no word; None if impossible."""
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [
        max(len(word) for cell in column for word in cell.split() or [""]) for column in columns
    ]
    least = [min(width, LONGEST_WORD) for width in words]
    if sum(least) > total:
        return None
    while sum(widths) > total:
        spare = [width - low for width, low in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


class Progress:
    """Progress of a command on standard error: bars on a terminal, lines in a file or pipe."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Print nothing if `quiet`, for JSON output and tests."""
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def say(self, text: str) -> None:
        """Print one line."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def running(self, text: str) -> Iterator[None]:
        """Show that one step runs, and for how long; print nothing else inside the block."""
        if self._quiet or not self._console.is_terminal:
            self.say(text)
            yield
            return
        from rich import progress

        with self._live(progress.SpinnerColumn(), progress.TimeElapsedColumn()) as live:
            live.add_task(text, total=None)
            yield

    def each(self, text: str, items: Iterable[_T]) -> Iterator[_T]:
        """Yield the items; show on a terminal that the next one is being made."""
        source, shown = iter(items), not self._quiet and self._console.is_terminal
        while True:
            try:
                if shown:
                    with self.running(text):
                        item = next(source)
                else:
                    item = next(source)
            except StopIteration:
                return
            yield item

    @contextmanager
    def stages(self) -> Iterator[Report]:
        """Give a function that shows how much of a stage is done: a bar, or a line at its end."""
        if self._quiet:
            yield lambda *_: None
        elif not self._console.is_terminal:
            yield lambda stage, share: self.say(f"{stage} done") if share >= 1 else None
        else:
            from rich import progress

            with self._live(progress.BarColumn(), progress.TaskProgressColumn()) as live:
                tasks: dict[str, progress.TaskID] = {}

                def report(stage: str, share: float) -> None:
                    if stage not in tasks:
                        tasks[stage] = live.add_task(stage, total=1.0)
                    live.update(tasks[stage], completed=share)

                yield report

    def _live(self, *columns: "progress.ProgressColumn") -> "progress.Progress":
        """Return a display that leaves standard output alone: a pipe must receive what we print."""
        from rich import progress

        return progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            *columns,
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )


def local_time(at: float) -> str:
    """Return a time (seconds since 1970) in the zone of this machine, with its name."""
    return clock.local_time(at)


def ago(seconds: float | None) -> str:
    """Return how long ago something was; `-` if that is unknown."""
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
