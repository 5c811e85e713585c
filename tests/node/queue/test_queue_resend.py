"""Resending a result, and segmenting again where its file is missing."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.config import load
from node.errors import NotFound
from node.housekeeping import Sweep
from node.inbox import Inbox
from node.package import uses
from node.queue import AlreadySuperseded, Job
from node.replan import resend
from node.states import Ending, IllegalTransition, Kind, State
from tests.support.commanding import Run
from tests.support.delivering import an_object
from tests.support.phantoms import Scan
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import LEASE_S, SEGMENTED, SENT, T0, a_delivery, claim, event_names, record


def deliver(engine: sa.Engine, now: float) -> Job:
    job = queue.claim(engine, Kind.DELIVER, "s", now, LEASE_S, "pacs")
    assert job is not None
    queue.finish_delivery(engine, job, SENT, now)
    return job


def test_a_finished_delivery_can_be_resent(engine: sa.Engine) -> None:
    record(engine)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 2)
    job = deliver(engine, T0 + 3)
    again = queue.resend(engine, job.id, T0 + 9)
    assert (again.state, again.attempts, again.result) == (State.QUEUED, 0, "")
    with pytest.raises(IllegalTransition):
        queue.resend(engine, job.id, T0 + 10)
    assert deliver(engine, T0 + 11).deliver_payload() == job.deliver_payload()
    assert event_names(engine, job.id)[-3:] == ["resend", "claim", "finish"]


def test_a_repeated_segmentation_sends_the_same_objects(engine: sa.Engine) -> None:
    job_id = record(engine)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 2)
    first = deliver(engine, T0 + 3)
    queue.resend(engine, job_id, T0 + 9)
    assert queue.histories(engine)[0].ending is Ending.IN_PROGRESS
    other = a_delivery(sha256="1" * 64)  # as another version of the node writes it
    (resent,) = queue.finish_segment(
        engine, claim(engine, now=T0 + 10), SEGMENTED, [other], T0 + 11
    )
    assert (resent.id, resent.state) == (first.id, State.QUEUED)
    assert deliver(engine, T0 + 12).deliver_payload().sha256 == "1" * 64
    assert queue.histories(engine)[0].ending is Ending.DELIVERED


def test_an_older_result_cannot_be_resent_after_a_newer_one(engine: sa.Engine) -> None:
    record(engine, inputs="a")
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 2)
    older = deliver(engine, T0 + 3)
    record(engine, inputs="b")
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 4)
    with pytest.raises(AlreadySuperseded):
        queue.resend(engine, older.id, T0 + 5)


def test_resend_segments_again_if_the_file_is_missing(
    run: Run, configured: Path, head: Scan
) -> None:
    config = load(configured)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    folder = receive(inbox, head.paths, T0)
    Sweep(config, engine, inbox, uses(config), shared_reader()).run(T0 + 100)
    payload = an_object(config.data.dir, "pacs")
    new = [queue.NewDelivery(target="pacs", payload=payload)]
    (job,) = queue.finish_segment(engine, claim(engine, now=T0 + 101), SEGMENTED, new, T0 + 102)
    deliver(engine, T0 + 103)
    options = ["--config", str(configured)]
    assert run("jobs", "resend", job.id, *options)[1] == f"job {job.id} queued again\n"
    deliver(engine, 2e9)
    (config.data.dir / payload.file).unlink()
    for file in inbox.instances(folder):
        file.path.rename(file.path.with_suffix(".gone"))
    with pytest.raises(NotFound, match="12 of the 12 images"):
        resend(config, engine, job.id, T0 + 105)
    assert queue.histories(engine)[0].ending is Ending.DELIVERED, "nothing was changed"
    for path in folder.path.glob("*.gone"):
        path.rename(path.with_suffix(".dcm"))
    status, printed, _ = run("jobs", "resend", job.id, *options)
    assert status == 0
    assert printed.startswith(f"job {job.parent_id} queued again;")
