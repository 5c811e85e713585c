"""Heartbeats, notes, and the removal of arrivals that ended long ago."""

import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue.rows import Arrival
from node.queue.studies import remember
from node.schema import arrivals, events, health, jobs
from node.states import LIVE

RESENT = "resent"
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


def add_note(  # noqa: PLR0913  an event has this many columns
    engine: Engine,
    what: str,
    detail: str,
    now: float,
    *,
    study_uid: str = "",
    series_uid: str = "",
    job_id: int | None = None,
) -> None:
    """Add an event that is not a transition, such as a repaired header or a pruned series."""
    with engine.begin() as connection:
        connection.execute(
            sa.insert(events).values(
                at=now,
                study_uid=study_uid,
                series_uid=series_uid,
                job_id=job_id,
                what=what,
                detail=detail,
            )
        )


def record_resent(engine: Engine, arrival: Arrival, at: float) -> None:
    """Record in one event that the images of an arrival were resent, and what to do.

    A later call moves the event to `at`: a device may send the same series every minute.
    """
    this = sa.and_(events.c.arrival_id == arrival.id, events.c.what == RESENT)
    command = f"resend {arrival.job_id}" if arrival.job_id else f"replan {arrival.series_uid}"
    detail = f"the same images were resent; for another result run `segnode jobs {command}`"
    with engine.begin() as connection:
        if connection.execute(sa.select(events.c.id).where(this)).first() is None:
            values = {"study_uid": arrival.study_uid, "series_uid": arrival.series_uid}
            change: sa.Insert | sa.Update = sa.insert(events).values(
                arrival_id=arrival.id, what=RESENT, **values
            )
        else:
            change = sa.update(events).where(this, events.c.at < at)
        connection.execute(change.values(at=at, detail=detail))


def purge_arrivals(engine: Engine, before: float, now: float, limit: int = 500) -> int:
    """Remove up to `limit` arrivals planned `before`, with their ended jobs and events.

    Of a series without another arrival, the UID and the time `now` remain. An arrival with a queued
    or running job is kept. Return the number of removed arrivals.
    """
    live = [state.value for state in LIVE]
    busy = sa.select(jobs.c.id).where(
        (jobs.c.arrival_id == arrivals.c.id) | (jobs.c.id == arrivals.c.job_id),
        jobs.c.state.in_(live),
    )
    later = arrivals.alias("later")  # may use the job of an earlier one: removed first
    needed = sa.select(later.c.id).where(
        later.c.job_id == arrivals.c.job_id, later.c.id > arrivals.c.id
    )
    with engine.begin() as connection:
        old = connection.execute(
            sa.select(arrivals.c.id, arrivals.c.series_uid)
            .where(arrivals.c.planned_at < before, ~busy.exists(), ~needed.exists())
            .order_by(arrivals.c.planned_at)
            .limit(limit)
        ).all()
        ids = [row.id for row in old]
        of_old = jobs.c.arrival_id.in_(ids)
        removed = sa.select(jobs.c.id).where(of_old)
        for statement in (
            sa.delete(events).where(events.c.arrival_id.in_(ids) | events.c.job_id.in_(removed)),
            sa.delete(jobs).where(of_old, jobs.c.parent_id.is_not(None)),
            sa.delete(jobs).where(of_old),
            sa.delete(arrivals).where(arrivals.c.id.in_(ids)),
        ):
            connection.execute(statement)
        uids = {row.series_uid for row in old}
        present = sa.select(arrivals.c.series_uid).where(arrivals.c.series_uid.in_(uids))
        for uid in sorted(uids.difference(connection.execute(present).scalars())):
            remember(connection, uid, "", now)
    return len(ids)


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
