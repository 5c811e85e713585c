"""The newest results of each rule, from which `node.conditions` sees whether they drift."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from node.schema import arrivals, jobs
from node.states import ArrivalOutcome, State

MOST_ARRIVALS = 4000  # of any outcome; they bound what is read
MOST_RUNS = 1000  # of all rules together


@dataclass(frozen=True, kw_only=True)
class Run:
    """One series that a rule decided about."""

    at: float  # when it was planned, in Unix seconds
    seconds: float | None  # of its segmentation; None: it was unsuitable
    volumes_ml: Mapping[str, float]  # by segment label


@dataclass(frozen=True, kw_only=True)
class RuleRuns:
    """The newest series of one rule with one size of one package, in order of time."""

    rule: str
    package: str
    size: str
    runs: tuple[Run, ...]


class _Numbers(msgspec.Struct, frozen=True):
    """The numbers of a result, whichever version wrote it."""

    volumes_ml: dict[str, float] = {}
    seconds: dict[str, float] = {}


_read_numbers = msgspec.json.Decoder(_Numbers).decode


def rule_runs(connection: Connection) -> tuple[RuleRuns, ...]:
    """Return the newest finished series of each rule; failed ones are a condition of their own."""
    newest = (
        sa.select(arrivals).order_by(arrivals.c.id.desc()).limit(MOST_ARRIVALS).subquery("newest")
    )
    is_unsuitable = (newest.c.outcome == ArrivalOutcome.UNSUITABLE.value) | (
        jobs.c.state == State.UNSUITABLE.value
    )
    query = (
        sa.select(
            newest.c.rule,
            newest.c.package,
            newest.c.size,
            newest.c.planned_at,
            is_unsuitable,
            jobs.c.result,
        )
        .select_from(newest.outerjoin(jobs, jobs.c.id == newest.c.job_id))
        .where(newest.c.rule != "", is_unsuitable | (jobs.c.state == State.DONE.value))
        .order_by(newest.c.id.desc())
        .limit(MOST_RUNS)
    )
    by_rule: dict[str, list[tuple[str, str, Run]]] = {}
    rule: str
    package: str
    size: str
    at: float
    unsuitable: bool
    result: str | None
    for rule, package, size, at, unsuitable, result in connection.execute(query):
        run = _run(at, "" if unsuitable else result)
        by_rule.setdefault(rule, []).append((package, size, run))
    return tuple(_current(rule, rows) for rule, rows in by_rule.items())


def _current(rule: str, rows: list[tuple[str, str, Run]]) -> RuleRuns:
    """Return the runs of the package and size that the rule used last; `rows` begin there.

    An unsuitable series was decided by the package, before its size was.
    """
    results = [row for row in rows if row[2].seconds is not None]
    package, size, _ = (results or rows)[0]
    runs = [
        run
        for its_package, its_size, run in rows
        if its_package == package and (its_size == size or run.seconds is None)
    ]
    return RuleRuns(rule=rule, package=package, size=size, runs=tuple(reversed(runs)))


def _run(at: float, result: str | None) -> Run:
    if not result:
        return Run(at=at, seconds=None, volumes_ml={})
    numbers = _read_numbers(result)
    return Run(at=at, seconds=sum(numbers.seconds.values()), volumes_ml=numbers.volumes_ml)
