"""Transitions that operators apply to a job, by its number."""

import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue import rows
from node.queue.apply import cancelled, error_values, fresh, move
from node.queue.precedence import is_superseded, supersede_waiting
from node.queue.rows import Job
from node.schema import QUEUED, jobs
from node.states import TRANSITIONS, IllegalTransition, Transition


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


def requeue(engine: Engine, job_id: int, now: float) -> Job:
    """Queue a job that ended without a result again, for an operator.

    Raises:
        NoSuchJob: no job has this number.
        IllegalTransition: the job has not ended, or is done.
        SameWork: the same work is queued, running or done under another number.
        AlreadySuperseded: the target of a delivery has, or will receive, a newer result.
    """
    return _queue_again(engine, job_id, Transition.REQUEUE, now)


def resend(engine: Engine, job_id: int, now: float) -> Job:
    """Queue a job that has ended again, also one that is done, for an operator.

    A delivery sends its object once more. A segmentation makes the same objects once more and then
    sends them to each of its targets.

    Raises:
        NoSuchJob, SameWork, AlreadySuperseded: as `requeue`.
        IllegalTransition: the job has not ended.
    """
    return _queue_again(engine, job_id, Transition.RESEND, now)


def _queue_again(engine: Engine, job_id: int, transition: Transition, now: float) -> Job:
    this = sa.and_(jobs.c.id == job_id, ~is_superseded())
    try:
        with engine.begin() as connection:
            moved = move(connection, transition, now, this, fresh(now), "by an operator")
            if not moved:
                return _illegal(connection, job_id, transition)
            supersede_waiting(connection, moved[0], now)
            return moved[0]
    except sa.exc.IntegrityError:
        raise SameWork(job_id) from None


def cancel(engine: Engine, job_id: int, now: float) -> Job:
    """Cancel a job, for an operator: at once if queued; if running, when its worker extends it.

    Raises:
        NoSuchJob: no job has this number.
        IllegalTransition: the job has ended.
    """
    this = jobs.c.id == job_id
    with engine.begin() as connection:
        values, by = error_values(cancelled()), "by an operator"
        moved = move(connection, Transition.CANCEL, now, sa.and_(this, QUEUED), values, by) or move(
            connection, Transition.REQUEST_CANCEL, now, this, {"cancel_at": now}, by
        )
        return moved[0] if moved else _illegal(connection, job_id, Transition.CANCEL)


def _illegal(connection: sa.Connection, job_id: int, transition: Transition) -> Job:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise NoSuchJob(job_id)
    state = rows.job(row).state
    if (
        state,
        transition,
    ) in TRANSITIONS:  # legal, so only precedence prevented it
        raise AlreadySuperseded(job_id)
    raise IllegalTransition(state, transition)
