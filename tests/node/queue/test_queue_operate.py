"""Transitions that an operator may request, and those that are refused."""

import pytest
import sqlalchemy as sa

from node import queue
from node.errors import Cancelled, Defect, PeerBusy, RefusedByTarget
from node.queue import NoSuchJob, Policy, SameWork
from node.states import ArrivalOutcome, IllegalTransition, Kind, State
from tests.support.rows import (
    LEASE_S,
    SEGMENTED,
    T0,
    a_delivery,
    a_segment_job,
    an_arrival,
    claim,
    event_names,
    record,
)

POLICY = Policy(give_up_after_s=3600.0)

# -- operators


def test_a_failed_job_can_be_requeued(engine: sa.Engine) -> None:
    job_id = record(engine)
    queue.fail(engine, claim(engine), RefusedByTarget("no"), T0 + 2)
    job = queue.requeue(engine, job_id, T0 + 500)
    assert (job.state, job.attempts, job.queued_at, job.code) == (State.QUEUED, 0, T0 + 500, "")
    assert event_names(engine, job_id)[-1] == "requeue"


def test_a_queued_or_done_job_cannot_be_requeued(engine: sa.Engine) -> None:
    job_id = record(engine)
    with pytest.raises(IllegalTransition, match="queued cannot requeue"):
        queue.requeue(engine, job_id, T0)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [], T0 + 2)
    with pytest.raises(IllegalTransition, match="done"):
        queue.requeue(engine, job_id, T0)
    with pytest.raises(NoSuchJob, match="no job 99"):
        queue.requeue(engine, 99, T0)


def test_work_of_another_queued_job_cannot_be_requeued(engine: sa.Engine) -> None:
    old = record(engine)
    queue.fail(engine, claim(engine), Defect("x"), T0 + 2)
    queue.record_arrival(engine, an_arrival(series_key="elsewhere"), a_segment_job(), T0 + 3)
    with pytest.raises(SameWork):
        queue.requeue(engine, old, T0 + 4)


def test_a_queued_job_is_cancelled_at_once(engine: sa.Engine) -> None:
    job = queue.cancel(engine, record(engine), T0 + 1)
    assert (job.state, job.code) == (State.CANCELLED, "cancelled")
    with pytest.raises(IllegalTransition, match="cancelled cannot cancel"):
        queue.cancel(engine, job.id, T0 + 2)
    with pytest.raises(NoSuchJob):
        queue.cancel(engine, 99, T0)


def test_extending_reports_a_cancellation(engine: sa.Engine) -> None:
    job_id = record(engine)
    job = claim(engine)
    assert queue.cancel(engine, job_id, T0 + 2).state is State.RUNNING
    with pytest.raises(Cancelled) as caught:
        queue.extend(engine, job, T0 + 3, LEASE_S)
    assert queue.settle(engine, job, caught.value, T0 + 3, POLICY) is State.CANCELLED
    ended = queue.get(engine, job_id)
    assert (ended.code, ended.cancel_at) == ("cancelled", None)


def test_a_cancelled_job_is_not_retried(engine: sa.Engine) -> None:
    for series, leave in enumerate(("retry", "silence"), start=1):
        job_id = record(engine, series)
        job = claim(engine)
        queue.cancel(engine, job_id, T0 + 2)
        if leave == "retry":
            queue.retry_later(engine, job, PeerBusy("x"), T0 + 9, T0 + 3)
        else:
            queue.expire_leases(engine, T0 + 40, 3)
        ended = queue.get(engine, job_id)
        assert (ended.state, ended.code) == (State.CANCELLED, "cancelled")


# -- reading and upkeep


def test_counts_name_every_kind_and_state(engine: sa.Engine) -> None:
    record(engine, 1)
    record(engine, 2)
    claim(engine)
    counts = queue.counts(engine)
    assert len(counts) == len(Kind) * len(State)
    assert counts[Kind.SEGMENT, State.QUEUED] == counts[Kind.SEGMENT, State.RUNNING] == 1
    assert queue.oldest_queued_at(engine, Kind.SEGMENT) == T0
    assert queue.oldest_queued_at(engine, Kind.DELIVER) is None


