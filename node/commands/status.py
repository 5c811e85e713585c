"""`segnode status`: what needs a person, then processes, queue, targets and the newest series."""

import argparse
import time
from collections.abc import Sequence

from node import queue, status
from node.commands.exits import FAILED, NOT_RUNNING, OK
from node.commands.options import add_config, add_json, load_config, print_json
from node.commands.terminal import ago, local_time, print_table, say
from node.conditions import Condition, conditions
from node.config import AUTO, digest_of, text_of
from node.states import State


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `status` to the command line."""
    shown = commands.add_parser(
        "status",
        help="what needs attention, processes, queue, targets, newest series",
        description="Show what needs attention, then processes, queue, targets and the newest "
        "series. Changes nothing.",
        epilog="exit status: 0 all loops run and nothing needs attention; 1 a condition that is "
        "printed first needs attention; 69 the named loops do not run; 74 access is denied; "
        "75 the database is locked or unreachable; 78 the configuration or the database cannot "
        "be read",
    )
    add_config(shown)
    add_json(shown)
    shown.add_argument(
        "--loops",
        action="store_true",
        help="for a health check: end with 0 while all loops run, whatever else needs attention",
    )
    shown.set_defaults(run=_status)


def _status(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    engine = status.open_read_only(config.data)
    snapshot = status.snapshot(config, engine, time.time())
    current = conditions(snapshot)
    waiting = queue.arriving_series(engine)
    if chosen.json:
        print_json(
            {
                "conditions": current,
                "not_running": snapshot.not_running,
                "snapshot": snapshot,
                "arriving": waiting,
            }
        )
    else:
        _print_conditions(current)
        _print_accepted(chosen, snapshot)
        _print_processes(snapshot)
        _print_models(snapshot)
        _print_work(snapshot, waiting)
    if snapshot.not_running:
        return NOT_RUNNING
    return FAILED if current and not chosen.loops else OK


def _print_conditions(current: Sequence[Condition]) -> None:
    for condition in current:
        since = "" if condition.since is None else f" (since {local_time(condition.since)})"
        say(f"{condition.key}{since}")
        say(f"  {condition.text}")
        if condition.advice:
            say(f"  {condition.advice}")
    if not current:
        say("Nothing needs attention.")
    say()


def _print_processes(snapshot: status.Snapshot) -> None:
    say(f"{snapshot.ae_title}  {snapshot.free_gib:.1f} GiB free", end="")
    say("" if snapshot.accepting else "  LOW: images are rejected with a transient status")
    for process in snapshot.processes:
        last = f", last seen {ago(process.last_seen_s)} ago" if process.last_seen_s else ""
        state = "running" if process.alive else f"NOT RUNNING{last}"
        say(f"  {process.name:<12}  {state}{_configuration(process) if process.alive else ''}")
    say()


def _configuration(process: status.Process) -> str:
    if process.configured_at is None:
        return ""
    return f", configuration {process.configuration} since {local_time(process.configured_at)}"


def _print_accepted(chosen: argparse.Namespace, snapshot: status.Snapshot) -> None:
    """Print which configuration is accepted, and whether the file has changed since."""
    accepted = snapshot.configuration
    if accepted is None:
        return
    at = local_time(accepted.at)
    say(f"Configuration {accepted.digest}, accepted {at} by {accepted.by}")
    if digest_of(text_of(chosen.config)) != accepted.digest:
        say(f"  {chosen.config} has changed since: `segnode reload` lets the node use it")


def _print_models(snapshot: status.Snapshot) -> None:
    fastest = "auto (fastest engine that reproduces the reference case)"
    chosen = fastest if snapshot.engine == AUTO else f"{snapshot.engine} (configured)"
    rest = "" if snapshot.models else " Not benchmarked yet: run `segnode models bench`."
    say(f"Engine: {chosen}.{rest}")
    for model in snapshot.models:
        cost = f"{model.engine}, reference case {model.seconds:.2f} s, {model.peak_mb:.0f} MiB"
        say(f"  {model.package} {model.size:<8} {model.problem or cost}")
    say()


def _print_work(snapshot: status.Snapshot, waiting: list[queue.ArrivingSeries]) -> None:
    states = [state.value for state in State]
    print_table(
        ("jobs", *states), [(k, *(row[s] for s in states)) for k, row in snapshot.jobs.items()]
    )
    say()
    head = ("target", "AE", "address", "queued", "since", "last problem")
    print_table(
        head,
        [
            (t.name, t.ae, t.address, t.waiting, ago(t.oldest_s), t.last_problem)
            for t in snapshot.targets
        ],
    )
    say()
    rows = [
        (
            local_time(s.arrival.last_at),
            s.arrival.series_uid,
            f"{s.arrival.package} {s.arrival.size}".strip(),
            s.ending.value,
            s.reason,
        )
        for s in snapshot.series
    ]
    rows += [("arriving", w.series_uid, "", f"{w.instances} images", w.why) for w in waiting]
    print_table(("received", "series", "model", "ending", "reason"), rows)
    for note in snapshot.notes:
        say()
        say(f"{local_time(note.at)} {note.event}: {note.detail}")
