"""Record a series that arrived, with its job if it gets one: once, however often it is reported."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Engine

from node import schema
from node.errors import Superseded
from node.queue import payloads
from node.queue.apply import error_values, insert_job, move
from node.queue.endings import first_ending, update_endings
from node.queue.rows import NewArrival, NewSegmentJob
from node.queue.studies import ReceivedStudy, StudyIndex, add_study
from node.schema import arrivals, arriving, events, jobs
from node.states import ArrivalOutcome, Kind, State, Transition

Facts = Sequence[tuple[str, str]]  # event and detail
EARLIER_RULES = "earlier-rules"  # event: the rules before the deciding one, with reasons
NOTE = "note"  # event: a fact about the images
NOT_INDEXED = StudyIndex()


class Recorded(NamedTuple):
    """The rows of an arrival; `is_new` is false where they existed before."""

    arrival_id: int
    job_id: int | None
    is_new: bool


def record_arrival(
    engine: Engine,
    arrival: NewArrival,
    job: NewSegmentJob | None,
    now: float,
    facts: Facts = (),
    index: StudyIndex = NOT_INDEXED,
) -> Recorded:
    """Record a complete series and queue its job, in one transaction.

    The same inputs of the same series are recorded once. A new job supersedes the queued jobs for
    earlier inputs of the series; inputs that get no job leave those alone. Where another arrival
    has a job for the same work, this arrival points to that job. Each of `facts` becomes an event
    of the history. `index` is what a search compares. The series is no longer listed as waiting.
    """
    assert (job is not None) == (arrival.outcome is ArrivalOutcome.PLANNED)
    with engine.begin() as connection:
        known = connection.execute(
            sa.select(arrivals.c.id, arrivals.c.job_id).where(_same(arrival))
        ).one_or_none()
        if known is not None:
            return Recorded(known.id, known.job_id, is_new=False)
        _add_study(connection, arrival, index)
        # also where housekeeping does not look again: a person planned a series of a paused rule
        key = arriving.c.series_key == arrival.series_key
        connection.execute(sa.delete(arriving).where(key))
        arrival_id: int = connection.execute(
            sa.insert(arrivals).values(**_values(arrival), planned_at=now).returning(arrivals.c.id)
        ).scalar_one()
        _add_decision(connection, arrival_id, arrival, job, now)
        _add_facts(connection, arrival_id, arrival, facts, now)
        return Recorded(
            arrival_id, _give_job(connection, arrival_id, arrival, job, now), is_new=True
        )


def replan_arrival(
    engine: Engine,
    arrival: NewArrival,
    job: NewSegmentJob | None,
    now: float,
    facts: Facts = (),
    index: StudyIndex = NOT_INDEXED,
) -> Recorded:
    """Replace the decision about a recorded arrival that has no job: the rules changed.

    An arrival whose job was superseded gets a new job: a person chose these images. So does one
    whose job ended unsuitable, if the rules now make another job of it. Any other arrival that has
    a job, or is not recorded, is left to `record_arrival`.
    """
    with engine.begin() as connection:
        arrival_id: int | None = connection.execute(
            sa.update(arrivals)
            .where(_same(arrival), arrivals.c.outcome != ArrivalOutcome.PLANNED.value)
            .values(**_values(arrival), planned_at=now)
            .returning(arrivals.c.id)
        ).scalar_one_or_none()
        if arrival_id is not None:
            _add_study(connection, arrival, index)
            _add_decision(connection, arrival_id, arrival, job, now)
            _add_facts(connection, arrival_id, arrival, facts, now)
            return Recorded(
                arrival_id, _give_job(connection, arrival_id, arrival, job, now), is_new=True
            )
        if job is not None:
            without = connection.execute(_without_result(arrival, job)).scalar_one_or_none()
            if without is not None:
                job_id = _give_job(connection, without, arrival, job, now)
                return Recorded(without, job_id, is_new=False)
    return record_arrival(engine, arrival, job, now, facts, index)


def _same(arrival: NewArrival) -> sa.ColumnElement[bool]:
    return sa.and_(
        arrivals.c.series_key == arrival.series_key,
        arrivals.c.inputs_digest == arrival.inputs_digest,
        arrivals.c.archived_at.is_(None),
    )


def _without_result(arrival: NewArrival, job: NewSegmentJob) -> sa.Select[int]:
    """Select the recorded arrival if its job was superseded, or ended unsuitable as other work."""
    is_other = jobs.c.dedup_key != job.dedup_key
    return (
        sa.select(arrivals.c.id)
        .join(jobs, jobs.c.id == arrivals.c.job_id)
        .where(
            _same(arrival),
            (jobs.c.state == State.SUPERSEDED.value)
            | ((jobs.c.state == State.UNSUITABLE.value) & is_other),
        )
    )


def _values(arrival: NewArrival) -> dict[str, Any]:
    ending = first_ending(arrival.outcome)
    return asdict(arrival) | {"outcome": arrival.outcome.value, "ending": ending.value}


def _add_study(connection: sa.Connection, arrival: NewArrival, index: StudyIndex) -> None:
    received = ReceivedStudy(
        study_uid=arrival.study_uid,
        caller_ae=arrival.caller_ae,
        first_at=arrival.first_at,
        last_at=arrival.last_at,
    )
    add_study(connection, received, index)


def _add_decision(
    connection: sa.Connection,
    arrival_id: int,
    arrival: NewArrival,
    job: NewSegmentJob | None,
    now: float,
) -> None:
    """Add the first two events of the history: when the images came, and the decision."""
    received = f"{arrival.instances} instances from {arrival.caller_ae or 'unknown'}"
    if job is not None and job.payload.unsuitable is not None:
        decided = f"rule {arrival.rule}: a notice that {arrival.package} cannot segment the series"
    elif job is not None:
        why = f"; {job.payload.why}" if job.payload.why else ""
        decided = f"rule {arrival.rule}: {arrival.package}, size {arrival.size}{why}"
    else:
        decided = " ".join(part for part in (arrival.reason, arrival.advice) if part)
    _add_event(connection, arrival_id, arrival, arrival.last_at, ("received", received))
    _add_event(connection, arrival_id, arrival, now, (arrival.outcome.value, decided))


def _add_facts(
    connection: sa.Connection, arrival_id: int, arrival: NewArrival, facts: Facts, now: float
) -> None:
    for event, detail in facts:
        at = now if event == EARLIER_RULES else arrival.last_at
        _add_event(connection, arrival_id, arrival, at, (event, detail))


def _add_event(
    connection: sa.Connection,
    arrival_id: int,
    arrival: NewArrival,
    at: float,
    line: tuple[str, str],
) -> None:
    event, detail = line
    connection.execute(
        sa.insert(events).values(
            at=at,
            study_uid=arrival.study_uid,
            series_uid=arrival.series_uid,
            arrival_id=arrival_id,
            event=event,
            detail=detail,
        )
    )


def _give_job(
    connection: sa.Connection,
    arrival_id: int,
    arrival: NewArrival,
    job: NewSegmentJob | None,
    now: float,
) -> int | None:
    if job is None:
        return None
    same_work = connection.execute(
        sa.select(jobs.c.id).where(jobs.c.dedup_key == job.dedup_key, schema.TAKEN)
    ).scalar_one_or_none()
    error = Superseded("a newer job was made for the same series")
    move(
        connection,
        Transition.SUPERSEDE,
        now,
        sa.and_(
            schema.QUEUED,  # a running segmentation ends first
            jobs.c.kind == Kind.SEGMENT.value,
            jobs.c.study_uid == arrival.study_uid,  # some devices reuse series UIDs
            jobs.c.series_uid == arrival.series_uid,
            jobs.c.id != (same_work or 0),
        ),
        error_values(error),
        f"arrival {arrival_id} made a newer job",
    )
    job_id = same_work or _insert(connection, arrival_id, arrival, job, now)
    connection.execute(sa.update(arrivals).where(arrivals.c.id == arrival_id).values(job_id=job_id))
    update_endings(connection, [job_id])
    return job_id


def _insert(
    connection: sa.Connection, arrival_id: int, arrival: NewArrival, job: NewSegmentJob, now: float
) -> int:
    values = {
        "dedup_key": job.dedup_key,
        "study_uid": arrival.study_uid,
        "series_uid": arrival.series_uid,
        "arrival_id": arrival_id,
        "target": "",
        "payload": payloads.encode(job.payload),
        "priority": job.priority,
    }
    return insert_job(connection, Kind.SEGMENT, now, values).id
