"""`segnode serve`: one process per loop, each started again when it dies.

Stop is kill, start is recovery: no process needs a farewell. Each child holds one end of a pipe to
its parent, and ends when the parent does, however the parent ended.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from node import listener, segmenter, sender, tending
from node.commands.options import add_config, load_config
from node.commands.trust import open_packages
from node.config import Config

LOOPS: dict[str, Callable[[Config], None]] = {
    "listener": listener.run,
    "segmenter": segmenter.run,
    "sender": sender.run,
    "tending": tending.run,
}
POLL_S = 0.2
LONGEST_PAUSE_S = 30.0  # between two starts of a loop that keeps dying
STEADY_S = 60.0  # a loop that ran so long starts again at once
log = logging.getLogger("node.serve")


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `serve` to the command line."""
    command = commands.add_parser("serve", help="run the node until it is stopped")
    add_config(command)
    command.add_argument("--only", choices=LOOPS, help="run one loop in this process")
    command.add_argument("--log-level", default="info", choices=("debug", "info", "warning"))
    command.set_defaults(run=_serve)


def _serve(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    if chosen.only:
        _end_with_parent()
        LOOPS[chosen.only](config)
        return 0
    open_packages(config)
    _Supervisor(chosen.config, chosen.log_level).run()
    return 0


class _Supervisor:
    """Keeps one process per loop alive."""

    def __init__(self, config: Path, log_level: str) -> None:
        self._command = [sys.executable, "-m", "node", "serve", "--config", str(config)]
        self._command += ["--log-level", log_level, "--only"]
        self._stop = threading.Event()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._pauses: dict[str, float] = dict.fromkeys(LOOPS, 0.0)
        self._due: dict[str, float] = dict.fromkeys(LOOPS, 0.0)

    def run(self) -> None:
        """Run until a signal asks to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        while not self._stop.is_set():
            now = time.monotonic()
            for name in LOOPS:
                self._look_after(name, now)
            self._stop.wait(POLL_S)
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()

    def _look_after(self, name: str, now: float) -> None:
        process = self._running.get(name)
        if process is not None and process.poll() is not None:
            steady = now - self._started[name] > STEADY_S
            pause = 0.0 if steady else self._pauses[name]
            self._pauses[name] = min(max(2 * pause, 1.0), LONGEST_PAUSE_S)
            self._due[name] = now + pause
            log.error(
                "%s ended with status %s; starting again",
                name,
                process.returncode,
                extra={"stage": name, "status": process.returncode, "seconds": pause},
            )
            del self._running[name]
        if name not in self._running and now >= self._due[name]:
            # the child reads its end of this pipe until we are gone
            self._running[name] = subprocess.Popen([*self._command, name], stdin=subprocess.PIPE)
            self._started[name] = now
            log.info("started", extra={"stage": name, "pid": self._running[name].pid})


def _end_with_parent() -> None:
    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    if not sys.stdin.isatty():
        threading.Thread(target=wait, name="lifeline", daemon=True).start()
