"""Messages on the error stream, results on the output stream, and exit codes."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kd.training.trainer import Progress

# argparse gives what add_subparsers returns no public name
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001

EXIT_OK, EXIT_WRONG_INPUT, EXIT_UNFINISHED = 0, 1, 3


def say(sentence: str) -> None:
    """Write one message for a person."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def show(line: str) -> None:
    """Write one line of the result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table of the result."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in head:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=sys.stdout, highlight=False, markup=False, emoji=False).print(table)


def progress_lines(name: str, *, as_json: bool) -> Callable[[Progress], None]:
    """Return a report function that writes a line for each progress of `name`."""

    def report(progress: Progress) -> None:
        if as_json:
            show(msgspec.json.encode({"name": name} | msgspec.to_builtins(progress)).decode())
        else:
            dice = progress.held_out_dice
            end = "" if dice is None else f"  held-out Dice {dice:.3f}"
            show(
                f"{name}  step {progress.step:6d}  {100 * progress.share:5.1f} %  "
                f"loss {progress.loss:.4f}  {in_words(progress.seconds)}, "
                f"{in_words(progress.left_s)} left{end}"
            )

    return report


def in_words(seconds: float) -> str:
    """Return a duration as a person reads it: 40 s, 12 min, 3 h 05 min."""
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
