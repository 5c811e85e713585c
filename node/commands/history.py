"""`segnode history`: what happened in a period, and who did it."""

import argparse
import csv
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import islice

import msgspec

from node import queue, status
from node.commands.find import midnight
from node.commands.identify import study_of
from node.commands.options import add_config, load_config, whole
from node.commands.terminal import local_time, print_table, printable, say
from node.errors import NotFound

HEAD = ("at", "actor", "event", "study", "series", "job", "detail")
FORMULA = ("=", "+", "-", "@")  # how a spreadsheet recognises one
MOST_SHOWN = 1000


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `history` to the command line."""
    history = commands.add_parser(
        "history",
        help="export what happened in a period, and who did it",
        description="Print every event of a period in order of time, with who caused it: the node, "
        "or a person (os:NAME for a command). Changes nothing.",
    )
    history.add_argument("--from", dest="begin", type=day, metavar="DAY", help="like 2026-11-01")
    history.add_argument("--to", dest="end", type=day, metavar="DAY", help="inclusive")
    history.add_argument("--study", default="", metavar="UID", help="UID or accession number")
    history.add_argument("--by", default="", metavar="ACTOR", help="node, or a person: os:NAME")
    history.add_argument(
        "--limit", type=whole, default=MOST_SHOWN, help="rows of the table (default: 1000)"
    )
    form = history.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print all events as CSV")
    form.add_argument("--json", action="store_true", help="print all events as JSON")
    add_config(history)
    history.set_defaults(run=_history)


def day(text: str) -> date:
    """Parse a day."""
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        message = f"{text!r} is no day: write it like 2026-11-30"
        raise argparse.ArgumentTypeError(message) from exc


def _history(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    engine = status.open_read_only(config.data)
    uid = study_of(engine, config.data, chosen.study) if chosen.study else ""
    begin, end = midnight(chosen.begin), midnight(chosen.end, later_days=1)
    events = queue.history_between(engine, begin, end, study_uid=uid, actor=chosen.by)
    if chosen.csv:
        _print_csv(events)
    elif chosen.json:
        _print_json(events)
    else:
        shown = list(islice(events, chosen.limit))
        if not shown:
            message = "nothing happened in this period"
            raise NotFound(message, advice="`data.keep.history` sets how long events are kept.")
        rows = [(local_time(e.at), *_cells(e)) for e in shown]
        print_table(HEAD, rows)
        if next(events, None) is not None:
            say(f"The first {chosen.limit} events are listed; --csv and --json print all.")
    return 0


def _cells(event: queue.Event) -> tuple[str, ...]:
    job = "" if event.job_id is None else str(event.job_id)
    return (event.actor, event.event, event.study_uid, event.series_uid, job, event.detail)


def _print_csv(events: Iterator[queue.Event]) -> None:
    """Print CSV (RFC 4180); no cell begins like a formula, because a peer may have chosen it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(HEAD)
    for event in events:
        cells = (printable(cell) for cell in _cells(event))
        safe = (f"'{cell}" if cell.startswith(FORMULA) else cell for cell in cells)
        writer.writerow((_iso(event.at), *safe))


def _print_json(events: Iterator[queue.Event]) -> None:
    """Print one JSON array, event by event: years of history need no memory."""
    sys.stdout.write("[")
    for number, event in enumerate(events):
        entry = {"at": _iso(event.at), **dict(zip(HEAD[1:], _cells(event), strict=True))}
        sys.stdout.write(",\n" if number else "\n")
        sys.stdout.write(msgspec.json.encode(entry | {"job": event.job_id}).decode())
    sys.stdout.write("\n]\n")


def _iso(at: float) -> str:
    """Return a time with its zone, as ISO 8601."""
    return datetime.fromtimestamp(at, UTC).astimezone().isoformat(timespec="milliseconds")
