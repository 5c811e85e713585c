"""Precedence between the results of one series: the segmentation that was planned last wins.

That is the one of the latest images, unless a person chose other images afterwards.

Promises: once a newer result for the same target is queued, running or done, no older
one is queued.
Leaves to `node.queue.arrive`: segmentations that are queued while newer images arrive.
"""

import sqlalchemy as sa

from node.errors import Superseded
from node.queue.apply import error_values, move
from node.queue.rows import RETRACTION, Job
from node.schema import QUEUED, jobs
from node.states import Kind, Transition

_newer = jobs.alias("newer")


def is_superseded() -> sa.ColumnElement[bool]:
    """Match deliveries whose target has, or will receive, a result that was planned later.

    A newer delivery that failed or was cancelled does not count: the older one may still be sent.
    Results for other targets do not count either, and a rejection note is never superseded.
    """
    return sa.and_(
        jobs.c.kind == Kind.DELIVER.value,
        jobs.c.dedup_key.not_like(f"{RETRACTION}%"),
        sa.select(_newer.c.id)
        .where(
            _newer.c.kind == Kind.DELIVER.value,
            _newer.c.study_uid == jobs.c.study_uid,
            _newer.c.series_uid == jobs.c.series_uid,
            _newer.c.target == jobs.c.target,
            _newer.c.parent_id > jobs.c.parent_id,
            sa.text("newer.state IN ('queued', 'running', 'done')"),
        )
        .exists(),
    )


def superseded() -> Superseded:
    """Return the error of a superseded delivery."""
    return Superseded("a newer result of the same series goes to the same target")


def supersede_waiting(connection: sa.Connection, job: Job, now: float) -> list[Job]:
    """End the queued deliveries of the job's series that a newer result supersedes; return them."""
    of_series = sa.and_(
        QUEUED,
        jobs.c.study_uid == job.study_uid,
        jobs.c.series_uid == job.series_uid,
        is_superseded(),
    )
    error = superseded()
    return move(
        connection, Transition.SUPERSEDE, now, of_series, error_values(error), error.message
    )
