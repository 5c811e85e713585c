"""Expire leases, record the listener's notes, delete old files and rows, write the heartbeat."""

import logging
import os
import shutil
from pathlib import Path

import sqlalchemy as sa

from node import queue
from node.clock import Moment
from node.config import Config, RunningConfig
from node.identifiers import Identifiers, open_identifiers
from node.inbox import Inbox, Note, SeriesFolder, inputs_digest
from node.reader import ReaderDeaths
from node.states import Ending

FORGOTTEN_S = 5 * 365 * 86400.0  # for so long, UIDs of removed histories are remembered
OUTAGE_S = 15.0  # leases are examined every 5 s
RETURN_S = 90.0  # a worker tries again every 30 s, and may wait for a lock as long
log = logging.getLogger("node.housekeeping")


class Leases:
    """Ends leases, except where the workers could not extend them."""

    def __init__(self, engine: sa.Engine, running: RunningConfig) -> None:
        """Start: after a restart, leases end as they were written."""
        self._engine, self._running = engine, running
        self._worked_at: float | None = None  # steady time

    def expire(self, at: Moment) -> None:
        """Requeue the jobs whose worker no longer extends its lease.

        If this process could not reach the database for a while, neither could the workers: first
        they get time to come back.
        """
        if self._worked_at is not None and at.steady - self._worked_at > OUTAGE_S:
            queue.renew_leases(self._engine, at.wall + RETURN_S)
        expire_leases(self._engine, self._running.config, at.wall)
        self._worked_at = at.steady


def expire_leases(engine: sa.Engine, config: Config, now: float) -> None:
    """Requeue the jobs whose worker no longer extends its lease."""
    for job in queue.expire_leases(engine, now, config.limits.attempts):
        log.warning(
            "a lease expired: its worker does not respond",
            extra={"job": job.id, "kind": job.kind.value},
        )


def record_notes(engine: sa.Engine, inbox: Inbox, now: float) -> None:
    """Move the listener's notes into the database; a note is deleted after it was written."""
    for note in inbox.read_notes():
        queue.add_note(
            engine, note.kind, _sentence(note), note.last or now,
            study_uid=note.study, series_uid=note.series,
        )  # fmt: skip
        inbox.drop_note(note)


def _sentence(note: Note) -> str:
    times = f" ({note.count} times)" if note.count > 1 else ""
    return f"{note.message}{times}" + (f". {note.advice}" if note.advice else "")


def prune(engine: sa.Engine, config: Config, inbox: Inbox, now: float) -> int:
    """Delete images, results and histories whose time is over; return the number of folders.

    Series in progress are never deleted. Held series are kept as long as failed ones.
    """
    deleted, oldest_kept = 0, now
    for folder in inbox.series_folders():
        histories = queue.histories(engine, series_key=folder.key)
        if _is_over(folder, inbox, histories, config, now) and inbox.prune(folder):
            deleted += 1
        else:  # without its rows a series that is still here would be decided a second time
            oldest_kept = min([oldest_kept, *(history.arrival.planned_at for history in histories)])
    ReaderDeaths(config.data.dir).keep_only({folder.key for folder in inbox.series_folders()})
    deleted += _prune_outbox(engine, config, now)
    longest = max(config.data.keep.sources, config.data.keep.results, config.data.keep.failed)
    queue.archive_arrivals(engine, min(now - longest, oldest_kept), now)
    history = max(longest, config.data.keep.history)
    queue.purge_arrivals(engine, min(now - history, oldest_kept), now)
    queue.purge_notes(engine, now - history)
    _prune_studies(engine, open_identifiers(config.data), now, history)
    return deleted


def _prune_studies(engine: sa.Engine, identifiers: Identifiers, now: float, history: float) -> None:
    """Forget studies without a history, and keep the others as `data.index` says."""
    queue.convert_studies(engine, identifiers)
    queue.forget_studies(engine, identifiers, now - history, now)
    queue.purge_forgotten(engine, now - FORGOTTEN_S)


def _is_over(
    folder: SeriesFolder,
    inbox: Inbox,
    histories: list[queue.SeriesHistory],
    config: Config,
    now: float,
) -> bool:
    """Return whether all sets of images in a folder are decided and their retention has ended.

    Resent images start a new retention period, because they were acknowledged again. Each
    association that sends images, also identical ones, changes the folder at its start and end.
    """
    last_at = folder.mtime_ns / 1e9
    if last_at > now:  # received while the clock was wrong
        last_at = 0.0
    ends = [_until(history, config, last_at) for history in histories]
    if not ends or any(end is None or now <= end for end in ends):
        return False
    digest = inputs_digest(inbox.instances(folder))  # late images may still be undecided
    return any(history.arrival.inputs_digest == digest for history in histories)


def _until(history: queue.SeriesHistory, config: Config, last_at: float) -> float | None:
    """Return when the retention of a series ends; None while the series is in progress."""
    if history.ended_at is None:
        return None
    succeeded = history.ending in (Ending.DELIVERED, Ending.RETRACTED, Ending.NO_RULE)
    keep = config.data.keep.sources if succeeded else config.data.keep.failed
    return max(history.ended_at, last_at) + keep


def _prune_outbox(engine: sa.Engine, config: Config, now: float) -> int:
    outbox = config.data.dir / "outbox"
    folders = list(outbox.iterdir()) if outbox.is_dir() else []
    old = [path for path in folders if now > path.stat().st_mtime + config.data.keep.results]
    awaited = {Path(file).parts[1] for file in queue.undelivered_files(engine)} if old else set()
    for path in old:
        if path.name not in awaited:
            shutil.rmtree(path, ignore_errors=True)
    return len([path for path in old if path.name not in awaited])


def write_heartbeat(engine: sa.Engine, now: float) -> None:
    """Record that this process is alive."""
    queue.heartbeat(engine, "housekeeping", os.getpid(), now)
