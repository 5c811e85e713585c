"""Heartbeats, leases, notes, and the removal of arrivals that ended long ago."""

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue.rows import Arrival, Job
from node.queue.studies import remember
from node.schema import NODE, arrivals, events, health, jobs
from node.states import LIVE, State

RESENT = "resent"
RESENT_S = 86400.0  # between two events of one arrival
CLOCK_STEP = "clock-step"


def heartbeat(engine: Engine, process: str, pid: int, now: float, detail: str = "") -> None:
    """Record that `process` is alive."""
    values = {"pid": pid, "at": now, "detail": detail}
    with engine.begin() as connection:
        known = connection.execute(
            sa.update(health).where(health.c.process == process).values(**values)
        )
        if not known.rowcount:
            connection.execute(sa.insert(health).values(process=process, **values))


def renew_leases(engine: Engine, until: float) -> None:
    """Let no lease end before `until`: the workers could not extend them."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.state == State.RUNNING.value, jobs.c.lease_until < until)
            .values(lease_until=until)
        )


def return_attempt(engine: Engine, job: Job) -> None:
    """Uncount an attempt whose lease ran out although its worker was alive all the time."""
    same = sa.and_(jobs.c.id == job.id, jobs.c.queued_at == job.queued_at, jobs.c.attempts > 0)
    with engine.begin() as connection:
        connection.execute(
            sa.update(jobs)
            .where(same, jobs.c.state.in_([State.QUEUED.value, State.RUNNING.value]))
            .values(attempts=jobs.c.attempts - 1)
        )


def add_note(  # noqa: PLR0913  an event has this many columns
    engine: Engine,
    event: str,
    detail: str,
    now: float,
    *,
    study_uid: str = "",
    series_uid: str = "",
    job_id: int | None = None,
    by: str = NODE,
) -> None:
    """Add an event that is not a transition, such as a repaired header or a pruned series."""
    with engine.begin() as connection:
        connection.execute(
            sa.insert(events).values(
                at=now,
                study_uid=study_uid,
                series_uid=series_uid,
                job_id=job_id,
                actor=by,
                event=event,
                detail=detail,
            )
        )


def record_resent(engine: Engine, arrival: Arrival, at: float) -> None:
    """Record that the images of an arrival were resent, and what to do.

    At most one event a day: a device may send the same series every minute.
    """
    known = sa.select(events.c.id).where(
        events.c.arrival_id == arrival.id,
        events.c.event == RESENT,
        events.c.at.between(at - RESENT_S, at + RESENT_S),
    )
    command = f"resend {arrival.job_id}" if arrival.job_id else f"replan {arrival.series_uid}"
    detail = f"the same images were resent; for another result run `segnode jobs {command}`"
    with engine.begin() as connection:
        if connection.execute(known).first() is None:
            values = {"study_uid": arrival.study_uid, "series_uid": arrival.series_uid}
            event = sa.insert(events).values(
                at=at, arrival_id=arrival.id, event=RESENT, detail=detail, **values
            )
            connection.execute(event)


def archive_arrivals(engine: Engine, before: float, now: float, limit: int = 500) -> int:
    """Keep only the history of up to `limit` arrivals planned `before`, whose files are deleted.

    The same images that come later are decided anew. The jobs can no longer be queued again, and
    forget the names of their images. Return the number of arrivals.
    """
    of_present = _ended(before, limit).where(arrivals.c.archived_at.is_(None))
    with engine.begin() as connection:
        ids: list[int] = [row.id for row in connection.execute(of_present)]
        these = arrivals.c.id.in_(ids)
        connection.execute(sa.update(arrivals).where(these).values(archived_at=now))
        of_jobs = sa.select(jobs.c.id, jobs.c.dedup_key, jobs.c.payload)
        for row in connection.execute(of_jobs.where(jobs.c.arrival_id.in_(ids))).all():
            payload = msgspec.json.decode(row.payload, type=dict[str, object])
            if "files" in payload:
                payload["files"] = []
            changed = {
                "dedup_key": f"{row.dedup_key}@{row.id}",  # other jobs may do the same work now
                "payload": msgspec.json.encode(payload).decode(),
            }
            connection.execute(sa.update(jobs).where(jobs.c.id == row.id).values(**changed))
    return len(ids)


def purge_arrivals(engine: Engine, before: float, now: float, limit: int = 500) -> int:
    """Remove up to `limit` arrivals planned `before`, with their ended jobs and events.

    Of a series without another arrival, the UID and the time `now` remain. An arrival with a queued
    or running job is kept. Return the number of removed arrivals.
    """
    with engine.begin() as connection:
        old = connection.execute(_ended(before, limit)).all()
        ids: list[int] = [row.id for row in old]
        of_old = jobs.c.arrival_id.in_(ids)
        removed = sa.select(jobs.c.id).where(of_old)
        for statement in (
            sa.delete(events).where(events.c.arrival_id.in_(ids) | events.c.job_id.in_(removed)),
            sa.delete(jobs).where(of_old, jobs.c.parent_id.is_not(None)),
            sa.delete(jobs).where(of_old),
            sa.delete(arrivals).where(arrivals.c.id.in_(ids)),
        ):
            connection.execute(statement)
        uids: set[str] = {row.series_uid for row in old}
        present = sa.select(arrivals.c.series_uid).where(arrivals.c.series_uid.in_(uids))
        for uid in sorted(uids.difference(connection.execute(present).scalars())):
            remember(connection, uid, "", now)
    return len(ids)


def _ended(before: float, limit: int) -> sa.Select[Any]:
    """Select arrivals planned `before` without a queued or running job, the oldest first."""
    live = [state.value for state in LIVE]
    busy = sa.select(jobs.c.id).where(
        (jobs.c.arrival_id == arrivals.c.id) | (jobs.c.id == arrivals.c.job_id),
        jobs.c.state.in_(live),
    )
    later = arrivals.alias("later")  # may use the job of an earlier one: it comes first
    needed = sa.select(later.c.id).where(
        later.c.job_id == arrivals.c.job_id,
        later.c.id > arrivals.c.id,
        later.c.archived_at.is_(None) | arrivals.c.archived_at.is_not(None),
    )
    return (
        sa.select(arrivals.c.id, arrivals.c.series_uid)
        .where(arrivals.c.planned_at < before, ~busy.exists(), ~needed.exists())
        .order_by(arrivals.c.planned_at)
        .limit(limit)
    )


def purge_notes(engine: Engine, before: float, limit: int = 10_000) -> int:
    """Remove up to `limit` events older than `before` that belong to no arrival and no job.

    The notes of a study are kept as long as its arrivals. Return the number of removed events.
    """
    of_study = sa.select(arrivals.c.id).where(arrivals.c.study_uid == events.c.study_uid)
    old = (
        sa.select(events.c.id)
        .where(events.c.at < before, events.c.job_id.is_(None), events.c.arrival_id.is_(None))
        .where(~of_study.exists())
        .order_by(events.c.at)
        .limit(limit)
    )
    with engine.begin() as connection:
        return connection.execute(sa.delete(events).where(events.c.id.in_(old))).rowcount
