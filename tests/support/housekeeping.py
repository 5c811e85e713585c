"""A data folder with a real inbox and database, before any of the node's processes runs."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pydicom

from node import queue, schema
from node.config import Config, load, load_text
from node.housekeeping import Sweep, upkeep
from node.housekeeping.visits import EAGER, Pace
from node.inbox import Inbox
from node.package import uses
from node.states import Ending, Kind
from tests.support.phantoms import Phantom, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import SEGMENTED, SENT, T0, a_delivery

SETTLED = T0 + 2.0  # after the settle time of one second
QUIET = T0 + 61.0
HOUR_S, DAY_S = 3600.0, 86400.0

RULES = """
data: {keep: {history: 30 d}}
targets: {pacs: {ae: PACS, host: h}}
model: {size: small}
rules:
- {name: heads, when: {modality: MR}, use: tiny-mr, send_to: [pacs]}
"""


class Site:
    """A data folder and its housekeeping."""

    def __init__(self, folder: Path, base: Path) -> None:
        config = load_text(RULES, base=base)
        data = msgspec.structs.replace(config.data, dir=folder / "data")
        self.config = msgspec.structs.replace(config, data=data)
        self.engine = schema.open_configured(data)
        self.inbox = Inbox(folder / "data/inbox")
        self.sweep = self.fresh()

    def fresh(self, config: Config | None = None, pace: Pace = EAGER) -> Sweep:
        """Return a sweep without memory, as after a restart."""
        chosen = config or self.config
        return Sweep(chosen, self.engine, self.inbox, uses(chosen), shared_reader(), pace)

    def waiting(self, now: float) -> list[queue.ArrivingSeries]:
        """Sweep at `now`; return the series that are not decided, as recorded for the status."""
        self.sweep.run(now)
        return queue.arriving_series(self.engine)

    def ends(self) -> list[tuple[Ending, str]]:
        return [(s.ending, s.arrival.code) for s in queue.histories(self.engine)]

    def segment(self, now: float, *targets: str) -> None:
        """Act as a segmenter that finishes one job, with a delivery for each target."""
        job = queue.claim(self.engine, Kind.SEGMENT, "w", now, 30.0)
        assert job is not None
        deliveries = [a_delivery(target, file=f"outbox/{job.id}/seg.dcm") for target in targets]
        folder = self.config.data.dir / f"outbox/{job.id}"
        folder.mkdir(parents=True)
        os.utime(folder, (now, now))
        queue.finish_segment(self.engine, job, SEGMENTED, deliveries, now)

    def deliver(self, now: float, target: str = "pacs") -> None:
        """Act as a sender that delivers one object."""
        job = queue.claim(self.engine, Kind.DELIVER, "s", now, 30.0, target)
        assert job is not None
        queue.finish_delivery(self.engine, job, SENT, now)

    def prune(self, now: float) -> int:
        return upkeep.prune(self.engine, self.config, self.inbox, now)


def planned_phantom(file: Path, folder: Path) -> queue.Job:
    """Receive and plan a phantom, written to `folder`/head, with the configuration `file`."""
    config = load(file)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    receive(inbox, make(folder / "head", Phantom(shuffle=False)).paths, T0)
    Sweep(config, engine, inbox, uses(config), shared_reader()).run(T0 + 100)
    (job,) = queue.list_jobs(engine)
    engine.dispose()  # else the collector closes it at any time, and the log of SQLite goes then
    return job


def other(path: Path, folder: Path, **changes: Any) -> Path:
    """Write a changed copy of an instance."""
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    folder.mkdir(exist_ok=True)
    dataset.save_as(folder / path.name)
    return folder / path.name