def test_jobs_are_listed_newest_first_and_filtered(engine: sa.Engine) -> None:
    ids = [record(engine, n) for n in (1, 2, 3)]
    assert [job.id for job in queue.list_jobs(engine)] == ids[::-1]
    assert len(queue.list_jobs(engine, limit=2)) == 2
    assert queue.list_jobs(engine, kind=Kind.DELIVER) == []
    assert queue.list_jobs(engine, state=State.DONE) == []
    assert len(queue.list_jobs(engine, study_uid="1.2.3")) == 3
    with pytest.raises(NoSuchJob):
        queue.get(engine, 99)


def test_a_heartbeat_replaces_the_last_one(engine: sa.Engine) -> None:
    queue.heartbeat(engine, "sender", 1, T0, "idle")
    queue.heartbeat(engine, "sender", 2, T0 + 1)
    (beat,) = queue.beats(engine)
    assert (beat.pid, beat.at, beat.detail) == (2, T0 + 1, "")


def test_a_note_joins_the_history(engine: sa.Engine) -> None:
    record(engine)
    queue.add_note(engine, "pruned", "12 images", T0 + 9, study_uid="1.2.3", series_uid="1.2.3.1")
    assert queue.events_of(engine, study_uid="1.2.3")[-1].event == "pruned"


def test_only_arrivals_that_ended_are_purged(engine: sa.Engine) -> None:
    record(engine, 1)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0)
    record(engine, 2)
    queue.fail(engine, claim(engine), Defect("x"), T0)
    refused = an_arrival(3, outcome=ArrivalOutcome.UNSUITABLE, code="x")
    queue.record_arrival(engine, refused, None, T0)
    assert queue.purge_arrivals(engine, T0, T0) == 0
    assert queue.purge_arrivals(engine, T0 + 1, T0 + 1) == 2
    assert [s.arrival.series_key for s in queue.histories(engine)] == ["series-1"]  # not delivered
    assert {event.arrival_id for event in queue.events_of(engine)} == {1}


def test_an_arrival_whose_job_another_uses_is_purged_after_it(engine: sa.Engine) -> None:
    record(engine)
    again = an_arrival(series_key="elsewhere")
    queue.record_arrival(engine, again, a_segment_job(), T0 + 50)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [], T0 + 60)
    assert queue.purge_arrivals(engine, T0 + 1, T0 + 1) == 0
    assert queue.purge_arrivals(engine, T0 + 90, T0 + 90) == 1
    assert queue.purge_arrivals(engine, T0 + 90, T0 + 90) == 1
    assert queue.list_jobs(engine) == []


def test_notes_without_an_arrival_are_purged_by_age(engine: sa.Engine) -> None:
    for number in range(5):
        queue.add_note(engine, "rejected-association", "STRANGER may not send", T0 + number)
    queue.add_note(engine, "rejected-instance", "truncated", T0, study_uid="1.2.9")
    assert queue.purge_notes(engine, T0) == 0
    assert queue.purge_notes(engine, T0 + 3, limit=2) == 2
    assert queue.purge_notes(engine, T0 + 3) == 2
    assert [event.at for event in queue.notes(engine)] == [T0 + 3, T0 + 4]


def test_a_note_about_a_study_is_purged_with_its_arrivals(engine: sa.Engine) -> None:
    record(engine)
    queue.add_note(engine, "rejected-instance", "truncated", T0 - 5, study_uid="1.2.3")
    assert queue.purge_notes(engine, T0 + 9) == 0, "its job waits"
    queue.fail(engine, claim(engine), Defect("x"), T0 + 2)
    assert queue.purge_arrivals(engine, T0 + 9, T0 + 9) == 1
    assert queue.purge_notes(engine, T0 + 9) == 1
    assert queue.events_of(engine) == []
