"""A whole node as in a hospital: `segnode serve` with its own folder, on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
import yaml

from node import queue, schema
from node.config import Config, Target, load
from node.sender import send_echo
from node.states import Ending
from tests.support import processes
from tests.support.orthanc import free_port

WAIT_S = 240.0  # for a state that takes seconds: the machine may be busy
needs_dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None, reason="Debian's DCMTK is not installed"
)


@dataclass
class Node:
    """A node's folder and configuration; `started` runs it."""

    folder: Path
    target_port: int
    models: Path
    port: int = field(default_factory=free_port)
    changes: dict[str, Any] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def config_file(self) -> Path:
        return self.folder / "node.yaml"

    def configure(self) -> Config:
        """Write the configuration; `changes` replaces whole sections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pacs = {"ae": "ORTHANC", "host": "127.0.0.1", "port": self.target_port}
        sections: dict[str, Any] = {
            "node": {"host": "127.0.0.1", "port": self.port},
            "data": {"dir": "data", "stop_accepting_below": "64 MiB"},
            "callers": "any",
            "page": {"enabled": False},
            "targets": {"pacs": pacs},
            "model": {"dir": str(self.models), "size": "small"},
            "rules": [
                {"name": "all", "when": {"modality": "MR"}, "use": "tiny-mr", "send_to": ["pacs"]}
            ],
            "complete": {"settle": "200 ms", "quiet": "3 s"},
            "limits": {"time": "60 s", "threads": 1},
        }
        self.config_file.write_text(yaml.safe_dump(sections | self.changes))
        return load(self.config_file)

    @property
    def engine(self) -> sa.Engine:
        return schema.open_configured(load(self.config_file).data)

    def histories(self) -> list[queue.SeriesHistory]:
        """Return every arrival with its ending."""
        engine = self.engine
        try:
            return queue.histories(engine)
        finally:
            engine.dispose()

    def wait_for_endings(self, count: int, within_s: float = WAIT_S) -> list[queue.SeriesHistory]:
        """Wait until `count` arrivals have ended; after `within_s` fail with their endings."""
        histories: list[queue.SeriesHistory] = []

        def ended() -> bool:
            histories[:] = self.histories()
            return len([s for s in histories if s.ending is not Ending.IN_PROGRESS]) >= count

        wait_until(ended, within_s, lambda: str([s.ending for s in histories]))
        return histories

    def processes(self) -> list[psutil.Process]:
        """Return every process of the running node, the supervisor first."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `segnode` with this node's configuration."""
        return segnode(*arguments, "--config", str(self.config_file))

    def json(self, *arguments: str, ends: Sequence[int] = (0,)) -> Any:
        """Run a command with --json that ends with one of `ends`; return the parsed output."""
        done = self.run(*arguments, "--json")
        assert done.returncode in ends, done.stderr
        return json.loads(done.stdout)


@contextmanager
def started(node: Node) -> Iterator[Node]:
    """Run `segnode serve` until the block ends, then stop it."""
    config = node.configure()
    command = [sys.executable, "-m", "node", "serve", "--config", str(node.config_file)]
    command += ["--lifeline"]  # the node ends with the test run, even when the run is killed
    with (node.folder / "node.log").open("ab") as log:
        node.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        ready(config, node.process)
        yield node
    finally:
        processes.stop(node.process)
        assert node.process.stdin is not None
        node.process.stdin.close()


def ready(config: Config, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the listener answers C-ECHO."""
    target = Target(ae=config.node.ae_title, host="127.0.0.1", port=config.node.port)

    def answers() -> bool:
        assert process.poll() is None, "the node ended at once; see node.log"
        try:
            socket.create_connection((target.host, target.port), 1).close()
            send_echo(target, "TEST")
        except Exception:  # noqa: BLE001  after the time limit the test fails
            return False
        return True

    wait_until(answers, describe=lambda: "the listener does not answer")


def wait_until(
    true: Callable[[], bool],
    within_s: float = WAIT_S,
    describe: Callable[[], str] = str,
    every_s: float = 0.05,
) -> None:
    """Wait for a condition; fail with the text of `describe` after `within_s`."""
    until = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until:
            pytest.fail(f"not within {within_s:g} s: {describe()}")
        time.sleep(every_s)


def segnode(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run one command of the node and return what it printed."""
    command = [sys.executable, "-m", "node", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def storescu(
    port: int,
    files: Sequence[Path],
    *options: str,
    called: str = "SEGNODE",
    calling: str = "MODALITY",
) -> int:
    """Send files with DCMTK over one association; return its exit status."""
    command = ["storescu", "-aet", calling, "-aec", called, "-R", *options]
    command += ["127.0.0.1", str(port), *map(str, files)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    done = subprocess.run(command, capture_output=True, timeout=300, env=environment, check=False)
    return done.returncode
