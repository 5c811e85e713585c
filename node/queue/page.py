"""Queries of the page: rows by number, and lists in screens of a bounded size."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue import rows
from node.queue.rows import Arrival, Job
from node.schema import arrivals, jobs, read_transaction
from node.states import Kind, State


def get_arrival(engine: Engine, arrival_id: int) -> Arrival:
    """Return one arrival.

    Raises:
        LookupError: no arrival has this number.
    """
    query = sa.select(arrivals).where(arrivals.c.id == arrival_id)
    with read_transaction(engine) as connection:
        row = connection.execute(query).mappings().one_or_none()
    if row is None:
        message = f"there is no arrival {arrival_id}"
        raise LookupError(message)
    return rows.arrival(row)


def arrival_ids(engine: Engine, study_uids: Sequence[str]) -> dict[str, int]:
    """Return the number of the newest arrival of each study that has one."""
    query = (
        sa.select(arrivals.c.study_uid, sa.func.max(arrivals.c.id))
        .where(arrivals.c.study_uid.in_(study_uids))
        .group_by(arrivals.c.study_uid)
    )
    with read_transaction(engine) as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def jobs_before(
    engine: Engine,
    before: int | None,
    *,
    state: State | None = None,
    kind: Kind | None = None,
    target: str = "",
    limit: int,
) -> list[Job]:
    """Return jobs with a smaller number than `before`, the newest first."""
    query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.c.id < before)
    if state is not None:
        query = query.where(jobs.c.state == state.value)
    if kind is not None:
        query = query.where(jobs.c.kind == kind.value)
    if target:
        query = query.where(jobs.c.target == target)
    with read_transaction(engine) as connection:
        return [rows.job(row) for row in connection.execute(query).mappings()]
