"""What needs a person: each condition from a snapshot, and nothing from a healthy one."""

from dataclasses import replace
from typing import Any

import pytest

from node.conditions import ConditionCode, conditions, duration
from node.conditions.derive import LEAST_HISTORY_S, QUEUE_OLD_S, usual_pause_s
from node.conditions.targets import DELAYED_S
from node.errors import BadPackage, NotConfirmed, PeerUnreachable, RefusedByTarget, TimedOut
from node.queue import CallerHours, FailedJobs, TargetTrouble
from node.states import Kind
from node.status import PackageProblem, Process, Snapshot, TlsState
from node.tls import Lifetime
from tests.support.rows import T0
from tests.support.snapshots import NO_FACTS, healthy

DAY_S, HOUR_S = 86400.0, 3600.0


def with_facts(**changes: Any) -> Snapshot:
    return replace(healthy(), facts=replace(NO_FACTS, **changes))


def trouble(code: str, *, is_over: bool, since: float = T0 - 600) -> TargetTrouble:
    return TargetTrouble(
        target="pacs", code=code, is_over=is_over, count=2, since=since, reason="why", advice="Do."
    )


def failed(kind: Kind, code: str, newest: int = 7) -> FailedJobs:
    return FailedJobs(
        kind=kind, target="pacs" if kind is Kind.DELIVER else "", code=code, count=3,
        since=T0 - 60, newest=newest, reason="why", advice="Do.",
    )  # fmt: skip


def keys(snapshot: Snapshot) -> list[str]:
    return [condition.key for condition in conditions(snapshot)]


def test_a_healthy_node_has_no_condition() -> None:
    assert conditions(healthy()) == ()


def test_a_loop_that_does_not_run() -> None:
    snapshot = replace(
        healthy(),
        processes=(Process("sender", alive=False, last_seen_s=100.0), Process("x", True, 1.0)),
    )
    (condition,) = conditions(snapshot)
    assert (condition.key, condition.since) == ("loop-down sender", T0 - 100)


def test_a_certificate_that_ends_and_files_that_cannot_be_used() -> None:
    now = Lifetime("first", T0, is_ending=True, is_over=True, text="ended")
    later = Lifetime("second", T0 + 9, is_ending=False, is_over=False, text="ends")
    (condition,) = conditions(replace(healthy(), tls=TlsState((now, later))))
    assert (condition.key, condition.since) == ("certificate-ends first", T0)
    (condition,) = conditions(replace(healthy(), tls=TlsState(problem="why", advice="Do.")))
    assert (condition.key, condition.advice) == ("tls-unusable", "Do.")


def test_a_low_disk() -> None:
    snapshot = replace(healthy(), accepting=False, shortage="3 MiB are free, 10 MiB are required")
    (condition,) = conditions(snapshot)
    assert condition.code is ConditionCode.DISK_LOW
    assert "3 MiB" in condition.text


def test_a_package_that_is_not_installed() -> None:
    snapshot = replace(healthy(), package_problems=(PackageProblem("liver-ct", "it is missing"),))
    assert keys(snapshot) == ["package-bad liver-ct"]


def test_a_target_that_refuses_every_result_is_named_once() -> None:
    refusals = failed(Kind.DELIVER, RefusedByTarget.code)
    snapshot = with_facts(
        troubles=(trouble(RefusedByTarget.code, is_over=True),), failed=(refusals,)
    )
    (condition,) = conditions(snapshot)
    assert (condition.key, condition.since) == ("target-refuses pacs", T0 - 600)
    assert condition.advice.startswith("Do.")


def test_a_refusal_before_a_success_is_a_failed_job() -> None:
    assert keys(with_facts(failed=(failed(Kind.DELIVER, RefusedByTarget.code),))) == ["jobs-failed"]


@pytest.mark.parametrize("is_over", [False, True])
def test_a_target_that_does_not_answer(is_over: bool) -> None:
    snapshot = with_facts(troubles=(trouble(PeerUnreachable.code, is_over=is_over),))
    assert keys(snapshot) == ["target-silent pacs"]


def test_a_short_silence_of_a_target_is_no_condition() -> None:
    recent = trouble(PeerUnreachable.code, is_over=False, since=T0 - DELAYED_S)
    assert keys(with_facts(troubles=(recent,))) == []


def test_a_target_that_confirms_nothing() -> None:
    snapshot = with_facts(troubles=(trouble(NotConfirmed.code, is_over=False),))
    assert keys(snapshot) == ["target-delays pacs"]


def test_failed_jobs_name_the_newest() -> None:
    snapshot = with_facts(
        failed=(failed(Kind.SEGMENT, TimedOut.code, 9), failed(Kind.DELIVER, "defect", 8))
    )
    (condition,) = conditions(snapshot)
    assert condition.code is ConditionCode.JOBS_FAILED
    assert "job 9" in condition.text
    assert "jobs retry 9" in condition.advice


def test_a_job_that_found_a_bad_package() -> None:
    assert keys(with_facts(failed=(failed(Kind.SEGMENT, BadPackage.code),))) == ["package-bad"]


def test_held_series() -> None:
    (condition,) = conditions(with_facts(held=1, held_since=T0 - 5))
    assert (condition.key, condition.since) == ("series-held", T0 - 5)


@pytest.mark.parametrize(("waits_s", "expected"), [(1.0, ["queue-old"]), (0.0, [])])
def test_an_old_queue(waits_s: float, expected: list[str]) -> None:
    assert keys(with_facts(segment_queued_since=T0 - QUEUE_OLD_S - waits_s)) == expected


def daily(days: int, last: float) -> CallerHours:
    """Return a caller that sent from 8 to 17 h on each of so many days before `last`."""
    starts = [last - day * DAY_S - hour * HOUR_S for day in range(days) for hour in range(9)]
    return CallerHours(
        caller="CT01", series=len(starts), hours=tuple((at - 60, at) for at in sorted(starts))
    )


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (daily(20, T0 - 10 * HOUR_S), []),  # the night is usual
        (daily(20, T0 - 30 * HOUR_S), ["source-quiet CT01"]),
        (daily(5, T0 - 30 * HOUR_S), []),  # too few days for a habit
        (CallerHours(caller="A", series=2, hours=((T0 - 20 * DAY_S, T0 - 20 * DAY_S),)), []),
    ],
)
def test_a_caller_is_quiet_only_against_its_habit(caller: CallerHours, expected: list[str]) -> None:
    assert keys(with_facts(callers=(caller,))) == expected


def test_the_longest_pause_includes_weekends() -> None:
    week = [hours for hours in daily(28, T0).hours if int(hours[0] // DAY_S) % 7 not in (2, 3)]
    caller = CallerHours(caller="CT01", series=1, hours=tuple(week))
    pause_s = usual_pause_s(caller, T0)
    assert pause_s is not None
    assert 2 * DAY_S < pause_s < 3 * DAY_S
    assert LEAST_HISTORY_S >= 2 * 7 * DAY_S


def test_a_step_of_the_clock() -> None:
    (condition,) = conditions(with_facts(clock_step_at=T0 - 9, clock_step="by +60 s: it was set"))
    assert (condition.key, condition.since) == ("clock-stepped", T0 - 9)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "0 s"), (5.0, "5 s"), (150.0, "2 min"), (7300.0, "2 h"), (200000.0, "2 days")],
)
def test_a_duration_has_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
