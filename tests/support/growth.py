"""Sample what a node uses while it runs: memory, open files, its data folder, its log."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from tests.support.running import Node

EVERY_S = 5.0
MIB = 1 << 20


@dataclass
class Samples:
    """The samples of one run, in the order of time."""

    at: list[float] = field(default_factory=list)  # seconds since the start
    rss_mib: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    open_files: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    data_mib: list[float] = field(default_factory=list)
    database_mib: list[float] = field(default_factory=list)
    log_kib: list[float] = field(default_factory=list)
    starts: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # pids of loops

    def take(self, node: Node, seconds: float) -> None:
        """Take one sample."""
        self.at.append(seconds)
        for process in node.processes():
            try:
                role = role_of(process.cmdline())
                rss, files = process.memory_info().rss, process.num_fds()
            except psutil.Error:  # a child that was replaced just now
                continue
            self.rss_mib[role].append(rss / MIB)
            self.open_files[role].append(files)
            self.starts[role].add(process.pid)
        data = node.folder / "data"
        # os.walk passes over folders that the node deletes meanwhile, where rglob raises
        paths = (Path(folder, name) for folder, _, names in os.walk(data) for name in names)
        sizes = {path: _size(path) for path in paths}
        self.data_mib.append(sum(sizes.values()) / MIB)
        database = sum(size for path, size in sizes.items() if path.name.startswith("segnode."))
        self.database_mib.append(database / MIB)
        self.log_kib.append(_size(node.folder / "node.log") / 1024)


@contextmanager
def sampled(node: Node) -> Iterator[Samples]:
    """Sample a running node until the block ends."""
    samples, ended, began = Samples(), threading.Event(), time.monotonic()

    def sample() -> None:
        while not ended.wait(EVERY_S):
            samples.take(node, time.monotonic() - began)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def role_of(command: list[str]) -> str:
    """Return what a process of the node is: a loop, a child of one, or the supervisor."""
    if "--only" in command:
        return command[command.index("--only") + 1]
    return next((word for word in command if word.endswith(".child")), "supervisor")


def quarters(values: list[float]) -> tuple[float, float]:
    """Return the medians of the second quarter and of the last one."""
    quarter = max(1, len(values) // 4)
    return median(values[quarter : 2 * quarter] or values), median(values[-quarter:])


def table(samples: Samples) -> str:
    """Return the samples as rows of Markdown: second quarter, last quarter, largest."""
    rows = [
        "| what | second quarter | last quarter | largest |",
        "|---|---|---|---|",
        *(_row(f"{role}, MiB", values) for role, values in samples.rss_mib.items()),
        *(
            _row(f"{role}, open files", [float(v) for v in values])
            for role, values in samples.open_files.items()
        ),
        _row("data folder, MiB", samples.data_mib),
        _row("database, MiB", samples.database_mib),
        _row("log, KiB", samples.log_kib),
    ]
    return "\n".join(rows)


def _row(name: str, values: list[float]) -> str:
    early, late = quarters(values)
    return f"| {name} | {early:.1f} | {late:.1f} | {max(values):.1f} |"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # deleted just now
        return 0
