"""A delivery that awaits the report of its storage commitment."""

import pytest
import sqlalchemy as sa

from node import queue
from node.errors import LeaseLost, NotConfirmed, Superseded
from node.queue import Job, Policy
from node.states import Kind, State
from tests.support.rows import LEASE_S, SEGMENTED, SENT, T0, a_delivery, claim, event_names, record

DUE = T0 + 3600.0
REPORT = {"transaction": "2.25.1"}


def requested(engine: sa.Engine, inputs: str = "a") -> Job:
    record(engine, inputs=inputs)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 1)
    job = claimed(engine, T0 + 2)
    assert job is not None
    queue.request_commitment(engine, job, "2.25.1", SENT, DUE)
    return job


def claimed(engine: sa.Engine, now: float) -> Job | None:
    return queue.claim(engine, Kind.DELIVER, "w", now, LEASE_S, "pacs")


def test_a_delivery_is_due_when_its_report_arrives(engine: sa.Engine) -> None:
    job = queue.await_report(engine, requested(engine), T0 + 3)
    assert (job.state, job.not_before, job.attempts) == (State.QUEUED, DUE, 0)
    assert claimed(engine, DUE - 1) is None
    assert queue.record_report(engine, "2.25.1", REPORT, "kept", T0 + 9) is not None
    due = claimed(engine, T0 + 9)
    assert due is not None
    assert (due.id, due.deliver_result()) == (job.id, SENT)
    assert due.commitment_report
    queue.finish_delivery(engine, due, SENT, T0 + 10)
    names = event_names(engine, job.id)
    assert names[-4:] == ["await-report", "commitment-report", "claim", "finish"]


def test_a_report_that_is_faster_than_the_wait_is_kept(engine: sa.Engine) -> None:
    job = requested(engine)
    assert queue.record_report(engine, "2.25.1", REPORT, "kept", T0 + 3) is not None
    assert queue.await_report(engine, job, T0 + 4).not_before == T0 + 4


def test_an_overdue_report_makes_the_delivery_due(engine: sa.Engine) -> None:
    queue.await_report(engine, requested(engine), T0 + 3)
    overdue = claimed(engine, DUE)
    assert overdue is not None
    assert overdue.commitment_report == ""


@pytest.mark.parametrize("transaction", ["2.25.2", ""])
def test_a_report_of_another_transaction_is_ignored(engine: sa.Engine, transaction: str) -> None:
    queue.await_report(engine, requested(engine), T0 + 3)
    assert queue.record_report(engine, transaction, REPORT, "kept", T0 + 9) is None


def test_a_second_report_is_ignored(engine: sa.Engine) -> None:
    queue.await_report(engine, requested(engine), T0 + 3)
    assert queue.record_report(engine, "2.25.1", REPORT, "kept", T0 + 9) is not None
    assert queue.record_report(engine, "2.25.1", REPORT, "kept", T0 + 9) is None


def test_another_attempt_forgets_the_transaction(engine: sa.Engine) -> None:
    job = requested(engine)
    queue.settle(engine, job, NotConfirmed("x"), T0 + 3, Policy(give_up_after_s=600))
    waiting = queue.get(engine, job.id)
    assert (waiting.state, waiting.transaction_uid, waiting.report_due_at) == (
        State.QUEUED,
        "",
        None,
    )
    assert queue.record_report(engine, "2.25.1", REPORT, "kept", T0 + 9) is None


def test_a_resent_delivery_forgets_the_transaction(engine: sa.Engine) -> None:
    job = requested(engine)
    queue.finish_delivery(engine, job, SENT, T0 + 3)
    resent = queue.resend(engine, job.id, T0 + 4)
    assert (resent.transaction_uid, resent.result) == ("", "")


def test_a_worker_that_lost_its_lease_cannot_wait(engine: sa.Engine) -> None:
    job = requested(engine)
    queue.expire_leases(engine, T0 + 2 + LEASE_S + 1, 3)
    with pytest.raises(LeaseLost):
        queue.await_report(engine, job, T0 + 60)
    with pytest.raises(LeaseLost):
        queue.request_commitment(engine, job, "2.25.2", SENT, DUE)
    reclaimed = claimed(engine, T0 + 60)
    assert reclaimed is not None
    assert reclaimed.transaction_uid == "2.25.1", "the next worker waits for the same report"


def test_a_newer_result_ends_the_wait(engine: sa.Engine) -> None:
    job = queue.await_report(engine, requested(engine), T0 + 3)
    record(engine, inputs="b")
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 5)
    ended = queue.get(engine, job.id)
    assert (ended.state, ended.code) == (State.SUPERSEDED, Superseded.code)
    assert queue.record_report(engine, "2.25.1", REPORT, "kept", T0 + 9) is None


def test_an_operator_cancels_the_wait(engine: sa.Engine) -> None:
    job = queue.await_report(engine, requested(engine), T0 + 3)
    assert queue.cancel(engine, job.id, T0 + 4).state is State.CANCELLED
