"""The facts that conditions need, from rows of a real database."""

import sqlalchemy as sa

from node import queue
from node.errors import NodeError, PeerUnreachable, RefusedByTarget, TimedOut
from node.queue import Facts, Policy
from node.states import ArrivalOutcome, Kind
from tests.support.rows import SEGMENTED, SENT, T0, a_delivery, an_arrival, claim, record

KEEP_S = 14 * 86400.0
POLICY = Policy(give_up_after_s=3600.0)


def facts(engine: sa.Engine, now: float = T0 + 1000) -> Facts:
    return queue.facts(engine, ["pacs", "other"], now, KEEP_S)


def segmented(engine: sa.Engine, series: int, target: str = "pacs") -> None:
    record(engine, series)
    queue.finish_segment(
        engine, claim(engine), SEGMENTED, [a_delivery(target, sop_instance_uid=f"1.2.9.{series}")],
        T0 + 2,
    )  # fmt: skip


def attempt(
    engine: sa.Engine, error: NodeError | None, now: float, target: str = "pacs"
) -> queue.Job:
    """Claim the next delivery and end its attempt with an error or with success."""
    job = queue.claim(engine, Kind.DELIVER, "s", now, 30.0, target)
    assert job is not None
    if error is None:
        queue.finish_delivery(engine, job, SENT, now)
    else:
        queue.settle(engine, job, error, now, POLICY)
    return job


def test_an_empty_database_has_no_facts(engine: sa.Engine) -> None:
    assert facts(engine) == Facts(
        troubles=(), failed=(), held=0, held_since=None, segment_queued_since=None, callers=(),
        pauses=(),
        runs=(), clock_step_at=None, clock_step="",
    )  # fmt: skip


def test_refusals_count_since_the_last_success_of_their_target(engine: sa.Engine) -> None:
    for series in (1, 2, 3, 4):
        segmented(engine, series)
    segmented(engine, 5, "other")
    refused = RefusedByTarget("pacs refuses", advice="Register it.")
    attempt(engine, refused, T0 + 10)
    attempt(engine, None, T0 + 20)
    assert facts(engine).troubles == ()
    attempt(engine, refused, T0 + 30)
    attempt(engine, refused, T0 + 40)
    attempt(engine, None, T0 + 50, "other")
    (trouble,) = facts(engine).troubles
    assert (trouble.target, trouble.code, trouble.is_over) == ("pacs", refused.code, True)
    assert (trouble.count, trouble.since) == (2, T0 + 30)
    assert (trouble.reason, trouble.advice) == ("pacs refuses", "Register it.")


def test_deliveries_that_are_retried_are_a_trouble_also_while_they_run(engine: sa.Engine) -> None:
    segmented(engine, 1)
    job = attempt(engine, PeerUnreachable("no answer"), T0 + 10)
    for _ in range(2):
        (trouble,) = facts(engine).troubles
        assert (trouble.code, trouble.is_over, trouble.since) == (
            PeerUnreachable.code, False, job.queued_at
        )  # fmt: skip
        queue.claim(engine, Kind.DELIVER, "s", T0 + 100, 30.0, "pacs")


def test_failed_jobs_count_until_a_later_job_of_their_series(engine: sa.Engine) -> None:
    record(engine)
    queue.settle(engine, claim(engine), TimedOut("too long", advice="Wait."), T0 + 5, POLICY)
    (failed,) = facts(engine).failed
    assert (failed.kind, failed.code, failed.count, failed.since) == (
        Kind.SEGMENT, TimedOut.code, 1, T0 + 5
    )  # fmt: skip
    assert (failed.reason, failed.advice) == ("too long", "Wait.")
    assert facts(engine, T0 + 4 * 86400).failed == ()
    record(engine, inputs="b")  # later images of the same series
    assert facts(engine).failed == ()


def test_a_held_series_counts_until_it_is_decided_again(engine: sa.Engine) -> None:
    held = an_arrival(outcome=ArrivalOutcome.HELD, code="conflicting-instances", reason="two")
    queue.record_arrival(engine, held, None, T0)
    assert (facts(engine).held, facts(engine).held_since) == (1, T0)
    assert facts(engine, T0 + KEEP_S + 1).held == 0, "its images are deleted"
    record(engine, inputs="b")
    assert facts(engine).held == 0


def test_the_segmentation_that_waits_longest_gives_the_time(engine: sa.Engine) -> None:
    record(engine)
    assert facts(engine).segment_queued_since == T0
    claim(engine)
    assert facts(engine).segment_queued_since is None


def test_a_caller_has_hours_with_first_and_last_reception(engine: sa.Engine) -> None:
    hour = 3600 * (T0 // 3600)
    for number, at in enumerate((hour + 10, hour + 70, hour + 7300)):
        one = an_arrival(number, outcome=ArrivalOutcome.NO_RULE, code="no-rule", last_at=at)
        queue.record_arrival(engine, one, None, T0)
    (caller,) = facts(engine, T0 + 86400).callers
    assert (caller.caller, caller.series) == ("SCANNER", 3)
    assert [hours for hours in caller.hours if hours[0] < hours[1]] in (
        [(hour + 10, hour + 70)], []
    )  # fmt: skip
    assert caller.hours[0][0] == hour + 10
    assert caller.hours[-1][1] == hour + 7300


def test_a_step_of_the_clock_is_known_for_a_day(engine: sa.Engine) -> None:
    queue.add_note(engine, queue.CLOCK_STEP, "by -3600 s", T0)
    assert facts(engine).clock_step_at == T0
    assert facts(engine).clock_step == "by -3600 s"
    assert facts(engine, T0 + 86401).clock_step_at is None
