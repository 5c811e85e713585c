"""Jobs and deliveries that newer images of a series supersede, and those that they do not."""

import pytest
import sqlalchemy as sa

from node import queue
from node.errors import PeerBusy
from node.queue import AlreadySuperseded, Job, Policy
from node.states import Ending, Kind, State
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

POLICY = Policy(give_up_after_s=86_400.0)


def record_in_study(engine: sa.Engine, study: str) -> int:
    """Record series 1.2.3.1 as part of `study`: some devices reuse series UIDs."""
    arrival = an_arrival(study_uid=study, series_key=study, inputs_digest=study)
    job = queue.record_arrival(engine, arrival, a_segment_job(inputs=study), T0).job_id
    assert job is not None
    return job


def segment(engine: sa.Engine, now: float, *targets: str) -> list[Job]:
    """Finish the next segmentation with a delivery for each target."""
    new = [a_delivery(target) for target in targets]
    return queue.finish_segment(engine, claim(engine, now=now), SEGMENTED, new, now)


def sent_from(engine: sa.Engine, now: float, target: str = "pacs") -> Job | None:
    return queue.claim(engine, Kind.DELIVER, "s", now, LEASE_S, target)


def one_in_the_works(engine: sa.Engine) -> tuple[Job, Job]:
    """Return a running delivery, and the queued delivery of a newer result."""
    record(engine, inputs="a")
    segment(engine, T0 + 1, "pacs")
    held = sent_from(engine, T0 + 2)
    assert held is not None
    record(engine, inputs="b")
    (newer,) = segment(engine, T0 + 3, "pacs")
    return held, newer


# -- another study with the same series UID


def test_the_same_series_uid_in_another_study_is_not_superseded(engine: sa.Engine) -> None:
    one, other = record_in_study(engine, "1.2.3"), record_in_study(engine, "1.2.4")
    assert [queue.get(engine, job).state for job in (one, other)] == [State.QUEUED] * 2
    assert {claim(engine, "v").id, claim(engine, "w").id} == {one, other}, "both may run at once"


def test_a_delivery_of_another_study_is_not_superseded(engine: sa.Engine) -> None:
    record_in_study(engine, "1.2.3")
    (one,) = segment(engine, T0 + 1, "pacs")
    record_in_study(engine, "1.2.4")
    (other,) = segment(engine, T0 + 2, "pacs")
    assert {queue.get(engine, job.id).state for job in (one, other)} == {State.QUEUED}


# -- a result of fewer images must not be sent after that of all images


def test_a_newer_result_supersedes_a_queued_delivery(
    engine: sa.Engine,
) -> None:
    record(engine, inputs="a")
    (partial,) = segment(engine, T0 + 1, "pacs")
    held = sent_from(engine, T0 + 2)
    assert held is not None
    queue.settle(engine, held, PeerBusy("x"), T0 + 3, POLICY)  # the archive is down: back-off
    record(engine, inputs="b")
    assert queue.get(engine, partial.id).state is State.QUEUED, "nothing newer is there yet"
    (whole,) = segment(engine, T0 + 4, "pacs")
    ended = queue.get(engine, partial.id)
    assert (ended.state, ended.code) == (State.SUPERSEDED, "superseded")
    assert "newer" in ended.reason
    assert event_names(engine, partial.id)[-1] == "supersede"
    next_one = sent_from(engine, T0 + 1000)
    assert next_one is not None
    assert next_one.id == whole.id
    queue.finish_delivery(engine, next_one, SENT, T0 + 1001)
    assert sent_from(engine, T0 + 5000) is None
    assert [s.ending for s in queue.histories(engine)] == [Ending.SUPERSEDED, Ending.DELIVERED]


def test_a_result_for_another_target_supersedes_nothing(engine: sa.Engine) -> None:
    record(engine, inputs="a")
    older = segment(engine, T0 + 1, "pacs", "viewer")
    record(engine, inputs="b")
    segment(engine, T0 + 2, "pacs")
    states = {job.target: queue.get(engine, job.id).state for job in older}
    assert states == {"pacs": State.SUPERSEDED, "viewer": State.QUEUED}


def test_a_running_delivery_is_superseded_instead_of_retried(
    engine: sa.Engine,
) -> None:
    held, _ = one_in_the_works(engine)
    assert queue.get(engine, held.id).state is State.RUNNING
    assert queue.settle(engine, held, PeerBusy("x"), T0 + 4, POLICY) is State.SUPERSEDED
    assert queue.get(engine, held.id).code == "superseded"


def test_a_delivery_with_an_expired_lease_is_superseded(engine: sa.Engine) -> None:
    held, _ = one_in_the_works(engine)
    (ended,) = queue.expire_leases(engine, T0 + 100, 3)
    assert (ended.id, ended.state, ended.code) == (held.id, State.SUPERSEDED, "superseded")


def test_a_failed_newer_delivery_supersedes_nothing(
    engine: sa.Engine,
) -> None:
    held, waiting = one_in_the_works(engine)
    newer = sent_from(engine, T0 + 4)
    assert newer is not None
    assert newer.id == waiting.id
    queue.fail(engine, newer, PeerBusy("x"), T0 + 5)
    assert queue.settle(engine, held, PeerBusy("x"), T0 + 6, POLICY) is State.QUEUED


def test_an_older_result_never_supersedes_a_newer_one(engine: sa.Engine) -> None:
    first = record(engine, inputs="a")
    queue.fail(engine, claim(engine), PeerBusy("x"), T0 + 1)
    record(engine, inputs="b")
    (newer,) = segment(engine, T0 + 2, "pacs")
    queue.requeue(engine, first, T0 + 3)
    segment(engine, T0 + 4, "pacs")
    assert queue.get(engine, newer.id).state is State.QUEUED


def test_an_older_result_that_is_made_later_is_superseded(engine: sa.Engine) -> None:
    first = record(engine, inputs="a")
    queue.fail(engine, claim(engine), PeerBusy("x"), T0 + 1)
    record(engine, inputs="b")
    segment(engine, T0 + 2, "pacs")
    queue.requeue(engine, first, T0 + 3)
    older = {job.target: job for job in segment(engine, T0 + 4, "pacs", "viewer")}
    assert (older["pacs"].state, older["pacs"].code) == (State.SUPERSEDED, "superseded")
    assert older["viewer"].state is State.QUEUED, "nothing newer goes there"


def test_a_superseded_delivery_cannot_be_requeued(engine: sa.Engine) -> None:
    record(engine, inputs="a")
    (older,) = segment(engine, T0 + 1, "pacs")
    record(engine, inputs="b")
    segment(engine, T0 + 2, "pacs")
    with pytest.raises(AlreadySuperseded, match="newer result"):
        queue.requeue(engine, older.id, T0 + 3)


def test_a_requeued_newer_delivery_supersedes_the_older_one(engine: sa.Engine) -> None:
    held, newer = one_in_the_works(engine)
    queue.cancel(engine, newer.id, T0 + 4)
    assert queue.settle(engine, held, PeerBusy("x"), T0 + 5, POLICY) is State.QUEUED
    queue.requeue(engine, newer.id, T0 + 6)
    assert queue.get(engine, held.id).code == "superseded"
