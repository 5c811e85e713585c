"""Time housekeeping as the inbox fills with series that were decided and are still kept."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curves import Curve, median_ms
from sqlalchemy import Engine

from node import queue, schema
from node.config import Config, DataConfig
from node.housekeeping import Sweep, upkeep
from node.housekeeping.visits import Pace
from node.identifiers import open_identifiers
from node.inbox import Inbox, Incoming, SeriesFolder, inputs_digest, series_key
from node.queue import NewArrival, StudyIndex
from node.reader import Reader
from node.states import ArrivalOutcome

STEPS = 4
EXPLICIT = "1.2.840.10008.1.2.1"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
IMAGE = bytes(range(256)) * 4  # the sweep opens no image of a decided series
DESCRIPTION = "head without contrast"


def inbox_growth(folder: Path, most: int) -> list[Curve]:
    """Keep up to `most` series below `folder`; time each kind of work at each of `STEPS` steps."""
    config = Config(data=DataConfig(dir=folder, index="plain"))
    engine, inbox = schema.open_configured(config.data), Inbox(folder / "inbox")
    curves: dict[str, Curve] = {}
    stored = 0
    with Reader() as reader:
        for step in range(1, STEPS + 1):
            while stored < most * step // STEPS:
                stored += 1
                newest = _keep(inbox, engine, stored)
            site = _Site(config, engine, inbox, reader, newest, time.time() + 60)
            for name, milliseconds in (*site.sweeps(), *site.searches(f"1.2.{stored}")):
                curves.setdefault(name, Curve(name, "ms")).add(stored, milliseconds)
    return list(curves.values())


@dataclass(frozen=True)
class _Site:
    """An inbox with decided series, at the time `now`."""

    config: Config
    engine: Engine
    inbox: Inbox
    reader: Reader
    newest: SeriesFolder
    now: float

    def sweeps(self) -> Iterator[tuple[str, float]]:
        """Yield what housekeeping does again and again, with its time in ms."""
        by_change, scanning = self._sweep(1e9), self._sweep(0.0)
        yield "the first sweep after a start", _once_ms(lambda: by_change.run(self.now))
        yield "a sweep without a change", median_ms(lambda: by_change.run(self.now))
        yield "a sweep with one changed series", median_ms(lambda: self._change(by_change))
        scanning.run(self.now)
        yield "the full scan", median_ms(lambda: scanning.run(self.now))
        prune = partial(upkeep.prune, self.engine, self.config, self.inbox, time.time())
        yield "to look for series to delete", _once_ms(prune)

    def searches(self, study_uid: str) -> Iterator[tuple[str, float]]:
        """Yield searches for studies, with their time in ms."""
        identifiers = open_identifiers(self.config.data)
        for name, wanted in (
            ("to search by UID", queue.StudySearch(text=study_uid)),
            ("to search by words of all studies", queue.StudySearch(description=DESCRIPTION)),
        ):
            search = partial(queue.find_studies, self.engine, wanted, identifiers)
            assert search(), name
            yield name, median_ms(search)

    def _sweep(self, scan_s: float) -> Sweep:
        return Sweep(self.config, self.engine, self.inbox, (), self.reader, Pace(scan_s))

    def _change(self, sweep: Sweep) -> None:
        os.utime(self.newest.path)
        self.inbox.changes.mark([self.newest.key])
        assert sweep.run(self.now) == 0


def _keep(inbox: Inbox, engine: Engine, number: int) -> SeriesFolder:
    """Receive one series of one image, and record the decision that no rule matches it."""
    now = time.time()
    study, series = f"1.2.{number}", f"1.2.{number}.1"
    association = inbox.open("SCANNER", "127.0.0.1", now)
    image = Incoming(study, series, MR_IMAGE, f"{series}.1", EXPLICIT, IMAGE, now)
    inbox.keep(image, association)
    inbox.close(association, now, released=True)
    folder = inbox.series_folder(series_key(study, series))
    assert folder is not None
    arrival = NewArrival(
        study_uid=study,
        series_uid=series,
        series_key=folder.key,
        inputs_digest=inputs_digest(inbox.instances(folder)),
        instances=1,
        modality="MR",
        caller_ae="SCANNER",
        outcome=ArrivalOutcome.NO_RULE,
        code="no-rule",
        reason="no rule matches",
        first_at=now,
        last_at=now,
    )
    words = tuple(DESCRIPTION.split())
    index = StudyIndex(kept_as="plain", description=DESCRIPTION, words=words)
    queue.record_arrival(engine, arrival, None, now, index=index)
    return folder


def _once_ms(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1e3
