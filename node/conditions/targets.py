"""Conditions of the targets: they refuse, they do not answer, or they delay results."""

from collections.abc import Iterator, Sequence

from node.conditions.condition import Condition, ConditionCode, number, sentence
from node.errors import NoResponse, PeerUnreachable, RefusedByTarget
from node.queue import TargetTrouble
from node.status import Snapshot

DELAYED_S = 5 * 60.0  # a PACS that restarts is back by then
# no association could be opened, with TLS or without, or it ended early
SILENT = frozenset(
    {PeerUnreachable.code, *(kind.code for kind in PeerUnreachable.__subclasses__())}
    | {NoResponse.code}
)


def refusing(snapshot: Snapshot) -> Iterator[Condition]:
    """Yield the targets that accepted nothing since they refused an object."""
    for one in _of(snapshot, frozenset({RefusedByTarget.code}), is_over=True):
        yield Condition(
            code=ConditionCode.TARGET_REFUSES,
            subject=one.target,
            since=one.since,
            text=f"{one.target} accepted no result since it refused "
            f"{number(one.count, 'object')}: {sentence(one.reason)}",
            advice=f"{one.advice} Then retry the failed jobs.".strip(),
        )


def silent(snapshot: Snapshot) -> Iterator[Condition]:
    """Yield the targets that do not answer."""
    for target in _names(snapshot):
        waiting = [one for one in _late(snapshot, target) if one.code in SILENT]
        ended = [one for one in _of(snapshot, SILENT, is_over=True) if one.target == target]
        if not waiting and not ended:
            continue
        newest = (waiting or ended)[0]
        counts = [f"{number(_count(waiting), 'object')} waiting"] if waiting else []
        counts += [f"{number(_count(ended), 'object')} failed"] if ended else []
        yield Condition(
            code=ConditionCode.TARGET_SILENT,
            subject=target,
            since=min(one.since for one in (*waiting, *ended)),
            text=f"{target} does not answer ({', '.join(counts)}): {sentence(newest.reason)}",
            advice=newest.advice or "Is the target running, and may this machine reach that port?",
        )


def delaying(snapshot: Snapshot) -> Iterator[Condition]:
    """Yield the targets that answer and do not take results yet."""
    for target in _names(snapshot):
        waiting = [one for one in _late(snapshot, target) if one.code not in SILENT]
        if waiting:
            yield Condition(
                code=ConditionCode.TARGET_DELAYS,
                subject=target,
                since=min(one.since for one in waiting),
                text=f"{target} does not take results ({number(_count(waiting), 'object')} "
                f"waiting): {sentence(waiting[0].reason)}",
                advice=waiting[0].advice or "See the log of the target.",
            )


def _of(snapshot: Snapshot, codes: frozenset[str], *, is_over: bool) -> Iterator[TargetTrouble]:
    for one in snapshot.facts.troubles:
        if one.code in codes and one.is_over is is_over:
            yield one


def _late(snapshot: Snapshot, target: str) -> list[TargetTrouble]:
    """Return the errors for which deliveries to a target wait too long."""
    return [
        one
        for one in snapshot.facts.troubles
        if one.target == target and not one.is_over and snapshot.at - one.since > DELAYED_S
    ]


def _names(snapshot: Snapshot) -> list[str]:
    return [target.name for target in snapshot.targets]


def _count(troubles: Sequence[TargetTrouble]) -> int:
    return sum(one.count for one in troubles)
