"""Which result of a series speaks for it at a target: that of the segmentation decided last.

That is the one of the images that came last, unless a person chose others after them.

Promises: once a newer result for the same target waits, leaves or has arrived, no older one waits.
Leaves to `node.queue.arrive`: segmentations that wait while newer images come.
"""

import sqlalchemy as sa

from node.errors import Superseded
from node.queue.apply import error_values, move
from node.queue.rows import Job
from node.schema import QUEUED, jobs
from node.states import Kind, Transition

_newer = jobs.alias("newer")


def is_superseded() -> sa.ColumnElement[bool]:
    """Match deliveries of a series of which the target gets, or has, a result decided later.

    One that the target refused or an operator cancelled does not count: it leaves the older one
    its chance. A target to which nothing newer goes keeps what it would have got.
    """
    return sa.and_(
        jobs.c.kind == Kind.DELIVER.value,
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
    """Return the error of a delivery that is is_superseded."""
    return Superseded("a newer result of the same series goes to the same target")


def supersede_waiting(connection: sa.Connection, job: Job, now: float) -> list[Job]:
    """End the waiting deliveries of the job's series that are is_superseded by now; return them."""
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
