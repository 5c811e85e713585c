"""Options that several commands share, and how they print."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from node.config import Config, load

DEFAULT_CONFIG = Path("node.yaml")
LARGEST = 1 << 63


def add_config(command: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    command.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the configuration (default: node.yaml in this folder)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print JSON, for machines")


def whole(text: str) -> int:
    """Read a number of a job, or of rows: from 1 to what a database can hold."""
    if not text.isdecimal() or not 1 <= int(text[:20]) < LARGEST:
        message = f"{text!r} is no whole number from 1 on"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def load_config(chosen: argparse.Namespace) -> Config:
    """Read the configuration that `--config` names."""
    return load(chosen.config)


def print_json(value: Any) -> None:
    """Print any value of structs, mappings and lists as indented JSON."""
    encoded = msgspec.json.encode(value, enc_hook=str)
    print(msgspec.json.format(encoded, indent=2).decode())


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns; nothing but the head where there are no rows."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(head), *texts]) for i in range(len(head))]
    for line in [list(head), *texts]:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())


def say(text: str = "", end: str = "\n") -> None:
    """Print one line, or a part of it, on which nothing that a peer once said moves a cursor."""
    print("".join(char if char.isprintable() else "?" for char in text), end=end)


class Steps:
    """Progress of a command that people wait for: one line per step, on standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Stay silent where `quiet`, for JSON output and tests."""
        self._quiet = quiet

    def say(self, text: str) -> None:
        """Print one finished or begun step."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def share(self, what: str, done: float) -> None:
        """Redraw one line with a percentage; a log file gets only the end."""
        if self._quiet:
            return
        if sys.stderr.isatty():
            end = "\n" if done >= 1 else ""
            print(f"\r{what} {done:4.0%}", end=end, file=sys.stderr, flush=True)
        elif done >= 1:
            print(f"{what} done", file=sys.stderr, flush=True)
