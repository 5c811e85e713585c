"""`segnode init` writes the configuration; `segnode check` verifies it."""

import argparse
import errno
import json
import os
import re
import shlex
import socket
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from node import disk, status
from node.commands.check_peers import (
    about_page,
    about_reports,
    about_target,
    about_tls,
    credentials_of,
)
from node.commands.config_warnings import package_warnings
from node.commands.exits import FAILED, OK
from node.commands.findings import Finding, failed, guarded
from node.commands.options import add_config, add_json, print_json
from node.commands.terminal import Progress
from node.commands.verify import (
    describe_engine,
    describe_memory,
    reference_checks,
    with_chosen_sizes,
)
from node.config import Caller, Config, LineOf, is_network, load_text, load_with_lines
from node.config.warnings import Warned, warnings_of
from node.conversion import spelled
from node.errors import Misconfigured, NodeError
from node.package import uses
from node.private import wide_paths

TEMPLATE = "node.yaml"


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `init` and `check` to the command line."""
    init = commands.add_parser("init", help="write an annotated configuration")
    init.add_argument("file", nargs="?", type=Path, default=Path(TEMPLATE))
    init.add_argument("--ae-title", help="the AE title of this node")
    init.add_argument("--port", type=int, help="the port to listen on")
    init.add_argument("--caller", metavar="AE[@HOST]", help="a peer that may send")
    init.add_argument("--target", metavar="AE@HOST:PORT", help="the peer that receives the results")
    init.add_argument("--data", type=Path, help="folder for images, results and the database")
    init.add_argument("--models", type=Path, help="folder of model packages")
    init.add_argument("--force", action="store_true", help="replace an existing file")
    init.set_defaults(run=_init)
    check = commands.add_parser("check", help="verify configuration, packages, targets and disk")
    add_config(check)
    add_json(check)
    check.add_argument("--strict", action="store_true", help="fail if there is a warning, too")
    check.set_defaults(run=_check)


def _init(chosen: argparse.Namespace) -> int:
    if chosen.file.exists() and not chosen.force:
        message = f"{chosen.file} exists"
        raise Misconfigured(message, advice="Give another name, or --force to replace it.")
    text = template()
    for section, key, value in _answers(chosen):
        text = _set(text, section, key, value)
    load_text(text, str(chosen.file), chosen.file.parent)  # never write an invalid file
    chosen.file.parent.mkdir(parents=True, exist_ok=True)
    chosen.file.write_text(text, encoding="utf-8")
    print(f"wrote {chosen.file}. Edit callers, targets and rules, then run: segnode check")
    return 0


def template() -> str:
    """Return the annotated configuration that ships with the node."""
    return (files("node.commands") / TEMPLATE).read_text(encoding="utf-8")


def _answers(chosen: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, value as YAML) for each given option."""
    if chosen.ae_title:
        yield "node", "ae_title", json.dumps(chosen.ae_title)
    if chosen.port is not None:
        yield "node", "port", str(chosen.port)
    if chosen.data:
        yield "data", "dir", json.dumps(str(chosen.data.resolve()))
    if chosen.models:
        yield "model", "dir", json.dumps(str(chosen.models.resolve()))
    yield from _peers(chosen)


