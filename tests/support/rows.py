"""Arrivals and jobs for tests, with defaults for every field."""

from typing import Any

import sqlalchemy as sa

from node import queue
from node.queue import (
    DeliverPayload,
    DeliverResult,
    Destination,
    Job,
    NewArrival,
    NewDelivery,
    NewSegmentJob,
    SegmentPayload,
    SegmentResult,
)
from node.states import ArrivalOutcome, Kind

LEASE_S = 30.0
T0 = 1_700_000_000.0  # start of the histories, Unix seconds

SEGMENTED = SegmentResult(objects=("outbox/x/seg.dcm",), volumes_ml={"Liver": 1.5}, seconds={})
SENT = DeliverResult(status="SUCCESS", confirmed_by="query")


def an_arrival(series: int = 1, inputs: str = "a", **changes: Any) -> NewArrival:
    """Return an arrival of series number `series`; `inputs` identifies its set of images."""
    filled: dict[str, Any] = {
        "study_uid": "1.2.3",
        "series_uid": f"1.2.3.{series}",
        "series_key": f"series-{series}",
        "inputs_digest": f"{inputs}-{series}",
        "instances": 3,
        "modality": "MR",
        "caller_ae": "SCANNER",
        "outcome": ArrivalOutcome.PLANNED,
        "rule": "all",
        "package": "tiny-mr/1.0",
        "size": "small",
        "first_at": T0 - 10,
        "last_at": T0 - 1,
    }
    return NewArrival(**(filled | changes))


def a_segment_job(series: int = 1, inputs: str = "a", priority: int = 5) -> NewSegmentJob:
    """Return the job of `an_arrival` with the same arguments."""
    return NewSegmentJob(
        dedup_key=f"segment-{series}-{inputs}",
        priority=priority,
        payload=SegmentPayload(
            series_key=f"series-{series}",
            files=("a.b.dcm",),
            inputs_digest=f"{inputs}-{series}",
            package="tiny-mr/1.0",
            package_digest="0" * 64,
            size="small",
            targets=(Destination(name="pacs"),),
            rule="all",
            caller="SCANNER",
            created_at=T0,
        ),
    )


def a_delivery(target: str = "pacs", **changes: Any) -> NewDelivery:
    """Return a delivery of an object whose file does not exist."""
    filled: dict[str, Any] = {
        "file": "outbox/x/seg.dcm",
        "sha256": "0" * 64,
        "size_bytes": 1,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.66.4",
        "sop_instance_uid": "1.2.3.9.1",
        "study_uid": "1.2.3",
        "series_uid": "1.2.3.9",
        "target": target,
    }
    return NewDelivery(target=target, payload=DeliverPayload(**(filled | changes)))


def record(engine: sa.Engine, series: int = 1, inputs: str = "a", priority: int = 5) -> int:
    """Record an arrival with its job; return the job's number."""
    job = a_segment_job(series, inputs, priority)
    recorded = queue.record_arrival(engine, an_arrival(series, inputs), job, T0)
    assert recorded.job_id is not None
    return recorded.job_id


def claim(engine: sa.Engine, worker: str = "w", now: float = T0 + 1) -> Job:
    """Claim the next SEGMENT job; there must be one."""
    job = queue.claim(engine, Kind.SEGMENT, worker, now, LEASE_S)
    assert job is not None
    return job


def event_names(engine: sa.Engine, job_id: int) -> list[str]:
    """Return the names of a job's events, in order."""
    return [event.event for event in queue.events_of(engine, job_id=job_id)]
