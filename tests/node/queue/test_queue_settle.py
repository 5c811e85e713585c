"""The table from the class of an error to the transition of its job."""

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from node import errors, queue, schema
from node.errors import NodeError
from node.queue import Job, Policy
from node.states import Kind, State, Transition
from tests.support.rows import T0, a_segment_job, an_arrival

POLICY = Policy(give_up_after_s=3600.0)


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return schema.open_database(tmp_path / "a.sqlite")


@pytest.fixture
def job(engine: sa.Engine) -> Job:
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    claimed = queue.claim(engine, Kind.SEGMENT, "w", T0, 30.0)
    assert claimed is not None
    return claimed


FAIL, RETRY, UNSUITABLE = Transition.FAIL, Transition.RETRY, Transition.MARK_UNSUITABLE
TABLE = {
    errors.NodeError: FAIL,
    errors.Misconfigured: FAIL,
    errors.BadPackage: FAIL,
    errors.Unsuitable: UNSUITABLE,
    errors.MissingSlice: UNSUITABLE,
    errors.OutsideModelRange: UNSUITABLE,
    errors.Superseded: Transition.SUPERSEDE,
    errors.Cancelled: Transition.CANCEL,
    errors.Transient: RETRY,
    errors.PeerUnreachable: RETRY,
    errors.NoResponse: RETRY,
    errors.PeerBusy: RETRY,
    errors.NotConfirmed: RETRY,
    errors.DiskLow: RETRY,
    errors.LeaseLost: Transition.EXPIRE,
    errors.RefusedByTarget: FAIL,
    errors.Defect: FAIL,
    errors.ChildKilled: RETRY,  # once: see below
    errors.TimedOut: FAIL,
    errors.OutOfMemory: FAIL,
    errors.VerificationFailed: FAIL,
}


@pytest.mark.parametrize(
    ("kind", "transition"), TABLE.items(), ids=lambda x: getattr(x, "__name__", x)
)
def test_the_class_of_an_error_decides(
    job: Job, kind: type[NodeError], transition: Transition
) -> None:
    assert queue.decide(job, kind("x"), T0, POLICY).transition is transition


@pytest.mark.parametrize("kind", errors.by_code().values(), ids=lambda kind: kind.__name__)
def test_every_known_error_has_a_transition(job: Job, kind: type[NodeError]) -> None:
    transition = queue.decide(job, kind("x"), T0, POLICY).transition
    by_class = {
        errors.LeaseLost: Transition.EXPIRE,
        errors.Unsuitable: UNSUITABLE,
        errors.Superseded: Transition.SUPERSEDE,
        errors.Cancelled: Transition.CANCEL,
        errors.Transient: RETRY,
        errors.ChildKilled: RETRY,
    }
    assert transition is next((a for base, a in by_class.items() if issubclass(kind, base)), FAIL)


def test_a_killed_child_gets_one_more_attempt(job: Job) -> None:
    killed = errors.ChildKilled("signal 9")
    assert queue.decide(replace(job, attempts=1), killed, T0, POLICY).transition is RETRY
    assert queue.decide(replace(job, attempts=2), killed, T0, POLICY).transition is FAIL


def test_transient_errors_fail_after_the_retry_period(job: Job) -> None:
    busy = errors.PeerBusy("x")
    assert queue.decide(job, busy, T0 + 3500, POLICY).transition is RETRY
    assert queue.decide(job, busy, T0 + 3599, POLICY).transition is FAIL
    again = replace(job, queued_at=T0 + 3599)  # an operator gave it a fresh start
    assert queue.decide(again, busy, T0 + 3599, POLICY).transition is RETRY


