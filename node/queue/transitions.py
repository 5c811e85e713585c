"""Transitions that workers apply to a job that they have claimed. Each function is one transaction.

A worker is identified by its name and the number of its claim. A worker that lost its lease and
resumes later therefore cannot commit a job that another worker has claimed meanwhile.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Engine

from node.errors import LeaseLost, NodeError
from node.queue import payloads, rows
from node.queue.apply import (
    NO_COMMITMENT,
    NO_ERROR,
    cancelled,
    error_values,
    fresh,
    insert_job,
    move,
)
from node.queue.payloads import DeliverResult, SegmentResult
from node.queue.precedence import is_superseded, supersede_waiting, superseded
from node.queue.rows import Job, NewDelivery
from node.schema import RUNNING, jobs
from node.states import Kind, State, Transition

_CONFIRMED = {
    "": "unconfirmed",
    "query": "confirmed by query",
    "commitment": "confirmed by storage commitment",
}


def extend(engine: Engine, job: Job, now: float, lease_s: float) -> None:
    """Extend the lease of a running job. Call it often: it also reports an operator's cancellation.

    Raises:
        LeaseLost: another worker may hold the job; drop it and change nothing.
        Cancelled: an operator cancelled the job; settle it with this error.
    """
    with engine.begin() as connection:
        cancel_at = connection.execute(
            sa.update(jobs)
            .where(held_by_worker(job))
            .values(lease_until=now + lease_s)
            .returning(jobs.c.cancel_at)
        ).one_or_none()
    if cancel_at is None:
        raise lost(job)
    if cancel_at[0] is not None:
        raise cancelled()


def finish_segment(
    engine: Engine, job: Job, result: SegmentResult, deliveries: Sequence[NewDelivery], now: float
) -> list[Job]:
    """Commit a segmentation and queue its deliveries; return those.

    Of two results of a series, a target receives only the one of the later images.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    with engine.begin() as connection:
        _finish(connection, job, result, now, _summary(result))
        queued = [_deliver(connection, job, delivery, now) for delivery in deliveries]
        ended = {old.id: old for old in supersede_waiting(connection, job, now)}
        return [ended.get(delivery.id, delivery) for delivery in queued]


def finish_delivery(engine: Engine, job: Job, result: DeliverResult, now: float) -> None:
    """Commit a delivery.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    how = _CONFIRMED[result.confirmed_by]
    answer = f"{job.target} answered {result.status}, {how}"
    with engine.begin() as connection:
        _finish(connection, job, result, now, f"{answer}; {result.note}" if result.note else answer)


def retry_later(
    engine: Engine,
    job: Job,
    error: NodeError,
    not_before: float,
    now: float,
    *,
    is_counted: bool = True,
) -> Job:
    """Queue another attempt of the job, due at `not_before`.

    Without `is_counted`, the attempt that ended does not count. A job that an operator cancelled
    meanwhile, or that a newer result supersedes, ends instead.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    with engine.begin() as connection:
        held = held_by_worker(job)
        moved = end_unneeded(connection, now, held) or move(
            connection,
            Transition.RETRY,
            now,
            held,
            {
                "not_before": not_before,
                "attempts": jobs.c.attempts - (0 if is_counted else 1),
                **NO_COMMITMENT,
                **error_values(error),
            },
            f"in {not_before - now:.0f} s: {error}",
        )
    return one(moved, job)


def end(engine: Engine, job: Job, transition: Transition, error: NodeError, now: float) -> Job:
    """End the job by `transition`, with the code, reason and advice of `error`.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    with engine.begin() as connection:
        moved = move(
            connection,
            transition,
            now,
            held_by_worker(job),
            error_values(error),
            f"{error.code}: {error}",
        )
    return one(moved, job)


def end_unsuitable(
    engine: Engine, job: Job, error: NodeError, notices: Sequence[NewDelivery], now: float
) -> None:
    """End a segmentation as unsuitable, and queue the notices of that.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    with engine.begin() as connection:
        moved = move(
            connection,
            Transition.MARK_UNSUITABLE,
            now,
            held_by_worker(job),
            error_values(error),
            f"{error.code}: {error}",
        )
        one(moved, job)
        for notice in notices:
            _deliver(connection, job, notice, now)
        supersede_waiting(connection, job, now)


