"""Facts about the queue from which `node.conditions` derives what needs a person.

Every query reads an index from its newest end or a limited period, so that a large history costs
little. Nothing here writes or waits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from node.queue.paused import PausedRule, paused_in
from node.queue.runs import RuleRuns, rule_runs
from node.queue.upkeep import CLOCK_STEP
from node.schema import arrivals, arriving, events, jobs, read_transaction
from node.states import LIVE, ArrivalOutcome, Kind, State

HOUR_S, DAY_S = 3600.0, 86400.0
FAILED_S = 3 * DAY_S  # a job that failed on Friday evening still counts on Monday
CALLERS_S = 28 * DAY_S  # four weeks: every weekday and weekend several times
CLOCK_S = 1 * DAY_S


@dataclass(frozen=True, kw_only=True)
class TargetTrouble:
    """Deliveries to one target that share one error since its last success."""

    target: str
    code: str
    is_over: bool  # they failed; False: they are retried
    count: int
    since: float  # Unix seconds
    reason: str  # of the newest
    advice: str


@dataclass(frozen=True, kw_only=True)
class FailedJobs:
    """Failed jobs of one kind that no later job of the same series replaces."""

    kind: Kind
    target: str  # empty for segmentations
    code: str
    count: int
    since: float
    newest: int  # job number
    reason: str  # of the newest
    advice: str


@dataclass(frozen=True, kw_only=True)
class CallerHours:
    """The hours in which a caller sent series: first and last reception of each, in order."""

    caller: str
    series: int
    hours: tuple[tuple[float, float], ...]  # Unix seconds


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A paused rule, and the number of series that wait for it."""

    rule: PausedRule
    series: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rows say at one moment."""

    troubles: tuple[TargetTrouble, ...]
    failed: tuple[FailedJobs, ...]
    held: int  # series that wait for a person
    held_since: float | None
    segment_queued_since: float | None  # of the segmentation that waits longest
    callers: tuple[CallerHours, ...]
    pauses: tuple[Pause, ...]
    runs: tuple[RuleRuns, ...]  # the newest series of each rule
    clock_step_at: float | None
    clock_step: str


def facts(engine: Engine, targets: Iterable[str], now: float, keep_failed_s: float) -> Facts:
    """Collect the facts at `now`; images of held series are deleted after `keep_failed_s`."""
    with read_transaction(engine) as connection:
        held, held_since = _held(connection, now - keep_failed_s)
        step = _clock_step(connection, now - CLOCK_S)
        return Facts(
            troubles=tuple(_troubles(connection, targets)),
            failed=tuple(_failed(connection, now - FAILED_S)),
            held=held,
            held_since=held_since,
            segment_queued_since=_oldest_segment(connection),
            callers=tuple(_callers(connection, now - CALLERS_S, now)),
            pauses=tuple(_pauses(connection)),
            runs=rule_runs(connection),
            clock_step_at=None if step is None else step[0],
            clock_step="" if step is None else step[1],
        )


def _troubles(connection: Connection, targets: Iterable[str]) -> Iterable[TargetTrouble]:
    for target in targets:
        # an expression, so that the index of the states is read: few jobs wait or failed, but a
        # target has years of deliveries
        of_target = sa.and_(jobs.c.kind == Kind.DELIVER.value, jobs.c.target + "" == target)
        waiting = sa.and_(of_target, _state(*LIVE), jobs.c.code != "")
        for row in _by_code(connection, waiting, jobs.c.queued_at):
            yield TargetTrouble(target=target, is_over=False, **row)
        all_failed = sa.and_(of_target, _state(State.FAILED))
        first: float | None = connection.execute(
            sa.select(sa.func.min(jobs.c.updated_at)).where(all_failed)
        ).scalar_one()
        if first is None:
            continue
        success: float | None = connection.execute(  # since then: older ones change nothing
            sa.select(sa.func.max(jobs.c.updated_at)).where(
                of_target, _state(State.DONE), jobs.c.updated_at > first
            )
        ).scalar_one()
        failed = sa.and_(all_failed, jobs.c.updated_at > (success or 0.0))
        for row in _by_code(connection, failed, jobs.c.updated_at):
            yield TargetTrouble(target=target, is_over=True, **row)


def _by_code(
    connection: Connection, where: sa.ColumnElement[bool], since: "sa.Column[float]"
) -> list[dict[str, Any]]:
    """Return code, count, oldest time, and reason and advice of the newest job, per code."""
    groups = connection.execute(
        sa.select(jobs.c.code, sa.func.count(), sa.func.min(since), sa.func.max(jobs.c.id))
        .where(where)
        .group_by(jobs.c.code)
        .order_by(jobs.c.code)
    ).all()
    ids: list[int] = [newest for *_, newest in groups]
    texts = _texts(connection, ids)
    return [
        {"code": code, "count": count, "since": oldest, **texts[newest]}
        for (code, count, oldest, _), newest in zip(groups, ids, strict=True)
    ]


def _failed(connection: Connection, after: float) -> Iterable[FailedJobs]:
    later = jobs.alias("later")
    replaced = sa.select(later.c.id).where(
        later.c.series_uid == jobs.c.series_uid,
        later.c.study_uid == jobs.c.study_uid,
        later.c.kind == jobs.c.kind,
        later.c.target == jobs.c.target,
        later.c.id > jobs.c.id,
        later.c.state.in_([State.DONE.value, *(state.value for state in LIVE)]),
    )
    groups = connection.execute(
        sa.select(
            jobs.c.kind,
            jobs.c.target,
            jobs.c.code,
            sa.func.count(),
            sa.func.min(jobs.c.updated_at),
            sa.func.max(jobs.c.id),
        )
        .where(_state(State.FAILED), jobs.c.updated_at > after, ~replaced.exists())
        .group_by(jobs.c.kind, jobs.c.target, jobs.c.code)
        .order_by(jobs.c.kind, jobs.c.target, jobs.c.code)
    ).all()
    ids: list[int] = [newest for *_, newest in groups]
    texts = _texts(connection, ids)
    kind: str
    target: str
    code: str
    count: int
    since: float
    newest: int
    for kind, target, code, count, since, newest in groups:
        yield FailedJobs(
            kind=Kind(kind), target=target, code=code, count=count, since=since, newest=newest,
            **texts[newest],
        )  # fmt: skip


def _texts(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, str]]:
    query = sa.select(jobs.c.id, jobs.c.reason, jobs.c.advice).where(jobs.c.id.in_(ids))
    number: int
    reason: str
    advice: str
    texts: dict[int, dict[str, str]] = {}
    for number, reason, advice in connection.execute(query):
        texts[number] = {"reason": reason, "advice": advice}
    return texts


def _held(connection: Connection, after: float) -> tuple[int, float | None]:
    later = arrivals.alias("later")
    replaced = sa.select(later.c.id).where(
        later.c.series_key == arrivals.c.series_key, later.c.id > arrivals.c.id
    )
    query = sa.select(sa.func.count(), sa.func.min(arrivals.c.planned_at)).where(
        arrivals.c.planned_at > after,
        arrivals.c.outcome == ArrivalOutcome.HELD.value,
        ~replaced.exists(),
    )
    count: int
    since: float | None
    count, since = connection.execute(query).one()
    return count, since


def _oldest_segment(connection: Connection) -> float | None:
    query = sa.select(sa.func.min(jobs.c.queued_at)).where(
        _state(State.QUEUED), jobs.c.kind == Kind.SEGMENT.value
    )
    since: float | None = connection.execute(query).scalar_one()
    return since


def _callers(connection: Connection, after: float, now: float) -> Iterable[CallerHours]:
    """Yield the hours of each caller; a time in the future is left out, the clock was wrong."""
    hour = sa.cast(arrivals.c.last_at / HOUR_S, sa.Integer)
    # an expression, so that the index of the times is read, not that of all callers ever
    name = (arrivals.c.caller_ae + "").label("name")
    rows = connection.execute(
        sa.select(
            name,
            sa.func.min(arrivals.c.last_at),
            sa.func.max(arrivals.c.last_at),
            sa.func.count(),
        )
        .where(arrivals.c.planned_at > after, arrivals.c.last_at <= now, arrivals.c.caller_ae != "")
        .group_by(name, hour)
        .order_by(name, sa.func.min(arrivals.c.last_at))
    )
    hours_of: dict[str, list[tuple[float, float]]] = {}
    series: dict[str, int] = {}
    caller: str
    first: float
    last: float
    count: int
    for caller, first, last, count in rows:
        hours_of.setdefault(caller, []).append((first, last))
        series[caller] = series.get(caller, 0) + count
    for caller, hours in hours_of.items():
        yield CallerHours(caller=caller, series=series[caller], hours=tuple(hours))


def _pauses(connection: Connection) -> Iterable[Pause]:
    query = sa.select(arriving.c.paused_rule, sa.func.count()).group_by(arriving.c.paused_rule)
    waiting: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    for rule in paused_in(connection):
        yield Pause(rule=rule, series=waiting.get(rule.rule, 0))


def _clock_step(connection: Connection, after: float) -> tuple[float, str] | None:
    query = (
        sa.select(events.c.at, events.c.detail)
        .where(events.c.at > after, events.c.event == CLOCK_STEP)
        .order_by(events.c.at.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def _state(*states: State) -> sa.ColumnElement[bool]:
    return jobs.c.state.in_([state.value for state in states])