def _peers(chosen: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Yield the answers for the caller and the target; a caller without a host has no value."""
    if chosen.caller:
        ae, _, host = chosen.caller.partition("@")
        yield "callers", "- ae", json.dumps(ae)
        yield "callers", "host", json.dumps(host) if host else ""
    if chosen.target:
        match = re.fullmatch(r"([^@]+)@([^:]+):(\d+)", chosen.target)
        if match is None:
            message = f"{chosen.target!r} is not a target"
            raise Misconfigured(message, advice="Write it as AE@HOST:PORT, like PACS@10.1.2.3:104.")
        yield "targets", "ae", json.dumps(match[1])
        yield "targets", "host", json.dumps(match[2])
        yield "targets", "port", match[3]


def _set(text: str, section: str, key: str, value: str) -> str:
    """Replace the value of the first `key:` of a section, or remove its line without a value."""
    pattern = rf"(?ms)(^{section}:.*?)(^\s+{re.escape(key)}: )(\S+)([^\n]*\n)"
    changed, count = re.subn(
        pattern, lambda m: f"{m[1]}{m[2]}{value}{m[4]}" if value else m[1], text, count=1
    )
    assert count == 1, f"the template has no {section}.{key}"
    return changed


def _check(chosen: argparse.Namespace) -> int:
    config, line_of = load_with_lines(chosen.config)
    findings = []
    progress = Progress(quiet=chosen.json)
    for finding in progress.each("checking", findings_of(config, line_of)):
        findings.append(finding)
        if not chosen.json:
            line = f" (line {finding.line})" if finding.line else ""
            code = f" [{finding.code}]" if finding.code else ""
            label = f"{finding.label:<4}  {finding.subject}{line}"
            print(f"{label}: {finding.message}{code}", flush=True)
            if finding.advice:
                print(f"      {finding.advice}")
    if chosen.json:
        print_json([finding.__dict__ for finding in findings])
    warnings = sum(finding.label == "warn" for finding in findings)
    if warnings and not chosen.json:
        count = f"{warnings} warning{'s' if warnings > 1 else ''}"
        print(f"{count}; `segnode check --strict` fails because of them")
    has_failed = (chosen.strict and warnings) or not all(finding.ok for finding in findings)
    return FAILED if has_failed else OK


def findings_of(config: Config, line_of: LineOf) -> Iterator[Finding]:
    """Yield each finding as soon as its check has ended."""
    yield Finding("configuration", ok=True, message="understood")
    warned = sorted(warnings_of(config), key=lambda one: line_of(one.path))
    yield from (_warning(one, line_of) for one in warned)
    yield from _callers(config)
    yield guarded("data folder", lambda: _disk(config))
    yield guarded("data folder, access", lambda: _private(config))
    yield guarded("database", lambda: _database(config))
    if not config.tls.only:
        yield guarded("port", lambda: _port(config, "node.port", config.node.port))
    if config.tls.is_on:
        yield guarded("port with TLS", lambda: _port(config, "tls.port", config.tls.port))
    credentials, now = credentials_of(config), time.time()
    yield from about_tls(credentials, now)
    yield from about_page(config, now)
    yield guarded("engine", lambda: describe_engine(config))
    yield from _packages(config, line_of)
    for name in config.targets:
        yield about_target(config, name, credentials, now)
    yield from about_reports(config)


def _warning(warned: Warned, line_of: LineOf) -> Finding:
    key_path, line = spelled(warned.path), line_of(warned.path)
    return Finding(
        key_path, ok=True, message=warned.message, advice=warned.advice, code=warned.code, line=line
    )


def _callers(config: Config) -> Iterator[Finding]:
    if config.callers == "any":
        yield Finding(
            "callers", ok=True, message="any peer may send; list the callers to restrict it"
        )
    elif config.callers:
        yield Finding("callers", ok=True, message=", ".join(caller.ae for caller in config.callers))
        yield from _unknown_hosts(config.callers)
    else:
        advice = "Add a line under callers, like `- {ae: CT01, host: 10.1.2.3}`."
        yield Finding("callers", ok=False, message="no peer may send", advice=advice)


def _unknown_hosts(callers: Sequence[Caller]) -> Iterator[Finding]:
    """Yield the callers whose host cannot be resolved: the listener would reject them."""
    for caller in callers:
        if caller.host and not is_network(caller.host):
            try:
                socket.getaddrinfo(caller.host, None)
            except OSError as exc:
                message = f"the host {caller.host!r} cannot be resolved ({exc.strerror})"
                advice = "Correct the host of this caller, or write its address."
                yield Finding(f"caller {caller.ae}", ok=False, message=message, advice=advice)


def _database(config: Config) -> str:
    engine = status.open_read_only(config.data)
    if engine.url.database == status.NOWHERE:
        return "none yet; the node creates it when it starts"
    return "readable, and of this version"


def _disk(config: Config) -> str:
    folder = config.data.dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        message = f"{folder} cannot be created ({exc.strerror})"
        raise Misconfigured(message, advice="Create it, or choose another data.dir.") from exc
    if not os.access(folder, os.W_OK):
        message = f"{folder} is not writable"
        raise Misconfigured(message, advice="Grant the node's user write access.")
    space = disk.space(folder)
    shortage = space.shortage(config.data.stop_accepting_below)
    if shortage:
        message = f"{shortage} by stop_accepting_below"
        raise Misconfigured(message, advice="Free some space, or lower data.stop_accepting_below.")
    return f"{folder} is writable, {space.free_bytes / 2**30:.1f} GiB free"


def _private(config: Config) -> str:
    """Check that other users of this machine can read nothing in the data folder."""
    folder = config.data.dir
    wide = next(wide_paths(folder), None) if folder.exists() else None
    if wide is not None:
        message = f"other users of this machine may read {wide}"
        raise Misconfigured(message, advice=f"Type: chmod -R go= {shlex.quote(str(folder))}")
    return "only the node's user may read it"


def _port(config: Config, key: str, port: int) -> str:
    place = f"{config.node.host}:{port}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.node.host, port))
        except OSError as exc:
            message = f"{place} cannot be opened ({exc.strerror})"
            if status.listens(config.data.dir / "inbox"):
                return f"{place}: this node is running"
            raise Misconfigured(message, advice=_port_advice(key, exc)) from exc
    return f"{place} is free"


def _port_advice(key: str, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"Stop the program that uses the port, or choose another {key}."
    if exc.errno in (errno.EACCES, errno.EPERM):
        return f"Ports below 1024 require CAP_NET_BIND_SERVICE: grant it, or choose a higher {key}."
    return "Correct node.host: it must be an address of this machine, or 0.0.0.0 for all."


def _packages(config: Config, line_of: LineOf) -> Iterator[Finding]:
    try:
        required = uses(config)
        yield from (_warning(warned, line_of) for warned in package_warnings(config, required))
        for use in required:
            yield Finding(
                f"rule {use.rule}",
                ok=True,
                message=f"{use.package.name}, size {use.size}: all digests match",
            )
            yield guarded(f"rule {use.rule}, memory", partial(describe_memory, config, use))
        for use, size, dice in reference_checks(config, with_chosen_sizes(config, required)):
            message = f"reference case reproduced (lowest Dice {dice:.4f})"
            yield Finding(f"{use.package.name} {size}", ok=True, message=message)
    except (NodeError, OSError) as exc:
        yield failed("packages", exc)
