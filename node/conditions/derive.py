"""Derive what needs a person from a snapshot of the node: one list for every view of it.

The function is pure: the same snapshot gives the same conditions. No text holds a UID or patient
data.
"""

from collections.abc import Iterator
from itertools import pairwise

from node.conditions import encryption, targets
from node.conditions.condition import Condition, ConditionCode, duration, number, sentence
from node.conditions.drift import drifting
from node.errors import BadPackage, RefusedByTarget
from node.queue import CallerHours, FailedJobs
from node.states import Kind
from node.status import Snapshot

QUEUE_OLD_S = 30 * 60.0
RELOAD_S = 15 * 60.0  # a segmentation that has begun ends with the configuration before
# a caller is called quiet only against its own habit
LEAST_HISTORY_S = 14 * 86400.0  # two weekends
LEAST_HOURS = 20  # hours with images in that history
LONGER_THAN_USUAL = 1.5  # times its longest pause so far
LEAST_QUIET_S = 4 * 3600.0


def conditions(snapshot: Snapshot) -> tuple[Condition, ...]:
    """Return the conditions of a snapshot, the most urgent first."""
    refusing = list(targets.refusing(snapshot))
    refused = {condition.subject for condition in refusing}
    return (
        *_loops_down(snapshot),
        *_disk_low(snapshot),
        *_configuration_old(snapshot),
        *_packages_bad(snapshot),
        *encryption.unusable(snapshot),
        *encryption.ending(snapshot),
        *refusing,
        *targets.silent(snapshot),
        *targets.delaying(snapshot),
        *_jobs_failed(snapshot, refused),
        *_series_held(snapshot),
        *_rules_paused(snapshot),
        *_queue_old(snapshot),
        *_sources_quiet(snapshot),
        *drifting(snapshot),
        *_clock_stepped(snapshot),
    )


def _loops_down(snapshot: Snapshot) -> Iterator[Condition]:
    for process in snapshot.processes:
        if not process.alive:
            ago = process.last_seen_s
            yield Condition(
                code=ConditionCode.LOOP_DOWN,
                subject=process.name,
                since=None if ago is None else snapshot.at - ago,
                text=f"The {process.name} does not run.",
                advice="`segnode serve` starts it; its log has the reason why it ended.",
            )


def _disk_low(snapshot: Snapshot) -> Iterator[Condition]:
    if not snapshot.accepting:
        yield Condition(
            code=ConditionCode.DISK_LOW,
            subject="",
            since=None,
            text=f"The disk is low: {snapshot.shortage}. Senders are asked to try again later.",
            advice="Free some space in data.dir, or shorten data.keep.",
        )


def _configuration_old(snapshot: Snapshot) -> Iterator[Condition]:
    accepted = snapshot.configuration
    if accepted is None or snapshot.at - accepted.at < RELOAD_S:
        return
    for process in snapshot.processes:
        if process.alive and process.configuration not in ("", accepted.digest):
            yield Condition(
                code=ConditionCode.CONFIGURATION_OLD,
                subject=process.name,
                since=accepted.at,
                text=f"The {process.name} uses configuration {process.configuration}, not "
                f"{accepted.digest}, which was accepted.",
                advice="Its log has the reason. Correct the file, then `segnode reload`.",
            )


def _packages_bad(snapshot: Snapshot) -> Iterator[Condition]:
    for one in snapshot.package_problems:
        yield Condition(
            code=ConditionCode.PACKAGE_BAD,
            subject=one.package,
            since=None,
            text=f"Package {one.package} cannot be used: {one.problem}.",
            advice="Install the package again, or name another one in the rule; `segnode check` "
            "verifies it.",
        )
    for failed in snapshot.facts.failed:
        if failed.code == BadPackage.code:
            yield Condition(
                code=ConditionCode.PACKAGE_BAD,
                subject="",
                since=failed.since,
                text=f"{number(failed.count, 'segmentation')} failed: {sentence(failed.reason)}",
                advice=failed.advice,
            )


