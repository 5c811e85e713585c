"""The storage commitment of a delivery: requested, awaited, reported; each is one transaction.

A delivery that awaits its report is queued, and due when its report arrives or is overdue.
"""

import msgspec
import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue import payloads, rows
from node.queue.apply import NO_ERROR, add_event, move
from node.queue.payloads import DeliverResult
from node.queue.rows import Job
from node.queue.transitions import end_unneeded, held_by_worker, lost, one
from node.schema import jobs
from node.states import LIVE, State, Transition

REPORTED = "commitment-report"


def request_commitment(
    engine: Engine, job: Job, transaction_uid: str, sent: DeliverResult, due_at: float
) -> None:
    """Record the request that is made next, and the target's answer to the object.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    values = {"transaction_uid": transaction_uid, "report_due_at": due_at, "commitment_report": ""}
    with engine.begin() as connection:
        held = connection.execute(
            sa.update(jobs)
            .where(held_by_worker(job))
            .values(**values, result=payloads.encode(sent))
        )
    if not held.rowcount:
        raise lost(job)


def await_report(engine: Engine, job: Job, now: float) -> Job:
    """Let the job wait for the report of its commitment; this attempt counts as none.

    A job that an operator cancelled meanwhile, or that a newer result supersedes, ends instead.

    Raises:
        LeaseLost: as `extend`; nothing was changed.
    """
    is_reported = jobs.c.commitment_report != ""
    values = {
        "not_before": sa.case((is_reported, now), else_=jobs.c.report_due_at),
        "attempts": jobs.c.attempts - 1,
        **NO_ERROR,
        "reason": "waits for the storage commitment report of the target",
    }
    with engine.begin() as connection:
        held = held_by_worker(job)
        moved = end_unneeded(connection, now, held) or move(
            connection, Transition.AWAIT_REPORT, now, held, values, _until
        )
    return one(moved, job)


def record_report(
    engine: Engine, transaction_uid: str, report: object, summary: str, now: float
) -> Job | None:
    """Record the report of a commitment, and make its delivery due; None if nothing awaits it.

    Args:
        engine: the database.
        transaction_uid: of the request.
        report: the report, which the sender reads again from `Job.commitment_report`.
        summary: the report in words, for the history.
        now: Unix seconds.
    """
    is_queued = jobs.c.state == State.QUEUED.value
    values = {
        "commitment_report": msgspec.json.encode(report).decode(),
        "not_before": sa.case((is_queued, now), else_=jobs.c.not_before),
    }
    with engine.begin() as connection:
        result = connection.execute(
            sa.update(jobs)
            .where(jobs.c.transaction_uid == transaction_uid, jobs.c.transaction_uid != "")
            .where(jobs.c.state.in_([state.value for state in LIVE]))
            .where(jobs.c.commitment_report == "")
            .values(**values)
            .returning(*jobs.c)
        )
        row = result.mappings().one_or_none()
        if row is None:
            return None
        job = rows.job(row)
        add_event(connection, job, REPORTED, now, summary)
    return job


def _until(job: Job) -> str:
    return f"transaction {job.transaction_uid}"
