"""Rows as frozen values, and what callers hand in to make them."""

from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa

from node.queue.payloads import DeliverPayload, SegmentPayload, decode
from node.states import ArrivalOutcome, Kind, State


@dataclass(frozen=True, kw_only=True)
class NewArrival:
    """A series that is complete, and what was decided about it."""

    study_uid: str
    series_uid: str
    series_key: str  # name of the folder in the inbox
    inputs_digest: str
    instances: int
    outcome: ArrivalOutcome
    first_at: float
    last_at: float
    modality: str = ""
    caller_ae: str = ""
    code: str = ""  # these three: why there is no job
    reason: str = ""
    advice: str = ""
    rule: str = ""
    package: str = ""
    size: str = ""


@dataclass(frozen=True, kw_only=True)
class NewSegmentJob:
    """The job of a planned arrival."""

    dedup_key: str  # of inputs, package digest, size and encodings
    payload: SegmentPayload
    priority: int = 5


@dataclass(frozen=True, kw_only=True)
class NewDelivery:
    """One object for one target, made by a finished segmentation."""

    target: str
    payload: DeliverPayload
    priority: int = 5


@dataclass(frozen=True, kw_only=True)
class Arrival(NewArrival):
    """A recorded arrival."""

    id: int
    job_id: int | None
    planned_at: float


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it was when it was read; only the functions of this package change the row."""

    id: int
    kind: Kind
    state: State
    dedup_key: str
    study_uid: str
    series_uid: str
    arrival_id: int
    parent_id: int | None
    target: str
    payload: str = field(repr=False)
    priority: int
    attempts: int
    claims: int
    not_before: float
    lease_until: float | None
    worker: str | None
    cancel_at: float | None
    code: str
    reason: str
    advice: str
    result: str
    created_at: float
    queued_at: float
    updated_at: float
    finished_at: float | None

    def segment_payload(self) -> SegmentPayload:
        """Return what to segment; Defect if this is no SEGMENT job of our version."""
        return decode(self.payload, SegmentPayload)

    def deliver_payload(self) -> DeliverPayload:
        """Return what to deliver; Defect if this is no DELIVER job of our version."""
        return decode(self.payload, DeliverPayload)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of a history."""

    id: int
    at: float
    study_uid: str
    series_uid: str
    job_id: int | None
    arrival_id: int | None
    what: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Beat:
    """When a process was last seen alive."""

    process: str
    pid: int
    at: float
    detail: str


def job(row: sa.RowMapping) -> Job:
    """Make a `Job` of a row of `jobs`."""
    return Job(**{**_only(row, Job), "kind": Kind(row["kind"]), "state": State(row["state"])})


def arrival(row: sa.RowMapping) -> Arrival:
    """Make an `Arrival` of a row of `arrivals`."""
    return Arrival(**{**_only(row, Arrival), "outcome": ArrivalOutcome(row["outcome"])})


def event(row: sa.RowMapping) -> Event:
    """Make an `Event` of a row of `events`."""
    return Event(**_only(row, Event))


def beat(row: sa.RowMapping) -> Beat:
    """Make a `Beat` of a row of `health`."""
    return Beat(**_only(row, Beat))


def _only(row: sa.RowMapping, kind: type[Any]) -> dict[str, Any]:
    return {known.name: row[known.name] for known in fields(kind)}
