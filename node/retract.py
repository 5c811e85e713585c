"""Retract a delivered result, for an operator: reject it at each target that has it."""

import datetime
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from sqlalchemy import Engine

from node import durable, queue, seg
from node.config import Config
from node.dicom.key_objects import Title
from node.errors import NotFound, Retracted
from node.package.folder import file_digest
from node.queue import OPERATOR, DeliverPayload, Job, NewDelivery
from node.rejection import encode_rejection
from node.segmenter import identity_of
from node.states import Kind, State

HIGHEST = 9  # priority: readers look at the result meanwhile


def retract(  # noqa: PLR0913  a person gives a reason in two forms
    config: Config,
    engine: Engine,
    job_id: int,
    title: Title,
    because: str,
    now: float,
    *,
    by: str = OPERATOR,
) -> list[Job]:
    """Send a rejection note for a result to each target that has it; return the deliveries.

    `job_id` is the segmentation or any delivery of the result; all its objects are rejected.

    Raises:
        NotFound: no target has the result, or its files were deleted.
        Retracted: it is retracted already.
        LookupError: no job has this number.
    """
    job = queue.get(engine, job_id)
    segment = job if job.parent_id is None else queue.get(engine, job.parent_id)
    deliveries = queue.deliveries_of(engine, segment.id)
    if queue.is_retracted(deliveries):
        message = f"the result of job {segment.id} is retracted already"
        raise Retracted(message, advice=f"`segnode jobs show {segment.id}` has who did it and why.")
    by_target: dict[str, list[Job]] = {}
    for one in deliveries:
        if one.state is State.DONE and not one.is_retraction and one.target in config.targets:
            by_target.setdefault(one.target, []).append(one)
    if not by_target:
        message = f"no target has a result of job {segment.id}"
        advice = f"`segnode jobs cancel {segment.id}` ends a job that is queued or running."
        raise NotFound(message, advice=advice)
    created = datetime.datetime.fromtimestamp(now, datetime.UTC)
    notes = []
    for target, sent in by_target.items():
        objects = [_read(config, one) for one in sent]
        identity = identity_of(config)
        note = encode_rejection(objects, title, because, created=created, identity=identity)
        notes.append(_write(config, sent[0], note, target))
    reason = f"{title.meaning}: {because} (to {', '.join(by_target)})"
    return queue.retract(engine, segment, notes, reason, now, by=by)


def refuse_retracted(engine: Engine, job: Job) -> None:
    """Refuse to send a retracted result again.

    Raises:
        Retracted: a person retracted it, and it was not sent again since.
    """
    segment_id = job.id if job.kind is Kind.SEGMENT else job.parent_id
    assert segment_id is not None  # a constraint of the database
    if not job.is_retraction and queue.is_retracted(queue.deliveries_of(engine, segment_id)):
        message = f"the result of job {segment_id} was retracted"
        advice = f"`segnode jobs resend {job.id} --retracted` sends it all the same."
        raise Retracted(message, advice=advice)


def _read(config: Config, delivery: Job) -> Dataset:
    """Read the header of a delivered object: patient, study and what a reference needs."""
    file = config.data.dir / delivery.deliver_payload().file
    if not file.is_file():
        message = f"the file of job {delivery.id} was deleted, so no rejection note can be written"
        advice = "Reject the object at the target. `data.keep.results` sets how long files stay."
        raise NotFound(message, advice=advice)
    return pydicom.dcmread(file, stop_before_pixels=True, defer_size=1 << 16)


def _write(config: Config, delivery: Job, note: Dataset, target: str) -> NewDelivery:
    name = f"retract-{target}-{note.SOPInstanceUID[-12:]}.dcm"
    file = (Path(delivery.deliver_payload().file).parent / name).as_posix()
    path = config.data.dir / file
    durable.write(path, seg.to_bytes(note))
    payload = DeliverPayload(
        file=file,
        sha256=file_digest(path),
        size_bytes=path.stat().st_size,
        sop_class_uid=str(note.SOPClassUID),
        sop_instance_uid=str(note.SOPInstanceUID),
        study_uid=str(note.StudyInstanceUID),
        series_uid=str(note.SeriesInstanceUID),
        target=target,
    )
    return NewDelivery(target=target, payload=payload, priority=HIGHEST)
