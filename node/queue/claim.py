"""Claim the job that is due: one transaction, and one step into the index for each priority."""

import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue.apply import move
from node.queue.rows import Job
from node.schema import QUEUED, jobs, read_transaction
from node.states import Kind, Transition

PRIORITIES = range(9, -1, -1)  # 9 runs first


def claim(
    engine: Engine, kind: Kind, worker: str, now: float, lease_s: float, target: str = ""
) -> Job | None:
    """Claim the job of highest priority that has been due longest, or return None.

    Args:
        engine: the database.
        kind: the kind of work that the worker does.
        worker: the worker's name, unique among all workers.
        now: Unix seconds.
        lease_s: the length of the lease; `extend` it while working.
        target: for DELIVER, the target whose jobs the worker sends.
    """
    any_due = sa.select(jobs.c.id).where(*_waiting(kind, target, now)).limit(1)
    with read_transaction(engine) as connection:  # usually there is none: take no lock to see that
        if connection.execute(any_due).first() is None:
            return None
    due = sa.func.coalesce(*(_due(kind, target, priority, now) for priority in PRIORITIES))
    values = {
        "worker": worker,
        "lease_until": now + lease_s,
        "attempts": jobs.c.attempts + 1,
        "claims": jobs.c.claims + 1,
    }
    try:
        with engine.begin() as connection:
            taken = move(connection, Transition.CLAIM, now, jobs.c.id == due, values, _attempt)
    except sa.exc.IntegrityError:  # PostgreSQL: another worker claimed the series just now
        return None
    return taken[0] if taken else None


def _waiting(
    kind: Kind, target: str, now: float
) -> tuple[sa.ColumnElement[bool] | sa.TextClause, ...]:
    """Return the conditions of jobs that are queued and due."""
    return (QUEUED, jobs.c.kind == kind.value, jobs.c.target == target, jobs.c.not_before <= now)


def _due(kind: Kind, target: str, priority: int, now: float) -> sa.ScalarSelect[int]:
    """Select the job of one priority that has been due longest: one step into the index."""
    query = (
        sa.select(jobs.c.id)
        .where(*_waiting(kind, target, now), jobs.c.priority == priority)
        .order_by(jobs.c.not_before, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # PostgreSQL; SQLite holds the only write lock
    )
    if kind is Kind.SEGMENT:
        other = jobs.alias("other")
        busy = sa.select(other.c.id).where(
            sa.text("other.kind = 'segment' AND other.state = 'running'"),
            other.c.study_uid == jobs.c.study_uid,
            other.c.series_uid == jobs.c.series_uid,
        )
        query = query.where(~busy.exists())
    return query.correlate(None).scalar_subquery()


def _attempt(job: Job) -> str:
    return f"attempt {job.attempts} by {job.worker}"
