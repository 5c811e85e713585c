"""Correct recorded times after a step of the wall clock, so that none of them blocks work."""

import sqlalchemy as sa
from sqlalchemy import Engine

from node.config import LONGEST_REPORT_WAIT_S
from node.queue.settle import LONGEST_DELAY_S
from node.schema import QUEUED, RUNNING, arrivals, jobs
from node.states import ENDED

LONGEST_LEASE_S = 60.0


def rebase(engine: Engine, now: float, step_s: float = 0.0, running_s: float = 0.0) -> int:
    """Correct the times that the rows hold; return how many times were changed.

    Recorded times in the future count as now, and delays keep their length; events are never
    changed. After a step every worker gets a full lease, because one that lives extends it soon.
    After a step forward, waiting jobs keep the age that they had, and the retention of what ended
    while this process ran, too.

    Args:
        engine: the database.
        now: Unix seconds, after the step.
        step_s: how far the clock moved; 0 at the start of a process, when that is unknown.
        running_s: how long this process has run.
    """
    before = now - step_s
    waits = sa.and_(jobs.c.report_due_at.is_not(None), jobs.c.commitment_report == "", QUEUED)
    too_late = jobs.c.not_before > now + LONGEST_DELAY_S
    changes = [
        _set(jobs.c.not_before, now, QUEUED, ~waits, too_late),
        _set(jobs.c.report_due_at, now, jobs.c.report_due_at > now + LONGEST_REPORT_WAIT_S),
        _set(jobs.c.not_before, jobs.c.report_due_at, waits),
        _set(jobs.c.lease_until, now + LONGEST_LEASE_S, RUNNING, _is_lease_wrong(now, step_s)),
    ]
    if step_s < 0:  # first: the delays that remain are then those of the present
        later = jobs.c.not_before > now
        changes.insert(0, _set(jobs.c.not_before, jobs.c.not_before + step_s, QUEUED, later))
    live = jobs.c.finished_at.is_(None)
    if step_s:
        later_report = jobs.c.report_due_at + step_s
        changes.insert(0, _set(jobs.c.report_due_at, later_report, live))
    if step_s > 0:
        changes.append(_set(jobs.c.queued_at, jobs.c.queued_at + step_s, live))
        for column in (jobs.c.updated_at, arrivals.c.planned_at):
            ended = jobs.c.state.in_([state.value for state in ENDED])
            these = [ended] if column.table is jobs else []
            meanwhile = column.between(before - running_s, before)
            changes.append(_set(column, column + step_s, meanwhile, *these))
    recorded = (jobs.c.queued_at, jobs.c.updated_at, arrivals.c.planned_at)
    changes += [_set(column, now, column > now) for column in recorded]
    with engine.begin() as connection:
        return sum(connection.execute(change).rowcount for change in changes)


def _set(
    column: "sa.Column[float]",
    value: "float | sa.ColumnElement[float]",
    *where: "sa.ColumnElement[bool] | sa.TextClause",
) -> sa.Update:
    changed = column.is_distinct_from(value)
    return sa.update(column.table).where(changed, *where).values({column.name: value})


def _is_lease_wrong(now: float, step_s: float) -> sa.ColumnElement[bool]:
    return sa.true() if step_s else jobs.c.lease_until > now + LONGEST_LEASE_S
