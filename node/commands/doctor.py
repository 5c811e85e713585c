"""`segnode doctor`: one file about this node for a report, without patient data and secrets."""

import argparse
import hashlib
import importlib.metadata
import json
import platform
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from node import __version__, durable, logs, queue, schema, status
from node.commands.options import add_config, whole
from node.commands.terminal import Progress, say
from node.config import Config, LineOf, load_with_lines
from node.errors import Misconfigured, NodeError

REMOVED = "(removed)"
SECRET = re.compile(r"pass|secret|token|key|hash|url|webhook|users|database", re.IGNORECASE)
UID = re.compile(r"\b[0-9]+(?:\.[0-9]+){4,}\b")  # more numbers than an IPv4 address or a version
LOG_KEYS = {"at", "level", "from", "message", "process", "exception", "where", *logs.KEYS}
MOST_LOG_LINES = 500


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `doctor` to the command line."""
    doctor = commands.add_parser(
        "doctor",
        help="write one file for a report: versions, configuration, conditions, checks, log",
        description="Write one JSON file without patient data and secrets: UIDs are replaced by "
        "short digests, passwords and addresses with them are removed. Read it before you send it.",
    )
    doctor.add_argument("file", type=Path, help="the file to write, like doctor.json")
    doctor.add_argument("--log", type=Path, metavar="LOG", help="a file with the log of `serve`")
    doctor.add_argument(
        "--lines", type=whole, default=MOST_LOG_LINES, help="last lines of the log (default: 500)"
    )
    doctor.add_argument("--no-check", action="store_true", help="leave out `segnode check`")
    add_config(doctor)
    doctor.set_defaults(run=_doctor)


def _doctor(chosen: argparse.Namespace) -> int:
    if chosen.file.exists():
        message = f"{chosen.file} exists"
        raise Misconfigured(message, advice="Give another name.")
    bundle: dict[str, Any] = {
        "made_at": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    try:
        config, line_of = load_with_lines(chosen.config)
    except NodeError as exc:
        bundle["config"] = _problem(exc)
    else:
        bundle["config"] = without_secrets(msgspec.to_builtins(config, enc_hook=str))
        bundle["state"] = _section(lambda: _state(config))
        if not chosen.no_check:
            bundle["check"] = _section(lambda: _checks(config, line_of))
    if chosen.log is not None:
        with chosen.log.open("rb") as file:
            bundle["log"] = log_lines(deque(file, chosen.lines))
    text = without_uids(msgspec.json.format(msgspec.json.encode(bundle, enc_hook=str)).decode())
    durable.write(chosen.file, text.encode())
    say(f"{chosen.file}: {', '.join(bundle)}. Read it before you send it.")
    return 0


def versions() -> dict[str, str]:
    """Return the versions of segnode, Python, the machine and the installed libraries."""
    installed = {"segnode": __version__, "schema": str(schema.VERSION), "python": sys.version}
    installed |= {"machine": platform.platform(), "processor": platform.machine()}
    for line in importlib.metadata.requires("segnode") or ():
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # of an extra that is not installed
            continue
    return installed


def without_secrets(value: Any, name: str = "") -> Any:
    """Return a configuration without the values of keys that may hold a secret."""
    if SECRET.search(name) and value not in ("", None, [], {}, ()):
        return REMOVED
    if isinstance(value, dict):
        return {key: without_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return value


def without_uids(text: str) -> str:
    """Replace each UID by a digest: equal UIDs stay equal, and the digest appears in no archive."""
    return UID.sub(lambda m: f"uid-{hashlib.sha256(m[0].encode()).hexdigest()[:10]}", text)


def log_lines(lines: "deque[bytes]") -> list[dict[str, Any]]:
    """Return the lines of a log with the keys that segnode writes; others are only counted."""
    own_lines: list[dict[str, Any]] = []
    other = 0
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # such as a line of another program, which may quote anything
            other += 1
            continue
        if isinstance(record, dict) and "message" in record:
            own_lines.append({key: record[key] for key in LOG_KEYS & record.keys()})
        else:
            other += 1
    return (
        [*own_lines, {"message": f"{other} lines of another form were left out"}]
        if other
        else own_lines
    )


def _section(make: Callable[[], Any]) -> Any:
    """Return a part of the bundle, or the error that prevents it: a sick node is reported too."""
    try:
        return make()
    except NodeError as exc:
        return _problem(exc)


def _problem(error: NodeError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "advice": error.advice}


def _state(config: Config) -> dict[str, Any]:
    """Return conditions, processes, numbers of jobs and targets; no study, series or note."""
    from node.conditions import conditions

    engine = status.open_read_only(config.data)
    snapshot = status.snapshot(config, engine, time.time(), series=1)
    return {
        "conditions": conditions(snapshot),
        "processes": snapshot.processes,
        "jobs": snapshot.jobs,
        "rows": queue.row_counts(engine),
        "targets": snapshot.targets,
        "free_gib": round(snapshot.free_gib, 2),
        "engine": snapshot.engine,
        "models": snapshot.models,
        "package_problems": snapshot.package_problems,
    }


def _checks(config: Config, line_of: LineOf) -> list[Any]:
    from node.commands.admin import findings_of

    checked = Progress().each("checking", findings_of(config, line_of))
    return [finding.__dict__ for finding in checked]
