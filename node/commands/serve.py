"""`segnode serve`: run one process per loop, and restart it when it ends.

The node may be killed at any time and recovers at the next start. Each child reads from a pipe to
its parent and ends when the parent ends. A loop that is misconfigured at its start ends the whole
node: restarting it would hide the error.
"""

import argparse
import importlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from node.commands.exits import DAMAGED, DEFECT, MISCONFIGURED, OK, node_error_of, status_of
from node.commands.options import add_config, who
from node.config import (
    Accepted,
    Config,
    LineOf,
    RunningConfig,
    accept,
    digest_of,
    load_text_with_lines,
    text_of,
)
from node.config.warnings import warnings_of
from node.conversion import spelled
from node.errors import DatabaseDamaged, NodeError

if TYPE_CHECKING:
    from node.package import Use

# each has a package with `run`
LOOPS = ("listener", "segmenter", "sender", "housekeeping", "monitor")
# not needed to receive, segment and send: its errors never end the node
EXPENDABLE = "monitor"
POLL_S = 0.2
LONGEST_PAUSE_S = 30.0  # between two starts of a loop that keeps ending
STEADY_S = 60.0  # a loop that ran for so long is restarted at once
LIFELINE_BYTES = 4096
log = logging.getLogger("node.serve")


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `serve` to the command line."""
    command = commands.add_parser(
        "serve",
        help="run the node until it is stopped",
        epilog="exit status: 0 it was stopped; 74 the data folder cannot be made; 78 the "
        "configuration or a package is wrong, a loop cannot start, or the database is damaged, and "
        "a restart would not help",
    )
    add_config(command)
    command.add_argument("--only", choices=LOOPS, help="run one loop in this process")
    command.add_argument("--log-level", default="info", choices=("debug", "info", "warning"))
    # for the parent process: the data folder whose accepted configuration the loop uses
    command.add_argument("--accepted", type=Path, help=argparse.SUPPRESS)
    # and: end when standard input closes
    command.add_argument("--lifeline", action="store_true", help=argparse.SUPPRESS)
    command.set_defaults(run=_serve)


def _serve(chosen: argparse.Namespace) -> int:
    if chosen.lifeline:
        _end_with_parent()
    if chosen.only:
        return _run_loop(chosen)
    text = text_of(chosen.config)
    config, line_of = load_text_with_lines(text, str(chosen.config), chosen.config.parent)
    config.data.dir.mkdir(parents=True, exist_ok=True)  # every loop needs it: report an error once
    from node.commands.verify import open_packages  # late: a loop needs none of its libraries

    _log_warnings(config, line_of, open_packages(config), chosen.config)
    file = chosen.config.resolve()
    accept(config.data.dir, Accepted(text=text, file=str(file), at=time.time(), by=who()))
    status = _Supervisor(file, chosen.log_level, config.data.dir).run()
    if config.audit.syslog.host:
        from node.audit import announce_stop  # late, as above

        announce_stop(config, time.time())
    return status


def _log_warnings(config: Config, line_of: LineOf, uses: "list[Use]", file: Path) -> None:
    """Log the legal but probably wrong settings of the configuration, as `segnode check` does."""
    from node.commands.config_warnings import package_warnings  # late, as above

    for warned in (*warnings_of(config), *package_warnings(config, uses)):
        where = f"{file} line {line_of(warned.path)}: {spelled(warned.path)}"
        facts = {"code": warned.code.value, "advice": warned.advice}
        log.warning("%s: %s", where, warned.message, extra=facts)


def _run_loop(chosen: argparse.Namespace) -> int:
    """Run one loop in this process; write the error that ends it to the log."""
    try:
        running = _running_config(chosen)
        importlib.import_module(f"node.{chosen.only}").run(running.config, running=running)
    except NodeError as exc:
        status = _logged(exc)
        return DAMAGED if chosen.lifeline and isinstance(exc, DatabaseDamaged) else status
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            return _logged(node_error_of(exc), exc)
        log.critical(
            "uncaught", exc_info=exc
        )  # type and place only: the text could quote a data set
        return DEFECT
    return OK


def _running_config(chosen: argparse.Namespace) -> RunningConfig:
    """Return the configuration of one loop: the accepted one, or that of the file by hand."""
    if chosen.accepted is not None:
        return RunningConfig.of_node(chosen.accepted, chosen.only)
    text = text_of(chosen.config)
    config, _ = load_text_with_lines(text, str(chosen.config), chosen.config.parent)
    config.data.dir.mkdir(parents=True, exist_ok=True)
    return RunningConfig(config, chosen.only, digest_of(text))


def _logged(error: NodeError, cause: Exception | None = None) -> int:
    facts = {"code": error.code, "advice": error.advice}
    log.critical("%s", error.message, exc_info=cause or error, extra=facts)
    return status_of(error)


@dataclass(frozen=True)
class AfterEnd:
    """The consequence of the end of a loop."""

    is_fatal: bool  # the whole node ends
    pause_s: float  # before the loop starts again
    next_pause_s: float  # before the start after that one


def after(status: int, ran_s: float, pause_s: float, *, was_steady: bool) -> AfterEnd:
    """Return the consequence when a loop ended with `status` after `ran_s`.

    `pause_s` is the pause that its previous end caused, 0 at the first end. Misconfigured is fatal
    only the second time: a predecessor that is still ending may hold the port or the lock. It is
    not fatal for a loop that once ran for `STEADY_S`: its configuration works. A damaged database
    is fatal at once.
    """
    is_steady = ran_s > STEADY_S
    pause_s = 0.0 if is_steady else pause_s
    return AfterEnd(
        is_fatal=status == DAMAGED
        or (status == MISCONFIGURED and not (is_steady or was_steady) and pause_s > 0),
        pause_s=pause_s,
        next_pause_s=min(max(2 * pause_s, 1.0), LONGEST_PAUSE_S),
    )


@dataclass
class _Loop:
    """One loop, and the process that runs it."""

    name: str
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0  # monotonic, as all times here
    due_at: float = 0.0  # when it may start again
    pause_s: float = 0.0  # before its next start if it ends soon
    was_steady: bool = False  # ever


class _Supervisor:
    """Keep one process per loop running."""

    def __init__(self, file: Path, log_level: str, data: Path) -> None:
        self._command = [sys.executable, "-m", "node", "serve", "--config", str(file)]
        self._command += ["--accepted", str(data), "--log-level", log_level]
        self._command += ["--lifeline", "--only"]
        self._file, self._data = file, data
        self._stop, self._hangup = threading.Event(), threading.Event()
        self._running = RunningConfig.of_node(data, "")
        self._loops = [_Loop(name) for name in LOOPS]
        self._cannot_start: str | None = None

    def run(self) -> int:
        """Run until a stop signal or until a loop cannot start; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(signal.SIGHUP, lambda *_: self._hangup.set())
        while not self._stop.is_set():
            if self._hangup.is_set():
                self._hangup.clear()
                self._reload()
            self._running.follow()
            for loop in self._loops:
                if loop.name != EXPENDABLE or self._running.config.is_monitored:
                    self._supervise(loop, time.monotonic())
                else:
                    _end(loop)
            self._stop.wait(POLL_S)
        self._end_all()
        if self._cannot_start is None:
            return OK
        advice = "The log above has the reason; `segnode check` finds the usual causes."
        log.critical(
            "the node ends: the %s cannot work",
            self._cannot_start,
            extra={"stage": self._cannot_start, "status": MISCONFIGURED, "advice": advice},
        )
        return MISCONFIGURED

    def _reload(self) -> None:
        """Do as `segnode reload`; an error is logged, and the node goes on as it was."""
        from node.reload import reload  # late: its libraries are needed for this only

        try:
            reloaded = reload(self._file, time.time(), "signal", self._data)
        except NodeError as exc:
            facts = {"code": exc.code, "advice": exc.advice}
            log.error("not reloaded: %s", exc.message, extra=facts)  # noqa: TRY400
        else:
            log.info("reloaded, configuration %s", reloaded.digest)
            for warned, line in reloaded.warnings:
                facts = {"code": warned.code.value, "advice": warned.advice}
                where = f"{self._file} line {line}: {spelled(warned.path)}"
                log.warning("%s: %s", where, warned.message, extra=facts)

    def _supervise(self, loop: _Loop, now: float) -> None:
        status = None if loop.process is None else loop.process.poll()
        if status is not None:
            self._note_end(loop, status, now)
        if loop.process is None and now >= loop.due_at and not self._stop.is_set():
            # the child reads its end of this pipe until this process ends
            loop.process = subprocess.Popen([*self._command, loop.name], stdin=subprocess.PIPE)
            loop.started_at = now
            log.info("started", extra={"stage": loop.name, "pid": loop.process.pid})

    def _note_end(self, loop: _Loop, status: int, now: float) -> None:
        loop.process = None
        ran_s = now - loop.started_at
        after_end = after(status, ran_s, loop.pause_s, was_steady=loop.was_steady)
        if after_end.is_fatal and loop.name != EXPENDABLE:
            self._cannot_start = loop.name
            self._stop.set()
            return
        loop.was_steady = loop.was_steady or ran_s > STEADY_S
        loop.due_at, loop.pause_s = now + after_end.pause_s, after_end.next_pause_s
        log.error(
            "%s ended with status %s; restarting",
            loop.name,
            status,
            extra={"stage": loop.name, "status": status, "seconds": after_end.pause_s},
        )

    def _end_all(self) -> None:
        running = [loop.process for loop in self._loops if loop.process is not None]
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def _end(loop: _Loop) -> None:
    """End a loop that the configuration no longer needs."""
    if loop.process is not None:
        loop.process.kill()
        loop.process.wait()
        loop.process = None


def _end_with_parent() -> None:
    def wait() -> None:
        # not sys.stdin: the interpreter aborts if it ends while another thread holds its lock
        while os.read(0, LIFELINE_BYTES):
            pass
        os._exit(OK)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
