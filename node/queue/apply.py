"""Move a job from state to state: the row and its event change in one transaction."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from node import schema
from node.errors import Cancelled, NodeError
from node.queue import rows
from node.queue.endings import update_endings
from node.queue.rows import Job
from node.states import ENDED, LIVE, Kind, State, Transition, follow, sources

NO_ERROR = {"code": "", "reason": "", "advice": ""}
# of a delivery that is sent again: a report that still comes belongs to no request
NO_COMMITMENT: dict[str, Any] = {
    "transaction_uid": "",
    "report_due_at": None,
    "commitment_report": "",
    "result": "",
}
_NO_WORKER: dict[str, Any] = {"lease_until": None, "worker": None, "cancel_at": None}


def move(  # noqa: PLR0913  an event has this many parts
    connection: sa.Connection,
    transition: Transition,
    now: float,
    where: sa.ColumnElement[bool],
    values: dict[str, Any] | None = None,
    detail: str | Callable[[Job], str] = "",
    *,
    by: str = schema.NODE,
) -> list[Job]:
    """Apply `transition` to every job that matches `where`; return them as they are afterwards."""
    starts = sources(transition)
    end = follow(starts[0], transition)
    changes: dict[str, Any] = {"state": end.value, "updated_at": now}
    if end is not State.RUNNING:
        changes |= _NO_WORKER
    changes["finished_at"] = now if end in ENDED else None
    result = connection.execute(
        sa.update(schema.jobs)
        .where(where, schema.jobs.c.state.in_([state.value for state in starts]))
        .values(**changes, **(values or {}))
        .returning(*schema.jobs.c)
    )
    moved = [rows.job(row) for row in result.mappings().all()]
    for job in moved:
        text = detail(job) if callable(detail) else detail
        add_event(connection, job, transition.value, now, text, by)
    if not LIVE.issuperset((*starts, end)):  # else the series is in progress as before
        update_endings(connection, (job.parent_id or job.id for job in moved))
    return moved


def fresh(now: float) -> dict[str, Any]:
    """Return the columns of a job that is queued again from the start."""
    return {"attempts": 0, "not_before": now, "queued_at": now, **NO_COMMITMENT, **NO_ERROR}


def cancelled() -> Cancelled:
    """Return the error of a job that an operator cancelled."""
    return Cancelled("an operator cancelled the job")


def error_values(error: NodeError) -> dict[str, Any]:
    """Return the columns that hold an error for the operator."""
    return {"code": error.code, "reason": error.message, "advice": error.advice}


def add_event(
    connection: sa.Connection,
    job: Job,
    event: str,
    now: float,
    detail: str = "",
    by: str = schema.NODE,
) -> None:
    """Add one event to the history of a job's series."""
    connection.execute(
        sa.insert(schema.events).values(
            at=now,
            study_uid=job.study_uid,
            series_uid=job.series_uid,
            job_id=job.id,
            arrival_id=job.arrival_id,
            actor=by,
            event=event,
            detail=detail,
        )
    )


def insert_job(connection: sa.Connection, kind: Kind, now: float, values: dict[str, Any]) -> Job:
    """Insert a queued job and its first event."""
    fresh: dict[str, Any] = {
        "kind": kind.value,
        "state": State.QUEUED.value,
        "attempts": 0,
        "claims": 0,
        "not_before": now,
        "code": "",
        "reason": "",
        "advice": "",
        **NO_COMMITMENT,
        "created_at": now,
        "queued_at": now,
        "updated_at": now,
    }
    result = connection.execute(
        sa.insert(schema.jobs).values(**fresh, **values).returning(*schema.jobs.c)
    )
    job = rows.job(result.mappings().one())
    add_event(connection, job, "queued", now, f"to {job.target}" if job.target else "")
    update_endings(connection, [job.parent_id or job.id])
    return job
