"""Queries of the page: rows by number, and lists in screens of a bounded size."""

from collections.abc import Sequence
from typing import Any

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
    newest = job_numbers(before, state, kind, target).limit(limit)
    query = sa.select(jobs).where(jobs.c.id.in_(newest)).order_by(jobs.c.id.desc())
    with read_transaction(engine) as connection:
        return [rows.job(row) for row in connection.execute(query).mappings()]


def job_numbers(
    before: int | None, state: State | None, kind: Kind | None, target: str
) -> sa.CompoundSelect[Any]:
    """Select the numbers of jobs, the newest first, from indexes that hold all columns.

    A query for whole rows would read every large row that matches, only to sort it.
    """
    chosen = [jobs.c.id < before] if before is not None else []
    of_state = sa.select(jobs.c.id).where(*chosen)
    if state is not None or kind is not None:
        states = State if state is None else [state]
        kinds = Kind if kind is None else [kind]
        of_state = of_state.where(jobs.c.state.in_([one.value for one in states]))
        of_state = of_state.where(jobs.c.kind.in_([one.value for one in kinds]))
    of_target = sa.select(jobs.c.id).where(*chosen, jobs.c.target == target)
    both = sa.intersect(of_state, of_target) if target else sa.union_all(of_state)
    return both.order_by(sa.desc("id"))