def _jobs_failed(snapshot: Snapshot, refusing: set[str]) -> Iterator[Condition]:
    """Report failed jobs that no other condition reports."""
    failed = [one for one in snapshot.facts.failed if not _is_reported(one, refusing)]
    if not failed:
        return
    newest = max(failed, key=lambda one: one.newest)
    by_kind = {
        "segmentation": sum(one.count for one in failed if one.kind is Kind.SEGMENT),
        "delivery": sum(one.count for one in failed if one.kind is Kind.DELIVER),
    }
    counts = " and ".join(number(count, kind) for kind, count in by_kind.items() if count)
    yield Condition(
        code=ConditionCode.JOBS_FAILED,
        subject="",
        since=min(one.since for one in failed),
        text=f"{counts} failed, the last is job {newest.newest}: {sentence(newest.reason)}",
        advice=f"{newest.advice} `segnode jobs list --state failed` shows them; "
        f"`segnode jobs retry {newest.newest}` queues one again.".strip(),
    )


def _is_reported(one: FailedJobs, refusing: set[str]) -> bool:
    if one.kind is Kind.SEGMENT:
        return one.code == BadPackage.code
    return one.code in targets.SILENT or (
        one.code == RefusedByTarget.code and one.target in refusing
    )


def _series_held(snapshot: Snapshot) -> Iterator[Condition]:
    if snapshot.facts.held:
        yield Condition(
            code=ConditionCode.SERIES_HELD,
            subject="",
            since=snapshot.facts.held_since,
            text=f"{number(snapshot.facts.held, 'series')} held: the images contradict each other, "
            "or they cannot be read.",
            advice="`segnode status` lists the series that ended as held; `segnode explain` has "
            "the reason. Then use `segnode jobs replan`.",
        )


def _rules_paused(snapshot: Snapshot) -> Iterator[Condition]:
    for pause in snapshot.facts.pauses:
        text = pause.rule.text
        waiting = f"{number(pause.series, 'series')} {'waits' if pause.series == 1 else 'wait'}"
        yield Condition(
            code=ConditionCode.RULE_PAUSED,
            subject=pause.rule.rule,
            since=pause.rule.at,
            text=f"{sentence(text[:1].upper() + text[1:])} {waiting} for it.",
            advice=f"`segnode rules resume {pause.rule.rule}` plans them.",
        )


def _queue_old(snapshot: Snapshot) -> Iterator[Condition]:
    since = snapshot.facts.segment_queued_since
    if since is not None and snapshot.at - since > QUEUE_OLD_S:
        waiting = snapshot.jobs.get(Kind.SEGMENT.value, {}).get("queued", 0)
        yield Condition(
            code=ConditionCode.QUEUE_OLD,
            subject="",
            since=since,
            text=f"The oldest of {number(waiting, 'queued segmentation')} has waited for "
            f"{duration(snapshot.at - since)}.",
            advice="Does the segmenter run? Choose a smaller size or step_down_above in the rules.",
        )


def _sources_quiet(snapshot: Snapshot) -> Iterator[Condition]:
    for caller in snapshot.facts.callers:
        longest_s = usual_pause_s(caller, snapshot.at)
        last = caller.hours[-1][1]
        silent_s = snapshot.at - last
        if longest_s is not None and silent_s > max(LEAST_QUIET_S, LONGER_THAN_USUAL * longest_s):
            yield Condition(
                code=ConditionCode.SOURCE_QUIET,
                subject=caller.caller,
                since=last,
                text=f"{caller.caller} has sent nothing for {duration(silent_s)}; its longest "
                f"pause in four weeks was {duration(longest_s)}.",
                advice="Does it still send to this node? `segnode status` lists rejected callers.",
            )


def usual_pause_s(caller: CallerHours, now: float) -> float | None:
    """Return the longest pause between series of a caller, in seconds.

    None if its history is too short or too sparse for a habit.
    """
    hours = caller.hours
    if len(hours) < LEAST_HOURS or now - hours[0][0] < LEAST_HISTORY_S:
        return None
    return max(later[0] - earlier[1] for earlier, later in pairwise(hours))


def _clock_stepped(snapshot: Snapshot) -> Iterator[Condition]:
    if snapshot.facts.clock_step_at is not None:
        yield Condition(
            code=ConditionCode.CLOCK_STEPPED,
            subject="",
            since=snapshot.facts.clock_step_at,
            text=f"The clock of this machine moved {snapshot.facts.clock_step}.",
            advice="Keep the clock with NTP: times in results and histories are those of this "
            "clock.",
        )
