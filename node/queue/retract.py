"""Retract a delivered result: queue a rejection note to each target that has it.

Promises: the history has who did it and why; a retracted result is sent again on demand only.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue import payloads, rows
from node.queue.apply import add_event, insert_job
from node.queue.rows import RETRACTION, Job, NewDelivery
from node.schema import jobs
from node.states import Kind

RETRACT = "retract"  # event
RESULT_REJECTED, RESULT_SELECTED = "result-rejected", "result-selected"  # events, by a target


def retract(
    engine: Engine,
    segment: Job,
    notes: Sequence[NewDelivery],
    reason: str,
    now: float,
    *,
    by: str,
) -> list[Job]:
    """Queue the rejection notes of a result; return their jobs."""
    with engine.begin() as connection:
        add_event(connection, segment, RETRACT, now, reason, by)
        return [_queue(connection, segment, note, now) for note in notes]


def deliveries_of(engine: Engine, segment_id: int) -> list[Job]:
    """Return the deliveries of a segmentation, rejection notes too, the oldest first."""
    query = sa.select(jobs).where(jobs.c.parent_id == segment_id).order_by(jobs.c.id)
    with engine.connect() as connection:
        return [rows.job(row) for row in connection.execute(query).mappings()]


def delivery_of(engine: Engine, study_uid: str, sop_instance_uid: str) -> Job | None:
    """Return a delivery of this object in its study; None if it is none of our results."""
    query = (
        sa.select(jobs)
        .where(jobs.c.study_uid == study_uid, jobs.c.kind == Kind.DELIVER.value)
        .order_by(jobs.c.id.desc())
    )
    with engine.connect() as connection:
        deliveries = [rows.job(row) for row in connection.execute(query).mappings()]
    of_result = (job for job in deliveries if not job.is_retraction)
    return next(
        (job for job in of_result if job.deliver_payload().sop_instance_uid == sop_instance_uid),
        None,
    )


def record_verdict(engine: Engine, job: Job, event: str, detail: str, now: float) -> None:
    """Record in the history that a key object selection rejects or selects a result."""
    with engine.begin() as connection:
        add_event(connection, job, event, now, detail)


def _queue(connection: sa.Connection, segment: Job, note: NewDelivery, now: float) -> Job:
    values = {
        "dedup_key": f"{RETRACTION}{segment.id}/{note.target}/{note.payload.sop_instance_uid}",
        "study_uid": segment.study_uid,
        "series_uid": segment.series_uid,
        "arrival_id": segment.arrival_id,
        "parent_id": segment.id,
        "target": note.target,
        "priority": note.priority,
        "payload": payloads.encode(note.payload),
    }
    return insert_job(connection, Kind.DELIVER, now, values)
