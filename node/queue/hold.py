"""Hold a series whose job is waiting or running, because a later series contradicts it."""

import sqlalchemy as sa
from sqlalchemy import Engine

from node.errors import Cancelled, NodeError
from node.queue.apply import add_event, error_values, move
from node.queue.rows import job as job_of
from node.schema import QUEUED, arrivals, jobs
from node.states import ArrivalOutcome, Ending, State, Transition


def hold_planned(engine: Engine, series_key: str, problem: NodeError, now: float) -> int:
    """Cancel unfinished jobs of a series and hold their arrivals; return how many were held.

    A finished segmentation stays as it is, and `problem` becomes an event of its history.
    """
    held = 0
    with engine.begin() as connection:
        rows = connection.execute(
            sa.select(jobs)
            .join(arrivals, arrivals.c.job_id == jobs.c.id)
            .where(arrivals.c.series_key == series_key)
        ).mappings()
        for job in [job_of(row) for row in rows]:
            if job.state not in (State.QUEUED, State.RUNNING):
                add_event(connection, job, "note", now, problem.message)
                continue
            this = jobs.c.id == job.id
            values = error_values(Cancelled(problem.message, advice=problem.advice))
            if not move(
                connection, Transition.CANCEL, now, sa.and_(this, QUEUED), values, problem.message
            ):
                stop = {"cancel_at": now}
                move(connection, Transition.REQUEST_CANCEL, now, this, stop, problem.message)
            connection.execute(
                sa.update(arrivals)
                .where(arrivals.c.series_key == series_key, arrivals.c.job_id == job.id)
                .values(
                    outcome=ArrivalOutcome.HELD.value,
                    ending=Ending.HELD.value,
                    job_id=None,
                    code=problem.code,
                    reason=problem.message,
                    advice=problem.advice,
                )
            )
            add_event(connection, job, ArrivalOutcome.HELD.value, now, str(problem))
            held += 1
    return held
