"""Recorded times after a step of the wall clock: nothing waits for it, and nothing ends early."""

import pytest
import sqlalchemy as sa

from node import queue
from node.errors import NoResponse, Unsuitable
from node.queue import Job, Policy, rebase
from node.states import Kind, State
from tests.support.rows import LEASE_S, SEGMENTED, SENT, T0, a_delivery, claim, record

HOUR_S, DAY_S = 3600.0, 86400.0
STEPS = [HOUR_S, -HOUR_S, DAY_S, -DAY_S]
BOOT_1970 = 100.0


@pytest.mark.parametrize("step", STEPS)
def test_a_job_that_waits_for_its_retry_waits_no_longer(engine: sa.Engine, step: float) -> None:
    record(engine)
    queue.retry_later(engine, claim(engine), NoResponse("x"), T0 + 60, T0 + 1)
    rebase(engine, T0 + 2 + step, step, running_s=100)
    late = queue.claim(engine, Kind.SEGMENT, "w", T0 + 61 + step, LEASE_S)
    assert late is not None


@pytest.mark.parametrize("step", STEPS)
def test_a_job_that_is_due_stays_due(engine: sa.Engine, step: float) -> None:
    record(engine)
    rebase(engine, T0 + 2 + step, step, running_s=100)
    assert queue.claim(engine, Kind.SEGMENT, "w", T0 + 3 + step, LEASE_S) is not None


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_lives_keeps_its_job_and_a_dead_one_loses_it(
    engine: sa.Engine, step: float
) -> None:
    record(engine)
    job = claim(engine)
    now = T0 + 2 + step
    rebase(engine, now, step, running_s=100)
    assert queue.expire_leases(engine, now, 3) == []
    queue.extend(engine, job, now + 3, LEASE_S)
    assert queue.expire_leases(engine, now + 30, 3) == []
    assert [one.state for one in queue.expire_leases(engine, now + 61, 3)] == [State.QUEUED]


@pytest.mark.parametrize("step", [HOUR_S, DAY_S, -DAY_S])
def test_the_period_of_retries_does_not_end_early(engine: sa.Engine, step: float) -> None:
    record(engine)
    rebase(engine, T0 + 2 + step, step, running_s=100)
    now = T0 + 3 + step
    job = queue.claim(engine, Kind.SEGMENT, "w", now, LEASE_S)
    assert job is not None
    assert queue.settle(engine, job, NoResponse("x"), now, Policy(give_up_after_s=60)) is (
        State.QUEUED
    )


def test_a_start_in_1970_claims_what_was_queued_before(engine: sa.Engine) -> None:
    record(engine)
    queue.retry_later(engine, claim(engine), NoResponse("x"), T0 + 60, T0 + 1)
    assert queue.claim(engine, Kind.SEGMENT, "w", BOOT_1970, LEASE_S) is None
    assert rebase(engine, BOOT_1970) > 0
    assert queue.claim(engine, Kind.SEGMENT, "w", BOOT_1970, LEASE_S) is not None
    assert rebase(engine, BOOT_1970 + 1) == 0


def test_a_worker_that_died_before_a_start_in_1970_loses_its_job(engine: sa.Engine) -> None:
    record(engine)
    claim(engine)
    rebase(engine, BOOT_1970)
    assert len(queue.expire_leases(engine, BOOT_1970 + 61, 3)) == 1


def test_retention_begins_when_a_series_ends_whatever_the_clock_said(engine: sa.Engine) -> None:
    record(engine)
    job = claim(engine, now=T0 + 1)
    queue.fail(engine, job, Unsuitable("x"), T0 + 2)
    right = T0 + 50 * 365 * DAY_S
    rebase(engine, right, step_s=right - (T0 + 10), running_s=20)
    (history,) = queue.histories(engine)
    assert history.ended_at == pytest.approx(right - 8)
    rebase(engine, T0 + 20, step_s=T0 + 20 - right, running_s=30)
    (history,) = queue.histories(engine)
    assert history.ended_at == T0 + 20, "a time in the future counts as now"


def test_a_delay_of_the_present_is_left_alone(engine: sa.Engine) -> None:
    record(engine)
    queue.retry_later(engine, claim(engine), NoResponse("x"), T0 + 600, T0 + 1)
    assert rebase(engine, T0 + 2) == 0
    assert queue.claim(engine, Kind.SEGMENT, "w", T0 + 599, LEASE_S) is None


def awaited(engine: sa.Engine) -> Job:
    """Let a delivery await its report until an hour after T0 + 2."""
    record(engine)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 1)
    job = queue.claim(engine, Kind.DELIVER, "w", T0 + 2, LEASE_S, "pacs")
    assert job is not None
    queue.request_commitment(engine, job, "2.25.1", SENT, T0 + 2 + HOUR_S)
    return queue.await_report(engine, job, T0 + 2)


@pytest.mark.parametrize("step", STEPS)
def test_a_report_is_awaited_as_long_as_before(engine: sa.Engine, step: float) -> None:
    awaited(engine)
    now = T0 + 3 + step
    rebase(engine, now, step, running_s=100)
    assert rebase(engine, now) == 0
    due = T0 + 2 + HOUR_S + step
    assert queue.claim(engine, Kind.DELIVER, "w", due - 1, LEASE_S, "pacs") is None
    assert queue.claim(engine, Kind.DELIVER, "w", due, LEASE_S, "pacs") is not None


def test_a_start_in_1970_ends_the_wait_for_a_report(engine: sa.Engine) -> None:
    awaited(engine)
    rebase(engine, BOOT_1970)
    assert queue.claim(engine, Kind.DELIVER, "w", BOOT_1970, LEASE_S, "pacs") is not None
