"""The history: append-only, with who did what, exported by period."""

from typing import Any

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.errors import Defect
from node.queue import history
from tests.support.rows import T0, claim, record


def test_an_event_is_never_changed(engine: sa.Engine) -> None:
    record(engine)
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(sa.update(schema.events).values(detail="x"))
    assert queue.events_of(engine, study_uid="1.2.3")[0].detail != "x"


def test_an_event_names_who_caused_it(engine: sa.Engine) -> None:
    job_id = record(engine)
    queue.cancel(engine, job_id, T0 + 1, "os:alice")
    queue.requeue(engine, job_id, T0 + 2, "web:bob")
    queue.fail(engine, claim(engine, now=T0 + 3), Defect("x"), T0 + 4)
    queue.resend(engine, job_id, T0 + 5)
    queue.add_note(engine, "replan", "with the current rules", T0 + 6, by="os:alice")
    actors = {event.event: event.actor for event in queue.events_of(engine)}
    assert actors == {
        "received": "node", "planned": "node", "queued": "node", "cancel": "os:alice",
        "requeue": "web:bob", "claim": "node", "fail": "node", "resend": "operator",
        "replan": "os:alice",
    }  # fmt: skip
    assert queue.notes(engine) == [], "what a person did is no rejection"


def test_a_period_is_read_in_batches(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BATCH", 3)
    for number in range(10):
        study = "1.2.3" if number % 2 else "1.2.4"
        actor = "os:alice" if number < 4 else "node"
        queue.add_note(engine, "note", str(number), T0 + number // 2, study_uid=study, by=actor)

    def details(*period: float | None, **chosen: Any) -> str:
        return "".join(e.detail for e in queue.history_between(engine, *period, **chosen))

    assert details() == "0123456789"
    assert details(T0 + 1, T0 + 4) == "234567"
    assert details(T0 + 4) == "89"
    assert details(study_uid="1.2.3") == "13579"
    assert details(None, T0 + 1, actor="os:alice") == "01"
    assert details(T0 + 9) == ""


def test_only_the_history_of_an_archived_job_remains(engine: sa.Engine) -> None:
    job_id = record(engine)
    queue.fail(engine, claim(engine), Defect("x"), T0 + 2)
    assert queue.archive_arrivals(engine, T0, T0 + 9) == 0
    assert queue.archive_arrivals(engine, T0 + 1, T0 + 9) == 1
    assert queue.archive_arrivals(engine, T0 + 1, T0 + 9) == 0
    for again in (queue.requeue, queue.resend):
        with pytest.raises(queue.Archived):
            again(engine, job_id, T0 + 10)
    assert queue.histories(engine, series_key="series-1") == []
    assert len(queue.histories(engine, study_uid="1.2.3")) == 1
    assert record(engine) != job_id, "the same images are decided anew"