def test_delays_double_up_to_a_limit_with_a_steady_jitter(job: Job) -> None:
    delays = [queue.backoff_s(replace(job, attempts=n), POLICY) for n in range(1, 40)]
    for n, delay in enumerate(delays):
        middle = min(5.0 * 2**n, 600.0)
        assert 0.79 * middle < delay < 1.21 * middle
    assert delays == [queue.backoff_s(replace(job, attempts=n), POLICY) for n in range(1, 40)]
    others = {queue.backoff_s(replace(job, dedup_key=str(n)), POLICY) for n in range(50)}
    assert len(others) > 30


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (errors.GantryTilt("tilted by 12 degrees"), State.UNSUITABLE, "gantry-tilt"),
        (errors.DiskLow("full"), State.QUEUED, "disk-low"),
        (errors.BadPackage("altered"), State.FAILED, "bad-package"),
        (ZeroDivisionError("CANARY^NAME"), State.FAILED, "defect"),
    ],
)
def test_settling_keeps_the_reason(
    engine: sa.Engine, job: Job, error: Exception, state: State, code: str
) -> None:
    assert queue.settle(engine, job, error, T0 + 1, POLICY) is state
    settled = queue.get(engine, job.id)
    assert (settled.state, settled.code) == (state, code)
    assert (settled.not_before > T0 + 1) == (state is State.QUEUED)
    assert "CANARY" not in repr((settled, queue.events_of(engine)))


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(errors.LeaseLost("x"), 1), (errors.PeerBusy("x"), 1), (errors.Defect("x"), 2)],
)
def test_settling_what_another_worker_holds_uncounts_an_attempt_at_most(
    engine: sa.Engine, job: Job, error: errors.NodeError, attempts: int
) -> None:
    queue.expire_leases(engine, T0 + 40, 3)
    other = queue.claim(engine, Kind.SEGMENT, "other", T0 + 41, 30.0)
    assert other is not None
    assert queue.settle(engine, job, error, T0 + 42, POLICY) is None
    assert queue.get(engine, job.id) == replace(other, attempts=attempts)


def test_an_unexpected_error_keeps_its_place_but_not_its_text() -> None:
    try:
        int("CANARY^NAME")
    except ValueError as exc:
        error = queue.as_node_error(exc)
    assert error.code == "defect"
    assert error.message.startswith("unexpected ValueError at test_queue_settle.py:")
    known = errors.PeerBusy("x")
    assert queue.as_node_error(known) is known


def test_transient_errors_of_a_segmentation_use_up_no_attempt(engine: sa.Engine, job: Job) -> None:
    now, delays = T0, []
    for _ in range(6):
        assert queue.settle(engine, job, errors.DiskLow("full"), now, POLICY) is State.QUEUED
        left = queue.get(engine, job.id)
        assert left.attempts == 0
        delays.append(left.not_before - now)
        now = left.not_before
        again = queue.claim(engine, Kind.SEGMENT, "w", now, 30.0)
        assert again is not None
        job = again
    assert delays[-1] > 4 * delays[0]
    assert queue.settle(engine, job, errors.ChildKilled("signal 9"), now, POLICY) is State.QUEUED
    assert queue.get(engine, job.id).attempts == 1


def test_a_worker_that_comes_back_after_its_lease_returns_the_attempt(
    engine: sa.Engine, job: Job
) -> None:
    queue.expire_leases(engine, T0 + 40, 3)
    assert queue.get(engine, job.id).attempts == 1
    assert queue.settle(engine, job, errors.DatabaseBusy("x"), T0 + 41, POLICY) is None
    assert queue.get(engine, job.id).attempts == 0
    assert queue.settle(engine, job, errors.ChildKilled("x"), T0 + 42, POLICY) is None
    assert queue.get(engine, job.id).attempts == 0, "a death is counted by the lease that ran out"


def test_renewed_leases_do_not_expire(engine: sa.Engine, job: Job) -> None:
    queue.renew_leases(engine, T0 + 130)
    assert queue.expire_leases(engine, T0 + 100, 1) == []
    queue.extend(engine, job, T0 + 100, 30.0)
    assert [one.state for one in queue.expire_leases(engine, T0 + 131, 1)] == [State.FAILED]