def fail(engine: Engine, job: Job, error: NodeError, now: float) -> Job:
    """End the job as failed.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    return end(engine, job, Transition.FAIL, error, now)


def expire_leases(engine: Engine, now: float, max_attempts: int) -> list[Job]:
    """End the claims whose lease ran out; return the jobs as they are afterwards.

    A segmentation fails when its attempts are used up, because its series may crash the machine
    each time. A delivery does not: its attempts also count the times a target was unreachable.
    """
    over = sa.and_(RUNNING, jobs.c.lease_until < now)
    used_up = sa.and_(jobs.c.kind == Kind.SEGMENT.value, jobs.c.attempts >= max_attempts)
    error = LeaseLost("the worker process ended during the job", advice="See its log.")
    values = error_values(error)
    with engine.begin() as connection:
        return [
            *end_unneeded(connection, now, over),
            *move(connection, Transition.EXHAUST, now, sa.and_(over, used_up), values),
            *move(connection, Transition.EXPIRE, now, over, {"not_before": now, **values}),
        ]


def _deliver(connection: sa.Connection, job: Job, delivery: NewDelivery, now: float) -> Job:
    """Queue a delivery; requeue the existing one where the object was made before."""
    dedup_key = "/".join((job.dedup_key, delivery.target, delivery.payload.sop_instance_uid))
    content = {"payload": payloads.encode(delivery.payload)}
    same = sa.and_(jobs.c.parent_id == job.id, jobs.c.dedup_key == dedup_key)
    result = connection.execute(
        sa.update(jobs).where(same).values(**content).returning(*jobs.c)
    ).mappings()
    known = [rows.job(row) for row in result.all()]
    if known:
        return (
            move(connection, Transition.RESEND, now, same, fresh(now), "the object was made again")
            or known
        )[0]
    values = {
        "dedup_key": dedup_key,
        "study_uid": job.study_uid,
        "series_uid": job.series_uid,
        "arrival_id": job.arrival_id,
        "parent_id": job.id,
        "target": delivery.target,
        "priority": delivery.priority,
        **content,
    }
    return insert_job(connection, Kind.DELIVER, now, values)


def held_by_worker(job: Job) -> sa.ColumnElement[bool]:
    """Match the job while the worker of this claim holds it."""
    return sa.and_(
        jobs.c.id == job.id,
        jobs.c.state == State.RUNNING.value,
        jobs.c.worker == job.worker,
        jobs.c.claims == job.claims,
    )


def _finish(
    connection: sa.Connection,
    job: Job,
    result: SegmentResult | DeliverResult,
    now: float,
    detail: str,
) -> None:
    values = {"result": payloads.encode(result), **NO_ERROR}
    one(move(connection, Transition.FINISH, now, held_by_worker(job), values, detail), job)


def end_unneeded(connection: sa.Connection, now: float, where: sa.ColumnElement[bool]) -> list[Job]:
    """End the running jobs that an operator cancelled or a newer result supersedes; return them."""
    ended = []
    for transition, reason, error in (
        (Transition.CANCEL, jobs.c.cancel_at.is_not(None), cancelled()),
        (Transition.SUPERSEDE, is_superseded(), superseded()),
    ):
        detail = f"{error.code}: {error}"
        these = sa.and_(RUNNING, where, reason)
        ended += move(connection, transition, now, these, error_values(error), detail)
    return ended


def one(moved: list[Job], job: Job) -> Job:
    """Return the job that was moved; raise LeaseLost if there is none."""
    if not moved:
        raise lost(job)
    return moved[0]


def lost(job: Job) -> LeaseLost:
    """Return the error of a worker that no longer holds its job."""
    return LeaseLost(f"worker {job.worker} no longer holds job {job.id}")


def _summary(result: SegmentResult) -> str:
    """Return the number of segments and the caveats for the event; the job has the volumes."""
    count = len(result.volumes_ml)
    parts = [f"{count} segment{'' if count == 1 else 's'}"]
    parts += [caveat.text for caveat in result.caveats]
    return "; ".join(parts)
