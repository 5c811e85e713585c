"""Rows of the database as frozen values, and the values from which callers create them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any

import sqlalchemy as sa

from node.queue.payloads import (
    DeliverPayload,
    DeliverResult,
    SegmentPayload,
    SegmentResult,
    decode,
)
from node.states import LIVE, ArrivalOutcome, Kind, State

RETRACTION = "retract/"  # the deduplication key of a rejection note begins with it


@dataclass(frozen=True, kw_only=True)
class NewArrival:
    """A complete series and the decision about it."""

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
    code: str = ""  # code, reason and advice: why there is no job
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
    """One object of a finished segmentation for one target."""

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
    """A job at the time of the query; only the functions of this package change the row."""

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
    transaction_uid: str
    report_due_at: float | None
    commitment_report: str = field(repr=False)
    created_at: float
    queued_at: float
    updated_at: float
    finished_at: float | None

    @property
    def is_retraction(self) -> bool:
        """Whether this delivery sends a rejection note for a result."""
        return self.dedup_key.startswith(RETRACTION)

    def segment_payload(self) -> SegmentPayload:
        """Return the input of a SEGMENT job; Defect if another version or kind wrote it."""
        return decode(self.payload, SegmentPayload)

    def deliver_payload(self) -> DeliverPayload:
        """Return the input of a DELIVER job; Defect if another version or kind wrote it."""
        return decode(self.payload, DeliverPayload)

    def segment_result(self) -> SegmentResult:
        """Decode the result of a finished segmentation."""
        return decode(self.result, SegmentResult)

    def deliver_result(self) -> DeliverResult:
        """Return the answer of the target so far; Defect if another version or kind wrote it."""
        return decode(self.result, DeliverResult)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a history."""

    id: int
    at: float
    study_uid: str
    series_uid: str
    job_id: int | None
    arrival_id: int | None
    actor: str  # `node`, or the person: os:NAME for a command, page:NAME for the page
    event: str  # its name, as in the glossary
    detail: str


@dataclass(frozen=True, kw_only=True)
class Beat:
    """The last heartbeat of a process."""

    process: str
    pid: int
    at: float
    detail: str


def is_retracted(deliveries: Iterable[Job]) -> bool:
    """Return whether the result with these deliveries is retracted, and was not sent again since.

    A note that failed or was cancelled retracts nothing.
    """
    retracted_at, sent_at = -inf, -inf
    for one in deliveries:
        if not one.is_retraction:
            sent_at = max(sent_at, one.queued_at)
        elif one.state in (State.DONE, *LIVE):
            retracted_at = max(retracted_at, one.queued_at)
    return retracted_at > sent_at


def job(row: sa.RowMapping) -> Job:
    """Return a row of `jobs` as a `Job`."""
    return Job(**{**_only(row, Job), "kind": Kind(row["kind"]), "state": State(row["state"])})


def arrival(row: sa.RowMapping) -> Arrival:
    """Return a row of `arrivals` as an `Arrival`."""
    return Arrival(**{**_only(row, Arrival), "outcome": ArrivalOutcome(row["outcome"])})


def event(row: sa.RowMapping) -> Event:
    """Return a row of `events` as an `Event`."""
    return Event(**_only(row, Event))


def beat(row: sa.RowMapping) -> Beat:
    """Return a row of `health` as a `Beat`."""
    return Beat(**_only(row, Beat))


def _only(row: sa.RowMapping, kind: type[Any]) -> dict[str, Any]:
    return {known.name: row[known.name] for known in fields(kind)}
