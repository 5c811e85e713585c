"""What has to be done from time to time: leases, notes of the listener, retention, heartbeat."""

import logging
import os
import shutil
from pathlib import Path

import sqlalchemy as sa

from node import queue
from node.config import Config
from node.inbox import Inbox, Note, SeriesFolder, inputs_digest
from node.states import Ending

log = logging.getLogger("node.housekeeping")


def expire_leases(engine: sa.Engine, config: Config, now: float) -> None:
    """Queue again the jobs whose worker fell silent."""
    for job in queue.expire_leases(engine, now, config.limits.attempts):
        log.warning("a worker fell silent", extra={"job": job.id, "kind": job.kind.value})


def record_notes(engine: sa.Engine, inbox: Inbox, now: float) -> None:
    """Move what the listener noted into the event rows; first written, then dropped."""
    for note in inbox.read_notes():
        queue.add_note(
            engine, note.kind, _sentence(note), note.last or now,
            study_uid=note.study, series_uid=note.series,
        )  # fmt: skip
        inbox.drop_note(note)


def _sentence(note: Note) -> str:
    times = f" ({note.count} times)" if note.count > 1 else ""
    return " ".join(part for part in (note.message + times, note.advice) if part)


def prune(engine: sa.Engine, config: Config, inbox: Inbox, now: float) -> int:
    """Delete images and results whose time is over; return how many folders went.

    What is still in progress is never deleted; what is held waits for a person as long as failed
    series are kept.
    """
    gone, told_since = 0, now
    for folder in inbox.series_folders():
        histories = queue.histories(engine, series_key=folder.key)
        if _is_over(folder, inbox, histories, config, now) and inbox.prune(folder):
            gone += 1
        else:  # a series that still lies here and were forgotten would be decided a second time
            told_since = min([told_since, *(history.arrival.planned_at for history in histories)])
    gone += _prune_outbox(engine, config, now)
    longest = max(config.data.keep.sources, config.data.keep.results, config.data.keep.failed)
    queue.purge_arrivals(engine, min(now - longest, told_since))
    queue.purge_notes(engine, now - longest)
    return gone


def _is_over(
    folder: SeriesFolder,
    inbox: Inbox,
    histories: list[queue.SeriesHistory],
    config: Config,
    now: float,
) -> bool:
    """Tell whether nobody needs the images: all sets of them were decided, and their time ended.

    What came again is kept anew, though nothing new was decided: it was acknowledged. Each
    association that brings images, also identical ones, changes the folder when it comes and ends.
    """
    last_at = folder.mtime_ns / 1e9
    ends = [_until(history, config, last_at) for history in histories]
    if not ends or any(end is None or now <= end for end in ends):
        return False
    digest = inputs_digest(inbox.instances(folder))  # late images may wait for their decision
    return any(history.arrival.inputs_digest == digest for history in histories)


def _until(history: queue.SeriesHistory, config: Config, last_at: float) -> float | None:
    """Return until when the images of a history are kept; None while they are needed."""
    if history.ended_at is None:
        return None
    fine = history.ending in (Ending.DELIVERED, Ending.NO_RULE)
    keep = config.data.keep.sources if fine else config.data.keep.failed
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


def beat(engine: sa.Engine, now: float) -> None:
    """Say that this process is alive."""
    queue.heartbeat(engine, "housekeeping", os.getpid(), now)
