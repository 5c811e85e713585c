"""Rules that a person paused: their series wait in the inbox and are planned after the pause."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Engine

from node.schema import events, paused_rules, read_transaction

PAUSE_RULE, RESUME_RULE = "pause-rule", "resume-rule"  # events


@dataclass(frozen=True, kw_only=True)
class PausedRule:
    """A paused rule."""

    rule: str
    at: float  # Unix seconds
    by: str  # who paused it
    because: str

    @property
    def text(self) -> str:
        """Who paused the rule, and why."""
        return f"rule {self.rule} was paused by {self.by}" + (
            f": {self.because}" if self.because else ""
        )


def paused(engine: Engine) -> dict[str, PausedRule]:
    """Return the paused rules by name."""
    with read_transaction(engine) as connection:
        return {one.rule: one for one in paused_in(connection)}


def paused_in(connection: sa.Connection) -> list[PausedRule]:
    """Return the paused rules within a transaction."""
    rows = connection.execute(sa.select(paused_rules).order_by(paused_rules.c.rule))
    return [PausedRule(rule=row.rule, at=row.at, by=row.actor, because=row.because) for row in rows]


def pause_rule(engine: Engine, rule: str, because: str, now: float, by: str) -> bool:
    """Pause a rule; return False if it is paused already."""
    with engine.begin() as connection:
        known = sa.select(paused_rules.c.rule).where(paused_rules.c.rule == rule)
        if connection.execute(known).first() is not None:
            return False
        values = {"rule": rule, "at": now, "actor": by, "because": because}
        connection.execute(sa.insert(paused_rules).values(**values))
        detail = f"{rule}: {because}" if because else rule
        _add_event(connection, PAUSE_RULE, detail, now, by)
    return True


def resume_rule(engine: Engine, rule: str, now: float, by: str) -> bool:
    """End the pause of a rule; return False if it is not paused."""
    with engine.begin() as connection:
        ended = connection.execute(sa.delete(paused_rules).where(paused_rules.c.rule == rule))
        if not ended.rowcount:
            return False
        _add_event(connection, RESUME_RULE, rule, now, by)
    return True


def _add_event(connection: sa.Connection, event: str, detail: str, now: float, by: str) -> None:
    values = {"at": now, "study_uid": "", "series_uid": "", "actor": by}
    connection.execute(sa.insert(events).values(**values, event=event, detail=detail))
