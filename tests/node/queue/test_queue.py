"""The functions of the queue for workers and housekeeping, on a real database."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from node import queue
from node.errors import Defect, LeaseLost, PeerBusy, Unsuitable
from node.queue import Job
from node.states import ArrivalOutcome, Ending, Kind, State, Transition
from tests.support.rows import (
    LEASE_S,
    SEGMENTED,
    SENT,
    T0,
    a_delivery,
    a_segment_job,
    an_arrival,
    claim,
    event_names,
    record,
)

# -- arrivals


def test_an_arrival_and_its_job_are_recorded_once(engine: sa.Engine) -> None:
    first = queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    again = queue.record_arrival(engine, an_arrival(), a_segment_job(), T0 + 5)
    assert first.is_new
    assert again == (first.arrival_id, first.job_id, False)
    assert len(queue.list_jobs(engine)) == 1
    assert [e.event for e in queue.events_of(engine)] == ["received", "planned", "queued"]


def test_an_arrival_without_a_job_keeps_the_reason(engine: sa.Engine) -> None:
    arrival = an_arrival(
        outcome=ArrivalOutcome.UNSUITABLE,
        code="missing-slice",
        reason="slice 3 is missing",
        advice="Resend.",
    )
    assert queue.record_arrival(engine, arrival, None, T0).job_id is None
    (history,) = queue.histories(engine, study_uid="1.2.3")
    assert history.ending is Ending.UNSUITABLE
    assert history.ended_at == T0
    assert (history.arrival.code, history.arrival.reason) == ("missing-slice", "slice 3 is missing")
    assert queue.events_of(engine)[-1].detail == "slice 3 is missing Resend."


def test_late_images_supersede_a_queued_job(engine: sa.Engine) -> None:
    old, new = record(engine, inputs="a"), record(engine, inputs="b")
    ended = queue.get(engine, old)
    assert (ended.code, ended.reason) == ("superseded", "a newer job was made for the same series")
    assert queue.get(engine, new).state is State.QUEUED
    assert [s.ending for s in queue.histories(engine)] == [Ending.SUPERSEDED, Ending.IN_PROGRESS]


def test_late_images_wait_for_a_running_job(engine: sa.Engine) -> None:
    record(engine, inputs="a")
    running = claim(engine)
    new = record(engine, inputs="b")
    assert queue.claim(engine, Kind.SEGMENT, "other", T0 + 2, LEASE_S) is None
    queue.finish_segment(engine, running, SEGMENTED, [a_delivery()], T0 + 3)
    assert claim(engine, now=T0 + 4).id == new


def test_late_images_without_a_job_leave_the_queued_job_alone(engine: sa.Engine) -> None:
    old = record(engine, inputs="a")
    held = an_arrival(inputs="b", outcome=ArrivalOutcome.HELD, code="conflicting-instances")
    queue.record_arrival(engine, held, None, T0 + 1)
    assert queue.get(engine, old).state is State.QUEUED
    assert [s.ending for s in queue.histories(engine)] == [Ending.IN_PROGRESS, Ending.HELD]


def test_another_series_is_not_superseded(engine: sa.Engine) -> None:
    old = record(engine, series=1)
    record(engine, series=2)
    assert queue.get(engine, old).state is State.QUEUED


def test_the_same_work_of_another_arrival_is_not_queued_again(engine: sa.Engine) -> None:
    job_id = record(engine)
    again = an_arrival(series_key="elsewhere")
    recorded = queue.record_arrival(engine, again, a_segment_job(), T0 + 1)
    assert recorded.is_new
    assert recorded.job_id == job_id
    queue.finish_segment(engine, claim(engine), SEGMENTED, [], T0 + 2)
    assert {s.ending for s in queue.histories(engine)} == {Ending.DELIVERED}


def test_a_decision_without_a_job_can_be_replaced(engine: sa.Engine) -> None:
    no_rule = an_arrival(outcome=ArrivalOutcome.NO_RULE, code="no-rule")
    first = queue.record_arrival(engine, no_rule, None, T0)
    again = queue.replan_arrival(engine, an_arrival(), a_segment_job(), T0 + 9)
    assert again.arrival_id == first.arrival_id
    assert again.job_id is not None
    third = queue.replan_arrival(
        engine, no_rule, None, T0 + 10
    )  # it has a job now: nothing changes
    assert third == (first.arrival_id, again.job_id, False)


# -- claims


def test_a_claim_takes_the_highest_priority_then_the_longest_due(engine: sa.Engine) -> None:
    ids = [record(engine, series, priority=p) for series, p in ((1, 5), (2, 9), (3, 5), (4, 0))]
    taken = [claim(engine, now=T0 + n).id for n in range(1, 5)]
    assert taken == [ids[1], ids[0], ids[2], ids[3]]


def test_a_claim_takes_no_job_before_it_is_due(engine: sa.Engine) -> None:
    record(engine)
    job = claim(engine)
    queue.retry_later(engine, job, PeerBusy("busy"), T0 + 100, T0 + 2)
    assert queue.claim(engine, Kind.SEGMENT, "w", T0 + 99, LEASE_S) is None
    assert claim(engine, now=T0 + 100).attempts == 2


def test_a_claim_takes_only_its_kind_and_its_target(engine: sa.Engine) -> None:
    record(engine)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery("pacs")], T0 + 2)
    assert queue.claim(engine, Kind.SEGMENT, "w", T0 + 3, LEASE_S) is None
    assert queue.claim(engine, Kind.DELIVER, "w", T0 + 3, LEASE_S, "other") is None
    job = queue.claim(engine, Kind.DELIVER, "w", T0 + 3, LEASE_S, "pacs")
    assert job is not None
    assert job.deliver_payload().target == "pacs"


# -- ends


def test_a_segmentation_and_its_deliveries_are_one_transaction(engine: sa.Engine) -> None:
    job_id = record(engine)
    new = [a_delivery("pacs"), a_delivery("viewer")]
    deliveries = queue.finish_segment(engine, claim(engine), SEGMENTED, new, T0 + 2)
    assert [(d.target, d.parent_id, d.state) for d in deliveries] == [
        ("pacs", job_id, State.QUEUED),
        ("viewer", job_id, State.QUEUED),
    ]
    assert queue.targets_with_queued_deliveries(engine) == {"pacs", "viewer"}
    assert event_names(engine, job_id) == ["queued", "claim", "finish"]


def test_a_series_is_delivered_with_its_last_delivery(engine: sa.Engine) -> None:
    record(engine)
    new = [a_delivery("pacs"), a_delivery("viewer")]
    queue.finish_segment(engine, claim(engine), SEGMENTED, new, T0 + 2)
    for now, target in ((T0 + 3, "pacs"), (T0 + 4, "viewer")):
        assert queue.histories(engine)[0].ending is Ending.IN_PROGRESS
        assert queue.histories(engine)[0].ended_at is None
        job = queue.claim(engine, Kind.DELIVER, "s", now, LEASE_S, target)
        assert job is not None
        queue.finish_delivery(engine, job, SENT, now)
    (history,) = queue.histories(engine)
    assert (history.ending, history.ended_at) == (Ending.DELIVERED, T0 + 4)


Act = Callable[[sa.Engine, Job], object]
ACTS: dict[str, Act] = {
    "extend": lambda e, j: queue.extend(e, j, T0 + 50, LEASE_S),
    "finish": lambda e, j: queue.finish_segment(e, j, SEGMENTED, [a_delivery()], T0 + 50),
    "deliver": lambda e, j: queue.finish_delivery(e, j, SENT, T0 + 50),
    "retry": lambda e, j: queue.retry_later(e, j, PeerBusy("x"), T0 + 60, T0 + 50),
    "unsuitable": lambda e, j: queue.end(
        e, j, Transition.MARK_UNSUITABLE, Unsuitable("x"), T0 + 50
    ),
    "fail": lambda e, j: queue.fail(e, j, Defect("x"), T0 + 50),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_worker_that_lost_its_lease_changes_nothing(engine: sa.Engine, act: Act) -> None:
    record(engine)
    slow = claim(engine, "slow")
    queue.expire_leases(engine, T0 + 40, max_attempts=3)
    fast = claim(engine, "fast", now=T0 + 41)
    with pytest.raises(LeaseLost):
        act(engine, slow)
    assert queue.get(engine, fast.id) == fast


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_an_earlier_claim_of_the_same_worker_changes_nothing(engine: sa.Engine, act: Act) -> None:
    job_id = record(engine)
    before = claim(engine)
    queue.fail(engine, before, Defect("x"), T0 + 2)
    queue.requeue(engine, job_id, T0 + 3)
    now = claim(engine, now=T0 + 4)
    assert (now.worker, now.attempts) == (before.worker, before.attempts)
    with pytest.raises(LeaseLost):
        act(engine, before)
    assert queue.get(engine, job_id) == now


def test_an_extended_lease_does_not_expire(engine: sa.Engine) -> None:
    record(engine)
    job = claim(engine)
    queue.extend(engine, job, T0 + 25, LEASE_S)
    assert queue.expire_leases(engine, T0 + 54, max_attempts=3) == []
    assert [j.state for j in queue.expire_leases(engine, T0 + 56, 3)] == [State.QUEUED]


def test_expired_leases_use_up_the_attempts(engine: sa.Engine) -> None:
    job_id = record(engine)
    states, now = [], T0
    for _ in range(3):
        claim(engine, now=now)
        states += [job.state for job in queue.expire_leases(engine, now + 31, max_attempts=3)]
        now += 40
    assert states == [State.QUEUED, State.QUEUED, State.FAILED]
    assert queue.get(engine, job_id).code == "lease-lost"


def test_expired_leases_never_fail_a_delivery(engine: sa.Engine) -> None:
    record(engine)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0)
    for n in range(5):
        assert queue.claim(engine, Kind.DELIVER, "s", T0 + 40 * n, LEASE_S, "pacs")
        (job,) = queue.expire_leases(engine, T0 + 40 * n + 31, max_attempts=3)
        assert job.state is State.QUEUED


def test_a_target_that_confirmed_by_query_answers_queries(engine: sa.Engine) -> None:
    record(engine)
    job = claim(engine)
    queue.finish_segment(engine, job, SEGMENTED, [a_delivery("pacs"), a_delivery("viewer")], T0)
    assert not queue.has_answered_queries(engine, "pacs")
    unconfirmed = queue.DeliverResult(status="SUCCESS", note="the target answers no queries")
    for target, result in (("pacs", SENT), ("viewer", unconfirmed)):
        delivery = queue.claim(engine, Kind.DELIVER, "s", T0 + 1, LEASE_S, target)
        assert delivery is not None
        queue.finish_delivery(engine, delivery, result, T0 + 2)
    assert queue.has_answered_queries(engine, "pacs")
    assert not queue.has_answered_queries(engine, "viewer")
