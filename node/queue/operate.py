"""Transitions that operators apply to a job, by its number.

`by` is who did it, for the history: os:NAME for a command, page:NAME for the page.
"""

import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue import rows
from node.queue.apply import cancelled, error_values, fresh, move
from node.queue.precedence import is_superseded, supersede_waiting
from node.queue.rows import Job
from node.schema import QUEUED, arrivals, jobs
from node.states import TRANSITIONS, IllegalTransition, Transition

OPERATOR = "operator"  # a person whose name is unknown


class NoSuchJob(LookupError):
    """There is no job with this number."""

    def __init__(self, job_id: int) -> None:
        """Name the requested number."""
        super().__init__(f"there is no job {job_id}")


class SameWork(ValueError):
    """The same work is queued, running or done under another number."""

    def __init__(self, job_id: int) -> None:
        """Name the job that cannot be queued again."""
        super().__init__(f"the work of job {job_id} is queued, running or done as another job")


class AlreadySuperseded(ValueError):
    """The target has, or will receive, a result of later images of the same series."""

    def __init__(self, job_id: int) -> None:
        """Name the job that cannot be queued again."""
        super().__init__(f"job {job_id} is superseded by a newer result of the same series")


class Archived(ValueError):
    """Only the history of the job exists; its images and results were deleted."""

    def __init__(self, job_id: int) -> None:
        """Name the job that cannot be queued again."""
        super().__init__(f"the images and results of job {job_id} were deleted: send them again")


def requeue(engine: Engine, job_id: int, now: float, by: str = OPERATOR) -> Job:
    """Queue a job that ended without a result again, for an operator.

    Raises:
        NoSuchJob: no job has this number.
        IllegalTransition: the job has not ended, or is done.
        SameWork: the same work is queued, running or done under another number.
        AlreadySuperseded: the target of a delivery has, or will receive, a newer result.
        Archived: its images and results were deleted when their time was over.
    """
    return _queue_again(engine, job_id, Transition.REQUEUE, now, by)


def resend(engine: Engine, job_id: int, now: float, by: str = OPERATOR) -> Job:
    """Queue a job that has ended again, also one that is done, for an operator.

    A delivery sends its object once more. A segmentation makes the same objects once more and then
    sends them to each of its targets.

    Raises:
        NoSuchJob, SameWork, AlreadySuperseded, Archived: as `requeue`.
        IllegalTransition: the job has not ended.
    """
    return _queue_again(engine, job_id, Transition.RESEND, now, by)


def _queue_again(engine: Engine, job_id: int, transition: Transition, now: float, by: str) -> Job:
    this = sa.and_(jobs.c.id == job_id, ~is_superseded(), ~_is_archived())
    try:
        with engine.begin() as connection:
            moved = move(connection, transition, now, this, fresh(now), by=by)
            if not moved:
                return _illegal(connection, job_id, transition)
            supersede_waiting(connection, moved[0], now)
            return moved[0]
    except sa.exc.IntegrityError:
        raise SameWork(job_id) from None


def cancel(engine: Engine, job_id: int, now: float, by: str = OPERATOR) -> Job:
    """Cancel a job, for an operator: at once if queued; if running, when its worker extends it.

    Raises:
        NoSuchJob: no job has this number.
        IllegalTransition: the job has ended.
    """
    this = jobs.c.id == job_id
    with engine.begin() as connection:
        values = error_values(cancelled())
        moved = move(
            connection, Transition.CANCEL, now, sa.and_(this, QUEUED), values, by=by
        ) or move(connection, Transition.REQUEST_CANCEL, now, this, {"cancel_at": now}, by=by)
        return moved[0] if moved else _illegal(connection, job_id, Transition.CANCEL)


def _illegal(connection: sa.Connection, job_id: int, transition: Transition) -> Job:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise NoSuchJob(job_id)
    state = rows.job(row).state
    if (
        state,
        transition,
    ) in TRANSITIONS:
        is_archived = connection.execute(sa.select(_is_archived()).where(jobs.c.id == job_id))
        raise Archived(job_id) if is_archived.scalar_one() else AlreadySuperseded(job_id)
    raise IllegalTransition(state, transition)


def _is_archived() -> sa.ColumnElement[bool]:
    """Match jobs of which only the history exists."""
    return (
        sa.select(arrivals.c.id)
        .where(arrivals.c.id == jobs.c.arrival_id, arrivals.c.archived_at.is_not(None))
        .exists()
    )
