"""Read the history of a period, for an export."""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Engine

from node.queue import rows
from node.queue.rows import Event
from node.schema import events, read_transaction, studies

BATCH = 5000  # events in memory at once


def history_between(
    engine: Engine,
    begin: float | None = None,
    end: float | None = None,
    *,
    study_uid: str = "",
    actor: str = "",
) -> Iterator[Event]:
    """Yield the events from `begin` to before `end` (Unix seconds) in order of time.

    `study_uid` and `actor` limit them to one study and to one person.
    """
    query = sa.select(events).order_by(events.c.at, events.c.id).limit(BATCH)
    if begin is not None:
        query = query.where(events.c.at >= begin)
    if end is not None:
        query = query.where(events.c.at < end)
    if study_uid:
        query = query.where(events.c.study_uid == study_uid)
    if actor:
        query = query.where(events.c.actor == actor)
    after: Event | None = None
    while True:
        part = query
        if after is not None:
            place = sa.tuple_(events.c.at, events.c.id)
            part = query.where(place > sa.tuple_(after.at, after.id))
        with read_transaction(engine) as connection:  # per batch: no long snapshot for the writers
            batch = [rows.event(row) for row in connection.execute(part).mappings()]
        yield from batch
        if len(batch) < BATCH:
            return
        after = batch[-1]


def events_after(engine: Engine, number: int, limit: int) -> list[Event]:
    """Return the events that were recorded after event `number`, the oldest first."""
    query = sa.select(events).where(events.c.id > number).order_by(events.c.id).limit(limit)
    with read_transaction(engine) as connection:
        return [rows.event(row) for row in connection.execute(query).mappings()]


def newest_event(engine: Engine) -> int:
    """Return the number of the newest event; 0 if there is none."""
    with read_transaction(engine) as connection:
        number: int | None = connection.execute(sa.select(sa.func.max(events.c.id))).scalar_one()
    return number or 0


def recorded_patient_id(engine: Engine, study_uid: str) -> str:
    """Return the patient ID of a study as the database keeps it: text, a hash, or empty."""
    query = sa.select(studies.c.patient_id).where(studies.c.study_uid == study_uid)
    with read_transaction(engine) as connection:
        patient_id: str | None = connection.execute(query).scalar_one_or_none()
    return patient_id or ""
