"""Queries of the queue, for people and for the other loops. Nothing here writes or waits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from node import schema
from node.caveats import NOTHING_DETECTED
from node.queue import rows
from node.queue.operate import NoSuchJob
from node.queue.payloads import as_plain
from node.queue.rows import Arrival, Beat, Event, Job
from node.schema import QUEUED, arrivals, events, health, jobs, read_transaction
from node.states import LIVE, Ending, Kind, State, ending

NEWEST = 100  # deliveries to one target, which show whether it answers queries


@dataclass(frozen=True, kw_only=True)
class SeriesHistory:
    """One arrival, its jobs and its ending."""

    arrival: Arrival
    segment: Job | None
    deliveries: tuple[Job, ...]
    ending: Ending

    @property
    def ended_at(self) -> float | None:
        """The time of its last transition, in Unix seconds; None while in progress."""
        if self.ending is Ending.IN_PROGRESS:
            return None
        steps = [job.updated_at for job in (self.segment, *self.deliveries) if job is not None]
        return max([self.arrival.planned_at, *steps])

    @property
    def reason(self) -> str:
        """The reason for the ending or the delay; empty if there is no problem.

        An empty result is no problem, but it is stated here too: its ending is that of any other.
        """
        if self.arrival.reason:
            return self.arrival.reason
        of_jobs = [job.reason for job in (self.segment, *self.deliveries) if job is not None]
        reason = next((reason for reason in reversed(of_jobs) if reason), "")
        return reason or self._nothing_detected()

    def _nothing_detected(self) -> str:
        result = as_plain(self.segment.result) if self.segment is not None else {}
        codes = [caveat["code"] for caveat in result.get("caveats", ())]
        return NOTHING_DETECTED.text.lower() if NOTHING_DETECTED.code in codes else ""


def get(engine: Engine, job_id: int) -> Job:
    """Return one job.

    Raises:
        NoSuchJob: no job has this number.
    """
    matching = _jobs(engine, sa.select(jobs).where(jobs.c.id == job_id))
    if not matching:
        raise NoSuchJob(job_id)
    return matching[0]


def list_jobs(
    engine: Engine,
    *,
    kind: Kind | None = None,
    state: State | None = None,
    study_uid: str | None = None,
    series_uid: str | None = None,
    limit: int = 100,
) -> list[Job]:
    """Return jobs, the newest first."""
    query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(jobs.c.kind == kind.value)
    if state is not None:
        query = query.where(jobs.c.state == state.value)
    if study_uid is not None:
        query = query.where(jobs.c.study_uid == study_uid)
    if series_uid is not None:
        query = query.where(jobs.c.series_uid == series_uid)
    return _jobs(engine, query)


def arrivals_of(
    engine: Engine, *, study_uid: str | None = None, series_key: str | None = None
) -> list[Arrival]:
    """Return the arrivals of a study or of one folder of the inbox, the oldest first."""
    with read_transaction(engine) as connection:
        return _arrivals(connection, study_uid=study_uid, series_key=series_key)


def histories(
    engine: Engine,
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
    series_key: str | None = None,
    limit: int | None = None,
) -> list[SeriesHistory]:
    """Return arrivals with their jobs and endings, the oldest first; `limit` keeps the newest."""
    chosen = {"study_uid": study_uid, "series_uid": series_uid, "series_key": series_key}
    with read_transaction(engine) as connection:  # one snapshot, so that jobs and arrivals agree
        return [_history(connection, arrival) for arrival in _arrivals(connection, limit, **chosen)]


def events_of(
    engine: Engine,
    *,
    study_uid: str | None = None,
    job_id: int | None = None,
    limit: int = 1000,
) -> list[Event]:
    """Return the events of a study or a job in order of time; `limit` keeps the newest."""
    query = sa.select(events).order_by(events.c.id.desc()).limit(limit)
    if study_uid is not None:
        query = query.where(events.c.study_uid == study_uid)
    if job_id is not None:
        query = query.where(events.c.job_id == job_id)
    with read_transaction(engine) as connection:
        newest = [rows.event(row) for row in connection.execute(query).mappings()]
    return sorted(newest, key=lambda event: (event.at, event.id))


def counts(engine: Engine) -> dict[tuple[Kind, State], int]:
    """Return the number of jobs of each kind in each state; every pair is present."""
    query = sa.select(jobs.c.kind, jobs.c.state, sa.func.count()).group_by(
        jobs.c.kind, jobs.c.state
    )
    counted = {(kind, state): 0 for kind in Kind for state in State}
    with read_transaction(engine) as connection:
        for kind, state, count in connection.execute(query):
            counted[Kind(kind), State(state)] = count
    return counted


def has_answered_queries(engine: Engine, target: str) -> bool:
    """Return whether one of the newest deliveries to `target` was confirmed by a query."""
    newest = (
        sa.select(jobs.c.result)
        .where(jobs.c.kind == Kind.DELIVER.value, jobs.c.target == target)
        .where(jobs.c.state == State.DONE.value)
        .order_by(jobs.c.id.desc())
        .limit(NEWEST)
    ).subquery()
    query = sa.select(sa.literal(1)).where(newest.c.result.contains('"confirmed_by":"query"'))
    with read_transaction(engine) as connection:
        return connection.execute(query.limit(1)).first() is not None


def oldest_queued_at(engine: Engine, kind: Kind, target: str | None = None) -> float | None:
    """Return when the job that is queued longest was queued, or None if none is queued."""
    query = sa.select(sa.func.min(jobs.c.queued_at)).where(QUEUED, jobs.c.kind == kind.value)
    if target is not None:
        query = query.where(jobs.c.target == target)
    with read_transaction(engine) as connection:
        since: float | None = connection.execute(query).scalar_one()
    return since


def queued_deliveries(engine: Engine, target: str, limit: int = 1000) -> list[Job]:
    """Return the queued deliveries to `target`, the oldest first."""
    query = (
        sa.select(jobs)
        .where(QUEUED, jobs.c.kind == Kind.DELIVER.value, jobs.c.target == target)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return _jobs(engine, query)


def notes(engine: Engine, limit: int = 100) -> list[Event]:
    """Return events that belong to no series (rejected callers and images), the newest last."""
    query = (
        sa.select(events)
        .where(
            events.c.job_id.is_(None), events.c.arrival_id.is_(None), events.c.actor == schema.NODE
        )
        .order_by(events.c.id.desc())
        .limit(limit)
    )
    with read_transaction(engine) as connection:
        return [rows.event(row) for row in connection.execute(query).mappings()][::-1]


def targets_with_queued_deliveries(engine: Engine) -> set[str]:
    """Return the targets with queued deliveries, including targets that are not configured."""
    query = sa.select(jobs.c.target).where(QUEUED, jobs.c.kind == Kind.DELIVER.value).distinct()
    with read_transaction(engine) as connection:
        return set(connection.execute(query).scalars())


def unfinished_by_target(engine: Engine) -> dict[str, int]:
    """Return how many deliveries, and segmentations for it, each target still waits for."""
    live = [state.value for state in LIVE]
    counted: Counter[str] = Counter()
    for job in _jobs(engine, sa.select(jobs).where(jobs.c.state.in_(live))):
        if job.kind is Kind.DELIVER:
            counted[job.target] += 1
        else:
            counted.update(target.name for target in job.segment_payload().targets)
    return dict(counted)


def beats(engine: Engine) -> list[Beat]:
    """Return the last heartbeat of each process."""
    with read_transaction(engine) as connection:
        result = connection.execute(sa.select(health).order_by(health.c.process)).mappings()
        return [rows.beat(row) for row in result]


def _jobs(engine: Engine, query: sa.Select[tuple[object, ...]]) -> list[Job]:
    with read_transaction(engine) as connection:
        return [rows.job(row) for row in connection.execute(query).mappings()]


def _arrivals(
    connection: sa.Connection, limit: int | None = None, **chosen: str | None
) -> list[Arrival]:
    query = sa.select(arrivals).order_by(arrivals.c.id.desc()).limit(limit)
    for column, value in chosen.items():
        if value is not None:
            query = query.where(arrivals.c[column] == value)
    if chosen.get("series_key") is not None:  # of what the folder holds, not of an earlier time
        query = query.where(arrivals.c.archived_at.is_(None))
    return [rows.arrival(row) for row in connection.execute(query).mappings()][::-1]


def _history(connection: sa.Connection, arrival: Arrival) -> SeriesHistory:
    linked: Sequence[Job] = ()
    if arrival.job_id is not None:
        query = (
            sa.select(jobs)
            .where((jobs.c.id == arrival.job_id) | (jobs.c.parent_id == arrival.job_id))
            .order_by(jobs.c.id)
        )
        linked = [rows.job(row) for row in connection.execute(query).mappings()]
    segment = next((job for job in linked if job.kind is Kind.SEGMENT), None)
    deliveries = tuple(job for job in linked if job.kind is Kind.DELIVER)
    return SeriesHistory(
        arrival=arrival,
        segment=segment,
        deliveries=deliveries,
        ending=ending(
            arrival.outcome,
            segment.state if segment else None,
            [delivery.state for delivery in deliveries],
            is_retracted=rows.is_retracted(deliveries),
        ),
    )


def undelivered_files(engine: Engine) -> set[str]:
    """Return the files that deliveries still need, relative to the data folder."""
    live = [state.value for state in LIVE]
    query = sa.select(jobs).where(jobs.c.kind == Kind.DELIVER.value, jobs.c.state.in_(live))
    return {job.deliver_payload().file for job in _jobs(engine, query)}


def row_counts(engine: Engine) -> dict[str, int]:
    """Return the number of rows of each table."""
    with read_transaction(engine) as connection:
        return {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in schema.METADATA.sorted_tables
        }
