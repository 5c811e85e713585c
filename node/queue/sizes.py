"""The size of each rule with `size: auto`: decided once, kept until a person accepts another."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from node.schema import NODE, arrivals, chosen_sizes, events, read_transaction, studies
from node.states import ArrivalOutcome

CHOOSE_SIZE = "choose-size"  # event


@dataclass(frozen=True, kw_only=True)
class ChosenSize:
    """The size that a rule uses."""

    rule: str
    task: str  # of its package
    size: str
    at: float  # Unix seconds
    by: str  # `node`, or the person
    why: str


@dataclass(frozen=True, kw_only=True)
class OtherInstrument:
    """An earlier series of the same patient that another size or package version segmented."""

    package: str
    size: str
    at: float  # when it was planned


def sizes(engine: Engine) -> dict[tuple[str, str], ChosenSize]:
    """Return the chosen sizes by rule and task."""
    c = chosen_sizes.c
    query = sa.select(c.rule, c.task, c.size, c.at, c.actor.label("by"), c.why).order_by(c.rule)
    with read_transaction(engine) as connection:
        all_sizes = [ChosenSize(**row._asdict()) for row in connection.execute(query)]
    return {(one.rule, one.task): one for one in all_sizes}


def choose_size(engine: Engine, chosen: ChosenSize) -> bool:
    """Keep the size of a rule, and record it; return False if a person was faster.

    The node replaces no size that is kept already.
    """
    values = {"size": chosen.size, "at": chosen.at, "actor": chosen.by, "why": chosen.why}
    key = {"rule": chosen.rule, "task": chosen.task}
    same = sa.and_(chosen_sizes.c.rule == chosen.rule, chosen_sizes.c.task == chosen.task)
    with engine.begin() as connection:
        known = connection.execute(sa.select(chosen_sizes.c.rule).where(same)).first()
        if known is not None and chosen.by == NODE:
            return False
        if known is None:
            connection.execute(sa.insert(chosen_sizes).values(**key, **values))
        else:
            connection.execute(sa.update(chosen_sizes).where(same).values(**values))
        detail = f"{chosen.rule}: {chosen.task}, size {chosen.size}; {chosen.why}"
        event = {"at": chosen.at, "study_uid": "", "series_uid": "", "actor": chosen.by}
        connection.execute(sa.insert(events).values(**event, event=CHOOSE_SIZE, detail=detail))
    return True


def other_instruments(engine: Engine, arrival_id: int) -> list[OtherInstrument]:
    """Return the other sizes and versions of the package that the same patient had before.

    One row for each pair of package version and size, with its newest series, the newest first.
    With `data.index: none` patients cannot be compared, and the list is empty.
    """
    this, mine = arrivals.alias("this"), studies.alias("mine")
    same_patient = (
        sa.select(studies.c.study_uid)
        .join(mine, mine.c.patient_id == studies.c.patient_id)
        .join(this, this.c.study_uid == mine.c.study_uid)
        .where(
            this.c.id == arrival_id, mine.c.patient_id != "", mine.c.kept_as == studies.c.kept_as
        )
    )
    planned = sa.and_(
        arrivals.c.outcome == ArrivalOutcome.PLANNED.value,
        arrivals.c.study_uid.in_(same_patient),
    )
    groups = (arrivals.c.package, arrivals.c.size)
    query = (
        sa.select(*groups, sa.func.max(arrivals.c.planned_at).label("at"))
        .where(planned, arrivals.c.planned_at < _planned_at(arrival_id))
        .group_by(*groups)
    )
    with read_transaction(engine) as connection:
        row = connection.execute(
            sa.select(arrivals.c.package, arrivals.c.size).where(arrivals.c.id == arrival_id)
        ).one_or_none()
        if row is None or not row.package:
            return []
        task = row.package.partition("/")[0]
        others = [
            OtherInstrument(package=one.package, size=one.size, at=one.at)
            for one in connection.execute(query)
            if one.package.partition("/")[0] == task and (one.package, one.size) != tuple(row)
        ]
    return sorted(others, key=lambda one: -one.at)


def _planned_at(arrival_id: int) -> sa.ScalarSelect[float]:
    this = arrivals.alias("now")
    return sa.select(this.c.planned_at).where(this.c.id == arrival_id).scalar_subquery()
